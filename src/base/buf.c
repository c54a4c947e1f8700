/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void sonde_buf_done(struct sonde_buf *b)
{
	if (!b)
		return;
	free(b->data);
	b->data = NULL;
	b->len = b->cap = 0;
}

int sonde_buf_reserve(struct sonde_buf *b, size_t n)
{
	size_t need, cap;
	uint8_t *p;

	assert(b);

	if (__builtin_add_overflow(b->len, n, &need) || need > b->max)
		return -EMSGSIZE;
	if (need < b->cap) /* one spare byte for the NUL */
		return 0;
	cap = b->cap ? b->cap : 256;
	while (cap <= need)
		cap = cap < SIZE_MAX / 2 ? cap * 2 : need + 1;
	p = realloc(b->data, cap);
	if (!p)
		return -ENOMEM;
	p[b->len] = 0;
	b->data = p;
	b->cap = cap;
	return 0;
}

int sonde_buf_append(struct sonde_buf *b, const void *data, size_t n)
{
	int r;

	r = sonde_buf_reserve(b, n);
	if (r < 0)
		return r;
	if (n > 0)
		memcpy(b->data + b->len, data, n);
	b->len += n;
	b->data[b->len] = 0;
	return 0;
}

int sonde_buf_printf(struct sonde_buf *b, const char *fmt, ...)
{
	va_list ap;
	int n, r;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0)
		return -EINVAL;
	r = sonde_buf_reserve(b, (size_t)n);
	if (r < 0)
		return r;
	va_start(ap, fmt);
	(void)vsnprintf((char *)b->data + b->len, (size_t)n + 1, fmt, ap);
	va_end(ap);
	b->len += (size_t)n;
	return 0;
}

void sonde_buf_consume(struct sonde_buf *b, size_t n)
{
	assert(b && n <= b->len);

	if (n == 0)
		return;
	b->len -= n;
	memmove(b->data, b->data + n, b->len);
	b->data[b->len] = 0;
}
