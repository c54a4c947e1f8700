/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Hash: uthash that does not exit when memory runs out, with a hash function
 * that clang takes without a warning, and whose collisions nobody outside can
 * choose. An add may then fail: ask SONDE_HASH_ADDED() behind each, and free the
 * element if it says no.
 */

#include "base/hash.h"

#define HASH_NONFATAL_OOM 1
#define HASH_FUNCTION(key, n, hash) ((hash) = (unsigned)sonde_hash_secret((key), (n)))
#include <uthash.h>

/* Is @element, just added by its member hh, in the table? */
#define SONDE_HASH_ADDED(element) ((element)->hh.tbl != NULL)
