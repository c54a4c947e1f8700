/* SPDX-License-Identifier: Apache-2.0 */
/* Questions: a task that is planned and never begun. It has no slot, no timer and no report. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/task-lists.h"
#include "agent/tasks-internal.h"
#include "base/clock.h"
#include "wire/message.h"

/* A plan may load programs on trial, which takes an emulated machine seconds; who asked does not wait so long. */
#define TIMEOUT_NS (60 * SONDE_NS_PER_S)

struct plan {
	struct sonde_tasks *tasks;
	struct sonde_task *task; /* owned */
	bool doctor;
	unsigned calls; /* of the probe that are not answered */
	char refused[SONDE_TASK_WORDS_MAX];
	uint64_t map_bytes, map_bytes_full;
	void (*done)(void *ctx, Sonde__V1__Plan *plan);
	void *ctx;
};

struct answer {
	Sonde__V1__Plan plan;
	struct sonde_task_lists lists;
	Sonde__V1__PlanProbe probe[SONDE_TASK_PROBES_MAX];
	Sonde__V1__PlanProbe *probes[SONDE_TASK_PROBES_MAX];
};

static void fill_probes(const struct sonde_task *t, struct answer *a)
{
	for (size_t i = 0; i < t->n_probes; i++) {
		const struct sonde_probe_probe *from = &t->probes[i];
		Sonde__V1__PlanProbe *to = &a->probe[i];

		sonde__v1__plan_probe__init(to);
		to->metrics = sonde_wire_text(from->metrics);
		to->name = sonde_wire_text(from->name);
		to->state = sonde_wire_text(sonde_probe_plan_state_name(from->state));
		to->core = from->core != 0;
		to->reason = sonde_wire_text(from->reason);
		to->less = sonde_wire_text(from->less);
		to->per = sonde_wire_text(from->per);
		to->target_ns = from->target_ns;
		to->other_ns = from->other_ns;
		to->capability = sonde_wire_text(from->capability);
		a->probes[i] = to;
	}
	a->plan.n_probes = t->n_probes;
	a->plan.probes = a->probes;
}

static const struct sonde_probe_probe *core_missing(const struct sonde_task *t)
{
	for (size_t i = 0; i < t->n_probes; i++) {
		if (t->probes[i].core && t->probes[i].state == SONDE_PROBE_ABSENT)
			return &t->probes[i];
	}
	return NULL;
}

static bool any_lives(const struct sonde_task *t)
{
	for (size_t i = 0; i < t->n_targets; i++) {
		if (sonde_target_lives(&t->targets[i]))
			return true;
	}
	return false;
}

static void say_none(struct plan *p)
{
	bool denied = false;

	for (size_t i = 0; i < p->task->n_targets; i++)
		denied = denied || p->task->targets[i].state == SONDE_TARGET_DENIED;
	if (denied)
		tasks_say_denied(p->task, p->refused);
	else
		tasks_say_missing(p->task, p->refused);
}

/* The first thing that would keep such a task from running. */
static void judge(struct plan *p)
{
	const struct sonde_probe_probe *core = core_missing(p->task);

	if (p->refused[0])
		return;
	if (core)
		(void)snprintf(p->refused, sizeof(p->refused), "no probe for %.60s: %.100s",
			       core->metrics, core->reason);
	else if (!p->doctor && !any_lives(p->task))
		say_none(p);
}

static void answer(struct plan *p)
{
	const struct sonde_probe_hello *hello = sonde_probe_client_hello(p->tasks->config.probe);
	_cleanup_free_ struct answer *a = calloc(1, sizeof(*a));
	Sonde__V1__Plan broken = SONDE__V1__PLAN__INIT;

	if (!a) {
		broken.refused = sonde_wire_text("the agent is out of memory");
		p->done(p->ctx, &broken);
		return;
	}
	judge(p);
	sonde__v1__plan__init(&a->plan);
	a->plan.refused = p->refused;
	if (hello && hello->bpf_error)
		a->plan.missing = sonde_wire_text(hello->missing);
	fill_probes(p->task, a);
	if (!p->doctor) {
		sonde_task_list_targets(p->task, &a->lists);
		sonde_task_list_absent(p->task, &a->lists);
	}
	a->plan.n_targets = a->lists.n_targets;
	a->plan.targets = a->lists.targets;
	a->plan.n_absent = a->lists.n_absent;
	a->plan.absent = a->lists.absent;
	a->plan.map_bytes = p->map_bytes;
	a->plan.map_bytes_full = p->map_bytes_full;
	p->done(p->ctx, &a->plan);
}

static void call_over(struct plan *p, int error)
{
	p->calls--;
	if (p->calls > 0)
		return;
	if (error == -ECANCELED)
		p->done(p->ctx, NULL);
	else
		answer(p);
	p->tasks->plans--;
	(void)sonde_task_free(p->task);
	free(p);
}

