/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Buf: a growing byte buffer with a compulsory limit (curl's dynbuf idea): an
 * append that would pass the limit fails and leaves the content as it was. The
 * content is always followed by a NUL that is not counted. Not shared between threads.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

struct sonde_buf {
	uint8_t *data; /* owned; NULL while empty */
	size_t len;
	size_t cap;
	size_t max; /* longest content ever allowed, in bytes */
};

#define SONDE_BUF_INIT(max_bytes) ((struct sonde_buf){.max = (max_bytes)})

/* Frees the content; the buffer can be used again. NULL is fine. */
void sonde_buf_done(struct sonde_buf *b);
#define _cleanup_buf_ _cleanup_(sonde_buf_done)

/* Return: 0, -EMSGSIZE when the limit would be passed, -ENOMEM. Nothing is appended on failure. */
int sonde_buf_append(struct sonde_buf *b, const void *data, size_t n) _must_check_;
int sonde_buf_printf(struct sonde_buf *b, const char *fmt, ...) _printf_(2, 3) _must_check_;

/* Room for @n more bytes behind the content; the caller adds to len what it wrote. */
int sonde_buf_reserve(struct sonde_buf *b, size_t n) _must_check_;

/* Drops the first @n bytes (at most len). */
void sonde_buf_consume(struct sonde_buf *b, size_t n);

/* Empties it, keeps the memory. */
static inline void sonde_buf_reset(struct sonde_buf *b)
{
	b->len = 0;
}

/* The content as a string: "" while empty. Borrowed. */
static inline const char *sonde_buf_str(const struct sonde_buf *b)
{
	return b->data ? (const char *)b->data : "";
}
