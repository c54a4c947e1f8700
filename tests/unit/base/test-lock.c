/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/lock.h"

#define FILE_NAME "held"

struct fixture {
	char dir[32], path[64];
};

static int set_up(void **state)
{
	static struct fixture f;

	(void)snprintf(f.dir, sizeof(f.dir), "/tmp/sonde-lock-XXXXXX");
	assert_non_null(mkdtemp(f.dir));
	(void)snprintf(f.path, sizeof(f.path), "%s/%s", f.dir, FILE_NAME);
	*state = &f;
	return 0;
}

static int tear_down(void **state)
{
	const struct fixture *f = *state;

	(void)unlink(f->path);
	return rmdir(f->dir);
}

static void a_folder_has_one_holder_and_names_it(void **state)
{
	const struct fixture *f = *state;
	int first = -1, second = -1;
	pid_t holder = 0;

	assert_ok(sonde_lock_dir(f->dir, FILE_NAME, &first, &holder));
	assert_err(sonde_lock_dir(f->dir, FILE_NAME, &second, &holder), EBUSY);
	assert_int_equal(holder, getpid());
	assert_int_equal(second, -1);
	assert_ok(close(first));
	assert_ok(sonde_lock_dir(f->dir, FILE_NAME, &second, &holder));
	assert_ok(close(second));
}

static void what_is_no_file_of_ours_is_not_locked(void **state)
{
	const struct fixture *f = *state;
	pid_t holder = 0;
	int fd = -1;

	assert_ok(symlink("/dev/null", f->path));
	assert_err(sonde_lock_dir(f->dir, FILE_NAME, &fd, &holder), ELOOP);
	assert_err(sonde_lock_dir("/nonexistent", FILE_NAME, &fd, &holder), ENOENT);
	assert_int_equal(fd, -1);
}

static void a_holder_that_ends_however_leaves_it(void **state)
{
	const struct fixture *f = *state;
	pid_t holder = 0, child;
	int fd = -1, status;

	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		if (sonde_lock_dir(f->dir, FILE_NAME, &fd, &holder) < 0)
			_exit(1);
		(void)kill(getpid(), SIGKILL);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status));
	assert_ok(sonde_lock_dir(f->dir, FILE_NAME, &fd, &holder));
	assert_ok(close(fd));
}

int main(void)
{
#define with_dir(t) cmocka_unit_test_setup_teardown(t, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		with_dir(a_folder_has_one_holder_and_names_it),
		with_dir(what_is_no_file_of_ours_is_not_locked),
		with_dir(a_holder_that_ends_however_leaves_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
