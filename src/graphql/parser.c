/* SPDX-License-Identifier: Apache-2.0 */
/* Recursive descent over the grammar of section 2 of the specification. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "graphql/lexer.h"

#define CHUNK_BYTES 8192
#define TYPE_BYTES_MAX 256

/* Bounded by the text: a token makes a constant number of nodes, and strings get shorter. */
struct sonde_graphql_chunk {
	struct sonde_graphql_chunk *next;
	size_t used, size;
	_Alignas(max_align_t) char data[];
};

struct parser {
	struct sonde_graphql_document *document;
	struct graphql_lexer lexer;
	struct sonde_graphql_error *error;
	unsigned depth, aliases;
};

static void *take(struct parser *p, size_t size)
{
	struct sonde_graphql_chunk *c = p->document->chunks;
	size_t step = (size + sizeof(max_align_t) - 1) & ~(sizeof(max_align_t) - 1);
	void *memory;

	if (!c || c->size - c->used < step) {
		size_t room = step > CHUNK_BYTES ? step : CHUNK_BYTES;

		c = malloc(sizeof(*c) + room);
		if (!c)
			return NULL;
		*c = (struct sonde_graphql_chunk){.next = p->document->chunks, .size = room};
		p->document->chunks = c;
	}
	memory = c->data + c->used;
	c->used += step;
	memset(memory, 0, size);
	return memory;
}

static int next(struct parser *p)
{
	return graphql_lexer_next(&p->lexer);
}

static bool at(const struct parser *p, const char *punctuator)
{
	const struct graphql_token *t = &p->lexer.now;

	return t->kind == GRAPHQL_TOKEN_PUNCTUATOR && t->len == strlen(punctuator) &&
	       memcmp(t->text, punctuator, t->len) == 0;
}

static bool at_word(const struct parser *p, const char *word)
{
	const struct graphql_token *t = &p->lexer.now;

	return t->kind == GRAPHQL_TOKEN_NAME && t->len == strlen(word) &&
	       memcmp(t->text, word, t->len) == 0;
}

static int expected(struct parser *p, const char *what)
{
	const struct graphql_token *t = &p->lexer.now;

	if (t->kind == GRAPHQL_TOKEN_END)
		return graphql_fail(p->error, t->at, "expected %s, found the end", what);
	return graphql_fail(p->error, t->at, "expected %s, found '%.*s'", what,
			    t->len > 40 ? 40 : (int)t->len, t->text);
}

static int need(struct parser *p, const char *punctuator)
{
	char what[8] = "''";

	if (at(p, punctuator))
		return next(p);
	what[1] = punctuator[0];
	what[2] = '\'';
	what[3] = '\0';
	return expected(p, what);
}

/* The caller leaves again with depth--. */
static int enter(struct parser *p)
{
	if (++p->depth <= SONDE_GRAPHQL_DEPTH_MAX)
		return 0;
	graphql_say(p->error, p->lexer.now.at, "nested more than %d deep", SONDE_GRAPHQL_DEPTH_MAX);
	return -E2BIG;
}

static int copy(struct parser *p, const struct graphql_token *t, const char **ret)
{
	char *text = take(p, t->len + 1);

	if (!text)
		return -ENOMEM;
	memcpy(text, t->text, t->len);
	*ret = text;
	return 0;
}

static int read_name(struct parser *p, const char **ret)
{
	int r;

	if (p->lexer.now.kind != GRAPHQL_TOKEN_NAME)
		return expected(p, "a name");
	r = copy(p, &p->lexer.now, ret);
	return r < 0 ? r : next(p);
}

/* --- values --- */

static int read_value(struct parser *p, bool constant, struct sonde_graphql_value *v);

/* A name, ':' and a value. */
static int read_pair(struct parser *p, bool constant, struct sonde_graphql_argument *a)
{
	int r = read_name(p, &a->name);

	if (r == 0)
		r = need(p, ":");
	return r < 0 ? r : read_value(p, constant, &a->value);
}

static int refuse_twice(struct parser *p, const struct sonde_graphql_argument *known,
			const struct sonde_graphql_argument *a)
{
	assert(a->name);
	for (; known; known = known->next) {
		if (strcmp(a->name, known->name) == 0)
			return graphql_fail(p->error, a->at, "'%.100s' is given twice", a->name);
	}
	return 0;
}

/* Behind the opening bracket, past the closing one. */
static int read_members(struct parser *p, const char *close, bool named, bool constant,
			struct sonde_graphql_argument **ret)
{
	struct sonde_graphql_argument **tail = ret;
	int r = enter(p);

