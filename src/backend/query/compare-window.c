/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/query/compare-window.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/json.h"
#include "backend/query/views.h"
#include "backend/query/walk.h"
#include "backend/query/window.h"
#include "base/clock.h"
#include "base/num.h"

void sonde_compare_window_done(struct sonde_compare_window *w)
{
	struct sonde_compare_side *s, *next;

	HASH_ITER (hh, w->sides, s, next) {
		HASH_DEL(w->sides, s);
		for (size_t i = 0; i < _SONDE_COMPARE_HISTOGRAM_MAX; i++)
			free(s->histogram[i].cell);
		json_decref(s->ends);
		json_decref(s->absent);
		free(s);
	}
	json_decref(w->profiled);
	json_decref(w->pooled);
	json_decref(w->absent);
	json_decref(w->absent_of);
	*w = (struct sonde_compare_window){0};
}

/* --- time --- */

static int64_t floor_to(int64_t ms, int64_t step_ms)
{
	return ms - ms % step_ms;
}

static bool has_time(const struct sonde_compare_window *w, int64_t start_ms)
{
	return start_ms >= w->since_ms && (w->until_ms == 0 || start_ms < w->until_ms);
}

static void choose_step(struct sonde_compare_window *w, const struct sonde_series *s)
{
	for (unsigned coarse = w->step + 1; coarse < _SONDE_SERIES_STEP_MAX; coarse++) {
		while (w->step < coarse &&
		       sonde_window_lacks(s, w->since_ms, w->until_ms, w->step, coarse))
			w->step++;
	}
}

/* A slice that the window begins or ends in is too short to stand alone: its neighbour has it too. */
static void merge_ends(struct sonde_compare_window *w)
{
	w->first = 0;
	w->last = w->n_slices - 1;
	if (w->first < w->last && w->seconds[w->first] * 2000 < (double)w->slice_ms) {
		w->seconds[w->first + 1] += w->seconds[w->first];
		w->first++;
	}
	if (w->first < w->last && w->seconds[w->last] * 2000 < (double)w->slice_ms) {
		w->seconds[w->last - 1] += w->seconds[w->last];
		w->last--;
	}
}

static void make_slices(struct sonde_compare_window *w)
{
	int64_t step_ms = sonde_series_step_ms[w->step], steps;

	w->first_ms = floor_to(w->start_ms, step_ms);
	steps = (w->end_ms - w->first_ms + step_ms - 1) / step_ms;
	w->slice_ms = step_ms * ((steps + SONDE_COMPARE_SLICES_MAX - 1) / SONDE_COMPARE_SLICES_MAX);
	w->n_slices = (size_t)((w->end_ms - w->first_ms + w->slice_ms - 1) / w->slice_ms);
	for (size_t i = 0; i < w->n_slices; i++) {
		int64_t start = w->first_ms + (int64_t)i * w->slice_ms, end = start + w->slice_ms;

		start = start < w->start_ms ? w->start_ms : start;
		end = end > w->end_ms ? w->end_ms : end;
		w->seconds[i] = (double)(end - start) / 1000;
	}
	merge_ends(w);
}

/* Return: 0, -EINVAL (it is empty), -ESTALE (of its minutes some are gone). */
static int choose_time(struct sonde_compare_window *w, const struct sonde_series_set *set)
{
	const struct sonde_task *t = w->task;
	int64_t step_ms, start = t->window_start_ms ? t->window_start_ms : t->started_ms;

	for (struct sonde_series *s = set->series; s; s = s->hh.next) {
		if (sonde_window_lacks(s, w->since_ms, w->until_ms, SONDE_SERIES_1M,
				       SONDE_SERIES_1H))
			return -ESTALE;
	}
	w->step = SONDE_SERIES_10S;
	for (struct sonde_series *s = set->series; s; s = s->hh.next)
		choose_step(w, s);
	step_ms = sonde_series_step_ms[w->step];
	w->start_ms = start;
	w->end_ms = t->window_end_ms;
	if (w->since_ms <= start)
		w->since_ms = 0; /* the first bucket may begin before the task */
	else
		w->start_ms = floor_to(w->since_ms - 1, step_ms) + step_ms;
	if (w->until_ms > 0 && w->until_ms < w->end_ms) {
		int64_t end = floor_to(w->until_ms - 1, step_ms) + step_ms;

		w->end_ms = end < w->end_ms ? end : w->end_ms;
	}
	if (start <= 0 || w->end_ms <= w->start_ms)
		return -EINVAL;
	make_slices(w);
	return 0;
}

