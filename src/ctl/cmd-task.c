/* SPDX-License-Identifier: Apache-2.0 */
/* sonde task create, list, get, wait, stop, extend */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/num.h"
#include "ctl/spec.h"
#include "ctl/units.h"
#include "ctl/view.h"
#include "ctl/wait.h"
#include "model/task.h"

/* As a file of --file has it: who created it is for the command line to say, each time. */
static int print_spec(struct sonde_cli *cli, json_t *spec)
{
	(void)json_object_del(spec, "createdBy");
	if (json_dumpf(spec, cli->out, JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_ENSURE_ASCII) <
	    0)
		return sonde_cli_fail(cli, SONDE_CLI_INTERNAL, "cannot write JSON");
	(void)fputc('\n', cli->out);
	return SONDE_CLI_OK;
}

int sonde_cli_task_create(struct sonde_cli *cli)
{
	json_t *spec;
	int status;

	if (sonde_cli_flag(cli, "dry-run"))
		return sonde_cli_dry_run(cli);
	status = sonde_cli_build_spec(cli, &spec);
	if (status != 0)
		return status;
	if (sonde_cli_flag(cli, "print-spec")) {
		status = print_spec(cli, spec);
		json_decref(spec);
		return status;
	}
	return sonde_cli_send_and_tell(cli, spec);
}

static void cell_duration(struct sonde_table *t, const json_t *task)
{
	const json_t *ms = json_object_get(task, "duration_ms");
	char text[SONDE_UNIT_MAX], raw[SONDE_UNIT_MAX];

	if (!json_is_integer(ms)) {
		sonde_table_add(t, NULL);
		return;
	}
	(void)snprintf(raw, sizeof(raw), "%" JSON_INTEGER_FORMAT, json_integer_value(ms));
	sonde_table_add_raw(t, SONDE_STYLE_NONE, sonde_unit_clock(json_integer_value(ms), text),
			    raw);
}

static const char *at_time(const struct sonde_cli *cli, int64_t wall_ms,
			   char ret[static SONDE_UNIT_MAX + 4])
{
	char local[SONDE_UNIT_MAX];

	(void)snprintf(ret, SONDE_UNIT_MAX + 4, "at %s",
		       sonde_time_local(wall_ms, cli->settings->utc, local));
	return ret;
}

/* When it began, or is to begin. */
static void cell_start(const struct sonde_cli *cli, struct sonde_table *t, const json_t *task)
{
	char text[SONDE_UNIT_MAX + 4];
	int64_t wall_ms;

	if (sonde_view_starts_at(task, &wall_ms)) /* what is to come is no start for a machine */
		sonde_table_add_raw(t, SONDE_STYLE_NONE, at_time(cli, wall_ms, text), "");
	else
		sonde_cell_time(t, cli, task, "started");
}

static void task_cells(const struct sonde_cli *cli, struct sonde_table *t, const json_t *row)
{
	sonde_cell_text(t, row, "id");
	sonde_cell_text(t, row, "name");
	sonde_cell_text(t, row, "preset");
	sonde_cell_state(t, row, "state");
	sonde_cell_time(t, cli, row, "created");
	cell_start(cli, t, row);
	cell_duration(t, row);
	sonde_cell_text(t, row, "reason");
}

int sonde_cli_task_list(struct sonde_cli *cli)
{
	static const struct sonde_column columns[] = {{"TASK", false, false},
						      {"NAME", false, true},
						      {"PRESET", false, false},
						      {"STATE", false, false},
						      {"CREATED", false, false},
						      {"START", false, false},
						      {"DURATION", true, false, .unit = "ms"},
						      {"REASON", false, true},
						      {NULL}};
	_cleanup_answer_ struct sonde_rest_answer answer = SONDE_REST_ANSWER_INIT;
	const json_t *tasks;
	int status;

	status = sonde_cli_request(cli, "/api/v1/tasks", NULL, &answer);
	if (status != 0)
		return status;
	if (sonde_cli_output(cli) == SONDE_CLI_JSON)
		return sonde_cli_print_json(cli, &answer);
	tasks = json_object_get(answer.json, "tasks");
	if (json_array_size(tasks) >= SONDE_TASK_LIST_DEFAULT)
		sonde_cli_note(cli, "older tasks may be left out: these are the newest %zu",
			       json_array_size(tasks));
	return sonde_view_rows(cli, columns, tasks, task_cells);
}

