/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Lexer: one token ahead over a text in memory, which need not end in NUL. Newlines mean nothing.
 * A regex is only read after `=~`, or, in expressions, behind `(` and `,`. Folder-private.
 */

#include "mal/ast.h"

enum mal_token_kind {
	MAL_TOKEN_END,
	MAL_TOKEN_IDENT,
	MAL_TOKEN_KEYWORD, /* def if else return null true false in */
	MAL_TOKEN_NUMBER,
	MAL_TOKEN_STRING, /* also a regex that stands as an argument */
	MAL_TOKEN_REGEX,
	MAL_TOKEN_OP,
	MAL_TOKEN_ERROR, /* the lexer's error says why */
};

struct mal_token {
	enum mal_token_kind kind;
	size_t offset;
	const char *text; /* as written; STRING, REGEX: decoded, in the arena */
	size_t len;
	double number;
	bool is_integer;
};

struct mal_lexer {
	const char *text; /* borrowed */
	size_t len;
	size_t pos;
	bool regex_arguments;
	struct mal_arena *arena;
	struct mal_error *error;
	struct mal_token now; /* the token to be looked at */
};

void mal_lexer_init(struct mal_lexer *l, const char *text, size_t len, bool regex_arguments,
		    struct mal_arena *arena, struct mal_error *error);

/* Moves to the next token. An ERROR token stays for ever. */
void mal_lexer_next(struct mal_lexer *l);

bool mal_token_is(const struct mal_token *t, const char *text);
