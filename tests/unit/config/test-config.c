/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include "fixture.h"

static int parse(const char *text, void **ret, char **ret_error)
{
	return sonde_config_parse(&fixture_spec, text, strlen(text), "f.yaml", ret, ret_error);
}

/* @text must be refused with just these complaints. */
static void assert_refused(const char *text, const char *complaints)
{
	_cleanup_config_ void *config = NULL;
	_cleanup_free_ char *error = NULL;

	assert_err(parse(text, &config, &error), EINVAL);
	assert_null(config);
	assert_string_equal(error, complaints);
}

static const struct fixture *accepted(const char *text, void **ret)
{
	_cleanup_free_ char *error = NULL;
	int r = parse(text, ret, &error);

	if (r < 0)
		fail_msg("refused: %s", error);
	return *ret;
}

static void an_empty_file_gives_the_defaults(void **state)
{
	_cleanup_config_ void *config = NULL;
	const struct fixture *f = accepted("# nothing\n", &config);

	assert_true(f->on);
	assert_int_equal(f->workers, 2);
	assert_int_equal(f->nice, 0);
	assert_int_equal(f->poll_ns, 10000000000);
	assert_int_equal(f->memory_bytes, 16 << 20);
	assert_int_equal(f->port, 12800);
	assert_string_equal(f->address, "127.0.0.1:11800");
	assert_string_equal(f->token, "");
	assert_string_equal(f->state, "/var/lib/sonde");
	assert_int_equal(f->mode, 0);
	assert_string_equal(f->users[0], "root");
	assert_string_equal(f->users[1], "www-data");
	assert_null(f->users[2]);
	assert_int_equal(f->n_rules, 0);
}

static void every_type_is_read(void **state)
{
	_cleanup_config_ void *config = NULL;
	const struct fixture *f = accepted("backend:\n"
					   "  address: \"[::1]:1\"\n"
					   "  poll: 250ms\n"
					   "  token: s3cret\n"
					   "workers: 64\n"
					   "nice: -20\n"
					   "on: false\n"
					   "memory: {max: 1GiB}\n"
					   "listen: {port: 1}\n"
					   "state: /tmp/x y\n"
					   "mode: fast\n"
					   "users: [a, 'b']\n",
					   &config);

	assert_false(f->on);
	assert_int_equal(f->workers, 64);
	assert_int_equal(f->nice, -20);
	assert_int_equal(f->poll_ns, 250000000);
	assert_int_equal(f->memory_bytes, 1 << 30);
	assert_int_equal(f->port, 1);
	assert_string_equal(f->address, "[::1]:1");
	assert_string_equal(f->token, "s3cret");
	assert_string_equal(f->state, "/tmp/x y");
	assert_string_equal(f->users[1], "b");
	assert_null(f->users[2]);
}

static void a_list_of_mappings_fills_structs_with_their_own_defaults(void **state)
{
	_cleanup_config_ void *config = NULL;
	const struct fixture *f = accepted("processes:\n"
					   "  rules:\n"
					   "  - match: {executable: /usr/sbin/nginx}\n"
					   "    service: web\n"
					   "    labels: [a, b]\n"
					   "  - match:\n"
					   "      port: 6379\n"
					   "    service: redis\n",
					   &config);

	assert_int_equal(f->n_rules, 2);
	assert_string_equal(f->rules[0].executable, "/usr/sbin/nginx");
	assert_string_equal(f->rules[0].service, "web");
	assert_string_equal(f->rules[0].labels[1], "b");
	assert_int_equal(f->rules[0].port, 0);
	assert_string_equal(f->rules[1].executable, "");
	assert_int_equal(f->rules[1].port, 6379);
	assert_null(f->rules[1].labels);
}

static void a_section_without_keys_is_fine(void **state)
{
	_cleanup_config_ void *config = NULL;

	(void)accepted("backend:\nprocesses:\n  rules:\nusers:\n", &config);
}

static void an_unknown_key_names_line_and_nearest_key(void **state)
{
	assert_refused("\nbackend:\n  adress: x\n",
		       "f.yaml:3: key 'backend.adress': expected a known key, such as "
		       "'backend.address'");
	assert_refused("poll: 1s\n",
		       "f.yaml:1: key 'poll': expected a known key, such as 'backend.poll'");
	assert_refused("zzzzzzzzzzzz: 1s\n", "f.yaml:1: key 'zzzzzzzzzzzz': expected a known key");
}

