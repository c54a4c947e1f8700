/* SPDX-License-Identifier: Apache-2.0 */
/* A whole task out of this server, and into it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backend/bundle/bundle-store.h"
#include "backend/bundle/bundle.h"
#include "backend/http/routes-internal.h"
#include "backend/http/waiting.h"
#include "base/clock.h"

void routes_task_bundle(struct sonde_backend *b, struct sonde_http_request *req,
			struct sonde_task *t)
{
	_cleanup_buf_ struct sonde_buf out = SONDE_BUF_INIT(SONDE_BUNDLE_PACKED_MAX);
	int r = sonde_bundle_export(b, t, &out, &req->problem);

	if (r < 0) {
		routes_refuse(req, r);
		return;
	}
	req->status = 200;
	req->text_type = SONDE_BUNDLE_TYPE;
	req->text_bytes = out.len;
	req->text = (char *)TAKE_PTR(out.data);
}

void routes_import(struct sonde_backend *b, struct sonde_http_request *req)
{
	_cleanup_(sonde_waiting_freep) struct sonde_waiting *w = NULL;
	struct sonde_task *t;
	int r;

	if (!req->raw) {
		(void)sonde_problem_set(&req->problem, req->body ? 415 : 400, NULL,
					"a bundle is needed, as Content-Type: " SONDE_BUNDLE_TYPE);
		return;
	}
	w = sonde_waiting_new(b, req, 201);
	r = w ? sonde_bundle_import(b, req->raw->data, req->raw->len, sonde_http_query(req, "as"),
				    sonde_wall_ms(), routes_task_stored, w, &t, &req->problem)
	      : -ENOMEM;
	if (r < 0) {
		routes_refuse(req, r);
		return;
	}
	memcpy(w->task, t->spec->id, sizeof(w->task));
	(void)snprintf(req->location, sizeof(req->location), "/api/v1/tasks/%s", t->spec->id);
	req->ctx = TAKE_PTR(w);
	req->waits = true;
}
