/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's client against a real sonde-probe: life, death, capabilities, and what the probe answers. */
#include "sonde-test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "agent/probe-spawn.h"
#include "host/privilege.h"
#include "probe-rig.h"

#define CAPS                                                                                       \
	(SONDE_CAP(CAP_BPF) | SONDE_CAP(CAP_PERFMON) | SONDE_CAP(CAP_NET_ADMIN) |                  \
	 SONDE_CAP(CAP_SYS_PTRACE) | SONDE_CAP(CAP_DAC_READ_SEARCH))

#define NO_CAPS "0000000000000000"

static void check_capabilities(uint32_t pid)
{
	char caps[17];

	(void)snprintf(caps, sizeof(caps), "%016llx", CAPS);
	assert_true(rig_status_is(pid, "CapPrm", caps));
	assert_true(rig_status_is(pid, "CapEff", NO_CAPS));
	assert_true(rig_status_is(pid, "CapInh", NO_CAPS));
	assert_true(rig_status_is(pid, "CapBnd", NO_CAPS));
	assert_true(rig_status_is(pid, "CapAmb", NO_CAPS));
	assert_true(rig_status_is(pid, "NoNewPrivs", "1"));
	assert_true(rig_status_is(pid, "Seccomp", "2"));
}

static void keeper_and_worker_hold_five_capabilities_and_none_in_effect(void **state)
{
	struct rig rig;

	rig_start(&rig, NULL);
	assert_int_equal(rig.hello.restarts, 0);
	assert_int_equal(rig.hello.bpf_error, 0);
	check_capabilities(rig.hello.keeper_pid);
	check_capabilities(rig.hello.worker_pid);
	rig_stop(&rig);
}

