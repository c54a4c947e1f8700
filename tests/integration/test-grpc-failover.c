/* SPDX-License-Identifier: Apache-2.0 */
/* Several addresses of one backend: who is tried when, and what becomes of the calls. */
#include "sonde-test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "io/grpc-client.h"
#include "io/grpc-server.h"

#define GIVE_UP_NS (60 * SONDE_NS_PER_S) /* a test that hangs, not a measure */
#define SITES 2
#define EVENTS_MAX 64
#define TURN_US 2000

/* One machine of the backend, on a loop of its own: it can be stopped without a word. */
struct site {
	sd_event *event;
	struct sonde_grpc_server *server;
	uint16_t port;
	bool frozen;
	unsigned calls;
	struct sonde_grpc_server_call *held;
};

struct said {
	enum sonde_grpc_client_event_kind kind;
	uint16_t port;
	char words[256];
};

struct world {
	sd_event *event;
	struct site sites[SITES];
	struct sonde_grpc_client *client;
	struct said said[EVENTS_MAX];
	size_t n_said;
};

struct outcome {
	bool done;
	struct sonde_grpc_result result;
};

static void answer(void *ctx, struct sonde_grpc_server_call *call)
{
	struct site *site = ctx;

	site->calls++;
	sonde_grpc_server_call_finish(call, SONDE_GRPC_OK, NULL);
}

static void hold(void *ctx, struct sonde_grpc_server_call *call)
{
	struct site *site = ctx;

	site->calls++;
	site->held = call;
}

static void forget(void *ctx, struct sonde_grpc_server_call *call)
{
	struct site *site = ctx;

	if (site->held == call)
		site->held = NULL;
}

static const struct sonde_grpc_method methods[] = {
	{.path = "/t/answer", .on_half_close = answer},
	{.path = "/t/hold", .on_half_close = hold, .on_close = forget},
	{NULL},
};

/* A port that nobody listens on, nor can while *@ret_fd is open. */
static uint16_t dead_port(int *ret_fd)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t n = sizeof(a);

	assert_true(fd >= 0);
	assert_ok(bind(fd, (struct sockaddr *)&a, n));
	assert_ok(getsockname(fd, (struct sockaddr *)&a, &n));
	*ret_fd = fd;
	return ntohs(a.sin_port);
}

static void open_site(struct world *w, size_t i, const char *address)
{
	struct site *site = &w->sites[i];
	const struct sonde_grpc_server_config config = {
		.address = address,
		.port = site->port,
		.max_message_bytes = 1 << 20,
		.max_connections = 100,
		.max_streams = 100,
	};

	if (!site->event)
		assert_true(sd_event_new(&site->event) >= 0);
	assert_ok(sonde_grpc_server_new(site->event, &config, methods, site, &site->server));
	site->port = sonde_grpc_server_port(site->server);
}

static void close_site(struct world *w, size_t i)
{
	w->sites[i].server = sonde_grpc_server_free(w->sites[i].server);
}

static void on_event(void *ctx, const struct sonde_grpc_client_event *e)
{
	struct world *w = ctx;
	struct said *said = &w->said[w->n_said++];
	struct sonde_address address;

	assert_true(w->n_said < EVENTS_MAX);
	assert_ok(sonde_address_parse(e->address, 0, &address));
	said->kind = e->kind;
	said->port = address.port;
	(void)snprintf(said->words, sizeof(said->words), "%s", e->words);
}

