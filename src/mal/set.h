/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Sets: the labels of samples, each different list once, so that samples share them, equal labels are
 * one pointer, and what is worked out for a set (memo.h) holds for every sample that has it. The order
 * of labels is part of a set, as the text form shows it; mal_sets_same() looks beyond it. Sets hold
 * until the reset. Folder-private.
 */

#include <stdbool.h>

#include "mal/pool.h"

struct mal_pair {
	uint32_t key;
	uint32_t value; /* never MAL_STR_NULL in a sample */
};

struct mal_set {
	uint64_t hash;		    /* of the list, keyed by the pool's seed */
	uint32_t id;		    /* 0: no labels; else in the order of making */
	uint32_t java_hash;	    /* java.util.HashMap.hashCode() */
	const struct mal_set *same; /* stands for all equal maps; NULL: not asked yet */
	uint32_t n;
	struct mal_pair v[];
};

struct mal_sets {
	struct mal_arena arena;
	struct mal_set **lists; /* owned; open addressing by list */
	struct mal_set **maps;	/* owned; the same by map, those that stand for others only */
	uint32_t cap, maps_cap;
	uint32_t n, n_maps;
};

extern const struct mal_set mal_set_empty; /* no labels: one for all pools */

int mal_sets_init(struct mal_sets *s, size_t max_bytes) _must_check_;
void mal_sets_done(struct mal_sets *s);

void mal_sets_reset(struct mal_sets *s);

/* The set of @v, whose keys are all different. Return: 0, -E2BIG (memory limit), -ENOMEM. */
int mal_sets_put(struct mal_sets *s, const struct mal_strings *strings, const struct mal_pair *v,
		 size_t n, const struct mal_set **ret) _must_check_;

/* One set for all that are equal as maps. Return: 0, -ENOMEM. */
int mal_sets_same(struct mal_sets *s, const struct mal_strings *strings, const struct mal_set *set,
		  const struct mal_set **ret) _must_check_;

/* MAL_STR_NULL: absent. */
static inline uint32_t mal_set_get(const struct mal_set *s, uint32_t key)
{
	for (uint32_t i = 0; i < s->n; i++)
		if (s->v[i].key == key)
			return s->v[i].value;
	return MAL_STR_NULL;
}

/* The same, absent counted as "". */
static inline uint32_t mal_set_get_or_empty(const struct mal_set *s, uint32_t key)
{
	uint32_t v = mal_set_get(s, key);

	return v == MAL_STR_NULL ? MAL_STR_EMPTY : v;
}
