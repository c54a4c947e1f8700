/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Family: what every expression evaluates to, an array of samples with an optional set of
 * entities. Labels are sets of interned ids. Families are values: an operation makes a new one and
 * shares what it does not change. All memory is the run's arena's. Folder-private.
 */

#include <stdbool.h>

#include "mal/sample.h"
#include "mal/set.h"

struct mal_sample {
	const struct mal_set *labels;
	uint32_t name;
	double value;
	int64_t ts_ms;
};

struct mal_entity_group; /* entity.h */

struct mal_family {
	const struct mal_sample *v;
	size_t n;			       /* 0: the EMPTY family */
	bool milliseconds;		       /* default unit of histogram() */
	const struct mal_entity_group *groups; /* NULL: no entity call yet */
	size_t n_groups;
};

/* The batch as the evaluator sees it. */
struct mal_batch_family {
	uint32_t name;
	struct mal_sample *v; /* owned by the batch */
	size_t n, cap;
};

struct mal_strings *mal_batch_strings(struct sonde_mal_batch *b);
struct mal_sets *mal_batch_sets(struct sonde_mal_batch *b);

/* All families of the batch, in order of arrival. Returns their number. */
size_t mal_batch_families(const struct sonde_mal_batch *b, const struct mal_batch_family **ret);

/* NULL: no sample of that name. */
const struct mal_batch_family *mal_batch_find(const struct sonde_mal_batch *b, uint32_t name);

/* MAL_STR_NULL: absent. */
static inline uint32_t mal_label(const struct mal_sample *s, uint32_t key)
{
	return mal_set_get(s->labels, key);
}

/* The same, absent counted as "". */
static inline uint32_t mal_label_or_empty(const struct mal_sample *s, uint32_t key)
{
	return mal_set_get_or_empty(s->labels, key);
}
