/* SPDX-License-Identifier: Apache-2.0 */
#include "graphql/plan.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "graphql/lexer.h"
#include "graphql/plan-private.h"

#define MARKS_BYTES 4	/* quotes, colon and comma, brackets, or null */
#define NUMBER_BYTES 24 /* true and false too */

struct root {
	struct sonde_graphql_root shown;
	json_t *value; /* owned; NULL until it is put */
};

struct sonde_graphql_plan {
	struct sonde_graphql_document *document;
	const struct sonde_graphql_operation *operation;
	struct graphql_node tree;
	struct root *roots;   /* by the tree's children; owned */
	json_t *errors;	      /* array; owned */
	size_t values, bytes; /* so far */
};

struct sonde_graphql_plan *sonde_graphql_plan_free(struct sonde_graphql_plan *p)
{
	if (!p)
		return NULL;
	for (size_t i = 0; p->roots && i < p->tree.n_children; i++)
		json_decref(p->roots[i].value);
	free(p->roots);
	graphql_node_done(&p->tree);
	(void)sonde_graphql_document_free(p->document);
	json_decref(p->errors);
	free(p);
	return NULL;
}

/* --- errors --- */

static int add_error(struct sonde_graphql_plan *p, const struct sonde_graphql_error *e,
		     const char *path, const char *class)
{
	json_t *error = json_pack("{s:s%, s:{s:s}}", "message", e->message,
				  strnlen(e->message, sizeof(e->message)), "extensions",
				  "classification", class);

	if (!error) /* a cut character */
		error = json_pack("{s:s, s:{s:s}}", "message", "the request is not understood",
				  "extensions", "classification", class);
	if (error && e->at.line > 0 &&
	    json_object_set_new(error, "locations",
				json_pack("[{s:i, s:i}]", "line", (int)e->at.line, "column",
					  (int)e->at.column)) < 0) {
		json_decref(error);
		return -ENOMEM;
	}
	if (error && path && json_object_set_new(error, "path", json_pack("[s]", path)) < 0) {
		json_decref(error);
		return -ENOMEM;
	}
	return json_array_append_new(p->errors, error) < 0 ? -ENOMEM : 0;
}

/* --- making it --- */

static int choose_operation(struct sonde_graphql_plan *p, const char *name,
			    struct sonde_graphql_error *error)
{
	const struct sonde_graphql_operation *all = p->document->operations;
	size_t n = 0;

	for (const struct sonde_graphql_operation *o = all; o; o = o->next) {
		for (const struct sonde_graphql_operation *b = all; o->name && b != o;
		     b = b->next) {
			if (b->name && strcmp(b->name, o->name) == 0)
				return graphql_fail(error, o->at,
						    "two operations have the name '%.100s'",
						    o->name);
		}
		if (name && name[0] != '\0' && (!o->name || strcmp(o->name, name) != 0)) {
			n++;
			continue;
		}
		if (!o->name && (o != all || o->next))
			return graphql_fail(error, o->at,
					    "an operation without a name must be the only one");
		if (!p->operation)
			p->operation = o;
		n++;
	}
	if (!p->operation)
		return graphql_fail(error, (struct sonde_graphql_location){0},
				    n ? "there is no operation of that name"
				      : "there is no operation");
	if ((!name || name[0] == '\0') && n > 1)
		return graphql_fail(error, (struct sonde_graphql_location){0},
				    "operationName is needed: there are several");
	return 0;
}

static int check_fragments(const struct sonde_graphql_document *d,
			   struct sonde_graphql_error *error)
{
	for (const struct sonde_graphql_fragment *f = d->fragments; f; f = f->next) {
		for (const struct sonde_graphql_fragment *b = d->fragments; b != f; b = b->next) {
			if (strcmp(b->name, f->name) == 0)
				return graphql_fail(error, f->at,
						    "two fragments have the name '%.100s'",
						    f->name);
		}
	}
	return 0;
}

static int find_root_type(struct graphql_scope *s, struct graphql_node *tree)
{
	static const char *const names[] = {
		[SONDE_GRAPHQL_QUERY] = "Query",
		[SONDE_GRAPHQL_MUTATION] = "Mutation",
		[SONDE_GRAPHQL_SUBSCRIPTION] = "Subscription",
	};
	const char *name = names[s->operation->kind];

	tree->type = sonde_graphql_schema_named(s->schema, name);
	if (!tree->type)
		return graphql_fail(s->error, s->operation->at, "%s is not supported", name);
	return 0;
}

