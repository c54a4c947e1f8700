/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/query/group.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backend/json.h"
#include "backend/query/views.h"
#include "backend/services/flows.h"
#include "wire/message.h"

static const char *const names[] = {
	[SONDE_TOPOLOGY_PROCESS] = "process",	[SONDE_TOPOLOGY_INSTANCE] = "instance",
	[SONDE_TOPOLOGY_WORKLOAD] = "workload", [SONDE_TOPOLOGY_SERVICE] = "service",
	[SONDE_TOPOLOGY_NODE] = "node",		[SONDE_TOPOLOGY_IP] = "ip",
};
_Static_assert(ELEMENTS_OF(names) == _SONDE_TOPOLOGY_BY_MAX, "a name for each");

const char *sonde_topology_by_name(enum sonde_topology_by by)
{
	return names[by];
}

/* --- what the agents told of processes --- */

static int find_hosts(struct sonde_group *g)
{
	g->hosts = json_object();
	if (!g->hosts)
		return -ENOMEM;
	for (struct sonde_process *p = sonde_registry_processes(g->backend->registry); p;
	     p = p->hh.next) {
		if (sonde_json_set(g->hosts, p->process_id,
				   sonde_json_text(sonde_view_agent_host(p->agent))) < 0)
			return -ENOMEM;
	}
	return 0;
}

/* The first that a process has of these properties names its workload. */
static const struct {
	const char *property, *by;
} sources[] = {
	{"workload", "workload"},
	{"container_name", "container"},
	{"container_id", "container"},
	{"systemd_unit", "systemd_unit"},
};

static int find_workloads(struct sonde_group *g)
{
	g->workloads = json_object();
	if (!g->workloads)
		return -ENOMEM;
	for (struct sonde_process *p = sonde_registry_processes(g->backend->registry); p;
	     p = p->hh.next) {
		const json_t *properties = json_object_get(p->doc, "properties");
		const char *name = "";
		size_t i;

		for (i = 0; i < ELEMENTS_OF(sources) && name[0] == '\0'; i++)
			name = sonde_json_get_text(properties, sources[i].property, "");
		if (name[0] != '\0' && sonde_json_set(g->workloads, p->process_id,
						      json_pack("[o, s]", sonde_json_text(name),
								sources[i - 1].by)) < 0)
			return -ENOMEM;
	}
	return 0;
}

/* @ret_by: what named it. Without a word of the agent the instance is all that is known. */
static const char *workload_of(const struct sonde_group *g, const char *process_id,
			       const struct sonde_entity *e, const char **ret_by)
{
	const json_t *known = json_object_get(g->workloads, process_id);

	*ret_by = known ? json_string_value(json_array_get(known, 1)) : "instance";
	return known ? json_string_value(json_array_get(known, 0)) : e->instance;
}

/* --- addresses, from the task's flows --- */

static int note_address(struct sonde_group *g, const char *edge, const char *end,
			const char *address)
{
	char key[SONDE_EDGE_ID_MAX + 8];
	const json_t *known;

	if (address[0] == '\0')
		return 0;
	(void)snprintf(key, sizeof(key), "%s %s", edge, end);
	known = json_object_get(g->addresses, key);
	if (known && (json_is_null(known) || strcmp(json_string_value(known), address) == 0))
		return 0;
	return sonde_json_set(g->addresses, key, known ? json_null() : json_string(address));
}

static void node_at(struct sonde_group *g, const char *process_id, const char *address,
		    char ret[static SONDE_NODE_ID_MAX])
{
	if (process_id[0] != '\0')
		sonde_node_id(g->backend->registry, process_id, ret);
	else
		(void)snprintf(ret, SONDE_NODE_ID_MAX, "address:%s", address);
}

