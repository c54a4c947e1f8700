/* SPDX-License-Identifier: Apache-2.0 */
#include "export/sonde-net.h"

#include <assert.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>

#include "export/group.h"
#include "model/hist.h"
#include "model/meters.h"
#include "model/probe-msg.h"

struct out {
	struct sonde_batch *b;
	const struct sonde_edge *e;
	struct sonde_batch_labels *l;
};

/* Counters that are one field of the cell. */
static const struct {
	enum sonde_meter meter;
	size_t offset;
} fields[] = {
#define FIELD(meter, field)                                                                        \
	{                                                                                          \
		SONDE_METER_##meter, offsetof(struct sonde_tcp_cell, field)                        \
	}
	FIELD(CONNECTIONS_OPENED, opened),
	FIELD(CONNECTIONS_ACCEPTED, accepted),
	FIELD(CONNECTIONS_HALF_CLOSED, half_closed),
	FIELD(UNREAD_CLOSES, unread_closes),
	FIELD(UNREAD_BYTES, unread_bytes),
	FIELD(LISTEN_DROPS, listen_drops),
	FIELD(RESETS_SENT, resets_sent),
	FIELD(RESETS_RECEIVED, resets_received),
	FIELD(SENT_BYTES, sent_bytes),
	FIELD(ACKED_BYTES, acked_bytes),
	FIELD(RECEIVED_BYTES, received_bytes),
	FIELD(ARRIVED_BYTES, arrived_bytes),
	FIELD(SEGMENTS_SENT, segments_out),
	FIELD(SEGMENTS_RECEIVED, segments_in),
	FIELD(RETRANSMITTED_SEGMENTS, retransmitted_segments),
	FIELD(RETRANSMITTED_BYTES, retransmitted_bytes),
	FIELD(DSACK_SEGMENTS, dsack_segments),
	FIELD(OUT_OF_ORDER, out_of_order_segments),
	FIELD(BUSY, busy_us),
	FIELD(RWND_LIMITED, rwnd_limited_us),
	FIELD(SNDBUF_LIMITED, sndbuf_limited_us),
	FIELD(ZERO_WINDOW_SENT_TIME, zero_window_sent_us),
	FIELD(WRITE_CALLS, write_calls),
	FIELD(READ_CALLS, read_calls),
	FIELD(RTT_SUM, rtt_sum_us),
#undef FIELD
};

/* … and of its calls. */
static const struct {
	enum sonde_meter meter;
	size_t offset;
} call_fields[] = {
#define FIELD(meter, field)                                                                        \
	{                                                                                          \
		SONDE_METER_##meter, offsetof(struct sonde_tcp_calls, field)                       \
	}
	FIELD(WRITE_TIMED_CALLS, timed[SONDE_TCP_CALL_WRITE]),
	FIELD(READ_TIMED_CALLS, timed[SONDE_TCP_CALL_READ]),
	FIELD(WRITE_TIME_SUM, time_sum_ns[SONDE_TCP_CALL_WRITE]),
	FIELD(READ_TIME_SUM, time_sum_ns[SONDE_TCP_CALL_READ]),
	FIELD(WRITE_BLOCKED_CALLS, blocked[SONDE_TCP_CALL_WRITE]),
	FIELD(READ_BLOCKED_CALLS, blocked[SONDE_TCP_CALL_READ]),
	FIELD(WRITE_BLOCKED_SUM, blocked_sum_ns[SONDE_TCP_CALL_WRITE]),
	FIELD(READ_BLOCKED_SUM, blocked_sum_ns[SONDE_TCP_CALL_READ]),
	FIELD(ACCEPT_CALLS, accepts),
	FIELD(ACCEPT_QUEUE_SUM, accept_queue_sum_ns),
	FIELD(CLOSE_TIME_SUM, close_sum_ns),
#undef FIELD
};

static uint64_t field(const void *counters, size_t offset)
{
	uint64_t v;

	memcpy(&v, (const uint8_t *)counters + offset, sizeof(v));
	return v;
}

static int gauge(struct out *o, enum sonde_meter m, double value)
{
	return sonde_batch_single(o->b, sonde_meter_info(m)->name, o->l, value);
}

/* A counter of 0 is not sent. */
static int counter(struct out *o, enum sonde_meter m, uint64_t value)
{
	return value ? gauge(o, m, (double)value) : 0;
}

