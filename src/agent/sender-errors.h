/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Sender-errors: what can go wrong between a report and the backend, by kind: a counter each, and the words that tell
 * an operator what to do (sender-errors.def). No state, any thread.
 */

#include "io/grpc-client.h"

enum sonde_sender_error {
#define SONDE_SENDER_ERROR(kind, name, what, advice) SONDE_SENDER_##kind,
#include "agent/sender-errors.def"
#undef SONDE_SENDER_ERROR
	_SONDE_SENDER_ERROR_MAX,
};

struct sonde_sender_error_info {
	const char *name;   /* of the counter: log line, TaskReport, REST */
	const char *what;   /* happened */
	const char *advice; /* to the operator */
};

/* Never NULL. */
const struct sonde_sender_error_info *sonde_sender_error_info(enum sonde_sender_error e);

/* @result: of a status other than OK. */
enum sonde_sender_error sonde_sender_error_of(const struct sonde_grpc_result *result);
