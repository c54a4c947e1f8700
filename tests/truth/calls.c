/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls by family, and, with the option executionTime, what they took: never more than our own clock around them,
 * and never less than the time for which the caller was seen asleep in one.
 */
#include "scenes.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "bpf/waker.h"

#define WRITE SONDE_TCP_CALL_WRITE
#define READ SONDE_TCP_CALL_READ
#define BYTES 10 /* of each call, and of each message */
#define MESSAGES 3
#define WAIT_MS 50

static const char *const own = "own count";

/* How often each family is called. */
static const unsigned int times[SONDE_TCP_CALL_FAMILIES] = {
	[SONDE_TCP_CALL_PLAIN] = 2,   [SONDE_TCP_CALL_VECTOR] = 3,   [SONDE_TCP_CALL_ADDRESSED] = 4,
	[SONDE_TCP_CALL_MESSAGE] = 5, [SONDE_TCP_CALL_MESSAGES] = 6,
};

static const char *const names[2][SONDE_TCP_CALL_FAMILIES] = {
	{"write", "writev", "sendto", "sendmsg", "sendmmsg"},
	{"read", "readv", "recvfrom", "recvmsg", "recvmmsg"},
};

static ssize_t call(int fd, enum sonde_tcp_call_direction d, enum sonde_tcp_call_family family)
{
	char bytes[BYTES] = {0};
	struct iovec parts[2] = {{bytes, BYTES / 2}, {bytes, BYTES / 2}};
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
	struct mmsghdr messages[MESSAGES];

	for (size_t i = 0; i < MESSAGES; i++)
		messages[i] = (struct mmsghdr){.msg_hdr = message};
	switch (family) {
	case SONDE_TCP_CALL_PLAIN:
		return d == WRITE ? write(fd, bytes, BYTES) : read(fd, bytes, BYTES);
	case SONDE_TCP_CALL_VECTOR:
		return d == WRITE ? writev(fd, parts, 2) : readv(fd, parts, 2);
	case SONDE_TCP_CALL_ADDRESSED:
		return d == WRITE ? send(fd, bytes, BYTES, 0) : recv(fd, bytes, BYTES, 0);
	case SONDE_TCP_CALL_MESSAGE:
		return d == WRITE ? sendmsg(fd, &message, 0) : recvmsg(fd, &message, 0);
	default:
		return BYTES * (d == WRITE ? sendmmsg(fd, messages, MESSAGES, 0)
					   : recvmmsg(fd, messages, MESSAGES, 0, NULL));
	}
}

/* All of them; what they took by our clock, in ns. */
static uint64_t call_all(int fd, enum sonde_tcp_call_direction d)
{
	uint64_t sum = 0;

	for (enum sonde_tcp_call_family family = 0; family <= SONDE_TCP_CALL_MESSAGES; family++) {
		const ssize_t all = family == SONDE_TCP_CALL_MESSAGES ? BYTES * MESSAGES : BYTES;

		for (unsigned int i = 0; i < times[family]; i++) {
			uint64_t began = sonde_mono_ns();

			assert_int_equal(call(fd, d, family), all);
			sum += sonde_mono_ns() - began;
		}
	}
	return sum;
}

static void compare_calls(const struct fixture *f, enum sonde_tcp_role role, uint16_t port,
			  enum sonde_tcp_call_direction d, bool whole)
{
	const struct sonde_tcp_calls c = fixture_calls(f, 0, role, port);
	const struct sonde_tcp_cell cell = fixture_sum(f, 0, role, port);
	uint64_t messages = 0;

	for (enum sonde_tcp_call_family family = 0; family <= SONDE_TCP_CALL_MESSAGES; family++) {
		uint64_t n = times[family];

		messages += family == SONDE_TCP_CALL_MESSAGES ? n * MESSAGES : n;
		if (family == SONDE_TCP_CALL_MESSAGES && !whole)
			n *= MESSAGES;
		truth_exact(names[d][family], n, own, c.calls[d][family]);
	}
	/* The socket's own hook tells each message, with the option and without. */
	truth_exact(d == WRITE ? "write calls" : "read calls", messages, own,
		    d == WRITE ? cell.write_calls : cell.read_calls);
}