static void open_client(struct world *w, const uint16_t *ports, size_t n, bool random,
			uint64_t max_age_ms, uint64_t timeout_ms)
{
	struct sonde_address addresses[SONDE_GRPC_ADDRESSES_MAX];
	const struct sonde_grpc_client_config config = {
		.addresses = addresses,
		.n_addresses = n,
		.random_order = random,
		.max_age_ns = max_age_ms * SONDE_NS_PER_MS,
		.max_message_bytes = 1 << 20,
		.connect_timeout_ns = timeout_ms * SONDE_NS_PER_MS,
		.on_event = on_event,
		.ctx = w,
	};

	for (size_t i = 0; i < n; i++)
		assert_ok(sonde_address_make("127.0.0.1", ports[i], &addresses[i]));
	if (!w->event)
		assert_true(sd_event_new(&w->event) >= 0);
	assert_ok(sonde_grpc_client_new(w->event, &config, &w->client));
}

/* Both sites, and a client that names them in order. */
static void open_world(struct world *w, uint64_t max_age_ms)
{
	for (size_t i = 0; i < SITES; i++)
		open_site(w, i, "127.0.0.1");
	open_client(w, (uint16_t[]){w->sites[0].port, w->sites[1].port}, SITES, false, max_age_ms,
		    5000);
}

static void close_world(struct world *w)
{
	w->client = sonde_grpc_client_free(w->client);
	for (size_t i = 0; i < SITES; i++) {
		close_site(w, i);
		sd_event_unref(w->sites[i].event);
	}
	sd_event_unref(w->event);
}

static void turn(struct world *w)
{
	assert_true(sd_event_run(w->event, TURN_US) >= 0);
	for (size_t i = 0; i < SITES; i++) {
		if (w->sites[i].event && !w->sites[i].frozen)
			assert_true(sd_event_run(w->sites[i].event, 0) >= 0);
	}
}

static uint64_t in_ms(uint64_t ms)
{
	return sonde_mono_ns() + ms * SONDE_NS_PER_MS;
}

static void keep_result(void *ctx, const struct sonde_grpc_result *result)
{
	struct outcome *o = ctx;

	assert_false(o->done);
	o->done = true;
	o->result = *result;
}

static void begin(struct world *w, const char *path, uint64_t deadline_ns, struct outcome *o)
{
	static uint8_t text[] = "x";
	const struct sonde_buf message = {.data = text, .len = 1};
	struct sonde_grpc_client_handler handler = {NULL, keep_result, o};

	assert_ok(sonde_grpc_client_call(w->client, path, &message, 1, NULL, 0, deadline_ns,
					 handler, NULL));
}

#define RUN_UNTIL(w, condition)                                                                    \
	do {                                                                                       \
		uint64_t end_ = sonde_mono_ns() + GIVE_UP_NS;                                      \
		while (!(condition)) {                                                             \
			assert_true(sonde_mono_ns() < end_);                                       \
			turn(w);                                                                   \
		}                                                                                  \
	} while (0)

static struct outcome call(struct world *w, const char *path, uint64_t deadline_ms)
{
	struct outcome o = {0};

	begin(w, path, in_ms(deadline_ms), &o);
	RUN_UNTIL(w, o.done);
	return o;
}

/* Again and again over the back-off; none of those that failed may have been sent. */
static void call_until_ok(struct world *w)
{
	uint64_t end_ns = sonde_mono_ns() + GIVE_UP_NS;
	struct outcome o;

	for (;;) {
		assert_true(sonde_mono_ns() < end_ns);
		o = call(w, "/t/answer", 30000);
		if (o.result.status == SONDE_GRPC_OK)
			return;
		assert_int_equal(o.result.status, SONDE_GRPC_UNAVAILABLE);
		assert_true(o.result.not_processed);
		turn(w);
	}
}

static size_t n_of(const struct world *w, enum sonde_grpc_client_event_kind kind, uint16_t port)
{
	size_t n = 0;

	for (size_t i = 0; i < w->n_said; i++)
		n += w->said[i].kind == kind && w->said[i].port == port;
	return n;
}

static void assert_said(const struct world *w, size_t at, enum sonde_grpc_client_event_kind kind,
			uint16_t port, const char *words)
{
	assert_true(at < w->n_said);
	assert_int_equal(w->said[at].kind, kind);
	assert_int_equal(w->said[at].port, port);
	if (!strstr(w->said[at].words, words))
		fail_msg("'%s' is not in '%s'", words, w->said[at].words);
}