static uint32_t slice_of(const struct sonde_compare_window *w, int64_t start_ms)
{
	int64_t i = start_ms > w->first_ms ? (start_ms - w->first_ms) / w->slice_ms : 0;

	if (i < (int64_t)w->first)
		return (uint32_t)w->first;
	return (uint32_t)(i > (int64_t)w->last ? (int64_t)w->last : i);
}

/* --- who --- */

/* "service/process", an address, "other". @ret: of SONDE_NODE_ID_MAX. */
static void name_of(struct sonde_registry *r, const char *process_id, const char *node, char *ret)
{
	const struct sonde_entity *e = sonde_registry_find_entity(r, process_id);

	if (e && e->kind == SONDE_ENTITY_PROCESS)
		(void)snprintf(ret, SONDE_NODE_ID_MAX, "%s/%s", e->service, e->name);
	else if (e && e->kind == SONDE_ENTITY_ADDRESS)
		(void)snprintf(ret, SONDE_NODE_ID_MAX, "%s", e->name);
	else
		(void)snprintf(ret, SONDE_NODE_ID_MAX, "%s", node);
}

/* Takes @s->key apart: client, server, port, protocol and side. */
static void split_key(struct sonde_compare_side *s)
{
	const char **parts[] = {&s->client, &s->server, &s->port, &s->protocol, &s->side};
	char *at = s->text;

	memcpy(s->text, s->key, sizeof(s->text));
	for (size_t i = 0; i < ELEMENTS_OF(parts); i++) {
		*parts[i] = at;
		at += strcspn(at, "\n");
		if (*at != '\0')
			*at++ = '\0';
	}
	s->is_udp = sonde_protocol_is_udp(s->protocol);
	s->is_server = strcmp(s->side, "server") == 0;
}

static const char *own_end(const struct sonde_compare_side *s)
{
	return s->is_server ? s->server : s->client;
}

const char *sonde_compare_peer(const struct sonde_compare_side *s)
{
	return s->is_server ? s->client : s->server;
}

void sonde_compare_pool_key(const struct sonde_compare_side *s,
			    char ret[static SONDE_COMPARE_KEY_MAX])
{
	(void)snprintf(ret, SONDE_COMPARE_KEY_MAX, "%s\n%s\n%s", own_end(s), s->protocol, s->side);
}

struct reading {
	struct sonde_compare_window *window;
	struct sonde_backend *backend;
	enum sonde_meter meter;
	uint32_t slice;
};

static int new_side(struct sonde_compare_window *w, const char *key,
		    struct sonde_compare_side **ret)
{
	struct sonde_compare_side *s;
	int r;

	if (HASH_COUNT(w->sides) >= SONDE_COMPARE_SIDES_MAX)
		return -E2BIG;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	(void)snprintf(s->key, sizeof(s->key), "%s", key);
	split_key(s);
	HASH_ADD_STR(w->sides, key, s);
	if (!SONDE_HASH_ADDED(s)) {
		free(s);
		return -ENOMEM;
	}
	s->ends = json_object();
	s->absent = json_object();
	if (!s->ends || !s->absent)
		return -ENOMEM;
	r = sonde_json_set(w->profiled, own_end(s), json_true());
	if (r == 0 && strcmp(sonde_compare_peer(s), "other") == 0) {
		char pool[SONDE_COMPARE_KEY_MAX];

		sonde_compare_pool_key(s, pool);
		r = sonde_json_set(w->pooled, pool, json_true());
	}
	if (r == 0)
		*ret = s;
	return r;
}

/* What the agent of @process_id did not measure, the side has not whole. */
static int add_end(struct sonde_compare_window *w, struct sonde_compare_side *s,
		   const char *process_id)
{
	json_t *absent;
	int r;

	if (json_object_get(s->ends, process_id))
		return 0;
	absent = json_object_get(w->absent_of, process_id);
	r = sonde_json_set(s->ends, process_id, json_true());
	if (r == 0 && json_object_update_missing(s->absent, absent ? absent : w->absent) < 0)
		r = -ENOMEM;
	return r;
}

static int get_side(struct reading *rd, const struct sonde_walk_value *v,
		    struct sonde_compare_side **ret)
{
	char client[SONDE_NODE_ID_MAX], server[SONDE_NODE_ID_MAX], key[SONDE_COMPARE_KEY_MAX];
	struct sonde_compare_window *w = rd->window;
	int n, r = 0;

