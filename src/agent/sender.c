/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/sender.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/log.h"
#include "export/spool.h"

#define RETRY_MIN_NS (250 * SONDE_NS_PER_MS)
#define RETRY_MAX_NS (15 * SONDE_NS_PER_S)
#define CONNECTED_MAX_NS SONDE_NS_PER_S
#define SAY_AGAIN_NS (60 * SONDE_NS_PER_S)
#define SETTLED_NS (10 * SONDE_NS_PER_S) /* without a failure: more than an alternation of both */
#define SLOW_PART 10			 /* of the deadline */
#define LOOKS_A_TURN 512		 /* of a spool that is opened: some ms */
#define SAY_LOST_MAX 8			 /* reports by name in a minute */

struct said {
	uint64_t count;
	uint64_t said_ns;
};

struct sonde_sender {
	struct sonde_sender_config config;
	struct sonde_delivery *delivery;
	struct sonde_grpc_client_call *call; /* on the wire; NULL: none */
	sd_event_source *retry;
	struct sonde_spool *opening; /* owned until the delivery takes it; NULL: none */
	sd_event_source *look;
	char spool_dir[4096];
	uint64_t sent_ns;
	struct said errors[_SONDE_SENDER_ERROR_MAX];
	bool ending;
	bool failing; /* until reports arrive, and go on doing so */
	uint64_t failed_ns;
	uint64_t longest_answer_ms;
	uint64_t told_dropped; /* of the spool, in the log */
	uint64_t lost_since_ns;
	unsigned lost_said; /* since then */
};

/* At once where it is new, else once a minute with how often. */
static void count(struct sonde_sender *s, enum sonde_sender_error e, const char *words)
{
	const struct sonde_sender_error_info *info = sonde_sender_error_info(e);
	struct said *said = &s->errors[e];
	const uint64_t now_ns = sonde_mono_ns();

	said->count++;
	if (said->said_ns && now_ns - said->said_ns < SAY_AGAIN_NS)
		return;
	(void)sonde_log_warn(0, "delivery: %s%s%s%s: %s (%s=%" PRIu64 ")", info->what,
			     words[0] ? " (" : "", words, words[0] ? ")" : "", info->advice,
			     info->name, said->count);
	said->said_ns = now_ns;
}

static void note_slow(struct sonde_sender *s, uint64_t took_ns)
{
	const uint64_t took_ms = took_ns / SONDE_NS_PER_MS;
	char words[64];

	if (took_ms > s->longest_answer_ms)
		s->longest_answer_ms = took_ms;
	if (took_ns < s->config.config->backend_deadline_ns / SLOW_PART)
		return;
	(void)snprintf(words, sizeof(words), "%" PRIu64 " ms", took_ms);
	count(s, SONDE_SENDER_SLOW, words);
}

static void note_trouble(void *ctx, enum sonde_sender_error error, const char *words)
{
	struct sonde_sender *s = ctx;

	s->failing = true;
	s->failed_ns = sonde_mono_ns();
	count(s, error, words);
}

/* Status and words; PERMISSION_DENIED of an OAP comes without any. */
static void note_failure(struct sonde_sender *s, const struct sonde_grpc_result *result)
{
	char words[sizeof(result->message) + 32];

	(void)snprintf(words, sizeof(words), "%s%s%s", sonde_grpc_status_name(result->status),
		       result->message[0] ? " " : "", result->message);
	note_trouble(s, sonde_sender_error_of(result), words);
}

static void note_success(struct sonde_sender *s)
{
	struct sonde_delivery_stats stats;

	if (!s->failing || sonde_mono_ns() - s->failed_ns < SETTLED_NS)
		return;
	s->failing = false;
	sonde_delivery_stats(s->delivery, &stats);
	sonde_log_info("delivery: reports arrive again; %" PRIu64 " (%" PRIu64
		       " bytes) wait on disk",
		       stats.spooled, stats.spooled_bytes);
	/* What comes next is news again. */
	for (size_t i = 0; i < _SONDE_SENDER_ERROR_MAX; i++) {
		if (i != SONDE_SENDER_SLOW)
			s->errors[i].said_ns = 0;
	}
}

