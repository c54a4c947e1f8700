/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <string.h>
#include <utlist.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/num.h"
#include "io/grpc-client-internal.h"
#include "io/grpc-text.h"

#define OWN_HEADERS 10		      /* of a request, before the caller's */
#define METADATA_BYTES_MAX 8192	      /* many peers refuse more */
#define REQUEST_BYTES_MAX (64U << 20) /* of one call and of all that wait, framed */
#define CALLS_MAX 512
#define SMALL_BYTES 64 /* below it no encoding gains */
#define DEADLINE_ACCURACY_US 1000
#define PEERS_CLOCK_NS (10 * SONDE_NS_PER_MS) /* grpc-timeout is rounded, and clocks are not one */

static void free_call(struct sonde_grpc_client_call *call)
{
	sonde_buf_done(&call->metadata);
	sonde_buf_done(&call->out);
	sonde_grpc_frames_done(&call->frames);
	(void)sd_event_source_disable_unref(call->deadline);
	free(call);
}

/* Takes the call from the client's list; only the memory is left. */
static void unlink_call(struct sonde_grpc_client_call *call)
{
	struct sonde_grpc_client *c = call->client;

	DL_DELETE(c->calls, call);
	c->n_calls--;
	c->waiting_bytes -= call->out_bytes;
}

static void set_result(struct sonde_grpc_client_call *call, enum sonde_grpc_status status,
		       const char *message)
{
	call->result.status = status;
	if (message)
		(void)snprintf(call->result.message, sizeof(call->result.message), "%s", message);
}

void sonde_grpc_client_call_finish(struct sonde_grpc_client_call *call,
				   enum sonde_grpc_status status, const char *message)
{
	assert(call && !call->done);

	set_result(call, status, message);
	call->done = true;
	unlink_call(call);
	if (call->stream) {
		sonde_http2_stream_set_data(call->stream, NULL);
		call->stream = NULL;
	}
	call->deadline = sd_event_source_disable_unref(call->deadline);
	if (call->handler.on_done)
		call->handler.on_done(call->handler.ctx, &call->result);
	if (!call->in_event)
		free_call(call);
}

void sonde_grpc_client_call_fail_soon(struct sonde_grpc_client_call *call,
				      enum sonde_grpc_status status, enum sonde_grpc_cause cause,
				      const char *message)
{
	assert(call && !call->done && !call->stream);

	set_result(call, status, message);
	call->result.cause = cause;
	call->result.not_processed = true;
	call->failed = true;
	(void)sd_event_source_set_enabled(call->client->defer, SD_EVENT_ONESHOT);
}

void sonde_grpc_client_call_give_up(struct sonde_grpc_client_call *call,
				    enum sonde_grpc_status status, const char *message)
{
	if (!call->stream || !sonde_http2_stream_started(call->stream))
		call->result.not_processed = true;
	if (call->stream)
		sonde_http2_stream_reset(call->stream, NGHTTP2_CANCEL);
	sonde_grpc_client_call_finish(call, status, message);
}

void sonde_grpc_client_cancel(struct sonde_grpc_client_call *call)
{
	assert(call);
	if (call->done)
		return;
	call->result.cause = SONDE_GRPC_CAUSE_LOCAL;
	sonde_grpc_client_call_give_up(call, SONDE_GRPC_CANCELLED, "cancelled");
}

/* The call went out and its peer's kernel did not even acknowledge it. */
static bool is_half_open(const struct sonde_grpc_client_call *call)
{
	return call->conn && call->conn->io && call->stream &&
	       sonde_http2_conn_unacknowledged(call->conn->io,
					       (sonde_mono_ns() - call->sent_ns) / 2);
}

/*
 * A slow backend says something now and then, if only to other calls. One that said nothing at all since this call
 * was sent, nor since the one before it, hangs: TCP alone would not tell while the peer's kernel still acknowledges.
 * Calls that waited side by side say no more than one of them.
 */
