/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/state-dir.h"

struct fixture {
	char parent[32], dir[48], lock[64];
};

static int set_up(void **state)
{
	static struct fixture f;

	(void)snprintf(f.parent, sizeof(f.parent), "/tmp/sonde-state-XXXXXX");
	assert_non_null(mkdtemp(f.parent));
	(void)snprintf(f.dir, sizeof(f.dir), "%s/agent", f.parent);
	(void)snprintf(f.lock, sizeof(f.lock), "%s/agent.lock", f.dir);
	*state = &f;
	return 0;
}

static int tear_down(void **state)
{
	const struct fixture *f = *state;

	(void)unlink(f->lock);
	(void)rmdir(f->dir);
	return rmdir(f->parent);
}

/* What was written to stderr by a hold of @dir. */
static const char *words_of(const char *dir, int error)
{
	int pipefd[2], saved, fd = -1, r;
	static char out[2048];
	ssize_t n;

	assert_ok(pipe(pipefd));
	saved = dup(STDERR_FILENO);
	assert_true(saved >= 0 && dup2(pipefd[1], STDERR_FILENO) >= 0);
	close(pipefd[1]);
	r = sonde_state_dir_hold(dir, 0, &fd);
	assert_true(dup2(saved, STDERR_FILENO) >= 0);
	n = read(pipefd[0], out, sizeof(out) - 1);
	out[n > 0 ? n : 0] = '\0';
	close(saved);
	close(pipefd[0]);
	assert_err(r, error);
	assert_int_equal(fd, -1);
	return out;
}

static void a_folder_that_is_not_there_is_made_for_its_owner_alone(void **state)
{
	const struct fixture *f = *state;
	struct stat st;
	int fd = -1;

	assert_ok(sonde_state_dir_hold(f->dir, 0, &fd));
	assert_true(fd >= 0);
	assert_ok(stat(f->dir, &st));
	assert_true(S_ISDIR(st.st_mode));
	assert_int_equal(st.st_mode & 07777, 0700);
	close(fd);
	/* and one that is there is taken as it is */
	assert_ok(sonde_state_dir_hold(f->dir, 0, &fd));
	close(fd);
}

static void nothing_is_made_above_it(void **state)
{
	const struct fixture *f = *state;
	char deep[80];

	(void)snprintf(deep, sizeof(deep), "%s/below", f->dir);
	assert_non_null(strstr(words_of(deep, ENOENT), "does not exist"));
	assert_int_equal(access(f->dir, F_OK), -1);
}

static void a_second_agent_is_refused_and_told_who_holds_it(void **state)
{
	const struct fixture *f = *state;
	char who[48];
	int fd = -1;
	const char *words;

	assert_ok(sonde_state_dir_hold(f->dir, 0, &fd));
	words = words_of(f->dir, EBUSY);
	(void)snprintf(who, sizeof(who), "another sonde-agent (pid %d) uses", (int)getpid());
	assert_non_null(strstr(words, who));
	assert_non_null(strstr(words, f->dir));
	close(fd);
}

int main(void)
{
#define with_parent(t) cmocka_unit_test_setup_teardown(t, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		with_parent(a_folder_that_is_not_there_is_made_for_its_owner_alone),
		with_parent(nothing_is_made_above_it),
		with_parent(a_second_agent_is_refused_and_told_who_holds_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
