/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "mal/closure-names.h"
#include "mal/closure.h"
#include "mal/parser.h"

#define SPLIT_MAX 1024 /* parts of one split() */

/* Text with its length; positions are bytes. */
struct text {
	const char *s;
	size_t len;
};

static struct text text_of(const struct mal_eval *ev, const struct mal_value *v)
{
	return (struct text){mal_strings_text(ev->strings, v->string),
			     mal_strings_len(ev->strings, v->string)};
}

static int set_text(struct mal_eval *ev, const char *s, size_t len, struct mal_value *ret)
{
	uint32_t id;
	int r = mal_value_intern(ev, s, len, &id);

	if (r == 0)
		*ret = mal_value_string(id);
	return r;
}

static int set_scratch(struct mal_eval *ev, int r, struct mal_value *ret)
{
	if (r == -EMSGSIZE)
		return mal_eval_fail(ev, "a text longer than %d bytes", SONDE_MAL_TEXT_MAX);
	if (r < 0)
		return mal_eval_no_memory(ev);
	return set_text(ev, sonde_buf_str(&ev->scratch), ev->scratch.len, ret);
}

/* trim: what is not above U+0020. strip and isBlank: white space, of which ASCII's is known here. */
static struct text strip(struct text t, bool trim)
{
	while (t.len > 0 &&
	       (trim ? (unsigned char)t.s[0] <= ' ' : isspace((unsigned char)t.s[0]))) {
		t.s++;
		t.len--;
	}
	while (t.len > 0 && (trim ? (unsigned char)t.s[t.len - 1] <= ' '
				  : isspace((unsigned char)t.s[t.len - 1])))
		t.len--;
	return t;
}

static int change_case(struct mal_eval *ev, struct text t, bool upper, struct mal_value *ret)
{
	int r = 0;

	sonde_buf_reset(&ev->scratch);
	for (size_t i = 0; i < t.len && r == 0; i++) {
		char c = t.s[i];

		if (upper ? c >= 'a' && c <= 'z' : c >= 'A' && c <= 'Z')
			c ^= 0x20;
		r = sonde_buf_append(&ev->scratch, &c, 1);
	}
	return set_scratch(ev, r, ret);
}

static int index_of(struct text t, struct text what, bool last, struct mal_value *ret)
{
	const char *found = NULL, *p = t.s;

	while ((p = memmem(p, t.len - (size_t)(p - t.s), what.s, what.len))) {
		found = p;
		if (!last || p == t.s + t.len)
			break;
		p++;
	}
	*ret = mal_value_integer(found ? (int64_t)mal_utf16_len(t.s, (size_t)(found - t.s)) : -1);
	return 0;
}

static int substring(struct mal_eval *ev, struct text t, const struct mal_value *args, size_t n,
		     struct mal_value *ret)
{
	size_t units = mal_utf16_len(t.s, t.len), from, to;
	int64_t a = args[0].number.integer, b = n > 1 ? args[1].number.integer : (int64_t)units;

	if (a < 0 || b < a || b > (int64_t)units)
		return mal_eval_fail(ev, "substring() outside of the text");
	from = mal_utf16_offset(t.s, t.len, (size_t)a);
	to = mal_utf16_offset(t.s, t.len, (size_t)b);
	return set_text(ev, t.s + from, to - from, ret);
}

static int replace(struct mal_eval *ev, struct text t, struct text what, struct text with,
		   struct mal_value *ret)
{
	const char *p = t.s, *end = t.s + t.len, *found;
	int r = 0;

	sonde_buf_reset(&ev->scratch);
	while (r == 0 && p <= end && (found = memmem(p, (size_t)(end - p), what.s, what.len))) {
		r = sonde_buf_append(&ev->scratch, p, (size_t)(found - p));
		if (r >= 0)
			r = sonde_buf_append(&ev->scratch, with.s, with.len);
		p = found + what.len;
		if (what.len == 0) { /* before each character and at the end */
			size_t step = p < end ? mal_utf16_offset(p, (size_t)(end - p), 1) : 1;

			if (r == 0 && p < end)
				r = sonde_buf_append(&ev->scratch, p, step);
			p += step;
		}
	}
	if (r == 0 && p < end)
		r = sonde_buf_append(&ev->scratch, p, (size_t)(end - p));
	return set_scratch(ev, r, ret);
}

/* The pattern of a regex method: a literal one was compiled with the rule. */
static int pattern_of(struct mal_eval *ev, const struct mal_cx *c, const struct mal_value *arg,
		      struct mal_program *temporary, const struct mal_regex **ret)
{
	char message[200];
	int r;

	*ret = c->method.regex;
	if (*ret)
		return 0;
	r = mal_program_init(temporary);
	if (r >= 0)
		r = mal_regex_new(temporary, mal_strings_text(ev->strings, arg->string), message,
				  sizeof(message), ret);
	if (r == -EINVAL)
		return mal_eval_fail(ev, "%s", message);
	return r < 0 ? mal_eval_no_memory(ev) : 0;
}

