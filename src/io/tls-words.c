/* SPDX-License-Identifier: Apache-2.0 */
/* Why a handshake failed, in words that say which certificate, which name and what to do. */
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "io/tls-internal.h"

#define NAMES_SHOWN_MAX 4
#define NAME_BYTES 128
#define TIME_BYTES 40

/* Copies what was printed into @bio, and frees it. What a peer wrote may not steer a terminal, nor fill a log. */
static void take_text(BIO *bio, const char *otherwise, char *ret, size_t size)
{
	const char *data = NULL;
	long n = bio ? BIO_get_mem_data(bio, &data) : 0;

	if (n > 0)
		(void)snprintf(ret, size, "%.*s", (int)(n < NAME_BYTES ? n : NAME_BYTES), data);
	else
		(void)snprintf(ret, size, "%s", otherwise);
	BIO_free(bio);
	for (char *p = ret; *p; p++) {
		if (!isprint((unsigned char)*p))
			*p = '?';
	}
}

void sonde_tls_name_text(const X509_NAME *name, char *ret, size_t size)
{
	BIO *bio = BIO_new(BIO_s_mem());

	if (bio)
		(void)X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253);
	take_text(bio, "no subject", ret, size);
}

static void time_text(const ASN1_TIME *when, char ret[static TIME_BYTES])
{
	struct tm tm;

	if (ASN1_TIME_to_tm(when, &tm) != 1 || strftime(ret, TIME_BYTES, "%F %T UTC", &tm) == 0)
		(void)snprintf(ret, TIME_BYTES, "an unreadable time");
}

/* "DNS:a, IP Address:10.0.0.1", or the subject where there are none. */
static void names_text(X509 *certificate, char *ret, size_t size)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
	int n = names ? sk_GENERAL_NAME_num(names) : 0;
	BIO *bio;

	if (n == 0) {
		GENERAL_NAMES_free(names);
		sonde_tls_name_text(X509_get_subject_name(certificate), ret, size);
		return;
	}
	bio = BIO_new(BIO_s_mem());
	for (int i = 0; bio && i < n && i < NAMES_SHOWN_MAX; i++) {
		if (i > 0)
			(void)BIO_puts(bio, ", ");
		(void)GENERAL_NAME_print(bio, sk_GENERAL_NAME_value(names, i));
	}
	if (bio && n > NAMES_SHOWN_MAX)
		(void)BIO_puts(bio, ", ...");
	GENERAL_NAMES_free(names);
	take_text(bio, "nothing", ret, size);
}

static void explain_certificate(struct sonde_tls *t, X509_STORE_CTX *store)
{
	int error = X509_STORE_CTX_get_error(store);
	X509 *certificate = X509_STORE_CTX_get_current_cert(store);
	const char *roots = t->context->config.ca_file;
	char subject[NAME_BYTES + 1] = "?", issuer[NAME_BYTES + 1] = "?", when[TIME_BYTES] = "?";
	char *ret = t->certificate;
	size_t size = sizeof(t->certificate);

	if (certificate) {
		sonde_tls_name_text(X509_get_subject_name(certificate), subject, sizeof(subject));
		sonde_tls_name_text(X509_get_issuer_name(certificate), issuer, sizeof(issuer));
	}
	switch (error) {
	case X509_V_ERR_CERT_HAS_EXPIRED:
		time_text(X509_get0_notAfter(certificate), when);
		(void)snprintf(ret, size, "the certificate of '%s' expired on %s", subject, when);
		break;
	case X509_V_ERR_CERT_NOT_YET_VALID:
		time_text(X509_get0_notBefore(certificate), when);
		(void)snprintf(
			ret, size,
			"the certificate of '%s' is valid from %s on only (is the clock right?)",
			subject, when);
		break;
	case X509_V_ERR_HOSTNAME_MISMATCH:
	case X509_V_ERR_IP_ADDRESS_MISMATCH:
		names_text(certificate, issuer, sizeof(issuer));
		(void)snprintf(ret, size, "the certificate is for '%s', not for '%s'", issuer,
			       t->name);
		break;
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
	case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
		(void)snprintf(ret, size,
			       "the certificate of '%s' was issued by '%s', which none of %s%s "
			       "vouches for",
			       subject, issuer, roots ? "the roots in " : "the system's roots",
			       roots ? roots : "");
		break;
	default:
		(void)snprintf(ret, size, "the certificate of '%s' (issued by '%s'): %s", subject,
			       issuer, X509_verify_cert_error_string(error));
	}
}

