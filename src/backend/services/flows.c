/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/services/flows.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backend/json.h"

#define PROCESS_ID_MAX 128
#define PROCESS_NAME_MAX 256
#define STATE_MAX SONDE__V1__FLOW_STATE__FLOW_STATE_CLOSING

void sonde_flow_address(ProtobufCBinaryData address, char ret[static SONDE_FLOW_ADDRESS_MAX])
{
	ret[0] = '\0';
	if (address.len == 4 || address.len == 16)
		(void)inet_ntop(address.len == 4 ? AF_INET : AF_INET6, address.data, ret,
				SONDE_FLOW_ADDRESS_MAX);
}

void sonde_flow_client(const Sonde__V1__Flow *f, char ret[static SONDE_FLOW_CLIENT_MAX])
{
	bool client = f->role == SONDE__V1__FLOW_ROLE__FLOW_ROLE_CLIENT;
	uint32_t port = client ? f->local_port : f->remote_port;
	char address[SONDE_FLOW_ADDRESS_MAX];

	ret[0] = '\0';
	/* The true client, where its address is translated on its way to a server. */
	if (!client && f->backend_address.len) {
		port = f->backend_port;
		sonde_flow_address(f->backend_address, address);
	} else {
		sonde_flow_address(client ? f->local_address : f->remote_address, address);
	}
	if (port && address[0])
		(void)snprintf(ret, SONDE_FLOW_CLIENT_MAX, "%s %u", address, port);
}

static bool is_address(ProtobufCBinaryData a)
{
	return a.len == 4 || a.len == 16;
}

static const char *own_fault(const Sonde__V1__Flow *f)
{
	if (!is_address(f->local_address) || !is_address(f->remote_address) ||
	    (f->backend_address.len && !is_address(f->backend_address)))
		return "flows: an address has 4 or 16 bytes";
	if (f->local_port > UINT16_MAX || f->remote_port > UINT16_MAX ||
	    f->backend_port > UINT16_MAX)
		return "flows: a port is out of range";
	if (f->role != SONDE__V1__FLOW_ROLE__FLOW_ROLE_CLIENT &&
	    f->role != SONDE__V1__FLOW_ROLE__FLOW_ROLE_SERVER)
		return "flows: a role is needed";
	if ((int)f->state < 0 || f->state > STATE_MAX)
		return "flows: a state is out of range";
	return NULL;
}

static const char *flow_fault(const Sonde__V1__FlowReport *m, const Sonde__V1__Flow *f)
{
	if (f->process == 0 || f->process > m->n_processes || f->peer_process > m->n_processes)
		return "flows: no such process";
	return own_fault(f);
}

const char *sonde_flow_fault(const Sonde__V1__Flow *f, const struct sonde_flow_ends *ends)
{
	if (strlen(ends->process) > PROCESS_ID_MAX || strlen(ends->peer) > PROCESS_ID_MAX ||
	    strlen(ends->process_name) > PROCESS_NAME_MAX ||
	    strlen(ends->peer_name) > PROCESS_NAME_MAX)
		return "flows: a process's name is too long";
	return own_fault(f);
}

static const char *service_fault(const Sonde__V1__Service *s)
{
	if (!is_address(s->address) || !is_address(s->backend_address))
		return "services: an address has 4 or 16 bytes";
	if (s->port > UINT16_MAX || s->backend_port > UINT16_MAX)
		return "services: a port is out of range";
	return strlen(s->backend_process_id) > PROCESS_ID_MAX ? "services: an id is too long"
							      : NULL;
}

const char *sonde_flows_fault(const Sonde__V1__FlowReport *m)
{
	const char *fault = NULL;

	if (m->n_flows > SONDE_FLOWS_REPORT_MAX || m->n_folded > SONDE_FLOWS_REPORT_MAX ||
	    m->n_processes > SONDE_FLOWS_REPORT_MAX || m->n_services > SONDE_FLOWS_REPORT_MAX)
		return "flows: too many of them";
	for (size_t i = 0; i < m->n_processes; i++) {
		if (strlen(m->processes[i]->process_id) > PROCESS_ID_MAX ||
		    strlen(m->processes[i]->name) > PROCESS_NAME_MAX)
			return "flows: a process's name is too long";
	}
	for (size_t i = 0; i < m->n_flows && !fault; i++)
		fault = flow_fault(m, m->flows[i]);
	for (size_t i = 0; i < m->n_services && !fault; i++)
		fault = service_fault(m->services[i]);
	return fault;
}

/* SQLite's integers and JSON's have a sign; a count that large is as good as the largest. */
static int64_t counted(uint64_t n)
{
	return n > INT64_MAX ? INT64_MAX : (int64_t)n;
}

