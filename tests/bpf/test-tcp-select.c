/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signals: what a task does not ask for is not attached, and what remains is what it is without a selection: the kernel's
 * and nft's own counts. What a later task asks for besides begins exactly at its base.
 */
#include "unseen.h"
#include "veth.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "model/preset.h"
#include "model/signal.h"

#define CLIENT SONDE_TCP_ROLE_CLIENT
#define SERVER SONDE_TCP_ROLE_SERVER
#define HAS(s) sonde_signals_have(signals, SONDE_SIGNAL_##s)
#define LAST_VALUES "last values of connections that end"
#define REQUESTS 30
#define REQUEST_BYTES 300
#define RESPONSE_BYTES 20000

static struct veth veth;

/* What a collector of all signals attaches on this kernel: another has other hooks for some of them. */
static struct sonde_probe_cost all_hooks[FIXTURE_PROBES_MAX];
static size_t n_all_hooks;

static uint64_t runs(const struct fixture *f, const char *program)
{
	for (size_t i = 0; i < f->n_costs; i++) {
		if (strcmp(f->costs[i].name, program) == 0)
			return f->costs[i].runs;
	}
	return 0;
}

static bool is_told(const struct fixture *f, const char *program)
{
	for (size_t i = 0; i < f->n_costs; i++) {
		if (strcmp(f->costs[i].name, program) == 0)
			return true;
	}
	return false;
}

static void take_snapshot(struct fixture *f)
{
	f->n_costs = 0;
	fixture_snapshot(f);
}

static int learn_hooks(void **state)
{
	struct fixture f;

	assert_ok(fixture_open(&f, &(struct fixture_options){0}));
	take_snapshot(&f);
	n_all_hooks = f.n_costs;
	memcpy(all_hooks, f.costs, f.n_costs * sizeof(f.costs[0]));
	fixture_close(&f);
	assert_true(n_all_hooks > 0);
	return 0;
}

static bool is_of_this_kernel(const char *program)
{
	for (size_t i = 0; i < n_all_hooks; i++) {
		if (strcmp(all_hooks[i].name, program) == 0)
			return true;
	}
	return false;
}

/*
 * The filter takes every tenth packet with data of the server's where it arrives: one that is dropped on its way out is
 * sent later, and no retransmit. Returns how many it took.
 */
static uint64_t exchange(const struct fixture_pair *p)
{
	assert_true(veth_run(&veth, VETH_CLIENT,
			     "nft add rule inet sonde_test input tcp sport %u meta length gt 200 "
			     "numgen inc mod 10 == 0 counter drop",
			     p->port));
	for (unsigned int i = 0; i < REQUESTS; i++) {
		fixture_send(p->client, REQUEST_BYTES);
		fixture_recv(p->server, REQUEST_BYTES);
		fixture_send(p->server, RESPONSE_BYTES);
		fixture_recv(p->client, RESPONSE_BYTES);
	}
	fixture_wait_acked(p->server);
	fixture_wait_acked(p->client);
	return veth_end_chain(&veth, VETH_CLIENT, "input");
}

/* Packets that the filter took, as the client's cells have it. */
static uint64_t drops(const struct fixture *f, uint16_t port)
{
	uint64_t skbs = 0;

	for (size_t i = 0; i < f->n_drops; i++) {
		const struct sonde_tcp_cell_key *key = &f->cells[f->drops[i].key.cell].key;

		if (key->port == port && key->role == CLIENT &&
		    strcmp(f->drops[i].reason, "NETFILTER_DROP") == 0)
			skbs += f->drops[i].drop.skbs;
	}
	return skbs;
}

