/* SPDX-License-Identifier: Apache-2.0 */
/* TaskReportService: what an agent says about its part of a task, kept as the REST contract shows it. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "backend/json.h"
#include "backend/services/flows.h"
#include "backend/services/lists.h"
#include "backend/services/services.h"
#include "base/clock.h"
#include "base/log.h"
#include "sonde/v1/task.pb-c.h"

#define TARGETS_MAX 4096 /* forked ones are listed too */
#define NAMESPACES_MAX 64
/*
 * protobuf-c takes a slab for each message of more than 16 fields, which the bound counts as well: a connection of 60
 * bytes costs 1,700.
 */
#define FLOWS_ALLOC_BYTES (4UL << 20)
#define LIST_MAX 512 /* probes, ledger, programs, absent meters, state changes */

static json_t *target_json(const Sonde__V1__TaskReport *m, const Sonde__V1__TargetState *target)
{
	_cleanup_json_ json_t *o = sonde_target_json(target);

	if (!o || sonde_json_set(o, "since", sonde_json_time(target->since_wall_ms)) < 0 ||
	    sonde_json_set(o, "agent_id", sonde_json_text(m->agent_id)) < 0)
		return NULL;
	return TAKE_PTR(o);
}

static json_t *targets_json(const Sonde__V1__TaskReport *m)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < m->n_targets; i++)
		(void)json_array_append_new(list, target_json(m, m->targets[i]));
	return list;
}

static json_t *probes_json(const Sonde__V1__TaskReport *m)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < m->n_probes; i++) {
		const Sonde__V1__ProbeState *p = m->probes[i];

		(void)json_array_append_new(
			list,
			json_pack("{s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:I}", "agent_id",
				  sonde_json_text(m->agent_id), "name", sonde_json_text(p->name),
				  "metrics", sonde_json_text(p->metrics), "state",
				  sonde_json_text(p->state), "reason", sonde_json_text(p->reason),
				  "open_ns", (json_int_t)p->open_ns, "load_ns",
				  (json_int_t)p->load_ns, "attach_ns", (json_int_t)p->attach_ns,
				  "detach_ns", (json_int_t)p->detach_ns));
	}
	return list;
}

static const json_t *find_site(const json_t *ledger, const char *site)
{
	for (size_t i = 0; i < json_array_size(ledger); i++) {
		const json_t *e = json_array_get(ledger, i);

		if (strcmp(sonde_json_get_text(e, "site", ""), site) == 0)
			return e;
	}
	return NULL;
}

/* Counts are of the whole task, so one that has grown was hit within this report's window. */
static json_t *entry_json(const Sonde__V1__TaskReport *m, const Sonde__V1__LedgerEntry *e,
			  const json_t *before)
{
	json_int_t count = sonde_json_count(e->count);
	bool grew = !before || count > sonde_json_get_int(before, "count", 0);
	json_t *first = before ? json_incref(json_object_get(before, "first_seen"))
			       : sonde_json_time(m->window_start_wall_ms);
	json_t *last = grew ? sonde_json_time(m->window_end_wall_ms)
			    : json_incref(json_object_get(before, "last_seen"));

	return json_pack("{s:o, s:o, s:I, s:b, s:o, s:o, s:o}", "agent_id",
			 sonde_json_text(m->agent_id), "site", sonde_json_text(e->site), "count",
			 count, "weakens", (int)e->weakens, "words", sonde_json_text(e->words),
			 "first_seen", first ? first : json_null(), "last_seen",
			 last ? last : json_null());
}

static json_t *ledger_json(const Sonde__V1__TaskReport *m, const json_t *before)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < m->n_ledger; i++)
		(void)json_array_append_new(
			list, entry_json(m, m->ledger[i], find_site(before, m->ledger[i]->site)));
	return list;
}

static json_t *counters_json(const Sonde__V1__NamespaceCounters *m)
{
	json_t *o = json_object();

	for (size_t i = 0; o && i < m->n_counters; i++) {
		const Sonde__V1__NetCounter *c = m->counters[i];

		/* a name that is no text is left out */
		(void)json_object_set_new(o, c->name,
					  json_pack("{s:I, s:I}", "total",
						    sonde_json_count(c->total), "interval",
						    sonde_json_count(c->interval)));
	}
	return o;
}

