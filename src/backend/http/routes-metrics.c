/* SPDX-License-Identifier: Apache-2.0 */
/* What Prometheus scrapes: the server's own metrics, and the tasks'. */
#include <errno.h>

#include "backend/http/routes-internal.h"
#include "backend/query/metrics-text.h"
#include "base/clock.h"

#define OWN_BYTES_MAX (1U << 20)
#define TASKS_MAX 64 /* of one answer: the newest */
/* So that the last numbers of a task are still there for the scrapes behind its end. */
#define ENDED_KEPT_MS (5LL * 60 * 1000)

static bool negotiate(struct sonde_http_request *req, bool otherwise, bool *ret_openmetrics)
{
	if (sonde_exposition_negotiate(sonde_http_header(req, "Accept"), otherwise,
				       ret_openmetrics) == 0)
		return true;
	(void)sonde_problem_set(&req->problem, 406, NULL,
				"application/openmetrics-text or text/plain is what there is");
	return false;
}

static void answer(struct sonde_http_request *req, struct sonde_exposition *e)
{
	int r = sonde_exposition_finish(e, &req->text);

	if (r < 0) {
		routes_refuse(req, r);
		return;
	}
	req->status = 200;
	req->text_type = sonde_exposition_content_type(e->openmetrics);
}

void routes_metrics(struct sonde_backend *b, struct sonde_http_request *req)
{
	_cleanup_exposition_ struct sonde_exposition e = {0};
	bool openmetrics = false;

	if (!negotiate(req, false, &openmetrics))
		return;
	sonde_exposition_init(&e, openmetrics, OWN_BYTES_MAX);
	sonde_metrics_own(b, &e);
	answer(req, &e);
}

static void answer_tasks(struct sonde_backend *b, struct sonde_http_request *req,
			 struct sonde_task *const *tasks, size_t n)
{
	_cleanup_exposition_ struct sonde_exposition e = {0};
	bool openmetrics = true;
	int r;

	if (!negotiate(req, true, &openmetrics))
		return;
	/* Room behind the bound, for the series that passes it and the end. */
	sonde_exposition_init(&e, openmetrics, 2UL * SONDE_TASK_METRICS_BYTES_MAX);
	r = sonde_metrics_tasks(b, tasks, n, &e);
	if (r < 0)
		routes_refuse(req, r);
	else
		answer(req, &e);
}

void routes_task_openmetrics(struct sonde_backend *b, struct sonde_http_request *req,
			     struct sonde_task *t)
{
	answer_tasks(b, req, &t, 1);
}

void routes_openmetrics(struct sonde_backend *b, struct sonde_http_request *req)
{
	int64_t since_ms = sonde_wall_ms() - ENDED_KEPT_MS;
	struct sonde_task *tasks[TASKS_MAX];
	size_t n = 0, at = 0;

	for (struct sonde_task *t = sonde_task_table_first(b->tasks); t; t = t->hh.next) {
		if (sonde_task_state_final(t->state) && t->ended_ms < since_ms)
			continue;
		tasks[at++ % TASKS_MAX] = t; /* oldest first: the newest stay */
		n = at < TASKS_MAX ? at : TASKS_MAX;
	}
	answer_tasks(b, req, tasks, n);
}
