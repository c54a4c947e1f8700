/* SPDX-License-Identifier: Apache-2.0 */
#include "mal/parse-cx.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "mal/closure-names.h"

/*
 * Each binary operator has a level of its own, as in OAP's grammar: * binds tighter than /, which
 * binds tighter than +, which binds tighter than -. A comparison stands in a condition, or before '?'.
 */

static int parse_elvis(struct mal_parser *p, bool condition, struct mal_cx **ret);

/* --- operators, tightest first --- */

static int parse_negative(struct mal_parser *p, struct mal_cx **ret)
{
	size_t offset = p->lexer.now.offset;
	struct mal_cx *c, *operand;
	bool negative = mal_parse_skip(p, "-");
	int r;

	r = mal_parse_primary(p, &operand);
	if (r >= 0)
		r = mal_parse_chain(p, operand, &operand);
	if (r < 0)
		return r;
	if (!negative) {
		*ret = operand;
		return 0;
	}
	c = mal_cx_new(p, MAL_CX_NEGATE, MAL_TYPE_NUMBER, offset);
	if (!c)
		return -EBADMSG;
	if (!mal_type_may_be(operand->type, MAL_TYPE_NUMBER))
		return mal_parse_fail(p, offset, "expected a number behind '-'");
	c->op.a = operand;
	c->height = operand->height + 1;
	*ret = c;
	return 0;
}

static const struct {
	const char *op;
	enum mal_cx_kind kind;
} levels[] = {{"*", MAL_CX_MUL}, {"/", MAL_CX_DIV}, {"+", MAL_CX_ADD}, {"-", MAL_CX_SUB}};

static int check_arithmetic(struct mal_parser *p, enum mal_cx_kind kind, const struct mal_cx *a,
			    const struct mal_cx *b, size_t offset)
{
	if (kind == MAL_CX_ADD || (mal_type_may_be(a->type, MAL_TYPE_NUMBER) &&
				   mal_type_may_be(b->type, MAL_TYPE_NUMBER)))
		return 0;
	return mal_parse_fail(p, offset, "expected numbers on both sides of the operator");
}

static int parse_arithmetic(struct mal_parser *p, size_t level, struct mal_cx **ret)
{
	struct mal_cx *a, *b;
	int r;

	if (level == 0)
		return parse_negative(p, ret);
	r = parse_arithmetic(p, level - 1, &a);
	while (r >= 0 && mal_parse_at(p, levels[level - 1].op)) {
		enum mal_cx_kind kind = levels[level - 1].kind;
		enum mal_value_type type = MAL_TYPE_NUMBER;
		size_t offset = p->lexer.now.offset;

		mal_lexer_next(&p->lexer);
		r = parse_arithmetic(p, level - 1, &b);
		if (r >= 0)
			r = check_arithmetic(p, kind, a, b, offset);
		if (r < 0)
			return r;
		if (kind == MAL_CX_ADD &&
		    !(a->type == MAL_TYPE_NUMBER && b->type == MAL_TYPE_NUMBER))
			type = MAL_TYPE_STRING;
		r = mal_cx_binary(p, kind, type, offset, a, b, &a);
	}
	if (r >= 0)
		*ret = a;
	return r;
}

static int parse_match(struct mal_parser *p, struct mal_cx **ret)
{
	struct mal_cx *a, *c;
	int r;

	r = parse_arithmetic(p, ELEMENTS_OF(levels), &a);
	while (r >= 0 && mal_parse_at(p, "=~")) {
		c = mal_cx_new(p, MAL_CX_MATCH, MAL_TYPE_MATCH, p->lexer.now.offset);
		if (!c)
			return -EBADMSG;
		mal_lexer_next(&p->lexer);
		if (p->lexer.now.kind != MAL_TOKEN_REGEX)
			return mal_parse_expected(p, "a regex: /…/");
		c->op.a = a;
		c->height = a->height + 1;
		r = mal_cx_regex(p, p->lexer.now.text, p->lexer.now.offset, &c->op.regex);
		mal_lexer_next(&p->lexer);
		a = c;
	}
	if (r >= 0)
		*ret = a;
	return r;
}

static enum mal_cx_kind comparison_at(const struct mal_parser *p)
{
	static const struct {
		const char *op;
		enum mal_cx_kind kind;
	} ops[] = {{"==", MAL_CX_EQ}, {"!=", MAL_CX_NE}, {">=", MAL_CX_GE},
		   {"<=", MAL_CX_LE}, {">", MAL_CX_GT},	 {"<", MAL_CX_LT}};

	for (size_t i = 0; i < ELEMENTS_OF(ops); i++)
		if (mal_parse_at(p, ops[i].op))
			return ops[i].kind;
	return MAL_CX_STRING;
}

static bool is_comparison(const struct mal_cx *c)
{
	return c->kind >= MAL_CX_EQ && c->kind <= MAL_CX_LE;
}

int mal_parse_check_object(struct mal_parser *p, const struct mal_cx *c)
{
	if (c->type != MAL_TYPE_BOOL && c->type != MAL_TYPE_NUMBER)
		return 0;
	return mal_parse_fail(
		p, c->offset,
		"OAP takes no number, true or false here: expected a text, as in `… + ''`");
}

