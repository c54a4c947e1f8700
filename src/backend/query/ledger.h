/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Ledger by agent: what each saw, told and lost, of GET /tasks/{id}/ledger (contract: http/README.md). Loop thread only. */

#include <jansson.h>

#include "backend/tasks/task.h"

/* [{"agent_id", "hook_runs", "lost", …}]; NULL when memory ran out. */
json_t *sonde_ledger_agents(const struct sonde_task *t);
