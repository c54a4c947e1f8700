/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Side: what one end of an edge measured over a task, collected from the totals
 * of the sonde_net_* series and shown in the form of the REST contract. Pure.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "backend/query/edge.h"
#include "base/cleanup.h"
#include "mal/percentile.h"
#include "model/meters.h"

struct sonde_side_histogram {
	struct sonde_mal_bin *bin; /* ascending; owned */
	size_t n, cap;
};

#define SONDE_SIDE_CALL_HISTOGRAMS 6 /* sizes and times of calls */

struct sonde_side {
	bool present;
	bool have[_SONDE_METER_MAX];
	int64_t value[_SONDE_METER_MAX];
	json_t *send_errors, *receive_errors; /* of UDP; owned, NULL until the first */
	struct sonde_side_histogram rtt, handshake, age, calls[SONDE_SIDE_CALL_HISTOGRAMS];
	/* owned, NULL until the first */
	json_t *retransmits, *retransmit_bytes, *failures, *closes, *drops, *reset_reasons;
	json_t *write_calls, *read_calls, *local_failures;
};

void sonde_side_done(struct sonde_side *s);

/* Adds one total. @bucket: of a histogram. Return: 0, -ENOMEM. */
int sonde_side_add(struct sonde_side *s, enum sonde_meter meter, const struct sonde_labels *labels,
		   int64_t bucket, int64_t value) _must_check_;

/* Lower bound of the bucket in which the nearest-rank percentile lies; -1 when empty. @percent 1 to 100. */
int64_t sonde_side_percentile(const struct sonde_side_histogram *h, unsigned percent);
int64_t sonde_side_count(const struct sonde_side_histogram *h);
/* Adds the buckets of @from. Return: 0, -ENOMEM. */
int sonde_side_merge(struct sonde_side_histogram *to,
		     const struct sonde_side_histogram *from) _must_check_;
/* Adds @count to the bucket that begins at @bound. Return: 0, -ENOMEM. */
int sonde_side_add_bin(struct sonde_side_histogram *h, int64_t bound, int64_t count) _must_check_;
void sonde_side_histogram_done(struct sonde_side_histogram *h);
/* {"count", "mean", "min", "p50", "p90", "p99"}; @sum of the observations, NULL: no mean. NULL when memory ran out. */
json_t *sonde_side_histogram_json(const struct sonde_side_histogram *h, const int64_t *sum);

/* Why a meter is absent, of [{meter, reason}]; NULL if nobody said so. Borrowed. */
const char *sonde_side_absent(const json_t *absent, enum sonde_meter meter);

/* UDP_METRICS of the contract, likewise. */
json_t *sonde_side_udp_json(const struct sonde_side *s, const json_t *absent);
/* METRICS of the contract. @absent: [{meter, reason}]. NULL when memory ran out; null for a side not present. */
json_t *sonde_side_json(const struct sonde_side *s, const json_t *absent);
