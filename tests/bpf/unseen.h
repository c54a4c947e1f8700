/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What happened here that no program of a collector could see, by the kernel's own counts: a test whose exact number
 * fell short in such a moment has shown nothing about the collector. Two causes are known:
 *
 * - the kernel skips a program that an interrupt finds inside itself on the same CPU (recursion_misses);
 * - the kernel of this project's machine runs no tracing program while its process 1 is current, not even in softirq
 *   (src/collect/tcp/README.md), and counts that nowhere: so what a program sees of that process's switches is held
 *   against what /proc/1 says of them. Where both agree, as on each stock kernel, nothing is unseen.
 */

#include <stdint.h>

#define UNSEEN_RUNS_MAX 3 /* of one test */

/* Attaches the program that watches process 1; nothing is done when it is there. Return: 0, -errno. */
int unseen_open(void);
/* Since unseen_open(); 0 before it. A thread or program that has ended takes its count with it. */
uint64_t unseen_turns_of_process_1(void);
uint64_t unseen_skipped_runs(void);
/*
 * For main(): @run is the whole test program (it returns what main() would). When it fails, and something was unseen
 * meanwhile, the program is executed anew, UNSEEN_RUNS_MAX times in all, and says so on stderr.
 */
int unseen_main(char **argv, int (*run)(void));
