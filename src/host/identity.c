/* SPDX-License-Identifier: Apache-2.0 */
#include "host/identity.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "host/exe.h"
#include "host/netns.h"
#include "host/pidfile.h"
#include "host/privilege.h"

int sonde_identity_parse_cgroup(const char *text, char *buf, size_t size)
{
	size_t at = 0;

	assert(text && buf && size > 0);

	while (*text != '\0') {
		const char *end = strchrnul(text, '\n');
		const char *path = memchr(text, ':', (size_t)(end - text));
		size_t n;

		if (path)
			path = memchr(path + 1, ':', (size_t)(end - path - 1));
		if (!path)
			return -EBADMSG;
		path++;
		n = (size_t)(end - path);
		if (n + 2 > size - at)
			return -EMSGSIZE;
		memcpy(buf + at, path, n);
		buf[at + n] = '\n';
		at += n + 1;
		text = *end ? end + 1 : end;
	}
	buf[at] = '\0';
	return 0;
}

/* -ESRCH when the pid belongs to another process by now. */
static int read_stat(int proc_fd, uint32_t pid, uint64_t start_ticks, struct sonde_proc_stat *ret)
{
	int r;

	sonde_pidfile_raise();
	r = sonde_proc_read_stat(proc_fd, pid, ret);
	sonde_privilege_lower();
	if (r < 0)
		return r;
	return ret->start_ticks == start_ticks ? 0 : -ESRCH;
}

int sonde_identity_check(int proc_fd, uint32_t pid, uint64_t start_ticks)
{
	struct sonde_proc_stat stat;
	int r;

	r = read_stat(proc_fd, pid, start_ticks, &stat);
	if (r == 0 && (stat.state == 'Z' || stat.state == 'X'))
		r = -ESRCH;
	return r;
}

static void read_uid(int proc_fd, struct sonde_identity *id)
{
	struct sonde_proc_status status;
	int r;

	sonde_pidfile_raise();
	r = sonde_proc_read_status(proc_fd, id->pid, &status);
	sonde_privilege_lower();
	if (r < 0)
		id->unknown |= SONDE_IDENTITY_UID;
	else
		id->uid = status.uid;
}

static void read_cgroup(int proc_fd, struct sonde_identity *id)
{
	char text[SONDE_IDENTITY_CGROUP_MAX];

	if (sonde_pidfile_read(proc_fd, id->pid, "cgroup", text, sizeof(text)) < 0 ||
	    sonde_identity_parse_cgroup(text, id->cgroup, sizeof(id->cgroup)) < 0)
		id->unknown |= SONDE_IDENTITY_CGROUP;
}

int sonde_identity_read(int proc_fd, uint32_t pid, uint64_t start_ticks, struct sonde_identity *ret)
{
	struct sonde_proc_stat stat;
	bool cut;
	int r;

	assert(ret);

	r = read_stat(proc_fd, pid, start_ticks, &stat);
	if (r < 0)
		return r;

	memset(ret, 0, sizeof(*ret));
	ret->pid = pid;
	ret->start_ticks = start_ticks;
	memcpy(ret->name, stat.comm, sizeof(ret->name));
	read_uid(proc_fd, ret);
	read_cgroup(proc_fd, ret);
	if (sonde_exe_read(proc_fd, pid, ret->exe, sizeof(ret->exe), &cut) < 0 || cut)
		ret->unknown |= SONDE_IDENTITY_EXE;
	if (sonde_netns_inode(proc_fd, pid, "net", &ret->net_namespace) < 0)
		ret->unknown |= SONDE_IDENTITY_NET_NAMESPACE;
	if (sonde_netns_inode(proc_fd, pid, "pid", &ret->pid_namespace) < 0)
		ret->unknown |= SONDE_IDENTITY_PID_NAMESPACE;
	return read_stat(proc_fd, pid, start_ticks, &stat);
}
