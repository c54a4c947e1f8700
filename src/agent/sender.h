/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Sender: the delivery's calls on the gRPC client, or its records to Kafka, its spool and its retries, and what went wrong on the way: counted
 * by kind, and said to the operator at the first time and then once a minute at most, with what to do. Loop thread only.
 */

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "agent/kafka-link.h"
#include "agent/options.h"
#include "agent/sender-errors.h"
#include "export/delivery.h"
#include "io/grpc-client.h"

struct sonde_sender;

struct sonde_sender_config {
	sd_event *event;			 /* borrowed */
	struct sonde_grpc_client *client;	 /* borrowed; outlives the sender */
	struct sonde_kafka_link *kafka;		 /* borrowed; outlives the sender. NULL: by gRPC */
	const struct sonde_agent_config *config; /* borrowed */
	const char
		*state_dir; /* of the agent; the spool is in it unless the config names another */
	void (*on_outcome)(void *ctx, const struct sonde_report *report,
			   enum sonde_delivery_outcome outcome);
	/* Something was answered or tried again: maybe all is out. May be NULL. */
	void (*on_turn)(void *ctx);
	void *ctx;
};

/*
 * A spool that cannot be used is told to the operator, and does without: memory alone. on_outcome() may run before this
 * returns, with reports of an earlier run that are too old. Return: 0, -ENOMEM, -errno of the timer.
 */
int sonde_sender_new(const struct sonde_sender_config *config,
		     struct sonde_sender **ret) _must_check_;
/* What is left is spooled or DROPPED; on_outcome() and on_turn() run no more. NULL is fine. Returns NULL. */
struct sonde_sender *sonde_sender_free(struct sonde_sender *s);
SONDE_DEFINE_CLEANUP(struct sonde_sender *, sonde_sender_free)

/* A connection stands: what waits for a retry is tried soon, each agent at its own time. May be called from anywhere. */
void sonde_sender_connected(struct sonde_sender *s);

/* Borrowed: reports are added to it. */
struct sonde_delivery *sonde_sender_delivery(struct sonde_sender *s);

struct sonde_sender_stats {
	struct sonde_delivery_stats delivery;
	uint64_t errors[_SONDE_SENDER_ERROR_MAX]; /* since the agent was started */
	uint64_t longest_answer_ms;
};
/* The same as words, "delivered=12 dropped=0 unknown=1 spooled=0 deadline=1": kinds of error that were not seen are left out. */
#define SONDE_SENDER_WORDS_MAX 512
void sonde_sender_words(const struct sonde_sender *s, char ret[SONDE_SENDER_WORDS_MAX]);

void sonde_sender_stats(const struct sonde_sender *s, struct sonde_sender_stats *ret);
