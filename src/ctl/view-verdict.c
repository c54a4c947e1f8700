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
	return strcmp(s ? s : "receive", direction) == 0;
}

static int64_t lost(const json_t *drops, const char *direction)
{
	int64_t sum = 0;

	for (size_t i = 0; i < json_array_size(drops); i++) {
		const json_t *d = json_array_get(drops, i);

		if (sonde_view_drop_is_loss(d) && goes(d, direction))
			sum = sonde_view_add(sum, whole(d, "segments"));
	}
	return sum;
}

/* ": NETFILTER_DROP 2,633, SOCKET_RCVBUFF 4" */
static int add_reasons(struct sonde_buf *line, const json_t *drops, const char *direction)
{
	const char *joint = ": ";
	char n[SONDE_UNIT_MAX];
	int r = 0;

	for (size_t i = 0; r == 0 && i < json_array_size(drops); i++) {
		const json_t *d = json_array_get(drops, i);
		const char *reason = json_string_value(json_object_get(d, "reason"));

		if (!sonde_view_drop_is_loss(d) || !goes(d, direction) || whole(d, "segments") <= 0)
			continue;
		r = sonde_buf_printf(line, "%s%.64s %s", joint, reason ? reason : "no reason",
				     sonde_unit_count(whole(d, "segments"), n));
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
	int64_t dropped = lost(drops, direction), all = json_integer_value(count);
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

/* Of UDP. */
static int add_no_room(struct sonde_buf *line, const struct end *own)
{
	int64_t n = whole(own->side, "buffer_dropped_datagrams"),
		all = sonde_view_add(whole(own->side, "received_datagrams"), n);
	char text[SONDE_UNIT_MAX], of[SONDE_UNIT_MAX];
	int r;

	if (n <= 0)
		return 0;
	r = sonde_buf_printf(line, "%s", line->len > 0 ? "; " : "");
	if (r == 0)
		r = add_share(line, n, all);
	return r < 0 ? r
		     : sonde_buf_printf(line,
					" datagrams found no room in the receive buffer of %.200s "
					"(%s of %s read + dropped)",
					own->label, sonde_unit_count(n, text),
					sonde_unit_count(all, of));
}

/* Nothing where nothing was lost: then the table says it all. */
static int verdict(const struct sonde_graph *graph, const json_t *edge, struct sonde_buf *line)
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
	for (size_t i = 0; r == 0 && i < ELEMENTS_OF(ends); i++)
		r = add_no_room(line, &ends[i]);
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

		r = verdict(graph, edge, &line);
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
