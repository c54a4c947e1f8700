/* SPDX-License-Identifier: Apache-2.0 */
#include "io/connect.h"

#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/random.h"

#define TIMER_ACCURACY_US 10000

/* A name look-up: shared by the thread that does it and the attempt that waits, freed by the last. */
struct lookup {
	atomic_int refs;
	char *host;
	char service[8];
	int ready_fd; /* eventfd: the result is there */
	struct addrinfo *found;
	int error; /* 0 or -errno */
	int code;  /* 0 or EAI_… */
};

struct sonde_connect {
	sd_event *event;
	sonde_connect_fn fn;
	void *ctx;
	uint64_t timeout_us;
	bool shuffle;
	struct lookup *lookup;
	const struct addrinfo *order[SONDE_CONNECT_ADDRESSES_MAX]; /* of lookup->found */
	size_t n, next;
	int fd;
	int last_error;
	sd_event_source *io, *timer, *defer;
	char address[SONDE_CONNECT_TEXT_MAX];
	char words[SONDE_CONNECT_WORDS_MAX];
};

static atomic_int n_threads;

static struct lookup *lookup_unref(struct lookup *l)
{
	if (!l || atomic_fetch_sub(&l->refs, 1) > 1)
		return NULL;
	if (l->found)
		freeaddrinfo(l->found);
	if (l->ready_fd >= 0)
		(void)close(l->ready_fd);
	free(l->host);
	free(l);
	return NULL;
}
SONDE_DEFINE_CLEANUP(struct lookup *, lookup_unref)

static int errno_of_lookup(int error)
{
	switch (error) {
	case 0:
		return 0;
	case EAI_MEMORY:
		return -ENOMEM;
	case EAI_AGAIN:
		return -EAGAIN;
	case EAI_SYSTEM:
		return errno > 0 ? -errno : -EIO;
	default:
		return -EHOSTUNREACH;
	}
}

static int look_up(struct lookup *l, int flags)
{
	const struct addrinfo hints = {
		.ai_flags = AI_NUMERICSERV | flags,
		.ai_socktype = SOCK_STREAM,
	};

	l->code = getaddrinfo(l->host, l->service, &hints, &l->found);
	return errno_of_lookup(l->code);
}

static void *look_up_thread(void *arg)
{
	struct lookup *l = arg;
	const uint64_t one = 1;

	l->error = look_up(l, AI_ADDRCONFIG);
	(void)!write(l->ready_fd, &one, sizeof(one)); /* an eventfd at 0 takes it */
	lookup_unref(l);
	atomic_fetch_sub(&n_threads, 1);
	return NULL;
}

/* Signals stay with the loop's thread: its signalfd would miss what another thread takes. */
static int start_thread(struct lookup *l)
{
	sigset_t all, old;
	pthread_t thread;
	int r;

	if (atomic_fetch_add(&n_threads, 1) >= SONDE_CONNECT_THREADS_MAX) {
		atomic_fetch_sub(&n_threads, 1);
		return -EBUSY;
	}
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	atomic_fetch_add(&l->refs, 1);
	r = pthread_create(&thread, NULL, look_up_thread, l);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r != 0) {
		atomic_fetch_sub(&l->refs, 1);
		atomic_fetch_sub(&n_threads, 1);
		return -r;
	}
	(void)pthread_detach(thread);
	return 0;
}

static int new_lookup(const char *host, uint16_t port, struct lookup **ret)
{
	_cleanup_(lookup_unrefp) struct lookup *l = NULL;

	l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	atomic_init(&l->refs, 1);
	l->ready_fd = -1;
	(void)snprintf(l->service, sizeof(l->service), "%u", (unsigned)port);
	l->host = strdup(host);
	if (!l->host)
		return -ENOMEM;
	l->ready_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (l->ready_fd < 0)
		return -errno;
	*ret = TAKE_PTR(l);
	return 0;
}

static void stop(struct sonde_connect *c)
{
	c->io = sd_event_source_disable_unref(c->io);
	(void)sd_event_source_set_enabled(c->timer, SD_EVENT_OFF);
	(void)sd_event_source_set_enabled(c->defer, SD_EVENT_OFF);
	if (c->fd >= 0)
		(void)close(TAKE_FD(c->fd));
}

static int start_timer(struct sonde_connect *c)
{
	int r = sd_event_source_set_time_relative(c->timer, c->timeout_us);

	return r < 0 ? r : sd_event_source_set_enabled(c->timer, SD_EVENT_ONESHOT);
}

/* What done() tells if nothing else is left to try. */
static void failed(struct sonde_connect *c, int error)
{
	const char *why = strerror(-error);

	c->last_error = error;

	if (c->n == 0) {
		if (error != -ETIMEDOUT && c->lookup->code != 0)
			why = gai_strerror(c->lookup->code);
		(void)snprintf(c->words, sizeof(c->words), "the name cannot be resolved: %s", why);
	} else if (strcmp(c->address, c->lookup->host) == 0) {
		(void)snprintf(c->words, sizeof(c->words), "%s", why);
	} else {
		(void)snprintf(c->words, sizeof(c->words), "%s: %s", c->address, why);
	}
}

/* The last thing done with @c: the callee may free it. */
static void done(struct sonde_connect *c, int fd)
{
	stop(c);
	c->fn(c->ctx, fd);
}