/* 0: nothing follows; 1: open; 2: over, but its socket is kept. */
static int64_t open_of(const Sonde__V1__Flow *f)
{
	if (f->final)
		return 0;
	return f->end_wall_ms ? 2 : 1;
}

int sonde_flow_put(struct sonde_store_job *job, const char *task, const char *agent,
		   uint64_t sequence, const struct sonde_flow_ends *ends, const Sonde__V1__Flow *f)
{
	char remote[SONDE_FLOW_ADDRESS_MAX], client[SONDE_FLOW_CLIENT_MAX];
	_cleanup_free_ uint8_t *data = NULL;
	uint64_t bytes;
	size_t n;

	n = sonde__v1__flow__get_packed_size(f);
	data = malloc(n + 1);
	if (!data)
		return -ENOMEM;
	(void)sonde__v1__flow__pack(f, data);
	if (__builtin_add_overflow(f->sent_bytes, f->received_bytes, &bytes))
		bytes = UINT64_MAX;
	sonde_flow_address(f->remote_address, remote);
	sonde_flow_client(f, client);
	return sonde_store_job_add(
		job, SONDE_STORE_PUT_FLOW,
		"ttiiiiiiitttttt"
		"iiiiib",
		task, agent, (int64_t)f->id, counted(sequence), open_of(f), (int64_t)f->state,
		(int64_t)(f->error != SONDE__V1__FLOW_ERROR__FLOW_ERROR_NONE), (int64_t)f->role,
		(int64_t)ends->pid, ends->process, ends->process_name, ends->peer, ends->peer_name,
		remote, client, f->start_wall_ms, f->end_wall_ms, counted(bytes),
		counted(f->retransmitted_segments),
		counted(f->rtt_count ? f->rtt_sum_us / f->rtt_count : 0), data, n);
}

static int put_flow(struct sonde_store_job *job, const char *task, const char *agent,
		    uint64_t sequence, const Sonde__V1__FlowReport *m, const Sonde__V1__Flow *f)
{
	static const Sonde__V1__FlowProcess nobody = SONDE__V1__FLOW_PROCESS__INIT;
	const Sonde__V1__FlowProcess *process = m->processes[f->process - 1];
	const Sonde__V1__FlowProcess *peer =
		f->peer_process ? m->processes[f->peer_process - 1] : &nobody;
	const struct sonde_flow_ends ends = {.pid = process->pid,
					     .process = process->process_id,
					     .process_name = process->name,
					     .peer = peer->process_id,
					     .peer_name = peer->name};

	return sonde_flow_put(job, task, agent, sequence, &ends, f);
}

static json_t *rest_json(const Sonde__V1__FlowRest *r)
{
	static const Sonde__V1__FlowRest none = SONDE__V1__FLOW_REST__INIT;

	r = r ? r : &none;
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "connections",
			 (json_int_t)counted(r->connections), "sent_bytes",
			 (json_int_t)counted(r->sent_bytes), "received_bytes",
			 (json_int_t)counted(r->received_bytes), "sent_segments",
			 (json_int_t)counted(r->sent_segments), "received_segments",
			 (json_int_t)counted(r->received_segments), "retransmitted_segments",
			 (json_int_t)counted(r->retransmitted_segments), "drops",
			 (json_int_t)counted(r->drops), "rtt_count",
			 (json_int_t)counted(r->rtt_count), "rtt_sum_us",
			 (json_int_t)counted(r->rtt_sum_us));
}

static int add_number(json_t *sums, const char *key, uint64_t n)
{
	int64_t sum, old = sonde_json_get_int(sums, key, 0);

	if (__builtin_add_overflow(old, counted(n), &sum))
		sum = INT64_MAX;
	return sonde_json_set(sums, key, json_integer(sum));
}

/* What there is no room for is summed, here as at the agent. */
static int keep_sum(json_t *sums, const Sonde__V1__Flow *f)
{
	int r;

	r = add_number(sums, "connections", 1);
	if (r == 0)
		r = add_number(sums, "sent_bytes", f->sent_bytes);
	if (r == 0)
		r = add_number(sums, "received_bytes", f->received_bytes);
	if (r == 0)
		r = add_number(sums, "sent_segments", f->sent_segments);
	if (r == 0)
		r = add_number(sums, "received_segments", f->received_segments);
	if (r == 0)
		r = add_number(sums, "retransmitted_segments", f->retransmitted_segments);
	if (r == 0)
		r = add_number(sums, "drops", f->drops);
	if (r == 0)
		r = add_number(sums, "rtt_count", f->rtt_count);
	return r == 0 ? add_number(sums, "rtt_sum_us", f->rtt_sum_us) : r;
}

