/* SPDX-License-Identifier: Apache-2.0 */
#include "export/batch.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/hash.h"

void sonde_batch_done(struct sonde_batch *b)
{
	if (!b)
		return;
	for (size_t i = 0; i < b->n; i++)
		sonde_buf_done(&b->messages[i]);
	*b = (struct sonde_batch){.wall_ms = b->wall_ms};
}

void sonde_batch_begin(struct sonde_batch *b, const char *service, const char *instance)
{
	assert(b && service && instance);

	b->service = service;
	b->instance = instance;
	b->at = b->n;
	/* The last one of these names: earlier ones are full. */
	for (size_t i = b->n; i > 0 && b->at == b->n; i--) {
		if (strcmp(b->names[i - 1].service, service) == 0 &&
		    strcmp(b->names[i - 1].instance, instance) == 0)
			b->at = i - 1;
	}
}

/* Tags of skywalking/v3/meter.proto: the field's number and its wire type. */
enum {
	VARINT = 0,
	FIXED64 = 1,
	BYTES = 2,
	COLLECTION_METER = 1 << 3 | BYTES,
	METER_SINGLE = 1 << 3 | BYTES,
	METER_HISTOGRAM = 2 << 3 | BYTES,
	METER_SERVICE = 3 << 3 | BYTES,
	METER_INSTANCE = 4 << 3 | BYTES,
	METER_TIMESTAMP = 5 << 3 | VARINT,
	VALUE_NAME = 1 << 3 | BYTES, /* of both kinds, as the next */
	VALUE_LABEL = 2 << 3 | BYTES,
	SINGLE_VALUE = 3 << 3 | FIXED64,
	HISTOGRAM_VALUE = 3 << 3 | BYTES,
	LABEL_NAME = 1 << 3 | BYTES,
	LABEL_VALUE = 2 << 3 | BYTES,
	BUCKET_LOWER = 1 << 3 | FIXED64,
	BUCKET_COUNT = 2 << 3 | VARINT,
};

static size_t varint_size(uint64_t v)
{
	size_t n = 1;

	while (v >>= 7)
		n++;
	return n;
}

static uint8_t *put_varint(uint8_t *at, uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		*at++ = (uint8_t)(v | 0x80);
	*at++ = (uint8_t)v;
	return at;
}

static size_t bytes_size(size_t n)
{
	return 1 + varint_size(n) + n;
}

static uint8_t *put_bytes(uint8_t *at, uint8_t tag, const void *data, size_t n)
{
	*at++ = tag;
	at = put_varint(at, n);
	memcpy(at, data, n);
	return at + n;
}

static uint8_t *put_double(uint8_t *at, uint8_t tag, double value)
{
	uint64_t bits;

	memcpy(&bits, &value, sizeof(bits));
	bits = htole64(bits);
	*at++ = tag;
	memcpy(at, &bits, sizeof(bits));
	return at + sizeof(bits);
}

static size_t labels_size(const struct sonde_batch_labels *l)
{
	return l->n ? l->label[l->n - 1].end : 0;
}

int sonde_batch_labels_add(struct sonde_batch_labels *l, const char *name, const char *value)
{
	size_t n_name, n_value, n, from;
	uint8_t *at;

	assert(l && name && value);

	if (l->n == SONDE_BATCH_LABELS_MAX)
		return -ENOSPC;
	for (size_t i = 0; i < l->n; i++) {
		if (strcmp(l->label[i].name, name) == 0)
			return -EINVAL;
	}
	from = labels_size(l);
	n_name = strlen(name);
	n_value = strlen(value);
	n = bytes_size(n_name) + bytes_size(n_value);
	if (bytes_size(n) > sizeof(l->bytes) - from)
		return -ENOSPC;
	at = l->bytes + from;
	*at++ = VALUE_LABEL;
	at = put_varint(at, n);
	at = put_bytes(at, LABEL_NAME, name, n_name);
	at = put_bytes(at, LABEL_VALUE, value, n_value);
	l->label[l->n].name = name;
	l->label[l->n++].end = (size_t)(at - l->bytes);
	return 0;
}

void sonde_batch_labels_cut(struct sonde_batch_labels *l, size_t n)
{
	assert(l && n <= l->n);

	l->n = n;
}

/* A meter on its way into a message. */
struct meter {
	uint8_t tag; /* METER_SINGLE or METER_HISTOGRAM */
	const char *name;
	const struct sonde_batch_labels *labels;
	double value;
	const struct sonde_batch_bucket *buckets;
	size_t n_buckets;
	size_t size; /* of what is behind the tag and its length */
};

/* What is 0 is not written, as protobuf has it. */
static size_t bucket_size(const struct sonde_batch_bucket *b)
{
	return (b->lower != 0 ? 1 + sizeof(uint64_t) : 0) +
	       (b->count != 0 ? 1 + varint_size((uint64_t)b->count) : 0);
}

