/* SPDX-License-Identifier: Apache-2.0 */
#include "host/proc.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/num.h"

int sonde_proc_open(const char *path)
{
	int fd;

	assert(path);

	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/*
 * Reads at most @size bytes; *@ret_n = @size means that there may be more. A process that is gone is
 * -ESRCH, be it noticed at the open or at the read.
 */
static int read_file(int proc_fd, uint32_t pid, const char *name, char *buf, size_t size,
		     size_t *ret_n)
{
	_cleanup_close_ int fd = -1;
	char path[32];

	(void)snprintf(path, sizeof(path), "%u/%s", pid, name);
	fd = openat(proc_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	return sonde_file_fill(fd, buf, size, ret_n);
}

/* A decimal number at *@at, stepping over it. Return: 0, -EBADMSG. */
static int take_number(const char **at, const char *end, uint64_t *ret)
{
	uint64_t v = 0;
	const char *p = *at;

	while (p < end && *p >= '0' && *p <= '9') {
		if (__builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(*p - '0'), &v))
			return -EBADMSG;
		p++;
	}
	if (p == *at)
		return -EBADMSG;
	*at = p;
	*ret = v;
	return 0;
}

/* Steps over @n blank-separated fields. Return: 0, -EBADMSG. */
static int skip_fields(const char **at, const char *end, unsigned n)
{
	const char *p = *at;

	for (; n; n--) {
		const char *start;

		if (p == end || *p != ' ')
			return -EBADMSG;
		start = ++p;
		while (p < end && *p != ' ' && *p != '\n')
			p++;
		if (p == start)
			return -EBADMSG;
	}
	*at = p;
	return 0;
}

static int take_field(const char **at, const char *end, uint64_t *ret)
{
	const char *p = *at;
	int r;

	if (p == end || *p != ' ')
		return -EBADMSG;
	p++;
	r = take_number(&p, end, ret);
	if (r == 0)
		*at = p;
	return r;
}

#define PROC_FLAG_KTHREAD 0x00200000 /* PF_KTHREAD of the kernel's sched.h */

int sonde_proc_parse_stat(const char *text, size_t n, struct sonde_proc_stat *ret)
{
	struct sonde_proc_stat s = {0};
	const char *at = text, *end = text + n, *open, *close;
	uint64_t pid, ppid, flags;

	assert(text && ret);

	if (memchr(text, '\0', n) || take_number(&at, end, &pid) < 0 || pid > INT32_MAX)
		return -EBADMSG;
	/* The name may hold blanks and brackets: it ends at the last ')'. */
	open = at + 1;
	if ((size_t)(end - at) < 3 || at[0] != ' ' || *open != '(')
		return -EBADMSG;
	open++;
	close = memrchr(open, ')', (size_t)(end - open));
	if (!close || (size_t)(close - open) >= sizeof(s.comm))
		return -EBADMSG;
	memcpy(s.comm, open, (size_t)(close - open));
	at = close + 1;
	if ((size_t)(end - at) < 2 || at[0] != ' ' || at[1] == ' ')
		return -EBADMSG;
	s.state = at[1];
	at += 2;
	/* Fields, from 1: 4 ppid, 9 flags, 14 utime, 15 stime, 20 num_threads, 22 starttime. */
	if (take_field(&at, end, &ppid) < 0 || ppid > INT32_MAX || skip_fields(&at, end, 4) < 0 ||
	    take_field(&at, end, &flags) < 0 || skip_fields(&at, end, 4) < 0 ||
	    take_field(&at, end, &s.user_ticks) < 0 || take_field(&at, end, &s.system_ticks) < 0 ||
	    skip_fields(&at, end, 4) < 0 || take_field(&at, end, &s.threads) < 0 ||
	    skip_fields(&at, end, 1) < 0 || take_field(&at, end, &s.start_ticks) < 0)
		return -EBADMSG;
	s.pid = (uint32_t)pid;
	s.ppid = (uint32_t)ppid;
	s.kernel_thread = flags & PROC_FLAG_KTHREAD;
	*ret = s;
	return 0;
}

/* The value of the line "KEY:\t…", its blanks skipped; NULL if there is none. *@ret_end is the line's end. */
static const char *find_line(const char *text, size_t n, const char *key, const char **ret_end)
{
	const char *at = text, *end = text + n;
	size_t key_len = strlen(key);

	while (at < end) {
		const char *eol = memchr(at, '\n', (size_t)(end - at));

		if (!eol)
			eol = end;
		if ((size_t)(eol - at) > key_len && memcmp(at, key, key_len) == 0 &&
		    at[key_len] == ':') {
			at += key_len + 1;
			while (at < eol && (*at == ' ' || *at == '\t'))
				at++;
			*ret_end = eol;
			return at;
		}
		at = eol < end ? eol + 1 : end;
	}
	return NULL;
}

/* A line of "N kB". Absent (a kernel thread has none) is 0. */
static int status_kb(const char *text, size_t n, const char *key, uint64_t *ret_bytes)
{
	const char *end = NULL;
	const char *at = find_line(text, n, key, &end);
	uint64_t v;

	*ret_bytes = 0;
	if (!at)
		return 0;
	if (take_number(&at, end, &v) < 0 || end - at != 3 || memcmp(at, " kB", 3) != 0 ||
	    __builtin_mul_overflow(v, 1024, &v))
		return -EBADMSG;
	*ret_bytes = v;
	return 0;
}

static int status_hex(const char *text, size_t n, const char *key, uint64_t *ret)
{
	const char *end = NULL;
	const char *at = find_line(text, n, key, &end);
	uint64_t v = 0;

	if (!at || end == at || end - at > 16)
		return -EBADMSG;
	for (; at < end; at++) {
		unsigned digit;

		if (*at >= '0' && *at <= '9')
			digit = (unsigned)(*at - '0');
		else if (*at >= 'a' && *at <= 'f')
			digit = (unsigned)(*at - 'a') + 10;
		else
			return -EBADMSG;
		v = v << 4 | digit;
	}
	*ret = v;
	return 0;
}

int sonde_proc_parse_status(const char *text, size_t n, struct sonde_proc_status *ret)
{
	struct sonde_proc_status s = {0};
	const char *at, *end = NULL;
	uint64_t uid;

	assert(text && ret);

	at = find_line(text, n, "Uid", &end);
	if (!at || take_number(&at, end, &uid) < 0 || uid > UINT32_MAX)
		return -EBADMSG;
	s.uid = (uint32_t)uid;
	if (status_kb(text, n, "RssAnon", &s.rss_anon_bytes) < 0 ||
	    status_kb(text, n, "VmRSS", &s.rss_bytes) < 0 ||
	    status_hex(text, n, "CapPrm", &s.cap_permitted) < 0 ||
	    status_hex(text, n, "CapEff", &s.cap_effective) < 0)
		return -EBADMSG;
	*ret = s;
	return 0;
}

void sonde_proc_join_cmdline(const char *text, size_t n, char *ret, size_t size,
			     size_t *ret_argv0_len)
{
	const char *nul;
	size_t argv0;

	assert(text && ret && size);

	while (n && text[n - 1] == '\0')
		n--;
	if (n > size - 1)
		n = size - 1;
	nul = memchr(text, '\0', n);
	argv0 = nul ? (size_t)(nul - text) : n;
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c == '\0')
			ret[i] = ' ';
		else
			ret[i] = c < 0x20 || c == 0x7f ? '?' : (char)c;
	}
	ret[n] = '\0';
	if (ret_argv0_len)
		*ret_argv0_len = argv0;
}

