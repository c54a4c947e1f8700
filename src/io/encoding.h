/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Encoding: gRPC's message compressions. Decompression stops at a limit, so a
 * bomb costs no more than the limit. No state, any thread.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

enum sonde_encoding {
	SONDE_ENCODING_IDENTITY = 0,
	SONDE_ENCODING_GZIP = 1,
	SONDE_ENCODING_ZSTD = 2,
	_SONDE_ENCODING_MAX,
};

/* "identity", "gzip", "zstd". */
const char *sonde_encoding_name(enum sonde_encoding e);

/* Return: 0, -EOPNOTSUPP for any other name. */
int sonde_encoding_from_name(const char *name, enum sonde_encoding *ret) _must_check_;

/* Best of a grpc-accept-encoding list ("identity, gzip,zstd"): zstd, else gzip, else identity. */
enum sonde_encoding sonde_encoding_choose(const char *accept_list);

/* Appends to @out (whose max bounds it). Return: 0, -EMSGSIZE, -ENOMEM, -EIO. */
int sonde_encode(enum sonde_encoding e, const uint8_t *data, size_t n,
		 struct sonde_buf *out) _must_check_;

/* Appends to @out; -EMSGSIZE when the result would pass out->max, -EBADMSG when @data is no whole stream. */
int sonde_decode(enum sonde_encoding e, const uint8_t *data, size_t n,
		 struct sonde_buf *out) _must_check_;
