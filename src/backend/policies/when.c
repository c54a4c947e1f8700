/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/policies/when.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/clock.h"
#include "base/num.h"

#define MINUTE_MS 60000LL
#define DAY_MIN 1440
#define DAY_MS (DAY_MIN * MINUTE_MS)
#define ALL_DAYS 0x7f

static const char *const day_names[] = {"mon", "tue", "wed", "thu", "fri", "sat", "sun"};

static const char wanted[] =
	"expected 'every INTERVAL', or 'at HH:MM UTC' or 'at HH:MM +HH:MM', then 'on DAY,DAY' if not each day";

/* "02:30": two digits each. Return: minutes, -EINVAL. */
static int read_clock(const char *s, int max_hour)
{
	int hour, minute;

	if (!isdigit((unsigned char)s[0]) || !isdigit((unsigned char)s[1]) || s[2] != ':' ||
	    !isdigit((unsigned char)s[3]) || !isdigit((unsigned char)s[4]))
		return -EINVAL;
	hour = (s[0] - '0') * 10 + s[1] - '0';
	minute = (s[3] - '0') * 10 + s[4] - '0';
	return hour > max_hour || minute > 59 ? -EINVAL : hour * 60 + minute;
}

static int read_every(const char *word, struct sonde_when *w, const char **ret_words)
{
	uint64_t ns;

	*ret_words = "every: expected an interval of 10s to 168h, in whole seconds";
	if (!word || sonde_parse_duration_ns(word, &ns) < 0 || ns % SONDE_NS_PER_S ||
	    ns / SONDE_NS_PER_MS < (uint64_t)SONDE_WHEN_EVERY_MIN_MS ||
	    ns / SONDE_NS_PER_MS > (uint64_t)SONDE_WHEN_EVERY_MAX_MS)
		return -EINVAL;
	w->every_ms = (int64_t)(ns / SONDE_NS_PER_MS);
	return 0;
}

static int read_offset(const char *word, struct sonde_when *w)
{
	int minutes;

	if (strcmp(word, "UTC") == 0)
		return 0;
	if ((word[0] != '+' && word[0] != '-') || strlen(word) != 6)
		return -EINVAL;
	minutes = read_clock(word + 1, 14);
	if (minutes < 0 || minutes > SONDE_WHEN_OFFSET_MAX_MIN)
		return -EINVAL;
	w->offset_min = (int16_t)(word[0] == '-' ? -minutes : minutes);
	return 0;
}

static int read_days(char *list, struct sonde_when *w)
{
	char *at = NULL;

	/* strtok_r() would let an empty entry pass */
	if (list[0] == ',' || strstr(list, ",,") || list[strlen(list) - 1] == ',')
		return -EINVAL;
	w->days = 0;
	for (char *day = strtok_r(list, ",", &at); day; day = strtok_r(NULL, ",", &at)) {
		unsigned i = 0;

		while (i < ELEMENTS_OF(day_names) && strcmp(day, day_names[i]) != 0)
			i++;
		if (i == ELEMENTS_OF(day_names) || w->days & 1U << i)
			return -EINVAL;
		w->days |= (uint8_t)(1U << i);
	}
	return w->days ? 0 : -EINVAL;
}

static int read_at(char **words, size_t n, struct sonde_when *w, const char **ret_words)
{
	int minute;

	*ret_words = "at: expected a time of day as 02:30, 00:00 to 23:59";
	minute = n > 1 && strlen(words[1]) == 5 ? read_clock(words[1], 23) : -EINVAL;
	if (minute < 0)
		return -EINVAL;
	w->minute = (int16_t)minute;
	*ret_words = "at HH:MM: expected its offset next, UTC or as +05:30, -14:00 to +14:00";
	if (n < 3 || read_offset(words[2], w) < 0)
		return -EINVAL;
	w->days = ALL_DAYS;
	*ret_words = "on: expected days by comma, each once, of mon, tue, wed, thu, fri, sat, sun";
	if (n == 5 && strcmp(words[3], "on") == 0)
		return read_days(words[4], w);
	return n == 3 ? 0 : -EINVAL;
}

int sonde_when_parse(const char *text, struct sonde_when *ret, const char **ret_words)
{
	char copy[SONDE_WHEN_TEXT_MAX], *words[6] = {NULL}, *at = NULL;
	struct sonde_when w = {0};
	size_t n = 0;
	int r = -EINVAL;

	assert(text && ret && ret_words);

	*ret_words = wanted;
	if (strlen(text) >= sizeof(copy))
		return -EINVAL;
	memcpy(copy, text, strlen(text) + 1);
	for (char *word = strtok_r(copy, " ", &at); word && n < ELEMENTS_OF(words);
	     word = strtok_r(NULL, " ", &at))
		words[n++] = word;
	if (n == 2 && strcmp(words[0], "every") == 0)
		r = read_every(words[1], &w, ret_words);
	else if (n > 0 && strcmp(words[0], "at") == 0)
		r = read_at(words, n, &w, ret_words);
	if (r == 0)
		*ret = w;
	return r;
}

/* Rounded down, also below 0. */
static int64_t floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

/* A day since 1970 by the offset's calendar; the first was a Thursday. */
static bool is_on(const struct sonde_when *w, int64_t day)
{
	int64_t weekday = (day + 3) - floor_div(day + 3, 7) * 7;

	return w->days >> weekday & 1;
}

int64_t sonde_when_next(const struct sonde_when *w, int64_t after_ms)
{
	const int64_t offset_ms = w->offset_min * MINUTE_MS;
	int64_t day, at_ms;

	assert(w->every_ms > 0 || w->days);

	if (w->every_ms > 0)
		return (floor_div(after_ms, w->every_ms) + 1) * w->every_ms;
	day = floor_div(after_ms + offset_ms, DAY_MS);
	do {
		at_ms = day * DAY_MS + w->minute * MINUTE_MS - offset_ms;
	} while (!is_on(w, day++) || at_ms <= after_ms);
	return at_ms;
}

uint64_t sonde_when_count(const struct sonde_when *w, int64_t after_ms, int64_t until_ms,
			  int64_t *ret_last)
{
	uint64_t n = 0;

	if (w->every_ms > 0) {
		int64_t first = sonde_when_next(w, after_ms);

		if (first > until_ms)
			return 0;
		n = (uint64_t)((until_ms - first) / w->every_ms);
		*ret_last = first + (int64_t)n * w->every_ms;
		return n + 1;
	}
	/* Once a day at most: ten years are 3,653 steps. */
	for (int64_t at = sonde_when_next(w, after_ms); at <= until_ms;
	     at = sonde_when_next(w, at)) {
		*ret_last = at;
		n++;
	}
	return n;
}
