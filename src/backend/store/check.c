/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/store/check.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "backend/store/marker.h"
#include "backend/store/schema.h"
#include "base/clock.h"
#include "base/num.h"

#define MAGIC "SQLite format 3" /* and a NUL */
#define AGAIN_MS 20		/* SQLite forgets an interrupt that comes between two statements */

_printf_(3, 4) static void fault(struct sonde_store_verdict *v, int error, const char *fmt, ...)
{
	va_list ap;

	v->error = error;
	va_start(ap, fmt);
	(void)vsnprintf(v->words, sizeof(v->words), fmt, ap);
	va_end(ap);
}

/* --- the time limit: a thread that interrupts --- */

struct alarm {
	sqlite3 *db;
	uint64_t at_ns;
	pthread_t thread;
	pthread_mutex_t lock; /* of the two below */
	pthread_cond_t change;
	bool over, rang;
};

static struct timespec to_timespec(uint64_t ns)
{
	return (struct timespec){.tv_sec = (time_t)(ns / SONDE_NS_PER_S),
				 .tv_nsec = (long)(ns % SONDE_NS_PER_S)};
}

static void *alarm_main(void *arg)
{
	struct alarm *a = arg;

	(void)pthread_mutex_lock(&a->lock);
	while (!a->over) {
		const struct timespec until = to_timespec(a->at_ns);

		if (pthread_cond_timedwait(&a->change, &a->lock, &until) != ETIMEDOUT)
			continue;
		a->rang = true;
		sqlite3_interrupt(a->db);
		a->at_ns += AGAIN_MS * SONDE_NS_PER_MS;
	}
	(void)pthread_mutex_unlock(&a->lock);
	return NULL;
}

static int alarm_start(struct alarm *a, sqlite3 *db, uint64_t limit_ns)
{
	pthread_condattr_t attr;
	sigset_t all, old;
	int r;

	*a = (struct alarm){.db = db, .at_ns = sonde_mono_ns() + limit_ns};
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_mutex_init(&a->lock, NULL);
	(void)pthread_cond_init(&a->change, &attr);
	(void)pthread_condattr_destroy(&attr);
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	r = -pthread_create(&a->thread, NULL, alarm_main, a);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	return r;
}

/* Return: it rang. */
static bool alarm_end(struct alarm *a)
{
	(void)pthread_mutex_lock(&a->lock);
	a->over = true;
	(void)pthread_cond_signal(&a->change);
	(void)pthread_mutex_unlock(&a->lock);
	(void)pthread_join(a->thread, NULL);
	(void)pthread_cond_destroy(&a->change);
	(void)pthread_mutex_destroy(&a->lock);
	return a->rang;
}

/* --- the file --- */

/* One value of one row; @ret is written where there is one. */
static int ask(sqlite3 *db, const char *sql, char *ret, size_t size)
{
	sqlite3_stmt *stmt = NULL;
	int rc = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_step(stmt);
	if (rc == SQLITE_ROW)
		(void)snprintf(ret, size, "%s", (const char *)sqlite3_column_text(stmt, 0));
	(void)sqlite3_finalize(stmt);
	return sonde_store_db_errno(db, rc);
}

static void look_at_pages(sqlite3 *db, uint64_t limit_ns, struct sonde_store_verdict *v)
{
	char answer[SONDE_STORE_WORDS_MAX / 2] = "";
	struct alarm alarm;
	bool rang = false;
	int r;

	if (limit_ns > 0) {
		r = alarm_start(&alarm, db, limit_ns);
		if (r < 0) {
			fault(v, r, "it cannot be looked at: %s", strerror(-r));
			return;
		}
	}
	r = ask(db, limit_ns > 0 ? "PRAGMA quick_check(1)" : "PRAGMA integrity_check(1)", answer,
		sizeof(answer));
	if (limit_ns > 0)
		rang = alarm_end(&alarm);
	v->whole = !rang;
	if (rang) /* what it said then may be of the interruption */
		return;
	if (r < 0)
		fault(v, r, "%s", sqlite3_errmsg(db));
	else if (strcmp(answer, "ok") != 0)
		fault(v, -EUCLEAN, "%s", answer);
	for (char *p = v->words; *p; p++)
		*p = *p == '\n' ? ' ' : *p;
}

