/* SPDX-License-Identifier: Apache-2.0 */
/* The description of this interface, as it was built in. */
#include <errno.h>
#include <string.h>

#include "backend/http/routes-internal.h"

static const char description[] = {
#include "backend/openapi.inc"
};

void routes_openapi(struct sonde_backend *b, struct sonde_http_request *req)
{
	req->text = strdup(description);
	if (!req->text) {
		routes_refuse(req, -ENOMEM);
		return;
	}
	req->text_type = "application/json";
	req->status = 200;
}
