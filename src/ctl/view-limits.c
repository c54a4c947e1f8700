/* SPDX-License-Identifier: Apache-2.0 */
/* What holds a connection back: shares of its time, windows, rates; and the trouble that is no loss. */
#include "ctl/view-sides.h"
#include "ctl/view.h"

static const struct sonde_column columns[] = {
	{"CLIENT", false, false},
	{"SERVER", false, false},
	{"PORT", true, false},
	{"SIDE", false, false},
	{"BUSY", true, false},
	{"PEER'S WINDOW", true, false},
	{"SEND BUFFER", true, false},
	{"APPLICATION", true, false},
	{"CWND", true, false},
	{"SSTHRESH", true, false},
	{"PACING/S", true, false},
	{"DELIVERY/S", true, false},
	{"RTT MAX", true, false},
	{"JITTER", true, false},
	{"RETRANSMITTED", true, false},
	{"OF SENT", true, false},
	{"SPURIOUS", true, false},
	{"OUT OF ORDER", true, false},
	{"WINDOW SHUT", true, false},
	{"UNREAD CLOSES", true, false},
	{"UNREAD", true, false},
	{"LISTEN DROPS", true, false},
	{"AGE P50", true, false},
	{"RST REASONS", false, false},
	{NULL},
};

static json_int_t whole(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

/* "12.3 %" of two counts that were not taken at the same moment: never more than all of it. */
static void cell_share(struct sonde_table *t, const json_t *side, const char *key, json_int_t all)
{
	json_int_t part = whole(side, key);

	if (!json_is_integer(json_object_get(side, key)) || all <= 0 || part < 0) {
		sonde_table_add(t, NULL);
		return;
	}
	if (part > all)
		part = all;
	sonde_table_addf(t, "%.1f %%", 100.0 * (double)part / (double)all);
}

static void cell_milliseconds(struct sonde_table *t, const json_t *object, const char *key)
{
	const json_t *v = json_object_get(object, key);

	if (json_is_integer(v))
		sonde_table_addf(t, "%" JSON_INTEGER_FORMAT " ms", json_integer_value(v));
	else
		sonde_table_add(t, NULL);
}

static void cells(struct sonde_table *t, const json_t *edge, const json_t *side, bool wide)
{
	json_int_t all = 0; /* not known where a part is not: no shares */

	if (json_is_integer(json_object_get(side, "busy_us")) &&
	    json_is_integer(json_object_get(side, "application_limited_us")))
		all = sonde_view_add(whole(side, "busy_us"), whole(side, "application_limited_us"));

	cell_share(t, side, "busy_us", all);
	cell_share(t, side, "receive_window_limited_us", all);
	cell_share(t, side, "send_buffer_limited_us", all);
	cell_share(t, side, "application_limited_us", all);
	sonde_cell_count(t, side, "congestion_window_segments");
	sonde_cell_count(t, side, "slow_start_threshold_segments");
	sonde_cell_bytes(t, side, "pacing_rate_bytes");
	sonde_cell_bytes(t, side, "delivery_rate_bytes");
	sonde_cell_us(t, side, "rtt_max_us");
	sonde_cell_us(t, side, "rtt_jitter_us");
	sonde_cell_bytes(t, side, "retransmitted_bytes");
	cell_share(t, side, "retransmitted_segments", whole(side, "sent_segments"));
	sonde_cell_count(t, side, "dsack_segments");
	sonde_cell_count(t, side, "out_of_order_segments");
	sonde_cell_us(t, side, "zero_window_sent_us");
	sonde_cell_count(t, side, "unread_closes");
	sonde_cell_bytes(t, side, "unread_bytes");
	sonde_cell_count(t, side, "listen_drops");
	cell_milliseconds(t, json_object_get(side, "connection_age_ms"), "p50");
	sonde_cell_kinds(t, json_object_get(side, "reset_reasons"), NULL);
}

int sonde_view_limits(struct sonde_cli *cli, const json_t *edges, const struct sonde_graph *graph)
{
	return sonde_view_sides(cli, edges, graph,
				&(struct sonde_view_sides){.columns = columns, .cells = cells});
}
