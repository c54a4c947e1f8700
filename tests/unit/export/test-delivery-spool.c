/* SPDX-License-Identifier: Apache-2.0 */
/* The delivery with a spool: what goes to disk when, what is resent, what is known over a restart. */
#include "spool-fixture.h"

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>

#include "base/clock.h"

struct rig {
	struct fixture *f;
	struct sonde_delivery *d;
	enum sonde_delivery_backend backend;
	bool resend;
	bool at_once;	  /* spool_after_ns 0 */
	char sent[1024];  /* "path-tail id, " … */
	char ended[1024]; /* "id word, " … */
	unsigned retries;
	int spool_error;
};

static int send_it(void *ctx, struct sonde_delivery *d, const char *path,
		   const struct sonde_buf *messages, size_t n, const char *id)
{
	struct rig *r = ctx;
	const size_t at = strlen(r->sent);

	(void)snprintf(r->sent + at, sizeof(r->sent) - at, "%s %s, ", strrchr(path, '/') + 1, id);
	return 0;
}

static enum sonde_delivery_backend backend(void *ctx)
{
	return ((struct rig *)ctx)->backend;
}

static void outcome(void *ctx, const struct sonde_report *report, enum sonde_delivery_outcome o)
{
	static const char *const words[] = {"done", "dropped", "unknown"};
	struct rig *r = ctx;
	const size_t at = strlen(r->ended);

	(void)snprintf(r->ended + at, sizeof(r->ended) - at, "%s %s, ", report->id, words[o]);
}

static void spool_state(void *ctx, int error)
{
	((struct rig *)ctx)->spool_error = error;
}

static void retry_in(void *ctx, uint64_t delay_ns)
{
	((struct rig *)ctx)->retries++;
}

static void begin_without(struct rig *r)
{
	const struct sonde_delivery_config config = {.max_reports = 3,
						     .max_bytes = 1 << 20,
						     .retry_min_ns = 10,
						     .retry_max_ns = 35,
						     .spool_after_ns =
							     r->at_once ? 0 : SONDE_NS_PER_S,
						     .resend_unknown = r->resend};
	const struct sonde_delivery_sink sink = {
		.send = send_it,
		.backend = backend,
		.outcome = outcome,
		.spool_state = spool_state,
		.retry_in = retry_in,
		.ctx = r,
	};

	r->sent[0] = r->ended[0] = '\0';
	assert_ok(sonde_delivery_new(&config, sink, &r->d));
}

static void begin_awaiting(struct rig *r)
{
	begin_without(r);
	sonde_delivery_await_spool(r->d);
}

static void begin(struct rig *r)
{
	begin_without(r);
	r->f->config.max_age_ms = UINT64_MAX;
	assert_ok(fixture_open(r->f));
	sonde_delivery_set_spool(r->d, TAKE_PTR(r->f->spool));
}

/* As SIGKILL leaves it: the disk as it is, memory gone. */
static void crash(struct rig *r)
{
	char line[300];

	(void)snprintf(line, sizeof(line), "rm -rf %s-c && cp -a %s %s-c", r->f->dir, r->f->dir,
		       r->f->dir);
	assert_int_equal(system(line), 0); /* NOLINT(cert-env33-c): this test's own names */
	r->d = sonde_delivery_free(r->d);
	(void)snprintf(line, sizeof(line), "rm -rf %s && mv %s-c %s", r->f->dir, r->f->dir,
		       r->f->dir);
	assert_int_equal(system(line), 0); /* NOLINT(cert-env33-c): as above */
	begin(r);
}

static void add(struct rig *r, unsigned number, bool extension)
{
	struct sonde_report *report = fixture_report("t", number, 100);

	report->due_ns = sonde_mono_ns();
	report->extension = extension;
	if (!extension)
		sonde_buf_done(&report->task_report);
	sonde_delivery_add(r->d, &report);
}

static void answer(struct rig *r, enum sonde_grpc_status status, bool not_processed)
{
	const struct sonde_delivery_result result = {.status = status,
						     .not_processed = not_processed};

	sonde_delivery_answer(r->d, &result);
}

static uint64_t spooled(const struct rig *r)
{
	struct sonde_delivery_stats s;

	sonde_delivery_stats(r->d, &s);
	return s.spooled;
}

#define RIG(...)                                                                                   \
	struct rig rig = {.f = *state, __VA_ARGS__}, *r = &rig;                                    \
	begin(r)
#define END() r->d = sonde_delivery_free(r->d)

