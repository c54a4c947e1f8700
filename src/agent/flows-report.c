/* SPDX-License-Identifier: Apache-2.0 */
/* Flows as a report tells them. */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "agent/flows-internal.h"
#include "base/clock.h"
#include "model/signal.h"
#include "wire/message.h"

#define PROCESSES_MAX (2 * (SONDE_FLOWS_OPEN_MAX + SONDE_FLOWS_ENDED_MAX))

struct sonde_flow_report {
	Sonde__V1__FlowReport report;
	Sonde__V1__FlowRest ended_rest, open_rest;
	Sonde__V1__Flow *flow; /* owned, as all below */
	Sonde__V1__Flow **flows;
	size_t cap;
	struct named {
		uint32_t pid;
		struct sonde_process *process; /* one reference */
		Sonde__V1__FlowProcess message;
	} * named;
	Sonde__V1__FlowProcess **processes;
	size_t n_named;
	uint64_t *folded;
	Sonde__V1__Service *service;
	Sonde__V1__Service **services;
};

struct sonde_flow_report *sonde_flow_report_free(struct sonde_flow_report *r)
{
	if (!r)
		return NULL;
	for (size_t i = 0; i < r->n_named; i++)
		(void)sonde_process_unref(r->named[i].process);
	free(r->named);
	free(r->processes);
	free(r->flow);
	free(r->flows);
	free(r->folded);
	free(r->service);
	free(r->services);
	free(r);
	return NULL;
}

static int new_report(size_t flows, size_t told, struct sonde_flow_report **ret)
{
	_cleanup_(sonde_flow_report_freep) struct sonde_flow_report *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->cap = flows;
	r->flow = calloc(flows + 1, sizeof(*r->flow));
	r->flows = calloc(flows + 1, sizeof(void *));
	r->folded = calloc(told + 1, sizeof(*r->folded));
	if (!r->flow || !r->flows || !r->folded)
		return -ENOMEM;
	sonde__v1__flow_report__init(&r->report);
	r->report.flows = r->flows;
	r->report.folded = r->folded;
	*ret = TAKE_PTR(r);
	return 0;
}

static int grow_named(struct sonde_flow_report *r)
{
	struct named *named;

	/* by powers of two */
	if (r->n_named & (r->n_named - 1))
		return 0;
	named = reallocarray(r->named, r->n_named ? 2 * r->n_named : 1, sizeof(*named));
	if (!named)
		return -ENOMEM;
	r->named = named;
	return 0;
}

/* The message's number of a process; 0 for pid 0, and for one beyond the bound. */
static int number_of(struct sonde_flow_report *r, const struct sonde_flows_moment *m, uint32_t pid,
		     uint32_t *ret)
{
	struct sonde_process *p;
	int e;

	*ret = 0;
	if (pid == 0)
		return 0;
	/* The last one first: a process's connections often follow each other. */
	for (size_t i = r->n_named; i > 0; i--) {
		if (r->named[i - 1].pid != pid)
			continue;
		*ret = (uint32_t)i;
		return 0;
	}
	if (r->n_named == PROCESSES_MAX)
		return 0;
	e = grow_named(r);
	if (e < 0)
		return e;
	p = m->names.process_of(m->names.ctx, pid);
	r->named[r->n_named] =
		(struct named){.pid = pid, .process = p ? sonde_process_ref(p) : NULL};
	*ret = (uint32_t)++r->n_named;
	return 0;
}

static bool is_mapped(const uint8_t addr[16])
{
	static const uint8_t prefix[12] = {[10] = 0xff, [11] = 0xff};

	return memcmp(addr, prefix, sizeof(prefix)) == 0;
}

static ProtobufCBinaryData address(uint8_t addr[16])
{
	if (is_mapped(addr))
		return (ProtobufCBinaryData){.data = addr + 12, .len = 4};
	return (ProtobufCBinaryData){.data = addr, .len = 16};
}

static int64_t wall_of(const struct sonde_flows_moment *m, uint64_t ns)
{
	if (ns == 0)
		return 0;
	return m->wall_ms - ((int64_t)m->mono_ns - (int64_t)ns) / (int64_t)SONDE_NS_PER_MS;
}

static uint64_t duration_us(const struct sonde_flows_moment *m, const struct sonde_flow *f)
{
	uint64_t until = f->end_ns ? f->end_ns : m->mono_ns;

	return f->start_ns && until > f->start_ns ? (until - f->start_ns) / SONDE_NS_PER_US : 0;
}

