/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The TCP collector's two tiers: with socket storage (this folder), and where the
 * kernel lacks what its core wants, with a hash (collect/tcp_hash.h). The second one
 * gives less: what the first would have given is told as replaced or absent, with
 * the reason for which the first one is not to be had.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "collect/tcp/state.h"
#include "collect/tcp_hash.h"

struct tier {
	const struct sonde_collector *collector;
	void *state;
	struct sonde_collect_config config;
};

/* The sink of the second tier's PROBE records: what they stand in for goes before them. */
struct telling {
	struct sonde_collect_sink sink;
	const struct sonde_plan *better; /* the first tier's plan */
	const char *why;
	char last[sizeof(((struct sonde_probe_probe *)NULL)->metrics)];
};

/* Why the first tier's core is not to be had; NULL = it is. */
static const char *why_not(const struct sonde_plan *p)
{
	const struct sonde_plan_metric *core = sonde_plan_core_missing(p);

	if (!core)
		return NULL;
	for (uint32_t i = 0; i < p->table->n_programs; i++) {
		if (core->alternatives[0].programs & SONDE_PLAN_BIT(i) && p->refused[i])
			return p->refused[i];
	}
	return "a core metric has no probe";
}

static const struct sonde_plan_metric *find_metric(const struct sonde_plan_table *table,
						   const char *metrics)
{
	for (size_t i = 0; i < table->n_metrics; i++) {
		if (strcmp(table->metrics[i].metrics, metrics) == 0)
			return &table->metrics[i];
	}
	return NULL;
}

static int tell_better(const struct telling *t, const struct sonde_plan_metric *m, uint32_t state)
{
	struct sonde_probe_reply reply = {.type = SONDE_PROBE_PROBE};
	const struct sonde_plan_alternative *a = &m->alternatives[0];
	uint32_t program = (uint32_t)__builtin_ctzll(a->programs);
	const char *why = t->better->refused[program];
	struct sonde_probe_probe *probe = &reply.probe;

	if (state == SONDE_PROBE_ABSENT && m->option && !(m->option & t->better->options)) {
		state = SONDE_PROBE_UNASKED;
		why = why ? why : "not requested";
	}
	probe->state = state;
	probe->core = m->core;
	(void)snprintf(probe->name, sizeof(probe->name), "%s",
		       a->name ? a->name : t->better->table->programs[program].hook);
	(void)snprintf(probe->metrics, sizeof(probe->metrics), "%s", m->metrics);
	(void)snprintf(probe->reason, sizeof(probe->reason), "%s", why ? why : t->why);
	(void)snprintf(probe->per, sizeof(probe->per), "run");
	return t->sink.emit(t->sink.ctx, &reply);
}

/* Hooks that both tiers use alike need no second word. */
static bool is_the_same(const struct sonde_plan *p, const struct sonde_plan_metric *m,
			const char *name)
{
	uint32_t program = (uint32_t)__builtin_ctzll(m->alternatives[0].programs);

	return !m->alternatives[0].name && strcmp(p->table->programs[program].hook, name) == 0;
}

static int emit_behind_better(void *ctx, struct sonde_probe_reply *reply)
{
	struct telling *t = ctx;
	const struct sonde_plan_metric *m;
	int r;

	if (reply->type != SONDE_PROBE_PROBE || strcmp(t->last, reply->probe.metrics) == 0)
		return t->sink.emit(t->sink.ctx, reply);
	(void)snprintf(t->last, sizeof(t->last), "%s", reply->probe.metrics);
	m = find_metric(t->better->table, reply->probe.metrics);
	if (m && !is_the_same(t->better, m, reply->probe.name)) {
		r = tell_better(t, m, SONDE_PROBE_REPLACED);
		if (r < 0)
			return r;
	}
	return t->sink.emit(t->sink.ctx, reply);
}

static int tell_absent(const struct telling *t)
{
	const struct sonde_plan_table *table = t->better->table;
	int r = 0;

	for (size_t i = 0; i < table->n_metrics && r == 0; i++) {
		if (!find_metric(tcp_hash_plan_table(), table->metrics[i].metrics))
			r = tell_better(t, &table->metrics[i], SONDE_PROBE_ABSENT);
	}
	return r;
}

/* @start: of the second tier, or its plan() where *@ret_state is not wanted. */
static int second_tier(const struct sonde_collect_config *config, const struct sonde_plan *better,
		       const char *why, struct sonde_collect_sink sink,
		       struct sonde_collect_timing *timing, void **ret_state)
{
	struct telling t = {.sink = sink, .better = better, .why = why};
	struct sonde_collect_sink through = {emit_behind_better, &t, sink.open_flows};
	int r;

	if (ret_state)
		r = sonde_collector_tcp_hash.start(config, through, timing, ret_state);
	else
		r = sonde_collector_tcp_hash.plan(config, through);
	if (r < 0)
		return r;
	r = tell_absent(&t);
	if (r < 0 && ret_state)
		*ret_state = sonde_collector_tcp_hash.stop(*ret_state, NULL);
	return r;
}

