/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/http/https.h"

#include <assert.h>
#include <errno.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"

#define PEM_BYTES_MAX (256U << 10)
#define CHAIN_MAX 8
/* Longer than the library lets a handshake take: one that began with the certificates before these is over. */
#define READ_AGAIN_NS (60 * SONDE_NS_PER_S)

struct pair {
	gnutls_pcert_st chain[CHAIN_MAX];
	unsigned n;
	gnutls_privkey_t key;
};

struct sonde_https {
	char *cert_file, *key_file;
	struct sonde_buf trust;
	bool require_client;
	struct pair *pair, *previous; /* a handshake may be under way with the latter */
	struct stat cert_seen, key_seen;
	uint64_t read_ns;
};

static struct pair *pair_free(struct pair *p)
{
	if (!p)
		return NULL;
	for (unsigned i = 0; i < p->n; i++)
		gnutls_pcert_deinit(&p->chain[i]);
	gnutls_privkey_deinit(p->key);
	free(p);
	return NULL;
}
SONDE_DEFINE_CLEANUP(struct pair *, pair_free)

static int read_pem(const char *path, bool secret, struct sonde_buf *pem,
		    char words[static SONDE_HTTPS_WORDS_MAX])
{
	int r = sonde_file_read(path, secret, pem);

	if (r < 0)
		(void)snprintf(words, SONDE_HTTPS_WORDS_MAX, "cannot use '%s': %s", path,
			       sonde_file_error(r, secret));
	return r;
}

static gnutls_datum_t datum(const struct sonde_buf *pem)
{
	return (gnutls_datum_t){.data = pem->data, .size = (unsigned)pem->len};
}

static int read_chain(const char *path, struct pair *p, char words[static SONDE_HTTPS_WORDS_MAX])
{
	_cleanup_buf_ struct sonde_buf pem = SONDE_BUF_INIT(PEM_BYTES_MAX);
	unsigned n = CHAIN_MAX;
	gnutls_datum_t d;
	int r;

	r = read_pem(path, false, &pem, words);
	if (r < 0)
		return r;
	d = datum(&pem);
	r = gnutls_pcert_list_import_x509_raw(p->chain, &n, &d, GNUTLS_X509_FMT_PEM, 0);
	if (r < 0) {
		(void)snprintf(words, SONDE_HTTPS_WORDS_MAX, "cannot use the certificate '%s': %s",
			       path, gnutls_strerror(r));
		return -EINVAL;
	}
	p->n = n;
	return 0;
}

static int read_key(const char *path, struct pair *p, char words[static SONDE_HTTPS_WORDS_MAX])
{
	_cleanup_buf_ struct sonde_buf pem = SONDE_BUF_INIT(PEM_BYTES_MAX);
	gnutls_datum_t d;
	int r;

	r = read_pem(path, true, &pem, words);
	if (r == 0 && gnutls_privkey_init(&p->key) < 0)
		r = -ENOMEM;
	if (r == 0) {
		d = datum(&pem);
		if (gnutls_privkey_import_x509_raw(p->key, &d, GNUTLS_X509_FMT_PEM, NULL, 0) < 0) {
			(void)snprintf(
				words, SONDE_HTTPS_WORDS_MAX,
				"cannot use the key '%s': no PEM key without a passphrase is "
				"in it",
				path);
			r = -EINVAL;
		}
	}
	if (pem.data)
		explicit_bzero(pem.data, pem.len);
	return r;
}

/* Both are one pair: their public halves have the same id. */
static int check_pair(const struct sonde_https *h, const struct pair *p,
		      char words[static SONDE_HTTPS_WORDS_MAX])
{
	unsigned char of_cert[64], of_key[64];
	size_t n_cert = sizeof(of_cert), n_key = sizeof(of_key);
	gnutls_pubkey_t key;
	int r;

	if (gnutls_pubkey_init(&key) < 0)
		return -ENOMEM;
	r = gnutls_pubkey_import_privkey(key, p->key, 0, 0);
	if (r == 0)
		r = gnutls_pubkey_get_key_id(key, GNUTLS_KEYID_USE_SHA256, of_key, &n_key);
	if (r == 0)
		r = gnutls_pubkey_get_key_id(p->chain[0].pubkey, GNUTLS_KEYID_USE_SHA256, of_cert,
					     &n_cert);
	gnutls_pubkey_deinit(key);
	if (r == 0 && n_cert == n_key && memcmp(of_cert, of_key, n_key) == 0)
		return 0;
	(void)snprintf(words, SONDE_HTTPS_WORDS_MAX,
		       "the key '%s' is not that of the certificate '%s'", h->key_file,
		       h->cert_file);
	return -EINVAL;
}

/* *@ret is set on success only. */
static int read_pair(struct sonde_https *h, struct pair **ret,
		     char words[static SONDE_HTTPS_WORDS_MAX])
{
	_cleanup_(pair_freep) struct pair *p = calloc(1, sizeof(*p));
	int r;

	words[0] = '\0';
	if (!p)
		return -ENOMEM;
	h->read_ns = sonde_mono_ns();
	sonde_file_look(h->cert_file, &h->cert_seen);
	sonde_file_look(h->key_file, &h->key_seen);
	r = read_chain(h->cert_file, p, words);
	if (r == 0)
		r = read_key(h->key_file, p, words);
	if (r == 0)
		r = check_pair(h, p, words);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(p);
	return 0;
}

