/* SPDX-License-Identifier: Apache-2.0 */
/* Payload to the byte, in every way that a connection begins, halves and ends; and the segments that carried it. */
#include "scenes.h"

#include <stdio.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "bpf/rest.h"

static const char *const own = "own count";

/* What the application and the kernel took and gave. */
struct payload {
	uint64_t sent, acked, received, arrived;
};

static void compare(struct fixture *f, enum sonde_tcp_role role, uint16_t port,
		    const struct payload *truth)
{
	const struct sonde_tcp_cell c = fixture_sum(f, 0, role, port);
	const bool client = role == CLIENT;

	truth_exact(client ? "client sent bytes" : "server sent bytes", truth->sent, own,
		    c.sent_bytes);
	truth_exact(client ? "client acked bytes" : "server acked bytes", truth->acked, own,
		    c.acked_bytes);
	truth_exact(client ? "client received bytes" : "server received bytes", truth->received,
		    own, c.received_bytes);
	truth_exact(client ? "client arrived bytes" : "server arrived bytes", truth->arrived, own,
		    c.arrived_bytes);
}

static void compare_both(struct fixture *f, uint16_t port, const struct payload *client,
			 const struct payload *server)
{
	fixture_snapshot(f);
	compare(f, CLIENT, port, client);
	compare(f, SERVER, port, server);
}

/* While it is open TCP_INFO says the same, but for the SYN that an active open counts as a byte. */
static void compare_tcp_info(struct fixture *f, const struct fixture_pair *p)
{
	struct tcp_info both[2], client, server;
	struct sonde_tcp_cell c;

	rest_snapshot(f, (const int[]){p->client, p->server}, both);
	client = both[0];
	server = both[1];
	c = fixture_sum(f, 0, CLIENT, p->port);
	truth_exact("client acked bytes", client.tcpi_bytes_acked - 1, "tcpi_bytes_acked",
		    c.acked_bytes);
	truth_exact("client arrived bytes", client.tcpi_bytes_received, "tcpi_bytes_received",
		    c.arrived_bytes);
	truth_exact("client segments out", client.tcpi_segs_out, "tcpi_segs_out", c.segments_out);
	truth_exact("client segments in", client.tcpi_segs_in, "tcpi_segs_in", c.segments_in);
	c = fixture_sum(f, 0, SERVER, p->port);
	truth_exact("server acked bytes", server.tcpi_bytes_acked, "tcpi_bytes_acked",
		    c.acked_bytes);
	truth_exact("server arrived bytes", server.tcpi_bytes_received, "tcpi_bytes_received",
		    c.arrived_bytes);
	truth_exact("server segments out", server.tcpi_segs_out, "tcpi_segs_out", c.segments_out);
	truth_exact("server segments in", server.tcpi_segs_in, "tcpi_segs_in", c.segments_in);
}

static void open_and_closed(struct fixture *f, int family)
{
	struct fixture_pair p = veth_pair(&truth_veth, family);
	const struct payload client = {1000, 1000, 70000, 70000};
	const struct payload server = {70000, 70000, 1000, 1000};

	fixture_send(p.client, 1000);
	fixture_recv(p.server, 1000);
	fixture_send(p.server, 70000);
	fixture_recv(p.client, 70000);
	fixture_wait_acked(p.server);
	fixture_wait_acked(p.client);
	truth_case("IPv%d, open", family == AF_INET ? 4 : 6);
	compare_both(f, p.port, &client, &server);
	compare_tcp_info(f, &p);
	fixture_close_fd(&p.client);
	assert_int_equal(fixture_drain(p.server), 0);
	fixture_pair_done(&p);
	truth_case("IPv%d, client closed", family == AF_INET ? 4 : 6);
	compare_both(f, p.port, &client, &server);
}

static void server_closes_first(struct fixture *f)
{
	struct fixture_pair p = veth_pair(&truth_veth, AF_INET);

	fixture_send(p.server, 12345);
	fixture_wait_acked(p.server);
	fixture_close_fd(&p.server);
	assert_int_equal(fixture_drain(p.client), 12345);
	fixture_pair_done(&p);
	truth_case("server closed");
	compare_both(f, p.port, &(struct payload){0, 0, 12345, 12345},
		     &(struct payload){12345, 12345, 0, 0});
}

static void half_close(struct fixture *f)
{
	struct fixture_pair p = veth_pair(&truth_veth, AF_INET6);

	fixture_send(p.client, 500);
	assert_ok(shutdown(p.client, SHUT_WR));
	assert_int_equal(fixture_drain(p.server), 500);
	fixture_wait_acked(p.client);
	fixture_send(p.server, 70000);
	fixture_recv(p.client, 70000);
	fixture_wait_acked(p.server);
	truth_case("half-closed by the client");
	compare_both(f, p.port, &(struct payload){500, 500, 70000, 70000},
		     &(struct payload){70000, 70000, 500, 500});
	fixture_pair_done(&p);
	truth_case("half-closed, then closed");
	compare_both(f, p.port, &(struct payload){500, 500, 70000, 70000},
		     &(struct payload){70000, 70000, 500, 500});
}

