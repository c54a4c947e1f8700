/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Plan: which programs measure which metrics on this kernel. A collector says in
 * one table what its programs need of the kernel (struct sonde_plan_program) and,
 * for each metric, its alternatives, the best and cheapest first (struct
 * sonde_plan_metric). The kernel is asked for each need, never for its version,
 * and each metric takes the first alternative whose programs are all to be had.
 * What the kernel then refuses to load or to attach is taken out by
 * sonde_plan_refuse(), and its metrics fall to their next alternative.
 *
 * Every alternative becomes one PROBE record: attached, replaced or absent with
 * the reason, or spare because a better one was there.
 *
 * What the kernel said is kept until the process ends: it says the same as long
 * as it runs, and asking means parsing 6 MB of BTF. Worker's thread only.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "collect/collector.h"
#include "collect/kernel-btf.h"

#define SONDE_PLAN_PROGRAMS_MAX 64
#define SONDE_PLAN_METRICS_MAX 48
#define SONDE_PLAN_ALTERNATIVES_MAX 6
#define SONDE_PLAN_NEEDS_MAX 6
#define SONDE_PLAN_ENUMS_MAX 2

#define SONDE_PLAN_BIT(program) (1ULL << (program))

/* One BPF program, and what it needs. Its index in the table is its bit in an alternative. */
struct sonde_plan_program {
	const char *function; /* in the BPF object */
	/*
	 * KIND/PLACE as it is shown: tp_btf, fentry, fexit, kprobe.multi, kretprobe.multi, iter, sockops (no place), cgroup
	 * (cgroup/sendmsg4). The kind says how the attach point is asked for: a tracepoint's and a function's prototype in the
	 * BTF; for fentry and fexit also a load on trial; for sockops and cgroup a cgroup v2.
	 */
	const char *hook;
	/*
	 * tp_btf, fentry, fexit: the arguments as the program reads them, up to the last one that it reads,
	 * written as kernel-btf.h says. Arguments behind them may come and go, but not where the return value
	 * stands behind them (fexit): there their number must agree.
	 */
	const char *args[SONDE_PROTOTYPE_ARGS_MAX];
	/*
	 * What else must be in the kernel's BTF: members that it reads without asking ("tcp_sock.srtt_us"),
	 * helpers ("bpf_func_id.BPF_FUNC_loop") and map types ("bpf_map_type.BPF_MAP_TYPE_SK_STORAGE").
	 */
	const char *needs[SONDE_PLAN_NEEDS_MAX];
	uint64_t caps; /* beyond CAP_BPF and CAP_PERFMON, bit = CAP_* */
	/*
	 * Measured with bpf_stats on 6.18 for the collector's README: a run on what a task asked for, and on what no
	 * task asked for, which the rest of the machine pays. 0 = nothing.
	 */
	uint32_t target_ns, other_ns;
	/* Where several programs of a table are on one hook at times: what of it this one does. */
	const char *part;
	const char *
		per; /* what one run is of: "send", "ACK", "fork", "system call", "socket and snapshot" */
};

struct sonde_plan_alternative {
	uint64_t programs; /* SONDE_PLAN_BIT() of each that it needs; 0 ends the list */
	const char *name;  /* NULL: the hook of its only program */
	const char *less;  /* what it does not give and the first one does; NULL = it gives all */
	const char *when;  /* attached not at the start but later: when; else NULL */
	const char *per;   /* what a run is of, where it is other than its program says */
};

struct sonde_plan_metric {
	const char *metrics; /* as it is shown; once in a table */
	bool core;	     /* without it nothing can be measured */
	uint32_t option;     /* SONDE_PROBE_OPTION_* that asks for it; 0 = always */
	uint32_t signals;    /* SONDE_SIGNAL_BIT(): any of them asks for it; 0 = always */
	uint32_t
		unless; /* … and where one of these is asked for, programs of theirs on the same hooks do it besides */
	struct sonde_plan_alternative alternatives[SONDE_PLAN_ALTERNATIVES_MAX];
};

