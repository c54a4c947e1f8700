/* SPDX-License-Identifier: Apache-2.0 */
#include "model/peer.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

/* Who serves (addr, port) in netns. Any-address listeners have an all-zero addr. */
struct serve {
	uint8_t addr[16];
	uint16_t port;
	uint8_t protocol;
	uint64_t netns;
	uint32_t pid;
	uint64_t group;
};

/* A known client: from where to which service. */
struct talk {
	uint8_t from[16], to[16];
	uint16_t port;
	uint64_t netns;
	uint32_t pid;
	uint64_t group;
};

/* A client process that a UDP server knows by the kernel's word, or (server 0) an address that it speaks to. */
struct heard {
	uint32_t client;
	uint16_t port;
	uint32_t server;
	uint64_t group;
	uint8_t to[16];
};

/* Where a Service's traffic goes. */
struct way {
	uint8_t addr[16];
	uint16_t port;
	uint8_t protocol;
	uint8_t backend[16];
	uint16_t backend_port;
};

struct table {
	void *rows;
	size_t n, cap, size;
};

struct sonde_peer_table {
	size_t max_rows;
	struct table serves, listeners, locals, talks, heards, ways;
	bool sealed;
};

static const uint8_t mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
static const uint8_t zero[16];

bool sonde_address_is_loopback(const uint8_t addr[16])
{
	static const uint8_t one[16] = {[15] = 1};

	if (memcmp(addr, mapped_prefix, 12) == 0)
		return addr[12] == 127;
	return memcmp(addr, one, 16) == 0;
}

static bool is_any(const uint8_t addr[16])
{
	return memcmp(addr, zero, 16) == 0 ||
	       (memcmp(addr, mapped_prefix, 12) == 0 && memcmp(addr + 12, zero, 4) == 0);
}

void sonde_address_text(const uint8_t addr[16], char dst[SONDE_ADDRESS_TEXT_MAX])
{
	const char *r;

	if (memcmp(addr, mapped_prefix, 12) == 0)
		r = inet_ntop(AF_INET, addr + 12, dst, SONDE_ADDRESS_TEXT_MAX);
	else
		r = inet_ntop(AF_INET6, addr, dst, SONDE_ADDRESS_TEXT_MAX);
	if (!r) /* cannot be: the room is enough and the family is known */
		dst[0] = '\0';
}

int sonde_peer_table_new(size_t max_rows, struct sonde_peer_table **ret)
{
	struct sonde_peer_table *t;

	assert(ret && max_rows);

	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->max_rows = max_rows;
	t->serves.size = sizeof(struct serve);
	t->listeners.size = sizeof(struct serve);
	t->locals.size = 16;
	t->talks.size = sizeof(struct talk);
	t->heards.size = sizeof(struct heard);
	t->ways.size = sizeof(struct way);
	*ret = t;
	return 0;
}

struct sonde_peer_table *sonde_peer_table_free(struct sonde_peer_table *t)
{
	if (!t)
		return NULL;
	free(t->serves.rows);
	free(t->listeners.rows);
	free(t->locals.rows);
	free(t->talks.rows);
	free(t->heards.rows);
	free(t->ways.rows);
	free(t);
	return NULL;
}

void sonde_peer_table_reset(struct sonde_peer_table *t)
{
	assert(t);

	t->serves.n = 0;
	t->listeners.n = 0;
	t->locals.n = 0;
	t->talks.n = 0;
	t->heards.n = 0;
	t->ways.n = 0;
	t->sealed = false;
}

static int table_add(struct table *t, size_t max_rows, const void *row)
{
	if (t->n == max_rows)
		return -ENOSPC;
	if (t->n == t->cap) {
		size_t cap = t->cap ? t->cap * 2 : 64;
		void *rows = reallocarray(t->rows, cap, t->size);

		if (!rows)
			return -ENOMEM;
		t->rows = rows;
		t->cap = cap;
	}
	memcpy((uint8_t *)t->rows + t->n * t->size, row, t->size);
	t->n++;
	return 0;
}

/* A key that says nothing is of TCP. */
static uint8_t protocol_of(const struct sonde_tcp_cell_key *key)
{
	return key->protocol == IPPROTO_UDP ? IPPROTO_UDP : IPPROTO_TCP;
}

