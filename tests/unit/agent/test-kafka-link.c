/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The link against librdkafka's own mock cluster, on loopback, over its real protocol; a consumer reads back what is there.
 * What a real broker makes of it is tests/interop/oap's.
 */
#include "sonde-test.h"

#include <errno.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/kafka-link.h"
#include "agent/kafka-options.h"
#include "skywalking/v3/management.pb-c.h"

#define WAIT_US 60000000ULL /* a test that hangs, not a measure */
#define METERS "skywalking-meters"
#define MANAGEMENTS "skywalking-managements"

struct rig {
	rd_kafka_t *owner; /* of the cluster's thread */
	rd_kafka_mock_cluster_t *cluster;
	struct sonde_agent_config *config;
	sd_event *event;
	struct sonde_kafka_link *link;
	struct sonde_kafka_link_result last;
	unsigned n_results;
	unsigned troubles[_SONDE_SENDER_ERROR_MAX];
};

static void on_trouble(void *ctx, enum sonde_sender_error error, const char *words)
{
	struct rig *rig = ctx;

	assert_true(words[0] != '\0');
	rig->troubles[error]++;
}

static void on_sent(void *ctx, const struct sonde_kafka_link_result *result)
{
	struct rig *rig = ctx;

	rig->last = *result;
	rig->n_results++;
}

static void start_cluster(struct rig *rig)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	char words[512];

	*rig = (struct rig){0};
	rig->owner = rd_kafka_new(RD_KAFKA_PRODUCER, conf, words, sizeof(words));
	assert_non_null(rig->owner);
	rig->cluster = rd_kafka_mock_cluster_new(rig->owner, 1);
	assert_non_null(rig->cluster);
	assert_int_equal(rd_kafka_mock_topic_create(rig->cluster, METERS, 2, 1), 0);
	assert_int_equal(rd_kafka_mock_topic_create(rig->cluster, MANAGEMENTS, 1, 1), 0);
}

static void start_link(struct rig *rig, const char *more)
{
	_cleanup_free_ char *yaml = NULL, *error = NULL;
	void *config = NULL;

	assert_true(asprintf(&yaml, "export: kafka\nkafka:\n  brokers: ['%s']\n%s",
			     rd_kafka_mock_cluster_bootstraps(rig->cluster), more) > 0);
	assert_ok(sonde_config_parse(&sonde_agent_config_spec, yaml, strlen(yaml), "test", &config,
				     &error));
	rig->config = config;
	assert_true(sd_event_new(&rig->event) >= 0);
	assert_ok(sonde_kafka_link_new(rig->event, rig->config, "node-7", &rig->link));
	sonde_kafka_link_on_trouble(rig->link, on_trouble, rig);
}

static void start(struct rig *rig, const char *more)
{
	start_cluster(rig);
	start_link(rig, more);
}

static void stop(struct rig *rig)
{
	rig->link = sonde_kafka_link_free(rig->link);
	(void)sd_event_unref(rig->event);
	(void)sonde_config_free(&sonde_agent_config_spec, rig->config);
	rd_kafka_mock_cluster_destroy(rig->cluster);
	rd_kafka_destroy(rig->owner);
}

static void wait_for(struct rig *rig, const unsigned *count, unsigned n)
{
	uint64_t now = 0, end;

	assert_true(sd_event_now(rig->event, CLOCK_MONOTONIC, &end) >= 0);
	end += WAIT_US;
	while (*count < n) {
		assert_true(sd_event_run(rig->event, 100000) >= 0);
		assert_true(sd_event_now(rig->event, CLOCK_MONOTONIC, &now) >= 0);
		assert_true(now < end);
	}
}

static void send_report(struct rig *rig, const char *id, const char *first, const char *second)
{
	struct sonde_buf values[2] = {SONDE_BUF_INIT(1000), SONDE_BUF_INIT(1000)};

	assert_ok(sonde_buf_printf(&values[0], "%s", first));
	assert_ok(sonde_buf_printf(&values[1], "%s", second ? second : ""));
	assert_ok(sonde_kafka_link_send(rig->link, values, second ? 2 : 1, id, on_sent, rig));
	sonde_buf_done(&values[0]);
	sonde_buf_done(&values[1]);
}

