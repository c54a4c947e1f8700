/* SPDX-License-Identifier: Apache-2.0 */
/* A connection over TLS, whose client is OpenSSL in the test's own hands. */
#include "sonde-test.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "http2-ignore.h"
#include "io/http2-conn.h"
#include "io/tls.h"

#define LONG_NS (3600 * SONDE_NS_PER_S)
#define TURNS_MAX 20000
#define GREETING "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"

struct rig {
	char dir[32], cert[64], key[64];
	sd_event *event;
	struct sonde_tls_context *tls;
	struct sonde_http2 *h2;
	struct sonde_http2_conn *conn;
	SSL_CTX *context;
	SSL *client;
	int ours, peer;
	bool lost;
};

static void write_pem(struct rig *rig)
{
	EVP_PKEY *pkey = EVP_EC_gen("P-256");
	X509 *x = X509_new();
	FILE *f;
	int fd;

	assert_true(pkey && x);
	assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(x), 1), 1);
	assert_non_null(X509_gmtime_adj(X509_getm_notBefore(x), -3600));
	assert_non_null(X509_gmtime_adj(X509_getm_notAfter(x), 86400));
	assert_int_equal(X509_set_pubkey(x, pkey), 1);
	assert_true(X509_sign(x, pkey, EVP_sha256()) > 0);
	f = fopen(rig->cert, "we");
	assert_non_null(f);
	assert_int_equal(PEM_write_X509(f, x), 1);
	assert_ok(fclose(f));
	fd = open(rig->key, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	f = fdopen(fd, "w");
	assert_non_null(f);
	assert_int_equal(PEM_write_PrivateKey(f, pkey, NULL, NULL, 0, NULL, NULL), 1);
	assert_ok(fclose(f));
	X509_free(x);
	EVP_PKEY_free(pkey);
}

static void on_want_pull(void *ctx)
{
	struct rig *rig = ctx;

	if (rig->conn)
		sonde_http2_conn_flush_soon(rig->conn);
}

static void on_lost(void *ctx, int error)
{
	struct rig *rig = ctx;

	rig->lost = true;
}

static void start_conn(struct rig *rig)
{
	const struct sonde_tls_config tls = {
		.server = true, .cert_file = rig->cert, .key_file = rig->key};
	const struct sonde_http2_config h2 = {.server = true,
					      .max_streams = 10,
					      .max_stream_output_bytes = 1 << 20,
					      .control_burst = 100,
					      .control_per_s = 10};
	const struct sonde_http2_handler events = {.on_begin = ignore_begin,
						   .on_header = ignore_header,
						   .on_headers = ignore_headers,
						   .on_data = ignore_data,
						   .on_end = ignore_end,
						   .on_close = ignore_close,
						   .on_want_pull = on_want_pull,
						   .ctx = rig};
	const struct sonde_http2_conn_handler handler = {.on_lost = on_lost, .ctx = rig};
	char words[SONDE_TLS_WORDS_MAX];
	int fds[2];

	assert_ok(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds));
	rig->ours = fds[0];
	rig->peer = fds[1];
	assert_true(sd_event_new(&rig->event) >= 0);
	assert_ok(sonde_tls_context_new(&tls, &rig->tls, words));
	assert_ok(sonde_http2_new(&h2, &events, &rig->h2));
	assert_ok(
		sonde_http2_conn_new(rig->event, fds[0], rig->h2,
				     &(struct sonde_http2_conn_config){.greet_timeout_ns = LONG_NS,
								       .frame_timeout_ns = LONG_NS,
								       .stall_timeout_ns = LONG_NS,
								       .tls = rig->tls},
				     &handler, &rig->conn));
}

