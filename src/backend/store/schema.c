/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/store/schema.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>

#include "base/log.h"

#define BUSY_TIMEOUT_MS 5000

static const char to_1[] =
	"CREATE TABLE task (id TEXT PRIMARY KEY, created_ms INTEGER NOT NULL, ended_ms INTEGER NOT NULL,"
	" state TEXT NOT NULL, doc TEXT NOT NULL) STRICT, WITHOUT ROWID;"
	"CREATE TABLE agent (id TEXT PRIMARY KEY, last_seen_ms INTEGER NOT NULL, doc TEXT NOT NULL)"
	" STRICT, WITHOUT ROWID;"
	"CREATE TABLE process (agent TEXT NOT NULL, pid INTEGER NOT NULL, process_id TEXT NOT NULL,"
	" last_seen_ms INTEGER NOT NULL, doc TEXT NOT NULL, PRIMARY KEY (agent, pid)) STRICT, WITHOUT ROWID;"
	"CREATE TABLE entity (id TEXT PRIMARY KEY, seen_ms INTEGER NOT NULL, service TEXT NOT NULL,"
	" instance TEXT NOT NULL, name TEXT NOT NULL, kind TEXT NOT NULL) STRICT, WITHOUT ROWID;"
	"CREATE TABLE report (serial INTEGER PRIMARY KEY AUTOINCREMENT, task TEXT NOT NULL, sequence INTEGER NOT NULL,"
	" hash TEXT NOT NULL, received_ms INTEGER NOT NULL, kind INTEGER NOT NULL, data BLOB) STRICT;"
	"CREATE UNIQUE INDEX report_id ON report (task, sequence, hash);"
	"CREATE INDEX report_pending ON report (serial) WHERE data IS NOT NULL;"
	"CREATE TABLE series (task TEXT NOT NULL, metric TEXT NOT NULL, entity TEXT NOT NULL,"
	" step_ms INTEGER NOT NULL, start_ms INTEGER NOT NULL, serial INTEGER NOT NULL, data BLOB NOT NULL,"
	" PRIMARY KEY (task, metric, entity, step_ms, start_ms)) STRICT, WITHOUT ROWID;";

static const char to_2[] =
	"CREATE TABLE flow (task TEXT NOT NULL, agent TEXT NOT NULL, id INTEGER NOT NULL, sequence INTEGER NOT NULL,"
	" open INTEGER NOT NULL, state INTEGER NOT NULL, failed INTEGER NOT NULL, role INTEGER NOT NULL,"
	" pid INTEGER NOT NULL, process TEXT NOT NULL, process_name TEXT NOT NULL, peer TEXT NOT NULL,"
	" peer_name TEXT NOT NULL, remote TEXT NOT NULL, client TEXT NOT NULL, start_ms INTEGER NOT NULL,"
	" end_ms INTEGER NOT NULL, bytes INTEGER NOT NULL, retransmits INTEGER NOT NULL, rtt_us INTEGER NOT NULL,"
	" data BLOB NOT NULL, PRIMARY KEY (task, agent, id)) STRICT, WITHOUT ROWID;"
	"CREATE INDEX flow_bytes ON flow (task, bytes DESC, agent, id);"
	"CREATE INDEX flow_retransmits ON flow (task, retransmits DESC, agent, id);"
	"CREATE INDEX flow_rtt ON flow (task, rtt_us DESC, agent, id);"
	"CREATE INDEX flow_start ON flow (task, start_ms DESC, agent, id);"
	"CREATE INDEX flow_remote ON flow (task, remote);"
	"CREATE INDEX flow_client ON flow (client);";

static const char to_3[] =
	"CREATE TABLE template (id TEXT PRIMARY KEY, configuration TEXT NOT NULL, disabled INTEGER NOT NULL) STRICT;";

static const char to_4[] =
	"CREATE TABLE policy (service TEXT PRIMARY KEY, changed_ms INTEGER NOT NULL, document TEXT NOT NULL,"
	" record TEXT NOT NULL) STRICT, WITHOUT ROWID;";