static void takes_the_next_address_when_one_refuses(void **state)
{
	_cleanup_close_ int fd = -1;
	struct world w = {0};
	uint16_t dead = dead_port(&fd);
	struct outcome o;

	open_site(&w, 0, "127.0.0.1");
	open_client(&w, (uint16_t[]){dead, w.sites[0].port}, 2, false, 0, 5000);
	o = call(&w, "/t/answer", 30000);
	assert_int_equal(o.result.status, SONDE_GRPC_OK);
	assert_said(&w, 0, SONDE_GRPC_CLIENT_FAILED, dead, "Connection refused");
	assert_said(&w, 1, SONDE_GRPC_CLIENT_CONNECTED, w.sites[0].port, "plain text");
	assert_int_equal(w.n_said, 2);
	close_world(&w);
}

static void backs_off_when_none_answers(void **state)
{
	_cleanup_close_ int first = -1, second = -1;
	struct world w = {0};
	uint16_t dead[2] = {dead_port(&first), dead_port(&second)};
	uint64_t start_ns = sonde_mono_ns(), most;
	struct outcome o;

	open_client(&w, dead, 2, false, 0, 5000);
	for (int i = 0; i < 3; i++) {
		o = call(&w, "/t/answer", 30000);
		assert_int_equal(o.result.status, SONDE_GRPC_UNAVAILABLE);
		assert_int_equal(o.result.cause, SONDE_GRPC_CAUSE_CONNECT);
		assert_true(o.result.not_processed);
		assert_non_null(strstr(o.result.message, "Connection refused"));
	}
	/* One round, unless this machine crawls: the next is half a second later at least. */
	most = 1 + (sonde_mono_ns() - start_ns) / (SONDE_NS_PER_S / 2);
	assert_true(n_of(&w, SONDE_GRPC_CLIENT_FAILED, dead[0]) <= most);
	assert_int_equal(n_of(&w, SONDE_GRPC_CLIENT_FAILED, dead[0]),
			 n_of(&w, SONDE_GRPC_CLIENT_FAILED, dead[1]));
	close_world(&w);
}

static void backs_off_from_one_that_greets_and_goes(void **state)
{
	struct world w = {0};
	uint64_t start_ns = sonde_mono_ns();

	open_site(&w, 0, "127.0.0.1");
	open_client(&w, &w.sites[0].port, 1, false, 0, 5000);
	for (unsigned i = 0; i < 4; i++) {
		while (w.sites[0].calls <= i) {
			struct outcome o = {0};

			begin(&w, "/t/hold", in_ms(30000), &o);
			RUN_UNTIL(&w, o.done || w.sites[0].calls > i);
			if (!o.done) {
				close_site(&w, 0);
				RUN_UNTIL(&w, o.done);
				open_site(&w, 0, "127.0.0.1");
			}
			assert_true(sonde_mono_ns() - start_ns < GIVE_UP_NS);
			turn(&w);
		}
	}
	/* Halves of 1, 2 and 4 seconds at least; three of 1 second end before that. */
	assert_true(sonde_mono_ns() - start_ns > 3400 * SONDE_NS_PER_MS);
	close_world(&w);
}

