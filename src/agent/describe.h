/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Describe: tells a server with our extension what our meters are, by MeterDescriptorService.describe. Loop thread only. */

#include "io/grpc-client.h"

/* Once; what cannot be sent is told with the next connection. A server that has no such call does without. */
void sonde_describe(struct sonde_grpc_client *client, const char *agent_id);