static int take_flow(void *ctx, const struct sonde_store_row *row)
{
	_cleanup_(sonde_wire_freep) ProtobufCMessage *message = NULL;
	char local[SONDE_FLOW_ADDRESS_MAX], remote[SONDE_FLOW_ADDRESS_MAX];
	char own[SONDE_NODE_ID_MAX], peer[SONDE_NODE_ID_MAX], edge[SONDE_EDGE_ID_MAX], port[8];
	struct sonde_group *g = ctx;
	const Sonde__V1__Flow *f;
	const void *data;
	uint32_t remote_port;
	bool client, udp;
	size_t n;
	int r;

	data = sonde_store_row_blob(row, 7, &n);
	r = sonde_wire_unpack(&sonde__v1__flow__descriptor, data, n, NULL, &message);
	if (r < 0)
		return r;
	f = (const Sonde__V1__Flow *)message;
	client = f->role == SONDE__V1__FLOW_ROLE__FLOW_ROLE_CLIENT;
	udp = f->protocol == SONDE__V1__FLOW_PROTOCOL__FLOW_PROTOCOL_UDP;
	/* The edge goes to the one that answered, not to a Service's address. */
	sonde_flow_address(f->local_address, local);
	sonde_flow_address(f->backend_address.len ? f->backend_address : f->remote_address, remote);
	remote_port = f->backend_address.len ? f->backend_port : f->remote_port;
	node_at(g, sonde_store_row_text(row, 3), local, own);
	node_at(g, sonde_store_row_text(row, 5), remote, peer);
	(void)snprintf(port, sizeof(port), "%u",
		       (client ? remote_port : f->local_port) % (UINT16_MAX + 1U));
	r = sonde_edge_id(client ? own : peer, client ? peer : own, port, udp ? "udp" : "", edge);
	if (r == 0)
		r = note_address(g, edge, "client", client ? local : remote);
	return r == 0 ? note_address(g, edge, "server", client ? remote : local) : r;
}

static int find_addresses(struct sonde_group *g, const struct sonde_task *t)
{
	g->addresses = json_object();
	if (!g->addresses)
		return -ENOMEM;
	return sonde_store_select(g->backend->store, SONDE_STORE_GET_FLOWS_BY_BYTES, take_flow, g,
				  "titittiiiiiii", t->spec->id, INT64_MAX, "", INT64_MIN, "", "",
				  (int64_t)-1, (int64_t)-1, (int64_t)-1, (int64_t)-1,
				  (int64_t)SONDE_GROUP_FLOWS_MAX, (int64_t)0, (int64_t)0);
}

/* --- groups --- */

int sonde_group_init(struct sonde_group *g, struct sonde_backend *b, const struct sonde_task *t,
		     enum sonde_topology_by by)
{
	*g = (struct sonde_group){.backend = b, .by = by};
	switch (by) {
	case SONDE_TOPOLOGY_WORKLOAD:
		return find_workloads(g);
	case SONDE_TOPOLOGY_NODE:
		return find_hosts(g);
	case SONDE_TOPOLOGY_IP:
		return find_addresses(g, t);
	default:
		return 0;
	}
}

void sonde_group_done(struct sonde_group *g)
{
	json_decref(g->hosts);
	json_decref(g->workloads);
	json_decref(g->addresses);
	*g = (struct sonde_group){0};
}

static const struct sonde_entity *find_process(const struct sonde_group *g, const char *process_id)
{
	const struct sonde_entity *e = sonde_registry_find_entity(g->backend->registry, process_id);

	return e && e->kind == SONDE_ENTITY_PROCESS ? e : NULL;
}

static void group_id(const struct sonde_group *g, const char *process_id, const char *node,
		     char ret[static SONDE_NODE_ID_MAX])
{
	const struct sonde_entity *e = find_process(g, process_id);
	const char *host = sonde_json_get_text(g->hosts, process_id, ""), *by;

	(void)snprintf(ret, SONDE_NODE_ID_MAX, "%s", node);
	if (!e)
		return;
	if (g->by == SONDE_TOPOLOGY_SERVICE)
		(void)snprintf(ret, SONDE_NODE_ID_MAX, "service:%s", e->service);
	else if (g->by == SONDE_TOPOLOGY_INSTANCE)
		(void)snprintf(ret, SONDE_NODE_ID_MAX, "instance:%.250s/%.250s", e->service,
			       e->instance);
	else if (g->by == SONDE_TOPOLOGY_WORKLOAD)
		(void)snprintf(ret, SONDE_NODE_ID_MAX, "workload:%.250s/%.250s", e->service,
			       workload_of(g, process_id, e, &by));
	else if (g->by == SONDE_TOPOLOGY_NODE && host[0] != '\0')
		(void)snprintf(ret, SONDE_NODE_ID_MAX, "node:%s", host);
}