static void on_planned(void *ctx, int error, const struct sonde_probe_end *end)
{
	struct plan *p = ctx;

	if (error < 0 && !p->refused[0])
		(void)snprintf(
			p->refused, sizeof(p->refused), "%s%s",
			error == -EPERM || error == -ENOSPC ? "refused by the node's policy: " : "",
			end && end->text[0] ? end->text : strerror(-error));
	if (error == 0 && end) {
		p->map_bytes = end->numbers[0];
		p->map_bytes_full = end->numbers[1];
	}
	call_over(p, error);
}

static void on_probe(void *ctx, const struct sonde_probe_reply *reply)
{
	struct sonde_task *t = ((struct plan *)ctx)->task;

	if (reply->type == SONDE_PROBE_PROBE && t->n_probes < SONDE_TASK_PROBES_MAX)
		t->probes[t->n_probes++] = reply->probe;
}

static int ask(struct plan *p, const struct sonde_probe_request *q, struct sonde_probe_call call)
{
	int r = sonde_probe_client_request(p->tasks->config.probe, q, TIMEOUT_NS, call);

	if (r == 0)
		p->calls++;
	return r;
}

struct judged {
	struct plan *plan;
	size_t target;
};

static void on_judged(void *ctx, int error, const struct sonde_probe_end *end)
{
	_cleanup_free_ struct judged *j = ctx;
	struct sonde_task_target *target = &j->plan->task->targets[j->target];

	if (error == -ESRCH)
		sonde_target_set(target, SONDE_TARGET_GONE, "ended");
	else if (error == -EPERM)
		sonde_target_set(target, SONDE_TARGET_DENIED, end ? end->text : "");
	else if (error < 0)
		sonde_target_set(target, SONDE_TARGET_DENIED,
				 end && end->text[0] ? end->text : strerror(-error));
	call_over(j->plan, error);
}

/* What cannot be asked stays found: the task's own TARGET_ADD has the last word. */
static void judge_targets(struct plan *p)
{
	for (size_t i = 0; i < p->task->n_targets; i++) {
		const struct sonde_task_target *target = &p->task->targets[i];
		const struct sonde_probe_request q = {
			.type = SONDE_PROBE_TARGET_JUDGE,
			.pid = target->pid,
			.pid_start_ticks = target->start_ticks,
		};
		struct judged *j;

		if (!sonde_target_lives(target))
			continue;
		j = calloc(1, sizeof(*j));
		if (!j)
			return;
		*j = (struct judged){.plan = p, .target = i};
		if (ask(p, &q, (struct sonde_probe_call){NULL, on_judged, j}) < 0) {
			free(j);
			return;
		}
	}
}

static void begin(struct plan *p)
{
	struct sonde_probe_request q =
		p->doctor ? (struct sonde_probe_request){0} : tasks_wants(p->task);

	q.type = SONDE_PROBE_PLAN;
	(void)tasks_hindrance(p->task, p->refused);
	if (!p->doctor)
		(void)tasks_resolve(p->task);
	p->calls = 1; /* ours, so that nothing ends before all is asked */
	if (ask(p, &q, (struct sonde_probe_call){on_probe, on_planned, p}) < 0 && !p->refused[0])
		(void)snprintf(p->refused, sizeof(p->refused),
			       "sonde-probe does not take requests");
	judge_targets(p);
	call_over(p, 0);
}

static int new_plan(struct sonde_tasks *t, struct sonde_spec *spec, struct plan **ret)
{
	struct sonde_spec none = {0};
	struct plan *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return -ENOMEM;
	r = sonde_task_new(t, spec ? spec : &none, &p->task);
	if (r < 0) {
		free(p);
		return r;
	}
	p->tasks = t;
	p->doctor = !spec;
	*ret = p;
	return 0;
}

void sonde_tasks_plan(struct sonde_tasks *t, struct sonde_spec *spec,
		      void (*done)(void *ctx, Sonde__V1__Plan *plan), void *ctx)
{
	Sonde__V1__Plan refusal = SONDE__V1__PLAN__INIT;
	struct plan *p = NULL;

	assert(t && done);

	if (t->plans == TASKS_PLANS_MAX)
		refusal.refused = sonde_wire_text("the agent answers as many questions as it can");
	else if (new_plan(t, spec, &p) < 0)
		refusal.refused = sonde_wire_text("the agent is out of memory");
	if (!p) {
		done(ctx, &refusal);
		if (spec)
			sonde_spec_done(spec);
		return;
	}
	p->done = done;
	p->ctx = ctx;
	t->plans++;
	begin(p);
}
