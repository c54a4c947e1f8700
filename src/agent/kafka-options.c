/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/kafka-options.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "io/address.h"
#include "io/tls.h"

#define PASSWORD_MAX 1024
#define NAME_MAX_BYTES 64

/* What `kafka.properties` may have. */
static const char *const known[] = {
	"batch.num.messages",
	"batch.size",
	"broker.address.family",
	"broker.address.ttl",
	"client.dns.lookup",
	"client.id",
	"client.rack",
	"compression.level",
	"connections.max.idle.ms",
	"debug",
	"linger.ms",
	"message.max.bytes",
	"metadata.max.age.ms",
	"partitioner",
	"reconnect.backoff.max.ms",
	"reconnect.backoff.ms",
	"request.timeout.ms",
	"retry.backoff.ms",
	"socket.connection.setup.timeout.ms",
	"socket.keepalive.enable",
	"socket.max.fails",
	"socket.nagle.disable",
	"socket.receive.buffer.bytes",
	"socket.send.buffer.bytes",
	"socket.timeout.ms",
	"ssl.cipher.suites",
	"ssl.crl.location",
	"ssl.curves.list",
	"ssl.sigalgs.list",
	"topic.metadata.propagation.max.ms",
	"topic.metadata.refresh.interval.ms",
};

/* What has a key of its own, or is not to be had, and why. A name that ends with '.' stands for all that begin so. */
static const struct {
	const char *name, *words;
} refused[] = {
	{"acks", "a report leaves the spool only when all in-sync replicas have it"},
	{"request.required.acks",
	 "a report leaves the spool only when all in-sync replicas have it"},
	{"bootstrap.servers", "use kafka.brokers"},
	{"metadata.broker.list", "use kafka.brokers"},
	{"compression.codec", "it is zstd, which OAP's fetcher reads"},
	{"compression.type", "it is zstd, which OAP's fetcher reads"},
	{"enable.idempotence", "without it an outage would double reports"},
	{"message.timeout.ms",
	 "a report is tried until its fate is known; how long it waits is spool.max_age"},
	{"delivery.timeout.ms",
	 "a report is tried until its fate is known; how long it waits is spool.max_age"},
	{"plugin.library.paths", "the agent loads no code of others"},
	{"sasl.mechanism", "use kafka.sasl.mechanism"},
	{"sasl.mechanisms", "use kafka.sasl.mechanism"},
	{"sasl.username", "use kafka.sasl.username"},
	{"sasl.password", "a secret belongs in a file: kafka.sasl.password_file"},
	{"sasl.kerberos.", "the agent starts no kinit: plain and scram-sha-* are what it can"},
	{"sasl.oauthbearer.", "plain and scram-sha-* are what the agent can"},
	{"security.protocol", "use kafka.tls.enabled and kafka.sasl.mechanism"},
	{"ssl.ca.location", "use kafka.tls.ca_file"},
	{"ssl.certificate.location", "use kafka.tls.cert_file"},
	{"ssl.key.location", "use kafka.tls.key_file"},
	{"ssl.key.password", "the key is to be without a passphrase"},
	{"ssl.endpoint.identification.algorithm", "use kafka.tls.insecure_skip_verify"},
	{"enable.ssl.certificate.verification", "use kafka.tls.insecure_skip_verify"},
	{"transactional.id", "OAP's fetcher reads what was not committed, too"},
};

void sonde_kafka_options_done(struct sonde_kafka_options *o)
{
	for (size_t i = 0; i < o->n_owned; i++) {
		explicit_bzero(o->owned[i], strlen(o->owned[i]));
		free(o->owned[i]);
	}
	*o = (struct sonde_kafka_options){0};
}

int sonde_kafka_options_topic(const struct sonde_agent_config *c, const char *plain,
			      char ret[SONDE_KAFKA_TOPIC_MAX + 1])
{
	int n;

	assert(c && plain && ret);

	n = snprintf(ret, SONDE_KAFKA_TOPIC_MAX + 1, "%s%s%s", c->kafka_namespace,
		     c->kafka_namespace[0] ? "-" : "", plain);
	return n > SONDE_KAFKA_TOPIC_MAX ? -ENAMETOOLONG : 0;
}

/* --- kafka.properties --- */

