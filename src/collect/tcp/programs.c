/* SPDX-License-Identifier: Apache-2.0 */
/* The programs: loading and attaching what the plan chose. */
#include <assert.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/clock.h"
#include "collect/tcp/state.h"
#include "tcp.skel.h"

static struct bpf_program *find_in(const struct tcp_bpf *skel, uint32_t program)
{
	return bpf_object__find_program_by_name(skel->obj,
						tcp_plan_table()->programs[program].function);
}

static struct bpf_program *find_program(const struct tcp_state *s, uint32_t program)
{
	return find_in(TCP_TIMING_PROGRAMS & SONDE_PLAN_BIT(program) ? s->timing : s->skel,
		       program);
}

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
	uint32_t cells = s->cell_limit + s->other_limit;
	int r = 0;

	skel->rodata->sonde_pidns_inum = pidns_inum;
	skel->rodata->sonde_jiffy_us = jiffy_us();
	skel->rodata->sonde_cell_limit = s->cell_limit;
	skel->rodata->sonde_other_limit = s->other_limit;
	r |= bpf_map__set_max_entries(skel->maps.sonde_targets, s->config.max_targets);
	r |= bpf_map__set_max_entries(skel->maps.sonde_index, cells);
	r |= bpf_map__set_max_entries(skel->maps.sonde_cells, cells);
	r |= bpf_map__set_max_entries(skel->maps.sonde_rtt, cells);
	r |= bpf_map__set_max_entries(skel->maps.sonde_handshake, cells);
	r |= tcp_flows_set_up(s);
	r |= tcp_calls_set_up(skel, cells);
	r |= bpf_map__set_max_entries(skel->maps.sonde_age, cells);
	for (uint32_t i = 0; i < SONDE_TCP_PROGRAM_MAX; i++)
		r |= bpf_program__set_autoload(find_in(skel, i), sonde_plan_wants(&s->plan, i));
	r |= bpf_program__set_autoload(skel->progs.sonde_empty, !s->uncalibrated);
	r |= bpf_program__set_autoload(skel->progs.sonde_clock, !s->uncalibrated);
	/* The skeleton attaches nothing by itself: links are made one by one, so that one may fail. */
	return r ? -EINVAL : 0;
}

/* The programs that only measure what ours cost. */
static int leave_out_calibration(void *ctx, const char *function)
{
	struct tcp_state *s = ctx;

	if (s->uncalibrated ||
	    (strcmp(function, "sonde_empty") != 0 && strcmp(function, "sonde_clock") != 0))
		return -EINVAL;
	s->uncalibrated = true;
	return 0;
}

static int raise_for_programs(struct tcp_state *s)
{
	return s->config.raise(s->config.ctx,
			       TCP_CAP_BPF | TCP_CAP_PERFMON | sonde_plan_caps(&s->plan));
}

struct tcp_bpf *tcp_open(const struct tcp_state *s)
{
	struct bpf_object_open_opts opts;

	sonde_plan_open_opts(&s->config, &opts);
	return tcp_bpf__open_opts(&opts);
}

int tcp_programs_memory(struct tcp_state *s, struct sonde_collect_memory *sum)
{
	int r;

	s->skel = tcp_open(s);
	if (!s->skel)
		return -errno;
	r = set_up(s, 0);
	return r < 0 ? r : sonde_plan_memory(s->skel->obj, sum);
}

static int load_once(void *ctx)
{
	struct tcp_state *s = ctx;
	struct stat st;
	int r;

	if (stat("/proc/self/ns/pid", &st) < 0)
		return -errno;
	tcp_bpf__destroy(TAKE_PTR(s->skel));
	s->skel = tcp_open(s);
	if (!s->skel)
		return -errno;
	r = set_up(s, (uint32_t)st.st_ino);
	if (r == 0)
		r = raise_for_programs(s);
	if (r < 0)
		return r;
	r = tcp_bpf__load(s->skel);
	s->config.drop(s->config.ctx);
	return r;
}

int tcp_programs_load(struct tcp_state *s, struct sonde_collect_timing *timing)
{
	uint64_t start = sonde_mono_ns();
	int r;

	if (sonde_plan_core_missing(&s->plan))
		return -EOPNOTSUPP;
	r = sonde_plan_load(&s->plan, load_once, leave_out_calibration, s);
	if (timing)
		timing->load_ns += sonde_mono_ns() - start;
	return r;
}

void tcp_programs_note(const struct tcp_state *s, const struct tcp_bpf *skel)
{
	struct bpf_program *p;

	if (!s->config.note_id)
		return;
	bpf_object__for_each_program (p, skel->obj) {
		struct bpf_prog_info info = {0};
		uint32_t size = sizeof(info);
		char tag[2 * sizeof(info.tag) + 1];

		if (bpf_program__fd(p) < 0 ||
		    bpf_obj_get_info_by_fd(bpf_program__fd(p), &info, &size) < 0)
			continue;
		for (size_t i = 0; i < sizeof(info.tag); i++)
			(void)snprintf(tag + 2 * i, 3, "%02x", info.tag[i]);
		s->config.note_id(s->config.ctx, 'p', info.id, tag);
	}
}