	while (r == 0 && !at(p, close)) {
		struct sonde_graphql_argument *a = take(p, sizeof(*a));

		if (!a)
			return -ENOMEM;
		a->at = p->lexer.now.at;
		r = named ? read_pair(p, constant, a) : read_value(p, constant, &a->value);
		if (r == 0 && named)
			r = refuse_twice(p, *ret, a);
		*tail = a;
		tail = &a->next;
	}
	p->depth--;
	return r < 0 ? r : next(p);
}

static int read_string(struct parser *p, struct sonde_graphql_value *v)
{
	const struct graphql_token *t = &p->lexer.now;
	char *text = take(p, t->len + 1);
	int r = 0;

	if (!text)
		return -ENOMEM;
	if (t->kind == GRAPHQL_TOKEN_BLOCK_STRING)
		graphql_decode_block(t, text);
	else
		r = graphql_decode_string(t, text, p->error);
	v->kind = SONDE_GRAPHQL_STRING;
	v->text = text;
	return r < 0 ? r : next(p);
}

static int read_scalar(struct parser *p, enum sonde_graphql_value_kind kind,
		       struct sonde_graphql_value *v)
{
	int r = copy(p, &p->lexer.now, &v->text);

	v->kind = kind;
	return r < 0 ? r : next(p);
}

static int read_variable_value(struct parser *p, bool constant, struct sonde_graphql_value *v)
{
	int r;

	if (constant)
		return graphql_fail(p->error, v->at, "a variable cannot stand in a default value");
	v->kind = SONDE_GRAPHQL_VARIABLE;
	r = next(p);
	return r < 0 ? r : read_name(p, &v->text);
}

static int read_list(struct parser *p, bool constant, struct sonde_graphql_value *v)
{
	int r = next(p);

	v->kind = SONDE_GRAPHQL_LIST;
	return r < 0 ? r : read_members(p, "]", false, constant, &v->members);
}

static int read_object(struct parser *p, bool constant, struct sonde_graphql_value *v)
{
	int r = next(p);

	v->kind = SONDE_GRAPHQL_OBJECT;
	return r < 0 ? r : read_members(p, "}", true, constant, &v->members);
}

static int read_value(struct parser *p, bool constant, struct sonde_graphql_value *v)
{
	v->at = p->lexer.now.at;
	switch (p->lexer.now.kind) {
	case GRAPHQL_TOKEN_INT:
		return read_scalar(p, SONDE_GRAPHQL_INT, v);
	case GRAPHQL_TOKEN_FLOAT:
		return read_scalar(p, SONDE_GRAPHQL_FLOAT, v);
	case GRAPHQL_TOKEN_STRING:
	case GRAPHQL_TOKEN_BLOCK_STRING:
		return read_string(p, v);
	case GRAPHQL_TOKEN_NAME:
		if (at_word(p, "true") || at_word(p, "false"))
			return read_scalar(p, SONDE_GRAPHQL_BOOLEAN, v);
		return read_scalar(p, at_word(p, "null") ? SONDE_GRAPHQL_NULL : SONDE_GRAPHQL_ENUM,
				   v);
	default:
		break;
	}
	if (at(p, "$"))
		return read_variable_value(p, constant, v);
	if (at(p, "["))
		return read_list(p, constant, v);
	if (at(p, "{"))
		return read_object(p, constant, v);
	return expected(p, "a value");
}

static int read_arguments(struct parser *p, bool constant, struct sonde_graphql_argument **ret)
{
	int r;

	if (!at(p, "("))
		return 0;
	r = next(p);
	if (r == 0 && at(p, ")"))
		return expected(p, "an argument");
	return r < 0 ? r : read_members(p, ")", true, constant, ret);
}

static int read_directives(struct parser *p, bool constant, struct sonde_graphql_directive **ret)
{
	int r = 0;

	while (r == 0 && at(p, "@")) {
		struct sonde_graphql_directive *d = take(p, sizeof(*d));

		if (!d)
			return -ENOMEM;
		d->at = p->lexer.now.at;
		r = next(p);
		if (r == 0)
			r = read_name(p, &d->name);
		if (r == 0)
			r = read_arguments(p, constant, &d->arguments);
		*ret = d;
		ret = &d->next;
	}
	return r;
}

/* --- types --- */

static int add_type_text(struct parser *p, char *text, const char *more, size_t n)
{
	size_t have = strlen(text);

	if (have + n >= TYPE_BYTES_MAX) {
		graphql_say(p->error, p->lexer.now.at, "the type is too long");
		return -E2BIG;
	}
	memcpy(text + have, more, n);
	text[have + n] = '\0';
	return 0;
}

