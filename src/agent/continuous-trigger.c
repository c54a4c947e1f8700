/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/continuous-internal.h"
#include "agent/rpc.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "model/probe-msg.h"
#include "skywalking/v3/continuous.pb-c.h"
#include "wire/message.h"

#define AGAIN_NS (60 * SONDE_NS_PER_S) /* silence after a task that could not be asked for */

/* One call of reportProfilingTask. */
struct report {
	struct sonde_continuous *c;
	struct sonde_process *process; /* one reference */
};

static uint64_t instance_of(const struct sonde_process *p)
{
	return sonde_hash(p->instance, strlen(p->instance),
			  sonde_hash(p->service, strlen(p->service), 1));
}

static bool is_silent(const struct sonde_continuous *c, const struct sonde_process *p)
{
	const uint64_t instance = instance_of(p), now = sonde_mono_ns();

	for (size_t i = 0; i < CONTINUOUS_SILENCES_MAX; i++) {
		if (c->silences[i].instance == instance && c->silences[i].until_ns > now)
			return true;
	}
	return false;
}

static void be_silent(struct sonde_continuous *c, const struct sonde_process *p, uint64_t for_ns)
{
	const uint64_t instance = instance_of(p);
	size_t at = c->silence_at;

	for (size_t i = 0; i < CONTINUOUS_SILENCES_MAX; i++) {
		if (c->silences[i].instance == instance)
			at = i;
	}
	if (at == c->silence_at)
		c->silence_at = (c->silence_at + 1) % CONTINUOUS_SILENCES_MAX;
	c->silences[at].instance = instance;
	c->silences[at].until_ns = sonde_mono_ns() + for_ns;
}

/* The task's id; NULL: the answer has none. */
static const char *task_id(const Skywalking__V3__Commands *commands)
{
	const Skywalking__V3__Command *command;

	if (commands->n_commands != 1)
		return NULL;
	command = commands->commands[0];
	if (strcmp(command->command, "ContinuousProfilingReportTask") != 0)
		return NULL;
	for (size_t i = 0; i < command->n_args; i++) {
		const char *value = command->args[i]->value;

		if (strcmp(command->args[i]->key, "TaskId") == 0)
			return value[0] && strlen(value) < SONDE_TASK_ID_MAX ? value : NULL;
	}
	return NULL;
}

static bool has_target(const struct sonde_spec *s, const char *id)
{
	for (size_t i = 0; i < s->n_targets; i++) {
		if (strcmp(s->targets[i].text, id) == 0)
			return true;
	}
	return false;
}

/* All of the instance, as an OAP's own network task has them. */
static void add_targets(const struct sonde_continuous *c, const struct sonde_process *of,
			struct sonde_spec *s)
{
	struct sonde_process *p;
	size_t cursor = 0;

	while ((p = sonde_finder_next(c->config.finder, &cursor)) &&
	       s->n_targets < SONDE_TASK_TARGETS_MAX) {
		struct sonde_spec_target *t = &s->targets[s->n_targets];

		if (!p->id[0] || strcmp(p->service, of->service) != 0 ||
		    strcmp(p->instance, of->instance) != 0 || has_target(s, p->id))
			continue;
		t->kind = SONDE_SPEC_TARGET_PROCESS_ID;
		(void)snprintf(t->text, sizeof(t->text), "%s", p->id);
		s->n_targets++;
	}
}

static void run_task(struct sonde_continuous *c, const struct sonde_process *p, const char *id)
{
	struct sonde_spec s = {
		.plain = true,
		.preset = "network-calls",
		.execution_time = true,
		.collectors = SONDE_PROBE_COLLECT_TCP,
		.duration_ms = (int64_t)(c->config.duration_ns / SONDE_NS_PER_MS),
		.report_interval_ms = c->config.interval_ms,
	};

	s.targets = calloc(SONDE_TASK_TARGETS_MAX, sizeof(s.targets[0]));
	if (!s.targets) {
		(void)sonde_log_warn(-ENOMEM, "task %s cannot be run", id);
		return;
	}
	(void)snprintf(s.id, sizeof(s.id), "%s", id);
	add_targets(c, p, &s);
	if (s.n_targets)
		sonde_tasks_accept(c->config.tasks, &s);
	sonde_spec_done(&s);
}

static void on_reported(void *ctx, const struct sonde_grpc_result *result,
			const ProtobufCMessage *answer)
{
	_cleanup_free_ struct report *r = ctx;
	_cleanup_(sonde_process_unrefp) struct sonde_process *p = r->process;
	const char *id = answer ? task_id((const void *)answer) : NULL;

	if (id) {
		sonde_log_info("continuous profiling: task %s for %s / %s", id, p->service,
			       p->instance);
		if (!sonde_grpc_client_has_extension(r->c->config.client))
			run_task(r->c, p,
				 id); /* else it comes by queryTasks, as its policy has it */
		return;
	}
	be_silent(r->c, p, AGAIN_NS);
	if (result->status == SONDE_GRPC_CANCELLED) /* by the peer, or at our own end */
		return;
	(void)sonde_log_warn(0,
			     "continuous profiling: no task for %s / %s, trying again in a "
			     "minute if the threshold is still reached: %s %s",
			     p->service, p->instance,
			     answer ? "an answer without a task"
				    : sonde_grpc_status_name(result->status),
			     answer ? "" : result->message);
}

