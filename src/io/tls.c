/* SPDX-License-Identifier: Apache-2.0 */
#include "io/tls.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "io/tls-internal.h"

#define KEY_UPDATES_MAX 1000 /* of a peer that keeps to RFC 8446, one in 2^24 records */

static int set_socket(struct sonde_tls *t)
{
	BIO *bio = BIO_new(t->context->bio);

	if (!bio)
		return -ENOMEM;
	BIO_set_data(bio, t);
	BIO_set_init(bio, 1);
	SSL_set_bio(t->ssl, bio, bio); /* takes it */
	return 0;
}

/* Return: 0, -EINVAL. */
static int set_name(struct sonde_tls *t, const char *name)
{
	X509_VERIFY_PARAM *param = SSL_get0_param(t->ssl);
	struct sonde_address address;

	if (sonde_address_make(name, 1, &address) < 0)
		return -EINVAL;
	sonde_address_name(&address, t->name);
	if (X509_VERIFY_PARAM_set1_ip_asc(param, t->name) == 1)
		return 0; /* no name of a server to ask for */
	X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	if (SSL_set1_host(t->ssl, t->name) != 1 || SSL_set_tlsext_host_name(t->ssl, t->name) != 1)
		return -EINVAL;
	return 0;
}

int sonde_tls_new(struct sonde_tls_context *context, int fd, const char *name,
		  struct sonde_tls **ret)
{
	_cleanup_(sonde_tls_freep) struct sonde_tls *t = NULL;
	int r;

	assert(context && fd >= 0 && ret && (context->config.server || name));

	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->context = context;
	context->refs++;
	t->fd = fd;
	t->ssl = SSL_new(context->ssl);
	if (!t->ssl || SSL_set_app_data(t->ssl, t) != 1)
		return -ENOMEM;
	r = set_socket(t);
	if (r == 0 && !context->config.server)
		r = set_name(t, name);
	if (r < 0)
		return r;
	if (context->config.server)
		SSL_set_accept_state(t->ssl);
	else
		SSL_set_connect_state(t->ssl);
	ERR_clear_error();
	*ret = TAKE_PTR(t);
	return 0;
}

struct sonde_tls *sonde_tls_free(struct sonde_tls *t)
{
	if (!t)
		return NULL;
	if (t->ready && !t->failed) {
		ERR_clear_error();
		(void)SSL_shutdown(
			t->ssl); /* one record, if there is room; nobody waits for the answer */
		ERR_clear_error();
	}
	SSL_free(t->ssl);
	sonde_tls_context_unref(t->context);
	free(t);
	return NULL;
}

static int fail_io(struct sonde_tls *t, int error)
{
	t->failed = true;
	if (t->ready)
		(void)snprintf(t->words, sizeof(t->words), "%s", strerror(error));
	else
		(void)snprintf(t->words, sizeof(t->words), "%s during the TLS handshake",
			       strerror(error));
	return -error;
}

