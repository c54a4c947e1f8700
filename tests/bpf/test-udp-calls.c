/* SPDX-License-Identifier: Apache-2.0 */
/* Datagrams and bytes of every kind of call, against the test's own counts and the kernel's UDP counters. */
#include "udp-fixture.h"

#include <errno.h>
#include <linux/errqueue.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "waker.h"

static const int families[] = {AF_INET, AF_INET6};

/* datagrams and bytes sent, then received, of one role and port */
#define assert_traffic(f, role, port, sd, sb, rd, rb)                                              \
	do {                                                                                       \
		struct sonde_udp_cell _c = udp_fixture_sum(f, getpid(), role, port);               \
		assert_int_equal(_c.sent_datagrams, sd);                                           \
		assert_int_equal(_c.sent_bytes, sb);                                               \
		assert_int_equal(_c.received_datagrams, rd);                                       \
		assert_int_equal(_c.received_bytes, rb);                                           \
	} while (0)

static void a_connected_client_and_its_server(void **state)
{
	struct udp_fixture *f = *state;

	for (size_t i = 0; i < 2; i++) {
		const struct sonde_probe_udp_cell *c;
		uint16_t port, from;
		int server = udp_bound(families[i], &port);
		int client = udp_connected(families[i], port);

		for (int n = 0; n < 5; n++) {
			udp_send(client, 100);
			from = udp_receive(server, 100);
			assert_int_equal(from, udp_port_of(client));
			if (n < 3)
				udp_send_to(server, families[i], from, 10);
		}
		for (int n = 0; n < 3; n++)
			assert_int_equal(udp_receive(client, 10), port);
		udp_fixture_snapshot(f);
		assert_traffic(f, UDP_CLIENT, port, 5, 500, 3, 30);
		assert_traffic(f, UDP_SERVER, port, 3, 30, 5, 500);
		c = udp_fixture_cell(f, getpid(), UDP_CLIENT, port);
		assert_int_equal(c->key.protocol, IPPROTO_UDP);
		assert_int_equal(c->cell.write_calls, 5);
		assert_int_equal(c->cell.read_calls, 3);
		c = udp_fixture_cell(f, getpid(), UDP_SERVER, port);
		assert_int_equal(c->key.raddr[15], 1);
		assert_int_equal(c->key.flags, 0);
		(void)close(client);
		(void)close(server);
	}
}

static void an_unconnected_client_has_a_peer_for_each_service(void **state)
{
	struct udp_fixture *f = *state;
	uint16_t ports[2];
	int client, servers[2];

	for (size_t i = 0; i < 2; i++) {
		client = udp_socket(families[i]);
		for (size_t k = 0; k < 2; k++)
			servers[k] = udp_bound(families[i], &ports[k]);
		for (int n = 0; n < 4; n++)
			udp_send_to(client, families[i], ports[n % 2], 70);
		for (size_t k = 0; k < 2; k++) {
			uint16_t from = udp_receive(servers[k], 70);

			udp_send_to(servers[k], families[i], from, 7);
			(void)udp_receive(client, 7);
		}
		udp_fixture_snapshot(f);
		for (size_t k = 0; k < 2; k++) {
			assert_traffic(f, UDP_CLIENT, ports[k], 2, 140, 1, 7);
			assert_traffic(f, UDP_SERVER, ports[k], 1, 7, 1, 70);
			assert_int_equal(udp_fixture_count(f, 0, UDP_CLIENT, ports[k]), 1);
			(void)close(servers[k]);
		}
		(void)close(client);
	}
}

static void clients_of_one_address_are_one_peer(void **state)
{
	struct udp_fixture *f = *state;
	uint16_t port;
	int server = udp_bound(AF_INET, &port);

	for (int i = 0; i < 40; i++) {
		int client = i % 2 ? udp_connected(AF_INET, port) : udp_socket(AF_INET);

		udp_send_to(client, AF_INET, port, 10);
		udp_send_to(server, AF_INET, udp_receive(server, 10), 5);
		(void)udp_receive(client, 5);
		(void)close(client);
	}
	(void)close(server);
	udp_fixture_snapshot(f);
	assert_traffic(f, UDP_SERVER, port, 40, 200, 40, 400);
	assert_traffic(f, UDP_CLIENT, port, 40, 400, 40, 200);
	assert_int_equal(udp_fixture_count(f, 0, UDP_SERVER, port), 1);
}