static int set_up(void **state)
{
	static const uint8_t h2[] = {2, 'h', '2'};
	static struct rig rig;

	rig = (struct rig){0};
	(void)snprintf(rig.dir, sizeof(rig.dir), "/tmp/sonde-tls-XXXXXX");
	assert_non_null(mkdtemp(rig.dir));
	(void)snprintf(rig.cert, sizeof(rig.cert), "%s/cert", rig.dir);
	(void)snprintf(rig.key, sizeof(rig.key), "%s/key", rig.dir);
	write_pem(&rig);
	start_conn(&rig);
	rig.context = SSL_CTX_new(TLS_client_method());
	assert_non_null(rig.context);
	assert_int_equal(SSL_CTX_set_min_proto_version(rig.context, TLS1_3_VERSION), 1);
	assert_ok(SSL_CTX_set_alpn_protos(rig.context, h2, sizeof(h2)));
	rig.client = SSL_new(rig.context);
	assert_non_null(rig.client);
	assert_int_equal(SSL_set_fd(rig.client, rig.peer), 1);
	SSL_set_connect_state(rig.client);
	*state = &rig;
	return 0;
}

static int tear_down(void **state)
{
	struct rig *rig = *state;

	SSL_free(rig->client);
	SSL_CTX_free(rig->context);
	rig->conn = sonde_http2_conn_free(rig->conn);
	rig->h2 = sonde_http2_free(rig->h2);
	rig->tls = sonde_tls_context_unref(rig->tls);
	rig->event = sd_event_unref(rig->event);
	(void)close(rig->peer);
	(void)unlink(rig->cert);
	(void)unlink(rig->key);
	return rmdir(rig->dir);
}

/* Turns of the loop until it has nothing more to do. False: it never rests. */
static bool rests(struct rig *rig)
{
	for (unsigned i = 0; i < TURNS_MAX; i++) {
		int r = sd_event_run(rig->event, 0);

		assert_true(r >= 0);
		if (r == 0)
			return true;
	}
	return false;
}

static void shake_hands(struct rig *rig)
{
	for (unsigned i = 0; i < 100 && !SSL_is_init_finished(rig->client); i++) {
		(void)SSL_do_handshake(rig->client);
		assert_true(rests(rig));
	}
	assert_true(SSL_is_init_finished(rig->client));
	assert_int_equal(SSL_write(rig->client, GREETING, sizeof(GREETING) - 1),
			 sizeof(GREETING) - 1);
	assert_true(rests(rig));
	assert_false(rig->lost);
}

/* What the peer does not read. No TLS: it never does. */
static void fill_socket(const struct rig *rig)
{
	static const char junk[4096];

	while (send(rig->ours, junk, sizeof(junk), MSG_NOSIGNAL) > 0)
		;
	while (send(rig->ours, junk, 1, MSG_NOSIGNAL) > 0)
		;
	assert_int_equal(errno, EAGAIN);
}

static size_t drain_socket(const struct rig *rig)
{
	char data[4096];
	size_t sum = 0;
	ssize_t n;

	while ((n = recv(rig->peer, data, sizeof(data), 0)) > 0)
		sum += (size_t)n;
	return sum;
}

static void ping(const struct rig *rig)
{
	static const char frame[] = "\0\0\10\6\0\0\0\0\0________";

	assert_int_equal(SSL_write(rig->client, frame, sizeof(frame) - 1), sizeof(frame) - 1);
}

/* Its answer finds no room, so nothing can be read on: what is there to be read must not keep the loop turning. */
static void a_key_update_that_cannot_be_answered_leaves_the_loop_at_rest(void **state)
{
	struct rig *rig = *state;

	shake_hands(rig);
	fill_socket(rig);
	assert_int_equal(SSL_key_update(rig->client, SSL_KEY_UPDATE_REQUESTED), 1);
	ping(rig);
	assert_true(rests(rig)); /* its answer has to go behind that of the key update */
	ping(rig);
	assert_true(rests(rig));
	assert_false(rig->lost);
	/* With room it goes on by itself: the answers are sent. */
	assert_true(drain_socket(rig) > 0);
	assert_true(rests(rig));
	assert_false(rig->lost);
	assert_true(drain_socket(rig) > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			a_key_update_that_cannot_be_answered_leaves_the_loop_at_rest, set_up,
			tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