static void a_dotted_key_cannot_bypass_the_duplicate_check(void **state)
{
	assert_refused("backend.poll: 1s\n",
		       "f.yaml:1: key 'backend.poll': expected a known key, one word a level");
}

static void wrong_types_say_what_was_expected(void **state)
{
	assert_refused("on: yes\n", "f.yaml:1: key 'on': expected true or false, got 'yes'");
	assert_refused("on: \"true\"\n", "f.yaml:1: key 'on': expected true or false, got 'true'");
	assert_refused("workers: many\n", "f.yaml:1: key 'workers': expected a whole number from 1 "
					  "to 64, got 'many'");
	assert_refused("workers: [1]\n", "f.yaml:1: key 'workers': expected a whole number from 1 "
					 "to 64, got 'a list'");
	assert_refused("workers:\n", "f.yaml:1: key 'workers': expected a whole number from 1 to "
				     "64, got 'nothing'");
	assert_refused("mode: slow\n", "f.yaml:1: key 'mode': expected fast or exact, got 'slow'");
	assert_refused("backend: {poll: 10}\n",
		       "f.yaml:1: key 'backend.poll': expected a duration from 100ms to 5m (such "
		       "as 250ms, 10s, 5m), got '10'");
	assert_refused("users: root\n", "f.yaml:1: key 'users': expected a list of texts, at most "
					"3 of them, got 'root'");
	assert_refused("backend: 1\n", "f.yaml:1: key 'backend': expected a mapping");
	assert_refused("- a\n", "f.yaml:1: expected a mapping of keys");
}

static void values_outside_their_range_are_refused(void **state)
{
	assert_refused("workers: 65\n",
		       "f.yaml:1: key 'workers': expected a whole number from 1 to 64, got '65'");
	assert_refused("nice: -21\n",
		       "f.yaml:1: key 'nice': expected a whole number from -20 to 19, got '-21'");
	assert_refused("listen: {port: 65536}\n",
		       "f.yaml:1: key 'listen.port': expected a port from 1 to 65535, got '65536'");
	assert_refused("memory: {max: 1KiB}\n",
		       "f.yaml:1: key 'memory.max': expected a size from 64KiB to 1GiB (such as "
		       "64KiB, 16MiB), got '1KiB'");
	assert_refused("users: [a, b, c, d]\n", "f.yaml:1: key 'users': expected a list of texts, "
						"at most 3 of them, got 'd'");
}

static void every_fault_is_listed(void **state)
{
	assert_refused("on: 1\nworkers: 0\n",
		       "f.yaml:1: key 'on': expected true or false, got '1'\n"
		       "f.yaml:2: key 'workers': expected a whole number from 1 to 64, got '0'");
}

static void faults_of_a_list_name_the_element(void **state)
{
	assert_refused("processes:\n  rules:\n  - service: a\n  - match: {prot: 1}\n",
		       "f.yaml:4: key 'processes.rules[1].match.prot': expected a known key, such "
		       "as 'match.port'\n"
		       "f.yaml:4: key 'processes.rules[1].service': expected a value, it is "
		       "required");
	assert_refused("processes: {rules: [{service: a},{service: a},{service: a},{service: a}]}",
		       "f.yaml:1: key 'processes.rules': expected a list of mappings, at most 3 of "
		       "them, got 'more'");
	assert_refused("processes: {rules: [1]}",
		       "f.yaml:1: key 'processes.rules': expected a list of mappings, at most 3 of "
		       "them, got '1'");
}

static void a_secret_is_never_repeated(void **state)
{
	assert_refused("backend: {token: \"s3\\tcret\"}\n",
		       "f.yaml:1: key 'backend.token': expected a text of at most 255 bytes "
		       "without control bytes");
}

static void control_bytes_of_the_file_do_not_reach_the_terminal(void **state)
{
	assert_refused("\"\\e[2J\": 1\n", "f.yaml:1: key '?[2J': expected a known key");
}

static void a_check_across_keys_comes_last(void **state)
{
	_cleanup_config_ void *config = NULL;

	assert_refused("mode: exact\n", "f.yaml: key 'workers': expected 1 with mode exact");
	(void)accepted("mode: exact\nworkers: 1\n", &config);
}

