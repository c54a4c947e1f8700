/* SPDX-License-Identifier: Apache-2.0 */
/* The tests' own folders go with them. */
#include "sonde-test.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "test-folder.h"

#define TEMPLATE "/tmp/sonde-folder-XXXXXX"

/* A test that makes a folder with a file in it, says its name, and ends by @sig. */
static void make_and_die(int fd, int sig)
{
	char path[] = TEMPLATE, file[64];

	if (sonde_test_folder_make(path) < 0)
		_exit(1);
	(void)snprintf(file, sizeof(file), "%s/file", path);
	if (creat(file, 0600) < 0 || write(fd, path, sizeof(path)) != sizeof(path))
		_exit(1);
	(void)raise(sig);
	_exit(1);
}

static void a_folder_goes_by_each_signal_that_ends_a_test(void **state)
{
	static const int signals[] = {SIGTERM, SIGINT, SIGHUP};

	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		char path[] = TEMPLATE;
		struct stat st;
		int fds[2], status;
		pid_t pid;

		assert_ok(pipe(fds));
		pid = fork();
		if (pid == 0) {
			(void)signal(signals[i], SIG_DFL); /* nohup */
			make_and_die(fds[1], signals[i]);
		}
		assert_true(pid > 0);
		assert_ok(close(fds[1]));
		assert_int_equal(read(fds[0], path, sizeof(path)), sizeof(path));
		assert_ok(close(fds[0]));
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		assert_int_equal(WTERMSIG(status), signals[i]);
		assert_int_equal(stat(path, &st), -1);
		assert_int_equal(errno, ENOENT);
	}
}

static void a_folder_of_somebody_else_is_left_alone(void **state)
{
	char path[] = TEMPLATE, ours[] = TEMPLATE;
	struct stat st;

	assert_non_null(mkdtemp(path));
	assert_err(sonde_test_folder_remove(path), ENOENT);
	assert_err(sonde_test_folder_remove(""), ENOENT);
	assert_ok(stat(path, &st));
	assert_ok(rmdir(path));
	assert_ok(sonde_test_folder_make(ours));
	assert_ok(sonde_test_folder_remove(ours));
	assert_err(sonde_test_folder_remove(ours), ENOENT);
	assert_int_equal(stat(ours, &st), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_folder_goes_by_each_signal_that_ends_a_test),
		cmocka_unit_test(a_folder_of_somebody_else_is_left_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
