/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "host/net-counters.h"

static int pairs(const char *text, struct sonde_net_counters *c)
{
	return sonde_net_counters_parse_pairs(text, strlen(text), c);
}

static int list(const char *text, struct sonde_net_counters *c)
{
	return sonde_net_counters_parse_list(text, strlen(text), c);
}

static void takes_what_is_in_its_list(void **state)
{
	struct sonde_net_counters c = {0};

	assert_ok(pairs("Tcp: RtoMin MaxConn InSegs RetransSegs\nTcp: 200 -1 12345 7\n"
			"Udp: InDatagrams NoPorts\nUdp: 18446744073709551615 0\n"
			"Strange: InSegs\nStrange: 5\n",
			&c));
	assert_int_equal(c.value[SONDE_NET_Tcp_InSegs], 12345);
	assert_int_equal(c.value[SONDE_NET_Tcp_RetransSegs], 7);
	assert_true(c.value[SONDE_NET_Udp_InDatagrams] == UINT64_MAX);
	assert_true(c.known[SONDE_NET_Udp_NoPorts]);
	assert_false(c.known[SONDE_NET_Udp_RcvbufErrors]);
	assert_ok(list("Ip6InReceives                   \t40\nUdp6InDatagrams \t3\nOther 9\n", &c));
	assert_int_equal(c.value[SONDE_NET_Udp6_InDatagrams], 3);
	assert_int_equal(c.value[SONDE_NET_Tcp_InSegs], 12345);
	assert_string_equal(sonde_net_counter_name(SONDE_NET_TcpExt_TCPTimeouts),
			    "TcpExtTCPTimeouts");
}

static void refuses_what_is_not_whole(void **state)
{
	static const char *const broken[] = {
		"Tcp: InSegs\n",
		"Tcp: InSegs\nTcp: 1",
		"Tcp: InSegs\nUdp: 1\n",
		"Tcp: InSegs OutSegs\nTcp: 1\n",
		"Tcp: InSegs\nTcp: 1 2\n",
		"Tcp: InSegs\nTcp: x\n",
		"Tcp: InSegs\nTcp: 18446744073709551616\n",
		"Tcp InSegs\nTcp 1\n",
		"\n\n",
		":\n:\n",
	};
	static const char *const broken_list[] = {"Udp6InDatagrams\n", "Udp6InDatagrams 1 2\n",
						  "Udp6InDatagrams 1", "\n", "A -\n"};
	struct sonde_net_counters c = {0};

	for (size_t i = 0; i < ELEMENTS_OF(broken); i++)
		assert_err(pairs(broken[i], &c), EBADMSG);
	for (size_t i = 0; i < ELEMENTS_OF(broken_list); i++)
		assert_err(list(broken_list[i], &c), EBADMSG);
	assert_ok(pairs("", &c));
	assert_ok(list("", &c));
}

static void reads_this_kernels(void **state)
{
	_cleanup_close_ int proc_fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct sonde_net_counters c;
	uint64_t own = 0, again = 0;

	assert_true(proc_fd >= 0);
	assert_ok(sonde_net_counters_read(proc_fd, (uint32_t)getpid(), &c));
	assert_true(c.known[SONDE_NET_Tcp_RetransSegs]);
	assert_true(c.known[SONDE_NET_TcpExt_ListenDrops]);
	assert_true(c.known[SONDE_NET_Udp_RcvbufErrors]);
	assert_ok(sonde_net_counters_namespace(proc_fd, (uint32_t)getpid(), &own));
	assert_ok(sonde_net_counters_namespace(proc_fd, (uint32_t)getppid(), &again));
	assert_true(own != 0 && own == again);
	assert_err(sonde_net_counters_namespace(proc_fd, INT32_MAX, &own), ESRCH);
	assert_err(sonde_net_counters_read(proc_fd, INT32_MAX, &c), ESRCH);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_what_is_in_its_list),
		cmocka_unit_test(refuses_what_is_not_whole),
		cmocka_unit_test(reads_this_kernels),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
