/* SPDX-License-Identifier: Apache-2.0 */
/* Views of a task's numbers: who with whom, what was dropped, how long it took. They share a window and pages. */
#include <errno.h>
#include <string.h>

#include "backend/http/routes-internal.h"
#include "backend/json.h"
#include "backend/query/drops.h"
#include "backend/query/rtt.h"
#include "backend/query/topology.h"
#include "backend/query/views.h"
#include "base/clock.h"
#include "base/num.h"

#define TOP_MAX 100000

/* Over all of the task the hours alone are enough. */
static int get_set(struct sonde_backend *b, struct sonde_http_request *req,
		   const struct sonde_task *t, struct sonde_series_set **ret)
{
	static const char *const names[] = {"since", "until", "step"};
	bool all = true;

	for (size_t i = 0; i < ELEMENTS_OF(names); i++) {
		const char *text = sonde_http_query(req, names[i]);

		all = all && (!text || text[0] == '\0');
	}
	return all ? sonde_series_table_get_totals(b->series, t->spec->id, sonde_wall_ms(), ret)
		   : sonde_series_table_get(b->series, t->spec->id, sonde_wall_ms(), ret);
}

/* `since`, `until` and `step`. */
static int read_window(struct sonde_http_request *req, const struct sonde_series_set *set,
		       struct sonde_window *ret)
{
	int64_t since_ms, until_ms;
	enum sonde_series_step step;
	int r;

	r = routes_read_span(req, &since_ms, &until_ms);
	if (r == 0)
		r = routes_read_step(req, _SONDE_SERIES_STEP_MAX, &step);
	if (r == 0)
		sonde_window_choose(set, since_ms, until_ms, step, ret);
	return r;
}

static int read_by(struct sonde_http_request *req, struct sonde_topology_query *q)
{
	const char *by = sonde_http_query(req, "by");
	unsigned i = 0;

	while (by && by[0] != '\0' && i < _SONDE_TOPOLOGY_BY_MAX &&
	       strcmp(by, sonde_topology_by_name(i)) != 0)
		i++;
	if (i == _SONDE_TOPOLOGY_BY_MAX)
		return sonde_problem_set(&req->problem, 400, "by",
					 "by: process, instance, workload, service, node or ip");
	q->by = i;
	return 0;
}

static int read_rank(struct sonde_http_request *req, struct sonde_topology_query *q)
{
	const char *metric = sonde_http_query(req, "metric"), *top = sonde_http_query(req, "top");
	const char *hide = sonde_http_query(req, "hide_below");

	q->ranked = (metric && metric[0] != '\0') || top;
	if (metric && metric[0] != '\0')
		q->rank = sonde_rank_find(metric);
	if (q->rank == _SONDE_RANK_MAX) {
		static const char words[] =
			"metric: bytes, segments, datagrams, retransmitted_segments, dropped_segments, "
			"connections, connect_failures, resets, rtt_p50, rtt_p90 or rtt_p99";

		return sonde_problem_set(&req->problem, 400, "metric", "%s", words);
	}
	if (top && sonde_parse_u64(top, 1, TOP_MAX, &q->top) < 0)
		return sonde_problem_set(&req->problem, 400, "top", "top: must be 1 to %d",
					 TOP_MAX);
	if (hide && sonde_parse_u64(hide, 0, 100, &q->hide_below) < 0)
		return sonde_problem_set(&req->problem, 400, "hide_below",
					 "hide_below: a whole percentage, 0 to 100");
	if (q->hide_below > 0 && !sonde_rank_is_sum(q->rank))
		return sonde_problem_set(&req->problem, 400, "hide_below",
					 "hide_below: %s does not add up, so nothing is a part of "
					 "it: use top",
					 sonde_rank_name(q->rank));
	return 0;
}

void routes_topology(struct sonde_backend *b, struct sonde_http_request *req, struct sonde_task *t)
{
	struct sonde_topology_query query = {.rank = SONDE_RANK_BYTES};
	struct sonde_series_set *set = NULL;
	json_t *topology = NULL;
	int r;

	r = read_by(req, &query);
	if (r == 0)
		r = read_rank(req, &query);
	if (r == 0)
		r = get_set(b, req, t, &set);
	if (r == 0)
		r = read_window(req, set, &query.window);
	if (r == 0)
		r = sonde_topology(b, t, set, &query, &topology);
	if (r < 0)
		routes_refuse(req, r);
	else
		routes_answer(req, 200, topology);
}

