/* SPDX-License-Identifier: Apache-2.0 */
#include "mal/parser.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static int parse_additive(struct mal_parser *p, struct mal_expr **ret);

void mal_parse_say(struct mal_parser *p, size_t offset, const char *fmt, ...)
{
	va_list ap;

	if (p->error->message[0])
		return;
	p->error->offset = offset;
	va_start(ap, fmt);
	(void)vsnprintf(p->error->message, sizeof(p->error->message), fmt, ap);
	va_end(ap);
}

void mal_parse_say_expected(struct mal_parser *p, const char *what)
{
	const struct mal_token *t = &p->lexer.now;

	if (t->kind == MAL_TOKEN_END)
		mal_parse_say(p, t->offset, "expected %s, found the end", what);
	else if (t->kind == MAL_TOKEN_STRING)
		mal_parse_say(p, t->offset, "expected %s, found a string", what);
	else
		mal_parse_say(p, t->offset, "expected %s, found '%.*s'", what,
			      (int)(t->len < 40 ? t->len : 40), t->text);
}

bool mal_parse_at(const struct mal_parser *p, const char *op)
{
	return (p->lexer.now.kind == MAL_TOKEN_OP || p->lexer.now.kind == MAL_TOKEN_KEYWORD) &&
	       mal_token_is(&p->lexer.now, op);
}

bool mal_parse_skip(struct mal_parser *p, const char *op)
{
	if (!mal_parse_at(p, op))
		return false;
	mal_lexer_next(&p->lexer);
	return true;
}

int mal_parse_need(struct mal_parser *p, const char *op)
{
	char what[16];

	if (mal_parse_skip(p, op))
		return 0;
	(void)snprintf(what, sizeof(what), "'%s'", op);
	return mal_parse_expected(p, what);
}

void *mal_parse_node(struct mal_parser *p, size_t size)
{
	void *n;

	if (p->nodes >= SONDE_MAL_NODES_MAX) {
		(void)mal_parse_fail(p, p->lexer.now.offset, "too long: more than %d elements",
				     SONDE_MAL_NODES_MAX);
		return NULL;
	}
	p->nodes++;
	n = mal_arena_zalloc(&p->program->arena, size);
	if (!n)
		(void)mal_parse_fail(p, p->lexer.now.offset, "out of memory");
	return n;
}

int mal_parse_enter(struct mal_parser *p)
{
	if (p->depth >= SONDE_MAL_DEPTH_MAX)
		return mal_parse_fail(p, p->lexer.now.offset, "nested more than %d deep",
				      SONDE_MAL_DEPTH_MAX);
	p->depth++;
	return 0;
}

int mal_parse_string_id(struct mal_parser *p, const char *text, size_t len, uint32_t *ret)
{
	if (mal_strings_put(&p->program->strings, text, len, ret) < 0)
		return mal_parse_fail(p, p->lexer.now.offset, "too much text");
	return 0;
}

static struct mal_expr *new_expr(struct mal_parser *p, enum mal_expr_kind kind, size_t offset)
{
	struct mal_expr *e = mal_parse_node(p, sizeof(*e));

	if (e) {
		e->kind = kind;
		e->offset = offset;
	}
	return e;
}

/* --- arguments --- */

