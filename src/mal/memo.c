/* SPDX-License-Identifier: Apache-2.0 */
#include "mal/memo.h"

#include <string.h>

static int add_pages(struct mal_memo *m, uint32_t page)
{
	uint32_t n = page + 1 > m->n_pages * 2 ? page + 16 : m->n_pages * 2;
	void ***pages = mal_arena_zalloc(m->arena, n * sizeof(*pages));

	if (!pages)
		return -1;
	if (m->n_pages > 0)
		memcpy((void *)pages, (void *)m->pages, m->n_pages * sizeof(*pages));
	m->pages = pages;
	m->n_pages = n;
	return 0;
}

void **mal_memo_add(struct mal_memo *m, uint32_t id)
{
	uint32_t page = id / MAL_MEMO_PAGE;

	if (page >= m->n_pages && add_pages(m, page) < 0)
		return NULL;
	if (!m->pages[page])
		m->pages[page] = mal_arena_zalloc(m->arena, MAL_MEMO_PAGE * sizeof(void *));
	return m->pages[page] ? &m->pages[page][id % MAL_MEMO_PAGE] : NULL;
}
