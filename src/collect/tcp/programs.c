/* SPDX-License-Identifier: Apache-2.0 */
/* The programs: whether this kernel has their hooks as they were built for, loading, attaching, telling. */
#include <assert.h>
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/log.h"
#include "collect/tcp/state.h"
#include "tcp.skel.h"

enum need {
	NEED_OPTIONAL, /* without it its metrics are absent */
	NEED_CORE,     /* without it nothing can be measured */
};

static const struct program {
	const char *function; /* in tcp.bpf.c */
	const char *hook;     /* as it is shown; a tracepoint's name stands behind the slash */
	const char *metrics;
	enum need need;
	/* the tracepoint's arguments as the program reads them, up to the last that it reads */
	const char *args[SONDE_TRACEPOINT_ARGS_MAX];
} programs[SONDE_TCP_PROGRAM_MAX] = {
	[SONDE_TCP_PROGRAM_STATE] = {"sonde_state",
				     "tp_btf/inet_sock_set_state",
				     "connections, handshakes, closes, connect failures",
				     NEED_CORE,
				     {"sock*", "4", "4"}},
	[SONDE_TCP_PROGRAM_DESTROY] = {"sonde_destroy",
				       "tp_btf/tcp_destroy_sock",
				       "last values of connections that end",
				       NEED_CORE,
				       {"sock*"}},
	[SONDE_TCP_PROGRAM_SEND] = {"sonde_send",
				    "tp_btf/sock_send_length",
				    "write calls",
				    NEED_OPTIONAL,
				    {"sock*", "4", "4"}},
	[SONDE_TCP_PROGRAM_RECV] = {"sonde_recv",
				    "tp_btf/sock_recv_length",
				    "read calls",
				    NEED_OPTIONAL,
				    {"sock*", "4", "4"}},
	[SONDE_TCP_PROGRAM_SOCKOPS] = {"sonde_sockops",
				       "sockops",
				       "RTT samples of new connections",
				       NEED_OPTIONAL,
				       {NULL}},
	[SONDE_TCP_PROGRAM_PROBE] = {"sonde_probe",
				     "tp_btf/tcp_probe",
				     "RTT samples of connections that were open before",
				     NEED_OPTIONAL,
				     {"sock*"}},
	[SONDE_TCP_PROGRAM_RETRANSMIT] = {"sonde_retransmit",
					  "tp_btf/tcp_retransmit_skb",
					  "retransmits by kind",
					  NEED_OPTIONAL,
					  {"sock*"}},
	[SONDE_TCP_PROGRAM_SYNACK] = {"sonde_synack",
				      "tp_btf/tcp_retransmit_synack",
				      "retransmits of SYN-ACKs",
				      NEED_OPTIONAL,
				      {"sock*", "request_sock*"}},
	[SONDE_TCP_PROGRAM_RESET_SENT] = {"sonde_reset_sent",
					  "tp_btf/tcp_send_reset",
					  "resets sent",
					  NEED_OPTIONAL,
					  {"sock*"}},
	[SONDE_TCP_PROGRAM_RESET_RECEIVED] = {"sonde_reset_recv",
					      "tp_btf/tcp_receive_reset",
					      "resets received, closes by reset",
					      NEED_OPTIONAL,
					      {"sock*"}},
	[SONDE_TCP_PROGRAM_DROP] = {"sonde_drop",
				    "tp_btf/kfree_skb",
				    "drops by reason",
				    NEED_OPTIONAL,
				    {"sk_buff*", "void*", "4", "sock*"}},
	[SONDE_TCP_PROGRAM_FORK] = {"sonde_fork",
				    "tp_btf/sched_process_fork",
				    "processes that targets fork in mid-task",
				    NEED_OPTIONAL,
				    {"task_struct*", "task_struct*"}},
	[SONDE_TCP_PROGRAM_EXIT] = {"sonde_exit",
				    "tp_btf/sched_process_exit",
				    "targets that end",
				    NEED_OPTIONAL,
				    {"task_struct*"}},
	[SONDE_TCP_PROGRAM_SEED] = {"sonde_seed",
				    "iter/task_file",
				    "connections that were open before",
				    NEED_OPTIONAL,
				    {NULL}},
	[SONDE_TCP_PROGRAM_SNAPSHOT] = {"sonde_snapshot",
					"iter/bpf_sk_storage_map",
					"payload, segments, gauges",
					NEED_CORE,
					{NULL}},
};

#define DROP_ARGS_WITHOUT_RX_SK 3

const char *tcp_program_name(uint32_t program)
{
	assert(program < SONDE_TCP_PROGRAM_MAX);
	return programs[program].hook;
}

