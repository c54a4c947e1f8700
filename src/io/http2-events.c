/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "io/http2-internal.h"

static int refuse_stream(nghttp2_session *session, int32_t id)
{
	(void)nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, id, NGHTTP2_REFUSED_STREAM);
	return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
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
	/* Our GOAWAY may still wait behind other frames, but what it says must be true. */
	if (h->leaving && frame->hd.stream_id > h->last_id)
		return refuse_stream(session, frame->hd.stream_id);
	s = sonde_http2_new_stream(h, NULL);
	if (!s)
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	s->id = frame->hd.stream_id;
	if (h->handler.on_begin(h->handler.ctx, s) < 0) {
		sonde_http2_drop_stream(s);
		return refuse_stream(session, frame->hd.stream_id);
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

	if (frame->hd.type == NGHTTP2_SETTINGS && !h->greeted) {
		h->greeted = true;
		if (h->handler.on_greet)
			h->handler.on_greet(h->handler.ctx);
	}
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

void sonde_http2_count_broken(struct sonde_http2 *h)
{
	if (!h->broken)
		h->violations++;
	h->broken = true;
}

/* nghttp2 answers what breaks the rules by itself; what it answers shows that. */
static void count_violation(struct sonde_http2 *h, const nghttp2_frame *frame)
{
	if (frame->hd.type == NGHTTP2_GOAWAY && frame->goaway.error_code != NGHTTP2_NO_ERROR)
		sonde_http2_count_broken(h);
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
	s = sonde_http2_find_stream(h, frame->hd.stream_id);
	if (s)
		sonde_http2_close_stream(s, NGHTTP2_REFUSED_STREAM);
	return 0;
}

/* Own look-up: on_not_sent() may have dropped the stream that nghttp2 still points to. */
static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t error, void *user)
{
	struct sonde_http2 *h = user;
	struct sonde_http2_stream *s = sonde_http2_find_stream(h, id);

	if (s)
		sonde_http2_close_stream(s, error);
	return 0;
}

int sonde_http2_make_callbacks(nghttp2_session_callbacks **ret)
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
