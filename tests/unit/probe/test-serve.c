/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "doubles/fake-collector.h"
#include "host/proc.h"
#include "model/signal.h"
#include "probe/policy.h"
#include "probe/serve.h"

#define SECOND SONDE_NS_PER_S
#define REPLIES_MAX 4096

struct fixture {
	struct sonde_policy *policy;
	struct sonde_serve *serve;
	int proc_fd;
	int send_error;
	uint64_t id;
	uint64_t now_ns;
	struct sonde_probe_reply *replies;
	size_t n;
};

static int collect_reply(void *ctx, const struct sonde_probe_reply *reply)
{
	struct fixture *f = ctx;
	const char *why;

	if (f->send_error < 0)
		return f->send_error;
	assert_ok(sonde_probe_reply_check(reply, sizeof(*reply), &why)); /* never a bad one */
	assert_true(f->n < REPLIES_MAX);
	f->replies[f->n++] = *reply;
	return 0;
}

static void set_up(struct fixture *f, const char *policy)
{
	_cleanup_free_ char *words = NULL;
	struct sonde_serve_config config;

	memset(&fake_collector, 0, sizeof(fake_collector));
	*f = (struct fixture){.proc_fd = sonde_proc_open("/proc"), .now_ns = 1000 * SECOND};
	assert_true(f->proc_fd >= 0);
	f->replies = calloc(REPLIES_MAX, sizeof(*f->replies));
	assert_non_null(f->replies);
	assert_ok(sonde_policy_parse(policy, strlen(policy), "policy", "/etc/passwd", &f->policy,
				     &words));
	config = (struct sonde_serve_config){
		.collectors = fake_collectors,
		.policy = f->policy,
		.proc_fd = f->proc_fd,
		.ids_fd = -1,
		.netfilter_fd = -1,
		.send = collect_reply,
		.ctx = f,
	};
	assert_ok(sonde_serve_new(&config, &f->serve));
}

static void tear_down(struct fixture *f)
{
	f->serve = sonde_serve_free(f->serve);
	f->policy = sonde_policy_free(f->policy);
	closep(&f->proc_fd);
	free(f->replies);
	assert_false(fake_collector.running);
	assert_int_equal(fake_collector.starts, fake_collector.stops);
}

static const struct sonde_probe_end *last_end(const struct fixture *f)
{
	const struct sonde_probe_reply *p = &f->replies[f->n - 1];

	assert_true(f->n > 0);
	assert_int_equal(p->type, SONDE_PROBE_END);
	assert_int_equal(p->id, f->id);
	assert_int_equal(p->end.records, f->n - 1);
	return &p->end;
}

/* Return: END.error. */
static int ask(struct fixture *f, struct sonde_probe_request q)
{
	q.version = SONDE_PROBE_VERSION;
	q.id = ++f->id;
	f->n = 0;
	assert_ok(sonde_serve_request(f->serve, &q, f->now_ns));
	return last_end(f)->error;
}

static int admit(struct fixture *f, uint32_t slot, uint64_t duration_ns)
{
	return ask(f, (struct sonde_probe_request){.type = SONDE_PROBE_TASK_ADMIT,
						   .task = slot,
						   .duration_ns = duration_ns,
						   .collectors = SONDE_PROBE_COLLECT_TCP});
}

static int add(struct fixture *f, uint32_t slot, pid_t pid)
{
	struct sonde_proc_stat stat;

	assert_ok(sonde_proc_read_stat(f->proc_fd, (uint32_t)pid, &stat));
	return ask(f, (struct sonde_probe_request){.type = SONDE_PROBE_TARGET_ADD,
						   .task = slot,
						   .pid = stat.pid,
						   .pid_start_ticks = stat.start_ticks});
}

static int add_self(struct fixture *f, uint32_t slot)
{
	return add(f, slot, getpid());
}

static int simple(struct fixture *f, uint32_t type, uint32_t slot)
{
	return ask(f, (struct sonde_probe_request){.type = type, .task = slot});
}

static void run_task(struct fixture *f, uint32_t slot)
{
	assert_ok(admit(f, slot, 10 * SECOND));
	assert_ok(add_self(f, slot));
	assert_ok(simple(f, SONDE_PROBE_TASK_START, slot));
}

