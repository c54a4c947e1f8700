/* SPDX-License-Identifier: Apache-2.0 */
#include "io/http2.h"

#include <assert.h>
#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <string.h>
#include <utlist.h>

#include "base/clock.h"
#include "io/http2-bounds.h"

/* What may be under way to us: enough for a fast stream over a long way. We consume at once, so it costs nothing. */
#define STREAM_WINDOW_BYTES (1 << 20)
#define CONNECTION_WINDOW_BYTES (4 << 20)
#define OUTBOUND_ACKS_MAX 256 /* answers to PING and SETTINGS that the peer does not take */

struct sonde_http2_stream {
	struct sonde_http2 *h;
	struct sonde_http2_stream *prev, *next;
	void *data; /* the user's */
	int32_t id;

	struct sonde_buf out;
	size_t out_at; /* taken so far of out */
	uint64_t taken;
	uint64_t stall_taken, stall_since_ns;
	char *trailers; /* one block of "name\0value\0" */
	size_t n_trailers;

	unsigned n_headers; /* of the part that is coming in */
	size_t n_header_bytes;
	bool headers_dropped;
	bool informational; /* that part is a 1xx answer */
	bool got_headers;
	bool peer_ended;
	bool ended;    /* by us: what is in out is the last */
	bool deferred; /* nghttp2 waits for sonde_http2_stream_write() */
	bool started;  /* our headers went into a frame */
	bool said_all; /* so did our END_STREAM */
};

struct sonde_http2 {
	struct sonde_http2_config config;
	struct sonde_http2_handler handler;
	nghttp2_session *session;
	struct sonde_http2_stream *streams;
	unsigned n_streams;
	struct sonde_http2_bounds bounds;
	uint64_t violations;
	unsigned inside; /* feed() or pull() run: no want_pull, no free */
	bool greeted;
	bool broken; /* the peer broke the connection's rules: counted */
};

static void want_pull(struct sonde_http2 *h)
{
	if (h->inside == 0 && h->handler.on_want_pull)
		h->handler.on_want_pull(h->handler.ctx);
}

static struct sonde_http2_stream *find_stream(struct sonde_http2 *h, int32_t id)
{
	struct sonde_http2_stream *s;

	DL_FOREACH (h->streams, s) {
		if (s->id == id)
			return s;
	}
	return NULL;
}

static struct sonde_http2_stream *new_stream(struct sonde_http2 *h, void *data)
{
	struct sonde_http2_stream *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->h = h;
	s->data = data;
	s->out = SONDE_BUF_INIT(h->config.max_stream_output_bytes);
	DL_APPEND(h->streams, s);
	h->n_streams++;
	return s;
}

static void drop_stream(struct sonde_http2_stream *s)
{
	DL_DELETE(s->h->streams, s);
	s->h->n_streams--;
	sonde_buf_done(&s->out);
	free(s->trailers);
	free(s);
}

static void close_stream(struct sonde_http2_stream *s, uint32_t error)
{
	struct sonde_http2 *h = s->h;

	h->handler.on_close(h->handler.ctx, s, error);
	drop_stream(s);
}

static size_t waiting(const struct sonde_http2_stream *s)
{
	return s->out.len - s->out_at;
}

/* nghttp2 copies the texts. */
static nghttp2_nv make_nv(const char *name, const char *value)
{
	return (nghttp2_nv){
		.name = (uint8_t *)name,
		.value = (uint8_t *)value,
		.namelen = strlen(name),
		.valuelen = strlen(value),
	};
}

static size_t make_nvs(const struct sonde_http2_header *headers, size_t n,
		       nghttp2_nv nv[static SONDE_HTTP2_HEADERS_MAX])
{
	assert(n <= SONDE_HTTP2_HEADERS_MAX);

	for (size_t i = 0; i < n; i++)
		nv[i] = make_nv(headers[i].name, headers[i].value);
	return n;
}

static int submit_trailers(struct sonde_http2_stream *s)
{
	nghttp2_nv nv[SONDE_HTTP2_HEADERS_MAX];
	const char *p = s->trailers;

	for (size_t i = 0; i < s->n_trailers; i++) {
		const char *value = p + strlen(p) + 1;

		nv[i] = make_nv(p, value);
		p = value + strlen(value) + 1;
	}
	return nghttp2_submit_trailer(s->h->session, s->id, nv, s->n_trailers);
}

