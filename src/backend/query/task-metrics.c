/* SPDX-License-Identifier: Apache-2.0 */
/* Metrics of tasks for Prometheus: each metric is a family, over all the tasks that were asked for. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "backend/hash.h"
#include "backend/json.h"
#include "backend/query/metrics-text.h"
#include "backend/query/views.h"
#include "backend/query/walk.h"
#include "backend/store/ids.h"
#include "base/clock.h"
#include "base/num.h"
#include "model/meters.h"

#define GAUGE SONDE_EXPOSITION_GAUGE
#define COUNTER SONDE_EXPOSITION_COUNTER
#define LABELS_BYTES_MAX (64U << 10) /* of one sample */
#define RELATION_ID_MAX 17

/* Lower bounds of fine buckets, each of them: see meters.def. */
static const int64_t bounds[] = {10,	 20,	  50,	   100,	    200,     500,    1000,
				 2000,	 5000,	  10000,   20000,   50000,   100000, 200000,
				 500000, 1000000, 2000000, 5000000, 10000000};

enum form {
	FORM_COUNTER = 0,
	FORM_GAUGE,
	FORM_HISTOGRAM, /* and the percentiles beside it */
};

struct item {
	const struct sonde_task *task;
	const struct sonde_series *series;
};

/* The labels that a family has had. */
struct known {
	UT_hash_handle hh;
	char text[];
};

struct writer {
	struct sonde_backend *backend;
	struct sonde_exposition *e;
	const struct sonde_task *task;
	struct known *known;
	struct sonde_buf labels; /* of the sample that is being written */
	/* of the histogram that is being summed */
	struct sonde_buf plain, group; /* its labels, and what they became */
	uint64_t below[ELEMENTS_OF(bounds)], count;
};

static enum form form_of(const struct sonde_series *s)
{
	const struct sonde_meter_info *info = sonde_meter_find(s->metric);

	if (s->function.kind == SONDE_MAL_HISTOGRAM_PERCENTILE)
		return info && info->kind == SONDE_METER_KIND_HISTOGRAM &&
				       s->function.downsampling == SONDE_MAL_SUM
			       ? FORM_HISTOGRAM
			       : FORM_GAUGE;
	return s->function.kind != SONDE_MAL_HISTOGRAM && s->function.downsampling == SONDE_MAL_SUM
		       ? FORM_COUNTER
		       : FORM_GAUGE;
}

static void forget_known(struct writer *w)
{
	struct known *k, *next;

	HASH_ITER (hh, w->known, k, next) {
		HASH_DEL(w->known, k);
		free(k);
	}
}

/* Return: 1 it was known, 0 it is now, -ENOMEM. */
static int note_known(struct writer *w, const char *labels)
{
	size_t n = strlen(labels) + 1;
	struct known *k;

	HASH_FIND_STR(w->known, labels, k);
	if (k)
		return 1;
	k = calloc(1, sizeof(*k) + n);
	if (!k)
		return -ENOMEM;
	memcpy(k->text, labels, n);
	HASH_ADD_STR(w->known, text, k);
	if (SONDE_HASH_ADDED(k))
		return 0;
	free(k);
	return -ENOMEM;
}

static const char *node_name(const struct writer *w, const char *process_id, const char *node)
{
	const struct sonde_entity *e = sonde_registry_find_entity(w->backend->registry, process_id);

	return e ? e->name : node;
}

static void entity_text(const struct sonde_walk_value *v, char ret[static SONDE_ENTITY_KEY_MAX])
{
	size_t at = 0;

	ret[0] = '\0';
	for (size_t i = 0; i < v->entity->n && at < SONDE_ENTITY_KEY_MAX; i++)
		at += (size_t)snprintf(ret + at, SONDE_ENTITY_KEY_MAX - at, "%s%s", i ? "/" : "",
				       v->entity->part[i]);
}

static int relation_of(const struct sonde_walk_value *v, char ret[static RELATION_ID_MAX])
{
	char text[SONDE_ENTITY_KEY_MAX];

	entity_text(v, text);
	return sonde_id_digest(text, strlen(text), 8, ret);
}