/* Java's replacement text: $1 and ${name}-less; a backslash quotes. */
static int append_replacement(struct mal_eval *ev, struct text with, const char *subject,
			      uint32_t groups)
{
	const size_t *at = pcre2_get_ovector_pointer(ev->match);
	int r = 0;

	for (size_t i = 0; i < with.len && r == 0; i++) {
		char c = with.s[i];
		uint32_t group;

		if (c == '$') {
			if (i + 1 >= with.len || !isdigit((unsigned char)with.s[i + 1]))
				return mal_eval_fail(ev, "'$' without a group in a replacement");
			group = (uint32_t)(with.s[++i] - '0');
			if (group > groups)
				return mal_eval_fail(ev, "no group %u in the regex", group);
			if (group < pcre2_get_ovector_count(ev->match) &&
			    at[2 * group] != PCRE2_UNSET)
				r = sonde_buf_append(&ev->scratch, subject + at[2 * group],
						     at[2 * group + 1] - at[2 * group]);
			continue;
		}
		if (c == '\\' && ++i < with.len)
			c = with.s[i];
		r = sonde_buf_append(&ev->scratch, &c, 1);
	}
	return r;
}

static int replace_regex(struct mal_eval *ev, const struct mal_regex *re, struct text t,
			 struct text with, bool all, struct mal_value *ret)
{
	size_t pos = 0, from = 0;
	int r = 0;

	sonde_buf_reset(&ev->scratch);
	while (from <= t.len) {
		const size_t *at;
		size_t start, end;

		r = mal_eval_regex(ev, re, t.s, t.len, from, false);
		if (r <= 0)
			break;
		at = pcre2_get_ovector_pointer(ev->match);
		start = at[0];
		end = at[1];
		r = sonde_buf_append(&ev->scratch, t.s + pos, start - pos);
		if (r >= 0)
			r = append_replacement(ev, with, t.s, re->groups);
		if (r < 0)
			break;
		pos = end;
		from = end > start
			       ? end
			       : end + (end < t.len ? mal_utf16_offset(t.s + end, t.len - end, 1)
						    : 1);
		if (!all)
			break;
	}
	if (r == -EINVAL)
		return r;
	if (r >= 0)
		r = sonde_buf_append(&ev->scratch, t.s + pos, t.len - pos);
	return set_scratch(ev, r, ret);
}

static int push_part(struct mal_eval *ev, struct text t, uint32_t *v, size_t *n)
{
	if (*n == SPLIT_MAX)
		return mal_eval_fail(ev, "split() into more than %d parts", SPLIT_MAX);
	return mal_value_intern(ev, t.s, t.len, &v[(*n)++]);
}

/* String.split(): no empty part before a match of width zero at the start; empty ones at the end are dropped for limit 0. */
static int split(struct mal_eval *ev, const struct mal_regex *re, struct text t, int64_t limit,
		 struct mal_value *ret)
{
	size_t pos = 0, from = 0, n = 0;
	uint32_t *v = mal_arena_array(ev->arena, SPLIT_MAX, sizeof(*v));
	bool matched = false;
	int r = 0;

	if (!v)
		return mal_eval_no_memory(ev);
	while (from <= t.len && (limit <= 0 || (int64_t)n < limit - 1)) {
		const size_t *at;

		r = mal_eval_regex(ev, re, t.s, t.len, from, false);
		if (r <= 0)
			break;
		at = pcre2_get_ovector_pointer(ev->match);
		if (at[1] == at[0] && at[0] >= t.len)
			break;
		from = at[1] > at[0] ? at[1]
				     : at[1] + mal_utf16_offset(t.s + at[1], t.len - at[1], 1);
		if (at[1] == 0)
			continue;
		matched = true;
		r = push_part(ev, (struct text){t.s + pos, at[0] - pos}, v, &n);
		if (r < 0)
			return r;
		pos = at[1];
	}
	if (r < 0)
		return r;
	r = push_part(ev, (struct text){t.s + pos, t.len - pos}, v, &n);
	if (r < 0)
		return r;
	if (limit == 0 && matched)
		while (n > 0 && v[n - 1] == MAL_STR_EMPTY)
			n--;
	*ret = (struct mal_value){.type = MAL_TYPE_ARRAY, .array = {v, n}};
	return 0;
}

static int call_regex(struct mal_eval *ev, const struct mal_cx *c, struct text t,
		      const struct mal_value *args, struct mal_value *ret)
{
	_cleanup_(mal_program_done) struct mal_program temporary = {0};
	const struct mal_regex *re = NULL;
	int r = pattern_of(ev, c, &args[0], &temporary, &re);

	if (r < 0)
		return r;
	switch (c->method.method) {
	case MAL_METHOD_MATCHES:
		r = mal_eval_regex(ev, re, t.s, t.len, 0, true);
		if (r >= 0)
			*ret = mal_value_bool(r > 0);
		return r < 0 ? r : 0;
	case MAL_METHOD_SPLIT:
		return split(ev, re, t, c->method.n_args > 1 ? args[1].number.integer : 0, ret);
	default:
		return replace_regex(ev, re, t, text_of(ev, &args[1]),
				     c->method.method == MAL_METHOD_REPLACE_ALL, ret);
	}
}

