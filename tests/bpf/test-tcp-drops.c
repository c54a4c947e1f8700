/* SPDX-License-Identifier: Apache-2.0 */
/* Drops: skbs, segments and bytes, by call site and by how the connection was found, against nft's counters. */
#include "unseen.h"
#include "veth.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define CLIENT SONDE_TCP_ROLE_CLIENT
#define SERVER SONDE_TCP_ROLE_SERVER
#define RX SONDE_TCP_DIRECTION_RX
#define TX SONDE_TCP_DIRECTION_TX
#define SOCKET SONDE_TCP_WHERE_SOCKET
#define ELSEWHERE SONDE_TCP_WHERE_ELSEWHERE
#define BOTH_ENDS SONDE_TCP_WHERE_BOTH_ENDS

static struct veth veth;

struct which {
	enum sonde_tcp_role role;
	uint16_t port;
	const char *reason; /* NULL: any */
	uint8_t direction;
	uint8_t where;
};

static bool is_of(const struct fixture *f, const struct sonde_probe_drop *drop, struct which w)
{
	const struct sonde_tcp_cell_key *key = &f->cells[drop->key.cell].key;

	return key->port == w.port && key->role == w.role &&
	       drop->key.event == SONDE_TCP_EVENT_DROP && drop->key.direction == w.direction &&
	       drop->key.where == w.where && (!w.reason || strcmp(drop->reason, w.reason) == 0);
}

static struct sonde_tcp_drop sum_of(const struct fixture *f, struct which w)
{
	struct sonde_tcp_drop sum = {0};

	for (size_t i = 0; i < f->n_drops; i++) {
		if (!is_of(f, &f->drops[i], w))
			continue;
		sum.skbs += f->drops[i].drop.skbs;
		sum.segments += f->drops[i].drop.segments;
		sum.bytes += f->drops[i].drop.bytes;
	}
	return sum;
}

static bool is_kernel_symbol(const char *name)
{
	char line[512], symbol[256];
	bool found = false;
	FILE *f = fopen("/proc/kallsyms", "re");

	assert_non_null(f);
	while (!found && fgets(line, sizeof(line), f))
		found = sscanf(line, "%*s %*s %255s", symbol) == 1 && strcmp(symbol, name) == 0;
	(void)fclose(f);
	return found;
}

/* Which of the two drops depends on the kernel; one in a module has its name behind it: "nft_do_chain [nf_tables]". */
static bool is_nft(const char *site)
{
	static const char *const names[] = {"nft_do_chain", "nf_hook_slow"};

	for (size_t i = 0; i < 2; i++) {
		size_t n = strlen(names[i]);

		if (strncmp(site, names[i], n) == 0 && (!site[n] || site[n] == ' '))
			return is_kernel_symbol(names[i]);
	}
	print_message("dropped at %s\n", site);
	return false;
}

static void assert_site_is_nft(const struct fixture *f, struct which w)
{
	unsigned n = 0;

	for (size_t i = 0; i < f->n_drops; i++) {
		if (!is_of(f, &f->drops[i], w))
			continue;
		n++;
		assert_true(is_nft(f->drops[i].site));
		assert_true(f->drops[i].key.site > 0);
		assert_true(f->drops[i].key.site < 1000); /* a number, never an address */
	}
	assert_true(n > 0);
}

static uint32_t segments_out(int fd)
{
	struct tcp_info info = {0};
	socklen_t len = sizeof(info);

	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
	return info.tcpi_segs_out;
}

