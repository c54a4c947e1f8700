/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Cgroup2: the root of the cgroup v2 tree, on unified and on hybrid hosts. */

#include <stddef.h>

#include "base/cleanup.h"

/*
 * Opens the first cgroup2 mount that shows the root of its tree. Return: a descriptor (O_PATH is not
 * enough for BPF: read-only, CLOEXEC), -ENOENT = none is mounted, -errno.
 */
int sonde_cgroup2_open(int proc_fd) _must_check_;

/* The mount point in one line of mountinfo, unescaped, into @buf. Return: 0, -ENOENT = of another kind, -EBADMSG. */
int sonde_cgroup2_parse_mount(const char *line, char *buf, size_t size) _must_check_;