static json_t *namespaces_json(const Sonde__V1__TaskReport *m)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < m->n_namespaces; i++) {
		const Sonde__V1__NamespaceCounters *ns = m->namespaces[i];
		json_t *pids = json_array();

		for (size_t k = 0; pids && k < ns->n_pids; k++)
			(void)json_array_append_new(pids, json_integer(ns->pids[k]));
		(void)json_array_append_new(list, json_pack("{s:o, s:b, s:o, s:I, s:o}", "agent_id",
							    sonde_json_text(m->agent_id), "host",
							    (int)ns->host, "pids", pids, "targets",
							    (json_int_t)ns->targets, "counters",
							    counters_json(ns)));
	}
	return list;
}

static json_t *cost_json(const Sonde__V1__Cost *c)
{
	json_t *programs;

	if (!c)
		return NULL;
	programs = json_array();
	for (size_t i = 0; programs && i < c->n_programs && i < LIST_MAX; i++) {
		const Sonde__V1__ProgramCost *p = c->programs[i];

		(void)json_array_append_new(
			programs,
			json_pack("{s:o, s:I, s:I, s:I, s:I, s:I}", "name",
				  sonde_json_text(p->name), "runs", sonde_json_count(p->runs),
				  "sampled_ns_per_run", sonde_json_count(p->sampled_ns_per_run),
				  "hook_ns_per_run", sonde_json_count(p->hook_ns_per_run),
				  "sampled_runs", sonde_json_count(p->sampled_runs),
				  "discarded_runs", sonde_json_count(p->discarded_runs)));
	}
	return json_pack("{s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "programs",
			 programs, "bpf_estimated_ns", sonde_json_count(c->bpf_estimated_ns),
			 "agent_cpu_ns", sonde_json_count(c->agent_cpu_ns), "probe_cpu_ns",
			 sonde_json_count(c->probe_cpu_ns), "agent_rss_anon_bytes",
			 sonde_json_count(c->agent_rss_anon_bytes), "probe_rss_anon_bytes",
			 sonde_json_count(c->probe_rss_anon_bytes), "map_bytes",
			 sonde_json_count(c->map_bytes), "reports", sonde_json_count(c->reports),
			 "report_bytes", sonde_json_count(c->report_bytes),
			 "report_bytes_compressed", sonde_json_count(c->report_bytes_compressed),
			 "encoding", sonde_json_text(c->encoding));
}

static json_t *idle_json(const Sonde__V1__IdleProof *p)
{
	if (!p)
		return NULL;
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:b, s:I}", "programs", (json_int_t)p->programs,
			 "maps", (json_int_t)p->maps, "links", (json_int_t)p->links, "bpf_fds_left",
			 (json_int_t)p->bpf_fds_left, "ids_alive", (json_int_t)p->ids_alive,
			 "ids_asked", (int)p->ids_asked, "wait_ns", sonde_json_count(p->wait_ns));
}

/* NULL (nothing said, or no memory) leaves what was there. */
static void replace(json_t **slot, json_t *fresh)
{
	if (!fresh)
		return;
	json_decref(*slot);
	*slot = fresh;
}

/* A cost without programs has no news of them. */
static void replace_cost(json_t **slot, json_t *fresh)
{
	if (fresh && json_array_size(json_object_get(fresh, "programs")) == 0)
		(void)json_object_set(fresh, "programs", json_object_get(*slot, "programs"));
	replace(slot, fresh);
}

/* The ledger's entries of 0 are left out, so an empty one is news; of the other lists an empty one means unchanged. */
static void take_lists(struct sonde_task_agent *a, const Sonde__V1__TaskReport *m)
{
	if (m->n_targets || !a->targets)
		replace(&a->targets, targets_json(m));
	if (m->n_probes || !a->probes)
		replace(&a->probes, probes_json(m));
	replace(&a->ledger, ledger_json(m, a->ledger));
	if (m->n_absent || !a->absent)
		replace(&a->absent, sonde_absent_json(m->absent, m->n_absent));
	if (m->n_namespaces)
		replace(&a->namespaces, namespaces_json(m));
	replace_cost(&a->cost, cost_json(m->cost));
	replace(&a->idle_proof, idle_json(m->idle_proof));
}