/* Several segments are one skb on the way out; all of them are dropped. */
static void a_large_skb_is_all_its_segments(void **state)
{
	struct fixture *f = *state;
	struct fixture_pair p = veth_pair(&veth, AF_INET);
	struct which w = {CLIENT, p.port, "NETFILTER_DROP", TX, SOCKET};
	static const char data[30000];
	struct sonde_tcp_drop sum;
	struct veth_count nft;
	uint32_t before;

	assert_true(veth_run(&veth, VETH_CLIENT,
			     "nft add rule inet sonde_test output tcp dport %u counter drop",
			     p.port));
	before = segments_out(p.client);
	assert_int_equal(send(p.client, data, sizeof(data), 0), sizeof(data));
	do { /* a timer may have sent between the two readings */
		nft = veth_count(&veth, VETH_CLIENT, "inet sonde_test output");
		fixture_snapshot(f);
	} while (veth_count(&veth, VETH_CLIENT, "inet sonde_test output").packets != nft.packets);
	sum = sum_of(f, w);
	assert_int_equal(sum.skbs, nft.packets);
	assert_int_equal(sum.bytes, nft.bytes);
	assert_true(sum.segments > sum.skbs);
	assert_true(sum.segments <= segments_out(p.client) - before);
	assert_site_is_nft(f, w);
	w.where = ELSEWHERE;
	assert_int_equal(sum_of(f, w).skbs, 0);
	w.role = SERVER;
	w.direction = RX;
	assert_int_equal(sum_of(f, w).skbs, 0);
	(void)veth_end_chain(&veth, VETH_CLIENT, "output");
	fixture_abort_on_close(p.client);
	fixture_pair_done(&p);
}

#define ROUNDS 60

static void exchange(struct fixture_pair *p)
{
	for (int i = 0; i < ROUNDS; i++) {
		fixture_send(p->client, 1000);
		fixture_recv(p->server, 1000);
		fixture_send(p->server, 3000);
		fixture_recv(p->client, 3000);
	}
	fixture_wait_acked(p->client);
	fixture_wait_acked(p->server);
}

/* Neither socket was in the kernel's hand: each end has what nft counted, and says that the other has it. */
static void assert_both_ends(const struct fixture *f, uint16_t port, struct veth_count nft)
{
	struct which receiver = {SERVER, port, "NETFILTER_DROP", RX, BOTH_ENDS};
	struct which sender = {CLIENT, port, "NETFILTER_DROP", TX, BOTH_ENDS};
	struct sonde_tcp_drop rx = sum_of(f, receiver), tx = sum_of(f, sender);
	uint64_t skipped = fixture_loss(f, SONDE_TCP_LOSS_SKIPPED_RUNS);

	assert_true(nft.packets > 0);
	assert_int_equal(rx.skbs, tx.skbs);
	assert_int_equal(rx.bytes, tx.bytes);
	print_message("both ends: nft %lu, receiver %lu, sender %lu, skipped %lu\n",
		      (unsigned long)nft.packets, (unsigned long)rx.skbs, (unsigned long)tx.skbs,
		      (unsigned long)skipped);
	assert_true(rx.skbs <= nft.packets && nft.packets - rx.skbs <= skipped);
	if (rx.skbs == nft.packets)
		assert_int_equal(rx.bytes, nft.bytes);
	assert_site_is_nft(f, receiver);
	receiver.where = SOCKET;
	assert_int_equal(sum_of(f, receiver).skbs, 0);
	receiver.where = sender.where = ELSEWHERE;
	assert_int_equal(sum_of(f, receiver).skbs + sum_of(f, sender).skbs, 0);
}

/* A veth pair hands the skb over with its sender's socket, so that is what the drop is of. */
static void at_the_other_ends_ingress_it_is_the_senders(void **state)
{
	static const int families[] = {AF_INET, AF_INET6};
	struct fixture *f = *state;

	for (size_t i = 0; i < 2; i++) {
		struct fixture_pair p = veth_pair(&veth, families[i]);
		struct which w = {CLIENT, p.port, "NETFILTER_DROP", TX, SOCKET};
		uint64_t skipped = fixture_loss(f, SONDE_TCP_LOSS_SKIPPED_RUNS);
		struct sonde_tcp_drop ours;
		struct veth_count nft;

		assert_true(veth_run(
			&veth, VETH_SERVER,
			"nft add table netdev sonde_test && nft add chain netdev sonde_test "
			"in '{ type filter hook ingress device sondes priority 0; }' && "
			"nft add rule netdev sonde_test in tcp dport %u "
			"numgen random mod 100 '<' 10 counter drop",
			p.port));
		exchange(&p);
		nft = veth_stop_chain(&veth, VETH_SERVER, "netdev sonde_test in");
		assert_true(veth_run(&veth, VETH_SERVER, "nft delete table netdev sonde_test"));
		fixture_snapshot(f);
		assert_true(nft.packets > 0);
		ours = sum_of(f, w);
		skipped = fixture_loss(f, SONDE_TCP_LOSS_SKIPPED_RUNS) - skipped;
		print_message("ingress: nft %lu, ours %lu, skipped %lu\n",
			      (unsigned long)nft.packets, (unsigned long)ours.skbs,
			      (unsigned long)skipped);
		assert_in_range(ours.skbs,
				nft.packets - (skipped < nft.packets ? skipped : nft.packets),
				nft.packets);
		if (ours.skbs == nft.packets)
			assert_int_equal(ours.bytes, nft.bytes);
		w.where = ELSEWHERE;
		assert_int_equal(sum_of(f, w).skbs, 0);
		fixture_pair_done(&p);
	}
}

