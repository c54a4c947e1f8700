/* SPDX-License-Identifier: Apache-2.0 */
/* Tasks: what the server has in the end is what two processes on loopback sent to each other. */
#include "agent-rig.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "host/proc.h"

static void what_was_sent_is_what_the_server_has(void **state)
{
	struct rig *r = *state;
	const Sonde__V1__TaskReport *report;
	char labels[300];

	agent_rig_begin(r, true);
	(void)agent_rig_command(r, "exact", SPEC(60000, "{\"service\":\"echo\"}"));
	agent_rig_wait_state(r, "exact", "running");
	for (unsigned i = 0; i < 10; i++) {
		agent_rig_talk(r, 20);
		agent_rig_pause_ms(r, 150);
	}
	agent_rig_stop_task(r, "exact", "all was said");
	agent_rig_wait_end(r, "exact");
	agent_rig_check_talk(r, "exact", 10, 200);
	/* both ends are known, so each names the other */
	(void)snprintf(labels, sizeof(labels),
		       "client_process_id=%s,server_process_id=%s,server_port=%u",
		       agent_double_process(&r->backend, (uint32_t)r->client)->id,
		       agent_double_process(&r->backend, (uint32_t)r->server)->id, r->port);
	agent_rig_assert_sum(r, "exact", "sonde_net_sent_bytes_total", labels, 200.0 * MESSAGE);
	assert_int_equal(r->backend.misplaced, 0);
	assert_int_equal(r->backend.doubled_labels, 0);
	assert_int_equal(r->backend.duplicates, 0);
	report = agent_double_report(&r->backend, "exact");
	assert_string_equal(report->result, "stopped");
	assert_int_equal(report->n_targets, 2);
	assert_non_null(report->idle_proof);
	assert_int_equal(report->idle_proof->bpf_fds_left, 0);
	assert_true(report->cost->report_bytes > 0);
	assert_true(report->cost->agent_rss_anon_bytes > 0);
	assert_string_equal(report->cost->encoding, "zstd");
	/* the first one with meters went out in zstd */
	assert_true(agent_rig_log_count(r, "task exact: first report: encoding=zstd bytes=") > 0);
	agent_rig_assert_weakened_by_nothing(r, "exact");
}

static void overlapping_tasks_are_each_exact(void **state)
{
	struct rig *r = *state;

	agent_rig_begin(r, true);
	(void)agent_rig_command(r, "first", SPEC(60000, "{\"service\":\"echo\"}"));
	agent_rig_wait_state(r, "first", "running");
	agent_rig_talk(r, 10);
	agent_rig_pause_ms(r, 200);
	(void)agent_rig_command(
		r, "second",
		SPEC(60000, "{\"processName\":\"server\"},{\"processName\":\"client\"}"));
	agent_rig_wait_state(r, "second", "running");
	agent_rig_talk(r, 7);
	agent_rig_talk(r, 5);
	agent_rig_stop_task(r, "second", "all was said");
	agent_rig_wait_end(r, "second");
	agent_rig_talk(r, 3);
	agent_rig_stop_task(r, "first", "all was said");
	agent_rig_wait_end(r, "first");
	agent_rig_check_talk(r, "second", 2, 12);
	agent_rig_check_talk(r, "first", 4, 25);
	agent_rig_assert_weakened_by_nothing(r, "first");
	agent_rig_assert_weakened_by_nothing(r, "second");
}

static void a_restarted_server_loses_nothing(void **state)
{
	struct rig *r = *state;
	uint16_t port;

	agent_rig_begin(r, true);
	(void)agent_rig_command(r, "away", SPEC(60000, "{\"service\":\"echo\"}"));
	agent_rig_wait_state(r, "away", "running");
	agent_rig_talk(r, 10);
	agent_rig_pause_ms(r, 600);
	port = r->backend.port;
	agent_double_stop(&r->backend);
	agent_rig_talk(r, 20);
	agent_rig_pause_ms(r, 1500);
	agent_rig_talk(r, 30);
	assert_ok(agent_double_start(&r->backend, r->event, true, port));
	r->backend.fail_batches = 1;
	agent_rig_stop_task(r, "away", "all was said");
	agent_rig_wait_end(r, "away");
	agent_rig_check_talk(r, "away", 3, 60);
}

static void a_pid_that_does_not_exist_is_gone_and_the_rest_runs(void **state)
{
	struct rig *r = *state;
	const Sonde__V1__TaskReport *report;

	agent_rig_begin(r, true);
	(void)agent_rig_command(r, "none", SPEC(1000, "{\"pid\":4194000}"));
	agent_rig_wait_end(r, "none");
	report = agent_double_report(&r->backend, "none");
	assert_string_equal(report->result, "refused");
	assert_int_equal(report->n_targets, 1);
	assert_string_equal(report->targets[0]->state, "gone");
	(void)agent_rig_command(r, "some",
				SPEC(60000, "{\"pid\":4194000},{\"processName\":\"client\"}"));
	agent_rig_wait_state(r, "some", "running");
	agent_rig_talk(r, 4);
	agent_rig_stop_task(r, "some", "all was said");
	agent_rig_wait_end(r, "some");
	report = agent_double_report(&r->backend, "some");
	assert_string_equal(report->result, "stopped");
	assert_int_equal(report->n_targets, 2);
	agent_rig_assert_sum(r, "some", "sonde_net_sent_bytes_total", "side=client", 4.0 * MESSAGE);
	agent_rig_assert_sum(r, "some", "sonde_net_sent_bytes_total", "side=server", 0);
}

