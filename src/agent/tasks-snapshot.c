/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <errno.h>

#include "agent/tasks-internal.h"
#include "base/clock.h"

static void snapshot(struct sonde_tasks *tasks);

bool tasks_attached(const struct sonde_tasks *tasks)
{
	for (size_t i = 0; i < ELEMENTS_OF(tasks->slots); i++) {
		const struct sonde_task *t = tasks->slots[i];

		if (t && !t->ended &&
		    (t->state == SONDE_TASK_RUNNING || t->state == SONDE_TASK_DRAINING ||
		     t->state == SONDE_TASK_ATTACHING))
			return true;
	}
	return false;
}

static int add_services(struct sonde_tasks *tasks, const struct sonde_task *t)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < t->flows.services.n; i++) {
		const struct sonde_service *s = &t->flows.services.list[i];

		r = sonde_peer_table_add_service(tasks->peers, s->protocol, s->addr, s->port,
						 s->backend, s->backend_port);
	}
	return r;
}

static void fill_peers(struct sonde_tasks *tasks)
{
	const struct sonde_probe_listener *l;
	size_t n = 0;
	int r = 0;

	sonde_peer_table_reset(tasks->peers);
	for (size_t i = 0; r == 0 && i < tasks->snapshot.n_cells; i++) {
		if (tasks->snapshot.cells[i])
			r = sonde_peer_table_add_cell(tasks->peers, &tasks->snapshot.cells[i]->key);
	}
	for (size_t i = 0; r == 0 && i < ELEMENTS_OF(tasks->slots); i++)
		r = tasks->slots[i] ? add_services(tasks, tasks->slots[i]) : 0;
	l = sonde_finder_listeners(tasks->config.finder, &n);
	for (size_t i = 0; r == 0 && i < n; i++)
		r = sonde_peer_table_add_listener(tasks->peers, l[i].netns, l[i].addr, l[i].port,
						  l[i].pid);
	/* Without room for a row its peer is shown by its address: true, only less telling. */
	if (r == 0)
		r = tasks_add_host_addresses(tasks->peers);
	(void)r;
}

/* Workers that carry one id are one server. */
static uint64_t group_of(void *ctx, uint32_t pid)
{
	const struct sonde_process *p = tasks_process_of(ctx, pid);
	uint64_t h = 0xcbf29ce484222325ULL;

	if (!p)
		return pid;
	for (const char *s = p->id; *s; s++)
		h = (h ^ (unsigned char)*s) * 0x100000001b3ULL;
	return h | 1ULL << 63; /* never a bare pid */
}

/* Is it this snapshot that the task waits for? */
static bool served(const struct sonde_tasks *tasks, const struct sonde_task *t)
{
	return t && !t->ended && t->wait != SONDE_TASK_WAIT_NONE && t->ticket <= tasks->ticket_done;
}

static void take_flows(struct sonde_task *t)
{
	if (sonde_flows_take(&t->flows, &t->tasks->snapshot, &t->view) < 0)
		t->ledger[SONDE_LEDGER_RECORD_REFUSED]++;
}

/* Before the peers: a flow may tell who is behind an address. */
static void take(struct sonde_tasks *tasks, int error)
{
	for (size_t i = 0; i < ELEMENTS_OF(tasks->slots); i++) {
		struct sonde_task *t = tasks->slots[i];

		if (!t || t->ended)
			continue;
		if (t->state == SONDE_TASK_RUNNING || t->state == SONDE_TASK_DRAINING)
			tasks_take_processes(t);
		if (error == 0)
			take_flows(t);
	}
}

static void serve(struct sonde_tasks *tasks, int error)
{
	bool report = false;

	for (size_t i = 0; i < ELEMENTS_OF(tasks->slots); i++) {
		struct sonde_task *t = tasks->slots[i];

		report = report || (served(tasks, t) && (t->wait == SONDE_TASK_WAIT_INTERVAL ||
							 t->wait == SONDE_TASK_WAIT_FINAL));
	}
	/* Before any of them leaves. */
	if (report && !tasks->extension)
		tasks_report_together(tasks);
	for (size_t i = 0; i < ELEMENTS_OF(tasks->slots); i++) {
		if (served(tasks, tasks->slots[i]))
			tasks_on_snapshot(tasks->slots[i], error);
	}
}

static void on_record(void *ctx, const struct sonde_probe_reply *reply)
{
	struct sonde_tasks *tasks = ctx;

	(void)sonde_snapshot_record(&tasks->snapshot, reply); /* what it refuses it counts */
}

static void on_end(void *ctx, int error, const struct sonde_probe_end *end)
{
	struct sonde_tasks *tasks = ctx;

	if (error == -ECANCELED || error == -EPIPE) /* what follows is told apart */
		return;
	sonde_snapshot_commit(&tasks->snapshot, sonde_mono_ns(), sonde_wall_ms());
	tasks->ticket_done = tasks->ticket_asked;
	take(tasks, error);
	fill_peers(tasks);
	sonde_peer_table_seal(tasks->peers, group_of, tasks);
	serve(tasks, error);
	if (tasks->snapshot_again)
		snapshot(tasks);
}

/* All where it is some task's base, else what tasks can tell, each of its own processes. */
static uint32_t open_flows(const struct sonde_tasks *tasks)
{
	uint32_t n = 0;

	for (size_t i = 0; i < ELEMENTS_OF(tasks->slots); i++) {
		const struct sonde_task *t = tasks->slots[i];

		if (!t || t->ended || !t->flows.wanted)
			continue;
		if (t->wait == SONDE_TASK_WAIT_BASE || t->wait == SONDE_TASK_WAIT_JOIN ||
		    t->join_due)
			return UINT32_MAX;
		n += 2 * SONDE_FLOWS_OPEN_MAX;
	}
	return n;
}

static void snapshot(struct sonde_tasks *tasks)
{
	const struct sonde_probe_request q = {.type = SONDE_PROBE_SNAPSHOT,
					      .open_flows = open_flows(tasks)};
	int r;

	tasks->snapshot_again = false;
	sonde_snapshot_begin(&tasks->snapshot);
	tasks->ticket_asked++;
	r = sonde_probe_client_request(tasks->config.probe, &q, 0,
				       (struct sonde_probe_call){on_record, on_end, tasks});
	if (r == 0)
		return;
	tasks->ticket_done = tasks->ticket_asked;
	if (r != -EPIPE) /* too many requests under way: the next interval has it all */
		serve(tasks, r);
}

void tasks_want_snapshot(struct sonde_task *t, enum sonde_task_wait wait, bool later)
{
	struct sonde_tasks *tasks = t->tasks;
	bool under_way = tasks->ticket_asked > tasks->ticket_done;

	t->wait = wait;
	t->ticket = tasks->ticket_asked + (under_way && !later ? 0 : 1);
	if (!under_way)
		snapshot(tasks);
	else if (later)
		tasks->snapshot_again = true;
}
