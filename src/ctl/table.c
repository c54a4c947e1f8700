/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/table.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#define GAP 2	     /* blanks between columns */
#define CUT_FLOOR 12 /* a column is not cut below this */

struct cell {
	char *text; /* owned, escaped */
	char *raw;  /* owned, escaped; NULL = as text */
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
	for (size_t i = 0; i < table->n_cells; i++) {
		free(table->cells[i].text);
		free(table->cells[i].raw);
	}
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

/* "" has no memory of its own in a buffer. */
static int escaped(const char *text, char **ret)
{
	_cleanup_buf_ struct sonde_buf out = SONDE_BUF_INIT(8UL * SONDE_TABLE_CELL_MAX);
	size_t len = strlen(text);
	bool cut = len > SONDE_TABLE_CELL_MAX;
	int r;

	r = sonde_term_escape(text, cut ? SONDE_TABLE_CELL_MAX : len, &out);
	if (r == 0)
		r = sonde_buf_append(&out, "…", cut ? strlen("…") : 0);
	if (r < 0)
		return r;
	*ret = out.data ? (char *)TAKE_PTR(out.data) : strdup("");
	return *ret ? 0 : -ENOMEM;
}

static int add(struct sonde_table *table, enum sonde_style style, const char *text, const char *raw)
{
	_cleanup_free_ char *shown = NULL, *plain = NULL;
	size_t width;
	int r;

	r = grow(table);
	if (r == 0)
		r = escaped(text ? text : "-", &shown);
	/* without a text there is nothing, which is not the "-" that stands for it */
	if (r == 0 && (raw || !text))
		r = escaped(raw ? raw : "", &plain);
	if (r < 0)
		return r;
	width = sonde_term_width(shown);
	table->cells[table->n_cells++] = (struct cell){
		.width = width,
		.style = style,
		.text = TAKE_PTR(shown),
		.raw = TAKE_PTR(plain),
	};
	return 0;
}

void sonde_table_add_raw(struct sonde_table *table, enum sonde_style style, const char *text,
			 const char *raw)
{
	if (table->error == 0)
		table->error = add(table, style, text, raw);
}

void sonde_table_add_styled(struct sonde_table *table, enum sonde_style style, const char *text)
{
	sonde_table_add_raw(table, style, text, NULL);
}

void sonde_table_add(struct sonde_table *table, const char *text)
{
	sonde_table_add_styled(table, SONDE_STYLE_NONE, text);
}

void sonde_table_addf(struct sonde_table *table, const char *fmt, ...)
{
	_cleanup_free_ char *text = NULL;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (n < 0) {
		text = NULL;
		sonde_table_fail(table, -ENOMEM);
		return;
	}
	sonde_table_add(table, text);
}

void sonde_table_fail(struct sonde_table *table, int error)
{
	assert(error < 0);

	if (table->error == 0)
		table->error = error;
}

size_t sonde_table_rows(const struct sonde_table *table)
{
	return table->n_cells / table->n_columns;
}

const struct sonde_column *sonde_table_columns(const struct sonde_table *table)
{
	return table->columns;
}

/* The columns to print: those of the look, else all. Returns how many. */
static size_t order_of(const struct sonde_table *table, const struct sonde_table_look *look,
		       size_t ret[static SONDE_TABLE_COLUMNS_MAX])
{
	size_t n = look->order ? look->n_order : table->n_columns;

	for (size_t i = 0; i < n; i++)
		ret[i] = look->order ? look->order[i] : i;
	return n;
}

static size_t total_width(const size_t *order, size_t n, const size_t *widths)
{
	size_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += widths[order[i]] + (i > 0 ? GAP : 0);
	return sum;
}

/* Takes from the widest column that may be cut until all fit, or none is left to cut. */
static void squeeze(const struct sonde_table *table, const size_t *order, size_t n, size_t *widths,
		    size_t limit)
{
	while (total_width(order, n, widths) > limit) {
		size_t widest = SIZE_MAX;

		for (size_t i = 0; i < n; i++) {
			size_t c = order[i];

			if (table->columns[c].cut && widths[c] > CUT_FLOOR &&
			    (widest == SIZE_MAX || widths[c] > widths[widest]))
				widest = c;
		}
		if (widest == SIZE_MAX)
			return;
		widths[widest]--;
	}
}

static void measure(const struct sonde_table *table, const struct sonde_table_look *look,
		    const size_t *order, size_t n, size_t *widths)
{
	for (size_t i = 0; i < table->n_columns; i++)
		widths[i] = look->headers ? sonde_term_width(table->columns[i].name) : 0;
	for (size_t i = 0; i < table->n_cells; i++) {
		size_t column = i % table->n_columns;

		if (table->cells[i].width > widths[column])
			widths[column] = table->cells[i].width;
	}
	if (look->width > 0)
		squeeze(table, order, n, widths, look->width);
}

bool sonde_table_is_cut(const struct sonde_table *table, const struct sonde_table_look *look)
{
	size_t widths[SONDE_TABLE_COLUMNS_MAX] = {0}, order[SONDE_TABLE_COLUMNS_MAX] = {0}, n;

	n = order_of(table, look, order);
	measure(table, look, order, n, widths);
	for (size_t i = 0; i < table->n_cells; i += table->n_columns) {
		for (size_t c = 0; c < n; c++) {
			if (table->cells[i + order[c]].width > widths[order[c]])
				return true;
		}
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
	size_t widths[SONDE_TABLE_COLUMNS_MAX] = {0}, order[SONDE_TABLE_COLUMNS_MAX] = {0}, n;

	if (table->error < 0)
		return table->error;
	assert(table->n_cells % table->n_columns == 0);

	n = order_of(table, look, order);
	measure(table, look, order, n, widths);
	for (size_t i = 0; look->headers && i < n; i++) {
		const struct sonde_column *column = &table->columns[order[i]];

		print_cell(column->name, sonde_term_width(column->name),
			   look->color ? SONDE_STYLE_BOLD : SONDE_STYLE_NONE, column->right,
			   i + 1 == n, widths[order[i]], out);
	}
	if (look->headers)
		(void)fputc('\n', out);
	for (size_t row = 0; row < table->n_cells; row += table->n_columns) {
		for (size_t i = 0; i < n; i++) {
			const struct cell *cell = &table->cells[row + order[i]];

			print_cell(cell->text, cell->width,
				   look->color ? cell->style : SONDE_STYLE_NONE,
				   table->columns[order[i]].right, i + 1 == n, widths[order[i]],
				   out);
		}
		(void)fputc('\n', out);
	}
	return ferror(out) ? -EIO : 0;
}

void sonde_csv_text(const char *text, FILE *out)
{
	if (!text[strcspn(text, ",\"\r\n")] && text[0] != ' ') {
		(void)fputs(text, out);
		return;
	}
	(void)fputc('"', out);
	for (; *text; text++) {
		if (*text == '"')
			(void)fputc('"', out);
		(void)fputc(*text, out);
	}
	(void)fputc('"', out);
}

static void csv_heading(const struct sonde_column *column, FILE *out)
{
	char name[64];
	size_t n;

	(void)snprintf(name, sizeof(name), "%s%s%s", column->name, column->unit ? "_" : "",
		       column->unit ? column->unit : "");
	n = strlen(name);
	for (size_t i = 0; i < n; i++)
		name[i] = name[i] == ' ' ? '_' : (char)tolower((unsigned char)name[i]);
	sonde_csv_text(name, out);
}

int sonde_table_csv(const struct sonde_table *table, const struct sonde_table_look *look, FILE *out)
{
	size_t order[SONDE_TABLE_COLUMNS_MAX] = {0}, n;

	if (table->error < 0)
		return table->error;
	assert(table->n_cells % table->n_columns == 0);

	n = order_of(table, look, order);
	for (size_t i = 0; look->headers && i < n; i++) {
		(void)fputs(i > 0 ? "," : "", out);
		csv_heading(&table->columns[order[i]], out);
	}
	if (look->headers)
		(void)fputc('\n', out);
	for (size_t row = 0; row < table->n_cells; row += table->n_columns) {
		for (size_t i = 0; i < n; i++) {
			const struct cell *cell = &table->cells[row + order[i]];

			(void)fputs(i > 0 ? "," : "", out);
			sonde_csv_text(cell->raw ? cell->raw : cell->text, out);
		}
		(void)fputc('\n', out);
	}
	return ferror(out) ? -EIO : 0;
}
