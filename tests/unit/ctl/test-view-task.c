/* SPDX-License-Identifier: Apache-2.0 */
/* What the server tells of a task beside its edges, as text. */
#include "view-fixture.h"

#include <errno.h>
#include <string.h>

#include "ctl/fetch.h"

static int view_ledger(struct sonde_cli *cli, const json_t *ledger)
{
	return sonde_view_ledger(cli, ledger, NULL);
}

static void a_ledger_says_what_it_means_for_the_numbers(void **state)
{
	json_t *json = fixture("ledger");
	_cleanup_free_ char *text = shown(view_ledger, json, SONDE_CLI_TABLE);

	assert_string_equal(
		text,
		"\nLoss ledger\n"
		"5 lost: numbers are lower bounds; reports received 31 of 31, 0 duplicates, 0 "
		"missing\n"
		"SITE       COUNT  NUMBERS ARE   WORDS\n"
		"cell_full      3  exact         folds into `other`: totals exact, peer "
		"unknown\n"
		"drop_full      5  lower bounds  drops that found no slot for their "
		"reason\n");
	assert_int_equal(sonde_view_lost(json), 5);
	json_decref(json);
}

static void a_ledger_without_reports_is_not_taken_for_complete(void **state)
{
	json_t *json = json_pack("{s:b, s:[]}", "complete", 0, "entries");
	_cleanup_free_ char *text = shown(view_ledger, json, SONDE_CLI_TABLE);

	assert_int_equal(sonde_view_lost(json), -1);
	assert_string_equal(text, "\nLoss ledger\nnot complete: reports are missing\n");
	json_decref(json);
}

static json_t *ended(const char *last, const char *before)
{
	return json_pack("{s:s, s:[{s:s}, {s:s}]}", "state", last, "states", "state", before,
			 "state", last);
}

static int view_failed_early(struct sonde_cli *cli, const json_t *ledger)
{
	static const char *const states[] = {"failed", "refused", "expired"};
	int status = 0;

	for (size_t i = 0; status == 0 && i < ELEMENTS_OF(states); i++) {
		json_t *task = ended(states[i], "planned");

		status = sonde_view_ledger(cli, ledger, task);
		json_decref(task);
	}
	return status;
}

static int view_failed_late(struct sonde_cli *cli, const json_t *ledger)
{
	json_t *task = ended("failed", "running");
	int status = sonde_view_ledger(cli, ledger, task);

	json_decref(task);
	return status;
}

static int view_running(struct sonde_cli *cli, const json_t *ledger)
{
	json_t *task = json_pack("{s:s, s:i}", "state", "running", "report_interval_ms", 2000);
	int status = sonde_view_ledger(cli, ledger, task);

	json_decref(task);
	return status;
}

static void a_ledger_says_what_is_still_to_come(void **state)
{
	static const char head[] =
		"\nLoss ledger\nnothing was lost so far: every number is exact, of "
		"what has come; reports received 0 of 0, 0 duplicates, 0 missing";
	json_t *spools = json_pack("{s:b, s:[], s:{s:i, s:i}}", "complete", 1, "entries", "reports",
				   "spooled", 12, "silent_ms", 60000);
	json_t *silent = json_pack("{s:b, s:[], s:{s:i}}", "complete", 1, "entries", "reports",
				   "silent_ms", 9001);
	json_t *well = json_pack("{s:b, s:[], s:{s:i}}", "complete", 1, "entries", "reports",
				 "silent_ms", 9000);
	_cleanup_free_ char *a = shown(view_running, spools, SONDE_CLI_TABLE);
	_cleanup_free_ char *b = shown(view_running, silent, SONDE_CLI_TABLE);
	_cleanup_free_ char *c = shown(view_running, well, SONDE_CLI_TABLE);

	assert_memory_equal(a, head, strlen(head));
	assert_string_equal(a + strlen(head), "; reports still on their way: agents spool 12\n");
	assert_string_equal(b + strlen(head),
			    "; no report for 00:09: what its agent holds comes when it is back\n");
	assert_string_equal(c + strlen(head), "\n");
	json_decref(spools);
	json_decref(silent);
	json_decref(well);
}

