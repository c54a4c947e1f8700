/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench-collector: the TCP collector over connections of this process, as JSON:
 * a plan, then the fastest of some rounds of open, load, attach and detach (what
 * else the machine does only makes them longer), seed, and the time of a snapshot
 * at 100, 1,000 and 9,000 connections (both ends are targets; medians). Root.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "collect/collector.h"

#define CONNECTIONS_MAX 9000
#define ROUNDS 21
#define STARTS 5

struct pair {
	int client, server;
};

static struct pair pairs[CONNECTIONS_MAX];
static unsigned int n_pairs;

static int listen_on_loopback(struct sockaddr_in *ret)
{
	socklen_t len = sizeof(*ret);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*ret = (struct sockaddr_in){.sin_family = AF_INET,
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)ret, sizeof(*ret)) < 0 || listen(fd, 128) < 0 ||
	    getsockname(fd, (struct sockaddr *)ret, &len) < 0) {
		int r = -errno;

		(void)close(fd);
		return r;
	}
	return fd;
}

static int connect_until(unsigned int n, int listener, const struct sockaddr_in *to)
{
	while (n_pairs < n) {
		struct pair *p = &pairs[n_pairs];

		p->client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (p->client < 0)
			return -errno;
		if (connect(p->client, (const struct sockaddr *)to, sizeof(*to)) < 0)
			return -errno;
		p->server = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		if (p->server < 0)
			return -errno;
		n_pairs++;
	}
	return 0;
}

/* One request and one answer on every connection, so that each has something to tell. */
static int talk(void)
{
	char byte = 'x';

	for (unsigned int i = 0; i < n_pairs; i++) {
		if (send(pairs[i].client, &byte, 1, 0) != 1 ||
		    recv(pairs[i].server, &byte, 1, 0) != 1 ||
		    send(pairs[i].server, &byte, 1, 0) != 1 ||
		    recv(pairs[i].client, &byte, 1, 0) != 1)
			return -EIO;
	}
	return 0;
}

static int raise_nothing(void *ctx, uint64_t caps)
{
	return 0;
}

static void drop_nothing(void *ctx)
{
}

static int count_reply(void *ctx, struct sonde_probe_reply *reply)
{
	uint64_t *n = ctx;

	(*n)++;
	return 0;
}

static int ascending(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static int snapshot_times(void *state, unsigned int connections, int listener,
			  const struct sockaddr_in *to)
{
	uint64_t took[ROUNDS], records = 0;
	struct sonde_collect_sink sink = {count_reply, &records};
	int r;

	r = connect_until(connections, listener, to);
	for (unsigned int i = 0; r == 0 && i < ROUNDS; i++) {
		uint64_t start;

		r = talk();
		if (r < 0)
			break;
		records = 0;
		start = sonde_mono_ns();
		r = sonde_collector_tcp.snapshot(state, sink);
		took[i] = sonde_mono_ns() - start;
	}
	if (r < 0)
		return sonde_log_err(r, "at %u connections", connections);
	qsort(took, ROUNDS, sizeof(took[0]), ascending);
	(void)printf("%s{\"connections\": %u, \"median_ns\": %" PRIu64 ", \"max_ns\": %" PRIu64
		     ", \"records\": %" PRIu64 "}",
		     connections == 100 ? "" : ", ", connections, took[ROUNDS / 2],
		     took[ROUNDS - 1], records);
	return 0;
}

static void keep_least(uint64_t *least, uint64_t ns)
{
	if (*least == 0 || ns < *least)
		*least = ns;
}

/* What the load itself takes, whatever else runs on the machine: nearly all of it is the verifier's and libbpf's. */
static uint64_t cpu_ns(void)
{
	struct timespec t = {0};

	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * SONDE_NS_PER_S + (uint64_t)t.tv_nsec;
}

/* As a task does: a plan, which asks the kernel what it has, then a start. */
static int start_times(const struct sonde_collect_config *config, struct sonde_collect_sink sink,
		       struct sonde_collect_timing *best)
{
	uint64_t start = sonde_mono_ns(), cpu_least = 0;
	int r = sonde_collector_tcp.plan(config, sink);

	(void)printf("\"plan_ns\": %" PRIu64 ", ", sonde_mono_ns() - start);
	for (unsigned int i = 0; i < STARTS && r == 0; i++) {
		struct sonde_collect_timing timing = {0};
		uint64_t cpu = cpu_ns();
		void *state = NULL;

		r = sonde_collector_tcp.start(config, sink, &timing, &state);
		keep_least(&cpu_least, cpu_ns() - cpu);
		(void)sonde_collector_tcp.stop(state, &timing);
		if (r < 0)
			break;
		keep_least(&best->open_ns, timing.open_ns);
		keep_least(&best->load_ns, timing.load_ns);
		keep_least(&best->attach_ns, timing.attach_ns);
		keep_least(&best->detach_ns, timing.detach_ns);
	}
	(void)printf("\"start_cpu_ns\": %" PRIu64 ", ", cpu_least);
	return r;
}

int main(void)
{
	static const unsigned int sizes[] = {100, 1000, CONNECTIONS_MAX};
	struct sonde_collect_config config = {.max_cells = 4096,
					      .max_targets = 1024,
					      .cgroup_fd = -1,
					      .raise = raise_nothing,
					      .drop = drop_nothing};
	struct sonde_collect_timing best = {0}, timing = {0};
	uint64_t records = 0;
	struct sonde_collect_sink sink = {count_reply, &records};
	struct rlimit files = {2 * CONNECTIONS_MAX + 256, 2 * CONNECTIONS_MAX + 256};
	struct sockaddr_in to;
	void *state = NULL;
	int listener, r;

	sonde_log_set_program("bench-collector");
	if (setrlimit(RLIMIT_NOFILE, &files) < 0)
		return sonde_log_err(-errno, "cannot have %u descriptors",
				     (unsigned int)files.rlim_max) != 0;
	listener = listen_on_loopback(&to);
	if (listener < 0)
		return sonde_log_err(listener, "cannot listen") != 0;
	(void)printf("{");
	r = start_times(&config, sink, &best);
	if (r == 0)
		r = sonde_collector_tcp.start(&config, sink, &timing, &state);
	if (r == 0)
		r = sonde_collector_tcp.target_add(state, (uint32_t)getpid(), 1);
	if (r == 0)
		r = sonde_collector_tcp.seed(state, NULL);
	(void)printf("\"snapshots\": [");
	for (size_t i = 0; r == 0 && i < ELEMENTS_OF(sizes); i++)
		r = snapshot_times(state, sizes[i], listener, &to);
	if (r == 0)
		r = sonde_collector_tcp.seed(state, &timing); /* all of them again */
	(void)sonde_collector_tcp.stop(state, &timing);
	(void)printf("], \"open_ns\": %" PRIu64 ", \"load_ns\": %" PRIu64
		     ", \"attach_ns\": %" PRIu64 ", \"seed_sockets\": %u, \"seed_ns\": %" PRIu64
		     ", \"detach_ns\": %" PRIu64 "}\n",
		     best.open_ns, best.load_ns, best.attach_ns, 2 * n_pairs, timing.seed_ns,
		     best.detach_ns);
	return r == 0 ? 0 : sonde_log_err(r, "measured nothing") != 0;
}