/* Return: 0 = the peer closed, -EAGAIN, -errno. */
static int judge(struct sonde_tls *t, int result)
{
	int what = SSL_get_error(t->ssl, result);
	unsigned long error = ERR_peek_error();
	int r;

	t->wants_write = what == SSL_ERROR_WANT_WRITE;
	if (what == SSL_ERROR_WANT_READ || what == SSL_ERROR_WANT_WRITE)
		return -EAGAIN;
	if (what == SSL_ERROR_ZERO_RETURN)
		return 0;
	t->failed = true;
	if (what == SSL_ERROR_SYSCALL && t->io_error)
		return fail_io(t, t->io_error);
	if (what == SSL_ERROR_SYSCALL ||
	    ERR_GET_REASON(error) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
		return 0;
	r = sonde_tls_explain(t, error);
	ERR_clear_error();
	return r;
}

/* Both ends agreed on HTTP/2? A client that never heard of ALPN is let through by OpenSSL. */
static int check_alpn(struct sonde_tls *t)
{
	const uint8_t *protocol;
	unsigned n;

	SSL_get0_alpn_selected(t->ssl, &protocol, &n);
	if (n == 2 && memcmp(protocol, "h2", 2) == 0)
		return 0;
	t->failed = true;
	(void)snprintf(t->words, sizeof(t->words),
		       "the peer speaks TLS, but does not name HTTP/2 (ALPN h2): %s",
		       t->context->config.server ? "it is no gRPC client" : "it is no gRPC server");
	return -EPROTO;
}

int sonde_tls_handshake(struct sonde_tls *t)
{
	int r;

	assert(t && !t->failed);

	if (t->ready)
		return 0;
	ERR_clear_error();
	r = SSL_do_handshake(t->ssl);
	if (r == 1) {
		t->wants_write = false;
		r = check_alpn(t);
		t->ready = r == 0;
		return r;
	}
	r = judge(t, r);
	if (r != 0)
		return r;
	t->failed = true;
	if (t->n_first == 0 && t->context->config.server)
		return -ECONNRESET; /* it only looked whether the port is open */
	(void)snprintf(t->words, sizeof(t->words),
		       "the peer closed the connection during the TLS handshake: %s",
		       t->n_first == 0 ? "it may not speak TLS"
				       : "it may not like our certificate");
	return -ECONNRESET;
}

bool sonde_tls_ready(const struct sonde_tls *t)
{
	assert(t);
	return t->ready;
}

ssize_t sonde_tls_recv(struct sonde_tls *t, void *data, size_t n)
{
	int r;

	assert(t && t->ready && data && n > 0 && n <= INT_MAX);

	if (t->failed)
		return 0;
	ERR_clear_error();
	r = SSL_read(t->ssl, data, (int)n);
	if (t->n_key_updates > KEY_UPDATES_MAX) {
		t->failed = true;
		(void)snprintf(t->words, sizeof(t->words), "the peer changes its key all the time");
		return -EPROTO;
	}
	return r > 0 ? r : judge(t, r);
}

/*
 * The peer reset the connection: what it said before that still waits to be read. With TLS 1.3 a server refuses our
 * certificate, or that there is none, when we take the handshake for done and send already.
 */
static int hear_last_words(struct sonde_tls *t, int error)
{
	char data[256];
	int r;

	ERR_clear_error();
	r = SSL_read(t->ssl, data, sizeof(data));
	if (r <= 0 && SSL_get_error(t->ssl, r) == SSL_ERROR_SSL)
		error = sonde_tls_explain(t, ERR_peek_error());
	ERR_clear_error();
	return error;
}

ssize_t sonde_tls_send(struct sonde_tls *t, const void *data, size_t n)
{
	int r;

	assert(t && t->ready && data && n > 0 && n <= INT_MAX);

	if (t->failed)
		return -EPIPE;
	ERR_clear_error();
	r = SSL_write(t->ssl, data, (int)n);
	if (r > 0)
		return r;
	r = judge(t, r);
	if (r == -ECONNRESET || r == -EPIPE)
		return hear_last_words(t, r);
	return r == 0 ? -EPIPE : r;
}

bool sonde_tls_pending(const struct sonde_tls *t)
{
	assert(t);
	return t->ready && SSL_pending(t->ssl) > 0;
}

bool sonde_tls_wants_write(const struct sonde_tls *t)
{
	assert(t);
	return t->wants_write;
}

const char *sonde_tls_words(const struct sonde_tls *t)
{
	assert(t);
	return t->words;
}

void sonde_tls_describe(const struct sonde_tls *t, char words[static SONDE_TLS_WORDS_MAX])
{
	char subject[128] = "no certificate";
	X509 *peer;

	assert(t && words);

	peer = SSL_get0_peer_certificate(t->ssl);
	if (peer)
		sonde_tls_name_text(X509_get_subject_name(peer), subject, sizeof(subject));
	if (!t->context->config.insecure_skip_verify)
		(void)snprintf(words, SONDE_TLS_WORDS_MAX, "%s, %s", SSL_get_version(t->ssl),
			       subject);
	else
		(void)snprintf(words, SONDE_TLS_WORDS_MAX,
			       "%s, NOT VERIFIED (insecure_skip_verify): %.*s",
			       SSL_get_version(t->ssl), SONDE_TLS_WORDS_MAX - 64,
			       t->certificate[0] ? t->certificate : subject);
}