/* progress: how many transactions were committed, against the marker beside the file (marker.h). */
static const char to_5[] =
	"CREATE TABLE progress (id INTEGER PRIMARY KEY CHECK (id = 1), commits INTEGER NOT NULL) STRICT;"
	"INSERT INTO progress VALUES (1, 0);"
	"CREATE TABLE audit (serial INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, refused INTEGER NOT NULL,"
	" who TEXT NOT NULL, role TEXT NOT NULL, address TEXT NOT NULL, action TEXT NOT NULL,"
	" subject TEXT NOT NULL, status INTEGER NOT NULL, words TEXT NOT NULL) STRICT;"
	"CREATE INDEX audit_kind ON audit (refused, serial);";

/*
 * Series by number: the key of a bucket is 12 bytes instead of 300. A set is a task's, an id its number (<< 24) and the
 * series' own; start is in units of 10 s. By time first, so that new buckets lie together and old ones go together.
 */
static const char to_6[] =
	"CREATE TABLE series_set (task TEXT PRIMARY KEY, no INTEGER NOT NULL UNIQUE, first INTEGER NOT NULL,"
	" last INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
	"CREATE TABLE series_name (no INTEGER NOT NULL, metric TEXT NOT NULL, entity TEXT NOT NULL, id INTEGER NOT NULL,"
	" PRIMARY KEY (no, metric, entity)) STRICT, WITHOUT ROWID;"
	"CREATE TABLE bucket (step INTEGER NOT NULL, start INTEGER NOT NULL, series INTEGER NOT NULL,"
	" serial INTEGER NOT NULL, minutes INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (step, start, series))"
	" STRICT, WITHOUT ROWID;"
	"INSERT INTO series_set SELECT task, row_number() OVER (ORDER BY task), min(start_ms) / 10000,"
	" max(start_ms) / 10000 FROM series GROUP BY task;"
	"INSERT INTO series_name SELECT no, metric, entity, (no << 24) + row_number() OVER"
	" (PARTITION BY no ORDER BY metric, entity) - 1"
	" FROM (SELECT DISTINCT task, metric, entity FROM series) JOIN series_set USING (task);"
	"INSERT INTO bucket SELECT step_ms = 60000, start_ms / 10000, id, serial, 0, data FROM series"
	" JOIN series_set USING (task) JOIN series_name USING (no, metric, entity) WHERE step_ms IN (10000, 60000);"
	"DROP TABLE series;"
	/* Tasks that are forgotten, but of which there still is something to delete. */
	"CREATE TABLE dropped (task TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;";

/*
 * migrations[n] brings user_version n to n + 1: its text, then its function, if it has one. A released step is never
 * changed, only followed.
 */
static const struct migration {
	const char *sql;
	int (*run)(sqlite3 *db);
} migrations[SONDE_STORE_SCHEMA] = {
	{to_1, NULL}, {to_2, NULL}, {to_3, NULL},
	{to_4, NULL}, {to_5, NULL}, {to_6, sonde_store_make_hours},
};

/* Those that take more than a line; a list of split literals hides a missing comma. */
static const char put_task[] =
	"INSERT INTO task VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (id) DO UPDATE SET"
	" ended_ms = ?3, state = ?4, doc = ?5";
static const char put_set[] =
	"INSERT INTO series_set VALUES (?1, ?2, ?3, ?4) ON CONFLICT (task) DO UPDATE SET"
	" first = min(first, ?3), last = max(last, ?4)";
static const char put_bucket[] =
	"INSERT INTO bucket VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (step, start, series) DO UPDATE SET"
	" serial = ?4, minutes = ?5, data = ?6";
static const char delete_old_buckets[] =
	"DELETE FROM bucket WHERE step = ?1 AND (start, series) IN"
	" (SELECT start, series FROM bucket WHERE step = ?1 AND start < ?2 ORDER BY start, series LIMIT ?3)";
