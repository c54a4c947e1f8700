/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each row of the replaced agent's measurements ("Numbers" in rover.md) that is a number of the kernel side: the same
 * kind of traffic, the truth, and ours. What it said is in rover.md beside.
 */
#include "scenes.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"

static const char *const own = "own count";

#define PEERS 3
#define EXCHANGES 20
#define MESSAGE 100

struct exchanges {
	size_t n;
	uint64_t began_ns, sum_ns;
};

/* Bounded. A process that is stopped and goes on has its epoll_wait(2) interrupted. */
static int wait_readable(int epoll, struct epoll_event *ret)
{
	int n;

	do
		n = epoll_wait(epoll, ret, 1, 60000);
	while (n < 0 && errno == EINTR);
	return n;
}

/* Answers on every socket until told to stop by the end of all of them. */
static void *answer_all(void *arg)
{
	const int *fds = arg;
	int epoll = epoll_create1(EPOLL_CLOEXEC), open = PEERS;
	char bytes[MESSAGE];

	for (int i = 0; i < PEERS; i++) {
		struct epoll_event e = {.events = EPOLLIN, .data.fd = fds[i]};

		(void)epoll_ctl(epoll, EPOLL_CTL_ADD, fds[i], &e);
	}
	while (open > 0) {
		struct epoll_event e;

		if (wait_readable(epoll, &e) != 1)
			break;
		if (recv(e.data.fd, bytes, MESSAGE, MSG_WAITALL) == MESSAGE) {
			(void)send(e.data.fd, bytes, MESSAGE, MSG_NOSIGNAL);
			continue;
		}
		(void)epoll_ctl(epoll, EPOLL_CTL_DEL, e.data.fd, NULL);
		open--;
	}
	(void)close(epoll);
	return NULL;
}

static void ask(const struct link *l, struct exchanges *x)
{
	x->began_ns = sonde_mono_ns();
	fixture_send(l->client, MESSAGE);
}

/* One thread, one epoll, three peers at different distances: each RTT is its own peer's. */
static void three_peers(struct fixture *f)
{
	static const uint64_t hold_ms[PEERS] = {7, 22, 52};
	struct link links[PEERS];
	struct exchanges x[PEERS] = {0};
	int epoll = epoll_create1(EPOLL_CLOEXEC), fds[PEERS], busy = PEERS;
	pthread_t server;

	for (uint32_t i = 0; i < PEERS; i++) {
		struct epoll_event e = {.events = EPOLLIN, .data.u32 = i};

		links[i] = link_open(AF_INET, hold_ms[i] * SONDE_NS_PER_MS);
		fds[i] = links[i].server;
		assert_ok(epoll_ctl(epoll, EPOLL_CTL_ADD, links[i].client, &e));
	}
	assert_ok(pthread_create(&server, NULL, answer_all, fds));
	for (size_t i = 0; i < PEERS; i++)
		ask(&links[i], &x[i]);
	while (busy > 0) {
		struct epoll_event e;
		struct exchanges *to;

		assert_int_equal(wait_readable(epoll, &e), 1);
		to = &x[e.data.u32];
		fixture_recv(links[e.data.u32].client, MESSAGE);
		to->sum_ns += sonde_mono_ns() - to->began_ns;
		if (++to->n < EXCHANGES)
			ask(&links[e.data.u32], to);
		else
			busy--;
	}
	(void)close(epoll);
	fixture_snapshot(f); /* before the FINs, whose ACKs are samples, too */
	for (size_t i = 0; i < PEERS; i++)
		assert_ok(shutdown(links[i].client, SHUT_WR));
	assert_ok(pthread_join(server, NULL));
	for (size_t i = 0; i < PEERS; i++) {
		const struct sonde_tcp_cell c = fixture_sum(f, 0, CLIENT, links[i].port);

		truth_case("one epoll thread, peer at %u ms", 2 * (unsigned int)hold_ms[i]);
		truth_seen("RTT samples", EXCHANGES, own, c.rtt_count, c.rtt_missed);
		truth_between("RTT mean us", 2 * hold_ms[i] * 1000,
			      x[i].sum_ns / EXCHANGES / 1000 + 1, "wire's hold, own clock",
			      c.rtt_sum_us / c.rtt_count, "");
		link_close(&links[i]);
	}
}

