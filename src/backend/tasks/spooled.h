/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Spooled: how many reports an agent still holds, as it told last (the property `delivery` of its instance). */

#include "backend/tasks/registry.h"

/* 0 also where it told nothing, or is not there: what an agent that left holds comes if it comes back. */
uint64_t sonde_agent_spooled(const struct sonde_agent *a, int64_t now_ms);
