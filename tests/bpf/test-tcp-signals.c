/* SPDX-License-Identifier: Apache-2.0 */
/* What tcp_sock counts by itself, against TCP_INFO of the same moment and the kernel's own counters. */
#include "unseen.h"
#include "veth.h"

#include <errno.h>
#include <linux/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/num.h"
#include "model/drop-class.h"
#include "model/hist.h"
#include "rest.h"

#define CLIENT SONDE_TCP_ROLE_CLIENT
#define SERVER SONDE_TCP_ROLE_SERVER

static struct veth veth;

static struct tcp_info info_of(int fd)
{
	struct tcp_info info = {0};
	socklen_t len = sizeof(info);

	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
	return info;
}

/* A counter of one side's namespace: /proc/net/netstat has a line of names, then one of values. */
static uint64_t netstat(enum veth_side side, const char *name)
{
	static char names[8192], values[8192];
	char *n, *v, *next_name, *next_value;
	uint64_t found = UINT64_MAX;
	FILE *f;

	veth_enter(&veth, side);
	f = fopen("/proc/thread-self/net/netstat", "re");
	assert_non_null(f);
	while (found == UINT64_MAX && fgets(names, sizeof(names), f) &&
	       fgets(values, sizeof(values), f)) {
		n = strtok_r(names, " \n", &next_name);
		v = strtok_r(values, " \n", &next_value);
		while (n && v && strcmp(n, name) != 0) {
			n = strtok_r(NULL, " \n", &next_name);
			v = strtok_r(NULL, " \n", &next_value);
		}
		if (n && v)
			assert_int_equal(sonde_parse_u64(v, 0, UINT64_MAX - 1, &found), 0);
	}
	(void)fclose(f);
	veth_enter(&veth, VETH_CLIENT);
	assert_true(found != UINT64_MAX);
	return found;
}

/* The kernel counts these clocks in ticks, of 10 ms at most. */
#define TICK_US 10000

static void assert_within_tick(uint64_t ours, uint64_t least, uint64_t most)
{
	if (ours + TICK_US < least || ours > most + TICK_US)
		print_message("ours %lu, truth %lu to %lu\n", (unsigned long)ours,
			      (unsigned long)least, (unsigned long)most);
	assert_true(ours + TICK_US >= least && ours <= most + TICK_US);
}

static uint64_t now_us(void)
{
	return sonde_mono_ns() / 1000;
}

static void assert_limits(const struct fixture *f, enum sonde_tcp_role role, uint16_t port,
			  const struct tcp_info *before, const struct tcp_info *after)
{
	struct sonde_tcp_cell c = fixture_sum(f, 0, role, port);

	assert_within_tick(c.busy_us, before->tcpi_busy_time, after->tcpi_busy_time);
	assert_within_tick(c.rwnd_limited_us, before->tcpi_rwnd_limited, after->tcpi_rwnd_limited);
	assert_within_tick(c.sndbuf_limited_us, before->tcpi_sndbuf_limited,
			   after->tcpi_sndbuf_limited);
	assert_true(c.busy_us <= c.active_us);
}

/* A snapshot between two words of the kernel: its clocks run on while each is read. */
static void snapshot_limits(struct fixture *f, const struct fixture_pair *p)
{
	struct tcp_info client = info_of(p->client), server = info_of(p->server), after;

	fixture_snapshot(f);
	after = info_of(p->client);
	assert_limits(f, CLIENT, p->port, &client, &after);
	after = info_of(p->server);
	assert_limits(f, SERVER, p->port, &server, &after);
}

#define STALL_MS 400

