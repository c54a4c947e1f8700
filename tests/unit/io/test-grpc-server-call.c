/* SPDX-License-Identifier: Apache-2.0 */
/* What takes the server long, or much, to notice: in memory, with the clock as a parameter. */
#include "sonde-test.h"

#include <stdbool.h>
#include <string.h>

#include "base/clock.h"
#include "io/grpc-server-internal.h"
#include "io/grpc-text.h"

#define MESSAGE_MAX (16UL << 20)
#define STREAMS 8

/* The client's side of a stream. */
struct asked {
	struct sonde_http2_stream *stream;
	int status;
	bool closed;
};

struct rig {
	sd_event *event;
	struct sonde_grpc_server *server;
	struct sonde_grpc_server_conn *conn;
	struct sonde_http2 *client;
	struct asked asked[STREAMS];
	unsigned closed;
};

static enum sonde_grpc_status on_message(void *ctx, struct sonde_grpc_server_call *call,
					 const uint8_t *data, size_t n)
{
	return SONDE_GRPC_OK;
}

static void on_half_close(void *ctx, struct sonde_grpc_server_call *call)
{
	sonde_grpc_server_call_finish(call, SONDE_GRPC_OK, NULL);
}

static void on_call_close(void *ctx, struct sonde_grpc_server_call *call)
{
	struct rig *rig = ctx;

	rig->closed++;
}

static const struct sonde_grpc_method methods[] = {
	{"/t/stream", on_message, on_half_close, on_call_close, false},
	{NULL},
};

static int on_header(void *ctx, struct sonde_http2_stream *s, enum sonde_http2_part part,
		     const char *name, const char *value)
{
	struct asked *asked = sonde_http2_stream_data(s);

	if (strcmp(name, "grpc-status") == 0)
		asked->status = sonde_grpc_status_parse(value);
	return 0;
}

static void on_headers(void *ctx, struct sonde_http2_stream *s, enum sonde_http2_part part,
		       bool whole)
{
}

static void on_data(void *ctx, struct sonde_http2_stream *s, const uint8_t *data, size_t n)
{
}

static void on_end(void *ctx, struct sonde_http2_stream *s)
{
}

static void on_close(void *ctx, struct sonde_http2_stream *s, uint32_t error)
{
	struct asked *asked = sonde_http2_stream_data(s);

	asked->closed = true;
}

static void start(struct rig *rig)
{
	const struct sonde_grpc_server_config config = {
		.max_message_bytes = MESSAGE_MAX, .max_connections = 1, .max_streams = STREAMS};
	const struct sonde_http2_config client_config = {
		.max_stream_output_bytes = MESSAGE_MAX, .control_burst = 1000, .control_per_s = 1};
	const struct sonde_http2_handler events = {
		.on_header = on_header,
		.on_headers = on_headers,
		.on_data = on_data,
		.on_end = on_end,
		.on_close = on_close,
	};

	*rig = (struct rig){0};
	assert_true(sd_event_new(&rig->event) >= 0);
	assert_ok(sonde_grpc_server_alloc(rig->event, &config, methods, rig, &rig->server));
	assert_ok(sonde_grpc_server_conn_new(rig->server, &rig->conn));
	assert_ok(sonde_http2_new(&client_config, &events, &rig->client));
}

static void stop(struct rig *rig)
{
	sonde_grpc_server_free(rig->server);
	sonde_http2_free(rig->client);
	sd_event_unref(rig->event);
}

static size_t carry(struct sonde_http2 *a, struct sonde_http2 *b)
{
	size_t total = 0, n;

	do {
		const uint8_t *data;

		assert_ok(sonde_http2_pull(a, &data, &n));
		assert_ok(sonde_http2_feed(b, data, n, 0));
		total += n;
	} while (n > 0);
	return total;
}

static void settle(struct rig *rig)
{
	while (carry(rig->client, rig->conn->h2) + carry(rig->conn->h2, rig->client) > 0)
		;
}

static void ask(struct rig *rig, struct asked *asked)
{
	static const struct sonde_http2_header headers[] = {
		{":method", "POST"}, {":scheme", "http"}, {":path", "/t/stream"},
		{":authority", "x"}, {"te", "trailers"},  {"content-type", "application/grpc"},
	};

	asked->status = -1;
	assert_ok(sonde_http2_request(rig->client, headers, ELEMENTS_OF(headers), asked,
				      &asked->stream));
}

static void send_part(struct asked *asked, uint32_t length, size_t n)
{
	_cleanup_buf_ struct sonde_buf b = SONDE_BUF_INIT(n + SONDE_GRPC_FRAME_HEAD_BYTES);
	const uint8_t head[] = {0, (uint8_t)(length >> 24), (uint8_t)(length >> 16),
				(uint8_t)(length >> 8), (uint8_t)length};

	assert_ok(sonde_buf_append(&b, head, sizeof(head)));
	assert_ok(sonde_buf_reserve(&b, n));
	memset(b.data + b.len, 'x', n);
	b.len += n;
	assert_ok(sonde_http2_stream_write(asked->stream, b.data, b.len));
}

static void a_message_must_be_whole_within_its_time(void **state)
{
	struct asked *asked;
	struct rig rig;

	start(&rig);
	asked = &rig.asked[0];
	ask(&rig, asked);
	settle(&rig);
	sonde_grpc_server_calls_tick(rig.conn, SONDE_NS_PER_S); /* between messages: no limit */
	sonde_grpc_server_calls_tick(rig.conn, 1000 * SONDE_NS_PER_S);
	send_part(asked, 100, 99);
	settle(&rig);
	sonde_grpc_server_calls_tick(rig.conn, 1001 * SONDE_NS_PER_S);
	sonde_grpc_server_calls_tick(rig.conn, 1060 * SONDE_NS_PER_S);
	settle(&rig);
	assert_int_equal(asked->status, -1);
	sonde_grpc_server_calls_tick(rig.conn, 1061 * SONDE_NS_PER_S);
	settle(&rig);
	assert_int_equal(asked->status, SONDE_GRPC_DEADLINE_EXCEEDED);
	assert_true(asked->closed);
	assert_int_equal(rig.closed, 1);
	assert_int_equal(rig.server->held_bytes, 0);
	stop(&rig);
}

static void unfinished_messages_of_all_calls_have_one_limit(void **state)
{
	unsigned refused = 0;
	struct rig rig;

	start(&rig);
	for (size_t i = 0; i < STREAMS; i++) {
		ask(&rig, &rig.asked[i]);
		send_part(&rig.asked[i], MESSAGE_MAX,
			  MESSAGE_MAX - SONDE_GRPC_FRAME_HEAD_BYTES - 1);
		settle(&rig);
		assert_true(rig.server->held_bytes <= SONDE_GRPC_SERVER_HELD_BYTES);
		refused += rig.asked[i].status == SONDE_GRPC_RESOURCE_EXHAUSTED;
	}
	assert_int_equal(refused, STREAMS - 4);
	assert_int_equal(rig.server->stats.messages_refused, refused);
	stop(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_message_must_be_whole_within_its_time),
		cmocka_unit_test(unfinished_messages_of_all_calls_have_one_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