static bool is_silent(const struct sonde_grpc_client_call *call)
{
	struct sonde_grpc_client_conn *conn = call->conn;
	uint64_t heard_ns, before_ns;

	if (!conn || !conn->io)
		return false;
	heard_ns = sonde_http2_conn_heard_ns(conn->io);
	before_ns = conn->silent_ns;
	if (heard_ns > call->sent_ns || before_ns > call->sent_ns)
		return false;
	conn->silent_ns = sonde_mono_ns();
	return before_ns > heard_ns;
}

static int on_deadline(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct sonde_grpc_client_call *call = userdata;
	struct sonde_grpc_client_conn *conn = call->conn;
	bool half_open = is_half_open(call), silent = is_silent(call);

	if (half_open)
		call->result.cause = SONDE_GRPC_CAUSE_HALF_OPEN;
	else
		call->result.cause = conn ? SONDE_GRPC_CAUSE_DEADLINE : SONDE_GRPC_CAUSE_CONNECT;
	sonde_grpc_client_call_give_up(call, SONDE_GRPC_DEADLINE_EXCEEDED, "no answer in time");
	/* What comes next would wait for as long on the same connection. */
	if (half_open)
		sonde_grpc_client_conn_drop(conn, -ETIMEDOUT, "nothing is acknowledged any more");
	else if (silent)
		sonde_grpc_client_conn_drop(conn, -ECONNABORTED, "it takes calls and says nothing");
	return 0;
}

/* The caller's part of the headers, kept until the connection is there. */
static int keep_pair(struct sonde_grpc_client_call *call, const char *name, const char *value)
{
	int r;

	if (!nghttp2_check_header_value((const uint8_t *)value, strlen(value)))
		return -EINVAL;
	r = sonde_buf_append(&call->metadata, name, strlen(name) + 1);
	if (r < 0)
		return r;
	call->n_metadata++;
	return sonde_buf_append(&call->metadata, value, strlen(value) + 1);
}

static int keep_metadata(struct sonde_grpc_client_call *call, const char *path,
			 const struct sonde_grpc_metadata *metadata, size_t n)
{
	int r;

	if (n > SONDE_HTTP2_HEADERS_MAX - OWN_HEADERS - 1)
		return -EMSGSIZE;
	r = keep_pair(call, ":path", path);
	for (size_t i = 0; r == 0 && i < n; i++) {
		if (!nghttp2_check_header_name((const uint8_t *)metadata[i].name,
					       strlen(metadata[i].name)))
			return -EINVAL;
		r = keep_pair(call, metadata[i].name, metadata[i].value);
	}
	return r;
}

static int frame_messages(struct sonde_grpc_client_call *call, const struct sonde_buf *messages,
			  size_t n)
{
	enum sonde_encoding encoding = call->client->encoding;
	int r;

	for (size_t i = 0; i < n; i++) {
		const struct sonde_buf *m = &messages[i];
		size_t sent;

		r = sonde_grpc_frame_append(
			&call->out, m->len < SMALL_BYTES ? SONDE_ENCODING_IDENTITY : encoding,
			m->data, m->len, &sent);
		if (r < 0)
			return r == -EIO ? -ENOMEM : r;
		if (sent < m->len)
			call->result.encoding = encoding;
		call->result.bytes += m->len;
		call->result.bytes_compressed += sent;
		if (i == 0)
			call->first_message_bytes = call->out.len;
	}
	call->out_bytes = call->out.len;
	return 0;
}

static int start_deadline(struct sonde_grpc_client_call *call, uint64_t deadline_ns)
{
	call->deadline_ns = deadline_ns;
	if (deadline_ns == 0)
		return 0;
	return sd_event_add_time(call->client->event, &call->deadline, CLOCK_MONOTONIC,
				 deadline_ns / SONDE_NS_PER_US, DEADLINE_ACCURACY_US, on_deadline,
				 call);
}

