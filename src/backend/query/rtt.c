/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/query/rtt.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backend/json.h"
#include "backend/query/side.h"
#include "backend/query/topology.h"
#include "backend/query/views.h"
#include "backend/query/walk.h"
#include "base/num.h"
#include "model/hist.h"

#define KEY_MAX (SONDE_EDGE_ID_MAX + 8)

/* What was measured at one end of an edge, or at several together. */
struct samples {
	struct sonde_side_histogram histogram;
	bool has_sum, has_max, has_jitter;
	int64_t sum, max, jitter;
};

struct row {
	char key[KEY_MAX]; /* "EDGE SIDE" */
	char edge[SONDE_EDGE_ID_MAX];
	bool server;
	json_t *client_name, *server_name; /* owned */
	uint64_t port;
	struct samples samples;
	UT_hash_handle hh;
};

struct rtt {
	struct sonde_backend *backend;
	const struct sonde_rtt_query *query;
	struct row *rows;
	enum sonde_meter meter; /* of the series that is walked */
};

static void rtt_done(struct rtt *x)
{
	struct row *row, *next;

	HASH_ITER (hh, x->rows, row, next) {
		HASH_DEL(x->rows, row);
		sonde_side_histogram_done(&row->samples.histogram);
		json_decref(row->client_name);
		json_decref(row->server_name);
		free(row);
	}
}

static int get_row(struct rtt *x, const struct sonde_walk_value *v, struct row **ret)
{
	char key[KEY_MAX];
	struct row *row;

	(void)snprintf(key, sizeof(key), "%s %.6s", v->edge, v->side);
	HASH_FIND_STR(x->rows, key, row);
	if (!row) {
		row = calloc(1, sizeof(*row));
		if (!row)
			return -ENOMEM;
		memcpy(row->key, key, sizeof(row->key));
		(void)snprintf(row->edge, sizeof(row->edge), "%s", v->edge);
		row->server = strcmp(v->side, "server") == 0;
		if (sonde_parse_u64(v->port, 0, UINT16_MAX, &row->port) < 0)
			row->port = 0;
		HASH_ADD_STR(x->rows, key, row);
		if (!SONDE_HASH_ADDED(row)) {
			free(row);
			return -ENOMEM;
		}
		row->client_name = sonde_node_name_json(x->backend->registry, v->client);
		row->server_name = sonde_node_name_json(x->backend->registry, v->server);
	}
	*ret = row;
	return row->client_name && row->server_name ? 0 : -ENOMEM;
}

static int on_value(void *ctx, const struct sonde_walk_value *v)
{
	struct rtt *x = ctx;
	struct samples *s;
	struct row *row;
	int r;

	if (!sonde_walk_is_of(v, x->query->edge, x->query->side))
		return 0;
	r = get_row(x, v, &row);
	if (r < 0)
		return r;
	s = &row->samples;
	switch (x->meter) {
	case SONDE_METER_RTT:
		return sonde_side_add_bin(&s->histogram, v->bucket, v->value);
	case SONDE_METER_RTT_SUM:
		s->sum = s->has_sum ? sonde_add_i64(s->sum, v->value) : v->value;
		s->has_sum = true;
		return 0;
	case SONDE_METER_RTT_MAX:
		s->max = s->has_max && s->max > v->value ? s->max : v->value;
		s->has_max = true;
		return 0;
	default:
		s->jitter = v->value;
		s->has_jitter = true;
		return 0;
	}
}

static int collect(struct rtt *x, struct sonde_series_set *set)
{
	uint32_t seconds;
	int r;

	for (struct sonde_series *s = set->series; s; s = s->hh.next) {
		_cleanup_(sonde_mal_accumulator_freep) struct sonde_mal_accumulator *total = NULL;

		if (sonde_view_meter_of(x->backend, s->metric, &x->meter) < 0 ||
		    (x->meter != SONDE_METER_RTT && x->meter != SONDE_METER_RTT_SUM &&
		     x->meter != SONDE_METER_RTT_MAX && x->meter != SONDE_METER_RTT_JITTER))
			continue;
		r = sonde_window_total(s, &x->query->window, &total, &seconds);
		if (r == 0)
			r = sonde_walk_held(x->backend->registry, s, total, on_value, x);
		if (r < 0 && r != -ENODATA)
			return r;
	}
	return 0;
}

/* A mean and a largest are true only if each part has its own, a jitter only of one. @ret_n: ends with samples. */
static int add_all(const struct rtt *x, struct samples *all, size_t *ret_n)
{
	bool sums = true, maxima = true;
	int r = 0;

	for (const struct row *row = x->rows; row && r == 0; row = row->hh.next) {
		const struct samples *s = &row->samples;

		if (sonde_side_count(&s->histogram) == 0)
			continue;
		sums = sums && s->has_sum;
		maxima = maxima && s->has_max;
		all->sum = sonde_add_i64(all->sum, s->sum);
		all->max = s->max > all->max ? s->max : all->max;
		all->jitter = s->jitter;
		all->has_jitter = s->has_jitter && *ret_n == 0;
		(*ret_n)++;
		r = sonde_side_merge(&all->histogram, &s->histogram);
	}
	all->has_sum = sums && all->histogram.n > 0;
	all->has_max = maxima && all->histogram.n > 0;
	return r;
}

