/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Views: the answers of /api/v1 as JSON (contract: http/README.md). Each is a new
 * reference, NULL when memory ran out. They only read. Loop thread only.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "backend/backend.h"
#include "backend/problem.h"
#include "model/meters.h"

json_t *sonde_view_targets(struct sonde_backend *b, int64_t now_ms);
/* The first of @names (NULL-ended) that @properties have as text; "" if none. Borrowed. */
const char *sonde_view_property(const json_t *properties, const char *const *names);
/* Of its properties; "" if it told none. Borrowed. */
const char *sonde_view_agent_host(const struct sonde_agent *a);
json_t *sonde_view_agents(struct sonde_backend *b, int64_t now_ms);
json_t *sonde_view_task(struct sonde_backend *b, const struct sonde_task *t);
struct sonde_tasks_filter {
	uint64_t limit;
	const struct sonde_task *before; /* only older ones than this; NULL: all */
	const char *state;		 /* "running", "unfinished", "ended"; NULL or "": any */
	int64_t since_ms, until_ms;	 /* created from and before; 0: open */
};
/* Newest first, and in `next` where the following page begins. */
json_t *sonde_view_tasks(struct sonde_backend *b, const struct sonde_tasks_filter *filter);
json_t *sonde_view_ledger(struct sonde_backend *b, const struct sonde_task *t);
json_t *sonde_view_stats(struct sonde_backend *b);

/* Of processes, over the whole task; others: topology.h. */
json_t *sonde_view_topology(struct sonde_backend *b, const struct sonde_task *t,
			    struct sonde_series_set *set);

/* What the kernel counted in the targets' namespaces, and the targets' part. */
json_t *sonde_view_host(struct sonde_backend *b, const struct sonde_task *t,
			struct sonde_series_set *set);

/*
 * The meter that a metric shows: the one of its name, or the only one that its rule reads if no metric has
 * the meter's own name. So a second rule over a meter does not count twice. Return: 0, -ENOENT.
 */
int sonde_view_meter_of(struct sonde_backend *b, const char *metric,
			enum sonde_meter *ret) _must_check_;

struct sonde_view_filter {
	const char *metric; /* NULL: all */
	const char *edge;   /* NULL: all */
	const char *side;   /* NULL: both; of a heat map */
	enum sonde_series_step step;
	int64_t since_ms, until_ms; /* buckets that begin from and before; 0: open */
	int64_t kept_since_ms; /* what of the task is older is not kept in this step; 0: all of it is */
};
static inline bool sonde_view_in_time(const struct sonde_view_filter *f, int64_t start_ms)
{
	return start_ms >= f->since_ms && (f->until_ms == 0 || start_ms < f->until_ms);
}
/* Totals over the window. */
struct sonde_window;
json_t *sonde_view_metrics(struct sonde_backend *b, struct sonde_series_set *set,
			   const struct sonde_view_filter *filter,
			   const struct sonde_window *window);
/* Points over time of filter->metric. */
json_t *sonde_view_series(struct sonde_backend *b, struct sonde_series_set *set,
			  const struct sonde_view_filter *filter);

/*
 * Counts by bucket and time of filter->metric, of one edge and side or of all together. Return: 0, -EINVAL with
 * @problem filled (it is no histogram's), -ENOMEM.
 */
int sonde_view_heatmap(struct sonde_backend *b, struct sonde_series_set *set,
		       const struct sonde_view_filter *filter, json_t **ret,
		       struct sonde_problem *problem) _must_check_;
