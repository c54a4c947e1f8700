/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Flow rest: the sums that stand for flows that are not told one by one. */

#include "bpf/lib/flow_types.h"

struct sonde_flow_rest sonde_flow_rest_of(const struct sonde_flow *flow);

void sonde_flow_rest_add(struct sonde_flow_rest *to, const struct sonde_flow_rest *from);

/* What @now has over @then. A number that fell has grown by nothing. */
struct sonde_flow_rest sonde_flow_rest_growth(const struct sonde_flow_rest *now,
					      const struct sonde_flow_rest *then);
