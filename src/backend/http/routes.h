/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Routes: /api/v1 and /healthz over the views and the task table (contract: README.md here). Loop thread only. */

#include "backend/backend.h"
#include "backend/http/httpd.h"

/* ctx of all is the backend. */
void sonde_routes_handle(void *ctx, struct sonde_http_request *req);
void sonde_routes_note(void *ctx, const struct sonde_http_request *req, int status);
void sonde_routes_abandon(void *ctx, struct sonde_http_request *req);
int sonde_routes_events(void *ctx, struct sonde_http_request *req, struct sonde_buf *out);
