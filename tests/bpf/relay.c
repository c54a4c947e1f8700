/* SPDX-License-Identifier: Apache-2.0 */
#include "relay.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/if_tun.h>
#include <linux/ipv6.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

#define PACKET_MAX 2048
#define HELD_MAX 1024	  /* packets in the pipe; more are dropped by the TUN queue */
#define SEGMENTS_MAX 1024 /* data segments waiting for their ACK */

struct held {
	uint64_t due_ns;
	size_t len;
	uint8_t data[PACKET_MAX];
};

/* A data segment that the client's side sent and that is not acknowledged yet. */
struct segment {
	uint32_t end_seq;
	uint16_t client_port;
	uint64_t read_ns;
};

struct sonde_test_relay {
	uint64_t hold_ns;
	int netns_fd[2];
	int tun_fd[2];
	int stop_fd; /* eventfd */
	pthread_t thread;
	bool running;
	atomic_uint to_drop;
	atomic_ullong packets[2];

	struct held *held; /* ring of HELD_MAX: the hold is constant, so order is kept */
	size_t held_head, held_n;
	struct segment segment[SEGMENTS_MAX];
	size_t n_segments;

	pthread_mutex_t lock; /* samples */
	uint64_t *sample;
	size_t n_samples;
};

static void fclosep(FILE **f)
{
	if (*f)
		(void)fclose(*f);
}

/* Runs @fn in the network namespace @netns_fd and comes back. */
static int in_netns(int netns_fd, int (*fn)(void *arg), void *arg)
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
			if (sscanf(line, "%*s %*x %*x %x %x relay", &scope, &flags) == 2 &&
			    scope == 0 && strstr(line, " relay") && !(flags & IFA_F_TENTATIVE))
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
		open("/proc/sys/net/ipv6/conf/relay/accept_dad", O_WRONLY | O_CLOEXEC);
	struct ifreq ifr = {.ifr_name = "relay"};
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
	struct ifreq ifr = {.ifr_name = "relay"};
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

/* TCP header and payload length of an IPv4 or IPv6 packet; false for anything else. */
static bool parse_tcp(const uint8_t *p, size_t len, struct tcphdr *ret_tcp, size_t *ret_payload)
{
	size_t ip_len, total;

	if (len >= sizeof(struct iphdr) && p[0] >> 4 == 4) {
		struct iphdr ip;

		memcpy(&ip, p, sizeof(ip));
		ip_len = (size_t)ip.ihl * 4;
		total = ntohs(ip.tot_len);
		if (ip.protocol != IPPROTO_TCP)
			return false;
	} else if (len >= sizeof(struct ip6_hdr) && p[0] >> 4 == 6) {
		struct ip6_hdr ip6;

		memcpy(&ip6, p, sizeof(ip6));
		ip_len = sizeof(ip6);
		total = ip_len + ntohs(ip6.ip6_plen);
		if (ip6.ip6_nxt != IPPROTO_TCP)
			return false;
	} else {
		return false;
	}
	if (len < ip_len + sizeof(*ret_tcp))
		return false;
	memcpy(ret_tcp, p + ip_len, sizeof(*ret_tcp));
	if (total < ip_len + (size_t)ret_tcp->doff * 4)
		return false;
	*ret_payload = total - ip_len - (size_t)ret_tcp->doff * 4;
	return true;
}

static void note_sent(struct sonde_test_relay *r, const struct tcphdr *tcp, size_t payload,
		      uint64_t now)
{
	struct segment *s;

	if (payload == 0 || r->n_segments == SEGMENTS_MAX)
		return;
	s = &r->segment[r->n_segments++];
	s->end_seq = ntohl(tcp->seq) + (uint32_t)payload;
	s->client_port = ntohs(tcp->source);
	s->read_ns = now;
}

/* One sample an ACK: of the newest segment that it covers, as the kernel's RACK takes it. Under the lock. */
static void note_acked(struct sonde_test_relay *r, const struct tcphdr *tcp, uint64_t now)
{
	const uint32_t ack = ntohl(tcp->ack_seq);
	const uint16_t port = ntohs(tcp->dest);
	uint64_t newest = 0;
	size_t kept = 0;

	if (!tcp->ack)
		return;
	for (size_t i = 0; i < r->n_segments; i++) {
		const struct segment s = r->segment[i];

		if (s.client_port == port && (int32_t)(ack - s.end_seq) >= 0) {
			if (s.read_ns > newest)
				newest = s.read_ns;
		} else {
			r->segment[kept++] = s;
		}
	}
	r->n_segments = kept;
	if (newest == 0)
		return;
	if (r->n_samples < SONDE_TEST_RELAY_SAMPLES_MAX)
		r->sample[r->n_samples++] = now - newest;
}

/* Client's side: read all there is and hold it. */
static void take_in(struct sonde_test_relay *r)
{
	while (r->held_n < HELD_MAX) {
		struct held *h = &r->held[(r->held_head + r->held_n) % HELD_MAX];
		ssize_t n = read(r->tun_fd[SONDE_TEST_CLIENT], h->data, sizeof(h->data));
		uint64_t now = sonde_mono_ns();
		struct tcphdr tcp;
		size_t payload;

		if (n <= 0)
			return;
		atomic_fetch_add(&r->packets[SONDE_TEST_CLIENT], 1);
		if (atomic_load(&r->to_drop) > 0 && parse_tcp(h->data, (size_t)n, &tcp, &payload) &&
		    payload > 0) {
			atomic_fetch_sub(&r->to_drop, 1);
			continue;
		}
		if (parse_tcp(h->data, (size_t)n, &tcp, &payload))
			note_sent(r, &tcp, payload, now);
		h->len = (size_t)n;
		h->due_ns = now + r->hold_ns;
		r->held_n++;
	}
}

