/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What no program of a collector could see here and no ledger can tell: the kernel of this project's machine runs no
 * tracing program while its process 1 is current, not even in softirq (src/collect/tcp/README.md). A test whose exact
 * number is made of events in softirq has shown nothing about the collector when it fell short in such a moment.
 * Events that the kernel skips inside another program are not meant: they are in the ledger, and held against it.
 */

#include <stdint.h>

#define UNSEEN_RUNS_MAX 3 /* of one test */

/* Attaches the program that watches for it; nothing is done when it is there. Return: 0, -errno. */
int unseen_open(void);
/* Turns of process 1 on a CPU that began since unseen_open() and ended unseen; 0 on a kernel that runs programs then. */
uint64_t unseen_turns_of_process_1(void);
/*
 * For main(): @run is the whole test program (it returns what main() would). When it fails, and a turn was unseen
 * meanwhile, the program is executed anew, UNSEEN_RUNS_MAX times in all, and says so on stderr; tests/run repeats it.
 */
int unseen_main(char **argv, int (*run)(void));
