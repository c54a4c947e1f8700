/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Check: is the database file what it should be? Nothing of it is changed: what a crash left in its log is read, and stays
 * there. To be asked before sonde_store_open(), which would go on from what it finds. Any thread; starts one that ends
 * before it returns.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"

#define SONDE_STORE_WORDS_MAX 400

struct sonde_store_verdict {
	/*
	 * 0; -EUCLEAN no database, or a damaged one; -EPROTO of a newer version; -ENODATA it is gone, or lacks transactions that
	 * were acknowledged; -errno it could not be read.
	 */
	int error;
	bool fresh; /* there is no file, and none is missed */
	bool whole; /* all of it was looked at */
	int version;
	uint64_t bytes, took_ns;
	uint64_t commits,
		acknowledged; /* transactions: in it, and by the marker (0: it says nothing) */
	char words[SONDE_STORE_WORDS_MAX]; /* what is wrong; "" */
};

/* @limit_ns: after which the look at the pages ends (whole is false); 0 = none. */
void sonde_store_check(const char *path, uint64_t limit_ns, struct sonde_store_verdict *ret);