static void let_out(struct sonde_test_relay *r)
{
	while (r->held_n > 0 && r->held[r->held_head].due_ns <= sonde_mono_ns()) {
		const struct held *h = &r->held[r->held_head];

		(void)!write(r->tun_fd[SONDE_TEST_SERVER], h->data, h->len);
		r->held_head = (r->held_head + 1) % HELD_MAX;
		r->held_n--;
	}
}

static void carry_back(struct sonde_test_relay *r)
{
	uint8_t data[PACKET_MAX];
	struct tcphdr tcp;
	size_t payload;
	ssize_t n;

	while ((n = read(r->tun_fd[SONDE_TEST_SERVER], data, sizeof(data))) > 0) {
		atomic_fetch_add(&r->packets[SONDE_TEST_SERVER], 1);
		/* Who got the packet may ask for its sample at once, so he waits for it. */
		(void)pthread_mutex_lock(&r->lock);
		(void)!write(r->tun_fd[SONDE_TEST_CLIENT], data, (size_t)n);
		if (parse_tcp(data, (size_t)n, &tcp, &payload))
			note_acked(r, &tcp, sonde_mono_ns());
		(void)pthread_mutex_unlock(&r->lock);
	}
}

static void *relay_main(void *arg)
{
	struct sonde_test_relay *r = arg;
	struct pollfd fds[] = {
		{.fd = r->tun_fd[SONDE_TEST_CLIENT], .events = POLLIN},
		{.fd = r->tun_fd[SONDE_TEST_SERVER], .events = POLLIN},
		{.fd = r->stop_fd, .events = POLLIN},
	};

	for (;;) {
		struct timespec wait = {.tv_sec = 1};

		if (r->held_n > 0) {
			uint64_t now = sonde_mono_ns(), due = r->held[r->held_head].due_ns;
			uint64_t left = due > now ? due - now : 0;

			wait.tv_sec = (time_t)(left / SONDE_NS_PER_S);
			wait.tv_nsec = (long)(left % SONDE_NS_PER_S);
		}
		if (ppoll(fds, ELEMENTS_OF(fds), &wait, NULL) < 0 && errno != EINTR)
			return NULL;
		if (fds[2].revents)
			return NULL;
		take_in(r);
		let_out(r);
		carry_back(r);
	}
}

int sonde_test_relay_new(uint64_t hold_ns, struct sonde_test_relay **ret)
{
	_cleanup_(sonde_test_relay_freep) struct sonde_test_relay *r = calloc(1, sizeof(*r));
	int k;

	if (!r)
		return -ENOMEM;
	r->hold_ns = hold_ns;
	r->netns_fd[0] = r->netns_fd[1] = r->tun_fd[0] = r->tun_fd[1] = r->stop_fd = -1;
	(void)pthread_mutex_init(&r->lock, NULL);
	r->held = calloc(HELD_MAX, sizeof(*r->held));
	r->sample = calloc(SONDE_TEST_RELAY_SAMPLES_MAX, sizeof(*r->sample));
	r->stop_fd = eventfd(0, EFD_CLOEXEC);
	if (!r->held || !r->sample || r->stop_fd < 0)
		return -ENOMEM;
	for (int side = 0; side < 2; side++) {
		struct make_tun m = {.side = (enum sonde_test_side)side, .ret_fd = -1};

		r->netns_fd[side] = new_netns();
		if (r->netns_fd[side] < 0)
			return r->netns_fd[side];
		k = in_netns(r->netns_fd[side], make_tun, &m);
		if (k < 0)
			return k;
		r->tun_fd[side] = m.ret_fd;
	}
	k = pthread_create(&r->thread, NULL, relay_main, r);
	if (k != 0)
		return -k;
	r->running = true;
	*ret = TAKE_PTR(r);
	return 0;
}

struct sonde_test_relay *sonde_test_relay_free(struct sonde_test_relay *r)
{
	const uint64_t one = 1;

	if (!r)
		return NULL;
	if (r->running) {
		(void)!write(r->stop_fd, &one, sizeof(one));
		(void)pthread_join(r->thread, NULL);
	}
	for (int side = 0; side < 2; side++) {
		closep(&r->tun_fd[side]);
		closep(&r->netns_fd[side]);
	}
	closep(&r->stop_fd);
	(void)pthread_mutex_destroy(&r->lock);
	free(r->held);
	free(r->sample);
	free(r);
	return NULL;
}

static int open_socket(void *arg)
{
	int fd = socket(*(int *)arg, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return fd < 0 ? -errno : fd;
}

int sonde_test_relay_socket(struct sonde_test_relay *r, enum sonde_test_side side, int family)
{
	return in_netns(r->netns_fd[side], open_socket, &family);
}

void sonde_test_relay_drop(struct sonde_test_relay *r, unsigned n)
{
	atomic_store(&r->to_drop, n);
}

size_t sonde_test_relay_samples(struct sonde_test_relay *r, uint64_t *ret, size_t capacity)
{
	size_t n;

	(void)pthread_mutex_lock(&r->lock);
	n = r->n_samples;
	memcpy(ret, r->sample, (n < capacity ? n : capacity) * sizeof(*ret));
	(void)pthread_mutex_unlock(&r->lock);
	return n;
}

uint64_t sonde_test_relay_packets(struct sonde_test_relay *r, enum sonde_test_side from)
{
	return atomic_load(&r->packets[from]);
}
