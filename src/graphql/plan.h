/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Plan: one request made ready: its operation is chosen, held against the schema, its fragments, directives and
 * variables are resolved. The server then gives each root field its whole value, and the plan takes out of it what was
 * asked for, under the names that were asked for. `__typename`, `__type` and `__schema` it answers itself.
 * Bounded: fields, spreads, values of arguments, and values and bytes of the answer, what no longer has room counted too. Not shared between threads.
 *
 * Of the specification's rules for documents these are checked: every one that decides what the answer would be.
 * Not checked: unused variables and fragments, and types of variables that differ from the argument's but hold a fitting value.
 */

#include <jansson.h>
#include <stdint.h>

#include "graphql/document.h"
#include "graphql/schema.h"

#define SONDE_GRAPHQL_FIELDS_MAX 4096 /* of an operation, those of its fragments at each use */
#define SONDE_GRAPHQL_ROOTS_MAX 128   /* root fields, each of which is a question of its own */
#define SONDE_GRAPHQL_INPUT_MAX 65536 /* values of arguments, those of a variable at each use */
#define SONDE_GRAPHQL_VALUES_MAX (1U << 20)  /* objects, lists and leaves of an answer */
#define SONDE_GRAPHQL_ANSWER_MAX (16U << 20) /* bytes of the data's text, keys and all */

struct sonde_graphql_root {
	const char *key;   /* what the answer calls it */
	const char *field; /* NULL: is answered already */
	const json_t
		*arguments; /* object; as the schema's types say; what was not given is not in it */
	bool mutation;
};

struct sonde_graphql_request {
	const char *text; /* the document; @n bytes */
	size_t n;
	const char *operation;	 /* NULL or "": the only one */
	const json_t *variables; /* object or NULL */
};

struct sonde_graphql_plan;

/*
 * All of @request is borrowed for the call. A request that cannot be answered gives a plan without roots, whose answer
 * is the error. Return: 0, -ENOMEM.
 */
int sonde_graphql_plan_new(const struct sonde_graphql_schema *schema,
			   const struct sonde_graphql_request *request,
			   struct sonde_graphql_plan **ret) _must_check_;
struct sonde_graphql_plan *sonde_graphql_plan_free(struct sonde_graphql_plan *p);
SONDE_DEFINE_CLEANUP(struct sonde_graphql_plan *, sonde_graphql_plan_free)

size_t sonde_graphql_plan_roots(const struct sonde_graphql_plan *p);
/* Borrowed from the plan. */
const struct sonde_graphql_root *sonde_graphql_plan_root(const struct sonde_graphql_plan *p,
							 size_t i);

/* @value: with all fields of its type, or null; borrowed for the call. What is not in it is null. Return: 0, -ENOMEM. */
int sonde_graphql_plan_put(struct sonde_graphql_plan *p, size_t i,
			   const json_t *value) _must_check_;
/* The root could not be answered: it is null, with an error. Return: 0, -ENOMEM. */
int sonde_graphql_plan_fail(struct sonde_graphql_plan *p, size_t i,
			    const char *message) _must_check_;

/* {"data", "errors"}. New reference, NULL when memory ran out. */
json_t *sonde_graphql_plan_answer(const struct sonde_graphql_plan *p);
