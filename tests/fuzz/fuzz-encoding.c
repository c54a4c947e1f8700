/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Byte 0: the encoding, byte 1: the limit in KiB, the rest: what is decoded. It never passes the limit, and
 * what came out survives each encoding.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "io/encoding.h"

#define WORST_CASE_BYTES(n) ((n) + (n) / 64 + 1024)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_round_trip(enum sonde_encoding e, const struct sonde_buf *plain)
{
	_cleanup_buf_ struct sonde_buf packed = SONDE_BUF_INIT(WORST_CASE_BYTES(plain->len));
	_cleanup_buf_ struct sonde_buf back = SONDE_BUF_INIT(plain->len);

	if (sonde_encode(e, plain->data, plain->len, &packed) < 0 ||
	    sonde_decode(e, packed.data, packed.len, &back) < 0 || back.len != plain->len ||
	    (plain->len > 0 && memcmp(back.data, plain->data, plain->len) != 0))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_buf_ struct sonde_buf out = {0};

	if (size < 2)
		return 0;
	out.max = (size_t)data[1] << 10;
	if (sonde_decode((enum sonde_encoding)(data[0] % _SONDE_ENCODING_MAX), data + 2, size - 2,
			 &out) < 0) {
		if (out.len != 0)
			abort();
		return 0;
	}
	if (out.len > out.max)
		abort();
	for (unsigned e = 0; e < _SONDE_ENCODING_MAX; e++)
		check_round_trip((enum sonde_encoding)e, &out);
	return 0;
}
