/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/query/drops.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/json.h"
#include "backend/query/topology.h"
#include "backend/query/views.h"
#include "backend/query/walk.h"
#include "base/num.h"
#include "model/drop-class.h"
#include "model/meters.h"

/* Of UDP no reason is told; this is the kernel's counter of the same event. */
#define UDP_REASON "UDP_RCVBUF_ERRORS"
#define UDP_MEANS "the datagram found no room in the socket's receive buffer"
#define UDP_CAUSE "the program reads too slowly, or SO_RCVBUF is small"

static const char *const names[] = {
	[SONDE_DROPS_REASON] = "reason",       [SONDE_DROPS_CLASS] = "class",
	[SONDE_DROPS_DIRECTION] = "direction", [SONDE_DROPS_EDGE] = "edge",
	[SONDE_DROPS_LOCATION] = "location",
};
_Static_assert(ELEMENTS_OF(names) == _SONDE_DROPS_BY_MAX, "a name for each");

const char *sonde_drops_by_name(enum sonde_drops_by by)
{
	return names[by];
}

enum unit {
	SEGMENTS,
	SKBS,
	BYTES,
	_UNITS,
};

static const struct {
	enum sonde_meter meter;
	const char *direction;
	enum unit unit;
} meters[] = {
	{SONDE_METER_RECEIVE_DROPPED, "receive", SEGMENTS},
	{SONDE_METER_RECEIVE_DROPPED_SKBS, "receive", SKBS},
	{SONDE_METER_RECEIVE_DROPPED_BYTES, "receive", BYTES},
	{SONDE_METER_TRANSMIT_DROPPED, "transmit", SEGMENTS},
	{SONDE_METER_TRANSMIT_DROPPED_SKBS, "transmit", SKBS},
	{SONDE_METER_TRANSMIT_DROPPED_BYTES, "transmit", BYTES},
	{SONDE_METER_UDP_BUFFER_DROPPED, "receive", SEGMENTS},
	{SONDE_METER_UDP_BUFFER_DROPPED_BYTES, "receive", BYTES},
};

/* One value, in the terms that rows are made of. Borrowed. */
struct drop {
	const char *reason, *class, *direction, *where, *site;
	const struct sonde_walk_value *at;
	bool udp;
	enum unit unit;
	int64_t n;
};

struct row {
	json_t *head;	   /* what it is about: {"reason", …}; owned */
	json_t *reasons;   /* name -> segments; owned */
	json_t *points;	   /* time -> segments; owned */
	int64_t n[_UNITS]; /* over the window */
	int64_t loss;	   /* of the segments */
	int64_t first_ms, last_ms;
	UT_hash_handle hh;
	char key[];
};

struct drops {
	struct sonde_backend *backend;
	const struct sonde_drops_query *query;
	struct row *rows;
	size_t n_rows;
	size_t meter;	  /* index of meters[] of the series that is walked */
	int64_t start_ms; /* of the bucket that is walked; 0: it is the total */
	int64_t n[_UNITS], loss;
	int64_t listen_drops;
};

static void drops_done(struct drops *d)
{
	struct row *row, *next;

	HASH_ITER (hh, d->rows, row, next) {
		HASH_DEL(d->rows, row);
		json_decref(row->head);
		json_decref(row->reasons);
		json_decref(row->points);
		free(row);
	}
}

/* --- rows --- */

static json_t *meaning_json(const struct drop *drop)
{
	const char *reason = drop->reason;
	const char *cause, *means = sonde_drop_means_at(reason, drop->site, &cause);

	if (drop->udp) {
		means = UDP_MEANS;
		cause = UDP_CAUSE;
	} else if (!means && strcmp(reason, "NOT_SPECIFIED") == 0) {
		means = "the kernel gives no reason here";
		cause = "the function that dropped it may tell: sonde drops --by location";
	} else if (!means) {
		means = "a reason that this version has no words for";
		cause = "see the kernel's include/net/dropreason-core.h";
	}
	return json_pack("{s:o, s:s, s:s}", "class", sonde_json_text(drop->class), "means", means,
			 "likely_cause", cause);
}

static json_t *edge_head(const struct drops *d, const struct drop *drop)
{
	const struct sonde_walk_value *v = drop->at;
	uint64_t port = 0;

	if (sonde_parse_u64(v->port, 0, UINT16_MAX, &port) < 0)
		port = 0;
	return json_pack("{s:s, s:o, s:o, s:I, s:s}", "edge", v->edge, "client",
			 sonde_node_name_json(d->backend->registry, v->client), "server",
			 sonde_node_name_json(d->backend->registry, v->server), "port",
			 (json_int_t)port, "protocol", drop->udp ? "udp" : "tcp");
}

