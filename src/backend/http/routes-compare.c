/* SPDX-License-Identifier: Apache-2.0 */
/* GET /compare: two windows of tasks held against each other. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backend/http/routes-internal.h"
#include "backend/query/compare.h"
#include "base/num.h"

#define THRESHOLD_MAX_PERCENT 100000
#define SAMPLES_MAX 1000000000

/* `a`, `a_since`, `a_until`, and so of `b`. */
static int read_span(struct sonde_backend *b, struct sonde_http_request *req, const char *name,
		     const char *since, const char *until, struct sonde_compare_span *ret)
{
	const char *id = sonde_http_query(req, name);
	int r;

	*ret = (struct sonde_compare_span){0};
	if (!id || id[0] == '\0')
		return sonde_problem_set(&req->problem, 400, name, "%s: a task is needed", name);
	ret->task = sonde_task_table_find(b->tasks, id);
	if (!ret->task)
		return sonde_problem_set(&req->problem, 404, name, "no task '%.64s'", id);
	r = routes_read_time(req, since, &ret->since_ms);
	if (r == 0)
		r = routes_read_time(req, until, &ret->until_ms);
	if (r == 0 && ret->until_ms > 0 && ret->until_ms <= ret->since_ms)
		r = sonde_problem_set(&req->problem, 400, until, "%s: is not behind %s", until,
				      since);
	return r;
}

static int read_query(struct sonde_backend *b, struct sonde_http_request *req,
		      struct sonde_compare_query *ret)
{
	const char *threshold = sonde_http_query(req, "threshold_percent");
	const char *samples = sonde_http_query(req, "min_samples");
	uint64_t percent;
	int r;

	*ret = (struct sonde_compare_query){.threshold_percent = SONDE_COMPARE_THRESHOLD_PERCENT,
					    .min_samples = SONDE_COMPARE_SAMPLES_MIN};
	if (threshold) {
		if (sonde_parse_u64(threshold, 0, THRESHOLD_MAX_PERCENT, &percent) < 0)
			return sonde_problem_set(&req->problem, 400, "threshold_percent",
						 "threshold_percent: must be 0 to %d",
						 THRESHOLD_MAX_PERCENT);
		ret->threshold_percent = (double)percent;
	}
	if (samples && sonde_parse_u64(samples, 1, SAMPLES_MAX, &ret->min_samples) < 0)
		return sonde_problem_set(&req->problem, 400, "min_samples",
					 "min_samples: must be 1 to %d", SAMPLES_MAX);
	r = read_span(b, req, "a", "a_since", "a_until", &ret->a);
	return r < 0 ? r : read_span(b, req, "b", "b_since", "b_until", &ret->b);
}

void routes_compare(struct sonde_backend *b, struct sonde_http_request *req)
{
	struct sonde_compare_query query;
	json_t *answer = NULL;
	int r = read_query(b, req, &query);

	if (r == 0)
		r = sonde_view_compare(b, &query, &answer, &req->problem);
	if (r < 0)
		routes_refuse(req, r);
	else
		routes_answer(req, 200, answer);
}
