/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/ingest/ingest.h"
#include "backend/bundle/bundle-store.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "backend/ingest/entity.h"
#include "backend/ingest/meters.h"
#include "backend/ingest/rules.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/num.h"
#include "io/encoding.h"

#define ARENA_BYTES_MAX (256UL << 20)
#define FRAMES_BYTES_MAX (64UL << 20) /* of one report, when it is read back */
#define PASS_EVERY_MS 30000	      /* a checkpoint begins at most so often ... */
#define PASS_BYTES (8UL << 20)	      /* ... unless so many bytes of reports wait for it */
#define SLICE_BUCKETS 2000
#define AHEAD_MAX_MS (24LL * 3600 * 1000)

enum report_kind {
	REPORT_METERS = 1, /* zstd over frames */
	REPORT_BUNDLE = 2, /* as it came */
};

struct sonde_ingest {
	struct sonde_ingest_config config;
	struct sonde_rule_set rules;
	struct sonde_mal_batch *batch;
	struct sonde_arena arena;
	struct sonde_ingest_stats stats;
	int64_t serial; /* of the last report */
	/* the checkpoint */
	bool in_pass;
	int64_t pass_began_ms, pass_serial;
	uint64_t pass_failed_writes;
	size_t waiting_bytes; /* of reports since the last pass began */
	int64_t covered_serial;
	/* of the report being applied */
	struct sonde_task *task;
	struct sonde_series_set *set;
	int64_t now_ms, applying;
	uint64_t warned_ms;
};

int sonde_report_id_parse(const char *text, struct sonde_report_id *ret)
{
	const char *slash = strchr(text, '/'), *slash2 = slash ? strchr(slash + 1, '/') : NULL;
	struct sonde_report_id id = {0};
	char number[24];
	size_t n;

	if (!slash2 || slash == text || (size_t)(slash - text) >= sizeof(id.task) ||
	    (size_t)(slash2 - slash - 1) >= sizeof(number))
		return -EINVAL;
	memcpy(id.task, text, (size_t)(slash - text));
	memcpy(number, slash + 1, (size_t)(slash2 - slash - 1));
	number[slash2 - slash - 1] = '\0';
	if (sonde_parse_u64(number, 0, INT64_MAX, &id.sequence) < 0)
		return -EINVAL;
	n = strlen(slash2 + 1);
	if (n == 0 || n >= sizeof(id.hash) ||
	    strspn(slash2 + 1,
		   "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_.-") != n)
		return -EINVAL;
	memcpy(id.hash, slash2 + 1, n + 1);
	*ret = id;
	return 0;
}

/* --- rules --- */

static int virtual_process(void *ctx, enum sonde_mal_virtual kind, const char *service,
			   const char *instance, const char *what,
			   char ret[static SONDE_MAL_PROCESS_ID_SIZE])
{
	const char *name = kind == SONDE_MAL_VIRTUAL_LOCAL    ? SONDE_MAL_UNKNOWN_LOCAL
			   : kind == SONDE_MAL_VIRTUAL_REMOTE ? SONDE_MAL_UNKNOWN_REMOTE
							      : what;
	bool other = kind != SONDE_MAL_VIRTUAL_NAMED || (what && strcmp(what, "other") == 0);
	struct sonde_ingest *in = ctx;
	int r;

	if (!name || (kind == SONDE_MAL_VIRTUAL_REMOTE && !what))
		return -EINVAL;
	r = sonde_mal_process_id(name, service, instance, ret);
	if (r == 0)
		sonde_registry_note_entity(in->config.registry, ret,
					   other ? SONDE_ENTITY_OTHER : SONDE_ENTITY_ADDRESS,
					   service, instance, name, in->now_ms);
	return r;
}

static int on_emit(void *ctx, const struct sonde_mal_emission *e)
{
	char entity[SONDE_ENTITY_KEY_MAX];
	struct sonde_ingest *in = ctx;
	int64_t ts_ms = e->ts_ms;
	int r;

	/* The agent's clock, but not one that would open buckets in another age. */
	if (ts_ms <= 0 || ts_ms > in->now_ms + AHEAD_MAX_MS)
		ts_ms = in->now_ms;
	r = sonde_entity_key(e->entity, entity);
	if (r == 0)
		r = sonde_series_add(in->config.series, in->set, e->rule->metric, entity,
				     &e->rule->function, ts_ms, e->points, e->n_points,
				     in->applying);
	in->stats.emissions++;
	if (r < 0) {
		in->stats.emissions_refused++;
		if (in->task)
			in->task->series_refused++;
	}
	return 0; /* one entity too many does not take the rule's others with it */
}

