/* SPDX-License-Identifier: Apache-2.0 */
#include "mal/lint.h"

#include <stdio.h>
#include <string.h>

#include "mal/entity.h"
#include "mal/parser.h"

struct lint {
	const struct mal_program *program;
	const char *const *layers;
	mal_lint_fn fn;
	void *ctx;
};

static void warn(const struct lint *l, size_t offset, const char *fmt, ...) _printf_(3, 4);

static void warn(const struct lint *l, size_t offset, const char *fmt, ...)
{
	char message[400];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	l->fn(l->ctx, offset, message);
}

static const char *text_of(const struct lint *l, uint32_t id)
{
	return mal_strings_text(&l->program->strings, id);
}

/* --- closures --- */

static void lint_cx(const struct lint *l, const struct mal_cx *c);

static void lint_list(const struct lint *l, struct mal_cx *const *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		lint_cx(l, v[i]);
}

static bool is_text(const struct mal_cx *c)
{
	return c->type == MAL_TYPE_STRING || c->type == MAL_TYPE_ANY;
}

static void lint_choice(const struct lint *l, const struct mal_cx *c)
{
	if (c->op.op == MAL_CX_NE)
		warn(l, c->offset, "OAP takes '!=' before '?' for '=='");
	if ((c->op.op == MAL_CX_EQ || c->op.op == MAL_CX_NE) && is_text(c->op.a) &&
	    is_text(c->op.b))
		warn(l, c->offset,
		     "OAP compares texts before '?' by identity: never equal; expected if (…) { … }");
}

static void lint_cx(const struct lint *l, const struct mal_cx *c)
{
	if (!c)
		return;
	switch (c->kind) {
	case MAL_CX_STRING:
	case MAL_CX_NUMBER:
	case MAL_CX_NULL:
	case MAL_CX_BOOL:
	case MAL_CX_LOCAL:
		return;
	case MAL_CX_METHOD:
	case MAL_CX_REGISTRY:
		lint_cx(l, c->method.on);
		lint_list(l, c->method.args, c->method.n_args);
		return;
	case MAL_CX_MAP:
	case MAL_CX_IN:
		lint_cx(l, c->list.on);
		if (c->kind == MAL_CX_MAP)
			lint_list(l, c->list.v, c->list.n);
		return;
	case MAL_CX_TERNARY:
		lint_choice(l, c);
		break;
	default:
		break;
	}
	lint_cx(l, c->op.a);
	lint_cx(l, c->op.b);
	lint_cx(l, c->op.c);
	lint_cx(l, c->op.d);
}

static void lint_statements(const struct lint *l, const struct mal_st *s)
{
	for (; s; s = s->next) {
		lint_cx(l, s->a);
		if (s->kind != MAL_ST_IF)
			continue;
		lint_statements(l, s->then);
		lint_statements(l, s->otherwise);
	}
}

/* --- expressions --- */

static bool is_number(const struct mal_expr *e)
{
	return e->kind == MAL_EXPR_NUMBER || e->kind == MAL_EXPR_TIME;
}

static bool is_entity(const struct mal_expr *e)
{
	return e->kind == MAL_EXPR_CALL && e->call.fn >= MAL_FN_SERVICE &&
	       e->call.fn <= MAL_FN_PROCESS_RELATION;
}

/* An entity stands in the chain that ends with @e. */
static bool has_entity(const struct mal_expr *e)
{
	for (; e->kind == MAL_EXPR_CALL; e = e->call.receiver)
		if (is_entity(e))
			return true;
	return false;
}

static bool changes_samples(const struct mal_expr *e)
{
	switch (e->call.fn) {
	case MAL_FN_HISTOGRAM_PERCENTILE:
	case MAL_FN_DOWNSAMPLING:
	case MAL_FN_DECORATE:
	case MAL_FN_DEBUG_DUMP:
		return false;
	default:
		return !is_entity(e);
	}
}

