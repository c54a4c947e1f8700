/* SPDX-License-Identifier: Apache-2.0 */
#include "io/encoding.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

/*
 * Measured on real reports. Collections of a full 1 MB of meters, of 1,000 peers: zstd 3 gives 52 : 1 in 0.5 ms each, 6
 * gives 55 in 4. Of one or two peers (20 kB): 3 gives 7.0 in 26 us, 6 gives 7.4 in 99, 12 gives 7.6 in 760, 19 gives 7.8
 * in 14,000. Flows (200 kB of 2,000 connections, 17 bytes each that nothing tells beforehand): 3 gives 5.1 in 0.6 ms, 6
 * gives 5.6 in 2.5, 19 gives 5.7 in 90. So level 6 where a message is small enough to cost little, else 3.
 * Tried on small messages, where level 6 gives 7.3: meters sorted by name 7.2, histograms behind the others 7.3, an
 * optimal parser with three-byte matches 7.6 at thirteen times the time, a dictionary of all meters' names 8.0.
 */
#define ZSTD_LEVEL 3
#define ZSTD_LEVEL_SMALL 6
#define ZSTD_SMALL_BYTES 262144
#define GZIP_LEVEL 6

/*
 * The largest window that a frame may ask for, as its memory is paid before the first byte comes
 * out: 8 MiB, what RFC 9659 allows on the web. Our own frames (levels 3 and 6) stay at 2 MiB.
 */
#define ZSTD_WINDOW_LOG_MAX 23

#define GZIP_WINDOW_BITS (15 + 16) /* + 16: a gzip header, not zlib's */
#define DECODE_STEP_BYTES 16384	   /* how far ahead of the output memory is taken */

/* Creating a zstd context costs more than packing a small message; each thread keeps its pair. */
static __thread ZSTD_CCtx *zstd_cctx;
static __thread ZSTD_DCtx *zstd_dctx;

static const char *const names[] = {
	[SONDE_ENCODING_IDENTITY] = "identity",
	[SONDE_ENCODING_GZIP] = "gzip",
	[SONDE_ENCODING_ZSTD] = "zstd",
};
_Static_assert(ELEMENTS_OF(names) == _SONDE_ENCODING_MAX, "each encoding has a name");

const char *sonde_encoding_name(enum sonde_encoding e)
{
	assert((unsigned)e < _SONDE_ENCODING_MAX);
	return names[e];
}

int sonde_encoding_from_name(const char *name, enum sonde_encoding *ret)
{
	assert(name && ret);

	for (size_t i = 0; i < ELEMENTS_OF(names); i++) {
		if (strcmp(name, names[i]) == 0) {
			*ret = (enum sonde_encoding)i;
			return 0;
		}
	}
	return -EOPNOTSUPP;
}

static bool word_is(const char *word, size_t n, const char *name)
{
	return strlen(name) == n && memcmp(word, name, n) == 0;
}

enum sonde_encoding sonde_encoding_choose(const char *accept_list)
{
	enum sonde_encoding best = SONDE_ENCODING_IDENTITY;
	const char *p = accept_list;

	assert(accept_list);

	while (*(p += strspn(p, ", \t")) != '\0') {
		size_t n = strcspn(p, ", \t");

		for (unsigned e = best + 1; e < _SONDE_ENCODING_MAX; e++) {
			if (word_is(p, n, names[e]))
				best = (enum sonde_encoding)e;
		}
		p += n;
	}
	return best;
}

static int encode_gzip(const uint8_t *data, size_t n, struct sonde_buf *out)
{
	z_stream z = {0};
	size_t bound;
	int r;

	if (n > UINT32_MAX / 2)
		return -EMSGSIZE;
	if (deflateInit2(&z, GZIP_LEVEL, Z_DEFLATED, GZIP_WINDOW_BITS, 8, Z_DEFAULT_STRATEGY) !=
	    Z_OK)
		return -ENOMEM;
	bound = deflateBound(&z, n);
	r = sonde_buf_reserve(out, bound);
	if (r == 0) {
		z.next_in = (Bytef *)data; /* zlib's old signature; it only reads */
		z.avail_in = (uInt)n;
		z.next_out = out->data + out->len;
		z.avail_out = (uInt)bound;
		r = deflate(&z, Z_FINISH) == Z_STREAM_END ? 0 : -EIO;
		if (r == 0)
			out->len += z.total_out;
	}
	(void)deflateEnd(&z);
	return r;
}

static int encode_zstd(const uint8_t *data, size_t n, struct sonde_buf *out)
{
	size_t bound = ZSTD_compressBound(n), size;
	int r;

	if (ZSTD_isError(bound))
		return -EMSGSIZE;
	if (!zstd_cctx)
		zstd_cctx = ZSTD_createCCtx();
	if (!zstd_cctx)
		return -ENOMEM;
	r = sonde_buf_reserve(out, bound);
	if (r < 0)
		return r;
	size = ZSTD_compressCCtx(zstd_cctx, out->data + out->len, bound, data, n,
				 n > ZSTD_SMALL_BYTES ? ZSTD_LEVEL : ZSTD_LEVEL_SMALL);
	if (ZSTD_isError(size))
		return ZSTD_getErrorCode(size) == ZSTD_error_memory_allocation ? -ENOMEM : -EIO;
	out->len += size;
	return 0;
}

