/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/control.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "agent/describe.h"
#include "agent/rpc.h"
#include "base/clock.h"
#include "base/log.h"
#include "wire/message.h"

#define PATH "/sonde.v1.TaskControlService/watch"
#define ANSWER_PATH "/sonde.v1.TaskControlService/answer"
#define ANSWER_DEADLINE_NS (10 * SONDE_NS_PER_S)

struct sonde_control {
	struct sonde_control_config config;
	bool stands;
	bool said; /* that the server refuses it */
};

int sonde_control_new(const struct sonde_control_config *config, struct sonde_control **ret)
{
	struct sonde_control *c;

	assert(config && config->client && config->on_stop && config->on_extend &&
	       config->on_poll && config->on_lost && config->on_question && ret);

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
	else if (control->action_case == SONDE__V1__CONTROL__ACTION_QUESTION && control->question &&
		 strlen(control->question->id) <= SONDE_CONTROL_ID_MAX)
		c->config.on_question(c->config.ctx, control->question->id,
				      control->question->spec);
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
	if (result->status != SONDE_GRPC_UNIMPLEMENTED && result->status != SONDE_GRPC_CANCELLED)
		c->config.on_lost(c->config.ctx);
}

static void on_taken(void *ctx, const struct sonde_grpc_result *result,
		     const ProtobufCMessage *answer)
{
	if (result->status != SONDE_GRPC_OK)
		sonde_log_debug("answer to a question: %s %s",
				sonde_grpc_status_name(result->status), result->message);
}

void sonde_control_answer(struct sonde_control *c, Sonde__V1__Plan *plan)
{
	int r;

	assert(c && plan);

	plan->agent_id = sonde_wire_text(c->config.agent_id);
	r = sonde_rpc(c->config.client, ANSWER_PATH, &plan->base,
		      &sonde__v1__plan_taken__descriptor, ANSWER_DEADLINE_NS, on_taken, NULL);
	if (r < 0)
		sonde_log_debug("answer to a question: %s", strerror(-r));
}

void sonde_control_keep(struct sonde_control *c)
{
	Sonde__V1__WatchRequest request = SONDE__V1__WATCH_REQUEST__INIT;
	_cleanup_buf_ struct sonde_buf buf = SONDE_BUF_INIT(4096);

	assert(c);

	if (c->stands || c->said || !sonde_grpc_client_has_extension(c->config.client))
		return;
	request.agent_id = sonde_wire_text(c->config.agent_id);
	if (sonde_wire_pack(&request.base, &buf) < 0)
		return;
	sonde_describe(c->config.client, c->config.agent_id);
	c->stands = true; /* on_done may run from within */
	if (sonde_grpc_client_call(c->config.client, PATH, &buf, 1, NULL, 0, 0,
				   (struct sonde_grpc_client_handler){on_message, on_done, c},
				   NULL) < 0)
		c->stands = false;
}
