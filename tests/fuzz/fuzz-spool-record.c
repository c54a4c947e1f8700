/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A record of the spool that no agent wrote: the input as it is; with hashes that are right, as else nothing of it would
 * be looked at; and as what a body unpacks into. One that is taken apart comes out the same when it is put together anew.
 */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "export/spool-record.h"
#include "io/encoding.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void again(const struct sonde_report *r, const struct sonde_spool_meta *meta)
{
	_cleanup_buf_ struct sonde_buf out = SONDE_BUF_INIT(SONDE_SPOOL_PLAIN_MAX);
	_cleanup_(sonde_report_freep) struct sonde_report *copy = NULL;
	struct sonde_spool_meta same;

	if (sonde_spool_record_encode(r, meta, &out) < 0)
		return;
	if (sonde_spool_record_decode(out.data, out.len, &same, &copy) < 0)
		abort();
	if (strcmp(same.id, meta->id) != 0 || same.flags != meta->flags ||
	    copy->n_messages != r->n_messages || copy->task_report.len != r->task_report.len)
		abort();
}

static void decode(const uint8_t *data, size_t size)
{
	_cleanup_(sonde_report_freep) struct sonde_report *r = NULL;
	struct sonde_spool_meta meta;

	(void)!sonde_spool_record_meta(data, size, &meta);
	if (sonde_spool_record_decode(data, size, &meta, &r) == 0)
		again(r, &meta);
}

/* Little-endian, as the machines that fuzz are. */
static void hash_anew(uint8_t *data, size_t size)
{
	struct sonde_spool_head head;
	uint64_t h;

	if (size < SONDE_SPOOL_HEAD_BYTES || sonde_spool_record_head(data, &head) < 0 ||
	    head.bytes != size)
		return;
	h = sonde_hash(data + SONDE_SPOOL_HEAD_BYTES + head.meta_bytes, head.body_bytes, 0);
	memcpy(data + 16, &h, sizeof(h));
	h = sonde_hash(data + SONDE_SPOOL_HEAD_BYTES, head.meta_bytes, sonde_hash(data, 24, 0));
	memcpy(data + 24, &h, sizeof(h));
}

static void decode_hashed(const uint8_t *data, size_t size)
{
	_cleanup_free_ uint8_t *copy = malloc(size);

	if (!copy)
		return;
	memcpy(copy, data, size);
	hash_anew(copy, size);
	decode(copy, size);
}

/* In a record that is in order but for what its body unpacks into. */
static void decode_plain(const uint8_t *data, size_t size)
{
	static const uint8_t meta[] = {1, 0, 0, 0, 0, 0, 0, 0, 2, 0,   0, 0,
				       0, 0, 0, 0, 1, 0, 0, 0, 1, 't', 1, 'i'};
	_cleanup_buf_ struct sonde_buf body = SONDE_BUF_INIT(SONDE_SPOOL_BODY_MAX);
	_cleanup_buf_ struct sonde_buf record = SONDE_BUF_INIT(SONDE_SPOOL_BODY_MAX);
	uint8_t head[SONDE_SPOOL_HEAD_BYTES] = {'S', 'P', 'r', '1', sizeof(meta)};
	uint32_t n;

	if (sonde_encode(SONDE_ENCODING_ZSTD, data, size, &body) < 0)
		return;
	n = (uint32_t)body.len;
	memcpy(head + 8, &n, sizeof(n));
	n = (uint32_t)size;
	memcpy(head + 12, &n, sizeof(n));
	if (sonde_buf_append(&record, head, sizeof(head)) < 0 ||
	    sonde_buf_append(&record, meta, sizeof(meta)) < 0 ||
	    sonde_buf_append(&record, body.data, body.len) < 0)
		return;
	hash_anew(record.data, record.len);
	decode(record.data, record.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	decode(data, size);
	decode_hashed(data, size);
	decode_plain(data, size);
	return 0;
}
