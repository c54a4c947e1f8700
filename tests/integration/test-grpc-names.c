/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A backend by name, through the C library's own resolver: a hosts file and a name server of this test's, in a mount and a
 * network namespace of its own. Which of a name's addresses is tried, and that the name is asked for again. As root.
 */
#include "sonde-test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "base/clock.h"
#include "io/grpc-client.h"
#include "io/grpc-server.h"
#include "io/http2-conn.h"

#define GIVE_UP_NS (60 * SONDE_NS_PER_S) /* a test that hangs, not a measure */
#define SKIP 77
#define EVENTS_MAX 64
#define TURN_US 2000
#define DNS_PACKET 512

/* --- files that the resolver reads --- */

static char folder[] = "/tmp/sonde-test-names-XXXXXX";

static bool put_file(const char *name, const char *text, const char *over)
{
	char path[128];
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	f = fopen(path, "we");
	if (!f || fputs(text, f) < 0 || fclose(f) != 0)
		return false;
	return mount(path, over, NULL, MS_BIND, NULL) == 0;
}

static bool raise_loopback(void)
{
	struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool up = fd >= 0 && ioctl(fd, SIOCSIFFLAGS, &request) == 0;

	if (fd >= 0)
		(void)close(fd);
	return up;
}

static bool enter_namespaces(void)
{
	return mkdtemp(folder) && unshare(CLONE_NEWNS | CLONE_NEWNET) == 0 &&
	       mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 && raise_loopback() &&
	       put_file("hosts",
			"127.0.79.1 backend\n127.0.79.2 backend\n127.0.79.3 backend\n"
			"::1 both\n127.0.79.2 both\n",
			"/etc/hosts") &&
	       put_file("resolv", "nameserver 127.0.0.1\noptions timeout:1 attempts:60\n",
			"/etc/resolv.conf") &&
	       put_file("nsswitch", "hosts: files dns\n", "/etc/nsswitch.conf");
}

static void leave_folder(void)
{
	static const char *const names[] = {"hosts", "resolv", "nsswitch"};
	char path[128];

	for (size_t i = 0; i < ELEMENTS_OF(names); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
		(void)unlink(path);
	}
	(void)rmdir(folder);
}

/* --- a name server: every name has these addresses, the last byte of 127.0.79.x; none: there is no such name --- */

static _Atomic(uint32_t) addresses; /* a bit each */
static atomic_uint n_asked;
static int dns_fd = -1;

/* The question's end, behind the header; 0: this is no question. */
static size_t question_end(const uint8_t *packet, size_t n)
{
	size_t at = 12;

	while (at < n && packet[at] > 0)
		at += packet[at] + 1UL;
	return at + 5 <= n ? at + 5 : 0;
}

static size_t make_answer(uint8_t *packet, size_t n, uint32_t bits)
{
	size_t end = question_end(packet, n);
	bool wants_ipv4 = end > 0 && packet[end - 3] == 1;
	uint8_t count = 0;

	if (end == 0)
		return 0;
	for (uint8_t i = 0; wants_ipv4 && i < 32; i++) {
		const uint8_t record[] = {0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 127, 0, 79, i};

		if (!(bits & (1U << i)) || end + sizeof(record) > DNS_PACKET)
			continue;
		memcpy(packet + end, record, sizeof(record));
		end += sizeof(record);
		count++;
	}
	packet[2] = 0x81; /* an answer */
	packet[3] = bits == 0 ? 0x83 : 0x80;
	memset(packet + 6, 0, 6);
	packet[7] = count;
	return end;
}

static void *answer_names(void *arg)
{
	uint8_t packet[DNS_PACKET];
	struct sockaddr_in who;

	for (;;) {
		socklen_t size = sizeof(who);
		ssize_t n =
			recvfrom(dns_fd, packet, sizeof(packet), 0, (struct sockaddr *)&who, &size);
		size_t out;

		if (n <= 12)
			return NULL; /* the end of the test */
		out = make_answer(packet, (size_t)n, atomic_load(&addresses));
		atomic_fetch_add(&n_asked, 1);
		(void)!sendto(dns_fd, packet, out, 0, (struct sockaddr *)&who, size);
	}
}