/* Items of a list as tokens; the list is one kind throughout. At the first item. */
static int parse_list(struct mal_parser *p, struct mal_arg *arg)
{
	struct item {
		struct item *next;
		double number;
		uint32_t string;
	} *first = NULL, **last = &first;
	enum mal_token_kind kind = p->lexer.now.kind;
	size_t n = 0;
	int r;

	if (kind != MAL_TOKEN_STRING && kind != MAL_TOKEN_NUMBER)
		return mal_parse_expected(p, "a string or a number in the list");
	do {
		struct item *it = mal_parse_node(p, sizeof(*it));

		if (!it)
			return -EBADMSG;
		if (p->lexer.now.kind != kind) {
			return mal_parse_expected(p, kind == MAL_TOKEN_STRING
							     ? "a string in the list"
							     : "a number in the list");
		}
		it->number = p->lexer.now.number;
		if (kind == MAL_TOKEN_STRING) {
			r = mal_parse_string_id(p, p->lexer.now.text, p->lexer.now.len,
						&it->string);
			if (r < 0)
				return r;
		}
		*last = it;
		last = &it->next;
		n++;
		mal_lexer_next(&p->lexer);
	} while (mal_parse_skip(p, ","));
	r = mal_parse_need(p, "]");
	if (r < 0)
		return r;
	arg->kind = kind == MAL_TOKEN_STRING ? MAL_ARG_STRINGS : MAL_ARG_NUMBERS;
	if (kind == MAL_TOKEN_STRING) {
		arg->strings.n = n;
		arg->strings.ids =
			mal_arena_array(&p->program->arena, n, sizeof(*arg->strings.ids));
	} else {
		arg->numbers.n = n;
		arg->numbers.v = mal_arena_array(&p->program->arena, n, sizeof(*arg->numbers.v));
	}
	if (kind == MAL_TOKEN_STRING ? !arg->strings.ids : !arg->numbers.v)
		return mal_parse_fail(p, arg->offset, "out of memory");
	for (size_t i = 0; first; first = first->next, i++) {
		if (kind == MAL_TOKEN_STRING)
			arg->strings.ids[i] = first->string;
		else
			arg->numbers.v[i] = first->number;
	}
	if (kind == MAL_TOKEN_STRING &&
	    mal_program_list(p->program, arg->strings.ids, n, &arg->strings.list) < 0)
		return mal_parse_fail(p, arg->offset, "out of memory");
	return 0;
}

static const char *const enum_names[] = {
	[MAL_ENUM_LAYER] = "Layer",
	[MAL_ENUM_DETECT_POINT] = "DetectPoint",
	[MAL_ENUM_K8S_RETAG] = "K8sRetagType",
	[MAL_ENUM_DOWNSAMPLING] = "DownsamplingType",
	[MAL_ENUM_TIME_UNIT] = "TimeUnit",
};

/* "Layer.GENERAL" or "SUM": 1 where it is one and was read, 0 where it is something else. */
static int parse_enum(struct mal_parser *p, struct mal_arg *arg)
{
	struct mal_lexer saved = p->lexer;
	struct mal_token first = p->lexer.now, second;
	size_t type = 0;

	if (first.kind != MAL_TOKEN_IDENT)
		return 0;
	mal_lexer_next(&p->lexer);
	if (!mal_parse_at(p, ".")) {
		arg->kind = MAL_ARG_ENUM;
		arg->en.type = MAL_ENUM_DOWNSAMPLING;
		if (!mal_parse_at(p, "(") && mal_enum_member(MAL_ENUM_DOWNSAMPLING, first.text,
							     first.len, &arg->en.member) == 0)
			return 1;
		p->lexer = saved;
		return 0;
	}
	mal_lexer_next(&p->lexer);
	second = p->lexer.now;
	if (second.kind == MAL_TOKEN_IDENT)
		mal_lexer_next(&p->lexer);
	if (second.kind != MAL_TOKEN_IDENT || mal_parse_at(p, "(")) {
		p->lexer = saved;
		return 0;
	}
	while (type < _MAL_ENUM_MAX && !mal_token_is(&first, enum_names[type]))
		type++;
	if (type == _MAL_ENUM_MAX) {
		return mal_parse_fail(
			p, first.offset,
			"expected Layer, DetectPoint, K8sRetagType, DownsamplingType or TimeUnit before "
			"'.%.*s'",
			(int)(second.len < 40 ? second.len : 40), second.text);
	}
	if (mal_enum_member((enum mal_enum_type)type, second.text, second.len, &arg->en.member) < 0)
		return mal_parse_fail(p, second.offset, "%s has no '%.*s'", enum_names[type],
				      (int)(second.len < 40 ? second.len : 40), second.text);
	arg->kind = MAL_ARG_ENUM;
	arg->en.type = (enum mal_enum_type)type;
	return mal_parse_string_id(p, second.text, second.len, &arg->en.name) < 0 ? -EBADMSG : 1;
}