static int make_call(struct sonde_grpc_client *c, const char *path,
		     const struct sonde_buf *messages, size_t n_messages,
		     const struct sonde_grpc_metadata *metadata, size_t n_metadata,
		     uint64_t deadline_ns, struct sonde_grpc_client_call *call)
{
	int r;

	*call = (struct sonde_grpc_client_call){
		.client = c,
		.metadata = SONDE_BUF_INIT(METADATA_BYTES_MAX),
		.out = SONDE_BUF_INIT(REQUEST_BYTES_MAX),
	};
	sonde_grpc_frames_init(&call->frames, c->max_message_bytes);
	r = keep_metadata(call, path, metadata, n_metadata);
	if (r < 0)
		return r;
	r = frame_messages(call, messages, n_messages);
	if (r < 0)
		return r;
	return start_deadline(call, deadline_ns);
}

int sonde_grpc_client_call(struct sonde_grpc_client *c, const char *path,
			   const struct sonde_buf *messages, size_t n_messages,
			   const struct sonde_grpc_metadata *metadata, size_t n_metadata,
			   uint64_t deadline_ns, struct sonde_grpc_client_handler handler,
			   struct sonde_grpc_client_call **ret_call)
{
	struct sonde_grpc_client_call *call;
	int r;

	assert(c && path && (messages || n_messages == 0) && (metadata || n_metadata == 0));

	if (c->closing)
		return -ESHUTDOWN;
	call = calloc(1, sizeof(*call));
	if (!call)
		return -ENOMEM;
	r = make_call(c, path, messages, n_messages, metadata, n_metadata, deadline_ns, call);
	if (r < 0) {
		free_call(call);
		return r;
	}
	call->handler = handler;
	DL_APPEND(c->calls, call);
	c->n_calls++;
	c->waiting_bytes += call->out_bytes;
	if (ret_call)
		*ret_call = call;

	if (c->n_calls > CALLS_MAX || c->waiting_bytes > REQUEST_BYTES_MAX)
		sonde_grpc_client_call_fail_soon(call, SONDE_GRPC_RESOURCE_EXHAUSTED,
						 SONDE_GRPC_CAUSE_LOCAL,
						 "too many calls wait already");
	else
		sonde_grpc_client_dispatch(c, call);
	return 0;
}

static size_t request_headers(const struct sonde_grpc_client_call *call,
			      const struct sonde_grpc_client_conn *conn,
			      char timeout[static SONDE_GRPC_TIMEOUT_SIZE],
			      struct sonde_http2_header h[static SONDE_HTTP2_HEADERS_MAX])
{
	const struct sonde_grpc_client *c = call->client;
	const char *authority = c->addresses[conn->at].authority;
	const char *p = sonde_buf_str(&call->metadata);
	size_t n = 0;

	h[n++] = (struct sonde_http2_header){":method", "POST"};
	h[n++] = (struct sonde_http2_header){":scheme", c->tls ? "https" : "http"};
	h[n++] = (struct sonde_http2_header){p, p + strlen(p) + 1}; /* :path */
	h[n++] = (struct sonde_http2_header){":authority", authority};
	h[n++] = (struct sonde_http2_header){"te", "trailers"};
	h[n++] = (struct sonde_http2_header){"content-type", "application/grpc"};
	h[n++] = (struct sonde_http2_header){"user-agent", "sonde/" SONDE_VERSION};
	h[n++] = (struct sonde_http2_header){"grpc-accept-encoding", SONDE_GRPC_ACCEPT_ENCODING};
	if (call->result.encoding != SONDE_ENCODING_IDENTITY)
		h[n++] = (struct sonde_http2_header){"grpc-encoding",
						     sonde_encoding_name(call->result.encoding)};
	if (call->deadline_ns > 0) {
		uint64_t now_ns = sonde_mono_ns();

		sonde_grpc_timeout_format(
			call->deadline_ns > now_ns ? call->deadline_ns - now_ns : 0, timeout);
		h[n++] = (struct sonde_http2_header){"grpc-timeout", timeout};
	}
	if (c->token)
		h[n++] = (struct sonde_http2_header){"authentication", c->token};
	for (size_t i = 0; i < call->n_metadata; i++) {
		const char *value = p + strlen(p) + 1;

		if (i > 0)
			h[n++] = (struct sonde_http2_header){p, value};
		p = value + strlen(value) + 1;
	}
	return n;
}

