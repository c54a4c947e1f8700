/* SPDX-License-Identifier: Apache-2.0 */
/* ManagementService and EBPFProcessService: who is there. */
#include <errno.h>
#include <string.h>

#include "backend/json.h"
#include "backend/services/services.h"
#include "base/clock.h"
#include "skywalking/v3/management.pb-c.h"
#include "skywalking/v3/process.pb-c.h"

#define PROPERTIES_MAX 64
#define LABELS_MAX 64
#define VALUE_MAX 4096 /* bytes of a property that are kept; a command line may be longer */

static void answer_commands(struct sonde_grpc_server_call *call)
{
	const Skywalking__V3__Commands none = SKYWALKING__V3__COMMANDS__INIT;

	sonde_services_answer(call, &none.base);
}

/* Values are cut, keys are not: one that is too long is left out. */
static json_t *convert_properties(Skywalking__V3__KeyStringValuePair **list, size_t n)
{
	json_t *o = json_object();

	for (size_t i = 0; o && i < n && i < PROPERTIES_MAX; i++) {
		_cleanup_free_ char *cut = strndup(list[i]->value, VALUE_MAX);
		_cleanup_json_ json_t *key = sonde_json_text(list[i]->key);

		if (!cut || !key || json_string_length(key) == 0 || json_string_length(key) > 128)
			continue;
		(void)json_object_set_new(o, json_string_value(key), sonde_json_text(cut));
	}
	return o;
}

static const char *property(const json_t *properties, const char *a, const char *b)
{
	const char *text = sonde_json_get_text(properties, a, NULL);

	return text ? text : sonde_json_get_text(properties, b, "");
}

/*
 * An instance's properties belong to an agent if they say which: `agent_id` (or ebpf_agent_id). Anybody's
 * else are accepted, as OAP does, and mean nothing here.
 */
enum sonde_grpc_status sonde_services_instance_properties(void *ctx,
							  struct sonde_grpc_server_call *call,
							  const uint8_t *data, size_t n)
{
	Skywalking__V3__InstanceProperties *m =
		sonde_services_unpack(&skywalking__v3__instance_properties__descriptor, data, n);
	_cleanup_json_ json_t *properties = NULL;
	struct sonde_backend *b = ctx;
	struct sonde_agent *agent;
	const char *id;

	if (!m)
		return sonde_services_fail(call, SONDE_GRPC_INVALID_ARGUMENT,
					   "not an InstanceProperties");
	properties = convert_properties(m->properties, m->n_properties);
	id = property(properties, "agent_id", "ebpf_agent_id");
	if (id[0] != '\0' &&
	    sonde_registry_see_agent(b->registry, id, sonde_wall_ms(), &agent) == 0) {
		json_decref(agent->properties);
		agent->properties = TAKE_PTR(properties);
		agent->stored_ms = 0;
		sonde_registry_replace(b->registry, agent, sonde_wall_ms());
	}
	(void)sonde_wire_free(&m->base);
	answer_commands(call);
	return SONDE_GRPC_OK;
}

enum sonde_grpc_status sonde_services_instance_ping(void *ctx, struct sonde_grpc_server_call *call,
						    const uint8_t *data, size_t n)
{
	Skywalking__V3__InstancePingPkg *m =
		sonde_services_unpack(&skywalking__v3__instance_ping_pkg__descriptor, data, n);

	if (!m)
		return sonde_services_fail(call, SONDE_GRPC_INVALID_ARGUMENT,
					   "not an InstancePingPkg");
	(void)sonde_wire_free(&m->base);
	answer_commands(call);
	return SONDE_GRPC_OK;
}

/* The two kinds of process have the same fields. */
struct one_process {
	Skywalking__V3__EBPFProcessEntityMetadata *entity;
	int32_t pid;
	Skywalking__V3__KeyStringValuePair **properties;
	size_t n_properties;
	bool kubernetes;
};

