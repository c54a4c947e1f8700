/* SPDX-License-Identifier: Apache-2.0 */
#include "io/http2-conn.h"

#include <assert.h>
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/clock.h"
#include "io/tls.h"

#define READ_BYTES 16384
#define READS_A_TURN 8 /* then the other sources of the loop have their turn */
#define WRITE_BYTES 65536
#define WRITES_A_TURN 8
#define TICK_MAX_US 1000000
#define RETRANSMITS_HALF_OPEN                                                                      \
	3 /* of the oldest bytes, each after twice the time: none was acknowledged */

struct sonde_http2_conn {
	struct sonde_http2 *h2; /* borrowed */
	struct sonde_http2_conn_config config;
	struct sonde_http2_conn_handler handler;
	int fd;
	struct sonde_tls *tls; /* NULL = plain text */
	sd_event_source *io, *defer, *timer;
	uint32_t io_events;
	struct sonde_buf out; /* pulled, not yet taken by the socket */
	size_t out_at;
	bool read_waits; /* for room in the socket: TLS has to answer before it reads on */
	bool lost;
	bool ticking;
	uint64_t tick_us;

	uint64_t started_ns;
	uint64_t frame_mark, frame_since_ns; /* the frame that midway() speaks of */
	uint64_t sent, sent_mark, sent_since_ns;

	uint64_t heard_ns;
	int given_up; /* -errno */
	char words[SONDE_TLS_WORDS_MAX];
};

static void say(struct sonde_http2_conn *c, const char *words)
{
	if (!c->words[0])
		(void)snprintf(c->words, sizeof(c->words), "%s", words);
}

static bool handshaking(const struct sonde_http2_conn *c)
{
	return c->tls && !sonde_tls_ready(c->tls);
}

static void lose(struct sonde_http2_conn *c, int error)
{
	if (c->lost)
		return;
	c->lost = true;
	if (c->tls)
		say(c, sonde_tls_words(c->tls));
	(void)sd_event_source_set_enabled(c->io, SD_EVENT_OFF);
	(void)sd_event_source_set_enabled(c->defer, SD_EVENT_OFF);
	(void)sd_event_source_set_enabled(c->timer, SD_EVENT_OFF);
	c->handler.on_lost(c->handler.ctx, error);
}

static size_t unsent(const struct sonde_http2_conn *c)
{
	return c->out.len - c->out_at;
}

static void set_io_events(struct sonde_http2_conn *c, uint32_t events)
{
	if (c->io_events == events)
		return;
	if (sd_event_source_set_io_events(c->io, events) >= 0)
		c->io_events = events;
}

/* While reading waits for room, what is there to read must not wake us. */
static void want_io(struct sonde_http2_conn *c, bool room)
{
	set_io_events(c, (c->read_waits ? 0U : EPOLLIN) | (room || c->read_waits ? EPOLLOUT : 0U));
}

/* Something is under way: the peer owes bytes, or we owe some that it must take. */
static bool busy(const struct sonde_http2_conn *c)
{
	return unsent(c) > 0 || c->read_waits || sonde_http2_midway(c->h2) ||
	       !sonde_http2_greeted(c->h2) || sonde_http2_waits(c->h2) ||
	       (c->handler.on_busy && c->handler.on_busy(c->handler.ctx));
}

