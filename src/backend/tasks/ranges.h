/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Ranges: which report sequence numbers of one agent have come, as a few
 * ascending intervals. Bounded: a number that would need one interval too many is refused and stays missing.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

#define SONDE_RANGES_MAX 128

struct sonde_ranges {
	struct {
		uint64_t first, last;
	} range[SONDE_RANGES_MAX];
	size_t n;
	uint64_t received; /* distinct numbers held */
};

/* Return: 0, -EEXIST (held already), -ENOSPC, -EINVAL (0, or above INT64_MAX). */
int sonde_ranges_add(struct sonde_ranges *r, uint64_t sequence) _must_check_;
uint64_t sonde_ranges_highest(const struct sonde_ranges *r); /* 0: none */
/* Numbers from 1 to the highest that have not come. */
uint64_t sonde_ranges_missing(const struct sonde_ranges *r);

/* [[1,10],[12,12]] and back. Return: 0, -EBADMSG. */
json_t *sonde_ranges_json(const struct sonde_ranges *r);
int sonde_ranges_from_json(struct sonde_ranges *r, const json_t *j) _must_check_;
