/* SPDX-License-Identifier: Apache-2.0 */
/* Policies as SkyWalking's continuous profiling: set, shown, and who is watched. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backend/json.h"
#include "backend/oap/fields.h"
#include "backend/policies/fire.h"
#include "base/clock.h"

#define RECENT_MS (48LL * 3600 * 1000) /* triggers are counted so far back, as OAP does */

/* --- set --- */

/* What of the target OAP has no word for: it stays. */
static int keep_own(const struct sonde_policy *before, const char *type, json_t *target)
{
	static const char *const keys[] = {"preset", "duration", "spec"};
	const json_t *old = before ? sonde_policy_target(before->document, type) : NULL;

	for (size_t i = 0; i < ELEMENTS_OF(keys); i++) {
		json_t *value = json_object_get(old, keys[i]);

		if (value && json_object_set(target, keys[i], value) < 0)
			return -ENOMEM;
	}
	return 0;
}

/* An input as the schema has it: the same under the names of the file. */
static int add_target(const struct sonde_policy *before, const json_t *input, json_t *list)
{
	const char *type = sonde_json_get_text(input, "targetType", "");
	_cleanup_json_ json_t *target = json_pack("{s:s, s:O}", "type", type, "checkers",
						  json_object_get(input, "checkItems"));
	int r = target ? keep_own(before, type, target) : -ENOMEM;

	return r < 0 ? r : sonde_json_append(list, json_incref(target));
}

static json_t *document_of(const struct sonde_policy *before, const json_t *targets)
{
	_cleanup_json_ json_t *list = json_array(), *root = NULL;
	json_t *schedules = before ? json_object_get(before->document, "schedules") : NULL;

	for (size_t i = 0; list && i < json_array_size(targets); i++) {
		if (add_target(before, json_array_get(targets, i), list) < 0)
			return NULL;
	}
	root = list ? json_pack("{s:O}", "policy", list) : NULL;
	if (!root || (schedules && json_object_set(root, "schedules", schedules) < 0))
		return NULL;
	return TAKE_PTR(root);
}

/* A change on its way to the disk: behind it agents are told. */
struct setting {
	struct sonde_backend *backend;
	char service[SONDE_REGISTRY_NAME_MAX];
	sonde_store_done_fn done;
	void *ctx;
};

static void on_set(void *ctx, int error)
{
	struct setting *s = ctx;

	if (error == 0)
		sonde_policies_tell(s->backend, s->service);
	s->done(s->ctx, error);
	free(s);
}

/* OAP's words, without the place in a file that it does not know. */
static int refuse(const struct sonde_problem *p, json_t **ret)
{
	const size_t n = strlen(p->field);
	const char *words = p->detail;

	if (n && strncmp(words, p->field, n) == 0)
		words += n + strspn(words + n, ": ");
	return graphql_give(graphql_created(false, words, NULL), ret);
}

/* @document: taken; NULL: it is to go. */
static int store(struct graphql_ask *a, const char *service, json_t *document, json_t **ret)
{
	struct setting *s = calloc(1, sizeof(*s));
	struct sonde_problem problem = {0};
	int r;

	if (!s) {
		json_decref(document);
		return -ENOMEM;
	}
	*s = (struct setting){.backend = a->backend, .done = a->stored, .ctx = a->stored_ctx};
	memcpy(s->service, service, strlen(service) + 1);
	r = document ? sonde_policies_put(a->backend->policies, service, document, a->now_ms,
					  on_set, s, &problem)
		     : sonde_policies_delete(a->backend->policies, service, on_set, s, &problem);
	if (r == 0)
		return -EINPROGRESS;
	free(s);
	return r == -EINVAL ? refuse(&problem, ret) : r;
}

int graphql_set_policy(struct graphql_ask *a, json_t **ret)
{
	const json_t *request = json_object_get(a->arguments, "request");
	const json_t *targets = json_object_get(request, "targets");
	const char *id = sonde_json_get_text(request, "serviceId", "");
	const struct sonde_policy *before;
	struct sonde_problem problem = {0};
	_cleanup_json_ json_t *raw = NULL;
	struct graphql_names names;
	json_t *document = NULL;
	int r;

	if (id[0] == '\0')
		return graphql_give(graphql_created(false, "the service id cannot be empty", NULL),
				    ret);
	if (graphql_names_from_id(id, &names) < 0)
		return graphql_give(graphql_created(false, "there is no such service", NULL), ret);
	graphql_set_subject(a, names.service);
	before = sonde_policies_find(a->backend->policies, names.service);
	/* No target is no policy: schedules stay, which OAP does not know. */
	if (json_array_size(targets) == 0 && (!before || before->n_schedules == 0))
		return before ? store(a, names.service, NULL, ret)
			      : graphql_give(graphql_created(true, NULL, NULL), ret);
	raw = document_of(before, targets);
	if (!raw)
		return -ENOMEM;
	r = sonde_policy_check(raw, names.service, a->now_ms,
			       (int64_t)a->backend->config.max_task_duration_ms, &document,
			       &problem);
	if (r == -EINVAL)
		return refuse(&problem, ret);
	return r < 0 ? r : store(a, names.service, document, ret);
}

/* --- what came of it --- */

/*
 * Tasks that thresholds of @service led to of late, by what their trigger says under @key: {triggeredCount,
 * lastTriggerTimestamp} of each value. Counted once, as there may be many rows to say it of. NULL: memory ran out.
 */
