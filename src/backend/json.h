/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* JSON: what all answers share: times, hostile text made valid, and bounded parsing. Loop thread only. */

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

#define SONDE_JSON_DEPTH_MAX 32

static inline void sonde_json_decrefp(json_t **j)
{
	json_decref(*j);
}
#define _cleanup_json_ _cleanup_(sonde_json_decrefp)

/* RFC 3339 UTC with milliseconds and a Z; null for 0. New reference, NULL when memory ran out. */
json_t *sonde_json_time(int64_t wall_ms);

/* Such a time, its fraction of any length or none; or whole milliseconds since 1970. Return: 0, -EINVAL. */
int sonde_json_parse_time(const char *text, int64_t *ret_ms) _must_check_;

/* Text from outside: bytes that are no UTF-8 become U+FFFD, NULL becomes "". */
json_t *sonde_json_text(const char *text);
/* The same, but null for NULL and "". */
json_t *sonde_json_text_or_null(const char *text);

/* JSON has no unsigned 64-bit integer in jansson; a count that large is as good as the largest. */
static inline json_int_t sonde_json_count(uint64_t n)
{
	return n > INT64_MAX ? INT64_MAX : (json_int_t)n;
}

/* @n bytes, never NUL-terminated text. Return: 0, -EINVAL with *@ret_line and @ret_words filled, -E2BIG (nested too deep). */
int sonde_json_parse(const char *text, size_t n, json_t **ret, int *ret_line,
		     char ret_words[static 160]) _must_check_;

/* A member as text or number, with a default where it is missing or of another type. Borrowed. */
const char *sonde_json_get_text(const json_t *object, const char *key, const char *fallback);
int64_t sonde_json_get_int(const json_t *object, const char *key, int64_t fallback);

/* Sets @key to @value (stolen, even on failure). Return: 0, -ENOMEM. */
int sonde_json_set(json_t *object, const char *key, json_t *value) _must_check_;
int sonde_json_append(json_t *array, json_t *value) _must_check_;
