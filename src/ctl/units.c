/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/units.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"

/* Down, not to the nearest: "1024.0 KiB" or "1000us" would name a unit that is not in use. */
static double down(double v, unsigned int decimals)
{
	double scale = decimals == 0 ? 1 : decimals == 1 ? 10 : 100;

	return floor(v * scale) / scale;
}

/* Three digits: 1.23, 12.3, 123. */
static unsigned int decimals_for(double v)
{
	return v < 10 ? 2 : v < 100 ? 1 : 0;
}

const char *sonde_unit_bytes(double bytes, char ret[static SONDE_UNIT_MAX])
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	size_t i = 0;

	while (bytes >= 1024 && i + 1 < ELEMENTS_OF(units)) {
		bytes /= 1024;
		i++;
	}
	if (i == 0)
		(void)snprintf(ret, SONDE_UNIT_MAX, "%.0f B", floor(bytes));
	else
		(void)snprintf(ret, SONDE_UNIT_MAX, "%.1f %s", down(bytes, 1), units[i]);
	return ret;
}

static const char *time_unit(double v, const char *const *units, const double *steps, size_t n,
			     char *ret)
{
	unsigned int decimals;
	size_t i = 0;

	while (i + 1 < n && v >= steps[i]) {
		v /= steps[i];
		i++;
	}
	decimals = v == floor(v) ? 0 : decimals_for(v);
	(void)snprintf(ret, SONDE_UNIT_MAX, "%.*f%s", (int)decimals, down(v, decimals), units[i]);
	return ret;
}

const char *sonde_unit_us(double us, char ret[static SONDE_UNIT_MAX])
{
	static const char *const units[] = {"us", "ms", "s"};
	static const double steps[] = {1000, 1000, INFINITY};

	return time_unit(us, units, steps, ELEMENTS_OF(units), ret);
}

const char *sonde_unit_ns(double ns, char ret[static SONDE_UNIT_MAX])
{
	static const char *const units[] = {"ns", "us", "ms", "s"};
	static const double steps[] = {1000, 1000, 1000, INFINITY};

	return time_unit(ns, units, steps, ELEMENTS_OF(units), ret);
}

const char *sonde_unit_count(int64_t n, char ret[static SONDE_UNIT_MAX])
{
	char digits[24];
	size_t len, o = 0;

	len = (size_t)snprintf(digits, sizeof(digits), "%" PRIi64, n);
	for (size_t i = 0; i < len; i++) {
		bool first = i == 0 || digits[i - 1] == '-';

		if (!first && (len - i) % 3 == 0)
			ret[o++] = ',';
		ret[o++] = digits[i];
	}
	ret[o] = '\0';
	return ret;
}

const char *sonde_unit_clock(int64_t ms, char ret[static SONDE_UNIT_MAX])
{
	int64_t s = ms < 0 ? 0 : ms / 1000;

	if (s >= 3600)
		(void)snprintf(ret, SONDE_UNIT_MAX, "%" PRIi64 ":%02d:%02d", s / 3600,
			       (int)(s / 60 % 60), (int)(s % 60));
	else
		(void)snprintf(ret, SONDE_UNIT_MAX, "%02d:%02d", (int)(s / 60), (int)(s % 60));
	return ret;
}

/* "Z", "+01:00" -> minutes east. */
static int parse_offset(const char *s, int *ret_minutes)
{
	if (strcmp(s, "Z") == 0 || strcmp(s, "z") == 0) {
		*ret_minutes = 0;
		return 0;
	}
	if ((*s != '+' && *s != '-') || strlen(s) != 6 || s[3] != ':' ||
	    strspn(s + 1, "0123456789:") != 5 || s[1] == ':' || s[2] == ':' || s[4] == ':' ||
	    s[5] == ':')
		return -EINVAL;
	*ret_minutes = ((s[1] - '0') * 10 + s[2] - '0') * 60 + (s[4] - '0') * 10 + s[5] - '0';
	if (*s == '-')
		*ret_minutes = -*ret_minutes;
	return 0;
}

/* ".250" -> 250; digits beyond milliseconds are dropped. Leaves @s behind them. */
static int parse_fraction(const char **s)
{
	int ms = 0, place = 100;

	if (**s != '.')
		return 0;
	for ((*s)++; isdigit((unsigned char)**s); (*s)++) {
		ms += (**s - '0') * place;
		place /= 10;
	}
	return ms;
}

int sonde_time_parse(const char *rfc3339, int64_t *ret_wall_ms)
{
	struct tm tm = {0};
	const char *rest;
	int minutes, ms;
	time_t t;

	assert(rfc3339 && ret_wall_ms);

	rest = strptime(rfc3339, "%Y-%m-%dT%H:%M:%S", &tm);
	if (!rest)
		return -EINVAL;
	ms = parse_fraction(&rest);
	if (parse_offset(rest, &minutes) < 0)
		return -EINVAL;
	t = timegm(&tm);
	/* SkyWalking and our server never go beyond: also keeps the product in range */
	if (t < 0 || t > 253402300799)
		return -EINVAL;
	*ret_wall_ms = ((int64_t)t - minutes * 60LL) * 1000 + ms;
	return 0;
}

const char *sonde_time_local(int64_t wall_ms, bool utc, char ret[static SONDE_UNIT_MAX])
{
	time_t t = (time_t)(wall_ms / 1000);
	struct tm tm = {0};
	char day[24], zone[16];

	if (utc)
		(void)gmtime_r(&t, &tm);
	else
		(void)localtime_r(&t, &tm);
	if (strftime(day, sizeof(day), "%Y-%m-%d %H:%M:%S", &tm) == 0 ||
	    strftime(zone, sizeof(zone), "%Z", &tm) == 0)
		day[0] = zone[0] = '\0';
	(void)snprintf(ret, SONDE_UNIT_MAX, "%s.%03d %s", day, (int)(wall_ms % 1000),
		       utc ? "UTC" : zone);
	return ret;
}
