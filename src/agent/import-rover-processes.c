/* SPDX-License-Identifier: Apache-2.0 */
/* Rover's process discovery: its regular expressions become rules; pods are not looked up. */
#include <string.h>

#include "agent/import-rover-internal.h"
#include "agent/rules.h"

#define VALUE_MAX SONDE_IMPORT_VALUE_MAX
#define REGEX "process_discovery.scanner.regex"
#define KUBE "process_discovery.kubernetes"
#define ANALYZERS KUBE ".analyzers"
#define PODS                                                                                       \
	"pods are not looked up: write processes.rules for what runs in them, by executable, "     \
	"command or port"

/* Of Rover's templates those that a rule can have too. */
static const char *const templates[][2] = {
	{"{{.Process.ExeName}}", "{exe}"},
	{"{{.Process.Pid}}", "{pid}"},
	{"{{.Rover.HostName}}", "{host}"},
};

/* "{{.Rover.HostIPV4 "en0"}}": the address of an interface, here the host's name. */
static size_t host_template(const char *p)
{
	static const char begin[] = "{{.Rover.HostIPV";
	const char *end = strncmp(p, begin, sizeof(begin) - 1) == 0 ? strstr(p, "}}") : NULL;

	return end ? (size_t)(end - p) + 2 : 0;
}

/* False: there is a template that no rule can have. */
static bool translate(const char *text, char dst[VALUE_MAX])
{
	size_t at = 0;

	while (*text) {
		const char *to = NULL;
		size_t skip = host_template(text);

		if (skip)
			to = "{host}";
		for (size_t i = 0; i < ELEMENTS_OF(templates) && !to; i++) {
			skip = strlen(templates[i][0]);
			if (strncmp(text, templates[i][0], skip) == 0)
				to = templates[i][1];
		}
		if (!to && (*text == '{' || at + 1 >= VALUE_MAX))
			return false;
		if (!to) {
			dst[at++] = *text++;
			continue;
		}
		if (at + strlen(to) >= VALUE_MAX)
			return false;
		memcpy(dst + at, to, strlen(to));
		at += strlen(to);
		text += skip;
	}
	dst[at] = '\0';
	return true;
}

/* Of a template that translate() knows: its bytes. 0: none stands here. */
static size_t known_template(const char *p)
{
	for (size_t i = 0; i < ELEMENTS_OF(templates); i++) {
		size_t n = strlen(templates[i][0]);

		if (strncmp(p, templates[i][0], n) == 0)
			return n;
	}
	return host_template(p);
}

/* "instance_name: '{{.Pod.Name}}' has no counterpart": the first one that no rule can have. */
static void say_template(const char *key, const char *text, char why[SONDE_RULES_WORDS_MAX])
{
	size_t n;

	while (*text && (*text != '{' || known_template(text)))
		text += *text == '{' ? known_template(text) : 1;
	n = strcspn(text, "}");
	n += strspn(text + n, "}");
	(void)snprintf(
		why, SONDE_RULES_WORDS_MAX,
		"%s: '%.*s' has no counterpart, a rule knows {exe}, {pid}, {host} and {port}", key,
		(int)(n < 40 ? n : 40), text);
}

struct rule {
	char command[VALUE_MAX], layer[VALUE_MAX], service[VALUE_MAX], instance[VALUE_MAX],
		process_name[VALUE_MAX], labels[VALUE_MAX];
};

/* Return: NULL, or why it cannot be one of our rules. */
static const char *read_rule(const struct sonde_import *im, const struct sonde_yaml_node *n,
			     struct rule *rule, char why[SONDE_RULES_WORDS_MAX])
{
	const struct {
		const char *key;
		char *dst;
		const char *fallback;
	} keys[] = {
		{"service_name", rule->service, ""},
		{"instance_name", rule->instance, "{{.Rover.HostName}}"},
		{"process_name", rule->process_name, "{{.Process.ExeName}}"},
	};
	char text[VALUE_MAX];

