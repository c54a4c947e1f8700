/* SPDX-License-Identifier: Apache-2.0 */
/* Metrics and series: every value of a task by metric, edge, side and labels; totals, and points over time. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backend/json.h"
#include "backend/query/views.h"
#include "backend/query/walk.h"
#include "backend/query/window.h"
#include "model/meters.h"

#define UNIT_MAX 32
#define STEPS_PER_MINUTE 6 /* of 10 s */
#define MINUTES_PER_HOUR 60

static bool is_rate(const struct sonde_series *s)
{
	return s->function.downsampling == SONDE_MAL_SUM_PER_MIN;
}

/* By the words that the names of both sets of meters are made of. A rate says over what. */
static void unit_of(const struct sonde_series *s, char ret[static UNIT_MAX])
{
	static const struct {
		const char *word, *unit;
	} units[] = {
		{"_bytes", "bytes"}, {"package_size", "bytes"}, {"rtt", "us"},
		{"exe_time", "ns"},  {"duration", "ms"},
	};
	bool own = strncmp(s->metric, "sonde_", 6) == 0;
	const char *unit = own ? sonde_meter_unit(s->metric) : NULL;

	for (size_t i = 0; i < ELEMENTS_OF(units) && !unit; i++) {
		if (strstr(s->metric, units[i].word))
			unit = units[i].unit;
	}
	if (!is_rate(s))
		(void)snprintf(ret, UNIT_MAX, "%s", unit ? unit : "count");
	else
		(void)snprintf(ret, UNIT_MAX, "%s%sper_minute", unit ? unit : "", unit ? "_" : "");
}

static const char *kind_of(const struct sonde_series *s)
{
	if (s->function.kind == SONDE_MAL_HISTOGRAM_PERCENTILE)
		return "percentile";
	if (s->function.kind == SONDE_MAL_HISTOGRAM)
		return "histogram";
	return s->function.downsampling == SONDE_MAL_SUM ||
			       s->function.downsampling == SONDE_MAL_SUM_PER_MIN
		       ? "counter"
		       : "gauge";
}

/* The port is in the edge, and what an OAP needs the role for is the side. */
static bool is_said_elsewhere(const struct sonde_walk_value *v, const char *label)
{
	return v->is_edge && (strcmp(label, "server_port") == 0 || strcmp(label, "role") == 0);
}

/* Labels of the key; a histogram's bound as `le`. */
static json_t *labels_json(const struct sonde_walk_value *v)
{
	_cleanup_json_ json_t *o = json_object();
	char bound[24];

	for (size_t i = 0; o && i < v->labels->n; i++) {
		_cleanup_json_ json_t *name = sonde_json_text(v->labels->label[i].name);

		if (is_said_elsewhere(v, v->labels->label[i].name))
			continue;
		if (!name || sonde_json_set(o, json_string_value(name),
					    sonde_json_text(v->labels->label[i].value)) < 0)
			return NULL;
	}
	if (o && v->series->function.kind == SONDE_MAL_HISTOGRAM) {
		(void)snprintf(bound, sizeof(bound), "%lld", (long long)v->bucket);
		if (sonde_json_set(o, "le", json_string(bound)) < 0)
			return NULL;
	}
	return TAKE_PTR(o);
}

struct wanted_edge {
	const char *id;			  /* NULL: all */
	char any_port[SONDE_EDGE_ID_MAX]; /* its id without the port, "": no series has it */
};

/* A metric that knows no port belongs to every edge between its two ends. */
static bool wanted(const struct sonde_walk_value *v, const struct wanted_edge *edge)
{
	return !edge->id ||
	       (v->is_edge && (strcmp(v->edge, edge->id) == 0 ||
			       (v->port[0] == '\0' && strcmp(v->edge, edge->any_port) == 0)));
}

static json_t *entity_json(const struct sonde_walk_value *v)
{
	char text[SONDE_ENTITY_KEY_MAX] = "";
	size_t at = 0;

	for (size_t i = 0; i < v->entity->n && at < sizeof(text); i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s", i ? "/" : "",
				       v->entity->part[i]);
	return sonde_json_text(text);
}

