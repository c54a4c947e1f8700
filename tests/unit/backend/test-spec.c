/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backend/json.h"
#include "backend/tasks/spec.h"
#include "model/preset.h"
#include "model/signal.h"

#define NOW_MS 1700000000000

static struct sonde_problem problem;

static int parse(const char *text, struct sonde_spec **ret)
{
	_cleanup_json_ json_t *j = json_loads(text, 0, NULL);

	assert_non_null(j);
	memset(&problem, 0, sizeof(problem));
	return sonde_spec_parse(j, NOW_MS, 1800000, false, ret, &problem);
}

static void assert_field(const char *text, const char *field)
{
	struct sonde_spec *s = NULL;

	assert_err(parse(text, &s), EINVAL);
	assert_null(s);
	assert_int_equal(problem.status, 400);
	assert_string_equal(problem.field, field);
	assert_true(problem.detail[0] != '\0');
}

static void reads_both_spellings_and_numbers_as_text(void **state)
{
	_cleanup_(sonde_spec_freep) struct sonde_spec *s = NULL;

	assert_ok(parse(
		"{\"targets\":[{\"process_name\":\"nginx\",\"agentId\":\"a\"},{\"pid\":7}],"
		"\"duration_ms\":\"60000\",\"options\":{\"execution_time\":true},\"limits\":{\"maxPeers\":9,"
		"\"max_memory_bytes\":\"67108864\",\"maxCpuPercent\":3,\"stopAtMaxPeers\":true}}",
		&s));
	assert_int_equal(s->n_targets, 2);
	assert_string_equal(s->targets[0].process_name, "nginx");
	assert_string_equal(s->targets[0].agent_id, "a");
	assert_int_equal(s->targets[1].pid, 7);
	assert_int_equal(s->duration_ms, 60000);
	assert_int_equal(s->report_interval_ms, 2000);
	assert_true(s->execution_time);
	assert_int_equal(s->limits.max_peers, 9);
	assert_int_equal(s->limits.max_memory_bytes, 67108864);
	assert_int_equal(s->limits.max_cpu_percent, 3);
	assert_true(s->limits.stop_at_max_peers);
	assert_int_equal(s->limits.max_events_per_second, 0);
	assert_string_equal(s->preset, "network");
	assert_string_equal(s->created_by, "api");
}

static uint32_t signals_of(const char *rest)
{
	_cleanup_(sonde_spec_freep) struct sonde_spec *s = NULL;
	_cleanup_json_ json_t *json = NULL;
	char text[256];

	(void)snprintf(text, sizeof(text), "{\"targets\":[{\"pid\":1}],\"durationMs\":5000%s}",
		       rest);
	assert_ok(parse(text, &s));
	json = sonde_spec_json(s, NULL, NULL);
	assert_non_null(json);
	assert_int_equal(
		json_array_size(json_object_get(json_object_get(json, "options"), "signals")),
		__builtin_popcount(s->signals));
	return s->signals;
}

static void a_task_chooses_what_is_measured(void **state)
{
	const uint32_t bytes = SONDE_SIGNAL_BIT(SONDE_SIGNAL_BYTES),
		       rtt = SONDE_SIGNAL_BIT(SONDE_SIGNAL_RTT);

	assert_int_equal(signals_of(""), 0);
	assert_int_equal(signals_of(",\"options\":{\"signals\":[]}"), 0);
	assert_int_equal(signals_of(",\"options\":{\"signals\":[\"rtt\",\"bytes\",\"rtt\"]}"),
			 bytes | rtt);
}

