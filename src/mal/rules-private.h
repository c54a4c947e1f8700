/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A loaded rule file as the engine sees it. Folder-private. */

#include "mal/ast.h"
#include "mal/rules.h"

struct mal_rule {
	struct sonde_mal_rule is; /* what callers see */
	const struct mal_expr *exp;
	const uint32_t *sources; /* ids of the program */
};

/* Rules that read one metric. */
struct mal_readers {
	uint32_t *rules; /* indices, ascending; memory of the program */
	size_t n;
};

struct sonde_mal_rules {
	struct mal_program program;	       /* owned */
	char *file;			       /* owned */
	struct mal_expr *prefix, *suffix;      /* NULL: none */
	const char *prefix_text, *suffix_text; /* as written; the program's memory */
	struct mal_closure *filter;	       /* NULL: none */
	bool prefix_is_pure;		       /* no counter in it: its result can be used again */
	struct mal_rule **v;		       /* owned array, rules are the program's memory */
	size_t n, cap;
	struct mal_readers *readers; /* by source: the tag of its string - 1 */
	size_t n_readers;
	const char **layers; /* defined by the file, NULL-ended, or NULL */
};
