/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Fake collector: remembers what it was asked and answers as the test says. One for the program. */

#include <stdbool.h>

#include "collect/collector.h"

#define FAKE_PIDS_MAX 1024

struct fake_collector {
	/* what it answers */
	int start_error;
	int target_error; /* of every target_add but the first @target_ok */
	unsigned int target_ok;
	int seed_error;
	int signals_error; /* of a set_signals() that asks for more */
	int snapshot_error;
	unsigned int cells; /* records a snapshot */
	/* what it was asked */
	bool running;
	unsigned int starts, stops, seeds, snapshots, plans;
	unsigned int targets;
	uint32_t pid[FAKE_PIDS_MAX];
	uint64_t mask[FAKE_PIDS_MAX];
	unsigned int target_removes;
	uint32_t removed_pid; /* of the last target_remove() */
	uint64_t removed;     /* mask of all task_remove() */
	unsigned int option_calls;
	uint32_t options; /* of the last set_options() */
	uint32_t signals; /* of the start, or of the last set_signals() that was granted */
	struct sonde_collect_config config;
};

extern struct fake_collector fake_collector;
/* NULL-ended, with the fake alone. */
extern const struct sonde_collector *const fake_collectors[];
