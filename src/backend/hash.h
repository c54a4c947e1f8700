/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Hash: uthash that does not exit when memory runs out. An add may then fail:
 * ask SONDE_HASH_ADDED() behind each, and free the element if it says no.
 */

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

/* Is @element, just added by its member hh, in the table? */
#define SONDE_HASH_ADDED(element) ((element)->hh.tbl != NULL)
