/* SPDX-License-Identifier: Apache-2.0 */
/* The programs: what collect/object.h loads and attaches of them, and how the object is set up. */
#include <assert.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <time.h>

#include "base/log.h"
#include "collect/tcp/state.h"
#include "model/signal.h"
#include "tcp.skel.h"

#define CELLS_MAX 16384 /* 120 MB of kernel memory, most of it histograms */

/* The coarse clock's step is the kernel's tick. */
static uint32_t jiffy_us(void)
{
	struct timespec step;

	if (clock_getres(CLOCK_MONOTONIC_COARSE, &step) < 0 || step.tv_sec || step.tv_nsec < 1000)
		return 1000;
	return (uint32_t)((step.tv_nsec + 500) / 1000);
}

/* Sizes and settings; nothing is in the kernel yet. */
static int set_up(struct tcp_state *s, uint32_t pidns_inum)
{
	struct tcp_bpf *skel = s->skel;
	uint32_t cells = s->object.cell_limit + s->object.other_limit;
	int r = 0;

	skel->rodata->sonde_pidns_inum = pidns_inum;
	skel->rodata->sonde_jiffy_us = jiffy_us();
	skel->rodata->sonde_cell_limit = s->object.cell_limit;
	skel->rodata->sonde_other_limit = s->object.other_limit;
	r |= bpf_map__set_max_entries(skel->maps.sonde_targets, s->object.config.max_targets);
	r |= bpf_map__set_max_entries(skel->maps.sonde_index, cells);
	r |= bpf_map__set_max_entries(skel->maps.sonde_cells, cells);
	r |= bpf_map__set_max_entries(skel->maps.sonde_rtt, cells);
	r |= bpf_map__set_max_entries(skel->maps.sonde_sparse, cells * SONDE_TCP_SPARSE_KINDS);
	r |= tcp_flows_set_up(s);
	r |= tcp_calls_set_up(skel, cells);
	r |= bpf_map__set_max_entries(skel->maps.sonde_age, cells);
	return r ? -EINVAL : 0;
}

int tcp_open(const struct tcp_state *s, struct tcp_bpf **ret)
{
	struct bpf_object_open_opts opts;

	sonde_plan_open_opts(&s->object.config, &opts);
	*ret = tcp_bpf__open_opts(&opts);
	return *ret ? 0 : -errno;
}

static int open_skeleton(void *ctx, uint32_t pidns_inum, struct bpf_object_skeleton **ret)
{
	struct tcp_state *s = ctx;
	int r;

	tcp_bpf__destroy(TAKE_PTR(s->skel));
	r = tcp_open(s, &s->skel);
	if (r == 0)
		r = set_up(s, pidns_inum);
	if (r < 0)
		return r;
	*ret = s->skel->skeleton;
	return 0;
}

static void read_clock(void *ctx, uint64_t *ret_ns, uint64_t *ret_runs)
{
	const struct tcp_state *s = ctx;

	*ret_ns = s->skel->bss->sonde_clock_ns;
	*ret_runs = s->skel->bss->sonde_clock_runs;
}

static struct bpf_map *walked(void *ctx, uint32_t program)
{
	const struct tcp_state *s = ctx;

	return program == SONDE_TCP_PROGRAM_SNAPSHOT ? s->skel->maps.sonde_tags : NULL;
}

/* What finishes a tag stands before what makes one. */
static const uint32_t order[] = {
	SONDE_TCP_PROGRAM_SNAPSHOT,	  SONDE_TCP_PROGRAM_SEED,
	SONDE_TCP_PROGRAM_DESTROY,	  SONDE_TCP_PROGRAM_EXIT,
	SONDE_TCP_PROGRAM_FORK,		  SONDE_TCP_PROGRAM_SOCKOPS,
	SONDE_TCP_PROGRAM_FEXIT_SENDPAGE, SONDE_TCP_PROGRAM_FEXIT_SEND,
	SONDE_TCP_PROGRAM_FEXIT_RECV,	  SONDE_TCP_PROGRAM_OWNER_SEND,
	SONDE_TCP_PROGRAM_OWNER_RECV,	  SONDE_TCP_PROGRAM_SEND,
	SONDE_TCP_PROGRAM_RECV,		  SONDE_TCP_PROGRAM_RETRANSMIT,
	SONDE_TCP_PROGRAM_SYNACK,	  SONDE_TCP_PROGRAM_RESET_SENT,
	SONDE_TCP_PROGRAM_RESET_RECEIVED, SONDE_TCP_PROGRAM_DROP,
	SONDE_TCP_PROGRAM_DROP_SKB,	  SONDE_TCP_PROGRAM_RESET_PLAIN,
	SONDE_TCP_PROGRAM_ERROR,	  SONDE_TCP_PROGRAM_STATE,
};

