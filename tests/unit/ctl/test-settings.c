/* SPDX-License-Identifier: Apache-2.0 */
/* Settings: what goes before what, contexts, and the file that `config set` writes. */
#include "run-cli.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl/config-edit.h"

static char folder[] = "/tmp/sonde-test-settings-XXXXXX";
static char file[sizeof(folder) + 32];
static char token[sizeof(folder) + 32];

static int set_up(void **state)
{
	static const char *const names[] = {"SERVER", "TOKEN", "TOKEN_FILE", "CONTEXT",
					    "OUTPUT", "CA",    "CERT",	     "KEY"};

	for (size_t i = 0; i < ELEMENTS_OF(names); i++) {
		char name[32];

		(void)snprintf(name, sizeof(name), "SONDE_%s", names[i]);
		(void)unsetenv(name);
	}
	if (!mkdtemp(folder))
		return -1;
	(void)snprintf(file, sizeof(file), "%s/sonde/config.yaml", folder);
	(void)snprintf(token, sizeof(token), "%s/token", folder);
	return setenv("XDG_CONFIG_HOME", folder, 1);
}

static int tear_down(void **state)
{
	char sub[sizeof(folder) + 16];

	(void)snprintf(sub, sizeof(sub), "%s/sonde", folder);
	(void)unlink(file);
	(void)unlink(token);
	(void)rmdir(sub);
	return rmdir(folder);
}

static int forget(void **state)
{
	(void)unlink(file);
	(void)unsetenv("SONDE_SERVER");
	(void)unsetenv("SONDE_CONTEXT");
	(void)unsetenv("SONDE_TOKEN");
	return 0;
}

static void set(const char *key, const char *value)
{
	_cleanup_run_ struct run r = RUN("config", "set", key, value);

	assert_string_equal(r.err, "");
	assert_int_equal(r.status, 0);
}

static void assert_file(const char *text)
{
	char got[2048];
	FILE *f = fopen(file, "re");
	size_t n;

	assert_non_null(f);
	n = fread(got, 1, sizeof(got) - 1, f);
	got[n] = '\0';
	(void)fclose(f);
	assert_string_equal(got, text);
}

/* Nothing listens on these ports: which of them was tried is in the words. */
static void assert_asks(const char *port, const char *const *args)
{
	_cleanup_run_ struct run r = run_cli(args);
	char words[64];

	(void)snprintf(words, sizeof(words),
		       "cannot reach the server at http://127.0.0.1:%s:", port);
	assert_int_equal(r.status, SONDE_CLI_UNREACHABLE);
	assert_non_null(strstr(r.err, words));
}
#define ASKS(port, ...)                                                                            \
	assert_asks(port, (const char *const[ARGS_MAX]){"task", "list", __VA_ARGS__})

static void file_context_environment_flag_go_before_one_another(void **state)
{
	set("server", "http://127.0.0.1:1");
	ASKS("1", NULL);
	set("contexts.a.server", "http://127.0.0.1:2");
	set("contexts.b.server", "http://127.0.0.1:3");
	ASKS("1", NULL);
	set("context", "a");
	ASKS("2", NULL);
	assert_ok(setenv("SONDE_CONTEXT", "b", 1));
	ASKS("3", NULL);
	ASKS("2", "--context", "a", NULL);
	(void)unsetenv("SONDE_CONTEXT");
	assert_ok(setenv("SONDE_SERVER", "http://127.0.0.1:4", 1));
	ASKS("4", NULL);
	ASKS("3", "--context", "b", NULL);
	ASKS("5", "--server", "http://127.0.0.1:5", NULL);
}

