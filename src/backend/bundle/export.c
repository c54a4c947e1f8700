/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/bundle/bundle-store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backend/bundle/bundle.h"
#include "backend/ingest/entity.h"
#include "backend/json.h"
#include "backend/query/views.h"
#include "base/clock.h"
#include "mal/rules.h"

struct export
{
	struct sonde_backend *backend;
	const struct sonde_task *task;
	struct sonde_bundle_writer writer;
	json_t *ids; /* of entities; owned */
};

static void export_done(struct export *x)
{
	sonde_bundle_writer_done(&x->writer);
	json_decref(x->ids);
}

/* --- series --- */

static int add_bucket(struct export *x, const struct sonde_series *s, unsigned step,
		      const struct sonde_series_bucket *b)
{
	_cleanup_buf_ struct sonde_buf bytes = SONDE_BUF_INIT(SONDE_MAL_STORED_BYTES);
	int r = sonde_mal_accumulator_store(b->acc, &bytes);

	if (r < 0)
		return r;
	return sonde_bundle_add(&x->writer, SONDE_BUNDLE_SERIES,
				json_pack("{s:o, s:o, s:I, s:I, s:I, s:o}", "metric",
					  sonde_json_text(s->metric), "entity",
					  sonde_json_text(s->entity), "step_ms",
					  (json_int_t)sonde_series_step_ms[step], "start_ms",
					  (json_int_t)b->start_ms, "minutes", (json_int_t)b->parts,
					  "data", sonde_bundle_hex(bytes.data, bytes.len)));
}

static int note_ids(struct export *x, const struct sonde_series *s)
{
	struct sonde_entity_parts parts;
	int r = 0;

	sonde_entity_split(s->entity, &parts);
	for (size_t i = 1; i < parts.n && r == 0; i++) {
		if (sonde_registry_find_entity(x->backend->registry, parts.part[i]))
			r = sonde_json_set(x->ids, parts.part[i], json_true());
	}
	return r;
}

/* In the set's own order, which answers have too. */
static int add_series(struct export *x, const struct sonde_series_set *set)
{
	int r = 0;

	for (const struct sonde_series *s = set->series; s && r == 0; s = s->hh.next) {
		r = note_ids(x, s);
		for (unsigned step = 0; step < _SONDE_SERIES_STEP_MAX && r == 0; step++) {
			for (size_t k = 0; k < s->step[step].n && r == 0; k++)
				r = add_bucket(x, s, step, &s->step[step].bucket[k]);
		}
	}
	return r;
}

/* --- flows --- */

static int add_flow(void *ctx, const struct sonde_store_row *row)
{
	struct export *x = ctx;
	size_t n;
	const void *data = sonde_store_row_blob(row, 7, &n);

	return sonde_bundle_add(
		&x->writer, SONDE_BUNDLE_FLOWS,
		json_pack("{s:o, s:I, s:o, s:o, s:o, s:o, s:o}", "agent",
			  sonde_json_text(sonde_store_row_text(row, 0)), "pid",
			  (json_int_t)sonde_store_row_int(row, 2), "process",
			  sonde_json_text(sonde_store_row_text(row, 3)), "process_name",
			  sonde_json_text(sonde_store_row_text(row, 4)), "peer",
			  sonde_json_text(sonde_store_row_text(row, 5)), "peer_name",
			  sonde_json_text(sonde_store_row_text(row, 6)), "data",
			  sonde_bundle_hex(data, n)));
}

static int add_flows(struct export *x)
{
	return sonde_store_select(x->backend->store, SONDE_STORE_GET_FLOWS_BY_START, add_flow, x,
				  "titittiiiiiii", x->task->spec->id, INT64_MAX, "", INT64_MIN, "",
				  "", (int64_t)-1, (int64_t)-1, (int64_t)-1, (int64_t)-1,
				  (int64_t)SONDE_BUNDLE_ROWS_MAX + 1, (int64_t)0, (int64_t)0);
}

