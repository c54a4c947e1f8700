/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/store/store.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>

#include "backend/store/job.h"
#include "backend/store/marker.h"
#include "backend/store/room.h"
#include "backend/store/schema.h"
#include "base/clock.h"
#include "base/log.h"

const char *const sonde_store_condition_name[_SONDE_STORE_CONDITION_MAX] = {
	[SONDE_STORE_SOUND] = "sound",
	[SONDE_STORE_FULL] = "full",
	[SONDE_STORE_DAMAGED] = "damaged",
};

struct job_list {
	struct sonde_store_job *first, **last;
};

struct sonde_store {
	char *path;
	struct sonde_store_room room;
	sqlite3 *reader;
	sqlite3_stmt *queries[_SONDE_STORE_QUERY_MAX];
	sd_event_source *source; /* of done_fd */
	int done_fd;		 /* eventfd: the writer has finished jobs */

	/* the writer's own */
	sqlite3 *writer;
	int marker_fd;
	uint64_t commits; /* of all servers that wrote this file */
	sqlite3_stmt *statements[_SONDE_STORE_STATEMENT_MAX];
	pthread_t thread;
	bool started;

	pthread_mutex_t lock; /* of everything below */
	pthread_cond_t work;  /* something was queued, or stop */
	pthread_cond_t idle;  /* nothing is queued or running */
	struct job_list queued, finished;
	bool running, stop;
	struct sonde_store_stats stats;
};

static void list_init(struct job_list *l)
{
	l->first = NULL;
	l->last = &l->first;
}

static void list_add(struct job_list *l, struct sonde_store_job *j)
{
	j->next = NULL;
	*l->last = j;
	l->last = &j->next;
}

/* Takes all of @l; walk the result by ->next. */
static struct sonde_store_job *list_take(struct job_list *l)
{
	struct sonde_store_job *first = l->first;

	list_init(l);
	return first;
}

static int exec_text(sqlite3 *db, const char *sql)
{
	return sonde_store_db_errno(db, sqlite3_exec(db, sql, NULL, NULL, NULL));
}

/* Within the transaction, so that it is one of the things that are lost if they are. */
static int count_commit(struct sonde_store *s)
{
	sqlite3_stmt *stmt = s->statements[SONDE_STORE_COUNT_COMMIT];
	int r = sonde_store_db_errno(s->writer, sqlite3_step(stmt));

	(void)sqlite3_reset(stmt);
	return r;
}

/* One transaction for all; each job behind a savepoint, so that a bad one loses only itself. */
static int run_jobs(struct sonde_store *s, struct sonde_store_job *jobs)
{
	int r;

	r = exec_text(s->writer, "BEGIN IMMEDIATE");
	if (r < 0)
		return r;
	for (struct sonde_store_job *j = jobs; j; j = j->next) {
		r = exec_text(s->writer, "SAVEPOINT job");
		if (r == 0)
			r = sonde_store_job_run(j, s->statements);
		j->error = r;
		if (r < 0 && exec_text(s->writer, "ROLLBACK TO job") < 0)
			break;
		r = exec_text(s->writer, "RELEASE job");
		if (r < 0)
			break;
	}
	if (r == 0)
		r = count_commit(s);
	if (r == 0)
		r = exec_text(s->writer, "COMMIT");
	if (r < 0) {
		(void)exec_text(s->writer, "ROLLBACK");
		/* That it is there already can be true of one job, never of all that are lost with it. */
		return r == -EEXIST ? -EIO : r;
	}
	sonde_store_marker_write(s->marker_fd, ++s->commits);
	return 0;
}

static void finish_jobs(struct sonde_store *s, struct sonde_store_job *jobs, int error)
{
	struct sonde_store_job *next;
	uint64_t one = 1;

	for (struct sonde_store_job *j = jobs; j; j = next) {
		next = j->next;
		if (error < 0)
			j->error = error;
		s->stats.jobs++;
		s->stats.jobs_failed += j->error < 0;
		s->stats.rows_deleted += j->error < 0 ? 0 : j->deleted;
		s->stats.queued_jobs--;
		s->stats.queued_bytes -= j->bytes;
		list_add(&s->finished, j);
	}
	s->stats.commits += error == 0;
	if (write(s->done_fd, &one, sizeof(one)) < 0) {
		/* Only a full counter can fail, and then the loop wakes anyway. */
	}
}