static int refuse(struct tcp_state *s, uint32_t program, const char *fmt, ...) _printf_(3, 4);
static int refuse(struct tcp_state *s, uint32_t program, const char *fmt, ...)
{
	va_list args;
	int n;

	free(s->refused[program]);
	va_start(args, fmt);
	n = vasprintf(&s->refused[program], fmt, args);
	va_end(args);
	if (n < 0) {
		s->refused[program] = NULL;
		return -ENOMEM;
	}
	return 0;
}

static const char *tracepoint_of(uint32_t program)
{
	const char *hook = programs[program].hook;

	return strncmp(hook, "tp_btf/", 7) == 0 ? hook + 7 : NULL;
}

/* Compares what the program reads; arguments behind that may come and go. */
static int check_program(struct tcp_state *s, uint32_t program, const struct sonde_tracepoint *here)
{
	const char *const *args = programs[program].args;

	if (!here->found)
		return refuse(s, program, "this kernel has no tracepoint %s", here->name);
	for (uint32_t i = 0; i < SONDE_TRACEPOINT_ARGS_MAX && args[i]; i++) {
		/* rx_sk came with 6.11; without it the program reads the skb's own socket only */
		if (program == SONDE_TCP_PROGRAM_DROP && i == DROP_ARGS_WITHOUT_RX_SK &&
		    i >= here->n_args)
			break;
		if (i >= here->n_args)
			return refuse(s, program, "argument %u of %s is missing here", i + 1,
				      here->name);
		if (strcmp(args[i], here->args[i]) != 0)
			return refuse(s, program, "argument %u of %s is %s here, not %s", i + 1,
				      here->name, here->args[i], args[i]);
	}
	return 0;
}

static bool drop_has_rx_sk(const struct sonde_tracepoint *here)
{
	return here->n_args > DROP_ARGS_WITHOUT_RX_SK;
}

static int open_skeleton(struct tcp_state *s, bool rx_sk)
{
	s->skel = tcp_bpf__open();
	if (!s->skel)
		return -errno;
	s->skel->rodata->sonde_drop_has_rx_sk = rx_sk;
	return 0;
}

/*
 * What the kernel said of itself. It says the same as long as it runs, and asking
 * means parsing 6 MB, so a start after a plan asks nothing. A dozen kB, the worker's
 * until it ends.
 */
static struct kernel_answers {
	bool known;
	struct sonde_tracepoint tracepoints[SONDE_TCP_PROGRAM_MAX];
	struct sonde_enum_names reasons;
} answers;

static int ask_kernel(void)
{
	struct btf *btf = NULL;
	int r;

	if (answers.known)
		return 0;
	for (uint32_t i = 0; i < SONDE_TCP_PROGRAM_MAX; i++) {
		answers.tracepoints[i] = (struct sonde_tracepoint){
			.name = tracepoint_of(i) ? tracepoint_of(i) : "",
		};
	}
	r = sonde_kernel_btf_load(&btf);
	if (r < 0)
		return r;
	r = sonde_kernel_btf_ask(btf, answers.tracepoints, SONDE_TCP_PROGRAM_MAX, "skb_drop_reason",
				 &answers.reasons);
	btf__free(btf);
	answers.known = r == 0;
	return r;
}

int tcp_programs_check(struct tcp_state *s)
{
	const struct sonde_tracepoint *here = answers.tracepoints;
	int r;

	r = ask_kernel();
	if (r < 0)
		return r;
	s->reasons = &answers.reasons;
	for (uint32_t i = 0; i < SONDE_TCP_PROGRAM_MAX && r == 0; i++) {
		if (tracepoint_of(i))
			r = check_program(s, i, &here[i]);
		if (r == 0 && s->refused[i] && programs[i].need == NEED_CORE)
			r = -EOPNOTSUPP;
	}
	if (r == 0 && s->config.cgroup_fd < 0)
		r = refuse(s, SONDE_TCP_PROGRAM_SOCKOPS, "no cgroup v2 hierarchy to attach to");
	if (r < 0)
		return r;
	return open_skeleton(s, drop_has_rx_sk(&here[SONDE_TCP_PROGRAM_DROP]));
}

static struct bpf_program *find_program(const struct tcp_state *s, uint32_t program)
{
	return bpf_object__find_program_by_name(s->skel->obj, programs[program].function);
}