/* The other end's process: the kernel's word, or as for the cell that the flow is counted in. */
static uint32_t peer_pid(const struct sonde_flows_moment *m, const struct sonde_flow *f)
{
	struct sonde_tcp_cell_key key = {
		.netns = f->netns,
		.pid = f->pid,
		.peer_pid = f->peer_pid,
		.role = f->role,
		.protocol = f->protocol,
		.port = f->role == SONDE_TCP_ROLE_CLIENT ? f->rport : f->lport,
	};
	struct sonde_peer peer;

	if (f->peer_pid || !m->peers)
		return f->peer_pid;
	memcpy(key.laddr, f->laddr, sizeof(key.laddr));
	memcpy(key.raddr, f->raddr, sizeof(key.raddr));
	if (f->backend_port && f->role == SONDE_TCP_ROLE_CLIENT) {
		memcpy(key.raddr, f->backend, sizeof(key.raddr));
		key.port = f->backend_port;
	}
	sonde_peer_resolve(m->peers, &key, &peer);
	return peer.kind == SONDE_PEER_PROCESS ? peer.pid : 0;
}

static int fill_flow(struct sonde_flow_report *r, const struct sonde_flows_moment *m,
		     struct sonde_flow *f)
{
	Sonde__V1__Flow *to = &r->flow[r->report.n_flows];
	int e;

	sonde__v1__flow__init(to);
	e = number_of(r, m, f->pid, &to->process);
	if (e == 0)
		e = number_of(r, m, peer_pid(m, f), &to->peer_process);
	if (e < 0)
		return e;
	to->id = f->id;
	to->netns = f->netns;
	to->local_address = address(f->laddr);
	to->remote_address = address(f->raddr);
	to->local_port = f->lport;
	to->remote_port = f->rport;
	to->protocol = (Sonde__V1__FlowProtocol)f->protocol;
	to->role = (Sonde__V1__FlowRole)f->role;
	to->state = (Sonde__V1__FlowState)f->state;
	to->closer = (Sonde__V1__FlowCloser)f->closer;
	to->error = (Sonde__V1__FlowError)f->error;
	to->start_wall_ms = wall_of(m, f->start_ns);
	to->end_wall_ms = wall_of(m, f->end_ns);
	to->duration_us = duration_us(m, f);
	to->sent_bytes = f->sent_bytes;
	to->received_bytes = f->received_bytes;
	to->sent_segments = f->segments_out;
	to->received_segments = f->segments_in;
	to->retransmitted_segments = f->retransmits;
	if (sonde_signals_have(m->signals, SONDE_SIGNAL_DROP))
		to->drops = f->drops;
	if (sonde_signals_have(m->signals, SONDE_SIGNAL_RTT)) {
		to->rtt_count = f->rtt_count;
		to->rtt_sum_us = f->rtt_sum_us;
		to->rtt_min_us = f->rtt_min_us;
		to->rtt_max_us = f->rtt_max_us;
	}
	to->final = f->final;
	if (f->backend_port) {
		to->backend_address = address(f->backend);
		to->backend_port = f->backend_port;
	}
	r->flows[r->report.n_flows++] = to;
	return 0;
}

static uint64_t hash_of(const struct sonde_flow *f)
{
	const uint8_t *bytes = (const uint8_t *)f;
	uint64_t h = 0xcbf29ce484222325ULL;

	for (size_t i = 0; i < sizeof(*f); i++)
		h = (h ^ bytes[i]) * 0x100000001b3ULL;
	return h;
}

static const struct sonde_flow_told *find_told(const struct sonde_flows *f, uint64_t id)
{
	if (f->n_told == 0)
		return NULL;
	return bsearch(&id, f->told, f->n_told, sizeof(f->told[0]), sonde_flow_compare_id);
}

/* The open ones that changed; @now is what the server has behind this report. */
static int fill_open(struct sonde_flow_report *r, struct sonde_flows *f,
		     const struct sonde_flows_moment *m, struct sonde_flow_told *now)
{
	int e = 0;

	if (f->n_open > 1)
		qsort(f->open, f->n_open, sizeof(f->open[0]), sonde_flow_compare_id);
	for (size_t i = 0; e == 0 && i < f->n_open; i++) {
		const struct sonde_flow_told *told = find_told(f, f->open[i].id);

		now[i] = (struct sonde_flow_told){f->open[i].id, hash_of(&f->open[i])};
		if (m->whole || !told || told->hash != now[i].hash)
			e = fill_flow(r, m, &f->open[i]);
	}
	return e;
}

/* @flows are in the order of their ids. */
static bool stands(const struct sonde_flow *flows, size_t n, uint64_t id)
{
	return n && bsearch(&id, flows, n, sizeof(flows[0]), sonde_flow_compare_id);
}

/* Told before, and now neither open among the largest nor ended as one of them: it is in a sum. */
static void fill_folded(struct sonde_flow_report *r, const struct sonde_flows *f)
{
	for (size_t i = 0; i < f->n_told; i++) {
		uint64_t id = f->told[i].id;

		if (!stands(f->open, f->n_open, id) && !stands(f->ended, f->n_ended, id))
			r->folded[r->report.n_folded++] = id;
	}
}

