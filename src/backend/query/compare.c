/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/query/compare.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "backend/json.h"
#include "backend/query/compare-judge.h"
#include "base/clock.h"

#define WORK_MS 1000 /* of one comparison, in which the loop does nothing else */

enum edge_state {
	EDGE_BOTH = 0,
	EDGE_NEW,	   /* in B only, though its end was profiled in A too */
	EDGE_GONE,	   /* in A only, though its end was profiled in B too */
	EDGE_UNMEASURED_A, /* in B only, as its end was no target in A */
	EDGE_UNMEASURED_B,
	EDGE_POOLED_A, /* in B only, but in A its end has "other" edges: it may be among them */
	EDGE_POOLED_B,
	_EDGE_STATE_MAX,
};

struct edge {
	const struct sonde_compare_side *a, *b; /* NULL: not there */
	enum edge_state state;
	struct sonde_compare_result *presence; /* of a new or gone one; into comparison.result */
	bool differs;
	size_t first, n; /* results */
};

struct comparison {
	const struct sonde_compare_query *query;
	struct sonde_compare_window a, b;
	struct edge *edge;		     /* owned */
	struct sonde_compare_result *result; /* owned */
	size_t n_edges, n_results, tests, differences;
	uint64_t deadline_ns; /* of the thread's own time */
};

static void comparison_done(struct comparison *c)
{
	sonde_compare_window_done(&c->a);
	sonde_compare_window_done(&c->b);
	free(c->edge);
	free(c->result);
}

/* --- edges of both, by their names --- */

static int by_key(struct sonde_compare_side *a, struct sonde_compare_side *b)
{
	return strcmp(a->key, b->key);
}

static bool was_profiled(const struct sonde_compare_window *w, const struct sonde_compare_side *s)
{
	return json_object_get(w->profiled, s->is_server ? s->server : s->client) != NULL;
}

/* Had the agent no room for each edge of its end, then one that is not seen may be in "other"; "other" itself is no edge. */
static bool may_be_pooled(const struct sonde_compare_window *w, const struct sonde_compare_side *s)
{
	char pool[SONDE_COMPARE_KEY_MAX];

	sonde_compare_pool_key(s, pool);
	return strcmp(sonde_compare_peer(s), "other") == 0 || json_object_get(w->pooled, pool);
}

static enum edge_state state_without(const struct sonde_compare_window *w,
				     const struct sonde_compare_side *s, bool is_a)
{
	if (!was_profiled(w, s))
		return is_a ? EDGE_UNMEASURED_A : EDGE_UNMEASURED_B;
	if (may_be_pooled(w, s))
		return is_a ? EDGE_POOLED_A : EDGE_POOLED_B;
	return is_a ? EDGE_NEW : EDGE_GONE;
}

static void add_edge(struct comparison *c, const struct sonde_compare_side *a,
		     const struct sonde_compare_side *b)
{
	struct edge *e = &c->edge[c->n_edges++];

	*e = (struct edge){.a = a, .b = b, .state = EDGE_BOTH};
	if (!a)
		e->state = state_without(&c->a, b, true);
	else if (!b)
		e->state = state_without(&c->b, a, false);
}

static int join(struct comparison *c)
{
	const struct sonde_compare_side *a, *b;
	size_t n;

	HASH_SORT(c->a.sides, by_key);
	HASH_SORT(c->b.sides, by_key);
	n = HASH_COUNT(c->a.sides) + HASH_COUNT(c->b.sides);
	c->edge = calloc(n + 1, sizeof(*c->edge));
	c->result = calloc(n * (sonde_compare_n_quantities + 1) + 1, sizeof(*c->result));
	if (!c->edge || !c->result)
		return -ENOMEM;
	for (a = c->a.sides, b = c->b.sides; a || b;) {
		int order = !a ? 1 : !b ? -1 : strcmp(a->key, b->key);

		add_edge(c, order <= 0 ? a : NULL, order >= 0 ? b : NULL);
		if (order <= 0)
			a = a->hh.next;
		if (order >= 0)
			b = b->hh.next;
	}
	return 0;
}

static bool is_late(const struct comparison *c)
{
	return sonde_work_ns() >= c->deadline_ns;
}

/* --- verdicts --- */

static bool applies(const struct sonde_compare_quantity *q, const struct sonde_compare_side *s)
{
	return q->udp == s->is_udp && (!q->client_only || !s->is_server);
}