static int keep_ticking(struct sonde_http2_conn *c)
{
	bool want = busy(c);
	int r;

	if (want == c->ticking)
		return 0;
	if (want) {
		r = sd_event_source_set_time_relative(c->timer, c->tick_us);
		if (r < 0)
			return r;
		c->frame_since_ns = c->sent_since_ns = 0;
	}
	r = sd_event_source_set_enabled(c->timer, want ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
	if (r < 0)
		return r;
	c->ticking = want;
	return 0;
}

/* As send(), but -errno. */
static ssize_t put(struct sonde_http2_conn *c, const void *data, size_t n)
{
	ssize_t sent;

	if (c->tls)
		return sonde_tls_send(c->tls, data, n);
	do
		sent = send(c->fd, data, n, MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	return sent < 0 ? -errno : sent;
}

/* As recv(), but -errno. */
static ssize_t get(struct sonde_http2_conn *c, void *data, size_t n)
{
	ssize_t got;

	if (c->tls)
		return sonde_tls_recv(c->tls, data, n);
	do
		got = recv(c->fd, data, n, 0);
	while (got < 0 && errno == EINTR);
	return got < 0 ? -errno : got;
}

/* Fills the piece for the socket. Return: 0, -errno of the session. */
static int pull_piece(struct sonde_http2_conn *c)
{
	sonde_buf_reset(&c->out);
	c->out_at = 0;
	while (c->out.len < WRITE_BYTES / 2) {
		const uint8_t *data;
		size_t n;
		int r;

		r = sonde_http2_pull(c->h2, &data, &n);
		if (r < 0)
			return r;
		if (n == 0)
			break;
		r = sonde_buf_append(&c->out, data, n);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Return: 0 with all sent or the socket full, -errno. */
static int send_some(struct sonde_http2_conn *c)
{
	for (int i = 0; i < WRITES_A_TURN; i++) {
		ssize_t n;
		int r;

		if (unsent(c) == 0) {
			r = pull_piece(c);
			if (r < 0)
				return r;
		}
		if (unsent(c) == 0) {
			sonde_buf_done(&c->out); /* a connection that waits holds no memory */
			c->out_at = 0;
			want_io(c, false);
			return 0;
		}
		n = put(c, c->out.data + c->out_at, unsent(c));
		if (n == -EAGAIN)
			break;
		if (n < 0)
			return (int)n;
		c->out_at += (size_t)n;
		c->sent += (uint64_t)n;
	}
	want_io(c, true);
	return 0;
}

static void flush(struct sonde_http2_conn *c)
{
	int r;

	if (handshaking(c))
		return; /* on_io goes on */
	r = send_some(c);
	if (r == 0 && unsent(c) == 0 && sonde_http2_over(c->h2)) {
		lose(c, 0);
		return;
	}
	if (r == 0)
		r = keep_ticking(c);
	if (r < 0)
		lose(c, r);
}

/*
 * What comes before the peer has said a word of HTTP/2: one of the two ends may have the other's port for, or
 * not for, TLS, or the one for queries. A record of TLS begins with its type and the version 3.x.
 */
static void look_for_stranger(struct sonde_http2_conn *c, const uint8_t *data, size_t n)
{
	if (c->heard_ns > 0 || n < 5)
		return;
	if (c->config.client && memcmp(data, "HTTP/", 5) == 0)
		say(c, "the server speaks HTTP/1, not 2: " SONDE_HTTP2_WRONG_PORT);
	if (c->tls || data[1] != 3)
		return;
	if (data[0] == 22)
		say(c, "the client speaks TLS on a port for plain text");
	else if (data[0] == 21)
		say(c, "the server speaks TLS, and plain text was sent");
}

/* Return: 0, -errno; *@ret_closed where the peer closed. */
static int read_some(struct sonde_http2_conn *c, bool *ret_closed)
{
	uint8_t data[READ_BYTES];

	*ret_closed = c->read_waits = false;
	/* A record that is read in part would wait in the session, where no readiness of the socket tells of it. */
	for (int i = 0; i < READS_A_TURN || (c->tls && sonde_tls_pending(c->tls)); i++) {
		ssize_t n = get(c, data, sizeof(data));
		int r;

		if (n == -EAGAIN)
			c->read_waits = c->tls && sonde_tls_wants_write(c->tls);
		if (n < 0)
			return n == -EAGAIN ? 0 : (int)n;
		if (n == 0) {
			*ret_closed = true;
			return 0;
		}
		look_for_stranger(c, data, (size_t)n);
		c->heard_ns = sonde_mono_ns();
		r = sonde_http2_feed(c->h2, data, (size_t)n, c->heard_ns);
		if (r < 0)
			return r;
		if (!c->tls && (size_t)n < sizeof(data))
			return 0;
	}
	return 0;
}

/* Return: true when it is done; else it goes on later, or the connection is lost. */
static bool shake_hands(struct sonde_http2_conn *c)
{
	int r = sonde_tls_handshake(c->tls);

	if (r == 0)
		return true;
	if (r == -EAGAIN)
		set_io_events(c, sonde_tls_wants_write(c->tls) ? EPOLLOUT : EPOLLIN);
	else
		lose(c, r);
	return false;
}

/* A peer that went before it spoke HTTP/2; one that asks for TLS mostly says nothing of it to plain text. */
static void say_no_greeting(struct sonde_http2_conn *c, int error)
{
	const char *why = error ? strerror(-error) : "the peer closed the connection";
	char words[160];

	if (sonde_http2_greeted(c->h2) || (c->tls && sonde_tls_words(c->tls)[0]))
		return;
	if (error == -EPROTO) {
		say(c, "what the peer says is no HTTP/2");
		return;
	}
	(void)snprintf(words, sizeof(words), "%s before it spoke HTTP/2%s", why,
		       c->config.client && !c->tls ? ": it may ask for TLS" : "");
	say(c, words);
}

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct sonde_http2_conn *c = userdata;
	bool closed = false;
	int r = 0;

	if (handshaking(c) && !shake_hands(c))
		return 0;
	if (c->read_waits || revents & (EPOLLIN | EPOLLHUP | EPOLLERR))
		r = read_some(c, &closed);
	if (r < 0) {
		(void)send_some(c); /* the GOAWAY that says why, if there is room for it */
		say_no_greeting(c, r);
		lose(c, r);
	} else if (closed) {
		say_no_greeting(c, 0);
		lose(c, sonde_http2_n_streams(c->h2) > 0 ? -ECONNRESET : 0);
	} else {
		flush(c);
	}
	return 0;
}

static int on_defer(sd_event_source *source, void *userdata)
{
	struct sonde_http2_conn *c = userdata;

	if (c->given_up)
		lose(c, c->given_up);
	else if (!handshaking(c) || shake_hands(c))
		flush(c);
	return 0;
}

/* Return: 0, -ETIMEDOUT without a greeting, -ECONNABORTED when it hangs later: the peer's kernel is there. */
static int check_hanging(struct sonde_http2_conn *c, uint64_t now_ns)
{
	uint64_t n_frames = sonde_http2_n_frames(c->h2);

	if (!sonde_http2_greeted(c->h2) && now_ns - c->started_ns >= c->config.greet_timeout_ns) {
		say(c, handshaking(c) ? "the peer did not complete the TLS handshake in time"
				      : "the peer did not speak HTTP/2 in time");
		return -ETIMEDOUT;
	}

	if (!sonde_http2_midway(c->h2)) {
		c->frame_since_ns = 0;
	} else if (c->frame_since_ns == 0 || c->frame_mark != n_frames) {
		c->frame_since_ns = now_ns;
		c->frame_mark = n_frames;
	} else if (now_ns - c->frame_since_ns >= c->config.frame_timeout_ns) {
		say(c, "the peer does not end its frame");
		return -ECONNABORTED;
	}

	if (unsent(c) == 0 && !c->read_waits) {
		c->sent_since_ns = 0;
	} else if (c->sent_since_ns == 0 || c->sent_mark != c->sent) {
		c->sent_since_ns = now_ns;
		c->sent_mark = c->sent;
	} else if (now_ns - c->sent_since_ns >= c->config.stall_timeout_ns) {
		say(c, "the peer reads nothing");
		return -ECONNABORTED;
	}
	return 0;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct sonde_http2_conn *c = userdata;
	uint64_t now_ns = sonde_mono_ns();
	int r;

	r = check_hanging(c, now_ns);
	if (r < 0) {
		lose(c, r);
		return 0;
	}
	sonde_http2_reset_stalled(c->h2, now_ns, c->config.stall_timeout_ns);
	if (c->handler.on_tick)
		c->handler.on_tick(c->handler.ctx, now_ns);
	r = sd_event_source_set_time_relative(c->timer, c->tick_us);
	if (r >= 0)
		r = sd_event_source_set_enabled(c->timer, SD_EVENT_ONESHOT);
	if (r < 0) {
		lose(c, r);
		return 0;
	}
	flush(c);
	return 0;
}

/*
 * A peer whose machine is gone must not hold a connection: the kernel probes idle ones and gives up on
 * unacknowledged data. Not by HTTP/2 PING, see io/http2.h.
 */
static void set_socket_options(int fd)
{
	static const struct {
		int level, name, value;
	} options[] = {
		{IPPROTO_TCP, TCP_NODELAY, 1},	 {SOL_SOCKET, SO_KEEPALIVE, 1},
		{IPPROTO_TCP, TCP_KEEPIDLE, 60}, {IPPROTO_TCP, TCP_KEEPINTVL, 15},
		{IPPROTO_TCP, TCP_KEEPCNT, 4},	 {IPPROTO_TCP, TCP_USER_TIMEOUT, 30000},
	};

	for (size_t i = 0; i < ELEMENTS_OF(options); i++) /* helps where it works */
		(void)setsockopt(fd, options[i].level, options[i].name, &options[i].value,
				 sizeof(options[i].value));
}

/* Time-outs are found up to a quarter of the shortest too late, and not looked for more than once a second. */
static uint64_t tick_us(const struct sonde_http2_conn_config *config)
{
	uint64_t ns = config->greet_timeout_ns;

	if (config->frame_timeout_ns < ns)
		ns = config->frame_timeout_ns;
	if (config->stall_timeout_ns < ns)
		ns = config->stall_timeout_ns;
	ns /= 4 * SONDE_NS_PER_US;
	return ns < TICK_MAX_US ? ns + 1 : TICK_MAX_US;
}

int sonde_http2_conn_new(sd_event *event, int fd, struct sonde_http2 *h2,
			 const struct sonde_http2_conn_config *config,
			 const struct sonde_http2_conn_handler *handler,
			 struct sonde_http2_conn **ret)
{
	_cleanup_(sonde_http2_conn_freep) struct sonde_http2_conn *c = NULL;
	int r;

	assert(event && fd >= 0 && h2 && config && handler && handler->on_lost && ret);

	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	*c = (struct sonde_http2_conn){
		.h2 = h2,
		.config = *config,
		.handler = *handler,
		.fd = -1, /* the caller's until success */
		.out = SONDE_BUF_INIT(WRITE_BYTES),
		.started_ns = sonde_mono_ns(),
		.io_events = EPOLLIN,
	};
	r = sd_event_add_io(event, &c->io, fd, EPOLLIN, on_io, c);
	if (r < 0)
		return r;
	r = sd_event_add_defer(event, &c->defer, on_defer, c); /* the first one greets */
	if (r < 0)
		return r;
	c->tick_us = tick_us(config);
	r = sd_event_add_time_relative(event, &c->timer, CLOCK_MONOTONIC, c->tick_us,
				       c->tick_us / 2, on_timer, c);
	if (r < 0)
		return r;
	c->ticking = true;
	if (config->tls) {
		r = sonde_tls_new(config->tls, fd, config->tls_name, &c->tls);
		if (r < 0)
			return r;
	}
	set_socket_options(fd);
	c->fd = fd;
	*ret = TAKE_PTR(c);
	return 0;
}

struct sonde_http2_conn *sonde_http2_conn_free(struct sonde_http2_conn *c)
{
	if (!c)
		return NULL;
	(void)sd_event_source_disable_unref(c->io);
	(void)sd_event_source_disable_unref(c->defer);
	(void)sd_event_source_disable_unref(c->timer);
	sonde_buf_done(&c->out);
	c->tls = sonde_tls_free(c->tls);
	if (c->fd >= 0)
		(void)close(c->fd);
	free(c);
	return NULL;
}

bool sonde_http2_conn_unacknowledged(const struct sonde_http2_conn *c, uint64_t ns)
{
	struct tcp_info info;
	socklen_t n = sizeof(info);
	int waiting = 0; /* bytes: sent and not acknowledged, or not sent for want of that */

	assert(c);
	if (getsockopt(c->fd, IPPROTO_TCP, TCP_INFO, &info, &n) < 0 || n < sizeof(info) ||
	    ioctl(c->fd, SIOCOUTQ, &waiting) < 0)
		return false;
	/* Where one way is dead, what the peer sends again comes in and acknowledges the old: its count is no time. */
	return waiting > 0 && (info.tcpi_last_ack_recv * SONDE_NS_PER_MS >= ns ||
			       info.tcpi_retransmits >= RETRANSMITS_HALF_OPEN);
}

void sonde_http2_conn_flush_soon(struct sonde_http2_conn *c)
{
	assert(c);
	if (!c->lost)
		(void)sd_event_source_set_enabled(c->defer, SD_EVENT_ONESHOT);
}

const char *sonde_http2_conn_words(const struct sonde_http2_conn *c)
{
	assert(c);
	return c->words;
}

void sonde_http2_conn_describe(const struct sonde_http2_conn *c, char *ret, size_t size)
{
	char words[SONDE_TLS_WORDS_MAX] = "plain text";

	assert(c && ret);

	if (c->tls)
		sonde_tls_describe(c->tls, words);
	(void)snprintf(ret, size, "%s", words);
}

uint64_t sonde_http2_conn_heard_ns(const struct sonde_http2_conn *c)
{
	assert(c);
	return c->heard_ns;
}

void sonde_http2_conn_give_up(struct sonde_http2_conn *c, int error, const char *words)
{
	assert(c && error < 0 && words);

	if (c->lost || c->given_up)
		return;
	say(c, words);
	c->given_up = error;
	(void)sd_event_source_set_enabled(c->defer, SD_EVENT_ONESHOT);
}
