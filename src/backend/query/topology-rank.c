/* SPDX-License-Identifier: Apache-2.0 */
/* What the edges of a topology are ranked by, and what is left out for being small. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backend/json.h"
#include "backend/query/topology.h"
#include "base/num.h"
#include "model/meters.h"

#define NONE _SONDE_METER_MAX

/* ONE_SIDE: what both ends see, of the client where it is a target, else of the server. BOTH: what each end has for itself; DROPPED: of that what is loss. */
enum how {
	ONE_SIDE,
	BOTH_SIDES,
	DROPPED,
	PERCENTILE,
};

static const struct {
	const char *name, *unit;
	enum how how;
	enum sonde_meter tcp[2], udp[2];
	unsigned percent;
} ranks[] = {
	[SONDE_RANK_BYTES] = {"bytes",
			      "bytes",
			      ONE_SIDE,
			      {SONDE_METER_SENT_BYTES, SONDE_METER_RECEIVED_BYTES},
			      {SONDE_METER_UDP_SENT_BYTES, SONDE_METER_UDP_RECEIVED_BYTES},
			      0},
	[SONDE_RANK_SEGMENTS] = {"segments",
				 "segments",
				 ONE_SIDE,
				 {SONDE_METER_SEGMENTS_SENT, SONDE_METER_SEGMENTS_RECEIVED},
				 {NONE, NONE},
				 0},
	[SONDE_RANK_DATAGRAMS] = {"datagrams",
				  "datagrams",
				  ONE_SIDE,
				  {NONE, NONE},
				  {SONDE_METER_UDP_SENT_DATAGRAMS,
				   SONDE_METER_UDP_RECEIVED_DATAGRAMS},
				  0},
	[SONDE_RANK_RETRANSMITTED] = {"retransmitted_segments",
				      "segments",
				      BOTH_SIDES,
				      {SONDE_METER_RETRANSMITTED_SEGMENTS, NONE},
				      {NONE, NONE},
				      0},
	[SONDE_RANK_DROPPED] =
		{"dropped_segments", "segments", DROPPED, {NONE, NONE}, {NONE, NONE}, 0},
	[SONDE_RANK_CONNECTIONS] = {"connections",
				    "connections",
				    ONE_SIDE,
				    {SONDE_METER_CONNECTIONS_OPENED,
				     SONDE_METER_CONNECTIONS_ACCEPTED},
				    {NONE, NONE},
				    0},
	[SONDE_RANK_CONNECT_FAILURES] = {"connect_failures",
					 "connections",
					 ONE_SIDE,
					 {SONDE_METER_CONNECT_FAILURES, NONE},
					 {NONE, NONE},
					 0},
	[SONDE_RANK_RESETS] = {"resets",
			       "segments",
			       ONE_SIDE,
			       {SONDE_METER_RESETS_SENT, SONDE_METER_RESETS_RECEIVED},
			       {NONE, NONE},
			       0},
	[SONDE_RANK_RTT_P50] = {"rtt_p50", "us", PERCENTILE, {NONE, NONE}, {NONE, NONE}, 50},
	[SONDE_RANK_RTT_P90] = {"rtt_p90", "us", PERCENTILE, {NONE, NONE}, {NONE, NONE}, 90},
	[SONDE_RANK_RTT_P99] = {"rtt_p99", "us", PERCENTILE, {NONE, NONE}, {NONE, NONE}, 99},
};
_Static_assert(ELEMENTS_OF(ranks) == _SONDE_RANK_MAX, "a row for each");

enum sonde_rank sonde_rank_find(const char *name)
{
	unsigned i = 0;

	while (i < _SONDE_RANK_MAX && strcmp(ranks[i].name, name) != 0)
		i++;
	return i;
}

const char *sonde_rank_name(enum sonde_rank r)
{
	return ranks[r].name;
}

const char *sonde_rank_unit(enum sonde_rank r)
{
	return ranks[r].unit;
}

bool sonde_rank_is_sum(enum sonde_rank r)
{
	return ranks[r].how != PERCENTILE;
}

static const struct sonde_side *one_side(const struct sonde_topology_edge *e)
{
	return e->client_side.present ? &e->client_side : &e->server_side;
}

/* Adds a meter of a side; a counter that did not come, and is not said to be absent, is 0. */
static bool add_meter(const struct sonde_topology *tp, const struct sonde_side *s,
		      enum sonde_meter meter, int64_t *sum)
{
	if (meter == NONE || !s->present ||
	    (!s->have[meter] && sonde_side_absent(tp->absent, meter)))
		return false;
	*sum = sonde_add_i64(*sum, s->value[meter]);
	return true;
}

