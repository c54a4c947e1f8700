/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loss made in the collector itself: a table that is full, a tag that is gone, a socket that has no room for one.
 * The ledger must have each, and what is told beside it must still be right.
 */
#include "scenes.h"

#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"

#define CONNECTIONS 40
#define BYTES_EACH 100

static const char *const own = "own count";

/* A process that listens on every address and is no target, as it was forked before there was a collector. */
struct stranger {
	pid_t pid;
	uint16_t port;
};

static struct stranger stranger_start(void)
{
	struct stranger s = {0};
	int ports[2];

	assert_ok(pipe2(ports, O_CLOEXEC));
	s.pid = fork();
	assert_true(s.pid >= 0);
	if (s.pid == 0) {
		struct sockaddr_in any = {.sin_family = AF_INET};
		socklen_t len = sizeof(any);
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (bind(fd, (struct sockaddr *)&any, len) < 0 || listen(fd, 1024) < 0 ||
		    getsockname(fd, (struct sockaddr *)&any, &len) < 0)
			_exit(1);
		(void)!write(ports[1], &any.sin_port, sizeof(any.sin_port));
		for (;;)
			(void)pause();
	}
	(void)close(ports[1]);
	assert_int_equal(read(ports[0], &s.port, sizeof(s.port)), sizeof(s.port));
	(void)close(ports[0]);
	s.port = ntohs(s.port);
	return s;
}

static void stranger_end(const struct stranger *s)
{
	(void)kill(s->pid, SIGKILL);
	assert_int_equal(waitpid(s->pid, NULL, 0), s->pid);
}

/* Each to another address of loopback, so that each is a cell; and some payload. */
static void connect_all(const struct stranger *s, int *fds)
{
	for (uint32_t i = 0; i < CONNECTIONS; i++) {
		struct sockaddr_in to = {.sin_family = AF_INET,
					 .sin_port = htons(s->port),
					 .sin_addr.s_addr = htonl(INADDR_LOOPBACK + i)};

		fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		assert_true(fds[i] >= 0);
		assert_ok(connect(fds[i], (struct sockaddr *)&to, sizeof(to)));
		fixture_send(fds[i], BYTES_EACH);
	}
}

static void close_all(int *fds)
{
	for (size_t i = 0; i < CONNECTIONS; i++)
		fixture_close_fd(&fds[i]);
}

/* Sum over all cells; @other: over those that stand for what the table refused. */
static uint64_t sent_bytes(const struct fixture *f, bool other)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < f->n_cells; i++)
		if (f->cells[i].known && (!other || f->cells[i].key.flags & SONDE_TCP_CELL_OTHER))
			sum += f->cells[i].now.sent_bytes;
	return sum;
}

static struct fixture ours; /* large; one scene at a time has it */

static void open_ours(const struct fixture_options *options)
{
	assert_ok(fixture_open(&ours, options));
	fixture_target(&ours, getpid(), 1);
}

static void few_cells(void)
{
	const struct stranger s = stranger_start();
	int fds[CONNECTIONS];
	uint64_t told = 0;

	open_ours(&(struct fixture_options){.max_cells = 1});
	connect_all(&s, fds);
	fixture_snapshot(&ours);
	for (size_t i = 0; i < ours.n_cells; i++)
		told += ours.cells[i].known && !(ours.cells[i].key.flags & SONDE_TCP_CELL_OTHER);
	truth_case("the smallest table of cells, %d peers", CONNECTIONS);
	truth_between("cells told", 1, CONNECTIONS / 2, own, told, "the table's size");
	truth_exact("ledger: cell_full", CONNECTIONS - told, "peers without a cell",
		    fixture_loss(&ours, SONDE_TCP_LOSS_CELL_FULL));
	truth_exact("sent bytes, all cells", (uint64_t)CONNECTIONS * BYTES_EACH, own,
		    sent_bytes(&ours, false));
	truth_exact("sent bytes of `other`", (CONNECTIONS - told) * BYTES_EACH, own,
		    sent_bytes(&ours, true));
	close_all(fds);
	fixture_close(&ours);
	stranger_end(&s);
}