static bool asks(uint32_t signals, uint32_t bit)
{
	return signals == 0 || signals & bit;
}

static void on_loaded(void *ctx)
{
	const struct tcp_state *s = ctx;

	s->skel->bss->sonde_rtt_unasked =
		!asks(s->object.config.signals, SONDE_SIGNAL_BIT(SONDE_SIGNAL_RTT));
}

int tcp_programs_init(struct tcp_state *s, const struct sonde_collect_config *config)
{
	return sonde_object_init(&s->object, tcp_plan_table(), config,
				 (struct sonde_object_loader){.open = open_skeleton,
							      .loaded = on_loaded,
							      .read_clock = read_clock,
							      .walked = walked,
							      .cells_max = CELLS_MAX,
							      .ctx = s});
}

/* tcp_probe costs every socket of the machine: attached when a tagged one needs it. */
static int attach_probe(struct tcp_state *s)
{
	static const uint32_t probe = SONDE_TCP_PROGRAM_PROBE;
	int r;

	if (s->object.links[probe] || !sonde_object_wants(&s->object, probe))
		return 0;
	r = sonde_object_attach(&s->object, &probe, 1);
	s->skel->bss->sonde_probe_attached = s->object.links[probe] != NULL;
	return r;
}

int tcp_programs_start(struct tcp_state *s, struct sonde_collect_timing *timing)
{
	int r;

	r = sonde_object_start(&s->object, order, ELEMENTS_OF(order), timing);
	/* Without sockops every connection's RTT comes from tcp_probe. */
	if (r == 0 && !s->object.links[SONDE_TCP_PROGRAM_SOCKOPS])
		r = attach_probe(s);
	return r;
}

/*
 * Of what begins here, the sockets that are tagged have counted nothing, or have it from before: each begins now. Behind
 * the hooks, so that nothing is between the two. CAP_BPF is raised.
 */
static int settle(struct tcp_state *s, uint32_t begun)
{
	int r;

	s->skel->bss->sonde_settling = begun;
	s->skel->bss->sonde_snapshot_mode = SONDE_TCP_SNAPSHOT_SETTLE;
	r = sonde_object_iterate(&s->object, SONDE_TCP_PROGRAM_SNAPSHOT);
	s->skel->bss->sonde_snapshot_mode = SONDE_TCP_SNAPSHOT_FOLD;
	return r;
}

static int attach_signals(struct tcp_state *s, uint32_t signals)
{
	static const uint32_t probe = SONDE_TCP_PROGRAM_PROBE;
	const uint32_t rtt = SONDE_SIGNAL_BIT(SONDE_SIGNAL_RTT);
	int r;

	s->skel->bss->sonde_rtt_unasked = !asks(signals, rtt);
	r = sonde_object_set_signals(&s->object, signals, order, ELEMENTS_OF(order));
	if (r < 0)
		return r;
	if (!asks(signals, rtt)) {
		sonde_object_detach(&s->object, &probe, 1);
		s->skel->bss->sonde_probe_attached = false;
	} else if (!s->object.links[SONDE_TCP_PROGRAM_SOCKOPS]) {
		s->skel->bss->sonde_probe_wanted = true;
	}
	return 0;
}

static int set_signals(struct tcp_state *s, uint32_t before, uint32_t signals)
{
	const uint32_t rtt = SONDE_SIGNAL_BIT(SONDE_SIGNAL_RTT),
		       retransmit = SONDE_SIGNAL_BIT(SONDE_SIGNAL_RETRANSMIT);
	uint32_t begun = 0;
	int r;

	begun |= asks(signals, rtt) && !asks(before, rtt) ? SONDE_TCP_SETTLE_RTT : 0;
	begun |= asks(signals, retransmit) && !asks(before, retransmit)
			 ? SONDE_TCP_SETTLE_RETRANSMIT
			 : 0;
	r = attach_signals(s, signals);
	if (r < 0)
		return r;
	if (begun) {
		r = sonde_object_raise(&s->object);
		if (r < 0)
			return r;
		r = settle(s, begun);
		sonde_object_drop(&s->object);
	}
	return r < 0 ? r : tcp_programs_attach_wanted(s);
}

int tcp_programs_set_signals(struct tcp_state *s, uint32_t signals)
{
	const uint32_t before = s->object.config.signals;
	int r, undone;

	r = set_signals(s, before, signals);
	if (r == 0)
		return 0;
	/* What has not begun at a base is not asked for: a later call with the same signals begins anew. */
	undone = attach_signals(s, before);
	if (undone < 0)
		sonde_log_warn(undone, "cannot take back the signals 0x%x", signals);
	return r;
}

int tcp_programs_attach_wanted(struct tcp_state *s)
{
	return s->skel->bss->sonde_probe_wanted ? attach_probe(s) : 0;
}