static const char delete_names[] =
	"DELETE FROM series_name WHERE no = ?1 AND (metric, entity) IN"
	" (SELECT metric, entity FROM series_name WHERE no = ?1 LIMIT ?2)";
static const char get_pending[] =
	"SELECT serial, task, sequence, hash, received_ms, kind, data FROM report"
	" WHERE data IS NOT NULL ORDER BY serial";
/* Each start is looked for: other tasks' buckets lie between those of one. */
static const char get_buckets[] =
	"WITH RECURSIVE at (t) AS (VALUES (?2) UNION ALL SELECT t + ?6 FROM at WHERE t + ?6 <= ?3)"
	" SELECT start, series, serial, minutes, data FROM at CROSS JOIN bucket"
	" WHERE step = ?1 AND start = t AND series BETWEEN ?4 AND ?5";
static const char get_space[] =
	"SELECT page_size, page_count, freelist_count FROM pragma_page_size(), pragma_page_count(),"
	" pragma_freelist_count()";

static const char put_audit[] =
	"INSERT INTO audit (at_ms, refused, who, role, address, action, subject, status, words)"
	" VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
static const char trim_audit[] =
	"DELETE FROM audit WHERE refused = ?1 AND serial <="
	" (SELECT serial FROM audit WHERE refused = ?1 ORDER BY serial DESC LIMIT 1 OFFSET ?2)";
static const char get_audit[] =
	"SELECT serial, at_ms, who, role, address, action, subject, status, words FROM audit"
	" WHERE serial < ?1 AND at_ms >= ?2 AND at_ms < ?3 ORDER BY serial DESC LIMIT ?4";
static const char put_template[] =
	"INSERT INTO template VALUES (?1, ?2, ?3) ON CONFLICT (id) DO UPDATE SET configuration = ?2, disabled = ?3";

static const char put_policy[] =
	"INSERT INTO policy VALUES (?1, ?2, ?3, '{}') ON CONFLICT (service) DO UPDATE SET changed_ms = ?2, document = ?3";

static const char put_flow[] =
	"INSERT INTO flow VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18,"
	" ?19, ?20, ?21) ON CONFLICT (task, agent, id) DO UPDATE SET sequence = ?4, open = ?5, state = ?6, failed = ?7,"
	" role = ?8, pid = ?9, process = ?10, process_name = ?11, peer = ?12, peer_name = ?13, remote = ?14,"
	" client = ?15, start_ms = ?16, end_ms = ?17, bytes = ?18, retransmits = ?19, rtt_us = ?20, data = ?21"
	" WHERE sequence <= ?4";
#define FLOWS_BY(key)                                                                              \
	"SELECT agent, id, pid, process, process_name, peer, peer_name, data, " key " FROM flow"   \
	" WHERE task = ?1 AND " key " <= ?2 AND (" key " < ?2 OR (agent, id) > (?3, ?4))"          \
	" AND (?5 = '' OR ?5 IN (process, process_name, CAST(pid AS TEXT)))"                       \
	" AND (?6 = '' OR ?6 IN (peer, peer_name, remote)) AND (?7 < 0 OR (open = 1) = ?7)"        \
	" AND (?8 < 0 OR state = ?8) AND (?9 < 0 OR failed = ?9) AND (?10 < 0 OR role = ?10)"      \
	" AND (?12 = 0 OR end_ms = 0 OR end_ms >= ?12) AND (?13 = 0 OR start_ms < ?13)"            \
	" ORDER BY " key " DESC, agent, id LIMIT ?11"
static const char flows_by_bytes[] = FLOWS_BY("bytes");
static const char flows_by_retransmits[] = FLOWS_BY("retransmits");
static const char flows_by_rtt[] = FLOWS_BY("rtt_us");
static const char flows_by_start[] = FLOWS_BY("start_ms");
static const char flow_ends[] =
	"SELECT task, process, process_name, data FROM flow WHERE client = ?1 AND role <> ?2"
	" AND start_ms <= ?4 AND (end_ms = 0 OR end_ms >= ?3) LIMIT 8";