static void size_meter(struct meter *m)
{
	m->size = bytes_size(strlen(m->name)) + labels_size(m->labels);
	if (m->tag == METER_SINGLE && m->value != 0)
		m->size += 1 + sizeof(uint64_t);
	for (size_t i = 0; i < m->n_buckets; i++)
		m->size += bytes_size(bucket_size(&m->buckets[i]));
}

static uint8_t *put_buckets(uint8_t *at, const struct sonde_batch_bucket *buckets, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		*at++ = HISTOGRAM_VALUE;
		at = put_varint(at, bucket_size(&buckets[i]));
		if (buckets[i].lower != 0)
			at = put_double(at, BUCKET_LOWER, buckets[i].lower);
		if (buckets[i].count != 0) {
			*at++ = BUCKET_COUNT;
			at = put_varint(at, (uint64_t)buckets[i].count);
		}
	}
	return at;
}

static uint8_t *put_meter(uint8_t *at, const struct meter *m)
{
	size_t n = labels_size(m->labels);

	*at++ = m->tag;
	at = put_varint(at, m->size);
	at = put_bytes(at, VALUE_NAME, m->name, strlen(m->name));
	memcpy(at, m->labels->bytes, n);
	at += n;
	if (m->tag == METER_SINGLE && m->value != 0)
		at = put_double(at, SINGLE_VALUE, m->value);
	return put_buckets(at, m->buckets, m->n_buckets);
}

/* What stands on element 0 alone. */
static size_t head_size(const char *service, const char *instance, int64_t wall_ms)
{
	return bytes_size(strlen(service)) + bytes_size(strlen(instance)) + 1 +
	       varint_size((uint64_t)wall_ms);
}

static uint8_t *put_head(uint8_t *at, const char *service, const char *instance, int64_t wall_ms)
{
	at = put_bytes(at, METER_SERVICE, service, strlen(service));
	at = put_bytes(at, METER_INSTANCE, instance, strlen(instance));
	*at++ = METER_TIMESTAMP;
	return put_varint(at, (uint64_t)wall_ms);
}

static int append_here(struct sonde_batch *b, const struct meter *m)
{
	const char *service = b->names[b->at].service, *instance = b->names[b->at].instance;
	struct sonde_buf *buf = &b->messages[b->at];
	size_t n = bytes_size(m->size);
	bool first = buf->len == 0;
	uint8_t *at;
	int r;

	if (first)
		n += head_size(service, instance, b->wall_ms);
	r = sonde_buf_reserve(buf, bytes_size(n));
	if (r < 0)
		return r;
	at = buf->data + buf->len;
	*at++ = COLLECTION_METER;
	at = put_varint(at, n);
	at = put_meter(at, m);
	if (first)
		at = put_head(at, service, instance, b->wall_ms);
	*at = 0;
	buf->len = (size_t)(at - buf->data);
	b->meters++;
	return 0;
}

/* No message is ever without a meter: one is opened by the first that it gets. */
static int append_to_new(struct sonde_batch *b, const struct meter *m)
{
	int r;

	if (b->n == SONDE_BATCH_COLLECTIONS_MAX)
		return -ENOSPC;
	b->at = b->n;
	b->messages[b->at] = SONDE_BUF_INIT(SONDE_BATCH_COLLECTION_MAX);
	b->names[b->at].service = b->service;
	b->names[b->at].instance = b->instance;
	r = append_here(b, m);
	if (r == 0)
		b->n++;
	return r == -EMSGSIZE ? -ENOSPC : r;
}

static int append(struct sonde_batch *b, struct meter *m)
{
	int r = -EMSGSIZE;

	size_meter(m);
	if (b->at < b->n)
		r = append_here(b, m);
	return r == -EMSGSIZE ? append_to_new(b, m) : r;
}

int sonde_batch_single(struct sonde_batch *b, const char *name,
		       const struct sonde_batch_labels *labels, double value)
{
	struct meter m = {.tag = METER_SINGLE, .name = name, .labels = labels, .value = value};

	assert(b && b->service && name && labels);

	return append(b, &m);
}

int sonde_batch_histogram(struct sonde_batch *b, const char *name,
			  const struct sonde_batch_labels *labels,
			  const struct sonde_batch_bucket *buckets, size_t n_buckets)
{
	struct meter m = {.tag = METER_HISTOGRAM,
			  .name = name,
			  .labels = labels,
			  .buckets = buckets,
			  .n_buckets = n_buckets};

	assert(b && b->service && name && labels && buckets);

	return append(b, &m);
}

double sonde_batch_mean(uint64_t sum, uint64_t n)
{
	return n ? (double)(int64_t)((double)sum / (double)n * 16 + 0.5) / 16 : 0;
}

uint64_t sonde_batch_hash(const struct sonde_batch *b)
{
	uint64_t h = 0;

	assert(b);

	for (size_t i = 0; i < b->n; i++) /* where one message ends counts too */
		h = sonde_hash(b->messages[i].data, b->messages[i].len, h);
	return h;
}