int sonde_grpc_client_call_start(struct sonde_grpc_client_call *call,
				 struct sonde_grpc_client_conn *conn)
{
	struct sonde_http2_header h[SONDE_HTTP2_HEADERS_MAX];
	char timeout[SONDE_GRPC_TIMEOUT_SIZE];
	int r;

	r = sonde_http2_request(conn->h2, h, request_headers(call, conn, timeout, h), call,
				&call->stream);
	if (r < 0)
		return r;
	call->conn = conn;
	call->sent_ns = sonde_mono_ns();
	if (call->out.len > 0)
		sonde_http2_stream_take(call->stream, &call->out);
	r = sonde_http2_stream_end(call->stream, NULL, 0);
	if (r < 0) { /* the stream is forgotten: its events find no call */
		sonde_http2_stream_set_data(call->stream, NULL);
		sonde_http2_stream_reset(TAKE_PTR(call->stream), NGHTTP2_CANCEL);
		return r;
	}
	return 0;
}

/* The peer is done with the call, in order or not; it need not read the rest of the request. */
static void conclude(struct sonde_grpc_client_call *call, enum sonde_grpc_status status,
		     const char *message)
{
	bool no_message_sent =
		sonde_http2_stream_taken_bytes(call->stream) < call->first_message_bytes;

	if (no_message_sent &&
	    (status == SONDE_GRPC_UNIMPLEMENTED || status == SONDE_GRPC_PERMISSION_DENIED ||
	     status == SONDE_GRPC_RESOURCE_EXHAUSTED))
		call->result.not_processed = true;
	if (!sonde_http2_stream_said_all(call->stream))
		sonde_http2_stream_reset(call->stream, NGHTTP2_CANCEL);
	sonde_grpc_client_call_finish(call, status, message);
}

/* The answer makes no sense: say so and reset. */
static void refuse_answer(struct sonde_grpc_client_call *call, enum sonde_grpc_status status,
			  const char *message)
{
	sonde_http2_stream_reset(call->stream, NGHTTP2_CANCEL);
	sonde_grpc_client_call_finish(call, status, message);
}

static void on_answer_header(struct sonde_grpc_client_call *call, const char *name,
			     const char *value)
{
	uint64_t v;

	if (strcmp(name, ":status") == 0) {
		call->http_status = sonde_parse_u64(value, 100, 999, &v) == 0 ? (unsigned)v : 0;
	} else if (strcmp(name, "content-type") == 0) {
		call->is_grpc = sonde_grpc_content_type_ok(value);
	} else if (strcmp(name, "grpc-encoding") == 0) {
		call->answer_encoding_bad =
			sonde_encoding_from_name(value, &call->answer_encoding) < 0;
	} else if (strcmp(name, "grpc-accept-encoding") == 0) {
		call->accepts = sonde_encoding_choose(value);
	} else if (strcmp(name, "sonde-extension") == 0) {
		call->extension = strcmp(value, "1") == 0;
	} else if (strcmp(name, "grpc-status") == 0) {
		call->got_status = true;
		call->result.status = sonde_grpc_status_parse(value);
	} else if (strcmp(name, "grpc-message") == 0) {
		sonde_grpc_percent_decode(value, call->result.message,
					  sizeof(call->result.message));
	}
}

static int on_header(void *ctx, struct sonde_http2_stream *stream, enum sonde_http2_part part,
		     const char *name, const char *value)
{
	struct sonde_grpc_client_call *call = sonde_http2_stream_data(stream);

	if (call)
		on_answer_header(call, name, value);
	return 0;
}

