/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Meters: the sonde_net_* table of meters.def as data, the words that label
 * values are made of, and the lower bounds of SkyWalking's histograms. No state.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/tcp/tcp_types.h"
#include "bpf/udp/udp_types.h"
#include "model/signal.h"

enum sonde_meter_kind {
	SONDE_METER_KIND_COUNTER = 0,
	SONDE_METER_KIND_GAUGE,
	SONDE_METER_KIND_HISTOGRAM,
	_SONDE_METER_KIND_MAX,
};

enum sonde_meter {
#define SONDE_METER(id, name, kind, signal, labels, source, help) SONDE_METER_##id,
#include "model/meters.def"
#undef SONDE_METER
	_SONDE_METER_MAX,
};

struct sonde_meter_info {
	const char *name;
	enum sonde_meter_kind kind;
	enum sonde_signal signal; /* or SONDE_SIGNAL_ALWAYS */
	const char *labels;	  /* beyond peer and side, comma separated; "" for none */
	const char *source;
	const char *help;
};

/* Never NULL. */
const struct sonde_meter_info *sonde_meter_info(enum sonde_meter m);

/* By wire name; NULL if there is none. */
const struct sonde_meter_info *sonde_meter_find(const char *name);

/* Whether an agent of ours can send a meter of this name: one of the table, or of SkyWalking's set (export/skywalking.h). */
bool sonde_meter_is_sent(const char *name);

/* "counter", "gauge", "histogram". */
const char *sonde_meter_kind_name(enum sonde_meter_kind k);

/* Of what its name counts: "us", "bytes", "bytes_per_second", "segments", … "count". Any text will do. */
const char *sonde_meter_unit(const char *name);

/* Label values. Each index must be below its enum's MAX. */
const char *sonde_meter_closer(enum sonde_tcp_close c);	       /* local remote both error */
const char *sonde_meter_close_kind(enum sonde_tcp_close c);    /* fin rst error */
const char *sonde_meter_errno(enum sonde_tcp_connect_error e); /* aborted ECONNREFUSED … other */
const char *sonde_meter_udp_errno(enum sonde_udp_error e);     /* ECONNREFUSED … other */
const char *sonde_meter_retransmit(enum sonde_tcp_retransmit k); /* syn synack fast … */
const char *sonde_meter_where(enum sonde_tcp_where w); /* socket elsewhere listener both_ends */
/* Of drops, by @direction (receive, transmit) and @where: does the receiver's side have the same packets? A sum over ends leaves these out. */
bool sonde_meter_drop_is_the_receivers(const char *direction, const char *where);
const char *sonde_meter_call_family(
	enum sonde_tcp_call_direction d,
	enum sonde_tcp_call_family f); /* write writev sendto … read … */
const char *sonde_meter_local_errno(enum sonde_tcp_local_error e); /* ENETUNREACH … other */

/* SkyWalking's 34 lower bounds, in microseconds, ascending from 0. In ns they are 1,000 times that. */
#define SONDE_SKYWALKING_BOUNDS 34
extern const uint32_t sonde_skywalking_bounds_us[SONDE_SKYWALKING_BOUNDS];

/* Index of the bucket that takes @us: the last bound that is not above it. */
size_t sonde_skywalking_bucket(uint64_t us);
