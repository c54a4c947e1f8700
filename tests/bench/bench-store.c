/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reports of the agent's own exporter through the server's ingest, rules, series and database, as JSON:
 * bench-store RULES-DIR STATE-DIR EDGES REPORTS INTERVAL-S BEGIN-MS TASK. Each report has EDGES edges with everything
 * that a busy one has, INTERVAL-S apart; BEGIN-MS is the time of the first. Making the reports is not part of the time:
 * all are made before. Decoding them, rules, series, zstd, the commit of each report and the final checkpoint are.
 * Loop and writer share one processor. TASK "-": reports without a name.
 */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#include "backend/ingest/ingest.h"
#include "backend/json.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/num.h"
#include "bench-reports.h"

#define REPORTS_MAX 4000
#define WAITING_MAX 64 /* reports that wait for the disk at a time, as of so many agents */

struct bench {
	sd_event *event;
	struct sonde_store *store;
	struct sonde_registry *registry;
	struct sonde_series_table *series;
	struct sonde_ingest *ingest;
	struct sonde_task task; /* counters only */
	unsigned waiting;
	uint64_t failed, bytes;
	struct sonde_buf *reports; /* owned */
	size_t n;
};

static void bench_done(struct bench *b)
{
	(void)sonde_store_free(b->store);
	(void)sonde_series_table_free(b->series);
	(void)sonde_ingest_free(b->ingest);
	(void)sonde_registry_free(b->registry);
	(void)sd_event_unref(b->event);
	for (size_t i = 0; i < b->n; i++)
		sonde_buf_done(&b->reports[i]);
	free(b->reports);
}

static int make_reports(struct bench *b, unsigned edges, unsigned n, int64_t begin_ms,
			int64_t interval_ms)
{
	int r = 0;

	b->reports = calloc(n, sizeof(*b->reports));
	if (!b->reports)
		return -ENOMEM;
	for (; b->n < n && r == 0; b->n++)
		r = bench_report(edges, (unsigned)b->n, begin_ms + (int64_t)b->n * interval_ms,
				 &b->reports[b->n]);
	return r;
}

static void on_taken(void *ctx, enum sonde_grpc_status status, const char *message)
{
	struct bench *b = ctx;

	b->waiting--;
	b->failed += status != SONDE_GRPC_OK;
}

static int open_all(struct bench *b, const char *rules, const char *state)
{
	struct sonde_ingest_config config = {.rules_dir = rules};
	struct sonde_series_config series = {.max_buckets = 50000000,
					     .on_drop = sonde_ingest_drop_engine};
	char path[4096];
	int r;

	(void)mkdir(state, 0700);
	(void)snprintf(path, sizeof(path), "%s/sonde.db", state);
	r = sd_event_new(&b->event);
	if (r >= 0)
		r = sonde_store_open(b->event, path, &b->store);
	if (r >= 0)
		r = sonde_registry_new(b->store, &b->registry);
	series.store = config.store = b->store;
	if (r >= 0)
		r = sonde_series_table_new(&series, &b->series);
	config.registry = b->registry;
	config.series = b->series;
	return r < 0 ? r : sonde_ingest_new(&config, &b->ingest);
}

static int run(struct bench *b, const char *task, int64_t begin_ms, int64_t interval_ms)
{
	struct sonde_report_id id = {.hash = "h"};
	bool named = strcmp(task, SONDE_INGEST_NO_TASK) != 0;
	int r = 0;

	(void)snprintf(id.task, sizeof(id.task), "%s", task);
	for (size_t i = 0; i < b->n && r >= 0; i++) {
		int64_t now_ms = begin_ms + (int64_t)i * interval_ms;

		id.sequence = i + 1;
		b->waiting++;
		b->bytes += b->reports[i].len;
		sonde_ingest_report(b->ingest, named ? &id : NULL, named ? &b->task : NULL,
				    &b->reports[i], now_ms, on_taken, b);
		(void)sonde_ingest_tick(b->ingest, now_ms, false);
		do
			r = sd_event_run(b->event, b->waiting > WAITING_MAX ? 1000000 : 0);
		while (r > 0 && b->waiting > WAITING_MAX);
	}
	/* The first ends a pass that was under way. */
	for (unsigned pass = 0; pass < 2; pass++)
		(void)sonde_ingest_tick(b->ingest, begin_ms + (int64_t)b->n * interval_ms, true);
	(void)sonde_registry_tick(b->registry, begin_ms, INT64_MAX);
	sonde_store_flush(b->store);
	return r < 0 ? r : 0;
}