/* --- machines of the backend, all on one port --- */

struct site {
	struct sonde_grpc_server *server;
	unsigned calls;
};

struct world {
	sd_event *event;
	struct site sites[4]; /* of 127.0.79.x */
	struct sonde_grpc_client *client;
	enum sonde_grpc_client_event_kind kinds[EVENTS_MAX];
	char words[EVENTS_MAX][256];
	size_t n_said;
	uint16_t port;
};

static void answer(void *ctx, struct sonde_grpc_server_call *call)
{
	struct site *site = ctx;

	site->calls++;
	sonde_grpc_server_call_finish(call, SONDE_GRPC_OK, NULL);
}

static const struct sonde_grpc_method methods[] = {
	{.path = "/t/answer", .on_half_close = answer},
	{NULL},
};

static void open_site(struct world *w, unsigned i)
{
	char address[16];
	const struct sonde_grpc_server_config config = {
		.address = address,
		.port = w->port,
		.max_message_bytes = 1 << 20,
		.max_connections = 100,
		.max_streams = 100,
	};

	(void)snprintf(address, sizeof(address), "127.0.79.%u", i);
	if (!w->event)
		assert_true(sd_event_new(&w->event) >= 0);
	assert_ok(sonde_grpc_server_new(w->event, &config, methods, &w->sites[i],
					&w->sites[i].server));
	w->port = sonde_grpc_server_port(w->sites[i].server);
}

static void close_site(struct world *w, unsigned i)
{
	w->sites[i].server = sonde_grpc_server_free(w->sites[i].server);
}

static void on_event(void *ctx, const struct sonde_grpc_client_event *e)
{
	struct world *w = ctx;

	assert_true(w->n_said < EVENTS_MAX);
	w->kinds[w->n_said] = e->kind;
	(void)snprintf(w->words[w->n_said++], sizeof(w->words[0]), "%s", e->words);
}

static void open_client(struct world *w, const char *name)
{
	struct sonde_address address;
	const struct sonde_grpc_client_config config = {
		.addresses = &address,
		.n_addresses = 1,
		.max_message_bytes = 1 << 20,
		.connect_timeout_ns = 20 * SONDE_NS_PER_S,
		.on_event = on_event,
		.ctx = w,
	};

	assert_ok(sonde_address_make(name, w->port, &address));
	if (!w->event)
		assert_true(sd_event_new(&w->event) >= 0);
	assert_ok(sonde_grpc_client_new(w->event, &config, &w->client));
}

static void close_world(struct world *w)
{
	w->client = sonde_grpc_client_free(w->client);
	for (unsigned i = 0; i < ELEMENTS_OF(w->sites); i++)
		close_site(w, i);
	sd_event_unref(w->event);
}

struct outcome {
	bool done;
	struct sonde_grpc_result result;
};

static void keep_result(void *ctx, const struct sonde_grpc_result *result)
{
	struct outcome *o = ctx;

	o->done = true;
	o->result = *result;
}

static struct outcome call(struct world *w)
{
	static uint8_t text[] = "x";
	const struct sonde_buf message = {.data = text, .len = 1};
	uint64_t end_ns = sonde_mono_ns() + GIVE_UP_NS;
	struct outcome o = {0};
	struct sonde_grpc_client_handler handler = {NULL, keep_result, &o};

	assert_ok(sonde_grpc_client_call(w->client, "/t/answer", &message, 1, NULL, 0, end_ns,
					 handler, NULL));
	while (!o.done) {
		assert_true(sonde_mono_ns() < end_ns + GIVE_UP_NS);
		assert_true(sd_event_run(w->event, TURN_US) >= 0);
	}
	return o;
}

