/* SPDX-License-Identifier: Apache-2.0 */
/* Connections: opened, accepted, closed by whom and how, and those that never came to be. */
#include "scenes.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"

#define MANY 20
#define FAILURES 5

static const char *const own = "own count";

struct both_words {
	struct words side[VETH_SIDES];
};

static void read_words(struct both_words *w)
{
	for (int side = 0; side < VETH_SIDES; side++)
		words_read(truth_veth.ns[side], &w->side[side]);
}

static uint64_t grown(const struct both_words *from, enum veth_side side, const char *name)
{
	struct words now;

	words_read(truth_veth.ns[side], &now);
	return words_grown(&from->side[side], &now, name);
}

static void open_many(struct fixture_pair *pairs)
{
	pairs[0] = veth_pair(&truth_veth, AF_INET);
	for (size_t i = 1; i < MANY; i++) {
		pairs[i] = (struct fixture_pair){.listener = -1, .port = pairs[0].port};
		pairs[i].client = veth_connect(&truth_veth, AF_INET, pairs[0].port, 0);
		pairs[i].server = fixture_accept(pairs[0].listener);
	}
}

/* One byte of the client's and one of the server's, so that each has an owner. */
static void use_many(struct fixture_pair *pairs)
{
	for (size_t i = 0; i < MANY; i++) {
		fixture_send(pairs[i].client, 1);
		fixture_recv(pairs[i].server, 1);
		fixture_send(pairs[i].server, 1);
		fixture_recv(pairs[i].client, 1);
	}
}

static const char *const close_names[SONDE_TCP_CLOSE_MAX] = {
	"closed by local FIN",	"closed by local RST", "closed by remote FIN",
	"closed by remote RST", "closed by both",      "closed by an error",
};

/* All six, so that one that is counted under another name shows. */
static void compare_closes(const struct fixture *f, enum sonde_tcp_role role, uint16_t port,
			   enum sonde_tcp_close how, uint64_t n, const char *source)
{
	const struct sonde_tcp_cell c = fixture_sum(f, 0, role, port);
	char metric[48];

	for (size_t i = 0; i < SONDE_TCP_CLOSE_MAX; i++) {
		(void)snprintf(metric, sizeof(metric), "%s %s",
			       role == CLIENT ? "client" : "server", close_names[i]);
		truth_exact(metric, i == how ? n : 0, source, c.closed[i]);
	}
}

static void compare_opens(struct fixture *f, const struct both_words *words, uint16_t port)
{
	struct sonde_tcp_cell client, server;

	fixture_snapshot(f);
	client = fixture_sum(f, 0, CLIENT, port);
	server = fixture_sum(f, 0, SERVER, port);
	truth_exact("opened", grown(words, VETH_CLIENT, "TcpActiveOpens"), "TcpActiveOpens",
		    client.opened);
	truth_exact("accepted", grown(words, VETH_SERVER, "TcpPassiveOpens"), "TcpPassiveOpens",
		    server.accepted);
	truth_exact("client open", MANY, own, client.open);
	truth_exact("server open", MANY, own, server.open);
}

static void wait_all_closed(struct fixture *f, uint16_t port)
{
	fixture_wait_none_open(f, CLIENT, port);
	fixture_wait_none_open(f, SERVER, port);
}

static void client_closes(struct fixture *f)
{
	struct fixture_pair pairs[MANY];
	struct both_words words;

	truth_case("client closes");
	read_words(&words);
	open_many(pairs);
	use_many(pairs);
	compare_opens(f, &words, pairs[0].port);
	for (size_t i = 0; i < MANY; i++) {
		fixture_close_fd(&pairs[i].client);
		fixture_wait_end(pairs[i].server);
		fixture_pair_done(&pairs[i]);
	}
	wait_all_closed(f, pairs[0].port);
	compare_closes(f, CLIENT, pairs[0].port, SONDE_TCP_CLOSE_LOCAL_FIN, MANY, own);
	compare_closes(f, SERVER, pairs[0].port, SONDE_TCP_CLOSE_REMOTE_FIN, MANY, own);
	truth_exact("client open", 0, own, fixture_sum(f, 0, CLIENT, pairs[0].port).open);
}

