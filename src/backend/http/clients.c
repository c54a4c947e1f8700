/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/http/clients.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define NETWORK_BYTES 8 /* /64: what one subscriber of IPv6 has at least */

const unsigned sonde_http_phase_s[_SONDE_HTTP_PHASE_MAX] = {
	[SONDE_HTTP_HEADERS] = 30,
	[SONDE_HTTP_BODY] = 60,
	[SONDE_HTTP_ANSWER] = 300,
};

static size_t address_bytes(const struct sockaddr *a)
{
	if (a->sa_family == AF_INET)
		return sizeof(struct sockaddr_in);
	return a->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : 0;
}

struct sonde_http_client *sonde_http_client_new(struct sonde_http_clients *list, void *ctx, int fd,
						const struct sockaddr *address, uint64_t now_ns)
{
	struct sonde_http_client *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->ctx = ctx;
	c->fd = fd;
	c->since_ns = now_ns;
	if (address)
		memcpy(&c->address, address, address_bytes(address));
	c->next = list->first;
	list->first = c;
	return c;
}

void sonde_http_client_free(struct sonde_http_clients *list, struct sonde_http_client *c)
{
	for (struct sonde_http_client **at = &list->first; *at; at = &(*at)->next) {
		if (*at != c)
			continue;
		*at = c->next;
		free(c);
		return;
	}
}

void sonde_http_client_enter(struct sonde_http_client *c, enum sonde_http_phase phase,
			     uint64_t now_ns)
{
	if (!c)
		return;
	c->phase = phase;
	c->since_ns = now_ns;
}

static bool same_host(const struct sockaddr *a, const struct sockaddr *b)
{
	/* By way of void: clang minds a cast to what is aligned more strictly, which either is. */
	const void *x = a, *y = b;
	const struct sockaddr_in *x4 = x, *y4 = y;
	const struct sockaddr_in6 *x6 = x, *y6 = y;
	bool whole;

	if (a->sa_family != b->sa_family)
		return false;
	if (a->sa_family == AF_INET)
		return memcmp(&x4->sin_addr, &y4->sin_addr, sizeof(struct in_addr)) == 0;
	if (a->sa_family != AF_INET6)
		return false;
	/* All of IPv4, and the loopback address, are within one /64. */
	whole = IN6_IS_ADDR_V4MAPPED(&x6->sin6_addr) || IN6_IS_ADDR_V4MAPPED(&y6->sin6_addr);
	return memcmp(&x6->sin6_addr, &y6->sin6_addr,
		      whole ? sizeof(struct in6_addr) : NETWORK_BYTES) == 0;
}

void sonde_http_clients_sum(const struct sonde_http_clients *list, const struct sockaddr *address,
			    struct sonde_http_share *ret)
{
	struct sonde_http_share sum = {0};

	for (const struct sonde_http_client *c = list->first; c; c = c->next) {
		if (address && !same_host((const struct sockaddr *)&c->address, address))
			continue;
		sum.connections++;
		sum.streams += c->streams;
		sum.answer_bytes += c->answer_bytes;
	}
	*ret = sum;
}

unsigned sonde_http_clients_expire(struct sonde_http_clients *list, uint64_t now_ns)
{
	unsigned n = 0;

	for (struct sonde_http_client *c = list->first; c; c = c->next) {
		unsigned limit_s = sonde_http_phase_s[c->phase];

		if (limit_s == 0 || c->ended || now_ns - c->since_ns < limit_s * SONDE_NS_PER_S)
			continue;
		/* The library finds its end, and closes it. */
		(void)shutdown(c->fd, SHUT_RDWR);
		c->ended = true;
		n++;
	}
	return n;
}
