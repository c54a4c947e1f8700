/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/query/views.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backend/audit.h"
#include "backend/http/http-stats.h"
#include "backend/http/httpd.h"
#include "backend/json.h"
#include "backend/oap/graphql.h"
#include "backend/query/ledger.h"
#include "backend/tasks/spooled.h"
#include "base/clock.h"
#include "base/num.h"

const char *sonde_view_property(const json_t *properties, const char *const *names)
{
	for (; *names; names++) {
		const char *text = sonde_json_get_text(properties, *names, "");

		if (text[0] != '\0')
			return text;
	}
	return "";
}

const char *sonde_view_agent_host(const struct sonde_agent *a)
{
	static const char *const names[] = {"host",	"host_name", "hostname",
					    "HOSTNAME", "host_ip",   NULL};

	return sonde_view_property(a->properties, names);
}

json_t *sonde_view_agents(struct sonde_backend *b, int64_t now_ms)
{
	static const char *const version[] = {"version", "agent_version", NULL};
	_cleanup_json_ json_t *list = json_array();

	for (struct sonde_agent *a = sonde_registry_agents(b->registry); list && a;
	     a = a->hh.next) {
		json_t *row = json_pack(
			"{s:s, s:s, s:s, s:b, s:b, s:o, s:o, s:o, s:i, s:b}", "agent_id", a->id,
			"host", sonde_view_agent_host(a), "version",
			sonde_view_property(a->properties, version), "connected",
			(int)sonde_agent_live(a, now_ms), "replaced", (int)sonde_agent_replaced(a),
			"problem",
			sonde_json_text(sonde_json_get_text(a->properties, "problem", "")),
			"delivery",
			sonde_json_text(sonde_json_get_text(a->properties, "delivery", "")),
			"last_seen", sonde_json_time(a->last_seen_ms), "processes",
			(int)a->processes, "extension", (int)(a->watches > 0));

		if (sonde_json_append(list, row) < 0)
			return NULL;
	}
	return json_pack("{s:O}", "agents", list);
}

/* The JSON member of @a that lies at @offset. */
static json_t *member(const struct sonde_task_agent *a, size_t offset)
{
	json_t *j;

	memcpy(&j, (const char *)a + offset, sizeof(json_t *));
	return j;
}

/* The lists of all agents, one behind the other. */
static json_t *joined(const struct sonde_task *t, size_t offset)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < t->n_agents; i++) {
		json_t *part = member(t->agents[i], offset);

		if (part && json_array_extend(list, part) < 0) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}
#define JOINED(t, field) joined(t, offsetof(struct sonde_task_agent, field))

/* Adds the numbers of @part to @sum; a truth stays true only if all say so, a text is the first one's. */
static void add_numbers(json_t *sum, const json_t *part)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)part, key, value)
	{
		const json_t *old = json_object_get(sum, key);

		if (!old) {
			(void)json_object_set_new(sum, key, json_deep_copy(value));
		} else if (json_is_integer(old) && json_is_integer(value)) {
			(void)json_object_set_new(
				sum, key,
				json_integer(sonde_add_i64(json_integer_value(old),
							   json_integer_value(value))));
		} else if (json_is_boolean(old)) {
			(void)json_object_set_new(
				sum, key, json_boolean(json_is_true(old) && json_is_true(value)));
		} else if (json_is_array(old) && json_is_array(value)) {
			(void)json_array_extend((json_t *)old, value);
		}
	}
}

static json_t *summed(const struct sonde_task *t, size_t offset)
{
	json_t *sum = NULL;

	for (size_t i = 0; i < t->n_agents; i++) {
		const json_t *part = member(t->agents[i], offset);

		if (!part)
			continue;
		if (!sum)
			sum = json_object();
		if (sum)
			add_numbers(sum, part);
	}
	return sum ? sum : json_null();
}
#define SUMMED(t, field) summed(t, offsetof(struct sonde_task_agent, field))

