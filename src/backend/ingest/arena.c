/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/ingest/arena.h"

#include <stdint.h>
#include <stdlib.h>

#define CHUNK_BYTES (256U << 10)
#define ALIGN 16

struct sonde_arena_chunk {
	struct sonde_arena_chunk *next;
	size_t size, used;
	_Alignas(ALIGN) uint8_t data[];
};

static void *arena_alloc(void *ctx, size_t n)
{
	return sonde_arena_alloc(ctx, n);
}

static void arena_free(void *ctx, void *p)
{
	/* all at once, by reset */
}

void sonde_arena_init(struct sonde_arena *a, size_t max_bytes)
{
	*a = (struct sonde_arena){
		.allocator = {.alloc = arena_alloc, .free = arena_free, .allocator_data = a},
		.max_bytes = max_bytes,
	};
}

void *sonde_arena_alloc(struct sonde_arena *a, size_t n)
{
	struct sonde_arena_chunk *c = a->chunks;
	size_t size;
	void *p;

	if (n > a->max_bytes) {
		a->full = true;
		return NULL;
	}
	n = (n + ALIGN - 1) / ALIGN * ALIGN;
	if (!c || c->size - c->used < n) {
		size = n > CHUNK_BYTES ? n : CHUNK_BYTES;
		if (a->bytes + size > a->max_bytes + CHUNK_BYTES ||
		    !(c = malloc(sizeof(*c) + size))) {
			a->full = true;
			return NULL;
		}
		c->size = size;
		c->used = 0;
		c->next = a->chunks;
		a->chunks = c;
		a->bytes += size;
	}
	p = c->data + c->used;
	c->used += n;
	return p;
}

static void free_chunks(struct sonde_arena_chunk *c)
{
	while (c) {
		struct sonde_arena_chunk *next = c->next;

		free(c);
		c = next;
	}
}

void sonde_arena_reset(struct sonde_arena *a)
{
	a->full = false;
	if (!a->chunks)
		return;
	free_chunks(a->chunks->next);
	a->chunks->next = NULL;
	a->chunks->used = 0;
	a->bytes = a->chunks->size;
}

void sonde_arena_done(struct sonde_arena *a)
{
	free_chunks(a->chunks);
	a->chunks = NULL;
	a->bytes = 0;
}
