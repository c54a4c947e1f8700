/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Numbers from text, whole and in range or not at all. The tree uses these instead of strtol(3). */

#include <stdint.h>

#include "base/cleanup.h"

/* Decimal digits only, the whole string. Return: 0, -EINVAL (no number), -ERANGE (outside min..max). */
int sonde_parse_u64(const char *s, uint64_t min, uint64_t max, uint64_t *ret) _must_check_;

/* The same with an optional minus sign. */
int sonde_parse_i64(const char *s, int64_t min, int64_t max, int64_t *ret) _must_check_;

/* A decimal fraction as strtod(3) in the C locale reads it; inf and nan are refused. */
int sonde_parse_double(const char *s, double *ret) _must_check_;

/*
 * "250ms", "10s", "5m", "1h", "100us", "5ns"; a bare number other than 0 is refused, so that the
 * unit is always written down. Return: 0, -EINVAL, -ERANGE.
 */
int sonde_parse_duration_ns(const char *s, uint64_t *ret_ns) _must_check_;

/* "4096", "64KiB", "16MiB", "1GiB". Return: 0, -EINVAL, -ERANGE. */
int sonde_parse_bytes(const char *s, uint64_t *ret_bytes) _must_check_;

/* The sum, or the end of the range that it would pass: counts of peers that may say anything. */
static inline int64_t sonde_add_i64(int64_t a, int64_t b)
{
	int64_t sum;

	if (__builtin_add_overflow(a, b, &sum))
		return b < 0 ? INT64_MIN : INT64_MAX;
	return sum;
}
