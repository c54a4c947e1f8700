/* SPDX-License-Identifier: Apache-2.0 */
/* TaskControlService: stop, extend and the hint to poll, pushed to the agents that watch. What cannot be pushed now is said again at the next watch. */
#include <errno.h>
#include <string.h>

#include "backend/services/inquiry.h"
#include "backend/services/services.h"
#include "base/clock.h"
#include "base/log.h"
#include "sonde/v1/task.pb-c.h"

#define WATCHES_MAX 16 /* of one agent; a new one beyond ends the oldest */

struct sonde_watch {
	struct sonde_watch *next;
	struct sonde_grpc_server_call *call;
	struct sonde_agent *agent; /* borrowed: an agent with watches stays in the registry */
};

static int push(struct sonde_watch *w, const Sonde__V1__Control *control)
{
	_cleanup_free_ uint8_t *data = malloc(sonde__v1__control__get_packed_size(control) + 1);
	int r = -ENOMEM;

	if (data)
		r = sonde_grpc_server_call_send(w->call, data,
						sonde__v1__control__pack(control, data));
	if (r < 0)
		(void)sonde_log_warn(r, "cannot push to agent %s, it learns it at its next watch",
				     w->agent->id);
	return r;
}

static void push_hello(struct sonde_watch *w)
{
	Sonde__V1__Hello hello = SONDE__V1__HELLO__INIT;
	Sonde__V1__Control control = SONDE__V1__CONTROL__INIT;

	control.action_case = SONDE__V1__CONTROL__ACTION_HELLO;
	control.hello = &hello;
	(void)push(w, &control);
}

static void push_poll(struct sonde_watch *w)
{
	Sonde__V1__Poll poll = SONDE__V1__POLL__INIT;
	Sonde__V1__Control control = SONDE__V1__CONTROL__INIT;

	control.action_case = SONDE__V1__CONTROL__ACTION_POLL;
	control.poll = &poll;
	(void)push(w, &control);
}

static void push_change(struct sonde_watch *w, const struct sonde_task *t, int64_t end_ms)
{
	Sonde__V1__Stop stop = SONDE__V1__STOP__INIT;
	Sonde__V1__Extend extend = SONDE__V1__EXTEND__INIT;
	Sonde__V1__Control control = SONDE__V1__CONTROL__INIT;

	if (end_ms == 0) {
		stop.task_id = (char *)t->spec->id;
		stop.reason = (char *)t->stop_reason;
		control.action_case = SONDE__V1__CONTROL__ACTION_STOP;
		control.stop = &stop;
	} else {
		extend.task_id = (char *)t->spec->id;
		extend.end_wall_ms = end_ms;
		control.action_case = SONDE__V1__CONTROL__ACTION_EXTEND;
		control.extend = &extend;
	}
	(void)push(w, &control);
}

void sonde_services_control(void *ctx, const struct sonde_task *t, const struct sonde_task_agent *a,
			    int64_t end_ms)
{
	struct sonde_backend *b = ctx;

	for (struct sonde_watch *w = b->watches; w; w = w->next) {
		if (strcmp(w->agent->id, a->id) == 0)
			push_change(w, t, end_ms);
	}
}

void sonde_services_waiting(void *ctx, const struct sonde_task_agent *a)
{
	sonde_services_poke(ctx, a->id);
}

void sonde_services_poke(struct sonde_backend *b, const char *agent_id)
{
	for (struct sonde_watch *w = b->watches; w; w = w->next) {
		if (strcmp(w->agent->id, agent_id) == 0)
			push_poll(w);
	}
}

bool sonde_services_ask(struct sonde_backend *b, const char *agent_id, const char *id,
			const char *spec)
{
	Sonde__V1__Question question = SONDE__V1__QUESTION__INIT;
	Sonde__V1__Control control = SONDE__V1__CONTROL__INIT;

	question.id = sonde_wire_text(id);
	question.spec = sonde_wire_text(spec);
	control.action_case = SONDE__V1__CONTROL__ACTION_QUESTION;
	control.question = &question;
	for (struct sonde_watch *w = b->watches; w; w = w->next) {
		if (strcmp(w->agent->id, agent_id) == 0)
			return push(w, &control) == 0;
	}
	return false;
}

