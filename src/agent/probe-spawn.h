/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Probe spawn: makes sonde-probe's process and waits for its end. Of probe-client.c's. */

#include <sys/types.h>

#include "base/cleanup.h"

struct sonde_probe_client_config;

struct sonde_probe_child {
	pid_t pid; /* 0 = none */
	int pidfd; /* owned; -1 = none */
};

/*
 * Forks and executes; @ret_socket is our end, non-blocking, CLOEXEC. The child gets descriptor 3, stderr, an
 * environment of JOURNAL_STREAM alone and no signal blocked. Return: 0, -errno (of the exec too).
 */
int sonde_probe_spawn(const struct sonde_probe_client_config *config, int *ret_socket,
		      struct sonde_probe_child *ret) _must_check_;

/*
 * Waits @timeout_ms for its end, then kills it and waits. @words: how it ended, as a sentence's end. The
 * child is forgotten.
 */
void sonde_probe_reap(struct sonde_probe_child *child, int timeout_ms, char *words, size_t size);
