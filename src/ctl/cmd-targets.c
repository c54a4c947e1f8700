/* SPDX-License-Identifier: Apache-2.0 */
/* sonde targets list, sonde agents list */
#include <inttypes.h>
#include <string.h>

#include "ctl/fetch.h"
#include "ctl/view.h"

static const char *const searched[] = {"service",    "instance", "process",  "layer",
				       "process_id", "host",	 "agent_id", "command_line"};

static bool matches(const json_t *row, const char *search)
{
	if (!search)
		return true;
	for (size_t i = 0; i < ELEMENTS_OF(searched); i++) {
		const char *text = json_string_value(json_object_get(row, searched[i]));

		if (text && strcasestr(text, search))
			return true;
	}
	return false;
}

static void target_row(struct sonde_cli *cli, struct sonde_table *t, const json_t *row, bool wide)
{
	const json_t *pid = json_object_get(row, "pid");
	bool live = json_is_true(json_object_get(row, "live"));

	sonde_cell_text(t, row, "service");
	sonde_cell_text(t, row, "process");
	if (json_is_integer(pid))
		sonde_table_addf(t, "%" JSON_INTEGER_FORMAT, json_integer_value(pid));
	else
		sonde_table_add(t, NULL);
	sonde_cell_text(t, row, "host");
	sonde_table_add_styled(t, live ? SONDE_STYLE_GREEN : SONDE_STYLE_DIM, live ? "yes" : "no");
	sonde_cell_text(t, row, "command_line");
	if (!wide)
		return;
	sonde_cell_text(t, row, "instance");
	sonde_cell_text(t, row, "layer");
	sonde_cell_time(t, cli, row, "last_seen");
	sonde_cell_text(t, row, "agent_id");
	sonde_cell_text(t, row, "process_id");
}

/* Why there is no row: that no agent is there and that its rules name nothing are told apart. */
static void note_no_target(struct sonde_cli *cli)
{
	_cleanup_answer_ struct sonde_rest_answer answer = SONDE_REST_ANSWER_INIT;
	const json_t *agents;
	size_t n = 0;

	if (sonde_rest_request(cli->rest, "/api/v1/agents", NULL, &answer) < 0)
		return;
	agents = json_object_get(answer.json, "agents");
	for (size_t i = 0; i < json_array_size(agents); i++) {
		if (json_is_true(json_object_get(json_array_get(agents, i), "connected")))
			n++;
	}
	if (n == 0)
		sonde_cli_note(cli, "no process is reported: no agent is connected");
	else
		sonde_cli_note(cli,
			       "%zu agent%s, no rule of %s matches a process; a pid works: pid:N",
			       n, n == 1 ? "" : "s", n == 1 ? "its own" : "theirs");
}

static int print_targets(struct sonde_cli *cli, const json_t *targets)
{
	static const struct sonde_column columns[] = {{"SERVICE", false, true},
						      {"PROCESS", false, true},
						      {"PID", true, false},
						      {"HOST", false, true},
						      {"LIVE", false, false},
						      {"COMMAND", false, true},
						      {NULL}};
	static const struct sonde_column wide_columns[] = {
		{"SERVICE", false, false},    {"PROCESS", false, false},
		{"PID", true, false},	      {"HOST", false, false},
		{"LIVE", false, false},	      {"COMMAND", false, false},
		{"INSTANCE", false, false},   {"LAYER", false, false},
		{"LAST SEEN", false, false},  {"AGENT", false, false},
		{"PROCESS ID", false, false}, {NULL}};
	_cleanup_(sonde_table_freep) struct sonde_table *t = NULL;
	const char *search = sonde_cli_flag(cli, "search");
	bool wide = sonde_cli_output(cli) == SONDE_CLI_WIDE;
	int r;

	r = sonde_table_new(wide ? wide_columns : columns, &t);
	if (r < 0)
		return sonde_cli_broken(cli, r);
	for (size_t i = 0; i < json_array_size(targets); i++) {
		const json_t *row = json_array_get(targets, i);

		if (matches(row, search))
			target_row(cli, t, row, wide);
	}
	if (json_array_size(targets) == 0)
		note_no_target(cli);
	else if (sonde_table_rows(t) == 0)
		sonde_cli_note(cli, "no process of that kind is reported");
	return sonde_view_table(cli, t);
}