static void on_failed(void *ctx, const struct sonde_mal_rule *rule, const char *message)
{
	struct sonde_ingest *in = ctx;
	uint64_t now_ms = sonde_mono_ns() / SONDE_NS_PER_MS;

	in->stats.rules_failed++;
	if (in->task)
		in->task->rules_failed++;
	if (now_ms - in->warned_ms < 10000 && in->warned_ms)
		return; /* what a packet can cause is not logged for each packet */
	in->warned_ms = now_ms;
	(void)sonde_log_warn(0, "rule %s failed: %s, ignoring", rule->metric, message);
}

static int get_engine(struct sonde_ingest *in, struct sonde_series_set *set,
		      struct sonde_mal_engine **ret)
{
	const struct sonde_mal_host host = {.virtual_process = virtual_process, .ctx = in};
	int r;

	/* One a task: a counter window must not see another task's view of the same counter. */
	if (!set->engine) {
		struct sonde_mal_engine *engine;

		r = sonde_mal_engine_new(&host, &engine);
		if (r < 0)
			return r;
		sonde_mal_engine_set_strict(engine, in->config.strict);
		set->engine = engine;
	}
	*ret = set->engine;
	return 0;
}

static int run_rules(struct sonde_ingest *in, struct sonde_series_set *set)
{
	const struct sonde_mal_sink sink = {.emit = on_emit, .failed = on_failed, .ctx = in};
	struct sonde_mal_engine *engine;
	int r;

	r = get_engine(in, set, &engine);
	for (size_t i = 0; i < in->rules.n && r == 0; i++)
		if (in->rules.v[i].rules)
			r = sonde_mal_engine_run(engine, in->rules.v[i].rules, in->batch,
						 SONDE_MAL_MILLISECONDS, &sink, NULL);
	return r;
}

/* --- reports --- */

static void refuse_collection(struct sonde_ingest *in, int error,
			      const struct sonde_mal_refusal *why)
{
	in->stats.collections_refused++;
	if (in->task)
		in->task->series_refused++;
	sonde_log_debug("a meter collection is refused: %s (%d)", why->reason, error);
}

/* What OAP does with a bad collection: it is dropped whole and counted, the others go on. */
static void apply(struct sonde_ingest *in, const struct sonde_meters *d,
		  struct sonde_series_set *set, struct sonde_task *task, int64_t serial,
		  int64_t now_ms)
{
	uint64_t began = sonde_mono_ns();

	in->task = task;
	in->set = set;
	in->now_ms = now_ms;
	in->applying = serial;
	for (size_t i = 0; i < d->n; i++) {
		struct sonde_mal_refusal why = {.reason = "out of memory"};
		int r;

		in->stats.collections++;
		r = sonde_meters_fill(&in->arena, in->batch, d->collection[i], &why);
		if (r == 0) {
			in->stats.samples += sonde_mal_batch_count(in->batch);
			r = run_rules(in, set);
		}
		if (r < 0)
			refuse_collection(in, r, &why);
	}
	in->task = NULL;
	in->set = NULL;
	in->stats.run_ns += sonde_mono_ns() - began;
}

struct pending {
	struct sonde_ingest *ingest;
	sonde_ingest_done_fn done;
	void *ctx;
	char task[SONDE_TASK_ID_MAX];
	char key[SONDE_SERIES_REPORT_KEY_MAX]; /* "" for a report without a name */
};

static void on_stored(void *ctx, int error)
{
	_cleanup_free_ struct pending *p = ctx;
	struct sonde_series_set *set;
	struct sonde_series_seen *seen;

	/* Sent twice while the first was on its way to the disk: the writer keeps the order, so it is there. */
	if (error == -EEXIST && p->key[0] != '\0')
		error = 0;
	if (error < 0) {
		if (!sonde_store_has_told(error))
			(void)sonde_log_warn(error, "cannot store a report of task %s", p->task);
		p->done(p->ctx, SONDE_GRPC_UNAVAILABLE,
			"the report could not be stored, send it again");
		return;
	}
	/* A set that has left memory finds the report among the stored ones when it comes back. */
	set = p->key[0] != '\0' ? sonde_series_table_find(p->ingest->config.series, p->task) : NULL;
	seen = set ? sonde_series_set_find_seen(set, p->key) : NULL;
	if (seen)
		seen->stored = true;
	p->done(p->ctx, SONDE_GRPC_OK, NULL);
}