static void lint_layer(const struct lint *l, const struct mal_arg *a)
{
	const char *name = text_of(l, a->en.name);

	if (strcmp(mal_layer_name(name, l->layers), name) != 0)
		warn(l, a->offset, "no layer '%.64s': the entities become UNDEFINED", name);
}

static void lint_ranks(const struct lint *l, const struct mal_arg *a)
{
	for (size_t i = 0; i < a->numbers.n; i++) {
		double v = a->numbers.v[i];

		if (v < 1 || v > 100 || v != (double)(int)v)
			warn(l, a->offset, "expected whole percentiles from 1 to 100");
		else if (i > 0 && v <= a->numbers.v[i - 1])
			warn(l, a->offset,
			     "expected ascending percentiles: the others are missing");
		else
			continue;
		return;
	}
}

static void lint_expr(const struct lint *l, const struct mal_expr *e);

static void lint_call(const struct lint *l, const struct mal_expr *e)
{
	lint_expr(l, e->call.receiver);
	if (e->call.fault)
		warn(l, e->offset, "fails each time that it is run%s: %s",
		     e->call.fault_on_empty ? "" : " on samples", e->call.fault);
	if (changes_samples(e) && has_entity(e->call.receiver))
		warn(l, e->offset,
		     "%s() stands behind an entity, where it does not change what is stored",
		     mal_fn_name(e->call.fn));
	for (size_t i = 0; i < e->call.n_args; i++) {
		const struct mal_arg *a = &e->call.args[i];

		if (a->kind == MAL_ARG_EXPR) {
			lint_expr(l, a->expr);
		} else if (a->kind == MAL_ARG_ENUM && a->en.type == MAL_ENUM_LAYER) {
			lint_layer(l, a);
		} else if (a->kind == MAL_ARG_NUMBERS &&
			   e->call.fn == MAL_FN_HISTOGRAM_PERCENTILE) {
			lint_ranks(l, a);
		} else if (a->kind == MAL_ARG_CLOSURE) {
			lint_cx(l, a->closure->condition);
			lint_statements(l, a->closure->body);
		}
	}
}

static void lint_expr(const struct lint *l, const struct mal_expr *e)
{
	switch (e->kind) {
	case MAL_EXPR_NEGATE:
		if (is_number(e->operand))
			warn(l, e->offset,
			     "a negative number is the EMPTY family: expected `0 - …` or negative()");
		lint_expr(l, e->operand);
		return;
	case MAL_EXPR_BINARY:
		if (is_number(e->binary.lhs) && is_number(e->binary.rhs))
			warn(l, e->offset,
			     "numbers alone are the EMPTY family: expected the result written out");
		if (has_entity(e->binary.lhs) || has_entity(e->binary.rhs))
			warn(l, e->offset,
			     "'%c' stands behind an entity, where it does not change what is stored",
			     e->binary.op);
		lint_expr(l, e->binary.lhs);
		lint_expr(l, e->binary.rhs);
		return;
	case MAL_EXPR_CALL:
		lint_call(l, e);
		return;
	default:
		return;
	}
}

void mal_lint_text(const struct mal_program *p, const struct mal_expr *e, const char *const *layers,
		   mal_lint_fn fn, void *ctx)
{
	const struct lint l = {p, layers, fn, ctx};

	lint_expr(&l, e);
}

/* --- labels --- */

void mal_lint_labels(const struct mal_program *p, const struct mal_checked *c, mal_lint_fn fn,
		     void *ctx)
{
	/* names whose values come from clients, peers or processes, as whole words of a label */
	static const char *const words[] = {"address", "addr",	"ip",	  "port", "uri", "url",
					    "path",    "pid",	"tid",	  "user", "id",	 "query",
					    "session", "trace", "client", "peer"};
	const struct lint l = {p, NULL, fn, ctx};

	for (size_t i = 0; i < c->n_labels; i++) {
		const char *name = text_of(&l, c->labels[i]), *last = strrchr(name, '_');

		last = last ? last + 1 : name;
		for (size_t k = 0; k < ELEMENTS_OF(words); k++) {
			if (strcmp(last, words[k]) != 0)
				continue;
			warn(&l, 0,
			     "label '%.64s' stays on the metric and may take any number of values: at most %d "
			     "are kept an entity and minute",
			     name, SONDE_MAL_KEYS_MAX);
		}
	}
}

