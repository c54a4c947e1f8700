/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Expressions and conditions inside a closure. Folder-private. */

#include "mal/parser.h"

int mal_parse_cx(struct mal_parser *p, struct mal_cx **ret);
int mal_parse_condition(struct mal_parser *p, struct mal_cx **ret);

/* -1: no such local. */
int mal_parse_local(const struct mal_parser *p, const struct mal_token *name);

/* --- values, which the operators stand between --- */

/* One value without operators, and what follows it by '.', '?.' and '['. */
int mal_parse_primary(struct mal_parser *p, struct mal_cx **ret);
int mal_parse_chain(struct mal_parser *p, struct mal_cx *c, struct mal_cx **ret);

/* Nodes. NULL or < 0: the error is written. */
struct mal_cx *mal_cx_new(struct mal_parser *p, enum mal_cx_kind kind, enum mal_value_type type,
			  size_t offset);
int mal_cx_binary(struct mal_parser *p, enum mal_cx_kind kind, enum mal_value_type type,
		  size_t offset, struct mal_cx *a, struct mal_cx *b, struct mal_cx **ret);
int mal_cx_string(struct mal_parser *p, const char *text, size_t len, size_t offset,
		  struct mal_cx **ret);
int mal_cx_regex(struct mal_parser *p, const char *text, size_t offset,
		 const struct mal_regex **ret);

/* A value of unknown type may be anything. */
bool mal_type_may_be(enum mal_value_type type, enum mal_value_type wanted);

/* A number, true or false is no object in Java: not for ==, ?:, def. 0, -EBADMSG. */
int mal_parse_check_object(struct mal_parser *p, const struct mal_cx *c);

/* Whether a value may stand where a condition is asked: numbers, true and false may not. 0, -EBADMSG. */
int mal_parse_check_truth(struct mal_parser *p, const struct mal_cx *c);