	name_of(rd->backend->registry, v->client, v->client_node, client);
	name_of(rd->backend->registry, v->server, v->server_node, server);
	n = snprintf(key, sizeof(key), "%s\n%s\n%s\n%s\n%s", client, server, v->port,
		     sonde_protocol_is_udp(v->protocol) ? "udp" : "tcp", v->side);
	if (n < 0 || (size_t)n >= sizeof(key))
		return -E2BIG;
	HASH_FIND_STR(w->sides, key, *ret);
	if (!*ret)
		r = new_side(w, key, ret);
	return r < 0 ? r : add_end(w, *ret, (*ret)->is_server ? v->server : v->client);
}

/* --- what --- */

static bool is_loss(const struct sonde_labels *labels)
{
	const char *kind = sonde_labels_get(labels, "kind");

	return strcmp(kind, "loss") == 0 || strcmp(kind, "unclassified") == 0;
}

/* Return: the source, or _MAX if this meter is none. */
static enum sonde_compare_source source_of(const struct reading *rd,
					   const struct sonde_walk_value *v, bool is_server)
{
	switch (rd->meter) {
	case SONDE_METER_RETRANSMITTED_SEGMENTS:
		return SONDE_COMPARE_RETRANSMITS;
	case SONDE_METER_SEGMENTS_SENT:
	case SONDE_METER_UDP_SENT_DATAGRAMS:
		return SONDE_COMPARE_SENT_SEGMENTS;
	case SONDE_METER_SEGMENTS_RECEIVED:
	case SONDE_METER_UDP_RECEIVED_DATAGRAMS:
		return SONDE_COMPARE_RECEIVED_SEGMENTS;
	case SONDE_METER_RECEIVE_DROPPED:
	case SONDE_METER_TRANSMIT_DROPPED:
		return is_loss(v->labels) ? SONDE_COMPARE_DROPS : _SONDE_COMPARE_SOURCE_MAX;
	case SONDE_METER_UDP_BUFFER_DROPPED:
		return SONDE_COMPARE_DROPS;
	case SONDE_METER_SENT_BYTES:
	case SONDE_METER_UDP_SENT_BYTES:
		return SONDE_COMPARE_SENT_BYTES;
	case SONDE_METER_RECEIVED_BYTES:
	case SONDE_METER_UDP_RECEIVED_BYTES:
		return SONDE_COMPARE_RECEIVED_BYTES;
	case SONDE_METER_CONNECTIONS_OPENED:
		return is_server ? _SONDE_COMPARE_SOURCE_MAX : SONDE_COMPARE_CONNECTS;
	case SONDE_METER_CONNECTIONS_ACCEPTED:
		return is_server ? SONDE_COMPARE_CONNECTS : _SONDE_COMPARE_SOURCE_MAX;
	case SONDE_METER_CONNECT_FAILURES:
	case SONDE_METER_UDP_SEND_ERRORS:
		return SONDE_COMPARE_FAILURES;
	default:
		return _SONDE_COMPARE_SOURCE_MAX;
	}
}

static enum sonde_compare_histogram histogram_of(enum sonde_meter m)
{
	switch (m) {
	case SONDE_METER_RTT:
		return SONDE_COMPARE_RTT;
	case SONDE_METER_WRITE_TIME:
		return SONDE_COMPARE_WRITE_TIME;
	case SONDE_METER_READ_TIME:
		return SONDE_COMPARE_READ_TIME;
	default:
		return _SONDE_COMPARE_HISTOGRAM_MAX;
	}
}

static int add_cell(struct sonde_compare_window *w, struct sonde_compare_cells *h, uint32_t slice,
		    int64_t bound, int64_t count)
{
	if (count <= 0)
		return 0;
	if (w->n_cells >= SONDE_COMPARE_CELLS_MAX)
		return -E2BIG;
	if (h->n == h->cap) {
		size_t cap = h->cap ? 2 * h->cap : 64;
		struct sonde_compare_cell *more = reallocarray(h->cell, cap, sizeof(*more));

		if (!more)
			return -ENOMEM;
		h->cell = more;
		h->cap = cap;
	}
	h->cell[h->n++] = (struct sonde_compare_cell){bound, count, slice};
	w->n_cells++;
	return 0;
}

static int on_value(void *ctx, const struct sonde_walk_value *v)
{
	struct reading *rd = ctx;
	enum sonde_compare_histogram h = histogram_of(rd->meter);
	enum sonde_compare_source source;
	struct sonde_compare_side *s;
	int r;

	if (!v->is_edge || v->edge[0] == '\0')
		return 0;
	r = get_side(rd, v, &s);
	if (r < 0)
		return r;
	if (h < _SONDE_COMPARE_HISTOGRAM_MAX)
		return add_cell(rd->window, &s->histogram[h], rd->slice, v->bucket, v->value);
	source = source_of(rd, v, s->is_server);
	if (source == _SONDE_COMPARE_SOURCE_MAX || v->value < 0)
		return 0;
	s->count[source][rd->slice] = sonde_add_i64(s->count[source][rd->slice], v->value);
	s->total[source] = sonde_add_i64(s->total[source], v->value);
	return 0;
}

