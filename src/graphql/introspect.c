/* SPDX-License-Identifier: Apache-2.0 */
/* What a client may ask about the schema: names and kinds, from the tables. */
#include <string.h>

#include "base/cleanup.h"
#include "graphql/plan-private.h"

static const struct sonde_graphql_field_def type_fields[] = {
	{"kind", "String!", NULL},
	{"name", "String", NULL},
	{"description", "String", NULL},
	{"fields", "[__Field!]", SONDE_GRAPHQL_ARGUMENTS({"includeDeprecated", "Boolean"})},
	{"inputFields", "[__InputValue!]",
	 SONDE_GRAPHQL_ARGUMENTS({"includeDeprecated", "Boolean"})},
	{"enumValues", "[__EnumValue!]", SONDE_GRAPHQL_ARGUMENTS({"includeDeprecated", "Boolean"})},
	{NULL, NULL, NULL},
};

static const struct sonde_graphql_field_def field_fields[] = {
	{"name", "String!", NULL},
	{"description", "String", NULL},
	{"args", "[__InputValue!]!", SONDE_GRAPHQL_ARGUMENTS({"includeDeprecated", "Boolean"})},
	{NULL, NULL, NULL},
};

static const struct sonde_graphql_field_def input_fields[] = {
	{"name", "String!", NULL},
	{"description", "String", NULL},
	{NULL, NULL, NULL},
};

static const struct sonde_graphql_field_def schema_fields[] = {
	{"types", "[__Type!]!", NULL},
	{"queryType", "__Type!", NULL},
	{"mutationType", "__Type", NULL},
	{"subscriptionType", "__Type", NULL},
	{NULL, NULL, NULL},
};

static const struct sonde_graphql_type_def types[] = {
	{.name = "__Type", .fields = type_fields},
	{.name = "__Field", .fields = field_fields},
	{.name = "__InputValue", .fields = input_fields},
	{.name = "__EnumValue", .fields = input_fields},
	{.name = "__Schema", .fields = schema_fields},
	{.name = NULL},
};

const struct sonde_graphql_schema graphql_introspection = {.types = types};

static const struct sonde_graphql_field_def roots[] = {
	{"__type", "__Type", SONDE_GRAPHQL_ARGUMENTS({"name", "String!"})},
	{"__schema", "__Schema!", NULL},
};

const struct sonde_graphql_field_def *graphql_introspection_root(const char *name)
{
	for (size_t i = 0; i < ELEMENTS_OF(roots); i++) {
		if (strcmp(roots[i].name, name) == 0)
			return &roots[i];
	}
	return NULL;
}

static json_t *inputs_json(const struct sonde_graphql_argument_def *list)
{
	json_t *all = json_array();

	for (; all && list && list->name; list++) {
		if (json_array_append_new(all, json_pack("{s:s}", "name", list->name)) < 0) {
			json_decref(all);
			return NULL;
		}
	}
	return all;
}

static json_t *fields_json(const struct sonde_graphql_field_def *list)
{
	json_t *all = json_array();

	for (; all && list->name; list++) {
		if (json_array_append_new(all, json_pack("{s:s, s:o}", "name", list->name, "args",
							 inputs_json(list->arguments))) < 0) {
			json_decref(all);
			return NULL;
		}
	}
	return all;
}

static json_t *values_json(const char *const *list)
{
	json_t *all = json_array();

	for (; all && *list; list++) {
		if (json_array_append_new(all, json_pack("{s:s}", "name", *list)) < 0) {
			json_decref(all);
			return NULL;
		}
	}
	return all;
}

static json_t *type_json(const struct sonde_graphql_type_def *d)
{
	return json_pack("{s:s, s:s, s:o, s:o, s:o}", "kind",
			 d->fields   ? "OBJECT"
			 : d->inputs ? "INPUT_OBJECT"
				     : "ENUM",
			 "name", d->name, "fields",
			 d->fields ? fields_json(d->fields) : json_null(), "inputFields",
			 d->inputs ? inputs_json(d->inputs) : json_null(), "enumValues",
			 d->values ? values_json(d->values) : json_null());
}

static json_t *named_json(const struct sonde_graphql_schema *schema, const char *name)
{
	struct sonde_graphql_type t = sonde_graphql_type(name);
	const struct sonde_graphql_type_def *d = sonde_graphql_schema_find(schema, t);

	if (d)
		return type_json(d);
	if (sonde_graphql_is_scalar(t))
		return json_pack("{s:s, s:s}", "kind", "SCALAR", "name", name);
	return json_null();
}

static json_t *schema_json(const struct sonde_graphql_schema *schema)
{
	json_t *all = json_array();

	for (const struct sonde_graphql_type_def *d = schema->types; all && d->name; d++) {
		if (json_array_append_new(all, type_json(d)) < 0) {
			json_decref(all);
			return NULL;
		}
	}
	return json_pack("{s:o, s:o, s:o}", "types", all, "queryType", named_json(schema, "Query"),
			 "mutationType", named_json(schema, "Mutation"));
}

json_t *graphql_introspect(const struct sonde_graphql_schema *schema, const char *field,
			   const json_t *arguments)
{
	const char *name = json_string_value(json_object_get(arguments, "name"));

	return strcmp(field, "__type") == 0 ? named_json(schema, name ? name : "")
					    : schema_json(schema);
}
