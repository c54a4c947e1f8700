/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/import-rover.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "agent/import-rover-internal.h"
#include "agent/options.h"
#include "base/log.h"
#include "base/num.h"
#include "io/address.h"

#define VALUE_MAX SONDE_IMPORT_VALUE_MAX

/* "localhost:11800", "[::1]:11800": the host, and behind it the port. */
static int to_host(const char *text, char dst[VALUE_MAX])
{
	const char *colon = strrchr(text, ':');
	size_t n = colon ? (size_t)(colon - text) : strlen(text);

	if (n >= 2 && text[0] == '[' && text[n - 1] == ']') {
		text++;
		n -= 2;
	}
	if (n == 0 || strcspn(text, ",/ ") < n)
		return -EINVAL;
	(void)snprintf(dst, VALUE_MAX, "%.*s", (int)n, text);
	return 0;
}

static int to_port(const char *text, char dst[VALUE_MAX])
{
	const char *colon = strrchr(text, ':');

	if (!colon)
		return -EINVAL;
	(void)snprintf(dst, VALUE_MAX, "%s", colon + 1);
	return 0;
}

/* Go's durations: "1m30s", "1.5s", "500ms". */
static int to_duration(const char *text, char dst[VALUE_MAX])
{
	static const struct {
		const char *unit;
		double ms;
	} units[] = {{"ms", 1}, {"us", 1e-3}, {"ns", 1e-6}, {"s", 1e3}, {"m", 6e4}, {"h", 3.6e6}};
	double sum_ms = 0, n;
	uint64_t ms;

	for (const char *p = text; *p || p == text;) {
		char number[32];
		size_t len = strspn(p, "0123456789."), i = 0;

		if (len == 0 || len >= sizeof(number))
			return -EINVAL;
		(void)snprintf(number, sizeof(number), "%.*s", (int)len, p);
		p += len;
		while (i < ELEMENTS_OF(units) &&
		       strncmp(p, units[i].unit, strlen(units[i].unit)) != 0)
			i++;
		if (i == ELEMENTS_OF(units) || sonde_parse_double(number, &n) < 0 || n > 1e9)
			return -EINVAL;
		sum_ms += n * units[i].ms;
		p += strlen(units[i].unit);
	}
	ms = (uint64_t)(sum_ms + 0.5);
	if (ms >= 1000 && ms % 1000 == 0)
		(void)snprintf(dst, VALUE_MAX, "%" PRIu64 "s", ms / 1000);
	else
		(void)snprintf(dst, VALUE_MAX, "%" PRIu64 "ms", ms);
	return 0;
}

static int to_level(const char *text, char dst[VALUE_MAX])
{
	static const char *const levels[][2] = {
		{"TRACE", "debug"},	{"DEBUG", "debug"}, {"INFO", "info"},	{"WARN", "warning"},
		{"WARNING", "warning"}, {"ERROR", "error"}, {"FATAL", "error"}, {"PANIC", "error"},
	};

	for (size_t i = 0; i < ELEMENTS_OF(levels); i++) {
		if (strcasecmp(text, levels[i][0]) != 0)
			continue;
		(void)snprintf(dst, VALUE_MAX, "%s", levels[i][1]);
		return 0;
	}
	return -EINVAL;
}

#define ADDRESS "core.backend.addr"
#define ADDRESS_ENV "ROVER_BACKEND_ADDR"
#define NET "profiling.task.network."
#define NET_ENV "ROVER_PROFILING_TASK_NETWORK_"
#define CON "profiling.continuous."
#define CON_ENV "ROVER_PROFILING_CONTINUOUS_"
#define LAYER7 "HTTP and the protocols above TCP are not observed"

