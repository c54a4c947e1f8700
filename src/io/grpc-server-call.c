/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <string.h>
#include <utlist.h>

#include "base/clock.h"
#include "io/grpc-server-internal.h"
#include "io/grpc-text.h"

#define MESSAGE_TIMEOUT_NS (60 * SONDE_NS_PER_S) /* from a message's first byte to its last */
#define DEADLINE_ACCURACY_US 1000

/* What strangers may call takes nothing from those who have a token: it has its own small bound. */
static bool is_open(const struct sonde_grpc_server_call *call)
{
	return call->method && call->method->without_token;
}

/* Gives what the call holds to the server's account. */
static void account(struct sonde_grpc_server_call *call)
{
	struct sonde_grpc_server *s = call->conn->server;
	size_t held = is_open(call) ? 0 : call->frames.body.len + call->single.len;

	s->held_bytes = s->held_bytes - call->held_bytes + held;
	call->held_bytes = held;
}

static void drop_messages(struct sonde_grpc_server_call *call)
{
	sonde_grpc_frames_done(&call->frames);
	sonde_buf_done(&call->single);
	account(call);
}

static struct sonde_grpc_server_call *free_call(struct sonde_grpc_server_call *call)
{
	DL_DELETE(call->conn->calls, call);
	drop_messages(call);
	(void)sd_event_source_disable_unref(call->deadline);
	sonde_buf_done(&call->metadata);
	free(call->words);
	free(call);
	return NULL;
}

/* The answer's headers, then as many trailers as the caller adds behind them. */
static size_t answer_headers(const struct sonde_grpc_server_call *call,
			     struct sonde_http2_header headers[static 6])
{
	size_t n = 0;

	headers[n++] = (struct sonde_http2_header){":status", "200"};
	headers[n++] = (struct sonde_http2_header){"content-type", "application/grpc"};
	headers[n++] =
		(struct sonde_http2_header){"grpc-accept-encoding", SONDE_GRPC_ACCEPT_ENCODING};
	if (call->conn->server->config.extension)
		headers[n++] = (struct sonde_http2_header){"sonde-extension", "1"};
	return n;
}

/* Nothing more can be said on this stream in order. */
static void abandon(struct sonde_grpc_server_call *call)
{
	sonde_http2_stream_reset(call->stream, NGHTTP2_INTERNAL_ERROR);
}

/* An answer that is no gRPC, to a request that was none. */
static void answer_http(struct sonde_grpc_server_call *call, const char *status)
{
	const struct sonde_http2_header header = {":status", status};

	call->over = true;
	call->conn->server->stats.calls_failed++;
	if (sonde_http2_respond(call->stream, &header, 1, true) < 0)
		abandon(call);
}

void sonde_grpc_server_call_finish(struct sonde_grpc_server_call *call,
				   enum sonde_grpc_status status, const char *message)
{
	char number[16], words[SONDE_GRPC_PERCENT_SIZE];
	struct sonde_http2_header h[6];
	size_t n = 0, n_trailers = 1;
	int r;

	assert(call);

	if (call->over)
		return;
	call->over = true;
	(void)sd_event_source_disable_unref(TAKE_PTR(call->deadline));
	if (status != SONDE_GRPC_OK)
		call->conn->server->stats.calls_failed++;

	if (!call->answered)
		n = answer_headers(call, h);
	(void)snprintf(number, sizeof(number), "%u", (unsigned)status);
	h[n] = (struct sonde_http2_header){"grpc-status", number};
	if (message && message[0] != '\0') {
		sonde_grpc_percent_encode(message, words);
		h[n + n_trailers++] = (struct sonde_http2_header){"grpc-message", words};
	}
	if (call->answered)
		r = sonde_http2_stream_end(call->stream, h, n_trailers);
	else
		r = sonde_http2_respond(call->stream, h, n + n_trailers, true);
	if (r < 0)
		abandon(call);
}

void sonde_grpc_server_call_fail(struct sonde_grpc_server_call *call, const char *message)
{
	assert(call && message);

	free(call->words);
	call->words = strndup(message, 255); /* without memory the status goes out alone */
}

