/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/http/routes-internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backend/http/waiting.h"
#include "backend/json.h"
#include "backend/oap/graphql.h"
#include "backend/oap/template-store.h"
#include "backend/query/flows.h"
#include "backend/query/views.h"
#include "backend/services/descriptors.h"
#include "backend/store/store.h"
#include "backend/tasks/presets.h"
#include "base/clock.h"

#define API "/api/v1"

void routes_answer(struct sonde_http_request *req, int status, json_t *body)
{
	req->status = status;
	req->answer = body;
}

void routes_refuse(struct sonde_http_request *req, int error)
{
	if (req->problem.status == 0)
		(void)sonde_problem_set(&req->problem, 500, NULL, "%s",
					error == -ENOMEM ? "out of memory" : "internal error");
}

/* --- requests that are answered later --- */

struct sonde_waiting *sonde_waiting_new(struct sonde_backend *b, struct sonde_http_request *req,
					int status)
{
	struct sonde_waiting *w = calloc(1, sizeof(*w));

	if (w)
		*w = (struct sonde_waiting){.backend = b, .request = req, .status = status};
	return w;
}

struct sonde_waiting *sonde_waiting_free(struct sonde_waiting *w)
{
	if (!w)
		return NULL;
	json_decref(w->spec);
	free(w);
	return NULL;
}

void routes_task_stored(void *ctx, int error)
{
	_cleanup_(sonde_waiting_freep) struct sonde_waiting *w = ctx;
	struct sonde_http_request *req = w->request;
	struct sonde_task *t = sonde_task_table_find(w->backend->tasks, w->task);

	if (error == 0 && t)
		sonde_task_table_announce(w->backend->tasks, t);
	if (!req)
		return;
	req->ctx = NULL;
	if (error < 0 || !t)
		(void)sonde_problem_set(&req->problem, 503, NULL, "the task could not be stored");
	else
		routes_answer(req, w->status, sonde_view_task(w->backend, t));
	sonde_http_resume(req);
}

void sonde_routes_abandon(void *ctx, struct sonde_http_request *req)
{
	struct sonde_waiting *w = req->ctx;

	if (w)
		w->request = NULL;
}

static void create_task(struct sonde_backend *b, struct sonde_http_request *req)
{
	_cleanup_(sonde_waiting_freep) struct sonde_waiting *w = sonde_waiting_new(b, req, 201);
	struct sonde_task *t;
	int r;

	if (!w) {
		routes_refuse(req, -ENOMEM);
		return;
	}
	r = sonde_task_table_create(b->tasks, req->body, sonde_wall_ms(), routes_task_stored, w, &t,
				    &req->problem);
	if (r < 0) {
		routes_refuse(req, r);
		return;
	}
	memcpy(w->task, t->spec->id, sizeof(w->task));
	(void)snprintf(req->location, sizeof(req->location), API "/tasks/%s", t->spec->id);
	req->ctx = TAKE_PTR(w);
	req->waits = true;
}

static void on_deleted(void *ctx, int error)
{
	_cleanup_(sonde_waiting_freep) struct sonde_waiting *w = ctx;
	struct sonde_http_request *req = w->request;

	if (!req)
		return;
	req->ctx = NULL;
	req->status = w->status;
	req->text = strdup("");
	if (error < 0 || !req->text)
		(void)sonde_problem_set(&req->problem, 503, NULL,
					"the task could not be deleted from the database: it may "
					"come back when the server starts anew");
	sonde_http_resume(req);
}

/* --- one task --- */

static void delete_task(struct sonde_backend *b, struct sonde_http_request *req,
			struct sonde_task *t)
{
	_cleanup_(sonde_waiting_freep) struct sonde_waiting *w = sonde_waiting_new(b, req, 204);
	int r = w ? sonde_task_table_delete(b->tasks, t, on_deleted, w, &req->problem) : -ENOMEM;

	if (r < 0) {
		routes_refuse(req, r);
		return;
	}
	req->ctx = TAKE_PTR(w);
	req->waits = true;
}

static void stop_task(struct sonde_backend *b, struct sonde_http_request *req, struct sonde_task *t)
{
	const char *reason = "asked for";
	int r;

	if (req->body) {
		const json_t *j = json_object_get(req->body, "reason");

		if (!json_is_object(req->body) || (j && !json_is_string(j))) {
			(void)sonde_problem_set(&req->problem, 400, "reason",
						"reason: must be a string");
			return;
		}
		reason = j ? json_string_value(j) : reason;
	}
	r = sonde_task_table_stop(b->tasks, t, sonde_wall_ms(), reason, &req->problem);
	if (r < 0)
		routes_refuse(req, r);
	else
		routes_answer(req, 202, sonde_view_task(b, t));
}

static void extend_task(struct sonde_backend *b, struct sonde_http_request *req,
			struct sonde_task *t)
{
	const json_t *j = json_object_get(req->body, "duration_ms");
	int r;

