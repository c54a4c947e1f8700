/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/query/topology.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backend/json.h"
#include "backend/query/service.h"
#include "backend/query/views.h"
#include "backend/query/walk.h"

static void free_edges(struct sonde_topology_edge *edges)
{
	struct sonde_topology_edge *e, *next;

	HASH_ITER (hh, edges, e, next) {
		HASH_DEL(edges, e);
		sonde_side_done(&e->client_side);
		sonde_side_done(&e->server_side);
		free(e->rtt.bin);
		free(e);
	}
}

static void topology_done(struct sonde_topology *tp)
{
	struct sonde_topology_node *n, *next;

	if (tp->shown != tp->members)
		free_edges(tp->shown);
	free_edges(tp->members);
	HASH_ITER (hh, tp->nodes, n, next) {
		HASH_DEL(tp->nodes, n);
		free(n);
	}
	json_decref(tp->known);
	json_decref(tp->absent);
	sonde_group_done(&tp->group);
}

static int get_node(struct sonde_topology *tp, const char *id, const char *process_id,
		    struct sonde_topology_node **ret)
{
	struct sonde_topology_node *n;

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
	*ret = n;
	return 0;
}

/* @member: the node that it is without being put together. */
static int note_node(struct sonde_topology *tp, const char *id, const char *member,
		     const char *process_id, bool target)
{
	char key[2 * SONDE_NODE_ID_MAX + 1];
	_cleanup_json_ json_t *name = NULL;
	struct sonde_topology_node *n;
	int r;

	r = get_node(tp, id, process_id, &n);
	if (r < 0)
		return r;
	n->target = n->target || target;
	(void)snprintf(key, sizeof(key), "%s\t%s", member, id);
	name = sonde_json_text(key); /* valid as a key, whatever a sender called itself */
	if (!name)
		return -ENOMEM;
	if (json_object_get(tp->known, json_string_value(name)))
		return 0;
	n->members++;
	return sonde_json_set(tp->known, json_string_value(name), json_true());
}

bool sonde_topology_adds_up(enum sonde_meter meter)
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

