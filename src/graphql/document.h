/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Document: the executable documents of GraphQL (edition of October 2021) as syntax: operations, fragments,
 * variables, literals. All text is hostile: bytes, tokens, depth, fields, aliases and variables are bounded. Whether a field
 * exists is the plan's question (plan.h). Not shared between threads.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"

#define SONDE_GRAPHQL_BYTES_MAX (256U << 10)
#define SONDE_GRAPHQL_TOKENS_MAX 16384
#define SONDE_GRAPHQL_DEPTH_MAX 24 /* selection sets, lists, objects and types within each other */
#define SONDE_GRAPHQL_ALIASES_MAX 1024
#define SONDE_GRAPHQL_VARIABLES_MAX 512 /* of an operation; each use looks through them */

struct sonde_graphql_location {
	unsigned line, column; /* from 1; 0 = not of one place. Columns count bytes */
};

struct sonde_graphql_error {
	char message[320];
	struct sonde_graphql_location at;
};

enum sonde_graphql_value_kind {
	SONDE_GRAPHQL_VARIABLE, /* text: its name */
	SONDE_GRAPHQL_INT,	/* text: as written */
	SONDE_GRAPHQL_FLOAT,	/* text: as written */
	SONDE_GRAPHQL_STRING,	/* text: decoded */
	SONDE_GRAPHQL_BOOLEAN,	/* text: "true", "false" */
	SONDE_GRAPHQL_NULL,
	SONDE_GRAPHQL_ENUM, /* text: its name */
	SONDE_GRAPHQL_LIST,
	SONDE_GRAPHQL_OBJECT,
};

/* Lists are linked by next, in the order of the text. All of it is the document's. */
struct sonde_graphql_value {
	enum sonde_graphql_value_kind kind;
	const char *text;
	struct sonde_graphql_argument *members; /* of a list without names */
	struct sonde_graphql_location at;
};

struct sonde_graphql_argument { /* also a member of an object or a list */
	const char *name;	/* NULL in a list */
	struct sonde_graphql_value value;
	struct sonde_graphql_location at;
	struct sonde_graphql_argument *next;
};

struct sonde_graphql_directive {
	const char *name;
	struct sonde_graphql_argument *arguments;
	struct sonde_graphql_location at;
	struct sonde_graphql_directive *next;
};

struct sonde_graphql_variable {
	const char *name, *type; /* as in a schema: "[ID!]!" */
	bool has_default;
	struct sonde_graphql_value fallback;
	struct sonde_graphql_location at;
	struct sonde_graphql_variable *next;
};

enum sonde_graphql_selection_kind {
	SONDE_GRAPHQL_FIELD,
	SONDE_GRAPHQL_SPREAD, /* name: the fragment's */
	SONDE_GRAPHQL_INLINE, /* name: its type; NULL = the one around it */
};

struct sonde_graphql_selection {
	enum sonde_graphql_selection_kind kind;
	const char *alias, *name; /* alias: NULL = none */
	struct sonde_graphql_argument *arguments;
	struct sonde_graphql_directive *directives;
	struct sonde_graphql_selection *selections; /* NULL = none are given */
	struct sonde_graphql_location at;
	struct sonde_graphql_selection *next;
};

enum sonde_graphql_operation_kind {
	SONDE_GRAPHQL_QUERY,
	SONDE_GRAPHQL_MUTATION,
	SONDE_GRAPHQL_SUBSCRIPTION,
};

struct sonde_graphql_operation {
	enum sonde_graphql_operation_kind kind;
	const char *name; /* NULL = anonymous */
	struct sonde_graphql_variable *variables;
	struct sonde_graphql_directive *directives;
	struct sonde_graphql_selection *selections;
	struct sonde_graphql_location at;
	struct sonde_graphql_operation *next;
};

struct sonde_graphql_fragment {
	const char *name, *type;
	struct sonde_graphql_directive *directives;
	struct sonde_graphql_selection *selections;
	struct sonde_graphql_location at;
	struct sonde_graphql_fragment *next;
};

struct sonde_graphql_document {
	struct sonde_graphql_operation *operations;
	struct sonde_graphql_fragment *fragments;
	struct sonde_graphql_chunk *chunks; /* the memory of all of it */
};

/* @text need not end in NUL and is not kept. Return: 0; -EBADMSG, -E2BIG (a bound) with *@error filled; -ENOMEM. */
int sonde_graphql_parse(const char *text, size_t n, struct sonde_graphql_document **ret,
			struct sonde_graphql_error *error) _must_check_;
struct sonde_graphql_document *sonde_graphql_document_free(struct sonde_graphql_document *d);
SONDE_DEFINE_CLEANUP(struct sonde_graphql_document *, sonde_graphql_document_free)
