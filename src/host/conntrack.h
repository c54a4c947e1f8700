/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Conntrack: what address translation makes of a connection, asked of the
 * kernel one tuple at a time over a NETLINK_NETFILTER socket. The socket sees the
 * connections of the network namespace that it was opened in, so also those that
 * pods make through their host. The one fixed request and its answer are written
 * and read here, in bounded buffers, without a library. Needs CAP_NET_ADMIN of
 * the socket's opener and of the caller. Any thread, one at a time a socket.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

/* Addresses are 16 bytes in network order, IPv4 as ::ffff:a.b.c.d; ports in host order. */
struct sonde_conntrack_tuple {
	uint8_t from[16], to[16];
	uint16_t from_port, to_port;
	uint8_t protocol; /* IPPROTO_TCP, IPPROTO_UDP */
};

#define SONDE_CONNTRACK_REQUEST_MAX 192
#define SONDE_CONNTRACK_ANSWER_MAX 4096

/*
 * sonde_conntrack_far_end() - who is really at the other end of a socket
 * @own: from the socket's own address and port to those that it believes to talk to
 *
 * Whichever way the connection was made: where the socket began it, the far end is the source of the
 * replies (behind DNAT a Service's backend); where it answers, the source of the connection (behind SNAT
 * its true client). Return: 0 (*@ret_addr and *@ret_port are as in @own where nothing is translated), -ENOENT (not
 * tracked here), -EPERM, -EOPNOTSUPP (no conntrack in this kernel), -EBADMSG (no answer to this request),
 * -EINVAL (addresses of two families), -errno of the socket.
 */
int sonde_conntrack_far_end(int fd, const struct sonde_conntrack_tuple *own, uint8_t ret_addr[16],
			    uint16_t *ret_port) _must_check_;

/* For tests and fuzzing. */

/* Return: length of the request, -EINVAL. */
int sonde_conntrack_request(const struct sonde_conntrack_tuple *own, uint32_t sequence,
			    uint8_t buf[static SONDE_CONNTRACK_REQUEST_MAX]) _must_check_;
/* One datagram. Return: 0, -EAGAIN (an answer to another request), else as sonde_conntrack_far_end(). */
int sonde_conntrack_answer(const struct sonde_conntrack_tuple *own, uint32_t sequence,
			   const uint8_t *data, size_t n, uint8_t ret_addr[16],
			   uint16_t *ret_port) _must_check_;