/* No early demux there. */
static void on_loopback_both_ends_have_it(void **state)
{
	static const int families[] = {AF_INET, AF_INET6};
	struct fixture *f = *state;

	assert_true(veth_run(&veth, VETH_CLIENT, "ip link set lo up"));
	for (size_t i = 0; i < 2; i++) {
		struct fixture_pair p = fixture_pair(families[i]);
		struct veth_count nft;

		assert_true(veth_run(&veth, VETH_CLIENT,
				     "nft add rule inet sonde_test input tcp dport %u "
				     "numgen random mod 100 '<' 10 counter drop",
				     p.port));
		fixture_seed(f); /* as another task's start does: what is known is not unlearned */
		exchange(&p);
		nft = veth_stop_chain(&veth, VETH_CLIENT, "inet sonde_test input");
		(void)veth_end_chain(&veth, VETH_CLIENT, "input");
		fixture_snapshot(f);
		assert_both_ends(f, p.port, nft);
		fixture_pair_done(&p);
	}
}

static void be_the_only_target(int gate, uint16_t port)
{
	char byte;
	int fd;

	if (read(gate, &byte, 1) != 1)
		_exit(1);
	fd = fixture_connect(AF_INET, port);
	for (int i = 0; i < ROUNDS; i++) {
		fixture_send(fd, 1000);
		fixture_recv(fd, 1000);
	}
	_exit(0);
}

