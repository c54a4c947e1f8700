/* SPDX-License-Identifier: Apache-2.0 */
/* Which address is tried when, and what becomes of its connection. */
#include <assert.h>
#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <string.h>
#include <utlist.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/random.h"
#include "io/grpc-client-internal.h"

#define BACKOFF_MIN_NS SONDE_NS_PER_S
#define BACKOFF_MAX_NS (16 * SONDE_NS_PER_S) /* who waits for a task waits so long at most */
#define STOOD_NS (60 * SONDE_NS_PER_S)	     /* a connection that lasted was a good one */
#define GREET_TIMEOUT_NS (10 * SONDE_NS_PER_S)
#define FRAME_TIMEOUT_NS (20 * SONDE_NS_PER_S)
#define STALL_TIMEOUT_NS (60 * SONDE_NS_PER_S) /* the calls' deadlines are sooner */
#define CONTROL_BURST 1000
#define CONTROL_PER_S 100
#define TOKEN_MAX 1024
#define AGE_ACCURACY_US 1000000

/* 1 s, 2 s … 16 s, of which a random part between a half and all: agents that lost one backend come back spread. */
static uint64_t backoff_ns(unsigned failures)
{
	uint64_t ns = BACKOFF_MAX_NS;
	uint32_t half_ms;

	if (failures <= 6)
		ns = BACKOFF_MIN_NS << (failures > 0 ? failures - 1 : 0);
	if (ns > BACKOFF_MAX_NS)
		ns = BACKOFF_MAX_NS;
	half_ms = (uint32_t)(ns / 2 / SONDE_NS_PER_MS);
	return (half_ms + sonde_random_below(half_ms + 1)) * SONDE_NS_PER_MS;
}

void sonde_grpc_client_tell(const struct sonde_grpc_client *c, size_t at,
			    enum sonde_grpc_client_event_kind kind, const char *words,
			    bool insecure)
{
	const struct sonde_grpc_client_event event = {
		.kind = kind,
		.address = c->addresses[at].text,
		.words = words,
		.insecure = insecure,
	};

	if (c->on_event && !c->closing)
		c->on_event(c->ctx, &event);
}

/* Token */

/* Return: 0, -errno with words. */
static int read_token(struct sonde_grpc_client *c, char *words, size_t size)
{
	char *token = NULL;
	int r;

	if (!c->token_file)
		return 0;
	r = sonde_file_read_line(c->token_file, true, TOKEN_MAX, &token);
	if (r == 0 && !nghttp2_check_header_value((const uint8_t *)token, strlen(token))) {
		explicit_bzero(token, strlen(token));
		free(token);
		(void)snprintf(words, size, "the token in '%s' holds what no header may",
			       c->token_file);
		return -EINVAL;
	}
	if (r < 0) {
		(void)snprintf(words, size, "cannot read the token from '%s': %s", c->token_file,
			       sonde_file_error(r, true));
		return r;
	}
	if (c->token)
		explicit_bzero(c->token, strlen(c->token));
	free(c->token);
	c->token = token;
	return 0;
}

void sonde_grpc_client_token_refused(struct sonde_grpc_client_conn *conn, char *words, size_t size)
{
	struct sonde_grpc_client *c = conn->client;
	char ignored[SONDE_GRPC_CLIENT_WORDS_MAX];

	if (!c->token)
		(void)snprintf(words, size, "none is set");
	else if (c->token_file)
		(void)snprintf(words, size, "the one in %s", c->token_file);
	else
		(void)snprintf(words, size, "the one that is set");
	(void)read_token(c, ignored, sizeof(ignored)); /* it may have been changed meanwhile */
	if (!conn->refused)
		sonde_grpc_client_tell(c, conn->at, SONDE_GRPC_CLIENT_REFUSED, words, false);
	conn->refused = true;
}

/* Connections */

void sonde_grpc_client_conn_retire(struct sonde_grpc_client_conn *conn)
{
	struct sonde_grpc_client *c = conn->client;

	if (c->greeting == conn)
		c->greeting = NULL;
	if (c->conn == conn) {
		c->conn = NULL;
		c->age = sd_event_source_disable_unref(c->age);
	}
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
	conn->at = c->at;
	conn->started_ns = sonde_mono_ns();
	DL_APPEND(c->conns, conn);
	events.ctx = conn;
	r = sonde_http2_new(&config, &events, &conn->h2);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(conn);
	return 0;
}

static void begin_round(struct sonde_grpc_client *c);
static void try_round(struct sonde_grpc_client *c);

