/* SPDX-License-Identifier: Apache-2.0 */
/* A request: its document, and behind a NUL its variables. What is understood is answered with a value of every kind. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "graphql/plan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct sonde_graphql_field_def query_fields[] = {
	{"a", "T",
	 SONDE_GRAPHQL_ARGUMENTS({"i", "Int"}, {"f", "Float"}, {"s", "String!"}, {"o", "I"})},
	{"b", "[T!]!",
	 SONDE_GRAPHQL_ARGUMENTS({"l", "Long"}, {"d", "ID"}, {"e", "[E!]"}, {"z", "Boolean"})},
	{"c", "String", NULL},
	{NULL, NULL, NULL},
};
static const struct sonde_graphql_field_def t_fields[] = {
	{"a", "T", NULL}, {"b", "[T!]", NULL}, {"c", "String", NULL}, {NULL, NULL, NULL}};
static const struct sonde_graphql_argument_def i_inputs[] = {
	{"o", "I"}, {"l", "[I!]!"}, {"e", "E"}, {NULL, NULL}};
static const char *const e_values[] = {"X", "Y", NULL};
static const struct sonde_graphql_type_def types[] = {
	{.name = "Query", .fields = query_fields}, {.name = "Mutation", .fields = t_fields},
	{.name = "T", .fields = t_fields},	   {.name = "I", .inputs = i_inputs},
	{.name = "E", .values = e_values},	   {.name = NULL},
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char value[] =
		"{\"a\":{\"c\":\"1\",\"b\":[{\"c\":\"2\"},{}]},\"b\":[],\"c\":\"3\"}";
	static const struct sonde_graphql_schema schema = {types};
	_cleanup_(sonde_graphql_plan_freep) struct sonde_graphql_plan *p = NULL;
	const uint8_t *nul = size ? memchr(data, 0, size) : NULL;
	size_t n = nul ? (size_t)(nul - data) : size;
	json_t *variables = nul ? json_loadb((const char *)nul + 1, size - n - 1, 0, NULL) : NULL;
	json_t *one = json_loads(value, 0, NULL), *list = json_pack("[O]", one), *answer;
	const struct sonde_graphql_request request = {(const char *)data, n, NULL, variables};
	char *text;

	if (sonde_graphql_plan_new(&schema, &request, &p) < 0)
		abort();
	for (size_t i = 0; i < sonde_graphql_plan_roots(p); i++) {
		const struct sonde_graphql_root *root = sonde_graphql_plan_root(p, i);

		if (root->field &&
		    sonde_graphql_plan_put(p, i, root->field[0] == 'b' ? list : one) < 0)
			abort();
	}
	answer = sonde_graphql_plan_answer(p);
	text = answer ? json_dumps(answer, JSON_COMPACT) : NULL;
	if (!text)
		abort();
	free(text);
	json_decref(answer);
	json_decref(list);
	json_decref(one);
	json_decref(variables);
	return 0;
}