struct list {
	struct sonde_backend *backend;
	const struct sonde_view_filter *filter;
	struct wanted_edge edge;
	json_t *rows;	  /* borrowed */
	uint32_t seconds; /* of a total: what a rate is over */
	/* of a walk over time */
	json_t *by_key; /* key -> the series' object, borrowed */
	int64_t start_ms;
};

static json_t *name_json(const struct list *l, const struct sonde_walk_value *v, const char *id)
{
	return v->is_edge ? sonde_node_name_json(l->backend->registry, id) : json_null();
}

static json_t *head_of(const struct list *l, const struct sonde_walk_value *v)
{
	return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "edge",
			 v->is_edge ? sonde_json_text(v->edge) : json_null(), "client",
			 name_json(l, v, v->client), "server", name_json(l, v, v->server), "side",
			 v->is_edge ? sonde_json_text(v->side) : json_null(), "entity",
			 v->is_edge ? json_null() : entity_json(v), "labels", labels_json(v));
}

static int64_t per_minute(int64_t sum, uint32_t seconds)
{
	int64_t sixty;

	if (seconds == 0) /* an imported hour may know none of its minutes */
		return sum;
	if (__builtin_mul_overflow(sum, 60, &sixty))
		return sum / seconds * 60;
	return sixty / seconds;
}

/* OAP has no total over a task: a percentile's is the topology's. */
static int on_total(void *ctx, const struct sonde_walk_value *v)
{
	struct list *l = ctx;
	int64_t value = v->nearest;
	char unit[UNIT_MAX];
	json_t *row;

	if (!wanted(v, &l->edge))
		return 0;
	unit_of(v->series, unit);
	if (is_rate(v->series))
		value = per_minute(value, l->seconds);
	row = head_of(l, v);
	if (row && (json_object_set_new(row, "metric", sonde_json_text(v->series->metric)) < 0 ||
		    json_object_set_new(row, "kind", json_string(kind_of(v->series))) < 0 ||
		    json_object_set_new(row, "unit", json_string(unit)) < 0 ||
		    json_object_set_new(row, "value", json_integer(value)) < 0)) {
		json_decref(row);
		row = NULL;
	}
	return sonde_json_append(l->rows, row);
}

/* Return: 0 look on, -ECANCELED it is found: a walk ends by what is below 0 alone. */
static int on_edge(void *ctx, const struct sonde_walk_value *v)
{
	struct wanted_edge *edge = ctx;
	int r = 0;

	if (!v->is_edge || strcmp(v->edge, edge->id) != 0)
		return 0;
	/* What knows no port is SkyWalking's, and of TCP. */
	if (!sonde_protocol_is_udp(v->protocol))
		r = sonde_edge_id(v->client_node, v->server_node, "", "", edge->any_port);
	return r < 0 ? r : -ECANCELED;
}

/* Which two ends the edge has: from the first series that knows it, which mostly is one of the metric that is asked for. */
static int find_edge(struct sonde_backend *b, struct sonde_series_set *set,
		     const struct sonde_view_filter *filter, struct wanted_edge *ret)
{
	int r = 0;

	ret->id = filter->edge;
	for (unsigned pass = filter->metric ? 0 : 1; ret->id && pass < 2 && r == 0; pass++) {
		for (struct sonde_series *s = set->series; s && r == 0; s = s->hh.next) {
			if (pass == 0 && strcmp(s->metric, filter->metric) != 0)
				continue;
			for (size_t i = 0; i < s->step[SONDE_SERIES_1H].n && r == 0; i++)
				r = sonde_walk_held(b->registry, s,
						    s->step[SONDE_SERIES_1H].bucket[i].acc, on_edge,
						    ret);
		}
	}
	return r == -ECANCELED ? 0 : r;
}

