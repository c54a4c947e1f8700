/* SPDX-License-Identifier: Apache-2.0 */
#include "export/group.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum peer_label {
	PEER_PROCESS_ID = 0,
	PEER_LOCAL,
	PEER_ADDRESS,
	_PEER_LABEL_MAX,
};

struct member {
	const struct sonde_edge *edge;
	enum peer_label label;
	uint16_t port; /* 0 where the rule does not tell ports apart */
	char value[SONDE_GROUP_VALUE_MAX];
};

static const char *const peer_label_names[2][_PEER_LABEL_MAX] = {
	{"client_process_id", "client_local", "client_address"},
	{"server_process_id", "server_local", "server_address"},
};

static void address_value(const struct sonde_peer *peer, char ret[SONDE_ADDRESS_TEXT_MAX])
{
	static const uint8_t any[sizeof(peer->addr)];

	if (peer->kind == SONDE_PEER_OTHER)
		(void)snprintf(ret, SONDE_ADDRESS_TEXT_MAX, "other");
	else if (memcmp(peer->addr, any, sizeof(any)) == 0) /* what a listener counts by itself */
		(void)snprintf(ret, SONDE_ADDRESS_TEXT_MAX, "any");
	else
		sonde_address_text(peer->addr, ret);
}

static bool same_instance(const struct sonde_process *a, const struct sonde_process *b)
{
	return strcmp(a->service, b->service) == 0 && strcmp(a->instance, b->instance) == 0;
}

static void label_skywalking(struct member *m, bool unknown)
{
	const struct sonde_edge *e = m->edge;
	char text[SONDE_ADDRESS_TEXT_MAX];

	if (e->other && same_instance(e->self, e->other)) {
		m->label = PEER_PROCESS_ID;
		(void)snprintf(m->value, sizeof(m->value), "%s", e->other->id);
	} else if (e->peer.local || unknown) {
		m->label = PEER_LOCAL;
		(void)snprintf(m->value, sizeof(m->value), "true");
	} else {
		m->label = PEER_ADDRESS;
		address_value(&e->peer, text);
		(void)snprintf(m->value, sizeof(m->value), "%s:%u", text,
			       e->role == SONDE_TCP_ROLE_CLIENT ? e->peer.port : 0U);
	}
}

static void label_sonde(struct member *m)
{
	const struct sonde_edge *e = m->edge;
	char text[SONDE_ADDRESS_TEXT_MAX];

	m->port = e->port;
	if (e->other) {
		m->label = PEER_PROCESS_ID;
		(void)snprintf(m->value, sizeof(m->value), "%s", e->other->id);
	} else {
		m->label = PEER_ADDRESS;
		address_value(&e->peer, text);
		(void)snprintf(m->value, sizeof(m->value), "%s", text);
	}
}

static int is_udp(const struct sonde_edge *e)
{
	return e->protocol == IPPROTO_UDP;
}

static int compare_self(const struct sonde_process *a, const struct sonde_process *b)
{
	int r = strcmp(a->service, b->service);

	if (r == 0)
		r = strcmp(a->instance, b->instance);
	return r ? r : strcmp(a->id, b->id);
}

static int compare(const void *va, const void *vb)
{
	const struct member *a = va, *b = vb;
	int r = compare_self(a->edge->self, b->edge->self);

	if (r == 0)
		r = (int)a->edge->role - (int)b->edge->role;
	if (r == 0)
		r = (int)a->label - (int)b->label;
	if (r == 0)
		r = strcmp(a->value, b->value);
	if (r == 0)
		r = is_udp(a->edge) - is_udp(b->edge);
	return r ? r : (int)a->port - (int)b->port;
}

/* @port: "" where the rule does not tell ports apart. */
static int make_labels(const struct member *m, const char *port, struct sonde_batch_labels *l)
{
	bool server = m->edge->role == SONDE_TCP_ROLE_SERVER;
	int r;

	r = sonde_batch_labels_add(l, peer_label_names[server][PEER_PROCESS_ID], m->edge->self->id);
	if (r == 0)
		r = sonde_batch_labels_add(l, peer_label_names[!server][m->label], m->value);
	if (r == 0 && port[0])
		r = sonde_batch_labels_add(l, "server_port", port);
	if (r == 0)
		r = sonde_batch_labels_add(l, "side", server ? "server" : "client");
	return r;
}

static int emit_edge(struct sonde_batch *b, const struct member *m, const struct sonde_edge *merged,
		     enum sonde_group_rule rule, sonde_group_emit_fn emit)
{
	struct sonde_batch_labels labels = {0};
	char port[8] = "";
	int r;

	if (!merged->changed)
		return 0;
	if (rule == SONDE_GROUP_SONDE)
		(void)snprintf(port, sizeof(port), "%u", m->port);
	r = make_labels(m, port, &labels);
	return r < 0 ? r : emit(b, merged, &labels);
}

static int emit_run(struct sonde_batch *b, const struct member *members, size_t n,
		    enum sonde_group_rule rule, sonde_group_emit_fn emit)
{
	_cleanup_(sonde_edge_done) struct sonde_edge merged = {0};
	int r = 0;

	/* Mostly a peer has one edge, which needs no copy. */
	if (n == 1)
		return emit_edge(b, members, members[0].edge, rule, emit);
	merged.role = members[0].edge->role;
	merged.protocol = members[0].edge->protocol;
	for (size_t i = 0; r == 0 && i < n; i++)
		r = sonde_edge_merge(&merged, members[i].edge);
	return r < 0 ? r : emit_edge(b, members, &merged, rule, emit);
}

int sonde_group_emit(struct sonde_batch *b, const struct sonde_edges *edges,
		     enum sonde_group_rule rule, sonde_group_emit_fn emit)
{
	_cleanup_free_ struct member *members = NULL;
	const struct sonde_process *last = NULL;
	size_t n = 0;
	int r = 0;

	assert(b && edges && emit);

	if (edges->n == 0)
		return 0;
	members = calloc(edges->n, sizeof(members[0]));
	if (!members)
		return -ENOMEM;
	for (size_t i = 0; i < edges->n; i++) {
		struct member *m = &members[n];

		m->edge = &edges->edges[i];
		if (rule == SONDE_GROUP_SONDE)
			label_sonde(m);
		else if (is_udp(m->edge))
			continue;
		else
			label_skywalking(m, rule == SONDE_GROUP_SKYWALKING_UNKNOWN);
		n++;
	}
	qsort(members, n, sizeof(members[0]), compare);
	for (size_t i = 0, end; r == 0 && i < n; i = end) {
		const struct sonde_process *self = members[i].edge->self;

		for (end = i + 1; end < n && compare(&members[i], &members[end]) == 0;)
			end++;
		if (!last || !same_instance(last, self))
			sonde_batch_begin(b, self->service, self->instance);
		last = self;
		r = emit_run(b, &members[i], end - i, rule, emit);
	}
	return r;
}
