/* SPDX-License-Identifier: Apache-2.0 */
/* RTT against what a wire of ours recorded for the same packets. */
#include "fixture.h"

#include <math.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "capture.h"
#include "model/hist.h"
#include "unseen.h"

#define EXCHANGES 200
#define TRIES 10
#define RESPONSES 50
#define FIRST_PORT 8080

struct link {
	struct sonde_test_wire *wire;
	int listener, client, server;
	uint16_t port; /* one a test: cells are told apart by it */
};

static struct link link_open(int family, uint64_t hold_ns)
{
	static uint16_t next_port = FIRST_PORT;
	struct sockaddr_storage to = {0};
	const int one = 1;
	struct link l = {.port = next_port++};
	const socklen_t len = sonde_test_tunnel_server(family, l.port, &to);
	const struct sonde_test_tunnel *tunnel;

	assert_ok(sonde_test_wire_new(0, &l.wire));
	sonde_test_wire_set(l.wire, SONDE_TEST_CLIENT,
			    &(struct sonde_test_faults){.hold_ns = hold_ns});
	tunnel = sonde_test_wire_tunnel(l.wire);
	l.listener = sonde_test_tunnel_socket(tunnel, SONDE_TEST_SERVER, family, SOCK_STREAM);
	assert_true(l.listener >= 0);
	assert_ok(setsockopt(l.listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)));
	assert_ok(bind(l.listener, (struct sockaddr *)&to, len));
	assert_ok(listen(l.listener, 8));
	l.client = sonde_test_tunnel_socket(tunnel, SONDE_TEST_CLIENT, family, SOCK_STREAM);
	assert_true(l.client >= 0);
	assert_ok(connect(l.client, (struct sockaddr *)&to, len));
	l.server = accept(l.listener, NULL, NULL);
	assert_true(l.server >= 0);
	assert_ok(setsockopt(l.client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)));
	assert_ok(setsockopt(l.server, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)));
	return l;
}

static void link_close(struct link *l)
{
	fixture_close_fd(&l->client);
	fixture_close_fd(&l->server);
	fixture_close_fd(&l->listener);
	l->wire = sonde_test_wire_free(l->wire);
}

static struct sonde_test_packet *capture(const struct link *l, struct sonde_test_capture *ret)
{
	struct sonde_test_packet *packets = sonde_test_wire_capture(l->wire, &ret->n);

	assert_non_null(packets);
	ret->packet = packets;
	ret->port = l->port;
	return packets;
}

/* ACKs that cover data or a FIN of the server's anew. */
static size_t acks_of_client(const struct link *l)
{
	uint64_t ns[2 * EXCHANGES];
	struct sonde_test_capture c;
	_cleanup_free_ struct sonde_test_packet *packets = capture(l, &c);

	assert_ptr_equal(c.packet, packets);
	return sonde_test_capture_rtts(&c, SONDE_TEST_SERVER, ns, ELEMENTS_OF(ns));
}

/* What the kernel's samples lie between: the wire's clock, which is within each, and our own, which is around it. */
struct truth {
	uint64_t wire[2 * EXCHANGES]; /* ns */
	uint64_t own[EXCHANGES];
};

static void exchange(struct link *l, struct truth *t)
{
	for (int i = 0; i < EXCHANGES; i++) {
		const uint64_t began = sonde_mono_ns();

		fixture_send(l->client, 100);
		fixture_recv(l->server, 100);
		fixture_send(l->server, 100);
		fixture_recv(l->client, 100);
		t->own[i] = sonde_mono_ns() - began;
	}
}

/* Return: segments that were sent again: their samples are by time stamps, whose steps are milliseconds. */
static uint64_t read_wire(const struct link *l, struct truth *t)
{
	struct sonde_test_capture c;
	_cleanup_free_ struct sonde_test_packet *packets = capture(l, &c);

	assert_ptr_equal(c.packet, packets);
	assert_int_equal(
		sonde_test_capture_rtts(&c, SONDE_TEST_CLIENT, t->wire, ELEMENTS_OF(t->wire)),
		EXCHANGES);
	return sonde_test_capture_repeats(&c, SONDE_TEST_CLIENT).segments;
}

