/* SPDX-License-Identifier: Apache-2.0 */
#include "collect/calibrate.h"

#include <errno.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"

#define ROUNDS 8
#define CALLS 500
/* Short rounds: what else runs on this CPU falls into some of them only. */
#define SYSCALL_ROUNDS 64
#define SYSCALL_CALLS 50

/* prctl(PR_SET_NAME) passes the tracepoint task_rename and does next to nothing else. */
static int time_renames(const char *name, uint64_t *best_ns)
{
	uint64_t start = sonde_mono_ns();
	uint64_t took;

	for (unsigned int i = 0; i < CALLS; i++) {
		if (prctl(PR_SET_NAME, name, 0, 0, 0) < 0)
			return -errno;
	}
	took = sonde_mono_ns() - start;
	if (took < *best_ns)
		*best_ns = took;
	return 0;
}

/* The best of some rounds: what disturbs a round only makes it longer. */
static int best_of_rounds(const char *name, uint64_t *best_ns)
{
	int r = 0;

	for (unsigned int i = 0; i < ROUNDS && r == 0; i++)
		r = time_renames(name, best_ns);
	return r;
}

uint64_t sonde_calibrate_hook(int (*attach)(void *ctx), void (*detach)(void *ctx), void *ctx)
{
	uint64_t bare_ns = UINT64_MAX, hooked_ns = UINT64_MAX;
	char name[16];
	int r;

	if (prctl(PR_GET_NAME, name, 0, 0, 0) < 0 || best_of_rounds(name, &bare_ns) < 0 ||
	    attach(ctx) < 0)
		return SONDE_HOOK_DEFAULT_NS_X1000;
	r = best_of_rounds(name, &hooked_ns);
	detach(ctx);
	if (r == 0)
		r = best_of_rounds(name, &bare_ns);
	if (r < 0 || hooked_ns <= bare_ns)
		return SONDE_HOOK_DEFAULT_NS_X1000;
	return (hooked_ns - bare_ns) * 1000 / CALLS;
}

int sonde_calibrate_pass(int (*attach)(void *ctx), void (*detach)(void *ctx), void *ctx)
{
	uint64_t best_ns = UINT64_MAX;
	char name[16];
	int r;

	if (prctl(PR_GET_NAME, name, 0, 0, 0) < 0)
		return -errno;
	r = attach(ctx);
	if (r < 0)
		return r;
	r = time_renames(name, &best_ns);
	detach(ctx);
	return r;
}

uint64_t sonde_calibrate_syscall(void)
{
	uint64_t best_ns = UINT64_MAX;

	for (unsigned int round = 0; round < SYSCALL_ROUNDS; round++) {
		uint64_t start = sonde_mono_ns(), took;

		for (unsigned int i = 0; i < SYSCALL_CALLS; i++)
			(void)!syscall(SYS_read, -1, NULL, 0);
		took = sonde_mono_ns() - start;
		if (took < best_ns)
			best_ns = took;
	}
	return best_ns * 1000 / SYSCALL_CALLS;
}