static void each_message_of_a_batch_is_one(void **state)
{
	struct udp_fixture *f = *state;
	char text[6][20] = {{0}};
	struct iovec iov[6];
	struct mmsghdr out[6] = {{{0}}}, in[6] = {{{0}}};
	struct sockaddr_storage to, from[6];
	uint16_t port;
	int server = udp_bound(AF_INET6, &port), client = udp_socket(AF_INET6);

	to = udp_address(AF_INET6, port);
	for (size_t i = 0; i < 6; i++) {
		iov[i] = (struct iovec){text[i], 10 + i};
		out[i].msg_hdr = (struct msghdr){.msg_iov = &iov[i],
						 .msg_iovlen = 1,
						 .msg_name = &to,
						 .msg_namelen = sizeof(struct sockaddr_in6)};
		in[i].msg_hdr = out[i].msg_hdr;
		in[i].msg_hdr.msg_name = &from[i];
		in[i].msg_hdr.msg_namelen = sizeof(from[i]);
	}
	assert_int_equal(sendmmsg(client, out, 6, 0), 6);
	for (size_t i = 0; i < 6; i++)
		iov[i].iov_len = sizeof(text[i]);
	assert_int_equal(recvmmsg(server, in, 6, MSG_WAITFORONE, NULL), 6);
	udp_fixture_snapshot(f);
	assert_traffic(f, UDP_CLIENT, port, 6, 75, 0, 0);
	assert_traffic(f, UDP_SERVER, port, 0, 0, 6, 75);
	assert_int_equal(udp_fixture_sum(f, 0, UDP_SERVER, port).read_calls, 6);
	(void)close(client);
	(void)close(server);
}

static void a_look_takes_nothing_and_an_empty_datagram_is_one(void **state)
{
	struct udp_fixture *f = *state;
	char room[100];
	uint16_t port;
	int server = udp_bound(AF_INET, &port), client = udp_connected(AF_INET, port);

	udp_send(client, 50);
	udp_send(client, 0);
	assert_int_equal(recv(server, room, sizeof(room), MSG_PEEK), 50);
	assert_int_equal(recvfrom(server, room, sizeof(room), MSG_PEEK, NULL, NULL), 50);
	(void)udp_receive(server, 50);
	(void)udp_receive(server, 0);
	assert_int_equal(recv(server, room, sizeof(room), MSG_DONTWAIT), -1);
	udp_fixture_snapshot(f);
	assert_traffic(f, UDP_CLIENT, port, 2, 50, 0, 0);
	assert_traffic(f, UDP_SERVER, port, 0, 0, 2, 50);
	assert_int_equal(udp_fixture_sum(f, 0, UDP_SERVER, port).receive_errors[SONDE_UDP_EAGAIN],
			 0);
	/* What a shut socket returns is no datagram. */
	assert_int_equal(shutdown(client, SHUT_RD), 0);
	assert_int_equal(recv(client, room, sizeof(room), 0), 0);
	udp_fixture_snapshot(f);
	assert_traffic(f, UDP_CLIENT, port, 2, 50, 0, 0);
	(void)close(client);
	(void)close(server);
}

/* Cut to the buffer, a datagram has what was copied; with MSG_TRUNC the call returns its true length. */
static void a_cut_datagram_counts_what_the_read_returned(void **state)
{
	struct udp_fixture *f = *state;
	struct sockaddr_storage from;
	socklen_t size = sizeof(from);
	char room[30];
	uint16_t port;
	int server = udp_bound(AF_INET, &port), client = udp_connected(AF_INET, port);

	udp_send(client, 1000);
	udp_send(client, 1000);
	assert_int_equal(recvfrom(server, room, 30, 0, (struct sockaddr *)&from, &size), 30);
	size = sizeof(from);
	assert_int_equal(recvfrom(server, room, 30, MSG_TRUNC, (struct sockaddr *)&from, &size),
			 1000);
	udp_fixture_snapshot(f);
	assert_traffic(f, UDP_SERVER, port, 0, 0, 2, 1030);
	(void)close(client);
	(void)close(server);
}

