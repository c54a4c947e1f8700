/* SPDX-License-Identifier: Apache-2.0 */
/* The command line without a server: flags, commands, exit statuses, streams. */
#include "run-cli.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ctl/fetch.h"
#include "ctl/spec.h"

static int clean_environment(void **state)
{
	(void)setenv("HOME", "/nonexistent", 1);
	(void)unsetenv("XDG_CONFIG_HOME");
	(void)unsetenv("SONDE_SERVER");
	(void)unsetenv("SONDE_OUTPUT");
	return 0;
}

static void assert_usage(struct run r, const char *words)
{
	_cleanup_run_ struct run run = r;

	assert_string_equal(run.err, words);
	assert_int_equal(run.status, SONDE_CLI_USAGE);
	assert_string_equal(run.out, "");
}

static void help_is_data(void **state)
{
	_cleanup_run_ struct run all = RUN("--help"), one = RUN("task", "stop", "-h");

	assert_int_equal(all.status, 0);
	assert_string_equal(all.err, "");
	for (const struct sonde_cli_command *c = sonde_cli_commands; c->name; c++)
		assert_true((c->name[0] == '_') == !strstr(all.out, c->name));
	assert_int_equal(one.status, 0);
	assert_non_null(strstr(one.out, "Usage: sonde task stop TASK"));
	assert_non_null(strstr(one.out, "--reason TEXT"));
}

static void no_command_is_a_usage_fault(void **state)
{
	_cleanup_run_ struct run r = RUN(NULL);

	assert_int_equal(r.status, SONDE_CLI_USAGE);
	assert_string_equal(r.out, "");
	assert_ptr_equal(strstr(r.err, "Usage: sonde COMMAND"), r.err);
	assert_non_null(strstr(r.err, "task delete, doctor, "));
	assert_null(strstr(r.err, "--no-headers")); /* the long form is --help's */
}

static void presets_have_lists_of_names(void **state)
{
	_cleanup_run_ struct run collectors = RUN("task", "presets", "-o",
						  "jsonpath={.items[*].collectors[0]}"),
				 signals = RUN("task", "presets", "-o",
					       "jsonpath={.items[0].signals[1]}");

	assert_int_equal(collectors.status, 0);
	assert_string_equal(collectors.out, "tcp tcp tcp tcp tcp tcp udp\n");
	assert_string_equal(signals.out, "calls\n");
}

static void the_version_is_a_flag_too(void **state)
{
	_cleanup_run_ struct run word = RUN("version"), flag = RUN("--version"), letter = RUN("-V"),
				 behind = RUN("topology", "--version"),
				 json = RUN("--version", "-o", "json");

	assert_string_equal(word.out, "sonde " SONDE_VERSION "\n");
	assert_string_equal(flag.out, word.out);
	assert_string_equal(letter.out, word.out);
	assert_string_equal(behind.out, word.out);
	assert_string_equal(json.out, "{\"version\":\"" SONDE_VERSION "\"}\n");
	assert_int_equal(flag.status | letter.status | behind.status | json.status, 0);
}

static void wrong_words_have_a_hint(void **state)
{
	assert_usage(RUN("task", "lst"),
		     "sonde: 'task lst' is no command; did you mean 'task list'?\n");
	assert_usage(RUN("task", "crate", "pid:1"),
		     "sonde: 'task crate' is no command; did you mean 'task create'?\n");
	assert_usage(RUN("tsak"), "sonde: 'tsak' is no command; did you mean 'task'?\n");
	assert_usage(RUN("tsak", "list"),
		     "sonde: 'tsak list' is no command; did you mean 'task list'?\n");
	assert_usage(RUN("agent"), "sonde: 'agent' is no command; did you mean 'agents'?\n");
	assert_usage(
		RUN("task", "frobnicate"),
		"sonde: 'task frobnicate' is no command; behind 'task' expected: create, "
		"presets, list, get, wait, stop, extend, watch, attach, logs, clone, delete\n");
	assert_usage(RUN("frobnicate"),
		     "sonde: 'frobnicate' is no command; sonde --help lists them\n");
	assert_usage(RUN("run", "--durations", "5s"),
		     "sonde: --durations is no flag of 'run'; did you mean --duration?\n");
	assert_usage(RUN("version", "-x"),
		     "sonde: -x is no flag of 'version'; see sonde version --help\n");
}

