/* SPDX-License-Identifier: Apache-2.0 */
/* Loss: retransmits against TCP_INFO, drops against nft's own counters, by reason and direction. */
#include "unseen.h"
#include "veth.h"

#include <arpa/inet.h>
#include <bpf/btf.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "collect/kernel-btf.h"

#define CLIENT SONDE_TCP_ROLE_CLIENT
#define SERVER SONDE_TCP_ROLE_SERVER
#define RX SONDE_TCP_DIRECTION_RX
#define TX SONDE_TCP_DIRECTION_TX

static struct veth veth;

static uint64_t drops(const struct fixture *f, enum sonde_tcp_role role, uint16_t port,
		      const char *reason, uint8_t direction)
{
	uint64_t skbs = 0;

	for (size_t i = 0; i < f->n_drops; i++) {
		const struct sonde_probe_drop *drop = &f->drops[i];
		const struct sonde_tcp_cell_key *key = &f->cells[drop->key.cell].key;

		if (key->port == port && key->role == role && drop->key.direction == direction &&
		    strcmp(drop->reason, reason) == 0)
			skbs += drop->drop.skbs;
	}
	return skbs;
}

/*
 * nft's count is ours. Where the kernel skipped runs (a drop in an interrupt, while the
 * program was at another skb on that CPU) we may lack as many as the ledger names, never more.
 */
static void assert_drops(const struct fixture *f, enum sonde_tcp_role role, uint16_t port,
			 uint8_t direction, uint64_t nft)
{
	uint64_t ours = drops(f, role, port, "NETFILTER_DROP", direction);

	assert_true(nft > 0);
	if (!fixture_measures(f, "drops by reason", NULL)) {
		assert_int_equal(f->n_drops, 0);
		return;
	}
	assert_true(ours <= nft);
	assert_true(nft - ours <= fixture_loss(f, SONDE_TCP_LOSS_SKIPPED_RUNS));
}

#define REQUEST_BYTES 300
#define RESPONSE_BYTES 20000

static void exchange(struct fixture_pair *p, unsigned int requests)
{
	for (unsigned int i = 0; i < requests; i++) {
		fixture_send(p->client, REQUEST_BYTES);
		fixture_recv(p->server, REQUEST_BYTES);
		fixture_send(p->server, RESPONSE_BYTES);
		fixture_recv(p->client, RESPONSE_BYTES);
	}
	fixture_wait_acked(p->server);
	fixture_wait_acked(p->client);
}

/* @fd: open; -1: the kinds are complete. An open one lacks the kind of a run that the kernel skipped last. */
static void assert_kinds_add_up(const struct fixture *f, enum sonde_tcp_role role, uint16_t port,
				int fd)
{
	struct sonde_tcp_cell c = fixture_sum(f, 0, role, port);
	uint64_t kinds = fixture_retransmits(&c);

	if (fd < 0) {
		assert_int_equal(kinds, c.retransmitted_segments);
		return;
	}
	assert_int_equal(c.retransmitted_segments, fixture_total_retrans(fd));
	assert_true(kinds <= c.retransmitted_segments);
	assert_true(c.retransmitted_segments - kinds <=
		    fixture_loss(f, SONDE_TCP_LOSS_SKIPPED_RUNS));
}

static void assert_retransmits_are_the_kernels(const struct fixture *f,
					       const struct fixture_pair *p)
{
	assert_kinds_add_up(f, CLIENT, p->port, p->client);
	assert_kinds_add_up(f, SERVER, p->port, p->server);
}

static void end_and_assert_all_have_a_kind(struct fixture *f, struct fixture_pair *p)
{
	fixture_abort_on_close(p->client);
	fixture_abort_on_close(p->server);
	fixture_pair_done(p);
	fixture_snapshot(f);
	assert_kinds_add_up(f, CLIENT, p->port, -1);
	assert_kinds_add_up(f, SERVER, p->port, -1);
}

