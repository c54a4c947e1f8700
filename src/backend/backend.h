/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Backend: everything of one server, put together. The parts know each other
 * only through their own headers; the gRPC services and the REST routes get
 * this struct. One loop thread owns it all; SQLite's writer is the only other thread.
 */

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "backend/ingest/ingest.h"
#include "backend/ingest/retention.h"
#include "backend/ingest/series.h"
#include "backend/store/store.h"
#include "backend/tasks/registry.h"
#include "backend/tasks/table.h"
#include "io/grpc-server.h"

struct sonde_access;
struct sonde_audit;
struct sonde_httpd;
struct sonde_https;
struct sonde_https_config;
struct sonde_tls_config;
struct sonde_inquiry;
struct sonde_policies;
struct sonde_rule_watch;
struct sonde_watch;
struct sonde_descriptors;
struct sonde_graphql_run;
struct sonde_templates;

/* Of the state folder. */
#define SONDE_STORE_FILE "sonde.db"
#define SONDE_LOCK_FILE "lock"

struct sonde_backend_config {
	const char *state_dir; /* must exist; sonde.db is made in it */
	const char *rules_dir; /* "": no rules */
	bool strict;	       /* of the rules' counters, see mal/run.h */
	const char *grpc_address, *http_address;
	uint16_t grpc_port, http_port;
	const char *token;		   /* of agents' calls; NULL or "": none */
	const struct sonde_access *access; /* of REST; borrowed; NULL: whoever comes may do all */
	const struct sonde_tls_config *grpc_tls; /* NULL = plain text */
	const struct sonde_https_config *http_https;
	uint64_t max_message_bytes;
	uint64_t max_connections, max_streams;
	uint64_t max_http_connections;
	uint64_t max_body_bytes;
	uint64_t max_buckets; /* of all series in memory */
	uint64_t max_task_buckets, max_task_series,
		max_task_entities;   /* 0: as many as there is room for */
	uint64_t max_database_bytes; /* 0: no limit */
	uint64_t max_flows;	     /* ended connections that are stored, a task and agent */
	uint64_t disk_reserve_bytes;
	uint64_t max_running_tasks;
	uint64_t max_task_duration_ms;
	uint64_t grace_ms;
	uint64_t retention_ms;
	uint64_t keep_fine_ms, keep_minutes_ms; /* series of 10 s, of a minute */
};

struct sonde_backend {
	sd_event *event;		    /* owned reference */
	struct sonde_backend_config config; /* strings borrowed */
	int lock;			    /* of the state folder; -1 = not held */
	struct sonde_store *store;
	struct sonde_registry *registry;
	struct sonde_task_table *tasks;
	struct sonde_series_table *series;
	struct sonde_ingest *ingest;
	struct sonde_retention *retention;
	struct sonde_refusals refusals;	     /* of the task "-" */
	struct sonde_rule_watch *rule_watch; /* NULL: the kernel refused, or there is no folder */
	struct sonde_descriptors *descriptors;
	struct sonde_policies *policies;   /* see policies/policies.h */
	struct sonde_templates *templates; /* see oap/template-store.h */
	struct sonde_grpc_server *grpc;
	struct sonde_https *https;
	struct sonde_httpd *httpd;
	struct sonde_audit *audit; /* see audit.h */
	uint64_t trouble_ns;	   /* since when connections that came to nothing are counted */
	unsigned n_trouble;
	sd_event_source *tick;
	struct sonde_watch *watches;	 /* list; see services/control.c */
	struct sonde_inquiry *inquiries; /* list; see services/inquiry.h */
	unsigned n_inquiries;
	struct sonde_graphql_run *graphql_held; /* list; see oap/graphql.h */
	unsigned n_graphql_held;
	size_t buffered_bytes; /* of report streams that are still open */
	int64_t last_trim_ms, last_memory_ms;
	bool draining;
};

/*
 * Locks the state folder, opens, loads, replays, listens. @config's strings are borrowed for its life.
 * Return: 0, -errno (logged).
 */
int sonde_backend_new(sd_event *event, const struct sonde_backend_config *config,
		      struct sonde_backend **ret) _must_check_;

/* Writes what is in memory, closes. NULL is fine. Returns NULL. */
struct sonde_backend *sonde_backend_free(struct sonde_backend *b);
SONDE_DEFINE_CLEANUP(struct sonde_backend *, sonde_backend_free)

/* No new calls; those in flight go on. Free it when done, at the latest after three seconds. */
void sonde_backend_drain(struct sonde_backend *b);

uint16_t sonde_backend_grpc_port(const struct sonde_backend *b);
uint16_t sonde_backend_http_port(const struct sonde_backend *b);
