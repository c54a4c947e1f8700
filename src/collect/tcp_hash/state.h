/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the files of the TCP collector for older kernels share. Only collect/tcp_hash.h is for others. */

#include <stddef.h>
#include <stdint.h>

#include "bpf/tcp_hash/tcp_hash_private.h"
#include "collect/object.h"
#include "collect/tcp_hash.h"

struct tcp_hash_bpf;

/* A cell as user space knows it. Kept until the collector stops: indices are stable. */
struct hash_cell {
	struct sonde_tcp_cell_key key;
	uint32_t index;
	bool steady;			/* nothing of it ended while this snapshot walked */
	bool met;			/* by this snapshot */
	struct sonde_hash_cell ended;	/* as the kernel had it before the walk */
	struct sonde_tcp_cell now;	/* that, and what the live ones have */
	struct sonde_tcp_cell told;	/* as it was last emitted */
	struct hash_cell *next_in_hash; /* borrowed */
};

struct tcp_hash_state {
	struct sonde_object object;
	struct tcp_hash_bpf *skel; /* owned */
	struct hash_cell *cells;   /* owned; by index, never moved */
	uint32_t n_cells;
	struct hash_cell **buckets; /* owned; n_buckets of them, a power of two */
	uint32_t n_buckets;
	struct sonde_hash_live *live, *again; /* owned; by socket: of two walks of one snapshot */
	size_t n_live, n_again, live_limit;
	uint64_t epoch;
	uint64_t unread; /* live records that found no room: lower bounds, told in the ledger */
};

/* cells.c */
int tcp_hash_cells_init(struct tcp_hash_state *s) _must_check_;
/* The kernel's cells into ended; new ones get an index. Return: 0, -errno. */
int tcp_hash_cells_read(struct tcp_hash_state *s) _must_check_;
/* Sets steady of each: its counters have not moved since they were read. */
int tcp_hash_cells_compare(struct tcp_hash_state *s) _must_check_;
/* NULL = not met yet. */
struct hash_cell *tcp_hash_cell_of(const struct tcp_hash_state *s,
				   const struct sonde_tcp_cell_key *key);

/* snapshot.c */
int tcp_hash_snapshot(void *state, struct sonde_collect_sink sink) _must_check_;
