/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Arena: memory for protobuf-c that is given back all at once. A message of a
 * few MB unpacks into a hundred times as many small objects; the limit says how
 * much of that is tolerated. Loop thread only.
 */

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>

struct sonde_arena_chunk;

struct sonde_arena {
	ProtobufCAllocator allocator; /* give this to the unpack functions */
	struct sonde_arena_chunk *chunks;
	size_t bytes, max_bytes;
	bool full; /* an allocation was refused since the last reset */
};

void sonde_arena_init(struct sonde_arena *a, size_t max_bytes);
/* Forgets all objects, keeps one chunk. */
void sonde_arena_reset(struct sonde_arena *a);
void sonde_arena_done(struct sonde_arena *a);
/* 16-byte aligned, not zeroed. NULL: the limit or the memory is reached. */
void *sonde_arena_alloc(struct sonde_arena *a, size_t n);