static void a_ledger_of_a_task_that_failed_calls_nothing_exact(void **state)
{
	json_t *json = json_pack("{s:b, s:[]}", "complete", 1, "entries");
	_cleanup_free_ char *early = shown(view_failed_early, json, SONDE_CLI_TABLE);
	_cleanup_free_ char *late = shown(view_failed_late, json, SONDE_CLI_TABLE);
	_cleanup_free_ char *good = shown(view_ledger, json, SONDE_CLI_TABLE);

	assert_string_equal(early, "\nLoss ledger\nnothing was measured\n"
				   "\nLoss ledger\nnothing was measured\n"
				   "\nLoss ledger\nnothing was measured\n");
	assert_non_null(strstr(late, "the task ended before its time"));
	assert_non_null(strstr(good, "every number is exact"));
	json_decref(json);
}

static void a_time_line_shows_time_and_words(void **state)
{
	json_t *json = fixture("task-running");
	_cleanup_free_ char *text = shown(sonde_view_timeline, json, SONDE_CLI_TABLE);

	assert_string_equal(text,
			    "AT                              AFTER  STATE     WORDS\n"
			    "2026-01-01 00:00:00.000 UTC  +0.000 s  accepted  -\n"
			    "2026-01-01 00:00:00.050 UTC  +0.050 s  planned   2 targets\n"
			    "2026-01-01 00:00:00.200 UTC  +0.200 s  running   9 probes attached\n");
	json_decref(json);
}

static void an_idle_proof_says_what_was_asked(void **state)
{
	json_t *asked = json_pack("{s:i, s:i, s:i, s:i, s:i, s:b, s:i}", "programs", 9, "maps", 7,
				  "links", 9, "bpf_fds_left", 0, "ids_alive", 0, "ids_asked", 1,
				  "wait_ns", 12000000);
	json_t *not_asked = json_pack("{s:i, s:b}", "programs", 9, "ids_asked", 0);
	json_t *first = json_pack("{s:o}", "idle_proof", asked);
	json_t *second = json_pack("{s:o}", "idle_proof", not_asked);
	_cleanup_free_ char *a = shown(sonde_view_idle_proof, first, SONDE_CLI_TABLE);
	_cleanup_free_ char *b = shown(sonde_view_idle_proof, second, SONDE_CLI_TABLE);

	assert_string_equal(a, "\nIdle proof\nloaded 9 programs, 7 maps, 9 links; left: 0 BPF "
			       "descriptors, 0 ids alive (the last went after 12ms)\n");
	assert_non_null(strstr(b, "left: 0 BPF descriptors, and nothing is ever pinned\n"));
	assert_non_null(strstr(b, "sudo sonde-agent --idle-proof"));
	assert_non_null(strstr(b, "--state-dir"));
	json_decref(first);
	json_decref(second);
}

static char *without_proof(const char *state, const char *before, bool ended)
{
	json_t *task = json_pack("{s:s, s:[{s:s}, {s:s}], s:n, s:[{s:s, s:b, s:b}]}", "state",
				 state, "states", "state", before, "state", state, "idle_proof",
				 "agents", "agent_id", "a1", "ended", (int)ended, "idle_proof", 0);
	char *text = shown(sonde_view_idle_proof, task, SONDE_CLI_TABLE);

	json_decref(task);
	return text;
}

static void a_missing_idle_proof_has_its_reason(void **state)
{
	_cleanup_free_ char *shared = without_proof("done", "running", true);
	_cleanup_free_ char *silent = without_proof("failed", "running", false);
	_cleanup_free_ char *failed = without_proof("failed", "running", true);
	_cleanup_free_ char *early = without_proof("refused", "accepted", true);
	_cleanup_free_ char *running = without_proof("running", "accepted", false);

	assert_string_equal(shared, "\nIdle proof\nnone of agent a1: another task of it still ran, "
				    "so its probes stayed attached; the last task to end has the "
				    "proof\n");
	assert_non_null(strstr(silent, "none of agent a1: it sent no last report"));
	assert_non_null(strstr(failed, "none of agent a1: its probe could not make one"));
	assert_string_equal(early, "");
	assert_string_equal(running, "");
}

static void a_denied_target_names_the_rule(void **state)
{
	json_t *json = json_pack("{s:[{s:i, s:s, s:s}, {s:i, s:s, s:s}]}", "targets", "pid", 7,
				 "state", "denied", "reason", "no-databases", "pid", 8, "state",
				 "gone", "reason", "ended");
	_cleanup_free_ char *text = shown(sonde_view_targets, json, SONDE_CLI_TABLE);

	assert_non_null(strstr(text, "refused by rule no-databases of the node's policy"));
	assert_non_null(strstr(text, "  ended\n"));
	json_decref(json);
}

