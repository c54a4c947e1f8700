/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "agent/tasks-internal.h"
#include "base/clock.h"
#include "base/log.h"
#include "export/select.h"
#include "export/skywalking.h"
#include "export/sonde-net.h"
#include "host/proc.h"

static uint64_t timeval_ns(struct timeval t)
{
	return (uint64_t)t.tv_sec * SONDE_NS_PER_S + (uint64_t)t.tv_usec * SONDE_NS_PER_US;
}

static uint64_t own_cpu_ns(void)
{
	struct rusage u;

	return getrusage(RUSAGE_SELF, &u) < 0 ? 0 : timeval_ns(u.ru_utime) + timeval_ns(u.ru_stime);
}

static uint64_t cpu_of(int proc_fd, uint32_t pid)
{
	struct sonde_proc_stat s;
	long hz = sysconf(_SC_CLK_TCK);

	if (!pid || hz <= 0 || sonde_proc_read_stat(proc_fd, pid, &s) < 0)
		return 0;
	return (s.user_ticks + s.system_ticks) * (SONDE_NS_PER_S / (uint64_t)hz);
}

static uint64_t rss_anon_of(int proc_fd, uint32_t pid)
{
	struct sonde_proc_status s;

	return pid && sonde_proc_read_status(proc_fd, pid, &s) == 0 ? s.rss_anon_bytes : 0;
}

/* Keeper and worker. */
static uint64_t probe_cpu_ns(const struct sonde_tasks *tasks)
{
	const struct sonde_probe_hello *h = sonde_probe_client_hello(tasks->config.probe);

	if (!h)
		return 0;
	return cpu_of(tasks->config.proc_fd, h->worker_pid) +
	       cpu_of(tasks->config.proc_fd, h->keeper_pid);
}

void tasks_count_from_now(struct sonde_task *t)
{
	const struct sonde_tasks *tasks = t->tasks;
	const struct sonde_snapshot *s = &tasks->snapshot;

	t->base = (struct sonde_task_base){
		.loss = s->loss,
		.udp_loss = s->udp_loss,
		.n_costs = s->n_costs,
		.refused = s->refused,
		.agent_cpu_ns = own_cpu_ns(),
		.probe_cpu_ns = probe_cpu_ns(tasks),
	};
	memcpy(t->base.costs, s->costs, s->n_costs * sizeof(s->costs[0]));
}

void tasks_look_at_namespaces(struct sonde_task *t)
{
	uint32_t pids[SONDE_TASK_TARGETS_MAX];
	size_t n = 0;

	if (!t->tasks->extension)
		return;
	for (size_t i = 0; i < t->n_targets && n < ELEMENTS_OF(pids); i++) {
		if (sonde_target_lives(&t->targets[i]))
			pids[n++] = t->targets[i].pid;
	}
	if (sonde_namespaces_look(&t->namespaces, t->tasks->config.proc_fd, (uint32_t)getpid(),
				  pids, n) < 0)
		sonde_log_debug("task %s: no memory for its namespaces", t->spec.id);
}

void tasks_set_base(struct sonde_task *t)
{
	const struct sonde_snapshot *s = &t->tasks->snapshot;
	const uint64_t agent_cpu = t->base.agent_cpu_ns, probe_cpu = t->base.probe_cpu_ns;

	tasks_count_from_now(t);
	/* The task's own way to this point is a part of its cost. */
	t->base.agent_cpu_ns = agent_cpu;
	t->base.probe_cpu_ns = probe_cpu;
	if (t->window_start_ns == 0 || s->mono_ns == 0) {
		t->window_start_ns = sonde_mono_ns();
		t->window_start_ms = sonde_wall_ms();
	}
	if (s->mono_ns) {
		t->window_start_ns = s->mono_ns;
		t->window_start_ms = s->wall_ms;
	}
}