int sonde_proc_read_stat(int proc_fd, uint32_t pid, struct sonde_proc_stat *ret)
{
	char buf[SONDE_PROC_STAT_FILE_MAX];
	size_t n = 0;
	int r;

	r = read_file(proc_fd, pid, "stat", buf, sizeof(buf), &n);
	return r < 0 ? r : sonde_proc_parse_stat(buf, n, ret);
}

int sonde_proc_read_load(int proc_fd, double *ret)
{
	_cleanup_close_ int fd = -1;
	char text[64];
	ssize_t n;

	assert(ret);

	fd = openat(proc_fd, "loadavg", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, text, sizeof(text) - 1);
	if (n < 0)
		return -errno;
	text[n] = '\0';
	text[strcspn(text, " ")] = '\0';
	return sonde_parse_double(text, ret) < 0 || *ret < 0 ? -EBADMSG : 0;
}

int sonde_proc_read_status(int proc_fd, uint32_t pid, struct sonde_proc_status *ret)
{
	char buf[SONDE_PROC_STATUS_FILE_MAX];
	size_t n = 0;
	int r;

	r = read_file(proc_fd, pid, "status", buf, sizeof(buf), &n);
	return r < 0 ? r : sonde_proc_parse_status(buf, n, ret);
}

int sonde_proc_read_cmdline(int proc_fd, uint32_t pid, char *ret, size_t size,
			    size_t *ret_argv0_len)
{
	_cleanup_free_ char *buf = NULL;
	size_t n = 0;
	int r;

	assert(ret && size);

	buf = malloc(size);
	if (!buf)
		return -ENOMEM;
	r = read_file(proc_fd, pid, "cmdline", buf, size, &n);
	if (r < 0)
		return r;
	sonde_proc_join_cmdline(buf, n, ret, size, ret_argv0_len);
	return 0;
}

static void closedirp(DIR **d)
{
	if (*d)
		(void)closedir(*d);
}

static int open_list(int proc_fd, DIR **ret)
{
	_cleanup_close_ int fd = openat(proc_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d;

	if (fd < 0)
		return -errno;
	d = fdopendir(fd);
	if (!d)
		return -errno;
	(void)TAKE_FD(fd);
	*ret = d;
	return 0;
}

/* A name that is a pid in full: no leading zero, no sign. 0 = it is none. */
static uint32_t pid_of_name(const char *name)
{
	const char *at = name, *end = name + strlen(name);
	uint64_t v;

	if (*name == '0' || take_number(&at, end, &v) < 0 || at != end || v > INT32_MAX)
		return 0;
	return (uint32_t)v;
}

int sonde_proc_list(int proc_fd, size_t max, uint32_t **ret, size_t *ret_n)
{
	_cleanup_(closedirp) DIR *d = NULL;
	_cleanup_free_ uint32_t *pids = NULL;
	size_t n = 0, cap = 0;
	bool full = false;
	int r;

	assert(ret && ret_n && max);

	r = open_list(proc_fd, &d);
	if (r < 0)
		return r;
	assert(d);
	for (;;) {
		struct dirent *e;
		uint32_t pid;

		errno = 0;
		e = readdir(d);
		if (!e && errno)
			return -errno;
		if (!e)
			break;
		pid = pid_of_name(e->d_name);
		if (!pid)
			continue;
		full = n == max;
		if (full)
			break;
		if (n == cap) {
			uint32_t *p = reallocarray(pids, cap ? cap * 2 : 256, sizeof(*p));

			if (!p)
				return -ENOMEM;
			pids = p;
			cap = cap ? cap * 2 : 256;
		}
		pids[n++] = pid;
	}
	*ret = TAKE_PTR(pids);
	*ret_n = n;
	return full ? -ENOSPC : 0;
}
