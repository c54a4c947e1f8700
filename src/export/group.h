/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Group: edges that carry the same labels, merged before anything is averaged,
 * because a backend adds what carries the same labels. Each set of meters names
 * peers by its own rule. One thread.
 */

#include "export/batch.h"
#include "export/edge.h"

enum sonde_group_rule {
	/*
	 * TCP alone: the set knows no other protocol. A process id only for a peer of the same service and instance, else `_local`, else `_address` =
	 * ip:port, with port 0 for a server's clients (one peer a client address).
	 */
	SONDE_GROUP_SKYWALKING = 0,
	/* The same with `_local` for every peer that has no process id: one final peer, whoever it is. */
	SONDE_GROUP_SKYWALKING_UNKNOWN,
	/* The true process id of any known process, else the address without port; the service port apart. */
	SONDE_GROUP_SONDE,
};

#define SONDE_GROUP_VALUE_MAX 72

/*
 * Writes the meters of one merged edge. @labels: own and peer labels, then `side`; it may add
 * more and must cut them off again.
 */
typedef int (*sonde_group_emit_fn)(struct sonde_batch *b, const struct sonde_edge *merged,
				   struct sonde_batch_labels *labels);

/* Merges and writes every group in which anything changed. Return: 0, -ENOMEM, -ENOSPC, -EINVAL. */
int sonde_group_emit(struct sonde_batch *b, const struct sonde_edges *edges,
		     enum sonde_group_rule rule, sonde_group_emit_fn emit) _must_check_;
