/* SPDX-License-Identifier: Apache-2.0 */
/* Flow records: each connection as the kernel and the test itself saw it, once, and nothing lost in a storm. */
#include "fixture.h"
#include "unseen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "bpf/tcp/tcp_private.h"
#include "rest.h"
#include "veth.h"

#define CLIENT SONDE_TCP_ROLE_CLIENT
#define SERVER SONDE_TCP_ROLE_SERVER
#define STATE_SYN_SENT 2 /* <netinet/tcp.h> has no segment counts, <linux/tcp.h> no states */

static struct tcp_info info_of(int fd)
{
	struct tcp_info info = {0};
	socklen_t len = sizeof(info);

	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
	return info;
}

static uint16_t port_of(int fd, bool remote)
{
	struct sockaddr_storage addr = {0};
	socklen_t len = sizeof(addr);
	int r = remote ? getpeername(fd, (struct sockaddr *)&addr, &len)
		       : getsockname(fd, (struct sockaddr *)&addr, &len);

	assert_int_equal(r, 0);
	return ntohs(addr.ss_family == AF_INET ? ((struct sockaddr_in *)&addr)->sin_port
					       : ((struct sockaddr_in6 *)&addr)->sin6_port);
}

static uint64_t netns_of(int fd)
{
	uint64_t cookie = 0;
	socklen_t len = sizeof(cookie);

	assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &len), 0);
	return cookie;
}

/* @info: of the snapshot's moment */
static void assert_is(const struct sonde_flow *flow, int fd, const struct tcp_info *info,
		      uint8_t role, uint64_t sent, uint64_t received)
{
	assert_non_null(flow);
	assert_int_equal(flow->pid, getpid());
	assert_int_equal(flow->protocol, IPPROTO_TCP);
	assert_int_equal(flow->role, role);
	assert_int_equal(flow->netns, netns_of(fd));
	assert_int_equal(flow->lport, port_of(fd, false));
	assert_int_equal(flow->rport, port_of(fd, true));
	assert_int_equal(flow->state, info->tcpi_state);
	assert_int_equal(flow->sent_bytes, sent);
	assert_int_equal(flow->received_bytes, received);
	assert_int_equal(flow->segments_out, info->tcpi_segs_out);
	assert_int_equal(flow->segments_in, info->tcpi_segs_in);
	assert_int_equal(flow->retransmits, info->tcpi_total_retrans);
}

static void assert_samples(const struct sonde_flow *flow)
{
	uint64_t mean;

	assert_true(flow->rtt_count > 0);
	mean = flow->rtt_sum_us / flow->rtt_count;
	assert_true(flow->rtt_min_us > 0);
	assert_true(flow->rtt_min_us <= mean && mean <= flow->rtt_max_us);
}

/* Snapshots, bounded, until each has ended; each is told so in one of them. */
static void wait_ended(struct fixture *f, const uint64_t ids[2], struct sonde_flow ret[2])
{
	unsigned int ended[2] = {0};

	for (unsigned int i = 0; i < 6000 && (!ended[0] || !ended[1]); i++) {
		fixture_snapshot(f);
		for (size_t k = 0; k < 2; k++) {
			const struct sonde_flow *flow = fixture_flow(f, ids[k]);

			if (!flow || !flow->final)
				continue;
			ret[k] = *flow;
			ended[k]++;
		}
		if (!ended[0] || !ended[1])
			fixture_wait_ms(10);
	}
	assert_int_equal(ended[0], 1);
	assert_int_equal(ended[1], 1);
}

