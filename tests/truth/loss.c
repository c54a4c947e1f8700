/* SPDX-License-Identifier: Apache-2.0 */
/* Retransmits by kind against TCP_INFO, nstat and the capture; drops against nft's counters and the wire's count. */
#include "scenes.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "bpf/rest.h"

#define RX SONDE_TCP_DIRECTION_RX
#define TX SONDE_TCP_DIRECTION_TX

/* The sum of those with this reason; NULL: of every reason. */
static struct sonde_tcp_drop drops(const struct fixture *f, enum sonde_tcp_role role, uint16_t port,
				   const char *reason, uint8_t direction)
{
	struct sonde_tcp_drop sum = {0};

	for (size_t i = 0; i < f->n_drops; i++) {
		const struct sonde_probe_drop *drop = &f->drops[i];
		const struct sonde_tcp_cell_key *key = &f->cells[drop->key.cell].key;

		if (key->port != port || key->role != role || drop->key.direction != direction ||
		    drop->key.event != SONDE_TCP_EVENT_DROP ||
		    (reason && strcmp(drop->reason, reason) != 0))
			continue;
		sum.skbs += drop->drop.skbs;
		sum.segments += drop->drop.segments;
		sum.bytes += drop->drop.bytes;
	}
	return sum;
}

/* What nstat gained on the sender's side says of each kind; of kind TLP it says no more than how many were sent. */
static void compare_kinds(struct fixture *f, const struct words *before, const struct words *after,
			  const struct sonde_tcp_cell *c)
{
	const uint64_t fast = words_grown(before, after, "TcpExtTCPFastRetrans");
	const uint64_t slow = words_grown(before, after, "TcpExtTCPSlowStartRetrans");
	const uint64_t timeouts = words_grown(before, after, "TcpExtTCPTimeouts");
	const uint64_t all = words_grown(before, after, "TcpRetransSegs");
	uint64_t kinds = fixture_retransmits(c);

	truth_exact("retransmitted segments", all, "TcpRetransSegs", c->retransmitted_segments);
	if (!truth_has(f, "retransmits of kind fast", "retransmits by kind"))
		return;
	truth_seen("retransmits of all kinds", all, "TcpRetransSegs", kinds,
		   fixture_loss(f, SONDE_TCP_LOSS_SKIPPED_RUNS));
	truth_exact("retransmits of kind fast", fast, "TCPFastRetrans",
		    c->retransmit[SONDE_TCP_RETRANSMIT_FAST]);
	truth_exact("retransmits of kind rto_recovery", slow, "TCPSlowStartRetrans",
		    c->retransmit[SONDE_TCP_RETRANSMIT_RTO_RECOVERY]);
	truth_exact("retransmits of kind rto", timeouts, "TCPTimeouts",
		    c->retransmit[SONDE_TCP_RETRANSMIT_RTO]);
	truth_exact("retransmits of kind tlp and other", all - fast - slow - timeouts,
		    "nstat's rest",
		    c->retransmit[SONDE_TCP_RETRANSMIT_TLP] +
			    c->retransmit[SONDE_TCP_RETRANSMIT_OTHER]);
}

/* @faults of the client's direction; then its last segments are lost, so that a probe or a timer sends them again. */
static void lose(struct fixture *f, int family, const struct sonde_test_faults *faults,
		 unsigned int tail)
{
	struct link l = link_open(family, SONDE_NS_PER_MS);
	struct sonde_test_capture capture;
	struct sonde_test_repeats repeats;
	struct words before, after;
	struct tcp_info infos[2], info;
	struct sonde_tcp_cell c;

	words_read(link_netns(&l, SONDE_TEST_CLIENT), &before);
	sonde_test_wire_set(l.wire, SONDE_TEST_CLIENT, faults);
	if (tail == 0) {
		link_bulk(&l, SONDE_TEST_CLIENT, 400000);
	} else {
		link_bulk(&l, SONDE_TEST_CLIENT, 20000);
		sonde_test_wire_drop(l.wire, SONDE_TEST_CLIENT, tail);
		link_bulk(&l, SONDE_TEST_CLIENT, 1000);
	}
	rest_snapshot(f, (const int[]){l.client, -1}, infos);
	info = infos[0];
	words_read(link_netns(&l, SONDE_TEST_CLIENT), &after);
	capture = link_capture_all(&l, SONDE_TEST_CLIENT);
	repeats = sonde_test_capture_repeats(&capture, SONDE_TEST_CLIENT);
	link_capture_done(&capture);
	c = fixture_sum(f, 0, CLIENT, l.port);
	assert_true(info.tcpi_total_retrans > 0);
	truth_exact("retransmitted segments", info.tcpi_total_retrans, "tcpi_total_retrans",
		    c.retransmitted_segments);
	truth_exact("retransmitted segments", repeats.segments, "capture",
		    c.retransmitted_segments);
	compare_kinds(f, &before, &after, &c);
	truth_exact("retransmitted bytes", info.tcpi_bytes_retrans, "tcpi_bytes_retrans",
		    c.retransmitted_bytes);
	truth_exact("retransmitted bytes", repeats.bytes, "capture", c.retransmitted_bytes);
	truth_exact("segments out", info.tcpi_segs_out, "tcpi_segs_out", c.segments_out);
	link_close(&l);
}

