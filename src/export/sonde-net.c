/* SPDX-License-Identifier: Apache-2.0 */
#include "export/sonde-net.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

#include "export/group.h"
#include "model/hist.h"
#include "model/meters.h"

struct out {
	struct sonde_batch *b;
	const struct sonde_edge *e;
	struct sonde_group_labels *l;
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
	FIELD(RESETS_SENT, resets_sent),
	FIELD(RESETS_RECEIVED, resets_received),
	FIELD(SENT_BYTES, sent_bytes),
	FIELD(ACKED_BYTES, acked_bytes),
	FIELD(RECEIVED_BYTES, received_bytes),
	FIELD(ARRIVED_BYTES, arrived_bytes),
	FIELD(SEGMENTS_SENT, segments_out),
	FIELD(SEGMENTS_RECEIVED, segments_in),
	FIELD(RETRANSMITTED_SEGMENTS, retransmitted_segments),
	FIELD(WRITE_CALLS, write_calls),
	FIELD(READ_CALLS, read_calls),
	FIELD(RTT_SUM, rtt_sum_us),
#undef FIELD
};

static uint64_t field(const struct sonde_tcp_cell *c, size_t offset)
{
	uint64_t v;

	memcpy(&v, (const uint8_t *)c + offset, sizeof(v));
	return v;
}

static int gauge(struct out *o, enum sonde_meter m, double value)
{
	return sonde_batch_single(o->b, sonde_meter_info(m)->name, o->l->label, o->l->n, value);
}

/* A counter of 0 is not sent. */
static int counter(struct out *o, enum sonde_meter m, uint64_t value)
{
	return value ? gauge(o, m, (double)value) : 0;
}

/* The same with one or two labels more (@name2 may be NULL). */
static int labelled(struct out *o, enum sonde_meter m, uint64_t value, const char *name1,
		    const char *value1, const char *name2, const char *value2)
{
	size_t n = o->l->n;
	int r;

	o->l->label[o->l->n++] = (struct sonde_batch_label){name1, value1};
	if (name2)
		o->l->label[o->l->n++] = (struct sonde_batch_label){name2, value2};
	r = counter(o, m, value);
	o->l->n = n;
	return r;
}

static int histogram(struct out *o, enum sonde_meter m, const struct sonde_sparse_hist *h)
{
	struct sonde_batch_bucket buckets[SONDE_HIST_BUCKETS];
	size_t n = 0;

	for (size_t i = 0; i < h->n; i++) {
		double lower = (double)sonde_hist_report_lower_us(h->pairs[i].bucket);

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
	return sonde_batch_histogram(o->b, sonde_meter_info(m)->name, o->l->label, o->l->n, buckets,
				     n);
}

static int emit_arrays(struct out *o)
{
	const struct sonde_tcp_cell *c = &o->e->cell;
	int r = 0;

	for (unsigned i = 0; r == 0 && i < SONDE_TCP_CLOSE_MAX; i++)
		r = labelled(o, SONDE_METER_CONNECTIONS_CLOSED, c->closed[i], "closer",
			     sonde_meter_closer(i), "kind", sonde_meter_close_kind(i));
	for (unsigned i = 0; r == 0 && i < SONDE_TCP_CONNECT_ERROR_MAX; i++)
		r = labelled(o, SONDE_METER_CONNECT_FAILURES, c->connect_failed[i], "errno",
			     sonde_meter_errno(i), NULL, NULL);
	for (unsigned i = 0; r == 0 && i < SONDE_TCP_RETRANSMIT_MAX; i++)
		r = labelled(o, SONDE_METER_RETRANSMITS, c->retransmit[i], "kind",
			     sonde_meter_retransmit(i), NULL, NULL);
	return r;
}

static int emit_drops(struct out *o)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < o->e->n_drops; i++) {
		const struct sonde_edge_drop *d = &o->e->drops[i];
		enum sonde_meter m = d->direction == SONDE_TCP_DIRECTION_RX
					     ? SONDE_METER_RECEIVE_DROPPED
					     : SONDE_METER_TRANSMIT_DROPPED;

		r = labelled(o, m, d->drop.segments, "kind", sonde_drop_class_name(d->class),
			     "reason", d->reason);
	}
	return r;
}

/* Means of the open connections; absent while none has an RTT. */
static int emit_gauges(struct out *o)
{
	const struct sonde_tcp_cell *c = &o->e->cell;
	int r;

	r = gauge(o, SONDE_METER_CONNECTIONS_OPEN, (double)c->open);
	if (r == 0 && c->rtt_sockets)
		r = gauge(o, SONDE_METER_SRTT, sonde_batch_mean(c->srtt_sum_us, c->rtt_sockets));
	if (r == 0 && c->rtt_sockets)
		r = gauge(o, SONDE_METER_RTT_DEVIATION,
			  sonde_batch_mean(c->rttvar_sum_us, c->rtt_sockets));
	if (r == 0 && c->rtt_min_us)
		r = gauge(o, SONDE_METER_RTT_MIN, (double)c->rtt_min_us);
	return r;
}

static int emit(struct sonde_batch *b, const struct sonde_edge *e, struct sonde_group_labels *l)
{
	struct out o = {b, e, l};
	int r = 0;

	for (size_t i = 0; r == 0 && i < ELEMENTS_OF(fields); i++)
		r = counter(&o, fields[i].meter, field(&e->cell, fields[i].offset));
	if (r == 0)
		r = emit_arrays(&o);
	if (r == 0)
		r = histogram(&o, SONDE_METER_HANDSHAKE, &e->handshake);
	if (r == 0)
		r = histogram(&o, SONDE_METER_RTT, &e->rtt);
	if (r == 0)
		r = emit_gauges(&o);
	if (r == 0)
		r = emit_drops(&o);
	return r;
}

int sonde_net_emit(struct sonde_batch *b, const struct sonde_edges *edges)
{
	return sonde_group_emit(b, edges, SONDE_GROUP_SONDE, emit);
}
