/* SPDX-License-Identifier: Apache-2.0 */
#include "probe/policy-rule.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>

#include "base/num.h"
#include "host/netns.h"

#define DELETED " (deleted)"

void sonde_policy_resolved_done(struct sonde_policy_resolved *r)
{
	free(r->users);
	free(r->net_namespaces);
	free(r->pid_namespaces);
	*r = (struct sonde_policy_resolved){0};
}

static void fclosep(FILE **f)
{
	if (*f)
		(void)fclose(*f);
}

/* The file itself: no name service, whose modules open sockets and run what others wrote. */
static int user_id(const char *name, const char *passwd, uint32_t *ret)
{
	_cleanup_(fclosep) FILE *f = NULL;
	const struct passwd *pw;
	uint64_t id;

	if (sonde_parse_u64(name, 0, UINT32_MAX, &id) == 0) {
		*ret = (uint32_t)id;
		return 0;
	}
	f = fopen(passwd, "re");
	if (!f)
		return -errno;
	while ((pw = fgetpwent(f))) { /* NOLINT(concurrency-mt-unsafe): one thread */
		if (strcmp(pw->pw_name, name) != 0)
			continue;
		*ret = pw->pw_uid;
		return 0;
	}
	return -EINVAL;
}

static int own_namespace(const char *kind, uint32_t *ret)
{
	char path[32], link[64];
	ssize_t n;

	(void)snprintf(path, sizeof(path), "/proc/self/ns/%s", kind);
	n = readlink(path, link, sizeof(link) - 1);
	if (n < 0)
		return -errno;
	link[n] = '\0';
	return sonde_netns_parse(link, kind, ret);
}

/* @context is the passwd file or the kind of namespace. */
typedef int (*resolve_fn)(const char *word, const char *context, uint32_t *ret);

static int namespace_id(const char *word, const char *kind, uint32_t *ret)
{
	uint64_t id;

	if (strcmp(word, "own") == 0)
		return own_namespace(kind, ret);
	if (sonde_parse_u64(word, 1, UINT32_MAX, &id) < 0)
		return -EINVAL;
	*ret = (uint32_t)id;
	return 0;
}

static int resolve_list(char *const *words, resolve_fn fn, const char *context, const char *what,
			uint32_t **ret, size_t *ret_n, char **ret_words)
{
	_cleanup_free_ uint32_t *ids = NULL;
	size_t n = 0;
	int r;

	while (words && words[n])
		n++;
	ids = calloc(n + 1, sizeof(*ids));
	if (!ids)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		r = fn(words[i], context, &ids[i]);
		if (r < 0 && asprintf(ret_words, "no %s '%s'", what, words[i]) < 0)
			return -ENOMEM;
		if (r < 0)
			return r;
	}
	*ret = TAKE_PTR(ids);
	*ret_n = n;
	return 0;
}

int sonde_policy_resolve(const struct sonde_policy_rule *rule, const char *passwd,
			 struct sonde_policy_resolved *r, char **ret_words)
{
	int error;

	assert(rule && passwd && r && ret_words);

	error = resolve_list(rule->user, user_id, passwd, "user", &r->users, &r->n_users,
			     ret_words);
	if (error < 0)
		return error;
	error = resolve_list(rule->net_namespace, namespace_id, "net", "network namespace",
			     &r->net_namespaces, &r->n_net_namespaces, ret_words);
	if (error < 0)
		return error;
	return resolve_list(rule->pid_namespace, namespace_id, "pid", "pid namespace",
			    &r->pid_namespaces, &r->n_pid_namespaces, ret_words);
}

static bool glob(char *const *patterns, const char *s)
{
	for (; *patterns; patterns++)
		if (fnmatch(*patterns, s, 0) == 0)
			return true;
	return false;
}

/* The kernel appends to the path of a file that is gone; a rule is about the name it had. */
static bool glob_exe(char *const *patterns, const char *exe)
{
	char shorter[SONDE_IDENTITY_EXE_MAX];
	size_t n = strlen(exe), tail = strlen(DELETED);

	if (glob(patterns, exe))
		return true;
	if (n < tail || strcmp(exe + n - tail, DELETED) != 0)
		return false;
	(void)snprintf(shorter, sizeof(shorter), "%.*s", (int)(n - tail), exe);
	return glob(patterns, shorter);
}

/* @lines: one path a line. */
static bool glob_cgroup(char *const *patterns, const char *lines)
{
	char path[SONDE_IDENTITY_CGROUP_MAX];

	while (*lines) {
		size_t n = strcspn(lines, "\n");

		(void)snprintf(path, sizeof(path), "%.*s", (int)n, lines);
		if (glob(patterns, path))
			return true;
		lines += n + (lines[n] == '\n');
	}
	return false;
}

static bool among(const uint32_t *ids, size_t n, uint32_t id)
{
	for (size_t i = 0; i < n; i++)
		if (ids[i] == id)
			return true;
	return false;
}

bool sonde_policy_rule_matches(const struct sonde_policy_rule *rule,
			       const struct sonde_policy_resolved *resolved,
			       const struct sonde_identity *id)
{
	const bool if_unknown = rule->action == SONDE_POLICY_DENY;
	const struct {
		bool asked;
		uint32_t unknown;
		bool matches;
	} conditions[] = {
		{rule->exe, SONDE_IDENTITY_EXE, rule->exe && glob_exe(rule->exe, id->exe)},
		{rule->process, 0, rule->process && glob(rule->process, id->name)},
		{rule->user, SONDE_IDENTITY_UID,
		 among(resolved->users, resolved->n_users, id->uid)},
		{rule->cgroup, SONDE_IDENTITY_CGROUP,
		 rule->cgroup && glob_cgroup(rule->cgroup, id->cgroup)},
		{rule->net_namespace, SONDE_IDENTITY_NET_NAMESPACE,
		 among(resolved->net_namespaces, resolved->n_net_namespaces, id->net_namespace)},
		{rule->pid_namespace, SONDE_IDENTITY_PID_NAMESPACE,
		 among(resolved->pid_namespaces, resolved->n_pid_namespaces, id->pid_namespace)},
	};

	for (size_t i = 0; i < ELEMENTS_OF(conditions); i++) {
		bool known = (id->unknown & conditions[i].unknown) == 0;

		if (conditions[i].asked && !(known ? conditions[i].matches : if_unknown))
			return false;
	}
	return true;
}