	*rule = (struct rule){.layer = "OS_LINUX"};
	if (!sonde_import_text(im, sonde_yaml_get(n, "match_cmd"), rule->command))
		return "it has no match_cmd";
	(void)sonde_import_text(im, sonde_yaml_get(n, "layer"), rule->layer);
	(void)sonde_import_text(im, sonde_yaml_get(n, "labels"), rule->labels);
	if (!rule->layer[0])
		(void)snprintf(rule->layer, sizeof(rule->layer), "OS_LINUX");
	for (size_t i = 0; i < ELEMENTS_OF(keys); i++) {
		if (!sonde_import_text(im, sonde_yaml_get(n, keys[i].key), text))
			(void)snprintf(text, sizeof(text), "%s", keys[i].fallback);
		if (!translate(text, keys[i].dst)) {
			say_template(keys[i].key, text, why);
			return why;
		}
	}
	return rule->service[0] ? NULL : "it has no service_name";
}

/* In front of every service name that has no cluster, as Rover puts it. */
static void add_cluster(const struct sonde_import *im, struct rule *rule)
{
	char cluster[VALUE_MAX], service[VALUE_MAX];

	if (strstr(rule->service, "::") ||
	    !sonde_import_value(im, "core.cluster_name", "ROVER_CORE_CLUSTER_NAME", cluster))
		return;
	memcpy(service, rule->service, sizeof(service));
	(void)snprintf(rule->service, sizeof(rule->service), "%.400s::%.400s", cluster, service);
}

/* Would our own file take it? */
static bool is_rule(struct rule *rule, char why[SONDE_RULES_WORDS_MAX])
{
	static char none[] = "";
	const struct sonde_agent_rule r = {.executable = none,
					   .command = rule->command,
					   .service = rule->service,
					   .instance = rule->instance,
					   .process_name = rule->process_name,
					   .layer = rule->layer};

	if (strlen(rule->command) > 255 || strlen(rule->service) > 255 ||
	    strlen(rule->instance) > 255 || strlen(rule->process_name) > 255 ||
	    strlen(rule->layer) > 32 || sonde_import_is_cut(rule->labels)) {
		(void)snprintf(why, SONDE_RULES_WORDS_MAX, "one of its texts is too long");
		return false;
	}
	return sonde_rules_check(&r, why) == 0;
}

static void print_labels(FILE *out, const char *labels)
{
	const char *comma = "";
	char label[VALUE_MAX];

	(void)fputs(", labels: [", out);
	for (const char *p = labels; *p;) {
		size_t n = strcspn(p, ",");

		if (n) {
			(void)snprintf(label, sizeof(label), "%.*s", (int)n, p);
			(void)fputs(comma, out);
			sonde_import_print_text(out, label);
			comma = ", ";
		}
		p += n + (p[n] == ',');
	}
	(void)fputc(']', out);
}

static void print_rule(struct sonde_import *im, const struct rule *rule)
{
	const char *const texts[][2] = {{"command", rule->command},
					{"service", rule->service},
					{"instance", rule->instance},
					{"process_name", rule->process_name},
					{"layer", rule->layer}};

	(void)fputs("    - { ", im->out);
	for (size_t i = 0; i < ELEMENTS_OF(texts); i++) {
		(void)fprintf(im->out, "%s%s: ", i ? ", " : "", texts[i][0]);
		sonde_import_print_text(im->out, texts[i][1]);
	}
	if (rule->labels[0])
		print_labels(im->out, rule->labels);
	(void)fputs(" }\n", im->out);
}