static int read_type_part(struct parser *p, char *text)
{
	int r = enter(p);

	if (r == 0 && at(p, "[")) {
		r = add_type_text(p, text, "[", 1);
		if (r == 0)
			r = next(p);
		if (r == 0)
			r = read_type_part(p, text);
		if (r == 0)
			r = need(p, "]");
		if (r == 0)
			r = add_type_text(p, text, "]", 1);
	} else if (r == 0 && p->lexer.now.kind == GRAPHQL_TOKEN_NAME) {
		r = add_type_text(p, text, p->lexer.now.text, p->lexer.now.len);
		if (r == 0)
			r = next(p);
	} else if (r == 0) {
		r = expected(p, "a type");
	}
	if (r == 0 && at(p, "!")) {
		r = add_type_text(p, text, "!", 1);
		if (r == 0)
			r = next(p);
	}
	p->depth--;
	return r;
}

static int read_type(struct parser *p, const char **ret)
{
	char text[TYPE_BYTES_MAX] = "";
	int r = read_type_part(p, text);

	if (r < 0)
		return r;
	return copy(p, &(struct graphql_token){.text = text, .len = strlen(text)}, ret);
}

static int read_variable(struct parser *p, struct sonde_graphql_variable *v)
{
	struct sonde_graphql_directive *ignored = NULL;
	int r;

	v->at = p->lexer.now.at;
	r = need(p, "$");
	if (r == 0)
		r = read_name(p, &v->name);
	if (r == 0)
		r = need(p, ":");
	if (r == 0)
		r = read_type(p, &v->type);
	if (r == 0 && at(p, "=")) {
		v->has_default = true;
		r = next(p);
		if (r == 0)
			r = read_value(p, true, &v->fallback);
	}
	return r < 0 ? r : read_directives(p, true, &ignored);
}

static int read_variables(struct parser *p, struct sonde_graphql_variable **ret)
{
	struct sonde_graphql_variable **tail = ret;
	unsigned n = 0;
	int r;

	if (!at(p, "("))
		return 0;
	r = next(p);
	do {
		struct sonde_graphql_variable *v = take(p, sizeof(*v));

		if (!v)
			return -ENOMEM;
		if (r == 0 && ++n > SONDE_GRAPHQL_VARIABLES_MAX) {
			graphql_say(p->error, p->lexer.now.at, "more than %d variables",
				    SONDE_GRAPHQL_VARIABLES_MAX);
			return -E2BIG;
		}
		if (r == 0)
			r = read_variable(p, v);
		for (const struct sonde_graphql_variable *b = *ret; b && r == 0; b = b->next) {
			if (strcmp(v->name, b->name) == 0)
				r = graphql_fail(p->error, v->at, "variable $%.100s is there twice",
						 v->name);
		}
		*tail = v;
		tail = &v->next;
	} while (r == 0 && !at(p, ")"));
	return r < 0 ? r : next(p);
}

/* --- selections --- */

static int read_selections(struct parser *p, struct sonde_graphql_selection **ret);

static int read_field(struct parser *p, struct sonde_graphql_selection *s)
{
	int r = read_name(p, &s->name);

	s->kind = SONDE_GRAPHQL_FIELD;
	if (r == 0 && at(p, ":")) {
		s->alias = s->name;
		if (++p->aliases > SONDE_GRAPHQL_ALIASES_MAX) {
			graphql_say(p->error, s->at, "more than %d aliases",
				    SONDE_GRAPHQL_ALIASES_MAX);
			return -E2BIG;
		}
		r = next(p);
		if (r == 0)
			r = read_name(p, &s->name);
	}
	if (r == 0)
		r = read_arguments(p, false, &s->arguments);
	if (r == 0)
		r = read_directives(p, false, &s->directives);
	if (r == 0 && at(p, "{"))
		r = read_selections(p, &s->selections);
	return r;
}

/* Behind "...". */
static int read_fragment_use(struct parser *p, struct sonde_graphql_selection *s)
{
	bool inlined = p->lexer.now.kind != GRAPHQL_TOKEN_NAME || at_word(p, "on");
	int r = 0;

	s->kind = inlined ? SONDE_GRAPHQL_INLINE : SONDE_GRAPHQL_SPREAD;
	if (inlined && at_word(p, "on"))
		r = next(p);
	if (r == 0 && (!inlined || p->lexer.now.kind == GRAPHQL_TOKEN_NAME))
		r = read_name(p, &s->name);
	if (r == 0)
		r = read_directives(p, false, &s->directives);
	return r == 0 && inlined ? read_selections(p, &s->selections) : r;
}

static int read_selection(struct parser *p, struct sonde_graphql_selection *s)
{
	int r;

	s->at = p->lexer.now.at;
	if (!at(p, "..."))
		return read_field(p, s);
	r = next(p);
	return r < 0 ? r : read_fragment_use(p, s);
}

