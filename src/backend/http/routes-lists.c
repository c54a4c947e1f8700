/* SPDX-License-Identifier: Apache-2.0 */
/* Lists and series: what they share is pages and spans of time. */
#include <errno.h>
#include <string.h>

#include "backend/http/routes-internal.h"
#include "backend/json.h"
#include "backend/query/views.h"
#include "base/clock.h"
#include "base/num.h"

static int read_time(struct sonde_http_request *req, const char *name, int64_t *ret)
{
	const char *text = sonde_http_query(req, name);

	if (!text || text[0] == '\0' || sonde_json_parse_time(text, ret) == 0)
		return 0;
	return sonde_problem_set(&req->problem, 400, name,
				 "%s: a time such as 2026-01-01T00:00:00Z, or milliseconds since "
				 "1970",
				 name);
}

/* `since` and `until`: 0 where they are not given. */
static int read_span(struct sonde_http_request *req, int64_t *since_ms, int64_t *until_ms)
{
	int r = read_time(req, "since", since_ms);

	return r < 0 ? r : read_time(req, "until", until_ms);
}

static int read_filter(struct sonde_http_request *req, const char *metric,
		       struct sonde_view_filter *ret)
{
	const char *step = sonde_http_query(req, "step");

	*ret = (struct sonde_view_filter){.metric = sonde_http_query(req, "metric"),
					  .edge = sonde_http_query(req, "edge"),
					  .side = sonde_http_query(req, "side")};
	if (!ret->metric || ret->metric[0] == '\0')
		ret->metric = metric;
	if (!ret->metric)
		return sonde_problem_set(&req->problem, 400, "metric", "metric: a name is needed");
	if (ret->side && strcmp(ret->side, "client") != 0 && strcmp(ret->side, "server") != 0)
		return sonde_problem_set(&req->problem, 400, "side", "side: client or server");
	if (step && strcmp(step, "1m") == 0)
		ret->step = SONDE_SERIES_1M;
	else if (step && strcmp(step, "10s") != 0)
		return sonde_problem_set(&req->problem, 400, "step", "step: 10s or 1m");
	return read_span(req, &ret->since_ms, &ret->until_ms);
}

void routes_series(struct sonde_backend *b, struct sonde_http_request *req, struct sonde_task *t)
{
	struct sonde_view_filter filter;
	struct sonde_series_set *set = NULL;
	int r = read_filter(req, NULL, &filter);

	if (r == 0)
		r = sonde_series_table_get(b->series, t->spec->id, sonde_wall_ms(), &set);
	if (r < 0)
		routes_refuse(req, r);
	else
		routes_answer(req, 200, sonde_view_series(b, set, &filter));
}

void routes_heatmap(struct sonde_backend *b, struct sonde_http_request *req, struct sonde_task *t)
{
	struct sonde_view_filter filter;
	struct sonde_series_set *set = NULL;
	json_t *map = NULL;
	int r = read_filter(req, "sonde_net_rtt_microseconds", &filter);

	if (r == 0)
		r = sonde_series_table_get(b->series, t->spec->id, sonde_wall_ms(), &set);
	if (r == 0)
		r = sonde_view_heatmap(b, set, &filter, &map, &req->problem);
	if (r < 0)
		routes_refuse(req, r);
	else
		routes_answer(req, 200, map);
}

static int read_tasks_filter(struct sonde_backend *b, struct sonde_http_request *req,
			     struct sonde_tasks_filter *ret)
{
	const char *limit = sonde_http_query(req, "limit");
	const char *cursor = sonde_http_query(req, "cursor");

	*ret = (struct sonde_tasks_filter){.limit = SONDE_TASK_LIST_DEFAULT,
					   .state = sonde_http_query(req, "state")};
	if (limit && sonde_parse_u64(limit, 1, SONDE_TASKS_MAX, &ret->limit) < 0)
		return sonde_problem_set(&req->problem, 400, "limit", "limit: must be 1 to %d",
					 SONDE_TASKS_MAX);
	if (cursor && cursor[0] != '\0') {
		ret->before = sonde_task_table_find(b->tasks, cursor);
		if (!ret->before)
			return sonde_problem_set(
				&req->problem, 400, "cursor",
				"cursor: not the `next` of an answer, or that task is forgotten");
	}
	if (ret->state && ret->state[0] != '\0' && strcmp(ret->state, "running") != 0 &&
	    strcmp(ret->state, "ended") != 0 && strcmp(ret->state, "unfinished") != 0)
		return sonde_problem_set(&req->problem, 400, "state",
					 "state: running, unfinished or ended");
	return read_span(req, &ret->since_ms, &ret->until_ms);
}

void routes_tasks(struct sonde_backend *b, struct sonde_http_request *req)
{
	struct sonde_tasks_filter filter;
	int r = read_tasks_filter(b, req, &filter);

	if (r < 0)
		routes_refuse(req, r);
	else
		routes_answer(req, 200, sonde_view_tasks(b, &filter));
}

void routes_topology(struct sonde_backend *b, struct sonde_http_request *req, struct sonde_task *t)
{
	static const char *const names[] = {"process", "instance", "service", "node"};
	const char *by = sonde_http_query(req, "by");
	struct sonde_series_set *set = NULL;
	unsigned i = 0;
	int r;

	_Static_assert(ELEMENTS_OF(names) == _SONDE_TOPOLOGY_BY_MAX, "a name for each");
	while (by && i < ELEMENTS_OF(names) && strcmp(by, names[i]) != 0)
		i++;
	r = i < ELEMENTS_OF(names) ? 0
				   : sonde_problem_set(&req->problem, 400, "by",
						       "by: process, instance, service or node");
	if (r == 0)
		r = sonde_series_table_get(b->series, t->spec->id, sonde_wall_ms(), &set);
	if (r < 0)
		routes_refuse(req, r);
	else
		routes_answer(req, 200, sonde_view_topology_by(b, t, set, i));
}