static int judge_edge(struct comparison *c, struct edge *e)
{
	int r = 0;

	if (e->state == EDGE_NEW || e->state == EDGE_GONE) {
		e->presence = &c->result[c->n_results++];
		sonde_compare_judge_presence(e->a ? &c->a : &c->b, e->a ? e->a : e->b,
					     e->a ? &c->b : &c->a, c->query->min_samples,
					     e->presence);
	}
	e->first = c->n_results;
	for (size_t i = 0; i < sonde_compare_n_quantities && r == 0; i++) {
		const struct sonde_compare_quantity *q = &sonde_compare_quantities[i];
		struct sonde_compare_result *result = &c->result[c->n_results];

		if (!applies(q, e->a ? e->a : e->b))
			continue;
		result->quantity = q;
		result->verdict = SONDE_COMPARE_ABSENT;
		if (e->a && e->b)
			r = sonde_compare_judge(q, &c->a, e->a, &c->b, e->b, c->query->min_samples,
						result);
		else if (e->a)
			r = sonde_compare_measure(q, &c->a, e->a, &result->a);
		else
			r = sonde_compare_measure(q, &c->b, e->b, &result->b);
		c->n_results++;
	}
	e->n = c->n_results - e->first;
	return r;
}

/* Holm over all that was tested, in all edges. */
static int correct(struct comparison *c)
{
	_cleanup_free_ double *p = calloc(c->n_results + 1, sizeof(*p));
	_cleanup_free_ size_t *order = calloc(c->n_results + 1, sizeof(*order));
	size_t at = 0;

	if (!p || !order)
		return -ENOMEM;
	for (size_t i = 0; i < c->n_results; i++) {
		if (c->result[i].tested)
			p[c->tests++] = c->result[i].p;
	}
	sonde_holm(p, order, c->tests);
	for (size_t i = 0; i < c->n_results; i++) {
		if (c->result[i].tested)
			c->result[i].adjusted = p[at++];
	}
	return 0;
}

/* In percent of A; not finite from 0 to anything else. */
static double change(const struct sonde_compare_result *r)
{
	if (r->a.value == r->b.value)
		return 0;
	return 100 * (r->b.value - r->a.value) / r->a.value;
}

static void decide(struct comparison *c, struct edge *e)
{
	for (size_t i = e->first; i < e->first + e->n; i++) {
		struct sonde_compare_result *r = &c->result[i];

		if (!r->tested || r->adjusted >= SONDE_COMPARE_ALPHA)
			continue;
		r->verdict = fabs(change(r)) >= c->query->threshold_percent
				     ? SONDE_COMPARE_DIFFERS
				     : SONDE_COMPARE_BELOW_THRESHOLD;
		e->differs = e->differs || r->verdict == SONDE_COMPARE_DIFFERS;
	}
	if (e->presence && e->presence->tested && e->presence->adjusted < SONDE_COMPARE_ALPHA) {
		e->presence->verdict = SONDE_COMPARE_DIFFERS;
		e->differs = true;
	}
}

static int judge(struct comparison *c)
{
	int r = 0;

	for (struct sonde_compare_side *s = c->a.sides; s; s = s->hh.next)
		sonde_compare_sort(s);
	for (struct sonde_compare_side *s = c->b.sides; s; s = s->hh.next)
		sonde_compare_sort(s);
	for (size_t i = 0; i < c->n_edges && r == 0; i++)
		r = is_late(c) ? -ETIME : judge_edge(c, &c->edge[i]);
	if (r == 0)
		r = correct(c);
	for (size_t i = 0; i < c->n_edges && r == 0; i++) {
		struct edge *e = &c->edge[i];

		decide(c, e);
		c->differences += e->differs ? 1 : 0;
	}
	return r;
}

/* --- as JSON --- */

static json_t *number(double v)
{
	return isfinite(v) ? json_real(v) : json_null();
}

static json_t *value_json(const struct sonde_compare_window *w,
			  const struct sonde_compare_quantity *q,
			  const struct sonde_compare_value *v)
{
	if (!v->have)
		return json_null();
	return json_pack("{s:o, s:I, s:o, s:b}", "value", number(v->value), "count",
			 (json_int_t)v->count, "of",
			 q->kind == SONDE_COMPARE_QUANTILE ? json_null() : number(v->of),
			 "lower_bound", (int)!w->complete);
}

/* Why a side has no value; NULL where it has one, or nobody said. */
static const char *reason_of(const struct sonde_compare_side *s,
			     const struct sonde_compare_value *v,
			     const struct sonde_compare_quantity *q)
{
	return v->have || !s ? NULL
			     : json_string_value(json_object_get(s->absent,
								 sonde_meter_info(q->meter)->name));
}

static json_t *result_json(const struct comparison *c, const struct edge *e,
			   const struct sonde_compare_result *r)
{
	const struct sonde_compare_quantity *q = r->quantity;
	const char *reason = reason_of(e->a, &r->a, q);
	bool judged = r->tested, both = r->a.have && r->b.have;

	if (!reason)
		reason = reason_of(e->b, &r->b, q);
	if (!reason && e->state == EDGE_BOTH && !both)
		reason = "no sample";
	return json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:s, s:b, s:o}", "name", q->name,
			 "unit", q->unit, "a", value_json(&c->a, q, &r->a), "b",
			 value_json(&c->b, q, &r->b), "change_percent",
			 both ? number(change(r)) : json_null(), "p",
			 judged ? number(r->p) : json_null(), "p_adjusted",
			 judged ? number(r->adjusted) : json_null(), "dispersion",
			 judged ? number(r->dispersion) : json_null(), "verdict",
			 sonde_compare_verdict_name(r->verdict), "rests_on_lower_bound",
			 (int)(judged && !(c->a.complete && c->b.complete)), "reason",
			 sonde_json_text_or_null(reason));
}

