/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's own life: its end, its worker's death, what it may do and where. */
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

static void sigterm_flushes_what_was_seen(void **state)
{
	struct rig *r = *state;
	uint64_t began, alive = 0; /* ns: when it was last seen */
	pid_t pid = 0;

	agent_rig_begin(r, true);
	(void)agent_rig_command(r, "cut", SPEC(60000, "{\"service\":\"echo\"}"));
	agent_rig_wait_state(r, "cut", "running");
	agent_rig_talk(r, 9);
	began = sonde_mono_ns();
	assert_int_equal(kill(r->agent, SIGTERM), 0);
	while (pid == 0 && alive < 3 * SONDE_NS_PER_S) {
		uint64_t asked;

		agent_rig_pause_ms(r, 50);
		asked = sonde_mono_ns() -
			began; /* before the question: what comes between is this test's time */
		pid = waitpid(r->agent, NULL, WNOHANG);
		if (pid == 0)
			alive = asked;
	}
	assert_int_equal(pid, r->agent);
	r->agent = 0;
	assert_true(agent_double_report(&r->backend, "cut")->end);
	agent_rig_check_talk(r, "cut", 1, 9);
}

static void the_agent_holds_no_capability_while_a_task_runs(void **state)
{
	struct rig *r = *state;
	_cleanup_close_ int proc = sonde_proc_open("/proc");
	struct sonde_proc_status s;

	agent_rig_begin(r, true);
	(void)agent_rig_command(r, "caps", SPEC(1000, "{\"service\":\"echo\"}"));
	agent_rig_wait_state(r, "caps", "running");
	assert_ok(sonde_proc_read_status(proc, (uint32_t)r->agent, &s));
	assert_int_equal(s.cap_permitted, 0);
	assert_int_equal(s.cap_effective, 0);
	agent_rig_wait_end(r, "caps");
}

static bool knows_any_server(struct agent_double *d, void *arg)
{
	return d->n_processes > 0;
}

/* In its own PID namespace the agent sees itself alone: what is outside is gone, never an empty success. */
static void in_a_pid_namespace_others_are_gone(void **state)
{
	struct rig *r = *state;
	const Sonde__V1__TaskReport *report;
	char spec[200];

	assert_ok(agent_double_start(&r->backend, r->event, true, 0));
	agent_rig_start_server(r);
	agent_rig_start_client(r);
	r->wrapper = "exec unshare -pf --mount-proc --kill-child \"$@\"";
	r->wrapper_ends = true; /* unshare takes no SIGTERM */
	agent_rig_start_agent(r, "    - { executable: '*/sonde-agent', service: itself }\n");
	assert_true(agent_double_run(&r->backend, knows_any_server, r, AGENT_RIG_WAIT_MS));
	assert_null(agent_double_process(&r->backend, (uint32_t)r->server));
	(void)snprintf(spec, sizeof(spec), SPEC(1000, "{\"pid\":%d}"), r->server);
	(void)agent_rig_command(r, "outside", spec);
	agent_rig_wait_end(r, "outside");
	report = agent_double_report(&r->backend, "outside");
	assert_string_equal(report->result, "refused");
	assert_string_equal(report->targets[0]->state, "gone");
	(void)agent_rig_command(r, "inside", SPEC(4000, "{\"service\":\"itself\"}"));
	agent_rig_wait_end(r, "inside");
	assert_string_equal(agent_double_report(&r->backend, "inside")->result, "done");
	/* its own connection to the backend */
	assert_true(agent_double_sum(&r->backend, "inside", "sonde_net_sent_bytes_total",
				     "side=client") > 0);
}

static unsigned count_states(const struct rig *r, const char *task, const char *state)
{
	unsigned n = 0;

	for (size_t i = 0; i < r->backend.n_reports; i++) {
		const Sonde__V1__TaskReport *report = r->backend.reports[i];

		for (size_t k = 0; strcmp(report->task_id, task) == 0 && k < report->n_states; k++)
			n += strcmp(report->states[k]->state, state) == 0;
	}
	return n;
}

static bool runs_again(struct agent_double *d, void *arg)
{
	return count_states(arg, "died", "running") == 2;
}

