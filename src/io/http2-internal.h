/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What http2.c (the session), http2-events.c (nghttp2's callbacks) and http2-stream.c (one stream and what
 * waits on it) share.
 */

#include <nghttp2/nghttp2.h>

#include "io/http2-bounds.h"
#include "io/http2.h"

struct sonde_http2_stream {
	struct sonde_http2 *h;
	struct sonde_http2_stream *prev, *next;
	void *data; /* the user's */
	int32_t id;

	struct sonde_buf out;
	size_t out_at; /* taken so far of out */
	uint64_t taken;
	uint64_t stall_taken, stall_since_ns;
	char *trailers; /* one block of "name\0value\0" */
	size_t n_trailers;

	unsigned n_headers; /* of the part that is coming in */
	size_t n_header_bytes;
	bool headers_dropped;
	bool informational; /* that part is a 1xx answer */
	bool got_headers;
	bool peer_ended;
	bool ended;    /* by us: what is in out is the last */
	bool deferred; /* nghttp2 waits for sonde_http2_stream_write() */
	bool started;  /* our headers went into a frame */
	bool said_all; /* so did our END_STREAM */
};

struct sonde_http2 {
	struct sonde_http2_config config;
	struct sonde_http2_handler handler;
	nghttp2_session *session;
	struct sonde_http2_stream *streams;
	unsigned n_streams;
	struct sonde_http2_bounds bounds;
	uint64_t violations;
	unsigned inside; /* feed() or pull() run: no want_pull, no free */
	int32_t last_id; /* what our GOAWAY names, once leaving */
	bool leaving;
	bool greeted;
	bool broken; /* the peer broke the connection's rules: counted */
};

struct sonde_http2_stream *sonde_http2_find_stream(struct sonde_http2 *h, int32_t id);
struct sonde_http2_stream *sonde_http2_new_stream(struct sonde_http2 *h, void *data);

/* Frees it, the first without, the second behind on_close. */
void sonde_http2_drop_stream(struct sonde_http2_stream *s);
void sonde_http2_close_stream(struct sonde_http2_stream *s, uint32_t error);

static inline size_t sonde_http2_stream_waiting(const struct sonde_http2_stream *s)
{
	return s->out.len - s->out_at;
}

static inline void sonde_http2_want_pull(struct sonde_http2 *h)
{
	if (h->inside == 0 && h->handler.on_want_pull)
		h->handler.on_want_pull(h->handler.ctx);
}

/* A connection breaks the rules once, whoever saw it first. */
void sonde_http2_count_broken(struct sonde_http2 *h);

/* Return: 0, -ENOMEM. */
int sonde_http2_make_callbacks(nghttp2_session_callbacks **ret) _must_check_;
