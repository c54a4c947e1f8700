/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/tasks.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>

#include "agent/tasks-internal.h"
#include "base/clock.h"
#include "base/log.h"

/* A report's memory of a thousand peers, in buffers of up to SONDE_BATCH_COLLECTION_MAX, is kept for the next one. */
#define KEPT_BYTES (12 << 20)
#define KEPT_BUFFER_BYTES (4 << 20)
#define MALLOC_DEFAULT_BYTES (128 << 10)

/* Taking pages from the kernel anew for each report was a third of the agent's processor time. */
static void keep_memory(bool keep)
{
	(void)mallopt(M_TRIM_THRESHOLD, keep ? KEPT_BYTES : MALLOC_DEFAULT_BYTES);
	(void)mallopt(M_MMAP_THRESHOLD, keep ? KEPT_BUFFER_BYTES : MALLOC_DEFAULT_BYTES);
}

int sonde_tasks_new(const struct sonde_tasks_config *config, struct sonde_tasks **ret)
{
	_cleanup_(sonde_tasks_freep) struct sonde_tasks *t = NULL;
	int r;

	assert(config && config->probe && config->finder && config->delivery && ret);

	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->config = *config;
	r = sonde_peer_table_new(2 * SONDE_SNAPSHOT_CELLS_MAX, &t->peers);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(t);
	return 0;
}

struct sonde_tasks *sonde_tasks_free(struct sonde_tasks *t)
{
	if (!t)
		return NULL;
	for (size_t i = 0; i < ELEMENTS_OF(t->slots); i++)
		(void)sonde_task_free(t->slots[i]);
	sonde_view_done(&t->together);
	sonde_snapshot_done(&t->snapshot);
	(void)sonde_peer_table_free(t->peers);
	free(t);
	return NULL;
}

static struct sonde_task *find(const struct sonde_tasks *t, const char *id)
{
	for (size_t i = 0; i < ELEMENTS_OF(t->slots); i++) {
		if (t->slots[i] && !t->slots[i]->ended && strcmp(t->slots[i]->spec.id, id) == 0)
			return t->slots[i];
	}
	return NULL;
}

static bool was_finished(const struct sonde_tasks *t, const char *id)
{
	for (size_t i = 0; i < TASKS_FINISHED_MAX; i++) {
		if (strcmp(t->finished[i], id) == 0)
			return true;
	}
	return false;
}

bool sonde_tasks_knows(const struct sonde_tasks *t, const char *id)
{
	assert(t && id);

	return find(t, id) || was_finished(t, id);
}

static void remember(struct sonde_tasks *t, const char *id)
{
	(void)snprintf(t->finished[t->finished_at], SONDE_TASK_ID_MAX, "%s", id);
	t->finished_at = (t->finished_at + 1) % TASKS_FINISHED_MAX;
}

bool sonde_tasks_idle(const struct sonde_tasks *t)
{
	assert(t);

	for (size_t i = 0; i < ELEMENTS_OF(t->slots); i++) {
		if (t->slots[i] && !t->slots[i]->ended)
			return false;
	}
	return true;
}

/* The end report of a task that never got a slot. */
static void turn_away(struct sonde_tasks *tasks, struct sonde_spec *spec, const char *words)
{
	_cleanup_(sonde_task_freep) struct sonde_task *t = NULL;

	remember(tasks, spec->id);
	if (sonde_tasks_idle(tasks))
		tasks->extension = tasks->config.has_extension(tasks->config.ctx);
	if (sonde_task_new(tasks, spec, &t) < 0) {
		(void)sonde_log_warn(-ENOMEM, "task %s refused: %s", spec->id, words);
		sonde_spec_done(spec);
		return;
	}
	tasks_count_from_now(t);
	t->result = SONDE_TASK_REFUSED;
	(void)snprintf(t->reason, sizeof(t->reason), "%s", words);
	sonde_task_set_state(t, SONDE_TASK_REFUSED, "%s", words);
	tasks_report(t, true);
}

void sonde_tasks_refuse(struct sonde_tasks *t, struct sonde_spec *spec, const char *words)
{
	assert(t && spec && words);

	if (!spec->id[0])
		(void)sonde_log_warn(0, "task without an id refused: %s", words);
	else if (!sonde_tasks_knows(t, spec->id))
		turn_away(t, spec, words);
	sonde_spec_done(spec);
}

