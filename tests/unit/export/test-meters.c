/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "export/group.h"
#include "export/skywalking.h"
#include "export/sonde-net.h"
#include "model/hist.h"
#include "skywalking/v3/meter.pb-c.h"

/* Two processes of one instance, one of another service. */
struct cast {
	struct sonde_process *a, *b, *stranger;
	struct sonde_edges edges;
	struct sonde_batch batch;
	enum sonde_skywalking_peers peers;
	Skywalking__V3__MeterDataCollection *c[4];
};

static struct sonde_process *process(uint32_t pid, const char *service, const char *id)
{
	struct sonde_process *p = NULL;

	assert_ok(sonde_process_new(pid, 1, &p));
	sonde_process_set_name(p->service, sizeof(p->service), service);
	sonde_process_set_name(p->instance, sizeof(p->instance), "i");
	(void)snprintf(p->id, sizeof(p->id), "%s", id);
	return p;
}

static int set_up(void **state)
{
	struct cast *t = calloc(1, sizeof(*t));

	assert_non_null(t);
	t->a = process(1, "s", "aa");
	t->b = process(2, "s", "bb");
	t->stranger = process(3, "other", "cc");
	t->batch = SONDE_BATCH_INIT(1234);
	*state = t;
	return 0;
}

static int tear_down(void **state)
{
	struct cast *t = *state;

	for (size_t i = 0; i < ELEMENTS_OF(t->c); i++) {
		if (t->c[i])
			skywalking__v3__meter_data_collection__free_unpacked(t->c[i], NULL);
	}
	sonde_batch_done(&t->batch);
	sonde_edges_done(&t->edges);
	(void)sonde_process_unref(t->a);
	(void)sonde_process_unref(t->b);
	(void)sonde_process_unref(t->stranger);
	free(t);
	return 0;
}

static struct sonde_edge *edge(struct cast *t, struct sonde_process *self,
			       struct sonde_process *other, uint8_t role, uint8_t last_byte,
			       uint16_t port)
{
	struct sonde_edge *e = NULL;

	assert_ok(sonde_edges_add(&t->edges, &e));
	e->self = sonde_process_ref(self);
	if (other)
		e->other = sonde_process_ref(other);
	e->role = role;
	e->port = port;
	e->changed = true;
	e->peer = (struct sonde_peer){.kind = other ? SONDE_PEER_PROCESS : SONDE_PEER_ADDRESS,
				      .port = port,
				      .addr = {[10] = 0xff, 0xff, 10, 0, 0, last_byte}};
	return e;
}

static void unpack(struct cast *t)
{
	assert_true(t->batch.n <= ELEMENTS_OF(t->c));
	for (size_t i = 0; i < t->batch.n; i++) {
		t->c[i] = skywalking__v3__meter_data_collection__unpack(
			NULL, t->batch.messages[i].len, t->batch.messages[i].data);
		assert_non_null(t->c[i]);
	}
}

static bool labels_are(Skywalking__V3__Label **l, size_t n, const char *want)
{
	char text[400] = "";
	size_t at = 0;

	for (size_t i = 0; i < n; i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s=%s", i ? "," : "",
				       l[i]->name, l[i]->value);
	return strcmp(text, want) == 0;
}

/* The one meter of this name and these labels; NULL if there is none. */
static const Skywalking__V3__MeterData *meter(const struct cast *t, const char *name,
					      const char *labels)
{
	const Skywalking__V3__MeterData *found = NULL;

	for (size_t c = 0; c < t->batch.n; c++) {
		for (size_t i = 0; i < t->c[c]->n_meterdata; i++) {
			const Skywalking__V3__MeterData *m = t->c[c]->meterdata[i];
			bool single =
				m->metric_case == SKYWALKING__V3__METER_DATA__METRIC_SINGLE_VALUE;

			if (strcmp(single ? m->singlevalue->name : m->histogram->name, name) != 0)
				continue;
			if (!labels_are(single ? m->singlevalue->labels : m->histogram->labels,
					single ? m->singlevalue->n_labels : m->histogram->n_labels,
					labels))
				continue;
			assert_null(found); /* one sample a series, or a backend adds */
			found = m;
		}
	}
	return found;
}

