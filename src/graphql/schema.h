/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Schema: which types and fields a server has, as constant tables. A type is written as in the language: "[Service!]!".
 * Scalars are Int, Long, Float, String, Boolean and ID. No interfaces and no unions. Tables are borrowed for ever.
 */

#include <stdbool.h>
#include <stddef.h>

struct sonde_graphql_argument_def { /* also a field of an input type */
	const char *name, *type;
};

struct sonde_graphql_field_def {
	const char *name, *type;
	const struct sonde_graphql_argument_def *arguments; /* {NULL}-ended; NULL = none */
};

/* A list of them, for the tables: SONDE_GRAPHQL_ARGUMENTS({"id", "ID!"}, {"limit", "Int"}). */
#define SONDE_GRAPHQL_ARGUMENTS(...)                                                               \
	(const struct sonde_graphql_argument_def[])                                                \
	{                                                                                          \
		__VA_ARGS__,                                                                       \
		{                                                                                  \
			NULL, NULL                                                                 \
		}                                                                                  \
	}

/* One of the three lists is set, and says what kind of type it is. */
struct sonde_graphql_type_def {
	const char *name;
	const struct sonde_graphql_field_def *fields;	 /* {NULL}-ended; an object */
	const struct sonde_graphql_argument_def *inputs; /* {NULL}-ended; an input object */
	const char *const *values;			 /* NULL-ended; an enum */
};

/* Has the types Query and, where there are mutations, Mutation. */
struct sonde_graphql_schema {
	const struct sonde_graphql_type_def *types; /* {NULL}-ended */
};

/* A type as it is written, or a part of it. */
struct sonde_graphql_type {
	const char *text;
	size_t len;
};

struct sonde_graphql_type sonde_graphql_type(const char *text);
/* Takes a '!' off. Return: whether there was one. */
bool sonde_graphql_type_required(struct sonde_graphql_type *t);
/* Takes the brackets off. Return: whether there were some. */
bool sonde_graphql_type_list(struct sonde_graphql_type *t);
/* The type's definition; NULL for a scalar and for an unknown name. */
const struct sonde_graphql_type_def *sonde_graphql_schema_find(
	const struct sonde_graphql_schema *schema, struct sonde_graphql_type t);
/* The named type within all '!' and brackets; likewise. */
const struct sonde_graphql_type_def *sonde_graphql_schema_named(
	const struct sonde_graphql_schema *schema, const char *text);
const struct sonde_graphql_field_def *sonde_graphql_find_field(
	const struct sonde_graphql_type_def *type, const char *name);
bool sonde_graphql_is_scalar(struct sonde_graphql_type t);

/* A name and a type that each exist, wherever the tables say one? For tests. NULL, or the first name that does not. */
const char *sonde_graphql_schema_fault(const struct sonde_graphql_schema *schema);
