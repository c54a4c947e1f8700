/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Schema: the tables, their migrations and the text of every statement. Private to store/. */

#include <sqlite3.h>

#include "backend/store/store.h"

#define SONDE_STORE_SCHEMA 3 /* user_version of this build */

const char *sonde_store_statement_sql(enum sonde_store_statement s);
const char *sonde_store_query_sql(enum sonde_store_query q);

/* Opens with the pragmas that both connections need. Return: 0, -EUCLEAN, -EIO. */
int sonde_store_connect(const char *path, sqlite3 **ret) _must_check_;

/* Brings an older or empty file to SONDE_STORE_SCHEMA, each step in a transaction. Return: 0, -EPROTO, -EUCLEAN, -EIO. */
int sonde_store_migrate(sqlite3 *db) _must_check_;

/* -ENOSPC, -ENOMEM, -EUCLEAN, … for an SQLite result code; 0 for SQLITE_OK, ROW and DONE. */
int sonde_store_errno(int rc);
