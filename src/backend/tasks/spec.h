/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Spec: what a person asked for (sonde.v1.TaskSpec), read from proto3 JSON and
 * checked whole: one problem is reported, with its field. Written back as the
 * member `Sonde` of a task command and as the REST answer's "spec". Loop thread only.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "backend/problem.h"
#include "base/cleanup.h"
#include "model/task.h"

#define SONDE_SPEC_TEXT_MAX 256 /* bytes of a target's names, with NUL */
#define SONDE_SPEC_INTERVAL_MIN_MS 100
#define SONDE_SPEC_INTERVAL_MAX_MS 60000
#define SONDE_SPEC_PEERS_MAX 65536
#define SONDE_SPEC_START_AHEAD_MAX_MS (7LL * 24 * 3600 * 1000)

/* Exactly one of process_id, pid, process_name and service is set; the rest is "" or 0. */
struct sonde_spec_target {
	char process_id[SONDE_SPEC_TEXT_MAX];
	char process_name[SONDE_SPEC_TEXT_MAX];
	char service[SONDE_SPEC_TEXT_MAX];
	char agent_id[SONDE_SPEC_TEXT_MAX]; /* "": any */
	int32_t pid;
};

#define SONDE_SPEC_COLLECT_TCP (1U << 0)
#define SONDE_SPEC_COLLECT_UDP (1U << 1)

struct sonde_spec {
	char id[SONDE_TASK_ID_MAX];
	char name[SONDE_TASK_NAME_MAX];
	char preset[64];
	char created_by[64];
	struct sonde_spec_target *targets; /* owned */
	size_t n_targets;
	int64_t start_wall_ms; /* 0: as soon as an agent takes it */
	int64_t duration_ms;
	int64_t report_interval_ms;
	struct sonde_task_limits limits;
	bool execution_time;
	bool without_flows;
	unsigned collectors; /* SONDE_SPEC_COLLECT_*; at least one */
	uint32_t signals;    /* SONDE_SIGNAL_BIT(); 0 = all of the collectors */
};

/*
 * @now_ms: for the check of the start time. @max_duration_ms: the server's own longest.
 * @stored: @root is our own document: it has an id, and times may lie anywhere.
 * Return: 0, -EINVAL with *@problem filled, -ENOMEM.
 */
int sonde_spec_parse(const json_t *root, int64_t now_ms, int64_t max_duration_ms, bool stored,
		     struct sonde_spec **ret, struct sonde_problem *problem) _must_check_;
struct sonde_spec *sonde_spec_free(struct sonde_spec *s);
SONDE_DEFINE_CLEANUP(struct sonde_spec *, sonde_spec_free)

typedef bool (*sonde_spec_keep_fn)(void *ctx, const struct sonde_spec_target *t);

/* @keep says which targets go in; NULL: all. New reference, NULL when memory ran out. */
json_t *sonde_spec_json(const struct sonde_spec *s, sonde_spec_keep_fn keep, void *ctx);
