/* SPDX-License-Identifier: Apache-2.0 */
/* Topology: nodes and edges of a task, from the totals of its sonde_net_* series. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backend/json.h"
#include "backend/query/service.h"
#include "backend/query/side.h"
#include "backend/query/views.h"
#include "backend/query/walk.h"

struct edge {
	char id[SONDE_EDGE_ID_MAX];
	char client[SONDE_NODE_ID_MAX], server[SONDE_NODE_ID_MAX]; /* node ids */
	int64_t port;
	bool udp;
	struct sonde_side client_side, server_side;
	UT_hash_handle hh;
};

struct node {
	char id[SONDE_NODE_ID_MAX];
	char process_id[SONDE_NODE_ID_MAX]; /* one that led to it */
	bool target;
	UT_hash_handle hh;
};

struct topology {
	struct sonde_backend *backend;
	struct edge *edges;
	struct node *nodes;
	enum sonde_meter meter; /* of the series being walked */
	enum sonde_topology_by by;
	json_t *hosts; /* process id -> host; of SONDE_TOPOLOGY_NODE; owned */
};

static void topology_done(struct topology *tp)
{
	json_decref(tp->hosts);
	struct edge *e, *e_next;
	struct node *n, *n_next;

	HASH_ITER (hh, tp->edges, e, e_next) {
		HASH_DEL(tp->edges, e);
		sonde_side_done(&e->client_side);
		sonde_side_done(&e->server_side);
		free(e);
	}
	HASH_ITER (hh, tp->nodes, n, n_next) {
		HASH_DEL(tp->nodes, n);
		free(n);
	}
}

static int note_node(struct topology *tp, const char *id, const char *process_id, bool target)
{
	struct node *n;

	HASH_FIND_STR(tp->nodes, id, n);
	if (!n) {
		n = calloc(1, sizeof(*n));
		if (!n)
			return -ENOMEM;
		(void)snprintf(n->id, sizeof(n->id), "%s", id);
		(void)snprintf(n->process_id, sizeof(n->process_id), "%s", process_id);
		HASH_ADD_STR(tp->nodes, id, n);
		if (!SONDE_HASH_ADDED(n)) {
			free(n);
			return -ENOMEM;
		}
	}
	n->target = n->target || target;
	return 0;
}

/* What is put together under one name has the id "service:web", "instance:web/pod-1", "node:n1". */
static void group_id(const struct topology *tp, const char *process_id, const char *node,
		     char ret[static SONDE_NODE_ID_MAX])
{
	const struct sonde_entity *e =
		sonde_registry_find_entity(tp->backend->registry, process_id);
	const char *host = sonde_json_get_text(tp->hosts, process_id, "");

	(void)snprintf(ret, SONDE_NODE_ID_MAX, "%s", node);
	if (!e || e->kind != SONDE_ENTITY_PROCESS)
		return;
	if (tp->by == SONDE_TOPOLOGY_SERVICE)
		(void)snprintf(ret, SONDE_NODE_ID_MAX, "service:%s", e->service);
	else if (tp->by == SONDE_TOPOLOGY_INSTANCE)
		(void)snprintf(ret, SONDE_NODE_ID_MAX, "instance:%.250s/%.250s", e->service,
			       e->instance);
	else if (tp->by == SONDE_TOPOLOGY_NODE && host[0] != '\0')
		(void)snprintf(ret, SONDE_NODE_ID_MAX, "node:%s", host);
}

static int find_hosts(struct topology *tp)
{
	tp->hosts = json_object();
	if (!tp->hosts)
		return -ENOMEM;
	for (struct sonde_process *p = sonde_registry_processes(tp->backend->registry); p;
	     p = p->hh.next) {
		if (sonde_json_set(tp->hosts, p->process_id,
				   sonde_json_text(sonde_view_agent_host(p->agent))) < 0)
			return -ENOMEM;
	}
	return 0;
}

/* Of several ends together: what adds up, the smallest, the largest; a mean of means would be none. */
static bool is_of_groups(enum sonde_meter meter)
{
	switch (meter) {
	case SONDE_METER_RTT_MIN:
	case SONDE_METER_RTT_MAX:
	case SONDE_METER_CONNECTIONS_OPEN:
	case SONDE_METER_DELIVERY_APP_LIMITED:
		return true;
	default:
		return sonde_meter_info(meter)->kind != SONDE_METER_KIND_GAUGE;
	}
}

