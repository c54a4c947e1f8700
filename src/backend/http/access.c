/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/http/access.h"

#include <assert.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#define DIGEST_BYTES 32

const char *const sonde_role_name[_SONDE_ROLE_MAX] = {
	[SONDE_ROLE_NONE] = "none",
	[SONDE_ROLE_VIEW] = "view",
	[SONDE_ROLE_OPERATE] = "operate",
};

struct sonde_access {
	enum sonde_role open;
	size_t n;
	struct token {
		char name[SONDE_ACCESS_NAME_MAX];
		enum sonde_role role;
		uint8_t digest[DIGEST_BYTES];
	} token[SONDE_ACCESS_TOKENS_MAX];
};

int sonde_access_new(enum sonde_role open, struct sonde_access **ret)
{
	struct sonde_access *a = calloc(1, sizeof(*a));

	if (!a)
		return -ENOMEM;
	a->open = open;
	*ret = a;
	return 0;
}

struct sonde_access *sonde_access_free(struct sonde_access *a)
{
	free(a);
	return NULL;
}

static int digest_of(const char *token, uint8_t ret[static DIGEST_BYTES])
{
	return EVP_Digest(token, strlen(token), ret, NULL, EVP_sha256(), NULL) ? 0 : -EIO;
}

/* NULL: none. All are looked at, whichever it is. */
static const struct token *find(const struct sonde_access *a,
				const uint8_t digest[static DIGEST_BYTES])
{
	const struct token *found = NULL;

	for (size_t i = 0; i < a->n; i++) {
		if (CRYPTO_memcmp(a->token[i].digest, digest, DIGEST_BYTES) == 0)
			found = &a->token[i];
	}
	return found;
}

int sonde_access_add(struct sonde_access *a, const char *name, enum sonde_role role,
		     const char *token)
{
	struct token *t = &a->token[a->n];
	uint8_t digest[DIGEST_BYTES];
	int r;

	assert(role == SONDE_ROLE_VIEW || role == SONDE_ROLE_OPERATE);
	if (a->n == SONDE_ACCESS_TOKENS_MAX || strlen(name) >= sizeof(t->name))
		return -E2BIG;
	r = digest_of(token, digest);
	if (r < 0)
		return r;
	for (size_t i = 0; i < a->n; i++) {
		if (strcmp(a->token[i].name, name) == 0)
			return -EEXIST;
	}
	if (find(a, digest))
		return -EEXIST;
	(void)snprintf(t->name, sizeof(t->name), "%s", name);
	t->role = role;
	memcpy(t->digest, digest, sizeof(digest));
	a->n++;
	return 0;
}

static void fill(struct sonde_identity *i, enum sonde_role role, const char *kind, const char *name)
{
	i->role = role;
	(void)snprintf(i->who, sizeof(i->who), "%s%s%s", kind, name[0] ? " " : "", name);
	/* A certificate's issuer may have signed anything. */
	for (char *p = i->who; *p; p++)
		*p = (unsigned char)*p < ' ' || *p == 0x7f ? '?' : *p;
}

void sonde_access_identify(const struct sonde_access *a, const char *token, const char *certificate,
			   struct sonde_identity *ret)
{
	uint8_t digest[DIGEST_BYTES];
	const struct token *t = NULL;

	*ret = (struct sonde_identity){0};
	if (!a || (a->n == 0 && !certificate)) {
		fill(ret, a ? a->open : SONDE_ROLE_OPERATE, "anyone", "");
	} else if (a->n == 0) {
		fill(ret, a->open, "certificate", certificate);
	} else if (token && digest_of(token, digest) == 0) {
		t = find(a, digest);
		if (t)
			fill(ret, t->role, "token", t->name);
	}
}
