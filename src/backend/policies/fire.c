/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/policies/fire.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backend/audit.h"
#include "backend/json.h"
#include "backend/services/services.h"
#include "base/clock.h"
#include "base/log.h"

/* A task on its way to the disk. */
struct firing {
	struct sonde_backend *backend;
	char service[SONDE_SPEC_TEXT_MAX];
	char schedule[SONDE_POLICY_NAME_MAX]; /* "": a threshold */
	char task[SONDE_TASK_ID_MAX];
	struct sonde_identity by;
	char why[SONDE_TASK_WORDS_MAX];
	sonde_store_done_fn done; /* may be NULL */
	void *ctx;
};

static struct sonde_policy_record *record_of(struct sonde_policy *p, const char *schedule)
{
	if (schedule[0] == '\0')
		return &p->thresholds;
	for (size_t i = 0; i < p->n_schedules; i++) {
		if (strcmp(p->schedules[i].name, schedule) == 0)
			return &p->schedules[i].record;
	}
	return NULL;
}

static void note(struct sonde_policy_record *r, int64_t now_ms, const char *task, const char *words)
{
	r->last_ms = now_ms;
	(void)snprintf(r->task, sizeof(r->task), "%s", task);
	(void)snprintf(r->words, sizeof(r->words), "%s", words);
}

/* In place of a client's: it has no role. */
static void set_by(struct firing *f, const json_t *trigger)
{
	const char *agent_id = sonde_json_get_text(trigger, "agent_id", "");

	(void)snprintf(f->by.who, sizeof(f->by.who), "%s %s", f->schedule[0] ? "schedule" : "agent",
		       f->schedule[0] ? f->schedule : agent_id);
	(void)snprintf(f->why, sizeof(f->why), "%s", sonde_json_get_text(trigger, "words", ""));
}

static void note_start(const struct firing *f, int error)
{
	const struct sonde_audit_entry e = {
		.identity = &f->by,
		.address = "",
		.action = "task.create",
		.subject = f->task,
		.status = error < 0 ? 500 : 201,
		.words = error < 0 ? "the task could not be stored" : f->why,
		.by_policy = true,
	};

	sonde_audit_note(f->backend->audit, &e);
}

static void on_stored(void *ctx, int error)
{
	struct firing *f = ctx;
	struct sonde_backend *b = f->backend;
	struct sonde_policy *p = sonde_policies_find(b->policies, f->service);
	struct sonde_policy_record *r = p ? record_of(p, f->schedule) : NULL;
	struct sonde_task *t = sonde_task_table_find(b->tasks, f->task);

	note_start(f, error);
	if (error == 0 && t)
		sonde_task_table_announce(b->tasks, t);
	if (error < 0 && r && strcmp(r->task, f->task) == 0) {
		r->tasks--;
		r->refused++;
		note(r, r->last_ms, "", "the task could not be stored");
	}
	if (f->done)
		f->done(f->ctx, error);
	free(f);
}

/* A refusal is an answer, and told once for each of its kind. */
static void refused(struct sonde_backend *b, const struct sonde_policy *p,
		    struct sonde_policy_record *r, int64_t now_ms, const char *words)
{
	if (strcmp(r->words, words) != 0)
		(void)sonde_log_warn(0, "policy of %s: no task: %s", p->service, words);
	r->refused++;
	note(r, now_ms, "", words);
	sonde_policies_note(b->policies, p);
}

/* The field that is to blame is one of a request that nobody wrote. */
static const char *words_of(const struct sonde_problem *p)
{
	const size_t n = strlen(p->field);

	return n && strncmp(p->detail, p->field, n) == 0
		       ? p->detail + n + strspn(p->detail + n, ": ")
		       : p->detail;
}

