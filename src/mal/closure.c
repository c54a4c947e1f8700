/* SPDX-License-Identifier: Apache-2.0 */
#include "mal/closure.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* --- labels --- */

static struct mal_pair *find_label(struct mal_labels *l, uint32_t key)
{
	l->touched |= key == l->hidden;
	for (uint32_t i = 0; i < l->n; i++)
		if (l->v[i].key == key)
			return &l->v[i];
	return NULL;
}

int mal_labels_set(struct mal_eval *ev, struct mal_labels *l, uint32_t key, uint32_t value)
{
	struct mal_pair *p = find_label(l, key);

	if (p) {
		p->value = value;
		return 0;
	}
	if (l->n == SONDE_MAL_LABELS_MAX)
		return mal_eval_fail(ev, "more than %d labels", SONDE_MAL_LABELS_MAX);
	l->v[l->n++] = (struct mal_pair){key, value};
	return 0;
}

int mal_labels_of(struct mal_eval *ev, const struct mal_set *set, uint32_t hidden,
		  struct mal_labels *ret)
{
	if (set->n > SONDE_MAL_LABELS_MAX)
		return mal_eval_fail(ev, "more than %d labels", SONDE_MAL_LABELS_MAX);
	ret->n = 0;
	ret->hidden = hidden;
	ret->touched = false;
	for (uint32_t i = 0; i < set->n; i++)
		if (set->v[i].key != hidden)
			ret->v[ret->n++] = set->v[i];
	return 0;
}

uint32_t mal_labels_get_or_empty(struct mal_labels *l, uint32_t key)
{
	const struct mal_pair *p = find_label(l, key);

	return p && p->value != MAL_STR_NULL ? p->value : MAL_STR_EMPTY;
}

static uint32_t take_label(struct mal_labels *l, uint32_t key)
{
	struct mal_pair *p = find_label(l, key);
	uint32_t value;

	if (!p)
		return MAL_STR_NULL;
	l->touched = true; /* what comes behind it has another place */
	value = p->value;
	memmove(p, p + 1, (size_t)(&l->v[l->n] - (p + 1)) * sizeof(*p));
	l->n--;
	return value;
}

/* --- values --- */

struct mal_value mal_value_string(uint32_t id)
{
	return (struct mal_value){.type = id == MAL_STR_NULL ? MAL_TYPE_NULL : MAL_TYPE_STRING,
				  .string = id};
}

struct mal_value mal_value_integer(int64_t v)
{
	return (struct mal_value){.type = MAL_TYPE_NUMBER, .number = {(double)v, v, true}};
}

struct mal_value mal_value_bool(bool v)
{
	return (struct mal_value){.type = MAL_TYPE_BOOL, .boolean = v};
}

bool mal_value_truth(const struct mal_eval *ev, const struct mal_value *v)
{
	switch (v->type) {
	case MAL_TYPE_STRING:
		return mal_strings_len(ev->strings, v->string) > 0;
	case MAL_TYPE_NUMBER:
		return v->number.value != 0;
	case MAL_TYPE_BOOL:
		return v->boolean;
	case MAL_TYPE_ARRAY:
	case MAL_TYPE_MATCH:
		return v->array.n > 0;
	case MAL_TYPE_LABELS:
		v->labels->touched = true;
		return v->labels->n > 0;
	case MAL_TYPE_ENTITY:
		return true;
	default:
		return false;
	}
}

static int append(struct mal_eval *ev, const struct mal_value *v)
{
	char text[SONDE_MAL_DOUBLE_SIZE];
	int r;

	switch (v->type) {
	case MAL_TYPE_NULL:
		r = sonde_buf_append(&ev->scratch, "null", 4);
		break;
	case MAL_TYPE_STRING:
		r = sonde_buf_append(&ev->scratch, mal_strings_text(ev->strings, v->string),
				     mal_strings_len(ev->strings, v->string));
		break;
	case MAL_TYPE_NUMBER:
		if (v->number.is_integer) {
			r = sonde_buf_printf(&ev->scratch, "%lld", (long long)v->number.integer);
			break;
		}
		sonde_mal_double_text(v->number.value, text);
		r = sonde_buf_append(&ev->scratch, text, strlen(text));
		break;
	case MAL_TYPE_BOOL:
		r = sonde_buf_printf(&ev->scratch, "%s", v->boolean ? "true" : "false");
		break;
	default:
		return mal_eval_fail(ev, "an array or a map has no text");
	}
	if (r == -EMSGSIZE)
		return mal_eval_fail(ev, "a text longer than %d bytes", SONDE_MAL_TEXT_MAX);
	return r < 0 ? mal_eval_no_memory(ev) : 0;
}

