/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Rules: one rule file in SkyWalking's YAML schema, checked whole before the first sample. A bad rule
 * is reported with file, line, column and what was expected, and left out; the others work. A file that
 * is no rule file at all (broken YAML, unknown key, no metricPrefix) is refused. Immutable once loaded,
 * so any thread may read it.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "mal/function.h"

#define SONDE_MAL_FILE_BYTES (1U << 20) /* of one rule file */
#define SONDE_MAL_EXP_BYTES (64U << 10) /* of one expression */
#define SONDE_MAL_RULES_MAX 4096	/* rules of one file */
#define SONDE_MAL_DEPTH_MAX 128		/* nesting of parentheses, arguments, blocks */
#define SONDE_MAL_NODES_MAX 20000	/* syntax nodes of one expression */

enum sonde_mal_scope {
	SONDE_MAL_SCOPE_SERVICE,
	SONDE_MAL_SCOPE_INSTANCE,
	SONDE_MAL_SCOPE_ENDPOINT,
	SONDE_MAL_SCOPE_PROCESS,
	SONDE_MAL_SCOPE_SERVICE_RELATION,
	SONDE_MAL_SCOPE_INSTANCE_RELATION,
	SONDE_MAL_SCOPE_PROCESS_RELATION,
	_SONDE_MAL_SCOPE_MAX,
};

/* SkyWalking's word: "SERVICE", "SERVICE_INSTANCE", …, "PROCESS_RELATION". */
const char *sonde_mal_scope_name(enum sonde_mal_scope scope);

struct sonde_mal_rules;

/* One rule that passed the check. Borrowed from its file. */
struct sonde_mal_rule {
	const char *metric; /* metricPrefix "_" name */
	const char *exp;    /* as written, without prefix and suffix */
	enum sonde_mal_scope scope;
	struct sonde_mal_function function;
	const char *const *sources; /* metric names it reads, each once */
	size_t n_sources;
	const char *const *labels; /* that stay on a labelled metric, `le` not counted */
	size_t n_labels;
	unsigned line; /* of the rule in its file, from 1 */
};

/* A finding. Strings are borrowed for the call. Line and column count from 1, columns in bytes. */
struct sonde_mal_diagnostic {
	const char *file;
	unsigned line;
	unsigned column;
	const char *rule; /* name of the rule, NULL for the file itself */
	const char *message;
	bool warning; /* the rule is good and works as in OAP, but perhaps not as it was meant */
};

struct sonde_mal_report {
	void (*found)(void *ctx, const struct sonde_mal_diagnostic *d); /* may be NULL */
	void *ctx;
	bool warnings; /* tell them too; a load without them is faster */
	/* Whether anything sends this metric. NULL: not asked. */
	bool (*is_fed)(void *ctx, const char *metric);
};

/*
 * @file is only for messages (copied). *@ret holds the rules that are good, perhaps none.
 * Return: number of rules left out (0: all is well), -EBADMSG (the file as a whole is refused, reported),
 * -EFBIG, -ENOMEM.
 */
int sonde_mal_rules_load(const char *file, const char *text, size_t len,
			 struct sonde_mal_report report, struct sonde_mal_rules **ret) _must_check_;
struct sonde_mal_rules *sonde_mal_rules_free(struct sonde_mal_rules *r);
SONDE_DEFINE_CLEANUP(struct sonde_mal_rules *, sonde_mal_rules_free)

const char *sonde_mal_rules_file(const struct sonde_mal_rules *r);
size_t sonde_mal_rules_count(const struct sonde_mal_rules *r);

/* @i below the count. Borrowed; its address is stable, so it can be compared. */
const struct sonde_mal_rule *sonde_mal_rules_get(const struct sonde_mal_rules *r, size_t i);

/* By full metric name (the first, where two rules feed one metric). NULL: none. */
const struct sonde_mal_rule *sonde_mal_rules_find(const struct sonde_mal_rules *r,
						  const char *metric);
