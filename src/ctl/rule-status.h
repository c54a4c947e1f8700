/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Rule status: whether an OAP has loaded a rule file. An OAP tells no file names; it tells its metrics, each with type
 * and scope, and has those of a file only if it loaded one like it.
 */

#include <jansson.h>

#include "mal/rules.h"

enum sonde_rule_state {
	SONDE_RULE_IN_FORCE,   /* every metric, each with its type and scope */
	SONDE_RULE_NOT_LOADED, /* none of them */
	SONDE_RULE_PARTLY, /* another version of the file: some are missing or of another type */
	SONDE_RULE_NEEDS_NEWER, /* not loaded, and this OAP would not start with it */
	_SONDE_RULE_STATE_MAX,
};

const char *sonde_rule_state_name(enum sonde_rule_state state);

struct sonde_rule_status {
	enum sonde_rule_state state;
	size_t n_metrics;
	size_t n_found;
	json_t *missing; /* names; also those of another type. Owned by the caller */
};

/*
 * @metrics: `listMetrics` of an OAP of version @major.@minor (0.0 = unknown), an array of {name, type, catalog}.
 * Return: 0, -ENOMEM.
 */
int sonde_rule_status(const struct sonde_mal_rules *rules, const json_t *metrics,
		      unsigned int major, unsigned int minor,
		      struct sonde_rule_status *ret) _must_check_;