/*
 * Where times are taken at the system call, that is what is counted; where at the entry of tcp_sendmsg() and
 * tcp_recvmsg(), and without times, each message of sendmmsg and recvmmsg is one.
 */
static void by_family(struct fixture *f, bool timed)
{
	const bool whole =
		timed && strstr(truth_probe(f, SONDE_PROBE_METRICS_CALL_TIME), "sys_enter");
	uint64_t n = whole ? 20 : 32;
	struct fixture_pair p = veth_pair(&truth_veth, AF_INET);
	const uint64_t write_ns = call_all(p.client, WRITE);
	uint64_t read_ns;
	struct sonde_tcp_calls c;

	fixture_wait_acked(p.client);
	read_ns = call_all(p.server, READ);
	fixture_snapshot(f);
	truth_case("%s", timed ? truth_probe(f, SONDE_PROBE_METRICS_CALL_TIME) : "without times");
	if (truth_has(f, "write calls", "write calls"))
		compare_calls(f, CLIENT, p.port, WRITE, whole);
	if (truth_has(f, "read calls", "read calls"))
		compare_calls(f, SERVER, p.port, READ, whole);
	if (timed && truth_has(f, "time in calls", SONDE_PROBE_METRICS_CALL_TIME)) {
		c = fixture_calls(f, 0, CLIENT, p.port);
		truth_exact("timed writes", n, own, c.timed[WRITE]);
		truth_between("time in writes ns", 1, write_ns, "own clock", c.time_sum_ns[WRITE],
			      "");
		c = fixture_calls(f, 0, SERVER, p.port);
		truth_exact("timed reads", n, own, c.timed[READ]);
		truth_between("time in reads ns", 1, read_ns, "own clock", c.time_sum_ns[READ], "");
	}
	fixture_pair_done(&p);
}

static void send_a_byte(int fd)
{
	fixture_send(fd, 1);
}

/* A read that waits: asleep at least from when it was seen so until what it waits for was sent. */
static void a_read_that_waits(struct fixture *f)
{
	struct fixture_pair p = veth_pair(&truth_veth, AF_INET);
	struct waker w = {.call = SYS_read, .wake = send_a_byte, .fd = p.server};
	uint64_t took_ns, asleep_ns;
	struct sonde_tcp_calls c;
	char byte;

	waker_start(&w);
	took_ns = sonde_mono_ns();
	assert_int_equal(read(p.client, &byte, 1), 1);
	took_ns = sonde_mono_ns() - took_ns;
	waker_join(&w);
	asleep_ns = w.wakes_ns - w.asleep_ns;
	fixture_snapshot(f);
	c = fixture_calls(f, 0, CLIENT, p.port);
	truth_case("a read that waits");
	if (truth_has(f, "time in reads", SONDE_PROBE_METRICS_CALL_TIME))
		truth_between("time in reads ns", asleep_ns, took_ns, "own clock",
			      c.time_sum_ns[READ], "");
	if (truth_has(f, "time asleep", SONDE_PROBE_METRICS_CALL_SLEEP))
		truth_between("time asleep in reads ns", asleep_ns, took_ns, "own clock",
			      c.blocked_sum_ns[READ], "");
	fixture_pair_done(&p);
}

