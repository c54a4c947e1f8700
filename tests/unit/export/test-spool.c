/* SPDX-License-Identifier: Apache-2.0 */
#include "spool-fixture.h"

#include <errno.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "export/spool-files.h"

static void put(struct fixture *f, unsigned number, size_t bytes, uint32_t flags)
{
	struct sonde_report *r = fixture_report("t", number, bytes);

	assert_ok(sonde_spool_put(f->spool, r, 1000 + number, flags, 1000));
	(void)sonde_report_free(r);
}

/* The oldest is @number, whole; with @done it goes. Returns its flags. */
static uint32_t expect(struct fixture *f, unsigned number, size_t bytes, bool done)
{
	struct sonde_report *want = fixture_report("t", number, bytes), *r = NULL;
	struct sonde_spool_meta meta;

	assert_ok(sonde_spool_next(f->spool, 1000, &meta, &r));
	assert_string_equal(r->id, want->id);
	assert_string_equal(r->task, "t");
	assert_int_equal(r->sequence, number);
	assert_int_equal(meta.due_wall_ms, 1000 + number);
	assert_int_equal(r->n_messages, 2);
	assert_int_equal(r->task_report.len, want->task_report.len);
	assert_memory_equal(r->task_report.data, want->task_report.data, r->task_report.len);
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(r->messages[i].len, want->messages[i].len);
		assert_memory_equal(r->messages[i].data ? r->messages[i].data : (uint8_t *)"",
				    want->messages[i].data ? want->messages[i].data : (uint8_t *)"",
				    want->messages[i].len);
	}
	(void)sonde_report_free(want);
	(void)sonde_report_free(r);
	if (done) {
		sonde_spool_hold(f->spool);
		assert_ok(sonde_spool_pop(f->spool));
	}
	return meta.flags;
}

static void expect_empty(struct fixture *f)
{
	struct sonde_report *r = NULL;
	struct sonde_spool_meta meta;
	struct sonde_spool_stats stats;

	assert_err(sonde_spool_next(f->spool, 1000, &meta, &r), ENOENT);
	sonde_spool_stats(f->spool, &stats);
	assert_int_equal(stats.records, 0);
	assert_int_equal(stats.bytes, 0);
	assert_int_equal(stats.segments, 0);
}

/* As after SIGKILL: nothing is said to the spool. The kernel gives the lock back. */
static void restart(struct fixture *f)
{
	f->spool = sonde_spool_free(f->spool);
	assert_ok(fixture_open(f));
}

static void gives_back_what_it_took_oldest_first(void **state)
{
	struct fixture *f = *state;

	assert_ok(fixture_open(f));
	expect_empty(f);
	for (unsigned i = 0; i < 5; i++)
		put(f, i, i * 1000, 0);
	for (unsigned i = 0; i < 5; i++)
		(void)expect(f, i, i * 1000, true);
	expect_empty(f);
	put(f, 7, 0, 0);
	(void)expect(f, 7, 0, true);
	expect_empty(f);
	assert_string_equal(f->words, "");
}

static void files_are_private_and_gone_when_empty(void **state)
{
	struct fixture *f = *state;
	char path[128];
	struct stat st;

	(void)umask(0);
	assert_ok(fixture_open(f));
	put(f, 1, 10, 0);
	(void)snprintf(path, sizeof(path), "%s/%016x.seg", f->dir, 1);
	assert_ok(stat(path, &st));
	assert_int_equal(st.st_mode & 07777, 0600);
	(void)expect(f, 1, 10, true);
	assert_int_equal(stat(path, &st), -1);
	(void)snprintf(path, sizeof(path), "%s/cursor", f->dir);
	assert_ok(stat(path, &st));
	assert_int_equal(st.st_mode & 07777, 0600);
	(void)umask(022);
}

static void survives_a_restart_at_each_point(void **state)
{
	struct fixture *f = *state;

	assert_ok(fixture_open(f));
	for (unsigned i = 0; i < 6; i++) {
		put(f, 2 * i, 3000, SONDE_SPOOL_EXTENSION);
		restart(f);
		put(f, 2 * i + 1, 0, 0);
	}
	for (unsigned i = 0; i < 12; i++) {
		assert_int_equal(expect(f, i, i % 2 ? 0 : 3000, false),
				 i % 2 ? 0 : SONDE_SPOOL_EXTENSION);
		if (i % 3 == 0)
			restart(f);
		(void)expect(f, i, i % 2 ? 0 : 3000, true);
		if (i % 3 == 1)
			restart(f);
	}
	expect_empty(f);
	restart(f);
	expect_empty(f);
	assert_string_equal(f->words, "");
}

