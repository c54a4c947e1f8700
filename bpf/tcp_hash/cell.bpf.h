/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/*
 * Cells by key. Only additions without a result are to be had here, so there are no
 * indices to give out: user space numbers the cells that it meets.
 */

/* Sizes are set by user space between open and load. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct sonde_tcp_cell_key);
	__type(value, struct sonde_hash_cell);
} sonde_cells SEC(".maps"), sonde_others SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct sonde_tcp_cell_key);
	__type(value, struct sonde_tcp_hist);
} sonde_handshake SEC(".maps");

/* Too large for a stack. */
const volatile struct sonde_hash_cell sonde_no_cell = {};
const volatile struct sonde_tcp_hist sonde_no_hist = {};

static __always_inline void *enter(void *map, const struct sonde_tcp_cell_key *key,
				   const volatile void *nothing)
{
	/* Another CPU may be first: then it is there, too. */
	bpf_map_update_elem(map, key, (const void *)nothing, BPF_NOEXIST);
	return bpf_map_lookup_elem(map, key);
}

static __noinline struct sonde_hash_cell *other_cell(const struct sonde_tcp_cell_key *like)
{
	struct sonde_tcp_cell_key key = {};
	struct sonde_hash_cell *cell;

	key.pid = like->pid;
	key.role = like->role;
	key.flags = SONDE_TCP_CELL_OTHER;
	lose(SONDE_TCP_LOSS_CELL_FULL, 1);
	cell = bpf_map_lookup_elem(&sonde_others, &key);
	if (!cell)
		cell = enter(&sonde_others, &key, &sonde_no_cell);
	if (!cell)
		lose(SONDE_TCP_LOSS_OTHER_FULL, 1);
	return cell;
}

static __always_inline struct sonde_hash_cell *cell_of(const struct sonde_tcp_cell_key *key)
{
	struct sonde_hash_cell *cell = bpf_map_lookup_elem(&sonde_cells, key);

	if (!cell)
		cell = enter(&sonde_cells, key, &sonde_no_cell);
	return cell ? cell : other_cell(key);
}

static __noinline int handshake_add(const struct sonde_hash_sock *s, __u32 us)
{
	struct sonde_hash_cell *cell = cell_of(&s->key);
	__u32 bucket = sonde_hist_bucket(us);
	struct sonde_tcp_hist *hist;

	if (!cell)
		return 0;
	if (!us) {
		add(&cell->cell.handshake_unknown, 1);
		return 0;
	}
	add(&cell->cell.handshake_count, 1);
	add(&cell->cell.handshake_sum_us, us);
	hist = bpf_map_lookup_elem(&sonde_handshake, &s->key);
	if (!hist)
		hist = enter(&sonde_handshake, &s->key, &sonde_no_hist);
	if (hist && bucket < SONDE_HIST_BUCKETS)
		__sync_fetch_and_add(&hist->count[bucket], 1);
	return 0;
}
