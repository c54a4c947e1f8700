/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/ingest/meters.h"

#include <errno.h>

#define FRAME_HEADER 4

static void put_u32(uint8_t *p, uint32_t v)
{
	for (unsigned i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> (8 * i));
}

static uint32_t get_u32(const uint8_t *p)
{
	return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

int sonde_meters_frame(struct sonde_buf *frames, const uint8_t *data, size_t n)
{
	uint8_t header[FRAME_HEADER];

	if (n > UINT32_MAX - FRAME_HEADER || n > frames->max ||
	    frames->len + FRAME_HEADER > frames->max - n)
		return -EMSGSIZE;
	put_u32(header, (uint32_t)n);
	if (sonde_buf_reserve(frames, FRAME_HEADER + n) < 0)
		return -ENOMEM;
	return sonde_buf_append(frames, header, sizeof(header)) < 0
		       ? -ENOMEM
		       : sonde_buf_append(frames, data, n);
}

/* One element of the repeated field 1, by hand: its tag, its length, itself. */
int sonde_meters_frame_one(struct sonde_buf *frames, const uint8_t *data, size_t n)
{
	uint8_t head[1 + 5] = {0x0a};
	size_t len = 1;
	int r;

	if (n > UINT32_MAX / 2 || n > frames->max || frames->len > frames->max - n ||
	    frames->len + n + FRAME_HEADER + sizeof(head) > frames->max)
		return -EMSGSIZE;
	for (size_t v = n;; v >>= 7) {
		head[len++] = (uint8_t)((v & 0x7f) | (v > 0x7f ? 0x80 : 0));
		if (v <= 0x7f)
			break;
	}
	r = frames->len == 0 ? sonde_buf_append(frames, "\0\0\0\0", FRAME_HEADER) : 0;
	if (r == 0)
		r = sonde_buf_append(frames, head, len);
	if (r == 0)
		r = sonde_buf_append(frames, data, n);
	if (r == 0)
		put_u32(frames->data, (uint32_t)(frames->len - FRAME_HEADER));
	return r;
}

int sonde_meters_decode(struct sonde_arena *arena, const uint8_t *data, size_t len,
			struct sonde_meters *ret)
{
	struct sonde_meters d = {0};
	size_t n = 0, at = 0;

	for (at = 0; at < len; n++) {
		if (len - at < FRAME_HEADER || len - at - FRAME_HEADER < get_u32(data + at))
			return -EBADMSG;
		at += FRAME_HEADER + get_u32(data + at);
	}
	sonde_arena_reset(arena);
	d.collection =
		sonde_arena_alloc(arena, (n + 1) * sizeof(Skywalking__V3__MeterDataCollection *));
	if (!d.collection)
		return -E2BIG;
	for (at = 0; at < len; d.n++) {
		uint32_t size = get_u32(data + at);

		d.collection[d.n] = skywalking__v3__meter_data_collection__unpack(
			&arena->allocator, size, data + at + FRAME_HEADER);
		if (!d.collection[d.n])
			return arena->full ? -E2BIG : -EBADMSG;
		at += FRAME_HEADER + size;
	}
	*ret = d;
	return 0;
}

static struct sonde_mal_label *convert_labels(struct sonde_arena *arena,
					      Skywalking__V3__Label **labels, size_t n)
{
	struct sonde_mal_label *out = sonde_arena_alloc(arena, (n + 1) * sizeof(*out));

	for (size_t i = 0; out && i < n; i++)
		out[i] = (struct sonde_mal_label){labels[i]->name, labels[i]->value};
	return out;
}

static struct sonde_mal_bucket *convert_buckets(struct sonde_arena *arena,
						const Skywalking__V3__MeterHistogram *h)
{
	struct sonde_mal_bucket *out = sonde_arena_alloc(arena, (h->n_values + 1) * sizeof(*out));

	for (size_t i = 0; out && i < h->n_values; i++)
		out[i] = (struct sonde_mal_bucket){h->values[i]->bucket, h->values[i]->count,
						   h->values[i]->isnegativeinfinity};
	return out;
}

static int convert_meter(struct sonde_arena *arena, const Skywalking__V3__MeterData *m,
			 struct sonde_mal_meter *ret)
{
	*ret = (struct sonde_mal_meter){.service = m->service,
					.instance = m->serviceinstance,
					.timestamp_ms = m->timestamp};
	if (m->metric_case == SKYWALKING__V3__METER_DATA__METRIC_SINGLE_VALUE) {
		ret->name = m->singlevalue->name;
		ret->n_labels = m->singlevalue->n_labels;
		ret->labels = convert_labels(arena, m->singlevalue->labels, ret->n_labels);
		ret->value = m->singlevalue->value;
	} else {
		ret->name = m->histogram->name;
		ret->n_labels = m->histogram->n_labels;
		ret->labels = convert_labels(arena, m->histogram->labels, ret->n_labels);
		ret->is_histogram = true;
		ret->buckets = convert_buckets(arena, m->histogram);
		ret->n_buckets = m->histogram->n_values;
		if (!ret->buckets)
			return -E2BIG;
	}
	return ret->labels ? 0 : -E2BIG;
}

/* The last service, instance and time hold for all, so those of a meter without a metric go to the last one. */
static void carry(struct sonde_mal_meter *last, const Skywalking__V3__MeterData *m)
{
	if (m->service[0] != '\0')
		last->service = m->service;
	if (m->serviceinstance[0] != '\0')
		last->instance = m->serviceinstance;
	if (m->timestamp > 0)
		last->timestamp_ms = m->timestamp;
}

int sonde_meters_fill(struct sonde_arena *arena, struct sonde_mal_batch *batch,
		      const Skywalking__V3__MeterDataCollection *c, struct sonde_mal_refusal *why)
{
	struct sonde_mal_meter *meters, last = {0};
	size_t n = 0;
	int r;

	sonde_mal_batch_reset(batch);
	meters = sonde_arena_alloc(arena, (c->n_meterdata + 1) * sizeof(*meters));
	if (!meters)
		return -E2BIG;
	for (size_t i = 0; i < c->n_meterdata; i++) {
		const Skywalking__V3__MeterData *m = c->meterdata[i];

		carry(&last, m);
		if (m->metric_case != SKYWALKING__V3__METER_DATA__METRIC_SINGLE_VALUE &&
		    m->metric_case != SKYWALKING__V3__METER_DATA__METRIC_HISTOGRAM)
			continue;
		r = convert_meter(arena, m, &meters[n++]);
		if (r < 0)
			return r;
	}
	if (n > 0) {
		meters[n - 1].service = last.service;
		meters[n - 1].instance = last.instance;
		meters[n - 1].timestamp_ms = last.timestamp_ms;
	}
	return sonde_mal_batch_add_collection(batch, meters, n, why);
}
