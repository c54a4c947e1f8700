/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Refusals: what a bound turned away, by the name of the metric and of the bound. Bounded: names that come when all
 * places are taken share one. Pure.
 */

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

#define SONDE_REFUSALS_MAX 32
#define SONDE_REFUSALS_NAME_MAX 96 /* with NUL; longer names are cut */

#define SONDE_REFUSALS_BOUND_MAX 24

struct sonde_refusal {
	char metric[SONDE_REFUSALS_NAME_MAX];
	char bound[SONDE_REFUSALS_BOUND_MAX];
	uint64_t count;
};

struct sonde_refusals {
	struct sonde_refusal *v; /* owned; NULL until the first */
	size_t n;
	uint64_t other; /* of names that found no place */
};

void sonde_refusals_done(struct sonde_refusals *r);
void sonde_refusals_add(struct sonde_refusals *r, const char *metric, const char *bound,
			uint64_t count);

/*
 * Rows {"task", "metric", "bound", "count"}, or without a task where @task is NULL, appended to @rows. What had no place
 * is one row, of the metric "" and the bound "names". Return: 0, -ENOMEM.
 */
int sonde_refusals_append(const struct sonde_refusals *r, const char *task,
			  json_t *rows) _must_check_;
/* Adds what the above gave. */
void sonde_refusals_read(struct sonde_refusals *r, const json_t *rows);
