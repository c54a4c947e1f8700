/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backend/json.h"
#include "backend/tasks/task.h"

#define T0 1700000000000

static struct sonde_task *make(void)
{
	_cleanup_json_ json_t *j = json_pack("{s:s, s:[{s:i}], s:i}", "id", "t", "targets", "pid",
					     1, "durationMs", 10000);
	_cleanup_(sonde_spec_freep) struct sonde_spec *spec = NULL;
	struct sonde_problem problem;
	struct sonde_task *t = NULL;

	assert_ok(sonde_spec_parse(j, T0, 0, true, &spec, &problem));
	assert_ok(sonde_task_new(&spec, T0, &t));
	return t;
}

static struct sonde_task_agent *add(struct sonde_task *t, const char *id)
{
	struct sonde_task_agent *a = NULL;

	assert_ok(sonde_task_add_agent(t, id, &a));
	return a;
}

static void move(struct sonde_task *t, struct sonde_task_agent *a, enum sonde_task_state s,
		 int64_t at)
{
	assert_int_equal(sonde_task_move(t, a, s, at, "words", false), 1);
}

static int64_t never_seen(void *ctx, const char *agent_id)
{
	return ctx ? *(int64_t *)ctx : 0;
}

static int tick(struct sonde_task *t, int64_t now_ms)
{
	const struct sonde_task_clock clock = {now_ms, 30000, 60000, never_seen, NULL};

	return sonde_task_tick(t, &clock);
}

static void follows_one_agent_through_its_time_line(void **state)
{
	static const char *const names[] = {"accepted", "planned",  "attaching",
					    "running",	"draining", "done"};
	_cleanup_(sonde_task_freep) struct sonde_task *t = make();
	struct sonde_task_agent *a = add(t, "a");

	for (unsigned s = SONDE_TASK_PLANNED; s <= SONDE_TASK_DONE; s++)
		move(t, a, s, T0 + s);
	assert_int_equal(t->state, SONDE_TASK_DONE);
	assert_int_equal(t->started_ms, T0 + SONDE_TASK_RUNNING);
	assert_int_equal(t->ended_ms, T0 + SONDE_TASK_DONE);
	assert_int_equal(json_array_size(t->states), 6);
	for (size_t i = 0; i < 6; i++)
		assert_string_equal(sonde_json_get_text(json_array_get(t->states, i), "state", ""),
				    names[i]);
}

static void never_steps_back(void **state)
{
	_cleanup_(sonde_task_freep) struct sonde_task *t = make();
	struct sonde_task_agent *a = add(t, "a");

	move(t, a, SONDE_TASK_RUNNING, T0);
	assert_int_equal(sonde_task_move(t, a, SONDE_TASK_PLANNED, T0, "", false), 0);
	assert_int_equal(sonde_task_move(t, a, SONDE_TASK_RUNNING, T0, "", false), 0);
	move(t, a, SONDE_TASK_FAILED, T0);
	assert_int_equal(sonde_task_move(t, a, SONDE_TASK_DONE, T0, "", false), 0);
	assert_int_equal(sonde_task_move(t, a, SONDE_TASK_RUNNING, T0, "", false), 0);
	assert_int_equal(t->state, SONDE_TASK_FAILED);
}

static void a_partial_start_is_a_start(void **state)
{
	_cleanup_(sonde_task_freep) struct sonde_task *t = make();
	struct sonde_task_agent *a = add(t, "a"), *b = add(t, "b");

	move(t, a, SONDE_TASK_REFUSED, T0);
	assert_int_equal(t->state, SONDE_TASK_ACCEPTED);
	move(t, b, SONDE_TASK_RUNNING, T0 + 1);
	assert_int_equal(t->state, SONDE_TASK_RUNNING);
	move(t, b, SONDE_TASK_DONE, T0 + 2);
	assert_int_equal(t->state,
			 SONDE_TASK_DONE); /* what was measured counts before what was refused */
}

