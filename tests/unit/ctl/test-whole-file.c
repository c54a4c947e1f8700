/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl/whole-file.h"

static char folder[] = "/tmp/sonde-whole-file-XXXXXX";

static int enter_folder(void **state)
{
	return mkdtemp(folder) && chdir(folder) == 0 ? 0 : -1;
}

static int remove_folder(void **state)
{
	static const char *const names[] = {"file", "link", "nowhere", "pipe"};

	for (size_t i = 0; i < ELEMENTS_OF(names); i++)
		(void)unlink(names[i]);
	return chdir("/") == 0 ? rmdir(folder) : -1; /* it is empty: no temporary file is left */
}

static void assert_content(const char *path, const char *expected)
{
	char text[64] = "";
	FILE *f = fopen(path, "re");

	assert_non_null(f);
	assert_int_equal(fread(text, 1, sizeof(text) - 1, f), strlen(expected));
	assert_int_equal(fclose(f), 0);
	assert_string_equal(text, expected);
}

static void a_file_is_made_and_replaced(void **state)
{
	assert_ok(sonde_whole_file_write("file", "one", 3, 0666));
	assert_content("file", "one");
	assert_ok(sonde_whole_file_write("file", "two", 3, 0666));
	assert_content("file", "two");
	assert_err(sonde_whole_file_write("none/file", "x", 1, 0666), ENOENT);
}

static void its_mode_is_that_which_was_asked_for(void **state)
{
	static const mode_t modes[] = {0666, 0600};
	mode_t mask = umask(022);
	struct stat st;

	for (size_t i = 0; i < ELEMENTS_OF(modes); i++) {
		assert_ok(sonde_whole_file_write("moded", "x", 1, modes[i]));
		assert_int_equal(stat("moded", &st), 0);
		assert_int_equal(st.st_mode & 07777, modes[i] & ~022U);
	}
	assert_int_equal(unlink("moded"), 0);
	(void)umask(mask);
}

static void a_link_stays_one(void **state)
{
	struct stat st;

	assert_ok(sonde_whole_file_write("file", "old", 3, 0666));
	assert_int_equal(symlink("file", "link"), 0);
	assert_ok(sonde_whole_file_write("link", "new", 3, 0666));
	assert_int_equal(lstat("link", &st), 0);
	assert_true(S_ISLNK(st.st_mode));
	assert_content("file", "new");
}

static void a_link_to_nothing_is_refused(void **state)
{
	struct stat st;

	assert_int_equal(symlink("absent", "nowhere"), 0);
	assert_err(sonde_whole_file_write("nowhere", "x", 1, 0666), ENOENT);
	assert_int_equal(lstat("nowhere", &st), 0);
	assert_true(S_ISLNK(st.st_mode));
}

/* A pipe stands for every device: /dev/null must be one still. */
static void what_is_no_file_is_written_to(void **state)
{
	char text[8] = "";
	struct stat st;
	int fd;

	assert_int_equal(mkfifo("pipe", 0600), 0);
	fd = open("pipe", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_ok(sonde_whole_file_write("pipe", "piped", 5, 0666));
	assert_int_equal(read(fd, text, sizeof(text)), 5);
	assert_int_equal(close(fd), 0);
	assert_string_equal(text, "piped");
	assert_int_equal(lstat("pipe", &st), 0);
	assert_true(S_ISFIFO(st.st_mode));
	assert_err(sonde_whole_file_write(folder, "x", 1, 0666), EISDIR);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_file_is_made_and_replaced),
		cmocka_unit_test(its_mode_is_that_which_was_asked_for),
		cmocka_unit_test(a_link_stays_one),
		cmocka_unit_test(a_link_to_nothing_is_refused),
		cmocka_unit_test(what_is_no_file_is_written_to),
	};

	return cmocka_run_group_tests(tests, enter_folder, remove_folder);
}
