/* SPDX-License-Identifier: Apache-2.0 */
/* A task while it is waited for, and how it ended. */
#include "view-fixture.h"

#include <stdlib.h>
#include <string.h>

#include "ctl/progress.h"
#include "ctl/wait.h"

static void the_progress_line_shows_state_time_and_bar(void **state)
{
	_cleanup_buf_ struct sonde_buf line = SONDE_BUF_INIT(4096), numbers = SONDE_BUF_INIT(4096);
	json_t *task = fixture("task-running"), *topology = fixture("topology"),
	       *ledger = fixture("ledger");
	const int64_t now_ms = 1767225600200 + 23000;

	assert_ok(sonde_progress_line(task, now_ms, 24, &line));
	assert_string_equal(sonde_buf_str(&line), "Task t1 (nginx)   RUNNING  00:23/01:00 "
						  "[#########...............]");
	assert_ok(sonde_progress_numbers(task, topology, ledger, now_ms, &numbers));
	assert_string_equal(sonde_buf_str(&numbers),
			    "edges 2  16.4 MiB  retrans 12 (0.1%)  drops 7   5 lost");
	json_decref(task);
	json_decref(topology);
	json_decref(ledger);
}

static void the_progress_has_no_number_that_is_absent(void **state)
{
	_cleanup_buf_ struct sonde_buf numbers = SONDE_BUF_INIT(4096);
	json_t *task = fixture("task-running");
	json_t *topology = json_loads("{\"edges\":[{\"client_side\":{\"sent_bytes\":null,"
				      "\"received_bytes\":null}}]}",
				      0, NULL);

	assert_ok(sonde_progress_numbers(task, topology, NULL, 1767225600200 + 23000, &numbers));
	assert_string_equal(sonde_buf_str(&numbers), "edges 1");
	json_decref(task);
	json_decref(topology);
}

static void assert_numbers(json_t *task, const char *expected)
{
	_cleanup_buf_ struct sonde_buf numbers = SONDE_BUF_INIT(4096);
	json_t *topology = json_pack("{s:[]}", "edges");

	assert_non_null(task);
	assert_ok(sonde_progress_numbers(task, topology, NULL, 1767225600000, &numbers));
	assert_string_equal(sonde_buf_str(&numbers), expected);
	json_decref(topology);
	json_decref(task);
}

static void without_numbers_it_says_what_is_waited_for(void **state)
{
	assert_numbers(json_pack("{s:s, s:n, s:{s:I}}", "state", "accepted", "started", "spec",
				 "startWallMs", (json_int_t)1767225600000 + 65000),
		       "waiting for its start, in 01:05");
	assert_numbers(json_pack("{s:s, s:n, s:{}}", "state", "attaching", "started", "spec"),
		       "waiting for the agent to attach");
	assert_numbers(json_pack("{s:s, s:n, s:{}, s:[{s:s}]}", "state", "accepted", "started",
				 "spec", "states", "at", "2025-12-31T23:59:58.500Z"),
		       "waiting for the agent to take it, 1.5 s");
	assert_numbers(json_pack("{s:s, s:s, s:i, s:{s:i}}", "state", "running", "started",
				 "2025-12-31T23:59:59.000Z", "report_interval_ms", 2000, "reports",
				 "received", 0),
		       "waiting for the first report (2 s)");
	assert_numbers(json_pack("{s:s, s:s, s:{s:i}}", "state", "running", "started",
				 "2025-12-31T23:59:59.000Z", "reports", "received", 1),
		       "edges 0  0 B  retrans 0 (0.0%)  drops 0");
}

/* Nobody has reported, and nobody should have. */
static void before_it_runs_no_report_is_missing(void **state)
{
	_cleanup_buf_ struct sonde_buf before = SONDE_BUF_INIT(4096),
				       running = SONDE_BUF_INIT(4096);
	json_t *task = json_pack("{s:s, s:n}", "state", "accepted", "started");
	json_t *ledger = json_pack("{s:b, s:[], s:[]}", "complete", 0, "agents", "entries");

	assert_ok(sonde_progress_numbers(task, NULL, ledger, 1767225600000, &before));
	assert_string_equal(sonde_buf_str(&before), "waiting for the agent to take it");
	json_object_set_new(task, "state", json_string("running"));
	json_object_set_new(task, "started", json_string("2025-12-31T23:59:59.000Z"));
	assert_ok(sonde_progress_numbers(task, NULL, ledger, 1767225600000, &running));
	assert_non_null(strstr(sonde_buf_str(&running), "reports missing"));
	json_decref(task);
	json_decref(ledger);
}

