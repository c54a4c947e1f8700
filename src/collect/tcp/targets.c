/* SPDX-License-Identifier: Apache-2.0 */
/* Targets and the seeding of their sockets. */
#include <assert.h>
#include <bpf/bpf.h>
#include <errno.h>

#include "base/clock.h"
#include "collect/tcp/state.h"
#include "tcp.skel.h"

#define REMOVE_PASSES_MAX 16

static int targets_fd(const struct tcp_state *s)
{
	return bpf_map__fd(s->skel->maps.sonde_targets);
}

int tcp_target_add(void *state, uint32_t pid, uint64_t task_mask)
{
	struct tcp_state *s = state;
	struct sonde_tcp_target target = {0};
	int r;

	assert(s);

	if (pid == 0 || task_mask == 0)
		return -EINVAL;
	r = s->config.raise(s->config.ctx, TCP_CAP_BPF);
	if (r < 0)
		return r;
	/* An entry that has exited is of an earlier process with this pid. */
	if (bpf_map_lookup_elem(targets_fd(s), &pid, &target) < 0 ||
	    target.state == SONDE_TCP_TARGET_EXITED)
		target = (struct sonde_tcp_target){.root_pid = pid};
	target.task_mask |= task_mask;
	if (bpf_map_update_elem(targets_fd(s), &pid, &target, BPF_ANY) < 0)
		r = errno == E2BIG ? -ENOSPC : -errno;
	s->config.drop(s->config.ctx);
	return r;
}

struct target_list {
	uint32_t *pids;			  /* owned */
	struct sonde_tcp_target *targets; /* owned */
	size_t n;
};

static void target_list_done(struct target_list *list)
{
	free(list->pids);
	free(list->targets);
}

/* A copy, because walking a hash while taking from it starts over. */
static int read_targets(struct tcp_state *s, struct target_list *list)
{
	const uint32_t *at = NULL;
	uint32_t next;

	list->pids = calloc(s->config.max_targets, sizeof(*list->pids));
	list->targets = calloc(s->config.max_targets, sizeof(*list->targets));
	if (!list->pids || !list->targets)
		return -ENOMEM;
	while (list->n < s->config.max_targets &&
	       bpf_map_get_next_key(targets_fd(s), at, &next) == 0) {
		list->pids[list->n] = next;
		at = &list->pids[list->n];
		if (bpf_map_lookup_elem(targets_fd(s), &next, &list->targets[list->n]) == 0)
			list->n++;
		else
			break; /* only we remove entries; without its key there is no next one */
	}
	return 0;
}

/* Takes the tasks' bits off; true when none is left and the entry is gone. */
static bool unmask(struct tcp_state *s, uint32_t pid, uint64_t task_mask)
{
	struct sonde_tcp_target target;

	/* Anew: the process may have ended since the list was read, and must not come back to life. */
	if (bpf_map_lookup_elem(targets_fd(s), &pid, &target) < 0)
		return false;
	target.task_mask &= ~task_mask;
	if (target.task_mask == 0)
		return bpf_map_delete_elem(targets_fd(s), &pid) == 0;
	(void)bpf_map_update_elem(targets_fd(s), &pid, &target, BPF_EXIST);
	return false;
}

/* One pass over the table. Return: 1 = some had the bits, 0 = none, -errno. */
static int unmask_all(struct tcp_state *s, uint64_t task_mask, bool *gone)
{
	_cleanup_(target_list_done) struct target_list list = {0};
	int found = 0, r;

	r = read_targets(s, &list);
	if (r < 0)
		return r;
	for (size_t i = 0; i < list.n; i++) {
		if (!(list.targets[i].task_mask & task_mask))
			continue;
		found = 1;
		*gone |= unmask(s, list.pids[i], task_mask);
	}
	return found;
}

/* The tags of pids that are no target any more get their last fold and are taken off. */
static int release_sockets(struct tcp_state *s)
{
	int r;

	s->skel->bss->sonde_snapshot_mode = SONDE_TCP_SNAPSHOT_RELEASE;
	r = tcp_programs_run_iterator(s, SONDE_TCP_PROGRAM_SNAPSHOT);
	s->skel->bss->sonde_snapshot_mode = SONDE_TCP_SNAPSHOT_FOLD;
	return r;
}

