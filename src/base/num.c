/* SPDX-License-Identifier: Apache-2.0 */
#include "base/num.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

struct unit {
	const char *suffix;
	uint64_t factor;
};

/* Reads the digits at the start of @s. @ret_end points behind them. */
static int digits(const char *s, uint64_t *ret, const char **ret_end)
{
	uint64_t v = 0;

	if (!isdigit((unsigned char)*s))
		return -EINVAL;
	for (; isdigit((unsigned char)*s); s++) {
		if (__builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(*s - '0'), &v))
			return -ERANGE;
	}
	*ret = v;
	*ret_end = s;
	return 0;
}

int sonde_parse_u64(const char *s, uint64_t min, uint64_t max, uint64_t *ret)
{
	const char *end;
	uint64_t v;
	int r;

	assert(s && ret);

	r = digits(s, &v, &end);
	if (r < 0)
		return r;
	if (*end != '\0')
		return -EINVAL;
	if (v < min || v > max)
		return -ERANGE;
	*ret = v;
	return 0;
}

int sonde_parse_i64(const char *s, int64_t min, int64_t max, int64_t *ret)
{
	const char *end;
	uint64_t magnitude;
	bool negative;
	int64_t v;
	int r;

	assert(s && ret);

	negative = *s == '-';
	r = digits(s + negative, &magnitude, &end);
	if (r < 0)
		return r;
	if (*end != '\0')
		return -EINVAL;
	if (negative ? magnitude > (uint64_t)INT64_MAX + 1 : magnitude > INT64_MAX)
		return -ERANGE;
	v = negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
	if (v < min || v > max)
		return -ERANGE;
	*ret = v;
	return 0;
}

int sonde_parse_double(const char *s, double *ret)
{
	char *end;
	double v;

	assert(s && ret);

	if (!isdigit((unsigned char)*s) && *s != '-' && *s != '.')
		return -EINVAL;
	errno = 0;
	v = strtod(s, &end);
	if (end == s || *end != '\0' || !isfinite(v))
		return -EINVAL;
	*ret = v;
	return 0;
}

static int number_with_unit(const char *s, const struct unit *units, size_t n_units, uint64_t *ret)
{
	const char *end;
	uint64_t v;
	int r;

	r = digits(s, &v, &end);
	if (r < 0)
		return r;
	if (*end == '\0' && v == 0) {
		*ret = 0;
		return 0;
	}
	for (size_t i = 0; i < n_units; i++) {
		if (strcmp(end, units[i].suffix) != 0)
			continue;
		if (__builtin_mul_overflow(v, units[i].factor, &v))
			return -ERANGE;
		*ret = v;
		return 0;
	}
	return -EINVAL;
}

int sonde_parse_duration_ns(const char *s, uint64_t *ret_ns)
{
	static const struct unit units[] = {
		{"ns", 1},	   {"us", 1000},       {"ms", 1000000},
		{"s", 1000000000}, {"m", 60000000000}, {"h", 3600000000000},
	};

	assert(s && ret_ns);
	return number_with_unit(s, units, ELEMENTS_OF(units), ret_ns);
}

int sonde_parse_bytes(const char *s, uint64_t *ret_bytes)
{
	static const struct unit units[] = {
		{"", 1},
		{"KiB", 1 << 10},
		{"MiB", 1 << 20},
		{"GiB", 1 << 30},
	};

	assert(s && ret_bytes);
	return number_with_unit(s, units, ELEMENTS_OF(units), ret_bytes);
}