/* "NAME=VALUE". Return: the value, NULL if there is none. */
static const char *split(const char *text, char name[NAME_MAX_BYTES])
{
	const char *equals = strchr(text, '=');
	size_t n = equals ? (size_t)(equals - text) : 0;

	while (n > 0 && isspace((unsigned char)text[n - 1]))
		n--;
	if (n == 0 || n >= NAME_MAX_BYTES)
		return NULL;
	memcpy(name, text, n);
	name[n] = '\0';
	for (equals++; isspace((unsigned char)*equals); equals++)
		;
	return equals;
}

static const char *known_name(const char *name)
{
	for (size_t i = 0; i < ELEMENTS_OF(known); i++) {
		if (strcmp(known[i], name) == 0)
			return known[i];
	}
	return NULL;
}

static const char *why_refused(const char *name)
{
	for (size_t i = 0; i < ELEMENTS_OF(refused); i++) {
		size_t n = strlen(refused[i].name);

		if (strcmp(refused[i].name, name) == 0 ||
		    (refused[i].name[n - 1] == '.' && strncmp(refused[i].name, name, n) == 0))
			return refused[i].words;
	}
	return "it is none of those that may be set, see config/oap.md";
}

static int check_properties(const struct sonde_agent_config *c, char **ret_error)
{
	for (size_t i = 0; c->kafka_properties && c->kafka_properties[i]; i++) {
		char name[NAME_MAX_BYTES];

		if (!split(c->kafka_properties[i], name))
			return sonde_config_refuse(
				ret_error, "kafka.properties[%zu]: NAME=VALUE was expected", i);
		if (!known_name(name))
			return sonde_config_refuse(ret_error, "kafka.properties[%zu]: %s: %s", i,
						   name, why_refused(name));
	}
	return 0;
}

/* --- the other keys --- */

static int check_topic(const struct sonde_agent_config *c, const char *key, const char *plain,
		       char **ret_error)
{
	char topic[SONDE_KAFKA_TOPIC_MAX + 1];

	if (sonde_kafka_options_topic(c, plain, topic) < 0)
		return sonde_config_refuse(ret_error,
					   "%s: with its namespace it is longer than %d bytes", key,
					   SONDE_KAFKA_TOPIC_MAX);
	for (const char *p = topic; *p; p++) {
		if (!isascii((unsigned char)*p) ||
		    (!isalnum((unsigned char)*p) && !strchr("._-", *p))) {
			return sonde_config_refuse(
				ret_error,
				"%s: letters, digits, '.', '_' and '-' make a topic, not "
				"'%.64s'",
				key, topic);
		}
	}
	return 0;
}

static int check_brokers(const struct sonde_agent_config *c, char **ret_error)
{
	struct sonde_address a;

	if (!c->kafka_brokers || !c->kafka_brokers[0])
		return sonde_config_refuse(ret_error,
					   "kafka.brokers: export: kafka needs one at least");
	for (size_t i = 0; c->kafka_brokers[i]; i++) {
		/* librdkafka separates them by commas, and takes a protocol before each. */
		if (sonde_address_parse(c->kafka_brokers[i], 0, &a) < 0 ||
		    strpbrk(c->kafka_brokers[i], ",/ ")) {
			return sonde_config_refuse(
				ret_error,
				"kafka.brokers[%zu]: HOST:PORT was expected, an IPv6 address "
				"in brackets, got '%.64s'",
				i, c->kafka_brokers[i]);
		}
	}
	return 0;
}

static int check_tls(const struct sonde_agent_config *c, char **ret_error)
{
	const struct sonde_tls_config config = {
		.ca_file = c->kafka_tls_ca_file,
		.cert_file = c->kafka_tls_cert_file,
		.key_file = c->kafka_tls_key_file,
		.insecure_skip_verify = c->kafka_tls_insecure_skip_verify,
	};
	struct sonde_tls_context *tls = NULL;
	char words[SONDE_TLS_WORDS_MAX] = "";
	int r;

	if (!c->kafka_tls_enabled) {
		if (!c->kafka_tls_ca_file[0] && !c->kafka_tls_cert_file[0] &&
		    !c->kafka_tls_key_file[0] && !c->kafka_tls_insecure_skip_verify)
			return 0;
		return sonde_config_refuse(
			ret_error, "kafka.tls: keys are set, and kafka.tls.enabled is false");
	}
	r = sonde_tls_context_new(&config, &tls, words);
	(void)sonde_tls_context_unref(tls);
	if (r < 0 && words[0])
		return sonde_config_refuse(ret_error, "kafka.tls: %s", words);
	return r;
}

