/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent and its probe against the double of a backend, with real TCP on loopback between processes of
 * this test: what the server has in the end is what the processes sent. Needs root and BPF; else skipped.
 */
#include "sonde-test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/num.h"
#include "doubles/agent-backend.h"
#include "host/proc.h"

#define MESSAGE 1000

struct rig {
	char dir[64];
	sd_event *event;
	struct agent_double backend;
	pid_t agent, server, client;
	int server_in, server_out; /* the server child's words */
	int client_in, client_out;
	uint16_t port;
	const char *wrapper; /* "unshare" or NULL */
};

/* The children: this program again, so that their command lines name them. */

static int echo_server(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(a);
	int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (bind(s, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(s, 16) < 0 ||
	    getsockname(s, (struct sockaddr *)&a, &n) < 0)
		return 1;
	(void)printf("%u\n", ntohs(a.sin_port));
	(void)fflush(stdout);
	for (;;) {
		struct pollfd p[2] = {{.fd = s, .events = POLLIN}, {.fd = 0, .events = POLLIN}};
		char buf[4096];
		ssize_t k;
		int c;

		if (poll(p, 2, -1) < 0 || p[1].revents)
			return 0;
		c = accept4(s, NULL, NULL, SOCK_CLOEXEC);
		while ((k = read(c, buf, sizeof(buf))) > 0) {
			for (ssize_t done = 0, w; done < k; done += w) {
				w = write(c, buf + done, (size_t)(k - done));
				if (w < 0)
					return 1;
			}
		}
		(void)close(c);
	}
}

/* "N": one connection with N messages, each echoed; then closes and says "ok". */
static int echo_client(const char *port_text)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	char line[32], buf[MESSAGE] = {0};
	uint64_t port = 0, count = 0;

	if (sonde_parse_u64(port_text, 1, 65535, &port) < 0)
		return 1;
	a.sin_port = htons((uint16_t)port);
	while (fgets(line, sizeof(line), stdin)) {
		int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

		line[strcspn(line, "\n")] = '\0';
		if (sonde_parse_u64(line, 0, 100000, &count) < 0 ||
		    connect(s, (struct sockaddr *)&a, sizeof(a)) < 0)
			return 1;
		for (; count; count--) {
			if (write(s, buf, MESSAGE) != MESSAGE ||
			    recv(s, buf, MESSAGE, MSG_WAITALL) != MESSAGE)
				return 1;
		}
		(void)close(s);
		(void)printf("ok\n");
		(void)fflush(stdout);
	}
	return 0;
}

static pid_t spawn(const char *const argv[], int *ret_in, int *ret_out)
{
	int in[2], out[2];
	pid_t pid;

	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		union {
			const char *const *in;
			char *const *out;
		} u = {.in = argv};

		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (dup2(in[0], 0) < 0 || dup2(out[1], 1) < 0)
			_exit(1);
		(void)execv(argv[0], u.out);
		_exit(127);
	}
	(void)close(in[0]);
	(void)close(out[1]);
	*ret_in = in[1];
	*ret_out = out[0];
	return pid;
}

static void read_line(int fd, char *buf, size_t size)
{
	size_t n = 0;
	struct pollfd p = {.fd = fd, .events = POLLIN};

	while (n < size - 1) {
		assert_int_equal(poll(&p, 1, 10000), 1);
		assert_int_equal(read(fd, buf + n, 1), 1);
		if (buf[n++] == '\n')
			break;
	}
	buf[n] = '\0';
}

static void start_client(struct rig *r)
{
	char port[8];
	const char *const argv[] = {"/proc/self/exe", "echo-client", port, NULL};

	(void)snprintf(port, sizeof(port), "%u", r->port);
	r->client = spawn(argv, &r->client_in, &r->client_out);
}

static void start_server(struct rig *r)
{
	static const char *const argv[] = {"/proc/self/exe", "echo-server", NULL};
	char line[16];
	uint64_t port = 0;

	r->server = spawn(argv, &r->server_in, &r->server_out);
	read_line(r->server_out, line, sizeof(line));
	line[strcspn(line, "\n")] = '\0';
	assert_ok(sonde_parse_u64(line, 1, 65535, &port));
	r->port = (uint16_t)port;
}

