/* SPDX-License-Identifier: Apache-2.0 */
/* The policies' documents, times and store. */
#include "backend-fixture.h"

#include <errno.h>
#include <string.h>

#include "backend/json.h"
#include "backend/policies/policies.h"

#define DAY_MS 86400000LL
#define HOUR_MS 3600000LL
#define NOW_MS 1763769600000LL /* 2025-11-22T00:00:00Z, a Saturday */

static struct sonde_problem problem;

/* --- when --- */

static struct sonde_when when(const char *text)
{
	struct sonde_when w = {0};
	const char *words;

	assert_ok(sonde_when_parse(text, &w, &words));
	return w;
}

static void times_come_by_the_calendar_of_their_offset(void **state)
{
	struct sonde_when w = when("every 6h");

	assert_int_equal(sonde_when_next(&w, NOW_MS), NOW_MS + 6 * HOUR_MS);
	assert_int_equal(sonde_when_next(&w, NOW_MS - 1), NOW_MS);
	assert_int_equal(sonde_when_next(&w, -1), 0);
	w = when("at 02:30 UTC");
	assert_int_equal(sonde_when_next(&w, NOW_MS), NOW_MS + 2 * HOUR_MS + HOUR_MS / 2);
	assert_int_equal(sonde_when_next(&w, NOW_MS + 3 * HOUR_MS),
			 NOW_MS + DAY_MS + 2 * HOUR_MS + HOUR_MS / 2);
	/* 02:30 there is 21:00 UTC of the day before: Saturday there begins on Friday here. */
	w = when("at 02:30 +05:30 on sat");
	assert_int_equal(sonde_when_next(&w, NOW_MS), NOW_MS + 6 * DAY_MS + 21 * HOUR_MS);
	assert_int_equal(sonde_when_next(&w, NOW_MS - 4 * HOUR_MS), NOW_MS - 3 * HOUR_MS);
	w = when("at 23:00 -02:00 on fri,mon"); /* 01:00 UTC of the day behind */
	assert_int_equal(sonde_when_next(&w, NOW_MS), NOW_MS + HOUR_MS);
	assert_int_equal(sonde_when_next(&w, NOW_MS + HOUR_MS), NOW_MS + 3 * DAY_MS + HOUR_MS);
}

static void missed_times_are_counted(void **state)
{
	struct sonde_when w = when("every 10s");
	int64_t last = -1;

	assert_int_equal(sonde_when_count(&w, NOW_MS, NOW_MS + 9999, &last), 0);
	assert_int_equal(last, -1);
	assert_int_equal(sonde_when_count(&w, NOW_MS, NOW_MS + 10000, &last), 1);
	assert_int_equal(last, NOW_MS + 10000);
	assert_int_equal(sonde_when_count(&w, NOW_MS, NOW_MS + DAY_MS + 5, &last), 8640);
	assert_int_equal(last, NOW_MS + DAY_MS);
	w = when("at 12:00 UTC on mon,tue");
	assert_int_equal(sonde_when_count(&w, NOW_MS, NOW_MS + 14 * DAY_MS, &last), 4);
	assert_int_equal(last, NOW_MS + 10 * DAY_MS + 12 * HOUR_MS);
}

static void other_words_are_no_times(void **state)
{
	static const char *const bad[] = {"",
					  "every",
					  "every 9s",
					  "every 169h",
					  "every 10",
					  "every 10500ms",
					  "every 1h UTC",
					  "hourly",
					  "at 02:30",
					  "at 2:30 UTC",
					  "at 24:00 UTC",
					  "at 02:60 UTC",
					  "at 02:30 utc",
					  "at 02:30 CET",
					  "at 02:30 +5:30",
					  "at 02:30 +14:01",
					  "at 02:30 UTC on",
					  "at 02:30 UTC on monday",
					  "at 02:30 UTC on mon,mon",
					  "at 02:30 UTC on mon,,tue",
					  "at 02:30 UTC on ,mon",
					  "at 02:30 UTC on mon, tue",
					  "at 02:30 UTC mon",
					  "at 02:30 UTC on mon then what"};
	struct sonde_when w;
	const char *words;

	for (size_t i = 0; i < ELEMENTS_OF(bad); i++) {
		words = NULL;
		if (sonde_when_parse(bad[i], &w, &words) != -EINVAL)
			fail_msg("'%s' is taken", bad[i]);
		assert_non_null(strstr(words, "expected"));
	}
}

