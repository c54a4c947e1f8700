/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "agent/tasks-internal.h"
#include "host/proc.h"

int tasks_add_host_addresses(struct sonde_peer_table *peers)
{
	struct ifaddrs *list = NULL;
	int r = 0;

	if (getifaddrs(&list) < 0)
		return 0; /* then none is known to be local but loopback */
	for (const struct ifaddrs *a = list; a && r == 0; a = a->ifa_next) {
		uint8_t addr[16] = {[10] = 0xff, [11] = 0xff};

		if (!a->ifa_addr)
			continue;
		if (a->ifa_addr->sa_family == AF_INET) {
			struct sockaddr_in in;

			memcpy(&in, a->ifa_addr, sizeof(in));
			memcpy(addr + 12, &in.sin_addr, 4);
		} else if (a->ifa_addr->sa_family == AF_INET6) {
			struct sockaddr_in6 in6;

			memcpy(&in6, a->ifa_addr, sizeof(in6));
			memcpy(addr, &in6.sin6_addr, 16);
		} else {
			continue;
		}
		r = sonde_peer_table_add_local(peers, addr);
	}
	freeifaddrs(list);
	return r;
}

struct sonde_process *tasks_process_of(void *ctx, uint32_t pid)
{
	const struct sonde_tasks *tasks = ctx;
	struct sonde_process *p = NULL;

	/* A target keeps its name when it is gone; its last traffic is still to be told. */
	for (size_t i = 0; i < ELEMENTS_OF(tasks->slots); i++) {
		const struct sonde_task *t = tasks->slots[i];
		const struct sonde_task_target *target;

		target = t && !t->ended ? sonde_task_target_by_pid(t, pid) : NULL;
		if (target && target->process && target->process->id[0])
			return target->process;
	}
	p = sonde_finder_by_pid(tasks->config.finder, pid);
	return p && p->id[0] ? p : NULL;
}

static bool spec_matches(const struct sonde_spec_target *want, const struct sonde_process *p)
{
	switch (want->kind) {
	case SONDE_SPEC_TARGET_PROCESS_ID:
		return strcmp(want->text, p->id) == 0;
	case SONDE_SPEC_TARGET_PROCESS_NAME:
		return strcmp(want->text, p->name) == 0;
	case SONDE_SPEC_TARGET_SERVICE:
		return strcmp(want->text, p->service) == 0;
	case SONDE_SPEC_TARGET_PID:
		return want->pid == p->pid;
	}
	return false;
}

/* Is the target meant for this agent? */
static bool is_ours(const struct sonde_task *t, const struct sonde_spec_target *want)
{
	return !want->agent_id[0] || strcmp(want->agent_id, t->tasks->config.agent_id) == 0;
}

static bool same_process(const struct sonde_task_target *target, const struct sonde_process *p)
{
	return target && target->start_ticks == p->start_ticks;
}

static int add_process(struct sonde_task *t, struct sonde_process *p, enum sonde_target_state s,
		       const char *reason)
{
	struct sonde_task_target *target;
	int r;

	r = sonde_task_add_target(t, &target);
	if (r < 0)
		return r;
	target->pid = p->pid;
	target->start_ticks = p->start_ticks;
	target->process = sonde_process_ref(p);
	sonde_target_set(target, s, reason);
	return 0;
}

#define NO_PROCESS "no such process on this machine"

/* Of a pid that cannot be a target. */
static const char *why_missing(const struct sonde_task *t, uint32_t pid)
{
	struct sonde_proc_stat s;

	if (!pid || sonde_proc_read_stat(t->tasks->config.proc_fd, pid, &s) < 0)
		return NO_PROCESS;
	if (s.kernel_thread)
		return "a kernel thread, which is no process and is not profiled";
	if (s.state == 'Z' || s.state == 'X')
		return "it has ended, only its parent has not noticed (a zombie)";
	return NO_PROCESS;
}

static void add_missing(struct sonde_task *t, const struct sonde_spec_target *want)
{
	struct sonde_task_target *target;

	if (sonde_task_add_target(t, &target) < 0)
		return;
	target->pid = want->kind == SONDE_SPEC_TARGET_PID ? want->pid : 0;
	target->wanted_id = want->kind == SONDE_SPEC_TARGET_PROCESS_ID;
	(void)snprintf(target->wanted, sizeof(target->wanted), "%s", want->text);
	sonde_target_set(target, SONDE_TARGET_GONE, why_missing(t, target->pid));
}

