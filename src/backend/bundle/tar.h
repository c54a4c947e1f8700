/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Tar: the POSIX ustar form of plain files with short names, each from memory to memory. Pure. */

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

#define SONDE_TAR_BLOCK 512
#define SONDE_TAR_NAME_MAX 100 /* bytes, with NUL */

struct sonde_tar_file {
	char name[SONDE_TAR_NAME_MAX];
	const uint8_t *data; /* borrowed from the archive */
	size_t n;
};

/* Appends one file, of nobody and of no time, so that equal files make equal archives. Return: 0, -EMSGSIZE, -ENOMEM, -EINVAL (name). */
int sonde_tar_add(struct sonde_buf *out, const char *name, const void *data, size_t n) _must_check_;
int sonde_tar_end(struct sonde_buf *out) _must_check_;

/*
 * The file at *@at, which moves behind it. Only plain files whose name has no slash and no byte but letters, digits,
 * '.', '_' and '-'. Return: 1, 0 (the end), -EBADMSG.
 */
int sonde_tar_next(const uint8_t *tar, size_t n, size_t *at,
		   struct sonde_tar_file *ret) _must_check_;