static void what_an_earlier_run_left_is_told_apart(void **state)
{
	struct fixture *f = *state;

	assert_ok(fixture_open(f));
	put(f, 1, 10, 0);
	restart(f);
	put(f, 2, 10, 0);
	for (unsigned i = 1; i <= 2; i++) {
		struct sonde_spool_meta meta;
		struct sonde_report *r = NULL;

		assert_ok(sonde_spool_next(f->spool, 1000, &meta, &r));
		assert_int_equal(meta.sequence, i);
		assert_int_equal(meta.earlier_run, i == 1);
		(void)sonde_report_free(r);
		sonde_spool_hold(f->spool);
		assert_ok(sonde_spool_pop(f->spool));
	}
}

static void what_is_marked_is_known_after_a_restart(void **state)
{
	struct fixture *f = *state;

	assert_ok(fixture_open(f));
	put(f, 1, 10, 0);
	put(f, 2, 10, SONDE_SPOOL_IN_DOUBT);
	assert_int_equal(expect(f, 1, 10, false), 0);
	sonde_spool_hold(f->spool);
	assert_ok(sonde_spool_mark(f->spool, SONDE_SPOOL_IN_DOUBT));
	restart(f);
	assert_int_equal(expect(f, 1, 10, false), SONDE_SPOOL_IN_DOUBT);
	sonde_spool_hold(f->spool);
	assert_ok(sonde_spool_mark(f->spool, 0)); /* the call had certainly failed */
	restart(f);
	assert_int_equal(expect(f, 1, 10, true), 0);
	/* of the next one, what it was put with */
	assert_int_equal(expect(f, 2, 10, false), SONDE_SPOOL_IN_DOUBT);
}

static void the_oldest_segment_makes_room_and_each_record_is_told(void **state)
{
	struct fixture *f = *state;
	struct sonde_spool_stats stats;
	unsigned told = 0;

	f->config.max_bytes = SONDE_SPOOL_BYTES_MIN;
	assert_ok(fixture_open(f));
	for (unsigned i = 0; i < 120; i++)
		put(f, i, 10000, 0);
	sonde_spool_stats(f->spool, &stats);
	assert_true(stats.bytes <= SONDE_SPOOL_BYTES_MIN);
	assert_true(stats.records >= 90 && stats.records < 120);
	assert_int_equal(stats.dropped[SONDE_SPOOL_DROP_BYTES], 120 - stats.records);
	for (const char *p = f->dropped; (p = strstr(p, "t/")); p++)
		told++;
	assert_int_equal(told, 120 - stats.records);
	assert_int_equal(strncmp(f->dropped, "t/0/x t/1/x ", 12), 0);
	for (unsigned i = told; i < 120; i++)
		(void)expect(f, i, 10000, true);
	expect_empty(f);
}

static void the_held_one_is_not_told_and_its_pop_takes_no_other(void **state)
{
	struct fixture *f = *state;
	struct sonde_spool_stats stats;
	unsigned i = 0;

	f->config.max_bytes = SONDE_SPOOL_BYTES_MIN;
	assert_ok(fixture_open(f));
	put(f, i++, 10000, 0);
	(void)expect(f, 0, 10000, false);
	sonde_spool_hold(f->spool);
	do {
		put(f, i++, 10000, 0);
		sonde_spool_stats(f->spool, &stats);
	} while (stats.dropped[SONDE_SPOOL_DROP_BYTES] == 0);
	assert_null(strstr(f->dropped, "t/0/x"));
	assert_non_null(strstr(f->dropped, "t/1/x"));
	assert_ok(sonde_spool_mark(f->spool, SONDE_SPOOL_IN_DOUBT));
	assert_ok(sonde_spool_pop(f->spool));
	assert_int_equal(
		expect(f, (unsigned)stats.dropped[SONDE_SPOOL_DROP_BYTES] + 1, 10000, true), 0);
}

static void one_larger_than_all_is_refused(void **state)
{
	struct fixture *f = *state;
	struct sonde_report *r;

	f->config.max_bytes = SONDE_SPOOL_BYTES_MIN;
	assert_ok(fixture_open(f));
	put(f, 1, 10, 0);
	r = fixture_report("t", 2, SONDE_SPOOL_BYTES_MIN);
	assert_err(sonde_spool_put(f->spool, r, 0, 0, 0), EMSGSIZE);
	(void)sonde_report_free(r);
	(void)expect(f, 1, 10, true);
}