int tcp_target_remove(void *state, uint32_t pid, uint64_t task_mask)
{
	struct tcp_state *s = state;
	int r;

	assert(s);

	r = s->config.raise(s->config.ctx, TCP_CAP_BPF);
	if (r < 0)
		return r;
	if (unmask(s, pid, task_mask))
		r = release_sockets(s);
	if (r == 0)
		r = tcp_timing_threads(s);
	s->config.drop(s->config.ctx);
	return r;
}

int tcp_task_remove(void *state, uint64_t task_mask)
{
	struct tcp_state *s = state;
	bool gone = false;
	int r;

	assert(s);

	r = s->config.raise(s->config.ctx, TCP_CAP_BPF);
	if (r < 0)
		return r;
	/* A target that forks under us hands the bits on to a child behind our back: until none has them. */
	r = 1;
	for (unsigned int pass = 0; r > 0 && pass < REMOVE_PASSES_MAX; pass++)
		r = unmask_all(s, task_mask, &gone);
	if (r >= 0 && gone)
		r = release_sockets(s);
	if (r >= 0)
		r = tcp_timing_threads(s);
	s->config.drop(s->config.ctx);
	return r < 0 ? r : 0;
}

static int run_seed_pass(struct tcp_state *s, enum sonde_tcp_seed_pass pass)
{
	s->skel->bss->sonde_seed_task = NULL; /* a task's answer may have changed since */
	s->skel->bss->sonde_seed_pass = pass;
	return tcp_programs_run_iterator(s, SONDE_TCP_PROGRAM_SEED);
}

int tcp_seed(void *state, struct sonde_collect_timing *timing)
{
	struct tcp_state *s = state;
	uint64_t start = sonde_mono_ns(), before;
	int r;

	assert(s);

	r = s->config.raise(s->config.ctx, TCP_CAP_BPF | TCP_CAP_PERFMON);
	if (r < 0)
		return r;
	r = tcp_timing_threads(s);
	if (r < 0 || !s->links[SONDE_TCP_PROGRAM_SEED]) {
		s->config.drop(s->config.ctx);
		return r; /* told in its PROBE record: only new connections are seen */
	}
	before = s->skel->bss->sonde_seeded;
	s->skel->bss->sonde_seed_generation++;
	r = run_seed_pass(s, SONDE_TCP_SEED_LEARN);
	if (r == 0)
		r = run_seed_pass(s, SONDE_TCP_SEED_TAG);
	s->config.drop(s->config.ctx);
	if (r == 0)
		r = tcp_programs_attach_wanted(s);
	if (timing) {
		timing->seed_ns = sonde_mono_ns() - start;
		timing->seeded_sockets = s->skel->bss->sonde_seeded - before;
	}
	return r;
}

/*
 * A child that has ended keeps its place, for sockets that outlive it. Not where a
 * server that forks for each connection would fill the table with them.
 */
static bool may_forget(const struct sonde_tcp_target *target, uint32_t pid)
{
	return target->state == SONDE_TCP_TARGET_EXITED && target->root_pid != pid;
}

int tcp_emit_processes(struct tcp_state *s, struct sonde_collect_sink sink)
{
	_cleanup_(target_list_done) struct target_list list = {0};
	bool crowded;
	int r;

	r = read_targets(s, &list);
	crowded = list.n > s->config.max_targets / 2;
	for (size_t i = 0; r == 0 && i < list.n; i++) {
		struct sonde_probe_reply reply = {.type = SONDE_PROBE_PROCESS};

		reply.process.pid = list.pids[i];
		reply.process.root_pid = list.targets[i].root_pid;
		reply.process.state = list.targets[i].state;
		reply.process.task_mask = list.targets[i].task_mask;
		r = sink.emit(sink.ctx, &reply);
		if (r == 0 && crowded && may_forget(&list.targets[i], list.pids[i]))
			(void)bpf_map_delete_elem(targets_fd(s), &list.pids[i]);
	}
	return r;
}
