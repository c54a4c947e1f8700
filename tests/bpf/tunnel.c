/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/if_tun.h>
#include <linux/ipv6.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static void fclosep(FILE **f)
{
	if (*f)
		(void)fclose(*f);
}

int sonde_test_in_netns(int netns_fd, int (*fn)(void *arg), void *arg)
{
	_cleanup_close_ int home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	int r;

	if (home < 0 || setns(netns_fd, CLONE_NEWNET) < 0)
		return -errno;
	r = fn(arg);
	if (setns(home, CLONE_NEWNET) < 0)
		abort(); /* the rest of the test would run in the wrong place */
	return r;
}

static int new_netns(void)
{
	_cleanup_close_ int home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	int fd;

	if (home < 0 || unshare(CLONE_NEWNET) < 0)
		return -errno;
	fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	if (setns(home, CLONE_NEWNET) < 0)
		abort();
	return fd < 0 ? -errno : fd;
}

struct make_tun {
	enum sonde_test_side side;
	int ret_fd;
};

/* Even without duplicate address detection an address is tentative until a kernel worker ran. */
static int wait_for_ipv6(void)
{
	for (int tries = 0; tries < 500; tries++) {
		_cleanup_(fclosep) FILE *f = fopen("/proc/thread-self/net/if_inet6", "re");
		char line[128];
		unsigned int scope, flags;

		while (f && fgets(line, sizeof(line), f))
			/* NOLINTNEXTLINE(cert-err34-c): the kernel's own hex, two digits each */
			if (sscanf(line, "%*s %*x %*x %x %x wire", &scope, &flags) == 2 &&
			    scope == 0 && strstr(line, " wire") && !(flags & IFA_F_TENTATIVE))
				return 0;
		(void)usleep(10000);
	}
	return -EADDRNOTAVAIL;
}

static int set_addresses(enum sonde_test_side side)
{
	_cleanup_close_ int s4 = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	_cleanup_close_ int s6 = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	_cleanup_close_ int dad =
		open("/proc/sys/net/ipv6/conf/wire/accept_dad", O_WRONLY | O_CLOEXEC);
	struct ifreq ifr = {.ifr_name = "wire"};
	struct sockaddr_in *sin = (struct sockaddr_in *)&ifr.ifr_addr;
	struct in6_ifreq ifr6 = {.ifr6_prefixlen = 64};
	const uint8_t host = side == SONDE_TEST_CLIENT ? 1 : 2;

	if (s4 < 0 || s6 < 0)
		return -errno;
	if (dad >= 0)
		(void)!write(dad, "0", 1);
	sin->sin_family = AF_INET;
	sin->sin_addr.s_addr = htonl(0x0a090000U | host);
	if (ioctl(s4, SIOCSIFADDR, &ifr) < 0)
		return -errno;
	sin->sin_addr.s_addr = htonl(0xffffff00U);
	if (ioctl(s4, SIOCSIFNETMASK, &ifr) < 0)
		return -errno;
	if (ioctl(s4, SIOCGIFFLAGS, &ifr) < 0)
		return -errno;
	ifr.ifr_flags |= IFF_UP | IFF_RUNNING;
	if (ioctl(s4, SIOCSIFFLAGS, &ifr) < 0)
		return -errno;
	if (ioctl(s4, SIOCGIFINDEX, &ifr) < 0)
		return -errno;
	ifr6.ifr6_ifindex = ifr.ifr_ifindex;
	ifr6.ifr6_addr.s6_addr[0] = 0xfd;
	ifr6.ifr6_addr.s6_addr[3] = 0x09;
	ifr6.ifr6_addr.s6_addr[15] = host;
	if (ioctl(s6, SIOCSIFADDR, &ifr6) < 0)
		return -errno;
	return wait_for_ipv6();
}

static int make_tun(void *arg)
{
	struct make_tun *m = arg;
	_cleanup_close_ int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	struct ifreq ifr = {.ifr_name = "wire"};
	int r;

	if (fd < 0)
		return -errno;
	ifr.ifr_flags = IFF_TUN | IFF_NO_PI;
	if (ioctl(fd, TUNSETIFF, &ifr) < 0)
		return -errno;
	r = set_addresses(m->side);
	if (r < 0)
		return r;
	m->ret_fd = TAKE_FD(fd);
	return 0;
}

int sonde_test_tunnel_open(struct sonde_test_tunnel *t)
{
	*t = SONDE_TEST_TUNNEL_CLOSED;
	for (int side = 0; side < 2; side++) {
		struct make_tun m = {.side = (enum sonde_test_side)side, .ret_fd = -1};
		int r;

		t->netns_fd[side] = new_netns();
		if (t->netns_fd[side] < 0)
			return t->netns_fd[side];
		r = sonde_test_in_netns(t->netns_fd[side], make_tun, &m);
		if (r < 0)
			return r;
		t->tun_fd[side] = m.ret_fd;
	}
	return 0;
}

void sonde_test_tunnel_close(struct sonde_test_tunnel *t)
{
	for (int side = 0; side < 2; side++) {
		closep(&t->tun_fd[side]);
		closep(&t->netns_fd[side]);
	}
	*t = SONDE_TEST_TUNNEL_CLOSED;
}

struct open_socket {
	int family;
	int type;
};

static int open_socket(void *arg)
{
	const struct open_socket *s = arg;
	int fd = socket(s->family, s->type | SOCK_CLOEXEC, 0);

	return fd < 0 ? -errno : fd;
}

int sonde_test_tunnel_socket(const struct sonde_test_tunnel *t, enum sonde_test_side side,
			     int family, int type)
{
	struct open_socket s = {.family = family, .type = type};

	return sonde_test_in_netns(t->netns_fd[side], open_socket, &s);
}

socklen_t sonde_test_tunnel_server(int family, uint16_t port, struct sockaddr_storage *ret)
{
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret;
	struct sockaddr_in *v4 = (struct sockaddr_in *)ret;

	memset(ret, 0, sizeof(*ret));
	if (family == AF_INET) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		v4->sin_addr.s_addr = htonl(0x0a090002U);
		return sizeof(*v4);
	}
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons(port);
	v6->sin6_addr = (struct in6_addr){.s6_addr = {0xfd, 0, 0, 9, [15] = 2}};
	return sizeof(*v6);
}
