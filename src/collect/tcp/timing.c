/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The option execution time: programs that cost every system call of the machine, so they are loaded and attached
 * while a task asks for them and no longer. They are the same object opened once more over the maps of the first.
 */
#include <assert.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "collect/calibrate.h"
#include "collect/tcp/state.h"
#include "tcp.skel.h"

/* What ends a call before what begins it; what goes through all threads once all others know of them. */
static const uint32_t programs[] = {
	SONDE_TCP_PROGRAM_SWITCH,	   SONDE_TCP_PROGRAM_SYS_EXIT,
	SONDE_TCP_PROGRAM_FENTRY_SEND,	   SONDE_TCP_PROGRAM_FENTRY_RECV,
	SONDE_TCP_PROGRAM_FENTRY_SENDPAGE, SONDE_TCP_PROGRAM_FENTRY_CLOSE,
	SONDE_TCP_PROGRAM_FEXIT_CLOSE,	   SONDE_TCP_PROGRAM_FEXIT_ACCEPT,
	SONDE_TCP_PROGRAM_FEXIT_ACCEPT_4,  SONDE_TCP_PROGRAM_FENTRY_CONNECT4,
	SONDE_TCP_PROGRAM_FEXIT_CONNECT4,  SONDE_TCP_PROGRAM_FENTRY_CONNECT6,
	SONDE_TCP_PROGRAM_FEXIT_CONNECT6,  SONDE_TCP_PROGRAM_KPROBE_SEND,
	SONDE_TCP_PROGRAM_KPROBE_RECV,	   SONDE_TCP_PROGRAM_KPROBE_CLOSE,
	SONDE_TCP_PROGRAM_KRETPROBE_CLOSE, SONDE_TCP_PROGRAM_KRETPROBE_ACCEPT,
	SONDE_TCP_PROGRAM_KPROBE_CONNECT4, SONDE_TCP_PROGRAM_KRETPROBE_CONNECT4,
	SONDE_TCP_PROGRAM_KPROBE_CONNECT6, SONDE_TCP_PROGRAM_KRETPROBE_CONNECT6,
	SONDE_TCP_PROGRAM_THREADS,	   SONDE_TCP_PROGRAM_SYS_ENTER,
};

static uint64_t program_mask(void)
{
	uint64_t mask = 0;

	for (size_t i = 0; i < ELEMENTS_OF(programs); i++)
		mask |= SONDE_PLAN_BIT(programs[i]);
	return mask;
}

/* Every map is the first object's, its settings with them. */
static int share_maps(void *ctx)
{
	const struct tcp_state *s = ctx;
	struct bpf_map *from, *to;

	bpf_object__for_each_map (from, s->skel->obj) {
		int r;

		to = bpf_object__find_map_by_name(s->timing_skel->obj, bpf_map__name(from));
		if (!to)
			return -ENOENT;
		r = bpf_map__reuse_fd(to, bpf_map__fd(from));
		if (r < 0)
			return r;
	}
	return 0;
}

/* What they have skipped so far is kept. */
static void unload(struct tcp_state *s)
{
	if (!s->timing_skel)
		return;
	s->skel->bss->sonde_timing = 0;
	if (sonde_object_raise(&s->timing) == 0) {
		s->timing_skipped += sonde_object_skipped_runs(&s->timing);
		sonde_object_drop(&s->timing);
	}
	s->timing.bpf = NULL;
	tcp_bpf__destroy(TAKE_PTR(s->timing_skel));
}

static int open_skeleton(void *ctx, uint32_t pidns_inum, struct bpf_object_skeleton **ret)
{
	struct tcp_state *s = ctx;
	int r;

	unload(s);
	r = tcp_open(s, &s->timing_skel);
	if (r < 0)
		return r;
	*ret = s->timing_skel->skeleton;
	return 0;
}

/* Times of an earlier run of the option: their sockets' addresses may be others' by now. */
static void forget_waiting(struct tcp_state *s)
{
	int fd = bpf_map__fd(s->skel->maps.sonde_waiting);
	uint64_t key;

	while (bpf_map_get_next_key(fd, NULL, &key) == 0) {
		if (bpf_map_delete_elem(fd, &key) < 0 && errno != ENOENT)
			return;
	}
}

int tcp_timing_threads(struct tcp_state *s)
{
	int r;

	if (!s->timing.links[SONDE_TCP_PROGRAM_THREADS])
		return 0;
	/* Twice: a thread may be made by one that is itself met only later. */
	r = sonde_object_iterate(&s->timing, SONDE_TCP_PROGRAM_THREADS);
	return r < 0 ? r : sonde_object_iterate(&s->timing, SONDE_TCP_PROGRAM_THREADS);
}

/* CAP_BPF is raised. */
static void detach(struct tcp_state *s)
{
	static const uint32_t threads = SONDE_TCP_PROGRAM_THREADS;
	int r;

	s->skel->bss->sonde_timing = 0;
	for (size_t i = 0; i < ELEMENTS_OF(programs); i++) {
		if (programs[i] != threads)
			sonde_object_detach(&s->timing, &programs[i], 1);
	}
	r = tcp_timing_threads(s); /* takes the storage off */
	if (r < 0)
		sonde_log_debug("threads keep their storage until they end: %s", strerror(-r));
	sonde_object_detach(&s->timing, &threads, 1);
}