static int make_text(struct mal_eval *ev, const struct mal_value *a, const struct mal_value *b,
		     uint32_t *ret)
{
	int r;

	sonde_buf_reset(&ev->scratch);
	r = append(ev, a);
	if (r >= 0 && b)
		r = append(ev, b);
	return r < 0 ? r : mal_value_intern(ev, sonde_buf_str(&ev->scratch), ev->scratch.len, ret);
}

/* Most closures put the same few texts together for each sample. */
int mal_value_text(struct mal_eval *ev, const struct mal_value *a, const struct mal_value *b,
		   uint32_t *ret)
{
	struct mal_joined *known;
	int r;

	if (!b && a->type == MAL_TYPE_STRING) {
		*ret = a->string;
		return 0;
	}
	if (!b || a->type != MAL_TYPE_STRING || b->type != MAL_TYPE_STRING)
		return make_text(ev, a, b, ret);
	known = &ev->joined[(a->string * 31 + b->string) % MAL_JOINED];
	if (known->a != a->string || known->b != b->string) {
		r = make_text(ev, a, b, ret);
		if (r < 0)
			return r;
		*known = (struct mal_joined){a->string, b->string, *ret};
	}
	*ret = known->both;
	return 0;
}

int mal_value_intern(struct mal_eval *ev, const char *text, size_t len, uint32_t *ret)
{
	if (len > SONDE_MAL_TEXT_MAX)
		return mal_eval_fail(ev, "a text longer than %d bytes", SONDE_MAL_TEXT_MAX);
	return mal_strings_put(ev->strings, text, len, ret) < 0 ? mal_eval_no_memory(ev) : 0;
}

static bool equal(const struct mal_value *a, const struct mal_value *b)
{
	if (a->type != b->type)
		return false;
	switch (a->type) {
	case MAL_TYPE_NULL:
		return true;
	case MAL_TYPE_STRING:
		return a->string == b->string;
	case MAL_TYPE_NUMBER:
		return a->number.value == b->number.value &&
		       a->number.is_integer == b->number.is_integer;
	case MAL_TYPE_BOOL:
		return a->boolean == b->boolean;
	default:
		return false;
	}
}

/* --- expressions --- */

int mal_cx_eval_string(struct mal_eval *ev, struct mal_frame *f, const struct mal_cx *c,
		       uint32_t *ret)
{
	struct mal_value v;
	int r = mal_cx_eval(ev, f, c, &v);

	if (r < 0)
		return r;
	if (v.type != MAL_TYPE_STRING && v.type != MAL_TYPE_NULL)
		return mal_eval_fail(ev, "expected a string, found another value");
	*ret = v.type == MAL_TYPE_STRING ? v.string : MAL_STR_NULL;
	return 0;
}

static uint32_t entity_field(const struct mal_entity *e, const char *name)
{
	if (strncmp(name, "attr", 4) == 0)
		return e->attributes[name[4] - '0'];
	if (strcmp(name, "serviceName") == 0)
		return e->service;
	if (strcmp(name, "instanceName") == 0)
		return e->instance;
	if (strcmp(name, "endpointName") == 0)
		return e->endpoint;
	return e->process;
}

static int eval_field(struct mal_eval *ev, struct mal_frame *f, const struct mal_cx *c,
		      struct mal_value *ret)
{
	struct mal_value on;
	struct mal_pair *p;
	uint32_t key;
	int r = mal_cx_eval(ev, f, c->op.a, &on);

