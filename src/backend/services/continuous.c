/* SPDX-License-Identifier: Apache-2.0 */
/* ContinuousProfilingService: hands out the thresholds of policies, and makes a task where an agent says that one is passed. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backend/json.h"
#include "backend/policies/fire.h"
#include "backend/services/services.h"
#include "backend/store/ids.h"
#include "base/clock.h"
#include "skywalking/v3/continuous.pb-c.h"

#define QUERIES_MAX 1024 /* services of one query */
#define ANSWER_BYTES_MAX                                                                           \
	(200UL << 10) /* an agent takes 256 KiB; what is left out differs still at the next query */

/* Our agents say who they are, as the message does not. "": a Rover. */
static const char *asked_by(const struct sonde_grpc_server_call *call)
{
	const char *id = sonde_grpc_server_call_metadata(call, "sonde-agent-id");

	return id && strlen(id) < SONDE_SPEC_TEXT_MAX ? id : "";
}

/* One command of two arguments: a serial number, and the one that counts. */
static void answer_command(struct sonde_grpc_server_call *call, struct sonde_deferred *held,
			   const char *name, const char *key, const char *value)
{
	Skywalking__V3__Commands answer = SKYWALKING__V3__COMMANDS__INIT;
	Skywalking__V3__Command command = SKYWALKING__V3__COMMAND__INIT, *commands = &command;
	Skywalking__V3__KeyStringValuePair pair[2] = {SKYWALKING__V3__KEY_STRING_VALUE_PAIR__INIT,
						      SKYWALKING__V3__KEY_STRING_VALUE_PAIR__INIT};
	Skywalking__V3__KeyStringValuePair *args[2] = {&pair[0], &pair[1]};
	char serial[37] = "";

	if (sonde_id_uuid(serial) < 0)
		serial[0] = '\0'; /* nobody reads it */
	pair[0].key = (char *)"SerialNumber";
	pair[0].value = serial;
	pair[1].key = (char *)key;
	pair[1].value = (char *)value;
	command.command = (char *)name;
	command.args = args;
	command.n_args = ELEMENTS_OF(args);
	answer.commands = &commands;
	answer.n_commands = 1;
	if (!held)
		sonde_services_answer(call, &answer.base);
	else if (sonde_deferred_hold(held, &answer.base) < 0)
		held->held = NULL; /* the end says that memory ran out */
}

/* Its entry if what the agent knows is another. Return: 1 added, 0, -ENOMEM. */
static int add_policy(struct sonde_backend *b,
		      const Skywalking__V3__ContinuousProfilingServicePolicyQuery *q,
		      const char *agent_id, json_t *list)
{
	struct sonde_policy *p = sonde_policies_find(b->policies, q->servicename);
	const char *uuid = p ? p->uuid : "";
	bool current = strcmp(uuid, q->uuid) == 0;

	if (p)
		sonde_policy_watched(p, agent_id, current, sonde_wall_ms());
	if (current)
		return 0;
	return sonde_json_append(
		       list, sonde_policy_command(q->servicename, uuid, p ? p->document : NULL)) < 0
		       ? -ENOMEM
		       : 1;
}

static int list_policies(struct sonde_backend *b,
			 const Skywalking__V3__ContinuousProfilingPolicyQuery *m,
			 const char *agent_id, json_t *list)
{
	size_t bytes = 2;

	for (size_t i = 0; i < m->n_policies && i < QUERIES_MAX && bytes < ANSWER_BYTES_MAX; i++) {
		_cleanup_free_ char *text = NULL;
		int r = m->policies[i]->servicename[0]
				? add_policy(b, m->policies[i], agent_id, list)
				: 0;

		if (r < 0)
			return r;
		if (r == 0)
			continue;
		text = json_dumps(json_array_get(list, json_array_size(list) - 1), JSON_COMPACT);
		if (!text)
			return -ENOMEM;
		bytes += strlen(text) + 1;
	}
	return 0;
}

static enum sonde_grpc_status answer_policies(
	struct sonde_backend *b, struct sonde_grpc_server_call *call,
	const Skywalking__V3__ContinuousProfilingPolicyQuery *m)
{
	Skywalking__V3__Commands none = SKYWALKING__V3__COMMANDS__INIT;
	_cleanup_json_ json_t *list = json_array();
	_cleanup_free_ char *text = NULL;
	int r;

	r = list ? list_policies(b, m, asked_by(call), list) : -ENOMEM;
	text = r == 0 ? json_dumps(list, JSON_COMPACT) : NULL;
	if (!text)
		return sonde_services_fail(call, SONDE_GRPC_RESOURCE_EXHAUSTED, "out of memory");
	if (json_array_size(list) == 0)
		sonde_services_answer(call, &none.base);
	else
		answer_command(call, NULL, "ContinuousProfilingPolicyQuery",
			       "ServiceWithPolicyJSON", text);
	return SONDE_GRPC_OK;
}

enum sonde_grpc_status sonde_services_query_policies(void *ctx, struct sonde_grpc_server_call *call,
						     const uint8_t *data, size_t n)
{
	Skywalking__V3__ContinuousProfilingPolicyQuery *m = sonde_services_unpack(
		&skywalking__v3__continuous_profiling_policy_query__descriptor, data, n);
	enum sonde_grpc_status status;

	if (!m)
		return sonde_services_fail(call, SONDE_GRPC_INVALID_ARGUMENT,
					   "not a ContinuousProfilingPolicyQuery");
	status = answer_policies(ctx, call, m);
	(void)sonde_wire_free(&m->base);
	return status;
}