/* The ACKs of data and FINs that the client has been given so far. */
static uint64_t samples_of_client(const struct link *l)
{
	struct sonde_test_capture capture = link_capture(l);
	uint64_t ns[1], samples;

	samples = sonde_test_capture_rtts(&capture, SONDE_TEST_CLIENT, ns, ELEMENTS_OF(ns));
	link_capture_done(&capture);
	return samples;
}

/* A request each, and a FIN: what the replaced agent never gets a sample of. */
static void samples_of_short_connections(struct fixture *f)
{
	const int n = 60;
	struct link l = link_listen(AF_INET, SONDE_NS_PER_MS, 16);
	uint64_t samples;

	for (int i = 0; i < n; i++) {
		l.client = link_connect(&l, AF_INET, 0);
		l.server = fixture_accept(l.listener);
		fixture_send(l.client, MESSAGE);
		fixture_recv(l.server, MESSAGE);
		fixture_wait_acked(l.client);
		fixture_close_fd(&l.client);
		fixture_close_fd(&l.server);
	}
	do { /* the last FINs' ACKs may come between */
		samples = samples_of_client(&l);
		fixture_snapshot(f);
	} while (samples_of_client(&l) != samples);
	truth_case("%d short connections", n);
	assert_true(samples >= (uint64_t)n);
	truth_seen("RTT samples", samples, "capture's ACKs",
		   fixture_sum(f, 0, CLIENT, l.port).rtt_count, 0);
	link_close(&l);
}

static void samples_of_a_sendfile_server(struct fixture *f)
{
	const uint64_t n = 60;
	struct link l = link_open(AF_INET, SONDE_NS_PER_MS);
	char path[] = "/tmp/sonde-truth-XXXXXX";
	int file = mkostemp(path, O_CLOEXEC);
	struct sonde_tcp_cell c;

	assert_true(file >= 0);
	assert_ok(unlink(path));
	assert_ok(ftruncate(file, MESSAGE));
	for (uint64_t i = 0; i < n; i++) {
		off_t at = 0;

		fixture_send(l.client, MESSAGE);
		fixture_recv(l.server, MESSAGE);
		assert_int_equal(sendfile(l.server, file, &at, MESSAGE), MESSAGE);
		fixture_recv(l.client, MESSAGE);
	}
	fixture_wait_acked(l.server);
	(void)close(file);
	fixture_snapshot(f);
	c = fixture_sum(f, 0, SERVER, l.port);
	truth_case("a sendfile server");
	truth_seen("RTT samples", n, own, c.rtt_count, c.rtt_missed);
	truth_exact("server sent bytes", n * MESSAGE, own, c.sent_bytes);
	link_close(&l);
}

static void loss_of_2_percent(struct fixture *f)
{
	const struct sonde_test_faults faults = {.hold_ns = SONDE_NS_PER_MS, .drop_every = 50};

	for (int i = 1; i <= 3; i++) {
		struct link l = link_open(AF_INET, SONDE_NS_PER_MS);
		const size_t bytes = (size_t)i * 1000000;
		struct sonde_tcp_cell c;

		sonde_test_wire_set(l.wire, SONDE_TEST_SERVER, &faults);
		link_bulk(&l, SONDE_TEST_SERVER, bytes);
		fixture_snapshot(f);
		c = fixture_sum(f, 0, SERVER, l.port);
		truth_case("2 %% loss, %d MB", i);
		truth_exact("retransmitted segments", words_tcp_info(l.server).tcpi_total_retrans,
			    "tcpi_total_retrans", c.retransmitted_segments);
		truth_seen("retransmits of all kinds", words_tcp_info(l.server).tcpi_total_retrans,
			   "tcpi_total_retrans", fixture_retransmits(&c),
			   fixture_loss(f, SONDE_TCP_LOSS_SKIPPED_RUNS));
		link_close(&l);
	}
}

