/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/store/schema.h"

#include <errno.h>
#include <stdio.h>

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

/* migrations[n] brings user_version n to n + 1. A released step is never changed, only followed. */
static const char *const migrations[SONDE_STORE_SCHEMA] = {to_1, to_2, to_3};

/* Those that take more than a line; a list of split literals hides a missing comma. */
static const char put_task[] =
	"INSERT INTO task VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (id) DO UPDATE SET"
	" ended_ms = ?3, state = ?4, doc = ?5";
static const char put_series[] =
	"INSERT INTO series VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT"
	" (task, metric, entity, step_ms, start_ms) DO UPDATE SET serial = ?6, data = ?7";
static const char get_pending[] =
	"SELECT serial, task, sequence, hash, received_ms, kind, data FROM report"
	" WHERE data IS NOT NULL ORDER BY serial";
static const char get_series[] =
	"SELECT metric, entity, step_ms, start_ms, serial, data FROM series"
	" WHERE task = ?1 ORDER BY metric, entity, step_ms, start_ms";

static const char put_template[] =
	"INSERT INTO template VALUES (?1, ?2, ?3) ON CONFLICT (id) DO UPDATE SET configuration = ?2, disabled = ?3";

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
	" ORDER BY " key " DESC, agent, id LIMIT ?11"
static const char flows_by_bytes[] = FLOWS_BY("bytes");
static const char flows_by_retransmits[] = FLOWS_BY("retransmits");
static const char flows_by_rtt[] = FLOWS_BY("rtt_us");
static const char flows_by_start[] = FLOWS_BY("start_ms");
static const char flow_ends[] =
	"SELECT task, process, process_name, data FROM flow WHERE client = ?1 AND role <> ?2"
	" AND start_ms <= ?4 AND (end_ms = 0 OR end_ms >= ?3) LIMIT 8";

static const char *const statements[_SONDE_STORE_STATEMENT_MAX] = {
	[SONDE_STORE_PUT_TASK] = put_task,
	[SONDE_STORE_DELETE_TASK] = "DELETE FROM task WHERE id = ?1",
	[SONDE_STORE_DELETE_TASK_REPORTS] =
		"DELETE FROM report WHERE task = ?1 AND received_ms < ?2",
	[SONDE_STORE_DELETE_TASK_SERIES] = "DELETE FROM series WHERE task = ?1 AND start_ms < ?2",
	[SONDE_STORE_PUT_AGENT] = "INSERT OR REPLACE INTO agent VALUES (?1, ?2, ?3)",
	[SONDE_STORE_DELETE_AGENT] = "DELETE FROM agent WHERE id = ?1",
	[SONDE_STORE_PUT_PROCESS] = "INSERT OR REPLACE INTO process VALUES (?1, ?2, ?3, ?4, ?5)",
	[SONDE_STORE_DELETE_PROCESS] = "DELETE FROM process WHERE agent = ?1 AND pid = ?2",
	[SONDE_STORE_PUT_ENTITY] = "INSERT OR REPLACE INTO entity VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
	[SONDE_STORE_DELETE_ENTITY] = "DELETE FROM entity WHERE id = ?1",
	[SONDE_STORE_PUT_REPORT] = "INSERT INTO report VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
	[SONDE_STORE_CLEAR_REPORTS] =
		"UPDATE report SET data = NULL WHERE serial <= ?1 AND data IS NOT NULL",
	[SONDE_STORE_PUT_SERIES] = put_series,
	[SONDE_STORE_PUT_FLOW] = put_flow,
	[SONDE_STORE_DELETE_FLOW] =
		"DELETE FROM flow WHERE task = ?1 AND agent = ?2 AND id = ?3 AND sequence <= ?4",
	[SONDE_STORE_DELETE_STALE_FLOWS] =
		"DELETE FROM flow WHERE task = ?1 AND agent = ?2 AND open <> 0 AND sequence < ?3",
	[SONDE_STORE_DELETE_TASK_FLOWS] = "DELETE FROM flow WHERE task = ?1",
	[SONDE_STORE_PUT_TEMPLATE] = put_template,
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
	[SONDE_STORE_GET_SERIES] = get_series,
	[SONDE_STORE_COUNT_FLOWS] = "SELECT count(*) FROM flow WHERE task = ?1",
	[SONDE_STORE_GET_FLOWS_BY_BYTES] = flows_by_bytes,
	[SONDE_STORE_GET_FLOWS_BY_RETRANSMITS] = flows_by_retransmits,
	[SONDE_STORE_GET_FLOWS_BY_RTT] = flows_by_rtt,
	[SONDE_STORE_GET_FLOWS_BY_START] = flows_by_start,
	[SONDE_STORE_GET_FLOW_ENDS] = flow_ends,
	[SONDE_STORE_GET_TEMPLATES] =
		"SELECT id, configuration, disabled FROM template ORDER BY rowid",
	[SONDE_STORE_GET_FLOWS_TO] =
		"SELECT data FROM flow WHERE task = ?1 AND remote = ?2 AND role = 1 AND peer = '' LIMIT 16",
};

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
		r = run_text(db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
				 "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;");
	if (r < 0) {
		(void)sqlite3_close(db);
		return r;
	}
	*ret = db;
	return 0;
}

static int read_version(sqlite3 *db, int *ret)
{
	sqlite3_stmt *stmt = NULL;
	int rc;

	rc = sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &stmt, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(stmt);
	if (rc == SQLITE_ROW)
		*ret = sqlite3_column_int(stmt, 0);
	(void)sqlite3_finalize(stmt);
	return rc == SQLITE_ROW ? 0 : sonde_store_errno(rc);
}

int sonde_store_migrate(sqlite3 *db)
{
	int version = 0, r;

	r = read_version(db, &version);
	if (r < 0)
		return r;
	if (version < 0 || version > SONDE_STORE_SCHEMA)
		return -EPROTO;
	for (; version < SONDE_STORE_SCHEMA; version++) {
		char set[64];

		(void)snprintf(set, sizeof(set), "PRAGMA user_version = %d; COMMIT", version + 1);
		r = run_text(db, "BEGIN IMMEDIATE");
		if (r == 0)
			r = run_text(db, migrations[version]);
		if (r == 0)
			r = run_text(db, set);
		if (r < 0) {
			(void)run_text(db, "ROLLBACK");
			return r;
		}
	}
	return 0;
}
