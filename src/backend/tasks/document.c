/* SPDX-License-Identifier: Apache-2.0 */
/* How a task is stored: one JSON document a task. Only this file knows its form. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backend/json.h"
#include "backend/tasks/task.h"

static json_t *or_null(json_t *j)
{
	return j ? json_incref(j) : json_null();
}

static json_t *agent_document(const struct sonde_task_agent *a)
{
	return json_pack(
		"{s:s, s:s, s:b, s:b, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}",
		"id", a->id, "state", sonde_task_state_name(a->state), "inferred", (int)a->inferred,
		"ended", (int)a->ended, "dropped_history", (int)a->dropped_history, "update_ms",
		(json_int_t)a->update_ms, "handed_out_ms", (json_int_t)a->handed_out_ms,
		"started_ms", (json_int_t)a->started_ms, "last_report_ms",
		(json_int_t)a->last_report_ms, "late_ms", (json_int_t)a->late_ms, "duplicates",
		(json_int_t)a->duplicates, "refused", (json_int_t)a->refused, "sequences",
		sonde_ranges_json(&a->sequences), "words", sonde_json_text(a->words), "reason_code",
		sonde_json_text(a->reason_code), "targets", or_null(a->targets), "probes",
		or_null(a->probes), "ledger", or_null(a->ledger), "cost", or_null(a->cost),
		"absent", or_null(a->absent), "idle_proof", or_null(a->idle_proof), "flows",
		or_null(a->flows), "namespaces", or_null(a->namespaces));
}

json_t *sonde_task_document(const struct sonde_task *t)
{
	_cleanup_json_ json_t *agents = json_array(), *refusals = json_array();

	if (!refusals || sonde_refusals_append(&t->refusals, NULL, refusals) < 0)
		return NULL;
	for (size_t i = 0; agents && i < t->n_agents; i++) {
		if (sonde_json_append(agents, agent_document(t->agents[i])) < 0)
			return NULL;
	}
	return json_pack(
		"{s:I, s:o, s:s, s:o, s:o, s:I, s:I, s:I, s:b, s:b, s:I, s:o, s:O, s:I, s:I, s:O, s:I, s:I, s:I, s:I, s:o, s:O}",
		"imported_ms", (json_int_t)t->imported_ms, "spec",
		sonde_spec_json(t->spec, NULL, NULL), "state", sonde_task_state_name(t->state),
		"reason", sonde_json_text(t->reason), "reason_code",
		sonde_json_text(t->reason_code), "created_ms", (json_int_t)t->created_ms,
		"started_ms", (json_int_t)t->started_ms, "ended_ms", (json_int_t)t->ended_ms,
		"extended", (int)t->extended, "stop_asked", (int)t->stop_asked, "stop_asked_ms",
		(json_int_t)t->stop_asked_ms, "stop_reason", sonde_json_text(t->stop_reason),
		"states", t->states, "window_start_ms", (json_int_t)t->window_start_ms,
		"window_end_ms", (json_int_t)t->window_end_ms, "agents", agents, "batches",
		(json_int_t)t->batches, "batch_duplicates", (json_int_t)t->batch_duplicates,
		"rules_failed", (json_int_t)t->rules_failed, "series_refused",
		(json_int_t)t->series_refused, "trigger", or_null(t->trigger), "refusals",
		refusals);
}

static json_t *take_member(const json_t *o, const char *key)
{
	json_t *j = json_object_get(o, key);

	return j && !json_is_null(j) ? json_incref(j) : NULL;
}

static int read_agent(struct sonde_task *t, const json_t *o)
{
	const char *id = sonde_json_get_text(o, "id", "");
	struct sonde_task_agent *a;
	int r;

	if (id[0] == '\0')
		return -EBADMSG;
	r = sonde_task_add_agent(t, id, &a);
	if (r < 0)
		return r;
	if (sonde_task_state_from_name(sonde_json_get_text(o, "state", ""), &a->state) < 0)
		return -EBADMSG;
	a->inferred = json_is_true(json_object_get(o, "inferred"));
	a->ended = json_is_true(json_object_get(o, "ended"));
	a->dropped_history = json_is_true(json_object_get(o, "dropped_history"));
	a->update_ms = sonde_json_get_int(o, "update_ms", 0);
	a->handed_out_ms = sonde_json_get_int(o, "handed_out_ms", 0);
	a->started_ms = sonde_json_get_int(o, "started_ms", 0);
	a->last_report_ms = sonde_json_get_int(o, "last_report_ms", 0);
	a->late_ms = sonde_json_get_int(o, "late_ms", 0);
	a->duplicates = (uint64_t)sonde_json_get_int(o, "duplicates", 0);
	a->refused = (uint64_t)sonde_json_get_int(o, "refused", 0);
	(void)snprintf(a->words, sizeof(a->words), "%s", sonde_json_get_text(o, "words", ""));
	(void)snprintf(a->reason_code, sizeof(a->reason_code), "%s",
		       sonde_json_get_text(o, "reason_code", ""));
	a->targets = take_member(o, "targets");
	a->probes = take_member(o, "probes");
	a->ledger = take_member(o, "ledger");
	a->cost = take_member(o, "cost");
	a->absent = take_member(o, "absent");
	a->idle_proof = take_member(o, "idle_proof");
	a->flows = take_member(o, "flows");
	a->namespaces = take_member(o, "namespaces");
	return sonde_ranges_from_json(&a->sequences, json_object_get(o, "sequences"));
}

static int read_task(struct sonde_task *t, const json_t *doc)
{
	const json_t *agents = json_object_get(doc, "agents");
	struct sonde_problem problem;
	int r;

	r = sonde_spec_parse(json_object_get(doc, "spec"), 0, 0, true, &t->spec, &problem);
	if (r < 0)
		return r == -EINVAL ? -EBADMSG : r;
	t->states = take_member(doc, "states");
	t->trigger = take_member(doc, "trigger");
	if (!json_is_array(t->states) ||
	    sonde_task_state_from_name(sonde_json_get_text(doc, "state", ""), &t->state) < 0)
		return -EBADMSG;
	(void)snprintf(t->reason, sizeof(t->reason), "%s", sonde_json_get_text(doc, "reason", ""));
	(void)snprintf(t->reason_code, sizeof(t->reason_code), "%s",
		       sonde_json_get_text(doc, "reason_code", ""));
	t->created_ms = sonde_json_get_int(doc, "created_ms", 0);
	t->imported_ms = sonde_json_get_int(doc, "imported_ms", 0);
	t->started_ms = sonde_json_get_int(doc, "started_ms", 0);
	t->ended_ms = sonde_json_get_int(doc, "ended_ms", 0);
	t->extended = json_is_true(json_object_get(doc, "extended"));
	t->stop_asked = json_is_true(json_object_get(doc, "stop_asked"));
	t->stop_asked_ms = sonde_json_get_int(doc, "stop_asked_ms", 0);
	(void)snprintf(t->stop_reason, sizeof(t->stop_reason), "%s",
		       sonde_json_get_text(doc, "stop_reason", ""));
	t->window_start_ms = sonde_json_get_int(doc, "window_start_ms", 0);
	t->window_end_ms = sonde_json_get_int(doc, "window_end_ms", 0);
	t->batches = (uint64_t)sonde_json_get_int(doc, "batches", 0);
	t->batch_duplicates = (uint64_t)sonde_json_get_int(doc, "batch_duplicates", 0);
	t->rules_failed = (uint64_t)sonde_json_get_int(doc, "rules_failed", 0);
	t->series_refused = (uint64_t)sonde_json_get_int(doc, "series_refused", 0);
	sonde_refusals_read(&t->refusals, json_object_get(doc, "refusals"));
	for (size_t i = 0; i < json_array_size(agents); i++) {
		r = read_agent(t, json_array_get(agents, i));
		if (r < 0)
			return r;
	}
	return 0;
}

int sonde_task_from_document(const json_t *doc, struct sonde_task **ret)
{
	_cleanup_(sonde_task_freep) struct sonde_task *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return -ENOMEM;
	r = read_task(t, doc);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(t);
	return 0;
}
