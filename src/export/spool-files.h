/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Spool-files: the spool's folder, lock, cursor and segments as files. For spool.c only. One thread. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

#define SONDE_SEGMENT_HEAD_BYTES 16
#define SONDE_SEGMENT_NAME_MAX 21 /* "0123456789abcdef.seg" and NUL */

/*
 * Opens @path, making its last part if that is missing. Return: a descriptor, -ENOTDIR, -EPERM (another's, or others may
 * write in it), -errno.
 */
int sonde_spool_open_dir(const char *path) _must_check_;
/* Return: a descriptor that holds the lock, -EBUSY, -errno. */
int sonde_spool_lock(int dir_fd) _must_check_;

void sonde_segment_name(uint64_t number, char ret[SONDE_SEGMENT_NAME_MAX]);
/* Return: 0, -EINVAL. */
int sonde_segment_parse_name(const char *name, uint64_t *ret) _must_check_;
/* A new file with its head. Return: a descriptor, -errno; nothing is left behind on failure. */
int sonde_segment_create(int dir_fd, uint64_t number) _must_check_;
/* Return: a descriptor for reading, -EBADMSG (no segment, or not this one's), -EPERM (another's file), -errno. */
int sonde_segment_open(int dir_fd, uint64_t number, uint64_t *ret_bytes) _must_check_;
/* All of @n, at @at. Return: 0, -errno. */
int sonde_pwrite_all(int fd, const void *data, size_t n, uint64_t at) _must_check_;
/* Return: 0, -ENODATA (the file ends before), -errno. */
int sonde_pread_all(int fd, void *data, size_t n, uint64_t at) _must_check_;

struct sonde_cursor {
	uint64_t generation, segment, offset;
	uint32_t flags;
	bool has_flags; /* they hold for the record at offset */
};

/* Opens or makes it. *@ret_found: a slot was valid, and is in *@ret. Return: a descriptor, -errno. */
int sonde_cursor_open(int dir_fd, struct sonde_cursor *ret, bool *ret_found) _must_check_;
/* Into the slot that is not the last one's. Return: 0, -errno. */
int sonde_cursor_write(int fd, const struct sonde_cursor *c) _must_check_;