static void a_preset_says_what_the_task_leaves_open(void **state)
{
	_cleanup_(sonde_spec_freep) struct sonde_spec *s = NULL;

	for (size_t i = 0; sonde_preset_at(i); i++) {
		char rest[64];

		(void)snprintf(rest, sizeof(rest), ",\"preset\":\"%s\"", sonde_preset_at(i)->name);
		assert_int_equal(signals_of(rest), sonde_preset_at(i)->signals);
	}
	assert_int_equal(signals_of(",\"preset\":\"drops\",\"options\":{\"signals\":[\"rtt\"]}"),
			 SONDE_SIGNAL_BIT(SONDE_SIGNAL_RTT));
	assert_int_equal(signals_of(",\"collectors\":[\"tcp\",\"udp\"],"
				    "\"options\":{\"signals\":[\"rtt\",\"error\"]}"),
			 SONDE_SIGNAL_BIT(SONDE_SIGNAL_RTT) | SONDE_SIGNAL_BIT(SONDE_SIGNAL_ERROR));
	assert_ok(parse(
		"{\"targets\":[{\"pid\":1}],\"durationMs\":5000,\"preset\":\"network-calls\"}",
		&s));
	assert_true(s->execution_time);
	s = sonde_spec_free(s);
	assert_ok(
		parse("{\"targets\":[{\"pid\":1}],\"durationMs\":5000,\"preset\":\"network-calls\","
		      "\"options\":{\"executionTime\":false}}",
		      &s));
	assert_false(s->execution_time);
}

static void names_the_field_that_is_wrong(void **state)
{
	assert_field("[]", "");
	assert_field("{}", "targets");
	assert_field("{\"targets\":[],\"durationMs\":5000}", "targets");
	assert_field("{\"targets\":7,\"durationMs\":5000}", "targets");
	assert_field("{\"targets\":[7],\"durationMs\":5000}", "targets[0]");
	assert_field("{\"targets\":[{}],\"durationMs\":5000}", "targets[0]");
	assert_field(
		"{\"targets\":[{\"pid\":1},{\"pid\":1,\"service\":\"x\"}],\"durationMs\":5000}",
		"targets[1]");
	assert_field("{\"targets\":[{\"pid\":\"x\"}],\"durationMs\":5000}", "targets[0].pid");
	assert_field("{\"targets\":[{\"pid\":-1}],\"durationMs\":5000}", "targets[0].pid");
	assert_field("{\"targets\":[{\"pid\":1.5}],\"durationMs\":5000}", "targets[0].pid");
	assert_field("{\"targets\":[{\"service\":\"a\\nb\"}],\"durationMs\":5000}",
		     "targets[0].service");
	assert_field("{\"targets\":[{\"colour\":\"a\"}],\"durationMs\":5000}", "targets[0].colour");
	assert_field("{\"targets\":[{\"pid\":1}]}", "durationMs");
	assert_field("{\"targets\":[{\"pid\":1}],\"durationMs\":999}", "durationMs");
	assert_field("{\"targets\":[{\"pid\":1}],\"durationMs\":1800001}", "durationMs");
	assert_field("{\"targets\":[{\"pid\":1}],\"durationMs\":5000,\"duration_ms\":5000}",
		     "durationMs");
	assert_field("{\"targets\":[{\"pid\":1}],\"durationMs\":5000,\"preset\":\"nope\"}",
		     "preset");
	assert_field("{\"targets\":[{\"pid\":1}],\"durationMs\":5000,\"collectors\":[\"gpu\"]}",
		     "collectors");
	assert_field(
		"{\"targets\":[{\"pid\":1}],\"durationMs\":5000,\"options\":{\"executionTime\":1}}",
		"options.executionTime");
	assert_field(
		"{\"targets\":[{\"pid\":1}],\"durationMs\":5000,\"options\":{\"signals\":[\"colour\"]}}",
		"options.signals");
	assert_field(
		"{\"targets\":[{\"pid\":1}],\"durationMs\":5000,\"options\":{\"signals\":\"rtt\"}}",
		"options.signals");
	/* no collector of the task has it */
	assert_field(
		"{\"targets\":[{\"pid\":1}],\"durationMs\":5000,\"options\":{\"signals\":[\"error\"]}}",
		"options.signals");
	/* a collector would have none */
	assert_field(
		"{\"targets\":[{\"pid\":1}],\"durationMs\":5000,\"collectors\":[\"tcp\",\"udp\"],"
		"\"options\":{\"signals\":[\"error\"]}}",
		"options.signals");
	assert_field(
		"{\"targets\":[{\"pid\":1}],\"durationMs\":5000,\"collectors\":[\"tcp\",\"udp\"],"
		"\"options\":{\"signals\":[\"rtt\"]}}",
		"options.signals");
	assert_field("{\"targets\":[{\"pid\":1}],\"durationMs\":5000,\"options\":{"
		     "\"signals\":[\"rtt\"],\"executionTime\":true}}",
		     "options.signals");
	assert_field(
		"{\"targets\":[{\"pid\":1}],\"durationMs\":5000,\"limits\":{\"maxPeers\":99999999}}",
		"limits.maxPeers");
	assert_field(
		"{\"targets\":[{\"pid\":1}],\"durationMs\":5000,\"limits\":{\"maxMemoryBytes\":5}}",
		"limits.maxMemoryBytes");
	assert_field(
		"{\"targets\":[{\"pid\":1}],\"durationMs\":5000,\"limits\":{\"maxCpuPercent\":-1}}",
		"limits.maxCpuPercent");
	assert_field(
		"{\"targets\":[{\"pid\":1}],\"durationMs\":5000,\"limits\":{\"stopAtMaxPeers\":1}}",
		"limits.stopAtMaxPeers");
	assert_field("{\"targets\":[{\"pid\":1}],\"durationMs\":5000,\"reportIntervalMs\":1}",
		     "reportIntervalMs");
	assert_field("{\"targets\":[{\"pid\":1}],\"durationMs\":5000,\"startWallMs\":1000}",
		     "startWallMs");
	assert_field("{\"targets\":[{\"pid\":1}],\"durationMs\":5000,\"id\":\"mine\"}", "id");
	assert_field("{\"targets\":[{\"pid\":1}],\"durationMs\":5000,\"color\":\"red\"}", "color");
}

