/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Metrics for Prometheus: the server's own, and those of tasks. Both only read. Loop thread only.
 */

#include "backend/backend.h"
#include "backend/query/exposition.h"

/* Of one answer: series past either bound are left out whole, counted in `sonde_task_series_refused`. */
#define SONDE_TASK_METRICS_SAMPLES_MAX 100000
#define SONDE_TASK_METRICS_BYTES_MAX (32U << 20)

/* sonde_server_*, process_*. */
void sonde_metrics_own(struct sonde_backend *b, struct sonde_exposition *e);

/*
 * sonde_task_*, and the totals of the tasks' metrics as /metrics of each has them. A histogram of sonde_net_* comes with
 * fixed bounds, 10 to 10,000,000 by 1, 2, 5 in the unit of its name, each of which is the lower bound of one of its
 * fine buckets: what is below a bound is counted, exactly. Return: 0, -errno.
 */
int sonde_metrics_tasks(struct sonde_backend *b, struct sonde_task *const *tasks, size_t n,
			struct sonde_exposition *e) _must_check_;
