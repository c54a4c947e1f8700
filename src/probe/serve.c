/* SPDX-License-Identifier: Apache-2.0 */
#include "probe/serve.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "probe/policy.h"
#include "probe/serve-state.h"

typedef int (*serve_fn)(struct sonde_serve *s, const struct sonde_probe_request *q, uint64_t now_ns,
			struct serve_answer *a);

static const serve_fn handlers[] = {
	[SONDE_PROBE_TASK_ADMIT] = serve_task_admit,
	[SONDE_PROBE_TARGET_ADD] = serve_target_add,
	[SONDE_PROBE_TASK_START] = serve_task_start,
	[SONDE_PROBE_TASK_END] = serve_task_end,
	[SONDE_PROBE_SNAPSHOT] = serve_snapshot,
	[SONDE_PROBE_LIST_PIDS] = serve_list_pids,
	[SONDE_PROBE_EXE] = serve_exe,
	[SONDE_PROBE_LISTENERS] = serve_listeners,
	[SONDE_PROBE_PLAN] = serve_plan,
	[SONDE_PROBE_IDLE_PROOF] = serve_idle_proof,
	[SONDE_PROBE_TARGET_JUDGE] = serve_target_judge,
};
_Static_assert(ELEMENTS_OF(handlers) == _SONDE_PROBE_REQUEST_MAX, "a handler for each request");

int sonde_serve_new(const struct sonde_serve_config *config, struct sonde_serve **ret)
{
	struct sonde_serve *s;

	assert(config && config->collectors && config->policy && config->send && ret);

	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->config = *config;
	*ret = s;
	return 0;
}

struct sonde_serve *sonde_serve_free(struct sonde_serve *s)
{
	if (!s)
		return NULL;
	(void)serve_stop_all(s);
	for (size_t i = 0; i < ELEMENTS_OF(s->tasks); i++)
		free(s->tasks[i]);
	free(s);
	return NULL;
}

int serve_record(struct serve_answer *a, struct sonde_probe_reply *reply)
{
	struct sonde_serve *s = a->serve;
	int r;

	reply->version = SONDE_PROBE_VERSION;
	reply->id = a->id;
	r = s->config.send(s->config.ctx, reply);
	if (r < 0) {
		s->send_error = r;
		return r;
	}
	a->records++;
	return 0;
}

int serve_emit(void *ctx, struct sonde_probe_reply *reply)
{
	return serve_record(ctx, reply);
}

int serve_say(struct serve_answer *a, int error, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	/* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): clang-tidy 14 loses va_start across files */
	(void)vsnprintf(a->text, sizeof(a->text), fmt, ap);
	va_end(ap);
	return error;
}

static int send_end(struct sonde_serve *s, const struct serve_answer *a, int error)
{
	struct sonde_probe_reply reply = {
		.version = SONDE_PROBE_VERSION,
		.type = SONDE_PROBE_END,
		.id = a->id,
		.end = {.error = error < 0 ? error : 0, .records = a->records},
	};

	memcpy(reply.end.numbers, a->numbers, sizeof(reply.end.numbers));
	memcpy(reply.end.text, a->text, sizeof(reply.end.text));
	return s->config.send(s->config.ctx, &reply);
}

int sonde_serve_request(struct sonde_serve *s, const struct sonde_probe_request *request,
			uint64_t now_ns)
{
	struct serve_answer a = {.serve = s};
	int r;

	assert(s && request);
	assert(request->type > 0 && request->type < _SONDE_PROBE_REQUEST_MAX);

	a.id = request->id;
	r = handlers[request->type](s, request, now_ns, &a);
	if (s->send_error < 0)
		return s->send_error;
	sonde_log_debug("%s task=%u pid=%u: %d, %llu records",
			sonde_probe_request_name(request->type), request->task, request->pid, r,
			(unsigned long long)a.records);
	return send_end(s, &a, r);
}

uint64_t sonde_serve_next_deadline_ns(const struct sonde_serve *s)
{
	uint64_t next = UINT64_MAX;

	for (size_t i = 0; i < ELEMENTS_OF(s->tasks); i++) {
		uint64_t at = s->tasks[i] ? serve_task_deadline_ns(s->tasks[i]) : UINT64_MAX;

		if (at < next)
			next = at;
	}
	return next;
}

int sonde_serve_deadlines(struct sonde_serve *s, uint64_t now_ns)
{
	assert(s);

	for (uint32_t slot = 0; slot < ELEMENTS_OF(s->tasks); slot++) {
		struct sonde_probe_reply reply = {
			.version = SONDE_PROBE_VERSION,
			.type = SONDE_PROBE_TASK_ENDED,
			.task_ended = {.task = slot},
		};
		uint64_t detach_ns;
		int r;

		if (!s->tasks[slot] || serve_task_deadline_ns(s->tasks[slot]) > now_ns)
			continue;
		(void)serve_drop_task(s, slot, &detach_ns);
		(void)snprintf(reply.task_ended.reason, sizeof(reply.task_ended.reason),
			       "its admitted duration was over for 10 s");
		r = s->config.send(s->config.ctx, &reply);
		if (r < 0)
			return r;
	}
	return 0;
}

int sonde_serve_hello(struct sonde_serve *s, const struct sonde_probe_hello *hello)
{
	struct sonde_probe_reply reply = {
		.version = SONDE_PROBE_VERSION,
		.type = SONDE_PROBE_HELLO,
		.hello = *hello,
	};

	reply.hello.max_tasks = sonde_policy_max_tasks(s->config.policy);
	reply.hello.max_peers = sonde_policy_max_peers(s->config.policy);
	reply.hello.max_duration_ns = sonde_policy_max_duration_ns(s->config.policy);
	return s->config.send(s->config.ctx, &reply);
}
