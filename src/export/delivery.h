/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Delivery: reports on their way to the backend, in order, one at a time. A
 * report is a TaskReport (to a server with our extension) and then its meters.
 *
 * To our server, which deduplicates by report id: at least once. To a backend
 * that adds what it gets twice: sent again only when it was certainly not
 * processed; else the outcome is UNKNOWN. Bounded by number and by bytes: what
 * does not fit pushes out the oldest that is not on the wire, never silently.
 * Loop thread only.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "io/encoding.h"
#include "io/grpc.h"
#include "model/task.h"

enum sonde_delivery_outcome {
	SONDE_DELIVERY_DONE = 0,
	SONDE_DELIVERY_DROPPED, /* pushed out, or refused by the backend for good */
	SONDE_DELIVERY_UNKNOWN, /* may have been processed; not sent again */
};

#define SONDE_REPORT_ID_MAX 128

/* One report. Made with sonde_report_new(), filled in, given to sonde_delivery_add(). */
struct sonde_report {
	char task[SONDE_TASK_ID_MAX]; /* whose; for the outcome */
	uint64_t sequence;
	char id[SONDE_REPORT_ID_MAX]; /* sonde-report-id */
	uint64_t due_ns;	      /* CLOCK_MONOTONIC: end of its interval */
	struct sonde_buf task_report; /* serialised TaskReport; empty: none goes out */
	struct sonde_buf *messages;   /* owned: MeterDataCollections; n_messages of them */
	size_t n_messages;
	/* filled in as it is sent */
	bool task_report_sent;
	uint64_t bytes, bytes_compressed;
	enum sonde_encoding encoding; /* of the last message that was compressed */
	unsigned attempts;
	struct sonde_report *next;
};

int sonde_report_new(struct sonde_report **ret) _must_check_;
struct sonde_report *sonde_report_free(struct sonde_report *r);
SONDE_DEFINE_CLEANUP(struct sonde_report *, sonde_report_free)

/* How a call ended, as the sink tells it. */
struct sonde_delivery_result {
	enum sonde_grpc_status status;
	bool not_processed;
	uint64_t bytes, bytes_compressed;
	enum sonde_encoding encoding;
};

struct sonde_delivery;

struct sonde_delivery_sink {
	/*
	 * Starts one call; sonde_delivery_answer() is called exactly once for it, also from within, unless
	 * an error is returned. Borrows everything for the call. Return: 0, -errno.
	 */
	int (*send)(void *ctx, struct sonde_delivery *d, const char *path,
		    const struct sonde_buf *messages, size_t n, const char *report_id);
	/* Does the backend add a resent report twice? Asked at each failure. */
	bool (*adds)(void *ctx);
	/* The report is at its end and is freed behind this. */
	void (*outcome)(void *ctx, const struct sonde_report *report,
			enum sonde_delivery_outcome outcome);
	/* Ask for sonde_delivery_kick() in @delay_ns. */
	void (*retry_in)(void *ctx, uint64_t delay_ns);
	void *ctx; /* borrowed; must outlive the delivery */
};

struct sonde_delivery_config {
	size_t max_reports;
	size_t max_bytes;
	uint64_t retry_min_ns, retry_max_ns;
	bool resend_unknown; /* to a backend that adds: rather twice than never */
};

int sonde_delivery_new(const struct sonde_delivery_config *config, struct sonde_delivery_sink sink,
		       struct sonde_delivery **ret) _must_check_;
/* Outcomes of what is left are DROPPED. NULL is fine. Returns NULL. */
struct sonde_delivery *sonde_delivery_free(struct sonde_delivery *d);
SONDE_DEFINE_CLEANUP(struct sonde_delivery *, sonde_delivery_free)

/*
 * Takes the report (*@report is then NULL), also when it pushes others out or is itself larger than the
 * limit: then its outcome is DROPPED.
 */
void sonde_delivery_add(struct sonde_delivery *d, struct sonde_report **report);

/* What retry_in() asked for; harmless at any other time: sends the first one, if none is on the wire. */
void sonde_delivery_kick(struct sonde_delivery *d);

/* The end of the call that send() started. */
void sonde_delivery_answer(struct sonde_delivery *d, const struct sonde_delivery_result *result);

/* Nothing waits and nothing is on the wire. */
bool sonde_delivery_idle(const struct sonde_delivery *d);

struct sonde_delivery_stats {
	uint64_t delivered, dropped, unknown, retries;
	size_t waiting, waiting_bytes;
};
void sonde_delivery_stats(const struct sonde_delivery *d, struct sonde_delivery_stats *ret);
