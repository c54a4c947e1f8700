/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Group: which node of a topology an end of an edge belongs to, when processes are put together. What is not known
 * of an end leaves it as it is: nothing is guessed. Loop thread only.
 */

#include "backend/backend.h"
#include "backend/query/walk.h"

enum sonde_topology_by {
	SONDE_TOPOLOGY_PROCESS = 0,
	SONDE_TOPOLOGY_INSTANCE, /* SkyWalking's: a pod, a machine's service */
	SONDE_TOPOLOGY_WORKLOAD, /* container or systemd unit, else the instance */
	SONDE_TOPOLOGY_SERVICE,
	SONDE_TOPOLOGY_NODE, /* the machine of the agent that registered the process */
	SONDE_TOPOLOGY_IP,   /* the address that the task's flows show for the end of this edge */
	_SONDE_TOPOLOGY_BY_MAX,
};
/* "process", …; kind of the node that holds the group. */
const char *sonde_topology_by_name(enum sonde_topology_by by);

/* Flows of a task that are read for its addresses: those with the most bytes. */
#define SONDE_GROUP_FLOWS_MAX 4096

struct sonde_group {
	struct sonde_backend *backend; /* borrowed */
	enum sonde_topology_by by;
	/* owned; NULL where @by does not need it */
	json_t *hosts;	   /* process id -> host */
	json_t *workloads; /* process id -> [name, what named it] */
	json_t *addresses; /* edge id, and which end -> address; null: several */
};

/* Return: 0, -ENOMEM, -errno of the store; sonde_group_done() in any case. */
int sonde_group_init(struct sonde_group *g, struct sonde_backend *b, const struct sonde_task *t,
		     enum sonde_topology_by by) _must_check_;
void sonde_group_done(struct sonde_group *g);

/* Ids of the nodes at the ends of @v's edge: "service:web", "instance:web/pod-1", "workload:web/nginx.service", … */
void sonde_group_ends(const struct sonde_group *g, const struct sonde_walk_value *v,
		      char ret_client[static SONDE_NODE_ID_MAX],
		      char ret_server[static SONDE_NODE_ID_MAX]);

/*
 * Node of a group as JSON, of which @process_id is a member; other nodes as sonde_node_json() has them.
 * NULL when memory ran out.
 */
json_t *sonde_group_node_json(const struct sonde_group *g, const char *id, const char *process_id,
			      bool target);
