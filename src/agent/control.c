/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/control.h"

#include <assert.h>
#include <errno.h>

#include "base/log.h"
#include "sonde/v1/task.pb-c.h"
#include "wire/message.h"

#define PATH "/sonde.v1.TaskControlService/watch"

struct sonde_control {
	struct sonde_control_config config;
	bool stands;
	bool said; /* that the server refuses it */
};

int sonde_control_new(const struct sonde_control_config *config, struct sonde_control **ret)
{
	struct sonde_control *c;

	assert(config && config->client && config->on_stop && config->on_extend &&
	       config->on_poll && ret);

	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->config = *config;
	*ret = c;
	return 0;
}

struct sonde_control *sonde_control_free(struct sonde_control *c)
{
	free(c);
	return NULL;
}

static void on_message(void *ctx, const uint8_t *data, size_t n)
{
	struct sonde_control *c = ctx;
	_cleanup_(sonde_wire_freep) ProtobufCMessage *m = NULL;
	const Sonde__V1__Control *control;

	if (sonde_wire_unpack(&sonde__v1__control__descriptor, data, n, NULL, &m) < 0) {
		(void)sonde_log_warn(0, "the server's control message is not understood, ignoring");
		return;
	}
	control = (const Sonde__V1__Control *)(const void *)m;
	if (control->action_case == SONDE__V1__CONTROL__ACTION_STOP && control->stop)
		c->config.on_stop(c->config.ctx, control->stop->task_id, control->stop->reason);
	else if (control->action_case == SONDE__V1__CONTROL__ACTION_EXTEND && control->extend)
		c->config.on_extend(c->config.ctx, control->extend->task_id,
				    control->extend->end_wall_ms);
	else if (control->action_case == SONDE__V1__CONTROL__ACTION_POLL)
		c->config.on_poll(c->config.ctx);
	else if (control->action_case == SONDE__V1__CONTROL__ACTION_HELLO)
		sonde_log_debug("the server's control call stands");
}

static void on_done(void *ctx, const struct sonde_grpc_result *result)
{
	struct sonde_control *c = ctx;

	c->stands = false;
	if (result->status == SONDE_GRPC_UNIMPLEMENTED && !c->said) {
		c->said = true;
		(void)sonde_log_warn(
			0, "the server has no control call: tasks cannot be stopped early");
	}
}

void sonde_control_keep(struct sonde_control *c)
{
	Sonde__V1__WatchRequest request = SONDE__V1__WATCH_REQUEST__INIT;
	_cleanup_buf_ struct sonde_buf buf = SONDE_BUF_INIT(4096);
	union {
		const char *in;
		char *out;
	} id;

	assert(c);

	id.in = c->config.agent_id; /* protobuf-c's field is not const; nothing writes through it */
	if (c->stands || c->said || !sonde_grpc_client_has_extension(c->config.client))
		return;
	request.agent_id = id.out;
	if (sonde_wire_pack(&request.base, &buf) < 0)
		return;
	c->stands = true; /* on_done may run from within */
	if (sonde_grpc_client_call(c->config.client, PATH, &buf, 1, NULL, 0, 0,
				   (struct sonde_grpc_client_handler){on_message, on_done, c},
				   NULL) < 0)
		c->stands = false;
}