/* One connection of @n messages, begun and ended. The loop stands still meanwhile. */
static void talk(struct rig *r, unsigned n)
{
	char line[16];

	(void)snprintf(line, sizeof(line), "%u\n", n);
	assert_int_equal(write(r->client_in, line, strlen(line)), strlen(line));
	read_line(r->client_out, line, sizeof(line));
	assert_string_equal(line, "ok\n");
}

static void start_agent(struct rig *r, const char *extra)
{
	char path[128], state[128], probe[512];
	const char *agent = getenv("SONDE_AGENT");
	FILE *f;

	if (!agent)
		agent = "";

	(void)snprintf(path, sizeof(path), "%s/agent.yaml", r->dir);
	(void)snprintf(state, sizeof(state), "--state-dir=%s", r->dir);
	(void)snprintf(probe, sizeof(probe), "--probe=%s", getenv("SONDE_PROBE"));
	f = fopen(path, "we");
	assert_non_null(f);
	(void)fprintf(
		f,
		"backend: { port: %u, poll: 200ms, heartbeat: 1s, deadline: 3s }\n"
		"log: { level: info }\n"
		"processes:\n"
		"  scan: 500ms\n"
		"  rules:\n"
		"    - { command: 'echo-server$', service: echo, instance: one, process_name: server }\n"
		"    - { command: 'echo-client [0-9]+$', service: echo, instance: one, process_name: client }\n"
		"%s",
		r->backend.port, extra);
	assert_int_equal(fclose(f), 0);
	r->agent = fork();
	assert_true(r->agent >= 0);
	if (r->agent == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (r->wrapper)
			(void)execlp("unshare", "unshare", "-pf", "--mount-proc", "--kill-child",
				     agent, "--config", path, state, probe, (char *)NULL);
		else
			(void)execl(agent, "sonde-agent", "--config", path, state, probe,
				    (char *)NULL);
		_exit(127);
	}
}

static int set_up(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	(void)snprintf(r->dir, sizeof(r->dir), "/tmp/sonde-agent-XXXXXX");
	assert_non_null(mkdtemp(r->dir));
	assert_true(sd_event_new(&r->event) >= 0);
	*state = r;
	return 0;
}

static void end_child(pid_t *pid, int sig)
{
	if (*pid <= 0)
		return;
	(void)kill(*pid, sig);
	(void)waitpid(*pid, NULL, 0);
	*pid = 0;
}

static int tear_down(void **state)
{
	struct rig *r = *state;
	char path[128];

	end_child(&r->agent, r->wrapper ? SIGKILL : SIGTERM); /* unshare takes no SIGTERM */
	end_child(&r->client, SIGKILL);
	end_child(&r->server, SIGKILL);
	agent_double_done(&r->backend);
	(void)sd_event_unref(r->event);
	(void)snprintf(path, sizeof(path), "%s/agent.yaml", r->dir);
	(void)unlink(path);
	(void)snprintf(path, sizeof(path), "%s/bpf-ids", r->dir);
	(void)unlink(path);
	(void)rmdir(r->dir);
	free(r);
	return 0;
}

/* What is waited for. */

static bool knows_both(struct agent_double *d, void *arg)
{
	const struct rig *r = arg;

	return agent_double_process(d, (uint32_t)r->server) &&
	       agent_double_process(d, (uint32_t)r->client);
}

struct wait {
	const char *task;
	const char *state;
};

static bool has_state(const Sonde__V1__TaskReport *r, const char *state)
{
	for (size_t i = 0; i < r->n_states; i++) {
		if (strcmp(r->states[i]->state, state) == 0)
			return true;
	}
	return false;
}

static bool reached(struct agent_double *d, void *arg)
{
	const struct wait *w = arg;

	for (size_t i = 0; i < d->n_reports; i++) {
		if (strcmp(d->reports[i]->task_id, w->task) == 0 &&
		    has_state(d->reports[i], w->state))
			return true;
	}
	return false;
}

static bool ended(struct agent_double *d, void *arg)
{
	const Sonde__V1__TaskReport *r = agent_double_report(d, arg);

	return r && r->end;
}

