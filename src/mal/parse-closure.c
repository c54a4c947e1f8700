/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "mal/parse-cx.h"
#include "mal/parser.h"

static int parse_statements(struct mal_parser *p, struct mal_st **ret);

static struct mal_st *new_st(struct mal_parser *p, enum mal_st_kind kind, size_t offset)
{
	struct mal_st *s = mal_parse_node(p, sizeof(*s));

	if (s) {
		s->kind = kind;
		s->offset = offset;
	}
	return s;
}

static int declare(struct mal_parser *p, const struct mal_token *name, enum mal_value_type type,
		   uint32_t *ret)
{
	int twin = mal_parse_local(p, name);

	if (twin >= 0 && twin < (p->closure == MAL_CLOSURE_FOR_EACH ? 2 : 1))
		return mal_parse_fail(p, name->offset, "the variable '%.*s' exists already",
				      (int)(name->len < 40 ? name->len : 40), name->text);
	if (p->n_locals == MAL_LOCALS_MAX)
		return mal_parse_fail(p, name->offset, "more than %d variables", MAL_LOCALS_MAX);
	p->locals[p->n_locals].name = name->text;
	p->locals[p->n_locals].len = name->len;
	p->locals[p->n_locals].type = type;
	*ret = (uint32_t)p->n_locals++;
	return 0;
}

/* --- statements --- */

/* "{ … }" */
static int parse_block(struct mal_parser *p, struct mal_st **ret)
{
	size_t outer = p->n_locals;
	int r;

	r = mal_parse_need(p, "{");
	if (r >= 0)
		r = mal_parse_enter(p);
	if (r < 0)
		return r;
	r = parse_statements(p, ret);
	p->depth--;
	/* the names end with the block; their slots are not used again */
	for (size_t i = outer; i < p->n_locals; i++)
		p->locals[i].len = 0;
	return r < 0 ? r : mal_parse_need(p, "}");
}

/* Behind "if". */
static int parse_if(struct mal_parser *p, size_t offset, struct mal_st **ret)
{
	struct mal_st *s = new_st(p, MAL_ST_IF, offset);
	int r;

	if (!s)
		return -EBADMSG;
	r = mal_parse_need(p, "(");
	if (r >= 0)
		r = mal_parse_condition(p, &s->a);
	if (r >= 0)
		r = mal_parse_check_truth(p, s->a);
	if (r >= 0)
		r = mal_parse_need(p, ")");
	if (r >= 0)
		r = parse_block(p, &s->then);
	if (r < 0)
		return r;
	*ret = s;
	if (!mal_parse_skip(p, "else"))
		return 0;
	offset = p->lexer.now.offset;
	if (!mal_parse_skip(p, "if"))
		return parse_block(p, &s->otherwise);
	r = mal_parse_enter(p);
	if (r < 0)
		return r;
	r = parse_if(p, offset, &s->otherwise);
	p->depth--;
	return r;
}

/* Behind "return". */
static int parse_return(struct mal_parser *p, size_t offset, struct mal_st **ret)
{
	struct mal_st *s = new_st(p, MAL_ST_RETURN, offset);
	int r = 0;

	if (!s)
		return -EBADMSG;
	if (!mal_parse_at(p, "}") && !mal_parse_at(p, ";"))
		r = mal_parse_cx(p, &s->a);
	else if (p->closure == MAL_CLOSURE_TAG || p->closure == MAL_CLOSURE_INSTANCE)
		return mal_parse_expected(p, "the labels or a map behind return");
	if (r == 0 && s->a && p->closure != MAL_CLOSURE_FOR_EACH && s->a->type != MAL_TYPE_LABELS &&
	    s->a->type != MAL_TYPE_ANY)
		r = mal_parse_fail(p, offset, "expected labels or a map behind return");
	*ret = s;
	return r;
}

static enum mal_value_type declared_type(const struct mal_token *type, bool array,
					 enum mal_value_type value)
{
	if (mal_token_is(type, "String"))
		return array ? MAL_TYPE_ARRAY : MAL_TYPE_STRING;
	return value == MAL_TYPE_NULL ? MAL_TYPE_ANY : value;
}

/* At the name of "def x = e", "Type x = e" or "Type[] x = e". */
static int parse_declaration(struct mal_parser *p, const struct mal_token *type, bool array,
			     struct mal_st **ret)
{
	struct mal_token name = p->lexer.now;
	struct mal_st *s = new_st(p, MAL_ST_LOCAL, name.offset);
	int r;

	if (!s)
		return -EBADMSG;
	if (name.kind != MAL_TOKEN_IDENT)
		return mal_parse_expected(p, "the name of a variable");
	mal_lexer_next(&p->lexer);
	r = mal_parse_need(p, "=");
	if (r >= 0)
		r = mal_parse_cx(p, &s->a);
	if (r >= 0 && mal_token_is(type, "def"))
		r = mal_parse_check_object(p, s->a);
	if (r >= 0)
		r = declare(p, &name, declared_type(type, array, s->a->type), &s->slot);
	*ret = s;
	return r;
}