/* ==, != of a condition itself, not before '?'. */
static int check_equality(struct mal_parser *p, const struct mal_cx *c)
{
	int r;

	if (c->kind != MAL_CX_EQ && c->kind != MAL_CX_NE)
		return 0;
	r = mal_parse_check_object(p, c->op.a);
	return r < 0 ? r : mal_parse_check_object(p, c->op.b);
}

static int check_comparison(struct mal_parser *p, const struct mal_cx *c)
{
	if (c->kind == MAL_CX_EQ || c->kind == MAL_CX_NE)
		return 0;
	if (!mal_type_may_be(c->op.a->type, MAL_TYPE_NUMBER) ||
	    !mal_type_may_be(c->op.b->type, MAL_TYPE_NUMBER))
		return mal_parse_fail(p, c->offset,
				      "expected numbers on both sides: text has no order here");
	return 0;
}

/* Behind '?': "x : y", which make a ternary of the comparison or value @c. */
static int parse_choice(struct mal_parser *p, struct mal_cx *c,
			int (*last)(struct mal_parser *, struct mal_cx **), struct mal_cx **ret)
{
	struct mal_cx *t = mal_cx_new(p, MAL_CX_TERNARY, MAL_TYPE_ANY, c->offset);
	int r;

	if (!t)
		return -EBADMSG;
	if (!is_comparison(c) && mal_parse_check_object(p, c) < 0)
		return -EBADMSG;
	t->op.op = is_comparison(c) ? c->kind : MAL_CX_TERNARY;
	t->op.a = is_comparison(c) ? c->op.a : c;
	t->op.b = is_comparison(c) ? c->op.b : NULL;
	r = mal_parse_cx(p, &t->op.c);
	if (r >= 0)
		r = mal_parse_need(p, ":");
	if (r >= 0)
		r = last(p, &t->op.d);
	if (r < 0)
		return r;
	t->height = 1 + c->height + t->op.d->height;
	if (t->op.c->type == t->op.d->type)
		t->type = t->op.c->type;
	if (t->height > MAL_HEIGHT_MAX)
		return mal_parse_fail(p, c->offset, "more than %d operators in each other",
				      MAL_HEIGHT_MAX);
	*ret = t;
	return 0;
}

/* a, or "a cmp b ? x : y", or, in a condition, "a cmp b". */
static int parse_compared(struct mal_parser *p, bool condition, struct mal_cx **ret)
{
	struct mal_cx *a, *b, *c;
	enum mal_cx_kind kind;
	int r;

	r = parse_match(p, &a);
	while (r >= 0 && (kind = comparison_at(p)) != MAL_CX_STRING) {
		struct mal_lexer saved = p->lexer;

		mal_lexer_next(&p->lexer);
		r = parse_match(p, &b);
		if (r >= 0)
			r = mal_cx_binary(p, kind, MAL_TYPE_BOOL, saved.now.offset, a, b, &c);
		if (r >= 0)
			r = check_comparison(p, c);
		if (r < 0)
			return r;
		if (!mal_parse_skip(p, "?")) {
			if (condition) {
				r = check_equality(p, c);
				a = c;
			} else if (p->in_condition) { /* it compares all that stands on its left */
				p->lexer = saved;
			} else {
				return mal_parse_expected(
					p, "'?' behind a comparison outside of a condition");
			}
			break;
		}
		r = parse_choice(p, c, parse_match, &a);
	}
	if (r >= 0)
		*ret = a;
	return r;
}

static int parse_compared_value(struct mal_parser *p, struct mal_cx **ret)
{
	return parse_compared(p, false, ret);
}

static int parse_ternary(struct mal_parser *p, bool condition, struct mal_cx **ret)
{
	struct mal_cx *a;
	int r;

	r = parse_compared(p, condition, &a);
	while (r >= 0 && mal_parse_skip(p, "?"))
		r = parse_choice(p, a, parse_compared_value, &a);
	if (r >= 0)
		*ret = a;
	return r;
}

static int parse_elvis(struct mal_parser *p, bool condition, struct mal_cx **ret)
{
	struct mal_cx *a, *b;
	int r;

	r = parse_ternary(p, condition, &a);
	while (r >= 0 && mal_parse_at(p, "?:")) {
		size_t offset = p->lexer.now.offset;
		/* in `x == y ?: z` the right side of the comparison is `y ?: z` */
		struct mal_cx **left = is_comparison(a) ? &a->op.b : &a;

		mal_lexer_next(&p->lexer);
		r = parse_ternary(p, false, &b);
		if (r >= 0)
			r = mal_parse_check_object(p, *left);
		if (r >= 0)
			r = mal_parse_check_object(p, b);
		if (r >= 0) {
			r = mal_cx_binary(p, MAL_CX_ELVIS,
					  (*left)->type == b->type ? b->type : MAL_TYPE_ANY, offset,
					  *left, b, left);
		}
	}
	if (r >= 0)
		*ret = a;
	return r;
}

