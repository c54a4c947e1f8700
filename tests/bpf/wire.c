/* SPDX-License-Identifier: Apache-2.0 */
#include "wire.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"

#define PACKET_MAX 2048
#define HELD_MAX 2048 /* packets under way; what comes more waits in the device's queue */
#define NOT_KEPT SIZE_MAX

struct held {
	uint64_t due_ns;
	size_t len;
	size_t kept; /* its place in the capture, or NOT_KEPT */
	enum sonde_test_side to;
	uint8_t data[PACKET_MAX];
};

struct direction {
	struct sonde_test_faults faults;
	unsigned int data_packets; /* since the faults were set */
	unsigned int to_drop;
	uint64_t last_due_ns; /* of those whose order is kept */
};

struct sonde_test_wire {
	struct sonde_test_tunnel tunnel;
	int stop_fd; /* eventfd */
	pthread_t thread;
	bool running;

	pthread_mutex_t lock; /* all below */
	struct direction direction[2];
	bool stopped;
	struct sonde_test_packet *packet;
	size_t n_packets;
	struct held *held;
	uint16_t order[HELD_MAX]; /* of what is held, by due time; behind them: what is free */
	size_t n_held;
};

static size_t find_transport(const uint8_t *p, size_t len, uint8_t *ret_protocol)
{
	if (len >= sizeof(struct iphdr) && p[0] >> 4 == 4) {
		*ret_protocol = p[9];
		return (size_t)(p[0] & 15) * 4;
	}
	if (len >= sizeof(struct ip6_hdr) && p[0] >> 4 == 6) {
		*ret_protocol = p[6];
		return sizeof(struct ip6_hdr);
	}
	return len;
}

/* What the capture keeps of it; protocol 0 when it is neither TCP nor UDP. */
static void parse(const uint8_t *p, size_t len, struct sonde_test_packet *ret)
{
	uint8_t protocol = 0;
	size_t at = find_transport(p, len, &protocol);

	if (protocol == IPPROTO_TCP && len >= at + sizeof(struct tcphdr)) {
		struct tcphdr tcp;

		memcpy(&tcp, p + at, sizeof(tcp));
		if (len < at + (size_t)tcp.doff * 4)
			return;
		ret->protocol = IPPROTO_TCP;
		ret->seq = ntohl(tcp.seq);
		ret->ack = ntohl(tcp.ack_seq);
		ret->source = ntohs(tcp.source);
		ret->dest = ntohs(tcp.dest);
		ret->window = ntohs(tcp.window);
		ret->flags = tcp.th_flags;
		ret->payload = (uint16_t)(len - at - (size_t)tcp.doff * 4);
	} else if (protocol == IPPROTO_UDP && len >= at + sizeof(struct udphdr)) {
		struct udphdr udp;

		memcpy(&udp, p + at, sizeof(udp));
		ret->protocol = IPPROTO_UDP;
		ret->source = ntohs(udp.source);
		ret->dest = ntohs(udp.dest);
		ret->payload = (uint16_t)(len - at - sizeof(udp));
	}
}

static bool is_nth(unsigned int n, unsigned int every)
{
	return every > 0 && n % every == 0;
}

static enum sonde_test_fate choose_fate(struct direction *d, const struct sonde_test_packet *packet)
{
	if (packet->payload == 0)
		return SONDE_TEST_CARRIED;
	d->data_packets++;
	if (d->to_drop > 0) {
		d->to_drop--;
		return SONDE_TEST_DROPPED;
	}
	if (is_nth(d->data_packets, d->faults.drop_every))
		return SONDE_TEST_DROPPED;
	if (is_nth(d->data_packets, d->faults.corrupt_every))
		return SONDE_TEST_CORRUPTED;
	if (is_nth(d->data_packets, d->faults.duplicate_every))
		return SONDE_TEST_DUPLICATED;
	if (is_nth(d->data_packets, d->faults.reorder_every))
		return SONDE_TEST_REORDERED;
	return SONDE_TEST_CARRIED;
}