/* In a child: what is given up does not come back. */
static void the_agent_keeps_no_capability(void **state)
{
	int status;
	pid_t pid;

	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		const uint32_t self = (uint32_t)getpid();
		bool ok = sonde_privilege_drop_all() == 0;

		ok = ok && rig_status_is(self, "CapPrm", NO_CAPS);
		ok = ok && rig_status_is(self, "CapEff", NO_CAPS);
		ok = ok && rig_status_is(self, "CapBnd", NO_CAPS);
		ok = ok && rig_status_is(self, "NoNewPrivs", "1");
		ok = ok && unshare(CLONE_NEWNET) < 0 && errno == EPERM;
		_exit(ok ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void a_killed_worker_is_forked_again_and_says_so(void **state)
{
	const struct sonde_probe_request request = {.type = SONDE_PROBE_SNAPSHOT};
	struct rig rig;
	uint32_t first;

	rig_start(&rig, NULL);
	first = rig.hello.worker_pid;
	assert_ok(kill((pid_t)first, SIGKILL));
	rig_wait(&rig, &rig.restarts);
	assert_int_equal(rig.hello.restarts, 1);
	assert_int_not_equal(rig.hello.worker_pid, first);
	check_capabilities(rig.hello.worker_pid);
	assert_ok(rig_call(&rig, &request));
	rig_stop(&rig);
}

static void requests_to_a_worker_that_dies_end_with_epipe(void **state)
{
	const struct sonde_probe_request request = {.type = SONDE_PROBE_LIST_PIDS};
	struct rig rig;

	rig_start(&rig, NULL);
	assert_ok(kill((pid_t)rig.hello.worker_pid, SIGSTOP));
	assert_ok(kill((pid_t)rig.hello.worker_pid, SIGKILL));
	assert_err(rig_call(&rig, &request), EPIPE);
	assert_int_equal(rig.restarts, 1);
	assert_ok(rig_call(&rig, &request));
	rig_stop(&rig);
}

static void a_keeper_gives_up_after_five_deaths(void **state)
{
	struct rig rig;

	rig_start(&rig, NULL);
	for (unsigned int i = 0; i < 4; i++) {
		rig.restarts = 0;
		assert_ok(kill((pid_t)rig.hello.worker_pid, SIGKILL));
		rig_wait(&rig, &rig.restarts);
		assert_int_equal(rig.hello.restarts, i + 1);
	}
	assert_ok(kill((pid_t)rig.hello.worker_pid, SIGKILL));
	rig_wait(&rig, &rig.gone);
	assert_non_null(strstr(rig.words, "died too often"));
	assert_err(rig_call(&rig, &(struct sonde_probe_request){.type = SONDE_PROBE_SNAPSHOT}),
		   EPIPE);
	rig_stop(&rig);
}

static void a_killed_keeper_takes_the_worker_with_it(void **state)
{
	struct rig rig;

	rig_start(&rig, NULL);
	assert_ok(kill((pid_t)rig.hello.keeper_pid, SIGKILL));
	rig_wait(&rig, &rig.gone);
	assert_non_null(strstr(rig.words, "signal 9"));
	assert_true(rig_gone(rig.hello.worker_pid));
	rig_stop(&rig);
}

/* The agent is a child here: it tells the pids and is killed. */
static void a_killed_agent_takes_both_with_it(void **state)
{
	struct sonde_probe_hello hello;
	int pipe_fds[2], status;
	pid_t agent;

	assert_ok(pipe(pipe_fds));
	agent = fork();
	assert_true(agent >= 0);
	if (agent == 0) {
		struct rig rig;

		rig_start(&rig, NULL);
		(void)!write(pipe_fds[1], &rig.hello, sizeof(rig.hello));
		rig_dir_remove(&rig);
		for (;;)
			(void)pause();
	}
	assert_int_equal(read(pipe_fds[0], &hello, sizeof(hello)), sizeof(hello));
	assert_ok(kill(agent, SIGKILL));
	assert_int_equal(waitpid(agent, &status, 0), agent);
	assert_true(rig_gone(hello.keeper_pid));
	assert_true(rig_gone(hello.worker_pid));
	(void)close(pipe_fds[0]);
	(void)close(pipe_fds[1]);
}

static void signals_to_the_whole_group_are_left_to_the_agent(void **state)
{
	const struct sonde_probe_request request = {.type = SONDE_PROBE_SNAPSHOT};
	struct rig rig;

	rig_start(&rig, NULL);
	assert_ok(kill((pid_t)rig.hello.keeper_pid, SIGTERM));
	assert_ok(kill((pid_t)rig.hello.worker_pid, SIGINT));
	assert_ok(rig_call(&rig, &request));
	assert_int_equal(rig.restarts, 0);
	rig_stop(&rig);
}

static void target_add_tells_a_reused_pid_and_a_gone_one(void **state)
{
	struct sonde_probe_request request = {
		.type = SONDE_PROBE_TASK_ADMIT,
		.task = 3,
		.duration_ns = 1000000000,
		.collectors = SONDE_PROBE_COLLECT_TCP,
	};
	struct rig rig;

	rig_start(&rig, NULL);
	assert_ok(rig_call(&rig, &request));
	request.type = SONDE_PROBE_TARGET_ADD;
	request.pid = (uint32_t)getpid();
	request.pid_start_ticks = rig_start_ticks(request.pid);
	assert_ok(rig_call(&rig, &request));
	request.pid_start_ticks++;
	assert_err(rig_call(&rig, &request), ESRCH);
	request.pid = 0x7ffffffe;
	assert_err(rig_call(&rig, &request), ESRCH);
	request.task = 4;
	assert_err(rig_call(&rig, &request), ENOENT);
	request = (struct sonde_probe_request){.type = SONDE_PROBE_TASK_END, .task = 3};
	assert_ok(rig_call(&rig, &request));
	assert_err(rig_call(&rig, &request), ENOENT);
	rig_stop(&rig);
}

static void the_policy_refuses_by_the_name_of_its_rule(void **state)
{
	static const char policy[] = "limits:\n"
				     "  max_duration: 10s\n"
				     "  max_tasks: 1\n"
				     "options: []\n"
				     "targets:\n"
				     "  rules:\n"
				     "    - name: not-the-test\n"
				     "      exe: ['*/test-probe']\n";
	struct sonde_probe_request admit = {
		.type = SONDE_PROBE_TASK_ADMIT,
		.duration_ns = 10000000000,
		.collectors = SONDE_PROBE_COLLECT_TCP,
	};
	struct sonde_probe_request target = {.type = SONDE_PROBE_TARGET_ADD};
	struct sonde_probe_request q;
	struct rig rig;

	rig_start(&rig, policy);
	assert_int_equal(rig.hello.max_tasks, 1);
	assert_true(rig.hello.max_duration_ns == 10000000000);
	q = admit;
	q.duration_ns++;
	assert_err(rig_call(&rig, &q), EPERM);
	assert_string_equal(rig.end.text, "limits.max_duration");
	q = admit;
	q.options = SONDE_PROBE_OPTION_EXECUTION_TIME;
	assert_err(rig_call(&rig, &q), EPERM);
	assert_string_equal(rig.end.text, "options");
	assert_ok(rig_call(&rig, &admit));
	q = admit;
	q.task = 1;
	assert_err(rig_call(&rig, &q), ENOSPC);
	assert_string_equal(rig.end.text, "limits.max_tasks");

	target.pid = (uint32_t)getpid();
	target.pid_start_ticks = rig_start_ticks(target.pid);
	assert_err(rig_call(&rig, &target), EPERM);
	assert_string_equal(rig.end.text, "not-the-test");
	target.pid = rig.hello.keeper_pid;
	target.pid_start_ticks = rig_start_ticks(target.pid);
	assert_ok(rig_call(&rig, &target));
	rig_stop(&rig);
}

static void expect_refused_policy(const char *text, uid_t owner, mode_t mode)
{
	struct sonde_probe_client_config config = {.path = getenv("SONDE_PROBE")};
	struct sonde_probe_child child;
	struct sonde_probe_reply reply;
	char words[128];
	struct rig rig = {0};
	int sock;

	rig_dir_make(&rig, text);
	assert_ok(chown(rig.policy, owner, 0));
	assert_ok(chmod(rig.policy, mode));
	config.policy = rig.policy;
	assert_ok(sonde_probe_spawn(&config, &sock, &child));
	sonde_probe_reap(&child, 60000, words, sizeof(words));
	assert_string_equal(words, "its arguments or the policy file are refused, see its log");
	assert_int_equal(recv(sock, &reply, sizeof(reply), 0), 0);
	(void)close(sock);
	rig_dir_remove(&rig);
}

static void a_policy_file_that_others_could_write_is_refused(void **state)
{
	expect_refused_policy("", 65534, 0644);
	expect_refused_policy("", 0, 0620);
	expect_refused_policy("", 0, 0602);
	expect_refused_policy("limits:\n  max_durations: 1s\n", 0, 0600);
	expect_refused_policy("limits: [\n", 0, 0600);
}

static void exe_is_read_and_a_long_one_is_marked(void **state)
{
	struct sonde_probe_request request = {.type = SONDE_PROBE_EXE};
	char exe[512] = {0};
	struct rig rig;

	rig_start(&rig, NULL);
	request.pid = (uint32_t)getpid();
	assert_ok(rig_call(&rig, &request));
	assert_int_equal(rig.n_records, 1);
	assert_true(readlink("/proc/self/exe", exe, sizeof(exe) - 1) > 0);
	assert_int_equal(rig.records[0].exe.pid, getpid());
	assert_int_equal(rig.records[0].exe.cut, strlen(exe) > 255);
	assert_memory_equal(rig.records[0].exe.path, exe, strlen(rig.records[0].exe.path));
	request.pid = 0x7ffffffe;
	assert_err(rig_call(&rig, &request), ESRCH);
	rig_stop(&rig);
}

static bool lists_pid(const struct rig *rig, uint32_t pid)
{
	for (size_t i = 0; i < rig->n_records; i++)
		for (uint32_t j = 0; j < rig->records[i].pids.n; j++)
			if (rig->records[i].pids.pid[j] == pid)
				return true;
	return false;
}

/* A process that waits until its end of the pipe is closed. */
static pid_t sleeper(uid_t uid, int *ret_fd)
{
	int fds[2];
	pid_t pid;

	assert_ok(pipe2(fds, O_CLOEXEC));
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		char c;

		(void)close(fds[1]);
		if (setresuid(uid, uid, uid) < 0)
			_exit(1);
		(void)!read(fds[0], &c, 1);
		_exit(0);
	}
	(void)close(fds[0]);
	*ret_fd = fds[1];
	return pid;
}

/* A mount namespace of its own, with a /proc that hides what one may not trace. */
static int hidepid_child(pid_t hidden)
{
	const struct sonde_probe_request request = {.type = SONDE_PROBE_LIST_PIDS};
	const struct sonde_probe_request exe = {.type = SONDE_PROBE_EXE, .pid = (uint32_t)hidden};
	char path[32];
	struct rig rig;
	bool seen;

	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("proc", "/proc", "proc", 0, "hidepid=4") < 0)
		return SONDE_EXIT_SKIP;
	rig_start(&rig, NULL);
	if (sonde_privilege_drop_all() < 0)
		return 2;
	(void)snprintf(path, sizeof(path), "/proc/%d", hidden);
	if (access(path, F_OK) == 0)
		return 3; /* hidepid does not hide: the test would prove nothing */
	if (rig_call(&rig, &request) < 0)
		return 4;
	seen = lists_pid(&rig, (uint32_t)hidden);
	if (rig_call(&rig, &exe) < 0)
		return 6;
	rig_stop(&rig);
	return seen ? 0 : 5;
}