static enum mal_closure_kind closure_of(enum mal_fn fn)
{
	switch (fn) {
	case MAL_FN_FOR_EACH:
		return MAL_CLOSURE_FOR_EACH;
	case MAL_FN_INSTANCE:
		return MAL_CLOSURE_INSTANCE;
	case MAL_FN_DECORATE:
		return MAL_CLOSURE_DECORATE;
	default:
		return MAL_CLOSURE_TAG;
	}
}

/* A list in one pair of parentheses: 1 where it is one. */
static int parse_wrapped_list(struct mal_parser *p, struct mal_arg *arg)
{
	struct mal_lexer saved = p->lexer;
	int r;

	if (!mal_parse_skip(p, "("))
		return 0;
	if (!mal_parse_skip(p, "[")) {
		p->lexer = saved;
		return 0;
	}
	r = parse_list(p, arg);
	if (r >= 0)
		r = mal_parse_need(p, ")");
	return r < 0 ? r : 1;
}

static int parse_arg(struct mal_parser *p, enum mal_fn fn, struct mal_arg *arg)
{
	const struct mal_token *t = &p->lexer.now;
	int r;

	arg->offset = t->offset;
	if (t->kind == MAL_TOKEN_STRING) {
		arg->kind = MAL_ARG_STRING;
		r = mal_parse_string_id(p, t->text, t->len, &arg->string);
		mal_lexer_next(&p->lexer);
		return r;
	}
	if (mal_parse_skip(p, "["))
		return parse_list(p, arg);
	if (mal_parse_at(p, "{")) {
		arg->kind = MAL_ARG_CLOSURE;
		return mal_parse_closure(p, closure_of(fn), &arg->closure);
	}
	if (mal_parse_at(p, "true") || mal_parse_at(p, "false")) {
		arg->kind = MAL_ARG_BOOL;
		arg->boolean = mal_parse_at(p, "true");
		mal_lexer_next(&p->lexer);
		return 0;
	}
	if (mal_parse_skip(p, "null")) {
		arg->kind = MAL_ARG_NULL;
		return 0;
	}
	r = parse_wrapped_list(p, arg);
	if (r == 0)
		r = parse_enum(p, arg);
	if (r != 0)
		return r < 0 ? r : 0;
	arg->kind = MAL_ARG_EXPR;
	return parse_additive(p, &arg->expr);
}

#define ARGS_MAX 64

/* Behind '('. */
static int parse_args(struct mal_parser *p, enum mal_fn fn, struct mal_arg **ret, size_t *ret_n)
{
	struct mal_arg *v;
	size_t n = 0;
	int r;

	if (mal_parse_skip(p, ")")) {
		*ret = NULL;
		*ret_n = 0;
		return 0;
	}
	v = mal_parse_node(p, ARGS_MAX * sizeof(*v));
	if (!v)
		return -EBADMSG;
	do {
		if (n == ARGS_MAX)
			return mal_parse_fail(p, p->lexer.now.offset, "more than %d arguments",
					      ARGS_MAX);
		r = parse_arg(p, fn, &v[n++]);
		if (r < 0)
			return r;
	} while (mal_parse_skip(p, ","));
	*ret = v;
	*ret_n = n;
	if (mal_parse_at(p, ")")) {
		mal_lexer_next(&p->lexer);
		return 0;
	}
	return mal_parse_expected(p, "',' or ')'");
}

/* --- expressions --- */

static int set_call_height(struct mal_parser *p, struct mal_expr *e)
{
	for (size_t i = 0; i < e->call.n_args; i++) {
		if (e->call.args[i].kind == MAL_ARG_EXPR &&
		    e->call.args[i].expr->height > e->height)
			e->height = e->call.args[i].expr->height;
	}
	if (++e->height > MAL_HEIGHT_MAX)
		return mal_parse_fail(p, e->offset, "more than %d calls in a row", MAL_HEIGHT_MAX);
	return 0;
}