static void starts_lazily_and_stops_after_the_last_task(void **state)
{
	struct fixture f;

	set_up(&f, "");
	assert_ok(admit(&f, 0, SECOND));
	assert_ok(add_self(&f, 0));
	assert_int_equal(fake_collector.starts, 0); /* admitted only */
	assert_ok(simple(&f, SONDE_PROBE_TASK_START, 0));
	assert_int_equal(fake_collector.starts, 1);
	assert_int_equal(fake_collector.seeds, 1);
	assert_int_equal(last_end(&f)->numbers[1], 5);
	assert_int_equal(last_end(&f)->numbers[4], 3);
	assert_int_equal(f.replies[0].type, SONDE_PROBE_PROBE);
	run_task(&f, 31);
	assert_int_equal(fake_collector.starts, 1);
	assert_int_equal(f.replies[0].type, SONDE_PROBE_PROBE); /* the second is told too */
	assert_true(fake_collector.mask[1] == 1ULL << 31);

	assert_ok(simple(&f, SONDE_PROBE_TASK_END, 0));
	assert_int_equal(f.n, 1);
	assert_true(fake_collector.removed == 1);
	assert_true(fake_collector.running);
	assert_ok(simple(&f, SONDE_PROBE_TASK_END, 31));
	assert_false(fake_collector.running);
	assert_int_equal(f.replies[0].type, SONDE_PROBE_IDLE);
	assert_int_equal(f.replies[0].idle.programs, 1);
	assert_int_equal(f.replies[0].idle.maps, 1);
	assert_int_equal(last_end(&f)->numbers[0], 7);
	tear_down(&f);
}

/* What one task asks for ends with it, though the attachment goes on for another. */
static void an_option_is_there_while_a_task_asks_for_it(void **state)
{
	struct fixture f;

	set_up(&f, "");
	run_task(&f, 0);
	assert_int_equal(fake_collector.option_calls, 1);
	assert_int_equal(fake_collector.options, 0);
	for (uint32_t slot = 1; slot < 3; slot++) {
		assert_ok(ask(&f, (struct sonde_probe_request){
					  .type = SONDE_PROBE_TASK_ADMIT,
					  .task = slot,
					  .duration_ns = 10 * SECOND,
					  .collectors = SONDE_PROBE_COLLECT_TCP,
					  .options = SONDE_PROBE_OPTION_EXECUTION_TIME}));
		assert_ok(add_self(&f, slot));
		assert_int_equal(fake_collector.options,
				 slot == 1 ? 0 : SONDE_PROBE_OPTION_EXECUTION_TIME);
		assert_ok(simple(&f, SONDE_PROBE_TASK_START, slot));
		assert_int_equal(fake_collector.options, SONDE_PROBE_OPTION_EXECUTION_TIME);
	}
	assert_ok(simple(&f, SONDE_PROBE_TASK_END, 1));
	assert_int_equal(fake_collector.options, SONDE_PROBE_OPTION_EXECUTION_TIME);
	assert_ok(simple(&f, SONDE_PROBE_TASK_END, 2));
	assert_int_equal(fake_collector.options, 0);
	assert_true(fake_collector.running);
	tear_down(&f);
}

static int admit_signals(struct fixture *f, uint32_t slot, uint32_t signals)
{
	return ask(f, (struct sonde_probe_request){.type = SONDE_PROBE_TASK_ADMIT,
						   .task = slot,
						   .duration_ns = 10 * SECOND,
						   .collectors = SONDE_PROBE_COLLECT_TCP,
						   .signals = signals});
}