static void try_next(struct sonde_connect *c);

static int on_connected(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct sonde_connect *c = userdata;
	int error = 0;
	socklen_t n = sizeof(error);

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n) < 0)
		error = errno;
	if (error == 0) {
		c->io = sd_event_source_disable_unref(c->io);
		done(c, TAKE_FD(c->fd));
		return 0;
	}
	failed(c, -error);
	try_next(c);
	return 0;
}

/* Return: 0 when the connection is being made, -errno when this address will not do. */
static int try_address(struct sonde_connect *c, const struct addrinfo *a)
{
	int r;

	stop(c);
	if (getnameinfo(a->ai_addr, a->ai_addrlen, c->address, sizeof(c->address), NULL, 0,
			NI_NUMERICHOST) != 0)
		c->address[0] = '\0';
	c->fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->fd < 0)
		return -errno;
	if (connect(c->fd, a->ai_addr, a->ai_addrlen) < 0 && errno != EINPROGRESS)
		return -errno;
	r = start_timer(c);
	if (r < 0)
		return r;
	return sd_event_add_io(c->event, &c->io, c->fd, EPOLLOUT, on_connected, c);
}

static void try_next(struct sonde_connect *c)
{
	while (c->next < c->n) {
		int r = try_address(c, c->order[c->next++]);

		if (r >= 0)
			return;
		failed(c, r);
	}
	done(c, c->last_error);
}

/* The order of the resolver is that of RFC 6724; shuffled, agents spread over a name that is many machines. */
static void set_order(struct sonde_connect *c)
{
	for (const struct addrinfo *a = c->lookup->found; a && c->n < ELEMENTS_OF(c->order);
	     a = a->ai_next)
		c->order[c->n++] = a;
	for (size_t i = c->n; c->shuffle && i > 1; i--) {
		size_t other = sonde_random_below((uint32_t)i);
		const struct addrinfo *a = c->order[i - 1];

		c->order[i - 1] = c->order[other];
		c->order[other] = a;
	}
}

static int on_found(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct sonde_connect *c = userdata;

	if (c->lookup->error < 0)
		failed(c, c->lookup->error);
	set_order(c);
	try_next(c);
	return 0;
}

static int on_timeout(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct sonde_connect *c = userdata;

	failed(c, -ETIMEDOUT); /* the address, or the look-up */
	try_next(c);
	return 0;
}

static int on_defer(sd_event_source *source, void *userdata)
{
	try_next(userdata);
	return 0;
}

static int add_sources(struct sonde_connect *c)
{
	int r;

	r = sd_event_add_time_relative(c->event, &c->timer, CLOCK_MONOTONIC, c->timeout_us,
				       TIMER_ACCURACY_US, on_timeout, c);
	if (r >= 0)
		r = sd_event_add_io(c->event, &c->io, c->lookup->ready_fd, EPOLLIN, on_found, c);
	if (r >= 0)
		r = sd_event_add_defer(c->event, &c->defer, on_defer, c);
	if (r >= 0)
		r = sd_event_source_set_enabled(c->defer, SD_EVENT_OFF);
	return r < 0 ? r : 0;
}

int sonde_connect_new(sd_event *event, const char *host, uint16_t port, uint64_t timeout_ns,
		      bool shuffle, sonde_connect_fn fn, void *ctx, struct sonde_connect **ret)
{
	_cleanup_(sonde_connect_freep) struct sonde_connect *c = NULL;
	const uint64_t one = 1;
	int r;

	assert(event && host && fn && ret);

	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	*c = (struct sonde_connect){
		.event = sd_event_ref(event),
		.fn = fn,
		.ctx = ctx,
		.timeout_us = timeout_ns / SONDE_NS_PER_US,
		.shuffle = shuffle,
		.fd = -1,
		.last_error = -EHOSTUNREACH,
	};
	r = new_lookup(host, port, &c->lookup);
	if (r < 0)
		return r;
	r = add_sources(c);
	if (r < 0)
		return r;
	r = look_up(c->lookup, AI_NUMERICHOST);
	if (r == -ENOMEM)
		return r;
	if (r < 0)
		r = start_thread(c->lookup);
	else if (write(c->lookup->ready_fd, &one, sizeof(one)) < 0)
		r = -errno;
	if (r < 0)
		return r;
	*ret = TAKE_PTR(c);
	return 0;
}

void sonde_connect_more(struct sonde_connect *c, int error, const char *words)
{
	assert(c && c->fd < 0 && error < 0 && words);

	failed(c, error);
	if (words[0])
		(void)snprintf(c->words, sizeof(c->words), "%s", words);
	(void)sd_event_source_set_enabled(c->defer, SD_EVENT_ONESHOT);
}

const char *sonde_connect_words(const struct sonde_connect *c)
{
	assert(c);
	return c->words;
}

struct sonde_connect *sonde_connect_free(struct sonde_connect *c)
{
	if (!c)
		return NULL;
	stop(c);
	(void)sd_event_source_disable_unref(c->timer);
	(void)sd_event_source_disable_unref(c->defer);
	lookup_unref(c->lookup);
	sd_event_unref(c->event);
	free(c);
	return NULL;
}
