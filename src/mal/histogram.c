/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "mal/closure.h"
#include "mal/javatext.h"

/* One bound, as text in the samples: parsed and written anew once a run. */
struct mal_bound {
	double le;
	uint32_t text;	  /* id of the bound in the unit of storage */
	uint32_t n, rank; /* in the call that is under way; n: samples that have it */
};

/* TimeUnit.toMillis(1) */
static const double unit_ms[] = {0, 0, 1, 1000, 60000, 3600000, 86400000};

/* A call of histogram(). */
struct call {
	uint32_t from; /* the label with the bound */
	double scale;
	struct mal_unit *unit;
	struct mal_bound **bounds; /* those that occur; then by rank */
	size_t n_bounds;
	struct mal_bound **bound_of; /* by sample, NULL: it has none */
};

static int parse_bound(struct mal_eval *ev, const struct call *c, uint32_t id,
		       struct mal_bound **ret)
{
	struct mal_bound *b = mal_arena_zalloc(c->unit->bounds.arena, sizeof(*b));
	const char *text = mal_strings_text(ev->strings, id);
	char scaled[32];
	int r;

	if (!b)
		return mal_eval_no_memory(ev);
	if (mal_java_double(text, &b->le) < 0)
		return mal_eval_fail(ev, "`le` is no number: '%.40s'", text);
	(void)snprintf(scaled, sizeof(scaled), "%lld", (long long)mal_java_long(b->le * c->scale));
	r = mal_value_intern(ev, scaled, strlen(scaled), &b->text);
	if (r < 0)
		return r;
	*ret = b;
	return 0;
}

static int find_bounds(struct mal_eval *ev, struct call *c, const struct mal_family *in)
{
	int r;

	for (size_t i = 0; i < in->n; i++) {
		uint32_t id = mal_label(&in->v[i], c->from);
		struct mal_bound *b;
		void **slot;

		c->bound_of[i] = NULL;
		if (id == MAL_STR_NULL)
			continue;
		slot = mal_memo_slot(&c->unit->bounds, id);
		if (!slot)
			return mal_eval_no_memory(ev);
		if (!*slot) {
			r = parse_bound(ev, c, id, &b);
			if (r < 0)
				return r;
			*slot = b;
		}
		b = *slot;
		if (b->n++ == 0)
			c->bounds[c->n_bounds++] = b;
		c->bound_of[i] = b;
	}
	return 0;
}

/* Double.compare(): -0.0 is below 0.0, NaN above all. */
static int compare(double a, double b)
{
	if (a < b || a > b)
		return a < b ? -1 : 1;
	if (isnan(a) || isnan(b))
		return !!isnan(a) - !!isnan(b);
	return !!signbit(b) - !!signbit(a);
}

static int by_bound(const void *a, const void *b)
{
	return compare((*(struct mal_bound *const *)a)->le, (*(struct mal_bound *const *)b)->le);
}

/*
 * Turns the number of samples of each bound into the place of its first one. Equal bounds of different
 * texts ("1" and "1.0") are one rank: their samples stay in order. *@ret_next: places by rank.
 */
static int rank_bounds(struct mal_eval *ev, struct call *c, size_t without, size_t **ret_next)
{
	size_t *next = mal_arena_array(ev->arena, c->n_bounds + 1, sizeof(*next));
	size_t place = without, rank = 0;

	if (!next)
		return mal_eval_no_memory(ev);
	qsort((void *)c->bounds, c->n_bounds, sizeof(void *), by_bound);
	for (size_t i = 0; i < c->n_bounds; i++) {
		struct mal_bound *b = c->bounds[i];

		if (i == 0 || compare(c->bounds[i - 1]->le, b->le) != 0)
			next[rank++] = place;
		b->rank = (uint32_t)rank - 1;
		place += b->n;
	}
	*ret_next = next;
	return 0;
}

/* @from with the bound's label replaced by `le`, whose text is the bound in the unit of storage. */
static int set_bound(struct mal_eval *ev, const struct call *c, const struct mal_set *from,
		     const struct mal_bound *b, const struct mal_set **ret)
{
	void **slot = mal_memo_slot(&c->unit->sets, from->id);
	struct mal_pair v[SONDE_MAL_LABELS_MAX];
	int r;

	if (!slot)
		return mal_eval_no_memory(ev);
	if (!*slot) {
		if (c->from != ev->le && mal_set_get(from, ev->le) != MAL_STR_NULL)
			return mal_eval_fail(
				ev, "a sample has both `le` and the label given to histogram()");
		if (from->n > ELEMENTS_OF(v))
			return mal_eval_fail(ev, "more than %d labels", SONDE_MAL_LABELS_MAX);
		for (uint32_t i = 0; i < from->n; i++) {
			v[i] = from->v[i];
			if (v[i].key == c->from)
				v[i] = (struct mal_pair){ev->le, b->text};
		}
		r = mal_eval_set(ev, v, from->n, ret);
		if (r < 0)
			return r;
		*slot = (void *)*ret;
	}
	*ret = *slot;
	return 0;
}

/* Samples without a bound come first, the others by bound. */
static int sort(struct mal_eval *ev, struct call *c, const struct mal_family *in,
		struct mal_sample *v)
{
	size_t without = 0, *next;
	int r;

	for (size_t i = 0; i < in->n; i++)
		if (!c->bound_of[i])
			v[without++] = in->v[i];
	r = rank_bounds(ev, c, without, &next);
	for (size_t i = 0; i < in->n && r >= 0; i++) {
		struct mal_sample *out;

		if (!c->bound_of[i])
			continue;
		out = &v[next[c->bound_of[i]->rank]++];
		*out = in->v[i];
		r = set_bound(ev, c, in->v[i].labels, c->bound_of[i], &out->labels);
	}
	return r;
}

int mal_family_histogram(struct mal_eval *ev, const struct mal_expr *call,
			 const struct mal_family *in, struct mal_family *ret)
{
	struct mal_unit here = {MAL_MEMO_INIT(ev->arena), MAL_MEMO_INIT(ev->arena)};
	struct mal_sample *v = mal_arena_array(ev->arena, in->n, sizeof(*v));
	struct call c = {.from = ev->le,
			 .scale = in->milliseconds ? 1 : 1000,
			 .unit = &ev->units[in->milliseconds]};
	int r = 0;

	c.bounds = mal_arena_array(ev->arena, in->n, sizeof(void *));
	c.bound_of = mal_arena_array(ev->arena, in->n, sizeof(void *));
	if (!v || !c.bounds || !c.bound_of)
		return mal_eval_no_memory(ev);
	if (call->call.n_args > 0) {
		c.unit = &here;
		r = mal_eval_const(ev, call->call.args[0].string, &c.from);
	}
	if (call->call.n_args == 2)
		c.scale = unit_ms[call->call.args[1].en.member];
	if (r >= 0)
		r = find_bounds(ev, &c, in);
	if (r >= 0)
		r = sort(ev, &c, in, v);
	for (size_t i = 0; i < c.n_bounds; i++)
		c.bounds[i]->n = 0;
	if (r < 0)
		return r;
	*ret = *in;
	ret->v = v;
	return 0;
}
