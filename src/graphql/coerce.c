/* SPDX-License-Identifier: Apache-2.0 */
/* Literals and variables as values of the schema's types. A value of the wrong type is refused, not bent. */
#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "base/num.h"
#include "graphql/lexer.h"
#include "graphql/plan-private.h"

#define TEXT_BYTES 64 /* of a literal, that count as one value more */
#define LACKS_FIELD "lacks the field"

/* What is being read, for the words of an error. */
struct reading {
	struct graphql_scope *scope;
	const char *name; /* the argument's */
	struct sonde_graphql_location at;
	unsigned depth;
};

static int refuse(const struct reading *rd, struct sonde_graphql_type t, const char *words)
{
	return graphql_fail(rd->scope->error, rd->at, "argument '%.100s': %s, expected %.*s",
			    rd->name, words, t.len > 100 ? 100 : (int)t.len, t.text);
}

/* A variable is read anew at each use, so what counts is not how often its values are written. */
static int spend(const struct reading *rd, size_t n)
{
	struct graphql_scope *s = rd->scope;

	if (n <= SONDE_GRAPHQL_INPUT_MAX - s->input) {
		s->input += n;
		return 0;
	}
	graphql_say(s->error, rd->at, "more than %d values in the arguments",
		    SONDE_GRAPHQL_INPUT_MAX);
	return -E2BIG;
}

static bool is(struct sonde_graphql_type t, const char *name)
{
	return strlen(name) == t.len && memcmp(name, t.text, t.len) == 0;
}

static const struct sonde_graphql_variable *find_variable(const struct graphql_scope *s,
							  const char *name)
{
	for (const struct sonde_graphql_variable *v = s->operation->variables; v; v = v->next) {
		if (strcmp(v->name, name) == 0)
			return v;
	}
	return NULL;
}

/* --- what came as JSON: the values of variables --- */

static int check_json(struct reading *rd, struct sonde_graphql_type t, const json_t *j,
		      json_t **ret);

static int json_leaf(struct reading *rd, struct sonde_graphql_type t, const json_t *j, json_t **ret)
{
	bool fits = false;

	if (is(t, "String"))
		fits = json_is_string(j);
	else if (is(t, "Boolean"))
		fits = json_is_boolean(j);
	else if (is(t, "Float"))
		fits = json_is_number(j);
	else if (is(t, "ID"))
		fits = json_is_string(j) || json_is_integer(j);
	else if (is(t, "Long") || is(t, "Int"))
		fits = json_is_integer(j) &&
		       (is(t, "Long") ||
			(json_integer_value(j) >= INT32_MIN && json_integer_value(j) <= INT32_MAX));
	if (!fits)
		return refuse(rd, t, "the value does not fit");
	/* A name with a NUL in it would end there. */
	if (json_is_string(j) && strlen(json_string_value(j)) != json_string_length(j))
		return refuse(rd, t, "the text holds a NUL");
	*ret = is(t, "ID") && json_is_integer(j)
		       ? json_sprintf("%" JSON_INTEGER_FORMAT, json_integer_value(j))
		       : json_incref((json_t *)j);
	return *ret ? 0 : -ENOMEM;
}

static bool has_value(const struct sonde_graphql_type_def *def, const char *name)
{
	for (const char *const *v = def->values; name && *v; v++) {
		if (strcmp(*v, name) == 0)
			return true;
	}
	return false;
}

static const struct sonde_graphql_argument_def *find_input(
	const struct sonde_graphql_argument_def *list, const char *name)
{
	for (; list && list->name; list++) {
		if (strcmp(list->name, name) == 0)
			return list;
	}
	return NULL;
}

static int set(json_t *object, const char *key, json_t *value)
{
	return json_object_set_new(object, key, value) < 0 ? -ENOMEM : 0;
}

/* @lacks: the words for it. */
static int check_required(const struct reading *rd, const struct sonde_graphql_argument_def *defs,
			  const char *lacks, const json_t *object)
{
	for (; defs && defs->name; defs++) {
		if (defs->type[strlen(defs->type) - 1] == '!' &&
		    !json_object_get(object, defs->name))
			return graphql_fail(rd->scope->error, rd->at, "'%.100s' %s '%.100s'",
					    rd->name, lacks, defs->name);
	}
	return 0;
}

/* @made is the value where @r is 0, else what there is of it. Return: @r. */
static int give(int r, json_t *made, json_t **ret)
{
	if (r < 0)
		json_decref(made);
	else
		*ret = made;
	return r;
}

static int json_object_value(struct reading *rd, const struct sonde_graphql_type_def *def,
			     struct sonde_graphql_type t, const json_t *j, json_t **ret)
{
	json_t *object, *value;
	const char *key;
	int r = 0;

	if (!json_is_object(j))
		return refuse(rd, t, "the value does not fit");
	object = json_object();
	if (!object)
		return -ENOMEM;
	json_object_foreach((json_t *)j, key, value)
	{
		const struct sonde_graphql_argument_def *d = find_input(def->inputs, key);
		json_t *one = NULL;

		if (!d) {
			r = graphql_fail(rd->scope->error, rd->at, "%s has no field '%.100s'",
					 def->name, key);
			break;
		}
		r = check_json(rd, sonde_graphql_type(d->type), value, &one);
		if (r == 0)
			r = set(object, key, one);
		if (r < 0)
			break;
	}
	if (r == 0)
		r = check_required(rd, def->inputs, LACKS_FIELD, object);
	return give(r, object, ret);
}