static bool never(struct agent_double *d, void *arg)
{
	return false;
}

static void pause_ms(struct rig *r, unsigned ms)
{
	(void)agent_double_run(&r->backend, never, NULL, ms);
}

static struct double_command *command(struct rig *r, const char *id, const char *spec)
{
	struct double_command *c = &r->backend.commands[r->backend.n_commands++];

	(void)snprintf(c->id, sizeof(c->id), "%s", id);
	(void)snprintf(c->extension, sizeof(c->extension), "%s", spec);
	c->update_ms = sonde_wall_ms() + (int64_t)r->backend.n_commands;
	c->start_ms = sonde_wall_ms();
	c->duration_s = 3;
	return c;
}

static void begin(struct rig *r, bool extension)
{
	assert_ok(agent_double_start(&r->backend, r->event, extension, 0));
	start_server(r);
	start_client(r);
	start_agent(r, "");
	assert_true(agent_double_run(&r->backend, knows_both, r, 10000));
}

#define SPEC(ms, targets)                                                                          \
	"{\"Sonde\":{\"durationMs\":\"" #ms "\",\"reportIntervalMs\":500,\"targets\":[" targets    \
	"]}}"

static void wait_state(struct rig *r, const char *task, const char *state)
{
	struct wait w = {task, state};

	assert_true(agent_double_run(&r->backend, reached, &w, 15000));
}

static void wait_end(struct rig *r, const char *task)
{
	union {
		const char *in;
		void *out;
	} u = {.in = task};

	assert_true(agent_double_run(&r->backend, ended, u.out, 15000));
}

static void assert_sum(const struct rig *r, const char *task, const char *name, const char *label,
		       double want)
{
	double have = agent_double_sum(&r->backend, task, name, label);

	if (have == want)
		return;
	for (size_t i = 0; i < r->backend.n_rows; i++)
		(void)fprintf(stderr, "  %s %s{%s} %g\n", r->backend.rows[i].task,
			      r->backend.rows[i].name, r->backend.rows[i].labels,
			      r->backend.rows[i].sum);
	(void)fprintf(stderr, "%s %s{%s}: %g, not %g\n", task, name, label, have, want);
	fail();
}

static void check_talk(const struct rig *r, const char *task, unsigned connections,
		       unsigned messages)
{
	double bytes = (double)messages * MESSAGE;

	assert_sum(r, task, "sonde_net_sent_bytes_total", "side=client", bytes);
	assert_sum(r, task, "sonde_net_received_bytes_total", "side=client", bytes);
	assert_sum(r, task, "sonde_net_sent_bytes_total", "side=server", bytes);
	assert_sum(r, task, "sonde_net_received_bytes_total", "side=server", bytes);
	assert_sum(r, task, "sonde_net_connections_opened_total", "side=client", connections);
	assert_sum(r, task, "sonde_net_connections_accepted_total", "side=server", connections);
	assert_sum(r, task, "sonde_net_connections_closed_total", "closer=local,kind=fin",
		   connections);
	assert_sum(r, task, "sonde_net_connections_closed_total", "closer=remote,kind=fin",
		   connections);
	assert_sum(r, task, "rover_net_p_client_write_bytes_counter", NULL, bytes);
	assert_sum(r, task, "rover_net_p_server_read_bytes_counter", NULL, bytes);
	assert_sum(r, task, "rover_net_p_client_connect_counts_counter", NULL, connections);
	assert_sum(r, task, "rover_net_p_server_connect_counts_counter", NULL, connections);
	assert_sum(r, task, "rover_net_p_client_close_counts_counter", NULL, connections);
	assert_sum(r, task, "rover_net_p_client_write_counts_counter", NULL, messages);
}

static void assert_weakened_by_nothing(const struct rig *r, const char *task)
{
	const Sonde__V1__TaskReport *report = agent_double_report(&r->backend, task);

	for (size_t i = 0; i < report->n_ledger; i++) {
		if (report->ledger[i]->weakens)
			fail_msg("%s: %llu", report->ledger[i]->site,
				 (unsigned long long)report->ledger[i]->count);
	}
}