/* All records of @topic: "key=value=header's value\n" each, in the order of one partition. */
static void read_back(struct rig *rig, const char *topic, int partitions, size_t n, char *ret,
		      size_t size)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(partitions);
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	char words[512];
	rd_kafka_t *c;

	assert_int_equal(rd_kafka_conf_set(conf, "bootstrap.servers",
					   rd_kafka_mock_cluster_bootstraps(rig->cluster), words,
					   sizeof(words)),
			 RD_KAFKA_CONF_OK);
	assert_int_equal(rd_kafka_conf_set(conf, "group.id", "test", words, sizeof(words)),
			 RD_KAFKA_CONF_OK);
	c = rd_kafka_new(RD_KAFKA_CONSUMER, conf, words, sizeof(words));
	assert_non_null(c);
	for (int i = 0; i < partitions; i++)
		rd_kafka_topic_partition_list_add(list, topic, i)->offset =
			RD_KAFKA_OFFSET_BEGINNING;
	assert_int_equal(rd_kafka_assign(c, list), 0);
	ret[0] = '\0';
	for (int tries = 0; n > 0 && tries < 600; tries++) {
		rd_kafka_message_t *m = rd_kafka_consumer_poll(c, 100);
		rd_kafka_headers_t *headers = NULL;
		const void *id = "-";
		size_t id_n = 1, at = strlen(ret);

		if (!m)
			continue;
		if (m->err == 0) {
			if (rd_kafka_message_headers(m, &headers) == 0)
				(void)rd_kafka_header_get_last(headers, "sonde-report-id", &id,
							       &id_n);
			(void)snprintf(ret + at, size - at, "%.*s=%.*s=%.*s\n", (int)m->key_len,
				       (const char *)m->key, (int)m->len, (const char *)m->payload,
				       (int)id_n, (const char *)id);
			n--;
		}
		rd_kafka_message_destroy(m);
	}
	assert_int_equal(n, 0);
	assert_null(rd_kafka_consumer_poll(c, 300)); /* no more than that */
	rd_kafka_topic_partition_list_destroy(list);
	rd_kafka_consumer_close(c);
	rd_kafka_destroy(c);
}

static void a_report_is_a_record_a_collection(void **state)
{
	char got[500];
	struct rig rig;

	start(&rig, "");
	send_report(&rig, "t/1/a", "one", "two");
	wait_for(&rig, &rig.n_results, 1);
	assert_int_equal(rig.last.delivery.status, SONDE_GRPC_OK);
	assert_int_equal(rig.last.delivery.bytes, 6);
	send_report(&rig, "t/2/b", "three", NULL);
	wait_for(&rig, &rig.n_results, 2);
	read_back(&rig, METERS, 2, 3, got, sizeof(got));
	assert_string_equal(got, "node-7=one=t/1/a\nnode-7=two=t/1/a\nnode-7=three=t/2/b\n");
	stop(&rig);
}

static void in_an_outage_a_report_waits_and_goes_out_once(void **state)
{
	char got[500];
	struct rig rig;

	start(&rig, "  properties: ['reconnect.backoff.max.ms=200']\n");
	assert_int_equal(rd_kafka_mock_broker_set_down(rig.cluster, 1), 0);
	send_report(&rig, "t/1/a", "one", "two");
	wait_for(&rig, &rig.troubles[SONDE_SENDER_BROKER_UNREACHABLE], 1);
	assert_int_equal(rig.n_results, 0);
	assert_int_equal(rd_kafka_mock_broker_set_up(rig.cluster, 1), 0);
	wait_for(&rig, &rig.n_results, 1);
	assert_int_equal(rig.last.delivery.status, SONDE_GRPC_OK);
	read_back(&rig, METERS, 2, 2, got, sizeof(got));
	assert_string_equal(got, "node-7=one=t/1/a\nnode-7=two=t/1/a\n");
	stop(&rig);
}