/* Nobody reads: the peer's window closes, and what is left waits in the send buffer. */
static void a_closed_window_is_time_limited_by_it(void **state)
{
	struct fixture *f = *state;
	uint64_t before_us = now_us(), full_ns, shut_us, open_us;
	struct fixture_pair p = veth_pair(&veth, AF_INET);
	struct sonde_tcp_cell c;

	fixture_wait_ms(STALL_MS); /* idle: no clock but that of the connection runs */
	(void)rest_fill(p.client, &full_ns);
	fixture_wait_ms(STALL_MS);
	shut_us = now_us();
	snapshot_limits(f, &p);
	c = fixture_sum(f, 0, CLIENT, p.port);
	assert_true(c.rwnd_limited_us > 0);
	assert_within_tick(c.active_us - c.busy_us, STALL_MS * 1000, full_ns / 1000 - before_us);
	assert_int_equal(c.zero_window_received, 1);
	assert_int_equal(c.zero_window_sent, 0);
	c = fixture_sum(f, 0, SERVER, p.port);
	assert_int_equal(c.zero_window_sent, 1);
	assert_int_equal(c.zero_window_received, 0);
	assert_true(c.zero_window_sent_us == 0); /* from the first snapshot on */
	fixture_wait_ms(STALL_MS);
	fixture_snapshot(f);
	fixture_wait_ms(STALL_MS);
	fixture_snapshot(f);
	open_us = now_us();
	c = fixture_sum(f, 0, SERVER, p.port);
	assert_within_tick(c.zero_window_sent_us, 2 * STALL_MS * 1000, open_us - shut_us);
	assert_int_equal(shutdown(p.client, SHUT_WR), 0);
	(void)fixture_drain(p.server);
	fixture_wait_acked(p.client);
	snapshot_limits(f, &p);
	c = fixture_sum(f, 0, CLIENT, p.port);
	assert_int_equal(c.zero_window_received, 0);
	fixture_pair_done(&p);
}

