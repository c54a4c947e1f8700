/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Config-edit: one key set in the text of a config file, whose comments and order stay: "server", or
 * "contexts.NAME.server", which makes the context if there is none. The text stays block YAML; what is not is refused.
 */

#include "base/cleanup.h"

/*
 * @ret: the new text, to be freed. @ret_error: words, to be freed, on -EINVAL only. That the result is a config is for
 * the caller to check. Return: 0, -EINVAL (no YAML, or of a form that is for a hand to edit), -ENOMEM.
 */
int sonde_config_edit(const char *text, const char *key, const char *value, char **ret,
		      char **ret_error) _must_check_;
