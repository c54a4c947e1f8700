/* SPDX-License-Identifier: Apache-2.0 */
#include "export/delivery.h"

#include <assert.h>
#include <errno.h>

#define PATH_TASK_REPORT "/sonde.v1.TaskReportService/report"
#define PATH_METERS "/skywalking.v3.MeterReportService/collectBatch"

struct sonde_delivery {
	struct sonde_delivery_config config;
	struct sonde_delivery_sink sink;
	struct sonde_report *head, **tail;
	bool on_wire; /* the head is */
	bool waiting; /* for a retry that retry_in() was asked for */
	bool closing;
	uint64_t delay_ns; /* of the last retry; 0 after a success */
	struct sonde_delivery_stats stats;
};

int sonde_report_new(struct sonde_report **ret)
{
	struct sonde_report *r;

	assert(ret);

	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	*ret = r;
	return 0;
}

struct sonde_report *sonde_report_free(struct sonde_report *r)
{
	if (!r)
		return NULL;
	sonde_buf_done(&r->task_report);
	for (size_t i = 0; i < r->n_messages; i++)
		sonde_buf_done(&r->messages[i]);
	free(r->messages);
	free(r);
	return NULL;
}

static size_t report_bytes(const struct sonde_report *r)
{
	size_t n = sizeof(*r) + r->task_report.len;

	for (size_t i = 0; i < r->n_messages; i++)
		n += r->messages[i].len;
	return n;
}

int sonde_delivery_new(const struct sonde_delivery_config *config, struct sonde_delivery_sink sink,
		       struct sonde_delivery **ret)
{
	struct sonde_delivery *d;

	assert(config && ret && sink.send && sink.adds && sink.outcome && sink.retry_in);

	d = calloc(1, sizeof(*d));
	if (!d)
		return -ENOMEM;
	d->config = *config;
	d->sink = sink;
	d->tail = &d->head;
	*ret = d;
	return 0;
}

/* Takes @at's report out of the list and tells its outcome. */
static void finish(struct sonde_delivery *d, struct sonde_report **at,
		   enum sonde_delivery_outcome outcome)
{
	struct sonde_report *r = *at;

	*at = r->next;
	if (!*at)
		d->tail = at;
	d->stats.waiting--;
	d->stats.waiting_bytes -= report_bytes(r);
	if (outcome == SONDE_DELIVERY_DONE)
		d->stats.delivered++;
	else if (outcome == SONDE_DELIVERY_DROPPED)
		d->stats.dropped++;
	else
		d->stats.unknown++;
	d->sink.outcome(d->sink.ctx, r, outcome);
	(void)sonde_report_free(r);
}

struct sonde_delivery *sonde_delivery_free(struct sonde_delivery *d)
{
	if (!d)
		return NULL;
	d->closing = true;
	while (d->head)
		finish(d, &d->head, SONDE_DELIVERY_DROPPED);
	free(d);
	return NULL;
}

/* Oldest first; the one on the wire stays, its fate is not ours to choose any more. */
static void make_room(struct sonde_delivery *d)
{
	for (;;) {
		struct sonde_report **at = &d->head;

		if (d->stats.waiting <= d->config.max_reports &&
		    d->stats.waiting_bytes <= d->config.max_bytes)
			return;
		if (d->on_wire)
			at = &d->head->next;
		if (!*at)
			return;
		finish(d, at, SONDE_DELIVERY_DROPPED);
	}
}

static void back_off(struct sonde_delivery *d)
{
	d->stats.retries++;
	d->delay_ns = d->delay_ns ? d->delay_ns * 2 : d->config.retry_min_ns;
	if (d->delay_ns > d->config.retry_max_ns)
		d->delay_ns = d->config.retry_max_ns;
	d->waiting = true;
	d->sink.retry_in(d->sink.ctx, d->delay_ns);
}

/* Sends the first one, unless one is on the wire or a retry is awaited. */
static void run(struct sonde_delivery *d)
{
	while (d->head && !d->on_wire && !d->waiting && !d->closing) {
		struct sonde_report *r = d->head;
		int e;

		d->on_wire = true;
		r->attempts++;
		if (r->task_report.len && !r->task_report_sent)
			e = d->sink.send(d->sink.ctx, d, PATH_TASK_REPORT, &r->task_report, 1,
					 r->id);
		else if (r->n_messages)
			e = d->sink.send(d->sink.ctx, d, PATH_METERS, r->messages, r->n_messages,
					 r->id);
		else
			e = -ENODATA;
		if (e == 0)
			return; /* on the wire, or already answered, which went on from there */
		d->on_wire = false;
		if (e == -ENODATA) {
			finish(d, &d->head, SONDE_DELIVERY_DONE);
		} else if (e == -EMSGSIZE) { /* larger than any message may be */
			finish(d, &d->head, SONDE_DELIVERY_DROPPED);
		} else {
			back_off(d);
		}
	}
}

void sonde_delivery_add(struct sonde_delivery *d, struct sonde_report **report)
{
	struct sonde_report *r;

	assert(d && report && *report);

	r = TAKE_PTR(*report);
	r->next = NULL;
	*d->tail = r;
	d->tail = &r->next;
	d->stats.waiting++;
	d->stats.waiting_bytes += report_bytes(r);
	make_room(d);
	run(d);
}

void sonde_delivery_kick(struct sonde_delivery *d)
{
	assert(d);

	d->waiting = false;
	run(d);
}

/* The backend will say the same whenever it is asked. */
static bool is_final(enum sonde_grpc_status s)
{
	return s == SONDE_GRPC_INVALID_ARGUMENT || s == SONDE_GRPC_NOT_FOUND ||
	       s == SONDE_GRPC_FAILED_PRECONDITION || s == SONDE_GRPC_UNIMPLEMENTED;
}

static void failed(struct sonde_delivery *d, const struct sonde_delivery_result *result)
{
	if (is_final(result->status))
		finish(d, &d->head, SONDE_DELIVERY_DROPPED);
	else if (d->sink.adds(d->sink.ctx) && !result->not_processed && !d->config.resend_unknown)
		finish(d, &d->head, SONDE_DELIVERY_UNKNOWN);
	else
		back_off(d);
}

void sonde_delivery_answer(struct sonde_delivery *d, const struct sonde_delivery_result *result)
{
	struct sonde_report *r;

	assert(d && result);

	if (!d->on_wire || d->closing)
		return;
	d->on_wire = false;
	r = d->head;
	if (result->status == SONDE_GRPC_OK) {
		d->delay_ns = 0;
		r->bytes += result->bytes;
		r->bytes_compressed += result->bytes_compressed;
		if (result->encoding != SONDE_ENCODING_IDENTITY) /* small ones do not gain by any */
			r->encoding = result->encoding;
		if (r->task_report.len && !r->task_report_sent)
			r->task_report_sent = true;
		else
			finish(d, &d->head, SONDE_DELIVERY_DONE);
	} else {
		failed(d, result);
	}
	make_room(d); /* what was on the wire could not be pushed out */
	run(d);
}

bool sonde_delivery_idle(const struct sonde_delivery *d)
{
	assert(d);

	return !d->head;
}

void sonde_delivery_stats(const struct sonde_delivery *d, struct sonde_delivery_stats *ret)
{
	assert(d && ret);

	*ret = d->stats;
}
