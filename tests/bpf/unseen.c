/* SPDX-License-Identifier: Apache-2.0 */
#include "unseen.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/num.h"
#include "sonde-test.h"
#include "unseen.skel.h"

#define RUN_VARIABLE "SONDE_TEST_RUN"

static struct unseen_bpf *watcher;
static uint64_t switches_before, skipped_before; /* as unseen_open() found them */

/* A thread's voluntary and involuntary context switches; 0 when it has ended. */
static uint64_t switches_of(const char *tid)
{
	static const char word[] = "voluntary_ctxt_switches:";
	char path[64], line[256];
	uint64_t sum = 0;
	FILE *f;

	(void)snprintf(path, sizeof(path), "/proc/1/task/%s/status", tid);
	f = fopen(path, "re");
	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f)) {
		const char *at = strstr(line, word);
		uint64_t n;

		if (!at)
			continue;
		line[strcspn(line, "\n")] = '\0';
		at += sizeof(word) - 1;
		at += strspn(at, " \t");
		if (sonde_parse_u64(at, 0, UINT64_MAX, &n) == 0)
			sum += n;
	}
	(void)fclose(f);
	return sum;
}

static uint64_t switches_of_process_1(void)
{
	DIR *tasks = opendir("/proc/1/task");
	uint64_t sum = 0;

	if (!tasks)
		return 0;
	for (struct dirent *d = readdir(tasks); d; d = readdir(tasks))
		if (d->d_name[0] != '.')
			sum += switches_of(d->d_name);
	(void)closedir(tasks);
	return sum;
}

static uint64_t switches_seen(void)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < ELEMENTS_OF(watcher->bss->seen); i++)
		sum += watcher->bss->seen[i];
	return sum;
}

/* Of all programs that are loaded now. */
static uint64_t skipped_runs(void)
{
	uint64_t sum = 0;

	for (uint32_t id = 0; bpf_prog_get_next_id(id, &id) == 0;) {
		struct bpf_prog_info info = {0};
		uint32_t size = sizeof(info);
		_cleanup_close_ int fd = bpf_prog_get_fd_by_id(id);

		if (fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &size) == 0)
			sum += info.recursion_misses;
	}
	return sum;
}

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
	/* After the program: what it saw before is too much on its side, so nothing that is seen counts as unseen. */
	switches_before = switches_of_process_1();
	skipped_before = skipped_runs();
	return 0;
}

/* Counts of what ends are gone from a sum: it is then behind, not wrapped. */
static uint64_t difference(uint64_t now, uint64_t before)
{
	return now > before ? now - before : 0;
}

uint64_t unseen_turns_of_process_1(void)
{
	uint64_t turns;

	if (!watcher)
		return 0;
	turns = difference(switches_of_process_1(), switches_before);
	return difference(turns, switches_seen());
}

uint64_t unseen_skipped_runs(void)
{
	return watcher ? difference(skipped_runs(), skipped_before) : 0;
}

int unseen_main(char **argv, int (*run)(void))
{
	const char *variable = getenv(RUN_VARIABLE);
	uint64_t attempt = 1;
	char next[32];
	int r;

	if (variable && sonde_parse_u64(variable, 1, UNSEEN_RUNS_MAX, &attempt) < 0)
		return 2;
	if (geteuid() == 0)
		(void)unseen_open(); /* refused where the tests' own programs are: they say so */
	r = run();
	if (r == 0 || r == SONDE_EXIT_SKIP || attempt >= UNSEEN_RUNS_MAX ||
	    unseen_turns_of_process_1() + unseen_skipped_runs() == 0)
		return r;
	(void)fprintf(stderr,
		      "run %" PRIu64 " of %d failed, but meanwhile %" PRIu64
		      " turns of process 1 were unseen and %" PRIu64
		      " runs of programs skipped: once more\n",
		      attempt, UNSEEN_RUNS_MAX, unseen_turns_of_process_1(), unseen_skipped_runs());
	(void)snprintf(next, sizeof(next), "%" PRIu64, attempt + 1);
	if (setenv(RUN_VARIABLE, next, true) == 0)
		(void)execv("/proc/self/exe", argv);
	return r;
}
