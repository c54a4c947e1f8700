/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the TCP collector's files share. Nobody outside this folder includes it. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/tcp/tcp_private.h"
#include "collect/collector.h"
#include "collect/plan.h"
#include "collect/table.h"
#include "collect/tcp/emit.h"

struct bpf_link;
struct tcp_bpf;

/* What was last told of a drop counter, sorted by key. */
struct tcp_drop_seen {
	struct sonde_tcp_drop_key key;
	uint64_t skbs;
	uint64_t site; /* its number */
};

/* What the plan asks names of. */
enum tcp_enum {
	TCP_ENUM_DROP = 0,
	TCP_ENUM_RESET = 1,
};

struct tcp_state {
	struct sonde_collect_config config;
	struct tcp_bpf *skel;			       /* owned */
	struct bpf_link *links[SONDE_TCP_PROGRAM_MAX]; /* owned; NULL = not attached */
	struct sonde_plan plan;			       /* its names are of enum skb_drop_reason */
	struct tcp_bpf *timing;	       /* owned; programs of call times over skel's maps, or NULL */
	struct sonde_plan timing_plan; /* … what was chosen for them; kept while a task asks */
	bool timing_asked;
	uint64_t timing_skipped; /* runs skipped of programs of call times that are detached */
	uint32_t cell_limit, other_limit;
	struct sonde_table cells, rtt, handshake, age, calls, coarse, open, ended;
	uint64_t ended_before;	     /* sonde_ring_head when the snapshot began */
	uint64_t ended_until;	     /* … and when it was read */
	struct sonde_tcp_cell *told; /* owned; by index: the cell as it was last emitted */
	size_t n_told;
	struct sonde_tcp_calls *told_calls; /* owned; as told, n_told of them */
	struct tcp_drop_seen *drops;	    /* owned */
	size_t n_drops;
	uint64_t *sites; /* owned; call sites as addresses, by their number - 1 */
	size_t n_sites;
	uint32_t n_cpus;
	uint64_t
		syscall_ns_x1000; /* what the programs of call times add to each system call here */
	uint64_t hook_ns_x1000, clock_ns_x1000;
	uint64_t epoch;
	uint64_t ends_unseen; /* connections whose end no hook saw; only grows */
	bool uncalibrated; /* the calibrating programs were refused: a hook's cost is the default */
};

/* Loaded and attached only while a task asks for call times. */
#define TCP_TIMING_PROGRAMS                                                                        \
	(SONDE_PLAN_BIT(SONDE_TCP_PROGRAM_SYS_ENTER) |                                             \
	 SONDE_PLAN_BIT(SONDE_TCP_PROGRAM_SYS_EXIT) | SONDE_PLAN_BIT(SONDE_TCP_PROGRAM_SWITCH) |   \
	 SONDE_PLAN_BIT(SONDE_TCP_PROGRAM_THREADS) | TCP_FUNCTION_PROGRAMS)
/* FENTRY_SEND to KRETPROBE_CONNECT6 */
#define TCP_FUNCTION_PROGRAMS                                                                      \
	(SONDE_PLAN_BIT(SONDE_TCP_PROGRAM_FEXIT_SEND) -                                            \
	 SONDE_PLAN_BIT(SONDE_TCP_PROGRAM_FENTRY_SEND))

/* tcp.c: with socket storage; tier.c chooses between it and collect/tcp_hash.h. */
extern const struct sonde_collector tcp_storage_collector;

#define TCP_CAP_BPF (1ULL << 39)
#define TCP_CAP_PERFMON (1ULL << 38)
#define TCP_CAP_NET_ADMIN (1ULL << 12)

/* plan.c */
const struct sonde_plan_table *tcp_plan_table(void);
/* Its hook. */
const char *tcp_program_name(uint32_t program);

/* programs.c */

