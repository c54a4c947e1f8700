/* SPDX-License-Identifier: Apache-2.0 */
/* Connections: who opened, accepted and closed them, whose they are, and which failed. */
#include "fixture.h"
#include "unseen.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bpf/tcp/tcp_private.h"

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

/* Exactly one close, of this kind. */
static void assert_closed(struct fixture *f, enum sonde_tcp_role role, uint16_t port,
			  enum sonde_tcp_close how)
{
	struct sonde_tcp_cell c;

	fixture_wait_closed(f, role, port, 1);
	c = fixture_sum(f, 0, role, port);
	assert_int_equal(all_closes(&c), 1);
	assert_int_equal(c.closed[how], 1);
	assert_int_equal(c.open, 0);
}

static void opens_accepts_and_names_the_first_closer(void **state)
{
	struct fixture *f = *state;
	struct fixture_pair p = fixture_pair(AF_INET);
	struct sonde_tcp_cell c;

	fixture_snapshot(f);
	c = fixture_sum(f, getpid(), CLIENT, p.port);
	assert_int_equal(c.opened, 1);
	assert_int_equal(c.accepted, 0);
	assert_int_equal(c.open, 1);
	assert_int_equal(c.handshake_count, 1);
	assert_true(c.handshake_sum_us > 0);
	c = fixture_sum(f, getpid(), SERVER, p.port);
	assert_int_equal(c.opened, 0);
	assert_int_equal(c.accepted, 1);
	assert_int_equal(c.open, 1);
	fixture_assert_handshakes(&c, &p.handshake_us, 1);
	fixture_close_fd(&p.client);
	assert_int_equal(fixture_drain(p.server), 0);
	fixture_snapshot(f);
	assert_closed(f, CLIENT, p.port, SONDE_TCP_CLOSE_LOCAL_FIN);
	assert_int_equal(fixture_sum(f, 0, SERVER, p.port).open, 1);
	fixture_pair_done(&p);
	fixture_snapshot(f);
	assert_closed(f, CLIENT, p.port, SONDE_TCP_CLOSE_LOCAL_FIN);
	assert_closed(f, SERVER, p.port, SONDE_TCP_CLOSE_REMOTE_FIN);
}

static void a_reset_names_its_sender(void **state)
{
	struct fixture *f = *state;
	struct fixture_pair p = fixture_pair(AF_INET6);

	fixture_send(p.client, 1);
	fixture_recv(p.server, 1);
	fixture_abort_on_close(p.server);
	fixture_close_fd(&p.server);
	fixture_wait_end(p.client);
	fixture_pair_done(&p);
	fixture_snapshot(f);
	assert_closed(f, SERVER, p.port, SONDE_TCP_CLOSE_LOCAL_RST);
	assert_closed(f, CLIENT, p.port, SONDE_TCP_CLOSE_REMOTE_RST);
	assert_int_equal(fixture_sum(f, 0, SERVER, p.port).resets_sent, 1);
	assert_int_equal(fixture_sum(f, 0, SERVER, p.port).resets_received, 0);
	assert_int_equal(fixture_sum(f, 0, CLIENT, p.port).resets_received, 1);
	assert_int_equal(fixture_sum(f, 0, CLIENT, p.port).resets_sent, 0);
}

static void a_half_close_is_counted_apart(void **state)
{
	struct fixture *f = *state;
	struct fixture_pair p = fixture_pair(AF_INET);
	struct sonde_tcp_cell c;

	assert_int_equal(shutdown(p.client, SHUT_WR), 0);
	assert_int_equal(fixture_drain(p.server), 0);
	fixture_snapshot(f);
	c = fixture_sum(f, 0, CLIENT, p.port);
	assert_int_equal(c.half_closed, 1);
	assert_int_equal(all_closes(&c), 0);
	assert_int_equal(c.open, 1);
	fixture_close_fd(&p.server);
	assert_int_equal(fixture_drain(p.client), 0);
	fixture_pair_done(&p);
	fixture_snapshot(f);
	assert_closed(f, CLIENT, p.port, SONDE_TCP_CLOSE_LOCAL_FIN);
	assert_closed(f, SERVER, p.port, SONDE_TCP_CLOSE_REMOTE_FIN);
	assert_int_equal(fixture_sum(f, 0, CLIENT, p.port).half_closed, 1);
	assert_int_equal(fixture_sum(f, 0, SERVER, p.port).half_closed, 0);
}

