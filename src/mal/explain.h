/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Explain: the steps of a rule as its author wrote them, for struct sonde_mal_sink. Folder-private. */

#include "mal/eval.h"

struct mal_explain {
	const struct sonde_mal_sink *sink;
	const struct sonde_mal_rule *rule;
	const char *part; /* see struct sonde_mal_step */
	const char *text; /* that the nodes' offsets are in */
};

/* Tells of @f, which @e gave; nodes that change nothing (a number, the head of a suffix) are left out. */
void mal_explain_expr(const struct mal_eval *ev, const struct mal_explain *x,
		      const struct mal_expr *e, const struct mal_family *f);

/* The same for what is no expression: @name is the step's text. */
void mal_explain_named(const struct mal_eval *ev, const struct mal_explain *x, const char *name,
		       const struct mal_family *f);
