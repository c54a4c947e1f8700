/* SPDX-License-Identifier: Apache-2.0 */
/* Payload to the byte, in every way a connection begins, halves and ends. */
#include "fixture.h"
#include "rest.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define CLIENT SONDE_TCP_ROLE_CLIENT
#define SERVER SONDE_TCP_ROLE_SERVER

/* sent, acked, received, arrived of one role */
#define assert_payload(f, role, port, s, a, r, i)                                                  \
	do {                                                                                       \
		struct sonde_tcp_cell _c = fixture_sum(f, getpid(), role, port);                   \
		assert_int_equal(_c.sent_bytes, s);                                                \
		assert_int_equal(_c.acked_bytes, a);                                               \
		assert_int_equal(_c.received_bytes, r);                                            \
		assert_int_equal(_c.arrived_bytes, i);                                             \
	} while (0)

static void counts_both_ways_while_open_and_not_again_at_the_end(void **state)
{
	static const int families[] = {AF_INET, AF_INET6};
	struct fixture *f = *state;

	for (size_t i = 0; i < 2; i++) {
		struct fixture_pair p = fixture_pair(families[i]);

		fixture_send(p.client, 1000);
		fixture_recv(p.server, 1000);
		fixture_send(p.server, 10);
		fixture_recv(p.client, 10);
		fixture_wait_acked(p.server);
		for (int j = 0; j < 3; j++) {
			fixture_snapshot(f);
			assert_payload(f, CLIENT, p.port, 1000, 1000, 10, 10);
			assert_payload(f, SERVER, p.port, 10, 10, 1000, 1000);
			if (j == 1)
				fixture_close_fd(&p.client);
		}
		assert_int_equal(fixture_drain(p.server), 0);
		fixture_pair_done(&p);
		fixture_snapshot(f);
		assert_payload(f, CLIENT, p.port, 1000, 1000, 10, 10);
		assert_payload(f, SERVER, p.port, 10, 10, 1000, 1000);
	}
}

static void a_connection_between_two_snapshots_is_whole(void **state)
{
	struct fixture *f = *state;
	struct fixture_pair p = fixture_pair(AF_INET);

	fixture_send(p.client, 123457);
	fixture_recv(p.server, 123457);
	fixture_wait_acked(p.client);
	fixture_close_fd(&p.client);
	assert_int_equal(fixture_drain(p.server), 0);
	fixture_pair_done(&p);
	fixture_snapshot(f);
	assert_payload(f, CLIENT, p.port, 123457, 123457, 0, 0);
	assert_payload(f, SERVER, p.port, 0, 0, 123457, 123457);
}

static void an_empty_connection_has_no_payload(void **state)
{
	struct fixture *f = *state;
	struct fixture_pair p = fixture_pair(AF_INET);

	fixture_close_fd(&p.server);
	assert_int_equal(fixture_drain(p.client), 0);
	fixture_pair_done(&p);
	fixture_snapshot(f);
	assert_payload(f, CLIENT, p.port, 0, 0, 0, 0);
	assert_payload(f, SERVER, p.port, 0, 0, 0, 0);
}

static void half_closed_both_orders(void **state)
{
	struct fixture *f = *state;
	struct fixture_pair p = fixture_pair(AF_INET6);

	fixture_send(p.client, 500);
	assert_int_equal(shutdown(p.client, SHUT_WR), 0);
	assert_int_equal(fixture_drain(p.server), 500);
	fixture_wait_acked(p.client);
	fixture_snapshot(f);
	assert_payload(f, CLIENT, p.port, 500, 500, 0, 0);
	assert_payload(f, SERVER, p.port, 0, 0, 500, 500);
	fixture_send(p.server, 70000);
	fixture_recv(p.client, 70000);
	fixture_wait_acked(p.server);
	fixture_snapshot(f);
	assert_payload(f, CLIENT, p.port, 500, 500, 70000, 70000);
	assert_payload(f, SERVER, p.port, 70000, 70000, 500, 500);
	fixture_close_fd(&p.server);
	assert_int_equal(fixture_drain(p.client), 0);
	fixture_pair_done(&p);
	fixture_snapshot(f);
	assert_payload(f, CLIENT, p.port, 500, 500, 70000, 70000);
	assert_payload(f, SERVER, p.port, 70000, 70000, 500, 500);
}

static void unread_data_at_close_arrived_but_was_not_received(void **state)
{
	struct fixture *f = *state;
	struct fixture_pair p = fixture_pair(AF_INET);

	fixture_send(p.client, 3000);
	fixture_wait_acked(p.client);
	fixture_recv(p.server, 1000);
	fixture_close_fd(&p.server); /* 2,000 unread: an RST */
	fixture_snapshot(f);
	assert_payload(f, SERVER, p.port, 0, 0, 1000, 3000);
	assert_payload(f, CLIENT, p.port, 3000, 3000, 0, 0);
	fixture_pair_done(&p);
	fixture_snapshot(f);
	assert_payload(f, SERVER, p.port, 0, 0, 1000, 3000);
	assert_payload(f, CLIENT, p.port, 3000, 3000, 0, 0);
}