static double value(const struct cast *t, const char *name, const char *labels)
{
	const Skywalking__V3__MeterData *m = meter(t, name, labels);

	assert_non_null(m);
	return m->singlevalue->value;
}

#define TO_B "client_process_id=aa,server_process_id=bb,side=client,protocol=unknown,is_ssl=false"
#define TO_ADDRESS                                                                                 \
	"client_process_id=aa,server_address=10.0.0.9:80,side=client,protocol=unknown,is_ssl=false"
#define TO_LOCAL "client_process_id=aa,server_local=true,side=client,protocol=unknown,is_ssl=false"
#define FROM_ADDRESS                                                                               \
	"server_process_id=aa,client_address=10.0.0.9:0,side=server,protocol=unknown,is_ssl=false"

static void the_skywalking_set_has_its_names_and_units(void **state)
{
	struct cast *t = *state;
	struct sonde_edge *e = edge(t, t->a, t->b, SONDE_TCP_ROLE_CLIENT, 2, 80);

	e->calls.calls[SONDE_TCP_CALL_WRITE][SONDE_TCP_CALL_PLAIN] = 1;
	e->calls.calls[SONDE_TCP_CALL_WRITE][SONDE_TCP_CALL_ADDRESSED] = 2;
	e->cell.sent_bytes = 300;
	e->calls.calls[SONDE_TCP_CALL_READ][SONDE_TCP_CALL_MESSAGE] = 2;
	e->cell.received_bytes = 20;
	e->cell.rtt_count = 4;
	e->cell.rtt_sum_us = 1000;
	e->cell.opened = 5;
	e->cell.handshake_count = 2;
	e->cell.handshake_sum_us = 30;
	e->cell.closed[SONDE_TCP_CLOSE_LOCAL_FIN] = 1;
	e->cell.closed[SONDE_TCP_CLOSE_REMOTE_RST] = 2;
	e->cell.retransmitted_segments = 7;
	assert_ok(sonde_edge_add_drop(
		e, &(struct sonde_edge_drop){.class = SONDE_DROP_LOSS,
					     .reason = "NETFILTER_DROP",
					     .drop = {.skbs = 6, .segments = 9}}));
	assert_ok(sonde_edge_add_drop(
		e, &(struct sonde_edge_drop){.class = SONDE_DROP_TEARDOWN,
					     .reason = "QUEUE_PURGE",
					     .drop = {.skbs = 50, .segments = 50}}));
	assert_ok(sonde_edge_add_drop(
		e, &(struct sonde_edge_drop){.class = SONDE_DROP_REFUSED,
					     .reason = "NO_SOCKET",
					     .site = "cookie_v4_check", /* full accept queue */
					     .drop = {.skbs = 4, .segments = 4}}));
	assert_ok(sonde_skywalking_emit(&t->batch, &t->edges, t->peers));
	unpack(t);
#define P "rover_net_p_client_"
	assert_true(value(t, P "write_counts_counter", TO_B) == 3);
	assert_true(value(t, P "write_bytes_counter", TO_B) == 300);
	assert_true(value(t, P "read_counts_counter", TO_B) == 2);
	assert_true(value(t, P "read_bytes_counter", TO_B) == 20);
	assert_true(value(t, P "write_rtt_counts_counter", TO_B) == 4);
	assert_true(value(t, P "write_rtt_exe_time_counter", TO_B) == 250); /* us */
	assert_true(value(t, P "connect_counts_counter", TO_B) == 5);
	assert_true(value(t, P "connect_exe_time_counter", TO_B) == 15000); /* ns */
	assert_true(value(t, P "close_counts_counter", TO_B) == 3);
	assert_true(value(t, P "retransmit_counts_counter", TO_B) == 7);
	assert_true(value(t, P "drop_counts_counter", TO_B) == 10); /* loss alone */
	assert_null(meter(t, P "write_exe_time_counter", TO_B));
	assert_null(meter(t, P "close_exe_time_counter", TO_B));
#undef P
}

