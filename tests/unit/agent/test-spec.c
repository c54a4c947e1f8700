/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/spec.h"
#include "model/preset.h"
#include "model/signal.h"

static int parse(const char *json, struct sonde_spec *s, char words[SONDE_SPEC_WORDS_MAX])
{
	*s = (struct sonde_spec){0};
	words[0] = '\0';
	return sonde_spec_parse_json(json, strlen(json), s, words);
}

static void a_whole_spec_is_understood(void **state)
{
	_cleanup_(sonde_spec_done) struct sonde_spec s = {0};
	char words[SONDE_SPEC_WORDS_MAX];

	assert_ok(parse(
		"{\"Sonde\":{\"id\":\"t\",\"name\":\"n\",\"preset\":\"network\",\"targets\":["
		"{\"pid\":7},{\"processId\":\"ab\",\"agentId\":\"me\"},{\"process_name\":\"p\"},"
		"{\"service\":\"s\"}],\"startWallMs\":\"5\",\"durationMs\":\"20000\","
		"\"report_interval_ms\":500,\"collectors\":[\"tcp\"],"
		"\"options\":{\"executionTime\":false},\"limits\":{\"maxPeers\":9,"
		"\"stopAtMaxPeers\":true,\"max_cpu_percent\":3,\"maxMemoryBytes\":\"67108864\","
		"\"maxEventsPerSecond\":1000},\"later\":1}}",
		&s, words));
	assert_string_equal(s.id, "t");
	assert_int_equal(s.n_targets, 4);
	assert_int_equal(s.targets[0].kind, SONDE_SPEC_TARGET_PID);
	assert_int_equal(s.targets[0].pid, 7);
	assert_int_equal(s.targets[1].kind, SONDE_SPEC_TARGET_PROCESS_ID);
	assert_string_equal(s.targets[1].agent_id, "me");
	assert_string_equal(s.targets[2].text, "p");
	assert_int_equal(s.targets[3].kind, SONDE_SPEC_TARGET_SERVICE);
	assert_int_equal(s.start_wall_ms, 5);
	assert_int_equal(s.duration_ms, 20000);
	assert_int_equal(s.report_interval_ms, 500);
	assert_int_equal(s.limits.max_peers, 9);
	assert_true(s.limits.stop_at_max_peers);
	assert_int_equal(s.limits.max_cpu_percent, 3);
	assert_int_equal(s.limits.max_memory_bytes, 67108864);
	assert_int_equal(s.limits.max_events_per_second, 1000);
	assert_false(s.execution_time);
}

static void defaults_are_those_of_the_preset(void **state)
{
	_cleanup_(sonde_spec_done) struct sonde_spec s = {0};
	char words[SONDE_SPEC_WORDS_MAX];

	assert_ok(parse("{\"Sonde\":{\"preset\":\"network-calls\",\"durationMs\":1000,"
			"\"targets\":[{\"pid\":7}]}}",
			&s, words));
	assert_true(s.execution_time);
	assert_int_equal(s.report_interval_ms, 2000);
}

static void signals_are_chosen_by_the_task_or_its_preset(void **state)
{
	_cleanup_(sonde_spec_done) struct sonde_spec chosen = {0}, preset = {0}, none = {0};
	char words[SONDE_SPEC_WORDS_MAX];

	assert_ok(parse(
		"{\"Sonde\":{\"preset\":\"drops\",\"durationMs\":1000,\"targets\":[{\"pid\":7}],"
		"\"options\":{\"signals\":[\"rtt\",\"bytes\"]}}}",
		&chosen, words));
	assert_int_equal(chosen.signals,
			 SONDE_SIGNAL_BIT(SONDE_SIGNAL_RTT) | SONDE_SIGNAL_BIT(SONDE_SIGNAL_BYTES));
	assert_ok(parse(
		"{\"Sonde\":{\"preset\":\"drops\",\"durationMs\":1000,\"targets\":[{\"pid\":7}]}}",
		&preset, words));
	assert_int_equal(preset.signals, sonde_preset_find("drops")->signals);
	assert_ok(parse(
		"{\"Sonde\":{\"preset\":\"network\",\"durationMs\":1000,\"targets\":[{\"pid\":7}]}}",
		&none, words));
	assert_int_equal(none.signals, 0);
}

