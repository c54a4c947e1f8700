/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "http2-ignore.h"
#include "io/http2-conn.h"

#define LONG_NS (3600 * SONDE_NS_PER_S)
#define SHORT_NS (20 * SONDE_NS_PER_MS)
#define HELLO "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"
#define GIVE_UP_NS (60 * SONDE_NS_PER_S)
#define OUTPUT_MAX (8 << 20)

/* A server's connection; the test holds the other end of its socket. */
struct rig {
	sd_event *event;
	struct sonde_http2 *h2;
	struct sonde_http2_conn *conn;
	struct sonde_http2_stream *stream;
	int peer;
	bool lost;
	int error;
};

static int on_begin(void *ctx, struct sonde_http2_stream *s)
{
	struct rig *rig = ctx;

	rig->stream = s;
	return 0;
}

static void on_close(void *ctx, struct sonde_http2_stream *s, uint32_t error)
{
	struct rig *rig = ctx;

	rig->stream = NULL;
}

static void on_want_pull(void *ctx)
{
	struct rig *rig = ctx;

	if (rig->conn)
		sonde_http2_conn_flush_soon(rig->conn);
}

static void on_lost(void *ctx, int error)
{
	struct rig *rig = ctx;

	assert_false(rig->lost);
	rig->lost = true;
	rig->error = error;
}

static void start(struct rig *rig, const struct sonde_http2_conn_config *config)
{
	const struct sonde_http2_config h2_config = {
		.server = true,
		.max_streams = 10,
		.max_stream_output_bytes = OUTPUT_MAX,
		.control_burst = 100,
		.control_per_s = 10,
	};
	const struct sonde_http2_handler events = {
		.on_begin = on_begin,
		.on_header = ignore_header,
		.on_headers = ignore_headers,
		.on_data = ignore_data,
		.on_end = ignore_end,
		.on_close = on_close,
		.on_want_pull = on_want_pull,
		.ctx = rig,
	};
	const struct sonde_http2_conn_handler handler = {.on_lost = on_lost, .ctx = rig};
	int fds[2];

	*rig = (struct rig){0};
	assert_ok(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds));
	rig->peer = fds[1];
	assert_true(sd_event_new(&rig->event) >= 0);
	assert_ok(sonde_http2_new(&h2_config, &events, &rig->h2));
	assert_ok(sonde_http2_conn_new(rig->event, fds[0], rig->h2, config, &handler, &rig->conn));
}

static void stop(struct rig *rig)
{
	rig->conn = sonde_http2_conn_free(rig->conn);
	rig->h2 = sonde_http2_free(rig->h2);
	rig->event = sd_event_unref(rig->event);
	(void)close(rig->peer);
}

static void say(struct rig *rig, const char *bytes, size_t n)
{
	assert_int_equal(write(rig->peer, bytes, n), n);
}
#define SAY(rig, literal) say(rig, literal, sizeof(literal) - 1)

static void run_until_lost(struct rig *rig)
{
	uint64_t end = sonde_mono_ns() + GIVE_UP_NS;

	while (!rig->lost) {
		assert_true(sonde_mono_ns() < end);
		assert_true(sd_event_run(rig->event, 100000) >= 0);
	}
}

static void a_peer_that_does_not_greet_is_dropped(void **state)
{
	const struct sonde_http2_conn_config config = {SHORT_NS, LONG_NS, LONG_NS};
	struct rig rig;

	start(&rig, &config);
	SAY(&rig, "PRI * HT");
	run_until_lost(&rig);
	assert_int_equal(rig.error, -ETIMEDOUT);
	stop(&rig);
}

static void a_peer_that_hangs_in_a_frame_is_dropped(void **state)
{
	const struct sonde_http2_conn_config config = {LONG_NS, SHORT_NS, LONG_NS};
	static const char *const parts[] = {"\0\0\10\6\0\0\0\0\0____", "\0\0\10",
					    "\0\0\2\1\0\0\0\0\1\x83\x86"};
	static const size_t sizes[] = {13, 3, 11}; /* a PING, a head, a block without its end */

	for (size_t i = 0; i < ELEMENTS_OF(parts); i++) {
		struct rig rig;

		start(&rig, &config);
		SAY(&rig, HELLO);
		say(&rig, parts[i], sizes[i]);
		run_until_lost(&rig);
		assert_int_equal(rig.error, -ECONNABORTED);
		stop(&rig);
	}
}

