/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/probe-client.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "agent/probe-spawn.h"
#include "base/clock.h"

/* Requests in the socket at once: so many are lost at most when a worker dies, and none has to wait for our turn. */
#define SENT_MAX 16
#define PACKETS_A_TURN 8
#define END_WAIT_MS 1000

struct pending {
	struct pending *next;
	struct sonde_probe_call call;
	struct sonde_probe_request request;
	uint64_t until_ns;
	bool sent;
};

struct sonde_probe_client {
	int sock; /* owned; -1 once the keeper is gone */
	struct sonde_probe_child child;
	sd_event *event;       /* referenced */
	sd_event_source *io;   /* owned */
	sd_event_source *time; /* owned */
	struct sonde_probe_client_handlers handlers;
	struct pending *first, **last; /* owned, oldest first; the sent ones come first */
	unsigned int n_sent;
	uint64_t last_id;
	bool greeted; /* a worker said HELLO: before that it drops what it reads */
	struct sonde_probe_hello hello;
	struct sonde_probe_client_stats stats;
};

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *ctx);
static int on_time(sd_event_source *source, uint64_t usec, void *ctx);

int sonde_probe_client_start(const struct sonde_probe_client_config *config,
			     struct sonde_probe_client **ret)
{
	struct sonde_probe_client *c;
	int r;

	assert(config && ret);

	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->last = &c->first;
	r = sonde_probe_spawn(config, &c->sock, &c->child);
	if (r < 0) {
		free(c);
		return r;
	}
	*ret = c;
	return 0;
}

int sonde_probe_client_attach(struct sonde_probe_client *c, sd_event *event,
			      struct sonde_probe_client_handlers handlers)
{
	int r;

	assert(c && event && !c->event);

	r = sd_event_add_io(event, &c->io, c->sock, EPOLLIN, on_io, c);
	if (r < 0)
		return r;
	(void)sd_event_source_set_description(c->io, "probe");
	r = sd_event_add_time(event, &c->time, CLOCK_MONOTONIC, UINT64_MAX, 0, on_time, c);
	if (r < 0) {
		c->io = sd_event_source_disable_unref(c->io);
		return r;
	}
	(void)sd_event_source_set_description(c->time, "probe-timeout");
	c->event = sd_event_ref(event);
	c->handlers = handlers;
	return 0;
}

/* The timer rings at the earliest of the pending requests' times. */
static void arm_timer(struct sonde_probe_client *c)
{
	uint64_t until = UINT64_MAX;

	if (!c->time)
		return;
	for (const struct pending *p = c->first; p; p = p->next)
		if (p->until_ns < until)
			until = p->until_ns;
	if (until != UINT64_MAX)
		until = until / SONDE_NS_PER_US + 1;
	(void)sd_event_source_set_time(c->time, until);
	(void)sd_event_source_set_enabled(c->time,
					  until == UINT64_MAX ? SD_EVENT_OFF : SD_EVENT_ON);
}

static void end_call(struct pending *p, int error, const struct sonde_probe_end *end)
{
	if (p->call.on_end)
		p->call.on_end(p->call.ctx, error, end);
	free(p);
}

/* Takes *@at out of the list. */
static struct pending *take(struct sonde_probe_client *c, struct pending **at)
{
	struct pending *p = *at;

	*at = p->next;
	if (!p->next)
		c->last = at;
	p->next = NULL;
	c->n_sent -= p->sent;
	c->stats.pending--;
	return p;
}

/* Those that are in the list now; a callback may append others meanwhile, which stay. */
static void fail_all(struct sonde_probe_client *c, int error, bool unsent_too)
{
	struct pending *failed = NULL, **tail = &failed, **at = &c->first;

	while (*at) {
		if (!(*at)->sent && !unsent_too) {
			at = &(*at)->next;
			continue;
		}
		*tail = take(c, at);
		tail = &(*tail)->next;
	}
	while (failed) {
		struct pending *p = failed;

		failed = p->next;
		end_call(p, error, NULL);
	}
}

/* The keeper is gone, or not to be listened to any further. */
static void give_up(struct sonde_probe_client *c, const char *why)
{
	char ended[128], words[256];

	c->io = sd_event_source_disable_unref(c->io);
	c->time = sd_event_source_disable_unref(c->time);
	closep(&c->sock);
	c->sock = -1;
	sonde_probe_reap(&c->child, END_WAIT_MS, ended, sizeof(ended));
	(void)snprintf(words, sizeof(words), "%s: %s", why, ended);
	fail_all(c, -EPIPE, true);
	if (c->handlers.on_gone)
		c->handlers.on_gone(c->handlers.ctx, words);
}

static bool room_in_flight(const struct sonde_probe_client *c)
{
	return c->greeted && c->n_sent < SENT_MAX && c->sock >= 0;
}

static void flush(struct sonde_probe_client *c)
{
	bool blocked = false;

	for (struct pending *p = c->first; p && room_in_flight(c); p = p->next) {
		ssize_t n;

		if (p->sent)
			continue;
		n = send(c->sock, &p->request, sizeof(p->request), MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && (errno == EAGAIN || errno == EINTR || errno == ENOBUFS))
			blocked = true;
		if (n < 0) /* another error is an end of file for on_io() */
			break;
		p->sent = true;
		c->n_sent++;
	}
	if (c->io)
		(void)sd_event_source_set_io_events(c->io, EPOLLIN | (blocked ? EPOLLOUT : 0));
}