static void what_could_not_be_read_is_refused(void **state)
{
	struct fixture *f = *state;
	struct sonde_report *r = fixture_report("t", 1, 10);

	assert_ok(fixture_open(f));
	(void)snprintf(r->id, sizeof(r->id), "a\nb/1/x");
	assert_err(sonde_spool_put(f->spool, r, 0, 0, 0), EINVAL);
	(void)sonde_report_free(r);
	put(f, 2, 10, 0);
	(void)expect(f, 2, 10, true);
	expect_empty(f);
}

static void what_is_too_old_is_dropped(void **state)
{
	struct fixture *f = *state;
	struct sonde_report *r = NULL;
	struct sonde_spool_meta meta;

	f->config.max_age_ms = 50;
	assert_ok(fixture_open(f));
	for (unsigned i = 0; i < 4; i++)
		put(f, i * 100, 10, 0); /* due at 1000, 1100, … */
	assert_ok(sonde_spool_next(f->spool, 1220, &meta, &r));
	assert_string_equal(meta.id, "t/200/x");
	assert_string_equal(f->dropped, "t/0/x t/100/x ");
	assert_int_equal(f->why, SONDE_SPOOL_DROP_AGE);
	(void)sonde_report_free(r);
}

static void many_too_old_ones_take_many_turns(void **state)
{
	struct fixture *f = *state;
	struct sonde_spool_stats stats;
	struct sonde_spool_meta meta;
	struct sonde_report *r = NULL;
	unsigned turns = 0;

	f->config.max_age_ms = 5000;
	assert_ok(fixture_open(f));
	for (unsigned i = 0; i < 1000; i++)
		put(f, i, 1, 0);
	while (sonde_spool_next(f->spool, 100000, &meta, &r) == -EAGAIN)
		turns++;
	assert_null(r);
	assert_int_equal(turns, 3); /* of 256 */
	sonde_spool_stats(f->spool, &stats);
	assert_int_equal(stats.dropped[SONDE_SPOOL_DROP_AGE], 1000);
	expect_empty(f);
}

/* --- what a crash or a hand leaves --- */

/* The same at each size of a part: an agent that starts has other things to do meanwhile. */
static void a_folder_is_looked_at_in_parts(void **state)
{
	const struct sonde_spool_handler handler = {fixture_drop, fixture_words, *state};
	struct fixture *f = *state;
	struct sonde_spool_stats whole, parts;

	f->config.max_bytes = SONDE_SPOOL_BYTES_MIN; /* segments of 64 KiB */
	assert_ok(fixture_open(f));
	for (unsigned i = 1; i <= 20; i++)
		put(f, i, 15000, 0);
	expect(f, 1, 15000, true);
	restart(f);
	sonde_spool_stats(f->spool, &whole);
	assert_true(whole.segments > 2 && whole.records == 19);
	for (size_t max = 1; max < 30; max += 4) {
		size_t n = 0;
		int r;

		f->spool = sonde_spool_free(f->spool);
		assert_ok(sonde_spool_begin(&f->config, &handler, f->refusal, &f->spool));
		while ((r = sonde_spool_look(f->spool, max, f->refusal)) == 1)
			n++;
		assert_ok(r);
		/* a segment is a step, and a record */
		assert_int_equal(n, (whole.records + whole.segments - 1) / max);
		sonde_spool_stats(f->spool, &parts);
		assert_int_equal(parts.records, whole.records);
		assert_int_equal(parts.bytes, whole.bytes);
		assert_int_equal(parts.segments, whole.segments);
		(void)expect(f, 2, 15000, false);
	}
	/* one that ends in the middle of it leaves all as it is */
	f->spool = sonde_spool_free(f->spool);
	assert_ok(sonde_spool_begin(&f->config, &handler, f->refusal, &f->spool));
	assert_int_equal(sonde_spool_look(f->spool, 3, f->refusal), 1);
	restart(f);
	for (unsigned i = 2; i <= 20; i++)
		(void)expect(f, i, 15000, true);
	assert_string_equal(f->words, "");
}

static void path_of(const struct fixture *f, unsigned number, char path[128])
{
	(void)snprintf(path, 128, "%s/%016x.seg", f->dir, number);
}

