/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/services/services.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "backend/services/descriptors.h"
#include "backend/services/inquiry.h"

/* Answered by on_message, or later. */
static void on_half_close(void *ctx, struct sonde_grpc_server_call *call)
{
}

const struct sonde_grpc_method sonde_services_methods[] = {
	{.path = "/skywalking.v3.ManagementService/reportInstanceProperties",
	 .on_message = sonde_services_instance_properties,
	 .on_half_close = on_half_close,
	 .single_message = true},
	{.path = "/skywalking.v3.ManagementService/keepAlive",
	 .on_message = sonde_services_instance_ping,
	 .on_half_close = on_half_close,
	 .single_message = true},
	{.path = "/skywalking.v3.EBPFProcessService/reportProcesses",
	 .on_message = sonde_services_report_processes,
	 .on_close = sonde_deferred_on_close,
	 .on_half_close = on_half_close,
	 .single_message = true},
	{.path = "/skywalking.v3.EBPFProcessService/keepAlive",
	 .on_message = sonde_services_process_ping,
	 .on_half_close = on_half_close,
	 .single_message = true},
	{.path = "/skywalking.v3.EBPFProfilingService/queryTasks",
	 .on_message = sonde_services_query_tasks,
	 .on_half_close = on_half_close,
	 .single_message = true},
	{.path = "/skywalking.v3.ContinuousProfilingService/queryPolicies",
	 .on_message = sonde_services_query_policies,
	 .on_half_close = on_half_close,
	 .single_message = true},
	{.path = "/skywalking.v3.ContinuousProfilingService/reportProfilingTask",
	 .on_message = sonde_services_report_trigger,
	 .on_close = sonde_deferred_on_close,
	 .on_half_close = on_half_close,
	 .single_message = true},
	{.path = "/skywalking.v3.MeterReportService/collect",
	 .on_message = sonde_services_collect,
	 .on_half_close = sonde_services_collect_end,
	 .on_close = sonde_services_collect_close},
	{.path = "/skywalking.v3.MeterReportService/collectBatch",
	 .on_message = sonde_services_collect_batch,
	 .on_half_close = sonde_services_collect_end,
	 .on_close = sonde_services_collect_close},
	{.path = "/sonde.v1.TaskReportService/report",
	 .on_message = sonde_services_task_report,
	 .on_close = sonde_deferred_on_close,
	 .on_half_close = on_half_close,
	 .single_message = true},
	{.path = "/sonde.v1.TaskControlService/watch",
	 .on_message = sonde_services_watch,
	 .on_close = sonde_services_watch_close,
	 .on_half_close = on_half_close,
	 .single_message = true},
	{.path = "/sonde.v1.TaskControlService/answer",
	 .on_message = sonde_services_plan,
	 .on_half_close = on_half_close,
	 .single_message = true},
	{.path = "/sonde.v1.MeterDescriptorService/describe",
	 .on_message = sonde_services_describe,
	 .on_half_close = on_half_close,
	 .single_message = true},
	{.path = "/grpc.health.v1.Health/Check", /* a kubelet has no token to send */
	 .on_message = sonde_services_health,
	 .on_half_close = on_half_close,
	 .single_message = true,
	 .without_token = true},
	{.path = NULL},
};

enum sonde_grpc_status sonde_services_fail(struct sonde_grpc_server_call *call,
					   enum sonde_grpc_status status, const char *fmt, ...)
{
	char words[256];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(words, sizeof(words), fmt, ap);
	va_end(ap);
	sonde_grpc_server_call_fail(call, words);
	return status;
}

static void end_call(struct sonde_grpc_server_call *call, enum sonde_grpc_status status,
		     const char *words, const uint8_t *data, size_t n)
{
	if (status == SONDE_GRPC_OK && data && sonde_grpc_server_call_send(call, data, n) < 0)
		sonde_grpc_server_call_finish(call, SONDE_GRPC_RESOURCE_EXHAUSTED,
					      "no room for the answer");
	else
		sonde_grpc_server_call_finish(call, status, words);
}

static uint8_t *pack(const ProtobufCMessage *message, size_t *ret_n)
{
	size_t n = protobuf_c_message_get_packed_size(message);
	uint8_t *data = malloc(n ? n : 1);

	if (data)
		*ret_n = protobuf_c_message_pack(message, data);
	return data;
}

void sonde_services_answer(struct sonde_grpc_server_call *call, const ProtobufCMessage *message)
{
	_cleanup_free_ uint8_t *data = NULL;
	size_t n = 0;

	data = pack(message, &n);
	end_call(call, data ? SONDE_GRPC_OK : SONDE_GRPC_RESOURCE_EXHAUSTED,
		 data ? NULL : "out of memory", data, n);
}

struct sonde_deferred *sonde_deferred_new(struct sonde_grpc_server_call *call)
{
	struct sonde_deferred *d = calloc(1, sizeof(*d));

	if (d) {
		d->call = call;
		sonde_grpc_server_call_set_data(call, d);
	}
	return d;
}

void sonde_deferred_on_close(void *ctx, struct sonde_grpc_server_call *call)
{
	struct sonde_deferred *d = sonde_grpc_server_call_data(call);

	if (d)
		d->call = NULL;
}

int sonde_deferred_hold(struct sonde_deferred *d, const ProtobufCMessage *message)
{
	d->held = pack(message, &d->n_held);
	return d->held ? 0 : -ENOMEM;
}

void sonde_deferred_finish(struct sonde_deferred *d, enum sonde_grpc_status status,
			   const char *words)
{
	if (d->call) {
		sonde_grpc_server_call_set_data(d->call, NULL);
		end_call(d->call, status, words, d->held, d->n_held);
	}
	free(d->held);
	free(d);
}

void sonde_deferred_on_stored(void *ctx, int error)
{
	if (error < 0)
		sonde_deferred_finish(ctx, SONDE_GRPC_UNAVAILABLE,
				      "it could not be stored, send it again");
	else
		sonde_deferred_finish(ctx, SONDE_GRPC_OK, NULL);
}
