/* SPDX-License-Identifier: Apache-2.0 */
/* The agent under a backend without our extension: tasks as an OAP gives them, meters as it takes them. */
#include "agent-rig.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"

#define WAIT_MS AGENT_RIG_WAIT_MS

/* A task of both processes, by their ids. */
static struct double_command *oap_command(struct rig *r, const char *id, int64_t seconds)
{
	struct double_command *c = agent_rig_command(r, id, "null");

	(void)snprintf(c->processes, sizeof(c->processes), "%s,%s",
		       agent_double_process(&r->backend, (uint32_t)r->server)->id,
		       agent_double_process(&r->backend, (uint32_t)r->client)->id);
	c->duration_s = seconds;
	return c;
}

static bool asked_thrice(struct agent_double *d, void *arg)
{
	return d->queries >= *(unsigned *)arg;
}

static void wait_queries(struct rig *r, unsigned n)
{
	n += r->backend.queries;
	assert_true(agent_double_run(&r->backend, asked_thrice, &n, WAIT_MS));
}

static void unknown_and_repeated_ids_stop_nothing(void **state)
{
	struct rig *r = *state;
	struct double_command *c;
	char ids[600];

	agent_rig_begin(r, false);
	c = oap_command(r, "ids", 6);
	(void)snprintf(ids, sizeof(ids), "dead00,%.130s,%.130s,beef00,dead00", c->processes,
		       c->processes);
	memcpy(c->processes, ids, sizeof(ids));
	agent_rig_wait_line(r, "task ids: planned: preset network-calls, 2 of 4 targets live");
	agent_rig_wait_line(r, "task ids: running");
	agent_rig_talk(r, 5);
	agent_rig_wait_line(r, "task ids is over: done");
	agent_rig_check_talk(r, "-", 1, 5);
	assert_int_equal(r->backend.doubled_labels, 0);
	assert_int_equal(r->backend.misplaced, 0);
}

static void an_oap_whose_clock_is_ahead_starts_its_tasks_now(void **state)
{
	struct rig *r = *state;
	struct double_command *c;

	agent_rig_begin(r, false);
	c = oap_command(r, "ahead", 6);
	c->update_ms += 300 * 1000;
	c->start_ms += 300 * 1000;
	agent_rig_wait_line(r, "ms ahead of this machine's");
	agent_rig_wait_line(r, "task ahead: running");
	agent_rig_talk(r, 5);
	agent_rig_wait_line(r, "task ahead is over: done");
	agent_rig_check_talk(r, "-", 1, 5);
	/* It is not told again, though it asks for more than what is newer. */
	wait_queries(r, 3);
	assert_int_equal(agent_rig_log_count(r, "task ahead: accepted"), 1);
}

/* A node's clock was 2 h ahead for a moment, and its row stays: what comes after begins when it is to. */
static void a_row_of_the_future_stops_no_later_task(void **state)
{
	struct rig *r = *state;
	struct double_command *c;

	if (!getenv("SONDE_TEST_LONG"))
		skip();
	agent_rig_begin(r, false);
	c = oap_command(r, "future", 2);
	c->update_ms += 7200 * 1000;
	c->start_ms += 7200 * 1000;
	agent_rig_wait_line(r, "ms ahead of this machine's");
	agent_rig_wait_line(r, "task future is over: done");
	agent_rig_pause_ms(r, 62000); /* for so long an OAP may not have stored its processes */
	(void)oap_command(r, "next", 2);
	agent_rig_wait_line(r, "task next: running");
	agent_rig_wait_line(r, "task next is over: done");
	assert_int_equal(agent_rig_log_count(r, "not run"), 0);
}

static void what_is_not_run_is_said_once(void **state)
{
	struct rig *r = *state;
	struct double_command *c;

	agent_rig_begin(r, false);
	c = oap_command(r, "old", 600);
	c->update_ms -= 3600 * 1000;
	c->start_ms -= 3600 * 1000;
	c = oap_command(r, "cpu", 60);
	(void)snprintf(c->target, sizeof(c->target), "ON_CPU");
	c = oap_command(r, "off", 60);
	(void)snprintf(c->target, sizeof(c->target), "OFF_CPU");
	agent_rig_wait_line(r, "1 task of the backend's was over before it came here: not run");
	agent_rig_wait_line(r, "task cpu is not run: TargetType 'ON_CPU'");
	agent_rig_wait_line(r, "task off is not run: TargetType 'OFF_CPU'");
	wait_queries(r, 5);
	assert_int_equal(agent_rig_log_count(r, "not run"), 3);
	assert_int_equal(agent_rig_log_count(r, "accepted"), 0);
}

