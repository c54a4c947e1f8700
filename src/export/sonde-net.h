/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The Sonde set: sonde_net_* as src/model/meters.def says, merged per final peer and service port. One thread. */

#include <stdbool.h>
#include <stddef.h>

#include "export/batch.h"
#include "export/edge.h"

/* Return: 0, -ENOMEM, -ENOSPC, -EINVAL. */
int sonde_net_emit(struct sonde_batch *b, const struct sonde_edges *edges) _must_check_;

/* Meters of the set that only an option measures, as sonde_skywalking_needs(). */
bool sonde_net_needs(size_t i, const char **ret_meter, const char **ret_metrics);
