/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls by family, their sizes and times, accept queue, connects that fail before a SYN, close. Each time is held
 * between two of the test's own: from when the caller was seen asleep to when what it waited for was done, and
 * from before the call to after it.
 */
#include "fixture.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "bpf/tcp/tcp_hist.h"
#include "model/hist.h"
#include "rest.h"
#include "uring.h"
#include "waker.h"

#define CLIENT SONDE_TCP_ROLE_CLIENT
#define SERVER SONDE_TCP_ROLE_SERVER
#define WRITE SONDE_TCP_CALL_WRITE
#define READ SONDE_TCP_CALL_READ
#define TIME SONDE_PROBE_OPTION_EXECUTION_TIME

#define WAIT_MS 50

#define BY_SYSCALL "tp_btf/sys_enter, sys_exit"

/* What the tests are run with, one after the other: all that this kernel has; without functions; without kprobes either. */
static const char *const nothing[] = {NULL};
static const char *const trampolines[] = {"fentry", "fexit", NULL};
static const char *const functions[] = {"fentry", "fexit", "kprobe.multi", "kretprobe.multi", NULL};
static const char *const *const left_out[] = {nothing, trampolines, functions};

static const char *const *without;

/* The alternative that measures this; NULL: none does. */
static const char *chosen(const struct fixture *f, const char *metrics)
{
	for (size_t i = 0; i < f->n_probes; i++) {
		if (strcmp(f->probes[i].metrics, metrics) == 0 &&
		    f->probes[i].state == SONDE_PROBE_ATTACHED)
			return f->probes[i].name;
	}
	return NULL;
}

/* A call is one system call, not what the kernel makes of it. */
static bool by_syscall(const struct fixture *f)
{
	const char *name = chosen(f, SONDE_PROBE_METRICS_CALL_TIME);

	assert_non_null(name);
	return strcmp(name, BY_SYSCALL) == 0;
}

static uint64_t total_calls(const struct sonde_tcp_calls *c, enum sonde_tcp_call_direction d)
{
	uint64_t n = 0;

	for (unsigned int i = 0; i < SONDE_TCP_CALL_FAMILIES; i++)
		n += c->calls[d][i];
	return n;
}

static uint64_t hist_total(const struct fixture *f, enum sonde_tcp_role role, uint16_t port,
			   enum sonde_tcp_call_hist which)
{
	struct sonde_tcp_hist hist = fixture_call_hist(f, 0, role, port, which);

	return fixture_hist_total(&hist);
}

/* The only observation's bucket holds @value. */
static void assert_observed(const struct fixture *f, enum sonde_tcp_role role, uint16_t port,
			    enum sonde_tcp_call_hist which, uint64_t value)
{
	struct sonde_tcp_hist hist = fixture_call_hist(f, 0, role, port, which);

	assert_int_equal(fixture_hist_total(&hist), 1);
	if (which < SONDE_TCP_CALL_HIST_COARSE)
		assert_int_equal(hist.count[sonde_coarse_to_fine(sonde_coarse_bucket(value))], 1);
	else
		assert_int_equal(hist.count[sonde_hist_bucket_of(value)], 1);
}

/* --- by family --- */

static void write_in_each_way(int fd, struct uring *ring)
{
	char bytes[64] = {0};
	struct iovec part = {bytes, 7}, parts[2] = {{bytes, 5}, {bytes, 6}};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
	struct mmsghdr messages[3];
	int ends[2];

	for (int i = 0; i < 2; i++)
		assert_int_equal(write(fd, bytes, 1), 1);
	for (int i = 0; i < 3; i++)
		assert_int_equal(writev(fd, parts, 2), 11);
	for (int i = 0; i < 4; i++)
		assert_int_equal(send(fd, bytes, 3, 0), 3);
	assert_int_equal(sendto(fd, bytes, 4, 0, NULL, 0), 4);
	for (int i = 0; i < 5; i++)
		assert_int_equal(sendmsg(fd, &message, 0), 7);
	for (int i = 0; i < 3; i++)
		messages[i] = (struct mmsghdr){.msg_hdr = message};
	for (int i = 0; i < 2; i++)
		assert_int_equal(sendmmsg(fd, messages, 3, 0), 3);
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(write(ends[1], bytes, 10), 10);
	assert_int_equal(splice(ends[0], NULL, fd, NULL, 10, 0), 10);
	(void)close(ends[0]);
	(void)close(ends[1]);
	for (int i = 0; ring && i < 3; i++)
		assert_int_equal(uring_move(ring, true, fd, bytes, 9), 9);
}
#define WRITTEN (2 + 33 + 12 + 4 + 35 + 42 + 10)
#define WRITTEN_BY_RING 27

