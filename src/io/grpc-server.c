/* SPDX-License-Identifier: Apache-2.0 */
#include "io/grpc-server.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <utlist.h>

#include "base/clock.h"
#include "io/grpc-server-internal.h"
#include "io/listen.h"

#define ACCEPTS_A_TURN 16
#define LISTEN_BACKLOG 128
#define GREET_TIMEOUT_NS (10 * SONDE_NS_PER_S)
#define FRAME_TIMEOUT_NS (20 * SONDE_NS_PER_S)
#define STALL_TIMEOUT_NS (30 * SONDE_NS_PER_S)
#define CONTROL_BURST 1000 /* a client may cancel hundreds of calls at once */
#define CONTROL_PER_S 100
/* What a handshake costs (an RSA signature: a millisecond or more) is asked for by anyone: the next ones wait. */
#define HANDSHAKES_PER_S 100
#define HANDSHAKES_BURST 100
#define TLS_READ_AGAIN_NS SONDE_NS_PER_S
#define ANSWER_BYTES_MIN 65536 /* what a slow reader may have waiting on a stream, at least */

struct sonde_grpc_server_conn *sonde_grpc_server_conn_free(struct sonde_grpc_server_conn *c)
{
	if (!c)
		return NULL;
	if (c->h2)
		c->server->stats.protocol_errors += sonde_http2_n_violations(c->h2);
	DL_DELETE(c->server->conns, c);
	c->server->n_conns--;
	c->io = sonde_http2_conn_free(c->io);
	c->h2 = sonde_http2_free(c->h2);
	free(c);
	return NULL;
}

int sonde_grpc_server_conn_new(struct sonde_grpc_server *s, struct sonde_grpc_server_conn **ret)
{
	_cleanup_(sonde_grpc_server_conn_freep) struct sonde_grpc_server_conn *c = NULL;
	const struct sonde_http2_config config = {
		.server = true,
		.max_streams = s->config.max_streams,
		.max_stream_output_bytes = s->config.max_message_bytes + ANSWER_BYTES_MIN,
		.control_burst = CONTROL_BURST,
		.control_per_s = CONTROL_PER_S,
	};
	struct sonde_http2_handler handler = sonde_grpc_server_call_events;
	int r;

	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->server = s;
	DL_APPEND(s->conns, c);
	s->n_conns++;
	handler.ctx = c;
	r = sonde_http2_new(&config, &handler, &c->h2);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(c);
	return 0;
}

static void tell(const struct sonde_grpc_server *s, const char *peer, const char *words)
{
	if (s->config.on_trouble)
		s->config.on_trouble(s->ctx, peer, words);
}

static void on_lost(void *ctx, int error)
{
	struct sonde_grpc_server_conn *c = ctx;
	const char *words = sonde_http2_conn_words(c->io);

	/* Who connects and goes without a word only looks whether the port is open. */
	if (words[0] && !sonde_http2_greeted(c->h2) &&
	    (error != 0 || sonde_http2_conn_heard_ns(c->io) > 0)) {
		c->server->stats.handshakes_failed++;
		tell(c->server, c->peer, words);
	}
	sonde_grpc_server_conn_free(c);
}

static bool on_busy(void *ctx)
{
	return sonde_grpc_server_calls_busy(ctx);
}

static void on_tick(void *ctx, uint64_t now_ns)
{
	sonde_grpc_server_calls_tick(ctx, now_ns);
}

/* TLS */

/* The files may have been replaced; while the new ones will not do, the old ones do. */
static void refresh_tls(struct sonde_grpc_server *s)
{
	struct sonde_tls_context *fresh = NULL;
	char words[SONDE_TLS_WORDS_MAX];
	uint64_t now_ns = sonde_mono_ns();
	int r;

	if (!s->tls || now_ns - s->tls_read_ns < TLS_READ_AGAIN_NS ||
	    !sonde_tls_context_stale(s->tls))
		return;
	s->tls_read_ns = now_ns;
	sonde_tls_context_look(s->tls); /* what is refused now is tried again when it changes */
	r = sonde_tls_context_renew(s->tls, &fresh, words);
	if (r < 0) {
		tell(s, NULL, words[0] ? words : strerror(-r));
		return;
	}
	sonde_tls_context_unref(s->tls);
	s->tls = fresh;
}

