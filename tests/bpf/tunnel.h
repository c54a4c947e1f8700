/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Tunnel: two network namespaces of this test alone, with a TUN device in each.
 * Nothing joins them but what reads one device and writes the other, so whoever
 * does that sees, and may hold, drop or change, every packet (wire.h).
 *
 * The client's namespace has 10.9.0.1 and fd00:9::1, the server's 10.9.0.2 and
 * fd00:9::2. Needs root. Packets are never larger than the MTU of 1,500: the device
 * takes no segmentation offload, so that one packet is one segment.
 */

#include <stdint.h>
#include <sys/socket.h>

#include "base/cleanup.h"

enum sonde_test_side {
	SONDE_TEST_CLIENT = 0,
	SONDE_TEST_SERVER = 1,
};

struct sonde_test_tunnel {
	int netns_fd[2];
	int tun_fd[2]; /* not blocking; a packet each read and write, no header before it */
};

#define SONDE_TEST_TUNNEL_CLOSED                                                                   \
	((struct sonde_test_tunnel){.netns_fd = {-1, -1}, .tun_fd = {-1, -1}})

/* Return: 0, -errno. @t is for sonde_test_tunnel_close() in either case. */
int sonde_test_tunnel_open(struct sonde_test_tunnel *t) _must_check_;
void sonde_test_tunnel_close(struct sonde_test_tunnel *t);

/* socket(2) in one side's namespace. Return: the descriptor, or -errno. */
int sonde_test_tunnel_socket(const struct sonde_test_tunnel *t, enum sonde_test_side side,
			     int family, int type);
/* The server's address. Return: its length. */
socklen_t sonde_test_tunnel_server(int family, uint16_t port, struct sockaddr_storage *ret);

/* Runs @fn in the network namespace @netns_fd and brings this thread back. Return: @fn's, or -errno. */
int sonde_test_in_netns(int netns_fd, int (*fn)(void *arg), void *arg);