/* Sizes and settings; nothing is in the kernel yet. */
static int set_up(struct tcp_state *s, uint32_t pidns_inum)
{
	struct tcp_bpf *skel = s->skel;
	uint32_t cells = s->cell_limit + s->other_limit;
	int r = 0;

	skel->rodata->sonde_pidns_inum = pidns_inum;
	skel->rodata->sonde_cell_limit = s->cell_limit;
	skel->rodata->sonde_other_limit = s->other_limit;
	r |= bpf_map__set_max_entries(skel->maps.sonde_targets, s->config.max_targets);
	r |= bpf_map__set_max_entries(skel->maps.sonde_index, cells);
	r |= bpf_map__set_max_entries(skel->maps.sonde_cells, cells);
	r |= bpf_map__set_max_entries(skel->maps.sonde_rtt, cells);
	r |= bpf_map__set_max_entries(skel->maps.sonde_handshake, cells);
	for (uint32_t i = 0; i < SONDE_TCP_PROGRAM_MAX; i++)
		r |= bpf_program__set_autoload(find_program(s, i), !s->refused[i]);
	r |= bpf_program__set_autoload(skel->progs.sonde_empty, !s->uncalibrated);
	r |= bpf_program__set_autoload(skel->progs.sonde_clock, !s->uncalibrated);
	/* The skeleton attaches nothing by itself: links are made one by one, so that one may fail. */
	return r ? -EINVAL : 0;
}

/* libbpf says which program the kernel refused only in its log. */
static char refused_function[64];

__attribute__((__format__(__printf__, 2, 0))) static int on_libbpf_log(
	enum libbpf_print_level level, const char *fmt, va_list args)
{
	static const char prefix[] = "libbpf: prog '", suffix[] = "': failed to ";
	char line[512];
	char *name, *end;

	(void)vsnprintf(line, sizeof(line), fmt, args);
	name = strstr(line, prefix);
	if (name) {
		name += strlen(prefix);
		end = strstr(name, suffix);
		if (end && end - name < (long)sizeof(refused_function)) {
			*end = '\0';
			memcpy(refused_function, name, (size_t)(end - name) + 1);
			*end = '\'';
		}
	}
	if (level != LIBBPF_DEBUG) {
		line[strcspn(line, "\n")] = '\0';
		sonde_log_debug("%s", line);
	}
	return 0;
}

static bool is_calibration(const char *function)
{
	return strcmp(function, "sonde_empty") == 0 || strcmp(function, "sonde_clock") == 0;
}

/* 0: the program that the kernel would not have is left out from now on. */
static int refuse_by_kernel(struct tcp_state *s, int error)
{
	if (is_calibration(refused_function)) {
		s->uncalibrated = true;
		return 0;
	}
	for (uint32_t i = 0; i < SONDE_TCP_PROGRAM_MAX; i++) {
		if (s->refused[i] || strcmp(programs[i].function, refused_function) != 0)
			continue;
		if (programs[i].need == NEED_CORE)
			return error;
		return refuse(s, i, "the kernel refused to load it: %s", strerror(-error));
	}
	return error;
}

/* What every program needs, and what sockops needs beside if it can be had. */
static int raise_for_programs(struct tcp_state *s)
{
	int r;

	if (!s->refused[SONDE_TCP_PROGRAM_SOCKOPS]) {
		r = s->config.raise(s->config.ctx,
				    TCP_CAP_BPF | TCP_CAP_PERFMON | TCP_CAP_NET_ADMIN);
		if (r == 0)
			return 0;
		r = refuse(s, SONDE_TCP_PROGRAM_SOCKOPS, "needs CAP_NET_ADMIN: %s", strerror(-r));
		if (r < 0)
			return r;
	}
	return s->config.raise(s->config.ctx, TCP_CAP_BPF | TCP_CAP_PERFMON);
}

static int load_once(struct tcp_state *s, uint32_t pidns_inum)
{
	int r;

	refused_function[0] = '\0';
	r = raise_for_programs(s);
	if (r < 0)
		return r;
	r = set_up(s, pidns_inum);
	if (r == 0)
		r = tcp_bpf__load(s->skel);
	s->config.drop(s->config.ctx);
	return r;
}

