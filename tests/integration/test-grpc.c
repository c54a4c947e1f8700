/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-event.h>

#include "base/clock.h"
#include "io/grpc-client.h"
#include "io/grpc-server.h"

#define GIVE_UP_NS (60 * SONDE_NS_PER_S) /* a test that hangs, not a measure */
#define LARGEST (4 << 20)

/* Both ends on one loop. */
struct world {
	sd_event *event;
	struct sonde_grpc_server *server;
	struct sonde_grpc_client *client;
	unsigned closed;		      /* on_close of the server's calls */
	struct sonde_grpc_server_call *watch; /* stands open */
	char seen_id[64];		      /* metadata of the last call */
};

/* What became of one call. */
struct outcome {
	bool done;
	unsigned messages;
	struct sonde_buf last;
	struct sonde_grpc_result result;
};

static enum sonde_grpc_status echo(void *ctx, struct sonde_grpc_server_call *call,
				   const uint8_t *data, size_t n)
{
	struct world *w = ctx;
	const char *id = sonde_grpc_server_call_metadata(call, "sonde-report-id");

	if (id)
		(void)snprintf(w->seen_id, sizeof(w->seen_id), "%s", id);
	if (n == 3 && memcmp(data, "bad", 3) == 0) {
		sonde_grpc_server_call_fail(call, "b\xc3\xa4"
						  "d 100%\n");
		return SONDE_GRPC_INVALID_ARGUMENT;
	}
	assert_ok(sonde_grpc_server_call_send(call, data, n));
	return SONDE_GRPC_OK;
}

static enum sonde_grpc_status refuse(void *ctx, struct sonde_grpc_server_call *call,
				     const uint8_t *data, size_t n)
{
	return SONDE_GRPC_RESOURCE_EXHAUSTED;
}

static enum sonde_grpc_status read_nothing(void *ctx, struct sonde_grpc_server_call *call,
					   const uint8_t *data, size_t n)
{
	sonde_grpc_server_call_fail(call, "unsupported compression method zstd");
	return SONDE_GRPC_UNIMPLEMENTED;
}

static void finish(void *ctx, struct sonde_grpc_server_call *call)
{
	sonde_grpc_server_call_finish(call, SONDE_GRPC_OK, NULL);
}

static void stay(void *ctx, struct sonde_grpc_server_call *call)
{
	struct world *w = ctx;

	w->watch = call;
}

static void count_close(void *ctx, struct sonde_grpc_server_call *call)
{
	struct world *w = ctx;

	w->closed++;
	if (w->watch == call)
		w->watch = NULL;
}

static const struct sonde_grpc_method methods[] = {
	{.path = "/t/unary",
	 .on_message = echo,
	 .on_half_close = finish,
	 .on_close = count_close,
	 .single_message = true},
	{.path = "/t/stream", .on_message = echo, .on_half_close = finish, .on_close = count_close},
	{.path = "/t/watch",
	 .on_half_close = stay,
	 .on_close = count_close,
	 .single_message = true},
	{.path = "/t/refuse", .on_message = refuse, .on_half_close = finish},
	{.path = "/t/read-nothing", .on_message = read_nothing, .on_half_close = finish},
	{NULL},
};

static void start_server(struct world *w, uint16_t port, const char *token)
{
	const struct sonde_grpc_server_config config = {
		.address = "127.0.0.1",
		.port = port,
		.max_message_bytes = LARGEST,
		.max_connections = 4,
		.max_streams = 100,
		.token = token,
		.extension = true,
	};

	assert_ok(sonde_grpc_server_new(w->event, &config, methods, w, &w->server));
}

static void start_client(struct world *w, const char *host, uint16_t port, const char *token)
{
	const struct sonde_grpc_client_config config = {
		.host = host,
		.port = port,
		.token = token,
		.max_message_bytes = LARGEST,
		.connect_timeout_ns = 5 * SONDE_NS_PER_S,
	};

	assert_ok(sonde_grpc_client_new(w->event, &config, &w->client));
}

static void start(struct world *w)
{
	assert_true(sd_event_new(&w->event) >= 0);
	start_server(w, 0, NULL);
	start_client(w, "127.0.0.1", sonde_grpc_server_port(w->server), NULL);
}

