/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Rules: from what is known of an OS process to its SkyWalking names. Command
 * lines are the processes' own and hostile: matching has limits, a match that
 * passes them is no match, and is counted. One thread.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/options.h"
#include "base/cleanup.h"
#include "model/process.h"

#define SONDE_RULES_WORDS_MAX 160

struct sonde_rules;

/* What a rule looks at. Borrowed. */
struct sonde_rules_facts {
	uint32_t pid;
	const char *executable; /* path; "" = not known */
	const char *comm;
	const char *command; /* line */
	const uint16_t *ports;
	size_t n_ports;
};

/* Return: 0, -EINVAL with @words. */
int sonde_rules_check(const struct sonde_agent_rule *rule, char words[SONDE_RULES_WORDS_MAX]);

/* Copies what it needs of @rules. @host fills in {host}. Return: 0, -EINVAL (see check), -ENOMEM. */
int sonde_rules_new(const struct sonde_agent_rule *rules, size_t n, const char *host,
		    struct sonde_rules **ret) _must_check_;
struct sonde_rules *sonde_rules_free(struct sonde_rules *r);
SONDE_DEFINE_CLEANUP(struct sonde_rules *, sonde_rules_free)

/* Does any rule look at ports, so that the listeners must be known? */
bool sonde_rules_want_ports(const struct sonde_rules *r);

/* The first rule that matches fills in @process's names. Return: true if one did. */
bool sonde_rules_apply(struct sonde_rules *r, const struct sonde_rules_facts *facts,
		       struct sonde_process *process);

/* Names for a process that a task names by pid and no rule knows. */
void sonde_rules_adopt(const struct sonde_rules *r, const struct sonde_rules_facts *facts,
		       struct sonde_process *process);

/* Matches that were given up at their limit. */
uint64_t sonde_rules_limits_hit(const struct sonde_rules *r);
