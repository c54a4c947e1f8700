/* SPDX-License-Identifier: Apache-2.0 */
#include "io/kafka.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <librdkafka/rdkafka.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

#define TURN_MAX 256 /* events, before other sources of the loop have their turn */
#define GIVE_UP_NS (500 * SONDE_NS_PER_MS)
#define GIVE_UP_POLL_MS 20
#define END_WAIT_MS 500

/* What a delivery report carries back. */
struct record {
	struct sonde_kafka_send *send;
	size_t i;
};

struct sonde_kafka_send {
	struct sonde_kafka *kafka;
	struct sonde_kafka_send *next, **at; /* of those under way */
	sonde_kafka_sent_fn fn;		     /* NULL: cancelled */
	void *ctx;
	struct sonde_kafka_result result;
	size_t n_left;
	enum sonde_kafka_fate *fates;
	struct record *records;
};

struct sonde_kafka {
	struct sonde_kafka_config config;
	rd_kafka_conf_t *conf; /* what each producer is made of */
	rd_kafka_t *producer;  /* NULL: the next send makes one */
	rd_kafka_queue_t *events;
	sd_event_source *source;
	int fd;	     /* eventfd: the queue of events is no longer empty */
	bool taking; /* an event of the producer's is in hand */
	bool failed; /* the producer is to be replaced, once it has nothing under way */
	bool ended;  /* given up */
	struct sonde_kafka_send *under_way;
};

bool sonde_kafka_built(void)
{
	return true;
}

/* --- what librdkafka says --- */

static enum sonde_kafka_cause cause_of(rd_kafka_resp_err_t e)
{
	switch (e) {
	case RD_KAFKA_RESP_ERR_NO_ERROR:
		return SONDE_KAFKA_CAUSE_NONE;
	case RD_KAFKA_RESP_ERR__TRANSPORT:
	case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
	case RD_KAFKA_RESP_ERR__RESOLVE:
	case RD_KAFKA_RESP_ERR__SSL:
	case RD_KAFKA_RESP_ERR__BAD_MSG: /* it is no broker that answers there */
	case RD_KAFKA_RESP_ERR__TIMED_OUT:
	case RD_KAFKA_RESP_ERR__MSG_TIMED_OUT:
		return SONDE_KAFKA_CAUSE_UNREACHABLE;
	case RD_KAFKA_RESP_ERR__AUTHENTICATION:
	case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
	case RD_KAFKA_RESP_ERR_UNSUPPORTED_SASL_MECHANISM:
	case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
	case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
		return SONDE_KAFKA_CAUSE_DENIED;
	case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
	case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
	case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
	case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
		return SONDE_KAFKA_CAUSE_NO_TOPIC;
	case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
	case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE:
	case RD_KAFKA_RESP_ERR_INVALID_RECORD:
	case RD_KAFKA_RESP_ERR_POLICY_VIOLATION:
	case RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP:
	case RD_KAFKA_RESP_ERR_UNSUPPORTED_COMPRESSION_TYPE:
		return SONDE_KAFKA_CAUSE_REFUSED;
	case RD_KAFKA_RESP_ERR__FATAL:
		return SONDE_KAFKA_CAUSE_FATAL;
	case RD_KAFKA_RESP_ERR__PURGE_QUEUE:
	case RD_KAFKA_RESP_ERR__PURGE_INFLIGHT:
	case RD_KAFKA_RESP_ERR__DESTROY:
		return SONDE_KAFKA_CAUSE_ENDED;
	case RD_KAFKA_RESP_ERR__QUEUE_FULL:
		return SONDE_KAFKA_CAUSE_LIMIT;
	default:
		return SONDE_KAFKA_CAUSE_OTHER;
	}
}

/* What librdkafka remembers of a topic it goes on saying for minutes, also when it was mended: a new one asks anew. */
static bool ends_producer(enum sonde_kafka_cause c)
{
	return c == SONDE_KAFKA_CAUSE_FATAL || c == SONDE_KAFKA_CAUSE_DENIED ||
	       c == SONDE_KAFKA_CAUSE_NO_TOPIC;
}

static enum sonde_kafka_fate fate_of(const rd_kafka_message_t *m)
{
	switch (rd_kafka_message_status(m)) {
	case RD_KAFKA_MSG_STATUS_PERSISTED:
		return SONDE_KAFKA_STORED;
	case RD_KAFKA_MSG_STATUS_NOT_PERSISTED:
		return SONDE_KAFKA_NOT_STORED;
	default:
		return SONDE_KAFKA_UNKNOWN;
	}
}

