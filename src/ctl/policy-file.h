/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Policy file: what `sonde policy set -f` reads: YAML or JSON, as `swctl profiling continuous set --config` takes it, with
 * keys of ours (src/backend/http/openapi.yaml, PolicyDocument). What it means is checked by the server alone; the
 * place that it blames is found again here. Not shared between threads.
 */

#include <jansson.h>
#include <stddef.h>

#include "config/yaml.h"

#define SONDE_POLICY_FILE_MAX (256UL * 1024)

/* @path "-" is stdin. @ret_error: "FILE:LINE: …" on -EINVAL (to be freed). Return: 0, -EINVAL, -EFBIG, -ENOMEM, -errno. */
int sonde_policy_file_load(const char *path, struct sonde_yaml_node **ret,
			   char **ret_error) _must_check_;

/* Values as they are written: whole numbers, true and false without quotes, else text. NULL when memory ran out. */
json_t *sonde_policy_file_json(const struct sonde_yaml_node *root);

/*
 * The line of "policy[0].checkers[1].threshold"; of what is not there, that of what it should be in. @field is the
 * server's: hostile.
 */
unsigned int sonde_policy_file_line(const struct sonde_yaml_node *root, const char *field);