/* Fills a hash map of the collector with keys that no event has; false to take them out again. */
static uint32_t fill(const char *map, bool in)
{
	int fd = fixture_map(&ours, map);
	struct bpf_map_info info = {0};
	uint32_t size = sizeof(info), n = 0;
	char key[128] = {0}, value[256] = {0};

	assert_ok(bpf_obj_get_info_by_fd(fd, &info, &size));
	assert_true(info.key_size <= sizeof(key) && info.value_size <= sizeof(value));
	memset(key, 0xa5, info.key_size);
	for (uint32_t i = 0; i < info.max_entries; i++) {
		memcpy(key, &i, sizeof(i));
		n += in ? bpf_map_update_elem(fd, key, value, BPF_NOEXIST) == 0
			: bpf_map_delete_elem(fd, key) == 0;
	}
	(void)close(fd);
	return n;
}

static void no_room_for_drops(void)
{
	const int one = 1;
	struct fixture_pair p;
	struct words before, after;
	struct veth_count nft;
	size_t told = 0;
	uint32_t filled;

	open_ours(&(struct fixture_options){0});
	filled = fill("drops", true);
	p = veth_pair(&truth_veth, AF_INET);
	words_read(truth_veth.ns[VETH_SERVER], &before);
	/* Each fifth: at random, one segment would now and then be lost so often that its timer takes half a minute. */
	assert_true(veth_run(&truth_veth, VETH_SERVER,
			     "nft add rule inet sonde_test input tcp dport %u "
			     "numgen inc mod 5 0 counter drop",
			     p.port));
	assert_ok(setsockopt(p.client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)));
	for (int i = 0; i < 100; i++)
		fixture_send(p.client, 100);
	fixture_wait_acked(p.client);
	nft = veth_stop_chain(&truth_veth, VETH_SERVER, "inet sonde_test input");
	(void)veth_end_chain(&truth_veth, VETH_SERVER, "input");
	assert_int_equal(fill("drops", false), filled);
	fixture_snapshot(&ours);
	words_read(truth_veth.ns[VETH_SERVER], &after);
	for (size_t i = 0; i < ours.n_drops; i++)
		told += strcmp(ours.drops[i].reason, "NETFILTER_DROP") == 0;
	truth_case("a full table of drops");
	assert_true(nft.packets > 0);
	/* What was sent again and had arrived is a drop, too; the receiver says so of each. */
	truth_between("ledger: drop_full", nft.packets,
		      nft.packets + words_grown(&before, &after, "TcpExtTCPDSACKOldSent") +
			      words_grown(&before, &after, "TcpExtTCPDSACKOfoSent"),
		      "nft, TCPDSACK*Sent", fixture_loss(&ours, SONDE_TCP_LOSS_DROP_FULL), "");
	truth_exact("drops told", 0, own, told);
	fixture_pair_done(&p);
	fixture_close(&ours);
}

static void no_room_for_pairs(void)
{
	const struct stranger s = stranger_start();
	int fds[CONNECTIONS];

	open_ours(&(struct fixture_options){0});
	(void)fill("tuples", true);
	connect_all(&s, fds);
	fixture_snapshot(&ours);
	truth_case("a full table of address pairs");
	truth_exact("ledger: tuple_full", CONNECTIONS, own,
		    fixture_loss(&ours, SONDE_TCP_LOSS_TUPLE_FULL));
	truth_exact("sent bytes", (uint64_t)CONNECTIONS * BYTES_EACH, own,
		    sent_bytes(&ours, false));
	close_all(fds);
	fixture_close(&ours);
	stranger_end(&s);
}

