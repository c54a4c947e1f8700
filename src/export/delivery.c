/* SPDX-License-Identifier: Apache-2.0 */
#include "export/delivery.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "export/spool.h"

#define PATH_TASK_REPORT "/sonde.v1.TaskReportService/report"
#define PATH_METERS "/skywalking.v3.MeterReportService/collectBatch"

#define UNHEARD_RETRY_NS (250 * SONDE_NS_PER_MS)
#define REFUSALS_MAX 20 /* of one report: some minutes */
#define TURN_MAX                                                                                   \
	64 /* reports that end without a call, before other sources of the loop have their turn */

struct sonde_delivery {
	struct sonde_delivery_config config;
	struct sonde_delivery_sink sink;
	struct sonde_spool *spool; /* owned; NULL: memory alone */
	int spool_error;	   /* of the last put; 0 */
	struct sonde_report *head, **tail;
	bool on_wire; /* the head is */
	bool waiting; /* for a retry that retry_in() was asked for */
	bool closing;
	bool awaits_spool;
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

	assert(config && ret && sink.send && sink.backend && sink.outcome && sink.retry_in);

	d = calloc(1, sizeof(*d));
	if (!d)
		return -ENOMEM;
	d->config = *config;
	d->sink = sink;
	d->tail = &d->head;
	*ret = d;
	return 0;
}

static enum sonde_delivery_backend backend(const struct sonde_delivery *d)
{
	return d->sink.backend(d->sink.ctx);
}

/* A backend that adds must not get a report again whose fate is open. */
static bool keeps_doubts(const struct sonde_delivery *d)
{
	return backend(d) == SONDE_DELIVERY_ADDS && !d->config.resend_unknown;
}

/* --- the spool --- */

static uint64_t n_spooled(const struct sonde_delivery *d)
{
	struct sonde_spool_stats s = {0};

	if (d->spool)
		sonde_spool_stats(d->spool, &s);
	return s.records;
}

/* @error of a put; of mark and pop only what failed, for they say nothing of the room for reports. */
static void note_spool(struct sonde_delivery *d, int error)
{
	if (error == d->spool_error)
		return;
	d->spool_error = error;
	if (d->sink.spool_state)
		d->sink.spool_state(d->sink.ctx, error);
}

static uint32_t flags_of(const struct sonde_report *r, bool in_doubt)
{
	return (r->extension ? SONDE_SPOOL_EXTENSION : 0) |
	       (r->task_report_sent ? SONDE_SPOOL_TASK_REPORT_SENT : 0) |
	       /* Sent anew by another process, what was taken of it would be doubled. */
	       (in_doubt || r->partly ? SONDE_SPOOL_IN_DOUBT : 0);
}

static void mark(struct sonde_delivery *d, struct sonde_report *r, bool in_doubt)
{
	int e;

	r->in_doubt = in_doubt;
	if (!r->in_spool)
		return;
	e = sonde_spool_mark(d->spool, flags_of(r, in_doubt));
	if (e < 0)
		note_spool(d, e);
}

static void put_in_front(struct sonde_delivery *d, struct sonde_report *r)
{
	r->next = d->head;
	if (!d->head)
		d->tail = &r->next;
	d->head = r;
	d->stats.waiting++;
	d->stats.waiting_bytes += report_bytes(r);
}

/* The spool's oldest becomes the head. Return: as sonde_spool_next(). */
static int load_head(struct sonde_delivery *d)
{
	const int64_t now_ms = sonde_wall_ms();
	const uint64_t now_ns = sonde_mono_ns();
	struct sonde_report *r = NULL;
	struct sonde_spool_meta meta;
	uint64_t late_ns;
	int e;

	e = sonde_spool_next(d->spool, now_ms, &meta, &r);
	if (e < 0)
		return e;
	sonde_spool_hold(d->spool);
	late_ns = now_ms > meta.due_wall_ms
			  ? (uint64_t)(now_ms - meta.due_wall_ms) * SONDE_NS_PER_MS
			  : 0;
	r->due_ns = now_ns > late_ns ? now_ns - late_ns : 0;
	r->extension = meta.flags & SONDE_SPOOL_EXTENSION;
	r->task_report_sent = meta.flags & SONDE_SPOOL_TASK_REPORT_SENT;
	r->in_doubt = meta.flags & SONDE_SPOOL_IN_DOUBT;
	r->earlier_run = meta.earlier_run;
	r->in_spool = true;
	put_in_front(d, r);
	return 0;
}

