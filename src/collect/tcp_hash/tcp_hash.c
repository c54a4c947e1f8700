/* SPDX-License-Identifier: Apache-2.0 */
/* The descriptor of the TCP collector for older kernels: start, plan, stop, targets, seeding. */
#include <assert.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/capability.h>

#include "base/clock.h"
#include "collect/tcp_hash/state.h"
#include "host/privilege.h"
#include "tcp_hash.skel.h"

#define CELLS_MAX 4096 /* 14 MB of kernel memory */
#define SOCKETS 16384  /* live at one time: 3 MB; a further one is in the ledger */

static void *hash_stop(void *state, struct sonde_collect_timing *timing)
{
	struct tcp_hash_state *s = state;
	uint64_t start = sonde_mono_ns();

	if (!s)
		return NULL;
	sonde_object_done(&s->object);
	tcp_hash_bpf__destroy(s->skel);
	free(s->buckets);
	free(s->cells);
	free(s->live);
	free(s->again);
	free(s);
	if (timing)
		timing->detach_ns += sonde_mono_ns() - start;
	return NULL;
}

static void hash_stopp(struct tcp_hash_state **s)
{
	(void)hash_stop(*s, NULL);
}

static int open_skeleton(void *ctx, uint32_t pidns_inum, struct bpf_object_skeleton **ret)
{
	struct tcp_hash_state *s = ctx;
	int r = 0;

	tcp_hash_bpf__destroy(TAKE_PTR(s->skel));
	s->skel = tcp_hash_bpf__open();
	if (!s->skel)
		return -errno;
	s->skel->rodata->sonde_pidns_inum = pidns_inum;
	r |= bpf_map__set_max_entries(s->skel->maps.sonde_targets, s->object.config.max_targets);
	r |= bpf_map__set_max_entries(s->skel->maps.sonde_cells, s->object.cell_limit);
	r |= bpf_map__set_max_entries(s->skel->maps.sonde_others, s->object.other_limit);
	r |= bpf_map__set_max_entries(s->skel->maps.sonde_handshake,
				      s->object.cell_limit + s->object.other_limit);
	r |= bpf_map__set_max_entries(s->skel->maps.sonde_socks, SOCKETS);
	if (r)
		return -EINVAL;
	*ret = s->skel->skeleton;
	return 0;
}

static void read_clock(void *ctx, uint64_t *ret_ns, uint64_t *ret_runs)
{
	const struct tcp_hash_state *s = ctx;

	*ret_ns = s->skel->bss->sonde_clock_ns;
	*ret_runs = s->skel->bss->sonde_clock_runs;
}

static struct bpf_map *walked(void *ctx, uint32_t program)
{
	const struct tcp_hash_state *s = ctx;

	return program == SONDE_HASH_PROGRAM_SNAPSHOT ? s->skel->maps.sonde_socks : NULL;
}

/* Everything before the kernel is asked to change. */
static int new_state(const struct sonde_collect_config *config, struct tcp_hash_state **ret)
{
	_cleanup_(hash_stopp) struct tcp_hash_state *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	r = sonde_object_init(&s->object, tcp_hash_plan_table(), config,
			      (struct sonde_object_loader){.open = open_skeleton,
							   .read_clock = read_clock,
							   .walked = walked,
							   .cells_max = CELLS_MAX,
							   .ctx = s});
	if (r < 0)
		return r;
	*ret = TAKE_PTR(s);
	return 0;
}

static int new_tables(struct tcp_hash_state *s)
{
	s->live_limit = SOCKETS;
	s->live = calloc(s->live_limit, sizeof(*s->live));
	s->again = calloc(s->live_limit, sizeof(*s->again));
	return s->live && s->again ? tcp_hash_cells_init(s) : -ENOMEM;
}

static int hash_start(const struct sonde_collect_config *config, struct sonde_collect_sink sink,
		      struct sonde_collect_timing *timing, void **ret_state)
{
	/* What ends an entry stands before what makes one. */
	static const uint32_t order[] = {
		SONDE_HASH_PROGRAM_SNAPSHOT,	   SONDE_HASH_PROGRAM_SEED,
		SONDE_HASH_PROGRAM_DESTROY,	   SONDE_HASH_PROGRAM_EXIT,
		SONDE_HASH_PROGRAM_FORK,	   SONDE_HASH_PROGRAM_RETRANSMIT,
		SONDE_HASH_PROGRAM_SYNACK,	   SONDE_HASH_PROGRAM_RESET_SENT,
		SONDE_HASH_PROGRAM_RESET_RECEIVED, SONDE_HASH_PROGRAM_STATE,
	};
	_cleanup_(hash_stopp) struct tcp_hash_state *s = NULL;
	uint64_t start = sonde_mono_ns();
	int r;

