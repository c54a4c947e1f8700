/* SPDX-License-Identifier: Apache-2.0 */
/* What fails or finds no room, many namespaces, and the collector's own bounds. */
#include "udp-fixture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fixture.h"
#include "model/signal.h"
#include "unseen.h"

static struct sonde_udp_cell client_sum(const struct udp_fixture *f, uint16_t port)
{
	return udp_fixture_sum(f, getpid(), UDP_CLIENT, port);
}

/* The ICMP answer to one datagram fails the next call, a send or a read. */
static void a_refused_datagram_fails_the_next_call(void **state)
{
	struct udp_fixture *f = *state;
	struct sonde_udp_cell c;
	char room[8];
	uint16_t port;
	int server = udp_bound(AF_INET, &port), client;

	(void)close(server);
	client = udp_connected(AF_INET, port);
	udp_send(client, 5);
	udp_wait_refused(client);
	assert_int_equal(send(client, room, 5, 0), -1);
	assert_int_equal(errno, ECONNREFUSED);
	udp_send(client, 5);
	udp_wait_refused(client);
	assert_int_equal(recv(client, room, 5, MSG_DONTWAIT), -1);
	assert_int_equal(errno, ECONNREFUSED);
	assert_int_equal(recv(client, room, 5, MSG_DONTWAIT), -1);
	assert_int_equal(errno, EAGAIN);
	udp_fixture_snapshot(f);
	c = client_sum(f, port);
	assert_int_equal(c.sent_datagrams, 2);
	assert_int_equal(c.write_calls, 2);
	assert_int_equal(c.send_errors[SONDE_UDP_ECONNREFUSED], 1);
	assert_int_equal(c.receive_errors[SONDE_UDP_ECONNREFUSED], 1);
	assert_int_equal(c.receive_errors[SONDE_UDP_EAGAIN], 0);
	(void)close(client);
}

static int send_to_text(int fd, const char *address, uint16_t port, size_t n)
{
	static const char bytes[65536];
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};

	assert_int_equal(inet_pton(AF_INET, address, &to.sin_addr), 1);
	return sendto(fd, bytes, n, 0, (struct sockaddr *)&to, sizeof(to)) < 0 ? -errno : 0;
}

static void each_error_has_its_name_and_its_peer(void **state)
{
	struct udp_fixture *f = *state;
	struct sonde_udp_cell c;
	int home = udp_enter_namespace(), fd = udp_socket(AF_INET);
	bool nft = fixture_run("nft 'add table ip t; add chain ip t o { type filter hook output "
			       "priority 0; }; add rule ip t o udp dport 7003 drop' 2>/dev/null");

	assert_int_equal(send_to_text(fd, "127.0.0.1", 7001, 65508), -EMSGSIZE);
	assert_int_equal(send_to_text(fd, "10.9.9.9", 7002, 10), -ENETUNREACH);
	if (nft)
		assert_int_equal(send_to_text(fd, "127.0.0.1", 7003, 10), -EPERM);
	udp_fixture_snapshot(f);
	c = client_sum(f, 7001);
	assert_int_equal(c.send_errors[SONDE_UDP_EMSGSIZE], 1);
	c = client_sum(f, 7002);
	assert_int_equal(c.send_errors[SONDE_UDP_ENETUNREACH], 1);
	c = client_sum(f, 7003);
	assert_int_equal(c.send_errors[SONDE_UDP_EPERM], nft);
	assert_int_equal(c.sent_datagrams + c.sent_bytes + c.write_calls, 0);
	(void)close(fd);
	udp_leave_namespace(home);
}