static void a_connection_is_told_as_the_kernel_has_it(void **state)
{
	static const int families[] = {AF_INET, AF_INET6};
	struct fixture *f = *state;

	for (size_t i = 0; i < 2; i++) {
		uint64_t before = sonde_mono_ns(), ids[2];
		struct fixture_pair p = fixture_pair(families[i]);
		const struct sonde_flow *flow;
		struct sonde_flow ended[2];
		struct tcp_info info[2];

		ids[0] = fixture_cookie(p.client);
		ids[1] = fixture_cookie(p.server);
		for (int n = 0; n < 5; n++) {
			fixture_send(p.client, 1000);
			fixture_recv(p.server, 1000);
			fixture_send(p.server, 300);
			fixture_recv(p.client, 300);
		}
		fixture_wait_acked(p.client);
		fixture_wait_acked(p.server);
		rest_snapshot(f, (const int[]){p.client, p.server}, info);
		flow = fixture_flow(f, ids[0]);
		assert_is(flow, p.client, &info[0], CLIENT, 5000, 1500);
		assert_samples(flow);
		assert_true(flow->start_ns >= before && flow->start_ns <= sonde_mono_ns());
		assert_int_equal(flow->end_ns, 0);
		assert_int_equal(flow->closer, 0);
		flow = fixture_flow(f, ids[1]);
		assert_is(flow, p.server, &info[1], SERVER, 1500, 5000);
		assert_true(flow->start_ns >= before);
		assert_int_equal(flow->peer_pid, getpid());

		before = sonde_mono_ns();
		fixture_close_fd(&p.client);
		assert_int_equal(fixture_drain(p.server), 0);
		fixture_pair_done(&p);
		wait_ended(f, ids, ended);
		assert_true(ended[0].end_ns >= before && ended[0].end_ns <= sonde_mono_ns());
		assert_int_equal(ended[0].closer, SONDE_TCP_CLOSE_LOCAL_FIN + 1);
		assert_int_equal(ended[0].sent_bytes, 5000);
		assert_int_equal(ended[0].received_bytes, 1500);
		assert_int_equal(ended[1].closer, SONDE_TCP_CLOSE_REMOTE_FIN + 1);
		assert_int_equal(ended[1].sent_bytes, 1500);
		fixture_snapshot(f);
		assert_null(fixture_flow(f, ids[0]));
		assert_null(fixture_flow(f, ids[1]));
	}
}

static void an_older_connection_counts_from_the_seed(void **state)
{
	struct fixture f;
	struct fixture_pair p = fixture_pair(AF_INET);
	struct tcp_info info, now[2];
	const struct sonde_flow *flow;

	fixture_send(p.client, 4321);
	fixture_recv(p.server, 4321);
	fixture_wait_acked(p.client);
	info = info_of(p.client);
	assert_ok(fixture_open(&f, &(struct fixture_options){0}));
	fixture_target(&f, getpid(), 1);
	fixture_seed(&f);
	fixture_send(p.client, 100);
	fixture_recv(p.server, 100);
	fixture_wait_acked(p.client);
	rest_snapshot(&f, (const int[]){p.client, -1}, now);
	flow = fixture_flow(&f, fixture_cookie(p.client));
	assert_non_null(flow);
	assert_int_equal(flow->start_ns, 0);
	assert_int_equal(flow->sent_bytes, 100);
	assert_int_equal(flow->segments_out, now[0].tcpi_segs_out - info.tcpi_segs_out);
	fixture_pair_done(&p);
	fixture_close(&f);
}

static void without_the_option_nothing_is_told(void **state)
{
	struct fixture f;
	struct fixture_pair p;

	assert_ok(fixture_open(&f, &(struct fixture_options){.without_flows = true}));
	fixture_target(&f, getpid(), 1);
	p = fixture_pair(AF_INET);
	fixture_send(p.client, 100);
	fixture_snapshot(&f);
	fixture_pair_done(&p);
	fixture_snapshot(&f);
	assert_int_equal(f.n_flows, 0);
	assert_int_equal(f.n_rests, 0);
	fixture_close(&f);
}

/* The local port of a connect that fails is known too, which the socket has no more at its end. */
static void a_connect_that_fails_is_a_flow_with_its_error(void **state)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct fixture *f = *state;
	const struct sonde_flow *flow;
	uint16_t port, local;
	uint64_t id;
	int listener, filler, fd;

	listener = fixture_listen(AF_INET, 1, &port);
	fixture_close_fd(&listener);
	to.sin_port = htons(port);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	id = fixture_cookie(fd);
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), -1);
	assert_int_equal(errno, ECONNREFUSED);
	fixture_close_fd(&fd);
	fixture_snapshot(f);
	flow = fixture_flow(f, id);
	assert_non_null(flow);
	assert_int_equal(flow->error, SONDE_TCP_CONNECT_ECONNREFUSED + 1);
	assert_int_equal(flow->rport, port);
	assert_true(flow->lport != 0);
	assert_true(flow->end_ns > flow->start_ns);

	/* A full queue: the SYN waits, its port can be asked for, and the application gives up. */
	listener = fixture_listen(AF_INET, 0, &port);
	to.sin_port = htons(port);
	filler = fixture_connect(AF_INET, port);
	fixture_wait_queued(listener);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_true(fd >= 0);
	id = fixture_cookie(fd);
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), -1);
	assert_int_equal(errno, EINPROGRESS);
	local = port_of(fd, false);
	fixture_snapshot(f);
	flow = fixture_flow(f, id);
	assert_non_null(flow);
	assert_int_equal(flow->state, STATE_SYN_SENT);
	assert_int_equal(flow->lport, local);
	fixture_close_fd(&fd);
	fixture_snapshot(f);
	flow = fixture_flow(f, id);
	assert_non_null(flow);
	assert_int_equal(flow->error, SONDE_TCP_CONNECT_ABORTED + 1);
	assert_int_equal(flow->lport, local);
	fixture_close_fd(&filler);
	fixture_close_fd(&listener);
}