/* What the replaced agent never counts: connections that were there in the report before. */
static void old_connections_close(struct fixture *f)
{
	struct fixture_pair pairs[MANY];

	truth_case("server closes what three reports had");
	open_many(pairs);
	use_many(pairs);
	for (int i = 0; i < 3; i++)
		fixture_snapshot(f);
	for (size_t i = 0; i < MANY; i++) {
		fixture_close_fd(&pairs[i].server);
		fixture_wait_end(pairs[i].client);
		fixture_pair_done(&pairs[i]);
	}
	wait_all_closed(f, pairs[0].port);
	compare_closes(f, SERVER, pairs[0].port, SONDE_TCP_CLOSE_LOCAL_FIN, MANY, own);
	compare_closes(f, CLIENT, pairs[0].port, SONDE_TCP_CLOSE_REMOTE_FIN, MANY, own);
}

static void client_resets(struct fixture *f)
{
	struct fixture_pair pairs[MANY];
	struct both_words words;
	struct sonde_tcp_cell c;

	truth_case("client resets");
	open_many(pairs);
	use_many(pairs);
	read_words(&words);
	for (size_t i = 0; i < MANY; i++) {
		fixture_abort_on_close(pairs[i].client);
		fixture_close_fd(&pairs[i].client);
		fixture_wait_end(pairs[i].server);
	}
	fixture_snapshot(f);
	compare_closes(f, CLIENT, pairs[0].port, SONDE_TCP_CLOSE_LOCAL_RST, MANY, own);
	c = fixture_sum(f, 0, SERVER, pairs[0].port);
	truth_seen("server closed by remote RST", grown(&words, VETH_SERVER, "TcpEstabResets"),
		   "TcpEstabResets", c.closed[SONDE_TCP_CLOSE_REMOTE_RST], 0);
	truth_seen("resets received", MANY, own, c.resets_received, 0);
	c = fixture_sum(f, 0, CLIENT, pairs[0].port);
	truth_exact("resets sent", grown(&words, VETH_CLIENT, "TcpOutRsts"), "TcpOutRsts",
		    c.resets_sent);
	for (size_t i = 0; i < MANY; i++)
		fixture_pair_done(&pairs[i]);
}

#define FIN 0x01

/* Bounded wait until a FIN of each side is on the wire; @carried: and was given to the other side's kernel. */
static void wait_both_fins(const struct link *l, bool carried)
{
	for (unsigned int i = 0; i < 6000; i++) {
		struct sonde_test_capture c = link_capture(l);
		bool seen[2] = {false};

		for (size_t k = 0; k < c.n; k++)
			if (c.packet[k].flags & FIN && (!carried || c.packet[k].written_ns))
				seen[c.packet[k].from] = true;
		link_capture_done(&c);
		if (seen[0] && seen[1])
			return;
		fixture_wait_ms(10);
	}
	fail_msg("no two FINs on the wire within a minute");
}

/* With both FINs under way at once neither was first. */
static void both_close(struct fixture *f)
{
	struct link l = link_open(AF_INET, SONDE_NS_PER_MS);
	uint64_t ns[1];

	truth_case("both close, and the FINs meet on the wire");
	link_exchange(&l, 1, ns);
	sonde_test_wire_stop(l.wire, true);
	fixture_close_fd(&l.client);
	fixture_close_fd(&l.server);
	wait_both_fins(&l, false);
	sonde_test_wire_stop(l.wire, false);
	wait_both_fins(&l, true); /* no snapshot before: it tells of a close that is half done */
	fixture_snapshot(f);
	compare_closes(f, CLIENT, l.port, SONDE_TCP_CLOSE_BOTH, 1, own);
	compare_closes(f, SERVER, l.port, SONDE_TCP_CLOSE_BOTH, 1, own);
	link_close(&l);
}

static void half_closed(struct fixture *f)
{
	struct fixture_pair p = veth_pair(&truth_veth, AF_INET);
	struct sonde_tcp_cell c;

	truth_case("shutdown(SHUT_WR)");
	assert_ok(shutdown(p.client, SHUT_WR));
	fixture_wait_end(p.server);
	fixture_send(p.server, 10);
	fixture_recv(p.client, 10);
	fixture_snapshot(f);
	c = fixture_sum(f, 0, CLIENT, p.port);
	truth_exact("client half-closed", 1, own, c.half_closed);
	fixture_pair_done(&p);
	wait_all_closed(f, p.port);
	compare_closes(f, CLIENT, p.port, SONDE_TCP_CLOSE_LOCAL_FIN, 1, own);
}

/* The path is gone: the kernel gives up after TCP_USER_TIMEOUT. */
static void times_out(struct fixture *f)
{
	struct link l = link_open(AF_INET, 0);
	const unsigned int timeout_ms = 300;
	uint64_t ns[1];

	truth_case("timed out");
	link_exchange(&l, 1, ns);
	assert_ok(setsockopt(l.client, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms,
			     sizeof(timeout_ms)));
	sonde_test_wire_drop(l.wire, SONDE_TEST_CLIENT, 1000);
	fixture_send(l.client, 1000);
	fixture_wait_end(l.client);
	fixture_snapshot(f);
	compare_closes(f, CLIENT, l.port, SONDE_TCP_CLOSE_ERROR, 1, own);
	link_close(&l);
}