static void read_in_each_way(int fd, struct uring *ring)
{
	char bytes[64];
	struct iovec part = {bytes, 2}, parts[2] = {{bytes, 1}, {bytes, 1}};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
	struct mmsghdr messages[2];

	for (int i = 0; i < 2; i++)
		assert_int_equal(read(fd, bytes, 2), 2);
	for (int i = 0; i < 3; i++)
		assert_int_equal(readv(fd, parts, 2), 2);
	for (int i = 0; i < 4; i++)
		assert_int_equal(recv(fd, bytes, 2, 0), 2);
	assert_int_equal(recvfrom(fd, bytes, 2, 0, NULL, NULL), 2);
	for (int i = 0; i < 5; i++)
		assert_int_equal(recvmsg(fd, &message, 0), 2);
	for (int i = 0; i < 2; i++)
		messages[i] = (struct mmsghdr){.msg_hdr = message};
	for (int i = 0; i < 2; i++)
		assert_int_equal(recvmmsg(fd, messages, 2, 0, NULL), 2);
	for (int i = 0; ring && i < 3; i++)
		assert_int_equal(uring_move(ring, false, fd, bytes, 2), 2);
	assert_int_equal(recv(fd, bytes, 1, MSG_PEEK), 1); /* a look is none */
}
#define READ_BYTES (4 + 6 + 8 + 2 + 10 + 8)
#define READ_BY_RING 6

static struct uring *open_ring(struct uring *ring)
{
	return uring_open(ring) == 0 ? ring : NULL;
}

static void families(struct fixture *f, bool timed)
{
	struct fixture_pair p = fixture_pair(AF_INET);
	struct uring one, *ring = open_ring(&one);
	bool whole = timed && by_syscall(f);
	/* An operation of io_uring is no system call; as a function it has a time like any other. */
	uint64_t ops = ring ? 3 : 0, timed_ops = timed && !whole ? ops : 0;
	struct sonde_tcp_calls c;
	char byte;

	write_in_each_way(p.client, ring);
	assert_int_equal(recv(p.client, &byte, 1, MSG_DONTWAIT), -1); /* EAGAIN is none */
	fixture_wait_acked(p.client);
	read_in_each_way(p.server, ring);
	if (ring)
		uring_close(ring);
	fixture_snapshot(f);
	c = fixture_calls(f, getpid(), CLIENT, p.port);
	assert_int_equal(c.calls[WRITE][SONDE_TCP_CALL_PLAIN], 2);
	assert_int_equal(c.calls[WRITE][SONDE_TCP_CALL_VECTOR], 3);
	assert_int_equal(c.calls[WRITE][SONDE_TCP_CALL_ADDRESSED], 5);
	assert_int_equal(c.calls[WRITE][SONDE_TCP_CALL_MESSAGE], 5);
	assert_int_equal(c.calls[WRITE][SONDE_TCP_CALL_MESSAGES], whole ? 2 : 6);
	assert_int_equal(c.calls[WRITE][SONDE_TCP_CALL_SPLICE], 1);
	assert_int_equal(c.calls[WRITE][SONDE_TCP_CALL_IO_URING], ops);
	assert_int_equal(total_calls(&c, WRITE), (whole ? 18 : 22) + ops);
	assert_int_equal(total_calls(&c, READ), 0);
	assert_int_equal(c.timed[WRITE], timed ? (whole ? 18 : 22) + timed_ops : 0);
	assert_int_equal(fixture_sum(f, 0, CLIENT, p.port).sent_bytes,
			 WRITTEN + (ring ? WRITTEN_BY_RING : 0));
	assert_int_equal(hist_total(f, CLIENT, p.port, SONDE_TCP_CALL_HIST_WRITE_SIZE),
			 total_calls(&c, WRITE));
	assert_int_equal(hist_total(f, CLIENT, p.port, SONDE_TCP_CALL_HIST_WRITE_TIME),
			 c.timed[WRITE]);
	c = fixture_calls(f, getpid(), SERVER, p.port);
	assert_int_equal(c.calls[READ][SONDE_TCP_CALL_PLAIN], 2);
	assert_int_equal(c.calls[READ][SONDE_TCP_CALL_VECTOR], 3);
	assert_int_equal(c.calls[READ][SONDE_TCP_CALL_ADDRESSED], 5);
	assert_int_equal(c.calls[READ][SONDE_TCP_CALL_MESSAGE], 5);
	assert_int_equal(c.calls[READ][SONDE_TCP_CALL_MESSAGES], whole ? 2 : 4);
	assert_int_equal(c.calls[READ][SONDE_TCP_CALL_IO_URING], ops);
	assert_int_equal(total_calls(&c, READ), (whole ? 17 : 19) + ops);
	assert_int_equal(c.timed[READ], timed ? (whole ? 17 : 19) + timed_ops : 0);
	assert_int_equal(fixture_sum(f, 0, SERVER, p.port).received_bytes,
			 READ_BYTES + (ring ? READ_BY_RING : 0));
	assert_int_equal(hist_total(f, SERVER, p.port, SONDE_TCP_CALL_HIST_READ_SIZE),
			 total_calls(&c, READ));
	fixture_close_fd(&p.server); /* unread: an RST, and reading it is no call either */
	assert_int_equal(recv(p.client, &byte, 1, 0), -1);
	fixture_pair_done(&p);
	if (!ring)
		print_message("io_uring is refused here\n");
}

