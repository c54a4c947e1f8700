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
};

static void topology_done(struct topology *tp)
{
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

static int on_value(void *ctx, const struct sonde_walk_value *v)
{
	bool is_server = strcmp(v->side, "server") == 0;
	struct topology *tp = ctx;
	struct edge *e;
	int r;

	if (!v->is_edge || v->edge[0] == '\0')
		return 0;
	r = get_edge(tp, v, &e);
	if (r == 0)
		r = note_node(tp, v->client_node, v->client, !is_server);
	if (r == 0)
		r = note_node(tp, v->server_node, v->server, is_server);
	if (r == 0)
		r = sonde_side_add(is_server ? &e->server_side : &e->client_side, tp->meter,
				   v->labels, v->bucket, v->value);
	return r;
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

	HASH_SORT(tp->nodes, by_id);
	HASH_SORT(tp->edges, by_ends);
	for (struct node *n = tp->nodes; n && r == 0; n = n->hh.next)
		r = sonde_json_append(
			nodes, sonde_node_json(tp->backend->registry, n->process_id, n->target));
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
	_cleanup_(topology_done) struct topology tp = {.backend = b};

	if (collect(&tp, set) < 0)
		return NULL;
	return build(&tp, t);
}
