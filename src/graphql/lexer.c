/* SPDX-License-Identifier: Apache-2.0 */
#include "graphql/lexer.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

void graphql_say(struct sonde_graphql_error *error, struct sonde_graphql_location at,
		 const char *fmt, ...)
{
	va_list ap;

	error->at = at;
	va_start(ap, fmt);
	(void)vsnprintf(error->message, sizeof(error->message), fmt, ap);
	va_end(ap);
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_name_start(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static struct sonde_graphql_location here(const struct graphql_lexer *l)
{
	return (struct sonde_graphql_location){l->line, (unsigned)(l->pos - l->line_start + 1)};
}

/* At @offset behind the position; NUL at the end, which is no source character. */
static char peek(const struct graphql_lexer *l, size_t offset)
{
	return l->len - l->pos > offset ? l->text[l->pos + offset] : '\0';
}

/* At a line terminator: LF, CR or CR LF. */
static void new_line(struct graphql_lexer *l)
{
	l->pos += peek(l, 0) == '\r' && peek(l, 1) == '\n' ? 2 : 1;
	l->line++;
	l->line_start = l->pos;
}

static bool is_line_end(char c)
{
	return c == '\n' || c == '\r';
}

/* One source character: a tab, a space, or anything printable that is UTF-8. */
static int skip_character(struct graphql_lexer *l)
{
	unsigned char c = (unsigned char)l->text[l->pos];
	size_t n = sonde_utf8_length(l->text + l->pos, l->len - l->pos);

	if (n == 0)
		return graphql_fail(l->error, here(l), "the text is not UTF-8");
	if (c < 0x20 && c != '\t')
		return graphql_fail(l->error, here(l), "invalid character U+%04X", c);
	l->pos += n;
	return 0;
}

static int skip_comment(struct graphql_lexer *l)
{
	int r = 0;

	while (l->pos < l->len && !is_line_end(l->text[l->pos]) && r == 0)
		r = skip_character(l);
	return r;
}

static int skip_ignored(struct graphql_lexer *l)
{
	int r = 0;

	while (l->pos < l->len && r == 0) {
		char c = l->text[l->pos];

		if (is_line_end(c))
			new_line(l);
		else if (c == ' ' || c == '\t' || c == ',')
			l->pos++;
		else if (c == '#')
			r = skip_comment(l);
		else
			break;
	}
	return r;
}

static void skip_digits(struct graphql_lexer *l)
{
	while (is_digit(peek(l, 0)))
		l->pos++;
}

static int read_number(struct graphql_lexer *l)
{
	l->now.kind = GRAPHQL_TOKEN_INT;
	if (peek(l, 0) == '-')
		l->pos++;
	if (!is_digit(peek(l, 0)))
		return graphql_fail(l->error, here(l), "a digit was expected behind '-'");
	if (peek(l, 0) == '0' && is_digit(peek(l, 1)))
		return graphql_fail(l->error, here(l), "a number does not begin with 0");
	skip_digits(l);
	if (peek(l, 0) == '.' && is_digit(peek(l, 1))) {
		l->now.kind = GRAPHQL_TOKEN_FLOAT;
		l->pos++;
		skip_digits(l);
	}
	if (peek(l, 0) == 'e' || peek(l, 0) == 'E') {
		l->now.kind = GRAPHQL_TOKEN_FLOAT;
		l->pos += peek(l, 1) == '+' || peek(l, 1) == '-' ? 2 : 1;
		if (!is_digit(peek(l, 0)))
			return graphql_fail(l->error, here(l), "a number lacks its exponent");
		skip_digits(l);
	}
	if (peek(l, 0) == '.' || is_name_start(peek(l, 0)))
		return graphql_fail(l->error, here(l), "a number cannot go on like this");
	return 0;
}

static int read_block_string(struct graphql_lexer *l)
{
	l->now.kind = GRAPHQL_TOKEN_BLOCK_STRING;
	l->pos += 3;
	l->now.text = l->text + l->pos;
	while (l->pos < l->len) {
		int r = 0;

		if (peek(l, 0) == '"' && peek(l, 1) == '"' && peek(l, 2) == '"') {
			l->now.len = (size_t)(l->text + l->pos - l->now.text);
			l->pos += 3;
			return 0;
		}
		if (peek(l, 0) == '\\' && peek(l, 1) == '"' && peek(l, 2) == '"' &&
		    peek(l, 3) == '"')
			l->pos += 4;
		else if (is_line_end(l->text[l->pos]))
			new_line(l);
		else
			r = skip_character(l);
		if (r < 0)
			return r;
	}
	return graphql_fail(l->error, l->now.at, "a string does not end");
}

static int read_string(struct graphql_lexer *l)
{
	int r;

	if (peek(l, 1) == '"' && peek(l, 2) == '"')
		return read_block_string(l);
	l->now.kind = GRAPHQL_TOKEN_STRING;
	l->now.text = l->text + ++l->pos;
	while (l->pos < l->len && !is_line_end(l->text[l->pos])) {
		if (l->text[l->pos] == '"') {
			l->now.len = (size_t)(l->text + l->pos - l->now.text);
			l->pos++;
			return 0;
		}
		if (l->text[l->pos] == '\\' && (peek(l, 1) == '"' || peek(l, 1) == '\\')) {
			l->pos += 2;
			continue;
		}
		r = skip_character(l);
		if (r < 0)
			return r;
	}
	return graphql_fail(l->error, l->now.at, "a string does not end");
}

static int read_punctuator(struct graphql_lexer *l)
{
	char c = l->text[l->pos];

	l->now.kind = GRAPHQL_TOKEN_PUNCTUATOR;
	if (c == '.' && peek(l, 1) == '.' && peek(l, 2) == '.') {
		l->pos += 3;
		return 0;
	}
	if (c == '\0' || !strchr("!$&():=@[]{|}", c))
		return graphql_fail(l->error, l->now.at, "unexpected character U+%04X",
				    (unsigned char)c);
	l->pos++;
	return 0;
}

int graphql_lexer_next(struct graphql_lexer *l)
{
	int r = skip_ignored(l);
	char c;

	if (r < 0)
		return r;
	l->now = (struct graphql_token){.text = l->text + l->pos, .at = here(l)};
	if (l->pos == l->len) {
		l->now.kind = GRAPHQL_TOKEN_END;
		return 0;
	}
	if (++l->tokens > SONDE_GRAPHQL_TOKENS_MAX) {
		graphql_say(l->error, l->now.at, "more than %d tokens", SONDE_GRAPHQL_TOKENS_MAX);
		return -E2BIG;
	}
	c = l->text[l->pos];
	if (is_name_start(c)) {
		l->now.kind = GRAPHQL_TOKEN_NAME;
		while (is_name_start(peek(l, 0)) || is_digit(peek(l, 0)))
			l->pos++;
	} else if (c == '-' || is_digit(c)) {
		r = read_number(l);
	} else if (c == '"') {
		return read_string(l);
	} else {
		r = read_punctuator(l);
	}
	l->now.len = (size_t)(l->text + l->pos - l->now.text);
	return r;
}

int graphql_lexer_init(struct graphql_lexer *l, const char *text, size_t len,
		       struct sonde_graphql_error *error)
{
	*l = (struct graphql_lexer){.text = text, .len = len, .line = 1, .error = error};
	if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
		l->pos = l->line_start = 3;
	return graphql_lexer_next(l);
}

/* --- strings --- */

static int hex4(const char *p, const char *end, unsigned *ret)
{
	unsigned value = 0;

	if (end - p < 4)
		return -EBADMSG;
	for (int i = 0; i < 4; i++) {
		char c = p[i];

		if (is_digit(c))
			value = value << 4 | (unsigned)(c - '0');
		else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
			value = value << 4 | (unsigned)((c | 0x20) - 'a' + 10);
		else
			return -EBADMSG;
	}
	*ret = value;
	return 0;
}

static char *put_utf8(char *out, unsigned c)
{
	if (c < 0x80) {
		*out++ = (char)c;
	} else if (c < 0x800) {
		*out++ = (char)(0xc0 | c >> 6);
		*out++ = (char)(0x80 | (c & 0x3f));
	} else if (c < 0x10000) {
		*out++ = (char)(0xe0 | c >> 12);
		*out++ = (char)(0x80 | (c >> 6 & 0x3f));
		*out++ = (char)(0x80 | (c & 0x3f));
	} else {
		*out++ = (char)(0xf0 | c >> 18);
		*out++ = (char)(0x80 | (c >> 12 & 0x3f));
		*out++ = (char)(0x80 | (c >> 6 & 0x3f));
		*out++ = (char)(0x80 | (c & 0x3f));
	}
	return out;
}

/* Behind "\u". A pair of surrogates is one character; one alone is none, and NUL would end the string. */
static int decode_unicode(const char **p, const char *end, char **out)
{
	unsigned c, low;

	if (hex4(*p, end, &c) < 0)
		return -EBADMSG;
	*p += 4;
	if (c >= 0xd800 && c < 0xdc00) {
		if (end - *p < 6 || (*p)[0] != '\\' || (*p)[1] != 'u' ||
		    hex4(*p + 2, end, &low) < 0 || low < 0xdc00 || low > 0xdfff)
			return -EBADMSG;
		*p += 6;
		c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
	}
	if (c == 0 || (c >= 0xd800 && c < 0xe000))
		return -EBADMSG;
	*out = put_utf8(*out, c);
	return 0;
}

int graphql_decode_string(const struct graphql_token *t, char *out,
			  struct sonde_graphql_error *error)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	const char *p = t->text, *end = t->text + t->len, *found;

	while (p < end) {
		if (*p != '\\') {
			*out++ = *p++;
			continue;
		}
		p++;
		found = p < end && *p != '\0' ? strchr(from, *p) : NULL;
		if (found) {
			*out++ = to[found - from];
			p++;
		} else if (p < end && *p == 'u') {
			p++;
			if (decode_unicode(&p, end, &out) < 0)
				return graphql_fail(error, t->at, "a string has a bad \\u escape");
		} else {
			return graphql_fail(error, t->at, "a string has a bad escape");
		}
	}
	*out = '\0';
	return 0;
}

/* The line that begins at @p, without its end; *@next: the one behind it, NULL on the last. */
static size_t line_length(const char *p, const char *end, const char **next)
{
	const char *at = p;

	while (at < end && !is_line_end(*at))
		at++;
	if (at == end)
		*next = NULL;
	else
		*next = at + (*at == '\r' && at + 1 < end && at[1] == '\n' ? 2 : 1);
	return (size_t)(at - p);
}

static size_t indentation(const char *p, size_t n)
{
	size_t i = 0;

	while (i < n && (p[i] == ' ' || p[i] == '\t'))
		i++;
	return i;
}

/* Of all lines but the first that are not blank. */
static size_t common_indentation(const struct graphql_token *t)
{
	const char *end = t->text + t->len, *next = NULL;
	size_t common = SIZE_MAX;

	(void)line_length(t->text, end, &next);
	for (const char *p = next; p; p = next) {
		size_t n = line_length(p, end, &next), i = indentation(p, n);

		if (i < n && i < common)
			common = i;
	}
	return common == SIZE_MAX ? 0 : common;
}

static char *copy_line(char *out, const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (n - i >= 4 && memcmp(p + i, "\\\"\"\"", 4) == 0)
			continue; /* the backslash alone goes */
		*out++ = p[i];
	}
	return out;
}

void graphql_decode_block(const struct graphql_token *t, char *out)
{
	const char *end = t->text + t->len, *next = NULL;
	size_t common = common_indentation(t);
	bool any = false;
	char *last = out; /* behind the last line that is not blank */

	for (const char *p = t->text; p; p = next) {
		size_t n = line_length(p, end, &next), skip = p == t->text ? 0 : common;
		bool blank = indentation(p, n) == n;

		if (blank && !any)
			continue;
		if (any)
			*out++ = '\n';
		if (n > skip)
			out = copy_line(out, p + skip, n - skip);
		any = true;
		if (!blank)
			last = out;
	}
	*last = '\0';
}
