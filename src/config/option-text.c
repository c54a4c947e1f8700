/* SPDX-License-Identifier: Apache-2.0 */
/* What a row says of itself and how its value is written. */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/num.h"
#include "config/option.h"

static const char *const type_words[] = {
	[SONDE_OPTION_TYPE_BOOL] = "true or false",
	[SONDE_OPTION_TYPE_UINT] = "number",
	[SONDE_OPTION_TYPE_INT] = "number",
	[SONDE_OPTION_TYPE_DURATION] = "duration",
	[SONDE_OPTION_TYPE_BYTES] = "size",
	[SONDE_OPTION_TYPE_PORT] = "port",
	[SONDE_OPTION_TYPE_STRING] = "text",
	[SONDE_OPTION_TYPE_PATH] = "path",
	[SONDE_OPTION_TYPE_ENUM] = "word",
	[SONDE_OPTION_TYPE_STRINGS] = "list of texts",
	[SONDE_OPTION_TYPE_LIST] = "list of mappings",
};
_Static_assert(ELEMENTS_OF(type_words) == _SONDE_OPTION_TYPE_MAX, "a word for each type");

const char *sonde_option_type_word(const struct sonde_option *o)
{
	return type_words[o->type];
}

static int range(const struct sonde_option *o, struct sonde_buf *out)
{
	if (o->min && o->max)
		return sonde_buf_printf(out, " from %s to %s", o->min, o->max);
	if (o->min)
		return sonde_buf_printf(out, " of at least %s", o->min);
	if (o->max)
		return sonde_buf_printf(out, " of at most %s", o->max);
	return 0;
}

static int expected_enum(const struct sonde_option *o, struct sonde_buf *out)
{
	int r = 0;

	for (int i = 0; r == 0 && o->names[i]; i++) {
		const char *joint = i == 0 ? "" : o->names[i + 1] ? ", " : " or ";

		r = sonde_buf_printf(out, "%s%s", joint, o->names[i]);
	}
	return r;
}

static bool is_within(const struct sonde_option *o, const char *example)
{
	int (*parse)(const char *s, uint64_t *ret) =
		o->type == SONDE_OPTION_TYPE_BYTES ? sonde_parse_bytes : sonde_parse_duration_ns;
	uint64_t v, bound;

	if (parse(example, &v) < 0)
		return false;
	return (!o->min || parse(o->min, &bound) < 0 || bound <= v) &&
	       (!o->max || parse(o->max, &bound) < 0 || v <= bound);
}

/* " (such as 10s, 5m)": those that this option takes. */
static int examples(const struct sonde_option *o, struct sonde_buf *out)
{
	static const char *const durations[] = {"250ms", "10s", "5m", "1h"};
	static const char *const sizes[] = {"64KiB", "16MiB"};
	const bool bytes = o->type == SONDE_OPTION_TYPE_BYTES;
	const char *joint = " (such as ";
	int r = 0;

	for (size_t i = 0; r == 0 && i < (bytes ? ELEMENTS_OF(sizes) : ELEMENTS_OF(durations));
	     i++) {
		const char *example = bytes ? sizes[i] : durations[i];

		if (!is_within(o, example))
			continue;
		r = sonde_buf_printf(out, "%s%s", joint, example);
		joint = ", ";
	}
	return r == 0 && joint[0] == ',' ? sonde_buf_printf(out, ")") : r;
}

int sonde_option_expected(const struct sonde_option *o, struct sonde_buf *out)
{
	const char *word = NULL;
	int r;

	switch (o->type) {
	case SONDE_OPTION_TYPE_BOOL:
		return sonde_buf_printf(out, "true or false");
	case SONDE_OPTION_TYPE_ENUM:
		return expected_enum(o, out);
	case SONDE_OPTION_TYPE_PORT:
		return sonde_buf_printf(out, "a port from %s to %s", o->min ? o->min : "0",
					o->max ? o->max : "65535");
	case SONDE_OPTION_TYPE_STRING:
	case SONDE_OPTION_TYPE_PATH:
		return sonde_buf_printf(out, "a %s of at most %s bytes without control bytes",
					type_words[o->type], o->max ? o->max : "65536");
	case SONDE_OPTION_TYPE_STRINGS:
	case SONDE_OPTION_TYPE_LIST:
		return sonde_buf_printf(out, "a %s, at most %zu of them", type_words[o->type],
					sonde_option_limit(o));
	case SONDE_OPTION_TYPE_DURATION:
		word = "a duration";
		break;
	case SONDE_OPTION_TYPE_BYTES:
		word = "a size";
		break;
	case SONDE_OPTION_TYPE_UINT:
	case SONDE_OPTION_TYPE_INT:
	case _SONDE_OPTION_TYPE_MAX:
		word = "a whole number";
		break;
	}
	r = sonde_buf_printf(out, "%s", word);
	if (r == 0)
		r = range(o, out);
	if (r == 0 && (o->type == SONDE_OPTION_TYPE_DURATION || o->type == SONDE_OPTION_TYPE_BYTES))
		r = examples(o, out);
	return r;
}