/* The connection has reached its age: another one is made, and takes its place if it can. */
static int on_age(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct sonde_grpc_client *c = userdata;

	(void)sd_event_source_set_enabled(c->age, SD_EVENT_OFF);
	if (c->connect)
		return 0;
	c->avoid = c->n_addresses;
	begin_round(c);
	try_round(c);
	return 0;
}

static void start_age(struct sonde_grpc_client *c)
{
	uint64_t us = c->max_age_ns / SONDE_NS_PER_US, tenth = us / 10;

	if (us == 0)
		return;
	us += tenth * sonde_random_below(1000) / 500 - tenth;
	c->age = sd_event_source_disable_unref(c->age);
	/* Without memory for it the connection stays: no harm. */
	(void)sd_event_add_time_relative(c->event, &c->age, CLOCK_MONOTONIC, us,
					 us / 10 < AGE_ACCURACY_US ? us / 10 + 1 : AGE_ACCURACY_US,
					 on_age, c);
}

/*
 * Only now are calls sent: what a connection that never greeted has swallowed would else be in doubt, where it
 * is certain that nobody processed it.
 */
void sonde_grpc_client_conn_greet(struct sonde_grpc_client_conn *conn)
{
	struct sonde_grpc_client *c = conn->client;
	struct sonde_grpc_client_conn *old = c->conn;
	char words[SONDE_TLS_WORDS_MAX] = "";

	if (c->greeting != conn)
		return;
	c->greeting = NULL;
	c->connect = sonde_connect_free(c->connect);
	if (old)
		sonde_grpc_client_conn_retire(old);
	c->conn = conn;
	c->avoid = c->n_addresses;
	c->encoding = SONDE_ENCODING_IDENTITY; /* until this peer says what it reads */
	start_age(c);
	if (conn->io)
		sonde_http2_conn_describe(conn->io, words, sizeof(words));
	sonde_grpc_client_tell(c, conn->at, SONDE_GRPC_CLIENT_CONNECTED, words,
			       c->tls && c->tls_config.insecure_skip_verify);
	if (old) {
		sonde_grpc_client_end_watches(c, old);
		sonde_http2_goaway(old->h2);
	}
	sonde_grpc_client_dispatch_waiting(c);
}

/*
 * One that answered, or held longer than the back-off, is made anew at once; one that greets and goes is a failure
 * like one that is refused.
 */
static void note_loss(struct sonde_grpc_client_conn *conn, const char *words)
{
	struct sonde_grpc_client *c = conn->client;

	if (sonde_mono_ns() - conn->started_ns >= STOOD_NS)
		c->failures = 0;
	if (!conn->answered)
		c->failures++;
	c->avoid = conn->at;
	c->next_try_ns = conn->started_ns + backoff_ns(c->failures);
	(void)snprintf(c->last_words, sizeof(c->last_words), "%s: %s", c->addresses[conn->at].text,
		       words);
	sonde_grpc_client_tell(c, conn->at, SONDE_GRPC_CLIENT_LOST, words, false);
}

void sonde_grpc_client_conn_leave(struct sonde_grpc_client_conn *conn)
{
	static const char words[] = "the backend says good-bye (GOAWAY)";
	struct sonde_grpc_client *c = conn->client;

	if (c->greeting == conn && conn->io) { /* the next address, from on_lost */
		sonde_http2_conn_give_up(conn->io, -ECONNRESET, words);
		return;
	}
	if (c->conn == conn)
		note_loss(conn, words);
	sonde_grpc_client_conn_retire(conn);
}

void sonde_grpc_client_conn_drop(struct sonde_grpc_client_conn *conn, int error, const char *words)
{
	struct sonde_grpc_client *c = conn->client;
	bool greeting = c->greeting == conn;
	char why[SONDE_TLS_WORDS_MAX];

	conn->lost = true;
	conn->half_open = error == -ETIMEDOUT || error == -EHOSTUNREACH || error == -ENETUNREACH;
	if (error == 0)
		error = -ECONNRESET;
	if (!words)
		words = sonde_http2_conn_words(conn->io);
	(void)snprintf(why, sizeof(why), "%s", words[0] ? words : strerror(-error));
	if (c->conn == conn)
		note_loss(conn, why);
	sonde_grpc_client_conn_free(conn);
	if (greeting)
		sonde_connect_more(c->connect, error, why);
	else
		sonde_grpc_client_dispatch_waiting(c);
}

static void on_lost(void *ctx, int error)
{
	sonde_grpc_client_conn_drop(ctx, error, NULL);
}

