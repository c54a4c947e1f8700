/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Http2-conn: an HTTP/2 session on a connected TCP socket of the sd-event loop.
 * Reads and writes a bounded amount a turn, keeps at most one piece that the
 * socket did not take, and ends connections that hang: no greeting, a frame
 * that does not end, output that is not read. A connection with nothing under way, as one with
 * a watch that stands, has no timer. Loop thread only.
 */

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "base/cleanup.h"
#include "io/http2.h"

/* Behind words about a peer that speaks something else than was expected: the ports are easily mixed up. */
#define SONDE_HTTP2_WRONG_PORT "is it another port? (SkyWalking: agents 11800, queries 12800)"

struct sonde_http2_conn;
struct sonde_tls_context;

struct sonde_http2_conn_config {
	uint64_t
		greet_timeout_ns; /* from the start to the peer's SETTINGS, TLS handshake included */
	uint64_t frame_timeout_ns; /* from a frame's first byte to its last */
	uint64_t stall_timeout_ns; /* output waits and the peer takes none: stream, or connection */
	struct sonde_tls_context *tls; /* NULL = plain text; else the session's (io/tls.h) */
	const char *tls_name;	       /* client: whom the certificate must name */
	bool client;		       /* for words only */
};

struct sonde_http2_conn_handler {
	/*
	 * The connection is over (@error 0: in order) and does nothing more; free it, here or later. Never
	 * called from inside an event of the session.
	 */
	void (*on_lost)(void *ctx, int error);
	/* The user of the session waits for the peer: keep on_tick running. May be NULL: no. */
	bool (*on_busy)(void *ctx);
	/* Every second or so while something is under way. May be NULL. */
	void (*on_tick)(void *ctx, uint64_t now_ns);
	void *ctx;
};

/*
 * @fd (connected, non-blocking) is taken on success; @h2 is borrowed and must outlive it; its want_pull event
 * must call sonde_http2_conn_flush_soon(). Return: 0, -errno.
 */
int sonde_http2_conn_new(sd_event *event, int fd, struct sonde_http2 *h2,
			 const struct sonde_http2_conn_config *config,
			 const struct sonde_http2_conn_handler *handler,
			 struct sonde_http2_conn **ret) _must_check_;

/* Closes the socket. Not from inside an event of the session. NULL is fine. Returns NULL. */
struct sonde_http2_conn *sonde_http2_conn_free(struct sonde_http2_conn *c);
SONDE_DEFINE_CLEANUP(struct sonde_http2_conn *, sonde_http2_conn_free)

/*
 * Bytes are out and the peer's kernel has acknowledged nothing for @ns or longer, or not the oldest of them
 * however often they were sent again, by TCP_INFO: a half-open connection,
 * other than a peer that thinks long. False where the kernel does not tell.
 */
bool sonde_http2_conn_unacknowledged(const struct sonde_http2_conn *c, uint64_t ns);

/* Send what the session has, in this turn of the loop. */
void sonde_http2_conn_flush_soon(struct sonde_http2_conn *c);

/* Behind on_lost: what to say beside the error; "" = the error says it all. Lives as long as @c. */
const char *sonde_http2_conn_words(const struct sonde_http2_conn *c);

/* The TLS session as words for a log ("TLSv1.3, CN=oap"); "plain text". */
void sonde_http2_conn_describe(const struct sonde_http2_conn *c, char *ret, size_t size);

/* CLOCK_MONOTONIC of the last bytes that came; 0 = none came. */
uint64_t sonde_http2_conn_heard_ns(const struct sonde_http2_conn *c);

/* As if it had been lost with @error and @words: on_lost runs in the next turn of the loop. */
void sonde_http2_conn_give_up(struct sonde_http2_conn *c, int error, const char *words);
