/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Delivery: reports on their way to the backend, in order, one at a time. A
 * report is a TaskReport (to a server with our extension) and then its meters.
 *
 * To our server, which deduplicates by report id: at least once. To a backend
 * that adds what it gets twice: sent again only when it was certainly not
 * processed; else the outcome is UNKNOWN. One that the backend answers with a
 * failure of its own 20 times is DROPPED, so that it holds up no other.
 *
 * While the backend answers, reports are in memory alone. Once one has failed, or has waited for an answer for longer
 * than spool_after_ns, it and all behind it go to the spool (spool.h), and from there on every report does until the
 * spool is empty again: what is on disk is older than what is in memory. What the spool does not take stays in memory,
 * bounded by number and by bytes: what does not fit pushes out the oldest that is not on the wire, never silently.
 * One that is larger than the spool may be stays in memory too, and newer ones from disk go out before it.
 * A report of a run before this one keeps its id, and what was known of it.
 *
 * Loop thread only. Blocks as the spool does.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "io/encoding.h"
#include "io/grpc.h"
#include "model/task.h"

struct sonde_spool;
struct sonde_spool_meta;

enum sonde_delivery_outcome {
	SONDE_DELIVERY_DONE = 0,
	SONDE_DELIVERY_DROPPED, /* pushed out, too old, or refused by the backend for good */
	SONDE_DELIVERY_UNKNOWN, /* may have been processed; not sent again */
};

/* What the backend does with a report that it gets twice. */
enum sonde_delivery_backend {
	SONDE_DELIVERY_ADDS = 0,     /* a SkyWalking OAP */
	SONDE_DELIVERY_DEDUPLICATES, /* a server with our extension */
	SONDE_DELIVERY_UNHEARD,	     /* it has answered nothing yet */
};

#define SONDE_REPORT_ID_MAX 128

/* One report. Made with sonde_report_new(), filled in, given to sonde_delivery_add(). */
struct sonde_report {
	char task[SONDE_TASK_ID_MAX]; /* whose; for the outcome */
	uint64_t sequence;
	char id[SONDE_REPORT_ID_MAX]; /* sonde-report-id */
	uint64_t due_ns;	      /* CLOCK_MONOTONIC: end of its interval */
	bool earlier_run;	      /* of a process before this one, out of the spool */
	bool extension;		      /* made for a server with our extension; no other gets it */
	struct sonde_buf task_report; /* serialised TaskReport; empty: none goes out */
	struct sonde_buf *messages;   /* owned: MeterDataCollections; n_messages of them */
	size_t n_messages;
	/* filled in as it is sent */
	bool task_report_sent;
	uint64_t bytes, bytes_compressed; /* the latter 0: not known (a Kafka producer's own) */
	enum sonde_encoding encoding;	  /* of the last message that was compressed */
	unsigned attempts, refusals; /* refusals: failures that the backend itself answered with */
	bool in_spool;		     /* the spool has it too, as its oldest */
	bool in_front;		     /* the spool had it; still older than what is there */
	bool in_doubt;		     /* sent to a backend that adds, and nothing is known of it */
	bool partly; /* a part of it was taken; which one, this process's sink knows */
	struct sonde_report *next;
};

int sonde_report_new(struct sonde_report **ret) _must_check_;
struct sonde_report *sonde_report_free(struct sonde_report *r);
SONDE_DEFINE_CLEANUP(struct sonde_report *, sonde_report_free)

/* How a call ended, as the sink tells it. */
struct sonde_delivery_result {
	enum sonde_grpc_status status;
	bool not_processed;
	bool answered; /* by the backend, and not by this side or the path to it */
	/* Of a failure: some messages were taken, and the sink leaves them out when it is asked again. */
	bool partly;
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
	/* Asked before each report and at each failure. */
	enum sonde_delivery_backend (*backend)(void *ctx);
	/* The report is at its end and is freed behind this. */
	void (*outcome)(void *ctx, const struct sonde_report *report,
			enum sonde_delivery_outcome outcome);
	/* The spool took no report (@error), or takes them again (0). At each change alone. May be NULL. */
	void (*spool_state)(void *ctx, int error);
	/* Ask for sonde_delivery_kick() in @delay_ns. */
	void (*retry_in)(void *ctx, uint64_t delay_ns);
	void *ctx; /* borrowed; must outlive the delivery */
};

struct sonde_delivery_config {
	size_t max_reports; /* in memory */
	size_t max_bytes;
	uint64_t retry_min_ns, retry_max_ns;
	uint64_t spool_after_ns; /* 0 = each report before it is sent */
	bool resend_unknown;	 /* to a backend that adds: rather twice than never */
};

int sonde_delivery_new(const struct sonde_delivery_config *config, struct sonde_delivery_sink sink,
		       struct sonde_delivery **ret) _must_check_;
/* What is left goes to the spool; of what cannot the outcome is DROPPED. Frees the spool. NULL is fine. Returns NULL. */
struct sonde_delivery *sonde_delivery_free(struct sonde_delivery *d);
SONDE_DEFINE_CLEANUP(struct sonde_delivery *, sonde_delivery_free)

/* Before the first report: a spool is being opened. Until it is set nothing is sent: what is in it is older. */
void sonde_delivery_await_spool(struct sonde_delivery *d);

/*
 * Takes @spool, once, before the first report or where it is awaited (then NULL too: there is none); what is in it goes
 * out first. Its on_drop() is to call sonde_delivery_spool_dropped().
 */
void sonde_delivery_set_spool(struct sonde_delivery *d, struct sonde_spool *spool);
void sonde_delivery_spool_dropped(struct sonde_delivery *d, const struct sonde_spool_meta *meta);

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
/* Nothing is on the wire, and what waits is on disk: the process may end. */
bool sonde_delivery_safe(const struct sonde_delivery *d);

struct sonde_delivery_stats {
	uint64_t delivered, dropped, unknown, retries;
	size_t waiting, waiting_bytes;	 /* in memory; of the spool's the one that is being sent */
	uint64_t spooled, spooled_bytes; /* that wait on disk */
};
void sonde_delivery_stats(const struct sonde_delivery *d, struct sonde_delivery_stats *ret);
