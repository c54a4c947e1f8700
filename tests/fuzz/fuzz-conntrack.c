/* SPDX-License-Identifier: Apache-2.0 */
/* Datagrams that are no kernel's, as answers about one connection. */
#include <netinet/in.h>
#include <string.h>

#include "host/conntrack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sonde_conntrack_tuple own = {.from = {[10] = 0xff, [11] = 0xff, 10, 1, 0, 5},
					    .to = {[10] = 0xff, [11] = 0xff, 10, 96, 0, 1},
					    .from_port = 40000,
					    .to_port = 80,
					    .protocol = IPPROTO_TCP};
	uint8_t addr[16];
	uint16_t port;

	(void)!sonde_conntrack_answer(&own, 7, data, size, addr, &port);
	return 0;
}