int sonde_encode(enum sonde_encoding e, const uint8_t *data, size_t n, struct sonde_buf *out)
{
	int r;

	assert(out && (data || n == 0));

	switch (e) {
	case SONDE_ENCODING_IDENTITY:
		return sonde_buf_append(out, data, n);
	case SONDE_ENCODING_GZIP:
		r = encode_gzip(data, n, out);
		break;
	case SONDE_ENCODING_ZSTD:
		r = encode_zstd(data, n, out);
		break;
	case _SONDE_ENCODING_MAX:
	default:
		return -EINVAL;
	}
	if (out->data)
		out->data[out->len] = 0; /* the codec wrote over buf's NUL, on failure as well */
	return r;
}

/* One call of a decoder: takes from in, gives to out. Return: 1 at the stream's end, 0, -errno. */
struct decoder {
	int (*step)(struct decoder *d, uint8_t *out, size_t room, size_t *ret_made);
	const uint8_t *in;
	size_t n_in;
	z_stream z;
};

static int step_gzip(struct decoder *d, uint8_t *out, size_t room, size_t *ret_made)
{
	uInt in = d->n_in < UINT32_MAX ? (uInt)d->n_in : UINT32_MAX;
	int r;

	d->z.next_in = (Bytef *)d->in;
	d->z.avail_in = in;
	d->z.next_out = out;
	d->z.avail_out = (uInt)room;
	r = inflate(&d->z, Z_NO_FLUSH);
	if (r == Z_MEM_ERROR)
		return -ENOMEM;
	if (r != Z_OK && r != Z_STREAM_END && r != Z_BUF_ERROR)
		return -EBADMSG;
	d->in += in - d->z.avail_in;
	d->n_in -= in - d->z.avail_in;
	*ret_made = room - d->z.avail_out;
	return r == Z_STREAM_END;
}

static int step_zstd(struct decoder *d, uint8_t *out, size_t room, size_t *ret_made)
{
	ZSTD_inBuffer in = {.src = d->in, .size = d->n_in};
	ZSTD_outBuffer o = {.size = room};
	size_t left;

	o.dst = out;
	left = ZSTD_decompressStream(zstd_dctx, &o, &in);

	if (ZSTD_isError(left))
		return ZSTD_getErrorCode(left) == ZSTD_error_memory_allocation ? -ENOMEM : -EBADMSG;
	d->in += in.pos;
	d->n_in -= in.pos;
	*ret_made = o.pos;
	return left == 0;
}

static int decode_steps(struct decoder *d, struct sonde_buf *out)
{
	for (;;) {
		size_t room = out->max - out->len, made = 0, before = d->n_in;
		uint8_t spare[1]; /* at the limit: does the stream end here, or is there more? */
		int r, end;

		if (room > DECODE_STEP_BYTES)
			room = DECODE_STEP_BYTES;
		r = sonde_buf_reserve(out, room);
		if (r < 0)
			return r;
		end = d->step(d, room ? out->data + out->len : spare, room ? room : 1, &made);
		if (end < 0)
			return end;
		if (room == 0 && made > 0)
			return -EMSGSIZE;
		out->len += made;
		if (end > 0)
			return d->n_in > 0 ? -EBADMSG
					   : 0; /* one stream a message, nothing behind it */
		if (made == 0 && d->n_in == before)
			return -EBADMSG; /* cut short */
	}
}

static int decode_gzip(const uint8_t *data, size_t n, struct sonde_buf *out)
{
	struct decoder d = {.step = step_gzip, .in = data, .n_in = n};
	int r;

	if (inflateInit2(&d.z, GZIP_WINDOW_BITS) != Z_OK)
		return -ENOMEM;
	r = decode_steps(&d, out);
	(void)inflateEnd(&d.z);
	return r;
}

static int decode_zstd(const uint8_t *data, size_t n, struct sonde_buf *out)
{
	struct decoder d = {.step = step_zstd, .in = data, .n_in = n};

	if (!zstd_dctx)
		zstd_dctx = ZSTD_createDCtx();
	if (!zstd_dctx)
		return -ENOMEM;
	(void)ZSTD_DCtx_reset(zstd_dctx, ZSTD_reset_session_only);
	if (ZSTD_isError(
		    ZSTD_DCtx_setParameter(zstd_dctx, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG_MAX)))
		return -EIO;
	return decode_steps(&d, out);
}

int sonde_decode(enum sonde_encoding e, const uint8_t *data, size_t n, struct sonde_buf *out)
{
	size_t before;
	int r;

	assert(out && (data || n == 0));

	before = out->len;
	switch (e) {
	case SONDE_ENCODING_IDENTITY:
		return sonde_buf_append(out, data, n);
	case SONDE_ENCODING_GZIP:
		r = decode_gzip(data, n, out);
		break;
	case SONDE_ENCODING_ZSTD:
		r = decode_zstd(data, n, out);
		break;
	case _SONDE_ENCODING_MAX:
	default:
		return -EINVAL;
	}
	if (r < 0)
		out->len = before;
	if (out->data)
		out->data[out->len] = 0;
	return r;
}

void sonde_encoding_trim(void)
{
	(void)ZSTD_freeCCtx(TAKE_PTR(zstd_cctx));
	(void)ZSTD_freeDCtx(TAKE_PTR(zstd_dctx));
}
