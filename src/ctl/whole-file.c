/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/whole-file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int write_all(int fd, const char *data, size_t n)
{
	while (n > 0) {
		ssize_t wrote = write(fd, data, n);

		if (wrote < 0 && errno == EINTR)
			continue;
		if (wrote < 0)
			return -errno;
		data += wrote;
		n -= (size_t)wrote;
	}
	return 0;
}

static int fill(int fd, const void *data, size_t n, mode_t mode)
{
	mode_t mask = umask(0);
	int r;

	(void)umask(mask);
	r = write_all(fd, data, n);
	if (r == 0 && (fchmod(fd, mode & ~mask) < 0 || fsync(fd) < 0))
		r = -errno;
	return r;
}

/* A device, a pipe, a terminal: nothing takes its name, and nobody could see half of it there. */
static int write_through(const char *path, const void *data, size_t n)
{
	int fd = open(path, O_WRONLY | O_NOCTTY | O_CLOEXEC), r;

	if (fd < 0)
		return -errno;
	r = write_all(fd, data, n);
	if (close(fd) < 0 && r == 0)
		r = -errno;
	return r;
}

static int replace(const char *path, const void *data, size_t n, mode_t mode)
{
	_cleanup_free_ char *temporary = NULL;
	int fd, r;

	if (asprintf(&temporary, "%s.XXXXXX", path) < 0) {
		temporary = NULL;
		return -ENOMEM;
	}
	fd = mkostemp(temporary, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = fill(fd, data, n, mode);
	if (close(fd) < 0 && r == 0)
		r = -errno;
	if (r == 0 && rename(temporary, path) < 0)
		r = -errno;
	if (r < 0)
		(void)unlink(temporary);
	return r;
}

int sonde_whole_file_write(const char *path, const void *data, size_t n, mode_t mode)
{
	_cleanup_free_ char *real = NULL;
	struct stat there;

	if (stat(path, &there) < 0) {
		if (errno != ENOENT)
			return -errno;
		/* a link to nothing would be lost to the file */
		return lstat(path, &there) == 0 ? -ENOENT : replace(path, data, n, mode);
	}
	if (!S_ISREG(there.st_mode))
		return write_through(path, data, n);
	real = realpath(path, NULL);
	return real ? replace(real, data, n, mode) : -errno;
}
