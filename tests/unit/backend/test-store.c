/* SPDX-License-Identifier: Apache-2.0 */
#include "backend-fixture.h"

#include <errno.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/stat.h>

#include "backend/store/check.h"
#include "backend/store/schema.h"

struct seen {
	unsigned rows;
	char id[64], doc[64];
	int64_t created_ms;
};

static int on_task(void *ctx, const struct sonde_store_row *row)
{
	struct seen *s = ctx;

	s->rows++;
	(void)snprintf(s->id, sizeof(s->id), "%s", sonde_store_row_text(row, 0));
	s->created_ms = sonde_store_row_int(row, 1);
	(void)snprintf(s->doc, sizeof(s->doc), "%s", sonde_store_row_text(row, 4));
	return 0;
}

static void on_done(void *ctx, int error)
{
	*(int *)ctx = error;
}

static void put(struct fixture *f, const char *id, const char *doc, int *result)
{
	_cleanup_(sonde_store_job_freep) struct sonde_store_job *j = sonde_store_job_new();

	*result = 1;
	assert_ok(sonde_store_job_add(j, SONDE_STORE_PUT_TASK, "tiitt", id, (int64_t)5, (int64_t)0,
				      "running", doc));
	assert_ok(sonde_store_submit(f->store, &j, on_done, result));
	assert_null(j);
}