static void on_sent(void *ctx, const struct sonde_grpc_result *result)
{
	struct sonde_sender *s = ctx;
	const struct sonde_delivery_result r = {
		.status = result->status,
		.not_processed = result->not_processed,
		.answered = result->cause == SONDE_GRPC_CAUSE_ANSWER,
		.bytes = result->bytes,
		.bytes_compressed = result->bytes_compressed,
		.encoding = result->encoding,
	};

	s->call = NULL;
	if (!s->delivery) /* being freed */
		return;
	if (result->status == SONDE_GRPC_OK) {
		note_slow(s, sonde_mono_ns() - s->sent_ns);
		note_success(s);
	} else {
		note_failure(s, result);
	}
	sonde_delivery_answer(s->delivery, &r);
	if (s->config.on_turn)
		s->config.on_turn(s->config.ctx);
}

static void on_produced(void *ctx, const struct sonde_kafka_link_result *result)
{
	struct sonde_sender *s = ctx;

	if (result->delivery.status == SONDE_GRPC_OK)
		note_success(s);
	else if (!s->ending)
		note_trouble(s, result->error, result->words);
	sonde_delivery_answer(s->delivery, &result->delivery);
	if (s->config.on_turn)
		s->config.on_turn(s->config.ctx);
}

/* What goes to Kafka has no TaskReport: it is made as for an OAP. */
static int produce_report(struct sonde_sender *s, const struct sonde_buf *messages, size_t n,
			  const char *report_id)
{
	int r;

	if (s->ending)
		return -ESHUTDOWN;
	r = sonde_kafka_link_send(s->config.kafka, messages, n, report_id, on_produced, s);
	if (r < 0 && r != -EBUSY)
		count(s, SONDE_SENDER_OWN_LIMIT, strerror(-r));
	return r;
}

static int send_report(void *ctx, struct sonde_delivery *d, const char *path,
		       const struct sonde_buf *messages, size_t n, const char *report_id)
{
	const struct sonde_grpc_metadata metadata = {"sonde-report-id", report_id};
	struct sonde_sender *s = ctx;
	int r;

	if (s->config.kafka)
		return produce_report(s, messages, n, report_id);
	s->sent_ns = sonde_mono_ns();
	r = sonde_grpc_client_call(s->config.client, path, messages, n, &metadata, 1,
				   s->sent_ns + s->config.config->backend_deadline_ns,
				   (struct sonde_grpc_client_handler){NULL, on_sent, s}, &s->call);
	if (r < 0 && r != -ESHUTDOWN)
		count(s, SONDE_SENDER_OWN_LIMIT, strerror(-r));
	return r;
}

static enum sonde_delivery_backend backend(void *ctx)
{
	const struct sonde_sender *s = ctx;

	if (s->config.kafka) /* behind it is an OAP */
		return SONDE_DELIVERY_ADDS;
	if (sonde_grpc_client_has_extension(s->config.client))
		return SONDE_DELIVERY_DEDUPLICATES;
	return sonde_grpc_client_heard(s->config.client) ? SONDE_DELIVERY_ADDS
							 : SONDE_DELIVERY_UNHEARD;
}

/* A few by name, and how many they are: a backend or a spool that is full makes thousands. */
static void say_lost(struct sonde_sender *s, const struct sonde_report *report, const char *word)
{
	const uint64_t now_ns = sonde_mono_ns();
	struct sonde_delivery_stats stats;

	if (now_ns - s->lost_since_ns >= SAY_AGAIN_NS) {
		s->lost_since_ns = now_ns;
		s->lost_said = 0;
	}
	if (s->lost_said++ >= SAY_LOST_MAX)
		return;
	sonde_delivery_stats(s->delivery, &stats);
	(void)sonde_log_warn(0, "report %s %s (dropped=%" PRIu64 " unknown=%" PRIu64 ")%s",
			     report->id, word, stats.dropped, stats.unknown,
			     s->lost_said < SAY_LOST_MAX ? "" : "; no more by name for a minute");
}

