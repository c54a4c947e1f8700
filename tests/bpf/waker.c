/* SPDX-License-Identifier: Apache-2.0 */
#include "waker.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sonde-test.h"

#include "base/clock.h"
#include "base/num.h"
#include "fixture.h"

#define ASLEEP_MS 50
#define GIVE_UP_NS (60 * 1000000000ULL)

/*
 * The kernel tells a thread's system call only once the thread is off the run queue, and "running" otherwise: "S" in
 * stat is no proof, for a thread may be preempted between that mark and its sleep.
 */
static bool sleeps_in(pid_t thread, long call)
{
	char path[64], line[256] = "";
	uint64_t found;
	FILE *f;

	(void)snprintf(path, sizeof(path), "/proc/self/task/%d/syscall", thread);
	f = fopen(path, "re");
	if (!f)
		return false;
	if (!fgets(line, sizeof(line), f))
		line[0] = '\0';
	(void)fclose(f);
	line[strcspn(line, " \n")] = '\0';
	return sonde_parse_u64(line, 0, LONG_MAX, &found) == 0 && found == (uint64_t)call;
}

/* How often it has gone to sleep: one that is asleep twice with the same number between has not run since. */
static uint64_t sleeps_of(pid_t thread)
{
	static const char name[] = "voluntary_ctxt_switches:\t";
	char path[64], line[256];
	uint64_t n = 0;
	FILE *f;

	(void)snprintf(path, sizeof(path), "/proc/self/task/%d/status", thread);
	f = fopen(path, "re");
	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f)) {
		if (strncmp(line, name, strlen(name)) != 0)
			continue;
		line[strcspn(line, "\n")] = '\0';
		if (sonde_parse_u64(line + strlen(name), 0, UINT64_MAX, &n) < 0)
			n = 0;
	}
	(void)fclose(f);
	return n;
}

static bool slept_for_a_while(struct waker *w)
{
	uint64_t n;

	if (!sleeps_in(w->caller, w->call)) {
		fixture_wait_ms(1);
		return false;
	}
	n = sleeps_of(w->caller);
	w->asleep_ns = sonde_mono_ns();
	fixture_wait_ms(ASLEEP_MS);
	w->wakes_ns = sonde_mono_ns();
	return n > 0 && sleeps_of(w->caller) == n && sleeps_in(w->caller, w->call);
}

static void *wake_after_a_while(void *arg)
{
	const uint64_t began_ns = sonde_mono_ns();
	struct waker *w = arg;
	bool slept;

	/* What it waits for may come in parts, as room does by an acknowledgement: then again. */
	do
		slept = slept_for_a_while(w);
	while (!slept && sonde_mono_ns() - began_ns < GIVE_UP_NS);
	w->wake(w->fd);
	w->woke_ns = sonde_mono_ns();
	return slept ? arg : NULL;
}

void waker_start(struct waker *w)
{
	w->caller = (pid_t)syscall(SYS_gettid);
	assert_ok(pthread_create(&w->thread, NULL, wake_after_a_while, w));
}

void waker_join(struct waker *w)
{
	void *slept;

	assert_ok(pthread_join(w->thread, &slept));
	if (!slept)
		fail_msg("not asleep in system call %ld within a minute", w->call);
}
