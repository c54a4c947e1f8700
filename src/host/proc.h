/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Proc: what anyone may read of a process under a /proc that is given as a
 * directory descriptor (a fixture folder in tests). A process writes its own
 * name and command line, so every byte is hostile: whole files or nothing,
 * fixed bounds, no text that was not checked. No state, any thread.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

#define SONDE_PROC_COMM_MAX 17	      /* with NUL */
#define SONDE_PROC_STAT_FILE_MAX 1024 /* longest stat that is read */
#define SONDE_PROC_STATUS_FILE_MAX 8192

struct sonde_proc_stat {
	uint32_t pid;
	uint32_t ppid;
	char comm[SONDE_PROC_COMM_MAX]; /* may hold any byte but NUL */
	char state;			/* 'R', 'S', 'Z', … */
	bool kernel_thread;
	uint64_t user_ticks;
	uint64_t system_ticks;
	uint64_t threads;
	uint64_t start_ticks; /* since boot: with the pid the identity of a process */
};

struct sonde_proc_status {
	uint32_t uid; /* real */
	uint64_t rss_anon_bytes;
	uint64_t rss_bytes;
	uint64_t cap_permitted;
	uint64_t cap_effective;
};

/* "/proc", O_PATH would not list: a readable directory. Return: the descriptor, -errno. */
int sonde_proc_open(const char *path) _must_check_;

/* Return: 0, -ESRCH (no such process), -EBADMSG (not understood), -errno. */
int sonde_proc_read_stat(int proc_fd, uint32_t pid, struct sonde_proc_stat *ret) _must_check_;
int sonde_proc_read_status(int proc_fd, uint32_t pid, struct sonde_proc_status *ret) _must_check_;

/* Mean of runnable and waiting threads over the last minute. Return: 0, -EBADMSG, -errno. */
int sonde_proc_read_load(int proc_fd, double *ret) _must_check_;

/*
 * Arguments joined by one space, cut at @size - 1 bytes; control bytes become '?'. "" for a kernel thread.
 * @ret_argv0_len (may be NULL): how much of it is the first argument.
 */
int sonde_proc_read_cmdline(int proc_fd, uint32_t pid, char *ret, size_t size,
			    size_t *ret_argv0_len) _must_check_;

/* The parsers alone. -EBADMSG for anything that is not whole. */
int sonde_proc_parse_stat(const char *text, size_t n, struct sonde_proc_stat *ret) _must_check_;
int sonde_proc_parse_status(const char *text, size_t n, struct sonde_proc_status *ret) _must_check_;
void sonde_proc_join_cmdline(const char *text, size_t n, char *ret, size_t size,
			     size_t *ret_argv0_len);

/*
 * Every numeric entry, in the directory's order, at most @max. @ret is malloc'd.
 * Return: 0, -ENOSPC (more than @max: *@ret has the first @max), -ENOMEM, -errno.
 */
int sonde_proc_list(int proc_fd, size_t max, uint32_t **ret, size_t *ret_n) _must_check_;
