/* SPDX-License-Identifier: Apache-2.0 */
#include "probe/policy.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "config/config.h"
#include "config/yaml.h"
#include "probe/policy-rule.h"

#define PASSWD_FILE "/etc/passwd"

struct policy_file {
	uint64_t max_duration_ns;
	uint64_t max_tasks;
	uint64_t max_peers;
	char **collectors;
	char **options;
	bool flows;
	bool payload_capture;
	char *btf_own, *btf_external;
	int otherwise; /* enum sonde_policy_action */
	struct sonde_policy_rule *rules;
	size_t n_rules;
};

struct sonde_policy {
	struct policy_file *file;		/* owned, by the option table */
	struct sonde_policy_resolved *resolved; /* owned; one for each rule */
};

static const char *const action_names[] = {
	[SONDE_POLICY_ALLOW] = "allow",
	[SONDE_POLICY_DENY] = "deny",
	NULL,
};

#define RULE struct sonde_policy_rule
static const struct sonde_option rule_options[] = {
	SONDE_OPTION_STRING(
		RULE, "name", name, "", "63",
		"what a refusal is called in the task's state: [a-z0-9-], once in the file",
		.flags = SONDE_OPTION_REQUIRED),
	SONDE_OPTION_ENUM(RULE, "action", action, "deny", action_names,
			  "what happens to a process that all conditions of the rule match"),
	SONDE_OPTION_STRINGS(
		RULE, "exe", exe, "", SONDE_POLICY_LIST_MAX,
		"globs of the executable's path, as its own mount namespace names it; * also matches /"),
	SONDE_OPTION_STRINGS(RULE, "process", process, "", SONDE_POLICY_LIST_MAX,
			     "globs of the process's name (comm), which it may choose itself"),
	SONDE_OPTION_STRINGS(RULE, "user", user, "", SONDE_POLICY_LIST_MAX,
			     "names of /etc/passwd or numbers: the real user id"),
	SONDE_OPTION_STRINGS(RULE, "cgroup", cgroup, "", SONDE_POLICY_LIST_MAX,
			     "globs of the cgroup's path in any hierarchy; * also matches /"),
	SONDE_OPTION_STRINGS(
		RULE, "net_namespace", net_namespace, "", SONDE_POLICY_LIST_MAX,
		"inode numbers of /proc/PID/ns/net, or `own`: the one sonde-probe runs in"),
	SONDE_OPTION_STRINGS(RULE, "pid_namespace", pid_namespace, "", SONDE_POLICY_LIST_MAX,
			     "inode numbers of /proc/PID/ns/pid, or `own`"),
	{0},
};
#undef RULE

static const struct sonde_option policy_options[] = {
	SONDE_OPTION_DURATION(struct policy_file, "limits.max_duration", max_duration_ns, "30m",
			      "1s", "24h", "longest task, with its extensions"),
	SONDE_OPTION_UINT(struct policy_file, "limits.max_tasks", max_tasks, "32", "0", "32",
			  "most tasks at once; 0 refuses all"),
	SONDE_OPTION_UINT(struct policy_file, "limits.max_peers", max_peers, "8192", "64", "65536",
			  "most cells in the kernel: (process, role, peer, port)"),
	SONDE_OPTION_STRINGS(struct policy_file, "collectors", collectors, "tcp,udp",
			     SONDE_POLICY_LIST_MAX, "collectors that may be attached"),
	SONDE_OPTION_STRINGS(
		struct policy_file, "options", options, "execution_time", SONDE_POLICY_LIST_MAX,
		"options that a task may ask for; execution_time costs every process of the machine some time in each system call"),
	SONDE_OPTION_BOOL(
		struct policy_file, "flows", flows, "true",
		"whether connections may be told one by one; if not, tasks run without, and say so"),
	SONDE_OPTION_BOOL(struct policy_file, "payload_capture", payload_capture, "false",
			  "whether a collector may copy payload; none of this version does"),
	SONDE_OPTION_STRING(struct policy_file, "btf.kernel", btf_own, SONDE_POLICY_BTF_FILE, "255",
			    "where the running kernel shows its types"),
	SONDE_OPTION_STRING(
		struct policy_file, "btf.external", btf_external, "", "255",
		"a BTF file of this very kernel, for one that shows none; root's, writable by root alone"),
	SONDE_OPTION_ENUM(struct policy_file, "targets.default", otherwise, "allow", action_names,
			  "what happens to a process that no rule matches"),
	SONDE_OPTION_LIST(struct policy_file, "targets.rules", rules, n_rules, rule_options,
			  SONDE_POLICY_RULES_MAX, "in order: the first that matches decides"),
	{0},
};

