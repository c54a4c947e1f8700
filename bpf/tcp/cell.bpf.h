/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/* From a socket to its cell, once; from an index to counters, on every event. */

static __always_inline void tag_key(const struct sonde_tag *tag, struct sonde_tcp_cell_key *key)
{
	key->netns = tag->netns;
	key->pid = tag->pid;
	key->peer_pid = tag->peer_pid;
	key->role = tag->role;
	key->protocol = IPPROTO_TCP;
	key->port = tag->role == SONDE_TCP_ROLE_CLIENT ? tag->rport : tag->lport;
	__builtin_memcpy(key->laddr, tag->laddr, sizeof(key->laddr));
	__builtin_memcpy(key->raddr, tag->raddr, sizeof(key->raddr));
}

SHARED bool resolve_cell(struct sonde_tag *tag, __u32 *index)
{
	struct sonde_tcp_cell_key key = {};
	__u32 flags, found = 0;

	if (!tag || !index)
		return false;
	flags = *(volatile __u32 *)&tag->flags; /* before the owner, which adopt() writes first */
	tag_key(tag, &key);
	if (!cell_index(&key, &found))
		return false;
	*index = found;
	/* A provisional owner's cell is looked up each time: the next I/O may move the socket. */
	if (!(flags & TAG_PROVISIONAL))
		tag->cell = found + 1;
	return true;
}

static __always_inline struct sonde_tcp_cell *cell_at(__u32 index)
{
	struct sonde_tcp_slot *slot = bpf_map_lookup_elem(&sonde_cells, &index);

	return slot ? &slot->cell : NULL;
}

static __always_inline void hist_add(void *hists, __u32 index, __u64 us)
{
	struct sonde_tcp_hist *hist = bpf_map_lookup_elem(hists, &index);
	__u32 bucket = sonde_hist_bucket(us);

	if (hist && bucket < SONDE_HIST_BUCKETS)
		__sync_fetch_and_add(&hist->count[bucket], 1);
}

/* @which: see SONDE_TCP_SPARSE_MAX. */
SHARED int sparse_add(__u32 index, __u32 which, __u64 value)
{
	__u32 key = index * SONDE_TCP_SPARSE_MAX + which, bucket = sonde_hist_bucket(value);
	struct sonde_tcp_hist *hist = bpf_map_lookup_elem(&sonde_sparse, &key);

	if (!hist) {
		bpf_map_update_elem(&sonde_sparse, &key, (void *)&sonde_empty_hist, BPF_NOEXIST);
		hist = bpf_map_lookup_elem(&sonde_sparse, &key);
	}
	if (hist && bucket < SONDE_HIST_BUCKETS)
		__sync_fetch_and_add(&hist->count[bucket], 1);
	else
		lose(SONDE_TCP_LOSS_CALL_HIST, 1);
	return 0;
}

SHARED int age_add(__u32 index, __u64 ms)
{
	struct sonde_tcp_age *age = bpf_map_lookup_elem(&sonde_age, &index);
	__u32 bucket = sonde_age_bucket(sonde_hist_bucket(ms));

	if (age && bucket < SONDE_TCP_AGE_BUCKETS)
		__sync_fetch_and_add(&age->count[bucket], 1);
	return 0;
}

SHARED int handshake_add(__u32 index, __u32 us)
{
	struct sonde_tcp_cell *cell = cell_at(index);

	if (!cell)
		return 0;
	if (!us) {
		add(&cell->handshake_unknown, 1);
		return 0;
	}
	add(&cell->handshake_count, 1);
	add(&cell->handshake_sum_us, us);
	sparse_add(index, SONDE_TCP_SPARSE_HANDSHAKE, us);
	return 0;
}

#define TAG_WAITS (TAG_ACCEPT_WAITS | TAG_SEED_WAITS)

/*
 * What waited for the owner (`accepted`, `seeded`) goes into the cell: at the
 * first I/O, at a snapshot, at the end; whoever clears the flag adds it.
 */
SHARED int settle(struct sonde_tag *tag, __u32 index)
{
	struct sonde_tcp_cell *cell = cell_at(index);
	__u32 waits;

	if (!tag || !cell)
		return 0;
	waits = __sync_fetch_and_and(&tag->flags, ~TAG_WAITS);
	if (waits & TAG_ACCEPT_WAITS) {
		add(&cell->accepted, 1);
		handshake_add(index, tag->handshake_us);
	}
	if (waits & TAG_SEED_WAITS)
		add(&cell->seeded, 1);
	return 0;
}

/* The cell of a tagged connection, with everything that waited settled into it. */
static __always_inline struct sonde_tcp_cell *tag_cell(struct sonde_tag *tag, __u32 *index)
{
	__u32 cached = tag->cell;

	*index = cached - 1;
	if (!cached && !resolve_cell(tag, index))
		return NULL;
	if (tag->flags & TAG_WAITS)
		settle(tag, *index);
	return cell_at(*index);
}
