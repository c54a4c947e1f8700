/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Registrar: makes agent and processes known to the backend and keeps them
 * alive there: new processes at once, all at every tenth heartbeat and after a
 * failure. A process gets its SkyWalking id from the backend's answer. Loop
 * thread only.
 */

#include <stdint.h>
#include <systemd/sd-event.h>

#include "agent/finder.h"
#include "agent/kafka-link.h"
#include "agent/sender.h"
#include "base/cleanup.h"
#include "io/grpc-client.h"

#define SONDE_AGENT_ID_MAX 37 /* UUID with NUL */

struct sonde_registrar;

struct sonde_registrar_config {
	sd_event *event;		  /* borrowed */
	struct sonde_grpc_client *client; /* borrowed; freed before the registrar */
	struct sonde_kafka_link
		*kafka;		     /* borrowed; freed before the registrar. NULL: by gRPC alone */
	struct sonde_finder *finder; /* borrowed */
	const char *agent_id;	     /* borrowed */
	const char *service, *instance; /* borrowed: of the agent itself */
	const char *host;		/* borrowed: name */
	uint64_t heartbeat_ns;
	uint64_t deadline_ns;
	/* How the delivery of reports goes: a property of the agent, told at a heartbeat when it has changed. May be NULL. */
	void (*delivery)(void *ctx, char ret[SONDE_SENDER_WORDS_MAX]);
	void (*on_ids)(void *ctx);  /* processes got ids */
	void (*on_back)(void *ctx); /* the backend answers again */
	void *ctx;
};

int sonde_registrar_new(const struct sonde_registrar_config *config,
			struct sonde_registrar **ret) _must_check_;
struct sonde_registrar *sonde_registrar_free(struct sonde_registrar *r);
SONDE_DEFINE_CLEANUP(struct sonde_registrar *, sonde_registrar_free)

/* The backend was away, or may have been: register again, not as late as at the next heartbeat. */
void sonde_registrar_soon(struct sonde_registrar *r);

/* Why the agent cannot measure, told with its properties, now if it is news; "": it can. */
void sonde_registrar_set_problem(struct sonde_registrar *r, const char *words);

/* A scan found new processes: report those without an id now. */
void sonde_registrar_report_new(struct sonde_registrar *r);