static int store_report(struct sonde_ingest *in, const struct sonde_report_id *id,
			const struct sonde_buf *frames, int64_t now_ms, struct pending **p)
{
	_cleanup_(sonde_store_job_freep) struct sonde_store_job *job = sonde_store_job_new();
	_cleanup_buf_ struct sonde_buf packed =
		SONDE_BUF_INIT(frames->len + frames->len / 8 + 1024);
	int r;

	if (!job)
		return -ENOMEM;
	r = sonde_encode(SONDE_ENCODING_ZSTD, frames->data, frames->len, &packed);
	if (r == 0)
		r = sonde_store_job_add(job, SONDE_STORE_PUT_REPORT, "ititiib", in->serial + 1,
					(*p)->task, id ? (int64_t)id->sequence : in->serial + 1,
					id ? id->hash : "", now_ms, (int64_t)REPORT_METERS,
					(const void *)packed.data, packed.len);
	if (r == 0)
		r = sonde_store_submit(in->config.store, &job, on_stored, *p);
	if (r < 0)
		return r;
	*p = NULL;
	in->serial++;
	in->waiting_bytes += packed.len;
	return 0;
}

struct answer {
	enum sonde_grpc_status status;
	const char *message;
};

static struct answer answer_for(int error)
{
	switch (error) {
	case -EBADMSG:
		return (struct answer){SONDE_GRPC_INVALID_ARGUMENT, "not a MeterDataCollection"};
	case -E2BIG:
		return (struct answer){SONDE_GRPC_RESOURCE_EXHAUSTED,
				       "the report unpacks into too much"};
	case -ENOBUFS:
		return (struct answer){SONDE_GRPC_UNAVAILABLE, "the server is busy, send it again"};
	case -ENOSPC:
		return (struct answer){SONDE_GRPC_UNAVAILABLE, SONDE_STORE_FULL_WORDS};
	case -EUCLEAN:
		return (struct answer){SONDE_GRPC_UNAVAILABLE, SONDE_STORE_DAMAGED_WORDS};
	default:
		return (struct answer){SONDE_GRPC_INTERNAL, "out of memory or database error"};
	}
}

/* Return: 0 when @done will run or has run, else what to answer. */
static int take_report(struct sonde_ingest *in, const struct sonde_report_id *id,
		       struct sonde_task *task, const struct sonde_buf *frames, int64_t now_ms,
		       sonde_ingest_done_fn done, void *ctx)
{
	_cleanup_free_ struct pending *p = calloc(1, sizeof(*p));
	struct sonde_series_seen *seen = NULL;
	struct sonde_series_set *set = NULL;
	struct sonde_meters decoded = {0};
	bool known = false;
	int r;

	if (!p)
		return -ENOMEM;
	*p = (struct pending){.ingest = in, .done = done, .ctx = ctx};
	memcpy(p->task, id ? id->task : SONDE_INGEST_NO_TASK,
	       id ? sizeof(id->task) : sizeof(SONDE_INGEST_NO_TASK));
	if (id)
		(void)snprintf(p->key, sizeof(p->key), "%" PRIu64 "/%s", id->sequence, id->hash);
	r = sonde_meters_decode(&in->arena, frames->data, frames->len, &decoded);
	if (r == 0)
		r = sonde_series_table_get(in->config.series, p->task, now_ms, &set);
	if (r < 0)
		return r;
	assert(set);
	if (id) {
		seen = sonde_series_set_find_seen(set, p->key);
		known = seen != NULL;
	}
	if (known) {
		in->stats.duplicates++;
		if (task)
			task->batch_duplicates++;
		if (seen->stored) {
			done(ctx, SONDE_GRPC_OK, NULL);
			return 0;
		}
	} else if (id) {
		r = sonde_series_set_add_seen(set, p->key, &seen);
		if (r < 0)
			return r;
	}
	r = store_report(in, id, frames, now_ms, &p);
	if (r < 0) {
		if (!known && seen)
			sonde_series_set_remove_seen(set, seen);
		return r;
	}
	/* One that was applied before but not stored then is not applied again. */
	if (known)
		return 0;
	in->stats.reports++;
	if (task)
		task->batches++;
	apply(in, &decoded, set, task, in->serial, now_ms);
	return 0;
}

