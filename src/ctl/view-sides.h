/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Sides: a table with a row for each side that an edge has. The views of edges share what names it, in front. */

#include <stdbool.h>

#include <jansson.h>

#include "ctl/cli.h"
#include "ctl/graph.h"
#include "ctl/table.h"

struct sonde_view_sides {
	const struct sonde_column *columns; /* CLIENT, SERVER, PORT, SIDE, and the view's */
	bool udp;			    /* the edges of UDP, else those of TCP */
	bool wide;			    /* for cells() */
	/* The cells behind SIDE. */
	void (*cells)(struct sonde_table *t, const json_t *edge, const json_t *side, bool wide);
	/* Of a side whose row would hold no number but 0: it is counted and left out. NULL: none is. */
	bool (*is_idle)(const json_t *side);
};

/* Return: an exit status (already told). */
int sonde_view_sides(struct sonde_cli *cli, const json_t *edges, const struct sonde_graph *graph,
		     const struct sonde_view_sides *sides);

/* An older server says no protocol: TCP. */
bool sonde_view_edge_is_udp(const json_t *edge);