static int read_selections(struct parser *p, struct sonde_graphql_selection **ret)
{
	struct sonde_graphql_selection **tail = ret;
	int r = enter(p);

	if (r == 0)
		r = need(p, "{");
	if (r == 0 && at(p, "}"))
		r = expected(p, "a field");
	while (r == 0 && !at(p, "}")) {
		struct sonde_graphql_selection *s = take(p, sizeof(*s));

		if (!s)
			return -ENOMEM;
		r = read_selection(p, s);
		*tail = s;
		tail = &s->next;
	}
	p->depth--;
	return r < 0 ? r : next(p);
}

/* --- definitions --- */

static int operation_kind(const struct parser *p, enum sonde_graphql_operation_kind *ret)
{
	static const char *const words[] = {
		[SONDE_GRAPHQL_QUERY] = "query",
		[SONDE_GRAPHQL_MUTATION] = "mutation",
		[SONDE_GRAPHQL_SUBSCRIPTION] = "subscription",
	};

	for (size_t i = 0; i < ELEMENTS_OF(words); i++) {
		if (at_word(p, words[i])) {
			*ret = (enum sonde_graphql_operation_kind)i;
			return 0;
		}
	}
	return -ENOENT;
}

static int read_operation(struct parser *p, struct sonde_graphql_operation *o)
{
	int r = 0;

	o->at = p->lexer.now.at;
	if (!at(p, "{")) { /* the short form is a query */
		r = next(p);
		if (r == 0 && p->lexer.now.kind == GRAPHQL_TOKEN_NAME)
			r = read_name(p, &o->name);
		if (r == 0)
			r = read_variables(p, &o->variables);
		if (r == 0)
			r = read_directives(p, false, &o->directives);
	}
	return r < 0 ? r : read_selections(p, &o->selections);
}

static int read_fragment(struct parser *p, struct sonde_graphql_fragment *f)
{
	int r;

	f->at = p->lexer.now.at;
	r = next(p);
	if (r == 0 && at_word(p, "on"))
		return expected(p, "a fragment's name");
	if (r == 0)
		r = read_name(p, &f->name);
	if (r == 0 && !at_word(p, "on"))
		return expected(p, "'on'");
	if (r == 0)
		r = next(p);
	if (r == 0)
		r = read_name(p, &f->type);
	if (r == 0)
		r = read_directives(p, false, &f->directives);
	return r < 0 ? r : read_selections(p, &f->selections);
}

static int read_definitions(struct parser *p)
{
	struct sonde_graphql_operation **operation = &p->document->operations;
	struct sonde_graphql_fragment **fragment = &p->document->fragments;
	int r = 0;

	do {
		enum sonde_graphql_operation_kind kind = SONDE_GRAPHQL_QUERY;

		if (at(p, "{") || operation_kind(p, &kind) == 0) {
			*operation = take(p, sizeof(**operation));
			if (!*operation)
				return -ENOMEM;
			(*operation)->kind = kind;
			r = read_operation(p, *operation);
			operation = &(*operation)->next;
		} else if (at_word(p, "fragment")) {
			*fragment = take(p, sizeof(**fragment));
			if (!*fragment)
				return -ENOMEM;
			r = read_fragment(p, *fragment);
			fragment = &(*fragment)->next;
		} else {
			return expected(p, "an operation or a fragment");
		}
	} while (r == 0 && p->lexer.now.kind != GRAPHQL_TOKEN_END);
	return r;
}

int sonde_graphql_parse(const char *text, size_t n, struct sonde_graphql_document **ret,
			struct sonde_graphql_error *error)
{
	_cleanup_(sonde_graphql_document_freep) struct sonde_graphql_document *d = NULL;
	struct parser p = {.error = error};
	int r;

	if (n > SONDE_GRAPHQL_BYTES_MAX) {
		graphql_say(error, (struct sonde_graphql_location){0},
			    "a document may have at most %u bytes", SONDE_GRAPHQL_BYTES_MAX);
		return -E2BIG;
	}
	p.document = d = calloc(1, sizeof(*d));
	if (!d)
		return -ENOMEM;
	r = graphql_lexer_init(&p.lexer, text, n, error);
	if (r == 0)
		r = read_definitions(&p);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(d);
	return 0;
}

struct sonde_graphql_document *sonde_graphql_document_free(struct sonde_graphql_document *d)
{
	struct sonde_graphql_chunk *next_chunk;

	if (!d)
		return NULL;
	for (struct sonde_graphql_chunk *c = d->chunks; c; c = next_chunk) {
		next_chunk = c->next;
		free(c);
	}
	free(d);
	return NULL;
}
