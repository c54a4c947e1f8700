/* SPDX-License-Identifier: Apache-2.0 */
#define PCRE2_CODE_UNIT_WIDTH 8

#include "agent/sampling.h"

#include <assert.h>
#include <errno.h>
#include <jansson.h>
#include <pcre2.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void json_unrefp(json_t **j)
{
	json_decref(*j);
}

void sonde_sampling_done(struct sonde_sampling *s)
{
	if (!s)
		return;
	free(s->rules);
	*s = (struct sonde_sampling){0};
}

static int invalid(char words[SONDE_SAMPLING_WORDS_MAX], const char *fmt, ...) _printf_(2, 3);
static int invalid(char words[SONDE_SAMPLING_WORDS_MAX], const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(words, SONDE_SAMPLING_WORDS_MAX, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

static int get_bool(const json_t *o, const char *key, bool *ret,
		    char words[SONDE_SAMPLING_WORDS_MAX])
{
	const json_t *v = json_object_get(o, key);

	if (!v || json_is_null(v))
		return 0;
	if (!json_is_boolean(v))
		return invalid(words, "%s: true or false was expected", key);
	*ret = json_is_true(v);
	return 0;
}

/* Java's int. */
static int get_size(const json_t *o, const char *key, int64_t *ret,
		    char words[SONDE_SAMPLING_WORDS_MAX])
{
	const json_t *v = json_object_get(o, key);

	if (!v || json_is_null(v))
		return 0;
	if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > INT32_MAX)
		return invalid(words, "%s: a whole number from 0 to %d was expected", key,
			       INT32_MAX);
	*ret = json_integer_value(v);
	return 0;
}

static int get_regex(const json_t *o, char dst[SONDE_SAMPLING_REGEX_MAX],
		     char words[SONDE_SAMPLING_WORDS_MAX])
{
	const json_t *v = json_object_get(o, "URIRegex");
	const char *s = json_string_value(v);
	PCRE2_SIZE at = 0;
	pcre2_code *code;
	int e = 0;

	if (!v || json_is_null(v))
		return 0;
	if (!s)
		return invalid(words, "URIRegex: a string was expected");
	if (strlen(s) >= SONDE_SAMPLING_REGEX_MAX)
		return invalid(words, "URIRegex: longer than %d bytes",
			       SONDE_SAMPLING_REGEX_MAX - 1);
	code = pcre2_compile((PCRE2_SPTR)s, PCRE2_ZERO_TERMINATED, PCRE2_NEVER_BACKSLASH_C, &e, &at,
			     NULL);
	if (!code)
		return invalid(words, "URIRegex: no regular expression at byte %zu", (size_t)at);
	pcre2_code_free(code);
	(void)snprintf(dst, SONDE_SAMPLING_REGEX_MAX, "%s", s);
	return 0;
}

static int parse_settings(const json_t *o, struct sonde_sampling_rule *rule,
			  char words[SONDE_SAMPLING_WORDS_MAX])
{
	int r;

	if (!o || json_is_null(o))
		return 0;
	if (!json_is_object(o))
		return invalid(words, "Settings: an object was expected");
	r = get_bool(o, "RequireCompleteRequest", &rule->complete_request, words);
	if (r == 0)
		r = get_bool(o, "RequireCompleteResponse", &rule->complete_response, words);
	if (r == 0)
		r = get_size(o, "MaxRequestSize", &rule->max_request_bytes, words);
	return r < 0 ? r : get_size(o, "MaxResponseSize", &rule->max_response_bytes, words);
}

static int parse_rule(const json_t *o, struct sonde_sampling_rule *ret,
		      char words[SONDE_SAMPLING_WORDS_MAX])
{
	struct sonde_sampling_rule rule = {.min_duration_ms = -1};
	int r;

	if (!json_is_object(o))
		return invalid(words, "an object was expected");
	r = get_regex(o, rule.uri_regex, words);
	if (r == 0)
		r = get_size(o, "MinDuration", &rule.min_duration_ms, words);
	if (r == 0)
		r = get_bool(o, "When4xx", &rule.when_4xx, words);
	if (r == 0)
		r = get_bool(o, "When5xx", &rule.when_5xx, words);
	if (r == 0)
		r = parse_settings(json_object_get(o, "Settings"), &rule, words);
	if (r == 0)
		*ret = rule;
	return r;
}

/* The first reason stays. */
static void say(char words[SONDE_SAMPLING_WORDS_MAX], size_t i, const char *why)
{
	if (!words[0])
		(void)snprintf(words, SONDE_SAMPLING_WORDS_MAX, "NetworkSamplings[%zu]: %.100s", i,
			       why);
}

static int parse_list(const json_t *list, struct sonde_sampling *s,
		      char words[SONDE_SAMPLING_WORDS_MAX])
{
	char why[SONDE_SAMPLING_WORDS_MAX];
	int left_out = 0;

	s->rules = calloc(SONDE_SAMPLING_RULES_MAX, sizeof(s->rules[0]));
	if (!s->rules)
		return -ENOMEM;
	for (size_t i = 0; i < json_array_size(list); i++) {
		(void)snprintf(why, sizeof(why), "more than %d", SONDE_SAMPLING_RULES_MAX);
		if (s->n < SONDE_SAMPLING_RULES_MAX &&
		    parse_rule(json_array_get(list, i), &s->rules[s->n], why) == 0) {
			s->n++;
			continue;
		}
		say(words, i, why);
		left_out++;
	}
	return left_out;
}

int sonde_sampling_parse(const char *text, size_t n, struct sonde_sampling *ret,
			 char words[SONDE_SAMPLING_WORDS_MAX])
{
	_cleanup_(json_unrefp) json_t *root = NULL;
	_cleanup_(sonde_sampling_done) struct sonde_sampling s = {0};
	const json_t *list;
	int r = 0;

	assert(text && ret && words);

	words[0] = '\0';
	root = json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL);
	list = json_object_get(root, "NetworkSamplings");
	if (list && !json_is_null(list) && !json_is_array(list)) {
		(void)invalid(words, "NetworkSamplings: a list was expected");
		r = 1;
	} else if (json_array_size(list)) {
		r = parse_list(list, &s, words);
	}
	if (r < 0)
		return r;
	*ret = s;
	s = (struct sonde_sampling){0};
	return r;
}

static void remove_rule(struct sonde_sampling *s, const char *uri_regex)
{
	for (size_t i = 0; i < s->n; i++) {
		if (strcmp(s->rules[i].uri_regex, uri_regex) != 0)
			continue;
		s->n--;
		memmove(&s->rules[i], &s->rules[i + 1], (s->n - i) * sizeof(s->rules[0]));
		return;
	}
}

int sonde_sampling_merge(struct sonde_sampling *to, const struct sonde_sampling *from)
{
	int left_out = 0;

	assert(to && from);

	if (from->n == 0)
		return 0;
	if (!to->rules)
		to->rules = calloc(SONDE_SAMPLING_RULES_MAX, sizeof(to->rules[0]));
	if (!to->rules)
		return -ENOMEM;
	for (size_t i = 0; i < from->n; i++) {
		remove_rule(to, from->rules[i].uri_regex);
		if (to->n == SONDE_SAMPLING_RULES_MAX)
			left_out++;
		else
			to->rules[to->n++] = from->rules[i];
	}
	return left_out;
}
