/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Agent: wires everything to one loop and runs until SIGTERM or SIGINT has drained it. */

#include "agent/options.h"
#include "agent/probe-client.h"

/* @probe: taken, freed at the end. Return: 0, -errno (logged). */
int sonde_agent_run(const struct sonde_agent_config *config, struct sonde_probe_client *probe);