static void outcome(void *ctx, const struct sonde_report *report,
		    enum sonde_delivery_outcome outcome)
{
	static const char *const words[] = {
		[SONDE_DELIVERY_DONE] = "delivered",
		[SONDE_DELIVERY_DROPPED] = "dropped",
		[SONDE_DELIVERY_UNKNOWN] = "may not have arrived",
	};
	struct sonde_sender *s = ctx;

	sonde_log_debug("report %s %s", report->id, words[outcome]);
	if (outcome != SONDE_DELIVERY_DONE)
		say_lost(s, report, words[outcome]);
	s->config.on_outcome(s->config.ctx, report, outcome);
}

static void retry_in(void *ctx, uint64_t delay_ns)
{
	struct sonde_sender *s = ctx;
	uint32_t salt = 0;

	/* A quarter more or less: many agents lost the same server. */
	if (getrandom(&salt, sizeof(salt), GRND_NONBLOCK) == (ssize_t)sizeof(salt))
		delay_ns += delay_ns / 4 * (salt % 1000) / 500 - delay_ns / 4;
	(void)sd_event_source_set_time_relative(s->retry, delay_ns / SONDE_NS_PER_US);
	(void)sd_event_source_set_enabled(s->retry, SD_EVENT_ONESHOT);
}

static int on_retry(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct sonde_sender *s = userdata;

	sonde_delivery_kick(s->delivery);
	if (s->config.on_turn)
		s->config.on_turn(s->config.ctx);
	return 0;
}

/* --- the spool --- */

static void spool_state(void *ctx, int error)
{
	const struct sonde_sender *s = ctx;
	const char *hint = "look at the error";

	if (error == 0) {
		sonde_log_info("spool: '%s' takes reports again", s->spool_dir);
		return;
	}
	if (error == -ENOSPC || error == -EDQUOT)
		hint = "there is no room on the disk, make some";
	else if (error == -EROFS)
		hint = "the file system has become read-only, mount it anew";
	(void)sonde_log_warn(error,
			     "spool: cannot write to '%s': %s; reports stay in memory, bounded by "
			     "report.queue_*",
			     s->spool_dir, hint);
}

/* Which they are is told by outcome(). */
static void on_drop(void *ctx, const struct sonde_spool_meta *meta, enum sonde_spool_drop why)
{
	struct sonde_sender *s = ctx;

	if (s->told_dropped++ % 1000 == 0) {
		(void)sonde_log_warn(
			0,
			"spool: '%s' is at %s: the oldest reports are dropped, from %s "
			"on (%" PRIu64 " so far)",
			s->spool_dir,
			why == SONDE_SPOOL_DROP_AGE ? "spool.max_age" : "spool.max_bytes", meta->id,
			s->told_dropped);
	}
	sonde_delivery_spool_dropped(s->delivery, meta);
}

static void on_words(void *ctx, const char *words)
{
	(void)sonde_log_warn(0, "spool: %s", words);
}

static void say_spooled(const struct sonde_sender *s)
{
	struct sonde_spool_stats stats;

	sonde_spool_stats(s->opening, &stats);
	if (stats.records)
		sonde_log_info("spool: %" PRIu64 " reports (%" PRIu64
			       " bytes) of an earlier run wait in '%s'",
			       stats.records, stats.bytes, s->spool_dir);
}

