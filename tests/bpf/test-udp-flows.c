/* SPDX-License-Identifier: Apache-2.0 */
/* Flow records of UDP: by socket and peer, and with what is summed the cells' totals. */
#include "udp-fixture.h"

#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "bpf/udp/udp_private.h"

static const struct sonde_flow *find(const struct udp_fixture *f, uint8_t role, uint16_t lport,
				     uint16_t rport)
{
	const struct sonde_flow *found = NULL;

	for (size_t i = 0; i < f->n_flows; i++) {
		const struct sonde_flow *flow = &f->flows[i];

		if (flow->role != role || flow->lport != lport || flow->rport != rport)
			continue;
		assert_null(found);
		found = flow;
	}
	return found;
}

static void assert_traffic(const struct sonde_flow *flow, uint64_t out, uint64_t sent, uint64_t in,
			   uint64_t received)
{
	assert_non_null(flow);
	assert_int_equal(flow->pid, getpid());
	assert_int_equal(flow->protocol, IPPROTO_UDP);
	assert_int_equal(flow->segments_out, out);
	assert_int_equal(flow->sent_bytes, sent);
	assert_int_equal(flow->segments_in, in);
	assert_int_equal(flow->received_bytes, received);
}

static void a_connected_client_and_its_server(void **state)
{
	struct udp_fixture *f = *state;
	uint64_t before = sonde_mono_ns(), id;
	uint16_t port, from;
	int server = udp_bound(AF_INET, &port), client = udp_connected(AF_INET, port);
	const struct sonde_flow *flow;

	from = udp_port_of(client);
	for (int n = 0; n < 5; n++) {
		udp_send(client, 100);
		(void)udp_receive(server, 100);
	}
	udp_send_to(server, AF_INET, from, 10);
	(void)udp_receive(client, 10);
	udp_fixture_snapshot(f);
	flow = find(f, UDP_CLIENT, from, port);
	assert_traffic(flow, 5, 500, 1, 10);
	assert_true(flow->start_ns >= before && flow->start_ns <= sonde_mono_ns());
	assert_int_equal(flow->end_ns, 0);
	assert_int_equal(flow->laddr[12], 127);
	id = flow->id;
	flow = find(f, UDP_SERVER, port, from);
	assert_traffic(flow, 1, 10, 5, 500);
	assert_int_equal(flow->peer_pid, getpid());

	before = sonde_mono_ns();
	(void)close(client);
	udp_fixture_snapshot(f);
	flow = find(f, UDP_CLIENT, from, port);
	assert_traffic(flow, 5, 500, 1, 10);
	assert_int_equal(flow->id, id);
	assert_true(flow->final && flow->end_ns >= before);
	assert_non_null(
		find(f, UDP_SERVER, port, from)); /* quiet, but nobody said that it is over */
	udp_fixture_snapshot(f);
	assert_null(find(f, UDP_CLIENT, from, port));
	(void)close(server);
}

static void an_unconnected_socket_has_a_flow_a_peer(void **state)
{
	struct udp_fixture *f = *state;
	uint16_t ports[3], from;
	int servers[3], client = udp_socket(AF_INET6);

	for (size_t i = 0; i < 3; i++) {
		servers[i] = udp_bound(AF_INET6, &ports[i]);
		for (size_t n = 0; n <= i; n++)
			udp_send_to(client, AF_INET6, ports[i], 7);
	}
	from = udp_port_of(client);
	udp_fixture_snapshot(f);
	for (size_t i = 0; i < 3; i++) {
		assert_traffic(find(f, UDP_CLIENT, from, ports[i]), i + 1, 7 * (i + 1), 0, 0);
		(void)close(servers[i]);
	}
	(void)close(client);
}

/* More peers than the table holds: the rest of the bytes is in the sums. */
static void what_finds_no_room_is_summed(void **state)
{
	const uint32_t peers = SONDE_UDP_FLOWS + 1000;
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9)};
	struct sonde_udp_cell cells;
	struct udp_fixture f;
	uint64_t bytes = 0, datagrams = 0, flows = 0;
	int fd;

	assert_ok(udp_fixture_open(&f, &(struct udp_fixture_options){0}));
	udp_fixture_target(&f, getpid(), 1);
	fd = udp_socket(AF_INET);
	for (uint32_t i = 0; i < peers; i++) {
		to.sin_addr.s_addr = htonl(0x7f010000 + i);
		assert_int_equal(sendto(fd, "abc", 3, 0, (struct sockaddr *)&to, sizeof(to)), 3);
	}
	udp_fixture_snapshot(&f);
	for (size_t i = 0; i < f.n_flows; i++) {
		bytes += f.flows[i].sent_bytes;
		datagrams += f.flows[i].segments_out;
	}
	assert_int_equal(f.n_flows, 1000);
	flows = f.n_flows;
	for (size_t i = 0; i < f.n_rests; i++) {
		bytes += f.rests[i].rest.sent_bytes;
		datagrams += f.rests[i].rest.segments_out;
		flows += f.rests[i].rest.connections;
	}
	cells = udp_fixture_sum(&f, getpid(), UDP_CLIENT, 0);
	assert_int_equal(cells.sent_bytes, 3ULL * peers);
	assert_int_equal(bytes, cells.sent_bytes);
	assert_int_equal(datagrams, cells.sent_datagrams);
	assert_int_equal(flows, SONDE_UDP_FLOWS);
	(void)close(fd);
	udp_fixture_close(&f);
}

static void drops_are_the_flows(void **state)
{
	struct udp_fixture *f = *state;
	const struct sonde_flow *flow;
	struct sonde_udp_cell cell;
	uint16_t port;
	int size = 4096, server = udp_bound(AF_INET, &port), client = udp_connected(AF_INET, port);

	assert_int_equal(setsockopt(server, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)), 0);
	udp_send_beyond_room(client, server, 100, 1000);
	udp_fixture_snapshot(f);
	cell = udp_fixture_sum(f, getpid(), UDP_SERVER, port);
	flow = find(f, UDP_SERVER, port, udp_port_of(client));
	assert_true(cell.buffer_dropped_datagrams > 0);
	if (udp_fixture_attached(f, "tp_btf/udp_fail_queue_rcv_skb with skb")) {
		assert_non_null(flow);
		assert_int_equal(flow->drops, cell.buffer_dropped_datagrams);
	} else { /* nobody names the sender: it is in no flow, but in the sum */
		uint64_t drops = 0;

		for (size_t i = 0; i < f->n_rests; i++)
			drops += f->rests[i].rest.drops;
		assert_null(flow);
		assert_int_equal(drops, cell.buffer_dropped_datagrams);
	}
	(void)close(client);
	(void)close(server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_connected_client_and_its_server),
		cmocka_unit_test(an_unconnected_socket_has_a_flow_a_peer),
		cmocka_unit_test(drops_are_the_flows),
		cmocka_unit_test(
			what_finds_no_room_is_summed), /* fills the shared one's tables too */
	};

	return udp_fixture_main(tests);
}
