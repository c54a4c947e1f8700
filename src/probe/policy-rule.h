/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Policy rule: one rule of the policy file, and whether it matches a process. Of policy.c's. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "host/identity.h"

enum sonde_policy_action {
	SONDE_POLICY_ALLOW = 0,
	SONDE_POLICY_DENY = 1,
};

/* As in the file. A list matches when one entry does, a rule when all its lists that are not empty do. */
struct sonde_policy_rule {
	char *name;
	int action; /* enum sonde_policy_action */
	char **exe;
	char **process;
	char **user;
	char **cgroup;
	char **net_namespace;
	char **pid_namespace;
};

/* Its words as numbers; arrays owned. */
struct sonde_policy_resolved {
	uint32_t *users;
	uint32_t *net_namespaces;
	uint32_t *pid_namespaces;
	size_t n_users, n_net_namespaces, n_pid_namespaces;
};

void sonde_policy_resolved_done(struct sonde_policy_resolved *r);

/*
 * @r: all zero; sonde_policy_resolved_done() releases it, after a failure too. @ret_words: what is wrong, on
 * -EINVAL; to be freed. Return: 0, -EINVAL, -ENOMEM, -errno of @passwd.
 */
int sonde_policy_resolve(const struct sonde_policy_rule *rule, const char *passwd,
			 struct sonde_policy_resolved *r, char **ret_words) _must_check_;

bool sonde_policy_rule_matches(const struct sonde_policy_rule *rule,
			       const struct sonde_policy_resolved *resolved,
			       const struct sonde_identity *id);
