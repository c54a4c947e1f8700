/* SPDX-License-Identifier: Apache-2.0 */
/* The engine around the rules: batches, the host, filters, failures that stay alone, and ids. */
#include <errno.h>
#include <math.h>

#include "mal/javatext.h"
#include "mal/window.h"

#include "mal-test.h"

/* --- batches --- */

static void a_sample_is_taken_whole_or_refused(void **state)
{
	_cleanup_(sonde_mal_batch_freep) struct sonde_mal_batch *b = NULL;
	struct sonde_mal_label labels[SONDE_MAL_LABELS_MAX + 1];
	struct sonde_mal_sample s = {"m", labels, 2, 1, 1};
	char keys[SONDE_MAL_LABELS_MAX + 1][8];
	_cleanup_free_ char *longest = malloc(SONDE_MAL_TEXT_MAX + 2);

	assert_ok(sonde_mal_batch_new(&b));
	labels[0] = labels[1] = (struct sonde_mal_label){"a", "x"};
	assert_err(sonde_mal_batch_add(b, &s), EEXIST);
	labels[1] = (struct sonde_mal_label){"b", NULL};
	assert_err(sonde_mal_batch_add(b, &s), EINVAL);
	for (size_t i = 0; i < ELEMENTS_OF(labels); i++) {
		(void)snprintf(keys[i], sizeof(keys[i]), "k%zu", i);
		labels[i] = (struct sonde_mal_label){keys[i], ""};
	}
	s.n_labels = SONDE_MAL_LABELS_MAX + 1;
	assert_err(sonde_mal_batch_add(b, &s), E2BIG);
	s.n_labels = SONDE_MAL_LABELS_MAX;
	assert_ok(sonde_mal_batch_add(b, &s));
	memset(longest, 'x', SONDE_MAL_TEXT_MAX + 1);
	longest[SONDE_MAL_TEXT_MAX + 1] = 0;
	labels[0].value = longest;
	assert_err(sonde_mal_batch_add(b, &s), E2BIG);
	s.value = NAN;
	labels[0].value = "";
	assert_ok(sonde_mal_batch_add(b, &s)); /* dropped, as OAP does */
	s.name = "";
	assert_err(sonde_mal_batch_add(b, &s), EINVAL);
	assert_int_equal(sonde_mal_batch_count(b), 1);
	sonde_mal_batch_reset(b);
	assert_int_equal(sonde_mal_batch_count(b), 0);
}

static void a_batch_is_bounded(void **state)
{
	_cleanup_(sonde_mal_batch_freep) struct sonde_mal_batch *b = NULL;
	const struct sonde_mal_sample s = {"m", NULL, 0, 1, 1};

	assert_ok(sonde_mal_batch_new(&b));
	for (int i = 0; i < SONDE_MAL_SAMPLES_MAX; i++)
		assert_ok(sonde_mal_batch_add(b, &s));
	assert_err(sonde_mal_batch_add(b, &s), E2BIG);
}

static const struct sonde_mal_label one_label[] = {{"side", "client"}};

static void a_collection_takes_its_last_origin_for_all(void **state)
{
	_cleanup_(sonde_mal_rules_freep) struct sonde_mal_rules *rules = test_rules(
		"metricPrefix: t\nexpSuffix: instance(['service'], ['instance'], Layer.K8S)\nmetricsRules:\n"
		"  - {name: m, exp: m}\n"
		"  - {name: h, exp: \"h.sum(['service', 'instance', 'le']).histogram()\"}\n");
	_cleanup_(sonde_mal_batch_freep) struct sonde_mal_batch *b = NULL;
	_cleanup_buf_ struct sonde_buf out = SONDE_BUF_INIT(TEST_TEXT_BYTES);
	const struct sonde_mal_bucket buckets[] = {
		{0, 3, false}, {10000, 4, false}, {1.5e7, 5, false}, {0, 6, true}};
	const struct sonde_mal_meter meters[] = {
		{"m", one_label, 1, "old", "i", 5, false, 2, NULL, 0},
		{"h", one_label, 1, "new", NULL, 0, true, 0, buckets, 4},
	};

	assert_ok(sonde_mal_batch_new(&b));
	assert_ok(sonde_mal_batch_add_collection(b, meters, 2, NULL));
	assert_int_equal(sonde_mal_batch_count(b), 5);
	test_run(NULL, rules, b, &out);
	assert_string_equal(
		sonde_buf_str(&out),
		"t_m SERVICE_INSTANCE new/i 0.0 0=2\n"
		"t_h SERVICE_INSTANCE new/i 0.0 {}-9223372036854775808=6 {}0=3 {}10000=4 {}15000000=5\n");
}