static int json_list(struct reading *rd, struct sonde_graphql_type item, const json_t *j,
		     json_t **ret)
{
	/* One value stands for a list of it. */
	size_t n = json_is_array(j) ? json_array_size(j) : 1;
	json_t *list = json_array();
	int r = list ? 0 : -ENOMEM;

	for (size_t i = 0; i < n && r == 0; i++) {
		json_t *one = NULL;

		r = check_json(rd, item, json_is_array(j) ? json_array_get(j, i) : j, &one);
		if (r == 0 && json_array_append_new(list, one) < 0)
			r = -ENOMEM;
	}
	return give(r, list, ret);
}

static int check_json(struct reading *rd, struct sonde_graphql_type t, const json_t *j,
		      json_t **ret)
{
	struct sonde_graphql_type item;
	const struct sonde_graphql_type_def *def;
	int r = spend(rd, 1);

	if (r < 0)
		return r;
	if (sonde_graphql_type_required(&t) && json_is_null(j))
		return refuse(rd, t, "null is not allowed");
	if (json_is_null(j)) {
		*ret = json_null();
		return 0;
	}
	if (++rd->depth > SONDE_GRAPHQL_DEPTH_MAX)
		return refuse(rd, t, "the value is nested too deep");
	item = t;
	if (sonde_graphql_type_list(&item)) {
		r = json_list(rd, item, j, ret);
	} else if (!(def = sonde_graphql_schema_find(rd->scope->schema, t))) {
		r = json_leaf(rd, t, j, ret);
	} else if (def->inputs) {
		r = json_object_value(rd, def, t, j, ret);
	} else if (has_value(def, json_string_value(j))) {
		*ret = json_incref((json_t *)j);
		r = 0;
	} else {
		r = refuse(rd, t, "no such value of the enum");
	}
	rd->depth--;
	return r;
}

/* --- literals --- */

static int check_literal(struct reading *rd, struct sonde_graphql_type t,
			 const struct sonde_graphql_value *v, json_t **ret);

static int take(json_t *j, json_t **ret)
{
	*ret = j;
	return j ? 0 : -ENOMEM;
}

static int literal_number(struct reading *rd, struct sonde_graphql_type t,
			  const struct sonde_graphql_value *v, json_t **ret)
{
	int64_t whole;
	double number;

	if (is(t, "Float")) {
		if (sonde_parse_double(v->text, &number) < 0 || !isfinite(number))
			return refuse(rd, t, "the number is too large");
		return take(json_real(number), ret);
	}
	if (v->kind != SONDE_GRAPHQL_INT)
		return refuse(rd, t, "the value does not fit");
	if (is(t, "ID"))
		return take(json_string(v->text), ret);
	if (!is(t, "Int") && !is(t, "Long"))
		return refuse(rd, t, "the value does not fit");
	if (sonde_parse_i64(v->text, is(t, "Int") ? INT32_MIN : INT64_MIN,
			    is(t, "Int") ? INT32_MAX : INT64_MAX, &whole) < 0)
		return refuse(rd, t, "the number is too large");
	return take(json_integer(whole), ret);
}

static int literal_leaf(struct reading *rd, struct sonde_graphql_type t,
			const struct sonde_graphql_value *v, json_t **ret)
{
	if (v->kind == SONDE_GRAPHQL_INT || v->kind == SONDE_GRAPHQL_FLOAT)
		return literal_number(rd, t, v, ret);
	if (v->kind == SONDE_GRAPHQL_STRING && (is(t, "String") || is(t, "ID")))
		return take(json_string(v->text), ret);
	if (v->kind == SONDE_GRAPHQL_BOOLEAN && is(t, "Boolean"))
		return take(json_boolean(strcmp(v->text, "true") == 0), ret);
	return refuse(rd, t, "the value does not fit");
}

static int literal_list(struct reading *rd, struct sonde_graphql_type item,
			const struct sonde_graphql_value *v, json_t **ret)
{
	json_t *list = json_array(), *one = NULL;
	int r = list ? 0 : -ENOMEM;

	if (r == 0 && v->kind != SONDE_GRAPHQL_LIST) { /* one value stands for a list of it */
		r = check_literal(rd, item, v, &one);
		if (r == 0 && json_array_append_new(list, one) < 0)
			r = -ENOMEM;
	}
	for (const struct sonde_graphql_argument *a = v->kind == SONDE_GRAPHQL_LIST ? v->members
										    : NULL;
	     a && r == 0; a = a->next) {
		r = check_literal(rd, item, &a->value, &one);
		if (r == 0 && json_array_append_new(list, one) < 0)
			r = -ENOMEM;
	}
	return give(r, list, ret);
}