static off_t size_of(const struct fixture *f, unsigned number)
{
	char path[128];
	struct stat st;

	path_of(f, number, path);
	assert_ok(stat(path, &st));
	return st.st_size;
}

static void a_torn_last_record_is_ignored_wherever_it_is_torn(void **state)
{
	struct fixture *f = *state;
	off_t whole, both;
	char path[128];

	assert_ok(fixture_open(f));
	put(f, 1, 100, 0);
	whole = size_of(f, 1);
	put(f, 2, 100, 0);
	both = size_of(f, 1);
	path_of(f, 1, path);
	for (off_t n = both - 1; n > whole; n -= n > whole + 40 ? 7 : 1) {
		f->spool = sonde_spool_free(f->spool);
		f->words[0] = '\0';
		assert_ok(truncate(path, n));
		assert_ok(fixture_open(f));
		assert_non_null(strstr(f->words, "no whole record"));
		(void)expect(f, 1, 100, false);
	}
	/* What comes after goes on behind it. */
	put(f, 3, 100, 0);
	restart(f);
	(void)expect(f, 1, 100, true);
	(void)expect(f, 3, 100, true);
	expect_empty(f);
}

static void flip(const char *path, off_t at)
{
	int fd = open(path, O_RDWR);
	uint8_t byte;

	assert_int_equal(pread(fd, &byte, 1, at), 1);
	byte ^= 0x55;
	assert_int_equal(pwrite(fd, &byte, 1, at), 1);
	(void)close(fd);
}

/* Every byte of a segment, one at a time: a report comes whole or not at all, and the spool stays in order. */
static void no_flipped_byte_makes_another_report(void **state)
{
	struct fixture *f = *state;
	struct sonde_spool_meta meta;
	unsigned kept = 0;
	char path[128];
	off_t n;

	assert_ok(fixture_open(f));
	for (unsigned i = 0; i < 3; i++)
		put(f, i, 60, 0);
	f->spool = sonde_spool_free(f->spool);
	path_of(f, 1, path);
	n = size_of(f, 1);
	for (off_t at = 0; at < n; at++) {
		char copy[160];
		char line[400];

		(void)snprintf(copy, sizeof(copy), "%s/copy", f->dir);
		(void)snprintf(line, sizeof(line), "cp %s %s && rm -f %s/cursor", path, copy,
			       f->dir);
		assert_int_equal(system(line), 0); /* NOLINT(cert-env33-c): this test's own names */
		flip(path, at);
		assert_ok(fixture_open(f));
		for (;;) {
			struct sonde_report *r = NULL, *want;
			int e = sonde_spool_next(f->spool, 1000, &meta, &r);

			if (e < 0)
				break;
			want = fixture_report("t", (unsigned)r->sequence, 60);
			assert_string_equal(r->id, want->id);
			assert_memory_equal(r->messages[0].data, want->messages[0].data, 60);
			(void)sonde_report_free(want);
			(void)sonde_report_free(r);
			sonde_spool_hold(f->spool);
			assert_ok(sonde_spool_pop(f->spool));
			kept++;
		}
		f->spool = sonde_spool_free(f->spool);
		assert_ok(rename(copy, path));
	}
	assert_true(kept > (unsigned)n / 2); /* what stands before the damage, mostly */
}

static void a_lost_cursor_leaves_the_oldest_segment_in_doubt(void **state)
{
	struct fixture *f = *state;
	char path[128];

	assert_ok(fixture_open(f));
	put(f, 1, 10, 0);
	restart(f);
	put(f, 2, 10, 0);
	f->spool = sonde_spool_free(f->spool);
	(void)snprintf(path, sizeof(path), "%s/cursor", f->dir);
	assert_ok(truncate(path, 30));
	assert_ok(fixture_open(f));
	assert_non_null(strstr(f->words, "cursor"));
	assert_int_equal(expect(f, 1, 10, true), SONDE_SPOOL_IN_DOUBT);
	assert_int_equal(expect(f, 2, 10, true), 0);
}

static void write_file(const struct fixture *f, const char *name, const char *text)
{
	char path[128];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s", f->dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	(void)close(fd);
}

