/* SPDX-License-Identifier: Apache-2.0 */
/* Heat map: how often each bucket of a histogram was hit, step by step, over the edges that were asked for. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backend/json.h"
#include "backend/query/views.h"
#include "backend/query/walk.h"
#include "base/num.h"
#include "model/meters.h"

struct cell {
	int64_t start_ms, bound, count;
};

struct map {
	const struct sonde_view_filter *filter;
	struct cell *cell;
	size_t n, cap;
	int64_t start_ms; /* of the bucket that is being walked */
};

static int on_bucket(void *ctx, const struct sonde_walk_value *v)
{
	struct map *m = ctx;

	if ((m->filter->edge && strcmp(v->edge, m->filter->edge) != 0) ||
	    (m->filter->side && strcmp(v->side, m->filter->side) != 0) || v->value == 0)
		return 0;
	if (m->n == m->cap) {
		size_t cap = m->cap ? 2 * m->cap : 256;
		struct cell *more = reallocarray(m->cell, cap, sizeof(*more));

		if (!more)
			return -ENOMEM;
		m->cell = more;
		m->cap = cap;
	}
	m->cell[m->n++] = (struct cell){m->start_ms, v->bucket, v->value};
	return 0;
}

static int walk(struct map *m, struct sonde_registry *r, const struct sonde_series *s)
{
	unsigned step = m->filter->step;
	int error = 0;

	for (size_t i = 0; i < s->step[step].n && error == 0; i++) {
		m->start_ms = s->step[step].bucket[i].start_ms;
		if (sonde_view_in_time(m->filter, m->start_ms))
			error = sonde_walk_held(r, s, s->step[step].bucket[i].acc, on_bucket, m);
	}
	return error;
}

static int by_time(const void *a, const void *b)
{
	const struct cell *x = a, *y = b;

	if (x->start_ms != y->start_ms)
		return x->start_ms < y->start_ms ? -1 : 1;
	return (x->bound > y->bound) - (x->bound < y->bound);
}

/* Cells of one bucket and step, of several edges and sides, are one. */
static void merge(struct map *m)
{
	size_t n = 0;

	if (m->n > 0)
		qsort(m->cell, m->n, sizeof(*m->cell), by_time);
	for (size_t i = 0; i < m->n; i++) {
		if (n > 0 && by_time(&m->cell[n - 1], &m->cell[i]) == 0)
			m->cell[n - 1].count =
				sonde_add_i64(m->cell[n - 1].count, m->cell[i].count);
		else
			m->cell[n++] = m->cell[i];
	}
	m->n = n;
}

static json_t *columns_json(const struct map *m)
{
	_cleanup_json_ json_t *columns = json_array();
	size_t end;

	for (size_t i = 0; columns && i < m->n; i = end) {
		_cleanup_json_ json_t *cells = json_array();
		int64_t count = 0;

		for (end = i; cells && end < m->n && m->cell[end].start_ms == m->cell[i].start_ms;
		     end++) {
			count = sonde_add_i64(count, m->cell[end].count);
			if (sonde_json_append(cells,
					      json_pack("[I, I]", (json_int_t)m->cell[end].bound,
							(json_int_t)m->cell[end].count)) < 0)
				return NULL;
		}
		if (!cells ||
		    sonde_json_append(columns,
				      json_pack("{s:o, s:I, s:O}", "start",
						sonde_json_time(m->cell[i].start_ms), "count",
						(json_int_t)count, "cells", cells)) < 0)
			return NULL;
	}
	return TAKE_PTR(columns);
}

int sonde_view_heatmap(struct sonde_backend *b, struct sonde_series_set *set,
		       const struct sonde_view_filter *filter, json_t **ret,
		       struct sonde_problem *problem)
{
	struct map m = {.filter = filter};
	json_t *columns;
	int r = 0;

	for (struct sonde_series *s = set->series; s && r == 0; s = s->hh.next) {
		if (strcmp(filter->metric, s->metric) != 0)
			continue;
		/* Averages of percentiles hold no counts. */
		if (s->function.downsampling != SONDE_MAL_SUM ||
		    (s->function.kind != SONDE_MAL_HISTOGRAM &&
		     s->function.kind != SONDE_MAL_HISTOGRAM_PERCENTILE))
			r = sonde_problem_set(problem, 400, "metric",
					      "metric: is not one of a histogram");
		else
			r = walk(&m, b->registry, s);
	}
	if (r == 0)
		merge(&m);
	columns = r == 0 ? columns_json(&m) : NULL;
	free(m.cell);
	if (r < 0)
		return r;
	*ret = json_pack("{s:s, s:s, s:I, s:o, s:o}", "metric", filter->metric, "unit",
			 sonde_meter_unit(filter->metric), "step_ms",
			 (json_int_t)sonde_series_step_ms[filter->step], "kept_since",
			 sonde_json_time(filter->kept_since_ms), "columns", columns);
	return *ret ? 0 : -ENOMEM;
}