static void a_flag_before_the_command_is_named(void **state)
{
	assert_usage(RUN("--token-file", "op.tok", "task", "list"),
		     "sonde: --token-file is no global flag: set the variable SONDE_TOKEN_FILE, or "
		     "`token_file` in ~/.config/sonde/config.yaml\n");
	assert_usage(RUN("--duration=5s", "-o", "json", "tsak"),
		     "sonde: --duration is no global flag: it goes behind the command; see "
		     "sonde --help\n");
	assert_usage(RUN("-o", "json", "--color=never", "--utc", "tsak"),
		     "sonde: 'tsak' is no command; did you mean 'task'?\n");
}

static void a_token_is_no_flag_and_no_command(void **state)
{
	static const char words[] =
		"sonde: --token: a secret has no flag (`ps` would show it): set the variable "
		"SONDE_TOKEN, or `token` in ~/.config/sonde/config.yaml\n";

	assert_usage(RUN("--token", "x", "task", "list"), words);
	assert_usage(RUN("--token=x", "task", "list"), words);
	assert_usage(RUN("task", "list", "--token", "x"), words);
}

static void operands_are_counted(void **state)
{
	assert_usage(RUN("topology"), "sonde: usage: sonde topology TASK\n");
	assert_usage(RUN("version", "now"),
		     "sonde: 'now' is one too many; usage: sonde version \n");
}

static void flags_take_what_they_take(void **state)
{
	static const char *const bad_servers[] = {
		"ftp://x",	     "http://",	      "127.0.0.1:12800", "http://h:99999",
		"http://h:0",	     "http://h:port", "http://[::1",	 "http://h:12800/?a=b",
		"http://h:12800/#x", "http://h:-1/",  "http://h:70000/x"};

	assert_usage(RUN("run", "--duration"), "sonde: --duration: expected TIME behind it\n");
	assert_usage(RUN("version", "--quiet=1"), "sonde: --quiet takes no value\n");
	assert_usage(RUN("-o", "xml", "version"),
		     "sonde: --output: expected table, wide, name, json, jsonl, yaml, csv, dot, "
		     "mermaid or jsonpath=EXPR, got 'xml'\n");
	assert_usage(RUN("-o", "csv", "version"),
		     "sonde: -o csv is for commands that print one table; 'version' has json, "
		     "jsonl, yaml and jsonpath\n");
	assert_usage(RUN("-o", "name", "version"),
		     "sonde: -o name: 'version' prints nothing that has one\n");
	assert_usage(RUN("-o", "jsonpath={range .a[*]}", "version"),
		     "sonde: -o jsonpath: column 2: range and end are not supported; use -o jsonl, "
		     "or one path with [*]\n");
	assert_usage(RUN("--columns", "a", "version"),
		     "sonde: --columns is for commands that print one table, not 'version'\n");
	assert_usage(RUN("version", "-o", "dot"),
		     "sonde: -o dot is for topology only; expected table, wide or json\n");
	for (size_t i = 0; i < ELEMENTS_OF(bad_servers); i++) {
		_cleanup_free_ char *words = NULL;

		assert_true(asprintf(&words,
				     "sonde: server '%s': expected http://HOST:PORT or "
				     "https://HOST:PORT, with a port from 1 to 65535\n",
				     bad_servers[i]) > 0);
		assert_usage(RUN("task", "list", "--server", bad_servers[i]), words);
	}
	assert_usage(RUN("run", "--max-loss", "few", "pid:1"),
		     "sonde: --max-loss: expected a whole number, got 'few'\n");
}

static void flags_may_stand_anywhere(void **state)
{
	static const char json[] = "{\"version\":\"" SONDE_VERSION "\"}\n";
	_cleanup_run_ struct run before = RUN("-o", "json", "version"),
				 after = RUN("version", "-ojson"),
				 equals = RUN("version", "--output=json");

	assert_string_equal(before.out, json);
	assert_string_equal(after.out, json);
	assert_string_equal(equals.out, json);
	assert_int_equal(before.status, 0);
}

