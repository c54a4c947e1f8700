/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <string.h>

#include "mal/eval.h"
#include "mal/java-map.h"

/* --- grouping --- */

static uint64_t hash_values(const uint32_t *v, size_t n)
{
	uint64_t h = n;

	for (size_t i = 0; i < n; i++) {
		h = (h ^ v[i]) * 0x9e3779b97f4a7c15ULL;
		h ^= h >> 29;
	}
	return h;
}

/* hashCode() of a map from the keys to their values. */
static uint32_t java_map_hash(const struct mal_eval *ev, const uint32_t *keys,
			      const uint32_t *values, size_t n)
{
	uint32_t h = 0;

	for (size_t i = 0; i < n; i++)
		h += (uint32_t)ev->strings->v[keys[i]].java_hash ^
		     (uint32_t)ev->strings->v[values[i]].java_hash;
	return h;
}

/* @n: samples that were grouped. */
static int order_groups(struct mal_eval *ev, const uint32_t *keys, size_t n, struct mal_grouping *g)
{
	uint32_t *hashes =
		mal_arena_array(ev->arena, g->n_groups ? g->n_groups : 1, sizeof(*hashes));
	bool last_is_new = g->n_groups > 0 && g->first[g->n_groups - 1] == n - 1;

	if (!hashes)
		return mal_eval_no_memory(ev);
	for (size_t i = 0; i < g->n_groups; i++)
		hashes[i] = java_map_hash(ev, keys, g->values + i * g->n_keys, g->n_keys);
	if (mal_java_map_order(ev->arena, hashes, g->n_groups, last_is_new, &g->order) < 0)
		return mal_eval_no_memory(ev);
	return 0;
}

/* Room for one group a sample is taken at once: groups are seldom far fewer, and memory is a run's. */
int mal_group(struct mal_eval *ev, const struct mal_family *in, const uint32_t *keys, size_t n_keys,
	      struct mal_grouping *ret)
{
	struct mal_grouping g = {.n_keys = n_keys};
	size_t cap = 16, room;
	uint32_t *table;

	while (cap < in->n * 2)
		cap *= 2;
	if (__builtin_mul_overflow(in->n, n_keys ? n_keys : 1, &room))
		return mal_eval_no_memory(ev);
	table = mal_arena_zalloc(ev->arena, cap * sizeof(*table));
	g.group_of = mal_arena_array(ev->arena, in->n, sizeof(*g.group_of));
	g.first = mal_arena_array(ev->arena, in->n, sizeof(*g.first));
	g.values = mal_arena_array(ev->arena, room, sizeof(*g.values));
	if (!table || !g.group_of || !g.first || !g.values)
		return mal_eval_no_memory(ev);
	for (size_t i = 0; i < in->n; i++) {
		uint32_t *values = g.values + g.n_groups * n_keys;
		size_t slot;

		for (size_t k = 0; k < n_keys; k++)
			values[k] = mal_label_or_empty(&in->v[i], keys[k]);
		slot = hash_values(values, n_keys) & (cap - 1);
		while (table[slot] && memcmp(g.values + (table[slot] - 1) * n_keys, values,
					     n_keys * sizeof(*values)) != 0)
			slot = (slot + 1) & (cap - 1);
		if (!table[slot]) {
			g.first[g.n_groups] = (uint32_t)i;
			table[slot] = (uint32_t)++g.n_groups;
		}
		g.group_of[i] = table[slot] - 1;
	}
	*ret = g;
	return order_groups(ev, keys, in->n, ret);
}

/* --- sum, max, min, avg --- */

/* Kahan's sum, as Java's averagingDouble() keeps it. */
struct mean {
	double high, low, simple;
	size_t n;
};

static void mean_add(struct mean *m, double v)
{
	double t = v - m->low, sum = m->high + t;

	m->low = (sum - m->high) - t;
	m->high = sum;
	m->simple += v;
	m->n++;
}

static double mean_value(const struct mean *m)
{
	double sum = m->high - m->low;

	if (isnan(sum) && isinf(m->simple))
		sum = m->simple;
	return sum / (double)m->n;
}

/* Math.max and Math.min know -0.0 from 0.0, fmax() need not. */
static double fold(enum mal_fn fn, double a, double v)
{
	switch (fn) {
	case MAL_FN_SUM:
		return a + v;
	case MAL_FN_MAX:
		return v > a || (v == a && signbit(a)) ? v : a;
	default:
		return v < a || (v == a && signbit(v)) ? v : a;
	}
}

static int emit_groups(struct mal_eval *ev, const struct mal_family *in,
		       const struct mal_grouping *g, const uint32_t *keys, size_t n_keys,
		       const double *values, struct mal_family *ret)
{
	struct mal_sample *v = mal_arena_array(ev->arena, g->n_groups, sizeof(*v));
	struct mal_pair *pairs;
	size_t n = 0, room;

	if (__builtin_mul_overflow(g->n_groups, n_keys ? n_keys : 1, &room))
		return mal_eval_no_memory(ev);
	pairs = mal_arena_array(ev->arena, room, sizeof(*pairs));
	if (!v || !pairs)
		return mal_eval_no_memory(ev);
	for (size_t i = 0; i < g->n_groups; i++) {
		uint32_t group = g->order[i];

		if (isnan(values[group]))
			continue;
		v[n] = in->v[g->first[group]];
		v[n].value = values[group];
		v[n].labels = pairs;
		v[n++].n_labels = (uint32_t)n_keys;
		for (size_t k = 0; k < n_keys; k++)
			*pairs++ = (struct mal_pair){keys[k], g->values[group * g->n_keys + k]};
	}
	*ret = *in;
	ret->v = v;
	ret->n = n;
	if (n == 0)
		*ret = (struct mal_family){0};
	return 0;
}

