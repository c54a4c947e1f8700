/* SPDX-License-Identifier: Apache-2.0 */
#include "mal/window.h"

#include <assert.h>
#include <errno.h>

#include "mal/run.h"
#include "mal/series.h"

#define RANGE_MAX_MS (365LL * 24 * 3600 * 1000) /* beyond it a series only goes for want of room */

/* OAP has two tables as well: a series that has both kinds of functions is in both. */
struct mal_window {
	struct mal_series_table
		ranges; /* increase, rate: a heap of points, smallest (ts, value) first */
	struct mal_series_table lasts; /* irate: the last point */
	struct mal_series_table
		resets; /* strict: the last point, and what had been reached before */
};

int mal_window_new(struct mal_window **ret)
{
	struct mal_window *w = calloc(1, sizeof(*w));

	if (!w)
		return -ENOMEM;
	*ret = w;
	return 0;
}

void mal_window_clear(struct mal_window *w)
{
	mal_series_done(&w->ranges);
	mal_series_done(&w->lasts);
	mal_series_done(&w->resets);
}

struct mal_window *mal_window_free(struct mal_window *w)
{
	if (!w)
		return NULL;
	mal_window_clear(w);
	free(w);
	return NULL;
}

void mal_window_begin(struct mal_window *w, int64_t now_s)
{
	mal_series_expire(&w->ranges, now_s);
	mal_series_expire(&w->lasts, now_s);
	mal_series_expire(&w->resets, now_s);
}

uint64_t mal_window_refused(const struct mal_window *w)
{
	return w->ranges.refused + w->lasts.refused + w->resets.refused;
}

size_t mal_window_series(const struct mal_window *w, size_t *ret_bytes)
{
	*ret_bytes = w->ranges.bytes + w->lasts.bytes + w->resets.bytes;
	return w->ranges.n + w->lasts.n + w->resets.n;
}

/* --- the heap --- */

static bool before(const struct mal_point *a, const struct mal_point *b)
{
	return a->ts_ms != b->ts_ms ? a->ts_ms < b->ts_ms : a->value < b->value;
}

static void swap(struct mal_point *a, struct mal_point *b)
{
	struct mal_point t = *a;

	*a = *b;
	*b = t;
}

static struct mal_point heap_pop(struct mal_series *s)
{
	struct mal_point top = s->v[0];
	uint32_t i = 0;

	s->v[0] = s->v[--s->n];
	for (;;) {
		uint32_t child = 2 * i + 1;

		if (child >= s->n)
			break;
		if (child + 1 < s->n && before(&s->v[child + 1], &s->v[child]))
			child++;
		if (!before(&s->v[child], &s->v[i]))
			break;
		swap(&s->v[i], &s->v[child]);
		i = child;
	}
	return top;
}

static int heap_push(struct mal_series_table *t, struct mal_series *s, struct mal_point p)
{
	uint32_t i;
	int r;

	if (s->n == SONDE_MAL_WINDOW_POINTS_MAX) {
		t->refused++;
		(void)heap_pop(s);
	}
	r = mal_series_reserve(t, s);
	if (r < 0)
		return r;
	i = s->n++;
	s->v[i] = p;
	while (i > 0 && before(&s->v[i], &s->v[(i - 1) / 2])) {
		swap(&s->v[i], &s->v[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
	return 0;
}

/*
 * After a silence of more than twice the range, OAP pops all that it has and takes the new sample as its own
 * lower bound: as if the series were new. So no number tells that it was forgotten.
 */
static void keep_for(struct mal_series *s, int64_t range_ms)
{
	int64_t keep_s = SONDE_MAL_WINDOW_SILENT_S;

	if (range_ms > RANGE_MAX_MS)
		keep_s = INT64_MAX;
	else if (range_ms > 0)
		keep_s += 2 * range_ms / 1000;
	if (keep_s > s->keep_s)
		s->keep_s = keep_s;
}

int mal_window_push(struct mal_window *w, const struct mal_strings *strings,
		    const struct mal_sample *sample, int64_t range_ms, int64_t *ret_ts_ms,
		    double *ret_value)
{
	struct mal_point older, lower;
	struct mal_series *s;
	int64_t water;
	int r = mal_series_get(&w->ranges, strings, sample, &s);

	if (r >= 0)
		r = heap_push(&w->ranges, s, (struct mal_point){sample->ts_ms, sample->value});
	if (r < 0)
		return r;
	keep_for(s, range_ms);
	if (__builtin_sub_overflow(sample->ts_ms, range_ms, &water))
		water = range_ms > 0 ? INT64_MIN : INT64_MAX;
	older = lower = s->v[0];
	if (lower.ts_ms <= water) {
		while (s->n > 0 && s->v[0].ts_ms < water)
			older = heap_pop(s);
		if (s->n == 0)
			return -EINVAL;
		lower = s->v[0];
		/* the nearer of the two sides of the water mark, in doubt the older */
		if ((double)water - (double)older.ts_ms <= (double)lower.ts_ms - (double)water)
			lower = older;
		mal_series_trim(&w->ranges, s);
	}
	*ret_ts_ms = lower.ts_ms;
	*ret_value = lower.value;
	return 0;
}

int mal_window_correct(struct mal_window *w, const struct mal_strings *strings,
		       const struct mal_sample *sample, double *ret_value)
{
	struct mal_series *s;
	int r = mal_series_get(&w->resets, strings, sample, &s);

	while (r >= 0 && s->n < 2) {
		r = mal_series_reserve(&w->resets, s);
		if (r >= 0)
			s->v[s->n++] = (struct mal_point){INT64_MIN, s->n == 0 ? sample->value : 0};
	}
	if (r < 0)
		return r;
	s->keep_s = INT64_MAX;
	if (sample->ts_ms > s->v[0].ts_ms) {
		if (sample->value < s->v[0].value)
			s->v[1].value += s->v[0].value;
		s->v[0] = (struct mal_point){sample->ts_ms, sample->value};
	}
	*ret_value = sample->value + s->v[1].value;
	return 0;
}

int mal_window_last(struct mal_window *w, const struct mal_strings *strings,
		    const struct mal_sample *sample, int64_t *ret_ts_ms, double *ret_value)
{
	struct mal_point now = {sample->ts_ms, sample->value}, before_it = now;
	struct mal_series *s;
	int r = mal_series_get(&w->lasts, strings, sample, &s);

	if (r >= 0 && s->n > 0)
		before_it = s->v[0];
	if (r >= 0 && s->n == 0)
		r = mal_series_reserve(&w->lasts, s);
	if (r < 0)
		return r;
	s->keep_s = INT64_MAX; /* the next value needs this one, however late it comes */
	s->v[0] = now;
	s->n = 1;
	*ret_ts_ms = before_it.ts_ms;
	*ret_value = before_it.value;
	return 0;
}
