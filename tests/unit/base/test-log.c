/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"

/* What the log wrote to stderr while fn ran. */
static const char *written(void (*fn)(void))
{
	static char out[8192];
	int pipefd[2], saved;
	ssize_t n;

	assert_ok(pipe2(pipefd, O_CLOEXEC | O_NONBLOCK));
	saved = dup(STDERR_FILENO);
	assert_true(saved >= 0 && dup2(pipefd[1], STDERR_FILENO) >= 0);
	fn();
	assert_true(dup2(saved, STDERR_FILENO) >= 0);
	n = read(pipefd[0], out, sizeof(out) - 1);
	out[n > 0 ? n : 0] = '\0';
	close(saved);
	close(pipefd[0]);
	close(pipefd[1]);
	return out;
}

static void hostile(void)
{
	assert_int_equal(sonde_log_err(-ENOENT, "cannot open '%s'", "a\"b\nlevel=info\x7f"),
			 -ENOENT);
}

static void a_hostile_name_stays_in_one_quoted_line(void **state)
{
	const char *out = written(hostile), *words = strstr(out, "prog=");

	assert_non_null(words);
	assert_memory_equal(out, "time=", strlen("time="));
	assert_null(memchr(out, '<', (size_t)(words - out)));
	assert_string_equal(words,
			    "prog=test level=error msg=\"cannot open 'a\\\"b\\x0alevel=info\\x7f'\""
			    " err=\"No such file or directory\"\n");
}

static void info_line(void)
{
	sonde_log_info("x");
}

/* The time of a line, in ms since 1970. */
static int64_t time_of(const char *line)
{
	char back[64], *rest;
	struct tm tm = {0};
	unsigned ms;

	rest = strptime(line, "time=%Y-%m-%dT%H:%M:%S.", &tm);
	assert_non_null(rest);
	assert_int_equal(sscanf(rest, "%3uZ prog=", &ms), 1); /* NOLINT(cert-err34-c) */
	(void)strftime(back, sizeof(back), "%FT%T", &tm);
	assert_memory_equal(line + strlen("time="), back, strlen(back));
	return (int64_t)timegm(&tm) * 1000 + ms;
}

static void a_line_has_its_time_where_no_journal_adds_one(void **state)
{
	const int64_t before = sonde_wall_ms();
	const int64_t at = time_of(written(info_line));

	assert_true(at >= before && at <= sonde_wall_ms());
}

static void the_journal_gets_a_priority_and_no_time(void **state)
{
	char stream[64], path[] = "/tmp/sonde-log-XXXXXX", out[256];
	int fd = mkstemp(path), saved = dup(STDERR_FILENO);
	struct stat st;
	ssize_t n;

	assert_true(fd >= 0 && saved >= 0);
	assert_ok(unlink(path));
	assert_ok(fstat(fd, &st));
	(void)snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)st.st_dev,
		       (unsigned long long)st.st_ino);
	assert_ok(setenv("JOURNAL_STREAM", stream, 1));
	assert_true(dup2(fd, STDERR_FILENO) >= 0);
	sonde_log_set_program("test");
	info_line();
	assert_true(dup2(saved, STDERR_FILENO) >= 0);
	sonde_log_set_program(
		"test"); /* the variable is still there, but stderr is not what it names */
	n = pread(fd, out, sizeof(out) - 1, 0);
	out[n > 0 ? n : 0] = '\0';
	assert_string_equal(out, "<6>prog=test level=info msg=\"x\"\n");
	(void)time_of(written(info_line));
	assert_ok(unsetenv("JOURNAL_STREAM"));
	close(fd);
	close(saved);
}

static void debug_line(void)
{
	sonde_log_debug("hidden");
}

static void debug_is_hidden_until_asked_for(void **state)
{
	assert_string_equal(written(debug_line), "");
	sonde_log_set_level(SONDE_LOG_DEBUG);
	assert_non_null(strstr(written(debug_line), "hidden"));
	sonde_log_set_level(SONDE_LOG_INFO);
}

static void long_line(void)
{
	char text[5000];

	memset(text, '\n', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	sonde_log_info("%s", text);
}

static void a_long_line_is_cut_and_ends_in_a_newline(void **state)
{
	const char *out = written(long_line);

	assert_true(strlen(out) <= 2048);
	assert_int_equal(out[strlen(out) - 1], '\n');
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_hostile_name_stays_in_one_quoted_line),
		cmocka_unit_test(a_line_has_its_time_where_no_journal_adds_one),
		cmocka_unit_test(the_journal_gets_a_priority_and_no_time),
		cmocka_unit_test(debug_is_hidden_until_asked_for),
		cmocka_unit_test(a_long_line_is_cut_and_ends_in_a_newline),
	};

	(void)unsetenv("JOURNAL_STREAM");
	sonde_log_set_program("test");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
