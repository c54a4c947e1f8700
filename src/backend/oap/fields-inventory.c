/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Services, instances and processes: what agents registered, and behind it the names that are remembered longer,
 * among them the peers that nobody watches: SkyWalking calls those virtual processes.
 */
#include <errno.h>
#include <string.h>

#include "backend/json.h"
#include "backend/oap/fields.h"

/* --- services --- */

static json_t *service_json(const char *name)
{
	_cleanup_free_ char *id = NULL;
	const char *rest = strstr(name, "::");

	if (sonde_mal_service_id(name, &id) < 0)
		return NULL;
	return json_pack(
		"{s:s, s:o, s:o, s:o, s:[], s:b}", "id", id, "name", sonde_json_text(name), "group",
		rest ? json_stringn(name, (size_t)(rest - name)) : json_string(""), "shortName",
		sonde_json_text(rest ? rest + 2 : name), "layers", "normal", 1);
}

static bool holds(const json_t *array, const char *text)
{
	for (size_t i = 0; i < json_array_size(array); i++) {
		if (strcmp(json_string_value(json_array_get(array, i)), text) == 0)
			return true;
	}
	return false;
}

static const char *layer_of(const struct sonde_process *p)
{
	return sonde_json_get_text(p->doc, "layer", "");
}

/* The service's row in @rows, by name; made if it is new. */
static json_t *get_row(json_t *rows, const char *name)
{
	_cleanup_json_ json_t *key = sonde_json_text(name);
	json_t *row = json_object_get(rows, json_string_value(key));

	if (row)
		return row;
	row = service_json(name);
	return row && json_object_set_new(rows, json_string_value(key), row) == 0 ? row : NULL;
}

static int note_layer(json_t *rows, const struct sonde_process *p)
{
	json_t *row = get_row(rows, p->service), *layers = json_object_get(row, "layers");

	if (!layers)
		return -ENOMEM;
	if (layer_of(p)[0] == '\0' || holds(layers, layer_of(p)))
		return 0;
	return sonde_json_append(layers, sonde_json_text(layer_of(p)));
}

/* By name; of the process's own service alone where @only is not NULL. */
static json_t *service_rows(struct sonde_backend *b, const char *only)
{
	json_t *rows = json_object();
	int r = rows ? 0 : -ENOMEM;

	for (struct sonde_process *p = sonde_registry_processes(b->registry); p && r == 0;
	     p = p->hh.next) {
		if (!only || strcmp(only, p->service) == 0)
			r = note_layer(rows, p);
	}
	if (r == 0)
		return rows;
	json_decref(rows);
	return NULL;
}

int graphql_services(struct graphql_ask *a, json_t **ret)
{
	_cleanup_json_ json_t *rows = service_rows(a->backend, NULL), *list = json_array();
	const char *layer = graphql_text(a, "layer"), *group = graphql_text(a, "group"), *key;
	json_t *row;

	if (!rows || !list)
		return -ENOMEM;
	json_object_foreach(rows, key, row)
	{
		if (layer[0] != '\0' && !holds(json_object_get(row, "layers"), layer))
			continue;
		if (group[0] != '\0' && strcmp(sonde_json_get_text(row, "group", ""), group) != 0)
			continue;
		if (json_array_append(list, row) < 0)
			return -ENOMEM;
	}
	return graphql_give(json_incref(list), ret);
}

static bool remembers_service(struct sonde_backend *b, const char *name)
{
	for (const struct sonde_entity *e = sonde_registry_entities(b->registry); e;
	     e = e->hh.next) {
		if (strcmp(e->service, name) == 0)
			return true;
	}
	return false;
}

/* A page of an old task asks for its service: its name is known for longer than its layers. */
static int give_service(struct graphql_ask *a, const char *name, json_t **ret)
{
	_cleanup_json_ json_t *rows = service_rows(a->backend, name);
	json_t *row = json_object_iter_value(json_object_iter(rows));

	if (!rows)
		return -ENOMEM;
	if (row)
		return graphql_give(json_incref(row), ret);
	return graphql_give(remembers_service(a->backend, name) ? service_json(name) : json_null(),
			    ret);
}

