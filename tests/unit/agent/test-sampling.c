/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include <stdio.h>
#include <string.h>

#include "agent/sampling.h"

static int parse(const char *json, struct sonde_sampling *s, char words[SONDE_SAMPLING_WORDS_MAX])
{
	return sonde_sampling_parse(json, strlen(json), s, words);
}

/* As OAP's Gson writes it: members that are null are left out. */
static void what_an_oap_writes_is_understood(void **state)
{
	_cleanup_(sonde_sampling_done) struct sonde_sampling s = {0};
	char words[SONDE_SAMPLING_WORDS_MAX];

	assert_int_equal(
		parse("{\"NetworkSamplings\":[{\"URIRegex\":\"/orders/[0-9]+\",\"MinDuration\":250,"
		      "\"When4xx\":false,\"When5xx\":true,\"Settings\":{"
		      "\"RequireCompleteRequest\":true,\"MaxRequestSize\":10240,"
		      "\"RequireCompleteResponse\":false}},"
		      "{\"When4xx\":true,\"When5xx\":true,\"Settings\":{},\"Later\":{\"a\":[1]}}],"
		      "\"More\":1}",
		      &s, words),
		0);
	assert_string_equal(words, "");
	assert_int_equal(s.n, 2);
	assert_string_equal(s.rules[0].uri_regex, "/orders/[0-9]+");
	assert_int_equal(s.rules[0].min_duration_ms, 250);
	assert_false(s.rules[0].when_4xx);
	assert_true(s.rules[0].when_5xx);
	assert_true(s.rules[0].complete_request);
	assert_false(s.rules[0].complete_response);
	assert_int_equal(s.rules[0].max_request_bytes, 10240);
	assert_int_equal(s.rules[0].max_response_bytes, 0);
	assert_string_equal(s.rules[1].uri_regex, "");
	assert_int_equal(s.rules[1].min_duration_ms, -1);
}

static void nothing_is_no_rule(void **state)
{
	static const char *const texts[] = {
		"", "null", "{}", "{\"NetworkSamplings\":null}", "{\"NetworkSamplings\":[]}", "[]"};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		_cleanup_(sonde_sampling_done) struct sonde_sampling s = {0};
		char words[SONDE_SAMPLING_WORDS_MAX];

		assert_int_equal(parse(texts[i], &s, words), 0);
		assert_int_equal(s.n, 0);
	}
}

static void a_bad_rule_is_told_and_the_others_stay(void **state)
{
	static const struct {
		const char *rule, *word;
	} rows[] = {
		{"7", "an object"},
		{"{\"URIRegex\":7}", "URIRegex"},
		{"{\"URIRegex\":\"(\"}", "URIRegex"},
		{"{\"MinDuration\":-1}", "MinDuration"},
		{"{\"MinDuration\":2147483648}", "MinDuration"},
		{"{\"MinDuration\":1.5}", "MinDuration"},
		{"{\"When4xx\":1}", "When4xx"},
		{"{\"When5xx\":\"true\"}", "When5xx"},
		{"{\"Settings\":[]}", "Settings"},
		{"{\"Settings\":{\"MaxRequestSize\":-1}}", "MaxRequestSize"},
		{"{\"Settings\":{\"RequireCompleteResponse\":0}}", "RequireCompleteResponse"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		_cleanup_(sonde_sampling_done) struct sonde_sampling s = {0};
		char words[SONDE_SAMPLING_WORDS_MAX], json[300];

		(void)snprintf(
			json, sizeof(json),
			"{\"NetworkSamplings\":[{\"When5xx\":true},%s,{\"URIRegex\":\"b\"}]}",
			rows[i].rule);
		assert_int_equal(parse(json, &s, words), 1);
		assert_non_null(strstr(words, rows[i].word));
		assert_non_null(strstr(words, "[1]"));
		assert_int_equal(s.n, 2);
	}
}

static void a_list_that_is_none_is_told(void **state)
{
	_cleanup_(sonde_sampling_done) struct sonde_sampling s = {0};
	char words[SONDE_SAMPLING_WORDS_MAX];

	assert_int_equal(parse("{\"NetworkSamplings\":{}}", &s, words), 1);
	assert_string_equal(words, "NetworkSamplings: a list was expected");
	assert_int_equal(s.n, 0);
}

static void rules_are_bounded(void **state)
{
	_cleanup_(sonde_sampling_done) struct sonde_sampling s = {0};
	char words[SONDE_SAMPLING_WORDS_MAX];
	static char json[4096];
	size_t at;

	at = (size_t)snprintf(json, sizeof(json), "{\"NetworkSamplings\":[{}");
	for (int i = 0; i < SONDE_SAMPLING_RULES_MAX + 2; i++)
		at += (size_t)snprintf(json + at, sizeof(json) - at, ",{\"URIRegex\":\"r%d\"}", i);
	(void)snprintf(json + at, sizeof(json) - at, "]}");
	assert_int_equal(parse(json, &s, words), 3);
	assert_int_equal(s.n, SONDE_SAMPLING_RULES_MAX);
	(void)snprintf(json, sizeof(json), "{\"NetworkSamplings\":[{\"URIRegex\":\"%0*d\"}]}",
		       SONDE_SAMPLING_REGEX_MAX, 0);
	sonde_sampling_done(&s);
	assert_int_equal(parse(json, &s, words), 1);
}

/* The rules of an extension go behind the earlier ones; one for the same URIs replaces it. */
static void an_extension_adds_its_rules(void **state)
{
	_cleanup_(sonde_sampling_done) struct sonde_sampling s = {0}, more = {0}, none = {0};
	char words[SONDE_SAMPLING_WORDS_MAX];

	assert_int_equal(parse("{\"NetworkSamplings\":[{\"URIRegex\":\"a\"},{\"URIRegex\":\"b\"}]}",
			       &s, words),
			 0);
	assert_int_equal(parse("{\"NetworkSamplings\":[{\"URIRegex\":\"a\",\"MinDuration\":9},"
			       "{\"URIRegex\":\"c\"}]}",
			       &more, words),
			 0);
	assert_int_equal(sonde_sampling_merge(&s, &none), 0);
	assert_int_equal(s.n, 2);
	assert_int_equal(sonde_sampling_merge(&s, &more), 0);
	assert_int_equal(s.n, 3);
	assert_string_equal(s.rules[0].uri_regex, "b");
	assert_string_equal(s.rules[1].uri_regex, "a");
	assert_int_equal(s.rules[1].min_duration_ms, 9);
	assert_string_equal(s.rules[2].uri_regex, "c");
	assert_int_equal(sonde_sampling_merge(&none, &more), 0);
	assert_int_equal(none.n, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_an_oap_writes_is_understood),
		cmocka_unit_test(nothing_is_no_rule),
		cmocka_unit_test(a_bad_rule_is_told_and_the_others_stay),
		cmocka_unit_test(a_list_that_is_none_is_told),
		cmocka_unit_test(rules_are_bounded),
		cmocka_unit_test(an_extension_adds_its_rules),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
