/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Double of a backend for the agent: the real gRPC server with handlers that
 * name processes, hand out the commands that a test puts in, and keep what
 * arrives: meters as sums by (report's task, name, labels), TaskReports by task.
 * With or without our extension, and able to fail on demand.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "io/grpc-server.h"
#include "sonde/v1/task.pb-c.h"

#define DOUBLE_ROWS_MAX 20000
#define DOUBLE_REPORTS_MAX 2000
#define DOUBLE_PROCESSES_MAX 256
#define DOUBLE_COMMANDS_MAX 16
#define DOUBLE_PLANS_MAX 32

struct double_row {
	char task[80];
	char name[80];
	char labels[400]; /* "a=b,c=d" in the order sent */
	double sum;	  /* of a histogram: of all buckets */
	double last;
	double at_least[2]; /* histogram: smallest and largest bound with a count */
};

struct double_process {
	uint32_t pid;
	char service[240], instance[240], name[240], id[65];
	char layer[33];
	char labels[120];      /* "a,b" */
	char properties[2000]; /* "key=value\n" each, in the order sent */
	char agent_id[64];     /* that reported it last */
	unsigned reports, pings;
};

struct double_command {
	char id[80];
	char processes[600]; /* ProcessId */
	char extension[4000];
	char target[16]; /* TargetType; "": NETWORK */
	int64_t update_ms, start_ms;
	int64_t duration_s;
};

struct agent_double {
	sd_event *event;
	struct sonde_grpc_server *server;
	bool extension;
	uint16_t port;
	struct double_row *rows;
	size_t n_rows;
	Sonde__V1__TaskReport *reports[DOUBLE_REPORTS_MAX];
	size_t n_reports;
	struct double_process processes[DOUBLE_PROCESSES_MAX];
	size_t n_processes;
	struct double_command commands[DOUBLE_COMMANDS_MAX];
	size_t n_commands;
	char agent_id[64];
	char report_ids[DOUBLE_REPORTS_MAX][128];
	size_t n_report_ids;
	unsigned duplicates;  /* report ids that came again: what they carry is not added */
	unsigned collections; /* MeterDataCollections */
	unsigned
		misplaced; /* service, instance or time on another element than the first, or missing there */
	unsigned doubled_labels; /* meters with a label's name twice */
	unsigned keep_alives, queries;
	unsigned
		fail_batches; /* this many collectBatch calls are refused with UNAVAILABLE behind their messages */
	const char *
		no_layer; /* keepAlive of this one fails, as an OAP's does of one that it does not know */
	char policies[2000]; /* ServiceWithPolicyJSON, told until its uuid is known; "" = none */
	const char *policies_uuid;
	unsigned policy_queries, policies_told;
	char continuous_task[80]; /* answer to reportProfilingTask; "" = UNAVAILABLE */
	unsigned continuous_reports;
	char continuous_causes[400]; /* of the last one: "type threshold current\n" each */
	struct sonde_grpc_server_call *watch;
	Sonde__V1__Plan *plans[DOUBLE_PLANS_MAX]; /* answers, as they came */
	size_t n_plans;
};

int agent_double_start(struct agent_double *d, sd_event *event, bool extension, uint16_t port);
void agent_double_stop(struct agent_double *d); /* connections are cut; what came is kept */
void agent_double_done(struct agent_double *d);

/* Runs the loop until @done says so or @timeout_ms are over. Returns what @done said last. */
bool agent_double_run(struct agent_double *d, bool (*done)(struct agent_double *d, void *arg),
		      void *arg, unsigned timeout_ms);

/* Asks over the watch, which must stand. Return: 0, -errno. */
int agent_double_ask(struct agent_double *d, const char *id, const char *spec);
/* The answer to question @id; NULL while there is none. */
const Sonde__V1__Plan *agent_double_plan(const struct agent_double *d, const char *id);

/* Sum of the rows of @task and @name whose labels contain @label (NULL: any). 0 where there is none. */
double agent_double_sum(const struct agent_double *d, const char *task, const char *name,
			const char *label);
const struct double_row *agent_double_row(const struct agent_double *d, const char *task,
					  const char *name, const char *label);
/* The newest report of @task; NULL if there is none. */
const Sonde__V1__TaskReport *agent_double_report(const struct agent_double *d, const char *task);
const struct double_process *agent_double_process(const struct agent_double *d, uint32_t pid);
