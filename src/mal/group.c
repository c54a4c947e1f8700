/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "mal/eval.h"
#include "mal/java-map.h"

#define KEPT_MAX 2048 /* samples of a grouping that is kept: what is kept is memory of the run */

/* @n: samples that were grouped. */
static int order_groups(struct mal_eval *ev, size_t n, struct mal_grouping *g)
{
	uint32_t *hashes =
		mal_arena_array(ev->arena, g->n_groups ? g->n_groups : 1, sizeof(*hashes));
	bool last_is_new = g->n_groups > 0 && g->first[g->n_groups - 1] == n - 1;

	if (!hashes)
		return mal_eval_no_memory(ev);
	for (size_t i = 0; i < g->n_groups; i++)
		hashes[i] = g->sets[i]->java_hash;
	if (mal_java_map_order(ev->arena, hashes, g->n_groups, last_is_new, &g->order) < 0)
		return mal_eval_no_memory(ev);
	return 0;
}

/* The keys of @from alone, absent ones as "". */
static int project(struct mal_eval *ev, const struct mal_keys *keys, const struct mal_set *from,
		   const struct mal_set **ret)
{
	struct mal_pair v[SONDE_MAL_LABELS_MAX];
	void **slot = mal_memo_slot(&keys->known->sets, from->id);
	int r;

	if (!slot)
		return mal_eval_no_memory(ev);
	if (!*slot) {
		if (keys->n > ELEMENTS_OF(v))
			return mal_eval_fail(ev, "more than %d labels", SONDE_MAL_LABELS_MAX);
		for (size_t i = 0; i < keys->n; i++)
			v[i] = (struct mal_pair){keys->v[i],
						 mal_set_get_or_empty(from, keys->v[i])};
		r = mal_eval_set(ev, v, keys->n, ret);
		if (r < 0)
			return r;
		*slot = (void *)*ret;
	}
	*ret = *slot;
	return 0;
}

static int group(struct mal_eval *ev, const struct mal_family *in, const struct mal_keys *keys,
		 struct mal_grouping *g)
{
	struct mal_memo groups = MAL_MEMO_INIT(ev->arena); /* 1 + group, by the set of its keys */
	const struct mal_set *set;
	void **slot;
	int r;

	for (size_t i = 0; i < in->n; i++) {
		r = project(ev, keys, in->v[i].labels, &set);
		if (r < 0)
			return r;
		slot = mal_memo_slot(&groups, set->id);
		if (!slot)
			return mal_eval_no_memory(ev);
		if (!*slot) {
			g->first[g->n_groups] = (uint32_t)i;
			g->sets[g->n_groups++] = set;
			*slot = (void *)(uintptr_t)g->n_groups;
		}
		g->group_of[i] = (uint32_t)((uintptr_t)*slot - 1);
	}
	return order_groups(ev, in->n, g);
}

/* Room for one group a sample is taken at once: groups are seldom far fewer. */
static int take_room(struct mal_arena *a, size_t n, struct mal_grouping *g)
{
	g->group_of = mal_arena_array(a, n, sizeof(*g->group_of));
	g->first = mal_arena_array(a, n, sizeof(*g->first));
	g->sets = mal_arena_array(a, n, sizeof(void *));
	g->order = mal_arena_array(a, n, sizeof(*g->order));
	return g->group_of && g->first && g->sets && g->order ? 0 : -ENOMEM;
}

/* Families of one agent often have the same labels in the same order: then they have the same groups. */
static bool is_as_last(const struct mal_grouped *known, const struct mal_family *in)
{
	if (known->n != in->n)
		return false;
	for (size_t i = 0; i < in->n; i++)
		if (known->in[i] != in->v[i].labels)
			return false;
	return true;
}

static int keep(struct mal_grouped *known, const struct mal_family *in,
		const struct mal_grouping *g)
{
	struct mal_arena *a = known->sets.arena;

	known->n = 0;
	if (in->n > known->cap) {
		known->cap = 0;
		known->in = mal_arena_array(a, in->n, sizeof(void *));
		if (!known->in || take_room(a, in->n, &known->last) < 0)
			return -ENOMEM;
		known->cap = in->n;
	}
	for (size_t i = 0; i < in->n; i++)
		known->in[i] = in->v[i].labels;
	memcpy(known->last.group_of, g->group_of, in->n * sizeof(*g->group_of));
	memcpy(known->last.first, g->first, g->n_groups * sizeof(*g->first));
	memcpy((void *)known->last.sets, (const void *)g->sets, g->n_groups * sizeof(void *));
	memcpy(known->last.order, g->order, g->n_groups * sizeof(*g->order));
	known->last.n_groups = g->n_groups;
	known->last.kept = ++known->n_kept;
	known->n = in->n;
	return 0;
}

int mal_group(struct mal_eval *ev, const struct mal_family *in, const struct mal_keys *keys,
	      struct mal_grouping *ret)
{
	struct mal_grouping g = {0};
	int r;

	if (in->n > 0 && is_as_last(keys->known, in)) {
		*ret = keys->known->last;
		return 0;
	}
	if (take_room(ev->arena, in->n, &g) < 0)
		return mal_eval_no_memory(ev);
	r = group(ev, in, keys, &g);
	if (r < 0)
		return r;
	if (in->n <= KEPT_MAX && keys->known->sets.arena == &ev->run_arena) {
		if (keep(keys->known, in, &g) < 0)
			return mal_eval_no_memory(ev);
		g.kept = keys->known->last.kept;
	}
	*ret = g;
	return 0;
}
