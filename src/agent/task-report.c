/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/task.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "agent/namespaces-report.h"
#include "agent/task-lists.h"
#include "base/hash.h"
#include "sonde/v1/task.pb-c.h"
#include "wire/message.h"

#define LISTS_EVERY 10 /* reports: the lists go out again even if nothing changed */

/* Everything that a TaskReport points to. Large: on the heap. */
struct parts {
	Sonde__V1__TaskReport report;
	Sonde__V1__StateChange change[SONDE_TASK_CHANGES_MAX];
	Sonde__V1__StateChange *changes[SONDE_TASK_CHANGES_MAX];
	struct sonde_task_lists lists;
	Sonde__V1__ProbeState probe[SONDE_TASK_PROBES_MAX];
	Sonde__V1__ProbeState *probes[SONDE_TASK_PROBES_MAX];
	Sonde__V1__LedgerEntry entry[_SONDE_LEDGER_MAX];
	Sonde__V1__LedgerEntry *ledger[_SONDE_LEDGER_MAX];
	Sonde__V1__ProgramCost program[SONDE_SNAPSHOT_PROGRAMS_MAX];
	Sonde__V1__ProgramCost *programs[SONDE_SNAPSHOT_PROGRAMS_MAX];
	Sonde__V1__Cost cost;
	Sonde__V1__IdleProof idle;
};

static void fill_changes(const struct sonde_task *t, struct parts *p)
{
	for (size_t i = 0; i < t->n_changes; i++) {
		sonde__v1__state_change__init(&p->change[i]);
		p->change[i].state = sonde_wire_text(sonde_task_state_name(t->changes[i].state));
		p->change[i].wall_ms = t->changes[i].wall_ms;
		p->change[i].words = sonde_wire_text(t->changes[i].words);
		p->changes[i] = &p->change[i];
	}
	p->report.n_states = t->n_changes;
	p->report.states = p->changes;
}

/* What is not needed is for plans. */
static bool is_told(const struct sonde_probe_probe *probe)
{
	return probe->state != SONDE_PROBE_SPARE && probe->state != SONDE_PROBE_UNASKED;
}

static void fill_probes(const struct sonde_task *t, struct parts *p)
{
	size_t n = 0;

	for (size_t i = 0; i < t->n_probes; i++) {
		const struct sonde_probe_probe *from = &t->probes[i];
		Sonde__V1__ProbeState *to = &p->probe[n];

		if (!is_told(from))
			continue;
		sonde__v1__probe_state__init(to);
		to->name = sonde_wire_text(from->name);
		to->metrics = sonde_wire_text(from->metrics);
		to->state = sonde_wire_text(sonde_probe_probe_state_name(from->state));
		to->reason = sonde_wire_text(from->reason);
		if (n == 0) {
			to->open_ns = (int64_t)t->open_ns;
			to->load_ns = (int64_t)t->load_ns;
			to->attach_ns = (int64_t)t->attach_ns;
			to->detach_ns = (int64_t)t->detach_ns;
		}
		p->probes[n++] = to;
	}
	p->report.n_probes = n;
	p->report.probes = p->probes;
}

static void fill_ledger(const struct sonde_task *t, const struct sonde_snapshot *s, struct parts *p)
{
	size_t n = 0;

	for (unsigned site = 0; site < _SONDE_LEDGER_MAX; site++) {
		const struct sonde_ledger_info *info = sonde_ledger_info(site);
		uint64_t count = sonde_task_ledger(t, s, site);

		if (!count)
			continue;
		sonde__v1__ledger_entry__init(&p->entry[n]);
		p->entry[n].site = sonde_wire_text(info->name);
		p->entry[n].count = count;
		p->entry[n].weakens = info->weakens;
		p->entry[n].words = sonde_wire_text(info->words);
		p->ledger[n] = &p->entry[n];
		n++;
	}
	p->report.n_ledger = n;
	p->report.ledger = p->ledger;
}