static void use_context_is_for_one_that_is_there(void **state)
{
	static const char *const variables[] = {"SONDE_SERVER", "SONDE_CONTEXT"};
	_cleanup_run_ struct run none = RUN("config", "use-context", "a"), there = {0};

	assert_int_equal(none.status, SONDE_CLI_NOT_FOUND);
	set("contexts.a.server", "http://127.0.0.1:2");
	there = RUN("config", "use-context", "a");
	assert_int_equal(there.status, 0);
	assert_file("contexts:\n- name: a\n  server: http://127.0.0.1:2\ncontext: a\n");
	assert_string_equal(there.err, "context a is used from now on\n");
	ASKS("2", NULL);
	for (size_t i = 0; i < ELEMENTS_OF(variables); i++) {
		_cleanup_run_ struct run over = {0};
		_cleanup_free_ char *words = NULL;

		assert_ok(setenv(variables[i], i == 0 ? "http://127.0.0.1:4" : "a", 1));
		over = RUN("config", "use-context", "a");
		assert_int_equal(over.status, 0);
		assert_true(asprintf(&words,
				     "context a is in the file, but %s is set and goes before it\n",
				     variables[i]) > 0);
		assert_string_equal(over.err, words);
		assert_ok(unsetenv(variables[i]));
	}
}

static void view_shows_what_is_in_force(void **state)
{
	_cleanup_run_ struct run of_file = {0}, flag = {0}, environment = {0}, none = {0};

	set("server", "http://127.0.0.1:1");
	set("contexts.a.server", "http://127.0.0.1:2");
	set("contexts.12.server", "http://127.0.0.1:3");
	set("context", "a");
	of_file = RUN("config", "view", "-o", "jsonpath={.server} {.context} {.contexts}");
	assert_string_equal(
		of_file.out,
		"http://127.0.0.1:2 a [{\"name\":\"12\",\"server\":\"http://127.0.0.1:3\","
		"\"token\":\"\",\"token_file\":\"\",\"ca\":\"\",\"cert\":\"\",\"key\":\"\"},"
		"{\"name\":\"a\",\"server\":\"http://127.0.0.1:2\",\"token\":\"\","
		"\"token_file\":\"\",\"ca\":\"\",\"cert\":\"\",\"key\":\"\"}]\n");
	flag = RUN("config", "view", "-o", "jsonpath={.server} {.context}", "--context", "12");
	assert_string_equal(flag.out, "http://127.0.0.1:3 12\n");
	assert_ok(setenv("SONDE_SERVER", "http://127.0.0.1:4", 1));
	environment = RUN("config", "view", "-o", "jsonpath={.server} ({.context})");
	assert_string_equal(environment.out, "http://127.0.0.1:4 ()\n");
	none = RUN("config", "view", "--context", "nope");
	assert_int_equal(none.status, SONDE_CLI_USAGE);
	assert_non_null(strstr(none.out, "server: \"http://127.0.0.1:4\"\n"));
}

static void servers_exclude_one_another(void **state)
{
	_cleanup_run_ struct run flags = RUN("task", "list", "--server", "http://h:1", "--context",
					     "a"),
				 unknown = RUN("task", "list", "--context", "nope"), both = {0};

	assert_int_equal(flags.status, SONDE_CLI_USAGE);
	assert_string_equal(flags.err, "sonde: --server and --context exclude each other\n");
	assert_int_equal(unknown.status, SONDE_CLI_USAGE);
	assert_string_equal(unknown.err, "sonde: no context 'nope'; see sonde config view\n");
	assert_ok(setenv("SONDE_SERVER", "http://127.0.0.1:4", 1));
	assert_ok(setenv("SONDE_CONTEXT", "a", 1));
	both = RUN("task", "list");
	assert_int_equal(both.status, SONDE_CLI_USAGE);
}

static void a_file_is_made_for_its_owner_alone(void **state)
{
	struct stat st;

	set("utc", "true");
	assert_ok(stat(file, &st));
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_file("utc: true\n");
}

static void what_would_not_be_read_again_is_not_written(void **state)
{
	_cleanup_run_ struct run bad = {0}, secret = {0}, unknown = {0};

	set("utc", "true");
	bad = RUN("config", "set", "request_timeout", "soon");
	unknown = RUN("config", "set", "sever", "x");
	secret = RUN("config", "set", "contexts.a.token", "x");
	assert_int_equal(bad.status, SONDE_CLI_USAGE);
	assert_non_null(strstr(bad.err, "nothing was changed: "));
	assert_int_equal(unknown.status, SONDE_CLI_USAGE);
	assert_int_equal(secret.status, SONDE_CLI_USAGE);
	assert_file("utc: true\n");
}

