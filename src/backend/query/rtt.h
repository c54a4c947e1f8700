/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* RTT: the answer of GET /tasks/{id}/rtt (contract: http/README.md). Loop thread only. */

#include "backend/backend.h"
#include "backend/problem.h"
#include "backend/query/page.h"
#include "backend/query/window.h"

struct sonde_rtt_query {
	const char *edge, *side; /* NULL: all; borrowed */
	struct sonde_window window;
	struct sonde_page page; /* of the ends of edges */
};

/* *@ret on success only. Return: 0, -EINVAL with @problem filled, -ENOMEM. */
int sonde_view_rtt(struct sonde_backend *b, const struct sonde_task *t,
		   struct sonde_series_set *set, const struct sonde_rtt_query *query, json_t **ret,
		   struct sonde_problem *problem) _must_check_;
