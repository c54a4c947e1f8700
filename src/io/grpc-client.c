/* SPDX-License-Identifier: Apache-2.0 */
#include "io/grpc-client.h"

#include <assert.h>
#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <utlist.h>

#include "base/clock.h"
#include "io/grpc-client-internal.h"

#define BACKOFF_MIN_NS SONDE_NS_PER_S
#define BACKOFF_MAX_NS (60 * SONDE_NS_PER_S)
#define GREET_TIMEOUT_NS (10 * SONDE_NS_PER_S)
#define FRAME_TIMEOUT_NS (20 * SONDE_NS_PER_S)
#define STALL_TIMEOUT_NS (60 * SONDE_NS_PER_S) /* the calls' deadlines are sooner */
#define CONTROL_BURST 1000
#define CONTROL_PER_S 100

/* 1 s, 2 s … 60 s, of which a random part between a half and all: agents that lost one backend come back spread. */
static uint64_t backoff_ns(unsigned failures)
{
	uint64_t ns = BACKOFF_MAX_NS, half_ms;
	uint32_t random = 0;

	if (failures <= 6)
		ns = BACKOFF_MIN_NS << (failures > 0 ? failures - 1 : 0);
	if (ns > BACKOFF_MAX_NS)
		ns = BACKOFF_MAX_NS;
	if (getrandom(&random, sizeof(random), GRND_NONBLOCK) != (ssize_t)sizeof(random))
		random = (uint32_t)sonde_mono_ns();
	half_ms = ns / 2 / SONDE_NS_PER_MS;
	return (half_ms + random % (half_ms + 1)) * SONDE_NS_PER_MS;
}

void sonde_grpc_client_conn_retire(struct sonde_grpc_client_conn *conn)
{
	struct sonde_grpc_client *c = conn->client;

	if (c->greeting == conn)
		c->greeting = NULL;
	if (c->conn == conn)
		c->conn = NULL; /* it ends by itself, with its last stream */
}

struct sonde_grpc_client_conn *sonde_grpc_client_conn_free(struct sonde_grpc_client_conn *conn)
{
	if (!conn)
		return NULL;
	sonde_grpc_client_conn_retire(conn);
	DL_DELETE(conn->client->conns, conn);
	conn->io = sonde_http2_conn_free(conn->io);
	conn->h2 = sonde_http2_free(conn->h2); /* ends its calls */
	free(conn);
	return NULL;
}

int sonde_grpc_client_conn_new(struct sonde_grpc_client *c, struct sonde_grpc_client_conn **ret)
{
	const struct sonde_http2_config config = {
		.max_stream_output_bytes = c->max_message_bytes,
		.control_burst = CONTROL_BURST,
		.control_per_s = CONTROL_PER_S,
	};
	struct sonde_http2_handler events = sonde_grpc_client_call_events;
	_cleanup_(sonde_grpc_client_conn_freep) struct sonde_grpc_client_conn *conn = NULL;
	int r;

	conn = calloc(1, sizeof(*conn));
	if (!conn)
		return -ENOMEM;
	conn->client = c;
	conn->started_ns = sonde_mono_ns();
	DL_APPEND(c->conns, conn);
	events.ctx = conn;
	r = sonde_http2_new(&config, &events, &conn->h2);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(conn);
	return 0;
}

/* For each call that waits: now there is a connection, or there will be none. */
static void dispatch_waiting(struct sonde_grpc_client *c)
{
	struct sonde_grpc_client_call *call;

	DL_FOREACH (c->calls, call) { /* no call ends in here: failures are told later */
		if (!call->conn && !call->failed)
			sonde_grpc_client_dispatch(c, call);
	}
}

static void back_off(struct sonde_grpc_client *c, int error)
{
	c->last_error = error;
	c->failures++;
	c->next_try_ns = sonde_mono_ns() + backoff_ns(c->failures);
}

/*
 * Only now are calls sent: what a connection that never greeted has swallowed would else be in doubt, where it
 * is certain that nobody processed it.
 */
void sonde_grpc_client_conn_greet(struct sonde_grpc_client_conn *conn)
{
	struct sonde_grpc_client *c = conn->client;

	if (c->greeting != conn)
		return;
	c->greeting = NULL;
	c->conn = conn;
	c->failures = 0;
	c->encoding = SONDE_ENCODING_IDENTITY; /* until this peer says what it reads */
	dispatch_waiting(c);
}

void sonde_grpc_client_conn_drop(struct sonde_grpc_client_conn *conn, int error)
{
	struct sonde_grpc_client *c = conn->client;

	conn->lost = true;
	conn->half_open = error == -ETIMEDOUT || error == -EHOSTUNREACH || error == -ENETUNREACH;
	if (error == 0)
		error = -ECONNRESET;
	if (c->greeting == conn) {
		back_off(c, error);
	} else if (c->conn ==
		   conn) { /* one that held longer than the back-off is made anew at once */
		c->last_error = error;
		c->next_try_ns = conn->started_ns + backoff_ns(1);
	}
	sonde_grpc_client_conn_free(conn);
	dispatch_waiting(c);
}

static void on_lost(void *ctx, int error)
{
	sonde_grpc_client_conn_drop(ctx, error);
}

/* Takes @fd on success. */
static int add_connection(struct sonde_grpc_client *c, int fd)
{
	static const struct sonde_http2_conn_config config = {
		.greet_timeout_ns = GREET_TIMEOUT_NS,
		.frame_timeout_ns = FRAME_TIMEOUT_NS,
		.stall_timeout_ns = STALL_TIMEOUT_NS,
	};
	struct sonde_http2_conn_handler handler = {.on_lost = on_lost};
	_cleanup_(sonde_grpc_client_conn_freep) struct sonde_grpc_client_conn *conn = NULL;
	int r;

	r = sonde_grpc_client_conn_new(c, &conn);
	if (r < 0)
		return r;
	handler.ctx = conn;
	r = sonde_http2_conn_new(c->event, fd, conn->h2, &config, &handler, &conn->io);
	if (r < 0)
		return r;
	c->greeting = TAKE_PTR(conn);
	return 0;
}