static void ipv4_through_an_ipv6_socket_is_ipv4(void **state)
{
	static const uint8_t mapped[16] = {[10] = 0xff, [11] = 0xff, [12] = 127, [15] = 1};
	struct udp_fixture *f = *state;
	struct sockaddr_in6 any = {.sin6_family = AF_INET6}, to = {.sin6_family = AF_INET6};
	const struct sonde_probe_udp_cell *c;
	uint16_t port;
	int server = udp_socket(AF_INET6), client = udp_socket(AF_INET6);

	assert_ok(bind(server, (struct sockaddr *)&any, sizeof(any)));
	port = udp_port_of(server);
	to.sin6_port = htons(port);
	memcpy(&to.sin6_addr, mapped, sizeof(mapped));
	assert_int_equal(sendto(client, mapped, 16, 0, (struct sockaddr *)&to, sizeof(to)), 16);
	(void)udp_receive(server, 16);
	assert_ok(connect(client, (struct sockaddr *)&to, sizeof(to)));
	udp_send(client, 9);
	(void)udp_receive(server, 9);
	udp_fixture_snapshot(f);
	assert_traffic(f, UDP_CLIENT, port, 2, 25, 0, 0);
	c = udp_fixture_cell(f, getpid(), UDP_SERVER, port);
	assert_int_equal(c->cell.received_bytes, 25);
	assert_memory_equal(c->key.raddr, mapped, 16);
	(void)close(client);
	(void)close(server);
}

/* The kernel gathers what MSG_MORE and UDP_CORK hold back into one datagram. */
static void held_back_sends_are_one_datagram(void **state)
{
	struct udp_fixture *f = *state;
	int home = udp_enter_namespace(), on = 1, off = 0;
	uint64_t out;
	uint16_t port;
	int server = udp_bound(AF_INET, &port), client = udp_connected(AF_INET, port);

	out = udp_nstat("Udp", "OutDatagrams");
	assert_int_equal(send(client, &on, 4, MSG_MORE), 4);
	assert_int_equal(send(client, &on, 4, MSG_MORE), 4);
	assert_int_equal(send(client, &on, 2, 0), 2);
	(void)udp_receive(server, 10);
	for (int i = 0; i < 3; i++) {
		assert_ok(setsockopt(client, IPPROTO_UDP, UDP_CORK, &on, sizeof(on)));
		udp_send(client, 100);
		udp_send(client, 50);
		assert_ok(setsockopt(client, IPPROTO_UDP, UDP_CORK, &off, sizeof(off)));
		(void)udp_receive(server, 150);
	}
	udp_send(client, 1);
	(void)udp_receive(server, 1);
	udp_fixture_snapshot(f);
	assert_traffic(f, UDP_CLIENT, port, 5, 461, 0, 0);
	assert_int_equal(udp_fixture_sum(f, 0, UDP_CLIENT, port).write_calls, 10);
	assert_traffic(f, UDP_SERVER, port, 0, 0, 5, 461);
	assert_int_equal(udp_nstat("Udp", "OutDatagrams") - out, 5);
	(void)close(client);
	(void)close(server);
	udp_leave_namespace(home);
}

/* One send of many segments is one datagram to the kernel's counter and to ours; so is a coalesced read. */
static void segmented_sends_count_as_the_kernel_does(void **state)
{
	struct udp_fixture *f = *state;
	int home = udp_enter_namespace(), size = 100, on = 1;
	static char room[65536];
	uint64_t out, in;
	ssize_t n, total = 0;
	uint64_t reads = 0;
	uint16_t port;
	int server = udp_bound(AF_INET, &port), client = udp_connected(AF_INET, port);

	assert_ok(setsockopt(client, IPPROTO_UDP, UDP_SEGMENT, &size, sizeof(size)));
	out = udp_nstat("Udp", "OutDatagrams");
	udp_send(client, 500);
	assert_int_equal(udp_nstat("Udp", "OutDatagrams") - out, 1);
	for (int i = 0; i < 5; i++)
		(void)udp_receive(server, 100);
	udp_fixture_snapshot(f);
	assert_traffic(f, UDP_CLIENT, port, 1, 500, 0, 0);
	assert_traffic(f, UDP_SERVER, port, 0, 0, 5, 500);

	assert_ok(setsockopt(server, IPPROTO_UDP, UDP_GRO, &on, sizeof(on)));
	in = udp_nstat("Udp", "InDatagrams");
	udp_send(client, 1000);
	while (total < 1000) {
		n = recv(server, room, sizeof(room), 0);
		assert_true(n > 0);
		total += n;
		reads++;
	}
	assert_int_equal(udp_nstat("Udp", "InDatagrams") - in, reads);
	udp_fixture_snapshot(f);
	assert_traffic(f, UDP_CLIENT, port, 2, 1500, 0, 0);
	assert_traffic(f, UDP_SERVER, port, 0, 0, 5 + reads, 1500);
	(void)close(client);
	(void)close(server);
	udp_leave_namespace(home);
}

