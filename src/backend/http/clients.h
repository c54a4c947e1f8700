/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Clients: who is connected, and for how long each has been sending its request or taking its answer. The library
 * closes a connection on which nothing moves; one that moves a byte a second it keeps. Here each part of a request has
 * a time for all of it, and one address a share of the connections. Loop thread only.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/cleanup.h"

enum sonde_http_phase {
	SONDE_HTTP_HEADERS = 0, /* from the connection, or from the answer before */
	SONDE_HTTP_BODY,
	SONDE_HTTP_ANSWER,
	SONDE_HTTP_OPEN, /* it waits, or streams: the server's time */
	_SONDE_HTTP_PHASE_MAX,
};
extern const unsigned sonde_http_phase_s[_SONDE_HTTP_PHASE_MAX]; /* 0 = no end */

struct sonde_http_client {
	void *ctx;
	struct sonde_http_client *next;
	struct sockaddr_storage address;
	int fd; /* the library's */
	uint64_t since_ns;
	enum sonde_http_phase phase;
	size_t answer_bytes; /* of the answer under way */
	bool streams;
	bool ended; /* by us */
};

struct sonde_http_clients {
	struct sonde_http_client *first;
};

/* NULL when memory ran out: it then has no limit of time. */
struct sonde_http_client *sonde_http_client_new(struct sonde_http_clients *list, void *ctx, int fd,
						const struct sockaddr *address, uint64_t now_ns);
void sonde_http_client_free(struct sonde_http_clients *list, struct sonde_http_client *c);
/* @c may be NULL. */
void sonde_http_client_enter(struct sonde_http_client *c, enum sonde_http_phase phase,
			     uint64_t now_ns);

struct sonde_http_share {
	unsigned connections, streams;
	size_t answer_bytes;
};

/*
 * What this address holds: of IPv6 its /64, unless it is an address of IPv4 that came to a socket of both, which is a
 * host of its own. NULL: what all hold.
 */
void sonde_http_clients_sum(const struct sonde_http_clients *list, const struct sockaddr *address,
			    struct sonde_http_share *ret);

/* Ends those whose time is up. Return: how many. */
unsigned sonde_http_clients_expire(struct sonde_http_clients *list, uint64_t now_ns);