/* What is on disk is older than what is in memory. Return: 0 with the oldest of all in front, -EAGAIN, -errno. */
static int get_head(struct sonde_delivery *d)
{
	int r = 0;

	if (!d->on_wire && (!d->head || !(d->head->in_spool || d->head->in_front)) &&
	    n_spooled(d) > 0)
		r = load_head(d);
	return r == -ENOENT ? 0 : r;
}

static int put(struct sonde_delivery *d, struct sonde_report *r)
{
	const int64_t now_ms = sonde_wall_ms();
	const uint64_t now_ns = sonde_mono_ns();
	const int64_t late_ms =
		now_ns > r->due_ns ? (int64_t)((now_ns - r->due_ns) / SONDE_NS_PER_MS) : 0;
	int e;

	e = sonde_spool_put(d->spool, r, now_ms - late_ms, flags_of(r, r->in_doubt), now_ms);
	/* The head's segment may have made room for it: from now on the head is in memory alone. */
	if (d->head->in_spool && !sonde_spool_is_held(d->spool)) {
		d->head->in_spool = false;
		d->head->in_front = true;
	}
	return e;
}

/* Off the list: the caller's. */
static struct sonde_report *take_off(struct sonde_delivery *d, struct sonde_report **at)
{
	struct sonde_report *r = *at;

	*at = r->next;
	if (!*at)
		d->tail = at;
	d->stats.waiting--;
	d->stats.waiting_bytes -= report_bytes(r);
	return r;
}

/* On disk and off memory: not an outcome. */
static void forget(struct sonde_delivery *d, struct sonde_report **at)
{
	(void)sonde_report_free(take_off(d, at));
}

/* Everything in memory, in its order, until one does not go. The head stays in memory as well, to be sent. */
static void spool_all(struct sonde_delivery *d)
{
	struct sonde_report **at = &d->head;
	bool took = false;
	int e = 0;

	if (!d->spool || get_head(d) < 0)
		return;
	while (*at && e == 0) {
		struct sonde_report *r = *at;
		const bool oldest = r == d->head && n_spooled(d) == 0;

		/* The head of memory alone, older than what is on disk: rare, and soon over. */
		if (r->in_spool || (r == d->head && !oldest && !d->closing)) {
			at = &r->next;
			continue;
		}
		e = put(d, r);
		took = took || e == 0;
		if (e == -EMSGSIZE ||
		    e == -EINVAL) { /* never fits: memory's own bounds hold for it */
			e = 0;
			at = &r->next;
		} else if (e == 0 && oldest) {
			r->in_spool = true;
			sonde_spool_hold(d->spool);
			at = &r->next;
		} else if (e == 0) {
			forget(d, at);
		}
	}
	if (took || e < 0)
		note_spool(d, e);
}

static bool should_spool(const struct sonde_delivery *d)
{
	return d->spool && (d->waiting || d->config.spool_after_ns == 0 || n_spooled(d) > 0);
}

/* --- the list --- */

static void count_outcome(struct sonde_delivery *d, enum sonde_delivery_outcome outcome)
{
	if (outcome == SONDE_DELIVERY_DONE)
		d->stats.delivered++;
	else if (outcome == SONDE_DELIVERY_DROPPED)
		d->stats.dropped++;
	else
		d->stats.unknown++;
}

/* Takes @at's report out of the list, and off the disk, and tells its outcome. */
static void finish(struct sonde_delivery *d, struct sonde_report **at,
		   enum sonde_delivery_outcome outcome)
{
	struct sonde_report *r = take_off(d, at);
	int e;

	if (r->in_spool) {
		e = sonde_spool_pop(d->spool);
		if (e < 0)
			note_spool(d, e);
	}
	count_outcome(d, outcome);
	d->sink.outcome(d->sink.ctx, r, outcome);
	(void)sonde_report_free(r);
}

struct sonde_delivery *sonde_delivery_free(struct sonde_delivery *d)
{
	if (!d)
		return NULL;
	d->closing = true;
	spool_all(d);
	spool_all(d); /* the head's place on disk may have gone to those behind it */
	while (d->head && d->head->in_spool)
		forget(d, &d->head);
	while (d->head)
		finish(d, &d->head, SONDE_DELIVERY_DROPPED);
	d->spool = sonde_spool_free(d->spool);
	free(d);
	return NULL;
}

