/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/backend.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "backend/audit.h"
#include "backend/bundle/bundle.h"
#include "backend/http/httpd.h"
#include "backend/http/https.h"
#include "backend/http/routes.h"
#include "backend/ingest/rule-watch.h"
#include "backend/oap/graphql.h"
#include "backend/oap/template-store.h"
#include "backend/policies/fire.h"
#include "backend/services/descriptors.h"
#include "backend/services/inquiry.h"
#include "backend/services/services.h"
#include "backend/store/check.h"
#include "base/clock.h"
#include "base/lock.h"
#include "base/log.h"

#define TICK_US 1000000
#define SLICE_US 50000 /* between the slices of a checkpoint */
#define SETS_IDLE_MS (10LL * 60 * 1000)
#define TRIM_EVERY_MS (10LL * 60 * 1000)
#define MEMORY_EVERY_MS (60LL * 1000)
#define LONGEST_TASK_MS                                                                            \
	(3 * 3600LL * 1000) /* and the hour that it begins in: its hours outlive it */
#define SILENT_MS 90000
#define TROUBLE_EVERY_NS (60 * SONDE_NS_PER_S)
#define CHECK_NS (5 * SONDE_NS_PER_S) /* of the database, at start */
#define TROUBLE_LINES 10	      /* about connections that came to nothing, in that time */

static void on_task_end(void *ctx, struct sonde_task *t, bool forget)
{
	struct sonde_backend *b = ctx;

	if (forget)
		sonde_series_table_drop(b->series, t->spec->id);
}

/* The task "-" never ends: its reports go by age alone. */
static void trim_no_task(struct sonde_backend *b, int64_t now_ms)
{
	_cleanup_(sonde_store_job_freep) struct sonde_store_job *job = NULL;
	int64_t before_ms = now_ms - (int64_t)b->config.retention_ms;
	int r;

	b->last_trim_ms = now_ms;
	job = sonde_store_job_new();
	r = job ? 0 : -ENOMEM;
	if (r == 0)
		r = sonde_store_job_add(job, SONDE_STORE_DELETE_TASK_REPORTS, "ti",
					SONDE_INGEST_NO_TASK, before_ms);
	if (r == 0)
		r = sonde_store_submit(b->store, &job, NULL, NULL);
	if (r < 0)
		(void)sonde_log_warn(r, "cannot delete old reports, ignoring");
}

/* Connections that came to nothing: those that had no line of their own are told together. */
static void count_anew(struct sonde_backend *b, uint64_t now_ns)
{
	if (now_ns - b->trouble_ns < TROUBLE_EVERY_NS)
		return;
	if (b->n_trouble > TROUBLE_LINES)
		(void)sonde_log_warn(0, "and %u other gRPC connections came to nothing",
				     b->n_trouble - TROUBLE_LINES);
	b->trouble_ns = now_ns;
	b->n_trouble = 0;
}

