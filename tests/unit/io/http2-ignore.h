/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Handlers of an HTTP/2 session for tests that look at its connection alone: a stream's events are nobody's business. */

#include "io/http2.h"

static inline int ignore_begin(void *ctx, struct sonde_http2_stream *s)
{
	return 0;
}

static inline int ignore_header(void *ctx, struct sonde_http2_stream *s, enum sonde_http2_part part,
				const char *name, const char *value)
{
	return 0;
}

static inline void ignore_headers(void *ctx, struct sonde_http2_stream *s,
				  enum sonde_http2_part part, bool whole)
{
}

static inline void ignore_data(void *ctx, struct sonde_http2_stream *s, const uint8_t *data,
			       size_t n)
{
}

static inline void ignore_end(void *ctx, struct sonde_http2_stream *s)
{
}

static inline void ignore_close(void *ctx, struct sonde_http2_stream *s, uint32_t error)
{
}
