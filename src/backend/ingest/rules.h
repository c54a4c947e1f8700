/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Rule set: every *.yaml of one folder, in the order of their names. At start a bad rule is left out and a bad
 * file is empty, the others work. Later a file is taken anew as a whole or not at all: where anything in it is
 * wrong, what was read before stays in force, and the file's problem says why. Loop thread only.
 */

#include <stddef.h>

#include "backend/store/ids.h"
#include "base/cleanup.h"
#include "mal/rules.h"

#define SONDE_RULE_FILES_MAX 256

struct sonde_rule_file {
	char *name;		       /* owned, without the folder */
	struct sonde_mal_rules *rules; /* owned; what is in force, NULL: nothing */
	char digest[2 * SONDE_ID_DIGEST_BYTES +
		    1];	   /* of the bytes that were read last, good or not */
	size_t bad;	   /* rules that were left out when the file was read */
	char problem[256]; /* the first thing that is wrong with it, "" = nothing */
};

struct sonde_rule_set {
	struct sonde_rule_file *v; /* owned */
	size_t n;
	size_t rules, bad; /* of all files; bad ones are logged and left out */
};

/* What a reload did, in files. */
struct sonde_rule_change {
	size_t taken, refused, removed;
};

/* @dir "" = no rules. A file that is no rule file is logged and left out. Return: 0, -errno of the folder. */
int sonde_rule_set_load(const char *dir, struct sonde_rule_set *ret) _must_check_;

/* Reads what has changed. Return: 0; -errno of the folder, -E2BIG, -ENOMEM: then nothing has changed. */
int sonde_rule_set_reload(struct sonde_rule_set *s, const char *dir,
			  struct sonde_rule_change *ret) _must_check_;

void sonde_rule_set_done(struct sonde_rule_set *s);
const struct sonde_mal_rule *sonde_rule_set_find(const struct sonde_rule_set *s,
						 const char *metric);
