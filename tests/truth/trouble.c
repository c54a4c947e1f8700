/* SPDX-License-Identifier: Apache-2.0 */
/* What is wrong with a path or a peer: disorder, copies, full queues, what nobody read, and what a sender waits for. */
#include "scenes.h"

#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "bpf/rest.h"
#include "model/hist.h"

static const char *const own = "own count";

TRUTH_SCENE(disorder)
{
	const struct sonde_test_faults faults = {
		.hold_ns = SONDE_NS_PER_MS, .reorder_every = 10, .reorder_ns = 4 * SONDE_NS_PER_MS};
	struct link l = link_open(AF_INET, SONDE_NS_PER_MS);
	struct words before, after;
	struct tcp_info infos[2], info;
	struct sonde_tcp_cell c;

	words_read(link_netns(&l, SONDE_TEST_SERVER), &before);
	sonde_test_wire_set(l.wire, SONDE_TEST_CLIENT, &faults);
	link_bulk(&l, SONDE_TEST_CLIENT, 400000);
	rest_snapshot(f, (const int[]){l.server, -1}, infos);
	words_read(link_netns(&l, SONDE_TEST_SERVER), &after);
	info = infos[0];
	assert_true(info.tcpi_rcv_ooopack > 0);
	c = fixture_sum(f, 0, SERVER, l.port);
	truth_case("1 in 10 comes 4 ms late");
	truth_exact("out-of-order segments", info.tcpi_rcv_ooopack, "tcpi_rcv_ooopack",
		    c.out_of_order_segments);
	truth_exact("out-of-order segments", words_grown(&before, &after, "TcpExtTCPOFOQueue"),
		    "TCPOFOQueue", c.out_of_order_segments);
	truth_exact("server received bytes", 400000, own, c.received_bytes);
	link_close(&l);
}

TRUTH_SCENE(copies)
{
	const struct sonde_test_faults faults = {.hold_ns = SONDE_NS_PER_MS, .duplicate_every = 10};
	struct link l = link_open(AF_INET, SONDE_NS_PER_MS);
	struct tcp_info infos[2], info;
	struct sonde_tcp_cell c;

	sonde_test_wire_set(l.wire, SONDE_TEST_CLIENT, &faults);
	link_bulk(&l, SONDE_TEST_CLIENT, 400000);
	for (unsigned int i = 0; i < 6000 && words_tcp_info(l.client).tcpi_dsack_dups == 0; i++)
		fixture_wait_ms(10);
	rest_snapshot(f, (const int[]){l.client, -1}, infos);
	info = infos[0];
	assert_true(info.tcpi_dsack_dups > 0);
	truth_case("1 in 10 comes twice");
	c = fixture_sum(f, 0, CLIENT, l.port);
	truth_exact("segments that the peer got twice", info.tcpi_dsack_dups, "tcpi_dsack_dups",
		    c.dsack_segments);
	truth_exact("client sent bytes", 400000, own, c.sent_bytes);
	c = fixture_sum(f, 0, SERVER, l.port);
	truth_exact("server arrived bytes", 400000, own, c.arrived_bytes);
	link_close(&l);
}

/* Quiet and acknowledged: no clock of the socket runs, so both readings are of the same time. */
static void compare_clocks(struct fixture *f, int fd, uint16_t port)
{
	struct tcp_info infos[2], info;
	struct sonde_tcp_cell c;

	rest_snapshot(f, (const int[]){fd, -1}, infos);
	info = infos[0];
	c = fixture_sum(f, 0, CLIENT, port);
	truth_exact("busy us", info.tcpi_busy_time, "tcpi_busy_time", c.busy_us);
	truth_exact("limited by the receive window us", info.tcpi_rwnd_limited, "tcpi_rwnd_limited",
		    c.rwnd_limited_us);
	truth_exact("limited by the send buffer us", info.tcpi_sndbuf_limited,
		    "tcpi_sndbuf_limited", c.sndbuf_limited_us);
}

#define STALL_MS 300

/* Nobody reads for a while. What TCP_INFO says is held against our own clock, too: it is what the user would say. */
static void wait_for_the_reader(struct fixture *f)
{
	struct fixture_pair p = veth_pair(&truth_veth, AF_INET);
	struct sonde_tcp_cell c;
	uint64_t full_ns, began_ns = sonde_mono_ns();

	(void)rest_fill(p.client, NULL);
	full_ns = sonde_mono_ns();
	fixture_wait_ms(STALL_MS);
	full_ns = sonde_mono_ns() - full_ns;
	assert_ok(shutdown(p.client, SHUT_WR));
	(void)fixture_drain(p.server);
	fixture_wait_acked(p.client);
	truth_case("nobody reads for %d ms", STALL_MS);
	compare_clocks(f, p.client, p.port);
	c = fixture_sum(f, 0, CLIENT, p.port);
	/* The kernel counts in jiffies, of 10 ms at most; its clock stops between two of them, and so twice. */
	truth_between("busy us", full_ns / 1000 - 20000,
		      (sonde_mono_ns() - began_ns) / 1000 + 20000, "own clock", c.busy_us,
		      "jiffies");
	fixture_pair_done(&p);
}

static void wait_for_the_buffer(struct fixture *f)
{
	struct link l = link_open(AF_INET, 5 * SONDE_NS_PER_MS);
	const int size = 16384;

	link_bulk(&l, SONDE_TEST_CLIENT, 400000); /* the congestion window is open */
	assert_ok(setsockopt(l.client, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)));
	link_bulk(&l, SONDE_TEST_CLIENT, 200000);
	truth_case("small send buffer, 10 ms");
	compare_clocks(f, l.client, l.port);
	link_close(&l);
}

