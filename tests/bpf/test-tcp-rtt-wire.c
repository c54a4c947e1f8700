/* SPDX-License-Identifier: Apache-2.0 */
/* RTT against what a wire of ours recorded for the same packets. */
#include "fixture.h"

#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "capture.h"
#include "model/hist.h"
#include "unseen.h"

#define EXCHANGES 200
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

static uint64_t packets_of_client(const struct link *l)
{
	struct sonde_test_capture c;
	_cleanup_free_ struct sonde_test_packet *packets = capture(l, &c);

	assert_ptr_equal(c.packet, packets);
	return sonde_test_capture_count(&c, SONDE_TEST_CLIENT, 0, 0, -1);
}

static void exchange(struct link *l, int n)
{
	for (int i = 0; i < n; i++) {
		fixture_send(l->client, 100);
		fixture_recv(l->server, 100);
		fixture_send(l->server, 100);
		fixture_recv(l->client, 100);
	}
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
	uint64_t truth[2 * EXCHANGES];
	_cleanup_free_ struct sonde_test_packet *packets = NULL;
	const struct fixture_cell *cell;
	struct sonde_test_capture c;
	struct link l;
	uint32_t ours, theirs;
	size_t n;

	fixture_snapshot(
		f); /* the mark: cells of an earlier test have other addresses or are merged below */
	l = link_open(family, hold_ns);
	exchange(&l, EXCHANGES);
	fixture_snapshot(f);

	packets = capture(&l, &c);
	n = sonde_test_capture_rtts(&c, SONDE_TEST_CLIENT, truth, ELEMENTS_OF(truth));
	assert_int_equal(n, EXCHANGES);
	qsort(truth, n, sizeof(truth[0]), by_value);

	cell = fixture_cell(f, getpid(), SONDE_TCP_ROLE_CLIENT, l.port);
	assert_non_null(cell);
	/* The handshake is a sample too, which the capture does not count: no payload. */
	assert_in_range(fixture_hist_total(&cell->hists[SONDE_PROBE_HIST_RTT]), EXCHANGES,
			EXCHANGES + 1);
	ours = median_bucket(&cell->hists[SONDE_PROBE_HIST_RTT]);
	theirs = sonde_hist_bucket_of(truth[n / 2] / 1000);
	print_message(
		"hold %lu us, IPv%d: wire p50 %lu us, kernel p50 bucket [%lu, %lu) us, samples %lu\n",
		(unsigned long)(hold_ns / 1000), family == AF_INET ? 4 : 6,
		(unsigned long)(truth[n / 2] / 1000), (unsigned long)sonde_hist_lower_us(ours),
		(unsigned long)sonde_hist_lower_us(ours + 1),
		(unsigned long)fixture_hist_total(&cell->hists[SONDE_PROBE_HIST_RTT]));
	assert_in_range(ours, theirs - 1, theirs + 1);
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
	double variance_us2;
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
	return (struct spread){squares / (double)n - mean * mean, change / (double)(n - 1)};
}

static void assert_within(double ours, double truth, double percent)
{
	print_message("ours %.0f, wire %.0f\n", ours, truth);
	assert_true(ours > truth * (1 - percent / 100) && ours < truth * (1 + percent / 100));
}

/* Each second packet is held for longer: neighbours differ by as much. */
static void jitter_is_what_the_wire_made(void **state)
{
	uint64_t truth[2 * EXCHANGES];
	_cleanup_free_ struct sonde_test_packet *packets = NULL;
	struct fixture *f = *state;
	struct link l = link_open(AF_INET, 3000000);
	struct sonde_test_capture c;
	struct sonde_tcp_cell cell;
	struct spread spread;
	double mean, n;

	sonde_test_wire_set(l.wire, SONDE_TEST_CLIENT,
			    &(struct sonde_test_faults){.hold_ns = 3000000, .jitter_ns = 12000000});
	exchange(&l, EXCHANGES);
	fixture_snapshot(f);
	packets = capture(&l, &c);
	assert_int_equal(sonde_test_capture_rtts(&c, SONDE_TEST_CLIENT, truth, ELEMENTS_OF(truth)),
			 EXCHANGES);
	spread = spread_of(truth, EXCHANGES);
	assert_true(spread.change_us > 10000);
	cell = fixture_sum(f, getpid(), SONDE_TCP_ROLE_CLIENT, l.port);
	n = (double)cell.rtt_count;
	mean = (double)cell.rtt_sum_us / n;
	assert_within((double)cell.rtt_square_sum_us2 / n - mean * mean, spread.variance_us2, 10);
	assert_int_equal(cell.rtt_firsts, 1);
	assert_within((double)cell.rtt_change_sum_us / (n - 1), spread.change_us, 5);
	link_close(&l);
	fixture_snapshot(f);
}

/* The client has said its FIN; the server still sends, and each ACK that advances is a sample. */
static void half_closed_client_loses_no_sample(void **state)
{
	struct fixture *f = *state;
	struct link l = link_open(AF_INET, 1000000);
	uint64_t acks;
	struct sonde_tcp_cell before, after;

	fixture_send(l.client, 100);
	fixture_recv(l.server, 100);
	assert_ok(shutdown(l.client, SHUT_WR));
	assert_int_equal(fixture_drain(l.server), 0);
	fixture_snapshot(f);
	before = fixture_sum(f, getpid(), SONDE_TCP_ROLE_SERVER, l.port);
	acks = packets_of_client(&l);
	for (int i = 0; i < RESPONSES; i++) {
		fixture_send(l.server, 100);
		fixture_recv(l.client, 100);
		fixture_wait_acked(l.server);
	}
	acks = packets_of_client(&l) - acks;
	fixture_snapshot(f);
	after = fixture_sum(f, getpid(), SONDE_TCP_ROLE_SERVER, l.port);
	/* In this phase the client's side sends nothing but ACKs of one response each. */
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
