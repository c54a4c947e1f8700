/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Engine: runs the rules of a file over a batch and emits integer values per entity. It owns what
 * outlives a batch: the counter window of increase, rate and irate (one a engine, as one an OAP), and
 * scratch memory. A rule that fails is reported and counted; the others go on. Loop thread only.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "mal/function.h"
#include "mal/id.h"
#include "mal/rules.h"
#include "mal/sample.h"

struct sonde_mal_engine;

enum sonde_mal_virtual {
	SONDE_MAL_VIRTUAL_LOCAL,  /* generateVirtualLocalProcess(service, instance) */
	SONDE_MAL_VIRTUAL_REMOTE, /* generateVirtualRemoteProcess(service, instance, address) */
	SONDE_MAL_VIRTUAL_NAMED,  /* generateVirtualProcess(service, instance, name) */
};

/* What the rules may ask of the world. All calls happen inside sonde_mal_engine_run(). */
struct sonde_mal_host {
	/*
	 * The process registry. @what: NULL, the address, or the name. Called once a batch for the
	 * same arguments. Writes the process id. Return: 0, or -errno: the rule fails.
	 * NULL: ids as OAP makes them without Kubernetes (UNKNOWN_LOCAL, UNKNOWN_REMOTE, the name).
	 */
	int (*virtual_process)(void *ctx, enum sonde_mal_virtual kind, const char *service,
			       const char *instance, const char *what,
			       char ret[static SONDE_MAL_PROCESS_ID_SIZE]);
	/* Kubernetes: "service.namespace" of a pod, at most @size bytes. -ENOENT: none. NULL: never any. */
	int (*pod_service)(void *ctx, const char *pod, const char *name_space, char *ret,
			   size_t size);
	int64_t (*now_s)(void *ctx); /* time(), epoch seconds. NULL: CLOCK_REALTIME */
	void *ctx;		     /* borrowed, must outlive the engine */
};

enum sonde_mal_side {
	SONDE_MAL_CLIENT,
	SONDE_MAL_SERVER,
	SONDE_MAL_PROXY
};

/* Texts are "" where the scope has none. Borrowed for the call. */
struct sonde_mal_entity {
	enum sonde_mal_scope scope;
	const char *service, *instance, *endpoint, *process;
	const char *source_service, *source_instance, *source_process; /* relations; process = id */
	const char *dest_service, *dest_instance, *dest_process;
	const char *layer; /* "GENERAL"; "UNDEFINED" for a name that the rule did not mean */
	const char *attributes[6];		  /* set by decorate(); NULL = none */
	enum sonde_mal_side side;		  /* relations */
	int32_t component;			  /* relations */
	const struct sonde_mal_label *properties; /* instance() with a closure */
	size_t n_properties;
};

/* Values of one rule for one entity: feed them to sonde_mal_accumulator_accept(). */
struct sonde_mal_emission {
	const struct sonde_mal_rule *rule;
	const struct sonde_mal_entity *entity;
	int64_t ts_ms; /* of the first sample */
	/* One point for single; one a key for labelled; one a bucket for histograms, all groups. */
	const struct sonde_mal_point *points;
	size_t n_points;
};

struct sonde_mal_step {
	const struct sonde_mal_rule *rule;
	const char *part; /* of the file: "filter", "exp", "expPrefix" or "expSuffix" */
	const char *text; /* "sum(['a'])", a metric's name, an operator; @len bytes of it */
	size_t len;
	const struct sonde_mal_sample *samples; /* borrowed for the call; none: the EMPTY family */
	size_t n_samples;
	size_t n_entities; /* that it has been split into */
};

struct sonde_mal_sink {
	/* Return < 0: the rule's remaining entities are lost, the run goes on. */
	int (*emit)(void *ctx, const struct sonde_mal_emission *e);
	/* A rule failed on this batch. May be NULL. */
	void (*failed)(void *ctx, const struct sonde_mal_rule *rule, const char *message);
	void *ctx;
	/* The family after each call of a rule's chain, for people who want to see how it works. May be NULL: faster. */
	void (*step)(void *ctx, const struct sonde_mal_step *s);
};

/* Counts of one run, added to what is there. */
struct sonde_mal_run_stats {
	uint64_t rules_run;    /* had at least one source metric in the batch */
	uint64_t rules_failed; /* emitted nothing, or not all */
	uint64_t emissions;
	uint64_t window_refused; /* series that the counter window had no room for */
};

/* Of processor time for the rules of a file over one batch; then the rest of them fail. */
#define SONDE_MAL_RUN_MS 2000

#define SONDE_MAL_WINDOW_SERIES_MAX                                                                \
	65536 /* series in the counter window; the longest silent one makes room */
#define SONDE_MAL_WINDOW_POINTS_MAX 1024   /* elements of one series */
#define SONDE_MAL_WINDOW_BYTES (32U << 20) /* of each of the two tables, likewise */
#define SONDE_MAL_WINDOW_SILENT_S 3600 /* and twice its range, then a counter window is forgotten */

int sonde_mal_engine_new(const struct sonde_mal_host *host,
			 struct sonde_mal_engine **ret) _must_check_;
struct sonde_mal_engine *sonde_mal_engine_free(struct sonde_mal_engine *e);
SONDE_DEFINE_CLEANUP(struct sonde_mal_engine *, sonde_mal_engine_free)

/*
 * Compatible, the default: counters are as OAP's, where calls of all rules that see a series of one name and
 * labels share its window, and one that begins anew gives a negative increase. Strict: each call has its own
 * window, and counts on from what had been reached. A change forgets all counters.
 */
void sonde_mal_engine_set_strict(struct sonde_mal_engine *e, bool strict);

/* Forgets all counters, as a restart of OAP does. */
void sonde_mal_engine_forget(struct sonde_mal_engine *e);

/*
 * Native meters (MeterReportService) have histogram bounds in milliseconds, everything else in seconds.
 * @b is borrowed and read only by meaning: the run may intern more text into it.
 * Return: 0, even where rules failed (@stats, may be NULL, says so); -ENOMEM.
 */
enum sonde_mal_unit {
	SONDE_MAL_SECONDS,
	SONDE_MAL_MILLISECONDS
};
int sonde_mal_engine_run(struct sonde_mal_engine *e, const struct sonde_mal_rules *rules,
			 struct sonde_mal_batch *b, enum sonde_mal_unit unit,
			 const struct sonde_mal_sink *sink,
			 struct sonde_mal_run_stats *stats) _must_check_;
