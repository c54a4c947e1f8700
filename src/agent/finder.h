/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Finder: the processes of this machine that the rules name. It looks through
 * /proc at each scan (a process is its pid and its start time; an exec is seen
 * by the command line), asks the probe for what only the probe may read (the
 * executable's path; who listens where; all pids where hidepid hides them) and
 * tells what changed when a scan is over. Bounded by the config's
 * processes.max. Where pods are known, whoever knows them names a process
 * before the rules do: that is the seam `name`. Loop thread only.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/probe-client.h"
#include "agent/rules.h"
#include "base/cleanup.h"
#include "model/probe-msg.h"
#include "model/process.h"

#define SONDE_FINDER_LISTENERS_MAX 16384

struct sonde_finder;

struct sonde_finder_config {
	int proc_fd;			  /* borrowed */
	struct sonde_probe_client *probe; /* borrowed; NULL: neither paths nor ports are known */
	struct sonde_rules *rules;	  /* borrowed */
	size_t max_processes;
	/* Fills in the names of a process before the rules are asked; true if it did. May be NULL. */
	bool (*name)(void *ctx, uint32_t pid, struct sonde_process *process);
	/* A scan is over; @changed: processes came, went or were named anew. */
	void (*on_scan)(void *ctx, bool changed);
	void *ctx;
};

int sonde_finder_new(const struct sonde_finder_config *config,
		     struct sonde_finder **ret) _must_check_;
/* The probe client must be freed first (its calls end with -ECANCELED). NULL is fine. Returns NULL. */
struct sonde_finder *sonde_finder_free(struct sonde_finder *f);
SONDE_DEFINE_CLEANUP(struct sonde_finder *, sonde_finder_free)

/* Begins a scan, unless one is under way. Return: 0, -errno of /proc. */
int sonde_finder_scan(struct sonde_finder *f);

/* Ask for the listeners now and at each scan, also when no rule does (while tasks run). */
void sonde_finder_want_listeners(struct sonde_finder *f, bool want);

/*
 * The named processes that live, ascending by pid: NULL behind the last. @cursor begins as 0. Each is
 * borrowed until the next scan ends.
 */
struct sonde_process *sonde_finder_next(const struct sonde_finder *f, size_t *cursor);
/* NULL: no such process, or no names. */
struct sonde_process *sonde_finder_by_pid(const struct sonde_finder *f, uint32_t pid);

/* /proc shows the agent nobody else's processes (hidepid): what the last scan found is all there is to ask. */
bool sonde_finder_hidden(const struct sonde_finder *f);

/*
 * Names a process that a task names by pid and no rule knows; it stays until it ends.
 * Return: 0 (*@ret borrowed), -ESRCH, -ENOSPC, -errno.
 */
int sonde_finder_adopt(struct sonde_finder *f, uint32_t pid,
		       struct sonde_process **ret) _must_check_;

/* As of the last scan that asked for them. Borrowed until the next. */
const struct sonde_probe_listener *sonde_finder_listeners(const struct sonde_finder *f,
							  size_t *ret_n);
