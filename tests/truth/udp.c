/* SPDX-License-Identifier: Apache-2.0 */
/* UDP: datagrams and bytes against our own counts and the namespace's Udp counters. */
#include "scenes.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "bpf/udp-fixture.h"

#define DATAGRAMS 50
#define SIZE 300

static const char *const own = "own count";
static struct udp_fixture udp; /* large */

/* As truth_has(), by this collector's records. */
static bool has(const char *metric, const char *metrics)
{
	static struct fixture like;

	like.n_probes = udp.n_probes;
	memcpy(like.probes, udp.probes, udp.n_probes * sizeof(udp.probes[0]));
	return truth_has(&like, metric, metrics);
}

static void compare(enum sonde_tcp_role role, uint16_t port, uint64_t sent, uint64_t received)
{
	const struct sonde_udp_cell c = udp_fixture_sum(&udp, 0, role, port);
	const bool client = role == CLIENT;

	if (has("datagrams sent", "UDP datagrams, bytes and calls sent, send errors")) {
		truth_exact(client ? "client datagrams sent" : "server datagrams sent", sent, own,
			    c.sent_datagrams);
		truth_exact(client ? "client bytes sent" : "server bytes sent", sent * SIZE, own,
			    c.sent_bytes);
	}
	if (has("datagrams received", "UDP datagrams, bytes and calls received, read errors")) {
		truth_exact(client ? "client datagrams received" : "server datagrams received",
			    received, own, c.received_datagrams);
		truth_exact(client ? "client bytes received" : "server bytes received",
			    received * SIZE, own, c.received_bytes);
	}
}

static void ask_and_answer(int family, bool connected)
{
	struct words before, after;
	struct sonde_udp_cell client, server;
	uint16_t port, from = 0;
	int listener = udp_bound(family, &port);
	int fd = connected ? udp_connected(family, port) : udp_socket(family);

	truth_case("%s, IPv%d", connected ? "connected" : "unconnected", family == AF_INET ? 4 : 6);
	words_read(-1, &before);
	for (int i = 0; i < DATAGRAMS; i++) {
		if (connected)
			udp_send(fd, SIZE);
		else
			udp_send_to(fd, family, port, SIZE);
		from = udp_receive(listener, SIZE);
		if (i % 2)
			continue;
		udp_send_to(listener, family, from, SIZE);
		(void)udp_receive(fd, SIZE);
	}
	words_read(-1, &after);
	udp_fixture_snapshot(&udp);
	compare(CLIENT, port, DATAGRAMS, DATAGRAMS / 2);
	compare(SERVER, port, DATAGRAMS / 2, DATAGRAMS);
	client = udp_fixture_sum(&udp, 0, CLIENT, port);
	server = udp_fixture_sum(&udp, 0, SERVER, port);
	if (family == AF_INET) { /* snmp6 has the others */
		truth_exact("datagrams sent, both ends",
			    words_grown(&before, &after, "UdpOutDatagrams"), "UdpOutDatagrams",
			    client.sent_datagrams + server.sent_datagrams);
		truth_exact("datagrams received, both ends",
			    words_grown(&before, &after, "UdpInDatagrams"), "UdpInDatagrams",
			    client.received_datagrams + server.received_datagrams);
	}
	(void)close(fd);
	(void)close(listener);
}

/* More than the receive buffer holds, and nobody reads. */
static void no_room(void)
{
	struct words before, after;
	const int size = 4096;
	uint16_t port;
	int listener = udp_bound(AF_INET, &port), fd;

	truth_case("a full receive buffer");
	assert_ok(setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)));
	fd = udp_connected(AF_INET, port);
	udp_send(fd, SIZE); /* one call of the server's, so that it is known */
	(void)udp_receive(listener, SIZE);
	words_read(-1, &before);
	udp_send_beyond_room(fd, listener, DATAGRAMS, SIZE);
	words_read(-1, &after);
	udp_fixture_snapshot(&udp);
	assert_true(words_grown(&before, &after, "UdpRcvbufErrors") > 0);
	if (has("datagrams without room", "UDP datagrams without room in the receive buffer"))
		truth_seen("datagrams without room",
			   words_grown(&before, &after, "UdpRcvbufErrors"), "UdpRcvbufErrors",
			   udp_fixture_sum(&udp, 0, SERVER, port).buffer_dropped_datagrams,
			   udp_fixture_loss(&udp, SONDE_UDP_LOSS_SKIPPED_RUNS));
	(void)close(fd);
	(void)close(listener);
}

static void refused(void)
{
	uint64_t errors = 0;
	uint16_t port;
	int listener = udp_bound(AF_INET, &port), fd = udp_connected(AF_INET, port);

	(void)close(listener);
	for (int i = 0; i < DATAGRAMS; i++) {
		if (i % 2)
			udp_wait_refused(fd);
		errors += send(fd, "x", 1, 0) < 0 && errno == ECONNREFUSED;
	}
	assert_int_equal(errors, DATAGRAMS / 2);
	udp_fixture_snapshot(&udp);
	truth_case("nobody listens");
	if (has("sends refused", "UDP datagrams, bytes and calls sent, send errors"))
		truth_exact(
			"sends refused", errors, "send(2)'s errno",
			udp_fixture_sum(&udp, 0, CLIENT, port).send_errors[SONDE_UDP_ECONNREFUSED]);
	(void)close(fd);
}

TRUTH_SCENE(udp)
{
	(void)f;
	assert_ok(udp_fixture_open(&udp, &(struct udp_fixture_options){0}));
	udp_fixture_target(&udp, getpid(), 1);
	ask_and_answer(AF_INET, true);
	ask_and_answer(AF_INET6, true);
	ask_and_answer(AF_INET, false);
	no_room();
	refused();
	udp_fixture_close(&udp);
}
