/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Policies as /api/v1 shows them (contract: http/openapi.yaml). New references, NULL when memory ran out. They only read. */

#include "backend/backend.h"
#include "backend/policies/policies.h"

json_t *sonde_view_policy(struct sonde_backend *b, const struct sonde_policy *p, int64_t now_ms);

/* {"policies"}, by service. */
json_t *sonde_view_policies(struct sonde_backend *b, int64_t now_ms);