/* @past: what was attached before is still told, with what it cost. */
static void assert_attached(const struct fixture *f, uint32_t signals, bool past)
{
	/* @instead: of the same hook, where that program is not attached */
	const struct {
		const char *program, *instead;
		bool wanted;
	} rows[] = {
		{"tcp tp_btf/inet_sock_set_state", NULL, true},
		{"tcp tp_btf/tcp_receive_reset", NULL, true},
		{"tcp sockops", NULL, HAS(RTT) || HAS(CONNECTION)},
		{"tcp tp_btf/tcp_probe", NULL, HAS(RTT)},
		{"tcp tp_btf/sock_send_length", "tcp tp_btf/sock_send_length, owner", HAS(CALLS)},
		{"tcp tp_btf/sock_recv_length", "tcp tp_btf/sock_recv_length, owner", HAS(CALLS)},
		{"tcp tp_btf/tcp_retransmit_skb", NULL, HAS(RETRANSMIT)},
		{"tcp tp_btf/tcp_retransmit_synack", NULL, HAS(RETRANSMIT)},
		{"tcp tp_btf/tcp_send_reset", NULL, HAS(RESET)},
		{"tcp tp_btf/kfree_skb", NULL, HAS(DROP)},
	};

	for (size_t i = 0; i < ELEMENTS_OF(rows); i++) {
		if (!is_of_this_kernel(rows[i].program) || (past && !rows[i].wanted))
			continue;
		if (is_told(f, rows[i].program) != rows[i].wanted)
			print_message("%s: wanted %d\n", rows[i].program, rows[i].wanted);
		assert_int_equal(is_told(f, rows[i].program), rows[i].wanted);
		if (rows[i].instead && !past)
			assert_int_equal(is_told(f, rows[i].instead), !rows[i].wanted);
	}
}

static uint32_t cwnd_of(int fd)
{
	struct tcp_info info = {0};
	socklen_t len = sizeof(info);

	assert_ok(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len));
	return info.tcpi_snd_cwnd;
}

static void assert_numbers(const struct fixture *f, const struct fixture_pair *p, uint32_t signals,
			   uint64_t dropped)
{
	const uint64_t skipped = fixture_loss(f, SONDE_TCP_LOSS_SKIPPED_RUNS);
	struct sonde_tcp_cell c = fixture_sum(f, 0, CLIENT, p->port);
	struct sonde_tcp_cell s = fixture_sum(f, 0, SERVER, p->port);
	const uint64_t resent = fixture_total_retrans(p->server);

	assert_int_equal(c.sent_bytes, REQUESTS * REQUEST_BYTES);
	assert_int_equal(c.received_bytes, REQUESTS * RESPONSE_BYTES);
	assert_int_equal(s.sent_bytes, REQUESTS * RESPONSE_BYTES);
	assert_int_equal(s.received_bytes, REQUESTS * REQUEST_BYTES);
	assert_int_equal(c.opened, 1);
	assert_int_equal(s.accepted, 1);
	assert_true(resent > 0);
	assert_int_equal(s.retransmitted_segments, resent);
	if (HAS(RETRANSMIT)) {
		assert_true(fixture_retransmits(&s) <= resent);
		assert_true(resent - fixture_retransmits(&s) <= skipped);
	}
	if (HAS(CALLS))
		assert_int_equal(c.write_calls, REQUESTS);
	assert_int_equal(c.cwnd_sum, cwnd_of(p->client));
	assert_int_equal(s.cwnd_sum, cwnd_of(p->server));
	if (HAS(RTT))
		assert_true(c.rtt_count >= REQUESTS / 2);
	else
		assert_int_equal(fixture_loss(f, SONDE_TCP_LOSS_RTT_MISSED), 0);
	assert_true(dropped > 0);
	if (!HAS(DROP)) {
		assert_int_equal(f->n_drops, 0);
	} else {
		assert_true(drops(f, p->port) <= dropped);
		assert_true(dropped - drops(f, p->port) <= skipped);
	}
}

#define CROWD 4
#define REFUSED 3

/* What a listener has refused, as the kernel says it of that socket. */
static uint32_t socket_drops(int fd)
{
	uint32_t info[SK_MEMINFO_VARS] = {0};
	socklen_t len = sizeof(info);

	assert_ok(getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info, &len));
	return info[SK_MEMINFO_DROPS];
}

static uint64_t hist_total(const struct fixture *f, enum sonde_tcp_role role, uint16_t port,
			   enum sonde_probe_hist_kind kind)
{
	uint64_t n = 0;

	for (size_t i = 0; i < f->n_cells; i++) {
		if (f->cells[i].known && f->cells[i].key.role == role &&
		    f->cells[i].key.port == port)
			n += fixture_hist_total(&f->cells[i].hists[kind]);
	}
	return n;
}

