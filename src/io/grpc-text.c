/* SPDX-License-Identifier: Apache-2.0 */
#include "io/grpc-text.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/num.h"

#define MESSAGE_MAX_BYTES 255
#define TIMEOUT_DIGITS_MAX 8

static const struct {
	char letter;
	uint64_t ns;
} units[] = {
	{'n', 1},
	{'u', SONDE_NS_PER_US},
	{'m', SONDE_NS_PER_MS},
	{'S', SONDE_NS_PER_S},
	{'M', 60 * SONDE_NS_PER_S},
	{'H', 3600 * SONDE_NS_PER_S},
};

const char *sonde_grpc_status_name(uint32_t status)
{
	static const char *const names[] = {
		"OK",
		"CANCELLED",
		"UNKNOWN",
		"INVALID_ARGUMENT",
		"DEADLINE_EXCEEDED",
		"NOT_FOUND",
		"ALREADY_EXISTS",
		"PERMISSION_DENIED",
		"RESOURCE_EXHAUSTED",
		"FAILED_PRECONDITION",
		"ABORTED",
		"OUT_OF_RANGE",
		"UNIMPLEMENTED",
		"INTERNAL",
		"UNAVAILABLE",
		"DATA_LOSS",
		"UNAUTHENTICATED",
	};

	return status < ELEMENTS_OF(names) ? names[status] : "UNKNOWN";
}

int sonde_grpc_timeout_parse(const char *text, uint64_t *ret_ns)
{
	char digits[TIMEOUT_DIGITS_MAX + 1];
	size_t n;
	uint64_t v;
	int r;

	assert(text && ret_ns);

	n = strspn(text, "0123456789");
	if (n == 0 || n > TIMEOUT_DIGITS_MAX || text[n] == '\0' || text[n + 1] != '\0')
		return -EINVAL;
	memcpy(digits, text, n);
	digits[n] = '\0';
	r = sonde_parse_u64(digits, 0, UINT64_MAX, &v);
	if (r < 0)
		return r;
	for (size_t i = 0; i < ELEMENTS_OF(units); i++) {
		if (units[i].letter != text[n])
			continue;
		if (__builtin_mul_overflow(v, units[i].ns, &v))
			v = UINT64_MAX;
		*ret_ns = v;
		return 0;
	}
	return -EINVAL;
}

void sonde_grpc_timeout_format(uint64_t ns, char ret[static SONDE_GRPC_TIMEOUT_SIZE])
{
	assert(ret);

	for (size_t i = 0; i < ELEMENTS_OF(units); i++) {
		uint64_t v = ns / units[i].ns + (ns % units[i].ns != 0);

		if (v <= 99999999) {
			(void)snprintf(ret, SONDE_GRPC_TIMEOUT_SIZE, "%u%c", (unsigned)v,
				       units[i].letter);
			return;
		}
	}
	/* not reached: 2^64 ns are 5,124,095 hours */
}

/* How much of @text is kept: no half of a UTF-8 sequence at the end. */
static size_t cut_length(const char *text)
{
	size_t n = strnlen(text, MESSAGE_MAX_BYTES + 1);

	if (n <= MESSAGE_MAX_BYTES)
		return n;
	n = MESSAGE_MAX_BYTES;
	while (n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80)
		n--;
	return n;
}

void sonde_grpc_percent_encode(const char *text, char ret[static SONDE_GRPC_PERCENT_SIZE])
{
	static const char hex[] = "0123456789ABCDEF";
	size_t n, at = 0;

	assert(text && ret);

	n = cut_length(text);
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c >= 0x20 && c <= 0x7e && c != '%') {
			ret[at++] = (char)c;
		} else {
			ret[at++] = '%';
			ret[at++] = hex[c >> 4];
			ret[at++] = hex[c & 15];
		}
	}
	ret[at] = '\0';
}

static unsigned hex_value(char c)
{
	return isdigit((unsigned char)c) ? (unsigned)(c - '0') : (unsigned)((c | 0x20) - 'a') + 10;
}

void sonde_grpc_percent_decode(const char *text, char *ret, size_t size)
{
	size_t at = 0;

	assert(text && ret && size > 0);

	while (*text != '\0' && at + 1 < size) {
		unsigned c = (unsigned char)*text;

		if (c == '%' && isxdigit((unsigned char)text[1]) &&
		    isxdigit((unsigned char)text[2])) {
			c = hex_value(text[1]) << 4 | hex_value(text[2]);
			text += 2;
		}
		text++;
		ret[at++] = c < 0x20 || c == 0x7f ? '?' : (char)c;
	}
	ret[at] = '\0';
}

bool sonde_grpc_content_type_ok(const char *content_type)
{
	static const char base[] = "application/grpc";

	assert(content_type);

	if (strncasecmp(content_type, base, strlen(base)) != 0)
		return false;
	content_type += strlen(base);
	if (strncasecmp(content_type, "+proto", 6) == 0)
		content_type += 6;
	content_type += strspn(content_type, " \t");
	return *content_type == '\0' || *content_type == ';';
}

enum sonde_grpc_status sonde_grpc_status_parse(const char *text)
{
	uint64_t v;

	assert(text);

	if (sonde_parse_u64(text, 0, SONDE_GRPC_UNAUTHENTICATED, &v) < 0)
		return SONDE_GRPC_UNKNOWN;
	return (enum sonde_grpc_status)v;
}

enum sonde_grpc_status sonde_grpc_status_from_http(unsigned http_status)
{
	switch (http_status) {
	case 400:
		return SONDE_GRPC_INTERNAL;
	case 401:
		return SONDE_GRPC_UNAUTHENTICATED;
	case 403:
		return SONDE_GRPC_PERMISSION_DENIED;
	case 404:
		return SONDE_GRPC_UNIMPLEMENTED;
	case 429:
	case 502:
	case 503:
	case 504:
		return SONDE_GRPC_UNAVAILABLE;
	default:
		return SONDE_GRPC_UNKNOWN;
	}
}

enum sonde_grpc_status sonde_grpc_status_from_reset(uint32_t http2_error)
{
	switch (http2_error) {
	case NGHTTP2_REFUSED_STREAM:
		return SONDE_GRPC_UNAVAILABLE;
	case NGHTTP2_CANCEL:
		return SONDE_GRPC_CANCELLED;
	case NGHTTP2_ENHANCE_YOUR_CALM:
		return SONDE_GRPC_RESOURCE_EXHAUSTED;
	case NGHTTP2_INADEQUATE_SECURITY:
		return SONDE_GRPC_PERMISSION_DENIED;
	default:
		return SONDE_GRPC_INTERNAL;
	}
}

bool sonde_grpc_token_equal(const char *given, const char *wanted)
{
	size_t n_given, n_wanted;
	volatile unsigned char diff = 0;

	assert(given && wanted);

	n_given = strlen(given);
	n_wanted = strlen(wanted);
	if (n_wanted == 0)
		return n_given == 0;
	for (size_t i = 0; i < n_given; i++)
		diff |= (unsigned char)(given[i] ^ wanted[i % n_wanted]);
	return n_given == n_wanted && diff == 0;
}
