/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/import-rover.h"
#include "agent/options.h"
#include "config/config.h"
#include "config/yaml.h"

struct result {
	char *yaml, *words;
	struct sonde_agent_config *config; /* what our own reading makes of @yaml */
};

static void result_done(struct result *r)
{
	free(r->yaml);
	free(r->words);
	r->config = sonde_config_free(&sonde_agent_config_spec, r->config);
}

static void import_unread(const char *text, const char *const *variables, struct result *ret)
{
	size_t n_yaml = 0, n_words = 0;
	FILE *out = open_memstream(&ret->yaml, &n_yaml),
	     *words = open_memstream(&ret->words, &n_words);
	union {
		const char *const *in;
		char *const *out;
	} u = {.in = variables};

	assert_non_null(out);
	assert_non_null(words);
	assert_ok(sonde_import_rover(text, strlen(text), "rover.yaml", u.out, out, words));
	assert_int_equal(fclose(out), 0);
	assert_int_equal(fclose(words), 0);
}

static void import(const char *text, const char *const *variables, struct result *ret)
{
	_cleanup_free_ char *error = NULL;
	void *config = NULL;

	import_unread(text, variables, ret);
	if (sonde_config_parse(&sonde_agent_config_spec, ret->yaml, strlen(ret->yaml), "made",
			       &config, &error) < 0)
		fail_msg("%s: %s", ret->yaml, error);
	ret->config = config;
}

static char *whole_shape(void)
{
	char *text = NULL;
	size_t n = 0;

	assert_ok(
		sonde_yaml_read_file(getenv("SONDE_ROVER_YAML"), SONDE_CONFIG_FILE_MAX, &text, &n));
	return text;
}

/* Without a word on stderr: it asks for nothing that is not here too. */
static void the_defaults_are_taken_over(void **state)
{
	_cleanup_(result_done) struct result r = {0};
	_cleanup_free_ char *text = whole_shape();
	static const char *const none[] = {NULL};

	import(text, none, &r);
	assert_string_equal(r.config->backend_host, "localhost");
	assert_int_equal(r.config->backend_port, 11800);
	assert_string_equal(r.config->backend_authentication, "");
	assert_int_equal(r.config->poll_ns, 10000000000);
	assert_int_equal(r.config->heartbeat_ns, 20000000000);
	assert_int_equal(r.config->scan_ns, 3000000000);
	assert_int_equal(r.config->report_interval_ns, 2000000000);
	assert_int_equal(r.config->continuous_check_ns, 5000000000);
	assert_int_equal(r.config->continuous_duration_ns, 600000000000);
	assert_int_equal(r.config->continuous_silence_ns, 1200000000000);
	assert_int_equal(r.config->n_rules, 0);
	assert_string_equal(r.words, "");
}

static void several_backends_are_a_list(void **state)
{
	_cleanup_(result_done) struct result r = {0}, bad = {0};
	static const char *const none[] = {NULL};

	import("core: {backend: {addr: 'oap-1:11800, [::1]:11801'}}\n", none, &r);
	assert_string_equal(r.config->backend_addresses[0], "oap-1:11800");
	assert_string_equal(r.config->backend_addresses[1], "[::1]:11801");
	assert_null(r.config->backend_addresses[2]);
	assert_string_equal(r.words, "");
	import("core: {backend: {addr: 'oap-1:11800,oap-2'}}\n", none, &bad);
	assert_null(bad.config->backend_addresses);
	assert_non_null(strstr(bad.words,
			       "core.backend.addr: 'oap-1:11800,oap-2' (of a list each has to "
			       "be HOST:PORT"));
}

static void a_template_that_no_rule_has_is_named(void **state)
{
	_cleanup_(result_done) struct result r = {0};
	static const char *const none[] = {NULL};

	import("process_discovery: {scanner: {regex: [{match_cmd: x, service_name: s, "
	       "instance_name: 'a-{{.Rover.HostName}}-{{.Pod.Name}}'}]}}\n",
	       none, &r);
	assert_non_null(strstr(r.words,
			       "instance_name: '{{.Pod.Name}}' has no counterpart, a rule knows "
			       "{exe}, {pid}, {host} and {port}"));
}