static void greet(struct sonde_probe_client *c, const struct sonde_probe_hello *hello)
{
	bool again = c->greeted;

	c->hello = *hello;
	c->greeted = true;
	if (!again) {
		if (c->handlers.on_hello)
			c->handlers.on_hello(c->handlers.ctx, &c->hello);
		return;
	}
	c->stats.restarts = hello->restarts;
	fail_all(c, -EPIPE, true);
	if (c->handlers.on_restart)
		c->handlers.on_restart(c->handlers.ctx, &c->hello);
}

static void dispatch(struct sonde_probe_client *c, const struct sonde_probe_reply *reply)
{
	struct pending **at = &c->first;

	if (reply->type == SONDE_PROBE_HELLO) {
		greet(c, &reply->hello);
		return;
	}
	if (reply->type == SONDE_PROBE_TASK_ENDED) {
		if (c->handlers.on_task_ended)
			c->handlers.on_task_ended(c->handlers.ctx, &reply->task_ended);
		return;
	}
	while (*at && (*at)->request.id != reply->id)
		at = &(*at)->next;
	if (!*at || !(*at)->sent) {
		c->stats.late++;
		return;
	}
	if (reply->type != SONDE_PROBE_END) {
		c->stats.records++;
		if ((*at)->call.on_record)
			(*at)->call.on_record((*at)->call.ctx, reply);
		return;
	}
	end_call(take(c, at), reply->end.error, &reply->end);
}

static int refuse(struct sonde_probe_client *c, const char *why)
{
	char words[96];

	c->stats.invalid++;
	(void)snprintf(words, sizeof(words), "sonde-probe sent a bad message (%s)", why);
	give_up(c, words);
	return -EBADMSG;
}

/* Return: 1 = one packet was handled, 0 = there is none, below 0 = the client gave up. */
static int receive(struct sonde_probe_client *c)
{
	struct sonde_probe_reply replies[SONDE_PROBE_PACKET_MAX];
	const char *why;
	ssize_t n;

	n = recv(c->sock, replies, sizeof(replies), MSG_DONTWAIT | MSG_TRUNC);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0) {
		give_up(c, "sonde-probe is gone");
		return -EPIPE;
	}
	if ((size_t)n > sizeof(replies) || (size_t)n % sizeof(replies[0]) != 0)
		return refuse(c, "size");
	for (size_t i = 0; i < (size_t)n / sizeof(replies[0]); i++) {
		if (sonde_probe_reply_check(&replies[i], sizeof(replies[i]), &why) < 0)
			return refuse(c, why);
		dispatch(c, &replies[i]);
	}
	return 1;
}

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *ctx)
{
	struct sonde_probe_client *c = ctx;
	int r = 1;

	for (int i = 0; r > 0 && i < PACKETS_A_TURN; i++)
		r = receive(c);
	if (r < 0)
		return 0;
	flush(c);
	arm_timer(c);
	return 0;
}

static int on_time(sd_event_source *source, uint64_t usec, void *ctx)
{
	struct sonde_probe_client *c = ctx;
	struct pending *late = NULL, **tail = &late, **at = &c->first;
	uint64_t now = sonde_mono_ns();

	while (*at) {
		if ((*at)->until_ns > now) {
			at = &(*at)->next;
			continue;
		}
		*tail = take(c, at);
		tail = &(*tail)->next;
		c->stats.timeouts++;
	}
	while (late) {
		struct pending *p = late;

		late = p->next;
		end_call(p, -ETIMEDOUT, NULL);
	}
	flush(c);
	arm_timer(c);
	return 0;
}

int sonde_probe_client_request(struct sonde_probe_client *c,
			       const struct sonde_probe_request *request, uint64_t timeout_ns,
			       struct sonde_probe_call call)
{
	struct pending *p;

	assert(c && request);

	if (!c->event)
		return -ENOTCONN;
	if (c->sock < 0)
		return -EPIPE;
	if (c->stats.pending == SONDE_PROBE_CLIENT_PENDING_MAX) {
		c->stats.refused++;
		return -ENOBUFS;
	}
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->call = call;
	p->request = *request;
	p->request.version = SONDE_PROBE_VERSION;
	p->request.id = ++c->last_id;
	p->until_ns = sonde_mono_ns() + (timeout_ns ? timeout_ns : SONDE_PROBE_CLIENT_TIMEOUT_NS);
	*c->last = p;
	c->last = &p->next;
	c->stats.requests++;
	c->stats.pending++;
	if (c->stats.pending > c->stats.pending_peak)
		c->stats.pending_peak = c->stats.pending;
	flush(c);
	arm_timer(c);
	return 0;
}

const struct sonde_probe_hello *sonde_probe_client_hello(const struct sonde_probe_client *c)
{
	assert(c);
	return c->greeted ? &c->hello : NULL;
}

void sonde_probe_client_stats(const struct sonde_probe_client *c,
			      struct sonde_probe_client_stats *ret)
{
	assert(c && ret);
	*ret = c->stats;
}

struct sonde_probe_client *sonde_probe_client_free(struct sonde_probe_client *c)
{
	char words[128];

	if (!c)
		return NULL;
	c->io = sd_event_source_disable_unref(c->io);
	c->time = sd_event_source_disable_unref(c->time);
	closep(&c->sock);
	c->sock = -1;
	fail_all(c, -ECANCELED, true);
	sonde_probe_reap(&c->child, END_WAIT_MS, words, sizeof(words));
	c->event = sd_event_unref(c->event);
	free(c);
	return NULL;
}
