/* SPDX-License-Identifier: Apache-2.0 */
/*
 * getProcessTopology: who talks to whom in the tasks of one instance. By the sonde_net_* series where a task has some:
 * they know each peer by its address; else by SkyWalking's own, where such a peer is UNKNOWN_LOCAL or UNKNOWN_REMOTE.
 */
#include <errno.h>
#include <string.h>

#include "backend/ingest/entity.h"
#include "backend/json.h"
#include "backend/oap/fields.h"

#define OWN "sonde_net_"
#define OWN_UDP "sonde_net_udp_"
#define THEIRS "process_relation_"
#define THEIRS_HTTP "process_relation_http1_"
#define FRESH_MS (30LL * 1000) /* a task younger than this may still get its first edge */

struct call {
	char id[2 * SONDE_MAL_PROCESS_ID_SIZE];
	const struct sonde_entity *source, *target; /* the registry's */
	bool client, server;			    /* seen from */
	bool tcp, udp, http;
	UT_hash_handle hh;
};

struct topology {
	struct graphql_ask *ask;
	struct graphql_names names;
	struct call *calls;
	json_t *nodes, *seen;
};

static void topology_done(struct topology *tp)
{
	struct call *c, *next;

	HASH_ITER (hh, tp->calls, c, next) {
		HASH_DEL(tp->calls, c);
		free(c);
	}
	json_decref(tp->nodes);
	json_decref(tp->seen);
}

static bool is_of_instance(const struct topology *tp, const struct sonde_entity *e)
{
	return strcmp(e->instance, tp->names.instance) == 0 &&
	       strcmp(e->service, tp->names.service) == 0;
}

static int get_call(struct topology *tp, const struct sonde_entity_parts *p, struct call **ret)
{
	struct sonde_registry *registry = tp->ask->backend->registry;
	const struct sonde_entity *source = sonde_registry_find_entity(registry, p->part[1]);
	const struct sonde_entity *target = sonde_registry_find_entity(registry, p->part[2]);
	char id[2 * SONDE_MAL_PROCESS_ID_SIZE];
	struct call *c;

	*ret = NULL;
	/* Without a name it can be no node, and a call to what is no node breaks the page. */
	if (!source || !target || (!is_of_instance(tp, source) && !is_of_instance(tp, target)))
		return 0;
	(void)snprintf(id, sizeof(id), "%s-%s", source->id, target->id);
	HASH_FIND_STR(tp->calls, id, c);
	if (!c) {
		c = calloc(1, sizeof(*c));
		if (!c)
			return -ENOMEM;
		memcpy(c->id, id, sizeof(id));
		c->source = source;
		c->target = target;
		HASH_ADD_STR(tp->calls, id, c);
		if (!SONDE_HASH_ADDED(c)) {
			free(c);
			return -ENOMEM;
		}
	}
	*ret = c;
	return 0;
}

