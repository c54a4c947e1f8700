/* SPDX-License-Identifier: Apache-2.0 */
/* The rarer ways through TCP's states and numbers: each still exact, or said to be unknown. */
#include "unseen.h"
#include "veth.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CLIENT SONDE_TCP_ROLE_CLIENT
#define SERVER SONDE_TCP_ROLE_SERVER
#define VETH_CLIENT_V4 "10.251.7.1"

static struct veth veth;

static void set_tcp(int fd, int option, int value)
{
	assert_int_equal(setsockopt(fd, IPPROTO_TCP, option, &value, sizeof(value)), 0);
}

static void assert_bytes(const struct fixture *f, enum sonde_tcp_role role, uint16_t port,
			 uint64_t sent, uint64_t received)
{
	struct sonde_tcp_cell c = fixture_sum(f, 0, role, port);

	assert_int_equal(c.sent_bytes, sent);
	assert_int_equal(c.acked_bytes, sent);
	assert_int_equal(c.received_bytes, received);
	assert_int_equal(c.arrived_bytes, received);
}

/* --- sequence numbers --- */

#define NEAR_WRAP 0xfffff000U
#define ACROSS 100000

/* A socket that is given its first sequence number takes it into an ordinary handshake. */
static void sequence_numbers_may_wrap(void **state)
{
	struct fixture *f = *state;
	struct fixture_pair p = {.client = -1, .server = -1};
	struct sockaddr_in to = {.sin_family = AF_INET};

	p.listener = veth_listen(&veth, AF_INET, 16, &p.port);
	to.sin_port = htons(p.port);
	assert_int_equal(inet_pton(AF_INET, VETH_SERVER_V4, &to.sin_addr), 1);
	p.client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(p.client >= 0);
	set_tcp(p.client, TCP_REPAIR, TCP_REPAIR_ON);
	set_tcp(p.client, TCP_REPAIR_QUEUE, TCP_SEND_QUEUE);
	set_tcp(p.client, TCP_QUEUE_SEQ, (int)NEAR_WRAP);
	set_tcp(p.client, TCP_REPAIR, TCP_REPAIR_OFF_NO_WP);
	assert_int_equal(connect(p.client, (struct sockaddr *)&to, sizeof(to)), 0);
	p.server = fixture_accept(p.listener);
	for (uint64_t i = 1; i <= 3; i++) {
		fixture_send(p.client, ACROSS);
		fixture_recv(p.server, ACROSS);
		fixture_send(p.server, 10);
		fixture_recv(p.client, 10);
		fixture_wait_acked(p.client);
		fixture_wait_acked(p.server);
		fixture_snapshot(f);
		assert_bytes(f, CLIENT, p.port, i * ACROSS, i * 10);
		assert_bytes(f, SERVER, p.port, i * 10, i * ACROSS);
	}
	fixture_pair_done(&p);
	fixture_wait_closed(f, CLIENT, p.port, 1);
	fixture_wait_closed(f, SERVER, p.port, 1);
	assert_bytes(f, CLIENT, p.port, 3 * ACROSS, 30);
	assert_bytes(f, SERVER, p.port, 30, 3 * ACROSS);
}

#define LAPS_BYTES 4500000000ULL

struct flood {
	int fd;
	uint64_t bytes;
};

static void *send_flood(void *arg)
{
	static const char data[1 << 20];
	struct flood *flood = arg;

	while (flood->bytes > 0) {
		size_t n = flood->bytes < sizeof(data) ? flood->bytes : sizeof(data);
		ssize_t sent = send(flood->fd, data, n, 0);

		if (sent <= 0)
			break;
		flood->bytes -= (uint64_t)sent;
	}
	return NULL;
}

/*
 * More than 2^32 bytes with no snapshot between: only the kernel's 64-bit counters know the lap. They are read
 * by one program on each kernel that has socket storage: of these the machine's own is asked, which is 20 times quicker.
 */
