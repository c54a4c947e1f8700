/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The option table of `sonde` itself. */

#include "config/config.h"

extern const struct sonde_config_spec sonde_cli_spec;