static void runs_until_the_last_agent_ends(void **state)
{
	_cleanup_(sonde_task_freep) struct sonde_task *t = make();
	struct sonde_task_agent *a = add(t, "a"), *b = add(t, "b");

	move(t, a, SONDE_TASK_RUNNING, T0);
	move(t, a, SONDE_TASK_DONE, T0 + 1);
	assert_int_equal(t->state, SONDE_TASK_RUNNING); /* b has not even begun */
	move(t, b, SONDE_TASK_RUNNING, T0 + 2);
	move(t, b, SONDE_TASK_DRAINING, T0 + 3);
	assert_int_equal(t->state, SONDE_TASK_DRAINING);
	move(t, b, SONDE_TASK_FAILED, T0 + 4);
	assert_int_equal(t->state, SONDE_TASK_DONE);
	assert_int_equal(t->ended_ms, T0 + 4);
}

static void expires_when_nobody_takes_it(void **state)
{
	_cleanup_(sonde_task_freep) struct sonde_task *t = make();

	(void)add(t, "a");
	assert_int_equal(tick(t, T0 + 40000), 0);
	assert_int_equal(tick(t, T0 + 40001), 1);
	assert_int_equal(t->state, SONDE_TASK_EXPIRED);
	assert_non_null(strstr(t->reason, "did not take"));
	assert_int_equal(tick(t, T0 + 99999), 0);
}

static void a_task_that_begins_now_waits_for_a_late_poll(void **state)
{
	_cleanup_(sonde_task_freep) struct sonde_task *t = make();
	struct sonde_task_agent *a = add(t, "a");

	t->spec->duration_ms = 1000;
	assert_int_equal(sonde_task_take_until_ms(t, a, 30000), T0 + 31000);
	a->handed_out_ms = T0 + 20000; /* its duration counts from there */
	assert_int_equal(sonde_task_agent_end_ms(t, a), T0 + 21000);
	assert_int_equal(tick(t, T0 + 51000), 0);
	assert_int_equal(tick(t, T0 + 51001), 1);
	a->handed_out_ms = 0;
	t->spec->start_wall_ms = T0; /* one with a start of its own is over at its end */
	assert_int_equal(sonde_task_take_until_ms(t, a, 30000), T0 + 1000);
}

static bool has_left(void *ctx, const char *agent_id)
{
	return true;
}

static void fails_soon_when_the_agent_left_before_it_answered(void **state)
{
	_cleanup_(sonde_task_freep) struct sonde_task *t = make();
	int64_t seen = T0 + 1000;
	struct sonde_task_clock clock = {T0 + 16000, 30000, 60000, never_seen, &seen, has_left};

	(void)add(t, "a");
	t->spec->duration_ms = 600000;
	assert_int_equal(sonde_task_tick(t, &clock), 0); /* it may connect again */
	clock.now_ms++;
	assert_int_equal(sonde_task_tick(t, &clock), 1);
	assert_int_equal(t->state, SONDE_TASK_FAILED);
	assert_non_null(strstr(t->reason, "is gone"));
}

static void fails_when_the_agent_vanishes_and_takes_its_word_when_it_returns(void **state)
{
	_cleanup_(sonde_task_freep) struct sonde_task *t = make();
	struct sonde_task_agent *a = add(t, "a");

	t->spec->duration_ms = 600000;
	move(t, a, SONDE_TASK_RUNNING, T0);
	a->last_report_ms = T0 + 1000;
	assert_int_equal(tick(t, T0 + 61000), 0);
	assert_int_equal(tick(t, T0 + 61001), 1);
	assert_int_equal(t->state, SONDE_TASK_FAILED);
	assert_non_null(strstr(t->reason, "vanished"));
	/* it was only cut off */
	assert_int_equal(sonde_task_move(t, a, SONDE_TASK_RUNNING, T0 + 70000, "", false), 1);
	assert_int_equal(t->state, SONDE_TASK_RUNNING);
	assert_int_equal(t->ended_ms, 0);
}

static const char *state_at(const struct sonde_task *t, size_t i)
{
	return sonde_json_get_text(json_array_get(t->states, i), "state", "");
}

