/* SPDX-License-Identifier: Apache-2.0 */
/* The cells, as the kernel's two hashes hold them, numbered in the order in which they are met. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <string.h>

#include "collect/tcp_hash/state.h"
#include "tcp_hash.skel.h"

int tcp_hash_cells_init(struct tcp_hash_state *s)
{
	uint32_t limit = s->object.cell_limit + s->object.other_limit;

	for (s->n_buckets = 64; s->n_buckets < limit;)
		s->n_buckets *= 2;
	s->cells = calloc(limit, sizeof(*s->cells));
	s->buckets = calloc(s->n_buckets, sizeof(struct hash_cell *));
	return s->cells && s->buckets ? 0 : -ENOMEM;
}

/* FNV-1a; what a peer chooses of a key only makes its own chain longer, and the table is bounded. */
static uint32_t bucket_of(const struct tcp_hash_state *s, const struct sonde_tcp_cell_key *key)
{
	const unsigned char *byte = (const unsigned char *)key;
	uint32_t hash = 2166136261U;

	for (size_t i = 0; i < sizeof(*key); i++)
		hash = (hash ^ byte[i]) * 16777619U;
	return hash & (s->n_buckets - 1);
}

struct hash_cell *tcp_hash_cell_of(const struct tcp_hash_state *s,
				   const struct sonde_tcp_cell_key *key)
{
	struct hash_cell *cell = s->buckets[bucket_of(s, key)];

	while (cell && memcmp(&cell->key, key, sizeof(*key)) != 0)
		cell = cell->next_in_hash;
	return cell;
}

/* The maps' limits are ours, so there is room. NULL all the same if there is not. */
static struct hash_cell *new_cell(struct tcp_hash_state *s, const struct sonde_tcp_cell_key *key)
{
	struct hash_cell **bucket = &s->buckets[bucket_of(s, key)];
	struct hash_cell *cell;

	if (s->n_cells == s->object.cell_limit + s->object.other_limit)
		return NULL;
	cell = &s->cells[s->n_cells];
	cell->key = *key;
	cell->index = s->n_cells++;
	cell->next_in_hash = *bucket;
	*bucket = cell;
	return cell;
}

/* Entries are never deleted, so a walk by keys meets each that was there when it began. */
static int walk(int fd,
		int (*visit)(struct tcp_hash_state *s, const struct sonde_tcp_cell_key *key,
			     const struct sonde_hash_cell *cell),
		struct tcp_hash_state *s)
{
	struct sonde_tcp_cell_key key;
	void *before = NULL;
	int r = 0;

	while (r == 0 && bpf_map_get_next_key(fd, before, &key) == 0) {
		struct sonde_hash_cell cell;

		if (bpf_map_lookup_elem(fd, &key, &cell) < 0)
			return -errno;
		r = visit(s, &key, &cell);
		before = &key;
	}
	return r;
}

static int walk_both(struct tcp_hash_state *s,
		     int (*visit)(struct tcp_hash_state *s, const struct sonde_tcp_cell_key *key,
				  const struct sonde_hash_cell *cell))
{
	int r;

	r = walk(bpf_map__fd(s->skel->maps.sonde_cells), visit, s);
	return r < 0 ? r : walk(bpf_map__fd(s->skel->maps.sonde_others), visit, s);
}

static int read_one(struct tcp_hash_state *s, const struct sonde_tcp_cell_key *key,
		    const struct sonde_hash_cell *ended)
{
	struct hash_cell *cell = tcp_hash_cell_of(s, key);

	if (!cell)
		cell = new_cell(s, key);
	if (!cell)
		return 0;
	cell->ended = *ended;
	cell->met = true;
	cell->steady = false;
	return 0;
}

static int compare_one(struct tcp_hash_state *s, const struct sonde_tcp_cell_key *key,
		       const struct sonde_hash_cell *ended)
{
	struct hash_cell *cell = tcp_hash_cell_of(s, key);

	if (cell && cell->met)
		cell->steady = ended->begun == cell->ended.begun &&
			       ended->finished == cell->ended.begun &&
			       cell->ended.finished == cell->ended.begun;
	return 0;
}

int tcp_hash_cells_read(struct tcp_hash_state *s)
{
	for (uint32_t i = 0; i < s->n_cells; i++)
		s->cells[i].met = false;
	return walk_both(s, read_one);
}

int tcp_hash_cells_compare(struct tcp_hash_state *s)
{
	return walk_both(s, compare_one);
}