static int free_slot(const struct sonde_tasks *t)
{
	for (size_t i = 0; i < ELEMENTS_OF(t->slots); i++) {
		if (!t->slots[i])
			return (int)i;
	}
	return -ENOSPC;
}

static int on_time(sd_event_source *source, uint64_t usec, void *userdata);

/* A delay of years is no mistake of ours: cut, and looked at again. */
static uint64_t delay_of(int64_t ms)
{
	const int64_t day = 24LL * 3600 * 1000;

	return (uint64_t)(ms > day ? day : ms) * SONDE_NS_PER_MS;
}

/*
 * One that is found long after its start ends when it was to, and asks the policy for no more than what is left.
 * The way through poll and attach is not taken from it.
 */
static void cut_what_is_past(struct sonde_spec *s, int64_t now_ms)
{
	const int64_t late_ms = s->start_wall_ms ? now_ms - s->start_wall_ms : 0;

	if (!s->plain || late_ms < LATE_MAX_MS)
		return;
	s->duration_ms -= late_ms;
	s->start_wall_ms = now_ms;
}

static int put(struct sonde_tasks *tasks, struct sonde_spec *spec, int slot, int64_t now_ms)
{
	_cleanup_(sonde_task_freep) struct sonde_task *t = NULL;
	int64_t wait_ms;
	int r;

	r = sonde_task_new(tasks, spec, &t);
	if (r < 0)
		return r;
	t->asked_ms = t->spec.duration_ms;
	cut_what_is_past(&t->spec, now_ms);
	wait_ms = t->spec.start_wall_ms - now_ms;
	tasks_count_from_now(t);
	t->slot = (uint32_t)slot;
	t->start_ns = sonde_mono_ns() + (wait_ms > 0 ? delay_of(wait_ms) : 0);
	r = sd_event_add_time(tasks->config.event, &t->timer, CLOCK_MONOTONIC,
			      t->start_ns / SONDE_NS_PER_US, 1000, on_time, t);
	if (r < 0)
		return r;
	if (wait_ms > 0)
		sonde_task_set_state(t, SONDE_TASK_ACCEPTED, "starts in %.1f s",
				     (double)wait_ms / 1000);
	else
		sonde_task_set_state(t, SONDE_TASK_ACCEPTED, "taken from the server");
	tasks->slots[slot] = t;
	keep_memory(true);
	if (wait_ms > 0)
		tasks_report(t, false);
	t = NULL;
	return 0;
}

/* @now_ms: what its time was judged by; a later one might leave nothing of it. */
static void accept_new(struct sonde_tasks *tasks, struct sonde_spec *spec, int64_t now_ms)
{
	int slot = free_slot(tasks);
	int r;

	if (tasks->draining) {
		turn_away(tasks, spec, "the agent is ending");
		return;
	}
	if (slot < 0) {
		turn_away(tasks, spec, "the agent has as many tasks as it takes (32)");
		return;
	}
	if (sonde_tasks_idle(tasks))
		tasks->extension = tasks->config.has_extension(tasks->config.ctx);
	r = put(tasks, spec, slot, now_ms);
	if (r < 0)
		turn_away(tasks, spec, strerror(-r));
	else
		sonde_finder_want_listeners(tasks->config.finder, true);
}

static void merge_sampling(struct sonde_task *t, const struct sonde_sampling *more)
{
	int r = sonde_sampling_merge(&t->spec.sampling, more);

	if (r < 0)
		(void)sonde_log_warn(r, "task %s: cannot keep its new sampling rules, ignoring",
				     t->spec.id);
	else if (r > 0)
		(void)sonde_log_warn(0, "task %s: %d sampling rules beyond %d are left out",
				     t->spec.id, r, SONDE_SAMPLING_RULES_MAX);
}

static int extend_to(struct sonde_task *t, uint64_t end_ns);

/* An OAP's way to extend: the same task again, with a longer duration, and with new sampling rules or none. */
static void extend_plain(struct sonde_task *t, const struct sonde_spec *spec)
{
	int64_t more_ms = spec->duration_ms - t->asked_ms;

	if (!t->spec.plain || t->stopping || more_ms <= 0)
		return;
	/* What cannot be asked for now is asked for again when the backend tells it again. */
	if (t->state == SONDE_TASK_RUNNING) {
		if (extend_to(t, t->end_ns + (uint64_t)more_ms * SONDE_NS_PER_MS) < 0)
			return;
	} else if (t->end_ns) { /* attached again, after a worker's death */
		return;
	} else {
		t->spec.duration_ms += more_ms;
	}
	t->asked_ms = spec->duration_ms;
	merge_sampling(t, &spec->sampling);
}

