/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Compare: two windows, of two tasks or of one, held against each other edge by edge (contract: http/README.md; what
 * the verdicts rest on: statistics.h). Loop thread only.
 */

#include <jansson.h>
#include <stdint.h>

#include "backend/backend.h"
#include "backend/problem.h"

#define SONDE_COMPARE_ALPHA 0.05
#define SONDE_COMPARE_THRESHOLD_PERCENT 10
#define SONDE_COMPARE_SAMPLES_MIN 50

struct sonde_compare_span {
	const struct sonde_task *task;
	int64_t since_ms, until_ms; /* 0: open */
};

struct sonde_compare_query {
	struct sonde_compare_span a, b;
	double threshold_percent; /* a smaller change is none */
	uint64_t min_samples;	  /* with fewer there is no verdict */
};

/* *@ret on success only. Return: 0, -EINVAL with *@problem filled, -ENOMEM, -errno of the store. */
int sonde_view_compare(struct sonde_backend *b, const struct sonde_compare_query *query,
		       json_t **ret, struct sonde_problem *problem) _must_check_;
