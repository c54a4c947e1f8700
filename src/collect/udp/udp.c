/* SPDX-License-Identifier: Apache-2.0 */
/* The UDP collector's descriptor: start, plan, stop, targets. */
#include <assert.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/capability.h>

#include "base/clock.h"
#include "collect/udp/state.h"
#include "host/privilege.h"
#include "udp.skel.h"

#define CELLS_MAX 16384 /* 6 MB of kernel memory */

static void *udp_stop(void *state, struct sonde_collect_timing *timing)
{
	struct udp_state *s = state;
	uint64_t start = sonde_mono_ns();

	if (!s)
		return NULL;
	sonde_object_done(&s->object);
	sonde_table_done(&s->cells);
	udp_bpf__destroy(s->skel);
	sonde_told_done(&s->told);
	free(s);
	if (timing)
		timing->detach_ns += sonde_mono_ns() - start;
	return NULL;
}

static void udp_stopp(struct udp_state **s)
{
	(void)udp_stop(*s, NULL);
}

static int open_skeleton(void *ctx, uint32_t pidns_inum, struct bpf_object_skeleton **ret)
{
	struct udp_state *s = ctx;
	uint32_t cells = s->object.cell_limit + s->object.other_limit;
	struct bpf_object_open_opts opts;
	int r = 0;

	udp_bpf__destroy(TAKE_PTR(s->skel));
	sonde_plan_open_opts(&s->object.config, &opts);
	s->skel = udp_bpf__open_opts(&opts);
	if (!s->skel)
		return -errno;
	s->skel->rodata->sonde_pidns_inum = pidns_inum;
	s->skel->rodata->sonde_cell_limit = s->object.cell_limit;
	s->skel->rodata->sonde_send_counts =
		sonde_plan_wants(&s->object.plan, SONDE_UDP_PROGRAM_SEND);
	s->skel->rodata->sonde_recv_counts =
		sonde_plan_wants(&s->object.plan, SONDE_UDP_PROGRAM_RECV);
	s->skel->rodata->sonde_other_limit = s->object.other_limit;
	r |= bpf_map__set_max_entries(s->skel->maps.sonde_targets, s->object.config.max_targets);
	r |= bpf_map__set_max_entries(s->skel->maps.sonde_index, cells);
	r |= bpf_map__set_max_entries(s->skel->maps.sonde_cells, cells);
	if (r == 0)
		r = udp_flows_set_up(s);
	if (r)
		return -EINVAL;
	*ret = s->skel->skeleton;
	return 0;
}

static void read_clock(void *ctx, uint64_t *ret_ns, uint64_t *ret_runs)
{
	const struct udp_state *s = ctx;

	*ret_ns = s->skel->bss->sonde_clock_ns;
	*ret_runs = s->skel->bss->sonde_clock_runs;
}

/* Everything before the kernel is asked to change. @forced: options that are planned for, whoever asks later. */
static int new_state(const struct sonde_collect_config *config, uint32_t forced,
		     struct udp_state **ret)
{
	_cleanup_(udp_stopp) struct udp_state *s = calloc(1, sizeof(*s));
	struct sonde_collect_config planned = *config;
	int r;

	if (!s)
		return -ENOMEM;
	planned.options |= forced;
	s->told.entry_bytes = sizeof(struct udp_told);
	r = sonde_object_init(&s->object, udp_plan_table(), &planned,
			      (struct sonde_object_loader){.open = open_skeleton,
							   .read_clock = read_clock,
							   .cells_max = CELLS_MAX,
							   .ctx = s});
	if (r < 0)
		return r;
	*ret = TAKE_PTR(s);
	return 0;
}

/* Loaded are the programs of every option; the records say what is asked for now. */
static int tell(struct udp_state *s, bool timed, struct sonde_collect_sink sink)
{
	uint32_t loaded = s->object.plan.options;
	int r;

	if (!timed)
		s->object.plan.options &= ~SONDE_PROBE_OPTION_EXECUTION_TIME;
	r = sonde_plan_tell(&s->object.plan, sink);
	s->object.plan.options = loaded;
	return r;
}

/* What knows a call's other end and its process stands before what counts it. */
static const uint32_t order[] = {
	SONDE_UDP_PROGRAM_EXIT,	   SONDE_UDP_PROGRAM_FORK,    SONDE_UDP_PROGRAM_SEED,
	SONDE_UDP_PROGRAM_RELEASE, SONDE_UDP_PROGRAM_BIND4,   SONDE_UDP_PROGRAM_BIND6,
	SONDE_UDP_PROGRAM_TAKEN,   SONDE_UDP_PROGRAM_SENT4,   SONDE_UDP_PROGRAM_SENT6,
	SONDE_UDP_PROGRAM_READ4,   SONDE_UDP_PROGRAM_READ6,   SONDE_UDP_PROGRAM_TO4,
	SONDE_UDP_PROGRAM_TO6,	   SONDE_UDP_PROGRAM_FROM4,   SONDE_UDP_PROGRAM_FROM6,
	SONDE_UDP_PROGRAM_FAIL,	   SONDE_UDP_PROGRAM_FAIL_SK, SONDE_UDP_PROGRAM_RECV,
	SONDE_UDP_PROGRAM_SEND,
};

static int udp_start(const struct sonde_collect_config *config, struct sonde_collect_sink sink,
		     struct sonde_collect_timing *timing, void **ret_state)
{
	_cleanup_(udp_stopp) struct udp_state *s = NULL;
	uint64_t start = sonde_mono_ns();
	int r;

	assert(config && ret_state);