static int on_resume(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct sonde_grpc_server *s = userdata;

	return sd_event_source_set_enabled(s->accept, SD_EVENT_ON);
}

/* Connections stay in the listener's queue meanwhile. */
static void pause_accepting(struct sonde_grpc_server *s, uint64_t wait_ns)
{
	if (sd_event_source_set_time_relative(s->resume, wait_ns / SONDE_NS_PER_US) < 0 ||
	    sd_event_source_set_enabled(s->resume, SD_EVENT_ONESHOT) < 0)
		return; /* then it spins: better than a server that accepts no more */
	(void)sd_event_source_set_enabled(s->accept, SD_EVENT_OFF);
}

static void peer_text(int fd, char ret[static SONDE_GRPC_SERVER_PEER_MAX])
{
	struct sockaddr_storage address;
	socklen_t n = sizeof(address);
	char host[SONDE_GRPC_SERVER_PEER_MAX - 2] = "?";

	if (getpeername(fd, (struct sockaddr *)&address, &n) == 0)
		(void)getnameinfo((struct sockaddr *)&address, n, host, sizeof(host), NULL, 0,
				  NI_NUMERICHOST);
	(void)snprintf(ret, SONDE_GRPC_SERVER_PEER_MAX, strchr(host, ':') ? "[%s]" : "%s", host);
}

/* Takes @fd on success. */
static int add_connection(struct sonde_grpc_server *s, int fd)
{
	_cleanup_(sonde_grpc_server_conn_freep) struct sonde_grpc_server_conn *c = NULL;
	const struct sonde_http2_conn_config config = {
		.greet_timeout_ns = GREET_TIMEOUT_NS,
		.frame_timeout_ns = FRAME_TIMEOUT_NS,
		.stall_timeout_ns = STALL_TIMEOUT_NS,
		.tls = s->tls,
	};
	struct sonde_http2_conn_handler handler = {
		.on_lost = on_lost, .on_busy = on_busy, .on_tick = on_tick};
	int r;

	if (s->n_conns >= s->config.max_connections)
		return -EUSERS;
	r = sonde_grpc_server_conn_new(s, &c);
	if (r < 0)
		return r;
	peer_text(fd, c->peer);
	handler.ctx = c;
	r = sonde_http2_conn_new(s->event, fd, c->h2, &config, &handler, &c->io);
	if (r < 0)
		return r;
	TAKE_PTR(c);
	return 0;
}

/* Out of descriptors: the spare one makes room to accept and close, else the loop would spin on the listener. */
static void shed_connection(struct sonde_grpc_server *s)
{
	int fd;

	if (s->spare_fd >= 0)
		(void)close(TAKE_FD(s->spare_fd));
	fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd >= 0)
		(void)close(fd);
	s->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	s->stats.connections_refused++;
}

static int on_accept(sd_event_source *source, int listen_fd, uint32_t revents, void *userdata)
{
	struct sonde_grpc_server *s = userdata;

	refresh_tls(s);
	for (int i = 0; i < ACCEPTS_A_TURN; i++) {
		uint64_t now_ns = sonde_mono_ns();
		uint64_t wait_ns = s->tls ? sonde_pace_wait_ns(&s->handshakes, now_ns) : 0;
		_cleanup_close_ int fd = -1;

		if (wait_ns > 0) {
			pause_accepting(s, wait_ns);
			break;
		}
		fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0 && (errno == EMFILE || errno == ENFILE))
			shed_connection(s);
		if (fd < 0)
			break; /* none left, or one that was gone already */
		sonde_pace_take(&s->handshakes, now_ns);
		if (add_connection(s, fd) < 0) {
			s->stats.connections_refused++;
			continue;
		}
		TAKE_FD(fd);
		s->stats.connections++;
	}
	return 0;
}

int sonde_grpc_server_alloc(sd_event *event, const struct sonde_grpc_server_config *config,
			    const struct sonde_grpc_method *methods, void *ctx,
			    struct sonde_grpc_server **ret)
{
	_cleanup_(sonde_grpc_server_freep) struct sonde_grpc_server *s = NULL;

