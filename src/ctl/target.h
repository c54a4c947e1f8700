/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Target: what a person writes for a process: pid:1234 or the bare number, process:nginx,
 * service:shop, id:<process id>, or a bare word that the server's targets explain.
 */

#include <stdint.h>

#include <jansson.h>

#include "base/cleanup.h"

enum sonde_target_kind {
	SONDE_TARGET_PID = 0,
	SONDE_TARGET_PROCESS,
	SONDE_TARGET_SERVICE,
	SONDE_TARGET_ID,
	SONDE_TARGET_WORD, /* to be resolved */
	_SONDE_TARGET_KIND_MAX,
};

#define SONDE_TARGET_NAME_MAX 255 /* bytes */

struct sonde_target {
	enum sonde_target_kind kind;
	int32_t pid;
	const char *name; /* of all but PID; borrowed from the text */
};

/*
 * @ret_words: what is wrong, a literal. Return: 0, -EINVAL.
 */
int sonde_target_parse(const char *text, struct sonde_target *ret,
		       const char **ret_words) _must_check_;

/*
 * Makes a WORD a SERVICE or PROCESS by the answer of GET /targets.
 * Return: 0, -ENOENT, -ENOTUNIQ (a service and a process of that name that are not the same processes).
 */
int sonde_target_resolve(struct sonde_target *target, const json_t *targets) _must_check_;

/* The known service or process name nearest to @word, NULL = none. Borrowed from @targets. */
const char *sonde_target_hint(const char *word, const json_t *targets);

/* Appends the TaskSpec's Target to array @list. @agent may be NULL. Return: 0, -ENOMEM. */
int sonde_target_append(const struct sonde_target *target, const char *agent,
			json_t *list) _must_check_;
