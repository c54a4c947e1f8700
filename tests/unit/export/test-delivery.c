/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "export/delivery.h"

/* A sink that keeps what it was asked for; the test answers. */
struct sink {
	struct sonde_delivery *d;
	char sent[64][160]; /* "path-tail id" */
	size_t n_sent;
	enum sonde_delivery_backend backend;
	int refuse;	       /* send() fails with it */
	char outcomes[64][80]; /* "id word" */
	size_t n_outcomes;
	uint64_t retry_ns;
	unsigned retries;
};

static int send_it(void *ctx, struct sonde_delivery *d, const char *path,
		   const struct sonde_buf *messages, size_t n, const char *report_id)
{
	struct sink *s = ctx;

	if (s->refuse)
		return s->refuse;
	(void)snprintf(s->sent[s->n_sent++ % 64], 160, "%s %s", strrchr(path, '/') + 1, report_id);
	return 0;
}

static enum sonde_delivery_backend backend(void *ctx)
{
	return ((struct sink *)ctx)->backend;
}

static void outcome(void *ctx, const struct sonde_report *r, enum sonde_delivery_outcome o)
{
	static const char *const words[] = {"done", "dropped", "unknown"};
	struct sink *s = ctx;

	(void)snprintf(s->outcomes[s->n_outcomes++ % 64], 80, "%s %s", r->task, words[o]);
}

static void retry_in(void *ctx, uint64_t delay_ns)
{
	struct sink *s = ctx;

	s->retry_ns = delay_ns;
	s->retries++;
}

static void make(struct sink *s, size_t reports, size_t bytes, struct sonde_delivery **ret)
{
	const struct sonde_delivery_config config = {
		.max_reports = reports, .max_bytes = bytes, .retry_min_ns = 10, .retry_max_ns = 35};

	*s = (struct sink){.backend = s->backend};
	assert_ok(sonde_delivery_new(&config,
				     (struct sonde_delivery_sink){.send = send_it,
								  .backend = backend,
								  .outcome = outcome,
								  .retry_in = retry_in,
								  .ctx = s},
				     ret));
	s->d = *ret;
}

static void add(struct sonde_delivery *d, const char *name, bool task_report, size_t bytes)
{
	struct sonde_report *r = NULL;

	assert_ok(sonde_report_new(&r));
	(void)snprintf(r->task, sizeof(r->task), "%s", name);
	(void)snprintf(r->id, sizeof(r->id), "%s", name);
	r->task_report = SONDE_BUF_INIT(1 << 20);
	if (task_report)
		assert_ok(sonde_buf_append(&r->task_report, "x", 1));
	r->messages = calloc(1, sizeof(r->messages[0]));
	assert_non_null(r->messages);
	r->n_messages = 1;
	r->messages[0] = SONDE_BUF_INIT(1 << 20);
	for (size_t i = 0; i < bytes; i++)
		assert_ok(sonde_buf_append(&r->messages[0], "m", 1));
	sonde_delivery_add(d, &r);
	assert_null(r);
}

static void answer(struct sink *s, enum sonde_grpc_status status, bool not_processed)
{
	const struct sonde_delivery_result r = {.status = status, .not_processed = not_processed};

	sonde_delivery_answer(s->d, &r);
}

static void the_task_report_goes_before_its_meters(void **state)
{
	struct sink s = {.backend = SONDE_DELIVERY_DEDUPLICATES};
	_cleanup_(sonde_delivery_freep) struct sonde_delivery *d = NULL;

	make(&s, 10, 10000, &d);
	add(d, "a", true, 3);
	add(d, "b", true, 3);
	assert_int_equal(s.n_sent, 1);
	answer(&s, SONDE_GRPC_OK, false);
	answer(&s, SONDE_GRPC_OK, false);
	answer(&s, SONDE_GRPC_OK, false);
	answer(&s, SONDE_GRPC_OK, false);
	assert_int_equal(s.n_sent, 4);
	assert_string_equal(s.sent[0], "report a");
	assert_string_equal(s.sent[1], "collectBatch a");
	assert_string_equal(s.sent[2], "report b");
	assert_string_equal(s.sent[3], "collectBatch b");
	assert_string_equal(s.outcomes[0], "a done");
	assert_true(sonde_delivery_idle(d));
}