static void free_send(struct sonde_kafka_send *s)
{
	if (s->at)
		*s->at = s->next;
	if (s->next)
		s->next->at = s->at;
	free(s->fates);
	free(s->records);
	free(s);
}

static void note_fate(struct sonde_kafka_send *s, size_t i, enum sonde_kafka_fate fate,
		      rd_kafka_resp_err_t error)
{
	s->fates[i] = fate;
	s->n_left--;
	s->result.n_stored += fate == SONDE_KAFKA_STORED;
	s->result.n_unknown += fate == SONDE_KAFKA_UNKNOWN;
	if (fate == SONDE_KAFKA_STORED || s->result.cause != SONDE_KAFKA_CAUSE_NONE)
		return;
	s->result.cause = cause_of(error);
	if (ends_producer(s->result.cause))
		s->kafka->failed = true;
	if (s->result.cause == SONDE_KAFKA_CAUSE_NONE)
		s->result.cause = SONDE_KAFKA_CAUSE_OTHER;
	(void)snprintf(s->result.words, sizeof(s->result.words), "%s", rd_kafka_err2str(error));
}

static void end_if_known(struct sonde_kafka_send *s)
{
	if (s->n_left > 0)
		return;
	if (s->fn)
		s->fn(s->ctx, &s->result);
	free_send(s);
}

static void on_delivered(const rd_kafka_message_t *m)
{
	const struct record *r = m->_private;
	struct sonde_kafka_send *s = r->send;

	note_fate(s, r->i, fate_of(m), m->err);
	end_if_known(s);
}

/* All that waits for a producer that is beyond help is told its fate. */
static void fail(struct sonde_kafka *k)
{
	k->failed = true;
	(void)rd_kafka_purge(k->producer, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT |
						  RD_KAFKA_PURGE_F_NON_BLOCKING);
}

static void on_error(struct sonde_kafka *k, rd_kafka_event_t *e)
{
	rd_kafka_resp_err_t error = rd_kafka_event_error(e);
	char words[SONDE_KAFKA_WORDS_MAX];

	(void)snprintf(words, sizeof(words), "%s", rd_kafka_event_error_string(e));
	if (error == RD_KAFKA_RESP_ERR__FATAL) {
		error = rd_kafka_fatal_error(k->producer, words, sizeof(words));
		fail(k);
		if (cause_of(error) != SONDE_KAFKA_CAUSE_DENIED)
			error = RD_KAFKA_RESP_ERR__FATAL;
	}
	if (k->config.on_trouble)
		k->config.on_trouble(k->config.ctx, cause_of(error), words);
}

static void take(struct sonde_kafka *k, rd_kafka_event_t *e)
{
	const rd_kafka_message_t *m;
	const char *facility, *words;
	int level;

	switch (rd_kafka_event_type(e)) {
	case RD_KAFKA_EVENT_DR:
		while ((m = rd_kafka_event_message_next(e)))
			on_delivered(m);
		break;
	case RD_KAFKA_EVENT_ERROR:
		on_error(k, e);
		break;
	case RD_KAFKA_EVENT_LOG: /* what an operator has to hear comes as an error too */
		if (rd_kafka_event_log(e, &facility, &words, &level) == 0)
			sonde_log_debug("kafka: %s: %s", facility, words);
		break;
	default:
		break;
	}
}

/* Return: whether there may be more. */
static bool take_some(struct sonde_kafka *k, int wait_ms)
{
	for (int i = 0; i < TURN_MAX; i++) {
		rd_kafka_event_t *e = rd_kafka_queue_poll(k->events, i == 0 ? wait_ms : 0);

		if (!e)
			return false;
		k->taking = true;
		take(k, e);
		k->taking = false;
		rd_kafka_event_destroy(e);
	}
	return true;
}

static void wake(struct sonde_kafka *k)
{
	const uint64_t one = 1;

	(void)!write(k->fd, &one, sizeof(one));
}

/* Sends of which librdkafka took no record at all. A handler may add to the list, or take from it. */
static void end_known(struct sonde_kafka *k)
{
	struct sonde_kafka_send *s = k->under_way;

	while (s) {
		if (s->n_left > 0) {
			s = s->next;
			continue;
		}
		end_if_known(s);
		s = k->under_way;
	}
}

static int on_ready(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct sonde_kafka *k = userdata;
	uint64_t n;

	(void)!read(fd, &n, sizeof(n));
	if (k->producer && take_some(k, 0))
		wake(k); /* librdkafka tells of the first event only */
	end_known(k);
	return 0;
}

/* --- a producer and its end --- */