int graphql_service(struct graphql_ask *a, json_t **ret)
{
	struct graphql_names names;

	if (graphql_names_from_id(graphql_text(a, "serviceId"), &names) < 0 || names.instance[0])
		return graphql_give(json_null(), ret);
	return give_service(a, names.service, ret);
}

int graphql_find_service(struct graphql_ask *a, json_t **ret)
{
	return give_service(a, graphql_text(a, "serviceName"), ret);
}

json_t *graphql_layer_set(struct sonde_backend *b, size_t *ret_left)
{
	json_t *set = json_object();
	size_t left = 0;

	for (struct sonde_process *p = sonde_registry_processes(b->registry); set && p;
	     p = p->hh.next) {
		_cleanup_json_ json_t *layer = sonde_json_text(layer_of(p));

		if (!layer || json_string_length(layer) == 0 ||
		    json_object_get(set, json_string_value(layer)))
			continue;
		if (json_object_size(set) < GRAPHQL_LAYERS_MAX)
			(void)json_object_set_new(set, json_string_value(layer), json_true());
		else
			left++;
	}
	*ret_left = left;
	return set;
}

/* --- instances --- */

json_t *graphql_instance_json(const char *service, const char *instance)
{
	_cleanup_free_ char *id = NULL;

	if (sonde_mal_instance_id(service, instance, &id) < 0)
		return NULL;
	return json_pack("{s:s, s:o, s:[], s:s, s:s}", "id", id, "name", sonde_json_text(instance),
			 "attributes", "language", "UNKNOWN", "instanceUUID", id);
}

static int note_instance(json_t *seen, json_t *list, const char *service, const char *instance)
{
	_cleanup_json_ json_t *key = sonde_json_text(instance);

	if (!key)
		return -ENOMEM;
	if (instance[0] == '\0' || json_object_get(seen, json_string_value(key)))
		return 0;
	if (json_object_set_new(seen, json_string_value(key), json_true()) < 0)
		return -ENOMEM;
	return sonde_json_append(list, graphql_instance_json(service, instance));
}

int graphql_instances(struct graphql_ask *a, json_t **ret)
{
	_cleanup_json_ json_t *list = json_array(), *seen = json_object();
	struct sonde_registry *registry = a->backend->registry;
	struct graphql_names names;
	int r = list && seen ? 0 : -ENOMEM;

	if (r < 0 || graphql_names_from_id(graphql_text(a, "serviceId"), &names) < 0)
		return r < 0 ? r : graphql_give(json_incref(list), ret);
	for (struct sonde_process *p = sonde_registry_processes(registry); p && r == 0;
	     p = p->hh.next) {
		if (strcmp(p->service, names.service) == 0)
			r = note_instance(seen, list, p->service, p->instance);
	}
	for (const struct sonde_entity *e = sonde_registry_entities(registry); e && r == 0;
	     e = e->hh.next) {
		if (e->kind == SONDE_ENTITY_PROCESS && strcmp(e->service, names.service) == 0)
			r = note_instance(seen, list, e->service, e->instance);
	}
	return r < 0 ? r : graphql_give(json_incref(list), ret);
}

int graphql_instance(struct graphql_ask *a, json_t **ret)
{
	struct graphql_names names;

	if (graphql_names_from_id(graphql_text(a, "instanceId"), &names) < 0 || !names.instance[0])
		return graphql_give(json_null(), ret);
	for (const struct sonde_entity *e = sonde_registry_entities(a->backend->registry); e;
	     e = e->hh.next) {
		if (e->kind == SONDE_ENTITY_PROCESS && strcmp(e->service, names.service) == 0 &&
		    strcmp(e->instance, names.instance) == 0)
			return graphql_give(graphql_instance_json(e->service, e->instance), ret);
	}
	return graphql_give(json_null(), ret);
}

/* --- processes --- */

