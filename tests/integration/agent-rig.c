/* SPDX-License-Identifier: Apache-2.0 */
#include "agent-rig.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/num.h"
#include "host/proc.h"
#include "test-folder.h"
#include "wire/message.h"

/* The children: this program again, so that their command lines name them. */

static int echo(int c)
{
	char buf[4096];
	ssize_t k;

	while ((k = read(c, buf, sizeof(buf))) > 0) {
		for (ssize_t done = 0, w; done < k; done += w) {
			w = write(c, buf + done, (size_t)(k - done));
			if (w < 0)
				return -errno;
		}
	}
	return 0;
}

static int echo_server(bool forks)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(a);
	int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)signal(SIGCHLD, SIG_IGN); /* no zombies */
	if (bind(s, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(s, 16) < 0 ||
	    getsockname(s, (struct sockaddr *)&a, &n) < 0)
		return 1;
	(void)printf("%u\n", ntohs(a.sin_port));
	(void)fflush(stdout);
	for (;;) {
		struct pollfd p[2] = {{.fd = s, .events = POLLIN}, {.fd = 0, .events = POLLIN}};
		int c;

		if (poll(p, 2, -1) < 0 || p[1].revents)
			return 0;
		c = accept4(s, NULL, NULL, SOCK_CLOEXEC);
		if (!forks) {
			if (echo(c) < 0)
				return 1;
		} else if (fork() == 0) {
			_exit(echo(c) < 0);
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

pid_t agent_rig_spawn(const char *const argv[], int *ret_in, int *ret_out)
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

void agent_rig_read_line(int fd, char *buf, size_t size)
{
	size_t n = 0;
	struct pollfd p = {.fd = fd, .events = POLLIN};

	while (n < size - 1) {
		assert_int_equal(poll(&p, 1, AGENT_RIG_WAIT_MS), 1);
		assert_int_equal(read(fd, buf + n, 1), 1);
		if (buf[n++] == '\n')
			break;
	}
	buf[n] = '\0';
}

void agent_rig_start_client(struct rig *r)
{
	char port[8];
	const char *const argv[] = {"/proc/self/exe", "echo-client", port, NULL};

	(void)snprintf(port, sizeof(port), "%u", r->port);
	r->client = agent_rig_spawn(argv, &r->client_in, &r->client_out);
}

void agent_rig_start_unnamed_client(struct rig *r)
{
	char port[8];
	const char *const argv[] = {"/proc/self/exe", "echo-client", port, "unnamed", NULL};

	(void)snprintf(port, sizeof(port), "%u", r->port);
	r->client = agent_rig_spawn(argv, &r->client_in, &r->client_out);
}

void agent_rig_start_server(struct rig *r)
{
	agent_rig_start_server_as(r, "echo-server");
}

void agent_rig_start_server_as(struct rig *r, const char *how)
{
	const char *const argv[] = {"/proc/self/exe", how, NULL};
	char line[16];
	uint64_t port = 0;

	r->server = agent_rig_spawn(argv, &r->server_in, &r->server_out);
	agent_rig_read_line(r->server_out, line, sizeof(line));
	line[strcspn(line, "\n")] = '\0';
	assert_ok(sonde_parse_u64(line, 1, 65535, &port));
	r->port = (uint16_t)port;
}

/* Whether the kernel has a socket at this port but the listening one; who closed first waits at the other's. */
static bool has_connection(uint16_t port)
{
	_cleanup_free_ char *line = NULL;
	size_t size = 0;
	bool found = false;
	FILE *f = fopen("/proc/net/tcp", "re");

	assert_non_null(f);
	while (!found && getline(&line, &size, f) > 0) {
		unsigned local = 0, tcp_state = 0;
		/* NOLINTNEXTLINE(cert-err34-c): the kernel's own numbers */
		const int n = sscanf(line, " %*u: %*x:%x %*x:%*x %x", &local, &tcp_state);

		found = n == 2 && local == port && tcp_state != TCP_LISTEN;
	}
	(void)fclose(f);
	return found;
}

void agent_rig_talk(struct rig *r, unsigned n)
{
	const uint64_t end_ns = sonde_mono_ns() + AGENT_RIG_WAIT_MS * SONDE_NS_PER_MS;
	const struct timespec pause = {.tv_nsec = 1000000};
	char line[16];

	(void)snprintf(line, sizeof(line), "%u\n", n);
	assert_int_equal(write(r->client_in, line, strlen(line)), strlen(line));
	agent_rig_read_line(r->client_out, line, sizeof(line));
	assert_string_equal(line, "ok\n");
	while (has_connection(r->port)) { /* the server has its own time to see the end */
		assert_true(sonde_mono_ns() < end_ns);
		(void)nanosleep(&pause, NULL);
	}
}

void agent_rig_start_agent(struct rig *r, const char *extra)
{
	static const char both[] =
		"    - { command: '^/proc/self/exe (echo|fork)-server$', service: echo, instance: one, process_name: server }\n"
		"    - { command: '^/proc/self/exe echo-client [0-9]+$', service: echo, instance: one, process_name: client }\n";
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
	(void)fprintf(f,
		      "backend: { port: %u, poll: 200ms, heartbeat: %s, deadline: 20s }\n"
		      "log: { level: info }\n"
		      "processes:\n"
		      "  scan: %s\n"
		      "  rules:\n"
		      "%s%s",
		      r->backend.port, r->heartbeat ? r->heartbeat : "1s",
		      r->scan ? r->scan : "500ms", r->rules ? r->rules : both, extra);
	assert_int_equal(fclose(f), 0);
	r->agent = fork();
	assert_true(r->agent >= 0);
	if (r->agent == 0) {
		int log = open(r->log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (log < 0 || dup2(log, 2) < 0)
			_exit(1);
		if (r->wrapper)
			(void)execlp("sh", "sh", "-c", r->wrapper, "sh", agent, "--config", path,
				     state, probe, (char *)NULL);
		else
			(void)execl(agent, "sonde-agent", "--config", path, state, probe,
				    (char *)NULL);
		_exit(127);
	}
}

int agent_rig_set_up(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	(void)snprintf(r->dir, sizeof(r->dir), "/tmp/sonde-agent-XXXXXX");
	assert_ok(sonde_test_folder_make(r->dir));
	(void)snprintf(r->log, sizeof(r->log), "%s/agent.log", r->dir);
	assert_true(sd_event_new(&r->event) >= 0);
	*state = r;
	return 0;
}

void agent_rig_end_child(pid_t *pid, int sig)
{
	if (*pid <= 0)
		return;
	(void)kill(*pid, sig);
	(void)waitpid(*pid, NULL, 0);
	*pid = 0;
}

int agent_rig_tear_down(void **state)
{
	struct rig *r = *state;

	agent_rig_end_child(&r->agent, r->wrapper_ends ? SIGKILL : SIGTERM);
	agent_rig_end_child(&r->client, SIGKILL);
	agent_rig_end_child(&r->server, SIGKILL);
	agent_double_done(&r->backend);
	(void)sd_event_unref(r->event);
	(void)sonde_test_folder_remove(
		r->dir); /* the worker of an agent that was killed may still be in it */
	free(r);
	return 0;
}

/* What is waited for. */

bool agent_rig_knows_both(struct agent_double *d, void *arg)
{
	const struct rig *r = arg;

	return agent_double_process(d, (uint32_t)r->server) &&
	       agent_double_process(d, (uint32_t)r->client);
}

struct wait {
	const char *task;
	const char *state;
};

static bool agent_rig_has_state(const Sonde__V1__TaskReport *r, const char *state)
{
	for (size_t i = 0; i < r->n_states; i++) {
		if (strcmp(r->states[i]->state, state) == 0)
			return true;
	}
	return false;
}

static bool agent_rig_reached(struct agent_double *d, void *arg)
{
	const struct wait *w = arg;

	for (size_t i = 0; i < d->n_reports; i++) {
		if (strcmp(d->reports[i]->task_id, w->task) == 0 &&
		    agent_rig_has_state(d->reports[i], w->state))
			return true;
	}
	return false;
}

static bool agent_rig_ended(struct agent_double *d, void *arg)
{
	const Sonde__V1__TaskReport *r = agent_double_report(d, arg);

	return r && r->end;
}

static bool agent_rig_watches(struct agent_double *d, void *arg)
{
	return d->watch != NULL;
}

static bool never(struct agent_double *d, void *arg)
{
	return false;
}

void agent_rig_pause_ms(struct rig *r, unsigned ms)
{
	(void)agent_double_run(&r->backend, never, NULL, ms);
}

struct double_command *agent_rig_command(struct rig *r, const char *id, const char *spec)
{
	struct double_command *c = &r->backend.commands[r->backend.n_commands++];

	(void)snprintf(c->id, sizeof(c->id), "%s", id);
	(void)snprintf(c->extension, sizeof(c->extension), "%s", spec);
	c->update_ms = sonde_wall_ms() + (int64_t)r->backend.n_commands;
	c->start_ms = sonde_wall_ms();
	c->duration_s = 3;
	return c;
}

void agent_rig_begin(struct rig *r, bool extension)
{
	assert_ok(agent_double_start(&r->backend, r->event, extension, 0));
	agent_rig_start_server(r);
	agent_rig_start_client(r);
	agent_rig_start_agent(r, "");
	assert_true(agent_double_run(&r->backend, agent_rig_knows_both, r, AGENT_RIG_WAIT_MS));
}

void agent_rig_wait_state(struct rig *r, const char *task, const char *state)
{
	struct wait w = {task, state};

	assert_true(agent_double_run(&r->backend, agent_rig_reached, &w, AGENT_RIG_WAIT_MS));
}

void agent_rig_wait_end(struct rig *r, const char *task)
{
	union {
		const char *in;
		void *out;
	} u = {.in = task};

	assert_true(agent_double_run(&r->backend, agent_rig_ended, u.out, AGENT_RIG_WAIT_MS));
}

void agent_rig_stop_task(struct rig *r, const char *task, const char *why)
{
	Sonde__V1__Control control = SONDE__V1__CONTROL__INIT;
	Sonde__V1__Stop stop = SONDE__V1__STOP__INIT;
	uint8_t buf[128];

	assert_true(agent_double_run(&r->backend, agent_rig_watches, NULL, AGENT_RIG_WAIT_MS));
	stop.task_id = sonde_wire_text(task);
	stop.reason = sonde_wire_text(why);
	control.action_case = SONDE__V1__CONTROL__ACTION_STOP;
	control.stop = &stop;
	assert_true(sonde__v1__control__get_packed_size(&control) <= sizeof(buf));
	assert_ok(sonde_grpc_server_call_send(r->backend.watch, buf,
					      sonde__v1__control__pack(&control, buf)));
}

unsigned agent_rig_log_count(const struct rig *r, const char *text)
{
	static char log[8 * 1024 * 1024];
	unsigned n = 0;
	FILE *f = fopen(r->log, "re");
	size_t len;

	if (!f) /* not started yet */
		return 0;
	len = fread(log, 1, sizeof(log) - 1, f);
	(void)fclose(f);
	assert_true(len < sizeof(log) - 1); /* else there may be more of it */
	log[len] = '\0';
	for (const char *p = log; (p = strstr(p, text)); p++)
		n++;
	return n;
}

struct line {
	const struct rig *r;
	const char *text;
};

static bool agent_rig_is_logged(struct agent_double *d, void *arg)
{
	const struct line *l = arg;

	return agent_rig_log_count(l->r, l->text) > 0;
}

void agent_rig_wait_line(struct rig *r, const char *text)
{
	struct line l = {r, text};

	if (!agent_double_run(&r->backend, agent_rig_is_logged, &l, AGENT_RIG_WAIT_MS))
		fail_msg("the agent does not say: %s", text);
}

void agent_rig_assert_sum(const struct rig *r, const char *task, const char *name,
			  const char *label, double want)
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

/* What each meter of a talk counts. */
enum talk_count {
	TALK_BYTES = 0,
	TALK_CONNECTIONS,
	TALK_MESSAGES,
	_TALK_COUNT_MAX
};

static const struct talk_meter {
	const char *name, *label;
	enum talk_count counts;
} talk_meters[] = {
	{"sonde_net_sent_bytes_total", "side=client", TALK_BYTES},
	{"sonde_net_received_bytes_total", "side=client", TALK_BYTES},
	{"sonde_net_sent_bytes_total", "side=server", TALK_BYTES},
	{"sonde_net_received_bytes_total", "side=server", TALK_BYTES},
	{"sonde_net_connections_opened_total", "side=client", TALK_CONNECTIONS},
	{"sonde_net_connections_accepted_total", "side=server", TALK_CONNECTIONS},
	{"sonde_net_connections_closed_total", "closer=local,kind=fin", TALK_CONNECTIONS},
	{"sonde_net_connections_closed_total", "closer=remote,kind=fin", TALK_CONNECTIONS},
	{"rover_net_p_client_write_bytes_counter", NULL, TALK_BYTES},
	{"rover_net_p_server_read_bytes_counter", NULL, TALK_BYTES},
	{"rover_net_p_client_connect_counts_counter", NULL, TALK_CONNECTIONS},
	{"rover_net_p_server_connect_counts_counter", NULL, TALK_CONNECTIONS},
	{"rover_net_p_client_close_counts_counter", NULL, TALK_CONNECTIONS},
	{"rover_net_p_client_write_counts_counter", NULL, TALK_MESSAGES},
};

struct talk {
	const char *task;
	double counts[_TALK_COUNT_MAX];
};

static struct talk agent_rig_talk_of(const char *task, unsigned connections, unsigned messages)
{
	return (struct talk){task, {(double)messages * MESSAGE, connections, messages}};
}

static bool agent_rig_talk_is_told(struct agent_double *d, void *arg)
{
	const struct talk *talk = arg;

	for (size_t i = 0; i < ELEMENTS_OF(talk_meters); i++) {
		const struct talk_meter *m = &talk_meters[i];

		if (agent_double_sum(d, talk->task, m->name, m->label) != talk->counts[m->counts])
			return false;
	}
	return true;
}

void agent_rig_wait_talk(struct rig *r, const char *task, unsigned connections, unsigned messages)
{
	struct talk talk = agent_rig_talk_of(task, connections, messages);

	(void)agent_double_run(&r->backend, agent_rig_talk_is_told, &talk, AGENT_RIG_WAIT_MS);
	agent_rig_check_talk(r, task, connections,
			     messages); /* or which meter has something else */
}

void agent_rig_check_talk(const struct rig *r, const char *task, unsigned connections,
			  unsigned messages)
{
	const struct talk talk = agent_rig_talk_of(task, connections, messages);

	for (size_t i = 0; i < ELEMENTS_OF(talk_meters); i++)
		agent_rig_assert_sum(r, task, talk_meters[i].name, talk_meters[i].label,
				     talk.counts[talk_meters[i].counts]);
}

void agent_rig_assert_weakened_by_nothing(const struct rig *r, const char *task)
{
	const Sonde__V1__TaskReport *report = agent_double_report(&r->backend, task);

	for (size_t i = 0; i < report->n_ledger; i++) {
		if (report->ledger[i]->weakens)
			fail_msg("%s: %llu", report->ledger[i]->site,
				 (unsigned long long)report->ledger[i]->count);
	}
}

/* The one child of @pid; 0 if there is none. */
uint32_t agent_rig_child_of(int proc, uint32_t pid)
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

uint64_t agent_rig_ledger(const Sonde__V1__TaskReport *report, const char *site)
{
	for (size_t i = 0; i < report->n_ledger; i++) {
		if (strcmp(report->ledger[i]->site, site) == 0)
			return report->ledger[i]->count;
	}
	return 0;
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

int agent_rig_main_(int argc, char **argv, const char *name, const struct CMUnitTest *tests,
		    size_t n)
{
	if (argc == 2 && strcmp(argv[1], "echo-server") == 0)
		return echo_server(false);
	if (argc == 2 && strcmp(argv[1], "fork-server") == 0)
		return echo_server(true);
	if (argc >= 3 && strcmp(argv[1], "echo-client") == 0)
		return echo_client(argv[2]);
	if (!bpf_is_allowed()) {
		(void)fprintf(stderr, "needs root and BPF\n");
		return SONDE_EXIT_SKIP;
	}
	(void)signal(SIGPIPE, SIG_IGN);
	if (argc == 2)
		cmocka_set_test_filter(argv[1]);
	return _cmocka_run_group_tests(name, tests, n, NULL, NULL);
}