	r = new_state(config, SONDE_PROBE_OPTION_EXECUTION_TIME, &s);
	if (r < 0)
		return r;
	if (timing)
		timing->open_ns += sonde_mono_ns() - start;
	r = sonde_object_start(&s->object, order, ELEMENTS_OF(order), timing);
	if (r < 0)
		return r;
	s->skel->bss->sonde_ends_kept = s->object.links[SONDE_UDP_PROGRAM_RELEASE] != NULL;
	sonde_table_init(&s->cells, bpf_map__fd(s->skel->maps.sonde_cells),
			 sizeof(struct sonde_udp_slot),
			 (size_t)s->object.cell_limit + s->object.other_limit);
	r = tell(s, false, sink);
	if (r < 0)
		return r;
	*ret_state = TAKE_PTR(s);
	return 0;
}

static int udp_plan(const struct sonde_collect_config *config, struct sonde_collect_sink sink)
{
	_cleanup_(udp_stopp) struct udp_state *s = NULL;
	int r;

	assert(config);

	r = new_state(config, 0, &s);
	return r < 0 ? r : sonde_object_tell_plan(&s->object, sink);
}

static int udp_memory(const struct sonde_collect_config *config, struct sonde_collect_memory *sum)
{
	_cleanup_(udp_stopp) struct udp_state *s = NULL;
	int r;

	assert(config && sum);

	r = new_state(config, 0, &s);
	return r < 0 ? r : sonde_object_memory(&s->object, sum);
}

static int udp_target_add(void *state, uint32_t pid, uint64_t task_mask)
{
	const struct udp_state *s = state;

	return sonde_object_target_add(&s->object, s->skel->maps.sonde_targets, pid, task_mask);
}

/* Calls were counted when they returned, so there is nothing to fold; tags of others are not looked at. */
static int udp_target_remove(void *state, uint32_t pid, uint64_t task_mask)
{
	const struct udp_state *s = state;
	bool gone;

	return sonde_object_target_remove(&s->object, s->skel->maps.sonde_targets, pid, task_mask,
					  &gone);
}

static int udp_task_remove(void *state, uint64_t task_mask)
{
	const struct udp_state *s = state;
	bool gone;

	return sonde_object_task_remove(&s->object, s->skel->maps.sonde_targets, task_mask, &gone);
}

static int udp_seed(void *state, struct sonde_collect_timing *timing)
{
	struct udp_state *s = state;
	uint64_t start = sonde_mono_ns(), before = s->skel->bss->sonde_seeded;
	int r;

	if (!s->object.links[SONDE_UDP_PROGRAM_SEED])
		return 0; /* told in its PROBE record: sockets are met at their first call */
	r = s->object.config.raise(s->object.config.ctx,
				   SONDE_CAP(CAP_BPF) | SONDE_CAP(CAP_PERFMON));
	if (r < 0)
		return r;
	r = sonde_object_iterate(&s->object, SONDE_UDP_PROGRAM_SEED);
	sonde_object_drop(&s->object);
	if (timing) {
		timing->seed_ns += sonde_mono_ns() - start;
		timing->seeded_sockets += s->skel->bss->sonde_seeded - before;
	}
	return r;
}

static const uint32_t timing_programs[] = {
	SONDE_UDP_PROGRAM_ENTER_SEND4, SONDE_UDP_PROGRAM_ENTER_SEND6, SONDE_UDP_PROGRAM_ENTER_READ4,
	SONDE_UDP_PROGRAM_ENTER_READ6, SONDE_UDP_PROGRAM_SYSCALL,
};

static void end_timing(struct udp_state *s)
{
	s->skel->bss->sonde_timed_since_ns = 0;
	sonde_object_detach(&s->object, timing_programs, ELEMENTS_OF(timing_programs));
}

/* What the plan has chosen is attached, and nothing else. */
static bool is_timing(const struct udp_state *s)
{
	bool any = false;

	for (size_t i = 0; i < ELEMENTS_OF(timing_programs); i++) {
		bool linked = s->object.links[timing_programs[i]] != NULL;

		if (linked != sonde_plan_wants(&s->object.plan, timing_programs[i]))
			return false;
		any |= linked;
	}
	return any;
}

/* Loaded from the start, as a later task may ask; attached while one does. All of an alternative, or nothing. */
static int udp_set_options(void *state, uint32_t options, struct sonde_collect_sink sink)
{
	struct udp_state *s = state;
	bool wanted = options & SONDE_PROBE_OPTION_EXECUTION_TIME;
	int r;

	if (wanted == (s->skel->bss->sonde_timed_since_ns != 0))
		return 0;
	if (!wanted) {
		end_timing(s);
		return tell(s, false, sink);
	}
	s->skel->bss->sonde_timed_since_ns = sonde_mono_ns();
	r = sonde_object_attach(&s->object, timing_programs, ELEMENTS_OF(timing_programs));
	if (r < 0 || !is_timing(s))
		end_timing(s);
	return r < 0 ? r : tell(s, true, sink);
}

/* Counters of events alone: what begins has no base to be set. */
static int udp_set_signals(void *state, uint32_t signals, struct sonde_collect_sink sink)
{
	struct udp_state *s = state;
	int r;

	if (signals == s->object.config.signals)
		return 0;
	r = sonde_object_set_signals(&s->object, signals, order, ELEMENTS_OF(order));
	return r < 0 ? r : tell(s, s->skel->bss->sonde_timed_since_ns != 0, sink);
}

const struct sonde_collector sonde_collector_udp = {
	.name = "udp",
	.bit = SONDE_PROBE_COLLECT_UDP,
	.plan = udp_plan,
	.memory = udp_memory,
	.start = udp_start,
	.stop = udp_stop,
	.target_add = udp_target_add,
	.target_remove = udp_target_remove,
	.task_remove = udp_task_remove,
	.set_options = udp_set_options,
	.set_signals = udp_set_signals,
	.seed = udp_seed,
	.snapshot = udp_snapshot,
};