static json_t *attributes_json(const struct sonde_process *p)
{
	json_t *list = json_array(), *value;
	const char *name;

	if (!p || !list)
		return list;
	json_object_foreach(json_object_get(p->doc, "properties"), name, value)
	{
		if (json_is_string(value) &&
		    json_array_append_new(
			    list, json_pack("{s:s, s:O}", "name", name, "value", value)) < 0) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

static const char *detect_type(const struct sonde_entity *e, const struct sonde_process *p)
{
	if (e->kind != SONDE_ENTITY_PROCESS)
		return "VIRTUAL";
	if (!p)
		return "UNDEFINED"; /* it is gone: nobody says any more how it was found */
	return json_is_true(json_object_get(p->doc, "kubernetes")) ? "KUBERNETES" : "VM";
}

/* @p: as registered, of the pids one; NULL if it is not there any more. */
static json_t *process_json(const struct sonde_entity *e, const struct sonde_process *p)
{
	_cleanup_free_ char *service = NULL, *instance = NULL;
	json_t *labels = p ? json_object_get(p->doc, "labels") : NULL;

	if (sonde_mal_service_id(e->service, &service) < 0 ||
	    sonde_mal_instance_id(e->service, e->instance, &instance) < 0)
		return NULL;
	return json_pack("{s:s, s:o, s:s, s:o, s:s, s:o, s:s, s:s, s:o, s:o}", "id", e->id, "name",
			 sonde_json_text(e->name), "serviceId", service, "serviceName",
			 sonde_json_text(e->service), "instanceId", instance, "instanceName",
			 sonde_json_text(e->instance), "agentId", p ? p->agent->id : "",
			 "detectType", detect_type(e, p), "attributes", attributes_json(p),
			 "labels", json_is_array(labels) ? json_incref(labels) : json_array());
}

json_t *graphql_process_json(const struct sonde_process *p)
{
	struct sonde_entity e = {.kind = SONDE_ENTITY_PROCESS,
				 .service = p->service,
				 .instance = p->instance,
				 .name = p->name};

	memcpy(e.id, p->process_id, sizeof(e.id));
	return process_json(&e, p);
}

/* Of several pids that are one process the first. */
static int add_registered(struct sonde_registry *r, const struct graphql_names *names, json_t *seen,
			  json_t *list)
{
	int rc = 0;

	for (struct sonde_process *p = sonde_registry_processes(r); p && rc == 0; p = p->hh.next) {
		if (strcmp(p->instance, names->instance) != 0 ||
		    strcmp(p->service, names->service) != 0 || json_object_get(seen, p->process_id))
			continue;
		if (json_object_set_new(seen, p->process_id, json_true()) < 0)
			return -ENOMEM;
		rc = sonde_json_append(list, graphql_process_json(p));
	}
	return rc;
}

int graphql_processes(struct graphql_ask *a, json_t **ret)
{
	_cleanup_json_ json_t *list = json_array(), *seen = json_object();
	struct sonde_registry *registry = a->backend->registry;
	struct graphql_names names;
	int r = list && seen ? 0 : -ENOMEM;

	if (r < 0 || graphql_names_from_id(graphql_text(a, "instanceId"), &names) < 0)
		return r < 0 ? r : graphql_give(json_incref(list), ret);
	r = add_registered(registry, &names, seen, list);
	for (const struct sonde_entity *e = sonde_registry_entities(registry); e && r == 0;
	     e = e->hh.next) {
		if (strcmp(e->instance, names.instance) == 0 &&
		    strcmp(e->service, names.service) == 0 && !json_object_get(seen, e->id))
			r = sonde_json_append(list, process_json(e, NULL));
	}
	return r < 0 ? r : graphql_give(json_incref(list), ret);
}

int graphql_process(struct graphql_ask *a, json_t **ret)
{
	const char *id = graphql_text(a, "processId");
	const struct sonde_entity *e = sonde_registry_find_entity(a->backend->registry, id);

	for (struct sonde_process *p = sonde_registry_processes(a->backend->registry); p;
	     p = p->hh.next) {
		if (strcmp(p->process_id, id) == 0)
			return graphql_give(graphql_process_json(p), ret);
	}
	return graphql_give(e ? process_json(e, NULL) : json_null(), ret);
}
