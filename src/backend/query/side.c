/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/query/side.h"

#include <errno.h>
#include <string.h>

#include "backend/json.h"
#include "base/num.h"

/* Under which key each meter is shown. RTT_SUM is part of rtt_us, both drop meters are one list. */
static const char *const keys[_SONDE_METER_MAX] = {
	[SONDE_METER_CONNECTIONS_OPENED] = "connects",
	[SONDE_METER_CONNECTIONS_ACCEPTED] = "accepts",
	[SONDE_METER_CONNECTIONS_CLOSED] = "closes",
	[SONDE_METER_CONNECTIONS_HALF_CLOSED] = "half_closed",
	[SONDE_METER_CONNECTIONS_OPEN] = "open_at_end",
	[SONDE_METER_CONNECT_FAILURES] = "connect_failures",
	[SONDE_METER_RESETS_SENT] = "resets_sent",
	[SONDE_METER_RESETS_RECEIVED] = "resets_received",
	[SONDE_METER_HANDSHAKE] = "handshake_us",
	[SONDE_METER_SENT_BYTES] = "sent_bytes",
	[SONDE_METER_ACKED_BYTES] = "acked_bytes",
	[SONDE_METER_RECEIVED_BYTES] = "received_bytes",
	[SONDE_METER_ARRIVED_BYTES] = "arrived_bytes",
	[SONDE_METER_SEGMENTS_SENT] = "sent_segments",
	[SONDE_METER_SEGMENTS_RECEIVED] = "received_segments",
	[SONDE_METER_RETRANSMITTED_SEGMENTS] = "retransmitted_segments",
	[SONDE_METER_RETRANSMITS] = "retransmits",
	[SONDE_METER_WRITE_CALLS] = "write_calls",
	[SONDE_METER_READ_CALLS] = "read_calls",
	[SONDE_METER_RTT] = "rtt_us",
	[SONDE_METER_SRTT] = "smoothed_rtt_us",
	[SONDE_METER_RTT_MIN] = "rtt_min_us",
	[SONDE_METER_RTT_DEVIATION] = "rtt_deviation_us",
	[SONDE_METER_RECEIVE_DROPPED] = "drops",
	[SONDE_METER_TRANSMIT_DROPPED] = "drops",
	[SONDE_METER_RECEIVE_DROPPED_SKBS] = "drops",
	[SONDE_METER_TRANSMIT_DROPPED_SKBS] = "drops",
	[SONDE_METER_RECEIVE_DROPPED_BYTES] = "drops",
	[SONDE_METER_TRANSMIT_DROPPED_BYTES] = "drops",
	[SONDE_METER_UNREAD_CLOSES] = "unread_closes",
	[SONDE_METER_UNREAD_BYTES] = "unread_bytes",
	[SONDE_METER_AGE] = "connection_age_ms",
	[SONDE_METER_LISTEN_DROPS] = "listen_drops",
	[SONDE_METER_ACCEPT_QUEUE_LENGTH] = "accept_queue_length",
	[SONDE_METER_ACCEPT_QUEUE_LIMIT] = "accept_queue_limit",
	[SONDE_METER_RESET_REASONS] = "reset_reasons",
	[SONDE_METER_RETRANSMITTED_BYTES] = "retransmitted_bytes",
	[SONDE_METER_RETRANSMIT_BYTES] = "retransmit_bytes",
	[SONDE_METER_DSACK_SEGMENTS] = "dsack_segments",
	[SONDE_METER_OUT_OF_ORDER] = "out_of_order_segments",
	[SONDE_METER_BUSY] = "busy_us",
	[SONDE_METER_RWND_LIMITED] = "receive_window_limited_us",
	[SONDE_METER_SNDBUF_LIMITED] = "send_buffer_limited_us",
	[SONDE_METER_IDLE] = "application_limited_us",
	[SONDE_METER_ZERO_WINDOW_SENT_TIME] = "zero_window_sent_us",
	[SONDE_METER_ZERO_WINDOW_RECEIVED] = "zero_window_received_most",
	[SONDE_METER_ZERO_WINDOW_SENT] = "zero_window_sent_most",
	[SONDE_METER_CWND] = "congestion_window_segments",
	[SONDE_METER_SSTHRESH] = "slow_start_threshold_segments",
	[SONDE_METER_PACING_RATE] = "pacing_rate_bytes",
	[SONDE_METER_DELIVERY_RATE] = "delivery_rate_bytes",
	[SONDE_METER_DELIVERY_APP_LIMITED] = "delivery_application_limited",
	[SONDE_METER_RTT_MAX] = "rtt_max_us",
	[SONDE_METER_RTT_VARIANCE] = "rtt_variance_us2",
	[SONDE_METER_RTT_JITTER] = "rtt_jitter_us",
	[SONDE_METER_UDP_SENT_DATAGRAMS] = "sent_datagrams",
	[SONDE_METER_UDP_SENT_BYTES] = "sent_bytes",
	[SONDE_METER_UDP_RECEIVED_DATAGRAMS] = "received_datagrams",
	[SONDE_METER_UDP_RECEIVED_BYTES] = "received_bytes",
	[SONDE_METER_UDP_WRITE_CALLS] = "write_calls",
	[SONDE_METER_UDP_READ_CALLS] = "read_calls",
	[SONDE_METER_UDP_SEND_ERRORS] = "send_errors",
	[SONDE_METER_UDP_RECEIVE_ERRORS] = "receive_errors",
	[SONDE_METER_UDP_BUFFER_DROPPED] = "buffer_dropped_datagrams",
	[SONDE_METER_UDP_BUFFER_DROPPED_BYTES] = "buffer_dropped_bytes",
	[SONDE_METER_UDP_WRITE_TIMED_CALLS] = "write_timed_calls",
	[SONDE_METER_UDP_WRITE_TIME_SUM] = "write_time_sum_ns",
	[SONDE_METER_UDP_READ_TIMED_CALLS] = "read_timed_calls",
	[SONDE_METER_UDP_READ_TIME_SUM] = "read_time_sum_ns",
	[SONDE_METER_WRITE_CALLS_BY_KIND] = "write_calls_by_kind",
	[SONDE_METER_READ_CALLS_BY_KIND] = "read_calls_by_kind",
	[SONDE_METER_WRITE_SIZE] = "write_size_bytes",
	[SONDE_METER_READ_SIZE] = "read_size_bytes",
	[SONDE_METER_WRITE_TIME] = "write_time_us",
	[SONDE_METER_READ_TIME] = "read_time_us",
	[SONDE_METER_WRITE_BLOCKED_CALLS] = "write_blocked_calls",
	[SONDE_METER_READ_BLOCKED_CALLS] = "read_blocked_calls",
	[SONDE_METER_WRITE_BLOCKED_SUM] = "write_blocked_ns",
	[SONDE_METER_READ_BLOCKED_SUM] = "read_blocked_ns",
	[SONDE_METER_ACCEPT_CALLS] = "accept_calls",
	[SONDE_METER_ACCEPT_QUEUE] = "accept_queue_us",
	[SONDE_METER_CLOSE_TIME] = "close_time_us",
	[SONDE_METER_LOCAL_CONNECT_FAILURES] = "local_connect_failures",
};