/* Behind the '.': a method call on @on. */
static int parse_call(struct mal_parser *p, struct mal_expr *on, struct mal_expr **ret)
{
	struct mal_token name = p->lexer.now;
	struct mal_expr *e;
	enum mal_fn fn;
	int r;

	if (name.kind != MAL_TOKEN_IDENT)
		return mal_parse_expected(p, "a function name");
	mal_lexer_next(&p->lexer);
	if (mal_parse_at(p, "::"))
		return mal_parse_fail(p, name.offset, "no extension function '%.*s::'",
				      (int)(name.len < 40 ? name.len : 40), name.text);
	if (mal_fn_by_name(name.text, name.len, &fn) < 0) {
		if (mal_token_is(&name, "filter"))
			return mal_parse_fail(p, name.offset,
					      "filter stands in the file, not in an expression");
		return mal_parse_fail(p, name.offset, "no function '%.*s'",
				      (int)(name.len < 40 ? name.len : 40), name.text);
	}
	r = mal_parse_need(p, "(");
	if (r < 0)
		return r;
	e = new_expr(p, MAL_EXPR_CALL, name.offset);
	if (!e)
		return -EBADMSG;
	e->call.fn = fn;
	e->call.receiver = on;
	if (p->shared)
		e->call.memo = ++p->program->n_memos;
	e->height = on->height + 1;
	if (e->height > MAL_HEIGHT_MAX)
		return mal_parse_fail(p, name.offset, "more than %d calls in a row",
				      MAL_HEIGHT_MAX);
	r = mal_parse_enter(p);
	if (r < 0)
		return r;
	r = parse_args(p, fn, &e->call.args, &e->call.n_args);
	p->depth--;
	*ret = e;
	return r < 0 ? r : set_call_height(p, e);
}

/* NAME '(': time(), or the function form of a method. Behind the '('. */
static int parse_function(struct mal_parser *p, const struct mal_token *name, struct mal_expr **ret)
{
	struct mal_expr *e;
	int r;

	if (mal_token_is(name, "time")) {
		e = new_expr(p, MAL_EXPR_TIME, name->offset);
		if (!e)
			return -EBADMSG;
		*ret = e;
		return mal_parse_need(p, ")");
	}
	if (!mal_token_is(name, "count")) {
		return mal_parse_fail(p, name->offset,
				      "no function '%.*s(…)': expected time() or count(…)",
				      (int)(name->len < 40 ? name->len : 40), name->text);
	}
	e = new_expr(p, MAL_EXPR_CALL, name->offset);
	if (!e)
		return -EBADMSG;
	e->call.fn = MAL_FN_COUNT;
	e->call.function_form = true;
	r = parse_additive(p, &e->call.receiver);
	if (r >= 0)
		r = mal_parse_need(p, ",");
	if (r >= 0)
		r = parse_args(p, MAL_FN_COUNT, &e->call.args, &e->call.n_args);
	*ret = e;
	if (r < 0)
		return r;
	e->height = e->call.receiver->height;
	return set_call_height(p, e);
}

static int parse_primary(struct mal_parser *p, struct mal_expr **ret)
{
	struct mal_token t = p->lexer.now;
	struct mal_expr *e;
	int r;

	if (mal_parse_skip(p, "(")) {
		r = parse_additive(p, ret);
		return r < 0 ? r : mal_parse_need(p, ")");
	}
	if (t.kind != MAL_TOKEN_IDENT)
		return mal_parse_expected(p, "a metric name, a number or '('");
	mal_lexer_next(&p->lexer);
	if (mal_parse_skip(p, "("))
		return parse_function(p, &t, ret);
	e = new_expr(p, MAL_EXPR_METRIC, t.offset);
	if (!e)
		return -EBADMSG;
	e->metric.prefixed = p->prefixed;
	*ret = e;
	return mal_parse_string_id(p, t.text, t.len, &e->metric.name);
}

static int parse_postfix(struct mal_parser *p, struct mal_expr **ret)
{
	struct mal_expr *e;
	int r;

	if (p->head) { /* expPrefix, expSuffix: the first method has no dot */
		struct mal_expr *head = TAKE_PTR(p->head);

		r = parse_call(p, head, &e);
	} else {
		r = parse_primary(p, &e);
	}
	while (r >= 0 && mal_parse_skip(p, "."))
		r = parse_call(p, e, &e);
	if (r >= 0)
		*ret = e;
	return r;
}