static void a_refused_connect_names_its_errno(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sonde_tcp_cell c;
	uint16_t port;
	int fd;

	fd = fixture_listen(AF_INET, 1, &port);
	(void)close(fd);
	to.sin_port = htons(port);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	for (int i = 0; i < 3; i++) { /* on one descriptor */
		assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), -1);
		assert_int_equal(errno, ECONNREFUSED);
	}
	(void)close(fd);
	fixture_snapshot(f);
	c = fixture_sum(f, getpid(), CLIENT, port);
	assert_int_equal(c.connect_failed[SONDE_TCP_CONNECT_ECONNREFUSED], 3);
	assert_int_equal(c.opened, 0);
	assert_int_equal(all_closes(&c), 0);
}

static unsigned int count_tuples(const struct fixture *f)
{
	struct sonde_tcp_tuple key;
	const void *at = NULL;
	unsigned int n = 0;
	int fd = fixture_map(f, "sonde_tuples");

	while (bpf_map_get_next_key(fd, at, &key) == 0) {
		at = &key;
		n++;
	}
	(void)close(fd);
	return n;
}

/* Bounded: the other end's RST or FIN may come late. */
static void wait_tuples(const struct fixture *f, unsigned int n)
{
	for (unsigned int i = 0; i < 6000 && count_tuples(f) != n; i++)
		fixture_wait_ms(10);
	assert_int_equal(count_tuples(f), n);
}

/* Its address pair would name us as the peer of whoever gets that port next. */
static void a_socket_that_is_connected_anew_leaves_no_address_pair_behind(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	const struct sockaddr nobody = {.sa_family = AF_UNSPEC};
	struct fixture_pair p = {.listener = -1, .client = -1, .server = -1};
	unsigned int before;

	if (!fixture_measures(f, CONNECTIONS, "the other end's process"))
		return;
	p = fixture_pair(AF_INET);
	before = count_tuples(f);
	to.sin_port = htons(p.port);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(connect(p.client, &nobody, sizeof(nobody)), 0);
		fixture_close_fd(&p.server);
		assert_int_equal(connect(p.client, (struct sockaddr *)&to, sizeof(to)), 0);
		p.server = fixture_accept(p.listener);
		wait_tuples(f, before);
	}
	fixture_snapshot(f);
	assert_int_equal(fixture_sum(f, 0, CLIENT, p.port).opened, 4);
	assert_int_equal(fixture_sum(f, 0, CLIENT, p.port).open, 1);
	fixture_pair_done(&p);
	wait_tuples(f, before - 2);
}

/* A full backlog answers no SYN; the application gives up. */
static void a_connect_that_was_given_up_is_aborted(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sonde_tcp_cell c;
	int listener, filler, fd;
	uint16_t port;

	listener = fixture_listen(AF_INET, 0, &port);
	filler = fixture_connect(AF_INET, port);
	fixture_wait_queued(listener);
	to.sin_port = htons(port);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), -1);
	assert_int_equal(errno, EINPROGRESS);
	(void)close(fd);
	fixture_snapshot(f);
	c = fixture_sum(f, 0, CLIENT, port);
	assert_int_equal(c.connect_failed[SONDE_TCP_CONNECT_ABORTED], 1);
	assert_int_equal(c.connect_failed[SONDE_TCP_CONNECT_OTHER], 0);
	(void)close(filler);
	(void)close(listener);
}

static void both_ends_know_each_others_process(void **state)
{
	static const int families[] = {AF_INET, AF_INET6};
	struct fixture *f = *state;

	if (!fixture_measures(f, CONNECTIONS, "the other end's process"))
		return;
	for (size_t i = 0; i < 2; i++) {
		const struct fixture_cell *cell;
		int gate[2], listener, server;
		uint16_t port;
		pid_t child;

		assert_int_equal(pipe2(gate, O_CLOEXEC), 0);
		listener = fixture_listen(families[i], 16, &port);
		child = fork(); /* becomes a target: its parent is one */
		if (child == 0) {
			char byte;
			int fd = fixture_connect(families[i], port);

			fixture_send(fd, 100);
			_exit(read(gate[0], &byte, 1) == 0);
		}
		server = fixture_accept(listener);
		fixture_recv(server, 100);
		fixture_snapshot(f);
		cell = fixture_cell(f, getpid(), SERVER, port);
		assert_non_null(cell);
		assert_int_equal(cell->key.peer_pid, child);
		assert_int_equal(cell->now.received_bytes, 100);
		cell = fixture_cell(f, child, CLIENT, port);
		assert_non_null(cell);
		assert_int_equal(cell->now.sent_bytes, 100);
		(void)kill(child, SIGKILL);
		assert_int_equal(waitpid(child, NULL, 0), child);
		(void)close(server);
		(void)close(listener);
		(void)close(gate[0]);
		(void)close(gate[1]);
	}
}

