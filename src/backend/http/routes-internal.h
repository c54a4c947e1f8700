/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the files of the routes share. For this folder only. */

#include "backend/http/routes.h"

/* @body: taken; NULL becomes 500. */
void routes_answer(struct sonde_http_request *req, int status, json_t *body);
/* Unless the problem is told already. */
void routes_refuse(struct sonde_http_request *req, int error);

/* *@ret is left as it is where the request has no @name. Return: 0, -EINVAL with the request's problem filled. */
int routes_read_time(struct sonde_http_request *req, const char *name, int64_t *ret) _must_check_;
/* `side`: NULL where it is not given. Return: as above. */
int routes_read_side(struct sonde_http_request *req, const char **ret) _must_check_;
/* `step`. Return: as above. */
int routes_read_step(struct sonde_http_request *req, enum sonde_series_step fallback,
		     enum sonde_series_step *ret) _must_check_;
/* `since` and `until`: 0 where they are not given. Return: 0, -EINVAL with the request's problem filled. */
int routes_read_span(struct sonde_http_request *req, int64_t *since_ms,
		     int64_t *until_ms) _must_check_;

/* routes-plan.c */
void routes_doctor(struct sonde_backend *b, struct sonde_http_request *req, const char *agent_id);
void routes_plan(struct sonde_backend *b, struct sonde_http_request *req);
/* routes-policies.c */
void routes_policies(struct sonde_backend *b, struct sonde_http_request *req);
/* Return: true if the path is that of one policy; then it is answered, or waits. */
bool routes_try_policy(struct sonde_backend *b, struct sonde_http_request *req);
/* routes-openapi.c */
void routes_openapi(struct sonde_backend *b, struct sonde_http_request *req);
/* routes-audit.c */
void routes_audit(struct sonde_backend *b, struct sonde_http_request *req);
/* May who sent it do this? If not, the problem is set. */
bool routes_is_allowed(struct sonde_http_request *req);
/* routes-events.c */
void routes_task_events(struct sonde_backend *b, struct sonde_http_request *req,
			struct sonde_task *t);
/* routes-lists.c */
void routes_tasks(struct sonde_backend *b, struct sonde_http_request *req);
void routes_series(struct sonde_backend *b, struct sonde_http_request *req, struct sonde_task *t);
void routes_heatmap(struct sonde_backend *b, struct sonde_http_request *req, struct sonde_task *t);
/* A request that waits for its task to be stored gets it; @ctx: struct sonde_waiting. */
void routes_task_stored(void *ctx, int error);

/* routes-bundle.c */
void routes_task_bundle(struct sonde_backend *b, struct sonde_http_request *req,
			struct sonde_task *t);
void routes_import(struct sonde_backend *b, struct sonde_http_request *req);
/* routes-compare.c */
void routes_compare(struct sonde_backend *b, struct sonde_http_request *req);
/* routes-views.c */
/* 200 with the page of @body's list @name that is asked for, and `next`. @body: taken; NULL becomes 500. */
void routes_answer_page(struct sonde_http_request *req, json_t *body, const char *name,
			const char *const *keys);
void routes_task_metrics(struct sonde_backend *b, struct sonde_http_request *req,
			 struct sonde_task *t);
void routes_topology(struct sonde_backend *b, struct sonde_http_request *req, struct sonde_task *t);
void routes_drops(struct sonde_backend *b, struct sonde_http_request *req, struct sonde_task *t);
void routes_rtt(struct sonde_backend *b, struct sonde_http_request *req, struct sonde_task *t);
/* routes-metrics.c */
void routes_metrics(struct sonde_backend *b, struct sonde_http_request *req);
void routes_openmetrics(struct sonde_backend *b, struct sonde_http_request *req);
void routes_task_openmetrics(struct sonde_backend *b, struct sonde_http_request *req,
			     struct sonde_task *t);