/* Loss of this end; a packet that both ends have is the receiver's. */
static bool is_own_loss(const json_t *drop)
{
	return strcmp(sonde_json_get_text(drop, "class", ""), "loss") == 0 &&
	       !sonde_meter_drop_is_the_receivers(sonde_json_get_text(drop, "direction", ""),
						  sonde_json_get_text(drop, "where", ""));
}

/* What of a side's drops is loss. */
static bool add_dropped(const struct sonde_topology *tp, const struct sonde_topology_edge *e,
			const struct sonde_side *s, int64_t *sum)
{
	const json_t *row;
	int64_t all = 0;
	size_t i;

	if (e->udp)
		return add_meter(tp, s, SONDE_METER_UDP_BUFFER_DROPPED, sum);
	if (!add_meter(tp, s, SONDE_METER_RECEIVE_DROPPED, &all) &&
	    !add_meter(tp, s, SONDE_METER_TRANSMIT_DROPPED, &all))
		return false;
	json_array_foreach(s->drops, i, row)
	{
		if (is_own_loss(row))
			*sum = sonde_add_i64(*sum, sonde_json_get_int(row, "segments", 0));
	}
	return true;
}

static bool add_sum(const struct sonde_topology *tp, enum sonde_rank rank,
		    const struct sonde_topology_edge *e, int64_t *sum)
{
	const enum sonde_meter *meters = e->udp ? ranks[rank].udp : ranks[rank].tcp;
	bool known = false;

	if (ranks[rank].how == DROPPED) {
		known = add_dropped(tp, e, &e->client_side, sum);
		return add_dropped(tp, e, &e->server_side, sum) || known;
	}
	for (size_t i = 0; i < 2; i++) {
		if (ranks[rank].how == ONE_SIDE) {
			known = add_meter(tp, one_side(e), meters[i], sum) || known;
			continue;
		}
		known = add_meter(tp, &e->client_side, meters[i], sum) || known;
		known = add_meter(tp, &e->server_side, meters[i], sum) || known;
	}
	return known;
}

/* The client's samples where there are any, else the server's. */
static const struct sonde_side_histogram *one_rtt(const struct sonde_topology_edge *e)
{
	return sonde_side_count(&e->client_side.rtt) > 0 ? &e->client_side.rtt
							 : &e->server_side.rtt;
}

static int value_members(struct sonde_topology *tp)
{
	enum sonde_rank rank = tp->query->rank;
	int r = 0;

	for (struct sonde_topology_edge *e = tp->members; e && r == 0; e = e->hh.next) {
		if (ranks[rank].how == PERCENTILE)
			r = sonde_side_merge(&e->shown->rtt, one_rtt(e));
		else if (add_sum(tp, rank, e, &e->shown->value))
			e->shown->valued = true;
	}
	for (struct sonde_topology_edge *e = tp->shown;
	     e && r == 0 && ranks[rank].how == PERCENTILE; e = e->hh.next) {
		e->valued = sonde_side_count(&e->rtt) > 0;
		e->value = e->valued ? sonde_side_percentile(&e->rtt, ranks[rank].percent) : 0;
	}
	return r;
}

static int by_ends(struct sonde_topology_edge *a, struct sonde_topology_edge *b)
{
	int c = strcmp(a->client, b->client);

	c = c ? c : strcmp(a->server, b->server);
	c = c ? c : (int)a->udp - (int)b->udp;
	return c ? c : (a->port > b->port) - (a->port < b->port);
}

/* The largest first, then those without a value. */
static int by_value(struct sonde_topology_edge *a, struct sonde_topology_edge *b)
{
	if (a->valued != b->valued)
		return a->valued ? -1 : 1;
	if (a->value != b->value)
		return a->value > b->value ? -1 : 1;
	return by_ends(a, b);
}

static int64_t sum_values(const struct sonde_topology *tp, bool hidden_only)
{
	int64_t sum = 0;

	for (struct sonde_topology_edge *e = tp->shown; e; e = e->hh.next) {
		if (e->valued && (e->hidden || !hidden_only))
			sum = sonde_add_i64(sum, e->value);
	}
	return sum;
}

static void hide(struct sonde_topology *tp)
{
	double least = (double)tp->sum * (double)tp->query->hide_below / 100;
	uint64_t n = 0;

	for (struct sonde_topology_edge *e = tp->shown; e; e = e->hh.next) {
		e->hidden = e->valued && (double)e->value < least;
		if (!e->hidden && tp->query->top > 0 && ++n > tp->query->top)
			e->hidden = true;
	}
	for (struct sonde_topology_node *node = tp->nodes; node; node = node->hh.next)
		node->hidden = true;
	for (struct sonde_topology_edge *e = tp->shown; e; e = e->hh.next) {
		struct sonde_topology_node *node;

		if (e->hidden)
			continue;
		HASH_FIND_STR(tp->nodes, e->client, node);
		if (node)
			node->hidden = false;
		HASH_FIND_STR(tp->nodes, e->server, node);
		if (node)
			node->hidden = false;
	}
}