/* Of a kind that we know; a number that is none is hostile. Return: 0, -EINVAL. */
static int read_cause(const Skywalking__V3__ContinuousProfilingCause *m,
		      struct sonde_policy_cause *c)
{
	if ((unsigned)m->type >= _SONDE_POLICY_MONITOR_MAX)
		return -EINVAL;
	c->type = (enum sonde_policy_monitor)m->type;
	switch (m->cause_case) {
	case SKYWALKING__V3__CONTINUOUS_PROFILING_CAUSE__CAUSE_SINGLE_VALUE:
		c->threshold = m->singlevalue->threshold;
		c->current = m->singlevalue->current;
		break;
	case SKYWALKING__V3__CONTINUOUS_PROFILING_CAUSE__CAUSE_URI:
		c->threshold = m->uri->threshold;
		c->current = m->uri->current;
		c->uri = m->uri->uri_case == SKYWALKING__V3__CONTINUOUS_PROFILING_URICAUSE__URI_PATH
				 ? m->uri->path
				 : m->uri->regex;
		break;
	default:
		return -EINVAL;
	}
	/* What is no finite number is no JSON. */
	return c->threshold - c->threshold == 0 && c->current - c->current == 0 ? 0 : -EINVAL;
}

static enum sonde_grpc_status status_of(const struct sonde_problem *p)
{
	switch (p->status) {
	case 404:
		return SONDE_GRPC_NOT_FOUND;
	case 409:
		return SONDE_GRPC_FAILED_PRECONDITION;
	case 503:
		return SONDE_GRPC_UNAVAILABLE;
	default:
		return SONDE_GRPC_INVALID_ARGUMENT;
	}
}

static enum sonde_grpc_status make_task(struct sonde_backend *b,
					struct sonde_grpc_server_call *call,
					const struct sonde_policy_trigger *trigger)
{
	struct sonde_deferred *d = sonde_deferred_new(call);
	struct sonde_problem problem = {0};
	char task[SONDE_TASK_ID_MAX];
	int r;

	if (!d)
		return sonde_services_fail(call, SONDE_GRPC_RESOURCE_EXHAUSTED, "out of memory");
	r = sonde_policies_trigger(b, trigger, sonde_wall_ms(), sonde_deferred_on_stored, d, task,
				   &problem);
	if (r == 0) {
		answer_command(call, d, "ContinuousProfilingReportTask", "TaskId", task);
		return SONDE_GRPC_OK;
	}
	sonde_grpc_server_call_set_data(call, NULL);
	free(d);
	return r == -EINVAL
		       ? sonde_services_fail(call, status_of(&problem), "%s", problem.detail)
		       : sonde_services_fail(call, SONDE_GRPC_RESOURCE_EXHAUSTED, "out of memory");
}

static enum sonde_grpc_status answer_report(struct sonde_backend *b,
					    struct sonde_grpc_server_call *call,
					    const Skywalking__V3__ContinuousProfilingReport *m)
{
	struct sonde_policy_cause causes[SONDE_POLICY_CAUSES_MAX] = {0};
	const struct sonde_policy_trigger trigger = {
		.service = m->servicename,
		.instance = m->instancename,
		.process = m->processname,
		.causes = causes,
		.n_causes = m->n_causes,
		.duration_ms = (int64_t)m->duration * 1000,
		.runs_itself = asked_by(call)[0] == '\0',
		.agent_id = asked_by(call),
	};

	if (m->target_task_case != SKYWALKING__V3__CONTINUOUS_PROFILING_REPORT__TARGET_TASK_NETWORK)
		return sonde_services_fail(call, SONDE_GRPC_UNIMPLEMENTED,
					   "only NETWORK tasks are made here");
	if (m->n_causes > SONDE_POLICY_CAUSES_MAX)
		return sonde_services_fail(call, SONDE_GRPC_INVALID_ARGUMENT, "causes: %d at most",
					   SONDE_POLICY_CAUSES_MAX);
	for (size_t i = 0; i < m->n_causes; i++) {
		if (read_cause(m->causes[i], &causes[i]) < 0)
			return sonde_services_fail(call, SONDE_GRPC_INVALID_ARGUMENT,
						   "causes[%zu]: a known type, and its threshold "
						   "and value are needed",
						   i);
	}
	return make_task(b, call, &trigger);
}

enum sonde_grpc_status sonde_services_report_trigger(void *ctx, struct sonde_grpc_server_call *call,
						     const uint8_t *data, size_t n)
{
	Skywalking__V3__ContinuousProfilingReport *m = sonde_services_unpack(
		&skywalking__v3__continuous_profiling_report__descriptor, data, n);
	enum sonde_grpc_status status;

	if (!m)
		return sonde_services_fail(call, SONDE_GRPC_INVALID_ARGUMENT,
					   "not a ContinuousProfilingReport");
	status = answer_report(ctx, call, m);
	(void)sonde_wire_free(&m->base);
	return status;
}