static int first_plan(const struct sonde_collect_config *config, struct sonde_plan *ret,
		      const char **ret_why)
{
	int r = sonde_plan_init(ret, tcp_plan_table(), config);

	*ret_why = r < 0 ? NULL : why_not(ret);
	return r;
}

static int discard(void *ctx, struct sonde_probe_reply *reply)
{
	return 0;
}

static int tier_plan(const struct sonde_collect_config *config, struct sonde_collect_sink sink)
{
	struct sonde_plan first;
	const char *why;
	int r;

	/* Which tier it is the verifier may decide. */
	if (config->trial) {
		r = tcp_storage_collector.plan(config,
					       (struct sonde_collect_sink){.emit = discard});
		if (r < 0)
			return r;
	}
	r = first_plan(config, &first, &why);
	if (r < 0)
		return r;
	if (why)
		r = second_tier(config, &first, why, sink, NULL, NULL);
	else
		r = tcp_storage_collector.plan(config, sink);
	sonde_plan_done(&first);
	return r;
}

static int tier_memory(const struct sonde_collect_config *config, struct sonde_collect_memory *sum)
{
	struct sonde_plan first;
	const char *why;
	int r;

	r = first_plan(config, &first, &why);
	if (r < 0)
		return r;
	sonde_plan_done(&first);
	return why ? sonde_collector_tcp_hash.memory(config, sum)
		   : tcp_storage_collector.memory(config, sum);
}

static int start_one(struct tier *t, const struct sonde_plan *first, const char *why,
		     struct sonde_collect_sink sink, struct sonde_collect_timing *timing)
{
	int r;

	t->collector = &tcp_storage_collector;
	if (!why) {
		r = t->collector->start(&t->config, sink, timing, &t->state);
		/* Its core was planned, but this kernel's verifier will not have it. */
		if (r != -EACCES && r != -EINVAL && r != -E2BIG)
			return r;
		why = "the kernel refused to load it";
	}
	t->collector = &sonde_collector_tcp_hash;
	return second_tier(&t->config, first, why, sink, timing, &t->state);
}

static int tier_start(const struct sonde_collect_config *config, struct sonde_collect_sink sink,
		      struct sonde_collect_timing *timing, void **ret_state)
{
	_cleanup_free_ struct tier *t = calloc(1, sizeof(*t));
	struct sonde_plan first;
	const char *why;
	int r;

	assert(config && ret_state);

	if (!t)
		return -ENOMEM;
	t->config = *config;
	r = first_plan(config, &first, &why);
	if (r < 0)
		return r;
	r = start_one(t, &first, why, sink, timing);
	sonde_plan_done(&first);
	if (r < 0)
		return r;
	t->config.cgroup_fd = -1; /* borrowed for the start */
	*ret_state = TAKE_PTR(t);
	return 0;
}

static void *tier_stop(void *state, struct sonde_collect_timing *timing)
{
	struct tier *t = state;

	if (t)
		t->state = t->collector->stop(t->state, timing);
	free(t);
	return NULL;
}

static int tier_target_add(void *state, uint32_t pid, uint64_t task_mask)
{
	const struct tier *t = state;

	return t->collector->target_add(t->state, pid, task_mask);
}

static int tier_target_remove(void *state, uint32_t pid, uint64_t task_mask)
{
	const struct tier *t = state;

	return t->collector->target_remove(t->state, pid, task_mask);
}

static int tier_task_remove(void *state, uint64_t task_mask)
{
	const struct tier *t = state;

	return t->collector->task_remove(t->state, task_mask);
}

static int tier_set_options(void *state, uint32_t options, struct sonde_collect_sink sink)
{
	struct tier *t = state;
	struct sonde_plan first;
	const char *why;
	int r;

	if (t->collector->set_options)
		return t->collector->set_options(t->state, options, sink);
	t->config.options = options;
	r = first_plan(&t->config, &first, &why);
	if (r < 0)
		return r;
	r = tell_absent(&(struct telling){
		.sink = sink, .better = &first, .why = why ? why : "not on this kernel"});
	sonde_plan_done(&first);
	return r;
}

static int tier_set_signals(void *state, uint32_t signals, struct sonde_collect_sink sink)
{
	struct tier *t = state;
	int r = 0;

	if (t->collector->set_signals)
		r = t->collector->set_signals(t->state, signals, sink);
	if (r == 0)
		t->config.signals = signals;
	return r;
}

static int tier_seed(void *state, struct sonde_collect_timing *timing)
{
	const struct tier *t = state;

	return t->collector->seed(t->state, timing);
}

static int tier_snapshot(void *state, struct sonde_collect_sink sink)
{
	const struct tier *t = state;

	return t->collector->snapshot(t->state, sink);
}

const struct sonde_collector sonde_collector_tcp = {
	.name = "tcp",
	.bit = SONDE_PROBE_COLLECT_TCP,
	.plan = tier_plan,
	.memory = tier_memory,
	.start = tier_start,
	.stop = tier_stop,
	.target_add = tier_target_add,
	.target_remove = tier_target_remove,
	.task_remove = tier_task_remove,
	.set_options = tier_set_options,
	.set_signals = tier_set_signals,
	.seed = tier_seed,
	.snapshot = tier_snapshot,
};
