/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Settings: the option table of `sonde` itself. ~/.config/sonde/config.yaml < the context that is used < SONDE_* < flags.
 * A context is a server and its credentials together: --context NAME, SONDE_CONTEXT or the file's `context` names it,
 * and --server, or SONDE_SERVER without --context, means none.
 */

#include "config/config.h"
#include "ctl/cli.h"

#define SONDE_CONTEXT_NAME_MAX 64

extern const struct sonde_config_spec sonde_cli_spec;

bool sonde_context_is_name(const char *name);

/* NULL: there is none of that name. */
const struct sonde_cli_context *sonde_settings_context(const struct sonde_cli_settings *settings,
						       const char *name);

/* The file that --config names, else the person's own; "" without a home. To be freed. Return: 0, -ENOMEM. */
int sonde_settings_path(struct sonde_cli *cli, char **ret) _must_check_;

/* Fills cli->settings from file, environment and flags, without a context. Return: 0 or an exit status (told). */
int sonde_settings_load(struct sonde_cli *cli) _must_check_;

/* Takes the context in; settings.context is then the one that is used, "" = none. Return: 0 or an exit status (told). */
int sonde_settings_use_context(struct sonde_cli *cli) _must_check_;

/* Takes the context and the token's file in, and makes cli->rest. Return: 0 or an exit status (told). */
int sonde_settings_open_server(struct sonde_cli *cli) _must_check_;
