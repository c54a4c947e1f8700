/* SPDX-License-Identifier: Apache-2.0 */
#include "capture.h"

#include <netinet/in.h>
#include <netinet/tcp.h>

#include "base/clock.h"

#define UNACKED_MAX 4096
#define CONNECTIONS_MAX 512

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
	bool repeated;
	uint32_t end;
	uint64_t read_ns; /* of its last transmission */
};

struct connection {
	uint16_t client; /* port */
	uint32_t acked;
};

/* What of one side's data is under way. */
struct flight {
	struct unacked unacked[UNACKED_MAX];
	size_t n_unacked;
	struct connection connection[CONNECTIONS_MAX];
	size_t n_connections;
};

static struct connection *connection_of(struct flight *f, uint16_t client, uint32_t seq)
{
	for (size_t i = 0; i < f->n_connections; i++)
		if (f->connection[i].client == client)
			return &f->connection[i];
	if (f->n_connections == CONNECTIONS_MAX)
		return NULL;
	f->connection[f->n_connections] = (struct connection){.client = client, .acked = seq};
	return &f->connection[f->n_connections++];
}

/* Takes what @ack of that connection covers; true, and the newest of it, when there is something. */
static bool take_acked(struct flight *f, uint16_t client, uint32_t ack, struct unacked *ret)
{
	struct connection *c = connection_of(f, client, ack);
	size_t left = 0;

	ret->read_ns = 0;
	if (c && before(c->acked, ack))
		c->acked = ack;
	for (size_t i = 0; i < f->n_unacked; i++) {
		const struct unacked u = f->unacked[i];

		if (u.client != client || before(ack, u.end))
			f->unacked[left++] = u;
		else if (u.read_ns > ret->read_ns)
			*ret = u;
	}
	f->n_unacked = left;
	return ret->read_ns != 0;
}

/* A FIN is a byte of the sequence. What comes again behind its ACK is nothing. */
static void note_sent(struct flight *f, uint16_t client, const struct sonde_test_packet *p)
{
	const uint32_t end = p->seq + p->payload + (p->flags & TH_FIN ? 1 : 0);
	const struct connection *c = connection_of(f, client, p->seq);

	if (!c || !before(c->acked, end))
		return;
	for (size_t i = 0; i < f->n_unacked; i++) {
		if (f->unacked[i].client == client && f->unacked[i].end == end) {
			f->unacked[i].read_ns = p->read_ns;
			f->unacked[i].repeated = true;
			return;
		}
	}
	if (f->n_unacked < UNACKED_MAX)
		f->unacked[f->n_unacked++] =
			(struct unacked){.client = client, .end = end, .read_ns = p->read_ns};
}

/* A sample of a repeated segment is the kernel's by its time stamps, whose steps are milliseconds. */
static uint64_t sample_of(const struct unacked *u, uint64_t acked_ns)
{
	const uint64_t ns = acked_ns - u->read_ns, step = u->repeated ? SONDE_NS_PER_MS : 0;

	return ns > step ? ns - step : 0;
}

size_t sonde_test_capture_rtts(const struct sonde_test_capture *c, enum sonde_test_side from,
			       uint64_t *ret, size_t capacity)
{
	struct flight flight = {0};
	size_t n = 0;

	for (size_t i = 0; i < c->n; i++) {
		const struct sonde_test_packet *p = &c->packet[i];
		const uint16_t client = p->from == SONDE_TEST_CLIENT ? p->source : p->dest;
		struct unacked newest;

		if (is_tcp_from(c, p, from) && (p->payload > 0 || p->flags & TH_FIN))
			note_sent(&flight, client, p);
		if (!is_tcp_from(c, p, 1 - from) || !(p->flags & TH_ACK) || p->written_ns == 0 ||
		    !take_acked(&flight, client, p->ack, &newest))
			continue;
		if (n < capacity)
			ret[n] = sample_of(&newest, p->written_ns);
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
