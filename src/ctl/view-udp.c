/* SPDX-License-Identifier: Apache-2.0 */
/* The edges of UDP, in a table of their own: they have no round trip, no handshake, no retransmit. */
#include "ctl/view-sides.h"
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

static void cells(struct sonde_table *t, const json_t *edge, const json_t *side, bool wide)
{
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
	bool wide = sonde_cli_output(cli) == SONDE_CLI_WIDE;

	return sonde_view_sides(cli, json_object_get(topology, "edges"), graph,
				&(struct sonde_view_sides){.columns = wide ? wide_columns : columns,
							   .udp = true,
							   .wide = wide,
							   .cells = cells});
}
