/* SPDX-License-Identifier: Apache-2.0 */
/* Tasks as SkyWalking's network profiling: listed, created, kept alive. */
#include <errno.h>
#include <string.h>

#include "backend/json.h"
#include "backend/oap/fields.h"

#define ROWS_MAX 500 /* tasks of one answer, the newest */
#define TASK_MS (10LL * 60 * 1000)
#define KEEP_BELOW_MS (60LL * 1000)

/* --- list --- */

struct listing {
	struct graphql_ask *ask;
	const struct sonde_task *task;
	struct graphql_names names; /* what is asked for; instance "": of the whole service */
	json_t *rows, *seen;	    /* of one task: an instance has one row */
};

/* Thresholds and values times a hundred, as OAP stores them. */
static json_t *cause_json(const json_t *cause)
{
	const char *uri = json_string_value(json_object_get(cause, "uri"));
	const json_int_t threshold =
		(json_int_t)(json_number_value(json_object_get(cause, "threshold")) * 100);
	const json_int_t current =
		(json_int_t)(json_number_value(json_object_get(cause, "current")) * 100);
	const char *type = sonde_json_get_text(cause, "type", "");
	json_t *message = sonde_json_text(sonde_json_get_text(cause, "message", ""));

	if (uri)
		return json_pack("{s:s, s:n, s:{s:n, s:s, s:I, s:I}, s:o}", "type", type,
				 "singleValue", "uri", "uriRegex", "uriPath", uri, "threshold",
				 threshold, "current", current, "message", message);
	return json_pack("{s:s, s:{s:I, s:I}, s:n, s:o}", "type", type, "singleValue", "threshold",
			 threshold, "current", current, "uri", "message", message);
}

static json_t *causes_json(const struct sonde_task *t)
{
	const json_t *causes = json_object_get(t->trigger, "causes");
	_cleanup_json_ json_t *list = json_array();

	for (size_t i = 0; list && i < json_array_size(causes); i++) {
		if (sonde_json_append(list, cause_json(json_array_get(causes, i))) < 0)
			return NULL;
	}
	return TAKE_PTR(list);
}

/* Of a task of a threshold: the process that passed it. */
static json_t *text_or_null(bool by_threshold, const struct sonde_task *t, const char *key)
{
	return by_threshold ? sonde_json_text_or_null(sonde_json_get_text(t->trigger, key, ""))
			    : json_null();
}

static json_t *task_json(const struct sonde_task *t, const struct sonde_entity *e)
{
	_cleanup_free_ char *service = NULL, *instance = NULL;
	const bool by_threshold = graphql_task_by_threshold(t);
	int64_t start_ms = graphql_task_start_ms(t), end_ms = graphql_task_end_ms(t);

	if (sonde_mal_service_id(e->service, &service) < 0 ||
	    sonde_mal_instance_id(e->service, e->instance, &instance) < 0)
		return NULL;
	/* A client takes it to be running until its end: of one that ended early that was sooner. */
	return json_pack(
		"{s:s, s:s, s:o, s:s, s:o, s:[], s:I, s:s, s:I, s:s, s:I, s:o, s:o, s:o}", "taskId",
		t->spec->id, "serviceId", service, "serviceName", sonde_json_text(e->service),
		"serviceInstanceId", instance, "serviceInstanceName", sonde_json_text(e->instance),
		"processLabels", "taskStartTime", (json_int_t)start_ms, "triggerType",
		by_threshold ? "CONTINUOUS_PROFILING" : "FIXED_TIME", "fixedTriggerDuration",
		(json_int_t)(end_ms > start_ms ? (end_ms - start_ms + 999) / 1000 : 0),
		"targetType", "NETWORK", "createTime", (json_int_t)t->created_ms,
		"continuousProfilingCauses", causes_json(t), "processId",
		text_or_null(by_threshold, t, "process_id"), "processName",
		text_or_null(by_threshold, t, "process"));
}

static int on_process(void *ctx, const struct sonde_entity *e)
{
	_cleanup_free_ char *instance = NULL;
	struct listing *l = ctx;

	if (strcmp(e->service, l->names.service) != 0 ||
	    (l->names.instance[0] && strcmp(e->instance, l->names.instance) != 0))
		return 0;
	if (sonde_mal_instance_id(e->service, e->instance, &instance) < 0)
		return -ENOMEM;
	if (json_object_get(l->seen, instance))
		return 0;
	if (json_object_set_new(l->seen, instance, json_true()) < 0)
		return -ENOMEM;
	return sonde_json_append(l->rows, task_json(l->task, e));
}