static int add_value(enum sonde_meter m, struct sonde_side *s, const struct sonde_walk_value *v,
		     bool together)
{
	if (together) {
		s->present = true;
		if (!sonde_topology_adds_up(m))
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

static int get_edge(struct sonde_topology_edge **table, const struct sonde_walk_value *v,
		    const char *id, const char *client, const char *server,
		    struct sonde_topology_edge **ret)
{
	size_t n = strspn(v->port, "0123456789");
	struct sonde_topology_edge *e;

	HASH_FIND_STR(*table, id, e);
	if (!e) {
		e = calloc(1, sizeof(*e));
		if (!e)
			return -ENOMEM;
		(void)snprintf(e->id, sizeof(e->id), "%s", id);
		(void)snprintf(e->client, sizeof(e->client), "%s", client);
		(void)snprintf(e->server, sizeof(e->server), "%s", server);
		e->udp = sonde_protocol_is_udp(v->protocol);
		for (size_t i = 0; i < n && i < 5; i++)
			e->port = e->port * 10 + (v->port[i] - '0');
		HASH_ADD_STR(*table, id, e);
		if (!SONDE_HASH_ADDED(e)) {
			free(e);
			return -ENOMEM;
		}
	}
	*ret = e;
	return 0;
}

/* Finds or makes the edge that shows @member. */
static int put_together(struct sonde_topology *tp, struct sonde_topology_edge *member,
			const struct sonde_walk_value *v)
{
	char client[SONDE_NODE_ID_MAX], server[SONDE_NODE_ID_MAX], id[SONDE_EDGE_ID_MAX];
	int r;

	if (tp->query->by == SONDE_TOPOLOGY_PROCESS) {
		member->shown = member;
		member->members = 1;
		return 0;
	}
	sonde_group_ends(&tp->group, v, client, server);
	r = sonde_edge_id(client, server, v->port, v->protocol, id);
	if (r == 0)
		r = get_edge(&tp->shown, v, id, client, server, &member->shown);
	if (r == 0)
		member->shown->members++;
	return r;
}

static int on_value(void *ctx, const struct sonde_walk_value *v)
{
	bool is_server = strcmp(v->side, "server") == 0;
	struct sonde_topology *tp = ctx;
	struct sonde_topology_edge *e;
	struct sonde_side *side;
	int r;

	if (!v->is_edge || v->edge[0] == '\0')
		return 0;
	r = get_edge(&tp->members, v, v->edge, v->client_node, v->server_node, &e);
	if (r == 0 && !e->shown)
		r = put_together(tp, e, v);
	if (r < 0)
		return r;
	assert(e->shown);
	side = is_server ? &e->server_side : &e->client_side;
	if (!side->present) { /* each of its values would say the same */
		r = note_node(tp, e->shown->client, v->client_node, v->client, !is_server);
		if (r == 0)
			r = note_node(tp, e->shown->server, v->server_node, v->server, is_server);
	}
	if (r == 0)
		r = add_value(tp->meter, side, v, false);
	if (r < 0 || e->shown == e)
		return r;
	return add_value(tp->meter, is_server ? &e->shown->server_side : &e->shown->client_side, v,
			 true);
}

int sonde_view_meter_of(struct sonde_backend *b, const char *metric, enum sonde_meter *ret)
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

static int collect(struct sonde_topology *tp, struct sonde_series_set *set)
{
	uint32_t seconds;
	int r;

	for (struct sonde_series *s = set->series; s; s = s->hh.next) {
		_cleanup_(sonde_mal_accumulator_freep) struct sonde_mal_accumulator *total = NULL;

		if (sonde_view_meter_of(tp->backend, s->metric, &tp->meter) < 0)
			continue;
		r = sonde_window_total(s, &tp->query->window, &total, &seconds);
		if (r == 0)
			r = sonde_walk_held(tp->backend->registry, s, total, on_value, tp);
		if (r < 0 && r != -ENODATA)
			return r;
	}
	if (tp->query->by == SONDE_TOPOLOGY_PROCESS)
		tp->shown = tp->members;
	return 0;
}

json_t *sonde_topology_absent(const struct sonde_task *t)
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
		if (sonde_topology_adds_up(m))
			continue;
		if (sonde_json_append(list,
				      json_pack("{s:s, s:s}", "meter", sonde_meter_info(m)->name,
						"reason", "not of several put together")) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int by_id(struct sonde_topology_node *a, struct sonde_topology_node *b)
{
	return strcmp(a->id, b->id);
}

static json_t *node_json(const struct sonde_topology *tp, const struct sonde_topology_node *n)
{
	json_t *node = sonde_group_node_json(&tp->group, n->id, n->process_id, n->target);

	if (node &&
	    json_object_set_new(node, "members", json_integer((json_int_t)n->members)) < 0) {
		json_decref(node);
		return NULL;
	}
	return node;
}

static json_t *edge_json(const struct sonde_topology *tp, const struct sonde_topology_edge *e,
			 struct sonde_service_search *search)
{
	json_t *(*side_json)(const struct sonde_side *s, const json_t *absent) =
		e->udp ? sonde_side_udp_json : sonde_side_json;
	json_t *service = NULL;

	if (sonde_edge_service(search, e->server, (int64_t)e->port, &service) < 0)
		return NULL;
	return json_pack("{s:s, s:o, s:o, s:I, s:s, s:I, s:o, s:o, s:o, s:o, s:o}", "id", e->id,
			 "client", sonde_json_text(e->client), "server", sonde_json_text(e->server),
			 "port", (json_int_t)e->port, "protocol", e->udp ? "udp" : "tcp", "members",
			 (json_int_t)e->members, "value",
			 e->valued ? json_integer(e->value) : json_null(), "share",
			 sonde_topology_share(tp, e), "client_side",
			 side_json(&e->client_side, tp->absent), "server_side",
			 side_json(&e->server_side, tp->absent), "service", service);
}

static json_t *build(struct sonde_topology *tp)
{
	_cleanup_json_ json_t *nodes = json_array(), *edges = json_array();
	struct sonde_service_search search = {.backend = tp->backend, .task = tp->task};
	int r = nodes && edges ? 0 : -ENOMEM;

	HASH_SORT(tp->nodes, by_id);
	for (struct sonde_topology_edge *e = tp->shown; e && r == 0; e = e->hh.next) {
		if (!e->hidden)
			r = sonde_json_append(edges, edge_json(tp, e, &search));
	}
	for (struct sonde_topology_node *n = tp->nodes; n && r == 0; n = n->hh.next) {
		if (!n->hidden)
			r = sonde_json_append(nodes, node_json(tp, n));
	}
	if (r < 0)
		return NULL;
	return json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:O, s:O}", "task", tp->task->spec->id,
			 "by", sonde_topology_by_name(tp->query->by), "window",
			 sonde_window_json(&tp->query->window, tp->task), "ranking",
			 sonde_topology_ranking(tp), "totals", sonde_topology_totals(tp), "more",
			 sonde_topology_more(tp), "nodes", nodes, "edges", edges);
}

int sonde_topology(struct sonde_backend *b, const struct sonde_task *t,
		   struct sonde_series_set *set, const struct sonde_topology_query *query,
		   json_t **ret)
{
	_cleanup_(topology_done) struct sonde_topology tp = {
		.backend = b, .task = t, .query = query, .known = json_object()};
	int r;

	r = sonde_group_init(&tp.group, b, t, query->by);
	if (r < 0)
		return r;
	tp.absent = sonde_topology_absent(t);
	if (!tp.known || !tp.absent)
		return -ENOMEM;
	r = collect(&tp, set);
	if (r == 0)
		r = sonde_topology_rank(&tp);
	if (r == 0 && query->by != SONDE_TOPOLOGY_PROCESS)
		r = add_absent_of_groups(tp.absent);
	if (r < 0)
		return r;
	*ret = build(&tp);
	return *ret ? 0 : -ENOMEM;
}

json_t *sonde_view_topology(struct sonde_backend *b, const struct sonde_task *t,
			    struct sonde_series_set *set)
{
	struct sonde_topology_query query = {.by = SONDE_TOPOLOGY_PROCESS};
	json_t *topology = NULL;

	sonde_window_choose(set, 0, 0, _SONDE_SERIES_STEP_MAX, &query.window);
	return sonde_topology(b, t, set, &query, &topology) < 0 ? NULL : topology;
}