/* The kernel winds write_seq forward and zeroes the counters behind the end, of a socket that had sent nothing too. */
static void a_server_that_aborts_unused_sent_nothing(void **state)
{
	struct fixture *f = *state;
	struct fixture_pair p = fixture_pair(AF_INET);
	struct sonde_tcp_cell c;

	fixture_abort_on_close(p.server);
	fixture_close_fd(&p.server);
	fixture_snapshot(f);
	assert_payload(f, SERVER, p.port, 0, 0, 0, 0);
	c = fixture_sum(f, getpid(), SERVER, p.port);
	assert_true(c.segments_in > 0 && c.segments_in < 8);
	fixture_pair_done(&p);
}

static void reads_after_a_reset_still_count(void **state)
{
	struct fixture *f = *state;
	struct fixture_pair p = fixture_pair(AF_INET);
	char bytes[800];

	fixture_send(p.client, 800);
	fixture_wait_acked(p.client);
	fixture_abort_on_close(p.client);
	fixture_close_fd(&p.client);
	fixture_wait_end(p.server);
	fixture_snapshot(f);
	assert_payload(f, CLIENT, p.port, 800, 800, 0, 0);
	assert_payload(f, SERVER, p.port, 0, 0, 0, 800);
	assert_int_equal(recv(p.server, bytes, 300, 0), 300);
	fixture_snapshot(f);
	assert_payload(f, SERVER, p.port, 0, 0, 300, 800);
	assert_int_equal(recv(p.server, bytes, 200, 0), 200);
	fixture_pair_done(&p);
	fixture_snapshot(f);
	assert_payload(f, SERVER, p.port, 0, 0, 500, 800);
}

/* Until all that is on its way has been acknowledged; the rest, which it returns, waits for a window. */
static int wait_rest(int fd)
{
	int queued, unsent;

	for (int i = 0; i < 60000; i++) {
		assert_ok(ioctl(fd, SIOCOUTQ, &queued));
		assert_ok(ioctl(fd, SIOCOUTQNSD, &unsent));
		if (queued == unsent)
			return queued;
		fixture_wait_ms(1);
	}
	fail_msg("%d bytes are on their way", queued - unsent);
	return -1;
}

/* The reader never reads: what the kernel took and never delivered was sent, not acknowledged. */
static void data_still_queued_at_the_end_was_sent(void **state)
{
	struct fixture *f = *state;
	struct fixture_pair p = fixture_pair(AF_INET);
	struct sonde_tcp_cell c;
	size_t sent = rest_fill(p.client, NULL);
	int rest;

	do { /* a probe of the window may have moved some between */
		rest = wait_rest(p.client);
		fixture_snapshot(f);
	} while (wait_rest(p.client) != rest);
	assert_true(rest > 0);
	c = fixture_sum(f, getpid(), CLIENT, p.port);
	assert_int_equal(c.sent_bytes, sent);
	assert_int_equal(c.acked_bytes, sent - (size_t)rest);
	assert_int_equal(fixture_sum(f, getpid(), SERVER, p.port).arrived_bytes, c.acked_bytes);
	fixture_abort_on_close(p.client);
	fixture_pair_done(&p);
	fixture_snapshot(f);
	c = fixture_sum(f, getpid(), CLIENT, p.port);
	assert_int_equal(c.sent_bytes, sent);
	assert_true(c.acked_bytes < sent);
	assert_int_equal(fixture_sum(f, getpid(), SERVER, p.port).received_bytes, 0);
}

static void sendfile_counts_every_byte(void **state)
{
	struct fixture *f = *state;
	struct fixture_pair p = fixture_pair(AF_INET);
	char path[] = "/tmp/sonde-test-sendfile-XXXXXX";
	int file = mkostemp(path, O_CLOEXEC);
	off_t offset = 0;
	pid_t reader;

	assert_true(file >= 0);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(ftruncate(file, 1 << 20), 0);
	reader = fork();
	if (reader == 0) {
		fixture_close_fd(&p.server);
		_exit(fixture_drain(p.client) == 1 << 20 ? 0 : 1);
	}
	while (offset < 1 << 20)
		assert_true(sendfile(p.server, file, &offset, (size_t)((1 << 20) - offset)) > 0);
	fixture_wait_acked(p.server);
	fixture_snapshot(f);
	assert_int_equal(fixture_sum(f, 0, SERVER, p.port).sent_bytes, 1 << 20);
	if (fixture_measures(f, "write calls", NULL))
		assert_true(fixture_sum(f, 0, SERVER, p.port).write_calls >= 1);
	(void)close(file);
	fixture_pair_done(&p);
	assert_int_equal(waitpid(reader, NULL, 0), reader);
}