static void note_maps(const struct tcp_state *s)
{
	struct bpf_map *m;

	bpf_object__for_each_map (m, s->skel->obj) {
		struct bpf_map_info info = {0};
		uint32_t size = sizeof(info);

		if (bpf_map__fd(m) >= 0 &&
		    bpf_obj_get_info_by_fd(bpf_map__fd(m), &info, &size) == 0)
			s->config.note_id(s->config.ctx, 'm', info.id, info.name);
	}
}

static void note_link(const struct tcp_state *s, uint32_t program)
{
	struct bpf_link_info info = {0};
	uint32_t size = sizeof(info);

	if (s->config.note_id &&
	    bpf_obj_get_info_by_fd(bpf_link__fd(s->links[program]), &info, &size) == 0)
		s->config.note_id(s->config.ctx, 'l', info.id,
				  tcp_plan_table()->programs[program].function);
}

void tcp_programs_try(struct tcp_state *s)
{
	if (sonde_plan_core_missing(&s->plan) || sonde_plan_is_tried(&s->plan))
		return;
	if (tcp_programs_load(s, NULL) < 0) /* which program it was, and why, the plan knows now */
		return;
	tcp_programs_note(s, s->skel);
	if (s->config.note_id)
		note_maps(s);
}

static struct bpf_link *attach_snapshot(const struct tcp_state *s, struct bpf_program *p)
{
	union bpf_iter_link_info info = {.map.map_fd =
						 (uint32_t)bpf_map__fd(s->skel->maps.sonde_tags)};
	struct bpf_iter_attach_opts opts;

	/* libbpf refuses an option struct whose padding is not 0, which an initializer may leave. */
	memset(&opts, 0, sizeof(opts));
	opts.sz = sizeof(opts);
	opts.link_info = &info;
	opts.link_info_len = sizeof(info);
	return bpf_program__attach_iter(p, &opts);
}

/* By name: libbpf would look the function's address up, which kptr_restrict hides. */
static struct bpf_link *attach_multi(struct bpf_program *p, const char *function, bool ret)
{
	struct bpf_kprobe_multi_opts opts;

	memset(&opts, 0, sizeof(opts));
	opts.sz = sizeof(opts);
	opts.syms = &function;
	opts.cnt = 1;
	opts.retprobe = ret;
	return bpf_program__attach_kprobe_multi_opts(p, NULL, &opts);
}

static struct bpf_link *attach(const struct tcp_state *s, uint32_t program)
{
	static const char entry[] = "kprobe.multi/", ret[] = "kretprobe.multi/";
	const char *hook = tcp_plan_table()->programs[program].hook;
	struct bpf_program *p = find_program(s, program);

	if (strncmp(hook, entry, strlen(entry)) == 0)
		return attach_multi(p, hook + strlen(entry), false);
	if (strncmp(hook, ret, strlen(ret)) == 0)
		return attach_multi(p, hook + strlen(ret), true);

	if (program == SONDE_TCP_PROGRAM_SNAPSHOT)
		return attach_snapshot(s, p);
	if (program == SONDE_TCP_PROGRAM_SOCKOPS)
		return bpf_program__attach_cgroup(p, s->config.cgroup_fd);
	return bpf_program__attach(p);
}

static bool is_loaded(const struct tcp_state *s, uint32_t program)
{
	return bpf_program__fd(find_program(s, program)) >= 0;
}

int tcp_programs_attach_timing(struct tcp_state *s, uint32_t program)
{
	s->links[program] = attach(s, program);
	if (!s->links[program])
		return -errno;
	note_link(s, program);
	return 0;
}

/* Return: 0 (also refused, if something else serves), -EAGAIN = something else serves that is not loaded, -errno. */
static int attach_program(struct tcp_state *s, uint32_t program)
{
	int error, r;

	if (!sonde_plan_wants(&s->plan, program) || s->links[program])
		return 0;
	s->links[program] = attach(s, program);
	if (s->links[program]) {
		s->plan.attached |= SONDE_PLAN_BIT(program);
		note_link(s, program);
		return 0;
	}
	error = -errno;
	r = sonde_plan_refuse(&s->plan, program, "the kernel refused to attach it: %s",
			      strerror(-error));
	if (r < 0)
		return r;
	if (sonde_plan_core_missing(&s->plan))
		return error;
	for (uint32_t i = 0; i < SONDE_TCP_PROGRAM_MAX; i++) {
		if (sonde_plan_wants(&s->plan, i) && !is_loaded(s, i))
			return -EAGAIN;
	}
	return 0;
}

