/* SPDX-License-Identifier: Apache-2.0 */
#include "mal/pool.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/auxv.h>

#include "base/clock.h"

#define CAP_KEPT 65536U /* strings that a reset keeps room for */

uint64_t mal_text_hash(uint64_t seed, const char *text, size_t len)
{
	uint64_t h = seed ^ (len * 0x9e3779b97f4a7c15ULL), w;

	for (; len >= 8; len -= 8, text += 8) {
		memcpy(&w, text, 8);
		h = (h ^ w) * 0xff51afd7ed558ccdULL;
		h ^= h >> 32;
	}
	w = 0;
	memcpy(&w, text, len);
	h = (h ^ w) * 0xc4ceb9fe1a85ec53ULL;
	return h ^ (h >> 29);
}

/* One code point of UTF-8; bytes that are none stand for themselves. */
static uint32_t next_char(const char *text, size_t len, size_t *pos)
{
	const uint8_t *p = (const uint8_t *)text + *pos;
	size_t left = len - *pos, n = 1;
	uint32_t c = p[0];

	if (c >= 0xc2 && c < 0xe0) {
		n = 2;
		c &= 0x1f;
	} else if (c >= 0xe0 && c < 0xf0) {
		n = 3;
		c &= 0x0f;
	} else if (c >= 0xf0 && c < 0xf5) {
		n = 4;
		c &= 0x07;
	}
	if (n > left) {
		*pos += 1;
		return p[0];
	}
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80) {
			*pos += 1;
			return p[0];
		}
		c = (c << 6) | (p[i] & 0x3f);
	}
	*pos += n;
	return c;
}

int32_t mal_java_hash(const char *text, size_t len)
{
	uint32_t h = 0;

	for (size_t pos = 0; pos < len;) {
		uint32_t c = next_char(text, len, &pos);

		if (c >= 0x10000) {
			c -= 0x10000;
			h = h * 31 + (0xd800 + (c >> 10));
			c = 0xdc00 + (c & 0x3ff);
		}
		h = h * 31 + c;
	}
	return (int32_t)h;
}

size_t mal_utf16_len(const char *text, size_t len)
{
	size_t n = 0;

	for (size_t pos = 0; pos < len;)
		n += next_char(text, len, &pos) >= 0x10000 ? 2 : 1;
	return n;
}

size_t mal_utf16_offset(const char *text, size_t len, size_t unit)
{
	size_t n = 0, pos = 0;

	while (pos < len && n < unit)
		n += next_char(text, len, &pos) >= 0x10000 ? 2 : 1;
	return pos;
}

/* The kernel gives each process 16 random bytes: one seed for all pools, without state of our own. */
uint64_t mal_text_seed(void)
{
	const void *random = (const void *)getauxval(AT_RANDOM);
	uint64_t half[2];

	if (!random)
		return sonde_mono_ns();
	memcpy(half, random, sizeof(half));
	half[0] = (half[0] ^ 0x736f6e64656d616cULL) * 0x9e3779b97f4a7c15ULL;
	half[1] = (half[1] ^ (half[0] >> 31)) * 0xff51afd7ed558ccdULL;
	return half[1] ^ (half[1] >> 33);
}

int mal_strings_init(struct mal_strings *s, size_t max_bytes)
{
	assert(s);

	*s = (struct mal_strings){.arena = MAL_ARENA_INIT(max_bytes)};
	s->seed = mal_text_seed();
	s->cap = 256;
	s->table_cap = 1024;
	s->v = calloc(s->cap, sizeof(*s->v));
	s->table = calloc(s->table_cap, sizeof(*s->table));
	if (!s->v || !s->table) {
		mal_strings_done(s);
		return -ENOMEM;
	}
	mal_strings_reset(s);
	return 0;
}

void mal_strings_done(struct mal_strings *s)
{
	if (!s)
		return;
	mal_arena_done(&s->arena);
	free(s->v);
	free(s->table);
	s->v = NULL;
	s->table = NULL;
	s->n = s->cap = s->table_cap = 0;
}

static void place(struct mal_strings *s, uint32_t id)
{
	uint32_t mask = s->table_cap - 1, i = (uint32_t)s->v[id].hash & mask;

	while (s->table[i])
		i = (i + 1) & mask;
	s->table[i] = id;
}

/* What one huge batch needed is not kept for good. */
static void shrink(struct mal_strings *s)
{
	struct mal_string *v;
	uint32_t *table;

	if (s->cap <= CAP_KEPT)
		return;
	v = malloc(CAP_KEPT * sizeof(*v));
	table = malloc(2 * CAP_KEPT * sizeof(*table));
	if (!v || !table) {
		free(v);
		free(table);
		return;
	}
	free(s->v);
	free(s->table);
	s->v = v;
	s->table = table;
	s->cap = CAP_KEPT;
	s->table_cap = 2 * CAP_KEPT;
}

void mal_strings_reset(struct mal_strings *s)
{
	assert(s && s->v);

	mal_arena_reset(&s->arena);
	shrink(s);
	memset(s->table, 0, s->table_cap * sizeof(*s->table));
	s->v[MAL_STR_NULL] = (struct mal_string){.text = ""};
	s->v[MAL_STR_EMPTY] =
		(struct mal_string){.text = "", .hash = mal_text_hash(s->seed, "", 0)};
	s->n = 2;
	place(s, MAL_STR_EMPTY);
}

static int grow(struct mal_strings *s)
{
	if (s->n == s->cap) {
		struct mal_string *v = reallocarray(s->v, (size_t)s->cap * 2, sizeof(*v));

		if (!v)
			return -ENOMEM;
		s->v = v;
		s->cap *= 2;
	}
	if (s->n >= s->table_cap / 2) {
		uint32_t *table = calloc((size_t)s->table_cap * 2, sizeof(*table));

		if (!table)
			return -ENOMEM;
		free(s->table);
		s->table = table;
		s->table_cap *= 2;
		for (uint32_t id = 1; id < s->n; id++)
			place(s, id);
	}
	return 0;
}

static uint32_t find(const struct mal_strings *s, uint64_t hash, const char *text, size_t len)
{
	uint32_t mask = s->table_cap - 1;

	for (uint32_t i = (uint32_t)hash & mask; s->table[i]; i = (i + 1) & mask) {
		const struct mal_string *e = &s->v[s->table[i]];

		if (e->hash == hash && e->len == len && memcmp(e->text, text, len) == 0)
			return s->table[i];
	}
	return MAL_STR_NULL;
}

uint32_t mal_strings_find(const struct mal_strings *s, const char *text, size_t len)
{
	return find(s, mal_text_hash(s->seed, text, len), text, len);
}

int mal_strings_put(struct mal_strings *s, const char *text, size_t len, uint32_t *ret)
{
	uint64_t hash = mal_text_hash(s->seed, text, len);
	uint32_t id = find(s, hash, text, len);
	char *copy;
	int r;

	if (id != MAL_STR_NULL) {
		*ret = id;
		return 0;
	}
	if (len > UINT32_MAX || s->n >= MAL_STRINGS_MAX)
		return -E2BIG;
	r = grow(s);
	if (r < 0)
		return r;
	copy = mal_arena_strndup(&s->arena, text, len);
	if (!copy)
		return s->arena.used + len >= s->arena.max ? -E2BIG : -ENOMEM;
	s->v[s->n] = (struct mal_string){.text = copy,
					 .len = (uint32_t)len,
					 .hash = hash,
					 .java_hash = mal_java_hash(copy, len)};
	place(s, s->n);
	*ret = s->n++;
	return 0;
}
