/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/bundle/tar.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define NAME_LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
#define SIZE_MAX_BYTES (1UL << 33) /* what eleven octal digits can say */

/* POSIX.1-1988, ustar. */
struct header {
	char name[SONDE_TAR_NAME_MAX];
	char mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8];
	char type;
	char link[100];
	char magic[6], version[2];
	char user[32], group[32], major[8], minor[8], prefix[155], pad[12];
};
_Static_assert(sizeof(struct header) == SONDE_TAR_BLOCK, "a header is a block");

static unsigned checksum(const struct header *h)
{
	const uint8_t *p = (const uint8_t *)h;
	unsigned sum = 0;

	for (size_t i = 0; i < sizeof(*h); i++) {
		bool own = i >= offsetof(struct header, checksum) &&
			   i < offsetof(struct header, checksum) + sizeof(h->checksum);

		sum += own ? ' ' : p[i];
	}
	return sum;
}

int sonde_tar_add(struct sonde_buf *out, const char *name, const void *data, size_t n)
{
	static const char zeros[SONDE_TAR_BLOCK];
	struct header h = {.mode = "0000644",
			   .uid = "0000000",
			   .gid = "0000000",
			   .mtime = "00000000000",
			   .type = '0',
			   .magic = "ustar",
			   .version = {'0', '0'}};
	size_t rest = n % SONDE_TAR_BLOCK;
	char size[24];
	int r;

	if (strlen(name) >= sizeof(h.name) || n >= SIZE_MAX_BYTES)
		return -EINVAL;
	memcpy(h.name, name, strlen(name));
	(void)snprintf(size, sizeof(size), "%011zo", n);
	memcpy(h.size, size, sizeof(h.size));
	(void)snprintf(h.checksum, sizeof(h.checksum), "%06o", checksum(&h));
	h.checksum[7] = ' ';
	r = sonde_buf_append(out, &h, sizeof(h));
	if (r == 0)
		r = sonde_buf_append(out, data, n);
	if (r == 0 && rest > 0)
		r = sonde_buf_append(out, zeros, SONDE_TAR_BLOCK - rest);
	return r;
}

int sonde_tar_end(struct sonde_buf *out)
{
	static const char zeros[2 * SONDE_TAR_BLOCK];

	return sonde_buf_append(out, zeros, sizeof(zeros));
}

/* Octal digits up to a NUL or a blank. Return: 0, -EBADMSG. */
static int read_octal(const char *field, size_t n, uint64_t *ret)
{
	uint64_t v = 0;
	size_t i = 0;

	for (; i < n && field[i] >= '0' && field[i] <= '7'; i++)
		v = v * 8 + (uint64_t)(field[i] - '0');
	if (i == 0 || (i < n && field[i] != '\0' && field[i] != ' '))
		return -EBADMSG;
	*ret = v;
	return 0;
}

static bool is_plain(const struct header *h)
{
	size_t n = strnlen(h->name, sizeof(h->name));

	return (h->type == '0' || h->type == '\0') && memcmp(h->magic, "ustar", 5) == 0 &&
	       h->prefix[0] == '\0' && n > 0 && n < sizeof(h->name) && h->name[0] != '.' &&
	       strspn(h->name, NAME_LETTERS) == n;
}

int sonde_tar_next(const uint8_t *tar, size_t n, size_t *at, struct sonde_tar_file *ret)
{
	static const struct header end;
	uint64_t sum, size, whole;
	struct header h;

	if (n < *at || n - *at < sizeof(h))
		return -EBADMSG;
	memcpy(&h, tar + *at, sizeof(h));
	if (memcmp(&h, &end, sizeof(h)) == 0)
		return 0;
	if (read_octal(h.checksum, sizeof(h.checksum), &sum) < 0 || sum != checksum(&h) ||
	    read_octal(h.size, sizeof(h.size), &size) < 0 || !is_plain(&h))
		return -EBADMSG;
	whole = (size + SONDE_TAR_BLOCK - 1) / SONDE_TAR_BLOCK * SONDE_TAR_BLOCK;
	if (whole > n - *at - sizeof(h))
		return -EBADMSG;
	memcpy(ret->name, h.name, sizeof(ret->name));
	ret->data = tar + *at + sizeof(h);
	ret->n = (size_t)size;
	*at += sizeof(h) + (size_t)whole;
	return 1;
}
