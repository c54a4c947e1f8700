/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Link: one connection of this process over a wire (tests/bpf/wire.h), with its own clock around what it does. */

#include "bpf/capture.h"
#include "bpf/fixture.h"

struct link {
	struct sonde_test_wire *wire;
	int listener, client, server;
	uint16_t port;	     /* one a link: cells are told apart by it */
	uint64_t connect_ns; /* what connect(2) took, by our clock */
};

/* @hold_ns: of each packet in each direction. TCP_NODELAY on both ends. */
struct link link_open(int family, uint64_t hold_ns);
/* The wire and the listener alone. */
struct link link_listen(int family, uint64_t hold_ns, int backlog);
/* One more client; -1 with errno when @flags has SOCK_NONBLOCK or it fails is not an error here. */
int link_connect(const struct link *l, int family, int flags);
void link_close(struct link *l);

/*
 * @n times a request of 100 bytes and an answer of 100. @ret_ns[i]: by our clock, from before the request's
 * send(2) until its answer was received, so not less than what the request's ACK took.
 */
void link_exchange(const struct link *l, size_t n, uint64_t *ret_ns);
/* @n bytes from that side, read at the other end by a thread, and acknowledged. */
void link_bulk(const struct link *l, enum sonde_test_side from, size_t n);
/* The descriptor of that side. */
int link_fd(const struct link *l, enum sonde_test_side side);
int link_netns(const struct link *l, enum sonde_test_side side);

/* What the wire saw so far. link_capture_done() frees it. */
struct sonde_test_capture link_capture(const struct link *l);
/* The same once all that @from has sent, by TCP_INFO, was read by the wire and was written where it was not lost; bounded. */
struct sonde_test_capture link_capture_all(const struct link *l, enum sonde_test_side from);
void link_capture_done(struct sonde_test_capture *c);
