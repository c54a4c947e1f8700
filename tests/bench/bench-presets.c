/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench-presets: what each preset costs, as JSON: programs attached, and by kernel.bpf_stats (run time without
 * the hook) ns a request of one end: a send, a read and what arrives, over loopback, both ends targets, and ns a run
 * of each program of these. By TCP over a connection that is kept; by UDP of a connected client and a server that
 * answers to the address that the datagram came from. Root.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "collect/collector.h"
#include "model/preset.h"

#define REQUESTS 20000
#define ROUNDS 5
#define IDS_MAX 128
#define CGROUP2 "/sys/fs/cgroup"
#define CGROUP2_ONLY "/sys/fs/cgroup/unified"

struct ids {
	uint32_t program[IDS_MAX];
	size_t n_programs, n_links;
};

static int raise_nothing(void *ctx, uint64_t caps)
{
	return 0;
}

static void drop_nothing(void *ctx)
{
}

static void note_id(void *ctx, char kind, uint32_t id, const char *tag)
{
	struct ids *ids = ctx;

	if (kind == 'p' && ids->n_programs < IDS_MAX)
		ids->program[ids->n_programs++] = id;
	ids->n_links += kind == 'l';
}

static int drop_reply(void *ctx, struct sonde_probe_reply *reply)
{
	return 0;
}

struct cost {
	char name[BPF_OBJ_NAME_LEN]; /* as the kernel cuts it */
	uint64_t ns, runs;
};

/* Of each program since it was loaded. Return: the sum of their ns. */
static uint64_t look(const struct ids *ids, struct cost costs[static IDS_MAX])
{
	uint64_t ns = 0;

	for (size_t i = 0; i < ids->n_programs; i++) {
		_cleanup_close_ int fd = bpf_prog_get_fd_by_id(ids->program[i]);
		struct bpf_prog_info info = {0};
		uint32_t size = sizeof(info);

		costs[i] = (struct cost){0};
		if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &size) < 0)
			continue;
		memcpy(costs[i].name, info.name, sizeof(costs[i].name));
		costs[i].ns = info.run_time_ns;
		costs[i].runs = info.run_cnt;
		ns += info.run_time_ns;
	}
	return ns;
}

/* What a run of each program took that requests cause; the few runs of others tell little. */
static void print_programs(size_t n, const struct cost *before, const struct cost *after)
{
	const char *joint = "";

	(void)printf(", \"run_ns\": {");
	for (size_t i = 0; i < n; i++) {
		const uint64_t runs = after[i].runs - before[i].runs;

		if (runs < REQUESTS)
			continue;
		(void)printf("%s\"%s\": %" PRIu64, joint, after[i].name,
			     (after[i].ns - before[i].ns) / runs);
		joint = ", ";
	}
	(void)printf("}}");
}

/* @ret: the client's and the server's end; of UDP the server's is not connected. */
static int connect_pair(int type, int ret[2])
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	_cleanup_close_ int server = socket(AF_INET, type | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(to);
	int one = 1;

	if (server < 0 || bind(server, (struct sockaddr *)&to, len) < 0 ||
	    (type == SOCK_STREAM && listen(server, 1) < 0) ||
	    getsockname(server, (struct sockaddr *)&to, &len) < 0)
		return -errno;
	ret[0] = socket(AF_INET, type | SOCK_CLOEXEC, 0);
	if (ret[0] < 0 || connect(ret[0], (struct sockaddr *)&to, len) < 0)
		return -errno;
	ret[1] = type == SOCK_STREAM ? accept4(server, NULL, NULL, SOCK_CLOEXEC) : TAKE_FD(server);
	if (ret[1] < 0)
		return -errno;
	for (int i = 0; type == SOCK_STREAM && i < 2; i++)
		(void)setsockopt(ret[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return 0;
}

static int talk(const int fds[2])
{
	char data[300] = "";

	for (int i = 0; i < REQUESTS; i++) {
		struct sockaddr_in from;
		socklen_t len = sizeof(from); /* 0 behind a read of TCP: no address */

		if (send(fds[0], data, 100, 0) != 100 ||
		    recvfrom(fds[1], data, 100, MSG_WAITALL, (struct sockaddr *)&from, &len) !=
			    100 ||
		    sendto(fds[1], data, 300, 0, len ? (struct sockaddr *)&from : NULL, len) !=
			    300 ||
		    recv(fds[0], data, 300, MSG_WAITALL) != 300)
			return -EIO;
	}
	return 0;
}

/* The fastest of some rounds: what else the machine does only makes them longer. */
static int measure(const struct sonde_preset *p, int cgroup_fd)
{
	bool udp = !(p->collectors & SONDE_PROBE_COLLECT_TCP);
	const struct sonde_collector *c = udp ? &sonde_collector_udp : &sonde_collector_tcp;
	struct ids ids = {0};
	struct sonde_collect_config config = {
		.max_cells = 1024,
		.max_targets = 16,
		.options = p->without_flows ? 0 : SONDE_PROBE_OPTION_FLOWS,
		.signals = p->signals,
		.cgroup_fd = cgroup_fd,
		.raise = raise_nothing,
		.drop = drop_nothing,
		.note_id = note_id,
		.ctx = &ids,
	};
	struct sonde_collect_sink sink = {.emit = drop_reply};
	_cleanup_close_ int stats = bpf_enable_stats(BPF_STATS_RUN_TIME);
	int fds[2] = {-1, -1}, r;
	struct cost costs[2][IDS_MAX], best_costs[2][IDS_MAX] = {0};
	uint64_t best = UINT64_MAX;
	void *state = NULL;
	size_t links;

	if (stats < 0)
		return -errno;
	r = c->start(&config, sink, NULL, &state);
	links = ids.n_links;
	if (r == 0)
		r = c->target_add(state, (uint32_t)getpid(), 1);
	if (r == 0)
		r = c->set_options(state, p->execution_time ? SONDE_PROBE_OPTION_EXECUTION_TIME : 0,
				   sink);
	if (r == 0)
		r = c->seed(state, NULL);
	if (r == 0)
		r = connect_pair(udp ? SOCK_DGRAM : SOCK_STREAM, fds);
	for (int i = 0; i < ROUNDS && r == 0; i++) {
		uint64_t before = look(&ids, costs[0]), ns;

		r = talk(fds);
		ns = look(&ids, costs[1]) - before;
		if (ns >= best)
			continue;
		best = ns;
		memcpy(best_costs, costs, sizeof(costs));
	}
	links = ids.n_links > links ? ids.n_links : links;
	(void)close(fds[0]);
	(void)close(fds[1]);
	(void)c->stop(state, NULL);
	if (r < 0)
		return r;
	(void)printf("\"%s\": {\"attached\": %zu, \"request_ns\": %" PRIu64, p->name, links,
		     best / REQUESTS / 2);
	print_programs(ids.n_programs, best_costs[0], best_costs[1]);
	return 0;
}

int main(void)
{
	_cleanup_close_ int cgroup_fd =
		open(access(CGROUP2 "/cgroup.procs", F_OK) == 0 ? CGROUP2 : CGROUP2_ONLY,
		     O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	const char *before = "";

	sonde_log_set_program("bench-presets");
	(void)printf("{");
	for (size_t i = 0; sonde_preset_at(i); i++) {
		const struct sonde_preset *p = sonde_preset_at(i);
		int r;

		(void)printf("%s", before);
		before = ", ";
		r = measure(p, cgroup_fd);
		if (r < 0)
			return sonde_log_err(r, "preset %s: measured nothing", p->name) != 0;
	}
	(void)printf("}\n");
	return 0;
}