/* connect(2), disconnect, connect(2) with one descriptor: two connections. */
static void a_socket_used_again_is_another_flow(void **state)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	const struct sockaddr none = {.sa_family = AF_UNSPEC};
	struct fixture *f = *state;
	struct fixture_pair p = fixture_pair(AF_INET);
	uint64_t id = fixture_cookie(p.client);
	size_t n = 0;

	to.sin_port = htons(p.port);
	fixture_send(p.client, 700);
	fixture_recv(p.server, 700);
	assert_int_equal(connect(p.client, &none, sizeof(none)), 0);
	fixture_close_fd(&p.server);
	assert_int_equal(connect(p.client, (struct sockaddr *)&to, sizeof(to)), 0);
	p.server = fixture_accept(p.listener);
	fixture_send(p.client, 33);
	fixture_recv(p.server, 33);
	fixture_pair_done(&p);
	for (unsigned int turn = 0; turn < 6000 && n < 2; turn++) { /* the last ACK may be late */
		fixture_snapshot(f);
		for (size_t i = 0; i < f->n_flows; i++) {
			const struct sonde_flow *flow = &f->flows[i];

			if ((flow->id & ~(0xffULL << 56)) != id || !flow->final)
				continue;
			n++;
			assert_int_equal(flow->sent_bytes, flow->id == id ? 700 : 33);
			assert_true(flow->end_ns > 0);
		}
		if (n < 2)
			fixture_wait_ms(10);
	}
	assert_int_equal(n, 2);
}

static struct sonde_flow_rest sum_of_flows(const struct fixture *f, unsigned int role,
					   uint16_t port)
{
	struct sonde_flow_rest sum = {0};

	for (size_t i = 0; i < f->n_flows; i++) {
		const struct sonde_flow *flow = &f->flows[i];

		if (flow->role != role || (role == CLIENT ? flow->rport : flow->lport) != port)
			continue;
		sum.connections++;
		sum.sent_bytes += flow->sent_bytes;
		sum.received_bytes += flow->received_bytes;
		sum.segments_out += flow->segments_out;
		sum.segments_in += flow->segments_in;
		sum.retransmits += flow->retransmits;
		sum.rtt_count += flow->rtt_count;
		sum.rtt_sum_us += flow->rtt_sum_us;
	}
	return sum;
}

/* Only for a collector that saw no other port. */
static void add_rests(const struct fixture *f, unsigned int role, uint8_t open,
		      struct sonde_flow_rest *sum)
{
	for (size_t i = 0; i < f->n_rests; i++) {
		const struct sonde_flow_rest *rest = &f->rests[i].rest;

		if (f->rests[i].key.role != role || f->rests[i].key.open != open)
			continue;
		sum->connections += rest->connections;
		sum->sent_bytes += rest->sent_bytes;
		sum->received_bytes += rest->received_bytes;
		sum->segments_out += rest->segments_out;
		sum->segments_in += rest->segments_in;
		sum->retransmits += rest->retransmits;
		sum->rtt_count += rest->rtt_count;
		sum->rtt_sum_us += rest->rtt_sum_us;
	}
}

static void assert_sum_is_cell(const struct sonde_flow_rest *sum, const struct sonde_tcp_cell *cell)
{
	assert_int_equal(sum->sent_bytes, cell->sent_bytes);
	assert_int_equal(sum->received_bytes, cell->received_bytes);
	assert_int_equal(sum->segments_out, cell->segments_out);
	assert_int_equal(sum->segments_in, cell->segments_in);
	assert_int_equal(sum->retransmits, cell->retransmitted_segments);
	assert_int_equal(sum->rtt_count, cell->rtt_count);
	assert_int_equal(sum->rtt_sum_us, cell->rtt_sum_us);
}