static int make_roots(struct sonde_graphql_plan *p, const struct sonde_graphql_schema *schema)
{
	const struct graphql_node *tree = &p->tree;

	p->roots = calloc(tree->n_children + 1, sizeof(*p->roots));
	if (!p->roots)
		return -ENOMEM;
	for (size_t i = 0; i < tree->n_children; i++) {
		const struct graphql_node *n = &tree->children[i];
		bool own = !n->def || graphql_introspection_root(n->name);
		int r = 0;

		p->roots[i].shown = (struct sonde_graphql_root){
			.key = n->key,
			.field = own ? NULL : n->name,
			.arguments = n->arguments,
			.mutation = p->operation->kind == SONDE_GRAPHQL_MUTATION,
		};
		if (!n->def) {
			p->roots[i].value = json_string(tree->type->name);
			r = p->roots[i].value ? 0 : -ENOMEM;
		} else if (own) {
			json_t *value = graphql_introspect(schema, n->name, n->arguments);

			r = value ? sonde_graphql_plan_put(p, i, value) : -ENOMEM;
			json_decref(value);
		}
		if (r < 0)
			return r;
	}
	return 0;
}

static int make(struct sonde_graphql_plan *p, const struct sonde_graphql_schema *schema,
		const struct sonde_graphql_request *request, struct sonde_graphql_error *error)
{
	struct graphql_scope s = {
		.schema = schema, .variables = request->variables, .error = error};
	int r;

	r = sonde_graphql_parse(request->text, request->n, &p->document, error);
	if (r < 0)
		return r;
	r = choose_operation(p, request->operation, error);
	if (r == 0)
		r = check_fragments(p->document, error);
	if (r < 0)
		return r;
	s.document = p->document;
	s.operation = p->operation;
	r = find_root_type(&s, &p->tree);
	if (r == 0)
		r = graphql_check_variables(&s);
	if (r == 0)
		r = graphql_compile(&s, &p->tree);
	return r < 0 ? r : make_roots(p, schema);
}

int sonde_graphql_plan_new(const struct sonde_graphql_schema *schema,
			   const struct sonde_graphql_request *request,
			   struct sonde_graphql_plan **ret)
{
	_cleanup_(sonde_graphql_plan_freep) struct sonde_graphql_plan *p = calloc(1, sizeof(*p));
	struct sonde_graphql_error error = {0};
	bool parsed;
	int r;

	if (!p)
		return -ENOMEM;
	p->errors = json_array();
	if (!p->errors)
		return -ENOMEM;
	r = make(p, schema, request, &error);
	parsed = p->document != NULL;
	if (r == -EBADMSG || r == -E2BIG) {
		graphql_node_done(&p->tree);
		r = add_error(p, &error, NULL, parsed ? "ValidationError" : "InvalidSyntax");
	}
	if (r < 0)
		return r;
	*ret = TAKE_PTR(p);
	return 0;
}

size_t sonde_graphql_plan_roots(const struct sonde_graphql_plan *p)
{
	return p->tree.n_children;
}

const struct sonde_graphql_root *sonde_graphql_plan_root(const struct sonde_graphql_plan *p,
							 size_t i)
{
	assert(i < p->tree.n_children);
	return &p->roots[i].shown;
}

/* --- taking out what was asked for --- */

/* Values share their texts with what they were taken from, but each will be written out. */
static int spend(struct sonde_graphql_plan *p, size_t n)
{
	if (n > SONDE_GRAPHQL_ANSWER_MAX - p->bytes)
		return -E2BIG;
	p->bytes += n;
	return 0;
}

/* As JSON; a number is never longer than this. */
static size_t leaf_bytes(const json_t *leaf)
{
	const char *text = json_string_value(leaf);
	size_t n = 0;

	if (!text)
		return NUMBER_BYTES;
	for (size_t i = 0; i < json_string_length(leaf); i++)
		n += (unsigned char)text[i] < ' '	 ? sizeof("\\u0000") - 1
		     : text[i] == '"' || text[i] == '\\' ? 2
							 : 1;
	return n;
}

/* -EPROTO: null where the schema says that there is none; -E2BIG: the answer is too large. */
static int project(struct sonde_graphql_plan *p, const struct graphql_node *n,
		   struct sonde_graphql_type t, const json_t *value, json_t **ret);

