/* SPDX-License-Identifier: Apache-2.0 */
#include "doubles/agent-backend.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "skywalking/v3/continuous.pb-c.h"
#include "skywalking/v3/management.pb-c.h"
#include "skywalking/v3/meter.pb-c.h"
#include "skywalking/v3/process.pb-c.h"
#include "skywalking/v3/profile.pb-c.h"
#include "wire/message.h"

static void answer(struct sonde_grpc_server_call *call, const ProtobufCMessage *m)
{
	_cleanup_buf_ struct sonde_buf buf = SONDE_BUF_INIT(1 << 20);

	if (sonde_wire_pack(m, &buf) < 0 ||
	    sonde_grpc_server_call_send(call, buf.data ? buf.data : (const uint8_t *)"", buf.len) <
		    0)
		sonde_grpc_server_call_finish(call, SONDE_GRPC_INTERNAL, "double");
	else
		sonde_grpc_server_call_finish(call, SONDE_GRPC_OK, NULL);
}

static void answer_nothing(void *ctx, struct sonde_grpc_server_call *call)
{
	Skywalking__V3__Commands none = SKYWALKING__V3__COMMANDS__INIT;

	answer(call, &none.base);
}

static void answer_report(void *ctx, struct sonde_grpc_server_call *call)
{
	Sonde__V1__TaskReportAnswer none = SONDE__V1__TASK_REPORT_ANSWER__INIT;

	answer(call, &none.base);
}

/* processes */

/* Any function of the names will do, as long as equal names give equal ids. */
static void make_id(const Skywalking__V3__EBPFProcessEntityMetadata *e, char id[65])
{
	uint64_t h = 0xcbf29ce484222325ULL;
	const char *const parts[] = {e->servicename, e->instancename, e->processname};

	for (size_t i = 0; i < 3; i++) {
		for (const char *s = parts[i]; *s; s++)
			h = (h ^ (unsigned char)*s) * 0x100000001b3ULL;
		h *= 31;
	}
	(void)snprintf(id, 65, "%016" PRIx64 "%016" PRIx64 "%016" PRIx64 "%016" PRIx64, h, ~h,
		       h * 3, h * 7);
}

static void note_words(struct double_process *p,
		       const Skywalking__V3__EBPFHostProcessMetadata *host)
{
	size_t at = 0;

	p->labels[0] = '\0';
	for (size_t i = 0; i < host->entity->n_labels && at < sizeof(p->labels); i++)
		at += (size_t)snprintf(p->labels + at, sizeof(p->labels) - at, "%s%s", i ? "," : "",
				       host->entity->labels[i]);
	at = 0;
	for (size_t i = 0; i < host->n_properties && at < sizeof(p->properties); i++)
		at += (size_t)snprintf(p->properties + at, sizeof(p->properties) - at, "%s=%s\n",
				       host->properties[i]->key, host->properties[i]->value);
}

static struct double_process *note_process(struct agent_double *d,
					   const Skywalking__V3__EBPFHostProcessMetadata *host)
{
	struct double_process *p = NULL;

	for (size_t i = 0; i < d->n_processes; i++) {
		if (d->processes[i].pid == (uint32_t)host->pid)
			p = &d->processes[i];
	}
	if (!p && d->n_processes == DOUBLE_PROCESSES_MAX)
		return NULL;
	if (!p)
		p = &d->processes[d->n_processes++];
	p->pid = (uint32_t)host->pid;
	(void)snprintf(p->service, sizeof(p->service), "%s", host->entity->servicename);
	(void)snprintf(p->instance, sizeof(p->instance), "%s", host->entity->instancename);
	(void)snprintf(p->name, sizeof(p->name), "%s", host->entity->processname);
	(void)snprintf(p->layer, sizeof(p->layer), "%s", host->entity->layer);
	(void)snprintf(p->agent_id, sizeof(p->agent_id), "%s", d->agent_id);
	make_id(host->entity, p->id);
	note_words(p, host);
	p->reports++;
	return p;
}

static void note_ping(struct agent_double *d, const Skywalking__V3__EBPFProcessEntityMetadata *e)
{
	for (size_t i = 0; i < d->n_processes; i++) {
		struct double_process *p = &d->processes[i];

		p->pings += strcmp(p->service, e->servicename) == 0 &&
			    strcmp(p->instance, e->instancename) == 0 &&
			    strcmp(p->name, e->processname) == 0;
	}
}