static void a_lap_of_2_to_the_32_is_not_lost(void **state)
{
	struct fixture *f = *state;
	struct fixture_pair p;
	struct flood flood = {.bytes = LAPS_BYTES};
	uint64_t left = LAPS_BYTES;
	pthread_t sender;

	if (fixture_is_emulated() &&
	    fixture_measures(f, "last values of connections that end", "records"))
		skip();
	p = veth_pair(&veth, AF_INET);
	flood.fd = p.client;
	assert_int_equal(pthread_create(&sender, NULL, send_flood, &flood), 0);
	while (left > 0) { /* MSG_TRUNC: taken, but not copied */
		ssize_t n = recv(p.server, NULL, left < (8 << 20) ? left : 8 << 20, MSG_TRUNC);

		if (n <= 0)
			break;
		left -= (uint64_t)n;
	}
	assert_int_equal(pthread_join(sender, NULL), 0);
	assert_int_equal(left, 0);
	fixture_wait_acked(p.client);
	fixture_snapshot(f);
	assert_bytes(f, CLIENT, p.port, LAPS_BYTES, 0);
	assert_bytes(f, SERVER, p.port, 0, LAPS_BYTES);
	fixture_pair_done(&p);
}

/* --- sockets that are put together, not connected (TCP_REPAIR): both ends are connect(2)'s --- */

#define REPAIRED_WINDOW 30000
#define OPTION_WINDOW_SCALE 3

struct repaired {
	int fd;
	uint16_t port;
};

static struct repaired repair_bind(void)
{
	struct sockaddr_in addr = {.sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(addr);
	struct repaired r;