static bool begins(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

static int note_series(struct topology *tp, const struct sonde_series *s)
{
	struct sonde_entity_parts parts;
	struct call *c;
	int r;

	sonde_entity_split(s->entity, &parts);
	if (!sonde_entity_is_process_relation(&parts))
		return 0;
	r = get_call(tp, &parts, &c);
	if (r < 0 || !c)
		return r;
	if (strcmp(parts.part[3], "server") == 0)
		c->server = true;
	else
		c->client = true;
	if (begins(s->metric, OWN_UDP))
		c->udp = true;
	else if (begins(s->metric, THEIRS_HTTP))
		c->http = true;
	else
		c->tcp = true;
	return 0;
}

static bool has_own(const struct sonde_series_set *set)
{
	for (const struct sonde_series *s = set->series; s; s = s->hh.next) {
		if (begins(s->metric, OWN))
			return true;
	}
	return false;
}

static int note_set(struct topology *tp, const struct sonde_series_set *set)
{
	const char *prefix = has_own(set) ? OWN : THEIRS;
	int r = 0;

	for (const struct sonde_series *s = set->series; s && r == 0; s = s->hh.next) {
		/* HTTP is in SkyWalking's set alone, and between processes that have names. */
		if (begins(s->metric, prefix) || begins(s->metric, THEIRS_HTTP))
			r = note_series(tp, s);
	}
	return r;
}

static int note_task(struct topology *tp, const char *task)
{
	struct sonde_series_set *set = NULL;
	int r = sonde_series_table_get_totals(tp->ask->backend->series, task, tp->ask->now_ms,
					      &set);

	return r < 0 ? r : note_set(tp, set);
}

static int add_node(struct topology *tp, const struct sonde_entity *e)
{
	_cleanup_free_ char *service = NULL, *instance = NULL;

	if (json_object_get(tp->seen, e->id))
		return 0;
	if (json_object_set_new(tp->seen, e->id, json_true()) < 0 ||
	    sonde_mal_service_id(e->service, &service) < 0 ||
	    sonde_mal_instance_id(e->service, e->instance, &instance) < 0)
		return -ENOMEM;
	return sonde_json_append(
		tp->nodes, json_pack("{s:s, s:o, s:s, s:o, s:s, s:o, s:b}", "id", e->id, "name",
				     sonde_json_text(e->name), "serviceId", service, "serviceName",
				     sonde_json_text(e->service), "serviceInstanceId", instance,
				     "serviceInstanceName", sonde_json_text(e->instance), "isReal",
				     (int)(e->kind == SONDE_ENTITY_PROCESS)));
}

/* SkyWalking's words for what is spoken; it has none for UDP. */
static json_t *components_json(const struct call *c, bool seen)
{
	json_t *list = json_array();

	if (!seen || !list)
		return list;
	if ((c->tcp && json_array_append_new(list, json_string("tcp")) < 0) ||
	    (c->udp && json_array_append_new(list, json_string("udp")) < 0) ||
	    (c->http && json_array_append_new(list, json_string("http")) < 0)) {
		json_decref(list);
		return NULL;
	}
	return list;
}

static json_t *call_json(const struct call *c)
{
	_cleanup_json_ json_t *points = json_array();

	if (!points || (c->client && json_array_append_new(points, json_string("CLIENT")) < 0) ||
	    (c->server && json_array_append_new(points, json_string("SERVER")) < 0))
		return NULL;
	return json_pack("{s:s, s:s, s:o, s:s, s:o, s:O}", "id", c->id, "source", c->source->id,
			 "sourceComponents", components_json(c, c->client), "target", c->target->id,
			 "targetComponents", components_json(c, c->server), "detectPoints", points);
}

static int by_id(struct call *a, struct call *b)
{
	return strcmp(a->id, b->id);
}

static int build(struct topology *tp, json_t **ret)
{
	_cleanup_json_ json_t *calls = json_array();
	int r = calls ? 0 : -ENOMEM;

	HASH_SORT(tp->calls, by_id);
	for (struct call *c = tp->calls; c && r == 0; c = c->hh.next) {
		r = add_node(tp, c->source);
		if (r == 0)
			r = add_node(tp, c->target);
		if (r == 0)
			r = sonde_json_append(calls, call_json(c));
	}
	return r < 0 ? r
		     : graphql_give(json_pack("{s:O, s:O}", "nodes", tp->nodes, "calls", calls),
				    ret);
}

/* Is one of them so new that it may have had no time for an edge? */
static bool is_fresh(const struct graphql_ask *a, struct sonde_task *const *tasks, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (!sonde_task_state_final(tasks[i]->state) &&
		    a->now_ms - graphql_task_start_ms(tasks[i]) < FRESH_MS)
			return true;
	}
	return false;
}

int graphql_topology(struct graphql_ask *a, json_t **ret)
{
	_cleanup_(topology_done) struct topology tp = {
		.ask = a, .nodes = json_array(), .seen = json_object()};
	struct sonde_task *tasks[GRAPHQL_COVER_MAX];
	struct graphql_window w;
	size_t n;
	int r = tp.nodes && tp.seen ? graphql_get_window(a, &w) : -ENOMEM;

	if (r < 0)
		return r;
	if (graphql_names_from_id(graphql_text(a, "serviceInstanceId"), &tp.names) < 0)
		return graphql_refuse(a, "serviceInstanceId: there is no such instance");
	n = graphql_cover(a->backend, &tp.names, &w, tasks);
	for (size_t i = 0; i < n && r == 0; i++)
		r = note_task(&tp, tasks[i]->spec->id);
	if (r < 0)
		return r;
	if (!tp.calls && a->may_wait && is_fresh(a, tasks, n))
		return -EAGAIN;
	return build(&tp, ret);
}