/* Against SO_RXQ_OVFL's own count, and the namespace's UdpRcvbufErrors. */
static void datagrams_without_room_are_the_kernels(void **state)
{
	struct udp_fixture *f = *state;
	bool bytes = udp_fixture_attached(f, "tp_btf/udp_fail_queue_rcv_skb with skb");
	int home = udp_enter_namespace(), small = 1, on = 1, server, client;
	char room[1000], control[64];
	struct iovec iov = {room, sizeof(room)};
	struct sockaddr_storage from;
	struct msghdr m = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_name = &from,
			   .msg_namelen = sizeof(from),
			   .msg_control = control,
			   .msg_controllen = sizeof(control)};
	uint32_t ovfl = 0;
	uint64_t errors;
	struct sonde_udp_cell c;
	uint16_t port;
	size_t got;

	server = udp_bound(AF_INET, &port);
	assert_ok(setsockopt(server, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)));
	assert_ok(setsockopt(server, SOL_SOCKET, SO_RXQ_OVFL, &on, sizeof(on)));
	client = udp_connected(AF_INET, port);
	errors = udp_nstat("Udp", "RcvbufErrors");
	for (int i = 0; i < 200; i++)
		udp_send(client, 1000);
	got = udp_take_what_has_room(server, 200);
	errors = udp_nstat("Udp", "RcvbufErrors") - errors;
	udp_send(client, 1000); /* it carries the count of those before it */
	assert_int_equal(recvmsg(server, &m, 0), 1000);
	got++;
	for (struct cmsghdr *h = CMSG_FIRSTHDR(&m); h; h = CMSG_NXTHDR(&m, h)) {
		if (h->cmsg_type == SO_RXQ_OVFL)
			memcpy(&ovfl, CMSG_DATA(h), sizeof(ovfl));
	}
	udp_fixture_snapshot(f);
	c = udp_fixture_sum(f, 0, UDP_SERVER, port);
	assert_int_equal(c.received_datagrams, got);
	assert_int_equal(got + ovfl, 201);
	assert_int_equal(c.buffer_dropped_datagrams, ovfl);
	assert_int_equal(c.buffer_dropped_datagrams, errors);
	assert_int_equal(c.buffer_dropped_bytes, bytes ? 1000 * ovfl : 0);
	assert_int_equal(client_sum(f, port).sent_datagrams, 201);
	(void)close(client);
	(void)close(server);
	udp_leave_namespace(home);
}

/* One port in each; a cell is of its namespace. */
static void many_namespaces_are_kept_apart(void **state)
{
	enum {
		NAMESPACES = 30
	};
	struct udp_fixture *f = *state;
	struct sockaddr_storage a = udp_address(AF_INET6, 5999);
	uint64_t bytes = 0;

	for (int i = 0; i < NAMESPACES; i++) {
		int home = udp_enter_namespace(), server = udp_socket(AF_INET6), client;

		assert_ok(bind(server, (struct sockaddr *)&a, sizeof(struct sockaddr_in6)));
		client = udp_connected(AF_INET6, 5999);
		for (int n = 0; n <= i; n++) {
			udp_send(client, 10);
			(void)udp_receive(server, 10);
			bytes += 10;
		}
		(void)close(client);
		(void)close(server);
		udp_leave_namespace(home);
	}
	udp_fixture_snapshot(f);
	assert_int_equal(udp_fixture_count(f, 0, UDP_SERVER, 5999), NAMESPACES);
	assert_int_equal(udp_fixture_count(f, 0, UDP_CLIENT, 5999), NAMESPACES);
	assert_int_equal(udp_fixture_sum(f, 0, UDP_SERVER, 5999).received_bytes, bytes);
	assert_int_equal(client_sum(f, 5999).sent_bytes, bytes);
}

