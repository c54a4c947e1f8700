/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every layer 4 meter that an OAP's network-profiling rules read, and the four that they do not: name, kind, labels,
 * unit and bounds in both roles and in each form of a peer. The tables here are written by hand from the protocol, not
 * taken from what is tested.
 */
#include "sonde-test.h"

#include <stdio.h>
#include <string.h>

#include "export/skywalking.h"
#include "model/hist.h"
#include "skywalking/v3/meter.pb-c.h"

/* Lower bounds in ns; of RTT they are a thousandth of it, in us. */
static const double bounds_ns[] = {0,	  1e4,	 5e4,	1e5, 5e5,   1e6, 1.2e6, 1.5e6, 1.7e6,
				   2e6,	  2.5e6, 3e6,	5e6, 7e6,   1e7, 1.3e7, 1.6e7, 2e7,
				   2.5e7, 3e7,	 3.5e7, 4e7, 4.5e7, 5e7, 7e7,	1e8,   1.5e8,
				   2e8,	  3e8,	 5e8,	1e9, 2e9,   3e9, 5e9};

/* Of the edge that fill() makes. */
static const struct single {
	const char *rest;
	double value;
} singles[] = {
	{"write_counts_counter", 4},	     {"write_bytes_counter", 1000},
	{"write_exe_time_counter", 2500}, /* ns, mean */
	{"read_counts_counter", 3},	     {"read_bytes_counter", 2000},
	{"read_exe_time_counter", 4000},     {"write_rtt_counts_counter", 8},
	{"write_rtt_exe_time_counter", 150},					  /* us, mean */
	{"connect_counts_counter", 2},	     {"connect_exe_time_counter", 70000}, /* ns, mean */
	{"close_counts_counter", 5},	     {"close_exe_time_counter", 1500},
	{"retransmit_counts_counter", 6},    {"drop_counts_counter", 7},
};

/* Each has one observation of 1.3 ms: in the bucket that begins at 1.2 ms. */
static const struct histogram {
	const char *rest;
	double per_ns;
} histograms[] = {
	{"write_rtt_histogram", 1e-3},	 {"write_exe_time_histogram", 1},
	{"read_exe_time_histogram", 1},	 {"connect_exe_time_histogram", 1},
	{"close_exe_time_histogram", 1},
};

static void observe(struct sonde_edge *e, unsigned which)
{
	assert_ok(sonde_sparse_hist_add(&e->hists[which], sonde_hist_bucket_of(1300), 1));
}

static void fill(struct sonde_edge *e)
{
	const struct sonde_edge_drop drop = {
		.event = SONDE_TCP_EVENT_DROP, .class = SONDE_DROP_LOSS, .drop = {.skbs = 7}};

	e->changed = true;
	e->calls.calls[SONDE_TCP_CALL_WRITE][SONDE_TCP_CALL_SENDFILE] = 4;
	e->calls.timed[SONDE_TCP_CALL_WRITE] = 4;
	e->calls.time_sum_ns[SONDE_TCP_CALL_WRITE] = 10000;
	e->calls.calls[SONDE_TCP_CALL_READ][SONDE_TCP_CALL_IO_URING] = 3;
	e->calls.timed[SONDE_TCP_CALL_READ] = 2;
	e->calls.time_sum_ns[SONDE_TCP_CALL_READ] = 8000;
	e->calls.close_count = 2;
	e->calls.close_sum_ns = 3000;
	e->cell.sent_bytes = 1000;
	e->cell.received_bytes = 2000;
	e->cell.rtt_count = 8;
	e->cell.rtt_sum_us = 1200;
	e->cell.opened = e->role == SONDE_TCP_ROLE_CLIENT ? 2 : 0;
	e->cell.accepted = e->role == SONDE_TCP_ROLE_SERVER ? 2 : 0;
	e->cell.handshake_count = 2;
	e->cell.handshake_sum_us = 140;
	e->cell.closed[0] = 2;
	e->cell.closed[1] = 3;
	e->cell.retransmitted_segments = 6;
	assert_ok(sonde_edge_add_drop(e, &drop));
	observe(e, SONDE_PROBE_HIST_RTT);
	observe(e, SONDE_PROBE_HIST_HANDSHAKE);
	observe(e, SONDE_PROBE_HIST_CALL + SONDE_TCP_CALL_HIST_WRITE_TIME);
	observe(e, SONDE_PROBE_HIST_CALL + SONDE_TCP_CALL_HIST_READ_TIME);
	observe(e, SONDE_PROBE_HIST_CALL + SONDE_TCP_CALL_HIST_CLOSE_TIME);
}

