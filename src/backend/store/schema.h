/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Schema: the tables, their migrations and the text of every statement. Private to store/. */

#include <sqlite3.h>

#include "backend/store/store.h"

#define SONDE_STORE_SCHEMA 6	      /* user_version of this build */
#define SONDE_STORE_SCHEMA_PROGRESS 5 /* the first one with table progress */

const char *sonde_store_statement_sql(enum sonde_store_statement s);
const char *sonde_store_query_sql(enum sonde_store_query q);

/* Opens with the pragmas that both connections need. Return: 0, -EUCLEAN, -EIO. */
int sonde_store_connect(const char *path, sqlite3 **ret) _must_check_;

/* Brings an older or empty file to SONDE_STORE_SCHEMA, each step in a transaction. Return: 0, -EPROTO, -EUCLEAN, -EIO. */
int sonde_store_migrate(sqlite3 *db) _must_check_;

/* Up to version @wanted alone: for a copy of an older file. */
int sonde_store_migrate_to(sqlite3 *db, int wanted) _must_check_;

/* user_version. Return: 0, -EUCLEAN, -EIO. */
int sonde_store_read_version(sqlite3 *db, int *ret) _must_check_;

/* sonde_store_errno() of what @db says of the call that returned @rc: a quota, and no room for -shm, are -ENOSPC too. */
int sonde_store_db_errno(sqlite3 *db, int rc);

/* Of migration 6: hours from the minutes that an older server kept. Within its transaction. Return: 0, -ENOMEM, -EIO. */
int sonde_store_make_hours(sqlite3 *db) _must_check_;

/* -ENOSPC, -ENOMEM, -EUCLEAN, … for an SQLite result code; 0 for SQLITE_OK, ROW and DONE. */
int sonde_store_errno(int rc);
