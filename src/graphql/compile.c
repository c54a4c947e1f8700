/* SPDX-License-Identifier: Apache-2.0 */
/* Selections with their fragments into one tree of fields, each under its key once. */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "graphql/lexer.h"
#include "graphql/plan-private.h"

static const struct sonde_graphql_argument_def if_argument[] = {{"if", "Boolean!"}, {NULL, NULL}};

void graphql_node_done(struct graphql_node *n)
{
	for (size_t i = 0; i < n->n_children; i++)
		graphql_node_done(&n->children[i]);
	free(n->children);
	json_decref(n->arguments);
	*n = (struct graphql_node){0};
}

/* Each field and each spread counts, so that fragments that double each other come to an end. */
static int count(struct graphql_scope *s, struct sonde_graphql_location at)
{
	if (++s->fields <= SONDE_GRAPHQL_FIELDS_MAX)
		return 0;
	graphql_say(s->error, at, "more than %d fields", SONDE_GRAPHQL_FIELDS_MAX);
	return -E2BIG;
}

static int read_directives(struct graphql_scope *s, const struct sonde_graphql_directive *d,
			   bool *ret_wanted)
{
	bool wanted = true;

	for (; d; d = d->next) {
		bool skip = strcmp(d->name, "skip") == 0;
		json_t *arguments = NULL;
		int r;

		if (!skip && strcmp(d->name, "include") != 0)
			return graphql_fail(s->error, d->at, "unknown directive '@%.100s'",
					    d->name);
		r = graphql_coerce_arguments(s, if_argument, d->arguments, d->name, d->at,
					     &arguments);
		if (r < 0)
			return r;
		if (json_is_true(json_object_get(arguments, "if")) == skip)
			wanted = false;
		json_decref(arguments);
	}
	*ret_wanted = wanted;
	return 0;
}

static const struct sonde_graphql_field_def *find_def(const struct graphql_scope *s,
						      const struct graphql_node *parent,
						      const char *name)
{
	const struct sonde_graphql_field_def *def = sonde_graphql_find_field(parent->type, name);

	if (!def && strcmp(parent->type->name, "Query") == 0)
		def = graphql_introspection_root(name);
	return def;
}

static const struct sonde_graphql_type_def *type_of(const struct graphql_scope *s,
						    const struct sonde_graphql_field_def *def)
{
	const struct sonde_graphql_type_def *type =
		def ? sonde_graphql_schema_named(s->schema, def->type) : NULL;

	if (def && !type)
		type = sonde_graphql_schema_named(&graphql_introspection, def->type);
	return type && type->fields ? type : NULL;
}

static int add_child(struct graphql_node *parent, struct graphql_node *child,
		     struct graphql_node **ret)
{
	if (parent->n_children == parent->cap) {
		size_t cap = parent->cap ? 2 * parent->cap : 8;
		void *more = realloc(parent->children, cap * sizeof(*child));

		if (!more)
			return -ENOMEM;
		parent->children = more;
		parent->cap = cap;
	}
	parent->children[parent->n_children] = *child;
	*child = (struct graphql_node){0};
	*ret = &parent->children[parent->n_children++];
	return 0;
}

static struct graphql_node *find_child(struct graphql_node *parent, const char *key)
{
	for (size_t i = 0; i < parent->n_children; i++) {
		if (strcmp(parent->children[i].key, key) == 0)
			return &parent->children[i];
	}
	return NULL;
}

/* The node of the key: a new one, or the one that another selection of the same field has made. */
static int get_child(struct graphql_scope *s, struct graphql_node *parent, struct graphql_node *n,
		     struct sonde_graphql_location at, struct graphql_node **ret)
{
	struct graphql_node *known = find_child(parent, n->key);

	if (!known && parent == s->root && parent->n_children == SONDE_GRAPHQL_ROOTS_MAX) {
		graphql_say(s->error, at, "more than %d root fields", SONDE_GRAPHQL_ROOTS_MAX);
		return -E2BIG;
	}
	if (!known)
		return add_child(parent, n, ret);
	if (strcmp(known->name, n->name) != 0 || !json_equal(known->arguments, n->arguments))
		return graphql_fail(s->error, at,
				    "'%.100s' is asked for twice, with different meanings", n->key);
	*ret = known;
	return 0;
}

static int compile(struct graphql_scope *s, struct graphql_node *parent,
		   const struct sonde_graphql_selection *list);

static int compile_children(struct graphql_scope *s, struct graphql_node *n,
			    const struct sonde_graphql_selection *f)
{
	if (n->type && !f->selections)
		return graphql_fail(s->error, f->at, "field '%.100s' needs a selection of fields",
				    f->name);
	if (!n->type && f->selections)
		return graphql_fail(s->error, f->at, "field '%.100s' has no fields", f->name);
	return f->selections ? compile(s, n, f->selections) : 0;
}

