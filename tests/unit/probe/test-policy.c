/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "config/config.h"
#include "config/yaml.h"
#include "probe/policy.h"

#define PASSWD "/etc/passwd"

static struct sonde_policy *parse(const char *text)
{
	_cleanup_free_ char *words = NULL;
	struct sonde_policy *p = NULL;

	if (sonde_policy_parse(text, strlen(text), "policy.yaml", PASSWD, &p, &words) < 0)
		fail_msg("%s", words ? words : "no words");
	return p;
}

static void expect_fault(const char *text, const char *part)
{
	_cleanup_free_ char *words = NULL;
	struct sonde_policy *p = NULL;

	assert_err(sonde_policy_parse(text, strlen(text), "policy.yaml", PASSWD, &p, &words),
		   EINVAL);
	assert_null(p);
	assert_non_null(words);
	if (!strstr(words, part))
		fail_msg("'%s' is not in: %s", part, words);
}

static struct sonde_identity someone(void)
{
	return (struct sonde_identity){
		.pid = 42,
		.uid = 1000,
		.net_namespace = 4026531840,
		.pid_namespace = 4026531836,
		.name = "redis-server",
		.exe = "/usr/bin/redis-server",
		.cgroup = "/system.slice/redis.service\n/user.slice\n",
	};
}

static void expect(const char *text, const struct sonde_identity *id, int error, const char *rule)
{
	_cleanup_(sonde_policy_freep) struct sonde_policy *p = parse(text);
	const char *got = "";

	assert_int_equal(sonde_policy_target(p, id, &got), error);
	assert_string_equal(got, rule);
}

#define RULES(text) "targets:\n  default: allow\n  rules:\n" text
#define DENY(condition) RULES("    - {name: r, action: deny, " condition "}\n")

static void the_built_in_policy_allows_with_limits(void **state)
{
	_cleanup_(sonde_policy_freep) struct sonde_policy *p = parse("");
	struct sonde_identity id = someone();

	assert_int_equal(sonde_policy_max_tasks(p), 32);
	assert_true(sonde_policy_max_duration_ns(p) == 1800000000000);
	expect("", &id, 0, "default");
	expect("targets: {default: deny}\n", &id, -EPERM, "default");
}

static void each_kind_of_condition_matches(void **state)
{
	struct sonde_identity id = someone();

	expect(DENY("exe: ['/usr/*/redis-*']"), &id, -EPERM, "r");
	expect(DENY("exe: [/bin/nothing, /usr/bin/redis-server]"), &id, -EPERM, "r");
	expect(DENY("exe: ['/usr/bin/nginx']"), &id, 0, "default");
	expect(DENY("process: ['redis*']"), &id, -EPERM, "r");
	expect(DENY("process: [nginx]"), &id, 0, "default");
	expect(DENY("user: ['1000']"), &id, -EPERM, "r");
	expect(DENY("user: [root]"), &id, 0, "default");
	expect(DENY("cgroup: ['/user.slice']"), &id, -EPERM, "r");
	expect(DENY("cgroup: ['/system.slice/*']"), &id, -EPERM, "r");
	expect(DENY("cgroup: ['/kubepods*']"), &id, 0, "default");
	expect(DENY("net_namespace: ['4026531840']"), &id, -EPERM, "r");
	expect(DENY("net_namespace: ['4026531841']"), &id, 0, "default");
	expect(DENY("pid_namespace: ['4026531836']"), &id, -EPERM, "r");
	id.uid = 0;
	expect(DENY("user: [root]"), &id, -EPERM, "r");
}

static void a_rule_matches_when_all_its_conditions_do(void **state)
{
	struct sonde_identity id = someone();

	expect(DENY("exe: ['*redis*'], user: ['1000']"), &id, -EPERM, "r");
	expect(DENY("exe: ['*redis*'], user: ['1001']"), &id, 0, "default");
	expect(DENY("exe: ['*nginx*'], user: ['1000']"), &id, 0, "default");
}

static void the_first_rule_that_matches_decides(void **state)
{
	struct sonde_identity id = someone();

	expect(RULES("    - {name: a, action: allow, user: ['1000']}\n"
		     "    - {name: b, action: deny, process: [redis-server]}\n"),
	       &id, 0, "a");
	expect(RULES("    - {name: b, action: deny, process: [redis-server]}\n"
		     "    - {name: a, action: allow, user: ['1000']}\n"),
	       &id, -EPERM, "b");
	expect(RULES("    - {name: everything, action: deny}\n"), &id, -EPERM, "everything");
}

static void what_is_unknown_counts_against_the_process(void **state)
{
	struct sonde_identity id = someone();

	id.unknown = SONDE_IDENTITY_EXE | SONDE_IDENTITY_UID | SONDE_IDENTITY_CGROUP;
	expect(DENY("exe: ['/nothing']"), &id, -EPERM, "r");
	expect(DENY("user: ['7']"), &id, -EPERM, "r");
	expect("targets:\n  default: deny\n  rules:\n"
	       "    - {name: ours, action: allow, exe: ['/usr/bin/redis-server']}\n",
	       &id, -EPERM, "default");
}

static void an_executable_that_was_replaced_keeps_its_name(void **state)
{
	struct sonde_identity id = someone();

	(void)snprintf(id.exe, sizeof(id.exe), "/usr/bin/redis-server (deleted)");
	expect(DENY("exe: ['/usr/bin/redis-server']"), &id, -EPERM, "r");
}

static void own_namespace_is_the_one_it_is_read_in(void **state)
{
	struct sonde_identity id = someone();
	struct stat st;

	assert_ok(stat("/proc/self/ns/net", &st));
	id.net_namespace = (uint32_t)st.st_ino;
	expect(DENY("net_namespace: [own]"), &id, -EPERM, "r");
	id.net_namespace++;
	expect(DENY("net_namespace: [own]"), &id, 0, "default");
}