/* Those before an entry of a bad layer are applied, as an OAP does. */
static enum sonde_grpc_status keep_alive(void *ctx, struct sonde_grpc_server_call *call,
					 const uint8_t *data, size_t n)
{
	struct agent_double *d = ctx;
	Skywalking__V3__EBPFProcessPingPkgList *list =
		skywalking__v3__ebpfprocess_ping_pkg_list__unpack(NULL, n, data);
	enum sonde_grpc_status status = SONDE_GRPC_OK;

	if (!list)
		return SONDE_GRPC_INVALID_ARGUMENT;
	d->keep_alives++;
	for (size_t i = 0; i < list->n_processes && status == SONDE_GRPC_OK; i++) {
		const Skywalking__V3__EBPFProcessEntityMetadata *e =
			list->processes[i]->entitymetadata;

		if (d->no_layer && strcmp(e->layer, d->no_layer) == 0)
			status = SONDE_GRPC_UNKNOWN;
		else
			note_ping(d, e);
	}
	skywalking__v3__ebpfprocess_ping_pkg_list__free_unpacked(list, NULL);
	return status;
}

static enum sonde_grpc_status report_processes(void *ctx, struct sonde_grpc_server_call *call,
					       const uint8_t *data, size_t n)
{
	struct agent_double *d = ctx;
	Skywalking__V3__EBPFReportProcessDownstream down =
		SKYWALKING__V3__EBPFREPORT_PROCESS_DOWNSTREAM__INIT;
	Skywalking__V3__EBPFProcessDownstream row[DOUBLE_PROCESSES_MAX];
	Skywalking__V3__EBPFHostProcessDownstream host[DOUBLE_PROCESSES_MAX];
	Skywalking__V3__EBPFProcessDownstream *rows[DOUBLE_PROCESSES_MAX];
	Skywalking__V3__EBPFProcessReportList *list =
		skywalking__v3__ebpfprocess_report_list__unpack(NULL, n, data);
	_cleanup_buf_ struct sonde_buf buf = SONDE_BUF_INIT(1 << 20);
	size_t k = 0;

	if (!list)
		return SONDE_GRPC_INVALID_ARGUMENT;
	(void)snprintf(d->agent_id, sizeof(d->agent_id), "%s", list->ebpfagentid);
	for (size_t i = 0; i < list->n_processes && k < DOUBLE_PROCESSES_MAX; i++) {
		struct double_process *p = note_process(d, list->processes[i]->hostprocess);

		if (!p)
			continue;
		skywalking__v3__ebpfprocess_downstream__init(&row[k]);
		skywalking__v3__ebpfhost_process_downstream__init(&host[k]);
		host[k].pid = (int32_t)p->pid;
		host[k].entitymetadata = list->processes[i]->hostprocess->entity;
		row[k].processid = p->id;
		row[k].process_case = SKYWALKING__V3__EBPFPROCESS_DOWNSTREAM__PROCESS_HOST_PROCESS;
		row[k].hostprocess = &host[k];
		rows[k] = &row[k];
		k++;
	}
	down.n_processes = k;
	down.processes = rows;
	if (sonde_wire_pack(&down.base, &buf) == 0 &&
	    sonde_grpc_server_call_send(call, buf.data ? buf.data : (const uint8_t *)"", buf.len) ==
		    0)
		sonde_grpc_server_call_finish(call, SONDE_GRPC_OK, NULL);
	skywalking__v3__ebpfprocess_report_list__free_unpacked(list, NULL);
	return SONDE_GRPC_OK;
}

/* tasks */

struct command_parts {
	Skywalking__V3__Command command;
	Skywalking__V3__KeyStringValuePair pair[8], *pairs[8];
	char update[24], start[24], duration[24];
};

static void fill_command(struct command_parts *p, struct double_command *c)
{
	static char word[] = "EBPFProfilingTaskQuery", fixed[] = "FIXED_TIME",
		    network[] = "NETWORK";
	static const char *const keys[] = {
		"TaskId",     "ProcessId",     "TaskUpdateTime",      "TriggerType",
		"TargetType", "TaskStartTime", "ExtensionConfigJSON", "FixedTriggerDuration"};
	char *target = c->target[0] ? c->target : network;
	char *values[] = {c->id,  c->processes, p->update,    fixed,
			  target, p->start,	c->extension, p->duration};

	(void)snprintf(p->update, sizeof(p->update), "%lld", (long long)c->update_ms);
	(void)snprintf(p->start, sizeof(p->start), "%lld", (long long)c->start_ms);
	(void)snprintf(p->duration, sizeof(p->duration), "%lld", (long long)c->duration_s);
	skywalking__v3__command__init(&p->command);
	for (size_t i = 0; i < ELEMENTS_OF(keys); i++) {
		union {
			const char *in;
			char *out;
		} key = {.in = keys[i]};

		skywalking__v3__key_string_value_pair__init(&p->pair[i]);
		p->pair[i].key = key.out;
		p->pair[i].value = values[i];
		p->pairs[i] = &p->pair[i];
	}
	p->command.command = word;
	p->command.n_args = ELEMENTS_OF(keys);
	p->command.args = p->pairs;
}