/* False: this process was too slow for so short a time, by its own clock. */
static bool greets_in_time(struct rig *rig, const struct sonde_http2_conn_config *config)
{
	const uint64_t began = sonde_mono_ns();

	start(rig, config);
	SAY(rig, HELLO);
	while (!rig->lost && !sonde_http2_greeted(rig->h2))
		assert_true(sd_event_run(rig->event, 10000) >= 0);
	if (!rig->lost)
		return true;
	assert_int_equal(rig->error, -ETIMEDOUT);
	assert_true(sonde_mono_ns() - began >= config->greet_timeout_ns);
	stop(rig);
	return false;
}

static void a_connection_with_nothing_under_way_stays(void **state)
{
	const struct sonde_http2_conn_config config = {SHORT_NS, SHORT_NS, SHORT_NS};
	uint64_t end;
	struct rig rig;

	for (unsigned tries = 1; !greets_in_time(&rig, &config); tries++)
		assert_true(tries < 100);
	end = sonde_mono_ns() + 5 * SHORT_NS;
	while (sonde_mono_ns() < end)
		assert_true(sd_event_run(rig.event, 10000) >= 0);
	assert_false(rig.lost);
	(void)shutdown(rig.peer, SHUT_WR);
	run_until_lost(&rig);
	assert_int_equal(rig.error, 0);
	stop(&rig);
}

/* A request whose answer is larger than all buffers and windows. */
static void answer_much(struct rig *rig)
{
	/* :method POST, :scheme http, :path /, :authority x, on stream 1, whole; the window wide open before it */
	static const char request[] = HELLO "\0\0\4\10\0\0\0\0\0\x3f\xff\0\0"
					    "\0\0\6\4\0\0\0\0\0\0\4\x3f\xff\xff\xff"
					    "\0\0\6\1\5\0\0\0\1\x83\x86\x84\x41\1x";
	const struct sonde_http2_header ok = {":status", "200"};
	_cleanup_buf_ struct sonde_buf much = SONDE_BUF_INIT(OUTPUT_MAX);

	say(rig, request, sizeof(request) - 1);
	for (int i = 0; i < 100 && !rig->stream; i++)
		assert_true(sd_event_run(rig->event, 100000) >= 0);
	assert_non_null(rig->stream);
	assert_ok(sonde_buf_reserve(&much, OUTPUT_MAX));
	memset(much.data, 'x', OUTPUT_MAX);
	assert_ok(sonde_http2_respond(rig->stream, &ok, 1, false));
	assert_ok(sonde_http2_stream_write(rig->stream, much.data, OUTPUT_MAX));
}

static void a_peer_that_does_not_read_is_dropped(void **state)
{
	const struct sonde_http2_conn_config config = {LONG_NS, LONG_NS, SHORT_NS};
	struct rig rig;

	start(&rig, &config);
	answer_much(&rig);
	run_until_lost(&rig);
	assert_int_equal(rig.error, -ECONNABORTED);
	stop(&rig);
}

static void a_peer_that_reads_slowly_gets_all(void **state)
{
	const struct sonde_http2_conn_config config = {LONG_NS, LONG_NS, LONG_NS};
	static char sink[100000];
	size_t total = 0;
	struct rig rig;

	start(&rig, &config);
	answer_much(&rig);
	while (total < OUTPUT_MAX) { /* and the frames' heads */
		ssize_t n = read(rig.peer, sink, sizeof(sink));

		if (n > 0)
			total += (size_t)n;
		assert_false(rig.lost);
		assert_true(sd_event_run(rig.event, 0) >= 0);
	}
	stop(&rig);
}

static void a_peer_that_leaves_in_mid_call_is_a_reset(void **state)
{
	const struct sonde_http2_conn_config config = {LONG_NS, LONG_NS, LONG_NS};
	struct rig rig;

	start(&rig, &config);
	SAY(&rig, HELLO "\0\0\6\1\4\0\0\0\1\x83\x86\x84\x41\1x");
	(void)shutdown(rig.peer, SHUT_WR);
	run_until_lost(&rig);
	assert_int_equal(rig.error, -ECONNRESET);
	stop(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_peer_that_does_not_greet_is_dropped),
		cmocka_unit_test(a_peer_that_hangs_in_a_frame_is_dropped),
		cmocka_unit_test(a_connection_with_nothing_under_way_stays),
		cmocka_unit_test(a_peer_that_does_not_read_is_dropped),
		cmocka_unit_test(a_peer_that_reads_slowly_gets_all),
		cmocka_unit_test(a_peer_that_leaves_in_mid_call_is_a_reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
