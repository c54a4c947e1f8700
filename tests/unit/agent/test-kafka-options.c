/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/kafka-options.h"

#define FILE_YAML "agent.yaml"
#define BROKERS "export: kafka\nkafka:\n  brokers: ['k1.example:9092', '[fd00::2]:9093']\n"

static char password_file[] = "/tmp/sonde-test-kafka-XXXXXX";

static struct sonde_agent_config *parse(const char *yaml, char **error)
{
	void *config = NULL;
	int r = sonde_config_parse(&sonde_agent_config_spec, yaml, strlen(yaml), FILE_YAML, &config,
				   error);

	assert_true(r == 0 || r == -EINVAL);
	assert_true((r == 0) == (config != NULL));
	return config;
}

static void done(struct sonde_agent_config *c)
{
	(void)sonde_config_free(&sonde_agent_config_spec, c);
}

static void takes(const char *yaml, struct sonde_agent_config **ret, struct sonde_kafka_options *o)
{
	_cleanup_free_ char *error = NULL;

	*ret = parse(yaml, &error);
	if (!*ret)
		fail_msg("%s", error);
	assert_ok(sonde_kafka_options_make(*ret, o));
}

static void refuses(const char *yaml, const char *words)
{
	_cleanup_free_ char *error = NULL;
	struct sonde_agent_config *c = parse(yaml, &error);

	if (c)
		fail_msg("taken: %s", yaml);
	assert_non_null(error);
	if (!strstr(error, words))
		fail_msg("'%s' is not in: %s", words, error);
	assert_null(strstr(error, "hush"));
}

/* NULL: it is not set. */
static const char *value(const struct sonde_kafka_options *o, const char *name)
{
	const char *found = NULL;

	for (size_t i = 0; i < o->n; i++) {
		if (strcmp(o->properties[i].name, name) != 0)
			continue;
		assert_null(found);
		found = o->properties[i].value;
	}
	return found;
}

static void by_default_there_is_no_kafka(void **state)
{
	_cleanup_free_ char *error = NULL;
	struct sonde_agent_config *c = parse("log: { level: info }\n", &error);

	assert_non_null(c);
	assert_int_equal(c->export, SONDE_AGENT_EXPORT_GRPC);
	done(c);
	refuses("kafka: { brokers: ['k:9092'] }\n", "they are set, and export is grpc");
	refuses("export: kafak\n", "expected grpc or kafka");
	refuses("kafka: { broker: 'k:9092' }\n", "kafka.broker");
}

static void without_librdkafka_it_is_said(void **state)
{
	if (sonde_kafka_built())
		skip();
	refuses(BROKERS, "built without Kafka");
}

static void what_the_promise_hangs_on_is_set(void **state)
{
	static const char *const all[][2] = {
		{"bootstrap.servers", "k1.example:9092,[fd00::2]:9093"},
		{"acks", "all"},
		{"enable.idempotence", "true"},
		{"message.timeout.ms", "0"},
		{"compression.codec", "zstd"},
		{"security.protocol", "plaintext"},
		{"partitioner", "murmur2_random"},
	};
	struct sonde_kafka_options o;
	struct sonde_agent_config *c;

	if (!sonde_kafka_built())
		skip();
	takes(BROKERS, &c, &o);
	for (size_t i = 0; i < ELEMENTS_OF(all); i++) {
		const char *v = value(&o, all[i][0]);

		assert_non_null(v);
		assert_string_equal(v, all[i][1]);
	}
	assert_null(value(&o, "sasl.mechanism"));
	assert_null(value(&o, "ssl.endpoint.identification.algorithm"));
	sonde_kafka_options_done(&o);
	done(c);
}

static void topics_have_the_namespace_in_front(void **state)
{
	char topic[SONDE_KAFKA_TOPIC_MAX + 1];
	struct sonde_kafka_options o;
	struct sonde_agent_config *c;

	if (!sonde_kafka_built())
		skip();
	takes(BROKERS, &c, &o);
	assert_ok(sonde_kafka_options_topic(c, c->kafka_meters_topic, topic));
	assert_string_equal(topic, "skywalking-meters");
	sonde_kafka_options_done(&o);
	done(c);
	takes(BROKERS "  namespace: east\n", &c, &o);
	assert_ok(sonde_kafka_options_topic(c, c->kafka_managements_topic, topic));
	assert_string_equal(topic, "east-skywalking-managements");
	sonde_kafka_options_done(&o);
	done(c);
	refuses(BROKERS "  namespace: 'a b'\n", "make a topic, not 'a b-skywalking-meters'");
	refuses(BROKERS "  meters_topic: ''\n", "kafka.meters_topic: it is empty");
}

