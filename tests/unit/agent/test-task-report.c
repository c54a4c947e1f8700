/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include <stdio.h>
#include <string.h>

#include "agent/task.h"
#include "sonde/v1/task.pb-c.h"

struct stage {
	struct sonde_task *task;
	struct sonde_snapshot snapshot;
};

static int set_up(void **state)
{
	struct stage *t = calloc(1, sizeof(*t));
	struct sonde_spec spec = {.id = "one", .collectors = SONDE_PROBE_COLLECT_TCP};
	struct sonde_task_target *target;

	assert_non_null(t);
	assert_ok(sonde_task_new(NULL, &spec, &t->task));
	assert_ok(sonde_task_add_target(t->task, &target));
	(void)snprintf(target->wanted, sizeof(target->wanted), "redis");
	sonde_target_set(target, SONDE_TARGET_FOUND, "");
	t->task->n_probes = 1;
	(void)snprintf(t->task->probes[0].name, sizeof(t->task->probes[0].name), "tp_btf/x");
	t->snapshot.n_costs = 1;
	(void)snprintf(t->snapshot.costs[0].name, sizeof(t->snapshot.costs[0].name), "x");
	*state = t;
	return 0;
}

static int tear_down(void **state)
{
	struct stage *t = *state;

	(void)sonde_task_free(t->task);
	free(t);
	return 0;
}

/* The next report, as the server reads it; freed by the caller. */
static Sonde__V1__TaskReport *report(struct stage *t, bool end)
{
	_cleanup_buf_ struct sonde_buf buf = SONDE_BUF_INIT(SONDE_TASK_REPORT_MAX);
	const struct sonde_task_moment m = {
		.agent_id = "agent", .end = end, .snapshot = &t->snapshot};
	Sonde__V1__TaskReport *r;

	t->task->sequence++;
	assert_ok(sonde_task_pack_report(t->task, &m, &buf));
	r = sonde__v1__task_report__unpack(NULL, buf.len, buf.data);
	assert_non_null(r);
	return r;
}

/* Does the next report carry its lists? All of them or none. */
static bool is_full(struct stage *t, bool end)
{
	Sonde__V1__TaskReport *r = report(t, end);
	bool full = r->n_targets == 1;

	assert_int_equal(r->n_probes, full ? 1 : 0);
	assert_int_equal(r->cost->n_programs, full ? 1 : 0);
	assert_int_equal(r->n_absent > 0, full);
	sonde__v1__task_report__free_unpacked(r, NULL);
	return full;
}

static void lists_go_out_first_last_and_every_tenth_time(void **state)
{
	struct stage *t = *state;

	assert_true(is_full(t, false));
	for (unsigned i = 0; i < 9; i++)
		assert_false(is_full(t, false));
	assert_true(is_full(t, false));
	assert_false(is_full(t, false));
	assert_true(is_full(t, true));
}

static void a_change_brings_the_lists_at_once(void **state)
{
	struct stage *t = *state;

	assert_true(is_full(t, false));
	assert_false(is_full(t, false));
	sonde_target_set(&t->task->targets[0], SONDE_TARGET_GONE, "ended");
	assert_true(is_full(t, false));
	assert_false(is_full(t, false));
	t->task->probes[0].state = SONDE_PROBE_ATTACHED;
	assert_true(is_full(t, false));
	assert_false(is_full(t, false));
}

/* What was told may have been in the report that is lost. */
static void behind_a_dropped_report_the_lists_come_again(void **state)
{
	struct stage *t = *state;

	assert_true(is_full(t, false));
	t->task->dropped_history = true;
	assert_true(is_full(t, false));
	assert_false(is_full(t, false));
}

static void the_ledger_and_the_sums_of_the_cost_go_out_each_time(void **state)
{
	struct stage *t = *state;
	Sonde__V1__TaskReport *r;

	assert_true(is_full(t, false));
	t->task->ledger[SONDE_LEDGER_REPORT_DROPPED] = 3;
	t->task->reports = 7;
	r = report(t, false);
	assert_int_equal(r->n_targets, 0);
	assert_int_equal(r->n_ledger, 1);
	assert_int_equal(r->ledger[0]->count, 3);
	assert_int_equal(r->cost->reports, 7);
	sonde__v1__task_report__free_unpacked(r, NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(lists_go_out_first_last_and_every_tenth_time),
		TEST(a_change_brings_the_lists_at_once),
		TEST(behind_a_dropped_report_the_lists_come_again),
		TEST(the_ledger_and_the_sums_of_the_cost_go_out_each_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
