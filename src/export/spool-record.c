/* SPDX-License-Identifier: Apache-2.0 */
#include "export/spool-record.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "io/encoding.h"

#define MAGIC 0x31725053U /* "SPr1" */
#define HASHED_BYTES 24	  /* of the head */

/* What is behind `at` and not yet read; a short read empties it and notes that. */
struct reader {
	const uint8_t *at;
	size_t left;
	bool bad;
};

static const uint8_t *take(struct reader *rd, size_t n)
{
	const uint8_t *p = rd->at;

	if (rd->bad || n > rd->left) {
		rd->bad = true;
		return NULL;
	}
	rd->at += n;
	rd->left -= n;
	return p;
}

static uint32_t take_u32(struct reader *rd)
{
	const uint8_t *p = take(rd, sizeof(uint32_t));
	uint32_t v = 0;

	if (p)
		memcpy(&v, p, sizeof(v));
	return le32toh(v);
}

static uint64_t take_u64(struct reader *rd)
{
	const uint8_t *p = take(rd, sizeof(uint64_t));
	uint64_t v = 0;

	if (p)
		memcpy(&v, p, sizeof(v));
	return le64toh(v);
}

/* They go into log lines. */
static bool is_control(uint8_t byte)
{
	return byte < 0x20 || byte == 0x7f;
}

/* A length byte and so many bytes, none of them a control byte. */
static void take_text(struct reader *rd, char *dst, size_t size)
{
	const uint8_t *length = take(rd, 1);
	const uint8_t *p = length ? take(rd, *length) : NULL;

	if (!p || *length >= size) {
		rd->bad = true;
		return;
	}
	for (size_t i = 0; i < *length; i++)
		rd->bad = rd->bad || is_control(p[i]);
	memcpy(dst, p, *length);
	dst[*length] = '\0';
}

static int put_u32(struct sonde_buf *b, uint32_t v)
{
	v = htole32(v);
	return sonde_buf_append(b, &v, sizeof(v));
}

static int put_u64(struct sonde_buf *b, uint64_t v)
{
	v = htole64(v);
	return sonde_buf_append(b, &v, sizeof(v));
}

static int put_text(struct sonde_buf *b, const char *text)
{
	const size_t n = strlen(text);
	const uint8_t length = (uint8_t)n;
	int r;

	assert(n <= UINT8_MAX);

	for (size_t i = 0; i < n; i++) {
		if (is_control((uint8_t)text[i]))
			return -EINVAL;
	}
	r = sonde_buf_append(b, &length, 1);
	return r < 0 ? r : sonde_buf_append(b, text, n);
}

static int encode_meta(const struct sonde_spool_meta *meta, struct sonde_buf *b)
{
	int r;

	r = put_u64(b, meta->sequence);
	if (r == 0)
		r = put_u64(b, (uint64_t)meta->due_wall_ms);
	if (r == 0)
		r = put_u32(b, meta->flags);
	if (r == 0)
		r = put_text(b, meta->task);
	return r < 0 ? r : put_text(b, meta->id);
}

static int encode_plain(const struct sonde_report *r, struct sonde_buf *b)
{
	int e;

	if (r->n_messages > SONDE_SPOOL_MESSAGES_MAX)
		return -EMSGSIZE;
	e = put_u32(b, (uint32_t)r->task_report.len);
	if (e == 0)
		e = put_u32(b, (uint32_t)r->n_messages);
	for (size_t i = 0; e == 0 && i < r->n_messages; i++)
		e = put_u32(b, (uint32_t)r->messages[i].len);
	if (e == 0)
		e = sonde_buf_append(b, r->task_report.data, r->task_report.len);
	for (size_t i = 0; e == 0 && i < r->n_messages; i++)
		e = sonde_buf_append(b, r->messages[i].data, r->messages[i].len);
	return e;
}

static uint64_t hash_head(const uint8_t *head, const uint8_t *meta, size_t n)
{
	return sonde_hash(meta, n, sonde_hash(head, HASHED_BYTES, 0));
}

static int append_record(const struct sonde_buf *meta, const struct sonde_buf *body,
			 size_t plain_bytes, struct sonde_buf *out)
{
	const size_t begin = out->len;
	int r;

	r = put_u32(out, MAGIC);
	if (r == 0)
		r = put_u32(out, (uint32_t)meta->len);
	if (r == 0)
		r = put_u32(out, (uint32_t)body->len);
	if (r == 0)
		r = put_u32(out, (uint32_t)plain_bytes);
	if (r == 0)
		r = put_u64(out, sonde_hash(body->data, body->len, 0));
	if (r == 0)
		r = put_u64(out, hash_head(out->data + begin, meta->data, meta->len));
	if (r == 0)
		r = sonde_buf_append(out, meta->data, meta->len);
	if (r == 0)
		r = sonde_buf_append(out, body->data, body->len);
	if (r < 0)
		out->len = begin;
	return r;
}

int sonde_spool_record_encode(const struct sonde_report *r, const struct sonde_spool_meta *meta,
			      struct sonde_buf *out)
{
	_cleanup_buf_ struct sonde_buf plain = SONDE_BUF_INIT(SONDE_SPOOL_PLAIN_MAX);
	_cleanup_buf_ struct sonde_buf body = SONDE_BUF_INIT(SONDE_SPOOL_PLAIN_MAX + (1U << 20));
	_cleanup_buf_ struct sonde_buf head = SONDE_BUF_INIT(SONDE_SPOOL_META_MAX);
	int e;

	assert(r && meta && out);