TRUTH_SCENE(why_slow)
{
	wait_for_the_reader(f);
	wait_for_the_buffer(f);
}

TRUTH_SCENE(gauges)
{
	const struct sonde_test_faults faults = {.hold_ns = 2 * SONDE_NS_PER_MS, .drop_every = 10};
	struct link l = link_open(AF_INET, 2 * SONDE_NS_PER_MS);
	struct tcp_info infos[2], info;
	struct sonde_tcp_cell c;

	/* One that has a threshold: this machine's own may be BBR. */
	assert_ok(setsockopt(l.client, IPPROTO_TCP, TCP_CONGESTION, "reno", strlen("reno")));
	sonde_test_wire_set(l.wire, SONDE_TEST_CLIENT, &faults);
	link_bulk(&l, SONDE_TEST_CLIENT, 300000);
	rest_snapshot(f, (const int[]){l.client, -1}, infos);
	info = infos[0];
	c = fixture_sum(f, 0, CLIENT, l.port);
	truth_case("client, after a loss");
	assert_true(info.tcpi_snd_ssthresh < 0x7fffffff);
	truth_exact("congestion window segments", info.tcpi_snd_cwnd, "tcpi_snd_cwnd", c.cwnd_sum);
	truth_exact("slow start threshold segments", info.tcpi_snd_ssthresh, "tcpi_snd_ssthresh",
		    c.ssthresh_sum);
	truth_exact("pacing rate", info.tcpi_pacing_rate, "tcpi_pacing_rate", c.pacing_sum);
	truth_exact("delivery rate", info.tcpi_delivery_rate, "tcpi_delivery_rate", c.delivery_sum);
	truth_exact("delivery limited by the application", info.tcpi_delivery_rate_app_limited,
		    "tcpi_delivery_rate_app_l", c.delivery_app_limited);
	link_close(&l);
}

#define CROWD 8

/* One that waits fills the queue; each further SYN, and each that is sent again, is refused. */
TRUTH_SCENE(accept_queue)
{
	struct words before, after, later;
	int clients[CROWD], listener;
	struct sonde_tcp_cell c;
	struct tcp_info info;
	uint16_t port;

	words_read(truth_veth.ns[VETH_SERVER], &before);
	listener = veth_listen(&truth_veth, AF_INET, 0, &port);
	for (int i = 0; i < CROWD; i++)
		clients[i] = veth_connect(&truth_veth, AF_INET, port, SOCK_NONBLOCK);
	fixture_wait_queued(listener);
	do { /* who is refused may come late */
		fixture_wait_ms(10);
		words_read(truth_veth.ns[VETH_SERVER], &after);
	} while (words_grown(&before, &after, "TcpExtListenDrops") == 0);
	info = words_tcp_info(listener);
	fixture_snapshot(f);
	words_read(truth_veth.ns[VETH_SERVER], &later);
	c = fixture_sum(f, 0, SERVER, port);
	truth_case("queue of 1, %d come", CROWD);
	assert_true(words_grown(&before, &after, "TcpExtListenDrops") > 0);
	truth_between("refused by the listener", words_grown(&before, &after, "TcpExtListenDrops"),
		      words_grown(&before, &later, "TcpExtListenDrops"), "TcpExtListenDrops",
		      c.listen_drops, "before and after the snapshot");
	truth_exact("waiting in the accept queue", info.tcpi_unacked, "tcpi_unacked",
		    c.accept_queue);
	truth_exact("limit of the accept queue", info.tcpi_sacked, "tcpi_sacked",
		    c.accept_queue_limit);
	for (int i = 0; i < CROWD; i++)
		(void)close(clients[i]);
	(void)close(listener);
}

/* Ages have buckets of one significant digit. */
static uint64_t one_digit(uint64_t n)
{
	return n < 10 ? n : 10 * one_digit(n / 10);
}

/* The end of a life: what nobody read, and how old it was. */
TRUTH_SCENE(ends)
{
	const uint64_t before_ns = sonde_mono_ns();
	struct fixture_pair p = veth_pair(&truth_veth, AF_INET);
	const uint64_t open_ns = sonde_mono_ns();
	const struct fixture_cell *cell;
	uint64_t low, high;

	fixture_send(p.client, 5000);
	fixture_recv(p.server, 1200);
	fixture_wait_acked(p.client);
	fixture_wait_ms(150);
	low = (sonde_mono_ns() - open_ns) / SONDE_NS_PER_MS;
	fixture_close_fd(&p.server);
	fixture_close_fd(&p.client);
	high = (sonde_mono_ns() - before_ns) / SONDE_NS_PER_MS;
	fixture_close_fd(&p.listener);
	fixture_snapshot(f);
	cell = fixture_cell(f, 0, SERVER, p.port);
	assert_non_null(cell);
	truth_case("3,800 of 5,000 bytes not read");
	truth_exact("ended with unread payload", 1, own, cell->now.unread_closes);
	truth_exact("unread bytes", 3800, own, cell->now.unread_bytes);
	for (uint32_t b = 0; b < SONDE_HIST_BUCKETS; b++)
		if (cell->hists[SONDE_PROBE_HIST_AGE].count[b] > 0)
			truth_between("age ms", one_digit(low), one_digit(high), "own clock",
				      sonde_hist_lower_us(b), "bucket's edge");
	truth_exact("ages", 1, own, fixture_hist_total(&cell->hists[SONDE_PROBE_HIST_AGE]));
}
