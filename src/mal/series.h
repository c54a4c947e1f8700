/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Series: a bounded table of what is remembered by name and labels, in the order of last use. The key is
 * text, its hash comes from the ids' own hashes, so a look-up touches little of it. Folder-private.
 */

#include <stdint.h>

#include "mal/family.h"

struct mal_point {
	int64_t ts_ms;
	double value;
};

struct mal_series_key; /* name and labels as text */

struct mal_series {
	uint64_t hash;
	struct mal_series *next;	  /* of the same slot */
	struct mal_series *older, *newer; /* by last use */
	struct mal_point *v;		  /* owned */
	uint32_t n, cap;		  /* points */
	uint32_t key_bytes;
	int64_t used_s;
	int64_t keep_s;		    /* silence that says nothing yet */
	struct mal_series_key *key; /* owned, behind this struct */
};

struct mal_series_table {
	struct mal_series **slots; /* owned */
	uint32_t cap, n;
	struct mal_series *oldest, *newest;
	size_t bytes;
	uint64_t refused; /* series and points that had to make room */
	int64_t now_s;
};

/* Drops all and the slots. */
void mal_series_done(struct mal_series_table *t);

/* Drops what is silent for longer than its keep_s. */
void mal_series_expire(struct mal_series_table *t, int64_t now_s);

/* The series of @s, made where it is new, and now the newest. Return: 0, -ENOMEM. */
int mal_series_get(struct mal_series_table *t, const struct mal_strings *strings,
		   const struct mal_sample *s, struct mal_series **ret) _must_check_;

/* Room for one point more. Return: 0, -ENOMEM. */
int mal_series_reserve(struct mal_series_table *t, struct mal_series *s) _must_check_;

/* Gives back room that points no longer take. */
void mal_series_trim(struct mal_series_table *t, struct mal_series *s);
