/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Table: cells are escaped as they come in, columns are as wide as their widest
 * cell. With a width limit the columns that may be cut lose columns to it,
 * without one nothing is cut, short of the megabyte that no honest cell has.
 */

#include <stdio.h>

#include "ctl/term.h"

#define SONDE_TABLE_ROWS_MAX 100000
#define SONDE_TABLE_COLUMNS_MAX 40
#define SONDE_TABLE_CELL_MAX (1 << 20) /* bytes of a cell; the rest is cut with an ellipsis */

struct sonde_column {
	const char *name; /* a table of them ends with NULL */
	bool right;	  /* numbers */
	bool cut;	  /* may be shortened on a narrow terminal */
	bool wide;	  /* only with -o wide, -o csv or --columns */
	const char
		*unit; /* of the raw cells, such as "bytes" or "us"; NULL = none, or in the name */
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
/* @raw: what -o csv has instead: the number unscaled, the time as it was sent; NULL = nothing. */
void sonde_table_add_raw(struct sonde_table *table, enum sonde_style style, const char *text,
			 const char *raw);
void sonde_table_addf(struct sonde_table *table, const char *fmt, ...) _printf_(2, 3);
/* A cell could not be made: @error is what printing returns, if none was before. */
void sonde_table_fail(struct sonde_table *table, int error);

size_t sonde_table_rows(const struct sonde_table *table);

struct sonde_table_look {
	bool headers;
	bool color;
	unsigned int width;  /* 0 = unlimited */
	const size_t *order; /* columns to print, borrowed; NULL = all as they are */
	size_t n_order;
};

const struct sonde_column *sonde_table_columns(const struct sonde_table *table);

/* Whether sonde_table_print() shortens a cell with this look. */
bool sonde_table_is_cut(const struct sonde_table *table, const struct sonde_table_look *look);

/* Return: 0, -EIO, -ENOMEM, -E2BIG (too many rows). */
int sonde_table_print(const struct sonde_table *table, const struct sonde_table_look *look,
		      FILE *out) _must_check_;

/* One field of CSV, in quotes where it needs them; @text as it is, so what comes from outside is escaped before. */
void sonde_csv_text(const char *text, FILE *out);

/*
 * RFC 4180 with plain line ends: raw cells, "" for a "-". Heading: names in lower case with _ for blanks, and the unit behind
 * them; a text that a spreadsheet would run as a formula stands as it is. Return: as sonde_table_print().
 */
int sonde_table_csv(const struct sonde_table *table, const struct sonde_table_look *look,
		    FILE *out) _must_check_;