static int undefined(struct graphql_scope *s, const struct graphql_node *parent,
		     const struct sonde_graphql_selection *f)
{
	/* The words of graphql-java, which OAP's clients know. */
	return graphql_fail(s->error, f->at,
			    "Validation error (FieldUndefined@[%.64s]) : Field '%.64s' in type "
			    "'%s' is undefined: not supported by this server",
			    f->name, f->name, parent->type->name);
}

static int compile_field(struct graphql_scope *s, struct graphql_node *parent,
			 const struct sonde_graphql_selection *f)
{
	struct graphql_node n = {.key = f->alias ? f->alias : f->name, .name = f->name};
	struct graphql_node *child = NULL;
	int r = 0;

	if (strcmp(f->name, "__typename") != 0) {
		n.def = find_def(s, parent, f->name);
		if (!n.def)
			return undefined(s, parent, f);
	}
	n.type = type_of(s, n.def);
	r = graphql_coerce_arguments(s, n.def ? n.def->arguments : NULL, f->arguments, f->name,
				     f->at, &n.arguments);
	if (r == 0)
		r = get_child(s, parent, &n, f->at, &child);
	graphql_node_done(&n); /* empty, if it was added */
	if (r < 0)
		return r;
	assert(child);
	return compile_children(s, child, f);
}

static const struct sonde_graphql_fragment *find_fragment(const struct graphql_scope *s,
							  const char *name)
{
	for (const struct sonde_graphql_fragment *f = s->document->fragments; f; f = f->next) {
		if (strcmp(f->name, name) == 0)
			return f;
	}
	return NULL;
}

/* There are no interfaces: a fragment is of the very type that it stands in. */
static int check_type(struct graphql_scope *s, const struct graphql_node *parent, const char *type,
		      struct sonde_graphql_location at)
{
	if (!type || strcmp(type, parent->type->name) == 0)
		return 0;
	return graphql_fail(s->error, at, "a fragment on '%.100s' cannot stand within '%s'", type,
			    parent->type->name);
}

static int compile_fragment(struct graphql_scope *s, struct graphql_node *parent,
			    const struct sonde_graphql_selection *use)
{
	const struct sonde_graphql_fragment *f =
		use->kind == SONDE_GRAPHQL_SPREAD ? find_fragment(s, use->name) : NULL;
	bool wanted = true;
	int r;

	if (use->kind == SONDE_GRAPHQL_SPREAD && !f)
		return graphql_fail(s->error, use->at, "there is no fragment '%.100s'", use->name);
	r = check_type(s, parent, f ? f->type : use->name, use->at);
	if (r == 0 && f)
		r = read_directives(s, f->directives, &wanted);
	if (r < 0 || !wanted)
		return r;
	return compile(s, parent, f ? f->selections : use->selections);
}

static int compile_one(struct graphql_scope *s, struct graphql_node *parent,
		       const struct sonde_graphql_selection *one)
{
	/* What is skipped must be right all the same. */
	struct graphql_node dropped = {.type = parent->type};
	bool wanted = true;
	int r;

	r = count(s, one->at);
	if (r == 0)
		r = read_directives(s, one->directives, &wanted);
	if (r < 0)
		return r;
	if (one->kind == SONDE_GRAPHQL_FIELD)
		r = compile_field(s, wanted ? parent : &dropped, one);
	else
		r = compile_fragment(s, wanted ? parent : &dropped, one);
	graphql_node_done(&dropped);
	return r;
}

static int compile(struct graphql_scope *s, struct graphql_node *parent,
		   const struct sonde_graphql_selection *list)
{
	int r = 0;

	if (++s->depth > SONDE_GRAPHQL_DEPTH_MAX) {
		graphql_say(s->error, list->at,
			    "nested more than %d deep, or a fragment that contains itself",
			    SONDE_GRAPHQL_DEPTH_MAX);
		return -E2BIG;
	}
	for (; list && r == 0; list = list->next)
		r = compile_one(s, parent, list);
	s->depth--;
	return r;
}

int graphql_compile(struct graphql_scope *s, struct graphql_node *root)
{
	bool wanted = true;
	int r;

	s->root = root;
	r = read_directives(s, s->operation->directives, &wanted);
	if (r == 0 && s->operation->directives)
		r = graphql_fail(s->error, s->operation->directives->at,
				 "no directive can stand on an operation");
	return r < 0 ? r : compile(s, root, s->operation->selections);
}
