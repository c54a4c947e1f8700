/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/store/lock.h"

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

static int write_holder(int fd)
{
	char text[32];
	int n = snprintf(text, sizeof(text), "%d\n", (int)getpid());
	ssize_t written;

	/* Over what was there, and cut behind it: who reads meanwhile finds one of the two. */
	written = pwrite(fd, text, (size_t)n, 0);
	if (written < 0)
		return -errno;
	if (written != n)
		return -EIO;
	return ftruncate(fd, n) < 0 ? -errno : 0;
}

int sonde_store_lock(const char *state_dir, int *ret_fd, pid_t *ret_holder)
{
	_cleanup_close_ int dir = -1, fd = -1;
	int r;

	assert(state_dir && ret_fd && ret_holder);

	dir = open(state_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return -errno;
	fd = openat(dir, SONDE_STORE_LOCK_FILE, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK)
			return -errno;
		*ret_holder = read_holder(fd);
		return -EBUSY;
	}
	r = write_holder(fd);
	if (r < 0)
		return r;
	*ret_fd = TAKE_FD(fd);
	return 0;
}
