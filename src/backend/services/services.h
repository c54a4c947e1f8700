/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Services: the gRPC methods, each in the file of its service. A message that cannot be decoded, or that
 * means nothing, ends its own call with a status and words, and nothing else. Loop thread only.
 */

#include <protobuf-c/protobuf-c.h>

#include "backend/backend.h"
#include "wire/message.h"

#define SONDE_SERVICES_LIST_MAX 20000 /* entries of one process report */

extern const struct sonde_grpc_method
	sonde_services_methods[]; /* {NULL}-ended; ctx is the backend */

/* Fails the call with words, from on_message. Returns @status. */
enum sonde_grpc_status sonde_services_fail(struct sonde_grpc_server_call *call,
					   enum sonde_grpc_status status, const char *fmt, ...)
	_printf_(3, 4);

/* A message within the usual bounds, to be freed by sonde_wire_free(); NULL if it is none. */
static inline void *sonde_services_unpack(const ProtobufCMessageDescriptor *descriptor,
					  const uint8_t *data, size_t n)
{
	ProtobufCMessage *m = NULL;

	return sonde_wire_unpack(descriptor, data, n, NULL, &m) < 0 ? NULL : m;
}

/* Sends one message and ends the call well. */
void sonde_services_answer(struct sonde_grpc_server_call *call, const ProtobufCMessage *message);

/* An answer that waits for the store: survives the call's end. */
struct sonde_deferred {
	struct sonde_grpc_server_call *call; /* NULL: the client is gone */
	uint8_t *held;			     /* the serialised answer; owned */
	size_t n_held;
};
/* Hangs on the call's user data. NULL when memory ran out. */
struct sonde_deferred *sonde_deferred_new(struct sonde_grpc_server_call *call);
/* on_close of the methods that defer. */
void sonde_deferred_on_close(void *ctx, struct sonde_grpc_server_call *call);
/* What a good end will answer. Return: 0, -ENOMEM. */
int sonde_deferred_hold(struct sonde_deferred *d, const ProtobufCMessage *message) _must_check_;
/* Ends the call, if it is still there, and frees. OK answers what is held. */
void sonde_deferred_finish(struct sonde_deferred *d, enum sonde_grpc_status status,
			   const char *words);
/* done of a store's job, ctx is the deferred: OK, or UNAVAILABLE so that it is sent again. */
void sonde_deferred_on_stored(void *ctx, int error);

/* --- process.c --- */
enum sonde_grpc_status sonde_services_instance_properties(void *ctx,
							  struct sonde_grpc_server_call *call,
							  const uint8_t *data, size_t n);
enum sonde_grpc_status sonde_services_instance_ping(void *ctx, struct sonde_grpc_server_call *call,
						    const uint8_t *data, size_t n);
enum sonde_grpc_status sonde_services_report_processes(void *ctx,
						       struct sonde_grpc_server_call *call,
						       const uint8_t *data, size_t n);
enum sonde_grpc_status sonde_services_process_ping(void *ctx, struct sonde_grpc_server_call *call,
						   const uint8_t *data, size_t n);
/* --- health.c --- */
enum sonde_grpc_status sonde_services_health(void *ctx, struct sonde_grpc_server_call *call,
					     const uint8_t *data, size_t n);
/* --- profiling.c --- */
enum sonde_grpc_status sonde_services_query_tasks(void *ctx, struct sonde_grpc_server_call *call,
						  const uint8_t *data, size_t n);
/* --- continuous.c --- */
enum sonde_grpc_status sonde_services_query_policies(void *ctx, struct sonde_grpc_server_call *call,
						     const uint8_t *data, size_t n);
enum sonde_grpc_status sonde_services_report_trigger(void *ctx, struct sonde_grpc_server_call *call,
						     const uint8_t *data, size_t n);
/* --- meter.c --- */
enum sonde_grpc_status sonde_services_collect(void *ctx, struct sonde_grpc_server_call *call,
					      const uint8_t *data, size_t n);
enum sonde_grpc_status sonde_services_collect_batch(void *ctx, struct sonde_grpc_server_call *call,
						    const uint8_t *data, size_t n);
void sonde_services_collect_end(void *ctx, struct sonde_grpc_server_call *call);
void sonde_services_collect_close(void *ctx, struct sonde_grpc_server_call *call);
/* --- report.c --- */
enum sonde_grpc_status sonde_services_task_report(void *ctx, struct sonde_grpc_server_call *call,
						  const uint8_t *data, size_t n);
/* --- control.c --- */
enum sonde_grpc_status sonde_services_watch(void *ctx, struct sonde_grpc_server_call *call,
					    const uint8_t *data, size_t n);
void sonde_services_watch_close(void *ctx, struct sonde_grpc_server_call *call);
/* on_control of the task table: @end_ms 0 = stop. */
void sonde_services_control(void *ctx, const struct sonde_task *t, const struct sonde_task_agent *a,
			    int64_t end_ms);
/* on_waiting of the task table: a task waits for this agent. */
void sonde_services_waiting(void *ctx, const struct sonde_task_agent *a);
/* There is something to ask for: an agent that watches asks now, not at its next poll. */
void sonde_services_poke(struct sonde_backend *b, const char *agent_id);
/* A question to the agent's newest watch. Return: false = it has none, or it cannot be pushed. */
bool sonde_services_ask(struct sonde_backend *b, const char *agent_id, const char *id,
			const char *spec);
/* Ends all watches, when the server goes. */
void sonde_services_end_watches(struct sonde_backend *b);
