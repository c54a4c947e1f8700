/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/output.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "ctl/fetch.h"
#include "ctl/jsonpath.h"
#include "ctl/term.h"

#define DATA_MAX (2 * SONDE_REST_BODY_MAX) /* bytes of what a template makes of an answer */

const char *const sonde_cli_form_names[] = {
	[SONDE_CLI_FORM_TABLE] = "table",     [SONDE_CLI_FORM_WIDE] = "wide",
	[SONDE_CLI_FORM_NAME] = "name",	      [SONDE_CLI_FORM_JSON] = "json",
	[SONDE_CLI_FORM_JSONL] = "jsonl",     [SONDE_CLI_FORM_YAML] = "yaml",
	[SONDE_CLI_FORM_CSV] = "csv",	      [SONDE_CLI_FORM_DOT] = "dot",
	[SONDE_CLI_FORM_MERMAID] = "mermaid", [SONDE_CLI_FORM_JSONPATH] = "jsonpath=EXPR",
	[_SONDE_CLI_FORM_MAX] = NULL,
};

static enum sonde_cli_form form_of(const struct sonde_cli *cli)
{
	return (enum sonde_cli_form)cli->settings->output;
}

enum sonde_cli_output sonde_cli_output(const struct sonde_cli *cli)
{
	switch (form_of(cli)) {
	case SONDE_CLI_FORM_NAME:
	case SONDE_CLI_FORM_JSON:
	case SONDE_CLI_FORM_JSONL:
	case SONDE_CLI_FORM_YAML:
	case SONDE_CLI_FORM_JSONPATH:
		return SONDE_CLI_JSON;
	case SONDE_CLI_FORM_DOT:
		return SONDE_CLI_DOT;
	case SONDE_CLI_FORM_MERMAID:
		return SONDE_CLI_MERMAID;
	case SONDE_CLI_FORM_WIDE:
	case SONDE_CLI_FORM_CSV:
		return SONDE_CLI_WIDE;
	case SONDE_CLI_FORM_TABLE:
	case _SONDE_CLI_FORM_MAX:
		break;
	}
	/* all columns are there to be picked from */
	return sonde_cli_flag(cli, "columns") ? SONDE_CLI_WIDE : SONDE_CLI_TABLE;
}

bool sonde_cli_take_jsonpath(struct sonde_cli *cli, const char *value)
{
	static const char prefix[] = "jsonpath=";

	if (strncmp(value, prefix, strlen(prefix)) != 0)
		return false;
	cli->jsonpath = value + strlen(prefix);
	cli->settings->output = SONDE_CLI_FORM_JSONPATH;
	return true;
}

static int check_jsonpath(struct sonde_cli *cli)
{
	_cleanup_free_ char *words = NULL;
	int r;

	if (!cli->jsonpath)
		return sonde_cli_fail(cli, SONDE_CLI_USAGE,
				      "-o jsonpath=EXPR is for the command line");
	r = sonde_jsonpath_check(cli->jsonpath, &words);
	if (r == -EINVAL)
		return sonde_cli_fail(cli, SONDE_CLI_USAGE, "-o jsonpath: %s", words);
	return r < 0 ? sonde_cli_broken(cli, r) : 0;
}

static int check_columns(struct sonde_cli *cli)
{
	const char *name = cli->command->name;

	if (!sonde_cli_flag(cli, "columns"))
		return 0;
	if (!cli->command->one_table)
		return sonde_cli_fail(cli, SONDE_CLI_USAGE,
				      "--columns is for commands that print one table, not '%s'",
				      name);
	switch (form_of(cli)) {
	case SONDE_CLI_FORM_TABLE:
	case SONDE_CLI_FORM_WIDE:
	case SONDE_CLI_FORM_CSV:
		return 0;
	default:
		return sonde_cli_fail(cli, SONDE_CLI_USAGE,
				      "--columns is for -o table, wide and csv; -o jsonpath=EXPR "
				      "picks from the answer");
	}
}

int sonde_cli_check_output(struct sonde_cli *cli)
{
	const struct sonde_cli_command *c = cli->command;
	enum sonde_cli_form form = form_of(cli);
	bool graph = form == SONDE_CLI_FORM_DOT || form == SONDE_CLI_FORM_MERMAID;
	int status;

	if (c->own_output)
		return check_columns(cli);
	if (graph && strcmp(c->name, "topology") != 0)
		return sonde_cli_fail(cli, SONDE_CLI_USAGE,
				      "-o %s is for topology only; expected table, wide or json",
				      sonde_cli_form_names[form]);
	if (form == SONDE_CLI_FORM_CSV && !c->one_table)
		return sonde_cli_fail(cli, SONDE_CLI_USAGE,
				      "-o csv is for commands that print one table; '%s' has json, "
				      "jsonl, yaml and jsonpath",
				      c->name);
	if (form == SONDE_CLI_FORM_NAME && !c->item_name)
		return sonde_cli_fail(cli, SONDE_CLI_USAGE,
				      "-o name: '%s' prints nothing that has one", c->name);
	status = form == SONDE_CLI_FORM_JSONPATH ? check_jsonpath(cli) : 0;
	return status == 0 ? check_columns(cli) : status;
}

