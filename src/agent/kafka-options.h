/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Kafka-options: librdkafka's properties out of the configuration's `kafka`. What the delivery's promise hangs on (acks,
 * idempotence, no time-out of a record) is not to be set; of the rest `kafka.properties` may have what is listed here
 * (KNOWN below): nothing that runs a program, loads code or is a secret. Reads the files that are named. One thread.
 */

#include <stddef.h>

#include "agent/options.h"
#include "io/kafka.h"

#define SONDE_KAFKA_PROPERTIES_MAX 64

struct sonde_kafka_options {
	struct sonde_kafka_property properties[SONDE_KAFKA_PROPERTIES_MAX];
	size_t n;
	char *owned
		[SONDE_KAFKA_PROPERTIES_MAX]; /* values that are not borrowed of the configuration */
	size_t n_owned;
};

void sonde_kafka_options_done(struct sonde_kafka_options *o);

/*
 * All that can be known of `export` and `kafka` without a broker; reads the files. As the check of sonde_config_spec: the
 * words have no secret in them.
 */
int sonde_kafka_options_check(const struct sonde_agent_config *config,
			      char **ret_error) _must_check_;

/*
 * Borrows of @config, which sonde_kafka_options_check() has passed. @ret is for sonde_kafka_options_done(); it holds the
 * password. Return: 0, -errno of the password's file, -ENOMEM, -ENOSPC.
 */
int sonde_kafka_options_make(const struct sonde_agent_config *config,
			     struct sonde_kafka_options *ret) _must_check_;

#define SONDE_KAFKA_TOPIC_MAX 249 /* Kafka's own bound */

/* "NAMESPACE-TOPIC", as OAP's fetcher makes it. Return: 0, -ENAMETOOLONG. */
int sonde_kafka_options_topic(const struct sonde_agent_config *config, const char *plain,
			      char ret[SONDE_KAFKA_TOPIC_MAX + 1]) _must_check_;