static void the_largest_are_told_and_the_others_summed(void **state)
{
	enum {
		PAIRS = 40,
		TOLD = 12
	};
	struct fixture_pair first, pairs[PAIRS];
	struct sonde_flow_rest sum;
	struct sonde_tcp_cell cell;
	struct fixture f;

	assert_ok(fixture_open(&f, &(struct fixture_options){0}));
	fixture_target(&f, getpid(), 1);
	first = fixture_pair(AF_INET);
	for (size_t i = 0; i < PAIRS; i++) {
		size_t n = 100 * ((i * 7) % PAIRS + 1);

		pairs[i] = fixture_again(&first);
		fixture_send(pairs[i].client, n);
		fixture_recv(pairs[i].server, n);
		fixture_wait_acked(pairs[i].client);
	}
	f.open_flows = TOLD;
	fixture_snapshot(&f);
	assert_int_equal(f.n_flows, TOLD);
	for (size_t i = 0; i < f.n_flows; i++) /* both ends of the six largest */
		assert_true(f.flows[i].sent_bytes + f.flows[i].received_bytes >
			    100 * (PAIRS - TOLD / 2));
	for (unsigned int role = CLIENT; role <= SERVER; role++) {
		cell = fixture_sum(&f, getpid(), role, first.port);
		sum = sum_of_flows(&f, role, first.port);
		add_rests(&f, role, 1, &sum);
		assert_int_equal(sum.connections, PAIRS + 1);
		assert_sum_is_cell(&sum, &cell);
	}
	for (size_t i = 0; i < PAIRS; i++)
		fixture_pair_done(&pairs[i]);
	fixture_pair_done(&first);
	fixture_close(&f);
}

static void connect_and_close(const struct fixture_pair *listener, size_t bytes)
{
	struct fixture_pair p = fixture_again(listener);

	fixture_send(p.client, bytes);
	fixture_recv(p.server, bytes);
	fixture_abort_on_close(p.client); /* no TIME_WAIT: ports come back */
	fixture_close_fd(&p.client);
	fixture_wait_end(p.server); /* else it would be open until then */
	fixture_pair_done(&p);
}

/* More than the ring holds between two snapshots: the excess is in the sums, to the byte. */
static void a_storm_loses_nothing(void **state)
{
	const size_t n = SONDE_TCP_ENDED_SLOTS * 3 / 4; /* two ends each */
	struct fixture_pair first;
	struct sonde_flow_rest sum;
	struct sonde_tcp_cell cell;
	struct fixture f;
	uint64_t told = 0;

	assert_ok(fixture_open(&f, &(struct fixture_options){0}));
	fixture_target(&f, getpid(), 1);
	first = fixture_pair(AF_INET);
	for (size_t i = 0; i < n; i++)
		connect_and_close(&first, 10);
	fixture_snapshot(&f);
	for (unsigned int role = CLIENT; role <= SERVER; role++) {
		cell = fixture_sum(&f, getpid(), role, first.port);
		sum = sum_of_flows(&f, role, first.port);
		told += sum.connections;
		add_rests(&f, role, 0, &sum);
		assert_int_equal(sum.connections, n + 1);
		assert_sum_is_cell(&sum, &cell);
	}
	assert_int_equal(told, SONDE_TCP_ENDED_SLOTS + 2);
	assert_int_equal(fixture_loss(&f, SONDE_TCP_LOSS_FLOW_FULL), 0);
	/* The ring is free again, and turns. */
	for (size_t i = 0; i < 100; i++)
		connect_and_close(&first, 10);
	fixture_snapshot(&f);
	assert_int_equal(f.n_flows, 202);
	fixture_pair_done(&first);
	fixture_close(&f);
}

struct storm {
	struct fixture_pair first;
	atomic_bool stop;
	_Atomic uint64_t connections;
};

static void *storm_main(void *arg)
{
	struct storm *storm = arg;

	while (!atomic_load(&storm->stop)) {
		connect_and_close(&storm->first, 10);
		storm->connections++;
	}
	return NULL;
}