/* So that the spool keeps it, and it goes out with the next start. */
static void what_never_went_out_is_surely_not_there(void **state)
{
	struct rig rig;

	start(&rig, "");
	assert_int_equal(rd_kafka_mock_broker_set_down(rig.cluster, 1), 0);
	send_report(&rig, "t/1/a", "one", "two");
	wait_for(&rig, &rig.troubles[SONDE_SENDER_BROKER_UNREACHABLE], 1);
	sonde_kafka_link_give_up(rig.link);
	assert_int_equal(rig.n_results, 1);
	assert_int_equal(rig.last.delivery.status, SONDE_GRPC_UNAVAILABLE);
	assert_true(rig.last.delivery.not_processed);
	assert_false(rig.last.delivery.partly);
	assert_err(sonde_kafka_link_send(rig.link, &SONDE_BUF_INIT(1), 1, "x", on_sent, &rig),
		   ESHUTDOWN);
	stop(&rig);
}

static void what_is_refused_may_go_again_or_never(void **state)
{
	static const struct {
		rd_kafka_resp_err_t error;
		enum sonde_sender_error told;
		enum sonde_grpc_status status;
	} all[] = {
		{RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, SONDE_SENDER_BROKER_DENIED,
		 SONDE_GRPC_PERMISSION_DENIED},
		{RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, SONDE_SENDER_BROKER_REFUSED,
		 SONDE_GRPC_INVALID_ARGUMENT},
	};
	struct rig rig;

	start(&rig, "");
	for (size_t i = 0; i < ELEMENTS_OF(all); i++) {
		rd_kafka_mock_push_request_errors(rig.cluster, 0 /* Produce */, 1, all[i].error);
		send_report(&rig, "t/1/a", "one", NULL);
		wait_for(&rig, &rig.n_results, (unsigned)i + 1);
		assert_int_equal(rig.last.delivery.status, all[i].status);
		assert_int_equal(rig.last.error, all[i].told);
		assert_true(rig.last.delivery.not_processed);
	}
	stop(&rig);
}

