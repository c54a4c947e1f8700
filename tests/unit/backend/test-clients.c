/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backend/http/clients.h"
#include "base/clock.h"

static struct sockaddr_storage address(const char *text)
{
	struct sockaddr_storage a = {0};

	if (inet_pton(AF_INET, text, &((struct sockaddr_in *)&a)->sin_addr) == 1)
		a.ss_family = AF_INET;
	else if (inet_pton(AF_INET6, text, &((struct sockaddr_in6 *)&a)->sin6_addr) == 1)
		a.ss_family = AF_INET6;
	return a;
}

static unsigned count(const struct sonde_http_clients *list, const char *text)
{
	struct sockaddr_storage a = address(text);
	struct sonde_http_share sum;

	sonde_http_clients_sum(list, (struct sockaddr *)&a, &sum);
	return sum.connections;
}

static void addresses_are_counted_and_of_ipv6_the_network(void **state)
{
	static const char *const texts[] = {"10.0.0.1",	       "10.0.0.1",
					    "10.0.0.2",	       "2001:db8::1",
					    "2001:db8::f:2",   "2001:db8:0:1::1",
					    "::ffff:10.0.0.1", "::ffff:10.0.0.1",
					    "::ffff:10.0.0.2", "::1"};
	struct sonde_http_clients list = {0};
	struct sockaddr_storage a;

	for (size_t i = 0; i < ELEMENTS_OF(texts); i++) {
		a = address(texts[i]);
		assert_non_null(sonde_http_client_new(&list, NULL, -1, (struct sockaddr *)&a, 0));
	}
	assert_int_equal(count(&list, "10.0.0.1"), 2);
	assert_int_equal(count(&list, "2001:db8::9"), 2);
	assert_int_equal(count(&list, "10.0.0.9"), 0);
	/* IPv4 on a socket of both: all of it is one /64, and each address a host. */
	assert_int_equal(count(&list, "::ffff:10.0.0.1"), 2);
	assert_int_equal(count(&list, "::ffff:10.0.0.2"), 1);
	assert_int_equal(count(&list, "::ffff:10.0.0.9"), 0);
	assert_int_equal(count(&list, "::1"), 1);
	while (list.first)
		sonde_http_client_free(&list, list.first);
}

static void what_they_hold_is_summed_by_address_and_of_all(void **state)
{
	static const char *const texts[] = {"10.0.0.1", "10.0.0.1", "10.0.0.2"};
	struct sonde_http_clients list = {0};
	struct sockaddr_storage a;
	struct sonde_http_share sum;

	for (size_t i = 0; i < ELEMENTS_OF(texts); i++) {
		struct sonde_http_client *c;

		a = address(texts[i]);
		c = sonde_http_client_new(&list, NULL, -1, (struct sockaddr *)&a, 0);
		assert_non_null(c);
		c->answer_bytes = (size_t)1 << (i + 32);
		c->streams = i > 0;
	}
	sonde_http_clients_sum(&list, NULL, &sum);
	assert_int_equal(sum.connections, 3);
	assert_int_equal(sum.streams, 2);
	assert_int_equal(sum.answer_bytes, (size_t)7 << 32);
	a = address("10.0.0.1");
	sonde_http_clients_sum(&list, (struct sockaddr *)&a, &sum);
	assert_int_equal(sum.connections, 2);
	assert_int_equal(sum.streams, 1);
	assert_int_equal(sum.answer_bytes, (size_t)3 << 32);
	while (list.first)
		sonde_http_client_free(&list, list.first);
}

static void each_phase_has_its_time_and_no_more(void **state)
{
	for (unsigned phase = 0; phase < _SONDE_HTTP_PHASE_MAX; phase++) {
		uint64_t began = 5 * SONDE_NS_PER_S;
		uint64_t limit = sonde_http_phase_s[phase] * SONDE_NS_PER_S;
		struct sonde_http_clients list = {0};
		struct sonde_http_client *c;
		int pair[2];
		char byte;

		assert_ok(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair));
		c = sonde_http_client_new(&list, NULL, pair[0], NULL, 0);
		assert_non_null(c);
		sonde_http_client_enter(c, phase, began);
		if (limit == 0) {
			assert_int_equal(sonde_http_clients_expire(&list, UINT64_MAX), 0);
		} else {
			assert_int_equal(sonde_http_clients_expire(&list, began + limit - 1), 0);
			assert_int_equal(read(pair[1], &byte, 1), -1); /* still open */
			assert_int_equal(sonde_http_clients_expire(&list, began + limit), 1);
			assert_int_equal(read(pair[1], &byte, 1), 0);
			assert_int_equal(sonde_http_clients_expire(&list, began + 2 * limit), 0);
		}
		sonde_http_client_free(&list, c);
		assert_null(list.first);
		(void)close(pair[0]);
		(void)close(pair[1]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_are_counted_and_of_ipv6_the_network),
		cmocka_unit_test(what_they_hold_is_summed_by_address_and_of_all),
		cmocka_unit_test(each_phase_has_its_time_and_no_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