static rd_kafka_conf_t *make_conf(const struct sonde_kafka_property *properties, size_t n,
				  char words[SONDE_KAFKA_WORDS_MAX])
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	char said[SONDE_KAFKA_WORDS_MAX] = "";

	for (size_t i = 0; i < n; i++) {
		const struct sonde_kafka_property *p = &properties[i];
		rd_kafka_conf_res_t r;

		r = rd_kafka_conf_set(conf, p->name, p->value, said, sizeof(said));
		if (r == RD_KAFKA_CONF_OK)
			continue;
		/* What librdkafka says has the value in it. */
		(void)snprintf(words, SONDE_KAFKA_WORDS_MAX, "%s: librdkafka %s", p->name,
			       r == RD_KAFKA_CONF_UNKNOWN ? "has no such property"
							  : "does not take the value");
		rd_kafka_conf_destroy(conf);
		return NULL;
	}
	return conf;
}

int sonde_kafka_check(const struct sonde_kafka_property *properties, size_t n,
		      char words[SONDE_KAFKA_WORDS_MAX])
{
	rd_kafka_conf_t *conf;

	assert(properties && words);

	conf = make_conf(properties, n, words);
	if (!conf)
		return -EINVAL;
	rd_kafka_conf_destroy(conf);
	return 0;
}

static int make_producer(struct sonde_kafka *k, char words[SONDE_KAFKA_WORDS_MAX])
{
	rd_kafka_conf_t *conf = rd_kafka_conf_dup(k->conf);
	const uint64_t one = 1;

	rd_kafka_conf_set_events(conf,
				 RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR | RD_KAFKA_EVENT_LOG);
	k->producer = rd_kafka_new(RD_KAFKA_PRODUCER, conf, words, SONDE_KAFKA_WORDS_MAX);
	if (!k->producer) {
		rd_kafka_conf_destroy(conf);
		return -EINVAL;
	}
	(void)rd_kafka_set_log_queue(k->producer, NULL); /* the main one; "log.queue" is set */
	k->events = rd_kafka_queue_get_main(k->producer);
	rd_kafka_queue_io_event_enable(k->events, k->fd, &one, sizeof(one));
	wake(k); /* for what came before */
	k->failed = false;
	return 0;
}

struct end {
	rd_kafka_t *producer;
	int done_fd; /* -1: nobody waits */
};

static void *end_thread(void *arg)
{
	struct end *e = arg;
	const uint64_t one = 1;

	rd_kafka_destroy(e->producer);
	if (e->done_fd >= 0) {
		(void)!write(e->done_fd, &one, sizeof(one));
		(void)close(e->done_fd);
	}
	free(e);
	return NULL;
}

/* Signals stay with the loop's thread, as for librdkafka's own. */
static int start_end(struct end *e)
{
	sigset_t all, old;
	pthread_t thread;
	int r;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&thread, NULL, end_thread, e);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r == 0)
		(void)pthread_detach(thread);
	return -r;
}

/* Joins its threads on one more: any of them may be in a look-up of a name. */
static void end_producer(struct sonde_kafka *k, int wait_ms)
{
	struct end *e = calloc(1, sizeof(*e));
	_cleanup_close_ int fd = -1;

	rd_kafka_queue_io_event_enable(k->events, -1, NULL, 0);
	rd_kafka_queue_destroy(k->events);
	k->events = NULL;
	if (!e) { /* left as it is */
		k->producer = NULL;
		return;
	}
	*e = (struct end){.producer = k->producer, .done_fd = -1};
	k->producer = NULL;
	if (wait_ms > 0)
		fd = eventfd(0, EFD_CLOEXEC);
	if (fd >= 0)
		e->done_fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (e->done_fd < 0)
		wait_ms = 0;
	if (start_end(e) < 0) {
		(void)end_thread(e);
		return;
	}
	if (wait_ms > 0) {
		struct pollfd p = {.fd = fd, .events = POLLIN};

		(void)!poll(&p, 1, wait_ms);
	}
}

int sonde_kafka_new(const struct sonde_kafka_config *config, char words[SONDE_KAFKA_WORDS_MAX],
		    struct sonde_kafka **ret)
{
	_cleanup_(sonde_kafka_freep) struct sonde_kafka *k = NULL;
	int r;

	assert(config && config->event && words && ret);

	words[0] = '\0';
	k = calloc(1, sizeof(*k));
	if (!k)
		return -ENOMEM;
	k->config = *config;
	k->config.properties = NULL;
	k->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (k->fd < 0)
		return -errno;
	k->conf = make_conf(config->properties, config->n_properties, words);
	if (!k->conf)
		return -EINVAL;
	r = sd_event_add_io(config->event, &k->source, k->fd, EPOLLIN, on_ready, k);
	if (r >= 0)
		r = make_producer(k, words);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(k);
	return 0;
}