/* In the order in which agent.yaml has them. */
static const struct row {
	const char *from, *env;
	const char *to; /* NULL: there is nothing like it, for this reason */
	int (*convert)(const char *text, char dst[VALUE_MAX]); /* NULL: as it is */
	const char *reason;
	const char *same; /* a value of which nothing needs to be said on stderr */
	bool tls;	  /* only where core.backend.enable_TLS is true */
	bool secret;	  /* printed into the file alone, and not tried */
} rows[] = {
	{ADDRESS, ADDRESS_ENV, "backend.host", to_host},
	{ADDRESS, ADDRESS_ENV, "backend.port", to_port},
	{"core.backend.authentication", "ROVER_BACKEND_AUTHENTICATION", "backend.authentication",
	 .secret = true},
	{"core.backend.enable_TLS", "ROVER_BACKEND_ENABLE_TLS", "backend.tls.enabled", .tls = true},
	{"core.backend.ca_pem_path", "ROVER_BACKEND_CA_PEM_PATH", "backend.tls.ca_file",
	 .tls = true},
	{"core.backend.client_pem_path", "ROVER_BACKEND_PEM_PATH", "backend.tls.cert_file",
	 .tls = true},
	{"core.backend.client_key_path", "ROVER_BACKEND_KEY_PATH", "backend.tls.key_file",
	 .tls = true},
	{"core.backend.insecure_skip_verify", "ROVER_BACKEND_INSECURE_SKIP_VERIFY",
	 "backend.tls.insecure_skip_verify", .tls = true},
	{"profiling.check_interval", "ROVER_PROFILING_CHECK_INTERVAL", "backend.poll", to_duration},
	{"process_discovery.heartbeat_period", "ROVER_PROCESS_DISCOVERY_HEARTBEAT_PERIOD",
	 "backend.heartbeat", to_duration},
	{"process_discovery.scanner.period", "ROVER_PROCESS_DISCOVERY_SCAN_PERIOD",
	 "processes.scan", to_duration},
	{NET "report_interval", NET_ENV "TOPOLOGY_REPORT_INTERVAL", "skywalking.report_interval",
	 to_duration},
	{CON "check_interval", CON_ENV "CHECK_INTERVAL", "skywalking.continuous.check",
	 to_duration},
	{CON "trigger.execute_duration", CON_ENV "TRIGGER_EXECUTE_DURATION",
	 "skywalking.continuous.duration", to_duration},
	{CON "trigger.silence_duration", CON_ENV "TRIGGER_SILENCE_DURATION",
	 "skywalking.continuous.silence", to_duration},
	{"logger.level", "ROVER_LOGGER_LEVEL", "log.level", to_level},
	{"core.backend.check_period", "ROVER_BACKEND_CHECK_PERIOD",
	 .reason = "the state of the connection is known without asking", .same = "5"},
	{"process_discovery.properties_report_period",
	 "ROVER_PROCESS_DISCOVERY_PROPERTIES_REPORT_PERIOD",
	 .reason = "all processes are reported at each tenth heartbeat", .same = "10"},
	{"process_discovery.scanner.mode", "ROVER_PROCESS_DISCOVERY_SCAN_MODE",
	 .reason = "processes are named by processes.rules alone", .same = "REGEX"},
	{"process_discovery.scanner.agent.process_status_refresh_period",
	 "ROVER_PROCESS_DISCOVERY_AGENT_PROCESS_STATUS_REFRESH_PERIOD",
	 .reason = "language agents are not looked for", .same = "1m"},
	{"profiling.active", "ROVER_PROFILING_ACTIVE",
	 .reason = "nothing is attached while there is no task; do not start the agent instead",
	 .same = "true"},
	{"profiling.flush_interval", "ROVER_PROFILING_FLUSH_INTERVAL",
	 .reason = "there are no stacks to flush", .same = "5s"},
	{"profiling.task.on_cpu.dump_period", "ROVER_PROFILING_TASK_ON_CPU_DUMP_PERIOD",
	 .reason = "CPU profiles are not made", .same = "9ms"},
	{NET "meter_prefix", NET_ENV "TOPOLOGY_METER_PREFIX",
	 .reason = "meters are named rover_net_p_…, as the rules of an OAP have them",
	 .same = "rover_net_p"},
	{CON "meter_prefix", CON_ENV "METER_PREFIX",
	 .reason = "what thresholds are held against is not sent as meters", .same = "rover_con_p"},
	{CON "fetch_interval", CON_ENV "FETCH_INTERVAL", .reason = "it is looked once a second",
	 .same = "1s"},
	{NET "protocol_analyze.per_cpu_buffer", NET_ENV "PROTOCOL_ANALYZE_PER_CPU_BUFFER",
	 .reason = LAYER7, .same = "400KB"},
	{NET "protocol_analyze.parallels", NET_ENV "PROTOCOL_ANALYZE_PARALLELS", .reason = LAYER7,
	 .same = "2"},
	{NET "protocol_analyze.queue_size", NET_ENV "PROTOCOL_ANALYZE_QUEUE_SIZE", .reason = LAYER7,
	 .same = "5000"},
	{0},
};

