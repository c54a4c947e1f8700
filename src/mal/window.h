/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Window: what increase, rate and irate remember of each series between batches. A series is keyed by
 * name and labels as text, so it outlives the batch's ids. OAP keeps each for ever; here a series is
 * forgotten when that changes no number (a counter window that was silent for more than twice its range,
 * and for an hour, since reports may come late), and, counted, when all room is taken: then the one that
 * was silent longest makes room. Folder-private.
 */

#include <stdint.h>

#include "mal/family.h"

struct mal_window;

int mal_window_new(struct mal_window **ret) _must_check_;
struct mal_window *mal_window_free(struct mal_window *w);
SONDE_DEFINE_CLEANUP(struct mal_window *, mal_window_free)

void mal_window_clear(struct mal_window *w);

/* Before a run: what was silent long enough by this clock is forgotten. */
void mal_window_begin(struct mal_window *w, int64_t now_s);

/* Series and points that had to make room so far. */
uint64_t mal_window_refused(const struct mal_window *w);

/* Series held, and the bytes that they take. */
size_t mal_window_series(const struct mal_window *w, size_t *ret_bytes);

/*
 * Adds the sample and gives the lower bound of the last @range_ms, which may be the sample itself.
 * Return: 0; -EINVAL (a negative range took all that there was); -ENOMEM.
 */
int mal_window_push(struct mal_window *w, const struct mal_strings *strings,
		    const struct mal_sample *s, int64_t range_ms, int64_t *ret_ts_ms,
		    double *ret_value) _must_check_;

/*
 * The sample's value as if its counter had never begun anew: what it had reached before is added. The second
 * sample of a series at one time has no part in that. Only `strict` asks; OAP does not correct.
 */
int mal_window_correct(struct mal_window *w, const struct mal_strings *strings,
		       const struct mal_sample *s, double *ret_value) _must_check_;

/* Remembers the sample and gives the one before it, or itself. */
int mal_window_last(struct mal_window *w, const struct mal_strings *strings,
		    const struct mal_sample *s, int64_t *ret_ts_ms, double *ret_value) _must_check_;
