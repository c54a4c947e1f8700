/* SPDX-License-Identifier: Apache-2.0 */
/* What a client asks before anything else: version, time, health, layers, menu, dashboards. */
#include <errno.h>
#include <string.h>

#include "backend/json.h"
#include "backend/oap/fields.h"

/* swctl takes the dialect from the first two numbers. The protocol's version is OAP's, behind it is ours. */
#define OAP_VERSION "10.1.0"
#define DAY_MS (24ULL * 60 * 60 * 1000)
#define NO_STAGE (-1) /* OAP's word for a store without a cold one */
/* The one that has a page of its own in SkyWalking's UI. */
#define LAYER_KUBERNETES "K8S_SERVICE"

int graphql_version(struct graphql_ask *a, json_t **ret)
{
	return graphql_give(json_string(OAP_VERSION "-sonde-" SONDE_VERSION), ret);
}

/* Windows are read as UTC, whatever zone the machine is in. */
int graphql_time_info(struct graphql_ask *a, json_t **ret)
{
	return graphql_give(json_pack("{s:s, s:I}", "timezone", "+0000", "currentTimestamp",
				      (json_int_t)a->now_ms),
			    ret);
}

int graphql_health(struct graphql_ask *a, json_t **ret)
{
	bool draining = a->backend->draining;

	return graphql_give(json_pack("{s:i, s:s}", "score", draining ? 1 : 0, "details",
				      draining ? "the server is going away" : ""),
			    ret);
}

static json_int_t days(uint64_t ms)
{
	return (json_int_t)((ms + DAY_MS - 1) / DAY_MS); /* begun ones too */
}

/* A UI of 10.2 and later asks on each page, and shows an error where it gets none. */
int graphql_metrics_ttl(struct graphql_ask *a, json_t **ret)
{
	json_int_t minutes = days(a->backend->config.keep_minutes_ms);
	json_int_t tasks = days(a->backend->config.retention_ms); /* with their hours */

	return graphql_give(json_pack("{s:I, s:I, s:I, s:I, s:i, s:i, s:i}", "metadata", tasks,
				      "minute", minutes, "hour", tasks, "day", tasks, "coldMinute",
				      NO_STAGE, "coldHour", NO_STAGE, "coldDay", NO_STAGE),
			    ret);
}

/* There are no traces and no logs here. */
int graphql_records_ttl(struct graphql_ask *a, json_t **ret)
{
	return graphql_give(json_pack("{s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i}",
				      "normal", 0, "trace", 0, "zipkinTrace", 0, "log", 0,
				      "browserErrorLog", 0, "coldNormal", NO_STAGE, "coldTrace",
				      NO_STAGE, "coldZipkinTrace", NO_STAGE, "coldLog", NO_STAGE,
				      "coldBrowserErrorLog", NO_STAGE),
			    ret);
}

int graphql_traces_v2(struct graphql_ask *a, json_t **ret)
{
	return graphql_give(json_false(), ret);
}

/* None: there are no alarm rules here. A page's bell asks on each page. */
int graphql_alarms(struct graphql_ask *a, json_t **ret)
{
	return graphql_give(json_pack("{s:[]}", "msgs"), ret);
}

/* Kubernetes always: a UI without an active item shows its marketplace. */
static json_t *shown_layers(struct graphql_ask *a)
{
	size_t left; /* GET /api/v1/server tells */
	_cleanup_json_ json_t *others = graphql_layer_set(a->backend, &left);
	json_t *list = json_pack("[s]", LAYER_KUBERNETES), *value;
	const char *layer;

	if (!others || !list)
		return NULL;
	json_object_foreach(others, layer, value)
	{
		if (strcmp(layer, LAYER_KUBERNETES) != 0 &&
		    json_array_append_new(list, json_string(layer)) < 0) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

static json_t *item_json(const char *title, const char *icon, const char *layer, const char *words,
			 const char *key, json_t *items)
{
	return json_pack("{s:s, s:s, s:s, s:b, s:s, s:s, s:s, s:o}", "title", title, "icon", icon,
			 "layer", layer, "activate", 1, "description", words, "documentLink", "",
			 "i18nKey", key, "subItems", items ? items : json_array());
}

/* A menu's item with the one page that it leads to. */
static json_t *item_with_page(const char *title, const char *icon, const char *words,
			      const char *key, const char *layer)
{
	json_t *page =
		item_json("Service", "", layer, "Network profiling.", "kubernetes_service", NULL);

	return item_json(title, icon, "", words, key, json_pack("[o]", page));
}

static json_t *layer_item(const char *layer)
{
	bool kubernetes = strcmp(layer, LAYER_KUBERNETES) == 0;

	return item_with_page(
		kubernetes ? "Kubernetes" : layer, kubernetes ? "kubernetes" : "linux",
		kubernetes ? "Services and pods that run in Kubernetes." : "Processes of hosts.",
		kubernetes ? "kubernetes" : layer, layer);
}

int graphql_menu(struct graphql_ask *a, json_t **ret)
{
	_cleanup_json_ json_t *layers = shown_layers(a), *items = json_array();
	int r = layers && items ? 0 : -ENOMEM;

	for (size_t i = 0; i < json_array_size(layers) && r == 0; i++)
		r = sonde_json_append(items,
				      layer_item(json_string_value(json_array_get(layers, i))));
	return r < 0 ? r : graphql_give(json_incref(items), ret);
}

static int add_templates(struct graphql_ask *a, json_t *rows, const char *only)
{
	_cleanup_json_ json_t *layers = shown_layers(a);
	int r = layers ? 0 : -ENOMEM;

	for (size_t i = 0; i < json_array_size(layers) && r == 0; i++)
		r = graphql_templates_add(rows, json_string_value(json_array_get(layers, i)), only);
	return r;
}

int graphql_templates(struct graphql_ask *a, json_t **ret)
{
	_cleanup_json_ json_t *rows = json_array();
	int r = rows ? add_templates(a, rows, NULL) : -ENOMEM;

	return r < 0 ? r : graphql_give(json_incref(rows), ret);
}

int graphql_template(struct graphql_ask *a, json_t **ret)
{
	_cleanup_json_ json_t *rows = json_array();
	int r = rows ? add_templates(a, rows, graphql_text(a, "id")) : -ENOMEM;
	json_t *row = json_array_get(rows, 0);

	return r < 0 ? r : graphql_give(row ? json_incref(row) : json_null(), ret);
}

int graphql_layers(struct graphql_ask *a, json_t **ret)
{
	return graphql_give(shown_layers(a), ret);
}

int graphql_layer_levels(struct graphql_ask *a, json_t **ret)
{
	_cleanup_json_ json_t *layers = shown_layers(a), *rows = json_array();
	int r = layers && rows ? 0 : -ENOMEM;

	for (size_t i = 0; i < json_array_size(layers) && r == 0; i++)
		r = sonde_json_append(rows, json_pack("{s:O, s:i}", "layer",
						      json_array_get(layers, i), "level", 1));
	return r < 0 ? r : graphql_give(json_incref(rows), ret);
}