static void pids_are_listed_under_hidepid(void **state)
{
	int status, fd;
	pid_t hidden, child;

	hidden = sleeper(65534, &fd);
	child = fork();
	assert_true(child >= 0);
	if (child == 0)
		_exit(hidepid_child(hidden));
	assert_int_equal(waitpid(child, &status, 0), child);
	(void)close(fd);
	assert_int_equal(waitpid(hidden, NULL, 0), hidden);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == SONDE_EXIT_SKIP)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* Listens in a network namespace of its own and writes the port, then waits. */
static pid_t listener_elsewhere(int *ret_fd, uint16_t *ret_port)
{
	int up[2], down[2];
	pid_t pid;

	assert_ok(pipe2(up, O_CLOEXEC));
	assert_ok(pipe2(down, O_CLOEXEC));
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct sockaddr_in addr = {.sin_family = AF_INET};
		socklen_t len = sizeof(addr);
		char c;
		int s;

		(void)close(down[1]);
		if (unshare(CLONE_NEWNET) < 0)
			_exit(1);
		s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (bind(s, (struct sockaddr *)&addr, sizeof(addr)) < 0 || listen(s, 1) < 0 ||
		    getsockname(s, (struct sockaddr *)&addr, &len) < 0)
			_exit(1);
		(void)!write(up[1], &addr.sin_port, sizeof(addr.sin_port));
		(void)!read(down[0], &c, 1);
		_exit(0);
	}
	(void)close(up[1]);
	(void)close(down[0]);
	assert_int_equal(read(up[0], ret_port, sizeof(*ret_port)), sizeof(*ret_port));
	(void)close(up[0]);
	*ret_port = ntohs(*ret_port);
	*ret_fd = down[1];
	return pid;
}