static ssize_t take_output(nghttp2_session *session, int32_t id, uint8_t *buf, size_t length,
			   uint32_t *flags, nghttp2_data_source *source, void *user)
{
	struct sonde_http2_stream *s = source->ptr;
	size_t n = waiting(s);

	if (n == 0 && !s->ended) {
		s->deferred = true;
		return NGHTTP2_ERR_DEFERRED;
	}
	n = n < length ? n : length;
	if (n > 0)
		memcpy(buf, s->out.data + s->out_at, n);
	s->out_at += n;
	s->taken += n;
	if (waiting(s) == 0) {
		sonde_buf_done(&s->out);
		s->out_at = 0;
	}
	if (s->ended && waiting(s) == 0) {
		*flags |= NGHTTP2_DATA_FLAG_EOF;
		if (s->n_trailers > 0) {
			*flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
			if (submit_trailers(s) != 0)
				return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
		}
	}
	return (ssize_t)n;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	struct sonde_http2 *h = user;
	struct sonde_http2_stream *s;

	if (frame->hd.type != NGHTTP2_HEADERS)
		return 0;
	if (frame->headers.cat != NGHTTP2_HCAT_REQUEST) {
		s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
		if (s) {
			s->n_headers = 0;
			s->n_header_bytes = 0;
			s->headers_dropped = s->informational = false;
		}
		return 0;
	}
	s = new_stream(h, NULL);
	if (!s)
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	s->id = frame->hd.stream_id;
	if (h->handler.on_begin(h->handler.ctx, s) < 0) {
		drop_stream(s);
		(void)nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
						NGHTTP2_REFUSED_STREAM);
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	}
	(void)nghttp2_session_set_stream_user_data(session, s->id, s);
	return 0;
}

static enum sonde_http2_part part_of(const struct sonde_http2_stream *s)
{
	return s->got_headers ? SONDE_HTTP2_TRAILERS : SONDE_HTTP2_HEADERS;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
		     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
		     void *user)
{
	struct sonde_http2 *h = user;
	struct sonde_http2_stream *s;

	s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
	if (!s || frame->hd.type != NGHTTP2_HEADERS)
		return 0;
	if (!h->config.server && strcmp((const char *)name, ":status") == 0 && value[0] == '1')
		s->informational = true;
	s->n_headers++;
	s->n_header_bytes += name_len + value_len + 32;
	if (s->n_headers > SONDE_HTTP2_HEADERS_MAX ||
	    s->n_header_bytes > SONDE_HTTP2_HEADER_BYTES_MAX)
		s->headers_dropped = true;
	if (s->headers_dropped || s->informational)
		return 0;
	if (h->handler.on_header(h->handler.ctx, s, part_of(s), (const char *)name,
				 (const char *)value) < 0)
		s->headers_dropped = true;
	return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
		   size_t n, void *user)
{
	struct sonde_http2 *h = user;
	struct sonde_http2_stream *s = nghttp2_session_get_stream_user_data(session, id);

	if (s)
		h->handler.on_data(h->handler.ctx, s, data, n);
	return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	struct sonde_http2 *h = user;
	struct sonde_http2_stream *s;

	if (frame->hd.type == NGHTTP2_SETTINGS)
		h->greeted = true;
	if (frame->hd.type == NGHTTP2_GOAWAY && h->handler.on_goaway)
		h->handler.on_goaway(h->handler.ctx);
	if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)
		return 0;
	s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
	if (!s)
		return 0;
	if (frame->hd.type == NGHTTP2_HEADERS && !s->informational) {
		enum sonde_http2_part part = part_of(s);

		s->got_headers = true;
		h->handler.on_headers(h->handler.ctx, s, part, !s->headers_dropped);
	}
	if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) && !s->peer_ended) {
		s->peer_ended = true;
		h->handler.on_end(h->handler.ctx, s);
	}
	return 0;
}

/* A connection breaks the rules once, whoever saw it first. */
static void count_broken(struct sonde_http2 *h)
{
	if (!h->broken)
		h->violations++;
	h->broken = true;
}

