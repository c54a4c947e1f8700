/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/oap/graphql.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backend/audit.h"
#include "backend/http/waiting.h"
#include "backend/json.h"
#include "backend/oap/fields.h"
#include "backend/oap/schema.h"
#include "base/clock.h"
#include "base/log.h"
#include "graphql/plan.h"

#define HOLD_NS (10ULL * 1000 * 1000 * 1000)
#define WORK_NS                                                                                    \
	(2ULL * 1000 * 1000 * 1000) /* of one request, in which the loop does nothing else */
#define LOOK_US (100ULL * 1000)	    /* how often a held question is looked at again */

struct sonde_graphql_run {
	struct sonde_waiting waiting; /* the request's ctx, so the first */
	struct sonde_graphql_plan *plan;
	size_t at; /* the root that is being answered */
	char task[SONDE_TASK_ID_MAX];
	char subject[GRAPHQL_SUBJECT_MAX];
	struct sonde_identity identity; /* of the request, which may be gone */
	char address[SONDE_HTTP_ADDRESS_MAX];
	uint64_t began_ns;
	uint64_t worked_ns;   /* without the time in which it was held, or waited for the disk */
	uint64_t deadline_ns; /* of the work that goes on now */
	bool held;
	sd_event_source *timer; /* while it is held */
	struct sonde_graphql_run *next;
};

static struct sonde_graphql_run *run_free(struct sonde_graphql_run *run)
{
	if (!run)
		return NULL;
	(void)sd_event_source_disable_unref(run->timer);
	(void)sonde_graphql_plan_free(run->plan);
	free(run);
	return NULL;
}
SONDE_DEFINE_CLEANUP(struct sonde_graphql_run *, run_free)

/* --- holding --- */

static bool may_hold(const struct sonde_graphql_run *run)
{
	const struct sonde_backend *b = run->waiting.backend;

	return !b->draining && run->waiting.request &&
	       (run->held || b->n_graphql_held < SONDE_GRAPHQL_HELD_MAX) &&
	       sonde_mono_ns() - run->began_ns < HOLD_NS;
}

static void let_go(struct sonde_graphql_run *run)
{
	struct sonde_graphql_run **at = &run->waiting.backend->graphql_held;

	if (!run->held)
		return;
	while (*at != run)
		at = &(*at)->next;
	*at = run->next;
	run->held = false;
	run->waiting.backend->n_graphql_held--;
}

static int on_look(sd_event_source *source, uint64_t usec, void *ctx);

/* Return: 0, or why it cannot be held. */
static int hold(struct sonde_graphql_run *run)
{
	struct sonde_backend *b = run->waiting.backend;
	int r;

	if (!run->timer)
		r = sd_event_add_time_relative(b->event, &run->timer, CLOCK_MONOTONIC, LOOK_US, 0,
					       on_look, run);
	else
		r = sd_event_source_set_time_relative(run->timer, LOOK_US);
	if (r >= 0)
		r = sd_event_source_set_enabled(run->timer, SD_EVENT_ONESHOT);
	if (r < 0)
		return r;
	if (!run->held) {
		run->held = true;
		run->next = b->graphql_held;
		b->graphql_held = run;
		b->n_graphql_held++;
	}
	return 0;
}

/* --- answering --- */

static void on_stored(void *ctx, int error);

static int put(struct sonde_graphql_run *run, json_t *value)
{
	int r = sonde_graphql_plan_put(run->plan, run->at, value);

	json_decref(value);
	return r;
}

static void note(struct sonde_graphql_run *run, const char *subject, int status, const char *words)
{
	const struct sonde_graphql_root *root = sonde_graphql_plan_root(run->plan, run->at);
	char action[96];
	const struct sonde_audit_entry e = {.identity = &run->identity,
					    .address = run->address,
					    .action = action,
					    .subject = subject,
					    .status = status,
					    .words = words};

	(void)snprintf(action, sizeof(action), "graphql.%s", root->field);
	sonde_audit_note(run->waiting.backend->audit, &e);
}

/* A refusal is an answer of some fields. What waits for the disk is noted when that is known. */
static void note_change(struct sonde_graphql_run *run, const struct graphql_ask *a, int r,
			const json_t *value)
{
	const char *words = r == 0 ? sonde_json_get_text(value, "errorReason", "") : a->message;

	if (r == -EINPROGRESS)
		memcpy(run->subject, a->subject, sizeof(run->subject));
	else if (!a->unchanged)
		note(run, a->subject, r == 0 ? 200 : 500, words);
}

/* One root. Return: 0 it is answered, -EINPROGRESS it waits, -ENOMEM. */
static int answer_root(struct sonde_graphql_run *run, const struct sonde_graphql_root *root)
{
	struct graphql_ask a = {
		.backend = run->waiting.backend,
		.arguments = root->arguments,
		.now_ms = sonde_wall_ms(),
		.deadline_ns = run->deadline_ns,
		.may_wait = may_hold(run),
		.stored = on_stored,
		.stored_ctx = run,
	};
	graphql_field_fn fn = graphql_field_find(root->field);
	json_t *value = NULL;
	int r;

	if (sonde_mono_ns() >= run->deadline_ns)
		return sonde_graphql_plan_fail(run->plan, run->at,
					       "takes too long: ask for less at once");
	if (root->mutation && a.backend->draining)
		return sonde_graphql_plan_fail(run->plan, run->at, "the server is going away");
	if (!fn)
		return sonde_graphql_plan_fail(run->plan, run->at, "not supported by this server");
	if (root->mutation && run->identity.role != SONDE_ROLE_OPERATE) {
		note(run, "", 403, "may view, and change nothing: the role operate is needed");
		return sonde_graphql_plan_fail(run->plan, run->at,
					       "the role operate is needed to change anything");
	}
	r = fn(&a, &value);
	if (root->mutation)
		note_change(run, &a, r, value);
	if (r == -EAGAIN && hold(run) < 0) {
		a.may_wait = false;
		r = fn(&a, &value);
	}
	if (r == -EAGAIN)
		return -EINPROGRESS;
	if (r == -EINPROGRESS)
		memcpy(run->task, a.task, sizeof(run->task));
	if (r == -EINPROGRESS || r == -ENOMEM)
		return r;
	if (r == 0)
		return put(run, value);
	return sonde_graphql_plan_fail(run->plan, run->at,
				       a.message[0] ? a.message : "internal error");
}

