/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/rpc.h"

#include <assert.h>
#include <errno.h>

#include "base/clock.h"
#include "wire/message.h"

struct rpc {
	const ProtobufCMessageDescriptor *descriptor;
	ProtobufCMessage *answer;
	unsigned messages;
	sonde_rpc_fn done;
	void *ctx;
};

static void on_message(void *ctx, const uint8_t *data, size_t n)
{
	struct rpc *rpc = ctx;

	if (rpc->messages++ == 0 &&
	    sonde_wire_unpack(rpc->descriptor, data, n, NULL, &rpc->answer) < 0)
		rpc->answer = NULL; /* on_done tells */
}

static void on_done(void *ctx, const struct sonde_grpc_result *result)
{
	struct rpc *rpc = ctx;
	struct sonde_grpc_result r = *result;
	ProtobufCMessage *answer = r.status == SONDE_GRPC_OK ? rpc->answer : NULL;

	if (r.status == SONDE_GRPC_OK && (!rpc->answer || rpc->messages != 1)) {
		r.status = SONDE_GRPC_INTERNAL;
		answer = NULL;
	}
	rpc->done(rpc->ctx, &r, answer);
	(void)sonde_wire_free(rpc->answer);
	free(rpc);
}

int sonde_rpc(struct sonde_grpc_client *client, const char *path, const ProtobufCMessage *request,
	      const ProtobufCMessageDescriptor *answer, uint64_t deadline_ns, sonde_rpc_fn done,
	      void *ctx)
{
	return sonde_rpc_of(client, NULL, path, request, answer, deadline_ns, done, ctx);
}

int sonde_rpc_of(struct sonde_grpc_client *client, const char *agent_id, const char *path,
		 const ProtobufCMessage *request, const ProtobufCMessageDescriptor *answer,
		 uint64_t deadline_ns, sonde_rpc_fn done, void *ctx)
{
	const struct sonde_grpc_metadata metadata = {"sonde-agent-id", agent_id};
	_cleanup_buf_ struct sonde_buf buf = SONDE_BUF_INIT(SONDE_RPC_MESSAGE_MAX);
	struct rpc *rpc;
	int r;

	assert(client && path && request && answer && done);

	r = sonde_wire_pack(request, &buf);
	if (r < 0)
		return r;
	rpc = calloc(1, sizeof(*rpc));
	if (!rpc)
		return -ENOMEM;
	*rpc = (struct rpc){.descriptor = answer, .done = done, .ctx = ctx};
	r = sonde_grpc_client_call(
		client, path, &buf, 1, &metadata, agent_id ? 1 : 0, sonde_mono_ns() + deadline_ns,
		(struct sonde_grpc_client_handler){on_message, on_done, rpc}, NULL);
	if (r < 0)
		free(rpc);
	return r;
}
