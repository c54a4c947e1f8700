/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Compare window: what one window of a task saw, edge by edge and slice by slice, under names that another task has
 * too: service and process at both ends, the server's port, the protocol and the side that saw it. No pid and no
 * instance: those change from run to run, and what differs in nothing else is summed. Private to compare*.c. Loop
 * thread only.
 */

#include <jansson.h>

#include "backend/backend.h"
#include "backend/problem.h"
#include "mal/percentile.h"

#define SONDE_COMPARE_SLICES_MAX 64
/* Of one window: beyond either, the comparison is refused. */
#define SONDE_COMPARE_SIDES_MAX 2048
#define SONDE_COMPARE_CELLS_MAX 1000000 /* of all histograms: 24 bytes each */
#define SONDE_COMPARE_KEY_MAX 1200

enum sonde_compare_source {
	SONDE_COMPARE_RETRANSMITS,
	SONDE_COMPARE_SENT_SEGMENTS, /* of UDP: datagrams */
	SONDE_COMPARE_RECEIVED_SEGMENTS,
	SONDE_COMPARE_DROPS, /* of class loss, or of none; of UDP: no room in the buffer */
	SONDE_COMPARE_SENT_BYTES,
	SONDE_COMPARE_RECEIVED_BYTES,
	SONDE_COMPARE_CONNECTS, /* of the server's side: accepts */
	SONDE_COMPARE_FAILURES, /* of UDP: errors of send calls */
	_SONDE_COMPARE_SOURCE_MAX,
};

enum sonde_compare_histogram {
	SONDE_COMPARE_RTT,
	SONDE_COMPARE_WRITE_TIME,
	SONDE_COMPARE_READ_TIME,
	_SONDE_COMPARE_HISTOGRAM_MAX,
};

struct sonde_compare_cell {
	int64_t bound, count;
	uint32_t slice;
};

struct sonde_compare_cells {
	struct sonde_compare_cell *cell; /* owned */
	size_t n, cap;
};

struct sonde_compare_side {
	const char *client, *server, *port, *protocol, *side; /* into text */
	char text[SONDE_COMPARE_KEY_MAX];
	bool is_udp, is_server;
	int64_t count[_SONDE_COMPARE_SOURCE_MAX][SONDE_COMPARE_SLICES_MAX];
	int64_t total[_SONDE_COMPARE_SOURCE_MAX];
	struct sonde_compare_cells histogram[_SONDE_COMPARE_HISTOGRAM_MAX];
	json_t *ends; /* ids of the processes that were summed; owned */
	json_t *absent; /* meter -> reason, of the agents that measured those: a sum lacks their part; owned */
	UT_hash_handle hh;
	char key[SONDE_COMPARE_KEY_MAX];
};

struct sonde_compare_window {
	const struct sonde_task *task; /* borrowed */
	int64_t since_ms, until_ms;    /* as asked; 0: open */
	uint64_t deadline_ns; /* of the thread's own time: what is not read by then is refused */
	enum sonde_series_step step;  /* of the buckets that were read */
	int64_t start_ms, end_ms;     /* what they cover */
	int64_t first_ms, slice_ms;   /* where the first slice begins, and how long each is */
	size_t n_slices, first, last; /* broken ones at the ends are part of their neighbours */
	double seconds[SONDE_COMPARE_SLICES_MAX];
	bool complete;			  /* else counts are lower bounds */
	struct sonde_compare_side *sides; /* by key */
	size_t n_cells;
	json_t *profiled; /* names of the processes that were targets; owned */
	json_t *pooled;	  /* sonde_compare_pool_key() of what has an edge to "other"; owned */
	json_t *absent; /* meter -> reason, of any agent: for processes of which no agent is known; owned */
	json_t *absent_of; /* process id -> meter -> reason, of the agents that had it as a target; owned */
};

/*
 * Fills @w, of which task, since_ms, until_ms and deadline_ns are set. sonde_compare_window_done() in any case.
 * Return: 0, -EINVAL and -E2BIG with *@problem filled (nothing measured in it; too much), -ETIME, -ENOMEM, -errno of the store.
 */
int sonde_compare_window_read(struct sonde_compare_window *w, struct sonde_backend *b,
			      const char *which, struct sonde_problem *problem) _must_check_;
void sonde_compare_window_done(struct sonde_compare_window *w);

/* The other end: an address, a process, or "other" for all that had no room of their own in the agent. */
const char *sonde_compare_peer(const struct sonde_compare_side *s);
/* Its own end, side and protocol: edges with the same may be part of one edge to "other". */
void sonde_compare_pool_key(const struct sonde_compare_side *s,
			    char ret[static SONDE_COMPARE_KEY_MAX]);
