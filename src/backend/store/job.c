/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/store/job.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "backend/store/schema.h"

struct sonde_store_job *sonde_store_job_new(void)
{
	struct sonde_store_job *j = calloc(1, sizeof(*j));

	if (j)
		j->last = &j->first;
	return j;
}

static struct sonde_store_op *op_free(struct sonde_store_op *op)
{
	for (unsigned i = 0; i < op->n_values; i++)
		free(op->values[i].data);
	free(op);
	return NULL;
}
SONDE_DEFINE_CLEANUP(struct sonde_store_op *, op_free)

struct sonde_store_job *sonde_store_job_free(struct sonde_store_job *j)
{
	struct sonde_store_op *op;

	if (!j)
		return NULL;
	while ((op = j->first)) {
		j->first = op->next;
		(void)op_free(op);
	}
	free(j);
	return NULL;
}

static int copy_bytes(struct sonde_store_value *v, const void *data, size_t n)
{
	v->data = malloc(n ? n : 1);
	if (!v->data)
		return -ENOMEM;
	if (n)
		memcpy(v->data, data, n);
	v->n = n;
	return 0;
}

int sonde_store_job_add(struct sonde_store_job *j, enum sonde_store_statement statement,
			const char *types, ...)
{
	_cleanup_(op_freep) struct sonde_store_op *op = NULL;
	size_t bytes = sizeof(*op) + strlen(types) * sizeof(op->values[0]);
	va_list ap;
	int r = 0;

	assert(j && statement < _SONDE_STORE_STATEMENT_MAX);
	assert(strlen(types) <= SONDE_STORE_VALUES_MAX);

	op = calloc(1, bytes);
	if (!op)
		return -ENOMEM;
	op->statement = statement;
	va_start(ap, types);
	for (const char *t = types; *t && r == 0; t++) {
		struct sonde_store_value *v = &op->values[op->n_values++];

		v->type = *t;
		if (*t == 'i') {
			v->number = va_arg(ap, int64_t);
		} else if (*t == 't') {
			const char *text = va_arg(ap, const char *);

			r = copy_bytes(v, text, strlen(text));
		} else if (*t == 'b') {
			const void *data = va_arg(ap, const void *);

			r = copy_bytes(v, data, va_arg(ap, size_t));
		}
		bytes += v->n;
	}
	va_end(ap);
	if (r < 0)
		return r;
	j->bytes += bytes;
	*j->last = op;
	j->last = &op->next;
	op = NULL;
	return 0;
}

static int bind_value(sqlite3_stmt *stmt, int at, const struct sonde_store_value *v)
{
	switch (v->type) {
	case 'i':
		return sqlite3_bind_int64(stmt, at, v->number);
	case 't':
		return sqlite3_bind_text64(stmt, at, v->data, v->n, SQLITE_STATIC, SQLITE_UTF8);
	case 'b':
		return sqlite3_bind_blob64(stmt, at, v->data, v->n, SQLITE_STATIC);
	default:
		return sqlite3_bind_null(stmt, at);
	}
}

static bool is_retention(enum sonde_store_statement s)
{
	return s == SONDE_STORE_DELETE_OLD_BUCKETS || s == SONDE_STORE_DELETE_SET_BUCKETS ||
	       s == SONDE_STORE_DELETE_SOME_FLOWS || s == SONDE_STORE_DELETE_SOME_REPORTS;
}

int sonde_store_job_run(struct sonde_store_job *j,
			sqlite3_stmt *const statements[_SONDE_STORE_STATEMENT_MAX])
{
	for (const struct sonde_store_op *op = j->first; op; op = op->next) {
		sqlite3_stmt *stmt = statements[op->statement];
		int rc = SQLITE_OK, r;

		for (unsigned i = 0; i < op->n_values && rc == SQLITE_OK; i++)
			rc = bind_value(stmt, (int)i + 1, &op->values[i]);
		if (rc == SQLITE_OK)
			rc = sqlite3_step(stmt);
		while (rc == SQLITE_ROW) /* incremental_vacuum: a page each */
			rc = sqlite3_step(stmt);
		if (rc == SQLITE_DONE && is_retention(op->statement))
			j->deleted += (uint64_t)sqlite3_changes(sqlite3_db_handle(stmt));
		r = sonde_store_db_errno(sqlite3_db_handle(stmt), rc);
		(void)sqlite3_reset(stmt);
		(void)sqlite3_clear_bindings(stmt);
		if (rc != SQLITE_DONE)
			return r ? r : -EIO;
	}
	return 0;
}