TRUTH_SCENE(retransmits)
{
	const struct sonde_test_faults each_10th = {.hold_ns = SONDE_NS_PER_MS, .drop_every = 10};
	const struct sonde_test_faults none = {.hold_ns = SONDE_NS_PER_MS};

	truth_case("1 in 10 lost");
	lose(f, AF_INET, &each_10th, 0);
	truth_case("IPv6, 1 in 10 lost");
	lose(f, AF_INET6, &each_10th, 0);
	truth_case("the tail lost");
	lose(f, AF_INET, &none, 1);
	truth_case("the tail lost 6 times");
	lose(f, AF_INET, &none, 6);
}

/* The rules' counters; the chain is emptied. */
static struct veth_count end_chain(enum veth_side side, const char *chain)
{
	char name[64];
	struct veth_count count;

	(void)snprintf(name, sizeof(name), "inet sonde_test %s", chain);
	count = veth_stop_chain(&truth_veth, side, name);
	(void)veth_end_chain(&truth_veth, side, chain);
	return count;
}

/*
 * Segments that @from said it sent and @to never got: what was lost on the way, by the two ends' own counts. @from's
 * last word acknowledges all of @to's and came last, so that nothing of @from's is under way.
 */
static uint64_t lost_segments(const struct tcp_info *from_before, const struct tcp_info *to_before,
			      int from, int to)
{
	const struct tcp_info a = words_tcp_info(from), b = words_tcp_info(to);

	return (a.tcpi_segs_out - from_before->tcpi_segs_out) -
	       (b.tcpi_segs_in - to_before->tcpi_segs_in);
}

/* Of 300 bytes and 20,000; the last word is @last's. */
static void exchange(struct fixture_pair *p, unsigned int requests, int last)
{
	const int other = last == p->client ? p->server : p->client;

	for (unsigned int i = 0; i < requests; i++) {
		fixture_send(p->client, 300);
		fixture_recv(p->server, 300);
		fixture_send(p->server, 20000);
		fixture_recv(p->client, 20000);
	}
	fixture_wait_acked(p->server);
	fixture_wait_acked(p->client);
	fixture_send(other, 1);
	fixture_recv(last, 1);
	fixture_send(last, 1);
	fixture_recv(other, 1);
	fixture_wait_acked(other);
	fixture_wait_acked(last);
}

static void compare_drops(struct fixture *f, enum sonde_tcp_role role, uint8_t direction,
			  uint16_t port, const struct veth_count *nft, uint64_t segments)
{
	const struct sonde_tcp_drop ours = drops(f, role, port, "NETFILTER_DROP", direction);
	const uint64_t skipped = fixture_loss(f, SONDE_TCP_LOSS_SKIPPED_RUNS);

	assert_true(nft->packets > 0);
	truth_seen("dropped skbs", nft->packets, "nft counter", ours.skbs, skipped);
	if (ours.skbs != nft->packets)
		return; /* the others are of those that were seen */
	truth_exact("dropped bytes", nft->bytes, "nft counter", ours.bytes);
	truth_exact("dropped segments", segments, "segs_out - segs_in", ours.segments);
}