static void fill_calls(struct sonde_edge *e)
{
	struct sonde_tcp_calls *c = &e->calls;

	c->calls[SONDE_TCP_CALL_WRITE][SONDE_TCP_CALL_SENDFILE] = 4;
	c->calls[SONDE_TCP_CALL_READ][SONDE_TCP_CALL_IO_URING] = 3;
	c->timed[SONDE_TCP_CALL_WRITE] = 4;
	c->time_sum_ns[SONDE_TCP_CALL_WRITE] = 10000;
	c->blocked[SONDE_TCP_CALL_WRITE] = 1;
	c->blocked_sum_ns[SONDE_TCP_CALL_WRITE] = 7000;
	c->accepts = 2;
	c->accept_queue_count = 1;
	c->accept_queue_sum_ns = 5000;
	c->close_count = 2;
	c->close_sum_ns = 3000;
	c->local_failed[SONDE_TCP_LOCAL_ENETUNREACH] = 6;
	assert_ok(sonde_sparse_hist_add(
		&e->hists[SONDE_PROBE_HIST_CALL + SONDE_TCP_CALL_HIST_WRITE_TIME], 2, 4));
	assert_ok(sonde_sparse_hist_add(
		&e->hists[SONDE_PROBE_HIST_CALL + SONDE_TCP_CALL_HIST_WRITE_SIZE],
		sonde_hist_bucket_of(1000), 4));
}

#define TO_B80 "client_process_id=aa,server_process_id=bb,server_port=80,side=client"

static void calls_carry_family_size_and_time(void **state)
{
	struct cast *t = *state;
	const Skywalking__V3__MeterData *m;

	fill_calls(edge(t, t->a, t->b, SONDE_TCP_ROLE_CLIENT, 2, 80));
	fill_calls(edge(t, t->a, t->b, SONDE_TCP_ROLE_CLIENT, 3, 80)); /* the same peer */
	assert_ok(sonde_skywalking_emit(&t->batch, &t->edges, t->peers));
	assert_ok(sonde_net_emit(&t->batch, &t->edges));
	unpack(t);
	assert_true(value(t, "rover_net_p_client_write_counts_counter", TO_B) == 8);
	assert_true(value(t, "rover_net_p_client_write_exe_time_counter", TO_B) == 2500); /* ns */
	assert_null(meter(t, "rover_net_p_client_read_exe_time_counter", TO_B));
	assert_true(value(t, "rover_net_p_client_close_exe_time_counter", TO_B) == 1500);
	m = meter(t, "rover_net_p_client_write_exe_time_histogram", TO_B);
	assert_non_null(m);
	assert_int_equal(m->histogram->n_values, SONDE_SKYWALKING_BOUNDS);
	assert_true(m->histogram->values[1]->bucket == 10000);
	assert_int_equal(m->histogram->values[0]->count, 8);
	assert_true(value(t, "sonde_net_write_calls_by_kind_total", TO_B80 ",kind=sendfile") == 8);
	assert_true(value(t, "sonde_net_read_calls_by_kind_total", TO_B80 ",kind=io_uring") == 6);
	assert_true(value(t, "sonde_net_write_timed_calls_total", TO_B80) == 8);
	assert_true(value(t, "sonde_net_write_time_sum_nanoseconds_total", TO_B80) == 20000);
	assert_true(value(t, "sonde_net_write_blocked_calls_total", TO_B80) == 2);
	assert_true(value(t, "sonde_net_write_blocked_sum_nanoseconds_total", TO_B80) == 14000);
	assert_true(value(t, "sonde_net_accept_calls_total", TO_B80) == 4);
	assert_true(value(t, "sonde_net_accept_queue_sum_nanoseconds_total", TO_B80) == 10000);
	assert_true(value(t, "sonde_net_close_time_sum_nanoseconds_total", TO_B80) == 6000);
	assert_true(value(t, "sonde_net_local_connect_failures_total",
			  TO_B80 ",errno=ENETUNREACH") == 12);
	m = meter(t, "sonde_net_write_size_bytes", TO_B80);
	assert_non_null(m);
	assert_true(m->histogram->values[0]->bucket == 1000);
	assert_int_equal(m->histogram->values[0]->count, 8);
}