/* The parent accepts, each child serves: bytes and `accepted` are the child's. */
static void a_forking_servers_connections_are_its_childrens(void **state)
{
	struct fixture *f = *state;
	struct sonde_tcp_cell c;
	uint32_t handshake_us[3];
	pid_t children[3];
	uint16_t port;
	int listener = fixture_listen(AF_INET, 16, &port);

	for (int i = 0; i < 3; i++) {
		int client = fixture_connect(AF_INET, port), server;

		server = fixture_accept(listener);
		handshake_us[i] = fixture_handshake_us(server);
		fixture_send(client, 1000);
		fixture_wait_acked(client); /* arrives before anybody's I/O */
		children[i] = fork();
		if (children[i] == 0) {
			(void)close(client);
			fixture_recv(server, 1000);
			fixture_send(server, 10);
			(void)close(server);
			_exit(0);
		}
		(void)close(server);
		fixture_recv(client, 10);
		assert_int_equal(waitpid(children[i], NULL, 0), children[i]);
		(void)close(client);
	}
	fixture_wait_closed(f, SERVER, port, 3);
	(void)close(listener);
	/* Without a hook at the first I/O they stay their listener's. */
	if (!fixture_measures(f, "read calls", NULL)) {
		c = fixture_sum(f, getpid(), SERVER, port);
		assert_int_equal(c.accepted, 3);
		assert_int_equal(c.received_bytes, 3000);
		assert_int_equal(all_closes(&c), 3);
		return;
	}
	for (int i = 0; i < 3; i++) {
		c = fixture_sum(f, children[i], SERVER, port);
		assert_int_equal(c.accepted, 1);
		fixture_assert_handshakes(&c, &handshake_us[i], 1);
		assert_int_equal(c.received_bytes, 1000);
		assert_int_equal(c.sent_bytes, 10);
		assert_int_equal(all_closes(&c), 1);
	}
	assert_null(fixture_cell(f, getpid(), SERVER, port));
}

static bool is_listed(const struct fixture *f, pid_t pid, uint32_t state)
{
	for (size_t i = 0; i < f->n_processes; i++) {
		if (f->processes[i].pid == (uint32_t)pid)
			return f->processes[i].state == state &&
			       f->processes[i].root_pid == (uint32_t)getpid();
	}
	return false;
}

static void children_are_told_as_processes(void **state)
{
	struct fixture *f = *state;
	int gate[2];
	pid_t child;

	assert_int_equal(pipe2(gate, O_CLOEXEC), 0);
	child = fork();
	if (child == 0) {
		char byte;

		(void)close(gate[1]);
		_exit(read(gate[0], &byte, 1) != 0);
	}
	fixture_snapshot(f);
	assert_true(is_listed(f, child, SONDE_PROBE_PROCESS_FORKED));
	(void)close(gate[1]);
	assert_int_equal(waitpid(child, NULL, 0), child);
	(void)close(gate[0]);
	fixture_snapshot(f);
	assert_true(is_listed(f, child, SONDE_PROBE_PROCESS_EXITED));
}

