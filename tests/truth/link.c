/* SPDX-License-Identifier: Apache-2.0 */
#include "link.h"

#include <linux/tcp.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"

#define FIRST_PORT 8080
#define MESSAGE_BYTES 100

static int new_socket(const struct link *l, enum sonde_test_side side, int family, int flags)
{
	int fd = sonde_test_tunnel_socket(sonde_test_wire_tunnel(l->wire), side, family,
					  SOCK_STREAM | flags);

	assert_true(fd >= 0);
	return fd;
}

struct link link_listen(int family, uint64_t hold_ns, int backlog)
{
	static uint16_t next_port = FIRST_PORT;
	struct link l = {.client = -1, .server = -1, .port = next_port++};
	struct sockaddr_storage at;
	socklen_t len = sonde_test_tunnel_server(family, l.port, &at);

	assert_ok(sonde_test_wire_new(hold_ns, &l.wire));
	l.listener = new_socket(&l, SONDE_TEST_SERVER, family, 0);
	assert_ok(bind(l.listener, (struct sockaddr *)&at, len));
	assert_ok(listen(l.listener, backlog));
	return l;
}

int link_connect(const struct link *l, int family, int flags)
{
	const int one = 1;
	struct sockaddr_storage to;
	socklen_t len = sonde_test_tunnel_server(family, l->port, &to);
	int fd = new_socket(l, SONDE_TEST_CLIENT, family, flags);

	assert_ok(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)));
	if (connect(fd, (struct sockaddr *)&to, len) < 0)
		assert_true(flags & SOCK_NONBLOCK);
	return fd;
}

struct link link_open(int family, uint64_t hold_ns)
{
	const int one = 1;
	struct link l = link_listen(family, hold_ns, 16);
	uint64_t began = sonde_mono_ns();

	l.client = link_connect(&l, family, 0);
	l.connect_ns = sonde_mono_ns() - began;
	l.server = fixture_accept(l.listener);
	assert_ok(setsockopt(l.server, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)));
	return l;
}

void link_close(struct link *l)
{
	fixture_close_fd(&l->client);
	fixture_close_fd(&l->server);
	fixture_close_fd(&l->listener);
	l->wire = sonde_test_wire_free(l->wire);
}

void link_exchange(const struct link *l, size_t n, uint64_t *ret_ns)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t began = sonde_mono_ns();

		fixture_send(l->client, MESSAGE_BYTES);
		fixture_recv(l->server, MESSAGE_BYTES);
		fixture_send(l->server, MESSAGE_BYTES);
		fixture_recv(l->client, MESSAGE_BYTES);
		ret_ns[i] = sonde_mono_ns() - began;
	}
}

int link_fd(const struct link *l, enum sonde_test_side side)
{
	return side == SONDE_TEST_CLIENT ? l->client : l->server;
}

int link_netns(const struct link *l, enum sonde_test_side side)
{
	return sonde_test_wire_tunnel(l->wire)->netns_fd[side];
}

struct reader {
	int fd;
	size_t n;
};

static void *read_all(void *arg)
{
	const struct reader *r = arg;
	size_t left = r->n;
	char bytes[16384];

	while (left > 0) {
		ssize_t n = recv(r->fd, bytes, left < sizeof(bytes) ? left : sizeof(bytes), 0);

		if (n <= 0)
			break;
		left -= (size_t)n;
	}
	return left == 0 ? arg : NULL;
}

void link_bulk(const struct link *l, enum sonde_test_side from, size_t n)
{
	struct reader reader = {.fd = link_fd(l, 1 - from), .n = n};
	pthread_t thread;
	void *got_all;

	assert_ok(pthread_create(&thread, NULL, read_all, &reader));
	fixture_send(link_fd(l, from), n);
	assert_ok(pthread_join(thread, &got_all));
	assert_non_null(got_all);
	fixture_wait_acked(link_fd(l, from));
}

struct sonde_test_capture link_capture(const struct link *l)
{
	struct sonde_test_capture c = {.port = l->port};

	c.packet = sonde_test_wire_capture(l->wire, &c.n);
	assert_non_null(c.packet);
	assert_true(c.n < SONDE_TEST_CAPTURE_MAX); /* else it is no truth */
	return c;
}

static bool is_all(const struct sonde_test_capture *c, enum sonde_test_side from, uint64_t n)
{
	uint64_t seen = 0;

	for (size_t i = 0; i < c->n; i++) {
		const struct sonde_test_packet *p = &c->packet[i];

		if (p->from != from || (from == SONDE_TEST_CLIENT ? p->dest : p->source) != c->port)
			continue;
		if (p->written_ns == 0 && p->fate != SONDE_TEST_DROPPED)
			return false;
		seen++;
	}
	return seen == n;
}

struct sonde_test_capture link_capture_all(const struct link *l, enum sonde_test_side from)
{
	struct tcp_info info = {0};

	for (unsigned int i = 0; i < 6000; i++) {
		socklen_t len = sizeof(info);
		struct sonde_test_capture c;

		assert_ok(getsockopt(link_fd(l, from), IPPROTO_TCP, TCP_INFO, &info, &len));
		c = link_capture(l);
		if (is_all(&c, from, info.tcpi_segs_out))
			return c;
		link_capture_done(&c);
		fixture_wait_ms(10);
	}
	fail_msg("the wire has not carried %u packets", info.tcpi_segs_out);
	return (struct sonde_test_capture){0};
}

void link_capture_done(struct sonde_test_capture *c)
{
	free((void *)c->packet);
	c->packet = NULL;
}
