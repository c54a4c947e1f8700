/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/state-dir.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#include "base/clock.h"
#include "base/lock.h"
#include "base/log.h"
#include "model/probe-msg.h"

#define LOCK_FILE "agent.lock"
#define LOOK_NS (100 * SONDE_NS_PER_MS)

static int make(const char *dir, bool named)
{
	int r = mkdir(dir, 0700) < 0 ? -errno : 0;

	if (r == 0)
		sonde_log_info("made the state folder '%s'", dir);
	if (r == 0 || r == -EEXIST)
		return 0;
	if (!named)
		return sonde_log_warn(r,
				      "cannot make the state folder %s (see --state-dir): ids are "
				      "not noted, so that --idle-proof has nothing to ask for",
				      dir);
	if (r == -ENOENT)
		return sonde_log_err(r,
				     "cannot make the state folder '%s' of --state-dir: the folder "
				     "that it is to be in does not exist",
				     dir);
	return sonde_log_err(r, "cannot make the state folder '%s' of --state-dir", dir);
}

static int refuse(const char *dir, pid_t holder)
{
	char who[32] = "";

	if (holder > 0)
		(void)snprintf(who, sizeof(who), " (pid %d)", (int)holder);
	(void)sonde_log_err(0,
			    "another sonde-agent%s uses the state folder '%s': end it, or name "
			    "another folder with --state-dir",
			    who, dir);
	return -EBUSY;
}

static int hold(const char *dir, uint64_t wait_ns, int *ret_fd)
{
	const uint64_t until_ns = sonde_mono_ns() + wait_ns;
	bool told = false;
	pid_t holder = 0;
	int r;

	for (;;) {
		r = sonde_lock_dir(dir, LOCK_FILE, ret_fd, &holder);
		if (r != -EBUSY)
			break;
		if (sonde_mono_ns() >= until_ns)
			return refuse(dir, holder);
		if (!told)
			sonde_log_info("the state folder '%s' is held by pid %d: waiting for its "
				       "end, %llu s at most",
				       dir, (int)holder,
				       (unsigned long long)(wait_ns / SONDE_NS_PER_S));
		told = true;
		(void)nanosleep(&(struct timespec){.tv_nsec = LOOK_NS}, NULL);
	}
	return r < 0 ? sonde_log_err(r, "cannot lock the state folder '%s', see --state-dir", dir)
		     : 0;
}

int sonde_state_dir_hold(const char *named, uint64_t wait_ns, int *ret_fd)
{
	const char *dir = named ? named : SONDE_PROBE_STATE_DIR;
	int r;

	assert(ret_fd);

	r = make(dir, named);
	if (r == 0)
		return hold(dir, wait_ns, ret_fd);
	if (named)
		return r;
	*ret_fd = -1;
	return 0;
}