/* Seeding: open ones, half-closed ones, those that wait in an accept queue. */
static void seeds_what_was_there_before(void **state)
{
	struct fixture f;
	struct fixture_pair open, again, half;
	struct sonde_tcp_cell c;
	int waiting[5], late, listener;
	unsigned int queued = 0;
	uint16_t port;

	open = fixture_pair(AF_INET);
	again = fixture_again(&open);
	half = fixture_pair(AF_INET6);
	fixture_send(open.client, 5000);
	fixture_recv(open.server, 4000); /* 1,000 arrived before and are read in the task */
	fixture_wait_acked(open.client);
	assert_int_equal(shutdown(half.client, SHUT_WR), 0);
	assert_int_equal(fixture_drain(half.server), 0);
	fixture_wait_acked(half.client);
	listener = fixture_listen(AF_INET, 16, &port);
	for (int i = 0; i < 5; i++) {
		waiting[i] = fixture_connect(AF_INET, port);
		fixture_send(waiting[i], 20);
		fixture_wait_acked(waiting[i]);
	}

	assert_ok(fixture_open(&f, &(struct fixture_options){0}));
	fixture_target(&f, getpid(), 1);
	fixture_seed(&f);
	if (fixture_measures(&f, "connections that were open before", "accept queue"))
		queued = 5;
	assert_int_equal(f.timing.seeded_sockets, 6 + 5 + queued);
	fixture_seed(&f); /* idempotent */
	assert_int_equal(f.timing.seeded_sockets, 0);
	fixture_snapshot(&f);
	c = fixture_sum(&f, getpid(), SERVER, port);
	assert_int_equal(c.seeded, queued);
	assert_int_equal(c.accepted, 0);
	assert_int_equal(c.open, queued);
	assert_int_equal(fixture_loss(&f, SONDE_TCP_LOSS_ACCEPT_QUEUE), 5 - queued);
	c = fixture_sum(&f, getpid(), CLIENT, port);
	assert_int_equal(c.seeded, 5);
	assert_int_equal(c.open, 5);

	/* roles are inferred from listeners, both ends are known to each other */
	c = fixture_sum(&f, getpid(), SERVER, open.port);
	assert_int_equal(c.seeded, 2);
	assert_int_equal(c.received_bytes, 0);
	if (fixture_measures(&f, CONNECTIONS, "the other end's process")) {
		assert_int_equal(fixture_cell(&f, getpid(), SERVER, open.port)->key.peer_pid,
				 getpid());
		assert_int_equal(fixture_cell(&f, getpid(), CLIENT, open.port)->key.peer_pid,
				 getpid());
	}
	fixture_send(open.client, 77);
	fixture_recv(open.server, 1077);
	fixture_wait_acked(open.client);
	fixture_send(half.server, 300);
	fixture_recv(half.client, 300);
	fixture_wait_acked(half.server);
	late = fixture_accept(listener);
	fixture_recv(late, 20);
	fixture_send(late, 40);
	fixture_wait_acked(late);
	fixture_snapshot(&f);
	c = fixture_sum(&f, getpid(), CLIENT, open.port);
	assert_int_equal(c.sent_bytes, 77);
	assert_int_equal(c.acked_bytes, 77);
	c = fixture_sum(&f, getpid(), SERVER, open.port);
	assert_int_equal(c.received_bytes, 1077);
	assert_int_equal(c.arrived_bytes, 77);
	c = fixture_sum(&f, getpid(), SERVER, half.port);
	assert_int_equal(c.sent_bytes, 300);
	assert_int_equal(c.received_bytes, 0);
	c = fixture_sum(&f, getpid(), CLIENT, half.port);
	assert_int_equal(c.received_bytes, 300);
	assert_int_equal(c.sent_bytes, 0);
	c = fixture_sum(&f, getpid(), SERVER, port);
	assert_int_equal(c.received_bytes, queued ? 20 : 0);
	assert_int_equal(c.sent_bytes, queued ? 40 : 0);
	assert_int_equal(c.arrived_bytes, 0);

	for (int i = 0; i < 5; i++)
		(void)close(waiting[i]);
	(void)close(late);
	(void)close(listener);
	fixture_pair_done(&open);
	fixture_pair_done(&again);
	fixture_pair_done(&half);
	fixture_wait_closed(&f, SERVER, port, queued);
	fixture_wait_closed(&f, CLIENT, half.port, 1);
	c = fixture_sum(&f, getpid(), SERVER, port);
	assert_int_equal(all_closes(&c), queued);
	c = fixture_sum(&f, getpid(), CLIENT, half.port);
	assert_int_equal(all_closes(&c), 1);
	assert_int_equal(c.closed[SONDE_TCP_CLOSE_LOCAL_FIN], 1);
	assert_int_equal(c.half_closed, 0);
	fixture_close(&f);
}