/* Counts what comes of it. @body and @trigger are borrowed. Return: 0, -EINVAL, -ENOMEM. */
static int make_task(struct sonde_backend *b, struct sonde_policy *p, const char *schedule,
		     const json_t *body, json_t *trigger, int64_t now_ms, sonde_store_done_fn done,
		     void *ctx, struct sonde_task **ret, struct sonde_problem *problem)
{
	struct sonde_policy_record *record = record_of(p, schedule);
	struct firing *f = calloc(1, sizeof(*f));
	struct sonde_task *t = NULL;
	int r = -ENOMEM;

	assert(record);
	if (f && body && trigger) {
		*f = (struct firing){.backend = b, .done = done, .ctx = ctx};
		(void)snprintf(f->service, sizeof(f->service), "%s", p->service);
		(void)snprintf(f->schedule, sizeof(f->schedule), "%s", schedule);
		set_by(f, trigger);
		r = sonde_task_table_create_by(b->tasks, body, trigger, now_ms, on_stored, f, &t,
					       problem);
	}
	if (r < 0) {
		free(f);
		refused(b, p, record, now_ms, r == -EINVAL ? words_of(problem) : "out of memory");
		return r;
	}
	memcpy(f->task, t->spec->id, sizeof(f->task));
	record->tasks++;
	note(record, now_ms, t->spec->id, sonde_json_get_text(trigger, "words", ""));
	sonde_policies_note(b->policies, p);
	*ret = t;
	return 0;
}

static const struct sonde_task *running(struct sonde_backend *b, const char *id)
{
	const struct sonde_task *t = id[0] ? sonde_task_table_find(b->tasks, id) : NULL;

	return t && !sonde_task_state_final(t->state) ? t : NULL;
}

/* --- schedules --- */

static json_t *schedule_trigger(const struct sonde_policy *p, const struct sonde_policy_schedule *s,
				const json_t *entry, int64_t due_ms)
{
	const char *when = sonde_json_get_text(entry, "when", "");
	char words[SONDE_TASK_WORDS_MAX];

	(void)snprintf(words, sizeof(words), "schedule %s of %.128s: %s", s->name, p->service,
		       when);
	return json_pack("{s:s, s:s, s:o, s:s, s:s, s:o, s:s, s:n, s:n, s:n, s:n, s:[]}", "kind",
			 "schedule", "policy", p->service, "words", sonde_json_text(words),
			 "schedule", s->name, "when", when, "due", sonde_json_time(due_ms),
			 "service", p->service, "instance", "process", "process_id", "agent_id",
			 "causes");
}

static void fire_schedule(struct sonde_backend *b, struct sonde_policy *p,
			  struct sonde_policy_schedule *s, int64_t due_ms, int64_t now_ms)
{
	const struct sonde_task *before = running(b, s->record.task);
	const json_t *entry = sonde_policy_schedule_entry(p, s);
	_cleanup_json_ json_t *targets = json_pack("[{s:s}]", "service", p->service);
	_cleanup_json_ json_t *body = NULL, *trigger = NULL;
	char name[SONDE_TASK_NAME_MAX], words[96];
	struct sonde_problem problem = {0};
	struct sonde_task *t;

	if (before) {
		s->record.skipped++;
		(void)snprintf(words, sizeof(words), "its task %s still ran", before->spec->id);
		note(&s->record, now_ms, before->spec->id, words);
		sonde_policies_note(b->policies, p);
		return;
	}
	(void)snprintf(name, sizeof(name), "schedule %s", s->name);
	body = targets ? sonde_policy_task_body(entry, targets, name, SONDE_POLICY_TASK_MS,
						(int64_t)b->config.max_task_duration_ms)
		       : NULL;
	trigger = schedule_trigger(p, s, entry, due_ms);
	(void)make_task(b, p, s->name, body, trigger, now_ms, NULL, NULL, &t, &problem);
}

static void tick_schedule(struct sonde_backend *b, struct sonde_policy *p,
			  struct sonde_policy_schedule *s, int64_t now_ms)
{
	int64_t last_ms = 0;
	uint64_t n;

	/* The clock was set back: times that are done with may come again, but not this minute's. */
	if (s->due_ms > now_ms + 60000)
		s->due_ms = now_ms;
	n = sonde_when_count(&s->when, s->due_ms, now_ms, &last_ms);
	if (n == 0)
		return;
	s->due_ms = last_ms;
	s->record.missed += n - 1;
	if (now_ms - last_ms <= SONDE_POLICY_LATE_MS) {
		fire_schedule(b, p, s, last_ms, now_ms);
		return;
	}
	s->record.missed++;
	sonde_policies_note(b->policies, p);
}