/* NULL and errno. */
struct tcp_bpf *tcp_open(const struct tcp_state *s);
/* Opens @s's object, for its maps' sizes alone. */
int tcp_programs_memory(struct tcp_state *s, struct sonde_collect_memory *sum) _must_check_;
/* Opens and loads what the plan wants; its core metrics must have a program. The capabilities are raised inside. */
int tcp_programs_load(struct tcp_state *s, struct sonde_collect_timing *timing) _must_check_;
/* Loads what the plan wants, unless that was done before, so that the plan knows what the kernel refuses. */
void tcp_programs_try(struct tcp_state *s);
/* Where a refused attach lets something be wanted that is not loaded, loads again. */
int tcp_programs_attach(struct tcp_state *s, struct sonde_collect_timing *timing) _must_check_;
/* tcp_probe costs every socket of the machine: attached when a tagged one needs it. */
int tcp_programs_attach_probe(struct tcp_state *s) _must_check_;
/* The same once the kernel side has met such a socket. */
int tcp_programs_attach_wanted(struct tcp_state *s) _must_check_;
/* Runs that the kernel refused since the load, because the program was running on that CPU already. */
uint64_t tcp_programs_skipped_runs(const struct tcp_state *s);
/* The programs of call times are about to be detached, and later unloaded: keeps what they have of those. */
void tcp_programs_keep_skipped(struct tcp_state *s);
/* Notes the ids of what is loaded. */
void tcp_programs_note(const struct tcp_state *s, const struct tcp_bpf *skel);
/* Attaches a loaded program of s->timing. */
int tcp_programs_attach_timing(struct tcp_state *s, uint32_t program) _must_check_;
/* Runs an iterator to its end. */
int tcp_programs_run_iterator(struct tcp_state *s, uint32_t program) _must_check_;

/* targets.c */
int tcp_target_add(void *state, uint32_t pid, uint64_t task_mask) _must_check_;
int tcp_target_remove(void *state, uint32_t pid, uint64_t task_mask) _must_check_;
int tcp_task_remove(void *state, uint64_t task_mask) _must_check_;
int tcp_seed(void *state, struct sonde_collect_timing *timing) _must_check_;
int tcp_emit_processes(struct tcp_state *s, struct sonde_collect_sink sink) _must_check_;

/* snapshot.c */
int tcp_snapshot(void *state, struct sonde_collect_sink sink) _must_check_;

/* calls.c */

/* Sizes and settings of the calls' maps, between open and load. Return: 0, or not. */
int tcp_calls_set_up(struct tcp_bpf *skel, uint32_t cells) _must_check_;
/* Has the cell's record changed since it was told? Its tables are mapped up to @index. */
bool tcp_calls_changed(const struct tcp_state *s, uint32_t index);
/* Tells it, with those of its histograms that grew. */
int tcp_emit_calls(struct tcp_state *s, uint32_t index,
		   struct sonde_collect_sink sink) _must_check_;

/* timing.c */
int tcp_set_options(void *state, uint32_t options, struct sonde_collect_sink sink) _must_check_;
/* Gives the threads of new targets what their calls are timed by, and takes it from those of old ones. CAP_BPF is raised. */
int tcp_timing_threads(struct tcp_state *s) _must_check_;
void tcp_timing_stop(struct tcp_state *s);

/* drops.c */
int tcp_emit_drops(struct tcp_state *s, struct sonde_collect_sink sink) _must_check_;
/* The kernel's name without SKB_DROP_REASON_; "SUBSYS_n" for what its BTF does not name. */
void tcp_drop_reason_name(const struct sonde_enum_names *reasons, uint32_t reason, char *dst,
			  size_t size);
/* The same of enum sk_rst_reason; the low end of it is the drop reasons'. */
void tcp_reset_reason_name(const struct sonde_enum_names *reasons, uint32_t reason, char *dst,
			   size_t size);

/* flows.c */
bool tcp_flows_wanted(const struct tcp_state *s);
/* Sizes and settings, before the load. */
int tcp_flows_set_up(struct tcp_state *s) _must_check_;
/* A snapshot follows. */
void tcp_flows_begin(struct tcp_state *s);
/* FLOW and FLOW_REST records of the snapshot that was run. */
int tcp_emit_flows(struct tcp_state *s, struct sonde_collect_sink sink) _must_check_;
