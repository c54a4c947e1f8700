/* SPDX-License-Identifier: Apache-2.0 */
#include "export/skywalking.h"

#include <assert.h>
#include <string.h>

#include "export/group.h"
#include "model/hist.h"
#include "model/probe-msg.h"

/* Both of a meter's names: "rover_net_p_client_write_counts_counter". */
struct name {
	const char *client, *server;
};
#define NAME(rest)                                                                                 \
	{                                                                                          \
		"rover_net_p_client_" rest, "rover_net_p_server_" rest                             \
	}

static const char *meter_name(const struct name *n, uint8_t role)
{
	return role == SONDE_TCP_ROLE_CLIENT ? n->client : n->server;
}

uint64_t sonde_skywalking_fold(const struct sonde_sparse_hist *h,
			       uint64_t ret[SONDE_SKYWALKING_BOUNDS])
{
	uint64_t sum = 0;

	assert(h && ret);

	memset(ret, 0, SONDE_SKYWALKING_BOUNDS * sizeof(ret[0]));
	for (size_t i = 0; i < h->n; i++) {
		uint64_t us = sonde_hist_lower_us(h->pairs[i].bucket);

		ret[sonde_skywalking_bucket(us)] += h->pairs[i].count;
		sum += h->pairs[i].count;
	}
	return sum;
}

/* A counter that is 0 is not sent. */
static int counter(struct sonde_batch *b, const struct sonde_edge *e,
		   const struct sonde_batch_labels *l, const struct name *name, double value)
{
	if (value == 0)
		return 0;
	return sonde_batch_single(b, meter_name(name, e->role), l, value);
}

/* All buckets, zeros too, when any is not 0. @unit: bounds are microseconds times this. */
static int histogram(struct sonde_batch *b, const struct sonde_edge *e,
		     const struct sonde_batch_labels *l, const struct name *name,
		     const struct sonde_sparse_hist *h, double unit)
{
	struct sonde_batch_bucket buckets[SONDE_SKYWALKING_BOUNDS];
	uint64_t folded[SONDE_SKYWALKING_BOUNDS];

	if (sonde_skywalking_fold(h, folded) == 0)
		return 0;
	for (size_t i = 0; i < SONDE_SKYWALKING_BOUNDS; i++) {
		buckets[i].lower = sonde_skywalking_bounds_us[i] * unit;
		buckets[i].count = (int64_t)folded[i];
	}
	return sonde_batch_histogram(b, meter_name(name, e->role), l, buckets,
				     SONDE_SKYWALKING_BOUNDS);
}

static uint64_t closes(const struct sonde_tcp_cell *c)
{
	uint64_t n = 0;

	for (size_t i = 0; i < SONDE_TCP_CLOSE_MAX; i++)
		n += c->closed[i];
	return n;
}

/* Events, as the replaced agent counts them: one a packet, however many segments it carried. */
static uint64_t lost_packets(const struct sonde_edge *e)
{
	uint64_t n = 0;

	for (size_t i = 0; i < e->n_drops; i++) {
		const struct sonde_edge_drop *d = &e->drops[i];

		if (d->event == SONDE_TCP_EVENT_DROP &&
		    sonde_drop_class_at(d->class, d->reason, d->site) == SONDE_DROP_LOSS)
			n += d->drop.skbs;
	}
	return n;
}

/* As the application made them: one a system call where the option's programs see it return. */
static uint64_t calls(const struct sonde_edge *e, enum sonde_tcp_call_direction direction)
{
	uint64_t n = 0;

	for (size_t i = 0; i < SONDE_TCP_CALL_FAMILIES; i++)
		n += e->calls.calls[direction][i];
	return n;
}

static double mean_time(const struct sonde_edge *e, enum sonde_tcp_call_direction direction)
{
	return sonde_batch_mean(e->calls.time_sum_ns[direction], e->calls.timed[direction]);
}

static int emit_times(struct sonde_batch *b, const struct sonde_edge *e,
		      const struct sonde_batch_labels *l)
{
	static const struct {
		struct name name;
		enum sonde_tcp_call_hist which;
	} rows[] = {
		{NAME("write_exe_time_histogram"), SONDE_TCP_CALL_HIST_WRITE_TIME},
		{NAME("read_exe_time_histogram"), SONDE_TCP_CALL_HIST_READ_TIME},
		{NAME("close_exe_time_histogram"), SONDE_TCP_CALL_HIST_CLOSE_TIME},
	};
	int r = 0;

	for (size_t i = 0; r == 0 && i < ELEMENTS_OF(rows); i++)
		r = histogram(b, e, l, &rows[i].name,
			      &e->hists[SONDE_PROBE_HIST_CALL + rows[i].which], 1000); /* ns */
	return r;
}

