/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Identity: what a node's policy judges a process by, read in one go from a
 * /proc that may be hostile (names are the process's own choice). Bounded; what
 * could not be read whole is marked unknown, never guessed. @proc_fd is an open
 * /proc or a folder that looks like one.
 */

#include <stdint.h>

#include "base/cleanup.h"
#include "host/proc.h"

#define SONDE_IDENTITY_EXE_MAX 4096
#define SONDE_IDENTITY_CGROUP_MAX 8192

enum sonde_identity_unknown {
	SONDE_IDENTITY_EXE = 1U << 0,
	SONDE_IDENTITY_UID = 1U << 1,
	SONDE_IDENTITY_CGROUP = 1U << 2,
	SONDE_IDENTITY_NET_NAMESPACE = 1U << 3,
	SONDE_IDENTITY_PID_NAMESPACE = 1U << 4,
};

struct sonde_identity {
	uint32_t pid;
	uint32_t unknown; /* bits of enum sonde_identity_unknown */
	uint64_t start_ticks;
	uint32_t uid;		/* real */
	uint32_t net_namespace; /* inode */
	uint32_t pid_namespace;
	char name[SONDE_PROC_COMM_MAX];		/* comm */
	char exe[SONDE_IDENTITY_EXE_MAX];	/* "" for a kernel thread */
	char cgroup[SONDE_IDENTITY_CGROUP_MAX]; /* one path a line, of every hierarchy */
};

/*
 * @start_ticks: field 22 of stat that the process must have before and after, so that all facts are of one
 * process and not of one that took its pid. Return: 0, -ESRCH (gone, or another process), -errno.
 */
int sonde_identity_read(int proc_fd, uint32_t pid, uint64_t start_ticks,
			struct sonde_identity *ret) _must_check_;

/*
 * Does @pid live as the process of @start_ticks? A zombie does not; what hidepid hides is seen.
 * Return: 0, -ESRCH (gone, or another process), -errno.
 */
int sonde_identity_check(int proc_fd, uint32_t pid, uint64_t start_ticks) _must_check_;

/* Paths of a cgroup file's text ("7:memory:/a"), one a line, into @buf. Return: 0, -EBADMSG, -EMSGSIZE. */
int sonde_identity_parse_cgroup(const char *text, char *buf, size_t size) _must_check_;
