/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/tasks/refusals.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/json.h"
#include "base/num.h"

#define NO_PLACE "names" /* the bound of those that share a row */

void sonde_refusals_done(struct sonde_refusals *r)
{
	free(r->v);
	*r = (struct sonde_refusals){0};
}

static uint64_t add(uint64_t a, uint64_t b)
{
	return a > INT64_MAX - b ? INT64_MAX : a + b;
}

static struct sonde_refusal *find(struct sonde_refusals *r, const char *metric, const char *bound)
{
	for (size_t i = 0; i < r->n; i++) {
		if (strncmp(r->v[i].metric, metric, sizeof(r->v[i].metric) - 1) == 0 &&
		    strcmp(r->v[i].bound, bound) == 0)
			return &r->v[i];
	}
	return NULL;
}

void sonde_refusals_add(struct sonde_refusals *r, const char *metric, const char *bound,
			uint64_t count)
{
	struct sonde_refusal *one = find(r, metric, bound);

	if (!one && !r->v)
		r->v = calloc(SONDE_REFUSALS_MAX, sizeof(*r->v));
	if (!one && r->v && r->n < SONDE_REFUSALS_MAX) {
		one = &r->v[r->n++];
		(void)snprintf(one->metric, sizeof(one->metric), "%s", metric);
		(void)snprintf(one->bound, sizeof(one->bound), "%s", bound);
	}
	if (one)
		one->count = add(one->count, count);
	else
		r->other = add(r->other, count);
}

static json_t *row(const char *task, const char *metric, const char *bound, uint64_t count)
{
	json_t *o = json_pack("{s:o, s:s, s:I}", "metric", sonde_json_text(metric), "bound", bound,
			      "count", (json_int_t)count);

	if (o && task && json_object_set_new(o, "task", sonde_json_text(task)) < 0) {
		json_decref(o);
		return NULL;
	}
	return o;
}

int sonde_refusals_append(const struct sonde_refusals *r, const char *task, json_t *rows)
{
	int rc = 0;

	for (size_t i = 0; i < r->n && rc == 0; i++)
		rc = sonde_json_append(rows,
				       row(task, r->v[i].metric, r->v[i].bound, r->v[i].count));
	if (rc == 0 && r->other > 0)
		rc = sonde_json_append(rows, row(task, "", NO_PLACE, r->other));
	return rc;
}

void sonde_refusals_read(struct sonde_refusals *r, const json_t *rows)
{
	for (size_t i = 0; i < json_array_size(rows); i++) {
		const json_t *o = json_array_get(rows, i);
		const char *bound = sonde_json_get_text(o, "bound", NO_PLACE);
		int64_t count = sonde_json_get_int(o, "count", 0);

		if (count <= 0)
			continue;
		if (strcmp(bound, NO_PLACE) == 0)
			r->other = add(r->other, (uint64_t)count);
		else
			sonde_refusals_add(r, sonde_json_get_text(o, "metric", ""), bound,
					   (uint64_t)count);
	}
}