/* Fills w->labels. @relation: "", or what tells two entities of the same names apart. */
static int make_labels(struct writer *w, const struct sonde_walk_value *v, const char *relation)
{
	struct sonde_exposition_labels l = {0};
	char entity[SONDE_ENTITY_KEY_MAX], bound[24];
	int r;

	sonde_buf_reset(&w->labels);
	r = sonde_exposition_label(&l, "task", w->task->spec->id);
	if (r == 0 && v->is_edge) {
		r = sonde_exposition_label(&l, "edge", v->edge);
		if (r == 0)
			r = sonde_exposition_label(&l, "client",
						   node_name(w, v->client, v->client_node));
		if (r == 0)
			r = sonde_exposition_label(&l, "server",
						   node_name(w, v->server, v->server_node));
		if (r == 0)
			r = sonde_exposition_label(&l, "side", v->side);
	} else if (r == 0) {
		entity_text(v, entity);
		r = sonde_exposition_label(&l, "entity", entity);
	}
	for (size_t i = 0; i < v->labels->n && r == 0; i++) {
		if (!v->is_edge || strcmp(v->labels->label[i].name, "role") != 0)
			r = sonde_exposition_label(&l, v->labels->label[i].name,
						   v->labels->label[i].value);
	}
	if (r == 0 && v->series->function.kind == SONDE_MAL_HISTOGRAM) {
		(void)snprintf(bound, sizeof(bound), "%" PRId64, v->bucket);
		r = sonde_exposition_label(&l, "bucket", bound);
	}
	if (r == 0 && relation[0])
		r = sonde_exposition_label(&l, "relation", relation);
	return r < 0 ? r : sonde_exposition_render(&l, &w->labels);
}

/* No two samples of a family may have the same labels: the whole scrape would be refused. */
static int make_own_labels(struct writer *w, const struct sonde_walk_value *v)
{
	char relation[RELATION_ID_MAX];
	int r = make_labels(w, v, "");

	if (r == 0)
		r = note_known(w, sonde_buf_str(&w->labels));
	if (r <= 0)
		return r;
	r = relation_of(v, relation);
	if (r == 0)
		r = make_labels(w, v, relation);
	if (r == 0)
		r = note_known(w, sonde_buf_str(&w->labels));
	return r > 0 ? -EEXIST : r;
}

static int on_number(void *ctx, const struct sonde_walk_value *v)
{
	struct writer *w = ctx;
	int r = make_own_labels(w, v);

	if (r == 0)
		sonde_exposition_int(w->e, "", sonde_buf_str(&w->labels), v->nearest);
	return r;
}

static void reset_histogram(struct writer *w)
{
	sonde_buf_reset(&w->group);
	memset(w->below, 0, sizeof(w->below));
	w->count = 0;
}

static void end_histogram(struct writer *w)
{
	const char *labels = sonde_buf_str(&w->group);
	char le[24];

	if (w->group.len == 0)
		return;
	for (size_t i = 0; i < ELEMENTS_OF(bounds); i++) {
		(void)snprintf(le, sizeof(le), "%" PRId64 ".0", bounds[i]);
		sonde_exposition_bucket(w->e, labels, le, w->below[i]);
	}
	sonde_exposition_bucket(w->e, labels, "+Inf", w->count);
	sonde_exposition_int(w->e, "_count", labels,
			     w->count > INT64_MAX ? INT64_MAX : (int64_t)w->count);
	reset_histogram(w);
}

static int begin_histogram(struct writer *w, const struct sonde_walk_value *v)
{
	int r;

	sonde_buf_reset(&w->plain);
	r = sonde_buf_append(&w->plain, w->labels.data, w->labels.len);
	if (r == 0)
		r = make_own_labels(w, v);
	if (r == 0)
		r = sonde_buf_append(&w->group, w->labels.data, w->labels.len);
	return r;
}

/* The buckets of a group come one behind the other. */
static int on_bucket(void *ctx, const struct sonde_walk_value *v)
{
	struct writer *w = ctx;
	int r = make_labels(w, v, "");

	if (r == 0 && (w->group.len == 0 ||
		       strcmp(sonde_buf_str(&w->labels), sonde_buf_str(&w->plain)) != 0)) {
		end_histogram(w);
		r = begin_histogram(w, v);
	}
	if (r < 0)
		return r;
	for (size_t i = 0; i < ELEMENTS_OF(bounds); i++) {
		if (v->bucket < bounds[i])
			w->below[i] += (uint64_t)v->value;
	}
	w->count += (uint64_t)v->value;
	return 0;
}