/* Return: true if it became a rule. */
static bool take_regex(struct sonde_import *im, const struct sonde_yaml_node *n, size_t i,
		       bool first)
{
	char path[sizeof(REGEX) + 24], why[SONDE_RULES_WORDS_MAX] = "";
	struct rule rule;
	const char *reason = read_rule(im, n, &rule, why);

	(void)snprintf(path, sizeof(path), REGEX "[%zu]", i);
	if (!reason) {
		add_cluster(im, &rule);
		reason = is_rule(&rule, why) ? NULL : why;
	}
	if (reason) {
		/* What Rover's own file has: an entry with nothing in it. */
		sonde_import_leave_out(im, path, rule.command, reason, !rule.command[0]);
		return false;
	}
	if (first)
		sonde_import_print_key(im, "processes.rules", NULL);
	print_rule(im, &rule);
	return true;
}

static void take_cluster(struct sonde_import *im, bool used)
{
	char cluster[VALUE_MAX];

	if (!used &&
	    sonde_import_value(im, "core.cluster_name", "ROVER_CORE_CLUSTER_NAME", cluster))
		sonde_import_leave_out(im, "core.cluster_name", cluster,
				       "write it in front of the services of processes.rules, with "
				       "two colons between",
				       false);
}

static void take_kubernetes(struct sonde_import *im)
{
	static const char *const keys[][2] = {
		{"active", "ROVER_PROCESS_DISCOVERY_KUBERNETES_ACTIVE"},
		{"node_name", "ROVER_PROCESS_DISCOVERY_KUBERNETES_NODE_NAME"},
		{"namespaces", "ROVER_PROCESS_DISCOVERY_KUBERNETES_NAMESPACES"},
	};
	const struct sonde_yaml_node *list = sonde_import_node(im, ANALYZERS);
	char path[64], text[VALUE_MAX], service[VALUE_MAX];
	bool off = sonde_import_value(im, KUBE ".active", keys[0][1], text) &&
		   strcmp(text, "true") != 0;

	for (size_t i = 0; i < ELEMENTS_OF(keys); i++) {
		(void)snprintf(path, sizeof(path), KUBE ".%s", keys[i][0]);
		if (sonde_import_value(im, path, keys[i][1], text))
			sonde_import_leave_out(im, path, text, PODS, off);
	}
	for (size_t i = 0; list && i < list->n_children; i++) {
		(void)snprintf(path, sizeof(path), ANALYZERS "[%zu]", i);
		service[0] = text[0] = '\0';
		(void)sonde_import_text(im, sonde_yaml_get(list->children[i], "layer"), text);
		(void)sonde_import_text(im, sonde_yaml_get(list->children[i], "service_name"),
					service);
		(void)strncat(text, " ", sizeof(text) - strlen(text) - 1);
		(void)strncat(text, service, sizeof(text) - strlen(text) - 1);
		sonde_import_leave_out(im, path, text, PODS, true);
	}
}

void sonde_import_processes(struct sonde_import *im)
{
	const struct sonde_yaml_node *list = sonde_import_node(im, REGEX);
	bool any = false;

	for (size_t i = 0; list && i < list->n_children; i++)
		any |= take_regex(im, list->children[i], i, !any);
	take_cluster(im, any);
	take_kubernetes(im);
}

bool sonde_import_processes_knows(const char *path)
{
	static const char *const paths[] = {"core.cluster_name", REGEX,
					    KUBE ".active",	 KUBE ".node_name",
					    KUBE ".namespaces",	 ANALYZERS};

	for (size_t i = 0; i < ELEMENTS_OF(paths); i++) {
		if (strcmp(path, paths[i]) == 0)
			return true;
	}
	return false;
}

bool sonde_import_processes_knows_env(const char *name, size_t n)
{
	static const char *const names[] = {"ROVER_CORE_CLUSTER_NAME",
					    "ROVER_PROCESS_DISCOVERY_KUBERNETES_ACTIVE",
					    "ROVER_PROCESS_DISCOVERY_KUBERNETES_NODE_NAME",
					    "ROVER_PROCESS_DISCOVERY_KUBERNETES_NAMESPACES"};

	for (size_t i = 0; i < ELEMENTS_OF(names); i++) {
		if (strlen(names[i]) == n && strncmp(names[i], name, n) == 0)
			return true;
	}
	return false;
}
