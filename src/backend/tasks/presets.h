/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Presets: the answer of GET /presets (contract: http/README.md). Any thread. */

#include <jansson.h>

/* {presets: [{name, title, question, signals, spec}]}, spec being a request but for its targets. NULL when memory ran out. */
json_t *sonde_presets_json(void);