static void families_are_the_tests_own_without_the_option(void **state)
{
	fixture_set_options(*state, 0);
	families(*state, false);
}

static void families_are_the_tests_own_with_it(void **state)
{
	fixture_set_options(*state, TIME);
	families(*state, true);
}

static pid_t fork_reader(int close_fd, int fd, size_t n)
{
	pid_t pid = fork();

	if (pid == 0) {
		(void)close(close_fd);
		_exit(fixture_drain(fd) == n ? 0 : 1);
	}
	return pid;
}

/* One call of 1 MiB; the kernel's own hook sees many chunks. */
static void sendfile_is_one_call_with_the_option(void **state)
{
	struct fixture *f = *state;
	struct fixture_pair p;
	char path[] = "/tmp/sonde-test-calls-XXXXXX";
	int file = mkostemp(path, O_CLOEXEC);
	struct sonde_tcp_calls c;
	uint64_t calls = 0, most = 0;
	off_t offset = 0;
	pid_t reader;

	fixture_set_options(f, TIME);
	if (!by_syscall(f))
		skip();
	p = fixture_pair(AF_INET6);
	assert_true(file >= 0);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(ftruncate(file, 1 << 20), 0);
	reader = fork_reader(p.client, p.server, 1 << 20);
	for (; offset < 1 << 20; calls++) {
		ssize_t n = sendfile(p.client, file, &offset, (size_t)((1 << 20) - offset));

		assert_true(n > 0);
		most = (uint64_t)n > most ? (uint64_t)n : most;
	}
	fixture_wait_acked(p.client);
	fixture_snapshot(f);
	c = fixture_calls(f, getpid(), CLIENT, p.port);
	assert_int_equal(c.calls[WRITE][SONDE_TCP_CALL_SENDFILE], calls);
	assert_int_equal(total_calls(&c, WRITE), calls);
	if (calls == 1)
		assert_observed(f, CLIENT, p.port, SONDE_TCP_CALL_HIST_WRITE_SIZE, most);
	assert_true(fixture_sum(f, 0, CLIENT, p.port).write_calls > calls);
	(void)close(file);
	fixture_pair_done(&p);
	assert_int_equal(waitpid(reader, NULL, 0), reader);
}

