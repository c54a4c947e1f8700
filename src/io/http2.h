/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Http2: one HTTP/2 connection (prior knowledge) as bytes in and bytes out,
 * for both ends; io/http2-conn.h puts it on a socket. It owns its streams and
 * what waits to be sent on them, bounds each, and turns nghttp2's callbacks into
 * the few events that gRPC needs. No pings: grpc-java ends connections that ping. Loop thread only.
 *
 * Nothing of a session may be freed from inside an event; a stream is gone
 * behind its on_close. Everything else may be called from inside an event.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

#define SONDE_HTTP2_HEADERS_MAX 64
#define SONDE_HTTP2_HEADER_BYTES_MAX 16384 /* of one header list, as RFC 9113 counts: + 32 each */

struct sonde_http2;
struct sonde_http2_stream;

struct sonde_http2_header {
	const char *name, *value;
};

enum sonde_http2_part {
	SONDE_HTTP2_HEADERS, /* of the request or of the answer (not 1xx) */
	SONDE_HTTP2_TRAILERS,
};

struct sonde_http2_handler {
	/*
	 * Server: a request begins; hand its context to sonde_http2_stream_set_data(). < 0 refuses it
	 * (REFUSED_STREAM, no further event). NULL at a client.
	 */
	int (*on_begin)(void *ctx, struct sonde_http2_stream *s);
	/* One header of the part that on_headers will end; both texts borrowed. < 0 drops the rest of the part. */
	int (*on_header)(void *ctx, struct sonde_http2_stream *s, enum sonde_http2_part part,
			 const char *name, const char *value);
	/* @whole: false when headers were dropped, by the limits above or by on_header. */
	void (*on_headers)(void *ctx, struct sonde_http2_stream *s, enum sonde_http2_part part,
			   bool whole);
	void (*on_data)(void *ctx, struct sonde_http2_stream *s, const uint8_t *data, size_t n);
	/* The peer's side has ended well. */
	void (*on_end)(void *ctx, struct sonde_http2_stream *s);
	/* Exactly once for each stream that began, last. @error: HTTP/2's code, 0 when both sides ended well. */
	void (*on_close)(void *ctx, struct sonde_http2_stream *s, uint32_t error);
	/* The peer's first SETTINGS came: it speaks HTTP/2. May be NULL. */
	void (*on_greet)(void *ctx);
	/* The peer sent GOAWAY: no further stream can be opened here. May be NULL. */
	void (*on_goaway)(void *ctx);
	/* Something waits for sonde_http2_pull(). Called outside feed() and pull() only. May be NULL. */
	void (*on_want_pull)(void *ctx);
	void *ctx;
};

struct sonde_http2_config {
	bool server;
	unsigned max_streams;		/* the peer's at a time; a client takes no push */
	size_t max_stream_output_bytes; /* what may wait on one stream */
	/* Frames that ask for nothing but work (PING, SETTINGS, RST_STREAM, PRIORITY, empty DATA): so many … */
	unsigned control_burst, control_per_s; /* at once, and a second; more ends the connection */
};

int sonde_http2_new(const struct sonde_http2_config *config,
		    const struct sonde_http2_handler *handler,
		    struct sonde_http2 **ret) _must_check_;

/* Each stream's on_close (CANCEL) runs. NULL is fine. Returns NULL. */
struct sonde_http2 *sonde_http2_free(struct sonde_http2 *h);
SONDE_DEFINE_CLEANUP(struct sonde_http2 *, sonde_http2_free)

/*
 * Bytes from the peer. @now_ns: CLOCK_MONOTONIC, paces the control frames. Return: 0, -EPROTO (the peer broke
 * HTTP/2, or flooded: send what pull() still gives, then close), -ENOMEM.
 */
int sonde_http2_feed(struct sonde_http2 *h, const uint8_t *data, size_t n,
		     uint64_t now_ns) _must_check_;

/* The next bytes for the peer; borrowed until the next call. *@ret_n = 0: none for now. Return: 0, -ENOMEM, -EPROTO. */
int sonde_http2_pull(struct sonde_http2 *h, const uint8_t **ret_data, size_t *ret_n) _must_check_;

/* Neither side has anything left to say: close the transport. */
bool sonde_http2_over(const struct sonde_http2 *h);

/* A frame, header block or preface has begun and not ended: the peer owes bytes. */
bool sonde_http2_midway(const struct sonde_http2 *h);

/* Whole frames that came: while midway() holds, an unchanged number is a peer that hangs in a frame. */
uint64_t sonde_http2_n_frames(const struct sonde_http2 *h);

bool sonde_http2_greeted(const struct sonde_http2 *h);

/* Output waits on a stream, for the peer's window or for pull(). */
bool sonde_http2_waits(const struct sonde_http2 *h);

unsigned sonde_http2_n_streams(const struct sonde_http2 *h);

/* Frames of the peer that broke a rule so far (each reset a stream, or ended the connection). */
uint64_t sonde_http2_n_violations(const struct sonde_http2 *h);

/* GOAWAY: streams in flight go on, later ones of the peer are refused. */
void sonde_http2_goaway(struct sonde_http2 *h);

/* Resets each stream on which output waits and none was taken for @stall_ns: a reader that does not read. */
void sonde_http2_reset_stalled(struct sonde_http2 *h, uint64_t now_ns, uint64_t stall_ns);

/*
 * Client: opens a stream with @data as its context. Copies @headers. Events run from feed() and pull() on.
 * Return: 0, -ENOMEM, -ENOTCONN (no stream can be opened here any more).
 */
int sonde_http2_request(struct sonde_http2 *h, const struct sonde_http2_header *headers, size_t n,
			void *data, struct sonde_http2_stream **ret) _must_check_;

/* Server: the answer's headers, copied; with @end nothing follows. Return: 0, -ENOMEM, -ENOTCONN. */
int sonde_http2_respond(struct sonde_http2_stream *s, const struct sonde_http2_header *headers,
			size_t n, bool end) _must_check_;

void sonde_http2_stream_set_data(struct sonde_http2_stream *s, void *data);
void *sonde_http2_stream_data(const struct sonde_http2_stream *s);

/* Appends to the stream's output. Return: 0, -ENOBUFS (the limit; nothing taken), -ENOMEM, -EPIPE (ended). */
int sonde_http2_stream_write(struct sonde_http2_stream *s, const uint8_t *data,
			     size_t n) _must_check_;

/* Takes over @buf's content as the stream's whole output, past the limit on waiting bytes: the caller's own bound holds. */
void sonde_http2_stream_take(struct sonde_http2_stream *s, struct sonde_buf *buf);

/*
 * Our side ends behind the output, with @n trailers (copied; 0 = none). A server whose peer has not ended then
 * resets with NO_ERROR, so that the peer stops sending. Return: 0, -ENOMEM, -EPIPE (ended already).
 */
int sonde_http2_stream_end(struct sonde_http2_stream *s, const struct sonde_http2_header *trailers,
			   size_t n) _must_check_;

/* RST_STREAM; output that waits is dropped. on_close runs from pull() or feed(). */
void sonde_http2_stream_reset(struct sonde_http2_stream *s, uint32_t error);

/* Bytes of the output that were packed into frames so far, and whether the headers and the end were. */
uint64_t sonde_http2_stream_taken_bytes(const struct sonde_http2_stream *s);
bool sonde_http2_stream_started(const struct sonde_http2_stream *s);
bool sonde_http2_stream_said_all(const struct sonde_http2_stream *s);
