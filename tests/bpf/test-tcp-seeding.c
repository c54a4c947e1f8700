/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets that change while they are seeded, or whose events no hook saw: exact, or not begun at all. */
#include "fixture.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bpf/tcp/tcp_private.h"

#define CLIENT SONDE_TCP_ROLE_CLIENT
#define SERVER SONDE_TCP_ROLE_SERVER

/* The head of struct sonde_tag in bpf/tcp/tag.bpf.h, which is for the kernel side alone. */
#define TAG_BLANK 0
#define TAG_CONNECTION 2
#define TAG_STALE(state) (3U | (uint32_t)(state) << 8)
#define TAG_FIN_SENT (1U << 5)
#define STATE_FIN_WAIT2 5U
#define STATE_CLOSE 7U
union tag {
	struct {
		uint32_t kind;
		uint32_t flags;
	};
	uint8_t bytes[256];
};

static void read_tag(const struct fixture *f, int fd, union tag *tag)
{
	int map = fixture_map(f, "sonde_tags");

	memset(tag, 0, sizeof(*tag));
	assert_int_equal(bpf_map_lookup_elem(map, &fd, tag), 0);
	(void)close(map);
}

static void write_tag(const struct fixture *f, int fd, const union tag *tag)
{
	int map = fixture_map(f, "sonde_tags");

	assert_int_equal(bpf_map_update_elem(map, &fd, tag, BPF_EXIST), 0);
	(void)close(map);
}

/* As if the seed on another CPU had not come to its end yet: what follows is not counted. */
static void make_blank(const struct fixture *f, int fd)
{
	union tag tag;

	read_tag(f, fd, &tag);
	tag.kind = TAG_BLANK;
	write_tag(f, fd, &tag);
}

/* The hook was not there for what came since make_blank(). */
static void make_whole(const struct fixture *f, int fd, uint32_t flags_lost)
{
	union tag tag;

	read_tag(f, fd, &tag);
	tag.kind = TAG_CONNECTION;
	tag.flags &= ~flags_lost;
	write_tag(f, fd, &tag);
}

static uint64_t all_closes(const struct sonde_tcp_cell *c)
{
	uint64_t n = 0;

	for (size_t i = 0; i < SONDE_TCP_CLOSE_MAX; i++)
		n += c->closed[i];
	return n;
}

static void an_event_marks_a_tag_that_is_being_filled(void **state)
{
	struct fixture *f = *state;
	struct fixture_pair p = fixture_pair(AF_INET), again = fixture_again(&p);
	union tag tag;

	make_blank(f, p.client);
	fixture_send(p.client, 1);
	read_tag(f, p.client, &tag);
	assert_int_equal(tag.kind, TAG_STALE(0));
	fixture_abort_on_close(p.server);
	fixture_close_fd(&p.server);
	fixture_wait_end(p.client);
	read_tag(f, p.client, &tag);
	assert_int_equal(tag.kind, TAG_STALE(STATE_CLOSE));

	make_blank(f, again.client);
	assert_int_equal(shutdown(again.client, SHUT_WR), 0);
	fixture_wait_acked(again.client);
	read_tag(f, again.client, &tag);
	assert_int_equal(tag.kind, TAG_STALE(STATE_FIN_WAIT2));
	assert_int_equal(tag.flags & TAG_FIN_SENT, TAG_FIN_SENT);
	fixture_pair_done(&again);
	fixture_pair_done(&p);
}

/* The application keeps the descriptor: nothing but the snapshot can find the end. */
static void an_end_that_no_hook_saw_is_made_up_for_once(void **state)
{
	struct fixture *f = *state;
	struct fixture_pair p = fixture_pair(AF_INET);
	struct sonde_tcp_cell c;

	make_blank(f, p.client);
	fixture_abort_on_close(p.server);
	fixture_close_fd(&p.server);
	fixture_wait_end(p.client);
	make_whole(f, p.client, 0);
	for (int i = 0; i < 2; i++) {
		fixture_snapshot(f);
		c = fixture_sum(f, getpid(), CLIENT, p.port);
		assert_int_equal(c.open, 0);
		assert_int_equal(all_closes(&c), 1);
	}
	fixture_pair_done(&p);
	fixture_snapshot(f);
	c = fixture_sum(f, getpid(), CLIENT, p.port);
	assert_int_equal(all_closes(&c), 1);
}

