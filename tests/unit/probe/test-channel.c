/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

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

static struct sonde_probe_reply reply_of(uint32_t type, uint64_t id)
{
	return (struct sonde_probe_reply){.version = SONDE_PROBE_VERSION, .type = type, .id = id};
}

static void send_reply(struct sonde_channel *c, uint32_t type, uint64_t id)
{
	const struct sonde_probe_reply reply = reply_of(type, id);

	assert_ok(sonde_channel_send(c, &reply));
}

/* Asserts that the next packet holds the replies to @first and the @n - 1 ids that follow; all of @type but the last. */
static void expect_packet(int sock, uint32_t type, uint32_t last_type, uint64_t first, size_t n)
{
	struct sonde_probe_reply got[SONDE_PROBE_PACKET_MAX + 1];

	assert_int_equal(recv(sock, got, sizeof(got), MSG_DONTWAIT), n * sizeof(got[0]));
	for (size_t i = 0; i < n; i++) {
		const struct sonde_probe_reply sent =
			reply_of(i + 1 < n ? type : last_type, first + i);

		assert_memory_equal(&got[i], &sent, sizeof(sent));
	}
}

static void expect_nothing(int sock)
{
	struct sonde_probe_reply got;

	assert_int_equal(recv(sock, &got, sizeof(got), MSG_DONTWAIT), -1);
	assert_int_equal(errno, EAGAIN);
}

static void records_wait_for_the_end_or_a_full_packet(void **state)
{
	const size_t more = 3;
	struct sonde_channel c;
	int pair[2];

	make_pair(pair);
	c = (struct sonde_channel){.sock = pair[1]};
	for (uint64_t i = 1; i < SONDE_PROBE_PACKET_MAX; i++)
		send_reply(&c, SONDE_PROBE_CELL, i);
	expect_nothing(pair[0]);
	send_reply(&c, SONDE_PROBE_CELL, SONDE_PROBE_PACKET_MAX);
	expect_packet(pair[0], SONDE_PROBE_CELL, SONDE_PROBE_CELL, 1, SONDE_PROBE_PACKET_MAX);
	for (uint64_t i = 1; i < more; i++)
		send_reply(&c, SONDE_PROBE_HIST, i);
	expect_nothing(pair[0]);
	send_reply(&c, SONDE_PROBE_END, more);
	expect_packet(pair[0], SONDE_PROBE_HIST, SONDE_PROBE_END, 1, more);
	(void)close(pair[0]);
	(void)close(pair[1]);
}

static void what_is_no_record_is_not_held(void **state)
{
	static const uint32_t types[] = {SONDE_PROBE_HELLO, SONDE_PROBE_END,
					 SONDE_PROBE_TASK_ENDED};
	struct sonde_channel c;
	int pair[2];

	make_pair(pair);
	c = (struct sonde_channel){.sock = pair[1]};
	for (size_t i = 0; i < ELEMENTS_OF(types); i++) {
		send_reply(&c, types[i], i);
		expect_packet(pair[0], types[i], types[i], i, 1);
	}
	(void)close(pair[0]);
	(void)close(pair[1]);
}

static void replies_go_one_by_one_where_a_packet_is_too_large(void **state)
{
	const int bytes = 1024; /* the kernel takes its least: a few KiB */
	struct sonde_channel c;
	int pair[2];

	make_pair(pair);
	assert_ok(setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes)));
	c = (struct sonde_channel){.sock = pair[1], .n = SONDE_PROBE_PACKET_MAX - 2};
	for (uint64_t i = 0; i < c.n; i++)
		c.held[i] = reply_of(SONDE_PROBE_CELL, i);
	/* It waits for a reader, which is a process of its own in real life. */
	if (fork() == 0) {
		send_reply(&c, SONDE_PROBE_END, SONDE_PROBE_PACKET_MAX - 2);
		_exit(0);
	}
	for (uint64_t i = 0; i < SONDE_PROBE_PACKET_MAX - 1; i++) {
		struct sonde_probe_reply got;

		assert_int_equal(recv(pair[0], &got, sizeof(got), 0), sizeof(got));
		assert_int_equal(got.id, i);
	}
	assert_true(wait(NULL) > 0);
	(void)close(pair[0]);
	(void)close(pair[1]);
}

static void a_reply_to_nobody_is_told(void **state)
{
	const struct sonde_probe_reply reply = reply_of(SONDE_PROBE_END, 1);
	struct sonde_channel c;
	int pair[2];

	make_pair(pair);
	c = (struct sonde_channel){.sock = pair[1]};
	(void)close(pair[0]);
	assert_err(sonde_channel_send(&c, &reply), EPIPE);
	(void)close(pair[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_message_keeps_its_size_whatever_it_is),
		cmocka_unit_test(a_new_worker_drops_what_the_last_was_sent),
		cmocka_unit_test(records_wait_for_the_end_or_a_full_packet),
		cmocka_unit_test(what_is_no_record_is_not_held),
		cmocka_unit_test(replies_go_one_by_one_where_a_packet_is_too_large),
		cmocka_unit_test(a_reply_to_nobody_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
