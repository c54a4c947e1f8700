/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include <errno.h>
#include <string.h>

#include "collect/plan-kernel.h"

/* Hooks of which nothing is asked: what they are does not matter here. */
static const struct sonde_plan_program programs[] = {
	{.function = "cheap",
	 .hook = "tp_btf/cheap",
	 .target_ns = 10,
	 .other_ns = 1,
	 .per = "send"},
	{.function = "dear", .hook = "tp_btf/dear", .target_ns = 20, .other_ns = 2, .per = "send"},
	{.function = "dear_too",
	 .hook = "tp_btf/too",
	 .target_ns = 3,
	 .other_ns = 3,
	 .per = "send"},
	{.function = "core", .hook = "tp_btf/core"},
};

static const struct sonde_plan_metric metrics[] = {
	{.metrics = "core", .core = true, .alternatives = {{SONDE_PLAN_BIT(3)}}},
	{.metrics = "calls",
	 .alternatives = {{SONDE_PLAN_BIT(0), .when = "later"},
			  {SONDE_PLAN_BIT(1) | SONDE_PLAN_BIT(2), .name = "pair",
			   .less = "sizes"}}},
	{.metrics = "time", .option = 1, .alternatives = {{SONDE_PLAN_BIT(2)}}},
};

static const struct sonde_plan_table table = {
	.name = "test",
	.programs = programs,
	.n_programs = ELEMENTS_OF(programs),
	.metrics = metrics,
	.n_metrics = ELEMENTS_OF(metrics),
};

struct told {
	struct sonde_probe_probe probes[8];
	size_t n;
};

static int keep(void *ctx, struct sonde_probe_reply *reply)
{
	struct told *told = ctx;
	const char *why;

	reply->version = SONDE_PROBE_VERSION;
	reply->id = 1;
	assert_ok(sonde_probe_reply_check(reply, sizeof(*reply), &why));
	told->probes[told->n++] = reply->probe;
	return 0;
}

static void tell(const struct sonde_plan *p, struct told *told)
{
	*told = (struct told){0};
	assert_ok(sonde_plan_tell(p, (struct sonde_collect_sink){keep, told}));
	assert_int_equal(told->n, 4);
}

static void each_refusal_falls_to_the_next(void **state)
{
	struct sonde_plan p = {.table = &table};
	struct told told;

	assert_ok(sonde_plan_refuse(&p, 2, "x"));
	assert_true(sonde_plan_wants(&p, 0));
	assert_false(sonde_plan_wants(&p, 1));
	tell(&p, &told);
	assert_int_equal(told.probes[1].state, SONDE_PROBE_ATTACHED);
	assert_string_equal(told.probes[1].reason, "later");
	assert_int_equal(told.probes[1].target_ns, 10);
	assert_int_equal(told.probes[2].state, SONDE_PROBE_SPARE);
	sonde_plan_done(&p);

	p.table = &table;
	assert_ok(sonde_plan_refuse(&p, 0, "argument %d moved", 3));
	assert_true(sonde_plan_wants(&p, 1) && sonde_plan_wants(&p, 2));
	tell(&p, &told);
	assert_int_equal(told.probes[1].state, SONDE_PROBE_REPLACED);
	assert_string_equal(told.probes[1].reason, "argument 3 moved");
	assert_int_equal(told.probes[2].state, SONDE_PROBE_ATTACHED);
	assert_string_equal(told.probes[2].name, "pair");
	assert_string_equal(told.probes[2].less, "sizes");
	assert_int_equal(told.probes[2].target_ns, 23);
	assert_int_equal(told.probes[2].other_ns, 5);

	/* One of two is enough to lose both, and nobody wants the other then. */
	assert_ok(sonde_plan_refuse(&p, 2, "gone"));
	assert_false(sonde_plan_wants(&p, 1));
	assert_null(sonde_plan_core_missing(&p));
	tell(&p, &told);
	assert_int_equal(told.probes[1].state, SONDE_PROBE_ABSENT);
	assert_int_equal(told.probes[2].state, SONDE_PROBE_ABSENT);
	assert_string_equal(told.probes[2].reason, "gone");
	sonde_plan_done(&p);
}

static void a_core_metric_without_a_program_is_named(void **state)
{
	struct sonde_plan p = {.table = &table};

	assert_ok(sonde_plan_refuse(&p, 3, "no"));
	assert_ptr_equal(sonde_plan_core_missing(&p), &metrics[0]);
	sonde_plan_done(&p);
}

static void an_option_that_nobody_asked_for_loads_nothing(void **state)
{
	struct sonde_plan p = {.table = &table};
	struct told told;

	assert_ok(sonde_plan_refuse(&p, 1, "x"));
	assert_false(sonde_plan_wants(&p, 2));
	tell(&p, &told);
	assert_int_equal(told.probes[3].state, SONDE_PROBE_UNASKED);
	assert_string_equal(told.probes[3].reason, "not requested");
	p.options = 1;
	assert_ok(sonde_plan_refuse(&p, 1, "x"));
	assert_true(sonde_plan_wants(&p, 2));
	sonde_plan_done(&p);
}