/* connect(2) returns at once; the handshake takes the path's time all the same. */
static void connect_without_blocking(struct fixture *f)
{
	struct link l = link_listen(AF_INET, 12500 * SONDE_NS_PER_US, 16);
	const uint64_t began_ns = sonde_mono_ns();
	struct pollfd writable = {.events = POLLOUT};
	struct sonde_test_capture capture;
	uint64_t call_ns, ready_ns;
	struct sonde_tcp_cell c;

	l.client = link_connect(&l, AF_INET, SOCK_NONBLOCK);
	call_ns = sonde_mono_ns() - began_ns;
	writable.fd = l.client;
	assert_int_equal(poll(&writable, 1, 60000), 1);
	ready_ns = sonde_mono_ns() - began_ns;
	capture = link_capture(&l);
	fixture_snapshot(f);
	c = fixture_sum(f, 0, CLIENT, l.port);
	truth_case("a connect that does not block (the call: %u us)",
		   (unsigned int)(call_ns / 1000));
	truth_between("client handshake us",
		      sonde_test_capture_handshake_ns(&capture, SONDE_TEST_CLIENT) / 1000 - 1,
		      ready_ns / 1000 + 1, "wire, poll(2)'s return", c.handshake_sum_us, "");
	link_capture_done(&capture);
	link_close(&l);
}

static void raise_descriptors(rlim_t n)
{
	struct rlimit limit;

	assert_ok(getrlimit(RLIMIT_NOFILE, &limit));
	if (limit.rlim_cur < n)
		limit.rlim_cur = n < limit.rlim_max ? n : limit.rlim_max;
	assert_ok(setrlimit(RLIMIT_NOFILE, &limit));
}

/* The clients of @port, once none is open: the answer to a FIN may be late. */
static struct sonde_tcp_cell when_closed(struct fixture *f, uint16_t port)
{
	fixture_wait_none_open(f, CLIENT, port);
	return fixture_sum(f, 0, CLIENT, port);
}

#define CROWD 1000

/* From one host by as many ephemeral ports: one peer. And closes of what three reports had already. */
static void a_thousand_of_one_host(struct fixture *f)
{
	_cleanup_free_ int *clients = calloc(CROWD, sizeof(int));
	_cleanup_free_ int *servers = calloc(CROWD, sizeof(int));
	uint64_t peers = 0;
	struct sonde_tcp_cell c;
	uint16_t port;
	int listener;

	assert_non_null(clients);
	assert_non_null(servers);
	raise_descriptors(2 * CROWD + 200);
	listener = veth_listen(&truth_veth, AF_INET, 128, &port);
	for (size_t i = 0; i < CROWD; i++) {
		clients[i] = veth_connect(&truth_veth, AF_INET, port, 0);
		servers[i] = fixture_accept(listener);
		fixture_send(clients[i], MESSAGE);
		fixture_recv(servers[i], MESSAGE);
	}
	for (int i = 0; i < 3; i++)
		fixture_snapshot(f);
	truth_case("%d connections of one host", CROWD);
	for (size_t i = 0; i < f->n_cells; i++)
		peers += f->cells[i].known && f->cells[i].key.role == SERVER &&
			 f->cells[i].key.port == port;
	truth_exact("peers that the server has", 1, own, peers);
	c = fixture_sum(f, 0, CLIENT, port);
	truth_exact("client sent bytes", CROWD * MESSAGE, own, c.sent_bytes);
	if (truth_has(f, "client write calls", "write calls"))
		truth_exact("client write calls", CROWD, own, c.write_calls);
	c = fixture_sum(f, 0, SERVER, port);
	truth_exact("server received bytes", CROWD * MESSAGE, own, c.received_bytes);
	for (size_t i = 0; i < CROWD; i++) {
		fixture_close_fd(&clients[i]);
		(void)fixture_drain(servers[i]);
		fixture_close_fd(&servers[i]);
	}
	(void)close(listener);
	c = when_closed(f, port);
	truth_exact("closes of connections that three reports had", CROWD, own,
		    c.closed[SONDE_TCP_CLOSE_LOCAL_FIN]);
	c = fixture_sum(f, 0, SERVER, port);
	truth_exact("their other ends", CROWD, own, c.closed[SONDE_TCP_CLOSE_REMOTE_FIN]);
}

#define SHORT 3000

