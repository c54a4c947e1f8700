/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ctl/spec.h"

static void assert_json(const char *text, const char *expected)
{
	_cleanup_(sonde_spec_freep) struct sonde_spec *spec = NULL;
	_cleanup_free_ char *error = NULL, *written = NULL;
	json_t *json;

	if (sonde_spec_parse(text, strlen(text), "t.yaml", &spec, &error) < 0)
		fail_msg("refused: %s", error);
	assert_ok(sonde_spec_json(spec, &json));
	written = json_dumps(json, JSON_COMPACT | JSON_PRESERVE_ORDER);
	json_decref(json);
	assert_string_equal(written, expected);
}

static void assert_refused(const char *text, const char *complaint)
{
	_cleanup_(sonde_spec_freep) struct sonde_spec *spec = NULL;
	_cleanup_free_ char *error = NULL;

	assert_err(sonde_spec_parse(text, strlen(text), "t.yaml", &spec, &error), EINVAL);
	assert_string_equal(error, complaint);
}

static void a_file_becomes_the_request(void **state)
{
	assert_json(
		"name: a\n"
		"preset: network\n"
		"duration: 60s\n"
		"reportInterval: 2s\n"
		"collectors: [tcp]\n"
		"targets:\n"
		"- service: shop\n"
		"- {pid: 7, agentId: a1}\n"
		"options: {executionTime: true}\n"
		"limits: {maxPeers: 9, maxCpuPercent: 3, maxMemoryBytes: 64MiB, stopAtMaxPeers: true}\n",
		"{\"name\":\"a\",\"preset\":\"network\",\"targets\":[{\"service\":\"shop\"},"
		"{\"pid\":7,\"agentId\":\"a1\"}],\"durationMs\":60000,"
		"\"reportIntervalMs\":2000,\"collectors\":[\"tcp\"],"
		"\"options\":{\"executionTime\":true},\"limits\":{\"maxPeers\":9,\"stopAtMaxPeers\":true,"
		"\"maxCpuPercent\":3,\"maxMemoryBytes\":67108864},"
		"\"createdBy\":\"cli\"}");
}

static void what_is_measured_may_be_chosen(void **state)
{
	assert_json("preset: drops\nduration: 1s\noptions: {signals: [drop, rtt]}\n",
		    "{\"preset\":\"drops\",\"targets\":[],\"durationMs\":1000,"
		    "\"options\":{\"signals\":[\"drop\",\"rtt\"]},\"createdBy\":\"cli\"}");
	assert_refused("options: {signals: [drop, colour]}\n",
		       "t.yaml: key 'options.signals': expected some of bytes, calls, connection, "
		       "handshake, rtt, retransmit, drop, reset, listen, window, error, got "
		       "'colour'");
}

static void rules_of_swctl_are_read_and_left_out(void **state)
{
	static const char text[] = "samplings:\n"
				   "  - uri_pattern: /api/.*\n"
				   "    min_duration: 500\n"
				   "    when_4xx: true\n"
				   "    when_5xx: true\n"
				   "    setting:\n"
				   "      require_request: true\n"
				   "      max_request_size: 10240\n"
				   "      require_response: true\n"
				   "      max_response_size: 10240\n";
	_cleanup_(sonde_spec_freep) struct sonde_spec *spec = NULL;
	_cleanup_free_ char *error = NULL, *written = NULL;
	json_t *json;

	assert_ok(sonde_spec_parse(text, strlen(text), "t.yaml", &spec, &error));
	assert_int_equal(spec->n_samplings, 1);
	assert_ok(sonde_spec_complete(spec));
	assert_ok(sonde_spec_json(spec, &json));
	written = json_dumps(json, JSON_COMPACT | JSON_PRESERVE_ORDER);
	json_decref(json);
	assert_string_equal(written, "{\"preset\":\"network-calls\",\"targets\":[],"
				     "\"durationMs\":600000,\"createdBy\":\"cli\"}");
	assert_refused("samplings: [{when_6xx: true}]\n",
		       "t.yaml:1: key 'samplings[0].when_6xx': expected a known key, such as "
		       "'when_4xx'");
}

static void what_a_file_leaves_open_is_the_presets(void **state)
{
	assert_json("preset: network-calls\nduration: 1s\n",
		    "{\"preset\":\"network-calls\",\"targets\":[],\"durationMs\":1000,"
		    "\"createdBy\":\"cli\"}");
	assert_json("preset: flow-matrix\nduration: 1s\noptions: {executionTime: false}\n",
		    "{\"preset\":\"flow-matrix\",\"targets\":[],\"durationMs\":1000,"
		    "\"options\":{\"executionTime\":false},\"createdBy\":\"cli\"}");
}

static void a_file_may_differ_from_its_preset(void **state)
{
	assert_json("preset: network-calls\nduration: 1s\noptions: {executionTime: false}\n",
		    "{\"preset\":\"network-calls\",\"targets\":[],\"durationMs\":1000,"
		    "\"options\":{\"executionTime\":false},\"createdBy\":\"cli\"}");
	assert_json("preset: flow-matrix\nduration: 1s\noptions: {withoutFlows: false}\n",
		    "{\"preset\":\"flow-matrix\",\"targets\":[],\"durationMs\":1000,"
		    "\"options\":{\"withoutFlows\":false},\"createdBy\":\"cli\"}");
	/* what it says is said, though a preset of today has it anyway */
	assert_json("preset: flow-matrix\nduration: 1s\noptions: {withoutFlows: true}\n",
		    "{\"preset\":\"flow-matrix\",\"targets\":[],\"durationMs\":1000,"
		    "\"options\":{\"withoutFlows\":true},\"createdBy\":\"cli\"}");
}

