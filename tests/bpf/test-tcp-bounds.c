/* SPDX-License-Identifier: Apache-2.0 */
/* Limits, races and the end: totals stay exact when a table is full, under a storm, and nothing stays behind. */
#include "fixture.h"
#include "unseen.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define CLIENT SONDE_TCP_ROLE_CLIENT
#define SERVER SONDE_TCP_ROLE_SERVER

/* 40 peers by their own loopback address. */
static void connect_from_40_addresses(void)
{
	int listener;
	uint16_t port;

	listener = fixture_listen(AF_INET, 64, &port);
	for (uint32_t i = 0; i < 40; i++) {
		struct sockaddr_in from = {.sin_family = AF_INET,
					   .sin_addr.s_addr = htonl(0x7f000100U + i)};
		struct sockaddr_in to = {.sin_family = AF_INET,
					 .sin_port = htons(port),
					 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), peer;

		assert_int_equal(bind(fd, (struct sockaddr *)&from, sizeof(from)), 0);
		assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
		peer = fixture_accept(listener);
		fixture_send(fd, 10);
		fixture_recv(peer, 10);
		(void)close(fd);
		assert_int_equal(fixture_drain(peer), 0);
		(void)close(peer);
	}
	(void)close(listener);
}

/* What 40 connections make of 16 cells. */
static void assert_totals_are_exact(struct fixture *f)
{
	struct sonde_tcp_cell client = {0}, server = {0};
	bool other[3] = {false};

	fixture_snapshot(f);
	for (size_t i = 0; i < f->n_cells; i++) {
		const struct fixture_cell *cell = &f->cells[i];
		struct sonde_tcp_cell *sum = cell->key.role == CLIENT ? &client : &server;

		if (!cell->known)
			continue;
		sum->opened += cell->now.opened;
		sum->accepted += cell->now.accepted;
		sum->sent_bytes += cell->now.sent_bytes;
		sum->received_bytes += cell->now.received_bytes;
		if (cell->key.flags & SONDE_TCP_CELL_OTHER) {
			assert_int_equal(cell->key.port, 0);
			other[cell->key.role] = true;
		}
	}
	assert_true(other[CLIENT] && other[SERVER]);
	assert_int_equal(client.opened, 40);
	assert_int_equal(client.sent_bytes, 400);
	assert_int_equal(server.accepted, 40);
	assert_int_equal(server.received_bytes, 400);
	assert_true(fixture_loss(f, SONDE_TCP_LOSS_CELL_FULL) > 0);
	assert_int_equal(fixture_loss(f, SONDE_TCP_LOSS_OTHER_FULL), 0);
}

static void a_full_table_folds_into_other_with_exact_totals(void **state)
{
	struct fixture f;

	assert_ok(fixture_open(&f, &(struct fixture_options){.max_cells = 16}));
	fixture_target(&f, getpid(), 1);
	connect_from_40_addresses();
	assert_totals_are_exact(&f);
	fixture_close(&f);
}

#define FAMILY 300

/* 300 processes, each a client of one connection with 10 bytes. @mask: tasks over the child itself. */
static void connect_from_children(struct fixture *f, uint64_t mask)
{
	uint16_t port;
	int listener = fixture_listen(AF_INET, 64, &port);

	for (int i = 0; i < FAMILY; i++) {
		int go[2], peer;
		pid_t child;

		assert_int_equal(pipe2(go, O_CLOEXEC), 0);
		child = fork();
		if (child == 0) {
			char byte;
			int fd;

			if (read(go[0], &byte, 1) != 1)
				_exit(1);
			fd = fixture_connect(AF_INET, port);
			fixture_send(fd, 10);
			_exit(0);
		}
		if (mask)
			fixture_target(f, child, mask);
		assert_int_equal(write(go[1], "", 1), 1);
		peer = fixture_accept(listener);
		assert_int_equal(fixture_drain(peer), 10);
		(void)close(peer);
		assert_int_equal(waitpid(child, NULL, 0), child);
		(void)close(go[0]);
		(void)close(go[1]);
	}
	(void)close(listener);
	fixture_snapshot(f);
}

static struct sonde_tcp_cell sum_of_role(const struct fixture *f, enum sonde_tcp_role role,
					 bool (*takes)(const struct sonde_tcp_cell_key *key))
{
	struct sonde_tcp_cell sum = {0};

	for (size_t i = 0; i < f->n_cells; i++) {
		const struct fixture_cell *cell = &f->cells[i];

		if (!cell->known || cell->key.role != role || !takes(&cell->key))
			continue;
		sum.opened += cell->now.opened;
		sum.sent_bytes += cell->now.sent_bytes;
		sum.received_bytes += cell->now.received_bytes;
		sum.accepted += cell->now.accepted;
	}
	return sum;
}