/* By what made it; a schedule's is one of a fixed time. */
static bool has_trigger(const struct graphql_ask *a, const struct sonde_task *t)
{
	const char *trigger = graphql_text(a, "triggerType");

	return trigger[0] == '\0' ||
	       strcmp(trigger,
		      graphql_task_by_threshold(t) ? "CONTINUOUS_PROFILING" : "FIXED_TIME") == 0;
}

/* The newest first: a client takes the first row to be the one that runs. */
static int list_tasks(struct listing *l)
{
	struct sonde_task *newest[ROWS_MAX];
	size_t n = 0;
	int r = 0;

	for (struct sonde_task *t = sonde_task_table_first(l->ask->backend->tasks); t;
	     t = t->hh.next) {
		size_t at = n;

		if (!has_trigger(l->ask, t))
			continue;
		while (at > 0 && graphql_task_start_ms(t) >= graphql_task_start_ms(newest[at - 1]))
			at--;
		if (at == ROWS_MAX)
			continue;
		n += n < ROWS_MAX;
		for (size_t i = n - 1; i > at; i--)
			newest[i] = newest[i - 1];
		newest[at] = t;
	}
	for (size_t i = 0; i < n && r == 0 && json_array_size(l->rows) < ROWS_MAX; i++) {
		l->task = newest[i];
		if (json_object_clear(l->seen) < 0)
			return -ENOMEM;
		r = graphql_task_processes(l->ask->backend, newest[i], on_process, l);
	}
	return r;
}

/* Ours are all of this one kind of target. */
static bool asks_for_network(const struct graphql_ask *a)
{
	const json_t *targets = json_object_get(a->arguments, "targets");
	bool wanted = json_array_size(targets) == 0;

	for (size_t i = 0; i < json_array_size(targets); i++)
		wanted = wanted ||
			 strcmp(json_string_value(json_array_get(targets, i)), "NETWORK") == 0;
	return wanted;
}

int graphql_tasks(struct graphql_ask *a, json_t **ret)
{
	_cleanup_json_ json_t *rows = json_array(), *seen = json_object();
	const char *instance = graphql_text(a, "serviceInstanceId");
	const char *id = instance[0] ? instance : graphql_text(a, "serviceId");
	struct listing l = {.ask = a, .rows = rows, .seen = seen};
	int r = 0;

	if (!rows || !seen)
		return -ENOMEM;
	if (id[0] == '\0')
		return graphql_refuse(a, "serviceId or serviceInstanceId is needed");
	if (asks_for_network(a) && graphql_names_from_id(id, &l.names) == 0)
		r = list_tasks(&l);
	return r < 0 ? r : graphql_give(json_incref(rows), ret);
}

/* --- create --- */

/* Of profiling a CPU: no process supports that, as its attributes say too. */
int graphql_prepare(struct graphql_ask *a, json_t **ret)
{
	return graphql_give(json_pack("{s:b, s:[]}", "couldProfiling", 0, "processLabels"), ret);
}

static int64_t int_of(const json_t *object, const char *key, int64_t fallback)
{
	return sonde_json_get_int(object, key, fallback);
}

/* NULL, or what OAP would refuse it for. */
static const char *rule_fault(const json_t *rule)
{
	const json_t *settings = json_object_get(rule, "settings");

	if (int_of(rule, "minDuration", 0) < 0)
		return "minDuration must not be negative";
	if (!json_is_true(json_object_get(settings, "requireCompleteRequest")) &&
	    !json_is_true(json_object_get(settings, "requireCompleteResponse")))
		return "requireCompleteRequest or requireCompleteResponse must be true";
	if (int_of(settings, "maxRequestSize", 1) <= 0 ||
	    int_of(settings, "maxResponseSize", 1) <= 0)
		return "maxRequestSize and maxResponseSize must be above 0";
	return NULL;
}

static const char *rules_fault(const json_t *rules)
{
	for (size_t i = 0; i < json_array_size(rules); i++) {
		const json_t *rule = json_array_get(rules, i);
		const char *fault = rule_fault(rule);

		if (fault)
			return fault;
		for (size_t k = 0; k < i; k++) {
			if (strcmp(sonde_json_get_text(rule, "uriRegex", ""),
				   sonde_json_get_text(json_array_get(rules, k), "uriRegex", "")) ==
			    0)
				return "two rules have the same uriRegex";
		}
	}
	return NULL;
}