	if (!json_is_integer(j)) {
		(void)sonde_problem_set(&req->problem, 400, "duration_ms",
					"duration_ms: a whole number is needed");
		return;
	}
	r = sonde_task_table_extend(b->tasks, t, sonde_wall_ms(), json_integer_value(j),
				    &req->problem);
	if (r < 0)
		routes_refuse(req, r);
	else
		routes_answer(req, 202, sonde_view_task(b, t));
}

static int get_set(struct sonde_backend *b, struct sonde_http_request *req,
		   const struct sonde_task *t, struct sonde_series_set **ret)
{
	int r = sonde_series_table_get_totals(b->series, t->spec->id, sonde_wall_ms(), ret);

	if (r < 0)
		routes_refuse(req, r);
	return r;
}

static void get_host(struct sonde_backend *b, struct sonde_http_request *req, struct sonde_task *t)
{
	struct sonde_series_set *set;

	if (get_set(b, req, t, &set) == 0)
		routes_answer(req, 200, sonde_view_host(b, t, set));
}

static void get_task(struct sonde_backend *b, struct sonde_http_request *req, struct sonde_task *t)
{
	routes_answer(req, 200, sonde_view_task(b, t));
}

static void get_flows(struct sonde_backend *b, struct sonde_http_request *req, struct sonde_task *t)
{
	struct sonde_flows_query query = {
		.process = sonde_http_query(req, "process"),
		.peer = sonde_http_query(req, "peer"),
		.state = sonde_http_query(req, "state"),
		.role = sonde_http_query(req, "role"),
		.sort = sonde_http_query(req, "sort"),
		.limit = sonde_http_query(req, "limit"),
		.cursor = sonde_http_query(req, "cursor"),
	};
	json_t *flows = NULL;
	int r = routes_read_span(req, &query.since_ms, &query.until_ms);

	if (r == 0)
		r = sonde_view_flows(b, t, &query, &flows, &req->problem);
	if (r < 0)
		routes_refuse(req, r);
	else
		routes_answer(req, 200, flows);
}

static void get_ledger(struct sonde_backend *b, struct sonde_http_request *req,
		       struct sonde_task *t)
{
	routes_answer(req, 200, sonde_view_ledger(b, t));
}

/* --- whole server --- */

static void get_health(struct sonde_backend *b, struct sonde_http_request *req)
{
	routes_answer(req, b->draining ? 503 : 200,
		      json_pack("{s:s}", "status", b->draining ? "draining" : "ok"));
}

static void get_targets(struct sonde_backend *b, struct sonde_http_request *req)
{
	static const char *const keys[] = {"agent_id", "pid", NULL};

	routes_answer_page(req, sonde_view_targets(b, sonde_wall_ms()), "targets", keys);
}

static void get_agents(struct sonde_backend *b, struct sonde_http_request *req)
{
	static const char *const keys[] = {"agent_id", NULL};

	routes_answer_page(req, sonde_view_agents(b, sonde_wall_ms()), "agents", keys);
}

static void get_stats(struct sonde_backend *b, struct sonde_http_request *req)
{
	json_t *stats = sonde_view_stats(b);

	if (stats && (sonde_json_set(stats, "version", json_string(SONDE_VERSION)) < 0 ||
		      sonde_json_set(stats, "schema", json_integer(sonde_store_schema())) < 0)) {
		json_decref(stats);
		stats = NULL;
	}
	routes_answer(req, 200, stats);
}

static void get_meters(struct sonde_backend *b, struct sonde_http_request *req)
{
	static const char *const keys[] = {"name", NULL};

	routes_answer_page(req, sonde_descriptors_json(b->descriptors), "meters", keys);
}

static void get_presets(struct sonde_backend *b, struct sonde_http_request *req)
{
	routes_answer(req, 200, sonde_presets_json());
}

static const struct {
	const char *method, *path;
	void (*fn)(struct sonde_backend *b, struct sonde_http_request *req);
} plain[] = {
	{"GET", "/healthz", get_health},
	{"GET", API "/targets", get_targets},
	{"GET", API "/agents", get_agents},
	{"GET", API "/tasks", routes_tasks},
	{"POST", API "/tasks", create_task},
	{"GET", API "/server", get_stats},
	{"POST", API "/plan", routes_plan},
	{"GET", API "/meters", get_meters},
	{"GET", API "/compare", routes_compare},
	{"POST", API "/import", routes_import},
	{"GET", API "/policies", routes_policies},
	{"GET", API "/presets", get_presets},
	{"POST", "/graphql", sonde_graphql_answer},
	{"GET", "/metrics", routes_metrics},
	{"GET", API "/openmetrics", routes_openmetrics},
	{"GET", API "/openapi.json", routes_openapi},
	{"GET", API "/audit", routes_audit},
};