static void fill_rest(const struct sonde_flow_rest *from, uint32_t signals, Sonde__V1__FlowRest *to)
{
	sonde__v1__flow_rest__init(to);
	to->connections = from->connections;
	to->sent_bytes = from->sent_bytes;
	to->received_bytes = from->received_bytes;
	to->sent_segments = from->segments_out;
	to->received_segments = from->segments_in;
	to->retransmitted_segments = from->retransmits;
	if (sonde_signals_have(signals, SONDE_SIGNAL_DROP))
		to->drops = from->drops;
	if (sonde_signals_have(signals, SONDE_SIGNAL_RTT)) {
		to->rtt_count = from->rtt_count;
		to->rtt_sum_us = from->rtt_sum_us;
	}
}

static const char *backend_id(const struct sonde_flows_moment *m, const struct sonde_service *s)
{
	struct sonde_tcp_cell_key key = {
		.role = SONDE_TCP_ROLE_CLIENT, .port = s->backend_port, .protocol = s->protocol};
	struct sonde_process *p;
	struct sonde_peer peer;

	if (!m->peers)
		return "";
	memcpy(key.raddr, s->backend, sizeof(key.raddr));
	sonde_peer_resolve(m->peers, &key, &peer);
	if (peer.kind != SONDE_PEER_PROCESS)
		return "";
	p = m->names.process_of(m->names.ctx, peer.pid);
	return p ? p->id : "";
}

static int fill_processes(struct sonde_flow_report *r)
{
	r->processes = calloc(r->n_named + 1, sizeof(void *));
	if (!r->processes)
		return -ENOMEM;
	for (size_t i = 0; i < r->n_named; i++) {
		struct named *n = &r->named[i];

		sonde__v1__flow_process__init(&n->message);
		n->message.pid = (int32_t)n->pid;
		if (n->process) {
			n->message.process_id = sonde_wire_text(n->process->id);
			n->message.name = sonde_wire_text(n->process->name);
		}
		r->processes[i] = &n->message;
	}
	r->report.n_processes = r->n_named;
	r->report.processes = r->processes;
	return 0;
}

/* All of them when any changed; the process at a backend where it is one of this machine's. */
static int fill_services(struct sonde_flow_report *r, struct sonde_flows *f,
			 const struct sonde_flows_moment *m)
{
	size_t n = f->services.n;

	if (n == 0 || (!m->whole && f->told_services == f->services.version))
		return 0;
	r->service = calloc(n, sizeof(*r->service));
	r->services = calloc(n, sizeof(void *));
	if (!r->service || !r->services)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		struct sonde_service *from = &f->services.list[i];
		Sonde__V1__Service *to = &r->service[i];

		sonde__v1__service__init(to);
		to->address = address(from->addr);
		to->port = from->port;
		to->backend_address = address(from->backend);
		to->backend_port = from->backend_port;
		to->protocol = (Sonde__V1__FlowProtocol)from->protocol;
		to->connections = from->ended + from->open;
		to->backend_process_id = sonde_wire_text(backend_id(m, from));
		r->services[i] = to;
	}
	r->report.n_services = n;
	r->report.services = r->services;
	f->told_services = f->services.version;
	return 0;
}

static int fill(struct sonde_flow_report *r, struct sonde_flows *f,
		const struct sonde_flows_moment *m, struct sonde_flow_told *now)
{
	int e;

	/* Those that follow each other in time have much in common: a tenth of the bytes behind zstd. */
	if (f->n_ended > 1)
		qsort(f->ended, f->n_ended, sizeof(f->ended[0]), sonde_flow_compare_id);
	e = fill_open(r, f, m, now);
	for (size_t i = 0; e == 0 && i < f->n_ended; i++)
		e = fill_flow(r, m, &f->ended[i]);
	if (e == 0)
		e = fill_services(r, f, m);
	if (e == 0)
		e = fill_processes(r);
	if (e < 0)
		return e;
	fill_folded(r, f);
	fill_rest(&f->ended_rest, m->signals, &r->ended_rest);
	fill_rest(&f->open_rest, m->signals, &r->open_rest);
	r->report.ended_rest = &r->ended_rest;
	r->report.open_rest = &r->open_rest;
	r->report.whole = m->whole;
	return 0;
}

int sonde_flows_report(struct sonde_flows *f, const struct sonde_flows_moment *m,
		       struct sonde_flow_report **ret, Sonde__V1__FlowReport **ret_message)
{
	_cleanup_(sonde_flow_report_freep) struct sonde_flow_report *r = NULL;
	_cleanup_free_ struct sonde_flow_told *now = NULL;
	int e;

	assert(f && m && m->names.process_of && ret && ret_message);

	now = calloc(f->n_open + 1, sizeof(*now));
	if (!now)
		return -ENOMEM;
	e = new_report(f->n_open + f->n_ended, f->n_told, &r);
	if (e == 0)
		e = fill(r, f, m, now);
	if (e < 0)
		return e;
	free(f->told);
	f->told = TAKE_PTR(now);
	f->n_told = f->n_open;
	f->n_ended = 0; /* the memory stays until the message is packed, and beyond */
	*ret_message = &r->report;
	*ret = TAKE_PTR(r);
	return 0;
}
