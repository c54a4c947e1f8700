/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Task: one task's targets, states, view and what its reports say. The tasks'
 * manager (tasks.h) drives it; this file only keeps it consistent. Loop thread
 * only.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "agent/flows.h"
#include "agent/namespaces.h"
#include "agent/spec.h"
#include "agent/view.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "io/encoding.h"
#include "model/ledger.h"
#include "model/probe-msg.h"
#include "model/process.h"
#include "model/task.h"

#define SONDE_TASK_WORDS_MAX 320
#define SONDE_TASK_CHANGES_MAX 32 /* state changes between two reports */
#define SONDE_TASK_PROBES_MAX 96
#define SONDE_TASK_REPORT_MAX (1024UL * 1024) /* bytes, serialised */

enum sonde_target_state {
	SONDE_TARGET_FOUND = 0,
	SONDE_TARGET_GONE,
	SONDE_TARGET_RESTARTED, /* gone, and another process of the same name took its place */
	SONDE_TARGET_DENIED,
	SONDE_TARGET_FORKED, /* a child that came in mid-task */
	_SONDE_TARGET_STATE_MAX,
};
const char *sonde_target_state_name(enum sonde_target_state s);

struct sonde_task_target {
	uint32_t pid; /* 0: nothing of this name lives */
	uint64_t start_ticks;
	struct sonde_process *process;		 /* one reference; NULL: never known */
	char wanted[SONDE_SPEC_TARGET_TEXT_MAX]; /* what was asked for, where process is NULL */
	bool wanted_id;				 /* … by process id */
	enum sonde_target_state state;
	char reason[SONDE_PROBE_TEXT_MAX];
	int64_t since_ms;
	bool child;    /* forked in mid-task by another target */
	bool in_probe; /* the worker has it among the task's targets */
};

struct sonde_task_change {
	enum sonde_task_state state;
	int64_t wall_ms;
	char words[SONDE_TASK_WORDS_MAX];
};

/* What is subtracted from the counters that began before the task. */
struct sonde_task_base {
	struct sonde_probe_loss loss;
	struct sonde_probe_udp_loss udp_loss;
	struct sonde_probe_cost costs[SONDE_SNAPSHOT_PROGRAMS_MAX];
	size_t n_costs;
	uint64_t agent_cpu_ns, probe_cpu_ns;
	uint64_t refused;
};

enum sonde_task_wait {
	SONDE_TASK_WAIT_NONE = 0,
	SONDE_TASK_WAIT_BASE,
	SONDE_TASK_WAIT_INTERVAL,
	SONDE_TASK_WAIT_JOIN,
	SONDE_TASK_WAIT_BUDGET, /* no report: a look at what it costs */
	SONDE_TASK_WAIT_FINAL,
};

/* What the limits are held against, from look to look. */
struct sonde_task_budget {
	uint64_t look_ns; /* the next one; 0 = nothing to look after */
	uint64_t since_ns, cpu_ns, runs;
};

struct sonde_tasks;

