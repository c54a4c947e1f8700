/* SPDX-License-Identifier: Apache-2.0 */
/* Bounds: label sets and memos within a run, counter windows between runs, the time of a run. */
#include <malloc.h>

#include "mal/memo.h"
#include "mal/run.h"
#include "mal/window.h"

#include "mal-test.h"

struct pools {
	struct mal_strings strings;
	struct mal_sets sets;
};

static void pools_done(struct pools *p)
{
	mal_sets_done(&p->sets);
	mal_strings_done(&p->strings);
}

static void pools_init(struct pools *p)
{
	assert_ok(mal_strings_init(&p->strings, 64U << 20));
	assert_ok(mal_sets_init(&p->sets, 64U << 20));
}

static struct mal_pair pair(struct pools *p, const char *key, const char *value)
{
	struct mal_pair v;

	assert_ok(mal_strings_put(&p->strings, key, strlen(key), &v.key));
	assert_ok(mal_strings_put(&p->strings, value, strlen(value), &v.value));
	return v;
}

static const struct mal_set *put(struct pools *p, const struct mal_pair *v, size_t n)
{
	const struct mal_set *set;

	assert_ok(mal_sets_put(&p->sets, &p->strings, v, n, &set));
	return set;
}

static const struct mal_set *same(struct pools *p, const struct mal_set *set)
{
	const struct mal_set *ret;

	assert_ok(mal_sets_same(&p->sets, &p->strings, set, &ret));
	return ret;
}

static void equal_lists_are_one_set(void **state)
{
	_cleanup_(pools_done) struct pools p;
	const struct mal_set *ab, *ba;
	struct mal_pair v[2];

	pools_init(&p);
	v[0] = pair(&p, "a", "x");
	v[1] = pair(&p, "b", "y");
	ab = put(&p, v, 2);
	assert_ptr_equal(put(&p, v, 2), ab);
	assert_ptr_not_equal(put(&p, v, 1), ab);
	assert_int_equal(mal_set_get(ab, v[1].key), v[1].value);
	assert_int_equal(mal_set_get(put(&p, v, 1), v[1].key), MAL_STR_NULL);

	v[1] = v[0];
	v[0] = pair(&p, "b", "y");
	ba = put(&p, v, 2);
	assert_ptr_not_equal(ba, ab); /* the order of labels is seen */
	assert_ptr_equal(same(&p, ba), same(&p, ab));
	v[1] = pair(&p, "a", "y");
	assert_ptr_not_equal(same(&p, put(&p, v, 2)), same(&p, ab));

	assert_ptr_equal(put(&p, NULL, 0), &mal_set_empty);
	assert_ptr_equal(same(&p, &mal_set_empty), &mal_set_empty);
}

static void many_sets_stay_apart(void **state)
{
	enum {
		N = 5000
	};
	_cleanup_(pools_done) struct pools p;
	const struct mal_set *sets[N];
	char text[16];

	pools_init(&p);
	for (int round = 0; round < 2; round++) { /* the second one after a reset */
		for (int i = 0; i < N; i++) {
			struct mal_pair v;

			(void)snprintf(text, sizeof(text), "v%d", i);
			v = pair(&p, "k", text);
			sets[i] = put(&p, &v, 1);
			assert_ptr_equal(same(&p, sets[i]), sets[i]);
			assert_int_equal(sets[i]->id, i + 1);
		}
		for (int i = 0; i < N; i++)
			assert_ptr_equal(put(&p, sets[i]->v, 1), sets[i]);
		mal_sets_reset(&p.sets);
		mal_strings_reset(&p.strings);
	}
}

static void a_memo_costs_by_what_is_in_it(void **state)
{
	struct mal_arena a = MAL_ARENA_INIT(64U << 20);
	struct mal_memo m = MAL_MEMO_INIT(&a);
	static const uint32_t ids[] = {0, 1, 63, 64, 1000000, 5};
	static int what;

	for (size_t i = 0; i < ELEMENTS_OF(ids); i++) {
		void **slot = mal_memo_slot(&m, ids[i]);

		assert_non_null(slot);
		assert_null(*slot);
		*slot = &what;
	}
	for (size_t i = 0; i < ELEMENTS_OF(ids); i++)
		assert_ptr_equal(*mal_memo_slot(&m, ids[i]), &what);
	assert_null(*mal_memo_slot(&m, 2));
	assert_true(a.used < 256 << 10);
	a.max = a.used;
	assert_null(mal_memo_slot(&m, 3000000));
	mal_arena_done(&a);
}

/* --- the window --- */

struct window_test {
	struct pools pools;
	struct mal_window *w;
	struct mal_sample s;
};

static void window_test_done(struct window_test *t)
{
	mal_window_free(t->w);
	pools_done(&t->pools);
}

