/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Object: a BPF object of a collector as its plan wants it: loaded, attached,
 * calibrated, and what every collector tells of it alike. The collector keeps the
 * skeleton and reads its own maps. What is attached only while a task asks for it
 * may be a second object over the first one's maps. Worker's thread only.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "collect/collector.h"
#include "collect/plan.h"
#include "collect/target-table.h"

struct bpf_link;
struct bpf_map;
struct bpf_object;
struct bpf_object_skeleton;

/* The skeleton's part. */
struct sonde_object_loader {
	/*
	 * Frees the skeleton that is there, opens a new one, sets sizes and settings (@pidns_inum: of our PID namespace).
	 * *@ret: borrowed. Return: 0, -errno.
	 */
	int (*open)(void *ctx, uint32_t pidns_inum, struct bpf_object_skeleton **ret);
	/* About to be loaded. CAP_BPF and CAP_PERFMON are raised. May be NULL. Return: 0, -errno. */
	int (*loading)(void *ctx);
	/* Loaded, and not attached yet: settings that depend on what the plan has by now. CAP_BPF is raised. May be NULL. */
	void (*loaded)(void *ctx);
	/* What sonde_clock of bpf/lib/calibrate.bpf.h counted. NULL only where the object is uncalibrated. */
	void (*read_clock)(void *ctx, uint64_t *ret_ns, uint64_t *ret_runs);
	/* The map that an iterator over a map's elements walks; NULL = the program is none such. May be NULL. */
	struct bpf_map *(*walked)(void *ctx, uint32_t program);
	uint32_t cells_max; /* what the kernel side's memory allows, whatever is asked for */
	bool shares_maps;   /* with another object, which has noted them */
	void *ctx;
};

struct sonde_object {
	struct sonde_collect_config config; /* max_targets within bounds */
	uint32_t cell_limit;		    /* max_cells within bounds */
	uint32_t other_limit; /* cells for what finds no room there: 2 a target, for 128 at most */
	struct sonde_plan plan;
	struct sonde_object_loader loader;
	uint64_t programs;	/* of the plan's, which are this object's; all at first */
	struct bpf_object *bpf; /* borrowed from the skeleton; NULL: there is none, or no more */
	struct bpf_link *links[SONDE_PLAN_PROGRAMS_MAX]; /* owned; NULL = not attached */
	uint32_t n_cpus;
	bool owns_cgroup; /* config.cgroup_fd is a copy of what was borrowed: programs may be attached to it later */
	uint64_t hook_ns_x1000, clock_ns_x1000;
	bool uncalibrated; /* without the calibrating programs, or refused them: a hook's cost is the default */
};

/* Makes the plan. Return: 0, -ENOMEM, -errno. sonde_object_done() is fine after a failure and on a zeroed one. */
int sonde_object_init(struct sonde_object *o, const struct sonde_plan_table *table,
		      const struct sonde_collect_config *config,
		      struct sonde_object_loader loader) _must_check_;
/* Detaches everything; the skeleton stays. */
void sonde_object_done(struct sonde_object *o);

/*
 * Loads what the plan wants and attaches it in the @order given (indices of programs; what finishes something
 * stands before what begins it), then calibrates. What the kernel refuses falls to the plan's next alternative.
 * Return: 0, -EOPNOTSUPP (a core metric has no program here), -errno.
 */
int sonde_object_start(struct sonde_object *o, const uint32_t *order, size_t n,
		       struct sonde_collect_timing *timing) _must_check_;

/*
 * PROBE records of the plan. Where the config asks for a trial, what the plan wants is loaded before, unless that was
 * done, so that the plan knows what the kernel refuses. The caller frees the skeleton. Return: 0, the sink's error.
 */
int sonde_object_tell_plan(struct sonde_object *o, struct sonde_collect_sink sink) _must_check_;
/* Adds what its maps take; opens the object. Return: 0, -errno. */
int sonde_object_memory(const struct sonde_object *o,
			struct sonde_collect_memory *sum) _must_check_;

/* Is it of this object, and wanted by the plan? */
bool sonde_object_wants(const struct sonde_object *o, uint32_t program);

/* For accesses to maps and for iterators, until sonde_object_drop(). Return: 0, -errno. */
int sonde_object_raise(const struct sonde_object *o) _must_check_;
void sonde_object_drop(const struct sonde_object *o);

/* The collector's @map of targets, see target-table.h: the capability is raised inside. */
struct sonde_target_table sonde_object_targets(const struct sonde_object *o,
					       const struct bpf_map *map);
int sonde_object_target_add(const struct sonde_object *o, const struct bpf_map *map, uint32_t pid,
			    uint64_t task_mask) _must_check_;
/* *@ret_gone: it was the last task of a pid. */
int sonde_object_target_remove(const struct sonde_object *o, const struct bpf_map *map,
			       uint32_t pid, uint64_t task_mask, bool *ret_gone) _must_check_;
int sonde_object_task_remove(const struct sonde_object *o, const struct bpf_map *map,
			     uint64_t task_mask, bool *ret_gone) _must_check_;

/*
 * Attaches what of @programs these signals ask for, in order, and then detaches what they do not: the places of those that
 * come and go are taken over without a gap. Return: 0 (also refused), -errno: attached is what was before.
 */
int sonde_object_set_signals(struct sonde_object *o, uint32_t signals, const uint32_t *programs,
			     size_t n) _must_check_;

/* Attaches programs of an option behind the start, and takes them off again. Return: 0 (also refused), -errno. */
int sonde_object_attach(struct sonde_object *o, const uint32_t *programs, size_t n) _must_check_;
void sonde_object_detach(struct sonde_object *o, const uint32_t *programs, size_t n);

/* Runs an iterator to its end. Return: 0, -EOPNOTSUPP (not attached), -errno. */
int sonde_object_iterate(struct sonde_object *o, uint32_t program) _must_check_;

/* Runs that the kernel refused since the last load, 0 without one, because the program was running on that CPU already. */
uint64_t sonde_object_skipped_runs(const struct sonde_object *o);

/* Adds the per-CPU counters of the first @n slots of @map up. Return: 0, -ENOMEM, -errno. */
int sonde_object_sum(const struct sonde_object *o, const struct bpf_map *map, size_t n,
		     uint64_t *ret) _must_check_;

/* A COST record for each program that is wanted or has run, out of the map of bpf/lib/cost.bpf.h. */
int sonde_object_emit_costs(const struct sonde_object *o, const struct bpf_map *map,
			    struct sonde_collect_sink sink) _must_check_;
