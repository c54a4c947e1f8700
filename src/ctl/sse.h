/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Sse: server-sent events out of the bytes of a stream, as the HTML standard reads them: `id`, `event`, `data`, comments,
 * lines that end in LF, CR or CR LF. The stream is hostile: an event is bounded, a longer one ends the stream.
 */

#include <stdbool.h>

#include "base/buf.h"

#define SONDE_SSE_EVENT_MAX (32UL * 1024 * 1024) /* bytes of one event's data, and of a line */
#define SONDE_SSE_NAME_MAX 32
#define SONDE_SSE_ID_MAX 256

struct sonde_sse {
	struct sonde_buf line; /* begun */
	struct sonde_buf data;
	char event[SONDE_SSE_NAME_MAX];
	char id[SONDE_SSE_ID_MAX]; /* of the last event, for Last-Event-ID */
	bool cr;		   /* a CR has just ended a line */
	/* Takes an event; @data has a NUL behind it. Not 0 ends the stream: sonde_sse_feed() returns it. */
	int (*on_event)(void *ctx, const char *event, const char *id, const char *data, size_t len);
	void *ctx;
};

#define SONDE_SSE_INIT(fn_, ctx_)                                                                  \
	((struct sonde_sse){.line = SONDE_BUF_INIT(SONDE_SSE_EVENT_MAX),                           \
			    .data = SONDE_BUF_INIT(SONDE_SSE_EVENT_MAX),                           \
			    .on_event = (fn_),                                                     \
			    .ctx = (ctx_)})
void sonde_sse_done(struct sonde_sse *s);

/* Return: 0, -EMSGSIZE, -ENOMEM, or what on_event returned. */
int sonde_sse_feed(struct sonde_sse *s, const char *bytes, size_t n) _must_check_;

/* Forgets what has begun, keeps the id: before the stream is opened again. */
void sonde_sse_reset(struct sonde_sse *s);
