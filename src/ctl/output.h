/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Output: what -o asks for, in one place for all commands. A command does no more than before:
 *
 *	if (sonde_cli_output(cli) == SONDE_CLI_JSON)
 *		return sonde_cli_print_json(cli, &answer);     (or sonde_cli_print_value() of its own JSON)
 *	… a table by sonde_table_new(), sonde_cell_*(), sonde_view_table() …
 *
 * and says in its row of commands.c what is in the answer: `items`, the member that is the list (jsonl has a line for
 * each, jsonpath calls it .items), `item_name`, the member that -o name prints, and `one_table` if it prints one
 * table and no more, which makes -o csv and --columns possible. A column that only -o wide, -o csv or --columns shows
 * is `.wide`; one whose cells are scaled for people has its fixed unit as `.unit`, which -o csv writes into the heading.
 */

#include <jansson.h>

#include "ctl/cli.h"
#include "ctl/table.h"

/* What -o says; names in output.c. */
enum sonde_cli_form {
	SONDE_CLI_FORM_TABLE = 0,
	SONDE_CLI_FORM_WIDE,
	SONDE_CLI_FORM_NAME,
	SONDE_CLI_FORM_JSON,
	SONDE_CLI_FORM_JSONL,
	SONDE_CLI_FORM_YAML,
	SONDE_CLI_FORM_CSV,
	SONDE_CLI_FORM_DOT,
	SONDE_CLI_FORM_MERMAID,
	SONDE_CLI_FORM_JSONPATH,
	_SONDE_CLI_FORM_MAX,
};
extern const char *const sonde_cli_form_names[]; /* NULL-ended */

/* Whether this command can print what -o and --columns ask for. Return: 0, SONDE_CLI_USAGE (told). */
int sonde_cli_check_output(struct sonde_cli *cli) _must_check_;

/* Takes "-o jsonpath=EXPR" apart: true, with cli->jsonpath set. */
bool sonde_cli_take_jsonpath(struct sonde_cli *cli, const char *value);

/* @value in the form of -o; in json compact, on a line. For what no answer of the server is. */
int sonde_cli_print_value(struct sonde_cli *cli, const json_t *value);

/* One record of a stream (-f, task watch): a line of JSON with json and jsonl, a document with yaml, and so on. */
int sonde_cli_print_record(struct sonde_cli *cli, const json_t *record);

/* By --columns: the columns to print, in order. @ret has room for SONDE_TABLE_COLUMNS_MAX. Return: 0, SONDE_CLI_USAGE. */
int sonde_cli_pick_columns(struct sonde_cli *cli, const struct sonde_column *columns, size_t *ret,
			   size_t *ret_n) _must_check_;

/* Appends @value as YAML of one document, without its "---". Return: 0, -EIO, -ENOMEM. */
int sonde_yaml_write(const json_t *value, FILE *out) _must_check_;