/* --- who, and the rest --- */

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int add_entities(struct export *x)
{
	_cleanup_free_ const char **ids = calloc(json_object_size(x->ids) + 1, sizeof(*ids));
	const char *key;
	json_t *value;
	size_t n = 0;
	int r = 0;

	if (!ids)
		return -ENOMEM;
	json_object_foreach(x->ids, key, value) ids[n++] = key;
	qsort(ids, n, sizeof(*ids), by_text);
	for (size_t i = 0; i < n && r == 0; i++) {
		const struct sonde_entity *e =
			sonde_registry_find_entity(x->backend->registry, ids[i]);

		if (!e)
			continue;
		r = sonde_bundle_add(
			&x->writer, SONDE_BUNDLE_ENTITIES,
			json_pack("{s:o, s:s, s:o, s:o, s:o}", "id", sonde_json_text(ids[i]),
				  "kind", sonde_entity_kind_name(e->kind), "service",
				  sonde_json_text(e->service), "instance",
				  sonde_json_text(e->instance), "name", sonde_json_text(e->name)));
	}
	return r;
}

static int note_targets(struct export *x)
{
	int r = 0;

	for (size_t i = 0; i < x->task->n_agents; i++) {
		const json_t *targets = x->task->agents[i]->targets;

		for (size_t k = 0; k < json_array_size(targets) && r == 0; k++) {
			const char *id =
				sonde_json_get_text(json_array_get(targets, k), "process_id", "");

			if (id[0] != '\0')
				r = sonde_json_set(x->ids, id, json_true());
		}
	}
	return r;
}

static json_t *rules_json(struct sonde_backend *b)
{
	const struct sonde_rule_set *s = sonde_ingest_rules(b->ingest);
	json_t *list = json_array();

	for (size_t i = 0; list && i < s->n; i++) {
		size_t n = s->v[i].rules ? sonde_mal_rules_count(s->v[i].rules) : 0;

		(void)json_array_append_new(list, json_pack("{s:o, s:I}", "file",
							    sonde_json_text(s->v[i].name), "rules",
							    (json_int_t)n));
	}
	return list;
}

static json_t *manifest_json(const struct export *x, const json_t *ledger)
{
	const struct sonde_task *t = x->task;

	return json_pack("{s:s, s:s, s:o, s:s, s:{s:o, s:o}, s:b, s:O, s:o}", "server",
			 SONDE_VERSION, "task", t->spec->id, "name", sonde_json_text(t->spec->name),
			 "state", sonde_task_state_name(t->state), "window", "start",
			 sonde_json_time(t->window_start_ms), "end",
			 sonde_json_time(t->window_end_ms), "complete", (int)sonde_task_complete(t),
			 "losses", json_object_get(ledger, "entries"), "rules",
			 rules_json(x->backend));
}

static int write_all(struct export *x, struct sonde_series_set *set, struct sonde_buf *out)
{
	json_t *ledger = sonde_view_ledger(x->backend, x->task);
	_cleanup_json_ json_t *manifest = ledger ? manifest_json(x, ledger) : NULL;
	int r = sonde_bundle_add(&x->writer, SONDE_BUNDLE_LEDGER, ledger);

	if (r == 0)
		r = sonde_bundle_add(&x->writer, SONDE_BUNDLE_TASK, sonde_task_document(x->task));
	if (r == 0)
		r = add_series(x, set);
	if (r == 0)
		r = sonde_bundle_add(&x->writer, SONDE_BUNDLE_TOPOLOGY,
				     sonde_view_topology(x->backend, x->task, set));
	if (r == 0)
		r = add_flows(x);
	if (r == 0)
		r = note_targets(x);
	if (r == 0)
		r = add_entities(x);
	if (r == 0 && !manifest)
		r = -ENOMEM;
	return r < 0 ? r : sonde_bundle_write(&x->writer, manifest, out);
}

int sonde_bundle_export(struct sonde_backend *b, const struct sonde_task *t, struct sonde_buf *out,
			struct sonde_problem *problem)
{
	_cleanup_(export_done) struct export x = {.backend = b, .task = t, .ids = json_object()};
	struct sonde_series_set *set;
	int r;

	if (!sonde_task_state_final(t->state))
		return sonde_problem_set(problem, 409, NULL,
					 "the task goes on (%s): its numbers still change",
					 sonde_task_state_name(t->state));
	sonde_bundle_writer_init(&x.writer);
	if (!x.ids)
		return -ENOMEM;
	r = sonde_series_table_get(b->series, t->spec->id, sonde_wall_ms(), &set);
	if (r == 0)
		r = write_all(&x, set, out);
	if (r == -EMSGSIZE || r == -E2BIG)
		return sonde_problem_set(
			problem, 413, NULL,
			"the task is larger than a bundle may be: %u bytes unpacked",
			SONDE_BUNDLE_BYTES_MAX);
	return r;
}
