/* SPDX-License-Identifier: Apache-2.0 */
/* The server's own metrics: what it took, what it refused and by which bound, what it holds. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/http/http-stats.h"
#include "backend/http/httpd.h"
#include "backend/query/metrics-text.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/num.h"

#define COUNTER SONDE_EXPOSITION_COUNTER
#define GAUGE SONDE_EXPOSITION_GAUGE

/* One family of one or more rows that differ in one label. */
struct row {
	const char *value; /* of the label; NULL = the family has none */
	uint64_t n;
};

static int64_t whole(uint64_t n)
{
	return n > INT64_MAX ? INT64_MAX : (int64_t)n;
}

static void rows(struct sonde_exposition *e, const char *label, const struct row *row, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		char labels[96] = "";

		if (row[i].value)
			(void)snprintf(labels, sizeof(labels), "{%s=\"%s\"}", label, row[i].value);
		sonde_exposition_int(e, "", labels, whole(row[i].n));
	}
}
#define ROWS(e, label, ...)                                                                        \
	rows(e, label, (const struct row[])__VA_ARGS__,                                            \
	     ELEMENTS_OF(((const struct row[])__VA_ARGS__)))

static void one(struct sonde_exposition *e, const char *name, enum sonde_exposition_type type,
		uint64_t n, const char *help)
{
	sonde_exposition_family(e, name, type, NULL, help);
	sonde_exposition_int(e, "", NULL, whole(n));
}

static void tasks(struct sonde_backend *b, struct sonde_exposition *e)
{
	uint64_t n[_SONDE_TASK_STATE_MAX] = {0};

	for (struct sonde_task *t = sonde_task_table_first(b->tasks); t; t = t->hh.next)
		n[t->state]++;
	sonde_exposition_family(e, "sonde_server_tasks", GAUGE, NULL, "Tasks known, by state.");
	for (unsigned s = 0; s < _SONDE_TASK_STATE_MAX; s++)
		ROWS(e, "state", {{sonde_task_state_name(s), n[s]}});
}

static void ingest(struct sonde_backend *b, struct sonde_exposition *e)
{
	struct sonde_ingest_stats s;

	sonde_ingest_get_stats(b->ingest, &s);
	sonde_exposition_family(e, "sonde_server_reports_total", COUNTER, NULL,
				"Meter reports: received and applied, known already, refused.");
	ROWS(e, "result",
	     {{"received", s.reports}, {"duplicate", s.duplicates}, {"refused", s.refused}});
	one(e, "sonde_server_collections_total", COUNTER, s.collections,
	    "Meter collections in the reports received.");
	one(e, "sonde_server_samples_total", COUNTER, s.samples, "Samples given to the rules.");
	one(e, "sonde_server_emissions_total", COUNTER, s.emissions,
	    "Values that rules gave to series.");
	one(e, "sonde_server_rules", GAUGE, s.rules, "Rules loaded.");
	one(e, "sonde_server_rules_left_out", GAUGE, s.rules_bad,
	    "Rules left out as faulty, at start.");
	one(e, "sonde_server_rule_runs_failed_total", COUNTER, s.rules_failed,
	    "Runs of a rule that failed.");
	sonde_exposition_family(e, "sonde_server_ingest_seconds_total", COUNTER, "seconds",
				"Time spent in rules and series.");
	sonde_exposition_seconds(e, "", NULL, s.run_ns);
}

static uint64_t file_bytes(const struct sonde_backend *b, const char *name)
{
	char path[4096];
	struct stat st;

	if (snprintf(path, sizeof(path), "%s/%s", b->config.state_dir, name) >= (int)sizeof(path))
		return 0;
	return stat(path, &st) < 0 ? 0 : (uint64_t)st.st_size;
}