	assert(event && config && methods && ret);

	if (config->max_connections == 0 || config->max_streams == 0 ||
	    config->max_message_bytes == 0 || config->max_message_bytes > UINT32_MAX / 8)
		return -EINVAL;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->listen_fd = s->spare_fd = -1;
	s->event = sd_event_ref(event);
	s->config = *config;
	s->config.address = s->config.token = NULL; /* the caller's */
	s->config.tls = NULL;
	s->methods = methods;
	s->ctx = ctx;
	s->handshakes = sonde_pace_of(HANDSHAKES_BURST, HANDSHAKES_PER_S);
	if (config->token) {
		s->token = strdup(config->token);
		if (!s->token)
			return -ENOMEM;
	}
	*ret = TAKE_PTR(s);
	return 0;
}

static int start_tls(struct sonde_grpc_server *s, const struct sonde_tls_config *config)
{
	char words[SONDE_TLS_WORDS_MAX];
	int r;

	if (!config)
		return 0;
	r = sonde_tls_context_new(
		&(struct sonde_tls_config){.server = true,
					   .ca_file = config->ca_file,
					   .cert_file = config->cert_file,
					   .key_file = config->key_file,
					   .require_client = config->require_client},
		&s->tls, words);
	if (r < 0 && words[0])
		tell(s, NULL, words);
	return r;
}

static int start_listening(struct sonde_grpc_server *s,
			   const struct sonde_grpc_server_config *config)
{
	int r;

	s->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (s->spare_fd < 0)
		return -errno;
	r = sonde_listen(config->address, config->port, LISTEN_BACKLOG, &s->listen_fd, &s->port);
	if (r < 0)
		return r;
	r = sd_event_add_time_relative(s->event, &s->resume, CLOCK_MONOTONIC, 0, 0, on_resume, s);
	if (r >= 0)
		r = sd_event_source_set_enabled(s->resume, SD_EVENT_OFF);
	if (r >= 0)
		r = sd_event_add_io(s->event, &s->accept, s->listen_fd, EPOLLIN, on_accept, s);
	return r < 0 ? r : 0;
}

int sonde_grpc_server_new(sd_event *event, const struct sonde_grpc_server_config *config,
			  const struct sonde_grpc_method *methods, void *ctx,
			  struct sonde_grpc_server **ret)
{
	_cleanup_(sonde_grpc_server_freep) struct sonde_grpc_server *s = NULL;
	int r;

	assert(config && config->address);

	r = sonde_grpc_server_alloc(event, config, methods, ctx, &s);
	if (r == 0)
		r = start_tls(s, config->tls);
	if (r == 0)
		r = start_listening(s, config);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(s);
	return 0;
}

static void stop_listening(struct sonde_grpc_server *s)
{
	s->accept = sd_event_source_disable_unref(s->accept);
	s->resume = sd_event_source_disable_unref(s->resume);
	if (s->listen_fd >= 0)
		(void)close(TAKE_FD(s->listen_fd));
	if (s->spare_fd >= 0)
		(void)close(TAKE_FD(s->spare_fd));
}

struct sonde_grpc_server *sonde_grpc_server_free(struct sonde_grpc_server *s)
{
	struct sonde_grpc_server_conn *c, *tmp;

	if (!s)
		return NULL;
	stop_listening(s);
	DL_FOREACH_SAFE (s->conns, c, tmp)
		sonde_grpc_server_conn_free(c);
	sd_event_unref(s->event);
	if (s->token)
		explicit_bzero(s->token, strlen(s->token));
	free(s->token);
	sonde_tls_context_unref(s->tls);
	free(s);
	return NULL;
}

void sonde_grpc_server_drain(struct sonde_grpc_server *s)
{
	struct sonde_grpc_server_conn *c;

	assert(s);

	stop_listening(s);
	DL_FOREACH (s->conns, c)
		sonde_http2_goaway(c->h2);
}

uint16_t sonde_grpc_server_port(const struct sonde_grpc_server *s)
{
	assert(s);
	return s->port;
}

const struct sonde_grpc_server_stats *sonde_grpc_server_stats(const struct sonde_grpc_server *s)
{
	assert(s);
	return &s->stats;
}
