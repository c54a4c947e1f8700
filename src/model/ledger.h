/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Ledger: the sites at which something may be lost, kernel side and agent side
 * in one numbering, with names and words from ledger.def. No state.
 */

#include <stdbool.h>
#include <stddef.h>

#include "bpf/tcp/tcp_types.h"
#include "bpf/udp/udp_types.h"

/* Behind enum sonde_tcp_loss: the agent's own, then the UDP collector's. */
enum sonde_ledger_site {
	SONDE_LEDGER_REPORT_DROPPED = SONDE_TCP_LOSS_MAX,
	SONDE_LEDGER_REPORT_UNKNOWN,
	SONDE_LEDGER_REPORT_LATE_MS,
	SONDE_LEDGER_WORKER_RESTARTED,
	SONDE_LEDGER_SNAPSHOT_FAILED,
	SONDE_LEDGER_RECORD_REFUSED,
	SONDE_LEDGER_UNNAMED,
	SONDE_LEDGER_TARGETS_FULL,
	SONDE_LEDGER_UDP, /* enum sonde_udp_loss begins here */
	_SONDE_LEDGER_MAX = SONDE_LEDGER_UDP + SONDE_UDP_LOSS_MAX,
};

struct sonde_ledger_info {
	const char *name;
	bool weakens; /* not 0: numbers are lower bounds */
	const char *words;
};

/* @site: enum sonde_tcp_loss or enum sonde_ledger_site, below _SONDE_LEDGER_MAX. Never NULL. */
const struct sonde_ledger_info *sonde_ledger_info(unsigned site);
