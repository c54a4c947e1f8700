/* SPDX-License-Identifier: Apache-2.0 */
#include "probe/nat.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>

#include "base/clock.h"
#include "bpf/tcp/tcp_types.h"
#include "host/conntrack.h"

#define FLOWS_KNOWN                                                                                \
	8192 /* a power of two, as the next: a place is chosen by hash and simply taken over */
#define DESTINATIONS_KNOWN 1024
#define PLAIN_FOR_NS (10 * SONDE_NS_PER_S)

/* A flow that is translated, or not tracked: then the port is 0. */
struct known_flow {
	uint64_t id; /* 0 = free */
	uint8_t backend[16];
	uint16_t port;
};

/* Where a service is asked for of which conntrack said that it was not translated the last time. */
struct plain {
	uint64_t netns; /* its rules, and perhaps its addresses, are its own */
	uint8_t addr[16];
	uint16_t port;
	uint8_t protocol;
	uint8_t role;
	uint8_t pad[4];
	uint64_t until_ns; /* 0 = free */
};

struct sonde_nat {
	int fd;
	bool off;
	uint64_t now_ns;
	uint32_t questions;
	struct known_flow *flows; /* owned; NULL until the first that is known */
	struct plain plain[DESTINATIONS_KNOWN];
};

int sonde_nat_new(int fd, struct sonde_nat **ret)
{
	struct sonde_nat *n;

	assert(ret);

	n = calloc(1, sizeof(*n));
	if (!n)
		return -ENOMEM;
	n->fd = fd;
	n->off = fd < 0;
	*ret = n;
	return 0;
}

struct sonde_nat *sonde_nat_free(struct sonde_nat *n)
{
	if (!n)
		return NULL;
	free(n->flows);
	free(n);
	return NULL;
}

int sonde_nat_probe(struct sonde_nat *n)
{
	/* From and to a port that no packet has. */
	struct sonde_conntrack_tuple nothing = {.from = {[10] = 0xff, [11] = 0xff, 127, 0, 0, 1},
						.to = {[10] = 0xff, [11] = 0xff, 127, 0, 0, 1},
						.protocol = IPPROTO_TCP};
	uint8_t addr[16];
	uint16_t port;
	int r;

	if (n->fd < 0)
		return -EBADF;
	r = sonde_conntrack_far_end(n->fd, &nothing, addr, &port);
	if (r == -ENOENT)
		r = 0;
	n->off = r < 0;
	return r;
}

void sonde_nat_begin(struct sonde_nat *n, uint64_t now_ns)
{
	n->now_ns = now_ns;
	n->questions = 0;
}

static uint32_t hash(const void *data, size_t len)
{
	const uint8_t *p = data;
	uint64_t h = 14695981039346656037ULL;

	for (; len > 0; len--)
		h = (h ^ *p++) * 1099511628211ULL;
	return (uint32_t)(h ^ h >> 32);
}

/* Of a client's flow its service; of a server's its client, whose port changes. */
static struct plain *find_plain(struct sonde_nat *n, const struct sonde_flow *f, bool *ret_known)
{
	bool client = f->role == SONDE_TCP_ROLE_CLIENT;
	struct plain want, *p;

	memset(&want, 0, sizeof(want)); /* its padding is hashed and compared, too */
	want.netns = f->netns;
	want.port = client ? f->rport : 0;
	want.protocol = f->protocol;
	want.role = f->role;
	memcpy(want.addr, f->raddr, sizeof(want.addr));
	p = &n->plain[hash(&want, offsetof(struct plain, until_ns)) & (DESTINATIONS_KNOWN - 1)];
	*ret_known =
		p->until_ns > n->now_ns && memcmp(p, &want, offsetof(struct plain, until_ns)) == 0;
	if (!*ret_known)
		*p = want;
	return p;
}

static struct known_flow *find_known(struct sonde_nat *n, uint64_t id)
{
	if (!n->flows)
		n->flows = calloc(FLOWS_KNOWN, sizeof(*n->flows));
	return n->flows ? &n->flows[hash(&id, sizeof(id)) & (FLOWS_KNOWN - 1)] : NULL;
}

static void keep_known(struct sonde_nat *n, uint64_t id, const uint8_t backend[16], uint16_t port)
{
	struct known_flow *known = find_known(n, id);

	if (!known)
		return;
	known->id = id;
	known->port = port;
	memcpy(known->backend, backend, sizeof(known->backend));
}

void sonde_nat_ask(struct sonde_nat *n, struct sonde_flow *flow)
{
	struct sonde_conntrack_tuple own = {
		.from_port = flow->lport, .to_port = flow->rport, .protocol = flow->protocol};
	struct plain *plain;
	uint8_t addr[16] = {0};
	uint16_t port;
	bool is_plain;
	int r;

	plain = find_plain(n, flow, &is_plain);
	if (is_plain) /* by an answer for another flow of this turn */
		return;
	memcpy(own.from, flow->laddr, sizeof(own.from));
	memcpy(own.to, flow->raddr, sizeof(own.to));
	n->questions++;
	r = sonde_conntrack_far_end(n->fd, &own, addr, &port);
	if (r == -EPERM || r == -EOPNOTSUPP) {
		n->off = true;
		return;
	}
	if (r == -ENOENT) /* of this flow alone: another one to there may be tracked */
		keep_known(n, flow->id, addr, 0);
	if (r < 0)
		return;
	if (port == flow->rport && memcmp(addr, flow->raddr, sizeof(addr)) == 0) {
		plain->until_ns = n->now_ns + PLAIN_FOR_NS;
		return;
	}
	memcpy(flow->backend, addr, sizeof(addr));
	flow->backend_port = port;
	keep_known(n, flow->id, addr, port);
}

bool sonde_nat_look_up(struct sonde_nat *n, struct sonde_flow *flow)
{
	const struct known_flow *known;
	bool is_plain;

	if (n->off || flow->lport == 0 || flow->rport == 0)
		return false;
	known = n->flows ? find_known(n, flow->id) : NULL;
	if (known && known->id == flow->id) {
		memcpy(flow->backend, known->backend, sizeof(flow->backend));
		flow->backend_port = known->port;
		return false;
	}
	(void)find_plain(n, flow, &is_plain);
	return !is_plain && n->questions < SONDE_NAT_QUESTIONS_MAX;
}