static void nothing_is_written_while_the_backend_answers(void **state)
{
	RIG(.backend = SONDE_DELIVERY_ADDS);

	add(r, 1, false);
	add(r, 2, false);
	assert_int_equal(spooled(r), 0);
	answer(r, SONDE_GRPC_OK, false);
	answer(r, SONDE_GRPC_OK, false);
	assert_string_equal(r->ended, "t/1/x done, t/2/x done, ");
	END();
}

static void an_outage_goes_to_disk_and_comes_back_in_order(void **state)
{
	RIG(.backend = SONDE_DELIVERY_ADDS);

	add(r, 1, false);
	add(r, 2, false);
	answer(r, SONDE_GRPC_UNAVAILABLE, true);
	assert_int_equal(spooled(r), 2);
	for (unsigned i = 3; i < 30; i++) /* more than memory would hold */
		add(r, i, false);
	assert_int_equal(spooled(r), 29);
	assert_string_equal(r->ended, "");
	r->sent[0] = '\0';
	sonde_delivery_kick(r->d);
	for (unsigned i = 1; i < 30; i++) {
		char want[40];

		(void)snprintf(want, sizeof(want), "collectBatch t/%u/x, ", i);
		assert_string_equal(r->sent, want);
		r->sent[0] = '\0';
		answer(r, SONDE_GRPC_OK, false);
	}
	assert_true(sonde_delivery_idle(r->d));
	END();
}

/* What is on disk is older than what comes while it is still looked at. */
static void nothing_is_sent_before_an_awaited_spool_is_open(void **state)
{
	struct sonde_spool *spool = NULL;

	RIG(.backend = SONDE_DELIVERY_DEDUPLICATES);
	add(r, 1, true);
	answer(r, SONDE_GRPC_UNAVAILABLE, true);
	END();
	begin_awaiting(r);
	r->sent[0] = '\0';
	add(r, 2, true);
	sonde_delivery_kick(r->d);
	assert_string_equal(r->sent, "");
	assert_ok(fixture_open(r->f));
	spool = TAKE_PTR(r->f->spool);
	sonde_delivery_set_spool(r->d, spool);
	assert_string_equal(r->sent, "report t/1/x, ");
	END();
	/* and where there is none, it goes on without */
	begin_awaiting(r);
	r->sent[0] = '\0';
	add(r, 3, true);
	assert_string_equal(r->sent, "");
	sonde_delivery_set_spool(r->d, NULL);
	assert_string_equal(r->sent, "report t/3/x, ");
	END();
}

static void what_waits_long_for_its_answer_is_on_disk(void **state)
{
	RIG(.backend = SONDE_DELIVERY_DEDUPLICATES);

	add(r, 1, true);
	add(r, 2, true);
	assert_int_equal(spooled(r), 0);
	assert_int_equal(r->retries, 1); /* the timer of spool_after */
	sonde_delivery_kick(r->d);
	assert_int_equal(spooled(r), 2);
	crash(r);
	answer(r, SONDE_GRPC_OK, false);
	answer(r, SONDE_GRPC_OK, false);
	assert_string_equal(r->sent, "report t/1/x, collectBatch t/1/x, report t/2/x, ");
	END();
}

static void before_it_is_sent_where_after_is_0(void **state)
{
	RIG(.backend = SONDE_DELIVERY_DEDUPLICATES, .at_once = true);

	add(r, 1, true);
	assert_int_equal(spooled(r), 1);
	answer(r, SONDE_GRPC_OK, false);
	crash(r); /* the TaskReport has arrived, its meters not */
	assert_string_equal(r->sent, "collectBatch t/1/x, ");
	answer(r, SONDE_GRPC_OK, false);
	assert_true(sonde_delivery_idle(r->d));
	END();
}

static void a_crash_with_a_report_on_the_wire_doubles_nothing_at_one_that_adds(void **state)
{
	RIG(.backend = SONDE_DELIVERY_ADDS);

	add(r, 1, false);
	add(r, 2, false);
	sonde_delivery_kick(r->d);
	crash(r);
	assert_string_equal(r->ended, "t/1/x unknown, ");
	assert_string_equal(r->sent, "collectBatch t/2/x, ");
	END();
}

static void unless_it_is_to_be_resent(void **state)
{
	RIG(.backend = SONDE_DELIVERY_ADDS, .resend = true);

	add(r, 1, false);
	sonde_delivery_kick(r->d);
	crash(r);
	assert_string_equal(r->sent, "collectBatch t/1/x, ");
	END();
}