/* The order of the contract. */
static const enum sonde_meter plain[] = {
	SONDE_METER_SRTT,
	SONDE_METER_RTT_MIN,
	SONDE_METER_RTT_DEVIATION,
};
/* Shown where they are; that a connection has none is no news. */
static const enum sonde_meter optional[] = {
	SONDE_METER_RTT_MAX,
	SONDE_METER_RTT_VARIANCE,
	SONDE_METER_RTT_JITTER,
	SONDE_METER_CWND,
	SONDE_METER_SSTHRESH,
	SONDE_METER_PACING_RATE,
	SONDE_METER_DELIVERY_RATE,
	SONDE_METER_DELIVERY_APP_LIMITED,
	SONDE_METER_ACCEPT_QUEUE_LENGTH,
	SONDE_METER_ACCEPT_QUEUE_LIMIT,
};
static const enum sonde_meter counters[] = {
	SONDE_METER_RETRANSMITTED_SEGMENTS,
	SONDE_METER_SEGMENTS_SENT,
	SONDE_METER_SEGMENTS_RECEIVED,
	SONDE_METER_SENT_BYTES,
	SONDE_METER_RECEIVED_BYTES,
	SONDE_METER_ACKED_BYTES,
	SONDE_METER_ARRIVED_BYTES,
	SONDE_METER_WRITE_CALLS,
	SONDE_METER_READ_CALLS,
	SONDE_METER_CONNECTIONS_OPENED,
	SONDE_METER_CONNECTIONS_ACCEPTED,
	SONDE_METER_CONNECTIONS_HALF_CLOSED,
	SONDE_METER_RESETS_SENT,
	SONDE_METER_RESETS_RECEIVED,
	SONDE_METER_CONNECTIONS_OPEN,
	SONDE_METER_RETRANSMITTED_BYTES,
	SONDE_METER_DSACK_SEGMENTS,
	SONDE_METER_OUT_OF_ORDER,
	SONDE_METER_UNREAD_CLOSES,
	SONDE_METER_UNREAD_BYTES,
	SONDE_METER_LISTEN_DROPS,
	SONDE_METER_BUSY,
	SONDE_METER_RWND_LIMITED,
	SONDE_METER_SNDBUF_LIMITED,
	SONDE_METER_IDLE,
	SONDE_METER_ZERO_WINDOW_SENT_TIME,
	SONDE_METER_ZERO_WINDOW_RECEIVED,
	SONDE_METER_ZERO_WINDOW_SENT,
	SONDE_METER_WRITE_BLOCKED_CALLS,
	SONDE_METER_READ_BLOCKED_CALLS,
	SONDE_METER_WRITE_BLOCKED_SUM,
	SONDE_METER_READ_BLOCKED_SUM,
	SONDE_METER_ACCEPT_CALLS,
};

