/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "model/peer.h"

static void address(const char *text, uint8_t ret[16])
{
	memset(ret, 0, 16);
	if (strchr(text, ':')) {
		assert_int_equal(inet_pton(AF_INET6, text, ret), 1);
	} else {
		ret[10] = ret[11] = 0xff;
		assert_int_equal(inet_pton(AF_INET, text, ret + 12), 1);
	}
}

static struct sonde_tcp_cell_key cell(uint64_t netns, uint32_t pid, uint8_t role, const char *local,
				      const char *remote, uint16_t port)
{
	struct sonde_tcp_cell_key k = {.netns = netns, .pid = pid, .role = role, .port = port};

	address(local, k.laddr);
	address(remote, k.raddr);
	return k;
}

/* Adds @n cells, seals, and resolves the first. */
static struct sonde_peer resolve(const struct sonde_tcp_cell_key *cells, size_t n,
				 uint64_t (*group)(void *, uint32_t))
{
	_cleanup_(sonde_peer_table_freep) struct sonde_peer_table *t = NULL;
	struct sonde_peer p = {0};

	assert_ok(sonde_peer_table_new(100, &t));
	for (size_t i = 0; i < n; i++)
		assert_ok(sonde_peer_table_add_cell(t, &cells[i]));
	sonde_peer_table_seal(t, group, NULL);
	sonde_peer_resolve(t, &cells[0], &p);
	return p;
}

static uint64_t tens(void *ctx, uint32_t pid)
{
	return pid / 10;
}

static void the_kernels_word_comes_first(void **state)
{
	struct sonde_tcp_cell_key c[] = {
		cell(1, 10, SONDE_TCP_ROLE_CLIENT, "10.0.0.1", "10.0.0.2", 80),
		cell(2, 20, SONDE_TCP_ROLE_SERVER, "10.0.0.2", "10.0.0.1", 80),
	};
	struct sonde_peer p;

	c[0].peer_pid = 33;
	p = resolve(c, 2, NULL);
	assert_int_equal(p.kind, SONDE_PEER_PROCESS);
	assert_int_equal(p.pid, 33);
}

static void a_client_finds_its_server_in_another_namespace(void **state)
{
	struct sonde_tcp_cell_key c[] = {
		cell(1, 10, SONDE_TCP_ROLE_CLIENT, "10.0.0.1", "10.0.0.2", 80),
		cell(2, 21, SONDE_TCP_ROLE_SERVER, "10.0.0.2", "10.0.0.9", 80),
		cell(2, 22, SONDE_TCP_ROLE_SERVER, "10.0.0.2", "10.0.0.1", 81),
	};
	struct sonde_peer p = resolve(c, 3, NULL);

	assert_int_equal(p.kind, SONDE_PEER_PROCESS);
	assert_int_equal(p.pid, 21);
	assert_true(p.local); /* the address of a monitored connection */
}

static void loopback_is_matched_in_the_same_namespace_only(void **state)
{
	struct sonde_tcp_cell_key c[] = {
		cell(1, 10, SONDE_TCP_ROLE_CLIENT, "127.0.0.1", "127.0.0.1", 80),
		cell(2, 20, SONDE_TCP_ROLE_SERVER, "127.0.0.1", "127.0.0.1", 80),
	};
	struct sonde_peer p = resolve(c, 2, NULL);

	assert_int_equal(p.kind, SONDE_PEER_ADDRESS);
	assert_true(p.local);
	c[1].netns = 1;
	p = resolve(c, 2, NULL);
	assert_int_equal(p.kind, SONDE_PEER_PROCESS);
	assert_int_equal(p.pid, 20);
}

static void workers_of_one_process_id_are_no_ambiguity(void **state)
{
	struct sonde_tcp_cell_key c[] = {
		cell(1, 10, SONDE_TCP_ROLE_CLIENT, "10.0.0.1", "10.0.0.2", 80),
		cell(2, 21, SONDE_TCP_ROLE_SERVER, "10.0.0.2", "10.0.0.9", 80),
		cell(2, 22, SONDE_TCP_ROLE_SERVER, "10.0.0.2", "10.0.0.9", 80),
	};

	assert_int_equal(resolve(c, 3, tens).kind, SONDE_PEER_PROCESS);
	assert_int_equal(resolve(c, 3, NULL).kind, SONDE_PEER_ADDRESS);
}