static void to_our_server_it_is_sent_until_it_arrived(void **state)
{
	struct sink s = {.backend = SONDE_DELIVERY_DEDUPLICATES};
	_cleanup_(sonde_delivery_freep) struct sonde_delivery *d = NULL;

	make(&s, 10, 10000, &d);
	add(d, "a", true, 3);
	answer(&s, SONDE_GRPC_OK, false);
	answer(&s, SONDE_GRPC_DEADLINE_EXCEEDED, false);
	assert_int_equal(s.retry_ns, 10);
	assert_int_equal(s.n_sent, 2); /* waits */
	sonde_delivery_kick(d);
	assert_string_equal(s.sent[2], "collectBatch a"); /* the TaskReport had arrived */
	answer(&s, SONDE_GRPC_UNAVAILABLE, true);
	assert_int_equal(s.retry_ns, 20);
	sonde_delivery_kick(d);
	answer(&s, SONDE_GRPC_UNAVAILABLE, true);
	assert_int_equal(s.retry_ns, 35);
	sonde_delivery_kick(d);
	answer(&s, SONDE_GRPC_OK, false);
	assert_string_equal(s.outcomes[0], "a done");
}

static void to_one_that_adds_it_goes_again_only_if_surely_not_taken(void **state)
{
	struct sink s = {.backend = SONDE_DELIVERY_ADDS};
	_cleanup_(sonde_delivery_freep) struct sonde_delivery *d = NULL;

	make(&s, 10, 10000, &d);
	add(d, "a", false, 3);
	add(d, "b", false, 3);
	answer(&s, SONDE_GRPC_UNAVAILABLE, true);
	sonde_delivery_kick(d);
	assert_string_equal(s.sent[1], "collectBatch a");
	answer(&s, SONDE_GRPC_DEADLINE_EXCEEDED, false);
	assert_string_equal(s.outcomes[0], "a unknown");
	assert_string_equal(s.sent[2], "collectBatch b"); /* and the next goes on at once */
	answer(&s, SONDE_GRPC_OK, false);
	assert_true(sonde_delivery_idle(d));
}

static void what_a_server_refuses_for_good_is_dropped(void **state)
{
	struct sink s = {.backend = SONDE_DELIVERY_DEDUPLICATES};
	_cleanup_(sonde_delivery_freep) struct sonde_delivery *d = NULL;

	make(&s, 10, 10000, &d);
	add(d, "a", true, 3);
	add(d, "b", true, 3);
	answer(&s, SONDE_GRPC_INVALID_ARGUMENT, false);
	assert_string_equal(s.outcomes[0], "a dropped");
	assert_string_equal(s.sent[1], "report b");
}

static void one_that_always_fails_holds_up_no_other(void **state)
{
	struct sink s = {.backend = SONDE_DELIVERY_DEDUPLICATES};
	_cleanup_(sonde_delivery_freep) struct sonde_delivery *d = NULL;
	struct sonde_delivery_result r = {.answered = true};

	make(&s, 10, 10000, &d);
	add(d, "a", false, 3);
	add(d, "b", false, 3);
	for (unsigned i = 0; i < 90;
	     i++) { /* neither the path's failures nor those of the token count */
		r.answered = i % 3;
		r.status = i % 3 == 1 ? SONDE_GRPC_UNAVAILABLE : SONDE_GRPC_PERMISSION_DENIED;
		sonde_delivery_answer(d, &r);
		sonde_delivery_kick(d);
	}
	r = (struct sonde_delivery_result){.answered = true, .status = SONDE_GRPC_INTERNAL};
	for (unsigned i = 0; i < 20; i++) {
		assert_int_equal(s.n_outcomes, 0);
		sonde_delivery_answer(d, &r);
		if (i < 19)
			sonde_delivery_kick(d);
	}
	assert_string_equal(s.outcomes[0], "a dropped");
	assert_string_equal(s.sent[(s.n_sent - 1) % 64], "collectBatch b");
	answer(&s, SONDE_GRPC_OK, false);
	assert_string_equal(s.outcomes[1], "b done");
}

