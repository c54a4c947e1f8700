/* SPDX-License-Identifier: Apache-2.0 */
/* Who is behind an address that nft translates, as conntrack tells it for the collector's own flows. */
#include "fixture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/capability.h>
#include <linux/netlink.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "host/conntrack.h"
#include "host/privilege.h"
#include "probe/nat.h"
#include "veth.h"

#define SERVICE "10.251.9.9"
#define SERVICE_PORT 80
#define MASKED "10.251.7.77"

/* A Service in the client's own namespace, the way kube-proxy makes one. */
struct stage {
	struct veth v;
	struct fixture *f;
	struct sonde_nat *nat;
	int netlink;
	int listener, client, server;
	uint16_t port;
};

static bool open_stage(struct stage *s, struct fixture *f, const char *more)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(SERVICE_PORT)};

	*s = (struct stage){.f = f, .netlink = -1, .listener = -1, .client = -1, .server = -1};
	if (veth_open(&s->v) < 0)
		return false;
	s->listener = veth_listen(&s->v, AF_INET, 16, &s->port);
	assert_true(
		veth_run(&s->v, VETH_CLIENT,
			 "ip addr add " MASKED
			 "/24 dev sondec && ip route add 10.251.9.0/24 via " VETH_SERVER_V4
			 " src 10.251.7.1 && nft -f - <<'EOF'\n"
			 "table ip sonde_nat {\n chain out { type nat hook output priority -100;\n"
			 "  ip daddr " SERVICE " tcp dport 80 dnat to " VETH_SERVER_V4 ":%u\n }\n"
			 " chain post { type nat hook postrouting priority 100;\n  %s\n }\n}\nEOF",
			 s->port, more));
	s->netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_NETFILTER);
	assert_true(s->netlink >= 0);
	assert_ok(sonde_nat_new(s->netlink, &s->nat));
	assert_ok(sonde_nat_probe(s->nat));
	sonde_nat_begin(s->nat, sonde_mono_ns());
	s->client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(inet_pton(AF_INET, SERVICE, &to.sin_addr), 1);
	assert_int_equal(connect(s->client, (struct sockaddr *)&to, sizeof(to)), 0);
	s->server = fixture_accept(s->listener);
	fixture_send(s->client, 100);
	fixture_recv(s->server, 100);
	fixture_snapshot(f);
	return true;
}

static void close_stage(struct stage *s)
{
	fixture_close_fd(&s->client);
	fixture_close_fd(&s->server);
	fixture_close_fd(&s->listener);
	fixture_close_fd(&s->netlink);
	(void)sonde_nat_free(s->nat);
	veth_close(&s->v);
}

static struct sonde_flow filled(struct stage *s, int fd)
{
	const struct sonde_flow *told = fixture_flow(s->f, fixture_cookie(fd));
	struct sonde_flow flow;

	assert_non_null(told);
	flow = *told;
	if (sonde_nat_look_up(s->nat, &flow))
		sonde_nat_ask(s->nat, &flow);
	return flow;
}

static void assert_address(const uint8_t addr[16], const char *text)
{
	uint8_t want[4];

	assert_int_equal(inet_pton(AF_INET, text, want), 1);
	assert_memory_equal(addr + 12, want, 4);
}

static uint16_t local_port(int fd)
{
	struct sockaddr_in addr;
	socklen_t len = sizeof(addr);

	assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
	return ntohs(addr.sin_port);
}

static void a_clients_service_has_a_backend(void **state)
{
	struct stage s;
	struct sonde_flow flow;

	if (!open_stage(&s, *state, ""))
		skip();
	flow = filled(&s, s.client);
	assert_address(flow.raddr, SERVICE);
	assert_int_equal(flow.rport, SERVICE_PORT);
	assert_address(flow.backend, VETH_SERVER_V4);
	assert_int_equal(flow.backend_port, s.port);
	/* The server's end of the same connection, and a connection that nobody translates. */
	flow = filled(&s, s.server);
	assert_int_equal(flow.backend_port, 0);
	/* Known when conntrack knows nothing any more. */
	assert_true(veth_run(&s.v, VETH_CLIENT, "nft flush ruleset"));
	fixture_close_fd(&s.netlink);
	flow = filled(&s, s.client);
	assert_int_equal(flow.backend_port, s.port);
	close_stage(&s);
}

/* The other direction: a server behind SNAT sees an address that is not its client's. */
static void a_servers_client_is_the_true_one(void **state)
{
	struct stage s;
	struct sonde_flow flow;

	if (!open_stage(&s, *state,
			"ip daddr " VETH_SERVER_V4 " tcp dport != 0 snat to " MASKED ":5000-5999"))
		skip();
	flow = filled(&s, s.server);
	assert_address(flow.raddr, MASKED);
	assert_true(flow.rport >= 5000 && flow.rport < 6000);
	assert_address(flow.backend, "10.251.7.1");
	assert_int_equal(flow.backend_port, local_port(s.client));
	flow = filled(&s, s.client);
	assert_address(flow.backend, VETH_SERVER_V4);
	assert_int_equal(flow.backend_port, s.port);
	close_stage(&s);
}

static void without_the_capability_it_says_so(void **state)
{
	uint64_t before;
	struct stage s;

	if (!open_stage(&s, *state, ""))
		skip();
	assert_ok(sonde_privilege_effective(&before));
	assert_ok(sonde_privilege_raise(before & ~SONDE_CAP(CAP_NET_ADMIN)));
	assert_err(sonde_nat_probe(s.nat), EPERM);
	assert_ok(sonde_privilege_raise(before));
	assert_int_equal(filled(&s, s.client).backend_port, 0);
	close_stage(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_clients_service_has_a_backend),
		cmocka_unit_test(a_servers_client_is_the_true_one),
		cmocka_unit_test(without_the_capability_it_says_so),
	};

	/* A flow's other address stands in its record. */
	if (geteuid() == 0 && !fixture_bpf_is_refused() &&
	    !fixture_is_measured("last values of connections that end", "records"))
		return fixture_tell_absent("last values of connections that end", "records");
	return fixture_main(tests);
}
