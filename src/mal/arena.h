/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Arena: memory that is given back all at once. Bounded: what would pass the limit fails like a
 * failed malloc(). Folder-private.
 */

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

struct mal_arena_block;

struct mal_arena {
	struct mal_arena_block *blocks; /* owned; newest first */
	size_t used;			/* bytes given out since the last reset */
	size_t max;
};

#define MAL_ARENA_INIT(max_bytes) ((struct mal_arena){.max = (max_bytes)})

void mal_arena_done(struct mal_arena *a);

/* Forgets all content and keeps one block, large enough for what there was, within bounds. */
void mal_arena_reset(struct mal_arena *a);

/* 8 byte aligned, not cleared. NULL: no memory, or the limit. */
void *mal_arena_alloc(struct mal_arena *a, size_t size);
void *mal_arena_zalloc(struct mal_arena *a, size_t size);

/* Room for @n items; NULL too where n * size overflows. */
void *mal_arena_array(struct mal_arena *a, size_t n, size_t size);

/* NULL: no memory. @len bytes and a NUL. */
char *mal_arena_strndup(struct mal_arena *a, const char *s, size_t len);
char *mal_arena_printf(struct mal_arena *a, const char *fmt, ...) _printf_(2, 3);
char *mal_arena_vprintf(struct mal_arena *a, const char *fmt, va_list ap) _printf_(2, 0);