/* @leaf is stolen; NULL: memory ran out. */
static int take_leaf(struct sonde_graphql_plan *p, json_t *leaf, json_t **ret)
{
	int r = leaf ? spend(p, leaf_bytes(leaf)) : -ENOMEM;

	if (r < 0)
		json_decref(leaf);
	else
		*ret = leaf;
	return r;
}

static int project_object(struct sonde_graphql_plan *p, const struct graphql_node *n,
			  const json_t *value, json_t **ret)
{
	json_t *object = json_object();
	int r = object ? 0 : -ENOMEM;

	for (size_t i = 0; i < n->n_children && r == 0; i++) {
		const struct graphql_node *c = &n->children[i];
		json_t *one = NULL;

		r = spend(p, strlen(c->key) + MARKS_BYTES);
		if (r == 0 && c->def)
			r = project(p, c, sonde_graphql_type(c->def->type),
				    json_object_get(value, c->name), &one);
		else if (r == 0)
			r = take_leaf(p, json_string(n->type->name), &one);
		if (r == 0 && json_object_set_new_nocheck(object, c->key, one) < 0)
			r = -ENOMEM;
	}
	if (r < 0)
		json_decref(object);
	else
		*ret = object;
	return r;
}

static int project_list(struct sonde_graphql_plan *p, const struct graphql_node *n,
			struct sonde_graphql_type item, const json_t *value, json_t **ret)
{
	json_t *list = json_array();
	int r = list ? 0 : -ENOMEM;

	for (size_t i = 0; i < json_array_size(value) && r == 0; i++) {
		json_t *one = NULL;

		r = project(p, n, item, json_array_get(value, i), &one);
		if (r == 0 && json_array_append_new(list, one) < 0)
			r = -ENOMEM;
	}
	if (r < 0)
		json_decref(list);
	else
		*ret = list;
	return r;
}

static int project(struct sonde_graphql_plan *p, const struct graphql_node *n,
		   struct sonde_graphql_type t, const json_t *value, json_t **ret)
{
	struct sonde_graphql_type item;

	if (++p->values > SONDE_GRAPHQL_VALUES_MAX || spend(p, MARKS_BYTES) < 0)
		return -E2BIG;
	if (sonde_graphql_type_required(&t) && (!value || json_is_null(value)))
		return -EPROTO;
	if (!value || json_is_null(value)) {
		*ret = json_null();
		return 0;
	}
	item = t;
	if (sonde_graphql_type_list(&item))
		return project_list(p, n, item, value, ret);
	if (n->type)
		return project_object(p, n, value, ret);
	return take_leaf(p, json_incref((json_t *)value), ret);
}

int sonde_graphql_plan_fail(struct sonde_graphql_plan *p, size_t i, const char *message)
{
	struct sonde_graphql_error error = {0};

	assert(i < p->tree.n_children);
	graphql_say(&error, error.at, "%s", message);
	json_decref(p->roots[i].value);
	p->roots[i].value = json_null();
	return add_error(p, &error, p->roots[i].shown.key, "DataFetchingException");
}

int sonde_graphql_plan_put(struct sonde_graphql_plan *p, size_t i, const json_t *value)
{
	const struct graphql_node *n;
	json_t *shown = NULL;
	int r;

	assert(i < p->tree.n_children);
	n = &p->tree.children[i];
	r = project(p, n, sonde_graphql_type(n->def->type), value, &shown);
	if (r == -EPROTO)
		return sonde_graphql_plan_fail(p, i, "there is no value where one must be");
	if (r == -E2BIG)
		return sonde_graphql_plan_fail(p, i, "the answer is too large: ask for less");
	if (r < 0)
		return r;
	json_decref(p->roots[i].value);
	p->roots[i].value = shown;
	return 0;
}

json_t *sonde_graphql_plan_answer(const struct sonde_graphql_plan *p)
{
	json_t *data = p->roots ? json_object() : json_null();
	size_t n = p->roots ? p->tree.n_children : 0;

	for (size_t i = 0; i < n && data; i++) {
		json_t *value = p->roots[i].value ? p->roots[i].value : json_null();

		if (json_object_set_nocheck(data, p->roots[i].shown.key, value) < 0) {
			json_decref(data);
			data = NULL;
		}
	}
	if (!data || json_array_size(p->errors) == 0)
		return data ? json_pack("{s:o}", "data", data) : NULL;
	if (!p->roots) { /* nothing was begun */
		json_decref(data);
		return json_pack("{s:O}", "errors", p->errors);
	}
	return json_pack("{s:O, s:o}", "errors", p->errors, "data", data);
}
