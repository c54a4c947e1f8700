/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "mal/closure.h"

/* --- tagEqual and its kin --- */

struct condition {
	uint32_t key, value;
	const struct mal_regex *regex;
	struct mal_memo matches; /* by value: 1 + whether the regex matches */
};

/* A key that is named twice counts with its last pair. */
static int read_conditions(struct mal_eval *ev, const struct mal_expr *call, struct condition **ret,
			   size_t *ret_n)
{
	struct condition *v = mal_arena_array(ev->arena, call->call.n_args / 2 + 1, sizeof(*v));
	size_t n = 0;
	int r;

	if (!v)
		return mal_eval_no_memory(ev);
	for (size_t i = 0; i + 1 < call->call.n_args; i += 2) {
		const struct mal_arg *value = &call->call.args[i + 1];
		struct condition c = {.value = MAL_STR_EMPTY,
				      .regex = value->regex,
				      .matches = MAL_MEMO_INIT(ev->arena)};
		size_t at = 0;

		r = mal_eval_const(ev, call->call.args[i].string, &c.key);
		if (r >= 0 && value->kind == MAL_ARG_STRING)
			r = mal_eval_const(ev, value->string, &c.value);
		if (r < 0)
			return r;
		while (at < n && v[at].key != c.key)
			at++;
		v[at] = c;
		n += at == n;
	}
	*ret = v;
	*ret_n = n;
	return 0;
}

static int matches(struct mal_eval *ev, struct condition *c, uint32_t value)
{
	void **slot = mal_memo_slot(&c->matches, value);
	int r;

	if (!slot)
		return mal_eval_no_memory(ev);
	if (!*slot) {
		r = mal_eval_regex(ev, c->regex, mal_strings_text(ev->strings, value),
				   mal_strings_len(ev->strings, value), 0, true);
		if (r < 0)
			return r;
		*slot = (void *)(uintptr_t)(1 + r);
	}
	return (int)(uintptr_t)*slot - 1;
}

/* 1: holds. */
static int holds(struct mal_eval *ev, enum mal_fn fn, struct condition *c, uint32_t value)
{
	int r;

	if (fn == MAL_FN_TAG_EQUAL)
		return value == c->value;
	if (fn == MAL_FN_TAG_NOT_EQUAL)
		return value != c->value;
	r = matches(ev, c, value);
	if (r < 0)
		return r;
	return fn == MAL_FN_TAG_MATCH ? r : !r;
}

int mal_family_filter_tags(struct mal_eval *ev, const struct mal_expr *call,
			   const struct mal_family *in, struct mal_family *ret)
{
	struct mal_sample *v = mal_arena_array(ev->arena, in->n, sizeof(*v));
	struct condition *conditions = NULL;
	size_t n = 0, n_conditions = 0;
	int r;

	if (!v)
		return mal_eval_no_memory(ev);
	r = read_conditions(ev, call, &conditions, &n_conditions);
	if (r < 0)
		return r;
	for (size_t i = 0; i < in->n; i++) {
		r = 1;
		for (size_t c = 0; c < n_conditions && r > 0; c++)
			r = holds(ev, call->call.fn, &conditions[c],
				  mal_label_or_empty(&in->v[i], conditions[c].key));
		if (r < 0)
			return r;
		if (r > 0)
			v[n++] = in->v[i];
	}
	*ret = *in;
	ret->v = v;
	ret->n = n;
	if (n == 0)
		*ret = (struct mal_family){0};
	return 0;
}

/* --- tag, forEach, retagByK8sMeta --- */

static int retag(struct mal_eval *ev, const struct mal_expr *call, struct mal_labels *l)
{
	uint32_t keys[3], pod, name_space, service;
	static const size_t at[] = {0, 2, 3};
	int r = 0;

	for (size_t i = 0; i < 3 && r >= 0; i++)
		r = mal_eval_const(ev, call->call.args[at[i]].string, &keys[i]);
	if (r < 0)
		return r;
	pod = mal_labels_get_or_empty(l, keys[1]);
	name_space = mal_labels_get_or_empty(l, keys[2]);
	if (pod == MAL_STR_EMPTY || name_space == MAL_STR_EMPTY)
		return 0;
	r = mal_host_pod_service(ev, pod, name_space, &service);
	if (r < 0)
		return r;
	return mal_labels_set(ev, l, keys[0], service);
}

