/* SPDX-License-Identifier: Apache-2.0 */
#include "io/address.h"

#include <arpa/inet.h>
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/num.h"

static bool is_ipv6(const char *host)
{
	char text[SONDE_ADDRESS_HOST_MAX];
	struct in6_addr in6;
	char *scope;

	(void)snprintf(text, sizeof(text), "%s", host);
	scope = strchr(text, '%');
	if (scope) {
		*scope = '\0';
		if (scope[1] == '\0' || strlen(scope + 1) >= IF_NAMESIZE)
			return false;
	}
	return inet_pton(AF_INET6, text, &in6) == 1;
}

/* Names of hosts have more rules; who resolves them knows them. This keeps out what no name can hold. */
static bool is_name(const char *host)
{
	for (const char *p = host; *p; p++) {
		if (!isalnum((unsigned char)*p) && !strchr("-._", *p))
			return false;
	}
	return *host && *host != '-' && *host != '.';
}

int sonde_address_make(const char *host, uint16_t port, struct sonde_address *ret)
{
	struct sonde_address a = {.port = port};
	size_t n;

	assert(host && ret);

	n = strlen(host);
	if (n >= 2 && host[0] == '[' && host[n - 1] == ']') {
		host++;
		n -= 2;
		if (!memchr(host, ':', n))
			return -EINVAL;
	}
	if (port == 0 || n == 0 || n >= sizeof(a.host))
		return -EINVAL;
	memcpy(a.host, host, n);
	if (!(strchr(a.host, ':') ? is_ipv6(a.host) : is_name(a.host)))
		return -EINVAL;
	*ret = a;
	return 0;
}

int sonde_address_parse(const char *text, uint16_t default_port, struct sonde_address *ret)
{
	char host[SONDE_ADDRESS_HOST_MAX + 2];
	const char *colon, *end;
	uint64_t port = default_port;

	assert(text && ret);

	end = text + strlen(text);
	colon = strrchr(text, ':');
	/* Without brackets the last group of an IPv6 address would pass for a port. */
	if (text[0] != '[' && colon && strchr(text, ':') != colon)
		return -EINVAL;
	if (colon && !strchr(colon, ']')) {
		if (sonde_parse_u64(colon + 1, 1, UINT16_MAX, &port) < 0)
			return -EINVAL;
		end = colon;
	}
	if ((size_t)(end - text) >= sizeof(host))
		return -EINVAL;
	(void)snprintf(host, sizeof(host), "%.*s", (int)(end - text), text);
	return sonde_address_make(host, (uint16_t)port, ret);
}

void sonde_address_format(const struct sonde_address *a, char ret[static SONDE_ADDRESS_TEXT_MAX])
{
	assert(a);
	(void)snprintf(ret, SONDE_ADDRESS_TEXT_MAX, strchr(a->host, ':') ? "[%s]:%u" : "%s:%u",
		       a->host, a->port);
}

void sonde_address_name(const struct sonde_address *a, char ret[static SONDE_ADDRESS_HOST_MAX])
{
	size_t n;

	assert(a);

	(void)snprintf(ret, SONDE_ADDRESS_HOST_MAX, "%s", a->host);
	ret[strcspn(ret, "%")] = '\0';
	n = strlen(ret);
	if (n > 1 && ret[n - 1] == '.')
		ret[n - 1] = '\0';
}
