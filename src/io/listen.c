/* SPDX-License-Identifier: Apache-2.0 */
#include "io/listen.h"

#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

static int find_port(int fd, uint16_t *ret)
{
	union {
		struct sockaddr any;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} a = {0};
	socklen_t n = sizeof(a);

	if (getsockname(fd, &a.any, &n) < 0)
		return -errno;
	*ret = ntohs(a.any.sa_family == AF_INET6 ? a.in6.sin6_port : a.in.sin_port);
	return 0;
}

int sonde_listen(const char *address, uint16_t port, int backlog, int *ret_fd, uint16_t *ret_port)
{
	const struct addrinfo hints = {
		.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
		.ai_socktype = SOCK_STREAM,
	};
	_cleanup_close_ int fd = -1;
	struct addrinfo *found = NULL;
	const int on = 1;
	char service[8];
	int r = 0;

	assert(address && ret_fd && ret_port);

	(void)snprintf(service, sizeof(service), "%u", (unsigned)port);
	if (getaddrinfo(address, service, &hints, &found) != 0 || !found)
		return -EINVAL;
	fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    bind(fd, found->ai_addr, found->ai_addrlen) < 0 || listen(fd, backlog) < 0)
		r = -errno;
	freeaddrinfo(found);
	if (r == 0)
		r = find_port(fd, ret_port);
	if (r < 0)
		return r;
	*ret_fd = TAKE_FD(fd);
	return 0;
}
