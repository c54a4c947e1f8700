/* SPDX-License-Identifier: Apache-2.0 */
#include "io/http2-bounds.h"

#include <assert.h>
#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <string.h>

void sonde_http2_bounds_init(struct sonde_http2_bounds *b, bool server, unsigned burst,
			     unsigned per_s)
{
	assert(b && burst > 0 && per_s > 0);

	*b = (struct sonde_http2_bounds){
		.preface_left = server ? NGHTTP2_CLIENT_MAGIC_LEN : 0,
		.pace = sonde_pace_of(burst, per_s),
	};
}

static bool is_control(const uint8_t head[static 9], uint32_t length)
{
	switch (head[3]) {
	case NGHTTP2_DATA:
		return length == 0 && !(head[4] & NGHTTP2_FLAG_END_STREAM);
	case NGHTTP2_HEADERS:
	case NGHTTP2_WINDOW_UPDATE: /* one for each DATA of ours */
	case NGHTTP2_GOAWAY:	    /* the last of a connection, or nghttp2 objects */
		return false;
	case NGHTTP2_CONTINUATION:
	default:
		return true;
	}
}

/* The nine bytes of a frame's head are there. */
static int take_head(struct sonde_http2_bounds *b, uint64_t now_ns)
{
	uint8_t type = b->head[3];

	b->body_left = (uint32_t)b->head[0] << 16 | (uint32_t)b->head[1] << 8 | b->head[2];
	if (type == NGHTTP2_HEADERS || type == NGHTTP2_CONTINUATION)
		b->block_open = !(b->head[4] & NGHTTP2_FLAG_END_HEADERS);
	if (!is_control(b->head, b->body_left))
		return 0;
	if (sonde_pace_wait_ns(&b->pace, now_ns) > 0)
		return -EBUSY;
	sonde_pace_take(&b->pace, now_ns);
	return 0;
}

static size_t min_size(size_t a, size_t b)
{
	return a < b ? a : b;
}

int sonde_http2_bounds_feed(struct sonde_http2_bounds *b, const uint8_t *data, size_t n,
			    uint64_t now_ns)
{
	size_t take;
	int r;

	assert(b && (data || n == 0));

	while (n > 0) {
		if (b->preface_left > 0) {
			take = min_size(n, b->preface_left);
			b->preface_left -= (unsigned)take;
		} else if (b->n_head < sizeof(b->head)) {
			take = min_size(n, sizeof(b->head) - b->n_head);
			memcpy(b->head + b->n_head, data, take);
			b->n_head += (unsigned)take;
			if (b->n_head == sizeof(b->head)) {
				r = take_head(b, now_ns);
				if (r < 0)
					return r;
			}
		} else {
			take = min_size(n, b->body_left);
			b->body_left -= (uint32_t)take;
		}
		if (b->n_head == sizeof(b->head) && b->body_left == 0) {
			b->n_head = 0;
			b->n_frames++;
		}
		data += take;
		n -= take;
	}
	return 0;
}

bool sonde_http2_bounds_midway(const struct sonde_http2_bounds *b)
{
	assert(b);
	return b->preface_left > 0 || b->n_head > 0 || b->block_open;
}
