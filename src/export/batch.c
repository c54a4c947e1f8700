/* SPDX-License-Identifier: Apache-2.0 */
#include "export/batch.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/hash.h"
#include "skywalking/v3/meter.pb-c.h"
#include "wire/message.h"

#define BUCKETS_MAX 1024

void sonde_batch_done(struct sonde_batch *b)
{
	if (!b)
		return;
	for (size_t i = 0; i < b->n; i++)
		sonde_buf_done(&b->messages[i]);
	*b = (struct sonde_batch){.wall_ms = b->wall_ms};
}

static void open_message(struct sonde_batch *b, const char *service, const char *instance)
{
	b->at = b->n;
	if (b->n == SONDE_BATCH_COLLECTIONS_MAX)
		return; /* every further meter is refused */
	b->messages[b->n] = SONDE_BUF_INIT(SONDE_BATCH_COLLECTION_MAX);
	b->names[b->n].service = service;
	b->names[b->n].instance = instance;
	b->n++;
}

void sonde_batch_begin(struct sonde_batch *b, const char *service, const char *instance)
{
	assert(b && service && instance);

	/* The last one of these names: earlier ones are full. */
	for (size_t i = b->n; i > 0; i--) {
		if (strcmp(b->names[i - 1].service, service) != 0 ||
		    strcmp(b->names[i - 1].instance, instance) != 0)
			continue;
		b->at = i - 1;
		return;
	}
	open_message(b, service, instance);
}

static bool labels_differ(const struct sonde_batch_label *labels, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		for (size_t j = 0; j < i; j++) {
			if (strcmp(labels[i].name, labels[j].name) == 0)
				return false;
		}
	}
	return true;
}

struct labels {
	Skywalking__V3__Label label[SONDE_BATCH_LABELS_MAX];
	Skywalking__V3__Label *pointer[SONDE_BATCH_LABELS_MAX];
};

/* A name that stands twice would cost the whole collection at an OAP. Return: 0, -EINVAL. */
static int fill_labels(struct labels *l, const struct sonde_batch_label *labels, size_t n)
{
	if (n > SONDE_BATCH_LABELS_MAX || !labels_differ(labels, n))
		return -EINVAL;
	for (size_t i = 0; i < n; i++) {
		skywalking__v3__label__init(&l->label[i]);
		l->label[i].name = sonde_wire_text(labels[i].name);
		l->label[i].value = sonde_wire_text(labels[i].value);
		l->pointer[i] = &l->label[i];
	}
	return 0;
}

/* Field 1 of MeterDataCollection, length-delimited: the tag and the length. Returns how many bytes. */
static size_t element_header(size_t n, uint8_t ret[11])
{
	size_t at = 0;

	ret[at++] = 1 << 3 | 2;
	while (n >= 0x80) {
		ret[at++] = (uint8_t)(n | 0x80);
		n >>= 7;
	}
	ret[at++] = (uint8_t)n;
	return at;
}

static int append_here(struct sonde_batch *b, Skywalking__V3__MeterData *m)
{
	struct sonde_buf *buf = &b->messages[b->at];
	uint8_t header[11];
	size_t n, header_len;
	int r;

	if (buf->len == 0) {
		m->service = sonde_wire_text(b->names[b->at].service);
		m->serviceinstance = sonde_wire_text(b->names[b->at].instance);
		m->timestamp = b->wall_ms;
	}
	n = skywalking__v3__meter_data__get_packed_size(m);
	header_len = element_header(n, header);
	r = sonde_buf_reserve(buf, header_len + n);
	if (r < 0)
		return r;
	memcpy(buf->data + buf->len, header, header_len);
	(void)skywalking__v3__meter_data__pack(m, buf->data + buf->len + header_len);
	buf->len += header_len + n;
	b->meters++;
	return 0;
}

static int append(struct sonde_batch *b, Skywalking__V3__MeterData *m)
{
	int r;

	if (b->at >= b->n)
		return -ENOSPC;
	r = append_here(b, m);
	if (r != -EMSGSIZE)
		return r;
	open_message(b, b->names[b->at].service, b->names[b->at].instance);
	if (b->at >= b->n)
		return -ENOSPC;
	r = append_here(b, m);
	return r == -EMSGSIZE ? -ENOSPC : r;
}

int sonde_batch_single(struct sonde_batch *b, const char *name,
		       const struct sonde_batch_label *labels, size_t n_labels, double value)
{
	Skywalking__V3__MeterData m = SKYWALKING__V3__METER_DATA__INIT;
	Skywalking__V3__MeterSingleValue single = SKYWALKING__V3__METER_SINGLE_VALUE__INIT;
	struct labels l;
	int r;

	assert(b && name && labels);

	r = fill_labels(&l, labels, n_labels);
	if (r < 0)
		return r;
	single.name = sonde_wire_text(name);
	single.n_labels = n_labels;
	single.labels = l.pointer;
	single.value = value;
	m.metric_case = SKYWALKING__V3__METER_DATA__METRIC_SINGLE_VALUE;
	m.singlevalue = &single;
	return append(b, &m);
}

int sonde_batch_histogram(struct sonde_batch *b, const char *name,
			  const struct sonde_batch_label *labels, size_t n_labels,
			  const struct sonde_batch_bucket *buckets, size_t n_buckets)
{
	Skywalking__V3__MeterBucketValue value[BUCKETS_MAX];
	Skywalking__V3__MeterBucketValue *pointer[BUCKETS_MAX];
	Skywalking__V3__MeterData m = SKYWALKING__V3__METER_DATA__INIT;
	Skywalking__V3__MeterHistogram histogram = SKYWALKING__V3__METER_HISTOGRAM__INIT;
	struct labels l;
	int r;

	assert(b && name && labels && buckets && n_buckets <= BUCKETS_MAX);

	r = fill_labels(&l, labels, n_labels);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n_buckets; i++) {
		skywalking__v3__meter_bucket_value__init(&value[i]);
		value[i].bucket = buckets[i].lower;
		value[i].count = buckets[i].count;
		pointer[i] = &value[i];
	}
	histogram.name = sonde_wire_text(name);
	histogram.n_labels = n_labels;
	histogram.labels = l.pointer;
	histogram.n_values = n_buckets;
	histogram.values = pointer;
	m.metric_case = SKYWALKING__V3__METER_DATA__METRIC_HISTOGRAM;
	m.histogram = &histogram;
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