/* Behind an outage: what the server had concluded goes, and what is told late stands where it belongs. */
static void a_time_line_is_in_the_order_of_its_times(void **state)
{
	static const char *const names[] = {"accepted", "planned", "running", "draining", "done"};
	_cleanup_(sonde_task_freep) struct sonde_task *t = make();
	struct sonde_task_agent *a = add(t, "a");

	move(t, a, SONDE_TASK_PLANNED, T0 + 1);
	move(t, a, SONDE_TASK_RUNNING, T0 + 2);
	a->last_report_ms = T0 + 1000;
	assert_int_equal(tick(t, T0 + 61001), 1);
	assert_string_equal(state_at(t, 3), "failed");
	move(t, a, SONDE_TASK_DRAINING, T0 + 9000);
	move(t, a, SONDE_TASK_DONE, T0 + 9001);
	assert_int_equal(json_array_size(t->states), ELEMENTS_OF(names));
	for (size_t i = 0; i < ELEMENTS_OF(names); i++)
		assert_string_equal(state_at(t, i), names[i]);
}

static void what_several_agents_tell_late_is_sorted_in(void **state)
{
	_cleanup_(sonde_task_freep) struct sonde_task *t = make();
	struct sonde_task_agent *a = add(t, "a"), *b = add(t, "b");

	move(t, a, SONDE_TASK_PLANNED, T0 + 10);
	move(t, a, SONDE_TASK_RUNNING, T0 + 20);
	move(t, a, SONDE_TASK_FAILED, T0 + 30); /* b has not begun: running goes on */
	assert_int_equal(t->state, SONDE_TASK_RUNNING);
	move(t, b, SONDE_TASK_DRAINING, T0 + 15); /* its clock is behind */
	assert_string_equal(state_at(t, 1), "planned");
	assert_string_equal(state_at(t, 2), "draining");
	assert_string_equal(state_at(t, 3), "running");
	move(t, b, SONDE_TASK_DONE, T0 + 16);
	assert_string_equal(state_at(t, 4), "done"); /* an end is the end */
}

static bool holds(void *ctx, const char *agent_id)
{
	return true;
}

/* Of a server whose agent is silent, but holds reports as it last told. */
static struct sonde_task_clock holding(int64_t now_ms)
{
	return (struct sonde_task_clock){.now_ms = now_ms,
					 .grace_ms = 30000,
					 .silent_ms = 60000,
					 .agent_seen_ms = never_seen,
					 .agent_holds = holds};
}

static void an_agent_that_holds_reports_has_not_vanished(void **state)
{
	_cleanup_(sonde_task_freep) struct sonde_task *t = make();
	struct sonde_task_agent *a = add(t, "a");
	struct sonde_task_clock clock = holding(T0 + 90000);

	move(t, a, SONDE_TASK_RUNNING, T0);
	a->last_report_ms = T0 + 1000;
	assert_int_equal(sonde_task_tick(t, &clock), 0);
	clock.agent_holds = NULL;
	assert_int_equal(sonde_task_tick(t, &clock), 1);
	assert_int_equal(t->state, SONDE_TASK_FAILED);
}

/* It may be killed again and again, and hold something whenever it tells: its tasks end all the same. */
static void what_an_agent_holds_is_not_waited_for_without_end(void **state)
{
	_cleanup_(sonde_task_freep) struct sonde_task *t = make();
	struct sonde_task_agent *a = add(t, "a");
	struct sonde_task_clock clock = holding(T0 + 91000);

	move(t, a, SONDE_TASK_RUNNING, T0);
	a->last_report_ms = T0 + 1000;
	assert_int_equal(sonde_task_tick(t, &clock), 0); /* the last moment of it */
	clock.now_ms++;
	assert_int_equal(sonde_task_tick(t, &clock), 1);
	assert_int_equal(t->state, SONDE_TASK_FAILED);
}