/* What the row says of itself, by what the question is by. */
static json_t *head_of(const struct drops *d, const struct drop *drop)
{
	switch (d->query->by) {
	case SONDE_DROPS_REASON:
		return json_pack("{s:o, s:o}", "reason", sonde_json_text(drop->reason), "meaning",
				 meaning_json(drop));
	case SONDE_DROPS_CLASS:
		return json_pack("{s:o}", "class", sonde_json_text(drop->class));
	case SONDE_DROPS_DIRECTION:
		return json_pack("{s:s}", "direction", drop->direction);
	case SONDE_DROPS_EDGE:
		return edge_head(d, drop);
	default:
		return json_pack("{s:o, s:o, s:s}", "site", sonde_json_text_or_null(drop->site),
				 "where", sonde_json_text_or_null(drop->where), "direction",
				 drop->direction);
	}
}

static int get_row(struct drops *d, const struct drop *drop, struct row **ret)
{
	_cleanup_json_ json_t *head = head_of(d, drop);
	_cleanup_free_ char *key = head ? json_dumps(head, JSON_COMPACT) : NULL;
	struct row *row;

	if (!key)
		return -ENOMEM;
	HASH_FIND_STR(d->rows, key, row);
	if (!row) {
		size_t n = strlen(key) + 1;

		if (d->n_rows == SONDE_DROPS_ROWS_MAX)
			return -E2BIG;
		row = calloc(1, sizeof(*row) + n);
		if (!row)
			return -ENOMEM;
		memcpy(row->key, key, n);
		HASH_ADD_STR(d->rows, key, row);
		if (!SONDE_HASH_ADDED(row)) {
			free(row);
			return -ENOMEM;
		}
		row->head = TAKE_PTR(head);
		row->reasons = json_object();
		row->points = json_object();
		d->n_rows++;
	}
	*ret = row;
	return row->reasons && row->points ? 0 : -ENOMEM;
}

static int add_to(json_t *object, const char *key, int64_t n)
{
	return sonde_json_set(object, key,
			      json_integer(sonde_add_i64(sonde_json_get_int(object, key, 0), n)));
}

static int add_total(struct drops *d, struct row *row, const struct drop *drop)
{
	_cleanup_json_ json_t *reason = sonde_json_text(drop->reason);
	bool loss = strcmp(drop->class, "loss") == 0;

	row->n[drop->unit] = sonde_add_i64(row->n[drop->unit], drop->n);
	d->n[drop->unit] = sonde_add_i64(d->n[drop->unit], drop->n);
	if (drop->unit != SEGMENTS)
		return 0;
	if (loss) {
		row->loss = sonde_add_i64(row->loss, drop->n);
		d->loss = sonde_add_i64(d->loss, drop->n);
	}
	return reason ? add_to(row->reasons, json_string_value(reason), drop->n) : -ENOMEM;
}

/* When: a bucket of the series that has any. */
static int add_time(struct drops *d, struct row *row, const struct drop *drop)
{
	char start[24];

	if (drop->unit != SEGMENTS || drop->n == 0)
		return 0;
	if (row->first_ms == 0 || d->start_ms < row->first_ms)
		row->first_ms = d->start_ms;
	if (d->start_ms > row->last_ms)
		row->last_ms = d->start_ms;
	(void)snprintf(start, sizeof(start), "%lld", (long long)d->start_ms);
	return add_to(row->points, start, drop->n);
}

static int take(struct drops *d, const struct drop *drop)
{
	struct row *row;
	int r;

	r = get_row(d, drop, &row);
	if (r < 0)
		return r;
	return d->start_ms ? add_time(d, row, drop) : add_total(d, row, drop);
}

/* An agent's label may say anything. */
static const char *class_of(const char *kind)
{
	for (unsigned c = 0; c < _SONDE_DROP_CLASS_MAX; c++) {
		if (strcmp(kind, sonde_drop_class_name(c)) == 0)
			return sonde_drop_class_name(c);
	}
	return sonde_drop_class_name(SONDE_DROP_UNCLASSIFIED);
}

/* Who asks for one side has what that side has. */
static bool is_told_twice(const struct sonde_drops_query *q, const struct drop *drop)
{
	return !q->side && sonde_meter_drop_is_the_receivers(drop->direction, drop->where);
}