struct label {
	const char *name, *value;
};

/* The same with labels more. */
static int labelled(struct out *o, enum sonde_meter m, uint64_t value, const struct label *labels,
		    size_t n_labels)
{
	size_t n = o->l->n;
	int r = 0;

	if (value == 0)
		return 0;
	for (size_t i = 0; r == 0 && i < n_labels; i++)
		r = sonde_batch_labels_add(o->l, labels[i].name, labels[i].value);
	if (r == 0)
		r = counter(o, m, value);
	sonde_batch_labels_cut(o->l, n);
	return r;
}

static int labelled_one(struct out *o, enum sonde_meter m, uint64_t value, const char *name,
			const char *label)
{
	return labelled(o, m, value, &(struct label){name, label}, 1);
}

/* @lower_of: in which of a report's buckets one of the kernel's goes, by its lower bound. */
static int histogram_by(struct out *o, enum sonde_meter m, const struct sonde_sparse_hist *h,
			uint64_t (*lower_of)(uint32_t bucket))
{
	struct sonde_batch_bucket buckets[SONDE_HIST_BUCKETS];
	size_t n = 0;

	for (size_t i = 0; i < h->n; i++) {
		double lower = (double)lower_of(h->pairs[i].bucket);

		if (!h->pairs[i].count)
			continue;
		if (n == 0 || buckets[n - 1].lower < lower) {
			if (n == SONDE_HIST_BUCKETS)
				break;
			buckets[n++] = (struct sonde_batch_bucket){.lower = lower};
		}
		buckets[n - 1].count += (int64_t)h->pairs[i].count;
	}
	if (n == 0)
		return 0;
	return sonde_batch_histogram(o->b, sonde_meter_info(m)->name, o->l, buckets, n);
}

static int histogram(struct out *o, enum sonde_meter m, const struct sonde_sparse_hist *h)
{
	return histogram_by(o, m, h, sonde_hist_report_lower_us);
}

static int emit_arrays(struct out *o)
{
	const struct sonde_tcp_cell *c = &o->e->cell;
	int r = 0;

	for (unsigned i = 0; r == 0 && i < SONDE_TCP_CLOSE_MAX; i++)
		r = labelled(o, SONDE_METER_CONNECTIONS_CLOSED, c->closed[i],
			     (struct label[]){{"closer", sonde_meter_closer(i)},
					      {"kind", sonde_meter_close_kind(i)}},
			     2);
	for (unsigned i = 0; r == 0 && i < SONDE_TCP_CONNECT_ERROR_MAX; i++)
		r = labelled_one(o, SONDE_METER_CONNECT_FAILURES, c->connect_failed[i], "errno",
				 sonde_meter_errno(i));
	for (unsigned i = 0; r == 0 && i < SONDE_TCP_RETRANSMIT_MAX; i++)
		r = labelled_one(o, SONDE_METER_RETRANSMITS, c->retransmit[i], "kind",
				 sonde_meter_retransmit(i));
	for (unsigned i = 0; r == 0 && i < SONDE_TCP_RETRANSMIT_MAX; i++)
		r = labelled_one(o, SONDE_METER_RETRANSMIT_BYTES, c->retransmit_bytes[i], "kind",
				 sonde_meter_retransmit(i));
	return r;
}

static int emit_call_hists(struct out *o)
{
	static const enum sonde_meter meters[] = {
		[SONDE_TCP_CALL_HIST_WRITE_TIME] = SONDE_METER_WRITE_TIME,
		[SONDE_TCP_CALL_HIST_READ_TIME] = SONDE_METER_READ_TIME,
		[SONDE_TCP_CALL_HIST_CLOSE_TIME] = SONDE_METER_CLOSE_TIME,
		[SONDE_TCP_CALL_HIST_ACCEPT_QUEUE] = SONDE_METER_ACCEPT_QUEUE,
		[SONDE_TCP_CALL_HIST_WRITE_SIZE] = SONDE_METER_WRITE_SIZE,
		[SONDE_TCP_CALL_HIST_READ_SIZE] = SONDE_METER_READ_SIZE,
	};
	int r = 0;

	_Static_assert(ELEMENTS_OF(meters) == SONDE_TCP_CALL_HIST_MAX, "a meter for each");
	for (size_t i = 0; r == 0 && i < ELEMENTS_OF(meters); i++)
		r = histogram_by(o, meters[i], &o->e->hists[SONDE_PROBE_HIST_CALL + i],
				 i < SONDE_TCP_CALL_HIST_COARSE ? sonde_hist_lower_us
								: sonde_hist_report_lower_us);
	return r;
}