void sonde_delivery_await_spool(struct sonde_delivery *d)
{
	assert(d && !d->spool && !d->head);

	d->awaits_spool = true;
}

void sonde_delivery_set_spool(struct sonde_delivery *d, struct sonde_spool *spool)
{
	assert(d && !d->spool && (d->awaits_spool || (spool && !d->head)));

	d->spool = spool;
	d->awaits_spool = false;
	if (d->head || n_spooled(d) > 0)
		sonde_delivery_kick(d);
}

void sonde_delivery_spool_dropped(struct sonde_delivery *d, const struct sonde_spool_meta *meta)
{
	struct sonde_report r = {.sequence = meta->sequence, .earlier_run = meta->earlier_run};

	assert(d && meta);

	memcpy(r.task, meta->task, sizeof(r.task));
	memcpy(r.id, meta->id, sizeof(r.id));
	count_outcome(d, SONDE_DELIVERY_DROPPED);
	d->sink.outcome(d->sink.ctx, &r, SONDE_DELIVERY_DROPPED);
}

/*
 * Oldest first; the one on the wire stays, its fate is not ours to choose any more, and what is on disk is bounded
 * there.
 */
static void make_room(struct sonde_delivery *d)
{
	for (;;) {
		struct sonde_report **at = &d->head;

		if (d->stats.waiting <= d->config.max_reports &&
		    d->stats.waiting_bytes <= d->config.max_bytes)
			return;
		if (*at && (d->on_wire || (*at)->in_spool))
			at = &d->head->next;
		if (!*at)
			return;
		finish(d, at, SONDE_DELIVERY_DROPPED);
	}
}

static void wait_for(struct sonde_delivery *d, uint64_t delay_ns)
{
	d->waiting = true;
	d->sink.retry_in(d->sink.ctx, delay_ns);
}

static void back_off(struct sonde_delivery *d)
{
	d->stats.retries++;
	d->delay_ns = d->delay_ns ? d->delay_ns * 2 : d->config.retry_min_ns;
	if (d->delay_ns > d->config.retry_max_ns)
		d->delay_ns = d->config.retry_max_ns;
	wait_for(d, d->delay_ns);
	spool_all(d);
}

static int send_head(struct sonde_delivery *d)
{
	struct sonde_report *r = d->head;

	r->attempts++;
	if (keeps_doubts(d))
		mark(d, r, true);
	if (r->task_report.len && !r->task_report_sent)
		return d->sink.send(d->sink.ctx, d, PATH_TASK_REPORT, &r->task_report, 1, r->id);
	if (r->n_messages)
		return d->sink.send(d->sink.ctx, d, PATH_METERS, r->messages, r->n_messages, r->id);
	return -ENODATA;
}

/* Ends that need no call. Return: true if the head is gone. */
static bool end_unsent(struct sonde_delivery *d)
{
	const struct sonde_report *r = d->head;

	if (r->in_doubt && keeps_doubts(d)) /* of a run that ended before the answer */
		finish(d, &d->head, SONDE_DELIVERY_UNKNOWN);
	else if (r->extension &&
		 backend(d) == SONDE_DELIVERY_ADDS) /* one task's view: would add up to more */
		finish(d, &d->head, SONDE_DELIVERY_DROPPED);
	else
		return false;
	return true;
}

static void sent(struct sonde_delivery *d)
{
	/* What waits for its answer for long goes to the spool, see sonde_delivery_kick(). */
	if (d->spool && !d->head->in_spool)
		d->sink.retry_in(d->sink.ctx, d->config.spool_after_ns);
}

static void not_sent(struct sonde_delivery *d, int error)
{
	if (error == -ENODATA) {
		finish(d, &d->head, SONDE_DELIVERY_DONE);
	} else if (error == -EMSGSIZE || error == -EINVAL) {
		/* Larger than any message may be, or an id that no header can hold: it would never go. */
		finish(d, &d->head, SONDE_DELIVERY_DROPPED);
	} else {
		mark(d, d->head, false);
		back_off(d);
	}
}