static void faults_name_file_and_line(void **state)
{
	expect_fault("limits:\n  max_durations: 1s\n", "policy.yaml:2:");
	expect_fault("limits:\n  max_duration: 1\n", "policy.yaml:2:");
	expect_fault("\n\ntargets:\n  dfault: deny\n", "policy.yaml:4:");
	expect_fault(RULES("    - {name: a, action: forbid}\n"), "policy.yaml:4:");
	expect_fault("collectors: [tpc]\n", "tpc");
	expect_fault("options: [execution_tme]\n", "execution_tme");
	expect_fault(RULES("    - {name: 'A b', action: deny}\n"), "A b");
	expect_fault(RULES("    - {name: default, action: deny}\n"), "default");
	expect_fault(RULES("    - {name: a, action: deny}\n    - {name: a, action: deny}\n"),
		     "'a'");
	expect_fault(RULES("    - {name: a, user: [no-such-user-here]}\n"), "no-such-user-here");
	expect_fault(RULES("    - {name: a, net_namespace: [host]}\n"), "host");
	expect_fault(RULES("    - {action: deny}\n"), "name");
}

static void no_option_and_no_collector_can_be_allowed(void **state)
{
	_cleanup_(sonde_policy_freep) struct sonde_policy *p =
		parse("options: []\ncollectors: []\n");
	struct sonde_probe_request q = {.collectors = SONDE_PROBE_COLLECT_TCP, .duration_ns = 1};
	const char *rule;

	assert_err(sonde_policy_admit(p, &q, 0, &rule), EPERM);
	assert_string_equal(rule, "collectors");
}

static void a_collector_that_is_not_allowed_refuses_the_task(void **state)
{
	_cleanup_(sonde_policy_freep) struct sonde_policy *p = parse("collectors: [tcp]\n");
	struct sonde_probe_request q = {.collectors = SONDE_PROBE_COLLECT_TCP, .duration_ns = 1};
	const char *rule;

	assert_ok(sonde_policy_admit(p, &q, 0, &rule));
	q.collectors |= SONDE_PROBE_COLLECT_UDP;
	assert_err(sonde_policy_admit(p, &q, 0, &rule), EPERM);
	assert_string_equal(rule, "collectors");
}

static void a_named_file_that_is_missing_or_loose_is_refused(void **state)
{
	_cleanup_(sonde_policy_freep) struct sonde_policy *none = NULL;
	_cleanup_free_ char *words = NULL;
	char link[64];

	assert_err(sonde_policy_load("/nonexistent/policy.yaml", &none, &words), ENOENT);
	assert_non_null(strstr(words, "/nonexistent/policy.yaml"));
	free(TAKE_PTR(words));
	assert_err(sonde_policy_load("/dev/null", &none, &words), EPERM);
	assert_non_null(words);
	(void)snprintf(link, sizeof(link), "/tmp/sonde-test-policy-%d", (int)getpid());
	assert_ok(symlink("/etc/passwd", link));
	free(TAKE_PTR(words));
	assert_err(sonde_policy_load(link, &none, &words), ELOOP);
	assert_ok(unlink(link));
}

/* Of the source folder; the whole text. */
static char *read_source(const char *name)
{
	const char *root = getenv("SONDE_SOURCE");
	_cleanup_free_ char *path = NULL;
	char *text = NULL;
	size_t len;

	assert_non_null(root);
	assert_true(asprintf(&path, "%s/%s", root, name) > 0);
	assert_ok(sonde_yaml_read_file(path, SONDE_YAML_TEXT_MAX, &text, &len));
	return text;
}

static void the_shipped_file_says_the_defaults(void **state)
{
	_cleanup_free_ char *text = read_source("config/policy.yaml");
	_cleanup_(sonde_policy_freep) struct sonde_policy *shipped = parse(text), *p = parse("");
	struct sonde_identity id = someone();
	const char *rule;

	assert_int_equal(sonde_policy_max_tasks(shipped), sonde_policy_max_tasks(p));
	assert_int_equal(sonde_policy_max_peers(shipped), sonde_policy_max_peers(p));
	assert_true(sonde_policy_max_duration_ns(shipped) == sonde_policy_max_duration_ns(p));
	assert_ok(sonde_policy_target(shipped, &id, &rule));
}

static void the_reference_page_is_that_of_the_table(void **state)
{
	_cleanup_free_ char *page = read_source("config/policy.md");
	char *reference = NULL;
	size_t len = 0;
	FILE *f;

	f = open_memstream(&reference, &len);
	assert_non_null(f);
	assert_ok(sonde_config_reference(sonde_policy_spec(), f));
	assert_ok(fclose(f));
	if (!strstr(page, reference))
		fail_msg("config/policy.md is old: see its head");
	free(reference);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_built_in_policy_allows_with_limits),
		cmocka_unit_test(each_kind_of_condition_matches),
		cmocka_unit_test(a_rule_matches_when_all_its_conditions_do),
		cmocka_unit_test(the_first_rule_that_matches_decides),
		cmocka_unit_test(what_is_unknown_counts_against_the_process),
		cmocka_unit_test(an_executable_that_was_replaced_keeps_its_name),
		cmocka_unit_test(own_namespace_is_the_one_it_is_read_in),
		cmocka_unit_test(faults_name_file_and_line),
		cmocka_unit_test(no_option_and_no_collector_can_be_allowed),
		cmocka_unit_test(a_collector_that_is_not_allowed_refuses_the_task),
		cmocka_unit_test(the_shipped_file_says_the_defaults),
		cmocka_unit_test(the_reference_page_is_that_of_the_table),
		cmocka_unit_test(a_named_file_that_is_missing_or_loose_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
