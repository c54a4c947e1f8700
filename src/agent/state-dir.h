/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * State folder: the ids that the probe notes and the spool belong to one agent at a time. Before any outside input is
 * read, and before the probe: two agents would prove each other's ids gone and send each other's reports.
 */

#include <stdint.h>

#include "base/cleanup.h"

/* Of a restart: the one before may still be draining. */
#define SONDE_STATE_DIR_WAIT_NS 4000000000ULL

/*
 * Makes the folder (mode 0700, its last part only) and holds it until *@ret_fd is closed; another agent's end is waited
 * for, @wait_ns at most. @named: of the command line; NULL = the default one, without which the agent runs
 * too: *@ret_fd is -1 where it cannot be made. What is wrong is logged. Return: 0, -EBUSY
 * (another agent has it), -errno.
 */
int sonde_state_dir_hold(const char *named, uint64_t wait_ns, int *ret_fd) _must_check_;