static const struct sonde_probe_cost *base_cost(const struct sonde_task *t, const char *name)
{
	for (size_t i = 0; i < t->base.n_costs; i++) {
		if (strcmp(t->base.costs[i].name, name) == 0)
			return &t->base.costs[i];
	}
	return NULL;
}

static uint64_t runs_since(const struct sonde_task *t, const struct sonde_probe_cost *c)
{
	const struct sonde_probe_cost *b = base_cost(t, c->name);

	return c->runs - (b && b->runs <= c->runs ? b->runs : 0);
}

/* A mean over all that was sampled, so that few samples weigh little. */
static uint64_t sampled_ns(const struct sonde_probe_cost *c)
{
	return c->sampled_runs ? c->sampled_ns / c->sampled_runs : 0;
}

void sonde_task_programs_cost(const struct sonde_task *t, const struct sonde_snapshot *s,
			      uint64_t *ret_ns, uint64_t *ret_runs)
{
	uint64_t ns = 0, runs = 0;

	for (size_t i = 0; i < s->n_costs; i++) {
		const struct sonde_probe_cost *c = &s->costs[i];
		uint64_t n = runs_since(t, c);

		runs += n;
		ns += n * sampled_ns(c) + n * c->hook_ns_x1000 / 1000;
	}
	*ret_ns = ns;
	*ret_runs = runs;
}

uint64_t sonde_snapshot_map_bytes(const struct sonde_snapshot *s)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < s->n_costs; i++)
		bytes += s->costs[i].map_bytes;
	return bytes;
}

static void fill_programs(const struct sonde_task *t, const struct sonde_snapshot *s,
			  struct parts *p)
{
	uint64_t runs;

	for (size_t i = 0; i < s->n_costs; i++) {
		const struct sonde_probe_cost *c = &s->costs[i];
		Sonde__V1__ProgramCost *to = &p->program[i];

		sonde__v1__program_cost__init(to);
		to->name = sonde_wire_text(c->name);
		to->runs = runs_since(t, c);
		to->sampled_ns_per_run = sampled_ns(c);
		to->hook_ns_per_run = c->hook_ns_x1000 / 1000;
		to->sampled_runs = c->sampled_runs;
		to->discarded_runs = c->discarded_runs;
		p->programs[i] = to;
	}
	sonde_task_programs_cost(t, s, &p->cost.bpf_estimated_ns, &runs);
	p->cost.map_bytes = sonde_snapshot_map_bytes(s);
	p->cost.n_programs = s->n_costs;
	p->cost.programs = p->programs;
}

static uint64_t grown(uint64_t now, uint64_t then)
{
	return now > then ? now - then : 0;
}

static void fill_cost(const struct sonde_task *t, const struct sonde_task_moment *m,
		      struct parts *p)
{
	sonde__v1__cost__init(&p->cost);
	fill_programs(t, m->snapshot, p);
	p->cost.agent_cpu_ns = grown(m->agent_cpu_ns, t->base.agent_cpu_ns);
	p->cost.probe_cpu_ns =
		t->carried_probe_cpu_ns + grown(m->probe_cpu_ns, t->base.probe_cpu_ns);
	p->cost.agent_rss_anon_bytes = m->agent_rss_anon_bytes;
	p->cost.probe_rss_anon_bytes = m->probe_rss_anon_bytes;
	p->cost.reports = t->reports;
	p->cost.report_bytes = t->report_bytes;
	p->cost.report_bytes_compressed = t->report_bytes_compressed;
	p->cost.encoding = sonde_wire_text(sonde_encoding_name(t->encoding));
	p->report.cost = &p->cost;
}

