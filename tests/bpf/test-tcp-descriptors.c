/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors that come, are shared and go in other ways than connect(2), accept(2) and close(2). */
#include "fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "uring.h"

#define CLIENT SONDE_TCP_ROLE_CLIENT
#define SERVER SONDE_TCP_ROLE_SERVER
#define CONNECTIONS "connections, handshakes, closes, connect failures"

static uint64_t all_closes(const struct sonde_tcp_cell *c)
{
	uint64_t n = 0;

	for (size_t i = 0; i < SONDE_TCP_CLOSE_MAX; i++)
		n += c->closed[i];
	return n;
}

static void assert_moved(const struct fixture *f, enum sonde_tcp_role role, uint16_t port,
			 uint64_t sent, uint64_t received)
{
	struct sonde_tcp_cell c = fixture_sum(f, getpid(), role, port);

	assert_int_equal(c.sent_bytes, sent);
	assert_int_equal(c.received_bytes, received);
}

/* Found by its first call: as one that a seed finds, but with that call's bytes. */
static void assert_found(const struct fixture *f, enum sonde_tcp_role role, uint16_t port)
{
	struct sonde_tcp_cell c = fixture_sum(f, getpid(), role, port);

	assert_int_equal(c.seeded, 1);
	assert_int_equal(c.opened + c.accepted, 0);
	assert_int_equal(c.open, 1);
}

static void pass(int by, int fd)
{
	char byte = 0, control[CMSG_SPACE(sizeof(int))] = {0};
	struct iovec iov = {.iov_base = &byte, .iov_len = 1};
	struct msghdr m = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = control,
			   .msg_controllen = sizeof(control)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	assert_int_equal(sendmsg(by, &m, 0), 1);
}

static int take(int by)
{
	char byte, control[CMSG_SPACE(sizeof(int))] = {0};
	struct iovec iov = {.iov_base = &byte, .iov_len = 1};
	struct msghdr m = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = control,
			   .msg_controllen = sizeof(control)};
	int fd;

	assert_int_equal(recvmsg(by, &m, MSG_CMSG_CLOEXEC), 1);
	assert_non_null(CMSG_FIRSTHDR(&m));
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(fd));
	return fd;
}

static void begin(struct fixture *f, uint64_t seeded)
{
	assert_ok(fixture_open(f, &(struct fixture_options){0}));
	fixture_target(f, getpid(), 1);
	fixture_seed(f);
	assert_int_equal(f->timing.seeded_sockets, seeded);
}

/* In no descriptor table while the targets are seeded. */
static void a_descriptor_in_flight_is_found_by_its_first_call(void **state)
{
	struct fixture_pair p = fixture_pair(AF_INET);
	struct sonde_tcp_cell c;
	struct fixture f;
	int by[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, by), 0);
	fixture_send(p.client, 40);
	fixture_recv(p.server, 40); /* before the task */
	pass(by[0], p.client);
	pass(by[0], p.server);
	fixture_close_fd(&p.client);
	fixture_close_fd(&p.server);
	begin(&f, 0);
	p.client = take(by[1]);
	p.server = take(by[1]);

	fixture_send(p.client, 100);
	fixture_recv(p.server, 100);
	fixture_send(p.server, 7);
	fixture_recv(p.client, 7);
	fixture_snapshot(&f);
	assert_found(&f, CLIENT, p.port);
	assert_found(&f, SERVER, p.port); /* its listener was met by the seed */
	assert_moved(&f, CLIENT, p.port, 100, 7);
	assert_moved(&f, SERVER, p.port, 7, 100);
	c = fixture_sum(&f, getpid(), SERVER, p.port);
	assert_int_equal(c.write_calls, 1);
	assert_int_equal(c.read_calls, 1);
	fixture_pair_done(&p);
	fixture_wait_closed(&f, CLIENT, p.port, 1);
	c = fixture_sum(&f, getpid(), CLIENT, p.port);
	assert_int_equal(all_closes(&c), 1);
	assert_int_equal(c.open, 0);
	(void)close(by[0]);
	(void)close(by[1]);
	fixture_close(&f);
}

