/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "agent/tasks-internal.h"
#include "base/clock.h"

static int ask(struct sonde_task *t, const struct sonde_probe_request *q,
	       void (*on_record)(void *ctx, const struct sonde_probe_reply *reply),
	       void (*on_end)(void *ctx, int error, const struct sonde_probe_end *end))
{
	int r = sonde_probe_client_request(t->tasks->config.probe, q, 0,
					   (struct sonde_probe_call){on_record, on_end, t});

	if (r == 0)
		t->calls++;
	return r;
}

/* The worker's words, else the errno's. */
static const char *words_of(int error, const struct sonde_probe_end *end)
{
	return end && end->text[0] ? end->text : strerror(-error);
}

static void fail(struct sonde_task *t, enum sonde_task_state result, const char *fmt, ...)
	_printf_(3, 4);
static void fail(struct sonde_task *t, enum sonde_task_state result, const char *fmt, ...)
{
	va_list ap;

	if (!t->stopping) {
		t->result = result;
		va_start(ap, fmt);
		(void)vsnprintf(t->reason, sizeof(t->reason), fmt, ap);
		va_end(ap);
	}
	tasks_end(t);
}

/* Only our own server takes them. */
static bool wants_flows(const struct sonde_task *t)
{
	return t->tasks->extension && !t->spec.without_flows;
}

struct sonde_probe_request tasks_wants(const struct sonde_task *t)
{
	uint64_t map_bytes;

	/* Less than any map takes: the probe then says how much that is. */
	if (tasks_budget_maps(t, &map_bytes) < 0)
		map_bytes = 1;
	return (struct sonde_probe_request){
		.collectors = t->spec.collectors,
		.options = (t->spec.execution_time ? SONDE_PROBE_OPTION_EXECUTION_TIME : 0) |
			   (wants_flows(t) ? SONDE_PROBE_OPTION_FLOWS : 0),
		.signals = t->spec.signals,
		.max_peers = t->spec.limits.max_peers,
		.max_map_bytes = map_bytes,
		.duration_ns = (uint64_t)t->spec.duration_ms * SONDE_NS_PER_MS,
	};
}

int tasks_admit(struct sonde_task *t, uint64_t duration_ns,
		void (*on_end)(void *ctx, int error, const struct sonde_probe_end *end))
{
	struct sonde_probe_request q = tasks_wants(t);

	t->flows.wanted = wants_flows(t);
	(void)snprintf(t->flows_absent, sizeof(t->flows_absent), "%s",
		       t->flows.wanted ? "" : "not requested");
	q.type = SONDE_PROBE_TASK_ADMIT;
	q.task = t->slot;
	q.duration_ns = duration_ns;
	return ask(t, &q, NULL, on_end);
}

static void on_task_end(void *ctx, int error, const struct sonde_probe_end *end)
{
	struct sonde_task *t = ctx;
	struct sonde_tasks *tasks = t->tasks;
	bool last = t->has_idle;

	if (tasks_call_over(t, error))
		return;
	if (error == 0 && end)
		t->detach_ns = end->numbers[0];
	tasks_end(t); /* its last report tells cost and ledger out of the snapshot */
	/* What is attached next counts from 0. */
	if (last)
		sonde_snapshot_reset(&tasks->snapshot);
}

static void on_idle(void *ctx, const struct sonde_probe_reply *reply)
{
	struct sonde_task *t = ctx;

	if (reply->type != SONDE_PROBE_IDLE)
		return;
	t->has_idle = true;
	t->idle = reply->idle;
}

/* Takes the task out of the probe, then ends it. */
static void leave_probe(struct sonde_task *t)
{
	const struct sonde_probe_request q = {.type = SONDE_PROBE_TASK_END, .task = t->slot};

	if (ask(t, &q, on_idle, on_task_end) < 0)
		tasks_end(t);
}

void tasks_finish(struct sonde_task *t, enum sonde_task_state result, const char *fmt, ...)
{
	va_list ap;

	if (t->stopping)
		return;
	t->stopping = true;
	t->result = result;
	va_start(ap, fmt);
	(void)vsnprintf(t->reason, sizeof(t->reason), fmt, ap);
	va_end(ap);
	if (t->state == SONDE_TASK_ACCEPTED) {
		tasks_end(t);
	} else if (t->state == SONDE_TASK_RUNNING) {
		sonde_task_set_state(t, SONDE_TASK_DRAINING, "%s", t->reason);
		tasks_want_snapshot(t, SONDE_TASK_WAIT_FINAL, true);
	}
	/* in between: the next answer of the probe sees `stopping` */
}

