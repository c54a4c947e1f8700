/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Waiting: what a request that is answered later hangs on its ctx. Survives the request. Loop thread only. */

#include "backend/backend.h"
#include "backend/http/httpd.h"

struct sonde_waiting {
	struct sonde_backend *backend;
	struct sonde_http_request *request; /* NULL: the client is gone */
	char task[SONDE_TASK_ID_MAX];	    /* the one that it is about; "" = none */
	int status;
	json_t *spec; /* owned; of a plan */
};

/* Makes @req wait. NULL when memory ran out. */
struct sonde_waiting *sonde_waiting_new(struct sonde_backend *b, struct sonde_http_request *req,
					int status);
struct sonde_waiting *sonde_waiting_free(struct sonde_waiting *w);
SONDE_DEFINE_CLEANUP(struct sonde_waiting *, sonde_waiting_free)
