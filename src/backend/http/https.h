/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * HTTPS: the certificate of the HTTP server. Its TLS is libmicrohttpd's, which is GnuTLS; gRPC's is OpenSSL
 * (io/tls.h), with the same rules: TLS 1.2 or 1.3, a key that is not everyone's to read, files read anew once they
 * changed. Loop thread only.
 */

#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <stdbool.h>

#include "base/cleanup.h"

#define SONDE_HTTPS_WORDS_MAX 384
/* No older version than 1.2, and only ciphers that keep a secret when the key is lost later. */
#define SONDE_HTTPS_PRIORITIES                                                                     \
	"SECURE128:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:-RSA:%SERVER_PRECEDENCE"

struct sonde_https_config {
	const char *cert_file, *key_file;
	const char *client_ca_file; /* NULL or "" = no client certificate is asked for; read once */
	bool require_client;
};

struct sonde_https;

/* Return: 0, -ENOMEM, or -errno with *@words set. */
int sonde_https_new(const struct sonde_https_config *config, struct sonde_https **ret,
		    char words[static SONDE_HTTPS_WORDS_MAX]) _must_check_;
struct sonde_https *sonde_https_free(struct sonde_https *h);
SONDE_DEFINE_CLEANUP(struct sonde_https *, sonde_https_free)

/* PEM of who signs clients' certificates; NULL = none is asked for. Borrowed. */
const char *sonde_https_trust(const struct sonde_https *h);

/* For a handshake: what the files hold. Borrowed for longer than any handshake may take. */
void sonde_https_certificate(struct sonde_https *h, gnutls_pcert_st **ret_chain, unsigned *ret_n,
			     gnutls_privkey_t *ret_key);

/* May this client go on? Return: 0, -EACCES with *@words set. */
int sonde_https_check_client(const struct sonde_https *h, gnutls_session_t session,
			     char words[static SONDE_HTTPS_WORDS_MAX]) _must_check_;

#define SONDE_HTTPS_NAME_MAX 128
/*
 * Of a client that may go on: its certificate's common name, else the first of its DNS names, else words that it has
 * none. Return: 0, -ENOENT (it has shown no certificate that was asked for).
 */
int sonde_https_client_name(const struct sonde_https *h, gnutls_session_t session,
			    char ret[static SONDE_HTTPS_NAME_MAX]) _must_check_;