static const struct sonde_probe_listener *find_listener(const struct rig *rig, uint32_t pid,
							uint16_t port)
{
	for (size_t i = 0; i < rig->n_records; i++)
		if (rig->records[i].listener.pid == pid && rig->records[i].listener.port == port)
			return &rig->records[i].listener;
	return NULL;
}

static void listeners_of_every_network_namespace_are_found(void **state)
{
	const struct sonde_probe_request request = {.type = SONDE_PROBE_LISTENERS};
	static const uint8_t any[16], loopback[16] = {[10] = 0xff, 0xff, 127, 0, 0, 1};
	struct sockaddr_in addr = {.sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	const struct sonde_probe_listener *here, *there;
	socklen_t len = sizeof(addr);
	char path[32];
	struct stat st;
	struct rig rig;
	uint16_t port;
	pid_t pid;
	int fd, s;

	pid = listener_elsewhere(&fd, &port);
	s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_ok(bind(s, (struct sockaddr *)&addr, sizeof(addr)));
	assert_ok(listen(s, 1));
	assert_ok(getsockname(s, (struct sockaddr *)&addr, &len));

	rig_start(&rig, NULL);
	assert_ok(rig_call(&rig, &request));
	there = find_listener(&rig, (uint32_t)pid, port);
	here = find_listener(&rig, (uint32_t)getpid(), ntohs(addr.sin_port));
	assert_non_null(there);
	assert_non_null(here);
	assert_memory_equal(there->addr, any, sizeof(any));
	assert_memory_equal(here->addr, loopback, sizeof(loopback));
	(void)snprintf(path, sizeof(path), "/proc/%d/ns/net", pid);
	assert_ok(stat(path, &st));
	assert_int_equal(there->netns_inode, st.st_ino);
	assert_int_not_equal(there->netns_inode, here->netns_inode);
	assert_true(there->netns != 0 && here->netns != 0 && there->netns != here->netns);

	rig_stop(&rig);
	(void)close(s);
	(void)close(fd);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* In a child that has lost @cap for good: what is missing is known by name before any task. */
static int hello_without(int cap, const char *words)
{
	struct rig rig;
	pid_t pid;
	int status;

	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
			_exit(2);
		rig_start(&rig, NULL);
		status = rig.hello.bpf_error == EPERM && strcmp(rig.hello.missing, words) == 0;
		rig_stop(&rig);
		_exit(status ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void hello_names_the_capability_that_is_missing(void **state)
{
	assert_int_equal(hello_without(CAP_BPF, "CAP_BPF"), 0);
	assert_int_equal(hello_without(CAP_PERFMON, "CAP_PERFMON"), 0);
}

static void count_end(void *ctx, int error, const struct sonde_probe_end *end)
{
	int *last = ctx;

	*last = error;
}

static void a_request_that_is_too_late_ends_once(void **state)
{
	const struct sonde_probe_request request = {.type = SONDE_PROBE_SNAPSHOT};
	struct sonde_probe_client_stats stats;
	struct rig rig;
	int error = 1;

	rig_start(&rig, NULL);
	assert_ok(kill((pid_t)rig.hello.worker_pid, SIGSTOP));
	assert_ok(sonde_probe_client_request(rig.client, &request, 1000000,
					     (struct sonde_probe_call){NULL, count_end, &error}));
	while (error == 1)
		assert_true(sd_event_run(rig.event, 100000) >= 0);
	assert_err(error, ETIMEDOUT);
	assert_ok(kill((pid_t)rig.hello.worker_pid, SIGCONT));
	assert_ok(rig_call(&rig, &request)); /* behind the late answer, which is dropped */
	sonde_probe_client_stats(rig.client, &stats);
	assert_int_equal(stats.timeouts, 1);
	assert_int_equal(stats.late, 1);
	assert_int_equal(stats.pending, 0);
	rig_stop(&rig);
}

static void count_canceled(void *ctx, int error, const struct sonde_probe_end *end)
{
	unsigned int *canceled = ctx;

	*canceled += error == -ECANCELED;
}

static void the_queue_of_requests_is_bounded(void **state)
{
	const struct sonde_probe_request request = {.type = SONDE_PROBE_SNAPSHOT};
	struct sonde_probe_client_stats stats;
	unsigned int canceled = 0;
	const struct sonde_probe_call call = {NULL, count_canceled, &canceled};
	struct rig rig;

	rig_start(&rig, NULL);
	assert_ok(kill((pid_t)rig.hello.worker_pid, SIGSTOP));
	for (unsigned int i = 0; i < SONDE_PROBE_CLIENT_PENDING_MAX; i++)
		assert_ok(sonde_probe_client_request(rig.client, &request, 0, call));
	assert_err(sonde_probe_client_request(rig.client, &request, 0, call), ENOBUFS);
	sonde_probe_client_stats(rig.client, &stats);
	assert_int_equal(stats.refused, 1);
	assert_ok(kill((pid_t)rig.hello.worker_pid, SIGCONT));
	rig.client = sonde_probe_client_free(rig.client);
	assert_int_equal(canceled, SONDE_PROBE_CLIENT_PENDING_MAX);
	rig_stop(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keeper_and_worker_hold_five_capabilities_and_none_in_effect),
		cmocka_unit_test(the_agent_keeps_no_capability),
		cmocka_unit_test(a_killed_worker_is_forked_again_and_says_so),
		cmocka_unit_test(requests_to_a_worker_that_dies_end_with_epipe),
		cmocka_unit_test(a_keeper_gives_up_after_five_deaths),
		cmocka_unit_test(a_killed_keeper_takes_the_worker_with_it),
		cmocka_unit_test(a_killed_agent_takes_both_with_it),
		cmocka_unit_test(signals_to_the_whole_group_are_left_to_the_agent),
		cmocka_unit_test(target_add_tells_a_reused_pid_and_a_gone_one),
		cmocka_unit_test(the_policy_refuses_by_the_name_of_its_rule),
		cmocka_unit_test(a_policy_file_that_others_could_write_is_refused),
		cmocka_unit_test(exe_is_read_and_a_long_one_is_marked),
		cmocka_unit_test(pids_are_listed_under_hidepid),
		cmocka_unit_test(hello_names_the_capability_that_is_missing),
		cmocka_unit_test(a_request_that_is_too_late_ends_once),
		cmocka_unit_test(the_queue_of_requests_is_bounded),
		cmocka_unit_test(listeners_of_every_network_namespace_are_found),
	};

	rig_need_root();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
