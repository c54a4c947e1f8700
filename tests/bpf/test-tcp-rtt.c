/* SPDX-License-Identifier: Apache-2.0 */
/* RTT samples: counted once, from one source a socket, in every state that the source sees. */
#include "fixture.h"
#include "unseen.h"

#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define CLIENT SONDE_TCP_ROLE_CLIENT
#define SERVER SONDE_TCP_ROLE_SERVER

/* A send that is acknowledged before the next: one sample each. */
static void ping(int from, int to, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		fixture_send(from, 100);
		fixture_recv(to, 100);
		fixture_wait_acked(from);
	}
}

static void each_acknowledged_send_is_one_sample(void **state)
{
	struct fixture *f = *state;
	struct fixture_pair p = fixture_pair(AF_INET);
	const struct fixture_cell *cell;

	ping(p.client, p.server, 50);
	fixture_snapshot(f);
	cell = fixture_cell(f, getpid(), CLIENT, p.port);
	assert_non_null(cell);
	assert_int_equal(cell->now.rtt_count, 50);
	assert_int_equal(fixture_hist_total(&cell->hists[SONDE_PROBE_HIST_RTT]), 50);
	assert_true(cell->now.rtt_sum_us > 0);
	assert_true(cell->now.srtt_sum_us > 0);
	assert_true(cell->now.rtt_min_us > 0);
	assert_int_equal(cell->now.rtt_sockets, 1);
	cell = fixture_cell(f, getpid(), SERVER, p.port);
	assert_int_equal(cell->now.rtt_count, 0);
	assert_int_equal(fixture_hist_total(&cell->hists[SONDE_PROBE_HIST_HANDSHAKE]), 1);
	fixture_pair_done(&p);
}

/* The client's FIN is out, the server answers 50 times: tcp_probe would see none of it. */
static void a_half_closed_connection_keeps_its_samples(void **state)
{
	struct fixture *f = *state;
	struct fixture_pair p = fixture_pair(AF_INET);
	struct sonde_tcp_cell c;

	assert_int_equal(shutdown(p.client, SHUT_WR), 0);
	assert_int_equal(fixture_drain(p.server), 0);
	ping(p.server, p.client, 50);
	fixture_snapshot(f);
	c = fixture_sum(f, 0, SERVER, p.port);
	assert_int_equal(c.rtt_count, 50);
	assert_int_equal(c.rtt_missed, 0);
	fixture_pair_done(&p);
}

static uint64_t samples_of_seeded(bool without_sockops, unsigned int n, uint64_t *ret_missed)
{
	struct fixture_pair p = fixture_pair(AF_INET);
	struct fixture f;
	struct sonde_tcp_cell c;

	assert_ok(fixture_open(&f, &(struct fixture_options){.without_sockops = without_sockops}));
	fixture_target(&f, getpid(), 1);
	fixture_seed(&f);
	ping(p.server, p.client, n);
	assert_int_equal(shutdown(p.client, SHUT_WR), 0);
	assert_int_equal(fixture_drain(p.server), 0);
	ping(p.server, p.client, n);
	fixture_snapshot(&f);
	c = fixture_sum(&f, getpid(), SERVER, p.port);
	*ret_missed = c.rtt_missed;
	assert_int_equal(
		fixture_hist_total(
			&fixture_cell(&f, getpid(), SERVER, p.port)->hists[SONDE_PROBE_HIST_RTT]),
		c.rtt_count);
	assert_int_equal(fixture_loss(&f, SONDE_TCP_LOSS_RTT_MISSED),
			 c.rtt_missed + fixture_sum(&f, getpid(), CLIENT, p.port).rtt_missed);
	fixture_pair_done(&p);
	fixture_close(&f);
	return c.rtt_count;
}

/* 30 while open, 30 while half-closed: of those the last one is seen, the others are counted as missed. */
static void a_seeded_connection_says_what_it_missed(void **state)
{
	uint64_t missed = 0, samples;

	samples = samples_of_seeded(false, 30, &missed);
	assert_int_equal(samples, 31);
	assert_int_equal(missed, 29);
}

static void without_sockops_tcp_probe_takes_over(void **state)
{
	struct fixture f;
	struct fixture_pair p;
	struct sonde_tcp_cell c;
	uint64_t missed = 0;

	assert_ok(fixture_open(&f, &(struct fixture_options){.without_sockops = true}));
	fixture_target(&f, getpid(), 1);
	p = fixture_pair(AF_INET);
	ping(p.client, p.server, 40);
	fixture_snapshot(&f);
	c = fixture_sum(&f, getpid(), CLIENT, p.port);
	assert_int_equal(c.rtt_count, 40);
	assert_int_equal(c.rtt_missed, 0);
	fixture_pair_done(&p);
	fixture_close(&f);
	assert_int_equal(samples_of_seeded(true, 30, &missed), 31);
	assert_int_equal(missed, 29);
}

/* As in a container: the root that we see is above our own processes only, and the target is elsewhere. */
static void a_target_outside_the_cgroup_falls_back_to_tcp_probe(void **state)
{
	struct fixture f;
	struct fixture_pair p;
	struct sonde_tcp_cell c;
	char path[256];

	(void)snprintf(path, sizeof(path), "%s/sonde-test-rtt-%d", fixture_cgroup_root(), getpid());
	if (mkdir(path, 0755) < 0)
		skip();
	assert_ok(fixture_open(&f, &(struct fixture_options){.cgroup = path}));
	fixture_target(&f, getpid(), 1);
	p = fixture_pair(AF_INET);
	ping(p.client, p.server, 10);
	fixture_snapshot(&f); /* meets a connection whose samples nobody saw but for the last */
	c = fixture_sum(&f, getpid(), CLIENT, p.port);
	assert_int_equal(c.rtt_count, 1);
	assert_int_equal(c.rtt_missed, 9);
	ping(p.client, p.server, 20);
	fixture_snapshot(&f);
	c = fixture_sum(&f, getpid(), CLIENT, p.port);
	assert_int_equal(c.rtt_count, 21);
	assert_int_equal(c.rtt_missed, 9);
	assert_int_equal(fixture_loss(&f, SONDE_TCP_LOSS_RTT_MISSED), 9);
	fixture_pair_done(&p);
	fixture_close(&f);
	assert_int_equal(rmdir(path), 0);
}

static int run(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_acknowledged_send_is_one_sample),
		cmocka_unit_test(a_half_closed_connection_keeps_its_samples),
	};
	const struct CMUnitTest alone[] = {
		cmocka_unit_test(a_seeded_connection_says_what_it_missed),
		cmocka_unit_test(without_sockops_tcp_probe_takes_over),
		cmocka_unit_test(a_target_outside_the_cgroup_falls_back_to_tcp_probe),
	};
	int r;

	if (geteuid() == 0 && !fixture_bpf_is_refused() &&
	    !fixture_is_measured("RTT samples of new connections", "RTT samples, only"))
		return fixture_tell_absent("RTT samples of new connections", "RTT samples, only");
	r = fixture_main(tests);
	return r ? r : cmocka_run_group_tests(alone, NULL, NULL);
}

int main(int argc, char **argv)
{
	return unseen_main(argv, run);
}