int sonde_topology_rank(struct sonde_topology *tp)
{
	bool same = tp->shown == tp->members;
	int r;

	r = value_members(tp);
	if (r < 0)
		return r;
	tp->sum = sum_values(tp, false);
	HASH_SORT(tp->shown, by_value);
	hide(tp);
	if (!tp->query->ranked)
		HASH_SORT(tp->shown, by_ends);
	if (same) /* sorting moved the head of the one table */
		tp->members = tp->shown;
	return 0;
}

static json_t *part_of(int64_t value, int64_t all)
{
	return json_real(all > 0 ? (double)value / (double)all : 0.0);
}

json_t *sonde_topology_share(const struct sonde_topology *tp,
			     const struct sonde_topology_edge *edge)
{
	if (!edge->valued || !sonde_rank_is_sum(tp->query->rank))
		return json_null();
	return part_of(edge->value, tp->sum);
}

json_t *sonde_topology_ranking(const struct sonde_topology *tp)
{
	enum sonde_rank rank = tp->query->rank;

	return json_pack("{s:s, s:s, s:o}", "metric", ranks[rank].name, "unit", ranks[rank].unit,
			 "sum", sonde_rank_is_sum(rank) ? json_integer(tp->sum) : json_null());
}

json_t *sonde_topology_more(const struct sonde_topology *tp)
{
	bool is_sum = sonde_rank_is_sum(tp->query->rank);
	int64_t value = sum_values(tp, true);
	json_int_t edges = 0, nodes = 0;

	for (struct sonde_topology_edge *e = tp->shown; e; e = e->hh.next)
		edges += e->hidden;
	for (struct sonde_topology_node *n = tp->nodes; n; n = n->hh.next)
		nodes += n->hidden;
	return json_pack("{s:I, s:I, s:o, s:o}", "edges", edges, "nodes", nodes, "value",
			 is_sum ? json_integer(value) : json_null(), "share",
			 is_sum ? part_of(value, tp->sum) : json_null());
}

/* What a client sent, by its own count or else by what the server received; or the other way round. */
static bool add_sent(const struct sonde_topology *tp, const struct sonde_topology_edge *e,
		     bool by_server, int64_t *sum)
{
	enum sonde_meter sent = e->udp ? SONDE_METER_UDP_SENT_BYTES : SONDE_METER_SENT_BYTES;
	enum sonde_meter received =
		e->udp ? SONDE_METER_UDP_RECEIVED_BYTES : SONDE_METER_RECEIVED_BYTES;

	return add_meter(tp, one_side(e), e->client_side.present == by_server ? received : sent,
			 sum);
}

json_t *sonde_topology_totals(const struct sonde_topology *tp)
{
	static const enum sonde_rank shown[] = {
		SONDE_RANK_SEGMENTS, SONDE_RANK_DATAGRAMS,   SONDE_RANK_RETRANSMITTED,
		SONDE_RANK_DROPPED,  SONDE_RANK_CONNECTIONS, SONDE_RANK_CONNECT_FAILURES,
		SONDE_RANK_RESETS,
	};
	_cleanup_(sonde_side_histogram_done) struct sonde_side_histogram rtt = {0};
	_cleanup_json_ json_t *o = json_object();
	int64_t sum[_SONDE_RANK_MAX] = {0}, sent[2] = {0};
	bool known[_SONDE_RANK_MAX] = {false}, has_sent[2] = {false};
	int r = o ? 0 : -ENOMEM;

	for (struct sonde_topology_edge *e = tp->members; e && r == 0; e = e->hh.next) {
		for (size_t i = 0; i < 2; i++)
			has_sent[i] = add_sent(tp, e, i == 1, &sent[i]) || has_sent[i];
		for (size_t i = 0; i < ELEMENTS_OF(shown); i++)
			known[shown[i]] =
				add_sum(tp, shown[i], e, &sum[shown[i]]) || known[shown[i]];
		r = sonde_side_merge(&rtt, one_rtt(e));
	}
	if (r == 0)
		r = sonde_json_set(o, "client_sent_bytes",
				   has_sent[0] ? json_integer(sent[0]) : json_null());
	if (r == 0)
		r = sonde_json_set(o, "server_sent_bytes",
				   has_sent[1] ? json_integer(sent[1]) : json_null());
	for (size_t i = 0; i < ELEMENTS_OF(shown) && r == 0; i++)
		r = sonde_json_set(o, ranks[shown[i]].name,
				   known[shown[i]] ? json_integer(sum[shown[i]]) : json_null());
	if (r == 0)
		r = sonde_json_set(o, "rtt_us", sonde_side_histogram_json(&rtt, NULL));
	return r < 0 ? NULL : TAKE_PTR(o);
}