static void an_accept_that_comes_late(struct fixture *f)
{
	struct pollfd readable = {.events = POLLIN};
	const uint64_t began_ns = sonde_mono_ns();
	uint64_t ready_ns, before_ns, after_ns;
	struct sonde_tcp_calls c;
	struct fixture_pair p;

	p.listener = veth_listen(&truth_veth, AF_INET, 16, &p.port);
	p.client = veth_connect(&truth_veth, AF_INET, p.port, 0);
	readable.fd = p.listener;
	assert_int_equal(poll(&readable, 1, 60000), 1);
	ready_ns = sonde_mono_ns();
	fixture_wait_ms(WAIT_MS);
	before_ns = sonde_mono_ns();
	p.server = fixture_accept(p.listener);
	after_ns = sonde_mono_ns();
	fixture_send(p.client, 1);
	fixture_recv(p.server, 1);
	fixture_snapshot(f);
	c = fixture_calls(f, 0, SERVER, p.port);
	truth_case("accepted %d ms late", WAIT_MS);
	if (truth_has(f, "accept(2) calls", SONDE_PROBE_METRICS_ACCEPT)) {
		truth_exact("accept(2) calls", 1, own, c.accepts);
		truth_between("time in the accept queue ns", before_ns - ready_ns,
			      after_ns - began_ns, "own clock", c.accept_queue_sum_ns, "");
	}
	fixture_pair_done(&p);
}

#define FAILURES 3

static void connects_without_a_route(struct fixture *f)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(4711)};
	struct sonde_tcp_calls c;
	int failed = 0;

	assert_int_equal(inet_pton(AF_INET, "203.0.113.1", &to.sin_addr), 1);
	for (int i = 0; i < FAILURES; i++) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

		failed +=
			connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0 && errno == ENETUNREACH;
		(void)close(fd);
	}
	assert_int_equal(failed, FAILURES);
	fixture_snapshot(f);
	c = fixture_calls(f, 0, CLIENT, 4711);
	truth_case("no route");
	if (truth_has(f, "ENETUNREACH before the SYN", SONDE_PROBE_METRICS_LOCAL_CONNECT))
		truth_exact("ENETUNREACH before the SYN", FAILURES, "connect(2)'s errno",
			    c.local_failed[SONDE_TCP_LOCAL_ENETUNREACH]);
}

static void closes(struct fixture *f)
{
	struct fixture_pair p = veth_pair(&truth_veth, AF_INET);
	struct sonde_tcp_calls c;
	uint64_t took_ns = sonde_mono_ns();

	fixture_close_fd(&p.client);
	took_ns = sonde_mono_ns() - took_ns;
	fixture_snapshot(f);
	c = fixture_calls(f, 0, CLIENT, p.port);
	truth_case("close(2)");
	if (truth_has(f, "time in close(2)", SONDE_PROBE_METRICS_CLOSE_TIME)) {
		truth_exact("close(2) calls", 1, own, c.close_count);
		truth_between("time in close(2) ns", 1, took_ns, "own clock", c.close_sum_ns, "");
	}
	fixture_pair_done(&p);
}

/* Each further way that this kernel has to time calls, over the same traffic as the first. */
static void by_every_way(struct fixture *f)
{
	static const char *const no_trampoline[] = {"fentry", "fexit", NULL};
	static const char *const no_function[] = {"fentry", "fexit", "kprobe.multi",
						  "kretprobe.multi", NULL};
	static const char *const *const without[] = {no_trampoline, no_function};
	static struct fixture other; /* large */
	char last[sizeof(f->probes[0].name)], way[sizeof(last)];

	(void)snprintf(last, sizeof(last), "%s", truth_probe(f, SONDE_PROBE_METRICS_CALL_TIME));
	for (size_t i = 0; i < ELEMENTS_OF(without); i++) {
		assert_ok(fixture_open(&other, &(struct fixture_options){.without = without[i]}));
		fixture_target(&other, getpid(), 1);
		fixture_set_options(&other, SONDE_PROBE_OPTION_EXECUTION_TIME);
		(void)snprintf(way, sizeof(way), "%s",
			       truth_probe(&other, SONDE_PROBE_METRICS_CALL_TIME));
		if (way[0] && strcmp(way, last) != 0)
			by_family(&other, true);
		memcpy(last, way, sizeof(last));
		fixture_close(&other);
	}
}

TRUTH_SCENE(calls)
{
	by_family(f, false);
	fixture_set_options(f, SONDE_PROBE_OPTION_EXECUTION_TIME);
	by_family(f, true);
	a_read_that_waits(f);
	an_accept_that_comes_late(f);
	connects_without_a_route(f);
	closes(f);
	by_every_way(f);
	fixture_set_options(f, 0);
}
