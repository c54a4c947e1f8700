/* SPDX-License-Identifier: Apache-2.0 */
/* Targets that change in mid-task: workers that are replaced, children, a process that ends and comes back. */
#include "agent-rig.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"

static unsigned count_targets(const struct rig *r, const char *task, const char *state)
{
	const Sonde__V1__TaskReport *report = agent_double_report(&r->backend, task);
	unsigned n = 0;

	for (size_t i = 0; i < report->n_targets; i++)
		n += strcmp(report->targets[i]->state, state) == 0;
	return n;
}

static void assert_no_pid_twice(const struct rig *r, const char *task)
{
	const Sonde__V1__TaskReport *report = agent_double_report(&r->backend, task);

	for (size_t i = 0; i < report->n_targets; i++) {
		for (size_t k = 0; k < i; k++)
			assert_int_not_equal(report->targets[i]->pid, report->targets[k]->pid);
	}
}

struct census {
	const struct rig *r;
	const char *task, *state;
	unsigned n;
};

static bool has_targets(struct agent_double *d, void *arg)
{
	const struct census *c = arg;

	return count_targets(c->r, c->task, c->state) == c->n;
}

/* Until the newest report has @n targets in @state. */
static void wait_targets(struct rig *r, const char *task, const char *state, unsigned n)
{
	struct census c = {r, task, state, n};

	assert_true(agent_double_run(&r->backend, has_targets, &c, AGENT_RIG_WAIT_MS));
}

/* A forking server: each connection's child lives for that connection. */

static void every_childs_traffic_is_the_tasks(void **state)
{
	struct rig *r = *state;

	assert_ok(agent_double_start(&r->backend, r->event, true, 0));
	agent_rig_start_server_as(r, "fork-server");
	agent_rig_start_client(r);
	agent_rig_start_agent(r, "");
	assert_true(agent_double_run(&r->backend, agent_rig_knows_both, r, AGENT_RIG_WAIT_MS));
	(void)agent_rig_command(r, "forks", SPEC(60000, "{\"service\":\"echo\"}"));
	agent_rig_wait_state(r, "forks", "running");
	for (unsigned i = 0; i < 12; i++) {
		agent_rig_talk(r, 10);
		agent_rig_pause_ms(r, 100);
	}
	wait_targets(r, "forks", "gone", 12);
	agent_rig_stop_task(r, "forks", "all was said");
	agent_rig_wait_end(r, "forks");
	agent_rig_check_talk(r, "forks", 12, 120);
	agent_rig_assert_weakened_by_nothing(r, "forks");
	assert_no_pid_twice(r, "forks");
	assert_int_equal(count_targets(r, "forks", "found"), 2);
	assert_int_equal(count_targets(r, "forks", "gone"), 12);
}

/* What a task begins with names who is missing, why, and who is one process to the backend. */

static bool said(const struct agent_double *d, const char *words)
{
	for (size_t i = 0; i < d->n_reports; i++) {
		for (size_t n = 0; n < d->reports[i]->n_states; n++) {
			if (strstr(d->reports[i]->states[n]->words, words))
				return true;
		}
	}
	return false;
}

static pid_t start_sleep(void)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void)execlp("sleep", "sleep", "300", NULL);
		_exit(127);
	}
	return pid;
}

static void a_plan_names_who_is_missing_and_who_is_one(void **state)
{
	pid_t a = start_sleep(), b = start_sleep();
	char spec[300], alike[160];
	struct rig *r = *state;

	agent_rig_begin(r, true);
	/* 4194304 is no pid: PID_MAX_LIMIT */
	(void)snprintf(
		spec, sizeof(spec),
		SPEC(1000, "{\"pid\":%d},{\"pid\":4194304},{\"pid\":%d},{\"service\":\"none\"}"),
		r->client, (int)a);
	(void)agent_rig_command(r, "some", spec);
	agent_rig_wait_end(r, "some");
	assert_true(said(&r->backend,
			 "2 of 4 targets live; not pid 4194304: no such process on this "
			 "machine (nor 1 other)"));
	(void)snprintf(alike, sizeof(alike),
		       "; pids %d and %d are shown as one process, for both are 'sleep'", (int)a,
		       (int)b);
	assert_false(said(&r->backend, "shown as one process"));
	(void)snprintf(spec, sizeof(spec), SPEC(1000, "{\"pid\":%d},{\"pid\":%d}"), (int)a, (int)b);
	(void)agent_rig_command(r, "two", spec);
	agent_rig_wait_end(r, "two");
	assert_true(said(&r->backend, alike));
	agent_rig_end_child(&a, SIGKILL);
	agent_rig_end_child(&b, SIGKILL);
}