static int on_value(void *ctx, const struct sonde_walk_value *v)
{
	struct drops *d = ctx;
	struct drop drop = {
		.reason = sonde_labels_get(v->labels, "reason"),
		.class = class_of(sonde_labels_get(v->labels, "kind")),
		.direction = meters[d->meter].direction,
		.where = sonde_labels_get(v->labels, "where"),
		.site = sonde_labels_get(v->labels, "site"),
		.at = v,
		.udp = sonde_protocol_is_udp(v->protocol),
		.unit = meters[d->meter].unit,
		.n = v->value,
	};
	int r;

	if (!sonde_walk_is_of(v, d->query->edge, d->query->side) || is_told_twice(d->query, &drop))
		return 0;
	if (drop.udp) {
		drop.reason = UDP_REASON;
		drop.class = "loss";
		drop.where = "socket";
	} else if (drop.reason[0] == '\0') {
		drop.reason = "NOT_SPECIFIED";
	}
	r = take(d, &drop);
	if (r == 0 && drop.udp && drop.unit == SEGMENTS) { /* one skb each */
		drop.unit = SKBS;
		r = take(d, &drop);
	}
	return r;
}

static int walk(struct drops *d, const struct sonde_series *s)
{
	_cleanup_(sonde_mal_accumulator_freep) struct sonde_mal_accumulator *total = NULL;
	const struct sonde_window *w = &d->query->window;
	uint32_t seconds;
	int r;

	d->start_ms = 0;
	r = sonde_window_total(s, w, &total, &seconds);
	if (r == 0)
		r = sonde_walk_held(d->backend->registry, s, total, on_value, d);
	for (size_t i = 0; i < s->step[w->step].n && r == 0; i++) {
		d->start_ms = s->step[w->step].bucket[i].start_ms;
		if (sonde_window_has(w, d->start_ms))
			r = sonde_walk_held(d->backend->registry, s, s->step[w->step].bucket[i].acc,
					    on_value, d);
	}
	return r == -ENODATA ? 0 : r;
}

static int on_listen_drops(void *ctx, const struct sonde_walk_value *v)
{
	struct drops *d = ctx;

	if (sonde_walk_is_of(v, d->query->edge, d->query->side))
		d->listen_drops = sonde_add_i64(d->listen_drops, v->value);
	return 0;
}

/* By the listener's own counter, which knows no reason, and has some that are rows, too: so it is no row. */
static int count_listen_drops(struct drops *d, const struct sonde_series *s)
{
	_cleanup_(sonde_mal_accumulator_freep) struct sonde_mal_accumulator *total = NULL;
	uint32_t seconds;
	int r;

	r = sonde_window_total(s, &d->query->window, &total, &seconds);
	if (r == 0)
		r = sonde_walk_held(d->backend->registry, s, total, on_listen_drops, d);
	return r == -ENODATA ? 0 : r;
}

static int collect(struct drops *d, struct sonde_series_set *set, struct sonde_problem *problem)
{
	enum sonde_meter meter;
	int r = 0;

	for (struct sonde_series *s = set->series; s && r == 0; s = s->hh.next) {
		if (sonde_view_meter_of(d->backend, s->metric, &meter) < 0)
			continue;
		for (d->meter = 0; d->meter < ELEMENTS_OF(meters); d->meter++) {
			if (meters[d->meter].meter == meter)
				break;
		}
		if (d->meter < ELEMENTS_OF(meters))
			r = walk(d, s);
		else if (meter == SONDE_METER_LISTEN_DROPS)
			r = count_listen_drops(d, s);
	}
	if (r == -E2BIG)
		return sonde_problem_set(problem, 400, "by",
					 "by: more than %d rows: name an edge, or ask by=reason",
					 SONDE_DROPS_ROWS_MAX);
	return r;
}

/* --- the answer --- */

