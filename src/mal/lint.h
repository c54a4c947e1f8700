/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Lint: what a good rule does that its author may not expect. All of it is as in OAP; nothing here
 * refuses a file. Folder-private.
 */

#include "mal/check.h"

typedef void (*mal_lint_fn)(void *ctx, size_t offset, const char *message);

/* One text by itself, what stands before it (MAL_EXPR_HEAD) left out. @layers: NULL-ended, may be NULL. */
void mal_lint_text(const struct mal_program *p, const struct mal_expr *e, const char *const *layers,
		   mal_lint_fn fn, void *ctx);

/* The labels that stay on a rule's metric: one finding a label that takes any number of values. */
void mal_lint_labels(const struct mal_program *p, const struct mal_checked *c, mal_lint_fn fn,
		     void *ctx);

/* --- counters: whether rules share a counter window --- */

#define MAL_LINT_PAIRS_MAX 16

/* A call of increase(), rate() or irate(), and what its window is known by. */
struct mal_counter {
	const struct mal_expr *call;
	const struct mal_expr *exp,
		*prefix;	      /* of its rule: what the heads of the other texts stand for */
	uint32_t source;	      /* the metric whose name its samples have */
	const struct mal_arg *labels; /* that they have; NULL: those of the metric */
	uint32_t equal[MAL_LINT_PAIRS_MAX][2]; /* label and value that tagEqual() asks for */
	size_t n_equal;
};

/* Calls @fn for each counter of a rule. */
void mal_lint_counters(const struct mal_expr *exp, const struct mal_expr *prefix,
		       const struct mal_expr *suffix,
		       void (*fn)(void *ctx, const struct mal_counter *c), void *ctx);

/* Whether both write into one window, and other values: the numbers of both are then wrong. */
bool mal_lint_interfere(const struct mal_counter *a, const struct mal_counter *b);
