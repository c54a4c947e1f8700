/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the TCP collector's files share. Nobody outside this folder includes it. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/tcp/tcp_private.h"
#include "collect/object.h"
#include "collect/table.h"
#include "collect/tcp/emit.h"

struct tcp_bpf;

/* What was last told of a drop counter, sorted by key. */
struct tcp_drop_seen {
	struct sonde_tcp_drop_key key;
	uint64_t skbs;
	uint64_t site; /* its number */
};

/* What was last told of a cell. */
struct tcp_told {
	struct sonde_tcp_cell cell;
	struct sonde_tcp_calls calls;
};

/* What the plan asks names of. */
enum tcp_enum {
	TCP_ENUM_DROP = 0,
	TCP_ENUM_RESET = 1,
};

struct tcp_state {
	struct sonde_object object; /* its plan's names are as enum tcp_enum says */
	struct tcp_bpf *skel;	    /* owned; of object */
	struct sonde_object
		timing; /* programs of call times over skel's maps; zeroed while no task asks */
	struct tcp_bpf *timing_skel; /* owned; of timing, NULL = none is loaded */
	bool timing_asked;
	uint64_t timing_skipped; /* runs skipped of programs of call times that are unloaded */
	struct sonde_table cells, rtt, age, calls, coarse, open, ended;
	uint64_t ended_before;	     /* sonde_ring_head when the snapshot began */
	uint64_t ended_until;	     /* … and when it was read */
	struct sonde_told told;	     /* struct tcp_told, by index */
	struct tcp_drop_seen *drops; /* owned */
	size_t n_drops;
	uint64_t *sites; /* owned; call sites as addresses, by their number - 1 */
	size_t n_sites;
	uint64_t
		syscall_ns_x1000; /* what the programs of call times add to each system call here */
	uint64_t epoch;
	uint64_t ends_unseen; /* connections whose end no hook saw; only grows */
};

/* tcp.c: with socket storage; tier.c chooses between it and collect/tcp_hash.h. */
extern const struct sonde_collector tcp_storage_collector;

/* plan.c */
const struct sonde_plan_table *tcp_plan_table(void);

/* programs.c */

/* Of object's. Return: 0, -errno. */
int tcp_open(const struct tcp_state *s, struct tcp_bpf **ret) _must_check_;
/* Makes object, with what loads it. Return: as sonde_object_init(). */
int tcp_programs_init(struct tcp_state *s, const struct sonde_collect_config *config) _must_check_;
/* Loads and attaches. Return: as sonde_object_start(). */
int tcp_programs_start(struct tcp_state *s, struct sonde_collect_timing *timing) _must_check_;
/* As the collector's set_signals(); the caller tells the plan. */
int tcp_programs_set_signals(struct tcp_state *s, uint32_t signals) _must_check_;
/* tcp_probe, once the kernel side has met a socket that needs it. */
int tcp_programs_attach_wanted(struct tcp_state *s) _must_check_;

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

/* One of the histograms that are made when they are needed, by SONDE_TCP_SPARSE_MAX; @kind: of the record. */
int tcp_emit_sparse(const struct tcp_state *s, uint32_t index, uint32_t which, uint32_t kind,
		    struct sonde_collect_sink sink) _must_check_;

/* timing.c */
int tcp_set_signals(void *state, uint32_t signals, struct sonde_collect_sink sink) _must_check_;
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