static char *dumped(const void *config)
{
	char *text = NULL;
	size_t n;
	FILE *out = open_memstream(&text, &n);

	assert_non_null(out);
	assert_ok(sonde_config_dump(&fixture_spec, config, out));
	assert_ok(fclose(out));
	return text;
}

static const char full[] = "backend:\n"
			   "  address: \"a \\\"quoted\\\" \\\\ name\"\n"
			   "  poll: 90s\n"
			   "  token: \"\"\n"
			   "workers: 3\n"
			   "nice: -5\n"
			   "on: false\n"
			   "memory:\n"
			   "  max: 1025KiB\n"
			   "listen:\n"
			   "  port: 8080\n"
			   "state: \"/tmp\"\n"
			   "mode: fast\n"
			   "users: [\"a\", \"b\"]\n"
			   "processes:\n"
			   "  rules:\n"
			   "    - match:\n"
			   "        executable: \"/bin/x\"\n"
			   "        port: 0\n"
			   "      service: \"s\"\n"
			   "      labels: []\n"
			   "    - match:\n"
			   "        executable: \"\"\n"
			   "        port: 80\n"
			   "      service: \"t\"\n"
			   "      labels: [\"l\"]\n";

static void a_dump_is_what_was_read(void **state)
{
	_cleanup_config_ void *config = NULL;
	_cleanup_free_ char *text = NULL;

	text = dumped(accepted(full, &config));
	assert_string_equal(text, full);
}

static void a_dump_hides_secrets(void **state)
{
	_cleanup_config_ void *config = NULL;
	_cleanup_free_ char *text = NULL;

	text = dumped(accepted("backend: {token: s3cret}\n", &config));
	assert_non_null(strstr(text, "token: \"***\"\n"));
	assert_null(strstr(text, "s3cret"));
}

static char *written(int (*write)(const struct sonde_config_spec *, FILE *))
{
	char *text = NULL;
	size_t n;
	FILE *out = open_memstream(&text, &n);

	assert_non_null(out);
	assert_ok(write(&fixture_spec, out));
	assert_ok(fclose(out));
	return text;
}

static void help_names_every_flag_but_those_of_secrets(void **state)
{
	_cleanup_free_ char *text = written(sonde_config_help);

	assert_non_null(strstr(text, "--backend-poll TIME"));
	assert_non_null(strstr(text, "100ms to 5m (default 10s)"));
	assert_non_null(strstr(text, "--doctor"));
	assert_non_null(strstr(text, "--probe PATH"));
	assert_null(strstr(text, "--backend-token"));
	assert_null(strstr(text, "--processes-rules"));
}

static void the_reference_has_a_row_for_every_key(void **state)
{
	_cleanup_free_ char *text = written(sonde_config_reference);

	assert_non_null(strstr(text, "| `backend.poll` | duration | `10s` | 100ms to 5m | "
				     "`SONDE_FIXTURE_BACKEND_POLL` `--backend-poll` | how often "
				     "tasks are asked for |"));
	assert_non_null(strstr(text, "| `backend.token` | text | empty | at most 255 bytes | "
				     "`SONDE_FIXTURE_BACKEND_TOKEN` | the token (secret: never "
				     "shown) |"));
	assert_non_null(strstr(text, "### fixture: each entry of `processes.rules[]`"));
	assert_non_null(strstr(text, "| `service` | text | required |"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_file_gives_the_defaults),
		cmocka_unit_test(every_type_is_read),
		cmocka_unit_test(a_list_of_mappings_fills_structs_with_their_own_defaults),
		cmocka_unit_test(a_section_without_keys_is_fine),
		cmocka_unit_test(an_unknown_key_names_line_and_nearest_key),
		cmocka_unit_test(a_dotted_key_cannot_bypass_the_duplicate_check),
		cmocka_unit_test(wrong_types_say_what_was_expected),
		cmocka_unit_test(values_outside_their_range_are_refused),
		cmocka_unit_test(every_fault_is_listed),
		cmocka_unit_test(faults_of_a_list_name_the_element),
		cmocka_unit_test(a_secret_is_never_repeated),
		cmocka_unit_test(control_bytes_of_the_file_do_not_reach_the_terminal),
		cmocka_unit_test(a_check_across_keys_comes_last),
		cmocka_unit_test(a_dump_is_what_was_read),
		cmocka_unit_test(a_dump_hides_secrets),
		cmocka_unit_test(help_names_every_flag_but_those_of_secrets),
		cmocka_unit_test(the_reference_has_a_row_for_every_key),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
