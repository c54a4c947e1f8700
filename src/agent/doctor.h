/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Doctor: what this kernel and this node's policy allow, as a table or JSON on stdout. */

#include <stdbool.h>

#include "agent/probe-client.h"

#define SONDE_DOCTOR_EXIT_REFUSED 8 /* a core metric has no probe, or BPF is refused */

/*
 * Each waits for the probe on a loop of its own, prints, and returns the exit status: 0, 1 (no answer),
 * SONDE_DOCTOR_EXIT_REFUSED.
 */
int sonde_doctor_run(struct sonde_probe_client *probe, bool json);
int sonde_doctor_check_bpf(struct sonde_probe_client *probe, bool json);
