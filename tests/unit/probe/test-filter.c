/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "probe/filter.h"

/* Runs @fn under the filter in a child. Return: its wait status; 100 = no filter could be set. */
static int under(enum sonde_filter which, int (*fn)(void))
{
	int status;
	pid_t pid;

	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || sonde_filter_load(which) < 0)
			_exit(100);
		_exit(fn());
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static int call_socket(void)
{
	return socket(AF_INET, SOCK_STREAM, 0) < 0 ? 1 : 2;
}

static int call_execve(void)
{
	return (int)syscall(SYS_execve, "/bin/true", NULL, NULL);
}

static int call_unshare(void)
{
	return (int)syscall(SYS_unshare, 0);
}

static int call_fork(void)
{
	pid_t pid = fork();
	int status = 0;

	if (pid == 0)
		_exit(0);
	return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0 ? 0 : 1;
}

static int call_chmod(void)
{
	return chmod("/nonexistent", 0) < 0 && errno == EPERM ? 0 : 1;
}

static int call_mmap_exec(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS,
		       -1, 0);

	return p == MAP_FAILED && errno == EPERM ? 0 : 1;
}

static int call_kill(void)
{
	return kill(getppid(), 0) < 0 && errno == EPERM ? 0 : 1;
}

static int call_open_to_write(void)
{
	static const int modes[] = {O_WRONLY, O_RDWR, O_RDONLY | O_CREAT, O_RDONLY | O_TRUNC};
	int fd;

	for (size_t i = 0; i < ELEMENTS_OF(modes); i++)
		if (open("/dev/null", modes[i] | O_CLOEXEC, 0600) >= 0 || errno != EPERM)
			return 1;
	fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	return fd >= 0 ? 0 : 2;
}

static int call_malloc(void)
{
	void *p = malloc(1 << 20);
	int r = p ? 0 : 1;

	free(p);
	return r;
}

static void what_an_intruder_wants_kills(void **state)
{
	for (int which = SONDE_FILTER_KEEPER; which <= SONDE_FILTER_WORKER; which++) {
		static int (*const calls[])(void) = {call_socket, call_execve, call_unshare};

		for (size_t i = 0; i < ELEMENTS_OF(calls); i++) {
			int status = under((enum sonde_filter)which, calls[i]);

			assert_true(WIFSIGNALED(status));
			assert_int_equal(WTERMSIG(status), SIGSYS);
		}
	}
}

static void what_is_merely_not_listed_is_refused(void **state)
{
	assert_int_equal(under(SONDE_FILTER_WORKER, call_chmod), 0);
	assert_int_equal(under(SONDE_FILTER_WORKER, call_mmap_exec), 0);
	assert_int_equal(under(SONDE_FILTER_WORKER, call_kill), 0);
	assert_int_equal(under(SONDE_FILTER_WORKER, call_open_to_write), 0);
}

static void the_keeper_forks_and_the_worker_does_not(void **state)
{
	int status = under(SONDE_FILTER_WORKER, call_fork);

	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGSYS);
	assert_int_equal(under(SONDE_FILTER_KEEPER, call_fork), 0);
}

static void memory_is_there(void **state)
{
	assert_int_equal(under(SONDE_FILTER_WORKER, call_malloc), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_an_intruder_wants_kills),
		cmocka_unit_test(what_is_merely_not_listed_is_refused),
		cmocka_unit_test(the_keeper_forks_and_the_worker_does_not),
		cmocka_unit_test(memory_is_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
