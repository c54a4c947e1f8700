/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What flows.c (keeping) and flows-report.c (telling) share. */

#include "agent/flows.h"

/* An open connection that the server has, and what of it. */
struct sonde_flow_told {
	uint64_t id;
	uint64_t hash;
};

/* What was counted of a connection before it was this task's. */
struct sonde_flow_base {
	uint64_t id;
	struct sonde_flow_rest sums;
};

struct sonde_flow_seen {
	struct sonde_flow_rest_key key;
	struct sonde_flow_rest rest;
};

/* For qsort() and bsearch() of what begins with an id. */
int sonde_flow_compare_id(const void *a, const void *b);
