/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Schema: the part of SkyWalking's query protocol that this server answers, under its names. Constant. */

#include "graphql/schema.h"

extern const struct sonde_graphql_schema sonde_skywalking_schema;
