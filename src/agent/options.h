/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Options: config/agent.yaml as one struct, and the flags that are no options.
 * What sonde-probe is started with comes from flags only, because it starts
 * before any file is read.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/config.h"

enum sonde_agent_on_unknown {
	SONDE_AGENT_ON_UNKNOWN_DROP = 0,
	SONDE_AGENT_ON_UNKNOWN_RESEND,
};

/* Which way meters go; tasks and processes are gRPC's. */
enum sonde_agent_export {
	SONDE_AGENT_EXPORT_GRPC = 0,
	SONDE_AGENT_EXPORT_KAFKA,
};

enum sonde_agent_sasl {
	SONDE_AGENT_SASL_NONE = 0,
	SONDE_AGENT_SASL_PLAIN,
	SONDE_AGENT_SASL_SCRAM_SHA_256,
	SONDE_AGENT_SASL_SCRAM_SHA_512,
};

enum sonde_agent_order {
	SONDE_AGENT_ORDER_LISTED = 0,
	SONDE_AGENT_ORDER_RANDOM,
};

/* How an OAP is told of a peer that is no process of the same instance. */
enum sonde_agent_peers {
	SONDE_AGENT_PEERS_AUTO = 0, /* address where this runs in a Kubernetes pod, else unknown */
	SONDE_AGENT_PEERS_ADDRESS,
	SONDE_AGENT_PEERS_UNKNOWN,
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
	char **backend_addresses; /* NULL-ended; NULL: host and port are meant */
	int backend_order;
	uint64_t backend_max_age_ns;
	char *backend_authentication, *backend_authentication_file;
	bool tls_enabled, tls_insecure_skip_verify;
	char *tls_ca_file, *tls_cert_file, *tls_key_file, *tls_server_name;
	int export; /* enum sonde_agent_export */
	char **kafka_brokers;
	char *kafka_namespace, *kafka_meters_topic, *kafka_managements_topic;
	bool kafka_tls_enabled, kafka_tls_insecure_skip_verify;
	char *kafka_tls_ca_file, *kafka_tls_cert_file, *kafka_tls_key_file;
	int kafka_sasl; /* enum sonde_agent_sasl */
	char *kafka_sasl_username, *kafka_sasl_password_file;
	char **kafka_properties; /* NAME=VALUE */
	uint64_t backend_connect_timeout_ns;
	uint64_t backend_deadline_ns;
	uint64_t poll_ns;
	uint64_t heartbeat_ns;
	uint64_t scan_ns;
	uint64_t max_processes;
	uint64_t queue_reports;
	uint64_t queue_bytes;
	int on_unknown;
	char *spool_dir; /* "": in the state folder */
	uint64_t spool_max_bytes;
	uint64_t spool_max_age_ns;
	uint64_t spool_after_ns;
	int spool_fsync;	     /* enum sonde_spool_fsync */
	uint64_t report_interval_ns; /* of an OAP's tasks */
	bool continuous;
	uint64_t continuous_check_ns, continuous_duration_ns, continuous_silence_ns;
	int peers; /* enum sonde_agent_peers */
	char *service, *instance;
	char *proc;
	int log_level;
	struct sonde_agent_rule *rules;
	size_t n_rules;
};

extern const struct sonde_config_spec sonde_agent_config_spec;