/* Over the back-off. */
static void call_until_ok(struct world *w)
{
	uint64_t end_ns = sonde_mono_ns() + GIVE_UP_NS;

	while (call(w).result.status != SONDE_GRPC_OK) {
		assert_true(sonde_mono_ns() < end_ns);
		assert_true(sd_event_run(w->event, TURN_US) >= 0);
	}
}

static bool was_said(const struct world *w, enum sonde_grpc_client_event_kind kind,
		     const char *words)
{
	for (size_t i = 0; i < w->n_said; i++) {
		if (w->kinds[i] == kind && strstr(w->words[i], words))
			return true;
	}
	return false;
}

/* --- the tests --- */

static void each_address_of_a_name_is_tried(void **state)
{
	struct world w = {0};

	open_site(&w, 3); /* nobody is at .1 and .2 */
	open_client(&w, "backend");
	assert_int_equal(call(&w).result.status, SONDE_GRPC_OK);
	assert_int_equal(w.sites[3].calls, 1);
	/* that two of them refused is no failure of the backend */
	assert_int_equal(w.n_said, 1);
	assert_int_equal(w.kinds[0], SONDE_GRPC_CLIENT_CONNECTED);
	close_world(&w);
}

static void the_next_one_takes_over_from_one_that_is_lost(void **state)
{
	struct world w = {0};

	open_site(&w, 2);
	open_site(&w, 3);
	open_client(&w, "backend");
	call_until_ok(&w);
	/* in the order of the resolver, which is not the file's where it can tell them apart */
	assert_int_equal(w.sites[2].calls + w.sites[3].calls, 1);
	for (unsigned lost = w.sites[2].calls ? 2 : 3, other = 5 - lost, i = 0; i < 2; i++) {
		unsigned before = w.sites[other].calls;

		close_site(&w, lost);
		call_until_ok(&w);
		assert_int_equal(w.sites[other].calls, before + 1);
		open_site(&w, lost);
		lost = other;
		other = 5 - lost;
	}
	close_world(&w);
}

static void where_all_refuse_the_last_one_is_named(void **state)
{
	struct world w = {.port = 1};
	struct outcome o;

	open_client(&w, "backend");
	o = call(&w);
	assert_int_equal(o.result.status, SONDE_GRPC_UNAVAILABLE);
	assert_true(o.result.not_processed);
	assert_int_equal(w.n_said, 1);
	assert_true(was_said(&w, SONDE_GRPC_CLIENT_FAILED, "127.0.79."));
	assert_true(was_said(&w, SONDE_GRPC_CLIENT_FAILED, "Connection refused"));
	close_world(&w);
}

/* RFC 6724 puts ::1 first. */
static void an_address_of_the_other_family_is_tried_too(void **state)
{
	struct world w = {0};

	open_site(&w, 2);
	open_client(&w, "both");
	assert_int_equal(call(&w).result.status, SONDE_GRPC_OK);
	assert_int_equal(w.sites[2].calls, 1);
	close_world(&w);
}

static void a_name_is_asked_for_again_at_each_attempt(void **state)
{
	struct world w = {0};
	unsigned asked;

	open_site(&w, 1);
	atomic_store(&addresses, 1U << 1);
	open_client(&w, "oap.example.");
	call_until_ok(&w);
	assert_int_equal(w.sites[1].calls, 1);
	asked = atomic_load(&n_asked);
	assert_true(asked > 0);

	/* the machine is gone, and the name is another's: no restart is needed */
	close_site(&w, 1);
	open_site(&w, 2);
	atomic_store(&addresses, 1U << 2);
	call_until_ok(&w);
	assert_int_equal(w.sites[2].calls, 1);
	assert_true(atomic_load(&n_asked) > asked);
	close_world(&w);
}