static void on_connect(void *ctx, int fd)
{
	struct sonde_grpc_client *c = ctx;
	int r = fd;

	c->connect = sonde_connect_free(c->connect);
	if (fd >= 0) {
		r = add_connection(c, fd);
		if (r < 0)
			(void)close(fd);
	}
	if (r < 0) {
		back_off(c, r);
		dispatch_waiting(c);
	}
}

/* Return: 0 when a connection is being made, -EAGAIN when it is too soon, -errno. */
static int ensure_connecting(struct sonde_grpc_client *c)
{
	if (c->connect || c->greeting)
		return 0;
	if (sonde_mono_ns() < c->next_try_ns)
		return -EAGAIN;
	return sonde_connect_new(c->event, c->host, c->port, c->connect_timeout_ns, on_connect, c,
				 &c->connect);
}

void sonde_grpc_client_dispatch(struct sonde_grpc_client *c, struct sonde_grpc_client_call *call)
{
	int r = -ENOTCONN;
	char words[128];

	if (c->conn) {
		r = sonde_grpc_client_call_start(call, c->conn);
		if (r == 0)
			return;
		if (r == -ENOTCONN)
			sonde_grpc_client_conn_retire(c->conn);
	}
	if (r == -ENOTCONN)
		r = ensure_connecting(c);
	if (r == 0)
		return;
	(void)snprintf(words, sizeof(words), "not connected: %s",
		       strerror(r == -EAGAIN ? -c->last_error : -r));
	if (r == -ENOMEM)
		sonde_grpc_client_call_fail_soon(call, SONDE_GRPC_RESOURCE_EXHAUSTED,
						 SONDE_GRPC_CAUSE_LOCAL, words);
	else
		sonde_grpc_client_call_fail_soon(call, SONDE_GRPC_UNAVAILABLE,
						 SONDE_GRPC_CAUSE_CONNECT, words);
}

static int on_defer(sd_event_source *source, void *userdata)
{
	struct sonde_grpc_client *c = userdata;
	struct sonde_grpc_client_call *call;

	for (;;) { /* anew after each: on_done may make and cancel calls */
		LL_FOREACH (c->calls, call) {
			if (call->failed)
				break;
		}
		if (!call)
			return 0;
		sonde_grpc_client_call_finish(call, call->result.status, NULL);
	}
}

/* host:port as it goes into :authority; an IPv6 address in brackets. */
static int make_authority(struct sonde_grpc_client *c)
{
	bool v6 = strchr(c->host, ':');

	if (asprintf(&c->authority, v6 ? "[%s]:%u" : "%s:%u", c->host, (unsigned)c->port) < 0) {
		c->authority = NULL;
		return -ENOMEM;
	}
	if (!nghttp2_check_header_value((const uint8_t *)c->authority, strlen(c->authority)))
		return -EINVAL;
	return 0;
}

static int copy_token(struct sonde_grpc_client *c, const char *token)
{
	if (!token)
		return 0;
	if (!nghttp2_check_header_value((const uint8_t *)token, strlen(token)))
		return -EINVAL;
	c->token = strdup(token);
	return c->token ? 0 : -ENOMEM;
}

int sonde_grpc_client_new(sd_event *event, const struct sonde_grpc_client_config *config,
			  struct sonde_grpc_client **ret)
{
	_cleanup_(sonde_grpc_client_freep) struct sonde_grpc_client *c = NULL;
	int r;

	assert(event && config && config->host && ret);

	if (config->port == 0 || config->max_message_bytes == 0 ||
	    config->connect_timeout_ns == 0 || config->host[0] == '\0')
		return -EINVAL;
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->event = sd_event_ref(event);
	c->port = config->port;
	c->max_message_bytes = config->max_message_bytes;
	c->connect_timeout_ns = config->connect_timeout_ns;
	c->host = strdup(config->host);
	if (!c->host)
		return -ENOMEM;
	r = make_authority(c);
	if (r < 0)
		return r;
	r = copy_token(c, config->token);
	if (r < 0)
		return r;
	r = sd_event_add_defer(event, &c->defer, on_defer, c);
	if (r < 0)
		return r;
	r = sd_event_source_set_enabled(c->defer, SD_EVENT_OFF);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(c);
	return 0;
}

struct sonde_grpc_client *sonde_grpc_client_free(struct sonde_grpc_client *c)
{
	struct sonde_grpc_client_conn *conn, *tmp;

	if (!c)
		return NULL;
	c->closing = true; /* on_done may not call again */
	while (c->calls)
		sonde_grpc_client_cancel(c->calls);
	DL_FOREACH_SAFE (c->conns, conn, tmp)
		sonde_grpc_client_conn_free(conn);
	c->connect = sonde_connect_free(c->connect);
	(void)sd_event_source_disable_unref(c->defer);
	sd_event_unref(c->event);
	if (c->token)
		explicit_bzero(c->token, strlen(c->token));
	free(c->token);
	free(c->authority);
	free(c->host);
	free(c);
	return NULL;
}

bool sonde_grpc_client_has_extension(const struct sonde_grpc_client *c)
{
	assert(c);
	return c->extension;
}

bool sonde_grpc_client_connected(const struct sonde_grpc_client *c)
{
	assert(c);
	return c->conn != NULL;
}

enum sonde_encoding sonde_grpc_client_encoding(const struct sonde_grpc_client *c)
{
	assert(c);
	return c->encoding;
}
