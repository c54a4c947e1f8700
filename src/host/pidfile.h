/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Pidfile: one file of a process's /proc folder, and the list of processes, as
 * the probe reads them: with CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH in effect
 * for the open alone (so hidepid hides nothing), into the caller's buffer.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

/* Raised while an entry of another process is opened or its links are read. */
void sonde_pidfile_raise(void);

/* @name: "stat", "net/tcp6", …  Return: a descriptor (CLOEXEC), -ESRCH (no such process or file), -errno. */
int sonde_pidfile_open(int proc_fd, uint32_t pid, const char *name, int flags) _must_check_;

/* The whole text and a NUL into @buf. Return: 0, -EFBIG (does not fit), -EBADMSG (holds a NUL), -ESRCH, -errno. */
int sonde_pidfile_read(int proc_fd, uint32_t pid, const char *name, char *buf,
		       size_t size) _must_check_;

/* sonde_proc_list() with the capabilities in effect: what hidepid hides is listed too. */
int sonde_pidfile_list(int proc_fd, size_t max, uint32_t **ret, size_t *ret_n) _must_check_;
