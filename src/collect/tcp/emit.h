/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What both tiers of the TCP collector tell alike: this folder's, and collect/tcp_hash. */

#include "bpf/tcp/tcp_types.h"
#include "collect/collector.h"

/* HIST records of what is not 0. @kind: enum sonde_probe_hist_kind. Return: 0, -errno of the sink. */
int tcp_emit_hist(const struct sonde_tcp_hist *hist, uint32_t index, uint32_t kind,
		  struct sonde_collect_sink sink) _must_check_;
