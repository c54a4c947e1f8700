/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* "Did you mean": the nearest known word by edit distance. */

#include <stdbool.h>
#include <stddef.h>

#include "config/config.h"

#define SONDE_HINT_WORD_MAX 64 /* longer words get no hint */

/* Letters to change, add, drop or swap; SIZE_MAX when a word is longer than SONDE_HINT_WORD_MAX. */
size_t sonde_hint_distance(const char *a, const char *b);

/* Is @known so near to @word that it may have been meant? */
bool sonde_hint_near(const char *word, const char *known, size_t *best);

/* The nearest full key or section of @table. False: none is near. */
bool sonde_hint_key(const struct sonde_option *table, const char *key,
		    char ret[static SONDE_CONFIG_KEY_MAX]);
