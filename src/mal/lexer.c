/* SPDX-License-Identifier: Apache-2.0 */
#include "mal/lexer.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/num.h"

static const char *const keywords[] = {"def",  "if",   "else",	"return",
				       "null", "true", "false", "in"};

/* Longest first. */
static const char *const operators[] = {
	"==", "!=", "&&", "||", ">=", "<=", "=~", "?:", "?.", "::", "->", "+", "-", "*", "/",
	"!",  ">",  "<",  "=",	"?",  ":",  ".",  ",",	";",  "(",  ")",  "[", "]", "{", "}"};

static bool is_ident_start(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static void fail(struct mal_lexer *l, size_t offset, const char *message)
{
	l->error->offset = offset;
	(void)snprintf(l->error->message, sizeof(l->error->message), "%s", message);
	l->now = (struct mal_token){.kind = MAL_TOKEN_ERROR, .offset = offset, .text = ""};
}

static char at(const struct mal_lexer *l, size_t i)
{
	return i < l->len ? l->text[i] : '\0';
}

/* False: a comment that does not end. */
static bool skip_space(struct mal_lexer *l)
{
	for (;;) {
		char c = at(l, l->pos);

		if (c == ' ' || c == '\t' || c == '\r' || c == '\n') {
			l->pos++;
		} else if (c == '/' && at(l, l->pos + 1) == '/') {
			while (l->pos < l->len && l->text[l->pos] != '\n')
				l->pos++;
		} else if (c == '/' && at(l, l->pos + 1) == '*') {
			size_t start = l->pos;

			l->pos += 2;
			while (!(at(l, l->pos) == '*' && at(l, l->pos + 1) == '/')) {
				if (l->pos >= l->len) {
					fail(l, start, "expected '*/' at the end of the comment");
					return false;
				}
				l->pos++;
			}
			l->pos += 2;
		} else {
			return true;
		}
	}
}

static void lex_ident(struct mal_lexer *l)
{
	size_t start = l->pos;

	while (is_ident_start(at(l, l->pos)) || is_digit(at(l, l->pos)))
		l->pos++;
	l->now.kind = MAL_TOKEN_IDENT;
	l->now.len = l->pos - start;
	for (size_t i = 0; i < ELEMENTS_OF(keywords); i++)
		if (mal_token_is(&l->now, keywords[i]))
			l->now.kind = MAL_TOKEN_KEYWORD;
}

static void lex_number(struct mal_lexer *l)
{
	char buf[64];
	size_t start = l->pos;

	while (is_digit(at(l, l->pos)))
		l->pos++;
	l->now.is_integer = true;
	if (at(l, l->pos) == '.' && is_digit(at(l, l->pos + 1))) {
		l->now.is_integer = false;
		l->pos++;
		while (is_digit(at(l, l->pos)))
			l->pos++;
	}
	l->now.len = l->pos - start;
	if (l->now.len >= sizeof(buf)) {
		fail(l, start, "expected a number of less than 64 digits");
		return;
	}
	memcpy(buf, l->text + start, l->now.len);
	buf[l->now.len] = 0;
	if (sonde_parse_double(buf, &l->now.number) < 0) {
		fail(l, start, "expected a number");
		return;
	}
	l->now.kind = MAL_TOKEN_NUMBER;
}

/* One escape at @p (behind the backslash): decoded into @out, or kept as it is. Returns the bytes written, 0: bad. */
static size_t unescape(char c, char *out)
{
	static const char plain[] = "\\\\n\nr\rt\t\"\"''";

	for (size_t i = 0; i + 1 < sizeof(plain); i += 2) {
		if (plain[i] == c) {
			out[0] = plain[i + 1];
			return 1;
		}
	}
	/* the lexer of OAP admits these and its decoder leaves them alone */
	if (c == 'b' || c == 'f' || (c >= '0' && c <= '7')) {
		out[0] = '\\';
		out[1] = c;
		return 2;
	}
	return 0;
}

/* Bytes that the string behind the quote needs at most: decoding never makes it longer. */
static size_t string_room(const struct mal_lexer *l, char quote)
{
	size_t end = l->pos;

	while (end < l->len && l->text[end] != quote && l->text[end] != '\n')
		end += l->text[end] == '\\' ? 2 : 1;
	return end - l->pos + 2;
}

static void lex_string(struct mal_lexer *l)
{
	size_t start = l->pos, n = 0;
	char quote = l->text[l->pos++], *out;

	out = mal_arena_alloc(l->arena, string_room(l, quote));
	if (!out) {
		fail(l, start, "out of memory");
		return;
	}
	for (;;) {
		char c = at(l, l->pos);

		if (l->pos >= l->len || c == '\n' || c == '\r') {
			fail(l, start, "expected a closing quote on the same line");
			return;
		}
		if (c == 0) {
			fail(l, l->pos, "a string cannot hold a NUL byte");
			return;
		}
		l->pos++;
		if (c == quote)
			break;
		if (c != '\\') {
			out[n++] = c;
			continue;
		}
		size_t k = unescape(at(l, l->pos), out + n);

		if (k == 0) {
			fail(l, l->pos - 1,
			     "expected one of \\b \\t \\n \\f \\r \\\" \\' \\\\ (a regex needs \\\\)");
			return;
		}
		n += k;
		l->pos++;
	}
	out[n] = 0;
	l->now.kind = MAL_TOKEN_STRING;
	l->now.text = out;
	l->now.len = n;
}

/* "/body/": false where there is no body on this line. */
static bool lex_regex(struct mal_lexer *l, bool with_escapes, enum mal_token_kind kind)
{
	size_t p = l->pos + 1;

	while (p < l->len && l->text[p] != '/' && l->text[p] != '\n' && l->text[p] != '\r' &&
	       l->text[p])
		p += with_escapes && l->text[p] == '\\' ? 2 : 1;
	if (p >= l->len || l->text[p] != '/' || p == l->pos + 1)
		return false;
	l->now.text = mal_arena_strndup(l->arena, l->text + l->pos + 1, p - l->pos - 1);
	if (!l->now.text)
		return false;
	l->now.len = p - l->pos - 1;
	l->now.kind = kind;
	l->pos = p + 1;
	return true;
}

static void lex_operator(struct mal_lexer *l)
{
	char message[64], c = l->text[l->pos];

	for (size_t i = 0; i < ELEMENTS_OF(operators); i++) {
		size_t n = strlen(operators[i]);

		if (n <= l->len - l->pos && memcmp(operators[i], l->text + l->pos, n) == 0) {
			l->now.kind = MAL_TOKEN_OP;
			l->now.len = n;
			l->pos += n;
			return;
		}
	}
	(void)snprintf(message, sizeof(message),
		       c > ' ' && c < 0x7f ? "unexpected character '%c'" : "unexpected byte", c);
	fail(l, l->pos, message);
}

void mal_lexer_next(struct mal_lexer *l)
{
	bool after_match, after_comma;
	char c;

	if (l->now.kind == MAL_TOKEN_ERROR)
		return;
	after_match = mal_token_is(&l->now, "=~") && l->now.kind == MAL_TOKEN_OP;
	after_comma = l->regex_arguments && l->now.kind == MAL_TOKEN_OP &&
		      (mal_token_is(&l->now, "(") || mal_token_is(&l->now, ","));
	if (!skip_space(l))
		return;
	l->now = (struct mal_token){.offset = l->pos, .text = l->text + l->pos};
	if (l->pos >= l->len)
		return;
	c = l->text[l->pos];
	if (c == '/' && after_match) {
		if (!lex_regex(l, true, MAL_TOKEN_REGEX))
			fail(l, l->pos, "expected a regex: /…/");
	} else if (c == '/' && after_comma && lex_regex(l, false, MAL_TOKEN_STRING)) {
		return;
	} else if (is_ident_start(c)) {
		lex_ident(l);
	} else if (is_digit(c)) {
		lex_number(l);
	} else if (c == '\'' || c == '"') {
		lex_string(l);
	} else {
		lex_operator(l);
	}
}

void mal_lexer_init(struct mal_lexer *l, const char *text, size_t len, bool regex_arguments,
		    struct mal_arena *arena, struct mal_error *error)
{
	assert(l && (text || len == 0));

	*l = (struct mal_lexer){.text = text,
				.len = len,
				.regex_arguments = regex_arguments,
				.arena = arena,
				.error = error};
	mal_lexer_next(l);
}

bool mal_token_is(const struct mal_token *t, const char *text)
{
	size_t n = strlen(text);

	return t->kind != MAL_TOKEN_STRING && t->kind != MAL_TOKEN_REGEX && t->len == n &&
	       memcmp(t->text, text, n) == 0;
}
