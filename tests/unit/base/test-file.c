/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

#define TEMPLATE "/tmp/sonde-test-file-XXXXXX"

static void write_file(char path[static sizeof(TEMPLATE)], const void *data, size_t n, mode_t mode)
{
	int fd;

	memcpy(path, TEMPLATE, sizeof(TEMPLATE));
	fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, n), n);
	assert_ok(fchmod(fd, mode));
	(void)close(fd);
}

static void reads_a_line_without_its_end(void **state)
{
	static const char *const texts[] = {"token", "token\n", "token\r\n", "  token \n\n"};

	for (size_t i = 0; i < ELEMENTS_OF(texts); i++) {
		_cleanup_free_ char *line = NULL;
		char path[sizeof(TEMPLATE)];

		write_file(path, texts[i], strlen(texts[i]), 0640);
		assert_ok(sonde_file_read_line(path, true, 16, &line));
		assert_string_equal(line, "token");
		(void)unlink(path);
	}
}

static void refuses_a_secret_that_everyone_may_read(void **state)
{
	_cleanup_buf_ struct sonde_buf buf = SONDE_BUF_INIT(16);
	char path[sizeof(TEMPLATE)], *line = NULL;

	write_file(path, "x", 1, 0644);
	assert_err(sonde_file_read(path, true, &buf), EPERM);
	assert_err(sonde_file_read_line(path, true, 16, &line), EPERM);
	assert_null(line);
	assert_ok(sonde_file_read(path, false, &buf)); /* no secret */
	assert_int_equal(buf.len, 1);
	assert_non_null(strstr(sonde_file_error(-EPERM, true), "chmod o-r"));
	(void)unlink(path);
}

static void bounds_what_it_reads_and_waits_for_no_pipe(void **state)
{
	_cleanup_buf_ struct sonde_buf buf = SONDE_BUF_INIT(4);
	char path[sizeof(TEMPLATE)], *line = NULL;

	write_file(path, "12345", 5, 0600);
	assert_err(sonde_file_read(path, true, &buf), EMSGSIZE);
	assert_int_equal(buf.len, 0);
	(void)unlink(path);
	assert_err(sonde_file_read(path, true, &buf), ENOENT);
	assert_err(sonde_file_read("/tmp", false, &buf), EINVAL);
	assert_ok(mkfifo(path, 0600));
	assert_err(sonde_file_read(path, true, &buf), EINVAL);
	(void)unlink(path);
	write_file(path, " \n", 2, 0600);
	assert_err(sonde_file_read_line(path, true, 16, &line), EINVAL);
	(void)unlink(path);
	write_file(path, "a\0b", 3, 0600);
	assert_err(sonde_file_read_line(path, true, 16, &line), EINVAL);
	(void)unlink(path);
}

static void sees_a_file_written_replaced_and_gone(void **state)
{
	char path[sizeof(TEMPLATE)], other[sizeof(TEMPLATE)];
	struct stat seen;

	write_file(path, "1", 1, 0600);
	sonde_file_look(path, &seen);
	assert_false(sonde_file_changed(path, &seen));
	write_file(other, "2", 1, 0600);
	assert_ok(rename(other, path));
	assert_true(sonde_file_changed(path, &seen));
	sonde_file_look(path, &seen);
	assert_ok(truncate(path, 0));
	assert_true(sonde_file_changed(path, &seen));
	(void)unlink(path);
	assert_true(sonde_file_changed(path, &seen));
	sonde_file_look(path, &seen);
	assert_false(sonde_file_changed(path, &seen));
	sonde_file_look(NULL, &seen);
	assert_false(sonde_file_changed(NULL, &seen));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_a_line_without_its_end),
		cmocka_unit_test(refuses_a_secret_that_everyone_may_read),
		cmocka_unit_test(bounds_what_it_reads_and_waits_for_no_pipe),
		cmocka_unit_test(sees_a_file_written_replaced_and_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