static const enum sonde_meter udp_counters[] = {
	SONDE_METER_UDP_SENT_DATAGRAMS,	   SONDE_METER_UDP_RECEIVED_DATAGRAMS,
	SONDE_METER_UDP_SENT_BYTES,	   SONDE_METER_UDP_RECEIVED_BYTES,
	SONDE_METER_UDP_WRITE_CALLS,	   SONDE_METER_UDP_READ_CALLS,
	SONDE_METER_UDP_BUFFER_DROPPED,	   SONDE_METER_UDP_BUFFER_DROPPED_BYTES,
	SONDE_METER_UDP_WRITE_TIMED_CALLS, SONDE_METER_UDP_WRITE_TIME_SUM,
	SONDE_METER_UDP_READ_TIMED_CALLS,  SONDE_METER_UDP_READ_TIME_SUM,
};

#define NO_SUM _SONDE_METER_MAX

/* Histograms of calls; a mean of nanoseconds where there is a sum of them. */
static const struct {
	enum sonde_meter meter, sum_ns;
} call_histograms[] = {
	{SONDE_METER_WRITE_SIZE, NO_SUM},
	{SONDE_METER_READ_SIZE, NO_SUM},
	{SONDE_METER_WRITE_TIME, SONDE_METER_WRITE_TIME_SUM},
	{SONDE_METER_READ_TIME, SONDE_METER_READ_TIME_SUM},
	{SONDE_METER_ACCEPT_QUEUE, SONDE_METER_ACCEPT_QUEUE_SUM},
	{SONDE_METER_CLOSE_TIME, SONDE_METER_CLOSE_TIME_SUM},
};
_Static_assert(ELEMENTS_OF(call_histograms) == SONDE_SIDE_CALL_HISTOGRAMS, "one for each");

void sonde_side_done(struct sonde_side *s)
{
	free(s->rtt.bin);
	free(s->handshake.bin);
	free(s->age.bin);
	for (size_t i = 0; i < SONDE_SIDE_CALL_HISTOGRAMS; i++)
		free(s->calls[i].bin);
	json_decref(s->write_calls);
	json_decref(s->read_calls);
	json_decref(s->local_failures);
	json_decref(s->retransmits);
	json_decref(s->retransmit_bytes);
	json_decref(s->reset_reasons);
	json_decref(s->failures);
	json_decref(s->closes);
	json_decref(s->drops);
	json_decref(s->send_errors);
	json_decref(s->receive_errors);
	*s = (struct sonde_side){0};
}