/* Is it a variable that was given no value, and has none by default? Then it is as if it were not written. */
static bool is_missing(const struct graphql_scope *s, const struct sonde_graphql_value *v)
{
	const struct sonde_graphql_variable *variable;

	if (v->kind != SONDE_GRAPHQL_VARIABLE)
		return false;
	variable = find_variable(s, v->text);
	return variable && !variable->has_default && !json_object_get(s->variables, v->text);
}

static int read_members(struct reading *rd, const struct sonde_graphql_argument_def *defs,
			const struct sonde_graphql_argument *given, const char *what,
			json_t *object)
{
	int r = 0;

	for (; given && r == 0; given = given->next) {
		const struct sonde_graphql_argument_def *d = find_input(defs, given->name);
		json_t *one = NULL;

		rd->name = given->name;
		rd->at = given->at;
		if (!d)
			return graphql_fail(rd->scope->error, given->at,
					    "%.100s has no argument '%.100s'", what, given->name);
		if (is_missing(rd->scope, &given->value)) {
			r = spend(rd, 1);
			continue;
		}
		r = check_literal(rd, sonde_graphql_type(d->type), &given->value, &one);
		if (r == 0)
			r = set(object, given->name, one);
	}
	return r;
}

static int literal_object(struct reading *rd, const struct sonde_graphql_type_def *def,
			  struct sonde_graphql_type t, const struct sonde_graphql_value *v,
			  json_t **ret)
{
	struct reading inner = *rd;
	json_t *object;
	int r;

	if (v->kind != SONDE_GRAPHQL_OBJECT)
		return refuse(rd, t, "the value does not fit");
	object = json_object();
	r = object ? read_members(&inner, def->inputs, v->members, def->name, object) : -ENOMEM;
	if (r == 0)
		r = check_required(rd, def->inputs, LACKS_FIELD, object);
	return give(r, object, ret);
}

static int variable_value(struct reading *rd, struct sonde_graphql_type t, const char *name,
			  json_t **ret)
{
	const struct sonde_graphql_variable *v = find_variable(rd->scope, name);
	const json_t *given = json_object_get(rd->scope->variables, name);

	if (!v)
		return graphql_fail(rd->scope->error, rd->at, "variable $%.100s is not defined",
				    name);
	if (given)
		return check_json(rd, t, given, ret);
	if (v->has_default)
		return check_literal(rd, t, &v->fallback, ret);
	/* Within a list it cannot be left out. */
	return check_json(rd, t, json_null(), ret);
}

static int check_literal(struct reading *rd, struct sonde_graphql_type t,
			 const struct sonde_graphql_value *v, json_t **ret)
{
	const struct sonde_graphql_type_def *def;
	struct sonde_graphql_type item;
	/* Unlike a text of JSON, that of a literal is copied. */
	int r = spend(rd, v->kind == SONDE_GRAPHQL_STRING ? 1 + strlen(v->text) / TEXT_BYTES : 1);

	if (r < 0)
		return r;
	if (v->kind == SONDE_GRAPHQL_VARIABLE)
		return variable_value(rd, t, v->text, ret);
	if (sonde_graphql_type_required(&t) && v->kind == SONDE_GRAPHQL_NULL)
		return refuse(rd, t, "null is not allowed");
	if (v->kind == SONDE_GRAPHQL_NULL)
		return take(json_null(), ret);
	item = t;
	if (sonde_graphql_type_list(&item))
		return literal_list(rd, item, v, ret);
	def = sonde_graphql_schema_find(rd->scope->schema, t);
	if (!def)
		return literal_leaf(rd, t, v, ret);
	if (def->inputs)
		return literal_object(rd, def, t, v, ret);
	if (v->kind != SONDE_GRAPHQL_ENUM || !has_value(def, v->text))
		return refuse(rd, t, "no such value of the enum");
	return take(json_string(v->text), ret);
}

int graphql_coerce_arguments(struct graphql_scope *s, const struct sonde_graphql_argument_def *defs,
			     const struct sonde_graphql_argument *given, const char *what,
			     struct sonde_graphql_location at, json_t **ret)
{
	struct reading rd = {.scope = s, .name = what, .at = at};
	json_t *object = json_object();
	int r = object ? read_members(&rd, defs, given, what, object) : -ENOMEM;

	rd.name = what;
	rd.at = at;
	if (r == 0)
		r = check_required(&rd, defs, "needs the argument", object);
	return give(r, object, ret);
}

/* The types of the other names are the arguments' question, where they are used. */
int graphql_check_variables(struct graphql_scope *s)
{
	for (const struct sonde_graphql_variable *v = s->operation->variables; v; v = v->next) {
		const json_t *given = json_object_get(s->variables, v->name);
		const struct sonde_graphql_type_def *def =
			sonde_graphql_schema_named(s->schema, v->type);

		if (def && def->fields)
			return graphql_fail(s->error, v->at,
					    "variable $%.100s cannot have the type %.100s", v->name,
					    v->type);
		if (v->type[strlen(v->type) - 1] != '!')
			continue;
		if (given ? json_is_null(given) : !v->has_default)
			return graphql_fail(s->error, v->at, "variable $%.100s needs a value",
					    v->name);
	}
	return 0;
}