void routes_answer_page(struct sonde_http_request *req, json_t *body, const char *name,
			const char *const *keys)
{
	const struct sonde_page page = {sonde_http_query(req, "limit"),
					sonde_http_query(req, "cursor")};
	_cleanup_json_ json_t *whole = body;
	json_t *next = NULL;
	int r = whole ? sonde_page_cut(json_object_get(whole, name), keys, &page, &next,
				       &req->problem)
		      : -ENOMEM;

	if (r == 0)
		r = sonde_json_set(whole, "next", next);
	if (r < 0)
		routes_refuse(req, r);
	else
		routes_answer(req, 200, TAKE_PTR(whole));
}

void routes_task_metrics(struct sonde_backend *b, struct sonde_http_request *req,
			 struct sonde_task *t)
{
	static const char *const keys[] = {"metric", "edge", "side", "entity", "labels", NULL};
	const struct sonde_view_filter filter = {.metric = sonde_http_query(req, "metric"),
						 .edge = sonde_http_query(req, "edge")};
	struct sonde_series_set *set = NULL;
	struct sonde_window window;
	json_t *metrics = NULL;
	int r;

	r = get_set(b, req, t, &set);
	if (r == 0)
		r = read_window(req, set, &window);
	if (r == 0) {
		metrics = sonde_view_metrics(b, set, &filter, &window);
		r = metrics ? sonde_json_set(metrics, "window", sonde_window_json(&window, t))
			    : -ENOMEM;
	}
	if (r == 0) {
		routes_answer_page(req, metrics, "metrics", keys);
		return;
	}
	json_decref(metrics);
	routes_refuse(req, r);
}

/* `edge`, `side`, `limit` and `cursor`: NULL where they are not given. */
static int read_ends(struct sonde_http_request *req, const char **edge, const char **side,
		     struct sonde_page *page)
{
	*page = (struct sonde_page){sonde_http_query(req, "limit"),
				    sonde_http_query(req, "cursor")};
	*edge = sonde_http_query(req, "edge");
	if (*edge && **edge == '\0')
		*edge = NULL;
	return routes_read_side(req, side);
}

void routes_drops(struct sonde_backend *b, struct sonde_http_request *req, struct sonde_task *t)
{
	const char *by = sonde_http_query(req, "by");
	struct sonde_drops_query query = {0};
	struct sonde_series_set *set = NULL;
	json_t *drops = NULL;
	unsigned i = 0;
	int r;

	while (by && by[0] != '\0' && i < _SONDE_DROPS_BY_MAX &&
	       strcmp(by, sonde_drops_by_name(i)) != 0)
		i++;
	query.by = i;
	r = i < _SONDE_DROPS_BY_MAX
		    ? read_ends(req, &query.edge, &query.side, &query.page)
		    : sonde_problem_set(&req->problem, 400, "by",
					"by: reason, class, direction, edge or location");
	if (r == 0)
		r = sonde_series_table_get(b->series, t->spec->id, sonde_wall_ms(), &set);
	if (r == 0)
		r = read_window(req, set, &query.window);
	if (r == 0)
		r = sonde_view_drops(b, t, set, &query, &drops, &req->problem);
	if (r < 0)
		routes_refuse(req, r);
	else
		routes_answer(req, 200, drops);
}

void routes_rtt(struct sonde_backend *b, struct sonde_http_request *req, struct sonde_task *t)
{
	struct sonde_series_set *set = NULL;
	struct sonde_rtt_query query = {0};
	json_t *rtt = NULL;
	int r;

	r = read_ends(req, &query.edge, &query.side, &query.page);
	if (r == 0)
		r = get_set(b, req, t, &set);
	if (r == 0)
		r = read_window(req, set, &query.window);
	if (r == 0)
		r = sonde_view_rtt(b, t, set, &query, &rtt, &req->problem);
	if (r < 0)
		routes_refuse(req, r);
	else
		routes_answer(req, 200, rtt);
}
