/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Encoding: gRPC's message compressions. Decompression stops at a limit, so a
 * bomb costs no more than the limit (and a zstd window of at most 8 MiB). Each
 * thread keeps its zstd contexts until sonde_encoding_trim(). Any thread.
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

/*
 * Appends to @out, which must have room for the codec's worst case (@n and under 1 % more) within its max.
 * Return: 0, -EMSGSIZE, -ENOMEM, -EIO; on failure @out's content is as it was.
 */
int sonde_encode(enum sonde_encoding e, const uint8_t *data, size_t n,
		 struct sonde_buf *out) _must_check_;

/*
 * Appends to @out. Return: 0, -EMSGSIZE when the result would pass out->max, -EBADMSG when @data is not
 * exactly one whole stream, -ENOMEM; on failure @out's content is as it was.
 */
int sonde_decode(enum sonde_encoding e, const uint8_t *data, size_t n,
		 struct sonde_buf *out) _must_check_;

/* Gives this thread's contexts back (about 1 MB after a large message): call it when a task has ended. */
void sonde_encoding_trim(void);
