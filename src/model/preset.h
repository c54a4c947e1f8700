/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Presets: what a task that names one gets where it leaves something open (src/model/presets.def). */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sonde_preset {
	const char *name;  /* of the file in tasks/, too */
	const char *title; /* for people */
	const char *question;
	uint32_t collectors; /* SONDE_PROBE_COLLECT_* */
	bool execution_time;
	bool without_flows;
	uint32_t signals; /* SONDE_SIGNAL_BIT(); 0 = no selection */
};

#define SONDE_PRESET_DEFAULT "network"
#define SONDE_PRESET_DURATION_MS 60000

/* In the order in which they are shown; NULL behind the last. */
const struct sonde_preset *sonde_preset_at(size_t i);
/* NULL = there is none of this name. */
const struct sonde_preset *sonde_preset_find(const char *name);