/* A process that ends and comes back. */

static bool has_restarted(struct agent_double *d, void *arg)
{
	const Sonde__V1__TaskReport *report = agent_double_report(d, "back");
	const struct rig *r = arg;

	for (size_t i = 0; report && i < report->n_targets; i++) {
		if (report->targets[i]->pid == r->client &&
		    strcmp(report->targets[i]->state, "found") == 0)
			return true;
	}
	return false;
}

static bool client_has_left(struct agent_double *d, void *arg)
{
	const Sonde__V1__TaskReport *report = agent_double_report(d, "back");

	for (size_t i = 0; report && i < report->n_targets; i++) {
		if (strcmp(report->targets[i]->state, "gone") == 0)
			return true;
	}
	return false;
}

static void one_that_comes_back_under_its_name_takes_the_others_place(void **state)
{
	struct rig *r = *state;
	int32_t before;

	agent_rig_begin(r, true);
	(void)agent_rig_command(r, "back", SPEC(60000, "{\"service\":\"echo\"}"));
	agent_rig_wait_state(r, "back", "running");
	agent_rig_talk(r, 10);
	before = r->client;
	agent_rig_end_child(&r->client, SIGKILL);
	assert_true(agent_double_run(&r->backend, client_has_left, r, AGENT_RIG_WAIT_MS));
	agent_rig_start_client(r);
	assert_true(agent_double_run(&r->backend, has_restarted, r, AGENT_RIG_WAIT_MS));
	agent_rig_talk(r, 7);
	agent_rig_stop_task(r, "back", "all was said");
	agent_rig_wait_end(r, "back");
	agent_rig_check_talk(r, "back", 2, 17);
	assert_int_equal(count_targets(r, "back", "restarted"), 1);
	assert_int_equal(count_targets(r, "back", "found"), 2);
	assert_int_not_equal(before, r->client);
	assert_no_pid_twice(r, "back");
}

/* A process that no rule names, named by its pid. */

static bool knows_client(struct agent_double *d, void *arg)
{
	const struct rig *r = arg;

	return agent_double_process(d, (uint32_t)r->client);
}

static void begin_unnamed(struct rig *r, const char *scan)
{
	r->scan = scan;
	r->heartbeat =
		"60s"; /* it would tell of the process too, much later than a task can wait */
	assert_ok(agent_double_start(&r->backend, r->event, true, 0));
	agent_rig_start_server(r);
	agent_rig_start_unnamed_client(r);
	agent_rig_start_agent(r, "");
}

/* Its edge has the client's own end alone: the server is no target. */
static void check_unnamed(struct rig *r, const char *task, unsigned messages)
{
	double bytes = (double)messages * MESSAGE;

	agent_rig_stop_task(r, task, "all was said");
	agent_rig_wait_end(r, task);
	assert_true(agent_double_process(&r->backend, (uint32_t)r->client));
	agent_rig_assert_sum(r, task, "sonde_net_connections_opened_total", "side=client", 1);
	agent_rig_assert_sum(r, task, "sonde_net_sent_bytes_total", "side=client", bytes);
	agent_rig_assert_sum(r, task, "rover_net_p_client_write_bytes_counter", NULL, bytes);
	agent_rig_assert_weakened_by_nothing(r, task);
	assert_int_equal(count_targets(r, task, "found"), 1);
}

static void a_pid_that_no_rule_names_has_its_edge(void **state)
{
	struct rig *r = *state;
	char spec[200];

	begin_unnamed(r, "500ms");
	agent_rig_pause_ms(r, 1500); /* some scans, which name it no more than the first */
	assert_null(agent_double_process(&r->backend, (uint32_t)r->client));
	(void)snprintf(spec, sizeof(spec), SPEC(60000, "{\"pid\":%d}"), r->client);
	(void)agent_rig_command(r, "unnamed", spec);
	agent_rig_wait_state(r, "unnamed", "running");
	agent_rig_talk(r, 10);
	assert_true(agent_double_run(&r->backend, knows_client, r, AGENT_RIG_WAIT_MS));
	check_unnamed(r, "unnamed", 10);
}

/* A task that is over before the next scan: the server is told of the process at once. */
static void a_pid_that_no_rule_names_is_told_before_the_next_scan(void **state)
{
	struct rig *r = *state;
	char spec[200];

	begin_unnamed(r, "60s");
	(void)snprintf(spec, sizeof(spec), SPEC(60000, "{\"pid\":%d}"), r->client);
	(void)agent_rig_command(r, "short", spec);
	agent_rig_wait_state(r, "short", "running");
	agent_rig_talk(r, 10);
	check_unnamed(r, "short", 10);
}

