/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "ctl/graph.h"
#include "ctl/members.h"
#include "ctl/view-sides.h"
#include "ctl/view.h"
#include "model/meters.h"

#define DELAYED_ACK_US 38000 /* the least delay, less what a clock's tick and a bucket take off */

static const struct sonde_column short_columns[] = {
	{"CLIENT", false, true},  {"SERVER", false, true},	{"PORT", true, false},
	{"SIDE", false, false},	  {"RTT MIN", true, false},	{"P50", true, false},
	{"P99", true, false},	  {"RETRANSMITS", false, true}, {"DROPS", false, true},
	{"SENT", true, false},	  {"RECEIVED", true, false},	{"CONNECTS", false, true},
	{"ACCEPTS", true, false}, {"CLOSES", false, true},	{NULL},
};

static const struct sonde_column wide_columns[] = {
	{"CLIENT", false, false},      {"SERVER", false, false},
	{"PORT", true, false},	       {"SIDE", false, false},
	{"RTT MIN", true, false},      {"P50", true, false},
	{"P90", true, false},	       {"P99", true, false},
	{"RETRANSMITS", false, false}, {"DROPS", false, false},
	{"SENT", true, false},	       {"RECEIVED", true, false},
	{"CONNECTS", false, false},    {"ACCEPTS", true, false},
	{"CLOSES", false, false},      {"RTT N", true, false},
	{"KERNEL'S MIN", true, false}, {"SMOOTHED", true, false},
	{"DEVIATION", true, false},    {"HANDSHAKE P50", true, false},
	{"P99", true, false},	       {"SEGMENTS OUT", true, false},
	{"IN", true, false},	       {"ACKED", true, false},
	{"ARRIVED", true, false},      {"WRITES", true, false},
	{"READS", true, false},	       {"HALF-CLOSED", true, false},
	{"RST OUT", true, false},      {"RST IN", true, false},
	{"OPEN", true, false},	       {"MEMBERS", true, false},
	{"EDGE", false, false},	       {NULL},
};

