/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Edge: who talks to whom, by the ids that the REST contract uses. A peer that
 * is an address is one node, whichever target saw it; an edge seen from both
 * ends is one edge. Pure functions over the registry.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "backend/ingest/entity.h"
#include "backend/tasks/registry.h"

#define SONDE_NODE_ID_MAX 600
#define SONDE_EDGE_ID_MAX 17 /* 8 bytes of hex, with NUL */
#define SONDE_LABELS_MAX 16

/* "address:10.1.2.3", "other", or the process id itself. */
void sonde_node_id(struct sonde_registry *r, const char *process_id,
		   char ret[static SONDE_NODE_ID_MAX]);

/* {"id","kind","service","instance","process","address","target"}; NULL when memory ran out. */
json_t *sonde_node_json(struct sonde_registry *r, const char *process_id, bool target);

/* For people: of the process, or the address, or what the sender calls one that it does not know; null: forgotten. */
json_t *sonde_node_name_json(struct sonde_registry *r, const char *process_id);

/* @port "": of metrics that know none. @protocol "udp": apart from the edge of the same port by TCP. Return: 0, -EIO, -E2BIG. */
int sonde_edge_id(const char *client_node, const char *server_node, const char *port,
		  const char *protocol, char ret[static SONDE_EDGE_ID_MAX]) _must_check_;

/* Of the label protocol: what has none is of TCP. */
bool sonde_protocol_is_udp(const char *protocol);

/*
 * `{kind=fast,server_port=80}` taken apart, as OAP writes keys. Nothing is escaped there: a value may hold '=' and,
 * where no other label could begin, ','.
 */
struct sonde_labels {
	char text[1024];
	struct {
		const char *name, *value;
	} label[SONDE_LABELS_MAX];
	size_t n;
};
void sonde_labels_parse(const char *key, struct sonde_labels *ret);
const char *sonde_labels_get(const struct sonde_labels *l, const char *name); /* "" if absent */