/* The group is the client's peer; each member has received it from the sender. */
static void a_group_is_a_peer_like_any_other(void **state)
{
	struct udp_fixture *f = *state;
	struct ip_mreqn group = {.imr_ifindex = 1};
	int home = udp_enter_namespace(), on = 1, client = udp_socket(AF_INET), members[2];
	const struct sonde_probe_udp_cell *c;

	assert_true(fixture_run("ip route add 239.0.0.0/8 dev lo"));
	assert_int_equal(inet_pton(AF_INET, "239.1.2.3", &group.imr_multiaddr), 1);
	for (size_t i = 0; i < 2; i++) {
		struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(5998)};

		members[i] = udp_socket(AF_INET);
		assert_ok(setsockopt(members[i], SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)));
		assert_ok(bind(members[i], (struct sockaddr *)&any, sizeof(any)));
		assert_ok(setsockopt(members[i], IPPROTO_IP, IP_ADD_MEMBERSHIP, &group,
				     sizeof(group)));
	}
	assert_ok(setsockopt(client, IPPROTO_IP, IP_MULTICAST_IF, &group, sizeof(group)));
	assert_ok(send_to_text(client, "239.1.2.3", 5998, 40));
	for (size_t i = 0; i < 2; i++) {
		(void)udp_receive(members[i], 40);
		(void)close(members[i]);
	}
	udp_fixture_snapshot(f);
	c = udp_fixture_cell(f, getpid(), UDP_CLIENT, 5998);
	assert_int_equal(c->key.raddr[12], 239);
	assert_int_equal(c->cell.sent_datagrams, 1);
	assert_int_equal(udp_fixture_sum(f, 0, UDP_SERVER, 5998).received_bytes, 80);
	(void)close(client);
	udp_leave_namespace(home);
}

#define STORM_THREADS 2
#define STORM_SOCKETS 5000

static uint16_t storm_port;

/* A socket for each datagram, as resolvers do; closed at once. */
static void *storm(void *arg)
{
	for (int i = 0; i < STORM_SOCKETS; i++) {
		int fd = i % 2 ? udp_connected(AF_INET, storm_port) : udp_socket(AF_INET);

		udp_send_to(fd, AF_INET, storm_port, 30);
		(void)close(fd);
	}
	return NULL;
}

/* Nothing waits for a socket's end, so nothing is lost by it. */
static void sockets_that_die_at_once_lose_nothing(void **state)
{
	struct udp_fixture *f = *state;
	pthread_t threads[STORM_THREADS];
	struct sonde_udp_cell c;
	uint64_t skipped;
	int server = udp_bound(AF_INET, &storm_port);

	for (size_t i = 0; i < STORM_THREADS; i++)
		assert_ok(pthread_create(&threads[i], NULL, storm, NULL));
	for (int i = 0; i < 100; i++)
		udp_fixture_snapshot(f);
	for (size_t i = 0; i < STORM_THREADS; i++)
		assert_ok(pthread_join(threads[i], NULL));
	udp_fixture_snapshot(f);
	c = client_sum(f, storm_port);
	/* On a kernel that preempts in the middle of a program the next thread's run is skipped, and counted. */
	skipped = udp_fixture_loss(f, SONDE_UDP_LOSS_SKIPPED_RUNS);
	assert_int_equal(c.sent_bytes, c.sent_datagrams * 30);
	assert_in_range(c.sent_datagrams, STORM_THREADS * STORM_SOCKETS - skipped,
			STORM_THREADS * STORM_SOCKETS);
	print_message("%llu of %d, %llu runs skipped\n", (unsigned long long)c.sent_datagrams,
		      STORM_THREADS * STORM_SOCKETS, (unsigned long long)skipped);
	/* What the server did not read is in its buffer, or was counted when there was no room. */
	(void)close(server);
	for (int site = 0; site < SONDE_UDP_LOSS_MAX; site++) {
		if (site != SONDE_UDP_LOSS_PEER_UNKNOWN && site != SONDE_UDP_LOSS_SKIPPED_RUNS)
			assert_int_equal(udp_fixture_loss(f, site), 0);
	}
}