TRUTH_SCENE(connections)
{
	client_closes(f);
	old_connections_close(f);
	client_resets(f);
	both_close(f);
	half_closed(f);
	times_out(f);
}

/* The outcome of connect(2), and of its socket's error when that comes later. */
static int connect_until_failed(uint16_t port, unsigned int timeout_ms)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), error = 0;

	to.sin_addr.s_addr = htonl(0x0afb0702U); /* VETH_SERVER_V4 */
	assert_true(fd >= 0);
	if (timeout_ms > 0)
		assert_ok(setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms,
				     sizeof(timeout_ms)));
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		error = errno;
	(void)close(fd);
	return error;
}

static const struct failure {
	const char *name;
	const char *rule; /* at the server's input, behind "tcp dport N " */
	enum sonde_tcp_connect_error kind;
	int error;
	unsigned int timeout_ms;
	int n;
} failures[] = {
	{"ECONNREFUSED", NULL, SONDE_TCP_CONNECT_ECONNREFUSED, ECONNREFUSED, 0, FAILURES},
	{"EHOSTUNREACH", "reject with icmp type host-unreachable", SONDE_TCP_CONNECT_EHOSTUNREACH,
	 EHOSTUNREACH, 0, FAILURES},
	{"ENETUNREACH", "reject with icmp type net-unreachable", SONDE_TCP_CONNECT_ENETUNREACH,
	 ENETUNREACH, 0, FAILURES},
	{"ETIMEDOUT", "drop", SONDE_TCP_CONNECT_ETIMEDOUT, ETIMEDOUT, 500, 1},
};

static void fail_with(struct fixture *f, const struct failure *failure)
{
	struct sonde_tcp_cell c;
	uint64_t failed = 0;
	uint16_t port;
	int listener = veth_listen(&truth_veth, AF_INET, 16, &port);

	if (!failure->rule)
		fixture_close_fd(&listener);
	else
		assert_true(veth_run(&truth_veth, VETH_SERVER,
				     "nft add rule inet sonde_test input tcp dport %u %s", port,
				     failure->rule));
	for (int i = 0; i < failure->n; i++)
		failed += connect_until_failed(port, failure->timeout_ms) == failure->error;
	(void)veth_end_chain(&truth_veth, VETH_SERVER, "input");
	fixture_close_fd(&listener);
	fixture_snapshot(f);
	c = fixture_sum(f, 0, CLIENT, port);
	truth_case("connect fails");
	assert_int_equal(failed, failure->n); /* else the test made another failure */
	for (size_t i = 0; i < SONDE_TCP_CONNECT_ERROR_MAX; i++)
		if (i != failure->kind)
			failed += c.connect_failed[i]; /* under another name */
	truth_exact(failure->name, failed, "connect(2)'s errno", c.connect_failed[failure->kind]);
	truth_exact("opened", 0, own, c.opened);
}

static void give_up(struct fixture *f)
{
	uint16_t port;
	int listener = veth_listen(&truth_veth, AF_INET, 16, &port);

	assert_true(veth_run(&truth_veth, VETH_SERVER,
			     "nft add rule inet sonde_test input tcp dport %u drop", port));
	for (int i = 0; i < FAILURES; i++) {
		int fd = veth_connect(&truth_veth, AF_INET, port, SOCK_NONBLOCK);

		(void)close(fd);
	}
	(void)veth_end_chain(&truth_veth, VETH_SERVER, "input");
	fixture_close_fd(&listener);
	fixture_snapshot(f);
	truth_exact("given up (aborted)", FAILURES, own,
		    fixture_sum(f, 0, CLIENT, port).connect_failed[SONDE_TCP_CONNECT_ABORTED]);
}

TRUTH_SCENE(connect_failures)
{
	for (size_t i = 0; i < ELEMENTS_OF(failures); i++)
		fail_with(f, &failures[i]);
	give_up(f);
}

static uint64_t held_of_syn(const struct sonde_test_capture *c)
{
	for (size_t i = 0; i < c->n; i++)
		if (c->packet[i].dest == c->port)
			return c->packet[i].written_ns - c->packet[i].read_ns;
	fail_msg("no SYN in the capture");
	return 0;
}

