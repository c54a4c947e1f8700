/* SPDX-License-Identifier: Apache-2.0 */
#include "mal/series.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "mal/run.h"

#define CAP_MIN 256U
#define POINTS_MIN 8U
#define POINTS_KEPT 64U /* room that mal_series_trim() leaves alone */

/* A text of the key: where it begins in the bytes behind the places, and its length. */
struct place {
	uint32_t at, len;
};

/* The name, then key and value of each label, in the order in which they first came. */
struct mal_series_key {
	uint32_t n; /* places */
	struct place v[];
};

static const char *key_bytes(const struct mal_series_key *k)
{
	return (const char *)&k->v[k->n];
}

static uint64_t mix(uint64_t h)
{
	h *= 0xff51afd7ed558ccdULL;
	h ^= h >> 32;
	h *= 0xc4ceb9fe1a85ec53ULL;
	return h ^ (h >> 29);
}

/* A sum: equal maps have one hash whatever the order of their labels. */
static uint64_t hash_of(const struct mal_strings *strings, const struct mal_sample *s)
{
	uint64_t h = mix(strings->v[s->name].hash);

	for (uint32_t i = 0; i < s->labels->n; i++) {
		const struct mal_pair *p = &s->labels->v[i];

		h += mix(strings->v[p->key].hash * 31 ^ strings->v[p->value].hash);
	}
	return mix(h);
}

static bool is_text(const struct mal_series_key *k, uint32_t i, const struct mal_strings *strings,
		    uint32_t id)
{
	return k->v[i].len == mal_strings_len(strings, id) &&
	       memcmp(key_bytes(k) + k->v[i].at, mal_strings_text(strings, id), k->v[i].len) == 0;
}

static bool has_label(const struct mal_series_key *k, uint32_t expected,
		      const struct mal_strings *strings, const struct mal_pair *p)
{
	uint32_t at = 1 + 2 * expected;

	if (!is_text(k, at, strings, p->key))
		for (at = 1; at < k->n && !is_text(k, at, strings, p->key); at += 2)
			;
	return at < k->n && is_text(k, at + 1, strings, p->value);
}

static bool is_of(const struct mal_series *series, const struct mal_strings *strings,
		  const struct mal_sample *s)
{
	const struct mal_series_key *k = series->key;

	if (k->n != 1 + 2 * s->labels->n || !is_text(k, 0, strings, s->name))
		return false;
	for (uint32_t i = 0; i < s->labels->n; i++)
		if (!has_label(k, i, strings, &s->labels->v[i]))
			return false;
	return true;
}

/* --- the order of last use --- */

static void unlink_series(struct mal_series_table *t, struct mal_series *s)
{
	*(s->older ? &s->older->newer : &t->oldest) = s->newer;
	*(s->newer ? &s->newer->older : &t->newest) = s->older;
	s->older = s->newer = NULL;
}

static void link_newest(struct mal_series_table *t, struct mal_series *s)
{
	s->older = t->newest;
	*(t->newest ? &t->newest->newer : &t->oldest) = s;
	t->newest = s;
	s->used_s = t->now_s;
}

static size_t size_of(const struct mal_series *s)
{
	return sizeof(*s) + s->key_bytes + s->cap * sizeof(*s->v);
}

static void drop(struct mal_series_table *t, struct mal_series *s)
{
	struct mal_series **at = &t->slots[s->hash & (t->cap - 1)];

	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	unlink_series(t, s);
	t->n--;
	t->bytes -= size_of(s);
	free(s->v);
	free(s);
}

void mal_series_done(struct mal_series_table *t)
{
	while (t->oldest)
		drop(t, t->oldest);
	free((void *)t->slots);
	t->slots = NULL;
	t->cap = 0;
}

void mal_series_expire(struct mal_series_table *t, int64_t now_s)
{
	t->now_s = now_s;
	while (t->oldest && now_s - t->oldest->used_s > t->oldest->keep_s)
		drop(t, t->oldest);
}

/* --- making one --- */