void sonde_ingest_report(struct sonde_ingest *in, const struct sonde_report_id *id,
			 struct sonde_task *task, const struct sonde_buf *frames, int64_t now_ms,
			 sonde_ingest_done_fn done, void *ctx)
{
	struct answer answer;
	int r;

	if (frames->len == 0) { /* a stream without a message: nothing to know it by */
		done(ctx, SONDE_GRPC_OK, NULL);
		return;
	}
	/* Before anything is done with it: one without a name would be applied again each time that it comes. */
	r = sonde_store_check_room(in->config.store);
	in->stats.refused_no_room += r < 0;
	if (r == 0)
		r = take_report(in, id, task, frames, now_ms, done, ctx);
	if (r < 0) {
		in->stats.refused++;
		answer = answer_for(r);
		done(ctx, answer.status, answer.message);
	}
}

/* --- bundles --- */

int64_t sonde_ingest_next_serial(const struct sonde_ingest *in)
{
	return in->serial + 1;
}

int sonde_ingest_store_bundle(struct sonde_ingest *in, struct sonde_store_job *job,
			      const char *task, const void *data, size_t n, int64_t now_ms)
{
	return sonde_store_job_add(job, SONDE_STORE_PUT_REPORT, "ititiib", in->serial + 1, task,
				   in->serial + 1, "", now_ms, (int64_t)REPORT_BUNDLE, data, n);
}

void sonde_ingest_took_bundle(struct sonde_ingest *in, size_t n)
{
	in->serial++;
	in->waiting_bytes += n;
}

/* --- replay --- */

struct replay {
	struct sonde_ingest *ingest;
	struct sonde_task_table *tasks;
	int64_t now_ms;
	uint64_t n;
};

static int replay_row(void *ctx, const struct sonde_store_row *row)
{
	_cleanup_buf_ struct sonde_buf frames = SONDE_BUF_INIT(FRAMES_BYTES_MAX);
	const char *task_id = sonde_store_row_text(row, 1);
	struct replay *rp = ctx;
	struct sonde_ingest *in = rp->ingest;
	struct sonde_task *task = sonde_task_table_find(rp->tasks, task_id);
	struct sonde_series_set *set = NULL;
	struct sonde_meters decoded = {0};
	const void *data;
	size_t n;
	int r;

	data = sonde_store_row_blob(row, 6, &n);
	if (sonde_store_row_int(row, 5) == REPORT_BUNDLE) {
		r = sonde_bundle_replay(in->config.series, in->config.registry, task_id, data, n,
					sonde_store_row_int(row, 0), rp->now_ms);
		if (r < 0)
			(void)sonde_log_warn(r, "the bundle of task %s is damaged, ignoring",
					     task_id);
		rp->n++;
		return r == -ENOMEM ? r : 0;
	}
	if (sonde_store_row_int(row, 5) != REPORT_METERS || strlen(task_id) >= SONDE_TASK_ID_MAX)
		return 0;
	if (!task && strcmp(task_id, SONDE_INGEST_NO_TASK) != 0)
		return 0; /* forgotten, and its reports are being deleted */
	r = sonde_decode(SONDE_ENCODING_ZSTD, data, n, &frames);
	if (r == 0)
		r = sonde_meters_decode(&in->arena, frames.data, frames.len, &decoded);
	if (r == 0)
		r = sonde_series_table_get(in->config.series, task_id, rp->now_ms, &set);
	if (r < 0) {
		(void)sonde_log_warn(r, "a stored report of task %s is damaged, ignoring", task_id);
		return r == -ENOMEM ? r : 0;
	}
	assert(set);
	apply(in, &decoded, set, task, sonde_store_row_int(row, 0), sonde_store_row_int(row, 4));
	rp->n++;
	return 0;
}

int sonde_ingest_replay(struct sonde_ingest *in, struct sonde_task_table *tasks, int64_t now_ms)
{
	struct replay rp = {.ingest = in, .tasks = tasks, .now_ms = now_ms};
	int r;

	r = sonde_store_query(in->config.store, SONDE_STORE_GET_PENDING, NULL, replay_row, &rp);
	if (r == 0 && rp.n > 0) {
		sonde_log_info("%" PRIu64 " stored reports applied again", rp.n);
		in->waiting_bytes = PASS_BYTES; /* they are due */
	}
	return r;
}

/* --- checkpoint --- */

static void begin_pass(struct sonde_ingest *in, int64_t now_ms)
{
	in->in_pass = true;
	in->pass_began_ms = now_ms;
	in->pass_serial = in->serial;
	in->pass_failed_writes = sonde_series_failed_writes(in->config.series);
	in->waiting_bytes = 0;
	sonde_series_checkpoint_begin(in->config.series);
}