static json_t *edge_json(const struct comparison *c, const struct edge *e)
{
	static const char *const states[] = {"both",
					     "new",
					     "gone",
					     "not_measured_in_a",
					     "not_measured_in_b",
					     "not_told_apart_in_a",
					     "not_told_apart_in_b"};
	const struct sonde_compare_side *s = e->a ? e->a : e->b;
	_cleanup_json_ json_t *quantities = json_array();
	bool bound =
		e->state == EDGE_NEW ? !c->a.complete : e->state == EDGE_GONE && !c->b.complete;
	bool judged = e->presence && e->presence->tested;
	int64_t port = 0;

	_Static_assert(ELEMENTS_OF(states) == _EDGE_STATE_MAX, "a name for each");
	for (size_t i = e->first; i < e->first + e->n; i++) {
		if (sonde_json_append(quantities, result_json(c, e, &c->result[i])) < 0)
			return NULL;
	}
	for (const char *p = s->port; *p >= '0' && *p <= '9' && port < 100000; p++)
		port = port * 10 + (*p - '0');
	return json_pack("{s:o, s:o, s:I, s:s, s:s, s:s, s:b, s:o, s:o, s:s?, s:b, s:O}", "client",
			 sonde_json_text(s->client), "server", sonde_json_text(s->server), "port",
			 (json_int_t)port, "protocol", s->is_udp ? "udp" : "tcp", "side",
			 s->is_server ? "server" : "client", "state", states[e->state], "differs",
			 (int)e->differs, "p", judged ? number(e->presence->p) : json_null(),
			 "p_adjusted", judged ? number(e->presence->adjusted) : json_null(),
			 "verdict",
			 e->presence ? sonde_compare_verdict_name(e->presence->verdict) : NULL,
			 "rests_on_lower_bound", (int)bound, "quantities", quantities);
}

static json_t *window_json(const struct sonde_compare_window *w)
{
	return json_pack("{s:s, s:o, s:{s:o, s:o}, s:o, s:I, s:b}", "task", w->task->spec->id,
			 "name", sonde_json_text(w->task->spec->name), "window", "start",
			 sonde_json_time(w->start_ms), "end", sonde_json_time(w->end_ms), "seconds",
			 number((double)(w->end_ms - w->start_ms) / 1000), "slice_ms",
			 (json_int_t)w->slice_ms, "complete", (int)w->complete);
}

static int comparison_json(const struct comparison *c, json_t **ret)
{
	_cleanup_json_ json_t *edges = json_array();
	int r;

	for (size_t i = 0; i < c->n_edges; i++) {
		r = is_late(c) ? -ETIME : sonde_json_append(edges, edge_json(c, &c->edge[i]));
		if (r < 0)
			return r;
	}
	*ret = json_pack("{s:o, s:o, s:f, s:I, s:f, s:s, s:I, s:I, s:O}", "a", window_json(&c->a),
			 "b", window_json(&c->b), "threshold_percent", c->query->threshold_percent,
			 "min_samples", sonde_json_count(c->query->min_samples), "alpha",
			 SONDE_COMPARE_ALPHA, "correction", "holm", "tests", (json_int_t)c->tests,
			 "differences", (json_int_t)c->differences, "edges", edges);
	return *ret ? 0 : -ENOMEM;
}

int sonde_view_compare(struct sonde_backend *b, const struct sonde_compare_query *query,
		       json_t **ret, struct sonde_problem *problem)
{
	const uint64_t deadline_ns = sonde_work_ns() + WORK_MS * SONDE_NS_PER_MS;
	_cleanup_(comparison_done) struct comparison c = {
		.query = query,
		.deadline_ns = deadline_ns,
		.a = {.task = query->a.task,
		      .since_ms = query->a.since_ms,
		      .until_ms = query->a.until_ms,
		      .deadline_ns = deadline_ns},
		.b = {.task = query->b.task,
		      .since_ms = query->b.since_ms,
		      .until_ms = query->b.until_ms,
		      .deadline_ns = deadline_ns},
	};
	int r = sonde_compare_window_read(&c.a, b, "a", problem);

	if (r == 0)
		r = sonde_compare_window_read(&c.b, b, "b", problem);
	if (r == 0)
		r = join(&c);
	if (r == 0)
		r = judge(&c);
	if (r == 0)
		r = comparison_json(&c, ret);
	if (r == -ETIME)
		r = sonde_problem_set(
			problem, 413, NULL,
			"more than can be compared in %d ms of work: ask for shorter windows",
			WORK_MS);
	return r;
}
