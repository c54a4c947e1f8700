/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <string.h>

#include "base/clock.h"
#include "io/http2.h"

#define OUTPUT_MAX 100000

/* What one end has seen. */
struct end {
	struct sonde_http2 *h;
	struct sonde_http2_stream *stream; /* the last that began */
	struct sonde_buf headers, trailers, data;
	unsigned ended, closed, goaways;
	uint32_t error;
	bool whole;
};

struct pair {
	struct end client, server;
};

static int on_begin(void *ctx, struct sonde_http2_stream *s)
{
	struct end *e = ctx;

	e->stream = s;
	return 0;
}

static int on_header(void *ctx, struct sonde_http2_stream *s, enum sonde_http2_part part,
		     const char *name, const char *value)
{
	struct end *e = ctx;

	return sonde_buf_printf(part == SONDE_HTTP2_HEADERS ? &e->headers : &e->trailers, "%s=%s;",
				name, value);
}

static void on_headers(void *ctx, struct sonde_http2_stream *s, enum sonde_http2_part part,
		       bool whole)
{
	struct end *e = ctx;

	e->whole = whole;
}

static void on_data(void *ctx, struct sonde_http2_stream *s, const uint8_t *data, size_t n)
{
	struct end *e = ctx;

	assert_ok(sonde_buf_append(&e->data, data, n));
}

static void on_end(void *ctx, struct sonde_http2_stream *s)
{
	struct end *e = ctx;

	e->ended++;
}

static void on_close(void *ctx, struct sonde_http2_stream *s, uint32_t error)
{
	struct end *e = ctx;

	e->closed++;
	e->error = error;
	if (e->stream == s)
		e->stream = NULL;
}

static void on_goaway(void *ctx)
{
	struct end *e = ctx;

	e->goaways++;
}

static void init_end(struct end *e, bool server)
{
	const struct sonde_http2_config config = {
		.server = server,
		.max_streams = 3,
		.max_stream_output_bytes = OUTPUT_MAX,
		.control_burst = 100,
		.control_per_s = 10,
	};
	const struct sonde_http2_handler handler = {
		.on_begin = on_begin,
		.on_header = on_header,
		.on_headers = on_headers,
		.on_data = on_data,
		.on_end = on_end,
		.on_close = on_close,
		.on_goaway = on_goaway,
		.ctx = e,
	};

	*e = (struct end){
		.headers = SONDE_BUF_INIT(100000),
		.trailers = SONDE_BUF_INIT(100000),
		.data = SONDE_BUF_INIT(10 << 20),
	};
	assert_ok(sonde_http2_new(&config, &handler, &e->h));
}

static void done_end(struct end *e)
{
	e->h = sonde_http2_free(e->h);
	sonde_buf_done(&e->headers);
	sonde_buf_done(&e->trailers);
	sonde_buf_done(&e->data);
}

/* Return: bytes that went from @a to @b. */
static size_t carry(struct end *a, struct end *b)
{
	size_t total = 0, n;

	do {
		const uint8_t *data;

		assert_ok(sonde_http2_pull(a->h, &data, &n));
		assert_ok(sonde_http2_feed(b->h, data, n, 0));
		total += n;
	} while (n > 0);
	return total;
}

static void settle(struct pair *p)
{
	while (carry(&p->client, &p->server) + carry(&p->server, &p->client) > 0)
		;
}

static void init_pair(struct pair *p)
{
	init_end(&p->client, false);
	init_end(&p->server, true);
	settle(p);
	assert_true(sonde_http2_greeted(p->client.h) && sonde_http2_greeted(p->server.h));
}

static void done_pair(struct pair *p)
{
	done_end(&p->client);
	done_end(&p->server);
}

static struct sonde_http2_stream *request(struct pair *p)
{
	static const struct sonde_http2_header headers[] = {
		{":method", "POST"}, {":scheme", "http"}, {":path", "/"}, {":authority", "x"}};
	struct sonde_http2_stream *s;

