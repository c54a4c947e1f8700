/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* File: small files that an operator names (keys, tokens, certificates), read whole. Any thread. */

#include <stdbool.h>
#include <sys/stat.h>

#include "base/buf.h"

/*
 * Appends the content of the regular file at @path, of at most @out->max bytes. @secret: refuses one that everyone
 * on the machine may read. Return: 0, -EPERM (@secret, and others may read it), -EINVAL (no regular file),
 * -EMSGSIZE, -ENOMEM, -errno.
 */
int sonde_file_read(const char *path, bool secret, struct sonde_buf *out) _must_check_;

/*
 * Reads until @buf is full or @fd's end. *@ret_n = @size means that there may be more. Return: 0, -errno of read(2),
 * but not -EINTR.
 */
int sonde_file_fill(int fd, void *buf, size_t size, size_t *ret_n) _must_check_;

/* The words for what sonde_file_read() returned: strerror(), and what to do about -EPERM of a secret. */
const char *sonde_file_error(int r, bool secret);

/* Reads a secret of one line; line end and blanks around it go. Return: as above, -EINVAL too for an empty one. */
int sonde_file_read_line(const char *path, bool secret, size_t max, char **ret) _must_check_;

/*
 * Watched by looking: *@ret is what stat(2) says of the file at @path, zeroed when it is gone (or @path is NULL).
 * Changed: it was written, replaced or is gone since that look.
 */
void sonde_file_look(const char *path, struct stat *ret);
bool sonde_file_changed(const char *path, const struct stat *seen);