static void stop(struct world *w)
{
	w->client = sonde_grpc_client_free(w->client);
	w->server = sonde_grpc_server_free(w->server);
	w->event = sd_event_unref(w->event);
}

static void keep_message(void *ctx, const uint8_t *data, size_t n)
{
	struct outcome *o = ctx;

	o->messages++;
	sonde_buf_reset(&o->last);
	o->last.max = LARGEST;
	assert_ok(sonde_buf_append(&o->last, data, n));
}

static void keep_result(void *ctx, const struct sonde_grpc_result *result)
{
	struct outcome *o = ctx;

	assert_false(o->done);
	o->done = true;
	o->result = *result;
}

#define RUN_UNTIL(w, condition)                                                                    \
	do {                                                                                       \
		uint64_t end_ = sonde_mono_ns() + GIVE_UP_NS;                                      \
		while (!(condition)) {                                                             \
			assert_true(sonde_mono_ns() < end_);                                       \
			assert_true(sd_event_run((w)->event, 100000) >= 0);                        \
		}                                                                                  \
	} while (0)

static void run_until(struct world *w, const bool *flag)
{
	RUN_UNTIL(w, *flag);
}

static struct sonde_buf text(const char *s)
{
	return (struct sonde_buf){.data = (uint8_t *)s, .len = strlen(s)};
}

static uint64_t in_ms(uint64_t ms)
{
	return sonde_mono_ns() + ms * SONDE_NS_PER_MS;
}

static struct sonde_grpc_client_call *begin(struct world *w, const char *path,
					    const struct sonde_buf *messages, size_t n,
					    uint64_t deadline_ns, struct outcome *o)
{
	struct sonde_grpc_client_handler handler = {keep_message, keep_result, o};
	struct sonde_grpc_client_call *call = NULL;

	assert_ok(sonde_grpc_client_call(w->client, path, messages, n, NULL, 0, deadline_ns,
					 handler, &call));
	return call;
}

static struct outcome call(struct world *w, const char *path, const struct sonde_buf *messages,
			   size_t n)
{
	struct outcome o = {0};

	begin(w, path, messages, n, in_ms(15000), &o);
	run_until(w, &o.done);
	return o;
}

static void forget(struct outcome *o)
{
	sonde_buf_done(&o->last);
}

static void assert_status(const struct outcome *o, enum sonde_grpc_status status)
{
	assert_string_equal(sonde_grpc_status_name(o->result.status),
			    sonde_grpc_status_name(status));
}

static void learns_zstd_and_the_extension_from_the_first_answer(void **state)
{
	char long_text[5000];
	struct sonde_buf m;
	struct world w = {0};
	struct outcome o;

	memset(long_text, 'a', sizeof(long_text) - 1);
	long_text[sizeof(long_text) - 1] = '\0';
	m = text(long_text);
	start(&w);
	assert_false(sonde_grpc_client_connected(w.client));
	assert_false(sonde_grpc_client_has_extension(w.client));

	o = call(&w, "/t/unary", &m, 1);
	assert_status(&o, SONDE_GRPC_OK);
	assert_int_equal(o.result.encoding, SONDE_ENCODING_IDENTITY);
	assert_int_equal(o.result.bytes, 4999);
	assert_int_equal(o.result.bytes_compressed, 4999);
	assert_true(sonde_grpc_client_connected(w.client));
	assert_true(sonde_grpc_client_has_extension(w.client));
	forget(&o);

	o = call(&w, "/t/unary", &m, 1);
	assert_status(&o, SONDE_GRPC_OK);
	assert_int_equal(o.result.encoding, SONDE_ENCODING_ZSTD);
	assert_true(o.result.bytes_compressed < 100);
	assert_int_equal(o.messages, 1);
	assert_int_equal(o.last.len, m.len);
	assert_memory_equal(o.last.data, m.data, m.len);
	forget(&o);
	stop(&w);
}