static const char *items_name(const struct sonde_cli *cli)
{
	return cli->items ? cli->items : cli->command ? cli->command->items : NULL;
}

/* The list of @value; NULL = it is one object. */
static const json_t *items_of(const struct sonde_cli *cli, const json_t *value)
{
	const char *name = items_name(cli);
	const json_t *items = name ? json_object_get(value, name) : NULL;

	return json_is_array(items) ? items : NULL;
}

static int print_line(struct sonde_cli *cli, const json_t *value)
{
	_cleanup_free_ char *text =
		json_dumps(value, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_ENCODE_ANY);

	if (!text)
		return sonde_cli_broken(cli, -ENOMEM);
	sonde_term_print_json(text, strlen(text), cli->out); /* DEL is ASCII */
	(void)fputc('\n', cli->out);
	return SONDE_CLI_OK;
}

static int print_lines(struct sonde_cli *cli, const json_t *value)
{
	const json_t *items = items_of(cli, value);
	int status = SONDE_CLI_OK;

	if (!items)
		return print_line(cli, value);
	for (size_t i = 0; status == SONDE_CLI_OK && i < json_array_size(items); i++)
		status = print_line(cli, json_array_get(items, i));
	return status;
}

/* On one line; without memory nothing is better than raw text. */
static void print_safe(struct sonde_cli *cli, const char *text)
{
	_cleanup_buf_ struct sonde_buf safe = SONDE_BUF_INIT(DATA_MAX);

	if (sonde_term_escape(text, strlen(text), &safe) == 0)
		(void)fputs(sonde_buf_str(&safe), cli->out);
}

static void print_name(struct sonde_cli *cli, const json_t *item)
{
	const char *name = json_string_value(json_object_get(item, cli->command->item_name));

	if (!name) /* of another kind than the command's usual one */
		name = json_string_value(json_object_get(item, "name"));
	if (!name || !*name)
		return;
	print_safe(cli, name);
	(void)fputc('\n', cli->out);
}

static int print_names(struct sonde_cli *cli, const json_t *value)
{
	const json_t *items = items_of(cli, value);

	if (!items)
		print_name(cli, value);
	for (size_t i = 0; i < json_array_size(items); i++)
		print_name(cli, json_array_get(items, i));
	return SONDE_CLI_OK;
}

/* Line ends and tabs are the template's own: those of values were escaped as they came in. */
static int print_jsonpath(struct sonde_cli *cli, const json_t *value)
{
	_cleanup_buf_ struct sonde_buf text = SONDE_BUF_INIT(DATA_MAX);
	int r = sonde_jsonpath_eval(cli->jsonpath, value, items_name(cli), &text);

	if (r < 0)
		return sonde_cli_broken(cli, r);
	sonde_term_print(sonde_buf_str(&text), text.len, cli->out);
	if (text.len > 0 && text.data[text.len - 1] != '\n')
		(void)fputc('\n', cli->out);
	return SONDE_CLI_OK;
}

static int print_yaml(struct sonde_cli *cli, const json_t *value)
{
	int r = sonde_yaml_write(value, cli->out);

	return r < 0 ? sonde_cli_broken(cli, r) : SONDE_CLI_OK;
}

int sonde_cli_print_value(struct sonde_cli *cli, const json_t *value)
{
	assert(value);

	switch (form_of(cli)) {
	case SONDE_CLI_FORM_JSONL:
		return print_lines(cli, value);
	case SONDE_CLI_FORM_YAML:
		return print_yaml(cli, value);
	case SONDE_CLI_FORM_NAME:
		return print_names(cli, value);
	case SONDE_CLI_FORM_JSONPATH:
		return print_jsonpath(cli, value);
	default:
		return print_line(cli, value);
	}
}