/* -o json is the server's answer; with --search the rows that match, in the same shape. */
static int print_targets_json(struct sonde_cli *cli, struct sonde_rest_answer *answer)
{
	const char *search = sonde_cli_flag(cli, "search");
	json_t *targets = json_object_get(answer->json, "targets");

	if (!search)
		return sonde_cli_print_json(cli, answer);
	for (size_t i = json_array_size(targets); i-- > 0;) {
		if (!matches(json_array_get(targets, i), search))
			(void)json_array_remove(targets, i);
	}
	if (json_dumpf(answer->json, cli->out, JSON_COMPACT | JSON_ENSURE_ASCII) < 0)
		return sonde_cli_fail(cli, SONDE_CLI_INTERNAL, "cannot write JSON");
	(void)fputc('\n', cli->out);
	return SONDE_CLI_OK;
}

int sonde_cli_targets_list(struct sonde_cli *cli)
{
	_cleanup_answer_ struct sonde_rest_answer answer = SONDE_REST_ANSWER_INIT;
	int status;

	status = sonde_cli_request(cli, "/api/v1/targets", NULL, &answer);
	if (status != 0)
		return status;
	if (sonde_cli_output(cli) == SONDE_CLI_JSON)
		return print_targets_json(cli, &answer);
	return print_targets(cli, json_object_get(answer.json, "targets"));
}

int sonde_cli_agents_list(struct sonde_cli *cli)
{
	static const struct sonde_column columns[] = {
		{"AGENT", false, true},	    {"HOST", false, true},
		{"VERSION", false, false},  {"STATE", false, false},
		{"PROCESSES", true, false}, {"LAST SEEN", false, false},
		{"PROBLEM", false, true},   {NULL}};
	static const struct sonde_column wide_columns[] = {
		{"AGENT", false, false},   {"HOST", false, false},     {"VERSION", false, false},
		{"STATE", false, false},   {"PROCESSES", true, false}, {"LAST SEEN", false, false},
		{"PROBLEM", false, false}, {"DELIVERY", false, false}, {NULL}};
	_cleanup_answer_ struct sonde_rest_answer answer = SONDE_REST_ANSWER_INIT;
	_cleanup_(sonde_table_freep) struct sonde_table *t = NULL;
	bool wide = sonde_cli_output(cli) == SONDE_CLI_WIDE;
	const json_t *agents;
	int r;

	r = sonde_cli_request(cli, "/api/v1/agents", NULL, &answer);
	if (r != 0)
		return r;
	if (sonde_cli_output(cli) == SONDE_CLI_JSON)
		return sonde_cli_print_json(cli, &answer);
	r = sonde_table_new(wide ? wide_columns : columns, &t);
	if (r < 0)
		return sonde_cli_broken(cli, r);
	agents = json_object_get(answer.json, "agents");
	for (size_t i = 0; i < json_array_size(agents); i++) {
		const json_t *row = json_array_get(agents, i);
		bool connected = json_is_true(json_object_get(row, "connected"));

		sonde_cell_text(t, row, "agent_id");
		sonde_cell_text(t, row, "host");
		sonde_cell_text(t, row, "version");
		sonde_table_add_styled(t, connected ? SONDE_STYLE_GREEN : SONDE_STYLE_RED,
				       connected ? "connected" : "gone");
		sonde_cell_count(t, row, "processes");
		sonde_cell_time(t, cli, row, "last_seen");
		if (json_is_true(json_object_get(row, "replaced")))
			sonde_table_add(t, "a later agent of its host is there");
		else
			sonde_cell_text(t, row, "problem");
		if (wide)
			sonde_cell_text(t, row, "delivery");
	}
	return sonde_view_table(cli, t);
}
