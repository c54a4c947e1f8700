/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Cells: the entries that the kernel side has given out of its arrays, those of targets from 0 on and those for
 * what found no room there behind the object's cell_limit. Worker's thread only.
 */

#include <stdint.h>

#include "base/cleanup.h"
#include "collect/collector.h"
#include "collect/object.h"
#include "collect/table.h"

#define SONDE_CELL_TABLES_MAX 5

struct sonde_cells {
	const uint32_t *next_cell,
		*next_other; /* how many were asked for: may run past the limits */
	struct sonde_told *told;
	struct sonde_table *tables[SONDE_CELL_TABLES_MAX]; /* the rest NULL */
	/* Tells what changed of one; told and tables reach to it. Return: 0, -errno. */
	int (*emit)(void *ctx, uint32_t index, struct sonde_collect_sink sink);
	void *ctx;
};

/* Return: 0, -ENOMEM, -errno of mmap(2), what emit returned. */
int sonde_cells_emit(const struct sonde_cells *c, const struct sonde_object *o,
		     struct sonde_collect_sink sink) _must_check_;