/* Of all agents that have not told the end: some of them may be other tasks'. */
static uint64_t count_spooled(struct sonde_backend *b, const struct sonde_task *t, int64_t now_ms)
{
	uint64_t n = 0;

	for (size_t i = 0; i < t->n_agents; i++) {
		const struct sonde_agent *a =
			sonde_registry_find_agent(b->registry, t->agents[i]->id);

		if (a && !t->agents[i]->ended)
			n += sonde_agent_spooled(a, now_ms);
	}
	return n;
}

/* How long the quietest agent that has begun and not ended has sent no report; 0 = there is none. */
static int64_t longest_silence_ms(const struct sonde_task *t, int64_t now_ms)
{
	int64_t longest = 0;

	for (size_t i = 0; i < t->n_agents; i++) {
		const struct sonde_task_agent *a = t->agents[i];

		if (!a->ended && a->last_report_ms > 0 && now_ms - a->last_report_ms > longest)
			longest = now_ms - a->last_report_ms;
	}
	return longest;
}

static json_t *reports_json(struct sonde_backend *b, const struct sonde_task *t)
{
	const int64_t now_ms = sonde_wall_ms();
	struct sonde_task_reports r;

	sonde_task_count_reports(t, &r);
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "sequence",
			 (json_int_t)r.sequence, "received", (json_int_t)r.received, "duplicates",
			 (json_int_t)r.duplicates, "missing", (json_int_t)r.missing, "late_ms",
			 (json_int_t)r.late_ms, "batches", (json_int_t)t->batches, "refused",
			 (json_int_t)t->series_refused, "spooled",
			 (json_int_t)count_spooled(b, t, now_ms), "silent_ms",
			 (json_int_t)longest_silence_ms(t, now_ms));
}

static json_t *agents_json(const struct sonde_task *t)
{
	_cleanup_json_ json_t *list = json_array();

	for (size_t i = 0; list && i < t->n_agents; i++) {
		const struct sonde_task_agent *a = t->agents[i];
		json_t *row = json_pack("{s:s, s:s, s:o, s:b, s:b, s:o, s:o, s:I, s:I, s:O?}",
					"agent_id", a->id, "state", sonde_task_state_name(a->state),
					"words", sonde_json_text(a->words), "ended", (int)a->ended,
					"idle_proof", (int)(json_object_size(a->idle_proof) > 0),
					"started", sonde_json_time(a->started_ms), "last_report",
					sonde_json_time(a->last_report_ms), "reports",
					(json_int_t)a->sequences.received, "missing",
					(json_int_t)sonde_ranges_missing(&a->sequences), "cost",
					json_object_size(a->cost) > 0 ? a->cost : NULL);

		if (sonde_json_append(list, row) < 0)
			return NULL;
	}
	return TAKE_PTR(list);
}

json_t *sonde_view_task(struct sonde_backend *b, const struct sonde_task *t)
{
	return json_pack(
		"{s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:s, s:o, s:O, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:O?, s:o}",
		"id", t->spec->id, "name", t->spec->name, "preset", t->spec->preset, "state",
		sonde_task_state_name(t->state), "reason", sonde_json_text(t->reason),
		"reason_code", sonde_json_text(t->reason_code), "created",
		sonde_json_time(t->created_ms), "started", sonde_json_time(t->started_ms), "ended",
		sonde_json_time(t->ended_ms), "expires", sonde_json_time(sonde_task_end_ms(t)),
		"duration_ms", (json_int_t)t->spec->duration_ms, "report_interval_ms",
		(json_int_t)t->spec->report_interval_ms, "created_by", t->spec->created_by, "spec",
		sonde_spec_json(t->spec, NULL, NULL), "states", t->states, "targets",
		JOINED(t, targets), "agents", agents_json(t), "reports", reports_json(b, t),
		"probes", JOINED(t, probes), "absent", JOINED(t, absent), "cost", SUMMED(t, cost),
		"idle_proof", SUMMED(t, idle_proof), "trigger", t->trigger, "imported",
		sonde_json_time(t->imported_ms));
}

