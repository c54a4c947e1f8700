/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Policy: the node's last word on what may be profiled, whoever asks. A YAML
 * file of root's (config/policy.yaml says every key), read by the worker before
 * its filter is set; nobody else may be able to write it. Every refusal has the
 * name of a rule. What could not be read of a process counts against it: a deny
 * rule matches, an allow rule does not.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "host/identity.h"
#include "model/probe-msg.h"

#define SONDE_POLICY_FILE "/etc/sonde/policy.yaml"
#define SONDE_POLICY_BTF_FILE "/sys/kernel/btf/vmlinux"
#define SONDE_POLICY_RULES_MAX "64"
#define SONDE_POLICY_LIST_MAX "64"

struct sonde_policy;
struct sonde_config_spec;

/* The option table, for the reference page. */
const struct sonde_config_spec *sonde_policy_spec(void);

/*
 * @path: NULL = SONDE_POLICY_FILE; where that does not exist, the built-in policy holds (all defaults of the
 * option table, no rule). @ret_error: "FILE:LINE: …" on -EINVAL, words on the others; to be freed.
 * Return: 0, -EINVAL (text), -ENOENT (a named file), -EPERM (owner, mode or kind of the file), -ENOMEM, -errno of reading.
 */
int sonde_policy_load(const char *path, struct sonde_policy **ret, char **ret_error) _must_check_;

/* From a text, for tests and fuzzing. @passwd: where user names are looked up. */
int sonde_policy_parse(const char *text, size_t len, const char *name, const char *passwd,
		       struct sonde_policy **ret, char **ret_error) _must_check_;

/* NULL is fine. Always returns NULL. */
struct sonde_policy *sonde_policy_free(struct sonde_policy *p);
SONDE_DEFINE_CLEANUP(struct sonde_policy *, sonde_policy_free)

/* Only root may have been able to write it. @ret_error: words, to be freed. Return: 0, -EPERM, -errno. */
int sonde_policy_check_file(int fd, const char *path, char **ret_error) _must_check_;

/* Where the running kernel's types are, and a file in their place (NULL = none). Borrowed. */
const char *sonde_policy_btf_own(const struct sonde_policy *p);
const char *sonde_policy_btf_external(const struct sonde_policy *p);
uint32_t sonde_policy_max_tasks(const struct sonde_policy *p);
uint32_t sonde_policy_max_peers(const struct sonde_policy *p);
/* May connections be told one by one? Not a matter of admission: a task runs without. */
bool sonde_policy_flows(const struct sonde_policy *p);
uint64_t sonde_policy_max_duration_ns(const struct sonde_policy *p);

/*
 * May this task run? @others: tasks admitted already, without this one. *@ret_rule: borrowed name of what
 * refused. Return: 0, -EPERM, -ENOSPC (too many tasks).
 */
int sonde_policy_admit(const struct sonde_policy *p, const struct sonde_probe_request *request,
		       uint32_t others, const char **ret_rule) _must_check_;

/* May this process be a target? The first rule that matches decides. Return: 0, -EPERM and the rule's name. */
int sonde_policy_target(const struct sonde_policy *p, const struct sonde_identity *id,
			const char **ret_rule) _must_check_;