/* It counts all the same: by the datagram's own sender where a hook sees it, else in the port's cell without a peer. */
static void a_read_that_does_not_ask_for_the_sender(void **state)
{
	struct udp_fixture *f = *state;
	bool seen = udp_fixture_attached(f, "fentry/skb_consume_udp");
	const struct sonde_probe_udp_cell *c;
	uint64_t unknown;
	char room[64];
	uint16_t port;
	int server = udp_bound(AF_INET, &port), client = udp_connected(AF_INET, port);

	udp_fixture_snapshot(f);
	unknown = udp_fixture_loss(f, SONDE_UDP_LOSS_PEER_UNKNOWN);
	udp_send(client, 60);
	udp_send(client, 4);
	assert_int_equal(read(server, room, sizeof(room)), 60);
	assert_int_equal(recv(server, room, sizeof(room), 0), 4);
	udp_fixture_snapshot(f);
	assert_traffic(f, UDP_SERVER, port, 0, 0, 2, 64);
	c = udp_fixture_cell(f, getpid(), UDP_SERVER, port);
	assert_int_equal(c->key.flags, seen ? 0 : SONDE_TCP_CELL_OTHER);
	assert_int_equal(c->key.raddr[15], seen);
	assert_int_equal(udp_fixture_loss(f, SONDE_UDP_LOSS_PEER_UNKNOWN) - unknown, seen ? 0 : 2);
	(void)close(client);
	(void)close(server);
}

static void a_socket_that_connects_elsewhere_changes_its_peer(void **state)
{
	struct udp_fixture *f = *state;
	struct sockaddr nowhere = {.sa_family = AF_UNSPEC};
	uint16_t ports[2];
	int servers[2] = {udp_bound(AF_INET, &ports[0]), udp_bound(AF_INET, &ports[1])};
	int client = udp_socket(AF_INET);

	for (int i = 0; i < 6; i++) {
		struct sockaddr_storage to = udp_address(AF_INET, ports[i % 2]);

		assert_ok(connect(client, (struct sockaddr *)&to, sizeof(struct sockaddr_in)));
		udp_send(client, 10);
	}
	assert_ok(connect(client, &nowhere, sizeof(nowhere)));
	udp_send_to(client, AF_INET, ports[0], 3);
	/* A connected socket may name another destination. */
	(void)close(client);
	client = udp_connected(AF_INET, ports[0]);
	udp_send_to(client, AF_INET, ports[1], 1);
	udp_fixture_snapshot(f);
	assert_traffic(f, UDP_CLIENT, ports[0], 4, 33, 0, 0);
	assert_traffic(f, UDP_CLIENT, ports[1], 4, 31, 0, 0);
	for (size_t i = 0; i < 2; i++)
		(void)close(servers[i]);
	(void)close(client);
}

static void sockets_from_before_are_known_by_their_port(void **state)
{
	struct udp_fixture f;
	struct sockaddr_storage a;
	uint16_t port;
	int first = udp_bound(AF_INET, &port), server, client;

	/* A port named in bind(2) is a server's, whoever speaks first once we look. */
	(void)close(first);
	server = udp_socket(AF_INET);
	a = udp_address(AF_INET, port);
	assert_ok(bind(server, (struct sockaddr *)&a, sizeof(struct sockaddr_in)));
	client = udp_socket(AF_INET);
	udp_send_to(client, AF_INET, port, 8);
	assert_ok(udp_fixture_open(&f, &(struct udp_fixture_options){0}));
	udp_fixture_target(&f, getpid(), 1);
	udp_fixture_seed(&f);
	assert_true(f.timing.seeded_sockets >= 2);
	udp_send_to(server, AF_INET, udp_port_of(client), 20);
	(void)udp_receive(client, 20);
	(void)udp_receive(server, 8);
	udp_fixture_snapshot(&f);
	assert_traffic(&f, UDP_SERVER, port, 1, 20, 1, 8);
	assert_traffic(&f, UDP_CLIENT, port, 0, 0, 1, 20);
	udp_fixture_close(&f);
	(void)close(client);
	(void)close(server);
}

