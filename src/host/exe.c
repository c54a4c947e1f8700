/* SPDX-License-Identifier: Apache-2.0 */
#include "host/exe.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>

#include "host/privilege.h"

int sonde_exe_read(int proc_fd, uint32_t pid, char *buf, size_t size, bool *ret_cut)
{
	char name[sizeof("4294967295/exe")], path[PATH_MAX];
	bool cut;
	ssize_t n;
	int r;

	assert(buf && size > 0 && ret_cut);

	(void)snprintf(name, sizeof(name), "%u", pid);
	if (faccessat(proc_fd, name, F_OK, 0) < 0)
		return -ESRCH; /* or a kernel thread, whose exe is ENOENT too, could not be told apart */
	(void)snprintf(name, sizeof(name), "%u/exe", pid);

	(void)sonde_privilege_raise(SONDE_CAP(CAP_SYS_PTRACE) | SONDE_CAP(CAP_DAC_READ_SEARCH));
	n = readlinkat(proc_fd, name, path, sizeof(path));
	r = n < 0 ? -errno : 0;
	sonde_privilege_lower();

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