static uint64_t ends(const struct fixture *f, uint16_t port)
{
	return hist_total(f, CLIENT, port, SONDE_PROBE_HIST_AGE) +
	       hist_total(f, SERVER, port, SONDE_PROBE_HIST_AGE);
}

/* One connection ends by the client's FIN, one by the server's reset with payload that nobody took. */
static void assert_ends(struct fixture *f, uint32_t signals)
{
	struct fixture_pair p = fixture_pair(AF_INET), again = fixture_again(&p);
	struct sonde_tcp_cell c, s;

	fixture_close_fd(&p.client);
	assert_int_equal(fixture_drain(p.server), 0);
	fixture_close_fd(&p.server);
	fixture_send(again.client, REQUEST_BYTES);
	fixture_wait_acked(again.client);
	fixture_close_fd(&again.server);
	fixture_wait_end(again.client);
	fixture_pair_done(&again);
	take_snapshot(f);
	for (unsigned int i = 0; i < 6000 && ends(f, p.port) < 4;
	     i++) { /* the last ACK is late under load */
		fixture_wait_ms(10);
		take_snapshot(f);
	}
	c = fixture_sum(f, 0, CLIENT, p.port);
	s = fixture_sum(f, 0, SERVER, p.port);
	assert_int_equal(c.opened, 2);
	assert_int_equal(s.accepted, 2);
	assert_int_equal(c.closed[SONDE_TCP_CLOSE_LOCAL_FIN], 1);
	assert_int_equal(s.closed[SONDE_TCP_CLOSE_REMOTE_FIN], 1);
	assert_int_equal(c.closed[SONDE_TCP_CLOSE_REMOTE_RST], 1);
	assert_int_equal(s.closed[SONDE_TCP_CLOSE_LOCAL_RST], 1);
	assert_int_equal(s.unread_closes, 1);
	assert_int_equal(s.unread_bytes, REQUEST_BYTES);
	assert_int_equal(c.resets_received, 1);
	assert_int_equal(s.resets_received, 0);
	assert_int_equal(s.resets_sent, HAS(RESET) ? 1 : 0);
	assert_int_equal(c.handshake_count, 2);
	fixture_assert_handshakes(&s, (const uint32_t[]){p.handshake_us, again.handshake_us}, 2);
	assert_int_equal(hist_total(f, CLIENT, p.port, SONDE_PROBE_HIST_HANDSHAKE), 2);
	assert_int_equal(hist_total(f, SERVER, p.port, SONDE_PROBE_HIST_HANDSHAKE),
			 s.handshake_count);
	assert_int_equal(hist_total(f, CLIENT, p.port, SONDE_PROBE_HIST_AGE), 2);
	assert_int_equal(hist_total(f, SERVER, p.port, SONDE_PROBE_HIST_AGE), 2);
	fixture_pair_done(&p);
}

static void assert_refused(struct fixture *f)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sonde_tcp_cell c;
	uint16_t port;
	int fd;

	fd = fixture_listen(AF_INET, 1, &port);
	(void)close(fd);
	to.sin_port = htons(port);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	for (int i = 0; i < REFUSED; i++) {
		assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), -1);
		assert_int_equal(errno, ECONNREFUSED);
	}
	(void)close(fd);
	take_snapshot(f);
	c = fixture_sum(f, 0, CLIENT, port);
	assert_int_equal(c.connect_failed[SONDE_TCP_CONNECT_ECONNREFUSED], REFUSED);
	assert_int_equal(c.opened, 0);
}

