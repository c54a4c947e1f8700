/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The command line of a program, taken apart by its tables. For this folder only. */

#include "config/load.h"

struct sonde_config_flag {
	const struct sonde_option *option; /* or: */
	const struct sonde_config_action *action;
	char *value; /* owned */
};

enum sonde_config_request {
	SONDE_CONFIG_RUN = 0,
	SONDE_CONFIG_HELP,
	SONDE_CONFIG_VERSION,
	SONDE_CONFIG_CHECK,
	SONDE_CONFIG_DUMP,
	SONDE_CONFIG_REFERENCE,
};

struct sonde_config_args {
	const struct sonde_config_spec *spec;
	enum sonde_config_request request;
	char *file; /* of --config, NULL = not given */
	struct sonde_config_flag *flags;
	size_t n_flags;
};

/* Return: 0, -EINVAL with *@ret_error ("--x: …"), -ENOMEM. */
int sonde_config_args_parse(const struct sonde_config_spec *spec, int argc, char *const *argv,
			    struct sonde_config_args **ret, char **ret_error) _must_check_;