static bool any_cell(const struct sonde_tcp_cell_key *key)
{
	return true;
}

static bool own_other(const struct sonde_tcp_cell_key *key)
{
	return key->pid == (uint32_t)getpid() && key->flags & SONDE_TCP_CELL_OTHER;
}

/* What follows is about the first tier's own tables. */
static bool has_first_tier(const struct fixture *f)
{
	return fixture_measures(f, "last values of connections that end", "records");
}

/* More children than there are `other` cells for them: the rest is in their parent's, nothing is lost. */
static void children_without_an_other_cell_share_their_parents(void **state)
{
	struct sonde_tcp_cell sum;
	struct fixture f;

	assert_ok(fixture_open(&f, &(struct fixture_options){.max_cells = 16, .max_targets = 512}));
	if (!has_first_tier(&f)) {
		fixture_close(&f);
		return;
	}
	fixture_target(&f, getpid(), 1);
	connect_from_children(&f, 0);
	assert_int_equal(fixture_loss(&f, SONDE_TCP_LOSS_OTHER_FULL), 0);
	assert_true(fixture_loss(&f, SONDE_TCP_LOSS_CELL_FULL) > 0);
	sum = sum_of_role(&f, CLIENT, any_cell);
	assert_int_equal(sum.opened, FAMILY);
	assert_int_equal(sum.sent_bytes, 10 * FAMILY);
	sum = sum_of_role(&f, SERVER, any_cell);
	assert_int_equal(sum.accepted, FAMILY);
	assert_int_equal(sum.received_bytes, 10 * FAMILY);
	/* 16 cells and 128 `other` ones, and as this process connects to nobody: */
	sum = sum_of_role(&f, CLIENT, own_other);
	assert_in_range(sum.opened, FAMILY - 16 - 128, FAMILY - 128);
	fixture_close(&f);
}

/* A task over the children alone would not see what is in their parent's cell. */
static void children_of_a_task_of_their_own_share_nothing(void **state)
{
	struct sonde_tcp_cell sum;
	struct fixture f;

	assert_ok(fixture_open(&f, &(struct fixture_options){.max_cells = 16, .max_targets = 512}));
	fixture_target(&f, getpid(), 1);
	connect_from_children(&f, 2);
	sum = sum_of_role(&f, CLIENT, own_other);
	assert_int_equal(sum.opened, 0);
	assert_true(fixture_loss(&f, SONDE_TCP_LOSS_OTHER_FULL) > 0); /* lost, and counted */
	fixture_close(&f);
}

/* Two CPUs reach for one `other` cell: the loser's index is put aside and serves the next key. */
static void an_index_that_lost_the_race_for_other_is_used_again(void **state)
{
	struct fixture f;
	uint32_t index = 16; /* the first behind the cells, as the loser left it */
	int spare;

	assert_ok(fixture_open(&f, &(struct fixture_options){.max_cells = 16}));
	if (!has_first_tier(&f)) {
		fixture_close(&f);
		return;
	}
	fixture_target(&f, getpid(), 1);
	fixture_set_global(&f, "sonde_next_other", 1);
	spare = fixture_map(&f, "sonde_spare_oth");
	assert_int_equal(bpf_map_update_elem(spare, NULL, &index, 0), 0);
	(void)close(spare);
	connect_from_40_addresses();
	assert_totals_are_exact(&f);
	fixture_close(&f);
}

#define STORM_CONNECTIONS fixture_rounds(20000)
#define STORM_BYTES 37

static void *accept_and_read(void *arg)
{
	int listener = *(int *)arg;

	for (size_t i = 0, n = STORM_CONNECTIONS; i < n; i++) {
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		char bytes[STORM_BYTES];

		if (fd < 0)
			return arg; /* not NULL: failed */
		if (recv(fd, bytes, sizeof(bytes), MSG_WAITALL) != STORM_BYTES)
			return arg;
		(void)close(fd);
	}
	return NULL;
}

#define STORM_SNAPSHOTS 20 /* at least, each at another part of the storm */

struct storm {
	struct sockaddr_in to;
	_Atomic uint64_t snapshots;
	atomic_bool done;
};

