/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/kafka-link.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/kafka-options.h"
#include "agent/rpc.h"
#include "base/log.h"

#define KEY_MAX 512

/* A message of the agent's own, until a broker has it. */
struct mail {
	struct sonde_kafka_link *link;
	struct sonde_buf value;
	bool waits;
	struct sonde_kafka_send *send; /* NULL: none is under way */
};

struct sonde_kafka_link {
	struct sonde_kafka *kafka;
	char meters[SONDE_KAFKA_TOPIC_MAX + 1], managements[SONDE_KAFKA_TOPIC_MAX + 1];
	char key[KEY_MAX], register_key[KEY_MAX];
	bool manages;
	struct mail mail[_SONDE_KAFKA_LINK_KIND_MAX];
	void (*on_trouble)(void *ctx, enum sonde_sender_error error, const char *words);
	void *on_trouble_ctx;
	/* the report that is under way, or failed last */
	char report_id[SONDE_REPORT_ID_MAX];
	size_t n;			       /* its collections */
	bool stored[SONDE_KAFKA_RECORDS_MAX];  /* which of them a broker has */
	size_t index[SONDE_KAFKA_RECORDS_MAX]; /* of those under way */
	struct sonde_kafka_send *send;	       /* NULL: none is under way */
	sonde_kafka_link_fn fn;
	void *ctx;
};

static enum sonde_sender_error error_of(enum sonde_kafka_cause cause)
{
	switch (cause) {
	case SONDE_KAFKA_CAUSE_UNREACHABLE:
		return SONDE_SENDER_BROKER_UNREACHABLE;
	case SONDE_KAFKA_CAUSE_DENIED:
		return SONDE_SENDER_BROKER_DENIED;
	case SONDE_KAFKA_CAUSE_NO_TOPIC:
		return SONDE_SENDER_NO_TOPIC;
	case SONDE_KAFKA_CAUSE_REFUSED:
		return SONDE_SENDER_BROKER_REFUSED;
	case SONDE_KAFKA_CAUSE_FATAL:
		return SONDE_SENDER_PRODUCER_ENDED;
	case SONDE_KAFKA_CAUSE_LIMIT:
		return SONDE_SENDER_OWN_LIMIT;
	default:
		return SONDE_SENDER_BROKER_INTERNAL;
	}
}

static void on_trouble(void *ctx, enum sonde_kafka_cause cause, const char *words)
{
	struct sonde_kafka_link *l = ctx;

	if (l->on_trouble)
		l->on_trouble(l->on_trouble_ctx, error_of(cause), words);
}

/* --- reports --- */

/*
 * What the delivery makes of it: stored; surely not, so that it may go again; not known; refused for good. Where some are
 * stored and the others surely not, only those go again.
 */
static struct sonde_delivery_result judge(const struct sonde_kafka_link *l,
					  const struct sonde_kafka_result *r)
{
	struct sonde_delivery_result d = {
		.bytes = r->bytes,
		.encoding = SONDE_ENCODING_ZSTD,
		.answered = true,
		.status = SONDE_GRPC_OK,
	};
	size_t n_stored = 0;

	if (r->n_stored == r->n)
		return d;
	for (size_t i = 0; i < l->n; i++)
		n_stored += l->stored[i];
	d.not_processed = r->n_unknown == 0;
	d.partly = n_stored > 0;
	d.answered = r->cause != SONDE_KAFKA_CAUSE_UNREACHABLE &&
		     r->cause != SONDE_KAFKA_CAUSE_ENDED && r->cause != SONDE_KAFKA_CAUSE_LIMIT;
	d.status = SONDE_GRPC_UNAVAILABLE;
	/* Either says that nothing was stored, which holds only where that is known of all. */
	if (r->cause == SONDE_KAFKA_CAUSE_DENIED && d.not_processed)
		d.status = SONDE_GRPC_PERMISSION_DENIED;
	else if (r->cause == SONDE_KAFKA_CAUSE_REFUSED && d.not_processed)
		d.status = SONDE_GRPC_INVALID_ARGUMENT;
	return d;
}

static void on_sent(void *ctx, const struct sonde_kafka_result *result)
{
	struct sonde_kafka_link *l = ctx;
	struct sonde_kafka_link_result r = {.words = result->words};

	l->send = NULL;
	for (size_t i = 0; i < result->n; i++)
		l->stored[l->index[i]] |= result->fates[i] == SONDE_KAFKA_STORED;
	r.delivery = judge(l, result);
	r.error = error_of(result->cause);
	l->fn(l->ctx, &r);
}

int sonde_kafka_link_send(struct sonde_kafka_link *l, const struct sonde_buf *messages, size_t n,
			  const char *report_id, sonde_kafka_link_fn fn, void *ctx)
{
	_cleanup_free_ struct sonde_buf *left = NULL;
	struct sonde_kafka_records records = {
		.topic = l->meters,
		.key = l->key,
		.header = "sonde-report-id",
		.header_value = report_id,
	};

	assert(messages && n > 0 && report_id && fn);

	if (l->send)
		return -EBUSY;
	if (n > SONDE_KAFKA_RECORDS_MAX)
		return -EMSGSIZE;
	if (n != l->n || strcmp(l->report_id, report_id) != 0) {
		(void)snprintf(l->report_id, sizeof(l->report_id), "%s", report_id);
		memset(l->stored, 0, sizeof(l->stored));
		l->n = n;
	}
	left = calloc(n, sizeof(left[0]));
	if (!left)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		if (l->stored[i])
			continue;
		l->index[records.n] = i;
		left[records.n++] = messages[i]; /* a look at it; the bytes stay the caller's */
	}
	records.values = left;
	l->fn = fn;
	l->ctx = ctx;
	return sonde_kafka_send(l->kafka, &records, on_sent, l, &l->send);
}