static void short_connections(struct fixture *f)
{
	uint64_t closed = 0;
	struct sonde_tcp_cell c;
	uint16_t port;
	int listener = veth_listen(&truth_veth, AF_INET, 128, &port);

	for (int i = 0; i < SHORT; i++) {
		int client = veth_connect(&truth_veth, AF_INET, port, 0);
		int server = fixture_accept(listener);

		(void)close(client);
		(void)close(server);
	}
	(void)close(listener);
	c = when_closed(f, port);
	for (int i = 0; i < SONDE_TCP_CLOSE_MAX; i++)
		closed += c.closed[i];
	truth_case("%d short connections, one after the other", SHORT);
	truth_within("connects", SHORT, own, c.opened, fixture_loss(f, SONDE_TCP_LOSS_END_UNSEEN),
		     0, "end_unseen in the ledger");
	truth_within("closes", SHORT, own, closed, fixture_loss(f, SONDE_TCP_LOSS_END_UNSEEN), 0,
		     "end_unseen in the ledger");
}

#define DESCRIPTORS 50

/* Connections of consecutive descriptors, a byte read of each. */
static void fill_descriptors(int listener, uint16_t port, int *clients, int *servers)
{
	for (int i = 0; i < DESCRIPTORS; i++) {
		clients[i] = veth_connect(&truth_veth, AF_INET, port, 0);
		servers[i] = fixture_accept(listener);
		fixture_send(servers[i], 1);
		fixture_recv(clients[i], 1);
	}
}

/* Twice, the second time on the numbers that the first one left. */
static void by_close_range(struct fixture *f)
{
	int clients[DESCRIPTORS], servers[DESCRIPTORS], listener;
	struct sonde_tcp_cell c;
	uint16_t port;

	listener = veth_listen(&truth_veth, AF_INET, 128, &port);
	for (int round = 0; round < 2; round++) {
		fill_descriptors(listener, port, clients, servers);
		for (int i = 0; i < DESCRIPTORS; i++)
			assert_ok(syscall(SYS_close_range, clients[i], clients[i], 0));
		for (int i = 0; i < DESCRIPTORS; i++) {
			assert_int_equal(fixture_drain(servers[i]),
					 0); /* the client's FIN is first */
			(void)close(servers[i]);
		}
	}
	(void)close(listener);
	c = when_closed(f, port);
	truth_case("close_range(2), twice on the same numbers");
	truth_exact("closes", (uint64_t)2 * DESCRIPTORS, own, c.closed[SONDE_TCP_CLOSE_LOCAL_FIN]);
	truth_exact("client received bytes", (uint64_t)2 * DESCRIPTORS, own, c.received_bytes);
	if (truth_has(f, "client read calls", "read calls"))
		truth_exact("client read calls", (uint64_t)2 * DESCRIPTORS, own, c.read_calls);
}

static void by_exit(struct fixture *f)
{
	int clients[DESCRIPTORS], servers[DESCRIPTORS], listener;
	struct sonde_tcp_cell c;
	uint16_t port;
	pid_t child;

	listener = veth_listen(&truth_veth, AF_INET, 128, &port);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		fill_descriptors(listener, port, clients, servers);
		_exit(0); /* closes nothing by itself */
	}
	assert_int_equal(waitpid(child, NULL, 0), child);
	(void)close(listener);
	(void)when_closed(f, port);
	c = fixture_sum(f, child, CLIENT, port);
	truth_case("exit without a close");
	truth_exact("closes", DESCRIPTORS, own,
		    c.closed[SONDE_TCP_CLOSE_LOCAL_FIN] + c.closed[SONDE_TCP_CLOSE_REMOTE_FIN] +
			    c.closed[SONDE_TCP_CLOSE_BOTH] + c.closed[SONDE_TCP_CLOSE_LOCAL_RST] +
			    c.closed[SONDE_TCP_CLOSE_REMOTE_RST]);
	truth_exact("still open", 0, own, c.open);
}

#define WORKERS 3
#define REQUESTS 300

static void serve_for_ever(int listener)
{
	char bytes[MESSAGE];

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

		if (fd < 0)
			_exit(1);
		if (recv(fd, bytes, MESSAGE, MSG_WAITALL) == MESSAGE)
			(void)send(fd, bytes, MESSAGE, MSG_NOSIGNAL);
		(void)close(fd);
	}
}