/* It speaks once its pipe, *@ret_go, is closed. */
static pid_t start_stranger(uint16_t *ret_port, int *ret_go)
{
	int ready[2], go[2];
	pid_t pid;

	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	assert_int_equal(pipe2(go, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		struct fixture_pair p = fixture_pair(AF_INET);
		char byte;

		(void)close(go[1]);
		(void)write(ready[1], &p.port, sizeof(p.port));
		(void)read(go[0], &byte, 1);
		for (int i = 0; i < 200; i++) {
			fixture_send(p.client, 100);
			fixture_recv(p.server, 100);
		}
		fixture_pair_done(&p);
		_exit(0);
	}
	assert_int_equal(read(ready[0], ret_port, sizeof(*ret_port)), sizeof(*ret_port));
	(void)close(ready[0]);
	(void)close(ready[1]);
	(void)close(go[0]);
	*ret_go = go[1];
	return pid;
}

/* Forked before there is a target, so it is none itself. */
static void a_process_that_is_no_target_shows_nothing(void **state)
{
	struct fixture f;
	uint16_t port;
	int go;
	pid_t stranger = start_stranger(&port, &go);

	assert_ok(fixture_open(&f, &(struct fixture_options){0}));
	fixture_target(&f, getpid(), 1);
	fixture_seed(&f);
	(void)close(go);
	assert_int_equal(waitpid(stranger, NULL, 0), stranger);
	fixture_snapshot(&f);
	for (size_t i = 0; i < f.n_cells; i++)
		assert_int_not_equal(f.cells[i].key.pid, stranger);
	assert_null(fixture_cell(&f, 0, CLIENT, port));
	assert_null(fixture_cell(&f, 0, SERVER, port));
	fixture_close(&f);
}

/* A process of just this number, from this one, which is no target. */
static pid_t fork_as(pid_t pid)
{
	struct clone_args args = {
		.exit_signal = SIGCHLD,
		.set_tid = (uint64_t)(uintptr_t)&pid,
		.set_tid_size = 1,
	};

	return (pid_t)syscall(SYS_clone3, &args, sizeof(args));
}

/* It ended after it was judged and before its exit could be seen; then its number was given again. */
static void a_process_under_the_number_of_a_target_that_ended_shows_nothing(void **state)
{
	struct fixture f;
	pid_t pid = fork(), again;

	if (pid == 0)
		_exit(0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_ok(fixture_open(&f, &(struct fixture_options){0}));
	fixture_target(&f, pid, 1);
	again = fork_as(pid);
	if (again == 0) {
		struct fixture_pair p = fixture_pair(AF_INET);

		fixture_send(p.client, 100);
		fixture_recv(p.server, 100);
		fixture_pair_done(&p);
		_exit(0);
	}
	assert_int_equal(again, pid);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	fixture_snapshot(&f);
	for (size_t i = 0; i < f.n_cells; i++)
		assert_false(f.cells[i].known);
	assert_int_equal(f.processes[0].state, SONDE_PROBE_PROCESS_EXITED);
	fixture_close(&f);
}

/* A target that is taken back alone: its last deltas are folded, the others' go on. */
static void a_target_that_is_removed_is_released(void **state)
{
	struct fixture f;
	struct fixture_pair p;

	assert_ok(fixture_open(&f, &(struct fixture_options){0}));
	fixture_target(&f, getpid(), 1);
	p = fixture_pair(AF_INET);
	fixture_send(p.client, 100);
	fixture_recv(p.server, 100);
	assert_ok(sonde_collector_tcp.target_remove(f.state, (uint32_t)getpid(), 1));
	fixture_send(p.client, 100);
	fixture_recv(p.server, 100);
	fixture_snapshot(&f);
	assert_int_equal(f.n_processes, 0);
	if (fixture_measures(&f, "targets that end", "release")) {
		assert_int_equal(fixture_sum(&f, 0, CLIENT, p.port).sent_bytes, 100);
		assert_int_equal(fixture_sum(&f, 0, SERVER, p.port).received_bytes, 100);
	}
	fixture_pair_done(&p);
	fixture_close(&f);
}

/* An inherited listener used by a process outside: released and counted, never shown as ours. */
static void a_targets_connection_taken_by_a_stranger_is_released(void **state)
{
	struct fixture f;
	int go[2], listener, client;
	uint16_t port;
	pid_t stranger;
	char byte = 0;

	assert_int_equal(pipe2(go, O_CLOEXEC), 0);
	listener = fixture_listen(AF_INET, 16, &port);
	stranger = fork();
	if (stranger == 0) {
		int server;

		(void)close(go[1]);
		if (read(go[0], &byte, 1) != 1)
			_exit(1);
		server = fixture_accept(listener);
		fixture_recv(server, 10);
		_exit(0);
	}
	assert_ok(fixture_open(&f, &(struct fixture_options){0}));
	fixture_target(&f, getpid(), 1);
	fixture_seed(&f);
	client = fixture_connect(AF_INET, port);
	fixture_send(client, 10);
	assert_int_equal(write(go[1], &byte, 1), 1);
	assert_int_equal(waitpid(stranger, NULL, 0), stranger);
	fixture_snapshot(&f);
	if (fixture_measures(&f, "read calls", NULL)) {
		assert_null(fixture_cell(&f, 0, SERVER, port));
		assert_int_equal(fixture_loss(&f, SONDE_TCP_LOSS_FOREIGN), 1);
	}
	(void)close(client);
	(void)close(listener);
	fixture_close(&f);
}

/* Two tasks over one process: its sockets stay until the last one is removed. */
static void removing_the_last_task_folds_and_releases(void **state)
{
	struct fixture f;
	struct fixture_pair p;

	assert_ok(fixture_open(&f, &(struct fixture_options){0}));
	fixture_target(&f, getpid(), 1);
	fixture_target(&f, getpid(), 2);
	p = fixture_pair(AF_INET);
	fixture_send(p.client, 100);
	fixture_recv(p.server, 100);
	assert_ok(sonde_collector_tcp.task_remove(f.state, 1));
	fixture_send(p.client, 100);
	fixture_recv(p.server, 100);
	assert_ok(sonde_collector_tcp.task_remove(f.state, 2));
	fixture_send(p.client, 100);
	fixture_recv(p.server, 100);
	fixture_snapshot(&f);
	assert_int_equal(f.n_processes, 0);
	if (!fixture_measures(&f, "targets that end", "release")) { /* counted until they end */
		assert_int_equal(fixture_sum(&f, 0, CLIENT, p.port).sent_bytes, 300);
		fixture_pair_done(&p);
		fixture_close(&f);
		return;
	}
	assert_int_equal(fixture_sum(&f, 0, CLIENT, p.port).sent_bytes, 200);
	assert_int_equal(fixture_sum(&f, 0, SERVER, p.port).received_bytes, 200);
	fixture_target(&f, getpid(), 4); /* and may come back, from a new base line */
	fixture_seed(&f);
	fixture_send(p.client, 50);
	fixture_recv(p.server, 50);
	fixture_snapshot(&f);
	assert_int_equal(fixture_sum(&f, 0, CLIENT, p.port).sent_bytes, 250);
	fixture_pair_done(&p);
	fixture_close(&f);
}

static int run(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(opens_accepts_and_names_the_first_closer),
		cmocka_unit_test(a_reset_names_its_sender),
		cmocka_unit_test(a_half_close_is_counted_apart),
		cmocka_unit_test(a_refused_connect_names_its_errno),
		cmocka_unit_test(a_socket_that_is_connected_anew_leaves_no_address_pair_behind),
		cmocka_unit_test(a_connect_that_was_given_up_is_aborted),
		cmocka_unit_test(both_ends_know_each_others_process),
		cmocka_unit_test(a_forking_servers_connections_are_its_childrens),
		cmocka_unit_test(children_are_told_as_processes),
	};
	/* Each with a collector of its own, and with sockets from before it. */
	const struct CMUnitTest alone[] = {
		cmocka_unit_test(seeds_what_was_there_before),
		cmocka_unit_test(a_process_that_is_no_target_shows_nothing),
		cmocka_unit_test(a_process_under_the_number_of_a_target_that_ended_shows_nothing),
		cmocka_unit_test(a_target_that_is_removed_is_released),
		cmocka_unit_test(a_targets_connection_taken_by_a_stranger_is_released),
		cmocka_unit_test(removing_the_last_task_folds_and_releases),
	};
	int r = fixture_main(tests);

	return r ? r : cmocka_run_group_tests(alone, NULL, NULL);
}

int main(int argc, char **argv)
{
	return unseen_main(argv, run);
}
