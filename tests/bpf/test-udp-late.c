/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clients that a server read from before they were known, as when its read ends before their send returns: it is one
 * edge in one row. Here the client is known late for sure: it becomes a target behind its first datagram.
 */
#include "udp-fixture.h"

#include <arpa/inet.h>
#include <netinet/udp.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "bpf/udp/udp_private.h"

#define TRIES_MAX 20

/* Another process, forked before the collector is there, so that it is no target's child. */
static struct {
	pid_t pid;
	int fd; /* orders go, answers come */
} other = {.fd = -1};

struct order {
	enum {
		OPEN,	 /* a socket connected to the port @n; answers its own port */
		SEND,	 /* @n bytes */
		RECEIVE, /* @n bytes */
		CLOSE,
	} what;
	uint16_t n;
};

static uint16_t obey(const struct order *o, int *fd)
{
	switch (o->what) {
	case OPEN:
		*fd = udp_connected(AF_INET, o->n);
		return udp_port_of(*fd);
	case SEND:
		udp_send(*fd, o->n);
		return 0;
	case RECEIVE:
		return udp_receive(*fd, o->n);
	case CLOSE:
		(void)close(*fd);
		return 0;
	}
	return 0;
}

static void serve_orders(int orders)
{
	struct order o;
	uint16_t answer;
	int fd = -1;

	while (read(orders, &o, sizeof(o)) == sizeof(o)) {
		answer = obey(&o, &fd);
		if (write(orders, &answer, sizeof(answer)) != sizeof(answer))
			break;
	}
	_exit(0);
}

static int start_other(void)
{
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return -1;
	other.pid = fork();
	if (other.pid < 0)
		return -1;
	if (other.pid == 0) {
		(void)close(ends[0]);
		serve_orders(ends[1]);
	}
	(void)close(ends[1]);
	other.fd = ends[0];
	return 0;
}

static uint16_t let_other(int what, uint16_t n)
{
	struct order o = {.what = what, .n = n};
	uint16_t answer = 0;

	assert_int_equal(write(other.fd, &o, sizeof(o)), sizeof(o));
	assert_int_equal(read(other.fd, &answer, sizeof(answer)), sizeof(answer));
	return answer;
}

static void know_other(struct udp_fixture *f)
{
	udp_fixture_target(f, other.pid, 1);
}

static void forget_other(struct udp_fixture *f)
{
	assert_ok(sonde_collector_udp.target_remove(f->state, (uint32_t)other.pid, 1));
}

/*
 * The other's socket speaks to the server, is answered, becomes known and speaks again. True: in time. A machine that
 * stood still in between has shown nothing, and the next try begins with another server.
 */
static bool speaks_and_is_known(struct udp_fixture *f, int server, uint16_t *ret_from)
{
	uint64_t since;
	uint16_t port = udp_port_of(server), from = let_other(OPEN, port);

	let_other(SEND, 100);
	since = sonde_mono_ns();
	assert_int_equal(udp_receive(server, 100), from);
	udp_send_to(server, AF_INET, from, 10);
	assert_int_equal(let_other(RECEIVE, 10), port);
	know_other(f);
	let_other(SEND, 50);
	*ret_from = from;
	if (sonde_mono_ns() - since >= SONDE_UDP_LATE_NS)
		return false;
	assert_int_equal(udp_receive(server, 50), from);
	return true;
}

/* What the server's cells of that port have: of @peer_pid, where 0 is the address. */
static struct sonde_udp_cell sum_of(const struct udp_fixture *f, uint16_t port, pid_t peer_pid)
{
	struct sonde_udp_cell sum = {0};

	for (size_t i = 0; i < UDP_CELLS_MAX; i++) {
		const struct sonde_probe_udp_cell *c = &f->cells[i];

		if (c->key.role != UDP_SERVER || c->key.port != port ||
		    c->key.peer_pid != (uint32_t)peer_pid)
			continue;
		sum.received_datagrams += c->cell.received_datagrams;
		sum.received_bytes += c->cell.received_bytes;
		sum.sent_datagrams += c->cell.sent_datagrams;
		sum.sent_bytes += c->cell.sent_bytes;
	}
	return sum;
}