/* The SYN's payload is payload; the SYN itself is not. */
static void fast_open_counts_what_went_with_the_syn(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int one = 5, mode = 0, fd, server, listener;
	FILE *sysctl = fopen("/proc/sys/net/ipv4/tcp_fastopen", "re");
	uint16_t port;

	if (!sysctl || fscanf(sysctl, "%d", &mode) != 1 || !(mode & 1)) /* NOLINT(cert-err34-c) */
		skip();
	(void)fclose(sysctl);
	listener = fixture_listen(AF_INET, 16, &port);
	(void)setsockopt(listener, IPPROTO_TCP, TCP_FASTOPEN, &one, sizeof(one));
	to.sin_port = htons(port);
	for (int i = 0; i < 2; i++) { /* the first asks for the cookie */
		fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		assert_int_equal(
			sendto(fd, "hello", 5, MSG_FASTOPEN, (struct sockaddr *)&to, sizeof(to)),
			5);
		server = fixture_accept(listener);
		fixture_recv(server, 5);
		fixture_send(server, 3);
		fixture_recv(fd, 3);
		fixture_wait_acked(server);
		(void)close(fd);
		(void)close(server);
	}
	(void)close(listener);
	fixture_snapshot(f);
	assert_payload(f, CLIENT, port, 10, 10, 6, 6);
	assert_payload(f, SERVER, port, 6, 6, 10, 10);
	assert_int_equal(fixture_sum(f, 0, SERVER, port).accepted, 2);
}

static void calls_are_those_that_moved_payload(void **state)
{
	struct fixture *f = *state;
	struct fixture_pair p = fixture_pair(AF_INET);
	struct sonde_tcp_cell c;
	char byte[8];

	for (int i = 0; i < 5; i++)
		fixture_send(p.client, 2);
	fixture_wait_acked(p.client);
	assert_int_equal(recv(p.server, byte, 1, MSG_PEEK), 1);
	for (int i = 0; i < 3; i++)
		assert_int_equal(recv(p.server, byte, 1, 0), 1);
	assert_int_equal(recv(p.client, byte, 1, MSG_DONTWAIT), -1);
	fixture_snapshot(f);
	c = fixture_sum(f, 0, CLIENT, p.port);
	assert_int_equal(c.write_calls, fixture_measures(f, "write calls", NULL) ? 5 : 0);
	assert_int_equal(c.read_calls, 0);
	c = fixture_sum(f, 0, SERVER, p.port);
	assert_int_equal(c.read_calls, fixture_measures(f, "read calls", NULL) ? 3 : 0);
	assert_int_equal(c.received_bytes, 3);
	assert_int_equal(c.arrived_bytes, 10);
	fixture_pair_done(&p);
}

/* Retrying connect(2) on one descriptor is a new connection in the same storage. */
static void a_socket_that_connects_again_counts_from_zero(void **state)
{
	struct fixture *f = *state;
	struct fixture_pair p = fixture_pair(AF_INET);
	struct sockaddr_in to = {.sin_family = AF_INET,
				 .sin_port = htons(p.port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr nowhere = {.sa_family = AF_UNSPEC};

	fixture_send(p.server, 400); /* never read: not received, though the counters are reset */
	fixture_wait_acked(p.server);
	fixture_send(p.client, 100);
	fixture_recv(p.server, 100);
	fixture_wait_acked(p.client);
	assert_int_equal(connect(p.client, &nowhere, sizeof(nowhere)), 0);
	fixture_snapshot(f);
	assert_payload(f, CLIENT, p.port, 100, 100, 0, 400);
	fixture_close_fd(&p.server);
	assert_int_equal(connect(p.client, (struct sockaddr *)&to, sizeof(to)), 0);
	p.server = fixture_accept(p.listener);
	fixture_send(p.client, 7);
	fixture_recv(p.server, 7);
	fixture_wait_acked(p.client);
	fixture_snapshot(f);
	assert_payload(f, CLIENT, p.port, 107, 107, 0, 400);
	fixture_pair_done(&p);
	fixture_snapshot(f);
	assert_payload(f, CLIENT, p.port, 107, 107, 0, 400);
	assert_payload(f, SERVER, p.port, 400, 400, 107, 107);
	assert_int_equal(fixture_sum(f, 0, CLIENT, p.port).opened, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counts_both_ways_while_open_and_not_again_at_the_end),
		cmocka_unit_test(a_connection_between_two_snapshots_is_whole),
		cmocka_unit_test(an_empty_connection_has_no_payload),
		cmocka_unit_test(half_closed_both_orders),
		cmocka_unit_test(unread_data_at_close_arrived_but_was_not_received),
		cmocka_unit_test(a_server_that_aborts_unused_sent_nothing),
		cmocka_unit_test(reads_after_a_reset_still_count),
		cmocka_unit_test(data_still_queued_at_the_end_was_sent),
		cmocka_unit_test(sendfile_counts_every_byte),
		cmocka_unit_test(fast_open_counts_what_went_with_the_syn),
		cmocka_unit_test(calls_are_those_that_moved_payload),
		cmocka_unit_test(a_socket_that_connects_again_counts_from_zero),
	};

	return fixture_main(tests);
}
