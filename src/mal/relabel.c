/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "mal/closure.h"
#include "mal/javatext.h"

/* --- tagEqual and its kin --- */

struct condition {
	uint32_t key, value;
	const struct mal_regex *regex;
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
		struct condition c = {.value = MAL_STR_EMPTY, .regex = value->regex};
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

/* 1: holds. */
static int holds(struct mal_eval *ev, enum mal_fn fn, const struct condition *c, uint32_t value)
{
	int r;

	if (fn == MAL_FN_TAG_EQUAL)
		return value == c->value;
	if (fn == MAL_FN_TAG_NOT_EQUAL)
		return value != c->value;
	r = mal_eval_regex(ev, c->regex, mal_strings_text(ev->strings, value),
			   mal_strings_len(ev->strings, value), 0, true);
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
	struct mal_sample s = {.labels = l->v, .n_labels = l->n};
	uint32_t keys[3], pod, name_space, service;
	static const size_t at[] = {0, 2, 3};
	int r = 0;

	for (size_t i = 0; i < 3 && r >= 0; i++)
		r = mal_eval_const(ev, call->call.args[at[i]].string, &keys[i]);
	if (r < 0)
		return r;
	pod = mal_label_or_empty(&s, keys[1]);
	name_space = mal_label_or_empty(&s, keys[2]);
	if (pod == MAL_STR_EMPTY || name_space == MAL_STR_EMPTY)
		return 0;
	r = mal_host_pod_service(ev, pod, name_space, &service);
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < l->n; i++) {
		if (l->v[i].key == keys[0]) {
			l->v[i].value = service;
			return 0;
		}
	}
	if (l->n == SONDE_MAL_LABELS_MAX)
		return mal_eval_fail(ev, "more than %d labels", SONDE_MAL_LABELS_MAX);
	l->v[l->n++] = (struct mal_pair){keys[0], service};
	return 0;
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
static int freeze(struct mal_eval *ev, const struct mal_labels *l, struct mal_sample *s)
{
	struct mal_pair *v;

	for (uint32_t i = 0; i < l->n; i++) {
		if (l->v[i].value == MAL_STR_NULL)
			return mal_eval_fail(ev, "label '%.64s' was set to null",
					     mal_strings_text(ev->strings, l->v[i].key));
	}
	v = mal_arena_array(ev->arena, l->n ? l->n : 1, sizeof(*v));
	if (!v)
		return mal_eval_no_memory(ev);
	memcpy(v, l->v, l->n * sizeof(*v));
	s->labels = v;
	s->n_labels = l->n;
	return 0;
}

int mal_family_relabel(struct mal_eval *ev, const struct mal_expr *call,
		       const struct mal_family *in, struct mal_family *ret)
{
	struct mal_sample *v = mal_arena_array(ev->arena, in->n, sizeof(*v));
	uint32_t *elements = NULL;
	size_t n_elements = 0;
	struct mal_labels l;
	int r = 0;

	if (!v)
		return mal_eval_no_memory(ev);
	if (call->call.fn == MAL_FN_FOR_EACH)
		r = mal_eval_keys(ev, &call->call.args[0], &elements, &n_elements);
	for (size_t i = 0; i < in->n && r >= 0; i++) {
		v[i] = in->v[i];
		if (v[i].n_labels > SONDE_MAL_LABELS_MAX)
			return mal_eval_fail(ev, "more than %d labels", SONDE_MAL_LABELS_MAX);
		if (v[i].n_labels > 0)
			memcpy(l.v, v[i].labels, v[i].n_labels * sizeof(*l.v));
		l.n = v[i].n_labels;
		r = relabel_one(ev, call, elements, n_elements, &l);
		if (r >= 0)
			r = freeze(ev, &l, &v[i]);
	}
	if (r < 0)
		return r;
	*ret = *in;
	ret->v = v;
	return 0;
}

/* --- SF op SF --- */

static uint64_t hash_labels(const struct mal_sample *s)
{
	uint64_t h = s->n_labels;

	for (uint32_t i = 0; i < s->n_labels; i++) {
		uint64_t p = (((uint64_t)s->labels[i].key << 32) | s->labels[i].value) *
			     0x9e3779b97f4a7c15ULL;

		h += p ^ (p >> 31); /* a sum: the order of labels is no part of their identity */
	}
	return h ^ (h >> 33);
}

static bool equal_labels(const struct mal_sample *a, const struct mal_sample *b)
{
	if (a->n_labels != b->n_labels)
		return false;
	for (uint32_t i = 0; i < a->n_labels; i++)
		if (mal_label(b, a->labels[i].key) != a->labels[i].value)
			return false;
	return true;
}

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

int mal_family_join(struct mal_eval *ev, char op, const struct mal_family *lhs,
		    const struct mal_family *rhs, struct mal_family *ret)
{
	size_t cap = 16, n = 0, slot;
	struct mal_sample *v;
	uint32_t *table;

	while (cap < rhs->n * 2)
		cap *= 2;
	table = mal_arena_zalloc(ev->arena, cap * sizeof(*table));
	v = mal_arena_array(ev->arena, lhs->n, sizeof(*v));
	if (!table || !v)
		return mal_eval_no_memory(ev);
	for (size_t i = 0; i < rhs->n; i++) { /* the first of equal ones counts */
		slot = hash_labels(&rhs->v[i]) & (cap - 1);
		while (table[slot] && !equal_labels(&rhs->v[table[slot] - 1], &rhs->v[i]))
			slot = (slot + 1) & (cap - 1);
		if (!table[slot])
			table[slot] = (uint32_t)i + 1;
	}
	for (size_t i = 0; i < lhs->n; i++) {
		slot = hash_labels(&lhs->v[i]) & (cap - 1);
		while (table[slot] && !equal_labels(&rhs->v[table[slot] - 1], &lhs->v[i]))
			slot = (slot + 1) & (cap - 1);
		if (!table[slot])
			continue;
		v[n] = lhs->v[i];
		v[n].value = combine(op, v[n].value, rhs->v[table[slot] - 1].value);
		n += !isnan(v[n].value);
	}
	*ret = *lhs;
	ret->v = v;
	ret->n = n;
	if (n == 0)
		*ret = (struct mal_family){0};
	return 0;
}

/* --- histogram --- */

struct bucket {
	double le;
	size_t index; /* keeps equal bounds in order */
	struct mal_sample sample;
};

static int by_bound(const void *a, const void *b)
{
	const struct bucket *x = a, *y = b;

	if (x->le != y->le)
		return x->le < y->le || isnan(y->le) ? -1 : 1;
	return x->index < y->index ? -1 : x->index > y->index;
}

static double unit_ms(const struct mal_family *in, const struct mal_expr *call)
{
	/* TimeUnit.toMillis(1) */
	static const double units[] = {0, 0, 1, 1000, 60000, 3600000, 86400000};

	if (call->call.n_args == 2)
		return units[call->call.args[1].en.member];
	return in->milliseconds ? 1 : 1000;
}

/* @s with the label @from replaced by `le`, whose text is the bound in the unit of storage. */
static int set_bound(struct mal_eval *ev, struct mal_sample *s, uint32_t from, uint32_t le,
		     double bound)
{
	struct mal_pair *v = mal_arena_array(ev->arena, s->n_labels, sizeof(*v));
	char text[32];
	uint32_t id;
	int r;

	if (!v)
		return mal_eval_no_memory(ev);
	if (from != le && mal_label(s, le) != MAL_STR_NULL)
		return mal_eval_fail(ev,
				     "a sample has both `le` and the label given to histogram()");
	(void)snprintf(text, sizeof(text), "%lld", (long long)mal_java_long(bound));
	r = mal_value_intern(ev, text, strlen(text), &id);
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < s->n_labels; i++) {
		v[i] = s->labels[i];
		if (v[i].key == from)
			v[i] = (struct mal_pair){le, id};
	}
	s->labels = v;
	return 0;
}