static json_t *service_json(const Sonde__V1__Service *s)
{
	char address[SONDE_FLOW_ADDRESS_MAX], backend[SONDE_FLOW_ADDRESS_MAX];

	sonde_flow_address(s->address, address);
	sonde_flow_address(s->backend_address, backend);
	return json_pack("{s:s, s:i, s:s, s:i, s:o, s:I}", "address", address, "port", (int)s->port,
			 "backend_address", backend, "backend_port", (int)s->backend_port,
			 "backend_process_id", sonde_json_text(s->backend_process_id),
			 "connections", (json_int_t)counted(s->connections));
}

static int put_services(json_t *flows, const Sonde__V1__FlowReport *m)
{
	json_t *list;

	if (m->n_services == 0)
		return 0;
	list = json_array();
	for (size_t i = 0; list && i < m->n_services; i++) {
		if (sonde_json_append(list, service_json(m->services[i])) < 0) {
			json_decref(list);
			return -ENOMEM;
		}
	}
	return sonde_json_set(flows, "services", list);
}

/* flows: {"sequence", "ended_rows", "rows_before" and "rows_sequence" (of the last report), "ended_rest", "open_rest", "kept", "services"} */
static int open_summary(struct sonde_task_agent *a)
{
	if (a->flows)
		return 0;
	a->flows = json_pack("{s:i, s:i, s:o, s:o, s:o, s:[]}", "sequence", 0, "ended_rows", 0,
			     "ended_rest", rest_json(NULL), "open_rest", rest_json(NULL), "kept",
			     rest_json(NULL), "services");
	return a->flows ? 0 : -ENOMEM;
}

static int put_rests(json_t *flows, const Sonde__V1__FlowReport *m, uint64_t sequence)
{
	int r;

	if (counted(sequence) < sonde_json_get_int(flows, "sequence", 0))
		return 0;
	r = sonde_json_set(flows, "sequence", json_integer(counted(sequence)));
	if (r == 0)
		r = sonde_json_set(flows, "ended_rest", rest_json(m->ended_rest));
	if (r == 0)
		r = sonde_json_set(flows, "open_rest", rest_json(m->open_rest));
	return r == 0 ? put_services(flows, m) : r;
}

static int put_rows(const struct sonde_task *t, struct sonde_task_agent *a,
		    const Sonde__V1__FlowReport *m, uint64_t sequence, bool again,
		    uint64_t max_rows, struct sonde_store_job *job)
{
	/* Again: the same choice as the first time, whose rows may not have been stored. */
	int64_t rows = sonde_json_get_int(a->flows, again ? "rows_before" : "ended_rows", 0);
	int64_t before = rows;
	json_t *kept = json_object_get(a->flows, "kept");
	int r = 0;

	for (size_t i = 0; r == 0 && i < m->n_flows; i++) {
		const Sonde__V1__Flow *f = m->flows[i];

		if (f->final && rows >= counted(max_rows)) {
			r = sonde_store_job_add(job, SONDE_STORE_DELETE_FLOW, "ttii", t->spec->id,
						a->id, (int64_t)f->id, counted(sequence));
			if (r == 0 && !again)
				r = keep_sum(kept, f);
			continue;
		}
		r = put_flow(job, t->spec->id, a->id, sequence, m, f);
		rows += f->final;
	}
	if (r == 0)
		r = sonde_json_set(a->flows, "rows_before", json_integer(before));
	if (r == 0)
		r = sonde_json_set(a->flows, "rows_sequence", json_integer(counted(sequence)));
	return r == 0 ? sonde_json_set(a->flows, "ended_rows", json_integer(rows)) : r;
}

int sonde_flows_take(const struct sonde_task *t, struct sonde_task_agent *a,
		     const Sonde__V1__FlowReport *m, uint64_t sequence, bool again,
		     uint64_t max_rows, struct sonde_store_job *job)
{
	int r;

	r = open_summary(a);
	/* An agent goes on behind an answer only: what comes again and is not the last is stored. */
	if (r == 0 && again &&
	    sonde_json_get_int(a->flows, "rows_sequence", 0) != counted(sequence))
		return 0;
	if (r == 0)
		r = put_rests(a->flows, m, sequence);
	if (r == 0)
		r = put_rows(t, a, m, sequence, again, max_rows, job);
	for (size_t i = 0; r == 0 && i < m->n_folded; i++)
		r = sonde_store_job_add(job, SONDE_STORE_DELETE_FLOW, "ttii", t->spec->id, a->id,
					(int64_t)m->folded[i], counted(sequence));
	if (r == 0 && m->whole)
		r = sonde_store_job_add(job, SONDE_STORE_DELETE_STALE_FLOWS, "tti", t->spec->id,
					a->id, counted(sequence));
	return r;
}
