/* SPDX-License-Identifier: Apache-2.0 */
#include "capture.h"

#include <netinet/in.h>
#include <netinet/tcp.h>

#define UNACKED_MAX 4096

static bool is_from(const struct sonde_test_capture *c, const struct sonde_test_packet *p,
		    enum sonde_test_side from)
{
	return p->from == from && (from == SONDE_TEST_CLIENT ? p->dest : p->source) == c->port;
}

static bool is_tcp_from(const struct sonde_test_capture *c, const struct sonde_test_packet *p,
			enum sonde_test_side from)
{
	return p->protocol == IPPROTO_TCP && is_from(c, p, from);
}

static bool before(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) < 0;
}

struct unacked {
	uint16_t client; /* port */
	uint32_t end;
	uint64_t read_ns; /* 0: sent again, so no sample */
};

/* Takes what @ack of that connection covers; the newest of it that was sent once, or 0. */
static uint64_t take_acked(struct unacked *unacked, size_t *n, uint16_t client, uint32_t ack)
{
	uint64_t newest = 0;
	size_t left = 0;

	for (size_t i = 0; i < *n; i++) {
		if (unacked[i].client != client || before(ack, unacked[i].end))
			unacked[left++] = unacked[i];
		else if (unacked[i].read_ns > newest)
			newest = unacked[i].read_ns;
	}
	*n = left;
	return newest;
}

/* A FIN is a byte of the sequence. */
static void note_sent(struct unacked *unacked, size_t *n, uint16_t client,
		      const struct sonde_test_packet *p)
{
	const uint32_t end = p->seq + p->payload + (p->flags & TH_FIN ? 1 : 0);

	for (size_t i = 0; i < *n; i++) {
		if (unacked[i].client == client && unacked[i].end == end) {
			unacked[i].read_ns = 0;
			return;
		}
	}
	if (*n < UNACKED_MAX)
		unacked[(*n)++] =
			(struct unacked){.client = client, .end = end, .read_ns = p->read_ns};
}

size_t sonde_test_capture_rtts(const struct sonde_test_capture *c, enum sonde_test_side from,
			       uint64_t *ret, size_t capacity)
{
	struct unacked unacked[UNACKED_MAX];
	size_t n_unacked = 0, n = 0;

	for (size_t i = 0; i < c->n; i++) {
		const struct sonde_test_packet *p = &c->packet[i];
		const uint16_t client = p->from == SONDE_TEST_CLIENT ? p->source : p->dest;
		uint64_t sent;

		if (is_tcp_from(c, p, from) && (p->payload > 0 || p->flags & TH_FIN))
			note_sent(unacked, &n_unacked, client, p);
		if (!is_tcp_from(c, p, 1 - from) || !(p->flags & TH_ACK) || p->written_ns == 0)
			continue;
		sent = take_acked(unacked, &n_unacked, client, p->ack);
		if (sent == 0)
			continue;
		if (n < capacity)
			ret[n] = p->written_ns - sent;
		n++;
	}
	return n;
}

uint64_t sonde_test_capture_handshake_ns(const struct sonde_test_capture *c,
					 enum sonde_test_side of)
{
	uint64_t began = 0;

	for (size_t i = 0; i < c->n; i++) {
		const struct sonde_test_packet *p = &c->packet[i];
		bool syn = p->flags & TH_SYN;

		if (began == 0 && syn && is_tcp_from(c, p, of))
			began = p->read_ns;
		else if (began != 0 && is_tcp_from(c, p, 1 - of) && p->flags & TH_ACK &&
			 p->written_ns != 0)
			return p->written_ns - began;
	}
	return 0;
}

struct sonde_test_repeats sonde_test_capture_repeats(const struct sonde_test_capture *c,
						     enum sonde_test_side from)
{
	struct sonde_test_repeats repeats = {0};
	bool any = false, syn = false;
	uint32_t end = 0;

	for (size_t i = 0; i < c->n; i++) {
		const struct sonde_test_packet *p = &c->packet[i];

		if (!is_tcp_from(c, p, from))
			continue;
		if (p->flags & TH_SYN) {
			repeats.syns += syn;
			syn = true;
		}
		if (p->payload == 0)
			continue;
		if (any && before(p->seq, end)) {
			repeats.segments++;
			repeats.bytes += p->payload;
			continue;
		}
		end = p->seq + p->payload;
		any = true;
	}
	return repeats;
}

uint64_t sonde_test_capture_count(const struct sonde_test_capture *c, enum sonde_test_side from,
				  uint8_t set, uint8_t clear, int fate)
{
	uint64_t n = 0;

	for (size_t i = 0; i < c->n; i++) {
		const struct sonde_test_packet *p = &c->packet[i];

		n += is_from(c, p, from) && (p->flags & set) == set && !(p->flags & clear) &&
		     (fate < 0 || p->fate == fate);
	}
	return n;
}

uint64_t sonde_test_capture_payload(const struct sonde_test_capture *c, enum sonde_test_side from)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < c->n; i++)
		if (is_from(c, &c->packet[i], from))
			bytes += c->packet[i].payload;
	return bytes;
}

struct sonde_test_windows sonde_test_capture_windows(const struct sonde_test_capture *c,
						     enum sonde_test_side from)
{
	struct sonde_test_windows windows = {0};
	uint64_t closed_ns = 0;

	for (size_t i = 0; i < c->n; i++) {
		const struct sonde_test_packet *p = &c->packet[i];

		if (!is_tcp_from(c, p, from) || p->flags & (TH_SYN | TH_RST) || p->written_ns == 0)
			continue;
		if (p->window == 0 && closed_ns == 0) {
			closed_ns = p->written_ns;
			windows.closed++;
		} else if (p->window != 0 && closed_ns != 0) {
			windows.ns += p->written_ns - closed_ns;
			closed_ns = 0;
		}
	}
	return windows;
}
