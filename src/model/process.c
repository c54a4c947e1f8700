/* SPDX-License-Identifier: Apache-2.0 */
#include "model/process.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

int sonde_process_new(uint32_t pid, uint64_t start_ticks, struct sonde_process **ret)
{
	struct sonde_process *p;

	assert(ret);

	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->refs = 1;
	p->pid = pid;
	p->start_ticks = start_ticks;
	*ret = p;
	return 0;
}

struct sonde_process *sonde_process_ref(struct sonde_process *p)
{
	assert(p && p->refs);

	p->refs++;
	return p;
}

struct sonde_process *sonde_process_unref(struct sonde_process *p)
{
	if (!p)
		return NULL;
	assert(p->refs);
	if (--p->refs == 0)
		free(p);
	return NULL;
}

/* Bytes of the UTF-8 character at @s; 0 when it is none, or over-long, or a surrogate. */
static size_t utf8_length(const unsigned char *s)
{
	unsigned min;
	unsigned c;
	size_t n;

	if (s[0] < 0x80)
		return 1;
	if ((s[0] & 0xe0) == 0xc0) {
		n = 2;
		c = s[0] & 0x1f;
		min = 0x80;
	} else if ((s[0] & 0xf0) == 0xe0) {
		n = 3;
		c = s[0] & 0x0f;
		min = 0x800;
	} else if ((s[0] & 0xf8) == 0xf0) {
		n = 4;
		c = s[0] & 0x07;
		min = 0x10000;
	} else {
		return 0;
	}
	for (size_t i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80) /* stops at the NUL too */
			return 0;
		c = c << 6 | (s[i] & 0x3f);
	}
	return c < min || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff) ? 0 : n;
}

void sonde_process_set_name(char *dst, size_t size, const char *src)
{
	const unsigned char *s = (const unsigned char *)src;
	size_t at = 0;

	assert(dst && src && size > 1);

	while (*s) {
		size_t n = utf8_length(s);
		bool bad = n == 0 || *s < 0x20 || *s == 0x7f;

		if (bad)
			n = 1;
		if (at + n >= size)
			break;
		if (bad)
			dst[at] = '_';
		else
			memcpy(dst + at, s, n);
		at += n;
		s += n;
	}
	if (at == 0)
		dst[at++] = '_';
	dst[at] = '\0';
}
