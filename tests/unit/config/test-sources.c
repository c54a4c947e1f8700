/* SPDX-License-Identifier: Apache-2.0 */
/* File, environment and flags together. */
#include "sonde-test.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/args.h"
#include "config/hint.h"

#include "fixture.h"

#define ARGS_MAX 8

/* Parses the flags as main() would, then loads. */
static int load(const char *const *flags, void **ret, char **ret_error)
{
	_cleanup_(sonde_config_args_freep) struct sonde_config_args *args = NULL;
	char *argv[ARGS_MAX + 1] = {(char *)"fixture"};
	int argc = 1, r;

	for (; flags[argc - 1]; argc++)
		argv[argc] = (char *)flags[argc - 1];
	r = sonde_config_args_parse(&fixture_spec, argc, argv, &args, ret_error);
	if (r < 0)
		return r;
	return sonde_config_load(&fixture_spec, args, ret, ret_error);
}
#define FLAGS(...) ((const char *const[ARGS_MAX]){__VA_ARGS__, NULL})

static void assert_refused(const char *const *flags, const char *complaint)
{
	_cleanup_config_ void *config = NULL;
	_cleanup_free_ char *error = NULL;

	assert_err(load(flags, &config, &error), EINVAL);
	assert_null(config);
	assert_string_equal(error, complaint);
}

static const struct fixture *loaded(const char *const *flags, void **ret)
{
	_cleanup_free_ char *error = NULL;
	int r = load(flags, ret, &error);

	if (r < 0)
		fail_msg("refused: %s", error ? error : strerror(-r));
	return *ret;
}

/* A file for the test; its path is in *state. */
static int write_file(void **state)
{
	char *path = strdup("/tmp/sonde-config-XXXXXX");
	static const char text[] = "workers: 3\nnice: 3\nbackend: {poll: 3s}\n";
	int fd = mkstemp(path);

	if (fd < 0 || write(fd, text, sizeof(text) - 1) != (ssize_t)sizeof(text) - 1)
		return -1;
	(void)close(fd);
	*state = path;
	return 0;
}

static int remove_file(void **state)
{
	(void)unlink(*state);
	free(*state);
	(void)unsetenv("SONDE_FIXTURE_WORKERS");
	(void)unsetenv("SONDE_FIXTURE_NICE");
	(void)unsetenv("SONDE_FIXTURE_USERS");
	(void)unsetenv("SONDE_FIXTURE_BACKEND_TOKEN");
	return 0;
}

static void flags_go_before_environment_before_file(void **state)
{
	_cleanup_config_ void *config = NULL;
	const struct fixture *f;

	assert_ok(setenv("SONDE_FIXTURE_WORKERS", "4", 1));
	assert_ok(setenv("SONDE_FIXTURE_NICE", "4", 1));
	f = loaded(FLAGS("--config", *state, "--nice", "5"), &config);
	assert_int_equal(f->poll_ns, 3000000000);
	assert_int_equal(f->workers, 4);
	assert_int_equal(f->nice, 5);
	assert_int_equal(f->port, 12800);
}

static void a_list_is_given_with_commas(void **state)
{
	_cleanup_config_ void *config = NULL;
	const struct fixture *f;

	assert_ok(setenv("SONDE_FIXTURE_USERS", "a,b", 1));
	f = loaded(FLAGS(NULL), &config);
	assert_string_equal(f->users[1], "b");
	config = sonde_config_free(&fixture_spec, config);
	f = loaded(FLAGS("--users="), &config);
	assert_null(f->users);
}

static void a_bool_flag_takes_no_word_behind_it(void **state)
{
	_cleanup_config_ void *config = NULL;

	assert_false(loaded(FLAGS("--on=false"), &config)->on);
	config = sonde_config_free(&fixture_spec, config);
	assert_true(loaded(FLAGS("--on"), &config)->on);
	assert_refused(FLAGS("--on", "false"), "'false': no arguments are taken but flags");
}

static void faults_name_their_source(void **state)
{
	assert_refused(FLAGS("--nice", "99"),
		       "--nice: expected a whole number from -20 to 19, got '99'");
	assert_ok(setenv("SONDE_FIXTURE_WORKERS", "x", 1));
	assert_refused(FLAGS("--nice", "99"),
		       "environment: SONDE_FIXTURE_WORKERS: expected a whole number from 1 to 64, "
		       "got 'x'\n"
		       "--nice: expected a whole number from -20 to 19, got '99'");
}

/* The check looks at all of them together: who set what it is about is found by the key that it names. */
static void a_fault_across_keys_names_who_set_one(void **state)
{
	static const char words[] = "key 'workers': expected 1 with mode exact";
	char expected[128];

	(void)snprintf(expected, sizeof(expected), "--workers: %s", words);
	assert_refused(FLAGS("--config", *state, "--mode=exact", "--workers=2"), expected);
	assert_ok(setenv("SONDE_FIXTURE_WORKERS", "7", 1));
	assert_ok(setenv("SONDE_FIXTURE_MODE", "exact", 1));
	(void)snprintf(expected, sizeof(expected), "environment: SONDE_FIXTURE_WORKERS: %s", words);
	assert_refused(FLAGS("--config", *state), expected);
	assert_ok(unsetenv("SONDE_FIXTURE_WORKERS"));
	assert_ok(unsetenv("SONDE_FIXTURE_MODE"));
}