struct causes {
	Skywalking__V3__ContinuousProfilingCause cause[_SONDE_CONTINUOUS_MONITOR_MAX];
	Skywalking__V3__ContinuousProfilingSingleValueCause value[_SONDE_CONTINUOUS_MONITOR_MAX];
	Skywalking__V3__ContinuousProfilingCause *causes[_SONDE_CONTINUOUS_MONITOR_MAX];
	size_t n;
};

static void fill_causes(const struct continuous_watched *w, struct causes *c)
{
	static const Skywalking__V3__ContinuousProfilingTriggeredMonitorType types[] = {
		[SONDE_CONTINUOUS_PROCESS_CPU] =
			SKYWALKING__V3__CONTINUOUS_PROFILING_TRIGGERED_MONITOR_TYPE__ProcessCPU,
		[SONDE_CONTINUOUS_PROCESS_THREAD_COUNT] =
			SKYWALKING__V3__CONTINUOUS_PROFILING_TRIGGERED_MONITOR_TYPE__ProcessThreadCount,
		[SONDE_CONTINUOUS_SYSTEM_LOAD] =
			SKYWALKING__V3__CONTINUOUS_PROFILING_TRIGGERED_MONITOR_TYPE__SystemLoad,
	};

	for (int i = continuous_reached(w, 0); i >= 0; i = continuous_reached(w, i + 1)) {
		const struct sonde_continuous_rule *rule = &w->policy->rules[i];

		skywalking__v3__continuous_profiling_single_value_cause__init(&c->value[c->n]);
		c->value[c->n].threshold = rule->threshold;
		c->value[c->n].current = w->reached[rule->monitor];
		skywalking__v3__continuous_profiling_cause__init(&c->cause[c->n]);
		c->cause[c->n].type = types[rule->monitor];
		c->cause[c->n].cause_case =
			SKYWALKING__V3__CONTINUOUS_PROFILING_CAUSE__CAUSE_SINGLE_VALUE;
		c->cause[c->n].singlevalue = &c->value[c->n];
		c->causes[c->n] = &c->cause[c->n];
		sonde_log_info("continuous profiling: %s of pid %u reached %g, it is %g",
			       sonde_continuous_monitor_name(rule->monitor), w->process->pid,
			       rule->threshold, w->reached[rule->monitor]);
		c->n++;
	}
}

static int send_report(struct sonde_continuous *c, const struct continuous_watched *w,
		       struct report *r)
{
	Skywalking__V3__ContinuousProfilingReport m =
		SKYWALKING__V3__CONTINUOUS_PROFILING_REPORT__INIT;
	Skywalking__V3__ContinuousNetworkProfilingTask network =
		SKYWALKING__V3__CONTINUOUS_NETWORK_PROFILING_TASK__INIT;
	struct causes causes = {0};

	fill_causes(w, &causes);
	m.layer = sonde_wire_text(w->process->layer);
	m.servicename = sonde_wire_text(w->process->service);
	m.instancename = sonde_wire_text(w->process->instance);
	m.processname = sonde_wire_text(w->process->name);
	m.n_causes = causes.n;
	m.causes = causes.causes;
	m.duration = (int32_t)(c->config.duration_ns / SONDE_NS_PER_S);
	m.target_task_case = SKYWALKING__V3__CONTINUOUS_PROFILING_REPORT__TARGET_TASK_NETWORK;
	m.network = &network;
	return sonde_rpc_of(c->config.client, c->config.agent_id,
			    "/skywalking.v3.ContinuousProfilingService/reportProfilingTask",
			    &m.base, &skywalking__v3__commands__descriptor, c->config.deadline_ns,
			    on_reported, r);
}

static int ask_for_task(struct sonde_continuous *c, const struct continuous_watched *w)
{
	struct report *r = calloc(1, sizeof(*r));
	int e;

	if (!r)
		return -ENOMEM;
	r->c = c;
	r->process = sonde_process_ref(w->process);
	e = send_report(c, w, r);
	if (e == 0)
		return 0;
	(void)sonde_process_unref(r->process);
	free(r);
	return e;
}

void continuous_trigger(struct sonde_continuous *c, const struct continuous_watched *w)
{
	int e;

	if (is_silent(c, w->process))
		return;
	be_silent(c, w->process, c->config.silence_ns);
	e = ask_for_task(c, w);
	if (e == 0)
		return;
	be_silent(c, w->process, AGAIN_NS);
	(void)sonde_log_warn(e, "continuous profiling: cannot ask for a task, trying again in a "
				"minute if the threshold is still reached");
}
