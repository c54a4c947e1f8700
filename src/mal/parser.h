/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Parser: text to syntax, the whole grammar of mal-semantics 1.2 and 1.3. Recursive descent, bounded
 * by depth and number of nodes. It knows forms; names, types and arity are the checker's. Folder-private.
 */

#include "mal/lexer.h"

struct mal_parser {
	struct mal_program *program;
	struct mal_lexer lexer;
	struct mal_error *error;
	unsigned depth;
	unsigned nodes;
	bool shared;	       /* the text is part of every rule of the file */
	bool prefixed;	       /* metric references get the file's prefix */
	struct mal_expr *head; /* not yet used: the text begins behind it */
	/* of the closure that is being read */
	enum mal_closure_kind closure;
	bool in_condition; /* a comparison may stand here without being a ternary */
	struct {
		const char *name;
		size_t len;
		enum mal_value_type type;
	} locals[MAL_LOCALS_MAX];
	size_t n_locals;
};

enum mal_text_kind {
	MAL_TEXT_EXP,	       /* a rule's exp */
	MAL_TEXT_EXP_PREFIXED, /* the same in a file that has an expPrefix */
	MAL_TEXT_CHAIN,	       /* expPrefix or expSuffix: begins with a method name */
};

/* Return: 0; -EBADMSG with *@error filled; -ENOMEM. */
int mal_parse_expr(struct mal_program *p, enum mal_text_kind kind, const char *text, size_t len,
		   struct mal_error *error, struct mal_expr **ret) _must_check_;

/* The file's filter. */
int mal_parse_filter(struct mal_program *p, const char *text, size_t len, struct mal_error *error,
		     struct mal_closure **ret) _must_check_;

/* --- between the parser's two halves --- */

/* Writes the error: the first one stays. The macro is -EBADMSG, which every reader of it can see. */
void mal_parse_say(struct mal_parser *p, size_t offset, const char *fmt, ...) _printf_(3, 4);
#define mal_parse_fail(p, ...) (mal_parse_say((p), __VA_ARGS__), -EBADMSG)

/* "expected @what, found …" at the token to be looked at. */
void mal_parse_say_expected(struct mal_parser *p, const char *what);
#define mal_parse_expected(p, what) (mal_parse_say_expected((p), (what)), -EBADMSG)

bool mal_parse_at(const struct mal_parser *p, const char *op);
bool mal_parse_skip(struct mal_parser *p, const char *op);
int mal_parse_need(struct mal_parser *p, const char *op);

/* The arena's memory for one node; counts it. NULL: the error is written. */
void *mal_parse_node(struct mal_parser *p, size_t size);

/* -EBADMSG when too deep; the caller leaves again with depth--. */
int mal_parse_enter(struct mal_parser *p);

int mal_parse_string_id(struct mal_parser *p, const char *text, size_t len, uint32_t *ret);

/* At '{'. */
int mal_parse_closure(struct mal_parser *p, enum mal_closure_kind kind, struct mal_closure **ret);

/* "sum" to its function. -ENOENT: no such function. */
int mal_fn_by_name(const char *name, size_t len, enum mal_fn *ret);
const char *mal_fn_name(enum mal_fn fn);

/*
 * Forms of a function's arguments, separated by '|': S string, s string or null, N number, L string
 * list, l string list or null, n number list, C closure, c closure or null, X family or number,
 * Y Layer, D DetectPoint, K K8sRetagType, A downsampling, U TimeUnit, * pairs of string and (string or null).
 */
const char *mal_fn_signature(enum mal_fn fn);

int mal_enum_member(enum mal_enum_type type, const char *name, size_t len, int *ret);

/* The number of a list of strings. Return: 0, -ENOMEM, -E2BIG. */
int mal_program_list(struct mal_program *p, const uint32_t *ids, size_t n,
		     uint32_t *ret) _must_check_;

/* Compiles into the program's list. Return: 0, -EINVAL with @message filled, -ENOMEM. */
int mal_regex_new(struct mal_program *p, const char *pattern, char *message, size_t size,
		  const struct mal_regex **ret);
