/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Options: sonde-server's configuration, from one table (config/config.h). */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "config/config.h"

#define SONDE_SERVER_TOKEN_MAX 255

struct sonde_server_options {
	char *grpc_listen, *http_listen; /* "127.0.0.1:11800", "[::1]:0" */
	char *token, *token_file;
	struct sonde_server_tls {
		char *cert_file, *key_file; /* "" = plain text */
		char *client_ca_file;
		bool require_client;
	} grpc_tls, http_tls;
	char *state, *rules;
	bool strict;
	int log_level; /* index of the names */
	uint64_t retention_ns, grace_ns, max_task_duration_ns, max_tasks;
	uint64_t max_message_bytes, max_connections, max_streams;
	uint64_t max_http_connections, max_body_bytes, max_buckets, max_flows;
};

extern const struct sonde_config_spec sonde_server_config_spec;

#define SONDE_LISTEN_ADDRESS_MAX 64
struct sonde_listen {
	char address[SONDE_LISTEN_ADDRESS_MAX];
	uint16_t port;
};
/* "ADDRESS:PORT", IPv6 in brackets. Return: 0, -EINVAL. */
int sonde_listen_parse(const char *text, struct sonde_listen *ret) _must_check_;

/* The value of enum sonde_log_level for options->log_level. */
int sonde_server_log_level(const struct sonde_server_options *o);
