/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Expressions and conditions inside a closure. Folder-private. */

#include "mal/parser.h"

int mal_parse_cx(struct mal_parser *p, struct mal_cx **ret);
int mal_parse_condition(struct mal_parser *p, struct mal_cx **ret);

/* -1: no such local. */
int mal_parse_local(const struct mal_parser *p, const struct mal_token *name);