static void streams_messages_in_order_both_ways(void **state)
{
	struct sonde_buf m[3] = {text("one"), text(""), text("three")};
	struct world w = {0};
	struct outcome o;

	start(&w);
	o = call(&w, "/t/stream", m, 3);
	assert_status(&o, SONDE_GRPC_OK);
	assert_int_equal(o.messages, 3);
	assert_string_equal(sonde_buf_str(&o.last), "three");
	assert_int_equal(w.closed, 1);
	forget(&o);
	o = call(&w, "/t/stream", NULL, 0);
	assert_status(&o, SONDE_GRPC_OK);
	assert_int_equal(o.messages, 0);
	forget(&o);
	stop(&w);
}

static void carries_a_hundred_calls_at_a_time(void **state)
{
	struct sonde_buf m = text("x");
	struct outcome o[300] = {0};
	struct world w = {0};

	start(&w);
	for (size_t i = 0; i < ELEMENTS_OF(o); i++)
		begin(&w, "/t/unary", &m, 1, in_ms(15000), &o[i]);
	for (size_t i = 0; i < ELEMENTS_OF(o); i++) {
		run_until(&w, &o[i].done);
		assert_status(&o[i], SONDE_GRPC_OK);
		forget(&o[i]);
	}
	assert_int_equal(w.closed, ELEMENTS_OF(o));
	assert_int_equal(sonde_grpc_server_stats(w.server)->connections, 1);
	stop(&w);
}

static void carries_the_largest_message_and_refuses_one_more_byte(void **state)
{
	_cleanup_buf_ struct sonde_buf m = SONDE_BUF_INIT(LARGEST + 1);
	struct world w = {0};
	struct outcome o;

	assert_ok(sonde_buf_reserve(&m, LARGEST + 1));
	for (size_t i = 0; i < LARGEST + 1; i++) /* hardly compressible */
		m.data[i] = (uint8_t)((i * 2654435761U) >> 13);
	m.len = LARGEST;
	start(&w);
	for (int i = 0; i < 2; i++) { /* identity, then zstd */
		o = call(&w, "/t/stream", &m, 1);
		assert_status(&o, SONDE_GRPC_OK);
		assert_int_equal(o.last.len, LARGEST);
		assert_memory_equal(o.last.data, m.data, LARGEST);
		forget(&o);
	}
	m.len = LARGEST + 1;
	o = call(&w, "/t/stream", &m, 1);
	assert_status(&o, SONDE_GRPC_RESOURCE_EXHAUSTED);
	assert_int_equal(sonde_grpc_server_stats(w.server)->messages_refused, 1);
	forget(&o);
	m.len = 1;
	o = call(&w, "/t/stream", &m, 1); /* nothing else is disturbed */
	assert_status(&o, SONDE_GRPC_OK);
	forget(&o);
	assert_int_equal(sonde_grpc_server_stats(w.server)->connections, 1);
	stop(&w);
}

static void tells_a_refusal_with_its_words(void **state)
{
	struct sonde_buf bad = text("bad"), two[2] = {text("a"), text("b")};
	struct world w = {0};
	struct outcome o;

	start(&w);
	o = call(&w, "/t/stream", &bad, 1);
	assert_status(&o, SONDE_GRPC_INVALID_ARGUMENT);
	assert_string_equal(o.result.message, "b\xc3\xa4"
					      "d 100%?");
	assert_false(o.result.not_processed);
	o = call(&w, "/t/nope", &bad, 1);
	assert_status(&o, SONDE_GRPC_UNIMPLEMENTED);
	assert_false(o.result.not_processed); /* the message had gone out */
	o = call(&w, "/t/unary", two, 2);
	assert_status(&o, SONDE_GRPC_INVALID_ARGUMENT);
	assert_int_equal(o.messages, 0);
	o = call(&w, "/t/unary", NULL, 0);
	assert_status(&o, SONDE_GRPC_INVALID_ARGUMENT);
	assert_int_equal(sonde_grpc_server_stats(w.server)->calls_failed, 4);
	stop(&w);
}