/* What only looks moves nothing: neither a peek nor a call that finds nothing is a byte of the task's. */
static void a_first_call_that_moves_nothing_is_the_base_line(void **state)
{
	struct fixture_pair p = fixture_pair(AF_INET);
	struct fixture f;
	char byte;
	int by[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, by), 0);
	pass(by[0], p.client);
	pass(by[0], p.server);
	fixture_close_fd(&p.client);
	fixture_close_fd(&p.server);
	begin(&f, 0);
	p.client = take(by[1]);
	p.server = take(by[1]);
	assert_int_equal(recv(p.client, &byte, 1, MSG_DONTWAIT), -1);
	fixture_send(p.client, 10);
	assert_int_equal(recv(p.server, &byte, 1, MSG_PEEK), 1);
	fixture_recv(p.server, 10);
	fixture_snapshot(&f);
	assert_moved(&f, CLIENT, p.port, 10, 0);
	assert_moved(&f, SERVER, p.port, 0, 10);
	assert_int_equal(fixture_sum(&f, 0, SERVER, p.port).read_calls, 1);
	fixture_pair_done(&p);
	(void)close(by[0]);
	(void)close(by[1]);
	fixture_close(&f);
}

/* A process that is no target makes the connection and hands one end of it to one that is. */
static void a_descriptor_from_a_stranger_is_its_receivers(void **state)
{
	struct fixture f;
	int by[2], fd;
	uint16_t port;
	pid_t stranger;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, by), 0);
	stranger = fork();
	if (stranger == 0) {
		struct fixture_pair p;
		char byte;

		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void)read(by[1], &byte, 1); /* the collector runs */
		p = fixture_pair(AF_INET);
		fixture_send(p.client, 33);
		(void)write(by[1], &p.port, sizeof(p.port));
		pass(by[1], p.client);
		_exit(fixture_drain(p.server) != 33 + 5);
	}
	begin(&f, 0);
	assert_int_equal(write(by[0], "", 1), 1);
	assert_int_equal(read(by[0], &port, sizeof(port)), sizeof(port));
	fd = take(by[0]);
	fixture_send(fd, 5);
	fixture_snapshot(&f);
	assert_found(&f, CLIENT, port);
	assert_moved(&f, CLIENT, port, 5, 0);
	for (size_t i = 0; i < f.n_cells; i++)
		assert_int_not_equal(f.cells[i].key.pid, stranger);
	/* The stranger's copy keeps the socket: shut both ways, it ends none the less. */
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	(void)close(fd);
	assert_int_equal(waitpid(stranger, NULL, 0), stranger);
	(void)close(by[0]);
	(void)close(by[1]);
	fixture_close(&f);
}

/* An io_uring's own table of files is no descriptor table either. */
static void a_direct_descriptor_is_found_by_its_first_call(void **state)
{
	struct fixture_pair p = fixture_pair(AF_INET);
	struct fixture f;
	struct uring ring;
	char bytes[64];

	if (uring_open(&ring) < 0)
		skip();
	if (uring_register(&ring, p.client) < 0) {
		uring_close(&ring);
		fixture_pair_done(&p);
		skip();
	}
	fixture_close_fd(&p.client);
	begin(&f, 1); /* the server's end */
	assert_int_equal(uring_move_direct(&ring, true, bytes, 64), 64);
	fixture_recv(p.server, 64);
	fixture_send(p.server, 9);
	assert_int_equal(uring_move_direct(&ring, false, bytes, 9), 9);
	fixture_snapshot(&f);
	assert_found(&f, CLIENT, p.port);
	assert_moved(&f, CLIENT, p.port, 64, 9);
	assert_moved(&f, SERVER, p.port, 9, 64);
	uring_close(&ring);
	fixture_pair_done(&p);
	fixture_close(&f);
}