static void head_start(struct sonde_cli *cli, const json_t *task)
{
	char text[SONDE_UNIT_MAX];
	int64_t wall_ms;

	if (sonde_view_starts_at(task, &wall_ms))
		sonde_view_line(cli, "starts", sonde_time_local(wall_ms, cli->settings->utc, text));
}

/* Of one that a policy made: whose it is, and what passed which threshold. */
static void head_trigger(struct sonde_cli *cli, const json_t *trigger)
{
	const json_t *causes = json_object_get(trigger, "causes");

	sonde_view_line_of(cli, trigger, "policy", "policy");
	sonde_view_line_of(cli, trigger, "trigger", "words");
	for (size_t i = 0; i < json_array_size(causes); i++)
		sonde_view_line_of(cli, json_array_get(causes, i), i ? "" : "because", "message");
}

static int print_task(struct sonde_cli *cli, const json_t *task)
{
	int status;

	cli->headed = true;
	sonde_view_line_of(cli, task, "task", "id");
	sonde_view_line_of(cli, task, "name", "name");
	sonde_view_line_of(cli, task, "preset", "preset");
	sonde_view_line_of(cli, task, "state", "state");
	head_start(cli, task);
	sonde_view_line_of(cli, task, "reason", "reason");
	sonde_view_line_of(cli, task, "asked by", "created_by");
	head_trigger(cli, json_object_get(task, "trigger"));
	sonde_view_heading(cli, "Time line");
	status = sonde_view_timeline(cli, task);
	if (status == 0)
		status = sonde_view_targets(cli, task);
	if (status == 0)
		status = sonde_view_probes(cli, task);
	if (status == 0)
		status = sonde_view_cost(cli, task);
	if (status == 0)
		status = sonde_view_idle_proof(cli, task);
	return status == 0 ? sonde_view_absent(cli, task) : status;
}

int sonde_cli_task_get(struct sonde_cli *cli)
{
	_cleanup_answer_ struct sonde_rest_answer answer = SONDE_REST_ANSWER_INIT;
	int status;

	status = sonde_cli_get_task(cli, cli->operands[0], "", &answer);
	if (status != 0)
		return status;
	if (sonde_cli_output(cli) == SONDE_CLI_JSON)
		return sonde_cli_print_json(cli, &answer);
	return print_task(cli, answer.json);
}

/* What an action answers: json verbatim, else one line. */
static int print_action(struct sonde_cli *cli, const struct sonde_rest_answer *answer,
			const char *word)
{
	const char *id = json_string_value(json_object_get(answer->json, "id"));
	const char *state = json_string_value(json_object_get(answer->json, "state"));

	if (sonde_cli_output(cli) == SONDE_CLI_JSON)
		return sonde_cli_print_json(cli, answer);
	sonde_cli_note(cli, "task %s %s, state %s", id ? id : "?", word, state ? state : "?");
	return SONDE_CLI_OK;
}

static bool has_ended(const json_t *task)
{
	const char *state = json_string_value(json_object_get(task, "state"));
	enum sonde_task_state s;

	return state && sonde_task_state_from_name(state, &s) == 0 && sonde_task_state_final(s);
}

int sonde_cli_task_stop(struct sonde_cli *cli)
{
	_cleanup_answer_ struct sonde_rest_answer answer = SONDE_REST_ANSWER_INIT;
	_cleanup_answer_ struct sonde_rest_answer before = SONDE_REST_ANSWER_INIT;
	const char *reason = sonde_cli_flag(cli, "reason");
	_cleanup_free_ char *body = NULL;
	json_t *object;
	int status;

	object = json_pack("{s:s}", "reason", reason ? reason : "stopped from the command line");
	if (!object)
		return sonde_cli_fail(cli, SONDE_CLI_USAGE, "--reason: expected UTF-8");
	body = json_dumps(object, JSON_COMPACT);
	json_decref(object);
	if (!body)
		return sonde_cli_broken(cli, -ENOMEM);
	/* to stop what has ended is no error; the answer alone would not tell the two apart */
	status = sonde_cli_get_task(cli, cli->operands[0], "", &before);
	if (status == 0)
		status = sonde_cli_post_task(cli, cli->operands[0], "/stop", body, &answer);
	if (status != 0)
		return status;
	return print_action(cli, &answer,
			    has_ended(before.json) ? "had ended already" : "is told to stop");
}