/* --- documents --- */

static int check(const char *text, json_t **ret)
{
	_cleanup_json_ json_t *j = json_loads(text, 0, NULL);

	assert_non_null(j);
	memset(&problem, 0, sizeof(problem));
	return sonde_policy_check(j, "shop::cart", NOW_MS, 1800000, ret, &problem);
}

static void assert_refused(const char *text, const char *field, const char *words)
{
	json_t *j = NULL;

	assert_err(check(text, &j), EINVAL);
	assert_null(j);
	assert_int_equal(problem.status, 400);
	assert_string_equal(problem.field, field);
	if (!strstr(problem.detail, words))
		fail_msg("'%s' is not in '%s'", words, problem.detail);
}

#define CPU "{\"type\":\"PROCESS_CPU\",\"threshold\":75,\"period\":\"10\",\"count\":3}"
#define NETWORK(more) "{\"type\":\"NETWORK\",\"checkers\":[" CPU "]" more "}"
#define POLICY(list) "{\"policy\":[" list "]}"
#define SCHEDULE(more) "{\"schedules\":[{\"name\":\"n\",\"when\":\"every 1h\"" more "}]}"

static void what_swctl_takes_is_brought_into_one_form(void **state)
{
	_cleanup_json_ json_t *j = NULL, *command = NULL, *expected = NULL;
	char uuid[SONDE_POLICY_UUID_MAX];

	assert_ok(check(POLICY("{\"type\":\"ON_CPU\",\"checkers\":[" CPU "]}," NETWORK("")), &j));
	assert_int_equal(json_array_size(json_object_get(j, "policy")), 2);
	assert_string_equal(
		json_string_value(json_object_get(
			json_array_get(
				json_object_get(sonde_policy_target(j, "NETWORK"), "checkers"), 0),
			"threshold")),
		"75");
	/* Nothing but NETWORK is told to agents. */
	command = sonde_policy_command("shop::cart", "u", j);
	expected = json_loads("{\"ServiceName\":\"shop::cart\",\"UUID\":\"u\",\"Profiling\":{"
			      "\"NETWORK\":{\"PROCESS_CPU\":{\"Threshold\":\"75\",\"Period\":10,"
			      "\"Count\":3}}}}",
			      0, NULL);
	assert_true(json_equal(command, expected));
	assert_ok(sonde_policy_uuid(j, uuid));
	assert_int_equal(strlen(uuid), 128);
}

/* Digests by python's hashlib of what Gson writes. */
static void the_uuid_is_oaps(void **state)
{
	_cleanup_json_ json_t *one = NULL, *uris = NULL, *none = NULL;
	char uuid[SONDE_POLICY_UUID_MAX];

	assert_ok(check(POLICY(NETWORK(",\"preset\":\"udp\",\"duration\":\"5m\"")), &one));
	assert_ok(sonde_policy_uuid(one, uuid));
	assert_string_equal(uuid,
			    "7c106a6cad3702c2a726944af777468e4a1a1b289a1970bf3d53556e27faab40"
			    "ae85d26aff16df730758290d7194cc7792471d2ac2eafcb56fdd6d9174e6f1d6");
	assert_ok(
		check(POLICY("{\"type\":\"NETWORK\",\"checkers\":[{\"type\":\"HTTP_ERROR_RATE\","
			     "\"threshold\":\"1\",\"period\":10,\"count\":1,\"uriList\":[\"/a=&\"],"
			     "\"uriRegex\":\"x.*\"}]}"),
		      &uris));
	assert_ok(sonde_policy_uuid(uris, uuid));
	assert_string_equal(uuid,
			    "1afbce6ef423832e811d86094dda7b99a591868356583741e61ea94ac04e73a6"
			    "1aa81288c04b20e706e59452bc3cce96106b0aa7b8152df04059d381c9b1b2cb");
	assert_ok(check(SCHEDULE(""), &none));
	assert_ok(sonde_policy_uuid(none, uuid));
	assert_string_equal(uuid, "");
}