/* One refused program fails the whole object, so it is left out and the rest is opened again. */
int tcp_programs_load(struct tcp_state *s, struct sonde_collect_timing *timing)
{
	uint64_t start = sonde_mono_ns();
	uint32_t pidns_inum;
	struct stat st;
	int r;

	if (stat("/proc/self/ns/pid", &st) < 0)
		return -errno;
	pidns_inum = (uint32_t)st.st_ino;
	(void)libbpf_set_print(on_libbpf_log);
	for (uint32_t i = 0; i < SONDE_TCP_PROGRAM_MAX; i++) {
		bool rx_sk = s->skel->rodata->sonde_drop_has_rx_sk;

		r = load_once(s, pidns_inum);
		if (r == 0)
			break;
		/* A lack of memory is not the program's fault. */
		if (r == -ENOMEM || refuse_by_kernel(s, r) < 0)
			return r;
		tcp_bpf__destroy(TAKE_PTR(s->skel));
		r = open_skeleton(s, rx_sk);
		if (r < 0)
			return r;
	}
	if (timing)
		timing->load_ns = sonde_mono_ns() - start;
	return r;
}

static void note_programs(const struct tcp_state *s)
{
	struct bpf_program *p;

	bpf_object__for_each_program (p, s->skel->obj) {
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
		s->config.note_id(s->config.ctx, 'l', info.id, programs[program].function);
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

static int attach_program(struct tcp_state *s, uint32_t program)
{
	struct bpf_program *p = find_program(s, program);
	struct bpf_link *link;
	int error;

	if (s->refused[program] || s->links[program])
		return 0;
	if (program == SONDE_TCP_PROGRAM_SNAPSHOT)
		link = attach_snapshot(s, p);
	else if (program == SONDE_TCP_PROGRAM_SOCKOPS)
		link = bpf_program__attach_cgroup(p, s->config.cgroup_fd);
	else
		link = bpf_program__attach(p);
	if (link) {
		s->links[program] = link;
		note_link(s, program);
		return 0;
	}
	error = -errno;
	if (programs[program].need == NEED_CORE)
		return error;
	return refuse(s, program, "the kernel refused to attach it: %s", strerror(-error));
}

int tcp_programs_attach(struct tcp_state *s)
{
	/* What finishes a tag stands before what makes one. */
	static const uint32_t order[] = {
		SONDE_TCP_PROGRAM_SNAPSHOT,   SONDE_TCP_PROGRAM_SEED,
		SONDE_TCP_PROGRAM_DESTROY,    SONDE_TCP_PROGRAM_EXIT,
		SONDE_TCP_PROGRAM_FORK,	      SONDE_TCP_PROGRAM_SOCKOPS,
		SONDE_TCP_PROGRAM_SEND,	      SONDE_TCP_PROGRAM_RECV,
		SONDE_TCP_PROGRAM_RETRANSMIT, SONDE_TCP_PROGRAM_SYNACK,
		SONDE_TCP_PROGRAM_RESET_SENT, SONDE_TCP_PROGRAM_RESET_RECEIVED,
		SONDE_TCP_PROGRAM_DROP,	      SONDE_TCP_PROGRAM_STATE,
	};
	int r;

	if (s->config.note_id) {
		note_programs(s);
		note_maps(s);
	}
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

int tcp_programs_attach_probe(struct tcp_state *s)
{
	int r;

	if (s->links[SONDE_TCP_PROGRAM_PROBE] || s->refused[SONDE_TCP_PROGRAM_PROBE])
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

int tcp_programs_tell(const struct tcp_state *s, struct sonde_collect_sink sink)
{
	int r = 0;

	for (uint32_t i = 0; i < SONDE_TCP_PROGRAM_MAX && r == 0; i++) {
		struct sonde_probe_reply reply = {.type = SONDE_PROBE_PROBE};
		struct sonde_probe_probe *probe = &reply.probe;

		(void)snprintf(probe->name, sizeof(probe->name), "%s", programs[i].hook);
		(void)snprintf(probe->metrics, sizeof(probe->metrics), "%s", programs[i].metrics);
		probe->attached = !s->refused[i];
		probe->core = programs[i].need == NEED_CORE;
		if (s->refused[i])
			(void)snprintf(probe->reason, sizeof(probe->reason), "%s", s->refused[i]);
		else if (i == SONDE_TCP_PROGRAM_PROBE && !s->links[i])
			(void)snprintf(probe->reason, sizeof(probe->reason),
				       "attached when a connection that was open before needs it");
		r = sink.emit(sink.ctx, &reply);
	}
	return r;
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

uint64_t tcp_programs_skipped_runs(const struct tcp_state *s)
{
	uint64_t skipped = 0;

	for (uint32_t i = 0; i < SONDE_TCP_PROGRAM_MAX; i++) {
		struct bpf_prog_info info = {0};
		uint32_t size = sizeof(info);

		if (s->links[i] &&
		    bpf_obj_get_info_by_fd(bpf_program__fd(find_program(s, i)), &info, &size) == 0)
			skipped += info.recursion_misses;
	}
	return skipped;
}