static void sizes_are_those_of_the_calls(void **state)
{
	static const size_t sizes[] = {1, 9, 10, 99, 100, 1000, 16384};
	struct fixture *f = *state;

	for (size_t i = 0; i < 2 * ELEMENTS_OF(sizes); i++) {
		struct fixture_pair p;

		fixture_set_options(f, i < ELEMENTS_OF(sizes) ? TIME : 0);
		p = fixture_pair(AF_INET);
		fixture_send(p.client, sizes[i % ELEMENTS_OF(sizes)]);
		fixture_wait_acked(p.client);
		fixture_recv(p.server, sizes[i % ELEMENTS_OF(sizes)]);
		fixture_snapshot(f);
		assert_observed(f, CLIENT, p.port, SONDE_TCP_CALL_HIST_WRITE_SIZE,
				sizes[i % ELEMENTS_OF(sizes)]);
		assert_observed(f, SERVER, p.port, SONDE_TCP_CALL_HIST_READ_SIZE,
				sizes[i % ELEMENTS_OF(sizes)]);
		fixture_pair_done(&p);
	}
}

/* --- times --- */

static void send_a_byte(int fd)
{
	assert_int_equal(send(fd, "x", 1, MSG_NOSIGNAL), 1);
}

static void drain(int fd)
{
	char bytes[65536];

	while (recv(fd, bytes, sizeof(bytes), 0) > 0)
		;
}

static void a_read_that_waits_takes_that_long(void **state)
{
	struct fixture *f = *state;
	struct fixture_pair p;
	struct waker w = {.call = SYS_read, .wake = send_a_byte};
	struct sonde_tcp_calls c;
	uint64_t before, after;
	char byte;

	fixture_set_options(f, TIME);
	p = fixture_pair(AF_INET);
	w.fd = p.server;
	waker_start(&w);
	before = sonde_mono_ns();
	assert_int_equal(read(p.client, &byte, 1), 1);
	after = sonde_mono_ns();
	waker_join(&w);
	fixture_snapshot(f);
	c = fixture_calls(f, getpid(), CLIENT, p.port);
	assert_int_equal(c.timed[READ], 1);
	assert_between(w.wakes_ns - w.asleep_ns, c.time_sum_ns[READ], after - before);
	assert_observed(f, CLIENT, p.port, SONDE_TCP_CALL_HIST_READ_TIME,
			c.time_sum_ns[READ] / 1000);
	assert_int_equal(c.blocked[READ], 1);
	assert_between(w.wakes_ns - w.asleep_ns, c.blocked_sum_ns[READ], c.time_sum_ns[READ]);
	/* The helper's own call did not wait. */
	c = fixture_calls(f, getpid(), SERVER, p.port);
	assert_int_equal(c.timed[WRITE], 1);
	assert_int_equal(c.blocked[WRITE], 0);
	assert_true(c.time_sum_ns[WRITE] > 0);
	fixture_pair_done(&p);
}

static void a_write_that_waits_takes_that_long(void **state)
{
	static const char bytes[8 << 20];
	struct fixture *f = *state;
	struct fixture_pair p;
	struct waker w = {.call = SYS_sendto, .wake = drain};
	struct sonde_tcp_calls c;
	uint64_t before, after;

	fixture_set_options(f, TIME);
	p = fixture_pair(AF_INET);
	w.fd = p.server;
	waker_start(&w);
	before = sonde_mono_ns();
	assert_int_equal(send(p.client, bytes, sizeof(bytes), 0), sizeof(bytes));
	after = sonde_mono_ns();
	assert_int_equal(shutdown(p.client, SHUT_WR), 0);
	waker_join(&w);
	fixture_snapshot(f);
	c = fixture_calls(f, getpid(), CLIENT, p.port);
	assert_int_equal(c.timed[WRITE], 1);
	assert_between(w.wakes_ns - w.asleep_ns, c.time_sum_ns[WRITE], after - before);
	assert_int_equal(c.blocked[WRITE], 1);
	assert_between(w.wakes_ns - w.asleep_ns, c.blocked_sum_ns[WRITE], c.time_sum_ns[WRITE]);
	assert_observed(f, CLIENT, p.port, SONDE_TCP_CALL_HIST_WRITE_SIZE, sizeof(bytes));
	fixture_pair_done(&p);
}