static void bounds_names_and_targets(void **state)
{
	_cleanup_json_ json_t *root = json_pack("{s:i}", "durationMs", 5000),
			      *targets = json_array();
	struct sonde_spec *s = NULL;
	char name[SONDE_TASK_NAME_MAX + 1];

	for (int i = 0; i <= SONDE_TASK_TARGETS_MAX; i++)
		assert_int_equal(json_array_append_new(targets, json_pack("{s:i}", "pid", i + 1)),
				 0);
	assert_int_equal(json_object_set(root, "targets", targets), 0);
	assert_err(sonde_spec_parse(root, NOW_MS, 1800000, false, &s, &problem), EINVAL);
	assert_string_equal(problem.field, "targets");
	assert_int_equal(json_array_remove(targets, 0), 0);
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	assert_int_equal(json_object_set_new(root, "name", json_string(name)), 0);
	assert_err(sonde_spec_parse(root, NOW_MS, 1800000, false, &s, &problem), EINVAL);
	assert_string_equal(problem.field, "name");
	assert_null(s);
}

static bool keep_pids(void *ctx, const struct sonde_spec_target *t)
{
	return t->pid != 0;
}

static void comes_back_as_it_was_written(void **state)
{
	_cleanup_(sonde_spec_freep) struct sonde_spec *s = NULL, *back = NULL;
	_cleanup_json_ json_t *j = NULL, *share = NULL;

	assert_ok(parse(
		"{\"name\":\"n\",\"targets\":[{\"service\":\"s\"},{\"pid\":3}],\"durationMs\":5000,"
		"\"startWallMs\":1700000001000}",
		&s));
	(void)snprintf(s->id, sizeof(s->id), "abc");
	j = sonde_spec_json(s, NULL, NULL);
	assert_ok(sonde_spec_parse(j, 0, 0, true, &back, &problem));
	assert_string_equal(back->id, "abc");
	assert_int_equal(back->start_wall_ms, 1700000001000);
	assert_memory_equal(back->targets, s->targets, 2 * sizeof(*s->targets));
	share = sonde_spec_json(s, keep_pids, NULL);
	assert_int_equal(json_array_size(json_object_get(share, "targets")), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_both_spellings_and_numbers_as_text),
		cmocka_unit_test(a_task_chooses_what_is_measured),
		cmocka_unit_test(a_preset_says_what_the_task_leaves_open),
		cmocka_unit_test(names_the_field_that_is_wrong),
		cmocka_unit_test(bounds_names_and_targets),
		cmocka_unit_test(comes_back_as_it_was_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