void tasks_worker_died(struct sonde_task *t)
{
	const struct sonde_snapshot *s = &t->tasks->snapshot;

	if (t->state == SONDE_TASK_ACCEPTED)
		return;
	/* What it had counted stays in the ledger; its counters begin anew. */
	for (unsigned site = 0; site < SONDE_TCP_LOSS_MAX; site++) {
		if (s->loss.count[site] > t->base.loss.count[site])
			t->ledger[site] += s->loss.count[site] - t->base.loss.count[site];
	}
	for (unsigned site = 0; site < SONDE_UDP_LOSS_MAX; site++) {
		if (s->udp_loss.count[site] > t->base.udp_loss.count[site])
			t->ledger[SONDE_LEDGER_UDP + site] +=
				s->udp_loss.count[site] - t->base.udp_loss.count[site];
	}
	t->base.loss = (struct sonde_probe_loss){0};
	t->base.udp_loss = (struct sonde_probe_udp_loss){0};
	t->base.n_costs = 0;
	t->ledger[SONDE_LEDGER_WORKER_RESTARTED]++;
	t->carried_probe_cpu_ns += t->seen_probe_cpu_ns > t->base.probe_cpu_ns
					   ? t->seen_probe_cpu_ns - t->base.probe_cpu_ns
					   : 0;
	t->base.probe_cpu_ns = probe_cpu_ns(t->tasks); /* of the new worker */
	t->seen_probe_cpu_ns = 0;
	sonde_view_rebase(&t->view);
	t->adds = 0;
	for (size_t i = 0; i < t->n_targets; i++)
		t->targets[i].in_probe = false;
}

/* Our own server looks no address up. */
static enum sonde_skywalking_peers peers_form(const struct sonde_tasks *tasks)
{
	return !tasks->extension && tasks->config.unknown_peers ? SONDE_SKYWALKING_PEERS_UNKNOWN
								: SONDE_SKYWALKING_PEERS_ADDRESS;
}

static int make_batch(const struct sonde_tasks *tasks, struct sonde_batch *b,
		      const struct sonde_edges *edges)
{
	int r;

	r = sonde_skywalking_emit(b, edges, peers_form(tasks));
	if (r == 0)
		r = sonde_net_emit(b, edges);
	return r;
}

/* The differences of @v as meters; what could not be made is counted. Returns cells without a name. */
static size_t meters(struct sonde_tasks *tasks, struct sonde_view *v, bool times, uint32_t signals,
		     struct sonde_batch *b, uint64_t *refused)
{
	const struct sonde_view_names names = {tasks_process_of, tasks};
	_cleanup_(sonde_edges_done) struct sonde_edges edges = {0};
	size_t waiting = 0;
	int r;

	r = sonde_view_difference(v, &tasks->snapshot, tasks->peers, names, &edges, &waiting);
	if (r < 0)
		(*refused)++;
	if (!times)
		sonde_edges_drop_times(&edges);
	sonde_edges_select(&edges, signals);
	r = make_batch(tasks, b, &edges);
	if (r < 0) {
		(*refused)++;
		(void)sonde_log_warn(r, "meters of an interval do not fit their report");
	}
	return waiting;
}

/* Hands the batch's messages to the report, without those of instances of which nothing changed. */
static int take_messages(struct sonde_report *r, struct sonde_batch *b)
{
	if (b->meters == 0)
		return 0;
	r->messages = calloc(b->n, sizeof(r->messages[0]));
	if (!r->messages)
		return -ENOMEM;
	for (size_t i = 0; i < b->n; i++) {
		if (!b->messages[i].len)
			continue;
		r->messages[r->n_messages++] = b->messages[i];
		b->messages[i] = (struct sonde_buf){0};
	}
	return 0;
}

static int new_report(const char *task, uint64_t sequence, uint64_t due_ns, struct sonde_batch *b,
		      struct sonde_report **ret)
{
	_cleanup_(sonde_report_freep) struct sonde_report *r = NULL;
	int e;

	e = sonde_report_new(&r);
	if (e < 0)
		return e;
	(void)snprintf(r->task, sizeof(r->task), "%s", task);
	r->sequence = sequence;
	r->due_ns = due_ns;
	(void)snprintf(r->id, sizeof(r->id), "%s/%" PRIu64 "/%016" PRIx64, task, sequence,
		       sonde_batch_hash(b));
	e = take_messages(r, b);
	if (e < 0)
		return e;
	*ret = TAKE_PTR(r);
	return 0;
}