static int call_string(struct mal_eval *ev, const struct mal_cx *c, struct text t,
		       const struct mal_value *args, struct mal_value *ret)
{
	struct text a = {"", 0};
	const char *signature = mal_method_info(c->method.method)->signature;

	if (signature[0] == 'S')
		a = text_of(ev, &args[0]);
	switch (c->method.method) {
	case MAL_METHOD_CONTAINS:
		*ret = mal_value_bool(memmem(t.s, t.len, a.s, a.len) != NULL);
		return 0;
	case MAL_METHOD_STARTS_WITH:
		*ret = mal_value_bool(t.len >= a.len && memcmp(t.s, a.s, a.len) == 0);
		return 0;
	case MAL_METHOD_ENDS_WITH:
		*ret = mal_value_bool(t.len >= a.len &&
				      memcmp(t.s + t.len - a.len, a.s, a.len) == 0);
		return 0;
	case MAL_METHOD_EQUALS:
		*ret = mal_value_bool(t.len == a.len && memcmp(t.s, a.s, a.len) == 0);
		return 0;
	case MAL_METHOD_EQUALS_IGNORE_CASE:
		*ret = mal_value_bool(t.len == a.len && strncasecmp(t.s, a.s, a.len) == 0);
		return 0;
	case MAL_METHOD_IS_EMPTY:
		*ret = mal_value_bool(t.len == 0);
		return 0;
	case MAL_METHOD_IS_BLANK:
		*ret = mal_value_bool(strip(t, false).len == 0);
		return 0;
	case MAL_METHOD_LENGTH:
		*ret = mal_value_integer((int64_t)mal_utf16_len(t.s, t.len));
		return 0;
	case MAL_METHOD_TRIM:
	case MAL_METHOD_STRIP:
		t = strip(t, c->method.method == MAL_METHOD_TRIM);
		return set_text(ev, t.s, t.len, ret);
	case MAL_METHOD_TO_LOWER_CASE:
	case MAL_METHOD_TO_UPPER_CASE:
		return change_case(ev, t, c->method.method == MAL_METHOD_TO_UPPER_CASE, ret);
	case MAL_METHOD_SUBSTRING:
		return substring(ev, t, args, c->method.n_args, ret);
	case MAL_METHOD_INDEX_OF:
	case MAL_METHOD_LAST_INDEX_OF:
		return index_of(t, a, c->method.method == MAL_METHOD_LAST_INDEX_OF, ret);
	case MAL_METHOD_REPLACE:
		return replace(ev, t, a, text_of(ev, &args[1]), ret);
	case MAL_METHOD_TO_STRING:
		return set_text(ev, t.s, t.len, ret);
	default:
		return call_regex(ev, c, t, args, ret);
	}
}

int mal_method_call(struct mal_eval *ev, const struct mal_cx *c, const struct mal_value *on,
		    const struct mal_value *args, struct mal_value *ret)
{
	const struct mal_method_info *info = mal_method_info(c->method.method);
	const char *signature = info->signature;
	uint32_t id;
	int r;

	if (on->type == MAL_TYPE_ARRAY || on->type == MAL_TYPE_MATCH) {
		if (c->method.method != MAL_METHOD_SIZE)
			return mal_eval_fail(ev, "%s() of an array", info->name);
		*ret = mal_value_integer(on->type == MAL_TYPE_MATCH ? 1 : (int64_t)on->array.n);
		return 0;
	}
	if (c->method.method == MAL_METHOD_TO_STRING && on->type != MAL_TYPE_STRING) {
		r = mal_value_text(ev, on, NULL, &id);
		if (r == 0)
			*ret = mal_value_string(id);
		return r;
	}
	if (on->type != MAL_TYPE_STRING || c->method.method == MAL_METHOD_SIZE)
		return mal_eval_fail(ev, "%s() of a value that is no text", info->name);
	while (strcspn(signature, "|") != c->method.n_args)
		signature += strcspn(signature, "|") + 1;
	for (size_t i = 0; i < c->method.n_args; i++) {
		if (args[i].type != (signature[i] == 'N' ? MAL_TYPE_NUMBER : MAL_TYPE_STRING))
			return mal_eval_fail(ev, "null or a wrong value as argument of %s()",
					     info->name);
	}
	if (c->method.method == MAL_METHOD_CONCAT) {
		r = mal_value_text(ev, on, &args[0], &id);
		if (r == 0)
			*ret = mal_value_string(id);
		return r;
	}
	return call_string(ev, c, text_of(ev, on), args, ret);
}
