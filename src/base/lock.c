/* SPDX-License-Identifier: Apache-2.0 */
#include "base/lock.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>

#include "base/num.h"

/* Return: 0 if the file does not say. */
static pid_t read_holder(int fd)
{
	char text[32];
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
	uint64_t pid;

	if (n <= 0)
		return 0;
	text[n] = '\0';
	text[strcspn(text, "\n")] = '\0';
	return sonde_parse_u64(text, 1, INT32_MAX, &pid) < 0 ? 0 : (pid_t)pid;
}

/* Over what was there, and cut behind it: who reads meanwhile finds one of the two. A full disk costs the words alone. */
static void write_holder(int fd)
{
	char text[32];
	int n = snprintf(text, sizeof(text), "%d\n", (int)getpid());

	if (pwrite(fd, text, (size_t)n, 0) == n)
		(void)!ftruncate(fd, n);
}

int sonde_lock_dir(const char *dir_path, const char *name, int *ret_fd, pid_t *ret_holder)
{
	_cleanup_close_ int dir = -1, fd = -1;

	assert(dir_path && name && ret_fd && ret_holder);

	dir = open(dir_path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return -errno;
	/* O_NONBLOCK: a FIFO of that name must not hold us. */
	fd = openat(dir, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK)
			return -errno;
		*ret_holder = read_holder(fd);
		return -EBUSY;
	}
	write_holder(fd);
	*ret_fd = TAKE_FD(fd);
	return 0;
}