static bool is_wanted(const struct sonde_task *t, const struct sonde_tasks_filter *f)
{
	bool final = sonde_task_state_final(t->state);

	if (t->created_ms < f->since_ms || (f->until_ms > 0 && t->created_ms >= f->until_ms))
		return false;
	if (!f->state || f->state[0] == '\0')
		return true;
	if (strcmp(f->state, "running") == 0)
		return t->state == SONDE_TASK_RUNNING;
	return strcmp(f->state, "ended") == 0 ? final : !final;
}

json_t *sonde_view_tasks(struct sonde_backend *b, const struct sonde_tasks_filter *filter)
{
	_cleanup_json_ json_t *list = json_array();
	const struct sonde_task *wanted[SONDE_TASKS_MAX];
	const char *next = NULL;
	size_t n = 0, end;

	/* The table is oldest first, and holds no more. */
	for (const struct sonde_task *t = sonde_task_table_first(b->tasks);
	     t && t != filter->before && n < SONDE_TASKS_MAX; t = t->hh.next) {
		if (is_wanted(t, filter))
			wanted[n++] = t;
	}
	end = n > filter->limit ? n - (size_t)filter->limit : 0;
	while (list && n > end) {
		if (sonde_json_append(list, sonde_view_task(b, wanted[--n])) < 0)
			return NULL;
		next = end > 0 ? wanted[n]->spec->id : NULL;
	}
	return json_pack("{s:O, s:s?}", "tasks", list, "next", next);
}

static int add_own_entry(json_t *list, const char *site, uint64_t count, const char *words)
{
	if (count == 0)
		return 0;
	return sonde_json_append(list,
				 json_pack("{s:s, s:s, s:I, s:b, s:s, s:n, s:n}", "agent_id", "",
					   "site", site, "count", (json_int_t)count, "weakens", 1,
					   "words", words, "first_seen", "last_seen"));
}

json_t *sonde_view_ledger(struct sonde_backend *b, const struct sonde_task *t)
{
	_cleanup_json_ json_t *entries = JOINED(t, ledger), *refused = json_array();
	struct sonde_task_reports r;
	uint64_t silent = 0;

	sonde_task_count_reports(t, &r);
	for (size_t i = 0; i < t->n_agents; i++)
		silent += sonde_task_state_final(t->state) && !t->agents[i]->ended;
	if (!entries || !refused || sonde_refusals_append(&t->refusals, NULL, refused) < 0 ||
	    add_own_entry(entries, "report_missing", r.missing, "reports that never came") < 0 ||
	    add_own_entry(entries, "series_refused", t->series_refused,
			  "values that the server had no room for or could not read") < 0 ||
	    add_own_entry(entries, "rule_failed", t->rules_failed, "runs of a rule that failed") <
		    0 ||
	    add_own_entry(entries, "agent_silent", silent, "agents that sent no last report") < 0)
		return NULL;
	return json_pack("{s:b, s:o, s:O, s:O, s:o, s:o, s:o}", "complete",
			 (int)sonde_task_complete(t), "agents", sonde_ledger_agents(t), "entries",
			 entries, "refused", refused, "reports", reports_json(b, t), "cost",
			 SUMMED(t, cost), "idle_proof", SUMMED(t, idle_proof));
}

static json_t *grpc_stats(const struct sonde_grpc_server *s)
{
	const struct sonde_grpc_server_stats *g = sonde_grpc_server_stats(s);

	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "connections",
			 (json_int_t)g->connections, "connections_refused",
			 (json_int_t)g->connections_refused, "calls", (json_int_t)g->calls,
			 "calls_failed", (json_int_t)g->calls_failed, "messages",
			 (json_int_t)g->messages, "message_bytes", (json_int_t)g->message_bytes,
			 "message_bytes_compressed", (json_int_t)g->message_bytes_compressed,
			 "messages_refused", (json_int_t)g->messages_refused, "protocol_errors",
			 (json_int_t)g->protocol_errors);
}