/* A refusal by a rule has its name for a reason, which holds no blank. */
void tasks_say_denied(const struct sonde_task *t, char words[static SONDE_TASK_WORDS_MAX])
{
	const struct sonde_task_target *denied = NULL;

	for (size_t i = 0; i < t->n_targets && !denied; i++) {
		if (t->targets[i].state == SONDE_TARGET_DENIED)
			denied = &t->targets[i];
	}
	if (!denied)
		(void)snprintf(words, SONDE_TASK_WORDS_MAX,
			       "no target may be profiled: none lives any more");
	else if (strchr(denied->reason, ' '))
		(void)snprintf(words, SONDE_TASK_WORDS_MAX, "no target may be profiled: %.140s",
			       denied->reason);
	else
		(void)snprintf(words, SONDE_TASK_WORDS_MAX,
			       "no target may be profiled: refused by rule %.64s of the node's "
			       "policy",
			       denied->reason);
}

void tasks_say_missing(const struct sonde_task *t, char words[static SONDE_TASK_WORDS_MAX])
{
	const struct sonde_task_target *first = t->n_targets > 0 ? &t->targets[0] : NULL;
	char what[120] = "", more[48] = "";

	if (first && first->pid && strcmp(first->reason, NO_PROCESS) == 0)
		(void)snprintf(what, sizeof(what), ": there is no process %u", first->pid);
	else if (first && first->pid)
		(void)snprintf(what, sizeof(what), ": pid %u: %.80s", first->pid, first->reason);
	else if (first)
		(void)snprintf(what, sizeof(what), ": there is no process of '%.40s'",
			       first->wanted);
	if (t->n_targets > 1)
		(void)snprintf(more, sizeof(more), " (nor the other %zu)", t->n_targets - 1);
	(void)snprintf(words, SONDE_TASK_WORDS_MAX, "no target lives on this machine%s%s", what,
		       more);
}

/* What an id is made of: a new process has none yet. */
static bool same_name(const struct sonde_process *a, const struct sonde_process *b)
{
	return strcmp(a->service, b->service) == 0 && strcmp(a->instance, b->instance) == 0 &&
	       strcmp(a->name, b->name) == 0;
}

/* "; not pid 7: no such process on this machine (nor 2 others)"; "" where all live. */
static void say_not_live(const struct sonde_task *t, char *words, size_t size)
{
	const struct sonde_task_target *first = NULL;
	size_t n = 0, at;

	words[0] = '\0';
	for (size_t i = t->n_targets; i > 0; i--) {
		if (sonde_target_lives(&t->targets[i - 1]))
			continue;
		first = &t->targets[i - 1];
		n++;
	}
	if (!first)
		return;
	if (first->pid)
		(void)snprintf(words, size, "; not pid %u: %.64s", first->pid, first->reason);
	else
		(void)snprintf(words, size, "; not '%.40s': %.64s", first->wanted, first->reason);
	at = strlen(words);
	if (n > 1)
		(void)snprintf(words + at, size - at, " (nor %zu other%s)", n - 1,
			       n == 2 ? "" : "s");
}

/* Was it named by its pid? What a rule put together is meant to be one. */
static bool asked_by_pid(const struct sonde_task *t, uint32_t pid)
{
	for (size_t i = 0; i < t->spec.n_targets; i++) {
		if (t->spec.targets[i].kind == SONDE_SPEC_TARGET_PID &&
		    t->spec.targets[i].pid == pid)
			return true;
	}
	return false;
}

/* "; pids 7 and 8 are one process to the backend: both are named 'python3'". */
static void say_alike(const struct sonde_task *t, char *words, size_t size)
{
	words[0] = '\0';
	for (size_t i = 0; i < t->n_targets; i++) {
		const struct sonde_task_target *b = &t->targets[i];

		for (size_t n = 0; n < i && b->process && asked_by_pid(t, b->pid); n++) {
			const struct sonde_task_target *a = &t->targets[n];

			if (!a->process || !asked_by_pid(t, a->pid) ||
			    !same_name(a->process, b->process))
				continue;
			(void)snprintf(words, size,
				       "; pids %u and %u are shown as one process, for both are "
				       "'%.30s' (a rule tells them apart)",
				       a->pid, b->pid, b->process->name);
			return;
		}
	}
}

void tasks_say_planned(const struct sonde_task *t, size_t live,
		       char words[static SONDE_TASK_WORDS_MAX])
{
	char missing[128], alike[144];

	say_not_live(t, missing, sizeof(missing));
	say_alike(t, alike, sizeof(alike));
	(void)snprintf(words, SONDE_TASK_WORDS_MAX, "preset %.24s, %zu of %zu target%s live%s%s",
		       t->spec.preset[0] ? t->spec.preset : "network", live, t->n_targets,
		       t->n_targets == 1 ? "" : "s", missing, alike);
}

