/* SPDX-License-Identifier: Apache-2.0 */
#include "unseen.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/num.h"
#include "sonde-test.h"
#include "unseen.skel.h"

#define RUN_VARIABLE "SONDE_TEST_RUN"

static struct unseen_bpf *watcher;

int unseen_open(void)
{
	struct unseen_bpf *skel;
	int r;

	if (watcher)
		return 0;
	skel = unseen_bpf__open_and_load();
	if (!skel)
		return -errno;
	r = unseen_bpf__attach(skel);
	if (r < 0) {
		unseen_bpf__destroy(skel);
		return r;
	}
	watcher = skel;
	return 0;
}

uint64_t unseen_turns_of_process_1(void)
{
	uint64_t sum = 0;

	for (size_t i = 0; watcher && i < ELEMENTS_OF(watcher->bss->unseen); i++)
		sum += watcher->bss->unseen[i];
	return sum;
}

int unseen_main(char **argv, int (*run)(void))
{
	const char *variable = getenv(RUN_VARIABLE);
	uint64_t attempt = 1, turns;
	char next[32];
	int r;

	if (variable && sonde_parse_u64(variable, 1, UNSEEN_RUNS_MAX, &attempt) < 0)
		return 2;
	if (geteuid() == 0)
		(void)unseen_open(); /* refused where the tests' own programs are: they say so */
	r = run();
	turns = unseen_turns_of_process_1();
	if (r == 0 || r == SONDE_EXIT_SKIP || attempt >= UNSEEN_RUNS_MAX || turns == 0)
		return r;
	(void)fprintf(stderr,
		      "run %" PRIu64 " of %d failed, and %" PRIu64
		      " turns of process 1 were unseen meanwhile: once more\n",
		      attempt, UNSEEN_RUNS_MAX, turns);
	(void)snprintf(next, sizeof(next), "%" PRIu64, attempt + 1);
	if (setenv(RUN_VARIABLE, next, true) == 0)
		(void)execv("/proc/self/exe", argv);
	return r;
}