static json_t *or_null(bool has, int64_t value)
{
	return has ? json_integer(value) : json_null();
}

static json_t *numbers_json(const struct samples *s)
{
	json_t *o = sonde_side_histogram_json(&s->histogram, s->has_sum ? &s->sum : NULL);

	if (o && (json_object_set_new(o, "max", or_null(s->has_max, s->max)) < 0 ||
		  json_object_set_new(o, "jitter", or_null(s->has_jitter, s->jitter)) < 0)) {
		json_decref(o);
		return NULL;
	}
	return o;
}

/* Where the bucket that begins at @lower ends; null for the last, which has no end. */
static json_t *upper_of(int64_t lower)
{
	uint64_t upper = sonde_hist_report_upper_us(lower > 0 ? (uint64_t)lower : 0);

	return upper > 0 ? json_integer((json_int_t)upper) : json_null();
}

static json_t *buckets_json(const struct sonde_side_histogram *h)
{
	_cleanup_json_ json_t *list = json_array();

	for (size_t i = 0; list && i < h->n; i++) {
		if (h->bin[i].count > 0 &&
		    sonde_json_append(list, json_pack("[I, o, I]", (json_int_t)h->bin[i].bound,
						      upper_of(h->bin[i].bound),
						      (json_int_t)h->bin[i].count)) < 0)
			return NULL;
	}
	return TAKE_PTR(list);
}

/* Why a number of all together is null: by the agents' words, or because it is of several. */
static json_t *absent_json(const struct sonde_task *t, const struct samples *all, size_t n)
{
	const struct {
		const char *key;
		enum sonde_meter meter;
		bool has;
	} numbers[] = {
		{"count", SONDE_METER_RTT, all->histogram.n > 0},
		{"mean", SONDE_METER_RTT_SUM, all->has_sum},
		{"max", SONDE_METER_RTT_MAX, all->has_max},
		{"jitter", SONDE_METER_RTT_JITTER, all->has_jitter},
	};
	_cleanup_json_ json_t *list = sonde_topology_absent(t), *why = json_object();

	for (size_t i = 0; why && list && i < ELEMENTS_OF(numbers); i++) {
		const char *reason = sonde_side_absent(list, numbers[i].meter);

		if (!reason)
			reason = n > 1 ? "not of several put together" : "no sample";
		if (!numbers[i].has &&
		    json_object_set_new(why, numbers[i].key, sonde_json_text(reason)) < 0)
			return NULL;
	}
	return list ? TAKE_PTR(why) : NULL;
}

static json_t *row_json(const struct row *row)
{
	return json_pack("{s:s, s:O, s:O, s:I, s:s, s:o}", "edge", row->edge, "client",
			 row->client_name, "server", row->server_name, "port",
			 (json_int_t)row->port, "side", row->server ? "server" : "client", "rtt_us",
			 numbers_json(&row->samples));
}

/* The most samples first. */
static int by_count(struct row *a, struct row *b)
{
	int64_t x = sonde_side_count(&a->samples.histogram);
	int64_t y = sonde_side_count(&b->samples.histogram);

	return x != y ? (x > y ? -1 : 1) : strcmp(a->key, b->key);
}

int sonde_view_rtt(struct sonde_backend *b, const struct sonde_task *t,
		   struct sonde_series_set *set, const struct sonde_rtt_query *query, json_t **ret,
		   struct sonde_problem *problem)
{
	static const char *const keys[] = {"edge", "side", NULL};
	_cleanup_(rtt_done) struct rtt x = {.backend = b, .query = query};
	_cleanup_json_ json_t *rows = json_array(), *together = NULL;
	struct samples all = {0};
	json_t *next = NULL;
	size_t n = 0;
	int r = rows ? collect(&x, set) : -ENOMEM;

	HASH_SORT(x.rows, by_count);
	for (struct row *row = x.rows; row && r == 0; row = row->hh.next) {
		if (sonde_side_count(&row->samples.histogram) > 0)
			r = sonde_json_append(rows, row_json(row));
	}
	if (r == 0)
		r = sonde_page_cut(rows, keys, &query->page, &next, problem);
	if (r == 0)
		r = add_all(&x, &all, &n);
	if (r == 0) {
		together = numbers_json(&all);
		r = together ? sonde_json_set(together, "buckets", buckets_json(&all.histogram))
			     : -ENOMEM;
	}
	if (r == 0) {
		*ret = json_pack("{s:s, s:s?, s:s?, s:o, s:O, s:o, s:O, s:O}", "task", t->spec->id,
				 "edge", query->edge, "side", query->side, "window",
				 sonde_window_json(&query->window, t), "rtt_us", together, "absent",
				 absent_json(t, &all, n), "ends", rows, "next", next);
		r = *ret ? 0 : -ENOMEM;
	}
	json_decref(next);
	sonde_side_histogram_done(&all.histogram);
	return r;
}
