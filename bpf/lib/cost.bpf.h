/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/*
 * Own cost: each program counts its runs and times one in SONDE_COST_SAMPLE.
 * Two loads and a store a run; a run that an interrupt splits may be lost, which
 * is well inside what is said of it (estimated).
 */

#ifndef SONDE_COST_PROGRAMS
#error "define SONDE_COST_PROGRAMS and SONDE_COST_SAMPLE first"
#endif

#define SONDE_COST_WARM 16	   /* the first runs find cold caches: not what the others cost */
#define SONDE_COST_FOREIGN_NS 5000 /* a longer run held an interrupt */

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SONDE_COST_PROGRAMS);
	__type(key, __u32);
	__type(value, struct sonde_bpf_cost);
} sonde_cost SEC(".maps");

struct sonde_cost_run {
	struct sonde_bpf_cost *cost;
	__u64 since_ns;
};

static __always_inline struct sonde_cost_run cost_begin(__u32 program)
{
	struct sonde_cost_run run = {};

	run.cost = bpf_map_lookup_elem(&sonde_cost, &program);
	if (run.cost && (run.cost->runs++ & (SONDE_COST_SAMPLE - 1)) == SONDE_COST_WARM)
		run.since_ns = bpf_ktime_get_ns();
	return run;
}

static __always_inline void cost_end(const struct sonde_cost_run *run)
{
	__u64 took_ns;

	if (!run->cost || !run->since_ns)
		return;
	took_ns = bpf_ktime_get_ns() - run->since_ns;
	if (took_ns > SONDE_COST_FOREIGN_NS) {
		run->cost->discarded_runs++;
		return;
	}
	run->cost->sampled_ns += took_ns;
	run->cost->sampled_runs++;
}

#define COUNTED(program, call)                                                                     \
	({                                                                                         \
		struct sonde_cost_run _run = cost_begin(program);                                  \
		call;                                                                              \
		cost_end(&_run);                                                                   \
		0;                                                                                 \
	})