/* Each process has its own cells of a socket that both use, and a stranger none. */
static void a_shared_socket_is_counted_by_caller(void **state)
{
	struct udp_fixture *f = *state;
	struct udp_fixture alone;
	uint16_t port;
	int server = udp_bound(AF_INET, &port), client = udp_connected(AF_INET, port);
	pid_t child;

	udp_send(client, 11);
	child = fork();
	if (child == 0) {
		for (int i = 0; i < 3; i++)
			udp_send(client, 100);
		_exit(0);
	}
	assert_int_equal(waitpid(child, NULL, 0), child);
	udp_fixture_snapshot(f);
	assert_traffic(f, UDP_CLIENT, port, 1, 11, 0, 0);
	assert_int_equal(udp_fixture_sum(f, child, UDP_CLIENT, port).sent_bytes, 300);

	assert_ok(udp_fixture_open(&alone, &(struct udp_fixture_options){0}));
	udp_fixture_target(&alone, getppid(), 1);
	udp_send(client, 5);
	udp_fixture_snapshot(&alone);
	assert_int_equal(udp_fixture_count(&alone, 0, UDP_CLIENT, port), 0);
	udp_fixture_close(&alone);
	(void)close(client);
	(void)close(server);
}

/* A server that answers each client from a socket of its own on the same port. */
static void a_socket_connected_from_a_served_port_serves(void **state)
{
	struct udp_fixture *f = *state;
	struct sockaddr_storage here, there;
	uint16_t port, from;
	int on = 1, server = udp_socket(AF_INET), client = udp_socket(AF_INET), own;

	here = udp_address(AF_INET, 0);
	assert_ok(setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)));
	assert_ok(bind(server, (struct sockaddr *)&here, sizeof(struct sockaddr_in)));
	port = udp_port_of(server);
	udp_send_to(client, AF_INET, port, 30);
	from = udp_receive(server, 30);
	own = udp_socket(AF_INET);
	assert_ok(setsockopt(own, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)));
	here = udp_address(AF_INET, port);
	there = udp_address(AF_INET, from);
	assert_ok(bind(own, (struct sockaddr *)&here, sizeof(struct sockaddr_in)));
	assert_ok(connect(own, (struct sockaddr *)&there, sizeof(struct sockaddr_in)));
	udp_send(own, 12);
	(void)udp_receive(client, 12);
	udp_fixture_snapshot(f);
	assert_traffic(f, UDP_SERVER, port, 1, 12, 1, 30);
	assert_traffic(f, UDP_CLIENT, port, 1, 30, 1, 12);
	(void)close(own);
	(void)close(client);
	(void)close(server);
}

/* By process while the socket lives; whoever has the port behind it is an address. */
static void a_server_knows_its_client_while_that_lives(void **state)
{
	struct udp_fixture *f = *state;
	struct sockaddr_storage a;
	uint16_t port, from;
	int server = udp_bound(AF_INET, &port), client = udp_connected(AF_INET, port);
	pid_t stranger;

	udp_send(client, 10); /* enters itself when this returns */
	(void)udp_receive(server, 10);
	from = udp_port_of(client);
	(void)close(client);
	/* A process that is no target takes the port. */
	stranger = fork();
	if (stranger == 0) {
		assert_ok(sonde_collector_udp.task_remove(f->state, 1));
		client = udp_socket(AF_INET);
		a = udp_address(AF_INET, from);
		if (bind(client, (struct sockaddr *)&a, sizeof(struct sockaddr_in)) < 0)
			_exit(1);
		udp_send_to(client, AF_INET, port, 30);
		_exit(0);
	}
	assert_int_equal(waitpid(stranger, NULL, 0), stranger);
	udp_fixture_target(f, getpid(), 1);
	(void)udp_receive(server, 30);
	udp_fixture_snapshot(f);
	for (size_t i = 0; i < UDP_CELLS_MAX; i++) {
		const struct sonde_probe_udp_cell *c = &f->cells[i];

		if (c->key.role != UDP_SERVER || c->key.port != port)
			continue;
		assert_int_equal(c->cell.received_bytes, c->key.peer_pid ? 10 : 30);
	}
	assert_int_equal(udp_fixture_count(f, 0, UDP_SERVER, port), 2);
	(void)close(server);
}