/* A queue of one, and more that would come in; while it is looked at, a SYN may be sent again. */
static void assert_overflow(struct fixture *f)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int clients[CROWD], listener;
	struct sonde_tcp_cell s;
	uint32_t before, after;
	uint16_t port;

	listener = fixture_listen(AF_INET, 0, &port);
	to.sin_port = htons(port);
	for (int i = 0; i < CROWD; i++) {
		clients[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		(void)connect(clients[i], (struct sockaddr *)&to, sizeof(to));
	}
	for (unsigned int i = 0; i < 6000 && socket_drops(listener) == 0; i++)
		fixture_wait_ms(10);
	before = socket_drops(listener);
	take_snapshot(f);
	after = socket_drops(listener);
	s = fixture_sum(f, 0, SERVER, port);
	assert_true(before > 0);
	assert_in_range(s.listen_drops, before, after);
	assert_int_equal(s.accept_queue, 1);
	assert_int_equal(s.accept_queue_limit, 0);
	for (int i = 0; i < CROWD; i++)
		(void)close(clients[i]);
	(void)close(listener);
}

static void measure(uint32_t signals)
{
	struct fixture f;
	struct fixture_pair p;
	uint64_t dropped;

	assert_ok(fixture_open(&f, &(struct fixture_options){.signals = signals}));
	fixture_target(&f, getpid(), 1);
	p = veth_pair(&veth, AF_INET);
	dropped = exchange(&p);
	take_snapshot(&f);
	assert_attached(&f, signals, false);
	assert_numbers(&f, &p, signals, dropped);
	fixture_pair_done(&p);
	assert_ends(&f, signals);
	assert_refused(&f);
	assert_overflow(&f);
	fixture_close(&f);
}

static void a_preset_costs_what_it_measures_and_its_numbers_are_true(void **state)
{
	for (size_t i = 0; sonde_preset_at(i); i++) {
		const struct sonde_preset *preset = sonde_preset_at(i);

		if (!(preset->collectors & SONDE_PROBE_COLLECT_TCP) || !preset->signals)
			continue;
		print_message("%s\n", preset->name);
		measure(preset->signals);
	}
	measure(SONDE_SIGNAL_BIT(SONDE_SIGNAL_BYTES));
	measure(0);
}

/* The first call says whose an accepted connection is, also where calls are not counted. */
static void a_child_owns_what_it_accepts(void **state)
{
	struct sonde_tcp_cell c;
	struct fixture f;
	uint16_t port;
	int listener, fd;
	pid_t child;

	assert_ok(fixture_open(
		&f, &(struct fixture_options){.signals = SONDE_SIGNAL_BIT(SONDE_SIGNAL_BYTES)}));
	fixture_target(&f, getpid(), 1);
	listener = fixture_listen(AF_INET, 8, &port);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		fd = fixture_accept(listener);
		fixture_recv(fd, REQUEST_BYTES);
		fixture_send(fd, RESPONSE_BYTES);
		(void)pause();
		_exit(0);
	}
	fd = fixture_connect(AF_INET, port);
	fixture_send(fd, REQUEST_BYTES);
	fixture_recv(fd, RESPONSE_BYTES);
	take_snapshot(&f);
	c = fixture_sum(&f, child, SERVER, port);
	assert_int_equal(c.received_bytes, REQUEST_BYTES);
	assert_int_equal(c.sent_bytes, RESPONSE_BYTES);
	assert_int_equal(c.accepted, 1);
	assert_int_equal(fixture_sum(&f, getpid(), SERVER, port).received_bytes, 0);
	(void)kill(child, SIGKILL);
	(void)waitpid(child, NULL, 0);
	fixture_close_fd(&fd);
	fixture_close_fd(&listener);
	fixture_close(&f);
}

struct base {
	struct sonde_tcp_cell client, server;
	uint64_t resent, drops, skipped;
};

static struct base base_of(struct fixture *f, const struct fixture_pair *p)
{
	take_snapshot(f);
	return (struct base){
		.client = fixture_sum(f, 0, CLIENT, p->port),
		.server = fixture_sum(f, 0, SERVER, p->port),
		.resent = fixture_total_retrans(p->server),
		.drops = drops(f, p->port),
		.skipped = fixture_loss(f, SONDE_TCP_LOSS_SKIPPED_RUNS),
	};
}