static int read_series(struct reading *rd, const struct sonde_series *s)
{
	struct sonde_compare_window *w = rd->window;
	int r = 0;

	if (sonde_view_meter_of(rd->backend, s->metric, &rd->meter) < 0 ||
	    (s->function.downsampling != SONDE_MAL_SUM &&
	     s->function.downsampling != SONDE_MAL_SUM_PER_MIN))
		return 0;
	for (size_t i = 0; i < s->step[w->step].n && r == 0; i++) {
		const struct sonde_series_bucket *bucket = &s->step[w->step].bucket[i];

		if (!has_time(w, bucket->start_ms))
			continue;
		if (sonde_work_ns() >= w->deadline_ns)
			return -ETIME;
		rd->slice = slice_of(w, bucket->start_ms);
		r = sonde_walk_held(rd->backend->registry, s, bucket->acc, on_value, rd);
	}
	return r;
}

/* What @a did not measure, and why: of any agent, and of each of its processes. */
static int read_absent(struct sonde_compare_window *w, const struct sonde_task_agent *a)
{
	_cleanup_json_ json_t *absent = json_object();
	const json_t *row;
	size_t at;
	int r = absent ? 0 : -ENOMEM;

	json_array_foreach(a->absent, at, row)
	{
		if (r == 0)
			r = sonde_json_set(absent, sonde_json_get_text(row, "meter", ""),
					   sonde_json_text(sonde_json_get_text(row, "reason", "")));
	}
	if (r == 0 && json_object_update_missing(w->absent, absent) < 0)
		r = -ENOMEM;
	json_array_foreach(a->targets, at, row)
	{
		const char *id = sonde_json_get_text(row, "process_id", "");
		json_t *before = json_object_get(w->absent_of, id), *both;

		if (r < 0 || id[0] == '\0')
			continue;
		both = before ? json_copy(before) : json_incref(absent);
		if (both && before && json_object_update_missing(both, absent) < 0)
			r = -ENOMEM;
		if (sonde_json_set(w->absent_of, id, both) < 0)
			r = -ENOMEM;
	}
	return r;
}

/* Names of the targets, also of those that had no traffic; what was absent, and why. */
static int read_task(struct sonde_compare_window *w, struct sonde_backend *b)
{
	const json_t *row;
	int r = 0;

	for (size_t i = 0; i < w->task->n_agents && r == 0; i++) {
		const struct sonde_task_agent *a = w->task->agents[i];
		size_t at;

		json_array_foreach(a->targets, at, row)
		{
			char name[SONDE_NODE_ID_MAX];

			name_of(b->registry, sonde_json_get_text(row, "process_id", ""), "", name);
			if (r == 0 && name[0] != '\0')
				r = sonde_json_set(w->profiled, name, json_true());
		}
		if (r == 0)
			r = read_absent(w, a);
	}
	return r;
}

int sonde_compare_window_read(struct sonde_compare_window *w, struct sonde_backend *b,
			      const char *which, struct sonde_problem *problem)
{
	struct reading rd = {.window = w, .backend = b};
	struct sonde_series_set *set;
	int r;

	w->profiled = json_object();
	w->pooled = json_object();
	w->absent = json_object();
	w->absent_of = json_object();
	w->complete = sonde_task_complete(w->task);
	if (!w->profiled || !w->pooled || !w->absent || !w->absent_of)
		return -ENOMEM;
	r = sonde_series_table_get(b->series, w->task->spec->id, sonde_wall_ms(), &set);
	if (r < 0)
		return r;
	r = choose_time(w, set);
	if (r < 0)
		return sonde_problem_set(
			problem, 400, which, "%s: %s", which,
			r == -ESTALE ? "of its minutes some are gone (retention, or no room)"
				     : "nothing was measured then");
	r = read_task(w, b);
	for (struct sonde_series *s = set->series; s && r == 0; s = s->hh.next)
		r = read_series(&rd, s);
	if (r == -E2BIG)
		r = sonde_problem_set(problem, 413, which, "%s: more edges or buckets than %d, %d",
				      which, SONDE_COMPARE_SIDES_MAX, SONDE_COMPARE_CELLS_MAX);
	return r;
}