static json_int_t whole(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

/* Text of a cell that grows; after a failure all later ones are ignored, and the table has it. */
struct list {
	struct sonde_buf text;
	int error;
};

/* Longer than a cell may be is the table's to cut and to tell. */
#define LIST_INIT ((struct list){.text = SONDE_BUF_INIT(2UL * SONDE_TABLE_CELL_MAX)})

static void list_done(struct list *l)
{
	sonde_buf_done(&l->text);
}
#define _cleanup_list_ _cleanup_(list_done)

#define list_add(l, ...)                                                                           \
	do {                                                                                       \
		if ((l)->error == 0)                                                               \
			(l)->error = sonde_buf_printf(&(l)->text, __VA_ARGS__);                    \
	} while (0)

static void cell_list(struct sonde_table *t, const struct list *l)
{
	if (l->error < 0)
		sonde_table_fail(t, l->error);
	else
		sonde_table_add(t, sonde_buf_str(&l->text));
}

static json_int_t sum_kinds(const json_t *kinds)
{
	json_t *value,
		*object = (json_t *)kinds; /* the loop's macro is not const-clean; it only reads */
	const char *name;
	json_int_t sum = 0;

	json_object_foreach(object, name, value) sum =
		sonde_view_add(sum, json_integer_value(value));
	return sum;
}

/* " (fast 10, tlp 2)" */
static void list_kinds(struct list *l, const json_t *kinds, json_int_t rest)
{
	json_t *value, *object = (json_t *)kinds; /* as above */
	const char *name, *joint = " (";

	json_object_foreach(object, name, value)
	{
		if (json_integer_value(value) == 0)
			continue;
		list_add(l, "%s%s %" JSON_INTEGER_FORMAT, joint, name, json_integer_value(value));
		joint = ", ";
	}
	if (rest > 0) {
		list_add(l, "%skind not told %" JSON_INTEGER_FORMAT, joint, rest);
		joint = ", ";
	}
	if (joint[0] == ',')
		list_add(l, ")");
}

void sonde_cell_kinds(struct sonde_table *t, const json_t *kinds, const json_t *total)
{
	const json_int_t sum = sum_kinds(kinds);
	const json_int_t all = json_is_integer(total) ? json_integer_value(total) : sum;
	_cleanup_list_ struct list l = LIST_INIT;

	if (!json_is_object(kinds) && !json_is_integer(total)) {
		sonde_table_add(t, NULL);
		return;
	}
	list_add(&l, "%" JSON_INTEGER_FORMAT, all);
	/* without any kinds there is a note that says why */
	list_kinds(&l, kinds, json_is_object(kinds) && all > sum ? all - sum : 0);
	cell_list(t, &l);
}

bool sonde_view_drop_is_loss(const json_t *drop)
{
	const char *class = json_string_value(json_object_get(drop, "class"));

	return !class || strcmp(class, "loss") == 0;
}

bool sonde_view_drop_is_the_receivers(const json_t *drop)
{
	return sonde_meter_drop_is_the_receivers(sonde_text_of(drop, "direction"),
						 sonde_text_of(drop, "where"));
}

int64_t sonde_view_own_loss(const json_t *side)
{
	const json_t *drops = json_object_get(side, "drops");
	int64_t sum = 0;

	for (size_t i = 0; i < json_array_size(drops); i++) {
		const json_t *d = json_array_get(drops, i);

		if (sonde_view_drop_is_loss(d) && !sonde_view_drop_is_the_receivers(d))
			sum = sonde_view_add(sum, whole(d, "segments"));
	}
	return sum;
}

/* What a drop means for the data; of a reason that is in no class it is not known. */
enum meaning {
	LOSS,
	NO_LOSS,
	MAY_BE_LOSS,
};

static enum meaning meaning_of(const json_t *drop)
{
	const char *class = json_string_value(json_object_get(drop, "class"));

	if (sonde_view_drop_is_loss(drop))
		return LOSS;
	return strcmp(class, "unclassified") == 0 ? MAY_BE_LOSS : NO_LOSS;
}

static json_int_t sum_drops(const json_t *drops, enum meaning meaning)
{
	json_int_t sum = 0;

	for (size_t i = 0; i < json_array_size(drops); i++) {
		const json_t *d = json_array_get(drops, i);

		if (meaning_of(d) == meaning)
			sum = sonde_view_add(sum, whole(d, "segments"));
	}
	return sum;
}

/* "duplicate 15, teardown 6": what is no loss, by class. */
static void list_classes(struct list *l, const json_t *drops)
{
	const char *before = "";

	for (size_t i = 0; i < json_array_size(drops); i++) {
		const json_t *d = json_array_get(drops, i), *other;
		const char *class = json_string_value(json_object_get(d, "class"));
		json_int_t sum = 0;
		bool told = false;

		if (meaning_of(d) != NO_LOSS)
			continue;
		for (size_t n = 0; n < json_array_size(drops); n++) {
			const char *s;

			other = json_array_get(drops, n);
			s = json_string_value(json_object_get(other, "class"));
			if (!s || strcmp(s, class) != 0)
				continue;
			told = told || n < i;
			sum = sonde_view_add(sum, whole(other, "segments"));
		}
		if (told || sum == 0)
			continue;
		list_add(l, "%s%s %" JSON_INTEGER_FORMAT, before, class, sum);
		before = ", ";
	}
}

static bool same_text(const json_t *a, const json_t *b, const char *key)
{
	const json_t *x = json_object_get(a, key), *y = json_object_get(b, key);

	return (!x && !y) || json_equal(x, y);
}

/* Rows of one word in a narrow cell; where it was dropped and how its connection was found stand in the wide one. */
static bool same_drop(const json_t *a, const json_t *b, bool wide)
{
	return same_text(a, b, "reason") && same_text(a, b, "direction") &&
	       same_text(a, b, "class") &&
	       (!wide || (same_text(a, b, "site") && same_text(a, b, "where")));
}

/* Segments of all rows like the @i-th; 0 where an earlier one told of them. */
static json_int_t sum_like(const json_t *drops, size_t i, bool wide)
{
	const json_t *d = json_array_get(drops, i);
	json_int_t sum = 0;

	for (size_t n = 0; n < json_array_size(drops); n++) {
		const json_t *other = json_array_get(drops, n);

		if (!same_drop(d, other, wide))
			continue;
		if (n < i)
			return 0;
		sum = sonde_view_add(sum, whole(other, "segments"));
	}
	return sum;
}

/* " at tcp_v4_rcv (elsewhere)": a socket that was known needs no word. */
static void list_place(struct list *l, const json_t *drop)
{
	const char *site = json_string_value(json_object_get(drop, "site"));
	const char *where = json_string_value(json_object_get(drop, "where"));

	if (site)
		list_add(l, " at %s", site);
	if (where && strcmp(where, "socket") != 0)
		list_add(l, " (%s)", where);
}

static void list_drops(struct list *l, const json_t *drops, enum meaning meaning, bool wide)
{
	const char *before = "";

	for (size_t i = 0; i < json_array_size(drops); i++) {
		const json_t *d = json_array_get(drops, i);
		const char *reason = json_string_value(json_object_get(d, "reason"));
		const char *direction = json_string_value(json_object_get(d, "direction"));
		const char *class = json_string_value(json_object_get(d, "class"));
		bool out = direction && strcmp(direction, "transmit") == 0;
		json_int_t sum;

		if (meaning_of(d) != meaning)
			continue;
		sum = sum_like(drops, i, wide);
		if (sum == 0)
			continue;
		list_add(l, "%s%s%s%s %" JSON_INTEGER_FORMAT "%s", before,
			 reason ? reason : "no reason", meaning == NO_LOSS ? " " : "",
			 meaning == NO_LOSS ? class : "", sum, out ? " out" : "");
		if (wide)
			list_place(l, d);
		before = ", ";
	}
}

/* The listener's own counter stands apart: some of what it counts are drops, too, so there is no sum of both. */
static void list_listen_drops(struct list *l, const json_t *side)
{
	json_int_t n = whole(side, "listen_drops");

	if (n > 0)
		list_add(l, "; dropped by the listening socket %" JSON_INTEGER_FORMAT, n);
}

/* What was lost first; duplicates and what a closing socket throws away are no loss and stand apart. */
static void cell_drops(struct sonde_table *t, const json_t *side, bool wide)
{
	const json_t *drops = json_object_get(side, "drops");
	_cleanup_list_ struct list l = LIST_INIT;
	json_int_t lost, open;

	if (!json_is_array(drops)) {
		sonde_table_add(t, NULL);
		return;
	}
	lost = sum_drops(drops, LOSS);
	list_add(&l, "%" JSON_INTEGER_FORMAT, lost);
	if (lost) {
		list_add(&l, " (");
		list_drops(&l, drops, LOSS, wide);
		list_add(&l, ")");
	}
	open = sum_drops(drops, MAY_BE_LOSS);
	if (open) {
		list_add(&l, "; may be loss: %" JSON_INTEGER_FORMAT " (", open);
		list_drops(&l, drops, MAY_BE_LOSS, wide);
		list_add(&l, ")");
	}
	if (sum_drops(drops, NO_LOSS)) {
		list_add(&l, "; no loss: ");
		if (wide)
			list_drops(&l, drops, NO_LOSS, true);
		else
			list_classes(&l, drops);
	}
	list_listen_drops(&l, side);
	cell_list(t, &l);
}

/* "5 (local fin 4, remote rst 1)" */
static void cell_closes(struct sonde_table *t, const json_t *closes)
{
	json_int_t sum = 0;
	_cleanup_list_ struct list l = LIST_INIT;

	if (!json_is_array(closes)) {
		sonde_table_add(t, NULL);
		return;
	}
	for (size_t i = 0; i < json_array_size(closes); i++)
		sum = sonde_view_add(sum, whole(json_array_get(closes, i), "count"));
	list_add(&l, "%" JSON_INTEGER_FORMAT, sum);
	for (size_t i = 0; i < json_array_size(closes); i++) {
		const json_t *c = json_array_get(closes, i);
		const char *closer = json_string_value(json_object_get(c, "closer"));
		const char *kind = json_string_value(json_object_get(c, "kind"));

		list_add(&l, "%s%s %s %" JSON_INTEGER_FORMAT, i == 0 ? " (" : ", ",
			 closer ? closer : "?", kind ? kind : "?", whole(c, "count"));
	}
	if (json_array_size(closes) > 0)
		list_add(&l, ")");
	cell_list(t, &l);
}

static void list_failures(struct list *l, const char *words, const json_t *failures)
{
	const json_int_t failed = sum_kinds(failures);

	if (failed <= 0)
		return;
	list_add(l, ", failed%s %" JSON_INTEGER_FORMAT, words, failed);
	list_kinds(l, failures, 0);
}

/* Connects, with the failed ones behind: "10, failed 2 (ECONNREFUSED 2), failed before a SYN 1 (ENETUNREACH 1)". */
static void cell_connects(struct sonde_table *t, const json_t *side)
{
	const json_t *connects = json_object_get(side, "connects");
	_cleanup_list_ struct list l = LIST_INIT;

	if (!json_is_integer(connects)) {
		sonde_table_add(t, NULL);
		return;
	}
	list_add(&l, "%" JSON_INTEGER_FORMAT, json_integer_value(connects));
	list_failures(&l, "", json_object_get(side, "connect_failures"));
	list_failures(&l, " before a SYN", json_object_get(side, "local_connect_failures"));
	cell_list(t, &l);
}

static void wide_cells(struct sonde_table *t, const json_t *side, const json_t *edge)
{
	const json_t *rtt = json_object_get(side, "rtt_us");
	const json_t *handshake = json_object_get(side, "handshake_us");

	sonde_cell_count(t, rtt, "count");
	sonde_cell_us(t, side, "rtt_min_us");
	sonde_cell_us(t, side, "smoothed_rtt_us");
	sonde_cell_us(t, side, "rtt_deviation_us");
	sonde_cell_us(t, handshake, "p50");
	sonde_cell_us(t, handshake, "p99");
	sonde_cell_count(t, side, "sent_segments");
	sonde_cell_count(t, side, "received_segments");
	sonde_cell_bytes(t, side, "acked_bytes");
	sonde_cell_bytes(t, side, "arrived_bytes");
	sonde_cell_count(t, side, "write_calls");
	sonde_cell_count(t, side, "read_calls");
	sonde_cell_count(t, side, "half_closed");
	sonde_cell_count(t, side, "resets_sent");
	sonde_cell_count(t, side, "resets_received");
	sonde_cell_count(t, side, "open_at_end");
	sonde_cell_count(t, edge, "members");
	sonde_cell_text(t, edge, "id");
}

static void cells(struct sonde_table *t, const json_t *edge, const json_t *side, bool wide)
{
	const json_t *rtt = json_object_get(side, "rtt_us");

	sonde_cell_us(t, rtt, "min");
	sonde_cell_us(t, rtt, "p50");
	if (wide)
		sonde_cell_us(t, rtt, "p90");
	sonde_cell_us(t, rtt, "p99");
	sonde_cell_kinds(t, json_object_get(side, "retransmits"),
			 json_object_get(side, "retransmitted_segments"));
	cell_drops(t, side, wide);
	sonde_cell_bytes(t, side, "sent_bytes");
	sonde_cell_bytes(t, side, "received_bytes");
	cell_connects(t, side);
	sonde_cell_count(t, side, "accepts");
	cell_closes(t, json_object_get(side, "closes"));
	if (wide)
		wide_cells(t, side, edge);
}

static size_t count_udp(const json_t *edges)
{
	size_t n = 0;

	for (size_t i = 0; i < json_array_size(edges); i++)
		n += sonde_view_edge_is_udp(json_array_get(edges, i));
	return n;
}

/* One that was open all the while, or a listener's, is no row to read. */
static bool is_idle(const json_t *side)
{
	static const char *const counts[] = {"sent_bytes",	"received_bytes",
					     "sent_segments",	"received_segments",
					     "connects",	"accepts",
					     "half_closed",	"resets_sent",
					     "resets_received", "retransmitted_segments",
					     "listen_drops"};
	static const char *const lists[] = {"drops", "closes", "connect_failures",
					    "local_connect_failures"};

	bool known = false; /* a side of which nothing is known is not idle */

	if (whole(json_object_get(side, "rtt_us"), "count") > 0)
		return false;
	for (size_t i = 0; i < ELEMENTS_OF(counts); i++) {
		known = known || json_is_integer(json_object_get(side, counts[i]));
		if (whole(side, counts[i]) > 0)
			return false;
	}
	for (size_t i = 0; i < ELEMENTS_OF(lists); i++) {
		const json_t *list = json_object_get(side, lists[i]);

		if (json_array_size(list) > 0 || json_object_size(list) > 0)
			return false;
	}
	return known;
}

static int tcp_edges(struct sonde_cli *cli, const json_t *edges, const struct sonde_graph *graph)
{
	bool wide = sonde_cli_output(cli) == SONDE_CLI_WIDE;

	return sonde_view_sides(
		cli, edges, graph,
		&(struct sonde_view_sides){.columns = wide ? wide_columns : short_columns,
					   .wide = wide,
					   .cells = cells,
					   .is_idle = wide ? NULL : is_idle});
}

/* Far above the least, and as long as a peer may hold an ACK back (Linux: 40 to 200 ms). */
static bool looks_delayed(const json_t *side)
{
	const json_t *rtt = json_object_get(side, "rtt_us");

	return whole(rtt, "p99") >= DELAYED_ACK_US && whole(rtt, "p99") / 4 > whole(rtt, "min");
}

static void note_delayed_acks(struct sonde_cli *cli, const json_t *edges)
{
	for (size_t i = 0; i < json_array_size(edges); i++) {
		const json_t *edge = json_array_get(edges, i);

		if (!looks_delayed(json_object_get(edge, "client_side")) &&
		    !looks_delayed(json_object_get(edge, "server_side")))
			continue;
		sonde_cli_note(
			cli,
			"RTT is the time until the ACK: a peer that has nothing to send may "
			"hold it back (delayed ACK, 40 to 200 ms); MIN is nearest to the path's");
		return;
	}
}

void sonde_view_no_edge(struct sonde_cli *cli, const json_t *topology)
{
	const json_t *window = json_object_get(topology, "window");

	if (json_is_integer(json_object_get(window, "step_ms")))
		sonde_cli_note(cli, "no edge: no report has anything in that window");
	else
		sonde_cli_note(cli,
			       "no edge: the targets have had no traffic that is measured so far");
}

int sonde_view_edges(struct sonde_cli *cli, const json_t *topology)
{
	_cleanup_(sonde_graph_freep) struct sonde_graph *graph = NULL;
	const json_t *edges = json_object_get(topology, "edges");
	size_t n = json_array_size(edges), udp = count_udp(edges);
	int r, status = SONDE_CLI_OK;

	if (n == 0) {
		sonde_view_no_edge(cli, topology);
		return SONDE_CLI_OK;
	}
	r = sonde_graph_new(topology, &graph);
	if (r < 0)
		return sonde_cli_broken(cli, r);
	if (n > udp) {
		status = tcp_edges(cli, edges, graph);
		note_delayed_acks(cli, edges);
	}
	if (n > udp && status == SONDE_CLI_OK && sonde_cli_output(cli) == SONDE_CLI_WIDE) {
		sonde_view_heading(cli, "TCP: WHAT LIMITS IT");
		status = sonde_view_limits(cli, edges, graph);
	}
	if (status != SONDE_CLI_OK || udp == 0)
		return status;
	if (n > udp)
		sonde_view_heading(cli, "UDP");
	return sonde_view_udp_edges(cli, topology, graph);
}

/* What one end did or suffered: of these the other end saw nothing. */
static void add_own(const json_t *side, struct sonde_view_totals *t)
{
	t->sent_segments = sonde_view_add(t->sent_segments, whole(side, "sent_segments"));
	t->retransmits = sonde_view_add(t->retransmits, whole(side, "retransmitted_segments"));
	t->drops = sonde_view_add(t->drops, sonde_view_own_loss(side));
	t->sides += json_is_object(side);
	t->with_bytes += json_is_integer(json_object_get(side, "sent_bytes")) ||
			 json_is_integer(json_object_get(side, "received_bytes"));
	t->with_retransmits += json_is_integer(json_object_get(side, "retransmitted_segments"));
	t->with_drops += json_is_array(json_object_get(side, "drops"));
}

void sonde_view_sum(const json_t *topology, struct sonde_view_totals *ret)
{
	const json_t *edges = json_object_get(topology, "edges");

	*ret = (struct sonde_view_totals){.edges = json_array_size(edges)};
	for (size_t i = 0; i < json_array_size(edges); i++) {
		const json_t *edge = json_array_get(edges, i);
		const json_t *client = json_object_get(edge, "client_side");
		const json_t *server = json_object_get(edge, "server_side");
		const json_t *one = json_is_object(client) ? client : server;

		ret->sent_bytes = sonde_view_add(ret->sent_bytes, whole(one, "sent_bytes"));
		ret->received_bytes =
			sonde_view_add(ret->received_bytes, whole(one, "received_bytes"));
		add_own(client, ret);
		add_own(server, ret);
	}
}