/* Not admitted, or it would take what is not counted for 0. The next one is tried anew. */
static void a_task_whose_signals_cannot_be_attached_is_refused(void **state)
{
	const uint32_t bytes = SONDE_SIGNAL_BIT(SONDE_SIGNAL_BYTES),
		       rtt = SONDE_SIGNAL_BIT(SONDE_SIGNAL_RTT);
	struct fixture f;

	set_up(&f, "");
	assert_ok(admit_signals(&f, 0, bytes));
	assert_ok(add_self(&f, 0));
	assert_ok(simple(&f, SONDE_PROBE_TASK_START, 0));
	assert_int_equal(fake_collector.signals, bytes);
	fake_collector.signals_error = -ENOMEM;
	for (unsigned int turn = 0; turn < 2; turn++) {
		assert_err(admit_signals(&f, 1, rtt), ENOMEM);
		assert_string_equal(last_end(&f)->text,
				    "the collectors cannot be widened to its signals");
		assert_err(simple(&f, SONDE_PROBE_TASK_END, 1), ENOENT);
		assert_int_equal(fake_collector.signals, bytes);
	}
	assert_ok(admit_signals(&f, 1, bytes)); /* what is there already */
	assert_ok(simple(&f, SONDE_PROBE_TASK_END, 1));
	fake_collector.signals_error = 0;
	assert_ok(admit_signals(&f, 1, rtt));
	assert_int_equal(fake_collector.signals, bytes | rtt);
	assert_true(fake_collector.running);
	tear_down(&f);
}

static void an_admitted_task_that_never_started_stops_nothing(void **state)
{
	struct fixture f;

	set_up(&f, "");
	run_task(&f, 1);
	assert_ok(admit(&f, 2, SECOND));
	assert_ok(simple(&f, SONDE_PROBE_TASK_END, 2));
	assert_true(fake_collector.running);
	assert_err(simple(&f, SONDE_PROBE_TASK_END, 2), ENOENT);
	tear_down(&f);
}

static void a_start_that_fails_frees_the_slot_and_stops(void **state)
{
	struct fixture f;

	set_up(&f, "");
	assert_err(simple(&f, SONDE_PROBE_TASK_START, 0), ENOENT);
	assert_ok(admit(&f, 0, SECOND));
	assert_err(simple(&f, SONDE_PROBE_TASK_START, 0), EINVAL); /* no target: never widened */
	assert_ok(add_self(&f, 0));
	fake_collector.start_error = -EPERM;
	assert_err(simple(&f, SONDE_PROBE_TASK_START, 0), EPERM);
	assert_err(simple(&f, SONDE_PROBE_TASK_END, 0), ENOENT);

	fake_collector.start_error = 0;
	fake_collector.target_error = -ENOSPC;
	assert_ok(admit(&f, 0, SECOND));
	assert_ok(add_self(&f, 0));
	assert_err(simple(&f, SONDE_PROBE_TASK_START, 0), ENOSPC);
	assert_false(fake_collector.running);

	fake_collector.target_error = 0;
	fake_collector.seed_error = -EIO;
	assert_ok(admit(&f, 0, SECOND));
	assert_ok(add_self(&f, 0));
	assert_err(simple(&f, SONDE_PROBE_TASK_START, 0), EIO);
	assert_false(fake_collector.running);
	tear_down(&f);
}

static void a_target_added_in_mid_task_is_seeded_at_once(void **state)
{
	struct fixture f;

	set_up(&f, "");
	run_task(&f, 0);
	assert_ok(admit(&f, 1, SECOND));
	assert_ok(add_self(&f, 1));
	assert_int_equal(fake_collector.targets, 1);
	assert_ok(simple(&f, SONDE_PROBE_TASK_START, 1));
	assert_int_equal(fake_collector.targets, 2);
	assert_ok(add_self(&f, 1)); /* known */
	assert_int_equal(fake_collector.targets, 2);
	tear_down(&f);
}

static void the_worker_ends_a_task_ten_seconds_after_its_duration(void **state)
{
	struct fixture f;
	uint64_t start;

	set_up(&f, "");
	assert_true(sonde_serve_next_deadline_ns(f.serve) == UINT64_MAX);
	run_task(&f, 4);
	start = f.now_ns;
	assert_true(sonde_serve_next_deadline_ns(f.serve) == start + 20 * SECOND);
	f.n = 0;
	assert_ok(sonde_serve_deadlines(f.serve, start + 20 * SECOND - 1));
	assert_int_equal(f.n, 0);

	/* admitted again for longer: counted from the start, not from now */
	f.now_ns += 5 * SECOND;
	assert_ok(admit(&f, 4, 30 * SECOND));
	assert_true(sonde_serve_next_deadline_ns(f.serve) == start + 40 * SECOND);

	f.n = 0;
	assert_ok(sonde_serve_deadlines(f.serve, start + 40 * SECOND));
	assert_int_equal(f.n, 1);
	assert_int_equal(f.replies[0].type, SONDE_PROBE_TASK_ENDED);
	assert_int_equal(f.replies[0].task_ended.task, 4);
	assert_false(fake_collector.running);
	assert_true(sonde_serve_next_deadline_ns(f.serve) == UINT64_MAX);
	assert_err(simple(&f, SONDE_PROBE_TASK_END, 4), ENOENT);
	tear_down(&f);
}