/* A listener whose queue is full drops SYNs: as a machine that is gone. */
static void a_dead_address_costs_its_own_timeout_only(void **state)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(a);
	struct world w = {0};
	struct outcome o;
	int full, fillers[3];

	full = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_ok(bind(full, (struct sockaddr *)&a, n));
	assert_ok(listen(full, 0));
	assert_ok(getsockname(full, (struct sockaddr *)&a, &n));
	for (size_t i = 0; i < ELEMENTS_OF(fillers); i++) {
		fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		(void)connect(fillers[i], (struct sockaddr *)&a, n);
	}

	open_site(&w, 0, "127.0.0.1");
	open_client(&w, (uint16_t[]){ntohs(a.sin_port), w.sites[0].port}, 2, false, 0, 3000);
	o = call(&w, "/t/answer", 30000);
	assert_int_equal(o.result.status, SONDE_GRPC_OK);
	assert_said(&w, 0, SONDE_GRPC_CLIENT_FAILED, ntohs(a.sin_port), "timed out");
	assert_said(&w, 1, SONDE_GRPC_CLIENT_CONNECTED, w.sites[0].port, "");
	for (size_t i = 0; i < ELEMENTS_OF(fillers); i++)
		(void)close(fillers[i]);
	(void)close(full);
	close_world(&w);
}

static void goes_to_the_other_one_and_back_as_each_is_lost(void **state)
{
	struct world w = {0};

	open_world(&w, 0);
	call_until_ok(&w);
	assert_int_equal(w.sites[0].calls, 1);

	close_site(&w, 0);
	RUN_UNTIL(&w, n_of(&w, SONDE_GRPC_CLIENT_LOST, w.sites[0].port) == 1);
	call_until_ok(&w);
	assert_int_equal(w.sites[1].calls, 1);

	open_site(&w, 0, "127.0.0.1"); /* is back, and nobody goes there before he must */
	call_until_ok(&w);
	assert_int_equal(w.sites[1].calls, 2);

	close_site(&w, 1);
	RUN_UNTIL(&w, n_of(&w, SONDE_GRPC_CLIENT_LOST, w.sites[1].port) == 1);
	call_until_ok(&w);
	assert_int_equal(w.sites[0].calls, 2);
	/* Each was tried when it stood: whom it lost comes last. */
	assert_int_equal(n_of(&w, SONDE_GRPC_CLIENT_FAILED, w.sites[0].port), 0);
	assert_int_equal(n_of(&w, SONDE_GRPC_CLIENT_FAILED, w.sites[1].port), 0);
	close_world(&w);
}

static void leaves_at_a_goaway_and_lets_calls_end_where_they_are(void **state)
{
	struct world w = {0};
	struct outcome o = {0};

	open_world(&w, 0);
	begin(&w, "/t/hold", in_ms(60000), &o);
	RUN_UNTIL(&w, w.sites[0].held);
	sonde_grpc_server_drain(w.sites[0].server);
	RUN_UNTIL(&w, n_of(&w, SONDE_GRPC_CLIENT_LOST, w.sites[0].port) == 1);
	assert_said(&w, 1, SONDE_GRPC_CLIENT_LOST, w.sites[0].port, "GOAWAY");
	call_until_ok(&w);
	assert_int_equal(w.sites[1].calls, 1);
	assert_false(o.done);
	sonde_grpc_server_call_finish(w.sites[0].held, SONDE_GRPC_OK, NULL);
	RUN_UNTIL(&w, o.done);
	assert_int_equal(o.result.status, SONDE_GRPC_OK);
	close_world(&w);
}

static void goes_back_to_the_first_one_at_its_age_between_calls(void **state)
{
	struct world w = {0};
	struct outcome held = {0}, watch = {0};
	uint16_t first;

	open_world(&w, 300);
	first = w.sites[0].port;
	close_site(&w, 0);
	call_until_ok(&w);
	assert_int_equal(w.sites[1].calls, 1);
	begin(&w, "/t/hold", in_ms(60000), &held);
	RUN_UNTIL(&w, w.sites[1].held);
	begin(&w, "/t/hold", 0, &watch);
	/* Its age comes and goes while the first one is away. */
	RUN_UNTIL(&w, n_of(&w, SONDE_GRPC_CLIENT_FAILED, first) >= 3);
	assert_true(sonde_grpc_client_connected(w.client));

	open_site(&w, 0, "127.0.0.1");
	RUN_UNTIL(&w, n_of(&w, SONDE_GRPC_CLIENT_CONNECTED, first) >= 1);
	call_until_ok(&w);
	assert_int_equal(w.sites[0].calls, 1);
	close_world(&w);
	/* One that has no deadline would have held the old connection for ever; the other ends with its site. */
	assert_true(watch.done);
	assert_int_equal(watch.result.status, SONDE_GRPC_UNAVAILABLE);
	assert_true(held.done);
}