void tasks_arm(struct sonde_task *t)
{
	uint64_t at = t->next_ns < t->end_ns ? t->next_ns : t->end_ns;

	if (t->budget.look_ns && t->budget.look_ns < at)
		at = t->budget.look_ns;
	(void)sd_event_source_set_time(t->timer, at / SONDE_NS_PER_US);
	(void)sd_event_source_set_enabled(t->timer, SD_EVENT_ONESHOT);
}

/*
 * To a backend that adds, one report goes out for all tasks: those of one interval are due together, so that it
 * goes out once an interval however many there are.
 */
static uint64_t first_report_ns(const struct sonde_task *t, uint64_t now)
{
	const struct sonde_tasks *tasks = t->tasks;

	for (size_t i = 0; i < ELEMENTS_OF(tasks->slots) && !tasks->extension; i++) {
		const struct sonde_task *o = tasks->slots[i];

		if (o && o != t && !o->ended && o->state == SONDE_TASK_RUNNING &&
		    o->spec.report_interval_ms == t->spec.report_interval_ms && o->next_ns > now)
			return o->next_ns;
	}
	return now + (uint64_t)t->spec.report_interval_ms * SONDE_NS_PER_MS;
}

/* A worker's death in mid-task does not make it longer. */
static void start_clock(struct sonde_task *t, uint64_t now)
{
	const uint64_t duration_ns = (uint64_t)t->spec.duration_ms * SONDE_NS_PER_MS;
	int64_t late_ms = t->spec.start_wall_ms ? sonde_wall_ms() - t->spec.start_wall_ms : 0;
	uint64_t late_ns = late_ms > 0 ? (uint64_t)late_ms * SONDE_NS_PER_MS : 0;

	if (t->end_ns)
		return;
	t->running_since_ns = now;
	/* The way through poll and attach is not taken from it; one that an agent finds much later ends when it was to. */
	if (late_ns < LATE_MAX_MS * SONDE_NS_PER_MS)
		late_ns = 0;
	t->end_ns = now + (late_ns < duration_ns ? duration_ns - late_ns : 0);
	t->next_ns = first_report_ns(t, now);
}

/* Beside other tasks there may be nothing left to attach, and sockets that these have are not found again. */
static void say_running(struct sonde_task *t, const struct sonde_probe_end *end)
{
	const uint64_t ms = (t->open_ns + t->load_ns + t->attach_ns) / SONDE_NS_PER_MS;
	const uint64_t sockets = end->numbers[4];
	char attached[48] = "all was attached already";

	if (t->attach_ns > 0)
		(void)snprintf(attached, sizeof(attached), "attached in %s%" PRIu64 " ms",
			       ms > 0 ? "" : "less than ", ms > 0 ? ms : 1);
	sonde_task_set_state(t, SONDE_TASK_RUNNING, "%s, %" PRIu64 " open socket%s found%s%s%s",
			     attached, sockets, sockets == 1 ? "" : "s",
			     t->tasks->snapshot.mono_ns ? " that no other task has" : "",
			     end->text[0] ? ": " : "", end->text);
}

static void fail_to_start(struct sonde_task *t, int error, const struct sonde_probe_end *end)
{
	char beside[96] = "";

	if (error == -EPERM || error == -EACCES || error == -EOPNOTSUPP)
		t->reason_code = SONDE_TASK_CODE_BPF_REFUSED;
	if (error == -ENOSPC && t->spec.limits.max_memory_bytes) {
		t->reason_code = SONDE_TASK_CODE_BUDGET;
		(void)snprintf(beside, sizeof(beside),
			       "; agent and probe take %.1f MB beside them: set the sum, or more",
			       (double)tasks_budget_beside_maps(t) / 1e6);
	}
	fail(t, error == -ENOSPC ? SONDE_TASK_REFUSED : SONDE_TASK_FAILED, "cannot attach: %s%s",
	     words_of(error, end), beside);
}

static void on_started(void *ctx, int error, const struct sonde_probe_end *end)
{
	struct sonde_task *t = ctx;
	uint64_t now = sonde_mono_ns();

	if (tasks_call_over(t, error) || error == -EPIPE)
		return;
	if (error < 0) {
		fail_to_start(t, error, end);
		return;
	}
	if (!t->namespaces.list) /* beside other tasks the base is a snapshot's */
		tasks_look_at_namespaces(t);
	t->open_ns = end->numbers[0];
	t->load_ns = end->numbers[1];
	t->attach_ns = end->numbers[2];
	start_clock(t, now);
	say_running(t, end);
	if (t->stopping) {
		sonde_task_set_state(t, SONDE_TASK_DRAINING, "%s", t->reason);
		tasks_want_snapshot(t, SONDE_TASK_WAIT_FINAL, true);
		return;
	}
	tasks_report(t, false);
	tasks_budget_begin(t);
	tasks_arm(t);
}

