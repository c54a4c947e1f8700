/* SPDX-License-Identifier: Apache-2.0 */
#include "mal/rule-yaml.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* A second document behind the first one, or what is no YAML. */
static bool has_more(yaml_parser_t *parser)
{
	yaml_document_t next;
	bool more;

	if (!yaml_parser_load(parser, &next))
		return true;
	more = yaml_document_get_root_node(&next) != NULL;
	yaml_document_delete(&next);
	return more;
}

int mal_yaml_load(struct mal_yaml *y, const char *text, size_t len, struct mal_place *ret_place,
		  char *message, size_t size)
{
	yaml_parser_t parser;
	int ok;

	assert(y && text);

	*y = (struct mal_yaml){.text = text, .len = len};
	if (!yaml_parser_initialize(&parser))
		return -ENOMEM;
	yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
	ok = yaml_parser_load(&parser, &y->document);
	y->loaded = ok != 0;
	if (!ok) {
		bool memory = parser.error == YAML_MEMORY_ERROR;

		ret_place->line = (unsigned)parser.problem_mark.line + 1;
		ret_place->column = (unsigned)parser.problem_mark.column + 1;
		(void)snprintf(message, size, "expected YAML: %s",
			       parser.problem ? parser.problem : "bad text");
		yaml_parser_delete(&parser);
		return memory ? -ENOMEM : -EBADMSG;
	}
	if (yaml_document_get_root_node(&y->document) && has_more(&parser)) {
		ret_place->line = (unsigned)y->document.end_mark.line + 1;
		ret_place->column = 1;
		(void)snprintf(message, size, "expected one document in the file");
		yaml_parser_delete(&parser);
		mal_yaml_done(y);
		return -EBADMSG;
	}
	yaml_parser_delete(&parser);
	return 0;
}

void mal_yaml_done(struct mal_yaml *y)
{
	if (y->loaded)
		yaml_document_delete(&y->document);
	y->loaded = false;
	free(y->lines);
	y->lines = NULL;
	y->n_lines = 0;
}

yaml_node_t *mal_yaml_root(struct mal_yaml *y)
{
	return yaml_document_get_root_node(&y->document);
}

yaml_node_t *mal_yaml_node(struct mal_yaml *y, int id)
{
	return yaml_document_get_node(&y->document, id);
}

struct mal_place mal_yaml_place(const yaml_node_t *n)
{
	return (struct mal_place){(unsigned)n->start_mark.line + 1,
				  (unsigned)n->start_mark.column + 1};
}

bool mal_yaml_is(const yaml_node_t *scalar, const char *text)
{
	return scalar->type == YAML_SCALAR_NODE && scalar->data.scalar.length == strlen(text) &&
	       memcmp(scalar->data.scalar.value, text, scalar->data.scalar.length) == 0;
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Thousands of rules may each have an error, so the text is looked through once. False: no memory. */
static bool find_lines(struct mal_yaml *y)
{
	size_t n = 1;

	if (y->lines)
		return true;
	for (size_t i = 0; i < y->len; i++)
		n += y->text[i] == '\n';
	y->lines = calloc(n, sizeof(*y->lines));
	if (!y->lines)
		return false;
	for (size_t i = 0; i < y->len; i++)
		if (y->text[i] == '\n')
			y->lines[++y->n_lines] = (uint32_t)i + 1;
	y->n_lines++;
	return true;
}

/* The byte at which libyaml's mark (a line and a column in characters) stands. */
static size_t byte_of(const struct mal_yaml *y, const yaml_mark_t *mark)
{
	size_t pos = mark->line < y->n_lines ? y->lines[mark->line] : y->len, column = 0;

	while (pos < y->len && column < mark->column) {
		pos++;
		while (pos < y->len && ((unsigned char)y->text[pos] & 0xc0) == 0x80)
			pos++;
		column++;
	}
	return pos;
}

static struct mal_place place_of(const struct mal_yaml *y, size_t pos)
{
	size_t low = 0, high = y->n_lines;

	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if (y->lines[middle] <= pos)
			low = middle;
		else
			high = middle;
	}
	return (struct mal_place){(unsigned)low + 1, (unsigned)(pos - y->lines[low]) + 1};
}

/* Steps over one character of the value in the raw text, where it may be an escape. */
static size_t step(const struct mal_yaml *y, size_t pos, char c, yaml_scalar_style_t style)
{
	if (style == YAML_DOUBLE_QUOTED_SCALAR_STYLE && y->text[pos] == '\\' && pos + 1 < y->len)
		return pos + (c == '\\' || y->text[pos + 1] != '\\' ? 2 : 1);
	if (style == YAML_SINGLE_QUOTED_SCALAR_STYLE && y->text[pos] == '\'' && c == '\'')
		return pos + 2;
	return pos + 1;
}

struct mal_place mal_yaml_inside(struct mal_yaml *y, const yaml_node_t *scalar, size_t offset)
{
	const char *value = (const char *)scalar->data.scalar.value;
	yaml_scalar_style_t style = scalar->data.scalar.style;
	size_t pos, v = 0;

	if (!find_lines(y))
		return mal_yaml_place(scalar);
	pos = byte_of(y, &scalar->start_mark);
	if (offset > scalar->data.scalar.length)
		offset = scalar->data.scalar.length;
	if (style == YAML_SINGLE_QUOTED_SCALAR_STYLE || style == YAML_DOUBLE_QUOTED_SCALAR_STYLE)
		pos++;
	else if (style == YAML_LITERAL_SCALAR_STYLE || style == YAML_FOLDED_SCALAR_STYLE)
		while (pos < y->len && y->text[pos++] != '\n')
			;
	/* folding and indentation only change white space, so the other characters pair off */
	while (pos < y->len && is_space(y->text[pos]))
		pos++;
	while (v < scalar->data.scalar.length && is_space(value[v]))
		v++;
	while (v < offset && pos < y->len) {
		if (!is_space(value[v])) {
			pos = step(y, pos, value[v++], style);
			continue;
		}
		while (v < scalar->data.scalar.length && is_space(value[v]))
			v++;
		if (v <= offset || !is_space(y->text[pos]))
			while (pos < y->len && is_space(y->text[pos]))
				pos++;
	}
	return place_of(y, pos < y->len ? pos : y->len);
}
