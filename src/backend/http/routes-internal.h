/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the files of the routes share. For this folder only. */

#include "backend/http/routes.h"

/* @body: taken; NULL becomes 500. */
void routes_answer(struct sonde_http_request *req, int status, json_t *body);
/* Unless the problem is told already. */
void routes_refuse(struct sonde_http_request *req, int error);

/* routes-plan.c */
void routes_doctor(struct sonde_backend *b, struct sonde_http_request *req, const char *agent_id);
void routes_plan(struct sonde_backend *b, struct sonde_http_request *req);
/* routes-openapi.c */
void routes_openapi(struct sonde_backend *b, struct sonde_http_request *req);
/* routes-events.c */
void routes_task_events(struct sonde_backend *b, struct sonde_http_request *req,
			struct sonde_task *t);
/* routes-lists.c */
void routes_tasks(struct sonde_backend *b, struct sonde_http_request *req);
void routes_topology(struct sonde_backend *b, struct sonde_http_request *req, struct sonde_task *t);
void routes_series(struct sonde_backend *b, struct sonde_http_request *req, struct sonde_task *t);
void routes_heatmap(struct sonde_backend *b, struct sonde_http_request *req, struct sonde_task *t);
/* routes-metrics.c */
void routes_metrics(struct sonde_backend *b, struct sonde_http_request *req);
void routes_openmetrics(struct sonde_backend *b, struct sonde_http_request *req);
void routes_task_openmetrics(struct sonde_backend *b, struct sonde_http_request *req,
			     struct sonde_task *t);
