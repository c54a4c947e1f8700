/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Whole file: what is written appears under its name whole, or not at all. */

#include <stddef.h>
#include <sys/types.h>

#include "base/cleanup.h"

/*
 * Through a file beside @path that takes its name once it is on disk, of @mode less the umask. A link stays one: what it
 * points to is replaced, and -ENOENT if that is nothing. What is there and no regular file is written to as it is.
 * Return: 0, -errno.
 */
int sonde_whole_file_write(const char *path, const void *data, size_t n, mode_t mode) _must_check_;
