/* SPDX-License-Identifier: Apache-2.0 */
#include "graphql/schema.h"

#include <string.h>

#include "base/cleanup.h"

static const char *const scalars[] = {"Int", "Long", "Float", "String", "Boolean", "ID"};

static bool equals(struct sonde_graphql_type t, const char *name)
{
	return strlen(name) == t.len && memcmp(name, t.text, t.len) == 0;
}

struct sonde_graphql_type sonde_graphql_type(const char *text)
{
	return (struct sonde_graphql_type){text, strlen(text)};
}

bool sonde_graphql_type_required(struct sonde_graphql_type *t)
{
	if (t->len == 0 || t->text[t->len - 1] != '!')
		return false;
	t->len--;
	return true;
}

bool sonde_graphql_type_list(struct sonde_graphql_type *t)
{
	if (t->len < 2 || t->text[0] != '[' || t->text[t->len - 1] != ']')
		return false;
	t->text++;
	t->len -= 2;
	return true;
}

const struct sonde_graphql_type_def *sonde_graphql_schema_find(
	const struct sonde_graphql_schema *schema, struct sonde_graphql_type t)
{
	for (const struct sonde_graphql_type_def *d = schema->types; d->name; d++) {
		if (equals(t, d->name))
			return d;
	}
	return NULL;
}

static struct sonde_graphql_type innermost(const char *text)
{
	struct sonde_graphql_type t = sonde_graphql_type(text);

	while (sonde_graphql_type_required(&t) || sonde_graphql_type_list(&t))
		;
	return t;
}

const struct sonde_graphql_type_def *sonde_graphql_schema_named(
	const struct sonde_graphql_schema *schema, const char *text)
{
	return sonde_graphql_schema_find(schema, innermost(text));
}

const struct sonde_graphql_field_def *sonde_graphql_find_field(
	const struct sonde_graphql_type_def *type, const char *name)
{
	for (const struct sonde_graphql_field_def *f = type->fields; f && f->name; f++) {
		if (strcmp(f->name, name) == 0)
			return f;
	}
	return NULL;
}

bool sonde_graphql_is_scalar(struct sonde_graphql_type t)
{
	for (size_t i = 0; i < ELEMENTS_OF(scalars); i++) {
		if (equals(t, scalars[i]))
			return true;
	}
	return false;
}

static bool exists(const struct sonde_graphql_schema *schema, const char *type, bool input)
{
	const struct sonde_graphql_type_def *d = sonde_graphql_schema_named(schema, type);

	if (!d)
		return sonde_graphql_is_scalar(innermost(type));
	return d->values || (input ? d->inputs != NULL : d->fields != NULL);
}

static const char *fault_of(const struct sonde_graphql_schema *schema,
			    const struct sonde_graphql_argument_def *list)
{
	for (; list && list->name; list++) {
		if (!exists(schema, list->type, true))
			return list->name;
	}
	return NULL;
}

const char *sonde_graphql_schema_fault(const struct sonde_graphql_schema *schema)
{
	for (const struct sonde_graphql_type_def *d = schema->types; d->name; d++) {
		const char *fault = fault_of(schema, d->inputs);

		if (!!d->fields + !!d->inputs + !!d->values != 1)
			return d->name;
		for (const struct sonde_graphql_field_def *f = d->fields; f && f->name && !fault;
		     f++) {
			fault = exists(schema, f->type, false) ? fault_of(schema, f->arguments)
							       : f->name;
		}
		if (fault)
			return fault;
	}
	return NULL;
}