static void an_extension_is_under_the_policy_and_a_refused_one_changes_nothing(void **state)
{
	struct fixture f;

	set_up(&f, "limits: {max_duration: 60s, max_tasks: 1}\n");
	run_task(&f, 0);
	assert_err(admit(&f, 0, 61 * SECOND), EPERM);
	assert_string_equal(last_end(&f)->text, "limits.max_duration");
	assert_true(sonde_serve_next_deadline_ns(f.serve) == f.now_ns + 20 * SECOND);
	assert_err(admit(&f, 1, SECOND), ENOSPC);
	assert_ok(admit(&f, 0, 60 * SECOND)); /* itself does not count */
	tear_down(&f);
}

static void peers_come_from_the_task_under_the_policy(void **state)
{
	struct sonde_probe_request q = {.type = SONDE_PROBE_TASK_ADMIT,
					.duration_ns = SECOND,
					.collectors = SONDE_PROBE_COLLECT_TCP,
					.max_peers = 500};
	struct fixture f;

	set_up(&f, "limits: {max_peers: 1000}\n");
	assert_ok(ask(&f, q));
	assert_ok(add_self(&f, 0));
	assert_ok(simple(&f, SONDE_PROBE_TASK_START, 0));
	assert_int_equal(fake_collector.config.max_cells, 500);
	q.task = 1;
	q.max_peers = 1001;
	assert_err(ask(&f, q), EPERM);
	assert_string_equal(last_end(&f)->text, "limits.max_peers");
	assert_ok(simple(&f, SONDE_PROBE_TASK_END, 0));
	run_task(&f, 0);
	assert_int_equal(fake_collector.config.max_cells, 1000);
	tear_down(&f);
	/* Where the policy has more, only who asks for more takes the memory. */
	set_up(&f, "limits: {max_peers: 8192}\n");
	run_task(&f, 0);
	assert_int_equal(fake_collector.config.max_cells, SONDE_SERVE_PEERS_DEFAULT);
	tear_down(&f);
}

static void snapshots_stream_and_tell_an_error_at_the_end(void **state)
{
	struct fixture f;

	set_up(&f, "");
	assert_ok(simple(&f, SONDE_PROBE_SNAPSHOT, 0));
	assert_int_equal(f.n, 1); /* nothing runs: nothing to say, and no error */
	run_task(&f, 0);
	fake_collector.cells = 2000;
	assert_ok(simple(&f, SONDE_PROBE_SNAPSHOT, 0));
	assert_int_equal(f.n, 2001);
	fake_collector.snapshot_error = -EIO;
	assert_err(simple(&f, SONDE_PROBE_SNAPSHOT, 0), EIO);
	assert_int_equal(last_end(&f)->records, 2000);
	tear_down(&f);
}

static void an_agent_that_does_not_read_ends_the_answer(void **state)
{
	struct sonde_probe_request q = {
		.version = SONDE_PROBE_VERSION, .type = SONDE_PROBE_SNAPSHOT, .id = 100};
	struct fixture f;

	set_up(&f, "");
	run_task(&f, 0);
	fake_collector.cells = 3;
	f.send_error = -ETIMEDOUT;
	assert_err(sonde_serve_request(f.serve, &q, f.now_ns), ETIMEDOUT);
	tear_down(&f);
}

static void a_reused_pid_is_not_taken(void **state)
{
	struct sonde_probe_request q = {.type = SONDE_PROBE_TARGET_ADD, .pid = 1};
	struct fixture f;

	set_up(&f, "");
	assert_ok(admit(&f, 0, SECOND));
	q.pid = (uint32_t)getpid();
	q.pid_start_ticks = 1;
	assert_err(ask(&f, q), ESRCH);
	tear_down(&f);
}