/* Sends the first one, unless one is on the wire or a retry is awaited. */
static void run(struct sonde_delivery *d)
{
	unsigned ended = 0;

	while (!d->on_wire && !d->waiting && !d->closing && !d->awaits_spool) {
		int e = get_head(d);

		if (e == -EAGAIN) {
			wait_for(d, SONDE_NS_PER_MS);
			return;
		}
		if (e < 0) {
			back_off(d);
			return;
		}
		if (!d->head)
			return;
		if (backend(d) == SONDE_DELIVERY_UNHEARD) {
			wait_for(d, UNHEARD_RETRY_NS);
			return;
		}
		if (ended++ == TURN_MAX) {
			wait_for(d, SONDE_NS_PER_MS);
			return;
		}
		if (end_unsent(d))
			continue;
		d->on_wire = true;
		e = send_head(d);
		if (e == 0) { /* on the wire, or already answered, which went on from there */
			if (d->on_wire)
				sent(d);
			return;
		}
		d->on_wire = false;
		not_sent(d, e);
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
	if (should_spool(d))
		spool_all(d);
	make_room(d);
	run(d);
}

void sonde_delivery_kick(struct sonde_delivery *d)
{
	assert(d);

	d->waiting = false;
	if (d->on_wire)
		spool_all(d);
	run(d);
}

/* The backend will say the same of this report whenever it is asked. */
static bool is_final(enum sonde_grpc_status s)
{
	return s == SONDE_GRPC_INVALID_ARGUMENT || s == SONDE_GRPC_NOT_FOUND ||
	       s == SONDE_GRPC_FAILED_PRECONDITION;
}

/*
 * Refused before the handler saw a message. The first three are said of the call (a method, an encoding, a token), by
 * what stands before the handler. OAP's watermark and gRPC's own limits refuse message by message: certain only where
 * there is one.
 */
static bool is_refusal(enum sonde_grpc_status s, size_t n_messages)
{
	return s == SONDE_GRPC_UNIMPLEMENTED || s == SONDE_GRPC_PERMISSION_DENIED ||
	       s == SONDE_GRPC_UNAUTHENTICATED ||
	       (s == SONDE_GRPC_RESOURCE_EXHAUSTED && n_messages == 1);
}

/*
 * One that the backend fails at again and again must not hold up all behind it. Down, or at odds with the agent's token
 * or the service, the backend says nothing of the report.
 */
static bool is_hopeless(struct sonde_report *r, const struct sonde_delivery_result *result)
{
	const enum sonde_grpc_status s = result->status;

	if (!result->answered || s == SONDE_GRPC_UNAVAILABLE || s == SONDE_GRPC_UNIMPLEMENTED ||
	    s == SONDE_GRPC_PERMISSION_DENIED || s == SONDE_GRPC_UNAUTHENTICATED)
		return false;
	return ++r->refusals >= REFUSALS_MAX;
}

static void failed(struct sonde_delivery *d, const struct sonde_delivery_result *result)
{
	bool certain = result->not_processed || is_refusal(result->status, d->head->n_messages);

	if (!is_final(result->status) && keeps_doubts(d) && !certain) {
		finish(d, &d->head, SONDE_DELIVERY_UNKNOWN);
	} else if (is_final(result->status) || is_hopeless(d->head, result)) {
		finish(d, &d->head, SONDE_DELIVERY_DROPPED);
	} else {
		d->head->partly = result->partly && keeps_doubts(d);
		mark(d, d->head, false);
		back_off(d);
	}
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
		if (r->task_report.len && !r->task_report_sent) {
			r->task_report_sent = true;
			mark(d, r, false);
		} else {
			finish(d, &d->head, SONDE_DELIVERY_DONE);
		}
	} else {
		failed(d, result);
	}
	make_room(d); /* what was on the wire could not be pushed out */
	run(d);
}

bool sonde_delivery_idle(const struct sonde_delivery *d)
{
	assert(d);

	return !d->head && n_spooled(d) == 0;
}

bool sonde_delivery_safe(const struct sonde_delivery *d)
{
	assert(d);

	return !d->on_wire && (!d->head || (d->head->in_spool && !d->head->next));
}

void sonde_delivery_stats(const struct sonde_delivery *d, struct sonde_delivery_stats *ret)
{
	struct sonde_spool_stats s = {0};

	assert(d && ret);

	*ret = d->stats;
	if (d->spool)
		sonde_spool_stats(d->spool, &s);
	ret->spooled = s.records;
	ret->spooled_bytes = s.bytes;
}