/* @step_us: of the clock that the kernel took the time by */
static void compare_handshake(const char *metric, const struct sonde_tcp_cell *c, uint64_t low_ns,
			      uint64_t high_ns, uint64_t step_us)
{
	truth_between(metric, low_ns / 1000 - step_us, high_ns / 1000 + step_us,
		      "wire and own clock", c->handshake_sum_us, "");
}

/*
 * Ours lies between the wire's clock, which lacks both ends' work, and our own around connect(2) and accept(2),
 * which has more: the server's begins when the SYN has passed. False: the server's took whole milliseconds, which looks
 * like a SYN cookie's and is told as unknown; that shows nothing.
 */
static bool shake_hands_once(struct fixture *f, int family, uint64_t hold_ms)
{
	const uint64_t began = sonde_mono_ns();
	struct link l = link_open(family, hold_ms * SONDE_NS_PER_MS);
	const uint64_t took = sonde_mono_ns() - began;
	struct sonde_test_capture capture = link_capture(&l);
	/* By time stamps, then, whose steps are milliseconds: a machine that stands still for a second does that. */
	const bool again = fixture_total_retrans(l.server) > 0;
	struct sonde_tcp_cell c;
	bool known;

	fixture_send(l.client, 1);
	fixture_recv(l.server, 1);
	fixture_snapshot(f);
	known = fixture_sum(f, 0, SERVER, l.port).handshake_unknown == 0;
	if (!known)
		goto out;
	truth_case("IPv%d, %u ms each way", family == AF_INET ? 4 : 6, (unsigned int)hold_ms);
	c = fixture_sum(f, 0, CLIENT, l.port);
	truth_exact("client handshakes", 1, own, c.handshake_count);
	compare_handshake("client handshake us", &c,
			  sonde_test_capture_handshake_ns(&capture, SONDE_TEST_CLIENT),
			  l.connect_ns, 1);
	c = fixture_sum(f, 0, SERVER, l.port);
	truth_exact("server handshakes", 1, own, c.handshake_count);
	compare_handshake("server handshake us", &c,
			  sonde_test_capture_handshake_ns(&capture, SONDE_TEST_SERVER),
			  took - held_of_syn(&capture), again ? 1000 : 1);
out:
	link_capture_done(&capture);
	link_close(&l);
	return known;
}

static void shake_hands(struct fixture *f, int family, uint64_t hold_ms)
{
	for (unsigned int i = 0; i < 3; i++) {
		if (shake_hands_once(f, family, hold_ms))
			return;
	}
	fail_msg("three handshakes in a row are told as unknown");
}

/* A SYN that is lost: a retransmit of its kind, and a handshake that takes the retry's time too. */
static void lose_a_syn(struct fixture *f)
{
	struct words before, after;
	struct fixture_pair p = {0};
	struct pollfd writable = {.events = POLLOUT};
	struct sonde_tcp_cell c;
	uint64_t began, sent, lifted;

	truth_case("the SYN is lost");
	p.listener = veth_listen(&truth_veth, AF_INET, 16, &p.port);
	assert_true(veth_run(&truth_veth, VETH_SERVER,
			     "nft add rule inet sonde_test input tcp dport %u counter drop",
			     p.port));
	words_read(truth_veth.ns[VETH_CLIENT], &before);
	began = sonde_mono_ns();
	p.client = veth_connect(&truth_veth, AF_INET, p.port, SOCK_NONBLOCK);
	sent = sonde_mono_ns();
	veth_wait_counted(&truth_veth, VETH_SERVER, "inet sonde_test input", 1);
	fixture_wait_ms(200);
	lifted = sonde_mono_ns();
	(void)veth_end_chain(&truth_veth, VETH_SERVER, "input");
	writable.fd = p.client;
	assert_int_equal(poll(&writable, 1, 60000), 1);
	p.server = fixture_accept(p.listener);
	fixture_snapshot(f);
	words_read(truth_veth.ns[VETH_CLIENT], &after);
	c = fixture_sum(f, 0, CLIENT, p.port);
	truth_exact("retransmits of kind syn", words_grown(&before, &after, "TcpExtTCPSynRetrans"),
		    "TCPSynRetrans", c.retransmit[SONDE_TCP_RETRANSMIT_SYN]);
	truth_exact("client handshakes", 1, own, c.handshake_count);
	truth_between("client handshake us", (lifted - sent) / 1000,
		      (sonde_mono_ns() - began) / 1000, "the rule's time", c.handshake_sum_us, "");
	fixture_pair_done(&p);
}

TRUTH_SCENE(handshakes)
{
	shake_hands(f, AF_INET, 0);
	shake_hands(f, AF_INET, 5);
	shake_hands(f, AF_INET6, 40);
	lose_a_syn(f);
}