static void reset_with_data_unread(struct fixture *f)
{
	struct fixture_pair p = veth_pair(&truth_veth, AF_INET);

	fixture_send(p.client, 3000);
	fixture_wait_acked(p.client);
	fixture_recv(p.server, 1000);
	fixture_close_fd(&p.server); /* 2,000 unread: an RST */
	truth_case("unread at close");
	compare_both(f, p.port, &(struct payload){3000, 3000, 0, 0},
		     &(struct payload){0, 0, 1000, 3000});
	fixture_pair_done(&p);
}

static void read_after_reset(struct fixture *f)
{
	struct fixture_pair p = veth_pair(&truth_veth, AF_INET);

	fixture_send(p.client, 800);
	fixture_wait_acked(p.client);
	fixture_abort_on_close(p.client);
	fixture_close_fd(&p.client);
	fixture_recv(p.server, 300);
	truth_case("reset by the client, read after");
	compare_both(f, p.port, &(struct payload){800, 800, 0, 0},
		     &(struct payload){0, 0, 300, 800});
	fixture_pair_done(&p);
}

/* Until a window of 0 has come with the ACK of all that is on its way. */
/* Nobody reads: what the kernel took beyond the peer's window was sent and is not acknowledged. */
static void queued_at_the_end(struct fixture *f)
{
	struct fixture_pair p = veth_pair(&truth_veth, AF_INET);
	struct tcp_info server, client;
	uint64_t sent = rest_fill(p.client, NULL);

	server = words_tcp_info(p.server);
	client = words_tcp_info(p.client);
	assert_true(client.tcpi_bytes_acked - 1 < sent);
	truth_case("queued, nobody reads");
	compare_both(f, p.port, &(struct payload){sent, client.tcpi_bytes_acked - 1, 0, 0},
		     &(struct payload){0, 0, 0, server.tcpi_bytes_received});
	fixture_abort_on_close(p.client);
	fixture_pair_done(&p);
	truth_case("queued, then reset");
	compare_both(f, p.port, &(struct payload){sent, client.tcpi_bytes_acked - 1, 0, 0},
		     &(struct payload){0, 0, 0, server.tcpi_bytes_received});
}

static bool fast_open_is_on(void)
{
	int mode = 0;
	FILE *f = fopen("/proc/sys/net/ipv4/tcp_fastopen", "re");

	if (f && fscanf(f, "%d", &mode) != 1) /* NOLINT(cert-err34-c) */
		mode = 0;
	if (f)
		(void)fclose(f);
	return mode & 1;
}

/* The SYN's payload is payload, the SYN is not. */
static void fast_open(struct fixture *f)
{
	struct sockaddr_storage to = {0};
	socklen_t len = sizeof(to);
	const int queue = 5;
	uint16_t port;
	int listener;

	truth_case("fast open");
	if (!fast_open_is_on() ||
	    !veth_run(&truth_veth, VETH_SERVER, "echo 3 >/proc/sys/net/ipv4/tcp_fastopen")) {
		truth_not_run("client sent bytes", "net.ipv4.tcp_fastopen is off");
		return;
	}
	listener = veth_listen(&truth_veth, AF_INET, 16, &port);
	assert_ok(setsockopt(listener, IPPROTO_TCP, TCP_FASTOPEN, &queue, sizeof(queue)));
	assert_ok(getsockname(listener, (struct sockaddr *)&to, &len));
	for (int i = 0; i < 2; i++) { /* the first asks for the cookie */
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), server;

		assert_int_equal(sendto(fd, "hello", 5, MSG_FASTOPEN, (struct sockaddr *)&to, len),
				 5);
		server = fixture_accept(listener);
		fixture_recv(server, 5);
		fixture_send(server, 3);
		fixture_recv(fd, 3);
		fixture_wait_acked(server);
		(void)close(fd);
		(void)close(server);
	}
	(void)close(listener);
	compare_both(f, port, &(struct payload){10, 10, 6, 6}, &(struct payload){6, 6, 10, 10});
}

static void *drain(void *fd)
{
	return (void *)fixture_drain(*(int *)fd);
}

static void by_sendfile(struct fixture *f)
{
	struct fixture_pair p = veth_pair(&truth_veth, AF_INET);
	char path[] = "/tmp/sonde-truth-XXXXXX";
	const size_t size = 1 << 20;
	int file = mkostemp(path, O_CLOEXEC);
	off_t offset = 0;
	pthread_t reader;
	void *got;

	assert_true(file >= 0);
	assert_ok(unlink(path));
	assert_ok(ftruncate(file, (off_t)size));
	assert_ok(pthread_create(&reader, NULL, drain, &p.client));
	while ((size_t)offset < size)
		assert_true(sendfile(p.server, file, &offset, size - (size_t)offset) > 0);
	fixture_wait_acked(p.server);
	fixture_close_fd(&p.server);
	assert_ok(pthread_join(reader, &got));
	(void)close(file);
	fixture_pair_done(&p);
	truth_case("sendfile");
	compare_both(f, p.port, &(struct payload){0, 0, size, (uint64_t)got},
		     &(struct payload){size, size, 0, 0});
}

TRUTH_SCENE(bytes)
{
	open_and_closed(f, AF_INET);
	open_and_closed(f, AF_INET6);
	server_closes_first(f);
	half_close(f);
	reset_with_data_unread(f);
	read_after_reset(f);
	queued_at_the_end(f);
	fast_open(f);
	by_sendfile(f);
}