/* Ids of the instance's processes that live, each once; those that a task may have at most. */
static json_t *targets_json(struct graphql_ask *a, const struct graphql_names *names)
{
	_cleanup_json_ json_t *seen = json_object();
	json_t *targets = json_array();
	int r = seen && targets ? 0 : -ENOMEM;

	for (struct sonde_process *p = sonde_registry_processes(a->backend->registry);
	     p && r == 0 && json_array_size(targets) < SONDE_TASK_TARGETS_MAX; p = p->hh.next) {
		if (strcmp(p->instance, names->instance) != 0 ||
		    strcmp(p->service, names->service) != 0 || !sonde_process_live(p, a->now_ms) ||
		    json_object_get(seen, p->process_id))
			continue;
		if (json_object_set_new(seen, p->process_id, json_true()) < 0)
			r = -ENOMEM;
		if (r == 0)
			r = sonde_json_append(targets,
					      json_pack("{s:s}", "processId", p->process_id));
	}
	if (r == 0)
		return targets;
	json_decref(targets);
	return NULL;
}

/* What an OAP task is to our agent: the preset whose meters SkyWalking's pages show. */
static json_t *spec_json(struct graphql_ask *a, json_t *targets)
{
	int64_t most_ms = (int64_t)a->backend->config.max_task_duration_ms;

	return json_pack("{s:s, s:O, s:I, s:{s:b}, s:s}", "preset", "network-calls", "targets",
			 targets, "durationMs", (json_int_t)(most_ms < TASK_MS ? most_ms : TASK_MS),
			 "options", "executionTime", 1, "createdBy", "graphql");
}

/* A refusal is an answer here, not an error. */
static int refused(const char *reason, json_t **ret)
{
	return graphql_give(graphql_created(false, reason, NULL), ret);
}

int graphql_create(struct graphql_ask *a, json_t **ret)
{
	const json_t *request = json_object_get(a->arguments, "request");
	const char *fault = rules_fault(json_object_get(request, "samplings"));
	_cleanup_json_ json_t *targets = NULL, *spec = NULL;
	struct sonde_problem problem = {0};
	struct graphql_names names;
	struct sonde_task *t = NULL;
	int r;

	if (fault)
		return refused(fault, ret);
	if (graphql_names_from_id(sonde_json_get_text(request, "instanceId", ""), &names) < 0 ||
	    names.instance[0] == '\0')
		return refused("there is no such instance", ret);
	graphql_set_subject(a, names.instance); /* until there is a task */
	targets = targets_json(a, &names);
	if (!targets)
		return -ENOMEM;
	if (json_array_size(targets) == 0)
		return refused("The instance doesn't have processes.", ret);
	spec = spec_json(a, targets);
	if (!spec)
		return -ENOMEM;
	r = sonde_task_table_create(a->backend->tasks, spec, a->now_ms, a->stored, a->stored_ctx,
				    &t, &problem);
	if (r == -EINVAL)
		return refused(problem.detail, ret);
	if (r < 0)
		return r;
	memcpy(a->task, t->spec->id, sizeof(a->task));
	graphql_set_subject(a, a->task);
	return -EINPROGRESS;
}

/* --- keep --- */

int graphql_keep(struct graphql_ask *a, json_t **ret)
{
	struct sonde_task *t = sonde_task_table_find(a->backend->tasks, graphql_text(a, "taskId"));
	int64_t room_ms, left_ms;
	struct sonde_problem problem = {0};
	int r = 0;

	graphql_set_subject(a, graphql_text(a, "taskId"));
	if (!t)
		return refused("there is no such task", ret);
	if (sonde_task_state_final(t->state))
		return refused("the task has ended", ret);
	left_ms = graphql_task_end_ms(t) - a->now_ms;
	room_ms = (int64_t)a->backend->config.max_task_duration_ms - t->spec->duration_ms;
	a->unchanged = left_ms > KEEP_BELOW_MS;
	if (a->unchanged)
		return graphql_give(graphql_created(true, NULL, NULL), ret);
	/* Not longer than the server lets any task last; where there is no room left, that is the answer. */
	if (room_ms > 0 && room_ms < TASK_MS)
		r = sonde_task_table_extend(a->backend->tasks, t, a->now_ms, room_ms, &problem);
	else
		r = sonde_task_table_extend(a->backend->tasks, t, a->now_ms, TASK_MS, &problem);
	if (r == -EINVAL)
		return refused(problem.detail, ret);
	return r < 0 ? r : graphql_give(graphql_created(true, NULL, NULL), ret);
}