static pid_t start_child(void)
{
	pid_t child = fork();

	if (child == 0) {
		(void)pause();
		_exit(0);
	}
	assert_true(child > 0);
	return child;
}

static void end_child(pid_t child)
{
	assert_int_equal(kill(child, SIGKILL), 0);
	assert_int_equal(waitpid(child, NULL, 0), child);
}

/* Its exit came before the programs that would have seen it: its number may be another's by now. */
static void a_target_that_ended_before_the_attach_is_not_handed_over(void **state)
{
	struct fixture f;
	pid_t child = start_child();

	set_up(&f, "");
	assert_ok(admit(&f, 0, SECOND));
	assert_ok(add(&f, 0, child));
	assert_ok(add_self(&f, 0));
	end_child(child);
	assert_ok(simple(&f, SONDE_PROBE_TASK_START, 0));
	assert_string_equal(last_end(&f)->text, "1 of 2 processes had ended");
	assert_int_equal(fake_collector.target_removes, 1);
	assert_int_equal(fake_collector.removed_pid, child);
	tear_down(&f);
}

static void a_task_whose_targets_all_ended_before_the_attach_does_not_start(void **state)
{
	struct fixture f;
	pid_t child = start_child();

	set_up(&f, "");
	assert_ok(admit(&f, 0, SECOND));
	assert_ok(add(&f, 0, child));
	assert_int_equal(kill(child, SIGKILL), 0);
	assert_int_equal(waitid(P_PID, (id_t)child, NULL, WEXITED | WNOWAIT), 0); /* a zombie */
	assert_err(simple(&f, SONDE_PROBE_TASK_START, 0), ESRCH);
	assert_string_equal(last_end(&f)->text, "every process has ended");
	assert_false(fake_collector.running);
	assert_int_equal(waitpid(child, NULL, 0), child);
	tear_down(&f);
}

static void every_request_type_is_answered_by_one_end(void **state)
{
	struct fixture f;

	set_up(&f, "");
	for (uint32_t type = 1; type < _SONDE_PROBE_REQUEST_MAX; type++)
		(void)ask(&f, (struct sonde_probe_request){.type = type, .pid = 1});
	assert_int_equal(fake_collector.plans, 1);
	tear_down(&f);
}

static void refuses_what_it_does_not_know(void **state)
{
	struct sonde_probe_request q = {.type = SONDE_PROBE_TASK_ADMIT, .duration_ns = SECOND};
	struct fixture f;

	set_up(&f, "");
	assert_err(ask(&f, q), EPERM); /* no collector at all */
	q.collectors = 1U << 31;
	assert_err(ask(&f, q), EPERM);
	q.collectors = SONDE_PROBE_COLLECT_TCP;
	q.options = 1U << 31;
	assert_err(ask(&f, q), EPERM);
	q.options = 0;
	q.duration_ns = UINT64_MAX;
	assert_err(ask(&f, q), EPERM);
	tear_down(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(starts_lazily_and_stops_after_the_last_task),
		cmocka_unit_test(an_option_is_there_while_a_task_asks_for_it),
		cmocka_unit_test(a_task_whose_signals_cannot_be_attached_is_refused),
		cmocka_unit_test(an_admitted_task_that_never_started_stops_nothing),
		cmocka_unit_test(a_start_that_fails_frees_the_slot_and_stops),
		cmocka_unit_test(a_target_added_in_mid_task_is_seeded_at_once),
		cmocka_unit_test(the_worker_ends_a_task_ten_seconds_after_its_duration),
		cmocka_unit_test(
			an_extension_is_under_the_policy_and_a_refused_one_changes_nothing),
		cmocka_unit_test(peers_come_from_the_task_under_the_policy),
		cmocka_unit_test(snapshots_stream_and_tell_an_error_at_the_end),
		cmocka_unit_test(an_agent_that_does_not_read_ends_the_answer),
		cmocka_unit_test(a_reused_pid_is_not_taken),
		cmocka_unit_test(a_target_that_ended_before_the_attach_is_not_handed_over),
		cmocka_unit_test(a_task_whose_targets_all_ended_before_the_attach_does_not_start),
		cmocka_unit_test(every_request_type_is_answered_by_one_end),
		cmocka_unit_test(refuses_what_it_does_not_know),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
