/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Drops: the answer of GET /tasks/{id}/drops (contract: http/README.md). Loop thread only. */

#include "backend/backend.h"
#include "backend/problem.h"
#include "backend/query/page.h"
#include "backend/query/window.h"

enum sonde_drops_by {
	SONDE_DROPS_REASON = 0,
	SONDE_DROPS_CLASS,
	SONDE_DROPS_DIRECTION,
	SONDE_DROPS_EDGE,
	SONDE_DROPS_LOCATION,
	_SONDE_DROPS_BY_MAX,
};
const char *sonde_drops_by_name(enum sonde_drops_by by);

struct sonde_drops_query {
	enum sonde_drops_by by;
	const char *edge, *side; /* NULL: all; borrowed */
	struct sonde_window window;
	struct sonde_page page;
};

/* Rows of one answer: those beyond are refused with 400, to be narrowed. */
#define SONDE_DROPS_ROWS_MAX 20000

/* *@ret on success only. Return: 0, -EINVAL with @problem filled, -ENOMEM. */
int sonde_view_drops(struct sonde_backend *b, const struct sonde_task *t,
		     struct sonde_series_set *set, const struct sonde_drops_query *query,
		     json_t **ret, struct sonde_problem *problem) _must_check_;