static void *writer_main(void *arg)
{
	struct sonde_store *s = arg;

	(void)pthread_mutex_lock(&s->lock);
	for (;;) {
		struct sonde_store_job *jobs;
		int r;

		while (!s->queued.first && !s->stop)
			(void)pthread_cond_wait(&s->work, &s->lock);
		if (!s->queued.first)
			break;
		jobs = list_take(&s->queued);
		s->running = true;
		(void)pthread_mutex_unlock(&s->lock);
		r = run_jobs(s, jobs);
		(void)pthread_mutex_lock(&s->lock);
		s->running = false;
		finish_jobs(s, jobs, r);
		(void)pthread_cond_broadcast(&s->idle);
	}
	(void)pthread_mutex_unlock(&s->lock);
	return NULL;
}

static void run_callbacks(struct sonde_store *s)
{
	struct sonde_store_job *jobs, *next;
	uint64_t count;

	if (read(s->done_fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		(void)sonde_log_warn(-errno, "cannot read the writer's eventfd, ignoring");
	(void)pthread_mutex_lock(&s->lock);
	jobs = list_take(&s->finished);
	(void)pthread_mutex_unlock(&s->lock);
	for (struct sonde_store_job *j = jobs; j; j = j->next)
		sonde_store_room_note(&s->room, j->error, sonde_mono_ns());
	sonde_store_room_tell(&s->room, s->path);
	for (struct sonde_store_job *j = jobs; j; j = next) {
		next = j->next;
		if (j->done)
			j->done(j->ctx, j->error);
		else if (j->error < 0 && !sonde_store_has_told(j->error))
			(void)sonde_log_warn(j->error, "cannot write to the database, ignoring");
		(void)sonde_store_job_free(j);
	}
}

static int on_done(sd_event_source *source, int fd, uint32_t revents, void *ctx)
{
	run_callbacks(ctx);
	return 0;
}

static int prepare(sqlite3 *db, const char *sql, sqlite3_stmt **ret)
{
	return sonde_store_errno(
		sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, ret, NULL));
}

static int prepare_all(struct sonde_store *s)
{
	int r;

	for (unsigned i = 0; i < _SONDE_STORE_STATEMENT_MAX; i++) {
		r = prepare(s->writer, sonde_store_statement_sql(i), &s->statements[i]);
		if (r < 0)
			return r;
	}
	for (unsigned i = 0; i < _SONDE_STORE_QUERY_MAX; i++) {
		r = prepare(s->reader, sonde_store_query_sql(i), &s->queries[i]);
		if (r < 0)
			return r;
	}
	return 0;
}

/* The writer takes no signal: they are the loop's. */
static int start_writer(struct sonde_store *s)
{
	sigset_t all, old;
	int r;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	r = -pthread_create(&s->thread, NULL, writer_main, s);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	s->started = r == 0;
	return r;
}

/* Made by us, so that it is nobody else's to read from the first byte on. */
static int touch_private(const char *path)
{
	_cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	return fd < 0 ? -errno : 0;
}

static int read_commits(void *ctx, const struct sonde_store_row *row)
{
	struct sonde_store *s = ctx;

	s->commits = (uint64_t)sonde_store_row_int(row, 0);
	return 0;
}

/* Behind a power cut the marker may be behind: from here on it is not. */
static int begin_marker(struct sonde_store *s)
{
	int r = sonde_store_query(s, SONDE_STORE_GET_COMMITS, NULL, read_commits, s);

	if (r == 0)
		r = sonde_store_marker_open(s->path, &s->marker_fd);
	if (r == 0)
		sonde_store_marker_write(s->marker_fd, s->commits);
	return r;
}

int sonde_store_open(sd_event *event, const char *path, struct sonde_store **ret)
{
	_cleanup_(sonde_store_freep) struct sonde_store *s = NULL;
	int r;

	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->marker_fd = -1;
	list_init(&s->queued);
	list_init(&s->finished);
	(void)pthread_mutex_init(&s->lock, NULL);
	(void)pthread_cond_init(&s->work, NULL);
	(void)pthread_cond_init(&s->idle, NULL);
	s->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->done_fd < 0)
		return -errno;
	s->path = strdup(path);
	if (!s->path)
		return -ENOMEM;
	r = touch_private(path);
	if (r == 0)
		r = sonde_store_connect(path, &s->writer);
	if (r == 0)
		r = sonde_store_migrate(s->writer);
	if (r == 0)
		r = sonde_store_connect(path, &s->reader);
	if (r == 0)
		r = prepare_all(s);
	if (r == 0)
		r = begin_marker(s);
	if (r < 0)
		return r;
	if (event) {
		r = sd_event_add_io(event, &s->source, s->done_fd, EPOLLIN, on_done, s);
		if (r < 0)
			return r;
	}
	r = start_writer(s);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(s);
	return 0;
}