/* "port" is done by what "rtt" takes first, and not by what that falls to. */
static const struct sonde_plan_metric shared_metrics[] = {
	{.metrics = "port", .signals = 2, .unless = 1, .alternatives = {{SONDE_PLAN_BIT(0)}}},
	{.metrics = "rtt",
	 .signals = 1,
	 .alternatives = {{SONDE_PLAN_BIT(0)}, {SONDE_PLAN_BIT(1), .less = "ports"}}},
	{.metrics = "core", .core = true, .alternatives = {{SONDE_PLAN_BIT(3)}}},
};

static const struct sonde_plan_table shared_table = {
	.name = "test",
	.programs = programs,
	.n_programs = ELEMENTS_OF(programs),
	.metrics = shared_metrics,
	.n_metrics = ELEMENTS_OF(shared_metrics),
};

static void what_others_do_besides_is_absent_with_their_program(void **state)
{
	struct sonde_plan p = {.table = &shared_table};
	struct told told;

	assert_ok(sonde_plan_refuse(&p, 2, "x"));
	tell(&p, &told);
	assert_int_equal(told.probes[0].state, SONDE_PROBE_SPARE);
	assert_int_equal(told.probes[1].state, SONDE_PROBE_ATTACHED);
	assert_ok(sonde_plan_refuse(&p, 0, "no cgroup"));
	tell(&p, &told);
	assert_int_equal(told.probes[0].state, SONDE_PROBE_ABSENT);
	assert_string_equal(told.probes[0].reason, "no cgroup");
	assert_int_equal(told.probes[2].state, SONDE_PROBE_ATTACHED);
	p.signals = 1; /* then nobody asks for it */
	tell(&p, &told);
	assert_int_equal(told.probes[0].state, SONDE_PROBE_UNASKED);
	p.signals = 2;
	tell(&p, &told);
	assert_int_equal(told.probes[0].state, SONDE_PROBE_ABSENT);
	sonde_plan_done(&p);
}

struct loads {
	struct sonde_plan *plan;
	int n, error;
};

static int refuse_loads(void *ctx)
{
	struct loads *l = ctx;

	l->n++;
	return l->error;
}

static void a_refusal_that_names_no_program_is_no_reason_to_try_again(void **state)
{
	struct sonde_plan p = {.table = &table};
	struct loads l = {.plan = &p, .error = -EPERM};

	assert_ok(sonde_plan_refuse(&p, 1, "x"));
	assert_err(sonde_plan_load(&p, refuse_loads, NULL, &l), EPERM);
	assert_int_equal(l.n, 1);
	l.error = -ENOMEM;
	assert_err(sonde_plan_load(&p, refuse_loads, NULL, &l), ENOMEM);
	assert_int_equal(l.n, 2);
	sonde_plan_done(&p);
}

static void compares_prototypes_argument_by_argument(void **state)
{
	struct sonde_plan_program want = {.function = "f",
					  .hook = "tp_btf/kfree_skb",
					  .args = {"sk_buff*", "void*", "4", "sock*"}};
	struct sonde_prototype here = {.name = "kfree_skb",
				       .found = true,
				       .n_args = 4,
				       .args = {"sk_buff*", "void*", "4", "sock*"}};
	_cleanup_free_ char *why = NULL;

	assert_ok(sonde_plan_kernel_compare(&want, NULL, &here, &why));
	assert_null(why);
	here.n_args = 6; /* what stands behind may come and go */
	assert_ok(sonde_plan_kernel_compare(&want, NULL, &here, &why));
	assert_null(why);
	want.hook = "fexit/kfree_skb"; /* … but not where the result stands behind it */
	assert_ok(sonde_plan_kernel_compare(&want, NULL, &here, &why));
	assert_string_equal(why, "kfree_skb has 6 arguments here, not 4");
	free(why);
	want.hook = "tp_btf/kfree_skb";
	here.n_args = 3;
	assert_ok(sonde_plan_kernel_compare(&want, NULL, &here, &why));
	assert_string_equal(why, "argument 4 of kfree_skb is missing here");
	free(why);
	here.n_args = 4;
	memcpy(here.args[2], "sock*", 6);
	assert_ok(sonde_plan_kernel_compare(&want, NULL, &here, &why));
	assert_string_equal(why, "argument 3 of kfree_skb is sock* here, not 4");
	free(why);
	here.found = false;
	assert_ok(sonde_plan_kernel_compare(&want, NULL, &here, &why));
	assert_string_equal(why, "this kernel has no tracepoint kfree_skb");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_refusal_falls_to_the_next),
		cmocka_unit_test(a_core_metric_without_a_program_is_named),
		cmocka_unit_test(an_option_that_nobody_asked_for_loads_nothing),
		cmocka_unit_test(what_others_do_besides_is_absent_with_their_program),
		cmocka_unit_test(a_refusal_that_names_no_program_is_no_reason_to_try_again),
		cmocka_unit_test(compares_prototypes_argument_by_argument),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
