/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Exe: the path of a process's executable, which only CAP_SYS_PTRACE may read
 * of others. @proc_fd is an open /proc, or a folder that looks like one. The
 * capability is raised here, for the one call.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

/*
 * @buf: gets the path, NUL-terminated, at most @size - 1 bytes; "" for a kernel thread. As the process's
 * own mount namespace names it; a deleted file ends in " (deleted)".
 * *@ret_cut: it was longer. Return: 0, -ESRCH (gone), -EACCES.
 */
int sonde_exe_read(int proc_fd, uint32_t pid, char *buf, size_t size, bool *ret_cut) _must_check_;