static void lose_in_input(struct fixture *f, int family, enum veth_side side)
{
	struct fixture_pair p = veth_pair(&truth_veth, family);
	const bool at_server = side == VETH_SERVER;
	const int from = at_server ? p.client : p.server, to = at_server ? p.server : p.client;
	struct tcp_info from_before, to_before;
	struct veth_count nft;
	uint64_t segments;

	from_before = words_tcp_info(from);
	to_before = words_tcp_info(to);
	assert_true(veth_run(&truth_veth, side,
			     "nft add rule inet sonde_test input tcp %s %u "
			     "numgen random mod 100 '<' 2 counter drop",
			     at_server ? "dport" : "sport", p.port));
	exchange(&p, 300, from);
	nft = end_chain(side, "input");
	segments = lost_segments(&from_before, &to_before, from, to);
	fixture_snapshot(f);
	truth_case("IPv%d, 2 %% lost at the %s's input", family == AF_INET ? 4 : 6,
		   at_server ? "server" : "client");
	if (truth_has(f, "dropped skbs", "drops by reason"))
		compare_drops(f, at_server ? SERVER : CLIENT, RX, p.port, &nft, segments);
	truth_exact("dropped skbs of the other end", 0, "own count",
		    drops(f, at_server ? CLIENT : SERVER, p.port, "NETFILTER_DROP", RX).skbs);
	fixture_pair_done(&p);
}

static void lose_in_output(struct fixture *f)
{
	struct fixture_pair p = veth_pair(&truth_veth, AF_INET);
	struct tcp_info from = words_tcp_info(p.server), to = words_tcp_info(p.client);
	struct veth_count nft;
	uint64_t segments;

	assert_true(veth_run(&truth_veth, VETH_SERVER,
			     "nft add rule inet sonde_test output tcp sport %u "
			     "numgen random mod 100 '<' 2 counter drop",
			     p.port));
	exchange(&p, 300, p.server);
	nft = end_chain(VETH_SERVER, "output");
	segments = lost_segments(&from, &to, p.server, p.client);
	fixture_snapshot(f);
	truth_case("2 %% lost at the server's output");
	if (truth_has(f, "dropped skbs", "drops by reason"))
		compare_drops(f, SERVER, TX, p.port, &nft, segments);
	fixture_pair_done(&p);
}

TRUTH_SCENE(drops)
{
	lose_in_input(f, AF_INET, VETH_SERVER);
	lose_in_input(f, AF_INET, VETH_CLIENT);
	lose_in_input(f, AF_INET6, VETH_CLIENT);
	lose_in_output(f);
}

/* The wire spoils payload, not checksums: the receiver must throw each away. */
TRUTH_SCENE(corruption)
{
	const struct sonde_test_faults faults = {.hold_ns = SONDE_NS_PER_MS, .corrupt_every = 10};
	struct link l = link_open(AF_INET, SONDE_NS_PER_MS);
	struct sonde_test_capture capture;
	struct words before, after;
	struct sonde_tcp_drop ours;
	uint64_t corrupted;

	words_read(link_netns(&l, SONDE_TEST_SERVER), &before);
	sonde_test_wire_set(l.wire, SONDE_TEST_CLIENT, &faults);
	link_bulk(&l, SONDE_TEST_CLIENT, 400000);
	capture = link_capture_all(&l, SONDE_TEST_CLIENT);
	words_read(link_netns(&l, SONDE_TEST_SERVER), &after);
	corrupted =
		sonde_test_capture_count(&capture, SONDE_TEST_CLIENT, 0, 0, SONDE_TEST_CORRUPTED);
	link_capture_done(&capture);
	fixture_snapshot(f);
	ours = drops(f, SERVER, l.port, "TCP_CSUM", RX);
	truth_case("1 in 10 corrupted");
	assert_true(corrupted > 20);
	truth_exact("the wire's own work", corrupted, "wire",
		    words_grown(&before, &after, "TcpInCsumErrors"));
	if (truth_has_best(f, "dropped for the checksum", "drops by reason")) {
		truth_seen("dropped for the checksum", corrupted, "TcpInCsumErrors", ours.skbs,
			   fixture_loss(f, SONDE_TCP_LOSS_SKIPPED_RUNS));
		truth_exact("server arrived bytes", 400000, "own count",
			    fixture_sum(f, 0, SERVER, l.port).arrived_bytes);
	}
	link_close(&l);
}
