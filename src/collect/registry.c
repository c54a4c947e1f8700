/* SPDX-License-Identifier: Apache-2.0 */
#include "collect/collector.h"

#include <stddef.h>

const struct sonde_collector *const sonde_collectors[] = {
	&sonde_collector_tcp,
	&sonde_collector_udp,
	NULL,
};
