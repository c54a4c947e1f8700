/* SPDX-License-Identifier: Apache-2.0 */
#include "model/process.h"

#include <assert.h>
#include <errno.h>
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

static void free_labels(struct sonde_process *p)
{
	for (size_t i = 0; i < p->n_labels; i++)
		free(p->labels[i]);
	free(p->labels);
	p->labels = NULL;
	p->n_labels = 0;
}

struct sonde_process *sonde_process_unref(struct sonde_process *p)
{
	if (!p)
		return NULL;
	assert(p->refs);
	if (--p->refs == 0) {
		free_labels(p);
		free(p);
	}
	return NULL;
}

/* Return: what did not fit. */
static const char *copy_name(char *dst, size_t size, size_t units, const char *src)
{
	size_t at = 0, used = 0, left = strlen(src);

	while (left > 0) {
		size_t n = sonde_utf8_length(src, left);
		bool bad = n == 0 || (unsigned char)*src < 0x20 || *src == 0x7f;

		if (bad)
			n = 1;
		used += n == 4 ? 2 : 1; /* a surrogate pair */
		if (at + n >= size || used > units)
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
	return src;
}

void sonde_process_set_name(char *dst, size_t size, const char *src)
{
	assert(dst && src && size > 1);

	(void)copy_name(dst, size, SIZE_MAX, src);
}

bool sonde_process_set_entity(char dst[SONDE_PROCESS_NAME_MAX], const char *src)
{
	assert(dst && src);

	return *copy_name(dst, SONDE_PROCESS_NAME_MAX, SONDE_PROCESS_NAME_UNITS, src) != '\0';
}

int sonde_process_set_labels(struct sonde_process *p, char *const *labels, size_t n)
{
	assert(p && (labels || n == 0));

	if (n > SONDE_PROCESS_LABELS_MAX)
		return -ENOSPC;
	free_labels(p);
	p->labels = calloc(n ? n : 1, sizeof(p->labels[0]));
	if (!p->labels)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		p->labels[i] = malloc(SONDE_PROCESS_NAME_MAX);
		if (!p->labels[i])
			return -ENOMEM;
		(void)sonde_process_set_entity(p->labels[i], labels[i]);
		p->n_labels++;
	}
	return 0;
}