static int parse_unary(struct mal_parser *p, struct mal_expr **ret)
{
	struct mal_token t = p->lexer.now;
	struct mal_expr *e;
	int r;

	if (p->head)
		return parse_postfix(p, ret);
	if (t.kind == MAL_TOKEN_NUMBER) {
		e = new_expr(p, MAL_EXPR_NUMBER, t.offset);
		if (!e)
			return -EBADMSG;
		e->number = t.number;
		mal_lexer_next(&p->lexer);
		if (mal_parse_at(p, "."))
			return mal_parse_fail(p, p->lexer.now.offset, "a number has no functions");
		*ret = e;
		return 0;
	}
	r = mal_parse_enter(p);
	if (r < 0)
		return r;
	if (mal_parse_skip(p, "-")) {
		e = new_expr(p, MAL_EXPR_NEGATE, t.offset);
		r = e ? parse_unary(p, &e->operand) : -EBADMSG;
		if (r >= 0) {
			e->height = e->operand->height + 1;
			*ret = e;
		}
	} else {
		r = parse_postfix(p, ret);
	}
	p->depth--;
	return r;
}

static int binary(struct mal_parser *p, struct mal_expr *lhs, char op, size_t offset,
		  struct mal_expr *rhs, struct mal_expr **ret)
{
	struct mal_expr *e = new_expr(p, MAL_EXPR_BINARY, offset);

	if (!e)
		return -EBADMSG;
	e->binary.op = op;
	e->binary.lhs = lhs;
	e->binary.rhs = rhs;
	e->height = 1 + (lhs->height > rhs->height ? lhs->height : rhs->height);
	if (e->height > MAL_HEIGHT_MAX)
		return mal_parse_fail(p, offset, "more than %d operators in each other",
				      MAL_HEIGHT_MAX);
	*ret = e;
	return 0;
}

static int parse_multiplicative(struct mal_parser *p, struct mal_expr **ret)
{
	struct mal_expr *e, *rhs;
	int r;

	r = parse_unary(p, &e);
	while (r >= 0 && (mal_parse_at(p, "*") || mal_parse_at(p, "/"))) {
		char op = p->lexer.now.text[0];
		size_t offset = p->lexer.now.offset;

		mal_lexer_next(&p->lexer);
		r = parse_unary(p, &rhs);
		if (r >= 0)
			r = binary(p, e, op, offset, rhs, &e);
	}
	if (r >= 0)
		*ret = e;
	return r;
}

static int parse_additive(struct mal_parser *p, struct mal_expr **ret)
{
	struct mal_expr *e, *rhs;
	int r;

	r = mal_parse_enter(p);
	if (r < 0)
		return r;
	r = parse_multiplicative(p, &e);
	while (r >= 0 && (mal_parse_at(p, "+") || mal_parse_at(p, "-"))) {
		char op = p->lexer.now.text[0];
		size_t offset = p->lexer.now.offset;

		mal_lexer_next(&p->lexer);
		r = parse_multiplicative(p, &rhs);
		if (r >= 0)
			r = binary(p, e, op, offset, rhs, &e);
	}
	p->depth--;
	if (r >= 0)
		*ret = e;
	return r;
}

int mal_parse_expr(struct mal_program *program, enum mal_text_kind kind, const char *text,
		   size_t len, struct mal_error *error, struct mal_expr **ret)
{
	struct mal_parser p = {
		.program = program, .error = error, .prefixed = kind == MAL_TEXT_EXP_PREFIXED};
	struct mal_expr *e;
	int r;

	assert(program && text && error && ret);

	*error = (struct mal_error){0};
	if (len > SONDE_MAL_EXP_BYTES)
		return mal_parse_fail(&p, 0, "longer than %u bytes", SONDE_MAL_EXP_BYTES);
	mal_lexer_init(&p.lexer, text, len, true, &program->arena, error);
	if (kind == MAL_TEXT_CHAIN) {
		p.shared = true;
		p.head = new_expr(&p, MAL_EXPR_HEAD, 0);
		if (!p.head)
			return -EBADMSG;
	}
	r = parse_additive(&p, &e);
	if (r >= 0 && p.lexer.now.kind != MAL_TOKEN_END)
		r = mal_parse_expected(&p, "an operator, '.' or the end");
	if (r < 0)
		return r;
	*ret = e;
	return 0;
}