/* Its cells are shared with a task that asked. */
static void a_task_that_did_not_ask_gets_no_times(void **state)
{
	struct cast *t = *state;

	fill_calls(edge(t, t->a, t->b, SONDE_TCP_ROLE_CLIENT, 2, 80));
	sonde_edges_drop_times(&t->edges);
	assert_ok(sonde_skywalking_emit(&t->batch, &t->edges, t->peers));
	assert_ok(sonde_net_emit(&t->batch, &t->edges));
	unpack(t);
	assert_true(value(t, "rover_net_p_client_write_counts_counter", TO_B) == 4);
	assert_null(meter(t, "rover_net_p_client_write_exe_time_counter", TO_B));
	assert_null(meter(t, "rover_net_p_client_write_exe_time_histogram", TO_B));
	assert_null(meter(t, "sonde_net_write_time_microseconds", TO_B80));
	assert_null(meter(t, "sonde_net_write_time_sum_nanoseconds_total", TO_B80));
	assert_null(meter(t, "sonde_net_accept_calls_total", TO_B80));
	assert_null(
		meter(t, "sonde_net_local_connect_failures_total", TO_B80 ",errno=ENETUNREACH"));
	assert_non_null(meter(t, "sonde_net_write_size_bytes", TO_B80));
}

static void names_and_time_stand_on_the_first_element_only(void **state)
{
	struct cast *t = *state;

	edge(t, t->a, t->b, SONDE_TCP_ROLE_CLIENT, 2, 80)->cell.sent_bytes = 1;
	edge(t, t->stranger, NULL, SONDE_TCP_ROLE_SERVER, 3, 80)->cell.sent_bytes = 2;
	edge(t, t->b, t->a, SONDE_TCP_ROLE_SERVER, 1, 80)->cell.sent_bytes = 3;
	assert_ok(sonde_skywalking_emit(&t->batch, &t->edges, t->peers));
	assert_ok(sonde_net_emit(&t->batch, &t->edges));
	unpack(t);
	assert_int_equal(t->batch.n, 2); /* one a (service, instance), whichever set */
	for (size_t c = 0; c < t->batch.n; c++) {
		const Skywalking__V3__MeterDataCollection *m = t->c[c];

		assert_string_equal(m->meterdata[0]->service, c ? "s" : "other");
		assert_string_equal(m->meterdata[0]->serviceinstance, "i");
		assert_int_equal(m->meterdata[0]->timestamp, 1234);
		for (size_t i = 1; i < m->n_meterdata; i++) {
			assert_string_equal(m->meterdata[i]->service, "");
			assert_string_equal(m->meterdata[i]->serviceinstance, "");
			assert_int_equal(m->meterdata[i]->timestamp, 0);
		}
	}
}

/* A backend adds what carries one label: an average must be made of the sums. */
static void averages_are_made_behind_the_merge(void **state)
{
	struct cast *t = *state;
	struct sonde_edge *e = edge(t, t->a, NULL, SONDE_TCP_ROLE_CLIENT, 7, 80);

	e->peer.local = true;
	e->cell.rtt_count = 1;
	e->cell.rtt_sum_us = 100;
	e = edge(t, t->a, NULL, SONDE_TCP_ROLE_CLIENT, 8, 81);
	e->peer.local = true;
	e->cell.rtt_count = 3;
	e->cell.rtt_sum_us = 100;
	assert_ok(sonde_skywalking_emit(&t->batch, &t->edges, t->peers));
	unpack(t);
	assert_true(value(t, "rover_net_p_client_write_rtt_exe_time_counter", TO_LOCAL) == 50);
}

