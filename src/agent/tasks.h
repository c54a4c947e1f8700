/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Tasks: takes specs, resolves their targets, drives the probe through admit,
 * targets, start, snapshots and end, and makes the reports. One snapshot serves
 * every task that is due. Loop thread only.
 */

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "agent/finder.h"
#include "agent/probe-client.h"
#include "agent/spec.h"
#include "base/cleanup.h"
#include "export/delivery.h"
#include "sonde/v1/task.pb-c.h"

struct sonde_tasks;

struct sonde_tasks_config {
	sd_event *event;		  /* borrowed */
	struct sonde_probe_client *probe; /* borrowed; freed before the tasks */
	struct sonde_finder *finder;	  /* borrowed */
	struct sonde_delivery *delivery;  /* borrowed */
	const char *agent_id;		  /* borrowed */
	int proc_fd;			  /* borrowed */
	bool unknown_peers;		  /* what an OAP is told: see sonde_skywalking_peers */
	bool (*has_extension)(void *ctx); /* of the server: one batch a task, and TaskReports */
	void (*on_idle)(void *ctx);	  /* the last task is over */
	void (*on_adopted)(
		void *ctx); /* a process got names for a task's sake, and has no id yet */
	void *ctx;
};

int sonde_tasks_new(const struct sonde_tasks_config *config, struct sonde_tasks **ret) _must_check_;
struct sonde_tasks *sonde_tasks_free(struct sonde_tasks *t);
SONDE_DEFINE_CLEANUP(struct sonde_tasks *, sonde_tasks_free)

/*
 * Takes the spec's content. One whose id is known is no new task; if it lasts longer than before, it is an
 * extension. Never fails: a task that cannot run says so in its report.
 */
void sonde_tasks_accept(struct sonde_tasks *t, struct sonde_spec *spec);
/* A task of this id is there, or is among the last that ended. */
bool sonde_tasks_knows(const struct sonde_tasks *t, const char *id);
/* A spec that could not be understood: its end report. @spec: its id. */
void sonde_tasks_refuse(struct sonde_tasks *t, struct sonde_spec *spec, const char *words);

/* Unknown ids are ignored. */
void sonde_tasks_stop(struct sonde_tasks *t, const char *id, const char *reason);
void sonde_tasks_extend(struct sonde_tasks *t, const char *id, int64_t end_wall_ms);
/* SIGTERM: all stop; on_idle runs behind the last end report. Nothing is accepted any more. */
void sonde_tasks_drain(struct sonde_tasks *t);
/* None is accepted and not yet ended. */
bool sonde_tasks_idle(const struct sonde_tasks *t);

/*
 * What a task of this spec would do, or with NULL what this machine allows any task; nothing is attached and no
 * task made. Takes the spec's content. @done runs exactly once, maybe from within; @plan is borrowed, its
 * agent_id and question are the caller's to fill in; NULL = the agent is ending.
 */
void sonde_tasks_plan(struct sonde_tasks *t, struct sonde_spec *spec,
		      void (*done)(void *ctx, Sonde__V1__Plan *plan), void *ctx);

/* The finder's scan is over, or processes got ids. */
void sonde_tasks_processes_changed(struct sonde_tasks *t);

/* The probe's unasked words. */
void sonde_tasks_probe_restarted(struct sonde_tasks *t, const struct sonde_probe_hello *hello);
void sonde_tasks_probe_gone(struct sonde_tasks *t, const char *words);
void sonde_tasks_probe_ended(struct sonde_tasks *t, const struct sonde_probe_task_ended *ended);

/* A report is at its end. */
void sonde_tasks_outcome(struct sonde_tasks *t, const struct sonde_report *report,
			 enum sonde_delivery_outcome outcome, uint64_t now_ns);
