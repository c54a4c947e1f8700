/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Topology: nodes and edges of a task, from the totals of its sonde_net_* series. Edges between processes are always
 * collected; by anything else they are members of the edges that are shown, so that what is counted from one side is
 * counted member by member, and the totals are the same by whatever nodes are put together. Loop thread only.
 */

#include <stdbool.h>

#include "backend/hash.h"
#include "backend/problem.h"
#include "backend/query/group.h"
#include "backend/query/side.h"
#include "backend/query/window.h"

/* What edges are ranked by; a name and a unit each. */
enum sonde_rank {
	SONDE_RANK_BYTES = 0,
	SONDE_RANK_SEGMENTS,
	SONDE_RANK_DATAGRAMS,
	SONDE_RANK_RETRANSMITTED,
	SONDE_RANK_DROPPED,
	SONDE_RANK_CONNECTIONS,
	SONDE_RANK_CONNECT_FAILURES,
	SONDE_RANK_RESETS,
	SONDE_RANK_RTT_P50,
	SONDE_RANK_RTT_P90,
	SONDE_RANK_RTT_P99,
	_SONDE_RANK_MAX,
};
/* Return: _SONDE_RANK_MAX if there is none of that name. */
enum sonde_rank sonde_rank_find(const char *name);
const char *sonde_rank_name(enum sonde_rank r);
const char *sonde_rank_unit(enum sonde_rank r);
/* Does it add up? A percentile does not. */
bool sonde_rank_is_sum(enum sonde_rank r);

struct sonde_topology_query {
	enum sonde_topology_by by;
	enum sonde_rank rank;
	bool ranked;	     /* the largest first; else by their ends */
	uint64_t top;	     /* edges at most; 0: all */
	uint64_t hide_below; /* percent of the sum; 0: none */
	struct sonde_window window;
};

struct sonde_topology_edge {
	char id[SONDE_EDGE_ID_MAX];
	char client[SONDE_NODE_ID_MAX], server[SONDE_NODE_ID_MAX]; /* node ids */
	int64_t port;
	bool udp;
	struct sonde_side client_side, server_side;
	struct sonde_topology_edge *shown; /* of which it is a member; itself if by process */
	size_t members;			   /* of one that is shown */
	/* by sonde_topology_rank() */
	bool valued, hidden;
	int64_t value;
	struct sonde_side_histogram rtt; /* of one side of each member */
	UT_hash_handle hh;
};

struct sonde_topology_node {
	char id[SONDE_NODE_ID_MAX];
	char process_id[SONDE_NODE_ID_MAX]; /* one that led to it */
	size_t members;
	bool target, hidden;
	UT_hash_handle hh;
};

struct sonde_topology {
	struct sonde_backend *backend;
	const struct sonde_task *task;
	const struct sonde_topology_query *query;
	struct sonde_group group;
	struct sonde_topology_edge *members, *shown; /* shown: the same table if by process */
	struct sonde_topology_node *nodes;	     /* of those that are shown */
	int64_t sum;				     /* of the shown edges' values */
	json_t *known;				     /* "member\tnode" that is counted; owned */
	json_t *absent;				     /* [{meter, reason}] of all agents; owned */
	enum sonde_meter meter;			     /* of the series being walked */
};

/* Several ends together have what adds up, the smallest and the largest; a mean of means would be none. */
bool sonde_topology_adds_up(enum sonde_meter meter);

/*
 * topology-rank.c: values, the order, and what is left out by `top` and `hide_below`.
 * sonde_topology_totals(): {"client_sent_bytes", …}: of each edge between processes from one side.
 * sonde_topology_more(): {"edges", "nodes", "value", "share"}: what is left out. NULL when memory ran out.
 */
int sonde_topology_rank(struct sonde_topology *tp) _must_check_;
json_t *sonde_topology_totals(const struct sonde_topology *tp);
json_t *sonde_topology_more(const struct sonde_topology *tp);
/* Of an edge that is shown: its part of the sum; null where it has no value, or that does not add up. */
json_t *sonde_topology_share(const struct sonde_topology *tp,
			     const struct sonde_topology_edge *edge);
json_t *sonde_topology_ranking(const struct sonde_topology *tp);

/* *@ret: the answer of GET …/topology. Return: 0, -ENOMEM, -errno of the store. */
int sonde_topology(struct sonde_backend *b, const struct sonde_task *t,
		   struct sonde_series_set *set, const struct sonde_topology_query *query,
		   json_t **ret) _must_check_;

/* What the agents said is absent: [{meter, reason}]. NULL when memory ran out. */
json_t *sonde_topology_absent(const struct sonde_task *t);