	r.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(r.fd >= 0);
	set_tcp(r.fd, TCP_REPAIR, TCP_REPAIR_ON);
	assert_int_equal(bind(r.fd, (struct sockaddr *)&addr, len), 0);
	assert_int_equal(getsockname(r.fd, (struct sockaddr *)&addr, &len), 0);
	r.port = ntohs(addr.sin_port);
	return r;
}

static void repair_connect(const struct repaired *r, uint16_t port, uint32_t send_seq,
			   uint32_t recv_seq)
{
	struct tcp_repair_opt scale = {
		.opt_code = OPTION_WINDOW_SCALE,
		.opt_val = 7 | 7 << 16,
	};
	struct tcp_repair_window window = {
		.snd_wl1 = recv_seq,
		.snd_wnd = REPAIRED_WINDOW,
		.max_window = REPAIRED_WINDOW,
		.rcv_wnd = REPAIRED_WINDOW,
		.rcv_wup = recv_seq,
	};
	struct sockaddr_in addr = {.sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	set_tcp(r->fd, TCP_REPAIR_QUEUE, TCP_SEND_QUEUE);
	set_tcp(r->fd, TCP_QUEUE_SEQ, (int)send_seq);
	set_tcp(r->fd, TCP_REPAIR_QUEUE, TCP_RECV_QUEUE);
	set_tcp(r->fd, TCP_QUEUE_SEQ, (int)recv_seq);
	addr.sin_port = htons(port);
	assert_int_equal(connect(r->fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	/* Else the window that it tells is taken for one without a scale. */
	assert_int_equal(setsockopt(r->fd, IPPROTO_TCP, TCP_REPAIR_OPTIONS, &scale, sizeof(scale)),
			 0);
	assert_int_equal(setsockopt(r->fd, IPPROTO_TCP, TCP_REPAIR_WINDOW, &window, sizeof(window)),
			 0);
}

static void repaired_sockets_count_what_they_carry(void **state)
{
	struct fixture *f = *state;
	struct repaired a, b;
	struct sonde_tcp_cell c;

	assert_true(veth_run(&veth, VETH_CLIENT, "ip link set lo up"));
	a = repair_bind();
	b = repair_bind();
	repair_connect(&a, b.port, NEAR_WRAP, 5000);
	repair_connect(&b, a.port, 5000, NEAR_WRAP);
	set_tcp(a.fd, TCP_REPAIR, TCP_REPAIR_OFF);
	set_tcp(b.fd, TCP_REPAIR, TCP_REPAIR_OFF);
	fixture_send(a.fd, 6000);
	fixture_recv(b.fd, 6000);
	fixture_send(b.fd, 300);
	fixture_recv(a.fd, 300);
	fixture_wait_acked(a.fd);
	fixture_wait_acked(b.fd);
	fixture_snapshot(f);
	assert_bytes(f, CLIENT, b.port, 6000, 300); /* a's: its peer's port is the service */
	assert_bytes(f, CLIENT, a.port, 300, 6000);
	c = fixture_sum(f, 0, CLIENT, a.port);
	assert_int_equal(c.opened, 1);
	fixture_close_fd(&a.fd);
	fixture_close_fd(&b.fd);
	fixture_snapshot(f);
	assert_bytes(f, CLIENT, b.port, 6000, 300);
	assert_bytes(f, CLIENT, a.port, 300, 6000);
}

/* A checkpoint: the connection goes away in silence, and goes on in another socket. */
static void a_checkpoint_closes_without_a_word(void **state)
{
	struct fixture *f = *state;
	struct fixture_pair p = veth_pair(&veth, AF_INET);
	struct sonde_tcp_cell c;

	fixture_send(p.client, 1000);
	fixture_recv(p.server, 1000);
	set_tcp(p.client, TCP_REPAIR, TCP_REPAIR_ON);
	fixture_close_fd(&p.client);
	fixture_snapshot(f);
	c = fixture_sum(f, 0, CLIENT, p.port);
	assert_int_equal(c.sent_bytes, 1000);
	assert_int_equal(c.open, 0);
	assert_int_equal(c.resets_sent, 0);
	assert_int_equal(c.closed[SONDE_TCP_CLOSE_LOCAL_RST], 1); /* an abort: no FIN went first */
	c = fixture_sum(f, 0, SERVER, p.port);
	assert_int_equal(c.open, 1);
	fixture_pair_done(&p);
}

/* --- states --- */

static void a_syn_cookie_has_no_handshake_time(void **state)
{
	struct fixture *f = *state;
	struct fixture_pair p;
	struct sonde_tcp_cell c;

	assert_true(veth_run(&veth, VETH_SERVER, "echo 2 >/proc/sys/net/ipv4/tcp_syncookies"));
	p = veth_pair(&veth, AF_INET);
	assert_true(veth_run(&veth, VETH_SERVER, "echo 1 >/proc/sys/net/ipv4/tcp_syncookies"));
	fixture_send(p.client, 1000);
	fixture_recv(p.server, 1000);
	fixture_wait_acked(p.client);
	fixture_snapshot(f);
	c = fixture_sum(f, 0, SERVER, p.port);
	assert_int_equal(c.accepted, 1);
	assert_int_equal(c.handshake_count, 0);
	assert_int_equal(c.handshake_unknown, 1);
	assert_bytes(f, SERVER, p.port, 0, 1000);
	c = fixture_sum(f, 0, CLIENT, p.port);
	assert_int_equal(c.handshake_count, 1);
	fixture_pair_done(&p);
}

/* Nothing waits for a FIN or the ACK of one any more. */
static bool is_done(enum veth_side side, uint16_t port)
{
	return veth_run(&veth, side,
			"test -z \"$(ss -Htan state fin-wait-1 state closing state last-ack "
			"'( sport = :%u or dport = :%u )')\"",
			port, port);
}

/* Both FINs are held back until both are sent. */
static void a_simultaneous_close_is_one_close_an_end(void **state)
{
	struct fixture *f = *state;
	struct fixture_pair p = veth_pair(&veth, AF_INET);
	struct sonde_tcp_cell client, server;
	uint64_t both;

	fixture_send(p.client, 500);
	fixture_recv(p.server, 500);
	fixture_wait_acked(p.client);
	for (enum veth_side side = VETH_CLIENT; side < VETH_SIDES; side++)
		assert_true(
			veth_run(&veth, side,
				 "nft add rule inet sonde_test input tcp flags fin counter drop"));
	fixture_close_fd(&p.client);
	fixture_close_fd(&p.server);
	for (enum veth_side side = VETH_CLIENT; side < VETH_SIDES; side++)
		veth_wait_counted(&veth, side, "inet sonde_test input", 1);
	for (enum veth_side side = VETH_CLIENT; side < VETH_SIDES; side++)
		assert_true(veth_run(&veth, side, "nft flush chain inet sonde_test input"));
	/* The FINs are sent again. No snapshot before: it would tell of a close that is half done. */
	for (enum veth_side side = VETH_CLIENT; side < VETH_SIDES; side++)
		for (unsigned int i = 0; i < 600 && !is_done(side, p.port); i++)
			fixture_wait_ms(100);
	fixture_snapshot(f);
	client = fixture_sum(f, 0, CLIENT, p.port);
	server = fixture_sum(f, 0, SERVER, p.port);
	both = client.closed[SONDE_TCP_CLOSE_BOTH] + server.closed[SONDE_TCP_CLOSE_BOTH];
	assert_true(both >= 1); /* who hears the other's FIN before the ACK of its own */
	assert_int_equal(both + client.closed[SONDE_TCP_CLOSE_LOCAL_FIN] +
				 server.closed[SONDE_TCP_CLOSE_LOCAL_FIN],
			 2);
	assert_int_equal(client.open + server.open, 0);
	assert_bytes(f, CLIENT, p.port, 500, 0);
	assert_bytes(f, SERVER, p.port, 0, 500);
	fixture_pair_done(&p);
}

static int bound_socket(enum veth_side side, const char *address, struct sockaddr_in *ret)
{
	socklen_t len = sizeof(*ret);
	int fd;

	veth_enter(&veth, side);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_true(fd >= 0);
	*ret = (struct sockaddr_in){.sin_family = AF_INET};
	assert_int_equal(inet_pton(AF_INET, address, &ret->sin_addr), 1);
	assert_int_equal(bind(fd, (struct sockaddr *)ret, len), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)ret, &len), 0);
	veth_enter(&veth, VETH_CLIENT);
	return fd;
}

static void wait_connected(int fd)
{
	struct pollfd writable = {.fd = fd, .events = POLLOUT};
	socklen_t len = sizeof(int);
	int error = -1;

	assert_int_equal(poll(&writable, 1, 60000), 1);
	assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len), 0);
	assert_int_equal(error, 0);
}