static void foreign_files_are_told_and_left_alone(void **state)
{
	struct fixture *f = *state;
	char path[128];

	assert_ok(fixture_open(f));
	put(f, 1, 10, 0);
	f->spool = sonde_spool_free(f->spool);
	write_file(f, "notes.txt", "mine");
	write_file(f, "0000000000000000.seg", "garbage that is long enough for a head");
	write_file(f, "ffffffffffffffff.seg", "");
	write_file(f, "00000000000000aa.seg", "");
	(void)snprintf(path, sizeof(path), "%s/00000000000000ab.seg", f->dir);
	assert_ok(symlink("/etc/passwd", path));
	(void)snprintf(path, sizeof(path), "%s/00000000000000ac.seg", f->dir);
	assert_ok(mkfifo(path, 0600));
	assert_ok(fixture_open(f));
	assert_non_null(strstr(f->words, "3 files"));
	assert_non_null(strstr(f->words, "00000000000000ab.seg"));
	(void)expect(f, 1, 10, true);
	put(f, 2, 10, 0); /* behind all numbers that were seen */
	(void)expect(f, 2, 10, true);
	(void)snprintf(path, sizeof(path), "%s/notes.txt", f->dir);
	assert_ok(access(path, F_OK));
}

/* --- where it cannot be used --- */

static void two_agents_do_not_share_it(void **state)
{
	struct fixture *f = *state, other = *f;

	assert_ok(fixture_open(f));
	assert_err(fixture_open(&other), EBUSY);
	assert_non_null(strstr(other.refusal, "another agent"));
}

static void a_folder_that_others_may_write_is_refused(void **state)
{
	struct fixture *f = *state;

	assert_ok(chmod(f->dir, 0777));
	assert_err(fixture_open(f), EPERM);
	assert_non_null(strstr(f->refusal, "0700"));
}

static void a_folder_without_a_parent_says_so(void **state)
{
	struct fixture *f = *state;

	f->config.dir = "/nonexistent/spool";
	assert_err(fixture_open(f), ENOENT);
	assert_non_null(strstr(f->refusal, "parent"));
	f->config.dir = "/dev/null";
	assert_err(fixture_open(f), ENOTDIR);
}

/* RLIMIT_FSIZE stands for the full disk: the write stops in mid-record. */
static void a_write_that_stops_half_way_leaves_nothing(void **state)
{
	struct fixture *f = *state;
	struct rlimit before, small;
	struct sonde_spool_stats stats;
	struct sonde_report *r;

	(void)signal(SIGXFSZ, SIG_IGN);
	assert_ok(getrlimit(RLIMIT_FSIZE, &before));
	assert_ok(fixture_open(f));
	put(f, 1, 100, 0);
	small = (struct rlimit){20000, before.rlim_max};
	assert_ok(setrlimit(RLIMIT_FSIZE, &small));
	r = fixture_report("t", 2, 30000);
	assert_err(sonde_spool_put(f->spool, r, 1002, 0, 1000), EFBIG);
	put(f, 3, 100, 0);
	assert_ok(setrlimit(RLIMIT_FSIZE, &before));
	assert_ok(sonde_spool_put(f->spool, r, 1002, 0, 1000));
	(void)sonde_report_free(r);
	sonde_spool_stats(f->spool, &stats);
	assert_int_equal(stats.failed, 1);
	restart(f);
	assert_string_equal(f->words, "");
	(void)expect(f, 1, 100, true);
	(void)expect(f, 3, 100, true);
	(void)expect(f, 2, 30000, true);
	expect_empty(f);
}

/* No error of this process's own costs a report, neither at the start nor on the way. */
static void without_a_descriptor_it_waits(void **state)
{
	struct fixture *f = *state;
	struct sonde_spool_meta meta;
	struct sonde_report *r = NULL;
	struct rlimit before, few;
	struct sonde_spool_stats stats;
	unsigned refused = 0;

	assert_ok(getrlimit(RLIMIT_NOFILE, &before));
	assert_ok(fixture_open(f));
	put(f, 1, 100, 0);
	restart(f);
	put(f, 2, 100, 0);
	f->spool = sonde_spool_free(f->spool);
	for (unsigned n = 0; n < 40; n++) {
		int e;

		few = (struct rlimit){n, before.rlim_max};
		assert_ok(setrlimit(RLIMIT_NOFILE, &few));
		e = fixture_open(f);
		assert_ok(setrlimit(RLIMIT_NOFILE, &before));
		if (e == 0)
			break;
		assert_int_equal(e, -EMFILE);
		refused++;
	}
	assert_true(refused > 0);
	assert_non_null(f->spool);
	few.rlim_cur = 0;
	assert_ok(setrlimit(RLIMIT_NOFILE, &few));
	for (unsigned i = 0; i < 3; i++)
		assert_err(sonde_spool_next(f->spool, 1000, &meta, &r), EMFILE);
	assert_ok(setrlimit(RLIMIT_NOFILE, &before));
	assert_non_null(strstr(f->words, "it waits"));
	assert_null(strstr(strstr(f->words, "it waits") + 1, "it waits")); /* said once */
	sonde_spool_stats(f->spool, &stats);
	assert_int_equal(stats.records, 2);
	assert_int_equal(stats.damaged, 0);
	(void)expect(f, 1, 100, true);
	(void)expect(f, 2, 100, true);
	expect_empty(f);
}