	assert(config && ret_state);

	r = new_state(config, &s);
	if (r == 0)
		r = new_tables(s);
	if (r < 0)
		return r;
	if (timing)
		timing->open_ns += sonde_mono_ns() - start;
	r = sonde_object_start(&s->object, order, ELEMENTS_OF(order), timing);
	if (r == 0)
		r = sonde_plan_tell(&s->object.plan, sink);
	if (r < 0)
		return r;
	*ret_state = TAKE_PTR(s);
	return 0;
}

static int hash_plan(const struct sonde_collect_config *config, struct sonde_collect_sink sink)
{
	_cleanup_(hash_stopp) struct tcp_hash_state *s = NULL;
	int r;

	assert(config);

	r = new_state(config, &s);
	return r < 0 ? r : sonde_object_tell_plan(&s->object, sink);
}

static int hash_memory(const struct sonde_collect_config *config, struct sonde_collect_memory *sum)
{
	_cleanup_(hash_stopp) struct tcp_hash_state *s = NULL;
	int r;

	assert(config && sum);

	r = new_state(config, &s);
	return r < 0 ? r : sonde_object_memory(&s->object, sum);
}

static int hash_target_add(void *state, uint32_t pid, uint64_t task_mask)
{
	const struct tcp_hash_state *s = state;

	return sonde_object_target_add(&s->object, s->skel->maps.sonde_targets, pid, task_mask);
}

/* Sockets of what is no target any more are counted until they end; nobody asks for their cells. */
static int hash_target_remove(void *state, uint32_t pid, uint64_t task_mask)
{
	const struct tcp_hash_state *s = state;
	bool gone;

	return sonde_object_target_remove(&s->object, s->skel->maps.sonde_targets, pid, task_mask,
					  &gone);
}

static int hash_task_remove(void *state, uint64_t task_mask)
{
	const struct tcp_hash_state *s = state;
	bool gone;

	return sonde_object_task_remove(&s->object, s->skel->maps.sonde_targets, task_mask, &gone);
}

static int run_seed_pass(struct tcp_hash_state *s, enum sonde_hash_seed_pass pass)
{
	s->skel->bss->sonde_seed_pass = pass;
	return sonde_object_iterate(&s->object, SONDE_HASH_PROGRAM_SEED);
}

/* Where the last seeds met a listener and this one did not; those that we saw begin we see end. */
static void forget_listeners(const struct tcp_hash_state *s)
{
	int fd = bpf_map__fd(s->skel->maps.sonde_listeners), r;
	uint32_t turns = 2 * bpf_map__max_entries(s->skel->maps.sonde_listeners);
	struct sonde_hash_listener_key at, next;
	struct sonde_hash_listener l;

	r = bpf_map_get_next_key(fd, NULL, &next);
	for (uint32_t i = 0; i < turns && r == 0; i++) {
		at = next;
		r = bpf_map_get_next_key(fd, &at, &next); /* while it is there */
		if (bpf_map_lookup_elem(fd, &at, &l) == 0 && l.members == 0 &&
		    l.generation != s->skel->bss->sonde_seed_generation)
			(void)bpf_map_delete_elem(fd, &at);
	}
}

static int hash_seed(void *state, struct sonde_collect_timing *timing)
{
	struct tcp_hash_state *s = state;
	uint64_t start = sonde_mono_ns(), before = s->skel->bss->sonde_seeded;
	int r;

	if (!s->object.links[SONDE_HASH_PROGRAM_SEED])
		return 0; /* told in its PROBE record: only new connections are seen */
	r = s->object.config.raise(s->object.config.ctx,
				   SONDE_CAP(CAP_BPF) | SONDE_CAP(CAP_PERFMON));
	if (r < 0)
		return r;
	s->skel->bss->sonde_seed_generation++;
	r = run_seed_pass(s, SONDE_HASH_SEED_LEARN);
	if (r == 0) {
		forget_listeners(s);
		r = run_seed_pass(s, SONDE_HASH_SEED_ENTER);
	}
	sonde_object_drop(&s->object);
	if (timing) {
		timing->seed_ns += sonde_mono_ns() - start;
		timing->seeded_sockets += s->skel->bss->sonde_seeded - before;
	}
	return r;
}

const struct sonde_collector sonde_collector_tcp_hash = {
	.name = "tcp",
	.bit = SONDE_PROBE_COLLECT_TCP,
	.plan = hash_plan,
	.memory = hash_memory,
	.start = hash_start,
	.stop = hash_stop,
	.target_add = hash_target_add,
	.target_remove = hash_target_remove,
	.task_remove = hash_task_remove,
	.seed = hash_seed,
	.snapshot = tcp_hash_snapshot,
};