static void a_servers_client_is_never_guessed_from_its_address(void **state)
{
	struct sonde_tcp_cell_key c[] = {
		cell(1, 20, SONDE_TCP_ROLE_SERVER, "10.0.0.2", "10.0.0.1", 80),
		cell(2, 10, SONDE_TCP_ROLE_CLIENT, "10.0.0.1", "10.0.0.2", 80),
	};

	assert_int_equal(resolve(c, 2, NULL).kind, SONDE_PEER_ADDRESS);
}

static void a_listener_serves_only_what_stays_in_its_namespace(void **state)
{
	_cleanup_(sonde_peer_table_freep) struct sonde_peer_table *t = NULL;
	struct sonde_tcp_cell_key in = cell(1, 10, SONDE_TCP_ROLE_CLIENT, "::1", "::1", 80);
	struct sonde_tcp_cell_key out =
		cell(1, 10, SONDE_TCP_ROLE_CLIENT, "10.0.0.1", "10.0.0.2", 80);
	const uint8_t any[16] = {0};
	struct sonde_peer p;

	assert_ok(sonde_peer_table_new(10, &t));
	assert_ok(sonde_peer_table_add_listener(t, 1, any, 80, 7));
	sonde_peer_table_seal(t, NULL, NULL);
	sonde_peer_resolve(t, &in, &p);
	assert_int_equal(p.kind, SONDE_PEER_PROCESS);
	assert_int_equal(p.pid, 7);
	sonde_peer_resolve(t, &out, &p);
	assert_int_equal(p.kind, SONDE_PEER_ADDRESS);
	assert_false(p.local);
	in.netns = 2;
	sonde_peer_resolve(t, &in, &p);
	assert_int_equal(p.kind, SONDE_PEER_ADDRESS);
}

static void the_overflow_cell_has_no_address(void **state)
{
	struct sonde_tcp_cell_key c = {.pid = 1, .role = SONDE_TCP_ROLE_CLIENT};

	c.flags = SONDE_TCP_CELL_OTHER;
	assert_int_equal(resolve(&c, 1, NULL).kind, SONDE_PEER_OTHER);
}

static void refuses_rows_past_its_limit(void **state)
{
	_cleanup_(sonde_peer_table_freep) struct sonde_peer_table *t = NULL;
	const uint8_t any[16] = {0};

	assert_ok(sonde_peer_table_new(1, &t));
	assert_ok(sonde_peer_table_add_listener(t, 1, any, 80, 7));
	assert_err(sonde_peer_table_add_listener(t, 1, any, 81, 7), ENOSPC);
}

static void addresses_are_written_as_people_write_them(void **state)
{
	char text[SONDE_ADDRESS_TEXT_MAX];
	uint8_t a[16];

	address("10.1.2.3", a);
	sonde_address_text(a, text);
	assert_string_equal(text, "10.1.2.3");
	address("2001:db8::1", a);
	sonde_address_text(a, text);
	assert_string_equal(text, "2001:db8::1");
}

/* Adds @n cells, seals, and asks for the client of the first, a server's cell without a connection. */
static struct sonde_peer infer(const struct sonde_tcp_cell_key *cells, size_t n,
			       uint64_t (*group)(void *, uint32_t))
{
	_cleanup_(sonde_peer_table_freep) struct sonde_peer_table *t = NULL;
	struct sonde_peer p = {0};

	assert_ok(sonde_peer_table_new(100, &t));
	for (size_t i = 0; i < n; i++)
		assert_ok(sonde_peer_table_add_cell(t, &cells[i]));
	sonde_peer_table_seal(t, group, NULL);
	sonde_peer_resolve(t, &cells[0], &p);
	assert_int_equal(p.kind, cells[0].peer_pid ? SONDE_PEER_PROCESS : SONDE_PEER_ADDRESS);
	sonde_peer_infer_client(t, &cells[0], &p);
	return p;
}