static void drops_are_nfts_and_retransmits_the_kernels(void **state)
{
	static const int families[] = {AF_INET, AF_INET6};
	const unsigned int requests = 400;
	struct fixture *f = *state;

	for (size_t i = 0; i < 2; i++) {
		struct fixture_pair p = veth_pair(&veth, families[i]);
		uint64_t at_server, at_client;
		struct sonde_tcp_cell c;

		assert_true(veth_run(&veth, VETH_SERVER,
				     "nft add rule inet sonde_test input tcp dport %u "
				     "numgen random mod 100 '<' 2 counter drop",
				     p.port));
		assert_true(veth_run(&veth, VETH_CLIENT,
				     "nft add rule inet sonde_test input tcp sport %u "
				     "numgen random mod 100 '<' 2 counter drop",
				     p.port));
		exchange(&p, requests);
		at_server = veth_end_chain(&veth, VETH_SERVER, "input");
		at_client = veth_end_chain(&veth, VETH_CLIENT, "input");
		fixture_snapshot(f);
		assert_drops(f, SERVER, p.port, RX, at_server);
		assert_drops(f, CLIENT, p.port, RX, at_client);
		assert_int_equal(drops(f, SERVER, p.port, "NETFILTER_DROP", TX), 0);
		assert_int_equal(drops(f, CLIENT, p.port, "NETFILTER_DROP", TX), 0);
		assert_retransmits_are_the_kernels(f, &p);
		c = fixture_sum(f, 0, SERVER, p.port);
		assert_true(c.retransmitted_segments > 0);
		assert_int_equal(c.sent_bytes, requests * RESPONSE_BYTES);
		assert_int_equal(c.received_bytes, requests * REQUEST_BYTES);
		c = fixture_sum(f, 0, CLIENT, p.port);
		assert_int_equal(c.sent_bytes, requests * REQUEST_BYTES);
		assert_int_equal(c.received_bytes, requests * RESPONSE_BYTES);
		end_and_assert_all_have_a_kind(f, &p);
	}
}

static void a_drop_on_the_way_out_is_the_senders(void **state)
{
	struct fixture *f = *state;
	struct fixture_pair p = veth_pair(&veth, AF_INET);
	uint64_t dropped;

	assert_true(veth_run(&veth, VETH_SERVER,
			     "nft add rule inet sonde_test output tcp sport %u "
			     "numgen random mod 100 '<' 5 counter drop",
			     p.port));
	exchange(&p, 200);
	dropped = veth_end_chain(&veth, VETH_SERVER, "output");
	fixture_snapshot(f);
	assert_drops(f, SERVER, p.port, TX, dropped);
	assert_int_equal(drops(f, SERVER, p.port, "NETFILTER_DROP", RX), 0);
	assert_int_equal(drops(f, CLIENT, p.port, "NETFILTER_DROP", RX), 0);
	assert_retransmits_are_the_kernels(f, &p);
	end_and_assert_all_have_a_kind(f, &p);
}

/*
 * Connects while the rule is there until it has dropped one; the kernel tries again after a second.
 * *@ret_lost: how many it dropped: one, or more on a machine that is slow to take it away.
 */
static int connect_slowly(uint16_t port, enum veth_side side, const char *rule, uint64_t *ret_lost)
{
	struct pollfd writable = {.events = POLLOUT};
	socklen_t len = sizeof(int);
	int fd, error = -1;

	assert_true(
		veth_run(&veth, side, "nft add rule inet sonde_test input %s counter drop", rule));
	fd = veth_connect(&veth, AF_INET, port, SOCK_NONBLOCK);
	veth_wait_counted(&veth, side, "inet sonde_test input", 1);
	*ret_lost = veth_end_chain(&veth, side, "input");
	assert_true(*ret_lost >= 1);
	writable.fd = fd;
	assert_int_equal(poll(&writable, 1, 60000), 1);
	assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len), 0);
	assert_int_equal(error, 0);
	return fd;
}

static void a_lost_syn_is_a_syn_retransmit_and_a_slow_handshake(void **state)
{
	struct fixture *f = *state;
	struct fixture_pair p = {0};
	struct sonde_tcp_cell c;
	uint64_t lost, resent;
	char rule[64];

	p.listener = veth_listen(&veth, AF_INET, 16, &p.port);
	(void)snprintf(rule, sizeof(rule), "tcp dport %u tcp flags syn / syn,ack", p.port);
	p.client = connect_slowly(p.port, VETH_SERVER, rule, &lost);
	p.server = fixture_accept(p.listener);
	fixture_snapshot(f);
	c = fixture_sum(f, 0, CLIENT, p.port);
	/* An emulated machine may take so long to answer that a SYN is sent again which was not lost. */
	resent = fixture_total_retrans(p.client);
	assert_in_range(resent, lost, UINT64_MAX);
	assert_int_equal(c.retransmit[SONDE_TCP_RETRANSMIT_SYN], resent);
	assert_int_equal(c.retransmitted_segments, resent);
	assert_int_equal(c.opened, 1);
	assert_true(c.handshake_sum_us > 900000);
	assert_retransmits_are_the_kernels(f, &p);
	fixture_pair_done(&p);
}