/* At @max records more of what an earlier run left. */
static void open_more(struct sonde_sender *s, size_t max)
{
	char words[SONDE_SPOOL_WORDS_MAX];
	int r = sonde_spool_look(s->opening, max, words);

	if (r > 0)
		return;
	s->look = sd_event_source_disable_unref(s->look);
	if (r == 0) {
		say_spooled(s);
	} else {
		(void)sonde_log_warn(r, "%s; reports that cannot be delivered stay in memory",
				     words);
		s->opening = sonde_spool_free(s->opening);
	}
	sonde_delivery_set_spool(s->delivery, TAKE_PTR(s->opening));
}

static int on_look(sd_event_source *source, void *userdata)
{
	struct sonde_sender *s = userdata;

	open_more(s, LOOKS_A_TURN);
	return 0;
}

/* A large one is looked at in parts: the loop has other things to do meanwhile, but sending. */
static int open_spool(struct sonde_sender *s)
{
	const struct sonde_agent_config *c = s->config.config;
	const struct sonde_spool_config config = {
		.dir = s->spool_dir,
		.max_bytes = c->spool_max_bytes,
		.max_age_ms = c->spool_max_age_ns / SONDE_NS_PER_MS,
		.fsync = (enum sonde_spool_fsync)c->spool_fsync,
	};
	const struct sonde_spool_handler handler = {on_drop, on_words, s};
	char words[SONDE_SPOOL_WORDS_MAX];
	int r;

	r = sonde_spool_begin(&config, &handler, words, &s->opening);
	if (r < 0)
		return sonde_log_warn(r, "%s; reports that cannot be delivered stay in memory",
				      words);
	sonde_delivery_await_spool(s->delivery);
	open_more(s, LOOKS_A_TURN);
	if (!s->opening)
		return 0;
	r = sd_event_add_defer(s->config.event, &s->look, on_look, s);
	if (r >= 0)
		r = sd_event_source_set_priority(s->look, SD_EVENT_PRIORITY_IDLE);
	if (r >= 0)
		r = sd_event_source_set_enabled(s->look, SD_EVENT_ON);
	if (r < 0) /* then all of it now */
		open_more(s, SIZE_MAX);
	return 0;
}

/* Reports of this run are to go to it. */
static void end_opening(struct sonde_sender *s)
{
	struct sonde_delivery_stats stats;

	if (!s->opening)
		return;
	sonde_delivery_stats(s->delivery, &stats);
	if (stats.waiting > 0)
		open_more(s, SIZE_MAX);
	s->opening = sonde_spool_free(s->opening);
	s->look = sd_event_source_disable_unref(s->look);
}

/* Without a state folder of its own, or with spool.max_bytes 0, the agent keeps reports in memory alone. */
static void set_up_spool(struct sonde_sender *s)
{
	const struct sonde_agent_config *c = s->config.config;
	int n;

	if (c->spool_max_bytes == 0)
		return;
	if (c->spool_dir[0]) {
		n = snprintf(s->spool_dir, sizeof(s->spool_dir), "%s", c->spool_dir);
	} else {
		if (!s->config.state_dir) {
			sonde_log_info(
				"there is no state folder (see --state-dir) and no "
				"spool.dir: reports that cannot be delivered stay in memory");
			return;
		}
		n = snprintf(s->spool_dir, sizeof(s->spool_dir), "%s/spool", s->config.state_dir);
	}
	if (n < 0 || (size_t)n >= sizeof(s->spool_dir))
		(void)sonde_log_warn(-ENAMETOOLONG, "spool: reports stay in memory");
	else
		(void)open_spool(s);
}

/* --- life --- */

