/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Kafka: an idempotent producer (librdkafka) on the sd-event loop. librdkafka runs threads of its own, one a broker and
 * one more, which hold their records and the network; what they have to say comes through one eventfd, and every
 * handler here runs on the loop. Nothing here waits, but what says so.
 *
 * A record is kept and tried again until the cluster has acknowledged it (by all in-sync replicas) or has refused it for
 * good: an outage doubles none and loses none, as long as the producer lives. What a new producer sends again is new to
 * the cluster: what became of the records of an old one is told as the fate of each.
 *
 * A fatal error ends librdkafka's producer, and so does a refusal of who we are or of the topic, which it would not ask
 * for again for minutes: the next send makes another one, once no record is under way.
 *
 * Built without librdkafka there is only sonde_kafka_built(), and everything else says -EOPNOTSUPP. Loop thread only.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "base/buf.h"
#include "base/cleanup.h"

#define SONDE_KAFKA_WORDS_MAX 512
#define SONDE_KAFKA_RECORDS_MAX 1024 /* of one send */

/* One of librdkafka's own properties, by its name there. Borrowed for the call. */
struct sonde_kafka_property {
	const char *name, *value;
};

enum sonde_kafka_fate {
	SONDE_KAFKA_UNDER_WAY = 0,
	SONDE_KAFKA_STORED,
	SONDE_KAFKA_NOT_STORED, /* surely */
	SONDE_KAFKA_UNKNOWN,	/* sent, and the producer ended before the answer */
};

enum sonde_kafka_cause {
	SONDE_KAFKA_CAUSE_NONE = 0,
	SONDE_KAFKA_CAUSE_UNREACHABLE,
	SONDE_KAFKA_CAUSE_DENIED,   /* who we are, or what we may */
	SONDE_KAFKA_CAUSE_NO_TOPIC, /* or no partition of it */
	SONDE_KAFKA_CAUSE_REFUSED,  /* this record, for good */
	SONDE_KAFKA_CAUSE_FATAL,    /* of the producer */
	SONDE_KAFKA_CAUSE_ENDED,    /* this side ends */
	SONDE_KAFKA_CAUSE_LIMIT,    /* this side's memory or queue */
	SONDE_KAFKA_CAUSE_OTHER,
};

struct sonde_kafka_result {
	enum sonde_kafka_cause cause; /* of the first record that was not stored; NONE: all were */
	char words[SONDE_KAFKA_WORDS_MAX];  /* librdkafka's own */
	const enum sonde_kafka_fate *fates; /* of each record; borrowed for the handler */
	size_t n, n_stored, n_unknown;
	uint64_t bytes; /* of the records, as given */
};

struct sonde_kafka_config {
	sd_event *event; /* borrowed */
	const struct sonde_kafka_property *properties;
	size_t n_properties;
	/* No broker answers, or one refuses us; may come often. Records wait meanwhile. May be NULL. */
	void (*on_trouble)(void *ctx, enum sonde_kafka_cause cause, const char *words);
	void *ctx;
};

/* What goes out in one send. Borrowed for the call. */
struct sonde_kafka_records {
	const char *topic, *key;
	const char *header, *header_value; /* on each record; NULL: none */
	const struct sonde_buf *values;
	size_t n; /* SONDE_KAFKA_RECORDS_MAX at most */
};

struct sonde_kafka;
struct sonde_kafka_send;

typedef void (*sonde_kafka_sent_fn)(void *ctx, const struct sonde_kafka_result *result);

bool sonde_kafka_built(void);

/*
 * Whether librdkafka knows each property and its value; reads no file and asks nobody. @words: on failure which is wrong
 * and why, never with its value. Return: 0, -EINVAL, -ENOMEM, -EOPNOTSUPP (built without).
 */
int sonde_kafka_check(const struct sonde_kafka_property *properties, size_t n,
		      char words[SONDE_KAFKA_WORDS_MAX]) _must_check_;

/*
 * Starts the threads; no broker needs to be there. @words as above. Return: 0, -EINVAL (also: a file that cannot be read),
 * -ENOMEM, -EOPNOTSUPP, -errno.
 */
int sonde_kafka_new(const struct sonde_kafka_config *config, char words[SONDE_KAFKA_WORDS_MAX],
		    struct sonde_kafka **ret) _must_check_;

/*
 * Runs no handler any more. Waits for librdkafka's threads, half a second at most: one of them may hang in a look-up of a
 * name, and is left behind. NULL is fine. Returns NULL.
 */
struct sonde_kafka *sonde_kafka_free(struct sonde_kafka *k);
SONDE_DEFINE_CLEANUP(struct sonde_kafka *, sonde_kafka_free)

/*
 * sonde_kafka_send() - hands records over to the producer
 *
 * @fn is called exactly once, when the fate of all is known, and never before this returns; in an outage that is behind
 * it. Return: 0, -EBUSY (a producer that failed is not at its end yet), -E2BIG (too many records), -ENOMEM, -EINVAL.
 */
int sonde_kafka_send(struct sonde_kafka *k, const struct sonde_kafka_records *records,
		     sonde_kafka_sent_fn fn, void *ctx, struct sonde_kafka_send **ret) _must_check_;

/* Its handler is not called any more; the records go on. */
void sonde_kafka_cancel(struct sonde_kafka_send *send);

/*
 * Gives up what is under way, so that the fate of each record is known: handlers run from within, and sends fail with
 * -ESHUTDOWN from then on. Waits for librdkafka's threads, half a second at most.
 */
void sonde_kafka_give_up(struct sonde_kafka *k);
