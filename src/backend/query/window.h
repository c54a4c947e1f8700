/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Window: the part of a task that a question is about, in buckets of its series. A bucket is in it that begins from
 * `since` and before `until`; the answer says what those cover. The finest step is taken of which no bucket that is
 * in the window is missing (they are kept less long, and not made for want of room). Loop thread only.
 */

#include <jansson.h>

#include "backend/ingest/series.h"
#include "backend/tasks/task.h"

struct sonde_window {
	int64_t since_ms, until_ms; /* as asked; 0: open */
	bool whole;		    /* both are open */
	enum sonde_series_step step;
	int64_t start_ms, end_ms; /* what its buckets cover; 0: there are none */
};

/*
 * Does @s lack, of a bucket of @coarse that the window touches, a part that got a value? They are kept less long, and
 * not made for want of room. Of a minute that an older server wrote it is known only whether all of it is missing.
 */
bool sonde_window_lacks(const struct sonde_series *s, int64_t since_ms, int64_t until_ms,
			unsigned fine, unsigned coarse);

/* @step: wanted, or _SONDE_SERIES_STEP_MAX: the finest that is whole. */
void sonde_window_choose(const struct sonde_series_set *set, int64_t since_ms, int64_t until_ms,
			 enum sonde_series_step step, struct sonde_window *ret);

static inline bool sonde_window_has(const struct sonde_window *w, int64_t start_ms)
{
	return start_ms >= w->since_ms && (w->until_ms == 0 || start_ms < w->until_ms);
}

/*
 * All of @s in the window combined; @ret_seconds: the window's part of the minutes of the clock that have data, 0 where
 * a whole task knows none. Return: 0, -ENODATA, -ENOMEM.
 */
int sonde_window_total(const struct sonde_series *s, const struct sonde_window *w,
		       struct sonde_mal_accumulator **ret, uint32_t *ret_seconds) _must_check_;

/* Where the numbers of a task begin; 0: not yet. */
int64_t sonde_window_task_start(const struct sonde_task *t);

/* {"start", "end", "step_ms"}: of the whole task its reports' window, and no step. NULL when memory ran out. */
json_t *sonde_window_json(const struct sonde_window *w, const struct sonde_task *t);