static void take_states(struct sonde_task *t, struct sonde_task_agent *a,
			const Sonde__V1__TaskReport *m, int64_t now_ms)
{
	enum sonde_task_state before = t->state, state;

	if (m->end) /* before the states: the last of them is the end */
		(void)snprintf(a->reason_code, sizeof(a->reason_code), "%s", m->reason_code);
	/* It was only cut off, and has nothing new to say of its state. */
	if (a->inferred && sonde_task_state_final(a->state) && m->n_states == 0 && !m->end &&
	    a->started_ms > 0)
		(void)sonde_task_move(t, a, SONDE_TASK_RUNNING, now_ms, "its reports come again",
				      false);
	for (size_t i = 0; i < m->n_states; i++) {
		int64_t at = m->states[i]->wall_ms;

		/*
		 * Its clock, but not ahead of ours nor before the task was made: the end of the
		 * task and how long it is kept follow from it.
		 */
		if (at <= 0 || at > now_ms)
			at = now_ms;
		if (at < t->created_ms)
			at = t->created_ms;
		if (sonde_task_state_from_name(m->states[i]->state, &state) == 0)
			(void)sonde_task_move(t, a, state, at, m->states[i]->words, false);
	}
	if (m->end) {
		a->ended = true;
		if (sonde_task_state_from_name(m->result, &state) < 0 ||
		    !sonde_task_state_final(state))
			state = SONDE_TASK_FAILED;
		(void)sonde_task_move(t, a, state, now_ms, m->reason, false);
	}
	if (t->state != before)
		sonde_log_info("task %s: %s: %s", t->spec->id, sonde_task_state_name(t->state),
			       t->reason);
}

static void take_window(struct sonde_task *t, struct sonde_task_agent *a,
			const Sonde__V1__TaskReport *m, int64_t now_ms)
{
	if (m->window_start_wall_ms > 0 &&
	    (t->window_start_ms == 0 || m->window_start_wall_ms < t->window_start_ms))
		t->window_start_ms = m->window_start_wall_ms;
	if (m->window_end_wall_ms > t->window_end_ms)
		t->window_end_ms = m->window_end_wall_ms;
	if (m->window_end_wall_ms > 0 && now_ms - m->window_end_wall_ms > a->late_ms)
		a->late_ms = now_ms - m->window_end_wall_ms;
	a->last_report_ms = now_ms;
}

static enum sonde_grpc_status take_report(struct sonde_backend *b,
					  struct sonde_grpc_server_call *call, struct sonde_task *t,
					  struct sonde_task_agent *a,
					  const Sonde__V1__TaskReport *m)
{
	const Sonde__V1__TaskReportAnswer answer = SONDE__V1__TASK_REPORT_ANSWER__INIT;
	bool newest = m->sequence > sonde_ranges_highest(&a->sequences), ended;
	_cleanup_(sonde_store_job_freep) struct sonde_store_job *job = sonde_store_job_new();
	struct sonde_deferred *d;
	int64_t now_ms = sonde_wall_ms();
	bool again;
	int r;

	if (!job)
		return sonde_services_fail(call, SONDE_GRPC_RESOURCE_EXHAUSTED, "out of memory");
	r = sonde_ranges_add(&a->sequences, m->sequence);
	if (r == -EINVAL)
		return sonde_services_fail(call, SONDE_GRPC_INVALID_ARGUMENT,
					   "sequence: must be 1 to %" PRId64, INT64_MAX);
	again = r == -EEXIST;
	ended = sonde_task_state_final(t->state);
	/* An agent that was started anew counts from 1 again: its end is an end all the same. */
	if (r == -EEXIST && (a->ended || !m->end)) {
		a->duplicates++;
		a->last_report_ms = now_ms;
	} else {
		a->refused += r == -ENOSPC;
		a->dropped_history = a->dropped_history || m->dropped_history;
		take_window(t, a, m, now_ms);
		/* Lists are cumulative: an older report that comes late must not undo a newer one. */
		if (newest || m->end)
			take_lists(a, m);
		take_states(t, a, m, now_ms);
	}
	if (m->flows &&
	    sonde_flows_take(t, a, m->flows, m->sequence, again, b->config.max_flows, job) < 0)
		return sonde_services_fail(call, SONDE_GRPC_RESOURCE_EXHAUSTED, "out of memory");
	d = sonde_deferred_new(call);
	if (!d || sonde_deferred_hold(d, &answer.base) < 0)
		return sonde_services_fail(call, SONDE_GRPC_RESOURCE_EXHAUSTED, "out of memory");
	if (sonde_task_state_final(t->state) && !ended)
		sonde_task_table_ended(b->tasks, t);
	r = sonde_task_table_put_with(b->tasks, t, &job, sonde_deferred_on_stored, d);
	if (r < 0)
		sonde_deferred_finish(d, SONDE_GRPC_UNAVAILABLE,
				      "the server is busy, send it again");
	return SONDE_GRPC_OK;
}