static enum sonde_grpc_status query_tasks(void *ctx, struct sonde_grpc_server_call *call,
					  const uint8_t *data, size_t n)
{
	struct agent_double *d = ctx;
	struct command_parts parts[DOUBLE_COMMANDS_MAX];
	Skywalking__V3__Command *pointers[DOUBLE_COMMANDS_MAX];
	Skywalking__V3__Commands commands = SKYWALKING__V3__COMMANDS__INIT;
	Skywalking__V3__EBPFProfilingTaskQuery *q =
		skywalking__v3__ebpfprofiling_task_query__unpack(NULL, n, data);

	if (!q)
		return SONDE_GRPC_INVALID_ARGUMENT;
	d->queries++;
	for (size_t i = 0; i < d->n_commands; i++) {
		if (q->latestupdatetime && d->commands[i].update_ms <= q->latestupdatetime)
			continue;
		fill_command(&parts[commands.n_commands], &d->commands[i]);
		pointers[commands.n_commands] = &parts[commands.n_commands].command;
		commands.n_commands++;
	}
	commands.commands = pointers;
	skywalking__v3__ebpfprofiling_task_query__free_unpacked(q, NULL);
	answer(call, &commands.base);
	return SONDE_GRPC_OK;
}

/* continuous profiling */

static void answer_command(struct sonde_grpc_server_call *call, const char *word, const char *key,
			   const char *value)
{
	Skywalking__V3__Commands commands = SKYWALKING__V3__COMMANDS__INIT;
	Skywalking__V3__Command command = SKYWALKING__V3__COMMAND__INIT, *list[] = {&command};
	Skywalking__V3__KeyStringValuePair pair = SKYWALKING__V3__KEY_STRING_VALUE_PAIR__INIT,
					   *pairs[] = {&pair};

	pair.key = sonde_wire_text(key);
	pair.value = sonde_wire_text(value);
	command.command = sonde_wire_text(word);
	command.n_args = 1;
	command.args = pairs;
	commands.n_commands = 1;
	commands.commands = list;
	answer(call, &commands.base);
}

static enum sonde_grpc_status query_policies(void *ctx, struct sonde_grpc_server_call *call,
					     const uint8_t *data, size_t n)
{
	struct agent_double *d = ctx;
	Skywalking__V3__ContinuousProfilingPolicyQuery *q =
		skywalking__v3__continuous_profiling_policy_query__unpack(NULL, n, data);
	bool known = false;

	if (!q)
		return SONDE_GRPC_INVALID_ARGUMENT;
	d->policy_queries++;
	for (size_t i = 0; i < q->n_policies; i++)
		known = known || !d->policies_uuid ||
			strcmp(q->policies[i]->uuid, d->policies_uuid) == 0;
	skywalking__v3__continuous_profiling_policy_query__free_unpacked(q, NULL);
	if (!d->policies[0] || known) {
		answer_nothing(ctx, call);
		return SONDE_GRPC_OK;
	}
	d->policies_told++;
	answer_command(call, "ContinuousProfilingPolicyQuery", "ServiceWithPolicyJSON",
		       d->policies);
	return SONDE_GRPC_OK;
}

static enum sonde_grpc_status report_task(void *ctx, struct sonde_grpc_server_call *call,
					  const uint8_t *data, size_t n)
{
	struct agent_double *d = ctx;
	Skywalking__V3__ContinuousProfilingReport *m =
		skywalking__v3__continuous_profiling_report__unpack(NULL, n, data);
	size_t at = 0;

	/* As an OAP: a report without its task is an error. */
	if (!m || m->target_task_case !=
			  SKYWALKING__V3__CONTINUOUS_PROFILING_REPORT__TARGET_TASK_NETWORK) {
		skywalking__v3__continuous_profiling_report__free_unpacked(m, NULL);
		return SONDE_GRPC_UNKNOWN;
	}
	d->continuous_reports++;
	for (size_t i = 0; i < m->n_causes && at < sizeof(d->continuous_causes); i++)
		at += (size_t)snprintf(d->continuous_causes + at, sizeof(d->continuous_causes) - at,
				       "%d %g %g\n", (int)m->causes[i]->type,
				       m->causes[i]->singlevalue->threshold,
				       m->causes[i]->singlevalue->current);
	skywalking__v3__continuous_profiling_report__free_unpacked(m, NULL);
	if (!d->continuous_task[0])
		return SONDE_GRPC_UNAVAILABLE;
	answer_command(call, "ContinuousProfilingReportTask", "TaskId", d->continuous_task);
	return SONDE_GRPC_OK;
}