/* The server closes first: what stays in TIME_WAIT is at its port, and no client port runs out. */
static void *connect_and_write(void *arg)
{
	static const char bytes[STORM_BYTES];
	struct storm *storm = arg;
	void *failed = NULL;

	for (size_t i = 0, n = STORM_CONNECTIONS; i < n && !failed; i++) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		char end;

		while (atomic_load(&storm->snapshots) * n < i * STORM_SNAPSHOTS)
			fixture_wait_ms(1);
		if (connect(fd, (struct sockaddr *)&storm->to, sizeof(storm->to)) < 0 ||
		    send(fd, bytes, sizeof(bytes), MSG_NOSIGNAL) != STORM_BYTES ||
		    recv(fd, &end, 1, 0) != 0) /* the server closes first */
			failed = arg;
		(void)close(fd);
	}
	atomic_store(&storm->done, true);
	return failed;
}

/*
 * Exact, or short by no more than what the ledger tells: runs that the kernel
 * skipped, and connections whose end no hook saw. Never too much. (The lab's
 * kernel runs no program while its process 1 is current, not even in a softirq.)
 */
static void assert_of_each(const struct fixture *f, uint64_t sum, uint64_t each)
{
	uint64_t all = each * STORM_CONNECTIONS;

	assert_true(sum <= all);
	assert_in_range(all - sum, 0,
			each * (fixture_loss(f, SONDE_TCP_LOSS_SKIPPED_RUNS) +
				fixture_loss(f, SONDE_TCP_LOSS_END_UNSEEN)));
}

static void snapshots_against_a_storm_of_closes_lose_and_double_nothing(void **state)
{
	struct fixture *f = *state;
	struct storm storm = {
		.to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}};
	pthread_t reader, writer;
	struct sonde_tcp_cell c;
	uint64_t before = 0;
	void *failed = NULL;
	uint16_t port;
	int listener = fixture_listen(AF_INET, 1024, &port);

	storm.to.sin_port = htons(port);
	assert_int_equal(pthread_create(&reader, NULL, accept_and_read, &listener), 0);
	assert_int_equal(pthread_create(&writer, NULL, connect_and_write, &storm), 0);
	while (!atomic_load(&storm.done)) {
		fixture_snapshot(f);
		c = fixture_sum(f, getpid(), CLIENT, port);
		assert_true(c.sent_bytes >= before); /* counters only grow */
		before = c.sent_bytes;
		storm.snapshots++;
	}
	assert_int_equal(pthread_join(writer, &failed), 0);
	assert_null(failed);
	assert_int_equal(pthread_join(reader, &failed), 0);
	assert_null(failed);
	(void)close(listener);
	fixture_wait_none_open(f, CLIENT, port);
	fixture_wait_none_open(f, SERVER, port);
	assert_true(storm.snapshots >= STORM_SNAPSHOTS);
	c = fixture_sum(f, getpid(), CLIENT, port);
	assert_of_each(f, c.opened, 1);
	assert_of_each(f, c.sent_bytes, STORM_BYTES);
	assert_of_each(f, c.acked_bytes, STORM_BYTES);
	assert_of_each(f, c.closed[SONDE_TCP_CLOSE_REMOTE_FIN], 1);
	if (fixture_measures(f, "write calls", NULL))
		assert_of_each(f, c.write_calls, 1);
	assert_int_equal(c.open, 0);
	c = fixture_sum(f, getpid(), SERVER, port);
	assert_of_each(f, c.accepted, 1);
	assert_of_each(f, c.received_bytes, STORM_BYTES);
	assert_of_each(f, c.arrived_bytes, STORM_BYTES);
	assert_of_each(f, c.closed[SONDE_TCP_CLOSE_LOCAL_FIN], 1);
	assert_of_each(f, c.handshake_count + c.handshake_unknown, 1);
	assert_int_equal(c.open, 0);
	assert_int_equal(fixture_loss(f, SONDE_TCP_LOSS_TAG_FAILED), 0);
	assert_int_equal(fixture_loss(f, SONDE_TCP_LOSS_BUSY), 0);
}

static uint64_t ends_unseen(struct fixture *f)
{
	fixture_snapshot(f);
	return fixture_loss(f, SONDE_TCP_LOSS_END_UNSEEN);
}