int sonde_grpc_server_call_send(struct sonde_grpc_server_call *call, const uint8_t *data, size_t n)
{
	_cleanup_buf_ struct sonde_buf frame = SONDE_BUF_INIT(SIZE_MAX);
	struct sonde_http2_header h[6];
	int r;

	assert(call && (data || n == 0));

	if (call->over)
		return -ENOTCONN;
	r = sonde_grpc_frame_append(&frame, SONDE_ENCODING_IDENTITY, data, n, NULL);
	if (r < 0)
		return r == -EMSGSIZE ? -ENOBUFS : r;
	if (!call->answered) {
		r = sonde_http2_respond(call->stream, h, answer_headers(call, h), false);
		if (r < 0)
			return r;
		call->answered = true;
	}
	r = sonde_http2_stream_write(call->stream, frame.data, frame.len);
	return r == -EPIPE ? -ENOTCONN : r;
}

const char *sonde_grpc_server_call_metadata(const struct sonde_grpc_server_call *call,
					    const char *name)
{
	const char *p, *end;

	assert(call && name);

	p = sonde_buf_str(&call->metadata);
	for (end = p + call->metadata.len; p < end;) {
		const char *value = p + strlen(p) + 1;

		if (strcmp(p, name) == 0)
			return value;
		p = value + strlen(value) + 1;
	}
	return NULL;
}

void sonde_grpc_server_call_set_data(struct sonde_grpc_server_call *call, void *data)
{
	assert(call);
	call->data = data;
}

void *sonde_grpc_server_call_data(const struct sonde_grpc_server_call *call)
{
	assert(call);
	return call->data;
}

static void refuse(struct sonde_grpc_server_call *call, enum sonde_grpc_status status,
		   const char *message)
{
	sonde_grpc_server_call_finish(call, status, message);
	drop_messages(call);
}

static int on_deadline(sd_event_source *source, uint64_t usec, void *userdata)
{
	refuse(userdata, SONDE_GRPC_DEADLINE_EXCEEDED, "the deadline of the request has passed");
	return 0;
}

static int set_deadline(struct sonde_grpc_server_call *call, const char *timeout)
{
	sd_event *event = call->conn->server->event;
	uint64_t ns, usec;
	int r;

	r = sonde_grpc_timeout_parse(timeout, &ns);
	if (r < 0)
		return r;
	usec = ns / SONDE_NS_PER_US + 1;
	return sd_event_add_time_relative(event, &call->deadline, CLOCK_MONOTONIC, usec,
					  DEADLINE_ACCURACY_US, on_deadline, call);
}

static const struct sonde_grpc_method *find_method(const struct sonde_grpc_server *s,
						   const char *path)
{
	for (const struct sonde_grpc_method *m = s->methods; m->path; m++) {
		if (strcmp(m->path, path) == 0)
			return m;
	}
	return NULL;
}

static bool may_call(const struct sonde_grpc_server_call *call,
		     const struct sonde_grpc_method *method)
{
	const char *wanted = call->conn->server->token, *given;

	if (!wanted || (method && method->without_token))
		return true;
	given = sonde_grpc_server_call_metadata(call, "authentication");
	return given && sonde_grpc_token_equal(given, wanted);
}

static void take_messages(struct sonde_grpc_server_call *call, size_t max_bytes)
{
	call->single = SONDE_BUF_INIT(max_bytes);
	sonde_grpc_frames_init(&call->frames, max_bytes);
}

/* Everything that the request's headers can be refused for. */
static void accept_call(struct sonde_grpc_server_call *call)
{
	const char *verb = sonde_grpc_server_call_metadata(call, ":method");
	const char *type = sonde_grpc_server_call_metadata(call, "content-type");
	const char *path = sonde_grpc_server_call_metadata(call, ":path");
	const char *encoding = sonde_grpc_server_call_metadata(call, "grpc-encoding");
	const char *timeout = sonde_grpc_server_call_metadata(call, "grpc-timeout");
	const struct sonde_grpc_method *method;

	if (!verb || strcmp(verb, "POST") != 0) {
		answer_http(call, "405");
		return;
	}
	if (!type || !sonde_grpc_content_type_ok(type)) {
		answer_http(call, "415");
		return;
	}
	method = find_method(call->conn->server, path ? path : "");
	if (!may_call(call, method)) { /* before it is told whether there is one */
		refuse(call, SONDE_GRPC_PERMISSION_DENIED, SONDE_GRPC_TOKEN_REFUSED);
		return;
	}
	if (!method) {
		refuse(call, SONDE_GRPC_UNIMPLEMENTED, "no such method");
		return;
	}
	if (encoding && sonde_encoding_from_name(encoding, &call->encoding) < 0) {
		call->conn->server->stats.messages_refused++;
		refuse(call, SONDE_GRPC_UNIMPLEMENTED,
		       "grpc-encoding is none of " SONDE_GRPC_ACCEPT_ENCODING);
		return;
	}
	if (timeout && set_deadline(call, timeout) < 0) {
		refuse(call, SONDE_GRPC_INVALID_ARGUMENT, "grpc-timeout cannot be read");
		return;
	}
	call->method = method;
	take_messages(call, is_open(call) ? SONDE_GRPC_SERVER_OPEN_BYTES
					  : call->conn->server->config.max_message_bytes);
}

