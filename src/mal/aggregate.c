/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <string.h>

#include "mal/eval.h"

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
		       const struct mal_grouping *g, const double *values, struct mal_family *ret)
{
	struct mal_sample *v = mal_arena_array(ev->arena, g->n_groups, sizeof(*v));
	size_t n = 0;

	if (!v)
		return mal_eval_no_memory(ev);
	for (size_t i = 0; i < g->n_groups; i++) {
		uint32_t group = g->order[i];

		if (isnan(values[group]))
			continue;
		v[n] = in->v[g->first[group]];
		v[n].value = values[group];
		v[n++].labels = g->sets[group];
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
	struct mal_keys keys;
	double *values;
	int r;

	r = mal_eval_keys(ev, &call->call.args[0], &keys);
	if (r >= 0)
		r = mal_group(ev, in, &keys, &g);
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
	return emit_groups(ev, in, &g, values, ret);
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
	v->labels = &mal_set_empty;
	v->value = n;
	*ret = *in;
	ret->v = v;
	ret->n = 1;
	return 0;
}

static int count_distinct(struct mal_eval *ev, const struct mal_family *in,
			  const struct mal_keys *key, struct mal_family *ret)
{
	struct mal_grouping g;
	size_t n = 0;
	int r = mal_group(ev, in, key, &g);

	if (r < 0)
		return r;
	for (size_t i = 0; i < g.n_groups; i++)
		n += !is_blank(mal_strings_text(ev->strings, g.sets[i]->v[0].value));
	return one_count(ev, in, (double)n, ret);
}

/* Samples that have all keys, as a family. */
static int having_all(struct mal_eval *ev, const struct mal_family *in, const struct mal_keys *keys,
		      struct mal_family *ret)
{
	struct mal_sample *v = mal_arena_array(ev->arena, in->n, sizeof(*v));
	size_t n = 0;

	if (!v)
		return mal_eval_no_memory(ev);
	for (size_t i = 0; i < in->n; i++) {
		size_t k = 0;

		while (k < keys->n && mal_label(&in->v[i], keys->v[k]) != MAL_STR_NULL)
			k++;
		if (k == keys->n)
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
	struct mal_grouped but_last = {.sets = MAL_MEMO_INIT(ev->arena)};
	struct mal_family with_keys, distinct;
	struct mal_grouping all, outer;
	struct mal_keys keys;
	struct mal_sample *v;
	double *values;
	int r;

	r = mal_eval_keys(ev, &call->call.args[0], &keys);
	if (r < 0)
		return r;
	if (keys.n == 0)
		return one_count(ev, in, (double)in->n, ret);
	if (keys.n == 1)
		return count_distinct(ev, in, &keys, ret);
	r = having_all(ev, in, &keys, &with_keys);
	if (r >= 0)
		r = mal_group(ev, &with_keys, &keys, &all);
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
	keys.n--;
	keys.known = &but_last;
	r = mal_group(ev, &distinct, &keys, &outer);
	if (r < 0)
		return r;
	values = mal_arena_zalloc(ev->arena, outer.n_groups * sizeof(*values));
	if (!values)
		return mal_eval_no_memory(ev);
	for (size_t i = 0; i < distinct.n; i++)
		values[outer.group_of[i]]++;
	return emit_groups(ev, &distinct, &outer, values, ret);
}
