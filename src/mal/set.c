/* SPDX-License-Identifier: Apache-2.0 */
#include "mal/set.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define CAP_MIN 1024U
#define CAP_KEPT 65536U /* slots that a reset keeps */

const struct mal_set mal_set_empty = {.same = &mal_set_empty};

static uint64_t mix(uint64_t h)
{
	h *= 0xff51afd7ed558ccdULL;
	h ^= h >> 32;
	h *= 0xc4ceb9fe1a85ec53ULL;
	return h ^ (h >> 29);
}

static uint64_t hash_list(uint64_t seed, const struct mal_pair *v, size_t n)
{
	uint64_t h = seed ^ n;

	for (size_t i = 0; i < n; i++) {
		h = (h ^ (((uint64_t)v[i].key << 32) | v[i].value)) * 0x9e3779b97f4a7c15ULL;
		h ^= h >> 29;
	}
	return mix(h);
}

/* A sum: the order is no part of it. */
static uint64_t hash_map(uint64_t seed, const struct mal_set *s)
{
	uint64_t h = s->n;

	for (uint32_t i = 0; i < s->n; i++)
		h += mix(seed ^ (((uint64_t)s->v[i].key << 32) | s->v[i].value));
	return mix(h);
}

static uint32_t java_hash(const struct mal_strings *strings, const struct mal_pair *v, size_t n)
{
	uint32_t h = 0;

	for (size_t i = 0; i < n; i++)
		h += (uint32_t)strings->v[v[i].key].java_hash ^
		     (uint32_t)strings->v[v[i].value].java_hash;
	return h;
}

static bool equal_maps(const struct mal_set *a, const struct mal_set *b)
{
	if (a->n != b->n)
		return false;
	for (uint32_t i = 0; i < a->n; i++)
		if (mal_set_get(b, a->v[i].key) != a->v[i].value)
			return false;
	return true;
}

int mal_sets_init(struct mal_sets *s, size_t max_bytes)
{
	assert(s);

	*s = (struct mal_sets){.arena = MAL_ARENA_INIT(max_bytes),
			       .cap = CAP_MIN,
			       .maps_cap = CAP_MIN,
			       .lists = calloc(CAP_MIN, sizeof(void *)),
			       .maps = calloc(CAP_MIN, sizeof(void *))};
	if (s->lists && s->maps)
		return 0;
	mal_sets_done(s);
	return -ENOMEM;
}

void mal_sets_done(struct mal_sets *s)
{
	if (!s)
		return;
	mal_arena_done(&s->arena);
	free((void *)s->lists);
	free((void *)s->maps);
	s->lists = s->maps = NULL;
	s->cap = s->maps_cap = s->n = s->n_maps = 0;
}

/* Empties a table; what one huge batch needed is not kept for good. */
static void clear(struct mal_set ***table, uint32_t *cap)
{
	struct mal_set **v = *cap > CAP_KEPT ? calloc(CAP_KEPT, sizeof(void *)) : NULL;

	if (v) {
		free((void *)*table);
		*table = v;
		*cap = CAP_KEPT;
		return;
	}
	memset((void *)*table, 0, *cap * sizeof(void *));
}

void mal_sets_reset(struct mal_sets *s)
{
	assert(s && s->lists);

	if (s->n > 0)
		clear(&s->lists, &s->cap);
	if (s->n_maps > 0)
		clear(&s->maps, &s->maps_cap);
	mal_arena_reset(&s->arena);
	s->n = s->n_maps = 0;
}

static int grow(struct mal_set ***table, uint32_t *cap,
		uint64_t (*hash)(uint64_t, const struct mal_set *), uint64_t seed)
{
	uint32_t wide = *cap * 2;
	struct mal_set **v = calloc(wide, sizeof(void *));

	if (!v)
		return -ENOMEM;
	for (uint32_t i = 0; i < *cap; i++) {
		struct mal_set *set = (*table)[i];
		uint64_t at;

		if (!set)
			continue;
		for (at = hash(seed, set); v[at & (wide - 1)]; at++)
			;
		v[at & (wide - 1)] = set;
	}
	free((void *)*table);
	*table = v;
	*cap = wide;
	return 0;
}

static uint64_t kept_hash(uint64_t seed, const struct mal_set *s)
{
	(void)seed;
	return s->hash;
}

int mal_sets_put(struct mal_sets *s, const struct mal_strings *strings, const struct mal_pair *v,
		 size_t n, const struct mal_set **ret)
{
	uint64_t hash, at;
	struct mal_set *set;

	if (n == 0) {
		*ret = &mal_set_empty;
		return 0;
	}
	hash = hash_list(strings->seed, v, n);
	for (at = hash; (set = s->lists[at & (s->cap - 1)]); at++) {
		if (set->hash == hash && set->n == n && memcmp(set->v, v, n * sizeof(*v)) == 0) {
			*ret = set;
			return 0;
		}
	}
	if (s->n >= s->cap / 2) {
		if (grow(&s->lists, &s->cap, kept_hash, 0) < 0)
			return -ENOMEM;
		for (at = hash; s->lists[at & (s->cap - 1)]; at++)
			;
	}
	set = mal_arena_alloc(&s->arena, sizeof(*set) + n * sizeof(*v));
	if (!set)
		return s->arena.used >= s->arena.max / 2 ? -E2BIG : -ENOMEM;
	set->hash = hash;
	set->id = ++s->n;
	set->java_hash = java_hash(strings, v, n);
	set->same = NULL;
	set->n = (uint32_t)n;
	memcpy(set->v, v, n * sizeof(*v));
	s->lists[at & (s->cap - 1)] = set;
	*ret = set;
	return 0;
}

int mal_sets_same(struct mal_sets *s, const struct mal_strings *strings, const struct mal_set *set,
		  const struct mal_set **ret)
{
	/* sets are this pool's own memory; `same` is the only thing about one that is found out late */
	struct mal_set *own = (struct mal_set *)set, *other;
	uint64_t at;

	if (set->same) {
		*ret = set->same;
		return 0;
	}
	if (s->n_maps >= s->maps_cap / 2 &&
	    grow(&s->maps, &s->maps_cap, hash_map, strings->seed) < 0)
		return -ENOMEM;
	for (at = hash_map(strings->seed, set); (other = s->maps[at & (s->maps_cap - 1)]); at++)
		if (equal_maps(other, set))
			break;
	if (!other) {
		s->maps[at & (s->maps_cap - 1)] = own;
		s->n_maps++;
		other = own;
	}
	own->same = other;
	*ret = other;
	return 0;
}
