/* SPDX-License-Identifier: Apache-2.0 */
#include "model/process.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/utf8.h"

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

void sonde_process_set_name(char *dst, size_t size, const char *src)
{
	size_t at = 0, left;

	assert(dst && src && size > 1);

	left = strlen(src);
	while (left > 0) {
		size_t n = sonde_utf8_length(src, left);
		bool bad = n == 0 || (unsigned char)*src < 0x20 || *src == 0x7f;

		if (bad)
			n = 1;
		if (at + n >= size)
			break;
		if (bad)
			dst[at] = '_';
		else
			memcpy(dst + at, src, n);
		at += n;
		src += n;
		left -= n;
	}
	if (at == 0)
		dst[at++] = '_';
	dst[at] = '\0';
}
