/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The texts of gRPC's headers and trailers: grpc-timeout, grpc-message (percent
 * coding), content-type, grpc-status, and what an HTTP status means where there is
 * none. Input is hostile, output is bounded. No state, any thread.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "io/grpc.h"

/* What this end can read, as the value of grpc-accept-encoding. */
#define SONDE_GRPC_ACCEPT_ENCODING "identity,gzip,zstd"

/* Room for 255 bytes of words, each as %XX, and the NUL. */
#define SONDE_GRPC_PERCENT_SIZE (255 * 3 + 1)
#define SONDE_GRPC_TIMEOUT_SIZE 10 /* eight digits, unit, NUL */

/* grpc-timeout: "100m". Return: 0, -EINVAL. A value past 2^64 ns is UINT64_MAX. */
int sonde_grpc_timeout_parse(const char *text, uint64_t *ret_ns) _must_check_;

/* Never shorter than @ns; the unit is the finest that fits in the eight digits. */
void sonde_grpc_timeout_format(uint64_t ns, char ret[static SONDE_GRPC_TIMEOUT_SIZE]);

/* Of @text the first 255 bytes (not cutting a UTF-8 sequence). */
void sonde_grpc_percent_encode(const char *text, char ret[static SONDE_GRPC_PERCENT_SIZE]);

/*
 * What is no valid %XX stays as it is, as the gRPC specification wants. @size >= 1; the result is cut to
 * it; control bytes become '?', so that it may be logged.
 */
void sonde_grpc_percent_decode(const char *text, char *ret, size_t size);

/* "application/grpc", or that with "+proto" or ";…" behind it. Others ("+json", "-web") are refused. */
bool sonde_grpc_content_type_ok(const char *content_type);

/* grpc-status as it stands in the trailers. Numbers we have no name for are UNKNOWN. */
enum sonde_grpc_status sonde_grpc_status_parse(const char *text);

/* The specification's tables: an answer that is no gRPC, a stream that was reset. */
enum sonde_grpc_status sonde_grpc_status_from_http(unsigned http_status);
enum sonde_grpc_status sonde_grpc_status_from_reset(uint32_t http2_error);

/* Equal in time that depends on @given only. */
bool sonde_grpc_token_equal(const char *given, const char *wanted);