static void another_file_is_refused_before_a_byte_is_printed(void **state)
{
	static const struct {
		const char *text, *words;
	} cases[] = {
		{"backend: {host: x}\n",
		 "this is a file of sonde-agent, not one of SkyWalking Rover"},
		{"- a\n- b\n", "this is no configuration of SkyWalking Rover"},
		{"root:x:0:0\n", "this is no configuration of SkyWalking Rover"},
	};

	for (size_t i = 0; i < ELEMENTS_OF(cases); i++) {
		_cleanup_(result_done) struct result r = {0};
		size_t n_yaml = 0, n_words = 0;
		static char *none[] = {NULL};
		FILE *out = open_memstream(&r.yaml, &n_yaml),
		     *words = open_memstream(&r.words, &n_words);

		assert_true(out && words);
		assert_err(sonde_import_rover(cases[i].text, strlen(cases[i].text), "f", none, out,
					      words),
			   EINVAL);
		assert_int_equal(fclose(out), 0);
		assert_int_equal(fclose(words), 0);
		assert_string_equal(r.yaml, "");
		assert_memory_equal(r.words + strlen("f: "), cases[i].words,
				    strlen(cases[i].words));
	}
}

static void a_secret_is_told_of(void **state)
{
	_cleanup_(result_done) struct result r = {0};
	static const char *const none[] = {NULL};

	import("core: {backend: {authentication: hush}}\n", none, &r);
	assert_string_equal(r.config->backend_authentication, "hush");
	assert_non_null(strstr(r.words, "backend.authentication is a secret"));
	assert_null(strstr(r.words, "hush"));
}

/* Nothing is passed over: each key of the file is in what was made, as a key or in a comment. */
static void every_key_is_mapped_or_named(void **state)
{
	static const char *const named[] = {"core.backend.check_period: 5 (",
					    "process_discovery.properties_report_period: 10 (",
					    "process_discovery.scanner.mode: REGEX (",
					    "process_status_refresh_period: 1m (",
					    "scanner.regex[0] (",
					    "kubernetes.active: false (",
					    "kubernetes.analyzers[0]: ",
					    "profiling.active: true (",
					    "profiling.flush_interval: 5s (",
					    "on_cpu.dump_period: 9ms (",
					    "meter_prefix: rover_net_p (",
					    "per_cpu_buffer: 400KB (",
					    "continuous.meter_prefix: rover_con_p (",
					    "continuous.fetch_interval: 1s (",
					    "parallels: 2 (",
					    "queue_size: 5000 (",
					    "#   access_log (",
					    "#   pprof ("};
	_cleanup_(result_done) struct result r = {0};
	_cleanup_free_ char *text = whole_shape();
	static const char *const none[] = {NULL};

	import(text, none, &r);
	for (size_t i = 0; i < ELEMENTS_OF(named); i++) {
		if (!strstr(r.yaml, named[i]))
			fail_msg("%s is not in %s", named[i], r.yaml);
	}
	assert_null(strstr(r.yaml, "not a key that is known"));
}

