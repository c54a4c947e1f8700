/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Spec: what a task asks for, as this agent understands it: from the member
 * `Sonde` of a command (sonde.v1.TaskSpec as proto3 JSON), or from the
 * arguments of a plain SkyWalking command. All of it is hostile: bounded, every
 * field checked, and a refusal says in words what is wrong. One thread.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/sampling.h"
#include "base/cleanup.h"
#include "model/process.h"
#include "model/task.h"
#include "skywalking/v3/common.pb-c.h"

#define SONDE_SPEC_JSON_MAX (256UL * 1024)
#define SONDE_SPEC_WORDS_MAX 160
#define SONDE_SPEC_TARGET_TEXT_MAX 129
#define SONDE_SPEC_REPORT_INTERVAL_MIN_MS 100
#define SONDE_SPEC_REPORT_INTERVAL_MAX_MS 60000

enum sonde_spec_target_kind {
	SONDE_SPEC_TARGET_PROCESS_ID = 0,
	SONDE_SPEC_TARGET_PID,
	SONDE_SPEC_TARGET_PROCESS_NAME,
	SONDE_SPEC_TARGET_SERVICE,
};

struct sonde_spec_target {
	enum sonde_spec_target_kind kind;
	uint32_t pid;
	char text[SONDE_SPEC_TARGET_TEXT_MAX];	   /* id or name */
	char agent_id[SONDE_SPEC_TARGET_TEXT_MAX]; /* "" = any */
};

struct sonde_spec {
	char id[SONDE_TASK_ID_MAX];
	char name[SONDE_TASK_NAME_MAX];
	char preset[32];
	bool plain;	       /* a SkyWalking command without our member */
	int64_t update_ms;     /* TaskUpdateTime */
	int64_t start_wall_ms; /* 0 = now */
	int64_t duration_ms;
	int64_t report_interval_ms;
	bool execution_time;
	bool without_flows;
	uint32_t collectors; /* SONDE_PROBE_COLLECT_*; at least one */
	uint32_t signals;    /* SONDE_SIGNAL_BIT(); 0 = all of the collectors */
	struct sonde_task_limits limits;
	struct sonde_spec_target *targets; /* owned */
	size_t n_targets;
	struct sonde_sampling sampling;	   /* of a plain command */
	char remark[SONDE_SPEC_WORDS_MAX]; /* what was left out of it, "" = nothing */
};

void sonde_spec_done(struct sonde_spec *s);

/*
 * sonde_spec_parse_json() - a TaskSpec, or the object whose member `Sonde` is one
 * @words: why, on -EINVAL
 * Return: 0, -ENOENT (an object, `null` or nothing, without our member), -EINVAL, -ENOMEM.
 */
int sonde_spec_parse_json(const char *text, size_t n, struct sonde_spec *ret,
			  char words[SONDE_SPEC_WORDS_MAX]) _must_check_;

/*
 * sonde_spec_from_command() - one command of queryTasks
 * @ret: with an error its id and update_ms are filled in as far as they were understood
 * @words: why, on -EINVAL, and on -EOPNOTSUPP where it is a task
 * Return: 0, -EOPNOTSUPP (another command, or a task of another kind: leave it), -EINVAL, -ENOMEM.
 *
 * A plain command is taken as far as it can be: ids beyond SONDE_TASK_TARGETS_MAX and sampling rules that are
 * none are left out and told in the remark; an id that stands twice is one target.
 */
int sonde_spec_from_command(const Skywalking__V3__Command *c, struct sonde_spec *ret,
			    char words[SONDE_SPEC_WORDS_MAX]) _must_check_;
