/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes of a stored accumulator: what loads has to store as the same bytes (those of an older version: as bytes that
 * load and store as themselves), and to give its numbers.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "mal/function.h"

#define NEWEST 2

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int take(void *ctx, const struct sonde_mal_result *r)
{
	*(size_t *)ctx += strlen(r->key);
	return 0;
}

static void check_again(const struct sonde_buf *first)
{
	_cleanup_(sonde_mal_accumulator_freep) struct sonde_mal_accumulator *a = NULL;
	_cleanup_buf_ struct sonde_buf out = SONDE_BUF_INIT(2 * SONDE_MAL_STORED_BYTES);

	if (sonde_mal_accumulator_load(first->data, first->len, &a) < 0 ||
	    sonde_mal_accumulator_store(a, &out) < 0 || out.len != first->len ||
	    memcmp(out.data, first->data, out.len) != 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(sonde_mal_accumulator_freep) struct sonde_mal_accumulator *a = NULL,
									    *again = NULL;
	_cleanup_buf_ struct sonde_buf out = SONDE_BUF_INIT(2 * SONDE_MAL_STORED_BYTES);
	size_t total = 0;

	if (sonde_mal_accumulator_load(data, size, &a) < 0)
		return 0;
	if (sonde_mal_accumulator_store(a, &out) == 0) {
		if (data[0] == NEWEST && (out.len != size || memcmp(out.data, data, size) != 0))
			abort();
		check_again(&out);
	}
	if (sonde_mal_accumulator_value(a, 1, take, &total) < 0 ||
	    sonde_mal_accumulator_load(data, size, &again) < 0)
		return 0;
	if (sonde_mal_accumulator_combine(a, again) < 0)
		return 0;
	return 0;
}