/* The master listens and does nothing; three workers of the same name take the requests. */
static void a_master_and_workers(struct fixture *f)
{
	struct sonde_tcp_cell c;
	pid_t workers[WORKERS];
	uint16_t port;
	int listener = veth_listen(&truth_veth, AF_INET, 128, &port);

	for (int i = 0; i < WORKERS; i++) {
		workers[i] = fork();
		assert_true(workers[i] >= 0);
		if (workers[i] == 0)
			serve_for_ever(listener);
	}
	for (int i = 0; i < REQUESTS; i++) {
		int fd = veth_connect(&truth_veth, AF_INET, port, 0);

		fixture_send(fd, MESSAGE);
		fixture_recv(fd, MESSAGE);
		(void)fixture_drain(fd);
		(void)close(fd);
	}
	(void)close(listener);
	fixture_snapshot(f);
	c = fixture_sum(f, 0, SERVER, port);
	truth_case("a master and %d workers", WORKERS);
	truth_exact("accepted", REQUESTS, own, c.accepted);
	truth_exact("server received bytes", REQUESTS * MESSAGE, own, c.received_bytes);
	truth_exact("server sent bytes", REQUESTS * MESSAGE, own, c.sent_bytes);
	if (truth_has(f, "received bytes of the master itself", "read calls"))
		truth_exact("received bytes of the master itself", 0, own,
			    fixture_sum(f, getpid(), SERVER, port).received_bytes);
	for (int i = 0; i < WORKERS; i++) {
		(void)kill(workers[i], SIGKILL);
		assert_int_equal(waitpid(workers[i], NULL, 0), workers[i]);
	}
}

#define BYSTANDERS 500

/* Connects to itself and closes, when it is told to. */
static pid_t bystander(int go)
{
	pid_t pid = fork();
	uint16_t port;
	char byte;

	assert_true(pid >= 0);
	if (pid > 0)
		return pid;
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (read(go, &byte, 1) != 1)
		_exit(1);
	for (int i = 0; i < BYSTANDERS; i++) {
		struct fixture_pair p = fixture_pair(AF_INET);

		port = p.port;
		fixture_send(p.client, MESSAGE);
		fixture_recv(p.server, MESSAGE);
		fixture_pair_done(&p);
	}
	_exit(port ? 0 : 1);
}

static uint64_t entries(const struct fixture *f, const char *name)
{
	int fd = fixture_map(f, name);
	char key[128], next[128];
	uint64_t n = 0;

	for (bool first = true; bpf_map_get_next_key(fd, first ? NULL : key, next) == 0;
	     first = false) {
		memcpy(key, next, sizeof(key));
		n++;
	}
	(void)close(fd);
	return n;
}

/* The replaced agent's hooks wrote maps for every process of the host. */
static void a_bystander_leaves_no_trace(void)
{
	static struct fixture ours; /* large */
	int go[2], status = -1;
	uint64_t cells = 0;
	pid_t pid;

	assert_ok(pipe2(go, O_CLOEXEC));
	pid = bystander(go[0]); /* before there is a collector that would follow it as a child */
	assert_ok(fixture_open(&ours, &(struct fixture_options){0}));
	fixture_target(&ours, getpid(), 1);
	assert_int_equal(write(go[1], "x", 1), 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	(void)close(go[0]);
	(void)close(go[1]);
	truth_case("%d connections of a bystander", BYSTANDERS);
	truth_exact("address pairs kept", 0, own, entries(&ours, "tuples"));
	truth_exact("listeners kept", 0, own, entries(&ours, "listeners"));
	truth_exact("cells' keys", 0, own, entries(&ours, "index"));
	fixture_snapshot(&ours);
	for (size_t i = 0; i < ours.n_cells; i++)
		cells += ours.cells[i].known;
	truth_exact("cells told", 0, own, cells);
	fixture_close(&ours);
}

TRUTH_SCENE(rover)
{
	three_peers(f);
	samples_of_short_connections(f);
	samples_of_a_sendfile_server(f);
	loss_of_2_percent(f);
	connect_without_blocking(f);
	a_thousand_of_one_host(f);
	short_connections(f);
	by_close_range(f);
	by_exit(f);
	a_master_and_workers(f);
	a_bystander_leaves_no_trace();
}