static void fill_end(const struct sonde_task *t, struct parts *p)
{
	p->report.end = 1;
	p->report.result = sonde_wire_text(sonde_task_state_name(t->result));
	p->report.reason = sonde_wire_text(t->reason);
	if (t->reason_code)
		p->report.reason_code = sonde_wire_text(t->reason_code);
	if (!t->has_idle)
		return;
	sonde__v1__idle_proof__init(&p->idle);
	p->idle.programs = t->idle.programs;
	p->idle.maps = t->idle.maps;
	p->idle.links = t->idle.links;
	p->idle.bpf_fds_left = t->idle.bpf_fds_left;
	p->idle.ids_alive = t->idle.ids_alive;
	p->idle.ids_asked = t->idle.ids_asked != 0;
	p->idle.wait_ns = t->idle.wait_ns;
	p->report.idle_proof = &p->idle;
}

/* Of what the lists say; 0 where it cannot be had, so that they go out. */
static uint64_t hash_lists(const struct parts *p)
{
	Sonde__V1__TaskReport lists = SONDE__V1__TASK_REPORT__INIT;
	_cleanup_buf_ struct sonde_buf buf = SONDE_BUF_INIT(SONDE_TASK_REPORT_MAX);

	lists.n_targets = p->report.n_targets;
	lists.targets = p->report.targets;
	lists.n_probes = p->report.n_probes;
	lists.probes = p->report.probes;
	lists.n_absent = p->report.n_absent;
	lists.absent = p->report.absent;
	if (sonde_wire_pack(&lists.base, &buf) < 0)
		return 0;
	return sonde_hash(buf.data, buf.len, 0);
}

/*
 * Lists that the server has already are left out: between the first report and the last they are most of a
 * report's bytes. What was told may be in a report that was dropped since, hence @t->dropped_history.
 */
static void leave_out_known(const struct sonde_task *t, bool end, uint64_t hash, struct parts *p)
{
	if (end || t->dropped_history || hash == 0 || hash != t->told_lists ||
	    t->sequence - t->told_sequence >= LISTS_EVERY)
		return;
	p->report.n_targets = 0;
	p->report.n_probes = 0;
	p->report.n_absent = 0;
	p->cost.n_programs = 0;
}

int sonde_task_pack_report(struct sonde_task *t, const struct sonde_task_moment *m,
			   struct sonde_buf *buf)
{
	_cleanup_(sonde_namespaces_report_freep) struct sonde_namespaces_report *namespaces = NULL;
	_cleanup_free_ struct parts *p = NULL;
	uint64_t hash;
	int r;

	assert(t && m && buf);

	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	sonde__v1__task_report__init(&p->report);
	p->report.agent_id = sonde_wire_text(m->agent_id);
	p->report.task_id = t->spec.id;
	p->report.sequence = t->sequence;
	p->report.window_start_mono_ns = (int64_t)t->window_start_ns;
	p->report.window_end_mono_ns = (int64_t)m->window_end_ns;
	p->report.window_start_wall_ms = t->window_start_ms;
	p->report.window_end_wall_ms = m->window_end_ms;
	fill_changes(t, p);
	sonde_task_list_targets(t, &p->lists);
	p->report.n_targets = p->lists.n_targets;
	p->report.targets = p->lists.targets;
	fill_probes(t, p);
	fill_ledger(t, m->snapshot, p);
	sonde_task_list_absent(t, &p->lists);
	p->report.n_absent = p->lists.n_absent;
	p->report.absent = p->lists.absent;
	fill_cost(t, m, p);
	p->report.dropped_history = t->dropped_history;
	p->report.flows = m->flows;
	r = sonde_namespaces_report_new(&t->namespaces, &p->report, &namespaces);
	if (r < 0)
		return r;
	if (m->end)
		fill_end(t, p);
	hash = hash_lists(p);
	leave_out_known(t, m->end, hash, p);
	r = sonde_wire_pack(&p->report.base, buf);
	if (r < 0)
		return r;
	if (p->report.n_targets || p->report.n_probes || p->report.n_absent) {
		t->told_lists = hash;
		t->told_sequence = t->sequence;
	}
	t->n_changes = 0;
	t->dropped_history = false;
	return 0;
}
