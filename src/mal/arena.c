/* SPDX-License-Identifier: Apache-2.0 */
#include "mal/arena.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define BLOCK_BYTES (64U << 10)
#define KEPT_BYTES (2U << 20) /* of the one block that a reset keeps */

struct mal_arena_block {
	struct mal_arena_block *next;
	size_t size;
	size_t used;
	uint64_t data[]; /* for the alignment */
};

static void free_blocks(struct mal_arena_block *b)
{
	while (b) {
		struct mal_arena_block *next = b->next;

		free(b);
		b = next;
	}
}

void mal_arena_done(struct mal_arena *a)
{
	if (!a)
		return;
	free_blocks(a->blocks);
	a->blocks = NULL;
	a->used = 0;
}

static struct mal_arena_block *new_block(size_t room)
{
	struct mal_arena_block *b = malloc(sizeof(*b) + room);

	if (!b)
		return NULL;
	b->size = room;
	b->used = 0;
	b->next = NULL;
	return b;
}

/* One block for what was used last: the next round then asks malloc() for nothing. */
void mal_arena_reset(struct mal_arena *a)
{
	struct mal_arena_block *one = NULL;

	assert(a);

	if (a->blocks && (a->blocks->next || a->blocks->size > KEPT_BYTES)) {
		one = new_block(a->used < KEPT_BYTES ? a->used : KEPT_BYTES);
		free_blocks(a->blocks);
		a->blocks = one;
	}
	if (a->blocks)
		a->blocks->used = 0;
	a->used = 0;
}

static int add_block(struct mal_arena *a, size_t size)
{
	struct mal_arena_block *b = new_block(size > BLOCK_BYTES ? size : BLOCK_BYTES);

	if (!b)
		return -1;
	b->next = a->blocks;
	a->blocks = b;
	return 0;
}

void *mal_arena_alloc(struct mal_arena *a, size_t size)
{
	struct mal_arena_block *b;
	void *p;

	assert(a);

	if (size > a->max || a->used > a->max - size)
		return NULL;
	size = (size + 7) & ~(size_t)7;
	b = a->blocks;
	if (!b || b->size - b->used < size) {
		if (add_block(a, size) < 0)
			return NULL;
		b = a->blocks;
	}
	p = (uint8_t *)b->data + b->used;
	b->used += size;
	a->used += size;
	return p;
}

void *mal_arena_zalloc(struct mal_arena *a, size_t size)
{
	void *p = mal_arena_alloc(a, size);

	if (p)
		memset(p, 0, size);
	return p;
}

void *mal_arena_array(struct mal_arena *a, size_t n, size_t size)
{
	size_t bytes;

	if (__builtin_mul_overflow(n, size, &bytes))
		return NULL;
	return mal_arena_alloc(a, bytes);
}

char *mal_arena_strndup(struct mal_arena *a, const char *s, size_t len)
{
	char *p;

	if (len == SIZE_MAX)
		return NULL;
	p = mal_arena_alloc(a, len + 1);
	if (!p)
		return NULL;
	if (len > 0)
		memcpy(p, s, len);
	p[len] = 0;
	return p;
}

char *mal_arena_vprintf(struct mal_arena *a, const char *fmt, va_list ap)
{
	va_list again;
	char *p;
	int n;

	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, again);
	va_end(again);
	if (n < 0)
		return NULL;
	p = mal_arena_alloc(a, (size_t)n + 1);
	if (p)
		(void)vsnprintf(p, (size_t)n + 1, fmt, ap);
	return p;
}

char *mal_arena_printf(struct mal_arena *a, const char *fmt, ...)
{
	va_list ap;
	char *p;

	va_start(ap, fmt);
	p = mal_arena_vprintf(a, fmt, ap);
	va_end(ap);
	return p;
}