static void a_fin_that_no_hook_saw_is_no_payload(void **state)
{
	struct fixture *f = *state;
	struct fixture_pair p = fixture_pair(AF_INET);
	struct sonde_tcp_cell c;

	fixture_send(p.client, 100);
	make_blank(f, p.client);
	assert_int_equal(shutdown(p.client, SHUT_WR), 0);
	assert_int_equal(fixture_drain(p.server), 100);
	fixture_wait_acked(p.client);
	make_whole(f, p.client, TAG_FIN_SENT);
	fixture_snapshot(f);
	c = fixture_sum(f, getpid(), CLIENT, p.port);
	assert_int_equal(c.sent_bytes, 100);
	assert_int_equal(c.acked_bytes, 100);
	fixture_pair_done(&p);
}

#define STORM_PAIRS 400
#define STORM_ROUNDS fixture_rounds(20)

struct storm {
	pid_t pid;
	uint16_t port;
	int begun[2], seeded[2], ended[2], leave[2];
};

/*
 * Both ends of every pair are its own. It resets them one after the other, the last one when the seed is done, and
 * keeps the clients' descriptors.
 */
static void reset_all(const struct storm *storm)
{
	int clients[STORM_PAIRS], servers[STORM_PAIRS], listener;
	uint16_t port;
	char byte = 0;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	listener = fixture_listen(AF_INET, STORM_PAIRS, &port);
	for (int i = 0; i < STORM_PAIRS; i++) {
		clients[i] = fixture_connect(AF_INET, port); /* kept until it exits */
		servers[i] = fixture_accept(listener);
		fixture_abort_on_close(servers[i]);
	}
	(void)write(storm->begun[1], &port, sizeof(port));
	for (int i = 0; i < STORM_PAIRS; i++) {
		if (i == STORM_PAIRS - 1)
			(void)read(storm->seeded[0], &byte, 1);
		(void)close(servers[i]);
	}
	for (int i = 0; i < STORM_PAIRS; i++)
		fixture_wait_end(clients[i]);
	(void)write(storm->ended[1], &byte, 1);
	_exit(read(storm->leave[0], &byte, 1) != 1);
}

static void start_storm(struct storm *storm, void (*run)(const struct storm *storm))
{
	assert_int_equal(pipe2(storm->begun, O_CLOEXEC), 0);
	assert_int_equal(pipe2(storm->seeded, O_CLOEXEC), 0);
	assert_int_equal(pipe2(storm->ended, O_CLOEXEC), 0);
	assert_int_equal(pipe2(storm->leave, O_CLOEXEC), 0);
	storm->pid = fork();
	if (storm->pid == 0)
		run(storm);
	assert_int_equal(read(storm->begun[0], &storm->port, sizeof(storm->port)),
			 sizeof(storm->port));
}

static void end_storm(struct storm *storm)
{
	assert_int_equal(write(storm->leave[1], "", 1), 1);
	assert_int_equal(waitpid(storm->pid, NULL, 0), storm->pid);
	for (int i = 0; i < 2; i++) {
		(void)close(storm->begun[i]);
		(void)close(storm->seeded[i]);
		(void)close(storm->ended[i]);
		(void)close(storm->leave[i]);
	}
}

/* What the seed found open is closed at the end, each once; what ended before it or under it was not found. */
static void assert_closed_once(const struct fixture *f, const struct storm *storm,
			       enum sonde_tcp_role role, uint64_t *found)
{
	struct sonde_tcp_cell c = fixture_sum(f, storm->pid, role, storm->port);

	assert_int_equal(c.open, 0);
	assert_int_equal(all_closes(&c), c.seeded);
	assert_int_equal(c.sent_bytes, 0);
	assert_int_equal(c.received_bytes, 0);
	*found += c.seeded;
}

/* Nothing of the storm is open: no address pair of it may be left behind. */
static void assert_no_pairs(const struct fixture *f)
{
	int fd = fixture_map(f, "sonde_tuples");
	struct sonde_tcp_tuple tuple;

	assert_true(fd >= 0);
	assert_int_equal(bpf_map_get_next_key(fd, NULL, &tuple), -ENOENT);
	(void)close(fd);
}