static void variables_are_filled_in(void **state)
{
	static const char *const variables[] = {
		"ROVER_BACKEND_ADDR=[fd00::1]:11801",
		"ROVER_BACKEND_AUTHENTICATION=it's: #1",
		"ROVER_PROFILING_CHECK_INTERVAL=1m30s",
		"ROVER_LOGGER_LEVEL=WARN",
		"ROVER_CORE_CLUSTER_NAME=eu",
		"ROVER_PROCESS_DISCOVERY_REGEX_SCANNER_MATCH_CMD=java .*orders\\.jar",
		"ROVER_PROCESS_DISCOVERY_REGEX_SCANNER_SERVICE_NAME=orders",
		"ROVER_PROCESS_DISCOVERY_REGEX_SCANNER_LABELS=blue,green",
		NULL};
	_cleanup_(result_done) struct result r = {0};
	_cleanup_free_ char *text = whole_shape();
	const struct sonde_agent_config *c;

	import(text, variables, &r);
	c = r.config;
	assert_string_equal(c->backend_host, "fd00::1");
	assert_int_equal(c->backend_port, 11801);
	assert_string_equal(c->backend_authentication, "it's: #1");
	assert_int_equal(c->poll_ns, 90000000000);
	assert_int_equal(c->log_level, 1);
	assert_int_equal(c->n_rules, 1);
	assert_string_equal(c->rules[0].command, "java .*orders\\.jar");
	assert_string_equal(c->rules[0].service, "eu::orders");
	assert_string_equal(c->rules[0].instance, "{host}");
	assert_string_equal(c->rules[0].process_name, "{exe}");
	assert_string_equal(c->rules[0].layer, "OS_LINUX");
	assert_string_equal(c->rules[0].labels[0], "blue");
	assert_string_equal(c->rules[0].labels[1], "green");
	assert_null(c->rules[0].labels[2]);
	assert_null(strstr(r.words, "it's")); /* a secret is in the file alone */
}

/* Its own reading of them opens the files. */
static void certificates_are_named_where_tls_is_on(void **state)
{
	_cleanup_(result_done) struct result on = {0}, off = {0};
	static const char *const variables[] = {"ROVER_BACKEND_ENABLE_TLS=true",
						"ROVER_BACKEND_INSECURE_SKIP_VERIFY=true",
						"ROVER_BACKEND_PEM_PATH=/etc/rover/me.pem", NULL};
	static const char *const none[] = {NULL};
	_cleanup_free_ char *text = whole_shape();

	import_unread(text, variables, &on);
	assert_non_null(strstr(on.yaml, "\n  tls:\n    enabled: true\n    ca_file: ca.pem\n"
					"    cert_file: /etc/rover/me.pem\n"
					"    key_file: client.key\n"
					"    insecure_skip_verify: true\n"));
	import_unread(text, none, &off);
	assert_null(strstr(off.yaml, "tls"));
}

/* Where there is no file the variables of its keys are all there is. */
static void variables_alone_will_do(void **state)
{
	static const char *const variables[] = {
		"ROVER_BACKEND_ADDR=oap:11800",
		"ROVER_PROCESS_DISCOVERY_HEARTBEAT_PERIOD=30s",
		"ROVER_PROFILING_TASK_NETWORK_TOPOLOGY_REPORT_INTERVAL=500ms",
		"ROVER_ACCESS_LOG_FLUSH_PERIOD=1s",
		"ROVER_NO_SUCH=1",
		"PATH=/bin",
		NULL};
	_cleanup_(result_done) struct result r = {0};

	import("", variables, &r);
	assert_string_equal(r.config->backend_host, "oap");
	assert_int_equal(r.config->heartbeat_ns, 30000000000);
	assert_int_equal(r.config->report_interval_ns, 500000000);
	assert_non_null(strstr(r.words, "ROVER_ACCESS_LOG_FLUSH_PERIOD (access logs"));
	assert_non_null(strstr(r.words, "ROVER_NO_SUCH (no key"));
	assert_null(strstr(r.words, "PATH"));
}

static void what_is_asked_for_and_not_here_is_said(void **state)
{
	static const char text[] =
		"core: { backend: { addr: 'a:1,b', check_period: 9 }, cluster_name: eu }\n"
		"profiling: { check_interval: often, task: { network: { meter_prefix: mine } } }\n"
		"process_discovery:\n"
		"  heartbeat_period: 1h\n"
		"  properties_report_period: 3\n"
		"  kubernetes: { active: true }\n"
		"  scanner:\n"
		"    regex:\n"
		"      - { match_cmd: '(', service_name: s }\n"
		"      - { match_cmd: a, service_name: '{{.Pod.Name}}' }\n"
		"      - { match_cmd: b }\n"
		"access_log: { active: true }\n"
		"novel: { key: [1] }\n";
	static const char *const said[] = {"core.backend.addr: ",
					   "core.backend.check_period: 9",
					   "core.cluster_name: eu",
					   "profiling.check_interval: often (not understood",
					   "meter_prefix: mine",
					   "heartbeat_period: 1h (",
					   "properties_report_period: 3",
					   "kubernetes.active: true (pods",
					   "regex[0]: '(' (command: ",
					   "regex[1]: a (service_name: ",
					   "regex[2]: b (it has no service_name",
					   "access_log (",
					   "novel.key"};
	_cleanup_(result_done) struct result r = {0};
	static const char *const none[] = {NULL};

	import(text, none, &r);
	for (size_t i = 0; i < ELEMENTS_OF(said); i++) {
		if (!strstr(r.words, said[i]))
			fail_msg("%s is not in %s", said[i], r.words);
		assert_non_null(strstr(r.yaml, said[i]));
	}
	assert_int_equal(r.config->n_rules, 0);
}

