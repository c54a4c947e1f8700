/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Task states and limits that agent, server and command line share. No I/O. */

#include <stdbool.h>
#include <stdint.h>

enum sonde_task_state {
	SONDE_TASK_ACCEPTED = 0,
	SONDE_TASK_PLANNED,
	SONDE_TASK_ATTACHING,
	SONDE_TASK_RUNNING,
	SONDE_TASK_DRAINING,
	SONDE_TASK_DONE,
	SONDE_TASK_FAILED,
	SONDE_TASK_REFUSED,
	SONDE_TASK_EXPIRED, /* its time passed before any agent took it */
	SONDE_TASK_STOPPED, /* by a person or a budget */
	_SONDE_TASK_STATE_MAX,
};

const char *sonde_task_state_name(enum sonde_task_state s); /* "accepted", … */
/* Return: 0, -EINVAL. */
int sonde_task_state_from_name(const char *name, enum sonde_task_state *ret);
bool sonde_task_state_final(enum sonde_task_state s);

/* Why a task ended, for programs: TaskReport.reason_code. What is none of these has words only. */
#define SONDE_TASK_CODE_BPF_REFUSED "bpf_refused"
#define SONDE_TASK_CODE_BUDGET "budget"	      /* stopped: it passed one of its limits */
#define SONDE_TASK_CODE_NO_TARGET "no_target" /* refused: no process that it names is there */
#define SONDE_TASK_CODE_MAX 32

/*
 * What a task may take; 0 = no limit of its own. One that passes a limit stops itself, and what it gathered is
 * reported. All of Sonde's cost on the machine counts, also where other tasks share it.
 */
struct sonde_task_limits {
	uint32_t max_peers;	   /* cells kept apart; what does not fit is added to `other` */
	bool stop_at_max_peers;	   /* … or ends the task */
	uint32_t max_cpu_percent;  /* of one core, over two seconds or the report interval */
	uint64_t max_memory_bytes; /* of maps, and anonymous memory of agent and probe */
	uint64_t max_events_per_second; /* runs of programs */
};
#define SONDE_TASK_CPU_PERCENT_MAX 102400 /* 1,024 cores */
#define SONDE_TASK_MEMORY_MIN_BYTES (4LL * 1024 * 1024)

#define SONDE_TASK_DURATION_MIN_MS 1000
#define SONDE_TASK_DURATION_MAX_MS (30 * 60 * 1000)
#define SONDE_TASK_REPORT_INTERVAL_DEFAULT_MS 2000
#define SONDE_TASK_LIST_DEFAULT 200 /* of GET /api/v1/tasks without a limit */
#define SONDE_TASK_TARGETS_MAX 256
#define SONDE_TASK_ID_MAX 65 /* with NUL: OAP's are 64 hex digits */
#define SONDE_TASK_NAME_MAX 129