static void a_servers_clients_are_one_peer_an_address(void **state)
{
	struct cast *t = *state;

	edge(t, t->a, NULL, SONDE_TCP_ROLE_SERVER, 9, 80)->cell.received_bytes = 5;
	edge(t, t->a, NULL, SONDE_TCP_ROLE_SERVER, 9, 443)->cell.received_bytes = 6;
	edge(t, t->a, NULL, SONDE_TCP_ROLE_CLIENT, 9, 80)->cell.received_bytes = 7;
	assert_ok(sonde_skywalking_emit(&t->batch, &t->edges, t->peers));
	assert_ok(sonde_net_emit(&t->batch, &t->edges));
	unpack(t);
	assert_true(value(t, "rover_net_p_server_read_bytes_counter", FROM_ADDRESS) == 11);
	assert_true(value(t, "rover_net_p_client_read_bytes_counter", TO_ADDRESS) == 7);
	/* our own set tells the service ports apart */
	assert_true(
		value(t, "sonde_net_received_bytes_total",
		      "server_process_id=aa,client_address=10.0.0.9,server_port=443,side=server") ==
		6);
}

static void a_peer_of_another_service_is_named_in_our_set_alone(void **state)
{
	struct cast *t = *state;

	edge(t, t->a, t->stranger, SONDE_TCP_ROLE_CLIENT, 9, 80)->cell.sent_bytes = 5;
	assert_ok(sonde_skywalking_emit(&t->batch, &t->edges, t->peers));
	assert_ok(sonde_net_emit(&t->batch, &t->edges));
	unpack(t);
	assert_true(value(t, "rover_net_p_client_write_bytes_counter", TO_ADDRESS) == 5);
	assert_true(value(t, "sonde_net_sent_bytes_total",
			  "client_process_id=aa,server_process_id=cc,server_port=80,side=client") ==
		    5);
}

static void the_overflow_cell_is_called_other(void **state)
{
	struct cast *t = *state;
	struct sonde_edge *e = edge(t, t->a, NULL, SONDE_TCP_ROLE_CLIENT, 0, 0);

	e->peer = (struct sonde_peer){.kind = SONDE_PEER_OTHER};
	e->cell.sent_bytes = 5;
	assert_ok(sonde_net_emit(&t->batch, &t->edges));
	unpack(t);
	assert_true(value(t, "sonde_net_sent_bytes_total",
			  "client_process_id=aa,server_address=other,server_port=0,side=client") ==
		    5);
}

