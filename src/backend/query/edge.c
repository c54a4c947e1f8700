/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/query/edge.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backend/json.h"
#include "backend/store/ids.h"

void sonde_node_id(struct sonde_registry *r, const char *process_id,
		   char ret[static SONDE_NODE_ID_MAX])
{
	const struct sonde_entity *e = sonde_registry_find_entity(r, process_id);

	if (e && e->kind == SONDE_ENTITY_ADDRESS)
		(void)snprintf(ret, SONDE_NODE_ID_MAX, "address:%s", e->name);
	else if (e && e->kind == SONDE_ENTITY_OTHER)
		(void)snprintf(ret, SONDE_NODE_ID_MAX, "other");
	else
		(void)snprintf(ret, SONDE_NODE_ID_MAX, "%s", process_id);
}

json_t *sonde_node_json(struct sonde_registry *r, const char *process_id, bool target)
{
	const struct sonde_entity *e = sonde_registry_find_entity(r, process_id);
	char id[SONDE_NODE_ID_MAX];

	sonde_node_id(r, process_id, id);
	if (!e) /* its name was refused or is too old */
		return json_pack("{s:o, s:s, s:n, s:n, s:n, s:n, s:b}", "id", sonde_json_text(id),
				 "kind", "other", "service", "instance", "process", "address",
				 "target", (int)target);
	if (e->kind == SONDE_ENTITY_PROCESS)
		return json_pack("{s:o, s:s, s:o, s:o, s:o, s:n, s:b}", "id", sonde_json_text(id),
				 "kind", "process", "service", sonde_json_text(e->service),
				 "instance", sonde_json_text(e->instance), "process",
				 sonde_json_text(e->name), "address", "target", (int)target);
	return json_pack("{s:o, s:s, s:n, s:n, s:n, s:o, s:b}", "id", sonde_json_text(id), "kind",
			 sonde_entity_kind_name(e->kind), "service", "instance", "process",
			 "address",
			 e->kind == SONDE_ENTITY_ADDRESS ? sonde_json_text(e->name) : json_null(),
			 "target", (int)target);
}

json_t *sonde_node_name_json(struct sonde_registry *r, const char *process_id)
{
	const struct sonde_entity *e = sonde_registry_find_entity(r, process_id);

	return e ? sonde_json_text(e->name) : json_null();
}

bool sonde_protocol_is_udp(const char *protocol)
{
	return strcmp(protocol, "udp") == 0;
}

int sonde_edge_id(const char *client_node, const char *server_node, const char *port,
		  const char *protocol, char ret[static SONDE_EDGE_ID_MAX])
{
	char text[2 * SONDE_NODE_ID_MAX + 32];
	int n = snprintf(text, sizeof(text), "%s\t%s\t%s%s", client_node, server_node, port,
			 sonde_protocol_is_udp(protocol) ? "\tudp" : "");

	if (n < 0 || (size_t)n >= sizeof(text))
		return -E2BIG;
	return sonde_id_digest(text, (size_t)n, 8, ret);
}

/* Where the next label begins behind the value at @at: at a comma that a name and '=' follow. NULL: nowhere. */
static char *next_label(char *at)
{
	for (char *comma = strchr(at, ','); comma; comma = strchr(comma + 1, ',')) {
		size_t name = strcspn(comma + 1, ",=");

		if (name > 0 && comma[1 + name] == '=')
			return comma;
	}
	return NULL;
}

void sonde_labels_parse(const char *key, struct sonde_labels *ret)
{
	size_t n = strnlen(key, sizeof(ret->text) - 1);
	char *at = ret->text;

	ret->n = 0;
	memcpy(ret->text, key, n);
	ret->text[n] = '\0';
	if (at[0] != '{')
		return;
	if (ret->text[n - 1] == '}')
		ret->text[n - 1] = '\0';
	at[0] = ','; /* so that the first label is found as each other is */
	at = next_label(at);
	while (at && ret->n < SONDE_LABELS_MAX) {
		char *equal = strchr(at + 1, '=');

		*equal = '\0';
		ret->label[ret->n].name = at + 1;
		ret->label[ret->n++].value = equal + 1;
		at = next_label(equal + 1);
		if (at)
			*at = '\0';
	}
}

const char *sonde_labels_get(const struct sonde_labels *l, const char *name)
{
	for (size_t i = 0; i < l->n; i++) {
		if (strcmp(l->label[i].name, name) == 0)
			return l->label[i].value;
	}
	return "";
}
