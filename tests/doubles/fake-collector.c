/* SPDX-License-Identifier: Apache-2.0 */
#include "doubles/fake-collector.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>

#define DETACH_NS 7

struct fake_collector fake_collector;

static int emit_probe(struct sonde_collect_sink sink)
{
	struct sonde_probe_reply reply = {.type = SONDE_PROBE_PROBE,
					  .probe = {.state = SONDE_PROBE_ATTACHED}};

	(void)snprintf(reply.probe.name, sizeof(reply.probe.name), "fake");
	return sink.emit(sink.ctx, &reply);
}

static int plan(const struct sonde_collect_config *config, struct sonde_collect_sink sink)
{
	fake_collector.plans++;
	return emit_probe(sink);
}

static int start(const struct sonde_collect_config *config, struct sonde_collect_sink sink,
		 struct sonde_collect_timing *timing, void **ret_state)
{
	if (fake_collector.start_error < 0)
		return fake_collector.start_error;
	fake_collector.starts++;
	fake_collector.running = true;
	fake_collector.config = *config;
	fake_collector.signals = config->signals;
	config->note_id(config->ctx, 'p', 1, "00");
	config->note_id(config->ctx, 'm', 1, "map");
	timing->load_ns = 5;
	*ret_state = &fake_collector;
	return emit_probe(sink);
}

static void *stop(void *state, struct sonde_collect_timing *timing)
{
	fake_collector.stops++;
	fake_collector.running = false;
	if (timing)
		timing->detach_ns = DETACH_NS;
	return NULL;
}

static int target_add(void *state, uint32_t pid, uint64_t task_mask)
{
	struct fake_collector *f = state;

	if (f->target_error < 0 && f->targets >= f->target_ok)
		return f->target_error;
	if (f->targets == FAKE_PIDS_MAX)
		return -ENOSPC;
	f->pid[f->targets] = pid;
	f->mask[f->targets++] = task_mask;
	return 0;
}

static int target_remove(void *state, uint32_t pid, uint64_t task_mask)
{
	struct fake_collector *f = state;

	f->target_removes++;
	f->removed_pid = pid;
	return 0;
}

static int task_remove(void *state, uint64_t task_mask)
{
	struct fake_collector *f = state;

	f->removed |= task_mask;
	return 0;
}

static int set_options(void *state, uint32_t options, struct sonde_collect_sink sink)
{
	struct fake_collector *f = state;

	f->option_calls++;
	f->options = options;
	return 0;
}

static int set_signals(void *state, uint32_t signals, struct sonde_collect_sink sink)
{
	struct fake_collector *f = state;

	if (f->signals_error < 0 && signals & ~f->signals)
		return f->signals_error;
	f->signals = signals;
	return 0;
}

static int seed(void *state, struct sonde_collect_timing *timing)
{
	struct fake_collector *f = state;

	f->seeds++;
	timing->seeded_sockets = 3;
	return f->seed_error;
}

static int snapshot(void *state, struct sonde_collect_sink sink)
{
	struct fake_collector *f = state;
	int r;

	f->snapshots++;
	for (unsigned int i = 0; i < f->cells; i++) {
		struct sonde_probe_reply reply = {
			.type = SONDE_PROBE_CELL,
			.cell = {.index = i,
				 .key = {.role = SONDE_TCP_ROLE_CLIENT, .protocol = IPPROTO_TCP}},
		};

		r = sink.emit(sink.ctx, &reply);
		if (r < 0)
			return r;
	}
	return f->snapshot_error;
}

static const struct sonde_collector collector = {
	.name = "fake",
	.bit = SONDE_PROBE_COLLECT_TCP,
	.plan = plan,
	.start = start,
	.stop = stop,
	.target_add = target_add,
	.target_remove = target_remove,
	.task_remove = task_remove,
	.set_options = set_options,
	.set_signals = set_signals,
	.seed = seed,
	.snapshot = snapshot,
};

const struct sonde_collector *const fake_collectors[] = {&collector, NULL};
