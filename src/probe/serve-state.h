/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Serve's state, shared by serve.c (requests), serve-task.c (tasks) and serve-host.c (/proc, proof). */

#include <stdbool.h>

#include "collect/collector.h"
#include "probe/nat.h"
#include "probe/serve.h"

#define COLLECTORS_MAX 8
#define PROBES_MAX 96 /* PROBE records kept, so that a later task is told them too */

struct serve_target {
	uint32_t pid;
	uint64_t start_ticks;
};

struct serve_task {
	bool started;
	uint32_t collectors;
	uint32_t options;
	uint32_t signals; /* SONDE_SIGNAL_BIT(), not 0 */
	uint32_t max_peers;
	uint64_t max_map_bytes;
	uint64_t duration_ns;
	uint64_t since_ns; /* admitted, then started */
	size_t n_targets;
	struct serve_target targets[SONDE_SERVE_TARGETS_MAX];
};

struct serve_running {
	const struct sonde_collector *collector; /* NULL = free */
	uint32_t options; /* SONDE_PROBE_OPTION_*: those that it was started with */
	void *state;
};

struct sonde_serve {
	struct sonde_serve_config config;
	struct serve_task *tasks[SONDE_PROBE_TASKS_MAX]; /* owned; NULL = slot is free */
	struct serve_running running[COLLECTORS_MAX];
	struct sonde_nat *nat;		  /* owned; NULL while no task has flows */
	struct sonde_probe_probe *probes; /* owned, PROBES_MAX; NULL while nothing runs */
	size_t n_probes;
	uint64_t probes_cut;
	struct sonde_probe_idle noted; /* programs, maps, links since they were attached */
	int send_error;		       /* of config.send(); everything ends */
};

/* What a request is answered with at its end, beside its records. */
struct serve_answer {
	struct sonde_serve *serve;
	uint64_t id;
	uint64_t records;
	uint64_t numbers[6];
	char text[SONDE_PROBE_TEXT_MAX];
};

/* Sends one record; version and id are filled in. Return: 0, -errno of the socket (also in serve->send_error). */
int serve_record(struct serve_answer *a, struct sonde_probe_reply *reply) _must_check_;
/* The same as a collector's sink: ctx is the answer. */
int serve_emit(void *ctx, struct sonde_probe_reply *reply);
/* Sets the answer's text. Returns @error. */
int serve_say(struct serve_answer *a, int error, const char *fmt, ...) _printf_(3, 4);

/* One function a request type: 0, or -errno for END.error. */
int serve_task_admit(struct sonde_serve *s, const struct sonde_probe_request *q, uint64_t now_ns,
		     struct serve_answer *a);
int serve_target_add(struct sonde_serve *s, const struct sonde_probe_request *q, uint64_t now_ns,
		     struct serve_answer *a);
int serve_task_start(struct sonde_serve *s, const struct sonde_probe_request *q, uint64_t now_ns,
		     struct serve_answer *a);
int serve_task_end(struct sonde_serve *s, const struct sonde_probe_request *q, uint64_t now_ns,
		   struct serve_answer *a);
int serve_snapshot(struct sonde_serve *s, const struct sonde_probe_request *q, uint64_t now_ns,
		   struct serve_answer *a);
int serve_plan(struct sonde_serve *s, const struct sonde_probe_request *q, uint64_t now_ns,
	       struct serve_answer *a);
int serve_list_pids(struct sonde_serve *s, const struct sonde_probe_request *q, uint64_t now_ns,
		    struct serve_answer *a);
int serve_exe(struct sonde_serve *s, const struct sonde_probe_request *q, uint64_t now_ns,
	      struct serve_answer *a);
int serve_listeners(struct sonde_serve *s, const struct sonde_probe_request *q, uint64_t now_ns,
		    struct serve_answer *a);
int serve_target_judge(struct sonde_serve *s, const struct sonde_probe_request *q, uint64_t now_ns,
		       struct serve_answer *a);
int serve_idle_proof(struct sonde_serve *s, const struct sonde_probe_request *q, uint64_t now_ns,
		     struct serve_answer *a);

/* Tasks admitted in other slots; @slot UINT32_MAX: all. */
uint32_t serve_count_others(const struct sonde_serve *s, uint32_t slot);
/* note_id of what is loaded on trial: it is in bpf-ids, and no part of the tasks' proof. */
void serve_note_trial(void *ctx, char kind, uint32_t id, const char *tag);
/* @max_peers 0: the policy's. @cgroup_fd: -1 = none. */
struct sonde_collect_config serve_collect_config(struct sonde_serve *s, uint32_t max_peers,
						 uint32_t options, int cgroup_fd);
/* What a request selects of its collectors: all where it says nothing. */
uint32_t serve_signals(const struct sonde_probe_request *q);
/*
 * Makes @config's tables small enough for what @max_map_bytes (0 = no limit) leaves beside *@map_bytes, which grows by
 * what the collector's maps take when they are full. Return: 0, -ENOSPC (a->text says how much is needed), -errno.
 */
int serve_fit_maps(const struct sonde_collector *c, uint64_t max_map_bytes,
		   struct sonde_collect_config *config, uint64_t *map_bytes,
		   struct serve_answer *a);
/* Takes the slot's task away from the collectors and frees it; the last one stops them. Return: true = it was the last. */
bool serve_drop_task(struct sonde_serve *s, uint32_t slot, uint64_t *ret_detach_ns);
/* Stops every collector. Return: ns that took. */
uint64_t serve_stop_all(struct sonde_serve *s);
/* serve-flow.c: a snapshot's sink that fills in what address translation made of a FLOW record; ctx is the answer. */
int serve_flow_emit(void *ctx, struct sonde_probe_reply *reply);
/* A task with flows starts: notes in a PROBE record whether translation can be asked for. Return: 0, -ENOMEM. */
int serve_flow_start(struct sonde_serve *s) _must_check_;
/* What that would note, as a record. */
int serve_flow_plan(struct sonde_serve *s, struct serve_answer *a) _must_check_;
void serve_flow_stop(struct sonde_serve *s);

/* Idle proof after the last task, as a record. */
int serve_proof_record(struct serve_answer *a);
uint64_t serve_task_deadline_ns(const struct serve_task *t);