/* Nobody listens: two connects that meet. The first SYNs are held back until both are sent. */
static void a_simultaneous_open_is_a_connection_of_two_clients(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_in here, there;
	int a = bound_socket(VETH_CLIENT, VETH_CLIENT_V4, &here);
	int b = bound_socket(VETH_SERVER, VETH_SERVER_V4, &there);
	struct sonde_tcp_cell c;

	for (enum veth_side side = VETH_CLIENT; side < VETH_SIDES; side++)
		assert_true(veth_run(&veth, side,
				     "nft add rule inet sonde_test input tcp flags syn drop"));
	assert_int_equal(connect(a, (struct sockaddr *)&there, sizeof(there)), -1);
	assert_int_equal(errno, EINPROGRESS);
	assert_int_equal(connect(b, (struct sockaddr *)&here, sizeof(here)), -1);
	assert_int_equal(errno, EINPROGRESS);
	for (enum veth_side side = VETH_CLIENT; side < VETH_SIDES; side++)
		assert_true(veth_run(&veth, side, "nft flush chain inet sonde_test input"));
	wait_connected(a);
	wait_connected(b);
	assert_int_equal(send(a, "hello", 5, 0), 5);
	fixture_wait_acked(a);
	fixture_recv(b, 5);
	fixture_snapshot(f);
	assert_bytes(f, CLIENT, ntohs(there.sin_port), 5, 0);
	assert_bytes(f, CLIENT, ntohs(here.sin_port), 0, 5);
	for (int i = 0; i < 2; i++) {
		c = fixture_sum(f, 0, CLIENT, ntohs(i ? here.sin_port : there.sin_port));
		assert_int_equal(c.opened, 1);
		assert_int_equal(c.open, 1);
		assert_int_equal(c.handshake_count, 1);
		assert_true(c.handshake_sum_us > 500000); /* a SYN was sent again after a second */
	}
	assert_int_equal(fixture_sum(f, 0, SERVER, ntohs(here.sin_port)).accepted, 0);
	fixture_close_fd(&a);
	fixture_close_fd(&b);
}

