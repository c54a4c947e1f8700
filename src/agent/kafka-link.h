/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Kafka-link: what of the agent's goes through Kafka, as OAP's kafka-fetcher reads it:
 *
 *	topic			key			value
 *	skywalking-meters	agent's instance	MeterDataCollection, a record each
 *	skywalking-managements	register-INSTANCE	InstanceProperties
 *				INSTANCE		InstancePingPkg
 *
 * A record of meters has the header `sonde-report-id`, which the fetcher does not look at. Its key keeps an agent's records
 * in one partition, in order. Loop thread only.
 */

#include <stdbool.h>
#include <stddef.h>
#include <systemd/sd-event.h>

#include "agent/options.h"
#include "agent/sender-errors.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "export/delivery.h"
#include "wire/message.h"

struct sonde_kafka_link;

struct sonde_kafka_link_result {
	struct sonde_delivery_result delivery;
	enum sonde_sender_error error; /* if delivery.status is not OK */
	const char *words;	       /* librdkafka's; borrowed for the handler */
};
typedef void (*sonde_kafka_link_fn)(void *ctx, const struct sonde_kafka_link_result *result);

/* @instance: of the agent. Both are borrowed. Says in the log what is wrong. Return: 0, -ENOMEM, -EINVAL, -errno. */
int sonde_kafka_link_new(sd_event *event, const struct sonde_agent_config *config,
			 const char *instance, struct sonde_kafka_link **ret) _must_check_;
/* As sonde_kafka_free(). NULL is fine. Returns NULL. */
struct sonde_kafka_link *sonde_kafka_link_free(struct sonde_kafka_link *l);
SONDE_DEFINE_CLEANUP(struct sonde_kafka_link *, sonde_kafka_link_free)

/* @fn hears of brokers that do not answer or refuse us, whether or not a report waits. */
void sonde_kafka_link_on_trouble(struct sonde_kafka_link *l,
				 void (*fn)(void *ctx, enum sonde_sender_error error,
					    const char *words),
				 void *ctx);

/*
 * sonde_kafka_link_send() - the collections of one report
 *
 * Of a report that failed in part before, in this process, only the rest goes out. Borrows everything for the call. @fn
 * runs once, and not before this returns. One report at a time. Return: 0, -EBUSY, -errno.
 */
int sonde_kafka_link_send(struct sonde_kafka_link *l, const struct sonde_buf *messages, size_t n,
			  const char *report_id, sonde_kafka_link_fn fn, void *ctx) _must_check_;

/* As sonde_kafka_give_up(): @fn of the report that is under way runs from within. */
void sonde_kafka_link_give_up(struct sonde_kafka_link *l);

enum sonde_kafka_link_kind {
	SONDE_KAFKA_LINK_PROPERTIES = 0,
	SONDE_KAFKA_LINK_PING,
	_SONDE_KAFKA_LINK_KIND_MAX,
};

/* Is the agent's own instance told through Kafka, too? */
bool sonde_kafka_link_manages(const struct sonde_kafka_link *l);

/* Of each kind one is under way at most; then the newest goes. Return: 0, -ENOMEM, -EMSGSIZE. */
int sonde_kafka_link_manage(struct sonde_kafka_link *l, enum sonde_kafka_link_kind kind,
			    const ProtobufCMessage *message) _must_check_;