/* Words for the bits of a request. */
struct word {
	const char *name;
	uint32_t bit;
};
static const struct word collector_names[] = {
	{"tcp", SONDE_PROBE_COLLECT_TCP},
	{"udp", SONDE_PROBE_COLLECT_UDP},
};
static const struct word option_names[] = {{"execution_time", SONDE_PROBE_OPTION_EXECUTION_TIME}};

/* 0 = no such word. */
static uint32_t bit_of(const struct word *words, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(words[i].name, name) == 0)
			return words[i].bit;
	return 0;
}

/* The bits that a list of the file names. */
static uint32_t bits_of(const struct word *words, size_t n, char *const *list)
{
	uint32_t bits = 0;

	for (; list && *list; list++)
		bits |= bit_of(words, n, *list);
	return bits;
}

static bool rule_name_ok(const char *name)
{
	return *name != '\0' &&
	       name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-")] == '\0' &&
	       strcmp(name, "default") != 0;
}

/* What spans keys: names once, and only words that mean something to this version. */
static int check_policy(const void *config, char **ret_error)
{
	const struct policy_file *f = config;

	for (char *const *p = f->collectors; p && *p; p++)
		if (bit_of(collector_names, ELEMENTS_OF(collector_names), *p) == 0)
			return sonde_config_refuse(ret_error, "collectors: no collector '%s'", *p);
	for (char *const *p = f->options; p && *p; p++)
		if (bit_of(option_names, ELEMENTS_OF(option_names), *p) == 0)
			return sonde_config_refuse(ret_error, "options: no option '%s'", *p);
	for (size_t i = 0; i < f->n_rules; i++) {
		if (!rule_name_ok(f->rules[i].name))
			return sonde_config_refuse(
				ret_error,
				"targets.rules: a name is of [a-z0-9-] and not `default`: '%s'",
				f->rules[i].name);
		for (size_t j = 0; j < i; j++)
			if (strcmp(f->rules[i].name, f->rules[j].name) == 0)
				return sonde_config_refuse(
					ret_error, "targets.rules: two rules are named '%s'",
					f->rules[i].name);
	}
	return 0;
}

static const struct sonde_config_spec policy_spec = {
	.program = "sonde-probe",
	.summary = "What may be profiled on this node, whoever asks. Enforced by sonde-probe",
	.size = sizeof(struct policy_file),
	.options = policy_options,
	.check = check_policy,
};

const struct sonde_config_spec *sonde_policy_spec(void)
{
	return &policy_spec;
}

struct sonde_policy *sonde_policy_free(struct sonde_policy *p)
{
	if (!p)
		return NULL;
	for (size_t i = 0; p->resolved && i < p->file->n_rules; i++)
		sonde_policy_resolved_done(&p->resolved[i]);
	free(p->resolved);
	p->file = sonde_config_free(&policy_spec, p->file);
	free(p);
	return NULL;
}

int sonde_policy_parse(const char *text, size_t len, const char *name, const char *passwd,
		       struct sonde_policy **ret, char **ret_error)
{
	_cleanup_(sonde_policy_freep) struct sonde_policy *p = NULL;
	_cleanup_free_ char *words = NULL;
	void *file = NULL;
	int r;

	assert(text && name && passwd && ret && ret_error);

	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	r = sonde_config_parse(&policy_spec, text, len, name, &file, ret_error);
	if (r < 0)
		return r;
	p->file = file;
	p->resolved = calloc(p->file->n_rules + 1, sizeof(*p->resolved));
	if (!p->resolved)
		return -ENOMEM;
	for (size_t i = 0; i < p->file->n_rules; i++) {
		r = sonde_policy_resolve(&p->file->rules[i], passwd, &p->resolved[i], &words);
		if (r < 0 && words &&
		    asprintf(ret_error, "%s: rule '%s': %s", name, p->file->rules[i].name, words) <
			    0)
			return -ENOMEM;
		if (r < 0)
			return r;
	}
	*ret = TAKE_PTR(p);
	return 0;
}