static int check_sasl(const struct sonde_agent_config *c, char **ret_error)
{
	char *password = NULL;
	int r;

	if (c->kafka_sasl == SONDE_AGENT_SASL_NONE) {
		if (!c->kafka_sasl_username[0] && !c->kafka_sasl_password_file[0])
			return 0;
		return sonde_config_refuse(
			ret_error, "kafka.sasl: keys are set, and kafka.sasl.mechanism is none");
	}
	if (!c->kafka_sasl_username[0])
		return sonde_config_refuse(ret_error,
					   "kafka.sasl.username: the mechanism needs it");
	if (!c->kafka_sasl_password_file[0])
		return sonde_config_refuse(ret_error,
					   "kafka.sasl.password_file: the mechanism needs it");
	r = sonde_file_read_line(c->kafka_sasl_password_file, true, PASSWORD_MAX, &password);
	if (r < 0)
		return sonde_config_refuse(ret_error,
					   "kafka.sasl.password_file: cannot read '%s': %s",
					   c->kafka_sasl_password_file, sonde_file_error(r, true));
	explicit_bzero(password, strlen(password));
	free(password);
	return 0;
}

static int check_with_librdkafka(const struct sonde_agent_config *c, char **ret_error)
{
	char words[SONDE_KAFKA_WORDS_MAX] = "";
	struct sonde_kafka_options o;
	int r;

	r = sonde_kafka_options_make(c, &o);
	if (r < 0)
		return r;
	r = sonde_kafka_check(o.properties, o.n, words);
	sonde_kafka_options_done(&o);
	return r < 0 ? sonde_config_refuse(ret_error, "kafka: %s", words) : 0;
}

int sonde_kafka_options_check(const struct sonde_agent_config *c, char **ret_error)
{
	int r;

	assert(c && ret_error);

	if (c->export != SONDE_AGENT_EXPORT_KAFKA) {
		if (!c->kafka_brokers || !c->kafka_brokers[0])
			return 0;
		return sonde_config_refuse(ret_error,
					   "kafka.brokers: they are set, and export is grpc: say "
					   "export: kafka, or take them out");
	}
	if (!sonde_kafka_built())
		return sonde_config_refuse(
			ret_error,
			"export: this sonde-agent was built without Kafka: build it where "
			"librdkafka-dev is installed, without -Dauto_features=disabled");
	r = check_brokers(c, ret_error);
	if (r == 0)
		r = check_topic(c, "kafka.meters_topic", c->kafka_meters_topic, ret_error);
	if (r == 0 && !c->kafka_meters_topic[0])
		r = sonde_config_refuse(ret_error, "kafka.meters_topic: it is empty");
	if (r == 0)
		r = check_topic(c, "kafka.managements_topic", c->kafka_managements_topic,
				ret_error);
	if (r == 0)
		r = check_tls(c, ret_error);
	if (r == 0)
		r = check_sasl(c, ret_error);
	if (r == 0)
		r = check_properties(c, ret_error);
	return r < 0 ? r : check_with_librdkafka(c, ret_error);
}

/* --- the properties --- */

static int add(struct sonde_kafka_options *o, const char *name, const char *value)
{
	for (size_t i = 0; i < o->n; i++) { /* kafka.properties come last */
		if (strcmp(o->properties[i].name, name) != 0)
			continue;
		o->properties[i].value = value;
		return 0;
	}
	if (o->n == SONDE_KAFKA_PROPERTIES_MAX)
		return -ENOSPC;
	o->properties[o->n++] = (struct sonde_kafka_property){name, value};
	return 0;
}

static int add_owned(struct sonde_kafka_options *o, const char *name, char *value)
{
	if (!value)
		return -ENOMEM;
	assert(o->n_owned < SONDE_KAFKA_PROPERTIES_MAX);
	o->owned[o->n_owned++] = value;
	return add(o, name, value);
}