static json_t *ingest_stats(const struct sonde_ingest *in)
{
	struct sonde_ingest_stats s;

	sonde_ingest_get_stats(in, &s);
	return json_pack(
		"{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}",
		"reports", (json_int_t)s.reports, "duplicates", (json_int_t)s.duplicates, "refused",
		(json_int_t)s.refused, "refused_no_room", (json_int_t)s.refused_no_room,
		"collections", (json_int_t)s.collections, "collections_refused",
		(json_int_t)s.collections_refused, "samples", (json_int_t)s.samples, "emissions",
		(json_int_t)s.emissions, "emissions_refused", (json_int_t)s.emissions_refused,
		"rules_failed", (json_int_t)s.rules_failed, "run_ns", (json_int_t)s.run_ns,
		"rule_files", (json_int_t)s.rule_files, "rules", (json_int_t)s.rules, "rules_bad",
		(json_int_t)s.rules_bad, "rule_reloads", (json_int_t)s.rule_reloads,
		"rule_reloads_failed", (json_int_t)s.rule_reloads_failed);
}

/* Each rule file with what is in force of it, and what is wrong with what was read last. */
static json_t *rule_files(const struct sonde_ingest *in)
{
	const struct sonde_rule_set *s = sonde_ingest_rules(in);
	json_t *out = json_array();

	for (size_t i = 0; out && i < s->n; i++) {
		const struct sonde_rule_file *f = &s->v[i];
		json_int_t rules = f->rules ? (json_int_t)sonde_mal_rules_count(f->rules) : 0;
		json_t *file =
			json_pack("{s:o, s:I, s:o}", "file", sonde_json_text(f->name), "rules",
				  rules, "problem", sonde_json_text_or_null(f->problem));

		if (json_array_append_new(out, file) < 0) {
			json_decref(out);
			return NULL;
		}
	}
	return out;
}

static json_t *audit_stats(const struct sonde_audit *a)
{
	struct sonde_audit_stats s;

	sonde_audit_get_stats(a, &s);
	return json_pack("{s:I, s:I, s:I, s:I}", "entries", (json_int_t)s.entries, "refusals",
			 (json_int_t)s.refusals, "refusals_uncounted",
			 (json_int_t)s.refusals_uncounted, "unwritten", (json_int_t)s.unwritten);
}

static json_t *store_stats(struct sonde_backend *b)
{
	struct sonde_store_health health;
	struct sonde_store_stats s;

	sonde_store_get_stats(b->store, &s);
	sonde_store_get_health(b->store, &health);
	return json_pack(
		"{s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:o, s:I, s:I, s:I}", "jobs",
		(json_int_t)s.jobs, "jobs_failed", (json_int_t)s.jobs_failed, "jobs_refused",
		(json_int_t)s.jobs_refused, "commits", (json_int_t)s.commits, "queued_jobs",
		(json_int_t)s.queued_jobs, "queued_bytes", (json_int_t)s.queued_bytes, "condition",
		sonde_store_condition_name[health.condition], "since",
		sonde_json_time(health.since_ms), "free_bytes", (json_int_t)health.free_bytes,
		"reserve_bytes", (json_int_t)health.reserve_bytes, "times_full",
		(json_int_t)health.times_full);
}

static json_t *http_stats(const struct sonde_http_stats *h)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "connections_open",
			 (json_int_t)h->connections_open, "connections", (json_int_t)h->connections,
			 "connections_refused", (json_int_t)h->connections_refused,
			 "handshakes_refused", (json_int_t)h->handshakes_refused, "slow_ended",
			 (json_int_t)h->slow_ended, "malformed", (json_int_t)h->malformed,
			 "bodies_refused", (json_int_t)h->bodies_refused, "streams_refused",
			 (json_int_t)h->streams_refused, "answers_refused",
			 (json_int_t)h->answers_refused);
}