int sonde_policy_check_file(int fd, const char *path, char **ret_error)
{
	const char *fault = NULL;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		fault = "is no regular file";
	else if (st.st_uid != 0)
		fault = "does not belong to root";
	else if (st.st_mode & (S_IWGRP | S_IWOTH))
		fault = "may be written by its group or by others";
	if (!fault)
		return 0;
	if (asprintf(ret_error, "%s: %s", path, fault) < 0)
		return -ENOMEM;
	return -EPERM;
}

int sonde_policy_load(const char *path, struct sonde_policy **ret, char **ret_error)
{
	_cleanup_free_ char *text = NULL;
	_cleanup_close_ int fd = -1;
	bool named = path != NULL;
	size_t len = 0;
	int r;

	assert(ret && ret_error);

	if (!path)
		path = SONDE_POLICY_FILE;
	/* O_NONBLOCK: a fifo in its place must not hold the probe up before it is refused. */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	/* A name that was mistyped must not open the node. */
	if (fd < 0 && errno == ENOENT && !named)
		return sonde_policy_parse("", 0, "built-in policy", PASSWD_FILE, ret, ret_error);
	if (fd < 0 && errno == ENOENT)
		return asprintf(ret_error, "%s: there is no such policy file", path) < 0 ? -ENOMEM
											 : -ENOENT;
	if (fd < 0)
		return -errno;
	r = sonde_policy_check_file(fd, path, ret_error);
	if (r < 0)
		return r;
	r = sonde_yaml_read_fd(fd, SONDE_CONFIG_FILE_MAX, &text, &len);
	if (r < 0)
		return r;
	return sonde_policy_parse(text, len, path, PASSWD_FILE, ret, ret_error);
}

uint32_t sonde_policy_max_tasks(const struct sonde_policy *p)
{
	return (uint32_t)p->file->max_tasks;
}

uint32_t sonde_policy_max_peers(const struct sonde_policy *p)
{
	return (uint32_t)p->file->max_peers;
}

const char *sonde_policy_btf_own(const struct sonde_policy *p)
{
	return p->file->btf_own;
}

const char *sonde_policy_btf_external(const struct sonde_policy *p)
{
	return p->file->btf_external[0] ? p->file->btf_external : NULL;
}

uint64_t sonde_policy_max_duration_ns(const struct sonde_policy *p)
{
	return p->file->max_duration_ns;
}

bool sonde_policy_flows(const struct sonde_policy *p)
{
	return p->file->flows;
}

int sonde_policy_admit(const struct sonde_policy *p, const struct sonde_probe_request *request,
		       uint32_t others, const char **ret_rule)
{
	uint32_t collectors, options;

	assert(p && request && ret_rule);

	collectors = bits_of(collector_names, ELEMENTS_OF(collector_names), p->file->collectors);
	options = bits_of(option_names, ELEMENTS_OF(option_names), p->file->options);
	*ret_rule = "collectors";
	if (request->collectors == 0 || request->collectors & ~collectors)
		return -EPERM;
	*ret_rule = "options";
	if (request->options & ~options & ~SONDE_PROBE_OPTION_FLOWS)
		return -EPERM;
	*ret_rule = "limits.max_duration";
	if (request->duration_ns == 0 || request->duration_ns > p->file->max_duration_ns)
		return -EPERM;
	*ret_rule = "limits.max_peers";
	if (request->max_peers > p->file->max_peers)
		return -EPERM;
	*ret_rule = "limits.max_tasks";
	if (others >= p->file->max_tasks)
		return -ENOSPC;
	return 0;
}

int sonde_policy_target(const struct sonde_policy *p, const struct sonde_identity *id,
			const char **ret_rule)
{
	assert(p && id && ret_rule);

	for (size_t i = 0; i < p->file->n_rules; i++) {
		const struct sonde_policy_rule *rule = &p->file->rules[i];

		if (!sonde_policy_rule_matches(rule, &p->resolved[i], id))
			continue;
		*ret_rule = rule->name;
		return rule->action == SONDE_POLICY_ALLOW ? 0 : -EPERM;
	}
	*ret_rule = "default";
	return p->file->otherwise == SONDE_POLICY_ALLOW ? 0 : -EPERM;
}