static void store(struct sonde_backend *b, struct sonde_exposition *e)
{
	struct sonde_store_health health;
	struct sonde_store_stats s;
	struct sonde_series_stats series;

	sonde_store_get_stats(b->store, &s);
	sonde_series_table_get_stats(b->series, &series);
	sonde_exposition_family(e, "sonde_server_store_bytes", GAUGE, "bytes",
				"Size of the database's files.");
	ROWS(e, "file",
	     {{"database", file_bytes(b, "sonde.db")}, {"wal", file_bytes(b, "sonde.db-wal")}});
	sonde_exposition_family(e, "sonde_server_store_jobs_total", COUNTER, NULL,
				"Write jobs: all, failed, refused for want of room in the queue.");
	ROWS(e, "result",
	     {{"taken", s.jobs}, {"failed", s.jobs_failed}, {"refused", s.jobs_refused}});
	sonde_store_get_health(b->store, &health);
	one(e, "sonde_server_store_writable", GAUGE, health.condition == SONDE_STORE_SOUND,
	    "1: reports are taken; 0: the disk is full, or the database is damaged.");
	sonde_exposition_family(e, "sonde_server_store_free_bytes", GAUGE, "bytes",
				"Free on the file system of the database.");
	sonde_exposition_int(e, "", NULL, whole(health.free_bytes));
	one(e, "sonde_server_store_commits_total", COUNTER, s.commits, "Transactions committed.");
	one(e, "sonde_server_store_queued_jobs", GAUGE, s.queued_jobs, "Write jobs that wait.");
	sonde_exposition_family(e, "sonde_server_store_queued_bytes", GAUGE, "bytes",
				"Bytes of the write jobs that wait.");
	sonde_exposition_int(e, "", NULL, whole(s.queued_bytes));
	one(e, "sonde_server_series_buckets", GAUGE, series.buckets, "Time buckets in memory.");
	one(e, "sonde_server_series", GAUGE, series.series, "Series in memory.");
	one(e, "sonde_server_series_sets", GAUGE, series.sets, "Tasks whose series are in memory.");
	one(e, "sonde_server_series_dirty_buckets", GAUGE, series.dirty,
	    "Time buckets in memory that are not written yet.");
}

/* What is kept, and what went before its time. */
static void retention(struct sonde_backend *b, struct sonde_exposition *e)
{
	struct sonde_retention_stats s;

	sonde_retention_get_stats(b->retention, &s);
	sonde_exposition_family(
		e, "sonde_server_database_bytes", GAUGE, "bytes",
		"Pages of the database: in use, free, and the most that may be in use "
		"(0: no limit).");
	ROWS(e, "pages", {{"used", s.bytes}, {"free", s.free_bytes}, {"limit", s.max_bytes}});
	one(e, "sonde_server_retention_rows_deleted_total", COUNTER, s.rows_deleted,
	    "Rows deleted for their age, or for want of bytes.");
	one(e, "sonde_server_retention_tasks_forgotten_total", COUNTER, s.tasks_forgotten,
	    "Ended tasks forgotten before their time, for want of bytes.");
	one(e, "sonde_server_retention_over", GAUGE, s.over,
	    "1 while the database has more bytes than it may and all of it is too new to go.");
	sonde_exposition_family(e, "sonde_server_series_kept_since_seconds", GAUGE, "seconds",
				"What began before this time is gone, by step.");
	for (unsigned i = 0; i < _SONDE_SERIES_STEP_MAX; i++)
		ROWS(e, "step",
		     {{sonde_series_step_names[i], (uint64_t)(s.kept_since_ms[i] / 1000)}});
}

static void agents(struct sonde_backend *b, struct sonde_exposition *e)
{
	struct sonde_registry_stats s;
	int64_t now_ms = sonde_wall_ms();
	uint64_t live = 0, gone = 0;

	sonde_registry_get_stats(b->registry, &s);
	for (struct sonde_agent *a = sonde_registry_agents(b->registry); a; a = a->hh.next) {
		if (sonde_agent_live(a, now_ms))
			live++;
		else
			gone++;
	}
	sonde_exposition_family(e, "sonde_server_agents", GAUGE, NULL, "Agents known.");
	ROWS(e, "connected", {{"true", live}, {"false", gone}});
	one(e, "sonde_server_processes", GAUGE, s.processes, "Processes that agents registered.");
	one(e, "sonde_server_entities", GAUGE, s.entities, "Names kept of processes and peers.");
}

