/* SPDX-License-Identifier: Apache-2.0 */
/* sonde mal: the checker and the evaluator over files, by their output. */
#include "run-cli.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

static char folder[] = "/tmp/sonde-test-mal-XXXXXX";

static int set_up(void **state)
{
	(void)setenv("HOME", "/nonexistent", 1);
	(void)unsetenv("XDG_CONFIG_HOME");
	(void)unsetenv("SONDE_OUTPUT");
	return mkdtemp(folder) && chdir(folder) == 0 ? 0 : -1;
}

static int tear_down(void **state)
{
	static const char *const files[] = {"rules.yaml", "bad.yaml", "in.json"};

	for (size_t i = 0; i < ELEMENTS_OF(files); i++)
		(void)unlink(files[i]);
	return rmdir(folder);
}

static void write_file(const char *name, const char *text)
{
	FILE *f = fopen(name, "we");

	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
	assert_ok(fclose(f));
}

static void check_names_what_an_oap_refuses(void **state)
{
	write_file("bad.yaml",
		   "metricPrefix: t\n"
		   "metricsRules:\n"
		   "  - name: a\n"
		   "    exp: sonde_net_sent_bytes_total.summ(['s']).service(['s'], Layer.GENERAL)\n"
		   "  - name: b\n"
		   "    exp: sonde_net_sent_bytes_total.sum('s').service(['s'], Layer.GENERAL)\n"
		   "  - name: c\n"
		   "    exp: sonde_net_sent_bytes_total.sum(['s'])\n");
	{
		_cleanup_run_ struct run r = RUN("mal", "check", "bad.yaml");

		assert_string_equal(
			r.out,
			"bad.yaml:4:37: no function 'summ' (a)\n"
			"bad.yaml:6:41: expected a list of strings or null as argument 1 of sum() (b)\n"
			"bad.yaml:8:37: expected an entity: service(…), instance(…), endpoint(…), "
			"process(…) or a relation (c)\n");
		assert_string_equal(r.err, "1 file: 0 accepted, 1 refused; 0 rules, 0 warnings\n");
		assert_int_equal(r.status, SONDE_CLI_NO);
	}
	{
		_cleanup_run_ struct run r = RUN("mal", "check", "-o", "json", "bad.yaml");
		json_t *j = json_loads(r.out, 0, NULL);
		const json_t *file = json_array_get(json_object_get(j, "files"), 0);

		assert_int_equal(r.status, SONDE_CLI_NO);
		assert_true(json_is_false(json_object_get(file, "accepted")));
		assert_int_equal(json_array_size(json_object_get(file, "findings")), 3);
		assert_int_equal(json_integer_value(json_object_get(j, "errors")), 3);
		json_decref(j);
	}
	{
		_cleanup_run_ struct run r = RUN("mal", "check", "absent.yaml");

		assert_int_equal(r.status, SONDE_CLI_USAGE);
		assert_string_equal(r.err, "sonde: absent.yaml: No such file or directory\n");
	}
}

static void assert_warns(const char *exp, const char *words)
{
	char text[1024];

	(void)snprintf(text, sizeof(text),
		       "metricPrefix: t\nmetricsRules:\n  - name: a\n    exp: \"%s\"\n", exp);
	write_file("rules.yaml", text);
	{
		_cleanup_run_ struct run r = RUN("mal", "check", "rules.yaml");

		if (!strstr(r.out, words))
			print_message("%s\n%s", exp, r.out);
		assert_non_null(strstr(r.out, words));
		assert_int_equal(r.status, SONDE_CLI_OK);
	}
	{
		_cleanup_run_ struct run r =
			RUN("mal", "check", "--no-warnings", "-q", "rules.yaml");

		assert_string_equal(r.out, "");
		assert_string_equal(r.err, "");
		assert_int_equal(r.status, SONDE_CLI_OK);
	}
}