/* From its base on, a task that asks for all has all of a connection that was there before it. */
static void assert_exact_since(const struct base *a, const struct base *b, uint64_t dropped)
{
	const uint64_t skipped = b->skipped - a->skipped, resent = b->resent - a->resent;
	const uint64_t kinds = fixture_retransmits(&b->server) - fixture_retransmits(&a->server);

	assert_true(resent > 0);
	assert_int_equal(b->server.retransmitted_segments - a->server.retransmitted_segments,
			 resent);
	assert_true(kinds <= resent);
	assert_true(resent - kinds <= skipped);
	assert_true(b->drops - a->drops <= dropped);
	assert_true(dropped - (b->drops - a->drops) <= skipped);
	assert_int_equal(b->client.write_calls - a->client.write_calls, REQUESTS);
	assert_int_equal(b->client.sent_bytes - a->client.sent_bytes, REQUESTS * REQUEST_BYTES);
	assert_true(b->client.rtt_count - a->client.rtt_count >= REQUESTS / 2);
	assert_true(b->server.rtt_count - a->server.rtt_count >= REQUESTS / 2);
	assert_true(b->server.rtt_firsts - a->server.rtt_firsts <= 1);
	assert_int_equal(b->server.rtt_missed, a->server.rtt_missed);
}

static void what_a_later_task_asks_for_begins_at_its_base(void **state)
{
	const uint32_t few =
		SONDE_SIGNAL_BIT(SONDE_SIGNAL_BYTES) | SONDE_SIGNAL_BIT(SONDE_SIGNAL_WINDOW);
	struct fixture f;
	struct fixture_pair p;

	assert_ok(fixture_open(&f, &(struct fixture_options){.signals = few}));
	fixture_target(&f, getpid(), 1);
	p = veth_pair(&veth, AF_INET);
	for (unsigned int turn = 0; turn < 2; turn++) {
		struct base before, begun, end;
		uint64_t dropped;

		(void)exchange(&p);
		before = base_of(&f, &p);
		assert_true(before.resent > 0);
		fixture_set_signals(&f, SONDE_SIGNALS_ALL);
		begun = base_of(&f, &p);
		assert_attached(&f, 0, true);
		dropped = exchange(&p);
		end = base_of(&f, &p);
		assert_exact_since(&begun, &end, dropped);
		/* It is over, and what only it asked for stands still. */
		fixture_set_signals(&f, few);
		before = base_of(&f, &p);
		{
			const uint64_t probe = runs(&f, "tcp tp_btf/tcp_probe"),
				       send = runs(&f, "tcp tp_btf/sock_send_length"),
				       drop = runs(&f, "tcp tp_btf/kfree_skb");

			(void)exchange(&p);
			end = base_of(&f, &p);
			assert_int_equal(runs(&f, "tcp tp_btf/tcp_probe"), probe);
			assert_int_equal(runs(&f, "tcp tp_btf/sock_send_length"), send);
			assert_int_equal(runs(&f, "tcp tp_btf/kfree_skb"), drop);
		}
		assert_int_equal(end.drops, before.drops);
		/* Other hooks of calls have no lesser program, and stay for what they say of owners. */
		if (is_of_this_kernel("tcp tp_btf/sock_send_length"))
			assert_int_equal(end.client.write_calls, before.client.write_calls);
		assert_int_equal(end.client.sent_bytes - before.client.sent_bytes,
				 REQUESTS * REQUEST_BYTES);
	}
	fixture_pair_done(&p);
	fixture_close(&f);
}

static int run(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_preset_costs_what_it_measures_and_its_numbers_are_true),
		cmocka_unit_test(a_child_owns_what_it_accepts),
		cmocka_unit_test(what_a_later_task_asks_for_begins_at_its_base),
	};
	int r;

	if (geteuid() != 0 || fixture_bpf_is_refused())
		return SONDE_EXIT_SKIP;
	/* Where sockets have no storage, every hook is attached and only the report leaves out what was not asked for. */
	if (!fixture_is_measured(LAST_VALUES, "records"))
		return fixture_tell_absent(LAST_VALUES, "records");
	if (veth_open(&veth) < 0)
		return SONDE_EXIT_SKIP;
	r = veth_add_chains(&veth) ? cmocka_run_group_tests(tests, learn_hooks, NULL)
				   : SONDE_EXIT_SKIP;
	veth_close(&veth);
	return r;
}

int main(int argc, char **argv)
{
	return unseen_main(argv, run);
}