static void what_was_sent_is_what_the_server_has(void **state)
{
	struct rig *r = *state;
	const Sonde__V1__TaskReport *report;
	char labels[300];

	begin(r, true);
	(void)command(r, "exact", SPEC(3000, "{\"service\":\"echo\"}"));
	wait_state(r, "exact", "running");
	for (unsigned i = 0; i < 10; i++) {
		talk(r, 20);
		pause_ms(r, 150);
	}
	wait_end(r, "exact");
	check_talk(r, "exact", 10, 200);
	/* both ends are known, so each names the other */
	(void)snprintf(labels, sizeof(labels),
		       "client_process_id=%s,server_process_id=%s,server_port=%u",
		       agent_double_process(&r->backend, (uint32_t)r->client)->id,
		       agent_double_process(&r->backend, (uint32_t)r->server)->id, r->port);
	assert_sum(r, "exact", "sonde_net_sent_bytes_total", labels, 200.0 * MESSAGE);
	assert_int_equal(r->backend.misplaced, 0);
	assert_int_equal(r->backend.doubled_labels, 0);
	assert_int_equal(r->backend.duplicates, 0);
	report = agent_double_report(&r->backend, "exact");
	assert_string_equal(report->result, "done");
	assert_int_equal(report->n_targets, 2);
	assert_non_null(report->idle_proof);
	assert_int_equal(report->idle_proof->bpf_fds_left, 0);
	assert_true(report->cost->report_bytes > 0);
	assert_true(report->cost->agent_rss_anon_bytes > 0);
	assert_string_equal(report->cost->encoding, "zstd");
	assert_weakened_by_nothing(r, "exact");
}

static void overlapping_tasks_are_each_exact(void **state)
{
	struct rig *r = *state;

	begin(r, true);
	(void)command(r, "first", SPEC(4000, "{\"service\":\"echo\"}"));
	wait_state(r, "first", "running");
	talk(r, 10);
	pause_ms(r, 200);
	(void)command(r, "second",
		      SPEC(1500, "{\"processName\":\"server\"},{\"processName\":\"client\"}"));
	wait_state(r, "second", "running");
	talk(r, 7);
	talk(r, 5);
	wait_end(r, "second");
	talk(r, 3);
	wait_end(r, "first");
	check_talk(r, "second", 2, 12);
	check_talk(r, "first", 4, 25);
	assert_weakened_by_nothing(r, "first");
	assert_weakened_by_nothing(r, "second");
}

static void a_restarted_server_loses_nothing(void **state)
{
	struct rig *r = *state;
	uint16_t port;

	begin(r, true);
	(void)command(r, "away", SPEC(5000, "{\"service\":\"echo\"}"));
	wait_state(r, "away", "running");
	talk(r, 10);
	pause_ms(r, 600);
	port = r->backend.port;
	agent_double_stop(&r->backend);
	talk(r, 20);
	pause_ms(r, 1500);
	talk(r, 30);
	assert_ok(agent_double_start(&r->backend, r->event, true, port));
	r->backend.fail_batches = 1;
	wait_end(r, "away");
	check_talk(r, "away", 3, 60);
}

static void a_pid_that_does_not_exist_is_gone_and_the_rest_runs(void **state)
{
	struct rig *r = *state;
	const Sonde__V1__TaskReport *report;

	begin(r, true);
	(void)command(r, "none", SPEC(1000, "{\"pid\":4194000}"));
	wait_end(r, "none");
	report = agent_double_report(&r->backend, "none");
	assert_string_equal(report->result, "refused");
	assert_int_equal(report->n_targets, 1);
	assert_string_equal(report->targets[0]->state, "gone");
	(void)command(r, "some", SPEC(1500, "{\"pid\":4194000},{\"processName\":\"client\"}"));
	wait_state(r, "some", "running");
	talk(r, 4);
	wait_end(r, "some");
	report = agent_double_report(&r->backend, "some");
	assert_string_equal(report->result, "done");
	assert_int_equal(report->n_targets, 2);
	assert_sum(r, "some", "sonde_net_sent_bytes_total", "side=client", 4.0 * MESSAGE);
	assert_sum(r, "some", "sonde_net_sent_bytes_total", "side=server", 0);
}

