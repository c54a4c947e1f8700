/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Emit: from an evaluated family to integer values per entity. Folder-private. */

#include "mal/eval.h"
#include "mal/rules-private.h"

/* The family's entities go to the sink one by one. Return: 0; < 0: the rest is lost, the words are in ev. */
int mal_emit(struct mal_eval *ev, const struct mal_rule *rule, const struct mal_family *f,
	     const struct sonde_mal_sink *sink, uint64_t *count) _must_check_;

/* What is stored of a value: <= 0 is 0, below 1 is 1, else rounded half up; saturates. */
int64_t mal_stored_value(double v);