static void a_token_file_is_read_unless_all_may_read_it(void **state)
{
	_cleanup_run_ struct run open_to_all = {0};
	FILE *f = fopen(token, "we");

	assert_non_null(f);
	assert_true(fputs("s3cret\n", f) >= 0);
	assert_ok(fclose(f));
	assert_ok(chmod(token, 0644));
	set("server", "http://127.0.0.1:1");
	set("token_file", token);
	open_to_all = RUN("task", "list");
	assert_int_equal(open_to_all.status, SONDE_CLI_USAGE);
	assert_non_null(strstr(open_to_all.err, "token_file "));
	assert_ok(chmod(token, 0600));
	ASKS("1", NULL);
	/* the environment's goes before it */
	assert_ok(chmod(token, 0644));
	assert_ok(setenv("SONDE_TOKEN", "x", 1));
	ASKS("1", NULL);
}

static void the_view_hides_secrets_and_has_all_forms(void **state)
{
	_cleanup_run_ struct run yaml = {0}, path = {0};

	assert_ok(setenv("SONDE_TOKEN", "s3cret", 1));
	set("contexts.a.server", "http://127.0.0.1:2");
	yaml = RUN("config", "view");
	path = RUN("config", "view", "-o", "jsonpath={.contexts[*].name} {.utc}");
	assert_null(strstr(yaml.out, "s3cret"));
	assert_non_null(strstr(yaml.out, "***"));
	assert_string_equal(path.out, "a false\n");
}

static void an_edit_keeps_what_else_is_there(void **state)
{
	static const struct {
		const char *text, *key, *value, *expected;
	} rows[] = {
		{"# mine\nserver: a # old\n\nutc: true", "server", "b",
		 "# mine\nserver: b\n\nutc: true"},
		{"utc: true", "server", "http://h:1", "utc: true\nserver: http://h:1\n"},
		{"server:\nutc: true\n", "server", "x", "server: x\nutc: true\n"},
		{"a: 1\n", "b", "x: y", "a: 1\nb: \"x: y\"\n"},
		{"contexts:\n  # two\n  - name: a\n    server: x\n  - server: y\n    name: b\n",
		 "contexts.b.ca", "/z",
		 "contexts:\n  # two\n  - name: a\n    server: x\n  - server: y\n    name: b\n    ca: /z\n"},
		{"contexts:\n  - name: a\n    server: x\nutc: true\n", "contexts.a.server", "y",
		 "contexts:\n  - name: a\n    server: y\nutc: true\n"},
		{"contexts:\n  - name: a\n    server: x\nutc: true\n", "contexts.n.server", "y",
		 "contexts:\n  - name: n\n    server: y\n  - name: a\n    server: x\nutc: true\n"},
	};

	for (size_t i = 0; i < ELEMENTS_OF(rows); i++) {
		_cleanup_free_ char *got = NULL, *error = NULL;

		assert_ok(
			sonde_config_edit(rows[i].text, rows[i].key, rows[i].value, &got, &error));
		assert_string_equal(got, rows[i].expected);
	}
}

static void other_forms_are_for_a_hand(void **state)
{
	static const char *const texts[] = {"contexts: []\n", "contexts: [{name: a, server: x}]\n",
					    "contexts:\n", "contexts: 3\n", "\tx"};

	for (size_t i = 0; i < ELEMENTS_OF(texts); i++) {
		_cleanup_free_ char *got = NULL, *error = NULL;

		assert_err(sonde_config_edit(texts[i], "contexts.n.server", "y", &got, &error),
			   EINVAL);
		assert_non_null(error);
		assert_null(got);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(file_context_environment_flag_go_before_one_another, forget),
		cmocka_unit_test_setup(use_context_is_for_one_that_is_there, forget),
		cmocka_unit_test_setup(view_shows_what_is_in_force, forget),
		cmocka_unit_test_setup(servers_exclude_one_another, forget),
		cmocka_unit_test_setup(a_file_is_made_for_its_owner_alone, forget),
		cmocka_unit_test_setup(what_would_not_be_read_again_is_not_written, forget),
		cmocka_unit_test_setup(a_token_file_is_read_unless_all_may_read_it, forget),
		cmocka_unit_test_setup(the_view_hides_secrets_and_has_all_forms, forget),
		cmocka_unit_test(an_edit_keeps_what_else_is_there),
		cmocka_unit_test(other_forms_are_for_a_hand),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
