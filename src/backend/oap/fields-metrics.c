/* SPDX-License-Identifier: Apache-2.0 */
/*
 * execExpression: metrics of one entity over a window. The values of different tasks are never added: of each minute
 * (hour, day) the first task that has some gives them, and what came without a task comes last.
 */
#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "backend/ingest/entity.h"
#include "backend/json.h"
#include "backend/oap/fields.h"
#include "backend/oap/mqe.h"
#include "backend/query/edge.h"
#include "base/clock.h"

#define MINUTE_MS (60LL * 1000)
#define SIDES 2

struct asked {
	struct graphql_ask *ask;
	struct graphql_window window;
	size_t n_points;
	/* of the entity; a relation's key is without its side. "" where its names do not say it */
	char process[SONDE_MAL_PROCESS_ID_SIZE], dest[SONDE_MAL_PROCESS_ID_SIZE];
	const char *service, *instance, *endpoint, *process_name, *dest_service, *dest_instance;
	const char *tasks[2 * GRAPHQL_COVER_MAX +
			  1]; /* whose values are asked for, the best source first */
	size_t n_tasks;
	/* while one metric is read */
	struct mqe_value *into;
	size_t point;
};

static const char *name_of(const struct asked *q, const char *key)
{
	return sonde_json_get_text(json_object_get(q->ask->arguments, "entity"), key, "");
}

static int process_id(const char *process, const char *service, const char *instance,
		      char ret[static SONDE_MAL_PROCESS_ID_SIZE])
{
	ret[0] = '\0';
	return process[0] && service[0] && instance[0]
		       ? sonde_mal_process_id(process, service, instance, ret)
		       : 0;
}

static int read_entity(struct asked *q)
{
	int r;

	q->service = name_of(q, "serviceName");
	q->instance = name_of(q, "serviceInstanceName");
	q->endpoint = name_of(q, "endpointName");
	q->process_name = name_of(q, "processName");
	q->dest_service = name_of(q, "destServiceName");
	q->dest_instance = name_of(q, "destServiceInstanceName");
	r = process_id(q->process_name, q->service, q->instance, q->process);
	return r < 0 ? r
		     : process_id(name_of(q, "destProcessName"), q->dest_service, q->dest_instance,
				  q->dest);
}

/* --- where the values are --- */

static void add_task(struct asked *q, const char *task)
{
	for (size_t i = 0; i < q->n_tasks; i++) {
		if (strcmp(q->tasks[i], task) == 0)
			return;
	}
	q->tasks[q->n_tasks++] = task;
}

static void add_instance(struct asked *q, const char *service, const char *instance)
{
	struct sonde_task *tasks[GRAPHQL_COVER_MAX];
	struct graphql_names names;
	size_t n;

	if (service[0] == '\0' || instance[0] == '\0' || strlen(service) >= sizeof(names.service) ||
	    strlen(instance) >= sizeof(names.instance))
		return;
	memcpy(names.service, service, strlen(service) + 1);
	memcpy(names.instance, instance, strlen(instance) + 1);
	n = graphql_cover(q->ask->backend, &names, &q->window, tasks);
	for (size_t i = 0; i < n; i++)
		add_task(q, tasks[i]->spec->id);
}

/* Those of the one end, then those of the other, which may be profiled in a task of its own. */
static void find_tasks(struct asked *q)
{
	add_instance(q, q->service, q->instance);
	add_instance(q, q->dest_service, q->dest_instance);
	add_task(q, SONDE_INGEST_NO_TASK);
}

/* --- one metric --- */

/* The keys of the series that belong to the entity; two for a relation that both ends report. */
static size_t entity_keys(const struct asked *q, enum sonde_mal_scope scope,
			  char keys[SIDES][SONDE_ENTITY_KEY_MAX])
{
	const bool relation = scope >= SONDE_MAL_SCOPE_SERVICE_RELATION;
	size_t n = 0;

	if (scope == SONDE_MAL_SCOPE_PROCESS_RELATION && (!q->process[0] || !q->dest[0]))
		return 0;
	for (unsigned side = 0; side < (relation ? SIDES : 1); side++) {
		const struct sonde_mal_entity e = {
			.scope = scope,
			.side = side ? SONDE_MAL_SERVER : SONDE_MAL_CLIENT,
			.service = q->service,
			.instance = scope == SONDE_MAL_SCOPE_SERVICE ? "" : q->instance,
			.endpoint = scope == SONDE_MAL_SCOPE_ENDPOINT ? q->endpoint : "",
			.process = scope == SONDE_MAL_SCOPE_PROCESS ? q->process_name : "",
			.source_service = q->service,
			.source_instance = q->instance,
			.source_process = q->process,
			.dest_service = q->dest_service,
			.dest_instance = q->dest_instance,
			.dest_process = q->dest,
		};

		n += sonde_entity_key(&e, keys[n]) == 0;
	}
	return n;
}