static void accepts_of_an_io_uring_are_the_listeners(void **state)
{
	static const bool direct[] = {false, true};
	struct fixture *f = *state;

	for (size_t i = 0; i < 2; i++) {
		struct sonde_tcp_cell c;
		struct uring ring;
		char bytes[16];
		uint16_t port;
		int listener, client, server;

		if (uring_open(&ring) < 0 || uring_register(&ring, -1) < 0)
			skip();
		listener = fixture_listen(AF_INET, 4, &port);
		client = fixture_connect(AF_INET, port);
		server = uring_accept(&ring, listener, direct[i]);
		assert_true(server >= 0);
		fixture_send(client, 16);
		if (direct[i])
			assert_int_equal(uring_move_direct(&ring, false, bytes, 16), 16);
		else
			fixture_recv(server, 16);
		fixture_snapshot(f);
		c = fixture_sum(f, getpid(), SERVER, port);
		assert_int_equal(c.accepted, 1);
		assert_int_equal(c.seeded, 0);
		assert_int_equal(c.received_bytes, 16);
		(void)close(client);
		if (!direct[i])
			(void)close(server);
		uring_close(&ring); /* its files are closed by a worker, a moment later */
		(void)close(listener);
	}
}

static void a_duplicate_is_no_connection_and_its_close_no_end(void **state)
{
	struct fixture *f = *state;
	struct fixture_pair p = fixture_pair(AF_INET);
	struct sonde_tcp_cell c;
	int twin = fcntl(p.client, F_DUPFD_CLOEXEC, 0);

	assert_true(twin >= 0);
	fixture_send(p.client, 10);
	fixture_close_fd(&p.client);
	fixture_send(twin, 20);
	fixture_recv(p.server, 30);
	fixture_snapshot(f);
	c = fixture_sum(f, getpid(), CLIENT, p.port);
	assert_int_equal(c.opened, 1);
	assert_int_equal(c.open, 1);
	assert_int_equal(all_closes(&c), 0);
	assert_int_equal(c.sent_bytes, 30);
	(void)close(twin);
	assert_int_equal(fixture_drain(p.server), 0);
	fixture_pair_done(&p);
	fixture_wait_closed(f, CLIENT, p.port, 1);
	c = fixture_sum(f, getpid(), CLIENT, p.port);
	assert_int_equal(all_closes(&c), 1);
}

#define MANY 20

static void close_range_and_exit_close_each_once(void **state)
{
	static const bool by_exit[] = {false, true};
	struct fixture *f = *state;

	for (size_t i = 0; i < 2; i++) {
		struct sonde_tcp_cell c;
		uint16_t port;
		int listener = fixture_listen(AF_INET, MANY, &port);
		pid_t child = fork();

		if (child == 0) {
			int first = fixture_connect(AF_INET, port), last = first;

			for (int n = 1; n < MANY; n++)
				last = fixture_connect(AF_INET, port);
			if (by_exit[i])
				_exit(0);
			_exit(close_range((unsigned int)first, (unsigned int)last, 0));
		}
		for (int n = 0; n < MANY; n++) {
			int fd = fixture_accept(listener);

			assert_int_equal(fixture_drain(fd), 0);
			(void)close(fd);
		}
		assert_int_equal(waitpid(child, NULL, 0), child);
		(void)close(listener);
		fixture_wait_closed(f, CLIENT, port, MANY);
		c = fixture_sum(f, child, CLIENT, port);
		assert_int_equal(c.opened, MANY);
		assert_int_equal(c.closed[SONDE_TCP_CLOSE_LOCAL_FIN], MANY);
		assert_int_equal(all_closes(&c), MANY);
		assert_int_equal(c.open, 0);
	}
}

/* The number of a closed descriptor is the next one's at once: what is counted hangs at the socket. */
static void a_descriptor_that_is_used_again_at_once_is_another_connection(void **state)
{
	struct fixture *f = *state;
	struct sonde_tcp_cell c;
	uint16_t port[2];
	int listener[2], number = -1;

	for (int i = 0; i < 2; i++)
		listener[i] = fixture_listen(AF_INET, MANY, &port[i]);
	for (unsigned int i = 0; i < MANY; i++) {
		int fd = fixture_connect(AF_INET, port[i % 2]);

		if (number < 0)
			number = fd;
		assert_int_equal(fd, number);
		fixture_send(fd, 10 + i % 2);
		(void)close(fd);
	}
	fixture_snapshot(f);
	for (unsigned int i = 0; i < 2; i++) {
		c = fixture_sum(f, getpid(), CLIENT, port[i]);
		assert_int_equal(c.opened, MANY / 2);
		assert_int_equal(c.sent_bytes, MANY / 2 * (10 + i));
		(void)close(listener[i]);
	}
}