static void raw(const char *path, const char *sql)
{
	sqlite3 *db = NULL;

	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void survives_a_restart(void **state)
{
	struct fixture *f = *state;
	struct seen s = {0};
	struct stat st;
	int done = 1;

	fixture_open(f);
	put(f, "a", "{}", &done);
	put(f, "a", "{\"n\":2}", &done);
	sonde_store_flush(f->store);
	assert_int_equal(done, 0);
	fixture_close(f);
	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	fixture_open(f);
	assert_ok(sonde_store_query(f->store, SONDE_STORE_GET_TASKS, NULL, on_task, &s));
	assert_int_equal(s.rows, 1);
	assert_string_equal(s.id, "a");
	assert_string_equal(s.doc, "{\"n\":2}");
	assert_int_equal(s.created_ms, 5);
}

static void a_failing_job_leaves_no_half_and_takes_no_other_down(void **state)
{
	_cleanup_(sonde_store_job_freep) struct sonde_store_job *bad = sonde_store_job_new();
	struct fixture *f = *state;
	int first = 1, second = 1, third = 1;
	struct seen s = {0};

	fixture_open(f);
	assert_ok(sonde_store_job_add(bad, SONDE_STORE_PUT_TASK, "tiitt", "half", (int64_t)1,
				      (int64_t)0, "x", "{}"));
	assert_ok(sonde_store_job_add(bad, SONDE_STORE_PUT_TASK, "tnitt", "b", (int64_t)0, "x",
				      "{}"));
	put(f, "before", "{}", &first);
	assert_ok(sonde_store_submit(f->store, &bad, on_done, &second));
	put(f, "behind", "{}", &third);
	sonde_store_flush(f->store);
	assert_int_equal(first, 0);
	assert_true(second < 0);
	assert_int_equal(third, 0);
	assert_ok(sonde_store_query(f->store, SONDE_STORE_GET_TASKS, NULL, on_task, &s));
	assert_int_equal(s.rows, 2);
}

static void a_report_is_stored_once_by_its_name(void **state)
{
	_cleanup_(sonde_store_job_freep) struct sonde_store_job *a = sonde_store_job_new(),
								*b = sonde_store_job_new();
	struct fixture *f = *state;
	int first = 1, second = 1;

	fixture_open(f);
	assert_ok(sonde_store_job_add(a, SONDE_STORE_PUT_REPORT, "ititiib", (int64_t)1, "t",
				      (int64_t)9, "h", (int64_t)1, (int64_t)1, (const void *)"x",
				      (size_t)1));
	assert_ok(sonde_store_job_add(b, SONDE_STORE_PUT_REPORT, "ititiib", (int64_t)2, "t",
				      (int64_t)9, "h", (int64_t)1, (int64_t)1, (const void *)"y",
				      (size_t)1));
	assert_ok(sonde_store_submit(f->store, &a, on_done, &first));
	assert_ok(sonde_store_submit(f->store, &b, on_done, &second));
	sonde_store_flush(f->store);
	assert_int_equal(first, 0);
	assert_err(second, EEXIST);
}

/* A trigger that ends the whole transaction: no savepoint is left to go back to. */
static void what_was_wrong_with_one_is_not_said_of_all_that_are_lost(void **state)
{
	struct fixture *f = *state;
	struct seen s = {0};
	int done = 1;

	fixture_open(f);
	fixture_close(f);
	raw(f->path, "CREATE TRIGGER t BEFORE INSERT ON task WHEN NEW.id = 'bad' BEGIN"
		     " SELECT RAISE(ROLLBACK, 'no'); END");
	fixture_open(f);
	put(f, "bad", "{}", &done);
	sonde_store_flush(f->store);
	assert_err(done, EIO); /* -EEXIST would be an acknowledgement */
	put(f, "behind", "{}", &done);
	sonde_store_flush(f->store);
	assert_ok(done);
	assert_ok(sonde_store_query(f->store, SONDE_STORE_GET_TASKS, NULL, on_task, &s));
	assert_int_equal(s.rows, 1);
}

struct chain {
	struct fixture *f;
	unsigned links;
	int submitted;
};

static void put_next(void *ctx, int error)
{
	_cleanup_(sonde_store_job_freep) struct sonde_store_job *j = sonde_store_job_new();
	struct chain *c = ctx;
	char id[16];

	assert_ok(error);
	(void)snprintf(id, sizeof(id), "t%u", ++c->links);
	assert_ok(sonde_store_job_add(j, SONDE_STORE_PUT_TASK, "tiitt", id, (int64_t)5, (int64_t)0,
				      "running", "{}"));
	c->submitted = sonde_store_submit(c->f->store, &j, put_next, c);
}

static void what_follows_at_the_end_is_written_and_what_follows_that_refused(void **state)
{
	struct fixture *f = *state;
	struct chain c = {.f = f};
	struct seen s = {0};

	fixture_open(f);
	put_next(&c, 0);
	fixture_close(f);
	assert_int_equal(c.links, 3);
	assert_err(c.submitted, ESHUTDOWN);
	fixture_open(f);
	assert_ok(sonde_store_query(f->store, SONDE_STORE_GET_TASKS, NULL, on_task, &s));
	assert_int_equal(s.rows, 2);
}

static void the_queue_is_bounded_and_counts_what_it_refuses(void **state)
{
	_cleanup_free_ char *big = calloc(1, SONDE_STORE_QUEUE_BYTES_MAX / 4);
	struct sonde_store_stats stats;
	struct fixture *f = *state;
	unsigned refused = 0;
	int done;

	assert_non_null(big);
	memset(big, 'x', SONDE_STORE_QUEUE_BYTES_MAX / 4 - 1);
	fixture_open(f);
	/* The writer takes what is queued, so the bound is on what waits: keep more coming than it may hold. */
	for (unsigned i = 0; i < 64 && refused == 0; i++) {
		_cleanup_(sonde_store_job_freep) struct sonde_store_job *j = sonde_store_job_new();
		char id[16];

		(void)snprintf(id, sizeof(id), "t%u", i);
		assert_ok(sonde_store_job_add(j, SONDE_STORE_PUT_TASK, "tiitt", id, (int64_t)i,
					      (int64_t)0, "x", big));
		if (sonde_store_submit(f->store, &j, on_done, &done) == -ENOBUFS) {
			assert_non_null(j); /* still the caller's */
			refused++;
		}
		sonde_store_get_stats(f->store, &stats);
		assert_true(stats.queued_bytes <= SONDE_STORE_QUEUE_BYTES_MAX);
	}
	sonde_store_get_stats(f->store, &stats);
	assert_int_equal(stats.jobs_refused, refused);
	sonde_store_flush(f->store);
	sonde_store_get_stats(f->store, &stats);
	assert_int_equal(stats.queued_jobs, 0);
	assert_int_equal(stats.queued_bytes, 0);
}

static void leaves_a_newer_servers_file_alone(void **state)
{
	struct sonde_store *none = NULL;
	struct fixture *f = *state;

	raw(f->path, "PRAGMA user_version = 999");
	assert_err(sonde_store_open(NULL, f->path, &none), EPROTO);
	assert_null(none);
}

static void migrates_an_empty_file_and_does_it_once(void **state)
{
	struct fixture *f = *state;

	raw(f->path, "PRAGMA user_version = 0");
	fixture_open(f);
	fixture_close(f);
	fixture_open(f);
}

static void an_older_servers_file_is_sound_and_opened(void **state)
{
	struct fixture *f = *state;

	for (int version = 1; version <= SONDE_STORE_SCHEMA; version++) {
		struct sonde_store_verdict v;
		sqlite3 *db = NULL;

		assert_ok(sonde_store_connect(f->path, &db));
		assert_ok(sonde_store_migrate_to(db, version));
		assert_int_equal(sqlite3_close(db), SQLITE_OK);
		sonde_store_check(f->path, 0, &v);
		assert_string_equal(v.words, "");
		assert_ok(v.error);
		assert_int_equal(v.version, version);
		fixture_open(f);
		fixture_close(f);
		assert_int_equal(unlink(f->path), 0);
	}
}

static void refuses_what_is_no_database(void **state)
{
	struct sonde_store *none = NULL;
	struct fixture *f = *state;
	FILE *file = fopen(f->path, "w");

	assert_non_null(file);
	for (unsigned i = 0; i < 1000; i++)
		(void)fputs("this is no database\n", file);
	assert_int_equal(fclose(file), 0);
	assert_err(sonde_store_open(NULL, f->path, &none), EUCLEAN);
}

int main(void)
{
#define with_store(t) cmocka_unit_test_setup_teardown(t, fixture_setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
		with_store(survives_a_restart),
		with_store(a_failing_job_leaves_no_half_and_takes_no_other_down),
		with_store(a_report_is_stored_once_by_its_name),
		with_store(what_was_wrong_with_one_is_not_said_of_all_that_are_lost),
		with_store(what_follows_at_the_end_is_written_and_what_follows_that_refused),
		with_store(the_queue_is_bounded_and_counts_what_it_refuses),
		with_store(leaves_a_newer_servers_file_alone),
		with_store(migrates_an_empty_file_and_does_it_once),
		with_store(an_older_servers_file_is_sound_and_opened),
		with_store(refuses_what_is_no_database),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
