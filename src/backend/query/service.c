/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/query/service.h"

#include <errno.h>
#include <string.h>

#include "backend/json.h"
#include "backend/query/flow-join.h"
#include "wire/message.h"

#define NODE_PREFIX "address:"

static bool is_node(const char *node, const char *address)
{
	return strncmp(node, NODE_PREFIX, strlen(NODE_PREFIX)) == 0 &&
	       strcmp(node + strlen(NODE_PREFIX), address) == 0;
}

static bool is_backend(const json_t *service, const char *node, int64_t port)
{
	return sonde_json_get_int(service, "backend_port", 0) == port &&
	       (strcmp(sonde_json_get_text(service, "backend_process_id", ""), node) == 0 ||
		is_node(node, sonde_json_get_text(service, "backend_address", "")));
}

static bool is_asked(const json_t *service, const char *node, int64_t port)
{
	return sonde_json_get_int(service, "port", 0) == port &&
	       is_node(node, sonde_json_get_text(service, "address", ""));
}

static json_t *new_service(const char *address, int64_t port, const char *by)
{
	return json_pack("{s:s, s:I, s:s, s:[]}", "address", address, "port", (json_int_t)port,
			 "by", by, "backends");
}

static int add_backend(json_t *service, const char *address, int64_t port, const char *process_id,
		       int64_t connections)
{
	json_t *list = json_object_get(service, "backends");
	json_t *known;
	size_t i;

	json_array_foreach(list, i, known)
	{
		if (sonde_json_get_int(known, "port", 0) != port ||
		    strcmp(sonde_json_get_text(known, "address", ""), address) != 0)
			continue;
		return sonde_json_set(
			known, "connections",
			json_integer(sonde_json_get_int(known, "connections", 0) + connections));
	}
	return sonde_json_append(list, json_pack("{s:s, s:I, s:o, s:I}", "address", address, "port",
						 (json_int_t)port, "process_id",
						 sonde_json_text_or_null(process_id), "connections",
						 (json_int_t)connections));
}

static int take_told(json_t **service, const json_t *told, const char *node, int64_t port)
{
	if (!is_backend(told, node, port) && !is_asked(told, node, port))
		return 0;
	if (!*service)
		*service = new_service(sonde_json_get_text(told, "address", ""),
				       sonde_json_get_int(told, "port", 0), "conntrack");
	if (!*service)
		return -ENOMEM;
	return add_backend(*service, sonde_json_get_text(told, "backend_address", ""),
			   sonde_json_get_int(told, "backend_port", 0),
			   sonde_json_get_text(told, "backend_process_id", ""),
			   sonde_json_get_int(told, "connections", 0));
}

static int by_conntrack(const struct sonde_task *t, const char *node, int64_t port,
			json_t **service)
{
	json_t *told;
	size_t k;
	int r = 0;

	for (size_t i = 0; i < t->n_agents && r == 0; i++) {
		json_array_foreach(json_object_get(t->agents[i]->flows, "services"), k, told)
		{
			r = r == 0 ? take_told(service, told, node, port) : r;
		}
	}
	return r;
}

struct found {
	struct sonde_backend *backend;
	int64_t port;
	json_t *service;
};

static int take_flow(void *ctx, const struct sonde_store_row *row)
{
	_cleanup_(sonde_wire_freep) ProtobufCMessage *message = NULL;
	struct found *found = ctx;
	struct sonde_flow_join join = {0};
	const Sonde__V1__Flow *f;
	const void *data;
	size_t n;
	int r;

	data = sonde_store_row_blob(row, 0, &n);
	r = sonde_wire_unpack(&sonde__v1__flow__descriptor, data, n, NULL, &message);
	if (r < 0)
		return r;
	f = (const Sonde__V1__Flow *)message;
	if (f->remote_port != found->port)
		return 0;
	r = sonde_flow_join(found->backend, f, &join);
	if (r < 0 || !join.found || !join.translated)
		return r;
	if (!found->service)
		found->service = new_service(join.service, join.service_port, "flows");
	return found->service
		       ? add_backend(found->service, join.address, join.port, join.process, 1)
		       : -ENOMEM;
}

static int by_flows(struct sonde_service_search *s, const char *node, int64_t port,
		    json_t **service)
{
	struct found found = {.backend = s->backend, .port = port};
	int r;

	if (strncmp(node, NODE_PREFIX, strlen(NODE_PREFIX)) != 0 ||
	    s->edges >= SONDE_SERVICE_EDGES_MAX)
		return 0;
	s->edges++;
	r = sonde_store_select(s->backend->store, SONDE_STORE_GET_FLOWS_TO, take_flow, &found, "tt",
			       s->task->spec->id, node + strlen(NODE_PREFIX));
	*service = found.service;
	return r;
}

int sonde_edge_service(struct sonde_service_search *s, const char *server_node, int64_t port,
		       json_t **ret)
{
	_cleanup_json_ json_t *service = NULL;
	int r;

	r = by_conntrack(s->task, server_node, port, &service);
	if (r == 0 && !service)
		r = by_flows(s, server_node, port, &service);
	if (r < 0)
		return r;
	*ret = service ? TAKE_PTR(service) : json_null();
	return 0;
}
