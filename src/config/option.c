/* SPDX-License-Identifier: Apache-2.0 */
#include "config/option.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/num.h"
#include "base/utf8.h"

static void *field(const struct sonde_option *o, const void *base)
{
	return (char *)base + o->offset;
}

static size_t *count_field(const struct sonde_option *o, const void *base)
{
	return (size_t *)(void *)((char *)base + o->count_offset);
}

static int parse_number(const struct sonde_option *o, const char *text, uint64_t min, uint64_t max,
			uint64_t *ret)
{
	uint64_t v;
	int r;

	if (o->type == SONDE_OPTION_TYPE_DURATION)
		r = sonde_parse_duration_ns(text, &v);
	else if (o->type == SONDE_OPTION_TYPE_BYTES)
		r = sonde_parse_bytes(text, &v);
	else
		r = sonde_parse_u64(text, 0, UINT64_MAX, &v);
	if (r < 0)
		return r;
	if (v < min || v > max)
		return -ERANGE;
	*ret = v;
	return 0;
}

static uint64_t bound(const struct sonde_option *o, const char *text, uint64_t without)
{
	uint64_t v;

	if (!text || parse_number(o, text, 0, UINT64_MAX, &v) < 0)
		return without;
	return v;
}

size_t sonde_option_limit(const struct sonde_option *o)
{
	uint64_t v;

	if (!o->max || sonde_parse_u64(o->max, 0, 65536, &v) < 0)
		return 256;
	return (size_t)v;
}

static int set_number(const struct sonde_option *o, void *base, const char *text)
{
	uint64_t top = o->type == SONDE_OPTION_TYPE_PORT ? UINT16_MAX : UINT64_MAX;
	uint64_t v;
	int r;

	r = parse_number(o, text, bound(o, o->min, 0), bound(o, o->max, top), &v);
	if (r < 0)
		return r;
	if (o->type == SONDE_OPTION_TYPE_PORT)
		*(uint16_t *)field(o, base) = (uint16_t)v;
	else
		*(uint64_t *)field(o, base) = v;
	return 0;
}

static int set_int(const struct sonde_option *o, void *base, const char *text)
{
	int64_t min = INT64_MIN, max = INT64_MAX;

	if (o->min && sonde_parse_i64(o->min, INT64_MIN, INT64_MAX, &min) < 0)
		return -EINVAL;
	if (o->max && sonde_parse_i64(o->max, INT64_MIN, INT64_MAX, &max) < 0)
		return -EINVAL;
	return sonde_parse_i64(text, min, max, field(o, base));
}

static int set_bool(const struct sonde_option *o, void *base, const char *text)
{
	bool v = strcmp(text, "true") == 0;

	if (!v && strcmp(text, "false") != 0)
		return -EINVAL;
	*(bool *)field(o, base) = v;
	if (o->said_offset)
		*(bool *)(void *)((char *)base + o->said_offset) = true;
	return 0;
}

static int set_enum(const struct sonde_option *o, void *base, const char *text)
{
	for (int i = 0; o->names[i]; i++) {
		if (strcmp(o->names[i], text) == 0) {
			*(int *)field(o, base) = i;
			return 0;
		}
	}
	return -EINVAL;
}

/* Names and paths end up in logs and on terminals. */
static int check_text(const char *text, size_t max)
{
	if (sonde_has_control(text))
		return -EINVAL;
	return strlen(text) > max ? -ERANGE : 0;
}

static int set_string(const struct sonde_option *o, void *base, const char *text)
{
	char **p = field(o, base);
	char *copy;
	int r;

	r = check_text(text, (size_t)bound(o, o->max, SONDE_OPTION_VALUE_MAX));
	if (r < 0)
		return r;
	copy = strdup(text);
	if (!copy)
		return -ENOMEM;
	free(*p);
	*p = copy;
	return 0;
}

static void strings_release(char ***strings)
{
	if (!*strings)
		return;
	for (char **s = *strings; *s; s++)
		free(*s);
	free(*strings);
	*strings = NULL;
}

static size_t strings_count(char *const *strings)
{
	size_t n = 0;

	while (strings && strings[n])
		n++;
	return n;
}