static void certain_failures_are_sent_again_after_a_crash(void **state)
{
	RIG(.backend = SONDE_DELIVERY_ADDS);

	add(r, 1, false);
	answer(r, SONDE_GRPC_UNAVAILABLE, true);
	sonde_delivery_kick(r->d);
	answer(r, SONDE_GRPC_PERMISSION_DENIED, false);
	crash(r);
	assert_string_equal(r->sent, "collectBatch t/1/x, ");
	assert_string_equal(r->ended, "");
	END();
}

/* The sink of this process sends the rest; another one would double what was taken. */
static void of_what_was_taken_in_part_the_sink_alone_knows(void **state)
{
	const struct sonde_delivery_result partly = {
		.status = SONDE_GRPC_UNAVAILABLE, .not_processed = true, .partly = true};
	RIG(.backend = SONDE_DELIVERY_ADDS);

	add(r, 1, false);
	sonde_delivery_answer(r->d, &partly);
	assert_string_equal(r->ended, "");
	assert_int_equal(spooled(r), 1);
	sonde_delivery_kick(r->d); /* in this process it goes again */
	assert_string_equal(r->sent, "collectBatch t/1/x, collectBatch t/1/x, ");
	sonde_delivery_answer(r->d, &partly);
	crash(r);
	assert_string_equal(r->ended, "t/1/x unknown, ");
	assert_string_equal(r->sent, "");
	END();
}

/* A token, an encoding, a method: said of the call. Of messages: only where there is one. */
static void refusals_are_certain(void **state)
{
	static const enum sonde_grpc_status all[] = {
		SONDE_GRPC_UNIMPLEMENTED, SONDE_GRPC_PERMISSION_DENIED, SONDE_GRPC_UNAUTHENTICATED};
	RIG(.backend = SONDE_DELIVERY_ADDS);

	add(r, 1, false);
	for (size_t i = 0; i < ELEMENTS_OF(all); i++) {
		answer(r, all[i], false);
		sonde_delivery_kick(r->d);
	}
	assert_string_equal(r->ended, "");
	answer(r, SONDE_GRPC_RESOURCE_EXHAUSTED, false); /* it has two messages */
	assert_string_equal(r->ended, "t/1/x unknown, ");
	add(r, 2, false);
	answer(r, SONDE_GRPC_RESOURCE_EXHAUSTED, true);
	sonde_delivery_kick(r->d);
	answer(r, SONDE_GRPC_INTERNAL, false);
	assert_string_equal(r->ended, "t/1/x unknown, t/2/x unknown, ");
	END();
}

static void an_answer_behind_the_deadline_is_unknown_and_not_sent_again(void **state)
{
	RIG(.backend = SONDE_DELIVERY_ADDS);

	add(r, 1, false);
	sonde_delivery_kick(r->d); /* on disk, in doubt */
	answer(r, SONDE_GRPC_DEADLINE_EXCEEDED, false);
	assert_string_equal(r->ended, "t/1/x unknown, ");
	crash(r);
	assert_string_equal(r->sent, "");
	assert_true(sonde_delivery_idle(r->d));
	END();
}

static void nothing_goes_out_before_the_backend_is_known(void **state)
{
	RIG(.backend = SONDE_DELIVERY_DEDUPLICATES);

	add(r, 1, true);
	answer(r, SONDE_GRPC_UNAVAILABLE, true);
	r->backend = SONDE_DELIVERY_UNHEARD;
	crash(r);
	assert_string_equal(r->sent, "");
	r->backend = SONDE_DELIVERY_DEDUPLICATES;
	sonde_delivery_kick(r->d);
	assert_string_equal(r->sent, "report t/1/x, ");
	END();
}

static void one_tasks_report_never_goes_to_a_backend_that_adds(void **state)
{
	RIG(.backend = SONDE_DELIVERY_DEDUPLICATES);

	add(r, 1, true);
	answer(r, SONDE_GRPC_UNAVAILABLE, true);
	r->backend = SONDE_DELIVERY_ADDS;
	add(r, 2, false);
	sonde_delivery_kick(r->d);
	assert_string_equal(r->ended, "t/1/x dropped, ");
	assert_string_equal(strrchr(r->sent, 'c'), "ch t/2/x, ");
	END();
}

static void at_the_end_all_is_on_disk(void **state)
{
	RIG(.backend = SONDE_DELIVERY_ADDS);

	add(r, 1, false);
	add(r, 2, false);
	add(r, 3, false);
	assert_false(sonde_delivery_safe(r->d));
	answer(r, SONDE_GRPC_UNAVAILABLE, true);
	assert_true(sonde_delivery_safe(r->d));
	END();
	assert_string_equal(r->ended, "");
	begin(r);
	assert_int_equal(spooled(r), 3);
	END();
}