	if (r < 0)
		return r;
	switch (on.type) {
	case MAL_TYPE_LABELS:
		r = mal_eval_const(ev, c->op.name, &key);
		if (r < 0)
			return r;
		p = find_label(on.labels, key);
		*ret = mal_value_string(p ? p->value : MAL_STR_NULL);
		return 0;
	case MAL_TYPE_ENTITY:
		*ret = mal_value_string(entity_field(
			on.entity, mal_strings_text(&ev->program->strings, c->op.name)));
		return 0;
	case MAL_TYPE_ARRAY:
		*ret = mal_value_integer((int64_t)on.array.n);
		return 0;
	case MAL_TYPE_MATCH:
		*ret = mal_value_integer(1);
		return 0;
	default:
		return mal_eval_fail(ev, "a field of null or of a value that has none");
	}
}

static int eval_index(struct mal_eval *ev, struct mal_frame *f, const struct mal_cx *c,
		      struct mal_value *ret)
{
	struct mal_value on, at;
	struct mal_pair *p;
	int r = mal_cx_eval(ev, f, c->op.a, &on);

	if (r >= 0)
		r = mal_cx_eval(ev, f, c->op.b, &at);
	if (r < 0)
		return r;
	if (on.type == MAL_TYPE_LABELS &&
	    (at.type == MAL_TYPE_STRING || at.type == MAL_TYPE_NULL)) {
		p = at.type == MAL_TYPE_STRING ? find_label(on.labels, at.string) : NULL;
		*ret = mal_value_string(p ? p->value : MAL_STR_NULL);
		return 0;
	}
	if (at.type != MAL_TYPE_NUMBER || (on.type != MAL_TYPE_ARRAY && on.type != MAL_TYPE_MATCH))
		return mal_eval_fail(ev, "an index into null or into a value that has none");
	if (at.number.integer < 0 ||
	    (size_t)at.number.integer >= (on.type == MAL_TYPE_MATCH ? 1 : on.array.n))
		return mal_eval_fail(ev, "index %lld is outside of the array",
				     (long long)at.number.integer);
	if (on.type == MAL_TYPE_MATCH)
		*ret = (struct mal_value){.type = MAL_TYPE_ARRAY, .array = on.array};
	else
		*ret = mal_value_string(on.array.v[at.number.integer]);
	return 0;
}

static int eval_registry(struct mal_eval *ev, struct mal_frame *f, const struct mal_cx *c,
			 struct mal_value *ret)
{
	uint32_t args[3] = {0}, id;
	int r = 0;

	for (size_t i = 0; i < c->method.n_args && r >= 0; i++)
		r = mal_cx_eval_string(ev, f, c->method.args[i], &args[i]);
	if (r >= 0)
		r = mal_host_process(ev, (enum sonde_mal_virtual)c->method.method, args, &id);
	if (r >= 0)
		*ret = mal_value_string(id);
	return r;
}

static int integer_arithmetic(struct mal_eval *ev, enum mal_cx_kind kind, int64_t a, int64_t b,
			      int64_t *ret)
{
	/* Java's int: wraps, divides towards zero */
	switch (kind) {
	case MAL_CX_MUL:
		*ret = (int32_t)((uint64_t)a * (uint64_t)b);
		return 0;
	case MAL_CX_ADD:
		*ret = (int32_t)(a + b);
		return 0;
	case MAL_CX_SUB:
		*ret = (int32_t)(a - b);
		return 0;
	default:
		if (b == 0)
			return mal_eval_fail(ev, "division of an integer by zero");
		*ret = (int32_t)(a / b);
		return 0;
	}
}

static double real_arithmetic(enum mal_cx_kind kind, double a, double b)
{
	switch (kind) {
	case MAL_CX_MUL:
		return a * b;
	case MAL_CX_ADD:
		return a + b;
	case MAL_CX_SUB:
		return a - b;
	default:
		return a / b;
	}
}

static int eval_arithmetic(struct mal_eval *ev, struct mal_frame *f, const struct mal_cx *c,
			   struct mal_value *ret)
{
	struct mal_value a, b;
	int64_t i = 0;
	uint32_t id;
	int r = mal_cx_eval(ev, f, c->op.a, &a);

