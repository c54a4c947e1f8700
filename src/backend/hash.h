/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Hash: uthash that does not exit when memory runs out, with a hash function
 * that clang takes without a warning. An add may then fail: ask
 * SONDE_HASH_ADDED() behind each, and free the element if it says no.
 */

#include <stddef.h>
#include <stdint.h>

/* FNV-1a, folded: every bit of the key reaches the low bits that choose the bucket. */
static inline unsigned sonde_hash_bytes(const void *key, size_t n)
{
	uint64_t h = 14695981039346656037ULL;

	for (const unsigned char *p = key; n > 0; n--)
		h = (h ^ *p++) * 1099511628211ULL;
	return (unsigned)(h ^ h >> 32);
}

#define HASH_NONFATAL_OOM 1
#define HASH_FUNCTION(key, n, hash) ((hash) = sonde_hash_bytes((key), (n)))
#include <uthash.h>

/* Is @element, just added by its member hh, in the table? */
#define SONDE_HASH_ADDED(element) ((element)->hh.tbl != NULL)
