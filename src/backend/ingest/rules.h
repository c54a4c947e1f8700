/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Rule set: every *.yaml of one folder, in the order of their names. Immutable once loaded. */

#include <stddef.h>

#include "base/cleanup.h"
#include "mal/rules.h"

#define SONDE_RULE_FILES_MAX 256

struct sonde_rule_set {
	struct sonde_mal_rules **files; /* owned */
	size_t n_files;
	size_t rules, bad; /* of all files; bad ones are logged and left out */
};

/* @dir "" = no rules. A file that is no rule file is logged and left out. Return: 0, -errno of the folder. */
int sonde_rule_set_load(const char *dir, struct sonde_rule_set *ret) _must_check_;
void sonde_rule_set_done(struct sonde_rule_set *s);
const struct sonde_mal_rule *sonde_rule_set_find(const struct sonde_rule_set *s,
						 const char *metric);
