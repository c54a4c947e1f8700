/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <utlist.h>

#include "io/http2-internal.h"

struct sonde_http2_stream *sonde_http2_find_stream(struct sonde_http2 *h, int32_t id)
{
	struct sonde_http2_stream *s;

	DL_FOREACH (h->streams, s) {
		if (s->id == id)
			return s;
	}
	return NULL;
}

struct sonde_http2_stream *sonde_http2_new_stream(struct sonde_http2 *h, void *data)
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

void sonde_http2_drop_stream(struct sonde_http2_stream *s)
{
	DL_DELETE(s->h->streams, s);
	s->h->n_streams--;
	sonde_buf_done(&s->out);
	free(s->trailers);
	free(s);
}

void sonde_http2_close_stream(struct sonde_http2_stream *s, uint32_t error)
{
	struct sonde_http2 *h = s->h;

	h->handler.on_close(h->handler.ctx, s, error);
	sonde_http2_drop_stream(s);
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
	size_t n = sonde_http2_stream_waiting(s);

	if (n == 0 && !s->ended) {
		s->deferred = true;
		return NGHTTP2_ERR_DEFERRED;
	}
	n = n < length ? n : length;
	if (n > 0)
		memcpy(buf, s->out.data + s->out_at, n);
	s->out_at += n;
	s->taken += n;
	if (sonde_http2_stream_waiting(s) == 0) {
		sonde_buf_done(&s->out);
		s->out_at = 0;
	}
	if (s->ended && sonde_http2_stream_waiting(s) == 0) {
		*flags |= NGHTTP2_DATA_FLAG_EOF;
		if (s->n_trailers > 0) {
			*flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
			if (submit_trailers(s) != 0)
				return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
		}
	}
	return (ssize_t)n;
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
	s = sonde_http2_new_stream(h, data);
	if (!s)
		return -ENOMEM;
	provider.source.ptr = s;
	id = nghttp2_submit_request(h->session, NULL, nv, make_nvs(headers, n, nv), &provider, s);
	if (id < 0) {
		sonde_http2_drop_stream(s);
		return id == NGHTTP2_ERR_NOMEM ? -ENOMEM : -ENOTCONN;
	}
	s->id = id;
	sonde_http2_want_pull(h);
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
	sonde_http2_want_pull(s->h);
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
	sonde_http2_want_pull(s->h);
}

int sonde_http2_stream_write(struct sonde_http2_stream *s, const uint8_t *data, size_t n)
{
	int r;

	assert(s);

	if (s->ended)
		return -EPIPE;
	if (n > s->h->config.max_stream_output_bytes - sonde_http2_stream_waiting(s))
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
	assert(s && buf && !s->ended && sonde_http2_stream_waiting(s) == 0);

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
	sonde_http2_want_pull(s->h);
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