static void a_call_under_way_ends_on_the_connection_that_is_replaced(void **state)
{
	struct world w = {0};
	struct outcome held = {0};
	size_t connected;

	open_world(&w, 200);
	begin(&w, "/t/hold", in_ms(60000), &held);
	RUN_UNTIL(&w, w.sites[0].held);
	connected = n_of(&w, SONDE_GRPC_CLIENT_CONNECTED, w.sites[0].port);
	RUN_UNTIL(&w, n_of(&w, SONDE_GRPC_CLIENT_CONNECTED, w.sites[0].port) > connected);
	for (int i = 0; i < 20; i++)
		turn(&w);
	assert_false(held.done);
	sonde_grpc_server_call_finish(w.sites[0].held, SONDE_GRPC_OK, NULL);
	RUN_UNTIL(&w, held.done);
	assert_int_equal(held.result.status, SONDE_GRPC_OK);
	/* What is replaced is not lost. */
	assert_int_equal(n_of(&w, SONDE_GRPC_CLIENT_LOST, w.sites[0].port), 0);
	close_world(&w);
}

static void leaves_a_backend_that_takes_calls_and_says_nothing(void **state)
{
	struct world w = {0};
	struct outcome o;
	int n = 0;

	open_world(&w, 0);
	call_until_ok(&w);
	w.sites[0].frozen = true; /* its kernel still acknowledges */
	do {			  /* two; a third if the good one's last bytes came late */
		o = call(&w, "/t/answer",
			 2500); /* a call that was not sent is none that was left */
		assert_int_equal(o.result.status, SONDE_GRPC_DEADLINE_EXCEEDED);
		assert_int_equal(o.result.cause, SONDE_GRPC_CAUSE_DEADLINE);
		assert_false(o.result.not_processed);
	} while (++n < 3 && n_of(&w, SONDE_GRPC_CLIENT_LOST, w.sites[0].port) == 0);
	assert_true(n >= 2);
	assert_int_equal(n_of(&w, SONDE_GRPC_CLIENT_LOST, w.sites[0].port), 1);
	assert_said(&w, 1, SONDE_GRPC_CLIENT_LOST, w.sites[0].port, "says nothing");
	call_until_ok(&w);
	assert_int_equal(w.sites[1].calls, 1);
	close_world(&w);
}

/* Two of them are days apart as well; and calls that wait side by side wait for the same thing. */
static void holds_no_single_silence_against_a_backend(void **state)
{
	struct world w = {0};

	open_world(&w, 0);
	call_until_ok(&w);
	for (int i = 0; i < 2; i++) {
		uint64_t deadline_ns = in_ms(200);
		struct outcome o[2] = {0};

		w.sites[0].frozen = true;
		begin(&w, "/t/answer", deadline_ns, &o[0]);
		begin(&w, "/t/answer", deadline_ns, &o[1]);
		RUN_UNTIL(&w, o[0].done && o[1].done);
		assert_int_equal(o[0].result.status, SONDE_GRPC_DEADLINE_EXCEEDED);
		assert_int_equal(o[1].result.status, SONDE_GRPC_DEADLINE_EXCEEDED);
		w.sites[0].frozen = false;
		call_until_ok(&w);
	}
	assert_int_equal(n_of(&w, SONDE_GRPC_CLIENT_LOST, w.sites[0].port), 0);
	assert_int_equal(w.sites[1].calls, 0);
	close_world(&w);
}

