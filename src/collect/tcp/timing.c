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

static bool wants(const struct tcp_state *s, uint32_t program)
{
	return TCP_TIMING_PROGRAMS & SONDE_PLAN_BIT(program) &&
	       sonde_plan_wants(&s->timing_plan, program);
}

static bool wants_any(const struct tcp_state *s)
{
	for (uint32_t i = 0; i < SONDE_TCP_PROGRAM_MAX; i++) {
		if (wants(s, i))
			return true;
	}
	return false;
}

/* Every map is the first object's, its settings with them. */
static int share_maps(struct tcp_state *s)
{
	struct bpf_map *from, *to;

	bpf_object__for_each_map (from, s->skel->obj) {
		int r;

		to = bpf_object__find_map_by_name(s->timing->obj, bpf_map__name(from));
		if (!to)
			return -ENOENT;
		r = bpf_map__reuse_fd(to, bpf_map__fd(from));
		if (r < 0)
			return r;
	}
	return 0;
}

static int choose_programs(struct tcp_state *s)
{
	struct bpf_program *p;
	int r = 0;

	bpf_object__for_each_program (p, s->timing->obj)
		r |= bpf_program__set_autoload(p, false);
	for (uint32_t i = 0; i < SONDE_TCP_PROGRAM_MAX; i++) {
		if (!wants(s, i))
			continue;
		p = bpf_object__find_program_by_name(s->timing->obj,
						     tcp_plan_table()->programs[i].function);
		r |= bpf_program__set_autoload(p, true);
	}
	return r ? -EINVAL : 0;
}

static int load_once(void *ctx)
{
	struct tcp_state *s = ctx;
	int r;

	tcp_bpf__destroy(TAKE_PTR(s->timing));
	s->timing = tcp_open(s);
	if (!s->timing)
		return -errno;
	r = s->config.raise(s->config.ctx, TCP_CAP_BPF | TCP_CAP_PERFMON);
	if (r < 0)
		return r;
	r = share_maps(s);
	if (r == 0)
		r = choose_programs(s);
	if (r == 0)
		r = tcp_bpf__load(s->timing);
	s->config.drop(s->config.ctx);
	return r;
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

	if (!s->timing || !s->links[SONDE_TCP_PROGRAM_THREADS])
		return 0;
	/* Twice: a thread may be made by one that is itself met only later. */
	r = tcp_programs_run_iterator(s, SONDE_TCP_PROGRAM_THREADS);
	return r < 0 ? r : tcp_programs_run_iterator(s, SONDE_TCP_PROGRAM_THREADS);
}

/* CAP_BPF is raised. */
static void detach(struct tcp_state *s)
{
	int r;

	s->skel->bss->sonde_timing = 0;
	tcp_programs_keep_skipped(s);
	for (uint32_t i = 0; i < SONDE_TCP_PROGRAM_MAX; i++) {
		if (i != SONDE_TCP_PROGRAM_THREADS && TCP_TIMING_PROGRAMS & SONDE_PLAN_BIT(i))
			(void)bpf_link__destroy(TAKE_PTR(s->links[i]));
	}
	r = tcp_timing_threads(s); /* takes the storage off */
	if (r < 0)
		sonde_log_debug("threads keep their storage until they end: %s", strerror(-r));
	(void)bpf_link__destroy(TAKE_PTR(s->links[SONDE_TCP_PROGRAM_THREADS]));
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
	const struct sonde_plan *plan = &s->timing_plan;
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

/* Return: 0, 1 = it was refused, and the plan says what serves instead, -errno. */
static int attach_one(struct tcp_state *s, uint32_t program)
{
	int r;

	if (!wants(s, program))
		return 0;
	r = tcp_programs_attach_timing(s, program);
	if (r < 0) {
		r = sonde_plan_refuse(&s->timing_plan, program,
				      "the kernel refused to attach it: %s", strerror(-r));
		return r < 0 ? r : 1;
	}
	s->timing_plan.attached |= SONDE_PLAN_BIT(program);
	return 0;
}

/* Return: as attach_one(). */
static int attach_wanted(struct tcp_state *s)
{
	/* What ends a call before what begins it; what goes through all threads once all others know of them. */
	static const uint32_t first[] = {SONDE_TCP_PROGRAM_SWITCH, SONDE_TCP_PROGRAM_SYS_EXIT};
	static const uint32_t last[] = {SONDE_TCP_PROGRAM_THREADS, SONDE_TCP_PROGRAM_SYS_ENTER};
	int r = 0;

	forget_waiting(s);
	s->skel->bss->sonde_timing = timing_of(s);
	for (size_t i = 0; i < ELEMENTS_OF(first) && r == 0; i++)
		r = attach_one(s, first[i]);
	for (uint32_t i = 0; i < SONDE_TCP_PROGRAM_MAX && r == 0; i++) {
		if (TCP_FUNCTION_PROGRAMS & SONDE_PLAN_BIT(i))
			r = attach_one(s, i);
	}
	for (size_t i = 0; i < ELEMENTS_OF(last) && r == 0; i++)
		r = attach_one(s, last[i]);
	return r == 0 ? tcp_timing_threads(s) : r;
}

static int load_and_attach(struct tcp_state *s)
{
	int r = 1;

	/* Each turn one more program is refused. */
	for (uint32_t i = 0; i < SONDE_TCP_PROGRAM_MAX && r == 1 && wants_any(s); i++) {
		r = sonde_plan_load(&s->timing_plan, load_once, NULL, s);
		if (r < 0)
			return r;
		r = s->config.raise(s->config.ctx, TCP_CAP_BPF | TCP_CAP_PERFMON);
		if (r < 0)
			return r;
		tcp_programs_note(s, s->timing);
		r = attach_wanted(s);
		if (r != 0)
			detach(s);
		s->config.drop(s->config.ctx);
	}
	return r < 0 ? r : 0;
}

/* What the options find missing they do without; what is wrong beside that is the log's. */
static int start(struct tcp_state *s)
{
	struct sonde_collect_config config = s->config;
	uint64_t bare_ns_x1000;
	int r;

	config.options |= SONDE_PROBE_OPTION_EXECUTION_TIME;
	r = sonde_plan_init(&s->timing_plan, tcp_plan_table(), &config);
	if (r < 0)
		return r;
	bare_ns_x1000 = sonde_calibrate_syscall();
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
	if (s->timing && s->links[SONDE_TCP_PROGRAM_THREADS] &&
	    s->config.raise(s->config.ctx, TCP_CAP_BPF) == 0) {
		detach(s);
		s->config.drop(s->config.ctx);
	}
	tcp_bpf__destroy(TAKE_PTR(s->timing));
	sonde_plan_done(&s->timing_plan);
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

int tcp_set_options(void *state, uint32_t options, struct sonde_collect_sink sink)
{
	struct tcp_state *s = state;
	struct measured_sink measured = {.to = sink};
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
	measured.syscall_ns_x1000 = s->timing ? s->syscall_ns_x1000 : 0;
	return sonde_plan_tell(wanted ? &s->timing_plan : &s->plan,
			       (struct sonde_collect_sink){emit_measured, &measured});
}