static int write_series(struct writer *w, const struct item *item, bool histogram)
{
	_cleanup_(sonde_mal_accumulator_freep) struct sonde_mal_accumulator *total = NULL;
	const struct sonde_series *s = item->series;
	int r = sonde_series_total(s, &total);

	w->task = item->task;
	if (r == -ENODATA)
		return 0;
	if (r == 0 && histogram) {
		reset_histogram(w);
		r = sonde_walk_held(w->backend->registry, s, total, on_bucket, w);
		if (r == 0)
			end_histogram(w);
		return r;
	}
	if (r == 0)
		r = sonde_walk_shown(w->backend->registry, s, total, sonde_series_minutes(s),
				     on_number, w);
	return r;
}

static bool full(const struct writer *w)
{
	return w->e->samples >= SONDE_TASK_METRICS_SAMPLES_MAX ||
	       w->e->out.len >= SONDE_TASK_METRICS_BYTES_MAX;
}

static void begin_family(struct writer *w, const char *metric, enum form form)
{
	const struct sonde_meter_info *info = sonde_meter_find(metric);
	/* The unit as the name has it, which is what OpenMetrics wants to see. */
	static const char *const units[] = {"microseconds", "milliseconds", "bytes", "segments"};
	char name[SONDE_EXPOSITION_NAME_MAX];
	const char *unit = NULL;
	size_t n;

	(void)snprintf(name, sizeof(name), "%s", metric);
	n = strlen(name);
	if (form == FORM_COUNTER && n > 6 && strcmp(name + n - 6, "_total") == 0)
		name[n - 6] = '\0';
	for (size_t i = 0; i < ELEMENTS_OF(units); i++) {
		n = strlen(units[i]);
		if (strlen(name) > n && strcmp(name + strlen(name) - n, units[i]) == 0)
			unit = units[i];
	}
	forget_known(w);
	sonde_exposition_family(w->e, metric,
				form == FORM_COUNTER	 ? COUNTER
				: form == FORM_HISTOGRAM ? SONDE_EXPOSITION_HISTOGRAM
							 : GAUGE,
				unit, info ? info->help : NULL);
}

/* One metric, over the @n items of it. Return: 0, -ENOMEM. */
static int write_metric(struct writer *w, const struct item *item, size_t n, uint64_t *refused)
{
	char percentile[SONDE_EXPOSITION_NAME_MAX];
	enum form form = form_of(item->series);
	bool more = form == FORM_HISTOGRAM;
	int r;

	begin_family(w, item->series->metric, form);
	for (size_t i = 0; i < n; i++) {
		/* A task from before a change of the rules. */
		if (full(w) || form_of(item[i].series) != form) {
			*refused += 1;
			continue;
		}
		r = write_series(w, &item[i], form == FORM_HISTOGRAM);
		if (r == -ENOMEM)
			return r;
		*refused += r < 0;
	}
	if (!more)
		return 0;
	(void)snprintf(percentile, sizeof(percentile), "%.100s_percentile", item->series->metric);
	begin_family(w, percentile, FORM_GAUGE);
	for (size_t i = 0; i < n && !full(w); i++) {
		r = form_of(item[i].series) == form ? write_series(w, &item[i], false) : 0;
		if (r == -ENOMEM)
			return r;
	}
	return 0;
}

static void task_line(struct sonde_exposition *e, const struct sonde_task *t, const char *label,
		      const char *text, int64_t value)
{
	struct sonde_exposition_labels l = {0};
	_cleanup_buf_ struct sonde_buf out = SONDE_BUF_INIT(LABELS_BYTES_MAX);
	int r = sonde_exposition_label(&l, "task", t->spec->id);

	if (r == 0 && label)
		r = sonde_exposition_label(&l, label, text);
	if (r == 0 && label && strcmp(label, "state") == 0)
		r = sonde_exposition_label(&l, "name", t->spec->name);
	if (r == 0 && label && strcmp(label, "state") == 0)
		r = sonde_exposition_label(&l, "preset", t->spec->preset);
	if (r == 0 && sonde_exposition_render(&l, &out) == 0)
		sonde_exposition_int(e, "", sonde_buf_str(&out), value);
}

