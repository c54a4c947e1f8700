/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Task table: all tasks that the server keeps, which agents they go to, and
 * the timers that end them. Bounded: when full, the oldest ended task makes
 * room, and with none ended a new one is refused. Every change is written to the store. Loop thread only.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "backend/problem.h"
#include "backend/store/store.h"
#include "backend/tasks/registry.h"
#include "backend/tasks/task.h"

#define SONDE_TASKS_MAX 1000

struct sonde_task_table;

struct sonde_task_table_config {
	struct sonde_store *store;	       /* borrowed */
	struct sonde_registry *registry;       /* borrowed */
	int64_t max_duration_ms;	       /* extensions included */
	int64_t grace_ms, silent_ms, since_ms; /* see struct sonde_task_clock */
	int64_t retention_ms;		       /* of ended tasks */
	unsigned max_running;		       /* tasks that have not ended */
	/* A task has ended, or is about to be forgotten (@forget). May be NULL. */
	void (*on_end)(void *ctx, struct sonde_task *t, bool forget);
	/* Tell an agent: stop (@end_ms 0) or a new end. May be NULL. */
	void (*on_control)(void *ctx, const struct sonde_task *t, const struct sonde_task_agent *a,
			   int64_t end_ms);
	/* A task waits for this agent to ask for it. May be NULL. */
	void (*on_waiting)(void *ctx, const struct sonde_task_agent *a);
	void *ctx;
};

/* Loads what the store holds. Return: 0, -errno. */
int sonde_task_table_new(const struct sonde_task_table_config *config,
			 struct sonde_task_table **ret) _must_check_;
struct sonde_task_table *sonde_task_table_free(struct sonde_task_table *tt);
SONDE_DEFINE_CLEANUP(struct sonde_task_table *, sonde_task_table_free)

struct sonde_task *sonde_task_table_find(struct sonde_task_table *tt, const char *id);
struct sonde_task *sonde_task_table_first(
	struct sonde_task_table *tt); /* walk by hh.next, oldest first */

/*
 * sonde_task_table_create() - check, assign to agents, store
 * @body: the request's JSON, borrowed
 * @done: runs once it is stored, or not (then the task is gone again); may be NULL
 *
 * Return: 0, -EINVAL with *@problem filled, -ENOMEM.
 */
int sonde_task_table_create(struct sonde_task_table *tt, const json_t *body, int64_t now_ms,
			    sonde_store_done_fn done, void *done_ctx, struct sonde_task **ret,
			    struct sonde_problem *problem) _must_check_;

/* The same of a task that a policy made: @trigger says why (policies/fire.h), and its "words" begin the time line; borrowed. */
int sonde_task_table_create_by(struct sonde_task_table *tt, const json_t *body, json_t *trigger,
			       int64_t now_ms, sonde_store_done_fn done, void *done_ctx,
			       struct sonde_task **ret, struct sonde_problem *problem) _must_check_;

/*
 * A task that has ended elsewhere, behind what *@job holds, together or not at all. *@t and *@job are taken on 0, when
 * @done will run. Return: 0, -EINVAL with *@problem filled, -ENOMEM.
 */
int sonde_task_table_import(struct sonde_task_table *tt, struct sonde_task **t,
			    struct sonde_store_job **job, sonde_store_done_fn done, void *done_ctx,
			    struct sonde_task **ret, struct sonde_problem *problem) _must_check_;

/* It is stored: tells its agents that it waits for them. */
void sonde_task_table_announce(struct sonde_task_table *tt, const struct sonde_task *t);

int sonde_task_table_stop(struct sonde_task_table *tt, struct sonde_task *t, int64_t now_ms,
			  const char *reason, struct sonde_problem *problem) _must_check_;
int sonde_task_table_extend(struct sonde_task_table *tt, struct sonde_task *t, int64_t now_ms,
			    int64_t more_ms, struct sonde_problem *problem) _must_check_;

/*
 * Forgets a task that has ended, with its series, reports and flows: here at once, in the database when @done runs.
 * @t is gone on 0. Return: 0 (@done will run), -EINVAL with *@problem filled (it goes on), -ENOBUFS, -ENOMEM.
 */
int sonde_task_table_delete(struct sonde_task_table *tt, struct sonde_task *t,
			    sonde_store_done_fn done, void *ctx,
			    struct sonde_problem *problem) _must_check_;

/* Writes the task as it is now. Return: 0 (@done will run), -ENOBUFS, -ENOMEM. */
int sonde_task_table_put(struct sonde_task_table *tt, const struct sonde_task *t,
			 sonde_store_done_fn done, void *ctx) _must_check_;

/* The same behind what *@job holds already, together or not at all. *@job is NULL behind it on 0 only. */
int sonde_task_table_put_with(struct sonde_task_table *tt, const struct sonde_task *t,
			      struct sonde_store_job **job, sonde_store_done_fn done,
			      void *ctx) _must_check_;

/* To be called when a task has just ended: runs on_end. */
void sonde_task_table_ended(struct sonde_task_table *tt, struct sonde_task *t);

/* To be called after sonde_task_move(): runs on_end at the end and writes the task. */
void sonde_task_table_moved(struct sonde_task_table *tt, struct sonde_task *t);

/* The targets of @t that concern @agent_id, for sonde_spec_json(). */
struct sonde_task_share {
	struct sonde_task_table *table;
	const struct sonde_task *task;
	const char *agent_id;
};
bool sonde_task_share_keeps(void *ctx, const struct sonde_spec_target *target);

/*
 * Calls @fn for each task that this agent is to have: unfinished, and newer than @latest_update_ms.
 * Return: 0, or what @fn returned first.
 */
int sonde_task_table_hand_out(struct sonde_task_table *tt, const char *agent_id,
			      int64_t latest_update_ms, int64_t now_ms,
			      int (*fn)(void *ctx, struct sonde_task *t,
					struct sonde_task_agent *a),
			      void *ctx) _must_check_;

/* An agent registered a process: tasks by name or service that run may gain this agent. */
void sonde_task_table_process_came(struct sonde_task_table *tt, const struct sonde_process *p,
				   int64_t now_ms);

/* Every second: timers and retention. */
void sonde_task_table_tick(struct sonde_task_table *tt, int64_t now_ms);

/* The one that ended first, NULL if none has. */
struct sonde_task *sonde_task_table_oldest_ended(struct sonde_task_table *tt);
/* @t, which has ended, goes before its time: runs on_end, deletes what is stored of it. */
void sonde_task_table_forget(struct sonde_task_table *tt, struct sonde_task *t);

/* Tasks that have not ended. */
unsigned sonde_task_table_running(const struct sonde_task_table *tt);
