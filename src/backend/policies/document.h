/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Policy document: when a server makes tasks of a service by itself. In the form of SkyWalking's continuous profiling
 * (what `swctl profiling continuous set` takes), with keys of our own:
 *
 *   policy:                       # thresholds that agents watch in /proc, nothing attached
 *     - type: NETWORK             # ON_CPU and OFF_CPU are kept, but no agent is told of them
 *       checkers:
 *         - {type: PROCESS_CPU, threshold: 75, period: 10, count: 3}   # also uriList, uriRegex
 *       preset: network           # ours, as the next two: the task that it leads to
 *       duration: 5m
 *       spec: {options: {executionTime: true}}   # further members of a TaskSpec
 *   schedules:                    # ours
 *     - {name: nightly, when: at 02:30 UTC, preset: network, duration: 5m}
 *
 * Read from JSON and checked whole: one problem is reported, with its field; where OAP refuses the same, in OAP's
 * words. What is kept is the document in one normal form. Bounded; hostile. Loop thread only.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/policies/when.h"
#include "backend/problem.h"
#include "backend/tasks/spec.h"

#define SONDE_POLICY_SCHEDULES_MAX 8
#define SONDE_POLICY_NAME_MAX 64     /* of a schedule, with NUL */
#define SONDE_POLICY_PERIOD_MAX 1024 /* seconds: what an agent keeps */
#define SONDE_POLICY_URIS_MAX 16
#define SONDE_POLICY_URI_MAX 256 /* with NUL */
#define SONDE_POLICY_UUID_MAX 129
#define SONDE_POLICY_BYTES_MAX (128UL << 10) /* of a document in its normal form */

/* SkyWalking's names, in its order: "NETWORK", "PROCESS_CPU". */
#define SONDE_POLICY_NETWORK "NETWORK"
#define SONDE_POLICY_TYPES 3
extern const char *const sonde_policy_types[];
enum sonde_policy_monitor {
	SONDE_POLICY_PROCESS_CPU = 0, /* as ContinuousProfilingTriggeredMonitorType of the wire */
	SONDE_POLICY_PROCESS_THREAD_COUNT,
	SONDE_POLICY_SYSTEM_LOAD,
	SONDE_POLICY_HTTP_ERROR_RATE,
	SONDE_POLICY_HTTP_AVG_RESPONSE_TIME,
	_SONDE_POLICY_MONITOR_MAX,
};
const char *sonde_policy_monitor_name(enum sonde_policy_monitor m);

/*
 * sonde_policy_check() - a document as it is asked for
 * @root: {policy, schedules, service}; borrowed
 * @service: whose it is; a `service` in the document must be the same
 * @max_duration_ms: of a task
 * @ret: new reference: {"service", "policy": [{type, checkers: [{type, threshold, period, count, uriList?, uriRegex?}], preset?,
 *       duration?, spec?}], "schedules": [{name, when, preset?, duration?, spec?}]}
 *
 * Return: 0, -EINVAL with *@problem filled, -ENOMEM.
 */
int sonde_policy_check(const json_t *root, const char *service, int64_t now_ms,
		       int64_t max_duration_ms, json_t **ret,
		       struct sonde_problem *problem) _must_check_;

/* skywalking.c: of a document in the normal form. The entry of `policy` of this type, NULL if there is none; borrowed. */
const json_t *sonde_policy_target(const json_t *document, const char *type);

/*
 * As OAP hashes it: SHA-512 in hex of the configuration as OAP stores it; where it has several types or monitors, OAP's
 * own order is chance, ours is theirs of the enumeration. "" for one without thresholds. Return: 0, -EIO, -ENOMEM.
 */
int sonde_policy_uuid(const json_t *document, char ret[static SONDE_POLICY_UUID_MAX]) _must_check_;

/* One entry of ServiceWithPolicyJSON: of NETWORK alone, since nothing else is run. NULL when memory ran out. */
json_t *sonde_policy_command(const char *service, const char *uuid, const json_t *document);

/*
 * The request of a task as sonde_task_table_create() takes it. @entry: of `policy` or `schedules`. @targets: borrowed.
 * @fallback_ms: its duration if the entry does not say one; no longer than @max_duration_ms. NULL when memory ran out.
 */
json_t *sonde_policy_task_body(const json_t *entry, const json_t *targets, const char *name,
			       int64_t fallback_ms, int64_t max_duration_ms);
#define SONDE_POLICY_TASK_MS (10LL * 60 * 1000) /* OAP's */
