/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Rescue: the flags of sonde-server that do one thing with its database and exit (store/rescue.h). No server runs here. */

#include <stdbool.h>

#include "backend/options.h"

bool sonde_rescue_is_asked(const struct sonde_config_args *args);

/* What was done goes to stdout, what went wrong to the log. Return: 0, -errno (logged). */
int sonde_rescue_run(const struct sonde_server_options *o,
		     const struct sonde_config_args *args) _must_check_;
