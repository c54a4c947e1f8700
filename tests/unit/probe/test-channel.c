/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "probe/channel.h"

static void make_pair(int pair[2])
{
	assert_ok(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair));
}

static void a_message_keeps_its_size_whatever_it_is(void **state)
{
	static const size_t sizes[] = {0, 1, 127, 128, 129, 5000};
	struct sonde_probe_request q;
	static uint8_t bytes[5000];
	int pair[2];
	size_t n;

	make_pair(pair);
	for (size_t i = 0; i < ELEMENTS_OF(sizes); i++) {
		assert_int_equal(send(pair[0], bytes, sizes[i], 0), sizes[i]);
		assert_int_equal(sonde_channel_receive(pair[1], 0, &q, &n), 1);
		assert_int_equal(n, sizes[i]);
	}
	assert_int_equal(sonde_channel_receive(pair[1], 0, &q, &n), 0);
	(void)close(pair[0]);
	assert_err(sonde_channel_receive(pair[1], 0, &q, &n), EPIPE);
	(void)close(pair[1]);
}

static void a_new_worker_drops_what_the_last_was_sent(void **state)
{
	struct sonde_probe_request q = {0};
	int pair[2];
	size_t n;

	make_pair(pair);
	for (int i = 0; i < 20; i++)
		assert_int_equal(send(pair[0], &q, sizeof(q), 0), sizeof(q));
	assert_int_equal(sonde_channel_drain(pair[1]), 20);
	assert_int_equal(sonde_channel_receive(pair[1], 0, &q, &n), 0);
	(void)close(pair[0]);
	assert_err(sonde_channel_drain(pair[1]), EPIPE);
	(void)close(pair[1]);
}

static void a_reply_to_nobody_is_told(void **state)
{
	struct sonde_probe_reply reply = {.version = SONDE_PROBE_VERSION};
	struct sonde_probe_reply got;
	int pair[2];

	make_pair(pair);
	assert_ok(sonde_channel_send(pair[1], &reply));
	assert_int_equal(recv(pair[0], &got, sizeof(got), 0), sizeof(got));
	assert_memory_equal(&got, &reply, sizeof(got));
	(void)close(pair[0]);
	assert_err(sonde_channel_send(pair[1], &reply), EPIPE);
	(void)close(pair[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_message_keeps_its_size_whatever_it_is),
		cmocka_unit_test(a_new_worker_drops_what_the_last_was_sent),
		cmocka_unit_test(a_reply_to_nobody_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