static void forgets_an_encoding_when_a_compressed_request_is_unimplemented(void **state)
{
	char long_text[500] = {0};
	struct sonde_buf m;
	struct world w = {0};
	struct outcome o;

	memset(long_text, 'a', sizeof(long_text) - 1);
	m = text(long_text);
	start(&w);
	o = call(&w, "/t/unary", &m, 1);
	forget(&o);
	assert_int_equal(sonde_grpc_client_encoding(w.client), SONDE_ENCODING_ZSTD);
	o = call(&w, "/t/nope", &m, 1); /* a method that it lacks says nothing of the encoding */
	assert_status(&o, SONDE_GRPC_UNIMPLEMENTED);
	assert_int_equal(sonde_grpc_client_encoding(w.client), SONDE_ENCODING_ZSTD);
	o = call(&w, "/t/read-nothing", &m, 1);
	assert_status(&o, SONDE_GRPC_UNIMPLEMENTED);
	assert_int_equal(sonde_grpc_client_encoding(w.client), SONDE_ENCODING_IDENTITY);
	o = call(&w, "/t/unary", &m, 1);
	assert_int_equal(o.result.encoding, SONDE_ENCODING_IDENTITY);
	forget(&o);
	/* It advertises zstd again, and is not believed any more on this connection. */
	assert_int_equal(sonde_grpc_client_encoding(w.client), SONDE_ENCODING_IDENTITY);
	stop(&w);
}

static void asks_for_the_token(void **state)
{
	struct sonde_buf m = text("x");
	struct world w = {0};
	struct outcome o;

	assert_true(sd_event_new(&w.event) >= 0);
	start_server(&w, 0, "secret");
	start_client(&w, "127.0.0.1", sonde_grpc_server_port(w.server), "secreT");
	o = call(&w, "/t/unary", &m, 1);
	assert_status(&o, SONDE_GRPC_PERMISSION_DENIED);
	w.client = sonde_grpc_client_free(w.client);
	start_client(&w, "127.0.0.1", sonde_grpc_server_port(w.server), NULL);
	o = call(&w, "/t/unary", &m, 1);
	assert_status(&o, SONDE_GRPC_PERMISSION_DENIED);
	w.client = sonde_grpc_client_free(w.client);
	start_client(&w, "localhost", sonde_grpc_server_port(w.server), "secret");
	o = call(&w, "/t/unary", &m, 1);
	assert_status(&o, SONDE_GRPC_OK);
	forget(&o);
	assert_int_equal(w.closed, 1); /* refused calls never reach a handler */
	stop(&w);
}

static void carries_metadata_and_refuses_what_no_header_may_hold(void **state)
{
	struct sonde_grpc_metadata good = {"sonde-report-id", "t/1/abcd"};
	struct sonde_grpc_metadata bad[] = {{"a", "b\r\nc: d"}, {"A b", "c"}};
	struct sonde_buf m = text("x");
	struct outcome o = {0};
	struct sonde_grpc_client_handler handler = {keep_message, keep_result, &o};
	struct world w = {0};

	start(&w);
	for (size_t i = 0; i < ELEMENTS_OF(bad); i++)
		assert_err(sonde_grpc_client_call(w.client, "/t/unary", &m, 1, &bad[i], 1, 0,
						  handler, NULL),
			   EINVAL);
	assert_ok(sonde_grpc_client_call(w.client, "/t/unary", &m, 1, &good, 1, in_ms(15000),
					 handler, NULL));
	run_until(&w, &o.done);
	assert_status(&o, SONDE_GRPC_OK);
	assert_string_equal(w.seen_id, "t/1/abcd");
	forget(&o);
	stop(&w);
}

static void keeps_a_watch_open_and_pushes_on_it(void **state)
{
	struct sonde_buf m = text("who");
	struct outcome watch = {0}, o;
	struct world w = {0};

	start(&w);
	begin(&w, "/t/watch", &m, 1, 0, &watch);
	o = call(&w, "/t/unary", &m, 1); /* other calls go on beside it */
	assert_status(&o, SONDE_GRPC_OK);
	forget(&o);
	assert_non_null(w.watch);
	for (unsigned i = 1; i <= 3; i++) {
		assert_ok(sonde_grpc_server_call_send(w.watch, (const uint8_t *)"stop", 4));
		RUN_UNTIL(&w, watch.messages == i);
	}
	assert_false(watch.done);
	sonde_grpc_server_call_finish(w.watch, SONDE_GRPC_OK, NULL);
	run_until(&w, &watch.done);
	assert_status(&watch, SONDE_GRPC_OK);
	assert_null(w.watch);
	forget(&watch);
	stop(&w);
}