static int on_tick(sd_event_source *source, uint64_t usec, void *ctx)
{
	struct sonde_backend *b = ctx;
	int64_t now_ms = sonde_wall_ms();
	bool more;
	int r;

	count_anew(b, sonde_mono_ns());
	sonde_store_tick(b->store);
	sonde_task_table_tick(b->tasks, now_ms);
	sonde_policies_tick(b, now_ms);
	sonde_inquiry_tick(b, now_ms);
	sonde_httpd_tick(b->httpd);
	sonde_registry_tick(b->registry, now_ms, (int64_t)b->config.retention_ms);
	more = sonde_ingest_tick(b->ingest, now_ms, false);
	more = sonde_retention_tick(b->retention, now_ms) || more;
	sonde_series_table_tick(b->series, now_ms, SETS_IDLE_MS);
	if (now_ms - b->last_memory_ms > MEMORY_EVERY_MS) {
		b->last_memory_ms = now_ms;
		sonde_series_table_trim(b->series, now_ms);
	}
	if (now_ms - b->last_trim_ms > TRIM_EVERY_MS)
		trim_no_task(b, now_ms);
	r = sd_event_source_set_time_relative(source, more ? SLICE_US : TICK_US);
	return r < 0 ? r : sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

/* Two servers on the same database would each hand out the other's tasks and count the other's reports as missing. */
static int lock_state(struct sonde_backend *b)
{
	const char *dir = b->config.state_dir;
	char who[32] = "";
	pid_t holder = 0;
	int r;

	r = sonde_lock_dir(dir, SONDE_LOCK_FILE, &b->lock, &holder);
	if (r == -EBUSY) {
		if (holder > 0)
			(void)snprintf(who, sizeof(who), " (pid %d)", (int)holder);
		(void)sonde_log_err(0,
				    "another sonde-server%s uses the state folder %s: end "
				    "it, or name another folder with --state",
				    who, dir);
	} else if (r < 0) {
		(void)sonde_log_err(r, "cannot lock the state folder %s", dir);
	}
	return r;
}

/* What is wrong, and every way out of it. Nothing is begun anew here, and nothing is thrown away. */
static void refuse_database(const char *path, const struct sonde_store_verdict *v)
{
	if (v->error == -ENODATA) {
		(void)sonde_log_err(
			0,
			"the database %s is not what it was: %s. Nothing was changed. Bring back what is "
			"missing, or: sonde-server --restore FILE (a back-up), or --accept-database "
			"(go on without it), with the same --config and --state",
			path, v->words);
	} else if (v->error == -EUCLEAN) {
		(void)sonde_log_err(
			0,
			"the database %s is damaged: %s. Nothing was changed. First copy the folder; "
			"then: sonde-server --restore FILE (a back-up), --salvage-database (keep what can be "
			"read) or --set-database-aside (begin anew), with the same --config and --state",
			path, v->words);
	} else {
		(void)sonde_log_err(0, "cannot use the database %s: %s", path, v->words);
	}
}

static int check_store(const char *path)
{
	struct sonde_store_verdict v;

	sonde_store_check(path, CHECK_NS, &v);
	if (v.error < 0) {
		refuse_database(path, &v);
		return v.error;
	}
	if (!v.whole) {
		(void)sonde_log_warn(
			0,
			"the database %s has %" PRIu64
			" bytes, too many to look at all of them within %d s: no fault "
			"in what was seen; sonde-server --check-database looks at all",
			path, v.bytes, (int)(CHECK_NS / SONDE_NS_PER_S));
	}
	return 0;
}

static int open_store(struct sonde_backend *b)
{
	_cleanup_free_ char *path = NULL;
	int r;

	if (asprintf(&path, "%s/" SONDE_STORE_FILE, b->config.state_dir) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	r = check_store(path);
	if (r < 0)
		return r;
	r = sonde_store_open(b->event, path, &b->store);
	if (r < 0)
		return sonde_log_err(r, "cannot open the database %s", path);
	sonde_store_set_reserve(b->store, b->config.disk_reserve_bytes);
	return 0;
}

static int load_state(struct sonde_backend *b)
{
	struct sonde_task_table_config config = {
		.store = b->store,
		.max_duration_ms = (int64_t)b->config.max_task_duration_ms,
		.grace_ms = (int64_t)b->config.grace_ms,
		.silent_ms = SILENT_MS,
		.since_ms = sonde_wall_ms(),
		.retention_ms = (int64_t)b->config.retention_ms,
		.max_running = (unsigned)b->config.max_running_tasks,
		.on_end = on_task_end,
		.on_control = sonde_services_control,
		.on_waiting = sonde_services_waiting,
		.ctx = b,
	};
	int r;

	r = sonde_descriptors_new(&b->descriptors);
	if (r < 0)
		return r;
	r = sonde_templates_new(b->store, &b->templates);
	if (r < 0)
		return sonde_log_err(r, "cannot load templates");
	r = sonde_policies_new(b->store, &b->policies);
	if (r < 0)
		return sonde_log_err(r, "cannot load policies");
	r = sonde_registry_new(b->store, &b->registry);
	if (r < 0)
		return sonde_log_err(r, "cannot load agents and processes");
	config.registry = b->registry;
	r = sonde_task_table_new(&config, &b->tasks);
	if (r < 0)
		return sonde_log_err(r, "cannot load tasks");
	return 0;
}

static void on_refused(void *ctx, const char *task, const char *metric,
		       enum sonde_series_bound bound)
{
	struct sonde_backend *b = ctx;
	struct sonde_task *t = sonde_task_table_find(b->tasks, task);

	sonde_refusals_add(t ? &t->refusals : &b->refusals, metric, sonde_series_bound_name(bound),
			   1);
}

static int load_series(struct sonde_backend *b)
{
	struct sonde_ingest_config ingest = {.store = b->store,
					     .registry = b->registry,
					     .rules_dir = b->config.rules_dir,
					     .strict = b->config.strict};
	const struct sonde_series_config series = {
		.store = b->store,
		.max_buckets = b->config.max_buckets,
		.max_task_buckets = b->config.max_task_buckets,
		.max_task_series = b->config.max_task_series,
		.max_task_entities = b->config.max_task_entities,
		.on_drop = sonde_ingest_drop_engine,
		.on_refused = on_refused,
		.ctx = b,
	};
	struct sonde_retention_config retention = {
		.store = b->store,
		.tasks = b->tasks,
		.keep_ms = {(int64_t)b->config.keep_fine_ms, (int64_t)b->config.keep_minutes_ms,
			    (int64_t)b->config.retention_ms + LONGEST_TASK_MS},
		.max_bytes = b->config.max_database_bytes,
	};
	struct sonde_ingest_stats stats;
	int r;

	r = sonde_series_table_new(&series, &b->series);
	if (r < 0)
		return sonde_log_err(r, "cannot make the series");
	retention.series = b->series;
	r = sonde_retention_new(&retention, &b->retention);
	if (r < 0)
		return sonde_log_err(r, "cannot make the series");
	ingest.series = b->series;
	r = sonde_ingest_new(&ingest, &b->ingest);
	if (r < 0)
		return sonde_log_err(r, "cannot load the rules of %s", b->config.rules_dir);
	sonde_ingest_get_stats(b->ingest, &stats);
	sonde_log_info("%zu rules of %zu files, %zu left out", stats.rules, stats.rule_files,
		       stats.rules_bad);
	r = b->config.rules_dir[0]
		    ? sonde_rule_watch_new(b->event, b->config.rules_dir, b->ingest, &b->rule_watch)
		    : 0;
	if (r < 0)
		(void)sonde_log_warn(r, "cannot watch %s: rules are read again by SIGHUP only",
				     b->config.rules_dir);
	r = sonde_ingest_replay(b->ingest, b->tasks, sonde_wall_ms());
	if (r < 0)
		return sonde_log_err(r, "cannot apply the stored reports");
	/* Who asks before the first tick is told what is kept, too. */
	sonde_retention_raise_floors(b->retention, sonde_wall_ms());
	return 0;
}

/* Anyone can cause these: some lines in a while, the rest is counted. */
static void on_trouble(void *ctx, const char *peer, const char *words)
{
	struct sonde_backend *b = ctx;
	uint64_t now_ns = sonde_mono_ns();

	if (!peer) {
		(void)sonde_log_warn(0, "grpc.tls: %s%s", words,
				     b->grpc ? "; what was read before stays" : "");
		return;
	}
	count_anew(b, now_ns);
	if (b->n_trouble++ < TROUBLE_LINES)
		(void)sonde_log_warn(0, "gRPC connection of %s: %s", peer, words);
}

static int listen_grpc(struct sonde_backend *b)
{
	const struct sonde_grpc_server_config config = {
		.address = b->config.grpc_address,
		.port = b->config.grpc_port,
		.max_message_bytes = b->config.max_message_bytes,
		.max_connections = (unsigned)b->config.max_connections,
		.max_streams = (unsigned)b->config.max_streams,
		.token = b->config.token && b->config.token[0] ? b->config.token : NULL,
		.extension = true,
		.tls = b->config.grpc_tls,
		.on_trouble = on_trouble,
	};
	int r;

	r = sonde_grpc_server_new(b->event, &config, sonde_services_methods, b, &b->grpc);
	if (r < 0)
		return sonde_log_err(r, "cannot listen for gRPC on %s port %u (--grpc-listen)",
				     config.address, config.port);
	return 0;
}

static int read_certificates(struct sonde_backend *b)
{
	char words[SONDE_HTTPS_WORDS_MAX] = "";
	int r;

	if (!b->config.http_https)
		return 0;
	r = sonde_https_new(b->config.http_https, &b->https, words);
	return r < 0 ? sonde_log_err(r, "http.tls: %s", words) : 0;
}

static int listen_http(struct sonde_backend *b)
{
	const struct sonde_httpd_config config = {
		.address = b->config.http_address,
		.port = b->config.http_port,
		.max_connections = (unsigned)b->config.max_http_connections,
		.max_body_bytes = b->config.max_body_bytes,
		.access = b->config.access,
		.open_path = "/healthz",
		.raw_path = "/api/v1/import",
		.raw_type = SONDE_BUNDLE_TYPE,
		.max_raw_bytes = SONDE_BUNDLE_PACKED_MAX,
		.https = b->https,
		.handle = sonde_routes_handle,
		.note = sonde_routes_note,
		.abandon = sonde_routes_abandon,
		.events = sonde_routes_events,
		.ctx = b,
	};
	int r;

	r = sonde_httpd_new(b->event, &config, &b->httpd);
	if (r < 0)
		return sonde_log_err(r, "cannot listen for HTTP on %s port %u (--http-listen)",
				     config.address, config.port);
	return 0;
}

int sonde_backend_new(sd_event *event, const struct sonde_backend_config *config,
		      struct sonde_backend **ret)
{
	_cleanup_(sonde_backend_freep) struct sonde_backend *b = calloc(1, sizeof(*b));
	int r;

	if (!b)
		return -ENOMEM;
	b->event = sd_event_ref(event);
	b->config = *config;
	b->lock = -1;
	r = lock_state(b);
	if (r == 0)
		r = open_store(b);
	if (r == 0)
		r = sonde_audit_new(b->store, &b->audit);
	if (r == 0)
		r = load_state(b);
	if (r == 0)
		r = load_series(b);
	if (r == 0)
		r = listen_grpc(b);
	if (r == 0)
		r = read_certificates(b);
	if (r == 0)
		r = listen_http(b);
	if (r < 0)
		return r;
	r = sd_event_add_time_relative(event, &b->tick, CLOCK_MONOTONIC, TICK_US, 0, on_tick, b);
	if (r < 0)
		return sonde_log_err(r, "cannot make a timer");
	*ret = TAKE_PTR(b);
	return 0;
}

void sonde_backend_drain(struct sonde_backend *b)
{
	b->draining = true;
	sonde_grpc_server_drain(b->grpc);
	sonde_services_end_watches(b);
	sonde_graphql_end_all(b);
	sonde_httpd_drain(b->httpd);
}

struct sonde_backend *sonde_backend_free(struct sonde_backend *b)
{
	if (!b)
		return NULL;
	(void)sd_event_source_disable_unref(b->tick);
	(void)sonde_rule_watch_free(b->rule_watch);
	/* What waits for the database is answered while there is still a connection to answer on. */
	if (b->ingest)
		(void)sonde_ingest_tick(b->ingest, sonde_wall_ms(), true);
	if (b->registry)
		sonde_registry_tick(b->registry, sonde_wall_ms(), INT64_MAX);
	if (b->store)
		sonde_store_flush(b->store);
	sonde_inquiry_end_all(b);
	sonde_graphql_end_all(b);
	(void)sonde_grpc_server_free(b->grpc);
	(void)sonde_httpd_free(b->httpd);
	(void)sonde_https_free(b->https);
	b->retention = sonde_retention_free(b->retention);
	(void)sonde_store_free(b->store);
	(void)sonde_audit_free(b->audit);
	(void)sonde_series_table_free(b->series);
	(void)sonde_ingest_free(b->ingest);
	(void)sonde_descriptors_free(b->descriptors);
	(void)sonde_templates_free(b->templates);
	(void)sonde_policies_free(b->policies);
	(void)sonde_task_table_free(b->tasks);
	(void)sonde_registry_free(b->registry);
	sonde_refusals_done(&b->refusals);
	(void)sd_event_unref(b->event);
	closep(&b->lock);
	free(b);
	return NULL;
}

uint16_t sonde_backend_grpc_port(const struct sonde_backend *b)
{
	return sonde_grpc_server_port(b->grpc);
}

uint16_t sonde_backend_http_port(const struct sonde_backend *b)
{
	return sonde_httpd_port(b->httpd);
}