static int listen_in_group(uint16_t port)
{
	struct sockaddr_in to = {.sin_family = AF_INET,
				 .sin_port = htons(port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	assert_int_equal(listen(fd, MANY), 0);
	return fd;
}

/* Two processes, one port: each connection is of the process whose listener the kernel chose. */
static void a_reuseport_groups_connections_are_of_their_own_listener(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_in at;
	socklen_t size = sizeof(at);
	struct sonde_tcp_cell ours, theirs;
	uint64_t accepted = 0;
	int listener = listen_in_group(0), ready[2], clients[MANY];
	uint16_t port;
	pid_t child;

	assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &size), 0);
	port = ntohs(at.sin_port);
	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	child = fork();
	if (child == 0) {
		int own;

		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void)close(listener);
		own = listen_in_group(port);
		(void)write(ready[1], "", 1);
		for (;;) {
			int fd = fixture_accept(own);

			fixture_recv(fd, 3);
			(void)close(fd);
		}
	}
	assert_int_equal(read(ready[0], &(char){0}, 1), 1);
	assert_int_equal(fcntl(listener, F_SETFL, O_NONBLOCK), 0);
	for (int i = 0; i < MANY; i++) {
		clients[i] = fixture_connect(AF_INET, port);
		fixture_send(clients[i], 3);
		fixture_wait_acked(clients[i]); /* it is in the queue */
	}
	for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0; accepted++) {
		fixture_recv(fd, 3);
		(void)close(fd);
	}
	for (int i = 0; i < MANY; i++) { /* closed by whoever it was that read */
		(void)fixture_drain(clients[i]);
		(void)close(clients[i]);
	}
	fixture_snapshot(f);
	ours = fixture_sum(f, getpid(), SERVER, port);
	theirs = fixture_sum(f, child, SERVER, port);
	assert_true(accepted > 0 && accepted < MANY);
	if (!fixture_measures(f, CONNECTIONS, "owners beyond")) {
		assert_int_equal(ours.accepted + theirs.accepted, MANY);
		assert_int_equal(ours.received_bytes + theirs.received_bytes, 3 * MANY);
		ours.accepted = accepted;
		ours.received_bytes = 3 * accepted;
		theirs.accepted = MANY - accepted;
		theirs.received_bytes = 3 * (MANY - accepted);
	}
	assert_int_equal(ours.accepted, accepted);
	assert_int_equal(ours.received_bytes, 3 * accepted);
	assert_int_equal(theirs.accepted, MANY - accepted);
	assert_int_equal(theirs.received_bytes, 3 * (MANY - accepted));
	(void)kill(child, SIGKILL);
	assert_int_equal(waitpid(child, NULL, 0), child);
	(void)close(listener);
	(void)close(ready[0]);
	(void)close(ready[1]);
}

/* Listeners of one process on one port: the others listen on. */
static void a_reuseport_groups_member_that_closes_takes_no_other_with_it(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_in at;
	socklen_t size = sizeof(at);
	int first = listen_in_group(0), second, client, server;
	uint16_t port;

	assert_int_equal(getsockname(first, (struct sockaddr *)&at, &size), 0);
	port = ntohs(at.sin_port);
	second = listen_in_group(port);
	(void)close(first);
	client = fixture_connect(AF_INET, port);
	server = fixture_accept(second);
	fixture_send(client, 3);
	fixture_recv(server, 3);
	fixture_snapshot(f);
	assert_int_equal(fixture_sum(f, getpid(), SERVER, port).accepted, 1);
	assert_moved(f, SERVER, port, 0, 3);
	(void)close(client);
	(void)close(server);
	(void)close(second);
}

