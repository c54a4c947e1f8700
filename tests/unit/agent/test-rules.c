/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include <errno.h>
#include <string.h>

#include "agent/rules.h"

static char empty[] = "", exe[] = "{exe}", host[] = "{host}", layer[] = "GENERAL";

/* What is not given is the option table's default. */
static struct sonde_agent_rule filled(struct sonde_agent_rule r)
{
	r.executable = r.executable ? r.executable : empty;
	r.command = r.command ? r.command : empty;
	r.service = r.service ? r.service : exe;
	r.instance = r.instance ? r.instance : host;
	r.process_name = r.process_name ? r.process_name : exe;
	r.layer = r.layer ? r.layer : layer;
	return r;
}
#define RULE(...) filled((struct sonde_agent_rule){__VA_ARGS__})

static bool apply(const struct sonde_agent_rule *rules, size_t n, const struct sonde_rules_facts *f,
		  struct sonde_process **p)
{
	_cleanup_(sonde_rules_freep) struct sonde_rules *r = NULL;

	assert_ok(sonde_rules_new(rules, n, "box", &r));
	(void)sonde_process_unref(TAKE_PTR(*p));
	assert_ok(sonde_process_new(f->pid, 1, p));
	return sonde_rules_apply(r, f, *p);
}

static void the_first_match_wins(void **state)
{
	char glob[] = "/opt/*", any[] = "*", first[] = "first", second[] = "second";
	const struct sonde_agent_rule rules[] = {RULE(.executable = glob, .service = first),
						 RULE(.executable = any, .service = second)};
	struct sonde_rules_facts f = {
		.pid = 7, .executable = "/opt/a/b", .comm = "b", .command = ""};
	_cleanup_(sonde_process_unrefp) struct sonde_process *p = NULL;

	assert_true(apply(rules, 2, &f, &p));
	assert_string_equal(p->service, "first");
	f.executable = "/usr/bin/b";
	assert_true(apply(rules, 2, &f, &p));
	assert_string_equal(p->service, "second");
	assert_false(apply(rules, 1, &f, &p));
}

static void all_conditions_of_a_rule_must_hold(void **state)
{
	char glob[] = "*/java", re[] = "orders\\.jar$";
	const struct sonde_agent_rule rule = RULE(.executable = glob, .command = re, .port = 80);
	const uint16_t ports[] = {443, 80};
	struct sonde_rules_facts f = {.executable = "/bin/java",
				      .comm = "java",
				      .command = "java -jar /x/orders.jar",
				      .ports = ports,
				      .n_ports = 2};
	_cleanup_(sonde_process_unrefp) struct sonde_process *p = NULL;

	assert_true(apply(&rule, 1, &f, &p));
	f.n_ports = 1;
	assert_false(apply(&rule, 1, &f, &p));
	f.n_ports = 2;
	f.command = "java -jar /x/orders.jar.old";
	assert_false(apply(&rule, 1, &f, &p));
}

static void templates_are_filled_in(void **state)
{
	char any[] = "*", t[] = "{exe}-{port}@{host}:{pid}";
	const struct sonde_agent_rule rule =
		RULE(.executable = any, .service = t, .instance = t, .process_name = t);
	const uint16_t port = 8080;
	struct sonde_rules_facts f = {.pid = 9,
				      .executable = "/usr/sbin/nginx (deleted)",
				      .comm = "x",
				      .command = "a",
				      .ports = &port,
				      .n_ports = 1};
	_cleanup_(sonde_process_unrefp) struct sonde_process *p = NULL;

	assert_true(apply(&rule, 1, &f, &p));
	assert_string_equal(p->service, "nginx-8080@box:9");
	f.executable = ""; /* the path is not known */
	assert_true(apply(&rule, 1, &f, &p));
	assert_string_equal(p->service, "x-8080@box:9");
}

static void a_bad_rule_is_named(void **state)
{
	char bad_re[] = "(", word[] = "{exe}{user}", any[] = "*";
	const struct {
		struct sonde_agent_rule rule;
		const char *word;
	} rows[] = {
		{RULE(.port = 0), "is needed"},
		{RULE(.command = bad_re), "command"},
		{RULE(.executable = any, .service = word), "{user}"},
		{RULE(.executable = any, .layer = empty), "layer"},
	};

	for (size_t i = 0; i < ELEMENTS_OF(rows); i++) {
		char words[SONDE_RULES_WORDS_MAX] = "";

		assert_err(sonde_rules_check(&rows[i].rule, words), EINVAL);
		assert_non_null(strstr(words, rows[i].word));
	}
}

/* The command line is the process's own: it must not cost the agent its day. */
static void a_match_that_explodes_is_given_up(void **state)
{
	_cleanup_(sonde_rules_freep) struct sonde_rules *r = NULL;
	char re[] = "^(a+)+$", line[200];
	const struct sonde_agent_rule rule = RULE(.command = re);
	const struct sonde_rules_facts f = {.executable = "", .comm = "x", .command = line};
	struct sonde_process p = {0};

	memset(line, 'a', sizeof(line));
	line[sizeof(line) - 2] = '!';
	line[sizeof(line) - 1] = '\0';
	assert_ok(sonde_rules_new(&rule, 1, "box", &r));
	assert_false(sonde_rules_apply(r, &f, &p));
	assert_int_equal(sonde_rules_limits_hit(r), 1);
}

static void ports_are_asked_for_only_where_a_rule_looks_at_them(void **state)
{
	char any[] = "*", t[] = "web-{port}";
	const struct sonde_agent_rule plain = RULE(.executable = any), port = RULE(.port = 80),
				      named = RULE(.executable = any, .service = t);
	const struct sonde_agent_rule *const rules[] = {&plain, &port, &named};

	for (size_t i = 0; i < 3; i++) {
		_cleanup_(sonde_rules_freep) struct sonde_rules *r = NULL;

		assert_ok(sonde_rules_new(rules[i], 1, "box", &r));
		assert_int_equal(sonde_rules_want_ports(r), i > 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_match_wins),
		cmocka_unit_test(all_conditions_of_a_rule_must_hold),
		cmocka_unit_test(templates_are_filled_in),
		cmocka_unit_test(a_bad_rule_is_named),
		cmocka_unit_test(a_match_that_explodes_is_given_up),
		cmocka_unit_test(ports_are_asked_for_only_where_a_rule_looks_at_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