/* Killed at any moment, over and over: what was put and not popped is there, in order, once. */
static void sigkill_at_any_moment_loses_nothing(void **state)
{
	struct fixture *f = *state;
	unsigned next = 0; /* the oldest that may be there */

	for (unsigned round = 0; round < 25; round++) {
		unsigned done[2] = {0}; /* put up to, popped up to: as the child says */
		struct sonde_spool_stats stats;
		int fds[2];
		pid_t pid;

		assert_ok(pipe(fds));
		pid = fork();
		assert_true(pid >= 0);
		if (pid == 0) {
			unsigned said[2] = {next, next};

			(void)close(fds[0]);
			if (fixture_open(f) < 0)
				_exit(1);
			sonde_spool_stats(f->spool, &stats);
			said[0] += (unsigned)stats.records;
			for (unsigned i = 0;; i++) {
				put(f, said[0], 500, 0);
				said[0]++;
				if (i % 3 == 2) {
					(void)expect(f, said[1], 500, true);
					said[1]++;
				}
				if (write(fds[1], said, sizeof(said)) != (ssize_t)sizeof(said))
					_exit(1);
			}
		}
		(void)close(fds[1]);
		for (unsigned i = 0; i < 3 + round * 2; i++)
			assert_int_equal(read(fds[0], done, sizeof(done)), sizeof(done));
		assert_ok(kill(pid, SIGKILL));
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		while (read(fds[0], done, sizeof(done)) == (ssize_t)sizeof(done))
			;
		(void)close(fds[0]);
		/* One step further than was said, at most. */
		assert_ok(fixture_open(f));
		sonde_spool_stats(f->spool, &stats);
		next = done[1];
		assert_true(stats.records <= done[0] + 1 - done[1]);
		assert_true(stats.records + 1 >= done[0] - done[1]);
		{
			struct sonde_spool_meta meta;
			struct sonde_report *r = NULL;

			assert_ok(sonde_spool_next(f->spool, 1000, &meta, &r));
			assert_true(r->sequence == done[1] || r->sequence == done[1] + 1);
			next = (unsigned)r->sequence;
			(void)sonde_report_free(r);
		}
		f->spool = sonde_spool_free(f->spool);
		assert_string_equal(f->dropped, "");
	}
	assert_ok(fixture_open(f));
	for (struct sonde_spool_stats s; sonde_spool_stats(f->spool, &s), s.records > 0; next++)
		(void)expect(f, next, 500, true);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_set_up, fixture_tear_down)
	const struct CMUnitTest tests[] = {
		T(gives_back_what_it_took_oldest_first),
		T(files_are_private_and_gone_when_empty),
		T(survives_a_restart_at_each_point),
		T(what_an_earlier_run_left_is_told_apart),
		T(what_is_marked_is_known_after_a_restart),
		T(the_oldest_segment_makes_room_and_each_record_is_told),
		T(the_held_one_is_not_told_and_its_pop_takes_no_other),
		T(one_larger_than_all_is_refused),
		T(what_could_not_be_read_is_refused),
		T(what_is_too_old_is_dropped),
		T(many_too_old_ones_take_many_turns),
		T(a_folder_is_looked_at_in_parts),
		T(a_torn_last_record_is_ignored_wherever_it_is_torn),
		T(no_flipped_byte_makes_another_report),
		T(a_lost_cursor_leaves_the_oldest_segment_in_doubt),
		T(foreign_files_are_told_and_left_alone),
		T(two_agents_do_not_share_it),
		T(a_folder_that_others_may_write_is_refused),
		T(a_folder_without_a_parent_says_so),
		T(a_write_that_stops_half_way_leaves_nothing),
		T(without_a_descriptor_it_waits),
		T(sigkill_at_any_moment_loses_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