/* The sites of all agents, each once. */
static int write_ledger(struct sonde_backend *b, struct sonde_exposition *e,
			const struct sonde_task *t)
{
	_cleanup_json_ json_t *ledger = sonde_view_ledger(b, t), *sums = json_object();
	const char *site;
	json_t *entry, *sum;
	size_t i;

	if (!ledger || !sums)
		return -ENOMEM;
	json_array_foreach(json_object_get(ledger, "entries"), i, entry)
	{
		const char *name = sonde_json_get_text(entry, "site", "");
		int64_t n = sonde_json_get_int(sums, name, 0);

		n = sonde_add_i64(n, sonde_json_get_int(entry, "count", 0));
		if (sonde_json_set(sums, name, json_integer(n)) < 0)
			return -ENOMEM;
	}
	json_object_foreach(sums, site, sum) task_line(e, t, "site", site, json_integer_value(sum));
	return 0;
}

/* What each task is, and how whole its numbers are. */
static int write_tasks(struct sonde_backend *b, struct sonde_exposition *e,
		       struct sonde_task *const *tasks, size_t n)
{
	int r = 0;

	sonde_exposition_family(e, "sonde_task_info", GAUGE, NULL,
				"A task and its state; always 1.");
	for (size_t i = 0; i < n; i++)
		task_line(e, tasks[i], "state", sonde_task_state_name(tasks[i]->state), 1);
	sonde_exposition_family(e, "sonde_task_complete", GAUGE, NULL,
				"1 unless something was lost: see sonde_task_ledger.");
	for (size_t i = 0; i < n; i++)
		task_line(e, tasks[i], NULL, NULL, sonde_task_complete(tasks[i]));
	sonde_exposition_family(e, "sonde_task_ledger", GAUGE, NULL,
				"What was lost or left out on the way, by site.");
	for (size_t i = 0; i < n && r == 0; i++)
		r = write_ledger(b, e, tasks[i]);
	return r;
}

static int by_metric(const void *a, const void *b)
{
	const struct item *x = a, *y = b;
	int c = strcmp(x->series->metric, y->series->metric);

	c = c ? c : strcmp(x->task->spec->id, y->task->spec->id);
	return c ? c : strcmp(x->series->entity, y->series->entity);
}

/* All series of all tasks, a metric's behind each other. */
static int collect(struct sonde_backend *b, struct sonde_task *const *tasks, size_t n_tasks,
		   struct item **ret, size_t *ret_n)
{
	_cleanup_free_ struct item *items = NULL;
	size_t n = 0;

	for (size_t i = 0; i < n_tasks; i++) {
		struct sonde_series_set *set;
		struct item *grown;
		int r = sonde_series_table_get_totals(b->series, tasks[i]->spec->id,
						      sonde_wall_ms(), &set);

		if (r < 0)
			return r;
		grown = reallocarray(items, n + HASH_COUNT(set->series) + 1, sizeof(*items));
		if (!grown)
			return -ENOMEM;
		items = grown;
		for (struct sonde_series *s = set->series; s; s = s->hh.next)
			items[n++] = (struct item){tasks[i], s};
	}
	if (n > 0)
		qsort(items, n, sizeof(*items), by_metric);
	*ret = TAKE_PTR(items);
	*ret_n = n;
	return 0;
}

static void writer_done(struct writer *w)
{
	forget_known(w);
	sonde_buf_done(&w->labels);
	sonde_buf_done(&w->plain);
	sonde_buf_done(&w->group);
}

int sonde_metrics_tasks(struct sonde_backend *b, struct sonde_task *const *tasks, size_t n,
			struct sonde_exposition *e)
{
	_cleanup_(writer_done) struct writer w = {
		.backend = b,
		.e = e,
		.labels = SONDE_BUF_INIT(LABELS_BYTES_MAX),
		.plain = SONDE_BUF_INIT(LABELS_BYTES_MAX),
		.group = SONDE_BUF_INIT(LABELS_BYTES_MAX),
	};
	_cleanup_free_ struct item *items = NULL;
	size_t n_items, last;
	uint64_t refused = 0;
	int r = collect(b, tasks, n, &items, &n_items);

	if (r == 0)
		r = write_tasks(b, e, tasks, n);
	for (size_t first = 0; r == 0 && first < n_items; first = last) {
		last = first + 1;
		while (last < n_items &&
		       strcmp(items[last].series->metric, items[first].series->metric) == 0)
			last++;
		r = write_metric(&w, &items[first], last - first, &refused);
	}
	if (r < 0)
		return r;
	sonde_exposition_family(e, "sonde_task_series_refused", GAUGE, NULL,
				"Series left out of this answer for want of room.");
	sonde_exposition_int(e, "", NULL, refused > INT64_MAX ? INT64_MAX : (int64_t)refused);
	return 0;
}