static json_t *labels_json(const struct sonde_mal_result *r, bool histogram)
{
	json_t *list = json_array();
	struct sonde_labels labels;

	sonde_labels_parse(r->key ? r->key : "", &labels);
	for (size_t i = 0; list && i < labels.n; i++)
		(void)json_array_append_new(
			list, json_pack("{s:o, s:o}", "key", sonde_json_text(labels.label[i].name),
					"value", sonde_json_text(labels.label[i].value)));
	if (list && histogram)
		(void)json_array_append_new(list,
					    json_pack("{s:s, s:o}", "key", "le", "value",
						      json_sprintf("%lld", (long long)r->bucket)));
	return list;
}

static int on_result(void *ctx, const struct sonde_mal_result *r)
{
	struct asked *q = ctx;
	_cleanup_json_ json_t *labels = labels_json(r, r->bucket != 0);
	struct mqe_series *s = labels ? mqe_value_find(q->into, labels) : NULL;
	int rc = 0;

	if (!labels)
		return -ENOMEM;
	if (!s)
		rc = mqe_value_add(q->into, json_incref(labels), &s);
	if (rc == 0)
		s->points[q->point] = (double)r->value;
	return rc;
}

static bool late(void *ctx)
{
	const struct asked *q = ctx;

	return sonde_mono_ns() >= q->ask->deadline_ns;
}

/* What the sets of one task have in each point of time. */
struct points {
	const struct asked *q;
	struct sonde_mal_accumulator *acc[MQE_POINTS_MAX]; /* owned; NULL: nothing */
};

static void points_clear(struct points *p)
{
	for (size_t i = 0; i < p->q->n_points; i++)
		p->acc[i] = sonde_mal_accumulator_free(p->acc[i]);
}

static struct points *points_free(struct points *p)
{
	if (p)
		points_clear(p);
	free(p);
	return NULL;
}
SONDE_DEFINE_CLEANUP(struct points *, points_free)

static int on_bucket(void *ctx, int64_t start_ms, const struct sonde_mal_accumulator *acc)
{
	struct points *p = ctx;
	const struct graphql_window *w = &p->q->window;
	size_t i = (size_t)((start_ms - w->start_ms) / w->step_ms);
	int r = late((void *)p->q) ? -ETIME : 0;

	assert(start_ms >= w->start_ms && i < p->q->n_points);
	if (r == 0 && !p->acc[i])
		r = sonde_mal_accumulator_new(sonde_mal_accumulator_function(acc), &p->acc[i]);
	if (r == 0)
		r = sonde_mal_accumulator_combine(p->acc[i], acc);
	return r == -EINVAL ? 0 : r; /* of another rule with the same name: not to be mixed */
}

/* Hours where the points are made of whole ones: they are kept longest, and are sixty times fewer. */
static enum sonde_series_step step_of(const struct graphql_window *w)
{
	const int64_t hour_ms = sonde_series_step_ms[SONDE_SERIES_1H];

	return w->step_ms % hour_ms == 0 && w->start_ms % hour_ms == 0 && w->end_ms % hour_ms == 0
		       ? SONDE_SERIES_1H
		       : SONDE_SERIES_1M;
}

/* Gives the points that no task before has had. */
static int give_points(struct asked *q, struct points *p, bool *given)
{
	int r = 0;

	for (q->point = 0; q->point < q->n_points && r == 0; q->point++) {
		if (!p->acc[q->point] || given[q->point])
			continue;
		given[q->point] = true;
		r = sonde_mal_accumulator_value(
			p->acc[q->point], (uint32_t)(q->window.step_ms / MINUTE_MS), on_result, q);
	}
	points_clear(p);
	return r;
}