static int emit_calls(struct out *o)
{
	static const enum sonde_meter by_kind[] = {
		[SONDE_TCP_CALL_WRITE] = SONDE_METER_WRITE_CALLS_BY_KIND,
		[SONDE_TCP_CALL_READ] = SONDE_METER_READ_CALLS_BY_KIND,
	};
	const struct sonde_tcp_calls *c = &o->e->calls;
	int r = 0;

	for (unsigned d = 0; d < SONDE_TCP_CALL_DIRECTIONS; d++) {
		for (unsigned i = 0; r == 0 && i < SONDE_TCP_CALL_FAMILIES; i++)
			r = labelled_one(o, by_kind[d], c->calls[d][i], "kind",
					 sonde_meter_call_family(d, i));
	}
	for (size_t i = 0; r == 0 && i < ELEMENTS_OF(call_fields); i++)
		r = counter(o, call_fields[i].meter, field(c, call_fields[i].offset));
	for (unsigned i = 0; r == 0 && i < SONDE_TCP_LOCAL_ERROR_MAX; i++)
		r = labelled_one(o, SONDE_METER_LOCAL_CONNECT_FAILURES, c->local_failed[i], "errno",
				 sonde_meter_local_errno(i));
	return r < 0 ? r : emit_call_hists(o);
}

static int emit_drop(struct out *o, const struct sonde_edge_drop *d)
{
	const struct label labels[] = {
		{"kind", sonde_drop_class_name(sonde_drop_class_at(d->class, d->reason, d->site))},
		{"reason", d->reason},
		{"where", sonde_meter_where(d->where)},
		{"site", d->site},
	};
	bool receive = d->direction == SONDE_TCP_DIRECTION_RX;
	size_t n = ELEMENTS_OF(labels) - !d->site[0];
	int r;

	r = labelled(o, receive ? SONDE_METER_RECEIVE_DROPPED : SONDE_METER_TRANSMIT_DROPPED,
		     d->drop.segments, labels, n);
	if (r == 0)
		r = labelled(o,
			     receive ? SONDE_METER_RECEIVE_DROPPED_SKBS
				     : SONDE_METER_TRANSMIT_DROPPED_SKBS,
			     d->drop.skbs, labels, n);
	if (r == 0)
		r = labelled(o,
			     receive ? SONDE_METER_RECEIVE_DROPPED_BYTES
				     : SONDE_METER_TRANSMIT_DROPPED_BYTES,
			     d->drop.bytes, labels, n);
	return r;
}

static int emit_events(struct out *o)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < o->e->n_drops; i++) {
		const struct sonde_edge_drop *d = &o->e->drops[i];

		if (d->event == SONDE_TCP_EVENT_DROP)
			r = emit_drop(o, d);
		else
			r = labelled_one(o, SONDE_METER_RESET_REASONS, d->drop.skbs, "reason",
					 d->reason);
	}
	return r;
}

static int gauge_mean(struct out *o, enum sonde_meter m, uint64_t sum, uint64_t n)
{
	return n ? gauge(o, m, sonde_batch_mean(sum, n)) : 0;
}

