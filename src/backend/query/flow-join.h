/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Flow join: the other end of a connection where that end was profiled too, in
 * this task or another, on whatever host. Address translation changes the
 * server's address between the ends but hardly ever the client's, so the two are
 * found by (client's address, client's port, time). Loop thread only.
 */

#include "backend/backend.h"
#include "backend/services/flows.h"

struct sonde_flow_join {
	bool found;
	bool translated; /* the ends do not name the same server address and port */
	char process[SONDE_SPEC_TEXT_MAX], name[SONDE_SPEC_TEXT_MAX];
	/* where translated: the server's own address, and the Service's that the client sees */
	char address[SONDE_FLOW_ADDRESS_MAX], service[SONDE_FLOW_ADDRESS_MAX];
	uint32_t port, service_port;
};

/* Return: 0 (found or not), -ENOMEM, -errno of the store. */
int sonde_flow_join(struct sonde_backend *b, const Sonde__V1__Flow *f,
		    struct sonde_flow_join *ret) _must_check_;