static enum sonde_grpc_status check_report(struct sonde_grpc_server_call *call,
					   const Sonde__V1__TaskReport *m)
{
	const char *fault;

	if (m->n_targets > TARGETS_MAX || m->n_probes > LIST_MAX || m->n_ledger > LIST_MAX ||
	    m->n_absent > LIST_MAX || m->n_states > LIST_MAX)
		return sonde_services_fail(call, SONDE_GRPC_INVALID_ARGUMENT,
					   "at most %d targets and %d of each other list",
					   TARGETS_MAX, LIST_MAX);
	if (m->agent_id[0] == '\0' || strlen(m->agent_id) >= SONDE_SPEC_TEXT_MAX)
		return sonde_services_fail(call, SONDE_GRPC_INVALID_ARGUMENT,
					   "agent_id: must be 1 to %d bytes",
					   SONDE_SPEC_TEXT_MAX - 1);
	if (m->n_namespaces > NAMESPACES_MAX)
		return sonde_services_fail(call, SONDE_GRPC_INVALID_ARGUMENT,
					   "at most %d namespaces", NAMESPACES_MAX);
	for (size_t i = 0; i < m->n_namespaces; i++) {
		if (m->namespaces[i]->n_counters > LIST_MAX || m->namespaces[i]->n_pids > LIST_MAX)
			return sonde_services_fail(call, SONDE_GRPC_INVALID_ARGUMENT,
						   "at most %d counters of a namespace", LIST_MAX);
	}
	fault = m->flows ? sonde_flows_fault(m->flows) : NULL;
	if (fault)
		return sonde_services_fail(call, SONDE_GRPC_INVALID_ARGUMENT, "%s", fault);
	return SONDE_GRPC_OK;
}

/* A report out of a spool is no sign of life: the agent that made it may have died, and another sends it. */
static void see_agent(struct sonde_backend *b, const char *agent_id)
{
	struct sonde_agent *agent = sonde_registry_find_agent(b->registry, agent_id);

	if (agent && agent->watches > 0)
		(void)!sonde_registry_see_agent(b->registry, agent_id, sonde_wall_ms(), &agent);
}

static enum sonde_grpc_status find_and_take(struct sonde_backend *b,
					    struct sonde_grpc_server_call *call,
					    const Sonde__V1__TaskReport *m)
{
	struct sonde_task *t = sonde_task_table_find(b->tasks, m->task_id);
	enum sonde_grpc_status status = check_report(call, m);
	struct sonde_task_agent *a;
	int room;

	if (status != SONDE_GRPC_OK)
		return status;
	if (!t)
		return sonde_services_fail(call, SONDE_GRPC_NOT_FOUND, "task_id: no task %.64s",
					   m->task_id);
	a = sonde_task_find_agent(t, m->agent_id);
	if (!a)
		return sonde_services_fail(call, SONDE_GRPC_FAILED_PRECONDITION,
					   "agent_id: the task was not given to agent %.64s",
					   m->agent_id);
	see_agent(b, m->agent_id);
	room = sonde_store_check_room(b->store);
	if (room < 0)
		return sonde_services_fail(call, SONDE_GRPC_UNAVAILABLE, "%s",
					   room == -ENOSPC ? SONDE_STORE_FULL_WORDS
							   : SONDE_STORE_DAMAGED_WORDS);
	return take_report(b, call, t, a, m);
}

enum sonde_grpc_status sonde_services_task_report(void *ctx, struct sonde_grpc_server_call *call,
						  const uint8_t *data, size_t n)
{
	struct sonde_wire_limits limits = sonde_wire_limits_for(n);
	ProtobufCMessage *m = NULL;
	enum sonde_grpc_status status;

	limits.alloc_bytes += FLOWS_ALLOC_BYTES;
	if (sonde_wire_unpack(&sonde__v1__task_report__descriptor, data, n, &limits, &m) < 0)
		return sonde_services_fail(call, SONDE_GRPC_INVALID_ARGUMENT, "not a TaskReport");
	status = find_and_take(ctx, call, (const Sonde__V1__TaskReport *)m);
	(void)sonde_wire_free(m);
	return status;
}