int sonde_option_add(const struct sonde_option *o, void *base, const char *text)
{
	_cleanup_free_ char *copy = NULL;
	char ***strings = field(o, base);
	size_t n = strings_count(*strings);
	char **grown;
	int r;

	assert(o->type == SONDE_OPTION_TYPE_STRINGS);

	if (n >= sonde_option_limit(o))
		return -ERANGE;
	if (*text == '\0')
		return -EINVAL;
	r = check_text(text, SONDE_OPTION_VALUE_MAX);
	if (r < 0)
		return r;
	copy = strdup(text);
	if (!copy)
		return -ENOMEM;
	grown = realloc(*strings, (n + 2) * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	grown[n] = TAKE_PTR(copy);
	grown[n + 1] = NULL;
	*strings = grown;
	return 0;
}

static int set_strings(const struct sonde_option *o, void *base, const char *text)
{
	_cleanup_free_ char *words = strdup(text);
	char *rest = words, *word, **old;
	int r = 0;

	if (!words)
		return -ENOMEM;
	old = *(char ***)field(o, base);
	*(char ***)field(o, base) = NULL;
	while (r == 0 && *text && (word = strsep(&rest, ",")))
		r = sonde_option_add(o, base, word);
	if (r < 0) {
		strings_release(field(o, base));
		*(char ***)field(o, base) = old;
		return r;
	}
	strings_release(&old);
	return 0;
}

int sonde_option_set(const struct sonde_option *o, void *base, const char *text)
{
	switch (o->type) {
	case SONDE_OPTION_TYPE_BOOL:
		return set_bool(o, base, text);
	case SONDE_OPTION_TYPE_INT:
		return set_int(o, base, text);
	case SONDE_OPTION_TYPE_UINT:
	case SONDE_OPTION_TYPE_DURATION:
	case SONDE_OPTION_TYPE_BYTES:
	case SONDE_OPTION_TYPE_PORT:
		return set_number(o, base, text);
	case SONDE_OPTION_TYPE_STRING:
	case SONDE_OPTION_TYPE_PATH:
		return set_string(o, base, text);
	case SONDE_OPTION_TYPE_ENUM:
		return set_enum(o, base, text);
	case SONDE_OPTION_TYPE_STRINGS:
		return set_strings(o, base, text);
	case SONDE_OPTION_TYPE_LIST:
	case _SONDE_OPTION_TYPE_MAX:
		break;
	}
	return -EINVAL;
}

bool sonde_option_is_set(const struct sonde_option *o, const void *base)
{
	switch (o->type) {
	case SONDE_OPTION_TYPE_STRING:
	case SONDE_OPTION_TYPE_PATH:
		return (*(char *const *)field(o, base))[0] != '\0';
	case SONDE_OPTION_TYPE_STRINGS:
		return *(char **const *)field(o, base);
	default:
		return true;
	}
}

bool sonde_option_missing(const struct sonde_option *o, const void *base)
{
	return (o->flags & SONDE_OPTION_REQUIRED) && !sonde_option_is_set(o, base);
}

int sonde_option_defaults(const struct sonde_option *table, void *base)
{
	int r;

	for (const struct sonde_option *o = table; o->key; o++) {
		bool text =
			o->type == SONDE_OPTION_TYPE_STRING || o->type == SONDE_OPTION_TYPE_PATH;

		if (o->type == SONDE_OPTION_TYPE_LIST || (!o->fallback && !text))
			continue;
		r = sonde_option_set(o, base, o->fallback ? o->fallback : "");
		if (r < 0)
			return r == -ENOMEM ? r : -EINVAL;
	}
	return 0;
}

size_t sonde_option_count(const struct sonde_option *o, const void *base)
{
	return *count_field(o, base);
}

void *sonde_option_element(const struct sonde_option *o, const void *base, size_t i)
{
	return *(char **)field(o, base) + i * o->element_size;
}

int sonde_option_make_list(const struct sonde_option *o, void *base, size_t n)
{
	void *elements;

	assert(o->type == SONDE_OPTION_TYPE_LIST && sonde_option_count(o, base) == 0);

	if (n == 0)
		return 0;
	elements = calloc(n, o->element_size);
	if (!elements)
		return -ENOMEM;
	*(void **)field(o, base) = elements;
	*count_field(o, base) = n;
	return 0;
}

void sonde_option_release(const struct sonde_option *table, void *base)
{
	for (const struct sonde_option *o = table; o->key; o++) {
		switch (o->type) {
		case SONDE_OPTION_TYPE_STRING:
		case SONDE_OPTION_TYPE_PATH:
			free(*(char **)field(o, base));
			*(char **)field(o, base) = NULL;
			break;
		case SONDE_OPTION_TYPE_STRINGS:
			strings_release(field(o, base));
			break;
		case SONDE_OPTION_TYPE_LIST:
			for (size_t i = 0; i < sonde_option_count(o, base); i++)
				sonde_option_release(o->element, sonde_option_element(o, base, i));
			free(*(void **)field(o, base));
			*(void **)field(o, base) = NULL;
			*count_field(o, base) = 0;
			break;
		default:
			break;
		}
	}
}

bool sonde_option_env(const struct sonde_config_spec *spec, const struct sonde_option *o,
		      char ret[static SONDE_CONFIG_KEY_MAX * 2])
{
	size_t n;

	if (!spec->env_prefix || o->type == SONDE_OPTION_TYPE_LIST)
		return false;
	n = (size_t)snprintf(ret, SONDE_CONFIG_KEY_MAX * 2UL, "%s%s", spec->env_prefix, o->key);
	for (size_t i = 0; i < n && ret[i]; i++)
		ret[i] = ret[i] == '.' ? '_' : (char)toupper((unsigned char)ret[i]);
	return true;
}

bool sonde_option_flag(const struct sonde_option *o, char ret[static SONDE_CONFIG_KEY_MAX])
{
	if (o->type == SONDE_OPTION_TYPE_LIST ||
	    (o->flags & (SONDE_OPTION_SECRET | SONDE_OPTION_NO_FLAG)))
		return false;
	(void)snprintf(ret, SONDE_CONFIG_KEY_MAX, "%s", o->key);
	for (char *p = ret; *p; p++) {
		if (*p == '.' || *p == '_')
			*p = '-';
	}
	return true;
}