static void a_bad_spec_is_refused_in_words(void **state)
{
	struct rig *r = *state;
	const Sonde__V1__TaskReport *report;

	begin(r, true);
	(void)command(r, "bad", "{\"Sonde\":{\"durationMs\":\"x\",\"targets\":[{\"pid\":1}]}}");
	wait_end(r, "bad");
	report = agent_double_report(&r->backend, "bad");
	assert_string_equal(report->result, "refused");
	assert_non_null(strstr(report->reason, "durationMs"));
}

static void a_stop_ends_it_early(void **state)
{
	struct rig *r = *state;
	Sonde__V1__Control control = SONDE__V1__CONTROL__INIT;
	Sonde__V1__Stop stop = SONDE__V1__STOP__INIT;
	static char id[] = "long", why[] = "enough seen";
	uint8_t buf[128];
	size_t n;

	begin(r, true);
	(void)command(r, "long", SPEC(60000, "{\"service\":\"echo\"}"));
	wait_state(r, "long", "running");
	talk(r, 6);
	assert_non_null(r->backend.watch);
	stop.task_id = id;
	stop.reason = why;
	control.action_case = SONDE__V1__CONTROL__ACTION_STOP;
	control.stop = &stop;
	n = sonde__v1__control__pack(&control, buf);
	assert_ok(sonde_grpc_server_call_send(r->backend.watch, buf, n));
	wait_end(r, "long");
	assert_string_equal(agent_double_report(&r->backend, "long")->result, "stopped");
	assert_string_equal(agent_double_report(&r->backend, "long")->reason, "enough seen");
	check_talk(r, "long", 1, 6);
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

	begin(r, false);
	for (unsigned i = 0; i < 2; i++) {
		c = command(r, i ? "oap-2" : "oap-1", "null");
		(void)snprintf(c->processes, sizeof(c->processes), "%s,%s,unknown",
			       agent_double_process(&r->backend, (uint32_t)r->server)->id,
			       agent_double_process(&r->backend, (uint32_t)r->client)->id);
		c->duration_s = 4;
	}
	pause_ms(r, 1500);
	talk(r, 8);
	assert_true(agent_double_run(&r->backend, together_has, &want, 8000));
	pause_ms(r, 3000);
	assert_sum(r, "-", "rover_net_p_client_write_bytes_counter", NULL, want);
	assert_sum(r, "-", "rover_net_p_server_read_bytes_counter", NULL, want);
	assert_int_equal(r->backend.n_reports, 0);
}

static void sigterm_flushes_what_was_seen(void **state)
{
	struct rig *r = *state;
	uint64_t began;
	pid_t pid = 0;

	begin(r, true);
	(void)command(r, "cut", SPEC(60000, "{\"service\":\"echo\"}"));
	wait_state(r, "cut", "running");
	talk(r, 9);
	began = sonde_mono_ns();
	assert_int_equal(kill(r->agent, SIGTERM), 0);
	while (pid == 0 && sonde_mono_ns() - began < 4 * SONDE_NS_PER_S) {
		pause_ms(r, 50);
		pid = waitpid(r->agent, NULL, WNOHANG);
	}
	assert_int_equal(pid, r->agent);
	r->agent = 0;
	assert_true(sonde_mono_ns() - began < 3 * SONDE_NS_PER_S);
	assert_true(agent_double_report(&r->backend, "cut")->end);
	check_talk(r, "cut", 1, 9);
}