static void refuse_message(struct sonde_grpc_server_call *call, enum sonde_grpc_status status,
			   const char *message)
{
	call->conn->server->stats.messages_refused++;
	refuse(call, status, message);
}

static void give_message(struct sonde_grpc_server_call *call, const uint8_t *data, size_t n)
{
	struct sonde_grpc_server *s = call->conn->server;
	enum sonde_grpc_status status = SONDE_GRPC_OK;

	s->stats.messages++;
	s->stats.message_bytes += n;
	if (call->method->on_message)
		status = call->method->on_message(s->ctx, call, data, n);
	if (status != SONDE_GRPC_OK)
		sonde_grpc_server_call_finish(call, status, call->words);
}

/* A unary call's message waits for the end, so that a second one is refused before anything is done. */
static void hold_message(struct sonde_grpc_server_call *call, const uint8_t *data, size_t n)
{
	if (call->n_messages > 1)
		refuse_message(call, SONDE_GRPC_INVALID_ARGUMENT,
			       "more than one message in a unary call");
	else if (sonde_buf_append(&call->single, data, n) < 0)
		refuse_message(call, SONDE_GRPC_RESOURCE_EXHAUSTED, "out of memory");
}

static int on_frame(void *ctx, bool compressed, const uint8_t *data, size_t n)
{
	struct sonde_grpc_server_call *call = ctx;
	struct sonde_grpc_server *s = call->conn->server;
	_cleanup_buf_ struct sonde_buf plain = SONDE_BUF_INIT(s->config.max_message_bytes);
	int r;

	call->n_messages++;
	s->stats.message_bytes_compressed += n;
	if (compressed && is_open(call)) {
		refuse_message(call, SONDE_GRPC_UNIMPLEMENTED,
			       "this method takes no compressed message");
		return 1;
	}
	if (compressed) {
		if (call->encoding == SONDE_ENCODING_IDENTITY) {
			refuse_message(call, SONDE_GRPC_INTERNAL,
				       "a compressed message without grpc-encoding");
			return 1;
		}
		r = sonde_decode(call->encoding, data, n, &plain);
		if (r == -EMSGSIZE || r == -ENOMEM)
			refuse_message(call, SONDE_GRPC_RESOURCE_EXHAUSTED,
				       "the message is too large when decompressed");
		else if (r < 0)
			refuse_message(call, SONDE_GRPC_INTERNAL,
				       "the message is badly compressed");
		if (r < 0)
			return 1;
		data = plain.data;
		n = plain.len;
	}
	if (call->method->single_message)
		hold_message(call, data, n);
	else
		give_message(call, data, n);
	return call->over;
}

static void on_data(void *ctx, struct sonde_http2_stream *stream, const uint8_t *data, size_t n)
{
	struct sonde_grpc_server_call *call = sonde_http2_stream_data(stream);
	struct sonde_grpc_server *s = call->conn->server;
	size_t held_max;
	int r;

	if (call->over || !call->method)
		return;
	r = sonde_grpc_frames_feed(&call->frames, data, n, on_frame, call);
	if (r == -EMSGSIZE || r == -ENOMEM)
		refuse_message(call, SONDE_GRPC_RESOURCE_EXHAUSTED, "the message is too large");
	else if (r == -EBADMSG)
		refuse_message(call, SONDE_GRPC_INTERNAL, "this is no gRPC message frame");

	account(call);
	held_max = s->config.max_message_bytes * 4 > SONDE_GRPC_SERVER_HELD_BYTES
			   ? s->config.max_message_bytes * 4
			   : SONDE_GRPC_SERVER_HELD_BYTES;
	if (!call->over && call->held_bytes > 0 && s->held_bytes > held_max)
		refuse_message(call, SONDE_GRPC_RESOURCE_EXHAUSTED,
			       "too much in unfinished messages of all calls");
	if (call->over)
		drop_messages(call);
}

