/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/json.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/nesting.h"
#include "base/num.h"
#include "base/utf8.h"

json_t *sonde_json_time(int64_t wall_ms)
{
	time_t s = (time_t)(wall_ms / 1000);
	char text[64];
	struct tm tm;

	if (wall_ms <= 0 || !gmtime_r(&s, &tm) || tm.tm_year > 9999 - 1900)
		return json_null();
	(void)snprintf(text, sizeof(text), "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900,
		       tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
		       (int)(wall_ms % 1000));
	return json_string(text);
}

/* @n digits. Return: 0, -EINVAL. */
static int read_digits(const char **at, int n, int *ret)
{
	*ret = 0;
	for (; n > 0; n--, (*at)++) {
		if (!isdigit((unsigned char)**at))
			return -EINVAL;
		*ret = *ret * 10 + (**at - '0');
	}
	return 0;
}

/* Of the part behind the seconds, in milliseconds; what is finer is cut off. */
static int read_fraction(const char **at, int *ret)
{
	int weight = 100;

	*ret = 0;
	if (**at != '.')
		return 0;
	if (!isdigit((unsigned char)*++*at))
		return -EINVAL;
	for (; isdigit((unsigned char)**at); (*at)++) {
		*ret += (**at - '0') * weight;
		weight /= 10;
	}
	return 0;
}

int sonde_json_parse_time(const char *text, int64_t *ret_ms)
{
	static const struct {
		int digits;
		char behind; /* 0: a fraction, or the end */
	} part[] = {{4, '-'}, {2, '-'}, {2, 'T'}, {2, ':'}, {2, ':'}, {2, 0}};
	int n[ELEMENTS_OF(part)], ms;
	struct tm tm = {0}, same;
	uint64_t whole;
	time_t s;

	if (sonde_parse_u64(text, 0, INT64_MAX / 2, &whole) == 0) {
		*ret_ms = (int64_t)whole;
		return 0;
	}
	for (size_t i = 0; i < ELEMENTS_OF(part); i++) {
		if (read_digits(&text, part[i].digits, &n[i]) < 0 ||
		    (part[i].behind && *text++ != part[i].behind))
			return -EINVAL;
	}
	if (read_fraction(&text, &ms) < 0 || strcmp(text, "Z") != 0)
		return -EINVAL;
	tm = (struct tm){.tm_year = n[0] - 1900,
			 .tm_mon = n[1] - 1,
			 .tm_mday = n[2],
			 .tm_hour = n[3],
			 .tm_min = n[4],
			 .tm_sec = n[5]};
	same = tm;
	s = timegm(&same); /* which makes a 1st of March of a 29th of February that is none */
	if (s < 0 || same.tm_mon != tm.tm_mon || same.tm_mday != tm.tm_mday ||
	    same.tm_hour != tm.tm_hour || same.tm_min != tm.tm_min || same.tm_sec != tm.tm_sec)
		return -EINVAL;
	*ret_ms = (int64_t)s * 1000 + ms;
	return 0;
}

json_t *sonde_json_text(const char *text)
{
	static const char replacement[3] = {'\xef', '\xbf', '\xbd'}; /* U+FFFD */
	_cleanup_free_ char *clean = NULL;
	size_t at = 0, n, left;
	json_t *j;

	text = text ? text : "";
	j = json_string(text);
	if (j)
		return j;
	left = strlen(text);
	clean = malloc(3 * left + 1);
	if (!clean)
		return NULL;
	while (left > 0) {
		n = sonde_utf8_length(text, left);
		if (n > 0) {
			memcpy(clean + at, text, n);
			at += n;
		} else {
			memcpy(clean + at, replacement, sizeof(replacement));
			at += sizeof(replacement);
			n = 1;
		}
		text += n;
		left -= n;
	}
	return json_stringn(clean, at);
}

json_t *sonde_json_text_or_null(const char *text)
{
	return text && text[0] ? sonde_json_text(text) : json_null();
}

int sonde_json_parse(const char *text, size_t n, json_t **ret, int *ret_line,
		     char ret_words[static 160])
{
	json_error_t error;
	json_t *j;

	/* jansson recurses up to 2,048 deep */
	if (!sonde_json_shallow(text, n, SONDE_JSON_DEPTH_MAX)) {
		(void)snprintf(ret_words, 160, "nested deeper than %d", SONDE_JSON_DEPTH_MAX);
		return -E2BIG;
	}
	j = json_loadb(text, n, JSON_REJECT_DUPLICATES, &error);
	if (!j) {
		*ret_line = error.line;
		(void)snprintf(ret_words, 160, "line %d, column %d: %.120s", error.line,
			       error.column, error.text);
		return -EINVAL;
	}
	*ret = j;
	return 0;
}

const char *sonde_json_get_text(const json_t *object, const char *key, const char *fallback)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : fallback;
}

int64_t sonde_json_get_int(const json_t *object, const char *key, int64_t fallback)
{
	const json_t *j = json_object_get(object, key);

	return json_is_integer(j) ? (int64_t)json_integer_value(j) : fallback;
}

int sonde_json_set(json_t *object, const char *key, json_t *value)
{
	return json_object_set_new(object, key, value) < 0 ? -ENOMEM : 0;
}

int sonde_json_append(json_t *array, json_t *value)
{
	return json_array_append_new(array, value) < 0 ? -ENOMEM : 0;
}