static void the_oldest_gives_way_but_never_the_one_on_the_wire(void **state)
{
	struct sink s = {.backend = SONDE_DELIVERY_DEDUPLICATES};
	_cleanup_(sonde_delivery_freep) struct sonde_delivery *d = NULL;
	struct sonde_delivery_stats stats;

	make(&s, 2, 100000, &d);
	add(d, "a", false, 3);
	add(d, "b", false, 3);
	add(d, "c", false, 3);
	assert_int_equal(s.n_outcomes, 1);
	assert_string_equal(s.outcomes[0], "b dropped");
	answer(&s, SONDE_GRPC_OK, false);
	assert_string_equal(s.sent[1], "collectBatch c");
	sonde_delivery_stats(d, &stats);
	assert_int_equal(stats.dropped, 1);
	assert_int_equal(stats.delivered, 1);
	assert_int_equal(stats.waiting, 1);
}

static void bytes_are_a_limit_too(void **state)
{
	struct sink s = {.backend = SONDE_DELIVERY_DEDUPLICATES};
	_cleanup_(sonde_delivery_freep) struct sonde_delivery *d = NULL;

	make(&s, 100, 5000, &d);
	s.refuse = -ENOMEM; /* nothing is on the wire */
	add(d, "a", false, 2500);
	add(d, "b", false, 2500);
	assert_string_equal(s.outcomes[0], "a dropped");
	add(d, "c", false, 9000);
	assert_int_equal(s.n_outcomes, 3);
	assert_true(sonde_delivery_idle(d));
}

static void a_failed_send_is_tried_again_later(void **state)
{
	struct sink s = {.backend = SONDE_DELIVERY_DEDUPLICATES};
	_cleanup_(sonde_delivery_freep) struct sonde_delivery *d = NULL;

	make(&s, 100, 60000, &d);
	s.refuse = -ENOMEM;
	add(d, "a", false, 3);
	add(d, "b", false, 3);
	assert_int_equal(s.retries, 1); /* not once a report */
	s.refuse = 0;
	sonde_delivery_kick(d);
	assert_string_equal(s.sent[0], "collectBatch a");
}

static void one_that_cannot_be_sent_at_all_holds_up_no_other(void **state)
{
	static const int never[] = {-EINVAL, -EMSGSIZE};
	struct sink s = {.backend = SONDE_DELIVERY_DEDUPLICATES};
	_cleanup_(sonde_delivery_freep) struct sonde_delivery *d = NULL;

	make(&s, 100, 60000, &d);
	for (size_t i = 0; i < ELEMENTS_OF(never); i++) {
		s.refuse = never[i];
		add(d, "a", false, 3);
		assert_string_equal(s.outcomes[i], "a dropped");
	}
	s.refuse = 0;
	add(d, "b", false, 3);
	assert_string_equal(s.sent[0], "collectBatch b");
}

static void what_is_left_at_the_end_is_told_as_dropped(void **state)
{
	struct sonde_delivery *d = NULL;
	struct sink s = {.backend = SONDE_DELIVERY_DEDUPLICATES};

	make(&s, 100, 60000, &d);
	add(d, "a", false, 3);
	assert_null(sonde_delivery_free(d));
	assert_string_equal(s.outcomes[0], "a dropped");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_task_report_goes_before_its_meters),
		cmocka_unit_test(to_our_server_it_is_sent_until_it_arrived),
		cmocka_unit_test(to_one_that_adds_it_goes_again_only_if_surely_not_taken),
		cmocka_unit_test(what_a_server_refuses_for_good_is_dropped),
		cmocka_unit_test(one_that_always_fails_holds_up_no_other),
		cmocka_unit_test(the_oldest_gives_way_but_never_the_one_on_the_wire),
		cmocka_unit_test(bytes_are_a_limit_too),
		cmocka_unit_test(a_failed_send_is_tried_again_later),
		cmocka_unit_test(one_that_cannot_be_sent_at_all_holds_up_no_other),
		cmocka_unit_test(what_is_left_at_the_end_is_told_as_dropped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
