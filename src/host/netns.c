/* SPDX-License-Identifier: Apache-2.0 */
#include "host/netns.h"

#include <assert.h>
#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "base/num.h"
#include "host/pidfile.h"
#include "host/privilege.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

int sonde_netns_parse(const char *link, const char *kind, uint32_t *ret)
{
	size_t kind_len, n;
	char digits[12];
	uint64_t v;

	assert(link && kind && ret);

	kind_len = strlen(kind);
	if (strncmp(link, kind, kind_len) != 0 || strncmp(link + kind_len, ":[", 2) != 0)
		return -EBADMSG;
	link += kind_len + 2;
	n = strspn(link, "0123456789");
	if (n == 0 || n >= sizeof(digits) || strcmp(link + n, "]") != 0)
		return -EBADMSG;
	memcpy(digits, link, n);
	digits[n] = '\0';
	if (sonde_parse_u64(digits, 0, UINT32_MAX, &v) < 0)
		return -EBADMSG;
	*ret = (uint32_t)v;
	return 0;
}

int sonde_netns_inode(int proc_fd, uint32_t pid, const char *kind, uint32_t *ret)
{
	char name[48], link[64];
	ssize_t n;
	int r;

	assert(kind && ret);

	(void)snprintf(name, sizeof(name), "%u/ns/%s", pid, kind);
	sonde_pidfile_raise();
	n = readlinkat(proc_fd, name, link, sizeof(link) - 1);
	r = n < 0 ? -errno : 0;
	sonde_privilege_lower();
	if (r == -ENOENT)
		return -ESRCH;
	if (r == -EPERM)
		return -EACCES;
	if (r < 0)
		return r;
	link[n] = '\0';
	return sonde_netns_parse(link, kind, ret);
}

int sonde_netns_cookie(int sock, uint64_t *ret)
{
	uint64_t cookie = 0;
	socklen_t len = sizeof(cookie);

	assert(ret);

	if (getsockopt(sock, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &len) < 0)
		return -errno;
	*ret = cookie;
	return 0;
}

int sonde_netns_cookie_of(uint32_t pid, int fd, uint64_t *ret)
{
	_cleanup_close_ int pidfd = -1, sock = -1;
	int r;

	pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (pidfd < 0)
		return -errno;
	sonde_pidfile_raise();
	sock = (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);
	r = sock < 0 ? -errno : 0;
	sonde_privilege_lower();
	if (r < 0)
		return r;
	return sonde_netns_cookie(sock, ret);
}
