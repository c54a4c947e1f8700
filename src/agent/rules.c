/* SPDX-License-Identifier: Apache-2.0 */
#define PCRE2_CODE_UNIT_WIDTH 8

#include "agent/rules.h"

#include <assert.h>
#include <errno.h>
#include <fnmatch.h>
#include <pcre2.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"

#define MATCH_LIMIT 10000
#define DEPTH_LIMIT 500
#define HEAP_LIMIT_KIB 256
#define NAME_TEXT_MAX 512

struct rule {
	char *executable;
	pcre2_code *command; /* NULL: any */
	uint16_t port;
	char *service, *instance, *process_name, *layer;
	char **labels;
	size_t n_labels;
};

struct sonde_rules {
	struct rule *rules;
	size_t n;
	char *host;
	pcre2_match_context *context;
	uint64_t limits_hit;
};

static void code_freep(pcre2_code **code)
{
	pcre2_code_free(*code);
}

static int compile(const char *pattern, pcre2_code **ret, char words[SONDE_RULES_WORDS_MAX])
{
	PCRE2_UCHAR text[100] = "";
	PCRE2_SIZE at = 0;
	pcre2_code *code;
	int e = 0;

	code = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, PCRE2_NEVER_BACKSLASH_C,
			     &e, &at, NULL);
	if (!code) {
		(void)pcre2_get_error_message(e, text, sizeof(text));
		(void)snprintf(words, SONDE_RULES_WORDS_MAX, "command: %s at byte %zu",
			       (const char *)text, (size_t)at);
		return -EINVAL;
	}
	*ret = code;
	return 0;
}

/* Every {word} must be one that is filled in. */
static int check_template(const char *key, const char *t, char words[SONDE_RULES_WORDS_MAX])
{
	static const char *const known[] = {"{exe}", "{pid}", "{host}", "{port}"};

	for (t = strchr(t, '{'); t; t = strchr(t + 1, '{')) {
		bool ok = false;

		for (size_t i = 0; i < ELEMENTS_OF(known); i++)
			ok = ok || strncmp(t, known[i], strlen(known[i])) == 0;
		if (ok)
			continue;
		(void)snprintf(words, SONDE_RULES_WORDS_MAX,
			       "%s: '%.30s' is not known: {exe}, {pid}, {host}, {port} are", key,
			       t);
		return -EINVAL;
	}
	return 0;
}

int sonde_rules_check(const struct sonde_agent_rule *rule, char words[SONDE_RULES_WORDS_MAX])
{
	_cleanup_(code_freep) pcre2_code *code = NULL;
	int r = 0;

	assert(rule && words);

	if (!rule->executable[0] && !rule->command[0] && !rule->port) {
		(void)snprintf(words, SONDE_RULES_WORDS_MAX,
			       "one of executable, command and port is needed");
		return -EINVAL;
	}
	if (!rule->layer[0]) {
		(void)snprintf(words, SONDE_RULES_WORDS_MAX, "layer: must not be empty");
		return -EINVAL;
	}
	if (rule->command[0])
		r = compile(rule->command, &code, words);
	if (r == 0)
		r = check_template("service", rule->service, words);
	if (r == 0)
		r = check_template("instance", rule->instance, words);
	if (r == 0)
		r = check_template("process_name", rule->process_name, words);
	return r;
}

struct sonde_rules *sonde_rules_free(struct sonde_rules *r)
{
	if (!r)
		return NULL;
	for (size_t i = 0; i < r->n; i++) {
		struct rule *rule = &r->rules[i];

		free(rule->executable);
		pcre2_code_free(rule->command);
		free(rule->service);
		free(rule->instance);
		free(rule->process_name);
		free(rule->layer);
		for (size_t k = 0; k < rule->n_labels; k++)
			free(rule->labels[k]);
		free(rule->labels);
	}
	free(r->rules);
	free(r->host);
	pcre2_match_context_free(r->context);
	free(r);
	return NULL;
}

static int copy_labels(struct rule *to, char *const *labels)
{
	size_t n = 0;

	while (labels && labels[n])
		n++;
	to->labels = calloc(n + 1, sizeof(to->labels[0]));
	if (!to->labels)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		to->labels[i] = strdup(labels[i]);
		if (!to->labels[i])
			return -ENOMEM;
		to->n_labels++;
	}
	return 0;
}

static int copy_rule(struct rule *to, const struct sonde_agent_rule *from)
{
	char words[SONDE_RULES_WORDS_MAX];
	int r = 0;

	to->port = from->port;
	to->executable = strdup(from->executable);
	to->service = strdup(from->service);
	to->instance = strdup(from->instance);
	to->process_name = strdup(from->process_name);
	to->layer = strdup(from->layer);
	if (!to->executable || !to->service || !to->instance || !to->process_name || !to->layer)
		return -ENOMEM;
	r = copy_labels(to, from->labels);
	if (r == 0 && from->command[0])
		r = compile(from->command, &to->command, words);
	return r;
}

int sonde_rules_new(const struct sonde_agent_rule *rules, size_t n, const char *host,
		    struct sonde_rules **ret)
{
	_cleanup_(sonde_rules_freep) struct sonde_rules *r = NULL;
	int e;

	assert((rules || n == 0) && host && ret);

	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->host = strdup(host);
	r->rules = calloc(n ? n : 1, sizeof(r->rules[0]));
	r->context = pcre2_match_context_create(NULL);
	if (!r->host || !r->rules || !r->context)
		return -ENOMEM;
	(void)pcre2_set_match_limit(r->context, MATCH_LIMIT);
	(void)pcre2_set_depth_limit(r->context, DEPTH_LIMIT);
	(void)pcre2_set_heap_limit(r->context, HEAP_LIMIT_KIB);
	for (size_t i = 0; i < n; i++) {
		r->n++;
		e = copy_rule(&r->rules[i], &rules[i]);
		if (e < 0)
			return e;
	}
	*ret = TAKE_PTR(r);
	return 0;
}