static void end_pass(struct sonde_ingest *in)
{
	_cleanup_(sonde_store_job_freep) struct sonde_store_job *job = NULL;
	int r;

	in->in_pass = false;
	if (sonde_series_failed_writes(in->config.series) != in->pass_failed_writes) {
		/* All is dirty again: there is something to write, also if no report comes any more. */
		in->waiting_bytes += in->waiting_bytes == 0;
		return;
	}
	if (in->pass_serial <= in->covered_serial)
		return;
	job = sonde_store_job_new();
	r = job ? sonde_store_job_add(job, SONDE_STORE_CLEAR_REPORTS, "i", in->pass_serial)
		: -ENOMEM;
	if (r == 0)
		r = sonde_store_submit(in->config.store, &job, NULL, NULL);
	if (r == 0)
		in->covered_serial = in->pass_serial;
}

bool sonde_ingest_tick(struct sonde_ingest *in, int64_t now_ms, bool all)
{
	bool due = in->waiting_bytes > 0 &&
		   (in->waiting_bytes >= PASS_BYTES || now_ms - in->pass_began_ms >= PASS_EVERY_MS);
	int r;

	if (!in->in_pass && !due && !all)
		return false;
	if (!in->in_pass)
		begin_pass(in, now_ms);
	do {
		r = sonde_series_checkpoint(in->config.series, SLICE_BUCKETS);
		if (r == -ENOBUFS && all)
			sonde_store_flush(in->config.store);
	} while (all && (r > 0 || r == -ENOBUFS));
	if (r == 0)
		end_pass(in);
	else if (r < 0 && r != -ENOBUFS)
		(void)sonde_log_warn(r, "cannot write series, will try again");
	return in->in_pass;
}

/* --- life --- */

static int read_serial(void *ctx, const struct sonde_store_row *row)
{
	struct sonde_ingest *in = ctx;

	in->serial = sonde_store_row_int(row, 0);
	return 0;
}

static void count_rules(struct sonde_ingest *in)
{
	in->stats.rule_files = in->rules.n;
	in->stats.rules = in->rules.rules;
	in->stats.rules_bad = in->rules.bad;
}

int sonde_ingest_new(const struct sonde_ingest_config *config, struct sonde_ingest **ret)
{
	_cleanup_(sonde_ingest_freep) struct sonde_ingest *in = calloc(1, sizeof(*in));
	int r;

	if (!in)
		return -ENOMEM;
	in->config = *config;
	sonde_arena_init(&in->arena, ARENA_BYTES_MAX);
	r = sonde_rule_set_load(config->rules_dir, &in->rules);
	if (r == 0)
		r = sonde_mal_batch_new(&in->batch);
	if (r == 0)
		r = sonde_store_query(config->store, SONDE_STORE_GET_SERIAL, NULL, read_serial, in);
	if (r < 0)
		return r;
	count_rules(in);
	*ret = TAKE_PTR(in);
	return 0;
}

/* The engines, one a task, stay: what they remember of a series is keyed by its name and labels, not by a rule. */
int sonde_ingest_reload_rules(struct sonde_ingest *in)
{
	struct sonde_rule_change change;
	int r;

	assert(!in->set); /* no rule is running */

	r = sonde_rule_set_reload(&in->rules, in->config.rules_dir, &change);
	in->stats.rule_reloads++;
	if (r < 0) {
		in->stats.rule_reloads_failed++;
		return sonde_log_err(r, "cannot read the rules of %s again, the old ones stay",
				     in->config.rules_dir);
	}
	count_rules(in);
	in->stats.rule_reloads_failed += change.refused > 0;
	sonde_log_info("rules read again: %zu files taken, %zu refused, %zu removed; %zu rules of "
		       "%zu files in force",
		       change.taken, change.refused, change.removed, in->stats.rules,
		       in->stats.rule_files);
	return 0;
}

const struct sonde_rule_set *sonde_ingest_rules(const struct sonde_ingest *in)
{
	return &in->rules;
}

struct sonde_ingest *sonde_ingest_free(struct sonde_ingest *in)
{
	if (!in)
		return NULL;
	(void)sonde_mal_batch_free(in->batch);
	sonde_rule_set_done(&in->rules);
	sonde_arena_done(&in->arena);
	free(in);
	return NULL;
}

void sonde_ingest_drop_engine(void *engine)
{
	(void)sonde_mal_engine_free(engine);
}

void sonde_ingest_get_stats(const struct sonde_ingest *in, struct sonde_ingest_stats *ret)
{
	*ret = in->stats;
}

const struct sonde_mal_rule *sonde_ingest_find_rule(const struct sonde_ingest *in,
						    const char *metric)
{
	return sonde_rule_set_find(&in->rules, metric);
}