static void each_record_of_a_name_server_is_tried(void **state)
{
	struct world w = {0};

	open_site(&w, 2);
	atomic_store(&addresses, 1U << 1 | 1U << 2 | 1U << 3);
	open_client(&w, "oap.example.");
	assert_int_equal(call(&w).result.status, SONDE_GRPC_OK);
	assert_int_equal(w.sites[2].calls, 1);
	close_world(&w);
}

static void a_name_that_is_none_is_told_and_may_come(void **state)
{
	struct world w = {0};
	struct outcome o;

	open_site(&w, 1);
	atomic_store(&addresses, 0);
	open_client(&w, "oap.example.");
	o = call(&w);
	assert_int_equal(o.result.status, SONDE_GRPC_UNAVAILABLE);
	assert_true(was_said(&w, SONDE_GRPC_CLIENT_FAILED,
			     "the name cannot be resolved: Name or "
			     "service not known"));
	atomic_store(&addresses, 1U << 1);
	call_until_ok(&w);
	assert_int_equal(w.sites[1].calls, 1);
	close_world(&w);
}

/* What answers on the port for queries: it takes no HTTP/2. */
static void *be_a_web_server(void *arg)
{
	static const char text[] = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
	int fd, listener = *(int *)arg;
	char taken[256];

	while ((fd = accept(listener, NULL, NULL)) >= 0) {
		(void)!read(fd, taken, sizeof(taken));
		(void)!write(fd, text, sizeof(text) - 1);
		while (read(fd, taken, sizeof(taken)) > 0) {
			/* no RST before the answer was read */
		}
		(void)close(fd);
	}
	return NULL;
}

static void the_port_for_queries_is_told_from_the_one_for_agents(void **state)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t size = sizeof(a);
	struct world w = {0};
	pthread_t thread;

	assert_ok(bind(listener, (struct sockaddr *)&a, size));
	assert_ok(listen(listener, 8));
	assert_ok(getsockname(listener, (struct sockaddr *)&a, &size));
	w.port = ntohs(a.sin_port);
	assert_ok(pthread_create(&thread, NULL, be_a_web_server, &listener));
	open_client(&w, "127.0.0.1");
	assert_int_equal(call(&w).result.status, SONDE_GRPC_UNAVAILABLE);
	assert_true(was_said(&w, SONDE_GRPC_CLIENT_FAILED, SONDE_HTTP2_WRONG_PORT));
	w.client = sonde_grpc_client_free(w.client); /* none of its connections holds the thread */
	assert_ok(shutdown(listener, SHUT_RDWR));
	assert_ok(pthread_join(thread, NULL));
	(void)close(listener);
	close_world(&w);
}

static int start_name_server(void **state)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
				.sin_port = htons(53),
				.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	static pthread_t thread;

	dns_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (dns_fd < 0 || bind(dns_fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		return -1;
	*state = &thread;
	return pthread_create(&thread, NULL, answer_names, NULL);
}

static int stop_name_server(void **state)
{
	(void)shutdown(dns_fd, SHUT_RDWR);
	(void)pthread_join(*(pthread_t *)*state, NULL);
	return close(dns_fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_address_of_a_name_is_tried),
		cmocka_unit_test(the_next_one_takes_over_from_one_that_is_lost),
		cmocka_unit_test(where_all_refuse_the_last_one_is_named),
		cmocka_unit_test(an_address_of_the_other_family_is_tried_too),
		cmocka_unit_test(a_name_is_asked_for_again_at_each_attempt),
		cmocka_unit_test(each_record_of_a_name_server_is_tried),
		cmocka_unit_test(a_name_that_is_none_is_told_and_may_come),
		cmocka_unit_test(the_port_for_queries_is_told_from_the_one_for_agents),
	};
	int failed;

	if (!enter_namespaces()) {
		(void)fprintf(stderr, "no namespaces of its own: %s\n", strerror(errno));
		leave_folder();
		return SKIP;
	}
	failed = cmocka_run_group_tests(tests, start_name_server, stop_name_server);
	leave_folder();
	return failed;
}
