/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/view-sides.h"

#include <string.h>

#include "ctl/view.h"

bool sonde_view_edge_is_udp(const json_t *edge)
{
	const char *protocol = json_string_value(json_object_get(edge, "protocol"));

	return protocol && strcmp(protocol, "udp") == 0;
}

/* Return: 1 = left out as idle, else 0. */
static size_t add_row(struct sonde_table *t, const struct sonde_graph *graph, const json_t *edge,
		      const char *name, const struct sonde_view_sides *sides)
{
	bool is_client = strcmp(name, "client") == 0;
	const json_t *side = json_object_get(edge, is_client ? "client_side" : "server_side");
	const json_t *port = json_object_get(edge, "port");

	if (!json_is_object(side))
		return 0;
	if (sides->is_idle && sides->is_idle(side))
		return 1;
	sonde_table_add(t, sonde_graph_label(graph, edge, "client"));
	sonde_table_add(t, sonde_graph_label(graph, edge, "server"));
	if (json_is_integer(port))
		sonde_table_addf(t, "%" JSON_INTEGER_FORMAT "%s", json_integer_value(port),
				 sides->udp ? "/udp" : "");
	else
		sonde_table_add(t, NULL);
	sonde_table_add(t, name);
	sides->cells(t, edge, side, sides->wide);
	return 0;
}

int sonde_view_sides(struct sonde_cli *cli, const json_t *edges, const struct sonde_graph *graph,
		     const struct sonde_view_sides *sides)
{
	_cleanup_(sonde_table_freep) struct sonde_table *t = NULL;
	size_t idle = 0;
	int r;

	r = sonde_table_new(sides->columns, &t);
	if (r < 0)
		return sonde_cli_broken(cli, r);
	for (size_t i = 0; i < json_array_size(edges); i++) {
		const json_t *edge = json_array_get(edges, i);

		if (sonde_view_edge_is_udp(edge) != sides->udp)
			continue;
		idle += add_row(t, graph, edge, "client", sides);
		idle += add_row(t, graph, edge, "server", sides);
	}
	r = sonde_table_rows(t) > 0 || idle == 0 ? sonde_view_table(cli, t) : SONDE_CLI_OK;
	if (idle > 0 && cli->headers && r == SONDE_CLI_OK) {
		(void)fprintf(
			cli->out,
			"idle: %zu row%s left out, nothing was sent, received, opened, closed "
			"or dropped there (-o wide has %s)\n",
			idle, idle == 1 ? "" : "s", idle == 1 ? "it" : "them");
	}
	return r;
}
