/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/query/window.h"

#include <assert.h>
#include <errno.h>

#include "backend/json.h"

#define MINUTE_MS (60LL * 1000)

struct span {
	int64_t from_ms, to_ms;
};

static bool touches(const struct span *at, int64_t since_ms, int64_t until_ms)
{
	return at->to_ms > since_ms && (until_ms == 0 || at->from_ms < until_ms);
}

/* *@at goes on through @s's buckets of @step, as the spans do. */
static bool has_bucket(const struct sonde_series *s, unsigned step, const struct span *in,
		       size_t *at)
{
	while (*at < s->step[step].n && s->step[step].bucket[*at].start_ms < in->from_ms)
		++*at;
	return *at < s->step[step].n && s->step[step].bucket[*at].start_ms < in->to_ms;
}

bool sonde_window_lacks(const struct sonde_series *s, int64_t since_ms, int64_t until_ms,
			unsigned fine, unsigned coarse)
{
	size_t at = 0;

	assert(fine < coarse);

	for (size_t i = 0; i < s->step[coarse].n; i++) {
		const struct sonde_series_bucket *b = &s->step[coarse].bucket[i];
		int64_t part_ms = sonde_series_step_ms[coarse - 1];
		struct span all = {b->start_ms, b->start_ms + sonde_series_step_ms[coarse]};

		if (!touches(&all, since_ms, until_ms))
			continue;
		if (b->parts == 0 && !has_bucket(s, fine, &all, &at))
			return true;
		for (uint64_t left = b->parts; left != 0; left &= left - 1) {
			int64_t from_ms = b->start_ms + __builtin_ctzll(left) * part_ms;
			struct span part = {from_ms, from_ms + part_ms};

			if (touches(&part, since_ms, until_ms) && !has_bucket(s, fine, &part, &at))
				return true;
		}
	}
	return false;
}

static bool is_whole(const struct sonde_series_set *set, const struct sonde_window *w,
		     unsigned step)
{
	for (const struct sonde_series *s = set->series; s; s = s->hh.next) {
		for (unsigned coarse = step + 1; coarse < _SONDE_SERIES_STEP_MAX; coarse++) {
			if (sonde_window_lacks(s, w->since_ms, w->until_ms, step, coarse))
				return false;
		}
	}
	return true;
}

static void cover(struct sonde_window *w, const struct sonde_series *s)
{
	for (size_t i = 0; i < s->step[w->step].n; i++) {
		int64_t start = s->step[w->step].bucket[i].start_ms;
		int64_t end = start + sonde_series_step_ms[w->step];

		if (!sonde_window_has(w, start))
			continue;
		if (w->start_ms == 0 || start < w->start_ms)
			w->start_ms = start;
		if (end > w->end_ms)
			w->end_ms = end;
	}
}

void sonde_window_choose(const struct sonde_series_set *set, int64_t since_ms, int64_t until_ms,
			 enum sonde_series_step step, struct sonde_window *ret)
{
	struct sonde_window w = {.since_ms = since_ms,
				 .until_ms = until_ms,
				 .whole = since_ms == 0 && until_ms == 0,
				 .step = step};

	if (step == _SONDE_SERIES_STEP_MAX) {
		w.step = 0;
		while (w.step + 1 < _SONDE_SERIES_STEP_MAX && !is_whole(set, &w, w.step))
			w.step++;
	}
	for (const struct sonde_series *s = set->series; s; s = s->hh.next)
		cover(&w, s);
	*ret = w;
}

static int64_t up_to_step(int64_t ms, unsigned step)
{
	int64_t step_ms = sonde_series_step_ms[step];

	return (ms + step_ms - 1) / step_ms * step_ms;
}

/* How much of the minute of @b is in the window: one that begins or ends within a minute has only a part of it. */
static uint32_t seconds_of(const struct sonde_window *w, const struct sonde_series_bucket *b)
{
	int64_t from_ms = b->start_ms - b->start_ms % MINUTE_MS, to_ms = from_ms + MINUTE_MS;
	int64_t since_ms = up_to_step(w->since_ms, w->step);
	int64_t until_ms = up_to_step(w->until_ms, w->step);

	if (w->step == SONDE_SERIES_1H)
		return 60 * (uint32_t)__builtin_popcountll(b->parts);
	from_ms = since_ms > from_ms ? since_ms : from_ms;
	to_ms = until_ms > 0 && until_ms < to_ms ? until_ms : to_ms;
	return (uint32_t)((to_ms - from_ms) / 1000);
}

int sonde_window_total(const struct sonde_series *s, const struct sonde_window *w,
		       struct sonde_mal_accumulator **ret, uint32_t *ret_seconds)
{
	_cleanup_(sonde_mal_accumulator_freep) struct sonde_mal_accumulator *sum = NULL;
	int64_t minute = -1;
	uint32_t seconds = 0;
	int r;

	if (w->whole) {
		r = sonde_series_total(s, ret);
		if (r == 0)
			*ret_seconds = 60 * sonde_series_minutes(s);
		return r;
	}
	r = sonde_mal_accumulator_new(&s->function, &sum);
	for (size_t i = 0; i < s->step[w->step].n && r == 0; i++) {
		const struct sonde_series_bucket *b = &s->step[w->step].bucket[i];

		if (!sonde_window_has(w, b->start_ms))
			continue;
		r = sonde_mal_accumulator_combine(sum, b->acc);
		if (b->start_ms / MINUTE_MS != minute)
			seconds += seconds_of(w, b);
		minute = b->start_ms / MINUTE_MS;
	}
	if (r < 0)
		return r;
	if (seconds == 0)
		return -ENODATA;
	*ret = TAKE_PTR(sum);
	*ret_seconds = seconds;
	return 0;
}

int64_t sonde_window_task_start(const struct sonde_task *t)
{
	return t->window_start_ms ? t->window_start_ms : t->started_ms;
}

json_t *sonde_window_json(const struct sonde_window *w, const struct sonde_task *t)
{
	if (w->whole)
		return json_pack("{s:o, s:o, s:n}", "start",
				 sonde_json_time(sonde_window_task_start(t)), "end",
				 sonde_json_time(t->window_end_ms), "step_ms");
	return json_pack("{s:o, s:o, s:I}", "start", sonde_json_time(w->start_ms), "end",
			 sonde_json_time(w->end_ms), "step_ms",
			 (json_int_t)sonde_series_step_ms[w->step]);
}