/* So that a server finds the task: done, over the time of the reports. */
static int put_task(struct bench *b, const char *id, int64_t begin_ms, int64_t end_ms)
{
	_cleanup_(sonde_store_job_freep) struct sonde_store_job *job = sonde_store_job_new();
	_cleanup_(sonde_task_freep) struct sonde_task *t = NULL;
	_cleanup_(sonde_spec_freep) struct sonde_spec *spec = NULL;
	_cleanup_json_ json_t *doc = NULL,
			      *body = json_pack("{s:[{s:s}], s:I}", "targets", "service", "web",
						"durationMs", (json_int_t)1800000);
	_cleanup_free_ char *text = NULL;
	struct sonde_problem problem;
	int r;

	if (!job || !body)
		return -ENOMEM;
	r = sonde_spec_parse(body, begin_ms, 1800000, false, &spec, &problem);
	if (r < 0)
		return r;
	(void)snprintf(spec->id, sizeof(spec->id), "%s", id);
	r = sonde_task_new(&spec, begin_ms, &t);
	if (r < 0)
		return r;
	t->state = SONDE_TASK_DONE;
	t->started_ms = t->window_start_ms = begin_ms;
	t->ended_ms = t->window_end_ms = end_ms;
	doc = sonde_task_document(t);
	text = doc ? json_dumps(doc, JSON_COMPACT) : NULL;
	if (!text)
		return -ENOMEM;
	r = sonde_store_job_add(job, SONDE_STORE_PUT_TASK, "tiitt", id, begin_ms, end_ms,
				sonde_task_state_name(t->state), text);
	return r < 0 ? r : sonde_store_submit(b->store, &job, NULL, NULL);
}

static uint64_t cpu_ns(void)
{
	struct timespec t = {0};

	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * SONDE_NS_PER_S + (uint64_t)t.tv_nsec;
}

static int measure(struct bench *b, const char *task, int64_t begin_ms, int64_t interval_ms)
{
	uint64_t wall = sonde_mono_ns(), cpu = cpu_ns();
	struct sonde_ingest_stats in;
	struct sonde_series_stats series;
	struct sonde_store_stats store;
	struct rusage usage = {0};
	uint64_t refused;
	int r = run(b, task, begin_ms, interval_ms);

	wall = sonde_mono_ns() - wall;
	cpu = cpu_ns() - cpu;
	sonde_ingest_get_stats(b->ingest, &in);
	sonde_series_table_get_stats(b->series, &series);
	sonde_store_get_stats(b->store, &store);
	(void)getrusage(RUSAGE_SELF, &usage);
	refused = in.emissions_refused + in.collections_refused + series.fine_refused +
		  series.minutes_refused;
	if (r < 0 || b->failed > 0)
		return sonde_log_err(r, "%llu reports were not taken",
				     (unsigned long long)b->failed);
	printf("{\"reports\":%zu,\"samples\":%llu,\"emissions\":%llu,\"refused\":%llu,"
	       "\"report_bytes\":%llu,\"series\":%zu,\"buckets\":%zu,\"commits\":%llu,"
	       "\"seconds\":%.3f,\"cpu_seconds\":%.3f,\"rules_seconds\":%.3f,"
	       "\"samples_a_cpu_second\":%.0f,\"samples_a_second\":%.0f,\"max_rss_kb\":%ld}\n",
	       b->n, (unsigned long long)in.samples, (unsigned long long)in.emissions,
	       (unsigned long long)refused, (unsigned long long)b->bytes, series.series,
	       series.buckets, (unsigned long long)store.commits, (double)wall / 1e9,
	       (double)cpu / 1e9, (double)in.run_ns / 1e9, (double)in.samples * 1e9 / (double)cpu,
	       (double)in.samples * 1e9 / (double)wall, usage.ru_maxrss);
	return 0;
}

int main(int argc, char **argv)
{
	_cleanup_(bench_done) struct bench b = {0};
	uint64_t edges, reports, interval_s, begin_ms;
	cpu_set_t one;
	int r;

	if (argc != 8 || sonde_parse_u64(argv[3], 1, 100000, &edges) < 0 ||
	    sonde_parse_u64(argv[4], 1, REPORTS_MAX, &reports) < 0 ||
	    sonde_parse_u64(argv[5], 1, 3600, &interval_s) < 0 ||
	    sonde_parse_u64(argv[6], 1, INT64_MAX / 2, &begin_ms) < 0) {
		(void)fprintf(stderr, "usage: bench-store RULES STATE EDGES REPORTS INTERVAL-S "
				      "BEGIN-MS TASK\n");
		return 2;
	}
	CPU_ZERO(&one);
	CPU_SET(0, &one);
	if (sched_setaffinity(0, sizeof(one), &one) < 0)
		(void)sonde_log_warn(-errno, "cannot keep to one processor, ignoring");
	r = make_reports(&b, (unsigned)edges, (unsigned)reports, (int64_t)begin_ms,
			 (int64_t)interval_s * 1000);
	if (r == 0)
		r = open_all(&b, argv[1], argv[2]);
	if (r == 0 && strcmp(argv[7], SONDE_INGEST_NO_TASK) != 0)
		r = put_task(&b, argv[7], (int64_t)begin_ms,
			     (int64_t)(begin_ms + reports * interval_s * 1000));
	if (r < 0) {
		(void)sonde_log_err(r, "cannot begin");
		return 1;
	}
	return measure(&b, argv[7], (int64_t)begin_ms, (int64_t)interval_s * 1000) < 0;
}