/* --- counters --- */

struct search {
	struct mal_counter context; /* exp and prefix of the rule */
	void (*fn)(void *ctx, const struct mal_counter *c);
	void *ctx;
};

/* What a head stands for; NULL: the samples as they come. */
static const struct mal_expr *behind(const struct mal_counter *c, const struct mal_expr *e,
				     bool *in_prefix)
{
	if (*in_prefix)
		return NULL;
	return e == c->exp ? NULL : c->exp;
}

/* Follows the samples of a counter back to their metric. */
static void trace(struct mal_counter *c, const struct mal_expr *e, bool in_prefix)
{
	while (e) {
		switch (e->kind) {
		case MAL_EXPR_METRIC:
			c->source = e->metric.name;
			if (e->metric.prefixed && c->prefix && !in_prefix) {
				in_prefix = true;
				e = c->prefix;
				continue;
			}
			return;
		case MAL_EXPR_HEAD:
			e = behind(c, e, &in_prefix);
			continue;
		case MAL_EXPR_NEGATE:
			e = e->operand;
			continue;
		case MAL_EXPR_BINARY:
			e = is_number(e->binary.lhs) ? e->binary.rhs : e->binary.lhs;
			continue;
		case MAL_EXPR_CALL:
			break;
		default:
			return;
		}
		if (e->call.fn >= MAL_FN_SUM && e->call.fn <= MAL_FN_COUNT && !c->labels)
			c->labels = &e->call.args[0];
		for (size_t i = 0; e->call.fn == MAL_FN_TAG_EQUAL && i + 1 < e->call.n_args &&
				   c->n_equal < MAL_LINT_PAIRS_MAX;
		     i += 2) {
			if (e->call.args[i].kind != MAL_ARG_STRING ||
			    e->call.args[i + 1].kind != MAL_ARG_STRING)
				continue;
			c->equal[c->n_equal][0] = e->call.args[i].string;
			c->equal[c->n_equal++][1] = e->call.args[i + 1].string;
		}
		e = e->call.receiver;
	}
}

static void find_counters(const struct search *s, const struct mal_expr *e, bool in_prefix)
{
	switch (e->kind) {
	case MAL_EXPR_NEGATE:
		find_counters(s, e->operand, in_prefix);
		return;
	case MAL_EXPR_BINARY:
		find_counters(s, e->binary.lhs, in_prefix);
		find_counters(s, e->binary.rhs, in_prefix);
		return;
	case MAL_EXPR_CALL:
		break;
	default:
		return;
	}
	find_counters(s, e->call.receiver, in_prefix);
	for (size_t i = 0; i < e->call.n_args; i++)
		if (e->call.args[i].kind == MAL_ARG_EXPR)
			find_counters(s, e->call.args[i].expr, in_prefix);
	if (e->call.fn >= MAL_FN_INCREASE && e->call.fn <= MAL_FN_IRATE) {
		struct mal_counter c = s->context;

		c.call = e;
		trace(&c, e->call.receiver, in_prefix);
		s->fn(s->ctx, &c);
	}
}

void mal_lint_counters(const struct mal_expr *exp, const struct mal_expr *prefix,
		       const struct mal_expr *suffix,
		       void (*fn)(void *ctx, const struct mal_counter *c), void *ctx)
{
	const struct search s = {{.exp = exp, .prefix = prefix}, fn, ctx};

	find_counters(&s, exp, false);
	if (prefix)
		find_counters(&s, prefix, true);
	if (suffix)
		find_counters(&s, suffix, false);
}