static bool get_process(const Skywalking__V3__EBPFProcessProperties *p, struct one_process *ret)
{
	if (p->metadata_case == SKYWALKING__V3__EBPFPROCESS_PROPERTIES__METADATA_HOST_PROCESS)
		*ret = (struct one_process){p->hostprocess->entity, p->hostprocess->pid,
					    p->hostprocess->properties,
					    p->hostprocess->n_properties, false};
	else if (p->metadata_case == SKYWALKING__V3__EBPFPROCESS_PROPERTIES__METADATA_K8S_PROCESS)
		*ret = (struct one_process){p->k8sprocess->entity, p->k8sprocess->pid,
					    p->k8sprocess->properties, p->k8sprocess->n_properties,
					    true};
	else
		return false;
	return ret->entity != NULL;
}

static json_t *convert_labels(const Skywalking__V3__EBPFProcessEntityMetadata *e)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < e->n_labels && i < LABELS_MAX; i++)
		(void)json_array_append_new(list, sonde_json_text(e->labels[i]));
	return list;
}

static int report_one(struct sonde_backend *b, struct sonde_agent *agent,
		      const struct one_process *in, const struct sonde_process **ret)
{
	_cleanup_json_ json_t *labels = convert_labels(in->entity);
	_cleanup_json_ json_t *properties = convert_properties(in->properties, in->n_properties);
	const struct sonde_process_report report = {
		.layer = in->entity->layer,
		.service = in->entity->servicename,
		.instance = in->entity->instancename,
		.name = in->entity->processname,
		.pid = in->pid,
		.kubernetes = in->kubernetes,
		.labels = labels,
		.properties = properties,
	};

	if (!labels || !properties)
		return -ENOMEM;
	return sonde_registry_report(b->registry, agent, &report, sonde_wall_ms(), ret);
}

/* An agent reports a process again only after minutes: it must not be lost with us. */
static enum sonde_grpc_status answer_when_stored(struct sonde_backend *b,
						 struct sonde_grpc_server_call *call,
						 const ProtobufCMessage *answer)
{
	struct sonde_deferred *d = sonde_deferred_new(call);

	if (!d || sonde_deferred_hold(d, answer) < 0)
		return sonde_services_fail(call, SONDE_GRPC_RESOURCE_EXHAUSTED, "out of memory");
	if (sonde_registry_store(b->registry, sonde_deferred_on_stored, d) < 0)
		sonde_deferred_finish(d, SONDE_GRPC_UNAVAILABLE,
				      "the server is busy, send it again");
	return SONDE_GRPC_OK;
}

/* One downstream a process, echoing pid and the entity as it was sent: the agent finds it by those. */
static enum sonde_grpc_status answer_processes(struct sonde_backend *b, struct sonde_agent *agent,
					       struct sonde_grpc_server_call *call,
					       const Skywalking__V3__EBPFProcessReportList *m)
{
	struct row {
		Skywalking__V3__EBPFProcessDownstream down;
		Skywalking__V3__EBPFHostProcessDownstream host;
		Skywalking__V3__EBPFKubernetesProcessDownstream k8s;
	};
	Skywalking__V3__EBPFReportProcessDownstream answer =
		SKYWALKING__V3__EBPFREPORT_PROCESS_DOWNSTREAM__INIT;
	_cleanup_free_ struct row *rows = calloc(m->n_processes + 1, sizeof(*rows));
	_cleanup_free_ Skywalking__V3__EBPFProcessDownstream **list =
		calloc(m->n_processes + 1, sizeof(Skywalking__V3__EBPFProcessDownstream *));
	size_t n = 0, refused = 0;

	if (!rows || !list)
		return sonde_services_fail(call, SONDE_GRPC_RESOURCE_EXHAUSTED, "out of memory");
	for (size_t i = 0; i < m->n_processes; i++) {
		const struct sonde_process *known;
		struct row *row = &rows[n];
		struct one_process p;

		/* OAP skips what has no process in it; so do we. A name that cannot be is refused the same way. */
		if (!get_process(m->processes[i], &p))
			continue;
		if (report_one(b, agent, &p, &known) < 0) {
			refused++;
			continue;
		}
		sonde_task_table_process_came(b->tasks, known, sonde_wall_ms());
		skywalking__v3__ebpfprocess_downstream__init(&row->down);
		skywalking__v3__ebpfhost_process_downstream__init(&row->host);
		skywalking__v3__ebpfkubernetes_process_downstream__init(&row->k8s);
		row->down.processid = (char *)known->process_id;
		row->host.pid = row->k8s.pid = p.pid;
		row->host.entitymetadata = row->k8s.entitymetadata = p.entity;
		if (p.kubernetes) {
			row->down.process_case =
				SKYWALKING__V3__EBPFPROCESS_DOWNSTREAM__PROCESS_K8S_PROCESS;
			row->down.k8sprocess = &row->k8s;
		} else {
			row->down.process_case =
				SKYWALKING__V3__EBPFPROCESS_DOWNSTREAM__PROCESS_HOST_PROCESS;
			row->down.hostprocess = &row->host;
		}
		list[n++] = &row->down;
	}
	if (n == 0 && refused > 0)
		return sonde_services_fail(
			call, SONDE_GRPC_INVALID_ARGUMENT,
			"no process was taken: service, instance and process name must be 1 to %d bytes",
			SONDE_REGISTRY_NAME_MAX - 1);
	answer.processes = list;
	answer.n_processes = n;
	return answer_when_stored(b, call, &answer.base);
}