/* Each bound that turned something away, by its name; 0 too, so that a rise is seen. */
static void refused(struct sonde_backend *b, struct sonde_exposition *e)
{
	const struct sonde_grpc_server_stats *g = sonde_grpc_server_stats(b->grpc);
	const struct sonde_http_stats *h = sonde_httpd_stats(b->httpd);
	struct sonde_registry_stats registry;
	struct sonde_series_stats series;
	struct sonde_ingest_stats in;
	struct sonde_store_stats s;

	sonde_registry_get_stats(b->registry, &registry);
	sonde_series_table_get_stats(b->series, &series);
	sonde_ingest_get_stats(b->ingest, &in);
	sonde_store_get_stats(b->store, &s);
	sonde_exposition_family(e, "sonde_server_refused_total", COUNTER, NULL,
				"What a bound turned away, by the bound.");
	ROWS(e, "bound",
	     {{"grpc_connections", g->connections_refused},
	      {"grpc_messages", g->messages_refused},
	      {"http_connections_of_one_address", h->connections_refused},
	      {"http_handshakes", h->handshakes_refused},
	      {"http_slow_client", h->slow_ended},
	      {"http_body", h->bodies_refused},
	      {"http_streams", h->streams_refused},
	      {"http_answers", h->answers_refused},
	      {"http_malformed", h->malformed},
	      {"reports", in.refused},
	      {"reports_no_room", in.refused_no_room},
	      {"collections", in.collections_refused},
	      {"emissions", in.emissions_refused},
	      {"series_buckets_10s", series.fine_refused},
	      {"series_buckets_1m", series.minutes_refused},
	      {"series", series.refused},
	      {"store_queue", s.jobs_refused},
	      {"registry", registry.refused},
	      {"http_stats", h->no_room}});
}

static void grpc(struct sonde_backend *b, struct sonde_exposition *e)
{
	const struct sonde_grpc_server_stats *g = sonde_grpc_server_stats(b->grpc);

	one(e, "sonde_server_grpc_connections_total", COUNTER, g->connections,
	    "Connections of agents accepted.");
	sonde_exposition_family(e, "sonde_server_grpc_calls_total", COUNTER, NULL,
				"gRPC calls: all, and those of them that failed.");
	ROWS(e, "result", {{"all", g->calls}, {"failed", g->calls_failed}});
	one(e, "sonde_server_grpc_messages_total", COUNTER, g->messages, "Messages received.");
	sonde_exposition_family(e, "sonde_server_grpc_message_bytes_total", COUNTER, "bytes",
				"Bytes of the messages received, as sent and decompressed.");
	ROWS(e, "form",
	     {{"sent", g->message_bytes_compressed}, {"decompressed", g->message_bytes}});
	one(e, "sonde_server_grpc_protocol_errors_total", COUNTER, g->protocol_errors,
	    "HTTP/2 rules that peers broke.");
}

static void http_latency(const struct sonde_http_stats *s, struct sonde_exposition *e)
{
	sonde_exposition_family(e, "sonde_server_http_request_duration_seconds",
				SONDE_EXPOSITION_HISTOGRAM, "seconds",
				"From a request's headers to the end of its answer, by route.");
	for (size_t i = 0; i < s->n_routes; i++) {
		const struct sonde_http_route_stats *r = &s->route[i];
		char labels[96], le[32];
		uint64_t n = 0;

		(void)snprintf(labels, sizeof(labels), "{route=\"%s\"}", r->route);
		for (size_t k = 0; k < SONDE_HTTP_BOUNDS; k++) {
			n += r->bucket[k];
			(void)snprintf(
				le, sizeof(le), "%" PRIu64 ".%03" PRIu64,
				(uint64_t)(sonde_http_bounds_ns[k] / SONDE_NS_PER_S),
				(uint64_t)(sonde_http_bounds_ns[k] % SONDE_NS_PER_S / 1000000));
			sonde_exposition_bucket(e, labels, le, n);
		}
		sonde_exposition_bucket(e, labels, "+Inf", r->count);
		sonde_exposition_seconds(e, "_sum", labels, r->sum_ns);
		sonde_exposition_int(e, "_count", labels, whole(r->count));
	}
}