struct sonde_plan_table {
	const char *name; /* of the collector */
	const struct sonde_plan_program *programs;
	size_t n_programs;
	const struct sonde_plan_metric *metrics;
	size_t n_metrics;
	const char
		*enums[SONDE_PLAN_ENUMS_MAX]; /* whose value names are wanted beside; up to NULL */
};

struct sonde_plan {
	const struct sonde_plan_table *table; /* borrowed, static */
	uint32_t options;
	uint32_t
		signals; /* 0 = all. What nobody asks for is loaded, as a later task may, but not attached */
	char *refused[SONDE_PLAN_PROGRAMS_MAX]; /* owned; why a program is not to be had */
	uint64_t lacking
		[SONDE_PLAN_PROGRAMS_MAX];  /* the capabilities that are the reason, bit = CAP_* */
	int chosen[SONDE_PLAN_METRICS_MAX]; /* alternative; -1 = none */
	uint64_t wanted;		    /* programs of all chosen alternatives */
	uint64_t attached;		    /* kept by the collector, for sonde_plan_tell() */
	const struct sonde_enum_names *names; /* of table->enums, in their order; the process's */
};

/*
 * Asks the kernel what @table's programs need and chooses. What is missing is no error here: see
 * sonde_plan_core_missing(). Raises capabilities for trial loads by @config. Return: 0, -ENOMEM.
 */
int sonde_plan_init(struct sonde_plan *p, const struct sonde_plan_table *table,
		    const struct sonde_collect_config *config) _must_check_;
void sonde_plan_done(struct sonde_plan *p);

/* A program is not to be had after all; chooses again. Return: 0, -ENOMEM. */
int sonde_plan_refuse(struct sonde_plan *p, uint32_t program, const char *fmt, ...)
	_printf_(3, 4) _must_check_;

/* All that it wants was loaded by this process before, and the kernel's refusals are known. */
bool sonde_plan_is_tried(const struct sonde_plan *p);

/* A hook that is attached to the hierarchy's root. */
bool sonde_plan_is_of_cgroup(const char *hook);

/* Does a signal that is asked for need it? What is to be attached of what is loaded. */
bool sonde_plan_asks(const struct sonde_plan *p, uint32_t program);

/* Is it one of those to load? */
bool sonde_plan_wants(const struct sonde_plan *p, uint32_t program);
/* What those of @programs that are wanted need beside CAP_BPF and CAP_PERFMON. */
uint64_t sonde_plan_caps(const struct sonde_plan *p, uint64_t programs);
/* The first core metric that nothing can measure here; NULL = all can be. */
const struct sonde_plan_metric *sonde_plan_core_missing(const struct sonde_plan *p);

/* One PROBE record for each alternative of each metric, in order. Return: 0, -errno of the sink. */
int sonde_plan_tell(const struct sonde_plan *p, struct sonde_collect_sink sink) _must_check_;

/*
 * Loads by @load_once, which opens the object anew, sets up what sonde_plan_wants() and loads it, again and again
 * until the kernel refuses no program of it: one that is refused fails the whole object. Core metrics without
 * any program left, and a lack of memory, are errors. @is_extra: programs that are in no table (calibration) are
 * told to the caller, who leaves them out (return 0) or gives up; may be NULL.
 * Return: 0, -errno of @load_once.
 */
int sonde_plan_load(struct sonde_plan *p, int (*load_once)(void *ctx),
		    int (*on_extra)(void *ctx, const char *function), void *ctx) _must_check_;

/* How to open an object: relocated by the external BTF where the kernel shows none. Borrows from @config. */
struct bpf_object_open_opts;
void sonde_plan_open_opts(const struct sonde_collect_config *config,
			  struct bpf_object_open_opts *ret);

/*
 * Adds what the maps of @object (open, sized, not loaded) will take in the kernel to *@sum, as the kernel lays
 * them out; what grows with the targets' sockets (socket storage) is not in it. Return: 0, -errno.
 */
struct bpf_object;
int sonde_plan_memory(const struct bpf_object *object,
		      struct sonde_collect_memory *sum) _must_check_;
/* What the kernel says that the loaded @object's maps take now, with what they grew by. */
uint64_t sonde_plan_map_bytes(const struct bpf_object *object);