int sonde_https_new(const struct sonde_https_config *config, struct sonde_https **ret,
		    char words[static SONDE_HTTPS_WORDS_MAX])
{
	_cleanup_(sonde_https_freep) struct sonde_https *h = NULL;
	int r;

	assert(config && config->cert_file && config->key_file && ret && words);

	h = calloc(1, sizeof(*h));
	if (!h)
		return -ENOMEM;
	h->trust = SONDE_BUF_INIT(PEM_BYTES_MAX);
	h->require_client = config->require_client;
	h->cert_file = strdup(config->cert_file);
	h->key_file = strdup(config->key_file);
	if (!h->cert_file || !h->key_file)
		return -ENOMEM;
	r = read_pair(h, &h->pair, words);
	if (r == 0 && config->client_ca_file && config->client_ca_file[0])
		r = read_pem(config->client_ca_file, false, &h->trust, words);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(h);
	return 0;
}

struct sonde_https *sonde_https_free(struct sonde_https *h)
{
	if (!h)
		return NULL;
	pair_free(h->pair);
	pair_free(h->previous);
	sonde_buf_done(&h->trust);
	free(h->cert_file);
	free(h->key_file);
	free(h);
	return NULL;
}

const char *sonde_https_trust(const struct sonde_https *h)
{
	assert(h);
	return h->trust.len > 0 ? sonde_buf_str(&h->trust) : NULL;
}

static void refresh(struct sonde_https *h)
{
	char words[SONDE_HTTPS_WORDS_MAX];
	struct pair *fresh = NULL;
	int r;

	if (sonde_mono_ns() - h->read_ns < READ_AGAIN_NS)
		return;
	if (!sonde_file_changed(h->cert_file, &h->cert_seen) &&
	    !sonde_file_changed(h->key_file, &h->key_seen))
		return;
	r = read_pair(h, &fresh, words);
	if (r < 0) {
		(void)sonde_log_warn(r, "http.tls: %s; the certificate that was read stays", words);
		return;
	}
	pair_free(h->previous);
	h->previous = h->pair;
	h->pair = fresh;
}

void sonde_https_certificate(struct sonde_https *h, gnutls_pcert_st **ret_chain, unsigned *ret_n,
			     gnutls_privkey_t *ret_key)
{
	assert(h && ret_chain && ret_n && ret_key);

	refresh(h);
	*ret_chain = h->pair->chain;
	*ret_n = h->pair->n;
	*ret_key = h->pair->key;
}

int sonde_https_check_client(const struct sonde_https *h, gnutls_session_t session,
			     char words[static SONDE_HTTPS_WORDS_MAX])
{
	static char purpose[] =
		GNUTLS_KP_TLS_WWW_CLIENT; /* of RFC 5280 4.2.1.12, where it names any */
	gnutls_typed_vdata_st wanted = {.type = GNUTLS_DT_KEY_PURPOSE_OID,
					.data = (unsigned char *)purpose};
	unsigned status = 0, n = 0;
	gnutls_datum_t why = {0};

	assert(h && words);

	if (h->trust.len == 0)
		return 0;
	if (!session || !gnutls_certificate_get_peers(session, &n) || n == 0) {
		if (!h->require_client)
			return 0;
		(void)snprintf(words, SONDE_HTTPS_WORDS_MAX, "a client certificate is needed");
		return -EACCES;
	}
	if (gnutls_certificate_verify_peers(session, &wanted, 1, &status) == 0 && status == 0)
		return 0;
	if (status &&
	    gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509, &why, 0) == 0)
		(void)snprintf(words, SONDE_HTTPS_WORDS_MAX, "the client certificate: %.*s",
			       (int)why.size, (const char *)why.data);
	else
		(void)snprintf(words, SONDE_HTTPS_WORDS_MAX,
			       "the client certificate cannot be verified");
	gnutls_free(why.data);
	return -EACCES;
}

int sonde_https_client_name(const struct sonde_https *h, gnutls_session_t session,
			    char ret[static SONDE_HTTPS_NAME_MAX])
{
	const gnutls_datum_t *chain;
	gnutls_x509_crt_t crt = NULL;
	char name[SONDE_HTTPS_NAME_MAX];
	size_t size = sizeof(name);
	unsigned n = 0;
	int r;

	assert(h);
	chain = h->trust.len > 0 && session ? gnutls_certificate_get_peers(session, &n) : NULL;
	if (!chain || n == 0)
		return -ENOENT;
	(void)snprintf(ret, SONDE_HTTPS_NAME_MAX, "(without a name)");
	if (gnutls_x509_crt_init(&crt) < 0)
		return 0;
	r = gnutls_x509_crt_import(crt, &chain[0], GNUTLS_X509_FMT_DER);
	if (r >= 0)
		r = gnutls_x509_crt_get_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, 0, name,
						  &size);
	if (r < 0) {
		size = sizeof(name);
		r = gnutls_x509_crt_get_subject_alt_name(crt, 0, name, &size, NULL);
	}
	gnutls_x509_crt_deinit(crt);
	if (r >= 0 && size < sizeof(name))
		(void)snprintf(ret, SONDE_HTTPS_NAME_MAX, "%.*s", (int)size, name);
	return 0;
}
