/* SPDX-License-Identifier: Apache-2.0 */
#include "veth.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"

static int refuse(const char *what)
{
	(void)fprintf(stderr, "skipped: %s: %s\n", what, strerror(errno));
	return -EOPNOTSUPP;
}

static pid_t start_holder(int *ret_ns)
{
	char path[64], byte;
	int ready[2];
	pid_t pid;

	if (pipe2(ready, O_CLOEXEC) < 0)
		return -1;
	pid = fork();
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (unshare(CLONE_NEWNET) == 0)
			(void)!write(ready[1], "x", 1);
		for (;;)
			(void)pause();
	}
	(void)close(ready[1]);
	if (pid > 0 && read(ready[0], &byte, 1) != 1)
		errno = EPERM;
	(void)close(ready[0]);
	(void)snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)pid);
	*ret_ns = open(path, O_RDONLY | O_CLOEXEC);
	return pid;
}

static bool set_up_links(const struct veth *v)
{
	return fixture_run("ip link set lo up && ip link add sondec type veth peer name sondes && "
			   "ip link set sondes netns %d && "
			   "ip addr add 10.251.7.1/24 dev sondec && "
			   "ip addr add fd00:51d::1/64 dev sondec nodad && ip link set sondec up",
			   (int)v->holder) &&
	       veth_run(v, VETH_SERVER,
			"ip link set lo up && ip addr add " VETH_SERVER_V4 "/24 dev sondes && "
			"ip addr add " VETH_SERVER_V6 "/64 dev sondes nodad && "
			"ip link set sondes up");
}

int veth_open(struct veth *v)
{
	*v = (struct veth){.home = -1, .ns = {-1, -1}};
	v->home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (v->home < 0)
		return refuse("no /proc/self/ns/net");
	v->holder = start_holder(&v->ns[VETH_SERVER]);
	if (v->holder < 0 || v->ns[VETH_SERVER] < 0 || unshare(CLONE_NEWNET) < 0)
		return refuse("no network namespace of our own");
	v->ns[VETH_CLIENT] = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (v->ns[VETH_CLIENT] < 0)
		return refuse("no /proc/self/ns/net");
	if (!set_up_links(v))
		return refuse("ip refused a veth pair");
	return 0;
}

void veth_close(struct veth *v)
{
	if (v->holder > 0) {
		(void)kill(v->holder, SIGKILL);
		(void)waitpid(v->holder, NULL, 0);
	}
	if (v->home >= 0)
		(void)setns(v->home, CLONE_NEWNET);
	fixture_close_fd(&v->home);
	fixture_close_fd(&v->ns[VETH_CLIENT]);
	fixture_close_fd(&v->ns[VETH_SERVER]);
}

void veth_enter(const struct veth *v, enum veth_side side)
{
	assert_int_equal(setns(v->ns[side], CLONE_NEWNET), 0);
}

bool veth_run(const struct veth *v, enum veth_side side, const char *fmt, ...)
{
	char command[768];
	va_list args;
	bool good;
	int n;

	va_start(args, fmt);
	n = vsnprintf(command, sizeof(command), fmt, args);
	va_end(args);
	if (n < 0 || (size_t)n >= sizeof(command) || setns(v->ns[side], CLONE_NEWNET) < 0)
		return false;
	good = fixture_run("%s", command);
	return setns(v->ns[VETH_CLIENT], CLONE_NEWNET) == 0 && good;
}

bool veth_add_chains(const struct veth *v)
{
	static const char commands[] = "nft add table inet sonde_test && "
				       "nft add chain inet sonde_test input "
				       "'{ type filter hook input priority 0; policy accept; }' && "
				       "nft add chain inet sonde_test output "
				       "'{ type filter hook output priority 0; policy accept; }'";

	return veth_run(v, VETH_CLIENT, commands) && veth_run(v, VETH_SERVER, commands);
}

struct veth_count veth_count(const struct veth *v, enum veth_side side, const char *chain)
{
	struct veth_count count = {0};
	char command[128], line[512];
	FILE *f;

	(void)snprintf(command, sizeof(command), "nft list chain %s", chain);
	veth_enter(v, side);
	f = popen(command, "re"); /* NOLINT(cert-env33-c): the tests' own words */
	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		const char *at = strstr(line, "counter packets ");
		unsigned long n, bytes;

		/* NOLINTNEXTLINE(cert-err34-c) */
		if (!at || sscanf(at, "counter packets %lu bytes %lu", &n, &bytes) != 2)
			continue;
		count.packets += n;
		count.bytes += bytes;
	}
	(void)pclose(f);
	veth_enter(v, VETH_CLIENT);
	return count;
}

struct veth_count veth_stop_chain(const struct veth *v, enum veth_side side, const char *chain)
{
	assert_true(veth_run(v, side, "nft insert rule %s accept", chain));
	return veth_count(v, side, chain);
}

void veth_wait_counted(const struct veth *v, enum veth_side side, const char *chain, uint64_t n)
{
	for (unsigned int i = 0; i < 6000; i++) {
		if (veth_count(v, side, chain).packets >= n)
			return;
		fixture_wait_ms(10);
	}
	fail_msg("%s never counted %u packets", chain, (unsigned int)n);
}

uint64_t veth_end_chain(const struct veth *v, enum veth_side side, const char *chain)
{
	struct veth_count count;
	char name[64];

	(void)snprintf(name, sizeof(name), "inet sonde_test %s", chain);
	count = veth_stop_chain(v, side, name);
	assert_true(veth_run(v, side, "nft flush chain %s", name));
	return count.packets;
}

static socklen_t server_address(int family, uint16_t port, struct sockaddr_storage *ret)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)ret;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret;

	memset(ret, 0, sizeof(*ret));
	if (family == AF_INET) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		assert_int_equal(inet_pton(AF_INET, VETH_SERVER_V4, &v4->sin_addr), 1);
		return sizeof(*v4);
	}
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons(port);
	assert_int_equal(inet_pton(AF_INET6, VETH_SERVER_V6, &v6->sin6_addr), 1);
	return sizeof(*v6);
}

int veth_listen(const struct veth *v, int family, int backlog, uint16_t *ret_port)
{
	struct sockaddr_storage addr;
	socklen_t len = server_address(family, 0, &addr);
	int fd;

	veth_enter(v, VETH_SERVER);
	fd = fixture_bind_anew(family, &addr, len, ret_port);
	veth_enter(v, VETH_CLIENT);
	assert_int_equal(listen(fd, backlog), 0);
	return fd;
}

int veth_connect(const struct veth *v, int family, uint16_t port, int flags)
{
	struct sockaddr_storage addr;
	socklen_t len = server_address(family, port, &addr);
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);

	assert_true(fd >= 0);
	if (connect(fd, (struct sockaddr *)&addr, len) < 0)
		assert_true(flags & SOCK_NONBLOCK && errno == EINPROGRESS);
	return fd;
}

struct fixture_pair veth_pair(const struct veth *v, int family)
{
	struct fixture_pair pair;

	pair.listener = veth_listen(v, family, 128, &pair.port);
	pair.client = veth_connect(v, family, pair.port, 0);
	pair.server = fixture_accept(pair.listener);
	return pair;
}
