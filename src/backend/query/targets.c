/* SPDX-License-Identifier: Apache-2.0 */
/* Targets: the processes that agents registered, whether each can be profiled, and its last task. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backend/hash.h"
#include "backend/json.h"
#include "backend/query/views.h"

/* The newest task that had a process among its targets. */
struct last {
	const struct sonde_task *task; /* borrowed */
	UT_hash_handle hh;
	char process_id[SONDE_MAL_PROCESS_ID_SIZE];
};

static int note_task(struct last **index, const struct sonde_task *t, const char *process_id)
{
	struct last *l;

	if (process_id[0] == '\0' || strlen(process_id) >= sizeof(l->process_id))
		return 0;
	HASH_FIND_STR(*index, process_id, l);
	if (!l) {
		l = calloc(1, sizeof(*l));
		if (!l)
			return -ENOMEM;
		memcpy(l->process_id, process_id, strlen(process_id) + 1);
		HASH_ADD_STR(*index, process_id, l);
		if (!SONDE_HASH_ADDED(l)) {
			free(l);
			return -ENOMEM;
		}
	}
	l->task = t;
	return 0;
}

/* The table is oldest first, so the newest stays. */
static int index_tasks(struct sonde_backend *b, struct last **ret)
{
	int r = 0;

	for (struct sonde_task *t = sonde_task_table_first(b->tasks); t; t = t->hh.next) {
		for (size_t i = 0; i < t->n_agents; i++) {
			const json_t *targets = t->agents[i]->targets;

			for (size_t k = 0; k < json_array_size(targets) && r == 0; k++)
				r = note_task(ret, t,
					      sonde_json_get_text(json_array_get(targets, k),
								  "process_id", ""));
		}
	}
	return r;
}

static void free_index(struct last **index)
{
	struct last *l, *next;

	HASH_ITER (hh, *index, l, next) {
		HASH_DEL(*index, l);
		free(l);
	}
}

static json_t *last_task_json(struct last *index, const char *process_id)
{
	const struct sonde_task *t;
	struct last *l;

	HASH_FIND_STR(index, process_id, l);
	if (!l)
		return json_null();
	t = l->task;
	return json_pack("{s:s, s:s, s:s, s:s, s:o, s:o}", "id", t->spec->id, "name", t->spec->name,
			 "preset", t->spec->preset, "state", sonde_task_state_name(t->state),
			 "created", sonde_json_time(t->created_ms), "ended",
			 sonde_json_time(t->ended_ms));
}

/* Why a task for it would be refused, as far as the server knows; NULL: it would not. */
static const char *why_not(const struct sonde_process *p, int64_t now_ms)
{
	const char *problem = sonde_json_get_text(p->agent->properties, "problem", "");

	if (sonde_agent_replaced(p->agent))
		return "another agent has taken the place of its agent";
	if (!sonde_agent_live(p->agent, now_ms))
		return "its agent is not connected";
	if (!sonde_process_live(p, now_ms))
		return "its agent has not reported it for a minute: it may have ended";
	return problem[0] ? problem : NULL;
}

static json_t *row_json(const struct sonde_process *p, struct last *index, int64_t now_ms)
{
	static const char *const command[] = {"command_line", "cmdline", NULL};
	static const char *const host[] = {"host", "host_name", "hostname", "host_ip", NULL};
	const json_t *properties = json_object_get(p->doc, "properties");
	/* the name that agents have too: of a process an agent may tell an address alone */
	const char *agent_host = sonde_view_agent_host(p->agent);
	const char *reason = why_not(p, now_ms);

	return json_pack(
		"{s:s, s:s, s:s, s:s, s:s, s:i, s:s, s:s, s:s, s:o, s:b, s:b, s:b, s:o, s:o}",
		"process_id", p->process_id, "service", p->service, "instance", p->instance,
		"process", p->name, "layer", sonde_json_get_text(p->doc, "layer", ""), "pid",
		p->pid, "agent_id", p->agent->id, "host",
		agent_host[0] ? agent_host : sonde_view_property(properties, host), "command_line",
		sonde_view_property(properties, command), "last_seen",
		sonde_json_time(p->last_seen_ms), "live", (int)sonde_process_live(p, now_ms),
		"agent_connected", (int)sonde_agent_live(p->agent, now_ms), "profilable",
		(int)!reason, "why_not", sonde_json_text_or_null(reason), "last_task",
		last_task_json(index, p->process_id));
}

json_t *sonde_view_targets(struct sonde_backend *b, int64_t now_ms)
{
	_cleanup_(free_index) struct last *index = NULL;
	_cleanup_json_ json_t *list = json_array();

	if (index_tasks(b, &index) < 0)
		return NULL;
	for (struct sonde_process *p = sonde_registry_processes(b->registry); list && p;
	     p = p->hh.next) {
		if (sonde_json_append(list, row_json(p, index, now_ms)) < 0)
			return NULL;
	}
	return json_pack("{s:O}", "targets", list);
}
