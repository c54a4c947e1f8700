/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/file.h"
#include "io/tls-internal.h"

#define KEY_BYTES_MAX (64U << 10)
#define PEER_CERTIFICATES_BYTES_MAX (64L << 10)
#define CHAIN_DEPTH_MAX 8
/* What RFC 9113 does not forbid to HTTP/2; the suites of TLS 1.3 are all fine. */
#define CIPHERS "ECDHE+AESGCM:ECDHE+CHACHA20"

static const uint8_t alpn_h2[] = {2, 'h', '2'};

/* The socket */

static int socket_write(BIO *bio, const char *data, int n)
{
	struct sonde_tls *t = BIO_get_data(bio);
	ssize_t sent;

	BIO_clear_retry_flags(bio);
	do
		sent = send(t->fd, data, (size_t)n, MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	if (sent >= 0)
		return (int)sent;
	if (errno == EAGAIN)
		BIO_set_retry_write(bio);
	else
		t->io_error = errno;
	return -1;
}

static int socket_read(BIO *bio, char *data, int n)
{
	struct sonde_tls *t = BIO_get_data(bio);
	ssize_t got;

	BIO_clear_retry_flags(bio);
	do
		got = recv(t->fd, data, (size_t)n, 0);
	while (got < 0 && errno == EINTR);
	if (got < 0 && errno == EAGAIN)
		BIO_set_retry_read(bio);
	else if (got < 0)
		t->io_error = errno;
	t->eof = got == 0;
	for (ssize_t i = 0; i < got && t->n_first < sizeof(t->first); i++)
		t->first[t->n_first++] = (uint8_t)data[i];
	return (int)got;
}

static long socket_control(BIO *bio, int command, long number, void *pointer)
{
	const struct sonde_tls *t = BIO_get_data(bio);

	if (command == BIO_CTRL_FLUSH)
		return 1;
	if (command == BIO_CTRL_EOF)
		return t->eof;
	return 0;
}

/* One for all contexts, for good: OpenSSL has numbers for some hundred types, and takes none back. Loop thread only. */
static const BIO_METHOD *socket_method(void)
{
	static BIO_METHOD *method;
	BIO_METHOD *m;
	int type;

	if (method)
		return method;
	type = BIO_get_new_index();
	m = type < 0 ? NULL : BIO_meth_new(type | BIO_TYPE_SOURCE_SINK, "sonde socket");
	if (m && BIO_meth_set_write(m, socket_write) && BIO_meth_set_read(m, socket_read) &&
	    BIO_meth_set_ctrl(m, socket_control))
		method = m;
	else
		BIO_meth_free(m);
	return method;
}

/* The files */

/* The kernel's reason, where there is one; else OpenSSL's last. */
static const char *openssl_error(void)
{
	const char *words = NULL;
	unsigned long error;

	while ((error = ERR_get_error()) != 0) {
		if (ERR_SYSTEM_ERROR(error))
			return strerror(ERR_GET_REASON(error));
		words = ERR_reason_error_string(error);
	}
	return words ? words : "it holds nothing of the kind";
}

static int no_passphrase(char *buf, int size, int writing, void *ctx)
{
	return -1;
}

static int use_key(struct sonde_tls_context *c, char words[static SONDE_TLS_WORDS_MAX])
{
	_cleanup_buf_ struct sonde_buf pem = SONDE_BUF_INIT(KEY_BYTES_MAX);
	const char *path = c->config.key_file;
	EVP_PKEY *key = NULL;
	BIO *bio;
	int r;

	r = sonde_file_read(path, true, &pem);
	if (r < 0) {
		(void)snprintf(words, SONDE_TLS_WORDS_MAX, "cannot use the key '%s': %s", path,
			       sonde_file_error(r, true));
		return r;
	}
	bio = BIO_new_mem_buf(sonde_buf_str(&pem), (int)pem.len);
	if (bio)
		key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
	BIO_free(bio);
	if (pem.data)
		explicit_bzero(pem.data, pem.len);
	if (!key) {
		(void)snprintf(words, SONDE_TLS_WORDS_MAX,
			       "cannot use the key '%s': no PEM key without a passphrase is in it",
			       path);
		return -EINVAL;
	}
	r = SSL_CTX_use_PrivateKey(c->ssl, key) == 1 ? 0 : -EINVAL;
	EVP_PKEY_free(key);
	if (r < 0)
		(void)snprintf(words, SONDE_TLS_WORDS_MAX,
			       "the key '%s' is not that of the certificate '%s'", path,
			       c->config.cert_file);
	return r;
}

static int use_certificate(struct sonde_tls_context *c, char words[static SONDE_TLS_WORDS_MAX])
{
	if (!c->config.cert_file != !c->config.key_file ||
	    (c->config.server && !c->config.cert_file)) {
		(void)snprintf(words, SONDE_TLS_WORDS_MAX,
			       "a certificate and its key are both needed: %s is not set",
			       c->config.cert_file ? "key_file" : "cert_file");
		return -EINVAL;
	}
	if (!c->config.cert_file)
		return 0;
	if (SSL_CTX_use_certificate_chain_file(c->ssl, c->config.cert_file) != 1) {
		(void)snprintf(words, SONDE_TLS_WORDS_MAX, "cannot use the certificate '%s': %s",
			       c->config.cert_file, openssl_error());
		return -EINVAL;
	}
	return use_key(c, words);
}

static int use_roots(struct sonde_tls_context *c, char words[static SONDE_TLS_WORDS_MAX])
{
	STACK_OF(X509_NAME) * names;

	if (!c->config.ca_file)
		return c->config.server || SSL_CTX_set_default_verify_paths(c->ssl) == 1 ? 0
											 : -ENOMEM;
	if (SSL_CTX_load_verify_file(c->ssl, c->config.ca_file) != 1) {
		(void)snprintf(words, SONDE_TLS_WORDS_MAX, "cannot use the roots '%s': %s",
			       c->config.ca_file, openssl_error());
		return -EINVAL;
	}
	if (!c->config.server)
		return 0;
	/* Which certificate a client shall send. */
	names = SSL_load_client_CA_file(c->config.ca_file);
	if (!names)
		return -ENOMEM;
	SSL_CTX_set_client_CA_list(c->ssl, names);
	return 0;
}

/* The rules */

static int choose_alpn(SSL *ssl, const uint8_t **out, uint8_t *out_len, const uint8_t *in,
		       unsigned in_len, void *ctx)
{
	for (unsigned i = 0; i + sizeof(alpn_h2) <= in_len; i += in[i] + 1U) {
		if (memcmp(in + i, alpn_h2, sizeof(alpn_h2)) == 0) {
			*out = in + i + 1;
			*out_len = 2;
			return SSL_TLSEXT_ERR_OK;
		}
	}
	return SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* Work for us that a peer has for nothing. */
static void count_key_updates(int sent, int version, int type, const void *data, size_t n, SSL *ssl,
			      void *ctx)
{
	struct sonde_tls *t = SSL_get_app_data(ssl);
	const uint8_t *message = data;

	if (!sent && t && type == SSL3_RT_HANDSHAKE && n > 0 && message[0] == SSL3_MT_KEY_UPDATE)
		t->n_key_updates++;
}

static int set_verify(struct sonde_tls_context *c)
{
	X509_VERIFY_PARAM *param = SSL_CTX_get0_param(c->ssl);
	int mode = SSL_VERIFY_PEER;

	if (c->config.server)
		mode = c->config.ca_file ? SSL_VERIFY_PEER : SSL_VERIFY_NONE;
	if (c->config.require_client && c->config.ca_file)
		mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
	SSL_CTX_set_verify(c->ssl, mode, sonde_tls_verify);
	SSL_CTX_set_verify_depth(c->ssl, CHAIN_DEPTH_MAX);
	SSL_CTX_set_max_cert_list(c->ssl, PEER_CERTIFICATES_BYTES_MAX);
	/* The file may hold the peer's own certificate. */
	return X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_PARTIAL_CHAIN) == 1 ? 0 : -ENOMEM;
}

static int set_rules(struct sonde_tls_context *c)
{
	(void)SSL_CTX_set_options(c->ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
						  SSL_OP_NO_TICKET);
	(void)SSL_CTX_set_mode(c->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE |
					       SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
					       SSL_MODE_RELEASE_BUFFERS);
	/* One record a read: else a peer could keep us inside one with records that bring nothing. */
	(void)SSL_CTX_clear_mode(c->ssl, SSL_MODE_AUTO_RETRY);
	SSL_CTX_set_msg_callback(c->ssl, count_key_updates);
	(void)SSL_CTX_set_session_cache_mode(c->ssl, SSL_SESS_CACHE_OFF);
	if (SSL_CTX_set_num_tickets(c->ssl, 0) != 1 ||
	    SSL_CTX_set_min_proto_version(c->ssl, TLS1_2_VERSION) != 1 ||
	    SSL_CTX_set_cipher_list(c->ssl, CIPHERS) != 1)
		return -ENOMEM;
	if (c->config.server)
		SSL_CTX_set_alpn_select_cb(c->ssl, choose_alpn, NULL);
	else if (SSL_CTX_set_alpn_protos(c->ssl, alpn_h2, sizeof(alpn_h2)) != 0)
		return -ENOMEM;
	return set_verify(c);
}

static int copy_text(const char *text, const char **ret)
{
	*ret = text && *text ? strdup(text) : NULL;
	return *ret || !text || !*text ? 0 : -ENOMEM;
}

int sonde_tls_config_copy(const struct sonde_tls_config *from, struct sonde_tls_config *ret)
{
	struct sonde_tls_config c;
	int r;

	assert(from && ret);

	c = *from;
	c.ca_file = c.cert_file = c.key_file = NULL;
	r = copy_text(from->ca_file, &c.ca_file);
	if (r == 0)
		r = copy_text(from->cert_file, &c.cert_file);
	if (r == 0)
		r = copy_text(from->key_file, &c.key_file);
	if (r < 0)
		sonde_tls_config_done(&c);
	else
		*ret = c;
	return r;
}

void sonde_tls_config_done(struct sonde_tls_config *c)
{
	if (!c)
		return;
	free((char *)c->ca_file);
	free((char *)c->cert_file);
	free((char *)c->key_file);
	*c = (struct sonde_tls_config){0};
}

int sonde_tls_context_new(const struct sonde_tls_config *config, struct sonde_tls_context **ret,
			  char words[static SONDE_TLS_WORDS_MAX])
{
	_cleanup_(sonde_tls_context_unrefp) struct sonde_tls_context *c = NULL;
	int r;

	assert(config && ret && words);

	words[0] = '\0';
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->refs = 1;
	ERR_clear_error();
	c->ssl = SSL_CTX_new(config->server ? TLS_server_method() : TLS_client_method());
	if (!c->ssl)
		return -ENOMEM;
	c->bio = socket_method();
	if (!c->bio)
		return -ENOMEM;
	r = sonde_tls_config_copy(config, &c->config);
	if (r < 0)
		return r;
	sonde_tls_context_look(c); /* before they are read; what is wrong, reading tells */
	r = set_rules(c);
	if (r == 0)
		r = use_roots(c, words);
	if (r == 0)
		r = use_certificate(c, words);
	ERR_clear_error();
	if (r < 0)
		return r;
	*ret = TAKE_PTR(c);
	return 0;
}

int sonde_tls_context_renew(const struct sonde_tls_context *c, struct sonde_tls_context **ret,
			    char words[static SONDE_TLS_WORDS_MAX])
{
	assert(c);
	return sonde_tls_context_new(&c->config, ret, words);
}

struct sonde_tls_context *sonde_tls_context_unref(struct sonde_tls_context *c)
{
	if (!c || --c->refs > 0)
		return NULL;
	sonde_tls_config_done(&c->config);
	SSL_CTX_free(c->ssl);
	free(c);
	return NULL;
}

void sonde_tls_context_look(struct sonde_tls_context *c)
{
	assert(c);

	sonde_file_look(c->config.ca_file, &c->ca_seen);
	sonde_file_look(c->config.cert_file, &c->cert_seen);
	sonde_file_look(c->config.key_file, &c->key_seen);
}

bool sonde_tls_context_stale(const struct sonde_tls_context *c)
{
	assert(c);

	return sonde_file_changed(c->config.ca_file, &c->ca_seen) ||
	       sonde_file_changed(c->config.cert_file, &c->cert_seen) ||
	       sonde_file_changed(c->config.key_file, &c->key_seen);
}