/* A pid that no rule names is named after its program, for this task's sake. */
static bool adopt(struct sonde_task *t, const struct sonde_spec_target *want)
{
	struct sonde_process *p = NULL;

	if (want->kind != SONDE_SPEC_TARGET_PID ||
	    sonde_finder_adopt(t->tasks->config.finder, want->pid, &p) < 0)
		return false;
	/* Not with the next scan: a short task would be over, its cells without a name. */
	t->tasks->config.on_adopted(t->tasks->config.ctx);
	return add_process(t, p, SONDE_TARGET_FOUND, "") == 0;
}

size_t tasks_resolve(struct sonde_task *t)
{
	size_t live = 0;

	for (size_t i = 0; i < t->spec.n_targets; i++) {
		const struct sonde_spec_target *want = &t->spec.targets[i];
		struct sonde_process *p;
		bool any = false;
		size_t cursor = 0;

		if (!is_ours(t, want))
			continue;
		while ((p = sonde_finder_next(t->tasks->config.finder, &cursor))) {
			if (!spec_matches(want, p))
				continue;
			any = true;
			if (!same_process(sonde_task_target_by_pid(t, p->pid), p))
				(void)add_process(t, p, SONDE_TARGET_FOUND, "");
		}
		if (!any && !adopt(t, want))
			add_missing(t, want);
	}
	for (size_t i = 0; i < t->n_targets; i++)
		live += sonde_target_lives(&t->targets[i]);
	return live;
}

/* Not by the finder's word alone: it looks only once in a while. */
static bool is_gone(const struct sonde_tasks *tasks, const struct sonde_task_target *target)
{
	struct sonde_proc_stat s;
	int r = sonde_proc_read_stat(tasks->config.proc_fd, target->pid, &s);

	if (r == -ESRCH && sonde_finder_hidden(tasks->config.finder)) {
		const struct sonde_process *p =
			sonde_finder_by_pid(tasks->config.finder, target->pid);

		return !p || p->start_ticks != target->start_ticks;
	}
	if (r == -ESRCH)
		return true;
	return r == 0 && (s.state == 'Z' || s.state == 'X' || s.start_ticks != target->start_ticks);
}

static bool wanted(const struct sonde_task *t, const struct sonde_process *p)
{
	for (size_t i = 0; i < t->spec.n_targets; i++) {
		const struct sonde_spec_target *want = &t->spec.targets[i];

		/* A pid means that process, not a later one under its number. */
		if (want->kind != SONDE_SPEC_TARGET_PID && is_ours(t, want) &&
		    spec_matches(want, p))
			return true;
	}
	return false;
}

/* @p came: did one of the same name leave? */
static struct sonde_task_target *replaced_by(struct sonde_task *t, const struct sonde_process *p)
{
	for (size_t i = 0; i < t->n_targets; i++) {
		struct sonde_task_target *target = &t->targets[i];

		if (target->state == SONDE_TARGET_GONE && !target->child && target->process &&
		    same_name(target->process, p))
			return target;
	}
	return NULL;
}

/* The kernel made it a target when it was forked: the next snapshot tells, and its traffic counts from the fork. */
static bool is_child(const struct sonde_task *t, const struct sonde_process *p)
{
	const struct sonde_task_target *parent;
	struct sonde_proc_stat s;

	if (sonde_proc_read_stat(t->tasks->config.proc_fd, p->pid, &s) < 0)
		return false;
	parent = sonde_task_target_by_pid(t, s.ppid);
	return parent && parent->in_probe && sonde_target_lives(parent);
}

/* Of what was missing at the start: the row gives way. */
static bool fill_missing(struct sonde_task *t, struct sonde_process *p)
{
	for (size_t i = 0; i < t->n_targets; i++) {
		struct sonde_task_target *target = &t->targets[i];

		if (target->process || target->pid)
			continue;
		if (strcmp(target->wanted, target->wanted_id ? p->id : p->name) != 0 &&
		    strcmp(target->wanted, p->service) != 0)
			continue;
		target->pid = p->pid;
		target->start_ticks = p->start_ticks;
		target->process = sonde_process_ref(p);
		sonde_target_set(target, SONDE_TARGET_FOUND, "came in mid-task");
		return true;
	}
	return false;
}

static bool take_new(struct sonde_task *t, struct sonde_process *p)
{
	struct sonde_task_target *old;
	char reason[SONDE_PROBE_TEXT_MAX];

	if (same_process(sonde_task_target_by_pid(t, p->pid), p) || !wanted(t, p) || is_child(t, p))
		return false;
	if (fill_missing(t, p))
		return true;
	old = replaced_by(t, p);
	if (!old)
		return add_process(t, p, SONDE_TARGET_FOUND, "came in mid-task") == 0;
	(void)snprintf(reason, sizeof(reason), "takes the place of pid %u", old->pid);
	sonde_target_set(old, SONDE_TARGET_RESTARTED, "another process of its name took its place");
	old->in_probe = false;
	return add_process(t, p, SONDE_TARGET_FOUND, reason) == 0;
}