static void a_secret_in_a_file_for_everyone_is_refused(void **state)
{
	_cleanup_free_ char *words = NULL;
	_cleanup_config_ void *config = NULL;
	int fd = open(*state, O_WRONLY | O_TRUNC | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(dprintf(fd, "backend: {token: hush}\n"), 23);
	close(fd);
	assert_ok(chmod(*state, 0644));
	assert_true(
		asprintf(&words,
			 "%s: key 'backend.token' is a secret, and everyone on this machine may "
			 "read the file: chmod o-r",
			 (char *)*state) > 0);
	assert_refused(FLAGS("--config", *state), words);
	assert_ok(chmod(*state, 0640));
	assert_string_equal(loaded(FLAGS("--config", *state), &config)->token, "hush");
	/* without one it may be everyone's */
	config = sonde_config_free(&fixture_spec, config);
	assert_ok(truncate(*state, 0));
	assert_ok(chmod(*state, 0644));
	fd = open(*state, O_WRONLY | O_CLOEXEC);
	assert_int_equal(dprintf(fd, "workers: 9\n"), 11);
	close(fd);
	assert_int_equal(loaded(FLAGS("--config", *state), &config)->workers, 9);
}

static void a_secret_of_the_environment_is_not_repeated(void **state)
{
	assert_ok(setenv("SONDE_FIXTURE_BACKEND_TOKEN", "s3\tcret", 1));
	assert_refused(FLAGS(NULL), "environment: SONDE_FIXTURE_BACKEND_TOKEN: expected a text of "
				    "at most 255 bytes without control bytes");
}

static void unknown_flags_are_refused_with_the_nearest(void **state)
{
	assert_refused(FLAGS("--backend-pol", "1s"),
		       "--backend-pol: no such flag, did you mean --backend-poll?");
	assert_refused(
		FLAGS("--backend-token", "x"),
		"--backend-token: a secret has no flag (`ps` would show it), use SONDE_FIXTURE_BACKEND_TOKEN or the file");
	assert_refused(FLAGS("-x"), "'-x': no such flag, --help lists them");
	assert_refused(FLAGS("--nice"), "--nice: expected a value behind it");
	assert_refused(FLAGS("--doctor=1"), "--doctor: takes no value");
	assert_refused(FLAGS("--config"), "--config: expected a value behind it");
}

static void a_named_file_must_be_there(void **state)
{
	_cleanup_config_ void *config = NULL;
	_cleanup_free_ char *error = NULL;

	assert_err(load(FLAGS("--config", "/nonexistent/x.yaml"), &config, &error), ENOENT);
	assert_string_equal(error, "/nonexistent/x.yaml: No such file or directory");
}

static void actions_are_kept_apart_from_settings(void **state)
{
	_cleanup_(sonde_config_args_freep) struct sonde_config_args *args = NULL;
	_cleanup_free_ char *error = NULL;
	char *argv[] = {(char *)"fixture", (char *)"--probe", (char *)"/x", (char *)"--doctor"};

	assert_ok(sonde_config_args_parse(&fixture_spec, 4, argv, &args, &error));
	assert_string_equal(sonde_config_args_action(args, "probe"), "/x");
	assert_string_equal(sonde_config_args_action(args, "doctor"), "");
	assert_null(sonde_config_args_action(args, "other"));
}

static void one_key_can_be_set_from_text(void **state)
{
	_cleanup_config_ void *config = NULL;
	_cleanup_free_ char *error = NULL;
	const struct fixture *f = loaded(FLAGS(NULL), &config);

	assert_ok(sonde_config_set(&fixture_spec, config, "backend.poll", "1s", "-p", &error));
	assert_int_equal(f->poll_ns, 1000000000);
	assert_err(sonde_config_set(&fixture_spec, config, "nope", "1s", "-p", &error), ENOENT);
	assert_err(sonde_config_set(&fixture_spec, config, "workers", "0", "-w", &error), EINVAL);
	assert_string_equal(error, "-w: expected a whole number from 1 to 64, got '0'");
	assert_int_equal(f->workers, 2);
}

static void distance_counts_edits_and_swaps(void **state)
{
	assert_int_equal(sonde_hint_distance("poll", "poll"), 0);
	assert_int_equal(sonde_hint_distance("pool", "poll"), 1);
	assert_int_equal(sonde_hint_distance("plol", "poll"), 1);
	assert_int_equal(sonde_hint_distance("", "poll"), 4);
	assert_int_equal(sonde_hint_distance("kitten", "sitting"), 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(flags_go_before_environment_before_file),
		cmocka_unit_test(a_list_is_given_with_commas),
		cmocka_unit_test(a_bool_flag_takes_no_word_behind_it),
		cmocka_unit_test(faults_name_their_source),
		cmocka_unit_test(a_fault_across_keys_names_who_set_one),
		cmocka_unit_test(a_secret_in_a_file_for_everyone_is_refused),
		cmocka_unit_test(a_secret_of_the_environment_is_not_repeated),
		cmocka_unit_test(unknown_flags_are_refused_with_the_nearest),
		cmocka_unit_test(a_named_file_must_be_there),
		cmocka_unit_test(actions_are_kept_apart_from_settings),
		cmocka_unit_test(one_key_can_be_set_from_text),
		cmocka_unit_test(distance_counts_edits_and_swaps),
	};
	struct CMUnitTest each[ELEMENTS_OF(tests)];

	for (size_t i = 0; i < ELEMENTS_OF(tests); i++) {
		each[i] = tests[i];
		each[i].setup_func = write_file;
		each[i].teardown_func = remove_file;
	}
	return cmocka_run_group_tests(each, NULL, NULL);
}