/* meters */

static void join_labels(Skywalking__V3__Label **labels, size_t n, char dst[400], unsigned *doubled)
{
	size_t at = 0;

	dst[0] = '\0';
	for (size_t i = 0; i < n; i++) {
		at += (size_t)snprintf(dst + at, at < 400 ? 400 - at : 0, "%s%s=%s", i ? "," : "",
				       labels[i]->name, labels[i]->value);
		for (size_t k = 0; k < i; k++)
			*doubled += strcmp(labels[i]->name, labels[k]->name) == 0;
	}
}

static struct double_row *row_of(struct agent_double *d, const char *task, const char *name,
				 const char *labels)
{
	struct double_row *r;

	for (size_t i = 0; i < d->n_rows; i++) {
		r = &d->rows[i];
		if (strcmp(r->task, task) == 0 && strcmp(r->name, name) == 0 &&
		    strcmp(r->labels, labels) == 0)
			return r;
	}
	if (d->n_rows == DOUBLE_ROWS_MAX)
		return NULL;
	r = &d->rows[d->n_rows++];
	(void)snprintf(r->task, sizeof(r->task), "%s", task);
	(void)snprintf(r->name, sizeof(r->name), "%s", name);
	(void)snprintf(r->labels, sizeof(r->labels), "%s", labels);
	return r;
}

static void take_meter(struct agent_double *d, const char *task, const Skywalking__V3__MeterData *m)
{
	char labels[400];
	struct double_row *r;

	if (m->metric_case == SKYWALKING__V3__METER_DATA__METRIC_SINGLE_VALUE) {
		join_labels(m->singlevalue->labels, m->singlevalue->n_labels, labels,
			    &d->doubled_labels);
		r = row_of(d, task, m->singlevalue->name, labels);
		if (r) {
			r->sum += m->singlevalue->value;
			r->last = m->singlevalue->value;
		}
	} else if (m->metric_case == SKYWALKING__V3__METER_DATA__METRIC_HISTOGRAM) {
		join_labels(m->histogram->labels, m->histogram->n_labels, labels,
			    &d->doubled_labels);
		r = row_of(d, task, m->histogram->name, labels);
		for (size_t i = 0; r && i < m->histogram->n_values; i++) {
			const Skywalking__V3__MeterBucketValue *v = m->histogram->values[i];

			if (!v->count)
				continue;
			if (r->sum == 0 || v->bucket < r->at_least[0])
				r->at_least[0] = v->bucket;
			if (v->bucket > r->at_least[1])
				r->at_least[1] = v->bucket;
			r->sum += (double)v->count;
		}
	}
}

/* A batch is added when it is whole, so that a failed one leaves nothing. */
struct batch {
	Skywalking__V3__MeterDataCollection *c[64];
	size_t n;
};

static enum sonde_grpc_status take_collection(void *ctx, struct sonde_grpc_server_call *call,
					      const uint8_t *data, size_t n)
{
	struct batch *b = sonde_grpc_server_call_data(call);

	if (!b) {
		b = calloc(1, sizeof(*b));
		sonde_grpc_server_call_set_data(call, b);
	}
	if (!b || b->n == ELEMENTS_OF(b->c))
		return SONDE_GRPC_RESOURCE_EXHAUSTED;
	b->c[b->n] = skywalking__v3__meter_data_collection__unpack(NULL, n, data);
	if (!b->c[b->n])
		return SONDE_GRPC_INVALID_ARGUMENT;
	b->n++;
	return SONDE_GRPC_OK;
}

static bool note_id(struct agent_double *d, const char *id)
{
	for (size_t i = 0; i < d->n_report_ids; i++) {
		if (strcmp(d->report_ids[i], id) == 0) {
			d->duplicates++;
			return false;
		}
	}
	if (d->n_report_ids < DOUBLE_REPORTS_MAX)
		(void)snprintf(d->report_ids[d->n_report_ids++], 128, "%s", id);
	return true;
}