static void the_agent_holds_no_capability_while_a_task_runs(void **state)
{
	struct rig *r = *state;
	_cleanup_close_ int proc = sonde_proc_open("/proc");
	struct sonde_proc_status s;

	begin(r, true);
	(void)command(r, "caps", SPEC(1000, "{\"service\":\"echo\"}"));
	wait_state(r, "caps", "running");
	assert_ok(sonde_proc_read_status(proc, (uint32_t)r->agent, &s));
	assert_int_equal(s.cap_permitted, 0);
	assert_int_equal(s.cap_effective, 0);
	wait_end(r, "caps");
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
	start_server(r);
	start_client(r);
	r->wrapper = "unshare";
	start_agent(r, "    - { executable: '*/sonde-agent', service: itself }\n");
	assert_true(agent_double_run(&r->backend, knows_any_server, r, 10000));
	assert_null(agent_double_process(&r->backend, (uint32_t)r->server));
	(void)snprintf(spec, sizeof(spec), SPEC(1000, "{\"pid\":%d}"), r->server);
	(void)command(r, "outside", spec);
	wait_end(r, "outside");
	report = agent_double_report(&r->backend, "outside");
	assert_string_equal(report->result, "refused");
	assert_string_equal(report->targets[0]->state, "gone");
	(void)command(r, "inside", SPEC(1500, "{\"service\":\"itself\"}"));
	wait_end(r, "inside");
	assert_string_equal(agent_double_report(&r->backend, "inside")->result, "done");
	/* its own connection to the backend */
	assert_true(agent_double_sum(&r->backend, "inside", "sonde_net_sent_bytes_total",
				     "side=client") > 0);
}

/* The one child of @pid; 0 if there is none. */
static uint32_t child_of(int proc, uint32_t pid)
{
	_cleanup_free_ uint32_t *pids = NULL;
	struct sonde_proc_stat s;
	size_t n = 0;

	assert_ok(sonde_proc_list(proc, 100000, &pids, &n));
	for (size_t i = 0; i < n; i++) {
		if (sonde_proc_read_stat(proc, pids[i], &s) == 0 && s.ppid == pid)
			return pids[i];
	}
	return 0;
}

static uint64_t ledger(const Sonde__V1__TaskReport *report, const char *site)
{
	for (size_t i = 0; i < report->n_ledger; i++) {
		if (strcmp(report->ledger[i]->site, site) == 0)
			return report->ledger[i]->count;
	}
	return 0;
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

	begin(r, true);
	(void)command(r, "died", SPEC(6000, "{\"service\":\"echo\"}"));
	wait_state(r, "died", "running");
	talk(r, 10);
	pause_ms(r, 700); /* reported */
	worker = child_of(proc, child_of(proc, (uint32_t)r->agent));
	assert_true(worker > 1);
	assert_int_equal(kill((pid_t)worker, SIGKILL), 0);
	assert_true(agent_double_run(&r->backend, runs_again, r, 10000));
	talk(r, 30);
	wait_end(r, "died");
	report = agent_double_report(&r->backend, "died");
	assert_string_equal(report->result, "done");
	assert_int_equal(ledger(report, "worker_restarted"), 1);
	check_talk(r, "died", 2, 40);
}

static bool bpf_is_allowed(void)
{
	const char *agent = getenv("SONDE_AGENT");
	char command_line[1200];

	if (geteuid() != 0 || !agent || !getenv("SONDE_PROBE"))
		return false;
	(void)snprintf(command_line, sizeof(command_line),
		       "'%s' --check-bpf '--probe=%s' >/dev/null 2>&1", agent,
		       getenv("SONDE_PROBE"));
	return system(command_line) == 0; /* NOLINT(cert-env33-c): paths are the build's own */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(what_was_sent_is_what_the_server_has),
		TEST(overlapping_tasks_are_each_exact),
		TEST(a_restarted_server_loses_nothing),
		TEST(a_pid_that_does_not_exist_is_gone_and_the_rest_runs),
		TEST(a_bad_spec_is_refused_in_words),
		TEST(a_stop_ends_it_early),
		TEST(to_a_backend_that_adds_a_process_goes_out_once),
		TEST(sigterm_flushes_what_was_seen),
		TEST(a_dead_worker_is_replaced_and_the_task_says_so),
		TEST(the_agent_holds_no_capability_while_a_task_runs),
		TEST(in_a_pid_namespace_others_are_gone),
	};

	if (argc == 2 && strcmp(argv[1], "echo-server") == 0)
		return echo_server();
	if (argc == 3 && strcmp(argv[1], "echo-client") == 0)
		return echo_client(argv[2]);
	if (!bpf_is_allowed()) {
		(void)fprintf(stderr, "needs root and BPF\n");
		return SONDE_EXIT_SKIP;
	}
	(void)signal(SIGPIPE, SIG_IGN);
	if (argc == 2)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
