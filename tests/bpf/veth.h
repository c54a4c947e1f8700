/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Two network namespaces of this test alone, joined by a veth pair. Sockets are
 * made by this process on either side. A drop in an input hook has its socket
 * here, which it has not on loopback (no early demux there).
 */

#include "fixture.h"

#define VETH_SERVER_V4 "10.251.7.2"
#define VETH_SERVER_V6 "fd00:51d::2"

enum veth_side {
	VETH_CLIENT = 0,
	VETH_SERVER = 1,
	VETH_SIDES = 2,
};

struct veth {
	int home;	    /* the namespace that we came from */
	int ns[VETH_SIDES]; /* descriptors; our sockets keep nothing else alive */
	pid_t holder;	    /* sits in the server's side, so that ip can name it */
};

/* Return: 0; -EOPNOTSUPP with the reason on stderr when this may not be done here. Leaves us on the client's side. */
int veth_open(struct veth *v);
/* Back home, everything gone. */
void veth_close(struct veth *v);
/* This process's next sockets are of that side. */
void veth_enter(const struct veth *v, enum veth_side side);
/* A shell command there; comes back to the client's side. */
bool veth_run(const struct veth *v, enum veth_side side, const char *fmt, ...)
	__attribute__((__format__(__printf__, 3, 4)));
/* A table `inet sonde_test` with the base chains input and output on both sides. */
bool veth_add_chains(const struct veth *v);
/* Its rules match nothing any more; sum over them of nft's packet counters; the chain is emptied. */
uint64_t veth_end_chain(const struct veth *v, enum veth_side side, const char *chain);

struct veth_count {
	uint64_t packets;
	uint64_t bytes;
};
/* Sum over any chain's rules ("inet sonde_test input", "netdev t c"). */
struct veth_count veth_count(const struct veth *v, enum veth_side side, const char *chain);
/* The same once its rules match nothing any more: what comes later is in no count, nor dropped. */
struct veth_count veth_stop_chain(const struct veth *v, enum veth_side side, const char *chain);
/* Bounded wait until they have counted that many packets. */
void veth_wait_counted(const struct veth *v, enum veth_side side, const char *chain, uint64_t n);

int veth_listen(const struct veth *v, int family, int backlog, uint16_t *ret_port);
/* @flags: SOCK_NONBLOCK or 0; -EINPROGRESS is fine then. */
int veth_connect(const struct veth *v, int family, uint16_t port, int flags);
struct fixture_pair veth_pair(const struct veth *v, int family);