int sonde_cli_print_record(struct sonde_cli *cli, const json_t *record)
{
	int status;

	if (form_of(cli) == SONDE_CLI_FORM_YAML)
		(void)fputs("---\n", cli->out);
	if (form_of(cli) == SONDE_CLI_FORM_NAME) {
		print_name(cli, record);
		status = SONDE_CLI_OK;
	} else if (form_of(cli) == SONDE_CLI_FORM_JSONL) {
		status = print_line(cli, record);
	} else {
		status = sonde_cli_print_value(cli, record);
	}
	(void)fflush(cli->out); /* who reads a stream waits for it */
	return status;
}

int sonde_cli_print_json(struct sonde_cli *cli, const struct sonde_rest_answer *answer)
{
	const char *text = sonde_buf_str(&answer->body);
	size_t len = answer->body.len;

	if (form_of(cli) != SONDE_CLI_FORM_JSON && answer->json)
		return sonde_cli_print_value(cli, answer->json);
	sonde_term_print_json(text, len, cli->out);
	if (len > 0 && text[len - 1] != '\n')
		(void)fputc('\n', cli->out);
	return SONDE_CLI_OK;
}

/* "LAST SEEN" is also last_seen and last-seen. */
static bool is_name(const char *name, const char *text, size_t len)
{
	if (strlen(name) != len)
		return false;
	for (size_t i = 0; i < len; i++) {
		char a = (char)tolower((unsigned char)name[i]);
		char b = (char)tolower((unsigned char)text[i]);

		if (a != b && !(a == ' ' && (b == '_' || b == '-')))
			return false;
	}
	return true;
}

/* By its name, or as CSV heads it: with the unit behind. */
static bool is_column(const struct sonde_column *column, const char *text, size_t len)
{
	size_t unit = column->unit ? strlen(column->unit) : 0;

	if (is_name(column->name, text, len))
		return true;
	return unit > 0 && len > unit + 1 && text[len - unit - 1] == '_' &&
	       is_name(column->unit, text + len - unit, unit) &&
	       is_name(column->name, text, len - unit - 1);
}

static int no_such_column(struct sonde_cli *cli, const struct sonde_column *columns,
			  const char *text, size_t len)
{
	_cleanup_buf_ struct sonde_buf names = SONDE_BUF_INIT(2048);
	int r = 0;

	for (size_t i = 0; r == 0 && columns[i].name; i++)
		r = sonde_buf_printf(&names, "%s%s", i > 0 ? ", " : "", columns[i].name);
	for (size_t i = 0; i < names.len; i++)
		names.data[i] = names.data[i] == ' ' && i > 0 && names.data[i - 1] != ','
					? '_'
					: (uint8_t)tolower(names.data[i]);
	return sonde_cli_fail(cli, SONDE_CLI_USAGE, "--columns: no column '%.*s'; there are: %s",
			      (int)(len > 64 ? 64 : len), text, sonde_buf_str(&names));
}

static void drop_column(size_t column, size_t *columns, size_t *n)
{
	size_t kept = 0;

	for (size_t i = 0; i < *n; i++) {
		if (columns[i] != column)
			columns[kept++] = columns[i];
	}
	*n = kept;
}

/* What the form shows without --columns. */
static void usual_columns(const struct sonde_cli *cli, const struct sonde_column *columns,
			  size_t *ret, size_t *ret_n)
{
	bool all = form_of(cli) == SONDE_CLI_FORM_WIDE || form_of(cli) == SONDE_CLI_FORM_CSV;

	*ret_n = 0;
	for (size_t i = 0; columns[i].name; i++) {
		if (all || !columns[i].wide)
			ret[(*ret_n)++] = i;
	}
}

int sonde_cli_pick_columns(struct sonde_cli *cli, const struct sonde_column *columns, size_t *ret,
			   size_t *ret_n)
{
	const char *text = sonde_cli_flag(cli, "columns");
	bool begun = false;

	usual_columns(cli, columns, ret, ret_n);
	while (text && *text) {
		size_t len = strcspn(text, ","), column = 0;
		char sign = *text == '+' || *text == '-' ? *text : '\0';
		const char *name = sign ? text + 1 : text;
		size_t name_len = sign ? len - 1 : len;

		while (columns[column].name && !is_column(&columns[column], name, name_len))
			column++;
		if (!columns[column].name)
			return no_such_column(cli, columns, name, name_len);
		/* a name without a sign begins the list anew */
		if (!sign && !begun)
			*ret_n = 0;
		begun = begun || !sign;
		drop_column(column, ret, ret_n);
		if (sign != '-')
			ret[(*ret_n)++] = column;
		text += len + (text[len] == ',');
	}
	return *ret_n > 0 ? 0
			  : sonde_cli_fail(cli, SONDE_CLI_USAGE, "--columns: no column is left");
}