static int put_le(struct mal_eval *ev, uint32_t *ret)
{
	return mal_value_intern(ev, "le", 2, ret);
}

int mal_family_histogram(struct mal_eval *ev, const struct mal_expr *call,
			 const struct mal_family *in, struct mal_family *ret)
{
	struct mal_sample *v = mal_arena_array(ev->arena, in->n, sizeof(*v));
	struct bucket *buckets = mal_arena_array(ev->arena, in->n, sizeof(*buckets));
	double scale = unit_ms(in, call);
	size_t n = 0, n_buckets = 0;
	uint32_t le, from;
	int r = put_le(ev, &le);

	if (!v || !buckets)
		return mal_eval_no_memory(ev);
	from = le;
	if (r >= 0 && call->call.n_args > 0)
		r = mal_eval_const(ev, call->call.args[0].string, &from);
	for (size_t i = 0; i < in->n && r >= 0; i++) {
		uint32_t bound = mal_label(&in->v[i], from);
		struct bucket *b = &buckets[n_buckets];

		if (bound == MAL_STR_NULL) {
			v[n++] = in->v[i];
			continue;
		}
		b->index = n_buckets++;
		b->sample = in->v[i];
		if (mal_java_double(mal_strings_text(ev->strings, bound), &b->le) < 0)
			return mal_eval_fail(ev, "`le` is no number: '%.40s'",
					     mal_strings_text(ev->strings, bound));
		r = set_bound(ev, &b->sample, from, le, b->le * scale);
	}
	if (r < 0)
		return r;
	qsort(buckets, n_buckets, sizeof(*buckets), by_bound);
	for (size_t i = 0; i < n_buckets; i++)
		v[n++] = buckets[i].sample;
	*ret = *in;
	ret->v = v;
	return 0;
}
