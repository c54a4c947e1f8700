/* SPDX-License-Identifier: Apache-2.0 */
#include "probe/channel.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "base/clock.h"

/* Return: 1 = ready, 0 = time is up, -errno. */
static int wait_for(int sock, short events, uint64_t until_ns, short *ret_revents)
{
	struct pollfd p = {.fd = sock, .events = events};
	int n;

	do {
		uint64_t now = sonde_mono_ns();
		int ms = now >= until_ns ? 0 : (int)((until_ns - now) / SONDE_NS_PER_MS) + 1;

		n = poll(&p, 1, ms);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	*ret_revents = p.revents;
	return n;
}

/* One packet. Return: 0, -EMSGSIZE (larger than the socket's buffer), as sonde_channel_send(). */
static int send_packet(int sock, const void *data, size_t size)
{
	uint64_t until_ns = 0;

	for (;;) {
		ssize_t n = send(sock, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
		short revents;
		int r;

		if (n == (ssize_t)size)
			return 0;
		if (n >= 0)
			return -EIO; /* SOCK_SEQPACKET sends whole messages */
		if (errno == ECONNRESET || errno == EPIPE)
			return -EPIPE;
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return -errno;
		if (until_ns == 0)
			until_ns = sonde_mono_ns() + SONDE_CHANNEL_SEND_MAX_NS;
		r = wait_for(sock, POLLOUT, until_ns, &revents);
		if (r < 0)
			return r;
		if (r == 0)
			return -ETIMEDOUT;
	}
}

/* What is held, in one packet; one by one where the machine's administrator has made socket buffers that small. */
static int flush(struct sonde_channel *c)
{
	int r = send_packet(c->sock, c->held, c->n * sizeof(c->held[0]));

	if (r == -EMSGSIZE) {
		r = 0;
		for (unsigned int i = 0; r == 0 && i < c->n; i++)
			r = send_packet(c->sock, &c->held[i], sizeof(c->held[i]));
	}
	c->n = 0;
	return r;
}

/* A record waits for those behind it: an END always comes. */
static bool is_record(uint32_t type)
{
	return type != SONDE_PROBE_END && type != SONDE_PROBE_HELLO &&
	       type != SONDE_PROBE_TASK_ENDED;
}

int sonde_channel_send(struct sonde_channel *c, const struct sonde_probe_reply *reply)
{
	assert(c && reply && c->n < SONDE_PROBE_PACKET_MAX);

	c->held[c->n++] = *reply;
	if (is_record(reply->type) && c->n < SONDE_PROBE_PACKET_MAX)
		return 0;
	return flush(c);
}

int sonde_channel_receive(int sock, int timeout_ms, struct sonde_probe_request *ret, size_t *ret_n)
{
	struct pollfd p = {.fd = sock, .events = POLLIN};
	ssize_t n;

	assert(ret && ret_n);

	n = poll(&p, 1, timeout_ms);
	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	if (n == 0)
		return 0;
	n = recv(sock, ret, sizeof(*ret), MSG_DONTWAIT | MSG_TRUNC);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n < 0)
		return errno == ECONNRESET ? -EPIPE : -errno;
	if (n == 0 &&
	    (p.revents & POLLHUP)) /* else an empty message, which is one of a wrong size */
		return -EPIPE;
	*ret_n = (size_t)n;
	return 1;
}

int sonde_channel_drain(int sock)
{
	struct sonde_probe_request stale;
	size_t size;
	int r;

	for (int n = 0; n < SONDE_CHANNEL_STALE_MAX; n++) {
		r = sonde_channel_receive(sock, 0, &stale, &size);
		if (r < 0)
			return r;
		if (r == 0)
			return n;
	}
	return -E2BIG;
}