static void sockets_that_end_while_they_are_seeded_are_closed_once_or_never_open(void **state)
{
	for (size_t i = 0, n = STORM_ROUNDS; i < n; i++) {
		uint64_t found = 0;
		struct storm storm;
		struct fixture f;
		char byte;

		assert_ok(fixture_open(&f, &(struct fixture_options){0}));
		start_storm(&storm, reset_all);
		fixture_target(&f, storm.pid, 1);
		fixture_seed(&f);
		assert_int_equal(write(storm.seeded[1], "", 1), 1);
		assert_int_equal(read(storm.ended[0], &byte, 1), 1);
		fixture_snapshot(&f);
		assert_closed_once(&f, &storm, CLIENT, &found);
		assert_closed_once(&f, &storm, SERVER, &found);
		assert_true(found >= 2); /* both ends of the last one */
		assert_int_equal(fixture_loss(&f, SONDE_TCP_LOSS_BUSY), 0);
		if (fixture_measures(&f, "last values of connections that end", "records"))
			assert_no_pairs(&f);
		end_storm(&storm);
		fixture_close(&f);
	}
}

#define BUSY_PAIRS 100

/* Both ends of every pair are its own, and a byte goes back and forth on one after the other until @leave is written to. */
static void keep_busy(const struct storm *storm)
{
	struct pollfd leave = {.fd = storm->leave[0], .events = POLLIN};
	int clients[BUSY_PAIRS], servers[BUSY_PAIRS], listener;
	uint16_t port;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	listener = fixture_listen(AF_INET, BUSY_PAIRS, &port);
	for (int i = 0; i < BUSY_PAIRS; i++) {
		clients[i] = fixture_connect(AF_INET, port);
		servers[i] = fixture_accept(listener);
	}
	(void)write(storm->begun[1], &port, sizeof(port));
	for (int i = 0; poll(&leave, 1, 0) == 0; i = (i + 1) % BUSY_PAIRS) {
		fixture_send(clients[i], 1);
		fixture_recv(servers[i], 1);
		fixture_send(servers[i], 1);
		fixture_recv(clients[i], 1);
	}
	_exit(0);
}

/* An I/O that comes before the seed has learnt who is at the other end does not make a tag without it. */
static void what_is_used_while_it_is_seeded_knows_its_other_end(void **state)
{
	for (size_t i = 0, n = fixture_rounds(5); i < n; i++) {
		struct storm storm;
		struct fixture f;

		assert_ok(fixture_open(&f, &(struct fixture_options){0}));
		if (!fixture_measures(&f, "last values of connections that end", "records")) {
			fixture_close(&f);
			skip(); /* the second tier finds nothing by its I/O */
		}
		start_storm(&storm, keep_busy);
		fixture_target(&f, storm.pid, 1);
		fixture_seed(&f);
		fixture_snapshot(&f);
		for (size_t k = 0; k < f.n_cells; k++) {
			if (!f.cells[k].known || f.cells[k].key.pid != (uint32_t)storm.pid)
				continue;
			assert_int_equal(f.cells[k].key.port, storm.port);
			assert_int_equal(f.cells[k].key.peer_pid, storm.pid);
		}
		assert_int_equal(fixture_sum(&f, storm.pid, CLIENT, storm.port).seeded, BUSY_PAIRS);
		assert_int_equal(fixture_sum(&f, storm.pid, SERVER, storm.port).seeded, BUSY_PAIRS);
		end_storm(&storm);
		fixture_close(&f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_event_marks_a_tag_that_is_being_filled),
		cmocka_unit_test(an_end_that_no_hook_saw_is_made_up_for_once),
		cmocka_unit_test(a_fin_that_no_hook_saw_is_no_payload),
	};
	const struct CMUnitTest alone[] = {
		cmocka_unit_test(
			sockets_that_end_while_they_are_seeded_are_closed_once_or_never_open),
		cmocka_unit_test(what_is_used_while_it_is_seeded_knows_its_other_end),
	};
	int r;

	/* These write into the tags of the first tier. */
	if (geteuid() == 0 && !fixture_bpf_is_refused() &&
	    !fixture_is_measured("last values of connections that end", "records"))
		r = fixture_tell_absent("last values of connections that end", "records");
	else
		r = fixture_main(tests);
	return r ? r : cmocka_run_group_tests(alone, NULL, NULL);
}