static void on_probe(void *ctx, const struct sonde_probe_reply *reply)
{
	struct sonde_task *t = ctx;

	if (reply->type == SONDE_PROBE_PROBE && t->n_probes < SONDE_TASK_PROBES_MAX)
		t->probes[t->n_probes++] = reply->probe;
}

static bool any_in_probe(const struct sonde_task *t)
{
	for (size_t i = 0; i < t->n_targets; i++) {
		if (t->targets[i].in_probe)
			return true;
	}
	return false;
}

/* Every target of the start was answered. */
static void start(struct sonde_task *t)
{
	const struct sonde_probe_request q = {.type = SONDE_PROBE_TASK_START, .task = t->slot};

	if (t->stopping) {
		leave_probe(t);
		return;
	}
	if (!any_in_probe(t)) {
		t->stopping = true;
		t->result = SONDE_TASK_REFUSED;
		tasks_say_denied(t, t->reason);
		leave_probe(t);
		return;
	}
	t->n_probes = 0;
	if (ask(t, &q, on_probe, on_started) < 0)
		fail(t, SONDE_TASK_FAILED, "sonde-probe does not take requests");
}

/* TARGET_ADD carries its pid in the task: the answers come in order. */
struct add {
	struct sonde_task *t;
	uint32_t pid;
};

static void judge_target(struct sonde_task *t, uint32_t pid, int error,
			 const struct sonde_probe_end *end)
{
	struct sonde_task_target *target = sonde_task_target_by_pid(t, pid);

	if (!target)
		return;
	target->in_probe = error == 0;
	if (error == 0 || error == -EPIPE)
		return;
	sonde_target_set(target, error == -ESRCH ? SONDE_TARGET_GONE : SONDE_TARGET_DENIED,
			 words_of(error, end));
	sonde_view_remove(&t->view, pid);
}

static void on_added(void *ctx, int error, const struct sonde_probe_end *end)
{
	_cleanup_free_ struct add *a = ctx;
	struct sonde_task *t = a->t;

	if (error != -ECANCELED)
		t->adds--;
	if (tasks_call_over(t, error))
		return;
	judge_target(t, a->pid, error, end);
	if (t->adds || error == -EPIPE)
		return;
	if (t->state == SONDE_TASK_ATTACHING)
		start(t);
}

static int add_target(struct sonde_task *t, const struct sonde_task_target *target)
{
	const struct sonde_probe_request q = {
		.type = SONDE_PROBE_TARGET_ADD,
		.task = t->slot,
		.pid = target->pid,
		.pid_start_ticks = target->start_ticks,
	};
	struct add *a;
	int r;

	a = calloc(1, sizeof(*a));
	if (!a)
		return -ENOMEM;
	a->t = t;
	a->pid = target->pid;
	r = sonde_probe_client_request(t->tasks->config.probe, &q, 0,
				       (struct sonde_probe_call){NULL, on_added, a});
	if (r < 0) {
		free(a);
		return r;
	}
	t->calls++;
	t->adds++;
	return 0;
}

/*
 * What was counted of a pid before it joined is not this task's: its cells as of the last snapshot are the
 * base. Where nothing was attached there are none, and all that is counted from the attach on is the task's.
 */
static void add_targets(struct sonde_task *t)
{
	for (size_t i = 0; i < t->n_targets; i++) {
		struct sonde_task_target *target = &t->targets[i];
		int r;

		if (!sonde_target_lives(target) || target->in_probe)
			continue;
		r = sonde_view_add(&t->view, target->pid, &t->tasks->snapshot);
		if (r == 0 && !t->tasks->extension)
			r = sonde_view_add(&t->tasks->together, target->pid, &t->tasks->snapshot);
		if (r == 0)
			r = sonde_flows_join(&t->flows, &t->tasks->snapshot, target->pid);
		if (r == 0)
			r = add_target(t, target);
		if (r < 0)
			judge_target(t, target->pid, r, NULL);
	}
}

void tasks_join(struct sonde_task *t)
{
	t->join_due = false;
	add_targets(t);
}

static void attach(struct sonde_task *t)
{
	sonde_task_set_state(t, SONDE_TASK_ATTACHING, "%zu target%s", t->n_targets,
			     t->n_targets == 1 ? "" : "s");
	tasks_set_base(t);
	if (sonde_flows_begin(&t->flows, &t->tasks->snapshot) < 0)
		t->ledger[SONDE_LEDGER_RECORD_REFUSED]++;
	add_targets(t);
	if (t->adds == 0)
		start(t);
}