static const char delete_some_flows[] = "DELETE FROM flow WHERE task = ?1 AND (agent, id) IN"
					" (SELECT agent, id FROM flow WHERE task = ?1 LIMIT ?2)";
static const char get_dropped[] =
	"SELECT task, EXISTS (SELECT 1 FROM flow WHERE flow.task = dropped.task),"
	" EXISTS (SELECT 1 FROM report WHERE report.task = dropped.task) FROM dropped LIMIT 1";

static const char *const statements[_SONDE_STORE_STATEMENT_MAX] = {
	[SONDE_STORE_PUT_TASK] = put_task,
	[SONDE_STORE_DELETE_TASK] = "DELETE FROM task WHERE id = ?1",
	[SONDE_STORE_DELETE_TASK_REPORTS] =
		"DELETE FROM report WHERE task = ?1 AND received_ms < ?2",
	[SONDE_STORE_PUT_AGENT] = "INSERT OR REPLACE INTO agent VALUES (?1, ?2, ?3)",
	[SONDE_STORE_DELETE_AGENT] = "DELETE FROM agent WHERE id = ?1",
	[SONDE_STORE_PUT_PROCESS] = "INSERT OR REPLACE INTO process VALUES (?1, ?2, ?3, ?4, ?5)",
	[SONDE_STORE_DELETE_PROCESS] = "DELETE FROM process WHERE agent = ?1 AND pid = ?2",
	[SONDE_STORE_PUT_ENTITY] = "INSERT OR REPLACE INTO entity VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
	[SONDE_STORE_DELETE_ENTITY] = "DELETE FROM entity WHERE id = ?1",
	[SONDE_STORE_PUT_REPORT] = "INSERT INTO report VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
	[SONDE_STORE_CLEAR_REPORTS] =
		"UPDATE report SET data = NULL WHERE serial <= ?1 AND data IS NOT NULL",
	[SONDE_STORE_PUT_SET] = put_set,
	[SONDE_STORE_PUT_NAME] =
		"INSERT INTO series_name VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
	[SONDE_STORE_PUT_BUCKET] = put_bucket,
	[SONDE_STORE_DROP_TASK] = "INSERT INTO dropped VALUES (?1) ON CONFLICT DO NOTHING",
	[SONDE_STORE_DELETE_SOME_FLOWS] = delete_some_flows,
	[SONDE_STORE_DELETE_SOME_REPORTS] =
		"DELETE FROM report WHERE serial IN (SELECT serial FROM report WHERE task = ?1 LIMIT ?2)",
	[SONDE_STORE_DELETE_DROPPED] = "DELETE FROM dropped WHERE task = ?1",
	[SONDE_STORE_DELETE_OLD_BUCKETS] = delete_old_buckets,
	[SONDE_STORE_DELETE_SET_BUCKETS] =
		"DELETE FROM bucket WHERE step = ?1 AND start = ?2 AND series BETWEEN ?3 AND ?4",
	[SONDE_STORE_DELETE_NAMES] = delete_names,
	[SONDE_STORE_DELETE_SET] = "DELETE FROM series_set WHERE no = ?1",
	[SONDE_STORE_GIVE_BACK] = "PRAGMA incremental_vacuum(512)",
	[SONDE_STORE_PUT_FLOW] = put_flow,
	[SONDE_STORE_DELETE_FLOW] =
		"DELETE FROM flow WHERE task = ?1 AND agent = ?2 AND id = ?3 AND sequence <= ?4",
	[SONDE_STORE_DELETE_STALE_FLOWS] =
		"DELETE FROM flow WHERE task = ?1 AND agent = ?2 AND open <> 0 AND sequence < ?3",
	[SONDE_STORE_PUT_TEMPLATE] = put_template,
	[SONDE_STORE_PUT_POLICY] = put_policy,
	[SONDE_STORE_PUT_POLICY_RECORD] = "UPDATE policy SET record = ?2 WHERE service = ?1",
	[SONDE_STORE_DELETE_POLICY] = "DELETE FROM policy WHERE service = ?1",
	[SONDE_STORE_COUNT_COMMIT] = "UPDATE progress SET commits = commits + 1",
	[SONDE_STORE_PUT_AUDIT] = put_audit,
	[SONDE_STORE_TRIM_AUDIT] = trim_audit,
};

