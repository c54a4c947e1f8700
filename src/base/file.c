/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

int sonde_file_read(const char *path, bool secret, struct sonde_buf *out)
{
	_cleanup_close_ int fd = -1;
	struct stat st;
	ssize_t n;
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
	for (size_t left = (size_t)st.st_size; left > 0; left -= (size_t)n) {
		n = read(fd, out->data + out->len, left);
		if (n < 0 && errno == EINTR) {
			n = 0;
			continue;
		}
		if (n < 0)
			return -errno;
		if (n == 0) /* it shrank meanwhile */
			break;
		out->len += (size_t)n;
	}
	return 0;
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