/* The same id and start, a longer duration, no rules: what keepEBPFNetworkProfiling makes of a task. */
static void an_extension_prolongs_a_task_and_keeps_its_rules(void **state)
{
	struct rig *r = *state;
	struct double_command *c;
	uint64_t began;

	agent_rig_begin(r, false);
	began = sonde_mono_ns(); /* it cannot begin sooner, and ends so long after it began */
	c = oap_command(r, "keep", 8);
	(void)snprintf(c->extension, sizeof(c->extension), "%s",
		       "{\"NetworkSamplings\":[{\"When5xx\":true,\"Settings\":{}}]}");
	agent_rig_wait_line(r, "no HTTP request is sampled by its 1 rule");
	agent_rig_wait_line(r, "task keep: running");
	agent_rig_talk(r, 5);
	c->duration_s = 10;
	c->update_ms += 1000;
	c->extension[0] = '\0';
	agent_rig_wait_line(r, "task keep: running: ends in");
	agent_rig_wait_line(r, "task keep is over: done: its time is over");
	assert_true(sonde_mono_ns() - began >= 10 * SONDE_NS_PER_S);
	assert_int_equal(agent_rig_log_count(r, "task keep: running: ends in"), 1);
	agent_rig_check_talk(r, "-", 1, 5);
}

/* Its memory of us and of the task is gone; the task goes on to its end, and nothing is counted twice. */
static void an_oap_that_restarts_loses_no_task(void **state)
{
	struct rig *r = *state;
	uint16_t port;

	agent_rig_begin(r, false);
	(void)oap_command(r, "restart", 9);
	agent_rig_wait_line(r, "task restart: running");
	agent_rig_talk(r, 5);
	port = r->backend.port;
	agent_double_stop(&r->backend);
	r->backend.n_processes = 0;
	r->backend.n_commands = 0;
	agent_rig_pause_ms(r, 500);
	agent_rig_talk(r, 7);
	assert_ok(agent_double_start(&r->backend, r->event, false, port));
	assert_true(agent_double_run(&r->backend, agent_rig_knows_both, r, WAIT_MS));
	agent_rig_wait_line(r, "task restart is over: done");
	agent_rig_check_talk(r, "-", 2, 12);
}

static bool is_alive(struct agent_double *d, void *arg)
{
	const struct double_process *p = agent_double_process(d, *(const uint32_t *)arg);

	return p && p->pings;
}

static void wait_alive(struct rig *r, pid_t pid)
{
	uint32_t number = (uint32_t)pid;

	assert_true(agent_double_run(&r->backend, is_alive, &number, WAIT_MS));
}

static void begin_with(struct rig *r, const char *rules, const char *extra)
{
	r->rules = rules;
	assert_ok(agent_double_start(&r->backend, r->event, false, 0));
	agent_rig_start_server(r);
	agent_rig_start_client(r);
	agent_rig_start_agent(r, extra);
}

static void a_process_is_reported_with_all_that_an_oap_reads(void **state)
{
	struct rig *r = *state;
	const struct double_process *p;
	char text[64];

	begin_with(
		r,
		"    - { command: '^/proc/self/exe echo-server$', service: echo, process_name: server, labels: "
		"[blue, eu] }\n",
		"");
	wait_alive(r, r->server); /* behind the answer, not a heartbeat later */
	p = agent_double_process(&r->backend, (uint32_t)r->server);
	assert_string_equal(p->labels, "blue,eu");
	assert_string_equal(p->layer, "GENERAL");
	assert_non_null(strstr(p->properties, "host_ip="));
	(void)snprintf(text, sizeof(text), "\npid=%d\n", (int)r->server);
	assert_non_null(strstr(p->properties, text));
	assert_non_null(strstr(p->properties, "\ncommand_line=/proc/self/exe echo-server\n"));
	/* Else an OAP offers CPU profiles of it. */
	assert_non_null(strstr(p->properties, "\nsupport_ebpf_profiling=false\n"));
}