void sonde_store_flush(struct sonde_store *s)
{
	(void)pthread_mutex_lock(&s->lock);
	while (s->queued.first || s->running)
		(void)pthread_cond_wait(&s->idle, &s->lock);
	(void)pthread_mutex_unlock(&s->lock);
	run_callbacks(s);
}

struct sonde_store *sonde_store_free(struct sonde_store *s)
{
	if (!s)
		return NULL;
	if (s->started) {
		sonde_store_flush(s); /* its callbacks may submit what follows from it */
		(void)pthread_mutex_lock(&s->lock);
		s->stop = true;
		(void)pthread_cond_signal(&s->work);
		(void)pthread_mutex_unlock(&s->lock);
		(void)pthread_join(s->thread, NULL);
		run_callbacks(s);
	}
	for (unsigned i = 0; i < _SONDE_STORE_STATEMENT_MAX; i++)
		(void)sqlite3_finalize(s->statements[i]);
	for (unsigned i = 0; i < _SONDE_STORE_QUERY_MAX; i++)
		(void)sqlite3_finalize(s->queries[i]);
	(void)sqlite3_close(s->reader);
	(void)sqlite3_close(s->writer);
	closep(&s->marker_fd);
	free(s->path);
	(void)sd_event_source_disable_unref(s->source);
	if (s->done_fd >= 0)
		(void)close(s->done_fd);
	(void)pthread_cond_destroy(&s->idle);
	(void)pthread_cond_destroy(&s->work);
	(void)pthread_mutex_destroy(&s->lock);
	free(s);
	return NULL;
}

void sonde_store_get_stats(struct sonde_store *s, struct sonde_store_stats *ret)
{
	(void)pthread_mutex_lock(&s->lock);
	*ret = s->stats;
	(void)pthread_mutex_unlock(&s->lock);
}

void sonde_store_set_reserve(struct sonde_store *s, uint64_t bytes)
{
	s->room.reserve_bytes = bytes;
	sonde_store_tick(s);
}

/* A job of nothing: it is committed all the same, or it is not. */
static void try_write(struct sonde_store *s)
{
	_cleanup_(sonde_store_job_freep) struct sonde_store_job *job = sonde_store_job_new();

	if (job && sonde_store_submit(s, &job, NULL, NULL) < 0)
		sonde_log_debug("the writer is too busy to be asked");
}

void sonde_store_tick(struct sonde_store *s)
{
	sonde_store_room_look(&s->room, s->path);
	sonde_store_room_tell(&s->room, s->path);
	if (sonde_store_room_is_due(&s->room, sonde_mono_ns()))
		try_write(s);
}

int sonde_store_check_room(const struct sonde_store *s)
{
	switch (sonde_store_room_condition(&s->room)) {
	case SONDE_STORE_FULL:
		return -ENOSPC;
	case SONDE_STORE_DAMAGED:
		return -EUCLEAN;
	default:
		return 0;
	}
}

