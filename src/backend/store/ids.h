/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Ids: random task ids and the digests that stand for longer keys. SkyWalking's own rules are in mal/id.h. Any thread. */

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

#define SONDE_ID_DIGEST_BYTES 32
#define SONDE_ID_RANDOM_BYTES_MAX 32

/* Lower-case hex; @ret holds 2 * @n + 1. */
void sonde_id_hex(const void *data, size_t n, char *ret);

/* @bytes (at most 32) of SHA-256 over @data as lower-case hex; @ret holds 2 * @bytes + 1. Return: 0, -EINVAL, -EIO. */
int sonde_id_digest(const void *data, size_t n, size_t bytes, char *ret) _must_check_;

/* The whole of SHA-512, as OAP marks a policy; @ret holds 129. Return: 0, -EIO. */
int sonde_id_sha512(const void *data, size_t n, char ret[static 129]) _must_check_;

/* @bytes (at most 32) random bytes as hex; @ret holds 2 * @bytes + 1. Return: 0, -EINVAL, -errno of getrandom(2). */
int sonde_id_random(size_t bytes, char *ret) _must_check_;

/* A random UUID, version 4, in its 36 letters and a NUL. Return: as sonde_id_random(). */
int sonde_id_uuid(char ret[37]) _must_check_;