#define TASK API "/tasks/{id}"
static const struct {
	const char *method, *path; /* what is behind {id} is compared */
	void (*fn)(struct sonde_backend *b, struct sonde_http_request *req, struct sonde_task *t);
} of_task[] = {
	{"GET", TASK "", get_task},
	{"DELETE", TASK "", delete_task},
	{"POST", TASK "/stop", stop_task},
	{"POST", TASK "/extend", extend_task},
	{"GET", TASK "/topology", routes_topology},
	{"GET", TASK "/drops", routes_drops},
	{"GET", TASK "/rtt", routes_rtt},
	{"GET", TASK "/series", routes_series},
	{"GET", TASK "/heatmap", routes_heatmap},
	{"GET", TASK "/metrics", routes_task_metrics},
	{"GET", TASK "/ledger", get_ledger},
	{"GET", TASK "/host", get_host},
	{"GET", TASK "/flows", get_flows},
	{"GET", TASK "/bundle", routes_task_bundle},
	{"GET", TASK "/openmetrics", routes_task_openmetrics},
	{"GET", TASK "/events", routes_task_events},
};

static void allow(struct sonde_http_request *req, const char *method)
{
	size_t at = strlen(req->allow);

	(void)snprintf(req->allow + at, sizeof(req->allow) - at, "%s%s", at ? ", " : "",
		       strcmp(method, "GET") == 0 ? "GET, HEAD" : method);
}

static void wrong_method(struct sonde_http_request *req)
{
	(void)sonde_problem_set(&req->problem, 405, NULL, "method %s is not allowed here, %s is",
				req->method, req->allow);
}

/* Return: true if the path is one of ours. */
static bool try_plain(struct sonde_backend *b, struct sonde_http_request *req)
{
	for (size_t i = 0; i < ELEMENTS_OF(plain); i++) {
		if (strcmp(req->path, plain[i].path) != 0)
			continue;
		req->route = plain[i].path;
		if (strcmp(req->method, plain[i].method) == 0) {
			req->allow[0] = '\0';
			plain[i].fn(b, req);
			return true;
		}
		allow(req, plain[i].method);
	}
	if (req->allow[0] == '\0')
		return false;
	wrong_method(req);
	return true;
}

static bool try_task(struct sonde_backend *b, struct sonde_http_request *req)
{
	static const char prefix[] = API "/tasks/";
	char id[SONDE_TASK_ID_MAX];
	struct sonde_task *t;
	const char *rest;
	size_t n;

	if (strncmp(req->path, prefix, sizeof(prefix) - 1) != 0)
		return false;
	n = strcspn(req->path + sizeof(prefix) - 1, "/");
	rest = req->path + sizeof(prefix) - 1 + n;
	if (n == 0 || n >= sizeof(id))
		return false;
	memcpy(id, req->path + sizeof(prefix) - 1, n);
	id[n] = '\0';
	t = sonde_task_table_find(b->tasks, id);
	for (size_t i = 0; i < ELEMENTS_OF(of_task); i++) {
		if (strcmp(rest, of_task[i].path + sizeof(TASK) - 1) != 0)
			continue;
		req->route = of_task[i].path;
		if (!t) {
			(void)sonde_problem_set(&req->problem, 404, NULL, "no task '%s'", id);
			return true;
		}
		if (strcmp(req->method, of_task[i].method) == 0) {
			req->allow[0] = '\0';
			of_task[i].fn(b, req, t);
			return true;
		}
		allow(req, of_task[i].method);
	}
	if (req->allow[0] == '\0')
		return false;
	wrong_method(req);
	return true;
}

/* /agents/{id}/doctor */
static bool try_agent(struct sonde_backend *b, struct sonde_http_request *req)
{
	static const char prefix[] = API "/agents/", rest[] = "/doctor";
	const char *id = req->path + sizeof(prefix) - 1;
	char agent_id[SONDE_SPEC_TEXT_MAX];
	size_t n;

	if (strncmp(req->path, prefix, sizeof(prefix) - 1) != 0)
		return false;
	n = strcspn(id, "/");
	if (n == 0 || n >= sizeof(agent_id) || strcmp(id + n, rest) != 0)
		return false;
	memcpy(agent_id, id, n);
	agent_id[n] = '\0';
	req->route = API "/agents/{id}/doctor";
	if (strcmp(req->method, "GET") == 0) {
		routes_doctor(b, req, agent_id);
	} else {
		allow(req, "GET");
		wrong_method(req);
	}
	return true;
}

void sonde_routes_handle(void *ctx, struct sonde_http_request *req)
{
	if (!routes_is_allowed(req))
		return;
	if (!try_plain(ctx, req) && !try_task(ctx, req) && !try_agent(ctx, req) &&
	    !routes_try_policy(ctx, req) && !sonde_templates_handle(ctx, req))
		(void)sonde_problem_set(&req->problem, 404, NULL, "there is nothing at this path");
}