static uint64_t due_of(struct direction *d, const struct sonde_test_packet *packet)
{
	uint64_t due = packet->read_ns + d->faults.hold_ns;

	if (packet->fate == SONDE_TEST_REORDERED)
		return due + d->faults.reorder_ns;
	if (packet->payload > 0 && d->data_packets % 2 == 0)
		due += d->faults.jitter_ns;
	if (due < d->last_due_ns)
		due = d->last_due_ns;
	d->last_due_ns = due;
	return due;
}

/* Behind those that are due at the same time or before. @data is what @like says, but for its bytes. */
static void hold(struct sonde_test_wire *w, const struct held *like, const uint8_t *data)
{
	const uint16_t slot = w->order[w->n_held];
	struct held *h = &w->held[slot];
	size_t at = w->n_held;

	h->due_ns = like->due_ns;
	h->len = like->len;
	h->kept = like->kept;
	h->to = like->to;
	memcpy(h->data, data, like->len);
	while (at > 0 && w->held[w->order[at - 1]].due_ns > like->due_ns) {
		w->order[at] = w->order[at - 1];
		at--;
	}
	w->order[at] = slot;
	w->n_held++;
}

static void take(struct sonde_test_wire *w, uint8_t *data, size_t len, enum sonde_test_side from)
{
	struct sonde_test_packet packet = {.read_ns = sonde_mono_ns(), .from = (uint8_t)from};
	struct direction *d = &w->direction[from];
	struct held like = {.len = len, .kept = NOT_KEPT, .to = 1 - from};

	parse(data, len, &packet);
	packet.fate = (uint8_t)choose_fate(d, &packet);
	if (w->n_packets < SONDE_TEST_CAPTURE_MAX) {
		like.kept = w->n_packets++;
		w->packet[like.kept] = packet;
	}
	if (packet.fate == SONDE_TEST_DROPPED)
		return;
	if (packet.fate == SONDE_TEST_CORRUPTED)
		data[len - 1] ^= 0xff;
	like.due_ns = due_of(d, &packet);
	hold(w, &like, data);
	like.kept = NOT_KEPT;
	if (packet.fate == SONDE_TEST_DUPLICATED)
		hold(w, &like, data);
}

/* Two places must be free: a packet may be held twice. */
static void take_in(struct sonde_test_wire *w, enum sonde_test_side from)
{
	uint8_t data[PACKET_MAX];
	ssize_t n;

	(void)pthread_mutex_lock(&w->lock);
	while (w->n_held + 2 <= HELD_MAX &&
	       (n = read(w->tunnel.tun_fd[from], data, sizeof(data))) > 0)
		take(w, data, (size_t)n, from);
	(void)pthread_mutex_unlock(&w->lock);
}

/* Under the lock while it is written: who sees its effect and asks for the capture waits for it. */
static void let_out(struct sonde_test_wire *w)
{
	size_t n = 0;

	(void)pthread_mutex_lock(&w->lock);
	while (n < w->n_held && !w->stopped) {
		const struct held *h = &w->held[w->order[n]];
		uint64_t now = sonde_mono_ns();

		if (h->due_ns > now)
			break;
		if (h->kept != NOT_KEPT)
			w->packet[h->kept].written_ns = now;
		(void)!write(w->tunnel.tun_fd[h->to], h->data, h->len);
		n++;
	}
	if (n > 0) {
		uint16_t freed[HELD_MAX];

		memcpy(freed, w->order, n * sizeof(freed[0]));
		memmove(w->order, w->order + n, (w->n_held - n) * sizeof(freed[0]));
		w->n_held -= n;
		memcpy(w->order + w->n_held, freed, n * sizeof(freed[0]));
	}
	(void)pthread_mutex_unlock(&w->lock);
}

/* Until the first that is held is due, at most a second. The thread alone changes what is held. */
static struct timespec time_to_wait(struct sonde_test_wire *w)
{
	uint64_t left = SONDE_NS_PER_S, now = sonde_mono_ns();
	bool stopped;

	(void)pthread_mutex_lock(&w->lock);
	stopped = w->stopped;
	(void)pthread_mutex_unlock(&w->lock);
	if (stopped)
		left = 10 * SONDE_NS_PER_MS; /* nobody says when it goes on */
	else if (w->n_held > 0)
		left = w->held[w->order[0]].due_ns > now ? w->held[w->order[0]].due_ns - now : 0;
	return (struct timespec){.tv_sec = (time_t)(left / SONDE_NS_PER_S),
				 .tv_nsec = (long)(left % SONDE_NS_PER_S)};
}

