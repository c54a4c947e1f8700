/* SPDX-License-Identifier: Apache-2.0 */
/* Policies: the whole of a service's is written and read, and what came of it is told. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backend/http/routes-internal.h"
#include "backend/http/waiting.h"
#include "backend/json.h"
#include "backend/policies/fire.h"
#include "backend/policies/view.h"
#include "base/clock.h"
#include "base/utf8.h"

#define API "/api/v1"

void routes_policies(struct sonde_backend *b, struct sonde_http_request *req)
{
	static const char *const keys[] = {"service", NULL};

	routes_answer_page(req, sonde_view_policies(b, sonde_wall_ms()), "policies", keys);
}

struct writing {
	struct sonde_waiting waiting; /* the request's ctx, so the first */
	char service[SONDE_SPEC_TEXT_MAX];
	json_t *gone; /* owned; the answer to a DELETE: what it was */
};

static void on_written(void *ctx, int error)
{
	struct writing *w = ctx;
	struct sonde_backend *b = w->waiting.backend;
	struct sonde_http_request *req = w->waiting.request;
	struct sonde_policy *p = sonde_policies_find(b->policies, w->service);

	if (error == 0)
		sonde_policies_tell(b, w->service);
	if (req) {
		req->ctx = NULL;
		if (error < 0)
			(void)sonde_problem_set(&req->problem, 503, NULL,
						"the policy could not be stored");
		else if (w->gone)
			routes_answer(req, 200, json_incref(w->gone));
		else /* another request may have deleted it meanwhile */
			routes_answer(req, w->waiting.status,
				      p ? sonde_view_policy(b, p, sonde_wall_ms()) : NULL);
		sonde_http_resume(req);
	}
	json_decref(w->gone);
	free(w);
}

static struct writing *writing_new(struct sonde_backend *b, struct sonde_http_request *req,
				   const char *service)
{
	struct writing *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->waiting = (struct sonde_waiting){.backend = b, .request = req};
	(void)snprintf(w->service, sizeof(w->service), "%s", service);
	return w;
}

/* @r: of the call that was given @w. */
static void begin(struct sonde_http_request *req, struct writing *w, int r)
{
	if (r == 0) {
		req->ctx = &w->waiting;
		req->waits = true;
		return;
	}
	if (w)
		json_decref(w->gone);
	free(w);
	routes_refuse(req, r);
}

static void put(struct sonde_backend *b, struct sonde_http_request *req, const char *service)
{
	struct writing *w = writing_new(b, req, service);
	const int64_t now_ms = sonde_wall_ms();
	json_t *document = NULL;
	int r = w ? 0 : -ENOMEM;

	if (r == 0)
		r = sonde_policy_check(req->body, service, now_ms,
				       (int64_t)b->config.max_task_duration_ms, &document,
				       &req->problem);
	if (r == 0) {
		w->waiting.status = sonde_policies_find(b->policies, service) ? 200 : 201;
		r = sonde_policies_put(b->policies, service, document, now_ms, on_written, w,
				       &req->problem);
	}
	begin(req, w, r);
}

static void put_policy(struct sonde_backend *b, struct sonde_http_request *req, const char *service)
{
	if (sonde_is_utf8(service, strlen(service)))
		put(b, req, service);
	else
		(void)sonde_problem_set(&req->problem, 400, "service", "service: must be UTF-8");
}

/* Return: NULL with the problem set. */
static const struct sonde_policy *find(struct sonde_backend *b, struct sonde_http_request *req,
				       const char *service)
{
	const struct sonde_policy *p = sonde_policies_find(b->policies, service);

	if (!p)
		(void)sonde_problem_set(&req->problem, 404, NULL, "service '%.200s' has no policy",
					sonde_is_utf8(service, strlen(service)) ? service : "?");
	return p;
}

static void get_policy(struct sonde_backend *b, struct sonde_http_request *req, const char *service)
{
	const struct sonde_policy *p = find(b, req, service);

	if (p)
		routes_answer(req, 200, sonde_view_policy(b, p, sonde_wall_ms()));
}

static void delete_policy(struct sonde_backend *b, struct sonde_http_request *req,
			  const char *service)
{
	const struct sonde_policy *p = find(b, req, service);
	struct writing *w;
	int r = -ENOMEM;

	if (!p)
		return;
	w = writing_new(b, req, service);
	if (w)
		w->gone = sonde_view_policy(b, p, sonde_wall_ms());
	if (w && w->gone)
		r = sonde_policies_delete(b->policies, service, on_written, w, &req->problem);
	begin(req, w, r);
}

static const struct {
	const char *method, *path;
	void (*fn)(struct sonde_backend *b, struct sonde_http_request *req, const char *service);
} of_policy[] = {
	{"GET", API "/policies/{id}", get_policy},
	{"PUT", API "/policies/{id}", put_policy},
	{"DELETE", API "/policies/{id}", delete_policy},
};

/* The rest of the path is the service, whatever is in it. */
bool routes_try_policy(struct sonde_backend *b, struct sonde_http_request *req)
{
	static const char prefix[] = API "/policies/";
	const char *service = req->path + sizeof(prefix) - 1;

	if (strncmp(req->path, prefix, sizeof(prefix) - 1) != 0 || !service[0])
		return false;
	for (size_t i = 0; i < ELEMENTS_OF(of_policy); i++) {
		req->route = of_policy[i].path;
		if (strcmp(req->method, of_policy[i].method) != 0)
			continue;
		of_policy[i].fn(b, req, service);
		return true;
	}
	(void)snprintf(req->allow, sizeof(req->allow), "GET, HEAD, PUT, DELETE");
	(void)sonde_problem_set(&req->problem, 405, NULL, "method %s is not allowed here, %s is",
				req->method, req->allow);
	return true;
}
