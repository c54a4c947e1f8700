/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The SkyWalking set: rover_net_p_* with the names, labels, units and bounds
 * that OAP's own network-profiling rules read. Averages are made after the
 * merge per final peer. One thread.
 */

#include "export/batch.h"
#include "export/edge.h"
#include "model/meters.h"
#include "model/signal.h"

enum sonde_skywalking_peers {
	SONDE_SKYWALKING_PEERS_ADDRESS = 0,
	/*
	 * A peer that is no process of the same instance is told as `_local`, not by its `_address`: for the latter
	 * OAP's rules ask the Kubernetes API, and where there is none all samples of the meter are lost.
	 */
	SONDE_SKYWALKING_PEERS_UNKNOWN,
};

/* Return: 0, -ENOMEM, -ENOSPC, -EINVAL. */
int sonde_skywalking_emit(struct sonde_batch *b, const struct sonde_edges *edges,
			  enum sonde_skywalking_peers peers) _must_check_;

/*
 * Folds the fine histogram of microseconds into SkyWalking's buckets. Every bound is an edge of the fine
 * one, so nothing moves across a bound. Return: the sum.
 */
uint64_t sonde_skywalking_fold(const struct sonde_sparse_hist *h,
			       uint64_t ret[SONDE_SKYWALKING_BOUNDS]);

/* Meters of the set that only an option measures, and the metrics of the PROBE records that say whether it does.
 * @i from 0; false when there is no such row. */
bool sonde_skywalking_needs(size_t i, const char **ret_meter, const char **ret_metrics);

/* Meters of the set and the signal that each needs. False behind the last. */
bool sonde_skywalking_signal(size_t i, const char **ret_meter, enum sonde_signal *ret_signal);