static void no_value_escapes_its_line(void **state)
{
	static const char *const variables[] = {"ROVER_BACKEND_AUTHENTICATION=a\nevil: 'b\x7f",
						"ROVER_X=\nbackend: { host: evil }", NULL};
	_cleanup_(result_done) struct result r = {0};

	import("core: { backend: { addr: \"h\\nx:1\" } }", variables, &r);
	assert_null(strstr(r.yaml, "\nevil"));
	assert_null(strstr(r.yaml, "\nbackend: {"));
	assert_string_equal(r.config->backend_authentication, "a?evil: 'b?");
}

static void a_secret_under_a_misspelt_name_is_not_printed(void **state)
{
	static const char *const variables[] = {"ROVER_BACKEND_AUTHENTIFICATION=hush", NULL};
	_cleanup_(result_done) struct result r = {0};

	import("core: { backend: { autentication: hush }, secret: [hush] }", variables, &r);
	assert_non_null(strstr(r.words, "ROVER_BACKEND_AUTHENTIFICATION ("));
	assert_non_null(strstr(r.words, "core.backend.autentication ("));
	assert_null(strstr(r.words, "hush"));
	assert_null(strstr(r.yaml, "hush"));
}

/* A token of which the end is missing is refused by the backend, and nobody knows why. */
static void a_value_that_is_too_long_is_left_out(void **state)
{
	static char variable[1100] = "ROVER_BACKEND_AUTHENTICATION=";
	const size_t at = strlen(variable);
	const char *const variables[] = {variable, NULL};
	_cleanup_(result_done) struct result whole = {0}, cut = {0};

	memset(variable + at, 'x', 1022);
	import("", variables, &whole);
	assert_int_equal(strlen(whole.config->backend_authentication), 1022);
	memset(variable + at, 'x', 1024);
	import("", variables, &cut);
	assert_string_equal(cut.config->backend_authentication, "");
	assert_non_null(strstr(cut.words, "core.backend.authentication (longer than 1022 bytes)"));
	assert_null(strstr(cut.yaml, "xxx"));
}

static void what_is_no_yaml_is_refused(void **state)
{
	static const char text[] = "core: [";
	char *const none[] = {NULL};
	FILE *null = fopen("/dev/null", "we");

	assert_non_null(null);
	assert_err(sonde_import_rover(text, strlen(text), "t", none, null, null), EINVAL);
	(void)fclose(null);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_defaults_are_taken_over),
		cmocka_unit_test(several_backends_are_a_list),
		cmocka_unit_test(a_template_that_no_rule_has_is_named),
		cmocka_unit_test(another_file_is_refused_before_a_byte_is_printed),
		cmocka_unit_test(a_secret_is_told_of),
		cmocka_unit_test(every_key_is_mapped_or_named),
		cmocka_unit_test(variables_are_filled_in),
		cmocka_unit_test(certificates_are_named_where_tls_is_on),
		cmocka_unit_test(variables_alone_will_do),
		cmocka_unit_test(what_is_asked_for_and_not_here_is_said),
		cmocka_unit_test(no_value_escapes_its_line),
		cmocka_unit_test(a_secret_under_a_misspelt_name_is_not_printed),
		cmocka_unit_test(a_value_that_is_too_long_is_left_out),
		cmocka_unit_test(what_is_no_yaml_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
