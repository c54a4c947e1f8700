/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The truth suite's table: each row holds one number of the collector against an
 * independent truth of the same run. A scene (one cmocka test) makes known traffic
 * and adds rows; it fails when one of its rows does. A number that this kernel
 * cannot give is a row too: "absent" with the words of the PROBE record, and right only
 * if the kernel itself, asked for the feature, has not got it.
 *
 * Values are whole numbers of the metric's unit. One thread.
 */

#include "bpf/fixture.h"

enum truth_verdict {
	TRUTH_OK = 0,
	TRUTH_VIOLATED = 1,
	TRUTH_ABSENT = 2,  /* and rightly so */
	TRUTH_MISSING = 3, /* absent although the kernel has what it takes: a violation */
	TRUTH_NOT_RUN = 4, /* the means of the test is not here; another row has the number */
	_TRUTH_VERDICT_MAX,
};

#define TRUTH_TEXT_MAX 160

/* What the next rows are of; part of their names. @fmt: "reset by the client, server". */
void truth_case(const char *fmt, ...) __attribute__((__format__(__printf__, 1, 2)));

/* Nothing may differ. */
void truth_exact(const char *metric, uint64_t truth, const char *source, uint64_t ours);
/*
 * Ours may be @below less and @above more, for the reason @why. Both sides come from the run: clocks that lie
 * within or without ours, or what the ledger says is missing.
 */
void truth_within(const char *metric, uint64_t truth, const char *source, uint64_t ours,
		  uint64_t below, uint64_t above, const char *why);
/* Ours lies between two measurements, of which one is certainly not more and one not less. */
void truth_between(const char *metric, uint64_t low, uint64_t high, const char *source,
		   uint64_t ours, const char *why);
/*
 * For events of hooks in softirq: as truth_within(), where ours may lack what @ledger names and, on a kernel that
 * runs no program while its process 1 is current, at most 1 in 100 if that process ran in this scene.
 */
void truth_seen(const char *metric, uint64_t truth, const char *source, uint64_t ours,
		uint64_t ledger);
/* The means to make or to know it is not here. */
void truth_not_run(const char *metric, const char *fmt, ...)
	__attribute__((__format__(__printf__, 2, 3)));

/*
 * Whether the collector measures @metrics (words of its plan) on this kernel. If not, a row says that @metric is
 * absent and why; the caller then has nothing to compare.
 */
bool truth_has(const struct fixture *f, const char *metric, const char *metrics);
/* The same, by the first of the plan's alternatives: nothing of @metrics is missing. */
bool truth_has_best(const struct fixture *f, const char *metric, const char *metrics);

/* The name of the alternative that measures @metrics on this kernel; "" when none does. */
const char *truth_probe(const struct fixture *f, const char *metrics);

/*
 * Whether the collector runs in its first tier, or the scene is of what the second one gives, too. If not, a row
 * says that its numbers are absent and why; right only where the kernel has not got what the first tier wants.
 */
bool truth_is_whole(const struct fixture *f, const char *scene);

/* Around a scene's body; the end fails the test when a row of the scene is not right. */
void truth_begin(const char *scene);
void truth_end(void);
#define TRUTH_SCENE(name)                                                                          \
	static void name##_rows(struct fixture *f);                                                \
	void truth_scene_##name(void **state)                                                      \
	{                                                                                          \
		truth_begin(#name);                                                                \
		if (truth_is_whole(*state, #name))                                                 \
			name##_rows(*state);                                                       \
		truth_end();                                                                       \
	}                                                                                          \
	static void name##_rows(struct fixture *f)

/*
 * Prints all rows; true when each is right. @format: "table", "csv" or "json"; @broken: scenes that did not come to
 * their end or had a row that is not right, and @again: how often one was run anew, for the last line.
 */
bool truth_print(const char *format, int broken, int again);