static void environment_comes_before_flags(void **state)
{
	_cleanup_run_ struct run r = {0};

	assert_ok(setenv("SONDE_OUTPUT", "json", 1));
	r = RUN("version", "-o", "table");
	assert_string_equal(r.out, "sonde " SONDE_VERSION "\n");
	run_done(&r);
	assert_ok(setenv("SONDE_OUTPUT", "x", 1));
	r = RUN("version");
	assert_int_equal(r.status, SONDE_CLI_USAGE);
	assert_string_equal(
		r.err,
		"sonde: environment: SONDE_OUTPUT: expected table, wide, name, json, jsonl, yaml, csv, "
		"dot, mermaid or jsonpath=EXPR, got 'x'\n");
}

static void a_named_config_must_be_there(void **state)
{
	assert_usage(RUN("version", "--config", "/nonexistent/c.yaml"),
		     "sonde: /nonexistent/c.yaml: No such file or directory\n");
}

static void what_the_person_typed_cannot_steer_the_terminal(void **state)
{
	assert_usage(RUN("\033[2J"), "sonde: '\\x1b[2J' is no command; sonde --help lists them\n");
}

static void a_server_that_is_not_there_is_named(void **state)
{
	/* port 1 of loopback: refused at once */
	_cleanup_run_ struct run r = RUN("task", "list", "--server", "http://127.0.0.1:1/");

	assert_int_equal(r.status, SONDE_CLI_UNREACHABLE);
	assert_non_null(strstr(r.err, "cannot reach the server at http://127.0.0.1:1: "));
}

static void a_preset_that_is_not_there_is_not_found(void **state)
{
	_cleanup_run_ struct run none = RUN("run", "-p", "nope", "--tasks-dir", "/nonexistent",
					    "pid:1"),
				 path = RUN("run", "-p", "../x", "pid:1");

	assert_int_equal(none.status, SONDE_CLI_NOT_FOUND);
	assert_string_equal(none.err,
			    "sonde: no preset 'nope' in /nonexistent; see sonde task presets\n");
	assert_int_equal(path.status, SONDE_CLI_USAGE);
}

static void the_request_can_be_printed(void **state)
{
	_cleanup_run_ struct run r = RUN("task", "create", "--print-spec", "--tasks-dir", TASKS_DIR,
					 "-d", "5s", "pid:7", "service:a");
	json_t *json;

	assert_int_equal(r.status, 0);
	json = json_loads(r.out, 0, NULL);
	assert_int_equal(json_integer_value(json_object_get(json, "durationMs")), 5000);
	assert_int_equal(json_array_size(json_object_get(json, "targets")), 2);
	json_decref(json);
}

static void a_printed_request_is_a_task_file(void **state)
{
	_cleanup_run_ struct run r =
		RUN("task", "create", "--print-spec", "--tasks-dir", TASKS_DIR, "-d", "5s",
		    "--max-peers", "7", "--no-flows", "pid:7", "service:a");
	_cleanup_(sonde_spec_freep) struct sonde_spec *spec = NULL;
	_cleanup_free_ char *error = NULL;

	assert_int_equal(sonde_spec_parse(r.out, strlen(r.out), "s.json", &spec, &error), 0);
	assert_int_equal(spec->duration_ms, 5000);
	assert_int_equal(spec->max_peers, 7);
	assert_true(spec->without_flows);
	assert_int_equal(spec->n_targets, 2);
}

