/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Lists: what an agent's report and its answer to a question say alike, as the REST contract shows it. Loop thread only. */

#include "backend/json.h"
#include "sonde/v1/task.pb-c.h"

/* All that is of the target itself. NULL when memory ran out. */
json_t *sonde_target_json(const Sonde__V1__TargetState *target);

/* The meters that are not measured, and why. NULL when memory ran out. */
json_t *sonde_absent_json(Sonde__V1__AbsentMeter *const *absent, size_t n);