void sonde_kafka_link_give_up(struct sonde_kafka_link *l)
{
	assert(l);

	sonde_kafka_give_up(l->kafka);
}

/* --- the agent's own instance --- */

static void post(struct sonde_kafka_link *l, enum sonde_kafka_link_kind kind);

static void on_posted(void *ctx, const struct sonde_kafka_result *result)
{
	struct mail *m = ctx;

	m->send = NULL;
	if (result->n_stored > 0) { /* a newer one may wait */
		post(m->link, (enum sonde_kafka_link_kind)(m - m->link->mail));
		return;
	}
	m->waits = true; /* for the next heartbeat */
	if (result->cause != SONDE_KAFKA_CAUSE_ENDED)
		on_trouble(m->link, result->cause, result->words);
}

static void post(struct sonde_kafka_link *l, enum sonde_kafka_link_kind kind)
{
	struct mail *m = &l->mail[kind];
	const struct sonde_kafka_records records = {
		.topic = l->managements,
		.key = kind == SONDE_KAFKA_LINK_PROPERTIES ? l->register_key : l->key,
		.values = &m->value,
		.n = 1,
	};

	if (m->send || !m->waits)
		return;
	if (sonde_kafka_send(l->kafka, &records, on_posted, m, &m->send) == 0)
		m->waits = false;
}

bool sonde_kafka_link_manages(const struct sonde_kafka_link *l)
{
	assert(l);

	return l->manages;
}

int sonde_kafka_link_manage(struct sonde_kafka_link *l, enum sonde_kafka_link_kind kind,
			    const ProtobufCMessage *message)
{
	struct mail *m;
	int r;

	assert(l && kind < _SONDE_KAFKA_LINK_KIND_MAX && message);

	m = &l->mail[kind];
	sonde_buf_reset(&m->value);
	m->waits = false;
	r = sonde_wire_pack(message, &m->value);
	if (r < 0)
		return r;
	m->waits = true;
	for (size_t i = 0; i < _SONDE_KAFKA_LINK_KIND_MAX; i++)
		post(l, (enum sonde_kafka_link_kind)i);
	return 0;
}

/* --- life --- */

void sonde_kafka_link_on_trouble(struct sonde_kafka_link *l,
				 void (*fn)(void *ctx, enum sonde_sender_error error,
					    const char *words),
				 void *ctx)
{
	assert(l);

	l->on_trouble = fn;
	l->on_trouble_ctx = ctx;
}

static void warn_of(const struct sonde_agent_config *c)
{
	if (c->kafka_tls_insecure_skip_verify)
		(void)sonde_log_warn(0, "kafka: the brokers' certificates are not looked at "
					"(kafka.tls.insecure_skip_verify)");
	if (c->kafka_sasl == SONDE_AGENT_SASL_PLAIN && !c->kafka_tls_enabled)
		(void)sonde_log_warn(0, "kafka: the password goes over the network in plain text: "
					"set kafka.tls.enabled, or a mechanism of scram-sha");
}

static int start(struct sonde_kafka_link *l, sd_event *event, const struct sonde_agent_config *c)
{
	struct sonde_kafka_config config = {.event = event, .on_trouble = on_trouble, .ctx = l};
	char words[SONDE_KAFKA_WORDS_MAX] = "";
	struct sonde_kafka_options o;
	int r;

	r = sonde_kafka_options_make(c, &o);
	if (r < 0)
		return sonde_log_err(r, "kafka: cannot read '%s'", c->kafka_sasl_password_file);
	config.properties = o.properties;
	config.n_properties = o.n;
	r = sonde_kafka_new(&config, words, &l->kafka);
	sonde_kafka_options_done(&o);
	if (r < 0)
		return sonde_log_err(r, "kafka: %s", words);
	warn_of(c);
	sonde_log_info("meters go to topic %s of Kafka at %s%s", l->meters, c->kafka_brokers[0],
		       c->kafka_brokers[1] ? " and others" : "");
	return 0;
}

int sonde_kafka_link_new(sd_event *event, const struct sonde_agent_config *c, const char *instance,
			 struct sonde_kafka_link **ret)
{
	_cleanup_(sonde_kafka_link_freep) struct sonde_kafka_link *l = NULL;
	int r;

	assert(event && c && instance && ret);

	l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	for (size_t i = 0; i < _SONDE_KAFKA_LINK_KIND_MAX; i++)
		l->mail[i] =
			(struct mail){.link = l, .value = SONDE_BUF_INIT(SONDE_RPC_MESSAGE_MAX)};
	l->manages = c->kafka_managements_topic[0];
	(void)snprintf(l->key, sizeof(l->key), "%s", instance);
	(void)snprintf(l->register_key, sizeof(l->register_key), "register-%s", instance);
	r = sonde_kafka_options_topic(c, c->kafka_meters_topic, l->meters);
	if (r == 0)
		r = sonde_kafka_options_topic(c, c->kafka_managements_topic, l->managements);
	if (r == 0)
		r = start(l, event, c);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(l);
	return 0;
}

struct sonde_kafka_link *sonde_kafka_link_free(struct sonde_kafka_link *l)
{
	if (!l)
		return NULL;
	(void)sonde_kafka_free(l->kafka);
	for (size_t i = 0; i < _SONDE_KAFKA_LINK_KIND_MAX; i++)
		sonde_buf_done(&l->mail[i].value);
	free(l);
	return NULL;
}