static const char *const queries[_SONDE_STORE_QUERY_MAX] = {
	[SONDE_STORE_GET_TASKS] =
		"SELECT id, created_ms, ended_ms, state, doc FROM task ORDER BY created_ms, id",
	[SONDE_STORE_GET_AGENTS] = "SELECT id, last_seen_ms, doc FROM agent",
	[SONDE_STORE_GET_PROCESSES] =
		"SELECT agent, pid, process_id, last_seen_ms, doc FROM process",
	[SONDE_STORE_GET_ENTITIES] =
		"SELECT id, seen_ms, service, instance, name, kind FROM entity",
	[SONDE_STORE_GET_REPORT_IDS] =
		"SELECT sequence, hash, received_ms FROM report WHERE task = ?1",
	[SONDE_STORE_GET_PENDING] = get_pending,
	[SONDE_STORE_GET_SERIAL] =
		"SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'report'",
	[SONDE_STORE_GET_SET] = "SELECT no, first, last FROM series_set WHERE task = ?1",
	[SONDE_STORE_GET_SET_MAX] = "SELECT coalesce(max(no), 0) FROM series_set",
	[SONDE_STORE_GET_DROPPED] = get_dropped,
	[SONDE_STORE_FIND_DROPPED] = "SELECT 1 FROM dropped WHERE task = ?1",
	[SONDE_STORE_GET_NAMES] = "SELECT metric, entity, id FROM series_name WHERE no = ?1",
	[SONDE_STORE_GET_NAME] =
		"SELECT id FROM series_name WHERE no = ?1 AND metric = ?2 AND entity = ?3",
	[SONDE_STORE_GET_LAST_NAME] = "SELECT coalesce(max(id), -1) FROM series_name WHERE no = ?1",
	[SONDE_STORE_GET_BUCKETS] = get_buckets,
	[SONDE_STORE_GET_OLDEST_BUCKET] =
		"SELECT start FROM bucket WHERE step = ?1 ORDER BY start LIMIT 1",
	[SONDE_STORE_GET_SPACE] = get_space,
	[SONDE_STORE_COUNT_FLOWS] = "SELECT count(*) FROM flow WHERE task = ?1",
	[SONDE_STORE_GET_FLOWS_BY_BYTES] = flows_by_bytes,
	[SONDE_STORE_GET_FLOWS_BY_RETRANSMITS] = flows_by_retransmits,
	[SONDE_STORE_GET_FLOWS_BY_RTT] = flows_by_rtt,
	[SONDE_STORE_GET_FLOWS_BY_START] = flows_by_start,
	[SONDE_STORE_GET_FLOW_ENDS] = flow_ends,
	[SONDE_STORE_GET_POLICIES] =
		"SELECT service, changed_ms, document, record FROM policy ORDER BY service",
	[SONDE_STORE_GET_TEMPLATES] =
		"SELECT id, configuration, disabled FROM template ORDER BY rowid",
	[SONDE_STORE_GET_COMMITS] = "SELECT commits FROM progress",
	[SONDE_STORE_GET_AUDIT] = get_audit,
	[SONDE_STORE_GET_FLOWS_TO] =
		"SELECT data FROM flow WHERE task = ?1 AND remote = ?2 AND role = 1 AND peer = '' LIMIT 16",
};

int sonde_store_schema(void)
{
	return SONDE_STORE_SCHEMA;
}

const char *sonde_store_statement_sql(enum sonde_store_statement s)
{
	return statements[s];
}

const char *sonde_store_query_sql(enum sonde_store_query q)
{
	return queries[q];
}