/* Snapshots in a loop against connections that end meanwhile: each is told once as ended. */
static void snapshots_amid_closes_tell_each_once(void **state)
{
	struct sonde_flow_rest ended[3] = {0};
	struct storm storm = {0};
	struct fixture f;
	pthread_t thread;

	assert_ok(fixture_open(&f, &(struct fixture_options){0}));
	fixture_target(&f, getpid(), 1);
	storm.first = fixture_pair(AF_INET);
	assert_int_equal(pthread_create(&thread, NULL, storm_main, &storm), 0);
	for (bool last = false; !last;) {
		last = atomic_load(&storm.connections) > 1000;
		if (last) {
			atomic_store(&storm.stop, true);
			assert_int_equal(pthread_join(thread, NULL), 0);
		}
		fixture_snapshot(&f);
		for (size_t k = 0; k < f.n_flows; k++) {
			const struct sonde_flow *flow = &f.flows[k];

			(void)fixture_flow(&f, flow->id); /* once a snapshot */
			if (!flow->final)
				continue;
			ended[flow->role].connections++;
			ended[flow->role].sent_bytes += flow->sent_bytes;
			ended[flow->role].received_bytes += flow->received_bytes;
		}
	}
	assert_int_equal(ended[CLIENT].connections, storm.connections);
	assert_int_equal(ended[SERVER].connections, storm.connections);
	assert_int_equal(ended[CLIENT].sent_bytes, 10 * storm.connections);
	assert_int_equal(ended[SERVER].received_bytes, 10 * storm.connections);
	fixture_pair_done(&storm.first);
	fixture_close(&f);
}

/* Loss in the packet filter: retransmits as TCP_INFO has them, drops as nft counts them. */
static void loss_is_its_own_connections(void **state)
{
	struct fixture *f = *state;
	const struct sonde_flow *flow;
	struct fixture_pair lossy, clean;
	struct tcp_info info[2];
	struct veth v;
	uint64_t dropped;

	if (veth_open(&v) < 0)
		skip();
	assert_true(veth_add_chains(&v));
	lossy = veth_pair(&v, AF_INET);
	clean = veth_pair(&v, AF_INET);
	assert_true(veth_run(&v, VETH_SERVER,
			     "nft add rule inet sonde_test input tcp dport %u numgen inc mod 10 3 "
			     "counter drop",
			     lossy.port));
	for (int i = 0; i < 40; i++) {
		fixture_send(lossy.client, 1000);
		fixture_recv(lossy.server, 1000);
		fixture_send(clean.client, 1000);
		fixture_recv(clean.server, 1000);
	}
	fixture_wait_acked(lossy.client);
	dropped = veth_end_chain(&v, VETH_SERVER, "input");
	rest_snapshot(f, (const int[]){lossy.client, clean.server}, info);
	flow = fixture_flow(f, fixture_cookie(lossy.client));
	assert_is(flow, lossy.client, &info[0], CLIENT, 40000, 0);
	assert_true(flow->retransmits > 0);
	assert_int_equal(flow->drops, 0);
	flow = fixture_flow(f, fixture_cookie(lossy.server));
	assert_non_null(flow);
	assert_true(dropped > 0);
	assert_int_equal(flow->drops, dropped); /* early demux names the receiver */
	flow = fixture_flow(f, fixture_cookie(clean.server));
	assert_is(flow, clean.server, &info[1], SERVER, 0, 40000);
	assert_int_equal(flow->drops, 0);
	fixture_pair_done(&lossy);
	fixture_pair_done(&clean);
	veth_close(&v);
}

static int run(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_connection_is_told_as_the_kernel_has_it),
		cmocka_unit_test(an_older_connection_counts_from_the_seed),
		cmocka_unit_test(without_the_option_nothing_is_told),
		cmocka_unit_test(a_connect_that_fails_is_a_flow_with_its_error),
		cmocka_unit_test(a_socket_used_again_is_another_flow),
		cmocka_unit_test(the_largest_are_told_and_the_others_summed),
		cmocka_unit_test(a_storm_loses_nothing),
		cmocka_unit_test(snapshots_amid_closes_tell_each_once),
		cmocka_unit_test(loss_is_its_own_connections),
	};

	if (geteuid() == 0 && !fixture_bpf_is_refused() &&
	    !fixture_is_measured("last values of connections that end", "records"))
		return fixture_tell_absent("last values of connections that end", "records");
	return fixture_main(tests);
}

int main(int argc, char **argv)
{
	return unseen_main(argv, run);
}