/* nghttp2 answers what breaks the rules by itself; what it answers shows that. */
static void count_violation(struct sonde_http2 *h, const nghttp2_frame *frame)
{
	if (frame->hd.type == NGHTTP2_GOAWAY && frame->goaway.error_code != NGHTTP2_NO_ERROR)
		count_broken(h);
	if (frame->hd.type != NGHTTP2_RST_STREAM)
		return;
	switch (frame->rst_stream.error_code) {
	case NGHTTP2_NO_ERROR:
	case NGHTTP2_CANCEL:
	case NGHTTP2_REFUSED_STREAM:
	case NGHTTP2_INTERNAL_ERROR: /* ours */
		return;
	default:
		h->violations++;
	}
}

static int on_sent(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	struct sonde_http2 *h = user;
	struct sonde_http2_stream *s;

	count_violation(h, frame);
	if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)
		return 0;
	s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
	if (!s)
		return 0;
	s->started = true;
	s->said_all = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
	if (h->config.server && s->said_all && !s->peer_ended)
		(void)nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, s->id,
						NGHTTP2_NO_ERROR);
	return 0;
}

/* A request that never left: nghttp2 has no stream for it and will not close one. */
static int on_not_sent(nghttp2_session *session, const nghttp2_frame *frame, int error, void *user)
{
	struct sonde_http2 *h = user;
	struct sonde_http2_stream *s;

	if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	s = find_stream(h, frame->hd.stream_id);
	if (s)
		close_stream(s, NGHTTP2_REFUSED_STREAM);
	return 0;
}

/* Own look-up: on_not_sent() may have dropped the stream that nghttp2 still points to. */
static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t error, void *user)
{
	struct sonde_http2 *h = user;
	struct sonde_http2_stream *s = find_stream(h, id);

	if (s)
		close_stream(s, error);
	return 0;
}

static int make_callbacks(nghttp2_session_callbacks **ret)
{
	nghttp2_session_callbacks *cb;

	if (nghttp2_session_callbacks_new(&cb) != 0)
		return -ENOMEM;
	nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
	nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_sent);
	nghttp2_session_callbacks_set_on_frame_not_send_callback(cb, on_not_sent);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
	*ret = cb;
	return 0;
}

static int open_session(struct sonde_http2 *h)
{
	nghttp2_session_callbacks *cb;
	nghttp2_option *option;
	int r;

	r = make_callbacks(&cb);
	if (r < 0)
		return r;
	if (nghttp2_option_new(&option) != 0) {
		nghttp2_session_callbacks_del(cb);
		return -ENOMEM;
	}
	nghttp2_option_set_max_outbound_ack(option, OUTBOUND_ACKS_MAX);
	nghttp2_option_set_no_closed_streams(option, 1); /* no tree of priorities to feed */
	/* Our own count of control frames is the stricter one and says why. */
	nghttp2_option_set_stream_reset_rate_limit(option, (uint64_t)h->config.control_burst * 2,
						   (uint64_t)h->config.control_per_s * 2);
	r = h->config.server ? nghttp2_session_server_new2(&h->session, cb, h, option)
			     : nghttp2_session_client_new2(&h->session, cb, h, option);
	nghttp2_option_del(option);
	nghttp2_session_callbacks_del(cb);
	return r == 0 ? 0 : -ENOMEM;
}

static int greet(struct sonde_http2 *h)
{
	const nghttp2_settings_entry settings[] = {
		{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS,
		 h->config.server ? h->config.max_streams : 0},
		{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW_BYTES},
		{NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, SONDE_HTTP2_HEADER_BYTES_MAX},
		{NGHTTP2_SETTINGS_ENABLE_PUSH, 0}, /* a server may not send it: last, left out */
	};
	size_t n = ELEMENTS_OF(settings) - (h->config.server ? 1 : 0);

	if (nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, settings, n) != 0 ||
	    nghttp2_session_set_local_window_size(h->session, NGHTTP2_FLAG_NONE, 0,
						  CONNECTION_WINDOW_BYTES) != 0)
		return -ENOMEM;
	return 0;
}

int sonde_http2_new(const struct sonde_http2_config *config,
		    const struct sonde_http2_handler *handler, struct sonde_http2 **ret)
{
	_cleanup_(sonde_http2_freep) struct sonde_http2 *h = NULL;
	int r;

	assert(config && handler && ret);

	h = calloc(1, sizeof(*h));
	if (!h)
		return -ENOMEM;
	h->config = *config;
	h->handler = *handler;
	sonde_http2_bounds_init(&h->bounds, config->server, config->control_burst,
				config->control_per_s);
	r = open_session(h);
	if (r < 0)
		return r;
	r = greet(h);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(h);
	return 0;
}

