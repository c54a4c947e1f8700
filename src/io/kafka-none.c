/* SPDX-License-Identifier: Apache-2.0 */
/* kafka.h, built without librdkafka. */
#include "io/kafka.h"

#include <errno.h>
#include <stdio.h>

static int refuse(char words[SONDE_KAFKA_WORDS_MAX])
{
	(void)snprintf(words, SONDE_KAFKA_WORDS_MAX, "built without Kafka");
	return -EOPNOTSUPP;
}

bool sonde_kafka_built(void)
{
	return false;
}

int sonde_kafka_check(const struct sonde_kafka_property *properties, size_t n,
		      char words[SONDE_KAFKA_WORDS_MAX])
{
	return refuse(words);
}

int sonde_kafka_new(const struct sonde_kafka_config *config, char words[SONDE_KAFKA_WORDS_MAX],
		    struct sonde_kafka **ret)
{
	return refuse(words);
}

struct sonde_kafka *sonde_kafka_free(struct sonde_kafka *k)
{
	return NULL;
}

int sonde_kafka_send(struct sonde_kafka *k, const struct sonde_kafka_records *records,
		     sonde_kafka_sent_fn fn, void *ctx, struct sonde_kafka_send **ret)
{
	return -EOPNOTSUPP;
}

void sonde_kafka_cancel(struct sonde_kafka_send *send)
{
}

void sonde_kafka_give_up(struct sonde_kafka *k)
{
}
