/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

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
	assert_string_equal(written(hostile),
			    "prog=test level=error msg=\"cannot open 'a\\\"b\\x0alevel=info\\x7f'\""
			    " err=\"No such file or directory\"\n");
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
		cmocka_unit_test(debug_is_hidden_until_asked_for),
		cmocka_unit_test(a_long_line_is_cut_and_ends_in_a_newline),
	};

	(void)unsetenv("JOURNAL_STREAM");
	sonde_log_set_program("test");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
