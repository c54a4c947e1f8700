/* SPDX-License-Identifier: Apache-2.0 */
#include "mal/id.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include <openssl/evp.h>

#define NAME_BYTES_MAX (64U << 10)

static const char *or_blank(const char *name)
{
	const char *s = name;

	while (s && isspace((unsigned char)*s))
		s++;
	return s && *s ? name : "_blank";
}

static int base64(const char *name, char **ret)
{
	size_t len;
	char *out;

	name = or_blank(name);
	len = strlen(name);
	if (len > NAME_BYTES_MAX)
		return -EOVERFLOW;
	out = malloc((len + 2) / 3 * 4 + 1);
	if (!out)
		return -ENOMEM;
	(void)EVP_EncodeBlock((unsigned char *)out, (const unsigned char *)name, (int)len);
	*ret = out;
	return 0;
}

static int join(const char *a, const char *between, const char *b, char **ret)
{
	char *out;

	if (asprintf(&out, "%s%s%s", a, between, b) < 0)
		return -ENOMEM;
	*ret = out;
	return 0;
}

int sonde_mal_service_id(const char *service, char **ret)
{
	_cleanup_free_ char *name = NULL;
	int r;

	assert(ret);

	r = base64(service, &name);
	return r < 0 ? r : join(name, ".1", "", ret);
}

int sonde_mal_instance_id(const char *service, const char *instance, char **ret)
{
	_cleanup_free_ char *service_id = NULL, *name = NULL;
	int r;

	assert(ret);

	r = sonde_mal_service_id(service, &service_id);
	if (r >= 0)
		r = base64(instance, &name);
	return r < 0 ? r : join(service_id, "_", name, ret);
}

int sonde_mal_process_id(const char *process, const char *service, const char *instance,
			 char ret[static SONDE_MAL_PROCESS_ID_SIZE])
{
	_cleanup_free_ char *instance_id = NULL, *text = NULL;
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned int n = 0;
	int r;

	r = sonde_mal_instance_id(service, instance, &instance_id);
	if (r >= 0)
		r = join(process ? process : "", "_", instance_id, &text);
	if (r < 0)
		return r;
	if (EVP_Digest(text, strlen(text), digest, &n, EVP_sha256(), NULL) != 1 ||
	    n * 2 >= SONDE_MAL_PROCESS_ID_SIZE)
		return -ENOMEM;
	for (unsigned int i = 0; i < n; i++)
		(void)snprintf(ret + (size_t)2 * i, 3, "%02x", digest[i]);
	return 0;
}

int sonde_mal_relation_id(const char *source_id, const char *dest_id, char **ret)
{
	assert(source_id && dest_id && ret);

	return join(source_id, "-", dest_id, ret);
}
