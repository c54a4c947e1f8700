/* SPDX-License-Identifier: Apache-2.0 */
/* Rule files: what is accepted, what is refused and where, and that a bad rule stays alone. */
#include <errno.h>

#include "mal-test.h"

static int load(const char *text, struct sonde_buf *found, struct sonde_mal_rules **ret)
{
	return sonde_mal_rules_load("test.yaml", text, strlen(text),
				    (struct sonde_mal_report){test_found, found}, ret);
}

static void assert_refused(const char *text, const char *want)
{
	_cleanup_buf_ struct sonde_buf found = SONDE_BUF_INIT(TEST_TEXT_BYTES);
	struct sonde_mal_rules *rules = NULL;

	assert_err(load(text, &found, &rules), EBADMSG);
	assert_null(rules);
	assert_string_equal(sonde_buf_str(&found), want);
}

static void a_file_that_is_none_is_refused_whole(void **state)
{
	assert_refused("metricPrefix: [t\n",
		       "2:1 -: expected YAML: did not find expected ',' or ']'\n");
	assert_refused("- a\n", "1:1 -: expected a map with metricPrefix and metricsRules\n");
	assert_refused(
		"metricPrefix: t\ninitExp: x\nmetricsRules: []\n",
		"2:1 -: unknown key 'initExp': expected metricPrefix, metricsRules, expPrefix, expSuffix, "
		"filter or layerDefinitions\n");
	assert_refused("metricsRules: []\n", "1:1 -: expected the key metricPrefix\n");
	assert_refused("metricPrefix: t\n", "1:1 -: expected a list under metricsRules\n");
	assert_refused("metricPrefix: t\nmetricsRules: x\n",
		       "2:15 -: expected a list under metricsRules\n");
	assert_refused("metricPrefix: ''\nmetricsRules: []\n",
		       "1:15 -: expected a text as metricPrefix\n");
	assert_refused("metricPrefix: t\nmetricsRules: []\n---\nmetricPrefix: u\n",
		       "3:1 -: expected one document in the file\n");
	assert_refused(
		"metricPrefix: t\nlayerDefinitions: [{name: XYZ, ordinal: 5}]\nmetricsRules: []\n",
		"2:41 -: the layer FAAS has this name or this ordinal already\n");
	assert_refused(
		"metricPrefix: t\nlayerDefinitions: [{name: XYZ, ordinal: 10001}, {name: ABC, ordinal: "
		"10001}]\nmetricsRules: []\n",
		"2:70 -: the layer XYZ has this name or this ordinal already\n");
	assert_refused(
		"metricPrefix: t\nlayerDefinitions: [{name: XYZ, ordinal: x}]\nmetricsRules: []\n",
		"2:41 -: expected an integer as ordinal\n");
	assert_refused("metricPrefix: t\nexpSuffix: servic(['a'])\nmetricsRules: []\n",
		       "2:12 -: no function 'servic'\n");
	assert_refused("metricPrefix: t\nfilter: \"{ tags -> true }\"\nmetricsRules: []\n",
		       "2:20 -: expected a condition on the labels\n");
	assert_refused("metricPrefix: t\nfilter: \"{ t -> return t }\"\nmetricsRules: []\n",
		       "2:10 -: expected one condition: a filter has no statements\n");
	assert_refused(
		"metricPrefix: t\nlayerDefinitions: [{name: x, ordinal: 1}]\nmetricsRules: []\n",
		"2:27 -: expected a layer with an ordinal and a name of A to Z, 0 to 9 and _\n");
}

static void a_bad_rule_leaves_the_others_alone(void **state)
{
	_cleanup_buf_ struct sonde_buf found = SONDE_BUF_INIT(TEST_TEXT_BYTES);
	_cleanup_(sonde_mal_rules_freep) struct sonde_mal_rules *rules = NULL;
	static const char text[] = "metricPrefix: t\n"
				   "metricsRules:\n"
				   "  - name: good\n"
				   "    exp: a.service(['s'], Layer.K8S)\n"
				   "  - name: plain\n"
				   "    exp: a.summ(['s'])\n"
				   "  - name: quoted\n"
				   "    exp: \"a.tagEqual(\\\"x\\\", 5)\"\n"
				   "  - name: block\n"
				   "    exp: |-\n"
				   "      a\n"
				   "        .sum(['s'])\n"
				   "        .rate(5)\n"
				   "  - name: folded\n"
				   "    exp: a.sum(['s'])\n"
				   "      .service(['s'],\n"
				   "        Lager.K8S)\n"
				   "  - name: key\n"
				   "    expr: a\n"
				   "  - exp: a\n"
				   "  - text\n"
				   "  - name: good\n"
				   "    exp: a.sum(['s', 'x']).service(['s'], Layer.K8S)\n"
				   "  - name: last\n"
				   "    exp: b.service(['s'], Layer.K8S)\n";

	assert_int_equal(load(text, &found, &rules), 8);
	assert_string_equal(
		sonde_buf_str(&found),
		"6:12 plain: no function 'summ'\n"
		"8:29 quoted: expected a string as argument 2 of tagEqual()\n"
		"13:15 block: expected a string as argument 1 of rate()\n"
		"17:9 folded: expected Layer, DetectPoint, K8sRetagType, DownsamplingType or TimeUnit before '.K8S'\n"
		"19:5 -: unknown key 'expr': expected name or exp\n"
		"20:5 -: expected the key name in the rule\n"
		"21:5 -: expected a rule with name and exp\n"
		"22:11 good: metric 't_good' exists with another entity or storage function (line 3)\n");
	assert_int_equal(sonde_mal_rules_count(rules), 2);
	assert_string_equal(sonde_mal_rules_get(rules, 0)->metric, "t_good");
	assert_string_equal(sonde_mal_rules_get(rules, 1)->metric, "t_last");
	assert_int_equal(sonde_mal_rules_get(rules, 1)->line, 24);
	assert_null(sonde_mal_rules_find(rules, "t_plain"));
}

