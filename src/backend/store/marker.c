/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/store/marker.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/num.h"

#define SUFFIX "-commits"
#define TEXT_BYTES 21 /* 20 digits and a line end */

static int open_file(const char *db_path, int flags, int *ret_fd)
{
	char path[4096];
	int fd;

	if (snprintf(path, sizeof(path), "%s" SUFFIX, db_path) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	/* O_NONBLOCK: a FIFO of that name must not hold us. */
	fd = open(path, flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

int sonde_store_marker_read(const char *db_path, uint64_t *ret)
{
	_cleanup_close_ int fd = -1;
	char text[TEXT_BYTES + 1] = "";
	uint64_t commits;
	ssize_t n;
	int r;

	r = open_file(db_path, O_RDONLY, &fd);
	if (r < 0 && r != -ENOENT)
		return r;
	*ret = 0;
	if (r < 0)
		return 0;
	n = pread(fd, text, TEXT_BYTES, 0);
	if (n < 0)
		return -errno;
	if (n != TEXT_BYTES || text[TEXT_BYTES - 1] != '\n')
		return 0;
	text[TEXT_BYTES - 1] = '\0';
	if (sonde_parse_u64(text, 0, INT64_MAX, &commits) == 0)
		*ret = commits;
	return 0;
}

int sonde_store_marker_open(const char *db_path, int *ret_fd)
{
	return open_file(db_path, O_RDWR | O_CREAT, ret_fd);
}

void sonde_store_marker_write(int fd, uint64_t commits)
{
	char text[TEXT_BYTES + 1];

	(void)snprintf(text, sizeof(text), "%020" PRIu64 "\n", commits);
	(void)!pwrite(fd, text, TEXT_BYTES, 0);
}

int sonde_store_marker_set(const char *db_path, uint64_t commits)
{
	_cleanup_close_ int fd = -1;
	int r;

	r = sonde_store_marker_open(db_path, &fd);
	if (r < 0)
		return r;
	sonde_store_marker_write(fd, commits);
	return fsync(fd) < 0 ? -errno : 0;
}