static void its_cpu_is_a_mean_over_a_second_at_least(void **state)
{
	static const struct {
		const char *started, *cpu;
	} rows[] = {{"2025-12-31T23:59:59.900Z", ""},
		    {"2025-12-31T23:59:59.001Z", ""},
		    {"2025-12-31T23:59:59.000Z", "   agent cpu 45.9%"},
		    {"2025-12-31T23:59:50.000Z", "   agent cpu 4.6%"}};

	for (size_t i = 0; i < ELEMENTS_OF(rows); i++) {
		char expected[128];

		(void)snprintf(expected, sizeof(expected),
			       "edges 0  0 B  retrans 0 (0.0%%)  drops 0%s", rows[i].cpu);
		assert_numbers(json_pack("{s:s, s:s, s:{s:i}, s:{s:i, s:i}}", "state", "running",
					 "started", rows[i].started, "reports", "received", 1,
					 "cost", "agent_cpu_ns", 400000000, "probe_cpu_ns",
					 59000000),
			       expected);
	}
}

static void an_agent_that_is_silent_is_told(void **state)
{
	static const struct {
		int silent_ms;
		const char *state, *words;
	} rows[] = {{9000, "running", ""},
		    {21000, "running", "   no report for 00:21"},
		    {21000, "done", ""}};

	for (size_t i = 0; i < ELEMENTS_OF(rows); i++) {
		char expected[128];

		(void)snprintf(expected, sizeof(expected),
			       "edges 0  0 B  retrans 0 (0.0%%)  drops 0%s", rows[i].words);
		assert_numbers(json_pack("{s:s, s:s, s:i, s:{s:i, s:i}}", "state", rows[i].state,
					 "started", "2025-12-31T23:59:50.000Z",
					 "report_interval_ms", 2000, "reports", "received", 3,
					 "silent_ms", rows[i].silent_ms),
			       expected);
	}
}

static int verdict(const char *task_state, const char *reason, const char *code)
{
	json_t *task = json_pack("{s:s, s:s, s:s, s:s*}", "id", "t1", "state", task_state, "reason",
				 reason, "reason_code", code);
	struct sonde_cli cli = {.quiet = true};
	char *text = NULL;
	size_t n;
	int status;

	cli.out = cli.err = open_memstream(&text, &n);
	status = sonde_wait_verdict(&cli, task);
	assert_ok(fclose(cli.err));
	free(text);
	json_decref(task);
	return status;
}

static void a_final_state_has_its_exit_status(void **state)
{
	assert_int_equal(verdict("done", "", ""), SONDE_CLI_OK);
	assert_int_equal(verdict("stopped", "by a person", ""), SONDE_CLI_OK);
	assert_int_equal(verdict("refused", "policy: processes.denied", ""), SONDE_CLI_REFUSED);
	assert_int_equal(verdict("expired", "", NULL), SONDE_CLI_TIMEOUT);
	/* the words decide nothing */
	assert_int_equal(verdict("failed", "kernel: not permitted", ""), SONDE_CLI_INTERNAL);
	assert_int_equal(verdict("failed", "kernel: not permitted", NULL), SONDE_CLI_INTERNAL);
	assert_int_equal(verdict("failed", "CAP_BPF", "bpf_refused"), SONDE_CLI_UNSUPPORTED);
	assert_int_equal(verdict("exploded", "", ""), SONDE_CLI_INTERNAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_progress_line_shows_state_time_and_bar),
		cmocka_unit_test(the_progress_has_no_number_that_is_absent),
		cmocka_unit_test(without_numbers_it_says_what_is_waited_for),
		cmocka_unit_test(before_it_runs_no_report_is_missing),
		cmocka_unit_test(its_cpu_is_a_mean_over_a_second_at_least),
		cmocka_unit_test(an_agent_that_is_silent_is_told),
		cmocka_unit_test(a_final_state_has_its_exit_status),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