/* What SkyWalking's reader of YAML takes into fields of its own, or twice, or empty. */
static void a_file_is_read_as_leniently_as_oap_reads_it(void **state)
{
	_cleanup_(sonde_mal_rules_freep) struct sonde_mal_rules *rules = test_rules(
		"name: x\nsourcePath: y\nfilterLine: 5\nmetricPrefix: t\nmetricPrefix: u\n"
		"filter: ''\nexpPrefix: ''\nexpSuffix: ''\n"
		"layerDefinitions: [{name: MESH, ordinal: 1}, {name: XYZ, ordinal: 10001}]\n"
		"metricsRules:\n"
		"  - {name: a, exp: \"a.service(['s'], Layer.XYZ) // so\", lineNo: 3, expLine: 4}\n");
	_cleanup_buf_ struct sonde_buf found = SONDE_BUF_INIT(TEST_TEXT_BYTES);
	struct sonde_mal_rules *bad = NULL;

	(void)state;
	assert_int_equal(sonde_mal_rules_count(rules), 1);
	assert_string_equal(sonde_mal_rules_get(rules, 0)->metric, "u_a");
	assert_int_equal(
		load("metricPrefix: t\nexpSuffix: service(['s'], Layer.MESH)\nmetricsRules:\n"
		     "  - {name: a, exp: \"a // so\"}\n",
		     &found, &bad),
		1);
	assert_string_equal(
		sonde_buf_str(&found),
		"4:28 a: expected a line end behind the comment: it swallows expSuffix in an OAP\n");
	sonde_mal_rules_free(bad);
}

static void an_empty_file_has_no_rules(void **state)
{
	_cleanup_(sonde_mal_rules_freep) struct sonde_mal_rules *rules = test_rules("# nothing\n");

	assert_int_equal(sonde_mal_rules_count(rules), 0);
}

static void a_file_that_is_too_long_is_refused(void **state)
{
	_cleanup_free_ char *text = malloc(SONDE_MAL_FILE_BYTES + 1);
	struct sonde_mal_rules *rules = NULL;

	assert_non_null(text);
	memset(text, ' ', SONDE_MAL_FILE_BYTES + 1);
	assert_err(sonde_mal_rules_load("x", text, SONDE_MAL_FILE_BYTES + 1,
					(struct sonde_mal_report){0}, &rules),
		   EFBIG);
}

static void a_rule_says_what_it_reads_and_gives(void **state)
{
	_cleanup_(sonde_mal_rules_freep) struct sonde_mal_rules *rules = test_rules(
		"metricPrefix: t\n"
		"expPrefix: \"tag({ tags -> tags.y = tags.x })\"\n"
		"expSuffix: service(['s'], Layer.MINE)\n"
		"layerDefinitions: [{name: MINE, ordinal: 10001}]\n"
		"metricsRules:\n"
		"  - {name: one, exp: \"a.sum(['s', 'y', 'z']) + b.sum(['s', 'y', 'z']) + a.sum(['s', 'y', 'z'])\"}\n");
	const struct sonde_mal_rule *rule = sonde_mal_rules_get(rules, 0);

	assert_int_equal(rule->n_sources, 2);
	assert_string_equal(rule->sources[0], "a");
	assert_string_equal(rule->sources[1], "b");
	assert_int_equal(rule->n_labels, 2);
	assert_string_equal(rule->labels[0], "y");
	assert_string_equal(rule->labels[1], "z");
	assert_int_equal(rule->scope, SONDE_MAL_SCOPE_SERVICE);
	assert_string_equal(sonde_mal_rules_file(rules), "test.yaml");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_file_that_is_none_is_refused_whole),
		cmocka_unit_test(a_bad_rule_leaves_the_others_alone),
		cmocka_unit_test(a_file_is_read_as_leniently_as_oap_reads_it),
		cmocka_unit_test(an_empty_file_has_no_rules),
		cmocka_unit_test(a_file_that_is_too_long_is_refused),
		cmocka_unit_test(a_rule_says_what_it_reads_and_gives),
	};

	return cmocka_run_group_tests_name("mal/loader", tests, NULL, NULL);
}
