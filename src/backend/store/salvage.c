/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Salvage: row by row out of a damaged file into a new one. Each table is read from its first row on; where that meets
 * damage, from its last row backwards as well. Tables whose rows belong to tasks are read task by task, so that a damaged page
 * costs no other task anything. What a row says is not judged here: the server does, when it loads it.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "backend/store/rescue.h"
#include "backend/store/schema.h"

#define SQL_MAX 1024
#define KEY_MAX 256

struct salvage {
	sqlite3 *from, *to;
	struct sonde_store_salvage *result;
	char (*task)[64]; /* whose rows are read apart, "-" too */
	size_t n_tasks;
};

struct table {
	char name[48], key[KEY_MAX]; /* its primary key, "rowid" where it has one */
	char columns[SQL_MAX / 2], places[SQL_MAX / 4];
	bool by_task;
};

static int exec(sqlite3 *db, const char *sql)
{
	return sonde_store_db_errno(db, sqlite3_exec(db, sql, NULL, NULL, NULL));
}

static bool append(char *text, size_t size, const char *separator, const char *more)
{
	size_t n = strlen(text);

	return snprintf(text + n, size - n, "%s%s", n ? separator : "", more) < (int)(size - n);
}

/* As the new file has it: it is sound, and of the same version. */
static int describe(sqlite3 *db, const char *name, struct table *t)
{
	sqlite3_stmt *stmt = NULL;
	bool fits = true;
	int rc;

	*t = (struct table){0};
	(void)snprintf(t->name, sizeof(t->name), "%s", name);
	rc = sqlite3_prepare_v2(
		db,
		"SELECT i.name, i.pk, l.wr FROM pragma_table_info(?1) i, pragma_table_list(?1) l",
		-1, &stmt, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_bind_text(stmt, 1, name, -1, SQLITE_STATIC);
	while (rc == SQLITE_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		const char *column = (const char *)sqlite3_column_text(stmt, 0);
		bool without_rowid = sqlite3_column_int(stmt, 2) != 0;

		fits = fits && append(t->columns, sizeof(t->columns), ", ", column) &&
		       append(t->places, sizeof(t->places), ", ", "?");
		/* Keys are declared in the order of their columns. */
		if (sqlite3_column_int(stmt, 1) > 0 && without_rowid)
			fits = fits && append(t->key, sizeof(t->key), ", ", column);
		t->by_task = t->by_task || strcmp(column, "task") == 0;
		rc = SQLITE_OK;
	}
	(void)sqlite3_finalize(stmt);
	if (t->key[0] == '\0')
		(void)snprintf(t->key, sizeof(t->key), "rowid");
	if (!fits)
		return -E2BIG;
	return sonde_store_errno(rc);
}

static int put_row(sqlite3_stmt *in, sqlite3_stmt *out, uint64_t *rows)
{
	int rc = SQLITE_OK;

	for (int i = 0; i < sqlite3_column_count(in) && rc == SQLITE_OK; i++)
		rc = sqlite3_bind_value(out, i + 1, sqlite3_column_value(in, i));
	if (rc == SQLITE_OK)
		rc = sqlite3_step(out);
	if (rc == SQLITE_DONE)
		*rows += (uint64_t)sqlite3_changes(sqlite3_db_handle(out));
	(void)sqlite3_reset(out);
	(void)sqlite3_clear_bindings(out);
	/* A column of another type than it may be: the row is damaged, and left. */
	if (rc == SQLITE_DONE || (rc & 0xff) == SQLITE_CONSTRAINT || rc == SQLITE_MISMATCH)
		return 0;
	return sonde_store_db_errno(sqlite3_db_handle(out), rc);
}

/* The rows in one direction until damage. Return: 1 met damage, 0 all of them, -errno of the new file. */
static int read_rows(struct salvage *s, const struct table *t, const char *task, const char *order,
		     sqlite3_stmt *out, uint64_t *rows)
{
	char sql[SQL_MAX];
	sqlite3_stmt *in = NULL;
	int rc, r = 0;

	/* Of several columns, one DESC would be of the last alone. */
	(void)snprintf(sql, sizeof(sql), "SELECT %s FROM %s%s ORDER BY %s %s", t->columns, t->name,
		       task ? " WHERE task = ?1" : "", t->key, order);
	rc = sqlite3_prepare_v2(s->from, sql, -1, &in, NULL);
	if (rc == SQLITE_OK && task)
		rc = sqlite3_bind_text(in, 1, task, -1, SQLITE_STATIC);
	while (rc == SQLITE_OK && r == 0 && (rc = sqlite3_step(in)) == SQLITE_ROW) {
		r = put_row(in, out, rows);
		rc = SQLITE_OK;
	}
	(void)sqlite3_finalize(in);
	if (r < 0)
		return r;
	return rc == SQLITE_DONE ? 0 : 1;
}

static int read_both_ways(struct salvage *s, const struct table *t, const char *task,
			  sqlite3_stmt *out, struct sonde_store_salvaged *result)
{
	char down[KEY_MAX * 2] = "DESC";
	struct table backwards = *t;
	int r;

	r = read_rows(s, t, task, "", out, &result->rows);
	if (r <= 0)
		return r;
	result->faults++;
	/* (a, b) DESC: each of them. */
	backwards.key[0] = '\0';
	for (const char *p = t->key; *p;) {
		size_t n = strcspn(p, ",");

		(void)snprintf(down, sizeof(down), "%.*s%s", (int)n, p, p[n] ? " DESC" : "");
		if (!append(backwards.key, sizeof(backwards.key), ", ", down))
			return -E2BIG;
		p += n + strspn(p + n, ", ");
	}
	r = read_rows(s, &backwards, task, "DESC", out, &result->rows);
	return r < 0 ? r : 0;
}

static int read_table(struct salvage *s, const struct table *t, struct sonde_store_salvaged *result)
{
	struct sonde_store_salvaged rest = {0};
	char sql[SQL_MAX];
	sqlite3_stmt *out = NULL;
	int r;

	(void)snprintf(result->table, sizeof(result->table), "%s", t->name);
	(void)snprintf(sql, sizeof(sql), "INSERT OR IGNORE INTO %s (%s) VALUES (%s)", t->name,
		       t->columns, t->places);
	r = sonde_store_db_errno(s->to, sqlite3_prepare_v2(s->to, sql, -1, &out, NULL));
	if (r == 0 && !t->by_task)
		r = read_both_ways(s, t, NULL, out, result);
	for (size_t i = 0; i < s->n_tasks && r == 0 && t->by_task; i++)
		r = read_both_ways(s, t, s->task[i], out, result);
	/* What belongs to a task that could not be read; a fault that was met before is met again. */
	if (r == 0 && t->by_task)
		r = read_both_ways(s, t, NULL, out, &rest);
	(void)sqlite3_finalize(out);
	result->rows += rest.rows;
	result->faults += result->faults == 0 ? rest.faults : 0;
	return r;
}

static int note_task(struct salvage *s, const char *id)
{
	void *grown = realloc(s->task, (s->n_tasks + 1) * sizeof(*s->task));

	if (!grown)
		return -ENOMEM;
	s->task = grown;
	(void)snprintf(s->task[s->n_tasks++], sizeof(*s->task), "%s", id);
	return 0;
}

static int list_tasks(struct salvage *s)
{
	sqlite3_stmt *stmt = NULL;
	int rc, r = note_task(s, "-");

	rc = sqlite3_prepare_v2(s->to, "SELECT id FROM task", -1, &stmt, NULL);
	while (rc == SQLITE_OK && r == 0 && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		r = note_task(s, (const char *)sqlite3_column_text(stmt, 0));
		rc = SQLITE_OK;
	}
	(void)sqlite3_finalize(stmt);
	return r < 0 ? r : sonde_store_db_errno(s->to, rc);
}

/* The tables, that of the tasks first: the others are read by it. */
static int read_tables(struct salvage *s)
{
	sqlite3_stmt *stmt = NULL;
	struct table t;
	int rc, r = 0;

	rc = sqlite3_prepare_v2(s->to,
				"SELECT name FROM sqlite_schema WHERE type = 'table'"
				" AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
				" ORDER BY name <> 'task', name",
				-1, &stmt, NULL);
	while (rc == SQLITE_OK && r == 0 && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		rc = SQLITE_OK;
		if (s->result->n == SONDE_STORE_SALVAGE_TABLES_MAX)
			r = -E2BIG;
		if (r == 0)
			r = describe(s->to, (const char *)sqlite3_column_text(stmt, 0), &t);
		if (r == 0)
			r = read_table(s, &t, &s->result->table[s->result->n++]);
		if (r == 0 && strcmp(t.name, "task") == 0)
			r = list_tasks(s);
	}
	(void)sqlite3_finalize(stmt);
	return r < 0 ? r : sonde_store_db_errno(s->to, rc);
}

/*
 * A serial is never given twice: series know the last report in them by it. Where the old count cannot be read, one far
 * above what was.
 */
static int keep_serials(struct salvage *s)
{
	sqlite3_stmt *stmt = NULL;
	int64_t serial = -1;
	char sql[128];
	int r;

	if (sqlite3_prepare_v2(s->from, "SELECT seq FROM sqlite_sequence WHERE name = 'report'", -1,
			       &stmt, NULL) == SQLITE_OK) {
		int rc = sqlite3_step(stmt);

		serial = rc == SQLITE_ROW    ? sqlite3_column_int64(stmt, 0)
			 : rc == SQLITE_DONE ? 0
					     : -1;
	}
	(void)sqlite3_finalize(stmt);
	r = exec(s->to, "INSERT INTO sqlite_sequence SELECT 'report', 0 WHERE NOT EXISTS"
			" (SELECT 1 FROM sqlite_sequence WHERE name = 'report')");
	if (r < 0)
		return r;
	(void)snprintf(sql, sizeof(sql),
		       "UPDATE sqlite_sequence SET seq = max(seq + %d, %lld) WHERE name = 'report'",
		       serial < 0 ? 1 << 30 : 0, (long long)serial);
	return exec(s->to, sql);
}

static struct sonde_store_salvaged *result_of(struct salvage *s, const char *table)
{
	for (size_t i = 0; i < s->result->n; i++) {
		if (strcmp(s->result->table[i].table, table) == 0)
			return &s->result->table[i];
	}
	return NULL;
}

/*
 * Buckets know their series, and series their set, by number alone. A number whose owner is lost would be given out anew,
 * and what bears it would become somebody else's: it is left.
 */
static int leave_orphans(struct salvage *s)
{
	static const struct {
		const char *table, *sql;
	} orphans[] = {
		{"series_name",
		 "DELETE FROM series_name WHERE no NOT IN (SELECT no FROM series_set)"},
		{"bucket", "DELETE FROM bucket WHERE series NOT IN (SELECT id FROM series_name)"},
	};
	int r = 0;

	for (size_t i = 0; i < ELEMENTS_OF(orphans) && r == 0; i++) {
		struct sonde_store_salvaged *t = result_of(s, orphans[i].table);
		uint64_t n;

		if (!t) /* of an older version */
			continue;
		r = exec(s->to, orphans[i].sql);
		n = r == 0 ? (uint64_t)sqlite3_changes64(s->to) : 0;
		t->rows -= n;
		t->faults += n > 0;
	}
	return r;
}

static int copy_all(struct salvage *s, char *words)
{
	int version = 0, r;

	r = sonde_store_read_version(s->from, &version);
	if (r == 0 && version == 0)
		r = -EUCLEAN;
	if (r == 0)
		r = sonde_store_migrate_to(s->to, version);
	if (r < 0) {
		(void)snprintf(words, SONDE_STORE_WORDS_MAX, "nothing can be read: %s",
			       r == -EPROTO ? "it is of a newer version" : sqlite3_errmsg(s->from));
		return r;
	}
	r = exec(s->to, "BEGIN");
	if (r == 0)
		r = read_tables(s);
	if (r == 0)
		r = leave_orphans(s);
	if (r == 0)
		r = keep_serials(s);
	if (r == 0)
		r = exec(s->to, "COMMIT");
	if (r < 0)
		(void)snprintf(words, SONDE_STORE_WORDS_MAX, "the new file cannot be written: %s",
			       sqlite3_errmsg(s->to));
	return r;
}

static bool is_empty(const struct sonde_store_salvage *result)
{
	uint64_t rows = 0;

	for (size_t i = 0; i < result->n; i++) {
		if (strcmp(result->table[i].table, "progress") != 0) /* a row of our own */
			rows += result->table[i].rows;
	}
	return rows == 0;
}

static int copy_into(const char *path, const char *fresh, struct sonde_store_salvage *ret,
		     char *words)
{
	struct salvage s = {.result = ret};
	int r;

	r = sonde_store_errno(sqlite3_open_v2(path, &s.from, SQLITE_OPEN_READWRITE, NULL));
	if (r == 0)
		r = sonde_store_errno(sqlite3_open_v2(fresh, &s.to, SQLITE_OPEN_READWRITE, NULL));
	if (r == 0) {
		(void)sqlite3_db_config(s.from, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
		r = exec(s.from, "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON");
	}
	if (r == 0)
		r = copy_all(&s, words);
	(void)sqlite3_close(s.from);
	(void)sqlite3_close(s.to);
	free(s.task);
	if (r == 0 && is_empty(ret)) {
		(void)snprintf(words, SONDE_STORE_WORDS_MAX, "nothing of it can be read");
		return -EUCLEAN;
	}
	return r;
}

int sonde_store_salvage(const char *path, struct sonde_store_salvage *ret, char *words)
{
	struct sonde_store_salvage result = {0};
	char fresh[SONDE_STORE_PATH_MAX];
	_cleanup_close_ int fd = -1;
	int r;

	words[0] = ret->aside[0] = '\0';
	if (access(path, F_OK) < 0)
		return -errno;
	if (snprintf(fresh, sizeof(fresh), "%s.salvage", path) >= (int)sizeof(fresh))
		return -ENAMETOOLONG;
	sonde_store_remove(fresh); /* of an attempt that was ended */
	r = sonde_store_make_file(fresh, &fd);
	if (r < 0)
		return r;
	r = copy_into(path, fresh, &result, words);
	if (r == 0)
		r = sonde_store_replace(path, fresh, result.aside);
	if (r == 0 || !result.aside[0])
		sonde_store_remove(fresh);
	if (r < 0) {
		memcpy(ret->aside, result.aside, sizeof(ret->aside));
		return r;
	}
	*ret = result;
	return 0;
}
