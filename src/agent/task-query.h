/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Task query: asks EBPFProfilingService.queryTasks for tasks, once in a while and
 * when the server says that one waits, and judges each command: a task that is new,
 * an extension, one that is over, one that is not for this agent. What is not run
 * is said once. Loop thread only.
 */

#include <stdint.h>
#include <systemd/sd-event.h>

#include "agent/finder.h"
#include "agent/tasks.h"
#include "base/cleanup.h"
#include "io/grpc-client.h"

struct sonde_task_query;

struct sonde_task_query_config {
	sd_event *event;		  /* borrowed */
	struct sonde_grpc_client *client; /* borrowed; freed before the query */
	struct sonde_finder *finder;	  /* borrowed */
	struct sonde_tasks *tasks;	  /* borrowed */
	const char *agent_id;		  /* borrowed */
	uint64_t poll_ns, deadline_ns;
	int64_t plain_interval_ms;    /* report interval of a task that names none: an OAP's */
	void (*on_answer)(void *ctx); /* a query was answered well */
	void *ctx;
};

int sonde_task_query_new(const struct sonde_task_query_config *config,
			 struct sonde_task_query **ret) _must_check_;
/* The client must be freed first. NULL is fine. Returns NULL. */
struct sonde_task_query *sonde_task_query_free(struct sonde_task_query *q);
SONDE_DEFINE_CLEANUP(struct sonde_task_query *, sonde_task_query_free)

/* Ask now: a task waits. No more often than each 250 ms. */
void sonde_task_query_soon(struct sonde_task_query *q);
/* Asks no more. */
void sonde_task_query_stop(struct sonde_task_query *q);
