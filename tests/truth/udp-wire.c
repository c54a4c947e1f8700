/* SPDX-License-Identifier: Apache-2.0 */
/* UDP over the wire between the two namespaces, in which nobody else speaks it: our own counts, and the kernel's. */
#include "scenes.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bpf/udp-fixture.h"

static const char *const own = "own count";

struct counts {
	uint64_t out, in, out6, in6, errors, errors6;
};

static struct counts counts_of(enum veth_side side)
{
	struct counts c;

	veth_enter(&truth_veth, side);
	c = (struct counts){
		.out = udp_nstat("Udp", "OutDatagrams"),
		.in = udp_nstat("Udp", "InDatagrams"),
		.out6 = udp_nstat("Udp6", "OutDatagrams"),
		.in6 = udp_nstat("Udp6", "InDatagrams"),
		.errors = udp_nstat("Udp", "RcvbufErrors"),
		.errors6 = udp_nstat("Udp6", "RcvbufErrors"),
	};
	veth_enter(&truth_veth, VETH_CLIENT);
	return c;
}

static uint64_t sum_out(const struct counts *c)
{
	return c->out + c->out6;
}

static uint64_t sum_in(const struct counts *c)
{
	return c->in + c->in6;
}

static struct sockaddr_storage server_address(int family, uint16_t port)
{
	struct sockaddr_storage a = udp_address(family, port);

	if (family == AF_INET)
		assert_int_equal(
			inet_pton(AF_INET, VETH_SERVER_V4, &((struct sockaddr_in *)&a)->sin_addr),
			1);
	else
		assert_int_equal(inet_pton(AF_INET6, VETH_SERVER_V6,
					   &((struct sockaddr_in6 *)&a)->sin6_addr),
				 1);
	return a;
}

/* Bound to any address there. */
static int serve(int family, uint16_t *ret_port)
{
	struct sockaddr_storage any = {.ss_family = (sa_family_t)family};
	int fd;

	veth_enter(&truth_veth, VETH_SERVER);
	fd = udp_socket(family);
	assert_ok(bind(fd, (struct sockaddr *)&any, udp_address_size(family)));
	*ret_port = udp_port_of(fd);
	veth_enter(&truth_veth, VETH_CLIENT);
	return fd;
}

static const char payload[2000];

/* Sends @n datagrams of 100, 101, … bytes and answers each with 10; returns the bytes that went to the server. */
static uint64_t exchange(int client, int server, const struct sockaddr_storage *to, int n)
{
	uint64_t bytes = 0;

	for (int i = 0; i < n; i++) {
		struct sockaddr_storage from;
		socklen_t size = sizeof(from), to_size = udp_address_size(to->ss_family);
		size_t len = 100 + (size_t)i;
		char room[2000];

		assert_int_equal(
			sendto(client, payload, len, 0, (const struct sockaddr *)to, to_size), len);
		assert_int_equal(
			recvfrom(server, room, sizeof(room), 0, (struct sockaddr *)&from, &size),
			len);
		assert_int_equal(sendto(server, payload, 10, 0, (struct sockaddr *)&from, size),
				 10);
		size = sizeof(from);
		assert_int_equal(
			recvfrom(client, room, sizeof(room), 0, (struct sockaddr *)&from, &size),
			10);
		bytes += len;
	}
	return bytes;
}

static void compare(struct udp_fixture *u, uint16_t port, uint64_t n, uint64_t bytes)
{
	struct sonde_udp_cell c;

	udp_fixture_snapshot(u);
	c = udp_fixture_sum(u, 0, UDP_CLIENT, port);
	truth_exact("UDP client sent datagrams", n, own, c.sent_datagrams);
	truth_exact("UDP client sent bytes", bytes, own, c.sent_bytes);
	truth_exact("UDP client received datagrams", n, own, c.received_datagrams);
	truth_exact("UDP client received bytes", 10 * n, own, c.received_bytes);
	truth_exact("UDP client write calls", n, own, c.write_calls);
	c = udp_fixture_sum(u, 0, UDP_SERVER, port);
	truth_exact("UDP server received datagrams", n, own, c.received_datagrams);
	truth_exact("UDP server received bytes", bytes, own, c.received_bytes);
	truth_exact("UDP server sent datagrams", n, own, c.sent_datagrams);
	truth_exact("UDP server sent bytes", 10 * n, own, c.sent_bytes);
}

static void both_ways(struct udp_fixture *u, int family, bool connected)
{
	struct sockaddr_storage to;
	uint16_t port;
	uint64_t bytes;
	int server = serve(family, &port), client = udp_socket(family);

	to = server_address(family, port);
	if (connected)
		assert_ok(connect(client, (struct sockaddr *)&to, udp_address_size(family)));
	truth_case("IPv%d, %s", family == AF_INET ? 4 : 6, connected ? "connected" : "unconnected");
	bytes = exchange(client, server, &to, 50);
	compare(u, port, 50, bytes);
	(void)close(client);
	(void)close(server);
}