static void what_is_wrong_is_named(void **state)
{
	static const struct {
		const char *json, *word;
	} rows[] = {
		{"{\"Sonde\":1}", "Sonde"},
		{"{\"Sonde\":{}}", "targets"},
		{"{\"Sonde\":{\"targets\":[]}}", "targets"},
		{"{\"Sonde\":{\"targets\":[{}]}}", "targets[0]"},
		{"{\"Sonde\":{\"options\":{\"signals\":[\"colour\"]}}}", "signals: 'colour'"},
		{"{\"Sonde\":{\"options\":{\"signals\":7}}}", "signals"},
		{"{\"Sonde\":{\"collectors\":[\"udp\"],\"options\":{\"signals\":[\"rtt\"]}}}",
		 "has rtt"},
		{"{\"Sonde\":{\"collectors\":[\"tcp\",\"udp\"],\"options\":{\"signals\":[\"error\"]}}}",
		 "nothing of the collector tcp"},
		{"{\"Sonde\":{\"targets\":[{\"pid\":1,\"service\":\"x\"}]}}", "targets[0]"},
		{"{\"Sonde\":{\"targets\":[{\"pid\":-1}]}}", "pid"},
		{"{\"Sonde\":{\"targets\":[{\"pid\":99999999999}]}}", "pid"},
		{"{\"Sonde\":{\"targets\":[{\"pid\":1}]}}", "durationMs"},
		{"{\"Sonde\":{\"durationMs\":\"1e9\",\"targets\":[{\"pid\":1}]}}", "durationMs"},
		{"{\"Sonde\":{\"durationMs\":999,\"targets\":[{\"pid\":1}]}}", "durationMs"},
		{"{\"Sonde\":{\"durationMs\":1000,\"reportIntervalMs\":1,\"targets\":[{\"pid\":1}]}}",
		 "reportIntervalMs"},
		{"{\"Sonde\":{\"collectors\":[\"gpu\"],\"durationMs\":1000,\"targets\":[{\"pid\":1}]}}",
		 "gpu"},
		{"{\"Sonde\":{\"options\":[],\"durationMs\":1000,\"targets\":[{\"pid\":1}]}}",
		 "options"},
		{"{\"Sonde\":{\"id\":1,\"durationMs\":1000,\"targets\":[{\"pid\":1}]}}", "id"},
		{"{\"Sonde\":{\"Sonde\":{}", "ExtensionConfigJSON"},
		{"[]", "object"},
	};

	for (size_t i = 0; i < ELEMENTS_OF(rows); i++) {
		char words[SONDE_SPEC_WORDS_MAX];
		struct sonde_spec s;

		assert_err(parse(rows[i].json, &s, words), EINVAL);
		if (!strstr(words, rows[i].word))
			fail_msg("%s: '%s'", rows[i].json, words);
	}
}

static void an_extension_without_ours_is_not_ours(void **state)
{
	char words[SONDE_SPEC_WORDS_MAX];
	struct sonde_spec s;

	assert_err(parse("", &s, words), ENOENT);
	assert_err(parse("null", &s, words), ENOENT);
	assert_err(parse("{\"NetworkSamplings\":[]}", &s, words), ENOENT);
}

/* A command with one argument changed; NULL leaves it as it is. */
static int command(const char *key, const char *value, struct sonde_spec *s,
		   char words[SONDE_SPEC_WORDS_MAX])
{
	static const char *const args[][2] = {
		{"TaskId", "abc"},
		{"ProcessId", "p1,,p2"},
		{"TaskUpdateTime", "17"},
		{"TriggerType", "FIXED_TIME"},
		{"TargetType", "NETWORK"},
		{"TaskStartTime", "1000"},
		{"ExtensionConfigJSON", "null"},
		{"FixedTriggerDuration", "600"},
	};
	Skywalking__V3__KeyStringValuePair pair[8], *pairs[8];
	Skywalking__V3__Command c = SKYWALKING__V3__COMMAND__INIT;
	char text[8][200];
	static char name[] = "EBPFProfilingTaskQuery";

	for (size_t i = 0; i < 8; i++) {
		union {
			const char *in;
			char *out;
		} u = {.in = args[i][0]};
		bool this_one = key && strcmp(key, args[i][0]) == 0;

		(void)snprintf(text[i], sizeof(text[i]), "%s", this_one ? value : args[i][1]);
		skywalking__v3__key_string_value_pair__init(&pair[i]);
		pair[i].key = u.out;
		pair[i].value = text[i];
		pairs[i] = &pair[i];
	}
	c.command = name;
	c.n_args = 8;
	c.args = pairs;
	words[0] = '\0';
	return sonde_spec_from_command(&c, s, words);
}