struct sonde_kafka *sonde_kafka_free(struct sonde_kafka *k)
{
	if (!k)
		return NULL;
	if (k->producer)
		end_producer(k, END_WAIT_MS);
	while (k->under_way) /* what their records pointed at is gone with the queue */
		free_send(k->under_way);
	(void)sd_event_source_disable_unref(k->source);
	if (k->conf)
		rd_kafka_conf_destroy(k->conf);
	if (k->fd >= 0)
		(void)close(k->fd);
	free(k);
	return NULL;
}

/* --- sending --- */

static int new_send(struct sonde_kafka *k, const struct sonde_kafka_records *records,
		    struct sonde_kafka_send **ret)
{
	struct sonde_kafka_send *s;

	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->fates = calloc(records->n, sizeof(s->fates[0]));
	s->records = calloc(records->n, sizeof(s->records[0]));
	if (!s->fates || !s->records) {
		free_send(s);
		return -ENOMEM;
	}
	s->kafka = k;
	s->n_left = records->n;
	s->result.n = records->n;
	s->result.fates = s->fates;
	s->next = k->under_way;
	if (s->next)
		s->next->at = &s->next;
	s->at = &k->under_way;
	k->under_way = s;
	*ret = s;
	return 0;
}

static rd_kafka_resp_err_t produce(struct sonde_kafka *k, const struct sonde_kafka_records *records,
				   size_t i, struct record *r)
{
	const struct sonde_buf *value = &records->values[i];
	rd_kafka_headers_t *headers = NULL;
	rd_kafka_resp_err_t e;

	if (records->header) {
		headers = rd_kafka_headers_new(1);
		e = rd_kafka_header_add(headers, records->header, -1, records->header_value, -1);
		if (e)
			goto out;
	}
	e = rd_kafka_producev(k->producer, RD_KAFKA_V_TOPIC(records->topic),
			      RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
			      RD_KAFKA_V_KEY(records->key, strlen(records->key)),
			      RD_KAFKA_V_VALUE(value->data, value->len), RD_KAFKA_V_OPAQUE(r),
			      RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_END);
out:
	if (e && headers)
		rd_kafka_headers_destroy(headers);
	return e;
}

/* Return: 0 with a producer that works. */
static int ready(struct sonde_kafka *k)
{
	char words[SONDE_KAFKA_WORDS_MAX] = "";
	int r;

	if (k->ended)
		return -ESHUTDOWN;
	if (k->producer && !k->failed)
		return 0;
	if (k->under_way || k->taking)
		return -EBUSY;
	if (k->producer)
		end_producer(k, 0);
	r = make_producer(k, words);
	if (r < 0 && k->config.on_trouble)
		k->config.on_trouble(k->config.ctx, SONDE_KAFKA_CAUSE_LIMIT, words);
	return r < 0 ? -EBUSY : 0;
}

int sonde_kafka_send(struct sonde_kafka *k, const struct sonde_kafka_records *records,
		     sonde_kafka_sent_fn fn, void *ctx, struct sonde_kafka_send **ret)
{
	struct sonde_kafka_send *s = NULL;
	int r;

	assert(k && records && records->topic && records->key && fn && ret);

	if (records->n == 0 || records->n > SONDE_KAFKA_RECORDS_MAX)
		return records->n ? -E2BIG : -EINVAL;
	r = ready(k);
	if (r == 0)
		r = new_send(k, records, &s);
	if (r < 0)
		return r;
	s->fn = fn;
	s->ctx = ctx;
	for (size_t i = 0; i < records->n; i++) {
		rd_kafka_resp_err_t e;

		s->records[i] = (struct record){s, i};
		s->result.bytes += records->values[i].len;
		e = produce(k, records, i, &s->records[i]);
		if (e)
			note_fate(s, i, SONDE_KAFKA_NOT_STORED, e);
	}
	if (s->n_left == 0)
		wake(k);
	*ret = s;
	return 0;
}

void sonde_kafka_cancel(struct sonde_kafka_send *send)
{
	assert(send);

	send->fn = NULL;
}

void sonde_kafka_give_up(struct sonde_kafka *k)
{
	const uint64_t end_ns = sonde_mono_ns() + GIVE_UP_NS;

	assert(k);

	k->ended = true;
	if (!k->producer)
		return;
	fail(k);
	while (k->under_way && sonde_mono_ns() < end_ns) {
		(void)take_some(k, GIVE_UP_POLL_MS);
		end_known(k);
	}
}
