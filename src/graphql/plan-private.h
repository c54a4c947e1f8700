/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the files of the plan share. Folder-private. */

#include "graphql/plan.h"

/* A field that is asked for, with all that is asked for within it. Owned by its parent. */
struct graphql_node {
	const char *key, *name;			   /* the document's */
	const struct sonde_graphql_field_def *def; /* NULL: __typename */
	const struct sonde_graphql_type_def *type; /* of its objects; NULL for a leaf */
	json_t *arguments;			   /* owned */
	struct graphql_node *children;
	size_t n_children, cap;
};

struct graphql_scope {
	const struct sonde_graphql_schema *schema;
	const struct sonde_graphql_document *document;
	const struct sonde_graphql_operation *operation;
	const json_t *variables; /* as given; object */
	struct sonde_graphql_error *error;
	unsigned depth;
	size_t fields;			 /* and spreads */
	size_t input;			 /* values of arguments so far */
	const struct graphql_node *root; /* whose children are bounded; borrowed */
};

/* coerce.c. Return: 0; -EBADMSG, -E2BIG with the error filled; -ENOMEM. */

/* Every variable that is needed is there, and of a kind that its type names. */
int graphql_check_variables(struct graphql_scope *s);
/* The arguments that are given, by @defs; @what names whose they are. */
int graphql_coerce_arguments(struct graphql_scope *s, const struct sonde_graphql_argument_def *defs,
			     const struct sonde_graphql_argument *given, const char *what,
			     struct sonde_graphql_location at, json_t **ret);

/* compile.c: the operation into the children of @root. Return: likewise. */
int graphql_compile(struct graphql_scope *s, struct graphql_node *root);
void graphql_node_done(struct graphql_node *n);

/* introspect.c: the types of the schema's own description, which every schema has. */
extern const struct sonde_graphql_schema graphql_introspection;
/* `__type` and `__schema` of a query; NULL if @name is neither. */
const struct sonde_graphql_field_def *graphql_introspection_root(const char *name);
/* The value of such a root. New reference, NULL when memory ran out. */
json_t *graphql_introspect(const struct sonde_graphql_schema *schema, const char *field,
			   const json_t *arguments);
