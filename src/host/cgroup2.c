/* SPDX-License-Identifier: Apache-2.0 */
#include "host/cgroup2.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define MOUNTS_MAX 65536 /* lines read: a node with many pods has thousands */

/* The next blank-separated word. NULL: there is none. */
static const char *next_word(const char **at, size_t *ret_len)
{
	const char *word = *at + strspn(*at, " ");
	size_t n = strcspn(word, " \n");

	if (n == 0)
		return NULL;
	*at = word + n;
	*ret_len = n;
	return word;
}

static bool word_is(const char *word, size_t len, const char *s)
{
	return word && strlen(s) == len && memcmp(word, s, len) == 0;
}

static bool octal(char c)
{
	return c >= '0' && c <= '7';
}

/* The kernel writes blank, tab, newline and backslash as \ooo. */
static int unescape(const char *s, size_t len, char *buf, size_t size)
{
	size_t at = 0;

	for (size_t i = 0; i < len; i++) {
		char c = s[i];

		if (c == '\\' && len - i > 3 && octal(s[i + 1]) && octal(s[i + 2]) &&
		    octal(s[i + 3])) {
			c = (char)((s[i + 1] - '0') << 6 | (s[i + 2] - '0') << 3 |
				   (s[i + 3] - '0'));
			i += 3;
		}
		if (at + 1 >= size || c == '\0')
			return -EBADMSG;
		buf[at++] = c;
	}
	buf[at] = '\0';
	return 0;
}

/* "36 35 0:32 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw" */
int sonde_cgroup2_parse_mount(const char *line, char *buf, size_t size)
{
	const char *at = line, *word, *root, *point;
	size_t n, root_len, point_len;

	assert(line && buf && size > 0);

	for (int i = 0; i < 3; i++)
		if (!next_word(&at, &n))
			return -EBADMSG;
	root = next_word(&at, &root_len);
	point = next_word(&at, &point_len);
	if (!root || !point)
		return -EBADMSG;
	do {
		word = next_word(&at, &n);
		if (!word)
			return -EBADMSG;
	} while (!word_is(word, n, "-"));
	word = next_word(&at, &n);
	if (!word_is(word, n, "cgroup2") || !word_is(root, root_len, "/"))
		return -ENOENT;
	return unescape(point, point_len, buf, size);
}

static void fclosep(FILE **f)
{
	if (*f)
		(void)fclose(*f);
}

static void freelinep(char **line)
{
	free(*line);
}

int sonde_cgroup2_open(int proc_fd)
{
	_cleanup_(freelinep) char *line = NULL;
	_cleanup_(fclosep) FILE *f = NULL;
	_cleanup_close_ int fd = -1;
	size_t cap = 0;

	fd = openat(proc_fd, "self/mountinfo", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	f = fdopen(fd, "r");
	if (!f)
		return -errno;
	TAKE_FD(fd);
	for (int i = 0; i < MOUNTS_MAX && getline(&line, &cap, f) >= 0; i++) {
		char point[PATH_MAX];
		int root;

		if (sonde_cgroup2_parse_mount(line, point, sizeof(point)) < 0)
			continue;
		root = open(point, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (root >= 0)
			return root;
	}
	return -ENOENT;
}
