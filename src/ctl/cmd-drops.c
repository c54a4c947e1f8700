/* SPDX-License-Identifier: Apache-2.0 */
/* sonde drops: what the kernel dropped of a task's traffic, and what that means */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "ctl/fetch.h"
#include "ctl/task-time.h"
#include "ctl/view.h"

#define DROPS_PATH_MAX 4096

/* What a row is about, by --by; then the numbers of all. */
#define NUMBER_COLUMNS                                                                             \
	{"SEGMENTS", true, false}, {"LOST", true, false}, {"SKBS", true, false, true},             \
		{"BYTES", true, false}, {"FIRST", false, false},                                   \
	{                                                                                          \
		"LAST", false, false                                                               \
	}

static const struct sonde_column by_reason[] = {
	{"REASON", false, false}, {"CLASS", false, false},	 NUMBER_COLUMNS,
	{"MEANS", false, true},	  {"LIKELY CAUSE", false, true}, {NULL}};
static const struct sonde_column by_class[] = {
	{"CLASS", false, false}, NUMBER_COLUMNS, {"REASONS", false, true}, {NULL}};
static const struct sonde_column by_direction[] = {
	{"DIRECTION", false, false}, NUMBER_COLUMNS, {"REASONS", false, true}, {NULL}};
static const struct sonde_column by_edge[] = {{"CLIENT", false, true},
					      {"SERVER", false, true},
					      {"PORT", true, false},
					      NUMBER_COLUMNS,
					      {"REASONS", false, true},
					      {"EDGE", false, false, true},
					      {NULL}};
static const struct sonde_column by_location[] = {
	{"SITE", false, false}, {"DIRECTION", false, false}, {"WHERE", false, false},
	NUMBER_COLUMNS,		{"REASONS", false, true},    {NULL}};

static void cells_reason(struct sonde_table *t, const json_t *row)
{
	sonde_cell_text(t, row, "reason");
	sonde_cell_text(t, json_object_get(row, "meaning"), "class");
}

static void cells_class(struct sonde_table *t, const json_t *row)
{
	sonde_cell_text(t, row, "class");
}

static void cells_direction(struct sonde_table *t, const json_t *row)
{
	sonde_cell_text(t, row, "direction");
}

static void cells_edge(struct sonde_table *t, const json_t *row)
{
	const char *protocol = json_string_value(json_object_get(row, "protocol"));
	const json_t *port = json_object_get(row, "port");

	sonde_cell_text(t, row, "client");
	sonde_cell_text(t, row, "server");
	if (json_is_integer(port))
		sonde_table_addf(t, "%" JSON_INTEGER_FORMAT "%s", json_integer_value(port),
				 protocol && strcmp(protocol, "udp") == 0 ? "/udp" : "");
	else
		sonde_table_add(t, NULL);
}

static void cells_location(struct sonde_table *t, const json_t *row)
{
	sonde_cell_text(t, row, "site");
	sonde_cell_text(t, row, "direction");
	sonde_cell_text(t, row, "where");
}

static const struct form {
	const char *by;
	const struct sonde_column *columns;
	void (*cells)(struct sonde_table *t, const json_t *row);
} forms[] = {
	{"reason", by_reason, cells_reason},	      {"class", by_class, cells_class},
	{"direction", by_direction, cells_direction}, {"edge", by_edge, cells_edge},
	{"location", by_location, cells_location},
};

static void add_row(struct sonde_cli *cli, struct sonde_table *t, const struct form *form,
		    const json_t *row)
{
	const json_t *meaning = json_object_get(row, "meaning");

	form->cells(t, row);
	sonde_cell_count(t, row, "segments");
	sonde_cell_count(t, row, "loss_segments");
	sonde_cell_count(t, row, "skbs");
	sonde_cell_bytes(t, row, "bytes");
	sonde_cell_time(t, cli, row, "first_seen");
	sonde_cell_time(t, cli, row, "last_seen");
	if (form->cells == cells_reason) {
		sonde_cell_text(t, meaning, "means");
		sonde_cell_text(t, meaning, "likely_cause");
		return;
	}
	sonde_cell_kinds(t, json_object_get(row, "reasons"), NULL);
	if (form->cells == cells_edge)
		sonde_cell_text(t, row, "edge");
}