int sonde_store_errno(int rc)
{
	switch (rc & 0xff) {
	case SQLITE_OK:
	case SQLITE_ROW:
	case SQLITE_DONE:
		return 0;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return -EUCLEAN;
	case SQLITE_READONLY:
	case SQLITE_PERM:
		return -EACCES;
	case SQLITE_CANTOPEN:
		return -ENOENT;
	case SQLITE_CONSTRAINT:
		return -EEXIST;
	default:
		return -EIO;
	}
}

int sonde_store_db_errno(sqlite3 *db, int rc)
{
	int extended = sqlite3_extended_errcode(db), error = sqlite3_system_errno(db);

	if ((rc & 0xff) == SQLITE_IOERR && (extended & 0xff) == SQLITE_IOERR &&
	    (extended == SQLITE_IOERR_SHMSIZE || error == ENOSPC || error == EDQUOT))
		return -ENOSPC;
	return sonde_store_errno(rc);
}

static int run_text(sqlite3 *db, const char *sql)
{
	return sonde_store_errno(sqlite3_exec(db, sql, NULL, NULL, NULL));
}

int sonde_store_connect(const char *path, sqlite3 **ret)
{
	sqlite3 *db = NULL;
	int rc, r;

	rc = sqlite3_open_v2(
		path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
	r = sonde_store_errno(rc);
	if (r == 0)
		r = sonde_store_errno(sqlite3_busy_timeout(db, BUSY_TIMEOUT_MS));
	if (r == 0)
		r = run_text(db, "PRAGMA auto_vacuum = INCREMENTAL;" /* of a new file */
				 "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
				 "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;");
	if (r < 0) {
		(void)sqlite3_close(db);
		return r;
	}
	*ret = db;
	return 0;
}

static int read_pragma(sqlite3 *db, const char *sql, int *ret)
{
	sqlite3_stmt *stmt = NULL;
	int rc;

	rc = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(stmt);
	if (rc == SQLITE_ROW)
		*ret = sqlite3_column_int(stmt, 0);
	(void)sqlite3_finalize(stmt);
	return rc == SQLITE_ROW ? 0 : sonde_store_errno(rc);
}

/* A file of an older server cannot give space back before it has been written anew once. */
static int let_shrink(sqlite3 *db)
{
	int mode = 0, r;

	r = read_pragma(db, "PRAGMA auto_vacuum", &mode);
	if (r < 0 || mode != 0)
		return r;
	sonde_log_info("writing the database anew, once, so that it can give space back");
	r = run_text(db, "PRAGMA auto_vacuum = INCREMENTAL; VACUUM");
	if (r == -ENOMEM || r == -EUCLEAN)
		return r;
	if (r < 0)
		(void)sonde_log_warn(r, "cannot write the database anew: it gives no space back "
					"until that succeeds at a later start");
	return 0;
}

int sonde_store_read_version(sqlite3 *db, int *ret)
{
	return read_pragma(db, "PRAGMA user_version", ret);
}

int sonde_store_migrate_to(sqlite3 *db, int wanted)
{
	int version = 0, r;

	r = sonde_store_read_version(db, &version);
	if (r < 0)
		return r;
	if (version < 0 || version > wanted)
		return -EPROTO;
	assert(wanted <= SONDE_STORE_SCHEMA);
	for (; version < wanted; version++) {
		char set[64];

		(void)snprintf(set, sizeof(set), "PRAGMA user_version = %d; COMMIT", version + 1);
		r = run_text(db, "BEGIN IMMEDIATE");
		if (r == 0)
			r = run_text(db, migrations[version].sql);
		if (r == 0 && migrations[version].run)
			r = migrations[version].run(db);
		if (r == 0)
			r = run_text(db, set);
		if (r < 0) {
			(void)run_text(db, "ROLLBACK");
			return r;
		}
	}
	return 0;
}

int sonde_store_migrate(sqlite3 *db)
{
	int r = sonde_store_migrate_to(db, SONDE_STORE_SCHEMA);

	return r < 0 ? r : let_shrink(db);
}