int sonde_tls_verify(int ok, X509_STORE_CTX *store)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct sonde_tls *t = SSL_get_app_data(ssl);

	if (!ok && !t->certificate[0])
		explain_certificate(t, store);
	return ok || t->context->config.insecure_skip_verify;
}

static const struct {
	int reason;
	const char *client, *server; /* at that end */
} reasons[] = {
	/* what we found */
	{SSL_R_UNSUPPORTED_PROTOCOL, "the server offers no TLS newer than 1.1; 1.2 is asked for",
	 "the client offers no TLS newer than 1.1; 1.2 is asked for"},
	{SSL_R_WRONG_SSL_VERSION, "the server offers no TLS newer than 1.1; 1.2 is asked for",
	 "the client offers no TLS newer than 1.1; 1.2 is asked for"},
	{SSL_R_NO_SHARED_CIPHER, NULL,
	 "the client offers no cipher that HTTP/2 allows (ECDHE with AES-GCM or ChaCha20)"},
	{SSL_R_NO_APPLICATION_PROTOCOL, NULL,
	 "the client offers other protocols than HTTP/2 (ALPN): it is no gRPC client"},
	{SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE, NULL,
	 "the client sent no certificate, and one is required"},
	{SSL_R_EXCESSIVE_MESSAGE_SIZE, "the server's certificates are too large",
	 "the client's certificates are too large"},
	/* what the peer said */
	{SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED,
	 "the server asks for a client certificate: cert_file and key_file are needed", NULL},
	{SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE,
	 "the server refused the handshake: it may ask for a client certificate (cert_file, "
	 "key_file), or share no cipher with us",
	 "the client refused the handshake"},
	{SSL_R_TLSV1_ALERT_UNKNOWN_CA,
	 "the server does not know who issued our certificate (cert_file)",
	 "the client does not trust who issued our certificate (its ca_file)"},
	{SSL_R_SSLV3_ALERT_BAD_CERTIFICATE,
	 "the server refused our certificate (cert_file), or has been given none",
	 "the client refused our certificate"},
	{SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN, "the server refused our certificate (cert_file)",
	 "the client refused our certificate"},
	{SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED,
	 "the server says that our certificate (cert_file) expired",
	 "the client says that our certificate expired"},
	{SSL_R_TLSV1_ALERT_PROTOCOL_VERSION, "the server speaks neither TLS 1.2 nor 1.3",
	 "the client speaks neither TLS 1.2 nor 1.3"},
	{SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL,
	 "the server does not speak HTTP/2 over TLS (it refused ALPN h2): it is no gRPC server",
	 NULL},
	/* Seen of OAP (grpc-java, JDK 17). */
	{SSL_R_TLSV1_ALERT_INTERNAL_ERROR,
	 "the server broke off (alert internal_error): one in Java does so when it does not know "
	 "who issued our certificate (cert_file)",
	 NULL},
	{SSL_R_TLSV1_UNRECOGNIZED_NAME, "the server has no certificate for the name asked for",
	 NULL},
};

/* A TLS record begins with its type (20 to 24) and 3: anything else is plain text. */
static bool speaks_tls(const struct sonde_tls *t)
{
	return t->n_first < 2 || (t->first[0] >= 20 && t->first[0] <= 24 && t->first[1] == 3);
}

int sonde_tls_explain(struct sonde_tls *t, unsigned long error)
{
	int reason = ERR_GET_REASON(error);
	const char *words = NULL;

	if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED && t->certificate[0]) {
		(void)snprintf(t->words, sizeof(t->words), "%s", t->certificate);
		return -EKEYREJECTED;
	}
	for (size_t i = 0; i < ELEMENTS_OF(reasons) && !words; i++) {
		if (reasons[i].reason == reason)
			words = t->context->config.server ? reasons[i].server : reasons[i].client;
	}
	if (!t->ready && !speaks_tls(t))
		words = t->context->config.server
				? "the client speaks plain text on the port for TLS"
				: "the server speaks plain text: it is no port for TLS";
	if (!words)
		words = ERR_reason_error_string(error);
	(void)snprintf(t->words, sizeof(t->words), "%s", words ? words : "the TLS peer broke off");
	return -EPROTO;
}
