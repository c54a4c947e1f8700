/* SPDX-License-Identifier: Apache-2.0 */
/* What would be attached, for how much memory, and what the policy says of it. Nothing is. */
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>

#include "host/cgroup2.h"
#include "probe/policy.h"
#include "probe/serve-state.h"

static int ask_policy(struct sonde_serve *s, const struct sonde_probe_request *q,
		      struct serve_answer *a)
{
	const char *rule;
	int r;

	r = sonde_policy_admit(s->config.policy, q, serve_count_others(s, UINT32_MAX), &rule);
	return r < 0 ? serve_say(a, r, "%s", rule) : 0;
}

#define CELLS_MIN 16

int serve_fit_maps(const struct sonde_collector *c, uint64_t max_map_bytes,
		   struct sonde_collect_config *config, uint64_t *map_bytes, struct serve_answer *a)
{
	uint32_t wanted = config->max_cells;
	struct sonde_collect_memory memory;
	int r;

	if (!max_map_bytes || !c->memory)
		return 0;
	for (;; config->max_cells /= 2) {
		memory = (struct sonde_collect_memory){0};
		r = c->memory(config, &memory);
		if (r < 0)
			return serve_say(a, r, "memory of collector %s", c->name);
		if (*map_bytes + memory.full_bytes <= max_map_bytes)
			break;
		if (config->max_cells < 2 * CELLS_MIN) {
			return serve_say(a, -ENOSPC,
					 "memory: the maps take %.1f MB at least, the limit leaves "
					 "them %.1f MB",
					 (double)(*map_bytes + memory.full_bytes) / 1e6,
					 (double)max_map_bytes / 1e6);
		}
	}
	*map_bytes += memory.full_bytes;
	if (config->max_cells < wanted)
		(void)serve_say(a, 0, "room for %u peers in place of %u, by the memory limit",
				config->max_cells, wanted);
	return 0;
}

static int plan_collector(const struct sonde_collector *c,
			  const struct sonde_collect_config *config, struct serve_answer *a,
			  struct sonde_collect_memory *memory)
{
	struct sonde_collect_sink sink = {.emit = serve_emit, .ctx = a};
	struct sonde_collect_config small = *config;
	int r;

	/* What the kernel makes of the programs is not a matter of the tables' sizes. */
	small.max_cells = CELLS_MIN;
	small.max_targets = CELLS_MIN;
	small.trial = true;
	small.note_id = serve_note_trial;
	r = c->plan(&small, sink);
	if (r < 0)
		return serve_say(a, r, "plan of collector %s", c->name);
	r = c->memory ? c->memory(config, memory) : 0;
	return r < 0 ? serve_say(a, r, "memory of collector %s", c->name) : 0;
}

static bool wants_flows(const struct sonde_serve *s, const struct sonde_probe_request *q)
{
	return sonde_policy_flows(s->config.policy) &&
	       (q->collectors == 0 || q->options & SONDE_PROBE_OPTION_FLOWS);
}

int serve_plan(struct sonde_serve *s, const struct sonde_probe_request *q, uint64_t now_ns,
	       struct serve_answer *a)
{
	struct sonde_collect_memory memory = {0};
	bool doctor = q->collectors == 0;
	_cleanup_close_ int cgroup_fd = -1;
	struct sonde_collect_config config;
	uint64_t map_bytes = 0;
	int r;

	r = doctor ? 0 : ask_policy(s, q, a);
	if (r < 0)
		return r;
	cgroup_fd = sonde_cgroup2_open(s->config.proc_fd);
	config =
		serve_collect_config(s, doctor ? 0 : q->max_peers, doctor ? UINT32_MAX : q->options,
				     cgroup_fd < 0 ? -1 : cgroup_fd);
	config.signals = doctor ? 0 : serve_signals(q);
	for (const struct sonde_collector *const *c = s->config.collectors; *c; c++) {
		struct sonde_collect_config own = config; /* made to fit for this one alone */

		if (!doctor && !((*c)->bit & q->collectors))
			continue;
		r = serve_fit_maps(*c, doctor ? 0 : q->max_map_bytes, &own, &map_bytes, a);
		if (r == 0)
			r = plan_collector(*c, &own, a, &memory);
		if (r < 0)
			return r;
	}
	if (wants_flows(s, q)) {
		r = serve_flow_plan(s, a);
		if (r < 0)
			return r;
	}
	(void)malloc_trim(0); /* the idle process is to be as small as before */
	a->numbers[0] = memory.start_bytes;
	a->numbers[1] = memory.full_bytes;
	return 0;
}