static void an_agent_that_is_seen_has_not_vanished(void **state)
{
	_cleanup_(sonde_task_freep) struct sonde_task *t = make();
	struct sonde_task_agent *a = add(t, "a");
	int64_t seen = T0 + 80000;
	const struct sonde_task_clock clock = {T0 + 90000, 30000, 60000, never_seen, &seen};

	t->spec->duration_ms = 600000;
	move(t, a, SONDE_TASK_RUNNING, T0);
	a->last_report_ms = T0 + 1000;
	assert_int_equal(sonde_task_tick(t, &clock), 0);
}

static void silence_before_the_server_was_there_is_its_own(void **state)
{
	_cleanup_(sonde_task_freep) struct sonde_task *t = make();
	struct sonde_task_agent *a = add(t, "a");
	struct sonde_task_clock clock = {.now_ms = T0 + 301000,
					 .grace_ms = 30000,
					 .silent_ms = 60000,
					 .agent_seen_ms = never_seen,
					 .since_ms = T0 + 300000};

	t->spec->duration_ms = 600000;
	move(t, a, SONDE_TASK_RUNNING, T0);
	a->last_report_ms = T0 + 1000;
	assert_int_equal(sonde_task_tick(t, &clock), 0);
	clock.now_ms = T0 + 360001;
	assert_int_equal(sonde_task_tick(t, &clock), 1);
	assert_non_null(strstr(t->reason, "vanished"));
}

static void the_end_counts_from_the_agents_own_start(void **state)
{
	_cleanup_(sonde_task_freep) struct sonde_task *t = make();
	struct sonde_task_agent *a = add(t, "a");

	assert_int_equal(sonde_task_end_ms(t), T0 + 10000);
	move(t, a, SONDE_TASK_RUNNING, T0 + 7000);
	assert_int_equal(sonde_task_end_ms(t), T0 + 17000);
}

static void a_stop_ends_only_those_who_never_had_it(void **state)
{
	_cleanup_(sonde_task_freep) struct sonde_task *t = make();
	struct sonde_task_agent *a = add(t, "a"), *b = add(t, "b");

	a->handed_out_ms = T0;
	a->last_report_ms = T0 + 1;
	move(t, a, SONDE_TASK_RUNNING, T0);
	sonde_task_stop(t, T0 + 5, "enough");
	assert_int_equal(b->state, SONDE_TASK_STOPPED);
	assert_int_equal(t->state, SONDE_TASK_RUNNING);
	/* a never confirms */
	assert_int_equal(tick(t, T0 + 5 + 30000), 0);
	assert_int_equal(tick(t, T0 + 5 + 30001), 1);
	assert_int_equal(t->state, SONDE_TASK_STOPPED);
	assert_non_null(strstr(t->reason, "enough"));
}

static void a_stop_ends_who_took_the_task_and_never_answered(void **state)
{
	_cleanup_(sonde_task_freep) struct sonde_task *t = make();
	struct sonde_task_agent *a = add(t, "a");

	t->spec->duration_ms = 600000;
	a->handed_out_ms = T0;
	sonde_task_stop(t, T0 + 5, "enough");
	assert_int_equal(t->state, SONDE_TASK_ACCEPTED);
	assert_int_equal(tick(t, T0 + 5 + 30001), 1);
	assert_int_equal(t->state, SONDE_TASK_STOPPED);
	assert_non_null(strstr(t->reason, "enough"));
}

static void is_complete_only_without_any_loss(void **state)
{
	_cleanup_(sonde_task_freep) struct sonde_task *t = make();
	struct sonde_task_agent *a = add(t, "a");

	assert_false(sonde_task_complete(t)); /* nothing has come yet */
	a->last_report_ms = T0;
	assert_ok(sonde_ranges_add(&a->sequences, 1));
	assert_true(sonde_task_complete(t));
	assert_ok(sonde_ranges_add(&a->sequences, 3));
	assert_false(sonde_task_complete(t));
	assert_ok(sonde_ranges_add(&a->sequences, 2));
	assert_true(sonde_task_complete(t));
	a->ledger = json_pack("[{s:s, s:i, s:b}]", "site", "cell_full", "count", 4, "weakens", 0);
	assert_true(sonde_task_complete(t));
	json_decref(a->ledger);
	a->ledger = json_pack("[{s:s, s:i, s:b}]", "site", "busy", "count", 1, "weakens", 1);
	assert_false(sonde_task_complete(t));
	json_decref(TAKE_PTR(a->ledger));
	move(t, a, SONDE_TASK_FAILED, T0);
	assert_false(sonde_task_complete(t)); /* no end report */
	a->ended = true;
	assert_true(sonde_task_complete(t));
	t->series_refused = 1;
	assert_false(sonde_task_complete(t));
}

