/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the files of the tasks' manager share. For this folder only. */

#include "agent/task.h"
#include "agent/tasks.h"

#define TASKS_FINISHED_MAX 256 /* ids that are remembered, so that no task runs twice */
#define TASKS_ALL "-"	       /* the report id's task where a report is the union of all */

#define LATE_MAX_MS 30000 /* of a start that poll and attach took: the task is not shorter for it */
#define TASKS_PLANS_MAX 4 /* questions that are being answered */

struct sonde_tasks {
	struct sonde_tasks_config config;
	struct sonde_task *slots[SONDE_PROBE_TASKS_MAX];
	struct sonde_snapshot snapshot;
	uint64_t ticket_asked, ticket_done; /* snapshots, from 1 */
	bool snapshot_again;
	struct sonde_peer_table *peers;
	/* To a backend that adds, a process is reported once however many tasks look at it. */
	struct sonde_view together;
	uint64_t together_sequence;
	bool extension; /* as it was when the first of the running tasks was accepted */
	char finished[TASKS_FINISHED_MAX][SONDE_TASK_ID_MAX];
	size_t finished_at;
	unsigned plans;
	bool draining;
	char probe_gone[SONDE_PROBE_TEXT_MAX]; /* "" while it is there */
};

/* tasks-run.c: the way of one task */
void tasks_begin(struct sonde_task *t);
void tasks_reattach(struct sonde_task *t);
void tasks_finish(struct sonde_task *t, enum sonde_task_state result, const char *fmt, ...)
	_printf_(3, 4);
void tasks_on_snapshot(struct sonde_task *t, int error);
void tasks_arm(struct sonde_task *t); /* the timer, for the next report or the end */
/* Join those that match and that the probe does not have, counting from the last snapshot. */
void tasks_join(struct sonde_task *t);
/* What a task asks of the probe, for TASK_ADMIT and PLAN. */
struct sonde_probe_request tasks_wants(const struct sonde_task *t);
/* What stands in the way of any task; NULL: nothing. */
const char *tasks_hindrance(struct sonde_task *t, char words[SONDE_TASK_WORDS_MAX]);
int tasks_admit(struct sonde_task *t, uint64_t duration_ns,
		void (*on_end)(void *ctx, int error, const struct sonde_probe_end *end));

/*
 * tasks.c: a call of the task's was answered. True: the task is over (and maybe freed), or the client is:
 * touch nothing.
 */
bool tasks_call_over(struct sonde_task *t, int error);
void tasks_end(struct sonde_task *t); /* end report now; the task may be freed */

/* tasks-snapshot.c */
/* Asks for a snapshot that begins after now (@later) or is at least under way. The task waits. */
void tasks_want_snapshot(struct sonde_task *t, enum sonde_task_wait wait, bool later);
/* Programs are attached for some task, so that cells count already. */
bool tasks_attached(const struct sonde_tasks *tasks);

/* This host's own, so that a peer is shown as local. Return: 0, -ENOSPC, -ENOMEM. */
int tasks_add_host_addresses(struct sonde_peer_table *peers);

/* tasks-budget.c: the task's own limits */
void tasks_budget_begin(struct sonde_task *t);
/* Out of the last snapshot: a task that passed a limit is finished (stopped), what it gathered is reported. */
void tasks_budget_look(struct sonde_task *t);
/* What agent and probe take now, and will, beside the maps. */
uint64_t tasks_budget_beside_maps(const struct sonde_task *t);
/* What the limit leaves for maps now, 0 = there is none; -ENOSPC: the processes alone take it. */
int tasks_budget_maps(const struct sonde_task *t, uint64_t *ret_bytes);
struct tasks_usage {
	uint64_t cpu_ns;       /* agent, probe and programs, since the task began */
	uint64_t runs;	       /* of programs, likewise */
	uint64_t memory_bytes; /* now */
};
/* tasks-report.c */
void tasks_usage(const struct sonde_task *t, struct tasks_usage *ret);

/* tasks-targets.c */
/* Fills in the targets from the spec. Return: how many live. */
size_t tasks_resolve(struct sonde_task *t);
/* Why no target that lives may be profiled: by which rule of the node's policy, or else. */
void tasks_say_denied(const struct sonde_task *t, char words[static SONDE_TASK_WORDS_MAX]);
/* Why nothing lives of what tasks_resolve() looked for. */
void tasks_say_missing(const struct sonde_task *t, char words[static SONDE_TASK_WORDS_MAX]);
/* What the task begins with: who lives, who does not and why, and which pids are one to the backend. */
void tasks_say_planned(const struct sonde_task *t, size_t live,
		       char words[static SONDE_TASK_WORDS_MAX]);
/* Looks for what left and what came. Return: how many live that the probe does not have. */
size_t tasks_look_again(struct sonde_task *t);
/* PROCESS records of the snapshot. */
void tasks_take_processes(struct sonde_task *t);
/* The process of @pid as any task or the finder knows it; NULL while it has no id. */
struct sonde_process *tasks_process_of(void *ctx, uint32_t pid);

/* tasks-report.c */
/* Cost and loss count from here: when a task is taken, and again when its plan begins. */
void tasks_count_from_now(struct sonde_task *t);
/* Loss and programs' cost count from the last snapshot; the processes' cost stays the plan's. */
void tasks_set_base(struct sonde_task *t);
/*
 * Reads the kernel's counters, at the moment that the targets' own numbers are of: behind the seeding, or behind a
 * snapshot. What cannot be read is left out of the report.
 */
void tasks_look_at_namespaces(struct sonde_task *t);
/* The interval up to the last snapshot, of the task, or of all together. */
void tasks_report(struct sonde_task *t, bool end);
void tasks_report_together(struct sonde_tasks *tasks);
void tasks_worker_died(struct sonde_task *t);
