/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * When: the times of a schedule, from words that a person reads at once:
 *
 *   every 6h                       at each whole multiple of six hours since 1970 UTC
 *   at 02:30 UTC                   each day
 *   at 02:30 +05:30 on mon,thu     by the calendar of that offset
 *
 * The offset is said, never the machine's. No jitter. A plain value; pure.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"

#define SONDE_WHEN_TEXT_MAX 64 /* with NUL */
#define SONDE_WHEN_EVERY_MIN_MS (10LL * 1000)
#define SONDE_WHEN_EVERY_MAX_MS (7LL * 24 * 3600 * 1000)
#define SONDE_WHEN_OFFSET_MAX_MIN (14 * 60)

struct sonde_when {
	int64_t every_ms;   /* 0: at a time of day */
	int16_t minute;	    /* of the day, by the offset's clock */
	int16_t offset_min; /* east of UTC */
	uint8_t days;	    /* bit 0 is Monday; of a time of day at least one */
};

/* Return: 0, -EINVAL with words on what was expected in @ret_words (static). */
int sonde_when_parse(const char *text, struct sonde_when *ret, const char **ret_words) _must_check_;

static inline bool sonde_when_equal(const struct sonde_when *a, const struct sonde_when *b)
{
	return a->every_ms == b->every_ms && a->minute == b->minute &&
	       a->offset_min == b->offset_min && a->days == b->days;
}

/* The first time behind @after_ms. */
int64_t sonde_when_next(const struct sonde_when *w, int64_t after_ms);

/* How many times lie behind @after_ms and not behind @until_ms; *@ret_last is the last of them, set if there is one. */
uint64_t sonde_when_count(const struct sonde_when *w, int64_t after_ms, int64_t until_ms,
			  int64_t *ret_last);