/* Means of the open connections; absent while none has such a value. */
static int emit_gauges(struct out *o)
{
	const struct sonde_tcp_cell *c = &o->e->cell;
	int r;

	r = gauge(o, SONDE_METER_CONNECTIONS_OPEN, (double)c->open);
	if (r == 0)
		r = gauge_mean(o, SONDE_METER_SRTT, c->srtt_sum_us, c->rtt_sockets);
	if (r == 0)
		r = gauge_mean(o, SONDE_METER_RTT_DEVIATION, c->rttvar_sum_us, c->rtt_sockets);
	if (r == 0 && c->rtt_min_us)
		r = gauge(o, SONDE_METER_RTT_MIN, (double)c->rtt_min_us);
	if (r == 0)
		r = gauge_mean(o, SONDE_METER_CWND, c->cwnd_sum, c->cwnd_sum ? c->open : 0);
	if (r == 0)
		r = gauge_mean(o, SONDE_METER_SSTHRESH, c->ssthresh_sum, c->ssthresh_sockets);
	if (r == 0)
		r = gauge_mean(o, SONDE_METER_PACING_RATE, c->pacing_sum, c->pacing_sockets);
	if (r == 0)
		r = gauge_mean(o, SONDE_METER_DELIVERY_RATE, c->delivery_sum, c->delivery_sockets);
	if (r == 0 && c->delivery_sockets)
		r = gauge(o, SONDE_METER_DELIVERY_APP_LIMITED, (double)c->delivery_app_limited);
	/* The most of a time is kept of these, so a 0 need not be told. */
	if (r == 0)
		r = counter(o, SONDE_METER_ZERO_WINDOW_RECEIVED, c->zero_window_received);
	if (r == 0)
		r = counter(o, SONDE_METER_ZERO_WINDOW_SENT, c->zero_window_sent);
	if (r == 0 && c->accept_queue_limit)
		r = gauge(o, SONDE_METER_ACCEPT_QUEUE_LENGTH, (double)c->accept_queue);
	if (r == 0 && c->accept_queue_limit)
		r = gauge(o, SONDE_METER_ACCEPT_QUEUE_LIMIT, (double)c->accept_queue_limit);
	return r;
}

/* How the interval's samples spread: what its histogram does not say. */
static int emit_spread(struct out *o)
{
	const struct sonde_tcp_cell *c = &o->e->cell;
	const struct sonde_sparse_hist *h = &o->e->hists[SONDE_PROBE_HIST_RTT];
	double mean, variance;
	size_t last = h->n;
	int r = 0;

	while (last > 0 && !h->pairs[last - 1].count)
		last--;
	if (last > 0)
		r = gauge(o, SONDE_METER_RTT_MAX,
			  (double)sonde_hist_lower_us(h->pairs[last - 1].bucket));
	if (r == 0 && c->rtt_count > 1) {
		mean = (double)c->rtt_sum_us / (double)c->rtt_count;
		variance = (double)c->rtt_square_sum_us2 / (double)c->rtt_count - mean * mean;
		/* A whole number: a rounding error must not make it negative. */
		r = gauge(o, SONDE_METER_RTT_VARIANCE,
			  variance > 0 ? (double)(uint64_t)(variance + 0.5) : 0);
	}
	if (r == 0 && c->rtt_count > c->rtt_firsts)
		r = gauge_mean(o, SONDE_METER_RTT_JITTER, c->rtt_change_sum_us,
			       c->rtt_count - c->rtt_firsts);
	return r;
}

static int emit_udp(struct out *o)
{
	const struct sonde_udp_cell *u = &o->e->udp;
	const struct {
		enum sonde_meter meter;
		uint64_t value;
	} counters[] = {
		{SONDE_METER_UDP_SENT_DATAGRAMS, u->sent_datagrams},
		{SONDE_METER_UDP_SENT_BYTES, u->sent_bytes},
		{SONDE_METER_UDP_RECEIVED_DATAGRAMS, u->received_datagrams},
		{SONDE_METER_UDP_RECEIVED_BYTES, u->received_bytes},
		{SONDE_METER_UDP_WRITE_CALLS, u->write_calls},
		{SONDE_METER_UDP_READ_CALLS, u->read_calls},
		{SONDE_METER_UDP_WRITE_TIMED_CALLS, u->write_timed_calls},
		{SONDE_METER_UDP_WRITE_TIME_SUM, u->write_time_ns},
		{SONDE_METER_UDP_READ_TIMED_CALLS, u->read_timed_calls},
		{SONDE_METER_UDP_READ_TIME_SUM, u->read_time_ns},
		{SONDE_METER_UDP_BUFFER_DROPPED, u->buffer_dropped_datagrams},
		{SONDE_METER_UDP_BUFFER_DROPPED_BYTES, u->buffer_dropped_bytes},
	};
	int r = 0;

	for (size_t i = 0; r == 0 && i < ELEMENTS_OF(counters); i++)
		r = counter(o, counters[i].meter, counters[i].value);
	for (unsigned i = 0; r == 0 && i < SONDE_UDP_ERROR_MAX; i++)
		r = labelled_one(o, SONDE_METER_UDP_SEND_ERRORS, u->send_errors[i], "errno",
				 sonde_meter_udp_errno(i));
	for (unsigned i = 0; r == 0 && i < SONDE_UDP_ERROR_MAX; i++)
		r = labelled_one(o, SONDE_METER_UDP_RECEIVE_ERRORS, u->receive_errors[i], "errno",
				 sonde_meter_udp_errno(i));
	return r;
}