static void http(struct sonde_backend *b, struct sonde_exposition *e)
{
	const struct sonde_http_stats *s = sonde_httpd_stats(b->httpd);

	one(e, "sonde_server_http_connections", GAUGE, s->connections_open,
	    "HTTP connections that are open.");
	one(e, "sonde_server_http_connections_total", COUNTER, s->connections,
	    "HTTP connections accepted.");
	sonde_exposition_family(
		e, "sonde_server_http_requests_total", COUNTER, NULL,
		"HTTP requests by route, method and status; 0: the client went before its answer.");
	for (size_t i = 0; i < s->n_counts; i++) {
		const struct sonde_http_count *c = &s->count[i];
		char labels[160];

		(void)snprintf(labels, sizeof(labels), "{route=\"%s\",method=\"%s\",status=\"%d\"}",
			       c->route, c->method, c->status);
		sonde_exposition_int(e, "", labels, whole(c->n));
	}
	http_latency(s, e);
}

static uint64_t open_files(void)
{
	DIR *dir = opendir("/proc/self/fd");
	uint64_t n = 0;

	while (dir && readdir(dir))
		n++;
	if (!dir)
		return 0;
	(void)closedir(dir);
	return n > 3 ? n - 3 : 0; /* `.`, `..`, and that of the folder */
}

/* The second number of statm(5). */
static int resident_pages(uint64_t *ret)
{
	_cleanup_free_ char *line = NULL;
	char *begin, *end;
	int r = sonde_file_read_line("/proc/self/statm", false, 256, &line);

	if (r < 0)
		return r;
	begin = strchr(line, ' ');
	end = begin ? strchr(begin + 1, ' ') : NULL;
	if (!end)
		return -EBADMSG;
	*end = '\0';
	return sonde_parse_u64(begin + 1, 0, UINT64_MAX / 65536, ret);
}

/* Under the names that every Prometheus client gives them. */
static void process(struct sonde_exposition *e)
{
	struct rusage u = {0};
	struct rlimit files = {0};
	uint64_t pages = 0;

	if (resident_pages(&pages) == 0) {
		sonde_exposition_family(e, "process_resident_memory_bytes", GAUGE, "bytes",
					"Resident memory.");
		sonde_exposition_int(e, "", NULL, whole(pages * (uint64_t)sysconf(_SC_PAGESIZE)));
	}
	if (getrusage(RUSAGE_SELF, &u) == 0) {
		sonde_exposition_family(e, "process_cpu_seconds_total", COUNTER, "seconds",
					"User and system time.");
		sonde_exposition_seconds(
			e, "", NULL,
			((uint64_t)u.ru_utime.tv_sec + (uint64_t)u.ru_stime.tv_sec) *
					SONDE_NS_PER_S +
				((uint64_t)u.ru_utime.tv_usec + (uint64_t)u.ru_stime.tv_usec) *
					1000);
	}
	one(e, "process_open_fds", GAUGE, open_files(), "Open files.");
	if (getrlimit(RLIMIT_NOFILE, &files) == 0)
		one(e, "process_max_fds", GAUGE, files.rlim_cur, "Most files that may be open.");
}

void sonde_metrics_own(struct sonde_backend *b, struct sonde_exposition *e)
{
	sonde_exposition_family(e, "sonde_server_build_info", GAUGE, NULL, "The server's version.");
	ROWS(e, "version", {{SONDE_VERSION, 1}});
	tasks(b, e);
	ingest(b, e);
	store(b, e);
	retention(b, e);
	agents(b, e);
	refused(b, e);
	grpc(b, e);
	http(b, e);
	process(e);
}