static void bounds_what_waits_for_a_reader_that_does_not_read(void **state)
{
	static uint8_t piece[1 << 20];
	struct sonde_buf m = text("who");
	struct outcome watch = {0};
	struct world w = {0};
	int r = 0;

	start(&w);
	begin(&w, "/t/watch", &m, 1, 0, &watch);
	RUN_UNTIL(&w, w.watch);
	for (int i = 0; i < 100 && r == 0; i++) /* the loop does not run: nobody reads */
		r = sonde_grpc_server_call_send(w.watch, piece, sizeof(piece));
	assert_err(r, ENOBUFS);
	forget(&watch);
	stop(&w);
	assert_status(&watch, SONDE_GRPC_CANCELLED);
}

static void ends_a_call_at_its_deadline_at_both_ends(void **state)
{
	struct sonde_buf m = text("who");
	struct outcome o = {0};
	struct world w = {0};

	start(&w);
	begin(&w, "/t/watch", &m, 1, in_ms(3000),
	      &o); /* long enough to be sent, however busy the machine is */
	run_until(&w, &o.done);
	assert_status(&o, SONDE_GRPC_DEADLINE_EXCEEDED);
	assert_false(o.result.not_processed);
	RUN_UNTIL(&w, w.closed == 1);
	assert_null(w.watch);
	stop(&w);
}

static void cancels_at_both_ends(void **state)
{
	struct sonde_buf m = text("who");
	struct outcome o = {0}, early = {0};
	struct sonde_grpc_client_call *c;
	struct world w = {0};

	start(&w);
	c = begin(&w, "/t/watch", &m, 1, 0, &early);
	sonde_grpc_client_cancel(c); /* before it was sent */
	assert_true(early.done);
	assert_status(&early, SONDE_GRPC_CANCELLED);
	assert_true(early.result.not_processed);

	c = begin(&w, "/t/watch", &m, 1, 0, &o);
	RUN_UNTIL(&w, w.watch);
	sonde_grpc_client_cancel(c);
	assert_true(o.done);
	assert_status(&o, SONDE_GRPC_CANCELLED);
	assert_false(o.result.not_processed);
	RUN_UNTIL(&w, !w.watch);
	stop(&w);
}

static void fails_at_once_without_a_server_and_keeps_the_data_safe(void **state)
{
	struct sonde_buf m = text("x");
	struct world w = {0};
	struct outcome o;
	uint16_t port;

	start(&w);
	port = sonde_grpc_server_port(w.server);
	w.server = sonde_grpc_server_free(w.server);
	for (int i = 0; i < 3; i++) { /* refused, then in the back-off */
		o = call(&w, "/t/unary", &m, 1);
		assert_status(&o, SONDE_GRPC_UNAVAILABLE);
		assert_true(o.result.not_processed);
	}
	assert_non_null(strstr(o.result.message, "Connection refused"));
	start_server(&w, port, NULL);
	do { /* comes back by itself once the back-off is over */
		assert_true(sd_event_run(w.event, 50000) >= 0);
		o = call(&w, "/t/unary", &m, 1);
	} while (o.result.status == SONDE_GRPC_UNAVAILABLE);
	assert_status(&o, SONDE_GRPC_OK);
	forget(&o);
	stop(&w);
}

static void a_server_killed_in_mid_call_is_unknown_not_unprocessed(void **state)
{
	struct sonde_buf m = text("x");
	struct outcome o = {0};
	struct world w = {0};

	start(&w);
	begin(&w, "/t/watch", &m, 1, in_ms(15000), &o);
	RUN_UNTIL(&w, w.watch);
	w.server = sonde_grpc_server_free(w.server);
	run_until(&w, &o.done);
	assert_status(&o, SONDE_GRPC_UNAVAILABLE);
	assert_false(o.result.not_processed);
	assert_false(sonde_grpc_client_connected(w.client));
	assert_int_equal(w.closed, 1);
	stop(&w);
}