static void a_collection_with_a_clash_is_refused_whole(void **state)
{
	_cleanup_(sonde_mal_batch_freep) struct sonde_mal_batch *b = NULL;
	static const struct sonde_mal_label clash[][2] = {{{"service", "x"}, {"a", "b"}},
							  {{"a", "b"}, {"instance", "x"}},
							  {{"le", "1"}, {"a", "b"}},
							  {{"a", "1"}, {"a", "2"}}};
	struct sonde_mal_meter meters[] = {{"m", one_label, 1, "s", "i", 5, false, 2, NULL, 0},
					   {"h", NULL, 2, NULL, NULL, 0, true, 0, NULL, 0}};
	struct sonde_mal_refusal why;

	assert_ok(sonde_mal_batch_new(&b));
	for (size_t i = 0; i < ELEMENTS_OF(clash); i++) {
		meters[1].labels = clash[i];
		assert_err(sonde_mal_batch_add_collection(b, meters, 2, &why), EEXIST);
		assert_int_equal(why.meter, 1);
		assert_string_equal(why.reason,
				    "a label twice, or one named service, instance or le");
		assert_int_equal(sonde_mal_batch_count(b), 0);
	}
	meters[0].timestamp_ms = 0;
	assert_err(sonde_mal_batch_add_collection(b, meters, 1, &why), ENODATA);
	assert_string_equal(why.reason, "no meter names a service, an instance and a timestamp");
}

/* --- rules of a file --- */

static void a_failing_rule_stops_no_other(void **state)
{
	_cleanup_(sonde_mal_rules_freep) struct sonde_mal_rules *rules =
		test_rules("metricPrefix: t\nexpSuffix: service(['s'], Layer.K8S)\nmetricsRules:\n"
			   "  - {name: bad, exp: \"m.tag({ t -> t.x = t.missing })\"}\n"
			   "  - {name: good, exp: m}\n"
			   "  - {name: silent, exp: absent}\n");
	_cleanup_(sonde_mal_batch_freep) struct sonde_mal_batch *b = NULL;
	_cleanup_(sonde_mal_engine_freep) struct sonde_mal_engine *e = NULL;
	_cleanup_buf_ struct sonde_buf out = SONDE_BUF_INIT(TEST_TEXT_BYTES);
	struct sonde_mal_sink sink = {test_emit, test_failed, &out};
	struct sonde_mal_run_stats stats = {0};

	assert_ok(sonde_mal_batch_new(&b));
	assert_ok(sonde_mal_engine_new(NULL, &e));
	test_add(b, "m", "s=a", 1, 1);
	assert_ok(sonde_mal_engine_run(e, rules, b, SONDE_MAL_SECONDS, &sink, &stats));
	assert_string_equal(sonde_buf_str(&out),
			    "t_bad failed: label 'x' was set to null\nt_good SERVICE a 0.0 0=1\n");
	assert_int_equal(stats.rules_run, 2);
	assert_int_equal(stats.rules_failed, 1);
	assert_int_equal(stats.emissions, 1);
}

/* Of the rule "select", which counts 10 a second beside another that counts 1: what each scrape emits. */
static const char *two_counters(bool strict, struct sonde_buf *out)
{
	_cleanup_(sonde_mal_rules_freep) struct sonde_mal_rules *rules = test_rules(
		"metricPrefix: t\nexpSuffix: service(['h'], Layer.MYSQL)\nmetricsRules:\n"
		"  - {name: insert, exp: \"m.tagEqual('c', 'i').sum(['h']).rate('PT1M')\"}\n"
		"  - {name: select, exp: \"m.tagEqual('c', 's').sum(['h']).rate('PT1M')\"}\n");
	_cleanup_(sonde_mal_batch_freep) struct sonde_mal_batch *b = NULL;
	_cleanup_(sonde_mal_engine_freep) struct sonde_mal_engine *e = NULL;
	struct sonde_mal_sink sink = {test_emit, test_failed, out};

	assert_ok(sonde_mal_batch_new(&b));
	assert_ok(sonde_mal_engine_new(NULL, &e));
	sonde_mal_engine_set_strict(e, strict);
	sonde_buf_reset(out);
	for (int t = 0; t < 60; t += 15) {
		sonde_mal_batch_reset(b);
		test_add(b, "m", "h=x,c=i", 1000 + t, t * 1000);
		test_add(b, "m", "h=x,c=s", 6000 + 10 * t, t * 1000);
		assert_ok(sonde_mal_engine_run(e, rules, b, SONDE_MAL_SECONDS, &sink, NULL));
	}
	return sonde_buf_str(out);
}