/* Collectors may be named again and again. */
static void assert_too_large(void)
{
	static char text[400000];
	size_t at = (size_t)snprintf(text, sizeof(text),
				     "{\"schedules\":[{\"name\":\"n\",\"when\":\"every 1h\","
				     "\"spec\":{\"collectors\":[\"tcp\"");

	for (unsigned i = 0; i < 30000; i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, ",\"tcp\"");
	(void)snprintf(text + at, sizeof(text) - at, "]}}]}");
	assert_refused(text, "", "131072");
}

static void what_is_wrong_is_told_with_its_place(void **state)
{
	assert_refused("[]", "", "JSON object");
	assert_refused("{}", "policy", "neither");
	assert_refused("{\"policies\":[]}", "policies",
		       "known here are service, policy, schedules");
	assert_refused("{\"service\":\"x\",\"policy\":[" NETWORK("") "]}", "service", "is not");
	assert_refused("{\"policy\":7}", "policy", "list");
	assert_refused(POLICY("7"), "policy[0]", "object");
	assert_refused(POLICY("{\"type\":\"network\",\"checkers\":[" CPU "]}"), "policy[0].type",
		       "ON_CPU, OFF_CPU or NETWORK");
	assert_refused(POLICY(NETWORK("") "," NETWORK("")), "policy[1].type",
		       "contains multiple same target type: NETWORK");
	assert_refused(POLICY("{\"type\":\"NETWORK\"}"), "policy[0].checkers", "at least one");
	assert_refused(POLICY("{\"type\":\"NETWORK\",\"checkers\":[" CPU "," CPU "]}"),
		       "policy[0].checkers[1].type",
		       "contains multiple same monitor type PROCESS_CPU in NETWORK");
	assert_refused(POLICY(NETWORK(",\"presett\":\"x\"")), "policy[0].presett", "no such key");
	assert_refused(POLICY(NETWORK(",\"preset\":\"x\"")), "policy[0].preset", "network");
	assert_refused(POLICY(NETWORK(",\"duration\":\"2h\"")), "policy[0].duration", "1800000");
	assert_refused(POLICY(NETWORK(",\"duration\":300")), "policy[0].duration", "string");
	assert_refused(POLICY(NETWORK(",\"spec\":{\"targets\":[]}")), "policy[0].spec.targets",
		       "not for a policy");
	assert_refused(POLICY(NETWORK(",\"spec\":{\"options\":{\"x\":1}}")),
		       "policy[0].spec.options.x", "no such field");
	assert_too_large();
	assert_refused(SCHEDULE(",\"x\":1"), "schedules[0].x", "no such key");
	assert_refused("{\"schedules\":[{\"when\":\"every 1h\"}]}", "schedules[0].name", "needed");
	assert_refused("{\"schedules\":[{\"name\":\"n\"}]}", "schedules[0].when", "every INTERVAL");
	assert_refused("{\"schedules\":[{\"name\":\"n\",\"when\":\"every 1h\"},"
		       "{\"name\":\"n\",\"when\":\"every 2h\"}]}",
		       "schedules[1].name", "another");
}

