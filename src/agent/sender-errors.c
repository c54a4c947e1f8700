/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/sender-errors.h"

#include <assert.h>
#include <string.h>

#include "base/cleanup.h"

static const struct sonde_sender_error_info infos[] = {
#define SONDE_SENDER_ERROR(kind, name, what, advice) {name, what, advice},
#include "agent/sender-errors.def"
#undef SONDE_SENDER_ERROR
};

const struct sonde_sender_error_info *sonde_sender_error_info(enum sonde_sender_error e)
{
	assert(e < _SONDE_SENDER_ERROR_MAX);

	return &infos[e];
}

/* By its words: grpc-java "Can't find decompressor for zstd", grpc-go "Decompressor is not installed", ours "encoding". */
static bool is_of_encoding(const struct sonde_grpc_result *result)
{
	return result->encoding != SONDE_ENCODING_IDENTITY &&
	       (strcasestr(result->message, "decompressor") ||
		strcasestr(result->message, "encoding"));
}

static enum sonde_sender_error error_of_answer(const struct sonde_grpc_result *result)
{
	switch (result->status) {
	case SONDE_GRPC_PERMISSION_DENIED:
	case SONDE_GRPC_UNAUTHENTICATED:
		return SONDE_SENDER_DENIED;
	case SONDE_GRPC_UNIMPLEMENTED:
		return is_of_encoding(result) ? SONDE_SENDER_UNIMPLEMENTED_ENCODING
					      : SONDE_SENDER_UNIMPLEMENTED;
	case SONDE_GRPC_RESOURCE_EXHAUSTED:
		return SONDE_SENDER_EXHAUSTED;
	case SONDE_GRPC_DEADLINE_EXCEEDED: /* the backend's own clock was first */
		return SONDE_SENDER_DEADLINE;
	case SONDE_GRPC_UNAVAILABLE:
		return SONDE_SENDER_UNAVAILABLE;
	case SONDE_GRPC_INVALID_ARGUMENT:
	case SONDE_GRPC_NOT_FOUND:
	case SONDE_GRPC_FAILED_PRECONDITION:
		return SONDE_SENDER_REFUSED;
	default:
		return SONDE_SENDER_INTERNAL;
	}
}

enum sonde_sender_error sonde_sender_error_of(const struct sonde_grpc_result *result)
{
	assert(result && result->status != SONDE_GRPC_OK);

	switch (result->cause) {
	case SONDE_GRPC_CAUSE_LOCAL:
		return SONDE_SENDER_OWN_LIMIT;
	case SONDE_GRPC_CAUSE_CONNECT:
		return SONDE_SENDER_UNREACHABLE;
	case SONDE_GRPC_CAUSE_LOST:
		return SONDE_SENDER_LOST;
	case SONDE_GRPC_CAUSE_GOAWAY:
		return SONDE_SENDER_GOAWAY;
	case SONDE_GRPC_CAUSE_REFUSED:
		return SONDE_SENDER_REFUSED_STREAM;
	case SONDE_GRPC_CAUSE_RESET:
		return SONDE_SENDER_RESET;
	case SONDE_GRPC_CAUSE_DEADLINE:
		return SONDE_SENDER_DEADLINE;
	case SONDE_GRPC_CAUSE_HALF_OPEN:
		return SONDE_SENDER_HALF_OPEN;
	default:
		return error_of_answer(result);
	}
}
