/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "mal/closure-names.h"
#include "mal/parse-cx.h"

struct mal_cx *mal_cx_new(struct mal_parser *p, enum mal_cx_kind kind, enum mal_value_type type,
			  size_t offset)
{
	struct mal_cx *c = mal_parse_node(p, sizeof(*c));

	if (c) {
		c->kind = kind;
		c->type = type;
		c->offset = offset;
	}
	return c;
}

int mal_parse_local(const struct mal_parser *p, const struct mal_token *name)
{
	for (size_t i = p->n_locals; i-- > 0;) { /* the newest of a name counts */
		if (p->locals[i].len == name->len &&
		    memcmp(p->locals[i].name, name->text, name->len) == 0)
			return (int)i;
	}
	return -1;
}

int mal_cx_binary(struct mal_parser *p, enum mal_cx_kind kind, enum mal_value_type type,
		  size_t offset, struct mal_cx *a, struct mal_cx *b, struct mal_cx **ret)
{
	struct mal_cx *c = mal_cx_new(p, kind, type, offset);

	if (!c)
		return -EBADMSG;
	c->op.a = a;
	c->op.b = b;
	c->height = 1 + (a->height > b->height ? a->height : b->height);
	if (c->height > MAL_HEIGHT_MAX)
		return mal_parse_fail(p, offset, "more than %d operators in each other",
				      MAL_HEIGHT_MAX);
	*ret = c;
	return 0;
}

int mal_cx_string(struct mal_parser *p, const char *text, size_t len, size_t offset,
		  struct mal_cx **ret)
{
	struct mal_cx *c = mal_cx_new(p, MAL_CX_STRING, MAL_TYPE_STRING, offset);

	if (!c)
		return -EBADMSG;
	*ret = c;
	return mal_parse_string_id(p, text, len, &c->string);
}

/* --- chains --- */

bool mal_type_may_be(enum mal_value_type type, enum mal_value_type wanted)
{
	return type == wanted || type == MAL_TYPE_ANY;
}

static int check_args(struct mal_parser *p, const struct mal_cx *c,
		      const struct mal_method_info *info)
{
	const char *s = info->signature;
	size_t most = 0;

	for (size_t n;; s += n + 1) {
		n = strcspn(s, "|");
		most = n > most ? n : most;
		if (n == c->method.n_args)
			break;
		if (!s[n]) {
			return mal_parse_fail(p, c->offset, "%s() takes %zu argument%s, found %zu",
					      info->name, most, most == 1 ? "" : "s",
					      c->method.n_args);
		}
	}
	for (size_t i = 0; i < c->method.n_args; i++) {
		enum mal_value_type t = c->method.args[i]->type;

		if (s[i] == 'N' ? !mal_type_may_be(t, MAL_TYPE_NUMBER)
				: !mal_type_may_be(t, MAL_TYPE_STRING)) {
			return mal_parse_fail(p, c->method.args[i]->offset,
					      "expected a %s as argument of %s()",
					      s[i] == 'N' ? "number" : "string", info->name);
		}
	}
	return 0;
}

int mal_cx_regex(struct mal_parser *p, const char *text, size_t offset,
		 const struct mal_regex **ret)
{
	char message[200];
	int r = mal_regex_new(p->program, text, message, sizeof(message), ret);

	if (r == -EINVAL)
		return mal_parse_fail(p, offset, "%s", message);
	return r < 0 ? mal_parse_fail(p, offset, "out of memory") : 0;
}

/* OAP's code of x?.m() is `x == null ? null : x.m()`, which Java takes for objects only, and no arrays. */
static int check_safe(struct mal_parser *p, const struct mal_cx *c,
		      const struct mal_method_info *info)
{
	if (!c->method.safe || info->type == MAL_TYPE_STRING)
		return 0;
	return mal_parse_fail(p, c->offset,
			      "OAP has no '?.' for %s(), which gives no text: expected '.'",
			      info->name);
}

static int check_receiver(struct mal_parser *p, const struct mal_cx *c,
			  const struct mal_method_info *info)
{
	enum mal_value_type t = c->method.on->type;
	bool ok;

	switch (c->method.method) {
	case MAL_METHOD_PUT:
	case MAL_METHOD_REMOVE:
		ok = t == MAL_TYPE_LABELS;
		break;
	case MAL_METHOD_SIZE:
		ok = t == MAL_TYPE_ARRAY || t == MAL_TYPE_MATCH || t == MAL_TYPE_ANY;
		break;
	default:
		ok = mal_type_may_be(t, MAL_TYPE_STRING);
		break;
	}
	return ok ? 0
		  : mal_parse_fail(p, c->offset, "%s() does not exist on this value", info->name);
}

