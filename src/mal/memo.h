/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Memo: what was worked out before, by the id of a label set (or of a string). Pages are made where
 * they are used, so it costs memory by what is in it. No destructor: all is the arena's. Folder-private.
 */

#include "mal/arena.h"

struct mal_memo {
	struct mal_arena *arena; /* borrowed */
	void ***pages;
	uint32_t n_pages;
};

#define MAL_MEMO_INIT(in_arena) ((struct mal_memo){.arena = (in_arena)})

#define MAL_MEMO_PAGE 64U

/* What mal_memo_slot() does where there is no page yet. */
void **mal_memo_add(struct mal_memo *m, uint32_t id);

/* The slot of @id, which begins as NULL. NULL: no memory. */
static inline void **mal_memo_slot(struct mal_memo *m, uint32_t id)
{
	uint32_t page = id / MAL_MEMO_PAGE;

	if (page < m->n_pages && m->pages[page])
		return &m->pages[page][id % MAL_MEMO_PAGE];
	return mal_memo_add(m, id);
}