static void stays_with_one_that_is_slow_in_some_calls(void **state)
{
	struct world w = {0};
	bool slow = false;
	struct outcome o;

	open_world(&w, 0);
	for (int i = 0; i < 4 && !slow; i++) {
		struct outcome held = {0};

		begin(&w, "/t/hold", in_ms(300), &held);
		o = call(&w, "/t/answer", 30000);
		slow = held.done; /* this machine: it heard nothing in the time of a call */
		if (slow)
			print_message("this machine is too slow to tell\n");
		else
			assert_int_equal(o.result.status, SONDE_GRPC_OK);
		RUN_UNTIL(&w, held.done);
		assert_int_equal(held.result.status, SONDE_GRPC_DEADLINE_EXCEEDED);
	}
	if (!slow) {
		assert_int_equal(n_of(&w, SONDE_GRPC_CLIENT_LOST, w.sites[0].port), 0);
		assert_int_equal(w.sites[1].calls, 0);
	}
	close_world(&w);
}

static void spreads_over_all_where_the_order_is_random(void **state)
{
	struct world w = {0};

	for (size_t i = 0; i < SITES; i++)
		open_site(&w, i, "127.0.0.1");
	for (int i = 0; i < 40; i++) { /* all to one of them: once in 2^39 runs */
		open_client(&w, (uint16_t[]){w.sites[0].port, w.sites[1].port}, SITES, true, 0,
			    5000);
		call_until_ok(&w);
		w.client = sonde_grpc_client_free(w.client);
		w.n_said = 0;
	}
	assert_int_equal(w.sites[0].calls + w.sites[1].calls, 40);
	assert_true(w.sites[0].calls > 0 && w.sites[1].calls > 0);
	close_world(&w);
}

static void connects_to_an_ipv6_address(void **state)
{
	const struct sockaddr_in6 loopback = {.sin6_family = AF_INET6,
					      .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool have = fd >= 0 && bind(fd, (const struct sockaddr *)&loopback, sizeof(loopback)) == 0;
	struct sonde_grpc_client_config config = {
		.max_message_bytes = 1 << 20,
		.connect_timeout_ns = 5 * SONDE_NS_PER_S,
	};
	struct sonde_address address;
	struct world w = {0};
	char text[64];

	if (fd >= 0)
		(void)close(fd);
	if (!have) {
		print_message("no IPv6 on this machine's loopback\n");
		return;
	}
	open_site(&w, 0, "::1");
	(void)snprintf(text, sizeof(text), "[::1]:%u", w.sites[0].port);
	assert_ok(sonde_address_parse(text, 0, &address));
	config.addresses = &address;
	config.n_addresses = 1;
	assert_true(sd_event_new(&w.event) >= 0);
	assert_ok(sonde_grpc_client_new(w.event, &config, &w.client));
	assert_string_equal(sonde_grpc_client_address(w.client), text);
	call_until_ok(&w);
	close_world(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_the_next_address_when_one_refuses),
		cmocka_unit_test(backs_off_when_none_answers),
		cmocka_unit_test(backs_off_from_one_that_greets_and_goes),
		cmocka_unit_test(a_dead_address_costs_its_own_timeout_only),
		cmocka_unit_test(goes_to_the_other_one_and_back_as_each_is_lost),
		cmocka_unit_test(leaves_at_a_goaway_and_lets_calls_end_where_they_are),
		cmocka_unit_test(goes_back_to_the_first_one_at_its_age_between_calls),
		cmocka_unit_test(a_call_under_way_ends_on_the_connection_that_is_replaced),
		cmocka_unit_test(leaves_a_backend_that_takes_calls_and_says_nothing),
		cmocka_unit_test(holds_no_single_silence_against_a_backend),
		cmocka_unit_test(stays_with_one_that_is_slow_in_some_calls),
		cmocka_unit_test(spreads_over_all_where_the_order_is_random),
		cmocka_unit_test(connects_to_an_ipv6_address),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
