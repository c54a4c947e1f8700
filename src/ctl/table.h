/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Table: cells are escaped as they come in, columns are as wide as their widest
 * cell. With a width limit the columns that may be cut lose columns to it,
 * without one nothing is ever cut.
 */

#include <stdio.h>

#include "ctl/term.h"

#define SONDE_TABLE_ROWS_MAX 100000
#define SONDE_TABLE_COLUMNS_MAX 40
#define SONDE_TABLE_CELL_MAX 4096 /* bytes of a cell; the rest is cut with an ellipsis */

struct sonde_column {
	const char *name; /* a table of them ends with NULL */
	bool right;	  /* numbers */
	bool cut;	  /* may be shortened on a narrow terminal */
};

struct sonde_table;

/* @columns is borrowed for the table's life. Return: 0, -ENOMEM. */
int sonde_table_new(const struct sonde_column *columns, struct sonde_table **ret) _must_check_;
struct sonde_table *sonde_table_free(struct sonde_table *table);
SONDE_DEFINE_CLEANUP(struct sonde_table *, sonde_table_free)

/*
 * Adds the next cell, left to right, row by row. NULL text is "-". After a failure (memory, too
 * many rows) all later ones are ignored and sonde_table_print() returns it: no check in between.
 */
void sonde_table_add(struct sonde_table *table, const char *text);
void sonde_table_add_styled(struct sonde_table *table, enum sonde_style style, const char *text);
void sonde_table_addf(struct sonde_table *table, const char *fmt, ...) _printf_(2, 3);

size_t sonde_table_rows(const struct sonde_table *table);

struct sonde_table_look {
	bool headers;
	bool color;
	unsigned int width; /* 0 = unlimited */
};

/* Whether sonde_table_print() shortens a cell with this look. */
bool sonde_table_is_cut(const struct sonde_table *table, const struct sonde_table_look *look);

/* Return: 0, -EIO, -ENOMEM, -E2BIG (too many rows). */
int sonde_table_print(const struct sonde_table *table, const struct sonde_table_look *look,
		      FILE *out) _must_check_;