static int add_value(struct topology *tp, struct sonde_side *s, const struct sonde_walk_value *v)
{
	enum sonde_meter m = tp->meter;

	if (tp->by != SONDE_TOPOLOGY_PROCESS) {
		s->present = true;
		if (!is_of_groups(m))
			return 0;
		if (s->have[m] && m == SONDE_METER_RTT_MIN) {
			s->value[m] = v->value < s->value[m] ? v->value : s->value[m];
			return 0;
		}
		if (s->have[m] && m == SONDE_METER_RTT_MAX) {
			s->value[m] = v->value > s->value[m] ? v->value : s->value[m];
			return 0;
		}
	}
	return sonde_side_add(s, m, v->labels, v->bucket, v->value);
}

static int get_edge(struct topology *tp, const struct sonde_walk_value *v, struct edge **ret)
{
	struct edge *e;
	size_t n = strspn(v->port, "0123456789");

	HASH_FIND_STR(tp->edges, v->edge, e);
	if (!e) {
		e = calloc(1, sizeof(*e));
		if (!e)
			return -ENOMEM;
		(void)snprintf(e->id, sizeof(e->id), "%s", v->edge);
		(void)snprintf(e->client, sizeof(e->client), "%s", v->client_node);
		(void)snprintf(e->server, sizeof(e->server), "%s", v->server_node);
		e->udp = sonde_protocol_is_udp(v->protocol);
		for (size_t i = 0; i < n && i < 5; i++)
			e->port = e->port * 10 + (v->port[i] - '0');
		HASH_ADD_STR(tp->edges, id, e);
		if (!SONDE_HASH_ADDED(e)) {
			free(e);
			return -ENOMEM;
		}
	}
	*ret = e;
	return 0;
}

static int take_value(struct topology *tp, const struct sonde_walk_value *v)
{
	bool is_server = strcmp(v->side, "server") == 0;
	struct edge *e;
	int r;

	r = get_edge(tp, v, &e);
	if (r == 0)
		r = note_node(tp, v->client_node, v->client, !is_server);
	if (r == 0)
		r = note_node(tp, v->server_node, v->server, is_server);
	if (r == 0)
		r = add_value(tp, is_server ? &e->server_side : &e->client_side, v);
	return r;
}

static int on_value(void *ctx, const struct sonde_walk_value *v)
{
	char client[SONDE_NODE_ID_MAX], server[SONDE_NODE_ID_MAX], id[SONDE_EDGE_ID_MAX];
	struct sonde_walk_value of_group = *v;
	struct topology *tp = ctx;
	int r;

	if (!v->is_edge || v->edge[0] == '\0')
		return 0;
	if (tp->by == SONDE_TOPOLOGY_PROCESS)
		return take_value(tp, v);
	group_id(tp, v->client, v->client_node, client);
	group_id(tp, v->server, v->server_node, server);
	r = sonde_edge_id(client, server, v->port, v->protocol, id);
	if (r < 0)
		return r;
	of_group.client_node = client;
	of_group.server_node = server;
	of_group.edge = id;
	return take_value(tp, &of_group);
}

/*
 * The meter that a metric shows: the one of its name, or the only one that its rule reads if no metric has
 * the meter's own name. So a second rule over a meter does not count twice.
 */
static int meter_of(struct sonde_backend *b, const char *metric, enum sonde_meter *ret)
{
	const struct sonde_meter_info *info = sonde_meter_find(metric);
	const struct sonde_mal_rule *rule;

	if (!info) {
		rule = sonde_ingest_find_rule(b->ingest, metric);
		if (!rule || rule->n_sources != 1 ||
		    sonde_ingest_find_rule(b->ingest, rule->sources[0]))
			return -ENOENT;
		info = sonde_meter_find(rule->sources[0]);
	}
	for (unsigned m = 0; info && m < _SONDE_METER_MAX; m++) {
		if (sonde_meter_info(m) == info ||
		    strcmp(sonde_meter_info(m)->name, info->name) == 0) {
			*ret = m;
			return 0;
		}
	}
	return -ENOENT;
}

static int collect(struct topology *tp, struct sonde_series_set *set)
{
	int r;

	for (struct sonde_series *s = set->series; s; s = s->hh.next) {
		_cleanup_(sonde_mal_accumulator_freep) struct sonde_mal_accumulator *total = NULL;

		if (meter_of(tp->backend, s->metric, &tp->meter) < 0)
			continue;
		r = sonde_series_total(s, &total);
		if (r == 0)
			r = sonde_walk_held(tp->backend->registry, s, total, on_value, tp);
		if (r < 0 && r != -ENODATA)
			return r;
	}
	return 0;
}

static json_t *absent_of(const struct sonde_task *t)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < t->n_agents; i++) {
		if (t->agents[i]->absent)
			(void)json_array_extend(list, t->agents[i]->absent);
	}
	return list;
}

