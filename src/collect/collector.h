/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Collector: one folder in bpf/, one in src/collect/, one descriptor, one line
 * in registry.c. Linked by sonde-probe's worker only. A collector loads and
 * attaches BPF, keeps nothing in user space but what it needs to read the
 * kernel's tables, and hands records to a sink; it never sees tasks' views,
 * exporters or the network.
 *
 * Calls that need a capability run inside sonde_collect_privileged() brackets,
 * given by the worker: a collector says which capability, the worker raises it
 * for that call alone. Worker's thread only.
 */

#include <stdbool.h>
#include <stdint.h>

#include "collect/kernel-btf.h"
#include "model/probe-msg.h"

/* Borrows @reply for the call; id and version are filled in by the worker. 0, or -errno that ends the snapshot. */
struct sonde_collect_sink {
	int (*emit)(void *ctx, struct sonde_probe_reply *reply);
	void *ctx;
	uint32_t open_flows; /* snapshot: how many open connections are told one by one */
};

/* What a collector takes is added to what is there already: of others, or of the same before. */
struct sonde_collect_timing {
	uint64_t open_ns, load_ns, attach_ns, seed_ns, detach_ns;
	uint64_t seeded_sockets;
};

struct sonde_collect_config {
	uint32_t max_cells; /* peers, from the policy and the first task */
	uint32_t max_targets;
	uint32_t options; /* SONDE_PROBE_OPTION_* */
	uint32_t signals; /* SONDE_SIGNAL_BIT(): whose hooks are attached at the start; 0 = all */
	struct sonde_kernel_btf_files btf;
	/* plan(): also load what is wanted, with the smallest tables, and free it: what the kernel refuses is known then. */
	bool trial;
	int cgroup_fd; /* root of cgroup v2, or -1: no sockops. Borrowed for start() */
	/* Programs on hooks of these kinds ("fentry", …) are not taken: how a test holds one alternative against another. */
	const char *const *without; /* NULL-terminated; NULL = all may be taken. Borrowed */
	/* Raise and drop capabilities (bit = CAP_*) around one call. Never NULL; a test passes no-ops. */
	int (*raise)(void *ctx, uint64_t caps);
	void (*drop)(void *ctx);
	/* Every id that was loaded, before it is attached: kind 'p', 'm' or 'l'. May be NULL. */
	void (*note_id)(void *ctx, char kind, uint32_t id, const char *tag);
	void *ctx;
};

/* What the maps take: from the start, and when every table is full. The kernel's own words come with COST records. */
struct sonde_collect_memory {
	uint64_t start_bytes, full_bytes;
};

struct sonde_collector {
	const char *name; /* config key, log scope */
	uint32_t bit;	  /* SONDE_PROBE_COLLECT_* */
	/* What would be attached on this kernel and why not the rest: PROBE records. Attaches nothing; see config->trial. */
	int (*plan)(const struct sonde_collect_config *config, struct sonde_collect_sink sink);
	/* Adds what its maps would take to *@sum. Loads nothing. May be NULL. */
	int (*memory)(const struct sonde_collect_config *config, struct sonde_collect_memory *sum);
	/*
	 * Open, load and attach. A hook that is refused costs its metrics, is told in a PROBE record, and the
	 * rest goes on; -EPERM, -EOPNOTSUPP only when nothing at all can be measured. *@ret_state on success.
	 */
	int (*start)(const struct sonde_collect_config *config, struct sonde_collect_sink sink,
		     struct sonde_collect_timing *timing, void **ret_state);
	/* Detach and free everything; NULL and half-started are fine. Adds to detach_ns when @timing is not NULL. Returns NULL. */
	void *(*stop)(void *state, struct sonde_collect_timing *timing);
	/*
	 * Target table: add (or widen the mask of) a pid. Its sockets are found by the next seed(). The caller looks
	 * afterwards whether it still is the process that was meant, and removes it if not.
	 */
	int (*target_add)(void *state, uint32_t pid, uint64_t task_mask);
	/* Takes the bits off one pid again, as task_remove() does. NULL: the collector has no target table of its own. */
	int (*target_remove)(void *state, uint32_t pid, uint64_t task_mask);
	/* Take these task bits off every target; pids with none left are released with their sockets' last deltas folded. */
	int (*task_remove)(void *state, uint64_t task_mask);
	/*
	 * What the running tasks ask for together (SONDE_PROBE_OPTION_*): attaches what an option wants and detaches
	 * what none wants any more; called after start() and whenever it changed, the targets being handed over.
	 * PROBE records say what came of it. NULL: the collector has no options. Return: 0, -ENOMEM.
	 */
	int (*set_options)(void *state, uint32_t options, struct sonde_collect_sink sink);
	/*
	 * What the tasks ask for together (SONDE_SIGNAL_BIT(), 0 = all), those that are admitted and not begun among them:
	 * attaches the hooks that are missing and detaches those that none wants any more. What begins here is exact from
	 * the next snapshot on. PROBE records say what came of it. NULL: all is attached always. Return: 0, -errno: nothing of
	 * it is asked for, and what was before goes on.
	 */
	int (*set_signals)(void *state, uint32_t signals, struct sonde_collect_sink sink);
	/* Tag the targets' existing sockets and their accept queues. Idempotent. */
	int (*seed)(void *state, struct sonde_collect_timing *timing);
	/* Fold every tagged socket, then emit CELL, HIST, DROP (those that changed), PROCESS, LOSS and COST records. */
	int (*snapshot)(void *state, struct sonde_collect_sink sink);
};

extern const struct sonde_collector sonde_collector_tcp;
extern const struct sonde_collector sonde_collector_udp;

/* NULL-terminated. */
extern const struct sonde_collector *const sonde_collectors[];