static int parse_args(struct mal_parser *p, struct mal_cx **args, size_t max, size_t *ret_n)
{
	size_t n = 0;
	int r;

	if (!mal_parse_at(p, ")")) {
		do {
			if (n == max)
				return mal_parse_expected(p, "')'");
			r = mal_parse_cx(p, &args[n++]);
			if (r < 0)
				return r;
		} while (mal_parse_skip(p, ","));
	}
	*ret_n = n;
	return mal_parse_need(p, ")");
}

/* Behind "name(". */
static int parse_method(struct mal_parser *p, struct mal_cx *on, const struct mal_token *name,
			bool safe, struct mal_cx **ret)
{
	struct mal_cx *c = mal_cx_new(p, MAL_CX_METHOD, MAL_TYPE_ANY, name->offset);
	const struct mal_method_info *info;
	int r;

	if (!c)
		return -EBADMSG;
	c->height = on->height + 1;
	c->method.on = on;
	c->method.safe = safe;
	if (!mal_method_by_name(name->text, name->len, &c->method.method))
		return mal_parse_fail(p, name->offset, "no method '%.*s()' in closures",
				      (int)(name->len < 40 ? name->len : 40), name->text);
	info = mal_method_info(c->method.method);
	c->type = info->type;
	r = parse_args(p, c->method.args, ELEMENTS_OF(c->method.args), &c->method.n_args);
	if (r >= 0)
		r = check_receiver(p, c, info);
	if (r >= 0)
		r = check_safe(p, c, info);
	if (r >= 0)
		r = check_args(p, c, info);
	if (r >= 0 && info->signature[0] == 'R' && c->method.args[0]->kind == MAL_CX_STRING) {
		r = mal_cx_regex(p,
				 mal_strings_text(&p->program->strings, c->method.args[0]->string),
				 c->method.args[0]->offset, &c->method.regex);
	}
	*ret = c;
	return r;
}

/* What decorate() may read of an entity. */
static bool entity_field(const struct mal_token *name)
{
	static const char *const fields[] = {
		"serviceName", "instanceName", "endpointName", "processName", "attr0",
		"attr1",       "attr2",	       "attr3",	       "attr4",	      "attr5"};

	for (size_t i = 0; i < ELEMENTS_OF(fields); i++)
		if (mal_token_is(name, fields[i]))
			return true;
	return false;
}

static int parse_field(struct mal_parser *p, struct mal_cx *on, const struct mal_token *name,
		       struct mal_cx **ret)
{
	struct mal_cx *c = mal_cx_new(p, MAL_CX_FIELD, MAL_TYPE_STRING, name->offset);

	if (!c)
		return -EBADMSG;
	c->height = on->height + 1;
	c->op.a = on;
	if ((on->type == MAL_TYPE_ARRAY || on->type == MAL_TYPE_MATCH ||
	     on->type == MAL_TYPE_ANY) &&
	    mal_token_is(name, "length"))
		c->type = MAL_TYPE_NUMBER;
	else if (on->type != MAL_TYPE_LABELS &&
		 !(on->type == MAL_TYPE_ENTITY && entity_field(name)))
		return mal_parse_fail(p, name->offset, "no field '%.*s' here",
				      (int)(name->len < 40 ? name->len : 40), name->text);
	*ret = c;
	return mal_parse_string_id(p, name->text, name->len, &c->op.name);
}

/* Behind '.' or '?.'. */
static int parse_member(struct mal_parser *p, struct mal_cx *on, bool safe, struct mal_cx **ret)
{
	struct mal_token name = p->lexer.now;

	if (name.kind != MAL_TOKEN_IDENT && name.kind != MAL_TOKEN_KEYWORD)
		return mal_parse_expected(p, "a name");
	mal_lexer_next(&p->lexer);
	if (mal_parse_skip(p, "("))
		return parse_method(p, on, &name, safe, ret);
	return parse_field(p, on, &name, ret);
}

/* Behind '['. */
static int parse_index(struct mal_parser *p, struct mal_cx *on, struct mal_cx **ret)
{
	struct mal_cx *c = mal_cx_new(p, MAL_CX_INDEX, MAL_TYPE_STRING, p->lexer.now.offset);
	enum mal_value_type wanted = MAL_TYPE_NUMBER;
	int r;

	if (!c)
		return -EBADMSG;
	c->op.a = on;
	c->height = on->height + 1;
	if (on->type == MAL_TYPE_LABELS)
		wanted = MAL_TYPE_STRING;
	else if (on->type == MAL_TYPE_MATCH)
		c->type = MAL_TYPE_ARRAY;
	else if (on->type == MAL_TYPE_ANY)
		c->type = MAL_TYPE_ANY;
	else if (on->type != MAL_TYPE_ARRAY)
		return mal_parse_fail(p, c->offset, "this value has no index");
	r = mal_parse_cx(p, &c->op.b);
	if (r < 0)
		return r;
	if (on->type != MAL_TYPE_ANY && !mal_type_may_be(c->op.b->type, wanted))
		return mal_parse_fail(p, c->op.b->offset, "expected a %s in the brackets",
				      wanted == MAL_TYPE_STRING ? "string" : "number");
	*ret = c;
	return mal_parse_need(p, "]");
}