/* Whole parts. The variables begin with the second. */
static const struct part {
	const char *from, *env, *active, *reason;
} parts[] = {
	{"access_log", "ROVER_ACCESS_LOG_", "access_log.active",
	 "access logs of all traffic are not made, only tasks are run"},
	{"pprof", "ROVER_PPROF_", "pprof.active", "it is a part of Go programs"},
	{0},
};

static bool tls_is_on(struct sonde_import *im)
{
	char text[VALUE_MAX];

	return sonde_import_value(im, "core.backend.enable_TLS", "ROVER_BACKEND_ENABLE_TLS",
				  text) &&
	       strcmp(text, "true") == 0;
}

/* Would our own file take it? */
static int check_value(struct sonde_import *im, const char *key, const char *value,
		       char why[VALUE_MAX])
{
	_cleanup_free_ char *error = NULL;
	int r = sonde_config_set(&sonde_agent_config_spec, im->scratch, key, value, key, &error);

	if (r < 0)
		(void)snprintf(why, VALUE_MAX, "%.400s", error ? error : strerror(-r));
	return r;
}

#define ADDRESSES_MAX 16 /* of our own key */

/* "a:1, b:2": several backends. Return: how many, 0 = one of them is no HOST:PORT. */
static size_t split_addresses(char *text, const char *ret[static ADDRESSES_MAX])
{
	struct sonde_address a;
	char *at = text, *one;
	size_t n = 0;

	while ((one = strsep(&at, ","))) {
		one += strspn(one, " \t");
		one[strcspn(one, " \t")] = '\0';
		if (n == ADDRESSES_MAX || sonde_address_parse(one, 0, &a) < 0)
			return 0;
		ret[n++] = one;
	}
	return n;
}

/* A list instead of host and port. False: it is no list. */
static bool take_addresses(struct sonde_import *im)
{
	const char *list[ADDRESSES_MAX];
	char text[VALUE_MAX], cut[VALUE_MAX];
	size_t n;

	if (!sonde_import_value(im, ADDRESS, ADDRESS_ENV, text) || !strchr(text, ',') ||
	    sonde_import_is_cut(text))
		return false;
	memcpy(cut, text, sizeof(cut));
	n = split_addresses(cut, list);
	if (n == 0) {
		sonde_import_leave_out(im, ADDRESS, text,
				       "of a list each has to be HOST:PORT, 16 at most: set "
				       "backend.addresses",
				       false);
		return true;
	}
	sonde_import_print_key(im, "backend.addresses", NULL);
	for (size_t i = 0; i < n; i++) {
		(void)fputs("    - ", im->out);
		sonde_import_print_text(im->out, list[i]);
		(void)fputc('\n', im->out);
	}
	return true;
}

static void take_row(struct sonde_import *im, const struct row *row, bool tls)
{
	char text[VALUE_MAX], value[VALUE_MAX], why[VALUE_MAX];

	if (!sonde_import_value(im, row->from, row->env, text))
		return;
	if (!row->to) {
		sonde_import_leave_out(im, row->from, text, row->reason,
				       strcmp(text, row->same) == 0);
		return;
	}
	/* Rover's own file has the paths of certificates that it does not read. */
	if (row->tls && !tls)
		return;
	if (sonde_import_is_cut(text)) {
		sonde_import_leave_out(im, row->from, "", "longer than 1022 bytes", false);
		return;
	}
	(void)snprintf(value, sizeof(value), "%s", text);
	if (row->convert && row->convert(text, value) < 0)
		sonde_import_leave_out(im, row->from, text, "not understood", false);
	else if (!row->secret && check_value(im, row->to, value, why) < 0)
		sonde_import_leave_out(im, row->from, text, why, false);
	else
		sonde_import_print_key(im, row->to, value);
	if (row->secret)
		(void)fprintf(im->words,
			      "%s is a secret: let not everyone read the file that this "
			      "goes to (chmod o-r), or the agent refuses it\n",
			      row->to);
}

