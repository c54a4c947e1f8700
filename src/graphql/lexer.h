/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Lexer: one token ahead over a text in memory. Commas, comments and a byte order mark mean nothing. Folder-private. */

#include "graphql/document.h"

enum graphql_token_kind {
	GRAPHQL_TOKEN_END,
	GRAPHQL_TOKEN_PUNCTUATOR, /* one byte of ! $ & ( ) : = @ [ ] { | }, or "..." */
	GRAPHQL_TOKEN_NAME,
	GRAPHQL_TOKEN_INT,
	GRAPHQL_TOKEN_FLOAT,
	GRAPHQL_TOKEN_STRING,	    /* between the quotes, not yet decoded */
	GRAPHQL_TOKEN_BLOCK_STRING, /* likewise */
};

struct graphql_token {
	enum graphql_token_kind kind;
	const char *text; /* into the source */
	size_t len;
	struct sonde_graphql_location at;
};

struct graphql_lexer {
	const char *text; /* borrowed */
	size_t len, pos;
	size_t line_start; /* offset of the line that pos is in */
	unsigned line, tokens;
	struct graphql_token now; /* the token to be looked at */
	struct sonde_graphql_error *error;
};

/* Reads the first token. Return: as graphql_lexer_next(). */
int graphql_lexer_init(struct graphql_lexer *l, const char *text, size_t len,
		       struct sonde_graphql_error *error);
/* Return: 0; -EBADMSG, -E2BIG with the error filled. */
int graphql_lexer_next(struct graphql_lexer *l);

/* Writes an error of the place @at. The macro is -EBADMSG, which every reader of it can see. */
void graphql_say(struct sonde_graphql_error *error, struct sonde_graphql_location at,
		 const char *fmt, ...) _printf_(3, 4);
#define graphql_fail(error, at, ...) (graphql_say((error), (at), __VA_ARGS__), -EBADMSG)

/*
 * Decodes a string token into @out, which has room for its len + 1 bytes, and ends it with a NUL.
 * Return: 0, -EBADMSG with the error filled.
 */
int graphql_decode_string(const struct graphql_token *t, char *out,
			  struct sonde_graphql_error *error);
/* The same for a block string: its common indentation and its blank first and last lines go. */
void graphql_decode_block(const struct graphql_token *t, char *out);