int mal_parse_chain(struct mal_parser *p, struct mal_cx *c, struct mal_cx **ret)
{
	int r = 0;

	while (r >= 0) {
		if (c->height > MAL_HEIGHT_MAX)
			return mal_parse_fail(p, c->offset, "more than %d calls in a row",
					      MAL_HEIGHT_MAX);
		if (mal_parse_skip(p, "."))
			r = parse_member(p, c, false, &c);
		else if (mal_parse_skip(p, "?."))
			r = parse_member(p, c, true, &c);
		else if (mal_parse_skip(p, "["))
			r = parse_index(p, c, &c);
		else
			break;
	}
	if (r >= 0)
		*ret = c;
	return r;
}

/* --- primaries --- */

static int local_cx(struct mal_parser *p, const struct mal_token *name, struct mal_cx **ret)
{
	int slot = mal_parse_local(p, name);
	struct mal_cx *c;

	if (slot < 0)
		return mal_parse_fail(p, name->offset, "no variable '%.*s'",
				      (int)(name->len < 40 ? name->len : 40), name->text);
	c = mal_cx_new(p, MAL_CX_LOCAL, p->locals[slot].type, name->offset);
	if (!c)
		return -EBADMSG;
	c->local = (uint32_t)slot;
	*ret = c;
	return 0;
}

/* "${a.b.c()}" inside a string: @t is the path, which must be a chain to its end. */
static int parse_path(struct mal_parser *p, const char *text, size_t len, size_t offset,
		      struct mal_cx **ret)
{
	struct mal_lexer saved = p->lexer;
	struct mal_token name;
	int r;

	mal_lexer_init(&p->lexer, text, len, false, &p->program->arena, p->error);
	name = p->lexer.now;
	if (name.kind != MAL_TOKEN_IDENT)
		return mal_parse_fail(p, offset, "expected a path as in ${tags.name}");
	mal_lexer_next(&p->lexer);
	r = local_cx(p, &name, ret);
	if (r >= 0)
		r = mal_parse_chain(p, *ret, ret);
	if (r >= 0 && p->lexer.now.kind != MAL_TOKEN_END)
		r = mal_parse_fail(p, offset, "expected only names and calls in ${…}");
	if (r < 0)
		p->error->offset =
			offset; /* the text was decoded: offsets in it are not the file's */
	p->lexer = saved;
	return r;
}

/* At a string, which both quote styles expand. */
static int parse_string(struct mal_parser *p, struct mal_cx **ret)
{
	struct mal_token t = p->lexer.now;
	const char *s = t.text, *end = t.text + t.len, *open;
	struct mal_cx *c = NULL, *part = NULL;
	int r;

	mal_lexer_next(&p->lexer);
	while ((open = memmem(s, (size_t)(end - s), "${", 2))) {
		const char *close = memchr(open, '}', (size_t)(end - open));

		if (!close)
			break;
		r = mal_cx_string(p, s, (size_t)(open - s), t.offset, &part);
		if (r >= 0 && c)
			r = mal_cx_binary(p, MAL_CX_ADD, MAL_TYPE_STRING, t.offset, c, part, &part);
		c = part;
		part = NULL;
		if (r >= 0)
			r = parse_path(p, open + 2, (size_t)(close - open - 2), t.offset, &part);
		if (r >= 0)
			r = mal_cx_binary(p, MAL_CX_ADD, MAL_TYPE_STRING, t.offset, c, part, &c);
		if (r < 0)
			return r;
		s = close + 1;
	}
	r = mal_cx_string(p, s, (size_t)(end - s), t.offset, &part);
	if (r < 0 || !c) {
		*ret = part;
		return r;
	}
	return s == end ? (*ret = c, 0)
			: mal_cx_binary(p, MAL_CX_ADD, MAL_TYPE_STRING, t.offset, c, part, ret);
}