static void strict_keeps_the_counters_of_rules_apart(void **state)
{
	_cleanup_buf_ struct sonde_buf out = SONDE_BUF_INIT(TEST_TEXT_BYTES);

	(void)state;
	/* as in OAP, where the second rule counts from the first one's value */
	assert_string_equal(two_counters(false, &out), "t_insert SERVICE x 0.0 0=0\n"
						       "t_select SERVICE x 0.0 0=0\n"
						       "t_insert SERVICE x 0.0 0=1\n"
						       "t_select SERVICE x 0.0 0=343\n"
						       "t_insert SERVICE x 0.0 0=1\n"
						       "t_select SERVICE x 0.0 0=177\n"
						       "t_insert SERVICE x 0.0 0=1\n"
						       "t_select SERVICE x 0.0 0=121\n");
	assert_string_equal(two_counters(true, &out), "t_insert SERVICE x 0.0 0=0\n"
						      "t_select SERVICE x 0.0 0=0\n"
						      "t_insert SERVICE x 0.0 0=1\n"
						      "t_select SERVICE x 0.0 0=10\n"
						      "t_insert SERVICE x 0.0 0=1\n"
						      "t_select SERVICE x 0.0 0=10\n"
						      "t_insert SERVICE x 0.0 0=1\n"
						      "t_select SERVICE x 0.0 0=10\n");
}

static int refuse(void *ctx, const struct sonde_mal_emission *e)
{
	(void)e;
	++*(unsigned *)ctx;
	return -ENOSPC;
}

static void a_refusing_sink_ends_the_rule_only(void **state)
{
	_cleanup_(sonde_mal_rules_freep) struct sonde_mal_rules *rules =
		test_rules("metricPrefix: t\nexpSuffix: service(['s'], Layer.K8S)\nmetricsRules:\n"
			   "  - {name: a, exp: m}\n  - {name: b, exp: m}\n");
	_cleanup_(sonde_mal_batch_freep) struct sonde_mal_batch *b = NULL;
	_cleanup_(sonde_mal_engine_freep) struct sonde_mal_engine *e = NULL;
	struct sonde_mal_run_stats stats = {0};
	unsigned calls = 0;
	struct sonde_mal_sink sink = {.emit = refuse, .ctx = &calls};

	assert_ok(sonde_mal_batch_new(&b));
	assert_ok(sonde_mal_engine_new(NULL, &e));
	test_add(b, "m", "s=a", 1, 1);
	test_add(b, "m", "s=b", 1, 1);
	assert_ok(sonde_mal_engine_run(e, rules, b, SONDE_MAL_SECONDS, &sink, &stats));
	assert_int_equal(calls, 2);
	assert_int_equal(stats.rules_failed, 2);
}

static void a_filter_drops_samples_and_fails_open(void **state)
{
	_cleanup_(sonde_mal_rules_freep) struct sonde_mal_rules *rules =
		test_rules("metricPrefix: t\nfilter: \"{ t -> t.job in ['x'] }\"\n"
			   "expSuffix: sum(['s']).service(['s'], Layer.K8S)\nmetricsRules:\n"
			   "  - {name: a, exp: m}\n  - {name: b, exp: n}\n  - {name: c, exp: o}\n");
	_cleanup_(sonde_mal_batch_freep) struct sonde_mal_batch *b = NULL;
	_cleanup_buf_ struct sonde_buf out = SONDE_BUF_INIT(TEST_TEXT_BYTES);

	assert_ok(sonde_mal_batch_new(&b));
	test_add(b, "m", "s=a,job=x", 1, 1);
	test_add(b, "m", "s=a,job=y", 10, 1);
	test_add(b, "n", "s=a,job=y", 1, 1); /* all dropped: nothing to run */
	test_add(b, "o", "s=a,job=y", 1, 1);
	test_add(b, "o", "s=a", 10, 1); /* null before 'in' throws: all pass */
	test_run(NULL, rules, b, &out);
	assert_string_equal(sonde_buf_str(&out), "t_a SERVICE a 0.0 0=1\nt_c SERVICE a 0.0 0=11\n");
}