static void of_a_report_that_failed_in_part_the_rest_goes_again(void **state)
{
	char got[2000], large[900];
	struct rig rig;

	memset(large, 'x', sizeof(large) - 1);
	large[sizeof(large) - 1] = '\0';
	/* Two batches, of which the second is refused. */
	start(&rig, "  properties: ['batch.num.messages=1', 'linger.ms=0']\n");
	rd_kafka_mock_push_request_errors(rig.cluster, 0 /* Produce */, 2,
					  RD_KAFKA_RESP_ERR_NO_ERROR,
					  RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
	send_report(&rig, "t/1/a", "one", large);
	wait_for(&rig, &rig.n_results, 1);
	assert_int_equal(rig.last.delivery.status, SONDE_GRPC_PERMISSION_DENIED);
	assert_true(rig.last.delivery.not_processed);
	assert_true(rig.last.delivery.partly);
	send_report(&rig, "t/1/a", "one", large);
	wait_for(&rig, &rig.n_results, 2);
	assert_int_equal(rig.last.delivery.status, SONDE_GRPC_OK);
	send_report(&rig, "t/2/b", "end", NULL);
	wait_for(&rig, &rig.n_results, 3);
	read_back(&rig, METERS, 2, 3, got, sizeof(got));
	assert_ptr_equal(strstr(got, "node-7=one=t/1/a\nnode-7=xxx"), got);
	assert_non_null(strstr(got, "x=t/1/a\nnode-7=end=t/2/b\n"));
	stop(&rig);
}

/* The loop runs for so long, whatever comes. */
static void run_for(struct rig *rig, uint64_t us)
{
	uint64_t now = 0, end;

	assert_true(sd_event_now(rig->event, CLOCK_MONOTONIC, &end) >= 0);
	end += us;
	while (now < end) {
		assert_true(sd_event_run(rig->event, 10000) >= 0);
		assert_true(sd_event_now(rig->event, CLOCK_MONOTONIC, &now) >= 0);
	}
}

/*
 * One record is denied, the other without an answer when the agent ends. Nobody tells how far that is, so the end comes
 * later from time to time until it is between the two.
 */
static void what_is_denied_in_part_and_else_not_known_is_in_doubt(void **state)
{
	uint64_t us = 100000;
	struct rig rig;
	bool between;

	do {
		assert_true(us < WAIT_US);
		start(&rig, "  properties: ['batch.num.messages=1', 'linger.ms=0']\n");
		assert_int_equal(rd_kafka_mock_broker_push_request_error_rtts(
					 rig.cluster, 1, 0 /* Produce */, 2,
					 RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, 0,
					 RD_KAFKA_RESP_ERR_NO_ERROR, (int)(2 * WAIT_US / 1000)),
				 0);
		send_report(&rig, "t/1/a", "one", "two");
		run_for(&rig, us);
		us *= 2;
		sonde_kafka_link_give_up(rig.link);
		between = rig.n_results == 1 && rig.last.error == SONDE_SENDER_BROKER_DENIED &&
			  !rig.last.delivery.not_processed;
		if (between) {
			assert_int_equal(rig.last.delivery.status, SONDE_GRPC_UNAVAILABLE);
			assert_false(rig.last.delivery.partly);
		}
		stop(&rig);
	} while (!between);
}

static void a_producer_that_failed_is_made_anew(void **state)
{
	char got[500];
	struct rig rig;

	start_cluster(&rig);
	rd_kafka_mock_push_request_errors(rig.cluster, 22 /* InitProducerId */, 1,
					  RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED);
	start_link(&rig, "");
	wait_for(&rig, &rig.troubles[SONDE_SENDER_BROKER_DENIED], 1);
	/* As the delivery does: what surely was not stored goes again. */
	do {
		const unsigned n = rig.n_results;

		assert_true(n < 10);
		send_report(&rig, "t/1/a", "1", NULL);
		wait_for(&rig, &rig.n_results, n + 1);
		assert_true(rig.last.delivery.status == SONDE_GRPC_OK ||
			    rig.last.delivery.not_processed);
	} while (rig.last.delivery.status != SONDE_GRPC_OK);
	read_back(&rig, METERS, 2, 1, got, sizeof(got));
	assert_string_equal(got, "node-7=1=t/1/a\n");
	stop(&rig);
}

static void the_agents_own_instance_goes_as_the_fetcher_reads_it(void **state)
{
	Skywalking__V3__InstanceProperties properties = SKYWALKING__V3__INSTANCE_PROPERTIES__INIT;
	Skywalking__V3__InstancePingPkg ping = SKYWALKING__V3__INSTANCE_PING_PKG__INIT;
	char service[] = "s", got[500];
	struct rig rig;

	start(&rig, "");
	properties.service = service;
	ping.service = service;
	assert_true(sonde_kafka_link_manages(rig.link));
	assert_ok(sonde_kafka_link_manage(rig.link, SONDE_KAFKA_LINK_PROPERTIES, &properties.base));
	assert_ok(sonde_kafka_link_manage(rig.link, SONDE_KAFKA_LINK_PING, &ping.base));
	send_report(&rig, "t/1/a", "one", NULL);
	wait_for(&rig, &rig.n_results, 1);
	read_back(&rig, MANAGEMENTS, 1, 2, got, sizeof(got));
	assert_string_equal(got, "register-node-7=\n\x01s=-\nnode-7=\n\x01s=-\n");
	stop(&rig);
	start(&rig, "  managements_topic: ''\n");
	assert_false(sonde_kafka_link_manages(rig.link));
	stop(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_report_is_a_record_a_collection),
		cmocka_unit_test(in_an_outage_a_report_waits_and_goes_out_once),
		cmocka_unit_test(what_never_went_out_is_surely_not_there),
		cmocka_unit_test(what_is_refused_may_go_again_or_never),
		cmocka_unit_test(of_a_report_that_failed_in_part_the_rest_goes_again),
		cmocka_unit_test(what_is_denied_in_part_and_else_not_known_is_in_doubt),
		cmocka_unit_test(a_producer_that_failed_is_made_anew),
		cmocka_unit_test(the_agents_own_instance_goes_as_the_fetcher_reads_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
