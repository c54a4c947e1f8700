/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Agent: wires everything to one loop and runs until SIGTERM or SIGINT has drained it. */

#include "agent/options.h"
#include "agent/probe-client.h"

/*
 * @state_dir: where the spool is unless the config names another place; NULL: there is none. @probe: taken, freed at the
 * end. Return: 0, -errno (logged).
 */
int sonde_agent_run(const struct sonde_agent_config *config, const char *state_dir,
		    struct sonde_probe_client *probe);
