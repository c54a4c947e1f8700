/* SPDX-License-Identifier: Apache-2.0 */
#include "io/grpc-frame.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

static uint32_t get_be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void put_be32(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 24);
	p[1] = (uint8_t)(v >> 16);
	p[2] = (uint8_t)(v >> 8);
	p[3] = (uint8_t)v;
}

void sonde_grpc_frames_init(struct sonde_grpc_frames *f, size_t max_message_bytes)
{
	assert(f);
	*f = (struct sonde_grpc_frames){
		.max_message_bytes = max_message_bytes,
		.body = SONDE_BUF_INIT(max_message_bytes),
	};
}

void sonde_grpc_frames_done(struct sonde_grpc_frames *f)
{
	if (f)
		sonde_buf_done(&f->body);
}

/* Gives the message of @n bytes at @data, and is ready for the next one. */
static int deliver(struct sonde_grpc_frames *f, const uint8_t *data, size_t n,
		   sonde_grpc_frame_fn fn, void *ctx)
{
	int r;

	f->n_head = 0;
	r = fn(ctx, f->head[0] == 1, data, n);
	sonde_buf_done(&f->body); /* a stream that waits holds no memory */
	return r;
}

int sonde_grpc_frames_feed(struct sonde_grpc_frames *f, const uint8_t *data, size_t n,
			   sonde_grpc_frame_fn fn, void *ctx)
{
	size_t length, take;
	int r;

	assert(f && fn && (data || n == 0));

	while (n > 0) {
		take = SONDE_GRPC_FRAME_HEAD_BYTES - f->n_head;
		take = take < n ? take : n;
		memcpy(f->head + f->n_head, data, take);
		f->n_head += (unsigned)take;
		data += take;
		n -= take;
		if (f->head[0] > 1)
			return -EBADMSG;
		if (f->n_head < SONDE_GRPC_FRAME_HEAD_BYTES)
			return 0;
		length = get_be32(f->head + 1);
		if (length > f->max_message_bytes)
			return -EMSGSIZE;

		take = length - f->body.len;
		if (take > n) {
			r = sonde_buf_append(&f->body, data, n);
			return r < 0 ? r : 0;
		}
		if (f->body.len == 0) { /* whole, as most are: no copy */
			r = deliver(f, data, take, fn, ctx);
		} else {
			r = sonde_buf_append(&f->body, data, take);
			if (r == 0)
				r = deliver(f, f->body.data, f->body.len, fn, ctx);
		}
		if (r != 0)
			return r;
		data += take;
		n -= take;
	}
	return 0;
}

bool sonde_grpc_frames_midway(const struct sonde_grpc_frames *f)
{
	assert(f);
	return f->n_head > 0;
}

int sonde_grpc_frame_append(struct sonde_buf *out, enum sonde_encoding encoding,
			    const uint8_t *data, size_t n, size_t *ret_n)
{
	static const uint8_t head[SONDE_GRPC_FRAME_HEAD_BYTES];
	size_t start, size;
	uint8_t compressed = 0;
	int r;

	assert(out);

	if (n > UINT32_MAX)
		return -EMSGSIZE;
	start = out->len;
	r = sonde_buf_append(out, head, sizeof(head));
	if (r < 0)
		return r;
	if (encoding != SONDE_ENCODING_IDENTITY) {
		r = sonde_encode(encoding, data, n, out);
		if (r < 0)
			goto fail;
		compressed = 1;
		if (out->len - start - sizeof(head) >= n) { /* no gain: as it is */
			out->len = start + sizeof(head);
			compressed = 0;
		}
	}
	if (!compressed) {
		r = sonde_buf_append(out, data, n);
		if (r < 0)
			goto fail;
	}
	size = out->len - start - sizeof(head);
	out->data[start] = compressed;
	put_be32(out->data + start + 1, (uint32_t)size);
	if (ret_n)
		*ret_n = size;
	return 0;
fail:
	out->len = start;
	out->data[start] = 0;
	return r;
}