static void what_the_table_refuses_is_in_other(void **state)
{
	enum {
		PORTS = 60
	};
	struct udp_fixture f;
	uint64_t other = 0;
	int client = udp_socket(AF_INET);

	assert_ok(udp_fixture_open(&f, &(struct udp_fixture_options){.max_cells = 16}));
	udp_fixture_target(&f, getpid(), 1);
	for (unsigned int i = 0; i < PORTS; i++)
		udp_send_to(client, AF_INET, (uint16_t)(40000 + i), 100);
	udp_fixture_snapshot(&f);
	assert_int_equal(udp_fixture_sum(&f, 0, UDP_CLIENT, 0).sent_bytes, PORTS * 100);
	for (size_t i = 0; i < UDP_CELLS_MAX; i++) {
		if (f.cells[i].key.flags & SONDE_TCP_CELL_OTHER)
			other += f.cells[i].cell.sent_datagrams;
	}
	assert_int_equal(other, PORTS - 16);
	assert_int_equal(udp_fixture_loss(&f, SONDE_UDP_LOSS_CELL_FULL), PORTS - 16);
	assert_int_equal(udp_fixture_loss(&f, SONDE_UDP_LOSS_OTHER_FULL), 0);
	udp_fixture_close(&f);
	(void)close(client);
}

/* Without cgroup v2 the other end of an unconnected call is known by fexit, or not at all; the sums stay. */
static void without_a_cgroup_the_sums_stay(void **state)
{
	struct udp_fixture f;
	struct sonde_udp_cell c;
	bool named;
	uint16_t port;
	int client = udp_socket(AF_INET), server = udp_bound(AF_INET, &port);

	assert_ok(udp_fixture_open(&f, &(struct udp_fixture_options){.without_cgroup = true}));
	named = udp_fixture_attached(&f, "fexit/udp_sendmsg, udpv6_sendmsg");
	udp_fixture_target(&f, getpid(), 1);
	for (int i = 0; i < 5; i++)
		udp_send_to(client, AF_INET, port, 100);
	udp_fixture_snapshot(&f);
	c = udp_fixture_sum(&f, getpid(), UDP_CLIENT, named ? port : 0);
	assert_int_equal(c.sent_bytes, 500);
	assert_int_equal(c.sent_datagrams, 5);
	assert_int_equal(udp_fixture_loss(&f, SONDE_UDP_LOSS_PEER_UNKNOWN), named ? 0 : 5);
	udp_fixture_close(&f);
	(void)close(client);
	(void)close(server);
}

/* The kernel's own counters of a namespace in which nobody else speaks. */
static void the_sums_are_the_namespaces(void **state)
{
	struct udp_fixture *f = *state;
	int home = udp_enter_namespace(), fds[8];
	uint64_t in, out, before_in = 0, before_out = 0, ours_in = 0, ours_out = 0;
	uint16_t ports[4];

	udp_fixture_snapshot(f);
	for (size_t i = 0; i < UDP_CELLS_MAX; i++) {
		before_in += f->cells[i].cell.received_datagrams;
		before_out += f->cells[i].cell.sent_datagrams;
	}
	for (size_t i = 0; i < 4; i++) {
		fds[i] = udp_bound(AF_INET, &ports[i]);
		fds[4 + i] = i % 2 ? udp_connected(AF_INET, ports[i]) : udp_socket(AF_INET);
	}
	for (size_t i = 0; i < 400; i++) {
		udp_send_to(fds[4 + i % 4], AF_INET, ports[i % 4], i);
		(void)udp_receive(fds[i % 4], i);
	}
	for (size_t i = 0; i < 8; i++)
		(void)close(fds[i]);
	in = udp_nstat("Udp", "InDatagrams");
	out = udp_nstat("Udp", "OutDatagrams");
	udp_fixture_snapshot(f);
	for (size_t i = 0; i < UDP_CELLS_MAX; i++) {
		ours_in += f->cells[i].cell.received_datagrams;
		ours_out += f->cells[i].cell.sent_datagrams;
	}
	assert_int_equal(ours_in - before_in, in);
	assert_int_equal(ours_out - before_out, out);
	assert_int_equal(in, 400);
	udp_leave_namespace(home);
}