static void a_dead_worker_is_replaced_and_the_task_says_so(void **state)
{
	struct rig *r = *state;
	_cleanup_close_ int proc = sonde_proc_open("/proc");
	const Sonde__V1__TaskReport *report;
	uint32_t worker;

	agent_rig_begin(r, true);
	(void)agent_rig_command(r, "died", SPEC(60000, "{\"service\":\"echo\"}"));
	agent_rig_wait_state(r, "died", "running");
	agent_rig_talk(r, 10);
	agent_rig_wait_talk(r, "died", 1, 10);
	worker = agent_rig_child_of(proc, agent_rig_child_of(proc, (uint32_t)r->agent));
	assert_true(worker > 1);
	assert_int_equal(kill((pid_t)worker, SIGKILL), 0);
	assert_true(agent_double_run(&r->backend, runs_again, r, AGENT_RIG_WAIT_MS));
	agent_rig_talk(r, 30);
	agent_rig_stop_task(r, "died", "all was said");
	agent_rig_wait_end(r, "died");
	report = agent_double_report(&r->backend, "died");
	assert_string_equal(report->result, "stopped");
	assert_int_equal(agent_rig_ledger(report, "worker_restarted"), 1);
	agent_rig_check_talk(r, "died", 2, 40);
}

static uint64_t anon_of_all(int proc, const struct rig *r)
{
	const uint32_t keeper = agent_rig_child_of(proc, (uint32_t)r->agent);
	const uint32_t pids[] = {(uint32_t)r->agent, keeper, agent_rig_child_of(proc, keeper)};
	uint64_t sum = 0;

	for (size_t i = 0; i < ELEMENTS_OF(pids); i++) {
		struct sonde_proc_status s;

		assert_true(pids[i] > 1);
		assert_ok(sonde_proc_read_status(proc, pids[i], &s));
		sum += s.rss_anon_bytes;
	}
	return sum;
}

static void memory_goes_back_after_a_task(void **state)
{
	struct rig *r = *state;
	_cleanup_close_ int proc = sonde_proc_open("/proc");
	uint64_t before, after = UINT64_MAX;

	agent_rig_begin(r, true);
	agent_rig_pause_ms(r, 1000);
	before = anon_of_all(proc, r);
	assert_true(before < 4UL << 20);
	(void)agent_rig_command(r, "large", SPEC(2500, "{\"service\":\"echo\"}"));
	agent_rig_wait_state(r, "large", "running");
	for (unsigned i = 0; i < 200; i++)
		agent_rig_talk(r, 2);
	agent_rig_wait_end(r, "large");
	for (unsigned ms = 0; ms < AGENT_RIG_WAIT_MS; ms += 500) {
		agent_rig_pause_ms(r, 500);
		after = anon_of_all(proc, r);
		if (after <= before + (1UL << 20))
			break;
	}
	if (after > before + (1UL << 20))
		fail_msg("%llu bytes before, %llu after", (unsigned long long)before,
			 (unsigned long long)after);
}

/* The task of an agent that may not do what it needs: fails at once and says which capability. */
static void where_bpf_is_refused_the_task_says_what_is_missing(void **state)
{
	struct rig *r = *state;
	const Sonde__V1__TaskReport *report;

	assert_ok(agent_double_start(&r->backend, r->event, true, 0));
	agent_rig_start_server(r);
	agent_rig_start_client(r);
	r->wrapper = "exec setpriv --bounding-set=-bpf,-sys_admin \"$@\"";
	agent_rig_start_agent(r, "");
	assert_true(agent_double_run(&r->backend, agent_rig_knows_both, r, AGENT_RIG_WAIT_MS));
	(void)agent_rig_command(r, "refused", SPEC(60000, "{\"service\":\"echo\"}"));
	agent_rig_wait_end(r, "refused");
	report = agent_double_report(&r->backend, "refused");
	assert_string_equal(report->result, "failed");
	assert_non_null(strstr(report->reason, "BPF is refused here"));
	assert_non_null(strstr(report->reason, "CAP_BPF"));
	assert_int_equal(report->n_targets, 2);
}

/*
 * /proc shows the agent nobody, as it holds no capability and the mount's group is not its own: the probe lists, names
 * and dates the processes.
 */
static void under_hidepid_a_task_finds_its_targets(void **state)
{
	struct rig *r = *state;
	const Sonde__V1__TaskReport *report;
	char spec[300];

	assert_ok(agent_double_start(&r->backend, r->event, true, 0));
	agent_rig_start_server(r);
	agent_rig_start_client(r);
	r->wrapper = "exec unshare -m --propagation private sh -c "
		     "'mount -t proc -o hidepid=2,gid=54321 proc /proc && exec \"$@\"' sh \"$@\"";
	agent_rig_start_agent(
		r, "    - { executable: '*/test-agent-life', service: echo, instance: one }\n");
	assert_true(agent_double_run(&r->backend, agent_rig_knows_both, r, AGENT_RIG_WAIT_MS));
	/* Its command line is hidden, or the first rule had named it. */
	assert_string_not_equal(agent_double_process(&r->backend, (uint32_t)r->server)->name,
				"server");
	/* by pid, as the rule names this test itself too */
	(void)snprintf(spec, sizeof(spec), SPEC(60000, "{\"pid\":%d},{\"pid\":%d}"), r->server,
		       r->client);
	(void)agent_rig_command(r, "hidden", spec);
	agent_rig_wait_state(r, "hidden", "running");
	agent_rig_talk(r, 6);
	agent_rig_pause_ms(r, 1500); /* scans meanwhile take nobody for gone */
	agent_rig_talk(r, 5);
	agent_rig_stop_task(r, "hidden", "all was said");
	agent_rig_wait_end(r, "hidden");
	report = agent_double_report(&r->backend, "hidden");
	assert_string_equal(report->result, "stopped");
	for (size_t i = 0; i < report->n_targets; i++)
		assert_string_equal(report->targets[i]->state, "found");
	agent_rig_check_talk(r, "hidden", 2, 11);
}