static bool reported_twice(struct agent_double *d, void *arg)
{
	const struct double_process *p = agent_double_process(d, *(const uint32_t *)arg);

	return p && p->reports >= 2;
}

static void all_are_reported_again_at_every_tenth_heartbeat(void **state)
{
	struct rig *r = *state;
	uint32_t pid;

	if (!getenv("SONDE_TEST_LONG"))
		skip();
	agent_rig_begin(r, false);
	pid = (uint32_t)r->server;
	assert_true(agent_double_run(&r->backend, reported_twice, &pid, WAIT_MS));
	assert_true(agent_double_process(&r->backend, pid)->pings >= 8);
	assert_int_equal(agent_double_process(&r->backend, pid)->reports, 2);
}

static bool keeps_alive(struct agent_double *d, void *arg)
{
	return d->keep_alives >= *(const unsigned *)arg;
}

static void a_layer_that_no_oap_knows_takes_nobody_else_down(void **state)
{
	struct rig *r = *state;
	unsigned more;

	r->backend.no_layer = "NO_SUCH";
	begin_with(
		r,
		"    - { command: 'echo-client', service: echo, process_name: client, layer: "
		"NO_SUCH }\n",
		"    - { command: '^/proc/self/exe echo-server$', service: echo, process_name: server }\n");
	agent_rig_wait_line(r, "does not keep the processes of layer NO_SUCH alive");
	wait_alive(r, r->server);
	more = r->backend.keep_alives + 2;
	assert_true(agent_double_run(&r->backend, keeps_alive, &more, WAIT_MS));
	assert_int_equal(agent_rig_log_count(r, "NO_SUCH"), 1);
	assert_int_equal(agent_double_process(&r->backend, (uint32_t)r->client)->pings, 0);
}

static void wait_comm(struct rig *r, pid_t pid, const char *want)
{
	char path[32], line[32] = "";

	(void)snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
	for (unsigned ms = 0; ms < WAIT_MS && strcmp(line, want) != 0; ms += 50) {
		FILE *f = fopen(path, "re");

		assert_non_null(f);
		assert_non_null(fgets(line, sizeof(line), f));
		(void)fclose(f);
		agent_rig_pause_ms(r, 50);
	}
	assert_string_equal(line, want);
}

/* It runs the program that it ran before: same object, same id, nothing to report. */
static void a_program_that_shows_its_state_in_its_comm_stays_the_same(void **state)
{
	static const char *const argv[] = {"/bin/sh", "-c",
					   "while read -r x; do echo \"$x\" >/proc/$$/comm; done",
					   "sonde-busy", NULL};
	struct rig *r = *state;

	r->rules = "    - { command: 'sonde-busy', service: busy, process_name: busy }\n";
	r->heartbeat = "60s";
	assert_ok(agent_double_start(&r->backend, r->event, false, 0));
	r->client = agent_rig_spawn(argv, &r->client_in, &r->client_out);
	agent_rig_start_agent(
		r,
		"    - { command: '^/proc/self/exe echo-server$', service: echo, process_name: server }\n");
	wait_alive(r, r->client);
	assert_int_equal(write(r->client_in, "state-1\n", 8), 8);
	wait_comm(r, r->client, "state-1\n");
	agent_rig_start_server(r); /* whatever scan finds it finds the other's new comm too */
	wait_alive(r, r->server);
	assert_int_equal(agent_double_process(&r->backend, (uint32_t)r->client)->reports, 1);
}

static void a_long_name_is_cut_and_said(void **state)
{
	struct rig *r = *state;
	char rules[300];

	(void)snprintf(rules, sizeof(rules),
		       "    - { command: '^/proc/self/exe echo-server$', service: s%0100d }\n", 7);
	begin_with(r, rules, "");
	agent_rig_wait_line(r, "a name is longer than the 70 characters that SkyWalking keeps");
	wait_alive(r, r->server);
	assert_int_equal(strlen(agent_double_process(&r->backend, (uint32_t)r->server)->service),
			 70);
}