/* A send buffer that holds less than the path could take. */
static void a_small_send_buffer_is_time_limited_by_it(void **state)
{
	struct fixture *f = *state;
	struct fixture_pair p = veth_pair(&veth, AF_INET);
	int size = 4096;

	assert_int_equal(setsockopt(p.client, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
	for (int i = 0; i < 200; i++) {
		fixture_send(p.client, 20000);
		fixture_recv(p.server, 20000);
	}
	fixture_wait_acked(p.client);
	snapshot_limits(f, &p);
	fixture_pair_done(&p);
}

static void gauges_are_those_of_tcp_info(void **state)
{
	struct fixture *f = *state;
	struct fixture_pair p = veth_pair(&veth, AF_INET6);
	struct sonde_tcp_cell c;
	struct tcp_info infos[2], info;

	for (int i = 0; i < 20; i++) {
		fixture_send(p.client, 100000);
		fixture_recv(p.server, 100000);
	}
	fixture_wait_acked(p.client);
	rest_snapshot(f, (const int[]){p.client, -1}, infos);
	info = infos[0];
	c = fixture_sum(f, 0, CLIENT, p.port);
	assert_int_equal(c.open, 1);
	assert_int_equal(c.cwnd_sum, info.tcpi_snd_cwnd);
	if (info.tcpi_snd_ssthresh < 0x7fffffff) {
		assert_int_equal(c.ssthresh_sockets, 1);
		assert_int_equal(c.ssthresh_sum, info.tcpi_snd_ssthresh);
	} else {
		assert_int_equal(c.ssthresh_sockets, 0);
	}
	assert_int_equal(c.pacing_sockets, 1);
	assert_int_equal(c.pacing_sum, info.tcpi_pacing_rate);
	assert_int_equal(c.delivery_sockets, 1);
	assert_int_equal(c.delivery_sum, info.tcpi_delivery_rate);
	assert_int_equal(c.delivery_app_limited, info.tcpi_delivery_rate_app_limited);
	fixture_pair_done(&p);
}

static uint64_t retransmit_bytes(const struct sonde_tcp_cell *c)
{
	uint64_t bytes = 0;

	for (int i = 0; i < SONDE_TCP_RETRANSMIT_MAX; i++)
		bytes += c->retransmit_bytes[i];
	return bytes;
}

static void assert_loss_is_tcp_infos(const struct fixture *f, enum sonde_tcp_role role,
				     uint16_t port, const struct tcp_info *info)
{
	struct sonde_tcp_cell c = fixture_sum(f, 0, role, port);

	assert_int_equal(c.retransmitted_segments, info->tcpi_total_retrans);
	assert_int_equal(c.retransmitted_bytes, info->tcpi_bytes_retrans);
	assert_int_equal(c.dsack_segments, info->tcpi_dsack_dups);
	assert_int_equal(c.out_of_order_segments, info->tcpi_rcv_ooopack);
	assert_true(retransmit_bytes(&c) <= c.retransmitted_bytes);
	if (fixture_retransmits(&c) == c.retransmitted_segments)
		assert_int_equal(retransmit_bytes(&c), c.retransmitted_bytes);
	else /* the kind of a run that the kernel skipped comes at the end */
		assert_true(fixture_loss(f, SONDE_TCP_LOSS_SKIPPED_RUNS) > 0);
}

/* Data lost one way, ACKs the other: holes for the receiver, spurious retransmits for the sender. */
static void loss_in_both_directions_is_tcp_infos(void **state)
{
	static const int families[] = {AF_INET, AF_INET6};
	struct fixture *f = *state;

	for (size_t i = 0; i < 2; i++) {
		struct fixture_pair p = veth_pair(&veth, families[i]);
		struct tcp_info info[2];
		struct sonde_tcp_cell c;

		assert_true(veth_run(&veth, VETH_SERVER,
				     "nft add rule inet sonde_test input tcp dport %u "
				     "numgen random mod 100 '<' 3 counter drop",
				     p.port));
		assert_true(veth_run(&veth, VETH_CLIENT,
				     "nft add rule inet sonde_test input tcp sport %u "
				     "numgen random mod 100 '<' 10 counter drop",
				     p.port));
		for (int n = 0; n < 60; n++) {
			fixture_send(p.client, 50000);
			fixture_recv(p.server, 50000);
		}
		fixture_wait_acked(p.client);
		(void)veth_end_chain(&veth, VETH_SERVER, "input");
		(void)veth_end_chain(&veth, VETH_CLIENT, "input");
		rest_snapshot(f, (const int[]){p.client, p.server}, info);
		assert_loss_is_tcp_infos(f, CLIENT, p.port, &info[0]);
		assert_loss_is_tcp_infos(f, SERVER, p.port, &info[1]);
		c = fixture_sum(f, 0, CLIENT, p.port);
		assert_true(c.retransmitted_bytes > 0);
		c = fixture_sum(f, 0, SERVER, p.port);
		assert_true(c.out_of_order_segments > 0);
		fixture_abort_on_close(p.client);
		fixture_pair_done(&p);
		fixture_snapshot(f);
		c = fixture_sum(f, 0, CLIENT, p.port);
		assert_int_equal(retransmit_bytes(&c), c.retransmitted_bytes);
		assert_int_equal(fixture_retransmits(&c), c.retransmitted_segments);
	}
}

/* The sum over all sockets of a namespace that has no others is the namespace's. */
static void spurious_retransmits_are_nstats(void **state)
{
	uint64_t dsacks = netstat(VETH_CLIENT, "TCPDSACKRecvSegs");
	uint64_t ooo = netstat(VETH_SERVER, "TCPOFOQueue");
	struct fixture *f = *state;
	struct fixture_pair p = veth_pair(&veth, AF_INET);
	struct sonde_tcp_cell c;
	uint64_t now;

	/* Every ACK is lost for a while: the client sends again what has arrived. */
	assert_true(veth_run(&veth, VETH_CLIENT,
			     "nft add rule inet sonde_test input tcp sport %u drop", p.port));
	fixture_send(p.client, 5000);
	fixture_recv(p.server, 5000);
	for (unsigned int i = 0; i < 6000 && fixture_total_retrans(p.client) < 2; i++)
		fixture_wait_ms(10);
	assert_true(veth_run(&veth, VETH_CLIENT, "nft flush chain inet sonde_test input"));
	fixture_wait_acked(p.client);
	for (unsigned int i = 0; i < 6000 && info_of(p.client).tcpi_dsack_dups == 0; i++)
		fixture_wait_ms(10);
	do { /* of several that were repeated, one's ACK may come between */
		now = netstat(VETH_CLIENT, "TCPDSACKRecvSegs");
		fixture_snapshot(f);
	} while (netstat(VETH_CLIENT, "TCPDSACKRecvSegs") != now);
	c = fixture_sum(f, 0, CLIENT, p.port);
	assert_true(c.dsack_segments > 0);
	assert_int_equal(c.dsack_segments, now - dsacks);
	c = fixture_sum(f, 0, SERVER, p.port);
	assert_int_equal(c.out_of_order_segments, netstat(VETH_SERVER, "TCPOFOQueue") - ooo);
	fixture_pair_done(&p);
}

#define UNREAD 1234
#define READ 1000

static void what_nobody_read_is_counted_at_the_end(void **state)
{
	struct fixture *f = *state;
	struct fixture_pair p = veth_pair(&veth, AF_INET);
	struct sonde_tcp_cell c;

	fixture_send(p.client, READ + UNREAD);
	fixture_wait_acked(p.client);
	fixture_recv(p.server, READ);
	fixture_snapshot(f);
	c = fixture_sum(f, 0, SERVER, p.port);
	assert_int_equal(c.unread_closes, 0); /* it may be read yet */
	fixture_close_fd(&p.server);
	fixture_wait_end(p.client);
	fixture_close_fd(&p.client);
	fixture_snapshot(f);
	c = fixture_sum(f, 0, SERVER, p.port);
	assert_int_equal(c.unread_closes, 1);
	assert_int_equal(c.unread_bytes, UNREAD);
	assert_int_equal(c.arrived_bytes - c.received_bytes, UNREAD);
	c = fixture_sum(f, 0, CLIENT, p.port);
	assert_int_equal(c.unread_closes, 0);
	fixture_pair_done(&p);
}

/* A FIN that was not read is no payload. */
static void all_that_was_read_is_not_unread(void **state)
{
	struct fixture *f = *state;
	struct fixture_pair p = veth_pair(&veth, AF_INET6);
	struct sonde_tcp_cell c;

	fixture_send(p.client, READ);
	fixture_recv(p.server, READ);
	fixture_close_fd(&p.client);
	fixture_wait_end(p.server);
	fixture_close_fd(&p.server);
	fixture_wait_closed(f, SERVER, p.port, 1);
	c = fixture_sum(f, 0, SERVER, p.port);
	assert_int_equal(c.closed[SONDE_TCP_CLOSE_REMOTE_FIN], 1);
	assert_int_equal(c.unread_closes, 0);
	assert_int_equal(c.unread_bytes, 0);
	fixture_pair_done(&p);
}

static uint64_t resets(const struct fixture *f, enum sonde_tcp_role role, uint16_t port,
		       const char *reason)
{
	uint64_t n = 0;

	for (size_t i = 0; i < f->n_drops; i++) {
		const struct sonde_probe_drop *drop = &f->drops[i];
		const struct sonde_tcp_cell_key *key = &f->cells[drop->key.cell].key;

		if (drop->key.event == SONDE_TCP_EVENT_RESET_SENT && key->role == role &&
		    key->port == port && (!reason || strcmp(drop->reason, reason) == 0))
			n += drop->drop.skbs;
	}
	return n;
}

static bool kernel_gives_reasons(const struct fixture *f)
{
	for (size_t i = 0; i < f->n_probes; i++) {
		if (strcmp(f->probes[i].name, "tp_btf/tcp_send_reset with its reason") == 0)
			return f->probes[i].state == SONDE_PROBE_ATTACHED;
	}
	return false;
}

static void a_reset_has_the_kernels_reason(void **state)
{
	struct fixture *f = *state;
	struct fixture_pair p = veth_pair(&veth, AF_INET);
	struct fixture_pair again = {.listener = -1};
	struct sonde_tcp_cell c;

	if (!kernel_gives_reasons(f))
		skip();
	fixture_send(p.client, READ);
	fixture_wait_acked(p.client);
	fixture_close_fd(&p.server); /* with payload that nobody took */
	fixture_wait_end(p.client);
	again.client = veth_connect(&veth, AF_INET, p.port, 0);
	again.server = fixture_accept(p.listener);
	fixture_abort_on_close(again.client);
	fixture_close_fd(&again.client);
	fixture_wait_end(again.server);
	fixture_snapshot(f);
	c = fixture_sum(f, 0, SERVER, p.port);
	assert_int_equal(c.resets_sent, 1);
	assert_int_equal(resets(f, SERVER, p.port, "TCP_ABORT_ON_CLOSE"), 1);
	assert_int_equal(resets(f, SERVER, p.port, NULL), 1);
	c = fixture_sum(f, 0, CLIENT, p.port);
	assert_int_equal(c.resets_sent, 1);
	assert_int_equal(resets(f, CLIENT, p.port, NULL), 1);
	assert_int_equal(c.resets_received, 1);
	fixture_pair_done(&again);
	fixture_pair_done(&p);
}

/* @low, @high: inclusive; as edges of buckets, which have one significant digit. */
static uint64_t hist_between(const struct sonde_tcp_hist *hist, uint64_t low, uint64_t high)
{
	uint64_t n = 0;

	for (uint32_t b = 0; b < SONDE_HIST_BUCKETS; b++) {
		if (sonde_hist_lower_us(b) >= low && sonde_hist_lower_us(b) <= high)
			n += hist->count[b];
	}
	return n;
}

static uint64_t one_digit(uint64_t n)
{
	return n < 10 ? n : 10 * one_digit(n / 10);
}

static void a_connection_has_its_age_at_its_end(void **state)
{
	struct fixture *f = *state;
	const uint64_t begins_us = now_us();
	struct fixture_pair p = veth_pair(&veth, AF_INET);
	const uint64_t begun_us = now_us();
	const struct fixture_cell *cell;
	uint64_t low_ms, high_ms;

	fixture_wait_ms(310);
	low_ms = (now_us() - begun_us) / 1000;
	fixture_close_fd(&p.client);
	assert_int_equal(fixture_drain(p.server), 0);
	fixture_close_fd(&p.server);
	fixture_wait_closed(f, CLIENT, p.port, 1);
	fixture_wait_closed(f, SERVER, p.port, 1);
	high_ms = (now_us() - begins_us) / 1000;
	for (enum sonde_tcp_role role = CLIENT; role <= SERVER; role++) {
		cell = fixture_cell(f, 0, role, p.port);
		assert_non_null(cell);
		assert_int_equal(fixture_hist_total(&cell->hists[SONDE_PROBE_HIST_AGE]), 1);
		assert_int_equal(hist_between(&cell->hists[SONDE_PROBE_HIST_AGE], one_digit(low_ms),
					      one_digit(high_ms)),
				 1);
		assert_int_equal(cell->now.age_unknown, 0);
	}
	fixture_pair_done(&p);
}

static void the_age_of_a_seeded_connection_is_not_known(void **state)
{
	struct fixture_pair p = veth_pair(&veth, AF_INET);
	struct fixture f;
	struct sonde_tcp_cell c;

	(void)state;
	assert_int_equal(fixture_open(&f, &(struct fixture_options){0}), 0);
	fixture_target(&f, getpid(), 1);
	fixture_seed(&f);
	fixture_pair_done(&p);
	fixture_wait_closed(&f, CLIENT, p.port, 1);
	c = fixture_sum(&f, 0, CLIENT, p.port);
	assert_int_equal(c.seeded, 1);
	assert_int_equal(c.age_unknown, 1);
	fixture_close(&f);
}

#define CROWD 8

/* A queue of one, and more that would come in. */
static void a_full_accept_queue_is_the_listeners(void **state)
{
	uint64_t before = netstat(VETH_SERVER, "ListenDrops"), drops;
	struct fixture *f = *state;
	int clients[CROWD], listener;
	struct sonde_tcp_cell c;
	uint16_t port;

	listener = veth_listen(&veth, AF_INET, 0, &port);
	for (int i = 0; i < CROWD; i++)
		clients[i] = veth_connect(&veth, AF_INET, port, SOCK_NONBLOCK);
	fixture_wait_queued(listener);
	for (unsigned int i = 0; i < 6000 && netstat(VETH_SERVER, "ListenDrops") == before; i++)
		fixture_wait_ms(10);
	do { /* a SYN that is sent again may come between */
		drops = netstat(VETH_SERVER, "ListenDrops") - before;
		fixture_snapshot(f);
	} while (drops != netstat(VETH_SERVER, "ListenDrops") - before);
	c = fixture_sum(f, 0, SERVER, port);
	assert_true(drops > 0);
	assert_int_equal(c.listen_drops, drops);
	assert_int_equal(c.accept_queue, 1);
	assert_int_equal(c.accept_queue_limit, 0);
	(void)close(fixture_accept(listener));
	for (int i = 0; i < CROWD; i++)
		(void)close(clients[i]);
	(void)close(listener);
	fixture_snapshot(f);
	drops = netstat(VETH_SERVER, "ListenDrops") - before;
	c = fixture_sum(f, 0, SERVER, port);
	assert_int_equal(c.listen_drops, drops); /* those before its end, too */
	assert_int_equal(c.accept_queue, 0);
}

/* Segments that listeners dropped for @reason and that the exporter tells as of @class. */
static uint64_t listener_drops(const struct fixture *f, const char *reason,
			       enum sonde_drop_class class)
{
	uint64_t segments = 0;

	for (size_t i = 0; i < f->n_drops; i++) {
		const struct sonde_probe_drop *d = &f->drops[i];

		if (d->key.where == SONDE_TCP_WHERE_LISTENER && strcmp(d->reason, reason) == 0 &&
		    sonde_drop_class_at((enum sonde_drop_class)d->drop_class, d->reason, d->site) ==
			    class)
			segments += d->drop.segments;
	}
	return segments;
}

/* The ACKs of all handshakes are held back until their clients send: then each meets a queue that the first has filled. */
static void a_full_accept_queue_behind_syn_cookies_is_a_loss(void **state)
{
	static const char hold[] = "nft add rule inet sonde_test input tcp dport %u "
				   "'tcp flags & syn != syn' drop";
	uint64_t before, overflows, lost, refused;
	struct fixture *f = *state;
	int clients[CROWD], listener;
	uint16_t port;

	if (!fixture_is_measured("drops by reason", "listeners' drops"))
		skip(); /* which the task says */
	assert_true(veth_run(&veth, VETH_SERVER, "echo 2 >/proc/sys/net/ipv4/tcp_syncookies"));
	listener = veth_listen(&veth, AF_INET, 0, &port);
	before = netstat(VETH_SERVER, "ListenOverflows");
	fixture_snapshot(f);
	lost = listener_drops(f, "NO_SOCKET", SONDE_DROP_LOSS);
	refused = listener_drops(f, "NO_SOCKET", SONDE_DROP_REFUSED);
	assert_true(veth_run(&veth, VETH_SERVER, hold, port));
	for (int i = 0; i < CROWD; i++)
		clients[i] = veth_connect(&veth, AF_INET, port, SOCK_NONBLOCK);
	for (int i = 0; i < CROWD; i++) {
		struct pollfd connected = {.fd = clients[i], .events = POLLOUT};

		assert_int_equal(poll(&connected, 1, 60000), 1);
	}
	assert_true(veth_run(&veth, VETH_SERVER, "nft flush chain inet sonde_test input"));
	for (int i = 0; i < CROWD; i++)
		assert_int_equal(send(clients[i], "x", 1, MSG_NOSIGNAL), 1);
	for (int i = 0; i < 6000 && netstat(VETH_SERVER, "ListenOverflows") - before < CROWD - 1;
	     i++)
		fixture_wait_ms(10);
	assert_true(veth_run(&veth, VETH_SERVER, hold, port)); /* nothing more comes in */
	fixture_snapshot(f);
	overflows = netstat(VETH_SERVER, "ListenOverflows") - before;
	assert_true(overflows >= CROWD - 1);
	assert_int_equal(listener_drops(f, "NO_SOCKET", SONDE_DROP_LOSS) - lost, overflows);
	assert_int_equal(listener_drops(f, "NO_SOCKET", SONDE_DROP_REFUSED), refused);
	assert_true(veth_run(&veth, VETH_SERVER, "echo 1 >/proc/sys/net/ipv4/tcp_syncookies"));
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
		cmocka_unit_test(a_closed_window_is_time_limited_by_it),
		cmocka_unit_test(a_small_send_buffer_is_time_limited_by_it),
		cmocka_unit_test(gauges_are_those_of_tcp_info),
		cmocka_unit_test(loss_in_both_directions_is_tcp_infos),
		cmocka_unit_test(spurious_retransmits_are_nstats),
		cmocka_unit_test(what_nobody_read_is_counted_at_the_end),
		cmocka_unit_test(all_that_was_read_is_not_unread),
		cmocka_unit_test(a_reset_has_the_kernels_reason),
		cmocka_unit_test(a_connection_has_its_age_at_its_end),
		cmocka_unit_test(the_age_of_a_seeded_connection_is_not_known),
		cmocka_unit_test(a_full_accept_queue_is_the_listeners),
		cmocka_unit_test(a_full_accept_queue_behind_syn_cookies_is_a_loss),
	};
	int r;

	if (geteuid() != 0 || fixture_bpf_is_refused())
		return SONDE_EXIT_SKIP;
	if (!fixture_is_measured("payload, segments, gauges", "zero windows"))
		return fixture_tell_absent("payload, segments, gauges", "zero windows");
	r = veth_open(&veth) < 0 ? SONDE_EXIT_SKIP
				 : cmocka_run_group_tests(tests, setup, fixture_teardown);
	veth_close(&veth);
	return r;
}

int main(int argc, char **argv)
{
	return unseen_main(argv, run);
}