static void check_warns_of_what_may_not_be_meant(void **state)
{
	assert_warns("x.sum(['s']).service(['s'], Layer.MESH)",
		     "rules.yaml:4:11: warning: no meter of Sonde feeds 'x' (a)\n");
	assert_warns("x.service(['s'], Layer.MASH)",
		     "4:28: warning: no layer 'MASH': the entities become UNDEFINED");
	assert_warns("x.sum(['s', 'remote_address']).service(['s'], Layer.MESH)",
		     "4:11: warning: label 'remote_address' stays on the metric");
	assert_warns("x.service(['s'], Layer.MESH).multiply(100)",
		     "4:40: warning: multiply() stands behind an entity");
	assert_warns("(x.service(['s'], Layer.MESH) * 100)",
		     "warning: '*' stands behind an entity");
	assert_warns("(x * (2 * 3)).service(['s'], Layer.MESH)",
		     "warning: numbers alone are the EMPTY family");
	assert_warns("(x * -1).service(['s'], Layer.MESH)",
		     "warning: a negative number is the EMPTY family");
	assert_warns(
		"x.rate('1m').service(['s'], Layer.MESH)",
		"4:13: warning: fails each time that it is run on samples: expected a duration, as in 'PT1M', "
		"found '1m'");
	assert_warns("x.tagMatch('a', '[').service(['s'], Layer.MESH)",
		     "warning: fails each time that it is run on samples: expected a regex");
	assert_warns("x.rate('PT1M').service(['s'], Layer.MESH)",
		     "warning: a counter that begins anew gives a negative increase");
	assert_warns("x.histogram().histogram_percentile([99,50]).service(['s'], Layer.MESH)",
		     "warning: expected ascending percentiles");
	assert_warns("x.tag({t -> t.a = t.b == 'x' ? 'y' : 'z'}).service(['s'], Layer.MESH)",
		     "warning: OAP compares texts before '?' by identity");
}

static void check_finds_counters_that_share_a_window(void **state)
{
	static const char shared[] =
		"metricPrefix: t\n"
		"metricsRules:\n"
		"  - {name: all, exp: \"x.sum(['s']).rate('PT1M').service(['s'], Layer.MESH)\"}\n"
		"  - {name: insert, exp: \"x.tagEqual('c', 'i').sum(['s']).rate('PT1M').service(['s'], Layer.MESH)\"}\n"
		"  - {name: apart, exp: \"x.tagEqual('c', 'i').sum(['s', 'c']).rate('PT1M').service(['s'], Layer.MESH)\"}\n"
		"  - {name: too, exp: \"x.tagEqual('c', 'k').sum(['s', 'c']).rate('PT1M').service(['s'], Layer.MESH)\"}\n"
		"  - {name: y, exp: \"y.sum(['s']).rate('PT1M').service(['s'], Layer.MESH)\"}\n"
		"  - {name: again, exp: \"y.sum(['s']).increase('PT1M').service(['s'], Layer.MESH)\"}\n"
		"  - {name: longer, exp: \"z.sum(['s']).rate('PT5M').service(['s'], Layer.MESH)\"}\n"
		"  - {name: shorter, exp: \"z.sum(['s']).rate('PT1M').service(['s'], Layer.MESH)\"}\n";

	write_file("rules.yaml", shared);
	{
		_cleanup_run_ struct run r = RUN("mal", "check", "rules.yaml");
		size_t n = 0;

		for (const char *s = r.out; (s = strstr(s, "is shared with")); s++)
			n++;
		assert_int_equal(n, 4);
		assert_non_null(strstr(
			r.out,
			"rules.yaml:3:22: warning: its counter window is shared with 'insert'"));
		assert_non_null(strstr(
			r.out,
			"rules.yaml:9:25: warning: its counter window is shared with 'shorter'"));
	}
}