/* SONDE_TCP_TIMING_*: what is left to the programs on system calls. */
static uint32_t timing_of(const struct tcp_state *s)
{
	static const struct {
		const char *metrics;
		uint32_t bit;
	} bits[] = {
		{SONDE_PROBE_METRICS_CALL_TIME, SONDE_TCP_TIMING_CALLS},
		{SONDE_PROBE_METRICS_ACCEPT, SONDE_TCP_TIMING_ACCEPT},
		{SONDE_PROBE_METRICS_LOCAL_CONNECT, SONDE_TCP_TIMING_CONNECT},
		{SONDE_PROBE_METRICS_CLOSE_TIME, SONDE_TCP_TIMING_CLOSE},
	};
	const struct sonde_plan *plan = &s->timing.plan;
	uint32_t timing = SONDE_TCP_TIMING_ON;

	for (size_t i = 0; i < plan->table->n_metrics; i++) {
		const struct sonde_plan_metric *m = &plan->table->metrics[i];

		if (plan->chosen[i] < 0 || !(m->alternatives[plan->chosen[i]].programs &
					     SONDE_PLAN_BIT(SONDE_TCP_PROGRAM_SYS_EXIT)))
			continue;
		for (size_t k = 0; k < ELEMENTS_OF(bits); k++) {
			if (strcmp(bits[k].metrics, m->metrics) == 0)
				timing |= bits[k].bit;
		}
	}
	return timing;
}

/* Nothing that was chosen is attached yet. */
static void on_loaded(void *ctx)
{
	struct tcp_state *s = ctx;

	forget_waiting(s);
	s->skel->bss->sonde_timing = timing_of(s);
}

static int load_and_attach(struct tcp_state *s)
{
	int r;

	r = sonde_object_start(&s->timing, programs, ELEMENTS_OF(programs), NULL);
	if (r == 0)
		r = sonde_object_raise(&s->timing);
	if (r < 0)
		return r;
	s->skel->bss->sonde_timing = timing_of(s); /* what was refused meanwhile is not in it */
	r = tcp_timing_threads(s);
	sonde_object_drop(&s->timing);
	return r;
}

/* What the options find missing they do without; what is wrong beside that is the log's. */
static int start(struct tcp_state *s)
{
	struct sonde_collect_config config = s->object.config;
	uint64_t bare_ns_x1000;
	int r;

	config.options |= SONDE_PROBE_OPTION_EXECUTION_TIME;
	r = sonde_object_init(&s->timing, tcp_plan_table(), &config,
			      (struct sonde_object_loader){.open = open_skeleton,
							   .loading = share_maps,
							   .loaded = on_loaded,
							   .cells_max = s->object.cell_limit,
							   .shares_maps = true,
							   .ctx = s});
	if (r < 0)
		return r;
	s->timing.programs = program_mask();
	s->timing.uncalibrated = true; /* the first object's stand for these, too */
	bare_ns_x1000 = sonde_calibrate_syscall();
	if (s->timing.plan.wanted & s->timing.programs)
		r = load_and_attach(s);
	if (r < 0) {
		tcp_timing_stop(s);
		return r;
	}
	s->timing_asked = true;
	s->syscall_ns_x1000 = sonde_calibrate_syscall();
	s->syscall_ns_x1000 -=
		s->syscall_ns_x1000 < bare_ns_x1000 ? s->syscall_ns_x1000 : bare_ns_x1000;
	return 0;
}

void tcp_timing_stop(struct tcp_state *s)
{
	if (s->timing_skel && sonde_object_raise(&s->timing) == 0) {
		detach(s);
		sonde_object_drop(&s->timing);
	}
	unload(s);
	sonde_object_done(&s->timing);
	s->timing = (struct sonde_object){0};
	s->timing_asked = false;
}

/* The records of the programs that cost every system call carry what that was measured to be here. */
struct measured_sink {
	struct sonde_collect_sink to;
	uint64_t syscall_ns_x1000;
};

static int emit_measured(void *ctx, struct sonde_probe_reply *reply)
{
	const struct measured_sink *m = ctx;

	if (m->syscall_ns_x1000 > 0 && reply->probe.state == SONDE_PROBE_ATTACHED &&
	    strstr(reply->probe.name, "sys_enter")) {
		reply->probe.other_ns = (uint32_t)(m->syscall_ns_x1000 / 1000);
		(void)snprintf(reply->probe.reason, sizeof(reply->probe.reason),
			       "costs each system call of the machine up to about %u ns",
			       reply->probe.other_ns);
	}
	return m->to.emit(m->to.ctx, reply);
}

static int tell(const struct tcp_state *s, struct sonde_collect_sink sink)
{
	struct measured_sink measured = {
		.to = sink,
		.syscall_ns_x1000 = s->timing_skel ? s->syscall_ns_x1000 : 0,
	};

	return sonde_plan_tell(s->timing_asked ? &s->timing.plan : &s->object.plan,
			       (struct sonde_collect_sink){emit_measured, &measured});
}

int tcp_set_signals(void *state, uint32_t signals, struct sonde_collect_sink sink)
{
	struct tcp_state *s = state;
	int r;

	assert(s);

	if (signals == s->object.config.signals)
		return 0;
	r = tcp_programs_set_signals(s, signals);
	if (r < 0)
		return r;
	s->timing.plan.signals = signals;
	return tell(s, sink);
}

int tcp_set_options(void *state, uint32_t options, struct sonde_collect_sink sink)
{
	struct tcp_state *s = state;
	bool wanted = options & SONDE_PROBE_OPTION_EXECUTION_TIME;
	int r = 0;

	assert(s);

	if (wanted == s->timing_asked)
		return 0;
	if (wanted)
		r = start(s);
	else
		tcp_timing_stop(s);
	if (r < 0)
		return r;
	return tell(s, sink);
}