static void add_batch(struct agent_double *d, const struct batch *b, const char *id)
{
	char task[80];

	(void)snprintf(task, sizeof(task), "%.*s", (int)strcspn(id, "/"), id);
	for (size_t i = 0; i < b->n; i++) {
		d->collections++;
		for (size_t k = 0; k < b->c[i]->n_meterdata; k++) {
			const Skywalking__V3__MeterData *m = b->c[i]->meterdata[k];
			bool named = m->service[0] && m->serviceinstance[0] && m->timestamp;
			bool bare = !m->service[0] && !m->serviceinstance[0] && !m->timestamp;

			d->misplaced += k == 0 ? !named : !bare;
			take_meter(d, task, m);
		}
	}
}

static void batch_is_whole(void *ctx, struct sonde_grpc_server_call *call)
{
	struct agent_double *d = ctx;
	const struct batch *b = sonde_grpc_server_call_data(call);
	const char *id = sonde_grpc_server_call_metadata(call, "sonde-report-id");

	if (d->fail_batches) {
		d->fail_batches--;
		sonde_grpc_server_call_finish(call, SONDE_GRPC_UNAVAILABLE, "the test said so");
		return;
	}
	if (b && id && note_id(d, id))
		add_batch(d, b, id);
	answer_nothing(ctx, call);
}

static void batch_over(void *ctx, struct sonde_grpc_server_call *call)
{
	struct batch *b = sonde_grpc_server_call_data(call);

	for (size_t i = 0; b && i < b->n; i++)
		skywalking__v3__meter_data_collection__free_unpacked(b->c[i], NULL);
	free(b);
}

static enum sonde_grpc_status take_report(void *ctx, struct sonde_grpc_server_call *call,
					  const uint8_t *data, size_t n)
{
	struct agent_double *d = ctx;
	Sonde__V1__TaskReport *r = sonde__v1__task_report__unpack(NULL, n, data);

	if (!r)
		return SONDE_GRPC_INVALID_ARGUMENT;
	if (d->n_reports == DOUBLE_REPORTS_MAX) {
		sonde__v1__task_report__free_unpacked(r, NULL);
		return SONDE_GRPC_RESOURCE_EXHAUSTED;
	}
	d->reports[d->n_reports++] = r;
	return SONDE_GRPC_OK;
}

static void watch_opened(void *ctx, struct sonde_grpc_server_call *call)
{
	struct agent_double *d = ctx;

	d->watch = call;
}

static void watch_over(void *ctx, struct sonde_grpc_server_call *call)
{
	struct agent_double *d = ctx;

	if (d->watch == call)
		d->watch = NULL;
}

static enum sonde_grpc_status take_plan(void *ctx, struct sonde_grpc_server_call *call,
					const uint8_t *data, size_t n)
{
	struct agent_double *d = ctx;
	Sonde__V1__Plan *plan = sonde__v1__plan__unpack(NULL, n, data);

	if (!plan)
		return SONDE_GRPC_INVALID_ARGUMENT;
	if (d->n_plans == DOUBLE_PLANS_MAX) {
		sonde__v1__plan__free_unpacked(plan, NULL);
		return SONDE_GRPC_RESOURCE_EXHAUSTED;
	}
	d->plans[d->n_plans++] = plan;
	return SONDE_GRPC_OK;
}

int agent_double_ask(struct agent_double *d, const char *id, const char *spec)
{
	Sonde__V1__Question question = SONDE__V1__QUESTION__INIT;
	Sonde__V1__Control control = SONDE__V1__CONTROL__INIT;
	uint8_t data[4096];

	question.id = sonde_wire_text(id);
	question.spec = sonde_wire_text(spec);
	control.action_case = SONDE__V1__CONTROL__ACTION_QUESTION;
	control.question = &question;
	if (!d->watch || sonde__v1__control__get_packed_size(&control) > sizeof(data))
		return -EINVAL;
	return sonde_grpc_server_call_send(d->watch, data,
					   sonde__v1__control__pack(&control, data));
}

const Sonde__V1__Plan *agent_double_plan(const struct agent_double *d, const char *id)
{
	for (size_t i = 0; i < d->n_plans; i++) {
		if (strcmp(d->plans[i]->question, id) == 0)
			return d->plans[i];
	}
	return NULL;
}