bool sonde_rules_want_ports(const struct sonde_rules *r)
{
	assert(r);

	for (size_t i = 0; i < r->n; i++) {
		const struct rule *rule = &r->rules[i];

		if (rule->port || strstr(rule->service, "{port}") ||
		    strstr(rule->instance, "{port}") || strstr(rule->process_name, "{port}"))
			return true;
	}
	return false;
}

static bool command_matches(struct sonde_rules *r, const pcre2_code *code, const char *command)
{
	pcre2_match_data *data = pcre2_match_data_create(1, NULL);
	int n;

	if (!data)
		return false;
	n = pcre2_match(code, (PCRE2_SPTR)command, strlen(command), 0, 0, data, r->context);
	pcre2_match_data_free(data);
	if (n < 0 && n != PCRE2_ERROR_NOMATCH && r->limits_hit++ == 0)
		(void)sonde_log_warn(0, "a command line is too much for the pattern of a rule's "
					"`command`: it counts as no match");
	return n >= 0;
}

static bool listens_on(const struct sonde_rules_facts *f, uint16_t port)
{
	for (size_t i = 0; i < f->n_ports; i++) {
		if (f->ports[i] == port)
			return true;
	}
	return false;
}

static bool matches(struct sonde_rules *r, const struct rule *rule,
		    const struct sonde_rules_facts *f)
{
	if (rule->executable[0] && fnmatch(rule->executable, f->executable, 0) != 0)
		return false;
	if (rule->port && !listens_on(f, rule->port))
		return false;
	return !rule->command || command_matches(r, rule->command, f->command);
}

/* The last part of the path, without the kernel's mark of a deleted file; the comm where no path is known. */
static void exe_name(const struct sonde_rules_facts *f, char dst[64])
{
	static const char deleted[] = " (deleted)";
	const char *slash = strrchr(f->executable, '/');
	const char *name = slash ? slash + 1 : f->executable;
	size_t n;

	if (!name[0])
		name = f->comm;
	(void)snprintf(dst, 64, "%s", name);
	n = strlen(dst);
	if (n >= sizeof(deleted) && strcmp(dst + n - (sizeof(deleted) - 1), deleted) == 0)
		dst[n - (sizeof(deleted) - 1)] = '\0';
}

/* Return: true if the name was cut. */
static bool expand(const struct sonde_rules *r, const char *template, uint16_t port,
		   const struct sonde_rules_facts *f, char dst[SONDE_PROCESS_NAME_MAX])
{
	char text[NAME_TEXT_MAX] = "", exe[64], number[16];
	size_t at = 0;

	exe_name(f, exe);
	for (const char *p = template; *p && at < sizeof(text) - 1;) {
		const char *value = NULL;
		size_t skip = 0;

		if (strncmp(p, "{exe}", 5) == 0) {
			value = exe;
			skip = 5;
		} else if (strncmp(p, "{host}", 6) == 0) {
			value = r->host;
			skip = 6;
		} else if (strncmp(p, "{pid}", 5) == 0) {
			(void)snprintf(number, sizeof(number), "%u", f->pid);
			value = number;
			skip = 5;
		} else if (strncmp(p, "{port}", 6) == 0) {
			(void)snprintf(number, sizeof(number), "%u", port);
			value = number;
			skip = 6;
		}
		if (!value) {
			text[at++] = *p++;
			continue;
		}
		(void)snprintf(text + at, sizeof(text) - at, "%s", value);
		at += strlen(text + at);
		p += skip;
	}
	text[at] = '\0';
	return sonde_process_set_entity(dst, text);
}

static void fill(const struct sonde_rules *r, const struct rule *rule,
		 const struct sonde_rules_facts *f, struct sonde_process *p)
{
	uint16_t port = rule->port ? rule->port : (f->n_ports ? f->ports[0] : 0);

	p->cut = expand(r, rule->service, port, f, p->service);
	p->cut |= expand(r, rule->instance, port, f, p->instance);
	p->cut |= expand(r, rule->process_name, port, f, p->name);
	if (sonde_process_set_labels(p, rule->labels, rule->n_labels) < 0)
		sonde_log_debug("pid %u: no memory for its labels", f->pid);
	sonde_process_set_name(p->layer, sizeof(p->layer), rule->layer);
	if (f->command[0])
		sonde_process_set_name(p->command, sizeof(p->command), f->command);
}

bool sonde_rules_apply(struct sonde_rules *r, const struct sonde_rules_facts *facts,
		       struct sonde_process *process)
{
	assert(r && facts && process);

	for (size_t i = 0; i < r->n; i++) {
		if (!matches(r, &r->rules[i], facts))
			continue;
		fill(r, &r->rules[i], facts, process);
		return true;
	}
	return false;
}

void sonde_rules_adopt(const struct sonde_rules *r, const struct sonde_rules_facts *facts,
		       struct sonde_process *process)
{
	static char service[] = "{exe}", instance[] = "{host}", layer[] = "GENERAL";
	const struct rule rule = {
		.service = service, .instance = instance, .process_name = service, .layer = layer};

	assert(r && facts && process);

	fill(r, &rule, facts, process);
}

uint64_t sonde_rules_limits_hit(const struct sonde_rules *r)
{
	assert(r);

	return r->limits_hit;
}