static void on_headers(void *ctx, struct sonde_http2_stream *stream, enum sonde_http2_part part,
		       bool whole)
{
	struct sonde_grpc_client_call *call = sonde_http2_stream_data(stream);
	char words[128];

	if (!call)
		return;
	if (!whole) {
		refuse_answer(call, SONDE_GRPC_RESOURCE_EXHAUSTED,
			      "the answer's headers are too large");
		return;
	}
	if (part == SONDE_HTTP2_TRAILERS || call->got_status)
		return;
	if (call->http_status != 200) {
		(void)snprintf(words, sizeof(words), "HTTP status %u%s", call->http_status,
			       call->http_status == 404 ? ": " SONDE_HTTP2_WRONG_PORT : "");
		refuse_answer(call, sonde_grpc_status_from_http(call->http_status), words);
	} else if (!call->is_grpc) {
		refuse_answer(call, SONDE_GRPC_UNKNOWN,
			      "the answer is no gRPC: " SONDE_HTTP2_WRONG_PORT);
	}
}

static int on_frame(void *ctx, bool compressed, const uint8_t *data, size_t n)
{
	struct sonde_grpc_client_call *call = ctx;
	_cleanup_buf_ struct sonde_buf plain = SONDE_BUF_INIT(call->client->max_message_bytes);

	if (compressed) {
		int r;

		if (call->answer_encoding_bad || call->answer_encoding == SONDE_ENCODING_IDENTITY)
			return -EBADMSG;
		r = sonde_decode(call->answer_encoding, data, n, &plain);
		if (r < 0)
			return r;
		data = plain.data;
		n = plain.len;
	}
	if (call->handler.on_message)
		call->handler.on_message(call->handler.ctx, data, n);
	return call->done; /* the handler may have cancelled */
}

static void on_data(void *ctx, struct sonde_http2_stream *stream, const uint8_t *data, size_t n)
{
	struct sonde_grpc_client_call *call = sonde_http2_stream_data(stream);
	int r;

	if (!call)
		return;
	call->in_event = true;
	r = sonde_grpc_frames_feed(&call->frames, data, n, on_frame, call);
	call->in_event = false;
	if (call->done)
		free_call(call);
	else if (r == -EMSGSIZE || r == -ENOMEM)
		refuse_answer(call, SONDE_GRPC_RESOURCE_EXHAUSTED, "the answer is too large");
	else if (r < 0)
		refuse_answer(call, SONDE_GRPC_INTERNAL, "the answer's message cannot be read");
}

/*
 * The same status says that there is no such method, of a peer that reads what was sent well enough. Words of our
 * server ("no such method"), of grpc-java ("Method not found: …", "Method … is unimplemented") and of grpc-go
 * ("unknown method …", "unknown service …", "method … not implemented").
 */
static bool lacks_method(const struct sonde_grpc_result *result)
{
	static const char *const beginnings[] = {"no such method", "Method ", "method ",
						 "unknown method", "unknown service"};

	for (size_t i = 0; i < ELEMENTS_OF(beginnings); i++) {
		if (strncmp(result->message, beginnings[i], strlen(beginnings[i])) == 0)
			return true;
	}
	return false;
}

/* What an answer tells about the peer. */
static void learn(struct sonde_grpc_client_call *call)
{
	struct sonde_grpc_client *c = call->client;

	if (call->conn != c->conn) /* an old connection's peer may be another one */
		return;
	if (call->extension)
		c->extension = true;
	if (call->result.status == SONDE_GRPC_OK) {
		/* One that refuses may be a proxy, or refuse before it says what it is. */
		c->extension = call->extension || (call->conn->answered && c->extension);
		c->heard = call->conn->answered = true;
		c->failures = 0;
		if (!call->conn->encoding_refused)
			c->encoding = call->accepts;
	}
	/* What it advertises it does not read, or somebody on the way does not. */
	if (call->result.status == SONDE_GRPC_UNIMPLEMENTED &&
	    call->result.encoding != SONDE_ENCODING_IDENTITY && !lacks_method(&call->result)) {
		call->conn->encoding_refused = true;
		c->encoding = SONDE_ENCODING_IDENTITY;
	}
}