static json_t *series_stats(const struct sonde_series_table *st)
{
	struct sonde_series_stats s;

	sonde_series_table_get_stats(st, &s);
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "sets", (json_int_t)s.sets,
			 "series", (json_int_t)s.series, "buckets", (json_int_t)s.buckets, "dirty",
			 (json_int_t)s.dirty, "fine_refused", (json_int_t)s.fine_refused,
			 "minutes_refused", (json_int_t)s.minutes_refused, "refused",
			 (json_int_t)s.refused, "expired", (json_int_t)s.expired);
}

static json_t *retention_stats(const struct sonde_retention *rt)
{
	struct sonde_retention_stats s;

	sonde_retention_get_stats(rt, &s);
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:b, s:{s:o, s:o, s:o}}", "bytes",
			 (json_int_t)s.bytes, "free_bytes", (json_int_t)s.free_bytes, "max_bytes",
			 (json_int_t)s.max_bytes, "rows_deleted", (json_int_t)s.rows_deleted,
			 "tasks_forgotten", (json_int_t)s.tasks_forgotten, "given_back",
			 (json_int_t)s.given_back, "pressed", (int)s.pressed, "over", (int)s.over,
			 "kept_since", sonde_series_step_names[SONDE_SERIES_10S],
			 sonde_json_time(s.kept_since_ms[SONDE_SERIES_10S]),
			 sonde_series_step_names[SONDE_SERIES_1M],
			 sonde_json_time(s.kept_since_ms[SONDE_SERIES_1M]),
			 sonde_series_step_names[SONDE_SERIES_1H],
			 sonde_json_time(s.kept_since_ms[SONDE_SERIES_1H]));
}

static int by_count(const void *a, const void *b)
{
	json_int_t x = json_integer_value(json_object_get(*(json_t *const *)a, "count"));
	json_int_t y = json_integer_value(json_object_get(*(json_t *const *)b, "count"));

	return (x < y) - (x > y);
}

/* The most first. */
static json_t *refusals(struct sonde_backend *b)
{
	_cleanup_json_ json_t *all = json_array(), *out = json_array();
	_cleanup_free_ json_t **rows = NULL;
	int r = all && out ? sonde_refusals_append(&b->refusals, SONDE_INGEST_NO_TASK, all)
			   : -ENOMEM;
	size_t n;

	for (struct sonde_task *t = sonde_task_table_first(b->tasks); t && r == 0; t = t->hh.next)
		r = sonde_refusals_append(&t->refusals, t->spec->id, all);
	n = json_array_size(all);
	rows = r == 0 ? calloc(n + 1, sizeof(json_t *)) : NULL;
	if (!rows)
		return NULL;
	for (size_t i = 0; i < n; i++)
		rows[i] = json_array_get(all, i);
	qsort(rows, n, sizeof(json_t *), by_count);
	for (size_t i = 0; i < n && i < SONDE_REFUSALS_MAX; i++) {
		if (json_array_append(out, rows[i]) < 0)
			return NULL;
	}
	return TAKE_PTR(out);
}

json_t *sonde_view_stats(struct sonde_backend *b)
{
	struct sonde_registry_stats registry;

	sonde_registry_get_stats(b->registry, &registry);
	return json_pack(
		"{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:{s:I, s:I, s:I, s:I}, s:o, s:{s:I, s:I}}",
		"grpc", grpc_stats(b->grpc), "http", http_stats(sonde_httpd_stats(b->httpd)),
		"ingest", ingest_stats(b->ingest), "rules", rule_files(b->ingest), "series",
		series_stats(b->series), "retention", retention_stats(b->retention), "refused",
		refusals(b), "store", store_stats(b), "registry", "agents",
		(json_int_t)registry.agents, "processes", (json_int_t)registry.processes,
		"entities", (json_int_t)registry.entities, "refused", (json_int_t)registry.refused,
		"audit", audit_stats(b->audit), "graphql", "held", (json_int_t)b->n_graphql_held,
		"layers_refused", (json_int_t)sonde_graphql_layers_refused(b));
}