static void no_room_for_children(void)
{
	pid_t children[CONNECTIONS];
	uint64_t told;

	open_ours(&(struct fixture_options){.max_targets = 16});
	for (size_t i = 0; i < CONNECTIONS; i++) {
		children[i] = fork();
		assert_true(children[i] >= 0);
		if (children[i] == 0) {
			(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
			for (;;)
				(void)pause();
		}
	}
	fixture_snapshot(&ours);
	told = ours.n_processes - 1; /* and we ourselves */
	truth_case("a table of 16 targets, %d children", CONNECTIONS);
	truth_exact("children told, and in the ledger: target_full", CONNECTIONS, own,
		    told + fixture_loss(&ours, SONDE_TCP_LOSS_TARGET_FULL));
	truth_between("children told", 1, 15, own, told, "the table's size");
	for (size_t i = 0; i < CONNECTIONS; i++) {
		(void)kill(children[i], SIGKILL);
		assert_int_equal(waitpid(children[i], NULL, 0), children[i]);
	}
	fixture_close(&ours);
}

/* The tag of every second connection is taken away: as if no hook had seen its end. */
static void tags_that_are_gone(void)
{
	const struct stranger s = stranger_start();
	int fds[CONNECTIONS], tags;

	open_ours(&(struct fixture_options){0});
	connect_all(&s, fds);
	fixture_snapshot(&ours);
	tags = fixture_map(&ours, "tags");
	for (size_t i = 0; i < CONNECTIONS; i += 2)
		assert_ok(bpf_map_delete_elem(tags, &fds[i]));
	(void)close(tags);
	fixture_snapshot(&ours);
	truth_case("every second connection forgotten");
	truth_exact("ledger: end_unseen", CONNECTIONS / 2, own,
		    fixture_loss(&ours, SONDE_TCP_LOSS_END_UNSEEN));
	close_all(fds);
	fixture_snapshot(&ours);
	truth_exact("ledger: end_unseen, all closed", CONNECTIONS / 2, own,
		    fixture_loss(&ours, SONDE_TCP_LOSS_END_UNSEEN));
	truth_exact("sent bytes", (uint64_t)CONNECTIONS * BYTES_EACH, own,
		    sent_bytes(&ours, false));
	fixture_close(&ours);
	stranger_end(&s);
}

/* A socket filter of that many instructions, which count as the socket's memory for options. */
static int load_filter(uint32_t instructions)
{
	_cleanup_free_ struct bpf_insn *code = calloc(instructions, sizeof(*code));
	int fd;

	assert_non_null(code);
	for (uint32_t i = 0; i + 1 < instructions; i++) /* r0 = -1: take the whole packet */
		code[i] = (struct bpf_insn){.code = BPF_ALU64 | BPF_MOV | BPF_K, .imm = -1};
	code[instructions - 1] = (struct bpf_insn){.code = BPF_JMP | BPF_EXIT};
	fd = bpf_prog_load(BPF_PROG_TYPE_SOCKET_FILTER, NULL, "GPL", code, instructions, NULL);
	assert_true(fd >= 0);
	return fd;
}

/* Of the host: older kernels show it in no other network namespace. */
static int read_optmem_max(void *arg)
{
	FILE *f = fopen("/proc/sys/net/core/optmem_max", "re");
	uint32_t *max = arg;

	if (f && fscanf(f, "%u", max) != 1) /* NOLINT(cert-err34-c) */
		*max = 0;
	if (f)
		(void)fclose(f);
	return 0;
}

/* The largest filter that the socket has room for, so that there is less than a tag left. */
static int fill_up(int fd, uint32_t bytes)
{
	for (uint32_t n = bytes / 8; n > 8; n -= 8) {
		int filter = load_filter(n);

		if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_BPF, &filter, sizeof(filter)) == 0)
			return filter;
		(void)close(filter);
	}
	fail_msg("no filter fits into %u bytes", bytes);
	return -1;
}

/* Connected sockets whose memory for options is used up: no room for a tag when they are seeded. */
static void sockets_without_room(void)
{
	const struct stranger s = stranger_start();
	int fds[CONNECTIONS], filter;
	uint32_t max = 0;

	truth_case("no room for a tag");
	assert_ok(sonde_test_in_netns(truth_veth.home, read_optmem_max, &max));
	if (max < 8192) {
		truth_not_run("ledger: tag_failed", "net.core.optmem_max cannot be read");
		stranger_end(&s);
		return;
	}
	connect_all(&s, fds);
	filter = fill_up(fds[0], max);
	for (size_t i = 1; i < CONNECTIONS; i++)
		assert_ok(setsockopt(fds[i], SOL_SOCKET, SO_ATTACH_BPF, &filter, sizeof(filter)));
	(void)close(filter);
	open_ours(&(struct fixture_options){0});
	fixture_seed(&ours);
	fixture_snapshot(&ours);
	truth_exact("ledger: tag_failed", CONNECTIONS, own,
		    fixture_loss(&ours, SONDE_TCP_LOSS_TAG_FAILED));
	close_all(fds);
	fixture_close(&ours);
	stranger_end(&s);
}

TRUTH_SCENE(ledger)
{
	(void)f;
	few_cells();
	no_room_for_drops();
	no_room_for_pairs();
	no_room_for_children();
	tags_that_are_gone();
	sockets_without_room();
}