/* None waits; all together take no longer than the test's own clock says. */
static void calls_that_do_not_wait_take_what_they_take(void **state)
{
	struct fixture *f = *state;
	struct fixture_pair p;
	struct sonde_tcp_calls c;
	uint64_t before, took;

	fixture_set_options(f, TIME);
	p = fixture_pair(AF_INET);
	before = sonde_mono_ns();
	for (int i = 0; i < 1000; i++)
		fixture_send(p.client, 10);
	took = sonde_mono_ns() - before;
	fixture_snapshot(f);
	c = fixture_calls(f, getpid(), CLIENT, p.port);
	assert_int_equal(c.timed[WRITE], 1000);
	assert_int_equal(c.blocked[WRITE], 0);
	assert_between(1000, c.time_sum_ns[WRITE], took);
	assert_int_equal(hist_total(f, CLIENT, p.port, SONDE_TCP_CALL_HIST_WRITE_TIME), 1000);
	fixture_pair_done(&p);
}

static void *send_hundred(void *arg)
{
	for (int i = 0; i < 100; i++)
		fixture_send(*(int *)arg, 1);
	return NULL;
}

struct early {
	_Atomic bool may;
	int fd;
};

static void *send_when_allowed(void *arg)
{
	struct early *e = arg;

	while (!atomic_load(&e->may))
		fixture_wait_ms(1);
	send_a_byte(e->fd);
	return NULL;
}

/* A thread from before the option, one that came later, and a child process. */
static void every_thread_of_a_target_is_timed(void **state)
{
	struct fixture *f = *state;
	struct fixture_pair p;
	struct early early = {0};
	pthread_t before, after;
	pid_t child;

	fixture_set_options(f, 0);
	p = fixture_pair(AF_INET);
	early.fd = p.client;
	assert_int_equal(pthread_create(&before, NULL, send_when_allowed, &early), 0);
	fixture_set_options(f, TIME);
	atomic_store(&early.may, true);
	assert_int_equal(pthread_join(before, NULL), 0);
	assert_int_equal(pthread_create(&after, NULL, send_hundred, &p.client), 0);
	assert_int_equal(pthread_join(after, NULL), 0);
	child = fork();
	if (child == 0) {
		(void)send_hundred(&p.client);
		_exit(0);
	}
	assert_int_equal(waitpid(child, NULL, 0), child);
	fixture_snapshot(f);
	assert_int_equal(fixture_calls(f, 0, CLIENT, p.port).timed[WRITE], 201);
	assert_int_equal(fixture_loss(f, SONDE_TCP_LOSS_CALL_THREAD), 0);
	fixture_pair_done(&p);
}

/* --- accept, connect, close --- */