static int attach_all(struct tcp_state *s)
{
	/* What finishes a tag stands before what makes one. */
	static const uint32_t order[] = {
		SONDE_TCP_PROGRAM_SNAPSHOT,	  SONDE_TCP_PROGRAM_SEED,
		SONDE_TCP_PROGRAM_DESTROY,	  SONDE_TCP_PROGRAM_EXIT,
		SONDE_TCP_PROGRAM_FORK,		  SONDE_TCP_PROGRAM_SOCKOPS,
		SONDE_TCP_PROGRAM_FEXIT_SENDPAGE, SONDE_TCP_PROGRAM_FEXIT_SEND,
		SONDE_TCP_PROGRAM_FEXIT_RECV,	  SONDE_TCP_PROGRAM_SEND,
		SONDE_TCP_PROGRAM_RECV,		  SONDE_TCP_PROGRAM_RETRANSMIT,
		SONDE_TCP_PROGRAM_SYNACK,	  SONDE_TCP_PROGRAM_RESET_SENT,
		SONDE_TCP_PROGRAM_RESET_RECEIVED, SONDE_TCP_PROGRAM_DROP,
		SONDE_TCP_PROGRAM_DROP_SKB,	  SONDE_TCP_PROGRAM_RESET_PLAIN,
		SONDE_TCP_PROGRAM_ERROR,	  SONDE_TCP_PROGRAM_STATE,
	};
	int r;

	tcp_programs_note(s, s->skel);
	if (s->config.note_id)
		note_maps(s);
	r = raise_for_programs(s);
	if (r < 0)
		return r;
	for (size_t i = 0; i < ELEMENTS_OF(order) && r == 0; i++)
		r = attach_program(s, order[i]);
	s->config.drop(s->config.ctx);
	/* Without sockops every connection's RTT comes from tcp_probe. */
	if (r == 0 && !s->links[SONDE_TCP_PROGRAM_SOCKOPS])
		r = tcp_programs_attach_probe(s);
	return r;
}

static void detach_all(struct tcp_state *s)
{
	for (uint32_t i = 0; i < SONDE_TCP_PROGRAM_MAX; i++)
		(void)bpf_link__destroy(TAKE_PTR(s->links[i]));
	s->plan.attached = 0;
}

int tcp_programs_attach(struct tcp_state *s, struct sonde_collect_timing *timing)
{
	int r = attach_all(s);

	/* Each turn one more program is refused. */
	for (uint32_t i = 0; i < SONDE_TCP_PROGRAM_MAX && r == -EAGAIN; i++) {
		detach_all(s);
		r = tcp_programs_load(s, timing);
		if (r == 0)
			r = attach_all(s);
	}
	return r;
}

int tcp_programs_attach_probe(struct tcp_state *s)
{
	int r;

	if (s->links[SONDE_TCP_PROGRAM_PROBE] ||
	    !sonde_plan_wants(&s->plan, SONDE_TCP_PROGRAM_PROBE))
		return 0;
	r = s->config.raise(s->config.ctx, TCP_CAP_BPF | TCP_CAP_PERFMON);
	if (r < 0)
		return r;
	r = attach_program(s, SONDE_TCP_PROGRAM_PROBE);
	s->config.drop(s->config.ctx);
	s->skel->bss->sonde_probe_attached = s->links[SONDE_TCP_PROGRAM_PROBE] != NULL;
	return r;
}

int tcp_programs_attach_wanted(struct tcp_state *s)
{
	return s->skel->bss->sonde_probe_wanted ? tcp_programs_attach_probe(s) : 0;
}

int tcp_programs_run_iterator(struct tcp_state *s, uint32_t program)
{
	_cleanup_close_ int fd = -1;
	char nothing[64];
	ssize_t n;

	if (!s->links[program])
		return -EOPNOTSUPP;
	fd = bpf_iter_create(bpf_link__fd(s->links[program]));
	if (fd < 0)
		return -errno;
	do { /* The programs write nothing; EAGAIN: the kernel paused after a million objects. */
		n = read(fd, nothing, sizeof(nothing));
	} while (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)));
	return n < 0 ? -errno : 0;
}

static uint64_t skipped_runs(const struct tcp_state *s, uint64_t programs)
{
	uint64_t skipped = 0;

	for (uint32_t i = 0; i < SONDE_TCP_PROGRAM_MAX; i++) {
		struct bpf_prog_info info = {0};
		uint32_t size = sizeof(info);

		if (programs & SONDE_PLAN_BIT(i) && s->links[i] &&
		    bpf_obj_get_info_by_fd(bpf_program__fd(find_program(s, i)), &info, &size) == 0)
			skipped += info.recursion_misses;
	}
	return skipped;
}

void tcp_programs_keep_skipped(struct tcp_state *s)
{
	s->timing_skipped += skipped_runs(s, TCP_TIMING_PROGRAMS);
}

uint64_t tcp_programs_skipped_runs(const struct tcp_state *s)
{
	return s->timing_skipped + skipped_runs(s, ~0ULL);
}
