/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Retention: what goes from the store, by age and by bytes. 10 s, minute and hour series go each by their own age; an
 * ended task, with its connections and report ids, by that of `retention`. Beyond limits.database the oldest go
 * earlier: of 10 s series, minute series and ended tasks, each time that kind whose oldest is oldest by the measure of
 * its own age limit, so that all windows shrink by the same part. What a running task needs stays.
 * All in steps of a few thousand rows, one with the writer at a time; free pages go back to the file system 2 MiB at a
 * time. Loop thread only.
 */

#include <stdbool.h>
#include <stdint.h>

#include "backend/ingest/series.h"
#include "backend/store/store.h"

struct sonde_task_table;
struct sonde_retention;

struct sonde_retention_config {
	struct sonde_store *store; /* borrowed, as the others are */
	struct sonde_series_table *series;
	struct sonde_task_table *tasks;
	/* Of the task "-" the hours too, but not before an imported task's; a task's go with it. */
	int64_t keep_ms[_SONDE_SERIES_STEP_MAX];
	uint64_t max_bytes; /* of the database's pages in use */
};

struct sonde_retention_stats {
	uint64_t bytes, free_bytes, max_bytes;
	uint64_t rows_deleted;	  /* by age or bytes */
	uint64_t tasks_forgotten; /* before their time, for want of bytes */
	uint64_t given_back;	  /* times that 2 MiB at most went to the file system */
	bool pressed;		  /* something goes before its time */
	bool over;		  /* beyond max_bytes, and nothing may go */
	int64_t kept_since_ms[_SONDE_SERIES_STEP_MAX]; /* what began before is gone, or is to go */
};

int sonde_retention_new(const struct sonde_retention_config *config,
			struct sonde_retention **ret) _must_check_;
/* Its last step may still be with the writer: the store is flushed. NULL is fine. */
struct sonde_retention *sonde_retention_free(struct sonde_retention *rt);
SONDE_DEFINE_CLEANUP(struct sonde_retention *, sonde_retention_free)

/* Says from when on series are kept (sonde_series_table_set_floor()). Deletes nothing. */
void sonde_retention_raise_floors(struct sonde_retention *rt, int64_t now_ms);

/* Raises the floors, and deletes a step's worth. Return: true when there is more to do soon. */
bool sonde_retention_tick(struct sonde_retention *rt, int64_t now_ms);

void sonde_retention_get_stats(const struct sonde_retention *rt, struct sonde_retention_stats *ret);