static void a_bad_spec_is_refused_in_words(void **state)
{
	struct rig *r = *state;
	const Sonde__V1__TaskReport *report;

	agent_rig_begin(r, true);
	(void)agent_rig_command(r, "bad",
				"{\"Sonde\":{\"durationMs\":\"x\",\"targets\":[{\"pid\":1}]}}");
	agent_rig_wait_end(r, "bad");
	report = agent_double_report(&r->backend, "bad");
	assert_string_equal(report->result, "refused");
	assert_non_null(strstr(report->reason, "durationMs"));
	/* not what the probe's start took: nothing was done for this task */
	assert_non_null(report->cost);
	assert_int_equal(report->cost->probe_cpu_ns, 0);
}

static void a_stop_ends_it_early(void **state)
{
	struct rig *r = *state;

	agent_rig_begin(r, true);
	(void)agent_rig_command(r, "long", SPEC(60000, "{\"service\":\"echo\"}"));
	agent_rig_wait_state(r, "long", "running");
	agent_rig_talk(r, 6);
	agent_rig_stop_task(r, "long", "enough seen");
	agent_rig_wait_end(r, "long");
	assert_string_equal(agent_double_report(&r->backend, "long")->result, "stopped");
	assert_string_equal(agent_double_report(&r->backend, "long")->reason, "enough seen");
	agent_rig_check_talk(r, "long", 1, 6);
}

static bool watches(struct agent_double *d, void *arg)
{
	return d->watch != NULL;
}

static void push_hint(struct rig *r)
{
	Sonde__V1__Control control = SONDE__V1__CONTROL__INIT;
	Sonde__V1__Poll poll = SONDE__V1__POLL__INIT;
	uint8_t buf[128];
	size_t n;

	control.action_case = SONDE__V1__CONTROL__ACTION_POLL;
	control.poll = &poll;
	n = sonde__v1__control__pack(&control, buf);
	assert_ok(sonde_grpc_server_call_send(r->backend.watch, buf, n));
}

static void begin_with_rare_polls(struct rig *r)
{
	assert_int_equal(setenv("SONDE_AGENT_BACKEND_POLL", "5m", 1), 0);
	agent_rig_begin(r, true);
	(void)unsetenv("SONDE_AGENT_BACKEND_POLL");
	assert_true(agent_double_run(&r->backend, watches, NULL, AGENT_RIG_WAIT_MS));
}

static void a_hint_starts_a_task_long_before_the_next_poll(void **state)
{
	struct rig *r = *state;
	const Sonde__V1__TaskReport *report;

	begin_with_rare_polls(r);
	(void)agent_rig_command(r, "short", SPEC(6000, "{\"service\":\"echo\"}"));
	r->backend.commands[0].start_ms -= 9000; /* how long it waited does not shorten it */
	push_hint(r);
	agent_rig_wait_state(r, "short", "running");
	agent_rig_talk(r, 6);
	agent_rig_wait_end(r, "short");
	report = agent_double_report(&r->backend, "short");
	assert_string_equal(report->result, "done");
	agent_rig_check_talk(r, "short", 1, 6);
}

/* Neither the next poll nor, with one of 2 minutes, the next heartbeat is waited for. */
static void a_hint_is_heard_again_when_the_server_was_away(void **state)
{
	struct rig *r = *state;
	uint16_t port;

	r->heartbeat = "2m";
	begin_with_rare_polls(r);
	port = r->backend.port;
	agent_double_stop(&r->backend);
	agent_rig_pause_ms(r, 1500);
	assert_ok(agent_double_start(&r->backend, r->event, true, port));
	assert_true(agent_double_run(&r->backend, watches, NULL, AGENT_RIG_WAIT_MS));
	(void)agent_rig_command(r, "again", SPEC(1000, "{\"service\":\"echo\"}"));
	push_hint(r);
	agent_rig_wait_end(r, "again");
	assert_string_equal(agent_double_report(&r->backend, "again")->result, "done");
}