void sonde_policies_tick(struct sonde_backend *b, int64_t now_ms)
{
	if (b->draining)
		return;
	for (struct sonde_policy *p = sonde_policies_first(b->policies); p; p = p->hh.next) {
		for (size_t i = 0; i < p->n_schedules; i++)
			tick_schedule(b, p, &p->schedules[i], now_ms);
	}
}

/* --- thresholds --- */

void sonde_policies_tell(struct sonde_backend *b, const char *service)
{
	for (struct sonde_agent *a = sonde_registry_agents(b->registry); a; a = a->hh.next) {
		bool has = false;

		for (struct sonde_process *p = sonde_registry_processes(b->registry);
		     p && a->watches && !has; p = p->hh.next)
			has = p->agent == a && strcmp(p->service, service) == 0;
		if (has)
			sonde_services_poke(b, a->id);
	}
}

/* In OAP's words. */
static void cause_words(const struct sonde_policy_cause *c, char *ret, size_t size)
{
	const char *name = sonde_policy_monitor_name(c->type);
	const char *on = c->uri ? " on " : "", *uri = c->uri ? c->uri : "";

	switch (c->type) {
	case SONDE_POLICY_PROCESS_CPU:
	case SONDE_POLICY_HTTP_ERROR_RATE:
		(void)snprintf(ret, size, "%s: current %.2f%% >= threshold %.2f%%%s%s", name,
			       c->current, c->threshold, on, uri);
		break;
	case SONDE_POLICY_HTTP_AVG_RESPONSE_TIME:
		(void)snprintf(ret, size, "%s: current %.2fms >= threshold %.2fms%s%s", name,
			       c->current, c->threshold, on, uri);
		break;
	default:
		(void)snprintf(ret, size, "%s: current %.0f >= threshold %.0f%s%s", name,
			       c->current, c->threshold, on, uri);
	}
}

static json_t *causes_json(const struct sonde_policy_trigger *t)
{
	_cleanup_json_ json_t *list = json_array();

	for (size_t i = 0; list && i < t->n_causes; i++) {
		const struct sonde_policy_cause *c = &t->causes[i];
		char words[384];

		cause_words(c, words, sizeof(words));
		if (sonde_json_append(list,
				      json_pack("{s:s, s:f, s:f, s:o, s:o}", "type",
						sonde_policy_monitor_name(c->type), "threshold",
						c->threshold, "current", c->current, "uri",
						sonde_json_text_or_null(c->uri), "message",
						sonde_json_text(words))) < 0)
			return NULL;
	}
	return TAKE_PTR(list);
}

static json_t *threshold_trigger(const struct sonde_policy *p, const struct sonde_process *of,
				 const struct sonde_policy_trigger *t)
{
	char words[SONDE_TASK_WORDS_MAX], cause[160] = "";

	if (t->n_causes)
		cause_words(&t->causes[0], cause, sizeof(cause));
	(void)snprintf(words, sizeof(words), "%.48s of %.48s: %.160s%s", of->name, of->service,
		       cause, t->n_causes > 1 ? ", and more" : "");
	return json_pack("{s:s, s:s, s:o, s:n, s:n, s:n, s:s, s:s, s:s, s:s, s:s, s:o}", "kind",
			 "threshold", "policy", p->service, "words", sonde_json_text(words),
			 "schedule", "when", "due", "service", of->service, "instance",
			 of->instance, "process", of->name, "process_id", of->process_id,
			 "agent_id", of->agent->id, "causes", causes_json(t));
}

static bool of_instance(const struct sonde_process *p, const struct sonde_policy_trigger *t,
			int64_t now_ms)
{
	return strcmp(p->service, t->service) == 0 && strcmp(p->instance, t->instance) == 0 &&
	       sonde_process_live(p, now_ms);
}

static bool is_of_caller(const struct sonde_process *p, const struct sonde_policy_trigger *t)
{
	return t->agent_id[0] == '\0' || strcmp(p->agent->id, t->agent_id) == 0;
}