/* Two nodes, each with one process of the service; a task names both. */
static void two_agents_each_do_their_part_of_a_task(void **state)
{
	struct rig *r = *state, second;

	begin_with(
		r,
		"    - { command: '^/proc/self/exe echo-server$', service: echo, instance: one }\n",
		"");
	wait_alive(r, r->server);
	second = *r;
	second.rules =
		"    - { command: '^/proc/self/exe echo-client [0-9]+$', service: echo, instance: two }\n";
	(void)snprintf(second.dir, sizeof(second.dir), "%.40s/second", r->dir);
	assert_int_equal(mkdir(second.dir, 0700), 0);
	(void)snprintf(second.log, sizeof(second.log), "%.40s/agent.log", second.dir);
	agent_rig_start_agent(&second, "");
	wait_alive(r, r->client);
	assert_string_not_equal(agent_double_process(&r->backend, (uint32_t)r->server)->agent_id,
				agent_double_process(&r->backend, (uint32_t)r->client)->agent_id);
	(void)oap_command(r, "both", 9);
	agent_rig_wait_line(r, "task both: running");
	agent_rig_wait_line(&second, "task both: running");
	agent_rig_talk(r, 5);
	agent_rig_wait_line(r, "task both is over: done");
	agent_rig_wait_line(&second, "task both is over: done");
	agent_rig_check_talk(r, "-", 1, 5);
	agent_rig_end_child(&second.agent, SIGTERM);
}

/* What an OAP adds: a process is told once however many tasks look at it, and as often as one task would tell it. */
static void overlapping_tasks_are_one_report(void **state)
{
	struct rig *r = *state;

	agent_rig_begin(r, false);
	(void)oap_command(r, "first", 15);
	agent_rig_wait_line(r, "task first: running");
	agent_rig_talk(r, 5);
	agent_rig_pause_ms(r, 700);
	(void)oap_command(r, "second", 4);
	agent_rig_wait_line(r, "task second: running");
	for (int i = 0; i < 10; i++) {
		agent_rig_talk(r, 2);
		agent_rig_pause_ms(r, 250);
	}
	agent_rig_wait_line(r, "task second is over: done");
	agent_rig_talk(r, 3);
	agent_rig_wait_line(r, "task first is over: done");
	agent_rig_check_talk(r, "-", 12, 28);
	for (size_t i = 0; i < r->backend.n_report_ids; i++)
		assert_int_equal(strncmp(r->backend.report_ids[i], "-/", 2), 0);
	/* One each 2 s of 15 s, and one at each task's end: with a series of its own the second would add two. */
	assert_true(r->backend.n_report_ids <= 10);
	assert_int_equal(r->backend.duplicates, 0);
	assert_int_equal(r->backend.doubled_labels, 0);
	assert_int_equal(r->backend.misplaced, 0);
}

static void begin_continuous(struct rig *r)
{
	assert_int_equal(setenv("SONDE_AGENT_SKYWALKING_CONTINUOUS_CHECK", "1s", 1), 0);
	assert_int_equal(setenv("SONDE_AGENT_SKYWALKING_CONTINUOUS_DURATION", "6s", 1), 0);
	agent_rig_begin(r, false);
	(void)unsetenv("SONDE_AGENT_SKYWALKING_CONTINUOUS_CHECK");
	(void)unsetenv("SONDE_AGENT_SKYWALKING_CONTINUOUS_DURATION");
}

static void set_policy(struct rig *r, const char *uuid, const char *profiling)
{
	(void)snprintf(r->backend.policies, sizeof(r->backend.policies),
		       "[{\"ServiceName\":\"echo\",\"UUID\":\"%s\",\"Profiling\":{%s}}]", uuid,
		       profiling);
	r->backend.policies_uuid = uuid;
}

static bool has_told(struct agent_double *d, void *arg)
{
	return d->policies_told >= 1 && d->policy_queries >= 4;
}

static bool is_removed(struct agent_double *d, void *arg)
{
	return d->policies_told >= 2;
}