static int relabel_one(struct mal_eval *ev, const struct mal_expr *call, const uint32_t *elements,
		       size_t n_elements, struct mal_labels *l)
{
	int r = 0;

	switch (call->call.fn) {
	case MAL_FN_TAG:
		return mal_closure_run(ev, call->call.args[0].closure, MAL_STR_NULL, l);
	case MAL_FN_FOR_EACH:
		for (size_t i = 0; i < n_elements && r >= 0; i++)
			r = mal_closure_run(ev, call->call.args[1].closure, elements[i], l);
		return r;
	default:
		return retag(ev, call, l);
	}
}

/* The labels are final: none may be null. */
static int check_frozen(struct mal_eval *ev, const struct mal_labels *l)
{
	for (uint32_t i = 0; i < l->n; i++) {
		if (l->v[i].value == MAL_STR_NULL)
			return mal_eval_fail(ev, "label '%.64s' was set to null",
					     mal_strings_text(ev->strings, l->v[i].key));
	}
	return 0;
}

bool mal_is_relabel(const struct mal_expr *e)
{
	return e->kind == MAL_EXPR_CALL &&
	       (e->call.fn == MAL_FN_TAG || e->call.fn == MAL_FN_FOR_EACH ||
		e->call.fn == MAL_FN_RETAG_BY_K8S_META);
}

/* What the call makes of @l, and before it those that it is chained to (receiver_of() in eval.c). */
static int relabel_chain(struct mal_eval *ev, const struct mal_expr *call, struct mal_labels *l)
{
	struct mal_keys elements = {0};
	int r = 0;

	if (!ev->step && mal_is_relabel(call->call.receiver))
		r = relabel_chain(ev, call->call.receiver, l);
	if (r >= 0 && call->call.fn == MAL_FN_FOR_EACH)
		r = mal_eval_keys(ev, &call->call.args[0], &elements);
	if (r >= 0)
		r = relabel_one(ev, call, elements.v, elements.n, l);
	return r < 0 ? r : check_frozen(ev, l);
}

static int relabel_whole(struct mal_eval *ev, const struct mal_expr *call,
			 const struct mal_set *from, const struct mal_set **ret)
{
	struct mal_labels l;
	int r = mal_labels_of(ev, from, MAL_STR_NULL, &l);

	if (r >= 0)
		r = relabel_chain(ev, call, &l);
	return r < 0 ? r : mal_eval_set(ev, l.v, l.n, ret);
}

/* @without has the labels of @from but for `le`, and may have more behind them: `le` gets its place again. */
static int put_le(struct mal_eval *ev, const struct mal_set *from, const struct mal_set *without,
		  const struct mal_set **ret)
{
	struct mal_pair v[SONDE_MAL_LABELS_MAX];
	uint32_t at = 0;

	while (from->v[at].key != ev->le)
		at++;
	memcpy(v, without->v, at * sizeof(*v));
	v[at] = from->v[at];
	memcpy(v + at + 1, without->v + at, (without->n - at) * sizeof(*v));
	return mal_eval_set(ev, v, without->n + 1, ret);
}

/*
 * A histogram has the same labels for each of its buckets, but for `le`, which closures seldom look at: they run
 * once for all of them. 1: done; 0: this one needs all labels.
 */
static int relabel_without_le(struct mal_eval *ev, const struct mal_expr *call,
			      struct mal_relabelled *m, const struct mal_set *from,
			      const struct mal_set **ret)
{
	const struct mal_set *base = NULL, *without = NULL;
	struct mal_labels l;
	void **slot;
	int r = mal_labels_of(ev, from, ev->le, &l);

	if (r >= 0)
		r = mal_eval_set(ev, l.v, l.n, &base);
	if (r < 0)
		return r;
	slot = mal_memo_slot(&m->sets, base->id);
	if (!slot)
		return mal_eval_no_memory(ev);
	if (!*slot) {
		r = relabel_chain(ev, call, &l);
		m->looks_at_le = l.touched;
		if (l.touched)
			return 0;
		if (r >= 0)
			r = mal_eval_set(ev, l.v, l.n, &without);
		if (r < 0)
			return r;
		*slot = (void *)without;
	}
	*ret = *slot;
	if (base->n == from->n)
		return 1;
	if ((*ret)->n == SONDE_MAL_LABELS_MAX)
		return 0;
	r = put_le(ev, from, *ret, ret);
	return r < 0 ? r : 1;
}