static void rules_of_swctl_may_be_untimed(void **state)
{
	static const char text[] = "samplings: [{when_4xx: true}]\n"
				   "options: {executionTime: false}\n";
	_cleanup_(sonde_spec_freep) struct sonde_spec *spec = NULL;
	_cleanup_free_ char *error = NULL, *written = NULL;
	json_t *json;

	assert_ok(sonde_spec_parse(text, strlen(text), "t.yaml", &spec, &error));
	assert_ok(sonde_spec_complete(spec));
	assert_ok(sonde_spec_json(spec, &json));
	written = json_dumps(json, JSON_COMPACT | JSON_PRESERVE_ORDER);
	json_decref(json);
	assert_string_equal(written, "{\"preset\":\"network-calls\",\"targets\":[],"
				     "\"durationMs\":600000,"
				     "\"options\":{\"executionTime\":false},"
				     "\"createdBy\":\"cli\"}");
}

static void the_request_is_a_file_too(void **state)
{
	assert_json("{\"durationMs\":1000,\"reportIntervalMs\":100,\"startWallMs\":5}",
		    "{\"targets\":[],\"startWallMs\":5,\"durationMs\":1000,"
		    "\"reportIntervalMs\":100,\"createdBy\":\"cli\"}");
}

static void faults_name_the_line(void **state)
{
	assert_refused("duration: 61m\n",
		       "t.yaml:1: key 'duration': expected a duration from 1s to 30m (such as "
		       "10s, 5m), got '61m'");
	assert_refused("targets:\n- servce: a\n",
		       "t.yaml:2: key 'targets[0].servce': expected a known key, such as "
		       "'service'");
	assert_refused("duration: 1s\ndurationMs: 1000\n",
		       "t.yaml: expected duration or durationMs, got both");
}

static void a_target_is_named_in_one_way(void **state)
{
	assert_refused("targets: [{agentId: a}]\n",
		       "t.yaml: key 'targets[0]': expected one of processId, pid, processName, "
		       "service, got 0");
	assert_refused("targets: [{pid: 1}, {pid: 1, service: a}]\n",
		       "t.yaml: key 'targets[1]': expected one of processId, pid, processName, "
		       "service, got 2");
}

static void every_preset_is_a_task(void **state)
{
	static const char *const names[] = {"network", "network-calls"};

	for (size_t i = 0; i < ELEMENTS_OF(names); i++) {
		_cleanup_(sonde_spec_freep) struct sonde_spec *spec = NULL;
		_cleanup_free_ char *error = NULL;
		char path[512];

		(void)snprintf(path, sizeof(path), "%s/%s.yaml", TASKS_DIR, names[i]);
		if (sonde_spec_load(path, &spec, &error) < 0)
			fail_msg("%s: %s", path, error ? error : "cannot be read");
		assert_string_equal(spec->preset, names[i]);
		assert_int_equal(spec->n_targets, 0);
		assert_true(spec->duration_ns > 0);
	}
}

static void a_start_is_absolute_or_relative(void **state)
{
	const int64_t now_ms = 1767225600000; /* 2026-01-01T00:00:00Z */
	int64_t ms;

	assert_ok(setenv("TZ", "XST-02:00", 1)); /* local time is 02:00 */
	tzset();
	assert_ok(sonde_spec_start("2026-01-01T00:05:00Z", now_ms, &ms));
	assert_int_equal(ms, now_ms + 300000);
	assert_ok(sonde_spec_start("+5m", now_ms, &ms));
	assert_int_equal(ms, now_ms + 300000);
	assert_ok(sonde_spec_start("02:05", now_ms, &ms));
	assert_int_equal(ms, now_ms + 300000);
	assert_ok(sonde_spec_start("02:00:01", now_ms, &ms));
	assert_int_equal(ms, now_ms + 1000);
	/* gone by today: tomorrow */
	assert_ok(sonde_spec_start("01:00", now_ms, &ms));
	assert_int_equal(ms, now_ms + 23 * 3600 * 1000);
	assert_ok(unsetenv("TZ"));
	tzset();
}

static void what_is_no_start_is_refused(void **state)
{
	static const char *const texts[] = {"",	      "now",   "+",	 "+5",
					    "+9999h", "25:00", "12:00x", "12"};
	int64_t ms;

	for (size_t i = 0; i < ELEMENTS_OF(texts); i++)
		assert_err(sonde_spec_start(texts[i], 1767225600000, &ms), EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_file_becomes_the_request),
		cmocka_unit_test(what_is_measured_may_be_chosen),
		cmocka_unit_test(rules_of_swctl_are_read_and_left_out),
		cmocka_unit_test(what_a_file_leaves_open_is_the_presets),
		cmocka_unit_test(a_file_may_differ_from_its_preset),
		cmocka_unit_test(rules_of_swctl_may_be_untimed),
		cmocka_unit_test(the_request_is_a_file_too),
		cmocka_unit_test(faults_name_the_line),
		cmocka_unit_test(a_target_is_named_in_one_way),
		cmocka_unit_test(every_preset_is_a_task),
		cmocka_unit_test(a_start_is_absolute_or_relative),
		cmocka_unit_test(what_is_no_start_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