static void accept_queue_time_is_that_of_waiting(void **state)
{
	struct fixture *f = *state;
	uint64_t connects, queued, accepts, accepted;
	struct sonde_tcp_calls c;
	int listener, early, client, server;
	uint16_t port;

	fixture_set_options(f, 0);
	listener = fixture_listen(AF_INET, 16, &port);
	early = fixture_connect(AF_INET,
				port); /* before the option: since when it waits is not known */
	fixture_wait_queued(listener);
	fixture_set_options(f, TIME);
	server = fixture_accept(listener);
	fixture_snapshot(f);
	c = fixture_calls(f, getpid(), SERVER, port);
	assert_int_equal(c.accepts, 1);
	assert_int_equal(c.accept_queue_count, 0);
	(void)close(server);

	connects = sonde_mono_ns();
	client = fixture_connect(AF_INET, port);
	fixture_wait_queued(listener);
	queued = sonde_mono_ns();
	fixture_wait_ms(WAIT_MS);
	accepts = sonde_mono_ns();
	server = fixture_accept(listener);
	accepted = sonde_mono_ns();
	assert_int_equal(fcntl(listener, F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(accept4(listener, NULL, NULL, 0), -1); /* EAGAIN is none */
	fixture_snapshot(f);
	c = fixture_calls(f, getpid(), SERVER, port);
	assert_int_equal(c.accepts, 2);
	assert_int_equal(c.accept_queue_count, 1);
	assert_between(accepts - queued, c.accept_queue_sum_ns, accepted - connects);
	assert_observed(f, SERVER, port, SONDE_TCP_CALL_HIST_ACCEPT_QUEUE,
			c.accept_queue_sum_ns / 1000);
	(void)close(early);
	(void)close(client);
	(void)close(server);
	(void)close(listener);
	/* In the cell where the connection's other numbers are. */
	assert_non_null(fixture_cell(f, getpid(), SERVER, port));
}

/* Its own port is gone by the time of accept(2), not from its cell. */
static void a_connection_that_was_reset_in_the_queue_is_accepted_at_its_port(void **state)
{
	struct fixture *f = *state;
	struct sonde_tcp_calls c;
	int listener, client, server;
	uint16_t port;

	fixture_set_options(f, TIME);
	listener = fixture_listen(AF_INET, 16, &port);
	client = fixture_connect(AF_INET, port);
	fixture_abort_on_close(client);
	(void)close(client);
	server = fixture_accept(listener);
	fixture_snapshot(f);
	c = fixture_calls(f, getpid(), SERVER, port);
	assert_int_equal(c.accepts, 1);
	assert_int_equal(c.accept_queue_count, 1);
	assert_int_equal(fixture_calls(f, getpid(), SERVER, 0).accepts, 0);
	assert_int_equal(fixture_loss(f, SONDE_TCP_LOSS_CALL_WAITING), 0);
	(void)close(server);
	(void)close(listener);
}

static int try_connect(const char *address, uint16_t port, int flags)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0), error;
	struct pollfd answered = {.events = POLLOUT};

	assert_true(fd >= 0);
	assert_int_equal(inet_pton(AF_INET, address, &to.sin_addr), 1);
	error = connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0 ? errno : 0;
	answered.fd = fd;
	if (error == EINPROGRESS)
		assert_int_equal(poll(&answered, 1, 60000), 1);
	(void)close(fd);
	return error;
}

/* A namespace of our own, so that the routes are the test's. */
static bool enter_namespace_with_routes(int *ret_home)
{
	*ret_home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (*ret_home < 0 || unshare(CLONE_NEWNET) < 0)
		return false;
	return fixture_run("ip link set lo up && ip route add blackhole 10.97.1.0/24 && "
			   "ip route add unreachable 10.97.2.0/24 && "
			   "ip route add prohibit 10.97.3.0/24");
}

static void connects_that_fail_before_a_syn_have_their_errno(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_in6 to6 = {.sin6_family = AF_INET6, .sin6_port = htons(81)};
	struct sonde_tcp_calls c;
	int home, fd;

	fixture_set_options(f, TIME);
	if (!enter_namespace_with_routes(&home))
		skip();
	for (int i = 0; i < 2; i++)
		assert_int_equal(try_connect("10.97.1.1", 80, i ? SOCK_NONBLOCK : 0), EINVAL);
	assert_int_equal(try_connect("10.97.2.1", 80, 0), EHOSTUNREACH);
	assert_int_equal(try_connect("10.97.3.1", 80, 0), EACCES);
	for (int i = 0; i < 3; i++)
		assert_int_equal(try_connect("10.98.0.1", 80, 0), ENETUNREACH);
	/* These send a SYN, or are no connect of TCP's. */
	assert_int_equal(try_connect("127.0.0.1", 80, 0), ECONNREFUSED);
	assert_int_equal(try_connect("127.0.0.1", 80, SOCK_NONBLOCK), EINPROGRESS);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	(void)close(fd);
	fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	assert_int_equal(inet_pton(AF_INET6, "fd00:97::1", &to6.sin6_addr), 1);
	assert_int_equal(connect(fd, (struct sockaddr *)&to6, sizeof(to6)), -1);
	assert_int_equal(errno, ENETUNREACH);
	(void)close(fd);
	fixture_snapshot(f);
	assert_int_equal(setns(home, CLONE_NEWNET), 0);
	(void)close(home);
	c = fixture_calls(f, getpid(), CLIENT, 80);
	assert_int_equal(c.local_failed[SONDE_TCP_LOCAL_EINVAL], 2);
	assert_int_equal(c.local_failed[SONDE_TCP_LOCAL_EHOSTUNREACH], 1);
	assert_int_equal(c.local_failed[SONDE_TCP_LOCAL_EACCES], 1);
	assert_int_equal(c.local_failed[SONDE_TCP_LOCAL_ENETUNREACH], 3);
	assert_int_equal(c.local_failed[SONDE_TCP_LOCAL_EADDRNOTAVAIL], 0);
	assert_int_equal(c.local_failed[SONDE_TCP_LOCAL_OTHER], 0);
	c = fixture_calls(f, getpid(), CLIENT, 81);
	assert_int_equal(c.local_failed[SONDE_TCP_LOCAL_ENETUNREACH], 1);
	/* What the state changes tell is not told twice. */
	assert_int_equal(
		fixture_sum(f, getpid(), CLIENT, 80).connect_failed[SONDE_TCP_CONNECT_ECONNREFUSED],
		2);
}

