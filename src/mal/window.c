/* SPDX-License-Identifier: Apache-2.0 */
#include "mal/window.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#include "base/buf.h"
#include "mal/run.h"

struct point {
	int64_t ts_ms;
	double value;
};

struct series {
	UT_hash_handle hh;  /* in the order of last use: the first was silent longest */
	struct point *heap; /* owned; smallest (ts, value) first */
	size_t n, cap;
	struct point last; /* for irate */
	bool has_last;
	size_t key_len;
	char key[];
};

struct mal_window {
	struct series *by_key; /* owned */
	struct sonde_buf key;  /* under construction */
	uint64_t refused;
	uint64_t seed;
};

#define KEY_BYTES (64U << 10)

int mal_window_new(struct mal_window **ret)
{
	struct mal_window *w = calloc(1, sizeof(*w));

	if (!w)
		return -ENOMEM;
	w->key = SONDE_BUF_INIT(KEY_BYTES);
	w->seed = mal_text_seed();
	*ret = w;
	return 0;
}

static void drop(struct mal_window *w, struct series *s)
{
	HASH_DEL(w->by_key, s);
	free(s->heap);
	free(s);
}

void mal_window_clear(struct mal_window *w)
{
	struct series *s, *next;

	HASH_ITER (hh, w->by_key, s, next)
		drop(w, s);
}

struct mal_window *mal_window_free(struct mal_window *w)
{
	if (!w)
		return NULL;
	mal_window_clear(w);
	sonde_buf_done(&w->key);
	free(w);
	return NULL;
}

uint64_t mal_window_refused(const struct mal_window *w)
{
	return w->refused;
}

/* --- series --- */

/* Labels by key, so that equal maps have one key whatever their order. */
static int make_key(struct mal_window *w, const struct mal_strings *strings,
		    const struct mal_sample *s)
{
	const struct mal_pair *sorted[SONDE_MAL_LABELS_MAX];
	uint32_t n = 0;
	int r;

	if (s->n_labels > SONDE_MAL_LABELS_MAX)
		return -E2BIG;
	for (uint32_t i = 0; i < s->n_labels; i++) {
		uint32_t at = n++;

		while (at > 0 && strcmp(mal_strings_text(strings, s->labels[i].key),
					mal_strings_text(strings, sorted[at - 1]->key)) < 0) {
			sorted[at] = sorted[at - 1];
			at--;
		}
		sorted[at] = &s->labels[i];
	}
	sonde_buf_reset(&w->key);
	r = sonde_buf_append(&w->key, mal_strings_text(strings, s->name),
			     mal_strings_len(strings, s->name) + 1);
	for (uint32_t i = 0; i < n && r == 0; i++) {
		r = sonde_buf_append(&w->key, mal_strings_text(strings, sorted[i]->key),
				     mal_strings_len(strings, sorted[i]->key) + 1);
		if (r >= 0)
			r = sonde_buf_append(&w->key, mal_strings_text(strings, sorted[i]->value),
					     mal_strings_len(strings, sorted[i]->value) + 1);
	}
	return r;
}

static int find_series(struct mal_window *w, const struct mal_strings *strings,
		       const struct mal_sample *sample, struct series **ret)
{
	struct series *s;
	uint32_t hash;
	int r = make_key(w, strings, sample);

	if (r < 0)
		return r;
	hash = mal_text_hash(w->seed, sonde_buf_str(&w->key), w->key.len);
	HASH_FIND_BYHASHVALUE(hh, w->by_key, w->key.data, w->key.len, hash, s);
	if (s) {
		HASH_DEL(w->by_key, s); /* and to the end of the order */
	} else {
		if (HASH_COUNT(w->by_key) >= SONDE_MAL_WINDOW_SERIES_MAX) {
			w->refused++;
			drop(w, w->by_key);
		}
		s = calloc(1, sizeof(*s) + w->key.len);
		if (!s)
			return -ENOMEM;
		memcpy(s->key, w->key.data, w->key.len);
		s->key_len = w->key.len;
	}
	s->hh.tbl = NULL;
	HASH_ADD_KEYPTR_BYHASHVALUE(hh, w->by_key, s->key, s->key_len, hash, s);
	if (!s->hh.tbl) { /* no memory for the table */
		free(s->heap);
		free(s);
		return -ENOMEM;
	}
	*ret = s;
	return 0;
}

/* --- the heap --- */

static bool before(const struct point *a, const struct point *b)
{
	return a->ts_ms != b->ts_ms ? a->ts_ms < b->ts_ms : a->value < b->value;
}

static void swap(struct point *a, struct point *b)
{
	struct point t = *a;

	*a = *b;
	*b = t;
}

static struct point heap_pop(struct series *s)
{
	struct point top = s->heap[0];
	size_t i = 0;

	s->heap[0] = s->heap[--s->n];
	for (;;) {
		size_t child = 2 * i + 1;

		if (child >= s->n)
			break;
		if (child + 1 < s->n && before(&s->heap[child + 1], &s->heap[child]))
			child++;
		if (!before(&s->heap[child], &s->heap[i]))
			break;
		swap(&s->heap[i], &s->heap[child]);
		i = child;
	}
	return top;
}

static int heap_push(struct mal_window *w, struct series *s, struct point p)
{
	size_t i;

	if (s->n == SONDE_MAL_WINDOW_POINTS_MAX) {
		w->refused++;
		(void)heap_pop(s);
	}
	if (s->n == s->cap) {
		size_t cap = s->cap ? s->cap * 2 : 8;
		struct point *v = reallocarray(s->heap, cap, sizeof(*v));

		if (!v)
			return -ENOMEM;
		s->heap = v;
		s->cap = cap;
	}
	i = s->n++;
	s->heap[i] = p;
	while (i > 0 && before(&s->heap[i], &s->heap[(i - 1) / 2])) {
		swap(&s->heap[i], &s->heap[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
	return 0;
}

int mal_window_push(struct mal_window *w, const struct mal_strings *strings,
		    const struct mal_sample *sample, int64_t range_ms, int64_t *ret_ts_ms,
		    double *ret_value)
{
	struct point older, lower;
	struct series *s;
	int64_t water;
	int r = find_series(w, strings, sample, &s);

	if (r >= 0)
		r = heap_push(w, s, (struct point){sample->ts_ms, sample->value});
	if (r < 0)
		return r;
	if (__builtin_sub_overflow(sample->ts_ms, range_ms, &water))
		water = range_ms > 0 ? INT64_MIN : INT64_MAX;
	older = lower = s->heap[0];
	if (lower.ts_ms <= water) {
		while (s->n > 0 && s->heap[0].ts_ms < water)
			older = heap_pop(s);
		/* a negative range can take all: what was popped last is then the answer */
		lower = s->n > 0 ? s->heap[0] : older;
		/* the nearer of the two sides of the water mark, in doubt the older */
		if ((double)water - (double)older.ts_ms <= (double)lower.ts_ms - (double)water)
			lower = older;
	}
	*ret_ts_ms = lower.ts_ms;
	*ret_value = lower.value;
	return 0;
}

int mal_window_last(struct mal_window *w, const struct mal_strings *strings,
		    const struct mal_sample *sample, int64_t *ret_ts_ms, double *ret_value)
{
	struct point now = {sample->ts_ms, sample->value};
	struct series *s;
	int r = find_series(w, strings, sample, &s);

	if (r < 0)
		return r;
	*ret_ts_ms = s->has_last ? s->last.ts_ms : now.ts_ms;
	*ret_value = s->has_last ? s->last.value : now.value;
	s->last = now;
	s->has_last = true;
	return 0;
}