/* Takes @fd on success. Return: 0, -errno, where @words may say more. */
static int add_connection(struct sonde_grpc_client *c, int fd, char *words, size_t size)
{
	struct sonde_http2_conn_config config = {
		.greet_timeout_ns = GREET_TIMEOUT_NS,
		.frame_timeout_ns = FRAME_TIMEOUT_NS,
		.stall_timeout_ns = STALL_TIMEOUT_NS,
		.client = true,
		.tls_name = c->tls_name ? c->tls_name : c->addresses[c->at].address.host,
	};
	struct sonde_http2_conn_handler handler = {.on_lost = on_lost};
	_cleanup_(sonde_grpc_client_conn_freep) struct sonde_grpc_client_conn *conn = NULL;
	_cleanup_(sonde_tls_context_unrefp) struct sonde_tls_context *tls = NULL;
	char why[SONDE_TLS_WORDS_MAX] = "";
	int r;

	r = read_token(c, words, size);
	if (r < 0)
		return r;
	if (c->tls) {
		r = sonde_tls_context_new(&c->tls_config, &tls, why);
		(void)snprintf(words, size, "%s", why);
		if (r < 0)
			return r;
		config.tls = tls;
	}
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

/* Rounds */

/* All addresses once: as listed or shuffled, the one to avoid last. */
static void begin_round(struct sonde_grpc_client *c)
{
	size_t n = 0;

	for (size_t i = 0; i < c->n_addresses; i++) {
		if (i != c->avoid)
			c->round[n++] = i;
	}
	for (size_t i = n; c->random_order && i > 1; i--) {
		size_t other = sonde_random_below((uint32_t)i), at = c->round[i - 1];

		c->round[i - 1] = c->round[other];
		c->round[other] = at;
	}
	if (c->avoid < c->n_addresses)
		c->round[n] = c->avoid;
	c->n_tried = 0;
}

static void note_failure(struct sonde_grpc_client *c, const char *words)
{
	(void)snprintf(c->last_words, sizeof(c->last_words), "%s: %s", c->addresses[c->at].text,
		       words);
	sonde_grpc_client_tell(c, c->at, SONDE_GRPC_CLIENT_FAILED, words, false);
}

static void end_round(struct sonde_grpc_client *c)
{
	if (c->conn) { /* it was to be replaced, and stays */
		c->at = c->conn->at;
		start_age(c);
		return;
	}
	c->failures++;
	c->next_try_ns = sonde_mono_ns() + backoff_ns(c->failures);
	c->avoid = c->n_addresses;
	sonde_grpc_client_dispatch_waiting(c);
}

static void on_connect(void *ctx, int fd)
{
	struct sonde_grpc_client *c = ctx;
	char words[SONDE_TLS_WORDS_MAX] = "";
	int r = fd;

	if (fd >= 0) {
		r = add_connection(c, fd, words, sizeof(words));
		if (r < 0)
			(void)close(fd);
		if (r < 0 && !words[0])
			(void)snprintf(words, sizeof(words), "%s", strerror(-r));
	} else {
		(void)snprintf(words, sizeof(words), "%s", sonde_connect_words(c->connect));
	}
	if (r >= 0)
		return;
	c->connect = sonde_connect_free(c->connect);
	note_failure(c, words);
	try_round(c);
}

/* The next address of the round that can be tried at all. */
static void try_round(struct sonde_grpc_client *c)
{
	while (c->n_tried < c->n_addresses) {
		const struct sonde_address *a;
		int r;

		c->at = c->round[c->n_tried++];
		a = &c->addresses[c->at].address;
		r = sonde_connect_new(c->event, a->host, a->port, c->connect_timeout_ns,
				      c->random_order, on_connect, c, &c->connect);
		if (r == 0)
			return;
		note_failure(c, r == -EBUSY ? "too many look-ups of names hang" : strerror(-r));
	}
	end_round(c);
}

int sonde_grpc_client_ensure_connecting(struct sonde_grpc_client *c)
{
	if (c->connect)
		return 0;
	if (sonde_mono_ns() < c->next_try_ns)
		return -EAGAIN;
	begin_round(c);
	try_round(c);
	return c->connect ? 0 : -EAGAIN;
}

void sonde_grpc_client_stop_connecting(struct sonde_grpc_client *c)
{
	struct sonde_grpc_client_conn *conn, *tmp;

	DL_FOREACH_SAFE (c->conns, conn, tmp)
		sonde_grpc_client_conn_free(conn);
	c->connect = sonde_connect_free(c->connect);
	c->age = sd_event_source_disable_unref(c->age);
}