static int read_metric(void *ctx, const char *name, struct mqe_value *ret)
{
	_cleanup_(points_freep) struct points *p = calloc(1, sizeof(*p));
	char keys[SIDES][SONDE_ENTITY_KEY_MAX];
	bool given[MQE_POINTS_MAX] = {false};
	struct asked *q = ctx;
	const struct sonde_mal_rule *rule = sonde_ingest_find_rule(q->ask->backend->ingest, name);
	size_t n_keys;
	int r = 0;

	if (!p)
		return -ENOMEM;
	p->q = q;
	if (!rule)
		return -ENOENT;
	n_keys = entity_keys(q, rule->scope, keys);
	q->into = ret;
	for (size_t i = 0; i < q->n_tasks && r == 0; i++) {
		for (size_t k = 0; k < n_keys && r == 0; k++)
			r = sonde_series_table_read(q->ask->backend->series, q->tasks[i], name,
						    keys[k], step_of(&q->window),
						    q->window.start_ms, q->window.end_ms, on_bucket,
						    p);
		if (r == 0)
			r = late(q) ? -ETIME : give_points(q, p, given);
	}
	return r;
}

/* --- the answer --- */

static json_t *value_json(double value)
{
	if (isnan(value))
		return json_null();
	if (fabs(value) < 9e15 && value == trunc(value))
		return json_sprintf("%lld", (long long)value);
	return json_sprintf("%.10g", value);
}

static json_t *values_json(const struct asked *q, const struct mqe_value *v, const double *points)
{
	json_t *list = json_array();
	int64_t at_ms = q->window.start_ms;

	for (size_t i = 0; list && i < v->n_points; i++, at_ms += q->window.step_ms) {
		json_t *one =
			json_pack("{s:o, s:o}", "id",
				  v->single ? json_null() : json_sprintf("%lld", (long long)at_ms),
				  "value", value_json(points[i]));

		if (json_array_append_new(list, one) < 0) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

static int give_results(const struct asked *q, const struct mqe_value *v, json_t **ret)
{
	_cleanup_json_ json_t *list = json_array();
	int r = list ? 0 : -ENOMEM;

	for (size_t i = 0; i < v->n && r == 0; i++)
		r = sonde_json_append(list, json_pack("{s:{s:O}, s:o}", "metric", "labels",
						      v->series[i].labels, "values",
						      values_json(q, v, v->series[i].points)));
	if (r < 0)
		return r;
	return graphql_give(json_pack("{s:s, s:O}", "type",
				      v->single ? "SINGLE_VALUE" : "TIME_SERIES_VALUES", "results",
				      list),
			    ret);
}

/* An error among several expressions must not take the others down: it has a place of its own. */
static int give_error(const char *words, json_t **ret)
{
	return graphql_give(json_pack("{s:s, s:[], s:o}", "type", "UNKNOWN", "results", "error",
				      sonde_json_text(words)),
			    ret);
}

int graphql_expression(struct graphql_ask *a, json_t **ret)
{
	_cleanup_(mqe_value_done) struct mqe_value v = {0};
	struct mqe_source source = {.metric = read_metric, .late = late};
	struct asked q = {.ask = a};
	int64_t points;
	char words[160];
	int r;

	if (graphql_get_window(a, &q.window) < 0)
		return give_error(a->message, ret);
	points = (q.window.end_ms - q.window.start_ms + q.window.step_ms - 1) / q.window.step_ms;
	if (points > MQE_POINTS_MAX)
		return give_error("the window is too long for its step", ret);
	q.n_points = (size_t)points;
	r = read_entity(&q);
	if (r < 0)
		return r == -ENOMEM ? r : graphql_refuse(a, "the values cannot be read");
	find_tasks(&q);
	source.ctx = &q;
	source.n_points = q.n_points;
	r = mqe_evaluate(&source, graphql_text(a, "expression"), &v, words);
	if (r == 0)
		return give_results(&q, &v, ret);
	if (r == -ETIME)
		return graphql_refuse(a, "%s", words);
	return r == -ENOMEM ? r : give_error(words[0] ? words : "the values cannot be read", ret);
}

/* Sampled requests, which there are none of: HTTP is not looked into. */
int graphql_records(struct graphql_ask *a, json_t **ret)
{
	return graphql_give(json_array(), ret);
}