int sonde_cli_task_extend(struct sonde_cli *cli)
{
	_cleanup_answer_ struct sonde_rest_answer answer = SONDE_REST_ANSWER_INIT;
	const char *text = cli->operands[1];
	char body[64];
	uint64_t ns;
	int status;

	if (sonde_parse_duration_ns(*text == '+' ? text + 1 : text, &ns) < 0 ||
	    ns < SONDE_NS_PER_MS)
		return sonde_cli_fail(cli, SONDE_CLI_USAGE,
				      "expected a duration such as 5m, got '%.64s'", text);
	(void)snprintf(body, sizeof(body), "{\"duration_ms\":%llu}", ns / SONDE_NS_PER_MS);
	status = sonde_cli_post_task(cli, cli->operands[0], "/extend", body, &answer);
	return status != 0 ? status : print_action(cli, &answer, "is extended");
}

static const char *state_of(const json_t *task)
{
	const char *state = json_string_value(json_object_get(task, "state"));

	return state ? state : "?";
}

static int wait_flags(struct sonde_cli *cli, struct sonde_wait *w)
{
	const char *state = sonde_cli_flag(cli, "for");
	int status;

	if (!state || strcmp(state, "done") == 0)
		w->state = NULL; /* any end; the verdict tells which */
	else if (strcmp(state, "running") == 0 || strcmp(state, "failed") == 0)
		w->state = state;
	else if (strcmp(state, "first-data") == 0)
		w->first_data = true;
	else
		return sonde_cli_fail(
			cli, SONDE_CLI_USAGE,
			"--for: expected running, first-data, done or failed, got '%.64s'", state);
	status = sonde_wait_read_timeout(cli, &w->timeout_ns);
	return status == 0 ? sonde_wait_check_flag(cli) : status;
}

static int wait_finish(struct sonde_cli *cli, struct sonde_wait *w)
{
	_cleanup_answer_ struct sonde_rest_answer ledger = SONDE_REST_ANSWER_INIT;
	int status;

	if (sonde_cli_output(cli) == SONDE_CLI_JSON)
		(void)sonde_cli_print_json(cli, &w->task);
	if (w->state && strcmp(w->state, state_of(w->task.json)) == 0)
		return SONDE_CLI_OK;
	if (w->first_data && sonde_wait_has_data(w->task.json))
		return SONDE_CLI_OK;
	status = sonde_wait_verdict(cli, w->task.json);
	if (status == 0 && w->first_data)
		return sonde_cli_fail(cli, SONDE_CLI_NO, "task %s is %s, no report of it came",
				      w->id, state_of(w->task.json));
	if (w->state && has_ended(w->task.json) && (status == 0 || strcmp(w->state, "failed") == 0))
		return sonde_cli_fail(cli, SONDE_CLI_NO, "task %s is not %s: it is %s", w->id,
				      w->state, state_of(w->task.json));
	if (status != 0 || w->state || !sonde_cli_flag(cli, "max-loss"))
		return status;
	status = sonde_cli_get_task(cli, w->id, "/ledger", &ledger);
	return status != 0 ? status : sonde_wait_check_loss(cli, ledger.json);
}

int sonde_cli_task_wait(struct sonde_cli *cli)
{
	_cleanup_signals_ struct sonde_signals signals = SONDE_SIGNALS_NONE;
	_cleanup_wait_ struct sonde_wait w = {
		.cli = cli,
		.id = cli->operands[0],
		.signals = &signals,
		.progress = {.cli = cli, .ctrl_c = "Ctrl-C to leave it"},
		SONDE_WAIT_ANSWERS_INIT,
	};
	int status;

	status = wait_flags(cli, &w);
	if (status == 0) {
		int r = sonde_signals_watch(&signals);

		status = r < 0 ? sonde_cli_broken(cli, r) : sonde_wait_run(&w);
	}
	if (status == 0)
		status = wait_finish(cli, &w);
	else if (status == SONDE_CLI_TIMEOUT && w.task.json)
		status = sonde_cli_fail(cli, status, "task %s is still going on", w.id);
	return status;
}