/* A UDP socket that is bound to no address serves its whole namespace, as a listener does. */
static int add_server(struct sonde_peer_table *t, const struct sonde_tcp_cell_key *key)
{
	struct serve s = {.port = key->port,
			  .protocol = protocol_of(key),
			  .netns = key->netns,
			  .pid = key->pid};

	if (is_any(key->laddr))
		return table_add(&t->listeners, t->max_rows, &s);
	memcpy(s.addr, key->laddr, 16);
	return table_add(&t->serves, t->max_rows, &s);
}

static int add_client(struct sonde_peer_table *t, const struct sonde_tcp_cell_key *key)
{
	struct talk c = {.port = key->port, .netns = key->netns, .pid = key->pid};

	memcpy(c.from, key->laddr, 16);
	memcpy(c.to, key->raddr, 16);
	return table_add(&t->talks, t->max_rows, &c);
}

/* Either end of what is spoken by UDP. */
static int add_heard(struct sonde_peer_table *t, const struct sonde_tcp_cell_key *key)
{
	struct heard h = {.client = key->pid, .port = key->port};

	if (key->role == SONDE_TCP_ROLE_SERVER) {
		if (!key->peer_pid)
			return 0;
		h.client = key->peer_pid;
		h.server = key->pid;
	}
	memcpy(h.to, key->raddr, 16);
	return table_add(&t->heards, t->max_rows, &h);
}

int sonde_peer_table_add_cell(struct sonde_peer_table *t, const struct sonde_tcp_cell_key *key)
{
	int r;

	assert(t && key && !t->sealed);

	if (key->flags & SONDE_TCP_CELL_OTHER)
		return 0;
	if (!is_any(key->laddr)) {
		r = table_add(&t->locals, t->max_rows, key->laddr);
		if (r < 0)
			return r;
	}
	if (protocol_of(key) == IPPROTO_UDP) {
		r = add_heard(t, key);
		if (r < 0 || key->role == SONDE_TCP_ROLE_CLIENT)
			return r; /* for sonde_peer_infer_client(), which is TCP's */
	}
	return key->role == SONDE_TCP_ROLE_SERVER ? add_server(t, key) : add_client(t, key);
}

int sonde_peer_table_add_listener(struct sonde_peer_table *t, uint64_t netns,
				  const uint8_t addr[16], uint16_t port, uint32_t pid)
{
	struct serve s = {.port = port, .protocol = IPPROTO_TCP, .netns = netns, .pid = pid};

	assert(t && addr && !t->sealed);

	if (!is_any(addr))
		memcpy(s.addr, addr, 16);
	return table_add(&t->listeners, t->max_rows, &s);
}

int sonde_peer_table_add_local(struct sonde_peer_table *t, const uint8_t addr[16])
{
	assert(t && addr && !t->sealed);

	return table_add(&t->locals, t->max_rows, addr);
}

int sonde_peer_table_add_service(struct sonde_peer_table *t, uint8_t protocol,
				 const uint8_t addr[16], uint16_t port, const uint8_t backend[16],
				 uint16_t backend_port)
{
	struct way w = {.port = port, .protocol = protocol, .backend_port = backend_port};

	assert(t && addr && backend && !t->sealed);

	memcpy(w.addr, addr, sizeof(w.addr));
	memcpy(w.backend, backend, sizeof(w.backend));
	return table_add(&t->ways, t->max_rows, &w);
}

static int compare_address(const void *a, const void *b)
{
	return memcmp(a, b, 16);
}

static int compare_serve(const void *va, const void *vb)
{
	const struct serve *a = va, *b = vb;
	int r = memcmp(a->addr, b->addr, 16);

	if (r == 0)
		r = (int)a->protocol - (int)b->protocol;
	return r ? r : (a->port > b->port) - (a->port < b->port);
}

static int compare_heard(const void *va, const void *vb)
{
	const struct heard *a = va, *b = vb;

	if (a->client != b->client)
		return a->client < b->client ? -1 : 1;
	return (a->port > b->port) - (a->port < b->port);
}

static int compare_talk(const void *va, const void *vb)
{
	const struct talk *a = va, *b = vb;
	int r = memcmp(a->from, b->from, 16);

	if (r == 0)
		r = memcmp(a->to, b->to, 16);
	return r ? r : (a->port > b->port) - (a->port < b->port);
}