/*
 * What a wrapper's exec made of a target has another name, if the finder gave it one. Until the server has an id for
 * that, the target keeps the old one: a process without an id has no numbers.
 */
static void follow_name(const struct sonde_task *t, struct sonde_task_target *target)
{
	struct sonde_process *p = sonde_finder_by_pid(t->tasks->config.finder, target->pid);
	char reason[SONDE_PROBE_TEXT_MAX];

	if (!p || p == target->process || !p->id[0] || p->start_ticks != target->start_ticks)
		return;
	if (target->process && !same_name(target->process, p)) {
		(void)snprintf(reason, sizeof(reason), "was %.80s before its exec",
			       target->process->name);
		sonde_target_set(target, target->state, reason);
	}
	(void)sonde_process_unref(target->process);
	target->process = sonde_process_ref(p);
}

size_t tasks_look_again(struct sonde_task *t)
{
	struct sonde_process *p;
	size_t cursor = 0, joining = 0;

	for (size_t i = 0; i < t->n_targets; i++) {
		struct sonde_task_target *target = &t->targets[i];

		if (!sonde_target_lives(target))
			continue;
		if (!is_gone(t->tasks, target)) {
			follow_name(t, target);
			continue;
		}
		sonde_target_set(target, SONDE_TARGET_GONE, "ended");
		target->in_probe = false;
	}
	while ((p = sonde_finder_next(t->tasks->config.finder, &cursor)))
		joining += take_new(t, p);
	return joining;
}

/* A child is named like the target that it descends from, unless the finder knows better. */
static struct sonde_process *name_child(const struct sonde_task *t,
					const struct sonde_probe_process *child)
{
	struct sonde_process *known = sonde_finder_by_pid(t->tasks->config.finder, child->pid);
	const struct sonde_task_target *root = sonde_task_target_by_pid(t, child->root_pid);
	struct sonde_process *p = NULL;
	struct sonde_proc_stat s;

	if (known && known->id[0])
		return sonde_process_ref(known);
	if (!root || !root->process || sonde_process_new(child->pid, 0, &p) < 0)
		return NULL;
	*p = *root->process;
	p->refs = 1;
	p->pid = child->pid;
	p->start_ticks = 0;
	p->labels = NULL; /* each process owns its own */
	p->n_labels = 0;
	if (sonde_process_set_labels(p, root->process->labels, root->process->n_labels) < 0)
		return sonde_process_unref(p);
	if (sonde_proc_read_stat(t->tasks->config.proc_fd, child->pid, &s) == 0)
		p->start_ticks = s.start_ticks;
	return p;
}

static void take_child(struct sonde_task *t, const struct sonde_probe_process *child)
{
	_cleanup_(sonde_process_unrefp) struct sonde_process *p = NULL;
	struct sonde_task_target *target = sonde_task_target_by_pid(t, child->pid);
	enum sonde_target_state state = child->state == SONDE_PROBE_PROCESS_EXITED
						? SONDE_TARGET_GONE
						: SONDE_TARGET_FORKED;
	char reason[SONDE_PROBE_TEXT_MAX];

	if (child->state == SONDE_PROBE_PROCESS_EXITED) {
		if (target && sonde_target_lives(target) && is_gone(t->tasks, target))
			sonde_target_set(target, SONDE_TARGET_GONE, "ended");
	}
	/* A named one joined by TARGET_ADD: what it had been counted before is not this task's. */
	if (child->root_pid == child->pid || sonde_view_has(&t->view, child->pid))
		return;
	/* One that came and went between two snapshots has traffic too. */
	p = name_child(t, child);
	if (!p)
		return;
	(void)snprintf(reason, sizeof(reason), "child of pid %u", child->root_pid);
	/* The finder may have seen it first. */
	if (same_process(target, p))
		sonde_target_set(target, state, reason);
	else if (add_process(t, p, state, reason) < 0)
		return;
	else
		target = &t->targets[t->n_targets - 1];
	target->child = true;
	target->in_probe = true; /* the kernel put it there at the fork */
	if (sonde_view_add(&t->view, child->pid, NULL) < 0 ||
	    (!t->tasks->extension && sonde_view_add(&t->tasks->together, child->pid, NULL) < 0))
		t->ledger[SONDE_LEDGER_RECORD_REFUSED]++;
}

void tasks_take_processes(struct sonde_task *t)
{
	const struct sonde_snapshot *s = &t->tasks->snapshot;

	for (size_t i = 0; i < s->n_processes; i++) {
		if (s->processes[i].task_mask & 1ULL << t->slot)
			take_child(t, &s->processes[i]);
	}
}