static void *wire_main(void *arg)
{
	struct sonde_test_wire *w = arg;

	for (;;) {
		const short wants = w->n_held + 2 <= HELD_MAX ? POLLIN : 0;
		struct pollfd fds[] = {
			{.fd = w->tunnel.tun_fd[SONDE_TEST_CLIENT], .events = wants},
			{.fd = w->tunnel.tun_fd[SONDE_TEST_SERVER], .events = wants},
			{.fd = w->stop_fd, .events = POLLIN},
		};
		struct timespec wait = time_to_wait(w);

		if (ppoll(fds, ELEMENTS_OF(fds), &wait, NULL) < 0 && errno != EINTR)
			return NULL;
		if (fds[2].revents)
			return NULL;
		take_in(w, SONDE_TEST_CLIENT);
		take_in(w, SONDE_TEST_SERVER);
		let_out(w);
	}
}

int sonde_test_wire_new(uint64_t hold_ns, struct sonde_test_wire **ret)
{
	_cleanup_(sonde_test_wire_freep) struct sonde_test_wire *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return -ENOMEM;
	w->tunnel = SONDE_TEST_TUNNEL_CLOSED;
	(void)pthread_mutex_init(&w->lock, NULL);
	for (size_t i = 0; i < HELD_MAX; i++)
		w->order[i] = (uint16_t)i;
	w->direction[0].faults.hold_ns = w->direction[1].faults.hold_ns = hold_ns;
	w->packet = calloc(SONDE_TEST_CAPTURE_MAX, sizeof(*w->packet));
	w->held = calloc(HELD_MAX, sizeof(*w->held));
	w->stop_fd = eventfd(0, EFD_CLOEXEC);
	if (!w->packet || !w->held || w->stop_fd < 0)
		return -ENOMEM;
	r = sonde_test_tunnel_open(&w->tunnel);
	if (r < 0)
		return r;
	r = pthread_create(&w->thread, NULL, wire_main, w);
	if (r != 0)
		return -r;
	w->running = true;
	*ret = TAKE_PTR(w);
	return 0;
}

struct sonde_test_wire *sonde_test_wire_free(struct sonde_test_wire *w)
{
	const uint64_t one = 1;

	if (!w)
		return NULL;
	if (w->running) {
		(void)!write(w->stop_fd, &one, sizeof(one));
		(void)pthread_join(w->thread, NULL);
	}
	sonde_test_tunnel_close(&w->tunnel);
	closep(&w->stop_fd);
	(void)pthread_mutex_destroy(&w->lock);
	free(w->packet);
	free(w->held);
	free(w);
	return NULL;
}

const struct sonde_test_tunnel *sonde_test_wire_tunnel(const struct sonde_test_wire *w)
{
	return &w->tunnel;
}

void sonde_test_wire_set(struct sonde_test_wire *w, enum sonde_test_side from,
			 const struct sonde_test_faults *faults)
{
	(void)pthread_mutex_lock(&w->lock);
	w->direction[from].faults = *faults;
	w->direction[from].data_packets = 0;
	(void)pthread_mutex_unlock(&w->lock);
}

void sonde_test_wire_drop(struct sonde_test_wire *w, enum sonde_test_side from, unsigned int n)
{
	(void)pthread_mutex_lock(&w->lock);
	w->direction[from].to_drop = n;
	(void)pthread_mutex_unlock(&w->lock);
}

void sonde_test_wire_stop(struct sonde_test_wire *w, bool stopped)
{
	(void)pthread_mutex_lock(&w->lock);
	w->stopped = stopped;
	(void)pthread_mutex_unlock(&w->lock);
}

struct sonde_test_packet *sonde_test_wire_capture(struct sonde_test_wire *w, size_t *ret_n)
{
	struct sonde_test_packet *copy;

	(void)pthread_mutex_lock(&w->lock);
	copy = calloc(w->n_packets + 1, sizeof(*copy));
	if (copy) {
		memcpy(copy, w->packet, w->n_packets * sizeof(*copy));
		*ret_n = w->n_packets;
	}
	(void)pthread_mutex_unlock(&w->lock);
	return copy;
}