/* By what is asked for: a Service's backends are neighbours. */
static int compare_way(const void *va, const void *vb)
{
	const struct way *a = va, *b = vb;
	int r = memcmp(a->addr, b->addr, 16);

	if (r == 0)
		r = (a->port > b->port) - (a->port < b->port);
	return r ? r : (a->protocol > b->protocol) - (a->protocol < b->protocol);
}

static void set_groups(struct table *t, uint64_t (*group)(void *ctx, uint32_t pid), void *ctx)
{
	struct serve *rows = t->rows;

	for (size_t i = 0; i < t->n; i++)
		rows[i].group = group ? group(ctx, rows[i].pid) : rows[i].pid;
}

void sonde_peer_table_seal(struct sonde_peer_table *t, uint64_t (*group)(void *ctx, uint32_t pid),
			   void *ctx)
{
	assert(t);

	set_groups(&t->serves, group, ctx);
	set_groups(&t->listeners, group, ctx);
	for (size_t i = 0; i < t->talks.n; i++) {
		struct talk *c = (struct talk *)t->talks.rows + i;

		c->group = group ? group(ctx, c->pid) : c->pid;
	}
	for (size_t i = 0; i < t->heards.n; i++) {
		struct heard *h = (struct heard *)t->heards.rows + i;

		h->group = group && h->server ? group(ctx, h->server) : h->server;
	}
	if (t->ways.n)
		qsort(t->ways.rows, t->ways.n, sizeof(struct way), compare_way);
	if (t->heards.n)
		qsort(t->heards.rows, t->heards.n, sizeof(struct heard), compare_heard);
	if (t->talks.n)
		qsort(t->talks.rows, t->talks.n, sizeof(struct talk), compare_talk);
	if (t->serves.n)
		qsort(t->serves.rows, t->serves.n, sizeof(struct serve), compare_serve);
	if (t->listeners.n)
		qsort(t->listeners.rows, t->listeners.n, sizeof(struct serve), compare_serve);
	if (t->locals.n)
		qsort(t->locals.rows, t->locals.n, 16, compare_address);
	t->sealed = true;
}