/* Behind '[' : a map literal. */
static int parse_map(struct mal_parser *p, size_t offset, struct mal_cx **ret)
{
	struct mal_cx *c = mal_cx_new(p, MAL_CX_MAP, MAL_TYPE_LABELS, offset);
	int r;

	if (!c)
		return -EBADMSG;
	c->list.v = mal_parse_node(p, sizeof(void *) * SONDE_MAL_LABELS_MAX * 2);
	if (!c->list.v)
		return -EBADMSG;
	do {
		struct mal_cx *key = NULL;

		if (c->list.n == (size_t)SONDE_MAL_LABELS_MAX * 2)
			return mal_parse_fail(p, p->lexer.now.offset, "more than %d entries",
					      SONDE_MAL_LABELS_MAX);
		if (p->lexer.now.kind == MAL_TOKEN_STRING)
			r = parse_string(p, &key);
		else if (p->lexer.now.kind ==
			 MAL_TOKEN_IDENT) { /* Groovy: a bare key is its name */
			r = mal_cx_string(p, p->lexer.now.text, p->lexer.now.len,
					  p->lexer.now.offset, &key),
			mal_lexer_next(&p->lexer);
		} else {
			return mal_parse_expected(p, "a key, as in ['key': value]");
		}
		c->list.v[c->list.n++] = key;
		if (r >= 0)
			r = mal_parse_need(p, ":");
		if (r >= 0)
			r = mal_parse_cx(p, &c->list.v[c->list.n++]);
		if (r < 0)
			return r;
	} while (mal_parse_skip(p, ","));
	*ret = c;
	return mal_parse_need(p, "]");
}

/* At '.' behind "ProcessRegistry". */
static int parse_registry(struct mal_parser *p, size_t offset, struct mal_cx **ret)
{
	struct mal_cx *c = mal_cx_new(p, MAL_CX_REGISTRY, MAL_TYPE_STRING, offset);
	enum sonde_mal_virtual kind;
	struct mal_token name;
	size_t args;
	int r;

	if (!c)
		return -EBADMSG;
	r = mal_parse_need(p, ".");
	if (r < 0)
		return r;
	name = p->lexer.now;
	if (name.kind != MAL_TOKEN_IDENT ||
	    !mal_registry_by_name(name.text, name.len, &kind, &args)) {
		return mal_parse_expected(
			p, "generateVirtualLocalProcess, generateVirtualRemoteProcess or "
			   "generateVirtualProcess");
	}
	mal_lexer_next(&p->lexer);
	r = mal_parse_need(p, "(");
	if (r >= 0)
		r = parse_args(p, c->method.args, args, &c->method.n_args);
	if (r >= 0 && c->method.n_args != args)
		r = mal_parse_fail(p, name.offset, "%.*s() takes %zu arguments, found %zu",
				   (int)name.len, name.text, args, c->method.n_args);
	c->method.method = (enum mal_method)kind;
	*ret = c;
	return r;
}

static int number_cx(struct mal_parser *p, struct mal_cx **ret)
{
	struct mal_cx *c = mal_cx_new(p, MAL_CX_NUMBER, MAL_TYPE_NUMBER, p->lexer.now.offset);

	if (!c)
		return -EBADMSG;
	c->number.value = p->lexer.now.number;
	/* OAP reads every number as a double, and writes a whole one that fits into Java as an int */
	c->number.is_integer =
		c->number.value <= INT32_MAX && c->number.value == (double)(int32_t)c->number.value;
	c->number.integer = c->number.is_integer ? (int64_t)c->number.value : 0;
	mal_lexer_next(&p->lexer);
	*ret = c;
	return 0;
}

int mal_parse_primary(struct mal_parser *p, struct mal_cx **ret)
{
	struct mal_token t = p->lexer.now;
	int r;

	if (t.kind == MAL_TOKEN_STRING)
		return parse_string(p, ret);
	if (t.kind == MAL_TOKEN_NUMBER)
		return number_cx(p, ret);
	if (mal_parse_skip(p, "(")) {
		r = mal_parse_condition(p, ret);
		return r < 0 ? r : mal_parse_need(p, ")");
	}
	if (mal_parse_skip(p, "["))
		return parse_map(p, t.offset, ret);
	if (mal_parse_skip(p, "null")) {
		*ret = mal_cx_new(p, MAL_CX_NULL, MAL_TYPE_NULL, t.offset);
		return *ret ? 0 : -EBADMSG;
	}
	if (mal_parse_at(p, "true") || mal_parse_at(p, "false")) {
		*ret = mal_cx_new(p, MAL_CX_BOOL, MAL_TYPE_BOOL, t.offset);
		if (!*ret)
			return -EBADMSG;
		(*ret)->boolean = mal_parse_at(p, "true");
		mal_lexer_next(&p->lexer);
		return 0;
	}
	if (t.kind != MAL_TOKEN_IDENT)
		return mal_parse_expected(p, "a value");
	mal_lexer_next(&p->lexer);
	if (mal_token_is(&t, "ProcessRegistry"))
		return parse_registry(p, t.offset, ret);
	return local_cx(p, &t, ret);
}