	assert_ok(sonde_http2_request(p->client.h, headers, ELEMENTS_OF(headers), NULL, &s));
	return s;
}

static const struct sonde_http2_header ok = {":status", "200"};

static void carries_a_request_and_an_answer_with_trailers(void **state)
{
	const struct sonde_http2_header trailer = {"grpc-status", "0"};
	struct sonde_http2_stream *s;
	struct pair p;

	init_pair(&p);
	s = request(&p);
	assert_ok(sonde_http2_stream_write(s, (const uint8_t *)"question", 8));
	assert_false(sonde_http2_stream_started(s));
	assert_ok(sonde_http2_stream_end(s, NULL, 0));
	settle(&p);
	assert_string_equal(sonde_buf_str(&p.server.headers),
			    ":method=POST;:scheme=http;:path=/;:authority=x;");
	assert_string_equal(sonde_buf_str(&p.server.data), "question");
	assert_int_equal(p.server.ended, 1);

	assert_ok(sonde_http2_respond(p.server.stream, &ok, 1, false));
	assert_ok(sonde_http2_stream_write(p.server.stream, (const uint8_t *)"answer", 6));
	settle(&p);
	assert_string_equal(sonde_buf_str(&p.client.data), "answer");
	assert_int_equal(p.client.ended, 0);
	assert_ok(sonde_http2_stream_end(p.server.stream, &trailer, 1));
	settle(&p);
	assert_string_equal(sonde_buf_str(&p.client.trailers), "grpc-status=0;");
	assert_int_equal(p.client.ended, 1);
	assert_int_equal(p.client.closed, 1);
	assert_int_equal(p.client.error, NGHTTP2_NO_ERROR);
	assert_int_equal(p.server.closed, 1);
	assert_int_equal(sonde_http2_n_streams(p.server.h), 0);
	done_pair(&p);
}

static void bounds_the_output_that_waits(void **state)
{
	static const uint8_t piece[OUTPUT_MAX];
	struct sonde_http2_stream *s;
	struct pair p;

	init_pair(&p);
	s = request(&p);
	assert_ok(sonde_http2_stream_write(s, piece, OUTPUT_MAX));
	assert_err(sonde_http2_stream_write(s, piece, 1), ENOBUFS);
	settle(&p); /* taken: there is room again */
	assert_true(sonde_http2_stream_taken_bytes(s) == OUTPUT_MAX);
	assert_ok(sonde_http2_stream_write(s, piece, OUTPUT_MAX));
	assert_ok(sonde_http2_stream_end(s, NULL, 0));
	assert_err(sonde_http2_stream_write(s, piece, 1), EPIPE);
	settle(&p);
	assert_int_equal(p.server.data.len, 2UL * OUTPUT_MAX);
	done_pair(&p);
}

static void an_early_answer_tells_the_client_to_stop_sending(void **state)
{
	struct sonde_http2_stream *s;
	struct pair p;

	init_pair(&p);
	s = request(&p);
	assert_ok(sonde_http2_stream_write(s, (const uint8_t *)"part", 4));
	settle(&p);
	assert_ok(sonde_http2_respond(p.server.stream, &ok, 1, true));
	settle(&p);
	assert_int_equal(p.client.ended, 1); /* the answer first … */
	assert_int_equal(p.client.closed, 1);
	assert_int_equal(p.client.error, NGHTTP2_NO_ERROR); /* … then the reset */
	assert_int_equal(p.server.closed, 1);
	done_pair(&p);
}

static void resets_a_stream_whose_reader_does_not_read(void **state)
{
	static const uint8_t piece[OUTPUT_MAX];
	struct sonde_http2_stream *s;
	struct pair p;

	init_pair(&p);
	s = request(&p);
	assert_ok(sonde_http2_stream_write(s, piece, OUTPUT_MAX)); /* nobody pulls */
	sonde_http2_reset_stalled(p.client.h, 1000, 50);
	sonde_http2_reset_stalled(p.client.h, 1049, 50);
	assert_int_equal(sonde_http2_n_streams(p.client.h), 1);
	sonde_http2_reset_stalled(p.client.h, 1050, 50);
	settle(&p);
	assert_int_equal(p.client.closed, 1);
	assert_int_equal(p.server.closed, p.server.data.len > 0); /* if it ever heard of it */
	done_pair(&p);
}