struct sonde_http2 *sonde_http2_free(struct sonde_http2 *h)
{
	struct sonde_http2_stream *s, *tmp;

	if (!h)
		return NULL;
	assert(h->inside == 0);

	h->inside++; /* what on_close submits goes nowhere */
	DL_FOREACH_SAFE (h->streams, s, tmp)
		close_stream(s, NGHTTP2_CANCEL);
	nghttp2_session_del(h->session);
	free(h);
	return NULL;
}

int sonde_http2_feed(struct sonde_http2 *h, const uint8_t *data, size_t n, uint64_t now_ns)
{
	ssize_t used;

	assert(h && (data || n == 0));

	if (sonde_http2_bounds_feed(&h->bounds, data, n, now_ns) < 0) {
		count_broken(h);
		(void)nghttp2_session_terminate_session(h->session, NGHTTP2_ENHANCE_YOUR_CALM);
		return -EPROTO;
	}
	h->inside++;
	used = nghttp2_session_mem_recv(h->session, data, n);
	h->inside--;
	if (used == NGHTTP2_ERR_NOMEM || used == NGHTTP2_ERR_CALLBACK_FAILURE)
		return -ENOMEM;
	if (used < 0) {
		count_broken(h);
		return -EPROTO;
	}
	return 0;
}

int sonde_http2_pull(struct sonde_http2 *h, const uint8_t **ret_data, size_t *ret_n)
{
	const uint8_t *data = NULL;
	ssize_t n;

	assert(h && ret_data && ret_n);

	h->inside++;
	n = nghttp2_session_mem_send(h->session, &data);
	h->inside--;
	if (n < 0)
		return n == NGHTTP2_ERR_NOMEM ? -ENOMEM : -EPROTO;
	*ret_data = data;
	*ret_n = (size_t)n;
	return 0;
}

bool sonde_http2_over(const struct sonde_http2 *h)
{
	assert(h);
	return !nghttp2_session_want_read(h->session) && !nghttp2_session_want_write(h->session);
}

bool sonde_http2_midway(const struct sonde_http2 *h)
{
	assert(h);
	return sonde_http2_bounds_midway(&h->bounds);
}

uint64_t sonde_http2_n_frames(const struct sonde_http2 *h)
{
	assert(h);
	return h->bounds.n_frames;
}

bool sonde_http2_greeted(const struct sonde_http2 *h)
{
	assert(h);
	return h->greeted;
}

unsigned sonde_http2_n_streams(const struct sonde_http2 *h)
{
	assert(h);
	return h->n_streams;
}

uint64_t sonde_http2_n_violations(const struct sonde_http2 *h)
{
	assert(h);
	return h->violations;
}

void sonde_http2_goaway(struct sonde_http2 *h)
{
	assert(h);
	(void)nghttp2_submit_goaway(h->session, NGHTTP2_FLAG_NONE,
				    nghttp2_session_get_last_proc_stream_id(h->session),
				    NGHTTP2_NO_ERROR, NULL, 0);
	want_pull(h);
}

void sonde_http2_reset_stalled(struct sonde_http2 *h, uint64_t now_ns, uint64_t stall_ns)
{
	struct sonde_http2_stream *s;

	assert(h);

	DL_FOREACH (h->streams, s) {
		if (waiting(s) == 0) {
			s->stall_since_ns = 0;
		} else if (s->stall_since_ns == 0 || s->stall_taken != s->taken) {
			s->stall_since_ns = now_ns;
			s->stall_taken = s->taken;
		} else if (now_ns - s->stall_since_ns >= stall_ns) {
			sonde_http2_stream_reset(s, NGHTTP2_CANCEL);
		}
	}
}

int sonde_http2_request(struct sonde_http2 *h, const struct sonde_http2_header *headers, size_t n,
			void *data, struct sonde_http2_stream **ret)
{
	nghttp2_nv nv[SONDE_HTTP2_HEADERS_MAX];
	nghttp2_data_provider provider = {.read_callback = take_output};
	struct sonde_http2_stream *s;
	int32_t id;

	assert(h && !h->config.server && ret);

	if (!nghttp2_session_check_request_allowed(h->session))
		return -ENOTCONN;
	s = new_stream(h, data);
	if (!s)
		return -ENOMEM;
	provider.source.ptr = s;
	id = nghttp2_submit_request(h->session, NULL, nv, make_nvs(headers, n, nv), &provider, s);
	if (id < 0) {
		drop_stream(s);
		return id == NGHTTP2_ERR_NOMEM ? -ENOMEM : -ENOTCONN;
	}
	s->id = id;
	want_pull(h);
	*ret = s;
	return 0;
}