int sonde_side_add_bin(struct sonde_side_histogram *h, int64_t bound, int64_t count)
{
	size_t i = h->n;

	while (i > 0 && h->bin[i - 1].bound >= bound)
		i--;
	if (i < h->n && h->bin[i].bound == bound) {
		h->bin[i].count = sonde_add_i64(h->bin[i].count, count);
		return 0;
	}
	if (h->n == h->cap) {
		size_t cap = h->cap ? 2 * h->cap : 32;
		void *more = realloc(h->bin, cap * sizeof(*h->bin));

		if (!more)
			return -ENOMEM;
		h->bin = more;
		h->cap = cap;
	}
	memmove(&h->bin[i + 1], &h->bin[i], (h->n - i) * sizeof(*h->bin));
	h->bin[i] = (struct sonde_mal_bin){bound, count};
	h->n++;
	return 0;
}

int sonde_side_merge(struct sonde_side_histogram *to, const struct sonde_side_histogram *from)
{
	int r = 0;

	for (size_t i = 0; i < from->n && r == 0; i++)
		r = sonde_side_add_bin(to, from->bin[i].bound, from->bin[i].count);
	return r;
}

void sonde_side_histogram_done(struct sonde_side_histogram *h)
{
	free(h->bin);
	*h = (struct sonde_side_histogram){0};
}

static int add_count(json_t **object, const char *key, int64_t n)
{
	if (!*object)
		*object = json_object();
	return *object ? sonde_json_set(*object, key[0] ? key : "unknown",
					json_integer(sonde_add_i64(
						sonde_json_get_int(*object, key, 0), n)))
		       : -ENOMEM;
}

/* Rows that differ in a label that is not shown become one. */
static int add_row(json_t **list, json_t *row, const char *count_key)
{
	_cleanup_json_ json_t *fresh = row;

	if (!*list)
		*list = json_array();
	if (!*list || !fresh)
		return -ENOMEM;
	for (size_t i = 0; i < json_array_size(*list); i++) {
		json_t *old = json_array_get(*list, i);
		_cleanup_json_ json_t *same = json_copy(old);

		if (!same ||
		    json_object_set(same, count_key, json_object_get(fresh, count_key)) < 0)
			return -ENOMEM;
		if (json_equal(same, fresh))
			return sonde_json_set(old, count_key,
					      json_integer(sonde_add_i64(
						      sonde_json_get_int(old, count_key, 0),
						      sonde_json_get_int(fresh, count_key, 0))));
	}
	return json_array_append(*list, fresh) < 0 ? -ENOMEM : 0;
}

static bool same_drop(const json_t *row, const json_t *fresh)
{
	static const char *const labels[] = {"direction", "reason", "class", "where", "site"};

	for (size_t i = 0; i < ELEMENTS_OF(labels); i++) {
		if (!json_equal(json_object_get(row, labels[i]), json_object_get(fresh, labels[i])))
			return false;
	}
	return true;
}

/* One row of segments, skbs and bytes for the meters of the three; @unit is what came. */
static int add_drop(struct sonde_side *s, const char *direction, const struct sonde_labels *labels,
		    const char *unit, int64_t n)
{
	const char *where = sonde_labels_get(labels, "where");
	const char *site = sonde_labels_get(labels, "site");
	_cleanup_json_ json_t *fresh = NULL;
	json_t *row = NULL;

	if (!s->drops)
		s->drops = json_array();
	fresh = json_pack("{s:s, s:o, s:o, s:o, s:o, s:I, s:I, s:I}", "direction", direction,
			  "reason", sonde_json_text(sonde_labels_get(labels, "reason")), "class",
			  sonde_json_text(sonde_labels_get(labels, "kind")), "where",
			  where[0] ? sonde_json_text(where) : json_null(), "site",
			  site[0] ? sonde_json_text(site) : json_null(), "segments", (json_int_t)0,
			  "skbs", (json_int_t)0, "bytes", (json_int_t)0);
	if (!s->drops || !fresh)
		return -ENOMEM;
	for (size_t i = 0; i < json_array_size(s->drops) && !row; i++) {
		if (same_drop(json_array_get(s->drops, i), fresh))
			row = json_array_get(s->drops, i);
	}
	if (!row) {
		if (json_array_append(s->drops, fresh) < 0)
			return -ENOMEM;
		row = fresh;
	}
	return sonde_json_set(row, unit,
			      json_integer(sonde_add_i64(sonde_json_get_int(row, unit, 0), n)));
}