/* A number that cannot be had is not a number of 0. */
static void note_absent(struct sonde_cli *cli, const json_t *answer)
{
	const json_t *absent = json_object_get(answer, "absent");

	for (size_t i = 0; i < json_array_size(absent); i++) {
		const json_t *one = json_array_get(absent, i);
		const char *meter = json_string_value(json_object_get(one, "meter"));
		const char *reason = json_string_value(json_object_get(one, "reason"));

		sonde_cli_note(cli, "not measured: %.200s: %.300s", meter ? meter : "?",
			       reason ? reason : "?");
	}
}

/* Most are no drop to the kernel, so a table without a row is no word of them. */
static json_int_t note_listen_drops(struct sonde_cli *cli, const json_t *total)
{
	json_int_t n = json_integer_value(json_object_get(total, "listen_drops"));

	if (n > 0) {
		sonde_cli_note(
			cli,
			"listening sockets dropped %" JSON_INTEGER_FORMAT
			" segments, by their own counter: SYNs and handshakes without room, and "
			"what else they discard; if TcpExtListenOverflows grew (sonde host), an "
			"accept queue was full, as the program accepts too slowly or its backlog "
			"is too small: ss -ltn, net.core.somaxconn",
			n);
	}
	return n;
}

static int print_drops(struct sonde_cli *cli, const json_t *answer, const struct form *form)
{
	_cleanup_(sonde_table_freep) struct sonde_table *t = NULL;
	const json_t *rows = json_object_get(answer, "drops");
	const json_t *total = json_object_get(answer, "total");
	int r;

	r = sonde_table_new(form->columns, &t);
	if (r < 0)
		return sonde_cli_broken(cli, r);
	for (size_t i = 0; i < json_array_size(rows); i++)
		add_row(cli, t, form, json_array_get(rows, i));
	note_absent(cli, answer);
	sonde_view_window(cli, answer);
	if (sonde_table_rows(t) == 0) {
		if (note_listen_drops(cli, total) == 0 &&
		    json_array_size(json_object_get(answer, "absent")) == 0)
			sonde_cli_note(cli, "nothing was dropped");
		return sonde_view_no_rows(cli, t);
	}
	r = sonde_view_table(cli, t);
	if (r != 0)
		return r;
	sonde_cli_note(cli,
		       "%" JSON_INTEGER_FORMAT " dropped, of which %" JSON_INTEGER_FORMAT
		       " lost data (class loss); FIRST and LAST are to %" JSON_INTEGER_FORMAT " s",
		       json_integer_value(json_object_get(total, "segments")),
		       json_integer_value(json_object_get(total, "loss_segments")),
		       json_integer_value(json_object_get(answer, "point_ms")) / 1000);
	(void)note_listen_drops(cli, total);
	sonde_view_next(cli, answer);
	return SONDE_CLI_OK;
}

int sonde_cli_drops(struct sonde_cli *cli)
{
	static const char *const flags[] = {"by", "edge", "side", "limit", "cursor"};
	_cleanup_answer_ struct sonde_rest_answer answer = SONDE_REST_ANSWER_INIT;
	_cleanup_buf_ struct sonde_buf path = SONDE_BUF_INIT(DROPS_PATH_MAX);
	const char *by = sonde_cli_flag(cli, "by");
	size_t form = 0;
	int status, r;

	while (by && form < ELEMENTS_OF(forms) && strcmp(by, forms[form].by) != 0)
		form++;
	if (form == ELEMENTS_OF(forms))
		return sonde_cli_fail(cli, SONDE_CLI_USAGE,
				      "--by: reason, class, direction, edge or location");
	r = sonde_cli_task_path(cli->operands[0], "/drops", &path);
	for (size_t i = 0; r == 0 && i < ELEMENTS_OF(flags); i++)
		r = sonde_cli_add_parameter(&path, flags[i], sonde_cli_flag(cli, flags[i]));
	if (r < 0)
		return sonde_cli_no_task_path(cli, cli->operands[0], r);
	status = sonde_cli_add_task_window(cli, &path);
	if (status == 0)
		status = sonde_cli_request(cli, sonde_buf_str(&path), NULL, &answer);
	if (status != 0)
		return status;
	if (sonde_cli_output(cli) == SONDE_CLI_JSON)
		return sonde_cli_print_json(cli, &answer);
	return print_drops(cli, answer.json, &forms[form]);
}
