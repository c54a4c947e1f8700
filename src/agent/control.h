/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Control: the standing call TaskControlService.watch to a server with our
 * extension: stop, extend, questions and that a task waits are heard at once,
 * not at the next poll. Loop thread only.
 */

#include <stdint.h>

#include "base/cleanup.h"
#include "io/grpc-client.h"
#include "sonde/v1/task.pb-c.h"

struct sonde_control;

#define SONDE_CONTROL_ID_MAX 64 /* bytes of a question's id */

struct sonde_control_config {
	struct sonde_grpc_client *client; /* borrowed; freed before the control */
	const char *agent_id;		  /* borrowed */
	void (*on_stop)(void *ctx, const char *task_id, const char *reason);
	void (*on_extend)(void *ctx, const char *task_id, int64_t end_wall_ms);
	void (*on_poll)(void *ctx); /* a task waits: ask now */
	void (*on_lost)(void *ctx); /* the call ended, the server may have too */
	/* @id: at most SONDE_CONTROL_ID_MAX. @spec: JSON, "" = the doctor's. Answered by sonde_control_answer(). */
	void (*on_question)(void *ctx, const char *id, const char *spec);
	void *ctx;
};

int sonde_control_new(const struct sonde_control_config *config,
		      struct sonde_control **ret) _must_check_;
struct sonde_control *sonde_control_free(struct sonde_control *c);
SONDE_DEFINE_CLEANUP(struct sonde_control *, sonde_control_free)

/* Sends the answer to a question once; what cannot be sent is lost, and asked again by who wants to know. */
void sonde_control_answer(struct sonde_control *c, Sonde__V1__Plan *plan);

/* Opens the call if the server has the extension and none stands. The poll's timer calls it. */
void sonde_control_keep(struct sonde_control *c);
