/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What both ends of gRPC over HTTP/2 share: status codes and the encodings of a message. */

#include <stdint.h>

enum sonde_grpc_status {
	SONDE_GRPC_OK = 0,
	SONDE_GRPC_CANCELLED = 1,
	SONDE_GRPC_UNKNOWN = 2,
	SONDE_GRPC_INVALID_ARGUMENT = 3,
	SONDE_GRPC_DEADLINE_EXCEEDED = 4,
	SONDE_GRPC_NOT_FOUND = 5,
	SONDE_GRPC_ALREADY_EXISTS = 6,
	SONDE_GRPC_PERMISSION_DENIED = 7,
	SONDE_GRPC_RESOURCE_EXHAUSTED = 8,
	SONDE_GRPC_FAILED_PRECONDITION = 9,
	SONDE_GRPC_ABORTED = 10,
	SONDE_GRPC_OUT_OF_RANGE = 11,
	SONDE_GRPC_UNIMPLEMENTED = 12,
	SONDE_GRPC_INTERNAL = 13,
	SONDE_GRPC_UNAVAILABLE = 14,
	SONDE_GRPC_DATA_LOSS = 15,
	SONDE_GRPC_UNAUTHENTICATED = 16,
};

/* What our server says with PERMISSION_DENIED where the token is not the one it was given. */
#define SONDE_GRPC_TOKEN_REFUSED "metadata 'authentication' is missing or wrong"

/* "OK", "UNAVAILABLE", …; "UNKNOWN" for any other number. */
const char *sonde_grpc_status_name(uint32_t status);