static void window_test_init(struct window_test *t)
{
	*t = (struct window_test){0};
	pools_init(&t->pools);
	assert_ok(mal_window_new(&t->w));
}

static void series(struct window_test *t, const char *value)
{
	struct mal_pair v = pair(&t->pools, "k", value);

	t->s.labels = put(&t->pools, &v, 1);
	assert_ok(mal_strings_put(&t->pools.strings, "m", 1, &t->s.name));
}

/* increase() of one more sample. */
static double grow(struct window_test *t, const char *name, int64_t ts_s, double value,
		   int64_t range_s)
{
	int64_t ts_ms;
	double lower;

	series(t, name);
	t->s.ts_ms = ts_s * 1000;
	t->s.value = value;
	assert_ok(mal_window_push(t->w, &t->pools.strings, &t->s, range_s * 1000, &ts_ms, &lower));
	return value - lower;
}

static size_t held(const struct window_test *t)
{
	size_t bytes;

	return mal_window_series(t->w, &bytes);
}

static void silence_is_forgotten_when_no_number_tells(void **state)
{
	_cleanup_(window_test_done) struct window_test t;
	int64_t ts_ms;
	double value;

	window_test_init(&t);
	mal_window_begin(t.w, 1000);
	assert_true(grow(&t, "minute", 1000, 5, 60) == 0);
	assert_true(grow(&t, "long", 1000, 5, 7200) == 0);
	assert_ok(mal_window_last(t.w, &t.pools.strings, &t.s, &ts_ms, &value));
	assert_int_equal(held(&t), 3);

	/* a report that waited in a spool for an hour still has its window */
	mal_window_begin(t.w, 1000 + SONDE_MAL_WINDOW_SILENT_S);
	assert_int_equal(held(&t), 3);
	mal_window_begin(t.w, 1000 + SONDE_MAL_WINDOW_SILENT_S + 121);
	assert_int_equal(held(&t), 2);
	/* and what OAP would give after this silence is what a new series gives */
	assert_true(grow(&t, "minute", 1000 + SONDE_MAL_WINDOW_SILENT_S + 121, 9, 60) == 0);
	assert_true(grow(&t, "long", 1000 + SONDE_MAL_WINDOW_SILENT_S, 9, 7200) == 4);

	/* irate's last value is never without effect: it stays */
	mal_window_begin(t.w, 1000000000);
	assert_int_equal(held(&t), 1);
	assert_ok(mal_window_last(t.w, &t.pools.strings, &t.s, &ts_ms, &value));
	assert_int_equal(ts_ms, 1000000);
	assert_int_equal(mal_window_refused(t.w), 0);
}

static void a_window_is_bounded_in_bytes(void **state)
{
	_cleanup_(window_test_done) struct window_test t;
	_cleanup_free_ char *text = malloc(4001);
	size_t bytes;

	assert_non_null(text);
	window_test_init(&t);
	memset(text, 'x', 4000);
	text[4000] = 0;
	for (int i = 0; i < 20000; i++) {
		(void)snprintf(text + 3900, 101, "%d", i);
		(void)grow(&t, text, 1000, 1, 60);
		mal_strings_reset(&t.pools.strings);
		mal_sets_reset(&t.pools.sets);
	}
	assert_in_range(mal_window_series(t.w, &bytes), 1000, 10000);
	assert_in_range(bytes, SONDE_MAL_WINDOW_BYTES / 2, SONDE_MAL_WINDOW_BYTES);
	assert_int_equal(mal_window_refused(t.w), 20000 - held(&t));
	mal_window_clear(t.w);
	assert_int_equal(mal_window_series(t.w, &bytes), 0);
	assert_int_equal(bytes, 0);
}

/* --- the engine, over generations of labels --- */

static int64_t clock_s;

static int64_t now_s(void *ctx)
{
	return clock_s;
}

static int ignore(void *ctx, const struct sonde_mal_emission *e)
{
	return 0;
}

/* Pods come and go: each generation has labels that no other has. */
static void generation(struct sonde_mal_engine *e, const struct sonde_mal_rules *rules,
		       struct sonde_mal_batch *b, unsigned g)
{
	const struct sonde_mal_sink sink = {.emit = ignore};
	struct sonde_mal_run_stats stats = {0};
	char text[64];

	sonde_mal_batch_reset(b);
	for (unsigned i = 0; i < 200; i++) {
		(void)snprintf(text, sizeof(text), "service=s,pod=pod-%u-%u", g, i);
		test_add(b, "c", text, g, clock_s * 1000);
	}
	assert_ok(sonde_mal_engine_run(e, rules, b, SONDE_MAL_SECONDS, &sink, &stats));
	assert_int_equal(stats.rules_run, 2);
	assert_int_equal(stats.rules_failed, 0);
	clock_s += 60;
}