static void survives_as_a_document(void **state)
{
	_cleanup_(sonde_task_freep) struct sonde_task *t = make(), *back = NULL;
	struct sonde_task_agent *a = add(t, "a");
	_cleanup_json_ json_t *doc = NULL, *again = NULL;

	move(t, a, SONDE_TASK_RUNNING, T0 + 3);
	a->update_ms = T0 + 2;
	a->targets = json_pack("[{s:i}]", "pid", 5);
	assert_ok(sonde_ranges_add(&a->sequences, 1));
	sonde_task_stop(t, T0 + 9, "enough");
	doc = sonde_task_document(t);
	assert_ok(sonde_task_from_document(doc, &back));
	again = sonde_task_document(back);
	assert_true(json_equal(doc, again));
	assert_int_equal(back->agents[0]->update_ms, T0 + 2);
	assert_int_equal(json_object_set_new(doc, "state", json_string("flying")), 0);
	assert_err(sonde_task_from_document(doc, &t), EBADMSG);
}

static void bounds_agents_and_time_line(void **state)
{
	_cleanup_(sonde_task_freep) struct sonde_task *t = make();
	struct sonde_task_agent *a;
	char id[32];

	for (unsigned i = 0; i < SONDE_TASK_AGENTS_MAX; i++) {
		(void)snprintf(id, sizeof(id), "agent-%u", i);
		(void)add(t, id);
	}
	assert_err(sonde_task_add_agent(t, "one-more", &a), ENOSPC);
	/* A server that loses and regains its agent for days. */
	a = t->agents[0];
	for (unsigned i = 0; i < 1000; i++) {
		(void)sonde_task_move(t, a, SONDE_TASK_FAILED, T0 + i, "gone", true);
		(void)sonde_task_move(t, a, SONDE_TASK_RUNNING, T0 + i, "back", false);
	}
	assert_true(json_array_size(t->states) <= SONDE_TASK_STATES_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(follows_one_agent_through_its_time_line),
		cmocka_unit_test(never_steps_back),
		cmocka_unit_test(a_partial_start_is_a_start),
		cmocka_unit_test(runs_until_the_last_agent_ends),
		cmocka_unit_test(expires_when_nobody_takes_it),
		cmocka_unit_test(a_task_that_begins_now_waits_for_a_late_poll),
		cmocka_unit_test(fails_soon_when_the_agent_left_before_it_answered),
		cmocka_unit_test(fails_when_the_agent_vanishes_and_takes_its_word_when_it_returns),
		cmocka_unit_test(a_time_line_is_in_the_order_of_its_times),
		cmocka_unit_test(what_several_agents_tell_late_is_sorted_in),
		cmocka_unit_test(an_agent_that_holds_reports_has_not_vanished),
		cmocka_unit_test(what_an_agent_holds_is_not_waited_for_without_end),
		cmocka_unit_test(an_agent_that_is_seen_has_not_vanished),
		cmocka_unit_test(silence_before_the_server_was_there_is_its_own),
		cmocka_unit_test(the_end_counts_from_the_agents_own_start),
		cmocka_unit_test(a_stop_ends_only_those_who_never_had_it),
		cmocka_unit_test(a_stop_ends_who_took_the_task_and_never_answered),
		cmocka_unit_test(is_complete_only_without_any_loss),
		cmocka_unit_test(survives_as_a_document),
		cmocka_unit_test(bounds_agents_and_time_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
