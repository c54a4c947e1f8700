/* SPDX-License-Identifier: Apache-2.0 */
#include "model/sparse-hist.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

void sonde_sparse_hist_done(struct sonde_sparse_hist *h)
{
	if (!h)
		return;
	free(h->pairs);
	*h = (struct sonde_sparse_hist){0};
}

/* Index of @bucket, or of where it belongs. */
static size_t place_of(const struct sonde_sparse_hist *h, uint32_t bucket)
{
	size_t lo = 0, hi = h->n;

	/* Mostly filled in ascending order. */
	if (h->n && h->pairs[h->n - 1].bucket < bucket)
		return h->n;
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (h->pairs[mid].bucket < bucket)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* The pair of @bucket, made with 0 where it is missing. */
static int pair_of(struct sonde_sparse_hist *h, uint32_t bucket, struct sonde_sparse_pair **ret)
{
	size_t at;

	if (bucket >= SONDE_HIST_BUCKETS)
		return -EINVAL;
	at = place_of(h, bucket);
	if (at < h->n && h->pairs[at].bucket == bucket) {
		*ret = &h->pairs[at];
		return 0;
	}
	if (h->n == h->cap) {
		size_t cap = h->cap ? h->cap * 2 : 8;
		struct sonde_sparse_pair *p = reallocarray(h->pairs, cap, sizeof(*p));

		if (!p)
			return -ENOMEM;
		h->pairs = p;
		h->cap = cap;
	}
	memmove(&h->pairs[at + 1], &h->pairs[at], (h->n - at) * sizeof(h->pairs[0]));
	h->pairs[at] = (struct sonde_sparse_pair){.bucket = bucket};
	h->n++;
	*ret = &h->pairs[at];
	return 0;
}

int sonde_sparse_hist_set(struct sonde_sparse_hist *h, uint32_t bucket, uint64_t count)
{
	struct sonde_sparse_pair *p = NULL;
	int r;

	assert(h);

	r = pair_of(h, bucket, &p);
	if (r == 0)
		p->count = count;
	return r;
}

int sonde_sparse_hist_add(struct sonde_sparse_hist *h, uint32_t bucket, uint64_t count)
{
	struct sonde_sparse_pair *p = NULL;
	int r;

	assert(h);

	r = pair_of(h, bucket, &p);
	if (r == 0)
		p->count += count;
	return r;
}

int sonde_sparse_hist_merge(struct sonde_sparse_hist *h, const struct sonde_sparse_hist *from)
{
	assert(h && from);

	for (size_t i = 0; i < from->n; i++) {
		int r = sonde_sparse_hist_add(h, from->pairs[i].bucket, from->pairs[i].count);

		if (r < 0)
			return r;
	}
	return 0;
}

int sonde_sparse_hist_copy(struct sonde_sparse_hist *h, const struct sonde_sparse_hist *from)
{
	assert(h && from && h->n == 0 && !h->pairs);

	if (from->n == 0)
		return 0;
	h->pairs = reallocarray(NULL, from->n, sizeof(h->pairs[0]));
	if (!h->pairs)
		return -ENOMEM;
	memcpy(h->pairs, from->pairs, from->n * sizeof(h->pairs[0]));
	h->n = h->cap = from->n;
	return 0;
}

int sonde_sparse_hist_add_difference(struct sonde_sparse_hist *h,
				     const struct sonde_sparse_hist *now,
				     const struct sonde_sparse_hist *then)
{
	size_t at = 0;

	assert(h && now);

	for (size_t i = 0; i < now->n; i++) {
		const struct sonde_sparse_pair *p = &now->pairs[i];
		uint32_t before = 0, difference;
		int r;

		while (then && at < then->n && then->pairs[at].bucket < p->bucket)
			at++;
		if (then && at < then->n && then->pairs[at].bucket == p->bucket)
			before = (uint32_t)then->pairs[at].count;
		difference = (uint32_t)p->count - before;
		if (!difference)
			continue;
		r = sonde_sparse_hist_add(h, p->bucket, difference);
		if (r < 0)
			return r;
	}
	return 0;
}
