/* SPDX-License-Identifier: Apache-2.0 */
/* Under the edges: a line an edge on which segments were lost or sent again, and who saw it. */
#include <errno.h>
#include <string.h>

#include "ctl/graph.h"
#include "ctl/units.h"
#include "ctl/view-sides.h"
#include "ctl/view.h"

#define WORDS_MAX 4096 /* bytes of a line */

static json_int_t whole(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

static bool goes(const json_t *drop, const char *direction)
{
	const char *s = json_string_value(json_object_get(drop, "direction"));

	/* without a word: on receipt, where nearly all are */
	return strcmp(s ? s : "receive", direction) == 0 && !sonde_view_drop_is_the_receivers(drop);
}

static const char *reason_of(const json_t *drop)
{
	const char *reason = json_string_value(json_object_get(drop, "reason"));

	return reason ? reason : "no reason";
}

/* From row @first on; @reason: NULL: of any. */
static int64_t lost(const json_t *drops, size_t first, const char *direction, const char *reason)
{
	int64_t sum = 0;

	for (size_t i = first; i < json_array_size(drops); i++) {
		const json_t *d = json_array_get(drops, i);

		if (sonde_view_drop_is_loss(d) && goes(d, direction) &&
		    (!reason || strcmp(reason_of(d), reason) == 0))
			sum = sonde_view_add(sum, whole(d, "segments"));
	}
	return sum;
}

/* ": NETFILTER_DROP 2,633, SOCKET_RCVBUFF 4", wherever it was. */
static int add_reasons(struct sonde_buf *line, const json_t *drops, const char *direction)
{
	const char *joint = ": ";
	char n[SONDE_UNIT_MAX];
	int r = 0;

	for (size_t i = 0; r == 0 && i < json_array_size(drops); i++) {
		const char *reason = reason_of(json_array_get(drops, i));
		int64_t sum = lost(drops, 0, direction, reason);

		/* once, at its first row */
		if (lost(drops, i, direction, reason) != sum ||
		    lost(drops, i + 1, direction, reason) == sum)
			continue;
		r = sonde_buf_printf(line, "%s%.64s %s", joint, reason, sonde_unit_count(sum, n));
		joint = ", ";
	}
	return r;
}

/* "1.0 % of"; without a whole to hold it against: the count alone. */
static int add_share(struct sonde_buf *line, int64_t part, int64_t all)
{
	double percent = all > 0 ? 100.0 * (double)part / (double)all : 0;
	char n[SONDE_UNIT_MAX];

	if (all < part || all <= 0)
		return sonde_buf_printf(line, "%s", sonde_unit_count(part, n));
	if (percent < 0.1)
		return sonde_buf_printf(line, "under 0.1 %% of");
	return sonde_buf_printf(line, "%.1f %% of", percent);
}

struct end {
	const char *label;
	const json_t *side; /* NULL or null: it was no target */
};

static int add_drops(struct sonde_buf *line, const struct end *own, bool receipt)
{
	const char *direction = receipt ? "receive" : "transmit";
	const json_t *drops = json_object_get(own->side, "drops");
	const json_t *count =
		json_object_get(own->side, receipt ? "received_segments" : "sent_segments");
	int64_t dropped = lost(drops, 0, direction, NULL), all = json_integer_value(count);
	char n[SONDE_UNIT_MAX], of[SONDE_UNIT_MAX];
	int r;

	if (dropped <= 0)
		return 0;
	/* what was dropped on receipt is seldom among what TCP counts as received, what was sent is all counted */
	if (receipt && json_is_integer(count))
		all = sonde_view_add(all, dropped);
	r = sonde_buf_printf(line, "%s", line->len > 0 ? "; " : "");
	if (r == 0)
		r = add_share(line, dropped, all);
	if (r == 0)
		r = sonde_buf_printf(line, " segments %s %.200s were dropped on %s (",
				     receipt ? "towards" : "from", own->label,
				     receipt ? "receipt" : "sending");
	if (r == 0 && all >= dropped)
		r = sonde_buf_printf(line, "%s of %s %s", sonde_unit_count(dropped, n),
				     sonde_unit_count(all, of),
				     receipt ? "received + dropped" : "sent");
	else if (r == 0)
		r = sonde_buf_printf(line, "of how many is not known");
	if (r == 0)
		r = add_reasons(line, drops, direction);
	return r < 0 ? r : sonde_buf_printf(line, ")");
}

static int add_retransmits(struct sonde_buf *line, const struct end *own)
{
	int64_t n = whole(own->side, "retransmitted_segments");
	char text[SONDE_UNIT_MAX];

	if (n <= 0)
		return 0;
	return sonde_buf_printf(line, "%s%s retransmitted by %.200s", line->len > 0 ? "; " : "",
				sonde_unit_count(n, text), own->label);
}

/* Of UDP: datagrams that found no room, these with those that were read, and of how many rows. */
struct no_room {
	int64_t dropped, all;
	size_t rows;
};

static void count_no_room(const json_t *side, struct no_room *n)
{
	const int64_t dropped = whole(side, "buffer_dropped_datagrams");

	n->dropped = sonde_view_add(n->dropped, dropped);
	n->all = sonde_view_add(n->all, whole(side, "received_datagrams"));
	n->all = sonde_view_add(n->all, dropped);
	n->rows++;
}

static bool same_port(const json_t *a, const json_t *b)
{
	static const char *const keys[] = {"server", "port", "protocol"};

	for (size_t i = 0; i < ELEMENTS_OF(keys); i++) {
		const json_t *x = json_object_get(a, keys[i]), *y = json_object_get(b, keys[i]);

		if (x != y && !json_equal(x, y))
			return false;
	}
	return true;
}

/*
 * A receive buffer has no room whoever sent: what a server's port dropped may stand in another client's row than what it
 * read, so all its rows are one number. A client's ports are not told, there it is the row. Return: false if an earlier
 * edge has told it.
 */
static bool find_no_room(const json_t *edges, const json_t *edge, bool server, struct no_room *ret)
{
	bool is_before = true;

	*ret = (struct no_room){0};
	if (!server)
		count_no_room(json_object_get(edge, "client_side"), ret);
	for (size_t i = 0; server && i < json_array_size(edges); i++) {
		const json_t *other = json_array_get(edges, i);
		const json_t *side = json_object_get(other, "server_side");

		is_before = is_before && other != edge;
		if (!json_is_object(side) || !same_port(edge, other))
			continue;
		if (is_before && whole(side, "buffer_dropped_datagrams") > 0)
			return false;
		count_no_room(side, ret);
	}
	return true;
}

/* @senders: "", or whose datagrams these are. */
static int add_no_room(struct sonde_buf *line, const struct end *own, const struct no_room *n,
		       const char *senders)
{
	char text[SONDE_UNIT_MAX], of[SONDE_UNIT_MAX];
	int r;

	r = sonde_buf_printf(line, "%s", line->len > 0 ? "; " : "");
	if (r == 0)
		r = add_share(line, n->dropped, n->all);
	return r < 0 ? r
		     : sonde_buf_printf(line,
					" datagrams found no room in the receive buffer of %.200s "
					"(%s of %s read + dropped%s)",
					own->label, sonde_unit_count(n->dropped, text),
					sonde_unit_count(n->all, of), senders);
}

static int add_no_rooms(struct sonde_buf *line, const json_t *topology, const json_t *edge,
			const struct end ends[2])
{
	const json_t *edges = json_object_get(topology, "edges");
	const bool all = whole(json_object_get(topology, "more"), "edges") == 0;
	struct no_room n;
	int r = 0;

	for (size_t i = 0; r == 0 && i < 2; i++) {
		const char *senders = "";

		if (whole(ends[i].side, "buffer_dropped_datagrams") <= 0 ||
		    !find_no_room(edges, edge, i == 1, &n))
			continue;
		if (i == 1 &&
		    !all) /* --top, --hide-below: another row of that port may be left out */
			senders = ", of the rows shown";
		else if (n.rows > 1)
			senders = ", all senders to that port";
		r = add_no_room(line, &ends[i], &n, senders);
	}
	return r;
}

/* Nothing where nothing was lost: then the table says it all. */
static int verdict(const struct sonde_graph *graph, const json_t *topology, const json_t *edge,
		   struct sonde_buf *line)
{
	const struct end ends[] = {
		{sonde_graph_label(graph, edge, "client"), json_object_get(edge, "client_side")},
		{sonde_graph_label(graph, edge, "server"), json_object_get(edge, "server_side")}};
	int r = 0;

	for (size_t i = 0; r == 0 && i < ELEMENTS_OF(ends); i++) {
		r = add_drops(line, &ends[i], true);
		if (r == 0)
			r = add_drops(line, &ends[i], false);
	}
	if (r == 0)
		r = add_no_rooms(line, topology, edge, ends);
	for (size_t i = 0; r == 0 && i < ELEMENTS_OF(ends); i++)
		r = add_retransmits(line, &ends[i]);
	for (size_t i = 0; r == 0 && line->len > 0 && i < ELEMENTS_OF(ends); i++) {
		if (!json_is_object(ends[i].side))
			r = sonde_buf_printf(line, " (seen by %.200s alone)", ends[!i].label);
	}
	return r;
}

int sonde_view_verdicts(struct sonde_cli *cli, const json_t *topology)
{
	_cleanup_(sonde_graph_freep) struct sonde_graph *graph = NULL;
	const json_t *edges = json_object_get(topology, "edges");
	int r = sonde_graph_new(topology, &graph);

	for (size_t i = 0; r == 0 && i < json_array_size(edges); i++) {
		_cleanup_buf_ struct sonde_buf line = SONDE_BUF_INIT(WORDS_MAX);
		const json_t *edge = json_array_get(edges, i);

		r = verdict(graph, topology, edge, &line);
		if (line.len == 0)
			continue;
		sonde_view_text(cli, sonde_graph_label(graph, edge, "client"));
		(void)fputs(" -> ", cli->out);
		sonde_view_text(cli, sonde_graph_label(graph, edge, "server"));
		(void)fprintf(cli->out, ":%" JSON_INTEGER_FORMAT "%s: ", whole(edge, "port"),
			      sonde_view_edge_is_udp(edge) ? "/udp" : "");
		sonde_view_text(cli, sonde_buf_str(&line));
		/* too long a line is cut; the table and -o json have every number */
		(void)fputs(r == -EMSGSIZE ? "…\n" : "\n", cli->out);
		r = r == -EMSGSIZE ? 0 : r;
	}
	return r < 0 ? sonde_cli_broken(cli, r) : SONDE_CLI_OK;
}