static void take_part(struct sonde_import *im, const struct part *part)
{
	const struct sonde_yaml_node *n = sonde_import_node(im, part->from);
	char text[VALUE_MAX] = "";

	if (!n)
		return;
	(void)sonde_import_value(im, part->active, NULL, text);
	sonde_import_leave_out(im, part->from, "", part->reason, strcmp(text, "true") != 0);
}

/* Begins @path with @with, as a whole word of it? */
static bool is_within(const char *path, const char *with)
{
	size_t n = strlen(with);

	return strncmp(path, with, n) == 0 && (path[n] == '\0' || path[n] == '.');
}

static bool is_known(const char *path)
{
	for (const struct row *r = rows; r->from; r++) {
		if (strcmp(path, r->from) == 0)
			return true;
	}
	for (const struct part *p = parts; p->from; p++) {
		if (is_within(path, p->from))
			return true;
	}
	return sonde_import_processes_knows(path);
}

static void walk(struct sonde_import *im, const struct sonde_yaml_node *n, const char *path)
{
	char below[SONDE_CONFIG_KEY_MAX * 2];

	if (path[0] && is_known(path))
		return;
	if (n->kind != SONDE_YAML_MAPPING) {
		/* Without its value: it may be a secret under a key that is misspelt. */
		if (n->kind != SONDE_YAML_NULL)
			sonde_import_leave_out(im, path, "", "not a key that is known of Rover",
					       false);
		return;
	}
	for (size_t i = 0; i < n->n_children; i++) {
		(void)snprintf(below, sizeof(below), "%.120s%s%.120s", path, path[0] ? "." : "",
			       n->children[i]->key);
		walk(im, n->children[i], below);
	}
}

static bool variable_is_known(const struct sonde_import *im, const char *name, size_t n)
{
	char in_file[SONDE_CONFIG_KEY_MAX + 8];

	for (const struct row *r = rows; r->from; r++) {
		if (strlen(r->env) == n && strncmp(r->env, name, n) == 0)
			return true;
	}
	if (n >= SONDE_CONFIG_KEY_MAX)
		return false;
	(void)snprintf(in_file, sizeof(in_file), "${%.*s:", (int)n, name);
	return strstr(im->text, in_file) || sonde_import_processes_knows_env(name, n);
}

/*
 * Rover reads no variable that its file does not name; whoever set one expects something of it. It is named without
 * its value, which may be a secret.
 */
static void look_at_variables(struct sonde_import *im)
{
	for (char *const *v = im->environ; v && *v; v++) {
		size_t n = strcspn(*v, "=");
		const char *reason = "no key of Rover's file has this variable";
		char name[SONDE_CONFIG_KEY_MAX];

		if (strncmp(*v, "ROVER_", 6) != 0 || variable_is_known(im, *v, n))
			continue;
		for (const struct part *p = parts; p->from; p++) {
			if (strncmp(*v, p->env, strlen(p->env)) == 0)
				reason = p->reason;
		}
		(void)snprintf(name, sizeof(name), "%.*s", (int)n, *v);
		sonde_import_leave_out(im, name, "", reason, false);
	}
}