/* Not at once, as if its start were long ago, and not shorter for having waited. */
static void a_task_with_a_later_start_begins_then(void **state)
{
	struct rig *r = *state;
	const Sonde__V1__TaskReport *report;
	int64_t start_ms;
	char spec[256];

	agent_rig_begin(r, true);
	start_ms = sonde_wall_ms() + 8000;
	(void)snprintf(spec, sizeof(spec),
		       "{\"Sonde\":{\"startWallMs\":\"%lld\",\"durationMs\":\"6000\","
		       "\"reportIntervalMs\":500,\"targets\":[{\"service\":\"echo\"}]}}",
		       (long long)start_ms);
	(void)agent_rig_command(r, "later", spec);
	agent_rig_pause_ms(r, 2500);
	agent_rig_talk(r, 5); /* before its time: none of the task's */
	agent_rig_wait_state(r, "later", "running");
	assert_true(sonde_wall_ms() >= start_ms);
	agent_rig_talk(r, 7);
	agent_rig_wait_end(r, "later");
	report = agent_double_report(&r->backend, "later");
	assert_string_equal(report->result, "done");
	agent_rig_check_talk(r, "later", 1, 7);
}

static void extend(struct rig *r, const char *task, int64_t end_wall_ms)
{
	Sonde__V1__Control control = SONDE__V1__CONTROL__INIT;
	Sonde__V1__Extend extend = SONDE__V1__EXTEND__INIT;
	char id[64];
	uint8_t buf[128];
	size_t n;

	(void)snprintf(id, sizeof(id), "%s", task);
	extend.task_id = id;
	extend.end_wall_ms = end_wall_ms;
	control.action_case = SONDE__V1__CONTROL__ACTION_EXTEND;
	control.extend = &extend;
	n = sonde__v1__control__pack(&control, buf);
	assert_non_null(r->backend.watch);
	assert_ok(sonde_grpc_server_call_send(r->backend.watch, buf, n));
}

static void an_extended_task_goes_on_counting_to_its_new_end(void **state)
{
	struct rig *r = *state;
	const Sonde__V1__TaskReport *report;
	int64_t end_ms;

	agent_rig_begin(r, true);
	(void)agent_rig_command(r, "longer", SPEC(4000, "{\"service\":\"echo\"}"));
	agent_rig_wait_state(r, "longer", "running");
	agent_rig_talk(r, 6);
	end_ms = sonde_wall_ms() + 11000;
	extend(r, "longer", end_ms);
	agent_rig_pause_ms(r, 5000); /* past the first end */
	agent_rig_talk(r, 5);
	agent_rig_wait_end(r, "longer");
	report = agent_double_report(&r->backend, "longer");
	assert_string_equal(report->result, "done");
	assert_true(report->window_end_wall_ms >= end_ms);
	agent_rig_check_talk(r, "longer", 2, 11);
	agent_rig_assert_weakened_by_nothing(r, "longer");
}

static bool together_has(struct agent_double *d, void *arg)
{
	return agent_double_sum(d, "-", "rover_net_p_client_write_bytes_counter", NULL) >=
	       *(double *)arg;
}

static void to_a_backend_that_adds_a_process_goes_out_once(void **state)
{
	struct rig *r = *state;
	struct double_command *c;
	double want = 8.0 * MESSAGE;

	agent_rig_begin(r, false);
	for (unsigned i = 0; i < 2; i++) {
		c = agent_rig_command(r, i ? "oap-2" : "oap-1", "null");
		(void)snprintf(c->processes, sizeof(c->processes), "%s,%s,unknown",
			       agent_double_process(&r->backend, (uint32_t)r->server)->id,
			       agent_double_process(&r->backend, (uint32_t)r->client)->id);
		c->duration_s = 9;
	}
	agent_rig_wait_line(r, "task oap-1: running"); /* no report tells it */
	agent_rig_wait_line(r, "task oap-2: running");
	agent_rig_talk(r, 8);
	assert_true(agent_double_run(&r->backend, together_has, &want, AGENT_RIG_WAIT_MS));
	agent_rig_wait_line(r, "task oap-1 is over: done");
	agent_rig_wait_line(r, "task oap-2 is over: done");
	agent_rig_assert_sum(r, "-", "rover_net_p_client_write_bytes_counter", NULL, want);
	agent_rig_assert_sum(r, "-", "rover_net_p_server_read_bytes_counter", NULL, want);
	assert_int_equal(r->backend.n_reports, 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest agent[] = {
		AGENT_RIG_TEST(what_was_sent_is_what_the_server_has),
		AGENT_RIG_TEST(overlapping_tasks_are_each_exact),
		AGENT_RIG_TEST(a_restarted_server_loses_nothing),
		AGENT_RIG_TEST(a_bad_spec_is_refused_in_words),
		AGENT_RIG_TEST(a_stop_ends_it_early),
		AGENT_RIG_TEST(a_hint_starts_a_task_long_before_the_next_poll),
		AGENT_RIG_TEST(a_hint_is_heard_again_when_the_server_was_away),
		AGENT_RIG_TEST(a_task_with_a_later_start_begins_then),
		AGENT_RIG_TEST(an_extended_task_goes_on_counting_to_its_new_end),
		AGENT_RIG_TEST(to_a_backend_that_adds_a_process_goes_out_once),
		AGENT_RIG_TEST(a_pid_that_does_not_exist_is_gone_and_the_rest_runs),
	};

	return agent_rig_main(argc, argv, agent);
}
