/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Options: config/agent.yaml as one struct, and the flags that are no options.
 * What sonde-probe is started with comes from flags only, because it starts
 * before any file is read.
 */

#include <stddef.h>
#include <stdint.h>

#include "config/config.h"

enum sonde_agent_on_unknown {
	SONDE_AGENT_ON_UNKNOWN_DROP = 0,
	SONDE_AGENT_ON_UNKNOWN_RESEND,
};

/* One row of processes.rules. Empty text and port 0 match anything; at least one must be given. */
struct sonde_agent_rule {
	char *executable;			 /* glob over the executable's whole path */
	char *command;				 /* PCRE2 over the command line */
	uint16_t port;				 /* one that it listens on */
	char *service, *instance, *process_name; /* templates: {exe} {pid} {host} {port} */
	char *layer;
	char **labels; /* NULL-ended; NULL = none */
};

struct sonde_agent_config {
	char *backend_host;
	uint16_t backend_port;
	char *backend_token;
	uint64_t backend_connect_timeout_ns;
	uint64_t backend_deadline_ns;
	uint64_t poll_ns;
	uint64_t heartbeat_ns;
	uint64_t scan_ns;
	uint64_t max_processes;
	uint64_t queue_reports;
	uint64_t queue_bytes;
	int on_unknown;
	uint64_t report_interval_ns; /* of an OAP's tasks */
	char *service, *instance;
	char *proc;
	int log_level;
	struct sonde_agent_rule *rules;
	size_t n_rules;
};

extern const struct sonde_config_spec sonde_agent_config_spec;
