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

json_t *sonde_view_targets(struct sonde_backend *b, int64_t now_ms);
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

enum sonde_topology_by {
	SONDE_TOPOLOGY_PROCESS = 0,
	SONDE_TOPOLOGY_INSTANCE, /* SkyWalking's: a pod */
	SONDE_TOPOLOGY_SERVICE,
	SONDE_TOPOLOGY_NODE, /* the machine of the agent that registered the process */
	_SONDE_TOPOLOGY_BY_MAX,
};
/* The same with processes put together; a peer that is no known process stays as it is. */
json_t *sonde_view_topology_by(struct sonde_backend *b, const struct sonde_task *t,
			       struct sonde_series_set *set, enum sonde_topology_by by);
json_t *sonde_view_topology(struct sonde_backend *b, const struct sonde_task *t,
			    struct sonde_series_set *set);

/* What the kernel counted in the targets' namespaces, and the targets' part. */
json_t *sonde_view_host(struct sonde_backend *b, const struct sonde_task *t,
			struct sonde_series_set *set);

struct sonde_view_filter {
	const char *metric; /* NULL: all */
	const char *edge;   /* NULL: all */
	const char *side;   /* NULL: both; of a heat map */
	enum sonde_series_step step;
	int64_t since_ms, until_ms; /* buckets that begin from and before; 0: open */
};
static inline bool sonde_view_in_time(const struct sonde_view_filter *f, int64_t start_ms)
{
	return start_ms >= f->since_ms && (f->until_ms == 0 || start_ms < f->until_ms);
}
/* Totals over the task. */
json_t *sonde_view_metrics(struct sonde_backend *b, struct sonde_series_set *set,
			   const struct sonde_view_filter *filter);
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
