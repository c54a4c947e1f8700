/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Assign: which agents a task's targets concern, by what the registry knows now. No state. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/problem.h"
#include "backend/tasks/registry.h"
#include "backend/tasks/task.h"

/*
 * sonde_assign() - the agents of a new task
 * @ret: ids, borrowed from the registry; @ret_n of them, at least one on success
 *
 * Only agents that are connected get one. An agent that a target names gets it whether or not the process is registered there, and answers
 * `gone` if it is not there either. Return: 0, -EINVAL with *@problem filled (404: nobody of that name; 409: its agent, or any, is not connected).
 */
int sonde_assign(struct sonde_registry *registry, const struct sonde_spec *spec, int64_t now_ms,
		 const char *ret[static SONDE_TASK_AGENTS_MAX], size_t *ret_n,
		 struct sonde_problem *problem) _must_check_;

/*
 * Should this target go to this agent, one of the @n_agents that a task is for? One that none of them has a process for
 * goes to each: what an agent had that takes no part (it left before) says nothing of where the target is now.
 */
bool sonde_assign_concerns(struct sonde_registry *registry, const char *const *agents,
			   size_t n_agents, const struct sonde_spec_target *target,
			   const char *agent_id);