int mal_family_aggregate(struct mal_eval *ev, const struct mal_expr *call,
			 const struct mal_family *in, struct mal_family *ret)
{
	struct mal_grouping g;
	struct mean *means = NULL;
	double *values;
	uint32_t *keys;
	size_t n_keys;
	int r;

	r = mal_eval_keys(ev, &call->call.args[0], &keys, &n_keys);
	if (r >= 0)
		r = mal_group(ev, in, keys, n_keys, &g);
	if (r < 0)
		return r;
	values = mal_arena_array(ev->arena, g.n_groups, sizeof(*values));
	if (call->call.fn == MAL_FN_AVG)
		means = mal_arena_zalloc(ev->arena, g.n_groups * sizeof(*means));
	if (!values || (call->call.fn == MAL_FN_AVG && !means))
		return mal_eval_no_memory(ev);
	for (size_t i = 0; i < in->n; i++) {
		uint32_t group = g.group_of[i];

		if (means)
			mean_add(&means[group], in->v[i].value);
		else if (g.first[group] == i)
			values[group] = in->v[i].value;
		else
			values[group] = fold(call->call.fn, values[group], in->v[i].value);
	}
	for (size_t i = 0; means && i < g.n_groups; i++)
		values[i] = mean_value(&means[i]);
	return emit_groups(ev, in, &g, keys, n_keys, values, ret);
}

/* --- count --- */

static bool is_blank(const char *s)
{
	while (isspace((unsigned char)*s))
		s++;
	return *s == 0;
}

static int one_count(struct mal_eval *ev, const struct mal_family *in, double n,
		     struct mal_family *ret)
{
	struct mal_sample *v = mal_arena_alloc(ev->arena, sizeof(*v));

	if (!v)
		return mal_eval_no_memory(ev);
	*v = in->v[0];
	v->labels = NULL;
	v->n_labels = 0;
	v->value = n;
	*ret = *in;
	ret->v = v;
	ret->n = 1;
	return 0;
}

static int count_distinct(struct mal_eval *ev, const struct mal_family *in, const uint32_t *key,
			  struct mal_family *ret)
{
	struct mal_grouping g;
	size_t n = 0;
	int r = mal_group(ev, in, key, 1, &g);

	if (r < 0)
		return r;
	for (size_t i = 0; i < g.n_groups; i++)
		n += !is_blank(mal_strings_text(ev->strings, g.values[i]));
	return one_count(ev, in, (double)n, ret);
}

/* Samples that have all keys, as a family. */
static int having_all(struct mal_eval *ev, const struct mal_family *in, const uint32_t *keys,
		      size_t n_keys, struct mal_family *ret)
{
	struct mal_sample *v = mal_arena_array(ev->arena, in->n, sizeof(*v));
	size_t n = 0;

	if (!v)
		return mal_eval_no_memory(ev);
	for (size_t i = 0; i < in->n; i++) {
		size_t k = 0;

		while (k < n_keys && mal_label(&in->v[i], keys[k]) != MAL_STR_NULL)
			k++;
		if (k == n_keys)
			v[n++] = in->v[i];
	}
	*ret = *in;
	ret->v = v;
	ret->n = n;
	return n > 0 ? 0 : mal_eval_fail(ev, "count() of samples of which none has all the labels");
}

int mal_family_count(struct mal_eval *ev, const struct mal_expr *call, const struct mal_family *in,
		     struct mal_family *ret)
{
	struct mal_family with_keys, distinct;
	struct mal_grouping all, outer;
	struct mal_sample *v;
	double *values;
	uint32_t *keys;
	size_t n_keys;
	int r;

	r = mal_eval_keys(ev, &call->call.args[0], &keys, &n_keys);
	if (r < 0)
		return r;
	if (n_keys == 0)
		return one_count(ev, in, (double)in->n, ret);
	if (n_keys == 1)
		return count_distinct(ev, in, keys, ret);
	r = having_all(ev, in, keys, n_keys, &with_keys);
	if (r >= 0)
		r = mal_group(ev, &with_keys, keys, n_keys, &all);
	if (r < 0)
		return r;
	v = mal_arena_array(ev->arena, all.n_groups, sizeof(*v));
	if (!v)
		return mal_eval_no_memory(ev);
	for (size_t i = 0; i < all.n_groups; i++)
		v[i] = with_keys.v[all.first[all.order[i]]];
	distinct = *in;
	distinct.v = v;
	distinct.n = all.n_groups;
	r = mal_group(ev, &distinct, keys, n_keys - 1, &outer);
	if (r < 0)
		return r;
	values = mal_arena_zalloc(ev->arena, outer.n_groups * sizeof(*values));
	if (!values)
		return mal_eval_no_memory(ev);
	for (size_t i = 0; i < distinct.n; i++)
		values[outer.group_of[i]]++;
	return emit_groups(ev, &distinct, &outer, keys, n_keys - 1, values, ret);
}
