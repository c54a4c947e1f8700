/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Log: one logfmt line on stderr. Where that is the journal's stream (what
 * JOURNAL_STREAM names), with its priority prefix <N>; elsewhere with the time
 * (UTC, milliseconds). Libraries do not log above debug; the caller that
 * gives up logs once. Never a secret, never a payload. Any thread.
 */

#include "base/cleanup.h"

enum sonde_log_level {
	SONDE_LOG_ERROR = 3, /* syslog numbers */
	SONDE_LOG_WARNING = 4,
	SONDE_LOG_INFO = 6,
	SONDE_LOG_DEBUG = 7,
};

/* Lines above @level are not written. Default INFO. */
void sonde_log_set_level(enum sonde_log_level level);
enum sonde_log_level sonde_log_level(void);

/*
 * @name is written as prog=; borrowed for ever (pass a literal). Looks at what stderr is: call it first, with stderr
 * in its place and before any filter.
 */
void sonde_log_set_program(const char *name);

/* @err: 0, or a negative errno that is appended as err="...". Control bytes are escaped. Returns @err. */
int sonde_log_full(enum sonde_log_level level, int err, const char *fmt, ...) _printf_(3, 4);

/* `return sonde_log_err(r, "cannot open '%s'", path);` logs and passes r on. */
#define sonde_log_err(err, ...) sonde_log_full(SONDE_LOG_ERROR, (err), __VA_ARGS__)
#define sonde_log_warn(err, ...) sonde_log_full(SONDE_LOG_WARNING, (err), __VA_ARGS__)
#define sonde_log_info(...) ((void)sonde_log_full(SONDE_LOG_INFO, 0, __VA_ARGS__))
#define sonde_log_debug(...) ((void)sonde_log_full(SONDE_LOG_DEBUG, 0, __VA_ARGS__))