/* What an OAP's task asks for and does not get. */
static void tell_remarks(const struct sonde_spec *spec)
{
	if (spec->remark[0])
		(void)sonde_log_warn(0, "task %s: %s", spec->id, spec->remark);
	if (spec->sampling.n)
		sonde_log_info("task %s: no HTTP request is sampled by its %zu rule%s: layer 7 is "
			       "not observed",
			       spec->id, spec->sampling.n, spec->sampling.n == 1 ? "" : "s");
}

void sonde_tasks_accept(struct sonde_tasks *t, struct sonde_spec *spec)
{
	const int64_t now_ms = sonde_wall_ms();
	struct sonde_task *known;

	assert(t && spec);

	known = find(t, spec->id);
	if (known) {
		if (spec->plain)
			extend_plain(known, spec);
	} else if (was_finished(t, spec->id)) {
		sonde_log_debug("task %s is over already", spec->id);
	} else if (spec->start_wall_ms && spec->start_wall_ms + spec->duration_ms <= now_ms) {
		remember(t, spec->id);
		turn_away(t, spec, "its time was over when it came");
	} else {
		tell_remarks(spec);
		accept_new(t, spec, now_ms);
	}
	sonde_spec_done(spec);
}

void sonde_tasks_stop(struct sonde_tasks *tasks, const char *id, const char *reason)
{
	struct sonde_task *t;

	assert(tasks && id && reason);

	t = find(tasks, id);
	if (t)
		tasks_finish(t, SONDE_TASK_STOPPED, "%s", reason[0] ? reason : "stopped");
}

void sonde_tasks_drain(struct sonde_tasks *tasks)
{
	assert(tasks);

	tasks->draining = true;
	for (size_t i = 0; i < ELEMENTS_OF(tasks->slots); i++) {
		struct sonde_task *t = tasks->slots[i];

		if (t && !t->ended)
			tasks_finish(t, SONDE_TASK_STOPPED, "the agent is ending");
	}
}

static void on_extended(void *ctx, int error, const struct sonde_probe_end *end)
{
	struct sonde_task *t = ctx;

	if (tasks_call_over(t, error))
		return;
	t->extensions--;
	if (error == 0 || error == -EPIPE || t->stopping)
		return;
	sonde_task_set_state(t, t->state, "extension refused, it ends when it was to: %s",
			     end && end->text[0] ? end->text : strerror(-error));
	t->end_ns = t->end_before_ns;
	t->spec.duration_ms = (int64_t)((t->end_ns - t->running_since_ns) / SONDE_NS_PER_MS);
	tasks_arm(t);
}

/* Of a task that runs. Return: 0, -errno: the probe could not be asked, nothing has changed. */
static int extend_to(struct sonde_task *t, uint64_t end_ns)
{
	const uint64_t now = sonde_mono_ns();
	int r;

	if (end_ns <= now)
		return -ETIME;
	r = tasks_admit(t, end_ns - t->running_since_ns, on_extended);
	if (r < 0)
		return sonde_log_warn(r, "task %s cannot be extended now", t->spec.id);
	if (t->extensions++ == 0)
		t->end_before_ns = t->end_ns;
	t->end_ns = end_ns;
	t->spec.duration_ms = (int64_t)((end_ns - t->running_since_ns) / SONDE_NS_PER_MS);
	sonde_task_set_state(t, SONDE_TASK_RUNNING, "ends in %llu ms now",
			     (unsigned long long)((end_ns - now) / SONDE_NS_PER_MS));
	tasks_arm(t);
	return 0;
}

void sonde_tasks_extend(struct sonde_tasks *tasks, const char *id, int64_t end_wall_ms)
{
	struct sonde_task *t;
	int64_t left_ms;

	assert(tasks && id);

	t = find(tasks, id);
	left_ms = end_wall_ms - sonde_wall_ms();
	if (!t || t->stopping || left_ms <= 0)
		return;
	if (left_ms > SONDE_TASK_DURATION_MAX_MS)
		left_ms = SONDE_TASK_DURATION_MAX_MS;
	if (t->state == SONDE_TASK_RUNNING)
		(void)extend_to(t, sonde_mono_ns() + (uint64_t)left_ms * SONDE_NS_PER_MS);
	else
		t->spec.duration_ms = left_ms;
}