int sonde_sender_new(const struct sonde_sender_config *config, struct sonde_sender **ret)
{
	_cleanup_(sonde_sender_freep) struct sonde_sender *s = NULL;
	struct sonde_delivery_sink sink = {
		.send = send_report,
		.backend = backend,
		.outcome = outcome,
		.spool_state = spool_state,
		.retry_in = retry_in,
	};
	struct sonde_delivery_config delivery;
	const struct sonde_agent_config *c;
	int r;

	assert(config && config->client && config->config && config->on_outcome && ret);

	c = config->config;
	delivery = (struct sonde_delivery_config){
		.max_reports = c->queue_reports,
		.max_bytes = c->queue_bytes,
		.retry_min_ns = RETRY_MIN_NS,
		.retry_max_ns = RETRY_MAX_NS,
		.spool_after_ns = c->spool_after_ns,
		.resend_unknown = c->on_unknown == SONDE_AGENT_ON_UNKNOWN_RESEND,
	};
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->config = *config;
	sink.ctx = s;
	r = sd_event_add_time_relative(config->event, &s->retry, CLOCK_MONOTONIC,
				       RETRY_MAX_NS / SONDE_NS_PER_US, 0, on_retry, s);
	if (r < 0)
		return r;
	(void)sd_event_source_set_enabled(s->retry, SD_EVENT_OFF);
	r = sonde_delivery_new(&delivery, sink, &s->delivery);
	if (r < 0)
		return r;
	if (s->config.kafka)
		sonde_kafka_link_on_trouble(s->config.kafka, note_trouble, s);
	set_up_spool(s);
	*ret = TAKE_PTR(s);
	return 0;
}

struct sonde_sender *sonde_sender_free(struct sonde_sender *s)
{
	struct sonde_delivery *d;

	if (!s)
		return NULL;
	s->ending = true;
	s->config.on_turn = NULL;
	if (s->config.kafka) { /* the fate of what is under way decides how it is spooled */
		sonde_kafka_link_on_trouble(s->config.kafka, NULL, NULL);
		if (s->delivery)
			sonde_kafka_link_give_up(s->config.kafka);
	}
	end_opening(s);
	d = s->delivery;
	(void)sonde_delivery_free(d);
	s->delivery = NULL;
	if (s->call)
		sonde_grpc_client_cancel(s->call);
	(void)sd_event_source_disable_unref(s->retry);
	free(s);
	return NULL;
}

void sonde_sender_connected(struct sonde_sender *s)
{
	int enabled = SD_EVENT_OFF;
	uint32_t salt = 0;

	assert(s);
	(void)sd_event_source_get_enabled(s->retry, &enabled);
	if (enabled == SD_EVENT_OFF)
		return;
	(void)!getrandom(&salt, sizeof(salt), GRND_NONBLOCK);
	(void)sd_event_source_set_time_relative(s->retry,
						salt % (CONNECTED_MAX_NS / SONDE_NS_PER_US));
}

struct sonde_delivery *sonde_sender_delivery(struct sonde_sender *s)
{
	assert(s);

	return s->delivery;
}

void sonde_sender_stats(const struct sonde_sender *s, struct sonde_sender_stats *ret)
{
	assert(s && ret);

	*ret = (struct sonde_sender_stats){.longest_answer_ms = s->longest_answer_ms};
	sonde_delivery_stats(s->delivery, &ret->delivery);
	for (size_t i = 0; i < _SONDE_SENDER_ERROR_MAX; i++)
		ret->errors[i] = s->errors[i].count;
}

void sonde_sender_words(const struct sonde_sender *s, char ret[SONDE_SENDER_WORDS_MAX])
{
	struct sonde_sender_stats stats;
	size_t n;

	sonde_sender_stats(s, &stats);
	(void)snprintf(ret, SONDE_SENDER_WORDS_MAX,
		       "delivered=%" PRIu64 " dropped=%" PRIu64 " unknown=%" PRIu64
		       " spooled=%" PRIu64,
		       stats.delivery.delivered, stats.delivery.dropped, stats.delivery.unknown,
		       stats.delivery.spooled);
	for (unsigned i = 0; i < _SONDE_SENDER_ERROR_MAX; i++) {
		if (!stats.errors[i])
			continue;
		n = strlen(ret);
		(void)snprintf(ret + n, SONDE_SENDER_WORDS_MAX - n, " %s=%" PRIu64,
			       sonde_sender_error_info(i)->name, stats.errors[i]);
	}
}