static struct sonde_process *process(const char *service, const char *id)
{
	struct sonde_process *p = NULL;

	assert_ok(sonde_process_new(1, 1, &p));
	(void)sonde_process_set_entity(p->service, service);
	(void)sonde_process_set_entity(p->instance, "i");
	(void)snprintf(p->id, sizeof(p->id), "%s", id);
	return p;
}

/* Exactly these, in this order: so none stands twice. */
static void check_labels(Skywalking__V3__Label **l, size_t n, uint8_t role, const char *peer)
{
	const bool client = role == SONDE_TCP_ROLE_CLIENT;
	char text[400] = "", want[400];
	size_t at = 0;

	for (size_t i = 0; i < n; i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s=%s;", l[i]->name,
				       l[i]->value);
	(void)snprintf(want, sizeof(want),
		       "%s_process_id=aa;%s_%s;side=%s;protocol=unknown;is_ssl=false;",
		       client ? "client" : "server", client ? "server" : "client", peer,
		       client ? "client" : "server");
	assert_string_equal(text, want);
}

static void check_histogram(const Skywalking__V3__MeterHistogram *h, double per_ns)
{
	assert_int_equal(h->n_values, ELEMENTS_OF(bounds_ns));
	for (size_t i = 0; i < h->n_values; i++) {
		assert_true(h->values[i]->bucket == bounds_ns[i] * per_ns);
		assert_int_equal(h->values[i]->count, bounds_ns[i] == 1.2e6 ? 1 : 0);
		assert_false(h->values[i]->isnegativeinfinity);
	}
}

/* Return: the row of "rover_net_p_<role>_<rest>", counted; a name that is none fails. */
static const struct single *single_row(const char *name, const char *role, unsigned *seen)
{
	char want[100];

	for (size_t i = 0; i < ELEMENTS_OF(singles); i++) {
		(void)snprintf(want, sizeof(want), "rover_net_p_%s_%s", role, singles[i].rest);
		if (strcmp(name, want) != 0)
			continue;
		seen[i]++;
		return &singles[i];
	}
	fail_msg("%s is no meter", name);
	return NULL;
}

static const struct histogram *histogram_row(const char *name, const char *role, unsigned *seen)
{
	char want[100];

	for (size_t i = 0; i < ELEMENTS_OF(histograms); i++) {
		(void)snprintf(want, sizeof(want), "rover_net_p_%s_%s", role, histograms[i].rest);
		if (strcmp(name, want) != 0)
			continue;
		seen[i]++;
		return &histograms[i];
	}
	fail_msg("%s is no meter", name);
	return NULL;
}

static void check_collection(const Skywalking__V3__MeterDataCollection *c, uint8_t role,
			     const char *peer)
{
	const char *word = role == SONDE_TCP_ROLE_CLIENT ? "client" : "server";
	unsigned singles_seen[ELEMENTS_OF(singles)] = {0},
		 histograms_seen[ELEMENTS_OF(histograms)] = {0};

	for (size_t i = 0; i < c->n_meterdata; i++) {
		const Skywalking__V3__MeterData *m = c->meterdata[i];

		if (m->metric_case == SKYWALKING__V3__METER_DATA__METRIC_SINGLE_VALUE) {
			const struct single *row =
				single_row(m->singlevalue->name, word, singles_seen);

			assert_true(m->singlevalue->value == row->value);
			check_labels(m->singlevalue->labels, m->singlevalue->n_labels, role, peer);
		} else {
			const struct histogram *row =
				histogram_row(m->histogram->name, word, histograms_seen);

			check_histogram(m->histogram, row->per_ns);
			check_labels(m->histogram->labels, m->histogram->n_labels, role, peer);
		}
	}
	for (size_t i = 0; i < ELEMENTS_OF(singles); i++)
		assert_int_equal(singles_seen[i], 1);
	for (size_t i = 0; i < ELEMENTS_OF(histograms); i++)
		assert_int_equal(histograms_seen[i], 1);
}

struct peer_case {
	const char *other; /* service of the peer's process; NULL: none is known */
	bool local;
	enum sonde_skywalking_peers peers;
	const char *client_label,
		*server_label; /* of the peer, where the process is client, server */
};

