/* SPDX-License-Identifier: Apache-2.0 */
#include "io/http2.h"

#include <assert.h>
#include <errno.h>
#include <utlist.h>

#include "io/http2-internal.h"

/* What may be under way to us: enough for a fast stream over a long way. We consume at once, so it costs nothing. */
#define STREAM_WINDOW_BYTES (1 << 20)
#define CONNECTION_WINDOW_BYTES (4 << 20)
#define OUTBOUND_ACKS_MAX 256 /* answers to PING and SETTINGS that the peer does not take */

static int open_session(struct sonde_http2 *h)
{
	nghttp2_session_callbacks *cb;
	nghttp2_option *option;
	int r;

	r = sonde_http2_make_callbacks(&cb);
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
		sonde_http2_close_stream(s, NGHTTP2_CANCEL);
	nghttp2_session_del(h->session);
	free(h);
	return NULL;
}

int sonde_http2_feed(struct sonde_http2 *h, const uint8_t *data, size_t n, uint64_t now_ns)
{
	ssize_t used;

	assert(h && (data || n == 0));

	if (sonde_http2_bounds_feed(&h->bounds, data, n, now_ns) < 0) {
		sonde_http2_count_broken(h);
		(void)nghttp2_session_terminate_session(h->session, NGHTTP2_ENHANCE_YOUR_CALM);
		return -EPROTO;
	}
	h->inside++;
	used = nghttp2_session_mem_recv(h->session, data, n);
	h->inside--;
	if (used == NGHTTP2_ERR_NOMEM || used == NGHTTP2_ERR_CALLBACK_FAILURE)
		return -ENOMEM;
	if (used < 0) {
		sonde_http2_count_broken(h);
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

bool sonde_http2_waits(const struct sonde_http2 *h)
{
	const struct sonde_http2_stream *s;

	assert(h);

	DL_FOREACH (h->streams, s) {
		if (sonde_http2_stream_waiting(s) > 0)
			return true;
	}
	return false;
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
	if (h->leaving)
		return;
	h->leaving = true;
	h->last_id = nghttp2_session_get_last_proc_stream_id(h->session);
	(void)nghttp2_submit_goaway(h->session, NGHTTP2_FLAG_NONE, h->last_id, NGHTTP2_NO_ERROR,
				    NULL, 0);
	sonde_http2_want_pull(h);
}

void sonde_http2_reset_stalled(struct sonde_http2 *h, uint64_t now_ns, uint64_t stall_ns)
{
	struct sonde_http2_stream *s;

	assert(h);

	DL_FOREACH (h->streams, s) {
		if (sonde_http2_stream_waiting(s) == 0) {
			s->stall_since_ns = 0;
		} else if (s->stall_since_ns == 0 || s->stall_taken != s->taken) {
			s->stall_since_ns = now_ns;
			s->stall_taken = s->taken;
		} else if (now_ns - s->stall_since_ns >= stall_ns) {
			sonde_http2_stream_reset(s, NGHTTP2_CANCEL);
		}
	}
}
