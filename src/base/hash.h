/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Hash: 64 bits of a run of bytes, eight bytes at a time and more (XXH3 of
 * xxhash, built in: no library is linked). No state but the process's own secret;
 * any thread.
 */

#include <stddef.h>
#include <stdint.h>

/* The same everywhere. @seed: 0, or the hash of what came before. */
uint64_t sonde_hash(const void *data, size_t n, uint64_t seed);

/*
 * For tables that others may fill: with random bytes that this process drew when it first asked, so that
 * nobody outside can choose keys that meet in one bucket.
 */
uint64_t sonde_hash_secret(const void *data, size_t n);