static void eval_shows_what_is_emitted_and_how(void **state)
{
	write_file(
		"rules.yaml",
		"metricPrefix: t\n"
		"expSuffix: service(['s'], Layer.MESH)\n"
		"filter: \"{ tags -> tags.k != 'drop' }\"\n"
		"metricsRules:\n"
		"  - {name: sent, exp: \"x.tag({ tags -> tags.s = 'p::' + tags.s }).sum(['s', 'c'])\"}\n"
		"  - {name: other, exp: \"x.sum(['s'])\"}\n");
	write_file("in.json", "{\"x\":[{\"l\":{\"s\":\"a\",\"c\":\"1\"},\"v\":\"2.6\",\"t\":1000},"
			      "{\"l\":{\"s\":\"a\",\"k\":\"drop\"},\"v\":5,\"t\":1000}]}");
	{
		_cleanup_run_ struct run r =
			RUN("mal", "eval", "rules.yaml", "--input", "in.json", "--rule", "sent");

		assert_string_equal(r.err, "");
		assert_string_equal(
			r.out,
			"SCRAPE  METRIC  SCOPE    ENTITY  LABELS  BUCKET  VALUE  STORED AS\n"
			"     1  t_sent  SERVICE  p::a    {c=1}        -      3  avgLabeled\n");
		assert_int_equal(r.status, SONDE_CLI_OK);
	}
	{
		_cleanup_run_ struct run r = RUN("mal", "eval", "rules.yaml", "--input", "in.json",
						 "--explain", "--rule", "t_sent");

		assert_string_equal(
			r.out,
			"scrape 1: t_sent\n"
			"  exp       x\n"
			"      {s=a, c=1} 2.6\n"
			"      {s=a, k=drop} 5.0\n"
			"  filter    { … }\n"
			"      {s=a, c=1} 2.6\n"
			"  exp       tag({ tags -> tags.s = 'p::' + tags.s })\n"
			"      {s=p::a, c=1} 2.6\n"
			"  exp       sum(['s', 'c'])\n"
			"      {s=p::a, c=1} 2.6\n"
			"  expSuffix service(['s'], Layer.MESH)  -> 1 entity\n"
			"      {s=p::a, c=1} 2.6\n"
			"\n"
			"emitted\n"
			"SCRAPE  METRIC  SCOPE    ENTITY  LABELS  BUCKET  VALUE  STORED AS\n"
			"     1  t_sent  SERVICE  p::a    {c=1}        -      3  avgLabeled\n");
	}
	{
		_cleanup_run_ struct run r = RUN("mal", "eval", "rules.yaml", "--input", "in.json",
						 "-o", "json", "--rule", "other");

		assert_string_equal(
			r.out,
			"{\"emissions\":[{\"scrape\":1,\"metric\":\"t_other\",\"function\":\"avg\",\"timestamp_ms\":1000,"
			"\"entity\":{\"scope\":\"SERVICE\",\"service\":\"a\",\"layer\":\"MESH\"},"
			"\"points\":[{\"key\":\"\",\"value\":3}]}],\"failed\":0}\n");
	}
}

static void eval_tells_what_fails(void **state)
{
	write_file(
		"rules.yaml",
		"metricPrefix: t\n"
		"metricsRules:\n"
		"  - {name: bad, exp: \"x.tag({ t -> t.a = t.b }).service(['s'], Layer.MESH)\"}\n"
		"  - {name: good, exp: \"x.service(['s'], Layer.MESH)\"}\n");
	write_file("in.json",
		   "[{\"x\":[{\"l\":{\"s\":\"a\"},\"v\":1,\"t\":1}]},{\"x\":[{\"v\":true}]}]");
	{
		_cleanup_run_ struct run r = RUN("mal", "eval", "rules.yaml", "--input", "in.json");

		assert_int_equal(r.status, SONDE_CLI_USAGE);
		assert_string_equal(r.err,
				    "sonde: scrape 1: t_bad: label 'a' was set to null\n"
				    "sonde: scrape 2: expected a value: a number, or its text\n");
	}
	write_file("in.json", "{\"x\":[{\"l\":{\"s\":\"a\"},\"v\":1,\"t\":1}]}");
	{
		_cleanup_run_ struct run r = RUN("mal", "eval", "rules.yaml", "--input", "in.json");

		assert_int_equal(r.status, SONDE_CLI_NO);
		assert_non_null(strstr(r.out, "t_good"));
	}
	{
		_cleanup_run_ struct run r = RUN("mal", "eval", "rules.yaml");

		assert_int_equal(r.status, SONDE_CLI_USAGE);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(check_names_what_an_oap_refuses),
		cmocka_unit_test(check_warns_of_what_may_not_be_meant),
		cmocka_unit_test(check_finds_counters_that_share_a_window),
		cmocka_unit_test(eval_shows_what_is_emitted_and_how),
		cmocka_unit_test(eval_tells_what_fails),
	};

	return cmocka_run_group_tests_name("ctl/mal", tests, set_up, tear_down);
}