static void on_end(void *ctx, struct sonde_http2_stream *stream)
{
	struct sonde_grpc_server_call *call = sonde_http2_stream_data(stream);
	struct sonde_grpc_server *s = call->conn->server;

	if (call->over || !call->method)
		return;
	if (sonde_grpc_frames_midway(&call->frames)) {
		refuse_message(call, SONDE_GRPC_INTERNAL, "the stream ended inside a message");
		return;
	}
	if (call->method->single_message) {
		if (call->n_messages != 1) {
			refuse(call, SONDE_GRPC_INVALID_ARGUMENT, "no message in a unary call");
			return;
		}
		give_message(call, call->single.data, call->single.len);
		drop_messages(call);
	}
	if (!call->over)
		call->method->on_half_close(s->ctx, call);
}

static int on_begin(void *ctx, struct sonde_http2_stream *stream)
{
	struct sonde_grpc_server_conn *c = ctx;
	struct sonde_grpc_server_call *call = calloc(1, sizeof(*call));

	if (!call)
		return -ENOMEM;
	call->conn = c;
	call->stream = stream;
	call->metadata = SONDE_BUF_INIT(SONDE_HTTP2_HEADER_BYTES_MAX);
	DL_APPEND(c->calls, call);
	c->server->stats.calls++;
	sonde_http2_stream_set_data(stream, call);
	return 0;
}

static int on_header(void *ctx, struct sonde_http2_stream *stream, enum sonde_http2_part part,
		     const char *name, const char *value)
{
	struct sonde_grpc_server_call *call = sonde_http2_stream_data(stream);
	int r;

	if (part != SONDE_HTTP2_HEADERS)
		return 0;
	r = sonde_buf_append(&call->metadata, name, strlen(name) + 1);
	if (r < 0)
		return r;
	r = sonde_buf_append(&call->metadata, value, strlen(value) + 1);
	if (r < 0) /* a name alone would shift the pairs behind it */
		call->metadata.len -= strlen(name) + 1;
	return r;
}

static void on_headers(void *ctx, struct sonde_http2_stream *stream, enum sonde_http2_part part,
		       bool whole)
{
	struct sonde_grpc_server_call *call = sonde_http2_stream_data(stream);

	if (part != SONDE_HTTP2_HEADERS || call->over)
		return;
	if (whole)
		accept_call(call);
	else
		refuse(call, SONDE_GRPC_RESOURCE_EXHAUSTED, "the request's headers are too large");
}

static void on_close(void *ctx, struct sonde_http2_stream *stream, uint32_t error)
{
	struct sonde_grpc_server_call *call = sonde_http2_stream_data(stream);
	const struct sonde_grpc_method *method = call->method;

	if (!call->over)
		call->conn->server->stats.calls_failed++;
	call->over = true; /* on_close may not send */
	if (method && method->on_close)
		method->on_close(call->conn->server->ctx, call);
	free_call(call);
}

static bool midway(const struct sonde_grpc_server_call *call)
{
	return !call->over && sonde_grpc_frames_midway(&call->frames);
}

bool sonde_grpc_server_calls_busy(const struct sonde_grpc_server_conn *c)
{
	const struct sonde_grpc_server_call *call;

	DL_FOREACH (c->calls, call) {
		if (midway(call))
			return true;
	}
	return false;
}

void sonde_grpc_server_calls_tick(struct sonde_grpc_server_conn *c, uint64_t now_ns)
{
	struct sonde_grpc_server_call *call;

	DL_FOREACH (c->calls, call) {
		if (!midway(call)) {
			call->message_since_ns = 0;
		} else if (call->message_since_ns == 0 || call->message_mark != call->n_messages) {
			call->message_since_ns = now_ns;
			call->message_mark = call->n_messages;
		} else if (now_ns - call->message_since_ns >= MESSAGE_TIMEOUT_NS) {
			refuse_message(call, SONDE_GRPC_DEADLINE_EXCEEDED,
				       "a message was begun and not finished in time");
		}
	}
}

static void on_want_pull(void *ctx)
{
	struct sonde_grpc_server_conn *c = ctx;

	if (c->io)
		sonde_http2_conn_flush_soon(c->io);
}

const struct sonde_http2_handler sonde_grpc_server_call_events = {
	.on_begin = on_begin,
	.on_header = on_header,
	.on_headers = on_headers,
	.on_data = on_data,
	.on_end = on_end,
	.on_close = on_close,
	.on_want_pull = on_want_pull,
};