static int add_call_bin(struct sonde_side *s, enum sonde_meter meter, int64_t bucket, int64_t n)
{
	for (size_t i = 0; i < ELEMENTS_OF(call_histograms); i++) {
		if (call_histograms[i].meter == meter)
			return sonde_side_add_bin(&s->calls[i], bucket, n);
	}
	return 0;
}

int sonde_side_add(struct sonde_side *s, enum sonde_meter meter, const struct sonde_labels *labels,
		   int64_t bucket, int64_t value)
{
	s->present = true;
	s->have[meter] = true;
	s->value[meter] = sonde_add_i64(s->value[meter], value);
	switch (meter) {
	case SONDE_METER_RTT:
		return sonde_side_add_bin(&s->rtt, bucket, value);
	case SONDE_METER_HANDSHAKE:
		return sonde_side_add_bin(&s->handshake, bucket, value);
	case SONDE_METER_UDP_SEND_ERRORS:
		return add_count(&s->send_errors, sonde_labels_get(labels, "errno"), value);
	case SONDE_METER_UDP_RECEIVE_ERRORS:
		return add_count(&s->receive_errors, sonde_labels_get(labels, "errno"), value);
	case SONDE_METER_RETRANSMITS:
		return add_count(&s->retransmits, sonde_labels_get(labels, "kind"), value);
	case SONDE_METER_RETRANSMIT_BYTES:
		return add_count(&s->retransmit_bytes, sonde_labels_get(labels, "kind"), value);
	case SONDE_METER_RESET_REASONS:
		return add_count(&s->reset_reasons, sonde_labels_get(labels, "reason"), value);
	case SONDE_METER_AGE:
		return sonde_side_add_bin(&s->age, bucket, value);
	case SONDE_METER_CONNECT_FAILURES:
		return add_count(&s->failures, sonde_labels_get(labels, "errno"), value);
	case SONDE_METER_LOCAL_CONNECT_FAILURES:
		return add_count(&s->local_failures, sonde_labels_get(labels, "errno"), value);
	case SONDE_METER_WRITE_CALLS_BY_KIND:
		return add_count(&s->write_calls, sonde_labels_get(labels, "kind"), value);
	case SONDE_METER_READ_CALLS_BY_KIND:
		return add_count(&s->read_calls, sonde_labels_get(labels, "kind"), value);
	case SONDE_METER_CONNECTIONS_CLOSED:
		return add_row(&s->closes,
			       json_pack("{s:o, s:o, s:I}", "closer",
					 sonde_json_text(sonde_labels_get(labels, "closer")),
					 "kind", sonde_json_text(sonde_labels_get(labels, "kind")),
					 "count", (json_int_t)value),
			       "count");
	case SONDE_METER_RECEIVE_DROPPED:
		return add_drop(s, "receive", labels, "segments", value);
	case SONDE_METER_RECEIVE_DROPPED_SKBS:
		return add_drop(s, "receive", labels, "skbs", value);
	case SONDE_METER_RECEIVE_DROPPED_BYTES:
		return add_drop(s, "receive", labels, "bytes", value);
	case SONDE_METER_TRANSMIT_DROPPED:
		return add_drop(s, "transmit", labels, "segments", value);
	case SONDE_METER_TRANSMIT_DROPPED_SKBS:
		return add_drop(s, "transmit", labels, "skbs", value);
	case SONDE_METER_TRANSMIT_DROPPED_BYTES:
		return add_drop(s, "transmit", labels, "bytes", value);
	default:
		return add_call_bin(s, meter, bucket, value);
	}
}