static int on_time(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct sonde_task *t = userdata;
	uint64_t now = sonde_mono_ns();

	if (t->ended)
		return 0;
	if (t->state == SONDE_TASK_ACCEPTED) {
		if (t->spec.start_wall_ms >
		    sonde_wall_ms() + 1) { /* cut delay, or the clock was set */
			t->start_ns = now + delay_of(t->spec.start_wall_ms - sonde_wall_ms());
			(void)sd_event_source_set_time(source, t->start_ns / SONDE_NS_PER_US);
			(void)sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
			return 0;
		}
		tasks_begin(t);
	} else if (t->state == SONDE_TASK_RUNNING) {
		if (now >= t->end_ns)
			tasks_finish(t, SONDE_TASK_DONE, "its time is over");
		else
			tasks_want_snapshot(t,
					    now >= t->next_ns ? SONDE_TASK_WAIT_INTERVAL
							      : SONDE_TASK_WAIT_BUDGET,
					    false);
	}
	return 0;
}

void sonde_tasks_processes_changed(struct sonde_tasks *tasks)
{
	assert(tasks);

	for (size_t i = 0; i < ELEMENTS_OF(tasks->slots); i++) {
		struct sonde_task *t = tasks->slots[i];

		if (!t || t->ended || t->state != SONDE_TASK_RUNNING)
			continue;
		if (tasks_look_again(t) == 0)
			continue;
		t->join_due = true;
		if (t->wait == SONDE_TASK_WAIT_NONE)
			tasks_want_snapshot(t, SONDE_TASK_WAIT_JOIN, true);
	}
}

void sonde_tasks_probe_restarted(struct sonde_tasks *tasks, const struct sonde_probe_hello *hello)
{
	assert(tasks && hello);

	for (size_t i = 0; i < ELEMENTS_OF(tasks->slots); i++) {
		if (tasks->slots[i] && !tasks->slots[i]->ended)
			tasks_worker_died(tasks->slots[i]);
	}
	sonde_snapshot_reset(&tasks->snapshot);
	sonde_view_rebase(&tasks->together);
	tasks->ticket_done = tasks->ticket_asked;
	for (size_t i = 0; i < ELEMENTS_OF(tasks->slots); i++) {
		struct sonde_task *t = tasks->slots[i];

		if (t && !t->ended && t->state != SONDE_TASK_ACCEPTED)
			tasks_reattach(t);
	}
}

void sonde_tasks_probe_gone(struct sonde_tasks *tasks, const char *words)
{
	assert(tasks && words);

	(void)snprintf(tasks->probe_gone, sizeof(tasks->probe_gone), "%s", words);
	for (size_t i = 0; i < ELEMENTS_OF(tasks->slots); i++) {
		struct sonde_task *t = tasks->slots[i];

		if (!t || t->ended)
			continue;
		if (!t->stopping) {
			t->result = SONDE_TASK_FAILED;
			(void)snprintf(t->reason, sizeof(t->reason), "%s", words);
		}
		tasks_end(t);
	}
}

void sonde_tasks_probe_ended(struct sonde_tasks *tasks, const struct sonde_probe_task_ended *ended)
{
	struct sonde_task *t;

	assert(tasks && ended);

	if (ended->task >= ELEMENTS_OF(tasks->slots))
		return;
	t = tasks->slots[ended->task];
	if (!t || t->ended || t->stopping)
		return;
	/* What came since the last snapshot went with the programs: no final one can be had. */
	t->ledger[SONDE_LEDGER_SNAPSHOT_FAILED]++;
	t->result = SONDE_TASK_STOPPED;
	(void)snprintf(t->reason, sizeof(t->reason), "ended by the probe: %s", ended->reason);
	tasks_end(t);
}

static void count_outcome(struct sonde_task *t, const struct sonde_report *report,
			  enum sonde_delivery_outcome outcome, uint64_t late_ms)
{
	char compressed[32] = "not-known"; /* by Kafka's producer */

