/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Views: the answers of /api/v1 as JSON (contract: http/README.md). Each is a new
 * reference, NULL when memory ran out. They only read. Loop thread only.
 */

#include <jansson.h>

#include "backend/backend.h"

json_t *sonde_view_targets(struct sonde_backend *b, int64_t now_ms);
json_t *sonde_view_agents(struct sonde_backend *b, int64_t now_ms);
json_t *sonde_view_task(struct sonde_backend *b, const struct sonde_task *t);
/* The newest @limit, newest first. */
json_t *sonde_view_tasks(struct sonde_backend *b, size_t limit);
json_t *sonde_view_ledger(struct sonde_backend *b, const struct sonde_task *t);
json_t *sonde_view_stats(struct sonde_backend *b);

json_t *sonde_view_topology(struct sonde_backend *b, const struct sonde_task *t,
			    struct sonde_series_set *set);

/* What the kernel counted in the targets' namespaces, and the targets' part. */
json_t *sonde_view_host(struct sonde_backend *b, const struct sonde_task *t,
			struct sonde_series_set *set);

struct sonde_view_filter {
	const char *metric; /* NULL: all */
	const char *edge;   /* NULL: all */
	enum sonde_series_step step;
};
/* Totals over the task. */
json_t *sonde_view_metrics(struct sonde_backend *b, struct sonde_series_set *set,
			   const struct sonde_view_filter *filter);
/* Points over time of filter->metric. */
json_t *sonde_view_series(struct sonde_backend *b, struct sonde_series_set *set,
			  const struct sonde_view_filter *filter);