struct registry {
	unsigned calls;
	bool broken;
};

static int registry_call(void *ctx, enum sonde_mal_virtual kind, const char *service,
			 const char *instance, const char *what,
			 char ret[static SONDE_MAL_PROCESS_ID_SIZE])
{
	struct registry *r = ctx;

	r->calls++;
	(void)snprintf(ret, SONDE_MAL_PROCESS_ID_SIZE, "%d/%s/%s/%s", (int)kind, service, instance,
		       what);
	return r->broken ? -EIO : 0;
}

static int pod_call(void *ctx, const char *pod, const char *name_space, char *ret, size_t size)
{
	(void)ctx;
	if (strcmp(pod, "unknown") == 0)
		return -ENOENT;
	(void)snprintf(ret, size, "svc-of-%s.%s", pod, name_space);
	return 0;
}

static void the_host_is_asked_once_for_the_same(void **state)
{
	_cleanup_(sonde_mal_rules_freep) struct sonde_mal_rules *rules = test_rules(
		"metricPrefix: t\n"
		"expPrefix: \"tag({ t -> t.p = ProcessRegistry.generateVirtualRemoteProcess(t.s, t.i, t.a) })\"\n"
		"expSuffix: sum(['p']).service(['p'], Layer.K8S)\nmetricsRules:\n"
		"  - {name: a, exp: m}\n  - {name: b, exp: m}\n");
	_cleanup_(sonde_mal_batch_freep) struct sonde_mal_batch *b = NULL;
	_cleanup_buf_ struct sonde_buf out = SONDE_BUF_INIT(TEST_TEXT_BYTES);
	struct registry registry = {0};
	const struct sonde_mal_host host = {.virtual_process = registry_call, .ctx = &registry};

	assert_ok(sonde_mal_batch_new(&b));
	for (int i = 0; i < 10; i++)
		test_add(b, "m", "s=s,i=i,a=1.1.1.1:1", 1, 1);
	test_run(&host, rules, b, &out);
	assert_int_equal(registry.calls, 1);
	assert_string_equal(
		sonde_buf_str(&out),
		"t_a SERVICE 1/s/i/1.1.1.1:1 0.0 0=10\nt_b SERVICE 1/s/i/1.1.1.1:1 0.0 0=10\n");
	registry.broken = true;
	sonde_buf_reset(&out);
	test_run(&host, rules, b, &out);
	assert_string_equal(sonde_buf_str(&out),
			    "t_a failed: the process registry refused: Input/output error\n"
			    "t_b failed: the process registry refused: Input/output error\n");
	sonde_mal_batch_reset(b);
	test_add(b, "m", "s=s,i=i", 1, 1);
	sonde_buf_reset(&out);
	test_run(NULL, rules, b, &out);
	assert_string_equal(sonde_buf_str(&out), "t_a failed: a process without address or name\n"
						 "t_b failed: a process without address or name\n");
}

static void pods_become_services(void **state)
{
	_cleanup_(sonde_mal_rules_freep) struct sonde_mal_rules *rules = test_rules(
		"metricPrefix: t\nmetricsRules:\n"
		"  - {name: a, exp: \"m.retagByK8sMeta('s', K8sRetagType.Pod2Service, 'pod', 'ns')"
		".instance(['s'], ['pod'], Layer.K8S)\"}\n");
	_cleanup_(sonde_mal_batch_freep) struct sonde_mal_batch *b = NULL;
	_cleanup_buf_ struct sonde_buf out = SONDE_BUF_INIT(TEST_TEXT_BYTES);
	const struct sonde_mal_host host = {.pod_service = pod_call};

	assert_ok(sonde_mal_batch_new(&b));
	test_add(b, "m", "pod=p,ns=n", 1, 1);
	test_add(b, "m", "pod=unknown,ns=n", 2, 1);
	test_run(&host, rules, b, &out);
	assert_non_null(strstr(sonde_buf_str(&out), "t_a SERVICE_INSTANCE svc-of-p.n/p 0.0 0=1\n"));
	assert_non_null(strstr(sonde_buf_str(&out), "t_a SERVICE_INSTANCE/unknown 0.0 0=2\n"));
}

