/* SPDX-License-Identifier: Apache-2.0 */
#include "export/spool-files.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/hash.h"

#define CURSOR_MAGIC 0x31635053U /* "SPc1" */
#define CURSOR_HAS_FLAGS (1U << 31)
#define CURSOR_SLOT_BYTES 64

static const uint8_t segment_magic[8] = {'S', 'P', 'O', 'O', 'L', 'S', 'G', '1'};

static bool is_private(const struct stat *st)
{
	return st->st_uid == geteuid() && (st->st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

int sonde_spool_open_dir(const char *path)
{
	_cleanup_close_ int fd = -1;
	struct stat st;

	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return -errno;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!is_private(&st))
		return -EPERM;
	return TAKE_FD(fd);
}

/* O_NONBLOCK: a FIFO of that name must not hold the agent up. */
static int open_file(int dir_fd, const char *name, int flags)
{
	_cleanup_close_ int fd = -1;
	struct stat st;

	fd = openat(dir_fd, name, flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || !is_private(&st))
		return -EPERM;
	return TAKE_FD(fd);
}

int sonde_spool_lock(int dir_fd)
{
	_cleanup_close_ int fd = open_file(dir_fd, "lock", O_RDWR | O_CREAT);

	if (fd < 0)
		return fd;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? -EBUSY : -errno;
	return TAKE_FD(fd);
}

int sonde_pwrite_all(int fd, const void *data, size_t n, uint64_t at)
{
	for (size_t done = 0; done < n;) {
		ssize_t k = pwrite(fd, (const char *)data + done, n - done, (off_t)(at + done));

		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0)
			return k < 0 ? -errno : -EIO;
		done += (size_t)k;
	}
	return 0;
}

int sonde_pread_all(int fd, void *data, size_t n, uint64_t at)
{
	for (size_t done = 0; done < n;) {
		ssize_t k = pread(fd, (char *)data + done, n - done, (off_t)(at + done));

		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0)
			return k < 0 ? -errno : -ENODATA;
		done += (size_t)k;
	}
	return 0;
}

/* Of those that are counted up from 1, and one behind it can be told. */
static bool is_number(uint64_t number)
{
	return number > 0 && number < UINT64_MAX;
}

void sonde_segment_name(uint64_t number, char ret[SONDE_SEGMENT_NAME_MAX])
{
	(void)snprintf(ret, SONDE_SEGMENT_NAME_MAX, "%016" PRIx64 ".seg", number);
}

int sonde_segment_parse_name(const char *name, uint64_t *ret)
{
	static const char digits[] = "0123456789abcdef";
	uint64_t number = 0;

	assert(name && ret);

	if (strlen(name) != SONDE_SEGMENT_NAME_MAX - 1 || strcmp(name + 16, ".seg") != 0)
		return -EINVAL;
	for (int i = 0; i < 16; i++) {
		const char *d = strchr(digits, name[i]);

		if (!d)
			return -EINVAL;
		number = number << 4 | (uint64_t)(d - digits);
	}
	if (!is_number(number))
		return -EINVAL;
	*ret = number;
	return 0;
}

int sonde_segment_create(int dir_fd, uint64_t number)
{
	_cleanup_close_ int fd = -1;
	uint8_t head[SONDE_SEGMENT_HEAD_BYTES];
	char name[SONDE_SEGMENT_NAME_MAX];
	const uint64_t le = htole64(number);
	int r;

	sonde_segment_name(number, name);
	fd = open_file(dir_fd, name, O_RDWR | O_CREAT | O_EXCL);
	if (fd < 0)
		return fd;
	memcpy(head, segment_magic, sizeof(segment_magic));
	memcpy(head + 8, &le, sizeof(le));
	r = sonde_pwrite_all(fd, head, sizeof(head), 0);
	if (r < 0) {
		(void)unlinkat(dir_fd, name, 0);
		return r;
	}
	return TAKE_FD(fd);
}

int sonde_segment_open(int dir_fd, uint64_t number, uint64_t *ret_bytes)
{
	_cleanup_close_ int fd = -1;
	uint8_t head[SONDE_SEGMENT_HEAD_BYTES];
	char name[SONDE_SEGMENT_NAME_MAX];
	const uint64_t le = htole64(number);
	struct stat st;
	int r;

	sonde_segment_name(number, name);
	fd = open_file(dir_fd, name, O_RDONLY);
	if (fd < 0)
		return fd;
	r = sonde_pread_all(fd, head, sizeof(head), 0);
	if (r < 0)
		return r == -ENODATA ? -EBADMSG : r;
	if (memcmp(head, segment_magic, sizeof(segment_magic)) != 0 ||
	    memcmp(head + 8, &le, sizeof(le)) != 0)
		return -EBADMSG;
	if (fstat(fd, &st) < 0)
		return -errno;
	*ret_bytes = (uint64_t)st.st_size;
	return TAKE_FD(fd);
}

static uint64_t u64_at(const uint8_t *slot, size_t at)
{
	uint64_t v;

	memcpy(&v, slot + at, sizeof(v));
	return le64toh(v);
}

/* u32 magic, u32 flags, u64 generation, segment, offset, u64 hash of these 32 bytes; zeros. */
static bool parse_slot(const uint8_t *slot, struct sonde_cursor *ret)
{
	uint32_t words[2];

	memcpy(words, slot, sizeof(words));
	if (le32toh(words[0]) != CURSOR_MAGIC || u64_at(slot, 32) != sonde_hash(slot, 32, 0) ||
	    !is_number(u64_at(slot, 16)))
		return false;
	*ret = (struct sonde_cursor){
		.flags = le32toh(words[1]) & ~CURSOR_HAS_FLAGS,
		.has_flags = le32toh(words[1]) & CURSOR_HAS_FLAGS,
		.generation = u64_at(slot, 8),
		.segment = u64_at(slot, 16),
		.offset = u64_at(slot, 24),
	};
	return true;
}

int sonde_cursor_write(int fd, const struct sonde_cursor *c)
{
	const uint32_t words[] = {htole32(CURSOR_MAGIC),
				  htole32(c->flags | (c->has_flags ? CURSOR_HAS_FLAGS : 0))};
	const uint64_t numbers[] = {htole64(c->generation), htole64(c->segment),
				    htole64(c->offset)};
	uint8_t slot[CURSOR_SLOT_BYTES] = {0};
	uint64_t hash;

	memcpy(slot, words, sizeof(words));
	memcpy(slot + 8, numbers, sizeof(numbers));
	hash = htole64(sonde_hash(slot, 32, 0));
	memcpy(slot + 32, &hash, sizeof(hash));
	return sonde_pwrite_all(fd, slot, sizeof(slot), c->generation % 2 * CURSOR_SLOT_BYTES);
}

int sonde_cursor_open(int dir_fd, struct sonde_cursor *ret, bool *ret_found)
{
	_cleanup_close_ int fd = open_file(dir_fd, "cursor", O_RDWR | O_CREAT);
	uint8_t slots[2 * CURSOR_SLOT_BYTES] = {0};
	struct sonde_cursor best = {0}, one;
	bool found = false;
	int r;

	if (fd < 0)
		return fd;
	r = sonde_pread_all(fd, slots, sizeof(slots), 0);
	if (r < 0 && r != -ENODATA)
		return r;
	for (size_t i = 0; i < 2; i++) {
		if (!parse_slot(slots + i * CURSOR_SLOT_BYTES, &one) ||
		    (found && one.generation < best.generation))
			continue;
		best = one;
		found = true;
	}
	*ret = best;
	*ret_found = found;
	return TAKE_FD(fd);
}
