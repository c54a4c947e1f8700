/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Strings: text to number and back. Equal text has the same id, so the engine compares and hashes
 * numbers. Id 0 is null (no text), id 1 the empty text. Ids hold until the reset. Folder-private.
 */

#include "mal/arena.h"

#define MAL_STR_NULL 0U
#define MAL_STR_EMPTY 1U
#define MAL_STRINGS_MAX (1U << 22)

struct mal_string {
	const char *text;
	uint64_t hash; /* the same for the same text in every pool of the process */
	uint32_t len;
	int32_t java_hash;
	uint32_t tag; /* for the owner of the pool: 0 at first */
};

struct mal_strings {
	struct mal_arena arena; /* the text */
	struct mal_string *v;	/* owned; by id */
	uint32_t n, cap;
	uint32_t *table; /* owned; open addressing, 0 = free */
	uint32_t table_cap;
	uint64_t seed; /* so that nobody can choose colliding labels */
};

int mal_strings_init(struct mal_strings *s, size_t max_bytes) _must_check_;
void mal_strings_done(struct mal_strings *s);
void mal_strings_reset(struct mal_strings *s);

/* MAL_STR_NULL: not there. */
uint32_t mal_strings_find(const struct mal_strings *s, const char *text, size_t len);

/* Return: 0, -E2BIG (text limit or number of strings), -ENOMEM. */
int mal_strings_put(struct mal_strings *s, const char *text, size_t len,
		    uint32_t *ret) _must_check_;

static inline const char *mal_strings_text(const struct mal_strings *s, uint32_t id)
{
	return s->v[id].text;
}

static inline uint32_t mal_strings_len(const struct mal_strings *s, uint32_t id)
{
	return s->v[id].len;
}

/* A hash that depends on a seed, random for the process, so that nobody can choose colliding text. */
uint64_t mal_text_seed(void);
uint64_t mal_text_hash(uint64_t seed, const char *text, size_t len);

/* java.lang.String.hashCode() of UTF-8 text, over its UTF-16 form. */
int32_t mal_java_hash(const char *text, size_t len);

/* Length in UTF-16 units, which is what Java counts in. */
size_t mal_utf16_len(const char *text, size_t len);

/* Byte offset of UTF-16 unit @unit, at most @len; a pair of surrogates is not split. */
size_t mal_utf16_offset(const char *text, size_t len, size_t unit);
