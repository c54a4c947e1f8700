/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Service: whether an edge's server is reached by an address that is translated,
 * and who is behind it. By the agents' conntrack; else by the flows of the other
 * end, where that is profiled too. Loop thread only.
 */

#include "backend/backend.h"

#define SONDE_SERVICE_EDGES_MAX 256 /* of one answer that are looked for in the flows */

struct sonde_service_search {
	struct sonde_backend *backend;
	const struct sonde_task *task;
	unsigned edges; /* looked for so far */
};

/*
 * *@ret: {"address", "port", "by", "backends": [{"address", "port", "process_id", "connections"}]}, or null.
 * @server_node, @port: of the edge. Return: 0, -ENOMEM, -errno of the store.
 */
int sonde_edge_service(struct sonde_service_search *s, const char *server_node, int64_t port,
		       json_t **ret) _must_check_;