static void names_are_cut_where_oap_cuts_them(void **state)
{
	_cleanup_(sonde_mal_rules_freep) struct sonde_mal_rules *rules = test_rules(
		"metricPrefix: t\nmetricsRules:\n  - {name: a, exp: \"m.service(['s'], Layer.K8S)\"}\n");
	_cleanup_(sonde_mal_batch_freep) struct sonde_mal_batch *b = NULL;
	_cleanup_buf_ struct sonde_buf out = SONDE_BUF_INIT(TEST_TEXT_BYTES);
	char labels[120] = "s=", want[120] = "t_a SERVICE ";

	memset(labels + 2, 'x', 100);
	memset(want + 12, 'x', 70);
	(void)snprintf(want + 82, sizeof(want) - 82, " 0.0 0=1\n");
	assert_ok(sonde_mal_batch_new(&b));
	test_add(b, "m", labels, 1, 1);
	test_run(NULL, rules, b, &out);
	assert_string_equal(sonde_buf_str(&out), want);
}

/* --- the counter window --- */

static void the_longest_silent_series_makes_room(void **state)
{
	_cleanup_(mal_window_freep) struct mal_window *w = NULL;
	struct mal_strings strings;
	struct mal_sample s = {.labels = &mal_set_empty, .ts_ms = 1000, .value = 1};
	int64_t ts;
	double value;

	assert_ok(mal_strings_init(&strings, 64 << 20));
	assert_ok(mal_window_new(&w));
	for (int i = 0; i <= SONDE_MAL_WINDOW_SERIES_MAX; i++) {
		char name[32];

		if (i == 1) { /* the first one is used again: it is not the oldest any more */
			s.ts_ms = 2000;
			assert_ok(mal_window_last(w, &strings, &s, &ts, &value));
			assert_int_equal(ts, 1000);
		}
		(void)snprintf(name, sizeof(name), "m%d", i);
		assert_ok(mal_strings_put(&strings, name, strlen(name), &s.name));
		assert_ok(mal_window_last(w, &strings, &s, &ts, &value));
	}
	assert_int_equal(mal_window_refused(w), 1);
	assert_ok(mal_strings_put(&strings, "m2", 2, &s.name));
	s.ts_ms = 3000;
	assert_ok(mal_window_last(w, &strings, &s, &ts, &value));
	assert_int_equal(ts, 2000);
	mal_window_clear(w);
	assert_ok(mal_window_last(w, &strings, &s, &ts, &value));
	assert_int_equal(ts, 3000);
	mal_strings_done(&strings);
}

static void points_of_a_series_are_bounded(void **state)
{
	_cleanup_(mal_window_freep) struct mal_window *w = NULL;
	struct mal_strings strings;
	struct mal_sample s = {.labels = &mal_set_empty};
	int64_t ts;
	double value;

	assert_ok(mal_strings_init(&strings, 1 << 20));
	assert_ok(mal_strings_put(&strings, "m", 1, &s.name));
	assert_ok(mal_window_new(&w));
	for (int i = 0; i < SONDE_MAL_WINDOW_POINTS_MAX + 10; i++) {
		s.ts_ms = 1000000 + i;
		assert_ok(mal_window_push(w, &strings, &s, 86400000, &ts, &value));
	}
	assert_int_equal(mal_window_refused(w), 10);
	assert_int_equal(ts, 1000010);
	mal_strings_done(&strings);
}

/* --- text and ids --- */