/* --- connects that fail behind their SYN --- */

static void fails_with(struct fixture *f, const char *verdict, int error,
		       enum sonde_tcp_connect_error counted)
{
	struct sonde_tcp_cell c;
	struct pollfd hung = {.events = POLLOUT};
	socklen_t len = sizeof(int);
	uint16_t port;
	int listener = veth_listen(&veth, AF_INET, 16, &port), fd, got = 0;

	assert_true(veth_run(&veth, VETH_SERVER,
			     "nft add rule inet sonde_test input tcp dport %u %s", port, verdict));
	fd = veth_connect(&veth, AF_INET, port, SOCK_NONBLOCK);
	set_tcp(fd, TCP_SYNCNT, 1);
	hung.fd = fd;
	assert_int_equal(poll(&hung, 1, 60000), 1);
	assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_ERROR, &got, &len), 0);
	assert_int_equal(got, error);
	fixture_close_fd(&fd);
	(void)veth_end_chain(&veth, VETH_SERVER, "input");
	fixture_snapshot(f);
	c = fixture_sum(f, 0, CLIENT, port);
	/* An older kernel ends the connect at these errors; where it goes on, its hook tells of them. */
	if (c.connect_failed[SONDE_TCP_CONNECT_ABORTED] == 1 &&
	    !fixture_measures(f, "errors that a connect is told and survives", "errno"))
		counted = SONDE_TCP_CONNECT_ABORTED;
	for (unsigned i = 0; i < SONDE_TCP_CONNECT_ERROR_MAX; i++)
		assert_int_equal(c.connect_failed[i], i == counted);
	assert_int_equal(c.opened, 0);
	(void)close(listener);
}

static void a_failed_connect_has_the_errno_that_its_application_gets(void **state)
{
	struct fixture *f = *state;

	fails_with(f, "reject with tcp reset", ECONNREFUSED, SONDE_TCP_CONNECT_ECONNREFUSED);
	fails_with(f, "reject with icmp type host-unreachable", EHOSTUNREACH,
		   SONDE_TCP_CONNECT_EHOSTUNREACH);
	fails_with(f, "reject with icmp type net-unreachable", ENETUNREACH,
		   SONDE_TCP_CONNECT_ENETUNREACH);
	fails_with(f, "drop", ETIMEDOUT, SONDE_TCP_CONNECT_ETIMEDOUT);
	fails_with(f, "reject with icmp type prot-unreachable", ENOPROTOOPT,
		   SONDE_TCP_CONNECT_OTHER);
}

static int setup(void **state)
{
	return veth_add_chains(&veth) ? fixture_setup(state) : -EOPNOTSUPP;
}

static int run(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sequence_numbers_may_wrap),
		cmocka_unit_test(a_lap_of_2_to_the_32_is_not_lost),
		cmocka_unit_test(repaired_sockets_count_what_they_carry),
		cmocka_unit_test(a_checkpoint_closes_without_a_word),
		cmocka_unit_test(a_syn_cookie_has_no_handshake_time),
		cmocka_unit_test(a_simultaneous_close_is_one_close_an_end),
		cmocka_unit_test(a_simultaneous_open_is_a_connection_of_two_clients),
		cmocka_unit_test(a_failed_connect_has_the_errno_that_its_application_gets),
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
