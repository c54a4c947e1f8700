/* SPDX-License-Identifier: Apache-2.0 */
/* Lists and series: what they share is pages and spans of time. */
#include <errno.h>
#include <string.h>

#include "backend/http/routes-internal.h"
#include "backend/json.h"
#include "backend/query/views.h"
#include "backend/query/window.h"
#include "base/clock.h"
#include "base/num.h"

int routes_read_time(struct sonde_http_request *req, const char *name, int64_t *ret)
{
	const char *text = sonde_http_query(req, name);

	if (!text || text[0] == '\0' || sonde_json_parse_time(text, ret) == 0)
		return 0;
	return sonde_problem_set(&req->problem, 400, name,
				 "%s: a time such as 2026-01-01T00:00:00Z, or milliseconds since "
				 "1970",
				 name);
}

int routes_read_span(struct sonde_http_request *req, int64_t *since_ms, int64_t *until_ms)
{
	int r;

	*since_ms = *until_ms = 0;
	r = routes_read_time(req, "since", since_ms);
	if (r == 0)
		r = routes_read_time(req, "until", until_ms);
	if (r == 0 && *until_ms > 0 && *until_ms < *since_ms)
		r = sonde_problem_set(&req->problem, 400, "until", "until: is before since");
	return r;
}

int routes_read_step(struct sonde_http_request *req, enum sonde_series_step fallback,
		     enum sonde_series_step *ret)
{
	const char *text = sonde_http_query(req, "step");
	uint64_t ns;

	*ret = fallback;
	if (!text || text[0] == '\0')
		return 0;
	if (sonde_parse_duration_ns(text, &ns) < 0)
		ns = 0;
	for (unsigned i = 0; i < _SONDE_SERIES_STEP_MAX; i++) {
		if (ns == (uint64_t)sonde_series_step_ms[i] * SONDE_NS_PER_MS) {
			*ret = i;
			return 0;
		}
	}
	return sonde_problem_set(&req->problem, 400, "step", "step: 10s, 1m or 1h");
}

int routes_read_side(struct sonde_http_request *req, const char **ret)
{
	const char *side = sonde_http_query(req, "side");

	*ret = side && side[0] != '\0' ? side : NULL;
	if (*ret && strcmp(side, "client") != 0 && strcmp(side, "server") != 0)
		return sonde_problem_set(&req->problem, 400, "side", "side: client or server");
	return 0;
}

static int read_filter(struct sonde_http_request *req, const char *metric,
		       struct sonde_view_filter *ret)
{
	int r;

	*ret = (struct sonde_view_filter){.metric = sonde_http_query(req, "metric"),
					  .edge = sonde_http_query(req, "edge")};
	if (!ret->metric || ret->metric[0] == '\0')
		ret->metric = metric;
	if (!ret->metric)
		return sonde_problem_set(&req->problem, 400, "metric", "metric: a name is needed");
	r = routes_read_side(req, &ret->side);
	if (r == 0)
		r = routes_read_step(req, SONDE_SERIES_10S, &ret->step);
	return r < 0 ? r : routes_read_span(req, &ret->since_ms, &ret->until_ms);
}

/* A step of which nothing is kept any more for this task is answered by the next that is: the answer says its step. */
static int get_filtered(struct sonde_backend *b, const struct sonde_task *t,
			struct sonde_view_filter *filter, struct sonde_series_set **ret)
{
	while (filter->step < SONDE_SERIES_1H && t->ended_ms > 0 &&
	       t->ended_ms < sonde_series_table_floor(b->series, filter->step))
		filter->step++;
	filter->kept_since_ms = sonde_series_table_floor(b->series, filter->step);
	if (filter->kept_since_ms <= t->created_ms)
		filter->kept_since_ms = 0;
	return sonde_series_table_get(b->series, t->spec->id, sonde_wall_ms(), ret);
}

/* Which time the answer is of. @answer: NULL when memory ran out. Return: 0, -ENOMEM. */
static int add_window(json_t *answer, const struct sonde_task *t,
		      const struct sonde_series_set *set, const struct sonde_view_filter *filter)
{
	struct sonde_window window;

	if (!answer)
		return -ENOMEM;
	sonde_window_choose(set, filter->since_ms, filter->until_ms, filter->step, &window);
	return sonde_json_set(answer, "window", sonde_window_json(&window, t));
}

void routes_series(struct sonde_backend *b, struct sonde_http_request *req, struct sonde_task *t)
{
	static const char *const keys[] = {"edge", "side", "entity", "labels", NULL};
	struct sonde_view_filter filter;
	struct sonde_series_set *set = NULL;
	json_t *series = NULL;
	int r = read_filter(req, NULL, &filter);

	if (r == 0)
		r = get_filtered(b, t, &filter, &set);
	if (r == 0) {
		series = sonde_view_series(b, set, &filter);
		r = add_window(series, t, set, &filter);
	}
	if (r == 0) {
		routes_answer_page(req, series, "series", keys);
		return;
	}
	json_decref(series);
	routes_refuse(req, r);
}

void routes_heatmap(struct sonde_backend *b, struct sonde_http_request *req, struct sonde_task *t)
{
	struct sonde_view_filter filter;
	struct sonde_series_set *set = NULL;
	json_t *map = NULL;
	int r = read_filter(req, "sonde_net_rtt_microseconds", &filter);

	if (r == 0)
		r = get_filtered(b, t, &filter, &set);
	if (r == 0)
		r = sonde_view_heatmap(b, set, &filter, &map, &req->problem);
	if (r == 0)
		r = add_window(map, t, set, &filter);
	if (r == 0) {
		routes_answer(req, 200, map);
		return;
	}
	json_decref(map);
	routes_refuse(req, r);
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
	return routes_read_span(req, &ret->since_ms, &ret->until_ms);
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