/* What was decided while it did not watch. All are idempotent. */
static void push_pending(struct sonde_backend *b, struct sonde_watch *w)
{
	bool waiting = false;

	for (struct sonde_task *t = sonde_task_table_first(b->tasks); t; t = t->hh.next) {
		struct sonde_task_agent *a = sonde_task_find_agent(t, w->agent->id);

		if (!a || a->ended)
			continue;
		if (a->handed_out_ms == 0)
			waiting = waiting || (!t->stop_asked && !sonde_task_state_final(a->state));
		else if (t->stop_asked)
			push_change(w, t, 0);
		else if (t->extended && !sonde_task_state_final(t->state))
			push_change(w, t, sonde_task_agent_end_ms(t, a));
	}
	if (waiting)
		push_poll(w);
}

static struct sonde_watch *oldest_of(struct sonde_backend *b, const struct sonde_agent *agent)
{
	struct sonde_watch *oldest = NULL;

	for (struct sonde_watch *w = b->watches; w; w = w->next) {
		if (w->agent == agent)
			oldest = w; /* the newest stand first */
	}
	return oldest;
}

enum sonde_grpc_status sonde_services_watch(void *ctx, struct sonde_grpc_server_call *call,
					    const uint8_t *data, size_t n)
{
	Sonde__V1__WatchRequest *m =
		sonde_services_unpack(&sonde__v1__watch_request__descriptor, data, n);
	struct sonde_backend *b = ctx;
	struct sonde_agent *agent;
	struct sonde_watch *w;
	int r;

	if (!m)
		return sonde_services_fail(call, SONDE_GRPC_INVALID_ARGUMENT, "not a WatchRequest");
	r = sonde_registry_see_agent(b->registry, m->agent_id, sonde_wall_ms(), &agent);
	(void)sonde_wire_free(&m->base);
	if (r < 0)
		return sonde_services_fail(
			call,
			r == -EINVAL ? SONDE_GRPC_INVALID_ARGUMENT : SONDE_GRPC_RESOURCE_EXHAUSTED,
			"agent_id: %s", r == -EINVAL ? "must be 1 to 255 bytes" : "no room");
	if (agent->watches >= WATCHES_MAX)
		sonde_grpc_server_call_finish(oldest_of(b, agent)->call, SONDE_GRPC_ABORTED,
					      "replaced by a newer watch");
	w = calloc(1, sizeof(*w));
	if (!w)
		return sonde_services_fail(call, SONDE_GRPC_RESOURCE_EXHAUSTED, "out of memory");
	w->call = call;
	w->agent = agent;
	w->next = b->watches;
	b->watches = w;
	agent->watches++;
	sonde_grpc_server_call_set_data(call, w);
	push_hello(w);
	push_pending(b, w);
	sonde_inquiry_watch_came(b, agent->id);
	return SONDE_GRPC_OK;
}

void sonde_services_watch_close(void *ctx, struct sonde_grpc_server_call *call)
{
	struct sonde_watch *w = sonde_grpc_server_call_data(call), **at;
	struct sonde_backend *b = ctx;

	if (!w)
		return;
	for (at = &b->watches; *at && *at != w;)
		at = &(*at)->next;
	if (*at)
		*at = w->next;
	sonde_registry_watch_ended(w->agent, sonde_wall_ms());
	sonde_grpc_server_call_set_data(call, NULL);
	free(w);
}

void sonde_services_end_watches(struct sonde_backend *b)
{
	struct sonde_watch *next;

	for (struct sonde_watch *w = b->watches; w; w = next) {
		next = w->next;
		sonde_grpc_server_call_finish(w->call, SONDE_GRPC_UNAVAILABLE,
					      "the server is going away");
	}
}
