/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Privilege: the five capability sets of this thread, by raw capset(2) and
 * prctl(2), without state of a library. Sets are bit masks, bit = CAP_*. The
 * programs that use it have one thread.
 */

#include <stdint.h>

#include "base/cleanup.h"

#define SONDE_CAP(cap) (1ULL << (cap))

/*
 * Nothing is left and nothing can come back: permitted, effective, inheritable,
 * ambient and bounding set are emptied, NoNewPrivs is set. For the agent, once
 * sonde-probe runs. A bounding set that may not be emptied (no CAP_SETPCAP) is
 * no error: without a permitted set and with NoNewPrivs it gives nothing.
 * Return: 0, -errno.
 */
int sonde_privilege_drop_all(void) _must_check_;

/* Keeps @permitted (of what is there) permitted, nothing effective, inheritable, ambient or bounding; NoNewPrivs. */
int sonde_privilege_keep(uint64_t permitted) _must_check_;

/* What is permitted to this thread now. Return: 0, -errno. */
int sonde_privilege_permitted(uint64_t *ret) _must_check_;

/* What is in effect now. Return: 0, -errno. */
int sonde_privilege_effective(uint64_t *ret) _must_check_;

/*
 * Sets the effective set to those of @caps that are permitted; 0 empties it. The permitted set stays.
 * Return: 0, -EPERM when one of @caps is not permitted (the others are raised all the same), -errno.
 */
int sonde_privilege_raise(uint64_t caps);

/* Empties the effective set. Cannot fail but by a kernel that refuses to lower: then aborts. */
void sonde_privilege_lower(void);

/*
 * Makes @caps (of what is permitted) inheritable and ambient, so that an exec of a program without
 * file capabilities keeps them also when this is not root. For the child that becomes sonde-probe.
 */
int sonde_privilege_pass_on(uint64_t caps);