static void look_at_progress(sqlite3 *db, struct sonde_store_verdict *v)
{
	char text[32] = "";

	if (v->version >= SONDE_STORE_SCHEMA_PROGRESS &&
	    (ask(db, sonde_store_query_sql(SONDE_STORE_GET_COMMITS), text, sizeof(text)) < 0 ||
	     sonde_parse_u64(text, 0, INT64_MAX, &v->commits) < 0)) {
		fault(v, -EUCLEAN, "its count of transactions cannot be read");
		return;
	}
	if (v->commits >= v->acknowledged)
		return;
	fault(v, -ENODATA,
	      "it has %" PRIu64 " transactions, but %" PRIu64
	      " had been acknowledged: its log (-wal) was deleted or damaged, or this is an older "
	      "copy; what came later is not in it",
	      v->commits, v->acknowledged);
}

static bool has_log(const char *path)
{
	char log[4096];
	struct stat st;

	return snprintf(log, sizeof(log), "%s-wal", path) >= (int)sizeof(log) ||
	       (stat(log, &st) == 0 && st.st_size > 0);
}

static void look_inside(const char *path, uint64_t limit_ns, struct sonde_store_verdict *v)
{
	bool had_log = has_log(path);
	sqlite3 *db = NULL;
	int r;

	r = sonde_store_errno(
		sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_FULLMUTEX, NULL));
	if (r == 0) {
		(void)sqlite3_busy_timeout(db, 5000);
		/* It is not ours to mend: what a crash left in the log stays there. */
		if (had_log)
			(void)sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
		(void)sqlite3_exec(db, "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON",
				   NULL, NULL, NULL);
		r = sonde_store_read_version(db, &v->version);
	}
	if (r < 0)
		fault(v, r, "%s", db ? sqlite3_errmsg(db) : strerror(-r));
	else if (v->version < 0 || v->version > SONDE_STORE_SCHEMA)
		fault(v, -EPROTO,
		      "it is of a newer version of sonde-server (schema %d, this one knows %d)",
		      v->version, SONDE_STORE_SCHEMA);
	else
		look_at_pages(db, limit_ns, v);
	if (v->error == 0)
		look_at_progress(db, v);
	(void)sqlite3_close(db);
}

/* The first bytes: words of our own for the plain cases. Return: go on. */
static bool look_at_head(const char *path, struct sonde_store_verdict *v)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	char head[sizeof(MAGIC)] = "";
	struct stat st;

	if (fd < 0 && errno == ENOENT) {
		v->fresh = v->acknowledged == 0;
		if (!v->fresh)
			fault(v, -ENODATA,
			      "it is gone, but %" PRIu64 " transactions had been acknowledged",
			      v->acknowledged);
		return false;
	}
	if (fd < 0 || fstat(fd, &st) < 0) {
		fault(v, -errno, "%s", strerror(errno));
		return false;
	}
	v->bytes = (uint64_t)st.st_size;
	if (!S_ISREG(st.st_mode)) {
		fault(v, -EUCLEAN, "it is no regular file");
	} else if (st.st_size == 0) {
		v->fresh = v->acknowledged == 0;
		if (!v->fresh)
			fault(v, -ENODATA,
			      "it is empty, but %" PRIu64 " transactions had been acknowledged",
			      v->acknowledged);
	} else if (pread(fd, head, sizeof(head), 0) != (ssize_t)sizeof(head) ||
		   memcmp(head, MAGIC, sizeof(head)) != 0) {
		fault(v, -EUCLEAN, "it is no SQLite database");
	}
	return v->error == 0 && !v->fresh;
}

void sonde_store_check(const char *path, uint64_t limit_ns, struct sonde_store_verdict *ret)
{
	struct sonde_store_verdict v = {.whole = true};
	uint64_t began_ns = sonde_mono_ns();
	int r;

	r = sonde_store_marker_read(path, &v.acknowledged);
	if (r < 0)
		fault(&v, r, "its marker (-commits) cannot be read: %s", strerror(-r));
	else if (look_at_head(path, &v))
		look_inside(path, limit_ns, &v);
	v.took_ns = sonde_mono_ns() - began_ns;
	*ret = v;
}