static bool says_timed(const struct udp_fixture *f)
{
	for (size_t i = 0; i < f->n_probes; i++) {
		if (strcmp(f->probes[i].metrics, SONDE_PROBE_METRICS_UDP_TIMES) == 0 &&
		    f->probes[i].state == SONDE_PROBE_ATTACHED)
			return true;
	}
	return false;
}

static void send_five(int fd)
{
	udp_send(fd, 5);
}

/* Only while it is asked for; the time that a read waited is in it. */
static void calls_are_timed_on_demand(void **state)
{
	struct udp_fixture *f = *state;
	const uint32_t option = SONDE_PROBE_OPTION_EXECUTION_TIME;
	struct sonde_udp_cell c;
	char room[8];
	uint64_t wrote_ns, read_ns, since;
	uint16_t port;
	int server = udp_bound(AF_INET, &port), client = udp_connected(AF_INET, port);
	struct timeval wait = {.tv_usec = 30000};
	struct waker w = {.call = SYS_recvfrom, .wake = send_five, .fd = client};

	udp_send(client, 5);
	(void)udp_receive(server, 5);
	assert_false(says_timed(f));
	assert_ok(udp_fixture_set_options(f, option));
	assert_true(says_timed(f));
	since = sonde_mono_ns();
	for (int i = 0; i < 10; i++)
		udp_send(client, 5);
	wrote_ns = sonde_mono_ns() - since;
	since = sonde_mono_ns();
	for (int i = 0; i < 10; i++)
		(void)udp_receive(server, 5);
	read_ns = sonde_mono_ns() - since;
	assert_ok(setsockopt(server, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)));
	assert_int_equal(recv(server, room, sizeof(room), 0), -1); /* timed out: no call */
	wait.tv_usec = 0;
	assert_ok(setsockopt(server, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)));
	waker_start(&w);
	since = sonde_mono_ns();
	(void)udp_receive_at_once(server, 5);
	read_ns += sonde_mono_ns() - since;
	waker_join(&w);
	wrote_ns += w.woke_ns - w.wakes_ns;
	assert_ok(udp_fixture_set_options(f, 0));
	assert_false(says_timed(f));
	udp_send(client, 5);
	udp_fixture_snapshot(f);
	c = udp_fixture_sum(f, getpid(), UDP_CLIENT, port);
	assert_int_equal(c.write_calls, 13);
	assert_int_equal(c.write_timed_calls, 11);
	assert_between(1, c.write_time_ns, wrote_ns);
	c = udp_fixture_sum(f, getpid(), UDP_SERVER, port);
	assert_int_equal(c.read_timed_calls, 11);
	assert_between(w.wakes_ns - w.asleep_ns, c.read_time_ns, read_ns);
	(void)close(client);
	(void)close(server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_connected_client_and_its_server),
		cmocka_unit_test(an_unconnected_client_has_a_peer_for_each_service),
		cmocka_unit_test(clients_of_one_address_are_one_peer),
		cmocka_unit_test(each_message_of_a_batch_is_one),
		cmocka_unit_test(a_look_takes_nothing_and_an_empty_datagram_is_one),
		cmocka_unit_test(a_cut_datagram_counts_what_the_read_returned),
		cmocka_unit_test(ipv4_through_an_ipv6_socket_is_ipv4),
		cmocka_unit_test(held_back_sends_are_one_datagram),
		cmocka_unit_test(segmented_sends_count_as_the_kernel_does),
		cmocka_unit_test(a_read_that_does_not_ask_for_the_sender),
		cmocka_unit_test(a_socket_that_connects_elsewhere_changes_its_peer),
		cmocka_unit_test(sockets_from_before_are_known_by_their_port),
		cmocka_unit_test(a_shared_socket_is_counted_by_caller),
		cmocka_unit_test(a_socket_connected_from_a_served_port_serves),
		cmocka_unit_test(a_server_knows_its_client_while_that_lives),
		cmocka_unit_test(calls_are_timed_on_demand),
	};

	return udp_fixture_main(tests);
}