/* A wrapper that a task names by its pid, and that then gives its place to the program. */

static void start_wrapped_client(struct rig *r)
{
	static const char script[] = "read go; exec \"$0\" \"$@\"";
	char self[256], port[8];
	const char *const argv[] = {"/bin/sh",	   "-c", script,    self,
				    "echo-client", port, "unnamed", NULL};
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	assert_true(n > 0);
	self[n] = '\0';
	(void)snprintf(port, sizeof(port), "%u", r->port);
	r->client = agent_rig_spawn(argv, &r->client_in, &r->client_out);
}

static const Sonde__V1__TargetState *only_target(const struct agent_double *d, const char *task)
{
	const Sonde__V1__TaskReport *report = agent_double_report(d, task);

	return report && report->n_targets == 1 ? report->targets[0] : NULL;
}

static bool has_followed(struct agent_double *d, void *arg)
{
	const Sonde__V1__TargetState *t = only_target(d, arg);

	return t && strcmp(t->reason, "was sh before its exec") == 0;
}

static void a_target_that_execs_is_named_after_what_it_runs(void **state)
{
	const struct double_process *known;
	const Sonde__V1__TargetState *target;
	struct rig *r = *state;
	char task[] = "exec", spec[200];

	r->scan = "500ms";
	r->heartbeat = "60s";
	assert_ok(agent_double_start(&r->backend, r->event, true, 0));
	agent_rig_start_server(r);
	start_wrapped_client(r);
	agent_rig_start_agent(r, "");
	(void)snprintf(spec, sizeof(spec), SPEC(60000, "{\"pid\":%d}"), r->client);
	(void)agent_rig_command(r, task, spec);
	agent_rig_wait_state(r, task, "running");
	assert_true(agent_double_run(&r->backend, knows_client, r, AGENT_RIG_WAIT_MS));
	assert_string_equal(agent_double_process(&r->backend, (uint32_t)r->client)->name, "sh");
	assert_string_equal(only_target(&r->backend, task)->name, "sh");

	assert_int_equal(write(r->client_in, "go\n", 3), 3);
	assert_true(agent_double_run(&r->backend, has_followed, task, 50000));
	known = agent_double_process(&r->backend, (uint32_t)r->client);
	target = only_target(&r->backend, task);
	assert_string_equal(known->name, "test-agent-targ"); /* a comm has 15 letters */
	assert_string_equal(target->name, known->name);
	assert_string_equal(target->process_id, known->id);
	assert_string_equal(target->state, "found");
	agent_rig_talk(r, 10);
	agent_rig_stop_task(r, task, "seen enough");
	agent_rig_wait_end(r, task);
	agent_rig_assert_sum(r, task, "sonde_net_connections_opened_total", "side=client", 1);
	agent_rig_assert_sum(r, task, "sonde_net_sent_bytes_total", "side=client", 10.0 * MESSAGE);
	agent_rig_assert_weakened_by_nothing(r, task);
}

/* nginx, one master and two workers, reloaded in mid-task. */

struct nginx {
	pid_t pid;
	uint16_t port;
	uint64_t requests, sent, received; /* as this client counts */
};

static const char request_text[] = "GET / HTTP/1.0\r\n\r\n";

static bool fetch(struct nginx *n)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	_cleanup_close_ int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char buf[8192];
	ssize_t k;

	a.sin_port = htons(n->port);
	if (connect(s, (struct sockaddr *)&a, sizeof(a)) < 0)
		return false;
	if (write(s, request_text, sizeof(request_text) - 1) != sizeof(request_text) - 1)
		return false;
	n->requests++;
	n->sent += sizeof(request_text) - 1;
	while ((k = read(s, buf, sizeof(buf))) > 0)
		n->received += (uint64_t)k;
	return k == 0;
}

