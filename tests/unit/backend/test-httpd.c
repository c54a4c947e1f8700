/* SPDX-License-Identifier: Apache-2.0 */
/* Answers to clients that do not read them: over real sockets, by a clock that can be moved on. */
#include "sonde-test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backend/http/clients.h"
#include "backend/http/http-stats.h"
#include "backend/http/httpd.h"
#include "base/clock.h"
#include "base/num.h"

#define ANSWER_BYTES (32UL << 20)  /* more than the sockets' buffers take */
#define QUARTER_BYTES (64UL << 20) /* of what all may have */
#define LIMIT_S 60		   /* a test that hangs, not a measure */

static time_t moved_s;

int __real_clock_gettime(clockid_t clock, struct timespec *ts);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ts);

/* For what is linked into this program, not for the libraries. */
int __wrap_clock_gettime(clockid_t clock, struct timespec *ts)
{
	int r = __real_clock_gettime(clock, ts);

	ts->tv_sec += moved_s;
	return r;
}

static void wait_for_it(void *ctx, struct sonde_http_request *req)
{
	struct sonde_http_request **got = ctx;

	*got = req;
	req->waits = true;
}

static void abandon(void *ctx, struct sonde_http_request *req)
{
	struct sonde_http_request **got = ctx;

	*got = NULL;
}

/* POST, so that no ETag has to be made of so much. */
static int ask(uint16_t port, uint32_t host)
{
	static const char text[] = "POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(host)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_ok(bind(fd, (struct sockaddr *)&a, sizeof(a)));
	a.sin_port = htons(port);
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_ok(connect(fd, (struct sockaddr *)&a, sizeof(a)));
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
	return fd;
}

static json_t *large(void)
{
	char *text = malloc(ANSWER_BYTES);
	json_t *answer;

	assert_non_null(text);
	memset(text, 'x', ANSWER_BYTES);
	answer = json_pack("[s#]", text, (int)ANSWER_BYTES);
	free(text);
	assert_non_null(answer);
	return answer;
}

struct server {
	sd_event *event;
	struct sonde_httpd *httpd;
	const struct sonde_http_stats *stats;
	uint64_t end_ns;
};

static struct server serve(void (*handle)(void *ctx, struct sonde_http_request *req), void *ctx)
{
	struct sonde_httpd_config config = {.address = "127.0.0.1",
					    .max_connections = 16,
					    .max_body_bytes = 1000,
					    .handle = handle,
					    .abandon = abandon,
					    .ctx = ctx};
	struct server s = {.end_ns = sonde_mono_ns() + LIMIT_S * SONDE_NS_PER_S};

	assert_true(sd_event_new(&s.event) >= 0);
	assert_ok(sonde_httpd_new(s.event, &config, &s.httpd));
	s.stats = sonde_httpd_stats(s.httpd);
	return s;
}

static void end(struct server *s)
{
	(void)sonde_httpd_free(s->httpd);
	(void)sd_event_unref(s->event);
}

static void step(struct server *s)
{
	assert_true(sonde_mono_ns() < s->end_ns);
	assert_true(sd_event_run(s->event, 100000) >= 0);
}

static void an_answer_that_came_later_has_its_time_too(void **state)
{
	struct sonde_http_request *req = NULL;
	struct server s = serve(wait_for_it, &req);
	int fd = ask(sonde_httpd_port(s.httpd), INADDR_LOOPBACK);
	json_t *answer;

	while (!req)
		step(&s);
	/* The time that it waits is the server's. */
	moved_s = 2 * (time_t)sonde_http_phase_s[SONDE_HTTP_ANSWER];
	s.end_ns += (uint64_t)moved_s * SONDE_NS_PER_S;
	sonde_httpd_tick(s.httpd);
	assert_int_equal(s.stats->slow_ended, 0);

	answer = large();
	req->status = 200;
	req->answer = json_incref(answer);
	sonde_http_resume(req);
	/* The tree goes as soon as there is the text, though the client has not read it. */
	while (answer->refcount > 1)
		step(&s);
	assert_int_equal(s.stats->connections_open, 1);
	sonde_httpd_tick(s.httpd);
	assert_int_equal(s.stats->slow_ended, 0);
	moved_s += (time_t)sonde_http_phase_s[SONDE_HTTP_ANSWER];
	sonde_httpd_tick(s.httpd);
	assert_int_equal(s.stats->slow_ended, 1);

	json_decref(answer);
	(void)close(fd);
	end(&s);
	moved_s = 0;
}

static void answer_at_once(void *ctx, struct sonde_http_request *req)
{
	const size_t *n = ctx;

	req->status = 200;
	req->text = malloc(*n + 1);
	assert_non_null(req->text);
	memset(req->text, 'x', *n);
	req->text[*n] = '\0';
}

/* Return: the status; the head of the answer is in @head, of its body what came along. */
static int status_of(struct server *s, int fd, char head[static 4096])
{
	char digits[4] = "";
	uint64_t status;
	ssize_t n;

	while ((n = recv(fd, head, 4095, MSG_DONTWAIT)) < 0) {
		assert_int_equal(errno, EAGAIN);
		step(s);
	}
	head[n] = '\0';
	assert_true(n > 12);
	assert_memory_equal(head, "HTTP/1.1 ", 9);
	memcpy(digits, head + 9, 3);
	assert_ok(sonde_parse_u64(digits, 100, 599, &status));
	return (int)status;
}

static void answers_are_bounded_all_together_and_of_one_address(void **state)
{
	static const struct {
		uint32_t host; /* 127.0.0.x */
		size_t bytes;
		int status;
	} asked[] = {
		{1, QUARTER_BYTES, 200},	 {1, QUARTER_BYTES, 200},
		{1, QUARTER_BYTES, 503},	 {1, 32UL << 10, 200}, /* a small one always */
		{2, QUARTER_BYTES * 3 / 2, 200}, {2, QUARTER_BYTES, 503},
		{3, QUARTER_BYTES, 503},	 {3, QUARTER_BYTES / 4, 200},
	};
	size_t bytes = 0;
	struct server s = serve(answer_at_once, &bytes);
	uint16_t port = sonde_httpd_port(s.httpd);
	int fd[ELEMENTS_OF(asked)], more;
	char head[4096];

	for (size_t i = 0; i < ELEMENTS_OF(asked); i++) {
		bytes = asked[i].bytes;
		fd[i] = ask(port, 0x7f000000 + asked[i].host);
		assert_int_equal(status_of(&s, fd[i], head), asked[i].status);
		assert_int_equal(strstr(head, "Retry-After: 5\r\n") != NULL,
				 asked[i].status == 503);
		assert_int_equal(strstr(head, "application/problem+json") != NULL,
				 asked[i].status == 503);
	}
	assert_int_equal(s.stats->answers_refused, 3);
	/* Who goes makes room. */
	(void)close(fd[0]);
	while (s.stats->connections_open == ELEMENTS_OF(asked))
		step(&s);
	bytes = QUARTER_BYTES;
	more = ask(port, INADDR_LOOPBACK);
	assert_int_equal(status_of(&s, more, head), 200);
	(void)close(more);
	for (size_t i = 1; i < ELEMENTS_OF(asked); i++)
		(void)close(fd[i]);
	end(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_answer_that_came_later_has_its_time_too),
		cmocka_unit_test(answers_are_bounded_all_together_and_of_one_address),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