static void a_cell_without_connection_is_the_one_known_clients(void **state)
{
	struct sonde_tcp_cell_key c[] = {
		cell(2, 20, SONDE_TCP_ROLE_SERVER, "10.0.0.2", "10.0.0.1", 80),
		cell(1, 10, SONDE_TCP_ROLE_CLIENT, "10.0.0.1", "10.0.0.2", 80),
		cell(1, 11, SONDE_TCP_ROLE_CLIENT, "10.0.0.1", "10.0.0.2", 80),
		cell(1, 55, SONDE_TCP_ROLE_CLIENT, "10.0.0.1", "10.0.0.2", 81),
		cell(1, 56, SONDE_TCP_ROLE_CLIENT, "10.0.0.1", "10.0.0.3", 80),
		cell(1, 57, SONDE_TCP_ROLE_CLIENT, "10.0.0.4", "10.0.0.2", 80),
	};
	struct sonde_peer p = infer(c, ELEMENTS_OF(c), tens);

	assert_int_equal(p.kind, SONDE_PEER_PROCESS);
	assert_int_equal(p.pid / 10, 1); /* either worker: they carry one id */
	/* what the kernel said stays */
	c[0].peer_pid = 77;
	p = infer(c, ELEMENTS_OF(c), tens);
	assert_int_equal(p.pid, 77);
}

static void two_clients_of_one_address_leave_the_address(void **state)
{
	struct sonde_tcp_cell_key c[] = {
		cell(2, 20, SONDE_TCP_ROLE_SERVER, "10.0.0.2", "10.0.0.1", 80),
		cell(1, 10, SONDE_TCP_ROLE_CLIENT, "10.0.0.1", "10.0.0.2", 80),
		cell(1, 31, SONDE_TCP_ROLE_CLIENT, "10.0.0.1", "10.0.0.2", 80),
	};

	assert_int_equal(infer(c, 3, NULL).kind, SONDE_PEER_ADDRESS);
	assert_int_equal(infer(c, 1, NULL).kind, SONDE_PEER_ADDRESS);
}

static void a_client_on_loopback_is_of_the_same_namespace(void **state)
{
	struct sonde_tcp_cell_key c[] = {
		cell(2, 20, SONDE_TCP_ROLE_SERVER, "127.0.0.1", "127.0.0.1", 80),
		cell(1, 10, SONDE_TCP_ROLE_CLIENT, "127.0.0.1", "127.0.0.1", 80),
		cell(2, 31, SONDE_TCP_ROLE_CLIENT, "127.0.0.1", "127.0.0.1", 80),
	};
	struct sonde_peer p = infer(c, 3, NULL);

	assert_int_equal(p.kind, SONDE_PEER_PROCESS);
	assert_int_equal(p.pid, 31);
	assert_int_equal(infer(c, 2, NULL).kind, SONDE_PEER_ADDRESS);
}

static struct sonde_tcp_cell_key udp(struct sonde_tcp_cell_key key, uint32_t peer_pid)
{
	key.protocol = IPPROTO_UDP;
	key.peer_pid = peer_pid;
	return key;
}

static void add_way(struct sonde_peer_table *t, const char *to, uint16_t to_port)
{
	uint8_t service[16], backend[16];

	address("10.96.0.1", service);
	address(to, backend);
	assert_ok(sonde_peer_table_add_service(t, IPPROTO_TCP, service, 80, backend, to_port));
}

static void a_service_is_its_backend_where_it_has_but_one(void **state)
{
	const struct sonde_tcp_cell_key asking =
		cell(1, 10, SONDE_TCP_ROLE_CLIENT, "10.0.0.1", "10.96.0.1", 80);
	const struct sonde_tcp_cell_key serving =
		cell(2, 20, SONDE_TCP_ROLE_SERVER, "10.0.0.9", "10.0.0.1", 8080);
	_cleanup_(sonde_peer_table_freep) struct sonde_peer_table *t = NULL;
	char text[SONDE_ADDRESS_TEXT_MAX];
	struct sonde_peer p;

	assert_ok(sonde_peer_table_new(100, &t));
	for (int backends = 0; backends < 3; backends++) {
		sonde_peer_table_reset(t);
		assert_ok(sonde_peer_table_add_cell(t, &asking));
		assert_ok(sonde_peer_table_add_cell(t, &serving));
		for (int twice = 0; backends && twice < 2; twice++) /* told by two tasks */
			add_way(t, "10.0.0.9", 8080);
		if (backends == 2)
			add_way(t, "10.0.0.8", 8080);
		sonde_peer_table_seal(t, NULL, NULL);
		sonde_peer_resolve(t, &asking, &p);
		sonde_address_text(p.addr, text);
		assert_int_equal(p.service, backends > 0);
		if (backends == 1) {
			assert_int_equal(p.kind, SONDE_PEER_PROCESS);
			assert_int_equal(p.pid, 20);
			assert_string_equal(text, "10.0.0.9");
			assert_int_equal(p.port, 8080);
			assert_int_equal(p.service_port, 80);
		} else {
			assert_int_equal(p.kind, SONDE_PEER_ADDRESS);
			assert_string_equal(text, "10.96.0.1");
			assert_int_equal(p.port, 80);
		}
		/* A server's client is nobody's Service. */
		sonde_peer_resolve(t, &serving, &p);
		assert_false(p.service);
	}
}