static void a_close_that_lingers_takes_that_long(void **state)
{
	struct fixture *f = *state;
	struct linger linger = {.l_onoff = 1, .l_linger = 60};
	struct fixture_pair p;
	struct waker w = {.call = SYS_close, .wake = drain};
	struct sonde_tcp_calls c;
	uint64_t before, after;

	fixture_set_options(f, TIME);
	p = fixture_pair(AF_INET);
	assert_int_equal(setsockopt(p.client, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
	(void)rest_fill(p.client, NULL);
	assert_int_equal(close(dup(p.client)), 0); /* ends nothing */
	w.fd = p.server;
	waker_start(&w);
	before = sonde_mono_ns();
	assert_int_equal(close(p.client), 0);
	after = sonde_mono_ns();
	p.client = -1;
	waker_join(&w);
	fixture_snapshot(f);
	c = fixture_calls(f, getpid(), CLIENT, p.port);
	assert_int_equal(c.close_count, 1);
	assert_between(w.wakes_ns - w.asleep_ns, c.close_sum_ns, after - before);
	assert_observed(f, CLIENT, p.port, SONDE_TCP_CALL_HIST_CLOSE_TIME, c.close_sum_ns / 1000);
	assert_int_equal(fixture_calls(f, getpid(), SERVER, p.port).close_count, 0);
	fixture_pair_done(&p);
	fixture_snapshot(f);
	assert_int_equal(fixture_calls(f, getpid(), SERVER, p.port).close_count, 1);
}

/* However it came to its end, each close(2) of the last descriptor has its time. */
static void each_close_has_its_time(void **state)
{
	struct fixture *f = *state;
	struct fixture_pair p;

	fixture_set_options(f, TIME);
	p = fixture_pair(AF_INET);
	fixture_close_fd(&p.client); /* the first to close */
	fixture_close_fd(&p.server); /* the second */
	for (int i = 0; i < 3; i++) {
		struct fixture_pair q = fixture_again(&p);

		if (i == 0) /* by RST */
			fixture_abort_on_close(q.client);
		if (i == 1) /* already shut both ways */
			assert_int_equal(shutdown(q.client, SHUT_RDWR), 0);
		if (i == 2) { /* already reset by the other end */
			fixture_abort_on_close(q.server);
			fixture_close_fd(&q.server);
			fixture_wait_end(q.client);
		}
		fixture_close_fd(&q.client);
		fixture_close_fd(&q.server);
	}
	fixture_snapshot(f);
	assert_int_equal(fixture_calls(f, getpid(), CLIENT, p.port).close_count, 4);
	assert_int_equal(fixture_calls(f, getpid(), SERVER, p.port).close_count, 4);
	fixture_pair_done(&p);
}

/* --- the option comes and goes --- */

static bool program_lives(uint32_t id)
{
	int fd = bpf_prog_get_fd_by_id(id);

	if (fd >= 0)
		(void)close(fd);
	return fd >= 0;
}

static void the_option_leaves_nothing_and_comes_again(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 3; i++) {
		size_t first, programs = 0;

		fixture_set_options(f, 0);
		first = f->n_ids = 0; /* room for those that come now */
		fixture_set_options(f, TIME);
		assert_non_null(chosen(f, SONDE_PROBE_METRICS_CALL_TIME));
		assert_non_null(chosen(f, SONDE_PROBE_METRICS_CALL_SLEEP));
		if (by_syscall(f)) {
			const struct sonde_probe_probe *probe =
				fixture_probe(f, SONDE_PROBE_METRICS_CALL_TIME, BY_SYSCALL);

			assert_true(probe->other_ns > 0);
			print_message("%s\n", probe->reason);
		}
		for (size_t k = first; k < f->n_ids; k++) {
			if (f->ids[k].kind == 'p') {
				programs++;
				assert_true(program_lives(f->ids[k].id));
			}
		}
		assert_true(programs >= 3);
		fixture_set_options(f, 0);
		assert_null(chosen(f, SONDE_PROBE_METRICS_CALL_TIME));
		for (size_t k = first; k < f->n_ids; k++) {
			for (int turn = 0;
			     turn < 6000 && f->ids[k].kind == 'p' && program_lives(f->ids[k].id);
			     turn++)
				fixture_wait_ms(
					10); /* the kernel frees them behind a grace period */
			if (f->ids[k].kind == 'p')
				assert_false(program_lives(f->ids[k].id));
		}
		f->n_ids = first;
	}
}

#define WAY_MAX 48

/* The alternative that the option takes when these are left out; empty when there is none. */
static void way_without(const char *const *kinds, char ret[WAY_MAX])
{
	struct fixture f;
	const char *name = NULL;

	ret[0] = '\0';
	if (fixture_open(&f, &(struct fixture_options){.without = kinds}) < 0)
		return;
	fixture_set_options(&f, TIME);
	name = chosen(&f, SONDE_PROBE_METRICS_CALL_TIME);
	(void)snprintf(ret, WAY_MAX, "%s", name ? name : "");
	fixture_close(&f);
}

static int open_way(void **state)
{
	static struct fixture f;
	int r = fixture_open(&f, &(struct fixture_options){.without = without});

	if (r < 0)
		return r;
	*state = &f;
	return sonde_collector_tcp.target_add(f.state, (uint32_t)getpid(), 1);
}

static int close_way(void **state)
{
	fixture_close(*state);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(families_are_the_tests_own_without_the_option),
		cmocka_unit_test(families_are_the_tests_own_with_it),
		cmocka_unit_test(sendfile_is_one_call_with_the_option),
		cmocka_unit_test(sizes_are_those_of_the_calls),
		cmocka_unit_test(a_read_that_waits_takes_that_long),
		cmocka_unit_test(a_write_that_waits_takes_that_long),
		cmocka_unit_test(calls_that_do_not_wait_take_what_they_take),
		cmocka_unit_test(every_thread_of_a_target_is_timed),
		cmocka_unit_test(accept_queue_time_is_that_of_waiting),
		cmocka_unit_test(a_connection_that_was_reset_in_the_queue_is_accepted_at_its_port),
		cmocka_unit_test(connects_that_fail_before_a_syn_have_their_errno),
		cmocka_unit_test(a_close_that_lingers_takes_that_long),
		cmocka_unit_test(each_close_has_its_time),
		cmocka_unit_test(the_option_leaves_nothing_and_comes_again),
	};

	char last[WAY_MAX] = "", way[WAY_MAX];
	int failed = 0, groups = 0;

	if (geteuid() != 0 || fixture_bpf_is_refused())
		return SONDE_EXIT_SKIP;
	for (size_t i = 0; i < ELEMENTS_OF(left_out); i++) {
		way_without(left_out[i], way);
		if (!way[0] || strcmp(way, last) == 0)
			continue; /* nothing at all, or as before */
		memcpy(last, way, sizeof(last));
		groups++;
		print_message("calls are timed by %s\n", way);
		without = left_out[i];
		failed += _cmocka_run_group_tests(way, tests, ELEMENTS_OF(tests), open_way,
						  close_way);
	}
	return groups ? failed : SONDE_EXIT_SKIP;
}