static int grow(struct mal_series_table *t)
{
	uint32_t cap = t->cap ? t->cap * 2 : CAP_MIN;
	struct mal_series **slots = calloc(cap, sizeof(void *));

	if (!slots)
		return -ENOMEM;
	for (struct mal_series *s = t->oldest; s; s = s->newer) {
		s->next = slots[s->hash & (cap - 1)];
		slots[s->hash & (cap - 1)] = s;
	}
	free((void *)t->slots);
	t->slots = slots;
	t->cap = cap;
	return 0;
}

static void put_text(struct mal_series_key *k, uint32_t i, uint32_t *at,
		     const struct mal_strings *strings, uint32_t id)
{
	k->v[i] = (struct place){*at, mal_strings_len(strings, id)};
	memcpy((char *)&k->v[k->n] + *at, mal_strings_text(strings, id), k->v[i].len);
	*at += k->v[i].len;
}

static struct mal_series *new_series(const struct mal_strings *strings, const struct mal_sample *s)
{
	uint32_t n = 1 + 2 * s->labels->n, at = 0;
	size_t bytes = sizeof(struct mal_series_key) + n * sizeof(struct place) +
		       mal_strings_len(strings, s->name);
	struct mal_series *series;

	for (uint32_t i = 0; i < s->labels->n; i++)
		bytes += (size_t)mal_strings_len(strings, s->labels->v[i].key) +
			 mal_strings_len(strings, s->labels->v[i].value);
	series = calloc(1, sizeof(*series) + bytes);
	if (!series)
		return NULL;
	series->key_bytes = (uint32_t)bytes;
	series->key = (struct mal_series_key *)(series + 1);
	series->key->n = n;
	put_text(series->key, 0, &at, strings, s->name);
	for (uint32_t i = 0; i < s->labels->n; i++) {
		put_text(series->key, 1 + 2 * i, &at, strings, s->labels->v[i].key);
		put_text(series->key, 2 + 2 * i, &at, strings, s->labels->v[i].value);
	}
	return series;
}

/* The longest silent ones go until one of @bytes more has room. */
static void make_room(struct mal_series_table *t, const struct mal_series *but, size_t bytes)
{
	while (t->oldest && t->oldest != but &&
	       (t->n > SONDE_MAL_WINDOW_SERIES_MAX || t->bytes + bytes > SONDE_MAL_WINDOW_BYTES)) {
		t->refused++;
		drop(t, t->oldest);
	}
}

int mal_series_get(struct mal_series_table *t, const struct mal_strings *strings,
		   const struct mal_sample *s, struct mal_series **ret)
{
	uint64_t hash = hash_of(strings, s);
	struct mal_series *series = t->cap ? t->slots[hash & (t->cap - 1)] : NULL;

	while (series && (series->hash != hash || !is_of(series, strings, s)))
		series = series->next;
	if (series) {
		unlink_series(t, series);
		link_newest(t, series);
		*ret = series;
		return 0;
	}
	if (t->n >= t->cap && grow(t) < 0)
		return -ENOMEM;
	series = new_series(strings, s);
	if (!series)
		return -ENOMEM;
	series->hash = hash;
	series->next = t->slots[hash & (t->cap - 1)];
	t->slots[hash & (t->cap - 1)] = series;
	link_newest(t, series);
	t->n++;
	t->bytes += size_of(series);
	make_room(t, series, 0);
	*ret = series;
	return 0;
}

static int resize(struct mal_series_table *t, struct mal_series *s, uint32_t cap)
{
	struct mal_point *v = reallocarray(s->v, cap, sizeof(*v));

	if (!v)
		return -ENOMEM;
	t->bytes -= size_of(s);
	s->v = v;
	s->cap = cap;
	t->bytes += size_of(s);
	return 0;
}

int mal_series_reserve(struct mal_series_table *t, struct mal_series *s)
{
	uint32_t cap = s->cap ? s->cap * 2 : POINTS_MIN;

	if (s->n < s->cap)
		return 0;
	make_room(t, s, (cap - s->cap) * sizeof(*s->v));
	return resize(t, s, cap);
}

void mal_series_trim(struct mal_series_table *t, struct mal_series *s)
{
	if (s->cap > POINTS_KEPT && s->n < s->cap / 4)
		(void)resize(t, s, s->cap / 2);
}