int64_t sonde_side_count(const struct sonde_side_histogram *h)
{
	int64_t n = 0;

	for (size_t i = 0; i < h->n; i++)
		n = sonde_add_i64(n, h->bin[i].count);
	return n;
}

int64_t sonde_side_percentile(const struct sonde_side_histogram *h, unsigned percent)
{
	return sonde_side_count(h) > 0 ? sonde_mal_nearest_rank(h->bin, h->n, (int32_t)percent)
				       : -1;
}

static json_t *or_null(int64_t v)
{
	return v < 0 ? json_null() : json_integer(v);
}

/* @sum: of the observations, in the @unit'th part of what the buckets are of; NULL = no mean. */
static json_t *histogram_json(const struct sonde_side_histogram *h, const int64_t *sum, double unit)
{
	int64_t count = sonde_side_count(h), min = -1;

	for (size_t i = 0; i < h->n && min < 0; i++) {
		if (h->bin[i].count > 0)
			min = h->bin[i].bound;
	}
	return json_pack("{s:I, s:o, s:o, s:o, s:o, s:o}", "count", (json_int_t)count, "mean",
			 sum && count > 0 ? json_real((double)*sum / unit / (double)count)
					  : json_null(),
			 "min", or_null(min), "p50", or_null(sonde_side_percentile(h, 50)), "p90",
			 or_null(sonde_side_percentile(h, 90)), "p99",
			 or_null(sonde_side_percentile(h, 99)));
}

json_t *sonde_side_histogram_json(const struct sonde_side_histogram *h, const int64_t *sum)
{
	return histogram_json(h, sum, 1);
}

const char *sonde_side_absent(const json_t *absent, enum sonde_meter meter)
{
	for (size_t i = 0; i < json_array_size(absent); i++) {
		const json_t *a = json_array_get(absent, i);

		if (strcmp(sonde_json_get_text(a, "meter", ""), sonde_meter_info(meter)->name) == 0)
			return sonde_json_get_text(a, "reason", "");
	}
	return NULL;
}

struct writer {
	const struct sonde_side *side;
	const json_t *absent;
	json_t *out, *why; /* borrowed */
	int error;
};

/*
 * An agent sends no counter of 0, so one that did not come and is not said to be absent is 0: @zero
 * (stolen) then. Without a @zero it is null, and why says that nothing was there to measure.
 */
static void put(struct writer *w, enum sonde_meter meter, json_t *value, json_t *zero)
{
	const char *reason = sonde_side_absent(w->absent, meter);
	json_t *shown = NULL;

	if (w->side->have[meter])
		shown = json_incref(value);
	else if (!reason && zero)
		shown = json_incref(zero);
	json_decref(value);
	json_decref(zero);
	if (!shown) {
		shown = json_null();
		if (json_object_set_new(w->why, keys[meter],
					sonde_json_text(reason ? reason : "no sample")) < 0)
			w->error = -ENOMEM;
	}
	if (json_object_set_new(w->out, keys[meter], shown) < 0)
		w->error = -ENOMEM;
}

static void put_lists(struct writer *w)
{
	const struct sonde_side *s = w->side;
	enum sonde_meter drops = s->have[SONDE_METER_TRANSMIT_DROPPED]
					 ? SONDE_METER_TRANSMIT_DROPPED
					 : SONDE_METER_RECEIVE_DROPPED;

	put(w, SONDE_METER_RETRANSMITS, json_incref(s->retransmits), json_object());
	put(w, SONDE_METER_RETRANSMIT_BYTES, json_incref(s->retransmit_bytes), json_object());
	put(w, SONDE_METER_RESET_REASONS, json_incref(s->reset_reasons), json_object());
	put(w, drops, json_incref(s->drops), json_array());
	put(w, SONDE_METER_CONNECT_FAILURES, json_incref(s->failures), json_object());
	put(w, SONDE_METER_CONNECTIONS_CLOSED, json_incref(s->closes), json_array());
}