static void address_id(const struct sonde_group *g, const struct sonde_walk_value *v,
		       const char *end, const char *node, char ret[static SONDE_NODE_ID_MAX])
{
	char key[SONDE_EDGE_ID_MAX + 8];
	const char *address;

	(void)snprintf(key, sizeof(key), "%s %s", v->edge, end);
	address = json_string_value(json_object_get(g->addresses, key));
	if (address && strncmp(node, "address:", strlen("address:")) != 0)
		(void)snprintf(ret, SONDE_NODE_ID_MAX, "address:%s", address);
	else
		(void)snprintf(ret, SONDE_NODE_ID_MAX, "%s", node);
}

void sonde_group_ends(const struct sonde_group *g, const struct sonde_walk_value *v,
		      char ret_client[static SONDE_NODE_ID_MAX],
		      char ret_server[static SONDE_NODE_ID_MAX])
{
	if (g->by == SONDE_TOPOLOGY_IP) {
		address_id(g, v, "client", v->client_node, ret_client);
		address_id(g, v, "server", v->server_node, ret_server);
	} else {
		group_id(g, v->client, v->client_node, ret_client);
		group_id(g, v->server, v->server_node, ret_server);
	}
}

static bool has_kind(const char *id, const char *kind)
{
	size_t n = strlen(kind);

	return strncmp(id, kind, n) == 0 && id[n] == ':';
}

static json_t *group_json(const struct sonde_group *g, const char *id, const char *process_id,
			  const struct sonde_entity *e, bool target)
{
	const char *service = e->service, *instance = NULL, *address = NULL;
	const char *workload = NULL, *by = NULL;

	if (g->by == SONDE_TOPOLOGY_NODE) {
		service = NULL;
		address = strchr(id, ':') + 1;
	} else if (g->by == SONDE_TOPOLOGY_INSTANCE) {
		instance = e->instance;
	} else if (g->by == SONDE_TOPOLOGY_WORKLOAD) {
		workload = workload_of(g, process_id, e, &by);
	}
	return json_pack(
		"{s:o, s:s, s:o, s:o, s:n, s:o, s:o, s:s?, s:b}", "id", sonde_json_text(id), "kind",
		names[g->by], "service", sonde_json_text_or_null(service), "instance",
		sonde_json_text_or_null(instance), "process", "address",
		sonde_json_text_or_null(address), "workload", sonde_json_text_or_null(workload),
		"workload_by", by, "target", (int)target);
}

json_t *sonde_group_node_json(const struct sonde_group *g, const char *id, const char *process_id,
			      bool target)
{
	const struct sonde_entity *e = find_process(g, process_id);
	json_t *node;

	if (e && g->by != SONDE_TOPOLOGY_PROCESS && has_kind(id, names[g->by]))
		return group_json(g, id, process_id, e, target);
	if (g->by == SONDE_TOPOLOGY_IP && has_kind(id, "address"))
		node = json_pack("{s:o, s:s, s:n, s:n, s:n, s:o, s:b}", "id", sonde_json_text(id),
				 "kind", "address", "service", "instance", "process", "address",
				 sonde_json_text(strchr(id, ':') + 1), "target", (int)target);
	else
		node = sonde_node_json(g->backend->registry, process_id, target);
	if (node && (json_object_set_new(node, "workload", json_null()) < 0 ||
		     json_object_set_new(node, "workload_by", json_null()) < 0)) {
		json_decref(node);
		return NULL;
	}
	return node;
}