static void on_admitted(void *ctx, int error, const struct sonde_probe_end *end)
{
	struct sonde_task *t = ctx;

	if (tasks_call_over(t, error) || error == -EPIPE)
		return;
	if (error < 0) {
		fail(t, SONDE_TASK_REFUSED, "%s%s",
		     error == -EPERM || error == -ENOSPC ? "refused by the node's policy: " : "",
		     words_of(error, end));
		return;
	}
	if (t->flows.wanted && !(end->numbers[0] & SONDE_PROBE_OPTION_FLOWS)) {
		t->flows.wanted = false;
		(void)snprintf(t->flows_absent, sizeof(t->flows_absent), "%s", end->text);
	}
	if (t->stopping)
		leave_probe(t);
	else if (tasks_attached(t->tasks))
		tasks_want_snapshot(t, SONDE_TASK_WAIT_BASE, true);
	else
		attach(t);
}

const char *tasks_hindrance(struct sonde_task *t, char words[SONDE_TASK_WORDS_MAX])
{
	const struct sonde_tasks *tasks = t->tasks;
	const struct sonde_probe_hello *hello = sonde_probe_client_hello(tasks->config.probe);

	if (tasks->probe_gone[0]) {
		(void)snprintf(words, SONDE_TASK_WORDS_MAX, "%s", tasks->probe_gone);
		return words;
	}
	if (hello && hello->bpf_error) {
		t->reason_code = SONDE_TASK_CODE_BPF_REFUSED;
		(void)snprintf(words, SONDE_TASK_WORDS_MAX, "BPF is refused here: %s",
			       hello->missing);
		return words;
	}
	return NULL;
}

static void admit(struct sonde_task *t)
{
	uint64_t duration_ns = (uint64_t)t->spec.duration_ms * SONDE_NS_PER_MS;
	uint64_t now = sonde_mono_ns();

	if (t->end_ns) /* once more, after a worker's death */
		duration_ns = t->end_ns > now ? t->end_ns - now : SONDE_NS_PER_MS;
	if (tasks_admit(t, duration_ns, on_admitted) < 0)
		fail(t, SONDE_TASK_FAILED, "sonde-probe does not take requests");
}

void tasks_begin(struct sonde_task *t)
{
	char words[SONDE_TASK_WORDS_MAX];
	size_t live;

	tasks_count_from_now(t);
	live = tasks_resolve(t);
	if (tasks_hindrance(t, words)) {
		fail(t, SONDE_TASK_FAILED, "%s", words);
		return;
	}
	if (live == 0) {
		tasks_say_missing(t, words);
		t->reason_code = SONDE_TASK_CODE_NO_TARGET;
		fail(t, SONDE_TASK_REFUSED, "%s", words);
		return;
	}
	tasks_say_planned(t, live, words);
	sonde_task_set_state(t, SONDE_TASK_PLANNED, "%s", words);
	admit(t);
}

void tasks_reattach(struct sonde_task *t)
{
	char words[SONDE_TASK_WORDS_MAX];

	t->wait = SONDE_TASK_WAIT_NONE;
	if (t->stopping) {
		tasks_end(t);
	} else if (tasks_hindrance(t, words)) {
		fail(t, SONDE_TASK_FAILED, "%s", words);
	} else {
		sonde_task_set_state(t, SONDE_TASK_ATTACHING,
				     "the probe's worker died, attaching again");
		admit(t);
	}
}

static void on_interval(struct sonde_task *t, uint64_t now)
{
	const uint64_t interval = (uint64_t)t->spec.report_interval_ms * SONDE_NS_PER_MS;

	tasks_report(t, false);
	while (t->next_ns <= now)
		t->next_ns += interval;
	tasks_arm(t);
}

void tasks_on_snapshot(struct sonde_task *t, int error)
{
	enum sonde_task_wait wait = t->wait;
	uint64_t now = sonde_mono_ns();

	t->wait = SONDE_TASK_WAIT_NONE;
	if (error < 0)
		t->ledger[SONDE_LEDGER_SNAPSHOT_FAILED]++;
	switch (wait) {
	case SONDE_TASK_WAIT_BASE:
		if (t->stopping) {
			leave_probe(t);
			break;
		}
		tasks_look_at_namespaces(t);
		attach(t);
		break;
	case SONDE_TASK_WAIT_JOIN:
	case SONDE_TASK_WAIT_INTERVAL:
	case SONDE_TASK_WAIT_BUDGET:
		if (t->join_due)
			tasks_join(t);
		if (wait == SONDE_TASK_WAIT_INTERVAL)
			on_interval(t, now);
		tasks_budget_look(t);
		if (wait == SONDE_TASK_WAIT_BUDGET && !t->stopping)
			tasks_arm(t);
		break;
	case SONDE_TASK_WAIT_FINAL:
		tasks_report(t, false);
		leave_probe(t);
		break;
	case SONDE_TASK_WAIT_NONE:
		break;
	}
}
