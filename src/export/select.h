/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Select: what a task asked for of edges whose cells it shares with others. One thread. */

#include "export/edge.h"
#include "model/signal.h"

/* Takes off what @signals (0 = all) do not have: a counter that is 0 and a histogram without a value are not sent. */
void sonde_edges_select(struct sonde_edges *e, uint32_t signals);