/* First row of the run that equals (addr, port); t->n when there is none. */
static size_t first_of(const struct table *t, const struct serve *key)
{
	const struct serve *rows = t->rows;
	size_t lo = 0, hi = t->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (compare_serve(&rows[mid], key) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/*
 * The pid that serves (addr, port); 0 when nobody or several different processes do. @same_netns: only
 * rows of the key's own namespace (loopback, and listeners, whose namespace has other addresses too).
 */
static uint32_t who_serves(const struct table *t, const struct serve *key, bool same_netns)
{
	const struct serve *rows = t->rows;
	const struct serve *found = NULL;

	for (size_t i = first_of(t, key); i < t->n && compare_serve(&rows[i], key) == 0; i++) {
		if (same_netns && rows[i].netns != key->netns)
			continue;
		if (found && found->group != rows[i].group)
			return 0;
		if (!found)
			found = &rows[i];
	}
	return found ? found->pid : 0;
}

static bool is_local(const struct sonde_peer_table *t, const uint8_t addr[16])
{
	return is_any(addr) || sonde_address_is_loopback(addr) ||
	       (t->locals.n && bsearch(addr, t->locals.rows, t->locals.n, 16, compare_address));
}

/*
 * The server that named this client by process, at this port: for a UDP server that is bound to no address and
 * sits in another namespace. 0 when there is none, or two, or when the client speaks to that port of another
 * address too: which of them is the server's is not known then.
 */
static uint32_t who_heard(const struct sonde_peer_table *t, const struct sonde_tcp_cell_key *key)
{
	const struct heard want = {.client = key->pid, .port = key->port};
	const struct heard *rows = t->heards.rows, *found = NULL;
	size_t lo = 0, hi = t->heards.n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (compare_heard(&rows[mid], &want) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	for (; lo < t->heards.n && compare_heard(&rows[lo], &want) == 0; lo++) {
		if (!rows[lo].server && memcmp(rows[lo].to, key->raddr, 16) != 0)
			return 0;
		if (found && rows[lo].server && found->group != rows[lo].group)
			return 0;
		if (rows[lo].server)
			found = &rows[lo];
	}
	return found ? found->server : 0;
}

static uint32_t find_server(const struct sonde_peer_table *t, const struct sonde_tcp_cell_key *key)
{
	struct serve want = {.port = key->port, .protocol = protocol_of(key), .netns = key->netns};
	bool loopback = sonde_address_is_loopback(key->raddr);
	uint32_t pid;

	memcpy(want.addr, key->raddr, 16);
	pid = who_serves(&t->serves, &want, loopback);
	if (!pid && want.protocol == IPPROTO_UDP)
		pid = who_heard(t, key);
	if (pid)
		return pid;
	/* A listener is known by its namespace only: trust it for what is surely inside that namespace. */
	if (!loopback && memcmp(key->raddr, key->laddr, 16) != 0)
		return 0;
	pid = who_serves(&t->listeners, &want, true);
	if (pid)
		return pid;
	memset(want.addr, 0, 16);
	return who_serves(&t->listeners, &want, true);
}

/* First row for what @key asks for; t->ways.n when there is none behind it. */
static size_t first_way(const struct sonde_peer_table *t, const struct way *want)
{
	const struct way *rows = t->ways.rows;
	size_t lo = 0, hi = t->ways.n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (compare_way(&rows[mid], want) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* Whether the client asks for a Service; its backend, where it has but one. */
static void translate(const struct sonde_peer_table *t, const struct sonde_tcp_cell_key *key,
		      struct sonde_peer *p)
{
	struct way want = {.port = key->port, .protocol = protocol_of(key)};
	const struct way *rows = t->ways.rows, *only = NULL;
	bool several = false;

	memcpy(want.addr, key->raddr, sizeof(want.addr));
	for (size_t i = first_way(t, &want); i < t->ways.n && compare_way(&rows[i], &want) == 0;
	     i++) {
		several = several || (only && (only->backend_port != rows[i].backend_port ||
					       memcmp(only->backend, rows[i].backend, 16) != 0));
		only = &rows[i];
	}
	if (!only)
		return;
	p->service = true;
	memcpy(p->service_addr, key->raddr, sizeof(p->service_addr));
	p->service_port = key->port;
	if (several)
		return;
	memcpy(p->addr, only->backend, sizeof(p->addr));
	p->port = only->backend_port;
}

void sonde_peer_resolve(const struct sonde_peer_table *t, const struct sonde_tcp_cell_key *key,
			struct sonde_peer *ret)
{
	struct sonde_peer p = {.kind = SONDE_PEER_ADDRESS, .port = key->port};
	struct sonde_tcp_cell_key real;

	assert(t && key && ret && t->sealed);

	if (key->flags & SONDE_TCP_CELL_OTHER) {
		*ret = (struct sonde_peer){.kind = SONDE_PEER_OTHER};
		return;
	}
	memcpy(p.addr, key->raddr, 16);
	if (key->role == SONDE_TCP_ROLE_CLIENT)
		translate(t, key, &p);
	p.local = is_local(t, p.addr);
	p.pid = key->peer_pid;
	if (p.pid == 0 && key->role == SONDE_TCP_ROLE_CLIENT) {
		real = *key;
		memcpy(real.raddr, p.addr, sizeof(real.raddr));
		real.port = p.port;
		p.pid = find_server(t, &real);
	}
	if (p.pid)
		p.kind = SONDE_PEER_PROCESS;
	*ret = p;
}

void sonde_peer_infer_client(const struct sonde_peer_table *t, const struct sonde_tcp_cell_key *key,
			     struct sonde_peer *peer)
{
	const struct talk *rows = t->talks.rows, *found = NULL;
	struct talk want = {.port = key->port};
	bool same_netns = sonde_address_is_loopback(key->raddr);
	size_t lo = 0, hi = t->talks.n;

	assert(t && key && peer && t->sealed);

	if (peer->kind != SONDE_PEER_ADDRESS || key->role != SONDE_TCP_ROLE_SERVER)
		return;
	memcpy(want.from, key->raddr, 16);
	memcpy(want.to, key->laddr, 16);
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (compare_talk(&rows[mid], &want) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	for (; lo < t->talks.n && compare_talk(&rows[lo], &want) == 0; lo++) {
		if (same_netns && rows[lo].netns != key->netns)
			continue;
		if (found && found->group != rows[lo].group)
			return; /* two share the address: whose it was cannot be told */
		if (!found)
			found = &rows[lo];
	}
	if (!found)
		return;
	peer->kind = SONDE_PEER_PROCESS;
	peer->pid = found->pid;
}