static void drops_headers_past_the_limit_and_says_so(void **state)
{
	struct sonde_http2_header headers[SONDE_HTTP2_HEADERS_MAX];
	char value[512];
	struct sonde_http2_stream *s;
	struct pair p;

	memset(value, 'v', sizeof(value) - 1);
	value[sizeof(value) - 1] = '\0';
	headers[0] = (struct sonde_http2_header){":method", "POST"};
	headers[1] = (struct sonde_http2_header){":scheme", "http"};
	headers[2] = (struct sonde_http2_header){":path", "/"};
	for (size_t i = 3; i < ELEMENTS_OF(headers); i++)
		headers[i] = (struct sonde_http2_header){"x-long", value};
	init_pair(&p);
	assert_ok(sonde_http2_request(p.client.h, headers, ELEMENTS_OF(headers), NULL, &s));
	settle(&p);
	assert_false(p.server.whole);
	assert_true(p.server.headers.len < SONDE_HTTP2_HEADER_BYTES_MAX);
	done_pair(&p);
}

static void goaway_closes_what_the_peer_will_not_do(void **state)
{
	struct sonde_http2_stream *first, *second;
	struct pair p;

	init_pair(&p);
	first = request(&p);
	settle(&p);
	sonde_http2_goaway(p.server.h);
	second = request(&p); /* crosses the GOAWAY */
	assert_ptr_not_equal(first, second);
	settle(&p);
	assert_int_equal(p.client.goaways, 1);
	assert_int_equal(p.client.closed, 1);
	assert_int_equal(p.client.error, NGHTTP2_REFUSED_STREAM);
	assert_err(sonde_http2_request(p.client.h, &ok, 1, NULL, &second), ENOTCONN);

	assert_false(sonde_http2_over(p.server.h));
	assert_ok(sonde_http2_stream_end(first, NULL, 0));
	assert_ok(sonde_http2_respond(p.server.stream, &ok, 1, true));
	settle(&p);
	assert_true(sonde_http2_over(p.server.h)); /* the first went on to its end */
	assert_true(sonde_http2_over(p.client.h));
	done_pair(&p);
}

static void closes_each_stream_once_when_it_is_freed(void **state)
{
	struct pair p;

	init_pair(&p);
	request(&p);
	request(&p);
	settle(&p);
	p.client.h = sonde_http2_free(p.client.h);
	p.server.h = sonde_http2_free(p.server.h);
	assert_int_equal(p.client.closed, 2);
	assert_int_equal(p.server.closed, 2);
	assert_int_equal(p.client.error, NGHTTP2_CANCEL);
	done_pair(&p);
}

static void other_protocols_are_no_http2(void **state)
{
	static const char http1[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
	struct end e;

	init_end(&e, true);
	assert_err(sonde_http2_feed(e.h, (const uint8_t *)http1, sizeof(http1) - 1, 0), EPROTO);
	assert_int_equal(sonde_http2_n_violations(e.h), 1);
	done_end(&e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(carries_a_request_and_an_answer_with_trailers),
		cmocka_unit_test(bounds_the_output_that_waits),
		cmocka_unit_test(an_early_answer_tells_the_client_to_stop_sending),
		cmocka_unit_test(resets_a_stream_whose_reader_does_not_read),
		cmocka_unit_test(drops_headers_past_the_limit_and_says_so),
		cmocka_unit_test(goaway_closes_what_the_peer_will_not_do),
		cmocka_unit_test(closes_each_stream_once_when_it_is_freed),
		cmocka_unit_test(other_protocols_are_no_http2),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
