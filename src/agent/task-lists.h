/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Task lists: what a report and a plan say alike of a task: its targets, and what it does not measure. */

#include "agent/task.h"
#include "sonde/v1/task.pb-c.h"

#define SONDE_TASK_ABSENT_MAX 192 /* more than both sets of meters have */

/* Points into the task and itself. Large: on the heap. */
struct sonde_task_lists {
	Sonde__V1__TargetState target[SONDE_TASK_TARGETS_MAX];
	Sonde__V1__TargetState *targets[SONDE_TASK_TARGETS_MAX];
	size_t n_targets;
	Sonde__V1__AbsentMeter meter[SONDE_TASK_ABSENT_MAX];
	Sonde__V1__AbsentMeter *absent[SONDE_TASK_ABSENT_MAX];
	size_t n_absent;
};

void sonde_task_list_targets(const struct sonde_task *t, struct sonde_task_lists *l);
/* Appends; out of the probes that the task was told of, and what its options leave out. */
void sonde_task_list_absent(const struct sonde_task *t, struct sonde_task_lists *l);