/* Counted at the listener when it happens; the child, which starts with the request's count, adds nothing. */
static void a_lost_syn_ack_is_counted_once(void **state)
{
	struct fixture *f = *state;
	struct fixture_pair p = {0};
	struct sonde_tcp_cell c;
	uint64_t lost;
	char rule[64];

	p.listener = veth_listen(&veth, AF_INET, 16, &p.port);
	(void)snprintf(rule, sizeof(rule), "tcp sport %u tcp flags syn,ack / syn,ack", p.port);
	p.client = connect_slowly(p.port, VETH_CLIENT, rule, &lost);
	p.server = fixture_accept(p.listener);
	fixture_send(p.client, 10);
	fixture_recv(p.server, 10);
	fixture_wait_acked(p.client);
	fixture_snapshot(f);
	c = fixture_sum(f, 0, SERVER, p.port);
	assert_true(c.retransmit[SONDE_TCP_RETRANSMIT_SYNACK] >= 1);
	assert_int_equal(c.accepted, 1);
	assert_int_equal(c.handshake_count + c.handshake_unknown, 1);
	assert_retransmits_are_the_kernels(f, &p);
	fixture_pair_done(&p);
}

/* Older kernels drop these with a reason that says nothing. */
static bool kernel_names_overflows(void)
{
	struct btf *btf = btf__load_vmlinux_btf();
	bool named = btf && sonde_kernel_btf_has(
				    btf, "skb_drop_reason.SKB_DROP_REASON_TCP_LISTEN_OVERFLOW");

	btf__free(btf);
	return named;
}

#define CROWD 4

/*
 * The handshakes' last ACKs are held back until all requests wait; then the backlog
 * shrinks to 0, which has room for one connection when the ACKs come again.
 */
static void a_full_accept_queue_is_the_listeners_drop_by_its_name(void **state)
{
	struct fixture *f = *state;
	int clients[CROWD], listener;
	uint64_t overflows = 0;
	uint16_t port;

	listener = veth_listen(&veth, AF_INET, 16, &port);
	assert_true(veth_run(&veth, VETH_SERVER,
			     "nft add rule inet sonde_test input tcp dport %u "
			     "tcp flags ack / syn,ack counter drop",
			     port));
	for (int i = 0; i < CROWD; i++)
		clients[i] = veth_connect(&veth, AF_INET, port, SOCK_NONBLOCK);
	veth_wait_counted(&veth, VETH_SERVER, "inet sonde_test input", CROWD);
	assert_int_equal(listen(listener, 0), 0);
	assert_true(veth_end_chain(&veth, VETH_SERVER, "input") >= CROWD);
	if (!fixture_measures(f, "drops by reason", NULL) || !kernel_names_overflows())
		goto out;
	for (int i = 0; i < 1200 && overflows == 0; i++) {
		fixture_wait_ms(50);
		fixture_snapshot(f);
		overflows = drops(f, SERVER, port, "TCP_LISTEN_OVERFLOW", RX);
	}
	assert_true(overflows >= 1);
	for (size_t i = 0; i < f->n_drops; i++) {
		if (strcmp(f->drops[i].reason, "TCP_LISTEN_OVERFLOW") == 0)
			assert_int_equal(f->drops[i].key.where, SONDE_TCP_WHERE_LISTENER);
	}
out:
	for (int i = 0; i < CROWD; i++)
		(void)close(clients[i]);
	(void)close(listener);
}

static int setup(void **state)
{
	return veth_add_chains(&veth) ? fixture_setup(state) : -EOPNOTSUPP;
}

static int run(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(drops_are_nfts_and_retransmits_the_kernels),
		cmocka_unit_test(a_drop_on_the_way_out_is_the_senders),
		cmocka_unit_test(a_lost_syn_is_a_syn_retransmit_and_a_slow_handshake),
		cmocka_unit_test(a_lost_syn_ack_is_counted_once),
		cmocka_unit_test(a_full_accept_queue_is_the_listeners_drop_by_its_name),
	};
	int r;

	if (geteuid() != 0 || fixture_bpf_is_refused())
		return SONDE_EXIT_SKIP;
	r = veth_open(&veth) < 0 ? SONDE_EXIT_SKIP
				 : cmocka_run_group_tests(tests, setup, fixture_teardown);
	veth_close(&veth);
	return r;
}

int main(int argc, char **argv)
{
	return unseen_main(argv, run);
}
