/* SPDX-License-Identifier: Apache-2.0 */
#include "mal/javatext.h"

#include <ctype.h>
#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/num.h"
#include "mal/sample.h"

/* The longest number worth reading: Java has no limit, a label does. */
#define NUMBER_MAX 512

int64_t mal_java_long(double v)
{
	if (isnan(v))
		return 0;
	if (v >= 0x1p63)
		return INT64_MAX;
	if (v < -0x1p63)
		return INT64_MIN;
	return (int64_t)v;
}

/* What strtod() takes and Java does not: inf, nan, and their spellings. */
static bool is_plain_number(const char *s, size_t n)
{
	size_t i = 0;

	if (i < n && (s[i] == '+' || s[i] == '-'))
		i++;
	return i < n && (isdigit((unsigned char)s[i]) || s[i] == '.');
}

int mal_java_double(const char *s, double *ret)
{
	char buf[NUMBER_MAX + 1];
	size_t n;
	double sign = 1;

	while (*s && (unsigned char)*s <= ' ')
		s++;
	n = strnlen(s, sizeof(buf));
	while (n > 0 && (unsigned char)s[n - 1] <= ' ')
		n--;
	if (n == 0 || n >= sizeof(buf))
		return -EINVAL;
	memcpy(buf, s, n);
	buf[n] = 0;
	s = buf;
	if (*s == '-' || *s == '+')
		sign = *s++ == '-' ? -1 : 1;
	if (strcmp(s, "Infinity") == 0) {
		*ret = sign * INFINITY;
		return 0;
	}
	if (strcmp(s, "NaN") == 0) {
		*ret = NAN;
		return 0;
	}
	if (!is_plain_number(buf, n))
		return -EINVAL;
	if (n > 1 && strchr("dDfF", buf[n - 1]) && !strpbrk(buf, "xX"))
		buf[n - 1] = 0;
	return sonde_parse_double(buf, ret);
}

int mal_java_int(const char *s, int32_t *ret)
{
	int64_t v;
	int r;

	if (s[0] == '+' && isdigit((unsigned char)s[1]))
		s++;
	r = sonde_parse_i64(s, INT32_MIN, INT32_MAX, &v);
	if (r < 0)
		return -EINVAL;
	*ret = (int32_t)v;
	return 0;
}

/* One "12", "-3" or "1.5" of a duration. */
struct part {
	double value;
	char unit;
	bool fraction;
};

static int read_part(const char **s, struct part *p)
{
	char buf[32];
	size_t n = 0, digits = 0;

	p->fraction = false;
	while (n < sizeof(buf) - 1 && (isdigit((unsigned char)**s) || **s == '.' ||
				       ((**s == '-' || **s == '+') && n == 0))) {
		if (isdigit((unsigned char)**s))
			digits++;
		if (**s == '.')
			p->fraction = true;
		buf[n++] = *(*s)++;
	}
	buf[n] = 0;
	if (digits == 0 || !**s)
		return -EINVAL;
	p->unit = (char)toupper((unsigned char)*(*s)++);
	return sonde_parse_double(buf[0] == '+' ? buf + 1 : buf, &p->value);
}

int mal_java_duration_ms(const char *s, int64_t *ret)
{
	static const char order[] = "DHMS";
	static const double unit_ms[] = {86400000, 3600000, 60000, 1000};
	double total = 0, sign = 1;
	int last = -1, parts = 0;
	bool time = false;

	if (*s == '-' || *s == '+')
		sign = *s++ == '-' ? -1 : 1;
	if (toupper((unsigned char)*s++) != 'P')
		return -EINVAL;
	while (*s) {
		struct part p;
		const char *at;

		if (toupper((unsigned char)*s) == 'T' && !time) {
			time = true;
			parts = 0;
			s++;
			continue;
		}
		if (read_part(&s, &p) < 0)
			return -EINVAL;
		at = memchr(order, p.unit, sizeof(order) - 1);
		if (!at || at - order <= last || (at == order) == time ||
		    (p.fraction && p.unit != 'S'))
			return -EINVAL;
		last = (int)(at - order);
		total += p.value * unit_ms[last];
		parts++;
	}
	if (parts == 0)
		return -EINVAL;
	total = floor(sign * total);
	if (fabs(total) > 9e15)
		return -ERANGE;
	*ret = (int64_t)total;
	return 0;
}

/* Shortest digits that read back as @v: "d.ddd" and a decimal exponent, as %e writes them. */
static int shortest(double v, char *buf, size_t size)
{
	double back;

	for (int digits = 0; digits < 17; digits++) {
		(void)snprintf(buf, size, "%.*e", digits, v);
		if (sonde_parse_double(buf, &back) == 0 && back == v)
			break;
	}
	return 0;
}

void sonde_mal_double_text(double v, char buf[static SONDE_MAL_DOUBLE_SIZE])
{
	char sci[40], digits[20];
	const char *sign = signbit(v) ? "-" : "", *e;
	int64_t exp = 0;
	size_t n = 0;

	if (isnan(v)) {
		(void)snprintf(buf, SONDE_MAL_DOUBLE_SIZE, "NaN");
		return;
	}
	if (isinf(v) || v == 0) {
		(void)snprintf(buf, SONDE_MAL_DOUBLE_SIZE, "%s%s", sign,
			       v == 0 ? "0.0" : "Infinity");
		return;
	}
	(void)shortest(fabs(v), sci, sizeof(sci));
	e = strchr(sci, 'e');
	for (const char *p = sci; p < e && n < sizeof(digits) - 1; p++)
		if (isdigit((unsigned char)*p))
			digits[n++] = *p;
	digits[n] = 0;
	if (sonde_parse_i64(e[1] == '+' ? e + 2 : e + 1, -400, 400, &exp) < 0)
		exp = 0; /* %e always writes one */
	if (exp < -3 || exp >= 7) {
		(void)snprintf(buf, SONDE_MAL_DOUBLE_SIZE, "%s%c.%sE%lld", sign, digits[0],
			       n > 1 ? digits + 1 : "0", (long long)exp);
	} else if (exp < 0) {
		(void)snprintf(buf, SONDE_MAL_DOUBLE_SIZE, "%s0.%.*s%s", sign, (int)(-exp - 1),
			       "00", digits);
	} else if ((size_t)exp + 1 >= n) {
		(void)snprintf(buf, SONDE_MAL_DOUBLE_SIZE, "%s%s%.*s.0", sign, digits,
			       (int)((size_t)exp + 1 - n), "000000");
	} else {
		(void)snprintf(buf, SONDE_MAL_DOUBLE_SIZE, "%s%.*s.%s", sign, (int)exp + 1, digits,
			       digits + exp + 1);
	}
}