static int add_all(struct sonde_kafka_options *o, const struct sonde_kafka_property *p, size_t n)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++)
		r = p[i].value[0] ? add(o, p[i].name, p[i].value) : 0;
	return r;
}

static int add_brokers(struct sonde_kafka_options *o, const struct sonde_agent_config *c)
{
	_cleanup_buf_ struct sonde_buf b = SONDE_BUF_INIT(64UL * 1024);
	int r = 0;

	for (size_t i = 0; r == 0 && c->kafka_brokers[i]; i++)
		r = sonde_buf_printf(&b, "%s%s", i ? "," : "", c->kafka_brokers[i]);
	return r < 0 ? r : add_owned(o, "bootstrap.servers", strdup(sonde_buf_str(&b)));
}

static int add_security(struct sonde_kafka_options *o, const struct sonde_agent_config *c)
{
	static const char *const protocols[2][2] = {{"plaintext", "ssl"},
						    {"sasl_plaintext", "sasl_ssl"}};
	static const char *const mechanisms[] = {
		[SONDE_AGENT_SASL_NONE] = "",
		[SONDE_AGENT_SASL_PLAIN] = "PLAIN",
		[SONDE_AGENT_SASL_SCRAM_SHA_256] = "SCRAM-SHA-256",
		[SONDE_AGENT_SASL_SCRAM_SHA_512] = "SCRAM-SHA-512",
	};
	const bool sasl = c->kafka_sasl != SONDE_AGENT_SASL_NONE;
	const bool skip = c->kafka_tls_insecure_skip_verify;
	const struct sonde_kafka_property all[] = {
		{"security.protocol", protocols[sasl][c->kafka_tls_enabled]},
		{"sasl.mechanism", mechanisms[c->kafka_sasl]},
		{"sasl.username", c->kafka_sasl_username},
		{"ssl.ca.location", c->kafka_tls_ca_file},
		{"ssl.certificate.location", c->kafka_tls_cert_file},
		{"ssl.key.location", c->kafka_tls_key_file},
		{"ssl.endpoint.identification.algorithm",
		 !c->kafka_tls_enabled ? "" : (skip ? "none" : "https")},
		{"enable.ssl.certificate.verification", skip ? "false" : ""},
	};
	char *password = NULL;
	int r;

	r = add_all(o, all, ELEMENTS_OF(all));
	if (r < 0 || !sasl)
		return r;
	r = sonde_file_read_line(c->kafka_sasl_password_file, true, PASSWORD_MAX, &password);
	return r < 0 ? r : add_owned(o, "sasl.password", password);
}

int sonde_kafka_options_make(const struct sonde_agent_config *c, struct sonde_kafka_options *ret)
{
	static const struct sonde_kafka_property fixed[] = {
		{"acks", "all"},
		{"enable.idempotence", "true"},
		{"compression.codec", "zstd"},
		{"message.timeout.ms", "0"}, /* never: its fate would be unknown */
		{"log.queue", "true"},
		/* Java's, so that a key means the same partition to both. */
		{"partitioner", "murmur2_random"},
		{"client.id", "sonde-agent"},
		/* A collection is at most 1 MiB before it is compressed; what the broker bounds is what comes out. */
		{"message.max.bytes", "4194304"},
		{"queue.buffering.max.kbytes", "131072"},
		{"queue.buffering.max.messages", "4096"},
		{"socket.keepalive.enable", "true"},
		/* Before the broker does (10 min), which would look like a loss. */
		{"connections.max.idle.ms", "540000"},
	};
	struct sonde_kafka_options o = {0};
	int r;

	assert(c && c->kafka_brokers && ret);

	r = add_all(&o, fixed, ELEMENTS_OF(fixed));
	if (r == 0)
		r = add_brokers(&o, c);
	if (r == 0)
		r = add_security(&o, c);
	for (size_t i = 0; r == 0 && c->kafka_properties && c->kafka_properties[i]; i++) {
		char name[NAME_MAX_BYTES];
		const char *value = split(c->kafka_properties[i], name);

		if (!value || !known_name(name))
			r = -EINVAL;
		else
			r = add(&o, known_name(name), value);
	}
	if (r < 0)
		sonde_kafka_options_done(&o);
	else
		*ret = o;
	return r;
}