static void labels_of_our_set_say_kind_reason_errno_and_closer(void **state)
{
	struct cast *t = *state;
	struct sonde_edge *e = edge(t, t->a, t->b, SONDE_TCP_ROLE_CLIENT, 2, 80);

#define L "client_process_id=aa,server_process_id=bb,server_port=80,side=client"
	e->cell.closed[SONDE_TCP_CLOSE_REMOTE_RST] = 2;
	e->cell.connect_failed[SONDE_TCP_CONNECT_ECONNREFUSED] = 3;
	e->cell.retransmit[SONDE_TCP_RETRANSMIT_TLP] = 4;
	e->cell.open = 2;
	e->cell.rtt_sockets = 2;
	e->cell.srtt_sum_us = 300;
	assert_ok(sonde_edge_add_drop(
		e, &(struct sonde_edge_drop){.direction = SONDE_TCP_DIRECTION_TX,
					     .class = SONDE_DROP_LOSS,
					     .where = SONDE_TCP_WHERE_ELSEWHERE,
					     .reason = "QDISC_DROP",
					     .site = "tbf_enqueue",
					     .drop = {.skbs = 1, .segments = 9, .bytes = 900}}));
	assert_ok(sonde_edge_add_drop(
		e, &(struct sonde_edge_drop){.direction = SONDE_TCP_DIRECTION_RX,
					     .class = SONDE_DROP_LOSS,
					     .reason = "NETFILTER_DROP",
					     .drop = {.skbs = 2, .segments = 3}}));
	assert_ok(sonde_edge_add_drop(
		e, &(struct sonde_edge_drop){.direction = SONDE_TCP_DIRECTION_RX,
					     .class = SONDE_DROP_REFUSED,
					     .where = SONDE_TCP_WHERE_LISTENER,
					     .reason = "NO_SOCKET",
					     .site = "cookie_v4_check",
					     .drop = {.skbs = 4, .segments = 4}}));
	assert_ok(sonde_edge_add_drop(e,
				      &(struct sonde_edge_drop){.event = SONDE_TCP_EVENT_RESET_SENT,
								.class = SONDE_DROP_UNCLASSIFIED,
								.reason = "TCP_ABORT_ON_CLOSE",
								.drop = {.skbs = 5}}));
	assert_ok(sonde_net_emit(&t->batch, &t->edges));
	unpack(t);
	assert_true(value(t, "sonde_net_connections_closed_total", L ",closer=remote,kind=rst") ==
		    2);
	assert_true(value(t, "sonde_net_connect_failures_total", L ",errno=ECONNREFUSED") == 3);
	assert_true(value(t, "sonde_net_retransmits_total", L ",kind=tlp") == 4);
	assert_true(value(t, "sonde_net_transmit_dropped_segments_total",
			  L ",kind=loss,reason=QDISC_DROP,where=elsewhere,site=tbf_enqueue") == 9);
	assert_true(value(t, "sonde_net_transmit_dropped_bytes_total",
			  L
			  ",kind=loss,reason=QDISC_DROP,where=elsewhere,site=tbf_enqueue") == 900);
	/* a kernel that hides its symbols gives no site */
	assert_true(value(t, "sonde_net_receive_dropped_skbs_total",
			  L ",kind=loss,reason=NETFILTER_DROP,where=socket") == 2);
	/* the site tells a full accept queue from a port that nobody listens at */
	assert_true(value(t, "sonde_net_receive_dropped_segments_total",
			  L
			  ",kind=loss,reason=NO_SOCKET,where=listener,site=cookie_v4_check") == 4);
	assert_true(value(t, "sonde_net_reset_reasons_total", L ",reason=TCP_ABORT_ON_CLOSE") == 5);
	assert_true(value(t, "sonde_net_connections_open", L) == 2);
	assert_true(value(t, "sonde_net_smoothed_rtt_microseconds", L) == 150);
	assert_null(meter(t, "sonde_net_sent_bytes_total", L)); /* a counter of 0 */
#undef L
}

/* Of two connections: 100, 140 and 100, 100 us. */
static void the_spread_of_rtt_is_that_of_its_samples(void **state)
{
	struct cast *t = *state;
	struct sonde_edge *e;

#define L "client_process_id=aa,server_process_id=bb,server_port=80,side=client"
	for (uint64_t second = 140; second >= 100; second -= 40) {
		e = edge(t, t->a, t->b, SONDE_TCP_ROLE_CLIENT, 2, 80);
		e->changed = true;
		e->cell.rtt_count = 2;
		e->cell.rtt_sum_us = 100 + second;
		e->cell.rtt_square_sum_us2 = 100 * 100 + second * second;
		e->cell.rtt_firsts = 1;
		e->cell.active_us = 70;
		e->cell.busy_us = second / 2;
		e->cell.rtt_change_sum_us = second - 100;
		e->cell.open = 1;
		e->cell.cwnd_sum = second / 10;
		assert_ok(sonde_sparse_hist_add(&e->hists[SONDE_PROBE_HIST_RTT],
						sonde_hist_bucket_of(100), 1));
		assert_ok(sonde_sparse_hist_add(&e->hists[SONDE_PROBE_HIST_RTT],
						sonde_hist_bucket_of(second), 1));
	}
	assert_ok(sonde_net_emit(&t->batch, &t->edges));
	unpack(t);
	assert_true(value(t, "sonde_net_rtt_max_microseconds", L) == 140);
	assert_true(value(t, "sonde_net_rtt_variance_square_microseconds", L) == 300);
	assert_true(value(t, "sonde_net_rtt_jitter_microseconds", L) == 20);
	assert_true(value(t, "sonde_net_congestion_window_segments", L) == 12);
	assert_true(value(t, "sonde_net_application_limited_microseconds_total", L) == 20);
	assert_null(meter(t, "sonde_net_slow_start_threshold_segments", L)); /* none has one */
#undef L
}