static void memory_is_flat_over_generations_of_labels(void **state)
{
	static const char text[] =
		"metricPrefix: t\n"
		"expSuffix: service(['service'], Layer.GENERAL)\n"
		"metricsRules:\n"
		"  - {name: a, exp: \"c.increase('PT1M')\"}\n"
		"  - {name: b, exp: \"c.sum(['service', 'pod']).rate('PT1M')\"}\n";
	const struct sonde_mal_host host = {.now_s = now_s};
	_cleanup_(sonde_mal_rules_freep) struct sonde_mal_rules *rules = NULL;
	_cleanup_(sonde_mal_engine_freep) struct sonde_mal_engine *e = NULL;
	_cleanup_(sonde_mal_batch_freep) struct sonde_mal_batch *b = NULL;
	size_t before, after;

	clock_s = 1700000000;
	assert_int_equal(sonde_mal_rules_load("t.yaml", text, sizeof(text) - 1,
					      (struct sonde_mal_report){0}, &rules),
			 0);
	assert_ok(sonde_mal_engine_new(&host, &e));
	assert_ok(sonde_mal_batch_new(&b));
	for (unsigned g = 0; g < 200; g++)
		generation(e, rules, b, g);
	before = mallinfo2().uordblks;
	for (unsigned g = 200; g < 1000; g++)
		generation(e, rules, b, g);
	after = mallinfo2().uordblks;
	print_message("bytes after 200 generations: %zu, after 1000: %zu\n", before, after);
	assert_true(after <= before + before / 10); /* five times the labels */
}

/* --- time --- */

static void keep_words(void *ctx, const struct sonde_mal_rule *rule, const char *message)
{
	(void)snprintf(ctx, 256, "%s: %s", rule->metric, message);
}

/* Each match stays below the limits of one match, all together are minutes of work. */
static void a_run_ends_in_bounded_time(void **state)
{
	static const char slow[] = "metricPrefix: t\n"
				   "expSuffix: service(['s'], Layer.GENERAL)\n"
				   "metricsRules:\n"
				   "  - {name: slow, exp: \"c.tagMatch('v', '(x|xx)*y')\"}\n"
				   "  - {name: next, exp: c}\n";
	static const char quick[] = "metricPrefix: u\n"
				    "expSuffix: service(['s'], Layer.GENERAL)\n"
				    "metricsRules:\n"
				    "  - {name: quick, exp: c}\n";
	_cleanup_(sonde_mal_rules_freep) struct sonde_mal_rules *rules = NULL, *others = NULL;
	_cleanup_(sonde_mal_engine_freep) struct sonde_mal_engine *e = NULL;
	_cleanup_(sonde_mal_batch_freep) struct sonde_mal_batch *b = NULL;
	struct sonde_mal_run_stats stats = {0};
	char words[256] = "", text[64];
	const struct sonde_mal_sink sink = {.emit = ignore, .failed = keep_words, .ctx = words};

	assert_int_equal(sonde_mal_rules_load("t.yaml", slow, sizeof(slow) - 1,
					      (struct sonde_mal_report){0}, &rules),
			 0);
	assert_int_equal(sonde_mal_rules_load("u.yaml", quick, sizeof(quick) - 1,
					      (struct sonde_mal_report){0}, &others),
			 0);
	assert_ok(sonde_mal_engine_new(NULL, &e));
	assert_ok(sonde_mal_batch_new(&b));
	for (unsigned i = 0; i < 100000; i++) {
		(void)snprintf(text, sizeof(text), "s=s,v=xxxxxxxxxxxxxxxxxxxx%uy", i);
		test_add(b, "c", text, 1, 1);
	}
	assert_ok(sonde_mal_engine_run(e, rules, b, SONDE_MAL_SECONDS, &sink, &stats));
	assert_int_equal(stats.rules_failed, 2); /* the next one has no time left either */
	assert_string_equal(words, "t_next: the rules of this file take too long on one batch");
	assert_ok(sonde_mal_engine_run(e, others, b, SONDE_MAL_SECONDS, &sink, &stats));
	assert_int_equal(stats.rules_failed, 2);
	assert_int_equal(stats.emissions, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(equal_lists_are_one_set),
		cmocka_unit_test(many_sets_stay_apart),
		cmocka_unit_test(a_memo_costs_by_what_is_in_it),
		cmocka_unit_test(silence_is_forgotten_when_no_number_tells),
		cmocka_unit_test(a_window_is_bounded_in_bytes),
		cmocka_unit_test(memory_is_flat_over_generations_of_labels),
		cmocka_unit_test(a_run_ends_in_bounded_time),
	};

	return cmocka_run_group_tests_name("mal/bounds", tests, NULL, NULL);
}