static uint16_t free_port(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	_cleanup_close_ int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t n = sizeof(a);

	assert_int_equal(bind(s, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(getsockname(s, (struct sockaddr *)&a, &n), 0);
	return ntohs(a.sin_port);
}

static bool copy(const char *from, const char *to)
{
	int status = -1;
	pid_t pid = fork();

	if (pid == 0) {
		(void)execlp("cp", "cp", "-L", from, to, (char *)NULL);
		_exit(127);
	}
	return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

static bool start_nginx(struct rig *r, struct nginx *n)
{
	char path[128], program[128], error[160];
	FILE *f;

	/* A copy: the rule names just this one and no other test's. */
	(void)snprintf(path, sizeof(path), "%s/nginx", r->dir);
	if (!copy("/usr/sbin/nginx", path))
		return false;
	n->port = free_port();
	(void)snprintf(path, sizeof(path), "%s/nginx.conf", r->dir);
	(void)snprintf(error, sizeof(error), "%s/nginx.log", r->dir);
	f = fopen(path, "we");
	assert_non_null(f);
	(void)fprintf(
		f,
		"daemon off; pid %s/nginx.pid; error_log %s warn; worker_processes 2;\n"
		"worker_shutdown_timeout 1s; events { worker_connections 64; }\n"
		"http { access_log off; server { listen 127.0.0.1:%u; return 200 'hello, all of "
		"you'; } }\n",
		r->dir, error, n->port);
	assert_int_equal(fclose(f), 0);
	n->pid = fork();
	assert_true(n->pid >= 0);
	if (n->pid == 0) {
		(void)snprintf(program, sizeof(program), "%s/nginx", r->dir);
		(void)execl(program, "nginx", "-c", path, "-e", error, (char *)NULL);
		_exit(127);
	}
	for (unsigned i = 0; i < AGENT_RIG_WAIT_MS / 50 && !fetch(n); i++)
		agent_rig_pause_ms(r, 50);
	return n->requests > 0;
}

static bool knows_nginx(struct agent_double *d, void *arg)
{
	const struct nginx *n = arg;
	unsigned named = 0;

	for (size_t i = 0; i < d->n_processes; i++)
		named += strcmp(d->processes[i].service, "web") == 0;
	return named >= 3 && agent_double_process(d, (uint32_t)n->pid);
}

/* Asks all the while until the pair of workers that was there is gone, the @nth of them. */
static void reload(struct rig *r, struct nginx *n, unsigned nth)
{
	for (unsigned i = 0; i < 40 || count_targets(r, "reload", "gone") < 2 * nth; i++) {
		assert_true(i < AGENT_RIG_WAIT_MS / 20);
		assert_true(fetch(n));
		if (i == 10)
			assert_int_equal(kill(n->pid, SIGHUP), 0);
		agent_rig_pause_ms(r, 20);
	}
}

static void requests_through_replaced_workers_all_count(void **state)
{
	struct rig *r = *state;
	struct nginx n = {0};
	char rule[200], spec[200];

	assert_ok(agent_double_start(&r->backend, r->event, true, 0));
	if (!start_nginx(r, &n)) {
		(void)fprintf(stderr, "no nginx here\n");
		agent_rig_end_child(&n.pid, SIGTERM);
		skip();
	}
	(void)snprintf(rule, sizeof(rule),
		       "    - { executable: '%s/nginx', service: web, instance: one, "
		       "process_name: nginx }\n",
		       r->dir);
	agent_rig_start_agent(r, rule);
	assert_true(agent_double_run(&r->backend, knows_nginx, &n, AGENT_RIG_WAIT_MS));
	(void)snprintf(spec, sizeof(spec), SPEC(60000, "{\"service\":\"web\"}"));
	(void)agent_rig_command(r, "reload", spec);
	agent_rig_wait_state(r, "reload", "running");
	n.requests = n.sent = n.received = 0;
	reload(r, &n, 1);
	reload(r, &n, 2);
	agent_rig_stop_task(r, "reload", "all was said");
	agent_rig_wait_end(r, "reload");
	agent_rig_end_child(&n.pid, SIGTERM);
	agent_rig_assert_sum(r, "reload", "sonde_net_connections_accepted_total", "side=server",
			     (double)n.requests);
	agent_rig_assert_sum(r, "reload", "sonde_net_received_bytes_total", "side=server",
			     (double)n.sent);
	agent_rig_assert_sum(r, "reload", "sonde_net_sent_bytes_total", "side=server",
			     (double)n.received);
	agent_rig_assert_weakened_by_nothing(r, "reload");
	assert_no_pid_twice(r, "reload");
	/* the master, and of each of three pairs of workers the last lives */
	assert_int_equal(count_targets(r, "reload", "found"), 1);
	assert_int_equal(count_targets(r, "reload", "forked"), 2);
	assert_int_equal(count_targets(r, "reload", "gone"), 4);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest targets[] = {
		AGENT_RIG_TEST(every_childs_traffic_is_the_tasks),
		AGENT_RIG_TEST(a_plan_names_who_is_missing_and_who_is_one),
		AGENT_RIG_TEST(one_that_comes_back_under_its_name_takes_the_others_place),
		AGENT_RIG_TEST(a_pid_that_no_rule_names_has_its_edge),
		AGENT_RIG_TEST(a_pid_that_no_rule_names_is_told_before_the_next_scan),
		AGENT_RIG_TEST(a_target_that_execs_is_named_after_what_it_runs),
		AGENT_RIG_TEST(requests_through_replaced_workers_all_count),
	};

	return agent_rig_main(argc, argv, targets);
}