static void fill_moment(const struct sonde_tasks *tasks, bool end, struct sonde_task_moment *m)
{
	const struct sonde_probe_hello *h = sonde_probe_client_hello(tasks->config.probe);
	int proc_fd = tasks->config.proc_fd;

	*m = (struct sonde_task_moment){
		.agent_id = tasks->config.agent_id,
		.window_end_ns = sonde_mono_ns(),
		.window_end_ms = sonde_wall_ms(),
		.end = end,
		.snapshot = &tasks->snapshot,
		.agent_cpu_ns = own_cpu_ns(),
		.probe_cpu_ns = probe_cpu_ns(tasks),
		.agent_rss_anon_bytes = rss_anon_of(proc_fd, (uint32_t)getpid()),
	};
	if (h)
		m->probe_rss_anon_bytes =
			rss_anon_of(proc_fd, h->worker_pid) + rss_anon_of(proc_fd, h->keeper_pid);
}

void tasks_usage(const struct sonde_task *t, struct tasks_usage *ret)
{
	struct sonde_task_moment m;
	uint64_t programs_ns;

	fill_moment(t->tasks, false, &m);
	sonde_task_programs_cost(t, m.snapshot, &programs_ns, &ret->runs);
	ret->cpu_ns = programs_ns + m.agent_cpu_ns - t->base.agent_cpu_ns + t->carried_probe_cpu_ns;
	if (m.probe_cpu_ns > t->base.probe_cpu_ns)
		ret->cpu_ns += m.probe_cpu_ns - t->base.probe_cpu_ns;
	ret->memory_bytes = sonde_snapshot_map_bytes(m.snapshot) + m.agent_rss_anon_bytes +
			    m.probe_rss_anon_bytes;
}

/* One line, for a backend that takes no TaskReports, and for whoever reads logs. */
static void log_end(const struct sonde_task *t)
{
	char lost[256] = "", sent[32] = "not-known"; /* by Kafka's producer */
	size_t at = 0;

	if (t->report_bytes_compressed > 0 || t->report_bytes == 0)
		(void)snprintf(sent, sizeof(sent), "%" PRIu64, t->report_bytes_compressed);
	for (unsigned site = 0; site < _SONDE_LEDGER_MAX && at < sizeof(lost) - 1; site++) {
		uint64_t n = sonde_task_ledger(t, &t->tasks->snapshot, site);

		if (!n)
			continue;
		(void)snprintf(lost + at, sizeof(lost) - at, " %s=%" PRIu64,
			       sonde_ledger_info(site)->name, n);
		at += strlen(lost + at);
	}
	sonde_log_info("task %s is over: %s: %s; targets %zu, reports %" PRIu64 ", bytes %" PRIu64
		       " sent as %s (%s); ledger:%s",
		       t->spec.id, sonde_task_state_name(t->result), t->reason, t->n_targets,
		       t->reports, t->report_bytes, sent, sonde_encoding_name(t->encoding),
		       at ? lost : " nothing lost");
}

/* Of the last snapshot, as the meters are. */
static void fill_flows(struct sonde_task *t, struct sonde_task_moment *m,
		       struct sonde_flow_report **ret)
{
	struct sonde_tasks *tasks = t->tasks;
	const struct sonde_flows_moment moment = {
		.mono_ns = tasks->snapshot.mono_ns,
		.wall_ms = tasks->snapshot.wall_ms,
		.names = {tasks_process_of, tasks},
		.peers = tasks->peers,
		.whole = t->dropped_history,
		.signals = t->spec.signals,
	};

	if (t->flows.wanted && sonde_flows_report(&t->flows, &moment, ret, &m->flows) < 0)
		t->ledger[SONDE_LEDGER_RECORD_REFUSED]++;
}

/* A report of an interval was due at its end, however late its snapshot came. */
static uint64_t due_ns(const struct sonde_task *t, bool end)
{
	uint64_t now = sonde_mono_ns();

	return !end && t->state == SONDE_TASK_RUNNING && t->next_ns < now ? t->next_ns : now;
}