	e = encode_meta(meta, &head);
	if (e == 0)
		e = encode_plain(r, &plain);
	if (e == 0)
		e = sonde_encode(SONDE_ENCODING_ZSTD, plain.data, plain.len, &body);
	if (e == 0 && body.len > SONDE_SPOOL_BODY_MAX)
		e = -EMSGSIZE;
	return e < 0 ? e : append_record(&head, &body, plain.len, out);
}

int sonde_spool_record_head(const uint8_t data[SONDE_SPOOL_HEAD_BYTES],
			    struct sonde_spool_head *ret)
{
	struct reader rd = {.at = data, .left = SONDE_SPOOL_HEAD_BYTES};
	struct sonde_spool_head h;

	assert(data && ret);

	if (take_u32(&rd) != MAGIC)
		return -EBADMSG;
	h.meta_bytes = take_u32(&rd);
	h.body_bytes = take_u32(&rd);
	h.plain_bytes = take_u32(&rd);
	h.body_hash = take_u64(&rd);
	h.head_hash = take_u64(&rd);
	if (h.meta_bytes > SONDE_SPOOL_META_MAX || h.body_bytes > SONDE_SPOOL_BODY_MAX ||
	    h.plain_bytes > SONDE_SPOOL_PLAIN_MAX)
		return -EBADMSG;
	h.bytes = (uint64_t)SONDE_SPOOL_HEAD_BYTES + h.meta_bytes + h.body_bytes;
	*ret = h;
	return 0;
}

static int check_head(const uint8_t *data, size_t n, struct sonde_spool_head *ret)
{
	int r;

	if (n < SONDE_SPOOL_HEAD_BYTES)
		return -EBADMSG;
	r = sonde_spool_record_head(data, ret);
	if (r < 0)
		return r;
	if (n - SONDE_SPOOL_HEAD_BYTES < ret->meta_bytes ||
	    hash_head(data, data + SONDE_SPOOL_HEAD_BYTES, ret->meta_bytes) != ret->head_hash)
		return -EBADMSG;
	return 0;
}

int sonde_spool_record_meta(const uint8_t *data, size_t n, struct sonde_spool_meta *ret)
{
	struct sonde_spool_meta m = {0};
	struct sonde_spool_head h;
	struct reader rd;
	int r;

	assert(data && ret);

	r = check_head(data, n, &h);
	if (r < 0)
		return r;
	rd = (struct reader){.at = data + SONDE_SPOOL_HEAD_BYTES, .left = h.meta_bytes};
	m.sequence = take_u64(&rd);
	m.due_wall_ms = (int64_t)take_u64(&rd);
	m.flags = take_u32(&rd);
	take_text(&rd, m.task, sizeof(m.task));
	take_text(&rd, m.id, sizeof(m.id));
	if (rd.bad || rd.left > 0)
		return -EBADMSG;
	*ret = m;
	return 0;
}

static int take_message(struct reader *rd, uint32_t n, struct sonde_buf *ret)
{
	const uint8_t *p = take(rd, n);

	*ret = SONDE_BUF_INIT(n);
	if (!p)
		return -EBADMSG;
	return n == 0 ? 0 : sonde_buf_append(ret, p, n);
}

/* The lengths stand in front of all bytes: what they promise must be there, no more and no less. */
static int decode_plain(const struct sonde_buf *plain, struct sonde_report *r)
{
	struct reader rd = {.at = plain->data, .left = plain->len};
	uint32_t task_report = take_u32(&rd), n = take_u32(&rd);
	struct reader lengths;
	int e;

	if (rd.bad || n > SONDE_SPOOL_MESSAGES_MAX)
		return -EBADMSG;
	lengths = rd;
	if (!take(&rd, n * sizeof(uint32_t)))
		return -EBADMSG;
	r->messages = calloc(n ? n : 1, sizeof(r->messages[0]));
	if (!r->messages)
		return -ENOMEM;
	e = take_message(&rd, task_report, &r->task_report);
	for (uint32_t i = 0; e == 0 && i < n; i++) {
		r->n_messages++;
		e = take_message(&rd, take_u32(&lengths), &r->messages[i]);
	}
	return e == 0 && rd.left > 0 ? -EBADMSG : e;
}

int sonde_spool_record_decode(const uint8_t *data, size_t n, struct sonde_spool_meta *ret_meta,
			      struct sonde_report **ret)
{
	_cleanup_(sonde_report_freep) struct sonde_report *r = NULL;
	struct sonde_spool_head h = {0};
	struct sonde_spool_meta meta;
	struct sonde_buf plain;
	const uint8_t *body;
	int e;

	assert(data && ret_meta && ret);

	e = sonde_spool_record_meta(data, n, &meta);
	if (e == 0)
		e = sonde_spool_record_head(data, &h);
	if (e < 0)
		return e;
	body = data + SONDE_SPOOL_HEAD_BYTES + h.meta_bytes;
	if (n != h.bytes || sonde_hash(body, h.body_bytes, 0) != h.body_hash)
		return -EBADMSG;
	e = sonde_report_new(&r);
	if (e < 0)
		return e;
	plain = SONDE_BUF_INIT(h.plain_bytes ? h.plain_bytes : 1);
	e = sonde_decode(SONDE_ENCODING_ZSTD, body, h.body_bytes, &plain);
	if (e == 0)
		e = plain.len == h.plain_bytes ? decode_plain(&plain, r) : -EBADMSG;
	sonde_buf_done(&plain);
	if (e < 0)
		return e == -ENOMEM ? e : -EBADMSG;
	memcpy(r->task, meta.task, sizeof(r->task));
	memcpy(r->id, meta.id, sizeof(r->id));
	r->sequence = meta.sequence;
	*ret_meta = meta;
	*ret = TAKE_PTR(r);
	return 0;
}
