/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include <errno.h>
#include <string.h>

#include "io/address.h"

static void takes_names_addresses_and_ipv6_in_brackets(void **state)
{
	static const struct {
		const char *text, *host;
		uint16_t port;
		const char *name; /* without a scope id, without the last dot */
	} rows[] = {
		{"oap.example:11800", "oap.example", 11800, "oap.example"},
		{"oap_1.svc-2.example.:1", "oap_1.svc-2.example.", 1, "oap_1.svc-2.example"},
		{"10.0.0.1:65535", "10.0.0.1", 65535, "10.0.0.1"},
		{"[::1]:11800", "::1", 11800, "::1"},
		{"[fe80::1%eth0]:11800", "fe80::1%eth0", 11800, "fe80::1"},
	};

	for (size_t i = 0; i < ELEMENTS_OF(rows); i++) {
		char text[SONDE_ADDRESS_TEXT_MAX], name[SONDE_ADDRESS_HOST_MAX];
		struct sonde_address a;

		assert_ok(sonde_address_parse(rows[i].text, 0, &a));
		assert_string_equal(a.host, rows[i].host);
		assert_int_equal(a.port, rows[i].port);
		sonde_address_format(&a, text);
		assert_string_equal(text, rows[i].text);
		sonde_address_name(&a, name);
		assert_string_equal(name, rows[i].name);
	}
}

static void refuses_what_names_no_host_and_port(void **state)
{
	static const char *const bad[] = {
		"",
		":",
		":11800",
		"oap",
		"oap:",
		"oap:0",
		"oap:65536",
		"oap:-1",
		"oap:x",
		"oap: 1",
		"::1:11800",
		"[::1]",
		"[::1]:",
		"[]:1",
		"[10.0.0.1]:1",
		"[::1:1",
		"::1]:1",
		"[fe80::1%]:1",
		"[fe80::1%a-name-longer-than-any]:1",
		"a b:1",
		"a\r\nb:1",
		"http://a:1",
		"a/b:1",
		"-a:1",
		".a:1",
		"[::g]:1",
		"\xc3\xa4:1",
	};
	char host[SONDE_ADDRESS_HOST_MAX + 8];
	struct sonde_address a;

	for (size_t i = 0; i < ELEMENTS_OF(bad); i++)
		assert_err(sonde_address_parse(bad[i], 0, &a), EINVAL);
	memset(host, 'a', SONDE_ADDRESS_HOST_MAX);
	memcpy(host + SONDE_ADDRESS_HOST_MAX, ":1", 3);
	assert_err(sonde_address_parse(host, 0, &a), EINVAL);
	assert_ok(sonde_address_parse(host + 1, 0, &a));
}

static void takes_a_port_that_was_meant(void **state)
{
	struct sonde_address a;

	assert_ok(sonde_address_parse("oap", 11800, &a));
	assert_int_equal(a.port, 11800);
	assert_ok(sonde_address_parse("[::1]", 11800, &a));
	assert_string_equal(a.host, "::1");
	assert_ok(sonde_address_make("::1", 5, &a)); /* what two keys of a configuration say */
	assert_ok(sonde_address_make("[::1]", 5, &a));
	assert_err(sonde_address_make("oap", 0, &a), EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_names_addresses_and_ipv6_in_brackets),
		cmocka_unit_test(refuses_what_names_no_host_and_port),
		cmocka_unit_test(takes_a_port_that_was_meant),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
