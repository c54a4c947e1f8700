/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Filter: the seccomp allow-lists of sonde-probe. A filter is inherited by
 * fork and later ones can only narrow it, so the keeper's is the worker's plus
 * what forks and reaps a child; the worker then loses those.
 *
 * What is not listed gets EPERM: libc and libbpf try newer calls first and fall
 * back, and a probe that can't be had costs its metrics, never the task. What
 * only an intruder would want (execve, fork, socket, ptrace, mount, setns, …)
 * kills the process instead: nothing of ours ever asks for it, so there is
 * nothing to degrade, and the kernel then detaches everything.
 */

#include "base/cleanup.h"

enum sonde_filter {
	SONDE_FILTER_KEEPER = 0,
	SONDE_FILTER_WORKER = 1,
};

/* Needs NoNewPrivs. Return: 0, -errno. */
int sonde_filter_load(enum sonde_filter which) _must_check_;