/* All of the instance, as OAP's own network task has them, each id once; and the one that it is about. */
static json_t *find_targets(struct sonde_backend *b, const struct sonde_policy_trigger *t,
			    int64_t now_ms, const struct sonde_process **ret_of)
{
	_cleanup_json_ json_t *targets = json_array(), *seen = json_object();

	for (struct sonde_process *p = sonde_registry_processes(b->registry); targets && seen && p;
	     p = p->hh.next) {
		if (!of_instance(p, t, now_ms))
			continue;
		if (!*ret_of && strcmp(p->name, t->process) == 0 && is_of_caller(p, t))
			*ret_of = p;
		if (json_object_get(seen, p->process_id) ||
		    json_array_size(targets) >= SONDE_TASK_TARGETS_MAX)
			continue;
		if (json_object_set_new(seen, p->process_id, json_true()) < 0 ||
		    sonde_json_append(targets, json_pack("{s:s}", "processId", p->process_id)) < 0)
			return NULL;
	}
	return seen ? TAKE_PTR(targets) : NULL;
}

/* The task that a threshold of this instance led to and that runs still. */
static const struct sonde_task *task_of(struct sonde_backend *b,
					const struct sonde_policy_trigger *t)
{
	for (const struct sonde_task *k = sonde_task_table_first(b->tasks); k; k = k->hh.next) {
		const json_t *j = k->trigger;

		if (!j || sonde_task_state_final(k->state) ||
		    strcmp(sonde_json_get_text(j, "kind", ""), "threshold") != 0)
			continue;
		if (strcmp(sonde_json_get_text(j, "service", ""), t->service) == 0 &&
		    strcmp(sonde_json_get_text(j, "instance", ""), t->instance) == 0)
			return k;
	}
	return NULL;
}

static int check_trigger(struct sonde_backend *b, struct sonde_policy *p,
			 const struct sonde_policy_trigger *trigger, int64_t now_ms,
			 struct sonde_problem *problem)
{
	const struct sonde_task *before;

	if (!p || !sonde_policy_target(p->document, SONDE_POLICY_NETWORK))
		return sonde_problem_set(problem, 404, NULL,
					 "there is no policy of a NETWORK task for this service");
	before = task_of(b, trigger);
	if (!before)
		return 0;
	p->thresholds.skipped++;
	(void)sonde_problem_set(problem, 409, NULL, "task %s of this instance still runs",
				before->spec->id);
	note(&p->thresholds, now_ms, before->spec->id, problem->detail);
	sonde_policies_note(b->policies, p);
	return -EINVAL;
}

int sonde_policies_trigger(struct sonde_backend *b, const struct sonde_policy_trigger *trigger,
			   int64_t now_ms, sonde_store_done_fn done, void *ctx,
			   char ret_task[static SONDE_TASK_ID_MAX], struct sonde_problem *problem)
{
	struct sonde_policy *p = sonde_policies_find(b->policies, trigger->service);
	_cleanup_json_ json_t *targets = NULL, *body = NULL, *why = NULL;
	const struct sonde_process *of = NULL;
	struct sonde_task *t;
	int r;

	r = check_trigger(b, p, trigger, now_ms, problem);
	if (r < 0)
		return r;
	targets = find_targets(b, trigger, now_ms, &of);
	if (!targets)
		return -ENOMEM;
	if (!of)
		return sonde_problem_set(problem, 404, NULL, "no such process is reported%s",
					 trigger->agent_id[0] ? " by this agent" : "");
	body = sonde_policy_task_body(
		sonde_policy_target(p->document, SONDE_POLICY_NETWORK), targets, "threshold",
		trigger->duration_ms > SONDE_TASK_DURATION_MIN_MS ? trigger->duration_ms
								  : SONDE_POLICY_TASK_MS,
		(int64_t)b->config.max_task_duration_ms);
	why = threshold_trigger(p, of, trigger);
	r = make_task(b, p, "", body, why, now_ms, done, ctx, &t, problem);
	if (r < 0)
		return r;
	for (size_t i = 0; i < t->n_agents && trigger->runs_itself; i++) {
		t->agents[i]->update_ms = 0; /* older than any that it could ask for */
		t->agents[i]->handed_out_ms = now_ms;
	}
	memcpy(ret_task, t->spec->id, SONDE_TASK_ID_MAX);
	return 0;
}
