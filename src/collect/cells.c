/* SPDX-License-Identifier: Apache-2.0 */
#include "collect/cells.h"

#include <assert.h>

static uint32_t given_out(const uint32_t *next, uint32_t limit)
{
	uint32_t n = __atomic_load_n(next, __ATOMIC_ACQUIRE);

	return n < limit ? n : limit;
}

static int emit_range(const struct sonde_cells *c, uint32_t first, uint32_t end,
		      struct sonde_collect_sink sink)
{
	int r;

	if (first == end)
		return 0;
	r = sonde_told_reserve(c->told, end);
	for (size_t i = 0; i < SONDE_CELL_TABLES_MAX && c->tables[i] && r == 0; i++)
		r = sonde_table_map(c->tables[i], end);
	for (uint32_t i = first; i < end && r == 0; i++)
		r = c->emit(c->ctx, i, sink);
	return r;
}

int sonde_cells_emit(const struct sonde_cells *c, const struct sonde_object *o,
		     struct sonde_collect_sink sink)
{
	uint32_t cells, others;
	int r;

	assert(c && o);

	cells = given_out(c->next_cell, o->cell_limit);
	others = given_out(c->next_other, o->other_limit);
	r = emit_range(c, 0, cells, sink);
	if (r == 0)
		r = emit_range(c, o->cell_limit, o->cell_limit + others, sink);
	return r;
}