/* What a skipped end leaves behind: a connection that began, and is neither there nor ended. */
static void a_connection_that_is_gone_without_an_end_is_told(void **state)
{
	struct fixture f;
	int listener, client, server;
	uint16_t port;

	assert_ok(fixture_open(&f, &(struct fixture_options){0}));
	if (!has_first_tier(&f)) {
		fixture_close(&f);
		return;
	}
	fixture_target(&f, getpid(), 1);
	listener = fixture_listen(AF_INET, 1, &port);
	assert_int_equal(ends_unseen(&f), 0);
	client = fixture_connect(AF_INET, port);
	server = fixture_accept(listener);
	assert_int_equal(ends_unseen(&f), 0);
	fixture_set_global(&f, "sonde_begun", 3); /* 2 are there */
	assert_int_equal(ends_unseen(&f), 1);
	(void)close(client);
	(void)close(server);
	(void)close(listener);
	assert_int_equal(ends_unseen(&f), 1);
	fixture_close(&f);
}

static void fork_and_reap(unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		pid_t child = fork();

		if (child == 0)
			_exit(0);
		assert_int_equal(waitpid(child, NULL, 0), child);
	}
}

/* A server that forks for each connection: 64 children through a table of 16. */
static void ended_children_make_room_for_new_ones(void **state)
{
	struct fixture f;
	size_t exited = 0;

	assert_ok(fixture_open(&f, &(struct fixture_options){.max_targets = 16}));
	fixture_target(&f, getpid(), 1);
	for (int i = 0; i < 8; i++) {
		fork_and_reap(8);
		fixture_snapshot(&f);
		for (size_t j = 0; j < f.n_processes; j++)
			exited += f.processes[j].state == SONDE_PROBE_PROCESS_EXITED;
	}
	assert_true(exited >= 64); /* each was told */
	assert_int_equal(fixture_loss(&f, SONDE_TCP_LOSS_TARGET_FULL), 0);
	assert_int_equal(f.processes[0].task_mask, 1);
	fixture_close(&f);
}

#define FORKERS 4

static void fork_for_ever(void)
{
	for (;;) {
		pid_t child = fork();

		if (child == 0)
			_exit(0);
		if (child < 0 || waitpid(child, NULL, 0) != child)
			_exit(1);
	}
}

/* Children that are forked while the table is walked inherit the bits that are being taken off. */
static void no_child_keeps_a_task_that_is_removed_while_it_is_forked(void **state)
{
	struct fixture f;
	pid_t forkers[FORKERS];

	for (int i = 0; i < FORKERS; i++) {
		forkers[i] = fork();
		if (forkers[i] == 0)
			fork_for_ever();
	}
	assert_ok(fixture_open(&f, &(struct fixture_options){.max_targets = 8192}));
	fixture_target(&f, getpid(), 1);
	for (size_t i = 0, n = fixture_rounds(20); i < n; i++) {
		for (int j = 0; j < FORKERS; j++)
			fixture_target(&f, forkers[j], 2);
		fixture_wait_ms(50);
		fixture_snapshot(&f);
		assert_ok(sonde_collector_tcp.task_remove(f.state, 2));
		fixture_snapshot(&f);
		assert_int_equal(f.n_processes, 1);
		assert_int_equal(f.processes[0].pid, getpid());
	}
	for (int i = 0; i < FORKERS; i++) {
		assert_int_equal(kill(forkers[i], SIGKILL), 0);
		assert_int_equal(waitpid(forkers[i], NULL, 0), forkers[i]);
	}
	fixture_close(&f);
}

static bool id_lives(char kind, uint32_t id)
{
	int fd = kind == 'p'   ? bpf_prog_get_fd_by_id(id)
		 : kind == 'm' ? bpf_map_get_fd_by_id(id)
			       : bpf_link_get_fd_by_id(id);

	if (fd >= 0)
		(void)close(fd);
	return fd >= 0;
}

static void nothing_is_left_after_stop(void **state)
{
	struct fixture f;
	size_t n_left = 0, kinds[128] = {0};

	assert_ok(fixture_open(&f, &(struct fixture_options){0}));
	for (size_t i = 0; i < f.n_ids; i++) {
		assert_true(id_lives(f.ids[i].kind, f.ids[i].id));
		kinds[(unsigned char)f.ids[i].kind]++;
	}
	assert_true(kinds['p'] >= 10 && kinds['m'] >= 8 && kinds['l'] >= 10);
	fixture_close(&f);
	for (int wait = 0; wait < 6000; wait++) { /* freed after a grace period */
		n_left = 0;
		for (size_t i = 0; i < f.n_ids; i++)
			n_left += id_lives(f.ids[i].kind, f.ids[i].id);
		if (n_left == 0)
			break;
		fixture_wait_ms(10);
	}
	assert_int_equal(n_left, 0);
}

