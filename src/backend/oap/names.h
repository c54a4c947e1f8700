/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Names: SkyWalking's ids and windows taken apart, since its clients compute the one and write the other. Pure. */

#include <jansson.h>
#include <stdint.h>

#include "backend/tasks/registry.h"

struct graphql_names {
	char service[SONDE_REGISTRY_NAME_MAX];
	char instance[SONDE_REGISTRY_NAME_MAX]; /* "" of a service's id */
};

/* base64(service) ".1" ["_" base64(instance)]. Return: 0, -EINVAL (no such id, or a service that is not a normal one). */
int graphql_names_from_id(const char *id, struct graphql_names *ret) _must_check_;

/* An input of the type Duration. Both ends of the window are included in it. */
struct graphql_window {
	int64_t start_ms, end_ms; /* UTC; end_ms is the first that is not in it */
	int64_t step_ms;	  /* minutes, hours or days; what is finer is a minute */
};
/* Return: 0, -EINVAL. */
int graphql_window_parse(const json_t *duration, struct graphql_window *ret) _must_check_;