	if (r >= 0)
		r = mal_cx_eval(ev, f, c->op.b, &b);
	if (r < 0)
		return r;
	if (a.type == MAL_TYPE_NUMBER && b.type == MAL_TYPE_NUMBER) {
		if (a.number.is_integer && b.number.is_integer) {
			r = integer_arithmetic(ev, c->kind, a.number.integer, b.number.integer, &i);
			if (r >= 0)
				*ret = mal_value_integer(i);
			return r;
		}
		*ret = (struct mal_value){
			.type = MAL_TYPE_NUMBER,
			.number = {real_arithmetic(c->kind, a.number.value, b.number.value), 0,
				   false}};
		return 0;
	}
	if (c->kind != MAL_CX_ADD)
		return mal_eval_fail(ev, "arithmetic on a value that is no number");
	r = mal_value_text(ev, &a, &b, &id);
	if (r >= 0)
		*ret = mal_value_string(id);
	return r;
}

static int eval_negate(struct mal_eval *ev, struct mal_frame *f, const struct mal_cx *c,
		       struct mal_value *ret)
{
	int r = mal_cx_eval(ev, f, c->op.a, ret);

	if (r < 0)
		return r;
	if (ret->type != MAL_TYPE_NUMBER)
		return mal_eval_fail(ev, "'-' before a value that is no number");
	ret->number.value = -ret->number.value;
	ret->number.integer = -ret->number.integer;
	return 0;
}

static int eval_match(struct mal_eval *ev, struct mal_frame *f, const struct mal_cx *c,
		      struct mal_value *ret)
{
	struct mal_value on;
	const char *text;
	size_t *at;
	uint32_t id, *v;
	int r = mal_cx_eval(ev, f, c->op.a, &on);

	if (r >= 0)
		r = mal_value_text(ev, &on, NULL, &id);
	if (r < 0)
		return r;
	text = mal_strings_text(ev->strings, id);
	r = mal_eval_regex(ev, c->op.regex, text, mal_strings_len(ev->strings, id), 0, false);
	if (r <= 0) {
		*ret = mal_value_string(MAL_STR_NULL);
		return r;
	}
	v = mal_arena_array(ev->arena, c->op.regex->groups + 1, sizeof(*v));
	if (!v)
		return mal_eval_no_memory(ev);
	at = pcre2_get_ovector_pointer(ev->match);
	for (uint32_t i = 0; i <= c->op.regex->groups; i++) {
		v[i] = MAL_STR_NULL;
		if (i >= pcre2_get_ovector_count(ev->match) || at[2 * i] == PCRE2_UNSET)
			continue;
		r = mal_value_intern(ev, text + at[2 * i], at[2 * i + 1] - at[2 * i], &v[i]);
		if (r < 0)
			return r;
	}
	*ret = (struct mal_value){.type = MAL_TYPE_MATCH, .array = {v, c->op.regex->groups + 1}};
	return 0;
}

/* The comparison of a ternary is Java's ==: run-time strings are never the same object. */
static bool same(const struct mal_cx *c, const struct mal_value *a, const struct mal_value *b)
{
	if (a->type == MAL_TYPE_STRING && b->type == MAL_TYPE_STRING)
		return c->op.a->kind == MAL_CX_STRING && c->op.b->kind == MAL_CX_STRING &&
		       a->string == b->string;
	return equal(a, b);
}

static int compare_numbers(struct mal_eval *ev, enum mal_cx_kind kind, const struct mal_value *a,
			   const struct mal_value *b, bool *ret)
{
	if (a->type != MAL_TYPE_NUMBER || b->type != MAL_TYPE_NUMBER)
		return mal_eval_fail(ev, "a comparison of a value that is no number");
	switch (kind) {
	case MAL_CX_GT:
		*ret = a->number.value > b->number.value;
		return 0;
	case MAL_CX_LT:
		*ret = a->number.value < b->number.value;
		return 0;
	case MAL_CX_GE:
		*ret = a->number.value >= b->number.value;
		return 0;
	default:
		*ret = a->number.value <= b->number.value;
		return 0;
	}
}

static int eval_ternary(struct mal_eval *ev, struct mal_frame *f, const struct mal_cx *c,
			struct mal_value *ret)
{
	struct mal_value a, b;
	bool yes;
	int r = mal_cx_eval(ev, f, c->op.a, &a);