static void a_port_by_udp_is_not_the_same_by_tcp(void **state)
{
	struct sonde_tcp_cell_key c[] = {
		cell(1, 10, SONDE_TCP_ROLE_CLIENT, "10.0.0.1", "10.0.0.2", 53),
		udp(cell(2, 20, SONDE_TCP_ROLE_SERVER, "10.0.0.2", "10.0.0.1", 53), 0),
		cell(2, 30, SONDE_TCP_ROLE_SERVER, "10.0.0.2", "10.0.0.1", 53),
	};

	assert_int_equal(resolve(c, 3, NULL).pid, 30);
	c[0] = udp(c[0], 0);
	assert_int_equal(resolve(c, 3, NULL).pid, 20);
	assert_int_equal(resolve(c, 1, NULL).kind, SONDE_PEER_ADDRESS);
}

/* A UDP server that is bound to no address tells its clients by the kernel's word, and so is known to them. */
static void a_udp_server_without_an_address_is_who_heard_the_client(void **state)
{
	struct sonde_tcp_cell_key c[] = {
		udp(cell(1, 10, SONDE_TCP_ROLE_CLIENT, "10.0.0.1", "10.0.0.2", 53), 0),
		udp(cell(2, 20, SONDE_TCP_ROLE_SERVER, "0.0.0.0", "10.0.0.1", 53), 10),
		udp(cell(2, 20, SONDE_TCP_ROLE_SERVER, "0.0.0.0", "10.0.0.1", 54), 10),
		udp(cell(1, 10, SONDE_TCP_ROLE_CLIENT, "10.0.0.1", "9.9.9.9", 53), 0),
	};

	assert_int_equal(resolve(c, 3, NULL).pid, 20);
	/* It speaks to two: which of them is the server's? */
	assert_int_equal(resolve(c, 4, NULL).kind, SONDE_PEER_ADDRESS);
	c[1].peer_pid = 11;
	assert_int_equal(resolve(c, 3, NULL).kind, SONDE_PEER_ADDRESS);
	c[1].peer_pid = 10;
	c[3] = udp(cell(3, 30, SONDE_TCP_ROLE_SERVER, "0.0.0.0", "10.0.0.1", 53), 10);
	assert_int_equal(resolve(c, 4, NULL).kind, SONDE_PEER_ADDRESS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_service_is_its_backend_where_it_has_but_one),
		cmocka_unit_test(a_port_by_udp_is_not_the_same_by_tcp),
		cmocka_unit_test(a_udp_server_without_an_address_is_who_heard_the_client),
		cmocka_unit_test(the_kernels_word_comes_first),
		cmocka_unit_test(a_client_finds_its_server_in_another_namespace),
		cmocka_unit_test(loopback_is_matched_in_the_same_namespace_only),
		cmocka_unit_test(workers_of_one_process_id_are_no_ambiguity),
		cmocka_unit_test(a_servers_client_is_never_guessed_from_its_address),
		cmocka_unit_test(a_cell_without_connection_is_the_one_known_clients),
		cmocka_unit_test(two_clients_of_one_address_leave_the_address),
		cmocka_unit_test(a_client_on_loopback_is_of_the_same_namespace),
		cmocka_unit_test(a_listener_serves_only_what_stays_in_its_namespace),
		cmocka_unit_test(the_overflow_cell_has_no_address),
		cmocka_unit_test(refuses_rows_past_its_limit),
		cmocka_unit_test(addresses_are_written_as_people_write_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
