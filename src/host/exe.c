/* SPDX-License-Identifier: Apache-2.0 */
#include "host/exe.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "host/pidfile.h"
#include "host/privilege.h"

int sonde_exe_read(int proc_fd, uint32_t pid, char *buf, size_t size, bool *ret_cut)
{
	char name[sizeof("4294967295/exe")], path[PATH_MAX];
	struct stat st;
	bool cut, there;
	ssize_t n;
	int r;

	assert(buf && size > 0 && ret_cut);

	(void)snprintf(name, sizeof(name), "%u/exe", pid);
	sonde_pidfile_raise();
	n = readlinkat(proc_fd, name, path, sizeof(path));
	r = n < 0 ? -errno : 0;
	/* A kernel thread's exe is ENOENT too, but it has the entry; of a process that ended there is neither. */
	there = r != -ENOENT || fstatat(proc_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
	sonde_privilege_lower();

	if (!there)
		return -ESRCH;
	if (r == -ENOENT)
		n = 0;
	else if (r == -EPERM)
		return -EACCES;
	else if (r < 0)
		return r;

	cut = (size_t)n >= size || (size_t)n == sizeof(path);
	if ((size_t)n >= size)
		n = (ssize_t)size - 1;
	memcpy(buf, path, (size_t)n);
	buf[n] = '\0';
	*ret_cut = cut;
	return 0;
}
