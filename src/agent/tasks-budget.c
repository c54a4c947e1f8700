/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Budget: the task's own limits, held against what Sonde costs on this machine. Tasks that run at once share one
 * attachment, and its cost counts against each of them: what a limit is for is the machine, not the account.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "agent/tasks-internal.h"
#include "base/clock.h"

/* A shorter time says little: /proc counts in ticks of 10 ms, and a snapshot comes in one piece. */
#define LOOK_NS (2 * SONDE_NS_PER_S)

static bool has_limits(const struct sonde_task_limits *l)
{
	return l->max_cpu_percent || l->max_memory_bytes || l->max_events_per_second ||
	       l->stop_at_max_peers;
}

static void stop(struct sonde_task *t, const char *fmt, ...) _printf_(2, 3);
static void stop(struct sonde_task *t, const char *fmt, ...)
{
	char words[SONDE_TASK_WORDS_MAX];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(words, sizeof(words), fmt, ap);
	va_end(ap);
	t->reason_code = SONDE_TASK_CODE_BUDGET;
	t->budget.look_ns = 0;
	tasks_finish(t, SONDE_TASK_STOPPED, "budget: %s", words);
}

/* Cells that the task's reports have; the `other` cells are none of a peer's. */
static size_t count_peers(const struct sonde_task *t)
{
	const struct sonde_snapshot *s = &t->tasks->snapshot;
	size_t n = 0;

	for (size_t i = 0; i < s->n_cells; i++) {
		const struct sonde_cell_state *c = s->cells[i];

		n += sonde_view_counts(&t->view, s, i) && !(c->key.flags & SONDE_TCP_CELL_OTHER);
	}
	return n;
}

static bool peers_passed(struct sonde_task *t)
{
	const struct sonde_task_limits *l = &t->spec.limits;
	const struct sonde_snapshot *s = &t->tasks->snapshot;
	uint64_t folded = sonde_task_ledger(t, s, SONDE_TCP_LOSS_CELL_FULL) +
			  sonde_task_ledger(t, s, SONDE_LEDGER_UDP + SONDE_UDP_LOSS_CELL_FULL);
	size_t n = count_peers(t);

	if (!l->stop_at_max_peers)
		return false;
	if (l->max_peers && n > l->max_peers)
		stop(t, "peers: %zu, the limit is %u", n, l->max_peers);
	else if (folded)
		stop(t, "peers: the table was full at %zu of this task's, the limit is %u", n,
		     l->max_peers);
	else
		return false;
	return true;
}

static bool memory_passed(struct sonde_task *t, const struct tasks_usage *u)
{
	uint64_t limit = t->spec.limits.max_memory_bytes;

	if (!limit || u->memory_bytes <= limit)
		return false;
	stop(t, "memory: %.1f MB of maps and processes, the limit is %.1f MB",
	     (double)u->memory_bytes / 1e6, (double)limit / 1e6);
	return true;
}

static uint64_t grown(uint64_t now, uint64_t then)
{
	return now > then ? now - then : 0;
}

/* Over the time since the last look that counted. */
static bool rate_passed(struct sonde_task *t, const struct tasks_usage *u, double seconds)
{
	const struct sonde_task_limits *l = &t->spec.limits;
	double percent = (double)grown(u->cpu_ns, t->budget.cpu_ns) / seconds / 1e7;
	double events = (double)grown(u->runs, t->budget.runs) / seconds;

	if (l->max_cpu_percent && percent > l->max_cpu_percent)
		stop(t, "CPU: %.1f %% of a core over %.1f s, the limit is %u %%", percent, seconds,
		     l->max_cpu_percent);
	else if (l->max_events_per_second && events > (double)l->max_events_per_second)
		stop(t, "events: %.0f a second over %.1f s, the limit is %" PRIu64, events, seconds,
		     l->max_events_per_second);
	else
		return false;
	return true;
}

static void count_from(struct sonde_task *t, const struct tasks_usage *u, uint64_t now)
{
	t->budget = (struct sonde_task_budget){
		.look_ns = now + LOOK_NS, .since_ns = now, .cpu_ns = u->cpu_ns, .runs = u->runs};
}

/* Attaching and seeding are no part of the first rate: they are over when the task runs. */
void tasks_budget_begin(struct sonde_task *t)
{
	struct tasks_usage u;

	assert(t);

	if (!has_limits(&t->spec.limits))
		return;
	tasks_usage(t, &u);
	count_from(t, &u, sonde_mono_ns());
}

void tasks_budget_look(struct sonde_task *t)
{
	uint64_t now = sonde_mono_ns();
	struct tasks_usage u;

	assert(t);

	if (!t->budget.look_ns || t->stopping)
		return;
	tasks_usage(t, &u);
	if (memory_passed(t, &u) || peers_passed(t) || now < t->budget.look_ns)
		return;
	if (!rate_passed(t, &u, (double)(now - t->budget.since_ns) / 1e9))
		count_from(t, &u, now);
}

/* What the agent will need to hold what the maps do. */
#define AGENT_BYTES (4ULL * 1024 * 1024)

uint64_t tasks_budget_beside_maps(const struct sonde_task *t)
{
	struct tasks_usage u;

	tasks_usage(t, &u);
	return u.memory_bytes - sonde_snapshot_map_bytes(&t->tasks->snapshot) + AGENT_BYTES;
}

int tasks_budget_maps(const struct sonde_task *t, uint64_t *ret_bytes)
{
	uint64_t limit = t->spec.limits.max_memory_bytes, taken;

	*ret_bytes = 0;
	if (!limit)
		return 0;
	taken = tasks_budget_beside_maps(t);
	if (taken >= limit)
		return -ENOSPC;
	*ret_bytes = limit - taken;
	return 0;
}