static json_t *count_triggers(struct graphql_ask *a, const char *service, const char *key)
{
	_cleanup_json_ json_t *counts = json_object();

	for (const struct sonde_task *t = sonde_task_table_first(a->backend->tasks); counts && t;
	     t = t->hh.next) {
		const char *of;
		json_int_t n;

		if (!graphql_task_by_threshold(t) || t->created_ms < a->now_ms - RECENT_MS ||
		    strcmp(sonde_json_get_text(t->trigger, "policy", ""), service) != 0)
			continue;
		of = sonde_json_get_text(t->trigger, key, "");
		n = sonde_json_get_int(json_object_get(counts, of), "triggeredCount", 0);
		if (json_object_set_new(counts, of,
					json_pack("{s:I, s:I}", "triggeredCount", n + 1,
						  "lastTriggerTimestamp",
						  (json_int_t)t->created_ms)) < 0)
			return NULL;
	}
	return TAKE_PTR(counts);
}

/* Adds what was counted for @of. Takes @to. NULL: memory ran out. */
static json_t *add_count(const json_t *counts, const char *of, json_t *to)
{
	_cleanup_json_ json_t *o = to;
	json_t *count = json_object_get(counts, of);

	if (!o || (count && json_object_update(o, count) < 0))
		return NULL;
	if (!count && (json_object_set_new(o, "triggeredCount", json_integer(0)) < 0 ||
		       json_object_set_new(o, "lastTriggerTimestamp", json_null()) < 0))
		return NULL;
	return TAKE_PTR(o);
}

int graphql_policy_targets(struct graphql_ask *a, json_t **ret)
{
	_cleanup_json_ json_t *rows = json_array(), *counts = NULL;
	const struct sonde_policy *p;
	struct graphql_names names;
	const json_t *list;

	if (!rows)
		return -ENOMEM;
	p = graphql_names_from_id(graphql_text(a, "serviceId"), &names) == 0
		    ? sonde_policies_find(a->backend->policies, names.service)
		    : NULL;
	list = p ? json_object_get(p->document, "policy") : NULL;
	counts = p ? count_triggers(a, p->service, "policy") : NULL;
	if (p && !counts)
		return -ENOMEM;
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *target = json_array_get(list, i);
		const char *type = sonde_json_get_text(target, "type", "");
		/* No other type leads to a task. */
		const char *of = strcmp(type, SONDE_POLICY_NETWORK) == 0 ? p->service : "";
		json_t *row = add_count(counts, of,
					json_pack("{s:s, s:O}", "type", type, "checkItems",
						  json_object_get(target, "checkers")));

		if (sonde_json_append(rows, row) < 0)
			return -ENOMEM;
	}
	return graphql_give(json_incref(rows), ret);
}

/* --- who is watched --- */

/* Of the service that is asked about. All owned. */
struct watched {
	json_t *of_instance, *of_process; /* what thresholds of them led to */
	json_t *seen;			  /* rows by instance */
	json_t *ids;			  /* of processes: one may have several pids */
	json_t *rows;
};

static void watched_done(struct watched *w)
{
	json_decref(w->of_instance);
	json_decref(w->of_process);
	json_decref(w->seen);
	json_decref(w->ids);
	json_decref(w->rows);
}

static json_t *instance_row(const struct watched *w, const struct sonde_process *p)
{
	json_t *row = graphql_instance_json(p->service, p->instance);

	if (row && json_object_set_new(row, "processes", json_array()) < 0) {
		json_decref(row);
		return NULL;
	}
	return add_count(w->of_instance, p->instance, row);
}

static int add_process(struct watched *w, const struct sonde_process *p)
{
	_cleanup_json_ json_t *key = sonde_json_text(p->instance);
	json_t *row = key ? json_object_get(w->seen, json_string_value(key)) : NULL;

	if (!key || json_object_set_new(w->ids, p->process_id, json_true()) < 0)
		return -ENOMEM;
	if (!row) {
		row = instance_row(w, p);
		if (!row || json_object_set_new(w->seen, json_string_value(key), row) < 0 ||
		    json_array_append(w->rows, row) < 0)
			return -ENOMEM;
	}
	return sonde_json_append(json_object_get(row, "processes"),
				 add_count(w->of_process, p->process_id, graphql_process_json(p)));
}

static int add_processes(struct graphql_ask *a, const char *service, struct watched *w)
{
	int r = 0;

	for (struct sonde_process *p = sonde_registry_processes(a->backend->registry); p && r == 0;
	     p = p->hh.next) {
		if (strcmp(p->service, service) != 0 || !sonde_process_live(p, a->now_ms) ||
		    json_object_get(w->ids, p->process_id))
			continue;
		if (sonde_mono_ns() >= a->deadline_ns)
			return graphql_refuse(a, "takes too long: ask for less at once");
		r = add_process(w, p);
	}
	return r;
}

int graphql_policy_instances(struct graphql_ask *a, json_t **ret)
{
	_cleanup_(watched_done) struct watched w = {0};
	struct graphql_names names;
	int r;

	if (graphql_names_from_id(graphql_text(a, "serviceId"), &names) < 0)
		return graphql_give(json_array(), ret);
	w = (struct watched){
		.of_instance = count_triggers(a, names.service, "instance"),
		.of_process = count_triggers(a, names.service, "process_id"),
		.seen = json_object(),
		.ids = json_object(),
		.rows = json_array(),
	};
	if (!w.of_instance || !w.of_process || !w.seen || !w.ids || !w.rows)
		return -ENOMEM;
	r = add_processes(a, names.service, &w);
	return r < 0 ? r : graphql_give(json_incref(w.rows), ret);
}
