/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The TCP collector for kernels whose tracing programs have no socket storage
 * (before 5.11): sockets are entries of a hash, by their address. It gives
 * connections, payload, segments, retransmits and smoothed RTT, and no more; what it
 * stands in for is said by collect/tcp/tier.c. Worker's thread only.
 */

#include "collect/collector.h"
#include "collect/plan.h"

/* A collector like any, but in no registry. Its PROBE records are of what it has itself. */
extern const struct sonde_collector sonde_collector_tcp_hash;

const struct sonde_plan_table *tcp_hash_plan_table(void);