/* Its bytes are of the process that connected, whoever writes; closed once, by the last of them. */
static void a_socket_that_is_shared_by_fork_is_its_makers(void **state)
{
	struct fixture *f = *state;
	struct fixture_pair p = fixture_pair(AF_INET);
	struct sonde_tcp_cell c;
	pid_t child;

	fixture_send(p.client, 10);
	child = fork();
	if (child == 0) {
		fixture_send(p.client, 20);
		_exit(0);
	}
	assert_int_equal(waitpid(child, NULL, 0), child);
	fixture_recv(p.server, 30);
	fixture_snapshot(f);
	assert_moved(f, CLIENT, p.port, 30, 0);
	assert_null(fixture_cell(f, child, CLIENT, p.port));
	c = fixture_sum(f, getpid(), CLIENT, p.port);
	assert_int_equal(c.open, 1);
	assert_int_equal(all_closes(&c), 0);
	fixture_pair_done(&p);
	fixture_wait_closed(f, CLIENT, p.port, 1);
	c = fixture_sum(f, getpid(), CLIENT, p.port);
	assert_int_equal(all_closes(&c), 1);
}

/* An IPv6 socket that speaks IPv4: one address, in both ends' cells. */
static void a_mapped_address_is_the_ipv4_one(void **state)
{
	static const uint8_t loopback[16] = {[10] = 0xff, [11] = 0xff, [12] = 127, [15] = 1};
	struct fixture *f = *state;
	struct sockaddr_in6 any = {.sin6_family = AF_INET6};
	socklen_t size = sizeof(any);
	int listener = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0), zero = 0, client, server;
	const struct fixture_cell *cell;
	uint16_t port;

	assert_int_equal(setsockopt(listener, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero)), 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&any, sizeof(any)), 0);
	assert_int_equal(listen(listener, 4), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&any, &size), 0);
	port = ntohs(any.sin6_port);
	client = fixture_connect(AF_INET, port);
	server = fixture_accept(listener);
	fixture_send(client, 10);
	fixture_recv(server, 10);
	fixture_snapshot(f);
	cell = fixture_cell(f, getpid(), SERVER, port);
	assert_non_null(cell);
	assert_memory_equal(cell->key.laddr, loopback, 16);
	assert_memory_equal(cell->key.raddr, loopback, 16);
	if (fixture_measures(f, CONNECTIONS, "the other end's process"))
		assert_int_equal(cell->key.peer_pid, getpid());
	assert_int_equal(cell->now.received_bytes, 10);
	cell = fixture_cell(f, getpid(), CLIENT, port);
	assert_non_null(cell);
	assert_memory_equal(cell->key.raddr, loopback, 16);
	(void)close(client);
	(void)close(server);
	(void)close(listener);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(accepts_of_an_io_uring_are_the_listeners),
		cmocka_unit_test(a_duplicate_is_no_connection_and_its_close_no_end),
		cmocka_unit_test(close_range_and_exit_close_each_once),
		cmocka_unit_test(a_descriptor_that_is_used_again_at_once_is_another_connection),
		cmocka_unit_test(a_reuseport_groups_connections_are_of_their_own_listener),
		cmocka_unit_test(a_reuseport_groups_member_that_closes_takes_no_other_with_it),
		cmocka_unit_test(a_socket_that_is_shared_by_fork_is_its_makers),
		cmocka_unit_test(a_mapped_address_is_the_ipv4_one),
	};
	/* Each with a collector of its own, and with sockets from before it. */
	const struct CMUnitTest alone[] = {
		cmocka_unit_test(a_descriptor_in_flight_is_found_by_its_first_call),
		cmocka_unit_test(a_first_call_that_moves_nothing_is_the_base_line),
		cmocka_unit_test(a_descriptor_from_a_stranger_is_its_receivers),
		cmocka_unit_test(a_direct_descriptor_is_found_by_its_first_call),
	};
	int r = fixture_main(tests);

	if (r)
		return r;
	if (!fixture_is_measured("read calls", NULL)) /* a first call is not seen then */
		return fixture_tell_absent("read calls", NULL);
	return cmocka_run_group_tests(alone, NULL, NULL);
}
