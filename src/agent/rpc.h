/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Rpc: one unary call with protobuf messages over the gRPC client. Loop thread only. */

#include <protobuf-c/protobuf-c.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "io/grpc-client.h"

/*
 * @answer: unpacked as the call's descriptor says, borrowed; NULL unless @result is OK and it was one whole
 * message. An OK without a good answer becomes INTERNAL.
 */
typedef void (*sonde_rpc_fn)(void *ctx, const struct sonde_grpc_result *result,
			     const ProtobufCMessage *answer);

/*
 * @done runs exactly once unless an error is returned, maybe from within. @answer: descriptor of the answer.
 * Return: 0, -ENOMEM, -EMSGSIZE.
 */
int sonde_rpc(struct sonde_grpc_client *client, const char *path, const ProtobufCMessage *request,
	      const ProtobufCMessageDescriptor *answer, uint64_t deadline_ns, sonde_rpc_fn done,
	      void *ctx) _must_check_;

/* The same with the metadata `sonde-agent-id`, for messages of SkyWalking that do not say who asks. */
int sonde_rpc_of(struct sonde_grpc_client *client, const char *agent_id, const char *path,
		 const ProtobufCMessage *request, const ProtobufCMessageDescriptor *answer,
		 uint64_t deadline_ns, sonde_rpc_fn done, void *ctx) _must_check_;

#define SONDE_RPC_MESSAGE_MAX (4UL * 1024 * 1024)
