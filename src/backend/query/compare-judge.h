/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Compare judge: one quantity of one edge and side, in two windows. Private to compare*.c. Pure. */

#include "backend/query/compare-window.h"
#include "backend/query/statistics.h"
#include "model/meters.h"

enum sonde_compare_kind {
	SONDE_COMPARE_QUANTILE,		 /* of a histogram */
	SONDE_COMPARE_RATIO,		 /* events among all of which they could be */
	SONDE_COMPARE_PER_SECOND,	 /* events */
	SONDE_COMPARE_AMOUNT_PER_SECOND, /* bytes */
};

struct sonde_compare_quantity {
	const char *name, *unit;
	enum sonde_compare_kind kind;
	enum sonde_compare_source events;
	enum sonde_compare_source of[2]; /* of a ratio: their sum; _MAX: none */
	enum sonde_compare_histogram histogram;
	int32_t percent;
	enum sonde_meter meter; /* without it there is no such quantity */
	bool udp, client_only;
};
extern const struct sonde_compare_quantity sonde_compare_quantities[];
extern const size_t sonde_compare_n_quantities;

enum sonde_compare_verdict {
	SONDE_COMPARE_DIFFERS = 0,
	SONDE_COMPARE_BELOW_THRESHOLD, /* beyond noise, but small */
	SONDE_COMPARE_NOISE,
	SONDE_COMPARE_TOO_FEW, /* samples, or slices of time */
	SONDE_COMPARE_ABSENT,
	_SONDE_COMPARE_VERDICT_MAX,
};
const char *sonde_compare_verdict_name(enum sonde_compare_verdict v);

struct sonde_compare_value {
	bool have;
	double value;  /* quantile, ratio or rate */
	int64_t count; /* events, or samples of a quantile */
	double of;     /* of a ratio: the whole; of a rate: seconds */
};

struct sonde_compare_result {
	const struct sonde_compare_quantity *quantity; /* NULL: that the edge is there at all */
	struct sonde_compare_value a, b;
	bool tested; /* p is there */
	double p;    /* as it was; adjusted by the caller */
	double adjusted, dispersion;
	enum sonde_compare_verdict
		verdict; /* until then TOO_FEW, ABSENT, or NOISE for "to be seen" */
};

/* Cells of a histogram must be in the order of sonde_compare_sort(). */
void sonde_compare_sort(struct sonde_compare_side *s);
/* @wb, @sb and @wa, @sa may not be NULL. Return: 0, -ENOMEM. */
int sonde_compare_judge(const struct sonde_compare_quantity *q,
			const struct sonde_compare_window *wa, const struct sonde_compare_side *sa,
			const struct sonde_compare_window *wb, const struct sonde_compare_side *sb,
			uint64_t min_samples, struct sonde_compare_result *ret) _must_check_;
/*
 * Is the edge of @s, which @w has and @without has not, beyond noise none of that window? The events in it are held
 * against none in the seconds of @without, which has fewer slices or is shorter than the time between two events
 * where that says nothing. @ret has no quantity and no values.
 */
void sonde_compare_judge_presence(const struct sonde_compare_window *w,
				  const struct sonde_compare_side *s,
				  const struct sonde_compare_window *without, uint64_t min_samples,
				  struct sonde_compare_result *ret);
/* The value alone, of an edge that only one window has. Return: 0, -ENOMEM. */
int sonde_compare_measure(const struct sonde_compare_quantity *q,
			  const struct sonde_compare_window *w, const struct sonde_compare_side *s,
			  struct sonde_compare_value *ret) _must_check_;