static void a_drained_server_finishes_its_calls_and_takes_no_new_ones(void **state)
{
	struct sonde_buf m = text("x");
	struct outcome watch = {0}, o;
	struct world w = {0};

	start(&w);
	begin(&w, "/t/watch", &m, 1, 0, &watch);
	RUN_UNTIL(&w, w.watch);
	sonde_grpc_server_drain(w.server);
	RUN_UNTIL(&w, !sonde_grpc_client_connected(w.client));
	o = call(&w, "/t/unary", &m, 1);
	assert_status(&o, SONDE_GRPC_UNAVAILABLE);
	assert_true(o.result.not_processed);
	assert_false(watch.done);
	sonde_grpc_server_call_finish(w.watch, SONDE_GRPC_OK, NULL);
	run_until(&w, &watch.done);
	assert_status(&watch, SONDE_GRPC_OK);
	stop(&w);
}

static void a_call_that_crosses_a_goaway_was_not_processed(void **state)
{
	struct sonde_buf m = text("x");
	struct outcome first, o = {0};
	struct world w = {0};

	start(&w);
	first = call(&w, "/t/unary", &m, 1);
	forget(&first);
	sonde_grpc_server_drain(w.server); /* its GOAWAY is not out yet … */
	begin(&w, "/t/unary", &m, 1, in_ms(15000), &o);
	run_until(&w, &o.done); /* … and tells of streams before this one only */
	assert_status(&o, SONDE_GRPC_UNAVAILABLE);
	assert_true(o.result.not_processed);
	stop(&w);
}

static void refuses_a_connection_too_many(void **state)
{
	struct sonde_buf m = text("x");
	struct sonde_grpc_client *clients[4];
	struct world w = {0};
	struct outcome o;

	start(&w);
	for (size_t i = 0; i < ELEMENTS_OF(clients); i++) {
		o = call(&w, "/t/unary", &m, 1);
		assert_status(&o, SONDE_GRPC_OK);
		forget(&o);
		clients[i] = TAKE_PTR(w.client);
		start_client(&w, "127.0.0.1", sonde_grpc_server_port(w.server), NULL);
	}
	o = call(&w, "/t/unary", &m, 1);
	assert_status(&o, SONDE_GRPC_UNAVAILABLE);
	assert_true(o.result.not_processed);
	assert_int_equal(sonde_grpc_server_stats(w.server)->connections_refused, 1);
	for (size_t i = 0; i < ELEMENTS_OF(clients); i++)
		sonde_grpc_client_free(clients[i]);
	stop(&w);
}

static void a_name_that_does_not_exist_fails_the_call(void **state)
{
	struct sonde_buf m = text("x");
	struct world w = {0};
	struct outcome o;

	assert_true(sd_event_new(&w.event) >= 0);
	start_client(&w, "no-such-host.invalid", 11800, NULL);
	o = call(&w, "/t/unary", &m, 1);
	assert_status(&o, SONDE_GRPC_UNAVAILABLE);
	assert_true(o.result.not_processed);
	stop(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(learns_zstd_and_the_extension_from_the_first_answer),
		cmocka_unit_test(streams_messages_in_order_both_ways),
		cmocka_unit_test(carries_a_hundred_calls_at_a_time),
		cmocka_unit_test(carries_the_largest_message_and_refuses_one_more_byte),
		cmocka_unit_test(tells_a_refusal_with_its_words),
		cmocka_unit_test(forgets_an_encoding_when_a_compressed_request_is_unimplemented),
		cmocka_unit_test(asks_for_the_token),
		cmocka_unit_test(carries_metadata_and_refuses_what_no_header_may_hold),
		cmocka_unit_test(keeps_a_watch_open_and_pushes_on_it),
		cmocka_unit_test(bounds_what_waits_for_a_reader_that_does_not_read),
		cmocka_unit_test(ends_a_call_at_its_deadline_at_both_ends),
		cmocka_unit_test(cancels_at_both_ends),
		cmocka_unit_test(fails_at_once_without_a_server_and_keeps_the_data_safe),
		cmocka_unit_test(a_server_killed_in_mid_call_is_unknown_not_unprocessed),
		cmocka_unit_test(a_drained_server_finishes_its_calls_and_takes_no_new_ones),
		cmocka_unit_test(a_call_that_crosses_a_goaway_was_not_processed),
		cmocka_unit_test(refuses_a_connection_too_many),
		cmocka_unit_test(a_name_that_does_not_exist_fails_the_call),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
