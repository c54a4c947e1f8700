/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"

#define LINE_MAX_BYTES 2048

static enum sonde_log_level max_level = SONDE_LOG_INFO;
static const char *program = "sonde";
static bool journal; /* stderr is the journal's own stream */

void sonde_log_set_level(enum sonde_log_level level)
{
	max_level = level;
}

enum sonde_log_level sonde_log_level(void)
{
	return max_level;
}

/* systemd.exec(5): "DEVICE:INODE" of the stream; a service may have sent its stderr elsewhere all the same. */
static bool is_journal(const char *stream)
{
	char own[64];
	struct stat st;

	if (!stream || fstat(STDERR_FILENO, &st) < 0)
		return false;
	(void)snprintf(own, sizeof(own), "%llu:%llu", (unsigned long long)st.st_dev,
		       (unsigned long long)st.st_ino);
	return strcmp(stream, own) == 0;
}

void sonde_log_set_program(const char *name)
{
	program = name;
	journal = is_journal(getenv("JOURNAL_STREAM"));
	tzset(); /* gmtime_r(3) would else read a file at the first line, which may be behind a filter */
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

/* What stands before the words. The journal has a time of its own, and takes the priority from the prefix: sd-daemon(3). */
static int put_head(char *buf, size_t size, enum sonde_log_level level)
{
	const int64_t ms = sonde_wall_ms();
	const time_t s = (time_t)(ms / 1000);
	char at[32] = "";
	struct tm tm;

	if (journal)
		return snprintf(buf, size, "<%d>prog=%s level=%s msg=", (int)level, program,
				level_name(level));
	if (gmtime_r(&s, &tm))
		(void)strftime(at, sizeof(at), "%Y-%m-%dT%H:%M:%S", &tm);
	return snprintf(buf, size, "time=%s.%03dZ prog=%s level=%s msg=", at, (int)(ms % 1000),
			program, level_name(level));
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

	n = put_head(line, sizeof(line), level);
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
