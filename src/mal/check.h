/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Check: what can be known of a rule before it runs. First each text by itself (forms of arguments,
 * durations, regexes), then the rule made of its texts (entity call, kind, storage function). Folder-private.
 */

#include "mal/ast.h"
#include "mal/sample.h"

/* One text. Return: 0; -EBADMSG with *@error filled; -ENOMEM. */
int mal_check_text(struct mal_program *p, struct mal_expr *e, struct mal_error *error) _must_check_;

#define MAL_SOURCES_MAX 256

struct mal_checked {
	enum sonde_mal_scope scope;
	struct sonde_mal_function function;
	uint32_t sources[MAL_SOURCES_MAX];
	size_t n_sources;
	uint32_t labels[SONDE_MAL_LABELS_MAX]; /* aggregation labels that are no entity labels */
	size_t n_labels;
};

/* The whole rule: @prefix and @suffix may be NULL. @error's offset is one in @exp's text. */
int mal_check_rule(const struct mal_program *p, const struct mal_expr *exp,
		   const struct mal_expr *prefix, const struct mal_expr *suffix,
		   struct mal_error *error, struct mal_checked *ret) _must_check_;

/* Whether SkyWalking can store what the rule gives: it finds out when it registers a metric. 0, -EBADMSG. */
int mal_check_function(const struct sonde_mal_function *f, struct mal_error *error) _must_check_;
