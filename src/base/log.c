/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LINE_MAX_BYTES 2048

static enum sonde_log_level max_level = SONDE_LOG_INFO;
static const char *program = "sonde";

void sonde_log_set_level(enum sonde_log_level level)
{
	max_level = level;
}

enum sonde_log_level sonde_log_level(void)
{
	return max_level;
}

void sonde_log_set_program(const char *name)
{
	program = name;
}

static const char *level_name(enum sonde_log_level level)
{
	switch (level) {
	case SONDE_LOG_ERROR:
		return "error";
	case SONDE_LOG_WARNING:
		return "warning";
	case SONDE_LOG_INFO:
		return "info";
	case SONDE_LOG_DEBUG:
	default:
		return "debug";
	}
}

/* Appends @s quoted for logfmt: what would break the line or the quotes is escaped. */
static size_t put_quoted(char *buf, size_t size, size_t at, const char *s)
{
	static const char hex[] = "0123456789abcdef";

	if (at < size)
		buf[at++] = '"';
	for (; *s != '\0' && at + 6 < size; s++) {
		unsigned char c = (unsigned char)*s;

		if (c == '"' || c == '\\') {
			buf[at++] = '\\';
			buf[at++] = (char)c;
		} else if (c < 0x20 || c == 0x7f) {
			buf[at++] = '\\';
			buf[at++] = 'x';
			buf[at++] = hex[c >> 4];
			buf[at++] = hex[c & 15];
		} else {
			buf[at++] = (char)c;
		}
	}
	if (at < size)
		buf[at++] = '"';
	return at;
}

int sonde_log_full(enum sonde_log_level level, int err, const char *fmt, ...)
{
	char msg[LINE_MAX_BYTES / 2], line[LINE_MAX_BYTES];
	size_t at = 0;
	va_list ap;
	int n;

	if (level > max_level)
		return err;

	va_start(ap, fmt);
	(void)vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);

	if (getenv("JOURNAL_STREAM")) /* sd-daemon(3): the journal takes the priority from the prefix */
		n = snprintf(line, sizeof(line), "<%d>prog=%s level=%s msg=", (int)level, program,
			     level_name(level));
	else
		n = snprintf(line, sizeof(line), "prog=%s level=%s msg=", program,
			     level_name(level));
	if (n < 0 || (size_t)n >= sizeof(line))
		return err;
	at = put_quoted(line, sizeof(line) - 1, (size_t)n, msg);
	if (err < 0 && at + 8 < sizeof(line) - 1) {
		at += (size_t)snprintf(line + at, sizeof(line) - at, " err=");
		at = put_quoted(line, sizeof(line) - 1, at, strerror(-err));
	}
	line[at++] = '\n';
	(void)!write(STDERR_FILENO, line,
		     at); /* one write: lines of several processes do not mix */
	return err;
}
