/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/proc.h"

#define STAT                                                                                       \
	"42 (a) b ()) S 7 42 42 0 -1 4194560 100 0 0 0 12 34 0 0 20 0 1 0 5678 1000 20 1844 0\n"
#define STATUS                                                                                     \
	"Name:\tx\nUid:\t1000\t0\t0\t0\nVmRSS:\t    2048 kB\nRssAnon:\t     512 kB\n"              \
	"CapPrm:\t00000000000000ff\nCapEff:\t0000000000000000\n"

/* A fixture folder that stands for /proc, with one process 42. */
struct fixture {
	char path[64];
	int fd;
};

static void write_file(int dir, const char *name, const char *data, size_t n)
{
	_cleanup_close_ int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, n), n);
}

static int make_fixture(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	(void)snprintf(f->path, sizeof(f->path), "/tmp/sonde-agent-proc-XXXXXX");
	assert_non_null(mkdtemp(f->path));
	f->fd = sonde_proc_open(f->path);
	assert_true(f->fd >= 0);
	assert_ok(mkdirat(f->fd, "42", 0700));
	assert_ok(mkdirat(f->fd, "042", 0700));
	assert_ok(mkdirat(f->fd, "self", 0700));
	*state = f;
	return 0;
}

static int remove_fixture(void **state)
{
	struct fixture *f = *state;
	static const char *const files[] = {"42/stat", "42/status", "42/cmdline"};

	for (size_t i = 0; i < ELEMENTS_OF(files); i++)
		(void)unlinkat(f->fd, files[i], 0);
	(void)unlinkat(f->fd, "42", AT_REMOVEDIR);
	(void)unlinkat(f->fd, "042", AT_REMOVEDIR);
	(void)unlinkat(f->fd, "self", AT_REMOVEDIR);
	(void)close(f->fd);
	(void)rmdir(f->path);
	free(f);
	return 0;
}

static void a_name_with_brackets_ends_at_the_last_one(void **state)
{
	struct fixture *f = *state;
	struct sonde_proc_stat s;

	write_file(f->fd, "42/stat", STAT, strlen(STAT));
	assert_ok(sonde_proc_read_stat(f->fd, 42, &s));
	assert_string_equal(s.comm, "a) b ()");
	assert_int_equal(s.state, 'S');
	assert_int_equal(s.ppid, 7);
	assert_int_equal(s.user_ticks, 12);
	assert_int_equal(s.system_ticks, 34);
	assert_int_equal(s.start_ticks, 5678);
}

/* Not by being pid 2 or its child: in a PID namespace of its own those are anybody. */
static void a_kernel_thread_is_told_by_its_flag(void **state)
{
	static const char thread[] = "7 (rcu) S 1 0 0 0 -1 2129984 0 0 0 0 0 0 0 0 20 0 1 0 5 0 0";
	static const char second[] =
		"2 (redis) S 1 1 1 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 5 0 0";
	struct sonde_proc_stat s;

	assert_ok(sonde_proc_parse_stat(thread, strlen(thread), &s));
	assert_true(s.kernel_thread);
	assert_ok(sonde_proc_parse_stat(second, strlen(second), &s));
	assert_false(s.kernel_thread);
}

static void every_cut_of_a_stat_is_refused_or_whole(void **state)
{
	struct sonde_proc_stat s;
	size_t whole = (size_t)(strstr(STAT, " 5678") - STAT) + 2;

	for (size_t n = 0; n < whole; n++)
		assert_err(sonde_proc_parse_stat(STAT, n, &s), EBADMSG);
	assert_ok(sonde_proc_parse_stat(STAT, strlen(STAT), &s));
	assert_err(sonde_proc_parse_stat("1 (12345678901234567) S 1", 25, &s), EBADMSG);
}

static void a_status_gives_memory_and_capabilities(void **state)
{
	struct fixture *f = *state;
	struct sonde_proc_status s;

	write_file(f->fd, "42/status", STATUS, strlen(STATUS));
	assert_ok(sonde_proc_read_status(f->fd, 42, &s));
	assert_int_equal(s.uid, 1000);
	assert_int_equal(s.rss_bytes, 2048 * 1024);
	assert_int_equal(s.rss_anon_bytes, 512 * 1024);
	assert_int_equal(s.cap_permitted, 0xff);
	assert_int_equal(s.cap_effective, 0);
	assert_err(sonde_proc_parse_status("Uid:\tx\n", 7, &s), EBADMSG);
}

static void arguments_are_joined_and_cleaned(void **state)
{
	struct fixture *f = *state;
	static const char args[] = "/bin/x\0--name=a\nb\0c\0";
	char line[32], shorter[8];
	size_t argv0 = 0;

	write_file(f->fd, "42/cmdline", args, sizeof(args) - 1);
	assert_ok(sonde_proc_read_cmdline(f->fd, 42, line, sizeof(line), &argv0));
	assert_string_equal(line, "/bin/x --name=a?b c");
	assert_int_equal(argv0, 6);
	assert_ok(sonde_proc_read_cmdline(f->fd, 42, shorter, sizeof(shorter), &argv0));
	assert_string_equal(shorter, "/bin/x ");
	write_file(f->fd, "42/cmdline", "", 0);
	assert_ok(sonde_proc_read_cmdline(f->fd, 42, line, sizeof(line), &argv0));
	assert_string_equal(line, "");
}

static void only_whole_numbers_are_processes(void **state)
{
	struct fixture *f = *state;
	_cleanup_free_ uint32_t *pids = NULL;
	size_t n = 0;

	assert_ok(sonde_proc_list(f->fd, 10, &pids, &n));
	assert_int_equal(n, 1);
	assert_int_equal(pids[0], 42);
}

static void a_process_that_is_gone_is_told_so(void **state)
{
	struct fixture *f = *state;
	struct sonde_proc_stat s;

	assert_err(sonde_proc_read_stat(f->fd, 43, &s), ESRCH);
}

static void reads_this_process(void **state)
{
	_cleanup_close_ int fd = sonde_proc_open("/proc");
	struct sonde_proc_status status;
	struct sonde_proc_stat s;

	assert_true(fd >= 0);
	assert_ok(sonde_proc_read_stat(fd, (uint32_t)getpid(), &s));
	assert_int_equal(s.pid, getpid());
	assert_ok(sonde_proc_read_status(fd, (uint32_t)getpid(), &status));
	assert_int_equal(status.uid, getuid());
}

#define WITH_FIXTURE(test) cmocka_unit_test_setup_teardown(test, make_fixture, remove_fixture)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_FIXTURE(a_name_with_brackets_ends_at_the_last_one),
		cmocka_unit_test(a_kernel_thread_is_told_by_its_flag),
		cmocka_unit_test(every_cut_of_a_stat_is_refused_or_whole),
		WITH_FIXTURE(a_status_gives_memory_and_capabilities),
		WITH_FIXTURE(arguments_are_joined_and_cleaned),
		WITH_FIXTURE(only_whole_numbers_are_processes),
		WITH_FIXTURE(a_process_that_is_gone_is_told_so),
		cmocka_unit_test(reads_this_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
