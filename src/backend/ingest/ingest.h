/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Ingest: meter reports -> rules -> series, each report exactly once. A report is
 * decoded whole, stored as it came, applied, and acknowledged when it is on
 * disk; after a crash the stored ones that no checkpoint covers are applied
 * again. Reports are known by task, sequence and hash. Loop thread only.
 */

#include <stdbool.h>
#include <stdint.h>

#include "backend/ingest/rules.h"
#include "backend/ingest/series.h"
#include "backend/store/store.h"
#include "backend/tasks/registry.h"
#include "backend/tasks/table.h"
#include "base/buf.h"
#include "io/grpc.h"
#include "mal/rules.h"

#define SONDE_INGEST_NO_TASK "-"
#define SONDE_INGEST_HASH_MAX 129 /* with NUL */

struct sonde_ingest;

struct sonde_ingest_config {
	struct sonde_store *store; /* all borrowed */
	struct sonde_registry *registry;
	struct sonde_series_table *series;
	const char *rules_dir; /* every *.yaml in it */
	bool strict;	       /* sonde_mal_engine_set_strict() */
};

struct sonde_ingest_stats {
	uint64_t reports, duplicates, refused;
	uint64_t refused_no_room; /* of those refused: the disk was full, or the database damaged */
	uint64_t collections, samples;
	uint64_t collections_refused; /* no service, instance or time; a label twice; too large */
	uint64_t rules_failed;	      /* runs of a rule that failed */
	uint64_t emissions, emissions_refused;
	uint64_t run_ns; /* time spent in rules and series */
	size_t rule_files, rules, rules_bad;
	uint64_t rule_reloads,
		rule_reloads_failed; /* failed: the folder, or a file of it, was refused */
};

/* A report's name: metadata `sonde-report-id: <task>/<sequence>/<hash>`. */
struct sonde_report_id {
	char task[SONDE_TASK_ID_MAX];
	uint64_t sequence;
	char hash[SONDE_INGEST_HASH_MAX];
};
/* Return: 0, -EINVAL (not of that form). */
int sonde_report_id_parse(const char *text, struct sonde_report_id *ret) _must_check_;

/*
 * Loads the rules; bad ones are logged with file, line and column and left out.
 * Return: 0, -errno of the folder.
 */
int sonde_ingest_new(const struct sonde_ingest_config *config,
		     struct sonde_ingest **ret) _must_check_;
struct sonde_ingest *sonde_ingest_free(struct sonde_ingest *in);
SONDE_DEFINE_CLEANUP(struct sonde_ingest *, sonde_ingest_free)

/*
 * Reads the rule files that have changed, each as a whole or not at all; tells in the log. Counter windows stay.
 * Return: 0, even where files were refused; -errno: nothing has changed.
 */
int sonde_ingest_reload_rules(struct sonde_ingest *in);

/* Borrowed until the next reload. */
const struct sonde_rule_set *sonde_ingest_rules(const struct sonde_ingest *in);

/*
 * Of a bundle that is imported: the serial that its series get; its row behind what @job holds; and that the job is
 * on its way. Return: 0, -ENOMEM.
 */
int64_t sonde_ingest_next_serial(const struct sonde_ingest *in);
int sonde_ingest_store_bundle(struct sonde_ingest *in, struct sonde_store_job *job,
			      const char *task, const void *data, size_t n,
			      int64_t now_ms) _must_check_;
void sonde_ingest_took_bundle(struct sonde_ingest *in, size_t n);

/* Applies the reports that were stored but not checkpointed. Once, after start. Return: 0, -errno. */
int sonde_ingest_replay(struct sonde_ingest *in, struct sonde_task_table *tasks,
			int64_t now_ms) _must_check_;

/* What became of a report; @message is for the client. */
typedef void (*sonde_ingest_done_fn)(void *ctx, enum sonde_grpc_status status, const char *message);

/*
 * sonde_ingest_report() - take one report
 * @id: NULL: without a name, so never a duplicate, and of the task "-"
 * @task: borrowed; NULL for "-"
 * @frames: as meters.h makes them
 * @done: exactly once, now or when it is stored
 */
void sonde_ingest_report(struct sonde_ingest *in, const struct sonde_report_id *id,
			 struct sonde_task *task, const struct sonde_buf *frames, int64_t now_ms,
			 sonde_ingest_done_fn done, void *ctx);

/*
 * Writes series behind, in slices; begins a pass when one is due. @all: until everything is queued.
 * Return: true when there is more to write soon.
 */
bool sonde_ingest_tick(struct sonde_ingest *in, int64_t now_ms, bool all);

/* on_drop of the series table: the engine that the ingest hung on a set. */
void sonde_ingest_drop_engine(void *engine);

void sonde_ingest_get_stats(const struct sonde_ingest *in, struct sonde_ingest_stats *ret);

/* The rule that makes @metric, NULL if none of the files has it. */
const struct sonde_mal_rule *sonde_ingest_find_rule(const struct sonde_ingest *in,
						    const char *metric);