static int report_task(struct sonde_task *t, bool end)
{
	struct sonde_tasks *tasks = t->tasks;
	_cleanup_(sonde_batch_done) struct sonde_batch b = SONDE_BATCH_INIT(sonde_wall_ms());
	_cleanup_(sonde_report_freep) struct sonde_report *r = NULL;
	_cleanup_(sonde_flow_report_freep) struct sonde_flow_report *flows = NULL;
	struct sonde_task_moment m;
	size_t waiting = 0;
	int e;

	fill_moment(tasks, end, &m);
	if (!end && t->running_since_ns && tasks->snapshot.mono_ns) {
		tasks_look_at_namespaces(t); /* first: as near to the snapshot as can be */
		waiting = meters(tasks, &t->view, t->spec.execution_time, t->spec.signals, &b,
				 &t->ledger[SONDE_LEDGER_RECORD_REFUSED]);
		m.window_end_ns = tasks->snapshot.mono_ns;
		m.window_end_ms = tasks->snapshot.wall_ms;
		b.wall_ms = m.window_end_ms;
		fill_flows(t, &m, &flows);
	}
	if (t->state == SONDE_TASK_DRAINING && waiting)
		t->ledger[SONDE_LEDGER_UNNAMED] = waiting;
	t->seen_probe_cpu_ns = m.probe_cpu_ns;
	t->sequence++;
	e = new_report(t->spec.id, t->sequence, due_ns(t, end), &b, &r);
	if (e < 0)
		return e;
	r->extension = true;
	r->task_report = SONDE_BUF_INIT(SONDE_TASK_REPORT_MAX);
	e = sonde_task_pack_report(t, &m, &r->task_report);
	if (e < 0)
		return e;
	t->window_start_ns = m.window_end_ns;
	t->window_start_ms = m.window_end_ms;
	sonde_log_debug("report %s made: %zu collections", r->id, r->n_messages);
	sonde_delivery_add(tasks->config.delivery, &r);
	return 0;
}

void tasks_report(struct sonde_task *t, bool end)
{
	int e = 0;

	if (t->tasks->extension)
		e = report_task(t, end);
	if (e < 0) {
		t->ledger[SONDE_LEDGER_REPORT_DROPPED]++;
		(void)sonde_log_warn(e, "task %s: a report could not be made", t->spec.id);
	}
	if (end)
		log_end(t);
}

/* 0 = all: an OAP's own tasks know no selection. */
static uint32_t signals_together(const struct sonde_tasks *tasks)
{
	uint32_t signals = 0;

	for (size_t i = 0; i < ELEMENTS_OF(tasks->slots); i++) {
		const struct sonde_task *t = tasks->slots[i];

		if (!t || t->ended)
			continue;
		if (!t->spec.signals)
			return 0;
		signals |= t->spec.signals;
	}
	return signals;
}

static int report_all(struct sonde_tasks *tasks, uint64_t *refused)
{
	_cleanup_(sonde_batch_done) struct sonde_batch b =
		SONDE_BATCH_INIT(tasks->snapshot.wall_ms);
	_cleanup_(sonde_report_freep) struct sonde_report *r = NULL;
	int e;

	/* To an OAP the tasks are one, and each asked. */
	(void)meters(tasks, &tasks->together, true, signals_together(tasks), &b, refused);
	if (b.meters == 0)
		return 0;
	tasks->together_sequence++;
	e = new_report(TASKS_ALL, tasks->together_sequence, sonde_mono_ns(), &b, &r);
	if (e == 0)
		sonde_delivery_add(tasks->config.delivery, &r);
	return e;
}

void tasks_report_together(struct sonde_tasks *tasks)
{
	uint64_t refused = 0;
	int e = report_all(tasks, &refused);

	for (size_t i = 0; i < ELEMENTS_OF(tasks->slots); i++) {
		struct sonde_task *t = tasks->slots[i];

		if (!t || t->ended)
			continue;
		t->ledger[SONDE_LEDGER_RECORD_REFUSED] += refused;
		t->ledger[SONDE_LEDGER_REPORT_DROPPED] += e < 0;
	}
	if (e < 0)
		(void)sonde_log_warn(e, "a report could not be made");
}