static void put_calls(struct writer *w)
{
	static const struct sonde_side_histogram none = {0};
	const struct sonde_side *s = w->side;

	put(w, SONDE_METER_WRITE_CALLS_BY_KIND, json_incref(s->write_calls), json_object());
	put(w, SONDE_METER_READ_CALLS_BY_KIND, json_incref(s->read_calls), json_object());
	put(w, SONDE_METER_LOCAL_CONNECT_FAILURES, json_incref(s->local_failures), json_object());
	for (size_t i = 0; i < ELEMENTS_OF(call_histograms); i++) {
		enum sonde_meter sum = call_histograms[i].sum_ns;

		put(w, call_histograms[i].meter,
		    histogram_json(&s->calls[i],
				   sum != NO_SUM && s->have[sum] ? &s->value[sum] : NULL, 1000),
		    histogram_json(&none, NULL, 1));
	}
}

/* What the agent says of UDP begins so. */
static bool is_about_udp(const char *meter)
{
	return strncmp(meter, "UDP ", strlen("UDP ")) == 0;
}

/* What is absent and no meter of ours, by its own name: of the one protocol or of the other. */
static void put_foreign(struct writer *w, bool udp)
{
	for (size_t i = 0; i < json_array_size(w->absent); i++) {
		const json_t *a = json_array_get(w->absent, i);
		const char *meter = sonde_json_get_text(a, "meter", "");

		if (meter[0] != '\0' && !sonde_meter_find(meter) && is_about_udp(meter) == udp &&
		    json_object_set(w->why, meter, json_object_get(a, "reason")) < 0)
			w->error = -ENOMEM;
	}
}

json_t *sonde_side_json(const struct sonde_side *s, const json_t *absent)
{
	_cleanup_json_ json_t *out = json_object(), *why = json_object();
	struct writer w = {.side = s, .absent = absent, .out = out, .why = why};
	const int64_t *sum = s->have[SONDE_METER_RTT_SUM] ? &s->value[SONDE_METER_RTT_SUM] : NULL;

	if (!s->present)
		return json_null();
	if (!out || !why)
		return NULL;
	put(&w, SONDE_METER_RTT, histogram_json(&s->rtt, sum, 1), histogram_json(&s->rtt, NULL, 1));
	for (size_t i = 0; i < ELEMENTS_OF(plain); i++)
		put(&w, plain[i], json_integer(s->value[plain[i]]), NULL);
	put(&w, SONDE_METER_HANDSHAKE, histogram_json(&s->handshake, NULL, 1),
	    histogram_json(&s->handshake, NULL, 1));
	put(&w, SONDE_METER_AGE, histogram_json(&s->age, NULL, 1),
	    histogram_json(&s->age, NULL, 1));
	put_lists(&w);
	put_calls(&w);
	for (size_t i = 0; i < ELEMENTS_OF(counters); i++)
		put(&w, counters[i], json_integer(s->value[counters[i]]), json_integer(0));
	for (size_t i = 0; i < ELEMENTS_OF(optional); i++) {
		if (s->have[optional[i]])
			put(&w, optional[i], json_integer(s->value[optional[i]]), NULL);
	}
	put_foreign(&w, false);
	if (w.error < 0 || json_object_set(out, "absent", why) < 0)
		return NULL;
	return TAKE_PTR(out);
}

json_t *sonde_side_udp_json(const struct sonde_side *s, const json_t *absent)
{
	_cleanup_json_ json_t *out = json_object(), *why = json_object();
	struct writer w = {.side = s, .absent = absent, .out = out, .why = why};

	if (!s->present)
		return json_null();
	if (!out || !why)
		return NULL;
	for (size_t i = 0; i < ELEMENTS_OF(udp_counters); i++)
		put(&w, udp_counters[i], json_integer(s->value[udp_counters[i]]), json_integer(0));
	put(&w, SONDE_METER_UDP_SEND_ERRORS, json_incref(s->send_errors), json_object());
	put(&w, SONDE_METER_UDP_RECEIVE_ERRORS, json_incref(s->receive_errors), json_object());
	put_foreign(&w, true);
	if (w.error < 0 || json_object_set(out, "absent", why) < 0)
		return NULL;
	return TAKE_PTR(out);
}