static const struct sonde_probe_probe *probe_of(const struct fixture *f, const char *metrics,
						uint32_t state)
{
	for (size_t i = 0; i < f->n_probes; i++) {
		if (f->probes[i].state == state && strcmp(f->probes[i].metrics, metrics) == 0)
			return &f->probes[i];
	}
	return NULL;
}

static void a_metric_falls_to_its_next_alternative_and_says_why(void **state)
{
	static const char
		rtt[] = "RTT samples of new connections",
		ports[] = "local ports of connects that fail"; /* which nothing else tells */
	const struct sonde_probe_probe *p;
	struct fixture f;

	assert_ok(fixture_open(&f, &(struct fixture_options){.without_sockops = true}));
	if (!has_first_tier(&f)) {
		fixture_close(&f);
		return;
	}
	for (size_t i = 0; i < f.n_probes; i++) {
		assert_true(f.probes[i].metrics[0] != '\0' && f.probes[i].name[0] != '\0');
		assert_int_equal(f.probes[i].state == SONDE_PROBE_ABSENT,
				 strcmp(f.probes[i].metrics, ports) == 0);
		if (f.probes[i].state == SONDE_PROBE_REPLACED ||
		    f.probes[i].state == SONDE_PROBE_ABSENT)
			assert_true(f.probes[i].reason[0] != '\0');
		if (f.probes[i].core)
			assert_int_equal(f.probes[i].state, SONDE_PROBE_ATTACHED);
	}
	p = probe_of(&f, rtt, SONDE_PROBE_REPLACED);
	assert_non_null(p);
	assert_string_equal(p->name, "sockops");
	assert_string_equal(p->reason, "no cgroup v2 hierarchy to attach to");
	p = probe_of(&f, rtt, SONDE_PROBE_ATTACHED);
	assert_non_null(p);
	assert_string_equal(p->name, "tp_btf/tcp_probe");
	assert_true(p->less[0] != '\0' && p->other_ns > 0);
	assert_true(f.timing.open_ns > 0 && f.timing.load_ns > 0 && f.timing.attach_ns > 0);
	fixture_close(&f);
}

static void its_own_cost_is_counted(void **state)
{
	struct fixture *f = *state;
	struct fixture_pair p = fixture_pair(AF_INET);
	uint64_t sampled = 0, runs = 0;

	for (int i = 0; i < 3000; i++) {
		fixture_send(p.client, 10);
		fixture_recv(p.server, 10);
	}
	fixture_snapshot(f);
	assert_true(f->n_costs >= 10);
	assert_true(f->costs[0].map_bytes > 100000);
	for (size_t i = 0; i < f->n_costs; i++) {
		assert_true(f->costs[i].hook_ns_x1000 > 0);
		/* The busiest: that of the calls, or without one that of the storm's changes of state. */
		if (f->costs[i].runs < runs)
			continue;
		runs = f->costs[i].runs;
		sampled = f->costs[i].sampled_runs + f->costs[i].discarded_runs;
	}
	assert_true(runs >= 3000);
	assert_true(sampled >= 2);
	fixture_pair_done(&p);
}

static int run(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(snapshots_against_a_storm_of_closes_lose_and_double_nothing),
		cmocka_unit_test(its_own_cost_is_counted),
	};
	const struct CMUnitTest alone[] = {
		cmocka_unit_test(a_connection_that_is_gone_without_an_end_is_told),
		cmocka_unit_test(a_full_table_folds_into_other_with_exact_totals),
		cmocka_unit_test(children_without_an_other_cell_share_their_parents),
		cmocka_unit_test(children_of_a_task_of_their_own_share_nothing),
		cmocka_unit_test(an_index_that_lost_the_race_for_other_is_used_again),
		cmocka_unit_test(ended_children_make_room_for_new_ones),
		cmocka_unit_test(no_child_keeps_a_task_that_is_removed_while_it_is_forked),
		cmocka_unit_test(nothing_is_left_after_stop),
		cmocka_unit_test(a_metric_falls_to_its_next_alternative_and_says_why),
	};
	int r = fixture_main(tests);

	return r ? r : cmocka_run_group_tests(alone, NULL, NULL);
}

int main(int argc, char **argv)
{
	return unseen_main(argv, run);
}