static int by_value(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Bucket in which the @n/2-th of the histogram's samples lies. */
static uint32_t median_bucket(const struct sonde_tcp_hist *hist)
{
	uint64_t half = (fixture_hist_total(hist) + 1) / 2, seen = 0;
	uint32_t b = 0;

	for (; b < SONDE_HIST_BUCKETS; b++) {
		seen += hist->count[b];
		if (seen >= half)
			break;
	}
	return b;
}

static uint32_t lowest_bucket(const struct sonde_tcp_hist *hist)
{
	uint32_t b = 0;

	while (b < SONDE_HIST_BUCKETS && hist->count[b] == 0)
		b++;
	return b;
}

static void agrees(struct fixture *f, int family, uint64_t hold_ns)
{
	const struct fixture_cell *cell;
	uint64_t step_us;
	struct truth t;
	struct link l;
	uint32_t ours, low, high;

	fixture_snapshot(
		f); /* the mark: cells of an earlier test have other addresses or are merged below */
	l = link_open(family, hold_ns);
	exchange(&l, &t);
	fixture_snapshot(f);
	step_us = read_wire(&l, &t) ? 1000 : 1;
	qsort(t.wire, EXCHANGES, sizeof(t.wire[0]), by_value);
	qsort(t.own, EXCHANGES, sizeof(t.own[0]), by_value);

	cell = fixture_cell(f, getpid(), SONDE_TCP_ROLE_CLIENT, l.port);
	assert_non_null(cell);
	/* The handshake is a sample too, which the capture does not count: no payload. */
	assert_in_range(fixture_hist_total(&cell->hists[SONDE_PROBE_HIST_RTT]), EXCHANGES,
			EXCHANGES + 1);
	ours = median_bucket(&cell->hists[SONDE_PROBE_HIST_RTT]);
	/* Sorted, the i-th of ours lies between the i-th of both; with or without the handshake's this is the median. */
	low = sonde_hist_bucket_of(t.wire[EXCHANGES / 2 - 1] / 1000 - 1);
	high = sonde_hist_bucket_of(t.own[EXCHANGES / 2] / 1000 + step_us);
	print_message(
		"hold %lu us, IPv%d: wire p50 %lu us, own %lu us, kernel p50 bucket [%lu, %lu) us, samples %lu\n",
		(unsigned long)(hold_ns / 1000), family == AF_INET ? 4 : 6,
		(unsigned long)(t.wire[EXCHANGES / 2] / 1000),
		(unsigned long)(t.own[EXCHANGES / 2] / 1000),
		(unsigned long)sonde_hist_lower_us(ours),
		(unsigned long)sonde_hist_lower_us(ours + 1),
		(unsigned long)fixture_hist_total(&cell->hists[SONDE_PROBE_HIST_RTT]));
	assert_in_range(ours, low, high);
	/* No sample below the hold: its bucket's edge is an exact multiple. */
	assert_true(sonde_hist_lower_us(lowest_bucket(&cell->hists[SONDE_PROBE_HIST_RTT])) >=
		    hold_ns / 1000);
	link_close(&l);
	fixture_snapshot(f);
}

static void median_agrees_at_5_ms(void **state)
{
	agrees(*state, AF_INET, 5000000);
}

static void median_agrees_at_5_ms_on_ipv6(void **state)
{
	agrees(*state, AF_INET6, 5000000);
}

static void median_agrees_at_40_ms(void **state)
{
	agrees(*state, AF_INET, 40000000);
}

static void median_agrees_at_40_ms_on_ipv6(void **state)
{
	agrees(*state, AF_INET6, 40000000);
}

struct spread {
	double deviation_us;
	double change_us; /* mean difference of neighbours */
};

static struct spread spread_of(const uint64_t *ns, size_t n)
{
	double sum = 0, squares = 0, change = 0, mean;

	for (size_t i = 0; i < n; i++) {
		double us = (double)ns[i] / 1000;

		sum += us;
		squares += us * us;
		if (i > 0)
			change += ns[i] > ns[i - 1] ? (double)(ns[i] - ns[i - 1]) / 1000
						    : (double)(ns[i - 1] - ns[i]) / 1000;
	}
	mean = sum / (double)n;
	return (struct spread){sqrt(squares / (double)n - mean * mean), change / (double)(n - 1)};
}

/*
 * By how much the kernel's may differ from the wire's: each of its samples is longer by at most what our own clock has
 * more, so their mean change is off by both neighbours' share, and their deviation by the root mean square of it.
 */
static struct spread share_of_own(const struct truth *t, double step_us)
{
	double squares = 0, change = 0, last = 0;

	for (size_t i = 0; i < EXCHANGES; i++) {
		double more = (double)(t->own[i] - t->wire[i]) / 1000 + step_us;

		squares += more * more;
		change += i > 0 ? more + last : 0;
		last = more;
	}
	return (struct spread){sqrt(squares / EXCHANGES), change / (EXCHANGES - 1)};
}

static void assert_within(double ours, double truth, double share)
{
	print_message("ours %.0f, wire %.0f, own clock's share %.0f us\n", ours, truth, share);
	assert_true(ours >= truth - share && ours <= truth + share);
}

/* Whether our own clock added so little that the comparison says something: 5 %, and of the variance 10 %. */
static bool is_small(const struct spread *share, const struct spread *spread)
{
	return share->deviation_us < 0.048 * spread->deviation_us &&
	       share->change_us < 0.05 * spread->change_us;
}

/* Each second packet is held for longer: neighbours differ by as much. */
static bool jitter_is_the_wires(struct fixture *f)
{
	struct link l = link_open(AF_INET, 3000000);
	struct sonde_tcp_cell cell;
	struct spread spread, share;
	struct truth t;
	double mean, n;

	sonde_test_wire_set(l.wire, SONDE_TEST_CLIENT,
			    &(struct sonde_test_faults){.hold_ns = 3000000, .jitter_ns = 12000000});
	exchange(&l, &t);
	fixture_snapshot(f);
	share = share_of_own(&t, read_wire(&l, &t) ? 1000 : 1);
	spread = spread_of(t.wire, EXCHANGES);
	assert_true(spread.change_us > 10000);
	cell = fixture_sum(f, getpid(), SONDE_TCP_ROLE_CLIENT, l.port);
	n = (double)cell.rtt_count;
	mean = (double)cell.rtt_sum_us / n;
	assert_int_equal(cell.rtt_count, EXCHANGES);
	assert_within(sqrt((double)cell.rtt_square_sum_us2 / n - mean * mean), spread.deviation_us,
		      share.deviation_us);
	assert_int_equal(cell.rtt_firsts, 1);
	assert_within((double)cell.rtt_change_sum_us / (n - 1), spread.change_us, share.change_us);
	link_close(&l);
	fixture_snapshot(f);
	return is_small(&share, &spread);
}

/* Each time within what our own clock allows; until that is little, or the machine has no such moment. */
static void jitter_is_what_the_wire_made(void **state)
{
	for (unsigned int i = 0; i < TRIES && !jitter_is_the_wires(*state); i++)
		;
}

/* The client has said its FIN; the server still sends, and each ACK that advances is a sample. */
static void half_closed_client_loses_no_sample(void **state)
{
	struct fixture *f = *state;
	struct link l = link_open(AF_INET, 1000000);
	size_t acks;
	struct sonde_tcp_cell before, after;

	fixture_send(l.client, 100);
	fixture_recv(l.server, 100);
	assert_ok(shutdown(l.client, SHUT_WR));
	assert_int_equal(fixture_drain(l.server), 0);
	fixture_snapshot(f);
	before = fixture_sum(f, getpid(), SONDE_TCP_ROLE_SERVER, l.port);
	acks = acks_of_client(&l);
	for (int i = 0; i < RESPONSES; i++) {
		fixture_send(l.server, 100);
		fixture_recv(l.client, 100);
		fixture_wait_acked(l.server);
	}
	acks = acks_of_client(&l) - acks;
	fixture_snapshot(f);
	after = fixture_sum(f, getpid(), SONDE_TCP_ROLE_SERVER, l.port);
	/* In this phase each ACK that covers something covers one response. */
	print_message("half-closed: %lu ACKs, %lu samples, %lu missed\n", (unsigned long)acks,
		      (unsigned long)(after.rtt_count - before.rtt_count),
		      (unsigned long)(after.rtt_missed - before.rtt_missed));
	assert_int_equal(acks, RESPONSES);
	assert_int_equal(after.rtt_count - before.rtt_count + after.rtt_missed - before.rtt_missed,
			 acks);
	assert_int_equal(after.rtt_missed - before.rtt_missed, 0);
	link_close(&l);
}

static int run(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(median_agrees_at_5_ms),
		cmocka_unit_test(median_agrees_at_5_ms_on_ipv6),
		cmocka_unit_test(median_agrees_at_40_ms),
		cmocka_unit_test(median_agrees_at_40_ms_on_ipv6),
		cmocka_unit_test(jitter_is_what_the_wire_made),
		cmocka_unit_test(half_closed_client_loses_no_sample),
	};

	if (geteuid() == 0 && !fixture_bpf_is_refused() &&
	    !fixture_is_measured("RTT samples of new connections", "RTT samples, only"))
		return fixture_tell_absent("RTT samples of new connections", "RTT samples, only");
	return fixture_main(tests);
}

int main(int argc, char **argv)
{
	return unseen_main(argv, run);
}
