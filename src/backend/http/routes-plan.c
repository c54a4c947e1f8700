/* SPDX-License-Identifier: Apache-2.0 */
/* Questions to agents: doctor and plan. The answer waits for theirs. */
#include <errno.h>
#include <string.h>

#include "backend/http/routes-internal.h"
#include "backend/http/waiting.h"
#include "backend/json.h"
#include "backend/services/inquiry.h"
#include "backend/tasks/assign.h"
#include "base/clock.h"

static bool all_true(const json_t *answers, const char *key)
{
	for (size_t i = 0; i < json_array_size(answers); i++) {
		if (!json_is_true(json_object_get(json_array_get(answers, i), key)))
			return false;
	}
	return json_array_size(answers) > 0;
}

static void on_answers(void *ctx, const json_t *answers)
{
	_cleanup_(sonde_waiting_freep) struct sonde_waiting *w = ctx;
	struct sonde_http_request *req = w->request;
	json_t *first = json_array_get(answers, 0);

	if (!req)
		return;
	req->ctx = NULL;
	if (!answers)
		(void)sonde_problem_set(&req->problem, 503, NULL, "the server is going away");
	else if (w->spec)
		routes_answer(req, 200,
			      json_pack("{s:b, s:O, s:O}", "ok", (int)all_true(answers, "ok"),
					"spec", w->spec, "agents", answers));
	else if (!json_is_true(json_object_get(first, "answered")))
		(void)sonde_problem_set(&req->problem, 504, NULL, "%s",
					sonde_json_get_text(first, "refused", "no answer"));
	else
		routes_answer(req, 200, json_incref(first));
	sonde_http_resume(req);
}

static void ask(struct sonde_backend *b, struct sonde_http_request *req, struct sonde_waiting **w,
		const char *const *agents, const char *const *specs, size_t n)
{
	int r = sonde_inquiry_start(b, agents, specs, n, on_answers, *w);

	if (r == -ENOSPC) {
		(void)sonde_problem_set(&req->problem, 503, NULL,
					"too many questions are open, try again");
	} else if (r < 0) {
		routes_refuse(req, r);
	} else {
		req->ctx = TAKE_PTR(*w);
		req->waits = true;
	}
}

void routes_doctor(struct sonde_backend *b, struct sonde_http_request *req, const char *agent_id)
{
	struct sonde_agent *a = sonde_registry_find_agent(b->registry, agent_id);
	_cleanup_(sonde_waiting_freep) struct sonde_waiting *w = NULL;

	if (!a) {
		(void)sonde_problem_set(&req->problem, 404, NULL, "no agent '%.128s'", agent_id);
		return;
	}
	if (!sonde_agent_live(a, sonde_wall_ms())) {
		(void)sonde_problem_set(
			&req->problem, 409, NULL,
			"agent %.64s is not connected, it was last heard %lld s ago", agent_id,
			(long long)((sonde_wall_ms() - a->last_seen_ms) / 1000));
		return;
	}
	w = sonde_waiting_new(b, req, 200);
	if (!w)
		routes_refuse(req, -ENOMEM);
	else
		ask(b, req, &w, (const char *[]){a->id}, (const char *[]){""}, 1);
}

struct concerned {
	struct sonde_backend *backend;
	const char *const *agents;
	size_t n;
	const char *agent_id;
};

static bool concerns(void *ctx, const struct sonde_spec_target *target)
{
	const struct concerned *c = ctx;

	return sonde_assign_concerns(c->backend->registry, c->agents, c->n, target, c->agent_id);
}

/* Each agent is told its own targets. */
static void ask_agents(struct sonde_backend *b, struct sonde_http_request *req,
		       const struct sonde_spec *spec, const char *const *agents, size_t n)
{
	_cleanup_(sonde_waiting_freep) struct sonde_waiting *w = sonde_waiting_new(b, req, 200);
	char *texts[SONDE_TASK_AGENTS_MAX] = {NULL};
	const char *specs[SONDE_TASK_AGENTS_MAX] = {NULL};
	bool whole = true;

	if (w)
		w->spec = sonde_spec_json(spec, NULL, NULL);
	for (size_t i = 0; i < n && whole; i++) {
		struct concerned c = {b, agents, n, agents[i]};
		_cleanup_json_ json_t *part = sonde_spec_json(spec, concerns, &c);

		specs[i] = texts[i] = part ? json_dumps(part, JSON_COMPACT) : NULL;
		whole = specs[i];
	}
	if (w && w->spec && whole)
		ask(b, req, &w, agents, specs, n);
	else
		routes_refuse(req, -ENOMEM);
	for (size_t i = 0; i < n; i++)
		free(texts[i]);
}

void routes_plan(struct sonde_backend *b, struct sonde_http_request *req)
{
	_cleanup_(sonde_spec_freep) struct sonde_spec *spec = NULL;
	const char *agents[SONDE_TASK_AGENTS_MAX];
	int64_t now_ms = sonde_wall_ms();
	size_t n = 0;
	int r;

	r = sonde_spec_parse(req->body, now_ms, (int64_t)b->config.max_task_duration_ms, false,
			     &spec, &req->problem);
	if (r == 0)
		r = sonde_assign(b->registry, spec, now_ms, agents, &n, &req->problem);
	if (r < 0)
		routes_refuse(req, r);
	else
		ask_agents(b, req, spec, agents, n);
}