static void assert_row(const struct udp_fixture *f, uint16_t port, pid_t peer_pid, uint64_t in,
		       uint64_t received, uint64_t out, uint64_t sent)
{
	struct sonde_udp_cell sum = sum_of(f, port, peer_pid);

	assert_int_equal(sum.received_datagrams, in);
	assert_int_equal(sum.received_bytes, received);
	assert_int_equal(sum.sent_datagrams, out);
	assert_int_equal(sum.sent_bytes, sent);
}

/* A server with which @sockets of the other spoke before they were known, each in time; -1: not this time. */
static int known_late(struct udp_fixture *f, int sockets, uint16_t *ret_port, uint16_t *ret_from)
{
	int server = udp_bound(AF_INET, ret_port);
	bool in_time = true;

	for (int i = 0; in_time && i < sockets; i++) {
		in_time = speaks_and_is_known(f, server, ret_from);
		forget_other(f);
		if (i + 1 < sockets)
			let_other(CLOSE, 0);
	}
	if (in_time)
		return server;
	let_other(CLOSE, 0);
	(void)close(server);
	return -1;
}

static int in_time(struct udp_fixture *f, int sockets, uint16_t *ret_port, uint16_t *ret_from)
{
	for (int i = 0; i < TRIES_MAX; i++) {
		int server = known_late(f, sockets, ret_port, ret_from);

		if (server >= 0)
			return server;
	}
	fail_msg("%d times the other was not known within a second", TRIES_MAX);
	return -1;
}

static size_t flows_of_other(const struct udp_fixture *f, uint16_t port, uint16_t from,
			     uint64_t received)
{
	size_t n = 0;

	for (size_t i = 0; i < f->n_flows; i++) {
		const struct sonde_flow *flow = &f->flows[i];

		n += flow->role == UDP_SERVER && flow->lport == port && flow->rport == from &&
		     flow->received_bytes == received && flow->peer_pid == (uint32_t)other.pid;
	}
	return n;
}

static void what_was_read_before_is_the_clients(void **state)
{
	struct udp_fixture *f = *state;
	uint16_t port, from;
	int server = in_time(f, 1, &port, &from);

	udp_fixture_snapshot(f);
	assert_row(f, port, other.pid, 2, 150, 1, 10);
	assert_row(f, port, 0, 0, 0, 0, 0);
	assert_int_equal(flows_of_other(f, port, from, 150), 1);
	let_other(CLOSE, 0);
	(void)close(server);
}

/* A resolver takes a socket for each question. */
static void so_it_is_with_each_of_its_sockets(void **state)
{
	struct udp_fixture *f = *state;
	uint16_t port, from;
	int server = in_time(f, 5, &port, &from);

	udp_fixture_snapshot(f);
	assert_row(f, port, other.pid, 10, 750, 5, 50);
	assert_row(f, port, 0, 0, 0, 0, 0);
	let_other(CLOSE, 0);
	(void)close(server);
}

/* Nothing of it is the client's, and what was told of the client stays told. */
static void a_strangers_datagram_is_the_addresses(void **state)
{
	struct udp_fixture *f = *state;
	struct sonde_udp_cell of_address, of_other;
	uint16_t port, from;
	int server = in_time(f, 2, &port, &from), raw;
	struct sockaddr_storage to = udp_address(AF_INET, port);
	struct udphdr datagram = {.dest = htons(port), .len = htons(sizeof(datagram))};

	udp_fixture_snapshot(f);
	assert_row(f, port, other.pid, 4, 300, 2, 20);
	let_other(CLOSE, 0);
	/* From port 0, and from one that nobody enters. */
	raw = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_UDP);
	assert_true(raw >= 0);
	assert_int_equal(sendto(raw, &datagram, sizeof(datagram), 0, (struct sockaddr *)&to,
				sizeof(struct sockaddr_in)),
			 sizeof(datagram));
	(void)close(raw);
	assert_int_equal(udp_receive(server, 0), 0);
	let_other(OPEN, port);
	let_other(SEND, 30);
	(void)udp_receive(server, 30);
	udp_fixture_snapshot(f);
	of_other = sum_of(f, port, other.pid);
	of_address = sum_of(f, port, 0);
	assert_int_equal(of_other.received_bytes + of_address.received_bytes, 330);
	/* The second sends of both sockets came when they were known. */
	assert_int_equal(of_other.received_bytes, 100);
	assert_int_equal(of_address.received_datagrams, 4);

	/* It is mixed, and stays so. */
	let_other(CLOSE, 0);
	from = let_other(OPEN, port);
	let_other(SEND, 7);
	assert_int_equal(udp_receive(server, 7), from);
	know_other(f);
	let_other(SEND, 1);
	(void)udp_receive(server, 1);
	forget_other(f);
	udp_fixture_snapshot(f);
	assert_int_equal(sum_of(f, port, other.pid).received_bytes, 101);
	assert_int_equal(sum_of(f, port, 0).received_bytes, 237);
	let_other(CLOSE, 0);
	(void)close(server);
}

