/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Fire: makes the tasks of policies. A threshold is passed where an agent says so; a schedule by our clock, once a
 * second looked at. Never two tasks of one schedule, or of the thresholds of one instance, at once. What a schedule
 * missed (the server was down, or the clock leapt) is counted and not made up. Each task is in the audit log, as the
 * agent's whose process passed the threshold or the schedule's, and says why it is there, as JSON:
 *
 *   {"kind": "threshold"|"schedule", "policy": SERVICE, "words": …,
 *    "schedule": NAME|null, "when": …|null, "due": TIME|null,
 *    "service", "instance", "process", "process_id", "agent_id": of the process that passed it | null,
 *    "causes": [{"type", "threshold", "current", "uri": null|…, "message"}]}
 *
 * Loop thread only.
 */

#include "backend/backend.h"
#include "backend/policies/policies.h"
#include "backend/problem.h"

#define SONDE_POLICY_LATE_MS 30000 /* a time that is passed for longer is missed */
#define SONDE_POLICY_CAUSES_MAX 16

/* The policy of @service is another now: agents that have a process of it, and watch, ask for it at once. */
void sonde_policies_tell(struct sonde_backend *b, const char *service);

/* Every second. */
void sonde_policies_tick(struct sonde_backend *b, int64_t now_ms);

struct sonde_policy_cause {
	enum sonde_policy_monitor type;
	double threshold, current;
	const char *uri; /* NULL: of the process */
};

struct sonde_policy_trigger {
	const char *service, *instance, *process;
	const struct sonde_policy_cause *causes;
	size_t n_causes;
	int64_t duration_ms; /* that the agent would take; the policy's own goes before it */
	bool runs_itself;    /* a Rover: it has the task by our answer, and does not ask for it */
	/* Who says so: the process has to be its own. "": one that does not say, such as a Rover, and is not checked. */
	const char *agent_id;
};

/*
 * @done: runs when the task is stored, or not. @ret_task: its id.
 * Return: 0, -EINVAL with *@problem filled (404: no such process or policy; 409: its task still runs), -ENOMEM.
 */
int sonde_policies_trigger(struct sonde_backend *b, const struct sonde_policy_trigger *trigger,
			   int64_t now_ms, sonde_store_done_fn done, void *ctx,
			   char ret_task[static SONDE_TASK_ID_MAX],
			   struct sonde_problem *problem) _must_check_;