static int emit(struct sonde_batch *b, const struct sonde_edge *e, struct sonde_batch_labels *l)
{
	const struct sonde_tcp_cell *c = &e->cell;
	bool client = e->role == SONDE_TCP_ROLE_CLIENT;
	static const struct name rtt = NAME("write_rtt_histogram");
	static const struct name handshake = NAME("connect_exe_time_histogram");
	const struct {
		struct name name;
		double value;
	} rows[] = {
		{NAME("write_counts_counter"), (double)calls(e, SONDE_TCP_CALL_WRITE)},
		{NAME("write_bytes_counter"), (double)c->sent_bytes},
		{NAME("read_counts_counter"), (double)calls(e, SONDE_TCP_CALL_READ)},
		{NAME("read_bytes_counter"), (double)c->received_bytes},
		{NAME("write_exe_time_counter"), mean_time(e, SONDE_TCP_CALL_WRITE)}, /* ns */
		{NAME("read_exe_time_counter"), mean_time(e, SONDE_TCP_CALL_READ)},
		{NAME("write_rtt_counts_counter"), (double)c->rtt_count},
		{NAME("write_rtt_exe_time_counter"),
		 sonde_batch_mean(c->rtt_sum_us, c->rtt_count)}, /* us */
		{NAME("connect_counts_counter"), (double)(client ? c->opened : c->accepted)},
		{NAME("connect_exe_time_counter"), /* ns: the handshake, not the call */
		 sonde_batch_mean(c->handshake_sum_us, c->handshake_count) * 1000},
		{NAME("close_counts_counter"), (double)closes(c)},
		{NAME("close_exe_time_counter"),
		 sonde_batch_mean(e->calls.close_sum_ns, e->calls.close_count)},
		{NAME("retransmit_counts_counter"), (double)c->retransmitted_segments},
		{NAME("drop_counts_counter"), (double)lost_packets(e)},
	};
	size_t n = l->n;
	int r;

	r = sonde_batch_labels_add(l, "protocol", "unknown");
	if (r == 0)
		r = sonde_batch_labels_add(l, "is_ssl", "false");
	for (size_t i = 0; r == 0 && i < ELEMENTS_OF(rows); i++)
		r = counter(b, e, l, &rows[i].name, rows[i].value);
	if (r == 0)
		r = histogram(b, e, l, &rtt, &e->hists[SONDE_PROBE_HIST_RTT], 1);
	if (r == 0)
		r = histogram(b, e, l, &handshake, &e->hists[SONDE_PROBE_HIST_HANDSHAKE], 1000);
	if (r == 0)
		r = emit_times(b, e, l);
	sonde_batch_labels_cut(l, n);
	return r;
}

int sonde_skywalking_emit(struct sonde_batch *b, const struct sonde_edges *edges,
			  enum sonde_skywalking_peers peers)
{
	return sonde_group_emit(b, edges,
				peers == SONDE_SKYWALKING_PEERS_UNKNOWN
					? SONDE_GROUP_SKYWALKING_UNKNOWN
					: SONDE_GROUP_SKYWALKING,
				emit);
}

bool sonde_skywalking_needs(size_t i, const char **ret_meter, const char **ret_metrics)
{
	static const struct {
		const char *meter, *metrics;
	} rows[] = {
		{"rover_net_p_*_write_exe_time_counter", SONDE_PROBE_METRICS_CALL_TIME},
		{"rover_net_p_*_write_exe_time_histogram", SONDE_PROBE_METRICS_CALL_TIME},
		{"rover_net_p_*_read_exe_time_counter", SONDE_PROBE_METRICS_CALL_TIME},
		{"rover_net_p_*_read_exe_time_histogram", SONDE_PROBE_METRICS_CALL_TIME},
		{"rover_net_p_*_close_exe_time_counter", SONDE_PROBE_METRICS_CLOSE_TIME},
		{"rover_net_p_*_close_exe_time_histogram", SONDE_PROBE_METRICS_CLOSE_TIME},
	};

	assert(ret_meter && ret_metrics);

	if (i >= ELEMENTS_OF(rows))
		return false;
	*ret_meter = rows[i].meter;
	*ret_metrics = rows[i].metrics;
	return true;
}

bool sonde_skywalking_signal(size_t i, const char **ret_meter, enum sonde_signal *ret_signal)
{
	static const struct {
		const char *meter;
		enum sonde_signal signal;
	} rows[] = {
		{"rover_net_p_*_write_counts_counter", SONDE_SIGNAL_CALLS},
		{"rover_net_p_*_write_bytes_counter", SONDE_SIGNAL_BYTES},
		{"rover_net_p_*_write_exe_time_counter", SONDE_SIGNAL_CALLS},
		{"rover_net_p_*_write_exe_time_histogram", SONDE_SIGNAL_CALLS},
		{"rover_net_p_*_write_rtt_counts_counter", SONDE_SIGNAL_RTT},
		{"rover_net_p_*_write_rtt_exe_time_counter", SONDE_SIGNAL_RTT},
		{"rover_net_p_*_write_rtt_histogram", SONDE_SIGNAL_RTT},
		{"rover_net_p_*_read_counts_counter", SONDE_SIGNAL_CALLS},
		{"rover_net_p_*_read_bytes_counter", SONDE_SIGNAL_BYTES},
		{"rover_net_p_*_read_exe_time_counter", SONDE_SIGNAL_CALLS},
		{"rover_net_p_*_read_exe_time_histogram", SONDE_SIGNAL_CALLS},
		{"rover_net_p_*_connect_counts_counter", SONDE_SIGNAL_CONNECTION},
		{"rover_net_p_*_connect_exe_time_counter", SONDE_SIGNAL_HANDSHAKE},
		{"rover_net_p_*_connect_exe_time_histogram", SONDE_SIGNAL_HANDSHAKE},
		{"rover_net_p_*_close_counts_counter", SONDE_SIGNAL_CONNECTION},
		{"rover_net_p_*_close_exe_time_counter", SONDE_SIGNAL_CALLS},
		{"rover_net_p_*_close_exe_time_histogram", SONDE_SIGNAL_CALLS},
		{"rover_net_p_*_retransmit_counts_counter", SONDE_SIGNAL_RETRANSMIT},
		{"rover_net_p_*_drop_counts_counter", SONDE_SIGNAL_DROP},
	};

	assert(ret_meter && ret_signal);

	if (i >= ELEMENTS_OF(rows))
		return false;
	*ret_meter = rows[i].meter;
	*ret_signal = rows[i].signal;
	return true;
}