/* Gauges that no group has, with the reason. */
static int add_absent_of_groups(json_t *list)
{
	for (unsigned m = 0; m < _SONDE_METER_MAX; m++) {
		if (is_of_groups(m))
			continue;
		if (sonde_json_append(list,
				      json_pack("{s:s, s:s}", "meter", sonde_meter_info(m)->name,
						"reason", "not of several put together")) < 0)
			return -ENOMEM;
	}
	return 0;
}

static json_t *node_json(const struct topology *tp, const struct node *n)
{
	static const char *const kinds[] = {"process", "instance", "service", "node"};
	const struct sonde_entity *e =
		sonde_registry_find_entity(tp->backend->registry, n->process_id);
	const char *rest = strchr(n->id, ':');
	bool of_service = tp->by != SONDE_TOPOLOGY_NODE;

	_Static_assert(ELEMENTS_OF(kinds) == _SONDE_TOPOLOGY_BY_MAX, "a name for each");
	if (tp->by == SONDE_TOPOLOGY_PROCESS || !e || e->kind != SONDE_ENTITY_PROCESS || !rest ||
	    strncmp(n->id, kinds[tp->by], strlen(kinds[tp->by])) != 0)
		return sonde_node_json(tp->backend->registry, n->process_id, n->target);
	return json_pack("{s:o, s:s, s:o, s:o, s:n, s:o, s:b}", "id", sonde_json_text(n->id),
			 "kind", kinds[tp->by], "service",
			 of_service ? sonde_json_text(e->service) : json_null(), "instance",
			 tp->by == SONDE_TOPOLOGY_INSTANCE ? sonde_json_text(e->instance)
							   : json_null(),
			 "process", "address", of_service ? json_null() : sonde_json_text(rest + 1),
			 "target", (int)n->target);
}

static int by_id(struct node *a, struct node *b)
{
	return strcmp(a->id, b->id);
}

static int by_ends(struct edge *a, struct edge *b)
{
	int c = strcmp(a->client, b->client);

	c = c ? c : strcmp(a->server, b->server);
	c = c ? c : (int)a->udp - (int)b->udp;
	return c ? c : (a->port > b->port) - (a->port < b->port);
}

static json_t *edge_json(const struct edge *e, const json_t *absent,
			 struct sonde_service_search *search)
{
	json_t *(*side_json)(const struct sonde_side *s, const json_t *absent) =
		e->udp ? sonde_side_udp_json : sonde_side_json;
	json_t *service = NULL;

	if (sonde_edge_service(search, e->server, (int64_t)e->port, &service) < 0)
		return NULL;
	return json_pack("{s:s, s:o, s:o, s:I, s:s, s:o, s:o, s:o}", "id", e->id, "client",
			 sonde_json_text(e->client), "server", sonde_json_text(e->server), "port",
			 (json_int_t)e->port, "protocol", e->udp ? "udp" : "tcp", "client_side",
			 side_json(&e->client_side, absent), "server_side",
			 side_json(&e->server_side, absent), "service", service);
}

static json_t *build(struct topology *tp, const struct sonde_task *t)
{
	_cleanup_json_ json_t *nodes = json_array(), *edges = json_array(), *absent = absent_of(t);
	int64_t start = t->window_start_ms ? t->window_start_ms : t->started_ms;
	struct sonde_service_search search = {.backend = tp->backend, .task = t};
	int r = nodes && edges && absent ? 0 : -ENOMEM;

	if (r == 0 && tp->by != SONDE_TOPOLOGY_PROCESS)
		r = add_absent_of_groups(absent);
	HASH_SORT(tp->nodes, by_id);
	HASH_SORT(tp->edges, by_ends);
	for (struct node *n = tp->nodes; n && r == 0; n = n->hh.next)
		r = sonde_json_append(nodes, node_json(tp, n));
	for (struct edge *e = tp->edges; e && r == 0; e = e->hh.next)
		r = sonde_json_append(edges, edge_json(e, absent, &search));
	if (r < 0)
		return NULL;
	return json_pack("{s:s, s:{s:o, s:o}, s:O, s:O}", "task", t->spec->id, "window", "start",
			 sonde_json_time(start), "end", sonde_json_time(t->window_end_ms), "nodes",
			 nodes, "edges", edges);
}

json_t *sonde_view_topology(struct sonde_backend *b, const struct sonde_task *t,
			    struct sonde_series_set *set)
{
	return sonde_view_topology_by(b, t, set, SONDE_TOPOLOGY_PROCESS);
}

json_t *sonde_view_topology_by(struct sonde_backend *b, const struct sonde_task *t,
			       struct sonde_series_set *set, enum sonde_topology_by by)
{
	_cleanup_(topology_done) struct topology tp = {.backend = b, .by = by};

	if (by == SONDE_TOPOLOGY_NODE && find_hosts(&tp) < 0)
		return NULL;
	if (collect(&tp, set) < 0)
		return NULL;
	return build(&tp, t);
}