	if (r >= 0 && c->op.b)
		r = mal_cx_eval(ev, f, c->op.b, &b);
	if (r < 0)
		return r;
	if (!c->op.b) /* OAP tests for null, not for truth */
		yes = a.type == MAL_TYPE_BOOL ? a.boolean : a.type != MAL_TYPE_NULL;
	else if (c->op.op == MAL_CX_EQ || c->op.op == MAL_CX_NE) /* and writes == for both */
		yes = same(c, &a, &b);
	else
		r = compare_numbers(ev, c->op.op, &a, &b, &yes);
	if (r < 0)
		return r;
	return mal_cx_eval(ev, f, yes ? c->op.c : c->op.d, ret);
}

static int eval_elvis(struct mal_eval *ev, struct mal_frame *f, const struct mal_cx *c,
		      struct mal_value *ret)
{
	struct mal_value a, b;
	int r = mal_cx_eval(ev, f, c->op.a, &a);

	if (r >= 0)
		r = mal_cx_eval(ev, f, c->op.b, &b);
	if (r >= 0)
		*ret = mal_value_truth(ev, &a) ? a : b;
	return r;
}

static int eval_map(struct mal_eval *ev, struct mal_frame *f, const struct mal_cx *c,
		    struct mal_value *ret)
{
	struct mal_labels *m = mal_arena_alloc(ev->arena, sizeof(*m));
	uint32_t key = MAL_STR_NULL, value = MAL_STR_NULL;
	int r;

	if (!m)
		return mal_eval_no_memory(ev);
	m->n = 0;
	m->hidden = MAL_STR_NULL;
	m->touched = false;
	for (size_t i = 0; i < c->list.n; i += 2) {
		r = mal_cx_eval_string(ev, f, c->list.v[i], &key);
		if (r >= 0)
			r = mal_cx_eval_string(ev, f, c->list.v[i + 1], &value);
		if (r >= 0 && value == MAL_STR_NULL)
			r = mal_eval_fail(ev, "null as a value in a map");
		if (r >= 0)
			r = mal_labels_set(ev, m, key, value);
		if (r < 0)
			return r;
	}
	*ret = (struct mal_value){.type = MAL_TYPE_LABELS, .labels = m};
	return 0;
}

static int eval_junction(struct mal_eval *ev, struct mal_frame *f, const struct mal_cx *c,
			 struct mal_value *ret)
{
	struct mal_value v;
	int r = mal_cx_eval(ev, f, c->op.a, &v);

	if (r < 0)
		return r;
	if (mal_value_truth(ev, &v) == (c->kind == MAL_CX_AND)) {
		r = mal_cx_eval(ev, f, c->op.b, &v);
		if (r < 0)
			return r;
	}
	*ret = mal_value_bool(mal_value_truth(ev, &v));
	return 0;
}

static int eval_compare(struct mal_eval *ev, struct mal_frame *f, const struct mal_cx *c,
			struct mal_value *ret)
{
	struct mal_value a, b;
	bool yes;
	int r = mal_cx_eval(ev, f, c->op.a, &a);

	if (r >= 0)
		r = mal_cx_eval(ev, f, c->op.b, &b);
	if (r < 0)
		return r;
	if (c->kind == MAL_CX_EQ || c->kind == MAL_CX_NE)
		yes = equal(&a, &b) == (c->kind == MAL_CX_EQ);
	else
		r = compare_numbers(ev, c->kind, &a, &b, &yes);
	if (r >= 0)
		*ret = mal_value_bool(yes);
	return r;
}

static int eval_in(struct mal_eval *ev, struct mal_frame *f, const struct mal_cx *c,
		   struct mal_value *ret)
{
	uint32_t id = MAL_STR_NULL, item;
	int r = mal_cx_eval_string(ev, f, c->list.on, &id);

	if (r >= 0 && id == MAL_STR_NULL)
		r = mal_eval_fail(ev, "null before 'in'");
	*ret = mal_value_bool(false);
	for (size_t i = 0; i < c->list.n && r >= 0 && !ret->boolean; i++) {
		r = mal_eval_const(ev, c->list.v[i]->string, &item);
		if (r >= 0)
			ret->boolean = item == id;
	}
	return r;
}