static int relabel_set(struct mal_eval *ev, const struct mal_expr *call, struct mal_relabelled *m,
		       const struct mal_set *from, const struct mal_set **ret)
{
	int r = 0;

	if (!m->looks_at_le)
		r = relabel_without_le(ev, call, m, from, ret);
	return r == 0 ? relabel_whole(ev, call, from, ret) : r < 0 ? r : 0;
}

/* What closures make of a set of labels depends on nothing else, so they run once a set, all of a chain. */
int mal_family_relabel(struct mal_eval *ev, const struct mal_expr *call,
		       const struct mal_family *in, struct mal_family *ret)
{
	struct mal_sample *v = mal_arena_array(ev->arena, in->n, sizeof(*v));
	struct mal_relabelled here = {.sets = MAL_MEMO_INIT(ev->arena)};
	struct mal_relabelled *m = call->call.memo ? &ev->by_call[call->call.memo] : &here;
	int r;

	if (!v)
		return mal_eval_no_memory(ev);
	for (size_t i = 0; i < in->n; i++) {
		void **slot = mal_memo_slot(&m->sets, in->v[i].labels->id);
		const struct mal_set *set = NULL;

		if (!slot)
			return mal_eval_no_memory(ev);
		if (!*slot) {
			r = relabel_set(ev, call, m, in->v[i].labels, &set);
			if (r < 0)
				return r;
			*slot = (void *)set;
		}
		v[i] = in->v[i];
		v[i].labels = *slot;
	}
	*ret = *in;
	ret->v = v;
	return 0;
}

/* --- SF op SF --- */

static double combine(char op, double a, double b)
{
	switch (op) {
	case '+':
		return a + b;
	case '-':
		return a - b;
	case '*':
		return a * b;
	case '/':
		return a / b;
	default:
		return b == 0 ? 0 : a / b;
	}
}

/* The slot of the labels of @s, whatever their order. */
static int slot_of(struct mal_eval *ev, struct mal_memo *m, const struct mal_sample *s, void ***ret)
{
	const struct mal_set *same;

	if (mal_sets_same(ev->sets, ev->strings, s->labels, &same) < 0)
		return mal_eval_no_memory(ev);
	*ret = mal_memo_slot(m, same->id);
	return *ret ? 0 : mal_eval_no_memory(ev);
}

int mal_family_join(struct mal_eval *ev, char op, const struct mal_family *lhs,
		    const struct mal_family *rhs, struct mal_family *ret)
{
	struct mal_sample *v = mal_arena_array(ev->arena, lhs->n, sizeof(*v));
	struct mal_memo by_labels = MAL_MEMO_INIT(ev->arena); /* samples of @rhs */
	void **slot = NULL;
	size_t n = 0;
	int r;

	if (!v)
		return mal_eval_no_memory(ev);
	for (size_t i = 0; i < rhs->n; i++) { /* the first of equal ones counts */
		r = slot_of(ev, &by_labels, &rhs->v[i], &slot);
		if (r < 0)
			return r;
		if (!*slot)
			*slot = (void *)&rhs->v[i];
	}
	for (size_t i = 0; i < lhs->n; i++) {
		r = slot_of(ev, &by_labels, &lhs->v[i], &slot);
		if (r < 0)
			return r;
		if (!*slot)
			continue;
		v[n] = lhs->v[i];
		v[n].value = combine(op, v[n].value, ((const struct mal_sample *)*slot)->value);
		n += !isnan(v[n].value);
	}
	*ret = *lhs;
	ret->v = v;
	ret->n = n;
	if (n == 0)
		*ret = (struct mal_family){0};
	return 0;
}