static int by_time(const void *a, const void *b)
{
	const int64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static json_t *points_json(const json_t *points)
{
	_cleanup_json_ json_t *list = json_array();
	_cleanup_free_ int64_t *start = calloc(json_object_size(points) + 1, sizeof(*start));
	const char *key;
	json_t *value;
	size_t n = 0;

	if (!list || !start)
		return NULL;
	json_object_foreach((json_t *)points, key, value)
	{
		if (sonde_parse_i64(key, 0, INT64_MAX, &start[n]) == 0)
			n++;
	}
	qsort(start, n, sizeof(*start), by_time);
	for (size_t i = 0; i < n; i++) {
		char name[24];

		(void)snprintf(name, sizeof(name), "%lld", (long long)start[i]);
		if (sonde_json_append(
			    list, json_pack("[o, I]", sonde_json_time(start[i]),
					    (json_int_t)sonde_json_get_int(points, name, 0))) < 0)
			return NULL;
	}
	return TAKE_PTR(list);
}

/* A task that begins within a point had no drop before. */
static int64_t first_ms(const struct sonde_task *t, const struct row *row, int64_t step_ms)
{
	const int64_t start = sonde_window_task_start(t);

	return start > row->first_ms && start < row->first_ms + step_ms ? start : row->first_ms;
}

static json_t *row_json(const struct drops *d, const struct sonde_task *t, const struct row *row)
{
	_cleanup_json_ json_t *numbers = NULL;
	int64_t step_ms = sonde_series_step_ms[d->query->window.step];
	json_t *o = json_copy(row->head);

	numbers = json_pack("{s:I, s:I, s:I, s:I, s:O, s:o, s:o, s:o}", "segments",
			    (json_int_t)row->n[SEGMENTS], "loss_segments", (json_int_t)row->loss,
			    "skbs", (json_int_t)row->n[SKBS], "bytes", (json_int_t)row->n[BYTES],
			    "reasons", row->reasons, "first_seen",
			    sonde_json_time(first_ms(t, row, step_ms)), "last_seen",
			    sonde_json_time(row->last_ms ? row->last_ms + step_ms : 0), "points",
			    points_json(row->points));
	if (!o || !numbers || json_object_update(o, numbers) < 0) {
		json_decref(o);
		return NULL;
	}
	return o;
}

static int by_segments(struct row *a, struct row *b)
{
	if (a->n[SEGMENTS] != b->n[SEGMENTS])
		return a->n[SEGMENTS] > b->n[SEGMENTS] ? -1 : 1;
	return strcmp(a->key, b->key);
}

/* What the agents say of these meters: of TCP's by name, of UDP's in words. */
static json_t *absent_json(const struct sonde_task *t)
{
	_cleanup_json_ json_t *all = sonde_topology_absent(t), *list = json_array();
	json_t *entry;
	size_t i;

	json_array_foreach(all, i, entry)
	{
		const char *meter = sonde_json_get_text(entry, "meter", "");

		if ((strstr(meter, "dropped") || strstr(meter, "drops")) && list &&
		    json_array_append(list, entry) < 0)
			return NULL;
	}
	return all ? TAKE_PTR(list) : NULL;
}

/* An agent sends no counter of 0. */
static json_t *listen_drops_json(const struct drops *d, const json_t *absent)
{
	if (d->listen_drops == 0 && sonde_side_absent(absent, SONDE_METER_LISTEN_DROPS))
		return json_null();
	return json_integer(d->listen_drops);
}

int sonde_view_drops(struct sonde_backend *b, const struct sonde_task *t,
		     struct sonde_series_set *set, const struct sonde_drops_query *query,
		     json_t **ret, struct sonde_problem *problem)
{
	static const char *const keys[] = {"reason", "meaning", "class", "direction",
					   "edge",   "site",	"where", NULL};
	_cleanup_(drops_done) struct drops d = {.backend = b, .query = query};
	_cleanup_json_ json_t *rows = json_array();
	_cleanup_json_ json_t *absent = absent_json(t);
	json_t *next = NULL;
	int r = rows && absent ? 0 : -ENOMEM;

	if (r == 0)
		r = collect(&d, set, problem);
	HASH_SORT(d.rows, by_segments);
	for (struct row *row = d.rows; row && r == 0; row = row->hh.next)
		r = sonde_json_append(rows, row_json(&d, t, row));
	if (r == 0)
		r = sonde_page_cut(rows, keys, &query->page, &next, problem);
	if (r < 0)
		return r;
	*ret = json_pack(
		"{s:s, s:s, s:o, s:I, s:{s:I, s:I, s:I, s:I, s:o}, s:O, s:o, s:O}", "task",
		t->spec->id, "by", names[query->by], "window", sonde_window_json(&query->window, t),
		"point_ms", (json_int_t)sonde_series_step_ms[query->window.step], "total",
		"segments", (json_int_t)d.n[SEGMENTS], "loss_segments", (json_int_t)d.loss, "skbs",
		(json_int_t)d.n[SKBS], "bytes", (json_int_t)d.n[BYTES], "listen_drops",
		listen_drops_json(&d, absent), "drops", rows, "next", next, "absent", absent);
	return *ret ? 0 : -ENOMEM;
}
