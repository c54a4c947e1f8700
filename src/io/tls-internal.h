/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What tls-context.c (files), tls.c (a session) and tls-words.c (failures in words) share. */

#include <openssl/ssl.h>
#include <sys/stat.h>

#include "io/address.h"
#include "io/tls.h"

struct sonde_tls_context {
	unsigned refs;
	SSL_CTX *ssl;
	const BIO_METHOD
		*bio; /* our socket: send() without SIGPIPE, and the peer's first bytes kept */
	struct sonde_tls_config config; /* its texts owned, NULL = none */
	struct stat ca_seen, cert_seen, key_seen;
};

struct sonde_tls {
	struct sonde_tls_context *context;
	SSL *ssl;
	int fd;	      /* borrowed */
	int io_error; /* errno of the socket, 0 = none */
	bool eof;     /* of the socket */
	bool ready, failed, wants_write;
	unsigned n_key_updates;
	uint8_t first[8]; /* of the peer */
	size_t n_first;
	char name[SONDE_ADDRESS_HOST_MAX];     /* that the certificate must be for; "" = any */
	char certificate[SONDE_TLS_WORDS_MAX]; /* what is wrong with the peer's; "" = nothing */
	char words[SONDE_TLS_WORDS_MAX];
};

/* The verify callback of both ends: keeps words about the first fault. */
int sonde_tls_verify(int ok, X509_STORE_CTX *store);

/* Words for @reason (ERR_GET_REASON) into t->words. Return: -EKEYREJECTED or -EPROTO. */
int sonde_tls_explain(struct sonde_tls *t, unsigned long error);

/* "CN=oap, O=x", cut. */
void sonde_tls_name_text(const X509_NAME *name, char *ret, size_t size);
