/* SPDX-License-Identifier: Apache-2.0 */
/* The edges of UDP, in a table of their own: they have no round trip, no handshake, no retransmit. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "ctl/graph.h"
#include "ctl/units.h"
#include "ctl/view.h"

static const struct sonde_column columns[] = {
	{"CLIENT", false, true},      {"SERVER", false, true},	      {"PORT", true, false},
	{"SIDE", false, false},	      {"DATAGRAMS OUT", true, false}, {"IN", true, false},
	{"SENT", true, false},	      {"RECEIVED", true, false},      {"SEND ERRORS", false, true},
	{"READ ERRORS", false, true}, {"NO ROOM", true, false},	      {NULL},
};

static const struct sonde_column wide_columns[] = {
	{"CLIENT", false, false},	{"SERVER", false, false},
	{"PORT", true, false},		{"SIDE", false, false},
	{"DATAGRAMS OUT", true, false}, {"IN", true, false},
	{"SENT", true, false},		{"RECEIVED", true, false},
	{"SEND ERRORS", false, false},	{"READ ERRORS", false, false},
	{"NO ROOM", true, false},	{"NO ROOM BYTES", true, false},
	{"WRITES", true, false},	{"READS", true, false},
	{"EDGE", false, false},		{NULL},
};

bool sonde_view_edge_is_udp(const json_t *edge)
{
	const char *protocol = json_string_value(json_object_get(edge, "protocol"));

	return protocol && strcmp(protocol, "udp") == 0;
}

static void side_row(struct sonde_table *t, const struct sonde_graph *graph, const json_t *edge,
		     const char *name, const json_t *side, bool wide)
{
	const json_t *port = json_object_get(edge, "port");

	sonde_table_add(t, sonde_graph_label(graph, edge, "client"));
	sonde_table_add(t, sonde_graph_label(graph, edge, "server"));
	if (json_is_integer(port))
		sonde_table_addf(t, "%" JSON_INTEGER_FORMAT "/udp", json_integer_value(port));
	else
		sonde_table_add(t, NULL);
	sonde_table_add(t, name);
	sonde_cell_count(t, side, "sent_datagrams");
	sonde_cell_count(t, side, "received_datagrams");
	sonde_cell_bytes(t, side, "sent_bytes");
	sonde_cell_bytes(t, side, "received_bytes");
	sonde_cell_kinds(t, json_object_get(side, "send_errors"), NULL);
	sonde_cell_kinds(t, json_object_get(side, "receive_errors"), NULL);
	sonde_cell_count(t, side, "buffer_dropped_datagrams");
	if (!wide)
		return;
	sonde_cell_bytes(t, side, "buffer_dropped_bytes");
	sonde_cell_count(t, side, "write_calls");
	sonde_cell_count(t, side, "read_calls");
	sonde_cell_text(t, edge, "id");
}

int sonde_view_udp_edges(struct sonde_cli *cli, const json_t *topology,
			 const struct sonde_graph *graph)
{
	_cleanup_(sonde_table_freep) struct sonde_table *t = NULL;
	const json_t *edges = json_object_get(topology, "edges");
	bool wide = sonde_cli_output(cli) == SONDE_CLI_WIDE;
	int r;

	r = sonde_table_new(wide ? wide_columns : columns, &t);
	if (r < 0)
		return sonde_cli_broken(cli, r);
	for (size_t i = 0; i < json_array_size(edges); i++) {
		const json_t *edge = json_array_get(edges, i);
		const json_t *client = json_object_get(edge, "client_side");
		const json_t *server = json_object_get(edge, "server_side");

		if (!sonde_view_edge_is_udp(edge))
			continue;
		if (json_is_object(client))
			side_row(t, graph, edge, "client", client, wide);
		if (json_is_object(server))
			side_row(t, graph, edge, "server", server, wide);
	}
	return sonde_view_table(cli, t);
}