static int import(struct sonde_import *im)
{
	const bool tls = tls_is_on(im);
	bool processes = false, listed;
	int r;

	(void)fputs("# Made by sonde-agent --import-rover of ", im->out);
	sonde_import_print_text(im->out, im->name);
	(void)fputs(".\n", im->out);
	listed = take_addresses(im);
	for (const struct row *row = rows; row->from; row++) {
		/* The list of rules belongs to the section that begins with processes.scan. */
		if (!processes && row->to && strncmp(row->to, "skywalking.", 11) == 0) {
			sonde_import_processes(im);
			processes = true;
		}
		if (!listed || strcmp(row->from, ADDRESS) != 0)
			take_row(im, row, tls);
	}
	for (const struct part *p = parts; p->from; p++)
		take_part(im, p);
	walk(im, im->root, "");
	look_at_variables(im);
	r = fflush(im->notes) == 0 ? 0 : -ENOMEM;
	if (r == 0 && im->notes_text && im->notes_text[0])
		(void)fprintf(im->out, "\n# Not taken:\n%s", im->notes_text);
	return r;
}

/* Rover's sections; one is enough. A file of nothing means its variables. */
static bool is_rovers(const struct sonde_yaml_node *root)
{
	static const char *const sections[] = {
		"core", "process_discovery", "profiling", "access_log", "pprof", "logger"};

	if (root->kind == SONDE_YAML_NULL ||
	    (root->kind == SONDE_YAML_MAPPING && !root->n_children))
		return true;
	for (size_t i = 0; root->kind == SONDE_YAML_MAPPING && i < ELEMENTS_OF(sections); i++) {
		if (sonde_yaml_get(root, sections[i]))
			return true;
	}
	return false;
}

static int refuse(const char *name, const struct sonde_yaml_node *root, FILE *words)
{
	bool own = root->kind == SONDE_YAML_MAPPING &&
		   (sonde_yaml_get(root, "backend") || sonde_yaml_get(root, "processes"));

	(void)fprintf(words,
		      "%s: %s: of its sections (core, process_discovery, profiling, access_log, "
		      "pprof, logger) it has none\n",
		      name,
		      own ? "this is a file of sonde-agent, not one of SkyWalking Rover"
			  : "this is no configuration of SkyWalking Rover");
	return -EINVAL;
}

int sonde_import_rover(const char *text, size_t len, const char *name, char *const *env, FILE *out,
		       FILE *words)
{
	_cleanup_(sonde_yaml_freep) struct sonde_yaml_node *root = NULL;
	_cleanup_free_ char *error = NULL;
	struct sonde_import im = {
		.text = text, .name = name, .environ = env, .out = out, .words = words};
	int r;

	assert(text && name && out && words);

	r = sonde_yaml_parse(text, len, name, &root, &error);
	if (r < 0) {
		(void)fprintf(words, "%s\n", error ? error : strerror(-r));
		return r;
	}
	if (!is_rovers(root))
		return refuse(name, root, words);
	im.root = root;
	r = sonde_config_parse(&sonde_agent_config_spec, "", 0, name, &im.scratch, &error);
	if (r == 0)
		im.notes = open_memstream(&im.notes_text, &im.notes_size);
	if (r == 0 && !im.notes)
		r = -ENOMEM;
	if (r == 0)
		r = import(&im);
	if (im.notes)
		(void)fclose(im.notes);
	free(im.notes_text);
	im.scratch = sonde_config_free(&sonde_agent_config_spec, im.scratch);
	return r;
}

int sonde_import_rover_file(const char *path)
{
	_cleanup_free_ char *text = NULL;
	bool is_stdin;
	size_t n = 0;
	int r;

	assert(path);

	is_stdin = strcmp(path, "-") == 0;
	if (is_stdin)
		r = sonde_yaml_read_fd(STDIN_FILENO, SONDE_CONFIG_FILE_MAX, &text, &n);
	else
		r = sonde_yaml_read_file(path, SONDE_CONFIG_FILE_MAX, &text, &n);
	if (r < 0) {
		(void)sonde_log_err(r, "cannot read '%s'", path);
		return 1;
	}
	r = sonde_import_rover(text, n, is_stdin ? "standard input" : path, environ, stdout,
			       stderr);
	if (r == 0 && fflush(stdout) != 0)
		r = sonde_log_err(-errno, "cannot write");
	return r < 0 ? (r == -EINVAL ? SONDE_CONFIG_EXIT_USAGE : 1) : 0;
}
