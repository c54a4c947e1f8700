/* SPDX-License-Identifier: Apache-2.0 */
#include "config/hint.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

static size_t min3(size_t a, size_t b, size_t c)
{
	if (b < a)
		a = b;
	return c < a ? c : a;
}

size_t sonde_hint_distance(const char *a, const char *b)
{
	size_t rows[3][SONDE_HINT_WORD_MAX + 1];
	size_t na = strlen(a), nb = strlen(b);

	if (na > SONDE_HINT_WORD_MAX || nb > SONDE_HINT_WORD_MAX)
		return SIZE_MAX;
	for (size_t j = 0; j <= nb; j++)
		rows[0][j] = j;
	for (size_t i = 1; i <= na; i++) {
		size_t *row = rows[i % 3], *above = rows[(i - 1) % 3];

		row[0] = i;
		for (size_t j = 1; j <= nb; j++) {
			size_t swap = SIZE_MAX;

			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				swap = rows[(i - 2) % 3][j - 2] + 1;
			row[j] = min3(above[j] + 1, row[j - 1] + 1,
				      above[j - 1] + (a[i - 1] != b[j - 1]));
			if (swap < row[j])
				row[j] = swap;
		}
	}
	return rows[na % 3][nb];
}

bool sonde_hint_near(const char *word, const char *known, size_t *best)
{
	size_t distance = sonde_hint_distance(word, known);
	size_t limit = strlen(known) < 6 ? 2 : strlen(known) / 3;

	if (distance > limit || distance >= *best)
		return false;
	*best = distance;
	return true;
}

/* A key in the wrong section: the last word alone matches. */
static bool same_last_word(const char *a, const char *b)
{
	const char *dot_a = strrchr(a, '.'), *dot_b = strrchr(b, '.');

	return strcmp(dot_a ? dot_a + 1 : a, dot_b ? dot_b + 1 : b) == 0;
}

bool sonde_hint_key(const struct sonde_option *table, const char *key,
		    char ret[static SONDE_CONFIG_KEY_MAX])
{
	char part[SONDE_CONFIG_KEY_MAX];
	size_t best = SIZE_MAX;

	for (const struct sonde_option *o = table; o->key; o++) {
		(void)snprintf(part, sizeof(part), "%s", o->key);
		for (;;) {
			char *dot;

			if (sonde_hint_near(key, part, &best))
				(void)snprintf(ret, SONDE_CONFIG_KEY_MAX, "%s", part);
			dot = strrchr(part, '.');
			if (!dot)
				break;
			*dot = '\0';
		}
	}
	for (const struct sonde_option *o = table; best == SIZE_MAX && o->key; o++) {
		if (!same_last_word(o->key, key))
			continue;
		(void)snprintf(ret, SONDE_CONFIG_KEY_MAX, "%s", o->key);
		best = 0;
	}
	return best != SIZE_MAX;
}