static int print_unit(uint64_t v, const char *const *suffixes, const uint64_t *factors, size_t n,
		      struct sonde_buf *out)
{
	size_t i = n - 1;

	while (i > 0 && v % factors[i] != 0)
		i--;
	if (v == 0)
		i = 0;
	return sonde_buf_printf(out, "%" PRIu64 "%s", v / factors[i], suffixes[i]);
}

static int print_duration(uint64_t ns, struct sonde_buf *out)
{
	static const char *const suffixes[] = {"ns", "us", "ms", "s", "m", "h"};
	static const uint64_t factors[] = {
		1,
		SONDE_NS_PER_US,
		SONDE_NS_PER_MS,
		SONDE_NS_PER_S,
		60 * SONDE_NS_PER_S,
		3600 * SONDE_NS_PER_S,
	};

	if (ns == 0)
		return sonde_buf_printf(out, "0s");
	return print_unit(ns, suffixes, factors, ELEMENTS_OF(factors), out);
}

static int print_bytes(uint64_t bytes, struct sonde_buf *out)
{
	static const char *const suffixes[] = {"", "KiB", "MiB", "GiB"};
	static const uint64_t factors[] = {1, 1 << 10, 1 << 20, 1 << 30};

	return print_unit(bytes, suffixes, factors, ELEMENTS_OF(factors), out);
}

/* Always in double quotes: what a bare word means to YAML is nobody's to remember. */
static int print_quoted(const char *text, struct sonde_buf *out)
{
	int r = sonde_buf_append(out, "\"", 1);

	for (const char *p = text; r == 0 && *p; p++) {
		if (*p == '"' || *p == '\\')
			r = sonde_buf_printf(out, "\\%c", *p);
		else
			r = sonde_buf_append(out, p, 1);
	}
	return r < 0 ? r : sonde_buf_append(out, "\"", 1);
}

static int print_strings(char *const *strings, struct sonde_buf *out)
{
	int r = sonde_buf_append(out, "[", 1);

	for (size_t i = 0; r == 0 && strings && strings[i]; i++) {
		if (i > 0)
			r = sonde_buf_append(out, ", ", 2);
		if (r == 0)
			r = print_quoted(strings[i], out);
	}
	return r < 0 ? r : sonde_buf_append(out, "]", 1);
}

static int print_text(const struct sonde_option *o, const char *text, struct sonde_buf *out)
{
	if ((o->flags & SONDE_OPTION_SECRET) && *text)
		text = "***";
	return print_quoted(text, out);
}

int sonde_option_print(const struct sonde_option *o, const void *base, struct sonde_buf *out)
{
	const void *p = (const char *)base + o->offset;

	switch (o->type) {
	case SONDE_OPTION_TYPE_BOOL:
		return sonde_buf_printf(out, "%s", *(const bool *)p ? "true" : "false");
	case SONDE_OPTION_TYPE_UINT:
		return sonde_buf_printf(out, "%" PRIu64, *(const uint64_t *)p);
	case SONDE_OPTION_TYPE_INT:
		return sonde_buf_printf(out, "%" PRIi64, *(const int64_t *)p);
	case SONDE_OPTION_TYPE_DURATION:
		return print_duration(*(const uint64_t *)p, out);
	case SONDE_OPTION_TYPE_BYTES:
		return print_bytes(*(const uint64_t *)p, out);
	case SONDE_OPTION_TYPE_PORT:
		return sonde_buf_printf(out, "%u", *(const uint16_t *)p);
	case SONDE_OPTION_TYPE_STRING:
	case SONDE_OPTION_TYPE_PATH:
		return print_text(o, *(const char *const *)p, out);
	case SONDE_OPTION_TYPE_ENUM:
		return sonde_buf_printf(out, "%s", o->names[*(const int *)p]);
	case SONDE_OPTION_TYPE_STRINGS:
		return print_strings(*(char *const *const *)p, out);
	case SONDE_OPTION_TYPE_LIST:
	case _SONDE_OPTION_TYPE_MAX:
		break;
	}
	return -EINVAL;
}
