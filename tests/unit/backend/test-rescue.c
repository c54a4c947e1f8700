/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Another file takes a database's place: ended at each of its renames, or refused there, the next start finds one of both,
 * or is told what is missing. Never is it a place where nothing ever was.
 */
#include "backend-fixture.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/wait.h>

#include "backend/store/rescue.h"

#define RENAMES_MAX 32

static int renames_left = -1; /* -1: no end of them */
static bool refuses;

int __real_renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags);
int __wrap_renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags);

int __wrap_renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
	if (renames_left == 0 && !refuses)
		_exit(1);
	if (renames_left == 0) {
		errno = EIO;
		return -1;
	}
	renames_left -= renames_left > 0;
	return __real_renameat2(from_dir, from, to_dir, to, flags);
}

static void put_task(struct fixture *f, const char *id)
{
	_cleanup_(sonde_store_job_freep) struct sonde_store_job *j = sonde_store_job_new();

	assert_ok(sonde_store_job_add(j, SONDE_STORE_PUT_TASK, "tiitt", id, (int64_t)5, (int64_t)0,
				      "running", "{}"));
	assert_ok(sonde_store_submit(f->store, &j, NULL, NULL));
	sonde_store_flush(f->store);
}

static void empty(const char *dir)
{
	char path[sizeof(((struct fixture *)0)->dir) + sizeof(((struct dirent *)0)->d_name)];
	DIR *d = opendir(dir);
	struct dirent *e;

	assert_non_null(d);
	while ((e = readdir(d))) {
		(void)snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		if (e->d_name[0] != '.')
			assert_int_equal(unlink(path), 0);
	}
	(void)closedir(d);
}

typedef int (*replace_fn)(struct fixture *f, const char *copy, char *aside);

static int restore(struct fixture *f, const char *copy, char *aside)
{
	char words[SONDE_STORE_WORDS_MAX];

	return sonde_store_restore(f->path, copy, aside, words);
}

static int salvage(struct fixture *f, const char *copy, char *aside)
{
	char words[SONDE_STORE_WORDS_MAX];
	struct sonde_store_salvage s;
	int r = sonde_store_salvage(f->path, &s, words);

	memcpy(aside, s.aside, sizeof(s.aside));
	return r;
}

/* Return: it went through. */
static bool ends_early(struct fixture *f, const char *copy, replace_fn replace, int renames)
{
	char aside[SONDE_STORE_PATH_MAX];
	int status;
	pid_t pid;

	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		renames_left = renames;
		_exit(replace(f, copy, aside) < 0 ? 2 : 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) < 2);
	return WEXITSTATUS(status) == 0;
}

static bool is_refused(struct fixture *f, const char *copy, replace_fn replace, int renames)
{
	char aside[SONDE_STORE_PATH_MAX];
	int r;

	renames_left = renames;
	r = replace(f, copy, aside);
	renames_left = -1;
	if (access(f->path, F_OK) < 0) { /* who asked is told where it is */
		assert_int_equal(access(aside, F_OK), 0);
		assert_err(r, EIO);
	}
	return r == 0;
}

static void at_each_rename(struct fixture *f, replace_fn replace)
{
	bool done = false;

	for (int i = 0; !done; i++) {
		struct sonde_store_verdict v;
		char copy[128];

		assert_true(i < RENAMES_MAX);
		(void)snprintf(copy, sizeof(copy), "%s/copy", f->dir);
		fixture_open(f);
		put_task(f, "a");
		assert_ok(sonde_store_backup(f->path, copy, (char[SONDE_STORE_WORDS_MAX]){0}));
		put_task(f, "b");
		fixture_close(f);
		done = refuses ? is_refused(f, copy, replace, i) : ends_early(f, copy, replace, i);
		sonde_store_check(f->path, 0, &v);
		assert_false(v.fresh);
		assert_true(v.error == -ENODATA || v.error == 0);
		assert_true(!done || v.error == 0);
		empty(f->dir);
	}
}

static void is_ended(void **state)
{
	refuses = false;
	at_each_rename(*state, restore);
	at_each_rename(*state, salvage);
}

static void cannot_rename(void **state)
{
	refuses = true;
	at_each_rename(*state, restore);
	at_each_rename(*state, salvage);
}

int main(void)
{
#define with_store(t) cmocka_unit_test_setup_teardown(t, fixture_setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
		with_store(is_ended),
		with_store(cannot_rename),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
