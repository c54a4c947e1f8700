/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * TLS: OpenSSL on a non-blocking socket of the loop, both ends, for HTTP/2 only: TLS 1.2 or 1.3, ALPN h2 or
 * nothing, no renegotiation, no compression, no session cache and no tickets (a connection lives for days; what is
 * kept for one that is gone would be memory for nothing).
 *
 * A context is what the files said when it was made; a session keeps the one that it was made of. Every failure has
 * words that name the certificate, the name or the file, and never a secret. Loop thread only.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"

#define SONDE_TLS_WORDS_MAX 384

struct sonde_tls_config {
	bool server;
	/* Client: the roots, NULL or "" = the system's. Server: who signs clients' certificates, NULL or "" = none is asked for. */
	const char *ca_file;
	const char *cert_file,
		*key_file; /* PEM; NULL or "": a client without. The key may not be everyone's to read */
	bool require_client;	   /* server with ca_file: no certificate, no connection */
	bool insecure_skip_verify; /* client: whoever answers is taken for the one named */
};

/* With texts of its own, and NULL for "". Return: 0, -ENOMEM. _done() is fine on a zeroed one. */
int sonde_tls_config_copy(const struct sonde_tls_config *from,
			  struct sonde_tls_config *ret) _must_check_;
void sonde_tls_config_done(struct sonde_tls_config *c);

struct sonde_tls_context;

/*
 * Reads the files. Return: 0, -ENOMEM, or -errno with *@words set: -EINVAL (what a file holds will not do), -EPERM
 * (everyone may read the key), and those of reading.
 */
int sonde_tls_context_new(const struct sonde_tls_config *config, struct sonde_tls_context **ret,
			  char words[static SONDE_TLS_WORDS_MAX]) _must_check_;
/* The same of the files that @c was made of. */
int sonde_tls_context_renew(const struct sonde_tls_context *c, struct sonde_tls_context **ret,
			    char words[static SONDE_TLS_WORDS_MAX]) _must_check_;
/* NULL is fine. Always returns NULL. */
struct sonde_tls_context *sonde_tls_context_unref(struct sonde_tls_context *c);
SONDE_DEFINE_CLEANUP(struct sonde_tls_context *, sonde_tls_context_unref)

/* The files as they are now count as read: what will not do is tried again only when it changes. */
void sonde_tls_context_look(struct sonde_tls_context *c);

/* One of the files is another one than was read, or gone. */
bool sonde_tls_context_stale(const struct sonde_tls_context *c);

struct sonde_tls;

/*
 * A session on @fd, which is borrowed. @name: client only, the host name or address that the certificate must be
 * for; its scope id, if any, is no part of it. Return: 0, -ENOMEM, -EINVAL (a name that none can have).
 */
int sonde_tls_new(struct sonde_tls_context *context, int fd, const char *name,
		  struct sonde_tls **ret) _must_check_;
/* Says good-bye if the handshake was done. NULL is fine. Always returns NULL. */
struct sonde_tls *sonde_tls_free(struct sonde_tls *t);
SONDE_DEFINE_CLEANUP(struct sonde_tls *, sonde_tls_free)

/* Return: 0 when done, -EAGAIN, or -errno with words: -EKEYREJECTED (the peer's certificate), -EPROTO, the socket's. */
int sonde_tls_handshake(struct sonde_tls *t) _must_check_;
bool sonde_tls_ready(const struct sonde_tls *t);

/* As recv() and send(): bytes, 0 = the peer closed, -EAGAIN, or -errno with words. A send is tried again with the same bytes. */
ssize_t sonde_tls_recv(struct sonde_tls *t, void *data, size_t n) _must_check_;
ssize_t sonde_tls_send(struct sonde_tls *t, const void *data, size_t n) _must_check_;

/* What came and is not taken yet: no readiness of the socket will tell. */
bool sonde_tls_pending(const struct sonde_tls *t);

/* Behind an -EAGAIN: it waits for room in the socket, not for the peer. */
bool sonde_tls_wants_write(const struct sonde_tls *t);

/* Why it failed; "" while it did not. */
const char *sonde_tls_words(const struct sonde_tls *t);

/* "TLSv1.3, CN=oap" and, with insecure_skip_verify, what is wrong with the certificate. Behind the handshake. */
void sonde_tls_describe(const struct sonde_tls *t, char words[static SONDE_TLS_WORDS_MAX]);