/* The other end is no target: nobody else has these. */
static void the_only_end_that_is_ours_has_it_alone(void **state)
{
	int gate[2], listener, fd, status;
	struct which w = {CLIENT, 0, "NETFILTER_DROP", TX, ELSEWHERE};
	struct veth_count nft;
	uint64_t skipped;
	struct fixture f;
	pid_t child;

	assert_ok(pipe2(gate, O_CLOEXEC));
	listener = fixture_listen(AF_INET, 8, &w.port);
	child = fork();
	assert_true(child >= 0);
	if (child == 0)
		be_the_only_target(gate[0], w.port);
	assert_ok(fixture_open(&f, &(struct fixture_options){0}));
	fixture_target(&f, child, 1);
	assert_true(veth_run(&veth, VETH_CLIENT,
			     "nft add rule inet sonde_test input tcp dport %u "
			     "numgen inc mod 10 == 5 counter drop",
			     w.port));
	assert_int_equal(write(gate[1], "x", 1), 1);
	fd = fixture_accept(listener);
	for (int i = 0; i < ROUNDS; i++) {
		fixture_recv(fd, 1000);
		fixture_send(fd, 1000);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	nft = veth_stop_chain(&veth, VETH_CLIENT, "inet sonde_test input");
	(void)veth_end_chain(&veth, VETH_CLIENT, "input");
	fixture_snapshot(&f);
	skipped = fixture_loss(&f, SONDE_TCP_LOSS_SKIPPED_RUNS);
	print_message("one end: nft %lu, ours %lu, skipped %lu\n", (unsigned long)nft.packets,
		      (unsigned long)sum_of(&f, w).skbs, (unsigned long)skipped);
	assert_true(nft.packets > 0);
	assert_true(sum_of(&f, w).skbs <= nft.packets);
	assert_true(nft.packets - sum_of(&f, w).skbs <= skipped);
	w.where = BOTH_ENDS;
	assert_int_equal(sum_of(&f, w).skbs, 0);
	fixture_close_fd(&fd);
	fixture_close_fd(&listener);
	fixture_close_fd(&gate[0]);
	fixture_close_fd(&gate[1]);
	fixture_close(&f);
}

/* Its addresses are let go of with it: who has them next has none of its drops. */
static void an_ended_connection_has_no_drops_any_more(void **state)
{
	struct fixture *f = *state;
	struct fixture_pair p = veth_pair(&veth, AF_INET);
	struct which w = {SERVER, p.port, "NETFILTER_DROP", RX, ELSEWHERE};
	struct sonde_tcp_drop before;

	fixture_abort_on_close(p.client);
	fixture_close_fd(&p.client);
	fixture_close_fd(&p.server);
	fixture_snapshot(f);
	before = sum_of(f, w);
	assert_true(veth_run(&veth, VETH_CLIENT,
			     "nft add rule inet sonde_test input tcp sport %u counter drop",
			     p.port));
	(void)close(veth_connect(&veth, AF_INET, p.port, SOCK_NONBLOCK));
	veth_wait_counted(&veth, VETH_CLIENT, "inet sonde_test input", 1);
	(void)veth_end_chain(&veth, VETH_CLIENT, "input");
	fixture_snapshot(f);
	assert_int_equal(sum_of(f, w).skbs, before.skbs);
	fixture_pair_done(&p);
}

/*
 * A fragment whose others never come is freed as dropped, and kernels before 6.9 keep
 * its offset where an skb has its socket. That the kernel lives is the test; its own
 * count says that the fragment was dropped.
 */
static void a_fragment_that_waits_in_vain_has_no_socket(void **state)
{
	struct {
		uint8_t version_length, tos;
		uint16_t length, id, offset;
		uint8_t ttl, protocol;
		uint16_t checksum;
		uint32_t from, to;
		uint8_t payload[64];
	} __attribute__((packed)) fragment = {
		.version_length = 0x45,
		.length = htons(84),
		.id = htons(0x50de),
		.offset = htons(185), /* of 8 bytes, and no last one */
		.ttl = 64,
		.protocol = IPPROTO_TCP,
	};
	struct sockaddr_in to = {.sin_family = AF_INET};
	int raw;

	assert_int_equal(inet_pton(AF_INET, VETH_SERVER_V4, &to.sin_addr), 1);
	fragment.to = to.sin_addr.s_addr;
	assert_true(veth_run(&veth, VETH_SERVER, "echo 1 >/proc/sys/net/ipv4/ipfrag_time"));
	raw = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
	assert_true(raw >= 0);
	assert_int_equal(
		sendto(raw, &fragment, sizeof(fragment), 0, (struct sockaddr *)&to, sizeof(to)),
		sizeof(fragment));
	(void)close(raw);
	for (int i = 0; i < 600; i++) { /* it waits for a second */
		fixture_wait_ms(100);
		if (veth_run(&veth, VETH_SERVER,
			     "test $(nstat -asz IpReasmTimeout | awk '/Reasm/{print $2}') -ge 1"))
			break;
	}
	assert_true(veth_run(&veth, VETH_SERVER,
			     "test $(nstat -asz IpReasmTimeout | awk '/Reasm/{print $2}') -ge 1"));
	fixture_snapshot(*state);
}

static int setup(void **state)
{
	return veth_add_chains(&veth) ? fixture_setup(state) : -EOPNOTSUPP;
}

static int run(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_large_skb_is_all_its_segments),
		cmocka_unit_test(at_the_other_ends_ingress_it_is_the_senders),
		cmocka_unit_test(on_loopback_both_ends_have_it),
		cmocka_unit_test(the_only_end_that_is_ours_has_it_alone),
		cmocka_unit_test(an_ended_connection_has_no_drops_any_more),
		cmocka_unit_test(a_fragment_that_waits_in_vain_has_no_socket),
	};
	int r;

	if (geteuid() != 0 || fixture_bpf_is_refused())
		return SONDE_EXIT_SKIP;
	if (!fixture_is_measured("drops by reason", NULL))
		return fixture_tell_absent("drops by reason", NULL);
	r = veth_open(&veth) < 0 ? SONDE_EXIT_SKIP
				 : cmocka_run_group_tests(tests, setup, fixture_teardown);
	veth_close(&veth);
	return r;
}

int main(int argc, char **argv)
{
	return unseen_main(argv, run);
}
