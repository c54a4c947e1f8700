/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/histogram.h"

#include "ctl/view.h"
#include "model/hist.h"

enum scale {
	FINE,
	NINE, /* to a decade */
	THREE,
	_SCALES,
};

static int64_t value(const json_t *bucket, size_t i)
{
	return json_integer_value(json_array_get(bucket, i));
}

static int64_t decade_of(int64_t v)
{
	int64_t decade = 1;

	while (v / decade >= 10)
		decade *= 10;
	return decade;
}

/* Begin of the row that @v lies in. */
static int64_t floor_of(enum scale scale, int64_t v)
{
	int64_t decade = decade_of(v), digit = v / decade;

	if (scale == FINE || v < 1)
		return v;
	if (scale == THREE)
		digit = digit >= 5 ? 5 : digit >= 2 ? 2 : 1;
	return digit * decade;
}

/* Where the next row begins; 0: nowhere. */
static int64_t next_of(enum scale scale, int64_t from)
{
	int64_t decade = decade_of(from), digit = from / decade;

	if (scale == FINE)
		return (int64_t)sonde_hist_report_upper_us((uint64_t)from);
	if (sonde_hist_report_upper_us((uint64_t)from) == 0)
		return 0;
	if (from < 1)
		return 1;
	if (scale == NINE)
		return (digit + 1) * decade;
	return (digit >= 5 ? 10 : digit >= 2 ? 5 : 2) * decade;
}

/* Rows from the one of @low to the one of @high. */
static size_t lay_out(enum scale scale, int64_t low, int64_t high, struct sonde_histogram *h)
{
	int64_t from = floor_of(scale, low);

	h->n = 0;
	while (h->n < SONDE_HISTOGRAM_ROWS_MAX) {
		int64_t below = next_of(scale, from);

		h->row[h->n++] = (struct sonde_histogram_row){.from = from, .below = below};
		if (below == 0 || high < below)
			break;
		from = below;
	}
	return h->n;
}

void sonde_histogram_make(const json_t *buckets, struct sonde_histogram *ret)
{
	int64_t low = -1, high = -1;
	size_t at = 0;

	*ret = (struct sonde_histogram){0};
	for (size_t i = 0; i < json_array_size(buckets); i++) {
		const json_t *bucket = json_array_get(buckets, i);

		if (value(bucket, 2) <= 0 || value(bucket, 0) < high)
			continue;
		low = low < 0 ? value(bucket, 0) : low;
		high = value(bucket, 0);
	}
	if (low < 0)
		return;
	for (enum scale s = FINE; s < _SCALES; s++) {
		if (lay_out(s, low, high, ret) <= SONDE_HISTOGRAM_ROWS)
			break;
	}
	for (size_t i = 0; i < json_array_size(buckets); i++) {
		const json_t *bucket = json_array_get(buckets, i);
		struct sonde_histogram_row *row;

		while (at + 1 < ret->n && value(bucket, 0) >= ret->row[at + 1].from)
			at++;
		row = &ret->row[at];
		row->count = sonde_view_add(row->count, value(bucket, 2));
		ret->count = sonde_view_add(ret->count, value(bucket, 2));
		ret->most = row->count > ret->most ? row->count : ret->most;
	}
}