static void tls_and_sasl_become_librdkafkas(void **state)
{
	_cleanup_free_ char *yaml = NULL;
	struct sonde_kafka_options o;
	struct sonde_agent_config *c;

	if (!sonde_kafka_built())
		skip();
	assert_true(asprintf(&yaml,
			     BROKERS
			     "  tls: { enabled: true }\n  sasl: { mechanism: scram-sha-512, "
			     "username: sonde, password_file: %s }\n",
			     password_file) > 0);
	takes(yaml, &c, &o);
	assert_string_equal(value(&o, "security.protocol"), "sasl_ssl");
	assert_string_equal(value(&o, "sasl.mechanism"), "SCRAM-SHA-512");
	assert_string_equal(value(&o, "sasl.username"), "sonde");
	assert_string_equal(value(&o, "sasl.password"), "hush hush");
	assert_string_equal(value(&o, "ssl.endpoint.identification.algorithm"), "https");
	assert_null(value(&o, "enable.ssl.certificate.verification"));
	sonde_kafka_options_done(&o);
	done(c);
	takes(BROKERS "  tls: { enabled: true, insecure_skip_verify: true }\n", &c, &o);
	assert_string_equal(value(&o, "security.protocol"), "ssl");
	assert_string_equal(value(&o, "ssl.endpoint.identification.algorithm"), "none");
	assert_string_equal(value(&o, "enable.ssl.certificate.verification"), "false");
	sonde_kafka_options_done(&o);
	done(c);
}

static void what_is_wrong_is_told_by_its_key(void **state)
{
	_cleanup_free_ char *yaml = NULL;

	if (!sonde_kafka_built())
		skip();
	refuses("export: kafka\n", "kafka.brokers: export: kafka needs one at least");
	refuses("export: kafka\nkafka: { brokers: ['k'] }\n", "HOST:PORT was expected");
	refuses("export: kafka\nkafka: { brokers: ['ssl://k:1'] }\n", "HOST:PORT was expected");
	refuses("export: kafka\nkafka: { brokers: ['k:1,j:2'] }\n", "HOST:PORT was expected");
	refuses(BROKERS "  tls: { ca_file: /x }\n", "kafka.tls.enabled is false");
	refuses(BROKERS "  tls: { enabled: true, ca_file: /nowhere }\n", "/nowhere");
	refuses(BROKERS "  sasl: { username: x }\n", "kafka.sasl.mechanism is none");
	refuses(BROKERS "  sasl: { mechanism: plain }\n", "kafka.sasl.username");
	refuses(BROKERS "  sasl: { mechanism: plain, username: x }\n", "kafka.sasl.password_file");
	refuses(BROKERS "  sasl: { mechanism: gssapi }\n", "none, plain, scram-sha-256");
	refuses(BROKERS "  sasl: { mechanism: plain, username: x, password_file: /nowhere }\n",
		"cannot read '/nowhere'");
	assert_true(asprintf(&yaml,
			     BROKERS
			     "  sasl: { mechanism: plain, username: x, password_file: %s }\n",
			     password_file) > 0);
	assert_int_equal(chmod(password_file, 0604), 0);
	refuses(yaml, "everyone on this machine may read it");
	assert_int_equal(chmod(password_file, 0600), 0);
}

static void properties_go_through_but_for_some(void **state)
{
	struct sonde_kafka_options o;
	struct sonde_agent_config *c;

	if (!sonde_kafka_built())
		skip();
	takes(BROKERS "  properties: ['linger.ms=20', 'client.id = node 7']\n", &c, &o);
	assert_string_equal(value(&o, "linger.ms"), "20");
	assert_string_equal(value(&o, "client.id"), "node 7"); /* instead of our own */
	sonde_kafka_options_done(&o);
	done(c);
	refuses(BROKERS "  properties: ['linger.ms']\n", "kafka.properties[0]: NAME=VALUE");
	refuses(BROKERS "  properties: ['a=1']\n", "a: it is none of those that may be set");
	refuses(BROKERS "  properties: ['linger.ms=5', 'acks=1']\n", "kafka.properties[1]: acks:");
	refuses(BROKERS "  properties: ['sasl.password=hush']\n", "kafka.sasl.password_file");
	refuses(BROKERS "  properties: ['sasl.kerberos.kinit.cmd=x']\n", "starts no kinit");
	refuses(BROKERS "  properties: ['plugin.library.paths=x']\n", "loads no code");
	refuses(BROKERS "  properties: ['linger.ms=hush']\n",
		"linger.ms: librdkafka does not take the value");
}

static int make_password(void **state)
{
	int fd = mkstemp(password_file);

	if (fd < 0 || write(fd, " hush hush\n", 11) != 11)
		return -1;
	return close(fd);
}

static int drop_password(void **state)
{
	return unlink(password_file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(by_default_there_is_no_kafka),
		cmocka_unit_test(without_librdkafka_it_is_said),
		cmocka_unit_test(what_the_promise_hangs_on_is_set),
		cmocka_unit_test(topics_have_the_namespace_in_front),
		cmocka_unit_test(tls_and_sasl_become_librdkafkas),
		cmocka_unit_test(what_is_wrong_is_told_by_its_key),
		cmocka_unit_test(properties_go_through_but_for_some),
	};

	return cmocka_run_group_tests(tests, make_password, drop_password);
}