static void numbers_read_and_print_as_in_java(void **state)
{
	static const struct {
		double v;
		const char *text;
	} out[] = {{10000, "10000.0"},	   {0, "0.0"},
		   {-0.0, "-0.0"},	   {0.001, "0.001"},
		   {0.0001, "1.0E-4"},	   {1e7, "1.0E7"},
		   {9999999, "9999999.0"}, {1.5, "1.5"},
		   {INFINITY, "Infinity"}, {-INFINITY, "-Infinity"},
		   {5e9, "5.0E9"},	   {123.456, "123.456"},
		   {1.25e-7, "1.25E-7"},   {0.1 + 0.2, "0.30000000000000004"}};
	static const char *const bad[] = {"",	 " ", "+Inf", "inf", "nan",
					  "1,5", "x", "0x",   "--1", "1 2"};
	char text[SONDE_MAL_DOUBLE_SIZE];
	double v;

	for (size_t i = 0; i < ELEMENTS_OF(out); i++) {
		sonde_mal_double_text(out[i].v, text);
		assert_string_equal(text, out[i].text);
		assert_ok(mal_java_double(text, &v));
		assert_true(v == out[i].v);
	}
	for (size_t i = 0; i < ELEMENTS_OF(bad); i++)
		assert_err(mal_java_double(bad[i], &v), EINVAL);
	assert_ok(mal_java_double(" 2.5d ", &v));
	assert_true(v == 2.5);
}

static void durations_are_iso_8601(void **state)
{
	static const struct {
		const char *text;
		int64_t ms;
	} good[] = {{"PT1M", 60000},	{"pt5m", 300000},  {"P1DT2H", 93600000},
		    {"-PT1.5S", -1500}, {"PT-1M", -60000}, {"P1D", 86400000}};
	static const char *const bad[] = {"",	  "P",	    "PT",     "1M",    "PT1", "P1M",
					  "PT1D", "PT1S1M", "PT1.5M", "PT1Mx", "P1DT"};
	int64_t ms;

	for (size_t i = 0; i < ELEMENTS_OF(good); i++) {
		assert_ok(mal_java_duration_ms(good[i].text, &ms));
		assert_int_equal(ms, good[i].ms);
	}
	for (size_t i = 0; i < ELEMENTS_OF(bad); i++)
		assert_err(mal_java_duration_ms(bad[i], &ms), EINVAL);
}

static void ids_are_skywalkings(void **state)
{
	_cleanup_free_ char *service = NULL, *instance = NULL, *endpoint = NULL, *blank = NULL,
			    *relation = NULL;
	char process[SONDE_MAL_PROCESS_ID_SIZE];

	assert_ok(sonde_mal_service_id("nginx::web", &service));
	assert_string_equal(service, "bmdpbng6OndlYg==.1");
	assert_ok(sonde_mal_service_id(" ", &blank));
	assert_string_equal(blank, "X2JsYW5r.1");
	assert_ok(sonde_mal_instance_id("svc", "inst-1", &instance));
	assert_string_equal(instance, "c3Zj.1_aW5zdC0x");
	assert_ok(sonde_mal_instance_id("svc", "/a/b", &endpoint));
	assert_string_equal(endpoint, "c3Zj.1_L2EvYg==");
	assert_ok(sonde_mal_relation_id("YQ==.1", "Yg==.1", &relation));
	assert_string_equal(relation, "YQ==.1-Yg==.1");
	assert_ok(sonde_mal_process_id(SONDE_MAL_UNKNOWN_LOCAL, "svc", "inst-1", process));
	assert_string_equal(process,
			    "5fe59849934f03dfa30fb57f44ff60a3588537268d5434341db4775465def74c");
	assert_ok(sonde_mal_process_id("p1", "svc", "inst-1", process));
	assert_memory_equal(process, "6cacb84e", 8);
	assert_string_equal(process + 57, "d855437");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_sample_is_taken_whole_or_refused),
		cmocka_unit_test(a_batch_is_bounded),
		cmocka_unit_test(a_collection_takes_its_last_origin_for_all),
		cmocka_unit_test(a_collection_with_a_clash_is_refused_whole),
		cmocka_unit_test(a_failing_rule_stops_no_other),
		cmocka_unit_test(strict_keeps_the_counters_of_rules_apart),
		cmocka_unit_test(a_refusing_sink_ends_the_rule_only),
		cmocka_unit_test(a_filter_drops_samples_and_fails_open),
		cmocka_unit_test(the_host_is_asked_once_for_the_same),
		cmocka_unit_test(pods_become_services),
		cmocka_unit_test(names_are_cut_where_oap_cuts_them),
		cmocka_unit_test(the_longest_silent_series_makes_room),
		cmocka_unit_test(points_of_a_series_are_bounded),
		cmocka_unit_test(numbers_read_and_print_as_in_java),
		cmocka_unit_test(durations_are_iso_8601),
		cmocka_unit_test(ids_are_skywalkings),
	};

	return cmocka_run_group_tests_name("mal/run", tests, NULL, NULL);
}
