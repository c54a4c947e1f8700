/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Spec: the TaskSpec (proto/sonde/v1/task.proto) that a command sends: a preset
 * or a file, then flags, then targets.
 */

#include <jansson.h>

#include "config/config.h"
#include "ctl/cli.h"
#include "ctl/rest.h"

struct sonde_spec_target {
	char *process_id;
	uint64_t pid;
	char *process_name;
	char *service;
	char *agent_id;
};

/* A rule of swctl's sampling.yaml, by its own names. Nothing measures by it: layer 7 is not observed. */
struct sonde_spec_sampling {
	char *uri_pattern;
	uint64_t min_duration; /* ms */
	bool when_4xx;
	bool when_5xx;
	bool require_request;
	uint64_t max_request_size;
	bool require_response;
	uint64_t max_response_size;
};

/* The file's keys: proto3 JSON names, and duration, reportInterval in words. */
struct sonde_spec {
	char *name;
	char *preset;
	struct sonde_spec_target *targets;
	size_t n_targets;
	uint64_t start_wall_ms;
	uint64_t duration_ms;
	uint64_t duration_ns; /* the same, written "60s" */
	uint64_t report_interval_ms;
	uint64_t report_interval_ns;
	char **collectors;
	bool execution_time;
	bool execution_time_said; /* false: as the preset has it */
	bool without_flows;
	bool without_flows_said;
	char **signals; /* NULL-terminated; NULL = not said */
	uint64_t max_peers;
	bool stop_at_max_peers;
	uint64_t max_cpu_percent;
	uint64_t max_memory_bytes;
	uint64_t max_events_per_second;
	struct sonde_spec_sampling *samplings; /* read, told and left out of the request */
	size_t n_samplings;
};

extern const struct sonde_config_spec sonde_spec_file;

/*
 * Reads a file of at most SONDE_CONFIG_FILE_MAX bytes, "-" = stdin. @ret_error: words, to be freed.
 * Return: 0, -EINVAL, -ENOMEM, -errno of reading.
 */
int sonde_spec_load(const char *path, struct sonde_spec **ret, char **ret_error) _must_check_;

/*
 * What a file of sampling rules alone leaves open is as in the task that an OAP makes of it: preset network-calls, for
 * ten minutes. Return: 0, -ENOMEM.
 */
int sonde_spec_complete(struct sonde_spec *spec) _must_check_;

/* Parses a text (for tests and fuzzing). */
int sonde_spec_parse(const char *text, size_t len, const char *name, struct sonde_spec **ret,
		     char **ret_error) _must_check_;
struct sonde_spec *sonde_spec_free(struct sonde_spec *spec);
SONDE_DEFINE_CLEANUP(struct sonde_spec *, sonde_spec_free)

/* The body of POST /tasks, but for targets of the command line. Return: 0, -ENOMEM. */
int sonde_spec_json(const struct sonde_spec *spec, json_t **ret) _must_check_;

/*
 * "2026-11-21T14:30:00Z", "14:30", "14:30:15" (local, the next one), "+5m".
 * Return: 0, -EINVAL.
 */
int sonde_spec_start(const char *text, int64_t now_wall_ms, int64_t *ret_wall_ms) _must_check_;

/* That of --at, which was given; tells a time of day that is tomorrow's. Return: 0 or an exit status (already told). */
int sonde_cli_start(struct sonde_cli *cli, int64_t *ret_wall_ms) _must_check_;

/*
 * The whole request of a command with the flags of `task create` and `run`: asks the server when a
 * bare word must be explained. Return: 0 with a new reference, or an exit status (already told).
 */
int sonde_cli_build_spec(struct sonde_cli *cli, json_t **ret) _must_check_;

/* The folders of presets, nearest first, NULL behind the last; each to be freed, on failure too. Return: 0, -ENOMEM. */
int sonde_cli_preset_dirs(const struct sonde_cli *cli, char *dirs[static 3]) _must_check_;

/* Appends the operands from @first on, TARGETs, to @list. Return: 0 or an exit status (already told). */
int sonde_cli_add_targets(struct sonde_cli *cli, size_t first, json_t *list) _must_check_;

/*
 * Sends @spec, which is taken. @ret_id is borrowed from @ret. Return: 0, or an exit status (already told).
 */
int sonde_cli_send_spec(struct sonde_cli *cli, json_t *spec, struct sonde_rest_answer *ret,
			const char **ret_id) _must_check_;

/* The same, and prints the task's id, or with JSON as output the answer. Return: an exit status. */
int sonde_cli_send_and_tell(struct sonde_cli *cli, json_t *spec) _must_check_;
