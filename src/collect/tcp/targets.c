/* SPDX-License-Identifier: Apache-2.0 */
/* Targets and the seeding of their sockets. */
#include <assert.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/capability.h>

#include "base/clock.h"
#include "collect/tcp/state.h"
#include "host/privilege.h"
#include "tcp.skel.h"

int tcp_target_add(void *state, uint32_t pid, uint64_t task_mask)
{
	const struct tcp_state *s = state;

	return sonde_object_target_add(&s->object, s->skel->maps.sonde_targets, pid, task_mask);
}

/* The tags of pids that are no target any more get their last fold and are taken off. */
static int release_sockets(struct tcp_state *s)
{
	int r;

	s->skel->bss->sonde_snapshot_mode = SONDE_TCP_SNAPSHOT_RELEASE;
	r = sonde_object_iterate(&s->object, SONDE_TCP_PROGRAM_SNAPSHOT);
	s->skel->bss->sonde_snapshot_mode = SONDE_TCP_SNAPSHOT_FOLD;
	return r;
}

/* @gone: some are no target of any task any more. */
static int release(struct tcp_state *s, bool gone)
{
	int r;

	r = sonde_object_raise(&s->object);
	if (r < 0)
		return r;
	if (gone)
		r = release_sockets(s);
	if (r == 0)
		r = tcp_timing_threads(s);
	sonde_object_drop(&s->object);
	return r;
}

int tcp_target_remove(void *state, uint32_t pid, uint64_t task_mask)
{
	struct tcp_state *s = state;
	bool gone;
	int r;

	r = sonde_object_target_remove(&s->object, s->skel->maps.sonde_targets, pid, task_mask,
				       &gone);
	return r < 0 ? r : release(s, gone);
}

int tcp_task_remove(void *state, uint64_t task_mask)
{
	struct tcp_state *s = state;
	bool gone;
	int r;

	r = sonde_object_task_remove(&s->object, s->skel->maps.sonde_targets, task_mask, &gone);
	return r < 0 ? r : release(s, gone);
}

static int run_seed_pass(struct tcp_state *s, enum sonde_tcp_seed_pass pass)
{
	s->skel->bss->sonde_seed_task = NULL; /* a task's answer may have changed since */
	s->skel->bss->sonde_seed_pass = pass;
	return sonde_object_iterate(&s->object, SONDE_TCP_PROGRAM_SEED);
}

/* Where the last seeds met a listener and this one did not. Nothing but LEARN enters any. */
static void forget_listeners(const struct tcp_state *s)
{
	int fd = bpf_map__fd(s->skel->maps.sonde_listeners), r;
	struct sonde_tcp_listener_key at, next;
	uint32_t generation;

	r = bpf_map_get_next_key(fd, NULL, &next);
	while (r == 0) {
		at = next;
		r = bpf_map_get_next_key(fd, &at, &next); /* while it is there */
		if (bpf_map_lookup_elem(fd, &at, &generation) == 0 &&
		    generation != s->skel->bss->sonde_seed_generation)
			(void)bpf_map_delete_elem(fd, &at);
	}
}

/*
 * LEARN's entries that no socket of TAG's has taken over: it was closed in between, and
 * nobody else takes them off. Others come and go meanwhile, so a walk may start over.
 */
static void forget_untagged(const struct tcp_state *s)
{
	int fd = bpf_map__fd(s->skel->maps.sonde_tuples), r;
	uint32_t turns = 2 * bpf_map__max_entries(s->skel->maps.sonde_tuples);
	struct sonde_tcp_tuple at, next;
	struct sonde_tcp_end end;

	r = bpf_map_get_next_key(fd, NULL, &next);
	for (uint32_t i = 0; i < turns && r == 0; i++) {
		at = next;
		r = bpf_map_get_next_key(fd, &at, &next);
		if (bpf_map_lookup_elem(fd, &at, &end) == 0 && end.role == SONDE_TCP_ROLE_UNKNOWN)
			(void)bpf_map_delete_elem(fd, &at);
	}
}

int tcp_seed(void *state, struct sonde_collect_timing *timing)
{
	struct tcp_state *s = state;
	uint64_t start = sonde_mono_ns(), before;
	int r;

	assert(s);

	r = s->object.config.raise(s->object.config.ctx,
				   SONDE_CAP(CAP_BPF) | SONDE_CAP(CAP_PERFMON));
	if (r < 0)
		return r;
	r = tcp_timing_threads(s);
	if (r < 0 || !s->object.links[SONDE_TCP_PROGRAM_SEED]) {
		sonde_object_drop(&s->object);
		return r; /* told in its PROBE record: only new connections are seen */
	}
	before = s->skel->bss->sonde_seeded;
	s->skel->bss->sonde_seed_generation++;
	r = run_seed_pass(s, SONDE_TCP_SEED_LEARN);
	if (r == 0) {
		forget_listeners(s);
		__atomic_store_n(&s->skel->bss->sonde_seed_learnt,
				 s->skel->bss->sonde_seed_generation, __ATOMIC_RELEASE);
		r = run_seed_pass(s, SONDE_TCP_SEED_TAG);
	}
	if (r == 0)
		forget_untagged(s);
	sonde_object_drop(&s->object);
	if (r == 0)
		r = tcp_programs_attach_wanted(s);
	if (timing) {
		timing->seed_ns += sonde_mono_ns() - start;
		timing->seeded_sockets += s->skel->bss->sonde_seeded - before;
	}
	return r;
}

int tcp_emit_processes(struct tcp_state *s, struct sonde_collect_sink sink)
{
	const struct sonde_target_table t =
		sonde_object_targets(&s->object, s->skel->maps.sonde_targets);

	return sonde_target_table_emit(&t, sink);
}