int sonde_http2_respond(struct sonde_http2_stream *s, const struct sonde_http2_header *headers,
			size_t n, bool end)
{
	nghttp2_nv nv[SONDE_HTTP2_HEADERS_MAX];
	nghttp2_data_provider provider = {.read_callback = take_output};
	int r;

	assert(s && s->h->config.server && !s->ended);

	provider.source.ptr = s;
	r = nghttp2_submit_response(s->h->session, s->id, nv, make_nvs(headers, n, nv),
				    end ? NULL : &provider);
	if (r != 0)
		return r == NGHTTP2_ERR_NOMEM ? -ENOMEM : -ENOTCONN;
	s->ended = end;
	want_pull(s->h);
	return 0;
}

void sonde_http2_stream_set_data(struct sonde_http2_stream *s, void *data)
{
	assert(s);
	s->data = data;
}

void *sonde_http2_stream_data(const struct sonde_http2_stream *s)
{
	assert(s);
	return s->data;
}

static void resume(struct sonde_http2_stream *s)
{
	if (!s->deferred)
		return;
	s->deferred = false;
	(void)nghttp2_session_resume_data(s->h->session, s->id);
	want_pull(s->h);
}

int sonde_http2_stream_write(struct sonde_http2_stream *s, const uint8_t *data, size_t n)
{
	int r;

	assert(s);

	if (s->ended)
		return -EPIPE;
	if (n > s->h->config.max_stream_output_bytes - waiting(s))
		return -ENOBUFS;
	sonde_buf_consume(&s->out, s->out_at);
	s->out_at = 0;
	r = sonde_buf_append(&s->out, data, n);
	if (r < 0)
		return r;
	resume(s);
	return 0;
}

void sonde_http2_stream_take(struct sonde_http2_stream *s, struct sonde_buf *buf)
{
	assert(s && buf && !s->ended && waiting(s) == 0);

	sonde_buf_done(&s->out);
	s->out = *buf;
	*buf = SONDE_BUF_INIT(buf->max);
	resume(s);
}

static int keep_trailers(struct sonde_http2_stream *s, const struct sonde_http2_header *t, size_t n)
{
	_cleanup_buf_ struct sonde_buf b = SONDE_BUF_INIT(SONDE_HTTP2_HEADER_BYTES_MAX);
	int r;

	for (size_t i = 0; i < n; i++) {
		r = sonde_buf_append(&b, t[i].name, strlen(t[i].name) + 1);
		if (r < 0)
			return r;
		r = sonde_buf_append(&b, t[i].value, strlen(t[i].value) + 1);
		if (r < 0)
			return r;
	}
	s->trailers = (char *)TAKE_PTR(b.data);
	s->n_trailers = n;
	return 0;
}

int sonde_http2_stream_end(struct sonde_http2_stream *s, const struct sonde_http2_header *trailers,
			   size_t n)
{
	int r;

	assert(s && n <= SONDE_HTTP2_HEADERS_MAX);

	if (s->ended)
		return -EPIPE;
	r = keep_trailers(s, trailers, n);
	if (r < 0)
		return r;
	s->ended = true;
	resume(s);
	return 0;
}

void sonde_http2_stream_reset(struct sonde_http2_stream *s, uint32_t error)
{
	assert(s);

	s->ended = true;
	sonde_buf_reset(&s->out);
	s->out_at = 0;
	(void)nghttp2_submit_rst_stream(s->h->session, NGHTTP2_FLAG_NONE, s->id, error);
	want_pull(s->h);
}

uint64_t sonde_http2_stream_taken_bytes(const struct sonde_http2_stream *s)
{
	assert(s);
	return s->taken;
}

bool sonde_http2_stream_started(const struct sonde_http2_stream *s)
{
	assert(s);
	return s->started;
}

bool sonde_http2_stream_said_all(const struct sonde_http2_stream *s)
{
	assert(s);
	return s->said_all;
}