struct sonde_task {
	struct sonde_tasks *tasks; /* borrowed */
	struct sonde_spec spec;
	uint32_t slot; /* of the probe */
	enum sonde_task_state state;
	struct sonde_task_change changes[SONDE_TASK_CHANGES_MAX];
	size_t n_changes;
	struct sonde_task_target *targets; /* owned */
	size_t n_targets;
	struct sonde_view view;
	struct sonde_namespaces namespaces;
	struct sonde_flows flows;
	char flows_absent[SONDE_PROBE_TEXT_MAX]; /* why, where they are not wanted or not given */
	sd_event_source *timer;
	uint64_t start_ns, end_ns, next_ns; /* CLOCK_MONOTONIC; end_ns is 0 until it runs */
	uint64_t running_since_ns;
	int64_t asked_ms;	/* the longest duration that a command gave it */
	uint64_t end_before_ns; /* before the extensions that the probe has not answered yet */
	unsigned extensions;	/* these */
	uint64_t window_start_ns;
	int64_t window_start_ms;
	uint64_t sequence;
	enum sonde_task_wait wait;
	uint64_t ticket; /* the snapshot that is waited for */
	bool join_due;	 /* new processes match */
	unsigned calls;	 /* of the probe that are not answered: keeps this in memory */
	unsigned adds;	 /* TARGET_ADDs of them */
	bool ended;	 /* the end report is out; freed behind the last call */
	bool stopping;	 /* result and reason are set; ends at the next step */
	enum sonde_task_state result;
	char reason[SONDE_TASK_WORDS_MAX];
	const char *reason_code; /* SONDE_TASK_CODE_*; NULL: the words say all */
	/* for the reports */
	struct sonde_probe_probe probes[SONDE_TASK_PROBES_MAX];
	size_t n_probes;
	uint64_t open_ns, load_ns, attach_ns, detach_ns;
	bool has_idle;
	struct sonde_probe_idle idle;
	struct sonde_task_base base;
	struct sonde_task_budget budget;
	uint64_t ledger
		[_SONDE_LEDGER_MAX]; /* agent's sites, and what is carried over a worker's death */
	uint64_t carried_probe_cpu_ns; /* of workers that died */
	uint64_t seen_probe_cpu_ns;    /* at the last report */
	bool dropped_history;
	uint64_t told_lists, told_sequence; /* hash of the lists that went out last, and when */
	uint64_t reports, report_bytes, report_bytes_compressed;
	enum sonde_encoding encoding;
	bool told_first; /* the first report with meters is in the log */
};

int sonde_task_new(struct sonde_tasks *tasks, struct sonde_spec *spec,
		   struct sonde_task **ret) _must_check_; /* takes *@spec's content */
struct sonde_task *sonde_task_free(struct sonde_task *t);
SONDE_DEFINE_CLEANUP(struct sonde_task *, sonde_task_free)

/* Notes the change with time and words, and logs it. */
void sonde_task_set_state(struct sonde_task *t, enum sonde_task_state s, const char *fmt, ...)
	_printf_(3, 4);

/* Appends a target, zeroed but for since_ms. Return: 0, -ENOSPC (counted in the ledger), -ENOMEM. */
int sonde_task_add_target(struct sonde_task *t, struct sonde_task_target **ret) _must_check_;
/* The newest target of @pid; NULL if there is none. */
struct sonde_task_target *sonde_task_target_by_pid(const struct sonde_task *t, uint32_t pid);
void sonde_target_set(struct sonde_task_target *target, enum sonde_target_state s,
		      const char *reason);
/* Found or forked, and in the probe or on its way there. */
bool sonde_target_lives(const struct sonde_task_target *target);

/* What a report says beside what the task itself knows. */
struct sonde_task_moment {
	const char *agent_id;
	uint64_t window_end_ns;
	int64_t window_end_ms;
	bool end;
	const struct sonde_snapshot *snapshot;
	Sonde__V1__FlowReport *flows;	     /* borrowed; NULL: none */
	uint64_t agent_cpu_ns, probe_cpu_ns; /* since those programs were started */
	uint64_t agent_rss_anon_bytes, probe_rss_anon_bytes;
};

/* Of the programs since the task began: estimated ns, and runs. */
void sonde_task_programs_cost(const struct sonde_task *t, const struct sonde_snapshot *s,
			      uint64_t *ret_ns, uint64_t *ret_runs);
/* Of all collectors' maps. */
uint64_t sonde_snapshot_map_bytes(const struct sonde_snapshot *s);
/* Serialises the TaskReport of t->sequence into @buf (empty) and forgets the state changes told. */
int sonde_task_pack_report(struct sonde_task *t, const struct sonde_task_moment *m,
			   struct sonde_buf *buf) _must_check_;

/* Count of a site over the task, kernel side and agent side. */
uint64_t sonde_task_ledger(const struct sonde_task *t, const struct sonde_snapshot *s,
			   unsigned site);