/* 1 where a typed declaration stands here and its type was skipped. */
static int at_declaration(struct mal_parser *p, struct mal_token *ret_type, bool *ret_array)
{
	struct mal_lexer saved = p->lexer;

	*ret_type = p->lexer.now;
	*ret_array = false;
	if (mal_parse_skip(p, "def"))
		return 1;
	if (p->lexer.now.kind != MAL_TOKEN_IDENT)
		return 0;
	mal_lexer_next(&p->lexer);
	if (mal_parse_skip(p, "["))
		*ret_array = mal_parse_skip(p, "]");
	if (p->lexer.now.kind == MAL_TOKEN_IDENT &&
	    (*ret_array || saved.now.offset + saved.now.len < p->lexer.now.offset)) {
		struct mal_lexer name = p->lexer;

		mal_lexer_next(&p->lexer);
		if (mal_parse_at(p, "=")) {
			p->lexer = name;
			return 1;
		}
	}
	p->lexer = saved;
	return 0;
}

static int check_label_value(struct mal_parser *p, const struct mal_cx *v)
{
	if (v->type == MAL_TYPE_STRING || v->type == MAL_TYPE_ANY || v->type == MAL_TYPE_NULL)
		return 0;
	return mal_parse_fail(p, v->offset, "expected a string as the value of a label");
}

/* Behind '=': @target becomes what is assigned. */
static int parse_assignment(struct mal_parser *p, struct mal_cx *target, struct mal_st *s)
{
	int r = mal_parse_cx(p, &s->a);

	if (r < 0)
		return r;
	if (target->kind == MAL_CX_LOCAL &&
	    target->local >= (p->closure == MAL_CLOSURE_FOR_EACH ? 2U : 1U)) {
		s->kind = MAL_ST_LOCAL;
		s->slot = target->local;
		return 0;
	}
	if (target->kind == MAL_CX_FIELD && target->op.a->type == MAL_TYPE_ENTITY) {
		const char *name = mal_strings_text(&p->program->strings, target->op.name);

		if (strncmp(name, "attr", 4) != 0)
			return mal_parse_fail(p, target->offset,
					      "only attr0 to attr5 of an entity can be set");
		s->kind = MAL_ST_ATTRIBUTE;
		s->slot = (uint32_t)(name[4] - '0');
		return check_label_value(p, s->a);
	}
	if ((target->kind == MAL_CX_FIELD || target->kind == MAL_CX_INDEX) &&
	    target->op.a->type == MAL_TYPE_LABELS) {
		s->kind = MAL_ST_LABEL;
		s->map = target->op.a;
		s->key = target->op.b;
		if (target->kind == MAL_CX_FIELD) { /* the name becomes the key */
			s->key = target;
			target->kind = MAL_CX_STRING;
			target->string = target->op.name;
		}
		return check_label_value(p, s->a);
	}
	return mal_parse_fail(p, target->offset, "expected a label or a variable before '='");
}

static int parse_statement(struct mal_parser *p, struct mal_st **ret)
{
	size_t offset = p->lexer.now.offset;
	struct mal_token type;
	struct mal_cx *e;
	bool array;
	int r;

	if (mal_parse_skip(p, "if"))
		return parse_if(p, offset, ret);
	if (mal_parse_skip(p, "return"))
		return parse_return(p, offset, ret);
	r = at_declaration(p, &type, &array);
	if (r > 0)
		return parse_declaration(p, &type, array, ret);
	r = mal_parse_cx(p, &e);
	if (r < 0)
		return r;
	*ret = new_st(p, MAL_ST_EXPR, offset);
	if (!*ret)
		return -EBADMSG;
	(*ret)->a = e;
	return mal_parse_skip(p, "=") ? parse_assignment(p, e, *ret) : 0;
}

/* Up to the '}', which stays. */
static int parse_statements(struct mal_parser *p, struct mal_st **ret)
{
	struct mal_st **last = ret;
	int r;

	*ret = NULL;
	while (!mal_parse_at(p, "}")) {
		if (p->lexer.now.kind == MAL_TOKEN_END)
			return mal_parse_expected(p, "'}'");
		r = parse_statement(p, last);
		if (r < 0)
			return r;
		if ((*last)->kind != MAL_ST_IF) /* OAP's grammar has none behind a block */
			(void)mal_parse_skip(p, ";");
		last = &(*last)->next;
	}
	return 0;
}

/* --- the closure --- */