static void a_plain_command_is_an_oap_task(void **state)
{
	_cleanup_(sonde_spec_done) struct sonde_spec s = {0};
	char words[SONDE_SPEC_WORDS_MAX];

	assert_ok(command(NULL, NULL, &s, words));
	assert_true(s.plain);
	assert_string_equal(s.id, "abc");
	assert_string_equal(s.preset, "network-calls");
	assert_int_equal(s.n_targets, 2); /* known or not is not decided here */
	assert_string_equal(s.targets[1].text, "p2");
	assert_int_equal(s.duration_ms, 600000);
	assert_int_equal(s.report_interval_ms, 2000);
	assert_int_equal(s.start_wall_ms, 1000);
	assert_int_equal(s.update_ms, 17);
	assert_true(s.execution_time);
}

static void another_kind_of_task_is_left_alone(void **state)
{
	char words[SONDE_SPEC_WORDS_MAX];
	struct sonde_spec s;

	assert_err(command("TargetType", "ON_CPU", &s, words), EOPNOTSUPP);
	assert_non_null(strstr(words, "ON_CPU"));
	assert_string_equal(s.id, "abc"); /* so that it is said once */
	assert_err(command("TargetType", "OFF_CPU", &s, words), EOPNOTSUPP);
	assert_err(command("TriggerType", "CONTINUOUS_PROFILING", &s, words), EOPNOTSUPP);
	assert_non_null(strstr(words, "CONTINUOUS_PROFILING"));
}

static void an_id_that_stands_twice_is_one_target(void **state)
{
	_cleanup_(sonde_spec_done) struct sonde_spec s = {0};
	char words[SONDE_SPEC_WORDS_MAX];

	assert_ok(command("ProcessId", "p1,p2,p1,,p", &s, words));
	assert_int_equal(s.n_targets, 3);
	assert_string_equal(s.targets[2].text, "p");
	assert_string_equal(s.remark, "");
}

static void bad_sampling_rules_are_left_out_of_a_task_that_runs(void **state)
{
	_cleanup_(sonde_spec_done) struct sonde_spec s = {0};
	char words[SONDE_SPEC_WORDS_MAX];

	assert_ok(command("ExtensionConfigJSON",
			  "{\"NetworkSamplings\":[{\"When5xx\":true},{\"MinDuration\":\"x\"}]}", &s,
			  words));
	assert_int_equal(s.sampling.n, 1);
	assert_non_null(strstr(s.remark, "1 sampling rule is left out"));
	assert_non_null(strstr(s.remark, "MinDuration"));
}

static void a_bad_command_keeps_its_id_and_time(void **state)
{
	static const char *const bad[][2] = {{"FixedTriggerDuration", "-1"},
					     {"FixedTriggerDuration", "99999999999999"},
					     {"TaskStartTime", "soon"},
					     {"ProcessId", ","},
					     {"ExtensionConfigJSON", "{\"Sonde\":{}}"}};
	char words[SONDE_SPEC_WORDS_MAX];
	struct sonde_spec s;

	for (size_t i = 0; i < ELEMENTS_OF(bad); i++) {
		assert_err(command(bad[i][0], bad[i][1], &s, words), EINVAL);
		assert_true(words[0] != '\0');
		assert_string_equal(s.id, "abc");
		assert_int_equal(s.update_ms, 17);
	}
	assert_err(command("TaskId", "", &s, words), EINVAL);
	/* It goes into headers and log lines. */
	assert_err(command("TaskId", "a\nb", &s, words), EINVAL);
	assert_non_null(strstr(words, "TaskId"));
	assert_err(command("TaskId", "a b", &s, words), EINVAL);
	assert_err(command("TaskId", "a\xc3\xa4", &s, words), EINVAL);
	assert_err(command("TaskId", "a\x7f", &s, words), EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_whole_spec_is_understood),
		cmocka_unit_test(defaults_are_those_of_the_preset),
		cmocka_unit_test(signals_are_chosen_by_the_task_or_its_preset),
		cmocka_unit_test(what_is_wrong_is_named),
		cmocka_unit_test(an_extension_without_ours_is_not_ours),
		cmocka_unit_test(a_plain_command_is_an_oap_task),
		cmocka_unit_test(another_kind_of_task_is_left_alone),
		cmocka_unit_test(an_id_that_stands_twice_is_one_target),
		cmocka_unit_test(bad_sampling_rules_are_left_out_of_a_task_that_runs),
		cmocka_unit_test(a_bad_command_keeps_its_id_and_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