int mal_parse_cx(struct mal_parser *p, struct mal_cx **ret)
{
	bool outer = p->in_condition;
	int r = mal_parse_enter(p);

	if (r < 0)
		return r;
	p->in_condition = false;
	r = parse_elvis(p, false, ret);
	p->in_condition = outer;
	p->depth--;
	return r;
}

/* --- conditions --- */

/* Behind "in". */
static int parse_in(struct mal_parser *p, struct mal_cx *on, struct mal_cx **ret)
{
	struct mal_cx *c = mal_cx_new(p, MAL_CX_IN, MAL_TYPE_BOOL, p->lexer.now.offset);
	int r;

	if (!c)
		return -EBADMSG;
	c->list.on = on;
	c->height = on->height + 1;
	c->list.v = mal_parse_node(p, sizeof(void *) * 256);
	r = c->list.v ? mal_parse_need(p, "[") : -EBADMSG;
	if (r < 0)
		return r;
	do {
		if (p->lexer.now.kind != MAL_TOKEN_STRING)
			return mal_parse_expected(p, "a string in the list");
		if (c->list.n == 256)
			return mal_parse_fail(p, p->lexer.now.offset,
					      "more than 256 strings in the list");
		r = mal_cx_string(p, p->lexer.now.text, p->lexer.now.len, p->lexer.now.offset,
				  &c->list.v[c->list.n++]);
		mal_lexer_next(&p->lexer);
	} while (r >= 0 && mal_parse_skip(p, ","));
	*ret = c;
	return r < 0 ? r : mal_parse_need(p, "]");
}

/* "a", "a == b", "a ?: b == c ?: d" */
static int parse_comparison(struct mal_parser *p, struct mal_cx **ret)
{
	bool outer = p->in_condition;
	struct mal_cx *a = NULL, *b;
	enum mal_cx_kind kind;
	int r;

	p->in_condition = true;
	r = parse_elvis(p, true, &a);
	kind = r >= 0 ? comparison_at(p) : MAL_CX_STRING;
	if (kind != MAL_CX_STRING && !is_comparison(a)) {
		size_t offset = p->lexer.now.offset;

		mal_lexer_next(&p->lexer);
		r = parse_elvis(p, false, &b);
		if (r >= 0)
			r = mal_cx_binary(p, kind, MAL_TYPE_BOOL, offset, a, b, &a);
		if (r >= 0)
			r = check_comparison(p, a);
		if (r >= 0)
			r = check_equality(p, a);
	}
	p->in_condition = outer;
	if (r >= 0)
		*ret = a;
	return r;
}

int mal_parse_check_truth(struct mal_parser *p, const struct mal_cx *c)
{
	if (c->kind != MAL_CX_BOOL && c->type != MAL_TYPE_NUMBER)
		return 0;
	return mal_parse_fail(
		p, c->offset,
		"OAP takes no number, true or false as a condition: expected a text or a comparison");
}

static int parse_not(struct mal_parser *p, struct mal_cx **ret)
{
	size_t offset = p->lexer.now.offset;
	struct mal_cx *c = NULL;
	int r;

	if (mal_parse_skip(p, "!")) {
		c = mal_cx_new(p, MAL_CX_NOT, MAL_TYPE_BOOL, offset);
		r = c ? mal_parse_enter(p) : -EBADMSG;
		if (r < 0)
			return r;
		r = parse_not(p, &c->op.a);
		p->depth--;
		if (r >= 0)
			r = mal_parse_check_truth(p, c->op.a);
		if (r >= 0)
			*ret = c;
		return r;
	}
	r = parse_comparison(p, &c);
	if (r < 0)
		return r;
	if (c->kind == MAL_CX_GE || c->kind == MAL_CX_LE)
		return mal_parse_fail(p, c->offset,
				      "OAP has no >= and <= in conditions: expected > or <");
	*ret = c;
	return mal_parse_skip(p, "in") ? parse_in(p, c, ret) : 0;
}

static int parse_junction(struct mal_parser *p, const char *op, enum mal_cx_kind kind,
			  int (*next)(struct mal_parser *, struct mal_cx **), struct mal_cx **ret)
{
	struct mal_cx *a, *b;
	int r;

	r = next(p, &a);
	while (r >= 0 && mal_parse_at(p, op)) {
		size_t offset = p->lexer.now.offset;

		mal_lexer_next(&p->lexer);
		r = next(p, &b);
		if (r >= 0)
			r = mal_parse_check_truth(p, a);
		if (r >= 0)
			r = mal_parse_check_truth(p, b);
		if (r >= 0)
			r = mal_cx_binary(p, kind, MAL_TYPE_BOOL, offset, a, b, &a);
	}
	if (r >= 0)
		*ret = a;
	return r;
}

static int parse_and(struct mal_parser *p, struct mal_cx **ret)
{
	return parse_junction(p, "&&", MAL_CX_AND, parse_not, ret);
}

int mal_parse_condition(struct mal_parser *p, struct mal_cx **ret)
{
	int r = mal_parse_enter(p);

	if (r < 0)
		return r;
	r = parse_junction(p, "||", MAL_CX_OR, parse_and, ret);
	p->depth--;
	return r;
}