static enum sonde_grpc_status see(struct sonde_backend *b, struct sonde_grpc_server_call *call,
				  const char *agent_id, struct sonde_agent **ret)
{
	int r = sonde_registry_see_agent(b->registry, agent_id, sonde_wall_ms(), ret);

	if (r == -EINVAL)
		return sonde_services_fail(call, SONDE_GRPC_INVALID_ARGUMENT,
					   "the agent id must be 1 to %d bytes",
					   SONDE_SPEC_TEXT_MAX - 1);
	if (r < 0)
		return sonde_services_fail(call, SONDE_GRPC_RESOURCE_EXHAUSTED,
					   "no room for another agent");
	return SONDE_GRPC_OK;
}

enum sonde_grpc_status sonde_services_report_processes(void *ctx,
						       struct sonde_grpc_server_call *call,
						       const uint8_t *data, size_t n)
{
	Skywalking__V3__EBPFProcessReportList *m = sonde_services_unpack(
		&skywalking__v3__ebpfprocess_report_list__descriptor, data, n);
	enum sonde_grpc_status status;
	struct sonde_agent *agent;

	if (!m)
		return sonde_services_fail(call, SONDE_GRPC_INVALID_ARGUMENT,
					   "not an EBPFProcessReportList");
	status = see(ctx, call, m->ebpfagentid, &agent);
	if (status == SONDE_GRPC_OK && m->n_processes > SONDE_SERVICES_LIST_MAX)
		status = sonde_services_fail(call, SONDE_GRPC_RESOURCE_EXHAUSTED,
					     "more than %d processes", SONDE_SERVICES_LIST_MAX);
	if (status == SONDE_GRPC_OK)
		status = answer_processes(ctx, agent, call, m);
	(void)sonde_wire_free(&m->base);
	return status;
}

enum sonde_grpc_status sonde_services_process_ping(void *ctx, struct sonde_grpc_server_call *call,
						   const uint8_t *data, size_t n)
{
	Skywalking__V3__EBPFProcessPingPkgList *m = sonde_services_unpack(
		&skywalking__v3__ebpfprocess_ping_pkg_list__descriptor, data, n);
	enum sonde_grpc_status status;
	struct sonde_backend *b = ctx;
	struct sonde_agent *agent;

	if (!m)
		return sonde_services_fail(call, SONDE_GRPC_INVALID_ARGUMENT,
					   "not an EBPFProcessPingPkgList");
	status = see(b, call, m->ebpfagentid, &agent);
	if (status == SONDE_GRPC_OK && m->n_processes > SONDE_SERVICES_LIST_MAX)
		status = sonde_services_fail(call, SONDE_GRPC_RESOURCE_EXHAUSTED,
					     "more than %d processes", SONDE_SERVICES_LIST_MAX);
	for (size_t i = 0; status == SONDE_GRPC_OK && i < m->n_processes; i++) {
		const Skywalking__V3__EBPFProcessEntityMetadata *e =
			m->processes[i]->entitymetadata;

		/* One that we do not know (a new database) comes with the agent's next full report. */
		if (e)
			(void)sonde_registry_ping(b->registry, agent, e->servicename,
						  e->instancename, e->processname, sonde_wall_ms());
	}
	(void)sonde_wire_free(&m->base);
	if (status == SONDE_GRPC_OK)
		answer_commands(call);
	return status;
}
