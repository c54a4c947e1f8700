/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/table.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#define GAP 2	     /* blanks between columns */
#define CUT_FLOOR 12 /* a column is not cut below this */

struct cell {
	char *text; /* owned, escaped */
	size_t width;
	enum sonde_style style;
};

struct sonde_table {
	const struct sonde_column *columns;
	size_t n_columns;
	struct cell *cells;
	size_t n_cells;
	size_t cap_cells;
	int error;
};

int sonde_table_new(const struct sonde_column *columns, struct sonde_table **ret)
{
	struct sonde_table *table;

	assert(columns && ret);

	table = calloc(1, sizeof(*table));
	if (!table)
		return -ENOMEM;
	table->columns = columns;
	while (columns[table->n_columns].name)
		table->n_columns++;
	assert(table->n_columns > 0 && table->n_columns <= SONDE_TABLE_COLUMNS_MAX);
	*ret = table;
	return 0;
}

struct sonde_table *sonde_table_free(struct sonde_table *table)
{
	if (!table)
		return NULL;
	for (size_t i = 0; i < table->n_cells; i++)
		free(table->cells[i].text);
	free(table->cells);
	free(table);
	return NULL;
}

static int grow(struct sonde_table *table)
{
	size_t cap = table->cap_cells ? table->cap_cells * 2 : 64;
	struct cell *grown;

	if (table->n_cells < table->cap_cells)
		return 0;
	if (table->n_cells / table->n_columns >= SONDE_TABLE_ROWS_MAX)
		return -E2BIG;
	grown = realloc(table->cells, cap * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	table->cells = grown;
	table->cap_cells = cap;
	return 0;
}

static int add(struct sonde_table *table, enum sonde_style style, const char *text)
{
	_cleanup_buf_ struct sonde_buf out = SONDE_BUF_INIT(SONDE_TABLE_CELL_MAX * 8UL);
	size_t len = strlen(text);
	bool cut = len > SONDE_TABLE_CELL_MAX;
	struct cell cell = {.style = style};
	int r;

	r = grow(table);
	if (r < 0)
		return r;
	r = sonde_term_escape(text, cut ? SONDE_TABLE_CELL_MAX : len, &out);
	if (r == 0)
		r = sonde_buf_append(&out, "…", cut ? strlen("…") : 0);
	if (r < 0)
		return r;
	cell.width = sonde_term_width(sonde_buf_str(&out));
	cell.text = (char *)TAKE_PTR(out.data);
	table->cells[table->n_cells++] = cell;
	return 0;
}

void sonde_table_add_styled(struct sonde_table *table, enum sonde_style style, const char *text)
{
	if (table->error == 0)
		table->error = add(table, style, text ? text : "-");
}

void sonde_table_add(struct sonde_table *table, const char *text)
{
	sonde_table_add_styled(table, SONDE_STYLE_NONE, text);
}

void sonde_table_addf(struct sonde_table *table, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	sonde_table_add(table, text);
}

size_t sonde_table_rows(const struct sonde_table *table)
{
	return table->n_cells / table->n_columns;
}

static size_t total_width(const struct sonde_table *table, const size_t *widths)
{
	size_t sum = 0;

	for (size_t i = 0; i < table->n_columns; i++)
		sum += widths[i] + (i > 0 ? GAP : 0);
	return sum;
}

/* Takes from the widest column that may be cut until all fit, or none is left to cut. */
static void squeeze(const struct sonde_table *table, size_t *widths, size_t limit)
{
	while (total_width(table, widths) > limit) {
		size_t widest = SIZE_MAX;

		for (size_t i = 0; i < table->n_columns; i++) {
			if (table->columns[i].cut && widths[i] > CUT_FLOOR &&
			    (widest == SIZE_MAX || widths[i] > widths[widest]))
				widest = i;
		}
		if (widest == SIZE_MAX)
			return;
		widths[widest]--;
	}
}

static void measure(const struct sonde_table *table, const struct sonde_table_look *look,
		    size_t *widths)
{
	for (size_t i = 0; i < table->n_columns; i++)
		widths[i] = look->headers ? sonde_term_width(table->columns[i].name) : 0;
	for (size_t i = 0; i < table->n_cells; i++) {
		size_t column = i % table->n_columns;

		if (table->cells[i].width > widths[column])
			widths[column] = table->cells[i].width;
	}
	if (look->width > 0)
		squeeze(table, widths, look->width);
}

bool sonde_table_is_cut(const struct sonde_table *table, const struct sonde_table_look *look)
{
	size_t widths[SONDE_TABLE_COLUMNS_MAX];

	measure(table, look, widths);
	for (size_t i = 0; i < table->n_cells; i++) {
		if (table->cells[i].width > widths[i % table->n_columns])
			return true;
	}
	return false;
}

static void print_cell(const char *text, size_t text_width, enum sonde_style style, bool right,
		       bool last, size_t width, FILE *out)
{
	size_t bytes = strlen(text), shown = text_width;
	bool cut = text_width > width;

	if (cut) {
		bytes = sonde_term_fit(text, width - 1);
		shown = width;
	}
	if (right)
		(void)fprintf(out, "%*s", (int)(width - shown), "");
	(void)fprintf(out, "%s%.*s%s%s", sonde_style_start(style), (int)bytes, text, cut ? "…" : "",
		      style == SONDE_STYLE_NONE ? "" : SONDE_STYLE_END);
	/* no blanks at a line's end */
	if (!right && !last)
		(void)fprintf(out, "%*s", (int)(width - shown), "");
	(void)fprintf(out, "%*s", last ? 0 : GAP, "");
}

int sonde_table_print(const struct sonde_table *table, const struct sonde_table_look *look,
		      FILE *out)
{
	size_t widths[SONDE_TABLE_COLUMNS_MAX];

	if (table->error < 0)
		return table->error;
	assert(table->n_cells % table->n_columns == 0);

	measure(table, look, widths);
	for (size_t i = 0; look->headers && i < table->n_columns; i++) {
		const char *name = table->columns[i].name;

		print_cell(name, sonde_term_width(name),
			   look->color ? SONDE_STYLE_BOLD : SONDE_STYLE_NONE,
			   table->columns[i].right, i + 1 == table->n_columns, widths[i], out);
	}
	if (look->headers)
		(void)fputc('\n', out);
	for (size_t i = 0; i < table->n_cells; i++) {
		const struct cell *cell = &table->cells[i];
		size_t column = i % table->n_columns;
		bool last = column + 1 == table->n_columns;

		print_cell(cell->text, cell->width, look->color ? cell->style : SONDE_STYLE_NONE,
			   table->columns[column].right, last, widths[column], out);
		if (last)
			(void)fputc('\n', out);
	}
	return ferror(out) ? -EIO : 0;
}