static char *quiet(const char *task_text, const char *topology_text)
{
	struct sonde_cli_settings settings = {.utc = true};
	struct sonde_cli cli = {.settings = &settings, .headers = true, .headed = true};
	json_t *task = json_loads(task_text, 0, NULL),
	       *topology = json_loads(topology_text, 0, NULL);
	char *text = NULL;
	size_t n;

	assert_true(task && topology);
	cli.out = open_memstream(&text, &n);
	assert_non_null(cli.out);
	assert_int_equal(sonde_view_quiet(&cli, task, topology), 0);
	assert_ok(fclose(cli.out));
	json_decref(task);
	json_decref(topology);
	return text;
}

static void a_target_without_traffic_is_named(void **state)
{
	static const char task[] =
		"{\"spec\": {\"collectors\": [\"tcp\"]}, \"targets\": ["
		"{\"pid\": 7, \"process_id\": \"p7\", \"name\": \"web\", \"state\": \"found\"}, "
		"{\"pid\": 8, \"process_id\": \"p8\", \"name\": \"cron\", \"state\": \"found\"}, "
		"{\"pid\": 9, \"process_id\": \"p8\", \"name\": \"cron\", \"state\": \"found\"}, "
		"{\"pid\": 10, \"process_id\": \"\", \"name\": \"\", \"state\": \"gone\"}]}";
	_cleanup_free_ char *one =
		quiet(task, "{\"edges\": [{\"client\": \"x\", \"server\": \"p7\"}]}");
	_cleanup_free_ char *all = quiet(task, "{\"edges\": []}");
	_cleanup_free_ char *none = quiet("{\"targets\": []}", "{\"edges\": []}");
	_cleanup_free_ char *busy =
		quiet(task, "{\"edges\": [{\"client\": \"p8\", \"server\": \"p7\"}]}");

	assert_string_equal(one, "no TCP traffic in this time: cron (pid 8)\n");
	assert_string_equal(all, "no TCP traffic in this time: web (pid 7), cron (pid 8)\n");
	assert_string_equal(none, "no TCP traffic of the targets was seen in this time\n");
	assert_string_equal(busy, "");
}

static void targets_that_were_not_there_have_their_reason(void **state)
{
	json_t *json = json_loads(
		"{\"targets\": [{\"pid\": 7, \"name\": \"web\", \"state\": \"found\"}, {\"pid\": 8, "
		"\"name\": \"\", \"state\": \"gone\", \"reason\": \"no such process\"}]}",
		0, NULL);
	json_t *found = json_loads("{\"targets\": [{\"pid\": 7, \"state\": \"found\"}]}", 0, NULL);
	_cleanup_free_ char *text = shown(sonde_view_absentees, json, SONDE_CLI_TABLE);
	_cleanup_free_ char *none = shown(sonde_view_absentees, found, SONDE_CLI_TABLE);

	assert_non_null(strstr(text, "no such process"));
	assert_null(strstr(text, "web"));
	assert_string_equal(none, "");
	json_decref(json);
	json_decref(found);
}

static void ids_cannot_leave_their_place_in_the_path(void **state)
{
	_cleanup_buf_ struct sonde_buf path = SONDE_BUF_INIT(256);

	assert_ok(sonde_cli_task_path("a/../b?c#d%", "/stop", &path));
	assert_string_equal(sonde_buf_str(&path), "/api/v1/tasks/a%2F..%2Fb%3Fc%23d%25/stop");
	assert_err(sonde_cli_task_path("..", "", &path), EINVAL);
	assert_err(sonde_cli_task_path("", "", &path), EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_ledger_says_what_it_means_for_the_numbers),
		cmocka_unit_test(a_ledger_without_reports_is_not_taken_for_complete),
		cmocka_unit_test(a_ledger_says_what_is_still_to_come),
		cmocka_unit_test(a_ledger_of_a_task_that_failed_calls_nothing_exact),
		cmocka_unit_test(a_time_line_shows_time_and_words),
		cmocka_unit_test(an_idle_proof_says_what_was_asked),
		cmocka_unit_test(a_missing_idle_proof_has_its_reason),
		cmocka_unit_test(a_denied_target_names_the_rule),
		cmocka_unit_test(a_target_without_traffic_is_named),
		cmocka_unit_test(targets_that_were_not_there_have_their_reason),
		cmocka_unit_test(ids_cannot_leave_their_place_in_the_path),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
