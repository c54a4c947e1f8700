/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/tasks/ranges.h"

#include <errno.h>
#include <string.h>

/* The first range that ends at or behind @sequence - 1, i.e. that may take it or lies behind it. */
static size_t place(const struct sonde_ranges *r, uint64_t sequence)
{
	size_t i = r->n;

	while (i > 0 && r->range[i - 1].last >= sequence - 1)
		i--;
	return i;
}

static void join_next(struct sonde_ranges *r, size_t i)
{
	if (i + 1 >= r->n || r->range[i].last + 1 != r->range[i + 1].first)
		return;
	r->range[i].last = r->range[i + 1].last;
	memmove(&r->range[i + 1], &r->range[i + 2], (r->n - i - 2) * sizeof(r->range[0]));
	r->n--;
}

int sonde_ranges_add(struct sonde_ranges *r, uint64_t sequence)
{
	size_t i;

	if (sequence == 0 || sequence > INT64_MAX) /* the stored form has no larger numbers */
		return -EINVAL;
	i = place(r, sequence);
	if (i < r->n && r->range[i].first <= sequence && sequence <= r->range[i].last)
		return -EEXIST;
	if (i < r->n && r->range[i].last == sequence - 1) {
		if (i + 1 < r->n && r->range[i + 1].first == sequence)
			return -EEXIST;
		r->range[i].last = sequence;
		join_next(r, i);
	} else if (i < r->n && r->range[i].first == sequence + 1) {
		r->range[i].first = sequence;
	} else {
		if (r->n == SONDE_RANGES_MAX)
			return -ENOSPC;
		memmove(&r->range[i + 1], &r->range[i], (r->n - i) * sizeof(r->range[0]));
		r->range[i].first = r->range[i].last = sequence;
		r->n++;
	}
	r->received++;
	return 0;
}

uint64_t sonde_ranges_highest(const struct sonde_ranges *r)
{
	return r->n ? r->range[r->n - 1].last : 0;
}

uint64_t sonde_ranges_missing(const struct sonde_ranges *r)
{
	return sonde_ranges_highest(r) - r->received;
}

json_t *sonde_ranges_json(const struct sonde_ranges *r)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < r->n; i++) {
		if (json_array_append_new(list, json_pack("[I,I]", (json_int_t)r->range[i].first,
							  (json_int_t)r->range[i].last)) < 0) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

int sonde_ranges_from_json(struct sonde_ranges *r, const json_t *j)
{
	struct sonde_ranges out = {0};
	size_t n = json_array_size(j);

	if (n > SONDE_RANGES_MAX)
		return -EBADMSG;
	for (size_t i = 0; i < n; i++) {
		const json_t *pair = json_array_get(j, i);
		json_int_t first = json_integer_value(json_array_get(pair, 0));
		json_int_t last = json_integer_value(json_array_get(pair, 1));

		if (first < 1 || last < first ||
		    (i > 0 && (uint64_t)first <= out.range[i - 1].last + 1))
			return -EBADMSG;
		out.range[i].first = (uint64_t)first;
		out.range[i].last = (uint64_t)last;
		out.received += (uint64_t)(last - first) + 1;
	}
	out.n = n;
	*r = out;
	return 0;
}
