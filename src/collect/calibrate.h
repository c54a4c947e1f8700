/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Calibrate: what a hook costs when its program does nothing. Own cost is
 * estimated as runs x (timed program + this), because the way into a program
 * costs about as much as ours do.
 */

#include <stdint.h>

/* Said of a hook that could not be calibrated here: tp_btf over its bare tracepoint, measured on 6.18. */
#define SONDE_HOOK_DEFAULT_NS_X1000 28000

/*
 * Runs a cheap call that passes a hook, without and with an empty program on it, a few
 * milliseconds in all. @attach puts the program on, @detach takes it off.
 * Return: ns x 1,000 a run of the empty program; SONDE_HOOK_DEFAULT_NS_X1000 where that fails.
 */
uint64_t sonde_calibrate_hook(int (*attach)(void *ctx), void (*detach)(void *ctx), void *ctx);

/* Passes the hook some hundred times with whatever program @attach puts on. Return: 0, -errno. */
int sonde_calibrate_pass(int (*attach)(void *ctx), void (*detach)(void *ctx), void *ctx);

/*
 * What a read(2) of no descriptor takes, in ns x 1,000, the best of some rounds: before and after something is attached
 * to every system call, and the difference is what that costs one of I/O, the dearest. Within 10 ns under a seccomp filter.
 */
uint64_t sonde_calibrate_syscall(void);