static void check_case(const struct peer_case *c, uint8_t role)
{
	_cleanup_(sonde_edges_done) struct sonde_edges edges = {0};
	_cleanup_(sonde_batch_done) struct sonde_batch batch = SONDE_BATCH_INIT(1234);
	Skywalking__V3__MeterDataCollection *collection;
	struct sonde_edge *e = NULL;

	assert_ok(sonde_edges_add(&edges, &e));
	e->self = process("s", "aa");
	e->other = c->other ? process(c->other, "bb") : NULL;
	e->role = role;
	e->peer = (struct sonde_peer){.kind = c->other ? SONDE_PEER_PROCESS : SONDE_PEER_ADDRESS,
				      .local = c->local,
				      .port = 443,
				      .addr = {[10] = 0xff, 0xff, 10, 0, 0, 9}};
	fill(e);
	assert_ok(sonde_skywalking_emit(&batch, &edges, c->peers));
	assert_int_equal(batch.n, 1);
	collection = skywalking__v3__meter_data_collection__unpack(NULL, batch.messages[0].len,
								   batch.messages[0].data);
	assert_non_null(collection);
	assert_string_equal(collection->meterdata[0]->service, "s");
	assert_string_equal(collection->meterdata[0]->serviceinstance, "i");
	check_collection(collection, role,
			 role == SONDE_TCP_ROLE_CLIENT ? c->client_label : c->server_label);
	skywalking__v3__meter_data_collection__free_unpacked(collection, NULL);
}

static void every_meter_has_its_name_labels_unit_and_bounds(void **state)
{
	static const struct peer_case cases[] = {
		{"s", false, SONDE_SKYWALKING_PEERS_ADDRESS, "process_id=bb", "process_id=bb"},
		{"s", true, SONDE_SKYWALKING_PEERS_UNKNOWN, "process_id=bb", "process_id=bb"},
		{NULL, true, SONDE_SKYWALKING_PEERS_ADDRESS, "local=true", "local=true"},
		/* A process id of another instance would be taken for one of this instance. */
		{"t", true, SONDE_SKYWALKING_PEERS_ADDRESS, "local=true", "local=true"},
		{"t", false, SONDE_SKYWALKING_PEERS_ADDRESS, "address=10.0.0.9:443",
		 "address=10.0.0.9:0"},
		{NULL, false, SONDE_SKYWALKING_PEERS_ADDRESS, "address=10.0.0.9:443",
		 "address=10.0.0.9:0"},
		{NULL, false, SONDE_SKYWALKING_PEERS_UNKNOWN, "local=true", "local=true"},
		{"t", false, SONDE_SKYWALKING_PEERS_UNKNOWN, "local=true", "local=true"},
	};

	for (size_t i = 0; i < ELEMENTS_OF(cases); i++) {
		check_case(&cases[i], SONDE_TCP_ROLE_CLIENT);
		check_case(&cases[i], SONDE_TCP_ROLE_SERVER);
	}
}

/* To a backend that adds samples of one series, two averages would be their sum. */
static void peers_that_become_one_are_one_sample(void **state)
{
	_cleanup_(sonde_edges_done) struct sonde_edges edges = {0};
	_cleanup_(sonde_batch_done) struct sonde_batch batch = SONDE_BATCH_INIT(1234);
	Skywalking__V3__MeterDataCollection *c;
	size_t means = 0;

	for (uint8_t i = 0; i < 3; i++) {
		struct sonde_edge *e = NULL;

		assert_ok(sonde_edges_add(&edges, &e));
		e->self = process("s", "aa");
		e->role = SONDE_TCP_ROLE_CLIENT;
		e->changed = true;
		e->peer = (struct sonde_peer){.kind = SONDE_PEER_ADDRESS,
					      .local = i == 0,
					      .port = (uint16_t)(80 + i),
					      .addr = {[10] = 0xff, 0xff, 10, 0, 0, i}};
		e->cell.rtt_count = 1 + i; /* 1 x 600, 2 x 300, 3 x 200 us */
		e->cell.rtt_sum_us = 600;
	}
	assert_ok(sonde_skywalking_emit(&batch, &edges, SONDE_SKYWALKING_PEERS_UNKNOWN));
	c = skywalking__v3__meter_data_collection__unpack(NULL, batch.messages[0].len,
							  batch.messages[0].data);
	assert_non_null(c);
	for (size_t i = 0; i < c->n_meterdata; i++) {
		const Skywalking__V3__MeterSingleValue *v = c->meterdata[i]->singlevalue;

		if (strcmp(v->name, "rover_net_p_client_write_rtt_exe_time_counter") != 0)
			continue;
		assert_true(v->value == 300); /* 1,800 / 6 */
		means++;
	}
	assert_int_equal(means, 1);
	skywalking__v3__meter_data_collection__free_unpacked(c, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_meter_has_its_name_labels_unit_and_bounds),
		cmocka_unit_test(peers_that_become_one_are_one_sample),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