/* The id that the OAP answers is the task's; the threshold of CPU is not reached, that of threads is. */
static void a_threshold_leads_to_a_network_task(void **state)
{
	struct rig *r = *state;

	(void)snprintf(r->backend.continuous_task, sizeof(r->backend.continuous_task), "con7");
	set_policy(r, "u1",
		   "\"NETWORK\":{\"PROCESS_CPU\":{\"Threshold\":\"1000000\",\"Period\":5,"
		   "\"Count\":1},\"PROCESS_THREAD_COUNT\":{\"Threshold\":\"1\",\"Period\":5,"
		   "\"Count\":2}}");
	begin_continuous(r);
	agent_rig_wait_line(r, "continuous profiling of echo: 2 thresholds watched");
	agent_rig_wait_line(r, "continuous profiling: task con7 for echo / one");
	agent_rig_wait_line(r, "task con7: running");
	agent_rig_talk(r, 5);
	agent_rig_wait_line(r, "task con7 is over: done");
	agent_rig_check_talk(r, "-", 1, 5);
	assert_int_equal(r->backend.continuous_reports, 1); /* the instance is silent now */
	assert_string_equal(r->backend.continuous_causes, "1 1 1\n");
}

static void what_is_only_watched_attaches_nothing(void **state)
{
	struct rig *r = *state;

	set_policy(r, "u1",
		   "\"NETWORK\":{\"PROCESS_THREAD_COUNT\":{\"Threshold\":\"100000\",\"Period\":"
		   "5,\"Count\":1},\"SYSTEM_LOAD\":{\"Threshold\":\"100000\",\"Period\":5,"
		   "\"Count\":1},\"HTTP_ERROR_RATE\":{\"Threshold\":\"1\",\"Period\":5,"
		   "\"Count\":1}},\"ON_CPU\":{\"PROCESS_CPU\":{\"Threshold\":\"1\",\"Period\":5,"
		   "\"Count\":1}}");
	begin_continuous(r);
	agent_rig_wait_line(r, "continuous profiling of echo: 2 thresholds watched");
	assert_true(agent_double_run(&r->backend, has_told, NULL, WAIT_MS));
	agent_rig_pause_ms(r, 2500);
	assert_int_equal(r->backend.continuous_reports, 0);
	assert_int_equal(r->backend.policies_told, 1); /* its uuid is told back */
	assert_int_equal(agent_rig_log_count(r, "NETWORK HTTP_ERROR_RATE: HTTP is not observed"),
			 1);
	assert_int_equal(agent_rig_log_count(r, "ON_CPU: only NETWORK tasks are run"), 1);
	assert_int_equal(agent_rig_log_count(r, "attaching"), 0);
	/* A policy that was removed is watched no more. */
	(void)snprintf(r->backend.policies, sizeof(r->backend.policies),
		       "[{\"ServiceName\":\"echo\",\"UUID\":\"\"}]");
	r->backend.policies_uuid = "";
	assert_true(agent_double_run(&r->backend, is_removed, NULL, WAIT_MS));
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
		AGENT_RIG_TEST(a_process_is_reported_with_all_that_an_oap_reads),
		AGENT_RIG_TEST(all_are_reported_again_at_every_tenth_heartbeat),
		AGENT_RIG_TEST(a_layer_that_no_oap_knows_takes_nobody_else_down),
		AGENT_RIG_TEST(a_program_that_shows_its_state_in_its_comm_stays_the_same),
		AGENT_RIG_TEST(a_long_name_is_cut_and_said),
		AGENT_RIG_TEST(two_agents_each_do_their_part_of_a_task),
		AGENT_RIG_TEST(unknown_and_repeated_ids_stop_nothing),
		AGENT_RIG_TEST(an_oap_whose_clock_is_ahead_starts_its_tasks_now),
		AGENT_RIG_TEST(a_row_of_the_future_stops_no_later_task),
		AGENT_RIG_TEST(what_is_not_run_is_said_once),
		AGENT_RIG_TEST(an_extension_prolongs_a_task_and_keeps_its_rules),
		AGENT_RIG_TEST(an_oap_that_restarts_loses_no_task),
		AGENT_RIG_TEST(overlapping_tasks_are_one_report),
		AGENT_RIG_TEST(a_threshold_leads_to_a_network_task),
		AGENT_RIG_TEST(what_is_only_watched_attaches_nothing),
	};

	return agent_rig_main(argc, argv, tests);
}
