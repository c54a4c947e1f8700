/* SPDX-License-Identifier: Apache-2.0 */
#include "export/select.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

struct part {
	enum sonde_signal signal;
	size_t offset, size;
};

#define PART(signal, type, field)                                                                  \
	{                                                                                          \
		SONDE_SIGNAL_##signal, offsetof(struct type, field),                               \
			sizeof(((struct type *)NULL)->field)                                       \
	}
#define TCP(signal, field) PART(signal, sonde_tcp_cell, field)
#define UDP(signal, field) PART(signal, sonde_udp_cell, field)

/* What is in none of them is every task's: what is open. */
static const struct part tcp[] = {
	TCP(CONNECTION, seeded),
	TCP(CONNECTION, opened),
	TCP(CONNECTION, accepted),
	TCP(CONNECTION, half_closed),
	TCP(CONNECTION, closed),
	TCP(CONNECTION, unread_closes),
	TCP(CONNECTION, unread_bytes),
	TCP(CONNECTION, age_unknown),
	TCP(CONNECTION, connect_failed),
	TCP(RESET, resets_sent),
	TCP(RESET, resets_received),
	TCP(LISTEN, listen_drops),
	TCP(LISTEN, accept_queue),
	TCP(LISTEN, accept_queue_limit),
	TCP(HANDSHAKE, handshake_count),
	TCP(HANDSHAKE, handshake_sum_us),
	TCP(HANDSHAKE, handshake_unknown),
	TCP(BYTES, sent_bytes),
	TCP(BYTES, acked_bytes),
	TCP(BYTES, received_bytes),
	TCP(BYTES, arrived_bytes),
	TCP(BYTES, segments_out),
	TCP(BYTES, segments_in),
	TCP(RETRANSMIT, retransmitted_segments),
	TCP(RETRANSMIT, retransmit),
	TCP(RETRANSMIT, retransmitted_bytes),
	TCP(RETRANSMIT, retransmit_bytes),
	TCP(RETRANSMIT, dsack_segments),
	TCP(RETRANSMIT, out_of_order_segments),
	TCP(WINDOW, busy_us),
	TCP(WINDOW, rwnd_limited_us),
	TCP(WINDOW, sndbuf_limited_us),
	TCP(WINDOW, active_us),
	TCP(WINDOW, zero_window_sent_us),
	TCP(WINDOW, cwnd_sum),
	TCP(WINDOW, ssthresh_sum),
	TCP(WINDOW, ssthresh_sockets),
	TCP(WINDOW, pacing_sum),
	TCP(WINDOW, pacing_sockets),
	TCP(WINDOW, delivery_sum),
	TCP(WINDOW, delivery_sockets),
	TCP(WINDOW, delivery_app_limited),
	TCP(WINDOW, zero_window_received),
	TCP(WINDOW, zero_window_sent),
	TCP(CALLS, write_calls),
	TCP(CALLS, read_calls),
	TCP(RTT, rtt_count),
	TCP(RTT, rtt_sum_us),
	TCP(RTT, rtt_square_sum_us2),
	TCP(RTT, rtt_firsts),
	TCP(RTT, rtt_change_sum_us),
	TCP(RTT, rtt_missed),
	TCP(RTT, rtt_sockets),
	TCP(RTT, srtt_sum_us),
	TCP(RTT, rttvar_sum_us),
	TCP(RTT, rtt_min_us),
};

static const struct part udp[] = {
	UDP(BYTES, sent_datagrams),
	UDP(BYTES, sent_bytes),
	UDP(BYTES, received_datagrams),
	UDP(BYTES, received_bytes),
	UDP(CALLS, write_calls),
	UDP(CALLS, read_calls),
	UDP(CALLS, write_timed_calls),
	UDP(CALLS, write_time_ns),
	UDP(CALLS, read_timed_calls),
	UDP(CALLS, read_time_ns),
	UDP(ERROR, send_errors),
	UDP(ERROR, receive_errors),
	UDP(DROP, buffer_dropped_datagrams),
	UDP(DROP, buffer_dropped_bytes),
};

static void clear(void *cell, const struct part *parts, size_t n, uint32_t signals)
{
	for (size_t i = 0; i < n; i++) {
		if (!sonde_signals_have(signals, parts[i].signal))
			memset((uint8_t *)cell + parts[i].offset, 0, parts[i].size);
	}
}

static enum sonde_signal hist_signal(size_t kind)
{
	switch (kind) {
	case SONDE_PROBE_HIST_RTT:
		return SONDE_SIGNAL_RTT;
	case SONDE_PROBE_HIST_HANDSHAKE:
		return SONDE_SIGNAL_HANDSHAKE;
	case SONDE_PROBE_HIST_AGE:
		return SONDE_SIGNAL_CONNECTION;
	default:
		return SONDE_SIGNAL_CALLS;
	}
}

static void select_drops(struct sonde_edge *e, uint32_t signals)
{
	size_t n = 0;

	for (size_t i = 0; i < e->n_drops; i++) {
		enum sonde_signal s = e->drops[i].event == SONDE_TCP_EVENT_DROP
					      ? SONDE_SIGNAL_DROP
					      : SONDE_SIGNAL_RESET;

		if (sonde_signals_have(signals, s))
			e->drops[n++] = e->drops[i];
	}
	e->n_drops = n;
}

static void select_edge(struct sonde_edge *e, uint32_t signals)
{
	clear(&e->cell, tcp, ELEMENTS_OF(tcp), signals);
	clear(&e->udp, udp, ELEMENTS_OF(udp), signals);
	if (!sonde_signals_have(signals, SONDE_SIGNAL_CALLS))
		e->calls = (struct sonde_tcp_calls){0};
	for (size_t i = 0; i < _SONDE_PROBE_HIST_MAX; i++) {
		if (!sonde_signals_have(signals, hist_signal(i)))
			sonde_sparse_hist_done(&e->hists[i]);
	}
	select_drops(e, signals);
}

void sonde_edges_select(struct sonde_edges *e, uint32_t signals)
{
	assert(e);

	for (size_t i = 0; signals && i < e->n; i++)
		select_edge(&e->edges[i], signals);
}