static void no_observation_moves_across_a_bound(void **state)
{
	_cleanup_sparse_hist_ struct sonde_sparse_hist h = {0};
	uint64_t folded[SONDE_SKYWALKING_BOUNDS];

	for (size_t i = 0; i < SONDE_SKYWALKING_BOUNDS; i++) {
		uint32_t b = sonde_skywalking_bounds_us[i];

		assert_ok(sonde_sparse_hist_add(&h, sonde_hist_bucket_of(b), 1));
		if (i)
			assert_ok(sonde_sparse_hist_add(&h, sonde_hist_bucket_of(b - 1), 1));
	}
	assert_int_equal(sonde_skywalking_fold(&h, folded), 2 * SONDE_SKYWALKING_BOUNDS - 1);
	/* each bucket: its own bound, and one less than the next one's */
	for (size_t i = 0; i + 1 < SONDE_SKYWALKING_BOUNDS; i++)
		assert_int_equal(folded[i], 2);
	assert_int_equal(folded[SONDE_SKYWALKING_BOUNDS - 1], 1);
}

static void histograms_carry_all_bounds_or_are_absent(void **state)
{
	struct cast *t = *state;
	struct sonde_edge *e = edge(t, t->a, t->b, SONDE_TCP_ROLE_CLIENT, 2, 80);
	const Skywalking__V3__MeterData *m;

	assert_ok(sonde_sparse_hist_add(&e->hists[SONDE_PROBE_HIST_RTT], sonde_hist_bucket_of(1250),
					4));
	assert_ok(sonde_skywalking_emit(&t->batch, &t->edges, t->peers));
	unpack(t);
	m = meter(t, "rover_net_p_client_write_rtt_histogram", TO_B);
	assert_non_null(m);
	assert_int_equal(m->histogram->n_values, SONDE_SKYWALKING_BOUNDS);
	for (size_t i = 0; i < SONDE_SKYWALKING_BOUNDS; i++) {
		assert_true(m->histogram->values[i]->bucket == sonde_skywalking_bounds_us[i]);
		assert_int_equal(m->histogram->values[i]->count,
				 sonde_skywalking_bounds_us[i] == 1200 ? 4 : 0);
	}
	assert_null(meter(t, "rover_net_p_client_connect_exe_time_histogram", TO_B));
}

static void a_fine_histogram_goes_out_in_the_buckets_of_a_report(void **state)
{
	struct cast *t = *state;
	struct sonde_edge *e = edge(t, t->a, t->b, SONDE_TCP_ROLE_CLIENT, 2, 80);
	const Skywalking__V3__MeterData *m;

	e->changed = true;
	for (uint64_t us = 17; us <= 22; us++) /* 17 18 19 20-21 22-23 */
		assert_ok(sonde_sparse_hist_add(&e->hists[SONDE_PROBE_HIST_RTT],
						sonde_hist_bucket_of(us), 3));
	assert_ok(sonde_net_emit(&t->batch, &t->edges));
	unpack(t);
	m = meter(t, "sonde_net_rtt_microseconds",
		  "client_process_id=aa,server_process_id=bb,server_port=80,side=client");
	assert_non_null(m);
	assert_int_equal(m->histogram->n_values, 5);
	assert_true(m->histogram->values[3]->bucket == 20);
	assert_int_equal(m->histogram->values[3]->count, 6);
	assert_true(m->histogram->values[4]->bucket == 22);
	assert_int_equal(m->histogram->values[4]->count, 3);
}

