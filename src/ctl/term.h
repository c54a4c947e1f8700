/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Text for terminals: whatever a server or process name holds, it cannot steer the screen. */

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/buf.h"

enum sonde_style {
	SONDE_STYLE_NONE = 0,
	SONDE_STYLE_BOLD,
	SONDE_STYLE_DIM,
	SONDE_STYLE_RED,
	SONDE_STYLE_GREEN,
	SONDE_STYLE_YELLOW,
	_SONDE_STYLE_MAX,
};

/* The escape sequence that starts @style; "" for NONE. */
const char *sonde_style_start(enum sonde_style style);
#define SONDE_STYLE_END "\033[0m"

/*
 * Appends @text with control bytes (C0, DEL, C1), bidirectional overrides and bytes that are no
 * UTF-8 written as \xNN or \u{NNNN}. Return: 0, -ENOMEM, -EMSGSIZE.
 */
int sonde_term_escape(const char *text, size_t len, struct sonde_buf *out) _must_check_;

/* Prints @text likewise, but line ends and tabs as they are. For text of several lines. */
void sonde_term_print(const char *text, size_t len, FILE *out);

/*
 * Prints JSON so that no such character is left and it reads back as the same: they can stand in its strings only, where
 * \uNNNN says them, and a CR between values is a blank.
 */
void sonde_term_print_json(const char *text, size_t len, FILE *out);

/* Columns that escaped text takes. Needs a UTF-8 LC_CTYPE for wide characters, else 1 each. */
size_t sonde_term_width(const char *text);

/* Bytes at the start of @text that fit @columns, whole characters only. */
size_t sonde_term_fit(const char *text, size_t columns);
