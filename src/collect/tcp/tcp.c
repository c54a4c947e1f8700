/* SPDX-License-Identifier: Apache-2.0 */
/* The TCP collector's descriptor: start, plan and stop. */
#include <assert.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>

#include "base/clock.h"
#include "collect/tcp/state.h"
#include "tcp.skel.h"

static void *tcp_stop(void *state, struct sonde_collect_timing *timing)
{
	struct tcp_state *s = state;
	uint64_t start = sonde_mono_ns();

	if (!s)
		return NULL;
	tcp_timing_stop(s); /* it uses the other's maps */
	sonde_object_done(&s->object);
	sonde_table_done(&s->cells);
	sonde_table_done(&s->rtt);
	sonde_table_done(&s->open);
	sonde_table_done(&s->ended);
	sonde_table_done(&s->calls);
	sonde_table_done(&s->coarse);
	sonde_table_done(&s->age);
	tcp_bpf__destroy(s->skel);
	sonde_told_done(&s->told);
	free(s->drops);
	free(s->sites);
	free(s);
	if (timing)
		timing->detach_ns += sonde_mono_ns() - start;
	return NULL;
}

static void tcp_stopp(struct tcp_state **s)
{
	(void)tcp_stop(*s, NULL);
}

/* Everything before the kernel is asked to change. */
static int new_state(const struct sonde_collect_config *config, struct tcp_state **ret)
{
	_cleanup_(tcp_stopp) struct tcp_state *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->told.entry_bytes = sizeof(struct tcp_told);
	r = tcp_programs_init(s, config);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(s);
	return 0;
}

static void init_tables(struct tcp_state *s)
{
	size_t n = (size_t)s->object.cell_limit + s->object.other_limit;

	sonde_table_init(&s->cells, bpf_map__fd(s->skel->maps.sonde_cells),
			 sizeof(struct sonde_tcp_slot), n);
	sonde_table_init(&s->rtt, bpf_map__fd(s->skel->maps.sonde_rtt),
			 sizeof(struct sonde_tcp_hist), n);
	sonde_table_init(&s->age, bpf_map__fd(s->skel->maps.sonde_age),
			 sizeof(struct sonde_tcp_age), n);
	sonde_table_init(&s->open, bpf_map__fd(s->skel->maps.sonde_flow_list),
			 sizeof(struct sonde_flow), SONDE_TCP_OPEN_SLOTS);
	sonde_table_init(&s->ended, bpf_map__fd(s->skel->maps.sonde_flow_ring),
			 sizeof(struct sonde_tcp_ended), SONDE_TCP_ENDED_SLOTS);
	sonde_table_init(&s->calls, bpf_map__fd(s->skel->maps.sonde_calls),
			 sizeof(struct sonde_tcp_calls), n);
	sonde_table_init(&s->coarse, bpf_map__fd(s->skel->maps.sonde_call_coarse),
			 sizeof(struct sonde_tcp_coarse), n);
}

static int tcp_start(const struct sonde_collect_config *config, struct sonde_collect_sink sink,
		     struct sonde_collect_timing *timing, void **ret_state)
{
	_cleanup_(tcp_stopp) struct tcp_state *s = NULL;
	struct sonde_collect_config base;
	uint64_t start = sonde_mono_ns();
	int r;

	assert(config && ret_state);

	base = *config;
	base.options &= ~SONDE_PROBE_OPTION_EXECUTION_TIME; /* tcp_set_options() */
	r = new_state(&base, &s);
	if (r < 0)
		return r;
	if (timing)
		timing->open_ns += sonde_mono_ns() - start;
	r = tcp_programs_start(s, timing);
	if (r < 0)
		return r;
	init_tables(s);
	r = sonde_plan_tell(&s->object.plan, sink);
	if (r < 0)
		return r;
	*ret_state = TAKE_PTR(s);
	return 0;
}

static int tcp_plan(const struct sonde_collect_config *config, struct sonde_collect_sink sink)
{
	_cleanup_(tcp_stopp) struct tcp_state *s = NULL;
	int r;

	assert(config);

	r = new_state(config, &s);
	return r < 0 ? r : sonde_object_tell_plan(&s->object, sink);
}

static int tcp_memory(const struct sonde_collect_config *config, struct sonde_collect_memory *sum)
{
	_cleanup_(tcp_stopp) struct tcp_state *s = NULL;
	int r;

	assert(config && sum);

	r = new_state(config, &s);
	return r < 0 ? r : sonde_object_memory(&s->object, sum);
}

const struct sonde_collector tcp_storage_collector = {
	.name = "tcp",
	.bit = SONDE_PROBE_COLLECT_TCP,
	.plan = tcp_plan,
	.memory = tcp_memory,
	.start = tcp_start,
	.stop = tcp_stop,
	.target_add = tcp_target_add,
	.target_remove = tcp_target_remove,
	.task_remove = tcp_task_remove,
	.set_options = tcp_set_options,
	.set_signals = tcp_set_signals,
	.seed = tcp_seed,
	.snapshot = tcp_snapshot,
};
