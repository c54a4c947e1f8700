/* SPDX-License-Identifier: Apache-2.0 */
/* A selection: of an edge that has everything, each signal alone lets out its own meters of both sets and no other. */
#include "sonde-test.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "export/select.h"
#include "export/skywalking.h"
#include "export/sonde-net.h"
#include "model/meters.h"
#include "skywalking/v3/meter.pb-c.h"

#define NAMES_MAX 256

struct names {
	char name[NAMES_MAX][80];
	size_t n;
};

static void add_name(struct names *names, const char *name)
{
	for (size_t i = 0; i < names->n; i++) {
		if (strcmp(names->name[i], name) == 0)
			return;
	}
	assert_true(names->n < NAMES_MAX);
	(void)snprintf(names->name[names->n++], sizeof(names->name[0]), "%s", name);
}

static bool has_name(const struct names *names, const char *name)
{
	for (size_t i = 0; i < names->n; i++) {
		if (strcmp(names->name[i], name) == 0)
			return true;
	}
	return false;
}

/* Every counter and gauge differs from 0, and no divisor is above what it divides. */
static void fill_numbers(void *cell, size_t size)
{
	uint64_t value;

	for (size_t i = 0; i < size; i += sizeof(value)) {
		value = 3;
		memcpy((uint8_t *)cell + i, &value, sizeof(value));
	}
}

static void fill_edge(struct sonde_edges *edges, uint8_t protocol)
{
	static const struct sonde_edge_drop drops[] = {
		{.event = SONDE_TCP_EVENT_DROP,
		 .direction = SONDE_TCP_DIRECTION_RX,
		 .reason = "X",
		 .class = SONDE_DROP_LOSS,
		 .drop = {.skbs = 2, .segments = 3, .bytes = 4}},
		{.event = SONDE_TCP_EVENT_DROP,
		 .direction = SONDE_TCP_DIRECTION_TX,
		 .reason = "Y",
		 .class = SONDE_DROP_LOSS,
		 .drop = {.skbs = 2, .segments = 3, .bytes = 4}},
		{.event = SONDE_TCP_EVENT_RESET_SENT, .reason = "Z", .drop = {.skbs = 2}},
	};
	struct sonde_process *self = NULL;
	struct sonde_edge *e = NULL;

	assert_ok(sonde_edges_add(edges, &e));
	assert_ok(sonde_process_new(1, 1, &self));
	(void)snprintf(self->id, sizeof(self->id), "aa");
	sonde_process_set_name(self->service, sizeof(self->service), "s");
	sonde_process_set_name(self->instance, sizeof(self->instance), "i");
	e->self = self;
	e->role = SONDE_TCP_ROLE_CLIENT;
	e->protocol = protocol;
	e->port = 80;
	e->changed = true;
	e->peer = (struct sonde_peer){.kind = SONDE_PEER_ADDRESS, .port = 80};
	fill_numbers(&e->udp, sizeof(e->udp));
	if (protocol == IPPROTO_UDP)
		return;
	fill_numbers(&e->cell, sizeof(e->cell));
	e->cell.active_us = 9;
	e->cell.rtt_firsts = 1;
	fill_numbers(&e->calls, sizeof(e->calls));
	for (size_t i = 0; i < _SONDE_PROBE_HIST_MAX; i++)
		assert_ok(sonde_sparse_hist_add(&e->hists[i], 12, 3));
	for (size_t i = 0; i < ELEMENTS_OF(drops); i++)
		assert_ok(sonde_edge_drops_append(&e->drops, &e->n_drops, &drops[i]));
}

static void take_names(const struct sonde_batch *b, struct names *names)
{
	for (size_t i = 0; i < b->n; i++) {
		Skywalking__V3__MeterDataCollection *c =
			skywalking__v3__meter_data_collection__unpack(NULL, b->messages[i].len,
								      b->messages[i].data);

		assert_non_null(c);
		for (size_t k = 0; k < c->n_meterdata; k++) {
			const Skywalking__V3__MeterData *m = c->meterdata[k];

			add_name(names,
				 m->metric_case == SKYWALKING__V3__METER_DATA__METRIC_SINGLE_VALUE
					 ? m->singlevalue->name
					 : m->histogram->name);
		}
		skywalking__v3__meter_data_collection__free_unpacked(c, NULL);
	}
}

static void names_of(uint32_t signals, struct names *names)
{
	_cleanup_(sonde_edges_done) struct sonde_edges edges = {0};
	_cleanup_(sonde_batch_done) struct sonde_batch b = SONDE_BATCH_INIT(1);

	*names = (struct names){0};
	fill_edge(&edges, IPPROTO_TCP);
	fill_edge(&edges, IPPROTO_UDP);
	sonde_edges_select(&edges, signals);
	assert_ok(sonde_skywalking_emit(&b, &edges, SONDE_SKYWALKING_PEERS_ADDRESS));
	assert_ok(sonde_net_emit(&b, &edges));
	take_names(&b, names);
}

/* "rover_net_p_*_write_…" of the list as it is sent for a client. */
static void as_client(const char *meter, char *ret, size_t size)
{
	const char *star = strchr(meter, '*');

	assert_non_null(star);
	(void)snprintf(ret, size, "%.*sclient%s", (int)(star - meter), meter, star + 1);
}

static struct names found;

/* In both directions: what is asked for is there, what is not is not. */
static void assert_exactly(uint32_t signals)
{
	enum sonde_signal signal;
	const char *meter;
	char name[80];

	names_of(signals, &found);
	for (unsigned i = 0; i < _SONDE_METER_MAX; i++) {
		const struct sonde_meter_info *m = sonde_meter_info(i);

		if (has_name(&found, m->name) != sonde_signals_have(signals, m->signal))
			print_message("%s, signals 0x%x\n", m->name, signals);
		assert_int_equal(has_name(&found, m->name), sonde_signals_have(signals, m->signal));
	}
	for (size_t i = 0; sonde_skywalking_signal(i, &meter, &signal); i++) {
		as_client(meter, name, sizeof(name));
		if (has_name(&found, name) != sonde_signals_have(signals, signal))
			print_message("%s, signals 0x%x\n", name, signals);
		assert_int_equal(has_name(&found, name), sonde_signals_have(signals, signal));
	}
}

static void each_signal_lets_out_its_own_meters(void **state)
{
	assert_exactly(0);
	assert_exactly(SONDE_SIGNALS_ALL);
	for (unsigned i = 0; i < _SONDE_SIGNAL_MAX; i++)
		assert_exactly(SONDE_SIGNAL_BIT(i));
}

/* All that is sent at all has a signal, so that no meter goes out with a selection that nobody named. */
static void the_lists_hold_every_meter(void **state)
{
	enum sonde_signal signal;
	const char *meter;
	char name[80];
	size_t known = 0;

	names_of(0, &found);
	for (size_t i = 0; i < found.n; i++) {
		bool listed = sonde_meter_find(found.name[i]) != NULL;

		for (size_t k = 0; sonde_skywalking_signal(k, &meter, &signal); k++) {
			as_client(meter, name, sizeof(name));
			listed = listed || strcmp(found.name[i], name) == 0;
		}
		if (!listed)
			print_message("%s\n", found.name[i]);
		known += listed;
	}
	assert_int_equal(known, found.n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_signal_lets_out_its_own_meters),
		cmocka_unit_test(the_lists_hold_every_meter),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
