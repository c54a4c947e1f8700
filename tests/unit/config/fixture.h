/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A table with a row of each kind, for the tests of this folder and the fuzz target. */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "config/config.h"

struct fixture_rule {
	char *executable;
	char *service;
	uint16_t port;
	char **labels;
};

struct fixture {
	bool on;
	uint64_t workers;
	int64_t nice;
	uint64_t poll_ns;
	uint64_t memory_bytes;
	uint16_t port;
	char *address;
	char *token;
	char *state;
	int mode;
	char **users;
	struct fixture_rule *rules;
	size_t n_rules;
};

static const char *const fixture_modes[] = {"fast", "exact", NULL};

static const struct sonde_option fixture_rule_options[] = {
	SONDE_OPTION_STRING(struct fixture_rule, "match.executable", executable, NULL, "255",
			    "path of the executable"),
	SONDE_OPTION_PORT(struct fixture_rule, "match.port", port, "0", NULL, "listening port"),
	SONDE_OPTION_STRING(struct fixture_rule, "service", service, NULL, "255", "its service",
			    .flags = SONDE_OPTION_REQUIRED),
	SONDE_OPTION_STRINGS(struct fixture_rule, "labels", labels, NULL, "4", "its labels"),
	{0},
};

static const struct sonde_option fixture_options[] = {
	SONDE_OPTION_STRING(struct fixture, "backend.address", address, "127.0.0.1:11800", "255",
			    "where the backend is"),
	SONDE_OPTION_DURATION(struct fixture, "backend.poll", poll_ns, "10s", "100ms", "5m",
			      "how often tasks are asked for"),
	SONDE_OPTION_STRING(struct fixture, "backend.token", token, NULL, "255", "the token",
			    .flags = SONDE_OPTION_SECRET),
	SONDE_OPTION_UINT(struct fixture, "workers", workers, "2", "1", "64", "how many workers"),
	SONDE_OPTION_INT(struct fixture, "nice", nice, "0", "-20", "19", "priority"),
	SONDE_OPTION_BOOL(struct fixture, "on", on, "true", "whether it is on"),
	SONDE_OPTION_BYTES(struct fixture, "memory.max", memory_bytes, "16MiB", "64KiB", "1GiB",
			   "memory for reports"),
	SONDE_OPTION_PORT(struct fixture, "listen.port", port, "12800", "1", "port to listen on"),
	SONDE_OPTION_PATH(struct fixture, "state", state, "/var/lib/sonde", "state folder"),
	SONDE_OPTION_ENUM(struct fixture, "mode", mode, "fast", fixture_modes, "how it counts"),
	SONDE_OPTION_STRINGS(struct fixture, "users", users, "root,www-data", "3", "who may"),
	SONDE_OPTION_LIST(struct fixture, "processes.rules", rules, n_rules, fixture_rule_options,
			  "3", "which processes are reported"),
	{0},
};

/* A rule across keys. */
static inline int fixture_check(const void *config, char **ret_error)
{
	const struct fixture *f = config;

	if (f->mode != 1 || f->workers == 1)
		return 0;
	if (asprintf(ret_error, "key 'workers': expected 1 with mode exact") < 0)
		return -ENOMEM;
	return -EINVAL;
}

static const struct sonde_config_action fixture_actions[] = {
	{"doctor", NULL, "say what this machine allows"},
	{"probe", "PATH", "the probe to start"},
	{0},
};

static const struct sonde_config_spec fixture_spec = {
	.program = "fixture",
	.summary = "A program for tests",
	.env_prefix = "SONDE_FIXTURE_",
	.size = sizeof(struct fixture),
	.options = fixture_options,
	.check = fixture_check,
	.actions = fixture_actions,
};

static inline void fixture_freep(void **config)
{
	*config = sonde_config_free(&fixture_spec, *config);
}
#define _cleanup_config_ _cleanup_(fixture_freep)