/* Both were read at the same moments, so their difference is a time too. */
static int emit_idle(struct out *o)
{
	const struct sonde_tcp_cell *c = &o->e->cell;

	return counter(o, SONDE_METER_IDLE,
		       c->active_us > c->busy_us ? c->active_us - c->busy_us : 0);
}

static int emit(struct sonde_batch *b, const struct sonde_edge *e, struct sonde_batch_labels *l)
{
	struct out o = {b, e, l};
	int r = 0;

	if (e->protocol == IPPROTO_UDP)
		return emit_udp(&o);

	for (size_t i = 0; r == 0 && i < ELEMENTS_OF(fields); i++)
		r = counter(&o, fields[i].meter, field(&e->cell, fields[i].offset));
	if (r == 0)
		r = emit_idle(&o);
	if (r == 0)
		r = emit_arrays(&o);
	if (r == 0)
		r = histogram(&o, SONDE_METER_HANDSHAKE, &e->hists[SONDE_PROBE_HIST_HANDSHAKE]);
	if (r == 0)
		r = histogram(&o, SONDE_METER_RTT, &e->hists[SONDE_PROBE_HIST_RTT]);
	if (r == 0)
		r = histogram(&o, SONDE_METER_AGE, &e->hists[SONDE_PROBE_HIST_AGE]);
	if (r == 0)
		r = emit_calls(&o);
	if (r == 0)
		r = emit_spread(&o);
	if (r == 0)
		r = emit_gauges(&o);
	if (r == 0)
		r = emit_events(&o);
	return r;
}

int sonde_net_emit(struct sonde_batch *b, const struct sonde_edges *edges)
{
	return sonde_group_emit(b, edges, SONDE_GROUP_SONDE, emit);
}

bool sonde_net_needs(size_t i, const char **ret_meter, const char **ret_metrics)
{
	static const struct {
		enum sonde_meter meter;
		const char *metrics;
	} rows[] = {
		{SONDE_METER_WRITE_TIME, SONDE_PROBE_METRICS_CALL_TIME},
		{SONDE_METER_READ_TIME, SONDE_PROBE_METRICS_CALL_TIME},
		{SONDE_METER_WRITE_TIMED_CALLS, SONDE_PROBE_METRICS_CALL_TIME},
		{SONDE_METER_READ_TIMED_CALLS, SONDE_PROBE_METRICS_CALL_TIME},
		{SONDE_METER_WRITE_TIME_SUM, SONDE_PROBE_METRICS_CALL_TIME},
		{SONDE_METER_READ_TIME_SUM, SONDE_PROBE_METRICS_CALL_TIME},
		{SONDE_METER_WRITE_BLOCKED_CALLS, SONDE_PROBE_METRICS_CALL_SLEEP},
		{SONDE_METER_READ_BLOCKED_CALLS, SONDE_PROBE_METRICS_CALL_SLEEP},
		{SONDE_METER_WRITE_BLOCKED_SUM, SONDE_PROBE_METRICS_CALL_SLEEP},
		{SONDE_METER_READ_BLOCKED_SUM, SONDE_PROBE_METRICS_CALL_SLEEP},
		{SONDE_METER_ACCEPT_CALLS, SONDE_PROBE_METRICS_ACCEPT},
		{SONDE_METER_ACCEPT_QUEUE, SONDE_PROBE_METRICS_ACCEPT},
		{SONDE_METER_ACCEPT_QUEUE_SUM, SONDE_PROBE_METRICS_ACCEPT},
		{SONDE_METER_CLOSE_TIME, SONDE_PROBE_METRICS_CLOSE_TIME},
		{SONDE_METER_CLOSE_TIME_SUM, SONDE_PROBE_METRICS_CLOSE_TIME},
		{SONDE_METER_LOCAL_CONNECT_FAILURES, SONDE_PROBE_METRICS_LOCAL_CONNECT},
	};

	assert(ret_meter && ret_metrics);

	if (i >= ELEMENTS_OF(rows))
		return false;
	*ret_meter = sonde_meter_info(rows[i].meter)->name;
	*ret_metrics = rows[i].metrics;
	return true;
}