static void oaps_own_refusals_are_in_its_words(void **state)
{
	static const struct {
		const char *checker, *key, *words;
	} rows[] = {
		{"\"type\":\"PROCESS_CPU\",\"threshold\":\"101\",\"period\":1,\"count\":1",
		 "threshold",
		 "check PROCESS_CPU in NETWORK error: the process CPU percent should be in "
		 "(0-100]"},
		{"\"type\":\"PROCESS_THREAD_COUNT\",\"threshold\":0,\"period\":1,\"count\":1",
		 "threshold", "the process thread count must be bigger than zero"},
		{"\"type\":\"SYSTEM_LOAD\",\"threshold\":\"x\",\"period\":1,\"count\":1",
		 "threshold", "parsing threshold error"},
		{"\"type\":\"SYSTEM_LOAD\",\"threshold\":1.5,\"period\":1,\"count\":1", "threshold",
		 "parsing threshold error"},
		{"\"type\":\"SYSTEM_LOAD\",\"threshold\":1,\"period\":0,\"count\":1", "period",
		 "period must be bigger than zero"},
		{"\"type\":\"SYSTEM_LOAD\",\"threshold\":1,\"period\":5,\"count\":0", "count",
		 "count must be bigger than zero"},
		{"\"type\":\"SYSTEM_LOAD\",\"threshold\":1,\"period\":5,\"count\":6", "count",
		 "count must be equal to or smaller than period"},
		{"\"type\":\"HTTP_ERROR_RATE\",\"threshold\":101,\"period\":5,\"count\":1",
		 "threshold", "the HTTP error rate should be in (0-100]"},
	};
	char text[512], field[64];

	for (size_t i = 0; i < ELEMENTS_OF(rows); i++) {
		(void)snprintf(text, sizeof(text),
			       POLICY("{\"type\":\"NETWORK\",\"checkers\":[{%s}]}"),
			       rows[i].checker);
		(void)snprintf(field, sizeof(field), "policy[0].checkers[0].%s", rows[i].key);
		assert_refused(text, field, rows[i].words);
	}
}

static void the_task_is_as_the_entry_says(void **state)
{
	_cleanup_json_ json_t *entry = json_loads(
		"{\"preset\":\"network-calls\",\"duration\":\"90s\",\"spec\":{\"limits\":{"
		"\"maxPeers\":9}}}",
		0, NULL);
	_cleanup_json_ json_t *targets = json_loads("[{\"service\":\"s\"}]", 0, NULL);
	_cleanup_json_ json_t *body = sonde_policy_task_body(entry, targets, "n", 600000, 1800000);
	_cleanup_json_ json_t *expected = json_loads(
		"{\"preset\":\"network-calls\",\"durationMs\":90000,\"name\":\"n\","
		"\"createdBy\":\"policy\",\"targets\":[{\"service\":\"s\"}],\"limits\":{\"maxPeers\":9}}",
		0, NULL);

	assert_true(json_equal(body, expected));
	json_object_del(entry, "duration");
	json_decref(body);
	body = sonde_policy_task_body(entry, targets, "n", 600000, 300000);
	assert_int_equal(json_integer_value(json_object_get(body, "durationMs")), 300000);
}

/* --- store --- */

static struct sonde_policies *open_policies(struct fixture *f)
{
	struct sonde_policies *pp = NULL;

	fixture_open(f);
	assert_ok(sonde_policies_new(f->store, &pp));
	return pp;
}

static void close_policies(struct fixture *f, struct sonde_policies *pp)
{
	fixture_close(f);
	(void)sonde_policies_free(pp);
}

static void put(struct fixture *f, struct sonde_policies *pp, const char *service, const char *text,
		int64_t now_ms)
{
	_cleanup_json_ json_t *raw = json_loads(text, 0, NULL);
	json_t *document = NULL;

	assert_ok(sonde_policy_check(raw, service, now_ms, 1800000, &document, &problem));
	assert_ok(sonde_policies_put(pp, service, document, now_ms, NULL, NULL, &problem));
	sonde_store_flush(f->store);
}