/* More than fits, of which nobody reads before the end. */
static void without_room(struct udp_fixture *u)
{
	const struct counts before = counts_of(VETH_SERVER);
	struct counts after;
	struct sockaddr_storage to;
	struct sonde_udp_cell c;
	int small = 1, server, client = udp_socket(AF_INET);
	uint64_t got = 0;
	uint16_t port;

	server = serve(AF_INET, &port);
	assert_ok(setsockopt(server, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)));
	to = server_address(AF_INET, port);
	for (int i = 0; i < 100; i++)
		assert_int_equal(sendto(client, payload, 1000, 0, (struct sockaddr *)&to,
					sizeof(struct sockaddr_in)),
				 1000);
	got = udp_take_what_has_room(server, 100);
	after = counts_of(VETH_SERVER);
	udp_fixture_snapshot(u);
	c = udp_fixture_sum(u, 0, UDP_SERVER, port);
	truth_case("full receive buffer");
	truth_exact("UDP datagrams without room", after.errors - before.errors, "UdpRcvbufErrors",
		    c.buffer_dropped_datagrams);
	truth_exact("UDP datagrams without room", 100 - got, own, c.buffer_dropped_datagrams);
	if (udp_fixture_attached(u, "tp_btf/udp_fail_queue_rcv_skb with skb"))
		truth_exact("UDP bytes without room", 1000 * (100 - got), own,
			    c.buffer_dropped_bytes);
	truth_exact("UDP server received datagrams", got, own, c.received_datagrams);
	(void)close(client);
	(void)close(server);
}

/* Nobody is there: the answer fails the next call. */
static void refused(struct udp_fixture *u)
{
	struct sockaddr_storage to;
	struct sonde_udp_cell c;
	uint64_t failed = 0, sent = 0;
	uint16_t port;
	int server = serve(AF_INET, &port), client = udp_socket(AF_INET);

	(void)close(server);
	to = server_address(AF_INET, port);
	assert_ok(connect(client, (struct sockaddr *)&to, sizeof(struct sockaddr_in)));
	for (int i = 0; i < 20; i++) {
		if (send(client, payload, 10, 0) < 0 && errno == ECONNREFUSED)
			failed++;
		else
			sent++;
		fixture_wait_ms(1);
	}
	udp_fixture_snapshot(u);
	c = udp_fixture_sum(u, 0, UDP_CLIENT, port);
	truth_case("refused");
	truth_exact("UDP send errors ECONNREFUSED", failed, own,
		    c.send_errors[SONDE_UDP_ECONNREFUSED]);
	truth_exact("UDP client sent datagrams", sent, own, c.sent_datagrams);
	(void)close(client);
}

static void segmented(struct udp_fixture *u)
{
	const struct counts before = counts_of(VETH_CLIENT);
	struct counts after;
	struct sockaddr_storage to;
	struct sonde_udp_cell c;
	int size = 100, server, client = udp_socket(AF_INET);
	uint16_t port;
	char room[2000];

	server = serve(AF_INET, &port);
	to = server_address(AF_INET, port);
	assert_ok(connect(client, (struct sockaddr *)&to, sizeof(struct sockaddr_in)));
	assert_ok(setsockopt(client, IPPROTO_UDP, UDP_SEGMENT, &size, sizeof(size)));
	assert_int_equal(send(client, payload, 1000, 0), 1000);
	for (int i = 0; i < 10; i++)
		assert_int_equal(recv(server, room, sizeof(room), 0), 100);
	after = counts_of(VETH_CLIENT);
	udp_fixture_snapshot(u);
	truth_case("UDP_SEGMENT");
	c = udp_fixture_sum(u, 0, UDP_CLIENT, port);
	truth_exact("UDP client sent datagrams", after.out - before.out, "UdpOutDatagrams",
		    c.sent_datagrams);
	truth_exact("UDP client sent bytes", 1000, own, c.sent_bytes);
	c = udp_fixture_sum(u, 0, UDP_SERVER, port);
	truth_exact("UDP server received datagrams", 10, own, c.received_datagrams);
	(void)close(client);
	(void)close(server);
}

static uint64_t sum_of(const struct udp_fixture *u, size_t offset)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < UDP_CELLS_MAX; i++) {
		uint64_t n;

		memcpy(&n, (const char *)&u->cells[i].cell + offset, sizeof(n));
		sum += n;
	}
	return sum;
}

/* All of the above together, in both namespaces. */
static void compare_totals(struct udp_fixture *u, const struct counts *before)
{
	const struct counts sides[] = {counts_of(VETH_CLIENT), counts_of(VETH_SERVER)};
	uint64_t out = 0, in = 0, errors = 0;

	for (size_t i = 0; i < VETH_SIDES; i++) {
		out += sum_out(&sides[i]) - sum_out(&before[i]);
		in += sum_in(&sides[i]) - sum_in(&before[i]);
		errors += sides[i].errors + sides[i].errors6 - before[i].errors - before[i].errors6;
	}
	truth_case("all of it");
	truth_exact("UDP sent datagrams", out, "Udp[6]OutDatagrams",
		    sum_of(u, offsetof(struct sonde_udp_cell, sent_datagrams)));
	truth_exact("UDP received datagrams", in, "Udp[6]InDatagrams",
		    sum_of(u, offsetof(struct sonde_udp_cell, received_datagrams)));
	truth_exact("UDP datagrams without room", errors, "Udp[6]RcvbufErrors",
		    sum_of(u, offsetof(struct sonde_udp_cell, buffer_dropped_datagrams)));
}

TRUTH_SCENE(udp_wire)
{
	const struct counts before[] = {counts_of(VETH_CLIENT), counts_of(VETH_SERVER)};
	struct udp_fixture u;
	int r = udp_fixture_open(&u, &(struct udp_fixture_options){0});

	(void)f; /* the TCP collector runs beside it */
	if (r < 0) {
		truth_not_run("UDP", "the collector is refused here: %s", strerror(-r));
		return;
	}
	udp_fixture_target(&u, getpid(), 1);
	both_ways(&u, AF_INET, false);
	both_ways(&u, AF_INET, true);
	both_ways(&u, AF_INET6, false);
	both_ways(&u, AF_INET6, true);
	without_room(&u);
	refused(&u);
	segmented(&u);
	compare_totals(&u, before);
	udp_fixture_close(&u);
}
