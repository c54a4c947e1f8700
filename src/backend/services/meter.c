/* SPDX-License-Identifier: Apache-2.0 */
/* MeterReportService: a stream is held until its end, then taken as one report. */
#include <errno.h>
#include <string.h>

#include "backend/ingest/meters.h"
#include "backend/services/services.h"
#include "base/clock.h"
#include "skywalking/v3/meter.pb-c.h"

#define STREAM_BYTES_MAX (32UL << 20)	 /* of one call */
#define BUFFERED_BYTES_MAX (128UL << 20) /* of all calls that are still open */

/* Lives from the first message to the answer; outlives a call that the client gave up. */
struct stream {
	struct sonde_backend *backend;
	struct sonde_grpc_server_call *call; /* NULL: the client is gone */
	struct sonde_buf frames;
	bool taken; /* the ingest has it and will answer */
};

static void stream_free(struct stream *s)
{
	s->backend->buffered_bytes -= s->frames.len;
	sonde_buf_done(&s->frames);
	free(s);
}

static struct stream *get_stream(struct sonde_backend *b, struct sonde_grpc_server_call *call)
{
	struct stream *s = sonde_grpc_server_call_data(call);

	if (s)
		return s;
	s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	s->backend = b;
	s->call = call;
	s->frames = SONDE_BUF_INIT(STREAM_BYTES_MAX);
	sonde_grpc_server_call_set_data(call, s);
	return s;
}

static enum sonde_grpc_status add_message(
	struct sonde_backend *b, struct sonde_grpc_server_call *call, const uint8_t *data, size_t n,
	int (*add)(struct sonde_buf *frames, const uint8_t *data, size_t n))
{
	struct stream *s = get_stream(b, call);
	size_t before;
	int r;

	if (!s)
		return sonde_services_fail(call, SONDE_GRPC_RESOURCE_EXHAUSTED, "out of memory");
	if (b->buffered_bytes + n > BUFFERED_BYTES_MAX)
		return sonde_services_fail(call, SONDE_GRPC_RESOURCE_EXHAUSTED,
					   "too many open report streams, try again");
	before = s->frames.len;
	r = add(&s->frames, data, n);
	b->buffered_bytes += s->frames.len - before;
	if (r == -EMSGSIZE)
		return sonde_services_fail(call, SONDE_GRPC_RESOURCE_EXHAUSTED,
					   "a report of more than %lu bytes", STREAM_BYTES_MAX);
	return r < 0 ? sonde_services_fail(call, SONDE_GRPC_RESOURCE_EXHAUSTED, "out of memory")
		     : SONDE_GRPC_OK;
}

enum sonde_grpc_status sonde_services_collect(void *ctx, struct sonde_grpc_server_call *call,
					      const uint8_t *data, size_t n)
{
	return add_message(ctx, call, data, n, sonde_meters_frame_one);
}

enum sonde_grpc_status sonde_services_collect_batch(void *ctx, struct sonde_grpc_server_call *call,
						    const uint8_t *data, size_t n)
{
	return add_message(ctx, call, data, n, sonde_meters_frame);
}

static void answer(struct sonde_grpc_server_call *call, enum sonde_grpc_status status,
		   const char *words)
{
	const Skywalking__V3__Commands none = SKYWALKING__V3__COMMANDS__INIT;

	if (status == SONDE_GRPC_OK)
		sonde_services_answer(call, &none.base);
	else
		sonde_grpc_server_call_finish(call, status, words);
}

static void on_taken(void *ctx, enum sonde_grpc_status status, const char *words)
{
	struct stream *s = ctx;

	if (s->call) {
		sonde_grpc_server_call_set_data(s->call, NULL);
		answer(s->call, status, words);
	}
	stream_free(s);
}

void sonde_services_collect_end(void *ctx, struct sonde_grpc_server_call *call)
{
	const char *text = sonde_grpc_server_call_metadata(call, "sonde-report-id");
	struct stream *s = sonde_grpc_server_call_data(call);
	struct sonde_report_id id = {0};
	struct sonde_task *task = NULL;
	struct sonde_backend *b = ctx;

	if (!s) { /* no message at all */
		answer(call, SONDE_GRPC_OK, NULL);
		return;
	}
	if (text && sonde_report_id_parse(text, &id) < 0) {
		sonde_grpc_server_call_finish(
			call, SONDE_GRPC_INVALID_ARGUMENT,
			"sonde-report-id: <task>/<sequence>/<hash> was expected");
		return;
	}
	if (text && strcmp(id.task, SONDE_INGEST_NO_TASK) != 0) {
		task = sonde_task_table_find(b->tasks, id.task);
		if (!task) {
			sonde_grpc_server_call_finish(call, SONDE_GRPC_NOT_FOUND,
						      "no such task: its reports are not wanted");
			return;
		}
	}
	s->taken = true;
	sonde_ingest_report(b->ingest, text ? &id : NULL, task, &s->frames, sonde_wall_ms(),
			    on_taken, s);
}

void sonde_services_collect_close(void *ctx, struct sonde_grpc_server_call *call)
{
	struct stream *s = sonde_grpc_server_call_data(call);

	if (!s)
		return;
	s->call = NULL;
	if (!s->taken)
		stream_free(s);
}