/* For its token, not for what it asked: OAP gives no words with it, our server these. */
static void tell_refusal(struct sonde_grpc_client_call *call)
{
	char which[SONDE_GRPC_CLIENT_WORDS_MAX] = "";

	if (call->result.status != SONDE_GRPC_UNAUTHENTICATED &&
	    (call->result.status != SONDE_GRPC_PERMISSION_DENIED ||
	     (call->result.message[0] &&
	      strcmp(call->result.message, SONDE_GRPC_TOKEN_REFUSED) != 0)))
		return;
	sonde_grpc_client_token_refused(call->conn, which, sizeof(which));
	if (!call->result.message[0])
		(void)snprintf(call->result.message, sizeof(call->result.message),
			       "the token was refused (%s)", which);
}

static void on_end(void *ctx, struct sonde_http2_stream *stream)
{
	struct sonde_grpc_client_call *call = sonde_http2_stream_data(stream);

	if (!call)
		return;
	if (!call->got_status) {
		conclude(call, SONDE_GRPC_UNKNOWN, "the answer ended without a status");
		return;
	}
	learn(call);
	tell_refusal(call);
	if (call->result.status == SONDE_GRPC_OK && sonde_grpc_frames_midway(&call->frames))
		conclude(call, SONDE_GRPC_INTERNAL, "the answer ended inside a message");
	else
		conclude(call, call->result.status, NULL);
}

static enum sonde_grpc_cause cause_of_loss(const struct sonde_grpc_client_conn *conn)
{
	if (conn->half_open)
		return SONDE_GRPC_CAUSE_HALF_OPEN;
	return conn->leaving ? SONDE_GRPC_CAUSE_GOAWAY : SONDE_GRPC_CAUSE_LOST;
}

/* Who got the deadline holds it too, and resets with CANCEL then: its clock may have been first. */
static bool is_peers_deadline(const struct sonde_grpc_client_call *call, uint32_t error)
{
	return error == NGHTTP2_CANCEL && call->deadline_ns > 0 &&
	       sonde_mono_ns() + PEERS_CLOCK_NS >= call->deadline_ns;
}

static void on_close(void *ctx, struct sonde_http2_stream *stream, uint32_t error)
{
	struct sonde_grpc_client_call *call = sonde_http2_stream_data(stream);
	char words[64];

	if (!call)
		return;
	if (call->conn->lost) {
		call->result.not_processed = !sonde_http2_stream_started(stream);
		call->result.cause = cause_of_loss(call->conn);
		sonde_grpc_client_call_finish(call, SONDE_GRPC_UNAVAILABLE,
					      "the connection was lost");
		return;
	}
	if (is_peers_deadline(call, error)) {
		call->result.cause = SONDE_GRPC_CAUSE_DEADLINE;
		sonde_grpc_client_call_finish(call, SONDE_GRPC_DEADLINE_EXCEEDED,
					      "no answer in time");
		return;
	}
	call->result.not_processed = error == NGHTTP2_REFUSED_STREAM;
	if (!call->result.not_processed)
		call->result.cause = SONDE_GRPC_CAUSE_RESET;
	else if (call->conn->leaving)
		call->result.cause = SONDE_GRPC_CAUSE_GOAWAY;
	else
		call->result.cause = SONDE_GRPC_CAUSE_REFUSED;
	(void)snprintf(words, sizeof(words), "the stream was reset: %s",
		       nghttp2_http2_strerror(error));
	sonde_grpc_client_call_finish(call, sonde_grpc_status_from_reset(error), words);
}

static void on_greet(void *ctx)
{
	sonde_grpc_client_conn_greet(ctx);
}

static void on_goaway(void *ctx)
{
	struct sonde_grpc_client_conn *conn = ctx;

	conn->leaving = true;
	sonde_grpc_client_conn_leave(conn);
}

static void on_want_pull(void *ctx)
{
	struct sonde_grpc_client_conn *conn = ctx;

	if (conn->io)
		sonde_http2_conn_flush_soon(conn->io);
}

const struct sonde_http2_handler sonde_grpc_client_call_events = {
	.on_header = on_header,
	.on_headers = on_headers,
	.on_data = on_data,
	.on_end = on_end,
	.on_close = on_close,
	.on_greet = on_greet,
	.on_goaway = on_goaway,
	.on_want_pull = on_want_pull,
};
