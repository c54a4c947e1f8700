/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/query/flow-join.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "wire/message.h"

#define SLACK_MS 2000 /* between the clocks of two hosts, and of a connection's ends */
#define ENDS_MAX 8

/* One end, reduced to what tells it from others. */
struct end {
	uint32_t role;
	char server[SONDE_FLOW_ADDRESS_MAX]; /* as this end has it */
	uint32_t port;
	char process[SONDE_SPEC_TEXT_MAX], name[SONDE_SPEC_TEXT_MAX];
};

struct ends {
	struct end end[ENDS_MAX];
	size_t n;
};

static void read_end(const Sonde__V1__Flow *f, struct end *ret)
{
	bool client = f->role == SONDE__V1__FLOW_ROLE__FLOW_ROLE_CLIENT;

	ret->role = f->role;
	ret->port = client ? f->remote_port : f->local_port;
	sonde_flow_address(client ? f->remote_address : f->local_address, ret->server);
}

static int take_end(void *ctx, const struct sonde_store_row *row)
{
	_cleanup_(sonde_wire_freep) ProtobufCMessage *message = NULL;
	struct ends *ends = ctx;
	struct end *end = &ends->end[ends->n];
	const void *data;
	size_t n;
	int r;

	if (ends->n == ENDS_MAX)
		return 0;
	data = sonde_store_row_blob(row, 3, &n);
	r = sonde_wire_unpack(&sonde__v1__flow__descriptor, data, n, NULL, &message);
	if (r < 0)
		return r;
	read_end((const Sonde__V1__Flow *)message, end);
	(void)snprintf(end->process, sizeof(end->process), "%s", sonde_store_row_text(row, 1));
	(void)snprintf(end->name, sizeof(end->name), "%s", sonde_store_row_text(row, 2));
	ends->n++;
	return 0;
}

static int find_ends(struct sonde_backend *b, const Sonde__V1__Flow *f, uint32_t not_role,
		     struct ends *ret)
{
	char client[SONDE_FLOW_CLIENT_MAX];
	int64_t from = f->start_wall_ms ? f->start_wall_ms - SLACK_MS : 0;
	int64_t to = f->end_wall_ms ? f->end_wall_ms + SLACK_MS : INT64_MAX;

	sonde_flow_client(f, client);
	if (client[0] == '\0')
		return 0;
	return sonde_store_select(b->store, SONDE_STORE_GET_FLOW_ENDS, take_end, ret, "tiii",
				  client, (int64_t)not_role, from, to);
}

static bool same_server(const struct end *a, const struct end *b)
{
	return a->port == b->port && strcmp(a->server, b->server) == 0;
}

/* Another connection of the same client address and port: it has its own end on our side. */
static bool has_own_end(const struct ends *ours, const struct end *candidate)
{
	for (size_t i = 0; i < ours->n; i++) {
		if (same_server(&ours->end[i], candidate))
			return true;
	}
	return false;
}

/* NULL: none, or several processes, between which nothing decides. */
static const struct end *choose(const struct ends *theirs, const struct ends *ours,
				const struct end *self, bool *ret_translated)
{
	const struct end *found = NULL;

	*ret_translated = false;
	for (size_t i = 0; i < theirs->n; i++) {
		if (same_server(&theirs->end[i], self))
			return &theirs->end[i];
	}
	*ret_translated = true;
	for (size_t i = 0; i < theirs->n; i++) {
		const struct end *candidate = &theirs->end[i];

		if (has_own_end(ours, candidate))
			continue;
		if (found && (strcmp(found->process, candidate->process) != 0 ||
			      !same_server(found, candidate)))
			return NULL;
		found = candidate;
	}
	return found;
}

int sonde_flow_join(struct sonde_backend *b, const Sonde__V1__Flow *f, struct sonde_flow_join *ret)
{
	const uint32_t other = f->role == SONDE__V1__FLOW_ROLE__FLOW_ROLE_CLIENT
				       ? SONDE__V1__FLOW_ROLE__FLOW_ROLE_SERVER
				       : SONDE__V1__FLOW_ROLE__FLOW_ROLE_CLIENT;
	struct ends theirs = {0}, ours = {0};
	const struct end *found, *server, *client;
	struct end self = {0};
	int r;

	read_end(f, &self);
	r = find_ends(b, f, f->role, &theirs);
	if (r < 0 || theirs.n == 0)
		return r;
	r = find_ends(b, f, other, &ours);
	if (r < 0)
		return r;
	found = choose(&theirs, &ours, &self, &ret->translated);
	if (!found)
		return 0;
	ret->found = true;
	memcpy(ret->process, found->process, sizeof(ret->process));
	memcpy(ret->name, found->name, sizeof(ret->name));
	server = f->role == SONDE__V1__FLOW_ROLE__FLOW_ROLE_SERVER ? &self : found;
	client = server == found ? &self : found;
	memcpy(ret->address, server->server, sizeof(ret->address));
	ret->port = server->port;
	memcpy(ret->service, client->server, sizeof(ret->service));
	ret->service_port = client->port;
	return 0;
}
