/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench-calls: what the option execution time costs, as JSON: ns a system call of a process that is no target, and
 * ns a send and a receive of a target, each without the collector, with it, and with the option. The best of many
 * short rounds, as what else runs only makes one longer. Root.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/log.h"
#include "collect/collector.h"

#define ROUNDS 1000
#define CALLS 50

enum what {
	WHAT_GETPPID,
	WHAT_READ_NULL,
	WHAT_SEND,
	WHAT_RECV,
	WHAT_MAX
};
static const char *const names[WHAT_MAX] = {"getppid", "read_dev_null", "send", "recv"};

enum with {
	WITH_NOTHING,
	WITH_COLLECTOR,
	WITH_OPTION,
	WITH_MAX
};
static const char *const with_names[WITH_MAX] = {"bare", "collector", "execution_time"};

static int null_fd, client, server;

static int raise_nothing(void *ctx, uint64_t caps)
{
	return 0;
}

static void drop_nothing(void *ctx)
{
}

static int ignore_reply(void *ctx, struct sonde_probe_reply *reply)
{
	return 0;
}

static ssize_t call(enum what what)
{
	char byte = 'x';

	switch (what) {
	case WHAT_GETPPID:
		return syscall(SYS_getppid);
	case WHAT_READ_NULL:
		return read(null_fd, &byte, 1);
	case WHAT_SEND:
		return send(client, &byte, 1, 0);
	default:
		return recv(server, &byte, 1, 0);
	}
}

/* So that each receive finds its byte and each send room. */
static void prepare(enum what what)
{
	char bytes[CALLS] = {0};

	if (what == WHAT_RECV)
		(void)send(client, bytes, sizeof(bytes), 0);
	else if (what == WHAT_SEND)
		(void)recv(server, bytes, sizeof(bytes), MSG_DONTWAIT);
}

static double best(enum what what)
{
	uint64_t least = UINT64_MAX;

	for (unsigned int i = 0; i < ROUNDS; i++) {
		uint64_t start, took;

		prepare(what);
		start = sonde_mono_ns();
		for (unsigned int k = 0; k < CALLS; k++)
			(void)call(what);
		took = sonde_mono_ns() - start;
		if (took < least)
			least = took;
	}
	return (double)least / CALLS;
}

/* In a child: it is a target only if this process is one by then. */
static int in_child(enum what what, double *ret)
{
	int ends[2], status = 0;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	pid = fork();
	if (pid == 0) {
		double ns = best(what);

		_exit(write(ends[1], &ns, sizeof(ns)) == sizeof(ns) ? 0 : 1);
	}
	(void)close(ends[1]);
	if (pid < 0 || read(ends[0], ret, sizeof(*ret)) != sizeof(*ret))
		status = -EIO;
	(void)close(ends[0]);
	if (pid > 0)
		(void)waitpid(pid, NULL, 0);
	return status;
}

static int connect_pair(void)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(to);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (listener < 0 || client < 0 || bind(listener, (struct sockaddr *)&to, sizeof(to)) < 0 ||
	    listen(listener, 1) < 0 || getsockname(listener, (struct sockaddr *)&to, &len) < 0 ||
	    connect(client, (struct sockaddr *)&to, sizeof(to)) < 0)
		return -errno;
	server = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	(void)close(listener);
	return server < 0 ? -errno : 0;
}

static int measure(void *state, bool target, double ns[WITH_MAX][WHAT_MAX], enum with with)
{
	static const struct sonde_collect_sink sink = {ignore_reply, NULL};
	enum what first = target ? WHAT_SEND : WHAT_GETPPID;
	int r = 0;

	if (state)
		r = sonde_collector_tcp.set_options(
			state, with == WITH_OPTION ? SONDE_PROBE_OPTION_EXECUTION_TIME : 0, sink);
	for (unsigned int i = first; r == 0 && i < first + 2; i++)
		r = in_child(i, &ns[with][i]);
	return r;
}

/* First nobody is a target, then this process, whose children inherit that. */
static int measure_all(double ns[WITH_MAX][WHAT_MAX])
{
	static const struct sonde_collect_config config = {.max_cells = 64,
							   .max_targets = 64,
							   .cgroup_fd = -1,
							   .raise = raise_nothing,
							   .drop = drop_nothing};
	struct sonde_collect_timing timing = {0};
	void *state = NULL;
	int r;

	r = measure(NULL, false, ns, WITH_NOTHING);
	if (r == 0)
		r = measure(NULL, true, ns, WITH_NOTHING);
	if (r == 0)
		r = sonde_collector_tcp.start(
			&config, (struct sonde_collect_sink){ignore_reply, NULL}, &timing, &state);
	for (unsigned int with = WITH_COLLECTOR; r == 0 && with < WITH_MAX; with++)
		r = measure(state, false, ns, with);
	if (r == 0)
		r = sonde_collector_tcp.target_add(state, (uint32_t)getpid(), 1);
	if (r == 0)
		r = sonde_collector_tcp.seed(state, &timing);
	for (unsigned int with = WITH_COLLECTOR; r == 0 && with < WITH_MAX; with++)
		r = measure(state, true, ns, with);
	(void)sonde_collector_tcp.stop(state, &timing);
	return r;
}

int main(void)
{
	double ns[WITH_MAX][WHAT_MAX];
	int r;

	sonde_log_set_program("bench-calls");
	null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	r = null_fd < 0 ? -errno : connect_pair();
	if (r == 0)
		r = measure_all(ns);
	if (r < 0)
		return sonde_log_err(r, "measured nothing") != 0;
	(void)printf("{");
	for (unsigned int i = 0; i < WHAT_MAX; i++) {
		(void)printf("%s\"%s\": {", i ? ", " : "", names[i]);
		for (unsigned int k = 0; k < WITH_MAX; k++)
			(void)printf("%s\"%s\": %.1f", k ? ", " : "", with_names[k], ns[k][i]);
		(void)printf("}");
	}
	(void)printf("}\n");
	return 0;
}
