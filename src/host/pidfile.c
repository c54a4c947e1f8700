/* SPDX-License-Identifier: Apache-2.0 */
#include "host/pidfile.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "host/privilege.h"
#include "host/proc.h"

void sonde_pidfile_raise(void)
{
	/* Without them we read what anyone may: the caller sees -EACCES where that is not enough. */
	(void)sonde_privilege_raise(SONDE_CAP(CAP_SYS_PTRACE) | SONDE_CAP(CAP_DAC_READ_SEARCH));
}

int sonde_pidfile_open(int proc_fd, uint32_t pid, const char *name, int flags)
{
	char path[64];
	int fd, r;

	r = snprintf(path, sizeof(path), "%u/%s", pid, name);
	if (r < 0 || (size_t)r >= sizeof(path))
		return -EINVAL;
	sonde_pidfile_raise();
	fd = openat(proc_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | flags);
	r = fd < 0 ? -errno : fd;
	sonde_privilege_lower();
	return r == -ENOENT ? -ESRCH : r;
}

int sonde_pidfile_read(int proc_fd, uint32_t pid, const char *name, char *buf, size_t size)
{
	_cleanup_close_ int fd = -1;
	size_t n = 0;
	int r;

	assert(name && buf && size > 0);

	fd = sonde_pidfile_open(proc_fd, pid, name, 0);
	if (fd < 0)
		return fd;
	r = sonde_file_fill(fd, buf, size, &n);
	if (r < 0)
		return r;
	if (n == size)
		return -EFBIG;
	buf[n] = '\0';
	return memchr(buf, '\0', n) ? -EBADMSG : 0;
}

int sonde_pidfile_list(int proc_fd, size_t max, uint32_t **ret, size_t *ret_n)
{
	int r;

	sonde_pidfile_raise(); /* hidepid hides entries from the listing itself */
	r = sonde_proc_list(proc_fd, max, ret, ret_n);
	sonde_privilege_lower();
	return r;
}
