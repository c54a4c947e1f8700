/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/store/ids.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <sys/random.h>

void sonde_id_hex(const void *data, size_t n, char *ret)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *bytes = data;

	for (size_t i = 0; i < n; i++) {
		ret[2 * i] = digits[bytes[i] >> 4];
		ret[2 * i + 1] = digits[bytes[i] & 15];
	}
	ret[2 * n] = '\0';
}

int sonde_id_digest(const void *data, size_t n, size_t bytes, char *ret)
{
	uint8_t digest[SONDE_ID_DIGEST_BYTES];

	if (bytes > sizeof(digest))
		return -EINVAL;
	if (!EVP_Digest(data, n, digest, NULL, EVP_sha256(), NULL))
		return -EIO;
	sonde_id_hex(digest, bytes, ret);
	return 0;
}

int sonde_id_sha512(const void *data, size_t n, char ret[static 129])
{
	uint8_t digest[64];

	if (!EVP_Digest(data, n, digest, NULL, EVP_sha512(), NULL))
		return -EIO;
	sonde_id_hex(digest, sizeof(digest), ret);
	return 0;
}

static int random_bytes(uint8_t *raw, size_t n)
{
	ssize_t got = getrandom(raw, n, 0);

	if (got < 0)
		return -errno;
	return (size_t)got == n ? 0 : -EIO;
}

int sonde_id_random(size_t bytes, char *ret)
{
	uint8_t raw[SONDE_ID_RANDOM_BYTES_MAX];
	int r;

	if (bytes > sizeof(raw))
		return -EINVAL;
	r = random_bytes(raw, bytes);
	if (r < 0)
		return r;
	sonde_id_hex(raw, bytes, ret);
	return 0;
}

int sonde_id_uuid(char ret[37])
{
	uint8_t raw[16];
	char hex[33];
	int r;

	r = random_bytes(raw, sizeof(raw));
	if (r < 0)
		return r;
	raw[6] = (uint8_t)((raw[6] & 0x0f) | 0x40);
	raw[8] = (uint8_t)((raw[8] & 0x3f) | 0x80);
	sonde_id_hex(raw, sizeof(raw), hex);
	(void)snprintf(ret, 37, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16,
		       hex + 20);
	return 0;
}