	if (outcome == SONDE_DELIVERY_DROPPED) {
		t->ledger[SONDE_LEDGER_REPORT_DROPPED]++;
		t->dropped_history = true;
		return;
	}
	if (outcome == SONDE_DELIVERY_UNKNOWN) {
		t->ledger[SONDE_LEDGER_REPORT_UNKNOWN]++;
		return;
	}
	t->reports++;
	if (report->n_messages && !t->told_first) {
		t->told_first = true;
		if (report->bytes_compressed > 0)
			(void)snprintf(compressed, sizeof(compressed), "%" PRIu64,
				       report->bytes_compressed);
		sonde_log_info("task %s: first report: encoding=%s bytes=%" PRIu64 " compressed=%s",
			       t->spec.id, sonde_encoding_name(report->encoding), report->bytes,
			       compressed);
	}
	t->report_bytes += report->bytes;
	t->report_bytes_compressed += report->bytes_compressed;
	if (report->n_messages || t->encoding == SONDE_ENCODING_IDENTITY)
		t->encoding = report->encoding;
	/* Less than a second is the way of any report. */
	if (late_ms >= 1000 && late_ms > t->ledger[SONDE_LEDGER_REPORT_LATE_MS])
		t->ledger[SONDE_LEDGER_REPORT_LATE_MS] = late_ms;
}

void sonde_tasks_outcome(struct sonde_tasks *tasks, const struct sonde_report *report,
			 enum sonde_delivery_outcome outcome, uint64_t now_ns)
{
	bool all;
	uint64_t late_ms;

	assert(tasks && report);

	/* What the tasks of another process had in common is none of these tasks'. */
	all = strcmp(report->task, TASKS_ALL) == 0 && !report->earlier_run;
	late_ms = now_ns > report->due_ns ? (now_ns - report->due_ns) / SONDE_NS_PER_MS : 0;
	for (size_t i = 0; i < ELEMENTS_OF(tasks->slots); i++) {
		struct sonde_task *t = tasks->slots[i];

		if (t && (all || strcmp(t->spec.id, report->task) == 0))
			count_outcome(t, report, outcome, late_ms);
	}
}

/* Behind the end report: the task's memory goes, and with the last task what all shared. */
static void forget(struct sonde_tasks *tasks)
{
	if (!sonde_tasks_idle(tasks))
		return;
	sonde_snapshot_reset(&tasks->snapshot);
	sonde_view_done(&tasks->together);
	sonde_peer_table_reset(tasks->peers);
	sonde_finder_want_listeners(tasks->config.finder, false);
	sonde_encoding_trim();
	keep_memory(false);
	(void)malloc_trim(0); /* the idle process is to be as small as before */
	tasks->config.on_idle(tasks->config.ctx);
}

bool tasks_call_over(struct sonde_task *t, int error)
{
	assert(t->calls);

	t->calls--;
	if (error == -ECANCELED) /* the client is being freed, the tasks are next */
		return true;
	if (!t->ended)
		return false;
	if (t->calls == 0) {
		t->tasks->slots[t->slot] = NULL;
		(void)sonde_task_free(t);
	}
	return true;
}

/* What no other task looks at is no part of the common report any more. */
static void leave_together(const struct sonde_task *t)
{
	struct sonde_tasks *tasks = t->tasks;

	for (size_t i = 0; i < t->view.n_pids; i++) {
		bool shared = false;

		for (size_t k = 0; k < ELEMENTS_OF(tasks->slots); k++) {
			const struct sonde_task *o = tasks->slots[k];

			shared = shared || (o && o != t && !o->ended &&
					    sonde_view_has(&o->view, t->view.pids[i]));
		}
		if (!shared)
			sonde_view_remove(&tasks->together, t->view.pids[i]);
	}
}

void tasks_end(struct sonde_task *t)
{
	struct sonde_tasks *tasks = t->tasks;

	assert(!t->ended);

	sonde_task_set_state(t, t->result, "%s", t->reason);
	tasks_report(t, true);
	t->ended = true;
	leave_together(t);
	(void)sd_event_source_set_enabled(t->timer, SD_EVENT_OFF);
	remember(tasks, t->spec.id);
	if (t->calls == 0) {
		tasks->slots[t->slot] = NULL;
		(void)sonde_task_free(t);
	}
	forget(tasks);
}
