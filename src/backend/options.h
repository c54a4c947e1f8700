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
	struct sonde_server_token { /* of REST */
		char *name, *file;
		int role; /* index: view, operate */
	} * http_tokens;
	size_t n_http_tokens;
	int client_role; /* index likewise */
	bool open_to_all;
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
	uint64_t keep_fine_ns, keep_minutes_ns;
	uint64_t max_http_connections, max_body_bytes, max_buckets, max_flows;
	uint64_t disk_reserve_bytes;
	uint64_t max_task_buckets, max_task_series, max_task_entities, max_database_bytes;
};

extern const struct sonde_config_spec sonde_server_config_spec;

#define SONDE_LISTEN_ADDRESS_MAX 64
struct sonde_listen {
	char address[SONDE_LISTEN_ADDRESS_MAX];
	uint16_t port;
};
/* "ADDRESS:PORT", IPv6 in brackets. Return: 0, -EINVAL. */
int sonde_listen_parse(const char *text, struct sonde_listen *ret) _must_check_;

struct sonde_access;
/* Reads the files of the tokens. Return: 0, -errno with *@words set. */
#define SONDE_SERVER_WORDS_MAX 512
int sonde_server_read_access(const struct sonde_server_options *o, const char *token,
			     struct sonde_access **ret,
			     char words[static SONDE_SERVER_WORDS_MAX]) _must_check_;

/* May whoever reaches this interface use it, though others than this machine can? */
bool sonde_server_is_open(const struct sonde_server_options *o, const char *listen,
			  const struct sonde_server_tls *tls, bool has_token);

/* The value of enum sonde_log_level for options->log_level. */
int sonde_server_log_level(const struct sonde_server_options *o);