static bool watches(struct agent_double *d, void *arg)
{
	return d->watch != NULL;
}

static bool has_plans(struct agent_double *d, void *arg)
{
	return d->n_plans >= *(const size_t *)arg;
}

static bool refuses(const Sonde__V1__Plan *plan, const char *words)
{
	return strstr(plan->refused, words) != NULL;
}

static void questions_are_answered_in_bounds_and_attach_nothing(void **state)
{
	struct rig *r = *state;
	struct agent_double *d = &r->backend;
	char long_id[80], id[2] = "a", spec[200];
	const Sonde__V1__Plan *plan;
	size_t wanted = 8, busy = 0;

	agent_rig_begin(r, true);
	assert_true(agent_double_run(d, watches, NULL, AGENT_RIG_WAIT_MS));
	/* Six at once, four are worked on. */
	for (int i = 0; i < 6; i++, id[0]++)
		assert_ok(agent_double_ask(d, id, ""));
	memset(long_id, 'x', sizeof(long_id) - 1);
	long_id[sizeof(long_id) - 1] = '\0';
	assert_ok(agent_double_ask(d, long_id, ""));
	assert_ok(agent_double_ask(d, "bad", "{\"durationMs\":1000,\"targets\":[{}]}"));
	assert_ok(agent_double_ask(d, "none", "[[[["));
	assert_true(agent_double_run(d, has_plans, &wanted, 2 * AGENT_RIG_WAIT_MS));
	for (id[0] = 'a'; id[0] < 'g'; id[0]++) {
		plan = agent_double_plan(d, id);
		assert_non_null(plan);
		assert_string_equal(plan->agent_id, d->agent_id);
		busy += refuses(plan, "as many questions as it can");
		assert_true(plan->n_probes > 10 || plan->refused[0]);
	}
	assert_int_equal(busy, 2);
	assert_true(refuses(agent_double_plan(d, "bad"), "targets[0]"));
	assert_true(agent_double_plan(d, "none")->refused[0]);

	(void)snprintf(spec, sizeof(spec),
		       "{\"durationMs\":1000,\"targets\":[{\"pid\":%d},{\"service\":\"gone\"}]}",
		       r->server);
	assert_ok(agent_double_ask(d, "task", spec));
	wanted++;
	assert_true(agent_double_run(d, has_plans, &wanted, 2 * AGENT_RIG_WAIT_MS));
	plan = agent_double_plan(d, "task");
	assert_non_null(plan);
	assert_string_equal(plan->refused, "");
	assert_int_equal(plan->n_targets, 2);
	assert_string_equal(plan->targets[0]->state, "found");
	assert_int_equal(plan->targets[0]->pid, r->server);
	assert_string_equal(plan->targets[1]->state, "gone");
	assert_true(plan->map_bytes > 0 && plan->map_bytes <= plan->map_bytes_full);
	assert_true(plan->n_absent > 0);
	assert_null(agent_double_plan(d, long_id));
	assert_int_equal(d->n_reports, 0); /* no task was made */
}

int main(int argc, char **argv)
{
	const struct CMUnitTest agent[] = {
		AGENT_RIG_TEST(sigterm_flushes_what_was_seen),
		AGENT_RIG_TEST(a_dead_worker_is_replaced_and_the_task_says_so),
		AGENT_RIG_TEST(the_agent_holds_no_capability_while_a_task_runs),
		AGENT_RIG_TEST(memory_goes_back_after_a_task),
		AGENT_RIG_TEST(where_bpf_is_refused_the_task_says_what_is_missing),
		AGENT_RIG_TEST(under_hidepid_a_task_finds_its_targets),
		AGENT_RIG_TEST(questions_are_answered_in_bounds_and_attach_nothing),
		AGENT_RIG_TEST(in_a_pid_namespace_others_are_gone),
	};

	return agent_rig_main(argc, argv, agent);
}