static void a_time_of_day_that_is_over_is_told(void **state)
{
	static const char *const others[] = {"+1m", "2100-01-01T00:00:00Z"};
	time_t now = time(NULL), then = now - 150;
	char at[16];
	struct tm local;

	assert_ok(setenv("TZ", "UTC0", 1));
	tzset();
	assert_non_null(localtime_r(&then, &local));
	assert_int_equal(strftime(at, sizeof(at), "%H:%M:%S", &local), 8);
	/* shortly behind midnight it was yesterday, and is to come today */
	if (then / 86400 == now / 86400) {
		_cleanup_run_ struct run r = RUN("task", "create", "--print-spec", "--tasks-dir",
						 TASKS_DIR, "--at", at, "pid:7");
		_cleanup_free_ char *words = NULL;

		assert_int_equal(r.status, 0);
		assert_true(asprintf(&words, "--at %s is over today: tomorrow, in 23 h 57 min\n",
				     at) > 0);
		assert_string_equal(r.err, words);
	}
	for (size_t i = 0; i < ELEMENTS_OF(others); i++) {
		_cleanup_run_ struct run r = RUN("task", "create", "--print-spec", "--tasks-dir",
						 TASKS_DIR, "--at", others[i], "pid:7");

		assert_int_equal(r.status, 0);
		assert_string_equal(r.err, "");
	}
	assert_ok(unsetenv("TZ"));
	tzset();
}

static void a_task_without_target_is_refused(void **state)
{
	assert_usage(RUN("task", "create", "--tasks-dir", TASKS_DIR),
		     "sonde: expected a TARGET, such as service:shop; see sonde targets list\n");
}

static void http_statuses_have_their_exit_status(void **state)
{
	assert_int_equal(sonde_cli_status_of(400), SONDE_CLI_REFUSED);
	assert_int_equal(sonde_cli_status_of(403), SONDE_CLI_REFUSED);
	assert_int_equal(sonde_cli_status_of(404), SONDE_CLI_NOT_FOUND);
	assert_int_equal(sonde_cli_status_of(409), SONDE_CLI_REFUSED);
	assert_int_equal(sonde_cli_status_of(500), SONDE_CLI_INTERNAL);
	assert_int_equal(sonde_cli_status_of(504), SONDE_CLI_TIMEOUT);
	assert_int_equal(sonde_cli_status_of(302), SONDE_CLI_INTERNAL);
}

static void no_letter_or_name_is_given_twice_in_a_command(void **state)
{
	for (const struct sonde_cli_command *c = sonde_cli_commands; c->name; c++) {
		for (const struct sonde_cli_flag *a = c->flags; a && a->name; a++) {
			for (const struct sonde_cli_flag *b = a + 1; b->name; b++) {
				assert_string_not_equal(a->name, b->name);
				assert_true(!a->letter || a->letter != b->letter);
			}
			for (const struct sonde_cli_flag *b = sonde_cli_global_flags; b->name;
			     b++) {
				assert_string_not_equal(a->name, b->name);
				assert_true(!a->letter || a->letter != b->letter);
			}
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(help_is_data),
		cmocka_unit_test(no_command_is_a_usage_fault),
		cmocka_unit_test(presets_have_lists_of_names),
		cmocka_unit_test(the_version_is_a_flag_too),
		cmocka_unit_test(wrong_words_have_a_hint),
		cmocka_unit_test(a_flag_before_the_command_is_named),
		cmocka_unit_test(a_token_is_no_flag_and_no_command),
		cmocka_unit_test(operands_are_counted),
		cmocka_unit_test(flags_take_what_they_take),
		cmocka_unit_test(flags_may_stand_anywhere),
		cmocka_unit_test_setup(environment_comes_before_flags, clean_environment),
		cmocka_unit_test_setup(a_named_config_must_be_there, clean_environment),
		cmocka_unit_test(what_the_person_typed_cannot_steer_the_terminal),
		cmocka_unit_test(a_server_that_is_not_there_is_named),
		cmocka_unit_test(a_preset_that_is_not_there_is_not_found),
		cmocka_unit_test(the_request_can_be_printed),
		cmocka_unit_test(a_printed_request_is_a_task_file),
		cmocka_unit_test(a_time_of_day_that_is_over_is_told),
		cmocka_unit_test(a_task_without_target_is_refused),
		cmocka_unit_test(http_statuses_have_their_exit_status),
		cmocka_unit_test(no_letter_or_name_is_given_twice_in_a_command),
	};

	(void)clean_environment(NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