/* The one on the wire is on disk too, until its segment makes room for the others: it comes back, or is told. */
static void what_lost_its_place_on_disk_is_not_forgotten(void **state)
{
	static const enum sonde_delivery_backend all[] = {SONDE_DELIVERY_DEDUPLICATES,
							  SONDE_DELIVERY_ADDS};

	for (size_t k = 0; k < ELEMENTS_OF(all); k++) {
		unsigned n = 1;
		RIG(.backend = all[k]);

		add(r, n++, false);
		sonde_delivery_kick(r->d); /* on disk, and on the wire */
		assert_int_equal(spooled(r), 1);
		r->f->dropped[0] = '\0';
		while (!r->f->dropped[0]) {
			struct sonde_report *report = fixture_report("t", n++, 200000);

			sonde_delivery_add(r->d, &report);
			assert_true(n < 100);
		}
		assert_null(strstr(r->f->dropped, "t/1/x"));
		if (k == 0) { /* it is still the first to be sent, and nowhere but in memory */
			answer(r, SONDE_GRPC_UNAVAILABLE, true);
			r->sent[0] = '\0';
			sonde_delivery_kick(r->d);
			assert_string_equal(r->sent, "collectBatch t/1/x, ");
			answer(r, SONDE_GRPC_UNAVAILABLE, true);
			assert_false(sonde_delivery_safe(r->d));
		}
		END();
		assert_string_equal(r->ended, "");
		begin(r);
		for (unsigned i = 0; i < 100 && !sonde_delivery_idle(r->d); i++)
			answer(r, SONDE_GRPC_OK, false);
		assert_non_null(strstr(r->ended, k == 0 ? "t/1/x done" : "t/1/x unknown"));
		END();
	}
}

/* RLIMIT_FSIZE stands for the full disk. */
static void a_full_disk_leaves_it_to_memory_and_keeps_the_order(void **state)
{
	struct rlimit before, small;
	RIG(.backend = SONDE_DELIVERY_DEDUPLICATES);

	(void)signal(SIGXFSZ, SIG_IGN);
	assert_ok(getrlimit(RLIMIT_FSIZE, &before));
	add(r, 1, true);
	answer(r, SONDE_GRPC_UNAVAILABLE, true);
	small = (struct rlimit){250, before.rlim_max}; /* the cursor and a segment of one report */
	assert_ok(setrlimit(RLIMIT_FSIZE, &small));
	add(r, 2, true);
	add(r, 3, true);
	assert_int_equal(r->spool_error, -EFBIG);
	assert_int_equal(spooled(r), 1);
	sonde_delivery_kick(r->d);
	answer(r, SONDE_GRPC_OK, false); /* its TaskReport: a mark, which is no room for reports */
	assert_int_equal(r->spool_error, -EFBIG);
	answer(r, SONDE_GRPC_UNAVAILABLE, true);
	assert_ok(setrlimit(RLIMIT_FSIZE, &before));
	add(r, 4, true);
	assert_int_equal(r->spool_error, 0);
	assert_int_equal(spooled(r), 4);
	r->sent[0] = '\0';
	sonde_delivery_kick(r->d);
	for (unsigned i = 0; i < 7; i++)
		answer(r, SONDE_GRPC_OK, false);
	assert_string_equal(r->ended, "t/1/x done, t/2/x done, t/3/x done, t/4/x done, ");
	END();
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_set_up, fixture_tear_down)
	const struct CMUnitTest tests[] = {
		T(nothing_is_written_while_the_backend_answers),
		T(nothing_is_sent_before_an_awaited_spool_is_open),
		T(an_outage_goes_to_disk_and_comes_back_in_order),
		T(what_waits_long_for_its_answer_is_on_disk),
		T(before_it_is_sent_where_after_is_0),
		T(a_crash_with_a_report_on_the_wire_doubles_nothing_at_one_that_adds),
		T(unless_it_is_to_be_resent),
		T(certain_failures_are_sent_again_after_a_crash),
		T(of_what_was_taken_in_part_the_sink_alone_knows),
		T(refusals_are_certain),
		T(an_answer_behind_the_deadline_is_unknown_and_not_sent_again),
		T(nothing_goes_out_before_the_backend_is_known),
		T(one_tasks_report_never_goes_to_a_backend_that_adds),
		T(at_the_end_all_is_on_disk),
		T(what_lost_its_place_on_disk_is_not_forgotten),
		T(a_full_disk_leaves_it_to_memory_and_keeps_the_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