json_t *sonde_view_metrics(struct sonde_backend *b, struct sonde_series_set *set,
			   const struct sonde_view_filter *filter,
			   const struct sonde_window *window)
{
	_cleanup_json_ json_t *rows = json_array();
	struct list l = {.backend = b, .filter = filter, .rows = rows};
	int r = rows ? find_edge(b, set, filter, &l.edge) : -ENOMEM;

	if (r < 0)
		return NULL;
	for (struct sonde_series *s = set->series; s; s = s->hh.next) {
		_cleanup_(sonde_mal_accumulator_freep) struct sonde_mal_accumulator *total = NULL;

		if (filter->metric && strcmp(filter->metric, s->metric) != 0)
			continue;
		r = sonde_window_total(s, window, &total, &l.seconds);
		if (r == 0)
			r = sonde_walk_shown(b->registry, s, total, 1, on_total, &l);
		if (r < 0 && r != -ENODATA)
			return NULL;
	}
	return json_pack("{s:O}", "metrics", rows);
}

static int add_point(json_t *series, int64_t start_ms, int64_t value)
{
	return sonde_json_append(json_object_get(series, "points"),
				 json_pack("[o,I]", sonde_json_time(start_ms), (json_int_t)value));
}

/* A point of a minute is OAP's number, percentiles too. */
static int on_point(void *ctx, const struct sonde_walk_value *v)
{
	_cleanup_json_ json_t *head = NULL;
	_cleanup_free_ char *key = NULL;
	struct list *l = ctx;
	int64_t value = v->value;
	json_t *series;

	if (!wanted(v, &l->edge))
		return 0;
	head = head_of(l, v);
	key = head ? json_dumps(head, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
	if (!key)
		return -ENOMEM;
	series = json_object_get(l->by_key, key);
	if (!series) {
		if (json_object_set_new(head, "points", json_array()) < 0 ||
		    json_object_set(l->by_key, key, head) < 0 ||
		    json_array_append(l->rows, head) < 0)
			return -ENOMEM;
		series = head;
	}
	if (l->filter->step == SONDE_SERIES_10S && is_rate(v->series) &&
	    __builtin_mul_overflow(value, STEPS_PER_MINUTE, &value))
		value = INT64_MAX;
	return add_point(series, l->start_ms, value);
}

static int walk_time(struct list *l, const struct sonde_series *s)
{
	unsigned step = l->filter->step;
	int r = 0;

	for (size_t i = 0; i < s->step[step].n && r == 0; i++) {
		l->start_ms = s->step[step].bucket[i].start_ms;
		if (!sonde_view_in_time(l->filter, l->start_ms))
			continue;
		r = sonde_walk_shown(l->backend->registry, s, s->step[step].bucket[i].acc,
				     step == SONDE_SERIES_1H ? MINUTES_PER_HOUR : 1, on_point, l);
	}
	return r;
}

json_t *sonde_view_series(struct sonde_backend *b, struct sonde_series_set *set,
			  const struct sonde_view_filter *filter)
{
	_cleanup_json_ json_t *rows = json_array(), *by_key = json_object();
	struct list l = {.backend = b, .filter = filter, .rows = rows, .by_key = by_key};
	char unit[UNIT_MAX] = "count";

	if (!rows || !by_key || find_edge(b, set, filter, &l.edge) < 0)
		return NULL;
	for (struct sonde_series *s = set->series; s; s = s->hh.next) {
		if (strcmp(filter->metric, s->metric) != 0)
			continue;
		unit_of(s, unit);
		/* A key is one series of one entity: entities are told apart by their head. */
		if (json_object_clear(by_key) < 0 || walk_time(&l, s) < 0)
			return NULL;
	}
	return json_pack("{s:s, s:I, s:o, s:s, s:O}", "metric", filter->metric, "step_ms",
			 (json_int_t)sonde_series_step_ms[filter->step], "kept_since",
			 sonde_json_time(filter->kept_since_ms), "unit", unit, "series", rows);
}
