/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Services: the addresses that a task's clients ask for and that are translated
 * (DNAT), each with every backend that was seen behind it. Out of flow records
 * whose backend conntrack told. Bounded; loop thread only.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "bpf/lib/flow_types.h"

#define SONDE_SERVICES_MAX 1024 /* (service, backend) */

struct sonde_service {
	uint8_t addr[16], backend[16];
	uint16_t port, backend_port;
	uint8_t protocol;
	uint64_t ended, open; /* connections; open ones are of the last snapshot */
};

struct sonde_services {
	struct sonde_service *list; /* owned */
	size_t n;
	uint64_t version; /* grows with each change */
	uint64_t refused; /* beyond the bound */
};

void sonde_services_done(struct sonde_services *s);
/* A snapshot's flows follow. */
void sonde_services_begin(struct sonde_services *s);
/* Return: 0 (also for a flow that is no translated client's), -ENOSPC (counted), -ENOMEM. */
int sonde_services_take(struct sonde_services *s, const struct sonde_flow *f) _must_check_;