void sonde_store_get_health(const struct sonde_store *s, struct sonde_store_health *ret)
{
	*ret = (struct sonde_store_health){
		.condition = sonde_store_room_condition(&s->room),
		.since_ms = s->room.since_ms,
		.free_bytes = s->room.free_bytes,
		.reserve_bytes = s->room.reserve_bytes,
		.times_full = s->room.times,
	};
}

int sonde_store_submit(struct sonde_store *s, struct sonde_store_job **job,
		       sonde_store_done_fn done, void *ctx)
{
	struct sonde_store_job *j = *job;
	int r = 0;

	(void)pthread_mutex_lock(&s->lock);
	if (s->stop) { /* nobody would ever run it */
		s->stats.jobs_refused++;
		r = -ESHUTDOWN;
	} else if (s->stats.queued_jobs >= SONDE_STORE_JOBS_MAX ||
		   /* One job larger than all room would never fit: it may go in alone. */
		   (s->stats.queued_jobs > 0 &&
		    s->stats.queued_bytes + j->bytes > SONDE_STORE_QUEUE_BYTES_MAX)) {
		s->stats.jobs_refused++;
		r = -ENOBUFS;
	} else {
		j->done = done;
		j->ctx = ctx;
		s->stats.queued_jobs++;
		s->stats.queued_bytes += j->bytes;
		list_add(&s->queued, j);
		(void)pthread_cond_signal(&s->work);
		*job = NULL;
	}
	(void)pthread_mutex_unlock(&s->lock);
	return r;
}

/* A row is the statement itself, seen through the accessors below. */
int64_t sonde_store_row_int(const struct sonde_store_row *row, int column)
{
	return sqlite3_column_int64((sqlite3_stmt *)row, column);
}

const char *sonde_store_row_text(const struct sonde_store_row *row, int column)
{
	const unsigned char *text = sqlite3_column_text((sqlite3_stmt *)row, column);

	return text ? (const char *)text : "";
}

const void *sonde_store_row_blob(const struct sonde_store_row *row, int column, size_t *ret_n)
{
	const void *data = sqlite3_column_blob((sqlite3_stmt *)row, column);

	*ret_n = (size_t)sqlite3_column_bytes((sqlite3_stmt *)row, column);
	return data;
}

static int bind_parameters(sqlite3_stmt *stmt, const char *types, va_list ap)
{
	int rc = SQLITE_OK;

	for (int i = 0; types[i] && rc == SQLITE_OK; i++) {
		if (types[i] == 'i')
			rc = sqlite3_bind_int64(stmt, i + 1, va_arg(ap, int64_t));
		else
			rc = sqlite3_bind_text(stmt, i + 1, va_arg(ap, const char *), -1,
					       SQLITE_TRANSIENT);
	}
	return rc;
}

static int run_query(struct sonde_store *s, sqlite3_stmt *stmt, int rc, sonde_store_row_fn fn,
		     void *ctx)
{
	int r = 0;

	if (rc == SQLITE_OK) {
		while (r == 0 && (rc = sqlite3_step(stmt)) == SQLITE_ROW)
			r = fn(ctx, (const struct sonde_store_row *)stmt);
	}
	(void)sqlite3_reset(stmt);
	(void)sqlite3_clear_bindings(stmt);
	if (sonde_store_errno(rc) == -EUCLEAN) {
		sonde_store_room_note(&s->room, -EUCLEAN, 0);
		sonde_store_room_tell(&s->room, s->path);
	}
	return r != 0 ? r : sonde_store_errno(rc);
}

int sonde_store_select(struct sonde_store *s, enum sonde_store_query query, sonde_store_row_fn fn,
		       void *ctx, const char *types, ...)
{
	sqlite3_stmt *stmt = s->queries[query];
	va_list ap;
	int rc;

	va_start(ap, types);
	rc = bind_parameters(stmt, types, ap);
	va_end(ap);
	return run_query(s, stmt, rc, fn, ctx);
}

int sonde_store_query(struct sonde_store *s, enum sonde_store_query query, const char *key,
		      sonde_store_row_fn fn, void *ctx)
{
	return key ? sonde_store_select(s, query, fn, ctx, "t", key)
		   : sonde_store_select(s, query, fn, ctx, "");
}