static bool lists(const struct mal_arg *a, uint32_t label)
{
	for (size_t i = 0; a->kind == MAL_ARG_STRINGS && i < a->strings.n; i++)
		if (a->strings.ids[i] == label)
			return true;
	return false;
}

static bool same_labels(const struct mal_arg *a, const struct mal_arg *b)
{
	if (!a || !b || a->kind != MAL_ARG_STRINGS || b->kind != MAL_ARG_STRINGS)
		return (!a && !b) || (a && b && a->kind == b->kind && a->kind == MAL_ARG_NULL);
	if (a->strings.n != b->strings.n)
		return false;
	for (size_t i = 0; i < a->strings.n; i++)
		if (!lists(b, a->strings.ids[i]))
			return false;
	return true;
}

/* A label that both still have, and of which each asks another value. */
static bool disjoint(const struct mal_counter *a, const struct mal_counter *b)
{
	for (size_t i = 0; i < a->n_equal; i++)
		for (size_t k = 0; k < b->n_equal; k++)
			if (a->equal[i][0] == b->equal[k][0] && a->equal[i][1] != b->equal[k][1] &&
			    (!a->labels || lists(a->labels, a->equal[i][0])))
				return true;
	return false;
}

static bool same_expr(const struct mal_expr *a, const struct mal_expr *b);

static bool same_arg(const struct mal_arg *a, const struct mal_arg *b)
{
	if (a->kind != b->kind)
		return false;
	switch (a->kind) {
	case MAL_ARG_EXPR:
		return same_expr(a->expr, b->expr);
	case MAL_ARG_STRINGS:
		return same_labels(a, b);
	case MAL_ARG_NUMBERS:
		return a->numbers.n == b->numbers.n &&
		       memcmp(a->numbers.v, b->numbers.v, a->numbers.n * sizeof(double)) == 0;
	case MAL_ARG_STRING:
		return a->string == b->string;
	case MAL_ARG_CLOSURE:
		return a->closure == b->closure;
	case MAL_ARG_ENUM:
		return a->en.type == b->en.type && a->en.name == b->en.name;
	case MAL_ARG_BOOL:
		return a->boolean == b->boolean;
	default:
		return true;
	}
}

/* Written alike. Closures are the same only where they are one, as those of a prefix. */
static bool same_expr(const struct mal_expr *a, const struct mal_expr *b)
{
	if (a == b)
		return true;
	if (a->kind != b->kind)
		return false;
	switch (a->kind) {
	case MAL_EXPR_NUMBER:
		return a->number <= b->number && a->number >= b->number;
	case MAL_EXPR_METRIC:
		return a->metric.name == b->metric.name;
	case MAL_EXPR_NEGATE:
		return same_expr(a->operand, b->operand);
	case MAL_EXPR_BINARY:
		return a->binary.op == b->binary.op && same_expr(a->binary.lhs, b->binary.lhs) &&
		       same_expr(a->binary.rhs, b->binary.rhs);
	case MAL_EXPR_CALL:
		if (a->call.fn != b->call.fn || a->call.n_args != b->call.n_args)
			return false;
		for (size_t i = 0; i < a->call.n_args; i++)
			if (!same_arg(&a->call.args[i], &b->call.args[i]))
				return false;
		return same_expr(a->call.receiver, b->call.receiver);
	default:
		return true;
	}
}

bool mal_lint_interfere(const struct mal_counter *a, const struct mal_counter *b)
{
	bool irates = a->call->call.fn == MAL_FN_IRATE;

	if (a->source != b->source || irates != (b->call->call.fn == MAL_FN_IRATE) ||
	    !same_labels(a->labels, b->labels) || disjoint(a, b))
		return false;
	if (irates) /* the second one finds what the first one has just left */
		return true;
	if (a->call->call.duration_ms != b->call->call.duration_ms)
		return true;
	return !same_expr(a->call->call.receiver, b->call->call.receiver) ||
	       (a->call == b->call && !same_expr(a->exp, b->exp));
}