/* A snapshot in between has told it as the address's: what it told stands, and the same cell goes on as the client's. */
static void a_cell_that_was_told_goes_on(void **state)
{
	struct udp_fixture *f = *state;
	const struct sonde_probe_udp_cell *c = NULL;
	uint64_t since = 0, took_ns = SONDE_UDP_LATE_NS;
	uint16_t port = 0;
	int server = -1;

	for (int i = 0; took_ns >= SONDE_UDP_LATE_NS; i++) {
		assert_true(i < TRIES_MAX);
		if (server >= 0) {
			let_other(CLOSE, 0);
			(void)close(server);
		}
		server = udp_bound(AF_INET, &port);
		let_other(OPEN, port);
		let_other(SEND, 100);
		since = sonde_mono_ns();
		(void)udp_receive(server, 100);
		udp_fixture_snapshot(f);
		c = udp_fixture_cell(f, getpid(), UDP_SERVER, port);
		assert_int_equal(c->key.peer_pid, 0);
		assert_int_equal(c->cell.received_bytes, 100);
		know_other(f);
		let_other(SEND, 50);
		took_ns = sonde_mono_ns() - since;
		(void)udp_receive(server, 50);
		forget_other(f);
	}
	udp_fixture_snapshot(f);
	assert_int_equal(c->key.peer_pid, other.pid); /* told for its name alone */
	assert_int_equal(c->cell.received_bytes, 100);
	assert_row(f, port, other.pid, 2, 150, 0, 0);
	let_other(CLOSE, 0);
	(void)close(server);
}

/* Its port may have had another owner by then. */
static void who_comes_much_later_is_another(void **state)
{
	struct udp_fixture *f = *state;
	uint16_t port;
	int server = udp_bound(AF_INET, &port);

	let_other(OPEN, port);
	let_other(SEND, 100);
	(void)udp_receive(server, 100);
	(void)usleep(SONDE_UDP_LATE_NS / 1000 + 100000);
	know_other(f);
	let_other(SEND, 50);
	(void)udp_receive(server, 50);
	forget_other(f);
	udp_fixture_snapshot(f);
	assert_row(f, port, 0, 1, 100, 0, 0);
	assert_row(f, port, other.pid, 1, 50, 0, 0);
	let_other(CLOSE, 0);
	(void)close(server);
}

/* A client from before the task, of which its server is the next to speak. */
static void a_seeded_client_is_known_before_it_speaks(void **state)
{
	struct udp_fixture *f = *state;
	uint16_t port, from;
	int server = udp_bound(AF_INET, &port), first = udp_connected(AF_INET, port);

	udp_send(first, 1); /* who receives first serves */
	(void)udp_receive(server, 1);
	(void)close(first);
	from = let_other(OPEN, port);
	know_other(f);
	udp_fixture_seed(f);
	for (int i = 0; i < 3; i++) {
		udp_send_to(server, AF_INET, from, 20);
		let_other(RECEIVE, 20);
	}
	let_other(SEND, 5);
	(void)udp_receive(server, 5);
	forget_other(f);
	udp_fixture_snapshot(f);
	assert_row(f, port, other.pid, 1, 5, 3, 60);
	assert_row(f, port, 0, 0, 0, 0, 0);
	let_other(CLOSE, 0);
	(void)close(server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_read_before_is_the_clients),
		cmocka_unit_test(so_it_is_with_each_of_its_sockets),
		cmocka_unit_test(a_strangers_datagram_is_the_addresses),
		cmocka_unit_test(a_cell_that_was_told_goes_on),
		cmocka_unit_test(who_comes_much_later_is_another),
		cmocka_unit_test(a_seeded_client_is_known_before_it_speaks),
	};
	int r;

	if (start_other() < 0)
		return 1;
	r = udp_fixture_main(tests);
	(void)close(other.fd);
	(void)waitpid(other.pid, NULL, 0);
	return r;
}
