/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/*
 * Cells: from a key to the index of its counters. Indices are given out in order,
 * so that user space maps the used head of the array only; what the full table
 * refuses goes to the `other` cell of its (process, role), behind the peers' cells.
 * A server that forks for each connection would use those up too: children get half
 * of them, then share those of the named process that they descend from.
 *
 * SONDE_SLOT is the collector's struct of one entry: it begins with the key and the
 * mark `used`; SONDE_CELL_PROTOCOL is in all its keys. SONDE_LOSS_CELL_FULL, _OTHER_FULL and _BUSY are sites of its ledger.
 */

#if !defined(SONDE_SLOT) || !defined(SONDE_LOSS_CELL_FULL) || !defined(SONDE_LOSS_OTHER_FULL) ||   \
	!defined(SONDE_LOSS_BUSY) || !defined(SONDE_CELL_PROTOCOL)
#error "define SONDE_SLOT, SONDE_CELL_PROTOCOL and the sites SONDE_LOSS_CELL_FULL, _OTHER_FULL and _BUSY first"
#endif

#include "bpf/lib/targets.bpf.h"

#define SONDE_SPARE_CELLS 64 /* indices that lost a race, waiting to be used */

const volatile __u32 sonde_cell_limit = 1;  /* cells of peers: [0, limit) */
const volatile __u32 sonde_other_limit = 1; /* `other` cells behind them: [limit, limit + other) */

__u32 sonde_next_cell;	/* indices below are given out */
__u32 sonde_next_other; /* how many are given out from sonde_cell_limit on */

/* Sizes are set by user space between open and load. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct sonde_tcp_cell_key);
	__type(value, __u32);
} sonde_index SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct SONDE_SLOT);
} sonde_cells SEC(".maps");

/* Indices that lost the race for their key: used before a fresh one is taken. */
struct {
	__uint(type, BPF_MAP_TYPE_STACK);
	__uint(max_entries, SONDE_SPARE_CELLS);
	__type(value, __u32);
} sonde_spare_cells SEC(".maps"), sonde_spare_others SEC(".maps");

/* The index that @map holds for the key after we tried to enter @index: ours, or the winner's. */
static __always_inline bool enter_cell(const struct sonde_tcp_cell_key *key, __u32 *index,
				       void *spare)
{
	struct SONDE_SLOT *slot;
	__u32 *winner;

	if (bpf_map_update_elem(&sonde_index, key, index, BPF_NOEXIST) == 0) {
		slot = bpf_map_lookup_elem(&sonde_cells, index);
		if (!slot)
			return false;
		slot->key = *key;
		__sync_lock_test_and_set(&slot->used, 1); /* the key before the mark */
		return true;
	}
	/* Another CPU was first, or there is no memory: either way the index is free again. */
	if (bpf_map_push_elem(spare, index, 0))
		lose(SONDE_LOSS_BUSY, 1);
	winner = bpf_map_lookup_elem(&sonde_index, key);
	if (!winner)
		return false;
	*index = *winner;
	return true;
}

/* An index of the @limit that begin at @first; *@next of them were given out. */
static __always_inline bool take_index(__u32 *next, __u32 first, __u32 limit, void *spare,
				       __u32 *ret)
{
	__u32 n;

	if (bpf_map_pop_elem(spare, ret) == 0)
		return true;
	/* The counter may run past the limit by one a CPU, never further. */
	if (*(volatile __u32 *)next >= limit)
		return false;
	n = __sync_fetch_and_add(next, 1);
	*ret = first + n;
	return n < limit;
}

/* The `other` cell of a (process, role), entered anew while less than @limit of them are in use. Spends @key. */
static __always_inline bool other_of(struct sonde_tcp_cell_key *key, __u32 pid, __u32 limit,
				     __u32 *index)
{
	__u8 role = key->role;
	__u32 *known;

	__builtin_memset(key, 0, sizeof(*key));
	key->pid = pid;
	key->role = role;
	key->protocol = SONDE_CELL_PROTOCOL;
	key->flags = SONDE_TCP_CELL_OTHER;
	known = bpf_map_lookup_elem(&sonde_index, key);
	if (known) {
		*index = *known;
		return true;
	}
	return take_index(&sonde_next_other, sonde_cell_limit, limit, &sonde_spare_others, index) &&
	       enter_cell(key, index, &sonde_spare_others);
}

/*
 * The named process that a child descends from, where every task over the one is
 * over the other, so that what they share is in the same tasks. Else the child.
 */
static __always_inline __u32 sharing_root(__u32 pid)
{
	struct sonde_tcp_target *child, *root;
	__u32 root_pid;

	child = bpf_map_lookup_elem(&sonde_targets, &pid);
	if (!child)
		return pid;
	root_pid = child->root_pid;
	root = bpf_map_lookup_elem(&sonde_targets, &root_pid);
	return root && root->task_mask == child->task_mask ? root_pid : pid;
}

static __always_inline bool other_cell(struct sonde_tcp_cell_key *like, __u32 *index)
{
	__u32 pid = like->pid, root = sharing_root(pid);
	bool shares = root != pid;

	lose(SONDE_LOSS_CELL_FULL, 1);
	if (other_of(like, pid, shares ? sonde_other_limit / 2 : sonde_other_limit, index) ||
	    (shares && other_of(like, root, sonde_other_limit, index)))
		return true;
	lose(SONDE_LOSS_OTHER_FULL, 1);
	return false;
}

/*
 * True, and *@index, when there is a cell for the key or an `other` one. Not SHARED, and
 * both are the caller's own variables: before 6.2 no helper takes the memory that a
 * global function was given. @key is spent: a second one does not fit the stack, of
 * which all functions on a path share 512 bytes before 6.13.
 */
static __noinline bool cell_index(struct sonde_tcp_cell_key *key, __u32 *index)
{
	__u32 *known = bpf_map_lookup_elem(&sonde_index, key);

	if (known) {
		*index = *known;
		return true;
	}
	if (take_index(&sonde_next_cell, 0, sonde_cell_limit, &sonde_spare_cells, index) &&
	    enter_cell(key, index, &sonde_spare_cells))
		return true;
	return other_cell(key, index);
}