static void what_did_not_change_is_not_sent_alone(void **state)
{
	struct cast *t = *state;
	struct sonde_edge *e = edge(t, t->a, t->b, SONDE_TCP_ROLE_CLIENT, 2, 80);

	e->changed = false;
	e->cell.open = 3;
	assert_ok(sonde_net_emit(&t->batch, &t->edges));
	assert_int_equal(t->batch.meters, 0);
	/* beside one that changed it counts: the gauge is of the whole edge */
	e = edge(t, t->a, t->b, SONDE_TCP_ROLE_CLIENT, 3, 80);
	e->cell.open = 1;
	assert_ok(sonde_net_emit(&t->batch, &t->edges));
	unpack(t);
	assert_true(value(t, "sonde_net_connections_open",
			  "client_process_id=aa,server_process_id=bb,server_port=80,side=client") ==
		    4);
}

/* A message without a meter has no service: a backend, and who counts messages up to an empty one, would lose the rest. */
static void who_has_nothing_to_tell_has_no_collection(void **state)
{
	struct cast *t = *state;
	struct sonde_edge *quiet, *e;

	(void)edge(t, t->stranger, NULL, SONDE_TCP_ROLE_SERVER, 9, 80);
	e = edge(t, t->a, NULL, SONDE_TCP_ROLE_SERVER, 9, 80);
	quiet = &t->edges.edges[0]; /* where it is behind the second */
	assert_true(strcmp(t->stranger->service, t->a->service) < 0); /* it comes first */
	quiet->changed = false;
	quiet->cell.open = 1;
	e->cell.accepted = 7;
	assert_ok(sonde_skywalking_emit(&t->batch, &t->edges, t->peers));
	assert_ok(sonde_net_emit(&t->batch, &t->edges));
	assert_int_equal(t->batch.n, 1);
	assert_true(t->batch.messages[0].len > 0);
	unpack(t);
	assert_true(
		value(t, "sonde_net_connections_accepted_total",
		      "server_process_id=aa,client_address=10.0.0.9,server_port=80,side=server") ==
		7);
}

static void a_large_report_becomes_several_collections(void **state)
{
	struct sonde_batch b = SONDE_BATCH_INIT(1);
	struct sonde_batch_labels one = {0};
	char text[1000];
	int r = 0;

	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	sonde_batch_begin(&b, "s", "i");
	assert_ok(sonde_batch_labels_add(&one, "label", text));
	for (unsigned i = 0; r == 0 && i < 100000; i++)
		r = sonde_batch_single(&b, "name", &one, 1);
	assert_int_equal(r, -ENOSPC);
	assert_int_equal(b.n, SONDE_BATCH_COLLECTIONS_MAX);
	for (size_t i = 0; i < b.n; i++)
		assert_true(b.messages[i].len <= SONDE_BATCH_COLLECTION_MAX);
	sonde_batch_done(&b);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_skywalking_set_has_its_names_and_units),
		TEST(who_has_nothing_to_tell_has_no_collection),
		TEST(calls_carry_family_size_and_time),
		TEST(a_task_that_did_not_ask_gets_no_times),
		TEST(names_and_time_stand_on_the_first_element_only),
		TEST(averages_are_made_behind_the_merge),
		TEST(a_servers_clients_are_one_peer_an_address),
		TEST(a_peer_of_another_service_is_named_in_our_set_alone),
		TEST(the_overflow_cell_is_called_other),
		TEST(labels_of_our_set_say_kind_reason_errno_and_closer),
		TEST(the_spread_of_rtt_is_that_of_its_samples),
		cmocka_unit_test(no_observation_moves_across_a_bound),
		TEST(histograms_carry_all_bounds_or_are_absent),
		TEST(a_fine_histogram_goes_out_in_the_buckets_of_a_report),
		TEST(what_did_not_change_is_not_sent_alone),
		cmocka_unit_test(a_large_report_becomes_several_collections),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