static const struct sonde_grpc_method methods[] = {
	{.path = "/skywalking.v3.ManagementService/reportInstanceProperties",
	 .on_half_close = answer_nothing},
	{.path = "/skywalking.v3.ManagementService/keepAlive", .on_half_close = answer_nothing},
	{.path = "/skywalking.v3.EBPFProcessService/reportProcesses",
	 .on_message = report_processes},
	{.path = "/skywalking.v3.EBPFProcessService/keepAlive",
	 .on_message = keep_alive,
	 .on_half_close = answer_nothing},
	{.path = "/skywalking.v3.EBPFProfilingService/queryTasks", .on_message = query_tasks},
	{.path = "/skywalking.v3.ContinuousProfilingService/queryPolicies",
	 .on_message = query_policies},
	{.path = "/skywalking.v3.ContinuousProfilingService/reportProfilingTask",
	 .on_message = report_task},
	{.path = "/skywalking.v3.MeterReportService/collectBatch",
	 .on_message = take_collection,
	 .on_half_close = batch_is_whole,
	 .on_close = batch_over},
	{.path = "/sonde.v1.TaskReportService/report",
	 .on_message = take_report,
	 .on_half_close = answer_report},
	{.path = "/sonde.v1.TaskControlService/watch",
	 .on_half_close = watch_opened,
	 .on_close = watch_over},
	{.path = "/sonde.v1.TaskControlService/answer",
	 .on_message = take_plan,
	 .on_half_close = answer_nothing},
	{0},
};

int agent_double_start(struct agent_double *d, sd_event *event, bool extension, uint16_t port)
{
	const struct sonde_grpc_server_config config = {
		.address = "127.0.0.1",
		.port = port,
		.max_message_bytes = 8 << 20,
		.max_connections = 4,
		.max_streams = 64,
		.extension = extension,
	};
	int r;

	d->event = event;
	d->extension = extension;
	if (!d->rows)
		d->rows = calloc(DOUBLE_ROWS_MAX, sizeof(d->rows[0]));
	if (!d->rows)
		return -ENOMEM;
	r = sonde_grpc_server_new(event, &config, methods, d, &d->server);
	if (r == 0)
		d->port = sonde_grpc_server_port(d->server);
	return r;
}

void agent_double_stop(struct agent_double *d)
{
	d->server = sonde_grpc_server_free(d->server);
	d->watch = NULL;
}

void agent_double_done(struct agent_double *d)
{
	agent_double_stop(d);
	for (size_t i = 0; i < d->n_reports; i++)
		sonde__v1__task_report__free_unpacked(d->reports[i], NULL);
	for (size_t i = 0; i < d->n_plans; i++)
		sonde__v1__plan__free_unpacked(d->plans[i], NULL);
	free(d->rows);
	*d = (struct agent_double){0};
}

bool agent_double_run(struct agent_double *d, bool (*done)(struct agent_double *d, void *arg),
		      void *arg, unsigned timeout_ms)
{
	uint64_t until = sonde_mono_ns() + timeout_ms * SONDE_NS_PER_MS;

	while (!done(d, arg)) {
		if (sonde_mono_ns() > until)
			return false;
		if (sd_event_run(d->event, 20000) < 0)
			return false;
	}
	return true;
}

const struct double_row *agent_double_row(const struct agent_double *d, const char *task,
					  const char *name, const char *label)
{
	for (size_t i = 0; i < d->n_rows; i++) {
		if (strcmp(d->rows[i].task, task) == 0 && strcmp(d->rows[i].name, name) == 0 &&
		    (!label || strstr(d->rows[i].labels, label)))
			return &d->rows[i];
	}
	return NULL;
}

double agent_double_sum(const struct agent_double *d, const char *task, const char *name,
			const char *label)
{
	double sum = 0;

	for (size_t i = 0; i < d->n_rows; i++) {
		if (strcmp(d->rows[i].task, task) == 0 && strcmp(d->rows[i].name, name) == 0 &&
		    (!label || strstr(d->rows[i].labels, label)))
			sum += d->rows[i].sum;
	}
	return sum;
}

const Sonde__V1__TaskReport *agent_double_report(const struct agent_double *d, const char *task)
{
	for (size_t i = d->n_reports; i > 0; i--) {
		if (strcmp(d->reports[i - 1]->task_id, task) == 0)
			return d->reports[i - 1];
	}
	return NULL;
}

const struct double_process *agent_double_process(const struct agent_double *d, uint32_t pid)
{
	for (size_t i = 0; i < d->n_processes; i++) {
		if (d->processes[i].pid == pid)
			return &d->processes[i];
	}
	return NULL;
}
