/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Flows: the answer of GET /tasks/{id}/flows (contract: http/README.md). Loop thread only. */

#include "backend/backend.h"
#include "backend/problem.h"

#define SONDE_FLOWS_LIMIT_DEFAULT 100
#define SONDE_FLOWS_LIMIT_MAX 1000

/* The query's parameters as text; NULL: not given. Borrowed. */
struct sonde_flows_query {
	const char *process, *peer; /* id, name, or pid and address */
	const char *state;	    /* open, ended, failed, or a state of TCP */
	const char *role;	    /* client, server */
	const char *sort;	    /* bytes, retransmits, rtt, start */
	const char *limit;
	const char *cursor;	    /* `next` of an earlier answer to the same query */
	int64_t since_ms, until_ms; /* open at any time from and before; 0: open */
};

/* *@ret on success only. Return: 0, -EINVAL with *@problem filled, -ENOMEM, -errno of the store. */
int sonde_view_flows(struct sonde_backend *b, const struct sonde_task *t,
		     const struct sonde_flows_query *query, json_t **ret,
		     struct sonde_problem *problem) _must_check_;