/* Return: 0 all roots are answered, -EINPROGRESS, -ENOMEM. */
static int answer_roots(struct sonde_graphql_run *run)
{
	const uint64_t now_ns = sonde_mono_ns();
	int r = 0;

	run->deadline_ns = now_ns + WORK_NS - (run->worked_ns < WORK_NS ? run->worked_ns : WORK_NS);
	for (; run->at < sonde_graphql_plan_roots(run->plan) && r == 0; run->at += r == 0) {
		const struct sonde_graphql_root *root = sonde_graphql_plan_root(run->plan, run->at);

		if (root->field)
			r = answer_root(run, root);
	}
	run->worked_ns += sonde_mono_ns() - now_ns;
	return r;
}

/* Fills the answer of the request, if the client is still there. */
static void fill(struct sonde_graphql_run *run, struct sonde_http_request *req, int error)
{
	req->status = 200;
	req->answer = error == 0 ? sonde_graphql_plan_answer(run->plan) : NULL;
	if (!req->answer)
		(void)sonde_problem_set(&req->problem, 500, NULL, "out of memory");
}

/* Goes on with a request that has waited. */
static void go_on(struct sonde_graphql_run *run)
{
	int r = answer_roots(run);
	struct sonde_http_request *req = run->waiting.request;

	if (r == -EINPROGRESS)
		return;
	let_go(run);
	if (req) {
		req->ctx = NULL;
		fill(run, req, r);
		sonde_http_resume(req);
	}
	(void)run_free(run);
}

static int on_look(sd_event_source *source, uint64_t usec, void *ctx)
{
	go_on(ctx);
	return 0;
}

static void on_stored(void *ctx, int error)
{
	struct sonde_graphql_run *run = ctx;
	struct sonde_backend *b = run->waiting.backend;
	struct sonde_task *t = sonde_task_table_find(b->tasks, run->task);
	bool stored = error == 0 && (t || run->task[0] == '\0'); /* without a task: a policy */
	json_t *value;

	note(run, run->subject, stored ? 200 : 500, stored ? "" : "it could not be stored");
	if (error == 0 && t)
		sonde_task_table_announce(b->tasks, t);
	value = stored ? graphql_created(true, NULL, run->task)
		       : graphql_created(false, "it could not be stored", NULL);
	if (!value || put(run, value) < 0)
		(void)sonde_log_warn(0, "the answer about task %s has no room, ignoring",
				     run->task);
	run->at++;
	go_on(run);
}

static const char *text_of(const json_t *body, const char *key)
{
	return json_string_value(json_object_get(body, key));
}

/* Return: 0, -EINVAL with the problem set. */
static int check_body(struct sonde_http_request *req)
{
	const json_t *variables = json_object_get(req->body, "variables");
	const json_t *name = json_object_get(req->body, "operationName");

	if (!text_of(req->body, "query"))
		return sonde_problem_set(&req->problem, 400, "query",
					 "query: a GraphQL document is needed");
	if (variables && !json_is_object(variables) && !json_is_null(variables))
		return sonde_problem_set(&req->problem, 400, "variables",
					 "variables: must be an object");
	if (name && !json_is_string(name) && !json_is_null(name))
		return sonde_problem_set(&req->problem, 400, "operationName",
					 "operationName: must be a string");
	return 0;
}

void sonde_graphql_answer(struct sonde_backend *b, struct sonde_http_request *req)
{
	_cleanup_(run_freep) struct sonde_graphql_run *run = NULL;
	struct sonde_graphql_request request = {0};
	int r;

	if (check_body(req) < 0)
		return;
	request.text = text_of(req->body, "query");
	request.n = json_string_length(json_object_get(req->body, "query"));
	request.operation = text_of(req->body, "operationName");
	request.variables = json_object_get(req->body, "variables");
	run = calloc(1, sizeof(*run));
	r = run ? sonde_graphql_plan_new(&sonde_skywalking_schema, &request, &run->plan) : -ENOMEM;
	if (r < 0) {
		(void)sonde_problem_set(&req->problem, 500, NULL, "out of memory");
		return;
	}
	run->waiting = (struct sonde_waiting){.backend = b, .request = req};
	run->identity = req->identity;
	memcpy(run->address, req->address, sizeof(run->address));
	run->began_ns = sonde_mono_ns();
	r = answer_roots(run);
	if (r != -EINPROGRESS) {
		fill(run, req, r);
		return;
	}
	req->ctx = &run->waiting;
	req->waits = true;
	run = NULL;
}

size_t sonde_graphql_layers_refused(struct sonde_backend *b)
{
	size_t left;

	json_decref(graphql_layer_set(b, &left));
	return left;
}

void sonde_graphql_end_all(struct sonde_backend *b)
{
	b->draining = true; /* so that none of them is held again */
	while (b->graphql_held)
		go_on(b->graphql_held);
}