/* Traffic, a refused datagram, a full buffer: the socket's own count of the last, and the test's of the rest. */
static void assert_selected(struct udp_fixture *f, uint32_t signals)
{
	const bool drop = sonde_signals_have(signals, SONDE_SIGNAL_DROP);
	uint16_t port, closed, full;
	int server = udp_bound(AF_INET, &port), gone = udp_bound(AF_INET, &closed), small = 1;
	int client = udp_connected(AF_INET, port), refused = udp_connected(AF_INET, closed), filler;
	struct sonde_udp_cell c, s;
	size_t got;

	(void)close(gone);
	for (size_t i = 0; i < 5; i++) {
		udp_send(client, 100);
		udp_send_to(server, AF_INET, udp_receive(server, 100), 10);
		(void)udp_receive(client, 10);
	}
	udp_send(refused, 5);
	udp_wait_refused(refused);
	assert_int_equal(send(refused, "12345", 5, 0), -1);
	assert_int_equal(errno, ECONNREFUSED);
	gone = udp_bound(AF_INET, &full);
	assert_ok(setsockopt(gone, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)));
	filler = udp_connected(AF_INET, full);
	for (size_t i = 0; i < 50; i++)
		udp_send(filler, 1000);
	got = udp_take_what_has_room(gone, 50);
	udp_fixture_snapshot(f);
	c = client_sum(f, port);
	s = udp_fixture_sum(f, getpid(), UDP_SERVER, port);
	assert_int_equal(c.sent_datagrams, 5);
	assert_int_equal(c.sent_bytes, 500);
	assert_int_equal(c.received_bytes, 50);
	assert_int_equal(c.write_calls, 5);
	assert_int_equal(c.read_calls, 5);
	assert_int_equal(s.received_datagrams, 5);
	assert_int_equal(s.sent_bytes, 50);
	c = client_sum(f, closed);
	assert_int_equal(c.send_errors[SONDE_UDP_ECONNREFUSED], 1);
	assert_int_equal(client_sum(f, full).sent_datagrams, 50);
	s = udp_fixture_sum(f, getpid(), UDP_SERVER, full);
	if (!drop || udp_fixture_attached(f, "cgroup/post_bind4, post_bind6"))
		assert_int_equal(s.buffer_dropped_datagrams, drop ? 50 - got : 0);
	assert_int_equal(s.received_datagrams, got);
	(void)close(server);
	(void)close(client);
	(void)close(refused);
	(void)close(gone);
	(void)close(filler);
}

static void what_is_left_out_changes_nothing_else(void **state)
{
	static const uint32_t masks[] = {
		0,
		SONDE_SIGNAL_BIT(SONDE_SIGNAL_BYTES),
		SONDE_SIGNAL_BIT(SONDE_SIGNAL_DROP),
		SONDE_SIGNAL_BIT(SONDE_SIGNAL_CALLS) | SONDE_SIGNAL_BIT(SONDE_SIGNAL_ERROR),
	};

	for (size_t i = 0; i < ELEMENTS_OF(masks); i++) {
		struct udp_fixture f;

		assert_ok(udp_fixture_open(&f, &(struct udp_fixture_options){.signals = masks[i]}));
		udp_fixture_target(&f, getpid(), 1);
		assert_selected(&f, masks[i]);
		udp_fixture_close(&f);
	}
}

static int run(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_refused_datagram_fails_the_next_call),
		cmocka_unit_test(each_error_has_its_name_and_its_peer),
		cmocka_unit_test(datagrams_without_room_are_the_kernels),
		cmocka_unit_test(many_namespaces_are_kept_apart),
		cmocka_unit_test(a_group_is_a_peer_like_any_other),
		cmocka_unit_test(sockets_that_die_at_once_lose_nothing),
		cmocka_unit_test(what_the_table_refuses_is_in_other),
		cmocka_unit_test(without_a_cgroup_the_sums_stay),
		cmocka_unit_test(the_sums_are_the_namespaces),
		cmocka_unit_test(what_is_left_out_changes_nothing_else),
	};

	return udp_fixture_main(tests);
}

int main(int argc, char **argv)
{
	return unseen_main(argv, run);
}
