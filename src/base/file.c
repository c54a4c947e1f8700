/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

int sonde_file_fill(int fd, void *buf, size_t size, size_t *ret_n)
{
	size_t n = 0;

	assert(buf && ret_n);

	while (n < size) {
		ssize_t r = read(fd, (char *)buf + n, size - n);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		if (r == 0)
			break;
		n += (size_t)r;
	}
	*ret_n = n;
	return 0;
}

int sonde_file_read(const char *path, bool secret, struct sonde_buf *out)
{
	_cleanup_close_ int fd = -1;
	struct stat st;
	size_t n = 0;
	int r;

	assert(path && out);

	/* A pipe that someone put there must not hold us. */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	if (secret && (st.st_mode & S_IROTH))
		return -EPERM;
	if (st.st_size < 0 || (uint64_t)st.st_size > out->max - out->len)
		return -EMSGSIZE;
	r = sonde_buf_reserve(out, (size_t)st.st_size);
	if (r < 0)
		return r;
	if (st.st_size > 0)
		r = sonde_file_fill(fd, out->data + out->len, (size_t)st.st_size, &n);
	out->len += n; /* fewer: it shrank meanwhile */
	return r;
}

const char *sonde_file_error(int r, bool secret)
{
	if (r == -EPERM && secret)
		return "everyone on this machine may read it: chmod o-r";
	if (r == -EINVAL)
		return secret ? "it is no regular file, or empty" : "it is no regular file";
	return strerror(-r);
}

int sonde_file_read_line(const char *path, bool secret, size_t max, char **ret)
{
	_cleanup_buf_ struct sonde_buf buf = SONDE_BUF_INIT(max + 2); /* the line end */
	const char *begin, *end;
	char *text = NULL;
	int r;

	assert(path && ret);

	r = sonde_file_read(path, secret, &buf);
	if (r == 0) {
		begin = sonde_buf_str(&buf);
		end = begin + buf.len;
		while (begin < end && isspace((unsigned char)*begin))
			begin++;
		while (end > begin && isspace((unsigned char)end[-1]))
			end--;
		if (begin == end || memchr(begin, '\0', (size_t)(end - begin)))
			r = -EINVAL;
		else if (!(text = strndup(begin, (size_t)(end - begin))))
			r = -ENOMEM;
	}
	if (buf.data)
		explicit_bzero(buf.data, buf.len);
	if (r < 0)
		return r;
	*ret = text;
	return 0;
}

void sonde_file_look(const char *path, struct stat *ret)
{
	assert(ret);

	if (!path || stat(path, ret) < 0)
		*ret = (struct stat){0};
}

bool sonde_file_changed(const char *path, const struct stat *seen)
{
	struct stat now;

	assert(seen);

	sonde_file_look(path, &now);
	return now.st_ino != seen->st_ino || now.st_dev != seen->st_dev ||
	       now.st_size != seen->st_size || now.st_mtim.tv_sec != seen->st_mtim.tv_sec ||
	       now.st_mtim.tv_nsec != seen->st_mtim.tv_nsec;
}
