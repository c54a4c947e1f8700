/* SPDX-License-Identifier: Apache-2.0 */
/* EBPFProfilingService: hands out tasks in SkyWalking's command, our whole spec in its extension member. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "backend/json.h"
#include "backend/services/services.h"
#include "backend/store/ids.h"
#include "base/buf.h"
#include "base/clock.h"
#include "skywalking/v3/profile.pb-c.h"

#define COMMANDS_MAX 64 /* in one answer; the rest follows with the next query */
#define ARGS 9
#define IDS_BYTES_MAX (1U << 20)

struct command {
	Skywalking__V3__Command message;
	Skywalking__V3__KeyStringValuePair pair[ARGS], *args[ARGS];
	char serial[37], update[24], start[24], seconds[24];
	char *ids, *extension; /* owned */
};

struct answer {
	struct sonde_backend *backend;
	const char *agent_id;
	struct command *command[COMMANDS_MAX]; /* owned */
	size_t n;
};

static void answer_done(struct answer *a)
{
	for (size_t i = 0; i < a->n; i++) {
		free(a->command[i]->ids);
		free(a->command[i]->extension);
		free(a->command[i]);
	}
}

static bool concerned(const struct sonde_task *t, const struct sonde_process *p)
{
	for (size_t i = 0; i < t->spec->n_targets; i++) {
		if (sonde_process_matches(p, &t->spec->targets[i]))
			return true;
	}
	return false;
}

/* Ids of this agent's processes that the task names, each once, comma-joined. */
static char *process_ids(struct answer *a, const struct sonde_task *t)
{
	_cleanup_buf_ struct sonde_buf ids = SONDE_BUF_INIT(IDS_BYTES_MAX);

	for (struct sonde_process *p = sonde_registry_processes(a->backend->registry); p;
	     p = p->hh.next) {
		if (strcmp(p->agent->id, a->agent_id) != 0 || !concerned(t, p) ||
		    strstr(sonde_buf_str(&ids), p->process_id))
			continue;
		if (sonde_buf_printf(&ids, "%s%s", ids.len ? "," : "", p->process_id) < 0)
			break;
	}
	return strdup(sonde_buf_str(&ids));
}

static char *extension(struct answer *a, const struct sonde_task *t)
{
	struct sonde_task_share share = {a->backend->tasks, t, a->agent_id};
	_cleanup_json_ json_t *spec = sonde_spec_json(t->spec, sonde_task_share_keeps, &share);
	_cleanup_json_ json_t *o = spec ? json_pack("{s:O}", "Sonde", spec) : NULL;

	return o ? json_dumps(o, JSON_COMPACT) : NULL;
}

/* Keys and their order as SkyWalking's EBPFProfilingTaskCommand has them. */
static int add_command(void *ctx, struct sonde_task *t, struct sonde_task_agent *agent)
{
	int64_t start = t->spec->start_wall_ms > 0 ? t->spec->start_wall_ms : t->created_ms;
	struct answer *a = ctx;
	struct command *c;

	if (a->n == COMMANDS_MAX)
		return 1;
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	a->command[a->n++] = c;
	c->ids = process_ids(a, t);
	c->extension = extension(a, t);
	if (!c->ids || !c->extension || sonde_id_uuid(c->serial) < 0)
		return -ENOMEM;
	(void)snprintf(c->update, sizeof(c->update), "%" PRId64, agent->update_ms);
	(void)snprintf(c->start, sizeof(c->start), "%" PRId64, start);
	(void)snprintf(c->seconds, sizeof(c->seconds), "%" PRId64,
		       (t->spec->duration_ms + 999) / 1000);

	const char *const pairs[ARGS][2] = {
		{"SerialNumber", c->serial},
		{"TaskId", t->spec->id},
		{"ProcessId", c->ids},
		{"TaskUpdateTime", c->update},
		{"TriggerType", "FIXED_TIME"},
		{"TargetType", "NETWORK"},
		{"TaskStartTime", c->start},
		{"ExtensionConfigJSON", c->extension},
		{"FixedTriggerDuration", c->seconds},
	};
	skywalking__v3__command__init(&c->message);
	c->message.command = (char *)"EBPFProfilingTaskQuery";
	for (size_t i = 0; i < ARGS; i++) {
		skywalking__v3__key_string_value_pair__init(&c->pair[i]);
		c->pair[i].key = (char *)pairs[i][0];
		c->pair[i].value = (char *)pairs[i][1];
		c->args[i] = &c->pair[i];
	}
	c->message.args = c->args;
	c->message.n_args = ARGS;
	return 0;
}

static enum sonde_grpc_status answer_query(struct sonde_backend *b,
					   struct sonde_grpc_server_call *call,
					   const Skywalking__V3__EBPFProfilingTaskQuery *m)
{
	_cleanup_(answer_done) struct answer a = {.backend = b, .agent_id = m->roverinstanceid};
	Skywalking__V3__Commands message = SKYWALKING__V3__COMMANDS__INIT;
	Skywalking__V3__Command *list[COMMANDS_MAX];
	struct sonde_agent *agent;
	int r;

	r = sonde_registry_see_agent(b->registry, m->roverinstanceid, sonde_wall_ms(), &agent);
	if (r == -EINVAL)
		return sonde_services_fail(call, SONDE_GRPC_INVALID_ARGUMENT,
					   "roverInstanceId: must be 1 to 255 bytes");
	if (r < 0)
		return sonde_services_fail(call, SONDE_GRPC_RESOURCE_EXHAUSTED,
					   "no room for another agent");
	r = sonde_task_table_hand_out(b->tasks, m->roverinstanceid, m->latestupdatetime,
				      sonde_wall_ms(), add_command, &a);
	if (r < 0)
		return sonde_services_fail(call, SONDE_GRPC_RESOURCE_EXHAUSTED, "out of memory");
	for (size_t i = 0; i < a.n; i++)
		list[i] = &a.command[i]->message;
	message.commands = list;
	message.n_commands = a.n;
	sonde_services_answer(call, &message.base);
	return SONDE_GRPC_OK;
}

enum sonde_grpc_status sonde_services_query_tasks(void *ctx, struct sonde_grpc_server_call *call,
						  const uint8_t *data, size_t n)
{
	Skywalking__V3__EBPFProfilingTaskQuery *m = sonde_services_unpack(
		&skywalking__v3__ebpfprofiling_task_query__descriptor, data, n);
	enum sonde_grpc_status status;

	if (!m)
		return sonde_services_fail(call, SONDE_GRPC_INVALID_ARGUMENT,
					   "not an EBPFProfilingTaskQuery");
	status = answer_query(ctx, call, m);
	(void)sonde_wire_free(&m->base);
	return status;
}