static void policies_are_there_again_with_what_came_of_them(void **state)
{
	struct fixture *f = *state;
	struct sonde_policies *pp;
	struct sonde_policy *p;

	pp = open_policies(f);
	put(f, pp, "b", SCHEDULE(""), NOW_MS);
	put(f, pp, "a", POLICY(NETWORK("")), NOW_MS);
	p = sonde_policies_find(pp, "b");
	assert_non_null(p);
	p->schedules[0].record.tasks = 7;
	p->schedules[0].record.missed = 2;
	p->schedules[0].due_ms = NOW_MS + HOUR_MS;
	sonde_policies_note(pp, p);
	close_policies(f, pp);

	pp = open_policies(f);
	p = sonde_policies_first(pp);
	assert_string_equal(p->service, "a"); /* in order */
	assert_int_equal(strlen(p->uuid), 128);
	p = sonde_policies_find(pp, "b");
	assert_int_equal(p->changed_ms, NOW_MS);
	assert_int_equal(p->schedules[0].record.tasks, 7);
	assert_int_equal(p->schedules[0].record.missed, 2);
	assert_int_equal(p->schedules[0].due_ms, NOW_MS + HOUR_MS);
	assert_ok(sonde_policies_delete(pp, "a", NULL, NULL, &problem));
	sonde_store_flush(f->store);
	assert_null(sonde_policies_find(pp, "a"));
	close_policies(f, pp);

	pp = open_policies(f);
	assert_null(sonde_policies_find(pp, "a"));
	assert_non_null(sonde_policies_find(pp, "b"));
	close_policies(f, pp);
}

static void a_change_keeps_what_it_does_not_touch(void **state)
{
	struct fixture *f = *state;
	struct sonde_policies *pp;
	struct sonde_policy *p;

	pp = open_policies(f);
	put(f, pp, "a", SCHEDULE(""), NOW_MS);
	p = sonde_policies_find(pp, "a");
	p->schedules[0].record.tasks = 7;
	p->schedules[0].due_ms = NOW_MS + 1;
	put(f, pp, "a", SCHEDULE(",\"duration\":\"5m\""), NOW_MS + 9);
	assert_int_equal(p->schedules[0].record.tasks, 7);
	assert_int_equal(p->schedules[0].due_ms, NOW_MS + 1);
	/* Other times: what lies behind is not missed. */
	put(f, pp, "a", "{\"schedules\":[{\"name\":\"n\",\"when\":\"every 2h\"}]}", NOW_MS + 99);
	assert_int_equal(p->schedules[0].record.tasks, 7);
	assert_int_equal(p->schedules[0].due_ms, NOW_MS + 99);
	close_policies(f, pp);
}

static void there_is_an_end_to_them(void **state)
{
	struct fixture *f = *state;
	struct sonde_policies *pp;
	json_t *document = NULL;
	char service[16];

	pp = open_policies(f);
	for (int i = 0; i < SONDE_POLICIES_MAX; i++) {
		(void)snprintf(service, sizeof(service), "s%d", i);
		document = NULL;
		assert_ok(check(SCHEDULE(""), &document));
		/* What is under way has its room already. */
		assert_ok(sonde_policies_put(pp, service, document, NOW_MS, NULL, NULL, &problem));
	}
	document = NULL;
	assert_ok(check(SCHEDULE(""), &document));
	assert_err(sonde_policies_put(pp, "more", document, NOW_MS, NULL, NULL, &problem), EINVAL);
	assert_int_equal(problem.status, 409);
	sonde_store_flush(f->store);
	put(f, pp, "s7", SCHEDULE(""), NOW_MS + 1); /* one that is there can change */
	close_policies(f, pp);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(times_come_by_the_calendar_of_their_offset),
		cmocka_unit_test(missed_times_are_counted),
		cmocka_unit_test(other_words_are_no_times),
		cmocka_unit_test(what_swctl_takes_is_brought_into_one_form),
		cmocka_unit_test(the_uuid_is_oaps),
		cmocka_unit_test(what_is_wrong_is_told_with_its_place),
		cmocka_unit_test(oaps_own_refusals_are_in_its_words),
		cmocka_unit_test(the_task_is_as_the_entry_says),
		cmocka_unit_test_setup_teardown(policies_are_there_again_with_what_came_of_them,
						fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(a_change_keeps_what_it_does_not_touch,
						fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(there_is_an_end_to_them, fixture_setup,
						fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
