/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Target table: user space's side of the map that bpf/lib/targets.bpf.h looks
 * into. The caller has raised what map accesses need. Worker's thread only.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "collect/collector.h"

struct sonde_target_table {
	int fd; /* of the map; borrowed */
	size_t entries;
};

/* Adds a pid or widens its mask. Return: 0, -EINVAL (a 0), -ENOSPC, -errno. */
int sonde_target_table_add(const struct sonde_target_table *t, uint32_t pid,
			   uint64_t task_mask) _must_check_;

/* Takes the bits off one pid; true when it had no other and is gone. */
bool sonde_target_table_remove(const struct sonde_target_table *t, uint32_t pid,
			       uint64_t task_mask);

/* Takes the bits off every pid. *@ret_gone: some are gone. Return: 0, -ENOMEM. */
int sonde_target_table_remove_all(const struct sonde_target_table *t, uint64_t task_mask,
				  bool *ret_gone) _must_check_;

/* A PROCESS record each. Forgets children that have ended when the table is crowded. Return: 0, -ENOMEM, -errno of the sink. */
int sonde_target_table_emit(const struct sonde_target_table *t,
			    struct sonde_collect_sink sink) _must_check_;