static int eval_method(struct mal_eval *ev, struct mal_frame *f, const struct mal_cx *c,
		       struct mal_value *ret)
{
	struct mal_value on, args[3] = {0};
	uint32_t key;
	int r = mal_cx_eval(ev, f, c->method.on, &on);

	for (size_t i = 0; i < c->method.n_args && r >= 0; i++)
		r = mal_cx_eval(ev, f, c->method.args[i], &args[i]);
	if (r < 0)
		return r;
	if (on.type == MAL_TYPE_NULL) {
		if (!c->method.safe)
			return mal_eval_fail(ev, "a method of null");
		*ret = on;
		return 0;
	}
	if (on.type != MAL_TYPE_LABELS)
		return mal_method_call(ev, c, &on, args, ret);
	key = args[0].type == MAL_TYPE_STRING ? args[0].string : MAL_STR_NULL;
	if (c->method.method == MAL_METHOD_REMOVE) {
		*ret = mal_value_string(take_label(on.labels, key));
		return 0;
	}
	if (key == MAL_STR_NULL ||
	    (args[1].type != MAL_TYPE_STRING && args[1].type != MAL_TYPE_NULL))
		return mal_eval_fail(ev, "put() of something that is no string");
	struct mal_pair *p = find_label(on.labels, key);

	*ret = mal_value_string(p ? p->value : MAL_STR_NULL);
	return mal_labels_set(ev, on.labels, key,
			      args[1].type == MAL_TYPE_STRING ? args[1].string : MAL_STR_NULL);
}

int mal_cx_eval(struct mal_eval *ev, struct mal_frame *f, const struct mal_cx *c,
		struct mal_value *ret)
{
	struct mal_value v;
	uint32_t id;
	int r = mal_eval_spend(ev, 1);

	if (r < 0)
		return r;
	switch (c->kind) {
	case MAL_CX_STRING:
		r = mal_eval_const(ev, c->string, &id);
		if (r >= 0)
			*ret = mal_value_string(id);
		return r;
	case MAL_CX_NUMBER:
		*ret = (struct mal_value){
			.type = MAL_TYPE_NUMBER,
			.number = {c->number.value, c->number.integer, c->number.is_integer}};
		return 0;
	case MAL_CX_NULL:
		*ret = mal_value_string(MAL_STR_NULL);
		return 0;
	case MAL_CX_BOOL:
		*ret = mal_value_bool(c->boolean);
		return 0;
	case MAL_CX_LOCAL:
		*ret = f->locals[c->local];
		return 0;
	case MAL_CX_FIELD:
		return eval_field(ev, f, c, ret);
	case MAL_CX_INDEX:
		return eval_index(ev, f, c, ret);
	case MAL_CX_METHOD:
		return eval_method(ev, f, c, ret);
	case MAL_CX_REGISTRY:
		return eval_registry(ev, f, c, ret);
	case MAL_CX_NEGATE:
		return eval_negate(ev, f, c, ret);
	case MAL_CX_MUL:
	case MAL_CX_DIV:
	case MAL_CX_ADD:
	case MAL_CX_SUB:
		return eval_arithmetic(ev, f, c, ret);
	case MAL_CX_MATCH:
		return eval_match(ev, f, c, ret);
	case MAL_CX_TERNARY:
		return eval_ternary(ev, f, c, ret);
	case MAL_CX_ELVIS:
		return eval_elvis(ev, f, c, ret);
	case MAL_CX_MAP:
		return eval_map(ev, f, c, ret);
	case MAL_CX_OR:
	case MAL_CX_AND:
		return eval_junction(ev, f, c, ret);
	case MAL_CX_NOT:
		r = mal_cx_eval(ev, f, c->op.a, &v);
		if (r >= 0)
			*ret = mal_value_bool(!mal_value_truth(ev, &v));
		return r;
	case MAL_CX_EQ:
	case MAL_CX_NE:
	case MAL_CX_GT:
	case MAL_CX_LT:
	case MAL_CX_GE:
	case MAL_CX_LE:
		return eval_compare(ev, f, c, ret);
	case MAL_CX_IN:
		return eval_in(ev, f, c, ret);
	}
	return mal_eval_fail(ev, "unknown element");
}