static int parse_params(struct mal_parser *p, struct mal_closure *c)
{
	static const struct {
		size_t n;
		enum mal_value_type types[2];
	} params[] = {
		[MAL_CLOSURE_FILTER] = {1, {MAL_TYPE_LABELS}},
		[MAL_CLOSURE_TAG] = {1, {MAL_TYPE_LABELS}},
		[MAL_CLOSURE_FOR_EACH] = {2, {MAL_TYPE_STRING, MAL_TYPE_LABELS}},
		[MAL_CLOSURE_INSTANCE] = {1, {MAL_TYPE_LABELS}},
		[MAL_CLOSURE_DECORATE] = {1, {MAL_TYPE_ENTITY}},
	};
	struct mal_token it = {.kind = MAL_TOKEN_IDENT, .text = "it", .len = 2};
	uint32_t slot;
	int r;

	p->n_locals = 0;
	if (mal_parse_at(p, "->") && params[c->kind].n == 1) {
		r = declare(p, &it, params[c->kind].types[0], &slot);
		if (r < 0)
			return r;
	}
	while (!mal_parse_at(p, "->")) {
		if (p->lexer.now.kind != MAL_TOKEN_IDENT)
			return mal_parse_expected(p, "parameters and '->'");
		if (p->n_locals == params[c->kind].n) {
			return mal_parse_fail(p, p->lexer.now.offset,
					      "this closure takes %zu parameter%s",
					      params[c->kind].n, params[c->kind].n == 1 ? "" : "s");
		}
		r = declare(p, &p->lexer.now, params[c->kind].types[p->n_locals], &slot);
		if (r < 0)
			return r;
		mal_lexer_next(&p->lexer);
		if (!mal_parse_skip(p, ",") && !mal_parse_at(p, "->"))
			return mal_parse_expected(p, "',' or '->'");
	}
	if (p->n_locals != params[c->kind].n)
		return mal_parse_fail(p, p->lexer.now.offset, "this closure takes %zu parameters",
				      params[c->kind].n);
	c->n_params = p->n_locals;
	return mal_parse_need(p, "->");
}

/* One bare condition, or statements: whichever reaches the '}' first. */
static int parse_body(struct mal_parser *p, struct mal_closure *c)
{
	struct mal_lexer start = p->lexer;
	struct mal_error first;
	int r;

	if (!mal_parse_at(p, "}")) {
		r = mal_parse_condition(p, &c->condition);
		if (r == 0 && mal_parse_at(p, "}"))
			return 0;
		if (r == 0)
			(void)mal_parse_expected(p, "'}'");
	}
	c->condition = NULL;
	first = *p->error;
	*p->error = (struct mal_error){0};
	p->lexer = start;
	p->n_locals = c->n_params;
	r = parse_statements(p, &c->body);
	if (r < 0 && first.message[0] && first.offset > p->error->offset)
		*p->error = first;
	return r;
}

static int check_body(struct mal_parser *p, const struct mal_closure *c)
{
	if (c->kind != MAL_CLOSURE_FILTER)
		return 0;
	if (!c->condition)
		return mal_parse_fail(p, c->offset,
				      "expected one condition: a filter has no statements");
	if (c->condition->kind == MAL_CX_BOOL)
		return mal_parse_fail(p, c->condition->offset,
				      "expected a condition on the labels");
	return 0;
}

int mal_parse_closure(struct mal_parser *p, enum mal_closure_kind kind, struct mal_closure **ret)
{
	struct mal_closure *c = mal_parse_node(p, sizeof(*c));
	bool wrapped;
	int r;

	if (!c)
		return -EBADMSG;
	c->kind = p->closure = kind;
	c->offset = p->lexer.now.offset;
	r = mal_parse_need(p, "{");
	if (r >= 0)
		r = parse_params(p, c);
	if (r < 0)
		return r;
	wrapped = mal_parse_skip(p, "{");
	r = parse_body(p, c);
	if (r >= 0)
		r = check_body(p, c);
	if (r == 0 && wrapped)
		r = mal_parse_need(p, "}");
	if (r >= 0)
		r = mal_parse_need(p, "}");
	c->n_locals = p->n_locals;
	*ret = c;
	return r;
}

int mal_parse_filter(struct mal_program *program, const char *text, size_t len,
		     struct mal_error *error, struct mal_closure **ret)
{
	struct mal_parser p = {.program = program, .error = error};
	struct mal_closure *c;
	int r;

	assert(program && text && error && ret);

	*error = (struct mal_error){0};
	if (len > SONDE_MAL_EXP_BYTES)
		return mal_parse_fail(&p, 0, "longer than %u bytes", SONDE_MAL_EXP_BYTES);
	mal_lexer_init(&p.lexer, text, len, false, &program->arena, error);
	r = mal_parse_closure(&p, MAL_CLOSURE_FILTER, &c);
	if (r == 0 && p.lexer.now.kind != MAL_TOKEN_END)
		r = mal_parse_expected(&p, "the end");
	if (r < 0)
		return r;
	*ret = c;
	return 0;
}
