/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kafka-mock TOPIC: librdkafka's own mock cluster on loopback, one broker and one partition, until the end of its input. The
 * first line of output is its address. Commands on standard input, one a line, each answered by a line:
 *
 *	down, up	the broker is away, and back with what it has: {}
 *	read		the header sonde-report-id of each record, in order: [...]
 */
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define POLL_MS 100
#define TRIES_MAX 600 /* a test that hangs, not a measure */

static rd_kafka_t *make(rd_kafka_type_t type, const char *brokers)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	char words[512];
	rd_kafka_t *k;

	if (rd_kafka_conf_set(conf, "bootstrap.servers", brokers, words, sizeof(words)) ||
	    rd_kafka_conf_set(conf, "group.id", "test", words, sizeof(words)) ||
	    rd_kafka_conf_set(conf, "enable.partition.eof", "true", words, sizeof(words))) {
		(void)fprintf(stderr, "%s\n", words);
		exit(1);
	}
	k = rd_kafka_new(type, conf, words, sizeof(words));
	if (!k) {
		(void)fprintf(stderr, "%s\n", words);
		exit(1);
	}
	return k;
}

/* Return: whether there is more. */
static bool say_record(const rd_kafka_message_t *m, bool *first)
{
	rd_kafka_headers_t *headers = NULL;
	const void *id = NULL;
	size_t n = 0;

	if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
		return false;
	if (m->err)
		return true; /* tried again */
	if (rd_kafka_message_headers(m, &headers) == 0)
		(void)rd_kafka_header_get_last(headers, "sonde-report-id", &id, &n);
	(void)printf("%s\"%.*s\"", *first ? "" : ", ", (int)n, (const char *)id);
	*first = false;
	return true;
}

static void say_records(const char *brokers, const char *topic)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
	rd_kafka_t *consumer = make(RD_KAFKA_CONSUMER, brokers);
	bool more = true, first = true;

	rd_kafka_topic_partition_list_add(list, topic, 0)->offset = RD_KAFKA_OFFSET_BEGINNING;
	if (rd_kafka_assign(consumer, list))
		exit(1);
	(void)printf("[");
	for (int i = 0; more && i < TRIES_MAX; i++) {
		rd_kafka_message_t *m = rd_kafka_consumer_poll(consumer, POLL_MS);

		if (!m)
			continue;
		more = say_record(m, &first);
		rd_kafka_message_destroy(m);
	}
	(void)printf("]\n");
	rd_kafka_topic_partition_list_destroy(list);
	(void)rd_kafka_consumer_close(consumer);
	rd_kafka_destroy(consumer);
}

int main(int argc, char **argv)
{
	rd_kafka_mock_cluster_t *cluster;
	rd_kafka_t *owner;
	const char *brokers;
	char line[64];

	if (argc != 2)
		return 2;
	owner = make(RD_KAFKA_PRODUCER, "");
	cluster = rd_kafka_mock_cluster_new(owner, 1);
	if (!cluster || rd_kafka_mock_topic_create(cluster, argv[1], 1, 1))
		return 1;
	brokers = rd_kafka_mock_cluster_bootstraps(cluster);
	(void)printf("%s\n", brokers);
	(void)fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		if (strcmp(line, "read\n") == 0)
			say_records(brokers, argv[1]);
		else if ((strcmp(line, "down\n") == 0 &&
			  !rd_kafka_mock_broker_set_down(cluster, 1)) ||
			 (strcmp(line, "up\n") == 0 && !rd_kafka_mock_broker_set_up(cluster, 1)))
			(void)printf("{}\n");
		else
			return 1;
		(void)fflush(stdout);
	}
	rd_kafka_mock_cluster_destroy(cluster);
	rd_kafka_destroy(owner);
	return 0;
}
